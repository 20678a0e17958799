"""What stays the same during one encoding: the image, its tiles, the prior, and which parts of the
codec are used.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import isfinite

import numpy as np

from dfmcodec import bitstream
from dfmcodec._types import Float32, Floats, Int32, Pixels, Tune
from dfmcodec.bitstream.contents import LatentArchitecture, QuantizedLatents
from dfmcodec.bitstream.sections.checks import CHECK_BYTES
from dfmcodec.encoder.latent.efforts import EFFORT_LEVELS, QUICK, Effort
from dfmcodec.entropy.adaptation import ContextAdaptation
from dfmcodec.entropy.context import ContextModel
from dfmcodec.image import Image, values_per_level
from dfmcodec.latents.colour import ColourBasis, Luma, pixels_to_planes, planes_to_pixels, principal_chroma_angle
from dfmcodec.latents.geometry import CHANNELS, Region, Tile, Tiling
from dfmcodec.latents.wavelet import UNITS_PER_LEVEL, Pyramid, analyse
from dfmcodec.metrics import mse
from dfmcodec.prior import Prior, shipped
from dfmcodec.synthesis.filter import ImageFilter, filter_change
from dfmcodec.synthesis.reconstruct import Samples, blocks, machine_change
from dfmcodec.threads import in_threads

_HALF = np.float16


@dataclass(frozen=True)
class Encoding:
    """The constants of an encoding.

    Args:
        image: What is encoded.
        effort: How much work it may be.
        basis: The luma of the tune, and chroma axes that follow the image.
        tiling: How the image is cut.
        check_bytes: Bytes of the check of a section; 0 where the file gets none.
        tune: How errors are weighed.
        prior: Context networks, tables and machine.
    """

    image: Image
    effort: Effort
    basis: ColourBasis
    tiling: Tiling
    check_bytes: int
    tune: Tune = Tune.PSNR
    prior: Prior = field(default_factory=shipped)

    @classmethod
    def of(
        cls,
        image: Image,
        effort: Effort,
        has_checks: bool = False,
        tune: Tune = Tune.PSNR,
        prior: Prior | None = None,
    ) -> Encoding:
        """The encoding of an image.

        Args:
            image: What is encoded.
            effort: How much work it may be.
            has_checks: Whether its file gets checks.
            tune: How errors are weighed.
            prior: Context networks, tables and machine; None for the shipped ones.
        """
        tiling = Tiling.default(image.height, image.width, image.channels)
        if len(tiling.tiles) > 1 and effort == EFFORT_LEVELS[1]:
            effort = QUICK
        luma = Luma.REC_601 if tune is Tune.VISUAL and image.channels == CHANNELS else Luma.MEAN
        basis = ColourBasis(principal_chroma_angle(image.pixels, luma), luma)
        return cls(image, effort, basis, tiling, CHECK_BYTES if has_checks else 0, tune, prior or shipped())

    @property
    def is_quick(self) -> bool:
        """Whether an interrupted encoding goes on with this effort."""
        return self.effort == QUICK

    def quick(self) -> Encoding:
        """The same encoding as quickly as it can be."""
        return replace(self, effort=QUICK)

    @property
    def fixed_bytes(self) -> int:
        """Bytes of the file without range-coded streams, filter and adaptation."""
        return bitstream.latent_file_bytes(self.tiling)

    @property
    def section_bytes(self) -> float:
        """Bytes that a further section adds to the file, without its body."""
        return bitstream.section_file_bytes(self.check_bytes)

    def written_bytes(self, model: QuantizedLatents) -> int:
        """The size of a model's file without ancillary data."""
        further = (model.image_filter is not None) + (model.adaptation is not None)
        return len(bitstream.write(model, checked=False)) + further * self.check_bytes

    @property
    def architecture(self) -> LatentArchitecture:
        """What the file's header says of the model."""
        machine, tiling = self.prior.machine, self.tiling
        network = machine.depth, machine.width, self.basis.luma, self.prior.checksum
        return LatentArchitecture(self.image.channels, tiling.levels, *network, tiling.tile_rows, tiling.tile_columns)

    def context(self, adaptation: ContextAdaptation | None) -> ContextModel:
        """The prior's context model, adapted."""
        context = self.prior.context
        return context if adaptation is None else adaptation.applied(context, self.tiling.tiles[0].geometry)

    def pyramid(self, tile: Tile, change: Floats | None = None) -> Pyramid:
        """The pyramid of a tile.

        Args:
            tile: The tile.
            change: What is added to the synthesis of the image; see `machine_change`. Its part in
                the tile is subtracted first. None for nothing.
        """
        planes = pixels_to_planes(self.image.pixels[tile.rows, tile.columns], self.basis)
        if change is not None:
            planes -= change[:, tile.rows, tile.columns].astype(np.float32) / np.float32(UNITS_PER_LEVEL)
        return analyse(planes, self.tiling.levels)

    def residual(self, samples: Int32, change: Floats, rows: slice) -> Float32:
        """What linear synthesis and change leave to do in some rows of the image, float32 [C, rows,
        W], units.
        """
        planes = pixels_to_planes(self.image.pixels[rows], self.basis)
        planes *= np.float32(UNITS_PER_LEVEL)
        return planes - change[:, rows].astype(np.float32) - samples[:, rows].astype(np.float32)

    @property
    def _is_large(self) -> bool:
        return len(self.tiling.tiles) > 1

    def machine_change(self, samples: Int32, q_step: int) -> Floats:
        """What the machine adds to the linear synthesis int32 [C, H, W]: float32 [C, H, W], units;
        float16 for an image of several tiles, which would take much memory.

        Raises:
            FloatingPointError: A value is NaN or infinite.
        """
        change = np.zeros(samples.shape, dtype=_HALF if self._is_large else np.float32)
        machine = self.prior.machine
        whole = Samples.whole(samples)

        def change_block(block: Region) -> None:
            values = machine_change(whole, block, q_step, machine)
            if not isfinite(values.sum(dtype=np.float64)):
                msg = "the machine's values"
                raise FloatingPointError(msg)
            _put(values, change[:, block.rows, block.columns])

        in_threads(change_block, blocks(whole.at, whole.height, whole.width))
        return change

    def with_filter(
        self, samples: Int32, q_step: int, change: Floats, image_filter: ImageFilter | None
    ) -> tuple[float, Pixels | None]:
        """Adds the filter to the change that the machine makes with a q_step, in place.

        Returns:
            The mean squared error of the image that comes out, squared code values of 8 bits; and
            for the tune `visual` the image, None otherwise.
        """
        decoded = np.empty_like(self.image.pixels) if self.tune is Tune.VISUAL else None
        image, machine = self.image, self.prior.machine
        whole = Samples.whole(samples)

        def squared_error(block: Region) -> tuple[float, int]:
            """The sum over the samples that count, and their number."""
            part = block.rows, block.columns
            if self._is_large:  # half precision does not show whether a target is met
                planes = machine_change(whole, block, q_step, machine)
            else:
                planes = change[:, *part].astype(np.float32)
            if image_filter is not None:
                planes += filter_change(whole.around(block, image_filter.radius), image_filter)
            _put(planes, change[:, *part])
            planes = samples[:, *part].astype(np.float32) + planes
            pixels = planes_to_pixels(planes.transpose(1, 2, 0), self.basis, image.bit_depth)
            if decoded is not None:
                decoded[part] = pixels
            visible = None if image.visible is None else image.visible[part]
            count = pixels.size if visible is None else int(visible.sum()) * pixels.shape[2]
            return mse(image.pixels[part], pixels, visible) * count, count

        errors = in_threads(squared_error, blocks(whole.at, whole.height, whole.width))
        mean = sum(total for total, _ in errors) / max(1, sum(count for _, count in errors))
        return mean / values_per_level(image.bit_depth) ** 2, decoded


def _put(values: Float32, change: Floats) -> None:
    """Puts values into a part of a change; half precision takes the largest that it has for larger
    ones.
    """
    largest = np.finfo(_HALF).max
    change[:] = np.clip(values, -largest, largest) if change.dtype == _HALF else values
