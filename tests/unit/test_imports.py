"""Tests that imports point one way, at the top of a module, in a function, or for type checking."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dfmcodec

PACKAGE = Path(dfmcodec.__file__).parent
GOLDEN = Path(__file__).parents[1] / "golden" / "v1"

# docs/architecture.md: a room is a folder or module, and imports from rooms of the rows above it,
# never from its own row or below. A module belongs to the longest of these names that begins its
# own.
CODECS = ("wavelet", "overfitted", "coordinate")
ROWS = (
    ("errors", "_types", "threads", "codecs", "models"),  # codecs/__init__.py is empty
    ("options", "kernels", "files"),
    ("processes",),
    ("image",),
    ("perception", "photographs", "entropy", "weights", "search.config"),
    ("fourier",),
    ("container", "codecs.losses"),
    (*(f"codecs.{codec}" for codec in CODECS), "report"),
    ("codecs.renderer",),
    tuple(f"codecs.{codec}.decode" for codec in CODECS),
    ("search", "perception.distortion"),
    ("codecs.record",),
    ("codecs.wavelet.encode", "codecs.coordinate.encode"),
    ("codecs.overfitted.encode",),
    tuple(f"codecs.{codec}.codec" for codec in CODECS),
    ("codecs.decode",),
    ("viewer", "choice", "codecs.textured"),
    ("codecs.encode", "codecs.source"),
    ("api",),
    ("",),  # dfmcodec/__init__.py, the public names
    ("bench", "corpus", "plugins"),
    ("cli", "pillow"),
    ("__main__",),
)
RANK = {room: rank for rank, rooms in enumerate(ROWS) for room in rooms}
JAX_ALLOWED = tuple(f"codecs.{codec}.encode" for codec in CODECS)  # and jax_backend


def module_name(path: Path) -> str:
    """The name of a module without that of the package: "entropy.coder", "entropy", "" for the
    package itself.
    """
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(name: str) -> Iterator[tuple[str, int]]:
    """The modules that a module imports anywhere in its code, with the line."""
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno} imports by dots"
            base = node.module or ""
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for full in names:
            yield full, node.lineno


def inner(full: str) -> str | None:
    """The module of this package that an import names or takes a name from; None for other
    packages.
    """
    if full != "dfmcodec" and not full.startswith("dfmcodec."):
        return None
    name = full.removeprefix("dfmcodec").strip(".")
    while name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def room_of(name: str) -> str:
    """The room of a module: the longest of their names that begins its name."""
    room = name
    while room and room not in RANK:
        room = room.rpartition(".")[0]
    return room


def rank(name: str) -> int:
    return RANK[room_of(name)]


GRAPH = {
    name: {target: line for full, line in imported(name) if (target := inner(full)) is not None and target != name}
    for name in MODULES
}


def test_every_room_has_a_rank():
    rooms = {room_of(name) for name in MODULES}
    assert rooms == set(RANK)
    assert [name for name in MODULES if name and room_of(name) in ("", "codecs") and name != "codecs"] == []


def test_imports_point_one_way():
    offenders = [
        f"{MODULES[name]}:{line} imports dfmcodec.{target}: {room_of(name)} is not above {room_of(target)}"
        for name in MODULES
        for target, line in GRAPH[name].items()
        if room_of(target) != room_of(name) and rank(target) >= rank(name)
    ]
    assert offenders == []


def reached(name: str) -> set[str]:
    """The modules that a module imports, directly or not."""
    seen: set[str] = set()
    open_names = [name]
    while open_names:
        for target in set(GRAPH[open_names.pop()]) - seen:
            seen.add(target)
            open_names.append(target)
    return seen


@pytest.mark.parametrize("codec", CODECS)
def test_decoding_never_imports_encoding(codec):
    assert [name for name in reached(f"codecs.{codec}.decode") if ".encode" in name or name == "search"] == []
    assert [name for name in reached(f"codecs.{codec}.read_write") if ".encode" in name or name == "search"] == []


def loaded_after(code: str) -> set[str]:
    """The modules of the package that a new interpreter has loaded after some code."""
    code += "\nimport sys\nprint(*(name for name in sys.modules if name.startswith('dfmcodec')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.removeprefix("dfmcodec").removeprefix(".") for name in done.stdout.split()}


@pytest.mark.parametrize("file", ["wavelet-rgb.dfm", "overfitted-small.dfm", "coordinate.dfm"])
def test_a_header_is_read_without_the_modules_that_decode_or_encode(file):
    path, own = GOLDEN / file, next(codec for codec in CODECS if file.startswith(codec))
    loaded = loaded_after(f"from dfmcodec.container import read_header\nread_header(open({str(path)!r}, 'rb').read())")
    assert [codec for codec in CODECS if f"codecs.{codec}.codec" in loaded] == [own]
    codecs = [name for name in loaded if name.startswith(("codecs.", "search"))]
    assert [name for name in codecs if {"decode", "encode", "read_write", "search"} & set(name.split("."))] == []


def test_a_file_is_decoded_without_the_modules_that_encode():
    loaded = loaded_after(f"import dfmcodec\ndfmcodec.decode({str(GOLDEN / 'wavelet-rgb.dfm')!r})")
    assert "codecs.wavelet.decode" in loaded
    assert [name for name in loaded if ".encode" in name] == []


def test_options_are_known_without_numpy():
    """`dfm encode --help` takes half of its time then."""
    code = "import sys, dfmcodec.options\nassert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_container_imports_no_codec():
    reached_by_container = {other for name in MODULES if name.split(".")[0] == "container" for other in reached(name)}
    assert {name for name in reached_by_container if name.startswith("codecs")} == set()


def test_no_code_outside_a_codec_names_it():
    """A codec is a folder and a line of `models`. `weights.registry` lists shipped weights, and
    `fourier.network` is the network that the coordinate codec fits.
    """
    names = {name.upper() for name in CODECS}
    allowed = ("models", "weights.registry", "fourier.network", *(f"codecs.{codec}" for codec in CODECS))

    def asks(node: ast.AST) -> bool:
        if isinstance(node, ast.Compare):
            return any(isinstance(one, ast.Constant) and one.value in CODECS for one in ast.walk(node))
        return isinstance(node, ast.Attribute) and node.attr in names

    found = [
        f"{path}:{node.lineno}"
        for name, path in MODULES.items()
        if not name.startswith(allowed)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if asks(node)
    ]
    assert found == []


def test_the_package_takes_nothing_from_outside_its_folder():
    """Research is not in the wheel."""
    users = {name for name in MODULES if "research" in {full.split(".")[0] for full, _ in imported(name)}}
    assert users == set()


def test_the_package_itself_is_imported_by_outer_rooms_only():
    """Rooms take names from the modules that define them; only `bench`, `plugins` and `cli` use the
    public names.
    """
    users = {name for name, targets in GRAPH.items() if "" in targets}
    assert all(rank(name) > rank("") for name in users), users


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Groups of two or more modules that import each other, directly or not."""
    reached: dict[str, set[str]] = {}
    for name in graph:
        seen: set[str] = set()
        open_names = [name]
        while open_names:
            for target in graph[open_names.pop()] - seen:
                seen.add(target)
                open_names.append(target)
        reached[name] = seen
    found: list[set[str]] = []
    for name in graph:
        group = {other for other in reached[name] if name in reached[other]} | {name}
        if len(group) > 1 and group not in found:
            found.append(group)
    return found


def test_imports_have_no_cycle():
    assert circles({name: set(targets) for name, targets in GRAPH.items()}) == []


def test_planted_cycle_is_listed():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]


def test_few_modules_import_jax():
    offenders = [
        f"{MODULES[name]}:{line} imports {full}"
        for name in MODULES
        if room_of(name) not in JAX_ALLOWED and name.rpartition(".")[2] != "jax_backend"
        for full, line in imported(name)
        if full.split(".")[0] in {"jax", "jaxlib", "optax"}
    ]
    assert offenders == []
