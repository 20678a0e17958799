"""A picture's own linear filter: a least-squares correction of the linear synthesis, sent where it pays.

The filter is the linear bypass of the synthesis that is fitted to one picture (as the adaptive loop filter of VVC;
Tsai et al. 2013). At pixel p it adds to colour i

    sum_j sum_t w[i, j, t] (s_j(p + t) - s_j(p)),    t != 0,  |t|_1 <= radius,

with s the samples of the linear synthesis, edges repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from dfmcodec.entropy import LAPLACE_COUNT, SymbolDecoder, SymbolEncoder, best_laplace_index, laplace
from dfmcodec.errors import ConfigError, CorruptError
from dfmcodec.quantize import STEP_COUNT, q_step

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]

MAX_RADIUS = 5
_BLOCK_PIXELS = 1 << 14
_SIZE_BYTES = 2  # radius, step index


@lru_cache(maxsize=MAX_RADIUS)
def taps(radius: int) -> tuple[tuple[int, int], ...]:
    """Offsets (row, column), by distance, then row, then column: those of a smaller radius come first."""
    reach = range(-radius, radius + 1)
    found = [(y, x) for y in reach for x in reach if 0 < abs(y) + abs(x) <= radius]
    return tuple(sorted(found, key=lambda t: (abs(t[0]) + abs(t[1]), t)))


@dataclass(frozen=True)
class PictureFilter:
    """A quantised filter.

    Args:
        radius: 1..MAX_RADIUS.
        step_index: Of `quantize.q_step`.
        symbols: int32 [colours, taps, colours]: output, tap, input.

    Raises:
        ConfigError: Values outside what the file format can hold.
    """

    radius: int
    step_index: int
    symbols: Int32

    def __post_init__(self) -> None:
        if not (1 <= self.radius <= MAX_RADIUS and 0 <= self.step_index < STEP_COUNT):
            msg = f"a filter of radius {self.radius} and step {self.step_index} is not possible"
            raise ConfigError(msg)
        colours = self.symbols.shape[0]
        if self.symbols.shape != (colours, len(taps(self.radius)), colours):
            msg = f"a filter of radius {self.radius} does not have weights {list(self.symbols.shape)}"
            raise ConfigError(msg)

    @property
    def weights(self) -> Float32:
        """float32 [colours, taps, colours]."""
        return (self.symbols * q_step(self.step_index)).astype(np.float32)

    @property
    def file_bytes(self) -> float:
        """Estimated size of its section."""
        bits = 0.0
        for ring in _rings(self.radius):
            symbols = self.symbols[:, ring].ravel()
            bits += float(laplace(best_laplace_index(symbols)).cost_bits(symbols).sum())
        return _SIZE_BYTES + self.radius + bits / 8


def _rings(radius: int) -> list[slice]:
    """The taps of each distance 1..radius."""
    starts = [2 * distance * (distance - 1) for distance in range(1, radius + 2)]
    return [slice(start, stop) for start, stop in pairwise(starts)]


def write_filter(chosen: PictureFilter) -> bytes:
    """The filter section: radius, step index, a table for each distance, stream."""
    tables = bytearray()
    encoder = SymbolEncoder()
    for ring in _rings(chosen.radius):
        symbols = chosen.symbols[:, ring].ravel()
        tables.append(best_laplace_index(symbols))
        encoder.encode(symbols, laplace(tables[-1]))
    return bytes([chosen.radius, chosen.step_index, *tables]) + encoder.to_bytes()


def read_filter(body: bytes, colours: int) -> PictureFilter:
    """Inverse of `write_filter`.

    Raises:
        CorruptError: The section is not one.
    """
    radius = body[0] if body else 0
    tables = body[_SIZE_BYTES : _SIZE_BYTES + radius]
    if not 1 <= radius <= MAX_RADIUS or len(tables) < radius or max(tables) >= LAPLACE_COUNT:
        msg = "the filter section does not start with a filter's size; the file is damaged"
        raise CorruptError(msg)
    decoder = SymbolDecoder(body[_SIZE_BYTES + radius :])
    parts = []
    for ring, index in zip(_rings(radius), tables, strict=True):
        count = ring.stop - ring.start
        parts.append(decoder.decode(colours * count * colours, laplace(index)).reshape(colours, count, colours))
    return PictureFilter(radius, body[1], np.concatenate(parts, axis=1))


def tap_differences(padded: Float32, radius: int, first_row: int, last_row: int) -> Float32:
    """What the weights multiply at the pixels of some rows, float32 [taps * C, rows * W].

    Args:
        padded: float32 [C, H + 2 radius, W + 2 radius], units.
        radius: Of the filter.
        first_row: Of the H rows.
        last_row: The one after the last.
    """
    colours, _, padded_width = padded.shape
    width, rows = padded_width - 2 * radius, last_row - first_row
    offsets = taps(radius)
    found = np.empty((len(offsets), colours, rows, width), dtype=np.float32)
    top = first_row + radius
    centre = padded[:, top : top + rows, radius : radius + width]
    for row, (y, x) in enumerate(offsets):
        window = padded[:, top + y : top + y + rows, radius + x : radius + x + width]
        np.subtract(window, centre, out=found[row])
    return found.reshape(len(offsets) * colours, -1)


def filter_change(padded: Int32, chosen: PictureFilter) -> Float32:
    """What the filter adds, float32 [C, H, W], units, to samples that are given with `radius` more on all sides."""
    colours, height, width = padded.shape[0], *(side - 2 * chosen.radius for side in padded.shape[1:])
    values = padded.astype(np.float32)
    weights = chosen.weights.reshape(colours, -1)
    found = np.empty((colours, height, width), dtype=np.float32)
    block_rows = max(1, _BLOCK_PIXELS // width)
    for row in range(0, height, block_rows):
        stop = min(height, row + block_rows)
        differences = tap_differences(values, chosen.radius, row, stop)
        found[:, row:stop] = (weights @ differences).reshape(colours, stop - row, width)
    return found
