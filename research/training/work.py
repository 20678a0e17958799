"""Shared parts of the training commands: the work folder, parts, and the log."""

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
from research.training.command import SCALE
from research.training.contexts import CHUNK_STEPS
from research.training.examples import check_photographs, image_files

PHASES = (0, 1, 2, 3)  # of the context networks


class Log:
    """Log with the time since the start."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    def __call__(self, text: str) -> None:
        click.echo(f"[{time.perf_counter() - self._started:7.0f} s] {text}")

    def progress(self, what: str, every: int = 1) -> Callable[..., None]:
        """Returns a callback that prints the finished number, and a loss if given, at multiples of
        `every`.
        """

        def report(done: int, loss: float | None = None) -> None:
            if done % every == 0:
                self(f"{what}: {done}" + ("" if loss is None else f", loss {loss:.4f}"))

        return report


def scaled_steps(count: int, scale: float) -> int:
    """Returns the number of training steps times --scale, rounded to complete chunks."""
    return max(CHUNK_STEPS, round(count * scale / CHUNK_STEPS) * CHUNK_STEPS)


def work_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options --work, --out, --scale and --passes to a command."""
    for option in (
        click.option(
            "--passes", type=click.IntRange(1, 1000), default=2, show_default=True, help="Passes over the photographs."
        ),
        click.option(
            "--scale", type=SCALE, default=1.0, show_default=True, help="Factor on all numbers of training steps."
        ),
        click.option("--out", type=click.Path(path_type=Path), required=True, help="The pretrained weights to write."),
        click.option(
            "--work", type=click.Path(path_type=Path), required=True, help="Folder for results and checkpoints."
        ),
    ):
        command = option(command)
    return command


def open_work(folder: Path, work: Path, out: Path, **command_settings: float | str) -> Log:
    """Checks the photographs, the output and the settings, before any work.

    Args:
        folder: The folder of photographs.
        work: The folder of results and checkpoints, created if missing.
        out: The output file of the weights.
        command_settings: The settings that affect the results; see `_check_settings`.

    Returns:
        The log.

    Raises:
        DfmError: A photograph cannot be read, the output cannot be written, or the work folder
            belongs to other photographs or settings.
    """
    check_photographs(folder)
    work.mkdir(parents=True, exist_ok=True)
    check_writable(out, force=True)
    _check_settings(folder, work, command_settings)
    return Log()


def _check_settings(folder: Path, work: Path, command_settings: dict[str, float | str]) -> None:
    """Stores the settings on which the results in a work folder depend, or compares them with the
    stored ones.

    Args:
        folder: The folder of photographs; their names and sizes are stored.
        work: The folder of results and checkpoints.
        command_settings: The settings of the command that affect the results.

    Raises:
        ConfigError: The work folder belongs to other photographs or settings.
    """
    names = json.dumps([(path.name, path.stat().st_size) for path in image_files(folder)])
    settings = json.dumps({"photographs": zlib.crc32(names.encode()), **command_settings})
    kept = work / "settings.json"
    if not kept.exists():
        write_atomic(kept, settings.encode())
    elif (found := read_file(kept).decode(errors="replace")) != settings:
        msg = f"--work {work} has other photographs or settings, {found} instead of {settings}; name another folder"
        raise ConfigError(msg)


def write_weights(out: Path, arrays: dict[str, Any], log: Log) -> None:
    """Writes trained weights.

    Raises:
        DfmError: Sums are not exact (see `WaveletWeights.from_arrays`), or the file cannot be
            written.
    """
    weights = WaveletWeights.from_arrays(arrays)
    write_arrays(out, arrays, is_compressed=True)
    log(f"{out}: {out.stat().st_size} bytes, checksum {weights.checksum:08x}")


def checked_part(_context: click.Context, _parameter: click.Parameter, part: str | None) -> str | None:
    """Validates --part and sorts its phases."""
    if part is None or part == "correction":
        return part
    phases = sorted(set(part) & set("0123"))
    if len(phases) != len(part):
        msg = f"{part!r} is neither `correction` nor phases of 0123, each once"
        raise click.BadParameter(msg)
    return "".join(phases)


def phases_of(part: str | None) -> list[int]:
    """Returns the phases to train according to --part; all without it."""
    if part is None:
        return list(PHASES)
    return [] if part == "correction" else [int(phase) for phase in part]
