"""Which network for which size: the number of weights, and their cut into depth and width."""

from __future__ import annotations

from collections.abc import Callable
from math import log

from dfmcodec import bitstream
from dfmcodec.encoder.config import EncoderConfig
from dfmcodec.errors import TargetUnreachableError
from dfmcodec.model import CoordinateArchitecture

BITS_PER_WEIGHT = 9.0  # docs/results.md, "Weights or bits"
DEPTH = 3  # trained best at every size
_WIDTHS = range(2, 17)
_MIN_STREAM_BYTES = 8


def architecture_of(config: EncoderConfig, channels: int, depth: int, width: int) -> CoordinateArchitecture:
    """The network of a given depth and width under the other settings."""
    return CoordinateArchitecture(channels, depth, width, config.order or full_order(width))


def full_order(width: int) -> int:
    """The order that leaves K = {0,1}^m in full for every layer."""
    return max(width, 2)


def choose_architecture(
    config: EncoderConfig, channels: int, budget_bytes: int, too_small: Callable[[float], str]
) -> CoordinateArchitecture:
    """The network whose weights fill the budget, of the model alone, at `BITS_PER_WEIGHT`.

    Raises:
        TargetUnreachableError: The budget is below what the smallest network's file needs.
    """
    if config.depth is not None and config.width is not None:
        chosen = architecture_of(config, channels, config.depth, config.width)
    else:
        candidates = [architecture_of(config, channels, DEPTH, width) for width in _WIDTHS]

        def mismatch(candidate: CoordinateArchitecture) -> float:
            stream_bytes = budget_bytes - bitstream.network_file_bytes(candidate)
            wanted = max(1.0, 8 * stream_bytes / BITS_PER_WEIGHT)
            return abs(log(candidate.weight_count / wanted))

        chosen = min(candidates, key=mismatch)
    least = bitstream.network_file_bytes(chosen) + _MIN_STREAM_BYTES
    if budget_bytes < least:
        raise TargetUnreachableError(too_small(least))
    return chosen


def ladder(config: EncoderConfig, channels: int) -> list[CoordinateArchitecture]:
    """Networks of growing size, each about twice the one before, for a PSNR target."""
    if config.depth is not None and config.width is not None:
        return [architecture_of(config, channels, config.depth, config.width)]
    return [architecture_of(config, channels, DEPTH, width) for width in (6, 8, 9, 10, 11, 12, 13)]
