"""The header of a file of the coordinate codec."""

from __future__ import annotations

from dfmcodec.codecs.coordinate.contents import QuantizedNetwork
from dfmcodec.container.layout import Field, HeaderForm, Section, Values
from dfmcodec.fourier.layer import MAX_WIDTH
from dfmcodec.fourier.network import MAX_DEPTH, CoordinateArchitecture
from dfmcodec.models import Model

_NETWORK = (
    Field("depth", "B", range(1, MAX_DEPTH + 1), "the number of layers, called d"),
    Field("layer_width", "B", range(1, MAX_WIDTH + 1), "the numbers between layers, called w"),
    Field("order", "B", range(1, MAX_WIDTH + 1), "the largest |k|_1"),
)


def _values(model: QuantizedNetwork) -> dict[str, int]:
    arch = model.architecture
    return {"depth": arch.depth, "layer_width": arch.width, "order": arch.order}


def _architecture(values: Values) -> CoordinateArchitecture:
    return CoordinateArchitecture(values["channels"], values["depth"], values["layer_width"], values["order"])


HEADER = HeaderForm(Model.COORDINATE, Section.WEIGHTS, _NETWORK, _values, _architecture)
