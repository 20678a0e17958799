"""Trains the prior from a folder of photographs.

    python -m dfmcodec.prior.train FOLDER --work DIR --out prior.npz

Stages, each kept in --work and not done again when the command is repeated:

1. context networks on symbols chosen with guessed tables, briefly;
2. context networks on symbols chosen by rate and distortion against the first ones; tables counted;
3. the Fourier machine on pictures decoded with the first networks (the last ones change little of what it sees).

With --part, a second process can take some of the work: `--part 01` and `--part 23` train networks of stage 2 only,
`--part machine` stage 3 only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from dfmcodec.arrays import read_arrays
from dfmcodec.entropy.context import ContextModel
from dfmcodec.prior import Prior, samples
from dfmcodec.prior.checkpoint import load_pictures, save_pictures
from dfmcodec.prior.context_training import count_tables, train_network, untrained_context
from dfmcodec.prior.machine_training import DEPTH, train_machine
from dfmcodec.prior.samples import BIT_PRICES, DecodedCells, Rows

FIRST_ONE_IN = 3  # pictures serve stage 1
FIRST_STEPS = 5_000  # of each network of stage 1
CONTEXT_STEPS = 60_000  # of each network of stage 2
MACHINE_STEPS = 34_000
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
        return read_arrays(result)
    for number in range(passes):
        marker = work / f"{name}_rows_{number}.done"
        if not marker.exists():
            report = log.progress(f"{name}, rows {number}, pictures", 50)
            rng = np.random.default_rng(10 * len(name) + number)
            pictures = samples.photographs(folder, rng, 1 if context else FIRST_ONE_IN)
            rows_context = context or untrained_context()
            stem = work / f"{name}_rows_{number}"
            samples.collect_rows(pictures, rng, rows_context, context is not None, stem, report)
            marker.touch()

    def rows_of(phase: int) -> Rows:
        return Rows.join([Rows.load(work / f"{name}_rows_{number}_{phase}") for number in range(passes)])

    nets = []
    for phase in phases:
        checkpoint = work / f"{name}_{phase}_state.npz"
        log(f"{name}, phase {phase}")
        nets.append(train_network(rows_of(phase), steps, phase, checkpoint, log.progress(f"{name}, phase {phase}")))
    if len(phases) < 4:
        return None
    arrays = count_tables(nets, rows_of)
    np.savez_compressed(result, **arrays)
    return arrays


def decode_pictures(folder: Path, context: ContextModel, passes: int, border: int, log: Log) -> list[DecodedCells]:
    """All pictures, decoded by the linear synthesis at random steps."""
    rng = np.random.default_rng(5)
    found = []
    for number in range(passes):
        for count, pixels in enumerate(samples.photographs(folder, rng)):
            step = samples.random_step(rng)
            found.append(samples.decoded_cells(pixels, step, rng.uniform(*BIT_PRICES), context, border))
            if (count + 1) % 100 == 0:
                log(f"machine, pass {number}, pictures: {count + 1}")
    return found


def trained_machine(folder: Path, work: Path, steps: int, context: ContextModel, log: Log) -> dict[str, Any]:
    """Arrays of the machine, trained on pictures that are kept decoded in the work folder."""
    kept = work / "decoded.npz"
    if not kept.exists():
        save_pictures(kept, decode_pictures(folder, context, MACHINE_PASSES, 1 + DEPTH, log))
    return train_machine(load_pictures(kept), steps, 0, work / "machine_state.npz", log.progress("machine"))


@click.command(help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--work", type=click.Path(path_type=Path), required=True, help="Folder for stages and checkpoints.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The prior to write.")
@click.option("--scale", type=float, default=1.0, show_default=True, help="Factor on all numbers of steps.")
@click.option("--passes", type=int, default=2, show_default=True, help="Over the pictures for stage 2.")
@click.option("--part", help="Phases of stage 2 (of 0123), or `machine`: do only this, then end.")
def main(folder: Path, work: Path, out: Path, scale: float, passes: int, part: str | None) -> None:
    work.mkdir(parents=True, exist_ok=True)
    log = Log()

    def steps(count: int) -> int:
        return max(8, round(count * scale / 8) * 8)

    every = [0, 1, 2, 3]
    first = train_contexts(folder, work, "first", steps(FIRST_STEPS), None, 1, every, log)
    assert first is not None
    context = ContextModel.from_arrays(first)
    machine = None
    if part in (None, "machine"):
        machine = trained_machine(folder, work, steps(MACHINE_STEPS), context, log)
    if part == "machine":
        return
    chosen = every if part is None else [int(phase) for phase in part]
    second = train_contexts(folder, work, "second", steps(CONTEXT_STEPS), context, passes, chosen, log)
    if second is None or machine is None:
        log("done with this part")
        return
    arrays = {**second, **machine}
    np.savez_compressed(out, **arrays)
    log(f"{out}: {out.stat().st_size} bytes, checksum {Prior.from_arrays(arrays).checksum:08x}")


if __name__ == "__main__":
    main()
