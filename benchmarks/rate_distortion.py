"""Rate-distortion curves on photographs: real files, PSNR of the decoded picture, BD-rates, plots.

    python benchmarks/rate_distortion.py run PICTURE... --codec dfm-1 --codec dfm-5 --out rows.jsonl
    python benchmarks/rate_distortion.py report rows.jsonl [--plot curves.png]

Codecs: `jpeg` (4:2:0, optimised tables), `webp` (method 6), `avif` (4:4:4, speed 4), all by Pillow, and `dfm-N`, the
latent model at effort N. Rows that a file holds already are not measured again. Needs the extra `bench`.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from recording import Row, load, pictures_argument, read_rows

import dfmcodec
from dfmcodec.bench.codecs import Avif, Codec, Jpeg, Webp
from dfmcodec.encoder.config import BIT_PRICE
from dfmcodec.image import Pixels
from dfmcodec.metrics import Point, bd_rate, psnr

STEPS = (2, 3.3, 5.3, 8.6, 14, 23, 40, 66, 105, 165)  # levels, of dfm
QUALITIES = {
    "jpeg": tuple(range(10, 96, 5)),
    "webp": (1, 5, 15, 30, 50, 70, 80, 90, 95, 100),
    "avif": (10, 20, 30, 40, 50, 60, 70, 80, 88, 94),
}
ANCHORS: dict[str, tuple[Codec, str]] = {"jpeg": (Jpeg(), "4:2:0"), "webp": (Webp(), ""), "avif": (Avif(), "")}


def settings_of(codec: str) -> tuple[float, ...]:
    """Steps or qualities of a codec's curve."""
    return STEPS if codec.startswith("dfm") else QUALITIES[codec]


def encode_points(pixels: Pixels, codec: str, settings: list[float]) -> Iterator[Row]:
    """Rows of one picture and codec."""
    for setting in settings:
        started = time.perf_counter()
        if codec.startswith("dfm"):
            lmbda = BIT_PRICE / 3 * (setting / 255) ** 2
            data = dfmcodec.encode(pixels, lmbda=lmbda, effort=int(codec.split("-")[1])).data
            encoded = time.perf_counter()
            decoded = dfmcodec.decode(data)
        else:
            anchor, form = ANCHORS[codec]
            data = anchor.encode(pixels, form, setting)
            encoded = time.perf_counter()
            decoded = anchor.decode(data)
        yield {
            "codec": codec,
            "setting": setting,
            "bytes": len(data),
            "bpp": 8 * len(data) / pixels[:, :, 0].size,
            "psnr_db": psnr(pixels, decoded),
            "encode_s": round(encoded - started, 3),
            "decode_s": round(time.perf_counter() - encoded, 3),
        }


def curves_of(rows: list[Row]) -> dict[str, dict[str, list[Point]]]:
    """codec -> picture -> points."""
    found: dict[str, dict[str, list[Point]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if np.isfinite(row["psnr_db"]):
            found[row["codec"]][row["picture"]].append((row["bpp"], row["psnr_db"]))
    return found


@click.group(help=__doc__)
def main() -> None:
    pass


@main.command()
@pictures_argument
@click.option("--codec", "codecs", multiple=True, required=True)
@click.option("--setting", "chosen", multiple=True, type=float, help="Instead of the whole curve.")
@click.option("--out", type=click.Path(path_type=Path), required=True)
def run(pictures: tuple[str, ...], codecs: tuple[str, ...], chosen: tuple[float, ...], out: Path) -> None:
    """Encode, decode, append rows."""
    done = {(row["picture"], row["codec"], row["setting"]) for row in read_rows(out)}
    for path in pictures:
        stem, image = load(path)
        for codec in codecs:
            settings = [s for s in chosen or settings_of(codec) if (stem, codec, s) not in done]
            if not settings:
                continue
            rows = [{"picture": stem, **row} for row in encode_points(image.pixels, codec, settings)]
            with out.open("a") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
            seconds = sum(row["encode_s"] for row in rows) / len(rows)
            click.echo(f"{stem} {codec}: {seconds:.2f} s a file")


@main.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--plot", type=click.Path(path_type=Path))
def report(files: tuple[Path, ...], plot: Path | None) -> None:
    """BD-rates against JPEG and AVIF over the sizes that JPEG reaches; a plot of the mean curves."""
    rows = [row for path in files for row in read_rows(path)]
    curves = curves_of(rows)
    seconds: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        seconds[row["codec"]].append(row["encode_s"])
    click.echo(
        "| codec | BD-rate vs JPEG | best .. worst | 0.1-1.4 bpp | vs AVIF | best .. worst | 0.1-1.4 bpp | s a file |"
    )
    click.echo("|---|---|---|---|---|---|---|---|")
    sizes = {picture: _span(points) for picture, points in curves["jpeg"].items()}
    for codec in curves:
        cells = []
        for anchor in ("jpeg", "avif"):
            rates, low = (
                [_percent(curves[anchor][p], curves[codec][p], span or sizes[p]) for p in curves[codec]]
                for span in (None, (0.1, 1.4))
            )
            cells += [f"{np.mean(rates):+.1f} %", f"{min(rates):+.1f} .. {max(rates):+.1f}", f"{np.mean(low):+.1f} %"]
        click.echo(f"| {codec} | " + " | ".join(cells) + f" | {np.mean(seconds[codec]):.2f} |")
    if plot is not None:
        draw(curves, plot)


def _percent(anchor: list[Point], curve: list[Point], anchor_rates: tuple[float, float]) -> float:
    """BD-rate; not a number where the curves share nothing."""
    found = bd_rate(anchor, curve, anchor_rates)
    return float("nan") if found is None else found.percent


def _span(points: list[Point]) -> tuple[float, float]:
    """The least and the largest rate."""
    rates = [bpp for bpp, _ in points]
    return min(rates), max(rates)


def draw(curves: dict[str, dict[str, list[Point]]], path: Path) -> None:
    """Mean PSNR over pictures at equal rates, one line a codec."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from scipy.interpolate import PchipInterpolator

    figure, axes = plt.subplots(figsize=(8, 6))
    for codec, pictures in curves.items():
        lowest = max(min(bpp for bpp, _ in points) for points in pictures.values())
        highest = min(max(bpp for bpp, _ in points) for points in pictures.values())
        grid = np.geomspace(lowest, highest, 80)
        lines = []
        for points in pictures.values():
            ordered = sorted(points)
            found = PchipInterpolator(np.log([bpp for bpp, _ in ordered]), [db for _, db in ordered])
            lines.append(found(np.log(grid)))
        axes.plot(grid, np.mean(lines, axis=0), label=codec)
    axes.set(xlabel="bits per pixel", ylabel="PSNR, dB", xscale="log", title="Mean over pictures")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
