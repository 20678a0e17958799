"""Groups of arguments of the kernels.

`packaging/kernels/make_kernel_interface.py` makes structs in C of them, and of the functions in
`_compiled.pyi`. The metadata of `Annotated` is for C: the minimum number of items of an array, as
an expression of other arguments (`NAME_count` is the number of items of an array) and constants;
"written" for an array that the kernel writes; and the number of arrays of a tuple, or the maximum
number of groups of a sequence. A kernel checks all other lengths itself.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from dfmcodec._types import Float32, Int8, Int16, Int32, Int64, UInt16

# For mypy, all are int; an int is an integer of 32 bits in C.
Size = int  # from 0 to 2^30: products of two sizes and a few channels cannot overflow
Index = int  # a position, which the kernel checks
Seed = int  # an unsigned integer of 32 bits


class ContextPass(NamedTuple):
    """Rows of a coding pass, and the context network of its symbols."""

    w1: Int8  # [hidden_1, features]; see `ContextNetwork`, also for the others
    c1: Int32  # [hidden_1], the constants of the pass
    w2: Annotated[Int8, "c1_count * c2_count"]  # [hidden_2, hidden_1]
    c2: Int32  # [hidden_2]
    w3: Annotated[Int8, "2 * c2_count"]  # [2, hidden_2]
    c3: Annotated[Int32, "2"]  # [2], the constants of the pass
    available: Int32  # the indices of the available features, [K]
    signed_count: int  # the number of views with signed symbols, whose magnitudes are features too
    symbols: Int8  # the companded symbols of the level, plane 0 of the views
    coarser: Int8  # the companded symbols of the coarser level, plane 1
    differences: Int8  # the companded differences in the low-pass band, plane 2
    views: Int64  # [views, 3]: the plane, the index of the first symbol's feature in it, and the stride of rows
    rows: Size  # the number of rows
    columns: Size  # the number of symbols per row
    quantizers: Annotated[Int8, "rows * columns"]  # the quantiser of each symbol
    class_of_mean: Annotated[Int16, "1"]  # the class of each |mean| up to the largest relevant one


class GridNetworkWeights(NamedTuple):
    """The context network of a level of latent grids; see `LevelNetwork`."""

    first: Annotated[Float32, "GRID_FEATURES * constants_count"]  # [features, hidden_1 + 2]
    constants: Float32  # [hidden_1 + 2]
    second: Annotated[Float32, "(constants_count - 2) * second_constants_count"]  # [hidden_1, hidden_2]
    second_constants: Float32  # [hidden_2]
    last: Annotated[Float32, "2 * second_constants_count"]  # [hidden_2, 2]


class WindowPlace(NamedTuple):
    """The place of a window of a fit."""

    top: Index  # its first row
    left: Index  # its first column
    height: Size  # the height of the image
    width: Size  # the width of the image


class FitWindow(NamedTuple):
    """A window of a fit of the overfitted codec."""

    weights: Float32  # `Networks.flat`
    width: int  # the dimension to which the synthesis network lifts vectors
    units: int  # the number of units of each hidden layer of the context network
    companding: Annotated[Float32, "2"]  # the slope and the constant of each line of the companding
    activation_max: float  # the maximum activation of a unit
    place: WindowPlace
    lmbda: float  # the Lagrange multiplier of bits
    step_size: float  # the step size of the symbols
    peak: float  # the maximum code value
    colours: Annotated[Float32, "CHANNELS * WINDOW * WINDOW"]  # [3, WINDOW, WINDOW]
    pixel_weights: Annotated[Float32, "WINDOW * WINDOW"]  # [WINDOW, WINDOW]
    grids: Annotated[tuple[Float32, ...], 7]  # the latent grids of the image, [h_l, w_l] each


class ComparedRows(NamedTuple):
    """Rows of two images, and the constants of SSIMULACRA2."""

    original: Annotated[Float32, "CHANNELS * height * width"]  # the image in linear light, [3, H, W]
    decoded: Annotated[Float32, "CHANNELS * height * width"]  # the image that is compared with the original
    height: Size  # H
    width: Size  # W
    first_row: Size  # the first of the rows
    last_row: Size  # the row after the last
    absorbance: Annotated[Float32, "CHANNELS * CHANNELS"]  # the matrix from linear light to cone responses, [3, 3]
    bias: float  # the bias that is added to the responses
    bias_root: float  # the cube root of the bias
    taps: Annotated[Float32, "5"]  # the taps of the window, from its centre to its edge
    constant: float  # the stabilising constant of SSIM


class PathPass(NamedTuple):
    """A coding pass of a trellis search."""

    rows: Size  # the number of rows
    columns: Size  # the number of symbols per row
    band: Float32  # the coefficients of the band
    band_start: Index  # the index of the first symbol's coefficient; every second one of a row is used
    band_stride: Size  # the distance from row to row of symbols
    per_step: float  # the factor that converts coefficients to steps
    weights: UInt16  # the weights of squared errors as 16-bit floats; empty if all are 1
    weights_start: Index  # the index of the first symbol's weight; every second one of a row is used
    weights_stride: Size  # the distance from row to row of symbols
    weight_factor: float  # the factor of the weights
    tables: Annotated[Int16, "rows * columns"]  # the table of each symbol plus 1, times its sign
    costs: UInt16  # [2, N]: bits per companded value and magnitude, as 16-bit floats; empty for none
    symbols: Annotated[Int32, "written", "rows * columns"]  # the symbols
