"""Checks of an installed wheel on any platform: encodes, decodes, and decodes the golden files to
their images.

    python tests/supply/wheel_smoke.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image

import dfmcodec
from dfmcodec.kernels import instruction_set
from dfmcodec.photographs import photograph

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "v1"


def main() -> None:
    pixels = photograph().pixels
    result = dfmcodec.encode(pixels, size=12_000, effort=1)
    assert len(result.data) <= 12_000
    decoded = dfmcodec.decode(result.data)
    assert np.array_equal(decoded.pixels, result.decoded.pixels)
    count = 0
    for path in sorted(GOLDEN.glob("*.dfm")):
        with PIL.Image.open(path.with_suffix(".png")) as image:
            expected = np.asarray(image)
        found = np.asarray(dfmcodec.decode(path))
        if found.dtype == np.uint8 and expected.dtype == np.uint8 and found.ndim == expected.ndim:
            assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1, path.name
            count += 1
    assert count > 10
    print(f"{dfmcodec.__version__} with {instruction_set()}: {result.report.psnr_db:.2f} dB, {count} golden files")


if __name__ == "__main__":
    main()
