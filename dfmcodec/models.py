"""The list of codecs, with the properties that are needed before a codec is loaded.

A codec is a folder of `codecs/`, of the name that `--model` takes. Its `codec.py` holds its record
`CODEC`; see `codecs.record.Codec`. The record is imported on first use. `dfm encode --help` needs
this module, so it imports nothing of the package, and not NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from importlib import import_module
from typing import Any

AUTO = "auto"  # the name that `--model` takes for the best of several codecs


@dataclass(frozen=True)
class Automatic:
    """The conditions under which `--model auto` tries a codec."""

    from_effort: int = 1  # the least effort
    max_pixels: int | None = None  # None for no limit


@dataclass(frozen=True)
class Traits:
    """The properties of a codec that options and headers depend on."""

    code: int  # the number of the codec in the header
    options: tuple[str, ...] = ()  # the options that only this codec, or only some codecs, support
    automatic: Automatic | None = None  # when `auto` tries the codec; None for never
    tunes: tuple[str, ...] = ("psnr",)  # the values of `--tune` where the codec is named, the default first
    default_target: str = "quality"  # the target if the user gives none

    def is_automatic(self, effort: int, pixel_count: int) -> bool:
        """Indicates whether `--model auto` tries the codec for an image of a number of pixels."""
        rule = self.automatic
        if rule is None or effort < rule.from_effort:
            return False
        return rule.max_pixels is None or pixel_count <= rule.max_pixels


_FITS = Automatic(from_effort=7, max_pixels=4_000_000)  # larger images would take hours
_QUALITIES = ("ssimulacra2", "quality", "lmbda", "effort")
_NETWORK = ("recipe", "depth", "layer_width", "order", "training_steps")


class Model(Enum):
    """The codecs, in the order in which `auto` tries them. The value is the name of the codec."""

    WAVELET = "wavelet", Traits(1, (*_QUALITIES, "texture"), Automatic(), tunes=("visual", "psnr"))
    OVERFITTED = "overfitted", Traits(3, (*_QUALITIES, "training_steps"), _FITS, tunes=("psnr", "visual"))
    COORDINATE = "coordinate", Traits(0, _NETWORK, default_target="rate")

    traits: Traits

    def __new__(cls, name: str, traits: Traits) -> Model:
        model = object.__new__(cls)
        model._value_ = name
        model.traits = traits
        return model

    @property
    def code(self) -> int:
        """The number of the codec in the header of a file."""
        return self.traits.code

    @classmethod
    def named(cls, name: str) -> Model:
        """Returns the codec of a name."""
        return next(model for model in cls if model.value == name)

    def record(self) -> Any:
        """Returns the record of the codec, a `codecs.record.Codec`, and imports it if needed."""
        return import_module(f"dfmcodec.codecs.{self.value}.codec").CODEC


NAMED_MODELS = tuple(model.value for model in Model)
VISUAL_MODELS = tuple(model.value for model in Model if "visual" in model.traits.tunes)
VISUAL_BY_DEFAULT = tuple(model.value for model in Model if model.traits.tunes[0] == "visual")


def models_of_option(name: str) -> tuple[str, ...] | None:
    """Returns the values of `--model` that support an option; None for an option of all codecs.

    `auto` supports the options of the codec that it always tries.
    """
    models = tuple(model.value for model in Model if name in model.traits.options)
    if not models:
        return None
    always = next(model for model in Model if model.traits.automatic is not None)
    return (AUTO, *models) if name in always.traits.options else models


def has_option(model: str, name: str) -> bool:
    """Indicates whether a value of `--model` supports an option."""
    models = models_of_option(name)
    return models is None or model in models
