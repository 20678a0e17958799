from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpy.typing as npt
import pytest

from dfmcodec.codecs.generative.training.inception import (
    CLASSES,
    FEATURES,
    apply_block,
    check_weights,
    classify,
    shapes,
)
from dfmcodec.errors import ImageError

Array = npt.NDArray[Any]
PATH = Path("inception.npz")


def zeros() -> dict[str, Array]:
    """Arrays of the right shapes that take no memory."""
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes().items()}


def random_weights(prefix: str) -> dict[str, Array]:
    """Weights of the blocks whose names start so: by He's rule, with statistics that batch
    normalisation shows.
    """
    rng = np.random.default_rng(0)
    weights = {}
    for name, shape in sorted(shapes().items()):
        if not name.startswith(prefix):
            continue
        if name.endswith("conv.weight"):
            array = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        elif name.endswith(("bn.weight", "bn.running_var")):
            array = rng.uniform(0.5, 1.5, shape)
        else:
            array = rng.normal(0, 0.05 if name == "fc.weight" else 0.2, shape)
        weights[name] = array.astype(np.float32)
    return weights


class PlainBlock:
    """What the blocks are made of, in NumPy and float64, with padding as PyTorch counts it."""

    def __init__(self, weights: dict[str, Array], prefix: str) -> None:
        self._weights, self._prefix = weights, prefix

    def conv(self, name: str, x: Array, padding: tuple[int, int] = (0, 0), stride: int = 1) -> Array:
        kernel, gain, bias, mean, variance = (
            self._weights[f"{self._prefix}{name}.{part}"].astype(np.float64)
            for part in ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
        )
        windows = self._windows(x, kernel.shape[2:], padding, stride, 0.0)
        y = sum(window @ kernel[:, :, i, j].T for (i, j), window in windows.items())
        return np.maximum((y - mean) / np.sqrt(variance + 0.001) * gain + bias, 0)

    def maxima(self, x: Array, padding: int, stride: int) -> Array:
        return np.max(list(self._windows(x, (3, 3), (padding, padding), stride, -np.inf).values()), axis=0)

    def mean(self, x: Array) -> Array:
        return np.nanmean(list(self._windows(x, (3, 3), (1, 1), 1, np.nan).values()), axis=0)

    def _windows(
        self, x: Array, kernel: tuple[int, ...], padding: tuple[int, int], stride: int, fill: float
    ) -> dict[tuple[int, int], Array]:
        vertical, horizontal = padding
        x = np.pad(x, [(0, 0), (vertical,) * 2, (horizontal,) * 2, (0, 0)], constant_values=fill)
        rows, columns = x.shape[1] - kernel[0] + 1, x.shape[2] - kernel[1] + 1
        return {
            (i, j): x[:, i : i + rows : stride, j : j + columns : stride] for i, j in np.ndindex(kernel[0], kernel[1])
        }


def block_5b(block: PlainBlock, x: Array) -> list[Array]:
    double = block.conv("branch3x3dbl_2", block.conv("branch3x3dbl_1", x), (1, 1))
    return [
        block.conv("branch1x1", x),
        block.conv("branch5x5_2", block.conv("branch5x5_1", x), (2, 2)),
        block.conv("branch3x3dbl_3", double, (1, 1)),
        block.conv("branch_pool", block.mean(x)),
    ]


def block_6a(block: PlainBlock, x: Array) -> list[Array]:
    double = block.conv("branch3x3dbl_2", block.conv("branch3x3dbl_1", x), (1, 1))
    return [block.conv("branch3x3", x, stride=2), block.conv("branch3x3dbl_3", double, stride=2), block.maxima(x, 0, 2)]


def block_6b(block: PlainBlock, x: Array) -> list[Array]:
    wide, tall = (0, 3), (3, 0)
    seven = block.conv("branch7x7_2", block.conv("branch7x7_1", x), wide)
    double = block.conv("branch7x7dbl_3", block.conv("branch7x7dbl_2", block.conv("branch7x7dbl_1", x), tall), wide)
    return [
        block.conv("branch1x1", x),
        block.conv("branch7x7_3", seven, tall),
        block.conv("branch7x7dbl_5", block.conv("branch7x7dbl_4", double, tall), wide),
        block.conv("branch_pool", block.mean(x)),
    ]


