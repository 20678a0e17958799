"""The interface that the encoder of a codec provides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from dfmcodec._types import Pixels
from dfmcodec.image import Image
from dfmcodec.models import Model
from dfmcodec.report import EncodeResult
from dfmcodec.search.job import Job, Outcome

WITHOUT_FITTING = "or encode with the wavelet codec, which is the default"


def _nothing() -> None:
    """Raises no error."""


class TextureFit(Protocol):
    """The fit of a texture to a finished file."""

    def textured(self, strength: float, limit_bytes: float) -> tuple[Any, Pixels] | None:
        """Returns the model with a texture that adds at most a number of bytes to the file, and its
        pixels, [H, W, C]; None if nothing is missing or the bytes are too few.
        """


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
    # fits a texture, given a model, and the coded and the decoded pixels, [H, W, C]; returns None
    # for a file that needs none. None if the codec has no textures
    fit_texture: Callable[[Any, Pixels, Pixels], TextureFit | None] | None = None
