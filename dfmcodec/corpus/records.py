"""Records of a shard in the store: the attempt, a row for each image, and the commit."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from dfmcodec.corpus.sources import BEGAN, COMMIT, ROWS, record_name
from dfmcodec.corpus.store import Store
from dfmcodec.errors import DfmError
from dfmcodec.files.names import as_unicode

DONE, LARGER, FAILED = "done", "larger", "failed"  # values of "status"
_FATAL_DEATHS = 2  # number of worker deaths at the same image, after which it is skipped


@dataclass(frozen=True)
class ImageRow:
    """Result of an image."""

    source: str
    output: str | None  # None if there is none
    status: str  # "done", "larger" or "failed"
    error: str | None = None
    source_bytes: int | None = None
    output_bytes: int | None = None  # of the output, whether written or not
    psnr_db: float | None = None  # None if the file is lossless or was not encoded
    ssimulacra2: float | None = None  # None if the tune was not "visual"
    total_s: float | None = None
    output_sha256: str | None = None
    notices: str | None = None  # of conversions and losses, in one line
    source_version: str | None = None  # `version_of` the source before it was read; None if the image failed
    source_sha256: str | None = None  # of the bytes of the image; likewise


def failure_line(source: str, error: str) -> str:
    """Formats an error message of one line that names the image."""
    return error if error.startswith(source) else f"{source}: {error}"


@dataclass(frozen=True)
class Commit:
    """Completion marker of a shard. Hosts that process the same shard write equal commits."""

    images_done: int = 0  # with an output
    images_larger: int = 0  # left out as no smaller than their sources
    images_failed: int = 0
    source_bytes: int = 0  # of the sources of those with an output
    output_bytes: int = 0  # of these outputs
    archive_bytes: int = 0  # 0 where each output is a file

    @classmethod
    def of(cls, rows: Sequence[ImageRow], archive_bytes: int) -> Commit:
        """Counts rows."""
        counts = Counter(row.status for row in rows)
        done = [row for row in rows if row.status == DONE]
        sizes = sum(row.source_bytes or 0 for row in done), sum(row.output_bytes or 0 for row in done)
        return cls(counts[DONE], counts[LARGER], counts[FAILED], *sizes, archive_bytes)

    @property
    def images(self) -> int:
        """Returns the number of images."""
        return self.images_done + self.images_larger + self.images_failed

    def __add__(self, other: Commit) -> Commit:
        mine, theirs = asdict(self), asdict(other)
        return Commit(**{name: mine[name] + theirs[name] for name in mine})


def read_commit(store: Store, number: int) -> Commit | None:
    """Reads the commit of a shard; returns None if the shard is not finished. Raises DfmError if
    the commit cannot be read.
    """
    data = store.read(record_name(number, COMMIT))
    if data is None:
        return None
    with suppress(ValueError, TypeError):
        commit = Commit(**json.loads(data))
        if all(map(_is_count, asdict(commit).values())):
            return commit
    msg = f"{store.url}/{record_name(number, COMMIT)} is damaged; delete it to do its shard again"
    raise DfmError(msg)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def write_commit(store: Store, number: int, rows: Sequence[ImageRow], archive_bytes: int) -> Commit:
    """Writes the rows of a shard and then its commit, unless another did meanwhile. Raises
    OutputError if the objects cannot be written.
    """
    earlier = read_commit(store, number)
    if earlier is not None:
        return earlier
    import pyarrow
    import pyarrow.parquet

    types = {"source_bytes": pyarrow.int64(), "output_bytes": pyarrow.int64()}
    types |= dict.fromkeys(("psnr_db", "ssimulacra2", "total_s"), pyarrow.float64())
    names = list(ImageRow.__dataclass_fields__)
    schema = pyarrow.schema([(name, types.get(name, pyarrow.string())) for name in names])
    file = io.BytesIO()
    values = [{name: as_unicode(value) for name, value in asdict(row).items()} for row in rows]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(values, schema), file)
    store.write(record_name(number, ROWS), file.getvalue())
    commit = Commit.of(rows, archive_bytes)
    store.write(record_name(number, COMMIT), json.dumps(asdict(commit)).encode())
    return commit


def read_rows(store: Store, number: int) -> list[ImageRow]:
    """Reads the rows of a finished shard. Raises DfmError if the rows cannot be read."""
    import pyarrow
    import pyarrow.parquet

    data = store.read(record_name(number, ROWS)) or b""
    try:
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(data))
        return [ImageRow(**row) for row in table.to_pylist()]
    except (pyarrow.ArrowException, OSError, ValueError, TypeError) as error:
        done, rows = record_name(number, COMMIT), record_name(number, ROWS)
        msg = f"{store.url}/{rows} is missing or damaged; delete {done} to do its shard again"
        raise DfmError(msg) from error


def forget(store: Store, number: int) -> None:
    """Deletes the commit and the attempt of a shard, so that all of it is processed again."""
    store.delete(record_name(number, COMMIT))
    store.delete(record_name(number, BEGAN))


class Attempt:
    """Attempt at a shard that records which image kills its worker.

    The first attempt records only itself. If a later attempt finds the shard unfinished, an image
    may have killed the worker. From then on each image is recorded before it is processed. An image
    recorded at two deaths is fatal and skipped. Workers that die for other reasons, for example
    because a host is removed, rarely do so twice at the same image. Raises DfmError if the store
    cannot be used.
    """

    def __init__(self, store: Store, number: int) -> None:
        self._store = store
        self._name = record_name(number, BEGAN)
        self._image: int | None = None  # index of the image being processed, from the second attempt on
        self._deaths: dict[str, int] = {}  # of workers, by index of the image
        data = store.read(self._name)
        self._is_careful = data is not None
        if data is not None:
            self._load(data)
        if self._image is not None:
            self._deaths[str(self._image)] = self._deaths.get(str(self._image), 0) + 1
        self._write(None)

    def _load(self, data: bytes) -> None:
        try:
            began = json.loads(data)
            self._image, self._deaths = began["image"], began["deaths"]
            is_sound = all(map(_is_count, [self._image or 0, *self._deaths.values()]))
        except (ValueError, TypeError, KeyError, AttributeError):
            is_sound = False
        if not is_sound:
            msg = f"{self._store.url}/{self._name} is damaged; delete it to begin its shard anew"
            raise DfmError(msg)

    def is_fatal(self, index: int) -> bool:
        """Indicates whether an image is known to kill its worker."""
        return self._deaths.get(str(index), 0) >= _FATAL_DEATHS

    def begin(self, index: int) -> None:
        """Records that an image is being processed."""
        if self._is_careful:
            self._write(index)

    def leave(self) -> None:
        """Records that no image is being processed, if one was recorded."""
        if self._image is not None:
            self._write(None)

    def _write(self, image: int | None) -> None:
        self._image = image
        self._store.write(self._name, json.dumps({"image": image, "deaths": self._deaths}).encode())
