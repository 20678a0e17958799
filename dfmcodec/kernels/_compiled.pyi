"""The compiled kernels. Arrays are C-contiguous. A kernel raises ValueError for an array that is
too short or whose items have another size, and for a position outside its array.

This file declares the kernels for C and for type checkers; see `arguments` for the metadata of
arguments. That of results is for C, too: "decoder" for a kernel that the browser has, "one build"
for one that is not compiled for each instruction set, "short" for one that keeps the GIL.
"""

from collections.abc import Sequence
from typing import Annotated

from dfmcodec._types import Float32, Float64, Int8, Int16, Int32, Int64, Pixels, UInt8, UInt32, UInt64
from dfmcodec.kernels.arguments import (
    ComparedRows,
    ContextPass,
    FitWindow,
    GridNetworkWeights,
    Index,
    PathPass,
    Seed,
    Size,
    WindowPlace,
)

def instruction_sets() -> list[str]:
    """Returns the instruction sets that this processor has, the best first."""

def chosen_instruction_set() -> str:
    """Returns the instruction set in use."""

def return_memory() -> bool:
    """Returns the memory of freed arrays to the operating system; returns whether there was any."""

def share_memory() -> bool:
    """Makes all threads take memory from one place; returns whether that is possible."""

def use_instruction_set(name: str) -> None:
    """Uses one of `instruction_sets` from now on, in the complete process."""

def start_decoding(
    *,
    state: Annotated[UInt64, "written", "4"],  # the state of the decoder, updated
    words: UInt32,  # the words of the stream
) -> Annotated[None, "decoder", "one build", "short"]:
    """Sets the state of a range decoder to the start of a stream."""

def decode_highs(
    *,
    state: Annotated[UInt64, "written", "4"],  # the state of the decoder, updated
    words: UInt32,  # the words of the stream
    # [tables, TABLE_SIZE + 1]: cumulative frequencies before each entry, and their sum
    cumulative: Annotated[UInt32, "(guide_count >> GUIDE_BITS) * (TABLE_SIZE + 1)"],
    guide: UInt8,  # [tables, 256]: the first entry for each value of the high bits of a quantile
    shifts: Annotated[Int32, "guide_count >> GUIDE_BITS"],  # the number of low bits of each table's symbols
    numbers: Int16,  # the table of each symbol, [N]
    is_sorted: bool,  # indicates whether symbols are coded in the order of their tables
    order: Annotated[Int32, "written", "numbers_count"],  # the indices of the symbols in coding order, [N]
    highs: Annotated[Int32, "written", "numbers_count"],  # the high parts, [N]; an escape is ESCAPE - RADIUS
) -> Annotated[int, "decoder", "one build"]:
    """Decodes the high part of each symbol, its table entry minus RADIUS. Returns the number of
    incomplete symbols: escapes, and those with low bits; -1 for an invalid stream.
    """

def decode_bits(
    *,
    state: Annotated[UInt64, "written", "4"],  # the state of the decoder, updated
    words: UInt32,  # the words of the stream
    bits: int,  # the number of bits
    values: Annotated[Int32, "written"],  # the numbers
) -> Annotated[bool, "decoder", "one build", "short"]:
    """Decodes uniformly distributed numbers of a given number of bits. Returns false for an invalid
    stream.
    """

def choose_tables(
    *,
    coding_pass: ContextPass,
    table: Annotated[Int16, "written", "coding_pass.rows * coding_pass.columns"],  # the table of each symbol
    sign: Annotated[Int32, "written", "coding_pass.rows * coding_pass.columns"],  # the sign of each symbol
    hidden: Annotated[UInt8, "written"],  # the inputs of the last layer, [rows * columns, hidden_2]; unused if empty
) -> Annotated[None, "decoder"]:
    """Chooses the tables of the symbols in rows of a pass; see `ContextModel.choose_tables`."""

