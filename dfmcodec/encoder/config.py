"""What a user may choose about an encoding: the target, the network, the recipe of the fit."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from math import inf, isfinite, sqrt

from dfmcodec.errors import ConfigError
from dfmcodec.image import PEAK_LEVEL, Image
from dfmcodec.model import Model

DEFAULT_RATE = 0.18
DEFAULT_EFFORT = 5
EFFORTS = range(1, 10)


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Args:
        batch_pixels: Pixels in a minibatch, drawn at random.
        steps: Gradient steps unless the user sets them.
        learning_rate: Of Adam, at its peak, for layers of up to `frequency_limit` frequencies.
        frequency_limit: Above it the rate falls in proportion: many terms moving alike make a large step.
        decay: "constant", or "cosine" from the peak to 1 % of it after a linear warm-up over the first 3 %.
        first_std: Standard deviation of the first layer's initial weights.
        inner_std: Standard deviation of the other layers' initial weights.
        rounded_part: Last part of the fit that trains through rounded weights (straight-through gradient).
    """

    batch_pixels: int
    steps: int
    learning_rate: float
    frequency_limit: float
    decay: str
    first_std: float
    inner_std: float
    rounded_part: float


RECIPES = {
    # The publication: Adam at a constant 4e-4, batches of 2^14, every weight Gaussian of variance 2e-10, MSE.
    "published": Recipe(
        batch_pixels=1 << 14,
        steps=2000,
        learning_rate=4e-4,
        frequency_limit=inf,
        decay="constant",
        first_std=2e-10**0.5,
        inner_std=2e-10**0.5,
        rounded_part=0.0,
    ),
    "default": Recipe(
        batch_pixels=1 << 11,
        steps=4000,
        learning_rate=7e-4,
        frequency_limit=1 << 11,
        decay="cosine",
        first_std=1.0,
        inner_std=3e-4,
        rounded_part=0.2,
    ),
}


MAX_QUALITY = 100
_TARGETS = ("rate", "bpp", "size", "psnr", "quality", "lmbda")


# (quality, quantisation step in levels that its lmbda leads to), interpolated in the logarithm of the step.
QUALITY_STEPS = ((0, 100.0), (25, 43.0), (50, 22.5), (75, 12.5), (90, 6.2), (95, 3.8), (100, 0.5))

# Price of a bit in squared steps: ties lmbda to the step; measured best, docs/results.md.
BIT_PRICE = 0.26
_SAMPLES_PER_PIXEL = 3


def lmbda_of_quality(quality: float) -> float:
    """The Lagrangian multiplier of a quality 0..100, by `QUALITY_STEPS`."""
    (low, coarse), (high, fine) = next(pair for pair in pairwise(QUALITY_STEPS) if pair[0][0] <= quality <= pair[1][0])
    step = coarse * float((fine / coarse) ** ((quality - low) / (high - low)))
    return BIT_PRICE / _SAMPLES_PER_PIXEL * (step / PEAK_LEVEL) ** 2


def step_of_lmbda(lmbda: float, bit_price: float = BIT_PRICE) -> float:
    """The step, in levels, for a multiplier of loss = MSE in [0, 1] + lmbda * bpp.

    A pixel has 3 samples, so a bit costs lmbda * 3 * 255^2 squared levels, which is to be `bit_price` squared steps.
    """
    return PEAK_LEVEL * sqrt(lmbda * _SAMPLES_PER_PIXEL / bit_price)


