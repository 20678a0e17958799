/* Conversion of samples to pixels: the correction network, the image filter and the colours, as described in
 * `dfmcodec.codecs.wavelet.correction`, `dfmcodec.codecs.wavelet.filter` and `dfmcodec.codecs.wavelet.colour`.
 *
 * The network processes rows of cells from top to bottom. Each layer keeps the last three rows of its phases, cosines
 * and sines, dimension by dimension. A row of the next layer is computed as soon as the neighbouring rows are known, so
 * all data stay in the cache. CHUNK cells of a row are processed at a time. All numbers are integers, except for the
 * quotients in features, which are rounded as IEEE 754 demands.
 */
#if !defined(TARGET_AVX2) && !defined(TARGET_AVX512)
#define TARGET_BASELINE
#endif
#include "byte_products.h"
#include "kernels.h"
#include "maths.h"

enum {
    KEPT = 3,            /* rows */
    SAMPLES = 2 * LANES, /* of the filter at a time */
    MAX_WIDTH = 128,
    MAX_DEPTH = 8,
    QUARTER = 64,      /* of a turn of 2^8 */
    BYTES = 4 * LANES, /* of a vector */
    LARGEST_PHASE = 127 << 7,
};

typedef struct {
    int width, depth;
    Layer lift, layers[MAX_DEPTH], bypass;
    const int32_t *first_constants, *lift_factors, *factors[MAX_DEPTH], *constants[MAX_DEPTH], *bypass_factors;
    int places[MAX_WIDTH]; /* among the nine cells, from which each dimension comes */
} Network;

/* The state of an evaluation of the network, row by row; `row % KEPT` is the first index of arrays of rows. */
typedef struct {
    const Network *network;
    const CorrectionResidual *given;
    ptrdiff_t cell_columns;
    ptrdiff_t stride;
    int32_t *cells[KEPT];             /* [CELL_SAMPLES][stride], units */
    int32_t *phases[MAX_DEPTH][KEPT]; /* [width][stride], in 2^-16 turns */
    int8_t *waves[MAX_DEPTH][KEPT];   /* [2 width][stride]: cosines, then sines */
    int32_t *residuals;               /* [CELL_SAMPLES][stride], in 2^-12 steps */
    Inputs in;
    int32_t sums[MAX_OUTPUTS * CHUNK] __attribute__((aligned(64)));
} Work;

/* 127 sin(2 pi k / 256) of the first quarter turn. The entry of the quarter itself equals the last one. */
static const int8_t SINES[QUARTER] __attribute__((aligned(64))) = {
    0,  3,  6,  9,  12, 16, 19, 22, 25, 28, 31,  34,  37,  40,  43,  46,  49,  51,  54,  57,  60,  63,
    65, 68, 71, 73, 76, 78, 81, 83, 85, 88, 90,  92,  94,  96,  98,  100, 102, 104, 106, 107, 109, 111,
    112, 113, 115, 116, 117, 118, 120, 121, 122, 122, 123, 124, 125, 125, 126, 126, 126, 127, 127, 127,
};

