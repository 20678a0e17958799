"""Measurement of one image, codec and size: the figures, and a crop of the decoded image."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import inf, isinf
from typing import Any

import numpy as np

from dfmcodec._types import Pixels
from dfmcodec.bench.codecs import save_pixels
from dfmcodec.bench.measures import OF_TUNE, Measure
from dfmcodec.metrics import bits_per_pixel, ms_ssim, psnr, ssim
from dfmcodec.metrics.ssimulacra2 import ssimulacra2
from dfmcodec.models import VISUAL_BY_DEFAULT, VISUAL_MODELS, has_option

DFM = "dfm"
CROP_SIDE = 192


@dataclass(frozen=True)
class Target:
    """Settings of dfm. Its file sizes are the limits for all anchors."""

    model: str  # "wavelet", "overfitted" or "coordinate"
    effort: int  # 1..9; no effect on the coordinate codec
    rate: float  # maximum file size as a fraction of the raw bytes
    time_limit_s: float | None = None  # of a fit; None for no limit
    tune: str = "visual"  # "visual" or "psnr"; only "psnr" for the coordinate codec

    @property
    def measure(self) -> Measure:
        """Returns the measure by which codecs are compared: the one that matches the tune."""
        return OF_TUNE[self.tune]

    @property
    def series(self) -> str:
        """Returns a description without the rate, equal for the points of one curve."""
        effort = f", effort {self.effort}" if has_option(self.model, "effort") else ""
        limit = f", {self.time_limit_s:g} s" if self.time_limit_s else ""
        tune = ""
        if self.model in VISUAL_MODELS and (self.tune == "visual") != (self.model in VISUAL_BY_DEFAULT):
            tune = f", tune {self.tune}"
        return f"{self.model}{effort}{tune}{limit}"

    @property
    def label(self) -> str:
        """Returns a description of the target."""
        return f"rate {self.rate:g}, {self.series}"


@dataclass(frozen=True)
class Figures:
    """Figures of one file and its decoded image."""

    file_bytes: int
    bpp: float
    psnr_db: float  # over all samples; infinite if the file is lossless
    ssim: float | None  # None for images smaller than its window
    ms_ssim: float | None  # None for images with a side below 176
    ssimulacra2: float | None  # None for images with a side below 8
    encode_s: float  # of dfm with the search for the size, of an anchor for a single encoding
    decode_s: float  # in a process that is warmed up
    crop: str  # of the decoded image, as lossless WebP in base64
    butteraugli: float | None = None  # 3-norm; None if it was not measured

    @property
    def lossless(self) -> bool:
        """Indicates whether the decoded image equals the original."""
        return isinf(self.psnr_db)

    def value(self, measure: Measure) -> float | None:
        """Returns the value of a measure; None if the image has none."""
        value: float | None = getattr(self, measure.name)
        return value


@dataclass(frozen=True)
class Measurement:
    """Measurement of one cell: image, target and codec."""

    image: str  # its name
    target: Target
    codec: str  # "dfm" or an anchor's name
    form: str
    limit_bytes: int  # for dfm that of the target, for an anchor the size of dfm's file
    setting: float | None = None  # of the anchor; None for dfm and for an empty cell
    next_setting: float | None = None  # its file exceeds the limit; None if there is none
    next_bytes: int | None = None
    figures: Figures | None = None  # None if all files of the anchor exceed the limit
    smallest_bytes: int | None = None  # of such an anchor

    @property
    def gap(self) -> float | None:
        """Returns the unused fraction of the limit."""
        return None if self.figures is None else 1 - self.figures.file_bytes / self.limit_bytes

    def to_json(self) -> str:
        """Returns JSON for the cache. The PSNR of a lossless file is null."""
        values = asdict(self)
        if self.figures is not None and self.figures.lossless:
            values["figures"]["psnr_db"] = None
        return json.dumps(values, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Measurement:
        """Parses the result of `to_json`. Raises ValueError, KeyError or TypeError if the text is
        not such a result.
        """
        values = json.loads(text)
        figures = values["figures"]
        if figures is not None and figures["psnr_db"] is None:
            figures["psnr_db"] = inf
        figures = None if figures is None else Figures(**figures)
        return cls(**{**values, "target": Target(**values["target"]), "figures": figures})

    def row(self) -> dict[str, Any]:
        """Returns flat plain values for JSON and CSV. The PSNR of a lossless file is None."""
        values = asdict(self)
        figures = values.pop("figures") or dict.fromkeys(Figures.__dataclass_fields__)
        figures.pop("crop")
        lossless = None if self.figures is None else self.figures.lossless
        if lossless:
            figures["psnr_db"] = None
        image, target = values.pop("image"), values.pop("target")
        gap = None if self.gap is None else round(100 * self.gap, 3)
        return {"image": image, **target, **values, **figures, "gap_percent": gap, "lossless": lossless}


def measure_figures(
    original: Pixels,
    data: bytes,
    encode_s: float,
    decode: Callable[[bytes], Pixels],
    butteraugli: Callable[[Pixels, Pixels], float | None] = lambda original, decoded: None,
) -> Figures:
    """Decodes a file and measures it against the original, uint8 [H, W, C]."""
    started = time.perf_counter()
    decoded = decode(data)
    decode_s = time.perf_counter() - started
    decoded = with_channels_of(original, decoded)
    return Figures(
        file_bytes=len(data),
        bpp=bits_per_pixel(len(data), original.shape[0] * original.shape[1]),
        psnr_db=psnr(original, decoded),
        ssim=ssim(original, decoded),
        ms_ssim=ms_ssim(original, decoded),
        ssimulacra2=ssimulacra2(original, decoded),
        encode_s=encode_s,
        decode_s=decode_s,
        crop=encode_crop(original, decoded),
        butteraugli=butteraugli(original, decoded),
    )


def encode_crop(original: Pixels, shown: Pixels) -> str:
    """Returns the crop where the original has most detail, as lossless WebP in base64."""
    crop = shown[_most_detailed_region(original)]
    return base64.b64encode(save_pixels(crop, "WEBP", lossless=True, method=4)).decode()


def _most_detailed_region(pixels: Pixels) -> tuple[slice, slice]:
    """Returns the region with the largest variance, among regions a quarter of a side apart."""
    gray = pixels.mean(axis=2)
    sides = [min(CROP_SIDE, side) for side in gray.shape]
    starts = [range(0, length - side + 1, CROP_SIDE // 4) for length, side in zip(gray.shape, sides, strict=True)]
    regions = [(slice(top, top + sides[0]), slice(left, left + sides[1])) for top in starts[0] for left in starts[1]]
    return max(regions, key=lambda region: float(np.std(gray[region])))


def with_channels_of(original: Pixels, decoded: Pixels) -> Pixels:
    """Converts an image to the channels of the original. Some codecs have only gray or colour."""
    if decoded.shape[2] == original.shape[2]:
        return decoded
    if original.shape[2] == 3:
        return np.repeat(decoded, 3, axis=2)
    rounded: Pixels = np.rint(decoded.mean(axis=2, keepdims=True)).astype(np.uint8)
    return rounded
