"""Tests that code in documentation and examples runs: Python blocks, doctests, the notebook, the
scripts.
"""

from __future__ import annotations

import doctest
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from textwrap import indent

import numpy as np
import PIL.Image
import pytest

import dfmcodec

ROOT = Path(__file__).parents[2]
PACKAGE = Path(dfmcodec.__file__).parent
EXAMPLES = ROOT / "examples"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
INTEGRATION = ROOT / "docs" / "integration.md"  # its sections run one by one
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
    PIL.Image.init()
    for name in PIL_REGISTRIES:
        monkeypatch.setattr(PIL.Image, name, getattr(PIL.Image, name).copy())
    monkeypatch.delitem(sys.modules, "dfmcodec.pillow", raising=False)  # so that importing it registers again
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_all_python_blocks_are_found() -> None:
    marked = [page for page in PAGES if "```python" in page.read_text(encoding="utf-8")]
    assert [page for page in PAGES if python_blocks(page)] == marked != []


RUN_COMPLETELY = [page for page in PAGES if python_blocks(page) and page != INTEGRATION]


@pytest.mark.parametrize("page", RUN_COMPLETELY, ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page, folder):
    namespace = {"__name__": "__main__"}
    for line, block in python_blocks(page):
        exec(compile("\n" * (line - 1) + block, str(page), "exec"), namespace)


# What each section of these two pages imports besides the project's own dependencies, and what
# must hold after its code.
RECIPES = {
    "Pillow, imageio, scikit-image": (
        (),
        """
assert image.size == (64, 48) and len(image.losses) > 0
assert psnr(pixels, photo) > 30 and psnr(np.asarray(image), photo) > 18
assert Path("small.dfm").stat().st_size <= 0.05 * photo.size
""",
    ),
    "PyTorch DataLoader": (
        ("torch",),
        """
assert [tuple(batch.shape) for batch in loader] == [(4, 3, 24, 32), (1, 3, 24, 32)]
assert all(batch.dtype == torch.uint8 for batch in loader)
whole = torch.stack(list(DfmFiles("photos")))
assert psnr(whole[0].permute(1, 2, 0).numpy(), photo) > 30
""",
    ),
    "torchvision ImageFolder": (
        ("torch", "torchvision"),
        """
assert (len(dataset), dataset.classes, label) == (5, ["cats", "more"], 0)
assert dataset.targets == [0, 0, 0, 1, 1]
assert (tuple(image.shape), image.dtype) == ((3, 24, 24), torch.float32)
whole = np.asarray(load("photos/cats/1.dfm"))
assert whole.shape == (24, 32, 3)
crop = np.rint(image.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
assert any(np.array_equal(crop, whole[:, left : left + 24]) for left in range(9))
""",
    ),
    "Hugging Face datasets": (
        ("datasets",),
        """
import shutil
shutil.rmtree("photos")
table = datasets.Dataset.from_parquet("photos.parquet")
assert len(table) == 5 and [row["image"].format for row in table] == ["DFM"] * 5
raw = table.cast_column("image", datasets.Image(decode=False))
assert all(len(row["image"]["bytes"]) <= photo.shape[0] * photo.shape[1] / 8 for row in raw)
assert psnr(np.asarray(table[0]["image"]), photo) > 18
""",
    ),
    "OpenCV": (
        ("cv2",),
        """
assert psnr(bgr_again, bgr) > 30
assert np.array_equal(bgr[:, :, ::-1], photo)
assert psnr(decoded.pixels, photo) > 30
""",
    ),
    "FastAPI": (
        ("fastapi", "multipart", "httpx"),
        """
from fastapi.testclient import TestClient
client = TestClient(app)
def post(path, data, status):
    answer = client.post(path, files={"file": data})
    assert answer.status_code == status, answer.text
    return answer
encoded = post("/encode?quality=80", Path("photo.png").read_bytes(), 200)
assert encoded.headers["content-type"] == "image/x-dfm"
assert psnr(dfmcodec.decode(encoded.content).pixels, photo) > 30
back = post("/decode", encoded.content, 200)
assert back.headers["content-type"] == "image/png"
with PIL.Image.open(io.BytesIO(back.content)) as image:
    assert np.array_equal(np.asarray(image), dfmcodec.decode(encoded.content))
assert "not an image" in post("/encode", b"abc", 422).json()["detail"]
assert "quality is 200" in post("/encode?quality=200", Path("photo.png").read_bytes(), 422).json()["detail"]
assert "truncated" in post("/decode", encoded.content[:-9], 422).json()["detail"]
MAX_PIXELS = 1000
assert "limit of 1000" in post("/encode", Path("photo.png").read_bytes(), 422).json()["detail"]
assert "limit of 1000" in post("/decode", encoded.content, 422).json()["detail"]
MAX_BYTES = 100
post("/encode", Path("photo.png").read_bytes(), 413)
""",
    ),
    "Dask": (
        ("dask",),
        """
whole = dfmcodec.decode("photo.dfm").pixels
assert open_dask("photo.dfm").name != open_dask("photos/cats/1.dfm").name
assert pixels.chunks == ((32, 16), (32, 32), (3,))
assert np.array_equal(corner, whole[:20, :30]) and np.array_equal(pixels.compute(), whole)
regions, decode = [], dfmcodec.decode
dfmcodec.decode = lambda path, region: regions.append(region) or decode(path, region=region)
pixels[:20, :30].compute()
assert regions == [(0, 0, 32, 32)]
""",
    ),
    "Notebooks": (
        (),
        """
assert 0 < bar.n <= 1 and "dB" in bar.desc
assert psnr(result.decoded.pixels, photo) > 30
""",
    ),
}
OF_OTHERS = {  # what a library does with the codec or the plugin that other tests meet
    *("PyTorch DataLoader", "torchvision ImageFolder", "Hugging Face datasets", "OpenCV", "FastAPI", "Dask"),
}
BEFORE_CHECK = """
if __name__ == "__main__":
    import sys
    assert not {"jax", "jaxlib", "optax"} & set(sys.modules)
    from pathlib import Path
    import numpy as np
    import PIL.Image
    from dfmcodec.perception import psnr
    photo = np.asarray(PIL.Image.open("photo.png"))
"""


