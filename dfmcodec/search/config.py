"""The settings of an encoding: target, codec, effort, and the recipe of the coordinate codec."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log10

from dfmcodec._types import Tune
from dfmcodec.errors import ConfigError
from dfmcodec.image import peak_value
from dfmcodec.models import AUTO, VISUAL_BY_DEFAULT, VISUAL_MODELS, Model
from dfmcodec.options import EncodeSettings

DEFAULT_QUALITY = 75.0
DEFAULT_RATE = 0.18  # the default of the coordinate codec, which has no quality


@dataclass(frozen=True)
class Recipe:
    """The training recipe of a coordinate network. A layer of many frequencies needs a lower
    learning rate, because many terms that change alike add up to a large change.
    """

    batch_pixels: int  # drawn at random
    steps: int  # unless the user sets them
    learning_rate: float  # the peak of Adam's, for layers of up to `frequency_limit` frequencies
    frequency_limit: float  # the number of frequencies of a layer above which the learning rate falls in proportion
    decay: str  # "constant"; or "cosine": to 1 %, after a linear warm-up over the first 3 %
    first_std: float  # of the first layer's initial weights
    inner_std: float  # of the other layers' initial weights
    rounded_fraction: float  # of the training steps, at the end, with straight-through rounding


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
_PSNR_TARGETS = ("psnr", "lmbda")  # targets that measure squared error
MAX_AIMED_QUALITY = 92  # with the tune visual, qualities up to this are SSIMULACRA2
LEAST_USED = 0.97  # the least fraction of a size limit that every effort uses
AIM_REACH = 2.0  # the largest distance of SSIMULACRA2 from an aim


@dataclass(frozen=True)
class EncoderConfig(EncodeSettings):
    """The settings of an encoding.

    The first seven fields are targets; at most one may be given. The default target is `quality`
    75; for the coordinate codec, which has no quality, it is `rate` 0.18.

    Args:
        rate: The largest size of the file as a fraction of the bytes of the raw samples, at most 1.
        bpp: The largest size of the file in bits per pixel.
        size: The largest size of the file in bytes.
        psnr: The least PSNR of the decoded image in dB. The encoder makes the file as small as it
            can.
        ssimulacra2: The least SSIMULACRA2 of the decoded image, below 100. Most files exceed it by
            less than 1, files of smooth images by more. Wavelet and overfitted codec only, with
            the tune "visual".
        quality: The quality, 0..100; not for the coordinate codec. With the tune "visual",
            qualities up to `MAX_AIMED_QUALITY` are the SSIMULACRA2 to aim at, and larger ones
            approach lossless. With the tune "psnr", `lmbda_of_quality` applies.
        lmbda: The Lagrange multiplier of the loss MSE + lmbda * bpp, with the MSE of samples in [0,
            1]; not for the coordinate codec.
        model: "wavelet", "overfitted" or "coordinate"; or "auto". "auto" is the wavelet codec; for
            images up to 4 megapixels, from effort 7 on, it is the better of wavelet and overfitted.
        effort: The effort of the wavelet and the overfitted encoder: 1 (fastest), 3, 5, 7 or 9; see
            docs/presets.md.
        recipe: The training recipe of the coordinate codec, "default" or "published".
        depth: The number of Fourier layers of the coordinate codec; None to choose it from the
            target.
        layer_width: The dimension between these layers; None to choose it from the target.
        order: The largest |k|_1; None for the full frequency sets {0,1}^m.
        training_steps: The number of training steps. None for the number of the effort or, in the
            coordinate codec, of the recipe; or for no limit if only `time_limit_s` is given.
        time_limit_s: The seconds after which the fit ends. Two codecs that are both tried (efforts
            7 and 9) share them.
        seed: The seed of the initial weights and the minibatches (coordinate codec) or of the
            noise of the fit (overfitted codec).
        sample_max: The largest value that samples of the image may have; values above the maximum
            of the bit depth count as that maximum. `psnr`, `quality`, `lmbda` and the reported PSNR
            are relative to it. Samples of 16 bits with a `sample_max` up to 255 are encoded as 8
            bits. None for `Image.sample_max`.
        tune: "visual" to optimise visual quality, or "psnr" to minimise squared error. "visual"
            needs the model "auto", "wavelet" or "overfitted". The default is "psnr" with the
            targets `psnr` and `lmbda`, with the model "overfitted" unless the target is
            `ssimulacra2`, with "coordinate", for images with a side below 113 pixels, and for
            samples that use a part of 16 bits. Otherwise it is "visual".
        texture: The strength of the noise that replaces lost texture, 0..1; 0 for none, None for
            0.4. Wavelet codec with the tune "visual" only; very fine quantisation, images below
            65,536 pixels and images without lost texture have none.

    Raises:
        ConfigError: A value or a combination of values is invalid.
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
        if self.texture and self.distortion_tune is Tune.PSNR:
            msg = "texture is for the tune visual: it replaces lost detail by noise, which lowers the PSNR"
            raise ConfigError(msg)
        if (self.depth is None) != (self.layer_width is None):
            msg = "depth and layer_width go together; give both or neither"
            raise ConfigError(msg)

    def models(self, pixel_count: int) -> tuple[Model, ...]:
        """Returns the codecs to try for an image of the given number of pixels."""
        if self.model != AUTO:
            return (Model.named(self.model),)
        return tuple(model for model in Model if model.traits.is_automatic(self.effort, pixel_count))

    @property
    def _has_visual_tune(self) -> bool:
        """Indicates whether the model supports the tune `visual`."""
        return self.model in (AUTO, *VISUAL_MODELS)

    @property
    def distortion_tune(self) -> Tune:
        """The metric that the encoder optimises."""
        if self.tune is not None:
            return Tune(self.tune)
        if self.ssimulacra2 is not None:
            return Tune.VISUAL
        is_by_psnr = any(name in _PSNR_TARGETS for name in self.targets())
        is_visual = self.model in (AUTO, *VISUAL_BY_DEFAULT) and not is_by_psnr
        return Tune.VISUAL if is_visual else Tune.PSNR

    @property
    def target_name(self) -> str:
        """The option that is the target: the given one, or the default of the codec."""
        default = "quality" if self.model == AUTO else Model.named(self.model).traits.default_target
        return next(iter(self.targets()), default)

    @property
    def target_quality(self) -> float | None:
        """The quality that is the target, given or by default; None for other targets."""
        if self.target_name == "quality" and not self.targets():
            return DEFAULT_QUALITY
        return self.quality

    @property
    def aimed_score(self) -> float | None:
        """The SSIMULACRA2 to aim at; None if the target is another one or a Lagrange multiplier."""
        quality = self.target_quality
        is_score = quality is not None and quality <= MAX_AIMED_QUALITY and self.distortion_tune is Tune.VISUAL
        return quality if is_score else None

    def range_db(self, bit_depth: int) -> float:
        """Returns PSNR relative to the full range less PSNR relative to `sample_max`, in dB."""
        peak = peak_value(bit_depth)
        return 0.0 if self.sample_max is None else 20 * log10(peak / min(self.sample_max, peak))

    @property
    def recipe_settings(self) -> Recipe:
        """The recipe of the coordinate codec."""
        return RECIPES[self.recipe]