def choose_wavefront_tables(
    *,
    network: GridNetworkWeights,
    plane: Float32,  # the companded symbols of the grid, padded
    causal: Annotated[Int64, "CAUSAL_FEATURES"],  # the offset in the plane from a symbol to each causal symbol
    plane_start: Index,  # the index of the first symbol in the plane
    plane_stride: Size,  # the distance to the next symbol in the plane
    coarser: Int8,  # the features of coarser grids, [symbols, 15]
    coarser_start: Index,  # the index of the first symbol's features
    coarser_stride: Size,  # the distance to the next symbol's features
    count: Size,  # the number of symbols
    table: Annotated[Int16, "written", "count"],  # the table of each symbol
    sign: Annotated[Int32, "written", "count"],  # the sign of each symbol
    middle: Annotated[Int32, "written", "count"],  # the integers nearest to the means
) -> Annotated[None, "decoder"]:
    """Chooses the tables of a wavefront; see `GridContext.choose_tables`."""

def accept_wavefront(
    *,
    symbols: Int32,  # the symbols, [N]
    companded: Float32,  # the companding of magnitudes
    grid: Annotated[Int32, "written"],  # the symbols
    grid_start: Index,  # the index of the first symbol
    grid_stride: Size,  # the distance to the next symbol
    plane: Annotated[Float32, "written"],  # the companded symbols
    plane_start: Index,  # the index of the first companded symbol
    plane_stride: Size,  # the distance to the next companded symbol
) -> Annotated[None, "decoder", "short"]:
    """Stores the symbols of a wavefront; see `GridContext.accept`."""

def correction_residual(
    *,
    weights: Int8,  # the lift, the weights of each layer, and the bypass, concatenated
    first_constants: Int32,  # the constants of the lift; as many as the width
    factors: Int32,  # the factors of the lift, those and the constants of each layer, .. of the bypass
    depth: int,  # the number of Fourier layers
    samples: Annotated[Int32, "channels * height * width"],  # the samples around the block, units
    channels: Size,  # the number of channels
    height: Size,  # the height of the samples
    width: Size,  # the width of the samples
    step_size: int,  # the quantiser step size in units
    block_height: Size,  # the height of the block
    block_width: Size,  # the width of the block
    # the residual of the block, units
    residual: Annotated[Float32, "written", "channels * block_height * block_width"],
) -> Annotated[None, "decoder"]:
    """Evaluates the correction network on a block; see `codecs.wavelet.correction`."""

def filter_residual(
    *,
    weights: Annotated[Float32, "taps_count / 2 * channels * channels"],  # [taps, C from, C to]
    taps: Int32,  # (row, column) of each tap, [taps, 2]
    radius: int,  # the radius of the filter
    # the samples with a margin of `radius` on all sides, units
    samples: Annotated[Int32, "channels * (height + 2 * radius) * (width + 2 * radius)"],
    channels: Size,  # the number of channels
    height: Size,  # the height of the block
    width: Size,  # the width of the block
    residual: Annotated[Float32, "written", "channels * height * width"],  # the residual of the block, units
) -> Annotated[None, "decoder"]:
    """Evaluates the image filter on a block; see `codecs.wavelet.filter`."""

def planes_to_pixels(
    *,
    planes: Annotated[Float32, "channels * height * width"],  # [C, H, W], units
    channels: Size,  # C
    height: Size,  # H
    width: Size,  # W
    basis: Annotated[Float32, "CHANNELS * CHANNELS"],  # [3, 3]
    scale: float,  # the number of code values per unit
    middle: float,  # the code value of 0
    peak: float,  # the maximum code value; pixels are uint8 up to 255, else uint16
    pixels: Annotated[Pixels, "written"],  # the pixels, [H, W, C]
) -> Annotated[None, "decoder"]:
    """Converts planes into pixels; see `codecs.wavelet.colour.planes_to_pixels`."""

