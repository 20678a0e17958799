"""Examples for training the weights: context rows and decoded images of photographs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageFilter

from dfmcodec._types import Float32, Int32, Pixels
from dfmcodec.codecs.wavelet.colour import ColourBasis, pixels_to_planes
from dfmcodec.codecs.wavelet.context import ContextModel, TableChoice, is_empty
from dfmcodec.codecs.wavelet.correction import CELL, cells_of, padded_cells
from dfmcodec.codecs.wavelet.encode.estimates import GuessedTables
from dfmcodec.codecs.wavelet.encode.sources import ChosenSymbols
from dfmcodec.codecs.wavelet.encode.trellis_search import PathChooser, pass_coefficients, round_low
from dfmcodec.codecs.wavelet.geometry import Geometry, default_levels
from dfmcodec.codecs.wavelet.neighbourhood import CausalContext, context_size
from dfmcodec.codecs.wavelet.passes import CodingPass
from dfmcodec.codecs.wavelet.quantizer import log_step
from dfmcodec.codecs.wavelet.synthesis import Samples
from dfmcodec.codecs.wavelet.transform import UNITS_PER_CODE_VALUE, Pyramid, analyse
from dfmcodec.codecs.wavelet.traversal import traverse
from dfmcodec.errors import ImageError
from dfmcodec.files.atomic import open_file
from dfmcodec.image import to_code_values
from dfmcodec.image.open_image import open_image
from dfmcodec.image.read_image import IMAGE_SUFFIXES, read_image
from dfmcodec.image.region import CHANNELS

SCALES = (0.4, 0.75)  # scale factors of photographs; reduction removes traces of their own compression
LARGEST_SIDE = 900
KERNELS = (PIL.Image.Resampling.LANCZOS, PIL.Image.Resampling.BICUBIC, PIL.Image.Resampling.HAMMING)
BLURRED_FRACTION = 0.4  # fraction of blurred photographs, because photographs at full size are softer than reduced ones
BLURS = (0.3, 0.8)  # standard deviations of the blur, in pixels
LOG_STEPS = (0.0, 7.0)  # log2 of the step sizes in code values
BIT_COSTS = (0.18, 0.28)
KEPT = {0: 0.15, 1: 0.5}  # fraction of the symbols kept on the finest levels


@dataclass(frozen=True)
class Rows:
    """Context rows of N symbols of one phase.

    Args:
        features: The context features, int8 [N, K].
        symbols: int16 [N].
        quantizer: The index of the trellis quantiser of each symbol, int8 [N].
        band: The index of the band of each symbol (`CodingPass.band`), int8 [N].
        log_step: See `codecs.wavelet.quantizer.log_step`, int8 [N].
        weight: The inverse of the bits of the image, so that all rates have equal weight, float32
            [N].
        coefficients: The coefficients in step sizes, float32 [N].
        is_empty: Whether contexts are empty, bool [N]; see `codecs.wavelet.context.is_empty`.
            Features do not show it: the first pass of the coarsest level has no symbols in its
            context, and counts as not empty.
    """

    features: npt.NDArray[np.int8]
    symbols: npt.NDArray[np.int16]
    quantizer: npt.NDArray[np.int8]
    band: npt.NDArray[np.int8]
    log_step: npt.NDArray[np.int8]
    weight: Float32
    coefficients: Float32
    is_empty: npt.NDArray[np.bool_]

    def save(self, stem: Path) -> None:
        """Writes each field to the file `<stem>_<field>.npy`."""
        for field in fields(self):
            np.save(f"{stem}_{field.name}.npy", getattr(self, field.name))

    @classmethod
    def load(cls, stem: Path) -> Rows:
        """Reads the result of `save` with memory mapping, so that unused parts stay on disk."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: np.load(f"{stem}_{name}.npy", mmap_mode="r", allow_pickle=False) for name in names})

    @classmethod
    def join(cls, several: list[Rows]) -> Rows:
        """Concatenates several sets of rows."""
        return cls(*(np.concatenate([getattr(rows, field.name) for rows in several]) for field in fields(cls)))


