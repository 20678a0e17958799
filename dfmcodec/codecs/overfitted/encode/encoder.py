"""The encoder of the overfitted codec."""

from __future__ import annotations

from dfmcodec.codecs.overfitted.grids import GRID_LEVELS
from dfmcodec.models import Model
from dfmcodec.report import EncodeResult
from dfmcodec.search.encoder import Encoder
from dfmcodec.search.job import Job, Outcome


def _encode(job: Job, previous: EncodeResult | None) -> Outcome:
    from dfmcodec.codecs.overfitted.encode.search import fit_grids  # may import JAX

    return fit_grids(job, previous)


ENCODER = Encoder(_encode, symbol_checks=lambda image: GRID_LEVELS, fallback=Model.WAVELET, aims_at_scores=True)
