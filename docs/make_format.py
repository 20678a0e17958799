"""Writes the tables of header and sections in docs/format.md, and web/src/header_table.js.

    python docs/make_format.py

Both come from dfmcodec/container/layout.py and dfmcodec/codecs/*/header.py.
tests/unit/container/test_layout.py compares them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dfmcodec.container.layout import FIRST_FIELDS, FIRST_SKIPPED, MODELS, Field, HeaderForm, Section, header_form
from dfmcodec.errors import CorruptError, LimitError, UnsupportedVersionError
from dfmcodec.files.atomic import MAGIC
from dfmcodec.image import MAX_PIXELS

ROOT = Path(__file__).resolve().parents[1]
PAGE, SCRIPT = ROOT / "docs" / "format.md", ROOT / "web" / "src" / "header_table.js"
TABLES = re.compile(r"(?<=<!-- )((?:header|sections|further fields)[\w ]*)( -->\n\n)(?:\|[^\n]*\n)*")
KINDS = {CorruptError: "corrupt", UnsupportedVersionError: "unsupported-version", LimitError: "limit"}
FORMS = [header_form(model) for model in MODELS.values()]
HEAD = """\
/**
 * The rows of header and sections. docs/make_format.py writes this file. A field has the ranges of its valid values,
 * both ends included; the difference between a value and the stored number; and the kind of the error for other values.
 */

"""
COLUMNS = ("offset", "bytes", "field", "values", "meaning")


def page(text: str) -> str:
    """Returns docs/format.md with its tables, each below the comment that names it."""
    tables = {"header": header_table(), "sections": section_table()}
    tables |= {f"further fields of model {form.model.code}": further_table(form) for form in FORMS}
    return TABLES.sub(lambda found: f"{found[1]}{found[2]}{tables[found[1]]}", text)


def header_table() -> str:
    """Returns the table of the fields that precede the further fields, of all models."""
    rows: dict[tuple[int, str], dict[int, Field]] = {}  # the fields of models, by offset and name
    for form in FORMS:
        for at, field in placed((*FIRST_FIELDS, *form.fields)):
            rows.setdefault((at, field.name), {})[form.model.code] = field
    cells: list[Sequence[Any]] = [(0, len(MAGIC), "magic", f"`{MAGIC.hex(' ').upper()}`", f"`{str(MAGIC)[2:-1]}`")]
    for (at, name), fields in sorted(rows.items(), key=lambda row: row[0][0]):
        models: dict[str, list[int]] = {}  # by the values
        for model, field in fields.items():
            models.setdefault(values_of(field), []).append(model)
        is_common = len(fields) == len(FORMS) and len(models) == 1
        values = [text if is_common else f"model {listed(codes)}: {text}" for text, codes in models.items()]
        size = next(iter(fields.values())).size
        meaning = max((field.meaning for field in fields.values()), key=len)
        cells.append((at, size, name.replace("_", " "), "; ".join(values), meaning))
    return table(COLUMNS, cells)


def further_table(form: HeaderForm) -> str:
    """Returns the table of the further fields of a model."""
    start = max(at + field.size for at, field in placed((*FIRST_FIELDS, *form.fields)))
    cells = []
    for at, field in placed(form.further, start):
        sizes = [size for size in form.further_sizes if at + field.size <= start + size]
        presence = "" if len(sizes) == len(form.further_sizes) else f"; present if E = {listed(sizes)}"
        cells.append((at, field.size, field.name.replace("_", " "), values_of(field) + presence, field.meaning))
    return table(COLUMNS, cells)


def section_table() -> str:
    """Returns the table of sections."""
    required = [form.main_section for form in FORMS]
    cells = [
        (
            section.title,
            int(section),
            ", ".join(map(str, models_of(section))),
            f"{'required' if section in required else 'optional'}: {section.meaning}",
        )
        for section in Section
    ]
    return table(("section", "id", "models", "meaning"), cells)


def models_of(section: Section) -> list[int]:
    """Returns the codes of the models whose files may have a section."""
    return [form.model.code for form in FORMS if section in form.sections]


def placed(fields: Iterable[Field], at: int = len(MAGIC)) -> Iterator[tuple[int, Field]]:
    """Yields fields with their offsets."""
    for field in fields:
        yield at, field
        at += field.size


def values_of(field: Field) -> str:
    """Returns the valid values of a field, and how they are stored."""
    low, high = field.allowed[0], field.allowed[-1]
    text = f"{low}..{high}" if isinstance(field.allowed, range) else listed(field.allowed)
    if high - low == (1 << 8 * field.size) - 1:
        text = "any"
    return f"{text}; stored plus {-field.less}" if field.less else text


def listed(numbers: Sequence[int]) -> str:
    """Returns numbers as words: "0, 1 or 3"."""
    *others, last = map(str, numbers)
    return f"{', '.join(others)} or {last}" if others else last


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns a table in Markdown."""
    lines = [columns, *([str(cell).replace("|", "\\|") for cell in row] for row in rows)]
    first, *others = (f"| {' | '.join(cells)} |\n" for cells in lines)
    return "".join([first, "|---" * len(columns), "|\n", *others])


def script() -> str:
    """Returns the module web/src/header_table.js."""
    models = {
        form.model.code: {
            "name": form.model.value,
            "main": form.main_section.title,
            "fields": [row_of(field) for field in form.fields],
            "further": [row_of(field) for field in form.further],
        }
        for form in FORMS
    }
    sections = [{"id": int(section), "name": section.title, "models": models_of(section)} for section in Section]
    constants = {
        "MAGIC": list(MAGIC),
        **{model.name: code for code, model in MODELS.items()},
        "MAX_PIXELS": MAX_PIXELS,
        "FIRST_SKIPPED": FIRST_SKIPPED,
        "FIRST_FIELDS": [row_of(field) for field in FIRST_FIELDS],
        "MODELS": models,
        "SECTIONS": sections,
    }
    return HEAD + "".join(f"export const {name} = {literal(value)};\n" for name, value in constants.items())


def row_of(field: Field) -> dict[str, Any]:
    """Returns a field in the form of web/src/header_table.js."""
    allowed = field.allowed
    ranges = [[allowed[0], allowed[-1]]] if isinstance(allowed, range) else [[value, value] for value in allowed]
    row = {"name": field.name, "bytes": field.size, "allowed": ranges}
    return row | {"less": field.less, "refusal": KINDS[field.refusal]}


def literal(value: Any, indent: str = "") -> str:
    """Returns a value in JavaScript. Long lists and objects have a line for each item."""
    if not isinstance(value, dict | list):
        return json.dumps(value)
    items = [literal(item, indent + "  ") for item in (value.values() if isinstance(value, dict) else value)]
    first, last, space = "[", "]", ""
    if isinstance(value, dict):
        items = [f"{key}: {item}" for key, item in zip(value, items, strict=True)]
        first, last, space = "{", "}", " "
    line = f"{first}{space}{', '.join(items)}{space}{last}"
    if len(line) <= 110 and "\n" not in line:
        return line
    return f"{first}\n" + "".join(f"{indent}  {item},\n" for item in items) + f"{indent}{last}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    SCRIPT.write_text(script(), encoding="utf-8")
