"""Tests that `container/layout.py` and docs/format.md define the same format."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from common import GOLDEN, ROOT

from dfmcodec import container
from dfmcodec.codecs.wavelet.neighbourhood import COMPANDED
from dfmcodec.container import layout
from dfmcodec.container.layout import (
    COMMON_SECTIONS,
    FIRST_FIELDS,
    SECTION_ENTRY,
    Field,
    Section,
    header_form,
)
from dfmcodec.entropy.tables import LAST_DIRECT, MEANS, laplace_table, shifted_laplace_table
from dfmcodec.errors import TruncatedError
from dfmcodec.files.atomic import MAGIC
from dfmcodec.models import Model
from dfmcodec.weights import registry
from dfmcodec.weights.registry import REGISTRY, ShippedWeights, shipped_arrays

FORMAT = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")
FILES = sorted(GOLDEN.rglob("*.dfm"))
WEIGHTS = Path(registry.__file__).parent

Row = dict[str, str]
Fields = dict[Model, Sequence[Field]]
FIELDS: Fields = {model: (*FIRST_FIELDS, *header_form(model).fields) for model in Model}
KINDS = [
    (Model.COORDINATE, False),
    (Model.WAVELET, False),
    (Model.WAVELET, True),
    (Model.OVERFITTED, False),
]


# Reading the document


def table_after(text: str, heading: str) -> list[Row]:
    """The rows of the first table below a heading, by the names of their columns."""
    lines = text.splitlines()
    at = next(number for number, line in enumerate(lines) if re.fullmatch(rf"#+ {re.escape(heading)}", line))
    first = next(number for number, line in enumerate(lines) if number > at and line.startswith("|"))
    rows = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    names, _, *body = rows
    return [dict(zip(names, cells, strict=True)) for cells in body]


def documented_rows(text: str, model: Model, is_tiled: bool) -> list[Row]:
    """The fields that docs/format.md gives a file of this kind, in order."""
    of_model = f"model {model.code}: "
    rows = table_after(text, "Header")
    rows = [row for row in rows if not row["values"].startswith("model ") or of_model in row["values"]]
    if model is Model.WAVELET:
        further = table_after(text, "Further fields")
        rows += [row for row in further if is_tiled or "present if E = 10" not in row["values"]]
    elif model is Model.OVERFITTED:
        rows += table_after(text, "Further fields of model 3")
    return rows


def values_of_model(values: str, model: Model) -> str:
    """What a cell says of one model: "model 0: 1..64; model 1: .." has both."""
    if not values.startswith("model "):
        return values
    wanted = f"model {model.code}: "
    return next(part for part in values.split("; ") if part.startswith(wanted)).removeprefix(wanted)


def allowed_values(values: str) -> Collection[int] | None:
    """The values that a cell starts with: "1..6, ..", "8, or 10 ..", "1 (gray) or 3 ..", "1"; None
    for no limit.
    """
    if limits := re.match(r"(-?\d+)\.\.(\d+)", values):
        return range(int(limits[1]), int(limits[2]) + 1)
    if re.match(r"\d+: ", values) and (named := re.findall(r"(\d+): \w+", values)):
        return {int(number) for number in named}
    if listed := re.match(r"(\d+)(?: \(\w+\))?,? or (\d+)", values):
        return {int(listed[1]), int(listed[2])}
    if single := re.match(r"(\d+)(?=$|\.|,)", values):
        return {int(single[1])}
    return None


def subtracted(values: str) -> int:
    """What a cell says is subtracted from a value to give the stored number: "stored less 1" is 1,
    "stored plus 24" is -24.
    """
    stored = re.search(r"stored (less|plus) (\d+)", values)
    if stored is None:
        return 0
    return int(stored[2]) if stored[1] == "less" else -int(stored[2])


# Comparing it with the code


def present_fields(model: Model, is_tiled: bool, fields: Fields = FIELDS) -> list[Field]:
    values = {"model": model.code, "further_bytes": layout.further_bytes(model, is_tiled)}
    return [field for field in fields[model] if field.when(values)]


def all_numbers(field: Field) -> range:
    """All values that the bytes of a field can stand for."""
    return range(field.less, field.less + (1 << 8 * field.size))


def list_of(allowed: object) -> Sequence[int]:
    assert isinstance(allowed, Sequence)
    return allowed


def same_values(documented: Collection[int], allowed: Collection[int]) -> bool:
    if isinstance(documented, range) and isinstance(allowed, range):
        return documented == allowed
    return len(documented) == len(allowed) and set(documented) == set(allowed)


def field_mismatches(row: Row, field: Field, model: Model, offset: int) -> Iterator[str]:
    name = field.name.replace("_", " ")
    if row["field"].replace("_", " ") != name:
        yield f"{row['field']} is {name}"
    if row["offset"] != str(offset):
        yield f"{name}: offset {row['offset']} is {offset}"
    if row["bytes"] != str(field.size):
        yield f"{name}: {row['bytes']} bytes are {field.size}"
    if subtracted(row["values"]) != field.less:
        yield f"{name}: what is subtracted is {field.less}"
    documented = allowed_values(values_of_model(row["values"], model)) or all_numbers(field)
    allowed: Collection[int] = list_of(field.allowed)
    if not same_values(documented, allowed):
        yield f"{name}: the values {row['values']!r} are {allowed}"


def header_mismatches(text: str, fields: Fields = FIELDS) -> list[str]:
    """What docs/format.md says of headers that differs from the forms of the codecs."""
    mismatches = []
    for model, is_tiled in KINDS:
        magic, *rows = documented_rows(text, model, is_tiled)
        if (magic["offset"], magic["bytes"], magic["field"]) != ("0", str(len(MAGIC)), "magic"):
            mismatches.append(f"the magic is {magic}")
        if not magic["values"].startswith(f"`{MAGIC.hex(' ').upper()}`"):
            mismatches.append(f"the magic is {magic['values']}")
        present = present_fields(model, is_tiled, fields)
        if len(rows) != len(present):
            mismatches.append(f"{model}: {len(rows)} fields are {len(present)}")
        offset = len(MAGIC)
        for row, field in zip(rows, present, strict=False):
            mismatches += [f"{model}: {line}" for line in field_mismatches(row, field, model, offset)]
            offset += field.size
    return mismatches


def models_of(section: Section) -> set[int]:
    """The codes of the codecs whose files may have a section."""
    forms = [header_form(model) for model in Model]
    own = {form.model.code for form in forms if section in (form.main_section, *form.optional_sections)}
    return {model.code for model in Model} if section in COMMON_SECTIONS else own


def need_of(section: Section) -> str:
    return "required" if section in [header_form(model).main_section for model in Model] else "optional"


def section_mismatches(text: str) -> list[str]:
    """What docs/format.md says of sections that differs from the forms of the codecs."""
    documented = {
        row["section"]: (
            int(row["id"]),
            {int(code) for code in row["models"].split(", ")},
            row["meaning"].split(":")[0].split(",")[0],
        )
        for row in table_after(text, "Sections")
    }
    defined = {section.title: (int(section), models_of(section), need_of(section)) for section in Section}
    return [
        f"{name}: {documented.get(name)} is {defined.get(name)}"
        for name in [*documented, *(defined.keys() - documented.keys())]
        if documented.get(name) != defined.get(name)
    ]


def test_the_document_and_the_code_have_the_same_header() -> None:
    assert header_mismatches(FORMAT) == []


def test_the_document_and_the_code_have_the_same_sections() -> None:
    assert section_mismatches(FORMAT) == []
    orders = [header_form(model).section_order for model in Model]
    assert {section for order in orders for section in order} == set(Section)
    assert f"one entry of {SECTION_ENTRY.size} bytes for each section" in FORMAT
    text = " ".join(FORMAT.split())
    order = re.search(r"what is needed first, so that a prefix of a file can be shown: ([\w\s,]+)\.", text)
    assert order is not None
    documented = re.findall(r"\w+", re.sub(r"\b(or|and)\b", " ", order[1]))
    for order in orders:
        titles = [section.title for section in order]
        assert titles == [title for title in documented if title in titles]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("| 0 | 4 | magic | `89 44", "| 0 | 4 | magic | `89 45"),
        ("0: coordinate, 1: wavelet, 3: overfitted", "0: coordinate, 1: wavelet"),
        ("| bit depth | 8 or 16", "| bits | 8 or 16"),
        ("| 8 | 2 | width | 1..65535", "| 8 | 4 | width | 1..65535"),
        ("| further bytes | model 0: 0;", "| further bytes | model 0: 1;"),
        ("model 1: 8, or 10 for", "model 1: 8, or 12 for"),
        ("| q_step | 1..65535", "| q_step | 0..65535"),
        ("| tile rows | 1..64; present if E = 10", "| tile rows | 1..64; always present"),
        ("| 17 | 1 | grids |", "| 17 | 1 | levels |"),
        ("| lmbda code | -24..32", "| lmbda code | -24..31"),
        ("called K; stored plus 24", "called K; stored plus 23"),
        ("| 25 | 1 | tile rows |", "| 25 | 1 | more | 0 |\n| 25 | 1 | tile rows |"),
    ],
)
def test_changed_header_rows_are_listed(old: str, new: str) -> None:
    assert old in FORMAT
    assert header_mismatches(FORMAT.replace(old, new)) != []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("| filter | 4 | 1 |", "| filter | 5 | 1 |"),
        ("| filter | 4 | 1 |", "| filters | 4 | 1 |"),
        ("| alpha | 6 | 0, 1, 3 |", "| alpha | 6 | 0, 1 |"),
        ("| grids | 10 | 3 | required", "| grids | 10 | 3 | optional"),
        ("| networks | 11 | 3 |", "| networks | 12 | 3 |"),
        ("| 3 | 1 | required:", "| 3 | 1 | optional:"),
        ("| checks | 8 | 0, 1, 3 | optional", "| checks | 8 | 0, 1, 3 | required"),
    ],
)
def test_changed_section_rows_are_listed(old: str, new: str) -> None:
    assert FORMAT.count(old) == 1
    assert section_mismatches(FORMAT.replace(old, new)) != []


@pytest.mark.parametrize(
    ("model", "name"),
    [
        *((Model.COORDINATE, field.name) for field in FIRST_FIELDS),
        *((model, field.name) for model in Model for field in header_form(model).fields),
    ],
)
def test_changed_fields_are_listed(model: Model, name: str) -> None:
    fields = list(FIELDS[model])
    at = next(number for number, field in enumerate(fields) if field.name == name)
    field = fields[at]
    changes: list[list[Field]] = [[], [replace(field, name="other")], [replace(field, less=field.less + 1)]]
    if field.code in ("B", "H"):
        changes += [[replace(field, code="I")], [replace(field, allowed=range(3, 5))]]
    for change in changes:
        changed = FIELDS | {model: [*fields[:at], *change, *fields[at + 1 :]]}
        assert header_mismatches(FORMAT, changed) != [], change


# Weights and check values of tables


def documented_arrays(heading: str) -> list[tuple[str, str]]:
    """The arrays of pretrained weights that docs/format.md names: a pattern of the name, and the
    type.
    """
    arrays = []
    for row in table_after(FORMAT, heading):
        names, types = re.findall(r"`(\w+(?:<\w+>)?)`", row["array"]), row["type"].split(", ")
        types *= len(names) if len(types) == 1 else 1
        arrays += zip([re.sub(r"<\w+>", r"\\d", name) for name in names], types, strict=True)
    return arrays


def test_the_document_lists_the_weights() -> None:
    documented = [tuple(cell.strip("`") for cell in row.values()) for row in table_after(FORMAT, "Shipped weights")]
    shipped = []
    for row in REGISTRY:
        digest = sha256((WEIGHTS / row.file_name).read_bytes()).hexdigest()
        shipped.append((f"{row.id:08x}", str(row.model.code), row.file_name, digest))
    assert documented == shipped
    assert {path.name for path in WEIGHTS.glob("*.npz")} == {row.file_name for row in REGISTRY}


@pytest.mark.parametrize("weights", REGISTRY, ids=lambda weights: weights.file_name)
def test_the_arrays_of_weights_have_the_types_of_the_document(weights: ShippedWeights) -> None:
    documented = documented_arrays(f"Weights of model {1 if weights.model is Model.WAVELET else 3}")
    arrays = shipped_arrays(weights.model, weights.id)
    for name, array in arrays.items():
        assert [kind for pattern, kind in documented if re.fullmatch(pattern, name)] == [array.dtype.name]
    assert all(any(re.fullmatch(pattern, name) for name in arrays) for pattern, _ in documented)


def assert_documented_crc(what: str, numbers: bytes) -> None:
    """Compares a CRC-32 with the one that docs/format.md gives in the sentence with these words."""
    found = re.search(rf"CRC-32 of {what}.{{,80}}?is `([0-9a-f]{{8}})`", " ".join(FORMAT.split()))
    assert found is not None
    assert zlib.crc32(numbers) == int(found[1], 16)


def test_the_tables_have_the_checksums_of_the_document() -> None:
    direct = [laplace_table(u) for u in range(LAST_DIRECT + 1)]
    with_mean = [shifted_laplace_table(u, n) for u in range(LAST_DIRECT + 1) for n in range(MEANS)]
    assert (len(direct), len(with_mean)) == (29, 261)
    assert_documented_crc("the 29 tables", b"".join(table.astype("<u4").tobytes() for table in direct))
    assert_documented_crc("the 261 tables", b"".join(table.astype("<u4").tobytes() for table in with_mean))


def test_the_companding_is_that_of_the_document() -> None:
    text = " ".join(FORMAT.split())
    found = re.search(r"Its magnitude is ([\d, ]+) for `\|r\| = 0..9`.*? on: ([\d, ]+)\.", text)
    assert found is not None
    first, steps = ([int(number) for number in numbers.split(", ")] for numbers in found.groups())
    documented = first + [first[-1] + sum(step <= r for step in steps) for r in range(len(first), len(COMPANDED))]
    assert COMPANDED.tolist() == documented
    assert_documented_crc(r"k\(0..511\)", COMPANDED.astype(np.uint8).tobytes())


# Reading and writing by the table


def some_values(model: Model, is_tiled: bool, pick: Callable[[Sequence[int]], int]) -> dict[str, int]:
    """Values of all fields of a header, each picked from those that it may have."""
    values = {field.name: pick(list_of(field.allowed)) for field in present_fields(model, is_tiled)}
    values |= {"version": layout.VERSION, "model": model.code}
    return values | {"further_bytes": layout.further_bytes(model, is_tiled)}


def first(values: Sequence[int]) -> int:
    return values[0]  # not `min`, which would go through 2^32 values of a range


def last(values: Sequence[int]) -> int:
    return values[-1]


@pytest.mark.parametrize("pick", [first, last])
@pytest.mark.parametrize(("model", "is_tiled"), KINDS)
def test_fields_come_back(model: Model, is_tiled: bool, pick: Callable[[Sequence[int]], int]) -> None:
    values = some_values(model, is_tiled, pick)
    data = layout.write_fields(values)
    assert layout.read_fields(data + b"rest") == (values, len(data))
    assert len(data) == layout.fields_bytes(model, is_tiled)
    for size in range(len(MAGIC), len(data)):
        with pytest.raises(TruncatedError):
            layout.read_fields(data[:size])


@pytest.mark.parametrize(("model", "is_tiled"), KINDS)
def test_other_values_are_refused(model: Model, is_tiled: bool) -> None:
    values = some_values(model, is_tiled, first)
    at = len(MAGIC)
    for field in present_fields(model, is_tiled):
        limits = (0, (1 << 8 * field.size) - 1)
        for stored in limits:
            if stored + field.less in field.allowed:
                continue
            data = bytearray(layout.write_fields(values))
            data[at : at + field.size] = stored.to_bytes(field.size, "little")
            with pytest.raises(field.refusal):
                layout.read_fields(bytes(data))
        at += field.size


def test_containers_of_golden_files_have_the_size_that_follows_from_the_table() -> None:
    for path in FILES:
        data = path.read_bytes()
        header = container.read_header(data)
        model = header.architecture.model
        expected = layout.container_bytes(model, "tile_rows" in header.fields)
        expected += (len(header.sections) - 1) * SECTION_ENTRY.size
        sizes = header.section_bytes()
        assert sizes["container"] == expected, path
        assert sum(sizes.values()) == header.file_bytes == len(data), path
        fields, _ = layout.read_fields(data)
        assert data.startswith(layout.write_fields(fields)), path


def test_golden_files_cover_all_kinds_of_headers() -> None:
    headers = [container.read_header(path.read_bytes()) for path in FILES]
    found = {(header.architecture.model, "tile_rows" in header.fields) for header in headers}
    assert found == set(KINDS)
