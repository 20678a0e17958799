"""The input, the progress and the outcome of an encoding, for all models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from dfmcodec._types import Int32, Pixels, Tune
from dfmcodec.container.contents import QuantizedModel
from dfmcodec.image import Image
from dfmcodec.image.region import Region
from dfmcodec.metrics.ssimulacra2 import WHOLE_SIDE
from dfmcodec.search.config import EncoderConfig
from dfmcodec.search.target import Target

if TYPE_CHECKING:
    from dfmcodec.codecs.generative.model import GenerativeModel

MAX_RESTARTS = 4  # of a fit that diverges


def restarts_text(restarts: int) -> str:
    """How often a fit was restarted, for progress displays."""
    return f", restarted {restarts}x" if restarts else ""


@dataclass(frozen=True)
class Progress:
    """What a progress display can show during a fit.

    Args:
        fraction: The fraction of the fit that is done, 0..1.
        steps: Gradient steps or iterations so far.
        psnr_db: An estimate of the PSNR so far; NaN where there is none yet.
        seconds: Seconds so far.
        what: A text for people about what is fitted.
        budget_bytes: The size limit; None where the target is not a size.
    """

    fraction: float
    steps: int
    psnr_db: float
    seconds: float
    what: str
    budget_bytes: int | None

    @property
    def seconds_left(self) -> float:
        """An estimate from the fraction that is done."""
        return self.seconds * (1 - self.fraction) / self.fraction if self.fraction else inf


@dataclass(frozen=True)
class Job:
    """One image to encode, with all that the settings of the user mean for it.

    Args:
        image: The image as it is coded.
        config: The settings, of which codecs take effort, steps, seed and time limit, but neither
            target nor tune.
        target: The target of a file without ancillary data, relative to the whole range of samples.
        tune: The metric to optimise.
        on_progress: Called many times during the fit.
        should_stop: Asked during the fit; True ends it, and the best so far is written.
        ancillary_bytes: Bytes of ancillary data: metadata, alpha and checks. They share a size
            budget with the model.
        has_checks: Whether a size budget has room for checks. `ancillary_bytes` includes them, but
            not those of further sections of the model.
        range_db: What PSNRs relative to the `sample_max` of the user's settings are below those
            relative to the whole range.
        metadata_bytes: Bytes of metadata, which `ancillary_bytes` includes.
        generator: The generative model, if the image becomes a code of one.
    """

    image: Image
    config: EncoderConfig
    target: Target
    tune: Tune
    on_progress: Callable[[Progress], None] = lambda progress: None
    should_stop: Callable[[], bool] = lambda: False
    ancillary_bytes: int = 0
    has_checks: bool = False
    range_db: float = 0.0
    metadata_bytes: int = 0
    generator: GenerativeModel | None = None

    @classmethod
    def of(cls, image: Image, config: EncoderConfig, asked: Target, ancillary_bytes: int = 0, **others: Any) -> Job:
        """Returns the job for the settings of a user.

        Args:
            image: The image as it is coded.
            config: The settings.
            asked: Their target; see `target.asked_target`.
            ancillary_bytes: Bytes of ancillary data.
            **others: Further arguments of `Job`.
        """
        range_db = config.range_db(image.bit_depth)
        target = asked.of_samples(range_db).without(ancillary_bytes)
        if min(image.pixels.shape[:2]) < WHOLE_SIDE:  # such images have not all scales of SSIMULACRA2
            target = target.as_lmbda()
        tune = config.distortion_tune
        return cls(image, config, target, tune, ancillary_bytes=ancillary_bytes, range_db=range_db, **others)

    @property
    def limit_bytes(self) -> int | None:
        """The largest size of the complete file, for displays; None where the target is no size."""
        limit = self.target.limit_bytes
        return None if limit is None else limit + self.ancillary_bytes

    def reported_db(self, psnr_db: float) -> float:
        """Returns a PSNR relative to the whole range, as it is reported to the user."""
        return psnr_db - self.range_db

    def reason_to_stop(self, seconds: float) -> str | None:
        """Why the best so far has to be taken after some seconds; None if there is time for
        more.
        """
        if self.should_stop():
            return "interrupted"
        limit = self.config.time_limit_s
        return "time limit" if limit is not None and seconds > limit else None

    def out_of_reach(self, floor_db: float, reached: str, best_db: float, advice: str = "") -> str:
        """Returns the message where no file has a PSNR.

        Args:
            floor_db: The PSNR, relative to the whole range, as `best_db`.
            reached: The beginning of a sentence that ends with the best PSNR.
            best_db: The best PSNR.
            advice: The rest of the message.
        """
        floor_db, best_db = self.reported_db(floor_db), self.reported_db(best_db)
        return f"{floor_db:.2f} dB is out of reach: {reached} {best_db:.2f} dB{advice}"

    def too_small(self, least_bytes: float) -> str:
        """Returns the message where even the smallest file, of the given bytes without ancillary
        data, exceeds the budget.
        """
        metadata = f", including {self.metadata_bytes:,} of metadata (see --strip)"
        return (
            f"the target of {self.limit_bytes:,} bytes is below the {least_bytes + self.ancillary_bytes:,.0f} "
            f"that the smallest file needs{metadata if self.metadata_bytes else ''}"
        )


@dataclass(frozen=True)
class TracePoint:
    """One iteration of the rate-distortion optimisation of a wavelet codec.

    Args:
        iteration: Its number, from 1.
        q_step: Its quantisation step in 1/64 code values.
        file_bytes: Estimated size of the file, without ancillary data.
        psnr_db: PSNR of the decoded image; None where the iteration was not finished, or where the
            image is exact.
    """

    iteration: int
    q_step: int
    file_bytes: float
    psnr_db: float | None


@dataclass(frozen=True)
class Encoded:
    """What a decoder makes of an image of the wavelet codec.

    Args:
        samples: The linear synthesis of a region, int32 [C, h, w], units.
        region: The region: the whole image, or where the pixels are known the tile in the middle
            and what is seen from there.
        pixels: The pixels of the whole image, [H, W, C]; None where they are not known.
    """

    samples: Int32
    region: Region
    pixels: Pixels | None


@dataclass(frozen=True)
class NetworkFigures:
    """The figures of a coordinate network.

    Args:
        float_psnr_db: PSNR of the fitted network before quantisation.
        bits_per_weight: Bits of the range-coded stream per weight.
        step_indices: The step index of the weights of each layer.
    """

    float_psnr_db: float
    bits_per_weight: float
    step_indices: tuple[int, ...]


@dataclass(frozen=True)
class Outcome:
    """A quantised model and how it came about.

    Args:
        model: What to write.
        estimated_bytes: Size of the file by the entropy model, without ancillary data.
        network: The figures of a coordinate network; None where there is no such network.
        steps: Gradient steps or iterations.
        fit_s: Seconds of the fit, compilation not counted.
        stop_reason: Why the fit ended; see `report.EncodeReport`.
        restarts: How often the fit diverged and continued from the best so
            far.
        trace: The iterations of a wavelet codec.
        made: What a decoder would make of the file, where that is known.
    """

    model: QuantizedModel
    estimated_bytes: float
    network: NetworkFigures | None
    steps: int
    fit_s: float
    stop_reason: str
    restarts: int = 0
    trace: tuple[TracePoint, ...] = ()
    made: Encoded | None = None
