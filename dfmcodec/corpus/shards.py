"""Shards: units of work that any worker can process, repeatedly and concurrently."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from dfmcodec.corpus.forms import open_writer, read_entries
from dfmcodec.corpus.forms.entry import Entry, Writer, require_pyarrow
from dfmcodec.corpus.forms.tars import is_image_member
from dfmcodec.corpus.job import Job
from dfmcodec.corpus.outputs import numbered_output
from dfmcodec.corpus.plan import read_plan
from dfmcodec.corpus.records import (
    DONE,
    FAILED,
    LARGER,
    Attempt,
    Commit,
    ImageRow,
    failure_line,
    read_commit,
    write_commit,
)
from dfmcodec.corpus.sources import FILES, PARQUET, RECORDS, TAR, Item, another, same_outputs
from dfmcodec.corpus.store import Store, UnusableNameError, open_store, version_of
from dfmcodec.corpus.tasks import Task, task_of
from dfmcodec.errors import (
    NO_MEMORY,
    ConfigError,
    DfmError,
    ImageError,
    InstallationError,
    MissingPackageError,
    OutputError,
    is_lack_of_memory,
)
from dfmcodec.files.names import as_unicode, fault_of_name

_SHOWN_NAMES = 3  # of members in a notice


@dataclass(frozen=True)
class Shard:
    """Reference to a shard, which an engine passes to a worker."""

    store: str  # URL, where a worker finds all other data
    number: int  # from 0


@dataclass(frozen=True)
class ShardResult:
    """Result of a shard."""

    shard: Shard
    commit: Commit | None  # None if the shard is not finished
    failures: tuple[str, ...] = ()  # error message of each image that failed
    error: str | None = None  # why the shard is not finished
    notices: tuple[str, ...] = ()


def encode_shard(shard: Shard) -> ShardResult:
    """Processes a shard unless it is finished. An engine has to call this function at least once
    for each shard.

    An image that fails gets a row, and the others continue. If this function ends before the
    commit, the shard is unfinished, and the next call processes all of it again. Raises DfmError if
    the store or the plan cannot be used.
    """
    require_pyarrow()
    store = open_store(shard.store)
    plan = read_plan(store)
    if plan is None:
        msg = f"{store.url} holds no plan, or its workers cannot see it; encode into it first"
        raise ConfigError(msg)
    earlier = read_commit(store, shard.number)
    if earlier is not None:
        return ShardResult(shard, earlier)
    job = plan.job
    items, task = plan.list_of(store, shard.number), task_of(job.task, job.settings)
    attempt, writer = Attempt(store, shard.number), open_writer(job, store, shard.number)
    work = _Work(store, job, task, writer, attempt, shard.number)
    rows = list(work.rows(items))
    archive_bytes = writer.close()
    failures = tuple(failure_line(row.source, row.error or "") for row in rows if row.status == FAILED)
    commit = write_commit(store, shard.number, rows, archive_bytes)
    return ShardResult(shard, commit, failures, notices=tuple(work.notices))


def try_shard(shard: Shard) -> ShardResult:
    """Calls `encode_shard` and returns errors as a result, so that other shards continue."""
    try:
        return encode_shard(shard)
    except Exception as error:
        if is_lack_of_memory(error):
            raise
        return ShardResult(shard, None, error=_message(error))


class _Work:
    """Processing of the images of one shard."""

    def __init__(self, store: Store, job: Job, task: Task, writer: Writer, attempt: Attempt, number: int) -> None:
        self._job = job
        self._task = task
        self._writer = writer
        self._attempt = attempt
        self._number = number
        self._key = store.key if job.format == FILES else str
        self.notices: list[str] = []

    def rows(self, items: list[Item]) -> Iterator[ImageRow]:
        """Processes the images of items. Yields a row for each, and for each item that cannot be
        read to its end. Raises errors of the store and of the installation.
        """
        index = 0
        try:
            for item in items:
                version = version_of(item.source)  # before it is read
                for entry in self._unique_entries(item):
                    if isinstance(entry, ImageRow):
                        yield entry
                        continue
                    yield from self._rows_of(index, entry, version)
                    index += 1
        finally:
            self._attempt.leave()

    def _unique_entries(self, item: Item) -> Iterator[Entry | ImageRow]:
        """Yields the entries of an item. Entries with the same output refer to another one with
        it. Such conflicts are known before entries are read, from the plan or the headers of a tar.
        """
        same = item.clashes
        if self._job.source_format == TAR and self._job.format != FILES:
            entries = (entry for entry in self._entries(item) if isinstance(entry, Entry) and self._has_output(entry))
            same = same_outputs((self._key(self._output_name(entry)), entry.source) for entry in entries)
        skipped: list[str] = []
        for entry in self._entries(item):
            if isinstance(entry, Entry) and not self._has_output(entry):
                skipped.append(entry.name)
            elif isinstance(entry, Entry) and (sources := same.get(self._key(self._output_name(entry)))):
                yield replace(entry, same_as=another(entry.source, sources))
            else:
                yield entry
        if skipped:
            names = ", ".join(skipped[:_SHOWN_NAMES]) + ", ..." * (len(skipped) > _SHOWN_NAMES)
            self.notices.append(f"{item.source}: skipped {len(skipped)} members with other extensions: {names}")

    def _entries(self, item: Item) -> Iterator[Entry | ImageRow]:
        """Yields the entries of an item, and a row for parts that cannot be read."""
        try:
            yield from read_entries(self._job, item)
        except Exception as error:
            yield ImageRow(item.source, None, FAILED, _message(error))

    def _has_output(self, entry: Entry) -> bool:
        """Indicates whether an entry has an output. Files beside images have one only in tars."""
        return entry.is_image or self._job.format == TAR

    def _output_name(self, entry: Entry) -> str:
        name = self._task.target_name(entry.name) if entry.is_image else entry.name
        return numbered_output(self._number, name) if entry.is_numbered else name

    def _rows_of(self, index: int, entry: Entry, version: str | None) -> Iterator[ImageRow]:
        """The row of an image; that of a file beside images only if it fails."""
        started = time.perf_counter()
        self._attempt.begin(index)
        data: bytes | None = None
        try:
            name = self._checked_name(entry)
            if self._attempt.is_fatal(index):
                msg = "it killed its worker twice, perhaps for lack of memory"
                raise ImageError(msg)
            try:
                data = entry.read()
            except MissingPackageError as error:  # other sources may not need the package
                raise ImageError(str(error)) from error
            if not entry.is_image:
                self._writer.keep(name, data)
                return
            product = self._task.perform(data, entry)
            if product.is_wanted:
                self._writer.add(name, product.data, entry)
            else:
                self._writer.leave_out(entry)
        except Exception as error:
            is_of_image = isinstance(error, UnusableNameError)
            if isinstance(error, InstallationError | MissingPackageError | OutputError) and not is_of_image:
                raise
            self._writer.leave_out(entry)
            yield ImageRow(entry.source, None, FAILED, _message(error), None if data is None else len(data))
            return
        self.notices += product.notices
        yield ImageRow(
            entry.source,
            name if product.is_wanted else None,
            DONE if product.is_wanted else LARGER,
            None,
            len(data),
            len(product.data),
            product.psnr_db,
            product.ssimulacra2,
            round(time.perf_counter() - started, 3),
            hashlib.sha256(product.data).hexdigest(),
            "; ".join(product.notices) or None,
            version,
            hashlib.sha256(data).hexdigest(),
        )

    def _checked_name(self, entry: Entry) -> str:
        """Returns the name of an output. Raises an ImageError if it is not unique and portable."""
        name = self._output_name(entry)
        # Here the name is a value in a row and need not be a file name.
        if self._job.source_format == self._job.format == PARQUET:
            return name
        if entry.same_as:
            msg = f"{entry.source} has the same output as {entry.same_as}, {name}; {self._task.advice}"
            raise ImageError(msg)
        is_record = name.split("/")[0].casefold() == RECORDS
        fault = f"{RECORDS} is the folder of the plan" if is_record else fault_of_name(name)
        if fault is None and self._job.format == PARQUET and as_unicode(name) != name:
            name, fault = as_unicode(name), "it is not UTF-8, and a table holds text only"
        if fault is None and self._job.format == TAR and entry.is_image and not is_image_member(name):
            fault = "by its extension it is no image, so nothing would read it from a tar"
        if fault is not None:
            msg = f"{name} cannot name an output: {fault}; rename the source"
            raise ImageError(msg)
        return name


def _message(error: Exception) -> str:
    """Returns the error message of a row for an exception."""
    if is_lack_of_memory(error):
        return NO_MEMORY
    if isinstance(error, DfmError):
        return str(error)
    said = " ".join(str(error).split())
    return f"unexpected {type(error).__name__}: {said}; this is a bug of dfmcodec, please report it"
