"""Splits the sources of a corpus into shards."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import PurePosixPath

from dfmcodec.corpus.store import is_folder, list_files, local_path, matching, open_store, scheme_of
from dfmcodec.errors import ConfigError, DfmError, require
from dfmcodec.files.atomic import EXTENSION
from dfmcodec.files.names import fault_of_name
from dfmcodec.image.read_image import IMAGE_SUFFIXES

FILES, TAR, PARQUET = FORMS = ("files", "tar", "parquet")
_FORM_OF_SUFFIX = {".tar": TAR, ".parquet": PARQUET}
_RANGE = re.compile(r"(\d{1,18})\.\.(\d{1,18})")
_NUMBERED_SHARD = re.compile(r"\d{5,}-[0-9a-f]{8}\.[a-z]+")


@dataclass(frozen=True)
class File:
    """Source file, with its path in the named folder or pattern."""

    source: str  # absolute path or URL
    name: str  # with slashes
    same_as: str = ""  # an earlier source with the same output


@dataclass(frozen=True)
class Shard:
    """Unit of work: a tar, a Parquet file or image files, and the output."""

    source: str | tuple[File, ...]  # path or URL of a tar or Parquet file; or images
    store: str  # folder or URL
    name: str  # of the output in the store; of its folder if the outputs are files, "" for the store itself
    form: str  # of the output: "files", "tar" or "parquet"


def is_image(name: str) -> bool:
    """Indicates by its extension whether a file is an image to encode."""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def encoded_name(name: str) -> str:
    """Returns the name of the output for the name of an image."""
    return (name.removesuffix(PurePosixPath(name).suffix) if is_image(name) else name) + EXTENSION


def shards_of(
    sources: Sequence[str],
    store: str,
    form: str | None = None,
    *,
    recursive: bool = False,
    shard_size: int = 100,
    notify: Callable[[str], None] = lambda notice: None,
) -> list[Shard]:
    """Lists the shards of sources. Only names are read, not images.

    A tar or Parquet file is one shard, whose output has the same name. Image files are split into
    shards of `shard_size`. If their outputs are tars or Parquet files, the names contain the number
    of the shard and a hash of its sources, so that a changed list cannot be taken for a finished
    one.

    Args:
        sources: Local paths and URLs of files and folders, and patterns of these with `*`, `?`,
            `[...]`, `{a,b}` and `{000..999}`.
        store: Folder or URL for the outputs.
        form: Form of the outputs: "files", "tar" or "parquet"; None for that of the sources.
        recursive: Whether to include subfolders.
        shard_size: Maximum number of image files in a shard.
        notify: Receives a notice if files of other types were skipped.

    Raises:
        ConfigError: The sources have several forms, two have the same output, an output is a
            source, or the store has shards of another list of files.
        DfmError: There are no images, or a source or the store cannot be used.
    """
    forms = {_FORM_OF_SUFFIX.get(PurePosixPath(source).suffix.lower(), FILES) for source in sources}
    if len(forms) != 1:
        msg = f"the sources must have one form, images, tars or Parquet; not {' and '.join(sorted(forms)) or 'none'}"
        raise ConfigError(msg)
    named = [local_path(name).absolute().as_posix() if scheme_of(name) is None else name for name in sources]
    skipped: list[str] = []
    files: dict[str, File] = {}
    for file in chain.from_iterable(_files(name, recursive, skipped) for name in named):
        files.setdefault(file.source, file)
    if skipped:
        notify(f"skipped {len(skipped)} files with other extensions, such as {skipped[0]}")
    if not files:
        msg = f"no images in {', '.join(named)} (-r looks into subfolders; name tars and Parquet files: folder/*.tar)"
        raise DfmError(msg)
    opened = open_store(store)
    (source_form,) = forms
    form = form or source_form
    if PARQUET in (source_form, form):
        require("Parquet", "pyarrow")
    if source_form != FILES:
        return _converted(list(files.values()), opened.url, form, opened.key)
    images = list(_distinct(files.values(), lambda file: opened.key(encoded_name(file.name))))
    groups = [tuple(images[at : at + shard_size]) for at in range(0, len(images), shard_size)]
    if form == FILES:
        return [Shard(group, opened.url, "", form) for group in groups]
    shards = [Shard(group, opened.url, _numbered(at, group, form), form) for at, group in enumerate(groups)]
    existing = (PurePosixPath(path).name for path in matching(f"{glob.escape(opened.url)}/*.{form}"))
    others = set(filter(_NUMBERED_SHARD.fullmatch, existing)) - {shard.name for shard in shards}
    if others:
        msg = (
            f"{opened.url}/{min(others)} was made from other files or in other shards; name another store, or remove it"
        )
        raise ConfigError(msg)
    return shards


def _numbered(number: int, files: Sequence[File], form: str) -> str:
    """Returns the name of a shard of image files."""
    names = "\n".join(file.source for file in files).encode("utf-8", "surrogateescape")
    return f"{number:05d}-{hashlib.sha256(names).hexdigest()[:8]}.{form}"


def _distinct(files: Iterable[File], key: Callable[[File], str]) -> Iterator[File]:
    """Yields files; those with the key of an earlier one refer to it."""
    first: dict[str, str] = {}
    for file in files:
        other = first.setdefault(key(file), file.source)
        yield file if other == file.source else replace(file, same_as=other)


def _converted(files: Sequence[File], store: str, form: str, key: Callable[[str], str]) -> list[Shard]:
    """Returns the shards of tars or Parquet files."""
    suffix = "" if form == FILES else f".{form}"
    taken = {_place(file.source) for file in files}
    outputs = [File(file.source, str(PurePosixPath(file.name).with_suffix(suffix))) for file in files]
    for file in _distinct(outputs, lambda file: key(file.name)):
        if file.same_as:
            msg = f"{file.same_as} and {file.source} have the same output, {file.name}; name a store for each"
        elif fault := fault_of_name(file.name):
            msg = f"{file.name} cannot name an output: {fault}; rename the source"
        elif _place(f"{store}/{file.name}") in taken:
            msg = f"{store}/{file.name} is a source and would be replaced; name another store"
        else:
            continue
        raise ConfigError(msg)
    return [Shard(file.source, store, file.name, form) for file in outputs]


def _place(source: str) -> str:
    """Returns the location of a source, equal for all spellings of a local path."""
    return os.path.realpath(local_path(source)) if scheme_of(source) is None else source


def _files(named: str, recursive: bool, skipped: list[str]) -> Iterator[File]:
    """Yields the files of a folder, or those that match a pattern. The names of the latter start
    after the folder common to all matches.
    """
    is_pattern = _is_pattern(named)
    if not is_pattern and is_folder(named):
        folder = f"{named.rstrip('/')}/"
        for name in list_files(named, recursive):
            if is_image(name):
                yield File(folder + name, name)
            else:
                skipped.append(name.rsplit("/", 1)[-1])
        return
    fixed = re.split(r"[*?\[{]", named, maxsplit=1)[0] if is_pattern else named
    start = fixed.rfind("/") + 1
    for source in _expanded(named) if is_pattern else [named]:
        yield File(source, source[start:])


def _is_pattern(text: str) -> bool:
    return bool(re.search(r"[*?\[{]", text)) and not (scheme_of(text) is None and os.path.exists(local_path(text)))


def _expanded(pattern: str) -> Iterator[str]:
    for name in braces(pattern):
        is_web = scheme_of(name) in ("http", "https")  # in these, ? starts a query, and nothing can be listed
        yield from [name] if is_web or not re.search(r"[*?\[]", name) else matching(name)


def braces(pattern: str) -> Iterator[str]:
    """Yields the expansions of a pattern, as in shells: `{a,b}` and `{08..11}`.

    >>> list(braces("{a,b}/{08..10}.tar"))
    ['a/08.tar', 'a/09.tar', 'a/10.tar', 'b/08.tar', 'b/09.tar', 'b/10.tar']
    """
    match = re.search(r"\{([^{}]*)\}", pattern)
    span = None if match is None else _RANGE.fullmatch(match[1])
    if match is None or (span is None and "," not in match[1]):
        yield pattern
        return
    parts: Iterator[str] = iter(match[1].split(","))
    if span is not None:
        width = len(span[1]) if span[1].startswith("0") else 0
        parts = (f"{number:0{width}d}" for number in range(int(span[1]), int(span[2]) + 1))
    for part in parts:
        for rest in braces(pattern[match.end() :]):
            yield pattern[: match.start()] + part + rest
