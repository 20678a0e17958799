"""The contents of a file: architectures, quantised models and ancillary data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from dfmcodec._types import Pixels
from dfmcodec.image import Metadata
from dfmcodec.models import Model


class Architecture(Protocol):
    """The part of a header from which a decoder rebuilds the networks of an image."""

    model: ClassVar[Model]

    @property
    def channels(self) -> int:
        """The number of coded channels, 1 or 3."""

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values for reports."""


class QuantizedModel(Protocol):
    """A coded image as the integers that a file stores."""

    @property
    def architecture(self) -> Architecture:
        """The architecture of the networks."""

    @property
    def height(self) -> int:
        """The height of the image, in pixels."""

    @property
    def width(self) -> int:
        """The width of the image, in pixels."""

    @property
    def bit_depth(self) -> int:
        """The bits per sample of the image, 8 or 16."""


@dataclass(frozen=True)
class Ancillary:
    """The data of a file besides the coded pixels."""

    metadata: Metadata = field(default_factory=Metadata)
    alpha: Pixels | None = None  # uint8 or uint16 [H, W]; None for an opaque image
    gray_as_rgb: bool = False  # whether an image that is coded as gray decodes to RGB
