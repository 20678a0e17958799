"""The encoder of the generative codec."""

from __future__ import annotations

from dfmcodec.codecs.generative.model import GenerativeModel
from dfmcodec.errors import require
from dfmcodec.image import Image
from dfmcodec.report import EncodeResult
from dfmcodec.search.encoder import Encoder
from dfmcodec.search.job import Job, Outcome


def _check(image: Image, generator: GenerativeModel | None) -> None:
    """Rejects an image that cannot have a code under the generative model, or a missing package."""
    require("encoding with a generative model", "jax", "optax")
    from dfmcodec.codecs.generative.encode.search import check_image

    assert generator is not None
    check_image(image, generator)


def _encode(job: Job, _previous: EncodeResult | None) -> Outcome:
    from dfmcodec.codecs.generative.encode.search import fit_code

    return fit_code(job)


ENCODER = Encoder(_encode, _check, uses_threads=False)
