"""A small convolutional classifier, whose features are used by the measures of generated images.

Each stage has a rectified 3x3 convolution and 2x2 max pooling. A dense layer of `FEATURES`
rectified units follows, whose outputs are the features, and a dense layer to the classes. The
classifier is trained on the training images themselves, by Adam with a cosine learning rate. The
images are shifted by up to 2 pixels, and RGB images are also mirrored.
"""

from __future__ import annotations

from math import cos, pi
from pathlib import Path
from zlib import crc32

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dfmcodec._types import Array, Float32, UInt8
from dfmcodec.errors import ImageError
from dfmcodec.files.arrays import read_arrays, write_arrays
from dfmcodec.fourier.jax_backend import use_compilation_cache
from research.generative.data import ImageSet
from research.generative.evaluate import in_batches

FEATURES = 128
_STAGES = (16, 32, 64)
_BATCH = 64
_SHIFT = 2
_LEARNING_RATE = 2e-3
_DROPOUT = 0.3
_EVALUATED = 250
_TRAINED_ON = "trained_on"  # the array of a classifier's file that identifies its training images and their classes
Weights = dict[str, Array]


def read_or_train(train: ImageSet, path: Path | None) -> Weights:
    """Returns the weights of the classifier, read from a file or trained on the training images. A
    file that does not exist is written. Raises ImageError if the images have no classes, or the
    file has a classifier of other images or classes, and DfmError if the file cannot be read or
    written.
    """
    trained_on = train.checksum if train.labels is None else f"{train.checksum}-{crc32(train.labels.tobytes()):08x}"
    if path is None or not path.exists():
        weights = train_classifier(train)
        if path is not None:
            write_arrays(path, weights | {_TRAINED_ON: np.array(trained_on)})
        return weights
    stored = read_arrays(path)
    if str(stored.pop(_TRAINED_ON, None)) != trained_on:
        msg = f"{path} is not a classifier trained on these images and classes; name another file"
        raise ImageError(msg)
    return stored


def train_classifier(data: ImageSet, epochs: int = 12, seed: int = 0) -> Weights:
    """Trains the classifier on images with labels; returns its weights, by name, float32. Each
    image is used `epochs` times on average. Raises ImageError if the images have no labels.
    """
    if data.labels is None:
        msg = "the images have no classes, so no classifier can be trained; give labels, or a subfolder for each class"
        raise ImageError(msg)
    use_compilation_cache()
    rng = np.random.default_rng(seed)
    weights = _initial(data.images.shape, int(data.labels.max()) + 1, rng)
    state = optax.scale_by_adam().init(weights)
    steps = max(1, epochs * len(data) // _BATCH)
    mirrored = data.images.shape[3] == 3
    for step in range(steps):
        picked = rng.integers(0, len(data), _BATCH)
        images = _shifted(data.images[picked], rng, mirrored)
        rate = _LEARNING_RATE * 0.5 * (1 + cos(pi * step / steps))
        key = jax.random.key(int(rng.integers(1 << 31)))
        weights, state = _step(weights, state, jnp.asarray(images), jnp.asarray(data.labels[picked]), key, rate)
    return {name: np.asarray(value) for name, value in weights.items()}


def classify(weights: Weights, images: UInt8) -> tuple[Float32, Float32]:
    """Computes the features, float32 [N, FEATURES], and class probabilities, float32 [N, classes],
    of images, uint8 [N, H, W, C].
    """
    use_compilation_cache()

    def evaluate(batch: UInt8) -> tuple[Array, Array]:
        features, logits = _evaluate(weights, jnp.asarray(batch))
        return features, jax.nn.softmax(logits)

    return in_batches(evaluate, images, _EVALUATED)


def accuracy(weights: Weights, data: ImageSet) -> float:
    """Returns the fraction of images that the classifier assigns to their own class."""
    _, probabilities = classify(weights, data.images)
    return float((probabilities.argmax(axis=1) == data.labels).mean())


def _initial(shape: tuple[int, ...], classes: int, rng: np.random.Generator) -> Weights:
    """Draws random weights for images of a shape [N, H, W, C]."""
    _, height, width, channels = shape
    weights: Weights = {}
    for index, outputs in enumerate(_STAGES):
        weights[f"conv{index}"] = rng.normal(0, np.sqrt(2 / (9 * channels)), (3, 3, channels, outputs))
        weights[f"conv{index}_bias"] = np.zeros(outputs)
        height, width, channels = -(-height // 2), -(-width // 2), outputs
    inputs = height * width * channels
    weights["dense"] = rng.normal(0, np.sqrt(2 / inputs), (inputs, FEATURES))
    weights["dense_bias"] = np.zeros(FEATURES)
    weights["classes"] = rng.normal(0, np.sqrt(1 / FEATURES), (FEATURES, classes))
    weights["classes_bias"] = np.zeros(classes)
    return {name: jnp.asarray(value, jnp.float32) for name, value in weights.items()}


def _forward(weights: Weights, images: Array, key: Array | None) -> tuple[Array, Array]:
    """Computes features [N, FEATURES] and logits [N, classes], with dropout if there is a key."""
    x = images.astype(jnp.float32) / 127.5 - 1
    for index in range(len(_STAGES)):
        x = jax.lax.conv_general_dilated(
            x, weights[f"conv{index}"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = jax.nn.relu(x + weights[f"conv{index}_bias"].reshape(1, 1, 1, -1))
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "SAME")
    features = jax.nn.relu(x.reshape(len(x), -1) @ weights["dense"] + weights["dense_bias"][None])
    kept = features
    if key is not None:
        kept = jnp.where(jax.random.bernoulli(key, 1 - _DROPOUT, features.shape), features, 0.0) / (1 - _DROPOUT)
    return features, kept @ weights["classes"] + weights["classes_bias"][None]


@jax.jit
def _evaluate(weights: Weights, images: Array) -> tuple[Array, Array]:
    return _forward(weights, images, None)


@jax.jit
def _step(
    weights: Weights, state: optax.OptState, images: Array, labels: Array, key: Array, rate: float
) -> tuple[Weights, optax.OptState]:
    """Runs a training step; returns the weights and the optimiser state."""

    def loss(weights: Weights) -> Array:
        _, logits = _forward(weights, images, key)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    updates, state = optax.scale_by_adam().update(jax.grad(loss)(weights), state)
    return {name: weights[name] - rate * updates[name] for name in weights}, state


def _shifted(images: UInt8, rng: np.random.Generator, mirrored: bool) -> UInt8:
    """Shifts images at random, and mirrors half of them if `mirrored`. uint8 [N, H, W, C]."""
    height, width = images.shape[1:3]
    padded = np.pad(images, [(0, 0), (_SHIFT, _SHIFT), (_SHIFT, _SHIFT), (0, 0)], mode="edge")
    shifted = np.empty_like(images)
    for index, (top, left) in enumerate(rng.integers(0, 2 * _SHIFT + 1, (len(images), 2))):
        shifted[index] = padded[index, top : top + height, left : left + width]
        if mirrored and rng.random() < 0.5:
            shifted[index] = shifted[index, :, ::-1]
    return shifted