/* Looks up the sines of BYTES phases, in 2^-8 turns. */
INLINE void sines_of(const int8_t *phases, int8_t *out) {
#if defined(TARGET_AVX512)
    const __m512i x = _mm512_loadu_si512(phases), size = _mm512_abs_epi8(x), last = _mm512_set1_epi8(QUARTER - 1);
    const __m512i half = _mm512_set1_epi8((char)128), folded = _mm512_min_epu8(size, _mm512_sub_epi8(half, size));
    const __m512i at = _mm512_min_epu8(folded, last);
    __m512i found = _mm512_setzero_si512();
    UNROLLED
    for (int k = 0; k < QUARTER; k += 16) { /* indices beyond a part become negative, whose entry is 0 */
        const __m512i part = _mm512_broadcast_i32x4(_mm_load_si128((const __m128i *)(SINES + k)));
        const __m512i place = _mm512_adds_epu8(_mm512_sub_epi8(at, _mm512_set1_epi8((char)k)), _mm512_set1_epi8(0x70));
        found = _mm512_or_si512(found, _mm512_shuffle_epi8(part, place));
    }
    found = _mm512_mask_sub_epi8(found, _mm512_movepi8_mask(x), _mm512_setzero_si512(), found);
    _mm512_storeu_si512(out, found);
#elif defined(TARGET_AVX2)
    const __m256i x = _mm256_loadu_si256((const __m256i *)phases), size = _mm256_abs_epi8(x);
    const __m256i half = _mm256_set1_epi8((char)128), folded = _mm256_min_epu8(size, _mm256_sub_epi8(half, size));
    const __m256i at = _mm256_min_epu8(folded, _mm256_set1_epi8(QUARTER - 1));
    __m256i found = _mm256_setzero_si256();
    UNROLLED
    for (int k = 0; k < QUARTER; k += 16) { /* indices beyond a part become negative, whose entry is 0 */
        const __m256i part = _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)(SINES + k)));
        const __m256i place = _mm256_adds_epu8(_mm256_sub_epi8(at, _mm256_set1_epi8((char)k)), _mm256_set1_epi8(0x70));
        found = _mm256_or_si256(found, _mm256_shuffle_epi8(part, place));
    }
    _mm256_storeu_si256((__m256i *)out, _mm256_sign_epi8(found, x));
#elif ON_ARM
    const int8x16_t x = vld1q_s8(phases);
    const uint8x16_t size = vreinterpretq_u8_s8(vabsq_s8(x)), folded = vminq_u8(size, vsubq_u8(vdupq_n_u8(128), size));
    const int8x16_t found = vqtbl4q_s8(vld1q_s8_x4(SINES), vminq_u8(folded, vdupq_n_u8(QUARTER - 1)));
    vst1q_s8(out, vbslq_s8(vcltzq_s8(x), vnegq_s8(found), found));
#elif ON_WASM
    const v128_t x = wasm_v128_load(phases), size = wasm_i8x16_abs(x);
    const v128_t folded = wasm_u8x16_min(size, wasm_i8x16_sub(wasm_i8x16_splat(-128), size));
    const v128_t at = wasm_u8x16_min(folded, wasm_i8x16_splat(QUARTER - 1));
    v128_t found = wasm_i8x16_splat(0);
    UNROLLED
    for (int k = 0; k < QUARTER; k += 16) /* indices beyond a part have the entry 0 */
        found = wasm_v128_or(found, wasm_i8x16_swizzle(wasm_v128_load(SINES + k),
                                                       wasm_i8x16_sub(at, wasm_i8x16_splat((int8_t)k))));
    wasm_v128_store(out, wasm_v128_bitselect(wasm_i8x16_neg(found), found, wasm_i8x16_shr(x, 7)));
#else
    for (int n = 0; n < BYTES; n++) {
        const int size = phases[n] < 0 ? -phases[n] : phases[n], folded = size > QUARTER ? 2 * QUARTER - size : size;
        const int8_t found = SINES[folded < QUARTER ? folded : QUARTER - 1];
        out[n] = (int8_t)(phases[n] < 0 ? -found : found);
    }
#endif
}

/* Computes cosines and sines of a dimension of a chunk. */
static void waves_of(const int32_t *phases, int8_t *cosines, int8_t *sines) {
    int8_t x[CHUNK], shifted[CHUNK];
    for (int n = 0; n < CHUNK; n++) x[n] = (int8_t)((phases[n] + 128) >> 8);
    for (int n = 0; n < CHUNK; n++) shifted[n] = (int8_t)(x[n] + QUARTER);
    for (int n = 0; n < CHUNK; n += BYTES) {
        sines_of(x + n, sines + n);
        sines_of(shifted + n, cosines + n);
    }
}

