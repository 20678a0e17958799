"""The least-squares fit of a picture's own filter, and its quantisation where it pays for itself."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite

import numpy as np
import numpy.typing as npt

from dfmcodec.latents import Window
from dfmcodec.picture_filter import PictureFilter, tap_differences, taps
from dfmcodec.quantize import q_step
from dfmcodec.synthesis import Samples

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int32 = npt.NDArray[np.int32]

_STEP_INDICES = (48, 56, 64, 72, 80)  # 1/64 .. 1/1024
_BLOCK_ROWS = 16
_SECTION_BYTES = 9  # section entry, and the coder's last word
_RIDGE = 1e-5


def fit_filter(
    samples: Int32,
    error_of: Callable[[slice], Float32],
    bit_price: float,
    largest_radius: int,
    rows_part: int = 1,
) -> PictureFilter | None:
    """The filter that lowers squared error + bit_price * bits most; None where none lowers it.

    Args:
        samples: int32 [C, H, W], units: the linear synthesis.
        error_of: What it lacks in some rows, float32 [C, rows, W], units, what is added otherwise counted.
        bit_price: In squared units.
        largest_radius: 1..MAX_RADIUS.
        rows_part: Fits to one in so many blocks of rows; pictures of few rows are used whole.

    Raises:
        FloatingPointError: The normal equations are not finite.
    """
    normal, moment = _normal_equations(samples, error_of, largest_radius, rows_part)
    if not isfinite(normal.sum() + moment.sum()):
        msg = "the normal equations of the filter"
        raise FloatingPointError(msg)
    best, best_gain = None, 0.0
    for radius in range(2, largest_radius + 1):
        size = len(taps(radius)) * samples.shape[0]
        if size >= samples[0].size:
            break
        ridged, factor = _with_inverse_factor(normal[:size, :size])
        solution = np.linalg.solve(ridged, moment[:size]).astype(np.float64)
        for step_index in _STEP_INDICES:
            symbols = _quantize(solution, factor, q_step(step_index))
            weights = symbols * q_step(step_index)
            lowered = 2 * np.sum(weights * moment[:size]) - np.sum(weights * (normal[:size, :size] @ weights))
            chosen = PictureFilter(radius, step_index, _by_output(symbols, samples.shape[0]))
            gain = float(lowered) - 8 * bit_price * (chosen.file_bytes + _SECTION_BYTES)
            if gain > best_gain:
                best, best_gain = chosen, gain
    return best


def _by_output(symbols: Float64, colours: int) -> Int32:
    """[taps * inputs, outputs] -> int32 [outputs, taps, inputs]."""
    return np.ascontiguousarray(symbols.T.reshape(colours, -1, colours)).astype(np.int32)


def _normal_equations(
    samples: Int32, error_of: Callable[[slice], Float32], radius: int, rows_part: int
) -> tuple[Float64, Float64]:
    whole = Samples.whole(samples)
    colours, height, width = samples.shape
    size = len(taps(radius)) * colours
    normal, moment = np.zeros((size, size)), np.zeros((size, colours))
    starts = range(0, height, _BLOCK_ROWS)
    used = starts[::rows_part] if len(starts) >= 2 * rows_part else starts
    for row in used:
        stop = min(height, row + _BLOCK_ROWS)
        padded = whole.around(Window(row, 0, stop, width), radius).astype(np.float32)
        differences = tap_differences(padded, radius, 0, stop - row)
        error = error_of(slice(row, stop)).reshape(colours, -1)
        normal += differences @ differences.T
        moment += differences @ error.T
    share = len(starts) / len(used)
    return normal * share, moment * share


def _with_inverse_factor(normal: Float64) -> tuple[Float64, Float64]:
    """The normal matrix with a ridge, and upper triangular U with U^T U its inverse.

    A picture whose differences all go one way, such as a gradient, needs a larger ridge than others.
    """
    ridge = _RIDGE * (float(np.trace(normal)) / len(normal) + 1e-9)
    while True:
        ridged: Float64 = normal + ridge * np.eye(len(normal))
        try:
            return ridged, np.asarray(np.linalg.cholesky(np.linalg.inv(ridged)).T)
        except np.linalg.LinAlgError:
            ridge *= 10


def _quantize(solution: Float64, factor: Float64, step: float) -> Float64:
    """Rounds weights one after another, the rest taking up the error (Hassibi and Stork 1993, in Cholesky form)."""
    weights = solution.copy()
    symbols = np.empty_like(weights)
    for row in range(len(weights)):
        symbols[row] = np.rint(weights[row] / step)
        error = (weights[row] - symbols[row] * step) / factor[row, row]
        weights[row + 1 :] -= factor[row, row + 1 :, None] * error
    return symbols
