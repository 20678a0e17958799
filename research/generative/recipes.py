"""The training recipe of a generative model, and the table of presets."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from dfmcodec.errors import ConfigError
from research.generative.network import GenerativeArchitecture

VARIANTS = ("encoder", "table")


@dataclass(frozen=True)
class GenerativeRecipe:
    """The settings of a training. Raises ConfigError if the variant is unknown, or a value is
    invalid.
    """

    variant: str  # "encoder": a network computes the codes; "table": the code of each image is a parameter
    batch: int  # images in a minibatch
    steps: int
    decoder_rate: tuple[float, float]  # Adam's learning rate at the start and at the end, linear in between
    code_rate: tuple[float, float]  # that of the encoder or the table, as a multiple of the decoder's
    code_penalty: float  # the factor of the mean |z|^2 in the loss
    code_noise: float  # the deviation of noise on codes, so that similar codes give similar images
    weight_variance: float  # of initial weights, as published; 0 to scale them by inputs and frequency
    warm_up: int = 0  # training steps over which the learning rate rises
    between: float = 0.0  # the fraction of steps at positions between pixels, for smooth enlargements; see `subpixel`

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            msg = f"variant {self.variant!r}; choose one of {', '.join(VARIANTS)}"
            raise ConfigError(msg)
        for name in ("batch", "steps"):
            if not 1 <= getattr(self, name) <= 1 << 30:
                msg = f"{name} is {getattr(self, name)}; it must be in 1..{1 << 30}"
                raise ConfigError(msg)

    def as_dict(self) -> dict[str, Any]:
        """Returns plain values for files and reports."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Preset:
    """The architecture of a model without the size of its images, and the recipe of its training.

    The arguments are those of `network.GenerativeArchitecture`, and the recipe.
    """

    code_dim: int
    hidden: tuple[int, ...]
    depth: int
    machine_width: int
    order: int
    octaves: tuple[int, ...]
    recipe: GenerativeRecipe

    def architecture(self, height: int, width: int, channels: int) -> GenerativeArchitecture:
        """Returns the architecture for images of a size."""
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "recipe"}
        return GenerativeArchitecture(height, width, channels, **own)

    def with_variant(self, variant: str | None) -> Preset:
        """Returns the preset with another variant; unchanged if None. The codes of a table are
        initialised near 0 and need a higher learning rate than a network.
        """
        if variant is None or variant == self.recipe.variant:
            return self
        code_rate = (10.0, 10.0) if variant == "table" else (1.0, 1.0)
        return replace(self, recipe=replace(self.recipe, variant=variant, code_rate=code_rate))


# "-published" presets have the learning rates, batches, lambda and initial variances of the
# publication, which does not give the sizes of its networks.
PRESETS = {
    "mnist": Preset(
        120, (512, 512), 2, 4, 1, (0, 1, 2, 3),
        GenerativeRecipe("encoder", 64, 20000, (1e-3, 1e-7), (1.0, 1.0), 1e-5, 0.1, 0.0, 100, 0.25),
    ),
    "cifar10": Preset(
        120, (512, 512), 2, 4, 1, (-1, 0, 1, 2),
        GenerativeRecipe("encoder", 64, 20000, (1e-3, 1e-7), (1.0, 1.0), 1e-5, 0.1, 0.0, 100, 0.25),
    ),
    "mnist-published": Preset(
        120, (512, 512), 3, 6, 6, (0,),
        GenerativeRecipe("table", 64, 20000, (1e-3, 1e-7), (1e-6, 1e-6), 0.5, 0.0, 2e-2),
    ),
    "cifar10-published": Preset(
        120, (512, 512), 3, 6, 6, (0,),
        GenerativeRecipe("encoder", 512, 5000, (1e-3, 1e-7), (1e-1, 1e-3), 200.0, 0.0, 3e-2),
    ),
}  # fmt: skip