/* Reads the samples of a row of cells. An odd last row or column is repeated; gray gets zero chroma. */
static void cells_of_row(const Work *work, ptrdiff_t row, int32_t *target) {
    const CorrectionResidual *a = work->given;
    for (int sample = 0; sample < CELL_SAMPLES; sample++) {
        int32_t *out = target + sample * work->stride;
        const ptrdiff_t channel = sample / 4, y = 2 * row + sample / 2 % 2, x = sample % 2;
        if (channel >= a->channels) {
            memset(out, 0, (size_t)work->cell_columns * sizeof *out);
            continue;
        }
        const int32_t *source = a->samples + (channel * a->height + (y < a->height ? y : a->height - 1)) * a->width;
        const ptrdiff_t pairs = (a->width - x + 1) / 2;
        for (ptrdiff_t n = 0; n < pairs; n++) out[n] = source[2 * n + x];
        if (pairs < work->cell_columns) out[pairs] = source[a->width - 1];
    }
}

/* Computes the features of a chunk from the samples of one of the surrounding cells and the sums of the middle cell. */
static void features_of(const int32_t *cell, const int32_t *sums, int32_t limit, int8_t *out) {
    for (int n = 0; n < CHUNK; n++) {
        const int32_t difference = 4 * cell[n] - sums[n], size = difference < 0 ? -difference : difference;
        const float limited = (float)difference * 124.0f / (float)(size + limit);
        out[n] = (int8_t)__builtin_floorf(limited + 0.5f);
    }
}

/* Evaluates a layer for a chunk, from `count` rows of inputs from column `first` on. The sums are in the workspace. */
INLINE void evaluate_rows(Work *work, const Layer *layer, const int8_t *const *rows, int count, ptrdiff_t first) {
    static const int8_t nothing[CHUNK];
    work->in.count = 0;
    for (int k = 0; k < count; k += GROUP) {
        const int8_t *of_group[GROUP];
        for (int i = 0; i < GROUP; i++) of_group[i] = k + i < count ? rows[k + i] + first : nothing;
        add_group(&work->in, k / GROUP, of_group);
    }
    byte_products->evaluate(layer, &work->in, work->sums);
}

/* Computes row `row` of the phases of the lift, from the rows of cells row .. row + 2. */
static void lift_row(Work *work, ptrdiff_t row) {
    const Network *network = work->network;
    int8_t features[CORRECTION_FEATURES][CHUNK];
    const int8_t *rows[CORRECTION_FEATURES];
    for (int k = 0; k < CORRECTION_FEATURES; k++) rows[k] = features[k];
    for (ptrdiff_t first = 0; first < work->cell_columns - 2; first += CHUNK) {
        for (int channel = 0; channel < CHANNELS; channel++) {
            const int32_t *middle = work->cells[(row + 1) % KEPT] + 4 * channel * work->stride + first + 1;
            int32_t sums[CHUNK];
            for (int n = 0; n < CHUNK; n++)
                sums[n] = middle[n] + middle[n + work->stride] + middle[n + 2 * work->stride] +
                          middle[n + 3 * work->stride];
            for (int around = 0; around < CELLS_AROUND; around++)
                for (int s = 4 * channel; s < 4 * channel + 4; s++)
                    features_of(work->cells[(row + around / 3) % KEPT] + s * work->stride + first + around % 3, sums,
                                16 * work->given->step_size, features[around * CELL_SAMPLES + s]);
        }
        evaluate_rows(work, &network->lift, rows, CORRECTION_FEATURES, 0);
        for (int j = 0; j < network->width; j++) {
            const int32_t factor = network->lift_factors[j], constant = network->first_constants[j];
            const int32_t *sums = work->sums + j * CHUNK;
            int32_t *phases = work->phases[0][row % KEPT] + j * work->stride + first;
            int8_t *waves = work->waves[0][row % KEPT] + j * work->stride + first;
            for (int n = 0; n < CHUNK; n++) phases[n] = ((sums[n] * factor + 128) >> 8) + constant;
            waves_of(phases, waves, waves + network->width * work->stride);
        }
    }
}