def image_files(folder: Path) -> list[Path]:
    """Returns the image files of a folder, selected by extension and sorted by name.

    Raises:
        ImageError: The folder contains no images.
    """
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    if not files:
        msg = f"{folder} contains no images; name a folder of photographs"
        raise ImageError(msg)
    return files


def check_photographs(folder: Path) -> None:
    """Checks the headers of the photographs in a folder, before any work.

    Raises:
        DfmError: There are no photographs, or one cannot be read.
    """
    for path in image_files(folder):
        is_plain = False
        with suppress(Exception), open_file(path) as file, open_image(file) as pil_image:
            is_plain = pil_image.mode in ("L", "RGB") and "transparency" not in pil_image.info
        if not is_plain:
            read_photograph(path)  # raises the error with the reason


def read_photograph(path: Path) -> Pixels:
    """Returns the code values of a photograph in upright orientation, uint8 [H, W, 3].

    Raises:
        ImageError: The file is not a readable image, or has transparent pixels.
        DfmError: The file cannot be read.
    """
    image = read_image(path)
    if not image.is_opaque:
        msg = f"{path} is transparent somewhere; remove its alpha, or take it out of the folder"
        raise ImageError(msg)
    return np.broadcast_to(to_code_values(image.pixels), (image.height, image.width, CHANNELS))


def photographs(folder: Path, rng: np.random.Generator, one_in: int = 1) -> Iterator[Pixels]:
    """Yields images of a folder, reduced, and randomly blurred, mirrored and transposed.

    Args:
        folder: The folder of photographs.
        rng: The source of random numbers.
        one_in: The interval between the photographs that are used; 1 uses all.

    Yields:
        uint8 [H, W, 3].

    Raises:
        DfmError: There are no photographs, or one cannot be read.
    """
    for path in image_files(folder)[::one_in]:
        yield photograph(path, rng)


def photograph(path: Path, rng: np.random.Generator) -> Pixels:
    """Reads an image, reduced, and randomly blurred, mirrored and transposed, uint8 [H, W, 3].

    Args:
        path: The file of the photograph.
        rng: The source of random numbers.

    Raises:
        DfmError: The photograph cannot be read.
    """
    pil_image = PIL.Image.fromarray(read_photograph(path))
    factor = rng.uniform(*SCALES) * min(1.0, LARGEST_SIDE / max(pil_image.size))
    size = max(32, int(pil_image.width * factor)), max(32, int(pil_image.height * factor))
    smaller = pil_image.resize(size, KERNELS[rng.integers(len(KERNELS))])
    if rng.random() < BLURRED_FRACTION:
        smaller = smaller.filter(PIL.ImageFilter.GaussianBlur(rng.uniform(*BLURS)))
    pixels = np.asarray(smaller)
    pixels = pixels[:, ::-1] if rng.random() < 0.5 else pixels
    return np.ascontiguousarray(pixels.swapaxes(0, 1) if rng.random() < 0.5 else pixels)


def random_step(rng: np.random.Generator) -> int:
    """Draws a log-uniform step size in 1/64 code values."""
    return round(64 * 2 ** rng.uniform(*LOG_STEPS))


def optimized_symbols(
    pyramid: Pyramid, geometry: Geometry, q_step: int, bit_cost: float, context: ContextModel, iterate_first: bool
) -> dict[CodingPass, Int32]:
    """Computes the symbols of all coding passes by rate-distortion optimisation.

    Args:
        pyramid: The coefficients.
        geometry: The sizes of the image.
        q_step: The step size in 1/64 code values.
        bit_cost: The cost of a bit in squared step sizes.
        context: The context model.
        iterate_first: Indicates whether the tables come from a first iteration instead of a guess.
    """

    guessed = GuessedTables(pyramid, q_step)

    def guess(coding_pass: CodingPass) -> npt.NDArray[np.int16]:
        return guessed(coding_pass).packed

    symbols = PathChooser(pyramid, geometry, q_step, bit_cost, context, guess).symbols()
    if not iterate_first:
        return symbols
    source = ChosenSymbols(round_low(pyramid, q_step), symbols, context)
    traverse(geometry, q_step, context, source)

    def chosen(coding_pass: CodingPass) -> npt.NDArray[np.int16]:
        return source.choice[coding_pass].packed

    return PathChooser(pyramid, geometry, q_step, bit_cost, context, chosen).symbols()


