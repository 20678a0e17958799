/* Made by packaging/kernels/make_kernel_interface.py: checks of arguments before each kernel, and where they are in its struct. */
#include "kernels.h"

static int run_start_decoding(Call *call, const void *arguments) {
    const StartDecoding *a = arguments;
    if (!has_items(call, a, state, 4)) return 0;
    return start_decoding(call, a);
}

static int run_decode_highs(Call *call, const void *arguments) {
    const DecodeHighs *a = arguments;
    if (!has_items(call, a, state, 4)) return 0;
    if (!has_items(call, a, cumulative, (a->guide_count >> GUIDE_BITS) * (TABLE_SIZE + 1))) return 0;
    if (!has_items(call, a, shifts, a->guide_count >> GUIDE_BITS)) return 0;
    if (!has_items(call, a, order, a->numbers_count)) return 0;
    if (!has_items(call, a, highs, a->numbers_count)) return 0;
    return decode_highs(call, a);
}

static int run_decode_bits(Call *call, const void *arguments) {
    const DecodeBits *a = arguments;
    if (!has_items(call, a, state, 4)) return 0;
    return decode_bits(call, a);
}

static int run_choose_tables(Call *call, const void *arguments) {
    const ChooseTables *a = arguments;
    if (!SIZES(a->coding_pass.rows, a->coding_pass.columns)) return refuse_sizes(call);
    if (!has_items(call, a, coding_pass.w2, a->coding_pass.c1_count * a->coding_pass.c2_count)) return 0;
    if (!has_items(call, a, coding_pass.w3, 2 * a->coding_pass.c2_count)) return 0;
    if (!has_items(call, a, coding_pass.c3, 2)) return 0;
    if (!has_items(call, a, coding_pass.quantizers, a->coding_pass.rows * a->coding_pass.columns)) return 0;
    if (!has_items(call, a, coding_pass.class_of_mean, 1)) return 0;
    if (!has_items(call, a, table, a->coding_pass.rows * a->coding_pass.columns)) return 0;
    if (!has_items(call, a, sign, a->coding_pass.rows * a->coding_pass.columns)) return 0;
    return CHOSEN(choose_tables)(call, a);
}

static int run_choose_wavefront_tables(Call *call, const void *arguments) {
    const ChooseWavefrontTables *a = arguments;
    if (!SIZES(a->plane_stride, a->coarser_stride, a->count)) return refuse_sizes(call);
    if (!has_items(call, a, network.first, GRID_FEATURES * a->network.constants_count)) return 0;
    if (!has_items(call, a, network.second, (a->network.constants_count - 2) * a->network.second_constants_count)) return 0;
    if (!has_items(call, a, network.last, 2 * a->network.second_constants_count)) return 0;
    if (!has_items(call, a, causal, CAUSAL_FEATURES)) return 0;
    if (!has_items(call, a, table, a->count)) return 0;
    if (!has_items(call, a, sign, a->count)) return 0;
    if (!has_items(call, a, middle, a->count)) return 0;
    return CHOSEN(choose_wavefront_tables)(call, a);
}

static int run_accept_wavefront(Call *call, const void *arguments) {
    const AcceptWavefront *a = arguments;
    if (!SIZES(a->grid_stride, a->plane_stride)) return refuse_sizes(call);
    return CHOSEN(accept_wavefront)(call, a);
}

static int run_correction_residual(Call *call, const void *arguments) {
    const CorrectionResidual *a = arguments;
    if (!SIZES(a->channels, a->height, a->width, a->block_height, a->block_width)) return refuse_sizes(call);
    if (!has_items(call, a, samples, a->channels * a->height * a->width)) return 0;
    if (!has_items(call, a, residual, a->channels * a->block_height * a->block_width)) return 0;
    return CHOSEN(correction_residual)(call, a);
}

static int run_filter_residual(Call *call, const void *arguments) {
    const FilterResidual *a = arguments;
    if (!SIZES(a->channels, a->height, a->width)) return refuse_sizes(call);
    if (!has_items(call, a, weights, a->taps_count / 2 * a->channels * a->channels)) return 0;
    if (!has_items(call, a, samples, a->channels * (a->height + 2 * a->radius) * (a->width + 2 * a->radius))) return 0;
    if (!has_items(call, a, residual, a->channels * a->height * a->width)) return 0;
    return CHOSEN(filter_residual)(call, a);
}

static int run_planes_to_pixels(Call *call, const void *arguments) {
    const PlanesToPixels *a = arguments;
    if (!SIZES(a->channels, a->height, a->width)) return refuse_sizes(call);
    if (!has_items(call, a, planes, a->channels * a->height * a->width)) return 0;
    if (!has_items(call, a, basis, CHANNELS * CHANNELS)) return 0;
    return CHOSEN(planes_to_pixels)(call, a);
}

static int run_accept_symbols(Call *call, const void *arguments) {
    const AcceptSymbols *a = arguments;
    if (!SIZES(a->rows, a->columns, a->state_stride, a->plane_stride, a->fine_stride)) return refuse_sizes(call);
    if (!has_items(call, a, symbols, a->rows * a->columns)) return 0;
    if (!has_items(call, a, table, a->rows * a->columns)) return 0;
    if (!has_items(call, a, sign, a->rows * a->columns)) return 0;
    if (!has_items(call, a, next_state, 2 * STATES)) return 0;
    if (!has_items(call, a, states, a->rows < 1 ? 0 : (a->rows - 1) * a->state_stride + a->columns)) return 0;
    if (!has_items(call, a, companded, 1)) return 0;
    return CHOSEN(accept_symbols)(call, a);
}

static int run_synthesise_channel(Call *call, const void *arguments) {
    const SynthesiseChannel *a = arguments;
    if (!SIZES(a->height, a->width)) return refuse_sizes(call);
    if (!has_items(call, a, low, (a->height + 1) / 2 * ((a->width + 1) / 2))) return 0;
    if (!has_items(call, a, band_0, (a->height + 1) / 2 * (a->width / 2))) return 0;
    if (!has_items(call, a, band_1, a->height / 2 * ((a->width + 1) / 2))) return 0;
    if (!has_items(call, a, band_2, a->height / 2 * (a->width / 2))) return 0;
    if (!has_items(call, a, samples, a->height * a->width)) return 0;
    return CHOSEN(synthesise_channel)(call, a);
}

static int run_low_differences(Call *call, const void *arguments) {
    const LowDifferences *a = arguments;
    if (!SIZES(a->height, a->width, a->first_row, a->last_row)) return refuse_sizes(call);
    if (!has_items(call, a, low, a->height * a->width)) return 0;
    if (!has_items(call, a, companded, 1)) return 0;
    if (!has_items(call, a, differences, 4 * (a->offsets_count / 2) * ((a->height + 1) / 2) * ((a->width + 1) / 2))) return 0;
    return CHOSEN(low_differences)(call, a);
}

#if ON_WASM