/* Finds the cosines and sines that row `row` after a layer depends on. */
static void seen_by_row(const Work *work, int layer, ptrdiff_t row, const int8_t **rows) {
    const int width = work->network->width;
    for (int k = 0; k < width; k++) {
        const int place = work->network->places[k];
        rows[k] = work->waves[layer][(row + place / 3) % KEPT] + k * work->stride + place % 3;
        rows[width + k] = rows[k] + width * work->stride;
    }
}

/* Computes row `row` of the phases after a layer, from the rows row .. row + 2 before it. */
static void phases_row(Work *work, int layer, ptrdiff_t row, ptrdiff_t columns) {
    const Network *network = work->network;
    const int8_t *rows[2 * MAX_WIDTH];
    seen_by_row(work, layer, row, rows);
    for (ptrdiff_t first = 0; first < columns; first += CHUNK) {
        evaluate_rows(work, &network->layers[layer], rows, 2 * network->width, first);
        for (int j = 0; j < network->width; j++) {
            const int32_t factor = network->factors[layer][j], constant = network->constants[layer][j];
            const int32_t *sums = work->sums + j * CHUNK;
            const int32_t *before = work->phases[layer][(row + 1) % KEPT] + j * work->stride + first + 1;
            int32_t *phases = work->phases[layer + 1][row % KEPT] + j * work->stride + first;
            int8_t *waves = work->waves[layer + 1][row % KEPT] + j * work->stride + first;
            for (int n = 0; n < CHUNK; n++) phases[n] = before[n] + ((sums[n] * factor + 128) >> 8) + constant;
            waves_of(phases, waves, waves + network->width * work->stride);
        }
    }
}

/* Computes row `row` of the residuals: the last layer, and the bypass from phases in two bytes. */
static void residuals_row(Work *work, ptrdiff_t row, ptrdiff_t columns) {
    const Network *network = work->network;
    const int last = network->depth - 1, width = network->width;
    int8_t high[MAX_WIDTH][CHUNK], low[MAX_WIDTH][CHUNK];
    int32_t sums[CELL_SAMPLES * CHUNK], passed[CELL_SAMPLES * CHUNK];
    const int8_t *rows[2 * MAX_WIDTH], *of_bypass[2][MAX_WIDTH];
    for (int j = 0; j < width; j++) of_bypass[0][j] = high[j], of_bypass[1][j] = low[j];
    seen_by_row(work, last, row, rows);
    for (ptrdiff_t first = 0; first < columns; first += CHUNK) {
        evaluate_rows(work, &network->layers[last], rows, 2 * width, first);
        memcpy(sums, work->sums, sizeof sums);
        for (int j = 0; j < width; j++) {
            const int32_t *phases = work->phases[last][(row + 1) % KEPT] + j * work->stride + first + 1;
            for (int n = 0; n < CHUNK; n++) {
                int32_t value = (phases[n] + 16) >> 5;
                value = value < -LARGEST_PHASE ? -LARGEST_PHASE : value > LARGEST_PHASE ? LARGEST_PHASE : value;
                high[j][n] = (int8_t)((value + 64) >> 7);
                low[j][n] = (int8_t)(value - high[j][n] * 128);
            }
        }
        evaluate_rows(work, &network->bypass, of_bypass[0], width, 0);
        memcpy(passed, work->sums, sizeof passed);
        evaluate_rows(work, &network->bypass, of_bypass[1], width, 0);
        for (int j = 0; j < CELL_SAMPLES; j++) {
            const int32_t factor = network->factors[last][j], constant = network->constants[last][j];
            const int32_t bypass_factor = network->bypass_factors[j];
            int32_t *out = work->residuals + j * work->stride + first;
            for (int n = 0; n < CHUNK; n++) {
                const int at = j * CHUNK + n;
                out[n] = ((sums[at] * factor + 32768) >> 16) + constant +
                         (((passed[at] + ((work->sums[at] + 64) >> 7)) * bypass_factor + 2048) >> 12);
            }
        }
    }
}

