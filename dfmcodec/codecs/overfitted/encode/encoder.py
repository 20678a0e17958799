"""The encoder of the overfitted codec."""

from __future__ import annotations

from dfmcodec.codecs.overfitted.grids import GRID_LEVELS
from dfmcodec.errors import require
from dfmcodec.kernels import has_kernels
from dfmcodec.models import Model
from dfmcodec.report import EncodeResult
from dfmcodec.search.encoder import WITHOUT_FITTING, Encoder
from dfmcodec.search.job import Job, Outcome


def _check() -> None:
    """Raises MissingPackageError if there are neither compiled kernels nor JAX."""
    if not has_kernels():
        require("the overfitted codec without compiled kernels", "jax", otherwise=WITHOUT_FITTING)


def _encode(job: Job, previous: EncodeResult | None) -> Outcome:
    from dfmcodec.codecs.overfitted.encode.search import fit_grids  # may import JAX

    return fit_grids(job, previous)


ENCODER = Encoder(_encode, _check, symbol_checks=lambda image: GRID_LEVELS, fallback=Model.WAVELET, aims_at_scores=True)
