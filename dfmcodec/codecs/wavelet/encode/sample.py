"""What a large image learns from a sample of itself before its own iterations: a q_step for the
target, the adaptation of the context networks, and how size and quality change from iteration to
iteration.

An iteration of a large image takes long, so none is to be spent on the search for a q_step. The
sample is a mosaic of squares from all over the image, as large as a tile. It is encoded for the
same target by the same search, and then once more at the q_step that was found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from dfmcodec._types import Pixels
from dfmcodec.codecs.wavelet.adaptation import ContextAdaptation
from dfmcodec.codecs.wavelet.encode.encoding import Encoding
from dfmcodec.codecs.wavelet.encode.iteration import first_state, iterate, shifted
from dfmcodec.codecs.wavelet.encode.trial import Trial
from dfmcodec.image import Image
from dfmcodec.search.config import BIT_COST
from dfmcodec.search.job import Job
from dfmcodec.search.target import SizeTarget

LEAST_PIXELS = 6 << 20  # of an image that learns from a sample: of a smaller one it is too large a part
_SQUARE = 256  # pixels of a side
_SQUARES = 4  # along each axis


@dataclass(frozen=True)
class MeasuredSize:
    """What an iteration of the sample came to; see `Trial`."""

    file_bytes: float
    mse: float
    ssimulacra2: float | None

    @classmethod
    def of(cls, trial: Trial) -> MeasuredSize:
        """That of a trial."""
        return cls(trial.file_bytes, trial.mse, trial.ssimulacra2)


@dataclass(frozen=True)
class SampleEstimate:
    """What an image learns from its sample.

    Args:
        q_step: The step of the image's first iteration.
        adaptation: The adaptation of the context networks that the sample found best.
        came: What the sample's iterations came to, all at one step.
    """

    q_step: int
    adaptation: ContextAdaptation | None
    came: tuple[MeasuredSize, ...]

    def expected(self, trial: Trial) -> Trial:
        """What the last iteration comes to at the step of a trial of the image, if size, squared
        error and SSIMULACRA2 change as they do on the sample.
        """
        if trial.number >= len(self.came):
            return trial
        now, last = self.came[trial.number - 1], self.came[-1]
        size = last.file_bytes / now.file_bytes
        error = last.mse / now.mse if now.mse > 0 else 1.0
        seen = trial.ssimulacra2
        if seen is not None and last.ssimulacra2 is not None and now.ssimulacra2 is not None:
            seen += last.ssimulacra2 - now.ssimulacra2
        return replace(
            trial,
            file_bytes=size * trial.file_bytes,
            written_bytes=round(size * trial.written_bytes),
            mse=error * trial.mse,
            ssimulacra2=seen,
        )


def sample_of(image: Image) -> Image:
    """Returns a mosaic of squares of an image, one at the middle of each cell of a grid over it."""
    height, width = image.pixels.shape[:2]

    def starts(side: int) -> list[int]:
        return [(2 * at + 1) * side // (2 * _SQUARES) - _SQUARE // 2 for at in range(_SQUARES)]

    def mosaic(values: Pixels) -> Pixels:
        squares = np.empty((_SQUARES * _SQUARE, _SQUARES * _SQUARE, *values.shape[2:]), dtype=values.dtype)
        for (row, top), (column, left) in product(enumerate(starts(height)), enumerate(starts(width))):
            square = values[top : top + _SQUARE, left : left + _SQUARE]
            squares[row * _SQUARE :, column * _SQUARE :][:_SQUARE, :_SQUARE] = square
        return squares

    return Image(mosaic(image.pixels), alpha=None if image.alpha is None else mosaic(image.alpha))


def iterate_sample(
    encoding: Encoding, q_step: int, adaptation: ContextAdaptation | None, check: Callable[[], None]
) -> tuple[Trial, tuple[MeasuredSize, ...]]:
    """Takes all iterations of an effort at a step.

    Args:
        encoding: The encoding of the sample.
        q_step: The step.
        adaptation: The adaptation of the context networks.
        check: Called many times. What it raises ends the iterations.

    Returns:
        The last trial, and what all of them came to.

    Raises:
        FloatingPointError: A fit gave NaN or infinite values.
    """
    state = replace(first_state(encoding), adaptation=adaptation)
    came = []
    for _ in range(encoding.effort.iterations):
        trial, state = iterate(encoding, shifted(encoding, state), q_step, BIT_COST, check=check)
        came.append(MeasuredSize.of(trial))
    return trial, tuple(came)


def as_image(trial: Trial, size_fraction: float) -> Trial:
    """Returns a trial of the sample with the sizes that the image would have.

    Args:
        trial: The trial.
        size_fraction: The part of the image's size that the sample's is about.
    """
    whole = 1 / size_fraction
    return replace(trial, file_bytes=whole * trial.file_bytes, written_bytes=round(whole * trial.written_bytes))


def sample_job(job: Job, sample: Image, size_fraction: float, time_fraction: float) -> Job:
    """Returns the job of encoding the sample of an image.

    Args:
        job: That of the image.
        sample: The sample.
        size_fraction: The part of the image's size that the sample's is about.
        time_fraction: The part of a time limit that the sample has.
    """
    limit_s, target = job.config.time_limit_s, job.target
    if isinstance(target, SizeTarget):
        target = SizeTarget.of(max(1, round(size_fraction * target.budget_bytes)))
    return replace(
        job,
        image=sample,
        config=replace(job.config, time_limit_s=None if limit_s is None else time_fraction * limit_s),
        ancillary_bytes=0,
        metadata_bytes=0,
        has_checks=False,
        target=target,
    )