/* Stores a row of residuals into planes, in units. */
static void spread_row(const Work *work, ptrdiff_t y) {
    const CorrectionResidual *a = work->given;
    const ptrdiff_t height = a->block_height, width = a->block_width;
    const float unit = (float)(a->step_size / 4096.0);
    for (int sample = 0; sample < CELL_SAMPLES; sample++) {
        const ptrdiff_t channel = sample / 4, line = 2 * y + sample / 2 % 2, x = sample % 2;
        if (channel >= a->channels || line >= height) continue;
        float *out = a->residual + (channel * height + line) * width + x;
        const int32_t *source = work->residuals + sample * work->stride;
        for (ptrdiff_t n = 0; 2 * n + x < width; n++) out[2 * n] = (float)source[n] * unit;
    }
}

/* Finds the layers of a network in its weights. Rejects the call if they have too few, or memory is short. */
static int lay_out(Call *call, Network *network, const CorrectionResidual *a) {
    static const int32_t no_constants[MAX_OUTPUTS];
    const int width = network->width, depth = network->depth;
    const ptrdiff_t inner = 2 * (ptrdiff_t)width * width, ends = 2 * (ptrdiff_t)width * CELL_SAMPLES;
    if (!has_items(call, a, weights,
                   CORRECTION_FEATURES * width + (depth - 1) * inner + ends + width * CELL_SAMPLES) ||
        !has_items(call, a, factors, width + 2 * (depth - 1) * width + 3 * CELL_SAMPLES))
        return 0;
    const int8_t *weights = a->weights;
    const int32_t *factors = a->factors;
    int is_made = make_layer(&network->lift, weights, CORRECTION_FEATURES, NULL, CORRECTION_FEATURES, width,
                             no_constants, 1);
    weights += CORRECTION_FEATURES * width;
    network->first_constants = a->first_constants;
    network->lift_factors = factors;
    factors += width;
    for (int i = 0; i < depth; i++) {
        const int outputs = i < depth - 1 ? width : CELL_SAMPLES;
        is_made &= make_layer(&network->layers[i], weights, 2 * width, NULL, 2 * width, outputs, no_constants, 1);
        weights += 2 * width * outputs;
        network->factors[i] = factors;
        network->constants[i] = factors + outputs;
        factors += 2 * outputs;
    }
    is_made &= make_layer(&network->bypass, weights, width, NULL, width, CELL_SAMPLES, no_constants, 1);
    network->bypass_factors = factors;
    const int moved = width / DIMENSIONS_PER_MOVED;
    for (int k = 0; k < width; k++) {
        const int number = moved && k >= width - 8 * moved ? (k - width + 8 * moved) / moved : -1;
        network->places[k] = number < 0 ? 4 : number < 4 ? number : number + 1;
    }
    return is_made || no_memory(call);
}

static void free_network(Network *network) {
    free_layer(&network->lift), free_layer(&network->bypass);
    for (int i = 0; i < network->depth; i++) free_layer(&network->layers[i]);
}

/* Evaluates the network, one row of cells after the other. */
static void residuals_of(Work *work, ptrdiff_t cell_rows) {
    const int depth = work->network->depth;
    for (ptrdiff_t row = 0; row < cell_rows; row++) {
        cells_of_row(work, row, work->cells[row % KEPT]);
        ptrdiff_t ready = row - 2; /* the row that can be computed next */
        if (ready < 0) continue;
        lift_row(work, ready);
        for (int layer = 0; layer < depth; layer++) {
            ready -= 2;
            if (ready < 0) break;
            const ptrdiff_t columns = work->cell_columns - 2 * (layer + 2);
            if (layer < depth - 1) {
                phases_row(work, layer, ready, columns);
            } else {
                residuals_row(work, ready, columns);
                spread_row(work, ready);
            }
        }
    }
}

