"""Runs the tests with the lowest and the highest versions of the dependencies; prints a table for
docs/results/trust.md.

    python tests/supply/version_matrix.py                  all rows, in environments of their own
    python tests/supply/version_matrix.py --rows lowest    one row
    python tests/supply/version_matrix.py tests/cli/test_cli.py  these tests; otherwise the suite

The committed tree is tested, from a copy outside the clone. `lowest` has every package that
pyproject.toml names exactly at its lower bound, and the run fails where that cannot be installed.
uv does the installing; where it is missing it is installed first, in an environment of its own.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = ("dev", "bench")  # the tests need both
SHOWN = ("jax", "numpy", "pillow", "click", "msgpack", "scikit-image", "constriction", "optax")


@dataclass(frozen=True)
class Row:
    """An environment: a Python, and which versions of what pyproject.toml names."""

    name: str
    python: str
    resolution: str


ROWS = (
    Row("lowest", "3.11", "lowest-direct"),
    Row("highest", "3.11", "highest"),
    Row("newest-python", "3.13", "highest"),
)


def lower_bounds() -> dict[str, str]:
    """Package -> the lowest version that pyproject.toml allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *(line for extra in EXTRAS for line in project["optional-dependencies"][extra])]
    found = (re.fullmatch(r"([A-Za-z0-9_.-]+)>=([0-9.]+)(,<[0-9.]+)?", line) for line in named)
    return {match[1].lower().replace("_", "-"): match[2] for match in found if match}


def at_bound(version: str, bound: str) -> bool:
    """Whether a version is its lower bound, or the first of it: 2024.9.22 of 2024.9."""
    return f"{version}.0.0".startswith(f"{bound}.") or f"{bound}.0.0".startswith(f"{version}.")


def command(*words: str | Path, cwd: Path | None = None, check: bool = True) -> str:
    """What a command prints.

    Raises:
        SystemExit: It failed, and `check` was asked for.
    """
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    for name in ("PYTHONPATH", "VIRTUAL_ENV"):
        environment.pop(name, None)
    done = subprocess.run(
        [str(word) for word in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=cwd,
        env=environment,
        check=False,
    )
    if check and done.returncode:
        sys.exit(f"{' '.join(map(str, words))}\n{done.stdout[-3000:]}")
    return done.stdout


def uv(work: Path) -> Path:
    """The uv command, installed where there is none."""
    if found := shutil.which("uv"):
        return Path(found)
    own = work / "uv"
    if not (own / "bin" / "uv").exists():
        command(sys.executable, "-m", "venv", own)
        command(own / "bin" / "pip", "install", "--quiet", "uv")
    return own / "bin" / "uv"


def interpreter(version: str) -> str | None:
    """A Python of a version: on the path or among pyenv's."""
    candidates = [shutil.which(f"python{version}"), sys.executable]
    candidates += map(str, sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python")))
    for candidate in filter(None, candidates):
        if (
            command(candidate, "-c", "import sys; print(*sys.version_info[:2], sep='.')", check=False).strip()
            == version
        ):
            return candidate
    return None


def installed(uv_command: Path, environment: Path) -> dict[str, str]:
    """Package -> version."""
    lines = command(uv_command, "pip", "freeze", "--python", environment / "bin" / "python").splitlines()
    return {name.lower(): version for name, _, version in (line.partition("==") for line in lines) if version}


def tested(row: Row, tree: Path, work: Path, tests: list[str]) -> str:
    """One row of the table."""
    python = interpreter(row.python)
    if python is None:
        return f"| {row.name} | {row.python}: not on this host | | |"
    uv_command, environment = uv(work), work / row.name
    command(uv_command, "venv", "--quiet", "--clear", "--python", python, environment)
    target = environment / "bin" / "python"
    install = uv_command, "pip", "install", "--quiet", "--compile-bytecode", "--python", target
    tested_tree = "--editable", f"{tree}[{','.join(EXTRAS)}]"
    command(*install, "--resolution", row.resolution, *tested_tree, cwd=work)
    versions = installed(uv_command, environment)
    if row.resolution != "highest":
        higher = {
            name: f"{versions[name]} instead of {bound}"
            for name, bound in lower_bounds().items()
            if not at_bound(versions[name], bound)
        }
        if higher:
            sys.exit(f"not at their lower bounds: {higher}")
    pytest = (
        environment / "bin" / "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-n",
        "auto",
        "--max-worker-restart",
        "0",
        "--dist",
        "loadfile",
    )
    output = command(*pytest, "--no-loadscope-reorder", *tests, cwd=tree, check=False)
    (work / f"{row.name}.log").write_text(output)
    full = command(target, "-c", "import platform; print(platform.python_version())").strip()
    shown = ", ".join(f"{name} {versions[name]}" for name in SHOWN)
    return f"| {row.name} | {full} | {shown} | {output.strip().splitlines()[-1].strip('= ')} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tests", nargs="*")
    parser.add_argument("--rows", default=",".join(row.name for row in ROWS))
    parser.add_argument("--work", type=Path, help="Folder for the environments and logs; kept. Else a temporary one.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.work or Path(temporary)).resolve()
        tree = work / "main"
        shutil.rmtree(tree, ignore_errors=True)
        tree.mkdir(parents=True)
        archive = work / "main.tar"
        command("git", "archive", "--output", archive, "HEAD", cwd=ROOT)
        shutil.unpack_archive(archive, tree, filter="data")
        shared = work / "shared"
        if (ROOT.parent / "shared").is_dir() and not shared.exists():
            shared.symlink_to(ROOT.parent / "shared")
        print(f"commit {command('git', 'rev-parse', '--short', 'HEAD', cwd=ROOT).strip()}\n")
        print("| versions | Python | among them | tests |\n|---|---|---|---|")
        for row in ROWS:
            if row.name in options.rows.split(","):
                print(tested(row, tree, work, options.tests), flush=True)


if __name__ == "__main__":
    main()
