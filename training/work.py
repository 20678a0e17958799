"""What the commands that train a prior share: their folder of results, parts, and log."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from dfmcodec.codecs.wavelet.weights import WaveletWeights
from dfmcodec.errors import ConfigError
from dfmcodec.files.arrays import write_arrays
from dfmcodec.files.atomic import check_writable, read_file, write_atomic
from training.command import SCALE
from training.contexts import CHUNK_STEPS
from training.examples import check_photographs, image_files

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


def work_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options --work, --out, --scale and --passes."""
    for option in (
        click.option(
            "--passes", type=click.IntRange(1, 1000), default=2, show_default=True, help="Passes over the photographs."
        ),
        click.option(
            "--scale", type=SCALE, default=1.0, show_default=True, help="Factor on all numbers of training steps."
        ),
        click.option("--out", type=click.Path(path_type=Path), required=True, help="The prior to write."),
        click.option(
            "--work", type=click.Path(path_type=Path), required=True, help="Folder for results and checkpoints."
        ),
    ):
        command = option(command)
    return command


def open_work(folder: Path, work: Path, out: Path, **of_command: float | str) -> Log:
    """Checks the photographs, the output and the settings, before any work.

    Args:
        folder: The folder of photographs.
        work: The folder of results and checkpoints, which is made where it is missing.
        out: The prior to write.
        of_command: The settings of the command that matter; see `_check_settings`.

    Returns:
        The log of the training.

    Raises:
        DfmError: A photograph cannot be read, the output cannot be written, or the work folder is
            that of other photographs or settings.
    """
    check_photographs(folder)
    work.mkdir(parents=True, exist_ok=True)
    check_writable(out, force=True)
    _check_settings(folder, work, of_command)
    return Log()


def _check_settings(folder: Path, work: Path, of_command: dict[str, float | str]) -> None:
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


def write_prior(out: Path, arrays: dict[str, Any], log: Log) -> None:
    """Writes a trained prior.

    Raises:
        DfmError: Its sums are not exact (see `WaveletWeights.from_arrays`), or it cannot be
            written.
    """
    prior = WaveletWeights.from_arrays(arrays)
    write_arrays(out, arrays, is_compressed=True)
    log(f"{out}: {out.stat().st_size} bytes, checksum {prior.checksum:08x}")


def checked_part(_context: click.Context, _parameter: click.Parameter, part: str | None) -> str | None:
    """The value of --part, with phases in order."""
    if part is None or part == "machine":
        return part
    phases = sorted(set(part) & set("0123"))
    if len(phases) != len(part):
        msg = f"{part!r} is neither `machine` nor phases of 0123, each once"
        raise click.BadParameter(msg)
    return "".join(phases)


def phases_of(part: str | None) -> list[int]:
    """The phases to train by the value of --part; without it, all."""
    if part is None:
        return list(PHASES)
    return [] if part == "machine" else [int(phase) for phase in part]
