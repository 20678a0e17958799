"""Rendering of coordinate networks."""

from __future__ import annotations

import numpy as np

from dfmcodec._types import Float32, Pixels
from dfmcodec.codecs.coordinate.contents import QuantizedNetwork
from dfmcodec.codecs.renderer import Decoded, DecodeRequest, Renderer
from dfmcodec.fourier.network import CoordinateArchitecture, axis_positions, block_shape, deep_fourier_machine, unpack
from dfmcodec.fourier.quantize import dequantize, step_per_weight
from dfmcodec.image import samples_to_values
from dfmcodec.image.region import Region
from dfmcodec.image.resample import Sampling


class CoordinateRenderer(Renderer):
    """Evaluates the network of the file at every position."""

    def multiply_adds(self, architecture: CoordinateArchitecture) -> int:
        return architecture.multiply_adds

    def render(self, decoded: Decoded, region: Region, request: DecodeRequest) -> Pixels:
        return render_model(decoded.model, region)

    def render_at(
        self, decoded: Decoded, sampling: Sampling, seen: Region, level: int, request: DecodeRequest
    ) -> Pixels:
        model: QuantizedNetwork = decoded.model
        rows, columns = sampling.rows().positions / model.height, sampling.columns().positions / model.width
        at = rows.astype(np.float32), columns.astype(np.float32)
        return render_weights(weights_of(model), model.architecture, *at, None, model.bit_depth)


RENDERER = CoordinateRenderer()


def render_model(model: QuantizedNetwork, region: Region | None = None) -> Pixels:
    """Renders a quantised network at the pixels of a region; all pixels if None."""
    at = axis_positions(model.height), axis_positions(model.width)
    return render_weights(weights_of(model), model.architecture, *at, region, model.bit_depth)


def weights_of(model: QuantizedNetwork) -> Float32:
    """Returns the weights of a quantised network in file order, float32 [weight_count]."""
    steps = step_per_weight(model.step_indices, model.architecture.layer_sizes())
    weights: Float32 = dequantize(model.symbols, steps)
    return weights


def render_weights(
    weights: Float32,
    architecture: CoordinateArchitecture,
    rows: Float32,
    columns: Float32,
    region: Region | None = None,
    bit_depth: int = 8,
) -> Pixels:
    """Renders a coordinate network with weights in file order, float32 [weight_count], at a grid of
    vertical and horizontal positions, float32 [H] and [W]; the image spans [0, 1). Returns a region
    of the grid (None for all), uint8 or uint16 [H, W, C].

    The blocks of the evaluation do not depend on the region. The pixels therefore do not depend on
    it either.
    """
    of_layers = unpack(weights, architecture, np)
    wanted = Region(0, 0, len(rows), len(columns)) if region is None else region
    pixels = np.empty((wanted.height, wanted.width, architecture.channels), np.uint8 if bit_depth == 8 else np.uint16)
    height, width = block_shape(architecture, len(rows), len(columns))
    for top in range(wanted.top // height * height, wanted.bottom, height):
        y = rows[np.minimum(np.arange(top, top + height), len(rows) - 1)]
        for left in range(wanted.left // width * width, wanted.right, width):
            x = columns[np.minimum(np.arange(left, left + width), len(columns) - 1)]
            v = np.stack([np.tile(x, height), np.repeat(y, width)], axis=1)
            samples = deep_fourier_machine(of_layers, v, architecture.order, np)
            values = samples_to_values(samples, bit_depth).reshape(height, width, -1)
            block = Region(top, left, top + height, left + width).common(wanted)
            target, source = block.relative_to(wanted), block.relative_to(Region(top, left, 0, 0))
            pixels[target.rows, target.columns] = values[source.rows, source.columns]
    return pixels
