/* A window of a fit of the overfitted codec: its loss by colours and bits, and the gradient of it, as
 * `dfmcodec.codecs.overfitted.encode.window_loss` describes them (which is what JAX computes elsewhere).
 *
 * A window has WINDOW x WINDOW pixels, and of each of GRID_LEVELS grids its own samples and HALO more on all sides. All
 * planes of a level have rows of `stride_of(level)` numbers, of which those beyond its samples are zero where they
 * could count. Networks go over tiles of 128 symbols or pixels: the inputs of a tile are rows of 128 numbers, a
 * layer is a product of a matrix with them, and its gradient goes the same way back before the next tile. The
 * gradient of a weight is kept for each lane of vectors, and summed in the end.
 */
#if !defined(TARGET_AVX2) && !defined(TARGET_AVX512)
#define TARGET_BASELINE
#endif
#include "kernels.h"
#include "maths.h"

enum {
    OUTPUTS = 2, /* scale, mean */
    MAX_WIDTH = 64,
    TILE = 128,
    TILE_VECTORS = TILE / LANES,
    ROWS_AT_A_TIME = 4, /* of a product of matrices */
    SLACK = 2 * LANES,  /* numbers that may be read beyond the last one */
    PIXELS_ALONG = WINDOW + 2 * STAGES,
    PIXELS = PIXELS_ALONG * PIXELS_ALONG, /* that the synthesis network is evaluated at */
    MARGIN = 2 * PIXELS_ALONG + LANES,    /* zeros before a plane of gradients */
    VALUES = PIXELS + SLACK,              /* numbers of a plane of vectors or colours */
    BY_VALUES = MARGIN + VALUES,
    AROUND = 9 * CHANNELS,
};

typedef float Row[TILE];

INLINE int own_samples(int level) { return WINDOW >> level; }
INLINE int samples_of(int level) { return own_samples(level) + 2 * HALO; }
INLINE int stride_of(int level) { return (samples_of(level) + 15) / 16 * 16 + 16; }
INLINE int whole_vectors(int numbers) { return (numbers + LANES - 1) / LANES * LANES; }
INLINE int plane_of(int level) { return samples_of(level) * stride_of(level) + SLACK; }

/* The weights of an image's networks, or what the loss changes by with them; arrays as in `SynthesisNetwork` and
 * `ContextWeights`. */
typedef struct {
    float *filters, *lift, *lift_constants, *layer, *bypass, *constants, *stages, *stage_constants;
    float *w1, *c1, *w2, *c2, *w3, *context_bypass, *c3;
} Weights;

static ptrdiff_t weights_at(float *at, int width, int units, Weights *weights) {
    float *const start = at;
#define TAKE(name, count) (weights->name = at, at += (count))
    TAKE(filters, (GRID_LEVELS - 1) * TAPS);
    TAKE(lift, width * GRID_LEVELS);
    TAKE(lift_constants, width);
    TAKE(layer, CHANNELS * 2 * width);
    TAKE(bypass, CHANNELS * GRID_LEVELS);
    TAKE(constants, CHANNELS);
    TAKE(stages, STAGES * CHANNELS * AROUND);
    TAKE(stage_constants, STAGES * CHANNELS);
    TAKE(w1, units * GRID_FEATURES);
    TAKE(c1, units * GRID_LEVELS);
    TAKE(w2, units * units);
    TAKE(c2, units);
    TAKE(w3, OUTPUTS * units);
    TAKE(context_bypass, OUTPUTS * GRID_FEATURES);
    TAKE(c3, OUTPUTS * GRID_LEVELS);
#undef TAKE
    return at - start;
}

/* What a call works on. Planes of gradients receive what they hold of the loss. */
typedef struct {
    Weights weights, by;
    int width, units, has_gradient;
    int lines; /* of the companding: the least of slope * |x| + constant */
    const float *companding;
    ptrdiff_t top, left, height, width_of_image;
    float lmbda, step, peak, temperature, noise, activation_max;
    uint32_t seed;
    const float *colours, *pixel_weights, *grids[GRID_LEVELS]; /* grids are of the whole image */
    float *costs;                                  /* [WINDOW][WINDOW] without gradient: squared errors of pixels */
    float *symbol_bits;                            /* without gradient, from the finest grid on */
    float *symbols[GRID_LEVELS], *slopes[GRID_LEVELS];       /* after soft rounding, and how fast they move with the latents */
    float *seen[GRID_LEVELS];                           /* companded */
    float *by_symbols[GRID_LEVELS], *by_seen[GRID_LEVELS];
    float *planes[GRID_LEVELS], *by_planes[GRID_LEVELS]; /* the coarser grids at the size of a level, the nearest first */
    float *middle, *by_middle;                 /* a plane that is upsampled along its rows */
    float *vectors, *by_vectors;               /* [GRID_LEVELS][VALUES] */
    float *values[STAGES + 1];                 /* [CHANNELS][VALUES]: before and after each stage */
    float *by_values[STAGES + 1];              /* BY_VALUES apart, each after a margin */
    float_lanes *sums;                         /* of gradients of weights */
} Work;

INLINE ptrdiff_t level_size(ptrdiff_t pixels, int level) { return (pixels + (1 << level) - 1) >> level; }

INLINE ptrdiff_t within(ptrdiff_t place, ptrdiff_t count) {
    return place < 0 ? 0 : place < count ? place : count - 1;
}

/* The samples of a level that are in the image, along an axis. */
typedef struct {
    int first, end;
} Range;

INLINE Range inside_of(ptrdiff_t corner, ptrdiff_t size, int level) {
    const ptrdiff_t before = HALO - (corner >> level), end = before + level_size(size, level);
    return (Range){before > 0 ? (int)before : 0, end < samples_of(level) ? (int)end : samples_of(level)};
}

/* ---- products of matrices ---------------------------------------------------------------------------------- */

/* out[r] = bias[r] + sum_k weights[r][k] in[k], for tiles of an even number of vectors. */
INLINE void products(const float *weights, const float *bias, int bias_stride, int rows, int count, const Row *in,
                     Row *out, int vectors) {
    for (int first = 0; first < rows; first += ROWS_AT_A_TIME) {
        const float *of_row[ROWS_AT_A_TIME];
        int at[ROWS_AT_A_TIME];
        UNROLLED
        for (int i = 0; i < ROWS_AT_A_TIME; i++) {
            at[i] = first + i < rows ? first + i : rows - 1;
            of_row[i] = weights + at[i] * count;
        }
        for (int v = 0; v < vectors; v += 2) {
            float_lanes sums[ROWS_AT_A_TIME][2];
            UNROLLED
            for (int i = 0; i < ROWS_AT_A_TIME; i++)
                sums[i][0] = sums[i][1] = all(bias ? bias[at[i] * bias_stride] : 0.0f);
            const float *x = in[0] + v * LANES;
            for (int k = 0; k < count; k++, x += TILE) {
                const float_lanes x0 = load(x), x1 = load(x + LANES);
                UNROLLED
                for (int i = 0; i < ROWS_AT_A_TIME; i++) {
                    sums[i][0] += of_row[i][k] * x0;
                    sums[i][1] += of_row[i][k] * x1;
                }
            }
            UNROLLED
            for (int i = 0; i < ROWS_AT_A_TIME; i++) {
                store(out[at[i]] + v * LANES, &sums[i][0]);
                store(out[at[i]] + (v + 1) * LANES, &sums[i][1]);
            }
        }
    }
}

enum { BLOCK = 4 }; /* rows and columns of gradients at a time */

