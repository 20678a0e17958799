/* The context network of latent grids, for the symbols of a wavefront. The same integers as
 * `dfmcodec.codecs.overfitted.context`, where the model is described. All sums are integers below 2^24,
 * which float32 holds exactly; 16 symbols are worked on at a time.
 */
#if !defined(TARGET_AVX2) && !defined(TARGET_AVX512)
#define TARGET_BASELINE
#endif
#include "common.h"

enum {
    CAUSAL = 14,  /* symbols of the grid that a symbol sees */
    COARSER = 15, /* features of coarser grids */
    FEATURES = CAUSAL + COARSER,
    MAX_HIDDEN = 48,
    TILE = 4, /* sums of a symbol at a time */
    MEAN_BITS = 4, /* a mean is in sixteenths of a symbol */
    MEAN_PARTS = 1 << MEAN_BITS,
    MEANS = MEAN_PARTS / 2 + 1, /* of a table */
};

typedef struct {
    Buffer first, constants, second, second_constants, last;
    int hidden_1, hidden_2;
} Network;

/* Symbols `start + n step`, n < count, of an array. */
typedef struct {
    ptrdiff_t start, step;
} Front;

INLINE int is_within(const Buffer *buffer, ptrdiff_t size, Front front, ptrdiff_t count) {
    const ptrdiff_t items = buffer->len / size;
    return is_position(front.start, items) && SIZES(front.step, count) && front.step <= items && count <= items &&
           front.start + (count - 1) * front.step < items;
}

INLINE float_lanes activation(float_lanes sums) { /* clip(floor(sum / 64), 0, 255) */
    const int32_lanes a = __builtin_convertvector(sums, int32_lanes) >> 6;
    return __builtin_convertvector(least(most(a, 0), 255), float_lanes);
}

/* sums[j] = constants[j] + sum of weights[k][j] inputs[k] for `outputs` sums. */
INLINE void layer(const float *weights, const float *constants, int inputs, int outputs, const float_lanes *x,
                  float_lanes *sums) {
    for (int first = 0; first < outputs; first += TILE) {
        float_lanes tile[TILE];
        int at[TILE];
        UNROLLED
        for (int i = 0; i < TILE; i++) {
            at[i] = first + i < outputs ? first + i : outputs - 1;
            tile[i] = all(constants ? constants[at[i]] : 0);
        }
        for (int k = 0; k < inputs; k++) {
            const float *w = weights + k * outputs;
            UNROLLED
            for (int i = 0; i < TILE; i++) tile[i] = add_product(tile[i], w[at[i]], x[k]);
        }
        UNROLLED
        for (int i = 0; i < TILE; i++) sums[at[i]] = tile[i];
    }
}

/* Scale and mean of 16 symbols, from their features. */
static void outputs_of(const Network *network, float (*features)[LANES], int32_t *scale, int32_t *mean) {
    const int h1 = network->hidden_1, h2 = network->hidden_2;
    float_lanes x[FEATURES], sums[MAX_HIDDEN + 2], hidden[MAX_HIDDEN], out[2];
    for (int k = 0; k < FEATURES; k++) x[k] = load(features[k]);
    layer(network->first.buf, network->constants.buf, FEATURES, h1 + 2, x, sums);
    const float_lanes direct[2] = {sums[h1], sums[h1 + 1]};
    for (int j = 0; j < h1; j++) sums[j] = activation(sums[j]);
    layer(network->second.buf, network->second_constants.buf, h1, h2, sums, hidden);
    for (int j = 0; j < h2; j++) hidden[j] = activation(hidden[j]);
    layer(network->last.buf, NULL, h2, 2, hidden, out);
    const int32_lanes scales = __builtin_convertvector(out[0] + direct[0], int32_lanes) >> 8;
    const int32_lanes means = __builtin_convertvector(out[1] + direct[1], int32_lanes) >> 7;
    store(scale, &scales);
    store(mean, &means);
}

