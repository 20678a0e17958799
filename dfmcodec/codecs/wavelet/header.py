"""The header of a file of the wavelet codec."""

from __future__ import annotations

from dfmcodec.codecs.wavelet.colour import Luma
from dfmcodec.codecs.wavelet.contents import QuantizedLatents, WaveletArchitecture
from dfmcodec.codecs.wavelet.geometry import MAX_LEVELS, MAX_TILES
from dfmcodec.codecs.wavelet.quantizer import MAX_STEP
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
from dfmcodec.errors import ConfigError, UnsupportedVersionError
from dfmcodec.image.tiles import TILE_GRID
from dfmcodec.models import Model


def _is_tiled(values: Values) -> bool:
    return values["further_bytes"] > further_bytes(Model.WAVELET)


_FIELDS = long_header(
    (
        # The first two only describe the correction network of the pretrained weights: a reader
        # accepts any value.
        Field("depth", "B", BYTE),
        Field("layer_width", "B", BYTE),
        # Luma.MEAN in all wavelet files from before other lumas were defined
        Field("luma", "B", tuple(Luma), refusal=UnsupportedVersionError),
    ),
    (
        Field("levels", "B", range(1, MAX_LEVELS + 1)),
        Field("q_step", "H", range(1, MAX_STEP + 1)),
        Field("chroma_angle", "B", BYTE),
        WEIGHTS_ID,
        Field("tile_rows", "B", range(1, MAX_TILES + 1), _is_tiled),
        Field("tile_columns", "B", range(1, MAX_TILES + 1), _is_tiled),
    ),
)


def _values(model: QuantizedLatents, section_count: int) -> dict[str, int]:
    arch = model.architecture
    return image_values(model, section_count) | {
        "depth": arch.depth,
        "layer_width": arch.width,
        "further_bytes": further_bytes(Model.WAVELET, (arch.tile_rows, arch.tile_columns) != (1, 1)),
        "luma": arch.luma,
        "levels": arch.levels,
        "q_step": model.q_step,
        "chroma_angle": model.chroma_angle,
        "weights_id": arch.weights_id,
        "tile_rows": arch.tile_rows,
        "tile_columns": arch.tile_columns,
    }


def _architecture(values: Values) -> WaveletArchitecture:
    """Returns the architecture that header fields describe."""
    tiles = values.get("tile_rows", 1), values.get("tile_columns", 1)
    for side, number in zip((values["height"], values["width"]), tiles, strict=True):
        if number > max(1, side // TILE_GRID):
            msg = f"{number} tiles along {side} pixels; at most {max(1, side // TILE_GRID)} are possible"
            raise ConfigError(msg)
    network = values["depth"], values["layer_width"]
    luma = Luma(values["luma"])
    return WaveletArchitecture(values["channels"], values["levels"], *network, luma, values["weights_id"], *tiles)


def _check_count(arch: WaveletArchitecture) -> int:
    return arch.tile_rows * arch.tile_columns * (arch.levels + 1)


HEADER = HeaderForm(
    Model.WAVELET,
    _FIELDS,
    _values,
    _architecture,
    main_section=Section.LATENTS,
    early_sections=(Section.ADAPTATION, Section.FILTER),
    check_count=_check_count,
)
