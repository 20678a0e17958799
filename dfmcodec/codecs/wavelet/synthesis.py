"""Linear synthesis -> pixels: correction network and image filter block by block, then the colour
transform.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dfmcodec._types import Float32, Int32, Pixels, Units
from dfmcodec.codecs.wavelet.colour import ColourBasis, planes_to_pixels
from dfmcodec.codecs.wavelet.correction import (
    CELL,
    RESIDUAL_BITS,
    CorrectionNetwork,
    cell_features,
    correction_outputs,
    padded_cells,
)
from dfmcodec.codecs.wavelet.filter import ImageFilter, filter_residual
from dfmcodec.codecs.wavelet.quantizer import log_step
from dfmcodec.codecs.wavelet.texture import add_noise
from dfmcodec.image.region import CHANNELS, Region
from dfmcodec.kernels import by_kernels, compiled
from dfmcodec.threads import in_threads

BLOCK_SIDE = 240  # in pixels: the network's kernel takes 64 cells at a time, up to 4 of them around the block


@dataclass(frozen=True)
class Samples:
    """The linear synthesis of a region of an image."""

    values: Units  # int16 or int32 [C, H', W'], units
    at: Region
    height: int  # the height of the image in pixels
    width: int  # the width of the image in pixels

    @classmethod
    def complete(cls, values: Units) -> Samples:
        """Returns the samples of a complete image."""
        _, height, width = values.shape
        return cls(values, Region(0, 0, height, width), height, width)

    def around(self, block: Region, margin: int) -> Int32:
        """Returns the samples of a block with a margin on all sides, int32 [C, h, w], units.

        Edge samples are repeated beyond the image.
        """
        grown = block.grown(margin, self.height, self.width)
        within = grown.relative_to(self.at)
        missing = (
            (0, 0),
            (margin - block.top + grown.top, margin - grown.bottom + block.bottom),
            (margin - block.left + grown.left, margin - grown.right + block.right),
        )
        values = self.values[:, within.rows, within.columns].astype(np.int32, copy=False)
        return np.pad(values, missing, mode="edge") if any(map(any, missing)) else values


def blocks(region: Region, height: int, width: int) -> Iterator[Region]:
    """Yields the complete blocks of an image that a region touches.

    They lie on a grid of BLOCK_SIDE pixels. So a region is computed with exactly the operations of
    the complete image, and the arrays stay in the processor's cache.
    """
    for top in range(region.top // BLOCK_SIDE * BLOCK_SIDE, region.bottom, BLOCK_SIDE):
        for left in range(region.left // BLOCK_SIDE * BLOCK_SIDE, region.right, BLOCK_SIDE):
            yield Region(top, left, min(top + BLOCK_SIDE, height), min(left + BLOCK_SIDE, width))


def seen_from(region: Region, height: int, width: int, reach: int, filter_radius: int) -> Region:
    """Returns the region of samples that the pixels of a region depend on, in an image of a height
    and width in pixels. `reach` is the receptive field of the correction network in cells.

    It consists of the blocks that the region touches, and the surroundings that these depend on.
    """
    top, left = (side // BLOCK_SIDE * BLOCK_SIDE for side in (region.top, region.left))
    bottom, right = (-(-side // BLOCK_SIDE) * BLOCK_SIDE for side in (region.bottom, region.right))
    complete = Region(top, left, min(bottom, height), min(right, width))
    return complete.grown(max(CELL * reach, filter_radius), height, width)


def _correction_residual_by_kernel(
    samples: Samples, block: Region, q_step: int, correction: CorrectionNetwork
) -> Float32:
    around = np.ascontiguousarray(samples.around(block, CELL * correction.reach))
    channels, height, width = around.shape
    residual = np.empty((channels, block.height, block.width), dtype=np.float32)
    compiled.correction_residual(
        weights=correction.flat_weights,
        first_constants=correction.first_constants(log_step(q_step)),
        factors=correction.flat_factors,
        depth=correction.depth,
        samples=around,
        channels=channels,
        height=height,
        width=width,
        step_size=q_step,
        block_height=block.height,
        block_width=block.width,
        residual=residual,
    )
    return residual


@by_kernels(_correction_residual_by_kernel)
def correction_residual(samples: Samples, block: Region, q_step: int, correction: CorrectionNetwork) -> Float32:
    """Returns the output of the correction network for one of `blocks`, which is added to the
    linear synthesis, float32 [C, H, W], units.
    """
    cells = padded_cells(samples.around(block, CELL * correction.reach))
    rows, columns = (side - 2 * correction.reach for side in cells.shape[1:])
    constants = correction.first_constants(log_step(q_step))
    residuals = correction_outputs(correction, cell_features(cells, q_step), constants, np).astype(np.float32)
    residuals *= np.float32(q_step / (1 << RESIDUAL_BITS))
    of_samples = residuals.reshape(rows, columns, CHANNELS, CELL, CELL)
    planes = of_samples.transpose(2, 0, 3, 1, 4).reshape(CHANNELS, CELL * rows, CELL * columns)
    return np.asarray(planes[: samples.values.shape[0], : block.height, : block.width])


def corrected(
    samples: Samples,
    region: Region,
    q_step: int,
    correction: CorrectionNetwork,
    image_filter: ImageFilter | None,
) -> Iterator[tuple[Region, Float32]]:
    """Adds the outputs of correction network and image filter to the linear synthesis, block by
    block. Yields parts of the region, and their planes, float32 [C, H, W], units.
    """
    for block in blocks(region, samples.height, samples.width):
        planes = corrected_block(samples, block, q_step, correction, image_filter)
        part = block.common(region)
        within = part.relative_to(block)
        yield part, planes[:, within.rows, within.columns]


def corrected_block(
    samples: Samples,
    block: Region,
    q_step: int,
    correction: CorrectionNetwork,
    image_filter: ImageFilter | None,
) -> Float32:
    """Returns the planes of one of `blocks`, float32 [C, H, W], units."""
    planes = samples.around(block, 0).astype(np.float32)
    planes += correction_residual(samples, block, q_step, correction)
    if image_filter is not None:
        planes += filter_residual(samples.around(block, image_filter.radius), image_filter)
    return planes


def synthesise(
    samples: Samples,
    region: Region,
    q_step: int,
    basis: ColourBasis,
    correction: CorrectionNetwork,
    image_filter: ImageFilter | None,
    bit_depth: int,
    noise: Int32 | None = None,
) -> Pixels:
    """Computes the pixels of a region from the linear synthesis of at least the region `seen_from`
    it, uint8 or uint16 [H, W, C]. `noise` is that at the samples, int32 [C, H', W'], units; None
    for none.
    """
    pixels = np.empty(
        (region.height, region.width, len(samples.values)), dtype=np.uint8 if bit_depth == 8 else np.uint16
    )

    def finish(block: Region) -> None:
        planes = corrected_block(samples, block, q_step, correction, image_filter)
        part = block.common(region)
        within, target = part.relative_to(block), part.relative_to(region)
        inside = planes[:, within.rows, within.columns].transpose(1, 2, 0)
        of_part = planes_to_pixels(inside, basis, bit_depth)
        if noise is not None:
            at = part.relative_to(samples.at)
            of_part = add_noise(of_part, noise[:, at.rows, at.columns], basis)
        pixels[target.rows, target.columns] = of_part

    in_threads(finish, blocks(region, samples.height, samples.width))  # kernels and NumPy use one core each
    return pixels
