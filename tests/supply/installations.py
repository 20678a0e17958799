"""Measures each installation of a wheel: size, time, and working features.

    python tests/supply/installations.py --out benchmarks/results/installations.jsonl [--only jax]

The wheel is built once. For each extra it is installed from the package index into a new
environment, where a first photograph is encoded and the commands of light_check.py are called: all
that need no more than a plain installation, and those that need an extra, of which it is counted
how many find what they need. A row is added to the file for each, with a size by `du -sm`.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
import venv
from datetime import UTC, datetime
from pathlib import Path

from light_check import FITS, IMAGES, LACKING, MORE_WORKS, WORKS, copy_golden
from wheel_check import ROOT, built_wheel, command

PHOTOGRAPH = """
import importlib.resources, shutil
shutil.copy(importlib.resources.files("dfmcodec.photographs") / "chelsea.png", "photo.png")
"""
EXTRAS = ("", "jax", "cuda", "bench", "heif", "zarr", "corpus", "cloud", "dask", "all")


def finds_its_packages(dfm: Path, words: str, message: str, cwd: Path) -> bool:
    """Whether a command does not say that a package is missing; it may want other data."""
    done = subprocess.run([dfm, *shlex.split(words)], capture_output=True, text=True, cwd=cwd, check=False)
    return message not in done.stderr


def measured(wheel: Path, extra: str, work: Path) -> dict[str, object]:
    """The row of an installation."""
    environment, away = work / f"environment-{extra}", work / f"away-{extra}"
    away.mkdir()
    venv.create(environment, with_pip=True)
    python, dfm = environment / "bin" / "python", environment / "bin" / "dfm"
    started = time.perf_counter()
    command(python, "-m", "pip", "install", "--quiet", f"{wheel}[{extra}]" if extra else wheel, cwd=away)
    install_s = time.perf_counter() - started
    command(python, "-c", PHOTOGRAPH, cwd=away)
    started = time.perf_counter()
    command(dfm, "encode", "photo.png", cwd=away)
    first_s = time.perf_counter() - started
    size = int(command("du", "-sm", environment, cwd=away).split()[0])
    copy_golden(away)
    command(python, "-c", IMAGES, cwd=away)
    plain = (*WORKS, *MORE_WORKS, *FITS)
    for words in plain:
        command(dfm, *shlex.split(words), cwd=away)
    further = sum(finds_its_packages(dfm, words, message, away) for words, message in LACKING.items())
    return {
        "installation": f"pip install .[{extra}]" if extra else "pip install .",
        "MB": size,
        "install_s": round(install_s, 1),
        "first_picture_s": round(first_s, 2),
        "commands": len(plain),
        "further": further,
        "of_further": len(LACKING),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"Linux, x86-64, Python {sys.version.split()[0]}",
        "command": "python tests/supply/installations.py",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the rows are added")
    parser.add_argument("--only", action="append", choices=EXTRAS, help="an extra; all if left out")
    arguments = parser.parse_args()
    commit = command("git", "rev-parse", "--short", "HEAD", cwd=ROOT).strip()
    with tempfile.TemporaryDirectory(prefix="dfm-installations-") as temporary:
        wheel = built_wheel(Path(temporary))
        for extra in arguments.only or EXTRAS:
            row = {**measured(wheel, extra, Path(temporary)), "commit": commit}
            print(json.dumps(row), flush=True)
            with arguments.out.open("a") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
