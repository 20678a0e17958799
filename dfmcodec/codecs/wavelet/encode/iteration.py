"""Iterations of rate-distortion optimisation: q_step -> trial.

An iteration chooses all symbols by rate and distortion (`trellis_search`), codes them
(`codecs.wavelet.traversal`), and adds the outputs of correction network and image filter. The next
iteration subtracts these outputs from its target, and takes its tables from the symbols of this
iteration. Some iterations also fit the filter by least squares, and compute context-dependency
costs (`dependency_costs`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf, isqrt, log2
from threading import Lock

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Int32, Pixels, Tune, Units
from dfmcodec.codecs.wavelet.adaptation import ContextAdaptation
from dfmcodec.codecs.wavelet.colour import pixels_to_planes
from dfmcodec.codecs.wavelet.compact import in_one_block
from dfmcodec.codecs.wavelet.contents import QuantizedLatents, TileStream
from dfmcodec.codecs.wavelet.context import ContextModel
from dfmcodec.codecs.wavelet.encode.adaptation_fit import SymbolSample, fit_adaptation
from dfmcodec.codecs.wavelet.encode.dependency_costs import DependencyCosts
from dfmcodec.codecs.wavelet.encode.encoding import FINEST_WEIGHED, Change, Encoding
from dfmcodec.codecs.wavelet.encode.estimates import GuessedTables
from dfmcodec.codecs.wavelet.encode.filter_fit import fit_filter
from dfmcodec.codecs.wavelet.encode.sources import ChosenSymbols, ObservedSymbols
from dfmcodec.codecs.wavelet.encode.trellis_search import PathChooser, round_low
from dfmcodec.codecs.wavelet.encode.trial import Trial
from dfmcodec.codecs.wavelet.filter import MAX_RADIUS, ImageFilter
from dfmcodec.codecs.wavelet.geometry import Tile
from dfmcodec.codecs.wavelet.passes import CodingPass
from dfmcodec.codecs.wavelet.quantizer import Q_STEP_UNIT, log_step
from dfmcodec.codecs.wavelet.sections.adaptation import adaptation_bytes
from dfmcodec.codecs.wavelet.sections.filter import filter_bytes
from dfmcodec.codecs.wavelet.sections.latents import tile_checks
from dfmcodec.codecs.wavelet.synthesis import seen_from
from dfmcodec.codecs.wavelet.texture import packed_masks
from dfmcodec.codecs.wavelet.transform import UNITS_PER_CODE_VALUE, Pyramid, analyse
from dfmcodec.codecs.wavelet.traversal import traverse
from dfmcodec.image import Image
from dfmcodec.image.region import Region
from dfmcodec.kernels import return_memory
from dfmcodec.perception.distortion import CoefficientWeights, TargetShift
from dfmcodec.perception.ssimulacra2 import ALL_SCALES_SIDE, ssimulacra2, ssimulacra2_slopes
from dfmcodec.search.job import Encoded
from dfmcodec.threads import in_rounds

_DEPENDENCY_FRACTION = 0.3  # of the slopes, which are first-order only; the best measured value
_LEAST_SHIFTED = 0.5  # squared code values; smaller errors come from rounding and are invisible
_FILTER_PIXELS = 1 << 16  # the filter is fitted to the geometric mean of this number and that of the image's pixels
_LEAST_INT16, _LARGEST_INT16 = np.iinfo(np.int16).min, np.iinfo(np.int16).max
_TILES_BETWEEN_RETURNS = 4  # of a shift, to `return_memory`; it takes 0.4 % of the time
_FARTHEST_OCTAVES = 3  # octaves; the state at a step farther away is of no use


@dataclass(frozen=True)
class TileState:
    """The state of a tile before an iteration."""

    tile: Tile
    dependency_costs: DependencyCosts | None = None  # the context-dependency costs; None if unknown
    # the tables of the last iteration by coding pass, `packed`; empty before the first iteration
    tables: Mapping[CodingPass, npt.NDArray[np.int16]] = field(default_factory=dict)
    # the weights of the tile's coefficients; None before the first iteration, and if all are equal
    weights: CoefficientWeights | None = None
    shift: TargetShift | None = None  # the shift of the target coefficients; None for none


@dataclass(frozen=True)
class Reconstruction:
    """The image of an iteration."""

    samples: Units  # the linear synthesis, int16 or int32 [C, H, W], units
    change: Change  # the addition to the linear synthesis
    decoded: Pixels  # the pixels of the sum of both


@dataclass
class Iterations:
    """The iterations of an encoding, with the state between them.

    Only this object holds the state, and an iteration uses it up: it takes the tables and the
    context-dependency costs of a tile when it codes the tile, and the buffer of `change` for the
    linear synthesis of a large image. So after an exception, these parts are unknown, as before the
    first iteration.
    """

    encoding: Encoding  # with an effort that may change between iterations
    number: int = 0  # of completed iterations
    adaptation: ContextAdaptation | None = None  # the adaptation of the context networks; None for none
    image_filter: ImageFilter | None = None  # the last fitted image filter; None for none
    # whether fits of filter and adaptation are disabled, because an earlier fit gave NaN or
    # infinite values
    is_plain: bool = False
    tiles: list[TileState] = field(init=False)  # the state of each tile
    q_step: int = field(default=1, init=False)  # the step that the tables of the tiles belong to
    # the outputs of filter and correction network, which symbols need not represent; None if
    # unknown or not used
    change: Change | None = field(default=None, init=False)
    # the image of the last iteration, if the target of the next one is to be shifted by it
    reconstruction: Reconstruction | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.tiles = list(map(TileState, self.encoding.tiling.tiles))

    def iterate(
        self,
        q_step: int,
        largest_bytes: float = inf,
        check: Callable[[], None] = lambda: None,
        on_tiles: Callable[[int], None] = lambda done: None,
    ) -> Trial:
        """Performs one iteration at a q_step in 1/64 code values.

        A file beyond `largest_bytes` is not finished if no further iteration would learn from it:
        it has no filter, and its squared error is unknown. `check` is called often; its exceptions
        end the iteration. `on_tiles` is called with the number of coded tiles. Raises
        FloatingPointError if a fit gave NaN or infinite values.
        """
        self._shift()
        encoding, number, effort = self.encoding, self.number + 1, self.encoding.effort
        coding = _Coding(encoding, number, q_step, encoding.context(self.adaptation), self.q_step, check)
        coded, samples = self._code_tiles(coding, on_tiles)
        model = _model_of(encoding, q_step, self.adaptation, coded.streams)
        file_bytes = encoding.fixed_bytes + coded.bits / 8
        if self.adaptation is not None:
            file_bytes += encoding.section_bytes + adaptation_bytes(self.adaptation)
        if encoding.is_large:
            return_memory()
        if not effort.is_iterated and (written_bytes := encoding.written_bytes(model)) > largest_bytes:
            self.number, self.tiles, self.q_step = number, list(coded.tiles), q_step
            return Trial(number, model, file_bytes, written_bytes, inf)

        check()
        change = encoding.correction_residual(samples, q_step) if effort.is_iterated else None
        check()
        image_filter = self._next_filter(coding, samples, change)
        if image_filter is not None:
            model = replace(model, image_filter=image_filter)
            file_bytes += encoding.section_bytes + filter_bytes(image_filter)
        if change is None:
            squared_error, decoded = encoding.decoded(samples, q_step, image_filter)
        else:
            squared_error, decoded = encoding.add_filter(samples, q_step, change, image_filter)
        encoded = None
        if len(self.tiles) > 1:  # a decoder would take longer to compute it again
            is_exact = (change is None or encoding.is_exact) and encoding.image.visible is None
            encoded = _encoded(encoding, samples, decoded if is_exact else None)
        reconstruction, is_visual = None, encoding.tune is Tune.VISUAL
        if change is not None and is_visual and number <= effort.shifts and squared_error > _LEAST_SHIFTED:
            reconstruction = Reconstruction(samples, change, decoded)
        del samples  # they take much memory
        score = _score(encoding.image, decoded) if is_visual else None
        if coded.sample is not None:
            self.adaptation = fit_adaptation(coded.sample, self.adaptation, effort.adaptation_steps, check)
        self.number, self.tiles, self.q_step = number, list(coded.tiles), q_step
        self.change, self.image_filter, self.reconstruction = change, image_filter, reconstruction
        return Trial(number, model, file_bytes, encoding.written_bytes(model), squared_error, score, encoded)

    def _next_filter(self, coding: _Coding, samples: Units, change: Change | None) -> ImageFilter | None:
        """Returns the image filter, fitted to the residual of the correction network unless this
        iteration keeps the last one.
        """
        encoding, q_step, effort = self.encoding, coding.q_step, self.encoding.effort
        has_to_learn = coding.number > 1 and effort.learns_in(coding.number)
        is_fitted = self.image_filter is None or has_to_learn or coding.number >= effort.iterations
        if self.is_plain or not is_fitted:
            return self.image_filter
        unit_cost = encoding.bit_cost(q_step) * (q_step * UNITS_PER_CODE_VALUE / Q_STEP_UNIT) ** 2
        residual = partial(encoding.residual, samples, q_step, change)
        stride = max(1, isqrt(samples[0].size // _FILTER_PIXELS))
        return fit_filter(samples, residual, unit_cost, effort.filter_radius, stride)

    def _shift(self) -> None:
        """Shifts the targets of the tiles by the image of the last iteration, and releases this
        image: the next iteration needs its memory.
        """
        image, self.reconstruction = self.reconstruction, None
        if image is None:
            return
        is_large = self.encoding.is_large

        def shift(number: int) -> None:
            self.tiles[number] = _shifted(self.encoding, self.tiles[number], image)

        def end_round(done: int) -> None:
            if is_large and done % _TILES_BETWEEN_RETURNS == 0:
                return_memory()

        if is_large:
            return_memory()
        in_rounds(shift, range(len(self.tiles)), end_round)

    def _code_tiles(self, coding: _Coding, on_tiles: Callable[[int], None]) -> tuple[_Coded, Units]:
        """Chooses and codes the symbols of all tiles in parallel. Returns the symbols, and their
        linear synthesis, int16 [C, H, W], units; int32 if it exceeds the range of 16 bits.
        """
        encoding, (change, self.change) = coding.encoding, (self.change, None)
        image = encoding.image
        # A tile reads its part of the change before its synthesis replaces this part.
        samples: Units = Change.buffer_of(change, (encoding.tiling.channels, image.height, image.width))
        beyond: dict[Tile, Int32] = {}  # the synthesis of tiles that exceed 16 bits
        is_sampled = coding.number in encoding.effort.adapted_after and not self.is_plain
        lock, used = Lock(), change if coding.is_near else None

        def checked() -> None:
            with lock:
                coding.check()

        locked = replace(coding, check=checked)

        def code(number: int) -> _Coded:
            tile, sample = encoding.tiling.tiles[number], None
            if is_sampled:
                sample = SymbolSample(encoding.weights.context, encoding.tiling, log_step(coding.q_step), seed=number)
            coded, tile_samples = _code_tile(locked, self._take_tile(number), used, sample)
            if _LEAST_INT16 <= tile_samples.min() and tile_samples.max() <= _LARGEST_INT16:
                samples[:, tile.rows, tile.columns] = tile_samples
            else:
                beyond[tile] = tile_samples
            return coded

        coded = _Coded.join(in_rounds(code, range(len(self.tiles)), on_tiles))
        if beyond:
            samples = samples.astype(np.int32)
            for tile, tile_samples in beyond.items():
                samples[:, tile.rows, tile.columns] = tile_samples
        return coded, samples

    def _take_tile(self, number: int) -> TileState:
        """Returns the state of a tile, of which only the small parts stay in this object."""
        tile = self.tiles[number]
        self.tiles[number] = replace(tile, dependency_costs=None, tables={})
        return tile


def _model_of(
    encoding: Encoding, q_step: int, adaptation: ContextAdaptation | None, streams: tuple[TileStream, ...]
) -> QuantizedLatents:
    """Returns the model of coded tiles, without an image filter."""
    image = encoding.image
    return QuantizedLatents(
        encoding.architecture,
        image.height,
        image.width,
        q_step,
        encoding.basis.chroma_angle,
        (),
        None,
        adaptation=adaptation,
        bit_depth=image.bit_depth,
        streams=streams,
    )


def _encoded(encoding: Encoding, samples: Units, pixels: Pixels | None) -> Encoded:
    """Returns the decoded image. If pixels are known, its samples are limited to the region that is
    compared.
    """
    height, width = samples.shape[1:]
    complete = Region(0, 0, height, width)
    if pixels is None:
        return Encoded(samples, complete, None)
    tile, _ = encoding.tiling.covering(complete.middle)
    region = seen_from(tile, height, width, encoding.weights.correction.reach, MAX_RADIUS)
    return Encoded(samples[:, region.rows, region.columns].copy(), region, pixels)


def _score(image: Image, decoded: Pixels) -> float | None:
    """Returns the SSIMULACRA2 of a decoded image. Its invisible pixels become those of the
    original.
    """
    score = ssimulacra2(image.samples, decoded if image.alpha is None else np.dstack([decoded, image.alpha]))
    if image.visible is not None:
        decoded[~image.visible] = image.pixels[~image.visible]
    return score


def _shifted(encoding: Encoding, state: TileState, image: Reconstruction) -> TileState:
    """Returns the state of a tile after an iteration, with the shift for the next one."""
    tile = state.tile
    original, decoded = (pixels[tile.rows, tile.columns] for pixels in (encoding.image.pixels, image.decoded))
    if state.weights is None or min(original.shape[:2]) < ALL_SCALES_SIDE:
        return state
    slopes = ssimulacra2_slopes(original, decoded)
    if len(slopes) > 1:
        slopes = np.tensordot(encoding.basis.axes, slopes, 1)
    visible = encoding.image.visible
    if visible is not None:
        slopes *= visible[tile.rows, tile.columns]
    slope_pyramid = analyse(slopes, encoding.tiling.levels)
    del slopes  # it takes much memory for a large tile
    planes = pixels_to_planes(original, encoding.basis)
    errors = image.change.part(tile.rows, tile.columns)
    errors += image.samples[:, tile.rows, tile.columns]
    errors /= np.float32(UNITS_PER_CODE_VALUE)
    errors -= planes
    del planes
    if visible is not None:
        errors *= visible[tile.rows, tile.columns]
    error_pyramid = analyse(errors, encoding.tiling.levels)
    del errors
    fraction = encoding.effort.shift_fraction
    return replace(state, shift=TargetShift.after(state.shift, error_pyramid, slope_pyramid, state.weights, fraction))


@dataclass(frozen=True)
class _Coded:
    """The coded symbols of one or all tiles at a q_step."""

    streams: tuple[TileStream, ...]
    bits: float  # the bits of the symbols under the context model
    tiles: tuple[TileState, ...]  # the state of the tiles for the next iteration
    sample: SymbolSample | None

    @classmethod
    def join(cls, parts: Sequence[_Coded]) -> _Coded:
        """Joins the symbols of all tiles."""
        sample, *others = (part.sample for part in parts)
        for other in others:
            if sample is not None and other is not None:
                sample.extend(other)
        streams = tuple(stream for part in parts for stream in part.streams)
        tiles = tuple(tile for part in parts for tile in part.tiles)
        return cls(streams, sum(part.bits for part in parts), tiles, sample)


@dataclass(frozen=True)
class _Coding:
    """The parameters that all tiles share in an iteration."""

    encoding: Encoding
    number: int  # the number of the iteration, from 1
    q_step: int  # the quantisation step in 1/64 code values
    context: ContextModel  # the adapted context model
    known_q_step: int  # the step that the tables of the tiles belong to
    check: Callable[[], None]  # called often

    @property
    def octaves(self) -> float:
        """The distance from the current step to the known step in octaves; positive if the known
        step is coarser.
        """
        return log2(self.known_q_step / self.q_step)

    @property
    def is_near(self) -> bool:
        """Indicates whether results at the known step are of use."""
        return abs(self.octaves) <= _FARTHEST_OCTAVES


def _code_tile(
    coding: _Coding, tile_state: TileState, change: Change | None, sample: SymbolSample | None
) -> tuple[_Coded, Int32]:
    """Chooses and codes the symbols of a tile. Returns the symbols, and their linear synthesis,
    int32 [C, h, w], units.
    """
    encoding, q_step = coding.encoding, coding.q_step
    pyramid = encoding.pyramid(tile_state.tile, change)
    if tile_state.weights is None:  # in the first iteration, the pyramid is that of the original
        tile_state = replace(tile_state, weights=encoding.coefficient_weights(tile_state.tile, pyramid))
    if tile_state.shift is not None and coding.is_near and q_step >= FINEST_WEIGHED:
        pyramid = tile_state.shift.added_to(pyramid)
    source = _source(coding, tile_state, pyramid, sample)
    del pyramid  # it takes much memory for a large tile
    if isinstance(source, ObservedSymbols):
        tile_state = replace(tile_state, dependency_costs=None)
    observe = source.observe if isinstance(source, ObservedSymbols) else None
    geometry = tile_state.tile.geometry
    symbols, samples = traverse(geometry, q_step, coding.context, source, known=source.chosen, observe=observe)
    packed = {}
    if encoding.effort.is_iterated or len(encoding.tiling.tiles) == 1:  # of a large image they would need much memory
        packed = in_one_block({coding_pass: choice.packed for coding_pass, choice in source.choice.items()})
    tile_state = replace(tile_state, tables=packed)
    if isinstance(source, ObservedSymbols):
        costs = source.observed.scaled(_DEPENDENCY_FRACTION, encoding.is_large)
        tile_state = replace(tile_state, dependency_costs=costs)
    nonzero = packed_masks(symbols, geometry) if encoding.tune is Tune.VISUAL else None
    stream = TileStream(source.writer.to_bytes(), checks=tile_checks(symbols, geometry), nonzero=nonzero)
    return _Coded((stream,), source.bits, (tile_state,), sample), samples


def _source(coding: _Coding, tile_state: TileState, pyramid: Pyramid, sample: SymbolSample | None) -> ChosenSymbols:
    """Returns the source of a tile's symbols, chosen by rate and distortion."""
    encoding, context, q_step, check = coding.encoding, coding.context, coding.q_step, coding.check
    geometry, effort, guessed = tile_state.tile.geometry, encoding.effort, GuessedTables(pyramid, q_step)

    def tables(coding_pass: CodingPass) -> npt.NDArray[np.int16]:
        """Returns the tables of the last iteration; guessed tables before the first iteration."""
        check()
        if not tile_state.tables:
            return guessed(coding_pass).packed
        return tile_state.tables[coding_pass]

    weights = tile_state.weights if q_step >= FINEST_WEIGHED else None
    costs = tile_state.dependency_costs
    rescaled = context.rescaled(coding.octaves) if tile_state.tables else None
    bit_cost = encoding.bit_cost(q_step)
    chooser = PathChooser(pyramid, geometry, q_step, bit_cost, context, tables, costs, weights, rescaled)
    low, symbols = round_low(pyramid, q_step), chooser.symbols()
    is_unknown = bool(effort.learns_after) and costs is None
    if is_unknown or effort.learns_in(coding.number):
        return ObservedSymbols(low, symbols, context, geometry, q_step, sample, check)
    return ChosenSymbols(low, symbols, context, check)