/* The tables of all symbols of a wavefront; see _compiled.pyi. */
int NAME(choose_front)(Call *call) {
    Network network;
    Buffer plane, offsets, coarser, table, sign, middle;
    Front own, others;
    ptrdiff_t count;
    int unit_scale, last_scale, last_direct, largest_mean;
    network.first = take_buffer(call), network.constants = take_buffer(call), network.second = take_buffer(call),
    network.second_constants = take_buffer(call), network.last = take_buffer(call), plane = take_buffer(call),
    offsets = take_buffer(call), own.start = take_size(call), own.step = take_size(call),
    coarser = take_buffer(call), others.start = take_size(call), others.step = take_size(call),
    count = take_size(call), unit_scale = take_int(call), last_scale = take_int(call), last_direct = take_int(call),
    largest_mean = take_int(call), table = take_buffer(call), sign = take_buffer(call), middle = take_buffer(call);
    const ptrdiff_t h1 = network.constants.len / 4 - 2, h2 = network.second_constants.len / 4;
    const int64_t *offset = offsets.buf;
    if (h1 < 1 || h2 < 1 || h1 > MAX_HIDDEN || h2 > MAX_HIDDEN || count < 1 || last_direct < 0 ||
        last_scale < last_direct || largest_mean < 0 || !is_within(&coarser, COARSER, others, count)) {
        return refuse(call, "a network or wavefront of these sizes is not possible");
    }
    network.hidden_1 = (int)h1;
    network.hidden_2 = (int)h2;
    if (!has_items(call, &network.first, FEATURES * (h1 + 2), 4, "first") ||
        !has_items(call, &network.second, h1 * h2, 4, "second") || !has_items(call, &network.last, 2 * h2, 4, "last") ||
        !has_items(call, &offsets, CAUSAL, 8, "offsets") || !has_items(call, &table, count, 2, "table") ||
        !has_items(call, &sign, count, 4, "sign") || !has_items(call, &middle, count, 4, "middle"))
        return 0;
    for (int k = 0; k < CAUSAL; k++) {
        const Front seen = {own.start + offset[k], own.step};
        if (offset[k] < -plane.len || offset[k] > 0 || !is_within(&plane, 4, seen, count)) {
            return refuse(call, "a feature beyond its plane");
        }
    }
    const float *seen = (const float *)plane.buf + own.start;
    const int8_t *above = (const int8_t *)coarser.buf + others.start * COARSER;
    int16_t *tables = table.buf;
    int32_t *signs = sign.buf, *middles = middle.buf;
    for (ptrdiff_t first = 0; first < count; first += LANES) {
        const int some = count - first < LANES ? (int)(count - first) : LANES;
        float features[FEATURES][LANES] = {{0}};
        int32_t scales[LANES], mean[LANES];
        for (int n = 0; n < some; n++) {
            for (int k = 0; k < CAUSAL; k++) features[k][n] = seen[(first + n) * own.step + offset[k]];
            for (int k = 0; k < COARSER; k++) features[CAUSAL + k][n] = above[(first + n) * others.step * COARSER + k];
        }
        outputs_of(&network, features, scales, mean);
        for (int n = 0; n < some; n++) {
            int32_t scale = scales[n] + unit_scale, m = mean[n];
            scale = scale < 0 ? 0 : scale > last_scale ? last_scale : scale;
            m = m < -largest_mean ? -largest_mean : m > largest_mean ? largest_mean : m;
            const int32_t whole = (m + MEAN_PARTS / 2) >> MEAN_BITS, rest = m - MEAN_PARTS * whole; /* -8 .. 7 */
            tables[first + n] = (int16_t)(scale > last_direct ? MEANS * (last_direct + 1) + scale - last_direct - 1
                                                              : MEANS * scale + (rest < 0 ? -rest : rest));
            signs[first + n] = rest < 0 ? -1 : 1;
            middles[first + n] = whole;
        }
    }
    return 1;
}

/* Takes the symbols of a wavefront; see _compiled.pyi. */
int NAME(accept_front)(Call *call) {
    Buffer symbols, companded, grid, plane;
    Front own, seen;
    symbols = take_buffer(call), companded = take_buffer(call), grid = take_buffer(call),
    own.start = take_size(call), own.step = take_size(call), plane = take_buffer(call), seen.start = take_size(call),
    seen.step = take_size(call);
    const ptrdiff_t count = symbols.len / 4, last = companded.len / 4 - 1;
    if (last < 0 || count < 1 || !is_within(&grid, 4, own, count) || !is_within(&plane, 4, seen, count)) {
        return refuse(call, "a wavefront beyond its grid");
    }
    for (ptrdiff_t n = 0; n < count; n++) {
        const int32_t symbol = ((const int32_t *)symbols.buf)[n];
        const uint32_t size = symbol < 0 ? -(uint32_t)symbol : (uint32_t)symbol;
        const float value = ((const float *)companded.buf)[size < (size_t)last ? size : (size_t)last];
        ((int32_t *)grid.buf)[own.start + n * own.step] = symbol;
        ((float *)plane.buf)[seen.start + n * seen.step] = symbol < 0 ? -value : value;
    }
    return 1;
}
