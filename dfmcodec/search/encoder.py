"""The interface that the encoder of a codec provides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dfmcodec.codecs.registry import Model
from dfmcodec.image import Image
from dfmcodec.search.job import Job, Outcome

if TYPE_CHECKING:
    from dfmcodec.codecs.generative.model import GenerativeModel

WITHOUT_FITTING = "or encode with the wavelet codec, which efforts 1 to 5 do"


def _nothing(_image: Image, _generator: GenerativeModel | None) -> None:
    """Accepts every image."""


@dataclass(frozen=True)
class Encoder:
    """The encoder of a codec.

    Args:
        encode: Encodes the image of a job.
        check: Raises an error if the codec cannot encode an image or a package is missing.
        symbol_checks: Maps an image to the number of symbol checks that its file may have.
        fallback: The codec whose quick encoding replaces an encoding that ended early, if it is
            better; None for none.
        aims_at_scores: Whether the encoder supports SSIMULACRA2 targets.
        uses_threads: Whether the encoder spreads work over threads that each compute matrix
            products with NumPy.
    """

    encode: Callable[[Job], Outcome]
    check: Callable[[Image, GenerativeModel | None], None] = _nothing
    symbol_checks: Callable[[Image], int] = lambda image: 0
    fallback: Model | None = None
    aims_at_scores: bool = False
    uses_threads: bool = True
