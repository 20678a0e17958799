"""The images and figures of the README.

    python benchmarks/first_page.py same-size chelsea docs/same_size.png --crop 95,35,240,180
    python benchmarks/first_page.py curves docs/kodak_curves.png benchmarks/results/kodak_*.jsonl
        --anchors "HM 16"=benchmarks/results/hm16_kodak.tsv

`same-size` draws a crop of an image as it is and as codecs keep it in files of the same size.
`curves` draws the mean PSNR over images against bits per pixel: recorded rows of this project, and
tables of other codecs with the columns seq_name, rate_bpp and psnr_db. At each rate, the PSNR of
every image is interpolated in the logarithm of the rate, and rates that a curve of an image does
not reach are left out. tables.py writes the tables, and tests/unit/test_page_figures.py holds the
pages to all other figures.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from pathlib import Path
from statistics import fmean

import click
import numpy as np
import seen
from rate_distortion import curves_of, rate_span
from recording import Pixels, as_rgb, load, read_rows

import dfmcodec
from dfmcodec.bench.same_size import Version, same_size
from dfmcodec.perception import bd_rate

RESULTS = Path(__file__).parent / "results"
PUBLISHED = {"HM 16": "hm16_kodak.tsv", "Cool-chic 5.0.1": "coolchic_5.0.1_kodak.tsv"}  # curves by image
MEASURES = ("PSNR", "SSIM", "SSIMULACRA2")
ALL = {  # those of docs/results/quality.md
    "AVIF tune=psnr": "AVIF tune=psnr",
    "AVIF tune=ssim": "tune=ssim",
    "AVIF tune=iq": "tune=iq (the default)",
    "JPEG XL": "JPEG XL",
    "WebP": "WebP",
    "JPEG": "JPEG",
}
SMALL = ("kodim05", "kodim23")  # images of `commands.py`, 768x512
LARGE, LARGE_MEGAPIXELS = ("sherburne", "colosseum"), 8.3
Points = dict[str, list[tuple[float, float]]]  # (bpp, PSNR in dB) by image
_RATES = np.geomspace(0.05, 4, 60)
_LABELS = {
    "jpeg": "JPEG",
    "avif": "AVIF, tuned for the eye",
    "webp": "WebP",
    "dfm-1": "dfm, effort 1",
    "dfm-5": "dfm, default effort",
}
_LEFT_OUT = ("webp",)
_COLUMNS = 2


def mean_curve(points: Points, images: Sequence[str]) -> tuple[list[float], list[float]]:
    """Returns the rates that all images reach, and the mean PSNR there."""
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
    """Returns the points of all codecs, by label."""
    curves: dict[str, Points] = defaultdict(lambda: defaultdict(list))
    for path in results:
        for row in map(json.loads, path.read_text().splitlines()):
            if row["codec"] not in _LEFT_OUT and np.isfinite(row["psnr_db"]):
                label = _LABELS.get(row["codec"], row["codec"])
                curves[label][row["picture"]].append((row["bpp"], row["psnr_db"]))
    return curves | {label: read_anchor(path) for label, path in anchors.items()}


def read_anchor(path: Path) -> Points:
    """Returns the points of a table of another codec."""
    points: Points = defaultdict(list)
    with path.open(encoding="utf-8") as file:
        for line in csv.DictReader(file, delimiter="\t"):
            points[line["seq_name"]].append((float(line["rate_bpp"]), float(line["psnr_db"])))
    return points


@cache
def kodak_bd_rates(codec: str) -> dict[str, dict[str, float]]:
    """Returns BD-rates of a codec in percent on the Kodak images that it has rows of, by anchor and
    image.

    Those against JPEG and AVIF are over the sizes that JPEG reaches with the recorded qualities.

    Args:
        codec: "avif", "dfm-1", "dfm-5", or "overfitted:7" for the overfitted codec of an effort.
    """
    rows = [row for path in sorted(RESULTS.glob("kodak_*.jsonl")) for row in read_rows(path)]
    rows += [{"codec": row["setting"], **row} for row in read_rows(RESULTS / "overfitted_anchors.jsonl")]
    curves = curves_of(rows)
    anchors = {"JPEG": curves["jpeg"], "AVIF": curves["avif"], "default": curves["dfm-5"]}
    anchors |= {label: read_anchor(RESULTS / name) for label, name in PUBLISHED.items()}
    spans = {image: rate_span(points) for image, points in curves["jpeg"].items()}
    differences = {
        label: {
            image: bd_rate(anchor[image], points, spans[image] if label in ("JPEG", "AVIF") else None)
            for image, points in curves[codec].items()
        }
        for label, anchor in anchors.items()
    }
    return {
        label: {image: difference.percent for image, difference in by_image.items() if difference is not None}
        for label, by_image in differences.items()
    }


def seconds(command: str, pictures: Sequence[str] = SMALL) -> list[float]:
    """Returns the recorded seconds of a command for some images."""
    rows = read_rows(RESULTS / "commands.jsonl")
    return [row["s"] for row in rows if row["command"] == command and row["picture"] in pictures]


def fit_minutes(effort: int) -> list[float]:
    """Returns the recorded minutes of an effort of the overfitted codec for Kodak images of
    768x512.
    """
    rows = read_rows(RESULTS / "overfitted_anchors.jsonl")
    return [row["encode_s"] / 60 for row in rows if row["setting"] == f"overfitted:{effort}" and "encode_s" in row]


def least_share() -> float:
    """Returns the smallest used share of a size limit with `--tune psnr`, at effort 1 and the
    default.
    """
    return min(float(row["bytes"] / row["limit_bytes"]) for row in read_rows(RESULTS / "limits.jsonl"))


def span(values: Iterable[float], decimals: int) -> str:
    """Returns the range of values, "1.3 to 1.7", or the one figure that they all have.

    Halves are rounded up as they are recorded: 1.15 is 1.2, whose float is a little less.
    """
    ordered, digits = sorted(values), Decimal(1).scaleb(-decimals)
    ends = (Decimal(str(value)).quantize(digits, ROUND_HALF_UP) for value in (ordered[0], ordered[-1]))
    return " to ".join(dict.fromkeys(map(str, ends)))


def percent(value: float, decimals: int | None = 1) -> str:
    """Returns a change in percent with its sign, "-20.0 %"; zero has none.

    Args:
        value: The change.
        decimals: As many as it has itself if None.
    """
    text = f"{value:+}" if decimals is None else f"{value:+.{decimals}f}"
    return f"{text} %" if float(text) else "0"


def seen_rate(effort: int, anchor: str, measure: str) -> float:
    """Returns the mean difference of dfm's bits at equal SSIMULACRA2 or Butteraugli, in percent."""
    return fmean(seen.bits_more(f"dfm effort {effort} visual", anchor, measure).values())


