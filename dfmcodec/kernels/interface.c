/* Made by packaging/kernels/make_kernel_interface.py: checks of arguments before each kernel, and where they are in its struct. */
#include "kernels.h"

#define HAS(name, needed) has_items(call, a, name, needed)
#define HAS_SIZES(...) (SIZES(__VA_ARGS__) || refuse_sizes(call))
#define RUN(name, Struct, function, checks)                                                                            \
    static int run_##name(Call *call, const void *arguments) {                                                         \
        const Struct *a = arguments;                                                                                   \
        return (checks) && function(call, a);                                                                          \
    }

RUN(start_decoding, StartDecoding, start_decoding, HAS(state, 4))
RUN(decode_highs, DecodeHighs, decode_highs,
    HAS(state, 4) && HAS(cumulative, (a->guide_count >> GUIDE_BITS) * (TABLE_SIZE + 1)) &&
    HAS(shifts, a->guide_count >> GUIDE_BITS) && HAS(order, a->numbers_count) && HAS(highs, a->numbers_count))
RUN(decode_bits, DecodeBits, decode_bits, HAS(state, 4))
RUN(choose_tables, ChooseTables, CHOSEN(choose_tables),
    HAS_SIZES(a->coding_pass.rows, a->coding_pass.columns) &&
    HAS(coding_pass.w2, a->coding_pass.c1_count * a->coding_pass.c2_count) &&
    HAS(coding_pass.w3, 2 * a->coding_pass.c2_count) && HAS(coding_pass.c3, 2) &&
    HAS(coding_pass.quantizers, a->coding_pass.rows * a->coding_pass.columns) && HAS(coding_pass.class_of_mean, 1) &&
    HAS(table, a->coding_pass.rows * a->coding_pass.columns) &&
    HAS(sign, a->coding_pass.rows * a->coding_pass.columns))
RUN(choose_wavefront_tables, ChooseWavefrontTables, CHOSEN(choose_wavefront_tables),
    HAS_SIZES(a->plane_stride, a->coarser_stride, a->count) &&
    HAS(network.first, GRID_FEATURES * a->network.constants_count) &&
    HAS(network.second, (a->network.constants_count - 2) * a->network.second_constants_count) &&
    HAS(network.last, 2 * a->network.second_constants_count) && HAS(causal, CAUSAL_FEATURES) &&
    HAS(table, a->count) && HAS(sign, a->count) && HAS(middle, a->count))
RUN(accept_wavefront, AcceptWavefront, CHOSEN(accept_wavefront), HAS_SIZES(a->grid_stride, a->plane_stride))
RUN(correction_residual, CorrectionResidual, CHOSEN(correction_residual),
    HAS_SIZES(a->channels, a->height, a->width, a->block_height, a->block_width) &&
    HAS(samples, a->channels * a->height * a->width) && HAS(residual, a->channels * a->block_height * a->block_width))
RUN(filter_residual, FilterResidual, CHOSEN(filter_residual),
    HAS_SIZES(a->channels, a->height, a->width) && HAS(weights, a->taps_count / 2 * a->channels * a->channels) &&
    HAS(samples, a->channels * (a->height + 2 * a->radius) * (a->width + 2 * a->radius)) &&
    HAS(residual, a->channels * a->height * a->width))
RUN(planes_to_pixels, PlanesToPixels, CHOSEN(planes_to_pixels),
    HAS_SIZES(a->channels, a->height, a->width) && HAS(planes, a->channels * a->height * a->width) &&
    HAS(basis, CHANNELS * CHANNELS))
RUN(accept_symbols, AcceptSymbols, CHOSEN(accept_symbols),
    HAS_SIZES(a->rows, a->columns, a->state_stride, a->plane_stride, a->fine_stride) &&
    HAS(symbols, a->rows * a->columns) && HAS(table, a->rows * a->columns) && HAS(sign, a->rows * a->columns) &&
    HAS(next_state, 2 * STATES) && HAS(states, a->rows < 1 ? 0 : (a->rows - 1) * a->state_stride + a->columns) &&
    HAS(companded, 1))
RUN(synthesise_channel, SynthesiseChannel, CHOSEN(synthesise_channel),
    HAS_SIZES(a->height, a->width, a->stride) && HAS(low, (a->height + 1) / 2 * ((a->width + 1) / 2)) &&
    HAS(band_0, (a->height + 1) / 2 * (a->width / 2)) && HAS(band_1, a->height / 2 * ((a->width + 1) / 2)) &&
    HAS(band_2, a->height / 2 * (a->width / 2)) && HAS(samples, (a->height - 1) * a->stride + a->width))
