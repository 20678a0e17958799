"""The header of a file of the coordinate codec."""

from __future__ import annotations

from dfmcodec.codecs.coordinate.contents import QuantizedNetwork
from dfmcodec.container.layout import Field, HeaderForm, Section, Values, image_values, long_header
from dfmcodec.fourier.layer import MAX_WIDTH
from dfmcodec.fourier.network import MAX_DEPTH, CoordinateArchitecture
from dfmcodec.models import Model

_FIELDS = long_header(
    (
        Field("depth", "B", range(1, MAX_DEPTH + 1)),
        Field("layer_width", "B", range(1, MAX_WIDTH + 1)),
        Field("order", "B", range(1, MAX_WIDTH + 1)),
    )
)


def _values(model: QuantizedNetwork, section_count: int) -> dict[str, int]:
    arch = model.architecture
    network = {"depth": arch.depth, "layer_width": arch.width, "order": arch.order}
    return image_values(model, section_count) | network | {"further_bytes": 0}


def _architecture(values: Values) -> CoordinateArchitecture:
    return CoordinateArchitecture(values["channels"], values["depth"], values["layer_width"], values["order"])


HEADER = HeaderForm(Model.COORDINATE, _FIELDS, _values, _architecture, Section.WEIGHTS)
