"""What the prior is trained on: context rows and decoded windows of photographs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image

from dfmcodec.encoder.rounding import Rounding, pass_coefficients, round_low
from dfmcodec.entropy.context import ContextModel
from dfmcodec.image import Pixels
from dfmcodec.latents import COLOURS, UNITS_PER_LEVEL, Geometry, analyse, default_levels, to_planes
from dfmcodec.pyramid_coding import traverse
from dfmcodec.scan import FINE, Scan, log_step, low_units
from dfmcodec.synthesis import cells_of, padded_cells

Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]

SCALES = (0.4, 0.75)  # pictures are made smaller, which takes the traces of their own compression away
LARGEST_SIDE = 900
LOG_STEPS = (0.0, 7.0)  # log2 of the steps, in levels
BIT_PRICES = (0.08, 0.13)
DEAD_ZONE_OFFSET = 0.36  # of the rounding before there is a context model: floor(|c| + offset)
DEAD_ZONE_PULL = 4  # of its reconstruction, 1/FINE steps towards zero
KEPT = {0: 0.15, 1: 0.5}  # part of the symbols of the finest levels


@dataclass(frozen=True)
class Rows:
    """Context rows of one phase, N of them.

    Args:
        features: int8 [N, K].
        symbols: int16 [N].
        place: int8 [N], index of level, colour and orientation.
        log_step: int8 [N].
        weight: float32 [N]: one over the picture's bits, so that every rate counts alike.
        coefficients: float32 [N], in steps.
    """

    features: npt.NDArray[np.int8]
    symbols: npt.NDArray[np.int16]
    place: npt.NDArray[np.int8]
    log_step: npt.NDArray[np.int8]
    weight: Float32
    coefficients: Float32

    def save(self, stem: Path) -> None:
        for field in fields(self):
            np.save(f"{stem}_{field.name}.npy", getattr(self, field.name))

    @classmethod
    def load(cls, stem: Path) -> Rows:
        return cls(**{field.name: np.load(f"{stem}_{field.name}.npy") for field in fields(cls)})

    @classmethod
    def join(cls, parts: list[Rows]) -> Rows:
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


def photographs(folder: Path, rng: np.random.Generator) -> Iterator[Pixels]:
    """The pictures of a folder, made smaller by a random factor, flipped and turned at random. uint8 [H, W, 3]."""
    for path in sorted(folder.iterdir()):
        with PIL.Image.open(path) as picture:
            factor = rng.uniform(*SCALES) * min(1.0, LARGEST_SIDE / max(picture.size))
            size = max(32, int(picture.width * factor)), max(32, int(picture.height * factor))
            pixels = np.asarray(picture.convert("RGB").resize(size, PIL.Image.Resampling.LANCZOS))
        pixels = pixels[:, ::-1] if rng.random() < 0.5 else pixels
        yield np.ascontiguousarray(pixels.swapaxes(0, 1) if rng.random() < 0.5 else pixels)


def random_step(rng: np.random.Generator) -> int:
    """A step in 1/64 levels, log-uniform."""
    return round(64 * 2 ** rng.uniform(*LOG_STEPS))


def dead_zone(c: Float32) -> Int32:
    """Rounding without a context model: sign(c) floor(|c| + DEAD_ZONE_OFFSET)."""
    return (np.sign(c) * np.floor(np.abs(c) + np.float32(DEAD_ZONE_OFFSET))).astype(np.int32)


def context_rows(pixels: Pixels, step: int, context: ContextModel | None, rng: np.random.Generator) -> dict[int, Rows]:
    """Rows of one picture by phase; symbols by `Rounding` against `context`, or by the dead zone without one."""
    height, width = pixels.shape[:2]
    geometry = Geometry(height, width, COLOURS, default_levels(height, width))
    pyramid = analyse(to_planes(pixels, 0), geometry.levels)
    rounding = Rounding(pyramid, step, rng.uniform(*BIT_PRICES), context) if context else None
    scan = Scan(geometry, step, low_units(round_low(pyramid, step), step, geometry.levels))
    found: dict[int, list[Rows]] = {phase: [] for phase in range(4)}
    entropy_bits, count = 0.0, 0
    for place in scan.places():
        features = scan.features(place, range(scan.shape(place)[0]))
        coefficients = pass_coefficients(pyramid, step, place)
        if context and rounding:
            groups = context.groups(features, place, log_step(step))
            symbols = rounding.symbols(place, groups, scan)
            fine = context.dequantize(symbols, groups)
        else:
            symbols = dead_zone(coefficients)
            fine = symbols * np.int32(FINE) - DEAD_ZONE_PULL * np.sign(symbols)
        entropy_bits, count = entropy_bits + _entropy_bits(symbols), count + symbols.size
        part = KEPT.get(place.level, 1.0)
        kept = rng.random(symbols.size) < part
        size = int(kept.sum())
        found[place.phase].append(
            Rows(
                features[:, kept].T.astype(np.int8),
                np.clip(symbols[kept], -30_000, 30_000).astype(np.int16),
                np.full(size, place.band, dtype=np.int8),
                np.full(size, log_step(step), dtype=np.int8),
                np.full(size, 1 / part, dtype=np.float32),
                coefficients[kept],
            )
        )
        scan.accept(place, symbols, fine)
    weight = np.float32(1 / (0.05 + entropy_bits / count))
    for rows in chain.from_iterable(found.values()):
        rows.weight[:] *= weight
    return {phase: Rows.join(parts) for phase, parts in found.items() if parts}


def _entropy_bits(symbols: Int32) -> float:
    counts = np.bincount(np.minimum(np.abs(symbols), 30))
    part = counts[counts > 0] / symbols.size
    return float(symbols.size * -(part * np.log2(part)).sum() + np.count_nonzero(symbols))


def collect_rows(
    folder: Path, seed: int, context: ContextModel | None, stem: Path, report: Callable[[int], None]
) -> None:
    """Writes the rows of all pictures of a folder, by phase, to files that begin with `stem`."""
    rng = np.random.default_rng(seed)
    found: dict[int, list[Rows]] = {phase: [] for phase in range(4)}
    for count, pixels in enumerate(photographs(folder, rng)):
        for phase, rows in context_rows(pixels, random_step(rng), context, rng).items():
            found[phase].append(rows)
        report(count + 1)
    for phase in range(4):
        Rows.join(found.pop(phase)).save(Path(f"{stem}_{phase}"))


@dataclass(frozen=True)
class DecodedCells:
    """A picture after the linear synthesis, and what it should have been, as cells (see `synthesis`).

    Args:
        decoded: float32 [12, h + 2, w + 2], units, with border.
        original: float32 [12, h, w], units.
        step: In 1/64 levels.
    """

    decoded: Float32
    original: Float32
    step: int


def decoded_cells(pixels: Pixels, step: int, bit_price: float, context: ContextModel) -> DecodedCells:
    """Codes a picture and decodes it by the linear synthesis."""
    height, width = (side // 2 * 2 for side in pixels.shape[:2])
    planes = to_planes(pixels[:height, :width], 0)
    geometry = Geometry(height, width, COLOURS, default_levels(height, width))
    _, samples = traverse(geometry, step, context, Rounding(analyse(planes, geometry.levels), step, bit_price, context))
    return DecodedCells(padded_cells(samples), np.ascontiguousarray(cells_of(planes * UNITS_PER_LEVEL, np)), step)