def introduction() -> str:
    """Returns the table of the README: bits at equal quality, and seconds."""
    codecs = {
        "dfm": ("dfm effort 5 visual", "dfm encode", "dfm decode"),
        "dfm `--effort 1`": ("dfm effort 1 visual", "dfm encode --effort 1", "dfm decode"),
        "AVIF": (seen.AVIF, f"AVIF, speed {seen.AVIF_SPEED}", "AVIF decode"),
        "JPEG XL": ("JPEG XL", "JPEG XL", "JPEG XL decode"),
    }
    lines = [f"| | {' | '.join(codecs)} |", "|---" * (1 + len(codecs)) + "|"]
    for measure, name in seen.MEASURES.items():
        rates = [fmean(seen.bits_more(codec, seen.AVIF, measure).values()) for codec, *_ in codecs.values()]
        lines.append(f"| bits at equal {name}, relative to AVIF | {' | '.join(percent(rate, 0) for rate in rates)} |")
    for number, name in ((1, "encode"), (2, "decode")):
        times = [span(seconds(commands[number], LARGE), 1) for commands in codecs.values()]
        lines.append(f"| seconds to {name} {LARGE_MEGAPIXELS} megapixels | {' | '.join(times)} |")
    return "\n".join(lines)


def visual_rates() -> dict[tuple[str, str], float]:
    """Returns dfm's bits relative to a codec's in percent, by measure and codec."""
    rows = read_rows(RESULTS / "visual_quality.jsonl")
    return {(row["measure"], row["against"]): row["percent"] for row in rows if "against" in row}


def visual_table() -> str:
    """Returns the table of bits at equal PSNR, SSIM and SSIMULACRA2 with `--tune psnr`."""
    rates = visual_rates()
    lines = [f"| dfm's bits at an equal measure, against | {' | '.join(ALL.values())} |", "|---" * (1 + len(ALL)) + "|"]
    for measure in MEASURES:
        cells = [rates.get((measure, codec)) for codec in ALL]
        texts = ["not measured" if cell is None else percent(cell, None) for cell in cells]
        lines.append(f"| {measure} | {' | '.join(texts)} |")
    return "\n".join(lines)


def kodak_table() -> str:
    """Returns BD-rates by PSNR on Kodak, with seconds."""
    anchors = {"JPEG": "JPEG 4:2:0", "AVIF": "AVIF 4:4:4", "HM 16": "HM 16", "Cool-chic 5.0.1": "Cool-chic 5.0.1"}
    rows = {
        "AVIF, speed 4": ("avif", f"{span(seconds('AVIF, speed 4'), 1)} s"),
        "dfm, `--effort 1`": ("dfm-1", f"{span(seconds('dfm encode --effort 1'), 1)} s"),
        "dfm, default": ("dfm-5", f"{span(seconds('dfm encode'), 1)} s"),
        "dfm, `--effort 7`, four of the images": ("overfitted:7", f"{span(fit_minutes(7), 0)} minutes"),
    }
    lines = [
        f"| bits at equal PSNR, 8 Kodak images, against | {' | '.join(anchors.values())} | time |",
        "|---" * 6 + "|",
    ]
    for label, (codec, time) in rows.items():
        rates = kodak_bd_rates(codec)
        cells = [percent(float(np.mean(list(rates[anchor].values())))) for anchor in anchors]
        lines.append(f"| {label} | {' | '.join(cells)} | {time} |")
    return "\n".join(lines)


@click.group(help=__doc__)
def main() -> None:
    """See the module."""


@main.command("curves")
@click.argument("plot", type=click.Path(path_type=Path))
@click.argument("results", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--anchors", multiple=True, metavar="LABEL=FILE", help="A table of another codec.")
def draw_curves(plot: Path, results: tuple[Path, ...], anchors: tuple[str, ...]) -> None:
    """Draws the mean PSNR against bits per pixel."""
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
    """Draws a crop of an image and of its files by several codecs."""
    name, source = load(image)
    result = dfmcodec.encode(source.pixels, bpp=bpp, effort=effort)
    others = same_size(source.pixels, result.report.file_bytes)
    versions = [Version("original", source.pixels), Version.of(result, source.pixels), *reversed(others)]
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
