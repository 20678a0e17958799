"""A second decoder of `.dfm` files, written from docs/format.md alone: the proof that the document
is enough.

It takes nothing from the package but the pretrained arrays. Every function stands for one heading
of the document and uses its letters; read the two side by side. Speed comes last: symbols are
decoded one by one with Python's integers.

    python reference_decoder.py image.dfm image.png
"""

import io
import math
import struct
import sys
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

WEIGHTS_FOLDER = Path(__file__).resolve().parent.parent / "dfmcodec" / "weights"

MAX_PIXELS = 89_478_485
MAX_FREQUENCIES = 2**16
MAX_WEIGHTS = 2**22
MAX_MULTIPLY_ADDS = 2**37
MAX_METADATA_BYTES = 2**24
MAX_SYMBOL = 2**23

WEIGHTS, METADATA, LATENTS, FILTER, ADAPTATION, ALPHA, RGB, CHECKS = range(1, 9)
GRIDS, NETWORKS, TEXTURE = 10, 11, 12
KNOWN_SECTIONS = {WEIGHTS, METADATA, LATENTS, FILTER, ADAPTATION, ALPHA, RGB, CHECKS, GRIDS, NETWORKS, TEXTURE}
FIRST_SKIPPED = 128  # sections from this id on are skipped
COORDINATE, WAVELET, OVERFITTED = 0, 1, 3
FURTHER_LENGTHS = {COORDINATE: (0,), WAVELET: (8, 10), OVERFITTED: (6,)}
LUMAS = {1: (1, 1, 1), 2: (0.299, 0.587, 0.114)}
REQUIRED_SECTION = {COORDINATE: WEIGHTS, WAVELET: LATENTS, OVERFITTED: GRIDS}
OWN_SECTIONS = {
    COORDINATE: {WEIGHTS},
    WAVELET: {LATENTS, FILTER, ADAPTATION, TEXTURE},
    OVERFITTED: {GRIDS, NETWORKS},
}


class FormatError(ValueError):
    """The bytes are not a `.dfm` file that the document allows."""


def require(condition: bool, message: str) -> None:
    """Refuses the file with this message unless the condition holds."""
    if not condition:
        raise FormatError(message)


# --------------------------------------------------------------------------------------------------
# File
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class File:
    """Header and sections of a file, by the document's names."""

    model: int
    channels: int
    bits: int
    width: int
    height: int
    depth: int
    network_width: int
    order: int  # in model 1 this byte is the luma
    further: bytes
    head: bytes  # all that stands before the sections
    sections: dict[int, bytes]  # in their order


def read_file(data: bytes) -> File:
    """Reads the header and cuts the rest into sections, by "File"."""
    require(data[:4] == b"\x89DFM", "not a .dfm file")
    require(len(data) >= 6 + 4, "the file ends within its header")
    version, model = data[4:6]
    require(version == 1, f"format version {version}, only 1 is known")
    require(zlib.crc32(data[:-4]) == int.from_bytes(data[-4:], "little"), "the CRC-32 does not agree")
    require(model in REQUIRED_SECTION, f"unknown model {model}")
    file = read_header(data)

    sections = file.sections
    required = REQUIRED_SECTION[model]
    require(required in sections, f"section {required} is missing")
    foreign = set().union(*(own for other, own in OWN_SECTIONS.items() if other != model))
    require(not foreign & sections.keys(), "a section of another model")
    require(RGB not in sections or (file.channels == 1 and not sections[RGB]), "the section rgb is for gray, and empty")
    require(len(sections.get(METADATA, b"")) <= MAX_METADATA_BYTES, "the metadata are beyond the limit")
    return file


def read_header(data: bytes) -> File:
    """The fields of the header, and the sections, by the table of "File"."""
    require(len(data) >= 17 + 5 + 4, "the file ends within its header")
    model, channels, bits, width, height, depth, network_width, order, extra, count = struct.unpack(
        "<BBBHHBBBBB", data[5:17]
    )
    require(channels in (1, 3), f"{channels} channels")
    require(bits in (8, 16), f"{bits} bits a sample")
    require(width > 0 and height > 0, "the image is empty")
    require(width * height <= MAX_PIXELS, "the image is beyond the limit on pixels")
    if model == COORDINATE:
        require(all(1 <= size <= 64 for size in (depth, network_width, order)), "the network's sizes")
    if model == WAVELET:
        require(order in LUMAS, "an unknown luma")
    require(extra in FURTHER_LENGTHS[model], "length of the model's further fields")
    require(count >= 1, "no sections")
    further = data[17 : 17 + extra]
    head, sections = cut_sections(data, 17 + extra, count)
    return File(model, channels, bits, width, height, depth, network_width, order, further, head, sections)


def cut_sections(data: bytes, table_start: int, count: int) -> tuple[bytes, dict[int, bytes]]:
    """All before the sections, and the sections of the table, by "File"."""
    position = table_start + 5 * count
    end = len(data) - 4
    require(position <= end, "the file ends within its section table")
    head = data[:position]
    sections: dict[int, bytes] = {}
    for identifier, length in struct.iter_unpack("<BI", data[table_start:position]):
        require(identifier in KNOWN_SECTIONS or identifier >= FIRST_SKIPPED, f"unknown section {identifier}")
        require(identifier not in sections, f"section {identifier} stands twice")
        require(position + length <= end, f"section {identifier} goes beyond the end of the file")
        sections[identifier] = data[position : position + length]
        position += length
    require(position == end, "there are bytes after the last section")
    return head, sections


# --------------------------------------------------------------------------------------------------
# Symbols under a Laplace index
# --------------------------------------------------------------------------------------------------


class RangeDecoder:
    """The range coder, by "Range coder".

    `lower` and `point` appear in the document only as their difference, so the difference is all
    that is kept.
    """

    def __init__(self, stream: bytes):
        require(len(stream) % 4 == 0, "a range-coded stream is not a multiple of 4 bytes")
        self._words = iter(struct.unpack(f"<{len(stream) // 4}I", stream))
        self._range = 2**64 - 1
        self._distance = next(self._words, 0) << 32 | next(self._words, 0)

    def entries(self, tables: Iterable[Sequence[int]]) -> list[int]:
        """One entry under each table, given as the cumulative frequencies c of all entries and 2^24
        at the end.
        """
        words, range_, distance = self._words, self._range, self._distance
        found = []
        for cumulative in tables:
            scale = range_ >> 24
            quantile = distance // scale
            if quantile >= 1 << 24:
                message = "a range-coded stream is invalid"
                raise FormatError(message)
            entry = bisect_right(cumulative, quantile) - 1
            c = cumulative[entry]
            distance -= scale * c
            range_ = scale * (cumulative[entry + 1] - c)
            if range_ < 1 << 32:
                range_ <<= 32
                distance = distance << 32 | next(words, 0)
            found.append(entry)
        self._range, self._distance = range_, distance
        return found

    def numbers(self, count: int, bits: int) -> np.ndarray:
        """So many "numbers of n bits"."""
        uniform = range(0, (1 << 24) + 1, 1 << (24 - bits))  # bisect takes a range as well as a list
        return np.array(self.entries(uniform for _ in range(count)), dtype=np.int64)


ONE = 1 << 60
FREE = (1 << 24) - 130


def decay(u: int) -> int:
    """t of direct table u, by "Direct tables"."""
    t = (699282240786072831, 757183956407387681, 809568223467044053, 856412934495134408)[(u - 16) % 4]
    octave = (u - 16) // 4
    for _ in range(octave):
        t = math.isqrt(t * ONE)
    for _ in range(-octave):
        t = (t * t) >> 60
    return t


def side_frequencies(power: int, square: int) -> tuple[list[int], int]:
    """f[1], .., f[64] of a side of a table, and the power after them."""
    f = []
    for _ in range(64):
        f.append((((power * (ONE - square)) >> 61) * FREE) >> 60)
        power = (power * square) >> 60
    return f, power


@cache
def direct_table(u: int) -> list[int]:
    """Cumulative frequencies of direct table u, by "Direct tables"."""
    t = decay(u)
    f, power = side_frequencies(t, (t * t) >> 60)
    escape = (power * FREE) >> 60
    return table_of(f, f, escape)