def accept_symbols(
    *,
    symbols: Annotated[Int32, "rows * columns"],  # the symbols
    table: Annotated[Int16, "rows * columns"],  # the table of each symbol
    sign: Annotated[Int32, "rows * columns"],  # the sign of each symbol
    offsets: Int32,  # the reconstruction offsets of each table, [tables, 7]
    next_state: Annotated[Int8, "2 * STATES"],  # `codecs.wavelet.trellis.NEXT_STATE`
    rows: Size,  # the number of rows
    columns: Size,  # the number of symbols per row
    # the state of each cell, updated
    states: Annotated[Int8, "written", "rows < 1 ? 0 : (rows - 1) * state_stride + columns"],
    state_stride: Size,  # the number of cells per row
    companded: Annotated[Int8, "1"],  # the companding of magnitudes
    plane: Annotated[Int8, "written"],  # the companded multiples
    plane_start: Index,  # the index of the first symbol in the plane
    plane_stride: Size,  # the stride of rows in the plane
    fine: Annotated[Int32, "written"],  # the coefficients in 1/FINE steps; the symbols of a row are 2 apart
    fine_start: Index,  # the index of the first symbol in `fine`
    fine_stride: Size,  # the stride of rows in `fine`
) -> Annotated[None, "decoder"]:
    """Stores the symbols of a pass; see `CausalContext.accept`."""

def synthesise_channel(
    *,
    low: Annotated[Int32, "(height + 1) / 2 * ((width + 1) / 2)"],  # units
    band_0: Annotated[Int32, "(height + 1) / 2 * (width / 2)"],  # an orientation, in 1/FINE steps
    band_1: Annotated[Int32, "height / 2 * ((width + 1) / 2)"],  # an orientation, in 1/FINE steps
    band_2: Annotated[Int32, "height / 2 * (width / 2)"],  # an orientation, in 1/FINE steps
    step_0: int,  # the step size of the orientation
    step_1: int,  # the step size of the orientation
    step_2: int,  # the step size of the orientation
    height: Size,  # the height of the result
    width: Size,  # the width of the result
    stride: Size,  # the distance between rows of the result
    samples: Annotated[Int32, "written", "(height - 1) * stride + width"],  # the result, [height, width], units
) -> Annotated[None, "decoder"]:
    """Inverts a decomposition level of a channel; see `wavelet.quantizer.synthesise_fine`."""

def texture_band(
    *,
    amplitudes: Annotated[Int32, "cell_rows * cell_columns"],  # the amplitude of each cell, units
    cell_rows: Size,  # the number of rows of cells
    cell_columns: Size,  # the number of cells in a row
    side_bits: int,  # the base-2 logarithm of the side of a cell, in positions of the band
    key: Seed,  # the part of the hash that depends on the seed and on which of its noises it is
    top: Size,  # the row of the first position in the band of the image
    left: Size,  # its column
    height: Size,  # the number of rows of positions
    width: Size,  # the number of positions in a row
    nonzero: Annotated[UInt8, "height * width"],  # 1 where the symbol is not zero, else 0
    noise: Annotated[Int32, "written", "height * width"],  # the noise coefficients, units
) -> Annotated[None, "decoder"]:
    """Computes the noise of a band of a tile; see `wavelet.texture`."""

def add_noise(
    *,
    noise: Annotated[Int32, "channels * count"],  # the noise of each plane, units
    channels: Size,  # C
    count: Size,  # the number of pixels
    factors: Annotated[Int32, "channels * channels"],  # samples of each colour per unit of a plane, in 2^-12
    peak: int,  # the maximum sample; pixels are uint8 up to 255, else uint16
    pixels: Annotated[Pixels, "written"],  # the pixels, [count, C], updated
) -> Annotated[None, "decoder"]:
    """Adds noise to pixels; see `wavelet.texture.add_noise`."""

