"""Butteraugli, measured by the command `butteraugli_main` of libjxl."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np

from dfmcodec._types import Pixels
from dfmcodec.errors import DfmError
from dfmcodec.processes import installed_program, program_path

COMMAND = "butteraugli_main"
ABSENT = f"Butteraugli is not measured: the command {COMMAND} of libjxl is not on the PATH."
_MIN_SIDE = 8  # the command returns 0 for smaller images


def is_installed() -> bool:
    """Indicates whether the command is on the PATH."""
    return installed_program(COMMAND) is not None


def butteraugli(original: Pixels, decoded: Pixels) -> float | None:
    """Returns the 3-norm of Butteraugli's map of two images, uint8 [H, W, C]; 0 if they are equal.
    Returns None for images with a side below 8. Raises DfmError if the command fails.
    """
    import PIL.Image

    if min(original.shape[:2]) < _MIN_SIDE:
        return None
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in ("original.png", "decoded.png")]
        for path, pixels in zip(paths, (original, decoded), strict=True):
            PIL.Image.fromarray(np.squeeze(pixels, 2) if pixels.shape[2] == 1 else pixels).save(path, compress_level=1)
        arguments = [program_path(COMMAND), *map(str, paths)]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    try:
        if done.returncode:
            raise ValueError(done.returncode)
        return float(done.stdout.split()[-1])  # the last line is "3-norm: 1.234"
    except (ValueError, IndexError):
        printed = " ".join((done.stderr or done.stdout).split()) or "nothing"
        instead = "take it off the PATH to leave Butteraugli out"
        msg = f"{COMMAND} ended with status {done.returncode} and printed {printed}; {instead}"
        raise DfmError(msg) from None
