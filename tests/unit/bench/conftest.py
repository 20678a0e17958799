"""Fixtures with generated comparisons for tests of summaries and reports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dfmcodec.bench import butteraugli
from dfmcodec.bench.curves import Curve
from dfmcodec.bench.measurement import DFM, Figures, Measurement, Target, encode_crop
from dfmcodec.bench.runner import Comparison, Failure, SourceImage

RATES = (0.02, 0.04, 0.08)


@pytest.fixture(autouse=True)
def without_butteraugli(monkeypatch) -> None:
    """Runs do not depend on the programs of the host."""
    monkeypatch.setattr(butteraugli, "is_installed", lambda: False)


@pytest.fixture(scope="session")
def crop() -> str:
    pixels = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)
    return encode_crop(pixels, pixels)


@pytest.fixture
def compared(crop) -> Callable[..., Comparison]:
    """A comparison of dfm with one codec, whose files are as good as those of dfm of 0.8 times the
    size by PSNR, of half the size by SSIMULACRA2 where that depends on the rate, and of 0.4 times
    the size by Butteraugli.
    """

    def figures(bpp: float, psnr_db: float, ssimulacra2: float | None, butteraugli: float | None) -> Figures:
        return Figures(int(8000 * bpp), bpp, psnr_db, 0.9, None, ssimulacra2, 1.0, 0.1, crop, butteraugli)

    def make(
        names: tuple[str, ...] = ("cat", "dog"),
        label: str = "JPEG",
        curves: tuple[Curve, ...] = (),
        failures: tuple[Failure, ...] = (),
        ssimulacra2: float | Callable[[float], float] | None = 70.0,
        rates: tuple[float, ...] = RATES,
        best_psnr_db: float | None = None,
        tune: str = "psnr",
        has_butteraugli: bool = False,
    ) -> Comparison:
        def seen(bpp: float) -> float | None:
            return ssimulacra2(bpp) if callable(ssimulacra2) else ssimulacra2

        measurements = []
        targets = tuple(Target("wavelet", 5, rate, tune=tune) for rate in rates)
        for target in targets:
            for at, name in enumerate(names):
                bpp = 24 * target.rate
                psnr_db = quality(bpp) + at
                if best_psnr_db is not None and target == targets[-1]:
                    psnr_db = best_psnr_db
                distances = (distance(bpp), distance(0.4 * bpp)) if has_butteraugli else (None, None)
                ours = figures(bpp, psnr_db, seen(bpp), distances[0])
                theirs = figures(bpp, quality(0.8 * bpp) + at, seen(0.5 * bpp), distances[1])
                measurements.append(Measurement(name, target, DFM, "", ours.file_bytes, figures=ours))
                measurements.append(Measurement(name, target, "jpeg", "4:4:4", ours.file_bytes, 50, None, None, theirs))
        return Comparison(
            images=tuple(SourceImage(name, Path(f"{name}.png"), "0" * 64, 100, 80, 3) for name in names),
            targets=targets,
            codecs={
                "jpeg": {
                    "label": label,
                    "version": "1",
                    "options": {"optimize": True},
                    "forms": ["4:4:4"],
                    "tuned_for": "",
                }
            },
            measurements=tuple(measurements),
            failures=failures,
            original_crops=dict.fromkeys(names, crop),
            host="a host",
            versions={"dfmcodec": "0"},
            processes=1,
            total_s=1.0,
            curves=curves,
        )

    return make


def distance(bpp: float) -> float:
    """Butteraugli of the images of `compared`: 1 less for twice the rate."""
    return float(5 - np.log2(bpp))


def quality(bpp: float) -> float:
    """PSNR of the images of `compared`: 6 dB for twice the rate."""
    return float(30 + 6 * np.log2(bpp))
