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


# C


def header() -> str:
    """Returns interface.h: constants, structs and lists of kernels."""
    lines = [f"/* {BY}: constants, the arguments of each kernel, and lists of kernels. */"]
    lines += ["#ifndef DFM_INTERFACE_H", "#define DFM_INTERFACE_H", ""]
    lines += ["#include <stddef.h>", "#include <stdint.h>", ""]
    lines += ["enum {", *(f"    {name} = {value}," for name, value in constants().items()), "};"]
    for name, place in OFFSETS.items():
        pairs = list(_value(*place))
        items = [f"    {{{y}, {x}}}," for y, x in pairs]
        lines += ["", f"static const int {name}[{len(pairs)}][2] __attribute__((unused)) = {{", *items, "};"]
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
    rows = [f"#define {name}(X)", *(f"    {item}" for item in items)]
    return [f"{row:<118} \\" for row in rows[:-1]] + rows[-1:]


def _struct(name: str, text: str, fields: Mapping[str, Field]) -> list[str]:
    members = [line for field_name, field in fields.items() for line in _members(field_name, field)]
    members = members or ["char nothing;"]
    return [*_comment(text), "typedef struct {", *(f"    {member}" for member in members), f"}} {name};"]


def _comment(text: str) -> list[str]:
    return wrap(f"/* {text} */", 118, subsequent_indent=" * ", break_long_words=False)


def _members(name: str, field: Field) -> list[str]:
    if isinstance(field, Array):
        many = f"[{field.count}]" if field.count > 1 else ""
        const = "" if field.is_written else "const "
        return [f"{const}{_item(field)} *{name}{many}; ptrdiff_t {name}_count{many};"]
    if isinstance(field, Number):
        return [f"{C_TYPES[field.kind]} {name};"]
    if isinstance(field, Group):
        return [f"{field.name} {name};"]
    return [f"{field.group.name} {name}[{field.most}];", f"ptrdiff_t {name}_count;"]


def _item(array: Array) -> str:
    return ITEMS.get(array.dtype, f"{array.dtype}_t") if array.dtype else "void"


def source() -> str:
    """Returns interface.c: the checks of arguments before each kernel, and descriptions of them."""
    encoders = {name: kernel for name, kernel in KERNELS.items() if not kernel.is_decoder}
    lines = [f"/* {BY}: checks of arguments before each kernel, and where they are in its struct. */"]
    lines += ['#include "kernels.h"']
    for name, kernel in decoders().items():
        lines += _run(name, kernel)
    lines += ["", "#if ON_WASM", ""]
    for name, kernel in decoders().items():
        lines += [f'_Static_assert(sizeof({struct_name(name)}) == {Layout(kernel.fields).bytes}, "{name}");']
    lines += ["", "int (*const RUN_KERNEL[])(Call *, const void *) = {"]
    lines += [*(f"    run_{name}," for name in decoders()), "};"]
    lines += ["", "#else"]
    listed = {field.group.name: field.group for kernel in encoders.values() for field in _groups_of(kernel)}
    for group in listed.values():
        lines += ["", f"static int check_{group.name}(Call *call, const {group.name} *a) {{"]
        lines += [*_checks(group.fields), "    return 1;", "}"]
    for name, kernel in encoders.items():
        lines += _run(name, kernel)
    lines += [""]
    for struct, fields in [(group.name, group.fields) for group in _all_groups()] + [
        (struct_name(name), kernel.fields) for name, kernel in _in_order().items() if kernel.fields
    ]:
        lines += [f"static const Field {_fields_name(struct)}[] = {{"]
        lines += [f"    {{{_described(struct, name, field)}}}," for name, field in fields.items()] + ["};"]
    for name, kernel in _in_order().items():
        described = f"{_fields_name(struct_name(name))}, {len(kernel.fields)}" if kernel.fields else "NULL, 0"
        size = f"sizeof({struct_name(name)}), {_array_count(kernel.fields)}"
        lines += [f"const KernelEntry {name}_entry = {{"]
        lines += [f"    run_{name}, RETURNS_{kernel.result.name}, {int(kernel.is_short)}, {described}, {size},", "};"]
    return "\n".join([*lines, "", "#endif", ""])


def _groups_of(kernel: Kernel) -> list[Groups]:
    return [field for field in kernel.fields.values() if isinstance(field, Groups)]


def _run(name: str, kernel: Kernel) -> list[str]:
    called = f"CHOSEN({name})" if kernel.has_targets else name
    lines = ["", f"static int run_{name}(Call *call, const void *arguments) {{"]
    lines += [f"    const {struct_name(name)} *a = arguments;", *_checks(kernel.fields)]
    return [*lines, f"    return {called}(call, a);", "}"]