def block_7c(block: PlainBlock, x: Array) -> list[Array]:
    single = block.conv("branch3x3_1", x)
    double = block.conv("branch3x3dbl_2", block.conv("branch3x3dbl_1", x), (1, 1))
    return [
        block.conv("branch1x1", x),
        block.conv("branch3x3_2a", single, (0, 1)),
        block.conv("branch3x3_2b", single, (1, 0)),
        block.conv("branch3x3dbl_3a", double, (0, 1)),
        block.conv("branch3x3dbl_3b", double, (1, 0)),
        block.conv("branch_pool", block.maxima(x, 1, 1)),
    ]


@pytest.mark.parametrize(
    ("prefix", "plain", "inputs"),
    [
        ("Mixed_5b.", block_5b, 192),
        ("Mixed_6a.", block_6a, 288),
        pytest.param("Mixed_6b.", block_6b, 768, marks=pytest.mark.slow),
        pytest.param("Mixed_7c.", block_7c, 2048, marks=pytest.mark.slow),
    ],
)
def test_a_block_is_as_in_numpy(prefix: str, plain: Any, inputs: int) -> None:
    weights = random_weights(prefix)
    x = np.random.default_rng(1).normal(0, 1, (2, 7, 5, inputs)).astype(np.float32)
    found = np.asarray(jax.jit(apply_block, static_argnums=1)(weights, prefix, x))
    expected = np.concatenate(plain(PlainBlock(weights, prefix), x.astype(np.float64)), axis=3)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_the_network_has_the_parameters_of_inception_v3_with_1008_classes() -> None:
    counts = {name: int(np.prod(shape)) for name, shape in shapes().items()}
    learned = [count for name, count in counts.items() if "running" not in name]
    assert len(counts) == 94 * 5 + 2
    # torchvision's 27161264 with 1000 classes, less the 3326696 of its auxiliary classifier, and 8
    # more classes
    assert sum(learned) == 27161264 - 3326696 + 8 * 2049


def test_right_weights_pass_and_arrays_beside_them_do_not_matter() -> None:
    check_weights(zeros() | {"Conv2d_1a_3x3.bn.num_batches_tracked": np.array(0)}, PATH)


def test_missing_weights_are_reported() -> None:
    weights = zeros()
    del weights["Mixed_6b.branch7x7_2.bn.running_var"]
    expected = r"inception.npz has no array `Mixed_6b.branch7x7_2.bn.running_var` of the FID Inception; export .*\.pth"
    with pytest.raises(ImageError, match=expected):
        check_weights(weights, PATH)
    with pytest.raises(ImageError, match=r"`Conv2d_1a_3x3.conv.weight` and 471 more of 472 arrays"):
        check_weights({"images": np.zeros(3)}, PATH)


def test_weights_of_another_shape_are_reported() -> None:
    weights = zeros() | {"fc.weight": np.zeros((1000, FEATURES), np.float32)}  # torchvision's own
    with pytest.raises(ImageError, match=r"`fc.weight` is \[1000, 2048\], in the FID Inception it is \[1008, 2048\]"):
        check_weights(weights, PATH)


@pytest.mark.parametrize("array", [np.full(CLASSES, np.nan, np.float32), np.zeros(CLASSES, np.int64)])
def test_weights_that_are_no_finite_numbers_are_reported(array: Array) -> None:
    with pytest.raises(ImageError, match=rf"`fc.bias` \({array.dtype}\) is not of finite floating-point numbers"):
        check_weights(zeros() | {"fc.bias": array}, PATH)


@pytest.mark.slow
def test_features_and_probabilities_are_those_of_pytorch_fid() -> None:
    """The figures are those of pytorch-fid 0.3.0 with these weights, by PyTorch 2.6.0 on a CPU."""
    weights = random_weights("")
    images = np.random.default_rng(2).integers(0, 256, (17, 20, 30, 1), np.uint8)  # a batch and one more
    features, probabilities = classify(weights, images)
    assert features.dtype == probabilities.dtype == np.float32
    assert features.shape == (17, FEATURES)
    assert probabilities.shape == (17, CLASSES)
    assert features.sum(axis=1)[[0, 16]] == pytest.approx([7644.483, 7597.421], rel=1e-4)
    expected = [0.9915922, 2.340621, 0.0, 12.68604, 4.220749, 2.949745, 0.1671520]
    assert features[16, ::293] == pytest.approx(expected, rel=1e-3)
    assert probabilities[[0, 16], 592] == pytest.approx([0.4025907, 0.4102179], rel=1e-3)
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(17))
    in_colour = classify(weights, np.repeat(images[16:], 3, axis=3))[0]
    assert in_colour == pytest.approx(features[16:], rel=1e-4, abs=1e-4)
