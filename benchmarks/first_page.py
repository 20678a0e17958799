"""The two figures of the README.

    python benchmarks/first_page.py same-size chelsea docs/same_size.png --crop 95,35,240,180
    python benchmarks/first_page.py curves docs/kodak_curves.png benchmarks/results/kodak_*.jsonl
        --anchors "HM 16"=../shared/anchors/hm16_kodak.tsv

`same-size` draws a crop of an image as it is and as codecs keep it in files of the same size.
`curves` draws the mean PSNR over images against bits per pixel: recorded rows of this project, and
tables of other codecs with the columns seq_name, rate_bpp and psnr_db. At each rate, the PSNR of
every image is interpolated in the logarithm of the rate, and rates that a curve of an image does
not reach are left out.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np
from recording import Pixels, as_rgb, load

import dfmcodec
from dfmcodec.bench.same_size import Version, same_size

Points = dict[str, list[tuple[float, float]]]  # (bpp, PSNR in dB) by image
_RATES = np.geomspace(0.05, 4, 60)
_LABELS = {"jpeg": "JPEG", "avif": "AVIF", "webp": "WebP", "dfm-1": "dfm, effort 1", "dfm-5": "dfm, default effort"}
_LEFT_OUT = ("webp", "dfm-9")
_COLUMNS = 2


def mean_curve(points: Points, images: Sequence[str]) -> tuple[list[float], list[float]]:
    """Rates that all images reach, and the mean PSNR there."""
    rates, means = [], []
    for rate in _RATES:
        values = []
        for image in images:
            bpp, psnr_db = np.array(sorted(points[image])).T
            if not bpp[0] <= rate <= bpp[-1]:
                break
            values.append(float(np.interp(np.log(rate), np.log(bpp), psnr_db)))
        else:
            rates.append(float(rate))
            means.append(float(np.mean(values)))
    return rates, means


def read_curves(results: Sequence[Path], anchors: Mapping[str, Path]) -> dict[str, Points]:
    """The points of all codecs, by label."""
    curves: dict[str, Points] = defaultdict(lambda: defaultdict(list))
    for path in results:
        for row in map(json.loads, path.read_text().splitlines()):
            if row["codec"] not in _LEFT_OUT and np.isfinite(row["psnr_db"]):
                label = _LABELS.get(row["codec"], row["codec"])
                curves[label][row["picture"]].append((row["bpp"], row["psnr_db"]))
    for label, path in anchors.items():
        with path.open() as file:
            for line in csv.DictReader(file, delimiter="\t"):
                curves[label][line["seq_name"]].append((float(line["rate_bpp"]), float(line["psnr_db"])))
    return curves


@click.group(help=__doc__)
def main() -> None:
    """See the module."""


@main.command("curves")
@click.argument("plot", type=click.Path(path_type=Path))
@click.argument("results", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--anchors", multiple=True, metavar="LABEL=FILE", help="A table of another codec.")
def draw_curves(plot: Path, results: tuple[Path, ...], anchors: tuple[str, ...]) -> None:
    """The mean PSNR against bits per pixel."""
    from matplotlib.figure import Figure

    tables = {label: Path(path) for label, _, path in (text.partition("=") for text in anchors)}
    curves = read_curves(results, tables)
    images = sorted(set.intersection(*(set(points) for points in curves.values())))
    figure = Figure((7.5, 5), layout="constrained")
    axes = figure.add_subplot()
    for label, points in curves.items():
        rates, means = mean_curve(points, images)
        axes.plot(rates, means, "--" if label in tables else "-", label=label, linewidth=2 if "dfm" in label else 1.3)
    axes.set_xscale("log")
    ticks = [0.1, 0.2, 0.5, 1, 2, 4]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("bits per pixel, whole file")
    axes.set_ylabel("PSNR over RGB, dB")
    axes.set_title(f"Kodak, mean of {len(images)} images" if len(images) > 1 else images[0])
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(plot, dpi=110)
    click.echo(json.dumps({"images": len(images), "codecs": list(curves)}))


@main.command("same-size")
@click.argument("image")
@click.argument("figure", type=click.Path(path_type=Path))
@click.option("--bpp", type=float, default=0.3, show_default=True, help="The size of dfm's file.")
@click.option("--effort", type=int, default=5, show_default=True, help="Of dfm.")
@click.option("--crop", metavar="X,Y,W,H", help="The part to show; all if not given.")
@click.option("--zoom", type=int, default=2, show_default=True, help="Pixels for each of the crop's.")
def draw_same_size(image: str, figure: Path, bpp: float, effort: int, crop: str | None, zoom: int) -> None:
    """A crop as several codecs keep it."""
    name, source = load(image)
    result = dfmcodec.encode(source.pixels, bpp=bpp, effort=effort)
    others = same_size(source.pixels, result.report.file_bytes)
    versions = [Version("original", source.pixels), Version.of(result), *reversed(others)]
    left, top, width, height = map(int, crop.split(",")) if crop else (0, 0, source.width, source.height)
    _draw(figure, versions, (slice(top, top + height), slice(left, left + width)), zoom)
    click.echo(json.dumps({"picture": name, **{v.label: [v.file_bytes, v.psnr_db] for v in versions}}))


def _draw(path: Path, versions: Sequence[Version], part: tuple[slice, slice], zoom: int) -> None:
    """Lays crops out in a grid, with captions."""
    from matplotlib.figure import Figure

    def shown(pixels: Pixels) -> Pixels:
        return as_rgb(pixels[part])

    height, width = shown(versions[0].pixels).shape[:2]
    rows, dots = -(-len(versions) // _COLUMNS), 100
    caption = 30
    size = _COLUMNS * (zoom * width + 10), rows * (zoom * height + caption)
    figure = Figure((size[0] / dots, size[1] / dots), dpi=dots)
    for number, version in enumerate(versions):
        row, column = divmod(number, _COLUMNS)
        x, y = column * (zoom * width + 10), size[1] - (row + 1) * (zoom * height + caption)
        box = (x / size[0], y / size[1], zoom * width / size[0], zoom * height / size[1])
        axes = figure.add_axes(box)
        axes.imshow(shown(version.pixels), interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(version.caption, fontsize=12, pad=6)
    figure.savefig(path)


if __name__ == "__main__":
    main()
