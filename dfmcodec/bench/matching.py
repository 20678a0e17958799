"""The largest file of an anchor that is not larger than dfm's own."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from math import log

from dfmcodec.bench.codecs import Codec
from dfmcodec.image import Pixels


@dataclass(frozen=True)
class Match:
    """A file within a limit, and why it is no larger.

    Args:
        setting: The knob's value.
        data: The file.
        encode_s: Seconds of this one encoding.
        next_setting: The knob's next value; None where there is none.
        next_bytes: The size that it leads to, above the limit.
    """

    setting: float
    data: bytes
    encode_s: float
    next_setting: float | None
    next_bytes: int | None


@dataclass(frozen=True)
class OutOfReach:
    """No file of the codec is within the limit; the smallest has so many bytes."""

    smallest_bytes: int


@dataclass
class SizeSearch:
    """Files of one picture, codec and form by the knob's position, each encoded once whatever the limits.

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
        """Where the knob's next value would exceed the limit.

        Sizes grow with the knob nearly always; where they do not, this is one of the places where they cross the limit.
        """
        fits, exceeds = -1, len(self.codec.settings)  # ends of the knob, taken for granted
        fits = max((at for at in self._files if self._size(at) <= limit_bytes), default=fits)
        exceeds = min((at for at in self._files if at > fits), default=exceeds)
        halve = False
        while exceeds - fits > 1:
            middle = self._halfway(fits, exceeds) if halve else self._interpolated(fits, exceeds, limit_bytes)
            halve = not halve
            if self._size(middle) <= limit_bytes:
                fits = middle
            else:
                exceeds = middle
        if fits < 0:
            return OutOfReach(self._size(0))
        data, encode_s = self._files[fits]
        settings = self.codec.settings
        following = exceeds < len(settings)
        return Match(
            settings[fits],
            data,
            encode_s,
            settings[exceeds] if following else None,
            self._size(exceeds) if following else None,
        )

    def _halfway(self, fits: int, exceeds: int) -> int:
        return (fits + exceeds) // 2

    def _interpolated(self, fits: int, exceeds: int, limit_bytes: int) -> int:
        """Where the logarithm of the size, linear between two positions, meets the limit; strictly between them."""
        if fits < 0 or exceeds == len(self.codec.settings):
            return self._halfway(fits, exceeds)
        low, high = log(self._size(fits)), log(self._size(exceeds))
        part = (log(limit_bytes) - low) / (high - low)
        return min(max(fits + round(part * (exceeds - fits)), fits + 1), exceeds - 1)

    def _size(self, at: int) -> int:
        if at not in self._files:
            started = time.perf_counter()
            data = self.codec.encode(self.pixels, self.form, self.codec.settings[at])
            self._files[at] = data, time.perf_counter() - started
        return len(self._files[at][0])