RUN(low_differences, LowDifferences, CHOSEN(low_differences),
    HAS_SIZES(a->height, a->width, a->first_row, a->last_row) && HAS(low, a->height * a->width) &&
    HAS(companded, 1) && HAS(differences, 4 * (a->offsets_count / 2) * ((a->height + 1) / 2) * ((a->width + 1) / 2)))

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
_Static_assert(sizeof(SynthesiseChannel) == 64, "synthesise_channel");
_Static_assert(sizeof(LowDifferences) == 52, "low_differences");

int (*const RUN_KERNEL[])(Call *, const void *) = {
    run_start_decoding, run_decode_highs, run_decode_bits, run_choose_tables, run_choose_wavefront_tables,
    run_accept_wavefront, run_correction_residual, run_filter_residual, run_planes_to_pixels, run_accept_symbols,
    run_synthesise_channel, run_low_differences,
};

#else

static int check_PathPass(Call *call, const PathPass *a, const PathPass *end) {
    for (; a < end; a++) {
        const int is_good =
            HAS_SIZES(a->rows, a->columns, a->band_stride, a->weights_stride) && HAS(tables, a->rows * a->columns) &&
            HAS(symbols, a->rows * a->columns);
        if (!is_good) return 0;
    }
    return 1;
}

RUN(encode_entries, EncodeEntries, encode_entries,
    HAS(state, 4) && HAS(order, a->numbers_count) && HAS(entries, a->numbers_count))
RUN(encode_bits, EncodeBits, encode_bits, HAS(state, 4))
RUN(end_encoding, EndEncoding, end_encoding, HAS(state, 4))
RUN(add_context_gradient, AddContextGradient, CHOSEN(add_context_gradient),
    HAS_SIZES(a->coding_pass.rows, a->coding_pass.columns) &&
    HAS(coding_pass.w2, a->coding_pass.c1_count * a->coding_pass.c2_count) &&
    HAS(coding_pass.w3, 2 * a->coding_pass.c2_count) && HAS(coding_pass.c3, 2) &&
    HAS(coding_pass.quantizers, a->coding_pass.rows * a->coding_pass.columns) && HAS(coding_pass.class_of_mean, 1) &&
    HAS(table, a->coding_pass.rows * a->coding_pass.columns) &&
    HAS(sign, a->coding_pass.rows * a->coding_pass.columns) &&
    HAS(symbols, a->coding_pass.rows * a->coding_pass.columns))
RUN(adaptation_gradient, AdaptationGradient, CHOSEN(adaptation_gradient),
    HAS(hidden, a->symbols_count * (a->maps_count / 2)) && HAS(sums, 2 * a->symbols_count) &&
    HAS(band, a->symbols_count) && HAS(quantizers, a->symbols_count) && HAS(grad_maps, a->maps_count) &&
    HAS(grad_constants, a->constants_count))
RUN(window_workspace, WindowWorkspace, CHOSEN(window_workspace), 1)
RUN(window_gradient, WindowGradient, CHOSEN(window_gradient),
    HAS_SIZES(a->window.place.height, a->window.place.width) && HAS(window.companding, 2) &&
    HAS(window.colours, CHANNELS * WINDOW * WINDOW) && HAS(window.pixel_weights, WINDOW * WINDOW))
RUN(window_costs, WindowCosts, CHOSEN(window_costs),
    HAS_SIZES(a->window.place.height, a->window.place.width) && HAS(window.companding, 2) &&
    HAS(window.colours, CHANNELS * WINDOW * WINDOW) && HAS(window.pixel_weights, WINDOW * WINDOW) &&
    HAS(errors, WINDOW * WINDOW))
RUN(window_colours, WindowColours, CHOSEN(window_colours),
    HAS_SIZES(a->window.place.height, a->window.place.width) && HAS(window.companding, 2) &&
    HAS(window.colours, CHANNELS * WINDOW * WINDOW) && HAS(window.pixel_weights, WINDOW * WINDOW) &&
    HAS(decoded, CHANNELS * WINDOW * WINDOW))
RUN(add_window_gradient, AddWindowGradient, CHOSEN(add_window_gradient), HAS_SIZES(a->place.height, a->place.width))
RUN(move_latents, MoveLatents, CHOSEN(move_latents),
    HAS_SIZES(a->place.height, a->place.width) && HAS(rates, GRID_LEVELS))
RUN(look_up_samples, LookUpSamples, CHOSEN(look_up_samples),
    HAS_SIZES(a->channel, a->count, a->channels) && HAS(values, a->count))
