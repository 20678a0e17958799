"""Fixtures with generated comparisons for tests of BD-rates and reports."""

from __future__ import annotations

from collections.abc import Callable
from math import log2

import pytest

from dfmcodec.bench.curves import Curve
from dfmcodec.bench.measurement import DFM, Measurement, Target
from dfmcodec.bench.runner import Comparison, Failure, SourceImage
from dfmcodec.perception import butteraugli

RATES = (0.02, 0.04, 0.08)


@pytest.fixture(autouse=True)
def without_butteraugli(monkeypatch) -> None:
    """Runs do not depend on the programs of the host."""
    monkeypatch.setattr(butteraugli, "is_installed", lambda: False)


def score(bpp: float) -> float:
    """SSIMULACRA2 of the images of `compared`: 12 points for twice the rate."""
    return 60 + 12 * log2(bpp)


def quality(bpp: float) -> float:
    """PSNR of the images of `compared`: 6 dB for twice the rate."""
    return 30 + 6 * log2(bpp)


def distance(bpp: float) -> float:
    """Butteraugli of the images of `compared`: 1 less for twice the rate."""
    return 5 - log2(bpp)


@pytest.fixture
def compared() -> Callable[..., Comparison]:
    """A comparison of dfm with other codecs. At the size of dfm's file, the first one is as good as
    dfm with 0.8 times the size by PSNR, half the size by SSIMULACRA2 and 0.4 times the size by
    Butteraugli; for the second one, with 0.9 times these sizes.
    """

    def make(
        names: tuple[str, ...] = ("cat", "dog"),
        labels: tuple[str, ...] = ("JPEG",),
        curves: tuple[Curve, ...] = (),
        failures: tuple[Failure, ...] = (),
        rates: tuple[float, ...] = RATES,
        tune: str = "visual",
        has_butteraugli: bool = False,
        score: Callable[[float], float | None] = score,
    ) -> Comparison:
        targets = tuple(Target("wavelet", 5, rate, tune) for rate in rates)
        codecs = {"jpeg": 1.0, "webp": 0.9}

        def file(name: str, target: Target, codec: str, factors: tuple[float, float, float]) -> Measurement:
            bpp = 24 * target.rate
            equal = [factor * bpp for factor in factors]
            butteraugli = distance(equal[2]) if has_butteraugli else None
            values = quality(equal[0]) + names.index(name), score(equal[1]), butteraugli
            return Measurement(name, target, codec, "", None, int(8000 * bpp), bpp, *values, 1.0, 0.1)

        measurements = []
        for name in names:
            measurements += [file(name, target, DFM, (1, 1, 1)) for target in targets]
            for codec, factor in list(codecs.items())[: len(labels)]:
                factors = 0.8 * factor, 0.5 * factor, 0.4 * factor
                measurements += [file(name, target, codec, factors) for target in targets]
        return Comparison(
            images=tuple(SourceImage(name, f"{name}.png", 100, 80, 3) for name in names),
            targets=targets,
            codecs={
                name: {"label": label, "version": "1", "options": {"optimize": True}, "forms": [""], "tuned_for": ""}
                for name, label in zip(codecs, labels, strict=False)
            },
            measurements=tuple(measurements),
            failures=failures,
            host="a host",
            versions={"dfmcodec": "0"},
            processes=1,
            total_s=1.0,
            curves=curves,
        )

    return make