_Static_assert(sizeof(StartDecoding) == 16, "start_decoding");
_Static_assert(sizeof(DecodeHighs) == 68, "decode_highs");
_Static_assert(sizeof(DecodeBits) == 28, "decode_bits");
_Static_assert(sizeof(ChooseTables) == 140, "choose_tables");
_Static_assert(sizeof(ChooseWavefrontTables) == 108, "choose_wavefront_tables");
_Static_assert(sizeof(AcceptWavefront) == 48, "accept_wavefront");
_Static_assert(sizeof(CorrectionResidual) == 68, "correction_residual");
_Static_assert(sizeof(FilterResidual) == 48, "filter_residual");
_Static_assert(sizeof(PlanesToPixels) == 64, "planes_to_pixels");
_Static_assert(sizeof(AcceptSymbols) == 100, "accept_symbols");
_Static_assert(sizeof(SynthesiseChannel) == 60, "synthesise_channel");
_Static_assert(sizeof(LowDifferences) == 52, "low_differences");

int (*const RUN_KERNEL[])(Call *, const void *) = {
    run_start_decoding,
    run_decode_highs,
    run_decode_bits,
    run_choose_tables,
    run_choose_wavefront_tables,
    run_accept_wavefront,
    run_correction_residual,
    run_filter_residual,
    run_planes_to_pixels,
    run_accept_symbols,
    run_synthesise_channel,
    run_low_differences,
};

#else

static int check_PathPass(Call *call, const PathPass *a) {
    if (!SIZES(a->rows, a->columns)) return refuse_sizes(call);
    if (!has_items(call, a, coefficients, a->rows * a->columns)) return 0;
    if (!has_items(call, a, weights, a->rows * a->columns)) return 0;
    if (!has_items(call, a, signs, a->rows * a->columns)) return 0;
    if (!has_items(call, a, tables, a->rows * a->columns)) return 0;
    if (!has_items(call, a, symbols, a->rows * a->columns)) return 0;
    return 1;
}

static int run_encode_entries(Call *call, const void *arguments) {
    const EncodeEntries *a = arguments;
    if (!has_items(call, a, state, 4)) return 0;
    if (!has_items(call, a, order, a->numbers_count)) return 0;
    if (!has_items(call, a, entries, a->numbers_count)) return 0;
    return encode_entries(call, a);
}

static int run_encode_bits(Call *call, const void *arguments) {
    const EncodeBits *a = arguments;
    if (!has_items(call, a, state, 4)) return 0;
    return encode_bits(call, a);
}

static int run_end_encoding(Call *call, const void *arguments) {
    const EndEncoding *a = arguments;
    if (!has_items(call, a, state, 4)) return 0;
    return end_encoding(call, a);
}

static int run_add_context_gradient(Call *call, const void *arguments) {
    const AddContextGradient *a = arguments;
    if (!SIZES(a->coding_pass.rows, a->coding_pass.columns)) return refuse_sizes(call);
    if (!has_items(call, a, coding_pass.w2, a->coding_pass.c1_count * a->coding_pass.c2_count)) return 0;
    if (!has_items(call, a, coding_pass.w3, 2 * a->coding_pass.c2_count)) return 0;
    if (!has_items(call, a, coding_pass.c3, 2)) return 0;
    if (!has_items(call, a, coding_pass.quantizers, a->coding_pass.rows * a->coding_pass.columns)) return 0;
    if (!has_items(call, a, coding_pass.class_of_mean, 1)) return 0;
    if (!has_items(call, a, table, a->coding_pass.rows * a->coding_pass.columns)) return 0;
    if (!has_items(call, a, sign, a->coding_pass.rows * a->coding_pass.columns)) return 0;
    if (!has_items(call, a, symbols, a->coding_pass.rows * a->coding_pass.columns)) return 0;
    return CHOSEN(add_context_gradient)(call, a);
}

static int run_adaptation_gradient(Call *call, const void *arguments) {
    const AdaptationGradient *a = arguments;
    if (!has_items(call, a, hidden, a->symbols_count * (a->maps_count / 2))) return 0;
    if (!has_items(call, a, sums, 2 * a->symbols_count)) return 0;
    if (!has_items(call, a, band, a->symbols_count)) return 0;
    if (!has_items(call, a, quantizers, a->symbols_count)) return 0;
    if (!has_items(call, a, grad_maps, a->maps_count)) return 0;
    if (!has_items(call, a, grad_constants, a->constants_count)) return 0;
    return CHOSEN(adaptation_gradient)(call, a);
}

static int run_window_workspace(Call *call, const void *arguments) {
    const WindowWorkspace *a = arguments;
    return CHOSEN(window_workspace)(call, a);
}

static int run_window_gradient(Call *call, const void *arguments) {
    const WindowGradient *a = arguments;
    if (!SIZES(a->window.place.height, a->window.place.width)) return refuse_sizes(call);
    if (!has_items(call, a, window.companding, 2)) return 0;
    if (!has_items(call, a, window.colours, CHANNELS * WINDOW * WINDOW)) return 0;
    if (!has_items(call, a, window.pixel_weights, WINDOW * WINDOW)) return 0;
    return CHOSEN(window_gradient)(call, a);
}

static int run_window_costs(Call *call, const void *arguments) {
    const WindowCosts *a = arguments;
    if (!SIZES(a->window.place.height, a->window.place.width)) return refuse_sizes(call);
    if (!has_items(call, a, window.companding, 2)) return 0;
    if (!has_items(call, a, window.colours, CHANNELS * WINDOW * WINDOW)) return 0;
    if (!has_items(call, a, window.pixel_weights, WINDOW * WINDOW)) return 0;
    if (!has_items(call, a, errors, WINDOW * WINDOW)) return 0;
    return CHOSEN(window_costs)(call, a);
}

static int run_add_window_gradient(Call *call, const void *arguments) {
    const AddWindowGradient *a = arguments;
    if (!SIZES(a->place.height, a->place.width)) return refuse_sizes(call);
    return CHOSEN(add_window_gradient)(call, a);
}

static int run_move_latents(Call *call, const void *arguments) {
    const MoveLatents *a = arguments;
    if (!SIZES(a->place.height, a->place.width)) return refuse_sizes(call);
    if (!has_items(call, a, rates, GRID_LEVELS)) return 0;
    return CHOSEN(move_latents)(call, a);
}

static int run_look_up_samples(Call *call, const void *arguments) {
    const LookUpSamples *a = arguments;
    if (!SIZES(a->channel, a->count, a->channels)) return refuse_sizes(call);
    if (!has_items(call, a, values, a->count)) return 0;
    return CHOSEN(look_up_samples)(call, a);
}

static int run_ssimulacra2_sums(Call *call, const void *arguments) {
    const Ssimulacra2Sums *a = arguments;
    if (!SIZES(a->strip.height, a->strip.width, a->strip.first_row, a->strip.last_row)) return refuse_sizes(call);
    if (!has_items(call, a, strip.original, CHANNELS * a->strip.height * a->strip.width)) return 0;
    if (!has_items(call, a, strip.decoded, CHANNELS * a->strip.height * a->strip.width)) return 0;
    if (!has_items(call, a, strip.absorbance, CHANNELS * CHANNELS)) return 0;
    if (!has_items(call, a, strip.taps, 5)) return 0;
    if (!has_items(call, a, sums, 18)) return 0;
    return CHOSEN(ssimulacra2_sums)(call, a);
}