class _RowCollector(ChosenSymbols):
    """Source of given symbols that collects the context rows of a random subset.

    Args:
        pyramid: The coefficients.
        q_step: The step size in 1/64 code values.
        symbols: The symbols of all coding passes.
        context: The context model.
        rng: Selects the symbols whose rows are kept.

    Attributes:
        rows: The collected rows, by phase.
    """

    def __init__(
        self,
        pyramid: Pyramid,
        q_step: int,
        symbols: dict[CodingPass, Int32],
        context: ContextModel,
        rng: np.random.Generator,
    ) -> None:
        super().__init__(round_low(pyramid, q_step), symbols, context)
        self.rows: dict[int, list[Rows]] = {phase: [] for phase in range(4)}
        self._symbols = symbols
        self._pyramid = pyramid
        self._q_step = q_step
        self._rng = rng

    def symbols(self, coding_pass: CodingPass, choice: TableChoice, causal: CausalContext) -> Int32:
        """Returns the symbols of a coding pass, int32 [N]."""
        symbols = self._symbols[coding_pass]
        part = KEPT.get(coding_pass.level, 1.0)
        kept = self._rng.random(symbols.size) < part
        size = int(kept.sum())
        features = np.zeros((context_size(coding_pass.phase), symbols.size), dtype=np.int8)
        available = causal.available(coding_pass)
        features[available] = causal.features(coding_pass, range(causal.shape(coding_pass)[0]))
        self.rows[coding_pass.phase].append(
            Rows(
                np.ascontiguousarray(features[:, kept].T),
                np.clip(symbols[kept], -30_000, 30_000).astype(np.int16),
                causal.quantizers(coding_pass)[kept],
                np.full(size, coding_pass.band, dtype=np.int8),
                np.full(size, log_step(self._q_step), dtype=np.int8),
                np.full(size, 1 / part, dtype=np.float32),
                pass_coefficients(self._pyramid, self._q_step, coding_pass)[kept],
                is_empty(features[available], available, coding_pass.phase)[kept],
            )
        )
        return symbols


def context_rows(
    pixels: Pixels, q_step: int, context: ContextModel, iterate_first: bool, rng: np.random.Generator
) -> dict[int, Rows]:
    """Returns the context rows of one image, by phase.

    Args:
        pixels: uint8 [H, W, 3].
        q_step: The step size in 1/64 code values.
        context: The context model with which the symbols are optimised.
        iterate_first: See `optimized_symbols`.
        rng: The source of random numbers.
    """
    height, width = pixels.shape[:2]
    geometry = Geometry(height, width, CHANNELS, default_levels(height, width))
    pyramid = analyse(pixels_to_planes(pixels, ColourBasis()), geometry.levels)
    by_pass = optimized_symbols(pyramid, geometry, q_step, rng.uniform(*BIT_COSTS), context, iterate_first)
    return rows_of_symbols(pyramid, geometry, q_step, by_pass, context, rng)[0]


def rows_of_symbols(
    pyramid: Pyramid,
    geometry: Geometry,
    q_step: int,
    by_pass: dict[CodingPass, Int32],
    context: ContextModel,
    rng: np.random.Generator,
) -> tuple[dict[int, Rows], Int32]:
    """Returns the context rows of the symbols of one image, by phase, and the linear synthesis of
    the symbols.

    Args:
        pyramid: The coefficients.
        geometry: The sizes of the image.
        q_step: The step size in 1/64 code values.
        by_pass: The symbols of all coding passes.
        context: The context model.
        rng: Selects the symbols whose rows are kept.

    Returns:
        The rows, and the synthesis in units, int32 [C, H, W].
    """
    collector = _RowCollector(pyramid, q_step, by_pass, context, rng)
    _, samples = traverse(geometry, q_step, context, collector)
    bits = sum(_entropy_bits(symbols) for symbols in by_pass.values())
    weight = np.float32(1 / (0.05 + bits / sum(symbols.size for symbols in by_pass.values())))
    for rows in chain.from_iterable(collector.rows.values()):
        rows.weight[:] *= weight
    return {phase: Rows.join(several) for phase, several in collector.rows.items() if several}, samples


