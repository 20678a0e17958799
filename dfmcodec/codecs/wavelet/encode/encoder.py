"""The encoder of the wavelet codec."""

from __future__ import annotations

from dfmcodec.codecs.wavelet.encode.search import fit_latents
from dfmcodec.codecs.wavelet.geometry import Tiling
from dfmcodec.image import Image
from dfmcodec.search.encoder import Encoder


def _symbol_checks(image: Image) -> int:
    """Returns the number of symbol checks: one for each tile and level."""
    tiling = Tiling.default(image.height, image.width, image.channels)
    return len(tiling.tiles) * (tiling.levels + 1)


ENCODER = Encoder(fit_latents, symbol_checks=_symbol_checks, aims_at_scores=True)
