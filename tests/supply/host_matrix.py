"""Runs `bin/test` from new clones under many conditions of a host; prints a table for
docs/results/trust.md.

    python tests/supply/host_matrix.py                         all rows, twice each
    python tests/supply/host_matrix.py --rows numpy,one-core --times 1
    python tests/supply/host_matrix.py --rows avx2,no-browser,nobody --together

The committed tree is cloned for each row, and its `bin/test` makes an environment and runs. Linux
alone; some rows need root, and the row of another user a Python outside root's home. For versions
of Python and of dependencies see version_matrix.py.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COMPILERS = ("cc", "gcc", "g++", "c++", "clang", "clang++", "x86_64-linux-gnu-gcc", "c99")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
SPIN = "while True: pass"


@dataclass(frozen=True)
class Row:
    """A condition.

    Args:
        name: Its name.
        environment: Variables that are set.
        wrapper: What the command is run by.
        hidden: Programs that are not found.
        busy: How many processes do nothing but take time.
        folder: The name of the clone's folder.
        has_shared: Whether `../shared` is beside the clone, where it is here.
        is_nobody: Whether another user runs it, who has no home.
    """

    name: str
    environment: dict[str, str] = field(default_factory=dict)
    wrapper: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    busy: int = 0
    folder: str = "clone"
    has_shared: bool = True
    is_nobody: bool = False


ROWS = (
    Row("as-it-is"),
    *(Row(way, {"DFMCODEC_KERNELS": way}) for way in ("numpy", "avx2", "avx-vnni", "avx512-vnni")),
    Row("one-core", wrapper=("taskset", "-c", "0")),
    Row("busy", busy=4),
    Row("no-compiler", hidden=COMPILERS),
    Row("no-browser", hidden=BROWSERS),
    Row("no-shared", has_shared=False),
    Row("nobody", {"LC_ALL": "C"}, NOBODY, folder="a clöne", is_nobody=True),
)


def together(rows: Sequence[Row]) -> Row:
    """All conditions at once."""
    joined: dict[str, Any] = {"name": "+".join(row.name for row in rows)}
    usual = Row("")
    for row in rows:
        for each in fields(Row)[1:]:
            value = getattr(row, each.name)
            if value == getattr(usual, each.name):
                continue
            before = joined.get(each.name)
            is_joined = before is not None and isinstance(value, (dict, tuple))
            if is_joined:
                value = before | value if isinstance(value, dict) else before + value
            joined[each.name] = value
    return Row(**joined)


def path_without(programs: tuple[str, ...], path: str, folder: Path) -> str:
    """A PATH without programs: of the folders that have them, links to all else."""
    entries = []
    for number, entry in enumerate(path.split(os.pathsep)):
        if not any(Path(entry, program).exists() for program in programs):
            entries.append(entry)
            continue
        links = folder / str(number)
        links.mkdir(parents=True)
        for program in Path(entry).iterdir():
            if program.name not in programs:
                (links / program.name).symlink_to(program)
        entries.append(str(links))
    return os.pathsep.join(entries)


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Other work meanwhile."""
    running = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def tested(row: Row, work: Path) -> str:
    """What came of one run; its output is kept beside the clone."""
    place = work / row.name
    shutil.rmtree(place, ignore_errors=True)
    clone = place / row.folder
    clone.parent.mkdir(parents=True)
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    if row.has_shared and (ROOT.parent / "shared").is_dir():
        (place / "shared").symlink_to(ROOT.parent / "shared")
    environment = {**os.environ, **row.environment, "TMPDIR": str(place / "tmp")}
    (place / "tmp").mkdir()
    if row.is_nobody:
        subprocess.run(["chown", "-R", "65534:65534", place], check=True)
        environment |= {"HOME": "/nonexistent", "PATH": "/usr/local/bin:/usr/bin:/bin"}
        work.chmod(0o755)
    if row.hidden:
        environment["PATH"] = path_without(row.hidden, environment["PATH"], place / "path")
    for name in ("VIRTUAL_ENV", "PYTHONPATH"):
        environment.pop(name, None)
    log = place / "log"
    with busy(row.busy), open(log, "w") as output:
        started = time.monotonic()
        done = subprocess.run(
            [*row.wrapper, clone / "bin" / "test"],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
        )
        seconds = time.monotonic() - started
    result = next(
        (line for line in reversed(log.read_text().splitlines()) if re.search(r"\d+ passed", line)), "no test"
    )
    return f"exit {done.returncode}: {result.strip('= ')}; {seconds:.0f} s with its set-up"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(row.name for row in ROWS))
    parser.add_argument("--times", type=int, default=2)
    parser.add_argument("--work", type=Path, help="Folder for the clones and logs; kept. Else a temporary one.")
    parser.add_argument("--together", action="store_true", help="All rows at once.")
    options = parser.parse_args()
    chosen = [row for row in ROWS if row.name in options.rows.split(",")]
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.work or Path(temporary)).resolve()
        for row in [together(chosen)] if options.together else chosen:
            for _ in range(options.times):
                print(f"| {row.name} | {tested(row, work)} |", flush=True)


if __name__ == "__main__":
    main()