int NAME(correction_residual)(Call *call, const CorrectionResidual *a) {
    const ptrdiff_t cell_rows = (a->height + 1) / 2, cell_columns = (a->width + 1) / 2;
    const ptrdiff_t lost = 2 + 2 * (ptrdiff_t)a->depth; /* rows and columns of cells */
    const ptrdiff_t width = a->first_constants_count, depth = a->depth;
    if (width < 1 || width > MAX_WIDTH || depth < 1 || depth > MAX_DEPTH || a->channels < 1 || a->channels > CHANNELS ||
        a->height < 1 || a->width < 1 || a->block_height < 1 || a->block_width < 1 || a->step_size < 1 ||
        a->step_size > MAX_UNITS || cell_rows - lost != (a->block_height + 1) / 2 ||
        cell_columns - lost != (a->block_width + 1) / 2)
        return refuse(call, "a network or block of these sizes is not possible");
    Network network = {.width = (int)width, .depth = (int)depth};
    const ptrdiff_t stride = (cell_columns + 2 * CHUNK + 1) / CHUNK * CHUNK;
    const ptrdiff_t numbers = KEPT * stride * (CELL_SAMPLES + depth * width) + stride * CELL_SAMPLES;
    const int is_ready = lay_out(call, &network, a);
    Work *work = is_ready ? aligned_memory(sizeof *work) : NULL;
    int32_t *next = is_ready ? calloc((size_t)numbers, sizeof *next) : NULL, *const phases = next;
    int8_t *waves = is_ready ? calloc((size_t)(2 * KEPT * stride * depth * width), 1) : NULL, *const first = waves;
    const int has_memory = work && phases && waves;
    if (has_memory) {
        work->network = &network, work->given = a, work->cell_columns = cell_columns, work->stride = stride;
        for (int kept = 0; kept < KEPT; kept++, next += CELL_SAMPLES * stride) work->cells[kept] = next;
        for (int i = 0; i < KEPT * depth; i++, next += width * stride, waves += 2 * width * stride) {
            work->phases[i / KEPT][i % KEPT] = next;
            work->waves[i / KEPT][i % KEPT] = waves;
        }
        work->residuals = next;
        byte_products->begin();
        residuals_of(work, cell_rows);
        byte_products->end();
    }
    free_aligned(work), free(phases), free(first);
    free_network(&network);
    return has_memory || (is_ready && no_memory(call));
}

/* The residual of the filter for SAMPLES samples of all channels, [channels][SAMPLES], from index `here` of each plane. */
INLINE void filter_tile(const float *weights, const ptrdiff_t *taps, ptrdiff_t count, int channels, const float *here,
                        ptrdiff_t plane, float (*out)[SAMPLES]) {
    float_lanes sums[CHANNELS][2];
    UNROLLED
    for (int i = 0; i < channels; i++) sums[i][0] = sums[i][1] = all(0.0f);
    for (ptrdiff_t t = 0; t < count; t++)
        for (int from = 0; from < channels; from++, weights += channels) {
            const float *own = here + from * plane, *around = own + taps[t];
            const float_lanes x0 = load(around) - load(own), x1 = load(around + LANES) - load(own + LANES);
            UNROLLED
            for (int i = 0; i < channels; i++) {
                sums[i][0] = add_product(sums[i][0], weights[i], x0);
                sums[i][1] = add_product(sums[i][1], weights[i], x1);
            }
        }
    UNROLLED
    for (int i = 0; i < channels; i++) {
        store(out[i], &sums[i][0]);
        store(out[i] + LANES, &sums[i][1]);
    }
}

