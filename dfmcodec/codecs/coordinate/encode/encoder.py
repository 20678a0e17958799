"""The encoder of the coordinate codec."""

from __future__ import annotations

from dfmcodec.errors import require
from dfmcodec.report import EncodeResult
from dfmcodec.search.encoder import WITHOUT_FITTING, Encoder
from dfmcodec.search.job import Job, Outcome


def _check() -> None:
    """Raises MissingPackageError if JAX or Optax is missing."""
    require("the coordinate codec", "jax", "optax", otherwise=WITHOUT_FITTING)


def _encode(job: Job, _previous: EncodeResult | None) -> Outcome:
    from dfmcodec.codecs.coordinate.encode.search import fit_network  # imports JAX

    return fit_network(job)


ENCODER = Encoder(_encode, _check)
