"""Rendering of files of the overfitted codec."""

from __future__ import annotations

import numpy as np

from dfmcodec._types import Float32, Pixels
from dfmcodec.codecs.overfitted.contents import QuantizedGrids
from dfmcodec.codecs.overfitted.grids import symbol_step
from dfmcodec.codecs.overfitted.synthesis import synthesise_grids
from dfmcodec.codecs.overfitted.weights import overfitted_weights_of
from dfmcodec.codecs.renderer import Decoded, DecodeRequest, Renderer
from dfmcodec.image import peak_value, to_values
from dfmcodec.image.region import Region
from dfmcodec.image.resample import Sampling, evaluate_strips

_LARGEST_COLOUR = np.float32(1 << 16)  # only damaged or hostile files have larger values, or NaN


class OverfittedRenderer(Renderer):
    """Evaluates the synthesis network of the file."""

    def uses_threads(self) -> bool:
        return True

    def render(self, decoded: Decoded, region: Region, request: DecodeRequest) -> Pixels:
        return render_model(decoded.model, region)

    def render_at(
        self, decoded: Decoded, sampling: Sampling, seen: Region, level: int, request: DecodeRequest
    ) -> Pixels:
        planes = _colours(decoded.model, seen)
        rows, columns = sampling.rows().from_sample(seen.top), sampling.columns().from_sample(seen.left)
        return np.concatenate([_to_pixels(strip, decoded.model) for strip in evaluate_strips(planes, rows, columns)])


RENDERER = OverfittedRenderer()


def render_model(model: QuantizedGrids, region: Region | None = None) -> Pixels:
    """Renders quantised grids at the pixels of a region; all pixels if None."""
    wanted = Region(0, 0, model.height, model.width) if region is None else region
    return _to_pixels(_colours(model, wanted), model)


def _colours(model: QuantizedGrids, region: Region) -> Float32:
    """Returns the finite colours of a region, float32 [3, H, W]; 0 is black and 1 is white."""
    _, synthesis = overfitted_weights_of(model.architecture.weights_id).networks_of(model.deltas)
    with np.errstate(over="ignore", invalid="ignore"):
        colours = synthesise_grids(synthesis, model.grids, symbol_step(model.lmbda_code), region)
    np.nan_to_num(colours, copy=False)
    return np.clip(colours, -_LARGEST_COLOUR, _LARGEST_COLOUR, out=colours)


def _to_pixels(colours: Float32, model: QuantizedGrids) -> Pixels:
    """Rounds colours [3, H, W] to pixels [H, W, C]; gray is their mean."""
    values = colours.mean(axis=0, keepdims=True) if model.architecture.channels == 1 else colours
    return to_values(values.transpose(1, 2, 0) * np.float32(peak_value(model.bit_depth)), model.bit_depth)
