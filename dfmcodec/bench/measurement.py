"""One picture through one codec at one size: the figures, and a piece of the decoded picture to look at."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dfmcodec.image import Pixels
from dfmcodec.metrics import bits_per_pixel, ms_ssim, psnr, ssim

DFM = "dfm"
CROP_SIDE = 192


@dataclass(frozen=True)
class Target:
    """What dfm is asked for, and so the sizes that every anchor gets.

    Args:
        model: "latent" or "coordinate".
        effort: 1..9; of no effect on the coordinate model.
        rate: Largest size as a fraction of the raw bytes.
        time_limit_s: Ends a fit after so long; None for no limit.
    """

    model: str
    effort: int
    rate: float
    time_limit_s: float | None = None

    @property
    def series(self) -> str:
        """All but the rate, for people: targets that differ in the rate alone are points of one curve."""
        effort = f", effort {self.effort}" if self.model == "latent" else ""
        limit = f", {self.time_limit_s:g} s" if self.time_limit_s else ""
        return f"{self.model}{effort}{limit}"

    @property
    def label(self) -> str:
        return f"rate {self.rate:g}, {self.series}"


@dataclass(frozen=True)
class Figures:
    """Of one file and its decoded picture.

    Args:
        bytes: Size of the file.
        bpp: Bits per pixel.
        psnr_db: Over all samples.
        ssim: None for pictures smaller than its window.
        ms_ssim: None for pictures with a side below 176.
        ssimulacra2: None unless asked for.
        encode_s: Seconds of encoding. dfm's include all that it does to meet the size; an anchor's are of one file.
        decode_s: Seconds of decoding, in a process that is warm.
        crop: A piece of the decoded picture, a lossless WebP in base64.
    """

    bytes: int
    bpp: float
    psnr_db: float
    ssim: float | None
    ms_ssim: float | None
    ssimulacra2: float | None
    encode_s: float
    decode_s: float
    crop: str


@dataclass(frozen=True)
class Measurement:
    """A cell of the comparison.

    Args:
        picture: Its name in this run.
        target: What dfm was asked for.
        codec: "dfm" or an anchor's name.
        form: The anchor's form.
        limit_bytes: The size allowed: the target's for dfm, that of dfm's own file for an anchor.
        setting: The anchor's knob; None for dfm and for an empty cell.
        next_setting: The knob's next value, whose file would be larger than allowed; None where there is none.
        next_bytes: The size of that file.
        figures: None where the anchor cannot go that low.
        smallest_bytes: Of an anchor that cannot: its smallest file.
    """

    picture: str
    target: Target
    codec: str
    form: str
    limit_bytes: int
    setting: float | None = None
    next_setting: float | None = None
    next_bytes: int | None = None
    figures: Figures | None = None
    smallest_bytes: int | None = None

    @property
    def gap(self) -> float | None:
        """By which part of the limit the file is smaller."""
        return None if self.figures is None else 1 - self.figures.bytes / self.limit_bytes

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Measurement:
        values = json.loads(text)
        figures = values["figures"]
        return cls(
            **{
                **values,
                "target": Target(**values["target"]),
                "figures": None if figures is None else Figures(**figures),
            }
        )

    def row(self) -> dict[str, Any]:
        """Flat plain values without the pictures, for JSON and CSV."""
        values = asdict(self)
        figures = values.pop("figures") or dict.fromkeys(Figures.__dataclass_fields__)
        figures.pop("crop")
        target = values.pop("target")
        gap = None if self.gap is None else round(100 * self.gap, 3)
        return {"picture": values.pop("picture"), **target, **values, **figures, "gap_percent": gap}


def figures_of(
    original: Pixels, data: bytes, decoded: Pixels, encode_s: float, decode_s: float, with_ssimulacra2: bool
) -> Figures:
    """Measures a decoded picture against the original, both uint8 [H, W, C]."""
    decoded = _like(original, decoded)
    return Figures(
        bytes=len(data),
        bpp=bits_per_pixel(len(data), original.shape[0] * original.shape[1]),
        psnr_db=psnr(original, decoded),
        ssim=ssim(original, decoded),
        ms_ssim=ms_ssim(original, decoded),
        ssimulacra2=_ssimulacra2(original, decoded) if with_ssimulacra2 else None,
        encode_s=encode_s,
        decode_s=decode_s,
        crop=crop_of(original, decoded),
    )


def crop_of(original: Pixels, shown: Pixels) -> str:
    """The piece of a picture that the report shows: where the original has most detail. Lossless WebP, base64."""
    import PIL.Image

    rows, columns = _detailed_window(original)
    crop = shown[rows, columns]
    buffer = io.BytesIO()
    PIL.Image.fromarray(crop[:, :, 0] if crop.shape[2] == 1 else crop).save(buffer, "WEBP", lossless=True, method=4)
    return base64.b64encode(buffer.getvalue()).decode()


def _detailed_window(pixels: Pixels) -> tuple[slice, slice]:
    """Of windows a quarter of their side apart, the one whose gray levels vary most."""
    gray = pixels.mean(axis=2)
    sides = [min(CROP_SIDE, side) for side in gray.shape]
    starts = [range(0, length - side + 1, CROP_SIDE // 4) for length, side in zip(gray.shape, sides, strict=True)]
    windows = [(slice(top, top + sides[0]), slice(left, left + sides[1])) for top in starts[0] for left in starts[1]]
    return max(windows, key=lambda window: float(np.std(gray[window])))


def _like(original: Pixels, decoded: Pixels) -> Pixels:
    """A decoded picture in the original's number of channels; some codecs have no gray, some have nothing else."""
    if decoded.shape[2] == original.shape[2]:
        return decoded
    if original.shape[2] == 3:
        return np.repeat(decoded, 3, axis=2)
    rounded: Pixels = np.rint(decoded.mean(axis=2, keepdims=True)).astype(np.uint8)
    return rounded


def _ssimulacra2(original: Pixels, decoded: Pixels) -> float:
    import PIL.Image
    from ssimulacra2 import compute_ssimulacra2

    files = []
    for pixels in (original, decoded):
        buffer = io.BytesIO()
        PIL.Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG")
        files.append(buffer)
    return float(compute_ssimulacra2(*files))