/* sums[r][k] += left[r] right[k], lane by lane. */
INLINE void outer_products(float_lanes *sums, const Row *left, int rows, const Row *right, int count, int vectors) {
    for (int r = 0; r < rows; r += BLOCK)
        for (int k = 0; k < count; k += BLOCK) {
            const float *a[BLOCK], *b[BLOCK];
            float_lanes found[BLOCK][BLOCK];
            UNROLLED
            for (int i = 0; i < BLOCK; i++) {
                a[i] = left[r + i < rows ? r + i : rows - 1];
                b[i] = right[k + i < count ? k + i : count - 1];
                UNROLLED
                for (int j = 0; j < BLOCK; j++) found[i][j] = all(0.0f);
            }
            for (int v = 0; v < vectors; v++) {
                float_lanes x[BLOCK];
                UNROLLED
                for (int j = 0; j < BLOCK; j++) x[j] = load(b[j] + v * LANES);
                UNROLLED
                for (int i = 0; i < BLOCK; i++) {
                    const float_lanes of_row = load(a[i] + v * LANES);
                    UNROLLED
                    for (int j = 0; j < BLOCK; j++) found[i][j] += of_row * x[j];
                }
            }
            UNROLLED
            for (int i = 0; i < BLOCK; i++)
                UNROLLED
                for (int j = 0; j < BLOCK; j++)
                    if (r + i < rows && k + j < count) sums[(r + i) * count + k + j] += found[i][j];
        }
}

/* sums[r] += the numbers of a row, lane by lane. */
INLINE void row_sums(float_lanes *sums, int stride, const Row *rows, int count, int vectors) {
    for (int r = 0; r < count; r++)
        for (int v = 0; v < vectors; v++) sums[r * stride] += load(rows[r] + v * LANES);
}

static void transpose(const float *from, int rows, int columns, float *to, int stride) {
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++) to[c * stride + r] = from[r * columns + c];
}

static void add_lanes(const float_lanes *sums, ptrdiff_t count, float *target) {
    for (ptrdiff_t i = 0; i < count; i++) target[i] += sum_of_lanes(sums[i]);
}

/* ---- soft rounding and companding -------------------------------------------------------------------------- */

/* Nearly normal numbers of deviation 1: sums of 8 bytes of a hash (the finaliser of MurmurHash3) of a counter. */
INLINE float_lanes random_numbers(uint32_t seed, uint32_t counter) {
    typedef uint32_t uint32_lanes __attribute__((vector_size(LANES * 4)));
    uint32_lanes x;
    for (uint32_t i = 0; i < LANES; i++) x[i] = i;
    x = (x + counter) * 0x9E3779B9u + seed;
    int32_lanes sum = {0};
    for (int round = 0; round < 2; round++) {
        x ^= x >> 16;
        x *= 0x85EBCA6Bu;
        x ^= x >> 13;
        x *= 0xC2B2AE35u;
        x ^= x >> 16;
        sum += (int32_lanes)((x & 255) + (x >> 8 & 255) + (x >> 16 & 255) + (x >> 24));
    }
    return (__builtin_convertvector(sum, float_lanes) - 1020.0f) * (1 / 209.0191f);
}

/* Rounds softly: floor(x) + 1/2 + tanh((x - floor(x) - 1/2) / T) / (2 tanh(1 / (2 T))), and its derivative. */
INLINE float_lanes soft_round(float_lanes x, float per_temperature, float half_height, float_lanes *slope) {
    const float_lanes middle = floored(x) + 0.5f;
    const float_lanes up = exponential((x - middle) * (2 * per_temperature));
    const float_lanes tanh = all(1.0f) - 2.0f / (up + 1.0f);
    *slope = (half_height * per_temperature) * (all(1.0f) - tanh * tanh);
    return middle + half_height * tanh;
}

INLINE float_lanes companded(const Work *work, float_lanes x, float_lanes *slope) {
    const float_lanes size = magnitude(x);
    float_lanes least = work->companding[0] * size + work->companding[1], of_line = all(work->companding[0]);
    for (int line = 1; line < work->lines; line++) {
        const float_lanes other = work->companding[2 * line] * size + work->companding[2 * line + 1];
        const int32_lanes is_less = negative(other - least);
        least = where(is_less, other, least);
        of_line = where(is_less, all(work->companding[2 * line]), of_line);
    }
    *slope = of_line;
    return with_sign_of(least, x);
}

/* Latents of a level into symbols and their slopes; beyond the image, those at its edges are repeated. */
static void round_level(const Work *work, int level) {
    const ptrdiff_t rows = level_size(work->height, level), columns = level_size(work->width_of_image, level);
    const ptrdiff_t top = (work->top >> level) - HALO, left = (work->left >> level) - HALO;
    const int side = samples_of(level), stride = stride_of(level);
    const float per_temperature = work->has_gradient ? 1 / work->temperature : 0;
    const float height = work->has_gradient ? 0.5f / (1 - 2 / (exponential(all(per_temperature))[0] + 1)) : 0;
    for (int y = 0; y < side; y++) {
        const float *latents = work->grids[level] + within(top + y, rows) * columns;
        for (int x = 0; x < stride; x += LANES) {
            const int is_inner = left + x >= 0 && left + x + LANES <= columns;
            float_lanes value = is_inner ? load(latents + left + x) : all(0.0f), first, second;
            for (int i = 0; i < LANES && !is_inner; i++) value[i] = latents[within(left + x + i, columns)];
            if (work->has_gradient) {
                const uint32_t counter = (uint32_t)((level * samples_of(0) + y) * stride_of(0) + x);
                value = soft_round(value, per_temperature, height, &first);
                value += work->noise * random_numbers(work->seed, counter);
                value = soft_round(value, per_temperature, height, &second);
                first *= second;
                store(work->slopes[level] + y * stride + x, &first);
            }
            for (int i = side - x < 0 ? 0 : side - x; i < LANES; i++) value[i] = 0;
            store(work->symbols[level] + y * stride + x, &value);
        }
    }
}

/* The symbols of a level as contexts see them: companded, and 0 beyond the image. */
static void compand_level(const Work *work, int level) {
    const int stride = stride_of(level);
    const Range rows = inside_of(work->top, work->height, level);
    const Range columns = inside_of(work->left, work->width_of_image, level);
    memset(work->seen[level], 0, sizeof(float) * (size_t)plane_of(level));
    for (int y = rows.first; y < rows.end; y++)
        for (int x = 0; x < stride; x += LANES) {
            float_lanes slope, value = companded(work, load(work->symbols[level] + y * stride + x), &slope);
            if (x < columns.first || x + LANES > columns.end)
                for (int i = 0; i < LANES; i++)
                    if (x + i < columns.first || x + i >= columns.end) value[i] = 0;
            store(work->seen[level] + y * stride + x, &value);
        }
}

/* ---- upsampling ---------------------------------------------------------------------------------------------- */

#if defined(__clang__)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (int32_lanes){__VA_ARGS__})
#endif

#if LANES == 16
#define LOW_PAIRS 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH_PAIRS 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define EVEN_ONES 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ODD_ONES 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#elif LANES == 8
#define LOW_PAIRS 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH_PAIRS 4, 12, 5, 13, 6, 14, 7, 15
#define EVEN_ONES 0, 2, 4, 6, 8, 10, 12, 14
#define ODD_ONES 1, 3, 5, 7, 9, 11, 13, 15
#else
#define LOW_PAIRS 0, 4, 1, 5
#define HIGH_PAIRS 2, 6, 3, 7
#define EVEN_ONES 0, 2, 4, 6
#define ODD_ONES 1, 3, 5, 7
#endif

INLINE float_lanes low_pairs(float_lanes a, float_lanes b) { return SHUFFLE(a, b, LOW_PAIRS); }
INLINE float_lanes high_pairs(float_lanes a, float_lanes b) { return SHUFFLE(a, b, HIGH_PAIRS); }
INLINE float_lanes even_ones(float_lanes a, float_lanes b) { return SHUFFLE(a, b, EVEN_ONES); }
INLINE float_lanes odd_ones(float_lanes a, float_lanes b) { return SHUFFLE(a, b, ODD_ONES); }

