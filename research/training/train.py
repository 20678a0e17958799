"""Trains the shipped weights of the wavelet codec on a folder of photographs.

    python -m research.training.train FOLDER --work DIR --out weights.npz

The training has three stages. Each stores its result in --work, and a repeated command skips
finished stages:

1. Train context networks briefly on symbols that are optimised with guessed tables.
2. Train context networks on symbols that are optimised with those of stage 1, and count their
   tables.
3. Train the correction network on images decoded with the networks of stage 1. Those of stage 2
   would hardly change the images.

With --part, several processes can share the work: `--part 01` and `--part 23` train networks of
stage 2, and `--part correction` runs stage 3. Each also runs stage 1 if it is missing, and the
first two also create the context rows of stage 2. Therefore run `--part ""` first, which does only
this.

A --work folder can be used for one FOLDER, --scale and --passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from dfmcodec.codecs.wavelet.context import ContextModel
from dfmcodec.files.arrays import read_arrays, write_arrays
from research.training import examples
from research.training.checkpoint import load_images, save_images
from research.training.command import TrainerCommand, errors_in_one_line
from research.training.contexts import count_tables, train_network, untrained_context
from research.training.correction import DEPTH, train_correction
from research.training.examples import BIT_COSTS, DecodedCells, Rows
from research.training.work import (
    PHASES,
    Log,
    checked_part,
    open_work,
    phases_of,
    scaled_steps,
    work_options,
    write_weights,
)

FIRST_ONE_IN = 3  # one image in 3 is used in stage 1
FIRST_STEPS = 5_000  # training steps of each network of stage 1
CONTEXT_STEPS = 60_000  # training steps of each network of stage 2
CORRECTION_STEPS = 34_000
CORRECTION_PASSES = 2  # passes over the images, each with other step sizes


@dataclass(frozen=True)
class Stage:
    """Training of the four context networks.

    Args:
        name: The name of the stage in file names.
        steps: The number of training steps of each network.
        passes: The number of passes over the images.
        context: The context model of the previous stage; None for stage 1.
    """

    name: str
    steps: int
    passes: int
    context: ContextModel | None


def train_contexts(folder: Path, work: Path, stage: Stage, phases: Sequence[int], log: Log) -> dict[str, Any] | None:
    """Trains context networks and counts their tables: stage 1 or 2.

    Args:
        folder: The folder of photographs.
        work: The folder of results and checkpoints.
        stage: The stage.
        phases: The phases to train.
        log: Prints progress.

    Returns:
        The arrays of the context model; None if only some of the phases were trained.
    """
    name, context = stage.name, stage.context
    result = work / f"{name}.npz"
    if result.exists():
        return read_arrays(result)
    for number in range(stage.passes):
        marker = work / f"{name}_rows_{number}.done"
        if not marker.exists():
            report = log.progress(f"{name}, rows {number}, images", 50)
            rng = np.random.default_rng(10 * len(name) + number)
            images = examples.photographs(folder, rng, 1 if context else FIRST_ONE_IN)
            rows_context = context or untrained_context()
            stem = work / f"{name}_rows_{number}"
            examples.collect_rows(images, rng, rows_context, context is not None, stem, report)
            marker.touch()

    def rows_of(phase: int) -> Rows:
        return Rows.join([Rows.load(work / f"{name}_rows_{number}_{phase}") for number in range(stage.passes)])

    nets = []
    for phase in phases:
        checkpoint = work / f"{name}_{phase}_state.npz"
        log(f"{name}, phase {phase}")
        report = log.progress(f"{name}, phase {phase}")
        nets.append(train_network(rows_of(phase), stage.steps, phase, checkpoint, report))
    if len(phases) < 4:
        return None
    arrays = count_tables(nets, rows_of)
    write_arrays(result, arrays, is_compressed=True)
    return arrays


def decode_images(folder: Path, context: ContextModel, passes: int, border: int, log: Log) -> list[DecodedCells]:
    """Decodes all images with the linear synthesis at random step sizes."""
    rng = np.random.default_rng(5)
    decoded = []
    for number in range(passes):
        for count, pixels in enumerate(examples.photographs(folder, rng)):
            q_step = examples.random_step(rng)
            decoded.append(examples.decoded_cells(pixels, q_step, rng.uniform(*BIT_COSTS), context, border))
            if (count + 1) % 100 == 0:
                log(f"correction, pass {number}, images: {count + 1}")
    return decoded


def trained_correction(folder: Path, work: Path, steps: int, context: ContextModel, log: Log) -> dict[str, Any]:
    """Trains the correction network (stage 3) and returns its arrays. The work folder stores the
    decoded images.
    """
    decoded = work / "decoded.npz"
    if not decoded.exists():
        save_images(decoded, decode_images(folder, context, CORRECTION_PASSES, 1 + DEPTH, log))
    return train_correction(load_images(decoded), steps, 0, work / "correction_state.npz", log.progress("correction"))


@click.command(cls=TrainerCommand, help=__doc__)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@work_options
@click.option("--part", callback=checked_part, help="Phases of stage 2 (of 0123), or `correction`: do only this.")
@errors_in_one_line()
def main(folder: Path, work: Path, out: Path, scale: float, passes: int, part: str | None) -> None:
    log = open_work(folder, work, out, scale=scale, passes=passes)
    first = train_contexts(folder, work, Stage("first", scaled_steps(FIRST_STEPS, scale), 1, None), list(PHASES), log)
    assert first is not None
    context = ContextModel.from_arrays(first)
    correction = None
    if part in (None, "correction"):
        correction = trained_correction(folder, work, scaled_steps(CORRECTION_STEPS, scale), context, log)
    if part == "correction":
        return
    stage = Stage("second", scaled_steps(CONTEXT_STEPS, scale), passes, context)
    second = train_contexts(folder, work, stage, phases_of(part), log)
    if second is None or correction is None:
        log("done with this part")
        return
    write_weights(out, {**second, **correction}, log)


if __name__ == "__main__":
    main()
