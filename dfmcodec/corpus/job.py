"""Job of a corpus: everything that determines the outputs besides the images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Job:
    """Job of a corpus.

    Args:
        task: "encode" or "pack".
        settings: The settings of the task, as plain values.
        sources: The sources as named by the user.
        recursive: Whether to search subfolders.
        source_form: "files", "tar" or "parquet".
        form: The form of the outputs, with the same values.
        column: The column of Parquet sources with the images or their names; None to find a column
            of images.
        places: The allowed places of names in that column, from `places.places_of`.
        shard_size: The maximum number of images in a shard.
        skips_links: Whether to skip local files that are symbolic links.
    """

    task: str
    settings: dict[str, Any]
    sources: tuple[str, ...]
    recursive: bool
    source_form: str
    form: str
    column: str | None
    places: tuple[str, ...]
    shard_size: int
    skips_links: bool
