"""Terms of code and pages are those of the field, and docstrings start with a verb or a noun."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("dfmcodec", "research", "benchmarks", "docs", "examples")
SUFFIXES = {".py", ".pyi", ".c", ".h", ".md"}
FILES = [
    *sorted(ROOT.glob("*.md")),
    *(path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*")) if path.suffix in SUFFIXES),
]
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


def former_terms(text: str) -> Iterator[tuple[int, str]]:
    """Yields the banned terms of a text, also across lines, with the line where each begins."""
    for term in BANNED:
        for match in re.finditer(rf"\b{term}\b".replace(" ", r"\s+"), text, re.IGNORECASE):
            yield text.count("\n", 0, match.start()) + 1, term


def poor_openings(source: str) -> Iterator[tuple[int, str]]:
    """Yields the docstrings of a module that open otherwise, with the lines of their owners."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node) or ""
            if OPENING.match(text):
                yield getattr(node, "lineno", 1), text


def test_terms_are_those_of_the_field():
    offenders = [
        f"{path.relative_to(ROOT)}:{line}: {term}: say {BANNED[term]}"
        for path in FILES
        for line, term in former_terms(path.read_text(encoding="utf-8"))
    ]
    assert offenders == []


def test_docstrings_start_with_a_verb_or_a_noun():
    offenders = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in FILES
        if path.suffix == ".py"
        for line, text in poor_openings(path.read_text(encoding="utf-8"))
    ]
    assert offenders == []


def test_planted_terms_and_openings_are_listed():
    planted = "The Latent\nmodel swept; priority, folded, by_weights_of"
    assert list(former_terms(planted)) == [(1, "latent model"), (2, "swept")]
    source = 'def f():\n    """What a function returns."""\n\nclass A:\n    """Official."""\n'
    assert list(poor_openings(source)) == [(1, "What a function returns.")]
