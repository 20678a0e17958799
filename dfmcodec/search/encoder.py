"""What encoding asks of a codec."""

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
    """Refuses nothing."""


@dataclass(frozen=True)
class Encoder:
    """The encoder of a codec.

    Args:
        encode: Encodes the image of a job.
        check: Refuses an image that the codec cannot encode, and a missing package.
        symbol_checks: From an image to the number of checks of symbols that its file may have.
        fallback: The codec whose quick encoding is written if it is better than an encoding that
            ended early; None for none.
        aims_at_scores: Whether it can aim at a SSIMULACRA2.
        uses_threads: Whether it spreads work over threads, each of which has matrix products of
            NumPy.
    """

    encode: Callable[[Job], Outcome]
    check: Callable[[Image, GenerativeModel | None], None] = _nothing
    symbol_checks: Callable[[Image], int] = lambda image: 0
    fallback: Model | None = None
    aims_at_scores: bool = False
    uses_threads: bool = True
