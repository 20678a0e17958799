"""The derivative of SSIMULACRA2, in NumPy; see `dfmcodec.perception.ssimulacra2`."""

from __future__ import annotations

import numpy as np

from dfmcodec._types import Float32
from dfmcodec.perception.ssimulacra2 import _ABSORBANCE, _BIAS, _REACH, _blurred, _Errors, _strips, _xyb


def slopes(original: Float32, decoded: Float32, error_weights: Float32) -> Float32:
    """Returns the derivative of the errors with respect to linear light, float32 [3, H, W]."""
    total = np.empty_like(decoded)
    for strip in _strips(*original.shape[1:], 2 * _REACH):
        _strip_slopes(original, decoded, error_weights, strip, total)
    return total


def _strip_slopes(
    original: Float32, decoded: Float32, error_weights: Float32, strip: tuple[slice, slice, slice], slopes: Float32
) -> None:
    """Computes the rows of a strip in the result of `_slopes`."""
    around, inner, rows = strip
    light = decoded[:, around]
    grad_xyb = [
        _slopes_of_component(_Errors.of(x, y), component_weights)
        for x, y, component_weights in zip(_xyb(original[:, around]), _xyb(light), error_weights, strict=True)
    ]
    slopes[:, rows] = _slopes_in_light(np.stack(grad_xyb), light)[:, inner]


def _slopes_of_component(errors: _Errors, error_weights: Float32) -> Float32:
    """Returns the derivative of the errors with respect to y. The weights are [2, 3]."""
    grad_errors = [
        np.where(e > 0, part + 4 * power_weight * e**3, 0)
        for e, part, power_weight in zip(errors.values, *error_weights, strict=True)
    ]
    direct = (grad_errors[1] - grad_errors[2]) / errors.edge * np.sign(errors.y - errors.mean_y)
    grad_structure = -grad_errors[0] * errors.luminance / errors.variances
    grad_mean = (
        2 * grad_structure * (errors.mean_y * errors.structure - errors.mean_x)
        - 2 * grad_errors[0] * (errors.mean_x - errors.mean_y) * errors.structure
        - direct
    )
    grad_square, grad_product = _blurred(-grad_structure * errors.structure), _blurred(2 * grad_structure)
    slopes: Float32 = direct + _blurred(grad_mean) + 2 * errors.y * grad_square + errors.x * grad_product
    return slopes


def _slopes_in_light(slopes: Float32, light: Float32) -> Float32:
    """Converts a derivative with respect to XYB, [3, H, W], to one with respect to linear light."""
    grad_x, grad_y, grad_b = slopes
    grad_roots = np.stack([(grad_y - grad_b) / 2 + 7 * grad_x, (grad_y - grad_b) / 2 - 7 * grad_x, grad_b])
    roots = np.cbrt(np.tensordot(_ABSORBANCE, light, 1) + np.float32(_BIAS))
    return np.tensordot(_ABSORBANCE.T, grad_roots / (3 * roots**2), 1)
