"""Salvage: decoding of truncated or damaged latents, as far as the symbols are reliable.

The decomposition levels of a tile are coded from coarse to fine, so the intact part shows the
complete tile with less detail. In a truncated stream, a coding pass is used if every continuation
of the stream decodes to the same symbols (`sections.latents.SymbolReader`). In a damaged stream, a
level is used if its check matches. In a file without checks, everything that decodes is used.
"""

from __future__ import annotations

import numpy as np

from dfmcodec._types import Int32, Symbols
from dfmcodec.codecs.losses import lost_details
from dfmcodec.codecs.wavelet.contents import TileStream
from dfmcodec.codecs.wavelet.context import ContextModel, TableChoice
from dfmcodec.codecs.wavelet.geometry import Geometry
from dfmcodec.codecs.wavelet.neighbourhood import CausalContext
from dfmcodec.codecs.wavelet.passes import CodingPass
from dfmcodec.codecs.wavelet.sections.latents import SymbolReader, wrong_level
from dfmcodec.codecs.wavelet.traversal import traverse
from dfmcodec.entropy.streams import EndOfSymbols
from dfmcodec.errors import CorruptError, FormatError


class _Prefix:
    """A source of symbols that ends before the first coding pass that cannot be decoded.

    Attributes:
        end: The first coding pass that was not decoded; None if all were decoded.
    """

    def __init__(self, stream: TileStream, channels: int, context: ContextModel, finest_level: int) -> None:
        self._reader = SymbolReader(stream, channels, context)
        self._finest_level = finest_level
        self.end: CodingPass | None = None

    def low_symbols(self, shape: tuple[int, int, int]) -> Symbols:
        """Returns the coarsest low-pass band, int32 [C, h, w]. Raises FormatError if the band
        cannot be decoded.
        """
        return self._reader.low_symbols(shape)

    def symbols(self, coding_pass: CodingPass, choice: TableChoice, causal: CausalContext) -> Symbols:
        """Returns the symbols of a coding pass, int32 [N]. Raises EndOfSymbols if the pass cannot
        be decoded, or its level is finer than requested.
        """
        try:
            if coding_pass.level >= self._finest_level:
                return self._reader.symbols(coding_pass, choice, causal)
        except FormatError:
            pass
        self.end = coding_pass
        raise EndOfSymbols


def _decode_prefix(
    stream: TileStream,
    geometry: Geometry,
    q_step: int,
    context: ContextModel,
    finest_level: int,
    last_level: int,
    out: Int32 | None,
) -> tuple[Symbols, Int32, CodingPass | None]:
    """Decodes the levels of a tile down to `last_level`, as far as possible.

    The remaining symbols down to `finest_level` are set to 0. Returns the symbols and samples of
    `traverse`; and the first coding pass that was not decoded.
    """
    source = _Prefix(stream, geometry.channels, context, last_level)
    return *traverse(geometry, q_step, context, source, finest_level, out=out), source.end


class Salvage:
    """The salvage of an image: decodes tiles as far as possible, and records the losses."""

    def __init__(self, tiles: int, state: str) -> None:
        self._tiles = tiles
        self._state = state  # of the lost symbols, for messages: "missing" or "damaged"
        self._ends: dict[int, CodingPass] = {}  # the first missing pass of each partly decoded tile
        self._lost: list[int] = []  # tiles without any decoded symbol
        self._has_decoded = False

    def read_tile(
        self,
        number: int,
        stream: TileStream,
        geometry: Geometry,
        q_step: int,
        context: ContextModel,
        finest_level: int,
        out: Int32 | None = None,
    ) -> tuple[Symbols, Int32]:
        """Decodes the intact part of a tile and sets the rest to zero. A lost tile is mid-gray.

        Arguments and result are those of `sections.latents.read_tile`.
        """
        try:
            symbols, samples, end = _decode_prefix(stream, geometry, q_step, context, finest_level, finest_level, out)
            wrong = wrong_level(stream, symbols, geometry, finest_level if end is None else end.level + 1)
            if wrong is None and end is not None and stream.checks is not None and not stream.missing_bytes:
                wrong = end.level  # the stream is complete, so the damage is before the place where decoding failed
            if wrong == geometry.levels:
                msg = "the low-pass band is not the one that was written"
                raise CorruptError(msg)
            if wrong is not None:
                symbols, samples, end = _decode_prefix(stream, geometry, q_step, context, finest_level, wrong + 1, out)
        except FormatError:
            self._lost.append(number)
            samples = np.empty((geometry.channels, *geometry.low_sizes[finest_level]), np.int32) if out is None else out
            samples[...] = 0
            return np.zeros(geometry.symbol_count(finest_level), np.int32), samples
        self._has_decoded = True
        if end is not None:
            self._ends[number] = end
        return symbols, samples

    def losses(self) -> list[str]:
        """Returns sentences that describe the losses. Raises CorruptError if no symbol was decoded
        at all.
        """
        if not self._has_decoded:
            msg = f"nothing of the image or region can be decoded: its latents are {self._state} from the start"
            raise CorruptError(msg)
        sentences = []
        for number, end in sorted(self._ends.items()):
            tile = f" of tile {number + 1} of {self._tiles}" if self._tiles > 1 else ""
            sentences.append(lost_details(end.level, self._state, tile))
        if self._lost:
            sentences.append(
                f"{len(self._lost)} of {self._tiles} tiles are {self._state}, the first is number "
                f"{min(self._lost) + 1}; they are mid-gray"
            )
        return sentences
