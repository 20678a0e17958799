"""Job of a corpus: everything that determines the outputs besides the images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Job:
    """Job of a corpus."""

    task: str  # "encode" or "pack"
    settings: dict[str, Any]  # of the task, as plain values
    sources: tuple[str, ...]  # files, folders, and patterns with `*`, `?`, `[...]`, `{a,b}` and `{000..999}`
    recursive: bool
    source_format: str  # "files", "tar" or "parquet"
    format: str  # of the outputs, with the same values
    column: str | None  # of Parquet sources with the images or their names; None to find one of images
    places: tuple[str, ...]  # allowed places of names in that column, from `places.places_of`
    shard_size: int  # maximum number of images
    skips_links: bool  # whether to skip local symbolic links, and files behind a link that was not named