/* Upsamples the rows of a plane of `level` + 1 along their length: [samples of it][stride of `level`]. */
INLINE void double_rows(const float *taps, int level, const float *in, float *out) {
    const int count = samples_of(level + 1), pairs = count - TAPS;
    for (int y = 0; y < count; y++) {
        const float *row = in + y * stride_of(level + 1);
        float *wide = out + y * stride_of(level);
        for (int i = 0; i < pairs; i += LANES) {
            float_lanes even = all(0.0f), odd = all(0.0f);
            UNROLLED
            for (int t = 0; t < TAPS; t++) {
                even += taps[t] * load(row + i + t);
                odd += taps[TAPS - 1 - t] * load(row + i + t + 1);
            }
            const float_lanes low = low_pairs(even, odd), high = high_pairs(even, odd);
            store(wide + 2 * i, &low);
            store(wide + 2 * i + LANES, &high);
        }
    }
}

/* Upsamples a plane of `level` + 1 to one of `level`; see `codecs.overfitted.synthesis.upsampled`. */
static void double_plane(const Work *work, const float *taps, int level, const float *in, float *out) {
    const int pairs = samples_of(level + 1) - TAPS, stride = stride_of(level), end = whole_vectors(2 * pairs);
    double_rows(taps, level, in, work->middle);
    for (int p = 0; p < pairs; p++)
        for (int x = 0; x < end; x += LANES) {
            const float *from = work->middle + p * stride + x;
            float_lanes even = all(0.0f), odd = all(0.0f);
            UNROLLED
            for (int t = 0; t < TAPS; t++) {
                even += taps[t] * load(from + t * stride);
                odd += taps[TAPS - 1 - t] * load(from + (t + 1) * stride);
            }
            store(out + 2 * p * stride + x, &even);
            store(out + (2 * p + 1) * stride + x, &odd);
        }
    for (int y = 0; y < 2 * pairs; y++) memset(out + y * stride + end, 0, sizeof *out * (size_t)(stride - end));
}

/* The transpose of `double_plane`: adds to the gradient of the coarser plane. `by` is zero beyond the samples of
 * its rows. With `sums`, the gradient by the taps is added to them, from what was upsampled. */
static void undouble_plane(const Work *work, const float *taps, int level, const float *by, float *to, const float *in,
                           float_lanes *sums) {
    const int count = samples_of(level + 1), pairs = count - TAPS, stride = stride_of(level);
    if (sums) double_rows(taps, level, in, work->middle);
    for (int y = 0; y < count; y++)
        for (int x = 0; x < whole_vectors(2 * pairs); x += LANES) {
            float_lanes sum = all(0.0f);
            const float_lanes wide = sums ? load(work->middle + y * stride + x) : sum;
            UNROLLED
            for (int t = 0; t < TAPS; t++) {
                const int even = y - t, odd = y - t - 1;
                if (even >= 0 && even < pairs) {
                    const float_lanes g = load(by + 2 * even * stride + x);
                    sum += taps[t] * g;
                    if (sums) sums[t] += g * wide;
                }
                if (odd >= 0 && odd < pairs) {
                    const float_lanes g = load(by + (2 * odd + 1) * stride + x);
                    sum += taps[TAPS - 1 - t] * g;
                    if (sums) sums[TAPS - 1 - t] += g * wide;
                }
            }
            store(work->by_middle + y * stride + x, &sum);
        }
    float even[WINDOW + 3 * LANES] = {0}, odd[WINDOW + 3 * LANES] = {0}; /* from their sample LANES on */
    for (int y = 0; y < count; y++) {
        const float *wide = work->by_middle + y * stride, *row = in ? in + y * stride_of(level + 1) : NULL;
        float *target = to + y * stride_of(level + 1);
        for (int i = 0; i < pairs; i += LANES) {
            float_lanes a = load(wide + 2 * i), b = load(wide + 2 * i + LANES), e = even_ones(a, b), o = odd_ones(a, b);
            if (i + LANES > pairs)
                for (int lane = pairs - i; lane < LANES; lane++) e[lane] = o[lane] = 0;
            store(even + LANES + i, &e);
            store(odd + LANES + i, &o);
            if (sums)
                UNROLLED
                for (int t = 0; t < TAPS; t++) {
                    sums[t] += e * load(row + i + t);
                    sums[TAPS - 1 - t] += o * load(row + i + t + 1);
                }
        }
        for (int i = 0; i < count; i += LANES) {
            float_lanes sum = load(target + i);
            UNROLLED
            for (int t = 0; t < TAPS; t++) {
                sum += taps[t] * load(even + LANES + i - t);
                sum += taps[TAPS - 1 - t] * load(odd + LANES + i - t - 1);
            }
            store(target + i, &sum);
        }
    }
}

/* Sets what is beyond the image, and beyond the samples of rows, to zero. */
static void clear_outside(const Work *work, int level, float *plane) {
    const int side = samples_of(level), stride = stride_of(level);
    const Range rows = inside_of(work->top, work->height, level);
    const Range columns = inside_of(work->left, work->width_of_image, level);
    for (int y = 0; y < side; y++) {
        float *row = plane + y * stride;
        if (y < rows.first || y >= rows.end) {
            memset(row, 0, sizeof *row * (size_t)stride);
            continue;
        }
        memset(row, 0, sizeof *row * (size_t)columns.first);
        memset(row + columns.end, 0, sizeof *row * (size_t)(stride - columns.end));
    }
}

/* ---- contexts ---------------------------------------------------------------------------------------------- */

typedef struct {
    int level, vectors; /* an even number; those beyond `used` are zero */
    int used;
    int y[TILE_VECTORS], x[TILE_VECTORS]; /* the first symbol of each vector, among the window's own */
    int lanes;                            /* symbols of a vector */
} Tile;

/* The rows of a tile: what goes into a product has to follow each other. */
typedef struct {
    Row h1[MAX_WIDTH], h2_and_features[MAX_WIDTH + GRID_FEATURES], outputs[OUTPUTS];
    Row by_h1_and_outputs[MAX_WIDTH + OUTPUTS], by_h2[MAX_WIDTH], by_features[GRID_FEATURES];
    Row values, by_values, bits;
} ContextRows;

/* The weights of contexts side by side for products, and where the gradients of each are in `Work.sums`. */
typedef struct {
    float last[OUTPUTS * (MAX_WIDTH + GRID_FEATURES)];       /* [w3 | bypass] */
    float first_back[GRID_FEATURES * (MAX_WIDTH + OUTPUTS)]; /* [w1' | bypass'] */
    float second_back[MAX_WIDTH * MAX_WIDTH];           /* w2' */
    float_lanes *by_first, *by_second, *by_last, *by_c1, *by_c2, *by_c3;
} ContextProducts;

static void gather_tile(const Work *work, const Tile *tile, ContextRows *rows) {
    const int level = tile->level, stride = stride_of(level), coarse = level + 1 < GRID_LEVELS ? stride_of(level + 1) : 0;
    Row *features = rows->h2_and_features + work->units;
    memset(features, 0, sizeof(Row) * GRID_FEATURES);
    for (int v = 0; v < tile->used; v++) {
        const int x = HALO + tile->x[v], y = HALO + tile->y[v], at = v * LANES;
        memcpy(rows->values + at, work->symbols[level] + y * stride + x, sizeof(float) * LANES);
        for (int k = 0; k < CAUSAL_FEATURES; k++) {
            const float *from = work->seen[level] + (y + CAUSAL_OFFSETS[k][0]) * stride + x + CAUSAL_OFFSETS[k][1];
            memcpy(features[k] + at, from, sizeof(float) * LANES);
        }
        if (level + 1 == GRID_LEVELS) continue;
        for (int k = 0; k < CELL_FEATURES; k++) {
            const int row = HALO + tile->y[v] / 2 + k / 3 - 1, column = HALO + tile->x[v] / 2 + k % 3 - 1;
            const float_lanes cells = load(work->seen[level + 1] + row * coarse + column);
            const float_lanes twice = low_pairs(cells, cells);
            store(features[CAUSAL_FEATURES + k] + at, &twice);
        }
        for (int k = 0; k < GRID_LEVELS - 1 - level; k++) {
            const float *from = work->planes[level] + k * plane_of(level) + y * stride + x;
            memcpy(features[CAUSAL_FEATURES + CELL_FEATURES + k] + at, from, sizeof(float) * LANES);
        }
    }
}

