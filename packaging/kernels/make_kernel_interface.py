"""Generates the interface files of the kernels for C, Python and the browser from
`kernel_interface.py`.

    python packaging/kernels/make_kernel_interface.py

The files are committed. `tests/unit/test_kernels.py` fails if they are outdated.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from kernel_interface import CONSTANTS, KERNELS, OFFSETS, Array, Field, Group, Groups, Kernel, Kind, Number

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "dfmcodec" / "kernels"
BY = "Made by packaging/kernels/make_kernel_interface.py"
C_TYPES = {
    Kind.SIZE: "ptrdiff_t",
    Kind.INDEX: "ptrdiff_t",
    Kind.INTEGER: "int",
    Kind.SEED: "uint32_t",
    Kind.TRUTH: "int",
    Kind.REAL: "double",
}
PYTHON_TYPES = {Kind.TRUTH: "bool", Kind.REAL: "float"}  # for the others: int
ITEMS = {"float32": "float", "float64": "double"}  # in C; for the others: int8_t for int8
_WIDTH = 118
_DOC_WIDTH = 100
WASM_BYTES = {Kind.REAL: 8}  # for other numbers and for pointers: 4


def outputs() -> dict[Path, str]:
    """Returns the text of each generated file."""
    return {
        FOLDER / "interface.h": header(),
        FOLDER / "interface.c": source(),
        FOLDER / "arguments.py": python_groups(),
        FOLDER / "_compiled.pyi": stub(),
        ROOT / "web" / "src" / "kernel_interface.js": javascript(),
    }


def constants() -> dict[str, int]:
    """Reads the constants from the modules that define them."""
    return {name: int(_value(*place)) for name, place in CONSTANTS.items()}


def _value(module: str, expression: str) -> Any:
    return eval(expression, vars(importlib.import_module(module)))


def decoders() -> dict[str, Kernel]:
    """Returns the kernels of the browser."""
    return {name: kernel for name, kernel in KERNELS.items() if kernel.is_decoder}


def _in_order() -> dict[str, Kernel]:
    """Returns all kernels, those of the browser first."""
    return {**decoders(), **KERNELS}


def groups(fields: Mapping[str, Field]) -> Iterator[Group]:
    """Yields the groups among the fields, nested groups first."""
    for field in fields.values():
        group = field.group if isinstance(field, Groups) else field
        if isinstance(group, Group):
            yield from groups(group.fields)
            yield group


def _all_groups() -> list[Group]:
    found = {group.name: group for kernel in _in_order().values() for group in groups(kernel.fields)}
    return list(found.values())


def struct_name(kernel: str) -> str:
    """Returns the name of a kernel's struct: `decode_highs` has DecodeHighs."""
    return "".join(part.capitalize() for part in kernel.split("_"))


