"""Tasks performed on each image of a corpus: encoding, or packing without changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from math import isfinite
from pathlib import PurePosixPath
from typing import Any

from dfmcodec.codecs.encode import encode_image
from dfmcodec.container import read_header
from dfmcodec.container.integrity import examine
from dfmcodec.corpus.forms.entry import NO_SUFFIX, Entry
from dfmcodec.errors import ConfigError, ImageError
from dfmcodec.files.atomic import EXTENSION, MAGIC
from dfmcodec.image import LARGEST_PIXELS
from dfmcodec.image.open_image import may_be_image, plugin_package
from dfmcodec.image.read_image import IMAGE_SUFFIXES, image_from_bytes
from dfmcodec.search.config import EncoderConfig

ENCODE, PACK = "encode", "pack"


@dataclass(frozen=True)
class Product:
    """Result of a task for an image."""

    data: bytes
    psnr_db: float | None = None  # None if the file is lossless or was not encoded
    ssimulacra2: float | None = None  # None if the tune was not "visual"
    is_wanted: bool = True  # False if it is not smaller than its source
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """Task to perform on each image."""

    perform: Callable[[bytes, Entry], Product]  # creates the output of an image
    target_name: Callable[[str], str]  # returns the name of an output for that of its source
    is_wanted: Callable[[str], bool]  # whether a file of a folder is used, by its name
    advice: str = "rename one of them"  # for two sources with the same output


def encode_settings(
    config: EncoderConfig,
    *,
    strip: frozenset[str],
    page: int | None,
    max_pixels: int,
    keeps_extension: bool,
    skips_larger: bool,
) -> dict[str, Any]:
    """Returns the settings of `ENCODE` as plain values, with only those of the encoder that differ
    from their defaults. Raises ConfigError if the outputs would depend on the speed of the host.
    """
    if config.time_limit_s is not None:
        msg = "--time-limit makes other files on a slower host, but a shard done twice must be the same; use --effort"
        raise ConfigError(msg)
    values = vars(config)
    return {
        **{field.name: values[field.name] for field in fields(config) if values[field.name] != field.default},
        "strip": sorted(strip),
        "page": page,
        "max_pixels": max_pixels,
        "keeps_extension": keeps_extension,
        "skips_larger": skips_larger,
    }


def task_of(name: str, settings: dict[str, Any]) -> Task:
    """Returns the task of a job: `ENCODE` or `PACK`. Raises ConfigError if a setting is invalid."""
    return _pack() if name == PACK else _encode(**settings)


def _pack() -> Task:
    def target_name(name: str) -> str:
        return name if PurePosixPath(name).suffix else name + NO_SUFFIX

    def perform(data: bytes, entry: Entry) -> Product:
        check_intact(data, entry.name)
        return Product(data)

    return Task(perform, target_name, lambda name: _is_image(name) or _is_dfm(name))


def check_intact(data: bytes, name: str) -> None:
    """Raises an error if an image is visibly damaged, without decoding it.

    For a `.dfm` file, the header, the section table and the CRC-32 are checked, which cover all
    bytes. For other images, the first bytes are compared with those of known formats. A file whose
    name has the extension `.dfm` must be a `.dfm` file. Raises FormatError if the `.dfm` file is
    damaged, truncated or of a newer version, and ImageError if the file is empty, or is not an
    image of a known format.
    """
    if _is_dfm(name) or data.startswith(MAGIC):
        examine(data, read_header(data, LARGEST_PIXELS)).refuse_damage()
    elif not data:
        msg = "the file is empty; an image is needed"
        raise ImageError(msg)
    elif not may_be_image(data) and plugin_package(data) is None:
        msg = f"not an image of a known format: its first bytes are {data[:4]!r}; get another copy"
        raise ImageError(msg)


def _encode(
    strip: list[str],
    page: int | None,
    max_pixels: int,
    keeps_extension: bool,
    skips_larger: bool,
    **encoder: Any,
) -> Task:
    config = EncoderConfig(**encoder)

    def perform(data: bytes, entry: Entry) -> Product:
        notices: list[str] = []
        if data.startswith(MAGIC):
            check_intact(data, entry.name)  # a .dfm file is refused in any case; this reports damage first
        image = image_from_bytes(data, entry.source, max_pixels, strip, page, notices.append)
        found: list[str] = []
        result = encode_image(image, config, notify=found.append)
        notices += (f"{entry.source}: {notice}" for notice in found)
        report = result.report
        psnr_db = round(report.psnr_db, 3) if isfinite(report.psnr_db) else None
        seen = None if report.ssimulacra2 is None else round(report.ssimulacra2, 2)
        is_wanted = not skips_larger or len(result.data) < len(data)
        return Product(result.data, psnr_db, seen, is_wanted, tuple(notices))

    def target_name(name: str) -> str:
        is_kept = keeps_extension or not _is_image(name)
        return name + EXTENSION if is_kept else str(PurePosixPath(name).with_suffix(EXTENSION))

    advice = Task.advice if keeps_extension else "--keep-extension distinguishes them if their extensions differ"
    return Task(perform, target_name, _is_image, advice)


def _is_dfm(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() == EXTENSION


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