static int run_ssimulacra2_gradient(Call *call, const void *arguments) {
    const Ssimulacra2Gradient *a = arguments;
    if (!SIZES(a->strip.height, a->strip.width, a->strip.first_row, a->strip.last_row)) return refuse_sizes(call);
    if (!has_items(call, a, strip.original, CHANNELS * a->strip.height * a->strip.width)) return 0;
    if (!has_items(call, a, strip.decoded, CHANNELS * a->strip.height * a->strip.width)) return 0;
    if (!has_items(call, a, strip.absorbance, CHANNELS * CHANNELS)) return 0;
    if (!has_items(call, a, strip.taps, 5)) return 0;
    if (!has_items(call, a, error_weights, 18)) return 0;
    if (!has_items(call, a, gradient, CHANNELS * a->strip.height * a->strip.width)) return 0;
    return CHOSEN(ssimulacra2_gradient)(call, a);
}

static int run_analyse_channel(Call *call, const void *arguments) {
    const AnalyseChannel *a = arguments;
    if (!SIZES(a->height, a->width)) return refuse_sizes(call);
    if (!has_items(call, a, plane, a->height * a->width)) return 0;
    if (!has_items(call, a, low, (a->height + 1) / 2 * ((a->width + 1) / 2))) return 0;
    if (!has_items(call, a, band_0, (a->height + 1) / 2 * (a->width / 2))) return 0;
    if (!has_items(call, a, band_1, a->height / 2 * ((a->width + 1) / 2))) return 0;
    if (!has_items(call, a, band_2, a->height / 2 * (a->width / 2))) return 0;
    return CHOSEN(analyse_channel)(call, a);
}

static int run_choose_paths(Call *call, const void *arguments) {
    const ChoosePaths *a = arguments;
    if (!SIZES(a->columns, a->first_row, a->last_row)) return refuse_sizes(call);
    for (ptrdiff_t n = 0; n < a->passes_count; n++)
        if (!check_PathPass(call, &a->passes[n])) return 0;
    if (!has_items(call, a, offsets, a->bits_count)) return 0;
    if (!has_items(call, a, companded, 1)) return 0;
    if (!has_items(call, a, transitions, 4 * STATES)) return 0;
    return CHOSEN(choose_paths)(call, a);
}