def _checks(fields: Mapping[str, Field]) -> list[str]:
    """Returns the lines that check arguments. Sizes are checked first, because lengths are products
    of them.
    """
    sizes = [f"a->{path}" for path, field in _flat(fields) if isinstance(field, Number) and field.kind is Kind.SIZE]
    lines = [f"    if (!SIZES({', '.join(sizes)})) return refuse_sizes(call);"] if sizes else []
    for path, field in _flat(fields):
        if isinstance(field, Groups):
            lines += [f"    for (ptrdiff_t n = 0; n < a->{path}_count; n++)"]
            lines += [f"        if (!check_{field.group.name}(call, &a->{path}[n])) return 0;"]
        if isinstance(field, Array) and field.length:
            scope = path.rpartition(".")[0]
            lines += [f"    if (!has_items(call, a, {path}, {_in_c(field.length, scope, fields)})) return 0;"]
    return lines


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
    text = f'.name = "{name}", .offset = offsetof({struct}, {name})'
    if isinstance(field, Number):
        return f"{text}, .kind = {field.kind.name}_FIELD"
    count = f".count_offset = offsetof({struct}, {name}_count)"
    if isinstance(field, Array):
        bytes_of_item = f"sizeof({_item(field)})" if field.dtype else "0"
        kind = "WRITTEN_FIELD" if field.is_written else "READ_FIELD"
        return f"{text}, {count}, .kind = {kind}, .item_bytes = {bytes_of_item}, .most = {field.count}"
    group = field.group if isinstance(field, Groups) else field
    inner = f".fields = {_fields_name(group.name)}, .field_count = {len(group.fields)}"
    if isinstance(field, Group):
        return f"{text}, .kind = GROUP_FIELD, {inner}"
    return f"{text}, {count}, .kind = GROUPS_FIELD, .most = {field.most}, .item_bytes = sizeof({group.name}), {inner}"


# Python


def python_groups() -> str:
    """Returns arguments.py: the groups of arguments as named tuples."""
    lines = [f'"""Groups of kernels\' arguments. {BY}."""', "", "from __future__ import annotations", ""]
    lines += ["from typing import NamedTuple", *_imports([group.fields for group in _all_groups()])]
    for group in _all_groups():
        lines += ["", "", f"class {group.name}(NamedTuple):", *_doc(group.text, group.fields, "    "), ""]
        lines += [f"    {name}: {_python_type(field)}" for name, field in group.fields.items()]
    return "\n".join([*lines, ""])


def stub() -> str:
    """Returns _compiled.pyi: the kernels for type checkers."""
    names = ", ".join(sorted(group.name for group in _all_groups()))
    lines = ['"""The compiled kernels. Arrays are C-contiguous. A kernel raises ValueError for an array that is']
    lines += ["too short or whose items have another size, and for a position outside its array."]
    lines += ["", f"{BY}, which describes the arguments.", '"""', "", "from collections.abc import Sequence"]
    lines += [*_imports([kernel.fields for kernel in KERNELS.values()])]
    lines += [f"from dfmcodec.kernels.arguments import {names}", "", *_FUNCTIONS]
    for name, kernel in _in_order().items():
        arguments = [f"    {argument}: {_python_type(field)}," for argument, field in kernel.fields.items()]
        lines += ["", *([f"def {name}(", "    *,", *arguments, ")"] if arguments else [f"def {name}()"])]
        lines[-1] += f" -> {kernel.result.value}:"
        lines += _doc(kernel.text, {}, "    ", kernel.returns)
    return "\n".join([*lines, ""])


_FUNCTIONS = """\
def instruction_sets() -> list[str]:
    \"""Returns the instruction sets that this processor has, the best first.\"""

def chosen_instruction_set() -> str:
    \"""Returns the instruction set in use; "" for none.\"""

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


def _doc(text: str, fields: Mapping[str, Field], indent: str, returns: str = "") -> list[str]:
    """Returns the lines of a docstring."""
    lines = wrap(f'"""{text}', _DOC_WIDTH - 3, initial_indent=indent, subsequent_indent=indent)
    if fields:
        lines += ["", f"{indent}Args:"]
        for name, field in fields.items():
            lines += _wrapped(f"{name}: {field.text}", indent + "    ", "    ")
    if returns:
        lines += ["", f"{indent}Returns:", *_wrapped(returns, indent + "    ")]
    return [lines[0] + '"""'] if len(lines) == 1 else [*lines, f'{indent}"""']


def _wrapped(text: str, indent: str, hanging: str = "") -> list[str]:
    return wrap(text, _DOC_WIDTH, initial_indent=indent, subsequent_indent=indent + hanging, break_on_hyphens=False)


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
