"""What a user may choose about an encoding: the target, the network, the recipe of the fit."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite

from dfmcodec.errors import ConfigError
from dfmcodec.image import Image
from dfmcodec.model import Model

DEFAULT_RATE = 0.18


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


@dataclass(frozen=True)
class EncoderConfig:
    """Everything that decides an encoding beside the picture.

    At most one of the four targets may be given; without one the target is `rate` 0.18.

    Args:
        rate: Largest size of the file as a fraction of the raw samples' bytes.
        bpp: Largest size of the file in bits per pixel.
        size: Largest size of the file in bytes.
        psnr: Least PSNR of the decoded picture, dB; the file gets as small as the codec can make it.
        model: Family of the network.
        recipe: Name of a training recipe, "default" or "published".
        depth: Number of Fourier layers; chosen from the target if None.
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
    model: str = Model.COORDINATE.value
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
        for name in ("rate", "bpp", "size", "psnr", "depth", "width", "order", "steps", "time_limit_s"):
            value = getattr(self, name)
            if value is not None and not (isfinite(value) and value > 0):
                msg = f"{name} is {value}; it must be a positive number"
                raise ConfigError(msg)
        if self.model not in {model.value for model in Model}:
            msg = f"unknown model {self.model!r}; choose one of {', '.join(model.value for model in Model)}"
            raise ConfigError(msg)
        if self.recipe not in RECIPES:
            msg = f"unknown recipe {self.recipe!r}; choose one of {', '.join(RECIPES)}"
            raise ConfigError(msg)
        if not 0 <= self.seed < 1 << 32:
            msg = f"seed {self.seed} is outside 0..{(1 << 32) - 1}"
            raise ConfigError(msg)
        if (self.depth is None) != (self.width is None):
            msg = "depth and width go together; give both or neither"
            raise ConfigError(msg)

    def targets(self) -> dict[str, float]:
        """The targets that were given, by name."""
        given = {name: getattr(self, name) for name in ("rate", "bpp", "size", "psnr")}
        return {name: value for name, value in given.items() if value is not None}

    def budget_bytes(self, image: Image) -> int | None:
        """Largest allowed size of the whole file; None where the target is a PSNR."""
        if self.psnr is not None:
            return None
        if self.size is not None:
            return int(self.size)
        if self.bpp is not None:
            return int(self.bpp * image.pixel_count / 8)
        return int((DEFAULT_RATE if self.rate is None else self.rate) * image.raw_bytes)

    @property
    def recipe_settings(self) -> Recipe:
        return RECIPES[self.recipe]
