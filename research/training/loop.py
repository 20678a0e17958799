"""Training loop: chunks of training steps, checkpoints and reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from dfmcodec.errors import DivergedError
from research.training.checkpoint import Checkpoint

TrainChunk = Callable[[Any, int, np.random.Generator], tuple[Any, float]]


@dataclass(frozen=True)
class Schedule:
    """Length of a training, and intervals of reports.

    Args:
        steps: The number of training steps.
        chunk_steps: The number of training steps in a chunk.
        report_every: The number of training steps between two reports, a multiple of `chunk_steps`.
    """

    steps: int
    chunk_steps: int
    report_every: int


def run_training(
    path: Path, start: Checkpoint, train_chunk: TrainChunk, schedule: Schedule, report: Callable[[int, float], None]
) -> Any:
    """Trains to the end of a schedule. Each report also writes a checkpoint.

    Args:
        path: The checkpoint file. If it exists, the training continues from it.
        start: The state before the first step, for a training without a checkpoint.
        train_chunk: Runs a chunk of training steps. Receives the trained tree, the number of
            finished steps and the random generator. Returns the new tree and the mean loss of the
            chunk.
        schedule: The length of the training.
        report: Called with the number of finished steps and the mean loss since the last report.

    Returns:
        The trained tree.

    Raises:
        DivergedError: The loss of a chunk is NaN or infinite, or a weight at a report or in the
            checkpoint file is.
    """
    checkpoint = Checkpoint.load(path, start.trained) if path.exists() else start
    if not checkpoint.is_finite:
        msg = f"{path} contains NaN or infinite weights; delete it to restart the training"
        raise DivergedError(msg)
    done, trained, rng = checkpoint.steps, checkpoint.trained, checkpoint.rng
    losses: list[float] = []
    while done < schedule.steps:
        trained, loss = train_chunk(trained, done, rng)
        if not isfinite(loss):
            raise _diverged(path, "the loss is", done)
        losses.append(loss)
        done += schedule.chunk_steps
        if done % schedule.report_every == 0 or done >= schedule.steps:
            checkpoint = Checkpoint(done, trained, rng)
            if not checkpoint.is_finite:  # the loss of the last step was computed from the weights before it
                raise _diverged(path, "weights are", done)
            checkpoint.save(path)
            report(done, float(np.mean(losses)))
            losses = []
    return trained


def _diverged(path: Path, what: str, steps: int) -> DivergedError:
    """Returns the error for a training that diverged."""
    return DivergedError(f"{path.stem}: {what} NaN or infinite after {steps} training steps; try again, then report it")
