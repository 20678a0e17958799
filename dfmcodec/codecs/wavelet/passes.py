"""The coding order of a tile's symbols: coding passes over the phases of each band.

The coarsest low-pass band comes first. Then follow the decomposition levels from coarse to fine,
the channels of each level (luma, two chroma axes), the orientations of each channel, and the four
phases of each band. A coding pass is one phase of one band. The phases are the four positions in
each 2x2 cell. They cover the first four rows and columns of a band as follows:

      phase 0       phase 1       phase 2       phase 3
       (0,0)         (1,1)         (0,1)         (1,0)

      0 . 0 .       0 . 0 .       0 2 0 2       0 2 0 2
      . . . .       . 1 . 1       . 1 . 1       3 1 3 1
      0 . 0 .       0 . 0 .       0 2 0 2       0 2 0 2
      . . . .       . 1 . 1       . 1 . 1       3 1 3 1

The symbols of a pass do not depend on each other, so a pass is computed with array operations, row
by row. The range coder takes the symbols sorted by table.
"""

from __future__ import annotations

from dataclasses import dataclass

from dfmcodec.codecs.wavelet.geometry import ORIENTATIONS, Geometry
from dfmcodec.image.region import CHANNELS

Rows = range  # a range of the rows of a pass
PHASES = ((0, 0), (1, 1), (0, 1), (1, 0))  # (row, column) modulo 2, in coding order


@dataclass(frozen=True)
class CodingPass:
    """One coding pass."""

    level: int  # the decomposition level, 0 for the finest
    channel: int  # 0 for luma or gray, 1 and 2 for the chroma axes
    orientation: int  # 0 if high along rows, 1 along columns, 2 along both
    phase: int  # the index into `PHASES`

    @property
    def band(self) -> int:
        """The index of the band, from its level, channel and orientation."""
        return (self.level * CHANNELS + self.channel) * ORIENTATIONS + self.orientation


def pass_shape(geometry: Geometry, coding_pass: CodingPass) -> tuple[int, int]:
    """Returns the (rows, columns) of a pass."""
    height, width = geometry.band_size(coding_pass.level, coding_pass.orientation)
    y, x = PHASES[coding_pass.phase]
    return (height - y + 1) // 2, (width - x + 1) // 2


def pass_slice(rows: Rows, columns: int) -> slice:
    """Returns the slice of a pass's symbols in some of its rows."""
    return slice(rows.start * columns, rows.stop * columns)


def level_passes(geometry: Geometry, level: int) -> list[CodingPass]:
    """Returns the passes of a decomposition level that have symbols, in coding order."""
    coding_passes = [
        CodingPass(level, channel, orientation, phase)
        for channel in range(geometry.channels)
        for orientation in range(ORIENTATIONS)
        for phase in range(len(PHASES))
    ]
    return [coding_pass for coding_pass in coding_passes if min(pass_shape(geometry, coding_pass)) > 0]
