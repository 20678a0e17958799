"""Inception-v3 features for Frechet distances, from weights that the user supplies.

This is the network for which FIDs are reported (Heusel et al. 2017), in the form of the PyPI
package `pytorch-fid`: Inception-v3 (Szegedy et al. 2016) with 1008 classes, whose mean pooling does
not count padding and whose last block uses max pooling. Its weights are in the file
pt_inception-2015-12-05-6726825d.pth of the releases of that package. They are exported once, on a
host with PyTorch:

    python -c "import numpy, torch; numpy.savez('inception.npz', **{name: array.numpy() for name,
    array in torch.load('pt_inception-2015-12-05-6726825d.pth', map_location='cpu').items()})"

With random weights and batch-normalisation statistics, the features of 35 gray and RGB images of
28x28 to 420x500 pixels differ from those of pytorch-fid 0.3.0 (PyTorch 2.6.0, torchvision 0.21.0)
by at most 8.0e-7 of the largest, on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from dfmcodec._types import Array, Float32, UInt8
from dfmcodec.codecs.generative.training.evaluate import in_batches
from dfmcodec.errors import ImageError
from dfmcodec.fourier.jax_backend import calls, use_compilation_cache

FEATURES = 2048
CLASSES = 1008
_SIDE = 299  # the side of the network's input, in pixels
_BATCH = 16
_EPSILON = 1e-3  # added to variances by batch normalisation
_EXPORT = (
    "export pytorch-fid's pt_inception-2015-12-05-6726825d.pth with the command in "
    "dfmcodec/codecs/generative/training/inception.py"
)
Weights = Mapping[str, Array]


@dataclass(frozen=True)
class Conv:
    """A convolution without bias, followed by batch normalisation and rectification."""

    name: str  # the name of its arrays, without the prefix of the block
    outputs: int
    kernel: tuple[int, int] = (1, 1)  # height and width
    stride: int = 1
    padded: bool = True  # whether the input is padded with zeros ("SAME")


def _maxima(x: Array, stride: int = 1, padding: str = "SAME") -> Array:
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, stride, stride, 1), padding)


def _halved(x: Array) -> Array:
    return _maxima(x, 2, "VALID")


def _mean(x: Array) -> Array:
    def total(x: Array) -> Array:
        return jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 3, 3, 1), (1, 1, 1, 1), "SAME")

    return total(x) / total(jnp.ones((1, *x.shape[1:3], 1), x.dtype))  # padding does not count


Chain = tuple[Conv | Callable[[Array], Array], ...]  # convolutions, and functions that pool
# The chains of a block have the same input, and their outputs are joined. XLA computes equal
# beginnings once.
Block = tuple[Chain, ...]


def _block_a(pooled: int) -> Block:
    return (
        (Conv("branch1x1", 64),),
        (Conv("branch5x5_1", 48), Conv("branch5x5_2", 64, (5, 5))),
        (Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, (3, 3)), Conv("branch3x3dbl_3", 96, (3, 3))),
        (_mean, Conv("branch_pool", pooled)),
    )


def _block_b() -> Block:
    double = Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, (3, 3))
    return (
        (Conv("branch3x3", 384, (3, 3), 2, padded=False),),
        (*double, Conv("branch3x3dbl_3", 96, (3, 3), 2, padded=False)),
        (_halved,),
    )


def _block_c(inner: int) -> Block:
    double = Conv("branch7x7dbl_1", inner), Conv("branch7x7dbl_2", inner, (7, 1)), Conv("branch7x7dbl_3", inner, (1, 7))
    return (
        (Conv("branch1x1", 192),),
        (Conv("branch7x7_1", inner), Conv("branch7x7_2", inner, (1, 7)), Conv("branch7x7_3", 192, (7, 1))),
        (*double, Conv("branch7x7dbl_4", inner, (7, 1)), Conv("branch7x7dbl_5", 192, (1, 7))),
        (_mean, Conv("branch_pool", 192)),
    )


def _block_d() -> Block:
    seven = Conv("branch7x7x3_1", 192), Conv("branch7x7x3_2", 192, (1, 7)), Conv("branch7x7x3_3", 192, (7, 1))
    return (
        (Conv("branch3x3_1", 192), Conv("branch3x3_2", 320, (3, 3), 2, padded=False)),
        (*seven, Conv("branch7x7x3_4", 192, (3, 3), 2, padded=False)),
        (_halved,),
    )


def _block_e(pool: Callable[[Array], Array]) -> Block:
    single, double = Conv("branch3x3_1", 384), (Conv("branch3x3dbl_1", 448), Conv("branch3x3dbl_2", 384, (3, 3)))
    return (
        (Conv("branch1x1", 320),),
        (single, Conv("branch3x3_2a", 384, (1, 3))),
        (single, Conv("branch3x3_2b", 384, (3, 1))),
        (*double, Conv("branch3x3dbl_3a", 384, (1, 3))),
        (*double, Conv("branch3x3dbl_3b", 384, (3, 1))),
        (pool, Conv("branch_pool", 192)),
    )


_STEM: Chain = (
    Conv("Conv2d_1a_3x3", 32, (3, 3), 2, padded=False),
    Conv("Conv2d_2a_3x3", 32, (3, 3), padded=False),
    Conv("Conv2d_2b_3x3", 64, (3, 3)),
    _halved,
    Conv("Conv2d_3b_1x1", 80),
    Conv("Conv2d_4a_3x3", 192, (3, 3), padded=False),
    _halved,
)
BLOCKS: dict[str, Block] = {  # by the prefix of their arrays' names
    "": (_STEM,),
    "Mixed_5b.": _block_a(32),
    "Mixed_5c.": _block_a(64),
    "Mixed_5d.": _block_a(64),
    "Mixed_6a.": _block_b(),
    "Mixed_6b.": _block_c(128),
    "Mixed_6c.": _block_c(160),
    "Mixed_6d.": _block_c(160),
    "Mixed_6e.": _block_c(192),
    "Mixed_7a.": _block_d(),
    "Mixed_7b.": _block_e(_mean),
    "Mixed_7c.": _block_e(_maxima),
}


def shapes() -> dict[str, tuple[int, ...]]:
    """Returns the names and shapes of arrays, as in PyTorch; kernels [outputs, inputs, ..]."""
    expected: dict[str, tuple[int, ...]] = {}
    inputs = 3
    for prefix, block in BLOCKS.items():
        joined = 0
        for chain in block:
            channels = inputs
            for step in chain:
                if isinstance(step, Conv):
                    expected[f"{prefix}{step.name}.conv.weight"] = (step.outputs, channels, *step.kernel)
                    for name in ("weight", "bias", "running_mean", "running_var"):
                        expected[f"{prefix}{step.name}.bn.{name}"] = (step.outputs,)
                    channels = step.outputs
            joined += channels
        inputs = joined
    return expected | {"fc.weight": (CLASSES, FEATURES), "fc.bias": (CLASSES,)}


def check_weights(weights: Mapping[str, npt.NDArray[np.generic]], path: Path) -> None:
    """Rejects arrays that are not those of the network. Additional arrays are ignored.

    Raises:
        ImageError: An array is missing, or has another shape or type, or values that are NaN or
            infinite.
        The message names `path`.
    """
    expected = shapes()
    missing = [name for name in expected if name not in weights]
    if missing:
        others = f" and {len(missing) - 1} more of {len(expected)} arrays" if len(missing) > 1 else ""
        msg = f"{path} has no array `{missing[0]}`{others} of the FID Inception; {_EXPORT}"
        raise ImageError(msg)
    for name, shape in expected.items():
        if weights[name].shape != shape:
            shape_found = list(weights[name].shape)
            msg = f"{path}: `{name}` is {shape_found}, in the FID Inception it is {list(shape)}; {_EXPORT}"
            raise ImageError(msg)
        if not np.issubdtype(weights[name].dtype, np.floating) or not np.isfinite(weights[name]).all():
            msg = f"{path}: `{name}` ({weights[name].dtype}) is not of finite floating-point numbers; {_EXPORT}"
            raise ImageError(msg)


def classify(weights: Mapping[str, npt.NDArray[np.generic]], images: UInt8) -> tuple[Float32, Float32]:
    """Computes the features and class probabilities of images, uint8 [N, H, W, 1 or 3], N >= 1.

    Returns:
        The pooled units before the classes, float32 [N, FEATURES]; and the softmax of the logits,
        float32 [N, CLASSES]. The logits include their bias, which the Inception scores of Salimans
        et al. 2016 omit.
    """
    use_compilation_cache()
    with calls():
        taken = {name: jnp.asarray(weights[name], jnp.float32) for name in shapes()}
        return in_batches(lambda batch: _evaluate(taken, jnp.asarray(batch)), images, _BATCH)


@jax.jit
def _evaluate(weights: Weights, images: Array) -> tuple[Array, Array]:
    count, *_, channels = images.shape
    x = jnp.repeat(images, 3 // channels, axis=3).astype(jnp.float32) / 255
    with jax.default_matmul_precision("highest"):  # a GPU would use TF32 otherwise
        x = 2 * jax.image.resize(x, (count, _SIDE, _SIDE, 3), "linear", antialias=False) - 1
        for prefix in BLOCKS:
            x = apply_block(weights, prefix, x)
        features = x.mean(axis=(1, 2))
        logits = features @ weights["fc.weight"].T + weights["fc.bias"].reshape(1, -1)
    return features, jax.nn.softmax(logits)


def apply_block(weights: Weights, prefix: str, x: Array) -> Array:
    """Applies the block of a prefix. float32 [N, H, W, inputs] -> float32 [N, H', W', outputs]."""

    def applied(chain: Chain) -> Array:
        y = x
        for step in chain:
            y = _convolve(weights, prefix, step, y) if isinstance(step, Conv) else step(y)
        return y

    return jnp.concatenate([applied(chain) for chain in BLOCKS[prefix]], axis=3)


def _convolve(weights: Weights, prefix: str, conv: Conv, x: Array) -> Array:
    kernel = weights[f"{prefix}{conv.name}.conv.weight"]
    gain, bias, mean, variance = (
        weights[f"{prefix}{conv.name}.bn.{name}"].reshape(1, 1, 1, -1)
        for name in ("weight", "bias", "running_mean", "running_var")
    )
    y = jax.lax.conv_general_dilated(
        x,
        kernel,
        (conv.stride, conv.stride),
        "SAME" if conv.padded else "VALID",
        dimension_numbers=("NHWC", "OIHW", "NHWC"),
    )
    return jax.nn.relu((y - mean) * (gain / jnp.sqrt(variance + _EPSILON)) + bias)
