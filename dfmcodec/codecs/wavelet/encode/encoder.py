"""The encoder of the wavelet codec."""

from __future__ import annotations

from dfmcodec.codecs.wavelet.encode.search import fit_latents
from dfmcodec.codecs.wavelet.encode.texture_fit import fit_texture
from dfmcodec.codecs.wavelet.geometry import Tiling
from dfmcodec.image import Image
from dfmcodec.report import EncodeResult
from dfmcodec.search.encoder import Encoder
from dfmcodec.search.job import Job, Outcome


def _symbol_checks(image: Image) -> int:
    """Returns the number of symbol checks: one for each tile and level."""
    tiling = Tiling.default(image.height, image.width, image.channels)
    return len(tiling.tiles) * (tiling.levels + 1)


def _encode(job: Job, _previous: EncodeResult | None) -> Outcome:
    return fit_latents(job)


ENCODER = Encoder(_encode, symbol_checks=_symbol_checks, aims_at_scores=True, fit_texture=fit_texture)
