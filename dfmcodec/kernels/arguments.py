"""Groups of kernels' arguments. Made by packaging/kernels/make_kernel_interface.py."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float32, Int8, Int32


class ContextPass(NamedTuple):
    """Rows of a coding pass, and the context network of its symbols.

    Args:
        w1: [hidden_1, features]; see `ContextNetwork`, also for the others.
        c1: [hidden_1], the constants of the pass.
        w2: [hidden_2, hidden_1].
        c2: [hidden_2].
        w3: [2, hidden_2].
        c3: [2], the constants of the pass.
        available: The indices of the available features, [K].
        signed_count: The number of views with signed symbols, whose magnitudes are features too.
        symbols: The companded symbols of the level, plane 0 of the views.
        coarser: The companded symbols of the coarser level, plane 1.
        differences: The companded differences in the low-pass band, plane 2.
        views: [views, 3]: the plane, the index of the first symbol's feature in it, and the stride
            of rows.
        rows: The number of rows.
        columns: The number of symbols per row.
        quantizers: The quantiser of each symbol.
        class_of_mean: The class of each |mean| up to the largest relevant one.
    """

    w1: Int8
    c1: Int32
    w2: Int8
    c2: Int32
    w3: Int8
    c3: Int32
    available: Int32
    signed_count: int
    symbols: Int8
    coarser: Int8
    differences: Int8
    views: npt.NDArray[np.int64]
    rows: int
    columns: int
    quantizers: Int8
    class_of_mean: npt.NDArray[np.int16]


class GridNetworkWeights(NamedTuple):
    """The context network of a level of latent grids; see `LevelNetwork`.

    Args:
        first: [features, hidden_1 + 2].
        constants: [hidden_1 + 2].
        second: [hidden_1, hidden_2].
        second_constants: [hidden_2].
        last: [hidden_2, 2].
    """

    first: Float32
    constants: Float32
    second: Float32
    second_constants: Float32
    last: Float32


class WindowPlace(NamedTuple):
    """The place of a window of a fit.

    Args:
        top: Its first row.
        left: Its first column.
        height: The height of the image.
        width: The width of the image.
    """

    top: int
    left: int
    height: int
    width: int


class FitWindow(NamedTuple):
    """A window of a fit of the overfitted codec.

    Args:
        weights: `Networks.flat`.
        width: The dimension to which the synthesis network lifts vectors.
        units: The number of units of each hidden layer of the context network.
        companding: The slope and the constant of each line of the companding.
        activation_max: The maximum activation of a unit.
        place: The place of a window of a fit.
        lmbda: The Lagrange multiplier of bits.
        step_size: The step size of the symbols.
        peak: The maximum code value.
        colours: [3, WINDOW, WINDOW].
        pixel_weights: [WINDOW, WINDOW].
        grids: The latent grids of the image, [h_l, w_l] each.
    """

    weights: Float32
    width: int
    units: int
    companding: Float32
    activation_max: float
    place: WindowPlace
    lmbda: float
    step_size: float
    peak: float
    colours: Float32
    pixel_weights: Float32
    grids: tuple[Float32, ...]


class ComparedRows(NamedTuple):
    """Rows of two images, and the constants of SSIMULACRA2.

    Args:
        original: The image in linear light, [3, H, W].
        decoded: The image that is compared with the original.
        height: H.
        width: W.
        first_row: The first of the rows.
        last_row: The row after the last.
        absorbance: The matrix from linear light to cone responses, [3, 3].
        bias: The bias that is added to the responses.
        bias_root: The cube root of the bias.
        taps: The taps of the window, from its centre to its edge.
        constant: The stabilising constant of SSIM.
    """

    original: Float32
    decoded: Float32
    height: int
    width: int
    first_row: int
    last_row: int
    absorbance: Float32
    bias: float
    bias_root: float
    taps: Float32
    constant: float


class PathPass(NamedTuple):
    """A coding pass of a trellis search.

    Args:
        rows: The number of rows.
        columns: The number of symbols per row.
        coefficients: The coefficient of each symbol, in steps.
        weights: The weights of their squared errors.
        signs: The sign of each symbol's table.
        tables: The table of each symbol.
        signed_costs: The rate cost per companded value; empty without dependency costs.
        magnitude_costs: The rate cost per companded magnitude; empty without dependency costs.
        symbols: Receives the symbols.
    """

    rows: int
    columns: int
    coefficients: Float32
    weights: Float32
    signs: Int32
    tables: npt.NDArray[np.int16]
    signed_costs: Float32
    magnitude_costs: Float32
    symbols: Int32
