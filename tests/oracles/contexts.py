"""Gradients of the bits of the wavelet codec's context networks, in NumPy; see `sources`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from dfmcodec._types import Float32, Int32
from dfmcodec.codecs.wavelet.context import (
    ACTIVATION_MAX,
    DIRECT_TABLES,
    EMPTY_CONTEXT,
    LARGEST_MEAN,
    OUTPUT_SHIFT,
    SCALES,
    ContextModel,
    ContextNetwork,
    Indices,
    TableChoice,
    is_empty,
)
from dfmcodec.codecs.wavelet.encode.adaptation_fit import _adapted, _Sampled
from dfmcodec.codecs.wavelet.encode.dependency_costs import GatheredCosts
from dfmcodec.codecs.wavelet.encode.sources import ObservedSymbols
from dfmcodec.codecs.wavelet.neighbourhood import CausalContext, symbol_features, symbol_views
from dfmcodec.codecs.wavelet.passes import CodingPass, Rows, pass_slice
from dfmcodec.codecs.wavelet.traversal import tables_of_pass
from dfmcodec.codecs.wavelet.trellis import States
from dfmcodec.entropy.context_networks import ACTIVATION_SHIFT, activation
from dfmcodec.entropy.tables import RADIUS, UNIT_SCALE_INDEX
from dfmcodec.threads import in_threads

# Half the interval of the central differences that approximate slopes: about the effect of one
# symbol on outputs. The best measured value.
SLOPE_REACH = 2


def gradient_of_network(
    network: ContextNetwork,
    features: Float32,
    available: Indices,
    coding_pass: CodingPass,
    log_step: int,
    slopes: Callable[[Float32], Float32],
) -> Float32:
    """Returns the derivative of a cost with respect to the features that are symbols, float32
    [K', N], for the first K' of the available features.

    The floor function counts as the identity. The derivative of an empty context is 0. `slopes`
    maps (scale, mean) before rounding to the derivative of the cost with respect to them; both
    are [2, N].
    """
    w1 = network.w1[:, available]
    empty = is_empty(features, available, coding_pass.phase)
    sums_1 = w1 @ features + network.first_constants(coding_pass, log_step)[:, None]
    sums_2 = network.w2 @ activation(sums_1, ACTIVATION_MAX) + network.c2[:, None]
    sums_3 = network.w3 @ activation(sums_2, ACTIVATION_MAX) + network.last_constants(coding_pass, log_step)[:, None]
    outputs = sums_3 * np.float32(1 / OUTPUT_SHIFT)
    by_2 = _slope(sums_2) * (network.w3.T @ (slopes(outputs) * np.float32(1 / OUTPUT_SHIFT)))
    symbol_weights = w1[:, : np.searchsorted(available, symbol_features(coding_pass.phase))]
    by_features: Float32 = symbol_weights.T @ (_slope(sums_1) * (network.w2.T @ by_2)) * ~empty
    return by_features


def _slope(sums: Float32) -> Float32:
    """Returns the derivative of `activation`: 0 where the activation is 0 or ACTIVATION_MAX, as in
    C.
    """
    active = (sums >= ACTIVATION_SHIFT) & (sums < ACTIVATION_SHIFT * ACTIVATION_MAX)
    return active.astype(np.float32) * np.float32(1 / ACTIVATION_SHIFT)


def hidden(
    context: ContextModel, causal: CausalContext, coding_pass: CodingPass, rows: Rows, log_step: int
) -> npt.NDArray[np.uint8]:
    """Computes the inputs of the last layer for the symbols in some rows of a pass, by NumPy:
    uint8 [N, hidden_2]; EMPTY_CONTEXT for symbols whose context is empty. The arguments are
    those of `choose_tables`.
    """
    features, available = causal.features(coding_pass, rows), causal.available(coding_pass)
    found = context.networks[coding_pass.phase].hidden(features, available, coding_pass, log_step, np)
    found[:, is_empty(features, available, coding_pass.phase)] = EMPTY_CONTEXT
    return np.ascontiguousarray(found.T.astype(np.uint8))


def slopes_of_bits(context: ContextModel, outputs: Float32, symbols: Int32, quantizers: States) -> Float32:
    """Returns the derivative of the bits of symbols with respect to (scale, mean), as central
    differences, float32 [2, N].

    The bits are constant beyond the first and last tables, so an output far outside has slope
    0. `outputs` are (scale, mean) before rounding, float32 [2, N]; `symbols` are int32 [N],
    their `quantizers` int8 [N].
    """
    bits = context.bits_of_outputs
    last_scale, last_mean = SCALES - 1, 2 * LARGEST_MEAN
    scale, mean = np.rint(outputs).astype(np.intp) + np.array([[UNIT_SCALE_INDEX], [LARGEST_MEAN]])
    entry = np.clip(symbols, -RADIUS, RADIUS) + RADIUS
    lower, here, upper = (np.clip(scale + change, 0, last_scale) for change in (-SLOPE_REACH, 0, SLOPE_REACH))
    less, near, more = (np.clip(mean + change, 0, last_mean) for change in (-SLOPE_REACH, 0, SLOPE_REACH))
    by_scale = bits[quantizers, upper, near, entry] - bits[quantizers, lower, near, entry]
    by_mean = bits[quantizers, here, more, entry] - bits[quantizers, here, less, entry]
    return np.asarray(np.stack([by_scale, by_mean]) / (2 * SLOPE_REACH), dtype=np.float32)


def features_gradient(
    context: ContextModel,
    features: Float32,
    available: Indices,
    log_step: int,
    coding_pass: CodingPass,
    symbols: Int32,
    quantizers: States,
) -> Float32:
    """Returns the derivative of the bits of a pass's symbols with respect to the features that
    are symbols, float32 [K', N]; see `gradient_of_network`.

    Symbols under tables of large scales hardly depend on their context, so their derivative is
    0. `symbols` are int32 [N], their `quantizers` int8 [N].
    """
    slopes = partial(slopes_of_bits, context, symbols=symbols, quantizers=quantizers)
    return gradient_of_network(context.networks[coding_pass.phase], features, available, coding_pass, log_step, slopes)


def bits_of(context: ContextModel, symbols: Int32, choice: TableChoice) -> float:
    """Returns the bits of symbols, int32 [N], under their tables."""
    q = symbols * choice.sign
    direct = (choice.table < DIRECT_TABLES) & (np.abs(q) <= RADIUS)
    bits = context.bits_of_entries(choice.table[direct], q[direct] + RADIUS)
    return float(bits.sum(dtype=np.float64)) + context._bits_beyond(q, choice.table)


def observe(source: ObservedSymbols, coding_pass: CodingPass, causal: CausalContext, quantizers: States) -> TableChoice:
    """Chooses the tables of a pass, and adds the derivatives of its bits to the costs of its
    context.
    """
    available, columns = causal.available(coding_pass), causal.shape(coding_pass)[1]
    symbols = source.chosen[coding_pass]

    def gradient(rows: Rows) -> Float32:
        chosen = pass_slice(rows, columns)
        features = causal.features(coding_pass, rows)
        of_rows = coding_pass, symbols[chosen], quantizers[chosen]
        return features_gradient(source._context, features, available, source._log_step, *of_rows)

    blocks = list(causal.row_blocks(coding_pass))
    for rows, of_rows in zip(blocks, in_threads(gradient, blocks), strict=True):
        add_costs(source.observed, coding_pass, rows, columns, of_rows)
    if source._sample is not None:
        of_blocks = partial(hidden, source._context, causal, coding_pass, log_step=source._log_step)
        source._sample.add(coding_pass, np.concatenate(in_threads(of_blocks, blocks)), symbols, quantizers)
    return tables_of_pass(source._context, coding_pass, causal, quantizers, source._log_step)


def add_costs(
    costs: GatheredCosts, coding_pass: CodingPass, rows: Rows, columns: int, features_gradient: Float32
) -> None:
    """Adds the derivatives with respect to the symbol features of some rows, float32 [K', N],
    to the slopes of those symbols.
    """
    gradient = features_gradient.reshape(-1, len(rows), columns)
    by_level, by_coarser = costs.slopes_seen(coding_pass)
    signed, magnitudes = np.split(gradient, 2)
    row = 0
    for view in symbol_views(coding_pass, by_coarser is not costs._none):
        if not view.available:
            continue
        band = (by_coarser if view.coarser else by_level)[:, view.channel, view.orientation]
        windows = view.windows(rows, columns) if view.coarser else view.phase_windows(rows, columns)
        for window in windows:
            band[0][window] += signed[row]
            band[1][window] += magnitudes[row]
            row += 1


def adaptation_gradient(
    context: ContextModel, sampled: _Sampled, chosen: npt.NDArray[np.int64], maps: Int32, constants: Int32
) -> tuple[Float32, Float32]:
    """Returns the derivative of the bits of the chosen symbols with respect to maps, float32 [2,
    hidden_2], and to the constants added to the sums of each band, [bands, 2].
    """
    outputs = _adapted(sampled, chosen, maps, constants).T * np.float32(1 / OUTPUT_SHIFT)
    by_sums = slopes_of_bits(context, outputs, sampled.symbols[chosen], sampled.quantizer[chosen])
    by_band = [np.bincount(sampled.band[chosen], output_slopes, len(constants)) for output_slopes in by_sums]
    return by_sums @ sampled.hidden[chosen].astype(np.float32), np.stack(by_band, axis=1).astype(np.float32)
