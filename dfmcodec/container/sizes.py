"""The sizes of files and sections from their contents, without writing them."""

from __future__ import annotations

from collections.abc import Mapping

from dfmcodec._types import Model
from dfmcodec.codecs.coordinate.contents import QuantizedNetwork
from dfmcodec.codecs.coordinate.sections import side_bytes, stream_bits
from dfmcodec.codecs.generative.contents import CodedImage
from dfmcodec.codecs.wavelet.geometry import Tiling
from dfmcodec.codecs.wavelet.sections.latents import TILE_LENGTH
from dfmcodec.container.checks import checks_bytes
from dfmcodec.container.layout import SECTION_ENTRY, Section, container_bytes, leb128_bytes
from dfmcodec.fourier.network import CoordinateArchitecture

STREAM_SECTION_BYTES = SECTION_ENTRY.size + 4  # what a range-coded section has besides: its entry, the last word


def checks_file_bytes(sections: int, symbol_checks: int) -> int:
    """The bytes that a checks section adds to a file.

    Args:
        sections: The number of other sections.
        symbol_checks: The number of checks of symbols: one for each grid of the overfitted codec,
            and of the wavelet codec `tiling_checks`.
    """
    return SECTION_ENTRY.size + checks_bytes(sections, symbol_checks)


def tiling_checks(tiling: Tiling) -> int:
    """The number of checks of the symbols of a wavelet codec."""
    return len(tiling.tiles) * (tiling.levels + 1)


def sections_file_bytes(sections: Mapping[Section, bytes]) -> int:
    """The bytes that sections add to a file."""
    return sum(len(body) + SECTION_ENTRY.size for body in sections.values())


def network_file_bytes(architecture: CoordinateArchitecture) -> int:
    """The size of a coordinate codec's file without range-coded stream and ancillary data."""
    return container_bytes(Model.COORDINATE) + side_bytes(architecture)


def wavelet_file_bytes(tiling: Tiling) -> int:
    """The size of a wavelet codec's file without its range-coded streams and optional sections."""
    tiles = len(tiling.tiles)
    lengths = tiles * TILE_LENGTH.size if tiles > 1 else 0
    return container_bytes(Model.WAVELET, is_tiled=tiles > 1) + tiles * tiling.channels + lengths


def code_file_bytes(image: CodedImage) -> int:
    """The size of a code's file without ancillary data."""
    body = len(image.body)
    return container_bytes(Model.GENERATIVE) - 1 + leb128_bytes(body) + body


def section_file_bytes(body_bytes: float) -> float:
    """The bytes that a section adds to a file, from the size of its body."""
    return body_bytes + SECTION_ENTRY.size


def estimate_network_bytes(model: QuantizedNetwork) -> float:
    """The size of a coordinate codec's file by the costs of its tables, without coding.

    The estimate is off by at most the last word of the range coder.
    """
    return network_file_bytes(model.architecture) + stream_bits(model) / 8
