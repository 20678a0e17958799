"""Rate-distortion curves on photographs: real files, PSNR of the decoded image.

    python benchmarks/rate_distortion.py IMAGE... --codec dfm-1 --codec dfm-5 --out rows.jsonl

The codecs are `jpeg` (4:2:0, optimised tables), `webp` (method 6) and `avif` (4:4:4, speed 4), all
by Pillow, and `dfm-N`, the wavelet codec at effort N. Rows that --out holds already are not
measured again. Needs the extra `bench`.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from recording import Pixels, Row, append_row, decoded_like, images_argument, load, read_rows

import dfmcodec
from dfmcodec.bench.codecs import AvifSpeed4, Codec, Jpeg, Webp
from dfmcodec.perception import Point, bd_rate, psnr
from dfmcodec.search.quality import BIT_COST

LOW_RATES = (0.1, 1.4)  # bits per pixel
Q_STEPS = (2, 3.3, 5.3, 8.6, 14, 23, 40, 66, 105, 165)  # of dfm, in code values
QUALITIES = {
    "jpeg": tuple(range(10, 96, 5)),
    "webp": (1, 5, 15, 30, 50, 70, 80, 90, 95, 100),
    "avif": (10, 20, 30, 40, 50, 60, 70, 80, 88, 94),
}
ANCHORS: dict[str, tuple[Codec, str]] = {"jpeg": (Jpeg(), "4:2:0"), "webp": (Webp(), ""), "avif": (AvifSpeed4(), "")}


def settings_of(codec: str) -> tuple[float, ...]:
    """Returns the quantisation steps or qualities of a codec's curve."""
    return Q_STEPS if codec.startswith("dfm") else QUALITIES[codec]


def encode_points(pixels: Pixels, codec: str, settings: list[float]) -> Iterator[Row]:
    """Encodes an image with a codec and gives a row for each setting."""
    for setting in settings:
        started = time.perf_counter()
        if codec.startswith("dfm"):
            lmbda = BIT_COST / 3 * (setting / 255) ** 2
            data = dfmcodec.encode(pixels, lmbda=lmbda, effort=int(codec.split("-")[1])).data
            encoded = time.perf_counter()
            decoded = dfmcodec.decode(data).pixels
        else:
            anchor, form = ANCHORS[codec]
            quality = int(setting) if float(setting).is_integer() else setting  # JPEG takes integers alone
            data = anchor.encode(pixels, form, quality)
            encoded = time.perf_counter()
            decoded = decoded_like(anchor, data, pixels)
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
    """Returns the points of each image, by codec and image."""
    curves: dict[str, dict[str, list[Point]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if np.isfinite(row["psnr_db"]):
            curves[row["codec"]][row["picture"]].append((row["bpp"], row["psnr_db"]))
    return curves


@click.command(help=__doc__)
@images_argument
@click.option("--codec", "codecs", multiple=True, required=True, help="A codec; may be given several times.")
@click.option("--setting", "given", multiple=True, type=float, help="A setting, instead of the complete curve.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The file of JSON lines to which rows are appended."
)
def main(images: tuple[str, ...], codecs: tuple[str, ...], given: tuple[float, ...], out: Path) -> None:
    done = {(row["picture"], row["codec"], row["setting"]) for row in read_rows(out)}
    for path in images:
        stem, image = load(path)
        for codec in codecs:
            settings = [s for s in given or settings_of(codec) if (stem, codec, s) not in done]
            if not settings:
                continue
            rows = [{"picture": stem, **row} for row in encode_points(image.pixels, codec, settings)]
            for row in rows:
                append_row(row, out)
            seconds = sum(row["encode_s"] for row in rows) / len(rows)
            click.echo(f"{stem} {codec}: {seconds:.2f} s a file")


def rates_against(
    curves: dict[str, dict[str, list[Point]]], anchor: str, codec: str, span: tuple[float, float] | None = None
) -> list[float]:
    """Returns the BD-rates of a codec in percent, image by image.

    Args:
        curves: Those of `curves_of`.
        anchor: The codec that it is compared with.
        codec: The codec.
        span: The rates of the anchor, in bpp; those that JPEG reaches if None.
    """
    jpeg = curves["jpeg"]
    return [
        _percent(curves[anchor][name], points, span or rate_span(jpeg[name])) for name, points in curves[codec].items()
    ]


def _percent(anchor: list[Point], curve: list[Point], anchor_rates: tuple[float, float]) -> float:
    """Returns the BD-rate in percent; NaN if the curves have no quality in common."""
    difference = bd_rate(anchor, curve, anchor_rates)
    return float("nan") if difference is None else difference.percent


def rate_span(points: list[Point]) -> tuple[float, float]:
    """Returns the smallest and the largest rate of a curve."""
    rates = [bpp for bpp, _ in points]
    return min(rates), max(rates)


if __name__ == "__main__":
    main()
