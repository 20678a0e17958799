"""The job of a corpus: everything that decides the outputs besides the images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Job:
    """What is to be done with a corpus.

    Args:
        task: "encode" or "pack".
        settings: Of the task, as plain values.
        sources: What is named as sources.
        recursive: Whether subfolders are searched too.
        source_form: "files", "tar" or "parquet".
        form: That of the outputs, likewise.
        column: The column of images, or of their names, of Parquet sources; None to find one of
            images.
        places: Where names in that column may lead, as `places.places_of` gives them.
        shard_size: The images of a shard, at most.
        skips_links: Whether local files that are symbolic links are left out.
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
