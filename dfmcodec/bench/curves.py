"""Rate-distortion curves of other codecs, read from tables (docs/benchmark.md)."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from dfmcodec.errors import ConfigError, DfmError
from dfmcodec.files.atomic import read_file
from dfmcodec.files.names import printable
from dfmcodec.perception import Point

# Column -> accepted headings. Those after the first are used in published tables.
_HEADINGS = {
    "codec": ("codec",),
    "image": ("image", "seq_name"),
    "bpp": ("bpp", "rate_bpp"),
    "psnr_db": ("psnr_db", "psnr"),
}
_NEEDED = ("image", "bpp", "psnr_db")
_FORMAT = "docs/benchmark.md has the format"
_NAMES_SHOWN = 3


@dataclass(frozen=True)
class Curve:
    """Curve of a codec for some images."""

    label: str  # unique in the run
    file: str  # path of its table
    by_image: Mapping[str, tuple[Point, ...]]  # by image name


_Points = dict[str, dict[str, list[Point]]]  # codec -> image -> points


def read_curves(
    paths: Iterable[Path], image_names: Mapping[Path, str], taken_labels: Iterable[str]
) -> tuple[Curve, ...]:
    """Reads the curves of all codecs in all tables. Names of images are those of the run, by path.
    The file name is added to labels that are taken. Raises ConfigError if a table is invalid; the
    message gives the line.
    """
    spellings = _spellings(image_names)
    tables: dict[Path, _Points] = {}
    for path in paths:
        if path in tables:
            msg = f"--curves {_shown(path)} is given twice"
            raise ConfigError(msg)
        tables[path] = _read_table(path, spellings)
    uses = Counter(label.casefold() for label in taken_labels)
    uses.update(codec.casefold() for points in tables.values() for codec in points)
    file_names = Counter(path.name for path in tables)
    curves = []
    for path, points in tables.items():
        file = printable(path.name if file_names[path.name] == 1 else str(path))
        for codec, by_image in points.items():
            label = codec if uses[codec.casefold()] == 1 else f"{codec} ({file})"
            curves.append(Curve(label, _shown(path), {name: tuple(of) for name, of in by_image.items()}))
    return tuple(curves)


def _shown(path: Path) -> str:
    return printable(str(path))


def _spellings(image_names: Mapping[Path, str]) -> dict[str, str | None]:
    """Returns accepted spellings -> name of the image; None for spellings that two images share."""
    spellings: dict[str, str | None] = {}
    for path, name in image_names.items():
        for spelling in {name, path.stem, path.name, str(path)}:
            spellings[spelling] = None if spelling in spellings else name
    return spellings


def _read_table(path: Path, spellings: Mapping[str, str | None]) -> _Points:
    """Reads the points of a table, and replaces image names by those of the run."""
    try:
        text = read_file(path).decode("utf-8-sig")
    except DfmError as error:
        raise ConfigError(printable(str(error))) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        msg = f"{_shown(path)}, line {line}: not text in UTF-8; {_FORMAT}"
        raise ConfigError(msg) from None
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    reader = csv.reader(lines, delimiter=_delimiter(lines), strict=True)
    try:
        return _points(reader, path.stem, spellings)
    except csv.Error as error:
        why = f"not a table: {error}; {_FORMAT}"
    except ConfigError as error:
        why = str(error)
    msg = f"{_shown(path)}, line {max(1, reader.line_num)}: {why}"
    raise ConfigError(msg)


def _delimiter(lines: list[str]) -> str:
    """Returns the first of tab, comma and semicolon that occurs in the headings."""
    headings = next((line for line in lines if line.strip()), "")
    return next((character for character in "\t,;" if character in headings), ",")


def _points(table: Iterator[list[str]], default_codec: str, spellings: Mapping[str, str | None]) -> _Points:
    filled = (cells for cells in table if any(cell.strip() for cell in cells))
    headings = next(filled, [])
    columns = _columns(headings)
    points: _Points = defaultdict(lambda: defaultdict(list))
    for cells in filled:
        if len(cells) != len(headings):
            msg = f"{len(cells)} values under {len(headings)} headings; write one value for each"
            raise ConfigError(msg)
        named = {column: cells[at].strip() for column, at in columns.items()}
        codec, image, point = _row(named, default_codec, spellings)
        points[codec][image].append(point)
    if not points:
        msg = f"no point below the headings; {_FORMAT}"
        raise ConfigError(msg)
    return points


def _columns(headings: list[str]) -> dict[str, int]:
    """Returns column -> index in the table."""
    names = [heading.strip().casefold() for heading in headings]
    if not names:
        msg = f"the file is empty; {_FORMAT}"
        raise ConfigError(msg)
    columns = {}
    for column, allowed in _HEADINGS.items():
        places = [at for at, heading in enumerate(names) if heading in allowed]
        if len(places) > 1:
            msg = f"two columns for {column}: {' and '.join(names[at] for at in places)}; keep one"
            raise ConfigError(msg)
        if places:
            columns[column] = places[0]
        elif column in _NEEDED:
            shown = printable(", ".join(names))
            msg = f"no column {column} in the headings {shown}; {_FORMAT}"
            raise ConfigError(msg)
    return columns


def _row(cells: Mapping[str, str], default_codec: str, spellings: Mapping[str, str | None]) -> tuple[str, str, Point]:
    """Returns the codec, image and point of a line of a table."""
    codec = printable(cells.get("codec", default_codec))
    if not codec:
        msg = "no name under codec; write one, or leave the column out"
        raise ConfigError(msg)
    rate, psnr = _number(cells, "bpp"), _number(cells, "psnr_db")
    if rate <= 0:
        msg = f"bpp is {rate:g}; it must be above 0"
        raise ConfigError(msg)
    image = cells["image"]
    name = spellings.get(image, "")
    if name is None:
        msg = f"{image!r} is the name of several images of this run; write the path of one"
        raise ConfigError(msg)
    if not name:
        known = sorted(name for name in set(spellings.values()) if name)
        some = ", ".join(known[:_NAMES_SHOWN]) + (", .." if len(known) > _NAMES_SHOWN else "")
        msg = f"image {image!r} is not in this run ({some}); leave its lines out, or give the image"
        raise ConfigError(msg)
    return codec, name, (rate, psnr)


def _number(cells: Mapping[str, str], column: str) -> float:
    try:
        value = float(cells[column])
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        msg = f"{column} is {cells[column]!r}; write a number with a decimal point"
        raise ConfigError(msg)
    return value