INLINE void add_to(float *target, float_lanes v) {
    const float_lanes sum = load(target) + v;
    store(target, &sum);
}

/* The gradient of features and values of a tile to where they came from. */
INLINE void scatter_tile(const Work *work, const Tile *tile, const ContextRows *rows) {
    const int level = tile->level, stride = stride_of(level), coarse = level + 1 < GRID_LEVELS ? stride_of(level + 1) : 0;
    for (int v = 0; v < tile->used; v++) {
        const int x = HALO + tile->x[v], y = HALO + tile->y[v], at = v * LANES;
        add_to(work->by_symbols[level] + y * stride + x, load(rows->by_values + at));
        for (int k = 0; k < CAUSAL_FEATURES; k++)
            add_to(work->by_seen[level] + (y + CAUSAL_OFFSETS[k][0]) * stride + x + CAUSAL_OFFSETS[k][1],
                   load(rows->by_features[k] + at));
        if (level + 1 == GRID_LEVELS) continue;
        for (int k = 0; k < CELL_FEATURES; k++) {
            const int row = HALO + tile->y[v] / 2 + k / 3 - 1, column = HALO + tile->x[v] / 2 + k % 3 - 1;
            const float_lanes g = load(rows->by_features[CAUSAL_FEATURES + k] + at), none = all(0.0f);
            add_to(work->by_seen[level + 1] + row * coarse + column, even_ones(g, none) + odd_ones(g, none));
        }
        for (int k = 0; k < GRID_LEVELS - 1 - level; k++)
            memcpy(work->by_planes[level] + k * plane_of(level) + y * stride + x,
                   rows->by_features[CAUSAL_FEATURES + CELL_FEATURES + k] + at, sizeof(float) * LANES);
    }
}

/* The bits of symbols of Laplace distributions, and their gradients by scale (its logarithm) and by distance from the
 * mean; see `contexts.laplace_bits`. The probability of a symbol is at least 2^-20. */
INLINE float_lanes laplace_bits(float_lanes distance, float_lanes log_scale, float_lanes *by_distance,
                                float_lanes *by_log_scale) {
    const float_lanes per_scale = exponential(-log_scale), one = all(1.0f), nats_to_bits = all(1.44269504f);
    const float_lanes before = (distance - 0.5f) * per_scale, after = (distance + 0.5f) * per_scale;
    const float_lanes e_before = exponential(-magnitude(before)), e_after = exponential(-after);
    const float_lanes e_width = exponential(-per_scale);
    const float_lanes p_around = one - 0.5f * (e_before + e_after), p_apart = 0.5f * e_before * (one - e_width);
    const int32_lanes around = negative(before); /* the mean lies between the ends */
    const float_lanes p = where(around, p_around, p_apart);
    const float_lanes per_p = nats_to_bits / larger(p, all(1e-12f));
    const float_lanes around_by_distance = 0.5f * (e_before - e_after) * per_scale * per_p;
    const float_lanes around_by_scale = 0.5f * (after * e_after - before * e_before) * per_p;
    const float_lanes apart_by_distance = nats_to_bits * per_scale;
    const float_lanes apart_by_scale = nats_to_bits * (per_scale * e_width / (one - e_width) - before);
    const int32_lanes is_possible = ~negative(p - 9.5367431640625e-7f); /* 2^-20 */
    *by_distance = where(is_possible, where(around, around_by_distance, apart_by_distance), all(0.0f));
    *by_log_scale = where(is_possible, where(around, around_by_scale, apart_by_scale), all(0.0f));
    return -logarithm(larger(p, all(9.5367431640625e-7f)));
}

/* Activations of sums: between 0 and the largest one. */
INLINE float_lanes activation(float_lanes sum, float_lanes most) { return smaller(larger(sum, all(0.0f)), most); }

/* The gradient of a sum by that of its activation. */
INLINE float_lanes by_sum(float_lanes active, float_lanes by_active, float_lanes most) {
    return where(negative(all(0.0f) - active) & negative(active - most), by_active, all(0.0f));
}

/* The bits of the symbols of a tile, and with a gradient what they change by with everything. */
static void context_tile(const Work *work, const Tile *tile, const ContextProducts *sides, ContextRows *rows) {
    const int units = work->units, level = tile->level, vectors = tile->vectors;
    const Weights *weights = &work->weights;
    const float_lanes none = all(0.0f), most_active = all(work->activation_max), largest = all(6.0f);
    Row *features = rows->h2_and_features + units, *h2 = rows->h2_and_features;
    gather_tile(work, tile, rows);
    products(weights->w1, weights->c1 + level, GRID_LEVELS, units, GRID_FEATURES, (const Row *)features, rows->h1, vectors);
    for (int u = 0; u < units; u++)
        for (int v = 0; v < vectors; v++) {
            const float_lanes h = activation(load(rows->h1[u] + v * LANES), most_active);
            store(rows->h1[u] + v * LANES, &h);
        }
    products(weights->w2, weights->c2, 1, units, units, (const Row *)rows->h1, h2, vectors);
    for (int u = 0; u < units; u++)
        for (int v = 0; v < vectors; v++) {
            const float_lanes sum = load(h2[u] + v * LANES) + load(rows->h1[u] + v * LANES);
            const float_lanes h = activation(sum, most_active);
            store(h2[u] + v * LANES, &h);
        }
    products(sides->last, weights->c3 + level, GRID_LEVELS, OUTPUTS, units + GRID_FEATURES, (const Row *)h2, rows->outputs,
             vectors);
    const Range down = inside_of(work->top, work->height, level);
    const Range across = inside_of(work->left, work->width_of_image, level);
    Row *by_outputs = rows->by_h1_and_outputs + units;
    for (int v = 0; v < vectors; v++) {
        const int y = HALO + tile->y[v], x = HALO + tile->x[v];
        float_lanes counts = none; /* 1 for symbols of the image */
        if (v < tile->used && y >= down.first && y < down.end) {
            counts = all(1.0f);
            if (x < across.first || x + LANES > across.end || tile->lanes < LANES)
                for (int i = 0; i < LANES; i++)
                    counts[i] = i < tile->lanes && x + i >= across.first && x + i < across.end;
        }
        const float_lanes output = load(rows->outputs[0] + v * LANES);
        const float_lanes log_scale = larger(smaller(output, largest), -largest);
        const float_lanes apart = load(rows->values + v * LANES) - load(rows->outputs[1] + v * LANES);
        float_lanes by_distance, by_log_scale;
        const float_lanes bits = counts * laplace_bits(magnitude(apart), log_scale, &by_distance, &by_log_scale);
        store(rows->bits + v * LANES, &bits);
        const float_lanes bit_cost = counts * work->lmbda;
        const float_lanes by_value =
            (float_lanes)((int32_lanes)(bit_cost * by_distance) ^ ((int32_lanes)apart & (int32_t)0x80000000));
        const float_lanes by_mean = -by_value;
        const float_lanes by_scale = bit_cost * where(negative(magnitude(output) - largest), by_log_scale, none);
        store(rows->by_values + v * LANES, &by_value);
        store(by_outputs[0] + v * LANES, &by_scale);
        store(by_outputs[1] + v * LANES, &by_mean);
    }
    if (!work->has_gradient) return;
    outer_products(sides->by_last, (const Row *)by_outputs, OUTPUTS, (const Row *)h2, units + GRID_FEATURES, vectors);
    row_sums(sides->by_c3 + level, GRID_LEVELS, (const Row *)by_outputs, OUTPUTS, vectors);
    for (int u = 0; u < units; u++)
        for (int v = 0; v < vectors; v++) {
            const float_lanes h = load(h2[u] + v * LANES);
            const float_lanes g = weights->w3[u] * load(by_outputs[0] + v * LANES) +
                                  weights->w3[units + u] * load(by_outputs[1] + v * LANES);
            const float_lanes kept = by_sum(h, g, most_active);
            store(rows->by_h2[u] + v * LANES, &kept);
        }
    products(sides->second_back, NULL, 0, units, units, (const Row *)rows->by_h2, rows->by_h1_and_outputs, vectors);
    for (int u = 0; u < units; u++)
        for (int v = 0; v < vectors; v++) {
            const float_lanes h = load(rows->h1[u] + v * LANES);
            const float_lanes g = load(rows->by_h1_and_outputs[u] + v * LANES) + load(rows->by_h2[u] + v * LANES);
            const float_lanes kept = by_sum(h, g, most_active);
            store(rows->by_h1_and_outputs[u] + v * LANES, &kept);
        }
    outer_products(sides->by_second, (const Row *)rows->by_h2, units, (const Row *)rows->h1, units, vectors);
    row_sums(sides->by_c2, 1, (const Row *)rows->by_h2, units, vectors);
    outer_products(sides->by_first, (const Row *)rows->by_h1_and_outputs, units, (const Row *)features, GRID_FEATURES,
                   vectors);
    row_sums(sides->by_c1 + level, GRID_LEVELS, (const Row *)rows->by_h1_and_outputs, units, vectors);
    products(sides->first_back, NULL, 0, GRID_FEATURES, units + OUTPUTS, (const Row *)rows->by_h1_and_outputs,
             rows->by_features, vectors);
    scatter_tile(work, tile, rows);
}

