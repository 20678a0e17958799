"""The interface that the encoder of a codec provides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dfmcodec.image import Image
from dfmcodec.models import Model
from dfmcodec.report import EncodeResult
from dfmcodec.search.job import Job, Outcome

if TYPE_CHECKING:
    from dfmcodec.codecs.generative.model import GenerativeModel

WITHOUT_FITTING = "or encode with the wavelet codec, which is the default"


def _nothing(_image: Image, _generator: GenerativeModel | None) -> None:
    """Accepts every image."""


@dataclass(frozen=True)
class Encoder:
    """The encoder of a codec."""

    # encodes a job. The second argument is the finished file of another codec, which is replaced
    # only by a better one, or None. An encoder that will not be better may give up with
    # TargetUnreachableError
    encode: Callable[[Job, EncodeResult | None], Outcome]
    check: Callable[[Image, GenerativeModel | None], None] = _nothing  # raises an error if it cannot encode an image
    symbol_checks: Callable[[Image], int] = lambda image: 0  # the number that a file may have
    fallback: Model | None = None  # the codec whose quick encoding may replace one that ended early
    aims_at_scores: bool = False  # whether SSIMULACRA2 targets are supported
    uses_threads: bool = True  # that each compute matrix products with NumPy
