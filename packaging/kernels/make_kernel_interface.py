"""Generates C code of the kernels: structs of their arguments, checks of lengths, and files for
each instruction set.

    python packaging/kernels/make_kernel_interface.py FOLDER

The build calls it. The kernels are declared in `dfmcodec/kernels/_compiled.pyi`, and groups of
arguments in `arguments.py` beside it, which explains the metadata. Both are parsed, not imported,
so that a build needs no package.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[2] / "dfmcodec" / "kernels"
# The kind and the C type of each type of numbers.
NUMBERS = {
    "Size": ("SIZE", "ptrdiff_t"),
    "Index": ("INDEX", "ptrdiff_t"),
    "Seed": ("SEED", "uint32_t"),
    "int": ("INTEGER", "int"),
    "bool": ("TRUTH", "int"),
    "float": ("REAL", "double"),
}
RESULTS = {"None": "NOTHING", "int": "SIZE", "bool": "TRUTH"}
TARGETS = ("AVX2", "AVX512")


@dataclass(frozen=True)
class Field:
    """An argument: a number, an array or a tuple of arrays, a group, or a sequence of groups.

    Args:
        name: The name.
        type: The name of its type in Python; for a tuple or a sequence, that of the items.
        fields: The arguments in a group.
        count: The number of arrays in a tuple, the maximum number of groups in a sequence, or 1.
        is_sequence: Indicates whether it is a sequence of groups.
        is_written: Indicates whether the kernel writes it.
        length: The minimum number of items of an array, as a C expression; "" if the kernel checks
            it.
    """

    name: str
    type: str
    fields: tuple[Field, ...]
    count: int
    is_sequence: bool
    is_written: bool
    length: str

    @property
    def is_array(self) -> bool:
        """Indicates whether it is an array or a tuple of arrays."""
        return self.type not in NUMBERS and not self.fields

    @property
    def c_type(self) -> str:
        """The C type of the items of an array, of a number, or of a group."""
        if not self.is_array:
            return NUMBERS[self.type][1] if self.type in NUMBERS else self.type
        if self.type.startswith("Float"):
            return "float" if self.item_bytes == 4 else "double"
        return f"{self.type.lower()}_t" if self.item_bytes else "void"

    @property
    def item_bytes(self) -> int:
        """The number of bytes of an item of an array; 0 for pixels, which are uint8 or uint16."""
        return 0 if self.type == "Pixels" else int(re.sub(r"\D", "", self.type)) // 8


@dataclass(frozen=True)
class Kernel:
    """A kernel.

    Args:
        name: The name.
        fields: The arguments.
        result: The type of the result in Python.
        is_decoder: Indicates whether the browser has it.
        has_targets: Indicates whether it is compiled for each instruction set.
        is_short: Indicates whether it keeps the GIL.
    """

    name: str
    fields: tuple[Field, ...]
    result: str
    is_decoder: bool
    has_targets: bool
    is_short: bool

    @property
    def struct(self) -> str:
        """The name of the struct of its arguments: `decode_highs` has DecodeHighs."""
        return "".join(part.capitalize() for part in self.name.split("_"))


@cache
def groups() -> dict[str, tuple[Field, ...]]:
    """Returns the fields of each group, nested groups first."""
    fields: dict[str, tuple[Field, ...]] = {}
    for node in _parsed("arguments.py"):
        if isinstance(node, ast.ClassDef):
            declared = [each for each in node.body if isinstance(each, ast.AnnAssign)]
            fields[node.name] = tuple(_field(ast.unparse(each.target), each.annotation, fields) for each in declared)
    return fields


@cache
def kernels() -> list[Kernel]:
    """Returns all kernels; other functions of the stub have no named arguments and no metadata."""
    declared = []
    for node in _parsed("_compiled.pyi"):
        if isinstance(node, ast.FunctionDef):
            fields = tuple(_field(each.arg, each.annotation, groups()) for each in node.args.kwonlyargs)
            result, flags = _split(node.returns)
            if fields or flags:
                is_decoder, has_targets, is_short = "decoder" in flags, "one build" not in flags, "short" in flags
                declared.append(Kernel(node.name, fields, result, is_decoder, has_targets, is_short))
    return declared


def decoders() -> list[Kernel]:
    """Returns the kernels of the browser."""
    return [kernel for kernel in kernels() if kernel.is_decoder]


def _parsed(name: str) -> list[ast.stmt]:
    return ast.parse((SOURCES / name).read_text(encoding="utf-8")).body


def _split(annotation: ast.expr | None) -> tuple[str, list[str | int]]:
    """Returns a type, and its metadata."""
    text = ast.unparse(annotation) if annotation else "None"
    if not text.startswith("Annotated["):
        return text, []
    assert isinstance(annotation, ast.Subscript)
    assert isinstance(annotation.slice, ast.Tuple)
    kind, *metadata = annotation.slice.elts
    return ast.unparse(kind), [ast.literal_eval(each) for each in metadata]


def _field(name: str, annotation: ast.expr | None, among: Mapping[str, tuple[Field, ...]]) -> Field:
    text, metadata = _split(annotation)
    item = re.sub(r"\w+\[(\w+).*\]", r"\1", text)
    return Field(
        name,
        item,
        fields=among.get(item, ()),
        count=next((each for each in metadata if isinstance(each, int)), 1),
        is_sequence=text.startswith("Sequence["),
        is_written="written" in metadata,
        length=next((each for each in metadata if isinstance(each, str) and each != "written"), ""),
    )


# Structs and lists of kernels


def header() -> str:
    """Returns interface.h."""
    lines = ["#pragma once", "#include <stddef.h>", "#include <stdint.h>"]
    for struct, fields in _structs().items():
        lines += ["typedef struct {", *(map(_member, fields) if fields else ["char nothing;"]), f"}} {struct};"]
    for build, has_targets in (("ONE_BUILD", False), ("TARGETS", True)):
        for use, is_decoder in (("DECODER", True), ("ENCODER", False)):
            listed = [each for each in kernels() if (each.has_targets, each.is_decoder) == (has_targets, is_decoder)]
            names = " ".join(f"X({each.name}, {each.struct})" for each in listed)
            lines += [f"#define {use}_KERNELS_OF_{build}(X) {names}"]
    return "\n".join([*lines, ""])


def _structs() -> dict[str, tuple[Field, ...]]:
    return {**groups(), **{kernel.struct: kernel.fields for kernel in kernels()}}


def _member(field: Field) -> str:
    many = f"[{field.count}]" if field.count > 1 else ""
    if field.is_array:
        const = "" if field.is_written else "const "
        return f"{const}{field.c_type} *{field.name}{many}; ptrdiff_t {field.name}_count{many};"
    return f"{field.c_type} {field.name}{many};" + f" ptrdiff_t {field.name}_count;" * field.is_sequence


# Checks of arguments, and descriptions of structs

_MACROS = r"""
#include "kernels.h"
#define HAS(name, needed) has_items(call, a, name, needed)
#define HAS_SIZES(...) (SIZES(__VA_ARGS__) || refuse_sizes(call))
#define RUN(name, Struct, function, checks) \
    static int run_##name(Call *call, const void *arguments) { \
        const Struct *a = arguments; \
        return (checks) && function(call, a); \
    }
