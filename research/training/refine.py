"""Continues training of weights on encodings of a folder of photographs that were made with them.

    python -m research.training.refine WEIGHTS FOLDER --work DIR --out weights.npz

WEIGHTS is the weights id of shipped weights, or a file. The training has three parts. Each stores
its result in --work, and a repeated command skips finished parts:

1. Encode the photographs with the given weights, most of them with refining iterations. The results
   are context rows and decoded images.
2. Train the context networks further on the rows, and count their tables again.
3. Train the correction network further on the images.

With --part, several processes can share the work of 2 and 3: `--part 01`, `--part 23` and `--part
correction`, after `--part ""`, which runs only 1.

One photograph in 20 is held out; the log contains the loss on these. To continue further, pass the
new weights as WEIGHTS with another --work.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dfmcodec.codecs.wavelet.context import ContextNetwork
from dfmcodec.codecs.wavelet.weights import WaveletWeights
from research.training.checkpoint import load_images, save_images
from research.training.command import TrainerCommand, errors_in_one_line
from research.training.contexts import Net, count_tables, float_network, mean_loss, train_network
from research.training.correction import train_correction
from research.training.encoded import encoded_photographs, weights_of_name
from research.training.examples import Rows
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

HELD_OUT_ONE_IN = 20
CONTEXT_STEPS = 120_000  # training steps of each context network
CONTEXT_RATE = 1.5e-3
CORRECTION_STEPS = 8_000
CORRECTION_RATE = 7e-4


def encode_all(name: str, folder: Path, work: Path, passes: int, log: Log) -> None:
    """Encodes the photographs (part 1) if the work folder does not contain the results.

    Args:
        name: The name of the weights; see `encoded.weights_of_name`.
        folder: The folder of photographs.
        work: The folder of results.
        passes: The number of passes over the photographs.
        log: Prints progress.
    """
    for number in range(passes):
        marker = work / f"encoded_{number}.done"
        if not marker.exists():
            _encode_pass(name, folder, work, number, log)
            marker.touch()


def _encode_pass(name: str, folder: Path, work: Path, number: int, log: Log) -> None:
    """Runs a pass of `encode_all` and releases its examples from memory."""
    examples = encoded_photographs(name, number, folder, log.progress(f"pass {number}, photographs", 50))
    held_out = examples[::HELD_OUT_ONE_IN]
    training_examples = [example for place, example in enumerate(examples) if place % HELD_OUT_ONE_IN] or held_out
    save_images(work / f"decoded_{number}.npz", [example.cells for example in training_examples])
    for phase in PHASES:
        for kind, those in (("rows", training_examples), ("held_out", held_out)):
            rows = [example.rows[phase] for example in those if phase in example.rows]
            Rows.join(rows).save(_rows_stem(work, kind, number, phase))


def _rows_stem(work: Path, kind: str, number: int, phase: int) -> Path:
    return work / f"{kind}_{number}_{phase}"


def _rows(work: Path, kind: str, passes: int, phase: int) -> Rows:
    """Reads the rows of all passes."""
    return Rows.join([Rows.load(_rows_stem(work, kind, number, phase)) for number in range(passes)])


def refined_network(network: ContextNetwork, work: Path, phase: int, passes: int, steps: int, log: Log) -> Net:
    """Trains the network of a phase further (part 2)."""
    first, held_out = float_network(network), _rows(work, "held_out", passes, phase)
    log(f"phase {phase}, loss of photographs held out: {mean_loss(first, held_out):.4f}")
    checkpoint, report = work / f"phase_{phase}_state.npz", log.progress(f"phase {phase}")
    rows = _rows(work, "rows", passes, phase)
    net = train_network(rows, steps, phase, checkpoint, report, first=first, learning_rate=CONTEXT_RATE)
    log(f"phase {phase}, loss of photographs held out: {mean_loss(net, held_out):.4f}")
    return net


def refined_correction(weights: WaveletWeights, work: Path, passes: int, steps: int, log: Log) -> dict[str, Any]:
    """Trains the correction network further (part 3) and returns its arrays."""
    images = [image for number in range(passes) for image in load_images(work / f"decoded_{number}.npz")]
    checkpoint, report = work / "correction_state.npz", log.progress("correction")
    return train_correction(
        images, steps, 0, checkpoint, report, first=weights.correction, learning_rate=CORRECTION_RATE
    )


def _checked_weights(_context: click.Context, _parameter: click.Parameter, name: str) -> str:
    """Validates WEIGHTS. Other processes read it again."""
    weights_of_name(name)
    return name


@click.command(cls=TrainerCommand, help=__doc__)
@click.argument("weights", callback=_checked_weights)
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@work_options
@click.option("--part", callback=checked_part, help="Phases (of 0123), or `correction`: train only this.")
@errors_in_one_line()
def main(weights: str, folder: Path, work: Path, out: Path, scale: float, passes: int, part: str | None) -> None:
    started_from = weights_of_name(weights)
    log = open_work(folder, work, out, weights=f"{started_from.checksum:08x}", scale=scale, passes=passes)
    encode_all(weights, folder, work, passes, log)
    correction: dict[str, Any] | None = None
    if part in (None, "correction"):
        correction = refined_correction(started_from, work, passes, scaled_steps(CORRECTION_STEPS, scale), log)
    networks, steps = started_from.context.networks, scaled_steps(CONTEXT_STEPS, scale)
    nets = [refined_network(networks[phase], work, phase, passes, steps, log) for phase in phases_of(part)]
    if correction is None or len(nets) < len(PHASES):
        log("done with this part")
        return
    contexts = count_tables(nets, lambda phase: _rows(work, "rows", passes, phase))
    write_weights(out, {**contexts, **correction}, log)


if __name__ == "__main__":
    main()