static const Field context_pass_fields[] = {
    {.name = "w1", .offset = offsetof(ContextPass, w1), .count_offset = offsetof(ContextPass, w1_count), .kind = READ_FIELD, .item_bytes = sizeof(int8_t), .most = 1},
    {.name = "c1", .offset = offsetof(ContextPass, c1), .count_offset = offsetof(ContextPass, c1_count), .kind = READ_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "w2", .offset = offsetof(ContextPass, w2), .count_offset = offsetof(ContextPass, w2_count), .kind = READ_FIELD, .item_bytes = sizeof(int8_t), .most = 1},
    {.name = "c2", .offset = offsetof(ContextPass, c2), .count_offset = offsetof(ContextPass, c2_count), .kind = READ_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "w3", .offset = offsetof(ContextPass, w3), .count_offset = offsetof(ContextPass, w3_count), .kind = READ_FIELD, .item_bytes = sizeof(int8_t), .most = 1},
    {.name = "c3", .offset = offsetof(ContextPass, c3), .count_offset = offsetof(ContextPass, c3_count), .kind = READ_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "available", .offset = offsetof(ContextPass, available), .count_offset = offsetof(ContextPass, available_count), .kind = READ_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "signed_count", .offset = offsetof(ContextPass, signed_count), .kind = INTEGER_FIELD},
    {.name = "symbols", .offset = offsetof(ContextPass, symbols), .count_offset = offsetof(ContextPass, symbols_count), .kind = READ_FIELD, .item_bytes = sizeof(int8_t), .most = 1},
    {.name = "coarser", .offset = offsetof(ContextPass, coarser), .count_offset = offsetof(ContextPass, coarser_count), .kind = READ_FIELD, .item_bytes = sizeof(int8_t), .most = 1},
    {.name = "differences", .offset = offsetof(ContextPass, differences), .count_offset = offsetof(ContextPass, differences_count), .kind = READ_FIELD, .item_bytes = sizeof(int8_t), .most = 1},
    {.name = "views", .offset = offsetof(ContextPass, views), .count_offset = offsetof(ContextPass, views_count), .kind = READ_FIELD, .item_bytes = sizeof(int64_t), .most = 1},
    {.name = "rows", .offset = offsetof(ContextPass, rows), .kind = SIZE_FIELD},
    {.name = "columns", .offset = offsetof(ContextPass, columns), .kind = SIZE_FIELD},
    {.name = "quantizers", .offset = offsetof(ContextPass, quantizers), .count_offset = offsetof(ContextPass, quantizers_count), .kind = READ_FIELD, .item_bytes = sizeof(int8_t), .most = 1},
    {.name = "class_of_mean", .offset = offsetof(ContextPass, class_of_mean), .count_offset = offsetof(ContextPass, class_of_mean_count), .kind = READ_FIELD, .item_bytes = sizeof(int16_t), .most = 1},
};
static const Field grid_network_weights_fields[] = {
    {.name = "first", .offset = offsetof(GridNetworkWeights, first), .count_offset = offsetof(GridNetworkWeights, first_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "constants", .offset = offsetof(GridNetworkWeights, constants), .count_offset = offsetof(GridNetworkWeights, constants_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "second", .offset = offsetof(GridNetworkWeights, second), .count_offset = offsetof(GridNetworkWeights, second_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "second_constants", .offset = offsetof(GridNetworkWeights, second_constants), .count_offset = offsetof(GridNetworkWeights, second_constants_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "last", .offset = offsetof(GridNetworkWeights, last), .count_offset = offsetof(GridNetworkWeights, last_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
};
static const Field window_place_fields[] = {
    {.name = "top", .offset = offsetof(WindowPlace, top), .kind = INDEX_FIELD},
    {.name = "left", .offset = offsetof(WindowPlace, left), .kind = INDEX_FIELD},
    {.name = "height", .offset = offsetof(WindowPlace, height), .kind = SIZE_FIELD},
    {.name = "width", .offset = offsetof(WindowPlace, width), .kind = SIZE_FIELD},
};
static const Field fit_window_fields[] = {
    {.name = "weights", .offset = offsetof(FitWindow, weights), .count_offset = offsetof(FitWindow, weights_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "width", .offset = offsetof(FitWindow, width), .kind = INTEGER_FIELD},
    {.name = "units", .offset = offsetof(FitWindow, units), .kind = INTEGER_FIELD},
    {.name = "companding", .offset = offsetof(FitWindow, companding), .count_offset = offsetof(FitWindow, companding_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "activation_max", .offset = offsetof(FitWindow, activation_max), .kind = REAL_FIELD},
    {.name = "place", .offset = offsetof(FitWindow, place), .kind = GROUP_FIELD, .fields = window_place_fields, .field_count = 4},
    {.name = "lmbda", .offset = offsetof(FitWindow, lmbda), .kind = REAL_FIELD},
    {.name = "step_size", .offset = offsetof(FitWindow, step_size), .kind = REAL_FIELD},
    {.name = "peak", .offset = offsetof(FitWindow, peak), .kind = REAL_FIELD},
    {.name = "colours", .offset = offsetof(FitWindow, colours), .count_offset = offsetof(FitWindow, colours_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "pixel_weights", .offset = offsetof(FitWindow, pixel_weights), .count_offset = offsetof(FitWindow, pixel_weights_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "grids", .offset = offsetof(FitWindow, grids), .count_offset = offsetof(FitWindow, grids_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 7},
};
static const Field compared_rows_fields[] = {
    {.name = "original", .offset = offsetof(ComparedRows, original), .count_offset = offsetof(ComparedRows, original_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "decoded", .offset = offsetof(ComparedRows, decoded), .count_offset = offsetof(ComparedRows, decoded_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "height", .offset = offsetof(ComparedRows, height), .kind = SIZE_FIELD},
    {.name = "width", .offset = offsetof(ComparedRows, width), .kind = SIZE_FIELD},
    {.name = "first_row", .offset = offsetof(ComparedRows, first_row), .kind = SIZE_FIELD},
    {.name = "last_row", .offset = offsetof(ComparedRows, last_row), .kind = SIZE_FIELD},
    {.name = "absorbance", .offset = offsetof(ComparedRows, absorbance), .count_offset = offsetof(ComparedRows, absorbance_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "bias", .offset = offsetof(ComparedRows, bias), .kind = REAL_FIELD},
    {.name = "bias_root", .offset = offsetof(ComparedRows, bias_root), .kind = REAL_FIELD},
    {.name = "taps", .offset = offsetof(ComparedRows, taps), .count_offset = offsetof(ComparedRows, taps_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "constant", .offset = offsetof(ComparedRows, constant), .kind = REAL_FIELD},
};
static const Field path_pass_fields[] = {
    {.name = "rows", .offset = offsetof(PathPass, rows), .kind = SIZE_FIELD},
    {.name = "columns", .offset = offsetof(PathPass, columns), .kind = SIZE_FIELD},
    {.name = "coefficients", .offset = offsetof(PathPass, coefficients), .count_offset = offsetof(PathPass, coefficients_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "weights", .offset = offsetof(PathPass, weights), .count_offset = offsetof(PathPass, weights_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "signs", .offset = offsetof(PathPass, signs), .count_offset = offsetof(PathPass, signs_count), .kind = READ_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "tables", .offset = offsetof(PathPass, tables), .count_offset = offsetof(PathPass, tables_count), .kind = READ_FIELD, .item_bytes = sizeof(int16_t), .most = 1},
    {.name = "signed_costs", .offset = offsetof(PathPass, signed_costs), .count_offset = offsetof(PathPass, signed_costs_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "magnitude_costs", .offset = offsetof(PathPass, magnitude_costs), .count_offset = offsetof(PathPass, magnitude_costs_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "symbols", .offset = offsetof(PathPass, symbols), .count_offset = offsetof(PathPass, symbols_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
};
static const Field start_decoding_fields[] = {
    {.name = "state", .offset = offsetof(StartDecoding, state), .count_offset = offsetof(StartDecoding, state_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(uint64_t), .most = 1},
    {.name = "words", .offset = offsetof(StartDecoding, words), .count_offset = offsetof(StartDecoding, words_count), .kind = READ_FIELD, .item_bytes = sizeof(uint32_t), .most = 1},
};
static const Field decode_highs_fields[] = {
    {.name = "state", .offset = offsetof(DecodeHighs, state), .count_offset = offsetof(DecodeHighs, state_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(uint64_t), .most = 1},
    {.name = "words", .offset = offsetof(DecodeHighs, words), .count_offset = offsetof(DecodeHighs, words_count), .kind = READ_FIELD, .item_bytes = sizeof(uint32_t), .most = 1},
    {.name = "cumulative", .offset = offsetof(DecodeHighs, cumulative), .count_offset = offsetof(DecodeHighs, cumulative_count), .kind = READ_FIELD, .item_bytes = sizeof(uint32_t), .most = 1},
    {.name = "guide", .offset = offsetof(DecodeHighs, guide), .count_offset = offsetof(DecodeHighs, guide_count), .kind = READ_FIELD, .item_bytes = sizeof(uint8_t), .most = 1},
    {.name = "shifts", .offset = offsetof(DecodeHighs, shifts), .count_offset = offsetof(DecodeHighs, shifts_count), .kind = READ_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "numbers", .offset = offsetof(DecodeHighs, numbers), .count_offset = offsetof(DecodeHighs, numbers_count), .kind = READ_FIELD, .item_bytes = sizeof(int16_t), .most = 1},
    {.name = "is_sorted", .offset = offsetof(DecodeHighs, is_sorted), .kind = TRUTH_FIELD},
    {.name = "order", .offset = offsetof(DecodeHighs, order), .count_offset = offsetof(DecodeHighs, order_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "highs", .offset = offsetof(DecodeHighs, highs), .count_offset = offsetof(DecodeHighs, highs_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
};
static const Field decode_bits_fields[] = {
    {.name = "state", .offset = offsetof(DecodeBits, state), .count_offset = offsetof(DecodeBits, state_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(uint64_t), .most = 1},
    {.name = "words", .offset = offsetof(DecodeBits, words), .count_offset = offsetof(DecodeBits, words_count), .kind = READ_FIELD, .item_bytes = sizeof(uint32_t), .most = 1},
    {.name = "bits", .offset = offsetof(DecodeBits, bits), .kind = INTEGER_FIELD},
    {.name = "values", .offset = offsetof(DecodeBits, values), .count_offset = offsetof(DecodeBits, values_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
};
static const Field choose_tables_fields[] = {
    {.name = "coding_pass", .offset = offsetof(ChooseTables, coding_pass), .kind = GROUP_FIELD, .fields = context_pass_fields, .field_count = 16},
    {.name = "table", .offset = offsetof(ChooseTables, table), .count_offset = offsetof(ChooseTables, table_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(int16_t), .most = 1},
    {.name = "sign", .offset = offsetof(ChooseTables, sign), .count_offset = offsetof(ChooseTables, sign_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "hidden", .offset = offsetof(ChooseTables, hidden), .count_offset = offsetof(ChooseTables, hidden_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(uint8_t), .most = 1},
};
static const Field choose_wavefront_tables_fields[] = {
    {.name = "network", .offset = offsetof(ChooseWavefrontTables, network), .kind = GROUP_FIELD, .fields = grid_network_weights_fields, .field_count = 5},
    {.name = "plane", .offset = offsetof(ChooseWavefrontTables, plane), .count_offset = offsetof(ChooseWavefrontTables, plane_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "causal", .offset = offsetof(ChooseWavefrontTables, causal), .count_offset = offsetof(ChooseWavefrontTables, causal_count), .kind = READ_FIELD, .item_bytes = sizeof(int64_t), .most = 1},
    {.name = "plane_start", .offset = offsetof(ChooseWavefrontTables, plane_start), .kind = INDEX_FIELD},
    {.name = "plane_stride", .offset = offsetof(ChooseWavefrontTables, plane_stride), .kind = SIZE_FIELD},
    {.name = "coarser", .offset = offsetof(ChooseWavefrontTables, coarser), .count_offset = offsetof(ChooseWavefrontTables, coarser_count), .kind = READ_FIELD, .item_bytes = sizeof(int8_t), .most = 1},
    {.name = "coarser_start", .offset = offsetof(ChooseWavefrontTables, coarser_start), .kind = INDEX_FIELD},
    {.name = "coarser_stride", .offset = offsetof(ChooseWavefrontTables, coarser_stride), .kind = SIZE_FIELD},
    {.name = "count", .offset = offsetof(ChooseWavefrontTables, count), .kind = SIZE_FIELD},
    {.name = "table", .offset = offsetof(ChooseWavefrontTables, table), .count_offset = offsetof(ChooseWavefrontTables, table_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(int16_t), .most = 1},
    {.name = "sign", .offset = offsetof(ChooseWavefrontTables, sign), .count_offset = offsetof(ChooseWavefrontTables, sign_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "middle", .offset = offsetof(ChooseWavefrontTables, middle), .count_offset = offsetof(ChooseWavefrontTables, middle_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
};
static const Field accept_wavefront_fields[] = {
    {.name = "symbols", .offset = offsetof(AcceptWavefront, symbols), .count_offset = offsetof(AcceptWavefront, symbols_count), .kind = READ_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "companded", .offset = offsetof(AcceptWavefront, companded), .count_offset = offsetof(AcceptWavefront, companded_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "grid", .offset = offsetof(AcceptWavefront, grid), .count_offset = offsetof(AcceptWavefront, grid_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "grid_start", .offset = offsetof(AcceptWavefront, grid_start), .kind = INDEX_FIELD},
    {.name = "grid_stride", .offset = offsetof(AcceptWavefront, grid_stride), .kind = SIZE_FIELD},
    {.name = "plane", .offset = offsetof(AcceptWavefront, plane), .count_offset = offsetof(AcceptWavefront, plane_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "plane_start", .offset = offsetof(AcceptWavefront, plane_start), .kind = INDEX_FIELD},
    {.name = "plane_stride", .offset = offsetof(AcceptWavefront, plane_stride), .kind = SIZE_FIELD},
};
static const Field correction_residual_fields[] = {
    {.name = "weights", .offset = offsetof(CorrectionResidual, weights), .count_offset = offsetof(CorrectionResidual, weights_count), .kind = READ_FIELD, .item_bytes = sizeof(int8_t), .most = 1},
    {.name = "first_constants", .offset = offsetof(CorrectionResidual, first_constants), .count_offset = offsetof(CorrectionResidual, first_constants_count), .kind = READ_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "factors", .offset = offsetof(CorrectionResidual, factors), .count_offset = offsetof(CorrectionResidual, factors_count), .kind = READ_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "depth", .offset = offsetof(CorrectionResidual, depth), .kind = INTEGER_FIELD},
    {.name = "samples", .offset = offsetof(CorrectionResidual, samples), .count_offset = offsetof(CorrectionResidual, samples_count), .kind = READ_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "channels", .offset = offsetof(CorrectionResidual, channels), .kind = SIZE_FIELD},
    {.name = "height", .offset = offsetof(CorrectionResidual, height), .kind = SIZE_FIELD},
    {.name = "width", .offset = offsetof(CorrectionResidual, width), .kind = SIZE_FIELD},
    {.name = "step_size", .offset = offsetof(CorrectionResidual, step_size), .kind = INTEGER_FIELD},
    {.name = "block_height", .offset = offsetof(CorrectionResidual, block_height), .kind = SIZE_FIELD},
    {.name = "block_width", .offset = offsetof(CorrectionResidual, block_width), .kind = SIZE_FIELD},
    {.name = "residual", .offset = offsetof(CorrectionResidual, residual), .count_offset = offsetof(CorrectionResidual, residual_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(float), .most = 1},
};
static const Field filter_residual_fields[] = {
    {.name = "weights", .offset = offsetof(FilterResidual, weights), .count_offset = offsetof(FilterResidual, weights_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "taps", .offset = offsetof(FilterResidual, taps), .count_offset = offsetof(FilterResidual, taps_count), .kind = READ_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "radius", .offset = offsetof(FilterResidual, radius), .kind = INTEGER_FIELD},
    {.name = "samples", .offset = offsetof(FilterResidual, samples), .count_offset = offsetof(FilterResidual, samples_count), .kind = READ_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "channels", .offset = offsetof(FilterResidual, channels), .kind = SIZE_FIELD},
    {.name = "height", .offset = offsetof(FilterResidual, height), .kind = SIZE_FIELD},
    {.name = "width", .offset = offsetof(FilterResidual, width), .kind = SIZE_FIELD},
    {.name = "residual", .offset = offsetof(FilterResidual, residual), .count_offset = offsetof(FilterResidual, residual_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(float), .most = 1},
};
static const Field planes_to_pixels_fields[] = {
    {.name = "planes", .offset = offsetof(PlanesToPixels, planes), .count_offset = offsetof(PlanesToPixels, planes_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "channels", .offset = offsetof(PlanesToPixels, channels), .kind = SIZE_FIELD},
    {.name = "height", .offset = offsetof(PlanesToPixels, height), .kind = SIZE_FIELD},
    {.name = "width", .offset = offsetof(PlanesToPixels, width), .kind = SIZE_FIELD},
    {.name = "basis", .offset = offsetof(PlanesToPixels, basis), .count_offset = offsetof(PlanesToPixels, basis_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "scale", .offset = offsetof(PlanesToPixels, scale), .kind = REAL_FIELD},
    {.name = "middle", .offset = offsetof(PlanesToPixels, middle), .kind = REAL_FIELD},
    {.name = "peak", .offset = offsetof(PlanesToPixels, peak), .kind = REAL_FIELD},
    {.name = "pixels", .offset = offsetof(PlanesToPixels, pixels), .count_offset = offsetof(PlanesToPixels, pixels_count), .kind = WRITTEN_FIELD, .item_bytes = 0, .most = 1},
};
static const Field accept_symbols_fields[] = {
    {.name = "symbols", .offset = offsetof(AcceptSymbols, symbols), .count_offset = offsetof(AcceptSymbols, symbols_count), .kind = READ_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "table", .offset = offsetof(AcceptSymbols, table), .count_offset = offsetof(AcceptSymbols, table_count), .kind = READ_FIELD, .item_bytes = sizeof(int16_t), .most = 1},
    {.name = "sign", .offset = offsetof(AcceptSymbols, sign), .count_offset = offsetof(AcceptSymbols, sign_count), .kind = READ_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "offsets", .offset = offsetof(AcceptSymbols, offsets), .count_offset = offsetof(AcceptSymbols, offsets_count), .kind = READ_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "next_state", .offset = offsetof(AcceptSymbols, next_state), .count_offset = offsetof(AcceptSymbols, next_state_count), .kind = READ_FIELD, .item_bytes = sizeof(int8_t), .most = 1},
    {.name = "rows", .offset = offsetof(AcceptSymbols, rows), .kind = SIZE_FIELD},
    {.name = "columns", .offset = offsetof(AcceptSymbols, columns), .kind = SIZE_FIELD},
    {.name = "states", .offset = offsetof(AcceptSymbols, states), .count_offset = offsetof(AcceptSymbols, states_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(int8_t), .most = 1},
    {.name = "state_stride", .offset = offsetof(AcceptSymbols, state_stride), .kind = SIZE_FIELD},
    {.name = "companded", .offset = offsetof(AcceptSymbols, companded), .count_offset = offsetof(AcceptSymbols, companded_count), .kind = READ_FIELD, .item_bytes = sizeof(int8_t), .most = 1},
    {.name = "plane", .offset = offsetof(AcceptSymbols, plane), .count_offset = offsetof(AcceptSymbols, plane_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(int8_t), .most = 1},
    {.name = "plane_start", .offset = offsetof(AcceptSymbols, plane_start), .kind = INDEX_FIELD},
    {.name = "plane_stride", .offset = offsetof(AcceptSymbols, plane_stride), .kind = SIZE_FIELD},
    {.name = "fine", .offset = offsetof(AcceptSymbols, fine), .count_offset = offsetof(AcceptSymbols, fine_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "fine_start", .offset = offsetof(AcceptSymbols, fine_start), .kind = INDEX_FIELD},
    {.name = "fine_stride", .offset = offsetof(AcceptSymbols, fine_stride), .kind = SIZE_FIELD},
};
static const Field synthesise_channel_fields[] = {
    {.name = "low", .offset = offsetof(SynthesiseChannel, low), .count_offset = offsetof(SynthesiseChannel, low_count), .kind = READ_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "band_0", .offset = offsetof(SynthesiseChannel, band_0), .count_offset = offsetof(SynthesiseChannel, band_0_count), .kind = READ_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "band_1", .offset = offsetof(SynthesiseChannel, band_1), .count_offset = offsetof(SynthesiseChannel, band_1_count), .kind = READ_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "band_2", .offset = offsetof(SynthesiseChannel, band_2), .count_offset = offsetof(SynthesiseChannel, band_2_count), .kind = READ_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "step_0", .offset = offsetof(SynthesiseChannel, step_0), .kind = INTEGER_FIELD},
    {.name = "step_1", .offset = offsetof(SynthesiseChannel, step_1), .kind = INTEGER_FIELD},
    {.name = "step_2", .offset = offsetof(SynthesiseChannel, step_2), .kind = INTEGER_FIELD},
    {.name = "height", .offset = offsetof(SynthesiseChannel, height), .kind = SIZE_FIELD},
    {.name = "width", .offset = offsetof(SynthesiseChannel, width), .kind = SIZE_FIELD},
    {.name = "samples", .offset = offsetof(SynthesiseChannel, samples), .count_offset = offsetof(SynthesiseChannel, samples_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
};
static const Field low_differences_fields[] = {
    {.name = "low", .offset = offsetof(LowDifferences, low), .count_offset = offsetof(LowDifferences, low_count), .kind = READ_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "height", .offset = offsetof(LowDifferences, height), .kind = SIZE_FIELD},
    {.name = "width", .offset = offsetof(LowDifferences, width), .kind = SIZE_FIELD},
    {.name = "level_step", .offset = offsetof(LowDifferences, level_step), .kind = INTEGER_FIELD},
    {.name = "offsets", .offset = offsetof(LowDifferences, offsets), .count_offset = offsetof(LowDifferences, offsets_count), .kind = READ_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "companded", .offset = offsetof(LowDifferences, companded), .count_offset = offsetof(LowDifferences, companded_count), .kind = READ_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "first_row", .offset = offsetof(LowDifferences, first_row), .kind = SIZE_FIELD},
    {.name = "last_row", .offset = offsetof(LowDifferences, last_row), .kind = SIZE_FIELD},
    {.name = "differences", .offset = offsetof(LowDifferences, differences), .count_offset = offsetof(LowDifferences, differences_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(int8_t), .most = 1},
};
static const Field encode_entries_fields[] = {
    {.name = "state", .offset = offsetof(EncodeEntries, state), .count_offset = offsetof(EncodeEntries, state_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(uint64_t), .most = 1},
    {.name = "cumulative", .offset = offsetof(EncodeEntries, cumulative), .count_offset = offsetof(EncodeEntries, cumulative_count), .kind = READ_FIELD, .item_bytes = sizeof(uint32_t), .most = 1},
    {.name = "numbers", .offset = offsetof(EncodeEntries, numbers), .count_offset = offsetof(EncodeEntries, numbers_count), .kind = READ_FIELD, .item_bytes = sizeof(int16_t), .most = 1},
    {.name = "is_sorted", .offset = offsetof(EncodeEntries, is_sorted), .kind = TRUTH_FIELD},
    {.name = "order", .offset = offsetof(EncodeEntries, order), .count_offset = offsetof(EncodeEntries, order_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "entries", .offset = offsetof(EncodeEntries, entries), .count_offset = offsetof(EncodeEntries, entries_count), .kind = READ_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "out", .offset = offsetof(EncodeEntries, out), .count_offset = offsetof(EncodeEntries, out_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(uint32_t), .most = 1},
};
static const Field encode_bits_fields[] = {
    {.name = "state", .offset = offsetof(EncodeBits, state), .count_offset = offsetof(EncodeBits, state_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(uint64_t), .most = 1},
    {.name = "bits", .offset = offsetof(EncodeBits, bits), .kind = INTEGER_FIELD},
    {.name = "values", .offset = offsetof(EncodeBits, values), .count_offset = offsetof(EncodeBits, values_count), .kind = READ_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "out", .offset = offsetof(EncodeBits, out), .count_offset = offsetof(EncodeBits, out_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(uint32_t), .most = 1},
};
static const Field end_encoding_fields[] = {
    {.name = "state", .offset = offsetof(EndEncoding, state), .count_offset = offsetof(EndEncoding, state_count), .kind = READ_FIELD, .item_bytes = sizeof(uint64_t), .most = 1},
    {.name = "out", .offset = offsetof(EndEncoding, out), .count_offset = offsetof(EndEncoding, out_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(uint32_t), .most = 1},
};
static const Field add_context_gradient_fields[] = {
    {.name = "coding_pass", .offset = offsetof(AddContextGradient, coding_pass), .kind = GROUP_FIELD, .fields = context_pass_fields, .field_count = 16},
    {.name = "table", .offset = offsetof(AddContextGradient, table), .count_offset = offsetof(AddContextGradient, table_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(int16_t), .most = 1},
    {.name = "sign", .offset = offsetof(AddContextGradient, sign), .count_offset = offsetof(AddContextGradient, sign_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "hidden", .offset = offsetof(AddContextGradient, hidden), .count_offset = offsetof(AddContextGradient, hidden_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(uint8_t), .most = 1},
    {.name = "symbols", .offset = offsetof(AddContextGradient, symbols), .count_offset = offsetof(AddContextGradient, symbols_count), .kind = READ_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "bits", .offset = offsetof(AddContextGradient, bits), .count_offset = offsetof(AddContextGradient, bits_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "scales", .offset = offsetof(AddContextGradient, scales), .kind = INTEGER_FIELD},
    {.name = "means", .offset = offsetof(AddContextGradient, means), .kind = INTEGER_FIELD},
    {.name = "grad_symbols", .offset = offsetof(AddContextGradient, grad_symbols), .count_offset = offsetof(AddContextGradient, grad_symbols_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "grad_coarser", .offset = offsetof(AddContextGradient, grad_coarser), .count_offset = offsetof(AddContextGradient, grad_coarser_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(float), .most = 1},
};
static const Field adaptation_gradient_fields[] = {
    {.name = "hidden", .offset = offsetof(AdaptationGradient, hidden), .count_offset = offsetof(AdaptationGradient, hidden_count), .kind = READ_FIELD, .item_bytes = sizeof(uint8_t), .most = 1},
    {.name = "sums", .offset = offsetof(AdaptationGradient, sums), .count_offset = offsetof(AdaptationGradient, sums_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "band", .offset = offsetof(AdaptationGradient, band), .count_offset = offsetof(AdaptationGradient, band_count), .kind = READ_FIELD, .item_bytes = sizeof(int64_t), .most = 1},
    {.name = "symbols", .offset = offsetof(AdaptationGradient, symbols), .count_offset = offsetof(AdaptationGradient, symbols_count), .kind = READ_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "quantizers", .offset = offsetof(AdaptationGradient, quantizers), .count_offset = offsetof(AdaptationGradient, quantizers_count), .kind = READ_FIELD, .item_bytes = sizeof(int8_t), .most = 1},
    {.name = "chosen", .offset = offsetof(AdaptationGradient, chosen), .count_offset = offsetof(AdaptationGradient, chosen_count), .kind = READ_FIELD, .item_bytes = sizeof(int64_t), .most = 1},
    {.name = "maps", .offset = offsetof(AdaptationGradient, maps), .count_offset = offsetof(AdaptationGradient, maps_count), .kind = READ_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "constants", .offset = offsetof(AdaptationGradient, constants), .count_offset = offsetof(AdaptationGradient, constants_count), .kind = READ_FIELD, .item_bytes = sizeof(int32_t), .most = 1},
    {.name = "bits", .offset = offsetof(AdaptationGradient, bits), .count_offset = offsetof(AdaptationGradient, bits_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "scales", .offset = offsetof(AdaptationGradient, scales), .kind = INTEGER_FIELD},
    {.name = "means", .offset = offsetof(AdaptationGradient, means), .kind = INTEGER_FIELD},
    {.name = "grad_maps", .offset = offsetof(AdaptationGradient, grad_maps), .count_offset = offsetof(AdaptationGradient, grad_maps_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "grad_constants", .offset = offsetof(AdaptationGradient, grad_constants), .count_offset = offsetof(AdaptationGradient, grad_constants_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(float), .most = 1},
};
static const Field window_gradient_fields[] = {
    {.name = "window", .offset = offsetof(WindowGradient, window), .kind = GROUP_FIELD, .fields = fit_window_fields, .field_count = 12},
    {.name = "workspace", .offset = offsetof(WindowGradient, workspace), .count_offset = offsetof(WindowGradient, workspace_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(uint8_t), .most = 1},
    {.name = "temperature", .offset = offsetof(WindowGradient, temperature), .kind = REAL_FIELD},
    {.name = "noise", .offset = offsetof(WindowGradient, noise), .kind = REAL_FIELD},
    {.name = "seed", .offset = offsetof(WindowGradient, seed), .kind = SEED_FIELD},
    {.name = "grad_weights", .offset = offsetof(WindowGradient, grad_weights), .count_offset = offsetof(WindowGradient, grad_weights_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "grad_latents", .offset = offsetof(WindowGradient, grad_latents), .count_offset = offsetof(WindowGradient, grad_latents_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(float), .most = 1},
};
static const Field window_costs_fields[] = {
    {.name = "window", .offset = offsetof(WindowCosts, window), .kind = GROUP_FIELD, .fields = fit_window_fields, .field_count = 12},
    {.name = "workspace", .offset = offsetof(WindowCosts, workspace), .count_offset = offsetof(WindowCosts, workspace_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(uint8_t), .most = 1},
    {.name = "errors", .offset = offsetof(WindowCosts, errors), .count_offset = offsetof(WindowCosts, errors_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "bits", .offset = offsetof(WindowCosts, bits), .count_offset = offsetof(WindowCosts, bits_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(float), .most = 1},
};
static const Field add_window_gradient_fields[] = {
    {.name = "place", .offset = offsetof(AddWindowGradient, place), .kind = GROUP_FIELD, .fields = window_place_fields, .field_count = 4},
    {.name = "grad_latents", .offset = offsetof(AddWindowGradient, grad_latents), .count_offset = offsetof(AddWindowGradient, grad_latents_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "waiting", .offset = offsetof(AddWindowGradient, waiting), .count_offset = offsetof(AddWindowGradient, waiting_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(float), .most = 7},
};
static const Field move_latents_fields[] = {
    {.name = "place", .offset = offsetof(MoveLatents, place), .kind = GROUP_FIELD, .fields = window_place_fields, .field_count = 4},
    {.name = "values", .offset = offsetof(MoveLatents, values), .count_offset = offsetof(MoveLatents, values_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(float), .most = 7},
    {.name = "means", .offset = offsetof(MoveLatents, means), .count_offset = offsetof(MoveLatents, means_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(float), .most = 7},
    {.name = "squares", .offset = offsetof(MoveLatents, squares), .count_offset = offsetof(MoveLatents, squares_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(float), .most = 7},
    {.name = "waiting", .offset = offsetof(MoveLatents, waiting), .count_offset = offsetof(MoveLatents, waiting_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(float), .most = 7},
    {.name = "rates", .offset = offsetof(MoveLatents, rates), .count_offset = offsetof(MoveLatents, rates_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "mean_fraction", .offset = offsetof(MoveLatents, mean_fraction), .kind = REAL_FIELD},
    {.name = "square_fraction", .offset = offsetof(MoveLatents, square_fraction), .kind = REAL_FIELD},
    {.name = "per_square_bias", .offset = offsetof(MoveLatents, per_square_bias), .kind = REAL_FIELD},
    {.name = "epsilon", .offset = offsetof(MoveLatents, epsilon), .kind = REAL_FIELD},
};
static const Field look_up_samples_fields[] = {
    {.name = "table", .offset = offsetof(LookUpSamples, table), .count_offset = offsetof(LookUpSamples, table_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "pixels", .offset = offsetof(LookUpSamples, pixels), .count_offset = offsetof(LookUpSamples, pixels_count), .kind = READ_FIELD, .item_bytes = 0, .most = 1},
    {.name = "channel", .offset = offsetof(LookUpSamples, channel), .kind = SIZE_FIELD},
    {.name = "count", .offset = offsetof(LookUpSamples, count), .kind = SIZE_FIELD},
    {.name = "channels", .offset = offsetof(LookUpSamples, channels), .kind = SIZE_FIELD},
    {.name = "values", .offset = offsetof(LookUpSamples, values), .count_offset = offsetof(LookUpSamples, values_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(float), .most = 1},
};
static const Field ssimulacra2_sums_fields[] = {
    {.name = "strip", .offset = offsetof(Ssimulacra2Sums, strip), .kind = GROUP_FIELD, .fields = compared_rows_fields, .field_count = 11},
    {.name = "sums", .offset = offsetof(Ssimulacra2Sums, sums), .count_offset = offsetof(Ssimulacra2Sums, sums_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(double), .most = 1},
};
static const Field ssimulacra2_gradient_fields[] = {
    {.name = "strip", .offset = offsetof(Ssimulacra2Gradient, strip), .kind = GROUP_FIELD, .fields = compared_rows_fields, .field_count = 11},
    {.name = "error_weights", .offset = offsetof(Ssimulacra2Gradient, error_weights), .count_offset = offsetof(Ssimulacra2Gradient, error_weights_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "gradient", .offset = offsetof(Ssimulacra2Gradient, gradient), .count_offset = offsetof(Ssimulacra2Gradient, gradient_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(float), .most = 1},
};
static const Field analyse_channel_fields[] = {
    {.name = "plane", .offset = offsetof(AnalyseChannel, plane), .count_offset = offsetof(AnalyseChannel, plane_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "height", .offset = offsetof(AnalyseChannel, height), .kind = SIZE_FIELD},
    {.name = "width", .offset = offsetof(AnalyseChannel, width), .kind = SIZE_FIELD},
    {.name = "low", .offset = offsetof(AnalyseChannel, low), .count_offset = offsetof(AnalyseChannel, low_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "band_0", .offset = offsetof(AnalyseChannel, band_0), .count_offset = offsetof(AnalyseChannel, band_0_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "band_1", .offset = offsetof(AnalyseChannel, band_1), .count_offset = offsetof(AnalyseChannel, band_1_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "band_2", .offset = offsetof(AnalyseChannel, band_2), .count_offset = offsetof(AnalyseChannel, band_2_count), .kind = WRITTEN_FIELD, .item_bytes = sizeof(float), .most = 1},
};
static const Field choose_paths_fields[] = {
    {.name = "passes", .offset = offsetof(ChoosePaths, passes), .count_offset = offsetof(ChoosePaths, passes_count), .kind = GROUPS_FIELD, .most = 36, .item_bytes = sizeof(PathPass), .fields = path_pass_fields, .field_count = 9},
    {.name = "has_costs", .offset = offsetof(ChoosePaths, has_costs), .kind = TRUTH_FIELD},
    {.name = "bits", .offset = offsetof(ChoosePaths, bits), .count_offset = offsetof(ChoosePaths, bits_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "offsets", .offset = offsetof(ChoosePaths, offsets), .count_offset = offsetof(ChoosePaths, offsets_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "companded", .offset = offsetof(ChoosePaths, companded), .count_offset = offsetof(ChoosePaths, companded_count), .kind = READ_FIELD, .item_bytes = sizeof(float), .most = 1},
    {.name = "transitions", .offset = offsetof(ChoosePaths, transitions), .count_offset = offsetof(ChoosePaths, transitions_count), .kind = READ_FIELD, .item_bytes = sizeof(int8_t), .most = 1},
    {.name = "columns", .offset = offsetof(ChoosePaths, columns), .kind = SIZE_FIELD},
    {.name = "first_row", .offset = offsetof(ChoosePaths, first_row), .kind = SIZE_FIELD},
    {.name = "last_row", .offset = offsetof(ChoosePaths, last_row), .kind = SIZE_FIELD},
};
const KernelEntry start_decoding_entry = {
    run_start_decoding, RETURNS_NOTHING, 1, start_decoding_fields, 2, sizeof(StartDecoding), 2,
};
const KernelEntry decode_highs_entry = {
    run_decode_highs, RETURNS_SIZE, 0, decode_highs_fields, 9, sizeof(DecodeHighs), 8,
};
const KernelEntry decode_bits_entry = {
    run_decode_bits, RETURNS_TRUTH, 1, decode_bits_fields, 4, sizeof(DecodeBits), 3,
};
const KernelEntry choose_tables_entry = {
    run_choose_tables, RETURNS_NOTHING, 0, choose_tables_fields, 4, sizeof(ChooseTables), 16,
};
const KernelEntry choose_wavefront_tables_entry = {
    run_choose_wavefront_tables, RETURNS_NOTHING, 0, choose_wavefront_tables_fields, 12, sizeof(ChooseWavefrontTables), 11,
};
const KernelEntry accept_wavefront_entry = {
    run_accept_wavefront, RETURNS_NOTHING, 1, accept_wavefront_fields, 8, sizeof(AcceptWavefront), 4,
};
const KernelEntry correction_residual_entry = {
    run_correction_residual, RETURNS_NOTHING, 0, correction_residual_fields, 12, sizeof(CorrectionResidual), 5,
};
const KernelEntry filter_residual_entry = {
    run_filter_residual, RETURNS_NOTHING, 0, filter_residual_fields, 8, sizeof(FilterResidual), 4,
};
const KernelEntry planes_to_pixels_entry = {
    run_planes_to_pixels, RETURNS_NOTHING, 0, planes_to_pixels_fields, 9, sizeof(PlanesToPixels), 3,
};
const KernelEntry accept_symbols_entry = {
    run_accept_symbols, RETURNS_NOTHING, 0, accept_symbols_fields, 16, sizeof(AcceptSymbols), 9,
};
const KernelEntry synthesise_channel_entry = {
    run_synthesise_channel, RETURNS_NOTHING, 0, synthesise_channel_fields, 10, sizeof(SynthesiseChannel), 5,
};
const KernelEntry low_differences_entry = {
    run_low_differences, RETURNS_NOTHING, 0, low_differences_fields, 9, sizeof(LowDifferences), 4,
};
const KernelEntry encode_entries_entry = {
    run_encode_entries, RETURNS_SIZE, 0, encode_entries_fields, 7, sizeof(EncodeEntries), 6,
};
const KernelEntry encode_bits_entry = {
    run_encode_bits, RETURNS_SIZE, 1, encode_bits_fields, 4, sizeof(EncodeBits), 3,
};
const KernelEntry end_encoding_entry = {
    run_end_encoding, RETURNS_SIZE, 1, end_encoding_fields, 2, sizeof(EndEncoding), 2,
};
const KernelEntry add_context_gradient_entry = {
    run_add_context_gradient, RETURNS_NOTHING, 0, add_context_gradient_fields, 10, sizeof(AddContextGradient), 20,
};
const KernelEntry adaptation_gradient_entry = {
    run_adaptation_gradient, RETURNS_NOTHING, 0, adaptation_gradient_fields, 13, sizeof(AdaptationGradient), 11,
};
const KernelEntry window_workspace_entry = {
    run_window_workspace, RETURNS_SIZE, 1, NULL, 0, sizeof(WindowWorkspace), 0,
};
const KernelEntry window_gradient_entry = {
    run_window_gradient, RETURNS_NOTHING, 0, window_gradient_fields, 7, sizeof(WindowGradient), 14,
};
const KernelEntry window_costs_entry = {
    run_window_costs, RETURNS_NOTHING, 0, window_costs_fields, 4, sizeof(WindowCosts), 14,
};
const KernelEntry add_window_gradient_entry = {
    run_add_window_gradient, RETURNS_NOTHING, 1, add_window_gradient_fields, 3, sizeof(AddWindowGradient), 8,
};
const KernelEntry move_latents_entry = {
    run_move_latents, RETURNS_NOTHING, 1, move_latents_fields, 10, sizeof(MoveLatents), 29,
};
const KernelEntry look_up_samples_entry = {
    run_look_up_samples, RETURNS_NOTHING, 0, look_up_samples_fields, 6, sizeof(LookUpSamples), 3,
};
const KernelEntry ssimulacra2_sums_entry = {
    run_ssimulacra2_sums, RETURNS_NOTHING, 0, ssimulacra2_sums_fields, 2, sizeof(Ssimulacra2Sums), 5,
};
const KernelEntry ssimulacra2_gradient_entry = {
    run_ssimulacra2_gradient, RETURNS_NOTHING, 0, ssimulacra2_gradient_fields, 3, sizeof(Ssimulacra2Gradient), 6,
};
const KernelEntry analyse_channel_entry = {
    run_analyse_channel, RETURNS_NOTHING, 0, analyse_channel_fields, 7, sizeof(AnalyseChannel), 5,
};
const KernelEntry choose_paths_entry = {
    run_choose_paths, RETURNS_NOTHING, 0, choose_paths_fields, 9, sizeof(ChoosePaths), 256,
};

#endif