RUN(ssimulacra2_sums, Ssimulacra2Sums, CHOSEN(ssimulacra2_sums),
    HAS_SIZES(a->strip.height, a->strip.width, a->strip.first_row, a->strip.last_row) &&
    HAS(strip.original, CHANNELS * a->strip.height * a->strip.width) &&
    HAS(strip.decoded, CHANNELS * a->strip.height * a->strip.width) && HAS(strip.absorbance, CHANNELS * CHANNELS) &&
    HAS(strip.taps, 5) && HAS(sums, 18))
RUN(ssimulacra2_gradient, Ssimulacra2Gradient, CHOSEN(ssimulacra2_gradient),
    HAS_SIZES(a->strip.height, a->strip.width, a->strip.first_row, a->strip.last_row) &&
    HAS(strip.original, CHANNELS * a->strip.height * a->strip.width) &&
    HAS(strip.decoded, CHANNELS * a->strip.height * a->strip.width) && HAS(strip.absorbance, CHANNELS * CHANNELS) &&
    HAS(strip.taps, 5) && HAS(error_weights, 18) && HAS(gradient, CHANNELS * a->strip.height * a->strip.width))
RUN(analyse_channel, AnalyseChannel, CHOSEN(analyse_channel),
    HAS_SIZES(a->height, a->width) && HAS(plane, a->height * a->width) &&
    HAS(low, (a->height + 1) / 2 * ((a->width + 1) / 2)) && HAS(band_0, (a->height + 1) / 2 * (a->width / 2)) &&
    HAS(band_1, a->height / 2 * ((a->width + 1) / 2)) && HAS(band_2, a->height / 2 * (a->width / 2)))
RUN(pixels_to_planes, PixelsToPlanes, CHOSEN(pixels_to_planes),
    HAS_SIZES(a->item_bytes, a->count) && HAS(basis, CHANNELS * CHANNELS) && HAS(planes, CHANNELS * a->count))
RUN(count_bits, CountBits, count_bits, HAS(table, a->symbols_count) && HAS(sign, a->symbols_count) && HAS(total, 1))
RUN(choose_paths, ChoosePaths, CHOSEN(choose_paths),
    HAS_SIZES(a->columns, a->first_row, a->last_row) &&
    check_PathPass(call, a->passes, a->passes + a->passes_count) && HAS(rescaled, a->bits_count / TABLE_SIZE) &&
    HAS(offsets, a->bits_count) && HAS(zero_limits, a->bits_count / TABLE_SIZE) && HAS(companded, 1) &&
    HAS(transitions, 4 * STATES))

#define NUMBER(S, at, number) {.name = #at, .kind = number##_FIELD, .offset = offsetof(S, at)}
#define SERIES(S, at) .name = #at, .offset = offsetof(S, at), .count_offset = offsetof(S, at##_count)
#define ARRAY(S, at, use, bytes, count) {SERIES(S, at), .kind = use##_FIELD, .item_bytes = bytes, .most = count}
#define OF(inner) .fields = inner, .field_count = sizeof inner / sizeof *inner
#define GROUP(S, at, inner) {.name = #at, .kind = GROUP_FIELD, .offset = offsetof(S, at), OF(inner)}
#define GROUPS(S, at, G, count, inner)                                                                                 \
    {SERIES(S, at), .kind = GROUPS_FIELD, .item_bytes = sizeof(G), .most = count, OF(inner)}
#define ENTRY(name, S, result, is_short, fields, count, arrays)                                                        \
    const KernelEntry name##_entry = {run_##name, RETURNS_##result, is_short, fields, count, sizeof(S), arrays};

