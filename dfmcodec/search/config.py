"""The settings of an encoding: the target, the model, the effort, and the recipe of a fit."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log10, sqrt

from dfmcodec._types import Tune
from dfmcodec.codecs.registry import AUTO, VISUAL_MODELS, Model
from dfmcodec.errors import ConfigError
from dfmcodec.image import PEAK_CODE_VALUE, peak_value
from dfmcodec.options import EncodeSettings
from dfmcodec.search.quality import step_of_quality

DEFAULT_QUALITY = 75.0
DEFAULT_RATE = 0.18  # of the coordinate codec, which has no quality
EXACT_DB = 200.0  # above the PSNR of all images with a wrong sample


@dataclass(frozen=True)
class Recipe:
    """How a coordinate network is fitted to an image.

    Args:
        batch_pixels: The number of pixels in a minibatch, which are drawn at random.
        steps: The number of training steps, if the user does not set it.
        learning_rate: The peak of Adam's learning rate, for layers of up to `frequency_limit`
            frequencies.
        frequency_limit: The number of frequencies of a layer above which the learning rate falls in
            proportion, because many terms that move alike make a large change.
        decay: "constant"; or "cosine", from the peak to 1 % of it after a linear warm-up over the
            first 3 %.
        first_std: The standard deviation of the first layer's initial weights.
        inner_std: The standard deviation of the other layers' initial weights.
        rounded_fraction: The part at the end of the fit that trains through rounded weights, with
            the straight-through gradient.
    """

    batch_pixels: int
    steps: int
    learning_rate: float
    frequency_limit: float
    decay: str
    first_std: float
    inner_std: float
    rounded_fraction: float


RECIPES = {
    # The publication: Adam at a constant 4e-4, batches of 2^14, Gaussian weights of variance 2e-10,
    # MSE.
    "published": Recipe(
        batch_pixels=1 << 14,
        steps=2000,
        learning_rate=4e-4,
        frequency_limit=inf,
        decay="constant",
        first_std=2e-10**0.5,
        inner_std=2e-10**0.5,
        rounded_fraction=0.0,
    ),
    "default": Recipe(
        batch_pixels=1 << 11,
        steps=4000,
        learning_rate=7e-4,
        frequency_limit=1 << 11,
        decay="cosine",
        first_std=1.0,
        inner_std=3e-4,
        rounded_fraction=0.2,
    ),
}
_PSNR_TARGETS = ("psnr", "lossless", "lmbda")  # by which squared error is what counts
MAX_AIMED_QUALITY = 92  # qualities up to it are SSIMULACRA2, where that is what counts
# The cost of a bit in squared quantisation steps, which ties lmbda to the step; the best by
# measurement, docs/log/2026-11-wavelet.md.
BIT_COST = 0.26
_SAMPLES_PER_PIXEL = 3


def lmbda_of_quality(quality: float) -> float:
    """Returns the Lagrange multiplier of a quality in 0..100."""
    return lmbda_of_step(step_of_quality(quality))


def lmbda_of_step(step: float) -> float:
    """Returns the Lagrange multiplier that a quantisation step in code values is for; the inverse
    of `step_of_lmbda`.
    """
    return BIT_COST / _SAMPLES_PER_PIXEL * (step / PEAK_CODE_VALUE) ** 2


def step_of_lmbda(lmbda: float) -> float:
    """Returns the quantisation step in code values for the lmbda of the loss MSE + lmbda * bpp.

    A pixel has 3 samples, so a bit costs lmbda * 3 * 255^2 squared code values. The step makes this
    BIT_COST squared steps.

    Args:
        lmbda: The Lagrange multiplier, with the MSE of samples in [0, 1].
    """
    return PEAK_CODE_VALUE * sqrt(lmbda * _SAMPLES_PER_PIXEL / BIT_COST)


@dataclass(frozen=True)
class EncoderConfig(EncodeSettings):
    """Everything besides the image that decides an encoding.

    At most one of the first eight arguments, the targets, may be given. Without any, the target is
    `quality` 75; for the coordinate codec, which has no quality, `rate` 0.18.

    Args:
        rate: The largest size of the file as a fraction of the bytes of the raw samples, at most 1.
        bpp: The largest size of the file in bits per pixel.
        size: The largest size of the file in bytes.
        psnr: The least PSNR of the decoded image in dB. The file is as small as the codec can make
            it.
        lossless: Whether the decoded image is to be exactly the same: a `psnr` of `EXACT_DB`. Of 16
            bits, that is reached only by chance.
        ssimulacra2: The least SSIMULACRA2 of the decoded image, below 100. Most files exceed it by
            less than 0.5, those of smooth images by more. Wavelet codec, with the tune "visual".
        quality: 0..100; not for the coordinate codec. With the tune "visual", qualities up to
            `MAX_AIMED_QUALITY` are the SSIMULACRA2 that is aimed at, and larger ones go towards
            lossless; with the tune "psnr", by `lmbda_of_quality`.
        lmbda: The lmbda of the loss MSE + lmbda * bpp, with the MSE of samples in [0, 1]; not
            for the coordinate codec.
        model: "wavelet", "overfitted" or "coordinate"; or "auto" for wavelet and, up to 4
            megapixels,
            from effort 8 on (6 with the tune "psnr"), the better of wavelet and overfitted.
        effort: How much work the encoder of the wavelet or the overfitted codec does, 1 (fastest)
            to 9; see docs/presets.md.
        recipe: The name of a recipe of the coordinate codec, "default" or "published".
        depth: The number of Fourier layers of the coordinate codec; None to follow the target.
        width: The dimension between these layers; None to follow the target.
        order: The largest |k|_1; None for the full frequency sets {0,1}^m.
        steps: The number of steps of the fit; None for that of the effort or, in the coordinate
            codec, of the recipe, or for no limit if only `time_limit_s` is given.
        time_limit_s: The seconds after which the fit ends. Where two models are tried (efforts 6 to
            9), they share them.
        seed: The seed of the initial weights and the minibatches.
        sample_max: The largest value that samples of the image may have, to which `psnr`,
            `quality`, `lmbda` and the reported PSNR are relative; at most the largest of its bit
            depth counts. Samples of 16 bits with a `sample_max` up to 255 are encoded as 8 bits.
            None for `Image.sample_max`.
        tune: "visual" for what looks best, not for a model that is named but wavelet, or "psnr" for
            the least squared error; None for "psnr" with the targets `psnr`, `lossless` and
            `lmbda`, with models other than "auto" and "wavelet", for images with a side below 113
            pixels and for samples that use a part of 16 bits, and for "visual" otherwise.

    Raises:
        ConfigError: A value or a combination of values is not possible.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        targets = self.targets()
        if len(targets) > 1:
            msg = f"{' and '.join(targets)} are targets; give only one"
            raise ConfigError(msg)
        if self.distortion_tune is Tune.VISUAL and not self._has_visual_tune:
            msg = f"the tune visual is for the {' and '.join(VISUAL_MODELS)} codec, not for {self.model}"
            raise ConfigError(msg)
        if self.ssimulacra2 is not None and self.distortion_tune is Tune.PSNR:
            msg = "ssimulacra2 is a target of the tune visual, not of psnr"
            raise ConfigError(msg)
        if (self.depth is None) != (self.width is None):
            msg = "depth and width go together; give both or neither"
            raise ConfigError(msg)

    def models(self, pixel_count: int) -> tuple[Model, ...]:
        """Returns the codecs that are tried for an image of the given number of pixels."""
        if self.model != AUTO:
            return (Model.named(self.model),)
        tune, effort = self.distortion_tune, self.effort
        return tuple(model for model in Model if model.traits.is_automatic(tune, effort, pixel_count))

    @property
    def _has_visual_tune(self) -> bool:
        """Indicates whether the model can be chosen together with the tune `visual`."""
        return self.model in (AUTO, *VISUAL_MODELS)

    @property
    def distortion_tune(self) -> Tune:
        """What the file is to be best by."""
        if self.tune is not None:
            return Tune(self.tune)
        is_by_psnr = any(name in _PSNR_TARGETS for name in self.targets())
        return Tune.PSNR if is_by_psnr or not self._has_visual_tune else Tune.VISUAL

    @property
    def target_name(self) -> str:
        """The option that is the target: the one that was given, or the default of the model."""
        default = "quality" if self.model == AUTO else Model.named(self.model).traits.default_target
        return next(iter(self.targets()), default)

    @property
    def target_quality(self) -> float | None:
        """The quality that was given, or that of no other target; None for other targets."""
        if self.target_name == "quality" and not self.targets():
            return DEFAULT_QUALITY
        return self.quality

    @property
    def aimed_score(self) -> float | None:
        """The SSIMULACRA2 that a quality aims at; None where it is a Lagrange multiplier."""
        quality = self.target_quality
        is_score = quality is not None and quality <= MAX_AIMED_QUALITY and self.distortion_tune is Tune.VISUAL
        return quality if is_score else None

    def range_db(self, bit_depth: int) -> float:
        """How many dB a PSNR relative to `sample_max` is below that relative to the whole range."""
        peak = peak_value(bit_depth)
        return 0.0 if self.sample_max is None else 20 * log10(peak / min(self.sample_max, peak))

    @property
    def recipe_settings(self) -> Recipe:
        """The recipe of the coordinate codec."""
        return RECIPES[self.recipe]
