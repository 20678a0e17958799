"""The constants of an encoding: image, tiles, pretrained weights, and the parts of the codec that
are used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

from dfmcodec import container
from dfmcodec._types import Float32, Pixels, Tune, Units
from dfmcodec.codecs.wavelet.adaptation import ContextAdaptation
from dfmcodec.codecs.wavelet.colour import ColourBasis, pixels_to_planes, planes_to_pixels
from dfmcodec.codecs.wavelet.contents import QuantizedLatents, WaveletArchitecture
from dfmcodec.codecs.wavelet.context import ContextModel
from dfmcodec.codecs.wavelet.encode.efforts import QUICK, Effort
from dfmcodec.codecs.wavelet.filter import ImageFilter, filter_residual
from dfmcodec.codecs.wavelet.geometry import Tile, Tiling
from dfmcodec.codecs.wavelet.quantizer import Q_STEP_UNIT
from dfmcodec.codecs.wavelet.sections.latents import wavelet_file_bytes
from dfmcodec.codecs.wavelet.synthesis import Samples, blocks, corrected_block, correction_residual
from dfmcodec.codecs.wavelet.transform import UNITS_PER_CODE_VALUE, Pyramid, analyse
from dfmcodec.codecs.wavelet.weights import WaveletWeights, shipped
from dfmcodec.container.checks import CHECK_BYTES
from dfmcodec.image import Image, values_per_code_value
from dfmcodec.image.region import Region
from dfmcodec.perception import mse
from dfmcodec.perception.distortion import CoefficientWeights, basis_of
from dfmcodec.search.quality import BIT_COST, VISUAL_BIT_COST
from dfmcodec.threads import in_threads

_VALUES = "the values of the correction network"
_PER_UNIT = np.float32(2)  # 16-bit steps per unit
_LIMITS = np.iinfo(np.int16).min, np.iinfo(np.int16).max
FINEST_WEIGHED = Q_STEP_UNIT  # below it errors are invisible, and files become exact
_MANY_PIXELS = 16 << 20  # beyond, the state between iterations is stored in fewer bits


class Change:
    """The sum of the outputs of correction network and image filter, which is added to the linear
    synthesis, [C, H, W]. That of a large image is stored in half units as int16, because float32
    would take much memory.
    """

    def __init__(self, shape: tuple[int, ...], is_large: bool) -> None:
        self._values: npt.NDArray[Any] = np.zeros(shape, dtype=np.int16 if is_large else np.float32)

    def put(self, values: Float32, rows: slice, columns: slice = slice(None)) -> None:
        """Sets a part, in units. Values beyond the range of 16 bits are clipped."""
        if self._values.dtype == np.int16:
            values = np.rint(values * _PER_UNIT)
            np.clip(values, *_LIMITS, out=values)
        self._values[:, rows, columns] = values

    @staticmethod
    def buffer_of(change: Change | None, shape: tuple[int, ...]) -> npt.NDArray[np.int16]:
        """Returns an int16 buffer of a shape: for a change of 16 bits, its own buffer, which the
        caller may overwrite; otherwise a new one.
        """
        if change is not None and change._values.dtype == np.int16:
            return change._values
        return np.empty(shape, dtype=np.int16)

    def part(self, rows: slice, columns: slice = slice(None)) -> Float32:
        """Returns a copy of a part, float32 [C, rows, columns], units."""
        values = self._values[:, rows, columns].astype(np.float32)
        if self._values.dtype == np.int16:
            values /= _PER_UNIT
        return values


@dataclass(frozen=True)
class Encoding:
    """The constants of an encoding."""

    image: Image  # the image to encode
    effort: Effort  # the amount of work
    basis: ColourBasis  # the luma of the tune, and the chroma axes of the image
    tiling: Tiling  # the tiling of the image
    check_bytes: int  # bytes of the check of a section; 0 if the file has no checks
    tune: Tune = Tune.PSNR  # the metric to optimise
    weights: WaveletWeights = field(default_factory=shipped)  # the pretrained weights
    # whether the target is a least quality. Then the 16-bit data of a large image is not exact
    # enough
    has_floor: bool = False

    @classmethod
    def of(
        cls,
        image: Image,
        effort: Effort,
        has_checks: bool = False,
        tune: Tune = Tune.PSNR,
        weights: WaveletWeights | None = None,
        has_floor: bool = False,
    ) -> Encoding:
        """Returns the encoding of an image, with the shipped weights if no others are given."""
        tiling = Tiling.default(image.height, image.width, image.channels)
        check_bytes = CHECK_BYTES if has_checks else 0
        basis = basis_of(image.pixels, tune)
        return cls(image, effort, basis, tiling, check_bytes, tune, weights or shipped(), has_floor)

    @property
    def is_quick(self) -> bool:
        """Indicates whether the effort is the quickest one, with which an interrupted encoding
        continues.
        """
        return self.effort == QUICK

    def quick(self) -> Encoding:
        """Returns the same encoding with the quickest effort."""
        return replace(self, effort=QUICK)

    def bit_cost(self, q_step: int) -> float:
        """Returns the cost of a bit in squared steps."""
        return VISUAL_BIT_COST if self.tune is Tune.VISUAL and q_step >= FINEST_WEIGHED else BIT_COST

    @property
    def fixed_bytes(self) -> int:
        """The file size without range-coded streams, filter and adaptation."""
        return wavelet_file_bytes(self.tiling)

    @property
    def section_bytes(self) -> float:
        """The bytes that an optional section adds to the file, without its body."""
        return container.section_file_bytes(self.check_bytes)

    def written_bytes(self, model: QuantizedLatents) -> int:
        """Returns the size of a model's file without ancillary data."""
        further = (model.image_filter is not None) + (model.adaptation is not None)
        return len(container.write(model, checked=False)) + further * self.check_bytes

    @property
    def architecture(self) -> WaveletArchitecture:
        """The architecture in the file's header."""
        correction, tiling = self.weights.correction, self.tiling
        network = correction.depth, correction.width, self.basis.luma, self.weights.checksum
        return WaveletArchitecture(self.image.channels, tiling.levels, *network, tiling.tile_rows, tiling.tile_columns)

    def context(self, adaptation: ContextAdaptation | None) -> ContextModel:
        """Returns the pretrained context model, adapted."""
        context = self.weights.context
        return context if adaptation is None else adaptation.applied(context, self.tiling.tiles[0].geometry)

    def pyramid(self, tile: Tile, change: Change | None = None) -> Pyramid:
        """Returns the pyramid of a tile. The tile's part of `change`, the addition to the linear
        synthesis of the image, is subtracted first; see `correction_residual`.
        """
        planes = self._planes(tile)
        if change is not None:
            planes -= change.part(tile.rows, tile.columns) / np.float32(UNITS_PER_CODE_VALUE)
        return analyse(planes, self.tiling.levels)

    def coefficient_weights(self, tile: Tile, original: Pyramid) -> CoefficientWeights | None:
        """Returns the weights of the squared errors of a tile's coefficients for its original
        pyramid; None if all are equal.
        """
        if self.tune is Tune.PSNR:
            return None
        return CoefficientWeights.of(original, self._planes(tile), self.basis)

    def _planes(self, tile: Tile) -> Float32:
        return pixels_to_planes(self.image.pixels[tile.rows, tile.columns], self.basis)

    def residual(self, samples: Units, q_step: int, change: Change | None, region: Region) -> Float32:
        """Returns the difference between the original and the corrected synthesis in a region,
        float32 [C, h, w], units. `samples` are the linear synthesis, int16 or int32 [C, H, W].
        `change` is the output of the correction network; None to evaluate the network.
        """
        part = region.rows, region.columns
        planes = pixels_to_planes(self.image.pixels[part], self.basis)
        planes *= np.float32(UNITS_PER_CODE_VALUE)
        planes -= samples[:, *part].astype(np.float32)
        if change is not None:
            return planes - change.part(*part)
        return planes - correction_residual(Samples.complete(samples), region, q_step, self.weights.correction)

    @property
    def is_large(self) -> bool:
        """Indicates whether state between iterations is stored in fewer bits."""
        return self.image.pixel_count > _MANY_PIXELS

    @property
    def is_exact(self) -> bool:
        """Indicates whether `add_filter` gives exactly the pixels of a decoder."""
        return not self.is_large or self.has_floor

    def correction_residual(self, samples: Units, q_step: int) -> Change:
        """Returns the output of the correction network for the linear synthesis, int16 or int32 [C,
        H, W]. Raises FloatingPointError if a value is NaN or infinite.
        """
        change = Change(samples.shape, self.is_large)
        correction = self.weights.correction
        complete = Samples.complete(samples)

        def change_block(block: Region) -> None:
            values = correction_residual(complete, block, q_step, correction)
            if not isfinite(values.sum(dtype=np.float64)):
                raise FloatingPointError(_VALUES)
            change.put(values, block.rows, block.columns)

        in_threads(change_block, blocks(complete.at, complete.height, complete.width))
        return change

    def decoded(self, samples: Units, q_step: int, image_filter: ImageFilter | None) -> tuple[float, Pixels]:
        """Converts linear synthesis, int16 or int32 [C, H, W], to pixels exactly like a decoder.
        Returns the mean squared error of the image, in squared code values of 8 bits, and the
        image. Raises FloatingPointError if a value is NaN or infinite.
        """
        complete, correction = Samples.complete(samples), self.weights.correction

        def planes_of(block: Region) -> Float32:
            planes = corrected_block(complete, block, q_step, correction, image_filter)
            if not isfinite(planes.sum(dtype=np.float64)):
                raise FloatingPointError(_VALUES)
            return planes

        return self._image_of(complete, planes_of)

    def add_filter(
        self, samples: Units, q_step: int, change: Change, image_filter: ImageFilter | None
    ) -> tuple[float, Pixels]:
        """Adds the filter to a change in place, and converts the sum with the linear synthesis,
        int16 or int32 [C, H, W], to pixels. The result is that of `decoded`, if `is_exact`.
        """
        complete, correction = Samples.complete(samples), self.weights.correction

        def exact_planes(block: Region) -> Float32:
            part = block.rows, block.columns
            planes = corrected_block(complete, block, q_step, correction, image_filter)
            change.put(planes - complete.around(block, 0), *part)
            return planes

        def planes_of(block: Region) -> Float32:
            part = block.rows, block.columns
            planes = change.part(*part)
            sums: Float32 = samples[:, *part].astype(np.float32) + planes
            if image_filter is not None:
                filtered = filter_residual(complete.around(block, image_filter.radius), image_filter)
                change.put(planes + filtered, *part)
                sums += filtered
            return sums

        return self._image_of(complete, exact_planes if self.is_large and self.has_floor else planes_of)

    def _image_of(self, complete: Samples, planes_of: Callable[[Region], Float32]) -> tuple[float, Pixels]:
        """Returns the image of planes, and its mean squared error; see `decoded`."""
        image = self.image
        decoded = np.empty_like(image.pixels)

        def squared_error(block: Region) -> tuple[float, int]:
            """Returns the sum over the visible samples, and their number."""
            part = block.rows, block.columns
            pixels = planes_to_pixels(planes_of(block).transpose(1, 2, 0), self.basis, image.bit_depth)
            decoded[part] = pixels
            visible = None if image.visible is None else image.visible[part]
            count = pixels.size if visible is None else int(visible.sum()) * pixels.shape[2]
            return mse(image.pixels[part], pixels, visible) * count, count

        errors = in_threads(squared_error, blocks(complete.at, complete.height, complete.width))
        mean = sum(total for total, _ in errors) / max(1, sum(count for _, count in errors))
        return mean / values_per_code_value(image.bit_depth) ** 2, decoded
