"""What works without JAX, optax, SciPy, scikit-image, tqdm and threadpoolctl, and what
the rest says.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple
from unittest.mock import Mock

import pytest
from click.testing import CliRunner
from common import ROOT
from light_check import HIDDEN, IMAGES, LACKING, NEEDED, PROGRAM, WORKS, copy_golden

from dfmcodec.cli import main
from dfmcodec.errors import PACKAGES, MissingPackageError, missing_package, require

HIDING = f"""
import sys

class Hiding:
    def find_spec(self, name, path=None, target=None):
        root = name.partition(".")[0]
        if root in {HIDDEN}:
            raise ModuleNotFoundError(f"No module named {{root!r}}", name=root)

sys.meta_path.insert(0, Hiding())
"""
RUNNING = """
import json, shlex
from click.testing import CliRunner
from dfmcodec.cli import main

ended = {}
for words in json.load(sys.stdin):
    result = CliRunner().invoke(main, shlex.split(words))
    ended[words] = result.exit_code, result.stdout, result.stderr
print(json.dumps({"ended": ended, "imported": list(sys.modules)}))
"""


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    output: str
    errors: str


def run_hidden(program: str, folder: Path, given: str = "", hiding: str = HIDING) -> str:
    """What a program prints that does not see the packages of `HIDDEN`."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", hiding + program],
        input=given,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, golden files and the outputs of all commands."""
    folder = tmp_path_factory.mktemp("light")
    copy_golden(folder)
    run_hidden(IMAGES, folder)
    return folder


@pytest.fixture(scope="module")
def ended(folder: Path) -> dict[str, Ended]:
    """All commands, in one process and in their order, and how each ended."""
    found = json.loads(run_hidden(RUNNING, folder, json.dumps([*WORKS, *LACKING])))
    assert not HIDDEN & {name.partition(".")[0] for name in found["imported"]}
    return {words: Ended(*values) for words, values in found["ended"].items()}


@pytest.mark.parametrize("words", WORKS)
def test_works(words: str, ended: dict[str, Ended]) -> None:
    assert ended[words].code == 0, ended[words].errors
    assert ended[words].output


@pytest.mark.parametrize("words", LACKING)
def test_says_what_to_install(words: str, ended: dict[str, Ended]) -> None:
    code, output, errors = ended[words]
    assert (code, output) == (1, ""), errors
    assert len(errors.splitlines()) == 1
    assert errors.startswith("dfm: error: ")
    assert LACKING[words] in errors


def test_packages_that_are_there_are_not_imported(folder: Path, ended: dict[str, Ended]) -> None:
    """Decoding and fast encoding start as fast where everything is installed."""
    assert ended
    light = [
        "encode a.png -f -o a.dfm --size 1500 --effort 1",
        *("decode a.dfm -f -o back.png", "info a.dfm", "verify a.dfm fitted.dfm coordinate.dfm"),
    ]
    found = json.loads(run_hidden(RUNNING, folder, json.dumps(light), hiding="import sys"))
    assert {code for code, _, _ in found["ended"].values()} == {0}
    assert not (HIDDEN - {"threadpoolctl"}) & {name.partition(".")[0] for name in found["imported"]}


@pytest.mark.usefixtures("ended")  # which encodes a.dfm
def test_python_and_pillow(folder: Path) -> None:
    run_hidden(PROGRAM, folder)


def test_an_import_that_nothing_checked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command gives what to install for any of the packages, and not for others."""
    words = ["compare", str(folder / "a.png"), str(folder / "a.jpg")]
    for name, code, message in (
        ("scipy.ndimage", 1, "dfm compare needs SciPy; install it: pip install scipy"),
        ("numpy.fft", 6, "install dfmcodec again"),
    ):
        error = ModuleNotFoundError(f"No module named {name!r}", name=name)
        monkeypatch.setattr("dfmcodec.metrics.psnr", Mock(side_effect=error))
        result = CliRunner().invoke(main, words)
        assert (result.exit_code, result.stdout) == (code, "")
        assert message in result.stderr


def test_require_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    require("all", *PACKAGES)  # this environment has them
    for module in ("jaxlib", "jax"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackageError) as caught:
        require("a fit", "jax", "jaxlib", "optax", otherwise="or do without")
    assert str(caught.value) == "a fit needs JAX; install it: pip install jax, or do without"
    assert str(missing_package("a fit", "skimage", "scipy")) == (
        "a fit needs scikit-image and SciPy; install them: pip install scikit-image scipy"
    )


def test_every_dependency_is_needed_or_hidden() -> None:
    """A new dependency is in one of the lists, and the page on installing names those needed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {line.partition(">=")[0] for line in project["dependencies"]}
    assert names == {*NEEDED, *HIDDEN} - {"skimage"} | {"scikit-image"}
    assert {words for _, words in PACKAGES.values()} <= names
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert f"    pip install {' '.join(NEEDED)}\n" in page


def test_help_from_a_clone_installs_nothing_more(tmp_path: Path) -> None:
    """`bin/dfm` with a pip that writes down what it is asked for."""
    shutil.copytree(ROOT / "bin", tmp_path / "bin")
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    commands = tmp_path / ".venv" / "bin"
    commands.mkdir(parents=True)
    for name, line in (("python", f'echo "${{@: -1}}" >> {tmp_path}/asked'), ("dfm", "exit 0")):
        (commands / name).write_text(f"#!/usr/bin/env bash\n{line}\n")
        (commands / name).chmod(0o755)

    def asked(*words: str) -> list[str]:
        """What pip was asked for in all calls so far."""
        subprocess.run([tmp_path / "bin" / "dfm", *words], check=True, capture_output=True)
        return [line.removeprefix(str(tmp_path)) for line in (tmp_path / "asked").read_text().splitlines()]

    assert asked("bench", "--help") == [""]
    assert asked("bench", "photos", "-h") == [""]
    assert asked("bench") == [""]
    assert asked("bench", "photos") == ["", "[bench]"]
    assert asked("bench", "photos") == ["", "[bench]"]
    assert asked("info", "photo.dfm") == ["", "[bench]"]
    (tmp_path / ".venv" / ".installed").unlink()
    assert asked("info", "photo.dfm") == ["", "[bench]"]  # what the benchmark has is enough
