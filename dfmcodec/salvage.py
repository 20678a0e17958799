"""What can be decoded of latents that are cut off or damaged: whole passes up to the first that cannot be relied on.

A tile's levels are coded coarse to fine, so what is there makes the whole tile at less detail. Where the stream is
cut, passes count as long as every continuation of it decodes to the same symbols (`pyramid_coding.SymbolReader`).
Where it is damaged, levels count as long as their checks hold; in a file without checks all that decodes is taken.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dfmcodec.entropy.context import ContextModel, Groups
from dfmcodec.errors import CorruptError, FormatError
from dfmcodec.latents import Geometry
from dfmcodec.model import Symbols
from dfmcodec.pyramid_coding import EndOfSymbols, Part, SymbolReader, traverse, wrong_level
from dfmcodec.scan import Place, Scan

Int32 = npt.NDArray[np.int32]


class _Prefix:
    """The symbols of a tile, ending before the first that cannot be decoded.

    Args:
        part: Of the latents section.
        colours: 1 or 3.
        context: The context model.
        finest_level: The last level that is given.

    Raises:
        FormatError: Not even the tables are there.
    """

    def __init__(self, part: Part, colours: int, context: ContextModel, finest_level: int) -> None:
        self._reader = SymbolReader(part, colours, context)
        self._finest_level = finest_level
        self.end: Place | None = None

    def low_symbols(self, shape: tuple[int, int, int]) -> Symbols:
        """The coarsest low-pass band. Raises FormatError where it is not there."""
        return self._reader.low_symbols(shape)

    def symbols(self, place: Place, groups: Groups, scan: Scan) -> Symbols:
        """The symbols of a pass."""
        try:
            if place.level >= self._finest_level:
                return self._reader.symbols(place, groups, scan)
        except FormatError:
            pass
        self.end = place
        raise EndOfSymbols


def _walked(
    part: Part, geometry: Geometry, step: int, context: ContextModel, finest_level: int, last_level: int
) -> tuple[Symbols, Int32, Place | None]:
    """As of `traverse`, with the symbols of levels down to a last one as far as they decode; and where they end."""
    source = _Prefix(part, geometry.colours, context, last_level)
    return *traverse(geometry, step, context, source, finest_level), source.end


class Salvage:
    """Decodes the tiles of a picture as far as it goes, and remembers how far that was.

    Args:
        tiles: Their number.
        colours: 1 or 3.
        why: Of what is lost, "missing" or "damaged".
    """

    def __init__(self, tiles: int, colours: int, why: str) -> None:
        self._tiles = tiles
        self._colours = colours
        self._why = why
        self._ends: dict[int, Place] = {}  # of tiles that are there in part
        self._absent: list[int] = []
        self._found_any = False

    def read_tile(
        self, number: int, part: Part, geometry: Geometry, step: int, context: ContextModel, finest_level: int
    ) -> tuple[Symbols, Int32]:
        """As `pyramid_coding.read_tile`, with zeros for what is lost: a tile of which nothing is there is mid-grey."""
        try:
            found, samples, end = _walked(part, geometry, step, context, finest_level, finest_level)
            wrong = wrong_level(part, found, geometry, finest_level if end is None else end.level + 1)
            if wrong is None and end is not None and part.checks is not None and not part.missing_bytes:
                wrong = end.level  # not cut off: the damage lies before the place where it came out
            if wrong == geometry.levels:
                msg = "the low-pass band is not the one that was written"
                raise CorruptError(msg)
            if wrong is not None:
                found, samples, end = _walked(part, geometry, step, context, finest_level, wrong + 1)
        except FormatError:
            self._absent.append(number)
            shape = geometry.colours, *geometry.low_sizes[finest_level]
            return np.zeros(geometry.symbol_count(finest_level), np.int32), np.zeros(shape, np.int32)
        self._found_any = True
        if end is not None:
            self._ends[number] = end
        return found, samples

    def losses(self) -> list[str]:
        """What is lost, in words.

        Raises:
            CorruptError: Everything.
        """
        if not self._found_any:
            msg = f"nothing of what is wanted can be made out: its latents are {self._why} from their beginning on"
            raise CorruptError(msg)
        lines = []
        for number, end in self._ends.items():
            tile = f" of tile {number + 1} of {self._tiles}" if self._tiles > 1 else ""
            colour = f", colour {end.colour + 1} of {self._colours}," if end.colour else ""
            lines.append(
                f"detail{tile} is {self._why} from level {end.level}{colour} on (0 is the finest); it is blurrier"
            )
        if self._absent:
            lines.append(
                f"{len(self._absent)} of {self._tiles} tiles are {self._why}, the first of them number "
                f"{self._absent[0] + 1}; they are mid-grey"
            )
        return lines