@dataclass(frozen=True)
class EncoderConfig:
    """Everything that decides an encoding beside the picture.

    At most one of the six targets may be given; without one the target is `rate` 0.18.

    Args:
        rate: Largest size of the file as a fraction of the raw samples' bytes.
        bpp: Largest size of the file in bits per pixel.
        size: Largest size of the file in bytes.
        psnr: Least PSNR of the decoded picture, dB; the file gets as small as the codec can make it.
        quality: 0..100, by `lmbda_of_quality`; latent model only.
        lmbda: Lagrangian multiplier of loss = MSE in [0, 1] + lmbda * bpp; latent model only.
        model: "latent" or "coordinate".
        effort: 1 (fastest) .. 9, what a latent model's encoding may cost; docs/presets.md.
        recipe: Name of a training recipe of the coordinate model, "default" or "published".
        depth: Number of Fourier layers of the coordinate model; chosen from the target if None.
        width: Dimension between layers; chosen from the target if None.
        order: Largest |k|_1; the full set {0,1}^m if None.
        steps: Gradient steps; the recipe's number if None (without end if only `time_limit_s` is given).
        time_limit_s: Seconds after which the fit ends, start-up and compilation not counted.
        seed: Of the initial weights and the batches.

    Raises:
        ConfigError: A value or a combination makes no sense.
    """

    rate: float | None = None
    bpp: float | None = None
    size: int | None = None
    psnr: float | None = None
    quality: float | None = None
    lmbda: float | None = None
    model: str = Model.LATENT.value
    effort: int = DEFAULT_EFFORT
    recipe: str = "default"
    depth: int | None = None
    width: int | None = None
    order: int | None = None
    steps: int | None = None
    time_limit_s: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        targets = self.targets()
        if len(targets) > 1:
            msg = f"{' and '.join(targets)} are both targets; give only one"
            raise ConfigError(msg)
        for name in ("rate", "bpp", "size", "psnr", "lmbda", "depth", "width", "order", "steps", "time_limit_s"):
            value = getattr(self, name)
            if value is not None and not (isfinite(value) and value > 0):
                msg = f"{name} is {value}; it must be a positive number"
                raise ConfigError(msg)
        if self.model not in {model.value for model in Model}:
            msg = f"unknown model {self.model!r}; choose one of {', '.join(model.value for model in Model)}"
            raise ConfigError(msg)
        if self.quality is not None and not 0 <= self.quality <= MAX_QUALITY:
            msg = f"quality is {self.quality}; it must be in 0..{MAX_QUALITY}"
            raise ConfigError(msg)
        if self.effort not in EFFORTS:
            msg = f"effort is {self.effort}; it must be in {EFFORTS[0]}..{EFFORTS[-1]}"
            raise ConfigError(msg)
        self._check_model_options()
        if self.recipe not in RECIPES:
            msg = f"unknown recipe {self.recipe!r}; choose one of {', '.join(RECIPES)}"
            raise ConfigError(msg)
        if not 0 <= self.seed < 1 << 32:
            msg = f"seed {self.seed} is outside 0..{(1 << 32) - 1}"
            raise ConfigError(msg)
        if (self.depth is None) != (self.width is None):
            msg = "depth and width go together; give both or neither"
            raise ConfigError(msg)

    def _check_model_options(self) -> None:
        default = {field.name: field.default for field in fields(self)}
        latent = self.model == Model.LATENT.value
        foreign = ("depth", "width", "order", "steps", "recipe") if latent else ("quality", "lmbda", "effort")
        for name in foreign:
            if getattr(self, name) != default[name]:
                other = Model.COORDINATE if latent else Model.LATENT
                msg = f"{name} is for the {other.value} model, not for {self.model}"
                raise ConfigError(msg)

    @property
    def target_lmbda(self) -> float | None:
        """The multiplier of a `quality` or `lmbda` target; None for other targets."""
        return self.lmbda if self.quality is None else lmbda_of_quality(self.quality)

    def targets(self) -> dict[str, float]:
        """The targets that were given, by name."""
        given = {name: getattr(self, name) for name in _TARGETS}
        return {name: value for name, value in given.items() if value is not None}

    def budget_bytes(self, image: Image) -> int | None:
        """Largest allowed size of the whole file; None where the target is none of size."""
        if self.psnr is not None or self.target_lmbda is not None:
            return None
        if self.size is not None:
            return int(self.size)
        if self.bpp is not None:
            return int(self.bpp * image.pixel_count / 8)
        return int((DEFAULT_RATE if self.rate is None else self.rate) * image.raw_bytes)

    @property
    def recipe_settings(self) -> Recipe:
        return RECIPES[self.recipe]
