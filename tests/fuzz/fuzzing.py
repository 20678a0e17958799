"""Common checks of fuzzing: a mutated file gives an image or a documented error.

`examine` is what all fuzzing calls; structured.py and the tests choose the files.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dfmcodec import container
from dfmcodec._types import Pixels
from dfmcodec.codecs.decode import DecodeRequest, decode_best_effort, decode_image
from dfmcodec.container.integrity import examine as examine_state
from dfmcodec.errors import ConfigError, DfmError, FormatError, LimitError
from dfmcodec.image.region import Region

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "v1"
MAX_PIXELS = 1 << 16
MAX_MULTIPLY_ADDS = 1 << 30
MAX_SEED_BYTES = 1300


def seeds() -> list[bytes]:
    """The small golden files: all models, all kinds of images, all pretrained weights."""
    files = [path.read_bytes() for path in sorted(GOLDEN.glob("*.dfm"))]
    return [data for data in files if len(data) <= MAX_SEED_BYTES]


def with_crc(content: bytes) -> bytes:
    """Content with the CRC-32 of an intact file."""
    return content + struct.pack("<I", zlib.crc32(content))


def broken(files: list[bytes], rng: np.random.Generator) -> Iterator[bytes]:
    """Endless, as transfers and disks break files: bits flipped, the end lost, bytes added;
    checksums as they were.
    """
    while True:
        data = bytearray(files[rng.integers(len(files))])
        if rng.integers(3) == 0:
            data = data[: rng.integers(1, len(data))]
        elif rng.integers(4) == 0:
            data += rng.bytes(int(rng.integers(1, 30)))
        for _ in range(rng.integers(0, 5)):
            data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        yield bytes(data)


def outcome(data: bytes, max_pixels: int = MAX_PIXELS) -> str:
    """What decoding comes to: "image" or the name of a documented error; anything else is
    raised.
    """
    try:
        decode_image(data, DecodeRequest(max_pixels=max_pixels))
    except FormatError as error:
        return type(error).__name__ if "\n" not in str(error) else "an error of several lines"
    return "image"


def best_effort_outcome(data: bytes, max_pixels: int = MAX_PIXELS) -> str:
    """As `outcome`, of what is there; "a part" where something is not."""
    try:
        _, losses = decode_best_effort(data, DecodeRequest(max_pixels=max_pixels))
    except FormatError as error:
        return type(error).__name__ if "\n" not in str(error) else "an error of several lines"
    return "a part" if losses else "image"


class Finding(Exception):
    """What should not have happened."""


def must(condition: bool, message: str) -> None:
    """Raises a `Finding` where a condition does not hold."""
    if not condition:
        raise Finding(message)


def one_line(error: Exception) -> str:
    """The name of a documented error, whose message must be one line."""
    must("\n" not in str(error), f"an error of several lines: {error}")
    return type(error).__name__


def examine(data: bytes, rng: np.random.Generator, max_pixels: int = MAX_PIXELS) -> str:
    """Reads the header and decodes a file, then does one thing more with it: a region and another
    size, what is left of it, or what is left of a part of it.

    Args:
        data: The file.
        rng: Chooses what else is done.
        max_pixels: The limit on pixels.

    Returns:
        "image", or the name of the documented error that decoding ends with.

    Raises:
        Finding: What was decoded in two ways differs, or a message has several lines.
    """
    given = {"max_pixels": max_pixels, "max_multiply_adds": MAX_MULTIPLY_ADDS}
    try:
        header = container.read_header(data, max_pixels)
        must(all("\n" not in line for line in examine_state(data, header).problems), "a problem of several lines")
        complete = decode_image(data, DecodeRequest(**given)).pixels
        found = "image"
    except DfmError as error:
        found = one_line(error)
    further = rng.integers(4)
    if further == 0 and found == "image":
        _examine_parts(data, complete, rng, given)
    elif further == 1:
        try:
            left, losses = decode_best_effort(data, DecodeRequest(**given))
        except DfmError as error:
            must(found != "image", f"a complete decodes, but not what there is of it: {one_line(error)}")
        else:
            must((found == "image") == (not losses), f"losses of a whole, or none of a part: {losses}")
            must(bool(losses) or np.array_equal(left.pixels, complete), "what there is of a complete is another image")
    elif further == 2 and len(data) > 1:
        try:
            _, losses = decode_best_effort(data[: rng.integers(1, len(data))], DecodeRequest(**given))
        except DfmError as error:
            one_line(error)
        else:
            must(bool(losses), "nothing is said to be lost of a part")
            must(not any("\n" in line for line in losses), "a loss of several lines")
    return found


def _examine_parts(data: bytes, complete: Pixels, rng: np.random.Generator, given: dict[str, Any]) -> None:
    """Decodes a region and another size of a file that decodes."""
    height, width = complete.shape[:2]
    top, left = (int(rng.integers(side)) for side in (height, width))
    region = Region(top, left, int(rng.integers(top, height)) + 1, int(rng.integers(left, width)) + 1)
    part = decode_image(data, DecodeRequest(**given, region=region)).pixels
    must(part.shape[:2] == (region.height, region.width), "a region of another size")
    must(np.array_equal(part, complete[region.rows, region.columns]), "a region is not what the complete has there")
    size = max(1, width // int(rng.integers(1, 9))), max(1, height // int(rng.integers(1, 9)))
    try:
        scaled = decode_image(data, DecodeRequest(**given, size=size, region=region if rng.integers(2) else None))
        must(scaled.pixels.shape[1::-1] == size, "another size than the one that was asked for")
        decode_image(data, DecodeRequest(**given, scale=float(2 ** rng.uniform(-6, 2))))
    except (ConfigError, LimitError) as error:
        documented = "more than the limit" in str(error) or "is not a possible image size" in str(error)
        must(documented, f"a size is refused: {error}")
    except DfmError as error:
        must(False, f"a complete decodes, but not at another size: {error}")
