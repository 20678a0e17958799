"""SOAP, the optimiser of the networks: Adam in the eigenbasis of Shampoo's preconditioner.

Vyas et al. 2024, "SOAP: Improving and Stabilizing Shampoo using Adam" (arXiv 2409.11321), algorithm
3. L and R are the running means of G G^T and G^T G for the gradient G of a matrix. Adam works on
the rotated gradient U^T G V, where U and V are the eigenvectors of L and R, and its step is rotated
back. Every few steps, an iteration of the power method with a QR decomposition updates the
eigenvectors. Vectors are updated by Adam. The first gradient only initialises the means.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np

from dfmcodec._types import Float32

_BETA = np.float32(0.95)  # for all running means
_EPSILON = np.float32(1e-8)
_ROTATION_STEPS = 10  # steps between two decompositions


class _Rotation(NamedTuple):
    """The preconditioner of a matrix [m, n]."""

    left: Float32  # the running mean of G G^T, [m, m]
    right: Float32  # the running mean of G^T G, [n, n]
    left_basis: Float32  # the eigenvectors of `left` as columns, [m, m]
    right_basis: Float32  # the eigenvectors of `right` as columns, [n, n]

    @classmethod
    def start(cls, weights: Float32) -> _Rotation:
        squares = [np.zeros((side, side), dtype=np.float32) for side in weights.shape]
        return cls(*squares, *(np.eye(side, dtype=np.float32) for side in weights.shape))

    def there(self, gradient: Float32) -> Float32:
        return np.asarray(self.left_basis.T @ gradient @ self.right_basis)

    def back(self, step: Float32) -> Float32:
        return np.asarray(self.left_basis @ step @ self.right_basis.T)

    def after(self, gradient: Float32, count: int) -> _Rotation:
        """Returns the preconditioner after another gradient; `count` gradients came before it."""
        left = _BETA * self.left + (1 - _BETA) * (gradient @ gradient.T)
        right = _BETA * self.right + (1 - _BETA) * (gradient.T @ gradient)
        left_basis, right_basis = self.left_basis, self.right_basis
        if count == 0:
            left_basis, right_basis = np.linalg.eigh(left)[1], np.linalg.eigh(right)[1]
        elif count % _ROTATION_STEPS == 0:
            left_basis, right_basis = np.linalg.qr(left @ left_basis)[0], np.linalg.qr(right @ right_basis)[0]
        return _Rotation(left, right, left_basis, right_basis)


class _Moments(NamedTuple):
    """The running means of the gradients of one array."""

    mean: Float32  # of the gradients
    square: Float32  # of the squared gradients, rotated if there is a rotation
    rotation: _Rotation | None  # None for vectors


class SoapState(NamedTuple):
    """The state of the optimiser: the number of steps so far, and the moments of each array."""

    steps: int
    moments: tuple[_Moments, ...]

    @classmethod
    def start(cls, weights: Sequence[Float32]) -> SoapState:
        """Returns the state before the first step for vectors and matrices."""
        zeros = [np.zeros_like(array) for array in weights]
        return cls(0, tuple(_Moments(zero, zero, _Rotation.start(zero) if zero.ndim == 2 else None) for zero in zeros))


def soap_step(gradients: Sequence[Float32], state: SoapState) -> tuple[list[Float32], SoapState]:
    """Computes a step of length 1 in each rotated coordinate, from the gradient of each array.

    Returns:
        The steps of the arrays, to be multiplied by a learning rate; and the next state. Gradients
        that are NaN or infinite give NaN.
    """
    updates = [
        _step(gradient, moments, state.steps) for gradient, moments in zip(gradients, state.moments, strict=True)
    ]
    return [step for step, _ in updates], SoapState(state.steps + 1, tuple(moments for _, moments in updates))


def _step(gradient: Float32, moments: _Moments, count: int) -> tuple[Float32, _Moments]:
    """Computes the step of an array after `count` others, and its next moments."""
    rotation = moments.rotation
    if count == 0:
        following = _following(rotation, gradient, count)
        return np.zeros_like(gradient), _Moments(moments.mean, moments.square, following)
    rotated = gradient if rotation is None else rotation.there(gradient)
    mean = _BETA * moments.mean + (1 - _BETA) * gradient
    square = _BETA * moments.square + (1 - _BETA) * rotated**2
    aimed = mean if rotation is None else rotation.there(mean)
    direction = np.asarray(aimed / (np.sqrt(square) + _EPSILON), dtype=np.float32)
    if rotation is not None:
        direction = rotation.back(direction)
    bias = sqrt(1 - float(_BETA) ** count)  # the same for both means
    return direction * np.float32(-1 / bias), _Moments(mean, square, _following(rotation, gradient, count))


def _following(rotation: _Rotation | None, gradient: Float32, count: int) -> _Rotation | None:
    if rotation is None or not np.isfinite(gradient).all():  # no decomposition accepts these
        return rotation
    return rotation.after(gradient, count)
