"""What the prior is trained on: context rows and decoded windows of photographs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageFilter

from dfmcodec.encoder.rounding import ChosenSymbols, PathChooser, local_groups, pass_coefficients, round_low
from dfmcodec.entropy.context import ContextModel, Groups
from dfmcodec.image import Pixels
from dfmcodec.latents import COLOURS, UNITS_PER_LEVEL, Geometry, Pyramid, analyse, default_levels, to_planes
from dfmcodec.pyramid_coding import traverse
from dfmcodec.scan import Place, Scan, context_size, log_step
from dfmcodec.synthesis import CELL, Samples, cells_of, padded_cells

Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]

SCALES = (0.4, 0.75)  # pictures are made smaller, which takes the traces of their own compression away
LARGEST_SIDE = 900
KERNELS = (PIL.Image.Resampling.LANCZOS, PIL.Image.Resampling.BICUBIC, PIL.Image.Resampling.HAMMING)
BLURRED_PART = 0.4  # photographs at full size are softer than reduced ones
BLURS = (0.3, 0.8)  # standard deviations, pixels
LOG_STEPS = (0.0, 7.0)  # log2 of the steps, in levels
BIT_PRICES = (0.18, 0.28)
KEPT = {0: 0.15, 1: 0.5}  # part of the symbols of the finest levels


@dataclass(frozen=True)
class Rows:
    """Context rows of one phase, N of them.

    Args:
        features: int8 [N, K].
        symbols: int16 [N].
        quantizer: int8 [N], of the trellis.
        place: int8 [N], index of level, colour and orientation.
        log_step: int8 [N].
        weight: float32 [N]: one over the picture's bits, so that every rate counts alike.
        coefficients: float32 [N], in steps.
    """

    features: npt.NDArray[np.int8]
    symbols: npt.NDArray[np.int16]
    quantizer: npt.NDArray[np.int8]
    place: npt.NDArray[np.int8]
    log_step: npt.NDArray[np.int8]
    weight: Float32
    coefficients: Float32

    def save(self, stem: Path) -> None:
        for field in fields(self):
            np.save(f"{stem}_{field.name}.npy", getattr(self, field.name))

    @classmethod
    def load(cls, stem: Path) -> Rows:
        return cls(**{field.name: np.load(f"{stem}_{field.name}.npy", allow_pickle=False) for field in fields(cls)})

    @classmethod
    def join(cls, parts: list[Rows]) -> Rows:
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


def photographs(folder: Path, rng: np.random.Generator, one_in: int = 1) -> Iterator[Pixels]:
    """One in so many pictures of a folder, made smaller, more or less sharp, flipped and turned at random.

    uint8 [H, W, 3].
    """
    for path in sorted(folder.iterdir())[::one_in]:
        with PIL.Image.open(path) as picture:
            factor = rng.uniform(*SCALES) * min(1.0, LARGEST_SIDE / max(picture.size))
            size = max(32, int(picture.width * factor)), max(32, int(picture.height * factor))
            smaller = picture.convert("RGB").resize(size, KERNELS[rng.integers(len(KERNELS))])
        if rng.random() < BLURRED_PART:
            smaller = smaller.filter(PIL.ImageFilter.GaussianBlur(rng.uniform(*BLURS)))
        pixels = np.asarray(smaller)
        pixels = pixels[:, ::-1] if rng.random() < 0.5 else pixels
        yield np.ascontiguousarray(pixels.swapaxes(0, 1) if rng.random() < 0.5 else pixels)


def random_step(rng: np.random.Generator) -> int:
    """A step in 1/64 levels, log-uniform."""
    return round(64 * 2 ** rng.uniform(*LOG_STEPS))


def chosen_symbols(
    pyramid: Pyramid, geometry: Geometry, step: int, bit_price: float, context: ContextModel, walk_first: bool
) -> dict[Place, Int32]:
    """Symbols by rate and distortion, with guessed tables or with those of a first walk."""

    def guess(place: Place) -> Groups:
        return local_groups(pyramid, step, place, context)

    chosen = PathChooser(pyramid, geometry, step, bit_price, context, guess).symbols()
    if not walk_first:
        return chosen
    walk = ChosenSymbols(round_low(pyramid, step), chosen, context)
    traverse(geometry, step, context, walk)
    return PathChooser(pyramid, geometry, step, bit_price, context, walk.groups.__getitem__).symbols()


class _RowCollector(ChosenSymbols):
    """A source that keeps the context rows of some of the symbols."""

    def __init__(
        self,
        pyramid: Pyramid,
        step: int,
        chosen: dict[Place, Int32],
        context: ContextModel,
        rng: np.random.Generator,
    ) -> None:
        super().__init__(round_low(pyramid, step), chosen, context)
        self.found: dict[int, list[Rows]] = {phase: [] for phase in range(4)}
        self._pyramid = pyramid
        self._step = step
        self._rng = rng

    def symbols(self, place: Place, groups: Groups, scan: Scan) -> Int32:
        symbols = self._chosen[place]
        part = KEPT.get(place.level, 1.0)
        kept = self._rng.random(symbols.size) < part
        size = int(kept.sum())
        features = np.zeros((context_size(place.phase), symbols.size), dtype=np.int8)
        features[scan.known(place)] = scan.features(place, range(scan.shape(place)[0]))
        self.found[place.phase].append(
            Rows(
                np.ascontiguousarray(features[:, kept].T),
                np.clip(symbols[kept], -30_000, 30_000).astype(np.int16),
                scan.quantizers(place)[kept],
                np.full(size, place.band, dtype=np.int8),
                np.full(size, log_step(self._step), dtype=np.int8),
                np.full(size, 1 / part, dtype=np.float32),
                pass_coefficients(self._pyramid, self._step, place)[kept],
            )
        )
        return symbols


def context_rows(
    pixels: Pixels, step: int, context: ContextModel, walk_first: bool, rng: np.random.Generator
) -> dict[int, Rows]:
    """Rows of one picture by phase; symbols by rate and distortion under the context model."""
    height, width = pixels.shape[:2]
    geometry = Geometry(height, width, COLOURS, default_levels(height, width))
    pyramid = analyse(to_planes(pixels, 0), geometry.levels)
    chosen = chosen_symbols(pyramid, geometry, step, rng.uniform(*BIT_PRICES), context, walk_first)
    collector = _RowCollector(pyramid, step, chosen, context, rng)
    traverse(geometry, step, context, collector)
    bits = sum(_entropy_bits(symbols) for symbols in chosen.values())
    weight = np.float32(1 / (0.05 + bits / sum(symbols.size for symbols in chosen.values())))
    for rows in chain.from_iterable(collector.found.values()):
        rows.weight[:] *= weight
    return {phase: Rows.join(parts) for phase, parts in collector.found.items() if parts}


def _entropy_bits(symbols: Int32) -> float:
    counts = np.bincount(np.minimum(np.abs(symbols), 30))
    part = counts[counts > 0] / symbols.size
    return float(symbols.size * -(part * np.log2(part)).sum() + np.count_nonzero(symbols))


def collect_rows(
    pictures: Iterable[Pixels],
    rng: np.random.Generator,
    context: ContextModel,
    walk_first: bool,
    stem: Path,
    report: Callable[[int], None],
) -> None:
    """Writes the rows of pictures, by phase, to files that begin with `stem`."""
    found: dict[int, list[Rows]] = {phase: [] for phase in range(4)}
    for count, pixels in enumerate(pictures):
        for phase, rows in context_rows(pixels, random_step(rng), context, walk_first, rng).items():
            found[phase].append(rows)
        report(count + 1)
    for phase in range(4):
        Rows.join(found.pop(phase)).save(Path(f"{stem}_{phase}"))


@dataclass(frozen=True)
class DecodedCells:
    """A picture after the linear synthesis, and what it should have been, as cells (see `synthesis`).

    Args:
        decoded: float32 [12, h + 2 border, w + 2 border], units.
        original: float32 [12, h, w], units.
        step: In 1/64 levels.
    """

    decoded: Float32
    original: Float32
    step: int

    @property
    def border(self) -> int:
        """Cells around the picture in `decoded`."""
        return int(self.decoded.shape[1] - self.original.shape[1]) // 2

    @property
    def mse(self) -> float:
        """Of the linear synthesis, squared units."""
        border = self.border
        return float(np.mean((self.decoded[:, border:-border, border:-border] - self.original) ** 2))


def decoded_cells(pixels: Pixels, step: int, bit_price: float, context: ContextModel, border: int) -> DecodedCells:
    """Codes a picture and decodes it by the linear synthesis."""
    height, width = (side // 2 * 2 for side in pixels.shape[:2])
    planes = to_planes(pixels[:height, :width], 0)
    geometry = Geometry(height, width, COLOURS, default_levels(height, width))
    pyramid = analyse(planes, geometry.levels)
    chosen = chosen_symbols(pyramid, geometry, step, bit_price, context, walk_first=True)
    _, samples = traverse(geometry, step, context, ChosenSymbols(round_low(pyramid, step), chosen, context))
    whole = Samples.whole(samples)
    return DecodedCells(
        padded_cells(whole.around(whole.at, CELL * border)),
        np.ascontiguousarray(cells_of(planes * UNITS_PER_LEVEL, np)),
        step,
    )
