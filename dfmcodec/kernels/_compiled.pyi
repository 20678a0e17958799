"""The compiled kernels. Arrays are C-contiguous and have the dtypes that are named here; a kernel
raises ValueError for one that is too short, and for a position outside its array.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float32, Float64, Int32

_Int8 = npt.NDArray[np.int8]
_Int16 = npt.NDArray[np.int16]
_UInt8 = npt.NDArray[np.uint8]
_UInt32 = npt.NDArray[np.uint32]
_UInt64 = npt.NDArray[np.uint64]

def instruction_sets() -> list[str]:
    """Those that this processor has, the best first."""

def chosen_instruction_set() -> str:
    """The one that is used; "" for none."""

def share_memory() -> bool:
    """Has all threads take memory from one place, as glibc can; whether it is so."""

def use_instruction_set(name: str) -> None:
    """Takes one of `instruction_sets` from now on, in the whole process."""

def choose_tables(
    w1: _Int8,
    c1: Int32,
    w2: _Int8,
    c2: Int32,
    w3: _Int8,
    c3: Int32,
    available: Int32,
    signed_count: int,
    symbols: _Int8,
    coarser: _Int8,
    differences: _Int8,
    views: npt.NDArray[np.int64],
    rows: int,
    columns: int,
    quantizers: _Int8,
    class_of_mean: _Int16,
    sizes: tuple[int, int, int, int, int],
    table: _Int16,
    sign: Int32,
    hidden: _UInt8,
) -> None:
    """Chooses the tables of the symbols in some rows of a pass; see `ContextModel.choose_tables`.

    Args:
        w1: [hidden_1, features], and so on as in `ContextNetwork`; c1 and c3 are those of the pass.
        available: The indices of the features that there are, [K].
        signed_count: How many of the views are symbols, whose magnitudes are features too.
        symbols: The companded symbols of the level, plane 0 of the views.
        coarser: Those of the coarser level, plane 1.
        differences: Those in the low-pass band, plane 2.
        views: [views, 3]: a plane, the index in it that the first symbol sees, and the distance
            from row to row.
        rows: The number of rows.
        columns: The number of symbols of a row.
        quantizers: The quantiser of each symbol, [rows * columns].
        class_of_mean: The class of each |mean| up to the largest that matters.
        sizes: Tables of a quantiser, direct tables, index of scale 1, last scale, last direct one.
        table: Receives the tables, [rows * columns].
        sign: Receives the signs, [rows * columns].
        hidden: Receives the inputs of the last layer, [rows * columns, hidden_2]; none if empty.
    """

def encode_entries(
    state: _UInt64,
    cumulative: _UInt32,
    numbers: _Int16,
    is_sorted: bool,
    order: Int32,
    entries: Int32,
    out: _UInt32,
) -> int:
    """Encodes table entries.

    Args:
        state: The state of the encoder, [4], which changes: at first 0, 2^64 - 1, 0, 0; the third
            is the number of words that wait until a carry is out of the question.
        cumulative: [tables, TABLE_SIZE + 1]; see `decode_highs`.
        numbers: The table of each entry, [N].
        is_sorted: Whether entries come in the order of their tables, or in their own.
        order: Receives the entries' indices in the order in which they come, [N].
        entries: [N].
        out: Receives the words; room for N and those that wait.

    Returns:
        The number of words.
    """

def encode_bits(state: _UInt64, bits: int, values: Int32, out: _UInt32) -> int:
    """Encodes the lowest bits, 1 to 24, of N numbers; the rest is as in `encode_entries`."""

def end_encoding(state: _UInt64, out: _UInt32) -> int:
    """The words that end a stream; the state stays. `out` has room for two and those that wait."""

def start_decoding(state: _UInt64, words: _UInt32) -> None:
    """Sets the state of a range decoder, [4], to the start of a stream."""

def decode_highs(
    state: _UInt64,
    words: _UInt32,
    cumulative: _UInt32,
    guide: _UInt8,
    shifts: Int32,
    numbers: _Int16,
    is_sorted: bool,
    order: Int32,
    highs: Int32,
) -> int:
    """Decodes the high part of a symbol for each number of a table: its entry less RADIUS.

    Args:
        state: The state of the decoder, which changes.
        words: The words of the stream.
        cumulative: [tables, TABLE_SIZE + 1]: the frequencies before each entry, and their sum.
        guide: [tables, 256]: the first entry for each value of the highest 8 bits of a quantile.
        shifts: The number of low bits of the symbols of each table, [tables].
        numbers: [N].
        is_sorted: Whether symbols come in the order of their tables, or in their own.
        order: Receives the symbols in the order in which they come, [N].
        highs: Receives the high parts, [N]; an escape is ESCAPE - RADIUS.

    Returns:
        The number of symbols of which more follows: escapes, and those with low bits; -1 for a
        stream that no encoder wrote.
    """

def decode_bits(state: _UInt64, words: _UInt32, bits: int, values: Int32) -> bool:
    """Decodes numbers of some bits; False for a stream that no encoder wrote."""

def accept_symbols(
    symbols: Int32,
    table: _Int16,
    sign: Int32,
    offsets: Int32,
    next_state: _Int8,
    rows: int,
    columns: int,
    states: _Int8,
    state_stride: int,
    companded: _Int8,
    plane: _Int8,
    place_in_plane: tuple[int, int],
    fine: Int32,
    place_in_fine: tuple[int, int],
) -> None:
    """Takes the symbols of a pass; see `CausalContext.accept`.

    Args:
        symbols: [rows * columns].
        table: The table of each symbol.
        sign: The sign of each symbol.
        offsets: The reconstruction offsets of each table, [tables, 7].
        next_state: `codecs.wavelet.trellis.NEXT_STATE`.
        rows: The number of rows.
        columns: The number of symbols of a row.
        states: The state of each cell, which changes.
        state_stride: The number of cells of a row.
        companded: The companding of magnitudes.
        plane: Receives the companded multiples.
        place_in_plane: The index of the first symbol, and the distance from row to row.
        fine: Receives the coefficients in 1/FINE steps; the symbols of a row are 2 apart.
        place_in_fine: As `place_in_plane`.
    """

def synthesise_channel(
    low: Int32,
    band_0: Int32,
    band_1: Int32,
    band_2: Int32,
    steps: tuple[int, int, int],
    height: int,
    width: int,
    out: Int32,
) -> None:
    """Inverts a decomposition level of one channel; see
    `codecs.wavelet.transform.synthesise_level`.

    Args:
        low: [ceil(height/2), ceil(width/2)], units.
        band_0: The coefficients of an orientation, in 1/FINE steps; so are `band_1` and `band_2`.
        steps: The steps of the orientations.
        height: The height of the result.
        width: The width of the result.
        out: Receives it, [height, width], units.
    """

def analyse_channel(
    plane: Float32, height: int, width: int, low: Float32, band_0: Float32, band_1: Float32, band_2: Float32
) -> None:
    """Splits a channel at one decomposition level; see `codecs.wavelet.transform.analyse`.

    Args:
        plane: [height, width].
        height: The height of the plane.
        width: The width of the plane.
        low: Receives the low-pass band, [ceil(height/2), ceil(width/2)].
        band_0: Receives the orientations, [ceil(height/2), floor(width/2)],
        band_1: [floor(height/2), ceil(width/2)],
        band_2: and [floor(height/2), floor(width/2)].
    """

def low_differences(
    low: Int32,
    height: int,
    width: int,
    level_step: int,
    offsets: Int32,
    companded: Int32,
    first_row: int,
    last_row: int,
    out: _Int8,
) -> None:
    """Compands the differences in some rows of a low-pass band.

    Args:
        low: [height, width], units.
        level_step: The step of the level.
        offsets: (row, column) of the samples around that count, each within 2, [N, 2].
        companded: The companding of magnitudes.
        first_row: The first of the rows.
        last_row: The row after the last.
        out: Receives them, [2, 2, N, ceil(height/2), ceil(width/2)].
    """

def machine_change(
    weights: Float32,
    shape: tuple[int, int],
    samples: Int32,
    samples_shape: Sequence[int],
    step: float,
    log_step: float,
    height: int,
    width: int,
    out: Float32,
) -> None:
    """Evaluates the correcting machine on a block; see `codecs.wavelet.synthesis.machine_change`.

    Args:
        weights: lift, a and b of each layer, bypass, one after the other.
        shape: Width and depth.
        samples: The samples around the block, [C, H, W], units.
        samples_shape: Their shape.
        step: The quantisation step in units.
        log_step: Its `codecs.wavelet.correction.step_feature`.
        height: The height of the block.
        width: Its width.
        out: Receives what is added, [C, height, width], units.
    """

def filter_change(
    weights: Float32, taps: Int32, radius: int, samples: Int32, shape: tuple[int, int, int], out: Float32
) -> None:
    """Evaluates the image filter on a block; see `codecs.wavelet.filter.filter_change`.

    Args:
        weights: [taps, C from, C to].
        taps: (row, column) of each tap, [taps, 2].
        radius: The radius of the filter.
        samples: The samples with `radius` more on all sides, units.
        shape: Channels, height and width of the block.
        out: Receives what is added, units.
    """

def planes_to_pixels(
    planes: Float32,
    shape: tuple[int, int, int],
    basis: Float32,
    scale: float,
    middle: float,
    most: float,
    pixels: npt.NDArray[np.unsignedinteger],
) -> None:
    """Converts planes into pixels; see `codecs.wavelet.colour.planes_to_pixels`.

    Args:
        planes: [C, H, W], units.
        shape: Their shape.
        basis: [3, 3].
        scale: Sample values in a unit.
        middle: The sample value of 0.
        most: The largest sample value; pixels are uint8 up to 255, uint16 beyond.
        pixels: Receives them, [H, W, C].
    """

def choose_paths(
    passes: Sequence[tuple[int, int, Float32, Float32, Int32, _Int16, Float32, Float32, Int32]],
    has_slopes: bool,
    bits: Float32,
    offsets: Float32,
    companded: Float32,
    ways: _Int8,
    sizes: tuple[int, int],
    columns: int,
    first_row: int,
    last_row: int,
) -> None:
    """Chooses the symbols of some rows of cells; see `trellis_search.PathChooser`.

    Args:
        passes: For each pass its rows and columns, and of each symbol the coefficient in steps, the
            weight of its squared error, the sign, the table, and what it costs by its companded
            value and by its magnitude (empty arrays without slopes); the last array receives the
            symbols.
        has_slopes: Whether there are slopes.
        bits: The price of each entry of each table, [tables, TABLE_SIZE].
        offsets: The reconstruction offset of each, in steps, of the same shape.
        companded: The companding of magnitudes.
        ways: The states before each state, and the branches, [STATES, 4].
        sizes: Direct tables, and tables of a quantiser.
        columns: The cells of a row.
        first_row: The first of the rows.
        last_row: The row after the last.
    """

def add_gradient(*arguments: object) -> None:
    """Chooses tables, and adds the derivative of bits to slopes; see `ContextModel.add_gradient`.

    Args:
        arguments: Those of `choose_tables`; then the symbols, int32 [rows * columns];
            `ContextModel.bits_of_outputs`; its numbers of scales and means; and the slopes by
            planes 0 and 1, float32 [2, ...], which receive the derivatives.
    """

def adaptation_gradient(
    sample: tuple[_UInt8, Float32, npt.NDArray[np.int64], Int32, _Int8],
    chosen: npt.NDArray[np.int64],
    adaptation: tuple[Int32, Int32, int],
    bits: Float32,
    sizes: tuple[int, int, int],
    by_maps: Float32,
    by_constants: Float32,
) -> None:
    """Computes the derivative of the bits of symbols by an adaptation of the last layer.

    Args:
        sample: The inputs of the layer, [N, hidden_2], its sums without an adaptation, [N, 2], the
            number of each symbol's band, the symbols, and their quantisers, [N].
        chosen: The symbols that count.
        adaptation: Maps, [2, hidden_2], constants, [bands, 2], and the unit of the constants.
        bits: `ContextModel.bits_of_outputs`.
        sizes: Its numbers of scales and means, and the index of scale 1.
        by_maps: Receives the derivative by maps, of their shape.
        by_constants: Receives that by constants, in units of the sums.
    """

def choose_front(
    network: tuple[Float32, Float32, Float32, Float32, Float32],
    plane: Float32,
    causal: npt.NDArray[np.int64],
    place_in_plane: tuple[int, int],
    coarser: _Int8,
    place_in_coarser: tuple[int, int],
    count: int,
    sizes: tuple[int, int, int, int],
    table: _Int16,
    sign: Int32,
    middle: Int32,
) -> None:
    """Chooses the tables of a wavefront; see `GridContext.choose_tables`.

    Args:
        network: `LevelNetwork.arrays`.
        plane: The companded symbols of the grid, padded.
        causal: The distance in it from a symbol to each that it sees, [14].
        place_in_plane: The index of the first symbol, and the distance to the next.
        coarser: What each symbol sees of coarser grids, [symbols, 15].
        place_in_coarser: As `place_in_plane`.
        count: The number of symbols.
        sizes: Index of scale 1, last scale, last direct scale, largest mean.
        table: Receives the tables, [count].
        sign: Receives the signs.
        middle: Receives the integers next to the means.
    """

def accept_front(
    symbols: Int32,
    companded: Float32,
    grid: Int32,
    place_in_grid: tuple[int, int],
    plane: Float32,
    place_in_plane: tuple[int, int],
) -> None:
    """Takes the symbols of a wavefront; see `GridContext.accept`.

    Args:
        symbols: [N].
        companded: The companding of magnitudes.
        grid: Receives the symbols.
        place_in_grid: The index of the first symbol, and the distance to the next.
        plane: Receives the companded symbols.
        place_in_plane: As `place_in_grid`.
    """

def window_workspace() -> int:
    """The bytes that `window_gradient` and `window_costs` work in."""

def window_gradient(
    weights: Float32,
    widths: tuple[int, int],
    companding: Float32,
    most_active: float,
    place: tuple[int, int, int, int],
    terms: tuple[float, float, float],
    colours: Float32,
    inside: Float32,
    latents: tuple[Float32, ...],
    room: _UInt8,
    rounding: tuple[float, float, int],
    grad_weights: Float32,
    grad_latents: Float32,
) -> None:
    """Computes the gradient of a window's part in the loss of a fit; see `WindowLoss.gradients`.

    Args:
        weights: Those of `Networks.flat`.
        widths: The dimension that the synthesis lifts vectors to, and the units of the contexts.
        companding: The slope and the constant of each line, for features in the units of a fit.
        most_active: The largest activation of a unit.
        place: The first row and column of the window, and the height and width of the image.
        terms: The multiplier of bits, the step of symbols, and the largest value of a sample.
        colours: [3, WINDOW, WINDOW].
        inside: [WINDOW, WINDOW].
        latents: The grids of the image, [h_l, w_l] each.
        room: What it works in, [`window_workspace()`]; what is left in it means nothing.
        rounding: The temperature of soft rounding, the deviation of its noise, and a seed.
        grad_weights: Receives the gradient by `weights`.
        grad_latents: Receives that by what `Windows.cut` gives, one grid after the other.
    """

def window_costs(
    weights: Float32,
    widths: tuple[int, int],
    companding: Float32,
    most_active: float,
    place: tuple[int, int, int, int],
    terms: tuple[float, float, float],
    colours: Float32,
    inside: Float32,
    latents: tuple[Float32, ...],
    room: _UInt8,
    errors: Float32,
    bits: Float32,
) -> None:
    """Computes what whole symbols of a window cost; see `WindowLoss.costs`.

    Args:
        weights: As all that follow up to `room` it is that of `window_gradient`.
        errors: Receives the squared error of each pixel, [WINDOW, WINDOW].
        bits: Receives the bits of each symbol, grid by grid.
    """

def add_gradients(gradients: Float32, place: tuple[int, int, int, int], waiting: tuple[Float32, ...]) -> None:
    """Adds what `window_gradient` gives for latents to grids of the image; see `Latents.add`."""

def move_latents(
    place: tuple[int, int, int, int],
    values: tuple[Float32, ...],
    means: tuple[Float32, ...],
    squares: tuple[Float32, ...],
    waiting: tuple[Float32, ...],
    rates: Float32,
    parts: tuple[float, float, float, float],
) -> None:
    """Moves the latents of a window by a step of Adam; see `Latents.move`.

    Args:
        place: That of `window_gradient`.
        values: The latents; these arrays and the three that follow change.
        means: The running means of their gradients.
        squares: Those of the squares.
        waiting: The gradients, which become zero.
        rates: The rate of each grid, with the bias of the mean.
        parts: The parts of a gradient in both means, 1 over the bias of squares, and epsilon.
    """

def values_of_samples(
    table: Float32, pixels: npt.NDArray[np.unsignedinteger], channel: int, shape: tuple[int, int], out: Float32
) -> None:
    """Looks up the samples of a channel.

    Args:
        table: The value of each sample: 256 for samples of 8 bits, 65536 for 16.
        pixels: [N, C].
        channel: The channel.
        shape: N and C.
        out: Receives the values, [N].
    """

def ssimulacra2_sums(
    original: Float32,
    decoded: Float32,
    size: tuple[int, int],
    rows: tuple[int, int],
    absorbance: Float32,
    bias: float,
    bias_root: float,
    taps: Float32,
    constant: float,
    sums: Float64,
) -> None:
    """Sums the errors of SSIMULACRA2 at a scale over the pixels of some rows; see
    `dfmcodec.metrics.ssimulacra2`.

    Args:
        original: The image in linear light, [3, H, W].
        decoded: What is compared with it, of the same shape.
        size: H and W.
        rows: The first of the rows, and the row after the last.
        absorbance: How light is mixed, [3, 3].
        bias: What is added to it.
        bias_root: The cube root of that.
        taps: The window from its centre on, [5].
        constant: That of SSIM.
        sums: The sums are added to it, float64 [3, 2, 3]: of each component, of the errors and of
            their fourth powers.
    """

def ssimulacra2_slopes(
    original: Float32,
    decoded: Float32,
    size: tuple[int, int],
    rows: tuple[int, int],
    absorbance: Float32,
    bias: float,
    bias_root: float,
    taps: Float32,
    constant: float,
    parts: Float32,
    slopes: Float32,
) -> None:
    """Puts the derivative of a sum of the errors of SSIMULACRA2 at a scale, by the decoded image in
    some rows, into `slopes`; see `dfmcodec.metrics.ssimulacra2`.

    Args:
        original: As in `ssimulacra2_sums`.
        decoded: As there.
        size: As there.
        rows: As there.
        absorbance: As there.
        bias: As there.
        bias_root: As there.
        taps: As there.
        constant: As there.
        parts: Of each component, errors and fourth powers in the sum, float32 [3, 2, 3].
        slopes: float32 [3, H, W], by linear light.
    """
