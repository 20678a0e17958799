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
TO_REWRITE = {  # files that still contain former terms; to be removed from here, never added
    "dfmcodec/bench/cache.py",
    "dfmcodec/cli/encode.py",
    "dfmcodec/codecs/overfitted/encode/plan.py",
    "dfmcodec/image/write_image.py",
    "dfmcodec/weights/MODEL_CARD.md",
    "dfmcodec/weights/registry.py",
}
OPENING = re.compile(r"(What|Who|That of|Those of|Of)\b")
DOCSTRINGS_TO_REWRITE = {  # modules that still have docstrings with these openings; likewise
    "dfmcodec/_types.py",
    "dfmcodec/api.py",
    "dfmcodec/bench/codecs.py",
    "dfmcodec/bench/curves.py",
    "dfmcodec/bench/runner.py",
    "dfmcodec/bench/same_size.py",
    "dfmcodec/bench/summary.py",
    "dfmcodec/cli/_batch.py",
    "dfmcodec/cli/_common.py",
    "dfmcodec/cli/_corpus.py",
    "dfmcodec/cli/_existing.py",
    "dfmcodec/cli/_failure.py",
    "dfmcodec/cli/_inputs.py",
    "dfmcodec/cli/_report_file.py",
    "dfmcodec/cli/_same_file.py",
    "dfmcodec/cli/_sandbox.py",
    "dfmcodec/cli/bench.py",
    "dfmcodec/cli/decode.py",
    "dfmcodec/cli/encode.py",
    "dfmcodec/cli/generate.py",
    "dfmcodec/cli/info.py",
    "dfmcodec/corpus/engines.py",
    "dfmcodec/corpus/forms/__init__.py",
    "dfmcodec/corpus/forms/entry.py",
    "dfmcodec/corpus/forms/parquet.py",
    "dfmcodec/corpus/forms/tars.py",
    "dfmcodec/corpus/job.py",
    "dfmcodec/corpus/jobs.py",
    "dfmcodec/corpus/plan.py",
    "dfmcodec/corpus/records.py",
    "dfmcodec/corpus/shards.py",
    "dfmcodec/corpus/sources.py",
    "dfmcodec/corpus/store.py",
    "dfmcodec/corpus/tasks.py",
    "dfmcodec/entropy/context_networks.py",
    "dfmcodec/entropy/range_coders.py",
    "dfmcodec/errors.py",
    "dfmcodec/image/__init__.py",
    "dfmcodec/metrics/ssimulacra2.py",
    "dfmcodec/options.py",
    "dfmcodec/plugins/chunks.py",
    "dfmcodec/report.py",
    "dfmcodec/viewer/__init__.py",
    "dfmcodec/viewer/server.py",
}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def without(paths: list[Path], names: set[str]) -> list[Path]:
    return [path for path in paths if name_of(path) not in names]


def former_terms(text: str) -> list[str]:
    """Returns the banned terms that a text contains."""
    line = " ".join(text.split())
    return [term for term in BANNED if re.search(rf"\b{term}\b", line, re.IGNORECASE)]


def docstrings(source: str) -> Iterator[str]:
    """Yields the docstrings of a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


@pytest.mark.parametrize("path", without(FILES, TO_REWRITE), ids=name_of)
def test_terms_are_those_of_the_field(path):
    found = former_terms(path.read_text(encoding="utf-8"))
    assert found == [], f"{path}: say {[BANNED[term] for term in found]}"


@pytest.mark.parametrize("path", without(MODULES, DOCSTRINGS_TO_REWRITE), ids=name_of)
def test_docstrings_start_with_a_verb_or_a_noun(path):
    assert [text for text in docstrings(path.read_text(encoding="utf-8")) if OPENING.match(text)] == []


def test_terms_and_openings_are_found():
    assert former_terms("The Latent\nmodel swept; priority, folded, by_weights_of") == ["latent model", "swept"]
    source = 'def f():\n    """What a function returns."""\n\nclass A:\n    """Official."""\n'
    assert [text for text in docstrings(source) if OPENING.match(text)] == ["What a function returns."]
