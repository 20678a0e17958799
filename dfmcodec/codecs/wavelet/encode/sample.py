"""The sample of a large image. It is encoded first, to learn a q_step for the target, the
adaptation of the context networks, a first image filter, and the changes of size and quality from
iteration to iteration.

An iteration of a large image takes long, so the search for a q_step should not cost one. The sample
is a mosaic of squares from the complete image. It is encoded for the same target by the same
search, and then once more at the resulting q_step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from dfmcodec._types import Pixels
from dfmcodec.codecs.wavelet.contents import QuantizedLatents
from dfmcodec.codecs.wavelet.encode.encoding import Encoding
from dfmcodec.codecs.wavelet.encode.iteration import Iterations
from dfmcodec.codecs.wavelet.encode.trial import Trial
from dfmcodec.image import Image
from dfmcodec.search.job import Job
from dfmcodec.search.target import SizeTarget

LEAST_PIXELS = 4 << 20  # of an image that learns from a sample; the sample must be a small fraction
_SQUARES = 4  # squares along each axis
# The side of a square in pixels, by whether the adaptation of the context networks is fitted to
# the sample, or the image is very large. With the adaptation, squares of 256 save 0.3 % of the bits
# in 10 % more time.
_SQUARE = {True: 192, False: 128}
_VERY_LARGE = 16 << 20  # pixels; from here on, another iteration costs more than a larger sample


@dataclass(frozen=True)
class MeasuredSize:
    """The size and quality of an iteration of the sample; see `Trial`."""

    file_bytes: float
    mse: float
    ssimulacra2: float | None

    @classmethod
    def of(cls, trial: Trial) -> MeasuredSize:
        """Returns the size and quality of a trial."""
        return cls(trial.file_bytes, trial.mse, trial.ssimulacra2)


@dataclass(frozen=True)
class SampleEstimate:
    """The results of the sample for the complete image."""

    q_step: int  # the step of the image's first iteration
    model: QuantizedLatents  # the best model of the sample, with the adaptation and the filter to start with
    sizes: tuple[MeasuredSize, ...]  # the sizes and qualities of the sample's iterations, all at one step

    def expected(self, trial: Trial) -> Trial:
        """Returns the expected result of the last iteration at the step of a trial of the image,
        assuming that size, squared error and SSIMULACRA2 change as on the sample.
        """
        if trial.number >= len(self.sizes):
            return trial
        now, last = self.sizes[trial.number - 1], self.sizes[-1]
        size = last.file_bytes / now.file_bytes
        error = last.mse / now.mse if now.mse > 0 else 1.0
        score = trial.ssimulacra2
        if score is not None and last.ssimulacra2 is not None and now.ssimulacra2 is not None:
            score += last.ssimulacra2 - now.ssimulacra2
        return replace(
            trial,
            file_bytes=size * trial.file_bytes,
            written_bytes=round(size * trial.written_bytes),
            mse=error * trial.mse,
            ssimulacra2=score,
        )


def sample_of(image: Image, is_adapted: bool) -> Image:
    """Returns a mosaic of squares of an image, one from the middle of each cell of a grid.
    `is_adapted` indicates whether the adaptation of the context networks is fitted to it.
    """
    height, width = image.pixels.shape[:2]
    side = _SQUARE[is_adapted or image.pixel_count > _VERY_LARGE]

    def starts(length: int) -> list[int]:
        return [(2 * at + 1) * length // (2 * _SQUARES) - side // 2 for at in range(_SQUARES)]

    def mosaic(values: Pixels) -> Pixels:
        squares = np.empty((_SQUARES * side, _SQUARES * side, *values.shape[2:]), dtype=values.dtype)
        for (row, top), (column, left) in product(enumerate(starts(height)), enumerate(starts(width))):
            squares[row * side :, column * side :][:side, :side] = values[top : top + side, left : left + side]
        return squares

    return Image(mosaic(image.pixels), alpha=None if image.alpha is None else mosaic(image.alpha))


def iterate_sample(
    encoding: Encoding, q_step: int, model: QuantizedLatents, check: Callable[[], None]
) -> tuple[Trial, tuple[MeasuredSize, ...]]:
    """Performs all iterations of an effort at one step, with the adaptation and at first the filter
    of a model. Returns the last trial, and the sizes and qualities of all trials. Raises
    FloatingPointError if a fit gave NaN or infinite values.
    """
    iterations = Iterations(encoding, adaptation=model.adaptation, image_filter=model.image_filter)
    sizes = []
    for _ in range(encoding.effort.iterations):
        trial = iterations.iterate(q_step, check=check)
        sizes.append(MeasuredSize.of(trial))
    return trial, tuple(sizes)


def as_image(trial: Trial, size_fraction: float) -> Trial:
    """Returns a trial of the sample with its sizes scaled to the image. `size_fraction` is the
    approximate size of the sample's file as a fraction of that of the image.
    """
    per_symbol = 1 / size_fraction
    return replace(
        trial, file_bytes=per_symbol * trial.file_bytes, written_bytes=round(per_symbol * trial.written_bytes)
    )


def sample_job(job: Job, sample: Image, size_fraction: float, time_fraction: float) -> Job:
    """Returns the job of encoding the sample of an image. `size_fraction` is the approximate size
    of the sample's file as a fraction of that of the image.
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
