"""The compiled kernels. Arrays are C-contiguous. A kernel raises ValueError for an array that is
too short or whose items have another size, and for a position outside its array.

Made by dfmcodec.kernels.make_interface of interface.py.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float32, Float64, Int8, Int32, UInt8
from dfmcodec.kernels.arguments import ComparedRows, ContextPass, FitWindow, GridNetworkWeights, PathPass, WindowPlace

def instruction_sets() -> list[str]:
    """Returns the instruction sets that this processor has, the best first."""

def chosen_instruction_set() -> str:
    """Returns the instruction set in use; "" for none."""

def share_memory() -> bool:
    """Makes all threads take memory from one place; returns whether that is possible."""

def use_instruction_set(name: str) -> None:
    """Uses one of `instruction_sets` from now on, in the whole process."""

def start_decoding(
    *,
    state: npt.NDArray[np.uint64],
    words: npt.NDArray[np.uint32],
) -> None:
    """Sets the state of a range decoder to the start of a stream.

    Args:
        state: The state of the decoder, updated.
        words: The words of the stream.
    """

def decode_highs(
    *,
    state: npt.NDArray[np.uint64],
    words: npt.NDArray[np.uint32],
    cumulative: npt.NDArray[np.uint32],
    guide: UInt8,
    shifts: Int32,
    numbers: npt.NDArray[np.int16],
    is_sorted: bool,
    order: Int32,
    highs: Int32,
) -> int:
    """Decodes the high part of each symbol, its table entry minus RADIUS.

    Args:
        state: The state of the decoder, updated.
        words: The words of the stream.
        cumulative: [tables, TABLE_SIZE + 1]: cumulative frequencies before each entry, and their
            sum.
        guide: [tables, 256]: the first entry for each value of the high bits of a quantile.
        shifts: The number of low bits of each table's symbols.
        numbers: The table of each symbol, [N].
        is_sorted: Indicates whether symbols are coded in the order of their tables.
        order: Receives the indices of the symbols in coding order, [N].
        highs: Receives the high parts, [N]; an escape is ESCAPE - RADIUS.

    Returns:
        The number of incomplete symbols: escapes, and those with low bits; -1 for an invalid
        stream.
    """

def decode_bits(
    *,
    state: npt.NDArray[np.uint64],
    words: npt.NDArray[np.uint32],
    bits: int,
    values: Int32,
) -> bool:
    """Decodes uniformly distributed numbers of a given number of bits.

    Args:
        state: The state of the decoder, updated.
        words: The words of the stream.
        bits: The number of bits.
        values: Receives the numbers.

    Returns:
        False for an invalid stream.
    """

def choose_tables(
    *,
    coding_pass: ContextPass,
    table: npt.NDArray[np.int16],
    sign: Int32,
    hidden: UInt8,
) -> None:
    """Chooses the tables of the symbols in rows of a pass; see `ContextModel.choose_tables`.

    Args:
        coding_pass: Rows of a coding pass, and the context network of its symbols.
        table: Receives the table of each symbol.
        sign: Receives the sign of each symbol.
        hidden: Receives the inputs of the last layer, [rows * columns, hidden_2]; unused if empty.
    """

def choose_wavefront_tables(
    *,
    network: GridNetworkWeights,
    plane: Float32,
    causal: npt.NDArray[np.int64],
    plane_start: int,
    plane_stride: int,
    coarser: Int8,
    coarser_start: int,
    coarser_stride: int,
    count: int,
    table: npt.NDArray[np.int16],
    sign: Int32,
    middle: Int32,
) -> None:
    """Chooses the tables of a wavefront; see `GridContext.choose_tables`.

    Args:
        network: The context network of a level of latent grids; see `LevelNetwork`.
        plane: The companded symbols of the grid, padded.
        causal: The offset in the plane from a symbol to each causal symbol.
        plane_start: The index of the first symbol in the plane.
        plane_stride: The distance to the next symbol in the plane.
        coarser: The features of coarser grids, [symbols, 15].
        coarser_start: The index of the first symbol's features.
        coarser_stride: The distance to the next symbol's features.
        count: The number of symbols.
        table: Receives the table of each symbol.
        sign: Receives the sign of each symbol.
        middle: Receives the integers nearest to the means.
    """

def accept_wavefront(
    *,
    symbols: Int32,
    companded: Float32,
    grid: Int32,
    grid_start: int,
    grid_stride: int,
    plane: Float32,
    plane_start: int,
    plane_stride: int,
) -> None:
    """Stores the symbols of a wavefront; see `GridContext.accept`.

    Args:
        symbols: The symbols, [N].
        companded: The companding of magnitudes.
        grid: Receives the symbols.
        grid_start: The index of the first symbol.
        grid_stride: The distance to the next symbol.
        plane: Receives the companded symbols.
        plane_start: The index of the first companded symbol.
        plane_stride: The distance to the next companded symbol.
    """

def correction_residual(
    *,
    weights: Float32,
    network_width: int,
    depth: int,
    samples: Int32,
    channels: int,
    height: int,
    width: int,
    step_size: float,
    log_step: float,
    block_height: int,
    block_width: int,
    residual: Float32,
) -> None:
    """Evaluates the correction network on a block; see `codecs.wavelet.correction`.

    Args:
        weights: The lift, a and b of each layer, and the bypass, concatenated.
        network_width: The width of the network.
        depth: The number of Fourier layers.
        samples: The samples around the block, units.
        channels: The number of channels.
        height: The height of the samples.
        width: The width of the samples.
        step_size: The quantiser step size in units.
        log_step: The feature of the step size; see `codecs.wavelet.correction.step_feature`.
        block_height: The height of the block.
        block_width: The width of the block.
        residual: Receives the residual of the block, units.
    """

def filter_residual(
    *,
    weights: Float32,
    taps: Int32,
    radius: int,
    samples: Int32,
    channels: int,
    height: int,
    width: int,
    residual: Float32,
) -> None:
    """Evaluates the image filter on a block; see `codecs.wavelet.filter`.

    Args:
        weights: [taps, C from, C to].
        taps: (row, column) of each tap, [taps, 2].
        radius: The radius of the filter.
        samples: The samples with a margin of `radius` on all sides, units.
        channels: The number of channels.
        height: The height of the block.
        width: The width of the block.
        residual: Receives the residual of the block, units.
    """

def planes_to_pixels(
    *,
    planes: Float32,
    channels: int,
    height: int,
    width: int,
    basis: Float32,
    scale: float,
    middle: float,
    peak: float,
    pixels: npt.NDArray[np.unsignedinteger[Any]],
) -> None:
    """Converts planes into pixels; see `codecs.wavelet.colour.planes_to_pixels`.

    Args:
        planes: [C, H, W], units.
        channels: C.
        height: H.
        width: W.
        basis: [3, 3].
        scale: The number of code values per unit.
        middle: The code value of 0.
        peak: The maximum code value; pixels are uint8 up to 255, else uint16.
        pixels: Receives the pixels, [H, W, C].
    """

def accept_symbols(
    *,
    symbols: Int32,
    table: npt.NDArray[np.int16],
    sign: Int32,
    offsets: Int32,
    next_state: Int8,
    rows: int,
    columns: int,
    states: Int8,
    state_stride: int,
    companded: Int8,
    plane: Int8,
    plane_start: int,
    plane_stride: int,
    fine: Int32,
    fine_start: int,
    fine_stride: int,
) -> None:
    """Stores the symbols of a pass; see `CausalContext.accept`.

    Args:
        symbols: The symbols.
        table: The table of each symbol.
        sign: The sign of each symbol.
        offsets: The reconstruction offsets of each table, [tables, 7].
        next_state: `codecs.wavelet.trellis.NEXT_STATE`.
        rows: The number of rows.
        columns: The number of symbols per row.
        states: The state of each cell, updated.
        state_stride: The number of cells per row.
        companded: The companding of magnitudes.
        plane: Receives the companded multiples.
        plane_start: The index of the first symbol in the plane.
        plane_stride: The stride of rows in the plane.
        fine: Receives the coefficients in 1/FINE steps; the symbols of a row are 2 apart.
        fine_start: The index of the first symbol in `fine`.
        fine_stride: The stride of rows in `fine`.
    """

def synthesise_channel(
    *,
    low: Int32,
    band_0: Int32,
    band_1: Int32,
    band_2: Int32,
    step_0: int,
    step_1: int,
    step_2: int,
    height: int,
    width: int,
    samples: Int32,
) -> None:
    """Inverts a decomposition level of one channel; see `codecs.wavelet.quantizer.synthesise_fine`.

    Args:
        low: Units.
        band_0: An orientation, in 1/FINE steps.
        band_1: An orientation, in 1/FINE steps.
        band_2: An orientation, in 1/FINE steps.
        step_0: The step size of the orientation.
        step_1: The step size of the orientation.
        step_2: The step size of the orientation.
        height: The height of the result.
        width: The width of the result.
        samples: Receives the result, [height, width], units.
    """

def low_differences(
    *,
    low: Int32,
    height: int,
    width: int,
    level_step: int,
    offsets: Int32,
    companded: Int32,
    first_row: int,
    last_row: int,
    differences: Int8,
) -> None:
    """Compands the differences in rows of a low-pass band.

    Args:
        low: [height, width], units.
        height: The height of the band.
        width: The width of the band.
        level_step: The step size of the level.
        offsets: The (row, column) offsets of the neighbours, each within +-2, [N, 2].
        companded: The companding of magnitudes.
        first_row: The first of the rows.
        last_row: The row after the last.
        differences: Receives the differences, [2, 2, N, ceil(height/2), ceil(width/2)].
    """

def encode_entries(
    *,
    state: npt.NDArray[np.uint64],
    cumulative: npt.NDArray[np.uint32],
    numbers: npt.NDArray[np.int16],
    is_sorted: bool,
    order: Int32,
    entries: Int32,
    out: npt.NDArray[np.uint32],
) -> int:
    """Encodes table entries.

    Args:
        state: The state of the encoder, updated; initially 0, 2^64 - 1, 0, 0. The third number is
            the number of pending words, which a carry may still change.
        cumulative: [tables, TABLE_SIZE + 1]; see `decode_highs`.
        numbers: The table of each entry, [N].
        is_sorted: Indicates whether entries are coded in the order of their tables.
        order: Receives the indices of the entries in coding order, [N].
        entries: The entries, [N].
        out: Receives the words; at least N plus the pending words.

    Returns:
        The number of words.
    """

def encode_bits(
    *,
    state: npt.NDArray[np.uint64],
    bits: int,
    values: Int32,
    out: npt.NDArray[np.uint32],
) -> int:
    """Encodes the low bits of numbers as uniformly distributed.

    Args:
        state: The state of the encoder, updated; initially 0, 2^64 - 1, 0, 0. The third number is
            the number of pending words, which a carry may still change.
        bits: The number of bits, 1 to 24.
        values: The numbers, [N].
        out: Receives the words; at least N plus the pending words.

    Returns:
        The number of words.
    """

def end_encoding(
    *,
    state: npt.NDArray[np.uint64],
    out: npt.NDArray[np.uint32],
) -> int:
    """Writes the words that end a stream, without a change of the state.

    Args:
        state: The state of the encoder.
        out: Receives the words; at least two plus the pending words.

    Returns:
        The number of words.
    """

def add_context_gradient(
    *,
    coding_pass: ContextPass,
    table: npt.NDArray[np.int16],
    sign: Int32,
    hidden: UInt8,
    symbols: Int32,
    bits: Float32,
    scales: int,
    means: int,
    grad_symbols: Float32,
    grad_coarser: Float32,
) -> None:
    """Chooses tables, and adds the gradient of bits; see `ContextModel.add_gradient`.

    Args:
        coding_pass: Rows of a coding pass, and the context network of its symbols.
        table: Receives the table of each symbol.
        sign: Receives the sign of each symbol.
        hidden: Receives the inputs of the last layer, [rows * columns, hidden_2]; unused if empty.
        symbols: The symbols of the rows.
        bits: `ContextModel.bits_of_outputs`.
        scales: The number of scales in `bits`.
        means: The number of means in `bits`.
        grad_symbols: The gradient with respect to plane 0, [2, ...], added to.
        grad_coarser: The gradient with respect to plane 1, [2, ...], added to.
    """

def adaptation_gradient(
    *,
    hidden: UInt8,
    sums: Float32,
    band: npt.NDArray[np.int64],
    symbols: Int32,
    quantizers: Int8,
    chosen: npt.NDArray[np.int64],
    maps: Int32,
    constants: Int32,
    bits: Float32,
    scales: int,
    means: int,
    grad_maps: Float32,
    grad_constants: Float32,
) -> None:
    """Computes the gradient of the bits of symbols with respect to an adaptation of the last layer.

    Args:
        hidden: The inputs of the layer, [N, hidden_2].
        sums: The sums of the layer without an adaptation, [N, 2].
        band: The band index of each symbol.
        symbols: The symbols, [N].
        quantizers: The quantiser of each symbol.
        chosen: The indices of the symbols to include.
        maps: [2, hidden_2].
        constants: [bands, 2].
        bits: `ContextModel.bits_of_outputs`.
        scales: The number of scales in `bits`.
        means: The number of means in `bits`.
        grad_maps: Receives the gradient with respect to `maps`.
        grad_constants: Receives the gradient with respect to `constants`, in units of sums.
    """

def window_workspace() -> int:
    """Computes the size of the workspace of a window.

    Returns:
        The number of bytes that `window_gradient` and `window_costs` need.
    """

def window_gradient(
    *,
    window: FitWindow,
    workspace: UInt8,
    temperature: float,
    noise: float,
    seed: int,
    grad_weights: Float32,
    grad_latents: Float32,
) -> None:
    """Computes the gradient of a window's term of the loss of a fit; see `WindowLoss.gradients`.

    Args:
        window: A window of a fit of the overfitted codec.
        workspace: Scratch memory, [`window_workspace()`].
        temperature: The temperature of soft rounding.
        noise: The standard deviation of the noise.
        seed: The seed of the noise.
        grad_weights: Receives the gradient with respect to `weights`.
        grad_latents: Receives the gradient with respect to the latents of `Windows.cut`,
            concatenated.
    """

def window_costs(
    *,
    window: FitWindow,
    workspace: UInt8,
    errors: Float32,
    bits: Float32,
) -> None:
    """Computes the costs of integer symbols of a window; see `WindowLoss.costs`.

    Args:
        window: A window of a fit of the overfitted codec.
        workspace: As in `window_gradient`.
        errors: Receives the squared error of each pixel.
        bits: Receives the bits of each symbol, grid by grid.
    """

def add_window_gradient(
    *,
    place: WindowPlace,
    grad_latents: Float32,
    waiting: tuple[Float32, ...],
) -> None:
    """Adds the gradient of a window to grids of the image; see `Latents.add`.

    Args:
        place: The place of a window of a fit.
        grad_latents: The result of `window_gradient`.
        waiting: The gradient with respect to the latents of the image, added to.
    """

def move_latents(
    *,
    place: WindowPlace,
    values: tuple[Float32, ...],
    means: tuple[Float32, ...],
    squares: tuple[Float32, ...],
    waiting: tuple[Float32, ...],
    rates: Float32,
    mean_fraction: float,
    square_fraction: float,
    per_square_bias: float,
    epsilon: float,
) -> None:
    """Updates the latents of a window by a step of Adam; see `Latents.move`.

    Args:
        place: The place of a window of a fit.
        values: The latents, updated.
        means: The running means of their gradients, updated.
        squares: The running means of the squares, updated.
        waiting: The gradients, reset to zero.
        rates: The learning rate of each grid, corrected for the bias of the mean.
        mean_fraction: The fraction of a gradient in the running mean.
        square_fraction: The fraction of a squared gradient in the running mean of squares.
        per_square_bias: The reciprocal of the bias of squares.
        epsilon: The number that is added to the square root.
    """

def look_up_samples(
    *,
    table: Float32,
    pixels: npt.NDArray[np.unsignedinteger[Any]],
    channel: int,
    count: int,
    channels: int,
    values: Float32,
) -> None:
    """Looks up the samples of a channel in a table.

    Args:
        table: The value of each code value: 256 items for 8 bits, 65536 for 16.
        pixels: [N, C].
        channel: The channel.
        count: N.
        channels: C.
        values: Receives the values, [N].
    """

def ssimulacra2_sums(
    *,
    strip: ComparedRows,
    sums: Float64,
) -> None:
    """Sums the errors of SSIMULACRA2 at one scale over the pixels of rows; see
    `metrics.ssimulacra2`.

    Args:
        strip: Rows of two images, and the constants of SSIMULACRA2.
        sums: [3, 2, 3]: the sums of errors and of fourth powers of each component, added to.
    """

def ssimulacra2_gradient(
    *,
    strip: ComparedRows,
    error_weights: Float32,
    gradient: Float32,
) -> None:
    """Computes the gradient of a weighted sum of the errors of SSIMULACRA2 at one scale, in rows of
    an image.

    Args:
        strip: Rows of two images, and the constants of SSIMULACRA2.
        error_weights: [3, 2, 3]: the weights of errors and fourth powers in the sum.
        gradient: Receives the gradient with respect to linear light, [3, H, W].
    """

def analyse_channel(
    *,
    plane: Float32,
    height: int,
    width: int,
    low: Float32,
    band_0: Float32,
    band_1: Float32,
    band_2: Float32,
) -> None:
    """Splits a channel at one decomposition level; see `codecs.wavelet.transform.analyse`.

    Args:
        plane: [height, width].
        height: The height of the plane.
        width: The width of the plane.
        low: Receives the band.
        band_0: Receives the band.
        band_1: Receives the band.
        band_2: Receives the band.
    """

def choose_paths(
    *,
    passes: Sequence[PathPass],
    has_costs: bool,
    bits: Float32,
    offsets: Float32,
    companded: Float32,
    transitions: Int8,
    columns: int,
    first_row: int,
    last_row: int,
) -> None:
    """Chooses the symbols of rows of cells; see `trellis_search.PathChooser`.

    Args:
        passes: The coding passes of the level.
        has_costs: Indicates whether there are dependency costs.
        bits: The rate cost of each entry of each table, [tables, TABLE_SIZE].
        offsets: The reconstruction offset of each entry, in steps, of the same shape.
        companded: The companding of magnitudes.
        transitions: The previous states of each state, and the branches, [STATES, 4].
        columns: The number of cells per row.
        first_row: The first of the rows.
        last_row: The row after the last.
    """
