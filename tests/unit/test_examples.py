"""What documents and examples show runs: fenced Python blocks, doctests, the notebook, the
scripts.
"""

from __future__ import annotations

import doctest
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import dfmcodec

ROOT = Path(__file__).parents[2]
PACKAGE = Path(dfmcodec.__file__).parent
EXAMPLES = ROOT / "examples"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
WITHOUT_PYTHON = {  # pages that have no fenced Python block
    *("architecture.md", "format.md", "glossary.md", "integration.md", "presets.md", "results.md"),
}
NOTEBOOK = EXAMPLES / "first_steps.ipynb"
PIL_REGISTRIES = ("ID", "OPEN", "SAVE", "EXTENSION", "MIME")


def python_blocks(page: Path) -> list[tuple[int, str]]:
    """Finds the fenced Python blocks of a page, each with the number of its first line."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, match.start(1)) + 1, match[1]) for match in found]


def modules_with_doctests() -> list[str]:
    sources = [path for path in sorted(PACKAGE.rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]
    names = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in sources]
    return [name.removesuffix(".__init__") for name in names]


@pytest.fixture
def photograph() -> PIL.Image.Image:
    """Scikit-image's photograph of a cat, cut small."""
    import skimage.data

    return PIL.Image.fromarray(np.ascontiguousarray(skimage.data.chelsea()[60:108, 130:194]))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photograph: PIL.Image.Image) -> Iterator[Path]:
    """The current folder, with the files that examples name.

    What an example registers with Pillow is forgotten afterwards.
    """
    photograph.save(tmp_path / "photo.png")
    generative = ROOT / "tests" / "golden" / "v1" / "generative"
    shutil.copy(generative / "gray.dfmg", tmp_path / "digits.dfmg")
    shutil.copy(generative / "gray-0-82ef0165.png", tmp_path / "digit.png")
    PIL.Image.init()
    for name in PIL_REGISTRIES:
        monkeypatch.setattr(PIL.Image, name, getattr(PIL.Image, name).copy())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_pages_without_python_are_listed():
    assert {page.name for page in PAGES if not python_blocks(page)} == WITHOUT_PYTHON


@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page)], ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page, folder):
    namespace = {"__name__": "__main__"}
    for line, block in python_blocks(page):
        exec(compile("\n" * (line - 1) + block, str(page), "exec"), namespace)


def test_the_public_functions_have_doctests():
    assert "dfmcodec.api" in modules_with_doctests()


@pytest.mark.parametrize("name", modules_with_doctests())
def test_doctests_pass(name):
    outcome = doctest.testmod(import_module(name))
    assert outcome.attempted > 0
    assert outcome.failed == 0


def test_the_notebook_is_committed_without_outputs():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    cells = notebook["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    for cell in cells:
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", cell["id"])
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


def test_the_notebook_runs(folder, capsys):
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    namespace = {"__name__": "__main__"}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"{NOTEBOOK.name}, cell {cell['id']}", "exec"), namespace)
    results = namespace["results"]
    assert [result.report.file_bytes <= result.report.budget_bytes for result in results.values()] == [True] * 3
    psnrs = [result.report.psnr_db for result in results.values()]
    assert psnrs == sorted(psnrs, reverse=True)
    assert namespace["preview"].losses


def run_script(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, EXAMPLES / name, *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=120)


def test_the_scripts_archive_a_folder_and_inspect_a_file(tmp_path, photograph):
    photograph.save(tmp_path / "colour.png")
    photograph.convert("L").save(tmp_path / "gray.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    options = [tmp_path, "--psnr", "38", "--effort", "1", "--jobs", "2"]

    archived = run_script("archive_folder.py", *options)
    assert archived.returncode == 1
    assert "broken.png is not an image" in archived.stderr
    assert sorted(line.partition(":")[0] for line in archived.stdout.splitlines()) == ["colour.png", "gray.png"]
    decoded = dfmcodec.decode(tmp_path / "colour.png.dfm")
    error = ((decoded.pixels.astype(float) - np.asarray(photograph)) ** 2).mean()
    assert 10 * np.log10(255**2 / error) >= 38
    (tmp_path / "broken.png").unlink()
    again = run_script("archive_folder.py", *options)
    assert (again.returncode, again.stdout) == (0, "")

    inspected = run_script("inspect_file.py", tmp_path / "colour.png.dfm")
    assert inspected.returncode == 0, inspected.stderr
    assert "64x48 RGB, 8 bits per sample" in inspected.stdout
    assert "latents" in inspected.stdout
    data = (tmp_path / "gray.png.dfm").read_bytes()
    (tmp_path / "cut.dfm").write_bytes(data[: len(data) // 2])
    cut = run_script("inspect_file.py", tmp_path / "cut.dfm")
    assert cut.returncode == 1
    assert "lost: " in cut.stdout
