"""Tests without JAX, optax, SciPy, scikit-image, tqdm and threadpoolctl: working features, and
error messages of the others.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
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
def test_light_installation_runs_command(words: str, ended: dict[str, Ended]) -> None:
    assert ended[words].code == 0, ended[words].errors
    assert ended[words].output


@pytest.mark.parametrize("words", LACKING)
def test_missing_packages_are_named(words: str, ended: dict[str, Ended]) -> None:
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
        *("decode a.dfm -f -o back.png", "info a.dfm", "verify a.dfm overfitted.dfm coordinate.dfm"),
    ]
    found = json.loads(run_hidden(RUNNING, folder, json.dumps(light), hiding="import sys"))
    assert {code for code, _, _ in found["ended"].values()} == {0}
    assert not (HIDDEN - {"threadpoolctl"}) & {name.partition(".")[0] for name in found["imported"]}


@pytest.mark.usefixtures("ended")  # which encodes a.dfm
def test_python_and_pillow(folder: Path) -> None:
    run_hidden(PROGRAM, folder)


def test_unexpected_import_errors_name_the_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command gives what to install for any of the packages, and not for others."""
    words = ["compare", str(folder / "a.png"), str(folder / "a.jpg")]
    for name, code, message in (
        ("scipy.ndimage", 1, "dfm compare needs SciPy; install it: pip install scipy"),
        ("numpy.fft", 6, "install dfmcodec again"),
    ):
        error = ModuleNotFoundError(f"No module named {name!r}", name=name)
        monkeypatch.setattr("dfmcodec.perception.psnr", Mock(side_effect=error))
        result = CliRunner().invoke(main, words)
        assert (result.exit_code, result.stdout) == (code, "")
        assert message in result.stderr


def test_require_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    require("all", *PACKAGES)  # this environment has them
    for module in ("jaxlib", "jax"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackageError) as caught:
        require("a fit", "jax", "jaxlib", "optax", otherwise="or do without")
    assert str(caught.value) == "a fit needs JAX; install it: pip install jax; or do without"
    assert str(missing_package("a fit", "optax", "scipy")) == (
        "a fit needs optax and SciPy; install them: pip install optax scipy"
    )


def test_every_dependency_is_needed_or_hidden() -> None:
    """A new dependency is in one of the lists, and the page on installing names those needed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {line.partition(">=")[0] for line in project["dependencies"]}
    of_extras = {
        line.partition(">=")[0]
        for name in ("jax", "bench", "corpus")
        for line in project["optional-dependencies"][name]
    }
    assert {*NEEDED} < names < {*NEEDED, *HIDDEN}
    assert {words for _, words in PACKAGES.values()} <= of_extras
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert f"    pip install {' '.join(NEEDED)}\n" in page


class Clone:
    """`bin/dfm` in a folder, with an environment whose pip writes down what it is asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(ROOT / "bin", root / "bin")
        shutil.copyfile(ROOT / "pyproject.toml", root / "pyproject.toml")
        self.commands = root / ".venv" / "bin"
        self.commands.mkdir(parents=True)
        self.write("dfm", "exit 0")
        self.write("python", f'case "$*" in "-m pip install"*) echo "${{@: -1}}" >> "{root}/asked" ;; esac')

    def write(self, name: str, line: str) -> None:
        """A command of the environment."""
        (self.commands / name).write_text(f"#!/usr/bin/env bash\n{line}\n")
        (self.commands / name).chmod(0o755)

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **variables}
        words = (str(self.root / "bin" / "dfm"), *words)
        return subprocess.run(words, check=False, capture_output=True, text=True, env=environment)

    def asked(self, *words: str, **variables: str) -> list[str]:
        """What pip was asked for in all calls so far, after one more."""
        assert self.run(*words, **variables).returncode == 0
        return [line.removeprefix(str(self.root)) for line in (self.root / "asked").read_text().splitlines()]


@contextmanager
def write_protected(folder: Path) -> Iterator[None]:
    """Lets everybody read and run what is in a folder, and nobody but root write there."""
    paths = [folder, *folder.rglob("*")]
    for path in paths:
        path.chmod(0o555)
    yield
    for path in paths:
        path.chmod(0o755)


def run_as_another_user(clone: Clone) -> subprocess.CompletedProcess[str]:
    """Calls `bin/dfm` as a user who owns nothing; without root's rights, as this user."""
    user = 65534 if os.geteuid() == 0 else None
    words = str(clone.root / "bin" / "dfm"), "info", "photo.dfm"
    return subprocess.run(words, check=False, capture_output=True, text=True, user=user, cwd=clone.root)


