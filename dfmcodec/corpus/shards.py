"""A shard: the unit of work, which anybody may do, more than once and at the same time."""

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
    """What an engine hands to a worker.

    Args:
        store: The URL of the store, by which a worker finds all else.
        number: That of the shard, from 0.
    """

    store: str
    number: int


@dataclass(frozen=True)
class ShardResult:
    """What became of a shard.

    Args:
        shard: The shard.
        commit: What it came to; None if it is not done.
        failures: A line for each image that failed.
        error: Why it is not done, in one line.
        notices: Lines about what was converted or left out of images.
    """

    shard: Shard
    commit: Commit | None
    failures: tuple[str, ...] = ()
    error: str | None = None
    notices: tuple[str, ...] = ()


def encode_shard(shard: Shard) -> ShardResult:
    """Does a shard, unless it is done already. This is all that an engine has to call, at least
    once for each shard.

    An image that fails is a row, and the others go on. Whatever ends this function before the
    commit, the shard is not done, and the next call does all of it again.

    Args:
        shard: The shard.

    Returns:
        What it came to, with a commit.

    Raises:
        DfmError: The store or the plan cannot be used.
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
    attempt, writer = Attempt(store, shard.number), open_writer(job.form, store, shard.number)
    work = _Work(store, job, task, writer, attempt, shard.number)
    rows = list(work.rows(items))
    archive_bytes = writer.close()
    failures = tuple(failure_line(row.source, row.error or "") for row in rows if row.status == FAILED)
    commit = write_commit(store, shard.number, rows, archive_bytes)
    return ShardResult(shard, commit, failures, notices=tuple(work.notices))


def try_shard(shard: Shard) -> ShardResult:
    """`encode_shard`, with its errors as a result, so that other shards go on."""
    try:
        return encode_shard(shard)
    except Exception as error:
        if is_lack_of_memory(error):
            raise
        return ShardResult(shard, None, error=_message(error))


class _Work:
    """Does the images of one shard.

    Args:
        store: The store.
        job: What is to be done.
        task: What is done to each image.
        writer: Takes the outputs.
        attempt: Notes the image in work.
        number: That of the shard.

    Attributes:
        notices: Those of the images so far.
    """

    def __init__(self, store: Store, job: Job, task: Task, writer: Writer, attempt: Attempt, number: int) -> None:
        self._job = job
        self._task = task
        self._writer = writer
        self._attempt = attempt
        self._number = number
        self._key = store.key if job.form == FILES else str
        self.notices: list[str] = []

    def rows(self, items: list[Item]) -> Iterator[ImageRow]:
        """Does the images of items; gives a row for each, and for each item that cannot be read to
        its end.

        Raises:
            OutputError: The store cannot be used.
            MissingPackageError: A package is missing that every image needs.
            InstallationError: A part of the program is damaged.
        """
        index = 0
        try:
            for item in items:
                version = version_of(item.source)  # before it is read
                for entry in self._told_apart(item):
                    if isinstance(entry, ImageRow):
                        yield entry
                        continue
                    yield from self._rows_of(index, entry, version)
                    index += 1
        finally:
            self._attempt.leave()

    def _told_apart(self, item: Item) -> Iterator[Entry | ImageRow]:
        """The entries of an item. Those that have an output in common name another one that has it,
        too; this is found by the plan, or by the headers of a tar, before any is read.
        """
        same = item.clashes
        if self._job.source_form == TAR and self._job.form != FILES:
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
        """The entries of an item, and a row for what of it cannot be read."""
        job = self._job
        try:
            yield from read_entries(job.source_form, item, job.column, job.places, job.skips_links)
        except Exception as error:
            yield ImageRow(item.source, None, FAILED, _message(error))

    def _has_output(self, entry: Entry) -> bool:
        """Whether there is to be an output: a file beside images has one in tars."""
        return entry.is_image or self._job.form == TAR

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
            data = _read(entry)
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
        """The name of an output, which no other has, and which is one on every system.

        Raises:
            ImageError: It is no such name.
        """
        name = self._output_name(entry)
        if self._job.source_form == self._job.form == PARQUET:  # it is a value of a row, and names nothing
            return name
        if entry.same_as:
            msg = f"{entry.source} has the same output as {entry.same_as}, {name}; {self._task.advice}"
            raise ImageError(msg)
        is_record = name.split("/")[0].casefold() == RECORDS
        fault = f"{RECORDS} is the folder of the plan" if is_record else fault_of_name(name)
        if fault is None and self._job.form == PARQUET and as_unicode(name) != name:
            name, fault = as_unicode(name), "it is not UTF-8, and a table holds text only"
        if fault is None and self._job.form == TAR and entry.is_image and not is_image_member(name):
            fault = "by its extension it is no image, so nothing would read it from a tar"
        if fault is not None:
            msg = f"{name} cannot name an output: {fault}; rename the source"
            raise ImageError(msg)
        return name


def _read(entry: Entry) -> bytes:
    """The bytes of a source.

    Raises:
        ImageError: A package is missing that its place needs, and other sources may do without.
        DfmError: It cannot be read.
    """
    try:
        return entry.read()
    except MissingPackageError as error:
        raise ImageError(str(error)) from error


def _message(error: Exception) -> str:
    """What a row says of an exception."""
    if is_lack_of_memory(error):
        return NO_MEMORY
    if isinstance(error, DfmError):
        return str(error)
    said = " ".join(str(error).split())
    return f"unexpected {type(error).__name__}: {said}; this is a bug of dfmcodec, please report it"