static void context_level(const Work *work, int level, const ContextProducts *sides, ContextRows *rows, float *bits) {
    const int side = own_samples(level), across = side < LANES ? 1 : side / LANES, count = side * across;
    for (int first = 0; first < count; first += TILE_VECTORS) {
        Tile tile = {level, 0, 0, {0}, {0}, side < LANES ? side : LANES};
        tile.used = count - first < TILE_VECTORS ? count - first : TILE_VECTORS;
        tile.vectors = (tile.used + 1) / 2 * 2;
        for (int v = 0; v < tile.used; v++) {
            tile.y[v] = (first + v) / across;
            tile.x[v] = (first + v) % across * LANES;
        }
        context_tile(work, &tile, sides, rows);
        if (bits)
            for (int v = 0; v < tile.used; v++)
                memcpy(bits + tile.y[v] * side + tile.x[v], rows->bits + v * LANES, sizeof(float) * (size_t)tile.lanes);
    }
}

static const float BILINEAR[TAPS] = {0, 0.25f, 0.75f, 0};

/* The bits of all symbols, and their gradients. */
static void bits_of_window(Work *work, ContextRows *rows) {
    const int units = work->units;
    const Weights *weights = &work->weights;
    ContextProducts sides;
    for (int o = 0; o < OUTPUTS; o++) {
        memcpy(sides.last + o * (units + GRID_FEATURES), weights->w3 + o * units, sizeof(float) * (size_t)units);
        memcpy(sides.last + o * (units + GRID_FEATURES) + units, weights->context_bypass + o * GRID_FEATURES,
               sizeof(float) * GRID_FEATURES);
    }
    transpose(weights->w1, units, GRID_FEATURES, sides.first_back, units + OUTPUTS);
    transpose(weights->context_bypass, OUTPUTS, GRID_FEATURES, sides.first_back + units, units + OUTPUTS);
    transpose(weights->w2, units, units, sides.second_back, units);
    sides.by_first = work->sums;
    sides.by_c1 = sides.by_first + units * GRID_FEATURES;
    sides.by_second = sides.by_c1 + units * GRID_LEVELS;
    sides.by_c2 = sides.by_second + units * units;
    sides.by_last = sides.by_c2 + units;
    sides.by_c3 = sides.by_last + OUTPUTS * (units + GRID_FEATURES);
    float_lanes *const end = sides.by_c3 + OUTPUTS * GRID_LEVELS;
    memset(work->sums, 0, (size_t)((char *)end - (char *)work->sums));
    for (int level = 0; level < GRID_LEVELS; level++) compand_level(work, level);
    for (int level = GRID_LEVELS - 2; level >= 0; level--)
        for (int k = 0; k < GRID_LEVELS - 1 - level; k++) {
            const float *from = k ? work->planes[level + 1] + (k - 1) * plane_of(level + 1) : work->seen[level + 1];
            float *to = work->planes[level] + k * plane_of(level);
            double_plane(work, BILINEAR, level, from, to);
            clear_outside(work, level, to);
        }
    float *bits = work->symbol_bits;
    for (int level = 0; level < GRID_LEVELS; level++) {
        context_level(work, level, &sides, rows, bits);
        if (bits) bits += own_samples(level) * own_samples(level);
    }
    if (!work->has_gradient) return;
    for (int level = 0; level < GRID_LEVELS - 1; level++)
        for (int k = 0; k < GRID_LEVELS - 1 - level; k++) {
            float *by = work->by_planes[level] + k * plane_of(level);
            float *to = k ? work->by_planes[level + 1] + (k - 1) * plane_of(level + 1) : work->by_seen[level + 1];
            clear_outside(work, level, by);
            undouble_plane(work, BILINEAR, level, by, to, NULL, NULL);
        }
    Weights *by = &work->by;
    add_lanes(sides.by_first, units * GRID_FEATURES, by->w1);
    add_lanes(sides.by_c1, units * GRID_LEVELS, by->c1);
    add_lanes(sides.by_second, units * units, by->w2);
    add_lanes(sides.by_c2, units, by->c2);
    for (int o = 0; o < OUTPUTS; o++) {
        add_lanes(sides.by_last + o * (units + GRID_FEATURES), units, by->w3 + o * units);
        add_lanes(sides.by_last + o * (units + GRID_FEATURES) + units, GRID_FEATURES, by->context_bypass + o * GRID_FEATURES);
    }
    add_lanes(sides.by_c3, OUTPUTS * GRID_LEVELS, by->c3);
}

/* ---- the machine ------------------------------------------------------------------------------------------- */

typedef struct {
    Row waves[2 * MAX_WIDTH], turns[MAX_WIDTH], vectors[GRID_LEVELS], colours[CHANNELS];
    Row by_colours[CHANNELS], by_phases_and_colours[MAX_WIDTH + CHANNELS], by_vectors[GRID_LEVELS];
} MachineRows;

typedef struct {
    float last[CHANNELS * (2 * MAX_WIDTH + GRID_LEVELS)];
    float back[GRID_LEVELS * (MAX_WIDTH + CHANNELS)]; /* [lift' | bypass'] */
    float_lanes *by_lift, *by_lift_constants, *by_layer, *by_bypass, *by_constants;
} MachineProducts;