@pytest.mark.skipif(os.name == "nt", reason="the scripts of bin/ are for bash")
class TestClone:
    """`bin/dfm` makes its environment, and makes it again only where it has to."""

    @pytest.fixture(autouse=True)
    def _of_any_interpreter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("DFM_PYTHON", raising=False)

    def test_help_from_a_clone_installs_nothing_more(self, tmp_path: Path) -> None:
        clone = Clone(tmp_path)
        assert clone.asked("bench", "--help") == [""]
        assert clone.asked("bench", "photos", "-h") == [""]
        assert clone.asked("bench") == [""]
        assert clone.asked("bench", "photos") == ["", "[bench]"]
        assert clone.asked("bench", "photos") == ["", "[bench]"]
        assert clone.asked("info", "photo.dfm") == ["", "[bench]"]
        (tmp_path / ".venv" / ".installed").unlink(missing_ok=True)
        assert clone.asked("info", "photo.dfm") == ["", "[bench]"]  # what the benchmark has is enough

    def test_commands_that_need_jax_install_it(self, tmp_path: Path) -> None:
        clone = Clone(tmp_path)
        assert clone.asked("encode", "photo.png", "--effort", "7") == [""]
        assert clone.asked("encode", "--help", "--model", "coordinate") == [""]
        assert clone.asked("encode", "coordinate", "jax", "--model", "wavelet") == [""]  # names of files
        for words in (("encode", "photo.png", "--model", "coordinate"),):
            (tmp_path / ".venv" / ".installed-jax").unlink(missing_ok=True)
            (tmp_path / "asked").unlink()
            assert clone.asked(*words) == ["[jax]"]
        assert clone.asked("bench", "photos") == ["[jax]", "[bench]"]

    def test_clone_reinstalls_after_a_change_of_commit(self, tmp_path: Path) -> None:
        """Kernels of another commit do not stay, whatever was installed before."""
        clone = Clone(tmp_path)
        project = tmp_path / "pyproject.toml"
        before = project.read_bytes()
        assert clone.asked("bench", "photos") == ["[bench]"]
        project.write_bytes(before + b"# another commit\n")
        assert clone.asked("info", "photo.dfm") == ["[bench]", ""]
        project.write_bytes(before)
        assert clone.asked("info", "photo.dfm") == ["[bench]", "", ""]

    def test_a_failed_installation_is_tried_again(self, tmp_path: Path) -> None:
        clone = Clone(tmp_path)
        assert clone.asked("info", "photo.dfm") == [""]
        python = (clone.commands / "python").read_text().partition("\n")[2].strip()
        (tmp_path / "pyproject.toml").write_bytes(b"# another commit\n")
        clone.write("python", '[ "$3" != install ]')
        failed = clone.run("info", "photo.dfm")
        assert (failed.returncode, failed.stdout) == (1, "")
        assert "installing the dependencies failed" in failed.stderr
        clone.write("python", python)
        shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
        assert clone.asked("info", "photo.dfm") == ["", ""]

    @pytest.mark.parametrize("what", ["no pip", "no interpreter"])
    def test_broken_environments_are_made_again(self, tmp_path: Path, what: str) -> None:
        """Its making was interrupted, or the interpreter that it was made of is gone."""
        clone = Clone(tmp_path / "clone")
        if what == "no pip":
            clone.write("python", "exit 1")
        else:
            (clone.commands / "python").unlink()
            (clone.commands / "python").symlink_to(tmp_path / "gone")
        made = clone.root / "asked"
        python = tmp_path / "python3"
        python.write_text(
            "#!/usr/bin/env bash\n"
            'if [ "$1 $2 $3" = "-m venv --clear" ]; then\n'
            '    rm -rf "$4" && mkdir -p "$4/bin" && touch "$4/bin/dfm" && cp "$0" "$4/bin/python"\n'
            f'elif [ "$2 $3" = "pip install" ]; then echo "${{@: -1}}" >> "{made}"\n'
            "fi\n"
        )
        python.chmod(0o755)
        assert clone.asked("info", "photo.dfm", PATH=f"{tmp_path}:{os.environ['PATH']}") == [""]
        assert (clone.commands / "dfm").read_text() == ""  # of the new one

    def test_another_user_runs_a_clone_and_is_reported_where_it_is_not_complete(self) -> None:
        with tempfile.TemporaryDirectory(dir="/tmp") as place:  # that of pytest is this user's alone
            Path(place).chmod(0o755)
            clone = Clone(Path(place) / "clone")
            with write_protected(clone.root):
                refused = run_as_another_user(clone)
            assert (refused.returncode, refused.stdout) == (1, "")
            said = refused.stderr.splitlines()[-1]
            assert said.startswith(f"dfm: {clone.root}/.venv is not complete, and this user may not write there; run ")
            assert "first use" not in refused.stderr
            assert clone.asked("info", "photo.dfm") == [""]
            with write_protected(clone.root):
                runs = run_as_another_user(clone)
            assert runs.returncode == 0, runs.stderr
            assert "dfm:" not in runs.stderr
