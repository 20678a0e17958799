"""Shared parts of the benchmarks: images by name, rows of results, and the anchor's file of a size.

Rows are kept as JSON lines and shown as Markdown. Their keys are those of the recorded results in
benchmarks/results/, where an image is a "picture" and a host a "machine".
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
import skimage.data

import dfmcodec
from dfmcodec import container
from dfmcodec.bench.codecs import Codec, Jpeg
from dfmcodec.bench.matching import Match, SizeSearch
from dfmcodec.image import Image
from dfmcodec.image.read_image import to_image
from dfmcodec.image.strip import EVERYTHING
from dfmcodec.perception import bits_per_pixel, psnr

Pixels = npt.NDArray[np.unsignedinteger[Any]]  # uint8 or uint16 [H, W, C]
Row = dict[str, Any]
images_argument = click.argument("images", nargs=-1, required=True)
optional_images_argument = click.argument("images", nargs=-1)
out_option = click.option(
    "--out", type=click.Path(path_type=Path), help="The file of JSON lines to which rows are appended."
)
plot_option = click.option("--plot", type=click.Path(path_type=Path), help="The file to draw the rows to.")


def load(name: str) -> tuple[str, Image]:
    """Loads an image.

    Args:
        name: A path, or the name of one of scikit-image's photographs.

    Returns:
        The name of the image without folder and suffix, and the image without its metadata.
    """
    if Path(name).suffix:
        return Path(name).stem, to_image(name, strip=EVERYTHING)
    return name, to_image(getattr(skimage.data, name)())


def as_rgb(pixels: Pixels) -> Pixels:
    """Returns pixels with three channels, of which gray has equal ones: [H, W, 3]."""
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels


def numbers(text: str) -> list[int]:
    """Returns the integers of a list that is separated by commas."""
    return [int(part) for part in text.split(",") if part]


def read_rows(path: Path | None) -> list[Row]:
    """Returns the rows of an earlier run; none if there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path is not None and path.exists() else []


def record(rows: Iterable[Row], out: Path | None) -> list[Row]:
    """Appends each row to a file as it comes, shows it on stderr, and prints all rows as a table at
    the end.
    """
    recorded: list[Row] = []
    for row in rows:
        recorded.append(row)
        click.echo(json.dumps(row), err=True)
        if out is not None:
            append_row(row, out)
    if recorded:
        click.echo(f"{dfmcodec.__version__}; {host()}\n\n{table(recorded)}")
    return recorded


def figures(image: Image, data: bytes) -> Row:
    """Returns the figures of a file of an image, which the package decodes."""
    started = time.perf_counter()
    decoded = dfmcodec.decode(data)
    seconds = time.perf_counter() - started
    return {
        "bytes": len(data),
        "networks": container.read_header(data, image.pixel_count).section_bytes().get("networks", 0),
        "bpp": round(bits_per_pixel(len(data), image.pixel_count), 5),
        "psnr_db": round(psnr(image.pixels, decoded.pixels, None), 3),
        "decode_s": round(seconds, 2),
    }


def file_row(image: Image, setting: str, size: int) -> Row:
    """Returns the figures of a file that is written to a limit.

    Args:
        image: The image.
        setting: The model and the effort, "wavelet:5".
        size: The limit in bytes.
    """
    model, effort = setting.split(":")
    started = time.perf_counter()
    result = dfmcodec.encode(image.pixels, size=size, model=model, effort=int(effort), tune="psnr")
    seconds = time.perf_counter() - started
    return {"setting": setting, **figures(image, result.data), "encode_s": round(seconds, 1)}


def run_program(*words: object, env: Mapping[str, str] | None = None) -> str:
    """Runs a program, with an environment if one is given, and returns its output.

    Raises:
        subprocess.CalledProcessError: It fails.
    """
    command = [str(word) for word in words]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout


def append_row(row: Row, out: Path) -> None:
    """Appends a row to a file of JSON lines."""
    with out.open("a") as file:
        file.write(json.dumps(row) + "\n")


def table(rows: list[Row]) -> str:
    """Returns the rows as a Markdown table."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(_cell(row.get(name)) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1 else f"{value:.2f}"
    return "" if value is None else str(value)


def host() -> str:
    """Returns a description of the host that a result comes from."""
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def largest_within(codec: Codec, pixels: Pixels, limit_bytes: int) -> tuple[Match, float] | None:
    """Finds a codec's best file of at most `limit_bytes`.

    Args:
        codec: The codec. The form with the higher PSNR counts.
        pixels: uint8 [H, W, C].
        limit_bytes: The size limit.

    Returns:
        The file and its PSNR in dB; None if all files are larger.
    """
    best: tuple[Match, float] | None = None
    for form in codec.forms:
        match = SizeSearch(codec, form, pixels).largest_within(limit_bytes)
        if isinstance(match, Match):
            quality = psnr(pixels, decoded_like(codec, match.data, pixels))
            if best is None or quality > best[1]:
                best = match, quality
    return best


def decoded_like(codec: Codec, data: bytes, pixels: Pixels) -> Pixels:
    """Returns the image of a file, with as many channels as the original."""
    decoded, channels = codec.decode(data), pixels.shape[2]
    return np.repeat(decoded, channels, axis=2) if decoded.shape[2] == 1 else decoded[:, :, :channels]


def jpeg_within(pixels: Pixels, limit_bytes: int) -> tuple[int | None, float | None]:
    """Returns the bytes and the PSNR of the better JPEG of 4:4:4 and 4:2:0."""
    best = largest_within(Jpeg(), pixels, limit_bytes)
    return (None, None) if best is None else (len(best[0].data), best[1])
