"""A small convolutional classifier, trained on the same data, whose features the measures of generated pictures use.

Per stage a 3x3 convolution, rectified, and 2x2 maxima; then a dense layer of FEATURES rectified units, whose values
are the features, and a dense layer to the classes. Trained by Adam with a cosine rate on pictures shifted by up to 2
pixels, RGB ones mirrored too.
"""

from __future__ import annotations

from math import cos, pi

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dfmcodec.errors import ImageError
from dfmcodec.generative.data import PictureSet, UInt8
from dfmcodec.generative.painting import Array, Float32
from dfmcodec.jax_backend import use_compilation_cache

FEATURES = 128
_STAGES = (16, 32, 64)
_BATCH = 64
_SHIFT = 2
_LEARNING_RATE = 2e-3
_DROPOUT = 0.3
_EVALUATED = 250

Weights = dict[str, Array]


def train_classifier(data: PictureSet, epochs: int = 12, seed: int = 0) -> Weights:
    """Trains the classifier.

    Args:
        data: Pictures with labels.
        epochs: Times that each picture is seen.
        seed: Of weights and batches.

    Raises:
        ImageError: The pictures have no labels.
    """
    if data.labels is None:
        msg = (
            "the pictures have no classes, so no classifier can be trained for its features; give labels or subfolders"
        )
        raise ImageError(msg)
    use_compilation_cache()
    rng = np.random.default_rng(seed)
    weights = _initial(data.pictures.shape, int(data.labels.max()) + 1, rng)
    state = optax.scale_by_adam().init(weights)
    steps = max(1, epochs * len(data) // _BATCH)
    mirrored = data.pictures.shape[3] == 3
    for step in range(steps):
        picked = rng.integers(0, len(data), _BATCH)
        pictures = _shifted(data.pictures[picked], rng, mirrored)
        rate = _LEARNING_RATE * 0.5 * (1 + cos(pi * step / steps))
        key = jax.random.key(int(rng.integers(1 << 31)))
        weights, state = _step(weights, state, jnp.asarray(pictures), jnp.asarray(data.labels[picked]), key, rate)
    return {name: np.asarray(value) for name, value in weights.items()}


def classify(weights: Weights, pictures: UInt8) -> tuple[Float32, Float32]:
    """Features float32 [N, FEATURES] and class probabilities float32 [N, classes] of uint8 [N, H, W, C] pictures."""
    use_compilation_cache()
    features, probabilities = [], []
    for start in range(0, len(pictures), _EVALUATED):
        part = pictures[start : start + _EVALUATED]
        padded = np.pad(part, [(0, _EVALUATED - len(part)), (0, 0), (0, 0), (0, 0)])
        feature, logits = _evaluate(weights, jnp.asarray(padded))
        features.append(np.asarray(feature)[: len(part)])
        probabilities.append(np.asarray(jax.nn.softmax(logits))[: len(part)])
    return np.concatenate(features), np.concatenate(probabilities)


def accuracy(weights: Weights, data: PictureSet) -> float:
    """Share of the pictures whose class is told right."""
    _, probabilities = classify(weights, data.pictures)
    return float((probabilities.argmax(axis=1) == data.labels).mean())


def _initial(shape: tuple[int, ...], classes: int, rng: np.random.Generator) -> Weights:
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


def _forward(weights: Weights, pictures: Array, key: Array | None) -> tuple[Array, Array]:
    x = pictures.astype(jnp.float32) / 127.5 - 1
    for index in range(len(_STAGES)):
        x = jax.lax.conv_general_dilated(
            x, weights[f"conv{index}"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = jax.nn.relu(x + weights[f"conv{index}_bias"].reshape(1, 1, 1, -1))
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "SAME")
    features = jax.nn.relu(x.reshape(len(x), -1) @ weights["dense"] + weights["dense_bias"])
    kept = features
    if key is not None:
        kept = features * jax.random.bernoulli(key, 1 - _DROPOUT, features.shape) / (1 - _DROPOUT)
    return features, kept @ weights["classes"] + weights["classes_bias"]


@jax.jit
def _evaluate(weights: Weights, pictures: Array) -> tuple[Array, Array]:
    return _forward(weights, pictures, None)


@jax.jit
def _step(
    weights: Weights, state: optax.OptState, pictures: Array, labels: Array, key: Array, rate: float
) -> tuple[Weights, optax.OptState]:
    def loss(weights: Weights) -> Array:
        _, logits = _forward(weights, pictures, key)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    updates, state = optax.scale_by_adam().update(jax.grad(loss)(weights), state)
    return {name: weights[name] - rate * updates[name] for name in weights}, state


def _shifted(pictures: UInt8, rng: np.random.Generator, mirrored: bool) -> UInt8:
    height, width = pictures.shape[1:3]
    padded = np.pad(pictures, [(0, 0), (_SHIFT, _SHIFT), (_SHIFT, _SHIFT), (0, 0)], mode="edge")
    found = np.empty_like(pictures)
    for index, (top, left) in enumerate(rng.integers(0, 2 * _SHIFT + 1, (len(pictures), 2))):
        found[index] = padded[index, top : top + height, left : left + width]
        if mirrored and rng.random() < 0.5:
            found[index] = found[index, :, ::-1]
    return found
