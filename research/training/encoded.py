"""Examples for further training, from encodings of photographs with the current weights.

`examples` creates those of the first training, whose symbols are optimised only for rate and
distortion. The encoder used here refines its choice: its target is the residual after the image
filter and the correction network, and it includes the cost of symbols as context of others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod
from pathlib import Path

import numpy as np

from dfmcodec._types import Int32, Pixels
from dfmcodec.codecs.wavelet.colour import pixels_to_planes
from dfmcodec.codecs.wavelet.encode.efforts import QUICK, Effort
from dfmcodec.codecs.wavelet.encode.encoding import Encoding
from dfmcodec.codecs.wavelet.encode.iteration import Iterations
from dfmcodec.codecs.wavelet.filter import filter_residual
from dfmcodec.codecs.wavelet.geometry import Geometry
from dfmcodec.codecs.wavelet.passes import CodingPass, level_passes, pass_shape
from dfmcodec.codecs.wavelet.sections.latents import read_tile
from dfmcodec.codecs.wavelet.synthesis import Samples
from dfmcodec.codecs.wavelet.transform import UNITS_PER_CODE_VALUE
from dfmcodec.codecs.wavelet.weights import WaveletWeights, weights_of
from dfmcodec.errors import DfmError, DivergedError
from dfmcodec.image import Image
from dfmcodec.models import Model
from dfmcodec.processes import run_jobs
from dfmcodec.threads import thread_count
from research.training.command import named_weights
from research.training.examples import DecodedCells, Rows, image_files, photograph, random_step, rows_of_symbols

REFINED_FRACTION = 0.7  # fraction of the photographs with refining iterations
REFINED = Effort(4, 5, adapted_after=())
PLAIN_ITERATIONS = 2  # iterations for the other photographs
Job = tuple[int, Path]  # the number of a photograph, and its file


@dataclass(frozen=True)
class EncodedExamples:
    """Training examples from one encoded photograph.

    Args:
        rows: The context rows by phase.
        cells: The decoded image and its target: the original minus the correction of the image
            filter.
    """

    rows: dict[int, Rows]
    cells: DecodedCells


def encoded_examples(pixels: Pixels, weights: WaveletWeights, rng: np.random.Generator) -> EncodedExamples:
    """Encodes an image with given weights at a random step size.

    Args:
        pixels: uint8 [H, W, 3].
        weights: The weights.
        rng: The source of random numbers.

    Raises:
        FloatingPointError: A fit produced NaN or infinite values.
    """
    height, width = (side // 2 * 2 for side in pixels.shape[:2])
    effort, iterations = QUICK, PLAIN_ITERATIONS
    if rng.random() < REFINED_FRACTION:
        effort, iterations = REFINED, REFINED.iterations
    q_step = random_step(rng)
    image = Image(np.ascontiguousarray(pixels[:height, :width]))
    encoding = Encoding.of(image, effort, weights=weights)
    state = Iterations(encoding)
    for _ in range(iterations):
        change = state.change
        trial = state.iterate(q_step)
    (tile,) = encoding.tiling.tiles
    (stream,) = trial.model.streams
    symbols, _ = read_tile(0, stream, tile.geometry, q_step, weights.context, 0)
    pyramid = encoding.pyramid(tile, change)
    by_pass = symbols_by_pass(symbols, tile.geometry)
    rows, samples = rows_of_symbols(pyramid, tile.geometry, q_step, by_pass, weights.context, rng)

    original = pixels_to_planes(image.pixels, encoding.basis) * np.float32(UNITS_PER_CODE_VALUE)
    if (image_filter := trial.model.image_filter) is not None:
        complete = Samples.complete(samples)
        original -= filter_residual(complete.around(complete.at, image_filter.radius), image_filter)
    return EncodedExamples(rows, DecodedCells.of(samples, original, q_step, weights.correction.reach))


def symbols_by_pass(values: Int32, geometry: Geometry) -> dict[CodingPass, Int32]:
    """Splits all symbols in coding order, int32 [N], into the symbols of each coding pass."""
    by_pass = {}
    start = geometry.channels * prod(geometry.low_sizes[-1])
    for level in reversed(range(geometry.levels)):
        for coding_pass in level_passes(geometry, level):
            stop = start + prod(pass_shape(geometry, coding_pass))
            by_pass[coding_pass] = values[start:stop]
            start = stop
    return by_pass


@lru_cache(maxsize=1)
def weights_of_name(name: str) -> WaveletWeights:
    """Returns the weights with a weights id or in a file.

    Raises:
        BadParameter: The weights do not exist.
    """
    return named_weights(name, Model.WAVELET, weights_of, WaveletWeights.from_arrays)


def encode_photograph(weights: str, number_of_pass: int, job: Job) -> EncodedExamples:
    """Returns the examples of a photograph. They are equal in every process.

    Raises:
        DfmError: The photograph cannot be read, or a fit produced NaN or infinite values.
    """
    number, path = job
    rng = np.random.default_rng([number_of_pass, number])
    try:
        return encoded_examples(photograph(path, rng), weights_of_name(weights), rng)
    except FloatingPointError as error:
        msg = f"{path}: {error} gave NaN or infinite values; take it out of the folder, then please report it"
        raise DivergedError(msg) from error


def encoded_photographs(
    weights: str, number_of_pass: int, folder: Path, report: Callable[[int], None]
) -> list[EncodedExamples]:
    """Encodes all photographs of a folder on all cores.

    Args:
        weights: See `weights_of_name`.
        number_of_pass: The number of the pass; each pass draws other step sizes and reductions.
        folder: The folder.
        report: Called after each photograph with the number of finished photographs.

    Raises:
        DfmError: A photograph cannot be read or encoded, or a process died.
    """
    found: dict[int, EncodedExamples] = {}

    def take(job: Job, examples: EncodedExamples | None) -> Sequence[Job]:
        if examples is None:
            msg = f"the process that encoded {job[1]} died; is there enough memory?"
            raise DfmError(msg)
        found[job[0]] = examples
        report(len(found))
        return ()

    jobs: Iterator[Job] = enumerate(image_files(folder))
    run_jobs(partial(encode_photograph, weights, number_of_pass), jobs, thread_count(), take)
    return [found[number] for number in sorted(found)]
