/* Shared by the files of the fit: a window of the overfitted codec, its loss and the gradient of the loss, as described
 * in `dfmcodec.codecs.overfitted.encode.window_loss`. JAX implements the same functions.
 *
 * fit_forward.c computes symbols and colours from latents, fit_rate.c computes the bits of symbols and their gradient,
 * and fit_backward.c propagates gradients from colours to latents. fit.c contains the kernels.
 *
 * A window has WINDOW x WINDOW pixels, and of each of GRID_LEVELS grids its own samples and HALO more on all sides. All
 * planes of a level have rows of `stride_of(level)` numbers. The numbers beyond its samples are zero where they could
 * affect a result. Networks process tiles of 128 symbols or pixels. The inputs of a tile are rows of 128 numbers, and a
 * layer is a matrix product with them. The backward pass of a tile precedes the forward pass of the next tile. The
 * gradient of a weight is accumulated for each vector lane, and summed at the end.
 */
#ifndef DFM_FIT_H
#define DFM_FIT_H

#include "kernels.h"
#include "maths.h"

enum {
    OUTPUTS = 2, /* scale, mean */
    MAX_WIDTH = 64,
    TILE = 256,
    TILE_VECTORS = TILE / LANES,
    SLACK = 2 * LANES,  /* numbers that may be read beyond the last one */
    PIXELS_ALONG = WINDOW + 2 * STAGES,
    PIXELS = PIXELS_ALONG * PIXELS_ALONG, /* for which the synthesis network is evaluated, at most */
    MARGIN = 2 * PIXELS_ALONG + LANES,    /* zeros before a plane of gradients */
    VALUES = PIXELS + SLACK,              /* numbers of a plane of vectors or colours */
    GRAD_VALUES = MARGIN + VALUES,
    AROUND = 9 * CHANNELS,
};

typedef float Row[TILE];

INLINE int own_samples(int level) { return WINDOW >> level; }
INLINE int samples_of(int level) { return own_samples(level) + 2 * HALO; }
INLINE int stride_of(int level) { return (samples_of(level) + 15) / 16 * 16 + 16; }
INLINE int padded_count(int numbers) { return (numbers + LANES - 1) / LANES * LANES; }
INLINE int plane_of(int level) { return samples_of(level) * stride_of(level) + SLACK; }

/* The weights of an image's networks, or their gradient; arrays as in `SynthesisNetwork` and `ContextWeights`. */
typedef struct {
    float *filters, *lift, *lift_constants, *layer, *bypass, *constants, *stages, *stage_constants;
    float *w1, *c1, *w2, *c2, *w3, *context_bypass, *c3;
} Weights;

/* The state of a call. */
typedef struct {
    Weights weights, grad_weights;
    int width, units, has_gradient;
    int lines; /* of the companding: the minimum of slope * |x| + constant */
    const float *companding;
    ptrdiff_t top, left, height, width_of_image;
    int rows, columns; /* pixels of the window in the image, to which work is limited */
    float lmbda, step_size, peak, temperature, noise, activation_max;
    uint32_t seed;
    const float *colours, *pixel_weights, *grids[GRID_LEVELS]; /* grids of the complete image */
    float *costs;       /* [WINDOW][WINDOW] without gradient: squared errors of pixels */
    float *decoded;     /* [CHANNELS][WINDOW][WINDOW]: receives colours instead of all costs; NULL for costs */
    float *symbol_bits; /* without gradient, from the finest grid to the coarsest */
    float *symbols[GRID_LEVELS], *slopes[GRID_LEVELS]; /* after soft rounding, and derivatives by latents */
    float *companded[GRID_LEVELS];                     /* symbols, as features */
    float *grad_symbols[GRID_LEVELS], *grad_companded[GRID_LEVELS];
    float *planes[GRID_LEVELS]; /* the coarser grids at the size of a level, the nearest first */
    float *grad_planes[GRID_LEVELS];
    float *middle, *grad_middle;     /* a plane after upsampling along its rows */
    float *values[STAGES + 1];       /* [CHANNELS][VALUES]: before and after each stage */
    float *grad_values[STAGES + 1];  /* GRAD_VALUES apart, each after a margin; the first is the last one's memory */
    float_lanes *sums;               /* of gradients of weights */
} Work;

