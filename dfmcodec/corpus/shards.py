"""Encoding of one shard, which any worker can do, repeatedly and concurrently."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from threading import current_thread, main_thread
from typing import Any

from dfmcodec.codecs.encode import encode_image
from dfmcodec.corpus.forms import WRITERS, read_entries
from dfmcodec.corpus.forms.entry import Entry, Writer
from dfmcodec.corpus.sources import FILES, PARQUET, TAR, Shard, encoded_name
from dfmcodec.corpus.store import Store, open_store, read_url
from dfmcodec.errors import (
    NO_MEMORY,
    DfmError,
    ImageError,
    InstallationError,
    MissingPackageError,
    OutputError,
    is_lack_of_memory,
)
from dfmcodec.files.names import as_unicode, fault_of_name
from dfmcodec.image.read_image import image_from_bytes
from dfmcodec.search.config import EncoderConfig
from dfmcodec.threads import stay_in_thread

_ERRORS = ".errors.jsonl"  # added to the name of a tar or Parquet file, for the images that failed


@dataclass
class ShardResult:
    """Result of a shard."""

    shards_existing: int = 0  # 1 if the tar or Parquet file exists
    images_done: int = 0
    images_existing: int = 0  # whose outputs, as files, exist
    source_bytes: int = 0  # of the images that are done
    output_bytes: int = 0
    failures: list[dict[str, str]] = field(default_factory=list)  # `source` and `error` of each image
    notices: list[str] = field(default_factory=list)  # of conversions and skipped members
    error: str | None = None  # why the shard is not done; None if it is


def encode_shard(
    shard: Shard, *, force: bool = False, column: str | None = None, strip: Collection[str] = (), **options: Any
) -> ShardResult:
    """Encodes the images of a shard, unless its output exists.

    A tar or Parquet file is written when all its images are encoded. Images that fail are left out,
    and are listed in a file beside it, `NAME.errors.jsonl`, so that later calls return them too. If
    outputs are files, each image is encoded unless its own output exists.

    The function can be pickled, and depends on nothing but its arguments and the environment, from
    which libraries of object stores take their credentials.

    Args:
        shard: Shard from `shards_of`, or any other one.
        force: Whether to replace existing outputs.
        column: Column of a Parquet file with the images. None chooses the only possible one.
        strip: Kinds of metadata to remove, as in `dfmcodec.encode`.
        options: Fields of `EncoderConfig`, such as `quality` and `effort`.

    Raises:
        ConfigError: An option or a column is invalid.
        DfmError: The source cannot be read to its end, or the store cannot be used. Nothing is
            lost if the function is called again.
    """
    if current_thread() is not main_thread():
        stay_in_thread()  # the other threads belong to the engine
    config = EncoderConfig(**options)
    store = open_store(shard.store)
    errors = shard.name + _ERRORS
    if shard.form != FILES and not force and store.holds(shard.name):
        lines = read_url(f"{store.url}/{errors}").splitlines() if store.holds(errors) else []
        return ShardResult(1, failures=[json.loads(line) for line in lines])
    encoding = _Encoding(shard, store, WRITERS[shard.form](store), force, config, frozenset(strip))
    for entry in read_entries(shard, column):
        encoding.add(entry)
    result, data = encoding.result, encoding.writer.packed()
    if encoding.skipped:
        result.notices.append(f"{shard.source}: skipped {encoding.skipped} members with other extensions")
    if data is not None:
        if result.failures or store.holds(errors):
            lines = [json.dumps(failure).encode() + b"\n" for failure in result.failures]
            store.write(errors, b"".join(lines))
        store.write(shard.name, data)
    return result


@dataclass
class _Encoding:
    """Encoding of the images of one shard."""

    shard: Shard
    store: Store
    writer: Writer
    force: bool
    config: EncoderConfig
    strip: frozenset[str]
    sources: dict[str, str] = field(default_factory=dict)  # by the key of the output
    result: ShardResult = field(default_factory=ShardResult)
    skipped: int = 0

    def add(self, entry: Entry) -> None:
        """Encodes an entry. An error of the image is recorded as a failure. Raises errors of the
        store and of the installation.
        """
        if not entry.is_image and self.shard.form != TAR:
            self.skipped += 1
            return
        try:
            self._add(entry)
        except Exception as error:
            if isinstance(error, InstallationError | MissingPackageError | OutputError):
                raise
            self.writer.leave_out(entry)
            message = message_of(error)
            message = message if message.startswith(entry.source) else f"{entry.source}: {message}"
            self.result.failures.append({"source": as_unicode(entry.source), "error": as_unicode(message)})

    def _add(self, entry: Entry) -> None:
        name, result = self._checked_name(entry), self.result
        if self.shard.form == FILES and not self.force and self.store.holds(name):
            result.images_existing += 1
            return
        data = entry.read()
        if not entry.is_image:
            self.writer.add(name, data, entry)
            return
        notify = result.notices.append
        image = image_from_bytes(data, entry.source, strip=self.strip, notify=notify)
        encoded = encode_image(image, self.config, notify=lambda notice: notify(f"{entry.source}: {notice}")).data
        self.writer.add(name, encoded, entry)
        result.images_done += 1
        result.source_bytes += len(data)
        result.output_bytes += len(encoded)

    def _checked_name(self, entry: Entry) -> str:
        """Returns the name of an output. Raises an ImageError if it is not unique and portable."""
        name, form = encoded_name(entry.name) if entry.is_image else entry.name, self.shard.form
        if entry.row is not None and form == PARQUET:
            return name  # a value in a row, which need not be a file name
        if form == FILES and self.shard.name:
            name = f"{self.shard.name}/{name}"
        other = entry.same_as or self.sources.setdefault(self.store.key(name), entry.source)
        if other is not entry.source:
            msg = f"{entry.source} has the same output as {other}, {name}; rename one of them"
            raise ImageError(msg)
        fault = fault_of_name(name)
        if fault is None and form == PARQUET and as_unicode(name) != name:
            name, fault = as_unicode(name), "it is not UTF-8, and a table holds text only"
        if fault is not None:
            msg = f"{name} cannot name an output: {fault}; rename the source"
            raise ImageError(msg)
        return name


def message_of(error: Exception) -> str:
    """Returns one line about an exception."""
    if is_lack_of_memory(error):
        return NO_MEMORY
    text = " ".join(str(error).split())
    return text if isinstance(error, DfmError) else f"unexpected {type(error).__name__}: {text}"