def sections_with_python(page: Path) -> dict[str, str]:
    """The Python code of each section of a page that has some, by its heading."""
    sections: dict[str, str] = {}
    text = page.read_text(encoding="utf-8").splitlines()
    for line, block in python_blocks(page):
        heading = next(row[3:] for row in reversed(text[: line - 1]) if row.startswith("## "))
        sections[heading] = sections.get(heading, "") + block
    return sections


def test_every_section_with_python_has_a_check():
    assert list(sections_with_python(INTEGRATION)) == list(RECIPES)


@pytest.mark.parametrize(
    "heading", [pytest.param(heading, marks=[pytest.mark.slow] * (heading in OF_OTHERS)) for heading in RECIPES]
)
def test_the_recipes_run(heading, tmp_path, photograph):
    """Each in a process of its own, which has not imported JAX."""
    libraries, check = RECIPES[heading]
    for library in libraries:
        pytest.importorskip(library, reason=f"{library} is not installed; to have it: pip install -e .[recipes]")
    photograph.save(tmp_path / "photo.png")
    encoded = dfmcodec.encode(photograph, quality=75, effort=1)
    for name in ("photo", "photos/cats/1", "photos/cats/2", "photos/cats/3", "photos/more/4", "photos/more/5"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        encoded.save(tmp_path / f"{name}.dfm")
    program = tmp_path / "recipe.py"
    sections = sections_with_python(INTEGRATION)
    program.write_text(sections[heading] + BEFORE_CHECK + indent(check, "    "))
    offline = {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run(
        [sys.executable, program.name],
        cwd=tmp_path,
        env={**os.environ, **offline},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


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
    assert [result.report.file_bytes <= result.report.limit_bytes for result in results.values()] == [True] * 3
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

    # A worker that is started anew takes no module from the current folder.
    (tmp_path / "signal.py").write_text("open('executed', 'w')")
    (tmp_path / "gray.png.dfm").unlink()
    spawned = "import multiprocessing, runpy, sys; multiprocessing.set_start_method('spawn'); del sys.argv[0]"
    script = tmp_path / "bin" / "spawned.py"
    script.parent.mkdir()
    script.write_text(f"{spawned}; runpy.run_path(sys.argv[0], run_name='__main__')")
    arguments = [sys.executable, script, EXAMPLES / "archive_folder.py", *options]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.startswith("gray.png: "), done.stderr
    assert not (tmp_path / "executed").exists()

    inspected = run_script("inspect_file.py", tmp_path / "colour.png.dfm")
    assert inspected.returncode == 0, inspected.stderr
    assert "64x48 RGB, 8 bits per sample" in inspected.stdout
    assert "latents" in inspected.stdout
    data = (tmp_path / "gray.png.dfm").read_bytes()
    (tmp_path / "cut.dfm").write_bytes(data[: len(data) // 2])
    cut = run_script("inspect_file.py", tmp_path / "cut.dfm")
    assert cut.returncode == 1
    assert "lost: " in cut.stdout