INLINE ptrdiff_t level_size(ptrdiff_t pixels, int level) { return (pixels + (1 << level) - 1) >> level; }

INLINE ptrdiff_t within(ptrdiff_t place, ptrdiff_t count) {
    return place < 0 ? 0 : place < count ? place : count - 1;
}

/* Pixels along a row for which the synthesis network is evaluated; all planes of pixels have such rows. */
INLINE int along(const Work *work) { return work->columns + 2 * STAGES; }
INLINE int pixel_rows(const Work *work) { return work->rows + 2 * STAGES; }
INLINE int pixel_count(const Work *work) { return pixel_rows(work) * along(work); }

/* The samples of a level that are in the image, along an axis. */
typedef struct {
    int first, end;
} Range;

INLINE Range inside_of(ptrdiff_t corner, ptrdiff_t size, int level) {
    const ptrdiff_t before = HALO - (corner >> level), end = before + level_size(size, level);
    return (Range){before > 0 ? (int)before : 0, end < samples_of(level) ? (int)end : samples_of(level)};
}

/* Returns how many of a window's own samples of a level are in the image, along an axis. */
INLINE int own_inside(ptrdiff_t corner, ptrdiff_t size, int level) {
    const ptrdiff_t count = level_size(size, level) - (corner >> level);
    return count < own_samples(level) ? (int)count : own_samples(level);
}

/* Returns coarser grid number k at the size of a level; the nearest, k = 0, is `own`. */
INLINE float *coarser_plane(float *const *planes, float *const *own, int level, int k) {
    return k ? planes[level] + (k - 1) * plane_of(level) : own[level];
}

/* ---- products of matrices ---------------------------------------------------------------------------------- */

/* Registers hold the sums of ROWS_AT_A_TIME rows and COLUMNS vectors of a product, and of BLOCK_ROWS x BLOCK_COLUMNS
 * gradients. */
#if LANES == 16 || ON_ARM
enum { ROWS_AT_A_TIME = 6, COLUMNS = 4, BLOCK_ROWS = 4, BLOCK_COLUMNS = 6, MAX_BLOCK = 9 };
#else
enum { ROWS_AT_A_TIME = 6, COLUMNS = 2, BLOCK_ROWS = 3, BLOCK_COLUMNS = 4, MAX_BLOCK = 9 };
#endif

/* Returns the number of vectors of a tile that has `used`: a multiple of COLUMNS. */
INLINE int tile_vectors(int used) { return (used + COLUMNS - 1) / COLUMNS * COLUMNS; }

INLINE void product_rows(const float *weights, const float *bias, int bias_stride, int rows, int count, const Row *in,
                         Row *out, int vectors) {
    for (int v = 0; v < vectors; v += COLUMNS) {
        float_lanes sums[ROWS_AT_A_TIME][COLUMNS];
        const float *of_row[ROWS_AT_A_TIME], *from = in[0] + v * LANES;
        UNROLLED
        for (int i = 0; i < rows; i++) {
            of_row[i] = weights + i * count;
            UNROLLED
            for (int j = 0; j < COLUMNS; j++) sums[i][j] = all(bias ? bias[i * bias_stride] : 0.0f);
        }
        for (ptrdiff_t k = 0; k < count; k++, from += TILE) {
            float_lanes x[COLUMNS];
            UNROLLED
            for (int j = 0; j < COLUMNS; j++) x[j] = load(from + j * LANES);
            UNROLLED
            for (int i = 0; i < rows; i++)
                UNROLLED
                for (int j = 0; j < COLUMNS; j++) sums[i][j] += of_row[i][k] * x[j];
        }
        UNROLLED
        for (int i = 0; i < rows; i++)
            UNROLLED
            for (int j = 0; j < COLUMNS; j++) store(out[i] + (v + j) * LANES, &sums[i][j]);
    }
}

