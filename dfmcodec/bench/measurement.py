"""Measures of quality, and the measurement of one file of one codec."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import isinf
from typing import Any

import numpy as np

from dfmcodec._types import Pixels
from dfmcodec.models import VISUAL_BY_DEFAULT, VISUAL_MODELS, has_option
from dfmcodec.perception import bits_per_pixel, butteraugli, psnr
from dfmcodec.perception.ssimulacra2 import ssimulacra2

DFM = "dfm"
PLAIN_DFM = "dfm:no-texture"  # the same files, decoded without their textures


@dataclass(frozen=True)
class Measure:
    """Quality measure."""

    name: str  # attribute of `Measurement`, also the name in JSON
    label: str  # displayed name
    digits: int  # displayed decimals
    is_lower_better: bool = False


SSIMULACRA2 = Measure("ssimulacra2", "SSIMULACRA2", 1)
BUTTERAUGLI = Measure("butteraugli", "Butteraugli", 2, is_lower_better=True)
PSNR = Measure("psnr_db", "PSNR dB", 2)
MEASURES = (SSIMULACRA2, BUTTERAUGLI, PSNR)


@dataclass(frozen=True)
class Target:
    """Settings of dfm. Its file sizes are the limits for all anchors."""

    model: str  # "wavelet", "overfitted" or "coordinate"
    effort: int  # no effect on the coordinate codec
    rate: float  # maximum file size as a fraction of the raw bytes
    tune: str = "visual"  # "visual" or "psnr"; only "psnr" for the coordinate codec

    @property
    def measure(self) -> Measure:
        """Returns the measure that matches the tune."""
        return SSIMULACRA2 if self.tune == "visual" else PSNR

    @property
    def may_have_texture(self) -> bool:
        """Indicates whether files may have noise in place of lost texture."""
        return self.tune == "visual" and has_option(self.model, "texture")

    @property
    def series(self) -> str:
        """Returns a description without the rate, equal for the points of one curve."""
        effort = f", effort {self.effort}" if has_option(self.model, "effort") else ""
        has_usual_tune = self.model not in VISUAL_MODELS or (self.tune == "visual") == (self.model in VISUAL_BY_DEFAULT)
        return f"{self.model}{effort}{'' if has_usual_tune else f', tune {self.tune}'}"

    @property
    def label(self) -> str:
        """Returns a description of the target."""
        return f"rate {self.rate:g}, {self.series}"


@dataclass(frozen=True)
class Measurement:
    """Measurement of a file and its decoded image."""

    image: str  # its name
    target: Target
    codec: str  # `DFM`, `PLAIN_DFM` or an anchor's name
    form: str  # the anchor's form with the best image
    setting: float | None  # of the anchor; None for dfm
    file_bytes: int
    bpp: float
    psnr_db: float  # over all samples; infinite if the file is lossless
    ssimulacra2: float | None  # None for images with a side below 8
    butteraugli: float | None  # likewise, and if its command is not installed
    encode_s: float  # of dfm with the search for the size, of an anchor for a single encoding
    decode_s: float

    @property
    def is_lossless(self) -> bool:
        """Indicates whether the decoded image equals the original."""
        return isinf(self.psnr_db)

    def value(self, measure: Measure) -> float | None:
        """Returns the value of a measure; None if the image has none."""
        value: float | None = getattr(self, measure.name)
        return value

    def quality(self, measure: Measure) -> float | None:
        """Returns the value of a measure, negated if lower values are better."""
        value = self.value(measure)
        return -value if value is not None and measure.is_lower_better else value

    def row(self) -> dict[str, Any]:
        """Returns flat plain values for JSON. The PSNR of a lossless file is None."""
        values = asdict(self)
        target = values.pop("target")
        return {**target, **values, "psnr_db": None if self.is_lossless else self.psnr_db}


def measure_file(
    original: Pixels,
    data: bytes,
    decode: Callable[[bytes], Pixels],
    encode_s: float,
    *,
    image: str,
    target: Target,
    codec: str = DFM,
    form: str = "",
    setting: float | None = None,
) -> Measurement:
    """Decodes a file and measures it against the original, uint8 [H, W, C]."""
    started = time.perf_counter()
    decoded = decode(data)
    decode_s = time.perf_counter() - started
    decoded = with_channels_of(original, decoded)
    return Measurement(
        image,
        target,
        codec,
        form,
        setting,
        file_bytes=len(data),
        bpp=bits_per_pixel(len(data), original.shape[0] * original.shape[1]),
        psnr_db=psnr(original, decoded),
        ssimulacra2=ssimulacra2(original, decoded),
        butteraugli=butteraugli.butteraugli(original, decoded) if butteraugli.is_installed() else None,
        encode_s=encode_s,
        decode_s=decode_s,
    )


def with_channels_of(original: Pixels, decoded: Pixels) -> Pixels:
    """Converts an image to the channels of the original. Some codecs have only gray or colour."""
    if decoded.shape[2] == original.shape[2]:
        return decoded
    if original.shape[2] == 3:
        return np.repeat(decoded, 3, axis=2)
    rounded: Pixels = np.rint(decoded.mean(axis=2, keepdims=True)).astype(np.uint8)
    return rounded
