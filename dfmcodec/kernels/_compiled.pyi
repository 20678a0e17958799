"""The compiled kernels. Arrays are C-contiguous. A kernel raises ValueError for an array that is
too short or whose items have another size, and for a position outside its array.

Made by packaging/kernels/make_kernel_interface.py; `kernel_interface.py` describes the arguments.
"""

# fmt: off
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

def return_memory() -> bool:
    """Returns the memory of freed arrays to the operating system; returns whether there was any."""

def share_memory() -> bool:
    """Makes all threads take memory from one place; returns whether that is possible."""

def use_instruction_set(name: str) -> None:
    """Uses one of `instruction_sets` from now on, in the complete process."""

def start_decoding(*, state: npt.NDArray[np.uint64], words: npt.NDArray[np.uint32]) -> None: ...
def decode_highs(
    *, state: npt.NDArray[np.uint64], words: npt.NDArray[np.uint32], cumulative: npt.NDArray[np.uint32], guide: UInt8,
    shifts: Int32, numbers: npt.NDArray[np.int16], is_sorted: bool, order: Int32, highs: Int32,
) -> int: ...
def decode_bits(*, state: npt.NDArray[np.uint64], words: npt.NDArray[np.uint32], bits: int, values: Int32) -> bool: ...
def choose_tables(*, coding_pass: ContextPass, table: npt.NDArray[np.int16], sign: Int32, hidden: UInt8) -> None: ...
def choose_wavefront_tables(
    *, network: GridNetworkWeights, plane: Float32, causal: npt.NDArray[np.int64], plane_start: int,
    plane_stride: int, coarser: Int8, coarser_start: int, coarser_stride: int, count: int,
    table: npt.NDArray[np.int16], sign: Int32, middle: Int32,
) -> None: ...
def accept_wavefront(
    *, symbols: Int32, companded: Float32, grid: Int32, grid_start: int, grid_stride: int, plane: Float32,
    plane_start: int, plane_stride: int,
) -> None: ...
def correction_residual(
    *, weights: Int8, first_constants: Int32, factors: Int32, depth: int, samples: Int32, channels: int, height: int,
    width: int, step_size: int, block_height: int, block_width: int, residual: Float32,
) -> None: ...
def filter_residual(
    *, weights: Float32, taps: Int32, radius: int, samples: Int32, channels: int, height: int, width: int,
    residual: Float32,
) -> None: ...
def planes_to_pixels(
    *, planes: Float32, channels: int, height: int, width: int, basis: Float32, scale: float, middle: float,
    peak: float, pixels: npt.NDArray[np.unsignedinteger[Any]],
) -> None: ...
def accept_symbols(
    *, symbols: Int32, table: npt.NDArray[np.int16], sign: Int32, offsets: Int32, next_state: Int8, rows: int,
    columns: int, states: Int8, state_stride: int, companded: Int8, plane: Int8, plane_start: int, plane_stride: int,
    fine: Int32, fine_start: int, fine_stride: int,
) -> None: ...
def synthesise_channel(
    *, low: Int32, band_0: Int32, band_1: Int32, band_2: Int32, step_0: int, step_1: int, step_2: int, height: int,
    width: int, stride: int, samples: Int32,
) -> None: ...
def low_differences(
    *, low: Int32, height: int, width: int, level_step: int, offsets: Int32, companded: Int32, first_row: int,
    last_row: int, differences: Int8,
) -> None: ...
def encode_entries(
    *, state: npt.NDArray[np.uint64], cumulative: npt.NDArray[np.uint32], numbers: npt.NDArray[np.int16],
    is_sorted: bool, order: Int32, entries: Int32, out: npt.NDArray[np.uint32],
) -> int: ...
def encode_bits(*, state: npt.NDArray[np.uint64], bits: int, values: Int32, out: npt.NDArray[np.uint32]) -> int: ...
def end_encoding(*, state: npt.NDArray[np.uint64], out: npt.NDArray[np.uint32]) -> int: ...
def add_context_gradient(
    *, coding_pass: ContextPass, table: npt.NDArray[np.int16], sign: Int32, hidden: UInt8, symbols: Int32,
    bits: Float32, scales: int, means: int, grad_symbols: Float32, grad_coarser: Float32,
) -> None: ...
def adaptation_gradient(
    *, hidden: UInt8, sums: Float32, band: npt.NDArray[np.int64], symbols: Int32, quantizers: Int8,
    chosen: npt.NDArray[np.int64], maps: Int32, constants: Int32, bits: Float32, scales: int, means: int,
    grad_maps: Float32, grad_constants: Float32,
) -> None: ...
def window_workspace() -> int: ...
def window_gradient(
    *, window: FitWindow, workspace: UInt8, temperature: float, noise: float, seed: int, grad_weights: Float32,
    grad_latents: Float32,
) -> None: ...
def window_costs(*, window: FitWindow, workspace: UInt8, errors: Float32, bits: Float32) -> None: ...
def window_colours(*, window: FitWindow, workspace: UInt8, decoded: Float32) -> None: ...
def add_window_gradient(*, place: WindowPlace, grad_latents: Float32, waiting: tuple[Float32, ...]) -> None: ...
def move_latents(
    *, place: WindowPlace, values: tuple[Float32, ...], means: tuple[Float32, ...], squares: tuple[Float32, ...],
    waiting: tuple[Float32, ...], rates: Float32, mean_fraction: float, square_fraction: float,
    per_square_bias: float, epsilon: float,
) -> None: ...
def look_up_samples(
    *, table: Float32, pixels: npt.NDArray[np.unsignedinteger[Any]], channel: int, count: int, channels: int,
    values: Float32,
) -> None: ...
def ssimulacra2_sums(*, strip: ComparedRows, sums: Float64) -> None: ...
def ssimulacra2_gradient(*, strip: ComparedRows, error_weights: Float32, gradient: Float32) -> None: ...
def analyse_channel(
    *, plane: Float32, height: int, width: int, low: Float32, band_0: Float32, band_1: Float32, band_2: Float32,
) -> None: ...
def pixels_to_planes(
    *, pixels: npt.NDArray[np.unsignedinteger[Any]], item_bytes: int, count: int, basis: Float32, scale: float,
    middle: float, planes: Float32,
) -> None: ...
def count_bits(*, symbols: Int32, table: npt.NDArray[np.int16], sign: Int32, bits: Float32, total: Float64) -> int: ...
def choose_paths(
    *, passes: Sequence[PathPass], has_costs: bool, bit_cost: float, rescaled: npt.NDArray[np.int16], bits: Float32,
    offsets: Float32, zero_limits: Float32, companded: Float32, transitions: Int8, columns: int, first_row: int,
    last_row: int,
) -> None: ...