#define NUMBER(S, at, number) {.name = #at, .kind = number##_FIELD, .offset = offsetof(S, at)},
#define SERIES(S, at) .name = #at, .offset = offsetof(S, at), .count_offset = offsetof(S, at##_count)
#define ARRAY(S, at, use, bytes, count) {SERIES(S, at), .kind = use##_FIELD, .item_bytes = bytes, .most = count},
#define OF(inner) .fields = inner, .field_count = sizeof inner / sizeof *inner
#define GROUP(S, at, inner) {.name = #at, .kind = GROUP_FIELD, .offset = offsetof(S, at), OF(inner)},
#define GROUPS(S, at, G, count, inner) \
    {SERIES(S, at), .kind = GROUPS_FIELD, .item_bytes = sizeof(G), .most = count, OF(inner)},
#define ENTRY(name, S, result, is_short, fields, count, arrays) \
    const KernelEntry name##_entry = {run_##name, RETURNS_##result, is_short, fields, count, sizeof(S), arrays};
"""


def source() -> str:
    """Returns interface.c."""
    lines = [_MACROS, *map(_run, decoders()), "#if ON_WASM"]
    for kernel in decoders():
        lines += [f'_Static_assert(sizeof({kernel.struct}) == {Layout(kernel.fields).bytes}, "{kernel.name}");']
    names = ", ".join(f"run_{kernel.name}" for kernel in decoders())
    lines += [f"int (*const RUN_KERNEL[])(Call *, const void *) = {{{names}}};", "#else"]
    for field in [field for kernel in kernels() for field in kernel.fields if field.is_sequence]:
        lines += [f"static int check_{field.type}(Call *call, const {field.type} *a, const {field.type} *end) {{"]
        lines += [f"for (; a < end; a++) if (!({' && '.join(_checks(field.fields))})) return 0;", "return 1;", "}"]
    lines += [_run(kernel) for kernel in kernels() if not kernel.is_decoder]
    for struct, fields in _structs().items():
        if fields:
            lines += [f"static const Field fields_of_{struct}[] = {{", *(_described(struct, each) for each in fields)]
            lines += ["};"]
    for kernel in kernels():
        described = f"fields_of_{kernel.struct}, {len(kernel.fields)}" if kernel.fields else "NULL, 0"
        result = f"{RESULTS[kernel.result]}, {int(kernel.is_short)}"
        lines += [f"ENTRY({kernel.name}, {kernel.struct}, {result}, {described}, {_array_count(kernel.fields)})"]
    return "\n".join([*lines, "#endif", ""])


def _run(kernel: Kernel) -> str:
    function = f"CHOSEN({kernel.name})" if kernel.has_targets else kernel.name
    checks = " && ".join(_checks(kernel.fields)) or "1"
    return f"RUN({kernel.name}, {kernel.struct}, {function}, {checks})"


def _checks(fields: Sequence[Field]) -> list[str]:
    """Returns the conditions that arguments fulfil. Sizes are checked first, because lengths are
    products of them.
    """
    sizes = [f"a->{path}" for path, field in _flat(fields) if field.type == "Size"]
    checks = [f"HAS_SIZES({', '.join(sizes)})"] if sizes else []
    for path, field in _flat(fields):
        if field.is_sequence:
            checks += [f"check_{field.type}(call, a->{path}, a->{path} + a->{path}_count)"]
        if field.length:
            checks += [f"HAS({path}, {_in_c(field.length, path.rpartition('.')[0], fields)})"]
    return checks


def _flat(fields: Sequence[Field], before: str = "") -> Iterator[tuple[str, Field]]:
    """Yields the fields other than groups, with their paths."""
    for field in fields:
        if field.fields and not field.is_sequence:
            yield from _flat(field.fields, f"{before}{field.name}.")
        else:
            yield before + field.name, field


def _in_c(length: str, scope: str, fields: Sequence[Field]) -> str:
    """Returns the length with the paths of the arguments in it; other names are constants."""
    paths = {name for path, _ in _flat(fields) for name in (path, f"{path}_count")}

    def place(match: re.Match[str]) -> str:
        candidates = (f"{scope}.{match[0]}", match[0])
        return next((f"a->{path}" for path in candidates if path in paths), match[0])

    return re.sub(r"[A-Za-z_][\w.]*", place, length)


def _array_count(fields: Sequence[Field]) -> int:
    """Returns the largest number of arrays in a call."""
    return sum(
        field.count * (1 if field.is_array else _array_count(field.fields))
        for field in fields
        if field.type not in NUMBERS
    )


def _described(struct: str, field: Field) -> str:
    """Returns the initialiser of a Field."""
    if field.is_array:
        use = "WRITTEN" if field.is_written else "READ"
        return f"ARRAY({struct}, {field.name}, {use}, {field.item_bytes}, {field.count})"
    if not field.fields:
        return f"NUMBER({struct}, {field.name}, {NUMBERS[field.type][0]})"
    if field.is_sequence:
        return f"GROUPS({struct}, {field.name}, {field.type}, {field.count}, fields_of_{field.type})"
    return f"GROUP({struct}, {field.name}, fields_of_{field.type})"


class Layout:
    """The layout of a struct in WebAssembly.

    Args:
        fields: The fields of the struct.
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        self.bytes = 0
        self.alignment = 4
        self.rows = [self._row(field) for field in fields]  # name, kind and offset; of groups, their own
        self.bytes = -(-self.bytes // self.alignment) * self.alignment

    def _row(self, field: Field) -> list[object]:
        name = camel_case(field.name)
        if field.is_array:
            kind = "bytes" if not field.item_bytes else "written" if field.is_written else "read"
            return [name, kind, self._place(8, 4)]
        if field.fields:
            inner = Layout(field.fields)
            return [name, "group", self._place(inner.bytes, inner.alignment), inner.rows]
        size = 8 if field.type == "float" else 4
        return [name, "real" if field.type == "float" else "number", self._place(size, size)]

    def _place(self, size: int, alignment: int) -> int:
        self.alignment = max(self.alignment, alignment)
        start = -(-self.bytes // alignment) * alignment
        self.bytes = start + size
        return start


def camel_case(name: str) -> str:
    """Returns the JavaScript name of an argument or a kernel."""
    return re.sub(r"_(\w)", lambda match: match[1].upper(), name)


# Files


def make(folder: Path, *, has_targets: bool) -> list[Path]:
    """Writes interface.h, interface.c and, if `has_targets`, files for instruction sets such as
    correction_avx2.c. Files that are up to date are left alone, so that nothing is compiled again.

    Returns:
        The files to compile.
    """
    texts = {"interface.h": header(), "interface.c": source()}
    for path in sorted(SOURCES.glob("*.c")) if has_targets else []:
        if "#define TARGET_BASELINE" in path.read_text(encoding="utf-8"):
            for target in TARGETS:
                end = "#if defined(__clang__)\n#pragma clang attribute pop\n#endif\n"
                texts[f"{path.stem}_{target.lower()}.c"] = f'#define TARGET_{target}\n#include "{path.name}"\n{end}'
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != text:
            (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts if name.endswith(".c")]


if __name__ == "__main__":
    make(Path(sys.argv[1]), has_targets=True)
