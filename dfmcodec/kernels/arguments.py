"""Groups of kernels' arguments. Made by packaging/kernels/make_kernel_interface.py."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float32, Int8, Int32


class ContextPass(NamedTuple):
    """Rows of a coding pass, and the context network of its symbols."""

    w1: Int8  # [hidden_1, features]; see `ContextNetwork`, also for the others
    c1: Int32  # [hidden_1], the constants of the pass
    w2: Int8  # [hidden_2, hidden_1]
    c2: Int32  # [hidden_2]
    w3: Int8  # [2, hidden_2]
    c3: Int32  # [2], the constants of the pass
    available: Int32  # the indices of the available features, [K]
    signed_count: int  # the number of views with signed symbols, whose magnitudes are features too
    symbols: Int8  # the companded symbols of the level, plane 0 of the views
    coarser: Int8  # the companded symbols of the coarser level, plane 1
    differences: Int8  # the companded differences in the low-pass band, plane 2
    # [views, 3]: the plane, the index of the first symbol's feature in it, and the stride of rows
    views: npt.NDArray[np.int64]
    rows: int  # the number of rows
    columns: int  # the number of symbols per row
    quantizers: Int8  # the quantiser of each symbol
    class_of_mean: npt.NDArray[np.int16]  # the class of each |mean| up to the largest relevant one


class GridNetworkWeights(NamedTuple):
    """The context network of a level of latent grids; see `LevelNetwork`."""

    first: Float32  # [features, hidden_1 + 2]
    constants: Float32  # [hidden_1 + 2]
    second: Float32  # [hidden_1, hidden_2]
    second_constants: Float32  # [hidden_2]
    last: Float32  # [hidden_2, 2]


class WindowPlace(NamedTuple):
    """The place of a window of a fit."""

    top: int  # its first row
    left: int  # its first column
    height: int  # the height of the image
    width: int  # the width of the image


class FitWindow(NamedTuple):
    """A window of a fit of the overfitted codec."""

    weights: Float32  # `Networks.flat`
    width: int  # the dimension to which the synthesis network lifts vectors
    units: int  # the number of units of each hidden layer of the context network
    companding: Float32  # the slope and the constant of each line of the companding
    activation_max: float  # the maximum activation of a unit
    place: WindowPlace  # the place of a window of a fit
    lmbda: float  # the Lagrange multiplier of bits
    step_size: float  # the step size of the symbols
    peak: float  # the maximum code value
    colours: Float32  # [3, WINDOW, WINDOW]
    pixel_weights: Float32  # [WINDOW, WINDOW]
    grids: tuple[Float32, ...]  # the latent grids of the image, [h_l, w_l] each


class ComparedRows(NamedTuple):
    """Rows of two images, and the constants of SSIMULACRA2."""

    original: Float32  # the image in linear light, [3, H, W]
    decoded: Float32  # the image that is compared with the original
    height: int  # H
    width: int  # W
    first_row: int  # the first of the rows
    last_row: int  # the row after the last
    absorbance: Float32  # the matrix from linear light to cone responses, [3, 3]
    bias: float  # the bias that is added to the responses
    bias_root: float  # the cube root of the bias
    taps: Float32  # the taps of the window, from its centre to its edge
    constant: float  # the stabilising constant of SSIM


class PathPass(NamedTuple):
    """A coding pass of a trellis search."""

    rows: int  # the number of rows
    columns: int  # the number of symbols per row
    band: Float32  # the coefficients of the band
    band_start: int  # the index of the first symbol's coefficient; every second one of a row is used
    band_stride: int  # the distance from row to row of symbols
    per_step: float  # the factor that converts coefficients to steps
    weights: npt.NDArray[np.uint16]  # the weights of squared errors as 16-bit floats; empty if all are 1
    weights_start: int  # the index of the first symbol's weight; every second one of a row is used
    weights_stride: int  # the distance from row to row of symbols
    weight_factor: float  # the factor of the weights
    tables: npt.NDArray[np.int16]  # the table of each symbol plus 1, times its sign
    costs: npt.NDArray[np.uint16]  # [2, N]: bits per companded value and magnitude, as 16-bit floats; empty for none
    symbols: Int32  # receives the symbols