/* out[r] = bias[r] + sum_k weights[r][k] in[k], for the vectors of a tile. */
static __attribute__((noinline, unused)) void products(const float *weights, const float *bias, int bias_stride,
                                                       int rows, int count, const Row *in, Row *out, int vectors) {
    const int groups = (rows + ROWS_AT_A_TIME - 1) / ROWS_AT_A_TIME;
    for (int group = 0; group < groups; group++) {
        const int first = rows * group / groups, end = rows * (group + 1) / groups;
        const float *of_group = weights + first * count, *bias_of_group = bias ? bias + first * bias_stride : NULL;
        switch (end - first) {
#define GROUP(size)                                                                                                    \
    case size: product_rows(of_group, bias_of_group, bias_stride, size, count, in, out + first, vectors); break;
            GROUP(1) GROUP(2) GROUP(3) GROUP(4) GROUP(5) GROUP(6)
#undef GROUP
        }
    }
}

/* sums[r][k] += left[r] right[k], lane by lane. */
INLINE void outer_products_of(float_lanes *sums, const Row *left, int rows, const Row *right, int count, int vectors,
                              int block_rows, int block_columns) {
    for (int r = 0; r < rows; r += block_rows)
        for (int k = 0; k < count; k += block_columns) {
            const float *a[MAX_BLOCK], *b[MAX_BLOCK];
            float_lanes found[MAX_BLOCK][MAX_BLOCK];
            UNROLLED
            for (int j = 0; j < block_columns; j++) b[j] = right[k + j < count ? k + j : count - 1];
            UNROLLED
            for (int i = 0; i < block_rows; i++) {
                a[i] = left[r + i < rows ? r + i : rows - 1];
                UNROLLED
                for (int j = 0; j < block_columns; j++) found[i][j] = all(0.0f);
            }
            for (ptrdiff_t v = 0; v < vectors; v++) {
                float_lanes x[MAX_BLOCK];
                UNROLLED
                for (int j = 0; j < block_columns; j++) x[j] = load(b[j] + v * LANES);
                UNROLLED
                for (int i = 0; i < block_rows; i++) {
                    const float_lanes of_row = load(a[i] + v * LANES);
                    UNROLLED
                    for (int j = 0; j < block_columns; j++) found[i][j] += of_row * x[j];
                }
            }
            UNROLLED
            for (int i = 0; i < block_rows; i++)
                UNROLLED
                for (int j = 0; j < block_columns; j++)
                    if (r + i < rows && k + j < count) sums[(r + i) * count + k + j] += found[i][j];
        }
}

static __attribute__((noinline, unused)) void outer_products(float_lanes *sums, const Row *left, int rows,
                                                             const Row *right, int count, int vectors) {
    if (rows == 2) outer_products_of(sums, left, rows, right, count, vectors, 2, 9);
    else if (rows == 3 || count == GRID_LEVELS) outer_products_of(sums, left, rows, right, count, vectors, 3, 7);
    else outer_products_of(sums, left, rows, right, count, vectors, BLOCK_ROWS, BLOCK_COLUMNS);
}

/* sums[r] += the numbers of a row, lane by lane. */
INLINE void row_sums(float_lanes *sums, int stride, const Row *rows, int count, int vectors) {
    for (int r = 0; r < count; r++) {
        float_lanes sum = sums[r * stride];
        for (int v = 0; v < vectors; v++) sum += load(rows[r] + v * LANES);
        sums[r * stride] = sum;
    }
}

INLINE void transpose(const float *from, int rows, int columns, float *to, int stride) {
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++) to[c * stride + r] = from[r * columns + c];
}

INLINE void add_lanes(const float_lanes *sums, ptrdiff_t count, float *target) {
    for (ptrdiff_t i = 0; i < count; i++) target[i] += sum_of_lanes(sums[i]);
}

/* ---- companding -------------------------------------------------------------------------- */

