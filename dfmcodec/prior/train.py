"""Trains the prior from a folder of photographs.

    python -m dfmcodec.prior.train FOLDER --work DIR --out prior.npz

Stages, each kept in --work and not done again when the command is repeated:

1. context networks on symbols rounded with a dead zone, briefly;
2. context networks on symbols rounded by rate and distortion against the first ones; tables counted;
3. the Fourier machine on pictures decoded with them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from dfmcodec.entropy.context import ContextModel
from dfmcodec.prior import Prior, load_arrays, samples
from dfmcodec.prior.context_training import count_tables, train_network
from dfmcodec.prior.machine_training import train_machine
from dfmcodec.prior.samples import BIT_PRICES, DecodedCells, Rows

FIRST_STEPS = 5_000  # of each network of stage 1
CONTEXT_STEPS = 80_000  # of each network of stage 2
MACHINE_STEPS = 8_000
MACHINE_PASSES = 2  # over the pictures, each at another step


class Log:
    """Prints lines with the time since the start."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    def __call__(self, text: str) -> None:
        click.echo(f"[{time.perf_counter() - self._started:7.0f} s] {text}")

    def progress(self, what: str, every: int = 1) -> Callable[..., None]:
        def report(done: int, loss: float | None = None) -> None:
            if done % every == 0:
                self(f"{what}: {done}" + ("" if loss is None else f", loss {loss:.4f}"))

        return report


def train_contexts(
    folder: Path,
    work: Path,
    name: str,
    steps: int,
    context: ContextModel | None,
    passes: int,
    phases: list[int],
    log: Log,
) -> dict[str, Any] | None:
    """One training of the four networks. None where only some phases were asked for and others are missing."""
    result = work / f"{name}.npz"
    if result.exists():
        return load_arrays(result)
    for number in range(passes):
        marker = work / f"{name}_rows_{number}.done"
        if not marker.exists():
            report = log.progress(f"{name}, rows {number}, pictures", 50)
            samples.collect_rows(folder, 10 * len(name) + number, context, work / f"{name}_rows_{number}", report)
            marker.touch()

    def rows_of(phase: int) -> Rows:
        return Rows.join([Rows.load(work / f"{name}_rows_{number}_{phase}") for number in range(passes)])

    nets = []
    for phase in phases:
        checkpoint = work / f"{name}_{phase}.pickle"
        log(f"{name}, phase {phase}")
        nets.append(train_network(rows_of(phase), steps, phase, checkpoint, log.progress(f"{name}, phase {phase}")))
    if len(phases) < 4:
        return None
    arrays = count_tables(nets, rows_of)
    np.savez_compressed(result, **arrays)
    return arrays


def decode_pictures(folder: Path, context: ContextModel, passes: int, log: Log) -> list[DecodedCells]:
    """All pictures, decoded by the linear synthesis at random steps."""
    rng = np.random.default_rng(5)
    found = []
    for number in range(passes):
        for count, pixels in enumerate(samples.photographs(folder, rng)):
            step = samples.random_step(rng)
            found.append(samples.decoded_cells(pixels, step, rng.uniform(*BIT_PRICES), context))
            if (count + 1) % 100 == 0:
                log(f"machine, pass {number}, pictures: {count + 1}")
    return found


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--work", type=click.Path(path_type=Path), required=True, help="Folder for stages and checkpoints.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The prior to write.")
@click.option("--scale", type=float, default=1.0, show_default=True, help="Factor on all numbers of steps.")
@click.option("--passes", type=int, default=2, show_default=True, help="Over the pictures for stage 2.")
@click.option("--phases", default="0123", show_default=True, help="Train only these networks of stage 2, then end.")
def main(folder: Path, work: Path, out: Path, scale: float, passes: int, phases: str) -> None:
    work.mkdir(parents=True, exist_ok=True)
    log = Log()

    def steps(count: int) -> int:
        return max(8, round(count * scale / 8) * 8)

    every = [0, 1, 2, 3]
    first = train_contexts(folder, work, "first", steps(FIRST_STEPS), None, 1, every, log)
    assert first is not None
    chosen = [int(phase) for phase in phases]
    second = train_contexts(
        folder, work, "second", steps(CONTEXT_STEPS), ContextModel.from_arrays(first), passes, chosen, log
    )
    if second is None:
        log("done with these phases")
        return
    context = ContextModel.from_arrays(second)
    pictures = decode_pictures(folder, context, MACHINE_PASSES, log)
    machine = train_machine(pictures, steps(MACHINE_STEPS), 0, work / "machine.pickle", log.progress("machine"))
    arrays = {**second, **machine}
    np.savez_compressed(out, **arrays)
    log(f"{out}: {out.stat().st_size} bytes, checksum {Prior.from_arrays(arrays).checksum:08x}")


if __name__ == "__main__":
    main()
