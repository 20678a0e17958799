"""Search for the largest file of an anchor that is not larger than dfm's."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from math import log

from dfmcodec._types import Pixels
from dfmcodec.bench.codecs import Codec


@dataclass(frozen=True)
class Match:
    """File within a limit."""

    setting: float
    data: bytes
    encode_s: float


@dataclass(frozen=True)
class OutOfReach:
    """Result of a search if all files exceed the limit."""

    smallest_bytes: int


@dataclass
class SizeSearch:
    """Files of one image, codec and form for all settings. Each setting is encoded at most once."""

    codec: Codec
    form: str
    pixels: Pixels  # uint8 [H, W, C]
    _files: dict[int, tuple[bytes, float]] = field(default_factory=dict)

    def largest_within(self, limit_bytes: int) -> Match | OutOfReach:
        """Returns the largest file within a limit whose next setting exceeds it. Interpolation and
        bisection alternate.

        Sizes nearly always increase with the setting. Otherwise this is one of several settings at
        which the size crosses the limit.
        """
        fits, exceeds = -1, len(self.codec.settings)  # before the first setting, after the last
        fits = max((at for at in self._files if self._size(at) <= limit_bytes), default=fits)
        exceeds = min((at for at in self._files if at > fits), default=exceeds)
        bisects = False
        while exceeds - fits > 1:
            middle = (fits + exceeds) // 2 if bisects else self._interpolated(fits, exceeds, limit_bytes)
            bisects = not bisects
            if self._size(middle) <= limit_bytes:
                fits = middle
            else:
                exceeds = middle
        return OutOfReach(self._size(0)) if fits < 0 else Match(self.codec.settings[fits], *self._files[fits])

    def _interpolated(self, fits: int, exceeds: int, limit_bytes: int) -> int:
        """Returns an index strictly between two others, by interpolation of the log of the size."""
        if fits < 0 or exceeds == len(self.codec.settings):
            return (fits + exceeds) // 2
        low, high = log(self._size(fits)), log(self._size(exceeds))
        fraction = (log(limit_bytes) - low) / (high - low)
        return min(max(fits + round(fraction * (exceeds - fits)), fits + 1), exceeds - 1)

    def _size(self, at: int) -> int:
        """Returns the file size at the index of a setting."""
        if at not in self._files:
            started = time.perf_counter()
            data = self.codec.encode(self.pixels, self.form, self.codec.settings[at])
            self._files[at] = data, time.perf_counter() - started
        return len(self._files[at][0])
