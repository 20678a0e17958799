"""The search for the largest file of an anchor that is not larger than dfm's."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from math import log

from dfmcodec._types import Pixels
from dfmcodec.bench.codecs import Codec


@dataclass(frozen=True)
class Match:
    """A file within a limit, and the next larger one.

    Args:
        setting: The codec's setting.
        data: The file.
        encode_s: Seconds of this one encoding.
        next_setting: The next setting; None if there is none.
        next_bytes: The size of its file, which is above the limit.
    """

    setting: float
    data: bytes
    encode_s: float
    next_setting: float | None
    next_bytes: int | None


@dataclass(frozen=True)
class OutOfReach:
    """No file of the codec is within the limit.

    Args:
        smallest_bytes: The size of its smallest file.
    """

    smallest_bytes: int


@dataclass
class SizeSearch:
    """The files of one image, codec and form for all settings. Each is encoded once, whatever the
    limits.

    Args:
        codec: The codec.
        form: One of its forms.
        pixels: uint8 [H, W, C].
    """

    codec: Codec
    form: str
    pixels: Pixels
    _files: dict[int, tuple[bytes, float]] = field(default_factory=dict)

    def largest_within(self, limit_bytes: int) -> Match | OutOfReach:
        """The file whose next setting exceeds the limit, found by interpolation and bisection in
        turn.

        Sizes nearly always grow with the setting. Where they do not, this is one of several
        settings at which the size crosses the limit.
        """
        fits, exceeds = -1, len(self.codec.settings)  # before the first setting, after the last
        fits = max((at for at in self._files if self._size(at) <= limit_bytes), default=fits)
        exceeds = min((at for at in self._files if at > fits), default=exceeds)
        bisects = False
        while exceeds - fits > 1:
            middle = self._halfway(fits, exceeds) if bisects else self._interpolated(fits, exceeds, limit_bytes)
            bisects = not bisects
            if self._size(middle) <= limit_bytes:
                fits = middle
            else:
                exceeds = middle
        if fits < 0:
            return OutOfReach(self._size(0))
        data, encode_s = self._files[fits]
        settings = self.codec.settings
        has_next = exceeds < len(settings)
        return Match(
            settings[fits],
            data,
            encode_s,
            settings[exceeds] if has_next else None,
            self._size(exceeds) if has_next else None,
        )

    def _halfway(self, fits: int, exceeds: int) -> int:
        return (fits + exceeds) // 2

    def _interpolated(self, fits: int, exceeds: int, limit_bytes: int) -> int:
        """The index strictly between two others where the log of the size, taken as linear, reaches
        the limit.
        """
        if fits < 0 or exceeds == len(self.codec.settings):
            return self._halfway(fits, exceeds)
        low, high = log(self._size(fits)), log(self._size(exceeds))
        fraction = (log(limit_bytes) - low) / (high - low)
        return min(max(fits + round(fraction * (exceeds - fits)), fits + 1), exceeds - 1)

    def _size(self, at: int) -> int:
        """The size of the file of a setting, by the setting's index."""
        if at not in self._files:
            started = time.perf_counter()
            data = self.codec.encode(self.pixels, self.form, self.codec.settings[at])
            self._files[at] = data, time.perf_counter() - started
        return len(self._files[at][0])
