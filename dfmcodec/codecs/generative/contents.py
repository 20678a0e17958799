"""The contents of a file of the generative codec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from dfmcodec.models import Model


@dataclass(frozen=True)
class CodeArchitecture:
    """The reference of a file to the generative model for which the code of the image is valid."""

    channels: int  # 1 (gray) or 3 (RGB)
    generator_id: int  # the id of the generative model: the checksum of its file
    model: ClassVar[Model] = Model.GENERATIVE

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values for reports."""
        return {"model": self.model.value, "channels": self.channels, "generator_id": f"{self.generator_id:08x}"}


@dataclass(frozen=True)
class CodedImage:
    """The code of an image, which can only be decoded with its generative model."""

    architecture: CodeArchitecture
    height: int
    width: int
    body: bytes  # the code section; see `sections`
    bit_depth: int = 8
