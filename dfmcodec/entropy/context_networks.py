"""What the integer context networks of several codecs share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dfmcodec._types import Float32
from dfmcodec.errors import DfmError

ACTIVATION_SHIFT = 64
MAX_FEATURE = 127
MAX_EXACT = 1 << 24  # float32 holds all integers up to this one
SQUARE = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1))


def check_integers(name: str, numbers: Float32) -> None:
    """Refuses an array of a context network whose numbers are not whole.

    Raises:
        DfmError: They are not.
    """
    if not np.array_equal(numbers, np.rint(numbers)):  # NaN too, as it does not equal itself
        msg = f"{name} of a context network of the prior has numbers that are not integers"
        raise DfmError(msg)


def check_sums(bounds: Sequence[float]) -> None:
    """Refuses a context network whose sums float32 may not hold exactly.

    Args:
        bounds: The largest magnitude of the partial sums of each layer.

    Raises:
        DfmError: One of them is beyond MAX_EXACT.
    """
    for layer, bound in enumerate(bounds, start=1):
        if bound > MAX_EXACT:
            msg = (
                f"sums of layer {layer} of a context network of the prior may reach {bound:.0f}; "
                f"beyond {MAX_EXACT} they are not the same on all hosts"
            )
            raise DfmError(msg)
