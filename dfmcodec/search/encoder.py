"""The interface that the encoder of a codec provides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dfmcodec.image import Image
from dfmcodec.models import Model
from dfmcodec.report import EncodeResult
from dfmcodec.search.job import Job, Outcome

WITHOUT_FITTING = "or encode with the wavelet codec, which is the default"


def _nothing() -> None:
    """Raises no error."""


@dataclass(frozen=True)
class Encoder:
    """The encoder of a codec."""

    # encodes a job. The second argument is the finished file of another codec, which is replaced
    # only by a better one, or None. An encoder that will not be better may give up with
    # TargetUnreachableError
    encode: Callable[[Job, EncodeResult | None], Outcome]
    check: Callable[[], None] = _nothing  # raises MissingPackageError if a needed package is missing
    symbol_checks: Callable[[Image], int] = lambda image: 0  # the number that a file may have
    fallback: Model | None = None  # the codec whose quick encoding may replace one that ended early
    aims_at_scores: bool = False  # whether SSIMULACRA2 targets are supported
