"""The header of a file of the overfitted codec."""

from __future__ import annotations

from dfmcodec.codecs.overfitted.contents import OverfittedArchitecture, QuantizedGrids
from dfmcodec.codecs.overfitted.grids import GRID_LEVELS, LMBDA_CODES
from dfmcodec.container.layout import BYTE, WEIGHTS_ID, Field, HeaderForm, Section, Values
from dfmcodec.models import Model

# These only describe the synthesis network of the pretrained weights. Readers accept any value.
_NETWORK = (Field("depth", "B", BYTE), Field("layer_width", "B", BYTE), Field("order", "B", BYTE))
_FURTHER = (
    Field("grids", "B", (GRID_LEVELS,), "the number of latent grids"),
    Field("lmbda_code", "B", LMBDA_CODES, "called K", less=LMBDA_CODES[0]),
    WEIGHTS_ID,
)


def _values(model: QuantizedGrids) -> dict[str, int]:
    arch = model.architecture
    network = {"depth": arch.depth, "layer_width": arch.width, "order": arch.order}
    return {**network, "grids": arch.levels, "lmbda_code": model.lmbda_code, "weights_id": arch.weights_id}


def _architecture(values: Values) -> OverfittedArchitecture:
    network = values["depth"], values["layer_width"], values["order"]
    return OverfittedArchitecture(values["channels"], values["grids"], *network, values["weights_id"])


HEADER = HeaderForm(
    Model.OVERFITTED,
    Section.GRIDS,
    _NETWORK,
    _values,
    _architecture,
    optional_sections=(Section.NETWORKS,),
    further=_FURTHER,
    further_sizes=(6,),
    check_count=lambda arch: arch.levels,
)