int NAME(filter_residual)(Call *call, const FilterResidual *a) {
    const ptrdiff_t channels = a->channels, height = a->height, width = a->width, radius = a->radius;
    const ptrdiff_t count = a->taps_count / 2, padded_width = width + 2 * radius;
    if ((channels != 1 && channels != CHANNELS) || height < 1 || width < 1 || radius < 0 || radius > 64)
        return refuse(call, "a filter or block of these sizes is not possible");
    for (ptrdiff_t t = 0; t < 2 * count; t++)
        if (a->taps[t] < -radius || a->taps[t] > radius) return refuse(call, "a tap beyond the radius");
    const ptrdiff_t plane = (height + 2 * radius) * padded_width;
    float *values = calloc((size_t)(channels * plane + SAMPLES), sizeof *values);
    ptrdiff_t *distances = malloc((size_t)(count + 1) * sizeof *distances);
    const int has_memory = values && distances;
    for (ptrdiff_t n = 0; has_memory && n < channels * plane; n++) values[n] = (float)a->samples[n];
    for (ptrdiff_t t = 0; has_memory && t < count; t++)
        distances[t] = a->taps[2 * t] * padded_width + a->taps[2 * t + 1];
    for (ptrdiff_t row = 0; has_memory && row < height; row++)
        for (ptrdiff_t first = 0; first < width; first += SAMPLES) {
            const ptrdiff_t some = width - first < SAMPLES ? width - first : SAMPLES;
            const float *here = values + (row + radius) * padded_width + radius + first;
            float sums[CHANNELS][SAMPLES];
            if (channels == CHANNELS) /* constants for the compiler */
                filter_tile(a->weights, distances, count, CHANNELS, here, plane, sums);
            else
                filter_tile(a->weights, distances, count, 1, here, plane, sums);
            for (ptrdiff_t i = 0; i < channels; i++)
                memcpy(a->residual + (i * height + row) * width + first, sums[i], (size_t)some * sizeof(float));
        }
    free(values), free(distances);
    return has_memory || no_memory(call);
}

/* Computes the code values of a row of planes before rounding: [CHANNELS][width]. */
static void colours_of_row(const float *planes, ptrdiff_t channels, ptrdiff_t plane, ptrdiff_t width,
                           const float *basis, float scale, float middle, float most, float *out) {
    for (ptrdiff_t j = 0; j < channels; j++)
        for (ptrdiff_t n = 0; n < width; n++) {
            float value = planes[n] * (channels > 1 ? basis[j] : 1.0f);
            if (channels > 1) value += planes[plane + n] * basis[3 + j] + planes[2 * plane + n] * basis[6 + j];
            value = value * scale + middle;
            out[j * width + n] = !(value > 0) ? 0 : value > most ? most : value; /* NaN is 0 */
        }
}

int NAME(planes_to_pixels)(Call *call, const PlanesToPixels *a) {
    const ptrdiff_t channels = a->channels, height = a->height, width = a->width;
    const float scale = (float)a->scale, middle = (float)a->middle, peak = (float)a->peak;
    const int bytes = peak > 255 ? 2 : 1;
    if ((channels != 1 && channels != CHANNELS) || !(peak > 0 && peak <= 65535))
        return refuse(call, "planes of these sizes are not possible");
    if (!has_items(call, a, pixels, bytes * channels * height * width)) return 0;
    float *row_values = malloc((size_t)(channels * width + 1) * sizeof *row_values);
    if (!row_values) return no_memory(call);
    for (ptrdiff_t row = 0; row < height; row++) {
        colours_of_row(a->planes + row * width, channels, height * width, width, a->basis, scale, middle, peak,
                       row_values);
        for (ptrdiff_t j = 0; j < channels; j++)
            for (ptrdiff_t n = 0; n < width; n++) {
                const ptrdiff_t at = (row * width + n) * channels + j;
                /* ties to even, as in NumPy */
                const int value = (int)((row_values[j * width + n] + ROUNDING) - ROUNDING);
                if (bytes == 1)
                    ((uint8_t *)a->pixels)[at] = (uint8_t)value;
                else
                    ((uint16_t *)a->pixels)[at] = (uint16_t)value;
            }
    }
    free(row_values);
    return 1;
}
