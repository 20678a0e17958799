"""How generative models are trained: one recipe, and the presets in one table."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from dfmcodec.errors import ConfigError
from dfmcodec.generative.painting import GenerativeArchitecture

VARIANTS = ("encoder", "table")


@dataclass(frozen=True)
class Recipe:
    """Training settings.

    Args:
        variant: "encoder": a network gives the codes; "table": each training picture's code is learned by itself.
        batch: Pictures a step.
        steps: Gradient steps of the whole training.
        decoder_rate: Adam's learning rate of the decoder at the start and at the end, linear between.
        code_rate: Learning rate of the encoder or of the table, as a multiple of the decoder's, at the start and at
            the end.
        code_penalty: lambda of the loss's lambda * mean over pictures of |z|^2.
        code_noise: Standard deviation of the Gaussian noise added to codes while training, so that near codes paint
            alike.
        weight_variance: Of the Gaussian that initial weights of the networks are from, with zero biases (the
            publication's); 0 for weights scaled by their number of inputs, and coefficients by their frequency.
        warm_up: Steps over which the rate rises.
        between: Share of steps at positions between pixels' (see `between`), so that larger sizes are smooth.
    """

    variant: str
    batch: int
    steps: int
    decoder_rate: tuple[float, float]
    code_rate: tuple[float, float]
    code_penalty: float
    code_noise: float
    weight_variance: float
    warm_up: int = 0
    between: float = 0.0

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            msg = f"variant {self.variant!r}; choose one of {', '.join(VARIANTS)}"
            raise ConfigError(msg)
        for name in ("batch", "steps"):
            if not 1 <= getattr(self, name) <= 1 << 30:
                msg = f"{name} is {getattr(self, name)}; it must be at least 1"
                raise ConfigError(msg)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for files and reports."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


@dataclass(frozen=True)
class Preset:
    """A model's shape but for the pictures' size, and how to train it."""

    code_dim: int
    hidden: tuple[int, ...]
    depth: int
    machine_width: int
    order: int
    octaves: tuple[int, ...]
    recipe: Recipe

    def architecture(self, height: int, width: int, channels: int) -> GenerativeArchitecture:
        """For pictures of this size."""
        return GenerativeArchitecture(
            height,
            width,
            channels,
            self.code_dim,
            self.hidden,
            self.depth,
            self.machine_width,
            self.order,
            self.octaves,
        )

    def with_variant(self, variant: str | None) -> Preset:
        """The same with another variant; a table's codes start near 0 and need a higher rate than a network."""
        if variant is None or variant == self.recipe.variant:
            return self
        code_rate = (10.0, 10.0) if variant == "table" else (1.0, 1.0)
        return replace(self, recipe=replace(self.recipe, variant=variant, code_rate=code_rate))


# "-published": learning rates, batches, lambda and initial variances of the publication; it gives no sizes of networks.
PRESETS = {
    "mnist": Preset(
        120, (512, 512), 2, 4, 1, (0, 1, 2, 3),
        Recipe("encoder", 64, 20000, (1e-3, 1e-7), (1.0, 1.0), 1e-5, 0.1, 0.0, 100, 0.25),
    ),
    "cifar10": Preset(
        120, (512, 512), 2, 4, 1, (-1, 0, 1, 2),
        Recipe("encoder", 64, 20000, (1e-3, 1e-7), (1.0, 1.0), 1e-5, 0.1, 0.0, 100, 0.25),
    ),
    "mnist-published": Preset(
        120, (512, 512), 3, 6, 6, (0,),
        Recipe("table", 64, 20000, (1e-3, 1e-7), (1e-6, 1e-6), 0.5, 0.0, 2e-2),
    ),
    "cifar10-published": Preset(
        120, (512, 512), 3, 6, 6, (0,),
        Recipe("encoder", 512, 5000, (1e-3, 1e-7), (1e-1, 1e-3), 200.0, 0.0, 3e-2),
    ),
}  # fmt: skip
