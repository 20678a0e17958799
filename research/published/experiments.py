"""The published experiments, and what each stage since then has brought.

    python -m research.published.experiments grid IMAGE --out grid.jsonl --plot grid.png
        --strip strip.png
    python -m research.published.experiments fixed IMAGE... --out fixed.jsonl --plot fixed.png
        --pictures folder

`grid` fits coordinate networks of all depths and widths to one 400x400 image, several times with
different seeds. In the plot, colour is the mean final loss, and each cell has the size in percent
as the publication counts it: float32 weights over raw bytes. The strip shows one decoded image for
each interval of losses.

`fixed` fits to every image one network of about 18 % (float32), one of 15 % (the claim of 85 %
compression), and encodes today's coordinate file and today's wavelet file at 18 %. It compares each
with JPEG of the same size, and draws the images side by side.

Rows that --out holds already are not measured again; without images, only the plots are drawn.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from math import exp, log
from pathlib import Path
from statistics import fmean
from typing import Any

import click
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from recording import (
    Pixels,
    Row,
    decoded_like,
    largest_within,
    load,
    numbers,
    optional_images_argument,
    out_option,
    plot_option,
    read_rows,
    record,
)

import dfmcodec
from dfmcodec.bench.codecs import Jpeg
from dfmcodec.codecs.coordinate.decode import render_weights
from dfmcodec.codecs.coordinate.encode.sizing import architecture_of
from dfmcodec.codecs.coordinate.encode.train import Budget, Trainer
from dfmcodec.fourier.network import CoordinateArchitecture, axis_positions
from dfmcodec.image import PEAK_CODE_VALUE, Image
from dfmcodec.perception import mse, psnr, ssim
from dfmcodec.search.config import RECIPES, EncoderConfig
from research.published.coordinate import float_bytes

SEEDS = 5
CLAIMED, FIXED = (6, 8), (4, 9)  # depth, width: 15.0 and 18.0 % of a 400x400 image
STRIP = 6  # intervals of losses


def architecture(image: Image, depth: int, width: int) -> CoordinateArchitecture:
    """Returns the published network: all frequencies in {0,1}^m."""
    config = EncoderConfig(model="coordinate", depth=depth, layer_width=width)
    return architecture_of(config, image.channels, depth, width)


def float_percent(image: Image, arch: CoordinateArchitecture) -> float:
    """Returns the size in percent as the publication counts it: weights / (W H C) * 32/8 * 100."""
    return 100 * float_bytes(arch) / image.raw_bytes


def fit(image: Image, arch: CoordinateArchitecture, recipe: str, steps: int, seed: int) -> tuple[Pixels, float]:
    """Returns the decoded image of a network's float32 weights, and the seconds of its training
    steps.
    """
    trainer = Trainer(image, arch, RECIPES[recipe], seed)
    trained = trainer.run(Budget(steps, float("inf")), 0.0, 1.0, lambda *figures: None)
    rows, columns = axis_positions(image.height), axis_positions(image.width)
    return render_weights(trained.weights, arch, rows, columns), trained.seconds


def loss_of(image: Image, decoded: Pixels) -> float:
    """Returns the loss of the fit: the mean squared error with samples in [-1, 1]."""
    return mse(image.pixels, decoded) * (2 / PEAK_CODE_VALUE) ** 2


@click.group(help=__doc__)
def main() -> None:
    pass


recipe_option = click.option("--recipe", type=click.Choice(list(RECIPES)), default="default", show_default=True)


@main.command()
@click.argument("image")
@recipe_option
@click.option("--steps", type=int, default=1000, show_default=True, help="The training steps of each fit.")
@click.option("--seeds", type=int, default=SEEDS, show_default=True, help="The number of fits for each cell.")
@click.option("--depths", default="2,3,4,5,6", show_default=True, help="The numbers of Fourier layers.")
@click.option("--widths", default="4,5,6,7,8,9", show_default=True, help="The dimensions between layers.")
@out_option
@plot_option
@click.option(
    "--strip",
    type=click.Path(path_type=Path),
    help="The file to draw a decoded image of each loss interval to.",
)
def grid(
    image: str,
    recipe: str,
    steps: int,
    seeds: int,
    depths: str,
    widths: str,
    out: Path | None,
    plot: Path | None,
    strip: Path | None,
) -> None:
    """Fits networks of all depths and widths to one image."""
    name, original = load(image)
    done = {(row["depth"], row["width"], row["seed"]) for row in read_rows(out)}

    def rows() -> Iterator[Row]:
        for width in numbers(widths):
            for depth in numbers(depths):
                arch = architecture(original, depth, width)
                for seed in range(seeds):
                    if (depth, width, seed) in done:
                        continue
                    decoded, seconds = fit(original, arch, recipe, steps, seed)
                    yield {
                        "picture": name,
                        "recipe": recipe,
                        "steps": steps,
                        "depth": depth,
                        "width": width,
                        "seed": seed,
                        "float_percent": float_percent(original, arch),
                        "loss": loss_of(original, decoded),
                        "psnr_db": psnr(original.pixels, decoded),
                        "fit_s": round(seconds, 1),
                    }

    record(rows(), out)
    kept = read_rows(out)
    if plot is not None and kept:
        _draw_grid(kept, plot)
    if strip is not None and kept:
        _draw_strip(kept, original, strip)


def _by_cell(rows: list[Row]) -> dict[tuple[int, int], list[Row]]:
    cells: dict[tuple[int, int], list[Row]] = defaultdict(list)
    for row in rows:
        cells[row["depth"], row["width"]].append(row)
    return cells


def _draw_grid(rows: list[Row], path: Path) -> None:
    cells = _by_cell(rows)
    depths, widths = (sorted({cell[axis] for cell in cells}) for axis in (0, 1))
    losses = np.array([[fmean(row["loss"] for row in cells[depth, width]) for depth in depths] for width in widths])
    figure = Figure(figsize=(7.5, 5.5), layout="constrained")
    axes = figure.subplots()
    shown = axes.imshow(losses, norm=LogNorm(), cmap="viridis_r", origin="lower", aspect="auto")
    middle = (losses.min() * losses.max()) ** 0.5
    for y, width in enumerate(widths):
        for x, depth in enumerate(depths):
            cell = cells[depth, width]
            text = f"{cell[0]['float_percent']:.1f} %\n{fmean(row['psnr_db'] for row in cell):.1f} dB"
            color = "white" if losses[y, x] > middle else "black"
            axes.text(x, y, text, ha="center", va="center", color=color)
    axes.set_xticks(range(len(depths)), [str(depth) for depth in depths])
    axes.set_yticks(range(len(widths)), [str(width) for width in widths])
    first = rows[0]
    fits = len(next(iter(cells.values())))
    axes.set(
        xlabel="depth (Fourier layers)",
        ylabel="width",
        title=f"{first['picture']}: mean of {fits} fits, {first['recipe']} recipe, {first['steps']} steps",
    )
    figure.colorbar(shown, label="final loss (mean squared error, samples in [-1, 1])")
    figure.savefig(path, dpi=110, bbox_inches="tight")


def _draw_strip(rows: list[Row], image: Image, path: Path) -> None:
    """Draws the fit nearest to the middle of each interval of losses, made again, then the
    original.
    """
    losses = [row["loss"] for row in rows]
    low, high = log(min(losses)), log(max(losses))
    bounds = [exp(high + (low - high) * at / STRIP) for at in range(STRIP + 1)]
    panels: list[tuple[str, Pixels]] = []
    for upper, lower in pairwise(bounds):
        middle = (upper * lower) ** 0.5
        within = [row for row in rows if lower * 0.9999 <= row["loss"] <= upper * 1.0001]
        if not within:
            continue
        row = min(within, key=lambda row: abs(log(row["loss"] / middle)))
        arch = architecture(image, row["depth"], row["width"])
        decoded, _ = fit(image, arch, row["recipe"], row["steps"], row["seed"])
        caption = f"loss {upper:.2g} to {lower:.2g}\n{row['depth']} x {row['width']}, {row['float_percent']:.1f} %"
        panels.append((f"{caption}\n{psnr(image.pixels, decoded):.1f} dB", decoded))
    _draw_panels([*panels, ("original", image.pixels)], path, columns=len(panels) + 1)


def _draw_panels(panels: list[tuple[str, Pixels]], path: Path, columns: int) -> None:
    """Draws images side by side in rows, with a caption over each."""
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(2.6 * columns, 3.1 * lines), layout="constrained")
    for at, axes in enumerate(figure.subplots(lines, columns, squeeze=False).flat):
        axes.axis("off")
        if at < len(panels):
            caption, pixels = panels[at]
            axes.imshow(pixels.squeeze(), cmap="gray", vmin=0, vmax=PEAK_CODE_VALUE)
            axes.set_title(caption, fontsize=9)
    figure.savefig(path, dpi=110, bbox_inches="tight")


# Compresses an image in one way between the publication and today: gives the bytes and the decoded
# image.
Compress = Callable[[Image], tuple[int, Pixels]]


def _float_network(image: Image, shape: tuple[int, int], recipe: str, steps: int) -> tuple[int, Pixels]:
    arch = architecture(image, *shape)
    return float_bytes(arch), fit(image, arch, recipe, steps, seed=0)[0]


def _file(image: Image, **options: Any) -> tuple[int, Pixels]:
    data = dfmcodec.encode(image, rate=0.18, tune="psnr", **options).data
    return len(data), dfmcodec.decode(data).pixels


@main.command()
@optional_images_argument
@recipe_option
@click.option(
    "--steps", type=int, default=2000, show_default=True, help="The training steps of each coordinate network."
)
@out_option
@plot_option
@click.option(
    "--pictures", "folder", type=click.Path(path_type=Path), help="The folder for drawings of the images side by side."
)
def fixed(
    images: tuple[str, ...], recipe: str, steps: int, out: Path | None, plot: Path | None, folder: Path | None
) -> None:
    """Fits one fixed network to every image, and encodes what came after."""
    ways: dict[str, Compress] = {
        "float32, 6 x 8": partial(_float_network, shape=CLAIMED, recipe=recipe, steps=steps),
        "float32, 4 x 9": partial(_float_network, shape=FIXED, recipe=recipe, steps=steps),
        "coordinate file": partial(_file, model="coordinate", recipe=recipe, training_steps=steps),
        "wavelet file": _file,
    }
    done = {(row["picture"], row["way"]) for row in read_rows(out)}

    def rows() -> Iterator[Row]:
        for path in images:
            name, image = load(path)
            panels = [("original", image.pixels)]
            for way, make in ways.items():
                if (name, way) in done:
                    continue
                started = time.perf_counter()
                size, decoded = make(image)
                seconds = time.perf_counter() - started
                row = {
                    "picture": name,
                    "way": way,
                    "recipe": recipe,
                    "steps": steps,
                    "bytes": size,
                    "percent": 100 * size / image.raw_bytes,
                    "psnr_db": psnr(image.pixels, decoded),
                    "ssim": ssim(image.pixels, decoded),
                    "encode_s": round(seconds, 1),
                }
                panels.append((f"{way}\n{row['percent']:.1f} %, {row['psnr_db']:.1f} dB", decoded))
                jpeg = largest_within(Jpeg(), image.pixels, size)
                if jpeg is not None:
                    match, row["jpeg_db"] = jpeg
                    shown = decoded_like(Jpeg(), match.data, image.pixels)
                    row |= {"jpeg_bytes": len(match.data), "jpeg_ssim": ssim(image.pixels, shown)}
                    if way == "float32, 4 x 9":
                        panels.insert(1, (f"JPEG of the size of 4 x 9\n{row['jpeg_db']:.1f} dB", shown))
                yield row
            if folder is not None and len(panels) > 1:
                folder.mkdir(parents=True, exist_ok=True)
                _draw_panels(panels, folder / f"{name}.png", columns=len(panels))

    record(rows(), out)
    kept = read_rows(out)
    if plot is not None and kept:
        _draw_fixed(kept, plot)


def _draw_fixed(rows: list[Row], path: Path) -> None:
    """Draws the PSNR of each image by way, and that of JPEG at the size of the 18 % network."""
    ways: dict[str, dict[str, float]] = defaultdict(dict)
    for row in rows:
        ways[row["way"]][row["picture"]] = row["psnr_db"]
        if row["way"] == "float32, 4 x 9" and "jpeg_db" in row:
            ways["JPEG, 18 %"][row["picture"]] = row["jpeg_db"]
    names = sorted({row["picture"] for row in rows})
    figure = Figure(figsize=(8, 1.5 + 0.35 * len(names)), layout="constrained")
    axes = figure.subplots()
    for way, values in ways.items():
        measured = [name for name in names if name in values]
        axes.plot([values[name] for name in measured], [names.index(name) for name in measured], "o", label=way)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel("PSNR, dB")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=5, frameon=False)
    figure.savefig(path, dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    main()
