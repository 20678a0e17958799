"""Helpers for several test tiers: paths, files with valid checksums, and pausing a program at a
given call.
"""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dfmcodec import kernels
from dfmcodec.cli import main

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden" / "v1"
SHARED = ROOT.parent / "shared" / "data"  # only where the project's own data is beside the clone

PATIENCE_S = 300  # only ends a test that hangs: what is waited for comes on a busy machine too


def wait_until(is_so: Callable[[], Any], process: subprocess.Popen[Any] | None = None) -> None:
    """Waits until something is so; a test waits in no other way for what gives no event.

    Args:
        is_so: Indicates whether it is so.
        process: The process that brings it about, which has to live until then.
    """
    end = time.monotonic() + PATIENCE_S
    while not is_so():
        assert process is None or process.poll() is None, f"ended with {process.returncode} before"
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.01)


def run_for(process: subprocess.Popen[Any], seconds: float) -> None:
    """Lets a process run for a time, or to its end: a fault comes at any moment, and whichever it
    comes at is right.
    """
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def wait_for_frames(page: Any) -> None:
    """Lets a page in a browser draw three frames: what it does before or after its next one, such
    as to draw a canvas or to hear from observers, is done then.
    """
    page.evaluate(
        """async () => {
            for (let i = 0; i < 3; i++) await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
        }"""
    )


_HOLD = """
import fcntl, importlib, itertools, multiprocessing, os
from pathlib import Path

module, calls = importlib.import_module({module!r}), itertools.count(1)
held = module.{name}

def hold(*arguments, **named):
    call, is_worker = next(calls), multiprocessing.parent_process() is not None
    if {when}:
        Path({folder!r}, f"held-{{os.getpid()}}").touch()
        with open({folder!r} + "/gate") as gate:
            fcntl.flock(gate, fcntl.LOCK_SH)
    return held(*arguments, **named)

module.{name} = hold
"""


class HeldCommand:
    """A command that waits at a call of a function; see `held_command`."""

    def __init__(self, process: subprocess.Popen[str], folder: Path, release: Callable[[], None]) -> None:
        self.process = process
        self.release = release
        self._folder = folder

    def wait(self) -> None:
        """Waits until one of its processes has come to the call."""
        wait_until(lambda: any(self._folder.glob("held-*")), self.process)

    def interrupt(self, expected: str) -> None:
        """Sends Ctrl-C to all its processes, and waits until it has said something."""
        os.killpg(self.process.pid, signal.SIGINT)
        wait_until(lambda: expected in self.errors(), self.process)

    def errors(self) -> str:
        """What it has said on standard error."""
        return (self._folder / "stderr").read_text()

    def end(self) -> str:
        """Releases it, and waits for its end; returns its standard output."""
        self.release()
        return self.process.communicate(timeout=PATIENCE_S)[0]


@contextmanager
def held_command(folder: Path, function: str, when: str, *arguments: object) -> Iterator[HeldCommand]:
    """Starts the command, whose processes wait at a call of a function until they are released.
    Signals reach them meanwhile. Not on Windows.

    Args:
        folder: A new folder.
        function: "module.name". It has to be looked up in that module when it is called.
        when: An expression in Python that says of which calls; it knows `call`, the number of this
            call in its process, from 1, and `is_worker`, whether another process made this one.
        arguments: Those of the command.
    """
    import fcntl

    module, _, name = function.rpartition(".")
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_HOLD.format(module=module, name=name, when=when, folder=str(folder)))
    paths = str(folder), os.environ.get("PYTHONPATH")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    run = [sys.executable, "-m", "dfmcodec", *map(str, arguments)]
    with open(folder / "gate", "w") as gate, open(folder / "stderr", "w") as errors:
        fcntl.flock(gate, fcntl.LOCK_EX)
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": errors, "text": True}
        with subprocess.Popen(run, env=environment, start_new_session=True, **pipes) as process:
            try:
                yield HeldCommand(process, folder, lambda: fcntl.flock(gate, fcntl.LOCK_UN))
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)


def dfm(*arguments: Any, code: int = 0, data: str | bytes | None = None) -> Result:
    """Runs the command, which has to end with an exit code."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], input=data)
    assert result.exit_code == code, result.output
    return result


def names_in(folder: str | Path) -> list[str]:
    """The names in a folder, in order, without hidden ones such as the record of sources."""
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))


def with_crc(content: bytes) -> bytes:
    """Content with the CRC-32 of an intact file."""
    return content + struct.pack("<I", zlib.crc32(content))


with_kernels = pytest.mark.skipif(kernels.compiled is None, reason="no kernels, without which it takes long")


@contextmanager
def without_kernels() -> Iterator[None]:
    """Computes everything by NumPy: by the package where it decodes, and by oracles."""
    from oracles import in_place_of_kernels  # which imports encoders

    before = kernels.is_switched_off
    kernels.is_switched_off = True
    try:
        with in_place_of_kernels():
            yield
    finally:
        kernels.is_switched_off = before


@contextmanager
def by(instruction_set: str) -> Iterator[None]:
    """Kernels take an instruction set."""
    assert kernels.compiled is not None
    before = kernels.compiled.chosen_instruction_set()
    kernels.compiled.use_instruction_set(instruction_set)
    try:
        yield
    finally:
        kernels.compiled.use_instruction_set(before)


def write_crops(folder: Path, side: int) -> None:
    """Writes square crops of three photographs of scikit-image, as the trainers' tests use."""
    import PIL.Image
    import skimage.data

    for name, top in (("astronaut", 0), ("chelsea", 60), ("coffee", 100)):
        pixels = getattr(skimage.data, name)()[top : top + side, 100 : 100 + side]
        PIL.Image.fromarray(pixels).save(folder / f"{name}.png")