def low_differences(
    *,
    low: Annotated[Int32, "height * width"],  # [height, width], units
    height: Size,  # the height of the band
    width: Size,  # the width of the band
    level_step: int,  # the step size of the level
    offsets: Int32,  # the (row, column) offsets of the neighbours, each within +-2, [N, 2]
    companded: Annotated[Int32, "1"],  # the companding of magnitudes
    first_row: Size,  # the first of the rows
    last_row: Size,  # the row after the last
    # the differences, [2, 2, N, ceil(height/2), ceil(width/2)]
    differences: Annotated[Int8, "written", "4 * (offsets_count / 2) * ((height + 1) / 2) * ((width + 1) / 2)"],
) -> Annotated[None, "decoder"]:
    """Compands the differences in rows of a low-pass band."""

def encode_entries(
    *,
    # the state of the encoder, updated; initially 0, 2^64 - 1, 0, 0. The third number is the number
    # of pending words, which a carry may still change
    state: Annotated[UInt64, "written", "4"],
    cumulative: UInt32,  # [tables, TABLE_SIZE + 1]; see `decode_highs`
    numbers: Int16,  # the table of each entry, [N]
    is_sorted: bool,  # indicates whether entries are coded in the order of their tables
    order: Annotated[Int32, "written", "numbers_count"],  # the indices of the entries in coding order, [N]
    entries: Annotated[Int32, "numbers_count"],  # the entries, [N]
    out: Annotated[UInt32, "written"],  # the words; at least N plus the pending words
) -> Annotated[int, "one build"]:
    """Encodes table entries. Returns the number of words."""

def encode_bits(
    *,
    # the state of the encoder, updated; initially 0, 2^64 - 1, 0, 0. The third number is the number
    # of pending words, which a carry may still change
    state: Annotated[UInt64, "written", "4"],
    bits: int,  # the number of bits, 1 to 24
    values: Int32,  # the numbers, [N]
    out: Annotated[UInt32, "written"],  # the words; at least N plus the pending words
) -> Annotated[int, "one build", "short"]:
    """Encodes the low bits of numbers as uniformly distributed. Returns the number of words."""

def end_encoding(
    *,
    state: Annotated[UInt64, "4"],  # the state of the encoder
    out: Annotated[UInt32, "written"],  # the words; at least two plus the pending words
) -> Annotated[int, "one build", "short"]:
    """Writes the words that end a stream, without a change of the state. Returns the number of
    words.
    """

def add_context_gradient(
    *,
    coding_pass: ContextPass,
    table: Annotated[Int16, "written", "coding_pass.rows * coding_pass.columns"],  # the table of each symbol
    sign: Annotated[Int32, "written", "coding_pass.rows * coding_pass.columns"],  # the sign of each symbol
    hidden: Annotated[UInt8, "written"],  # the inputs of the last layer, [rows * columns, hidden_2]; unused if empty
    symbols: Annotated[Int32, "coding_pass.rows * coding_pass.columns"],  # the symbols of the rows
    bits: Float32,  # `ContextModel.bits_of_outputs`
    scales: int,  # the number of scales in `bits`
    means: int,  # the number of means in `bits`
    grad_symbols: Annotated[Float32, "written"],  # the gradient with respect to plane 0, [2, ...], added to
    grad_coarser: Annotated[Float32, "written"],  # the gradient with respect to plane 1, [2, ...], added to
) -> None:
    """Chooses tables, and adds the gradient of bits; see `sources.add_gradient`."""

