"""Flips one byte of files of dfm, JPEG, WebP, AVIF and JPEG XL of equal size.

    python benchmarks/damage.py IMAGE... --out benchmarks/results/damage.jsonl

dfm writes a file of a rate, and each other codec its best one within that size. In each trial
another byte takes the place of a random one. PSNRs are those of the damaged file's image against
the image of the undamaged file. `noticed` counts the files that the decoder refuses; dfm then
decodes them by best effort, and Pillow with LOAD_TRUNCATED_IMAGES. `lost` counts the files without
an image of the right size, which are worse than any PSNR, and `same` those whose image is the
undamaged one. The table is in docs/results/trust.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import click
import numpy as np
import PIL.ImageFile
from recording import Pixels, Row, decoded_like, host, images_argument, largest_within, load, out_option, record

import dfmcodec
from dfmcodec.bench.codecs import Avif, Codec, Jpeg, JpegXl, Webp
from dfmcodec.codecs.decode import decode_best_effort
from dfmcodec.perception import psnr

Decode = Callable[[bytes], tuple[Pixels | None, bool]]  # gives the image, and whether damage was noticed
BELOW_DB = 20


class ProgressiveJpeg(Jpeg):
    """JPEG whose scans refine the complete image."""

    label = "JPEG, progressive"
    save_options: ClassVar[Mapping[str, Any]] = {**Jpeg.save_options, "progressive": True}


ANCHORS: tuple[Codec, ...] = (Jpeg(), ProgressiveJpeg(), Webp(), Avif(), JpegXl())


@click.command(help=__doc__)
@images_argument
@click.option("--bpp", type=float, default=0.5, show_default=True, help="The rate of dfm's files.")
@click.option("--effort", type=int, default=dfmcodec.EncoderConfig.effort, show_default=True, help="dfm's effort.")
@click.option("--trials", type=int, default=100, show_default=True, help="The number of damaged files of each file.")
@click.option("--seed", type=int, default=1, show_default=True, help="The seed of the damage.")
@out_option
def main(images: tuple[str, ...], bpp: float, effort: int, trials: int, seed: int, out: Path | None) -> None:
    rows = (row for name in images for row in _rows(name, bpp, effort, partial(damaged, trials=trials, seed=seed)))
    record(rows, out)


def _rows(name: str, bpp: float, effort: int, damage: Callable[[bytes], Iterator[bytes]]) -> Iterator[Row]:
    stem, image = load(name)
    data = dfmcodec.encode(image.pixels, bpp=bpp, effort=effort).data
    start = {"picture": stem, "size": f"{image.width}x{image.height}"}
    yield {**start, "codec": f"dfm effort {effort}", **_figures(data, _decode_dfm, damage), "machine": host()}
    for codec in ANCHORS:
        best = largest_within(codec, image.pixels, len(data))
        if best is not None:
            decode = partial(_decode_anchor, codec, image.pixels)
            yield {**start, "codec": codec.label, **_figures(best[0].data, decode, damage), "machine": host()}


def damaged(data: bytes, trials: int, seed: int) -> Iterator[bytes]:
    """Yields copies of a file, each with a random byte replaced."""
    generator = np.random.default_rng(seed)
    for _ in range(trials):
        at, change = int(generator.integers(len(data))), int(generator.integers(1, 256))
        yield data[:at] + bytes([data[at] ^ change]) + data[at + 1 :]


def _figures(data: bytes, decode: Decode, damage: Callable[[bytes], Iterator[bytes]]) -> Row:
    complete, _ = decode(data)
    assert complete is not None
    decoded = [decode(copy) for copy in damage(data)]
    qualities = np.array([_quality(complete, pixels) for pixels, _ in decoded])
    middle = np.sort(qualities)[(len(qualities) - 1) // 2]
    return {
        "bytes": len(data),
        "trials": len(decoded),
        "noticed": sum(is_noticed for _, is_noticed in decoded),
        "median_db": round(float(middle), 1) if np.isfinite(middle) else None,
        f"below_{BELOW_DB}_db": int((qualities < BELOW_DB).sum()),
        "lost": int(np.isneginf(qualities).sum()),
        "same": int(np.isposinf(qualities).sum()),
    }


def _quality(complete: Pixels, pixels: Pixels | None) -> float:
    """Returns a PSNR in dB; minus infinity without an image of the right size."""
    return -np.inf if pixels is None or pixels.shape != complete.shape else psnr(complete, pixels)


def _decode_dfm(data: bytes) -> tuple[Pixels | None, bool]:
    try:
        return dfmcodec.decode(data).pixels, False
    except dfmcodec.DfmError:
        with suppress(dfmcodec.DfmError):
            return decode_best_effort(data)[0].pixels, True
    return None, True


def _decode_anchor(codec: Codec, like: Pixels, data: bytes) -> tuple[Pixels | None, bool]:
    """Decodes a file of another codec; its errors are of all kinds."""
    for is_lenient in (False, True):
        PIL.ImageFile.LOAD_TRUNCATED_IMAGES = is_lenient
        try:
            return decoded_like(codec, data, like), is_lenient
        except Exception:
            continue
        finally:
            PIL.ImageFile.LOAD_TRUNCATED_IMAGES = False
    return None, True


if __name__ == "__main__":
    main()