def _fields_name(struct: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", struct).lower() + "_fields"


def _filled(items: list[str], indent: str = "    ", width: int = _WIDTH) -> list[str]:
    """Returns lines with as many items as fit into each."""
    lines = [indent + item for item in items[:1]]
    for item in items[1:]:
        if len(lines[-1]) + 1 + len(item) <= width:
            lines[-1] += f" {item}"
        else:
            lines.append(indent + item)
    return lines


# C


def header() -> str:
    """Returns interface.h: constants, structs and lists of kernels."""
    lines = [f"/* {BY}: constants, the arguments of each kernel, and lists of kernels. */"]
    lines += ["#ifndef DFM_INTERFACE_H", "#define DFM_INTERFACE_H", ""]
    lines += ["#include <stddef.h>", "#include <stdint.h>", ""]
    lines += ["enum {", *_filled([f"{name} = {value}," for name, value in constants().items()]), "};"]
    for name, place in OFFSETS.items():
        pairs = list(_value(*place))
        lines += ["", f"static const int {name}[{len(pairs)}][2] __attribute__((unused)) = {{"]
        lines += [*_filled([f"{{{y}, {x}}}," for y, x in pairs]), "};"]
    for group in _all_groups():
        lines += ["", *_struct(group.name, group.text, group.fields)]
    for name, kernel in _in_order().items():
        lines += ["", *_struct(struct_name(name), kernel.text, kernel.fields)]
    every = _in_order().items()
    lines += ["", "/* X(name of the kernel, name of its struct) */"]
    for macro, has_targets in (("ONE_BUILD", False), ("TARGETS", True)):
        for prefix, is_decoder in (("DECODER_", True), ("ENCODER_", False)):
            chosen = [n for n, kernel in every if (kernel.has_targets, kernel.is_decoder) == (has_targets, is_decoder)]
            lines += _macro(f"{prefix}KERNELS_OF_{macro}", [f"X({name}, {struct_name(name)})" for name in chosen])
    return "\n".join([*lines, "", "#endif", ""])


def _macro(name: str, items: list[str]) -> list[str]:
    rows = [f"#define {name}(X)", *_filled(items)]
    return [f"{row:<{_WIDTH}} \\" for row in rows[:-1]] + rows[-1:]


def _struct(name: str, text: str, fields: Mapping[str, Field]) -> list[str]:
    members = [_member(field_name, field) for field_name, field in fields.items()] or ["char nothing;"]
    return [*_comment(text), "typedef struct {", *_filled(members), f"}} {name};"]


def _comment(text: str) -> list[str]:
    return wrap(f"/* {text} */", _WIDTH, subsequent_indent=" * ", break_long_words=False)


def _member(name: str, field: Field) -> str:
    if isinstance(field, Array):
        many = f"[{field.count}]" if field.count > 1 else ""
        const = "" if field.is_written else "const "
        return f"{const}{_item(field)} *{name}{many}; ptrdiff_t {name}_count{many};"
    if isinstance(field, Number):
        return f"{C_TYPES[field.kind]} {name};"
    if isinstance(field, Group):
        return f"{field.name} {name};"
    return f"{field.group.name} {name}[{field.most}]; ptrdiff_t {name}_count;"


def _item(array: Array) -> str:
    return ITEMS.get(array.dtype, f"{array.dtype}_t") if array.dtype else "void"


_MACROS = r"""
#define HAS(name, needed) has_items(call, a, name, needed)
#define HAS_SIZES(...) (SIZES(__VA_ARGS__) || refuse_sizes(call))
#define RUN(name, Struct, function, checks)                                                                            \
    static int run_##name(Call *call, const void *arguments) {                                                         \
        const Struct *a = arguments;                                                                                   \
        return (checks) && function(call, a);                                                                          \
    }
"""
_FIELD_MACROS = r"""
#define NUMBER(S, at, number) {.name = #at, .kind = number##_FIELD, .offset = offsetof(S, at)}
#define SERIES(S, at) .name = #at, .offset = offsetof(S, at), .count_offset = offsetof(S, at##_count)
#define ARRAY(S, at, use, bytes, count) {SERIES(S, at), .kind = use##_FIELD, .item_bytes = bytes, .most = count}
#define OF(inner) .fields = inner, .field_count = sizeof inner / sizeof *inner
#define GROUP(S, at, inner) {.name = #at, .kind = GROUP_FIELD, .offset = offsetof(S, at), OF(inner)}
#define GROUPS(S, at, G, count, inner)                                                                                 \
    {SERIES(S, at), .kind = GROUPS_FIELD, .item_bytes = sizeof(G), .most = count, OF(inner)}
#define ENTRY(name, S, result, is_short, fields, count, arrays)                                                        \
    const KernelEntry name##_entry = {run_##name, RETURNS_##result, is_short, fields, count, sizeof(S), arrays};
"""


def source() -> str:
    """Returns interface.c: the checks of arguments before each kernel, and descriptions of them."""
    encoders = {name: kernel for name, kernel in KERNELS.items() if not kernel.is_decoder}
    lines = [f"/* {BY}: checks of arguments before each kernel, and where they are in its struct. */"]
    lines += ['#include "kernels.h"', *_MACROS.splitlines(), ""]
    lines += [line for name, kernel in decoders().items() for line in _run(name, kernel)]
    lines += ["", "#if ON_WASM", ""]
    for name, kernel in decoders().items():
        lines += [f'_Static_assert(sizeof({struct_name(name)}) == {Layout(kernel.fields).bytes}, "{name}");']
    lines += ["", "int (*const RUN_KERNEL[])(Call *, const void *) = {"]
    lines += [*_filled([f"run_{name}," for name in decoders()]), "};"]
    lines += ["", "#else", ""]
    fields = [field for kernel in encoders.values() for field in kernel.fields.values()]
    for group in {field.group.name: field.group for field in fields if isinstance(field, Groups)}.values():
        lines += [f"static int check_{group.name}(Call *call, const {group.name} *a, const {group.name} *end) {{"]
        lines += ["    for (; a < end; a++) {", "        const int is_good ="]
        lines += [*_filled(_joined(_checks(group.fields), ";"), " " * 12), "        if (!is_good) return 0;", "    }"]
        lines += ["    return 1;", "}", ""]
    lines += [line for name, kernel in encoders.items() for line in _run(name, kernel)]
    lines += [*_FIELD_MACROS.splitlines(), ""]
    for struct, described in [(group.name, group.fields) for group in _all_groups()] + [
        (struct_name(name), kernel.fields) for name, kernel in _in_order().items() if kernel.fields
    ]:
        rows = [f"{_described(struct, name, field)}," for name, field in described.items()]
        lines += [f"static const Field {_fields_name(struct)}[] = {{", *_filled(rows), "};"]
    for name, kernel in _in_order().items():
        of_kernel = _fields_name(struct_name(name)) if kernel.fields else "NULL"
        counts = f"{len(kernel.fields)}, {_array_count(kernel.fields)}"
        result = f"{kernel.result.name}, {int(kernel.is_short)}"
        lines += [f"ENTRY({name}, {struct_name(name)}, {result}, {of_kernel}, {counts})"]
    return "\n".join([*lines, "", "#endif", ""])


def _run(name: str, kernel: Kernel) -> list[str]:
    called = f"CHOSEN({name})" if kernel.has_targets else name
    head, checks = f"RUN({name}, {struct_name(name)}, {called},", _joined(_checks(kernel.fields) or ["1"], ")")
    line = " ".join([head, *checks])
    return [line] if len(line) <= _WIDTH else [head, *_filled(checks)]


def _joined(checks: list[str], after: str) -> list[str]:
    """Returns the parts of a conjunction, between which lines may break."""
    return [*(f"{check} &&" for check in checks[:-1]), checks[-1] + after]


def _checks(fields: Mapping[str, Field]) -> list[str]:
    """Returns the conditions that arguments fulfil. Sizes are checked first, because lengths are
    products of them.
    """
    sizes = [f"a->{path}" for path, field in _flat(fields) if isinstance(field, Number) and field.kind is Kind.SIZE]
    checks = [f"HAS_SIZES({', '.join(sizes)})"] if sizes else []
    for path, field in _flat(fields):
        if isinstance(field, Groups):
            checks += [f"check_{field.group.name}(call, a->{path}, a->{path} + a->{path}_count)"]
        if isinstance(field, Array) and field.length:
            scope = path.rpartition(".")[0]
            checks += [f"HAS({path}, {_in_c(field.length, scope, fields)})"]
    return checks


def _flat(fields: Mapping[str, Field], before: str = "") -> Iterator[tuple[str, Field]]:
    """Yields the fields other than groups, with their paths."""
    for name, field in fields.items():
        if isinstance(field, Group):
            yield from _flat(field.fields, f"{before}{name}.")
        else:
            yield before + name, field


def _in_c(length: str, scope: str, fields: Mapping[str, Field]) -> str:
    """Returns the length as a C expression, with the paths of the arguments in it.

    Raises:
        KeyError: The length contains a name that is neither an argument nor a constant.
    """
    paths = {name for path, field in _flat(fields) for name in (path, f"{path}_count")}

    def place(match: re.Match[str]) -> str:
        for path in (f"{scope}.{match[0]}" if scope else match[0], match[0]):
            if path in paths:
                return f"a->{path}"
        if match[0] not in CONSTANTS:
            raise KeyError(match[0])
        return match[0]

    return re.sub(r"[A-Za-z_][\w.]*", place, length)


def _array_count(fields: Mapping[str, Field]) -> int:
    """Returns the largest number of arrays in a call."""
    total = 0
    for field in fields.values():
        if isinstance(field, Array):
            total += field.count
        elif isinstance(field, Group):
            total += _array_count(field.fields)
        elif isinstance(field, Groups):
            total += _array_count(field.group.fields) * field.most
    return total


def _described(struct: str, name: str, field: Field) -> str:
    """Returns the initialiser of a Field."""
    if isinstance(field, Number):
        return f"NUMBER({struct}, {name}, {field.kind.name})"
    if isinstance(field, Array):
        use = "WRITTEN" if field.is_written else "READ"
        return f"ARRAY({struct}, {name}, {use}, {np.dtype(field.dtype).itemsize if field.dtype else 0}, {field.count})"
    if isinstance(field, Group):
        return f"GROUP({struct}, {name}, {_fields_name(field.name)})"
    return f"GROUPS({struct}, {name}, {field.group.name}, {field.most}, {_fields_name(field.group.name)})"


# Python


def python_groups() -> str:
    """Returns arguments.py: the groups of arguments as named tuples."""
    lines = [f'"""Groups of kernels\' arguments. {BY}."""', "", "from __future__ import annotations", ""]
    lines += ["from typing import NamedTuple", *_imports([group.fields for group in _all_groups()])]
    for group in _all_groups():
        lines += ["", "", f"class {group.name}(NamedTuple):", f'    """{group.text}"""', ""]
        for name, field in group.fields.items():
            line, text = f"    {name}: {_python_type(field)}", _lower(field.text.removesuffix("."))
            is_short = len(line) + len(text) + 4 <= 120
            lines += [f"{line}  # {text}"] if is_short else [*wrap(f"# {text}", initial_indent="    ", width=100), line]
    return "\n".join([*lines, ""])


def _lower(text: str) -> str:
    return text[0].lower() + text[1:] if text[1:2].islower() else text


def stub() -> str:
    """Returns _compiled.pyi: the kernels for type checkers."""
    names = ", ".join(sorted(group.name for group in _all_groups()))
    lines = ['"""The compiled kernels. Arrays are C-contiguous. A kernel raises ValueError for an array that is']
    lines += ["too short or whose items have another size, and for a position outside its array."]
    lines += ["", f"{BY}; `kernel_interface.py` describes the arguments.", '"""']
    lines += ["", "# fmt: off", "from collections.abc import Sequence"]
    lines += [*_imports([kernel.fields for kernel in KERNELS.values()])]
    lines += [f"from dfmcodec.kernels.arguments import {names}", "", *_FUNCTIONS, ""]
    for name, kernel in _in_order().items():
        arguments = [f"{argument}: {_python_type(field)}," for argument, field in kernel.fields.items()]
        text = " ".join(["*,", *arguments]).removesuffix(",") if arguments else ""
        line = f"def {name}({text}) -> {kernel.result.value}: ..."
        fits = len(line) <= 120
        lines += [line] if fits else [f"def {name}(", *_filled(["*,", *arguments]), f") -> {kernel.result.value}: ..."]
    return "\n".join([*lines, ""])


_FUNCTIONS = """\
def instruction_sets() -> list[str]:
    \"""Returns the instruction sets that this processor has, the best first.\"""

def chosen_instruction_set() -> str:
    \"""Returns the instruction set in use; "" for none.\"""

def return_memory() -> bool:
    \"""Returns the memory of freed arrays to the operating system; returns whether there was any.\"""

def share_memory() -> bool:
    \"""Makes all threads take memory from one place; returns whether that is possible.\"""

def use_instruction_set(name: str) -> None:
    \"""Uses one of `instruction_sets` from now on, in the complete process.\"""\
""".splitlines()


def _imports(fields: list[Mapping[str, Field]]) -> list[str]:
    text = " ".join(_python_type(field) for each in fields for field in each.values())
    lines = ["from typing import Any"] if "Any" in text else []
    lines += ["", "import numpy as np", "import numpy.typing as npt", ""] if "npt." in text else []
    names = [alias for alias in _ALIASES.values() if re.search(rf"\b{alias}\b", text)]
    return [*lines, f"from dfmcodec._types import {', '.join(names)}"]


_ALIASES = {"float32": "Float32", "float64": "Float64", "int8": "Int8", "int32": "Int32", "uint8": "UInt8"}


def _python_type(field: Field) -> str:
    if isinstance(field, Number):
        return PYTHON_TYPES.get(field.kind, "int")
    if isinstance(field, Group):
        return field.name
    if isinstance(field, Groups):
        return f"Sequence[{field.group.name}]"
    item = f"np.{field.dtype}" if field.dtype else "np.unsignedinteger[Any]"
    array = _ALIASES.get(field.dtype, f"npt.NDArray[{item}]")
    return f"tuple[{array}, ...]" if field.count > 1 else array


# JavaScript


class Layout:
    """The layout of a struct in WebAssembly.

    Args:
        fields: The fields of the struct.
    """

    def __init__(self, fields: Mapping[str, Field]) -> None:
        self.bytes = 0
        self.alignment = 4
        self.rows: list[str] = []
        for name, field in fields.items():
            self._add(name, field)
        self.bytes = -(-self.bytes // self.alignment) * self.alignment

    def _add(self, name: str, field: Field) -> None:
        camel = camel_case(name)
        if isinstance(field, Array):
            kind = "bytes" if not field.dtype else "written" if field.is_written else "read"
            self.rows.append(f'["{camel}", "{kind}", {self._place(8, 4)}]')
        elif isinstance(field, Number):
            size = WASM_BYTES.get(field.kind, 4)
            kind = "real" if field.kind is Kind.REAL else "number"
            self.rows.append(f'["{camel}", "{kind}", {self._place(size, size)}]')
        elif isinstance(field, Group):
            inner = Layout(field.fields)
            place = self._place(inner.bytes, inner.alignment)
            self.rows.append(f'["{camel}", "group", {place}, [{", ".join(inner.rows)}]]')
        else:
            raise NotImplementedError(name)

    def _place(self, size: int, alignment: int) -> int:
        self.alignment = max(self.alignment, alignment)
        start = -(-self.bytes // alignment) * alignment
        self.bytes = start + size
        return start


def camel_case(name: str) -> str:
    """Returns the JavaScript name of an argument or a kernel."""
    return re.sub(r"_(\w)", lambda match: match[1].upper(), name)


def javascript() -> str:
    """Returns kernel_interface.js: constants, and the offsets of the arguments of each kernel."""
    lines = ["/**", f" * {BY}: constants, and the layouts of the kernels' arguments", " * in WebAssembly."]
    lines += [" *", " * @module kernel_interface", " */", ""]
    lines += [f"export const {name} = {value};" for name, value in constants().items()]
    lines += ["", "/** Name, kind and offset of each argument; of groups, their own. Bytes are written. */"]
    lines += ["export const KERNELS = ["]
    for name, kernel in decoders().items():
        found = Layout(kernel.fields)
        lines += [f'  {{ name: "{camel_case(name)}", bytes: {found.bytes}, fields: [']
        lines += [*(f"    {row}," for row in found.rows), "  ] },"]
    return "\n".join([*lines, "];", ""])


if __name__ == "__main__":
    for path, text in outputs().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))
