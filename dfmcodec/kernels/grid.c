/* The context network of latent grids, for the symbols of a wavefront. `dfmcodec.codecs.overfitted.context` describes
 * the model. All integers are equal to those of its NumPy implementation: sums are integers below 2^24, which are exact
 * in float32. LANES symbols are processed at a time.
 */
#if !defined(TARGET_AVX2) && !defined(TARGET_AVX512)
#define TARGET_BASELINE
#endif
#include "kernels.h"

enum {
    OTHER_FEATURES = CELL_FEATURES + COARSER_FEATURES, /* of coarser grids */
    MAX_HIDDEN = 48,
    TILE = 4,      /* sums of a symbol at a time */
    MEAN_BITS = 4, /* a mean is in sixteenths of a symbol */
};

/* The symbols at indices `start + n stride`, n < count, of an array. */
typedef struct {
    ptrdiff_t start, stride;
} Wavefront;

INLINE int is_within(ptrdiff_t items, Wavefront front, ptrdiff_t count) {
    return is_position(front.start, items) && SIZES(front.stride, count) && front.stride <= items && count <= items &&
           front.start + (count - 1) * front.stride < items;
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

/* Scale and mean of LANES symbols, from their features. */
static void outputs_of(const GridNetworkWeights *network, float (*features)[LANES], int32_t *scale, int32_t *mean) {
    const int h1 = (int)network->constants_count - 2, h2 = (int)network->second_constants_count;
    float_lanes x[GRID_FEATURES], sums[MAX_HIDDEN + 2], hidden[MAX_HIDDEN], out[2];
    for (int k = 0; k < GRID_FEATURES; k++) x[k] = load(features[k]);
    layer(network->first, network->constants, GRID_FEATURES, h1 + 2, x, sums);
    const float_lanes direct[2] = {sums[h1], sums[h1 + 1]};
    for (int j = 0; j < h1; j++) sums[j] = activation(sums[j]);
    layer(network->second, network->second_constants, h1, h2, sums, hidden);
    for (int j = 0; j < h2; j++) hidden[j] = activation(hidden[j]);
    layer(network->last, NULL, h2, 2, hidden, out);
    const int32_lanes scales = __builtin_convertvector(out[0] + direct[0], int32_lanes) >> 8;
    const int32_lanes means = __builtin_convertvector(out[1] + direct[1], int32_lanes) >> 7;
    store(scale, &scales);
    store(mean, &means);
}

INLINE int32_t limited(int32_t x, int32_t least, int32_t most) { return x < least ? least : x > most ? most : x; }

int NAME(choose_wavefront_tables)(Call *call, const ChooseWavefrontTables *a) {
    const Wavefront own = {a->plane_start, a->plane_stride}, others = {a->coarser_start, a->coarser_stride};
    const ptrdiff_t h1 = a->network.constants_count - 2, h2 = a->network.second_constants_count, count = a->count;
    if (h1 < 1 || h2 < 1 || h1 > MAX_HIDDEN || h2 > MAX_HIDDEN || count < 1 ||
        !is_within(a->coarser_count / OTHER_FEATURES, others, count))
        return refuse(call, "a network or wavefront of these sizes is not possible");
    for (int k = 0; k < CAUSAL_FEATURES; k++) {
        const Wavefront seen = {own.start + a->causal[k], own.stride};
        if (a->causal[k] < -a->plane_count || a->causal[k] > 0 || !is_within(a->plane_count, seen, count))
            return refuse(call, "a feature beyond its plane");
    }
    const float *seen = a->plane + own.start;
    const int8_t *above = a->coarser + others.start * OTHER_FEATURES;
    for (ptrdiff_t first = 0; first < count; first += LANES) {
        const int some = count - first < LANES ? (int)(count - first) : LANES;
        float features[GRID_FEATURES][LANES] = {{0}};
        int32_t scales[LANES], means[LANES];
        for (int n = 0; n < some; n++) {
            for (int k = 0; k < CAUSAL_FEATURES; k++) features[k][n] = seen[(first + n) * own.stride + a->causal[k]];
            for (int k = 0; k < OTHER_FEATURES; k++)
                features[CAUSAL_FEATURES + k][n] = above[(first + n) * others.stride * OTHER_FEATURES + k];
        }
        outputs_of(&a->network, features, scales, means);
        for (int n = 0; n < some; n++) {
            const int32_t scale = limited(scales[n] + UNIT_SCALE_INDEX, 0, LAPLACE_COUNT - 1);
            const int32_t mean = limited(means[n], -MAX_MEAN, MAX_MEAN);
            const int32_t middle = (mean + MEANS_PER_SYMBOL / 2) >> MEAN_BITS;
            const int32_t rest = mean - MEANS_PER_SYMBOL * middle; /* -8 .. 7 */
            a->table[first + n] =
                (int16_t)(scale > LAST_DIRECT ? SYMBOL_MEANS * (LAST_DIRECT + 1) + scale - LAST_DIRECT - 1
                                              : SYMBOL_MEANS * scale + (rest < 0 ? -rest : rest));
            a->sign[first + n] = rest < 0 ? -1 : 1;
            a->middle[first + n] = middle;
        }
    }
    return 1;
}

int NAME(accept_wavefront)(Call *call, const AcceptWavefront *a) {
    const Wavefront own = {a->grid_start, a->grid_stride}, seen = {a->plane_start, a->plane_stride};
    const ptrdiff_t count = a->symbols_count, last = a->companded_count - 1;
    if (last < 0 || count < 1 || !is_within(a->grid_count, own, count) || !is_within(a->plane_count, seen, count))
        return refuse(call, "a wavefront beyond its grid");
    for (ptrdiff_t n = 0; n < count; n++) {
        const int32_t symbol = a->symbols[n];
        const uint32_t size = symbol < 0 ? -(uint32_t)symbol : (uint32_t)symbol;
        const float value = a->companded[size < (size_t)last ? size : (size_t)last];
        a->grid[own.start + n * own.stride] = symbol;
        a->plane[seen.start + n * seen.stride] = symbol < 0 ? -value : value;
    }
    return 1;
}
