"""What an encoding is given and what it comes to, whichever the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from dfmcodec.encoder.config import EncoderConfig
from dfmcodec.image import Image
from dfmcodec.model import QuantizedModel

MAX_RESTARTS = 4  # of a fit that comes to values that are not numbers


def restarts_text(restarts: int) -> str:
    """For progress displays."""
    return f", restarted {restarts}x" if restarts else ""


@dataclass(frozen=True)
class Progress:
    """What a progress display can show during a fit.

    Args:
        part: Done, 0..1.
        steps: Gradient steps or passes so far.
        psnr_db: Of the fit so far, an estimate.
        seconds: So far.
        what: What is fitted, for people.
        budget_bytes: The size limit; None where the target is another.
    """

    part: float
    steps: int
    psnr_db: float
    seconds: float
    what: str
    budget_bytes: int | None

    @property
    def seconds_left(self) -> float:
        return self.seconds * (1 - self.part) / self.part if self.part else inf


@dataclass(frozen=True)
class Job:
    """One encoding on its way.

    Args:
        image: The picture.
        config: Settings.
        beside_bytes: What the file holds beside the model: metadata, opacity, checks. They share a size budget.
        on_progress: Called many times during the fit.
        should_stop: Asked during the fit; True ends it, and the best so far is written.
        file_budget_bytes: Largest size of the whole file; None where the target is none of size.
        has_checks: Whether a size budget has room for checks: `beside_bytes` has them, but for those of each further
            section of the model.
    """

    image: Image
    config: EncoderConfig
    beside_bytes: int
    on_progress: Callable[[Progress], None]
    should_stop: Callable[[], bool]
    file_budget_bytes: int | None = None
    has_checks: bool = False

    @property
    def budget_bytes(self) -> int | None:
        """Largest size of the file without what is beside the model."""
        return None if self.file_budget_bytes is None else self.file_budget_bytes - self.beside_bytes

    def too_small(self, least_bytes: float) -> str:
        """What to say where not even the smallest file, so large without what is beside the model, meets the budget."""
        beside = f", {self.beside_bytes} of them metadata and opacity (--strip drops metadata)"
        return (
            f"the target of {self.file_budget_bytes} bytes is below the {least_bytes + self.beside_bytes:.0f} "
            f"that the smallest file needs{beside if self.beside_bytes else ''}"
        )


@dataclass(frozen=True)
class Outcome:
    """A quantised model and how it came about.

    Args:
        model: What to write.
        estimated_bytes: Size of the file by the entropy model, without what is beside the model.
        float_psnr_db: Of the fitted network before quantisation; None where there is no such thing.
        steps: Gradient steps.
        fit_s: Seconds of the fit, compilation not counted.
        stop_reason: "steps", "time limit", "interrupted", "diverged", "done".
        restarts: How often the fit came to values that are not numbers and went on from the best so far.
    """

    model: QuantizedModel
    estimated_bytes: float
    float_psnr_db: float | None
    steps: int
    fit_s: float
    stop_reason: str
    restarts: int = 0
