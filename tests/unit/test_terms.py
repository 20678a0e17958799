"""Terms of code and pages are those of the field, and docstrings start with a verb or a noun."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("dfmcodec", "training", "benchmarks", "docs", "examples")
SUFFIXES = {".py", ".pyi", ".c", ".h", ".md"}
FILES = [
    *sorted(ROOT.glob("*.md")),
    *(path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*")) if path.suffix in SUFFIXES),
]
MODULES = [path for path in FILES if path.suffix == ".py"]
BANNED = {  # former terms, whole words, and the terms that replace them
    "latent model": "wavelet codec",
    "fitted model": "overfitted codec",
    "by_weights": "grad_weights",
    "by_latents": "grad_latents",
    "told": "reported",
    "tells": "reports",
    "in the mean": "on average",
    "sweep": "coordinate descent",
    "sweeps": "coordinate descent",
    "swept": "coordinate descent",
    "influence": "context-dependency cost",
    "priors": "pretrained weights",
}
OPENING = re.compile(r"(What|Who|That of|Those of|Of)\b")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def former_terms(text: str) -> list[str]:
    """Returns the banned terms that a text contains."""
    line = " ".join(text.split())
    return [term for term in BANNED if re.search(rf"\b{term}\b", line, re.IGNORECASE)]


def docstrings(source: str) -> Iterator[str]:
    """Yields the docstrings of a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_terms_are_those_of_the_field(path):
    found = former_terms(path.read_text(encoding="utf-8"))
    assert found == [], f"{path}: say {[BANNED[term] for term in found]}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_docstrings_start_with_a_verb_or_a_noun(path):
    assert [text for text in docstrings(path.read_text(encoding="utf-8")) if OPENING.match(text)] == []


def test_terms_and_openings_are_found():
    assert former_terms("The Latent\nmodel swept; priority, folded, by_weights_of") == ["latent model", "swept"]
    source = 'def f():\n    """What a function returns."""\n\nclass A:\n    """Official."""\n'
    assert [text for text in docstrings(source) if OPENING.match(text)] == ["What a function returns."]
