"""Imports point one way, whatever their place: at the top, in a function, or for types alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import dfmcodec

PACKAGE = Path(dfmcodec.__file__).parent

# docs/architecture.md: a room imports from those of the rows above it, never from its own row or
# below.
ROWS = (
    ("errors", "_types", "threads"),
    ("options",),
    ("kernels",),
    ("processes",),
    ("image",),
    ("metrics", "ssimulacra2", "files", "latents"),
    ("entropy", "photographs"),
    ("fourier",),
    ("synthesis",),
    ("prior",),
    ("bitstream",),
    ("generative",),
    ("decoder",),
    ("encoder", "viewer"),
    ("training", "api"),
    ("",),  # dfmcodec/__init__.py, the public names
    ("bench", "corpus", "plugins"),
    ("cli", "pillow"),
    ("__main__",),
)
RANK = {room: rank for rank, rooms in enumerate(ROWS) for room in rooms}
JAX_ALLOWED = ("encoder", "training")  # and modules named jax_backend


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


def rank(name: str) -> int:
    return RANK[name.split(".")[0]]


GRAPH = {
    name: {target: line for full, line in imported(name) if (target := inner(full)) is not None and target != name}
    for name in MODULES
}


def test_every_room_has_a_rank():
    assert {name.split(".")[0] for name in MODULES} == set(RANK)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_point_one_way(name):
    room = name.split(".")[0]
    for target, line in GRAPH[name].items():
        same_room = target.split(".")[0] == room
        assert same_room or rank(target) < rank(name), (
            f"{MODULES[name]}:{line} imports dfmcodec.{target}: {room} comes before {target.split('.')[0]} or beside it"
        )


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


def test_no_circle():
    assert circles({name: set(targets) for name, targets in GRAPH.items()}) == []


def test_a_circle_is_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_jax_has_few_doors(name):
    uses = {full.split(".")[0] for full, _ in imported(name)} & {"jax", "jaxlib", "optax"}
    room, last = name.split(".")[0], name.split(".")[-1]
    assert not uses or room in JAX_ALLOWED or last == "jax_backend", f"{MODULES[name]} imports {uses}"