/* Fourier layer and bypass of up to TILE pixels; with a gradient, the way back. */
static void machine_tile(const Work *work, int first, int used, const MachineProducts *sides, MachineRows *rows,
                         int goes_back) {
    const int width = work->width, vectors = (used + 2 * LANES - 1) / (2 * LANES) * 2;
    const Weights *weights = &work->weights;
    for (int level = 0; level < GRID_LEVELS; level++) {
        if (used < TILE) memset(rows->vectors[level], 0, sizeof(Row));
        memcpy(rows->vectors[level], work->vectors + level * VALUES + first, sizeof(float) * (size_t)used);
    }
    products(weights->lift, weights->lift_constants, 1, width, GRID_LEVELS, (const Row *)rows->vectors, rows->turns,
             vectors);
    for (int j = 0; j < width; j++)
        for (int v = 0; v < vectors; v++) {
            float_lanes cosine, sine;
            cos_sin(load(rows->turns[j] + v * LANES) * 0.15915494f, &cosine, &sine);
            if (!goes_back) cosine -= 1.0f;
            store(rows->waves[j] + v * LANES, &cosine);
            store(rows->waves[width + j] + v * LANES, &sine);
        }
    if (!goes_back) {
        Row of_bypass[CHANNELS];
        products(weights->layer, weights->constants, 1, CHANNELS, 2 * width, (const Row *)rows->waves, rows->colours,
                 vectors);
        products(weights->bypass, NULL, 0, CHANNELS, GRID_LEVELS, (const Row *)rows->vectors, of_bypass, vectors);
        for (int c = 0; c < CHANNELS; c++)
            for (int i = 0; i < used; i++)
                work->values[0][c * VALUES + first + i] = rows->colours[c][i] + of_bypass[c][i];
        return;
    }
    Row *by_colours = rows->by_phases_and_colours + width;
    for (int c = 0; c < CHANNELS; c++) {
        if (used < TILE) memset(by_colours[c], 0, sizeof(Row));
        memcpy(by_colours[c], work->by_values[0] + c * BY_VALUES + first, sizeof(float) * (size_t)used);
    }
    for (int v = 0; v < vectors; v++) {
        const float_lanes g0 = load(by_colours[0] + v * LANES), g1 = load(by_colours[1] + v * LANES),
                          g2 = load(by_colours[2] + v * LANES);
        for (int j = 0; j < width; j++) {
            const float *a = weights->layer + j, *b = a + width;
            const float_lanes by_cosine = a[0] * g0 + a[2 * width] * g1 + a[4 * width] * g2;
            const float_lanes by_sine = b[0] * g0 + b[2 * width] * g1 + b[4 * width] * g2;
            const float_lanes cosine = load(rows->waves[j] + v * LANES),
                              sine = load(rows->waves[width + j] + v * LANES);
            const float_lanes by_phase = by_sine * cosine - by_cosine * sine;
            store(rows->by_phases_and_colours[j] + v * LANES, &by_phase);
        }
    }
    /* the gradient by a_j has cos - 1: what the sum with cos has too much is that by the constants */
    outer_products(sides->by_layer, (const Row *)by_colours, CHANNELS, (const Row *)rows->waves, 2 * width, vectors);
    outer_products(sides->by_bypass, (const Row *)by_colours, CHANNELS, (const Row *)rows->vectors, GRID_LEVELS, vectors);
    row_sums(sides->by_constants, 1, (const Row *)by_colours, CHANNELS, vectors);
    outer_products(sides->by_lift, (const Row *)rows->by_phases_and_colours, width, (const Row *)rows->vectors, GRID_LEVELS,
                   vectors);
    row_sums(sides->by_lift_constants, 1, (const Row *)rows->by_phases_and_colours, width, vectors);
    products(sides->back, NULL, 0, GRID_LEVELS, width + CHANNELS, (const Row *)rows->by_phases_and_colours, rows->by_vectors,
             vectors);
    for (int level = 0; level < GRID_LEVELS; level++)
        memcpy(work->by_vectors + level * VALUES + first, rows->by_vectors[level], sizeof(float) * (size_t)used);
}

/* A residual stage: planes + a 3x3 map of them, for `count` numbers of rows of PIXELS_ALONG. */
static void stage_forward(const Work *work, int stage, const float *in, float *out, int rows) {
    const float *weights = work->weights.stages + stage * CHANNELS * AROUND;
    const float *constants = work->weights.stage_constants + stage * CHANNELS;
    const int plane = VALUES, count = rows * PIXELS_ALONG;
    for (int i = 0; i < count; i += LANES) {
        float_lanes sums[CHANNELS];
        for (int c = 0; c < CHANNELS; c++) sums[c] = constants[c] + load(in + c * plane + PIXELS_ALONG + 1 + i);
        UNROLLED
        for (int around = 0; around < 9; around++)
            UNROLLED
            for (int k = 0; k < CHANNELS; k++) {
                const float_lanes x = load(in + k * plane + around / 3 * PIXELS_ALONG + around % 3 + i);
                UNROLLED
                for (int c = 0; c < CHANNELS; c++) sums[c] += weights[c * AROUND + around * CHANNELS + k] * x;
            }
        for (int c = 0; c < CHANNELS; c++) {
            if (stage == 0) sums[c] = larger(sums[c], all(0.0f));
            store(out + c * plane + i, &sums[c]);
        }
    }
}

/* The way back through a stage: `by_out` is zero beyond its rows and columns, before its start too. */
static void stage_backward(const Work *work, int stage, const float *in, const float *by_out, float *by_in, int rows,
                           float_lanes *sums) {
    const float *weights = work->weights.stages + stage * CHANNELS * AROUND;
    const int plane = VALUES, by_plane = BY_VALUES, count = rows * PIXELS_ALONG;
    for (int i = 0; i < count + 2 * PIXELS_ALONG; i += LANES) {
        float_lanes found[CHANNELS];
        for (int k = 0; k < CHANNELS; k++) found[k] = load(by_out + k * by_plane + i - PIXELS_ALONG - 1);
        UNROLLED
        for (int around = 0; around < 9; around++)
            UNROLLED
            for (int c = 0; c < CHANNELS; c++) {
                const float_lanes g = load(by_out + c * by_plane + i - around / 3 * PIXELS_ALONG - around % 3);
                UNROLLED
                for (int k = 0; k < CHANNELS; k++) found[k] += weights[c * AROUND + around * CHANNELS + k] * g;
            }
        for (int k = 0; k < CHANNELS; k++) store(by_in + k * by_plane + i, &found[k]);
    }
    for (int c = 0; c < CHANNELS; c++) {
        float_lanes found[AROUND], of_constant = all(0.0f);
        UNROLLED
        for (int k = 0; k < AROUND; k++) found[k] = all(0.0f);
        for (int i = 0; i < count; i += LANES) {
            const float_lanes g = load(by_out + c * by_plane + i);
            of_constant += g;
            UNROLLED
            for (int k = 0; k < AROUND; k++)
                found[k] +=
                    g * load(in + k % CHANNELS * plane + k / CHANNELS / 3 * PIXELS_ALONG + k / CHANNELS % 3 + i);
        }
        for (int k = 0; k < AROUND; k++) sums[c * AROUND + k] = found[k];
        sums[CHANNELS * AROUND + c] = of_constant;
    }
}

/* The squared errors of the colours, each pixel's for itself, or their gradient. */
static void errors_of_window(const Work *work) {
    const float *colours = work->values[STAGES];
    const float peak = work->peak, unit = 1 / peak;
    for (int y = 0; y < WINDOW; y++)
        for (int x = 0; x < WINDOW; x += LANES) {
            const float_lanes pixel_weights = load(work->pixel_weights + y * WINDOW + x);
            float_lanes errors = all(0.0f);
            for (int c = 0; c < CHANNELS; c++) {
                const float_lanes wanted = load(work->colours + (c * WINDOW + y) * WINDOW + x);
                float_lanes value = load(colours + c * VALUES + y * PIXELS_ALONG + x);
                if (work->has_gradient) {
                    const float_lanes by = (value - wanted) * pixel_weights * (2.0f / CHANNELS);
                    store(work->by_values[STAGES] + c * BY_VALUES + y * PIXELS_ALONG + x, &by);
                    continue;
                }
                value = smaller(larger(value, all(0.0f)), all(1.0f));
                value = whole_lanes(value * peak) * unit - wanted;
                errors += value * value * pixel_weights;
            }
            if (!work->has_gradient) store(work->costs + y * WINDOW + x, &errors);
        }
}

/* Where the machine's vectors are in a plane of the finest level. */
INLINE float *pixel_row(float *plane, int y) { return plane + (HALO - STAGES + y) * stride_of(0) + HALO - STAGES; }

static void scaled_copy(const float *from, float scale, float *to) {
    for (int x = 0; x < PIXELS_ALONG; x++) to[x] = from[x] * scale;
}