@cache
def table_with_mean(u: int, n: int) -> list[int]:
    """Cumulative frequencies of the table of u and a mean of n / 16, by "Tables with a mean"."""
    t = decay(u)
    square = (t * t) >> 60
    root = math.isqrt(math.isqrt(math.isqrt(t * ONE) * ONE) * ONE)
    towards = ONE
    for _ in range(n):
        towards = (towards * root) >> 60
    below, power_below = side_frequencies((t * towards) >> 60, square)
    above, power_above = side_frequencies((t << 60) // towards, square)
    escape = sum(((power >> 1) * FREE) >> 60 for power in (power_below, power_above))
    return table_of(below, above, escape)


def table_of(below: Sequence[int], above: Sequence[int], escape: int) -> list[int]:
    """Cumulative frequencies of high = -64..64 and the escape, from those that are left of each."""
    zero = FREE - sum(below) - sum(above) - escape
    return cumulate([f + 1 for f in (*reversed(below), zero, *above, escape)])


def cumulate(frequencies: Sequence[int]) -> list[int]:
    """The cumulative frequencies of a table; its last number is the sum, 2^24."""
    cumulative = [0]
    for frequency in frequencies:
        cumulative.append(cumulative[-1] + frequency)
    assert cumulative[-1] == 1 << 24
    return cumulative


def split_index(t: int) -> tuple[int, int]:
    """The direct table u and the shift of Laplace index t."""
    shift = max(0, -((28 - t) // 4))
    return t - 4 * shift, shift


def decode_array(
    coder: RangeDecoder, tables: Sequence[Sequence[int]], shifts: np.ndarray, numbers: np.ndarray
) -> np.ndarray:
    """Symbols that have a table, its shift and a number each, in whose order come their low parts.

    With a single table this is "An array of N symbols", with several its last paragraph.
    """
    high = np.array(coder.entries(tables), dtype=np.int64) - 64

    escaped = np.flatnonzero(high == 65)
    if escaped.size:
        lengths = coder.numbers(escaped.size, 5)
        require(bool(np.all((lengths >= 1) & (lengths <= 26))), "the length of an escaped symbol")
        negative = coder.numbers(escaped.size, 1)
        excess = np.left_shift(1, lengths - 1)
        for length in range(2, int(lengths.max()) + 1):
            these = np.flatnonzero(lengths == length)
            low_bits = min(12, length - 1)
            excess[these] += coder.numbers(these.size, low_bits)
            if length - 1 > low_bits:
                excess[these] += coder.numbers(these.size, length - 1 - low_bits) << low_bits
        high[escaped] = np.where(negative, -1, 1) * (64 + excess)

    require(bool(np.all(np.abs(high) << shifts <= MAX_SYMBOL)), "a symbol is beyond the limit")
    symbols = high << shifts
    for number in np.unique(numbers[shifts > 0]):
        these = np.flatnonzero(numbers == number)
        shift = int(shifts[these[0]])
        symbols[these] += coder.numbers(these.size, shift) - ((1 << shift) >> 1)
    return symbols


def decode_laplace(coder: RangeDecoder, count: int, t: int) -> np.ndarray:
    """An array of so many symbols under one Laplace index."""
    require(t <= 111, f"Laplace index {t}")
    u, shift = split_index(t)
    return decode_array(coder, [direct_table(u)] * count, np.full(count, shift), np.full(count, t))


# --------------------------------------------------------------------------------------------------
# Network, model 0
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layer:
    """Symbols of one layer of model 0; `b` has no row for k = 0."""

    frequencies: np.ndarray  # [rows, m]
    step_index: int
    a: np.ndarray  # [rows, n]
    b: np.ndarray  # [rows - 1, n]


def frequency_rows(inputs: int, order: int) -> np.ndarray:
    """The frequencies k in {0,1}^m with |k|_1 <= order in the order of rows, as [rows, m]."""
    order = min(order, inputs)
    rows = sum(math.comb(inputs, level) for level in range(order + 1))
    require(rows <= MAX_FREQUENCIES, "a layer has frequencies beyond the limit")
    if order == inputs:
        values: list[int] = list(range(2**inputs))
    else:
        values = [value for level in range(order + 1) for value in values_of_weight(inputs, level)]
    return np.array([[value >> j & 1 for j in range(inputs)] for value in values], dtype=np.int64)


def values_of_weight(bits: int, ones: int) -> Iterator[int]:
    """The numbers below 2^bits with so many binary ones, ascending."""
    if ones == 0:
        yield 0
        return
    for top in range(ones - 1, bits):
        for rest in values_of_weight(top, ones - 1):
            yield 1 << top | rest


def layer_shapes(inputs: int, depth: int, width: int, outputs: int, orders: Sequence[int]) -> list[tuple[Any, int]]:
    """Frequencies K_i and number of outputs n_i of each layer, of so many inputs of the first and
    these orders.
    """
    shapes = []
    weights = 0
    for i, order in zip(range(depth), orders, strict=True):
        n = outputs if i == depth - 1 else width
        frequencies = frequency_rows(inputs if i == 0 else width, order)
        weights += (2 * len(frequencies) - 1) * n
        require(weights <= MAX_WEIGHTS, "the network has weights beyond the limit")
        shapes.append((frequencies, n))
    return shapes


def require_limited_work(file: File, shapes: Sequence[tuple[np.ndarray, int]]) -> None:
    """Refuses a network of too many multiply-adds at all pixels, by "Refusals and limits"."""
    multiply_adds = 0
    for frequencies, n in shapes:
        rows, m = frequencies.shape
        phase_factors = 2 ** (m // 2) + 2 ** (m - m // 2) if rows == 2**m else rows
        multiply_adds += (2 * rows - 1) * n + 64 * phase_factors
    require(multiply_adds * file.width * file.height <= MAX_MULTIPLY_ADDS, "the network is beyond the limit on work")


def read_layers(file: File) -> list[Layer]:
    """The network's symbols, by "Weights section"."""
    section = io.BytesIO(file.sections[WEIGHTS])
    shapes = []
    orders = [file.order] * file.depth
    network = layer_shapes(2, file.depth, file.network_width, file.channels, orders)
    require_limited_work(file, network)
    for frequencies, n in network:
        step_index, *indices = read_bytes(section, 1 + min(file.order, frequencies.shape[1]) + 1)
        shapes.append((frequencies, n, step_index, indices))

    coder = RangeDecoder(section.read())
    layers = []
    for frequencies, n, step_index, indices in shapes:
        a = np.zeros((len(frequencies), n), np.int64)
        b = np.zeros((len(frequencies), n), np.int64)
        for level, t in enumerate(indices):
            rows = np.flatnonzero(frequencies.sum(axis=1) == level)
            parts = 1 if level == 0 else 2
            symbols = decode_laplace(coder, parts * len(rows) * n, t).reshape(parts, len(rows), n)
            a[rows] = symbols[0]
            if level > 0:
                b[rows] = symbols[1]
        layers.append(Layer(frequencies, step_index, a, b[1:]))
    return layers


def read_bytes(stream: io.BytesIO, count: int) -> bytes:
    """So many bytes, or a refusal."""
    got = stream.read(count)
    require(len(got) == count, "a section is too short")
    return got


def network_samples(
    file: File, v: np.ndarray, layers: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Samples of the network whose layers have these frequencies, a and b, for the inputs v
    [pixels, m].
    """
    for frequencies, a, b in layers:
        angles = np.float32(2 * np.pi) * (v @ frequencies.T.astype(np.float32))
        h = np.cos(angles) @ a + np.sin(angles[:, 1:]) @ b
        v = h + v if h.shape == v.shape else h
    levels = np.rint((2**file.bits - 1) * (np.tanh(v) + 1) / 2)
    return np.clip(levels, 0, 2**file.bits - 1).reshape(file.height, file.width, file.channels)


def coordinates(file: File) -> tuple[np.ndarray, np.ndarray]:
    """x / W and y / H of all pixels, row by row."""
    y, x = np.mgrid[: file.height, : file.width].astype(np.float32)
    return (x / np.float32(file.width)).ravel(), (y / np.float32(file.height)).ravel()


def render_network(file: File, layers: Sequence[Layer]) -> np.ndarray:
    """Samples of a file of model 0, by "Network, model 0"."""
    weights = []
    for layer in layers:
        step = 2.0 ** (-layer.step_index / 8)
        weights.append((layer.frequencies, (layer.a * step).astype(np.float32), (layer.b * step).astype(np.float32)))
    return network_samples(file, np.stack(coordinates(file), axis=-1), weights)


# --------------------------------------------------------------------------------------------------
# Latents, model 1
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parameters:
    """The further fields of model 1."""

    levels: int
    step: int
    chroma_angle: int
    weights: dict[str, np.ndarray]
    tile_rows: int
    tile_columns: int


@cache
def load_weights(checksum: int, model: str = "wavelet") -> dict[str, np.ndarray]:
    """The pretrained weights with this checksum, of model 1 ("wavelet") or 3 ("overfitted")."""
    path = WEIGHTS_FOLDER / f"{model}-{checksum:08x}.npz"
    require(path.exists(), f"there are no weights {checksum:08x}")
    with np.load(path) as stored:
        weights = {name: stored[name] for name in sorted(stored.files)}
    crc = 0
    for name, array in weights.items():
        crc = zlib.crc32(name.encode("ascii"), crc)
        crc = zlib.crc32(array.astype(array.dtype.newbyteorder("<")).tobytes(), crc)
    require(crc == checksum, f"{path} has another checksum")
    return weights


def read_parameters(file: File) -> Parameters:
    """The further fields and the pretrained weights that they name."""
    levels, step, angle, checksum = struct.unpack("<BHBI", file.further[:8])
    rows, columns = file.further[8:] or (1, 1)
    require(1 <= levels <= 6, f"{levels} levels")
    require(step > 0, "the step is 0")
    require(1 <= rows <= min(64, max(1, file.height // 256)), f"{rows} rows of tiles")
    require(1 <= columns <= min(64, max(1, file.width // 256)), f"{columns} columns of tiles")
    weights = load_weights(checksum)
    return Parameters(levels, step, angle, weights, rows, columns)


def tile_slices(height: int, width: int, rows: int, columns: int) -> list[tuple[slice, slice]]:
    """The tiles of an image, row by row, by "Tiles"."""

    def cuts(size: int, n: int) -> list[slice]:
        starts = [256 * ((2 * i * size + 256 * n) // (512 * n)) for i in range(n)]
        return [slice(start, stop) for start, stop in zip(starts, [*starts[1:], size], strict=True)]

    return list(product(cuts(height, rows), cuts(width, columns)))


# Bands
# --------------------------------------------------------------------------------------------------


def band_shape(height: int, width: int, orientation: int) -> tuple[int, int]:
    """Rows and columns of a band of a level of this height and width."""
    rows = height // 2 if orientation in (1, 2) else (height + 1) // 2
    columns = width // 2 if orientation in (0, 2) else (width + 1) // 2
    return rows, columns


def level_shapes(height: int, width: int, levels: int) -> list[tuple[int, int]]:
    """Shapes of the images of levels 0..L; the last one is that of the coarsest low-pass band."""
    shapes = [(height, width)]
    for _ in range(levels):
        height, width = (height + 1) // 2, (width + 1) // 2
        shapes.append((height, width))
    return shapes


def synthesize_axis(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """One step of synthesis along the first axis, of int32, whose arrays wrap around as the
    document wants.
    """
    n, m = len(low), len(high)
    if m == 0:
        return low
    i, j = np.arange(n), np.arange(m)

    def S(x: np.ndarray, c: int) -> np.ndarray:
        return (x * np.int32(c) + np.int32(2048)) >> np.int32(12)

    def highs() -> np.ndarray:
        return d[np.maximum(i - 1, 0)] + d[np.minimum(i, m - 1)]

    def lows() -> np.ndarray:
        return low[j] + low[np.minimum(j + 1, n - 1)]

    d = high.copy()
    low = S(low, 5039)
    low -= S(highs(), 1817)
    d -= S(lows(), 3616)
    low -= S(highs(), -217)
    d -= S(lows(), -6497)
    x = np.empty((n + m, *low.shape[1:]), np.int32)
    x[0::2], x[1::2] = low, d
    return x


def synthesize_level(low: np.ndarray, orientations: Sequence[np.ndarray]) -> np.ndarray:
    """The image of a level from its low-pass band and its three orientations."""
    upper = synthesize_axis(low.T, orientations[0].T).T
    lower = synthesize_axis(orientations[1].T, orientations[2].T).T
    return np.clip(synthesize_axis(upper, lower), -65536, 65536)


# Steps
# --------------------------------------------------------------------------------------------------

NORMS = (
    (319, 201, 504),
    (630, 375, 1056),
    (1322, 809, 2162),
    (2702, 1677, 4362),
    (5484, 3369, 8767),
    (10971, 6842, 17661),
)


def band_step(step: int, level: int, column: int) -> int:
    """The step of a band; the column of the document's table is 0 for orientations 0 and 1, 1 for
    2, 2 for low-pass.
    """
    norm = NORMS[level][column]
    return max(1, (65536 * step + norm // 2) // norm)


def dequantize(v: np.ndarray, t: int) -> np.ndarray:
    """Units of the coefficients v / 64 times the step t."""
    limit = 2**30 // t
    return ((np.clip(v, -limit, limit) * t + 8192) >> 14).astype(np.int32)


# Trellis
# --------------------------------------------------------------------------------------------------

NEXT_STATE = np.array([[0, 5, 1, 6, 2, 4, 3, 7], [2, 7, 3, 4, 0, 6, 1, 5]])


# Context of a symbol
# --------------------------------------------------------------------------------------------------

PHASES = ((0, 0), (1, 1), (0, 1), (1, 0))
AROUND = tuple(product((-1, 0, 1), repeat=2))
LOW_PASS_OFFSETS = (
    *((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1), (-2, 0), (2, 0), (0, -2), (0, 2)),
    *((dy, dx) for dy, dx in product(range(-2, 3), repeat=2) if dy and dx and max(abs(dy), abs(dx)) == 2),
)
COMPANDED = np.array(
    [0, 8, 14, 19, 23] + [min(127, round(23 + 9 * math.log2(r / 4))) for r in range(5, 512)], dtype=np.int64
)
# Bands and grids are kept with so many zeros around. In bands offsets reach 2, and a band may lack
# one row of another. In grids they reach 3.
MARGIN = 3


def compand(r: np.ndarray) -> np.ndarray:
    """k(r)."""
    return np.sign(r) * COMPANDED[np.minimum(np.abs(r), 511)]


def earlier_offsets(phase: int) -> list[tuple[int, int]]:
    """The offsets in -2..2 from a symbol of this phase that lead to earlier phases."""
    row, column = PHASES[phase]
    return [
        (dy, dx)
        for dy, dx in product(range(-2, 3), repeat=2)
        if PHASES.index(((row + dy) % 2, (column + dx) % 2)) < phase
    ]


def symbol_features(phase: int) -> int:
    """The number of features of 1 to 5, which show whether a context is empty."""
    return 2 * (len(earlier_offsets(phase)) + 5 * len(AROUND))


@dataclass
class Network:
    """One phase's network of the pretrained weights, in float64, which holds its sums (far below
    2^53) exactly and is fast.
    """

    w1: np.ndarray
    c1: np.ndarray
    s1: np.ndarray
    w2: np.ndarray
    c2: np.ndarray
    w3: np.ndarray
    c3: np.ndarray
    s3: np.ndarray

    @classmethod
    def of_weights(cls, weights: dict[str, np.ndarray], phase: int) -> "Network":
        names = ("w1", "c1", "s1", "w2", "c2", "w3", "c3", "s3")
        return cls(*(weights[f"context_{name}_{phase}"].astype(np.float64) for name in names))

    def __call__(self, f: np.ndarray, level: int, p: int, K: int) -> tuple[np.ndarray, np.ndarray]:
        """Scale and mean of the symbols with the features f [N, features], at level and place p."""

        def shifted(x: np.ndarray, bits: int) -> np.ndarray:
            return np.floor(x / 2**bits)

        h1 = np.clip(shifted(f @ self.w1.T + self.c1[p] + K * self.s1[level], 6), 0, 127)
        h2 = np.clip(shifted(h1 @ self.w2.T + self.c2, 6), 0, 127)
        out = shifted(h2 @ self.w3.T + self.c3[p] + K * self.s3[level] + 128, 8).astype(np.int64)
        return out[:, 0], out[:, 1]


MEANS = np.array([0, 1, 2, 3, 4, 5, 6, 8, 11, 15])  # the least |mean| of each class


class Tables:
    """The tables of the latents' symbols by their number: the pretrained ones first, Laplace
    indices 29.. after them.
    """

    def __init__(self, weights: dict[str, np.ndarray]):
        frequencies = weights["context_frequencies"]
        assert len(frequencies) == 2 * 29 * len(MEANS)
        self.offsets = weights["context_offsets"].astype(np.int64)
        laplace = [split_index(t) for t in range(29, 112)]
        self.cumulative = [cumulate(row.tolist()) for row in frequencies] + [direct_table(u) for u, _ in laplace]
        self.shifts = np.array([0] * len(frequencies) + [shift for _, shift in laplace])

    def number(self, scale: np.ndarray, mean: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Number of each symbol's table."""
        T = np.clip(scale + 16, 0, 111)
        m = np.searchsorted(MEANS, np.abs(mean), side="right") - 1
        return np.where(T <= 28, 290 * z + 10 * T + m, 580 + T - 29)

    def offset(self, number: np.ndarray, signed: np.ndarray) -> np.ndarray:
        """The offset of each coefficient; `signed` is the symbol times its sign, as it was
        coded.
        """
        own = np.minimum(number, len(self.offsets) - 1)
        return np.where(number < len(self.offsets), self.offsets[own, np.clip(signed, -3, 3) + 3], 0)


@cache
def tables_of_weights(checksum: int) -> Tables:
    """Tables are long to build; they are made once for each set of weights."""
    return Tables(load_weights(checksum))


# Latents section
# --------------------------------------------------------------------------------------------------


@dataclass
class TileLatents:
    """What a tile's part decodes to: the symbols as they stand in the file (signs undone), and the
    samples.
    """

    low_pass: list[np.ndarray] = field(default_factory=list)  # of each colour, the differences undone
    bands: dict[tuple[int, int, int], np.ndarray] = field(default_factory=dict)  # of level, colour, orientation
    planes: list[np.ndarray] = field(default_factory=list)  # of each colour, samples s in units

    def in_order(self, levels: int) -> list[np.ndarray]:
        """The symbols of the low-pass band, of level L-1, .., of level 0, each in the order of
        coding.
        """
        groups = [np.concatenate([values.ravel() for values in self.low_pass])]
        for level in reversed(range(levels)):
            bands = [band for (of_level, _, _), band in self.bands.items() if of_level == level]
            groups.append(np.concatenate([band[y::2, x::2].ravel() for band in bands for y, x in PHASES]))
        return groups


def decode_tile(
    part: bytes, height: int, width: int, colours: int, parameters: Parameters, tables: Tables, networks: list[Network]
) -> TileLatents:
    """Decodes and synthesizes one tile, by "Latents section"."""
    L, Q = parameters.levels, parameters.step
    shapes = level_shapes(height, width, L)
    symbol_count = height * width * colours  # the bands of a level have as many samples as its image
    require(8 * (len(part) + 16) >= 1.1e-5 * symbol_count, "a tile's part is too short for its size")
    require(len(part) >= colours, "a tile's part is too short")
    coder = RangeDecoder(part[colours:])
    tile = TileLatents()

    low_step = 3 * band_step(Q, L - 1, 2) // 2
    for colour in range(colours):
        rows, columns = shapes[L]
        symbols = decode_laplace(coder, rows * columns, part[colour]).reshape(rows, columns)
        symbols[0] = np.cumsum(symbols[0])
        q = np.cumsum(symbols, axis=0)
        require(bool(np.all(np.abs(q) <= MAX_SYMBOL)), "a value of the low-pass band is beyond the limit")
        tile.low_pass.append(q)
        tile.planes.append(dequantize(64 * q, low_step))

    K = log_step(Q)
    coarser: dict[tuple[int, int], np.ndarray] = {}
    for level in reversed(range(L)):
        steps = [band_step(Q, level, column) for column in (0, 0, 1)]
        states = np.zeros(((shapes[level + 1][0] + 1) // 2, (shapes[level + 1][1] + 1) // 2), np.int64)
        companded: dict[tuple[int, int], np.ndarray] = {}  # k(r) of this level's bands, with margins
        units: dict[tuple[int, int], np.ndarray] = {}
        for colour, orientation in product(range(colours), range(3)):
            shape = band_shape(*shapes[level], orientation)
            this = companded[colour, orientation] = np.zeros((shape[0] + 2 * MARGIN, shape[1] + 2 * MARGIN), np.int64)
            q = np.zeros(shape, np.int64)
            v = np.zeros(shape, np.int64)
            for phase, (row, column) in enumerate(PHASES):
                if q[row::2, column::2].size == 0:
                    continue
                rows, columns = np.arange(row, shape[0], 2), np.arange(column, shape[1], 2)
                f = features(phase, colour, orientation, rows, columns, companded, coarser, tile.planes, steps[0])
                scale, mean = np.full(len(f), -16), np.zeros(len(f), np.int64)
                is_first = (level, colour, orientation, phase) == (L - 1, 0, 0, 0)
                used = np.flatnonzero(f[:, : symbol_features(phase)].any(axis=1) | is_first)
                scale[used], mean[used] = networks[phase](f[used], level, 9 * level + 3 * colour + orientation, K)
                place_states = states[np.ix_(rows // 2, columns // 2)]
                z = (place_states & 1).ravel()
                number = tables.number(scale, mean, z)

                order = np.argsort(number, kind="stable")
                signed = np.empty(scale.size, np.int64)
                ordered = number[order]
                cumulative = [tables.cumulative[i] for i in ordered.tolist()]
                signed[order] = decode_array(coder, cumulative, tables.shifts[ordered], ordered)
                sign = np.where(mean < 0, -1, 1)
                symbols = sign * signed
                r = 2 * symbols - z * np.sign(symbols)

                grid = (len(rows), len(columns))
                q[row::2, column::2] = symbols.reshape(grid)
                v[row::2, column::2] = (64 * r + sign * tables.offset(number, signed)).reshape(grid)
                this[MARGIN:-MARGIN, MARGIN:-MARGIN][row::2, column::2] = compand(r).reshape(grid)
                states[np.ix_(rows // 2, columns // 2)] = NEXT_STATE[symbols.reshape(grid) & 1, place_states]
            tile.bands[level, colour, orientation] = q
            units[colour, orientation] = dequantize(v, steps[orientation])
        tile.planes = [
            synthesize_level(tile.planes[colour], [units[colour, orientation] for orientation in range(3)])
            for colour in range(colours)
        ]
        coarser = companded
    return tile


def features(
    phase: int,
    colour: int,
    orientation: int,
    rows: np.ndarray,
    columns: np.ndarray,
    companded: dict[tuple[int, int], np.ndarray],
    coarser: dict[tuple[int, int], np.ndarray],
    low_pass: Sequence[np.ndarray],
    t: int,
) -> np.ndarray:
    """The features f of a pass, [N, features], in the document's order."""
    zeros = np.zeros((len(rows), len(columns)), np.int64)

    def around(
        band: np.ndarray | None,
        offsets: Sequence[tuple[int, int]],
        rows: np.ndarray = rows,
        columns: np.ndarray = columns,
    ) -> list[np.ndarray]:
        if band is None:
            return [zeros] * len(offsets)
        return [band[np.ix_(rows + dy + MARGIN, columns + dx + MARGIN)] for dy, dx in offsets]

    multiples = around(companded[colour, orientation], earlier_offsets(phase))
    for other in (0, 1):
        multiples += around(companded[colour, other] if other < orientation else None, AROUND)
    for other in (0, 1):
        multiples += around(companded[other, orientation] if other < colour else None, AROUND)
    multiples += around(coarser.get((colour, orientation)), AROUND, rows // 2, columns // 2)
    magnitudes = [np.abs(k) for k in multiples]

    def differences(plane: np.ndarray | None, offsets: Sequence[tuple[int, int]]) -> list[np.ndarray]:
        if plane is None:
            return [zeros] * len(offsets)
        padded = np.pad(plane, 2, mode="edge")
        here = plane[np.ix_(rows, columns)]
        found = []
        for dy, dx in offsets:
            D = padded[np.ix_(rows + dy + 2, columns + dx + 2)].astype(np.int64) - here
            found.append(np.sign(D) * compand((np.minimum(np.abs(D), max(1, t >> 1)) * (2**24 // t)) >> 14))
        return found

    slopes = differences(low_pass[colour], LOW_PASS_OFFSETS)
    for other in (0, 1):
        slopes += differences(low_pass[other] if other < colour else None, LOW_PASS_OFFSETS[:12])
    return np.stack([f.ravel() for f in (*multiples, *magnitudes, *slopes)], axis=1).astype(np.float64)


# Adaptation section
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Adaptation:
    """Symbols of the adaptation: [phase, column] of w3 and [phase, band] of c3, for scale and
    mean.
    """

    scale_weights: np.ndarray
    mean_weights: np.ndarray
    scale_constants: np.ndarray
    mean_constants: np.ndarray


def read_adaptation(section: bytes, columns: int, bands: int) -> Adaptation:
    """The symbols, by "Adaptation section"."""
    require(len(section) >= 4, "the adaptation is too short")
    coder = RangeDecoder(section[4:])
    sizes = (columns, columns, bands, bands)
    return Adaptation(*(decode_laplace(coder, 4 * n, t).reshape(4, n) for n, t in zip(sizes, section[:4], strict=True)))


def adapt(networks: Sequence[Network], adaptation: Adaptation, places: Sequence[int]) -> None:
    """Changes the last layers of the networks."""
    for phase, network in enumerate(networks):
        deltas = np.stack([adaptation.scale_weights[phase], adaptation.mean_weights[phase]])
        network.w3 = np.clip(network.w3 + deltas, -127, 127)
        constants = np.stack([adaptation.scale_constants[phase], adaptation.mean_constants[phase]], axis=1)
        require(bool(np.all(np.abs(constants) <= 2**14)), "a change of a constant is beyond the limit")
        network.c3[places] += 64 * constants


# Filter section
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Filter:
    """Symbols of the image's filter, [output colour, tap, input colour] for each distance, and its
    step index.
    """

    radius: int
    step_index: int
    symbols: list[np.ndarray]


def filter_taps(distance: int) -> list[tuple[int, int]]:
    """The taps (dy, dx) of this distance, by dy, then dx."""
    reach = range(-distance, distance + 1)
    return [(dy, dx) for dy, dx in product(reach, repeat=2) if abs(dy) + abs(dx) == distance]


def read_filter(section: bytes, colours: int) -> Filter:
    """The symbols, by "Filter section"."""
    require(len(section) >= 2, "the filter is too short")
    radius, step_index = section[:2]
    require(1 <= radius <= 5, f"the filter's radius is {radius}")
    require(len(section) >= 2 + radius, "the filter is too short")
    coder = RangeDecoder(section[2 + radius :])
    symbols = []
    for distance in range(1, radius + 1):
        shape = (colours, len(filter_taps(distance)), colours)
        symbols.append(decode_laplace(coder, math.prod(shape), section[1 + distance]).reshape(shape))
    return Filter(radius, step_index, symbols)


def filtered(samples: np.ndarray, filter_: Filter) -> np.ndarray:
    """What the filter adds to the samples [H, W, colours]."""
    height, width, _ = samples.shape
    radius = filter_.radius
    padded = np.pad(samples, ((radius, radius), (radius, radius), (0, 0)), mode="edge")
    total = np.zeros_like(samples)
    for distance, symbols in enumerate(filter_.symbols, start=1):
        w = (symbols * 2.0 ** (-filter_.step_index / 8)).astype(np.float32)
        for t, (dy, dx) in enumerate(filter_taps(distance)):
            moved = padded[radius + dy : radius + dy + height, radius + dx : radius + dx + width]
            total += (moved - samples) @ w[:, t].T
    return total


# Texture section
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Texture:
    """The seed and the codes of a texture."""

    seed: int
    k: int  # base-2 logarithm of the side of a cell
    codes: list[np.ndarray]  # [rows, columns] of each band of luma: level 0 first, then orientation; then chroma


def read_texture(section: bytes, height: int, width: int, channels: int) -> Texture:
    """The codes, by "Texture section"."""
    count = 5 + channels
    require(len(section) >= 3 + count, "the texture is too short")
    seed, _, k = section[:3]
    require(6 <= k <= 8, f"the cells of the texture have a side of 2^{k}")
    shape = -(-height >> k), -(-width >> k)
    coder = RangeDecoder(section[3 + count :])
    codes = []
    for t in section[3 : 3 + count]:
        differences = decode_laplace(coder, shape[0] * shape[1], t).reshape(shape).tolist()
        band = [[0] * shape[1] for _ in range(shape[0])]
        for i, j in product(range(shape[0]), range(shape[1])):
            above, left = band[i - 1][j], band[i][j - 1]
            p = (above + left) // 2 if i and j else above if i else left if j else 0
            band[i][j] = min(max(p + differences[i][j], 0), 8)
        codes.append(np.array(band))
    return Texture(seed, k, codes)


def noise_of_positions(key: int, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """n, by "Texture section": the sum of four bytes of a hash, less 510."""
    h = (y[:, None] * 0x85EBCA77 + x * 0x9E3779B1 + key) & 0xFFFFFFFF
    h = (h ^ h >> 16) * 0x7FEB352D & 0xFFFFFFFF
    h = (h ^ h >> 15) * 0x846CA68B & 0xFFFFFFFF
    h ^= h >> 16
    return (h & 255) + (h >> 8 & 255) + (h >> 16 & 255) + (h >> 24) - 510


def interpolation(first: int, count: int, side: int, cells: int) -> np.ndarray:
    """The weights of the cells at positions of a band, [count, cells], of the sum 2 side."""
    weights = np.zeros((count, cells), np.int64)
    for i in range(count):
        d = 2 * (first + i) + 1 - side
        cell, w = d // (2 * side), d % (2 * side)
        weights[i, min(max(cell, 0), cells - 1)] += 2 * side - w
        weights[i, min(max(cell + 1, 0), cells - 1)] += w
    return weights


def texture_noise(texture: Texture, tile: TileLatents, top: int, left: int, levels: int, channel: int) -> np.ndarray:
    """The noise of a channel of a tile whose first pixel is (top, left), [h, w], units."""
    first = min(2, levels)
    shapes = [tile.bands[first - 1, 0, o].shape for o in (0, 1)]
    noise = np.zeros((shapes[0][0], shapes[1][1]), np.int64)
    for level in reversed(range(first)):
        side = 2**texture.k // 2 ** (level + 1)
        bands = []
        for o in range(3):
            q = tile.bands[level, 0, o]
            if channel and level == 0:
                bands.append(np.zeros(q.shape, np.int64))
                continue
            codes = texture.codes[5 + channel if channel else 3 * level + o]
            q = np.zeros(q.shape, np.int64) if channel else q
            y, x = (np.arange(n) + (at >> level + 1) for n, at in zip(q.shape, (top, left), strict=True))
            amplitude = np.where(codes > 0, 8 << codes, 0)
            rows = interpolation(top >> level + 1, q.shape[0], side, codes.shape[0])
            columns = interpolation(left >> level + 1, q.shape[1], side, codes.shape[1])
            a = rows @ amplitude @ columns.T * 256 // (2 * side) ** 2
            around = np.pad(q != 0, 1)
            height, width = q.shape
            is_beside = np.zeros(q.shape, bool)
            for dy, dx in product(range(3), repeat=2):
                is_beside |= around[dy : dy + height, dx : dx + width]
            a >>= is_beside
            number = 3 + 3 * channel + o if channel else 3 * level + o
            key = (12 * texture.seed + number + 1) * 0xC2B2AE3D & 0xFFFFFFFF
            v = noise_of_positions(key, y, x) * a + 2**14 >> 15
            bands.append(np.where(q != 0, 0, v))
        noise = synthesize_level(noise, bands)
    return noise


# Correction network
# --------------------------------------------------------------------------------------------------

SPREAD = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))
T = np.rint(127 * np.sin(2 * np.pi * np.arange(256) / 256)).astype(np.int8)


def log_step(Q: int) -> int:
    """K, by "Context of a symbol"."""
    octave = Q.bit_length() - 1
    return 8 * octave + ((8 * Q) >> octave) - 80


def R(x: np.ndarray, k: int) -> np.ndarray:
    """A shift that rounds."""
    return (x + (1 << (k - 1))) >> k


def product_of_bytes(matrix: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The matrix times the vectors v [.., columns], in float32, which holds its sums (below 2^24)
    exactly and is fast.
    """
    return (v.astype(np.float32) @ matrix.T.astype(np.float32)).astype(np.int32)


def moved(cells: np.ndarray, dy: int, dx: int) -> np.ndarray:
    """The cells at this offset from all cells but the outermost."""
    return cells[1 + dy : cells.shape[0] - 1 + dy, 1 + dx : cells.shape[1] - 1 + dx]


def correction_inputs(cells: np.ndarray, Q: int) -> np.ndarray:
    """v of all cells [rows, columns, 3, 2, 2] but the outermost."""
    total = moved(cells, 0, 0).sum(axis=(3, 4), keepdims=True, dtype=np.int32)
    D = np.stack([4 * moved(cells, dy, dx) - total for dy, dx in AROUND], axis=2)
    quotient = D.astype(np.float32) * np.float32(124) / (np.abs(D) + 16 * Q).astype(np.float32)
    return np.floor(quotient + np.float32(0.5)).reshape(*D.shape[:2], -1).astype(np.int8)


def shift(h: np.ndarray) -> np.ndarray:
    """What a layer sees of the phases h [rows, columns, n], or of their sines. The outermost cells
    are lost, as they lack cells around.
    """
    inner = moved(h, 0, 0).copy()
    n = h.shape[2]
    m = n // 16
    for group, (dy, dx) in enumerate(SPREAD):
        phases = slice(n - 8 * m + group * m, n - 8 * m + (group + 1) * m)
        inner[:, :, phases] = moved(h, dy, dx)[:, :, phases]
    return inner


def correction_residual(samples: np.ndarray, Q: int, weights: dict[str, np.ndarray]) -> np.ndarray:
    """The residual c of the samples [H, W, 3], by "Correction network"."""
    height, width, colours = samples.shape
    layers = sum(name.startswith("correction_weights_") for name in weights)
    margin = 1 + layers  # cells

    def of(name: str) -> np.ndarray:
        return weights[f"correction_{name}"]

    # To complete cells, and the cells around as far out as the network needs
    padding = ((2 * margin, 2 * margin + height % 2), (2 * margin, 2 * margin + width % 2), (0, 0))
    padded = np.pad(samples, padding, mode="edge")
    rows, columns = padded.shape[0] // 2, padded.shape[1] // 2
    # [row of cells, column of cells, colour, row in the cell, column in the cell]
    cells = padded.reshape(rows, 2, columns, 2, colours).transpose(0, 2, 4, 1, 3)

    v = correction_inputs(cells, Q)
    h = R(of("lift_factors") * product_of_bytes(of("lift"), v), 8) + of("lift_constants")
    h += log_step(Q) * of("lift_slopes")
    for i in range(layers):
        turn = (h + 128) >> 8
        u = np.concatenate([shift(T[(turn + 64) & 255]), shift(T[turn & 255])], axis=2)
        F = R(of(f"factors_{i}") * product_of_bytes(of(f"weights_{i}"), u), 8 if i < layers - 1 else 16)
        F += of(f"constants_{i}")
        h = moved(h, 0, 0) + (F if i < layers - 1 else 0)
    a = np.clip(R(h, 5), -16256, 16256)
    high = R(a, 7)
    low = a - 128 * high
    bypass = product_of_bytes(of("bypass"), high) + R(product_of_bytes(of("bypass"), low), 7)
    residual = F + R(of("bypass_factors") * bypass, 12)

    out = residual.astype(np.float32) * np.float32(Q / 4096)
    rows, columns = out.shape[:2]
    out = out.reshape(rows, columns, colours, 2, 2).transpose(0, 3, 1, 4, 2).reshape(2 * rows, 2 * columns, colours)
    return out[:height, :width]


# Reconstruction
# --------------------------------------------------------------------------------------------------


def unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v)


def render_latents(
    file: File, parameters: Parameters, planes: np.ndarray, filter_: Filter | None, noise: np.ndarray | None
) -> np.ndarray:
    """Samples of a file of model 1 from the planes [H, W, colours] of the synthesis and the noise
    [H, W, colours], by "Reconstruction".
    """
    s = planes.astype(np.float32)
    total = s.copy()
    if filter_ is not None:
        total += filtered(s, filter_)
    flat = np.zeros((*s.shape[:2], 3 - file.channels), np.int32)
    total += correction_residual(np.concatenate([planes, flat], axis=2), parameters.step, parameters.weights)[
        :, :, : file.channels
    ]
    levels = total / 64
    axes = np.ones((1, 1))
    if file.channels == 3:
        a = parameters.chroma_angle * math.pi / 256
        gray, normal = np.array([1, 1, 1]) / 3**0.5, unit(np.array(LUMAS[file.order]))
        two, six = np.array([1, 0, -1]) / 2**0.5, np.array([1, -2, 1]) / 6**0.5
        two = unit(two - (two @ normal) * normal)
        six = unit(six - (six @ normal) * normal - (six @ two) * two)
        basis = [gray, two * math.cos(a) + six * math.sin(a), -two * math.sin(a) + six * math.cos(a)]
        axes = np.array(basis).astype(np.float32)
        levels = levels @ axes
    samples = (levels + 128) * (257 if file.bits == 16 else 1)
    pixels = np.clip(np.rint(samples), 0, 2**file.bits - 1)
    if noise is None:
        return pixels
    factors = np.rint(axes.astype(np.float64) * (64 * 257 if file.bits == 16 else 64)).astype(np.int64)
    added = np.clip(noise, -4096, 4096) @ factors + 2048 >> 12
    return np.clip(pixels + added, 0, 2**file.bits - 1)


# --------------------------------------------------------------------------------------------------
# Overfitted codec, model 3
# --------------------------------------------------------------------------------------------------

GRID_COUNT = 7


@dataclass(frozen=True)
class OverfittedParameters:
    """The further fields of model 3."""

    lmbda_code: int
    weights: dict[str, np.ndarray]


def read_overfitted_parameters(file: File) -> OverfittedParameters:
    """The further fields and the pretrained weights that they name."""
    grids, stored_code, checksum = struct.unpack("<BBI", file.further)
    require(grids == GRID_COUNT, f"{grids} grids")
    require(stored_code <= 56, f"lmbda code {stored_code - 24}")
    return OverfittedParameters(stored_code - 24, load_weights(checksum, "overfitted"))


def grid_shapes(height: int, width: int) -> list[tuple[int, int]]:
    """Rows and columns of grids 0..6, by "Grids"."""
    return [(-(-height // 2**level), -(-width // 2**level)) for level in range(GRID_COUNT)]


def wavefronts(rows: int, columns: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows y and columns x of the symbols of each wavefront, t ascending, by "Grids"."""
    for t in range(columns + 2 * (rows - 1)):
        y = np.arange(rows)
        x = t - 2 * y
        inside = (x >= 0) & (x < columns)
        yield y[inside], x[inside]


# Networks section
# --------------------------------------------------------------------------------------------------

SYNTHESIS = ("filters", "lift", "lift_constants", "layer", "bypass", "constants", "stages", "stage_constants")
CONTEXT = ("w1", "c1", "w2", "c2", "w3", "bypass", "c3")
KINDS = (*(f"machine_{name}" for name in SYNTHESIS), *(f"context_{name}" for name in CONTEXT))


@dataclass(frozen=True)
class WeightDeltas:
    """What the networks section says: e of each kind, and the symbols of all weights by number."""

    exponents: list[int]
    symbols: np.ndarray  # [N]


def kinds_of_weights(weights: dict[str, np.ndarray]) -> np.ndarray:
    """The kind, 0..14, of each of the N weights."""
    return np.repeat(np.arange(len(KINDS)), [weights[name].size for name in KINDS])


def read_deltas(section: bytes, weights: dict[str, np.ndarray]) -> WeightDeltas:
    """The symbols, by "Networks section"."""
    stream = io.BytesIO(section)
    heads = np.frombuffer(read_bytes(stream, len(KINDS)), np.uint8).astype(np.int64)
    exponents, offsets = (heads & 15) - 8, (heads >> 4) - 8
    kinds = kinds_of_weights(weights)
    t = weights["change_tables"].astype(np.int64)
    indices = np.clip(np.clip(t - 4 * exponents[kinds], 0, 111) + offsets[kinds], 0, 111)

    order = np.argsort(indices, kind="stable")
    ordered = indices[order]
    splits = [split_index(t) for t in ordered.tolist()]
    tables, shifts = [direct_table(u) for u, _ in splits], np.array([shift for _, shift in splits])
    symbols = np.empty(len(order), np.int64)
    symbols[order] = decode_array(RangeDecoder(stream.read()), tables, shifts, ordered)
    return WeightDeltas(exponents.tolist(), symbols)


def networks_of_image(weights: dict[str, np.ndarray], deltas: WeightDeltas | None) -> dict[str, np.ndarray]:
    """The arrays of both networks with their changes: float32 of the synthesis network, int64 of
    the context network.
    """
    kinds = kinds_of_weights(weights)
    networks = {}
    for kind, name in enumerate(KINDS):
        is_synthesis = name.startswith("machine_")
        w = weights[name].astype(np.float32 if is_synthesis else np.int64)
        if deltas is not None:
            q = deltas.symbols[kinds == kind].reshape(w.shape)
            step = np.float32(2.0 ** deltas.exponents[kind]) * weights["change_steps"][kinds == kind].reshape(w.shape)
            if is_synthesis:
                w = w + q.astype(np.float32) * step
            else:
                M = 2**19 if name in ("context_c1", "context_c2", "context_c3") else 1023
                w = np.clip(w + q * np.maximum(1, np.rint(step)).astype(np.int64), -M, M)
        networks[name] = w
    return networks


# Context of a grid symbol
# --------------------------------------------------------------------------------------------------

GRID_OFFSETS = (
    *((-3, 0), (-2, -2), (-2, -1), (-2, 0), (-2, 1), (-2, 2), (-2, 3)),
    *((-1, -2), (-1, -1), (-1, 0), (-1, 1), (0, -3), (0, -2), (0, -1)),
)


def compand_grid(q: np.ndarray) -> np.ndarray:
    """k(q)."""
    m = np.abs(q)
    pieces = (8 * m, 6 * m + 2, 5 * m + 6, 4 * m + 12, 3 * m + 24, 2 * m + 44, m + 76)
    return np.sign(q) * np.minimum(np.min(pieces, axis=0), 127)


def doubled_plane(p: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """d of a plane p, for a grid of so many rows and columns."""
    y, x = np.arange(rows)[:, None], np.arange(columns)
    i, j = y // 2, x // 2
    i_, j_ = np.where(y % 2 == 0, i - 1, i + 1), np.where(x % 2 == 0, j - 1, j + 1)
    p = np.pad(p, 1)  # p[i, j] is now at i + 1, j + 1
    i, i_, j, j_ = i + 1, i_ + 1, j + 1, j_ + 1
    return (9 * p[i, j] + 3 * p[i, j_] + 3 * p[i_, j] + p[i_, j_] + 8) >> 4


def grid_features(
    companded: dict[int, np.ndarray], planes: Sequence[np.ndarray], level: int, y: np.ndarray, x: np.ndarray
) -> np.ndarray:
    """The features f, [N, 29], of the symbols at rows y and columns x of a grid.

    `companded` has k of the symbols of this grid and the coarser ones, with margins of zeros.
    `planes` are those of this grid that exist.
    """
    nothing = np.zeros(len(y), np.int64)

    def around(of_level: int, offsets: Sequence[tuple[int, int]]) -> list[np.ndarray]:
        if of_level not in companded:
            return [nothing] * len(offsets)
        rows, columns = (axis // 2 ** (of_level - level) + MARGIN for axis in (y, x))
        return [companded[of_level][rows + dy, columns + dx] for dy, dx in offsets]

    f = around(level, GRID_OFFSETS) + around(level + 1, AROUND)
    f += [plane[y, x] for plane in planes] + [nothing] * (GRID_COUNT - 1 - len(planes))
    return np.stack(f, axis=1)


def grid_context(f: np.ndarray, networks: dict[str, np.ndarray], level: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale and mean of the symbols with the features f [N, 29]."""
    w1, c1, w2, c2, w3, bypass, c3 = (networks[f"context_{name}"] for name in CONTEXT)
    h1 = np.clip((f @ w1.T + c1[level]) >> 6, 0, 255)
    h2 = np.clip((h1 @ w2.T + c2) >> 6, 0, 255)
    out = h2 @ w3.T + f @ bypass.T + c3[level]
    return out[:, 0] >> 8, out[:, 1] >> 7


# Grids section
# --------------------------------------------------------------------------------------------------


def decode_wavefront(coder: RangeDecoder, scale: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """The symbols q of a wavefront with this scale and mean each."""
    T = np.clip(scale + 16, 0, 111)
    mean = np.clip(mean, -8192, 8192)
    middle = (mean + 8) // 16
    rest = mean - 16 * middle
    tables, shifts = [], np.zeros(len(T), np.int64)
    for i, (t, n) in enumerate(zip(T.tolist(), np.abs(rest).tolist(), strict=True)):
        if t <= 28:
            tables.append(table_with_mean(t, n))
        else:
            u, shifts[i] = split_index(t)
            tables.append(direct_table(u))
    sign = np.where(rest < 0, -1, 1)
    q = sign * decode_array(coder, tables, shifts, shifts) + middle  # low parts come by shift
    require(bool(np.all(np.abs(q) <= MAX_SYMBOL)), "a symbol of a grid is beyond the limit")
    return q


def decode_grids(section: bytes, height: int, width: int, networks: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The symbols of grids 0..6, by "Grids section"."""
    shapes = grid_shapes(height, width)
    symbol_count = sum(math.prod(shape) for shape in shapes)
    require(8 * (len(section) + 16) >= 1.1e-5 * symbol_count, "the grids section is too short for its size")
    coder = RangeDecoder(section)
    grids = [np.zeros(shape, np.int64) for shape in shapes]
    companded: dict[int, np.ndarray] = {}
    planes: list[np.ndarray] = []
    for level in reversed(range(GRID_COUNT)):
        rows, columns = shapes[level]
        if level < GRID_COUNT - 1:
            planes = [doubled_plane(p, rows, columns) for p in (compand_grid(grids[level + 1]), *planes)]
        companded[level] = np.zeros((rows + 2 * MARGIN, columns + 2 * MARGIN), np.int64)
        for y, x in wavefronts(rows, columns):
            scale, mean = grid_context(grid_features(companded, planes, level, y, x), networks, level)
            q = decode_wavefront(coder, scale, mean)
            grids[level][y, x] = q
            companded[level][y + MARGIN, x + MARGIN] = compand_grid(q)
    return grids


# Synthesis
# --------------------------------------------------------------------------------------------------

GRID_MARGIN = 4  # upsampling a grid with 4 samples around it gives one with 4 samples around it


def upsampled(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    """A grid upsampled along the first axis; its outermost two samples lack samples around."""
    i = np.arange(2, len(x) - 2)
    y = np.empty((2 * len(i), *x.shape[1:]), np.float32)
    y[0::2] = t[0] * x[i - 2] + t[1] * x[i - 1] + t[2] * x[i] + t[3] * x[i + 1]
    y[1::2] = t[3] * x[i - 1] + t[2] * x[i] + t[1] * x[i + 1] + t[0] * x[i + 2]
    return y


def render_grids(
    file: File, parameters: OverfittedParameters, grids: Sequence[np.ndarray], deltas: WeightDeltas | None
) -> np.ndarray:
    """Samples of a file of model 3, by "Synthesis"."""
    networks = networks_of_image(parameters.weights, deltas)
    filters, lift, lift_constants, layer, bypass, constants, stages, stage_constants = (
        networks[f"machine_{name}"] for name in SYNTHESIS
    )
    step = np.float32(2.0 ** (parameters.lmbda_code / 8))
    planes = []
    for level, q in enumerate(grids):
        samples = np.pad(q.astype(np.float32) * step, GRID_MARGIN, mode="edge")
        for row in reversed(range(level)):
            samples = upsampled(upsampled(samples, filters[row]).T, filters[row]).T
        start = GRID_MARGIN - 2  # y is needed up to 2 pixels beyond the image
        planes.append(samples[start : start + file.height + 4, start : start + file.width + 4])

    v = np.stack(planes, axis=2)
    a = v @ lift.T + lift_constants
    y = np.concatenate([np.cos(a) - 1, np.sin(a)], axis=2) @ layer.T + v @ bypass.T + constants
    for s in (0, 1):
        rows, columns, _ = y.shape
        Q = np.concatenate([y[1 + dy : rows - 1 + dy, 1 + dx : columns - 1 + dx] for dy, dx in AROUND], axis=2)
        y = y[1:-1, 1:-1] + Q @ stages[s].T + stage_constants[s]
        if s == 0:
            y = np.maximum(y, 0)
    if file.channels == 1:
        y = y.mean(axis=2, keepdims=True)
    largest = 2**file.bits - 1
    return np.clip(np.rint(y * largest), 0, largest)


# --------------------------------------------------------------------------------------------------
# Alpha section
# --------------------------------------------------------------------------------------------------


def read_alpha(section: bytes, height: int, width: int, bits: int) -> np.ndarray:
    """Opacity [H, W], by "Alpha section"."""
    tiles = tile_slices(height, width, max(1, (height + 512) // 1024), max(1, (width + 512) // 1024))
    stream = io.BytesIO(section)
    entries = list(struct.iter_unpack("<BI", read_bytes(stream, 5 * len(tiles))))
    opacity = np.zeros((height, width), np.int64)
    for (rows, columns), (kind, v) in zip(tiles, entries, strict=True):
        require(kind in (0, 1), f"a tile of opacity of kind {kind}")
        if kind == 0:
            require(v < 2**bits, "an opacity is beyond the largest")
            opacity[rows, columns] = v
        else:
            tile = read_webp(read_bytes(stream, v), *opacity[rows, columns].shape)
            opacity[rows, columns] = tile[:, :, 0] + (256 * tile[:, :, 1] if bits == 16 else 0)
    require(not stream.read(), "there are bytes after the last tile of opacity")
    return opacity


def read_webp(data: bytes, height: int, width: int) -> np.ndarray:
    """[height, width, 3] of a lossless WebP file without alpha. Its headers are checked first."""
    from PIL import Image

    require(len(data) >= 25, "a tile of opacity is too short for a WebP file")
    riff, riff_bytes, kind, chunk_bytes, signature, stream = struct.unpack("<4sI8sIBI", data[:25])
    require((riff, kind, signature) == (b"RIFF", b"WEBPVP8L", 0x2F), "opacity is not lossless WebP")
    size = 20 + chunk_bytes + chunk_bytes % 2
    require(len(data) == 8 + riff_bytes == size, "a tile of opacity has another length than its WebP file")
    require(stream == width - 1 | height - 1 << 14, "a tile of opacity has another size, or alpha of its own")
    try:
        with Image.open(io.BytesIO(data), formats=["WEBP"]) as image:
            return np.asarray(image.convert("RGB")).astype(np.int64)
    except (OSError, ValueError) as error:
        message = "opacity that cannot be decoded"
        raise FormatError(message) from error


# --------------------------------------------------------------------------------------------------
# All together
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Symbols:
    """All that a file's range-coded streams say; what does not belong to the file's model is
    empty.
    """

    layers: list[Layer] = field(default_factory=list)
    tiles: list[TileLatents] = field(default_factory=list)
    filter: Filter | None = None
    texture: Texture | None = None
    adaptation: Adaptation | None = None
    grids: list[np.ndarray] = field(default_factory=list)
    deltas: WeightDeltas | None = None


def read_latents(file: File, parameters: Parameters) -> Symbols:
    """Symbols and synthesis of a file of model 1."""
    weights, colours = parameters.weights, file.channels
    tables = tables_of_weights(int.from_bytes(file.further[4:8], "little"))
    networks = [Network.of_weights(weights, phase) for phase in range(4)]
    adaptation = filter_ = None
    if ADAPTATION in file.sections:
        places = [9 * level + 3 * c + o for level, c, o in product(range(parameters.levels), range(colours), range(3))]
        adaptation = read_adaptation(file.sections[ADAPTATION], networks[0].w3.shape[1], len(places))
        adapt(networks, adaptation, places)
    if FILTER in file.sections:
        filter_ = read_filter(file.sections[FILTER], colours)

    texture = None
    if TEXTURE in file.sections:
        texture = read_texture(file.sections[TEXTURE], file.height, file.width, file.channels)

    slices = tile_slices(file.height, file.width, parameters.tile_rows, parameters.tile_columns)
    stream = io.BytesIO(file.sections[LATENTS])
    if len(slices) > 1:
        lengths = [length for (length,) in struct.iter_unpack("<I", read_bytes(stream, 4 * len(slices)))]
        parts = [read_bytes(stream, length) for length in lengths]
        require(not stream.read(), "there are bytes after the last tile's part")
    else:
        parts = [stream.read()]
    tiles = [
        decode_tile(part, y.stop - y.start, x.stop - x.start, colours, parameters, tables, networks)
        for part, (y, x) in zip(parts, slices, strict=True)
    ]
    return Symbols(tiles=tiles, filter=filter_, texture=texture, adaptation=adaptation)


def read_grids(file: File, parameters: OverfittedParameters) -> Symbols:
    """All symbols of a file of model 3."""
    deltas = read_deltas(file.sections[NETWORKS], parameters.weights) if NETWORKS in file.sections else None
    networks = networks_of_image(parameters.weights, deltas)
    grids = decode_grids(file.sections[GRIDS], file.height, file.width, networks)
    return Symbols(grids=grids, deltas=deltas)


def verify_checks(file: File, symbols: Symbols) -> None:
    """Compares all that the checks section can show, by "Checks section"."""
    section = file.sections[CHECKS]
    checked = [file.head, *(body for identifier, body in file.sections.items() if identifier != CHECKS)]
    for tile in symbols.tiles:
        checked += [group.astype("<i4").tobytes() for group in tile.in_order(file.further[0])]
    checked += [grid.astype("<i4").tobytes() for grid in reversed(symbols.grids)]
    checked.append(section[:-2])
    expected = b"".join(struct.pack("<H", zlib.crc32(part) & 0xFFFF) for part in checked)
    require(section == expected, "the checks section does not agree")


def read_symbols(file: File) -> Symbols:
    """All symbols of a file."""
    if file.model == COORDINATE:
        symbols = Symbols(layers=read_layers(file))
    elif file.model == WAVELET:
        symbols = read_latents(file, read_parameters(file))
    else:
        symbols = read_grids(file, read_overfitted_parameters(file))
    if CHECKS in file.sections:
        verify_checks(file, symbols)
    return symbols


def render(file: File, symbols: Symbols) -> np.ndarray:
    """The image [H, W, channels and opacity]."""
    if file.model == COORDINATE:
        samples = render_network(file, symbols.layers)
    elif file.model == OVERFITTED:
        samples = render_grids(file, read_overfitted_parameters(file), symbols.grids, symbols.deltas)
    else:
        parameters = read_parameters(file)
        planes = np.zeros((file.height, file.width, file.channels), np.int32)
        slices = tile_slices(file.height, file.width, parameters.tile_rows, parameters.tile_columns)
        noise = None if symbols.texture is None else np.zeros(planes.shape, np.int64)
        for (y, x), tile in zip(slices, symbols.tiles, strict=True):
            planes[y, x] = np.stack(tile.planes, axis=2)
            if symbols.texture is not None and noise is not None:
                at = y.start, x.start, parameters.levels
                for channel in range(file.channels):
                    noise[y, x, channel] = texture_noise(symbols.texture, tile, *at, channel)
        samples = render_latents(file, parameters, planes, symbols.filter, noise)
    if RGB in file.sections:
        samples = np.repeat(samples, 3, axis=2)
    if ALPHA in file.sections:
        alpha = read_alpha(file.sections[ALPHA], file.height, file.width, file.bits)
        samples = np.concatenate([samples, alpha[:, :, None]], axis=2)
    return samples.astype(np.uint8 if file.bits == 8 else np.uint16)


def decode(data: bytes) -> np.ndarray:
    """Decodes a `.dfm` file.

    Returns:
        uint8 or uint16 [H, W, n], n being 1 for gray and 3 for RGB, and one more where there is
        opacity.

    Raises:
        FormatError: the document does not allow such a file, or the pretrained weights are
            missing.
    """
    file = read_file(data)
    return render(file, read_symbols(file))


def read_metadata(section: bytes, bit_depth: int) -> dict[str, bytes]:
    """The metadata section: as much of msgpack as a map from strings to bytes takes."""
    stream = io.BytesIO(section)

    def number(count: int) -> int:
        return int.from_bytes(read_bytes(stream, count), "big")

    def text(count: int) -> str:
        require(count <= 64, "a name of metadata of more than 64 bytes")
        try:
            return read_bytes(stream, count).decode()
        except UnicodeDecodeError as error:
            message = "a name of metadata is not UTF-8"
            raise FormatError(message) from error

    def item() -> Any:
        tag = number(1)
        if tag >> 5 == 0b101:
            return text(tag & 31)
        if tag in (0xD9, 0xDA, 0xDB):
            return text(number(1 << (tag - 0xD9)))
        require(tag in (0xC4, 0xC5, 0xC6), "the metadata hold more than strings and bytes")
        return read_bytes(stream, number(1 << (tag - 0xC4)))

    tag = number(1)
    require(tag >> 4 == 0b1000 or tag in (0xDE, 0xDF), "the metadata are not a map")
    count = tag & 15 if tag < 0xDE else number(2 << (tag - 0xDE))
    require(count <= 64, "the metadata have more than 64 entries")
    metadata = {item(): item() for _ in range(count)}
    require(len(metadata) == count and not stream.read(), "the metadata have an entry twice, or bytes after the map")
    require(all(isinstance(name, str) for name in metadata), "a name of metadata is no text")
    require(all(isinstance(value, bytes) for value in metadata.values()), "metadata that are not bytes")
    require(len(metadata.get("cicp", bytes(4))) == 4, "code points of colours of another length")
    require(metadata.get("bits", b"\1") in [bytes([bits]) for bits in range(1, 16)], "no number of significant bits")
    primaries, transfer, matrix, full_range = metadata.get("cicp", bytes(4))
    if primaries not in (1, 2, *range(4, 13), 22) or transfer not in (1, 2, *range(4, 19)) or matrix or full_range > 1:
        metadata.pop("cicp", None)
    names = ("icc", "exif", "xmp", "cicp", *(("bits",) if bit_depth == 16 else ()), "gainmap")
    return {name: metadata[name] for name in names if metadata.get(name)}


def write_png(samples: np.ndarray) -> bytes:
    """A PNG file of the samples [H, W, n]."""
    height, width, n = samples.shape

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    bits = 8 * samples.dtype.itemsize
    header = struct.pack(">IIBBBBB", width, height, bits, {1: 0, 2: 4, 3: 2, 4: 6}[n], 0, 0, 0)
    rows = samples.astype(samples.dtype.newbyteorder(">"))
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def main(arguments: Sequence[str]) -> int:
    """Decodes one file to PNG."""
    if len(arguments) != 2:
        print("usage: reference_decoder.py FILE.dfm OUT.png", file=sys.stderr)
        return 2
    source, target = arguments
    try:
        samples = decode(Path(source).read_bytes())
    except FormatError as error:
        print(f"{source}: {error}", file=sys.stderr)
        return 1
    Path(target).write_bytes(write_png(samples))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