def adaptation_gradient(
    *,
    hidden: Annotated[UInt8, "symbols_count * (maps_count / 2)"],  # the inputs of the layer, [N, hidden_2]
    sums: Annotated[Float32, "2 * symbols_count"],  # the sums of the layer without an adaptation, [N, 2]
    band: Annotated[Int64, "symbols_count"],  # the band index of each symbol
    symbols: Int32,  # the symbols, [N]
    quantizers: Annotated[Int8, "symbols_count"],  # the quantiser of each symbol
    chosen: Int64,  # the indices of the symbols to include
    maps: Int32,  # [2, hidden_2]
    constants: Int32,  # [bands, 2]
    bits: Float32,  # `ContextModel.bits_of_outputs`
    scales: int,  # the number of scales in `bits`
    means: int,  # the number of means in `bits`
    grad_maps: Annotated[Float32, "written", "maps_count"],  # the gradient with respect to `maps`
    # the gradient with respect to `constants`, in units of sums
    grad_constants: Annotated[Float32, "written", "constants_count"],
) -> None:
    """Computes the gradient of the bits of symbols for an adaptation of the last layer."""

def window_workspace() -> Annotated[int, "short"]:
    """Computes the size of the workspace of a window. Returns the number of bytes that the kernels
    of windows need.
    """

def window_gradient(
    *,
    window: FitWindow,
    workspace: Annotated[UInt8, "written"],  # scratch memory, [`window_workspace()`]
    temperature: float,  # the temperature of soft rounding
    noise: float,  # the standard deviation of the noise
    seed: Seed,  # the seed of the noise
    grad_weights: Annotated[Float32, "written"],  # the gradient with respect to `weights`
    # the gradient with respect to the latents of `Windows.cut`, concatenated
    grad_latents: Annotated[Float32, "written"],
) -> None:
    """Computes the gradient of a window's term of the loss of a fit; see `WindowLoss.gradients`."""

def window_costs(
    *,
    window: FitWindow,
    workspace: Annotated[UInt8, "written"],  # as in `window_gradient`
    errors: Annotated[Float32, "written", "WINDOW * WINDOW"],  # the squared error of each pixel
    bits: Annotated[Float32, "written"],  # the bits of each symbol, grid by grid
) -> None:
    """Computes the costs of integer symbols of a window; see `WindowLoss.costs`."""

def window_colours(
    *,
    window: FitWindow,
    workspace: Annotated[UInt8, "written"],  # as in `window_gradient`
    decoded: Annotated[Float32, "written", "CHANNELS * WINDOW * WINDOW"],  # the colours, [CHANNELS, WINDOW, WINDOW]
) -> None:
    """Computes the colours of a window from integer symbols; see `WindowLoss.colours`."""

def add_window_gradient(
    *,
    place: WindowPlace,
    grad_latents: Float32,  # the result of `window_gradient`
    # the gradient with respect to the latents of the image, added to
    waiting: Annotated[tuple[Float32, ...], "written", 7],
) -> Annotated[None, "short"]:
    """Adds the gradient of a window to grids of the image; see `Latents.add`."""

def move_latents(
    *,
    place: WindowPlace,
    values: Annotated[tuple[Float32, ...], "written", 7],  # the latents, updated
    means: Annotated[tuple[Float32, ...], "written", 7],  # the running means of their gradients, updated
    squares: Annotated[tuple[Float32, ...], "written", 7],  # the running means of the squares, updated
    waiting: Annotated[tuple[Float32, ...], "written", 7],  # the gradients, reset to zero
    rates: Annotated[Float32, "GRID_LEVELS"],  # the learning rate of each grid, corrected for the bias of the mean
    mean_fraction: float,  # the fraction of a gradient in the running mean
    square_fraction: float,  # the fraction of a squared gradient in the running mean of squares
    per_square_bias: float,  # the reciprocal of the bias of squares
    epsilon: float,  # the number that is added to the square root
) -> Annotated[None, "short"]:
    """Updates the latents of a window by a step of Adam; see `Latents.move`."""

def look_up_samples(
    *,
    table: Float32,  # the value of each code value: 256 items for 8 bits, 65536 for 16
    pixels: Pixels,  # [N, C]
    channel: Size,  # the channel
    count: Size,  # N
    channels: Size,  # C
    values: Annotated[Float32, "written", "count"],  # the values, [N]
) -> None:
    """Looks up the samples of a channel in a table."""