/* The colours of a window, and the gradient of their squared errors. */
static void colours_of_window(Work *work, MachineRows *rows) {
    const int width = work->width;
    const Weights *weights = &work->weights;
    MachineProducts sides;
    transpose(weights->lift, width, GRID_LEVELS, sides.back, width + CHANNELS);
    transpose(weights->bypass, CHANNELS, GRID_LEVELS, sides.back + width, width + CHANNELS);
    sides.by_lift = work->sums;
    sides.by_lift_constants = sides.by_lift + width * GRID_LEVELS;
    sides.by_layer = sides.by_lift_constants + width;
    sides.by_bypass = sides.by_layer + CHANNELS * 2 * width;
    sides.by_constants = sides.by_bypass + CHANNELS * GRID_LEVELS;
    float_lanes *const by_stages = sides.by_constants + CHANNELS;
    float_lanes *const by_filters = by_stages + STAGES * CHANNELS * (AROUND + 1);
    memset(work->sums, 0, (size_t)((char *)(by_filters + (GRID_LEVELS - 1) * TAPS) - (char *)work->sums));
    for (int level = GRID_LEVELS - 2; level >= 0; level--)
        for (int k = 0; k < GRID_LEVELS - 1 - level; k++) {
            const float *from = k ? work->planes[level + 1] + (k - 1) * plane_of(level + 1) : work->symbols[level + 1];
            double_plane(work, weights->filters + level * TAPS, level, from, work->planes[level] + k * plane_of(level));
        }
    for (int k = 0; k < GRID_LEVELS; k++)
        for (int y = 0; y < PIXELS_ALONG; y++)
            scaled_copy(pixel_row(k ? work->planes[0] + (k - 1) * plane_of(0) : work->symbols[0], y), work->step,
                        work->vectors + k * VALUES + y * PIXELS_ALONG);
    for (int first = 0; first < PIXELS; first += TILE)
        machine_tile(work, first, PIXELS - first < TILE ? PIXELS - first : TILE, &sides, rows, 0);
    for (int stage = 0; stage < STAGES; stage++)
        stage_forward(work, stage, work->values[stage], work->values[stage + 1], PIXELS_ALONG - 2 * stage - 2);
    errors_of_window(work);
    if (!work->has_gradient) return;
    for (int stage = STAGES - 1; stage >= 0; stage--) {
        const int own_rows = PIXELS_ALONG - 2 * stage - 2, inputs = (own_rows + 2) * PIXELS_ALONG;
        float_lanes *const sums = by_stages + stage * CHANNELS * (AROUND + 1);
        stage_backward(work, stage, work->values[stage], work->by_values[stage + 1], work->by_values[stage], own_rows,
                       sums);
        if (stage > 0)
            for (int c = 0; c < CHANNELS; c++)
                for (int i = 0; i < inputs; i++)
                    if (!(work->values[stage][c * VALUES + i] > 0)) work->by_values[stage][c * BY_VALUES + i] = 0;
        add_lanes(sums, CHANNELS * AROUND, work->by.stages + stage * CHANNELS * AROUND);
        add_lanes(sums + CHANNELS * AROUND, CHANNELS, work->by.stage_constants + stage * CHANNELS);
    }
    for (int first = 0; first < PIXELS; first += TILE)
        machine_tile(work, first, PIXELS - first < TILE ? PIXELS - first : TILE, &sides, rows, 1);
    for (int level = 0; level < GRID_LEVELS - 1; level++)
        memset(work->by_planes[level], 0, sizeof(float) * (size_t)((GRID_LEVELS - 1 - level) * plane_of(level)));
    float own[PIXELS_ALONG];
    for (int k = 0; k < GRID_LEVELS; k++)
        for (int y = 0; y < PIXELS_ALONG; y++) {
            scaled_copy(work->by_vectors + k * VALUES + y * PIXELS_ALONG, work->step, own);
            float *target = pixel_row(k ? work->by_planes[0] + (k - 1) * plane_of(0) : work->by_symbols[0], y);
            for (int x = 0; x < PIXELS_ALONG; x++) target[x] += own[x];
        }
    for (int level = 0; level < GRID_LEVELS - 1; level++)
        for (int k = 0; k < GRID_LEVELS - 1 - level; k++) {
            const float *from = k ? work->planes[level + 1] + (k - 1) * plane_of(level + 1) : work->symbols[level + 1];
            float *to = k ? work->by_planes[level + 1] + (k - 1) * plane_of(level + 1) : work->by_symbols[level + 1];
            undouble_plane(work, weights->filters + level * TAPS, level, work->by_planes[level] + k * plane_of(level),
                           to, from, by_filters + level * TAPS);
        }
    Weights *by = &work->by;
    add_lanes(sides.by_lift, width * GRID_LEVELS, by->lift);
    add_lanes(sides.by_lift_constants, width, by->lift_constants);
    add_lanes(sides.by_layer, CHANNELS * 2 * width, by->layer);
    add_lanes(sides.by_bypass, CHANNELS * GRID_LEVELS, by->bypass);
    add_lanes(sides.by_constants, CHANNELS, by->constants);
    for (int c = 0; c < CHANNELS; c++)
        for (int j = 0; j < width; j++) by->layer[c * 2 * width + j] -= by->constants[c];
    add_lanes(by_filters, (GRID_LEVELS - 1) * TAPS, by->filters);
}

/* ---- a window ---------------------------------------------------------------------------------------------- */

/* By what latents are seen, back to latents: float32 [samples][samples] of each level. */
static void latent_gradients(const Work *work, float *grad_latents) {
    for (int level = 0; level < GRID_LEVELS; level++) {
        const int side = samples_of(level), stride = stride_of(level);
        clear_outside(work, level, work->by_seen[level]);
        for (int y = 0; y < side; y++)
            for (int x = 0; x < side; x += LANES) {
                const int at = y * stride + x;
                float_lanes slope;
                companded(work, load(work->symbols[level] + at), &slope);
                const float_lanes by = load(work->by_symbols[level] + at) + load(work->by_seen[level] + at) * slope;
                const float_lanes found = by * load(work->slopes[level] + at);
                memcpy(grad_latents + y * side + x, &found,
                       sizeof(float) * (size_t)(side - x < LANES ? side - x : LANES));
            }
        grad_latents += side * side;
    }
}

/* The numbers that all planes of a window take, and where they begin. */
static ptrdiff_t lay_out(Work *work, float *workspace) {
    ptrdiff_t used = 0;
#define TAKE(name, count) (work->name = workspace ? workspace + used : NULL, used += (count))
    for (int level = 0; level < GRID_LEVELS; level++) {
        const int plane = plane_of(level);
        TAKE(by_symbols[level], plane);
        TAKE(by_seen[level], plane);
        TAKE(symbols[level], plane);
        TAKE(slopes[level], plane);
        TAKE(seen[level], plane);
    }
    for (int level = 0; level < GRID_LEVELS; level++) {
        TAKE(planes[level], (GRID_LEVELS - 1 - level) * plane_of(level));
        TAKE(by_planes[level], (GRID_LEVELS - 1 - level) * plane_of(level));
    }
    TAKE(middle, samples_of(1) * stride_of(0) + SLACK);
    TAKE(by_middle, samples_of(1) * stride_of(0) + SLACK);
    TAKE(vectors, GRID_LEVELS * VALUES);
    TAKE(by_vectors, GRID_LEVELS * VALUES);
    for (int stage = 0; stage <= STAGES; stage++) TAKE(values[stage], CHANNELS * VALUES);
    for (int stage = 0; stage <= STAGES; stage++) {
        used += MARGIN;
        TAKE(by_values[stage], CHANNELS * BY_VALUES);
    }
#undef TAKE
    return used;
}

enum { SUMS = MAX_WIDTH * (GRID_FEATURES + GRID_LEVELS + MAX_WIDTH + 1) + OUTPUTS * (MAX_WIDTH + GRID_FEATURES + GRID_LEVELS) };

typedef union {
    ContextRows contexts;
    MachineRows machine;
} Rows;

/* Bytes, up to the next multiple of 64. */
#define ALIGNED(bytes) (((bytes) + 63) / 64 * 64)

static ptrdiff_t workspace_bytes(void) {
    Work work = {0};
    return 63 + (ptrdiff_t)(ALIGNED(sizeof(float_lanes) * SUMS) + ALIGNED(sizeof(Rows)) +
                            sizeof(float) * (size_t)lay_out(&work, NULL));
}

int NAME(window_workspace)(Call *call, const WindowWorkspace *a) {
    (void)a;
    return give(call, workspace_bytes());
}

