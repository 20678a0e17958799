"""The header of a file of the overfitted codec."""

from __future__ import annotations

from dfmcodec.codecs.overfitted.contents import OverfittedArchitecture, QuantizedGrids
from dfmcodec.codecs.overfitted.grids import GRID_LEVELS, LMBDA_CODES
from dfmcodec.container.layout import (
    BYTE,
    WEIGHTS_ID,
    Field,
    HeaderForm,
    Section,
    Values,
    further_bytes,
    image_values,
    long_header,
)
from dfmcodec.models import Model

# The first three only describe the synthesis network of the pretrained weights. Readers accept any
# value.
_FIELDS = long_header(
    (Field("depth", "B", BYTE), Field("layer_width", "B", BYTE), Field("order", "B", BYTE)),
    (
        Field("grids", "B", (GRID_LEVELS,)),
        Field("lmbda_code", "B", LMBDA_CODES, less=LMBDA_CODES[0]),
        WEIGHTS_ID,
    ),
)


def _values(model: QuantizedGrids, section_count: int) -> dict[str, int]:
    arch = model.architecture
    return image_values(model, section_count) | {
        "depth": arch.depth,
        "layer_width": arch.width,
        "order": arch.order,
        "further_bytes": further_bytes(Model.OVERFITTED),
        "grids": arch.levels,
        "lmbda_code": model.lmbda_code,
        "weights_id": arch.weights_id,
    }


def _architecture(values: Values) -> OverfittedArchitecture:
    network = values["depth"], values["layer_width"], values["order"]
    return OverfittedArchitecture(values["channels"], values["grids"], *network, values["weights_id"])


HEADER = HeaderForm(
    Model.OVERFITTED,
    _FIELDS,
    _values,
    _architecture,
    main_section=Section.GRIDS,
    late_sections=(Section.NETWORKS,),
    check_count=lambda arch: arch.levels,
)
