"""Makes the golden files of the wavelet and the overfitted codec: python conformance/make_golden.py

A row of `CASES` for each, with the reason that it is there. Files that are there already are left
as they are, so a new row adds a file. (The files of coordinate networks were made once by
`dfm encode --model coordinate`, which takes JAX; `OTHERS` has their reasons.)
Afterwards: python conformance/make_manifest.py
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import skimage.data

import dfmcodec
from dfmcodec import container
from dfmcodec.codecs.decode import decode_image
from dfmcodec.codecs.overfitted.encode import plan
from dfmcodec.codecs.overfitted.encode.fit import FitSchedule
from dfmcodec.codecs.overfitted.weights import OverfittedWeights, overfitted_weights_of
from dfmcodec.codecs.wavelet.geometry import Tiling, default_levels
from dfmcodec.codecs.wavelet.texture import MAX_CODE, Texture, amplitude_count, cell_counts
from dfmcodec.container import read_write
from dfmcodec.image import Image, Metadata
from dfmcodec.image.write_image import image_to_bytes, output_format
from dfmcodec.search.quality import lmbda_of_step
from dfmcodec.weights.registry import (
    OVERFITTED_DETAILED,
    OVERFITTED_FINE,
    OVERFITTED_LARGE,
    OVERFITTED_SMALL,
    OVERFITTED_WIDE,
    ShippedWeights,
)

_LUMA_AT = 14
GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden" / "v1"
OTHERS = {
    "coordinate": "a network of its own, by --rate",
    "coordinate-deep": "a network of its own, 16 bits",
}


@dataclass(frozen=True)
class Case:
    """A golden file.

    Args:
        name: Its name, without the suffix.
        reason: What it has that others do not.
        image: Makes its image.
        options: Those of `dfmcodec.encode`.
        has_checks: Whether it gets checks, which so small files do not have.
        weights: The pretrained weights of an overfitted file, which images so small do not get.
        tiles: Rows and columns of tiles, which images so small do not get; None for one tile.
        luma: The luma of the header, which gray images do not get; None for the encoder's.
        cell_bits: The base-2 logarithm of the side of the cells of a texture with random codes,
            which images so small do not get; None for no texture.
    """

    name: str
    reason: str
    image: Callable[[], Image]
    options: dict[str, Any] = field(default_factory=dict)
    has_checks: bool = False
    weights: ShippedWeights | None = None
    tiles: tuple[int, int] | None = None
    luma: int | None = None
    cell_bits: int | None = None


def photograph(height: int, width: int, top: int = 0, left: int = 0, name: str = "chelsea") -> np.ndarray:
    """A crop of a photograph that scikit-image ships, uint8 [height, width, 3]."""
    return np.ascontiguousarray(getattr(skimage.data, name)()[top : top + height, left : left + width])


def rgb(*crop: Any) -> Callable[[], Image]:
    return lambda: Image(photograph(*crop))


def gray(*crop: Any) -> Callable[[], Image]:
    return lambda: Image(photograph(*crop)[:, :, 1:2].copy())


def deep(*crop: Any, channels: int = 3) -> Callable[[], Image]:
    """Samples of 16 bits, whose lower bytes are not those of 8 bits."""

    def image() -> Image:
        pixels = photograph(*crop)[:, :, :channels].astype(np.uint16) * 257
        return Image(pixels ^ np.random.default_rng(5).integers(0, 256, pixels.shape, dtype=np.uint16))

    return image


def with_alpha(make: Callable[[], Image], metadata: Metadata | None = None) -> Callable[[], Image]:
    """An image with alpha that falls off around a disc of full alpha, and is 0 in the corners."""

    def image() -> Image:
        inner = make()
        height, width = inner.pixels.shape[:2]
        distance = np.hypot(*np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j])
        alpha = np.clip(1.6 - distance, 0, 1) ** 2 * np.iinfo(inner.pixels.dtype).max
        alpha[distance > 1.3] = 0
        return Image(inner.pixels, metadata or Metadata(), alpha.astype(inner.pixels.dtype))

    return image


def metadata() -> Metadata:
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08" + bytes(6)
    return Metadata(icc=b"a profile " * 12, exif=exif, xmp=b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>')


def tall() -> Image:
    """20x1536: several rows of tiles of few pixels."""
    return Image(np.tile(photograph(384, 20, 0, 150, "astronaut"), (4, 1, 1)))


def dots() -> Image:
    """Black with white squares, which contexts do not expect: escapes of 14 bits and more."""
    pixels = np.zeros((70, 66, 1), dtype=np.uint8)
    for top, left in ((16, 16), (16, 48), (32, 32), (48, 16), (48, 48)):
        pixels[top : top + 4, left : left + 4] = 255
    return Image(pixels)


def wide() -> Image:
    return Image(tall().pixels.swapaxes(0, 1).copy())


PSNR: dict[str, Any] = {"tune": "psnr"}
OVERFITTED: dict[str, Any] = {"model": "overfitted", "training_steps": 400}
# What each writes of the same image. 2, 4, 6 and 8 were efforts before 0.1.0, and their files stay.
EFFORTS = tuple(
    Case(
        f"effort-{tune}-{effort}",
        f"effort {effort}, tune {tune}; by --size",
        rgb(88, 104, 80, 110),
        {"tune": tune, "effort": effort, "size": 900},
    )
    for tune in ("visual", "psnr")
    for effort in range(1, 10)
)
CASES = (
    Case("wavelet-rgb", "one stream alone; by --rate", rgb(81, 97, 100, 120), PSNR | {"rate": 0.06}),
    Case("wavelet-gray", "gray; by --quality", gray(57, 71, 60, 100), PSNR | {"quality": 60}),
    Case("wavelet-fine", "the finest steps; by --lmbda", rgb(21, 33, 120, 150), PSNR | {"lmbda": 2e-6}),
    Case("wavelet-narrow", "one row; by --size", rgb(1, 90, 100, 120), PSNR | {"size": 90}),
    Case("wavelet-pixel", "one pixel", rgb(1, 1, 100, 120), PSNR | {"quality": 80}),
    Case("wavelet-filter", "a filter; by --psnr", rgb(192, 208, 60, 100, "coffee"), {"psnr": 36.0}),
    Case(
        "wavelet-adaptation",
        "filter and adaptation",
        rgb(256, 256, 20, 100, "coffee"),
        PSNR | {"effort": 3, "quality": 80},
    ),
    Case(
        "wavelet-adaptation-gray",
        "filter and adaptation, gray",
        gray(255, 384, 60, 30, "coffee"),
        PSNR | {"quality": 90},
    ),
    Case("wavelet-visual", "luma of Rec. 601; by --ssimulacra2", rgb(160, 177, 60, 100), {"ssimulacra2": 60.0}),
    Case("wavelet-tiles", "several rows of tiles", tall, PSNR | {"rate": 0.03}),
    Case("wavelet-deep", "16 bits", deep(40, 52, 100, 120), PSNR | {"rate": 0.05}),
    Case("wavelet-alpha", "alpha and metadata", with_alpha(rgb(40, 52, 100, 120), metadata()), PSNR | {"rate": 0.2}),
    Case("wavelet-deep-alpha", "gray of 16 bits with alpha", with_alpha(deep(40, 52, 100, 120, channels=1)), PSNR),
    Case(
        "gray-as-rgb",
        "gray that is shown as RGB",
        lambda: Image(np.repeat(photograph(40, 52, 100, 120)[:, :, 1:2], 3, axis=2)),
        PSNR | {"rate": 0.03},
    ),
    Case(
        "checked-all",
        "checks, alpha and metadata",
        with_alpha(rgb(80, 96, 80, 120), Metadata(xmp=b"<x/>")),
        PSNR | {"quality": 50},
        has_checks=True,
    ),
    Case(
        "wavelet-tiles-both",
        "several rows and columns of tiles",
        gray(512, 512, 0, 0, "astronaut"),
        PSNR | {"rate": 0.005},
        tiles=(2, 2),
    ),
    Case("wavelet-gray-luma", "gray with luma 2", gray(41, 33, 100, 120), PSNR | {"quality": 50}, luma=2),
    Case("wavelet-escapes", "several long escapes in an array", dots, PSNR | {"lmbda": lmbda_of_step(1 / 64)}),
    Case("wavelet-step-11", "a q_step of 11", rgb(19, 23, 120, 150), PSNR | {"lmbda": lmbda_of_step(11 / 64)}),
    Case("wavelet-step-23", "a q_step of 23", gray(23, 31, 120, 150), PSNR | {"lmbda": lmbda_of_step(23 / 64)}),
    Case(
        "wavelet-code-points",
        "code points of colours",
        lambda: Image(photograph(24, 20, 100, 120), Metadata(cicp=bytes((9, 16, 0, 1)))),
        PSNR | {"quality": 40},
    ),
    Case(
        "wavelet-significant-bits",
        "samples of 10 bits that fill 16",
        lambda: Image(deep(22, 26, 90, 120)().pixels, Metadata(significant_bits=10)),
        PSNR | {"quality": 40},
    ),
    Case(
        "wavelet-gain-map",
        "a gain map",
        lambda: Image(photograph(20, 24, 100, 120), Metadata(gainmap=b"\xff\xd8 not read \xff\xd9")),
        PSNR | {"quality": 40},
    ),
    Case("checked-tiles", "checks of tiles", wide, PSNR | {"quality": 30}, has_checks=True),
    Case(
        "overfitted-small",
        "its weights; by --rate",
        rgb(97, 89, 80, 120),
        OVERFITTED | {"rate": 0.05},
        weights=OVERFITTED_SMALL,
    ),
    Case(
        "overfitted-fine",
        "its weights; by --psnr",
        rgb(58, 51, 80, 150),
        OVERFITTED | {"psnr": 36.0},
        weights=OVERFITTED_FINE,
    ),
    Case(
        "overfitted-large",
        "its weights; by --lmbda",
        rgb(68, 85, 80, 120),
        OVERFITTED | {"lmbda": 4e-3},
        weights=OVERFITTED_LARGE,
    ),
    Case(
        "overfitted-wide",
        "its weights; by --size",
        rgb(75, 61, 80, 120),
        OVERFITTED | {"size": 1300},
        weights=OVERFITTED_WIDE,
    ),
    Case(
        "overfitted-detailed",
        "its weights",
        rgb(61, 75, 80, 120),
        OVERFITTED | {"size": 900},
        weights=OVERFITTED_DETAILED,
    ),
    Case("overfitted-narrow", "one column", rgb(90, 1, 80, 120), OVERFITTED | {"size": 80}),
    Case("overfitted-deep-gray", "gray of 16 bits", deep(37, 51, 80, 120, channels=1), OVERFITTED | {"rate": 0.1}),
    Case("overfitted-alpha", "alpha", with_alpha(rgb(33, 40, 80, 120)), OVERFITTED | {"rate": 0.3}),
    Case("checked-overfitted", "checks", rgb(40, 70, 80, 120), OVERFITTED | {"psnr": 33.0}, has_checks=True),
    *EFFORTS,
    Case("wavelet-texture", "a texture", rgb(81, 97, 100, 120), {"quality": 30}, cell_bits=6),
    Case(
        "wavelet-texture-tiles",
        "a texture in tiles, cells of 128 pixels",
        gray(512, 512, 0, 0, "astronaut"),
        PSNR | {"rate": 0.005},
        tiles=(2, 2),
        cell_bits=7,
    ),
    Case("wavelet-texture-deep", "a texture, 16 bits", deep(75, 70, 100, 120), {"quality": 20}, cell_bits=6),
    Case(
        "wavelet-texture-deep-gray",
        "a texture, gray of 16 bits, cells of 256 pixels",
        deep(40, 300, 100, 120, channels=1),
        PSNR | {"rate": 0.02},
        cell_bits=8,
    ),
)
REASONS = OTHERS | {case.name: case.reason for case in CASES}


def file_of(case: Case) -> bytes:
    """The bytes of a golden file."""
    chosen = plan.weights_and_schedule

    def weights_and_schedule(colours: np.ndarray, lmbda: float, steps: int) -> tuple[OverfittedWeights, FitSchedule]:
        weights, schedule = chosen(colours, lmbda, steps)
        return (overfitted_weights_of(case.weights.id) if case.weights else weights), schedule

    def tiling(height: int, width: int, channels: int) -> Tiling:
        return Tiling(height, width, channels, default_levels(height, width), *(case.tiles or (1, 1)))

    with (
        mock.patch.object(plan, "weights_and_schedule", weights_and_schedule),
        mock.patch.object(read_write, "CHECKS_FRACTION", 1.0 if case.has_checks else 0.0),
        mock.patch.object(Tiling, "default", tiling if case.tiles else Tiling.default),
    ):
        data = dfmcodec.encode(case.image(), **case.options).data
    if case.cell_bits is not None:
        data = _with_texture(data, case.cell_bits)
    return data if case.luma is None else _with_luma(data, case.luma)


def _with_texture(data: bytes, cell_bits: int) -> bytes:
    """A wavelet file with a texture of random codes."""
    model: Any = container.read(data)[0]
    shape = amplitude_count(model.architecture.channels), *cell_counts(model.height, model.width, cell_bits)
    codes = np.random.default_rng(cell_bits).integers(0, MAX_CODE, shape).astype(np.int8)
    return container.write(replace(model, samples=None, texture=Texture(77, 100, cell_bits, codes)), {})


def _with_luma(data: bytes, luma: int) -> bytes:
    """A wavelet file with another luma in its header."""
    content = data[:_LUMA_AT] + bytes([luma]) + data[_LUMA_AT + 1 : -4]
    return content + struct.pack("<I", zlib.crc32(content))


def main() -> None:
    for case in CASES:
        path = GOLDEN / f"{case.name}.dfm"
        if path.exists():
            continue
        data = file_of(case)
        path.write_bytes(data)
        image = path.with_suffix(".png")
        decoded = decode_image(data)
        as_decoded = replace(
            decoded, metadata=replace(decoded.metadata, significant_bits=None)
        )  # not the nearest of fewer bits
        image.write_bytes(image_to_bytes(as_decoded, output_format(image, None)))
        sections = "+".join(section.title for section in container.read_header(data).sections)
        print(f"{path.name}: {len(data)} bytes, {sections}")


if __name__ == "__main__":
    main()