static const Field context_pass_fields[] = {
    ARRAY(ContextPass, w1, READ, 1, 1), ARRAY(ContextPass, c1, READ, 4, 1), ARRAY(ContextPass, w2, READ, 1, 1),
    ARRAY(ContextPass, c2, READ, 4, 1), ARRAY(ContextPass, w3, READ, 1, 1), ARRAY(ContextPass, c3, READ, 4, 1),
    ARRAY(ContextPass, available, READ, 4, 1), NUMBER(ContextPass, signed_count, INTEGER),
    ARRAY(ContextPass, symbols, READ, 1, 1), ARRAY(ContextPass, coarser, READ, 1, 1),
    ARRAY(ContextPass, differences, READ, 1, 1), ARRAY(ContextPass, views, READ, 8, 1),
    NUMBER(ContextPass, rows, SIZE), NUMBER(ContextPass, columns, SIZE), ARRAY(ContextPass, quantizers, READ, 1, 1),
    ARRAY(ContextPass, class_of_mean, READ, 2, 1),
};
static const Field grid_network_weights_fields[] = {
    ARRAY(GridNetworkWeights, first, READ, 4, 1), ARRAY(GridNetworkWeights, constants, READ, 4, 1),
    ARRAY(GridNetworkWeights, second, READ, 4, 1), ARRAY(GridNetworkWeights, second_constants, READ, 4, 1),
    ARRAY(GridNetworkWeights, last, READ, 4, 1),
};
static const Field window_place_fields[] = {
    NUMBER(WindowPlace, top, INDEX), NUMBER(WindowPlace, left, INDEX), NUMBER(WindowPlace, height, SIZE),
    NUMBER(WindowPlace, width, SIZE),
};
static const Field fit_window_fields[] = {
    ARRAY(FitWindow, weights, READ, 4, 1), NUMBER(FitWindow, width, INTEGER), NUMBER(FitWindow, units, INTEGER),
    ARRAY(FitWindow, companding, READ, 4, 1), NUMBER(FitWindow, activation_max, REAL),
    GROUP(FitWindow, place, window_place_fields), NUMBER(FitWindow, lmbda, REAL), NUMBER(FitWindow, step_size, REAL),
    NUMBER(FitWindow, peak, REAL), ARRAY(FitWindow, colours, READ, 4, 1), ARRAY(FitWindow, pixel_weights, READ, 4, 1),
    ARRAY(FitWindow, grids, READ, 4, 7),
};
static const Field compared_rows_fields[] = {
    ARRAY(ComparedRows, original, READ, 4, 1), ARRAY(ComparedRows, decoded, READ, 4, 1),
    NUMBER(ComparedRows, height, SIZE), NUMBER(ComparedRows, width, SIZE), NUMBER(ComparedRows, first_row, SIZE),
    NUMBER(ComparedRows, last_row, SIZE), ARRAY(ComparedRows, absorbance, READ, 4, 1),
    NUMBER(ComparedRows, bias, REAL), NUMBER(ComparedRows, bias_root, REAL), ARRAY(ComparedRows, taps, READ, 4, 1),
    NUMBER(ComparedRows, constant, REAL),
};
static const Field path_pass_fields[] = {
    NUMBER(PathPass, rows, SIZE), NUMBER(PathPass, columns, SIZE), ARRAY(PathPass, band, READ, 4, 1),
    NUMBER(PathPass, band_start, INDEX), NUMBER(PathPass, band_stride, SIZE), NUMBER(PathPass, per_step, REAL),
    ARRAY(PathPass, weights, READ, 2, 1), NUMBER(PathPass, weights_start, INDEX),
    NUMBER(PathPass, weights_stride, SIZE), NUMBER(PathPass, weight_factor, REAL),
    ARRAY(PathPass, tables, READ, 2, 1), ARRAY(PathPass, costs, READ, 2, 1), ARRAY(PathPass, symbols, WRITTEN, 4, 1),
};
static const Field start_decoding_fields[] = {
    ARRAY(StartDecoding, state, WRITTEN, 8, 1), ARRAY(StartDecoding, words, READ, 4, 1),
};
static const Field decode_highs_fields[] = {
    ARRAY(DecodeHighs, state, WRITTEN, 8, 1), ARRAY(DecodeHighs, words, READ, 4, 1),
    ARRAY(DecodeHighs, cumulative, READ, 4, 1), ARRAY(DecodeHighs, guide, READ, 1, 1),
    ARRAY(DecodeHighs, shifts, READ, 4, 1), ARRAY(DecodeHighs, numbers, READ, 2, 1),
    NUMBER(DecodeHighs, is_sorted, TRUTH), ARRAY(DecodeHighs, order, WRITTEN, 4, 1),
    ARRAY(DecodeHighs, highs, WRITTEN, 4, 1),
};
static const Field decode_bits_fields[] = {
    ARRAY(DecodeBits, state, WRITTEN, 8, 1), ARRAY(DecodeBits, words, READ, 4, 1), NUMBER(DecodeBits, bits, INTEGER),
    ARRAY(DecodeBits, values, WRITTEN, 4, 1),
};
static const Field choose_tables_fields[] = {
    GROUP(ChooseTables, coding_pass, context_pass_fields), ARRAY(ChooseTables, table, WRITTEN, 2, 1),
    ARRAY(ChooseTables, sign, WRITTEN, 4, 1), ARRAY(ChooseTables, hidden, WRITTEN, 1, 1),
};
static const Field choose_wavefront_tables_fields[] = {
    GROUP(ChooseWavefrontTables, network, grid_network_weights_fields),
    ARRAY(ChooseWavefrontTables, plane, READ, 4, 1), ARRAY(ChooseWavefrontTables, causal, READ, 8, 1),
    NUMBER(ChooseWavefrontTables, plane_start, INDEX), NUMBER(ChooseWavefrontTables, plane_stride, SIZE),
    ARRAY(ChooseWavefrontTables, coarser, READ, 1, 1), NUMBER(ChooseWavefrontTables, coarser_start, INDEX),
    NUMBER(ChooseWavefrontTables, coarser_stride, SIZE), NUMBER(ChooseWavefrontTables, count, SIZE),
    ARRAY(ChooseWavefrontTables, table, WRITTEN, 2, 1), ARRAY(ChooseWavefrontTables, sign, WRITTEN, 4, 1),
    ARRAY(ChooseWavefrontTables, middle, WRITTEN, 4, 1),
};
static const Field accept_wavefront_fields[] = {
    ARRAY(AcceptWavefront, symbols, READ, 4, 1), ARRAY(AcceptWavefront, companded, READ, 4, 1),
    ARRAY(AcceptWavefront, grid, WRITTEN, 4, 1), NUMBER(AcceptWavefront, grid_start, INDEX),
    NUMBER(AcceptWavefront, grid_stride, SIZE), ARRAY(AcceptWavefront, plane, WRITTEN, 4, 1),
    NUMBER(AcceptWavefront, plane_start, INDEX), NUMBER(AcceptWavefront, plane_stride, SIZE),
};
static const Field correction_residual_fields[] = {
    ARRAY(CorrectionResidual, weights, READ, 1, 1), ARRAY(CorrectionResidual, first_constants, READ, 4, 1),
    ARRAY(CorrectionResidual, factors, READ, 4, 1), NUMBER(CorrectionResidual, depth, INTEGER),
    ARRAY(CorrectionResidual, samples, READ, 4, 1), NUMBER(CorrectionResidual, channels, SIZE),
    NUMBER(CorrectionResidual, height, SIZE), NUMBER(CorrectionResidual, width, SIZE),
    NUMBER(CorrectionResidual, step_size, INTEGER), NUMBER(CorrectionResidual, block_height, SIZE),
    NUMBER(CorrectionResidual, block_width, SIZE), ARRAY(CorrectionResidual, residual, WRITTEN, 4, 1),
};
static const Field filter_residual_fields[] = {
    ARRAY(FilterResidual, weights, READ, 4, 1), ARRAY(FilterResidual, taps, READ, 4, 1),
    NUMBER(FilterResidual, radius, INTEGER), ARRAY(FilterResidual, samples, READ, 4, 1),
    NUMBER(FilterResidual, channels, SIZE), NUMBER(FilterResidual, height, SIZE), NUMBER(FilterResidual, width, SIZE),
    ARRAY(FilterResidual, residual, WRITTEN, 4, 1),
};
static const Field planes_to_pixels_fields[] = {
    ARRAY(PlanesToPixels, planes, READ, 4, 1), NUMBER(PlanesToPixels, channels, SIZE),
    NUMBER(PlanesToPixels, height, SIZE), NUMBER(PlanesToPixels, width, SIZE),
    ARRAY(PlanesToPixels, basis, READ, 4, 1), NUMBER(PlanesToPixels, scale, REAL),
    NUMBER(PlanesToPixels, middle, REAL), NUMBER(PlanesToPixels, peak, REAL),
    ARRAY(PlanesToPixels, pixels, WRITTEN, 0, 1),
};
static const Field accept_symbols_fields[] = {
    ARRAY(AcceptSymbols, symbols, READ, 4, 1), ARRAY(AcceptSymbols, table, READ, 2, 1),
    ARRAY(AcceptSymbols, sign, READ, 4, 1), ARRAY(AcceptSymbols, offsets, READ, 4, 1),
    ARRAY(AcceptSymbols, next_state, READ, 1, 1), NUMBER(AcceptSymbols, rows, SIZE),
    NUMBER(AcceptSymbols, columns, SIZE), ARRAY(AcceptSymbols, states, WRITTEN, 1, 1),
    NUMBER(AcceptSymbols, state_stride, SIZE), ARRAY(AcceptSymbols, companded, READ, 1, 1),
    ARRAY(AcceptSymbols, plane, WRITTEN, 1, 1), NUMBER(AcceptSymbols, plane_start, INDEX),
    NUMBER(AcceptSymbols, plane_stride, SIZE), ARRAY(AcceptSymbols, fine, WRITTEN, 4, 1),
    NUMBER(AcceptSymbols, fine_start, INDEX), NUMBER(AcceptSymbols, fine_stride, SIZE),
};
static const Field synthesise_channel_fields[] = {
    ARRAY(SynthesiseChannel, low, READ, 4, 1), ARRAY(SynthesiseChannel, band_0, READ, 4, 1),
    ARRAY(SynthesiseChannel, band_1, READ, 4, 1), ARRAY(SynthesiseChannel, band_2, READ, 4, 1),
    NUMBER(SynthesiseChannel, step_0, INTEGER), NUMBER(SynthesiseChannel, step_1, INTEGER),
    NUMBER(SynthesiseChannel, step_2, INTEGER), NUMBER(SynthesiseChannel, height, SIZE),
    NUMBER(SynthesiseChannel, width, SIZE), NUMBER(SynthesiseChannel, stride, SIZE),
    ARRAY(SynthesiseChannel, samples, WRITTEN, 4, 1),
};
static const Field low_differences_fields[] = {
    ARRAY(LowDifferences, low, READ, 4, 1), NUMBER(LowDifferences, height, SIZE), NUMBER(LowDifferences, width, SIZE),
    NUMBER(LowDifferences, level_step, INTEGER), ARRAY(LowDifferences, offsets, READ, 4, 1),
    ARRAY(LowDifferences, companded, READ, 4, 1), NUMBER(LowDifferences, first_row, SIZE),
    NUMBER(LowDifferences, last_row, SIZE), ARRAY(LowDifferences, differences, WRITTEN, 1, 1),
};
static const Field encode_entries_fields[] = {
    ARRAY(EncodeEntries, state, WRITTEN, 8, 1), ARRAY(EncodeEntries, cumulative, READ, 4, 1),
    ARRAY(EncodeEntries, numbers, READ, 2, 1), NUMBER(EncodeEntries, is_sorted, TRUTH),
    ARRAY(EncodeEntries, order, WRITTEN, 4, 1), ARRAY(EncodeEntries, entries, READ, 4, 1),
    ARRAY(EncodeEntries, out, WRITTEN, 4, 1),
};
static const Field encode_bits_fields[] = {
    ARRAY(EncodeBits, state, WRITTEN, 8, 1), NUMBER(EncodeBits, bits, INTEGER), ARRAY(EncodeBits, values, READ, 4, 1),
    ARRAY(EncodeBits, out, WRITTEN, 4, 1),
};
static const Field end_encoding_fields[] = {
    ARRAY(EndEncoding, state, READ, 8, 1), ARRAY(EndEncoding, out, WRITTEN, 4, 1),
};
static const Field add_context_gradient_fields[] = {
    GROUP(AddContextGradient, coding_pass, context_pass_fields), ARRAY(AddContextGradient, table, WRITTEN, 2, 1),
    ARRAY(AddContextGradient, sign, WRITTEN, 4, 1), ARRAY(AddContextGradient, hidden, WRITTEN, 1, 1),
    ARRAY(AddContextGradient, symbols, READ, 4, 1), ARRAY(AddContextGradient, bits, READ, 4, 1),
    NUMBER(AddContextGradient, scales, INTEGER), NUMBER(AddContextGradient, means, INTEGER),
    ARRAY(AddContextGradient, grad_symbols, WRITTEN, 4, 1), ARRAY(AddContextGradient, grad_coarser, WRITTEN, 4, 1),
};
static const Field adaptation_gradient_fields[] = {
    ARRAY(AdaptationGradient, hidden, READ, 1, 1), ARRAY(AdaptationGradient, sums, READ, 4, 1),
    ARRAY(AdaptationGradient, band, READ, 8, 1), ARRAY(AdaptationGradient, symbols, READ, 4, 1),
    ARRAY(AdaptationGradient, quantizers, READ, 1, 1), ARRAY(AdaptationGradient, chosen, READ, 8, 1),
    ARRAY(AdaptationGradient, maps, READ, 4, 1), ARRAY(AdaptationGradient, constants, READ, 4, 1),
    ARRAY(AdaptationGradient, bits, READ, 4, 1), NUMBER(AdaptationGradient, scales, INTEGER),
    NUMBER(AdaptationGradient, means, INTEGER), ARRAY(AdaptationGradient, grad_maps, WRITTEN, 4, 1),
    ARRAY(AdaptationGradient, grad_constants, WRITTEN, 4, 1),
};
static const Field window_gradient_fields[] = {
    GROUP(WindowGradient, window, fit_window_fields), ARRAY(WindowGradient, workspace, WRITTEN, 1, 1),
    NUMBER(WindowGradient, temperature, REAL), NUMBER(WindowGradient, noise, REAL),
    NUMBER(WindowGradient, seed, SEED), ARRAY(WindowGradient, grad_weights, WRITTEN, 4, 1),
    ARRAY(WindowGradient, grad_latents, WRITTEN, 4, 1),
};
static const Field window_costs_fields[] = {
    GROUP(WindowCosts, window, fit_window_fields), ARRAY(WindowCosts, workspace, WRITTEN, 1, 1),
    ARRAY(WindowCosts, errors, WRITTEN, 4, 1), ARRAY(WindowCosts, bits, WRITTEN, 4, 1),
};
static const Field window_colours_fields[] = {
    GROUP(WindowColours, window, fit_window_fields), ARRAY(WindowColours, workspace, WRITTEN, 1, 1),
    ARRAY(WindowColours, decoded, WRITTEN, 4, 1),
};
static const Field add_window_gradient_fields[] = {
    GROUP(AddWindowGradient, place, window_place_fields), ARRAY(AddWindowGradient, grad_latents, READ, 4, 1),
    ARRAY(AddWindowGradient, waiting, WRITTEN, 4, 7),
};
static const Field move_latents_fields[] = {
    GROUP(MoveLatents, place, window_place_fields), ARRAY(MoveLatents, values, WRITTEN, 4, 7),
    ARRAY(MoveLatents, means, WRITTEN, 4, 7), ARRAY(MoveLatents, squares, WRITTEN, 4, 7),
    ARRAY(MoveLatents, waiting, WRITTEN, 4, 7), ARRAY(MoveLatents, rates, READ, 4, 1),
    NUMBER(MoveLatents, mean_fraction, REAL), NUMBER(MoveLatents, square_fraction, REAL),
    NUMBER(MoveLatents, per_square_bias, REAL), NUMBER(MoveLatents, epsilon, REAL),
};
static const Field look_up_samples_fields[] = {
    ARRAY(LookUpSamples, table, READ, 4, 1), ARRAY(LookUpSamples, pixels, READ, 0, 1),
    NUMBER(LookUpSamples, channel, SIZE), NUMBER(LookUpSamples, count, SIZE), NUMBER(LookUpSamples, channels, SIZE),
    ARRAY(LookUpSamples, values, WRITTEN, 4, 1),
};
static const Field ssimulacra2_sums_fields[] = {
    GROUP(Ssimulacra2Sums, strip, compared_rows_fields), ARRAY(Ssimulacra2Sums, sums, WRITTEN, 8, 1),
};
static const Field ssimulacra2_gradient_fields[] = {
    GROUP(Ssimulacra2Gradient, strip, compared_rows_fields), ARRAY(Ssimulacra2Gradient, error_weights, READ, 4, 1),
    ARRAY(Ssimulacra2Gradient, gradient, WRITTEN, 4, 1),
};
static const Field analyse_channel_fields[] = {
    ARRAY(AnalyseChannel, plane, READ, 4, 1), NUMBER(AnalyseChannel, height, SIZE),
    NUMBER(AnalyseChannel, width, SIZE), ARRAY(AnalyseChannel, low, WRITTEN, 4, 1),
    ARRAY(AnalyseChannel, band_0, WRITTEN, 4, 1), ARRAY(AnalyseChannel, band_1, WRITTEN, 4, 1),
    ARRAY(AnalyseChannel, band_2, WRITTEN, 4, 1),
};
static const Field pixels_to_planes_fields[] = {
    ARRAY(PixelsToPlanes, pixels, READ, 0, 1), NUMBER(PixelsToPlanes, item_bytes, SIZE),
    NUMBER(PixelsToPlanes, count, SIZE), ARRAY(PixelsToPlanes, basis, READ, 4, 1),
    NUMBER(PixelsToPlanes, scale, REAL), NUMBER(PixelsToPlanes, middle, REAL),
    ARRAY(PixelsToPlanes, planes, WRITTEN, 4, 1),
};
static const Field count_bits_fields[] = {
    ARRAY(CountBits, symbols, READ, 4, 1), ARRAY(CountBits, table, READ, 2, 1), ARRAY(CountBits, sign, READ, 4, 1),
    ARRAY(CountBits, bits, READ, 4, 1), ARRAY(CountBits, total, WRITTEN, 8, 1),
};
static const Field choose_paths_fields[] = {
    GROUPS(ChoosePaths, passes, PathPass, 36, path_pass_fields), NUMBER(ChoosePaths, has_costs, TRUTH),
    NUMBER(ChoosePaths, bit_cost, REAL), ARRAY(ChoosePaths, rescaled, READ, 2, 1),
    ARRAY(ChoosePaths, bits, READ, 4, 1), ARRAY(ChoosePaths, offsets, READ, 4, 1),
    ARRAY(ChoosePaths, zero_limits, READ, 4, 1), ARRAY(ChoosePaths, companded, READ, 4, 1),
    ARRAY(ChoosePaths, transitions, READ, 1, 1), NUMBER(ChoosePaths, columns, SIZE),
    NUMBER(ChoosePaths, first_row, SIZE), NUMBER(ChoosePaths, last_row, SIZE),
};
ENTRY(start_decoding, StartDecoding, NOTHING, 1, start_decoding_fields, 2, 2)
ENTRY(decode_highs, DecodeHighs, SIZE, 0, decode_highs_fields, 9, 8)
ENTRY(decode_bits, DecodeBits, TRUTH, 1, decode_bits_fields, 4, 3)
ENTRY(choose_tables, ChooseTables, NOTHING, 0, choose_tables_fields, 4, 16)
ENTRY(choose_wavefront_tables, ChooseWavefrontTables, NOTHING, 0, choose_wavefront_tables_fields, 12, 11)
ENTRY(accept_wavefront, AcceptWavefront, NOTHING, 1, accept_wavefront_fields, 8, 4)
ENTRY(correction_residual, CorrectionResidual, NOTHING, 0, correction_residual_fields, 12, 5)
ENTRY(filter_residual, FilterResidual, NOTHING, 0, filter_residual_fields, 8, 4)
ENTRY(planes_to_pixels, PlanesToPixels, NOTHING, 0, planes_to_pixels_fields, 9, 3)
ENTRY(accept_symbols, AcceptSymbols, NOTHING, 0, accept_symbols_fields, 16, 9)
ENTRY(synthesise_channel, SynthesiseChannel, NOTHING, 0, synthesise_channel_fields, 11, 5)
ENTRY(low_differences, LowDifferences, NOTHING, 0, low_differences_fields, 9, 4)
ENTRY(encode_entries, EncodeEntries, SIZE, 0, encode_entries_fields, 7, 6)
ENTRY(encode_bits, EncodeBits, SIZE, 1, encode_bits_fields, 4, 3)
ENTRY(end_encoding, EndEncoding, SIZE, 1, end_encoding_fields, 2, 2)
ENTRY(add_context_gradient, AddContextGradient, NOTHING, 0, add_context_gradient_fields, 10, 20)
ENTRY(adaptation_gradient, AdaptationGradient, NOTHING, 0, adaptation_gradient_fields, 13, 11)
ENTRY(window_workspace, WindowWorkspace, SIZE, 1, NULL, 0, 0)
ENTRY(window_gradient, WindowGradient, NOTHING, 0, window_gradient_fields, 7, 14)
ENTRY(window_costs, WindowCosts, NOTHING, 0, window_costs_fields, 4, 14)
ENTRY(window_colours, WindowColours, NOTHING, 0, window_colours_fields, 3, 13)
ENTRY(add_window_gradient, AddWindowGradient, NOTHING, 1, add_window_gradient_fields, 3, 8)
ENTRY(move_latents, MoveLatents, NOTHING, 1, move_latents_fields, 10, 29)
ENTRY(look_up_samples, LookUpSamples, NOTHING, 0, look_up_samples_fields, 6, 3)
ENTRY(ssimulacra2_sums, Ssimulacra2Sums, NOTHING, 0, ssimulacra2_sums_fields, 2, 5)
ENTRY(ssimulacra2_gradient, Ssimulacra2Gradient, NOTHING, 0, ssimulacra2_gradient_fields, 3, 6)
ENTRY(analyse_channel, AnalyseChannel, NOTHING, 0, analyse_channel_fields, 7, 5)
ENTRY(pixels_to_planes, PixelsToPlanes, NOTHING, 0, pixels_to_planes_fields, 7, 3)
ENTRY(count_bits, CountBits, SIZE, 0, count_bits_fields, 5, 5)
ENTRY(choose_paths, ChoosePaths, NOTHING, 0, choose_paths_fields, 12, 186)

#endif
