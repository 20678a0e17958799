"""What the commands that train a prior share: their folder of results, parts, and log."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import click

from dfmcodec.errors import ConfigError
from dfmcodec.files.atomic import read_file, write_atomic
from dfmcodec.training.prior.contexts import CHUNK_STEPS
from dfmcodec.training.prior.examples import image_files

PHASES = (0, 1, 2, 3)  # of the context networks


class Log:
    """Prints lines with the time since the start."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    def __call__(self, text: str) -> None:
        click.echo(f"[{time.perf_counter() - self._started:7.0f} s] {text}")

    def progress(self, what: str, every: int = 1) -> Callable[..., None]:
        """A function that prints the number done, and a loss if given, at multiples of `every`."""

        def report(done: int, loss: float | None = None) -> None:
            if done % every == 0:
                self(f"{what}: {done}" + ("" if loss is None else f", loss {loss:.4f}"))

        return report


def scaled_steps(count: int, scale: float) -> int:
    """A number of training steps times the value of --scale, in whole chunks."""
    return max(CHUNK_STEPS, round(count * scale / CHUNK_STEPS) * CHUNK_STEPS)


def check_settings(folder: Path, work: Path, **of_command: float | str) -> None:
    """Keeps what the results in a work folder depend on, or compares it with what is kept there.

    Args:
        folder: The folder of photographs; their names and sizes count.
        work: The folder of results and checkpoints.
        of_command: The settings of the command that matter.

    Raises:
        ConfigError: The work folder is that of other photographs or settings.
    """
    names = json.dumps([(path.name, path.stat().st_size) for path in image_files(folder)])
    settings = json.dumps({"photographs": zlib.crc32(names.encode()), **of_command})
    kept = work / "settings.json"
    if not kept.exists():
        write_atomic(kept, settings.encode())
    elif (found := read_file(kept).decode(errors="replace")) != settings:
        msg = f"--work {work} is of other photographs or settings, {found} instead of {settings}; name another folder"
        raise ConfigError(msg)


def checked_part(_context: click.Context, _parameter: click.Parameter, part: str | None) -> str | None:
    """The value of --part, with phases in order."""
    if part is None or part == "machine":
        return part
    phases = sorted(set(part) & set("0123"))
    if len(phases) != len(part):
        msg = f"{part!r} is neither `machine` nor phases of 0123, each once"
        raise click.BadParameter(msg)
    return "".join(phases)
