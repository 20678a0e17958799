"""Tests of the rows of headers, and of docs/format.md and web/src/header_table.js against them."""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from common import GOLDEN, ROOT

from dfmcodec import container
from dfmcodec.codecs.wavelet.neighbourhood import COMPANDED
from dfmcodec.container import layout
from dfmcodec.container.layout import SECTION_ENTRY, header_form, present_fields
from dfmcodec.entropy.tables import LAST_DIRECT, MEANS, laplace_table, shifted_laplace_table
from dfmcodec.errors import TruncatedError
from dfmcodec.files.atomic import MAGIC
from dfmcodec.models import Model
from dfmcodec.weights import registry
from dfmcodec.weights.registry import REGISTRY, ShippedWeights, shipped_arrays

FORMAT = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")
FILES = sorted(GOLDEN.rglob("*.dfm"))
WEIGHTS = Path(registry.__file__).parent
REMEDY = "run `python docs/make_format.py`"
KINDS = [(model, size) for model in Model for size in header_form(model).further_sizes]


# Generated files


@pytest.fixture
def made(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import make_format

    yield make_format
    del sys.modules["make_format"]


def test_the_tables_of_the_document_are_those_of_the_codecs(made) -> None:
    assert made.page(FORMAT) == FORMAT, REMEDY
    assert len(made.TABLES.findall(FORMAT)) == 2 + sum(bool(header_form(model).further) for model in Model)


def test_the_table_in_javascript_is_that_of_the_codecs(made) -> None:
    assert made.SCRIPT.read_text(encoding="utf-8") == made.script(), REMEDY


def test_sizes_of_further_fields_are_those_after_a_field() -> None:
    for model in Model:
        form = header_form(model)
        sizes = [sum(field.size for field in form.further[:count]) for count in range(len(form.further) + 1)]
        assert sizes[-1] == form.further_sizes[-1]
        assert set(form.further_sizes) <= set(sizes)


# Weights and check values of tables


def table_after(text: str, heading: str) -> list[dict[str, str]]:
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


def some_values(model: Model, further_bytes: int, pick: Callable[[Sequence[int]], int]) -> dict[str, int]:
    """Values of all fields of a header, each picked from those that it may have."""
    fixed = {"version": layout.VERSION, "model": model.code, "further_bytes": further_bytes}
    return {field.name: pick(field.allowed) for field in present_fields(fixed)} | fixed


def first(values: Sequence[int]) -> int:
    return values[0]  # not `min`, which would go through 2^32 values of a range


def last(values: Sequence[int]) -> int:
    return values[-1]


@pytest.mark.parametrize("pick", [first, last])
@pytest.mark.parametrize(("model", "further_bytes"), KINDS)
def test_fields_come_back(model: Model, further_bytes: int, pick: Callable[[Sequence[int]], int]) -> None:
    values = some_values(model, further_bytes, pick)
    data = layout.write_fields(values)
    assert layout.read_fields(data + b"rest") == (values, len(data))
    for size in range(len(MAGIC), len(data)):
        with pytest.raises(TruncatedError):
            layout.read_fields(data[:size])


@pytest.mark.parametrize(("model", "further_bytes"), KINDS)
def test_other_values_are_refused(model: Model, further_bytes: int) -> None:
    values = some_values(model, further_bytes, first)
    at = len(MAGIC)
    for field in present_fields(values):
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
    assert {(header.architecture.model, header.fields["further_bytes"]) for header in headers} == set(KINDS)