INLINE float_lanes compand(const Work *work, float_lanes x, float_lanes *slope) {
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

/* Upsamples the rows of a plane of `level` + 1: [its samples][stride of `level`]. */
INLINE void upsample_rows(const float *taps, int level, const float *in, float *out) {
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

/* ---- networks ---------------------------------------------------------------------------------------------- */

/* The rows of a tile. The inputs of a matrix product must be adjacent. */
typedef struct {
    Row h1[MAX_WIDTH], h2_and_features[MAX_WIDTH + GRID_FEATURES], outputs[OUTPUTS];
    Row grad_h1_and_outputs[MAX_WIDTH + OUTPUTS], grad_h2[MAX_WIDTH], grad_features[GRID_FEATURES];
    Row values, grad_values, bits;
} ContextRows;

typedef struct {
    Row waves[2 * MAX_WIDTH], turns[MAX_WIDTH], vectors[GRID_LEVELS], colours[CHANNELS];
    Row grad_colours[CHANNELS], grad_phases_and_colours[MAX_WIDTH + CHANNELS], grad_vectors[GRID_LEVELS];
} SynthesisRows;

/* Returns the number of pixels of the tile that starts at a pixel. */
INLINE int pixels_of_tile(const Work *work, int first) {
    return pixel_count(work) - first < TILE ? pixel_count(work) - first : TILE;
}

/* The place of a pixel of the synthesis network in a plane of the finest level. */
INLINE int place_of_pixel(int y, int x) { return (HALO - STAGES + y) * stride_of(0) + HALO - STAGES + x; }

/* Pixels of a tile in the same row. */
typedef struct {
    int at, count; /* in the tile */
    int place; /* of the first one in a plane of the finest level */
} Piece;

INLINE Piece piece_of_tile(const Work *work, int first, int used, int at) {
    const int y = (first + at) / along(work), x = (first + at) % along(work), left = along(work) - x;
    return (Piece){at, left < used - at ? left : used - at, place_of_pixel(y, x)};
}

/* Gathers the vectors of a tile of up to TILE pixels, and computes the cosines and sines of their phases; returns the
 * number of vectors of lanes. */
INLINE int synthesis_waves(const Work *work, int first, int used, SynthesisRows *rows, int subtracts_one) {
    const int width = work->width, vectors = tile_vectors((used + LANES - 1) / LANES);
    const Weights *weights = &work->weights;
    if (used < TILE) memset(rows->vectors, 0, sizeof rows->vectors);
    for (Piece piece = piece_of_tile(work, first, used, 0); piece.count;
         piece = piece_of_tile(work, first, used, piece.at + piece.count))
        for (int k = 0; k < GRID_LEVELS; k++) {
            const float *from = coarser_plane(work->planes, work->symbols, 0, k) + piece.place;
            for (int i = 0; i < piece.count; i++) rows->vectors[k][piece.at + i] = from[i] * work->step_size;
        }
    products(weights->lift, weights->lift_constants, 1, width, GRID_LEVELS, (const Row *)rows->vectors, rows->turns,
             vectors);
    for (int j = 0; j < width; j++)
        for (int v = 0; v < vectors; v++) {
            float_lanes cosine, sine;
            cos_sin(load(rows->turns[j] + v * LANES) * 0.15915494f, &cosine, &sine);
            if (subtracts_one) cosine -= 1.0f;
            store(rows->waves[j] + v * LANES, &cosine);
            store(rows->waves[width + j] + v * LANES, &sine);
        }
    return vectors;
}

/* ---- functions by file ------------------------------------------------------------------------------------- */

/* fit_forward.c: latents to symbols, and symbols to colours and their squared errors. */
void NAME(round_latents)(const Work *work);
void NAME(forward)(const Work *work, SynthesisRows *rows);
/* Upsamples a plane of `level` + 1 to one of `level`; see `codecs.overfitted.synthesis.upsampled`. */
void NAME(upsample_plane)(const Work *work, const float *taps, int level, const float *in, float *out);
/* Sets samples beyond the image, and numbers beyond the samples of rows, to zero. */
void NAME(clear_outside)(const Work *work, int level, float *plane);

/* fit_rate.c: the bits of all symbols, and their gradient with respect to symbols and to the weights of the context
 * network. */
void NAME(rate)(const Work *work, ContextRows *rows);

/* fit_backward.c: the gradient of squared errors with respect to symbols and to the weights of the synthesis network;
 * and the gradient of the loss with respect to latents, [samples][samples] of each level. */
void NAME(backward)(const Work *work, SynthesisRows *rows);
void NAME(latent_gradient)(const Work *work, float *grad_latents);
/* The transpose of `upsample_plane`: adds to the gradient of the coarser plane. `grad` is zero beyond the samples of
 * its rows. */
void NAME(upsample_backward)(const Work *work, const float *taps, int level, const float *grad, float *grad_coarser);

#endif
