"""Writes fixtures for the tests of the browser decoder: files, and the images that the package
decodes from them.

    python web/test/make_fixtures.py FOLDER [--fresh 20] [--largest 30000]

FOLDER receives weights.bin, the golden files, the files of the fuzzing corpus and new ones; for
each image the samples as `<name>.raw`; and fixtures.json, the list of expected results:

    {"name", "image": {"width", "height", "channels", "bitDepth"}, "symbols", "icc", "exif", "xmp"}
    {"name", "error": kind, "message"}

"symbols" are the checks of the symbols as in a checks section, even if the file has none; null for
codecs without latents. Metadata are given by their CRC-32, or null.
"""

from __future__ import annotations

import argparse
import json
import shutil
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from dfmcodec.web.make_weights import weights_bytes

import dfmcodec
from dfmcodec import container
from dfmcodec.codecs.decode import decode_image
from dfmcodec.codecs.overfitted.contents import QuantizedGrids
from dfmcodec.codecs.overfitted.sections.grids import grid_checks
from dfmcodec.codecs.wavelet.contents import QuantizedLatents, tiling_of
from dfmcodec.codecs.wavelet.sections.latents import tile_checks
from dfmcodec.errors import FormatError
from dfmcodec.image import Image, Metadata
from dfmcodec.threads import one_core_products

ROOT = Path(__file__).resolve().parents[2]
KINDS = {
    "BadMagicError": "not-dfm",
    "TruncatedError": "truncated",
    "CorruptError": "corrupt",
    "UnsupportedVersionError": "unsupported-version",
    "LimitError": "limit",
}
PHOTOS = ("astronaut", "chelsea", "coffee", "camera")


def committed() -> Iterator[tuple[str, bytes]]:
    """Yields the golden files and those of the fuzzing corpus."""
    for folder in ("golden/v1", "fuzz/corpus"):
        for path in sorted((ROOT / "tests" / folder).glob("*.dfm")):
            yield path.stem, path.read_bytes()


def pixel_count(data: bytes) -> int:
    """Returns the number of pixels of a file's image; 0 if its header cannot be read."""
    try:
        header = container.read_header(data)
    except FormatError:
        return 0
    return header.height * header.width


def fresh(count: int) -> Iterator[tuple[str, bytes]]:
    """Yields files of parts of photographs in all codecs, drawn with a seed."""
    rng = np.random.default_rng(21)
    for number in range(count):
        photo = getattr(skimage.data, PHOTOS[number % len(PHOTOS)])()
        options: dict[str, Any] = {"effort": 1, "quality": float(rng.integers(15, 96))}
        height, width = (int(side) for side in rng.integers(20, 170, 2))
        if number % 10 == 3:
            options = {"model": "overfitted", "effort": 1, "training_steps": 30, "quality": options["quality"]}
        if number % 10 == 7:
            options = {"model": "coordinate", "rate": 0.5, "training_steps": 30}
            height, width = height // 4, width // 4
        top, left = (
            int(rng.integers(0, side - part)) for side, part in zip(photo.shape, (height, width), strict=False)
        )
        pixels = photo[top : top + height, left : left + width]
        if number % 5 == 1:
            pixels = np.tile(pixels[:, :24], (1 + 1540 // height, 1, 1)[: pixels.ndim])  # several tiles
        if number % 4 == 2:
            pixels = (pixels.astype(np.uint16) << 8) + rng.integers(0, 256, pixels.shape, dtype=np.uint16)
        yield f"fresh-{number:02}", dfmcodec.encode(decorated(pixels, number, rng), **options).data


def decorated(pixels: Any, number: int, rng: np.random.Generator) -> Image:
    """Creates an image from pixels, every third one with alpha and some with metadata."""
    pixels = np.ascontiguousarray(pixels if pixels.ndim == 3 else pixels[:, :, None])
    height, width = pixels.shape[:2]
    alpha = None
    if number % 3 == 0:
        peak = np.iinfo(pixels.dtype).max
        distance = np.hypot(*np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j])
        alpha = (np.clip(1.2 - distance, 0, 1) * peak).astype(pixels.dtype)
        alpha[rng.random(alpha.shape) < 0.01] = 0
    metadata = Metadata(icc=rng.bytes(300)) if number % 4 == 0 else Metadata()
    return Image(pixels, metadata, alpha)


def symbol_checks(data: bytes) -> list[int] | None:
    """Returns the checks of the symbols of a file."""
    with one_core_products():
        model, _ = container.read(data)
    if isinstance(model, QuantizedGrids):
        return grid_checks(model.grids)
    if not isinstance(model, QuantizedLatents):
        return None
    checks, start = [], 0
    for tile in tiling_of(model.architecture, model.height, model.width).tiles:
        count = tile.geometry.symbol_count()
        checks += tile_checks(model.symbols[start : start + count], tile.geometry)
        start += count
    return checks


def expected(name: str, data: bytes, folder: Path) -> dict[str, Any]:
    """Returns the expected result of a file and writes its samples."""
    try:
        image = decode_image(data)
    except FormatError as error:
        return {"name": name, "error": KINDS[type(error).__name__], "message": str(error)}
    samples = np.ascontiguousarray(image.samples)
    height, width, channels = samples.shape
    (folder / f"{name}.raw").write_bytes(samples.astype(samples.dtype.newbyteorder("<")).tobytes())
    metadata = {key: getattr(image.metadata, key) for key in ("icc", "exif", "xmp")}
    return {
        "name": name,
        "image": {"width": width, "height": height, "channels": channels, "bitDepth": image.bit_depth},
        "symbols": symbol_checks(data),
        **{key: zlib.crc32(value) if value else None for key, value in metadata.items()},
    }


def main() -> None:
    """Writes all fixtures."""
    parser = argparse.ArgumentParser(description="Write the fixtures of the tests of the decoder in the browser.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fresh", type=int, default=20, help="the number of new files")
    parser.add_argument("--largest", type=int, help="leave out committed files of images with more pixels")
    arguments = parser.parse_args()
    folder = arguments.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "weights.bin").write_bytes(weights_bytes())
    fixtures = []
    some = (file for file in committed() if arguments.largest is None or pixel_count(file[1]) <= arguments.largest)
    for name, data in chain(some, fresh(arguments.fresh)):
        (folder / f"{name}.dfm").write_bytes(data)
        fixtures.append(expected(name, data, folder))
    (folder / "fixtures.json").write_text(json.dumps(fixtures))


if __name__ == "__main__":
    main()