/* Everything of a window, in `workspace_bytes` bytes. */
static void window(Work *work, char *workspace, float *grad_latents) {
    workspace += -(uintptr_t)workspace % 64;
    Rows *rows = (Rows *)(workspace + ALIGNED(sizeof(float_lanes) * SUMS));
    work->sums = (float_lanes *)workspace;
    lay_out(work, (float *)((char *)rows + ALIGNED(sizeof(Rows))));
    memset(rows, 0, sizeof *rows);
    for (int level = 0; level < GRID_LEVELS; level++) {
        const size_t plane = sizeof(float) * (size_t)plane_of(level);
        memset(work->symbols[level], 0, plane);
        memset(work->slopes[level], 0, plane);
        memset(work->by_symbols[level], 0, plane);
        memset(work->by_seen[level], 0, plane);
        memset(work->by_planes[level], 0, plane * (size_t)(GRID_LEVELS - 1 - level));
        round_level(work, level);
    }
    for (int stage = 0; stage <= STAGES; stage++) {
        const int written = (PIXELS_ALONG - 2 * stage) * PIXELS_ALONG; /* what is read beyond has no part in a result */
        for (int c = 0; c < CHANNELS; c++)
            memset(work->values[stage] + c * VALUES + written, 0, sizeof(float) * (size_t)(VALUES - written));
        memset(work->by_values[stage] - MARGIN, 0, sizeof(float) * (CHANNELS * BY_VALUES + MARGIN));
    }
    bits_of_window(work, &rows->contexts);
    colours_of_window(work, &rows->machine);
    if (grad_latents) latent_gradients(work, grad_latents);
}

static ptrdiff_t latents_of_window(void) {
    ptrdiff_t count = 0;
    for (int level = 0; level < GRID_LEVELS; level++) count += samples_of(level) * samples_of(level);
    return count;
}

static ptrdiff_t symbols_of_window(void) {
    ptrdiff_t count = 0;
    for (int level = 0; level < GRID_LEVELS; level++) count += own_samples(level) * own_samples(level);
    return count;
}

/* Whether grids are those of an image, [h_l, w_l] each; otherwise refuses the call. */
static int are_grids(Call *call, const ptrdiff_t *counts, const WindowPlace *place) {
    for (int level = 0; level < GRID_LEVELS; level++)
        if (counts[level] < level_size(place->height, level) * level_size(place->width, level))
            return refuse(call, "a grid has too few items");
    return 1;
}

static int is_place(Call *call, const WindowPlace *place) {
    return (SIZES(place->top, place->left) && place->top < place->height && place->left < place->width &&
            place->top % WINDOW == 0 && place->left % WINDOW == 0) ||
           refuse(call, "there is no such window");
}

/* Checks what both kernels of windows begin with, and takes it. */
static int begin_window(Call *call, Work *work, const FitWindow *a, ptrdiff_t workspace_count) {
    if (a->width < 1 || a->width > MAX_WIDTH || a->units < 1 || a->units > MAX_WIDTH)
        return refuse(call, "a width is not possible");
    work->width = a->width, work->units = a->units;
    const ptrdiff_t count = weights_at((float *)a->weights, a->width, a->units, &work->weights);
    if (!is_place(call, &a->place) || !are_grids(call, a->grids_count, &a->place) || !has_items(call, a, weights, count))
        return 0;
    if (workspace_count < workspace_bytes()) return refuse(call, "workspace has too few items");
    work->lines = (int)(a->companding_count / 2);
    work->companding = a->companding;
    work->activation_max = (float)a->activation_max;
    work->top = a->place.top, work->left = a->place.left;
    work->height = a->place.height, work->width_of_image = a->place.width;
    work->lmbda = (float)a->lmbda, work->step = (float)a->step_size, work->peak = (float)a->peak;
    work->colours = a->colours;
    work->pixel_weights = a->pixel_weights;
    for (int level = 0; level < GRID_LEVELS; level++) work->grids[level] = a->grids[level];
    return 1;
}

int NAME(window_gradient)(Call *call, const WindowGradient *a) {
    Work work = {0};
    if (!begin_window(call, &work, &a->window, a->workspace_count)) return 0;
    work.temperature = (float)a->temperature, work.noise = (float)a->noise, work.seed = a->seed;
    work.has_gradient = 1;
    const ptrdiff_t count = weights_at(a->grad_weights, work.width, work.units, &work.by);
    if (!has_items(call, a, grad_weights, count) || !has_items(call, a, grad_latents, latents_of_window())) return 0;
    memset(a->grad_weights, 0, sizeof(float) * (size_t)count);
    window(&work, (char *)a->workspace, a->grad_latents);
    return 1;
}

int NAME(window_costs)(Call *call, const WindowCosts *a) {
    Work work = {0};
    if (!begin_window(call, &work, &a->window, a->workspace_count) || !has_items(call, a, bits, symbols_of_window()))
        return 0;
    work.costs = a->errors;
    work.symbol_bits = a->bits;
    window(&work, (char *)a->workspace, NULL);
    return 1;
}

/* ---- latents between windows ------------------------------------------------------------------------------- */

int NAME(add_window_gradient)(Call *call, const AddWindowGradient *a) {
    const ptrdiff_t top = a->place.top, left = a->place.left, height = a->place.height, width = a->place.width;
    if (!is_place(call, &a->place) || !are_grids(call, a->waiting_count, &a->place) ||
        !has_items(call, a, grad_latents, latents_of_window()))
        return 0;
    const float *from = a->grad_latents;
    for (int level = 0; level < GRID_LEVELS; level++) {
        const ptrdiff_t rows = level_size(height, level), columns = level_size(width, level);
        const ptrdiff_t first = (left >> level) - HALO;
        const int side = samples_of(level);
        for (int y = 0; y < side; y++, from += side) {
            float *to = a->waiting[level] + within((top >> level) - HALO + y, rows) * columns;
            int x = 0;
            for (; x < side && first + x < 0; x++) to[0] += from[x];
            for (; x < side && first + x < columns; x++) to[first + x] += from[x];
            for (; x < side; x++) to[columns - 1] += from[x];
        }
    }
    return 1;
}

typedef struct {
    float mean_fraction, square_fraction, rate, per_square_bias, epsilon;
} AdamStep;

/* A step of Adam for some samples of a row, whose gradients become zero. */
static void move_row(const AdamStep *step, ptrdiff_t count, float *values, float *means, float *squares,
                     float *gradients) {
    for (ptrdiff_t i = 0; i < count; i++) {
        means[i] += step->mean_fraction * (gradients[i] - means[i]);
        squares[i] += step->square_fraction * (gradients[i] * gradients[i] - squares[i]);
        values[i] -= step->rate * means[i] / (__builtin_sqrtf(squares[i] * step->per_square_bias) + step->epsilon);
        gradients[i] = 0;
    }
}

int NAME(move_latents)(Call *call, const MoveLatents *a) {
    const ptrdiff_t top = a->place.top, left = a->place.left, height = a->place.height, width = a->place.width;
    if (!is_place(call, &a->place) || !are_grids(call, a->values_count, &a->place) ||
        !are_grids(call, a->means_count, &a->place) || !are_grids(call, a->squares_count, &a->place) ||
        !are_grids(call, a->waiting_count, &a->place))
        return 0;
    for (int level = 0; level < GRID_LEVELS; level++) {
        const ptrdiff_t rows = level_size(height, level), columns = level_size(width, level), side = own_samples(level);
        const ptrdiff_t first = left >> level, end = first + side < columns ? first + side : columns;
        const AdamStep step = {(float)a->mean_fraction, (float)a->square_fraction, a->rates[level],
                               (float)a->per_square_bias, (float)a->epsilon};
        for (ptrdiff_t y = top >> level; y < rows && y < (top >> level) + side; y++) {
            const ptrdiff_t at = y * columns + first;
            move_row(&step, end - first, a->values[level] + at, a->means[level] + at, a->squares[level] + at,
                     a->waiting[level] + at);
        }
    }
    return 1;
}
