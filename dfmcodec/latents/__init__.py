"""Pixels <-> integer coefficients: geometry, colour, wavelet, quantiser, trellis.

The latents of an image are the quantised sub-bands of a wavelet pyramid.
"""

from dfmcodec.latents.colour import (
    ColourBasis,
    Luma,
    pixels_to_planes,
    planes_to_pixels,
    principal_chroma_angle,
)
from dfmcodec.latents.geometry import (
    CHANNELS,
    MAX_LEVELS,
    MAX_TILES,
    ORIENTATIONS,
    Geometry,
    Region,
    Tile,
    Tiling,
    default_levels,
    default_tiles,
)
from dfmcodec.latents.quantizer import MAX_STEP
from dfmcodec.latents.wavelet import (
    BAND_NORMS,
    LOW_NORMS,
    MAX_UNITS,
    NORM_UNIT,
    UNITS_PER_LEVEL,
    Pyramid,
    analyse,
    synthesise_level,
)

__all__ = [
    "BAND_NORMS",
    "CHANNELS",
    "LOW_NORMS",
    "MAX_LEVELS",
    "MAX_STEP",
    "MAX_TILES",
    "MAX_UNITS",
    "NORM_UNIT",
    "ORIENTATIONS",
    "UNITS_PER_LEVEL",
    "ColourBasis",
    "Geometry",
    "Luma",
    "Pyramid",
    "Region",
    "Tile",
    "Tiling",
    "analyse",
    "default_levels",
    "default_tiles",
    "pixels_to_planes",
    "planes_to_pixels",
    "principal_chroma_angle",
    "synthesise_level",
]
