"""The encoder of the generative codec."""

from __future__ import annotations

from dfmcodec.codecs.generative.model import GenerativeModel
from dfmcodec.errors import require
from dfmcodec.image import Image
from dfmcodec.search.encoder import Encoder
from dfmcodec.search.job import Job, Outcome


def _check(image: Image, generator: GenerativeModel | None) -> None:
    """Rejects an image that cannot have a code under the generative model.

    Raises:
        MissingPackageError: JAX or Optax is not installed.
        ImageError: The size, the channels or the bit depth differ from those of the model's images.
    """
    require("encoding with a generative model", "jax", "optax")
    from dfmcodec.codecs.generative.encode.search import check_image

    assert generator is not None
    check_image(image, generator)


def _encode(job: Job) -> Outcome:
    from dfmcodec.codecs.generative.encode.search import fit_code

    return fit_code(job)


ENCODER = Encoder(_encode, _check, uses_threads=False)
