"""The table of kernels and their arguments, from which the C, Python and browser files are made.

`make_kernel_interface.py` generates structs, length checks and constants in C; the
stub and the argument groups in Python; and the layout of the structs in JavaScript. The table is
not imported at run time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """The kinds of numbers."""

    SIZE = "size"  # from 0 to 2^30: products of two sizes and a few channels cannot overflow
    INDEX = "index"
    INTEGER = "integer"
    SEED = "seed"
    TRUTH = "truth"
    REAL = "real"


class Result(Enum):
    """The types of results of a kernel."""

    NOTHING = "None"
    SIZE = "int"
    TRUTH = "bool"


@dataclass(frozen=True)
class Array:
    """A C-contiguous array.

    Args:
        dtype: The NumPy name of the type; "" for uint8 or uint16, whose length the kernel checks.
        text: The description.
        length: The minimum number of items, as a C expression of other arguments (`NAME_count` is
            the number of items of an array) and constants; "" if the kernel checks it.
        is_written: Indicates whether the kernel writes it.
        count: The number of arrays: more than one for a tuple of arrays.
    """

    dtype: str
    text: str
    length: str = ""
    is_written: bool = False
    count: int = 1


@dataclass(frozen=True)
class Number:
    """A scalar argument."""

    kind: Kind
    text: str


@dataclass(frozen=True)
class Group:
    """A named tuple in Python, a struct in C, an object in JavaScript.

    Args:
        name: The name in all three languages.
        text: The description.
        fields: The items.
    """

    name: str
    text: str
    fields: Mapping[str, Field]


@dataclass(frozen=True)
class Groups:
    """A sequence of groups of one kind.

    Args:
        group: The group.
        most: The maximum number of them.
        text: The description.
    """

    group: Group
    most: int
    text: str


Field = Array | Number | Group | Groups


@dataclass(frozen=True)
class Kernel:
    """A kernel.

    Args:
        text: The description.
        fields: The arguments.
        result: The type of the result.
        returns: The description of the result.
        is_short: Indicates whether it keeps the GIL, because it takes little time.
        has_targets: Indicates whether it is compiled for each instruction set.
        is_decoder: Indicates whether it is compiled for the browser.
    """

    text: str
    fields: Mapping[str, Field]
    result: Result = Result.NOTHING
    returns: str = ""
    is_short: bool = False
    has_targets: bool = True
    is_decoder: bool = False


def read(dtype: str, text: str, length: str = "") -> Array:
    """Returns an array that a kernel reads."""
    return Array(dtype, text, length)


def written(dtype: str, text: str, length: str = "") -> Array:
    """Returns an array that a kernel writes."""
    return Array(dtype, text, length, is_written=True)


def size(text: str) -> Number:
    """Returns a size, stride or row."""
    return Number(Kind.SIZE, text)


def index(text: str) -> Number:
    """Returns a position, which the kernel checks."""
    return Number(Kind.INDEX, text)


def integer(text: str) -> Number:
    """Returns an integer of 32 bits."""
    return Number(Kind.INTEGER, text)


def real(text: str) -> Number:
    """Returns a floating-point number."""
    return Number(Kind.REAL, text)


# The constants of C and JavaScript, each defined by an expression in a module.
CONSTANTS = {
    "PRECISION_BITS": ("dfmcodec.entropy.tables", "PRECISION_BITS"),
    "RADIUS": ("dfmcodec.entropy.tables", "RADIUS"),
    "ESCAPE": ("dfmcodec.entropy.tables", "ESCAPE"),
    "TABLE_SIZE": ("dfmcodec.entropy.tables", "TABLE_SIZE"),
    "LAPLACE_COUNT": ("dfmcodec.entropy.tables", "LAPLACE_COUNT"),
    "UNIT_SCALE_INDEX": ("dfmcodec.entropy.tables", "UNIT_SCALE_INDEX"),
    "LAST_DIRECT": ("dfmcodec.entropy.tables", "LAST_DIRECT"),
    "MEANS_PER_SYMBOL": ("dfmcodec.entropy.tables", "MEANS_PER_SYMBOL"),
    "SYMBOL_MEANS": ("dfmcodec.entropy.tables", "MEANS"),
    "GUIDE_BITS": ("dfmcodec.entropy.table_set", "GUIDE_BITS"),
    "CHANNELS": ("dfmcodec.image.region", "CHANNELS"),
    "STATES": ("dfmcodec.codecs.wavelet.trellis", "STATES"),
    "QUANTIZERS": ("dfmcodec.codecs.wavelet.trellis", "QUANTIZERS"),
    "FINE": ("dfmcodec.codecs.wavelet.quantizer", "FINE"),
    "OFFSET_SYMBOLS": ("dfmcodec.codecs.wavelet.context", "OFFSET_SYMBOLS"),
    "TABLES_PER_QUANTIZER": ("dfmcodec.codecs.wavelet.context", "TABLES_PER_QUANTIZER"),
    "DIRECT_TABLES": ("dfmcodec.codecs.wavelet.context", "DIRECT_TABLES"),
    "EMPTY_CONTEXT": ("dfmcodec.codecs.wavelet.context", "EMPTY_CONTEXT"),
    "SLOPE_REACH": ("dfmcodec.codecs.wavelet.context", "_SLOPE_REACH"),
    "CONSTANT_UNIT": ("dfmcodec.codecs.wavelet.adaptation", "CONSTANT_UNIT"),
    "LIFTING_BITS": ("dfmcodec.codecs.wavelet.transform", "FRACTION_BITS"),
    "ALPHA": ("dfmcodec.codecs.wavelet.transform", "_ALPHA"),
    "BETA": ("dfmcodec.codecs.wavelet.transform", "_BETA"),
    "GAMMA": ("dfmcodec.codecs.wavelet.transform", "_GAMMA"),
    "DELTA": ("dfmcodec.codecs.wavelet.transform", "_DELTA"),
    "LOW_GAIN": ("dfmcodec.codecs.wavelet.transform", "_LOW_GAIN"),
    "MAX_UNITS": ("dfmcodec.codecs.wavelet.transform", "MAX_UNITS"),
    "LOW_PAD": ("dfmcodec.codecs.wavelet.neighbourhood", "_PAD"),
    "CELL_SAMPLES": ("dfmcodec.codecs.wavelet.correction", "CELL_SAMPLES"),
    "CELLS_AROUND": ("dfmcodec.codecs.wavelet.correction", "CELLS_AROUND**2"),
    "CORRECTION_FEATURES": ("dfmcodec.codecs.wavelet.correction", "FEATURES"),
    "DIMENSIONS_PER_MOVED": ("dfmcodec.codecs.wavelet.correction", "_DIMENSIONS_PER_MOVED"),
    "GRID_LEVELS": ("dfmcodec.codecs.overfitted.grids", "GRID_LEVELS"),
    "CAUSAL_FEATURES": ("dfmcodec.codecs.overfitted.context", "len(CAUSAL)"),
    "CELL_FEATURES": ("dfmcodec.codecs.overfitted.context", "len(SQUARE)"),
    "COARSER_FEATURES": ("dfmcodec.codecs.overfitted.context", "COARSER"),
    "GRID_FEATURES": ("dfmcodec.codecs.overfitted.context", "FEATURES"),
    "MAX_MEAN": ("dfmcodec.codecs.overfitted.context", "_MAX_MEAN"),
    "HALO": ("dfmcodec.codecs.overfitted.synthesis", "HALO"),
    "TAPS": ("dfmcodec.codecs.overfitted.synthesis", "TAPS"),
    "STAGES": ("dfmcodec.codecs.overfitted.synthesis", "STAGES"),
    "WINDOW": ("dfmcodec.codecs.overfitted.encode.windows", "WINDOW"),
}
# Pairs of integers, for C only.
OFFSETS = {"CAUSAL_OFFSETS": ("dfmcodec.codecs.overfitted.context", "CAUSAL")}

GRID_LEVELS = 7  # checked by a test
MAX_PASSES = 36  # maximum passes of a decomposition level

PASS = Group(
    "ContextPass",
    "Rows of a coding pass, and the context network of its symbols.",
    {
        "w1": read("int8", "[hidden_1, features]; see `ContextNetwork`, also for the others."),
        "c1": read("int32", "[hidden_1], the constants of the pass."),
        "w2": read("int8", "[hidden_2, hidden_1].", "c1_count * c2_count"),
        "c2": read("int32", "[hidden_2]."),
        "w3": read("int8", "[2, hidden_2].", "2 * c2_count"),
        "c3": read("int32", "[2], the constants of the pass.", "2"),
        "available": read("int32", "The indices of the available features, [K]."),
        "signed_count": integer("The number of views with signed symbols, whose magnitudes are features too."),
        "symbols": read("int8", "The companded symbols of the level, plane 0 of the views."),
        "coarser": read("int8", "The companded symbols of the coarser level, plane 1."),
        "differences": read("int8", "The companded differences in the low-pass band, plane 2."),
        "views": read(
            "int64",
            "[views, 3]: the plane, the index of the first symbol's feature in it, and the stride of rows.",
        ),
        "rows": size("The number of rows."),
        "columns": size("The number of symbols per row."),
        "quantizers": read("int8", "The quantiser of each symbol.", "rows * columns"),
        "class_of_mean": read("int16", "The class of each |mean| up to the largest relevant one.", "1"),
    },
)
NETWORK = Group(
    "GridNetworkWeights",
    "The context network of a level of latent grids; see `LevelNetwork`.",
    {
        "first": read("float32", "[features, hidden_1 + 2].", "GRID_FEATURES * constants_count"),
        "constants": read("float32", "[hidden_1 + 2]."),
        "second": read("float32", "[hidden_1, hidden_2].", "(constants_count - 2) * second_constants_count"),
        "second_constants": read("float32", "[hidden_2]."),
        "last": read("float32", "[hidden_2, 2].", "2 * second_constants_count"),
    },
)
PATH_PASS = Group(
    "PathPass",
    "A coding pass of a trellis search.",
    {
        "rows": size("The number of rows."),
        "columns": size("The number of symbols per row."),
        "band": read("float32", "The coefficients of the band."),
        "band_start": index("The index of the first symbol's coefficient; every second one of a row is used."),
        "band_stride": size("The distance from row to row of symbols."),
        "per_step": real("The factor that converts coefficients to steps."),
        "weights": read("uint16", "The weights of squared errors as 16-bit floats; empty if all are 1."),
        "weights_start": index("The index of the first symbol's weight; every second one of a row is used."),
        "weights_stride": size("The distance from row to row of symbols."),
        "weight_factor": real("The factor of the weights."),
        "tables": read("int16", "The table of each symbol plus 1, times its sign.", "rows * columns"),
        "costs": read("uint16", "[2, N]: bits per companded value and magnitude, as 16-bit floats; empty for none."),
        "symbols": written("int32", "Receives the symbols.", "rows * columns"),
    },
)
STRIP = Group(
    "ComparedRows",
    "Rows of two images, and the constants of SSIMULACRA2.",
    {
        "original": read("float32", "The image in linear light, [3, H, W].", "CHANNELS * height * width"),
        "decoded": read("float32", "The image that is compared with the original.", "CHANNELS * height * width"),
        "height": size("H."),
        "width": size("W."),
        "first_row": size("The first of the rows."),
        "last_row": size("The row after the last."),
        "absorbance": read("float32", "The matrix from linear light to cone responses, [3, 3].", "CHANNELS * CHANNELS"),
        "bias": real("The bias that is added to the responses."),
        "bias_root": real("The cube root of the bias."),
        "taps": read("float32", "The taps of the window, from its centre to its edge.", "5"),
        "constant": real("The stabilising constant of SSIM."),
    },
)
PLACE = Group(
    "WindowPlace",
    "The place of a window of a fit.",
    {
        "top": index("Its first row."),
        "left": index("Its first column."),
        "height": size("The height of the image."),
        "width": size("The width of the image."),
    },
)


def _grids(text: str, *, is_written: bool) -> Array:
    return Array("float32", text, "", is_written, count=GRID_LEVELS)


FIT_WINDOW = Group(
    "FitWindow",
    "A window of a fit of the overfitted codec.",
    {
        "weights": read("float32", "`Networks.flat`."),
        "width": integer("The dimension to which the synthesis network lifts vectors."),
        "units": integer("The number of units of each hidden layer of the context network."),
        "companding": read("float32", "The slope and the constant of each line of the companding.", "2"),
        "activation_max": real("The maximum activation of a unit."),
        "place": PLACE,
        "lmbda": real("The Lagrange multiplier of bits."),
        "step_size": real("The step size of the symbols."),
        "peak": real("The maximum code value."),
        "colours": read("float32", "[3, WINDOW, WINDOW].", "CHANNELS * WINDOW * WINDOW"),
        "pixel_weights": read("float32", "[WINDOW, WINDOW].", "WINDOW * WINDOW"),
        "grids": _grids("The latent grids of the image, [h_l, w_l] each.", is_written=False),
    },
)

_TABLE = {
    "table": written("int16", "Receives the table of each symbol.", "coding_pass.rows * coding_pass.columns"),
    "sign": written("int32", "Receives the sign of each symbol.", "coding_pass.rows * coding_pass.columns"),
    "hidden": written("uint8", "Receives the inputs of the last layer, [rows * columns, hidden_2]; unused if empty."),
}
_DECODER_STATE = {
    "state": written("uint64", "The state of the decoder, updated.", "4"),
    "words": read("uint32", "The words of the stream."),
}
_ENCODER_STATE = written(
    "uint64",
    "The state of the encoder, updated; initially 0, 2^64 - 1, 0, 0. The third number is the number of pending words, "
    "which a carry may still change.",
    "4",
)
_HALVES = {
    "low": "(height + 1) / 2 * ((width + 1) / 2)",
    "band_0": "(height + 1) / 2 * (width / 2)",
    "band_1": "height / 2 * ((width + 1) / 2)",
    "band_2": "height / 2 * (width / 2)",
}

KERNELS = {
    "start_decoding": Kernel(
        "Sets the state of a range decoder to the start of a stream.",
        _DECODER_STATE,
        is_short=True,
        has_targets=False,
        is_decoder=True,
    ),
    "decode_highs": Kernel(
        "Decodes the high part of each symbol, its table entry minus RADIUS.",
        {
            **_DECODER_STATE,
            "cumulative": read(
                "uint32",
                "[tables, TABLE_SIZE + 1]: cumulative frequencies before each entry, and their sum.",
                "(guide_count >> GUIDE_BITS) * (TABLE_SIZE + 1)",
            ),
            "guide": read("uint8", "[tables, 256]: the first entry for each value of the high bits of a quantile."),
            "shifts": read("int32", "The number of low bits of each table's symbols.", "guide_count >> GUIDE_BITS"),
            "numbers": read("int16", "The table of each symbol, [N]."),
            "is_sorted": Number(Kind.TRUTH, "Indicates whether symbols are coded in the order of their tables."),
            "order": written("int32", "Receives the indices of the symbols in coding order, [N].", "numbers_count"),
            "highs": written("int32", "Receives the high parts, [N]; an escape is ESCAPE - RADIUS.", "numbers_count"),
        },
        result=Result.SIZE,
        returns="The number of incomplete symbols: escapes, and those with low bits; -1 for an invalid stream.",
        has_targets=False,
        is_decoder=True,
    ),
    "decode_bits": Kernel(
        "Decodes uniformly distributed numbers of a given number of bits.",
        {
            **_DECODER_STATE,
            "bits": integer("The number of bits."),
            "values": written("int32", "Receives the numbers."),
        },
        result=Result.TRUTH,
        returns="False for an invalid stream.",
        is_short=True,
        has_targets=False,
        is_decoder=True,
    ),
    "encode_entries": Kernel(
        "Encodes table entries.",
        {
            "state": _ENCODER_STATE,
            "cumulative": read("uint32", "[tables, TABLE_SIZE + 1]; see `decode_highs`."),
            "numbers": read("int16", "The table of each entry, [N]."),
            "is_sorted": Number(Kind.TRUTH, "Indicates whether entries are coded in the order of their tables."),
            "order": written("int32", "Receives the indices of the entries in coding order, [N].", "numbers_count"),
            "entries": read("int32", "The entries, [N].", "numbers_count"),
            "out": written("uint32", "Receives the words; at least N plus the pending words."),
        },
        result=Result.SIZE,
        returns="The number of words.",
        has_targets=False,
    ),
    "encode_bits": Kernel(
        "Encodes the low bits of numbers as uniformly distributed.",
        {
            "state": _ENCODER_STATE,
            "bits": integer("The number of bits, 1 to 24."),
            "values": read("int32", "The numbers, [N]."),
            "out": written("uint32", "Receives the words; at least N plus the pending words."),
        },
        result=Result.SIZE,
        returns="The number of words.",
        is_short=True,
        has_targets=False,
    ),
    "end_encoding": Kernel(
        "Writes the words that end a stream, without a change of the state.",
        {
            "state": read("uint64", "The state of the encoder.", "4"),
            "out": written("uint32", "Receives the words; at least two plus the pending words."),
        },
        result=Result.SIZE,
        returns="The number of words.",
        is_short=True,
        has_targets=False,
    ),
    "choose_tables": Kernel(
        "Chooses the tables of the symbols in rows of a pass; see `ContextModel.choose_tables`.",
        {"coding_pass": PASS, **_TABLE},
        is_decoder=True,
    ),
    "choose_wavefront_tables": Kernel(
        "Chooses the tables of a wavefront; see `GridContext.choose_tables`.",
        {
            "network": NETWORK,
            "plane": read("float32", "The companded symbols of the grid, padded."),
            "causal": read("int64", "The offset in the plane from a symbol to each causal symbol.", "CAUSAL_FEATURES"),
            "plane_start": index("The index of the first symbol in the plane."),
            "plane_stride": size("The distance to the next symbol in the plane."),
            "coarser": read("int8", "The features of coarser grids, [symbols, 15]."),
            "coarser_start": index("The index of the first symbol's features."),
            "coarser_stride": size("The distance to the next symbol's features."),
            "count": size("The number of symbols."),
            "table": written("int16", "Receives the table of each symbol.", "count"),
            "sign": written("int32", "Receives the sign of each symbol.", "count"),
            "middle": written("int32", "Receives the integers nearest to the means.", "count"),
        },
        is_decoder=True,
    ),
    "accept_wavefront": Kernel(
        "Stores the symbols of a wavefront; see `GridContext.accept`.",
        {
            "symbols": read("int32", "The symbols, [N]."),
            "companded": read("float32", "The companding of magnitudes."),
            "grid": written("int32", "Receives the symbols."),
            "grid_start": index("The index of the first symbol."),
            "grid_stride": size("The distance to the next symbol."),
            "plane": written("float32", "Receives the companded symbols."),
            "plane_start": index("The index of the first companded symbol."),
            "plane_stride": size("The distance to the next companded symbol."),
        },
        is_short=True,
        is_decoder=True,
    ),
    "correction_residual": Kernel(
        "Evaluates the correction network on a block; see `codecs.wavelet.correction`.",
        {
            "weights": read("int8", "The lift, the weights of each layer, and the bypass, concatenated."),
            "first_constants": read("int32", "The constants of the lift; as many as the width."),
            "factors": read(
                "int32", "The factors of the lift, those and the constants of each layer, .. of the bypass."
            ),
            "depth": integer("The number of Fourier layers."),
            "samples": read("int32", "The samples around the block, units.", "channels * height * width"),
            "channels": size("The number of channels."),
            "height": size("The height of the samples."),
            "width": size("The width of the samples."),
            "step_size": integer("The quantiser step size in units."),
            "block_height": size("The height of the block."),
            "block_width": size("The width of the block."),
            "residual": written(
                "float32", "Receives the residual of the block, units.", "channels * block_height * block_width"
            ),
        },
        is_decoder=True,
    ),
    "filter_residual": Kernel(
        "Evaluates the image filter on a block; see `codecs.wavelet.filter`.",
        {
            "weights": read("float32", "[taps, C from, C to].", "taps_count / 2 * channels * channels"),
            "taps": read("int32", "(row, column) of each tap, [taps, 2]."),
            "radius": integer("The radius of the filter."),
            "samples": read(
                "int32",
                "The samples with a margin of `radius` on all sides, units.",
                "channels * (height + 2 * radius) * (width + 2 * radius)",
            ),
            "channels": size("The number of channels."),
            "height": size("The height of the block."),
            "width": size("The width of the block."),
            "residual": written("float32", "Receives the residual of the block, units.", "channels * height * width"),
        },
        is_decoder=True,
    ),
    "planes_to_pixels": Kernel(
        "Converts planes into pixels; see `codecs.wavelet.colour.planes_to_pixels`.",
        {
            "planes": read("float32", "[C, H, W], units.", "channels * height * width"),
            "channels": size("C."),
            "height": size("H."),
            "width": size("W."),
            "basis": read("float32", "[3, 3].", "CHANNELS * CHANNELS"),
            "scale": real("The number of code values per unit."),
            "middle": real("The code value of 0."),
            "peak": real("The maximum code value; pixels are uint8 up to 255, else uint16."),
            "pixels": written("", "Receives the pixels, [H, W, C]."),
        },
        is_decoder=True,
    ),
    "accept_symbols": Kernel(
        "Stores the symbols of a pass; see `CausalContext.accept`.",
        {
            "symbols": read("int32", "The symbols.", "rows * columns"),
            "table": read("int16", "The table of each symbol.", "rows * columns"),
            "sign": read("int32", "The sign of each symbol.", "rows * columns"),
            "offsets": read("int32", "The reconstruction offsets of each table, [tables, 7]."),
            "next_state": read("int8", "`codecs.wavelet.trellis.NEXT_STATE`.", "2 * STATES"),
            "rows": size("The number of rows."),
            "columns": size("The number of symbols per row."),
            "states": written(
                "int8", "The state of each cell, updated.", "rows < 1 ? 0 : (rows - 1) * state_stride + columns"
            ),
            "state_stride": size("The number of cells per row."),
            "companded": read("int8", "The companding of magnitudes.", "1"),
            "plane": written("int8", "Receives the companded multiples."),
            "plane_start": index("The index of the first symbol in the plane."),
            "plane_stride": size("The stride of rows in the plane."),
            "fine": written("int32", "Receives the coefficients in 1/FINE steps; the symbols of a row are 2 apart."),
            "fine_start": index("The index of the first symbol in `fine`."),
            "fine_stride": size("The stride of rows in `fine`."),
        },
        is_decoder=True,
    ),
    "synthesise_channel": Kernel(
        "Inverts a decomposition level of one channel; see `codecs.wavelet.quantizer.synthesise_fine`.",
        {
            **{
                name: read("int32", "Units." if name == "low" else "An orientation, in 1/FINE steps.", length)
                for name, length in _HALVES.items()
            },
            **{f"step_{number}": integer("The step size of the orientation.") for number in range(3)},
            "height": size("The height of the result."),
            "width": size("The width of the result."),
            "stride": size("The distance between rows of the result."),
            "samples": written(
                "int32", "Receives the result, [height, width], units.", "(height - 1) * stride + width"
            ),
        },
        is_decoder=True,
    ),
    "low_differences": Kernel(
        "Compands the differences in rows of a low-pass band.",
        {
            "low": read("int32", "[height, width], units.", "height * width"),
            "height": size("The height of the band."),
            "width": size("The width of the band."),
            "level_step": integer("The step size of the level."),
            "offsets": read("int32", "The (row, column) offsets of the neighbours, each within +-2, [N, 2]."),
            "companded": read("int32", "The companding of magnitudes.", "1"),
            "first_row": size("The first of the rows."),
            "last_row": size("The row after the last."),
            "differences": written(
                "int8",
                "Receives the differences, [2, 2, N, ceil(height/2), ceil(width/2)].",
                "4 * (offsets_count / 2) * ((height + 1) / 2) * ((width + 1) / 2)",
            ),
        },
        is_decoder=True,
    ),
    "add_context_gradient": Kernel(
        "Chooses tables, and adds the gradient of bits; see `ContextModel.add_gradient`.",
        {
            "coding_pass": PASS,
            **_TABLE,
            "symbols": read("int32", "The symbols of the rows.", "coding_pass.rows * coding_pass.columns"),
            "bits": read("float32", "`ContextModel.bits_of_outputs`."),
            "scales": integer("The number of scales in `bits`."),
            "means": integer("The number of means in `bits`."),
            "grad_symbols": written("float32", "The gradient with respect to plane 0, [2, ...], added to."),
            "grad_coarser": written("float32", "The gradient with respect to plane 1, [2, ...], added to."),
        },
    ),
    "adaptation_gradient": Kernel(
        "Computes the gradient of the bits of symbols with respect to an adaptation of the last layer.",
        {
            "hidden": read("uint8", "The inputs of the layer, [N, hidden_2].", "symbols_count * (maps_count / 2)"),
            "sums": read("float32", "The sums of the layer without an adaptation, [N, 2].", "2 * symbols_count"),
            "band": read("int64", "The band index of each symbol.", "symbols_count"),
            "symbols": read("int32", "The symbols, [N]."),
            "quantizers": read("int8", "The quantiser of each symbol.", "symbols_count"),
            "chosen": read("int64", "The indices of the symbols to include."),
            "maps": read("int32", "[2, hidden_2]."),
            "constants": read("int32", "[bands, 2]."),
            "bits": read("float32", "`ContextModel.bits_of_outputs`."),
            "scales": integer("The number of scales in `bits`."),
            "means": integer("The number of means in `bits`."),
            "grad_maps": written("float32", "Receives the gradient with respect to `maps`.", "maps_count"),
            "grad_constants": written(
                "float32", "Receives the gradient with respect to `constants`, in units of sums.", "constants_count"
            ),
        },
    ),
    "window_workspace": Kernel(
        "Computes the size of the workspace of a window.",
        {},
        result=Result.SIZE,
        returns="The number of bytes that the kernels of windows need.",
        is_short=True,
    ),
    "window_gradient": Kernel(
        "Computes the gradient of a window's term of the loss of a fit; see `WindowLoss.gradients`.",
        {
            "window": FIT_WINDOW,
            "workspace": written("uint8", "Scratch memory, [`window_workspace()`]."),
            "temperature": real("The temperature of soft rounding."),
            "noise": real("The standard deviation of the noise."),
            "seed": Number(Kind.SEED, "The seed of the noise."),
            "grad_weights": written("float32", "Receives the gradient with respect to `weights`."),
            "grad_latents": written(
                "float32", "Receives the gradient with respect to the latents of `Windows.cut`, concatenated."
            ),
        },
    ),
    "window_costs": Kernel(
        "Computes the costs of integer symbols of a window; see `WindowLoss.costs`.",
        {
            "window": FIT_WINDOW,
            "workspace": written("uint8", "As in `window_gradient`."),
            "errors": written("float32", "Receives the squared error of each pixel.", "WINDOW * WINDOW"),
            "bits": written("float32", "Receives the bits of each symbol, grid by grid."),
        },
    ),
    "window_colours": Kernel(
        "Computes the colours of a window from integer symbols; see `WindowLoss.colours`.",
        {
            "window": FIT_WINDOW,
            "workspace": written("uint8", "As in `window_gradient`."),
            "decoded": written(
                "float32", "Receives the colours, [CHANNELS, WINDOW, WINDOW].", "CHANNELS * WINDOW * WINDOW"
            ),
        },
    ),
    "add_window_gradient": Kernel(
        "Adds the gradient of a window to grids of the image; see `Latents.add`.",
        {
            "place": PLACE,
            "grad_latents": read("float32", "The result of `window_gradient`."),
            "waiting": _grids("The gradient with respect to the latents of the image, added to.", is_written=True),
        },
        is_short=True,
    ),
    "move_latents": Kernel(
        "Updates the latents of a window by a step of Adam; see `Latents.move`.",
        {
            "place": PLACE,
            "values": _grids("The latents, updated.", is_written=True),
            "means": _grids("The running means of their gradients, updated.", is_written=True),
            "squares": _grids("The running means of the squares, updated.", is_written=True),
            "waiting": _grids("The gradients, reset to zero.", is_written=True),
            "rates": read(
                "float32", "The learning rate of each grid, corrected for the bias of the mean.", "GRID_LEVELS"
            ),
            "mean_fraction": real("The fraction of a gradient in the running mean."),
            "square_fraction": real("The fraction of a squared gradient in the running mean of squares."),
            "per_square_bias": real("The reciprocal of the bias of squares."),
            "epsilon": real("The number that is added to the square root."),
        },
        is_short=True,
    ),
    "look_up_samples": Kernel(
        "Looks up the samples of a channel in a table.",
        {
            "table": read("float32", "The value of each code value: 256 items for 8 bits, 65536 for 16."),
            "pixels": read("", "[N, C]."),
            "channel": size("The channel."),
            "count": size("N."),
            "channels": size("C."),
            "values": written("float32", "Receives the values, [N].", "count"),
        },
    ),
    "ssimulacra2_sums": Kernel(
        "Sums the errors of SSIMULACRA2 at one scale over the pixels of rows; see `metrics.ssimulacra2`.",
        {
            "strip": STRIP,
            "sums": written(
                "float64", "[3, 2, 3]: the sums of errors and of fourth powers of each component, added to.", "18"
            ),
        },
    ),
    "ssimulacra2_gradient": Kernel(
        "Computes the gradient of a weighted sum of the errors of SSIMULACRA2 at one scale, in rows of an image.",
        {
            "strip": STRIP,
            "error_weights": read("float32", "[3, 2, 3]: the weights of errors and fourth powers in the sum.", "18"),
            "gradient": written(
                "float32",
                "Receives the gradient with respect to linear light, [3, H, W].",
                "CHANNELS * strip.height * strip.width",
            ),
        },
    ),
    "analyse_channel": Kernel(
        "Splits a channel at one decomposition level; see `codecs.wavelet.transform.analyse`.",
        {
            "plane": read("float32", "[height, width].", "height * width"),
            "height": size("The height of the plane."),
            "width": size("The width of the plane."),
            **{name: written("float32", "Receives the band.", length) for name, length in _HALVES.items()},
        },
    ),
    "pixels_to_planes": Kernel(
        "Converts pixels into planes; see `codecs.wavelet.colour.pixels_to_planes`.",
        {
            "pixels": read("", "[N, 3], uint8 or uint16."),
            "item_bytes": size("The number of bytes of a sample."),
            "count": size("N."),
            "basis": read("float32", "The plane values of one unit of each colour, [3, 3].", "CHANNELS * CHANNELS"),
            "scale": real("The number of code values of 8 bits in a code value."),
            "middle": real("The code value that is 0 in a plane."),
            "planes": written("float32", "Receives the planes, [3, N].", "CHANNELS * count"),
        },
    ),
    "count_bits": Kernel(
        "Counts the bits of symbols under their tables.",
        {
            "symbols": read("int32", "[N]."),
            "table": read("int16", "The table of each symbol.", "symbols_count"),
            "sign": read("int32", "The sign of each symbol's table.", "symbols_count"),
            "bits": read("float32", "The bits of each entry of each table, [tables, TABLE_SIZE]."),
            "total": written("float64", "Receives the sum over symbols that are entries of direct tables.", "1"),
        },
        result=Result.SIZE,
        returns="The number of other symbols.",
        has_targets=False,
    ),
    "choose_paths": Kernel(
        "Chooses the symbols of rows of cells; see `trellis_search.PathChooser`.",
        {
            "passes": Groups(PATH_PASS, MAX_PASSES, "The coding passes of the level."),
            "has_costs": Number(Kind.TRUTH, "Indicates whether there are dependency costs."),
            "bit_cost": real("The cost of a bit."),
            "rescaled": read("int16", "The table to use in place of each table.", "bits_count / TABLE_SIZE"),
            "bits": read("float32", "The rate cost of each entry of each table, [tables, TABLE_SIZE]."),
            "offsets": read(
                "float32", "The reconstruction offset of each entry, in steps, of the same shape.", "bits_count"
            ),
            "zero_limits": read(
                "float32",
                "The magnitudes of coefficients up to which zero costs the least under each table; see `zero_limits`.",
                "bits_count / TABLE_SIZE",
            ),
            "companded": read("float32", "The companding of magnitudes.", "1"),
            "transitions": read(
                "int8", "The previous states of each state, and the branches, [STATES, 4].", "4 * STATES"
            ),
            "columns": size("The number of cells per row."),
            "first_row": size("The first of the rows."),
            "last_row": size("The row after the last."),
        },
    ),
}
