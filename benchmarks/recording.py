"""What the benchmarks share: pictures by name, rows kept as JSON lines and shown as Markdown, anchors of a size."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import numpy as np
import skimage.data

import dfmcodec
from dfmcodec.bench.codecs import Codec, Jpeg
from dfmcodec.bench.matching import Match, SizeSearch
from dfmcodec.image import Image, Pixels
from dfmcodec.metrics import psnr
from dfmcodec.reading import to_image

Row = dict[str, Any]
out_option = click.option("--out", type=click.Path(path_type=Path), help="JSON lines to add the rows to.")
plot_option = click.option("--plot", type=click.Path(path_type=Path), help="Where to draw the rows.")
pictures_argument = click.argument("pictures", nargs=-1, required=True)


def load(name: str) -> tuple[str, Image]:
    """A picture's name and the picture: a file, or one of scikit-image's photographs by name."""
    if Path(name).suffix:
        return Path(name).stem, to_image(name, strip=True)
    return name, to_image(getattr(skimage.data, name)())


def read_rows(path: Path | None) -> list[Row]:
    """Rows of an earlier run; none where there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path is not None and path.exists() else []


def record(rows: Iterable[Row], out: Path | None) -> list[Row]:
    """Keeps rows as they come, shows each on stderr and all as a Markdown table at the end."""
    kept: list[Row] = []
    for row in rows:
        kept.append(row)
        click.echo(json.dumps(row), err=True)
        if out is not None:
            with out.open("a") as file:
                file.write(json.dumps(row) + "\n")
    if kept:
        click.echo(f"{dfmcodec.__version__}; {machine()}\n\n{table(kept)}")
    return kept


def table(rows: list[Row]) -> str:
    """Markdown."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(_cell(row.get(name)) for name in names) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1 else f"{value:.2f}"
    return "" if value is None else str(value)


def machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def largest_within(codec: Codec, pixels: Pixels, limit_bytes: int) -> tuple[Match, float] | None:
    """A codec's best file of at most so many bytes, of its forms the better, and its PSNR; None if all are larger."""
    best: tuple[Match, float] | None = None
    for form in codec.forms:
        match = SizeSearch(codec, form, pixels).largest_within(limit_bytes)
        if isinstance(match, Match):
            quality = psnr(pixels, decoded_like(codec, match.data, pixels))
            if best is None or quality > best[1]:
                best = match, quality
    return best


def decoded_like(codec: Codec, data: bytes, pixels: Pixels) -> Pixels:
    """A file's picture, of as many channels as the original."""
    decoded = codec.decode(data)
    return decoded if decoded.shape == pixels.shape else np.repeat(decoded, pixels.shape[2], axis=2)


def jpeg_within(pixels: Pixels, limit_bytes: int) -> tuple[int | None, float | None]:
    """Bytes and PSNR of the better JPEG of 4:4:4 and 4:2:0."""
    found = largest_within(Jpeg(), pixels, limit_bytes)
    return (None, None) if found is None else (len(found[0].data), found[1])
