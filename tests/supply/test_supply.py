"""Tests that the package does not execute data, access the network, or start a shell."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

from common import GOLDEN, ROOT

import dfmcodec

PACKAGE = Path(dfmcodec.__file__).parent
MODULES = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "web").glob("*.py")])  # web/ is shipped as dfmcodec.web

# Modules that run code from data, reach the network or start other programs.
FORBIDDEN = {
    *("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "code", "codeop", "runpy"),
    *("socket", "socketserver", "ssl", "urllib", "http", "ftplib", "smtplib", "poplib", "imaplib", "telnetlib"),
    *("xmlrpc", "asyncio", "requests", "httpx", "aiohttp", "urllib3", "webbrowser", "wsgiref"),
    *("subprocess", "pty", "pexpect", "ctypes", "cffi", "yaml"),
}
ALLOWED = {  # and why
    ("__init__.py", "import_module"): "modules of the package, from a fixed table of public names",
    ("perception/butteraugli.py", "subprocess"): "the external program butteraugli_main, without a shell",
    (
        "bench/codecs.py",
        "importlib.util.spec_from_file_location",
    ): "a module that the user of `dfm bench` names",
    ("cli/_group.py", "importlib.import_module"): "commands of the package, from a fixed list",
    ("codecs/record.py", "import_module"): "modules of a codec's folder, from fixed names",
    ("models.py", "import_module"): "codecs of the package, from a fixed list",
    ("corpus/engines.py", "importlib.import_module"): "a module that --engine names",
    ("cli/view.py", "webbrowser"): "the user's browser, at the page's address",
}
CALLS = {"eval", "exec", "compile", "__import__", "breakpoint", "input"}
OS_CALLS = {"system", "popen", "fork", "forkpty", "startfile", "posix_spawn", "posix_spawnp"}
OS_FAMILIES = ("exec", "spawn")
LOADERS = {"load", "fromfile", "memmap", "DataSource"}  # of NumPy


def name_of(node: ast.expr) -> str:
    """`os.path.join` of such an expression; empty for others."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def keyword(call: ast.Call, name: str) -> object:
    """A constant that is given by name; None for others."""
    values = [given.value for given in call.keywords if given.arg == name]
    return values[0].value if values and isinstance(values[0], ast.Constant) else None


def faults(source: str, module: str) -> list[str]:
    """Returns the lines of a module that do what it may not."""
    found: list[str] = []

    def add(line: int, fault: str) -> None:
        found.append(f"{module}:{line}: {fault}")

    for node in ast.walk(ast.parse(source)):
        for name in imported(node):
            root = name.split(".")[0]
            if (root in FORBIDDEN and (module, root) not in ALLOWED) or name in {f"os.{call}" for call in OS_CALLS}:
                add(node.lineno, f"import of {name}")
        if not isinstance(node, ast.Call):
            continue
        name = name_of(node.func)
        first, _, last = name.rpartition(".")
        if name in CALLS and (module, name) not in ALLOWED:
            add(node.lineno, f"call of {name}")
        if first == "os" and (last in OS_CALLS or last.startswith(OS_FAMILIES)):
            add(node.lineno, f"call of {name}")
        if first in {"np", "numpy"} and last in LOADERS and keyword(node, "allow_pickle") is not False:
            add(node.lineno, f"{name} without allow_pickle=False")
        if first in {"np", "numpy"} and last == "save" and keyword(node, "allow_pickle") is True:
            add(node.lineno, f"{name} of pickles")
        if any(given.arg == "shell" for given in node.keywords):
            add(node.lineno, f"{name} with shell=")
        computed = last in {"import_module", "spec_from_file_location"} and not isinstance(node.args[0], ast.Constant)
        if computed and (module, name) not in ALLOWED:
            add(node.lineno, f"{name} of a name that is computed")
    return found


def test_all_modules_are_checked():
    assert len(MODULES) > 60


def name_in_tree(path: Path) -> str:
    """Relative to the package; of web/, to the project."""
    return path.relative_to(PACKAGE if path.is_relative_to(PACKAGE) else ROOT).as_posix()


def test_modules_run_no_data_and_reach_no_network():
    assert [fault for path in MODULES for fault in faults(path.read_text(), name_in_tree(path))] == []


PLANTED = (
    "import pickle",
    "from urllib import request",
    "import http.client as c",
    "def f():\n    import socket",
    "from os import system",
    "import os\nos.system('x')",
    "import os\nos.execv('x', [])",
    "eval('1')",
    "import subprocess",
    "run('x', shell=True)",
    "np.load(path)",
    "np.load(path, allow_pickle=wanted)",
    "importlib.import_module(name)",
)


def test_planted_faults_are_listed():
    assert [source for source in PLANTED if not faults(source, "cli/info.py")] == []


HOOKED = """
import sys
events = []
watched = ("pickle.", "socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "urllib.")
sys.addaudithook(lambda event, arguments: events.append(event) if event.startswith(watched) else None)
import pathlib, dfmcodec
"""


def run_hooked(program, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", HOOKED + program, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
    )
    return done.stdout.split()


def test_decoding_loads_little_and_starts_nothing():
    """By NumPy: neither JAX nor what the benchmark needs; no pickle, socket or process is used."""
    program = (
        "for path in sys.argv[1:]: dfmcodec.decode(pathlib.Path(path))\n"
        "print(*events, *(name for name in sys.modules if '.' not in name))"
    )
    golden = GOLDEN
    names = ("wavelet-alpha", "coordinate", "wavelet-fine", "wavelet-narrow")
    found = set(run_hooked(program, *(golden / f"{name}.dfm" for name in names)))
    assert "dfmcodec" in found
    assert not {name for name in found if "." in name}
    assert not found & {"jax", "optax", "skimage", "scipy", "matplotlib", "imagecodecs", "multiprocessing"}


def test_encoding_starts_nothing():
    program = (
        "import numpy, jax, optax\n"
        "events.clear()\n"  # what JAX does when it is imported is not ours
        "dfmcodec.encode(numpy.zeros((9, 9, 3), numpy.uint8), size=500, effort=1)\n"
        "print(*events)"
    )
    assert run_hooked(program) == []


def test_imported_packages_are_declared_in_pyproject():
    """Every package that a module imports is a dependency, or of an extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    spelled = {"pillow": "PIL", "scikit_image": "skimage"}
    packages = {line.split(">=")[0].split("[")[0].replace("-", "_") for line in named}
    known = {spelled.get(package, package) for package in packages} | set(sys.stdlib_module_names) | {"dfmcodec"}
    through = {"scipy", "tifffile", "_typeshed"}  # scikit-image needs the first two, type checkers have the last
    offenders = [
        f"{name_in_tree(path)}:{node.lineno} imports {name}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if not (isinstance(node, ast.ImportFrom) and node.level)
        for name in imported(node)
        if name.split(".")[0] not in known | through
    ]
    assert offenders == []


def test_the_version_is_written_in_one_place() -> None:
    """The package has it, the wheel takes it from there, and the citation names the same."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "dfmcodec.__version__"}
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert f"version: {dfmcodec.__version__}" in [line.replace('"', "") for line in citation]
