"""Learning curves: the cost J of fits with more training steps, over seconds of complete commands.

    python benchmarks/learning.py IMAGE --programs now=bin/dfm,before:old=OLD/bin/dfm --out ROWS
    python benchmarks/learning.py --out ROWS --plot PLOT
    python benchmarks/learning.py --out ROWS --metrics --plot PLOT

Each program fits the crop to the Lagrange multiplier with each number of steps, in turn, and
decodes the file. J is MSE / lmbda + bpp with the MSE of samples in [0, 1] and the bits of the
complete file. The plot is of all rows in the file. A program before there were tunes is named with
`:old`. With `--metrics`, the rows are files of one size (`picture`, `steps`, 0 for the default
effort, and metrics), and the plot has a panel for each metric.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import click
from matplotlib.figure import Figure
from recording import (
    Row,
    crop_option,
    cropped,
    load,
    numbers,
    optional_images_argument,
    out_option,
    plot_option,
    read_rows,
    record,
    run_program,
)

from dfmcodec.image.read_image import read_image
from dfmcodec.image.write_image import OUTPUT_FORMATS, image_to_bytes
from dfmcodec.metrics import bits_per_pixel, psnr


def measured(
    name: str, crop: str | None, lmbda: float, programs: dict[str, str], steps: list[int], seed: int
) -> Iterator[Row]:
    """Yields a row for each program and number of steps."""
    picture, loaded = load(name)
    image = cropped(loaded, crop)
    with tempfile.TemporaryDirectory() as folder:
        source, file, back = (Path(folder) / name for name in ("crop.png", "crop.dfm", "back.png"))
        source.write_bytes(image_to_bytes(image, OUTPUT_FORMATS["png"]))
        for count in steps:
            for label, program in programs.items():
                version, _, age = label.partition(":")
                options = [] if age == "old" else ["--tune", "psnr"]
                options += [
                    "--model",
                    "overfitted",
                    "--training-steps",
                    str(count),
                    "--lmbda",
                    str(lmbda),
                    "--seed",
                    str(seed),
                ]
                started = time.perf_counter()
                run_program(program, "encode", source, "-o", file, "-f", *options)
                seconds = time.perf_counter() - started
                run_program(program, "decode", file, "-o", back, "-f")
                bpp = bits_per_pixel(file.stat().st_size, image.pixel_count)
                mse = 10 ** (-psnr(image.pixels, read_image(back).pixels, None) / 10)
                about = {"picture": picture, "lmbda": lmbda, "version": version, "steps": count}
                yield about | {"s": round(seconds, 2), "bytes": file.stat().st_size, "J": round(mse / lmbda + bpp, 4)}


def draw(rows: list[Row], path: Path) -> None:
    """Draws the cost over the seconds, a panel for each image."""
    pictures = list(dict.fromkeys(row["picture"] for row in rows))
    figure = Figure(figsize=(4.2 * len(pictures), 3.6), layout="constrained")
    for axes, picture in zip(figure.subplots(1, len(pictures), squeeze=False)[0], pictures, strict=True):
        lines: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            if row["picture"] == picture:
                lines[row["version"]].append(row)
        for version, line in lines.items():
            axes.plot([row["s"] for row in line], [row["J"] for row in line], "o-", label=version)
        for row in line:
            axes.annotate(row["steps"], (row["s"], row["J"]), textcoords="offset points", xytext=(3, 4), fontsize=7)
        axes.set(xscale="log", xlabel="seconds of the whole command", ylabel="J", title=picture)
        axes.set_xticks([3, 5, 10, 20, 50], labels=["3", "5", "10", "20", "50"])
        axes.set_xticks([], minor=True)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=110)


def draw_metrics(rows: list[Row], path: Path) -> None:
    """Draws each metric over the training steps, with a dashed line for the default effort."""
    names = {
        "ssimulacra2": "SSIMULACRA2",
        "butteraugli": "Butteraugli",
        "jod": "ColorVideoVDP, JOD",
        "psnr": "PSNR, dB",
    }
    figure = Figure(figsize=(4 * len(names), 3.6), layout="constrained")
    for axes, (metric, title) in zip(figure.subplots(1, len(names)), names.items(), strict=True):
        for number, picture in enumerate(dict.fromkeys(row["picture"] for row in rows)):
            (_, default), *fits = sorted((row["steps"], row[metric]) for row in rows if row["picture"] == picture)
            steps, values = zip(*fits, strict=True)
            axes.plot(steps, values, "o-", color=f"C{number}", label=picture)
            axes.axhline(default, color=f"C{number}", linestyle="--", linewidth=0.8)
        axes.set(xscale="log", xlabel="training steps", title=title)
        axes.set_xticks(steps, labels=list(map(str, steps)))
        axes.set_xticks([], minor=True)
        axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=80)


@click.command(help=__doc__)
@optional_images_argument
@crop_option
@click.option("--lmbda", type=float, default=1e-3, show_default=True, help="The Lagrange multiplier of bits.")
@click.option("--programs", default="now=bin/dfm", show_default=True, help="NAME=COMMAND, separated by commas.")
@click.option("--steps", default="125,250,500,1000,2000,4000", show_default=True)
@click.option("--seed", type=int, default=0)
@out_option
@click.option("--metrics", is_flag=True, help="Draw a panel for each metric.")
@plot_option
def main(
    images: tuple[str, ...],
    crop: str | None,
    lmbda: float,
    programs: str,
    steps: str,
    seed: int,
    out: Path | None,
    metrics: bool,
    plot: Path | None,
) -> None:
    named = dict(program.split("=", 1) for program in programs.split(","))
    for name in images:
        record(measured(name, crop, lmbda, named, numbers(steps), seed), out)
    if plot is not None:
        (draw_metrics if metrics else draw)(read_rows(out), plot)


if __name__ == "__main__":
    main()
