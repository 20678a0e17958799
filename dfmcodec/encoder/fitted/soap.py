"""SOAP, the optimiser of the networks: Adam in the eigenbasis of Shampoo's preconditioner.

Vyas et al. 2024, "SOAP: Improving and Stabilizing Shampoo using Adam" (arXiv 2409.11321), algorithm
3. The gradient G of a matrix has the running means L of G G^T and R of G^T G. Adam works on the
rotated gradient U^T G V, where U and V are the eigenvectors of L and R, and its step is rotated
back. A step of the power method with a QR decomposition follows the eigenvectors every few steps.
Vectors get Adam. The first gradient only starts the means.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

_BETA = 0.95  # of all running means
_EPSILON = 1e-8
_ROTATION_STEPS = 10  # between two decompositions


class _Rotation(NamedTuple):
    """The preconditioner of a matrix [m, n].

    Args:
        left: The running mean of G G^T, [m, m].
        right: The running mean of G^T G, [n, n].
        left_basis: Its eigenvectors as columns, [m, m].
        right_basis: [n, n].
    """

    left: jax.Array
    right: jax.Array
    left_basis: jax.Array
    right_basis: jax.Array

    @classmethod
    def start(cls, weights: jax.Array) -> _Rotation:
        rows, columns = weights.shape
        return cls(jnp.zeros((rows, rows)), jnp.zeros((columns, columns)), jnp.eye(rows), jnp.eye(columns))

    def there(self, gradient: jax.Array) -> jax.Array:
        return self.left_basis.T @ gradient @ self.right_basis

    def back(self, step: jax.Array) -> jax.Array:
        return self.left_basis @ step @ self.right_basis.T

    def after(self, gradient: jax.Array, count: jax.Array) -> _Rotation:
        """The preconditioner with one more gradient, after `count` others."""
        left = _BETA * self.left + (1 - _BETA) * gradient @ gradient.T
        right = _BETA * self.right + (1 - _BETA) * gradient.T @ gradient

        def eigenvectors() -> tuple[jax.Array, jax.Array]:
            return jnp.linalg.eigh(left)[1], jnp.linalg.eigh(right)[1]

        def power_step() -> tuple[jax.Array, jax.Array]:
            return jnp.linalg.qr(left @ self.left_basis)[0], jnp.linalg.qr(right @ self.right_basis)[0]

        def unchanged() -> tuple[jax.Array, jax.Array]:
            return self.left_basis, self.right_basis

        branch = jnp.where(count == 0, 0, jnp.where(count % _ROTATION_STEPS == 0, 1, 2))
        bases = jax.lax.switch(branch, (eigenvectors, power_step, unchanged))
        return _Rotation(left, right, *bases)


class _Moments(NamedTuple):
    """What is kept of the gradients of one array.

    Args:
        mean: The running mean of gradients.
        square: That of squared gradients, rotated if there is a rotation.
        rotation: None for vectors.
    """

    mean: jax.Array
    square: jax.Array
    rotation: _Rotation | None


class _State(NamedTuple):
    """The number of steps so far, and what is kept of their gradients."""

    steps: jax.Array
    moments: list[_Moments]


def soap(learning_rate: optax.Schedule) -> optax.GradientTransformation:
    """Makes the optimiser.

    Args:
        learning_rate: The length of a step in each rotated coordinate, by the number of steps.

    Returns:
        An optimiser of trees of vectors and matrices.
    """

    def init(weights: optax.Params) -> _State:
        leaves = jax.tree.leaves(weights)
        moments = [
            _Moments(jnp.zeros_like(w), jnp.zeros_like(w), _Rotation.start(w) if w.ndim == 2 else None) for w in leaves
        ]
        return _State(jnp.zeros((), jnp.int32), moments)

    def step_of(gradient: jax.Array, moments: _Moments, count: jax.Array) -> tuple[jax.Array, _Moments]:
        is_first, rotation = count == 0, moments.rotation
        rotated = gradient if rotation is None else rotation.there(gradient)
        mean = jnp.where(is_first, 0, _BETA * moments.mean + (1 - _BETA) * gradient)
        square = jnp.where(is_first, 0, _BETA * moments.square + (1 - _BETA) * rotated**2)
        direction = (mean if rotation is None else rotation.there(mean)) / (jnp.sqrt(square) + _EPSILON)
        if rotation is not None:
            direction = rotation.back(direction)
        bias = 1 - _BETA ** jnp.maximum(count, 1).astype(jnp.float32)  # the same for both means
        step = -learning_rate(count) / jnp.sqrt(bias) * direction
        following = None if rotation is None else rotation.after(gradient, count)
        return jnp.where(is_first, 0, step), _Moments(mean, square, following)

    def update(gradients: optax.Updates, state: Any, weights: optax.Params | None = None) -> tuple[optax.Updates, Any]:
        leaves, tree = jax.tree.flatten(gradients)
        parts = zip(leaves, state.moments, strict=True)
        steps = [step_of(gradient, moments, state.steps) for gradient, moments in parts]
        kept = [moments for _, moments in steps]
        return jax.tree.unflatten(tree, [step for step, _ in steps]), _State(state.steps + 1, kept)

    return optax.GradientTransformation(init, update)
