"""The choice of a network for a file size: number of weights, depth and width."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import log

from dfmcodec.codecs.coordinate.sections import network_file_bytes
from dfmcodec.errors import ConfigError, TargetUnreachableError
from dfmcodec.fourier.network import MAX_MULTIPLY_ADDS, CoordinateArchitecture
from dfmcodec.image import Image
from dfmcodec.search.config import EncoderConfig

BITS_PER_WEIGHT = 9.0  # docs/measurements.md, "Bits per weight"
DEPTH = 3  # best after training at every size
_WIDTHS = range(2, 17)
_LADDER = (6, 8, 9, 10, 11, 12, 13)  # widths
_MIN_STREAM_BYTES = 8


def architecture_of(config: EncoderConfig, channels: int, depth: int, width: int) -> CoordinateArchitecture:
    """Returns the architecture of a depth and width, with the user's order or full sets."""
    return CoordinateArchitecture(channels, depth, width, config.order or max(width, 2))


def choose_architecture(
    config: EncoderConfig, image: Image, budget_bytes: int, too_small: Callable[[float], str]
) -> CoordinateArchitecture:
    """Returns the architecture whose weights fill the budget, without ancillary data, at
    `BITS_PER_WEIGHT`. Raises ConfigError if decoders would reject all such networks for this image,
    and TargetUnreachableError, with the message of `too_small` for the smallest possible size, if
    the budget is too small for the smallest network.
    """

    def mismatch(candidate: CoordinateArchitecture) -> float:
        stream_bytes = budget_bytes - network_file_bytes(candidate)
        wanted = max(1.0, 8 * stream_bytes / BITS_PER_WEIGHT)
        return abs(log(candidate.weight_count / wanted))

    architecture = min(_candidates(config, image, _WIDTHS), key=mismatch)
    least = network_file_bytes(architecture) + _MIN_STREAM_BYTES
    if budget_bytes < least:
        raise TargetUnreachableError(too_small(least))
    return architecture


def ladder(config: EncoderConfig, image: Image) -> list[CoordinateArchitecture]:
    """Returns networks of growing size for a PSNR target, each about twice as large as the one
    before. Raises ConfigError if decoders would reject all such networks for this image.
    """
    return _candidates(config, image, _LADDER)


def _candidates(config: EncoderConfig, image: Image, widths: Iterable[int]) -> list[CoordinateArchitecture]:
    """Returns the user's network, or networks of some widths, that decoders accept by default."""
    if config.depth is not None and config.layer_width is not None:
        candidates = [architecture_of(config, image.channels, config.depth, config.layer_width)]
    else:
        candidates = [architecture_of(config, image.channels, DEPTH, width) for width in widths]
    most = MAX_MULTIPLY_ADDS // image.pixel_count
    decodable = [candidate for candidate in candidates if candidate.multiply_adds <= most]
    if not decodable:
        least = min(candidate.multiply_adds for candidate in candidates)
        msg = (
            f"the network would take {least} multiply-adds at each of {image.pixel_count} pixels, more than the "
            f"{MAX_MULTIPLY_ADDS} in all that decoders allow; take a smaller --depth or --layer-width, "
            "or another --model"
        )
        raise ConfigError(msg)
    return decodable
