"""The choice of a network for a file size: its number of weights, depth and width."""

from __future__ import annotations

from collections.abc import Callable
from math import log

from dfmcodec import bitstream
from dfmcodec.encoder.config import EncoderConfig
from dfmcodec.errors import TargetUnreachableError
from dfmcodec.fourier.network import CoordinateArchitecture

BITS_PER_WEIGHT = 9.0  # docs/results/published.md, "Weights or bits"
DEPTH = 3  # trained best at every size
_WIDTHS = range(2, 17)
_MIN_STREAM_BYTES = 8


def architecture_of(config: EncoderConfig, channels: int, depth: int, width: int) -> CoordinateArchitecture:
    """The network of a given depth and width under the other settings of the user."""
    return CoordinateArchitecture(channels, depth, width, config.order or full_order(width))


def full_order(width: int) -> int:
    """The least order with the full frequency set K = {0,1}^m in every layer."""
    return max(width, 2)


def choose_architecture(
    config: EncoderConfig, channels: int, budget_bytes: int, too_small: Callable[[float], str]
) -> CoordinateArchitecture:
    """The network whose weights fill the budget at `BITS_PER_WEIGHT`.

    Args:
        config: The settings of the user.
        channels: The number of channels, 1 or 3.
        budget_bytes: The largest size of the file, without ancillary data.
        too_small: Gives the error message for the least possible size in bytes.

    Raises:
        TargetUnreachableError: The budget is less than the smallest network's file needs.
    """
    if config.depth is not None and config.width is not None:
        architecture = architecture_of(config, channels, config.depth, config.width)
    else:
        candidates = [architecture_of(config, channels, DEPTH, width) for width in _WIDTHS]

        def mismatch(candidate: CoordinateArchitecture) -> float:
            stream_bytes = budget_bytes - bitstream.network_file_bytes(candidate)
            wanted = max(1.0, 8 * stream_bytes / BITS_PER_WEIGHT)
            return abs(log(candidate.weight_count / wanted))

        architecture = min(candidates, key=mismatch)
    least = bitstream.network_file_bytes(architecture) + _MIN_STREAM_BYTES
    if budget_bytes < least:
        raise TargetUnreachableError(too_small(least))
    return architecture


def ladder(config: EncoderConfig, channels: int) -> list[CoordinateArchitecture]:
    """Networks of growing size for a PSNR target, each about twice as large as the one before."""
    if config.depth is not None and config.width is not None:
        return [architecture_of(config, channels, config.depth, config.width)]
    return [architecture_of(config, channels, DEPTH, width) for width in (6, 8, 9, 10, 11, 12, 13)]
