"""The input, the progress and the outcome of an encoding, for all codecs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any

from dfmcodec._types import Pixels, Tune, Units
from dfmcodec.container.contents import QuantizedModel
from dfmcodec.image import Image
from dfmcodec.image.region import Region
from dfmcodec.perception.ssimulacra2 import ALL_SCALES_SIDE
from dfmcodec.search.config import EncoderConfig
from dfmcodec.search.target import Target

MAX_RESTARTS = 4  # of a diverging fit


def restarts_text(restarts: int) -> str:
    """Returns the number of restarts as text for progress displays."""
    return f", restarted {restarts}x" if restarts else ""


@dataclass(frozen=True)
class Progress:
    """The progress of an encoding, for displays.

    Args:
        fraction: The fraction of the fit that is done, 0..1.
        iterations: Training steps or iterations so far.
        psnr_db: An estimate of the PSNR so far; NaN if unknown.
        elapsed_s: Seconds so far.
        description: The current work, for the user.
        limit_bytes: The size limit; None if the target is not a size.
    """

    fraction: float
    iterations: int
    psnr_db: float
    elapsed_s: float
    description: str
    limit_bytes: int | None

    @property
    def remaining_s(self) -> float:
        """The estimated remaining time, from the fraction that is done."""
        return self.elapsed_s * (1 - self.fraction) / self.fraction if self.fraction else inf


@dataclass(frozen=True)
class Job:
    """An image to encode, with the settings resolved for it."""

    image: Image  # as it is coded
    config: EncoderConfig  # codecs read effort, steps, seed and time limit, but neither target nor tune
    target: Target  # for a file without ancillary data, relative to the full range of samples
    tune: Tune
    on_progress: Callable[[Progress], None] = lambda progress: None  # called often
    should_stop: Callable[[], bool] = lambda: False  # True ends the fit with the best result so far
    ancillary_bytes: int = 0  # metadata, alpha and checks, which count towards a size budget
    has_checks: bool = False  # whether `ancillary_bytes` includes checks, except those of optional sections
    range_db: float = 0.0  # PSNR relative to the full range less that relative to `sample_max`
    metadata_bytes: int = 0  # included in `ancillary_bytes`
    texture_bytes: int = 0  # likewise: the bytes that a texture may take

    @classmethod
    def of(cls, image: Image, config: EncoderConfig, asked: Target, ancillary_bytes: int = 0, **others: Any) -> Job:
        """Returns the job for an image as it is coded, and settings with their target."""
        range_db = config.range_db(image.bit_depth)
        target = asked.of_samples(range_db).without(ancillary_bytes)
        if min(image.pixels.shape[:2]) < ALL_SCALES_SIDE:  # too small for all scales of SSIMULACRA2
            target = target.as_lmbda()
        tune = config.distortion_tune
        return cls(image, config, target, tune, ancillary_bytes=ancillary_bytes, range_db=range_db, **others)

    @property
    def limit_bytes(self) -> int | None:
        """The largest size of the complete file, for displays; None if the target is not a size."""
        limit = self.target.limit_bytes
        return None if limit is None else limit + self.ancillary_bytes

    def reported_db(self, psnr_db: float) -> float:
        """Converts a PSNR relative to the full range to the PSNR that is reported to the user."""
        return psnr_db - self.range_db

    def reason_to_stop(self, seconds: float) -> str | None:
        """Returns the reason to stop and take the best result so far; None to continue."""
        if self.should_stop():
            return "interrupted"
        limit = self.config.time_limit_s
        return "time limit" if limit is not None and seconds > limit else None

    def out_of_reach(self, floor_db: float, reached: str, best_db: float, advice: str = "") -> str:
        """Returns the message for a PSNR, relative to the full range like `best_db`, that no file
        reaches. `reached` starts a sentence that ends with the best PSNR, and `advice` ends the
        message.
        """
        floor_db, best_db = self.reported_db(floor_db), self.reported_db(best_db)
        return f"{floor_db:.2f} dB is out of reach: {reached} {best_db:.2f} dB{advice}"

    def too_small(self, least_bytes: float) -> str:
        """Returns the message for a size below the smallest file, of `least_bytes`."""
        metadata = f", including {self.metadata_bytes:,} of metadata (see --strip)"
        return (
            f"the target of {self.limit_bytes:,} bytes is below the {least_bytes + self.ancillary_bytes:,.0f} "
            f"that the smallest file needs{metadata if self.metadata_bytes else ''}"
        )


@dataclass(frozen=True)
class Encoded:
    """The decoded image of the wavelet codec, as known to the encoder."""

    samples: Units  # the linear synthesis of the region, int16 or int32 [C, h, w], units
    region: Region  # the complete image; if the pixels are known, the middle tile and its surroundings
    pixels: Pixels | None  # of the complete image, [H, W, C]; None if unknown


@dataclass(frozen=True)
class Outcome:
    """A quantised model and the figures of its encoding."""

    model: QuantizedModel  # to write
    estimated_bytes: float  # by the entropy model, without ancillary data
    iterations: int  # training steps of a fit, or rounds of the wavelet encoder
    fit_s: float  # seconds of the fit, without compilation
    stop_reason: str  # see `report.EncodeReport`
    restarts: int = 0  # of a fit that diverged
    figures: dict[str, Any] = field(default_factory=dict)  # of the codec; see `report.EncodeReport.codec`
    encoded: Encoded | None = None  # the decoded image, if known
    ssimulacra2: float | None = None  # of the decoded image; None if unknown
