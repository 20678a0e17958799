"""The header of a file of the wavelet codec."""

from __future__ import annotations

from dfmcodec.codecs.wavelet.colour import Luma
from dfmcodec.codecs.wavelet.contents import QuantizedLatents, WaveletArchitecture
from dfmcodec.codecs.wavelet.geometry import MAX_LEVELS, MAX_TILES
from dfmcodec.codecs.wavelet.quantizer import MAX_STEP
from dfmcodec.container.layout import BYTE, WEIGHTS_ID, Field, HeaderForm, Section, Values
from dfmcodec.errors import ConfigError, UnsupportedVersionError
from dfmcodec.image.tiles import TILE_GRID
from dfmcodec.models import Model

_NETWORK = (
    # The first two only describe the correction network of the pretrained weights: a reader
    # accepts any value.
    Field("depth", "B", BYTE),
    Field("layer_width", "B", BYTE),
    # Luma.MEAN in all wavelet files from before other lumas were defined
    Field("luma", "B", tuple(Luma), 'the luma of the planes; see "Reconstruction"', UnsupportedVersionError),
)
_FURTHER = (
    Field("levels", "B", range(1, MAX_LEVELS + 1), "the number of decomposition levels of the wavelet, called L"),
    Field("q_step", "H", range(1, MAX_STEP + 1), "the quantisation step in 1/64 of a code value, called Q"),
    Field("chroma_angle", "B", BYTE, "in 1/256 of half a turn"),
    WEIGHTS_ID,
    Field("tile_rows", "B", range(1, MAX_TILES + 1), "the number of rows of tiles; 1 if absent"),
    Field("tile_columns", "B", range(1, MAX_TILES + 1), "the number of columns of tiles; 1 if absent"),
)


def _values(model: QuantizedLatents) -> dict[str, int]:
    arch = model.architecture
    tiles = {"tile_rows": arch.tile_rows, "tile_columns": arch.tile_columns}
    return {
        "depth": arch.depth,
        "layer_width": arch.width,
        "luma": arch.luma,
        "levels": arch.levels,
        "q_step": model.q_step,
        "chroma_angle": model.chroma_angle,
        "weights_id": arch.weights_id,
        **(tiles if arch.tile_rows * arch.tile_columns > 1 else {}),
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
    Section.LATENTS,
    _NETWORK,
    _values,
    _architecture,
    optional_sections=(Section.ADAPTATION, Section.FILTER, Section.TEXTURE),
    further=_FURTHER,
    further_sizes=(8, 10),  # without and with tiles
    check_count=_check_count,
)