def ssimulacra2_sums(
    *,
    strip: ComparedRows,
    # [3, 2, 3]: the sums of errors and of fourth powers of each component, added to
    sums: Annotated[Float64, "written", "18"],
) -> None:
    """Sums the errors of SSIMULACRA2 at one scale over the pixels of rows; see
    `perception.ssimulacra2`.
    """

def ssimulacra2_gradient(
    *,
    strip: ComparedRows,
    error_weights: Annotated[Float32, "18"],  # [3, 2, 3]: the weights of errors and fourth powers in the sum
    # the gradient with respect to linear light, [3, H, W]
    gradient: Annotated[Float32, "written", "CHANNELS * strip.height * strip.width"],
) -> None:
    """Computes the gradient of a weighted sum of the errors of SSIMULACRA2 at one scale, in rows of
    an image.
    """

def analyse_channel(
    *,
    plane: Annotated[Float32, "height * width"],  # [height, width]
    height: Size,  # the height of the plane
    width: Size,  # the width of the plane
    low: Annotated[Float32, "written", "(height + 1) / 2 * ((width + 1) / 2)"],  # the band
    band_0: Annotated[Float32, "written", "(height + 1) / 2 * (width / 2)"],  # the band
    band_1: Annotated[Float32, "written", "height / 2 * ((width + 1) / 2)"],  # the band
    band_2: Annotated[Float32, "written", "height / 2 * (width / 2)"],  # the band
) -> None:
    """Splits a channel at one decomposition level; see `codecs.wavelet.transform.analyse`."""

def pixels_to_planes(
    *,
    pixels: Pixels,  # [N, 3], uint8 or uint16
    item_bytes: Size,  # the number of bytes of a sample
    count: Size,  # N
    basis: Annotated[Float32, "CHANNELS * CHANNELS"],  # the plane values of one unit of each colour, [3, 3]
    scale: float,  # the number of code values of 8 bits in a code value
    middle: float,  # the code value that is 0 in a plane
    planes: Annotated[Float32, "written", "CHANNELS * count"],  # the planes, [3, N]
) -> None:
    """Converts pixels into planes; see `codecs.wavelet.colour.pixels_to_planes`."""

def count_bits(
    *,
    symbols: Int32,  # [N]
    table: Annotated[Int16, "symbols_count"],  # the table of each symbol
    sign: Annotated[Int32, "symbols_count"],  # the sign of each symbol's table
    bits: Float32,  # the bits of each entry of each table, [tables, TABLE_SIZE]
    total: Annotated[Float64, "written", "1"],  # the sum over symbols that are entries of direct tables
) -> Annotated[int, "one build"]:
    """Counts the bits of symbols under their tables. Returns the number of other symbols."""

def choose_paths(
    *,
    passes: Annotated[Sequence[PathPass], 36],  # the coding passes of the level
    has_costs: bool,  # indicates whether there are dependency costs
    bit_cost: float,  # the cost of a bit
    rescaled: Annotated[Int16, "bits_count / TABLE_SIZE"],  # the table to use in place of each table
    bits: Float32,  # the rate cost of each entry of each table, [tables, TABLE_SIZE]
    offsets: Annotated[Float32, "bits_count"],  # the reconstruction offset of each entry, in steps, of the same shape
    # the magnitudes of coefficients up to which zero costs the least under each table; see
    # `zero_limits`
    zero_limits: Annotated[Float32, "bits_count / TABLE_SIZE"],
    companded: Annotated[Float32, "1"],  # the companding of magnitudes
    transitions: Annotated[Int8, "4 * STATES"],  # the previous states of each state, and the branches, [STATES, 4]
    columns: Size,  # the number of cells per row
    first_row: Size,  # the first of the rows
    last_row: Size,  # the row after the last
) -> None:
    """Chooses the symbols of rows of cells; see `trellis_search.PathChooser`."""
