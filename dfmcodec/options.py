"""Declarations of the encoding options: default, type, range, codecs and help of each.

Each option is a field of `EncodeSettings`. The options of `dfm encode` (with its help and manual
page), of `encode` in Python and of corpora, and the checks of single values, are derived from these
fields. `search.config.EncoderConfig` adds the checks of combinations. To add an option, add a
field.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from enum import Enum
from math import inf
from numbers import Integral, Real
from typing import Any

from dfmcodec.errors import ConfigError
from dfmcodec.models import AUTO, NAMED_MODELS, models_of_option

MODELS = (AUTO, *NAMED_MODELS)
EFFORTS = (1, 3, 5, 7, 9)
MAX_QUALITY = 100
LARGEST_NUMBER = 10**12  # results computed from larger numbers may overflow to infinity or NaN
_KEY = "option"


class Kind(Enum):
    """Types of option values."""

    NUMBER = "number"
    FRACTION = "fraction"  # accepts a percentage on the command line
    INTEGER = "integer"
    SIZE = "size"  # in bytes; accepts units on the command line
    CHOICE = "choice"
    STRENGTH = "strength"  # 0..1; the command also accepts off for 0, and auto for None


_NEEDED = {
    Kind.INTEGER: "an integer",
    Kind.SIZE: "a number of bytes, such as 20000,",
    Kind.FRACTION: "a number, such as 0.18,",
}


@dataclass(frozen=True)
class Option:
    """Declaration of an option, with its range and its help of the command."""

    kind: Kind
    help: str
    low: float = -inf
    high: float = inf
    excludes_low: bool = False
    excludes_high: bool = False
    choices: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()  # the possible integers, if not all of the range
    flags: tuple[str, ...] = ()  # on the command line; if empty, the name of the field with hyphens
    metavar: str | None = None  # placeholder of the value in the help; derived from the kind if empty
    is_target: bool = False  # only one target can be given
    in_command: bool = True  # whether the command has the option; if not, only Python has it

    def check(self, name: str, value: Any) -> None:
        """Raises ConfigError for a value that is not of the kind, in the range or a choice."""
        if self.kind is Kind.CHOICE:
            if value not in self.choices:
                msg = f"unknown {name} {value!r}; choose one of {', '.join(self.choices)}"
                raise ConfigError(msg)
            return
        if not self._is_of_kind(value):
            msg = f"{name} is {value!r}, which is of the wrong type; {_NEEDED.get(self.kind, 'a number')} is needed"
            raise ConfigError(msg)
        if self.numbers and value not in self.numbers:
            msg = f"{name} is {_shown(value)}; it must be one of {', '.join(map(str, self.numbers))}"
            raise ConfigError(msg)
        is_enough = value > self.low if self.excludes_low else value >= self.low
        if not (is_enough and (value < self.high if self.excludes_high else value <= self.high)):
            msg = f"{name} is {_shown(value)}; it must be {self._range()}"
            raise ConfigError(msg)

    def _is_of_kind(self, value: Any) -> bool:
        number = Integral if self.kind is Kind.INTEGER else Real
        return isinstance(value, number) and not isinstance(value, bool)

    def _range(self) -> str:
        if not self.excludes_low:
            return f"in {self.low:.0f}..{self.high:.0f}"
        example = ", such as 0.18 or 18%" if self.kind is Kind.FRACTION else ""
        return f"above {self.low:g} and {'below' if self.excludes_high else 'at most'} {self.high:g}{example}"


def _shown(value: Any) -> str:
    if abs(value) > LARGEST_NUMBER:
        return "too large" if value > 0 else "too small"
    return f"{float(value):.10g}"


def _field(default: Any, kind: Kind, text: str, **others: Any) -> Any:
    return field(default=default, metadata={_KEY: Option(kind, text, **others)})


def _quality(text: str, **others: Any) -> Any:
    return _field(None, Kind.NUMBER, text, low=0, high=MAX_QUALITY, is_target=True, **others)


def _positive(kind: Kind, text: str, **others: Any) -> Any:
    """Declares a positive number whose default depends on other options."""
    return _field(None, kind, text, **{"low": 0, "high": LARGEST_NUMBER, "excludes_low": True, **others})


@dataclass(frozen=True)
class EncodeSettings:
    """Values of the options, see `search.config.EncoderConfig`. Raises ConfigError."""

    rate: float | None = _positive(
        Kind.FRACTION, "Maximum size as a fraction of the raw bytes, such as 0.18 or 18%.", high=1, is_target=True
    )
    bpp: float | None = _positive(Kind.NUMBER, "Maximum size in bits per pixel.", is_target=True)
    size: int | None = _positive(Kind.SIZE, "Maximum size in bytes, such as 20000, 20k or 20Ki.", is_target=True)
    psnr: float | None = _positive(Kind.NUMBER, "Minimum PSNR in dB.", is_target=True)
    ssimulacra2: float | None = _quality(
        "Minimum SSIMULACRA2, a measure of visual quality, such as 70. Most files exceed it by less than 1, "
        "those of smooth images by more.",
        excludes_low=True,
        excludes_high=True,
    )
    quality: float | None = _quality(
        "Quality from 0 to 100 (not for the coordinate codec). Up to 92, about the SSIMULACRA2 of the file; above, "
        "towards lossless. Default: 75.",
        flags=("-q", "--quality"),
    )
    lmbda: float | None = _positive(
        Kind.NUMBER,
        "Minimise MSE + LMBDA * bpp, with the MSE of samples in [0, 1] (not for the coordinate codec).",
        is_target=True,
        in_command=False,
    )
    model: str = _field(
        AUTO,
        Kind.CHOICE,
        "Model of the file: wavelet takes seconds; overfitted takes minutes, for smaller files; coordinate is the "
        "published Deep Fourier Machine. auto: wavelet; up to 4 megapixels, from effort 7 on, the "
        "better of wavelet and overfitted.",
        choices=MODELS,
    )
    effort: int = _field(
        5,
        Kind.INTEGER,
        "1 (fastest), 3, 5, 7 or 9 (slowest); wavelet and overfitted codecs.",
        numbers=EFFORTS,
    )
    recipe: str = _field(
        "default",
        Kind.CHOICE,
        "Training recipe. published: Adam, 4e-4, batches of 2^14, variance 2e-10.",
        choices=("default", "published"),
    )
    depth: int | None = _positive(Kind.INTEGER, "Number of Fourier layers. Default: set by the target.")
    layer_width: int | None = _positive(Kind.INTEGER, "Dimension between layers. Default: set by the target.")
    order: int | None = _positive(
        Kind.INTEGER, "Largest |k|_1. Default: unlimited, all of {0,1}^m, as published.", in_command=False
    )
    training_steps: int | None = _positive(
        Kind.INTEGER,
        "Training steps of the fit (overfitted or coordinate codec). Default: by the effort; coordinate 4000 "
        "(published: 2000).",
    )
    time_limit_s: float | None = _positive(
        Kind.NUMBER,
        "End the fit after this many seconds, with the best result so far.",
        flags=("--time-limit",),
        metavar="SECONDS",
    )
    seed: int = _field(
        0,
        Kind.INTEGER,
        "Seed of the noise of a fit, or of initial weights and batches (overfitted or coordinate codec).",
        low=0,
        high=(1 << 32) - 1,
        in_command=False,
    )
    sample_max: int | None = _field(
        None,
        Kind.INTEGER,
        "Peak sample value for quality and PSNR, such as 4095; up to 255, samples are "
        "encoded as 8 bits. Default: the peak of the smallest bit depth (8, 10, 12, 14 or 16) that holds all samples.",
        low=1,
        high=(1 << 16) - 1,
        in_command=False,
    )
    tune: str | None = _field(
        None,
        Kind.CHOICE,
        "What the file is optimised for: visual quality or squared error. Default: visual, but psnr "
        "with --psnr or another model.",
        choices=("visual", "psnr"),
    )
    texture: float | None = _field(
        None,
        Kind.STRENGTH,
        "Strength of the noise that replaces lost texture (wavelet codec, tune visual): auto, off, or 0 to 1. "
        "Default: auto.",
        low=0,
        high=1,
        metavar="auto|off|0..1",
    )

    def __post_init__(self) -> None:
        for name, option, default in options_of(type(self)):
            value = getattr(self, name)
            if value is None and default is None:
                continue
            option.check(name, value)
            models = models_of_option(name)
            if models is not None and self.model not in models and value != default:
                _refuse_model(name, models, self.model)

    def targets(self) -> dict[str, float]:
        given = {name: getattr(self, name) for name, option, _ in options_of(type(self)) if option.is_target}
        return {name: value for name, value in given.items() if value is not None}


def options_of(settings: type[EncodeSettings] = EncodeSettings) -> Iterator[tuple[str, Option, Any]]:
    """Yields the name, declaration and default of each option, in the order of the fields."""
    for one in fields(settings):
        yield one.name, one.metadata[_KEY], one.default


def _refuse_model(name: str, models: tuple[str, ...], given: str) -> None:
    """Raises ConfigError for an option that belongs to a different codec."""
    named = [model for model in models if model != AUTO]
    others = f"{' and '.join(named)} codec{'s' if len(named) > 1 else ''}"
    which = "one of them" if len(named) > 1 else "that codec"
    instead = f", not for {given}" if given != AUTO else f"; choose {which}"
    msg = f"{name} is for the {others}{instead}"
    raise ConfigError(msg)