def _entropy_bits(symbols: Int32) -> float:
    """Estimates the bits of symbols from the entropy of their magnitudes and one bit per sign."""
    counts = np.bincount(np.minimum(np.abs(symbols), 30))
    part = counts[counts > 0] / symbols.size
    return float(symbols.size * -(part * np.log2(part)).sum() + np.count_nonzero(symbols))


def collect_rows(
    images: Iterable[Pixels],
    rng: np.random.Generator,
    context: ContextModel,
    iterate_first: bool,
    stem: Path,
    report: Callable[[int], None],
) -> None:
    """Writes the context rows of images, by phase, to files whose names start with `stem`.

    Args:
        images: The images, uint8 [H, W, 3].
        rng: The source of random numbers.
        context: The context model with which the symbols are optimised.
        iterate_first: See `optimized_symbols`.
        stem: The path of the files without `_<phase>_<field>.npy`.
        report: Called after each image with the number of images so far.
    """
    by_phase: dict[int, list[Rows]] = {phase: [] for phase in range(4)}
    for count, pixels in enumerate(images):
        for phase, rows in context_rows(pixels, random_step(rng), context, iterate_first, rng).items():
            by_phase[phase].append(rows)
        report(count + 1)
    for phase in range(4):
        Rows.join(by_phase.pop(phase)).save(Path(f"{stem}_{phase}"))


@dataclass(frozen=True)
class DecodedCells:
    """Image after the linear synthesis, and the original, as cells; see
    `codecs.wavelet.correction`.

    Args:
        decoded: The linear synthesis in units, float32 [12, h + 2 border, w + 2 border].
        original: The original in units, float32 [12, h, w].
        q_step: The step size in 1/64 code values.
    """

    decoded: Float32
    original: Float32
    q_step: int

    @classmethod
    def of(cls, samples: Int32, original: Float32, q_step: int, border: int) -> DecodedCells:
        """Creates the cells of an image with even sides.

        Args:
            samples: The linear synthesis in units, int32 [C, H, W].
            original: The original in units, float32 [C, H, W].
            q_step: The step size in 1/64 code values.
            border: The number of cells around the image in `decoded`.
        """
        complete = Samples.complete(samples)
        decoded = padded_cells(complete.around(complete.at, CELL * border).astype(np.float32))
        return cls(decoded, np.ascontiguousarray(cells_of(original, np)), q_step)

    @property
    def border(self) -> int:
        """Returns the number of cells around the image in `decoded`."""
        return int(self.decoded.shape[1] - self.original.shape[1]) // 2

    @property
    def mse(self) -> float:
        """Returns the MSE of the linear synthesis in squared units."""
        border = self.border
        return float(np.mean((self.decoded[:, border:-border, border:-border] - self.original) ** 2))


def decoded_cells(pixels: Pixels, q_step: int, bit_cost: float, context: ContextModel, border: int) -> DecodedCells:
    """Quantises an image and decodes it with the linear synthesis.

    Args:
        pixels: uint8 [H, W, 3].
        q_step: The step size in 1/64 code values.
        bit_cost: The cost of a bit in squared step sizes.
        context: The context model.
        border: The number of cells around the image in the result.
    """
    height, width = (side // 2 * 2 for side in pixels.shape[:2])
    planes = pixels_to_planes(pixels[:height, :width], ColourBasis())
    geometry = Geometry(height, width, CHANNELS, default_levels(height, width))
    pyramid = analyse(planes, geometry.levels)
    symbols = optimized_symbols(pyramid, geometry, q_step, bit_cost, context, iterate_first=True)
    _, samples = traverse(geometry, q_step, context, ChosenSymbols(round_low(pyramid, q_step), symbols, context))
    return DecodedCells.of(samples, planes * UNITS_PER_CODE_VALUE, q_step, border)
