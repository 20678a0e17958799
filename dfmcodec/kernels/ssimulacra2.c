/* The errors of SSIMULACRA2 at one scale, as described in `dfmcodec.perception.ssimulacra2`, and their derivative.
 *
 * Rows of both images are converted to XYB in strips. Each row of a component is then smoothed along columns and along
 * the row, for five planes (both images, their squares and their product), which are never stored completely.
 */
#if !defined(TARGET_AVX2) && !defined(TARGET_AVX512)
#define TARGET_BASELINE
#endif
#include "kernels.h"
#include "maths.h"

enum {
    WINDOW_TAPS = 5, /* from the centre of the window to its edge */
    REACH = WINDOW_TAPS - 1,
    MOMENTS = 5,
    ERRORS = 3,
    STRIP_PIXELS = 1 << 15,
};

int NAME(look_up_samples)(Call *call, const LookUpSamples *a) {
    const ptrdiff_t channels = a->channels, channel = a->channel;
    const int bytes = a->table_count == 1 << 16 ? 2 : 1;
    if (channel >= channels) return refuse(call, "there is no such channel");
    if (!has_items(call, a, table, 1 << 8 * bytes) || !has_items(call, a, pixels, bytes * a->count * channels))
        return 0;
    const float *table = a->table;
    const uint8_t *bytes_of = a->pixels;
    const uint16_t *words_of = a->pixels;
    if (bytes == 1)
        for (ptrdiff_t n = 0; n < a->count; n++) a->values[n] = table[bytes_of[n * channels + channel]];
    else
        for (ptrdiff_t n = 0; n < a->count; n++) a->values[n] = table[words_of[n * channels + channel]];
    return 1;
}

/* Two images in XYB: `rows` rows of each component, `stride` numbers each, with zeros outside the image. The first and
 * the last `margin` rows surround the rows of interest. */
typedef struct {
    ptrdiff_t rows, stride, margin;
    float *planes[2]; /* [CHANNELS][rows][stride] */
} Strip;

/* The cube root of numbers from 1e-3 to 1e3: an estimate from the exponent, and two iterations of Halley's method. */
INLINE float_lanes cube_root(float_lanes x) {
    const float_lanes third = __builtin_convertvector((int32_lanes)x, float_lanes) * (1.0f / 3);
    float_lanes root = (float_lanes)(__builtin_convertvector(third, int32_lanes) + 709921077);
    for (int step = 0; step < 2; step++) {
        const float_lanes cube = root * root * root;
        root *= (cube + x + x) / (cube + cube + x);
    }
    return root;
}

/* Loads LANES numbers from an array, with zeros after its end. */
INLINE float_lanes load_some(const float *at, ptrdiff_t count) {
    if (count >= LANES) return load(at);
    float some[LANES] = {0};
    memcpy(some, at, (size_t)count * sizeof *some);
    return load(some);
}

/* Converts a row of linear light to XYB. `plane` is the distance between components. Outside the image it stays 0. */
static void row_to_xyb(const float *light, ptrdiff_t plane, ptrdiff_t width, const float *absorbance, float bias,
                       float bias_root, float *out, ptrdiff_t out_plane) {
    for (ptrdiff_t n = 0; n < width; n += LANES) {
        const ptrdiff_t some = width - n;
        float_lanes mixed[CHANNELS], in[CHANNELS];
        for (int c = 0; c < CHANNELS; c++) in[c] = load_some(light + c * plane + n, some);
        for (int c = 0; c < CHANNELS; c++) {
            const float *a = absorbance + c * CHANNELS;
            mixed[c] = cube_root(larger(a[0] * in[0] + a[1] * in[1] + a[2] * in[2] + bias, all(1e-3f))) - bias_root;
        }
        const float_lanes y = (mixed[0] + mixed[1]) * 0.5f;
        const float_lanes xyb[] = {(mixed[0] - mixed[1]) * 7.0f + 0.42f, y + 0.01f, (mixed[2] - y) + 0.55f};
        for (int c = 0; c < CHANNELS; c++)
            memcpy(out + c * out_plane + n, &xyb[c], (size_t)(some < LANES ? some : LANES) * sizeof(float));
    }
}

/* The moments of a row of a component, smoothed along columns: [MOMENTS][stride], starting at REACH. */
static void smooth_columns(const Strip *strip, int component, ptrdiff_t row, const float *taps, float *out) {
    const float *x = strip->planes[0] + (component * strip->rows + row) * strip->stride;
    const float *y = strip->planes[1] + (component * strip->rows + row) * strip->stride;
    for (ptrdiff_t n = 0; n + LANES <= strip->stride; n += LANES) {
        float_lanes sums[MOMENTS] = {{0}};
        for (int tap = -REACH; tap <= REACH; tap++) {
            const float_lanes a = load(x + tap * strip->stride + n), b = load(y + tap * strip->stride + n);
            const float weight = taps[tap < 0 ? -tap : tap];
            const float_lanes weighted_a = weight * a, weighted_b = weight * b;
            sums[0] += weighted_a;
            sums[1] += weighted_b;
            sums[2] += weighted_a * a;
            sums[3] += weighted_b * b;
            sums[4] += weighted_a * b;
        }
        for (int m = 0; m < MOMENTS; m++) store(out + m * (strip->stride + 2 * REACH) + REACH + n, &sums[m]);
    }
}

INLINE float_lanes smoothed(const float *row, ptrdiff_t n, const float *taps) {
    float_lanes sum = taps[0] * load(row + REACH + n);
    for (int tap = 1; tap < WINDOW_TAPS; tap++)
        sum += taps[tap] * (load(row + REACH + n - tap) + load(row + REACH + n + tap));
    return sum;
}

/* The errors of LANES pixels, and intermediate results. */
typedef struct {
    float_lanes mean[2];     /* of both images */
    float_lanes luminance, structure, variances;
    float_lanes offset;      /* of the decoded pixel from its mean */
    float_lanes edge, edges; /* 1 + the original's offset; the ratio of both, less 1 */
    float_lanes values[ERRORS];
} Errors;

INLINE Errors errors_of(const float *x, const float *y, const float *moments, ptrdiff_t stride, ptrdiff_t n,
                        const float *taps, float constant) {
    float_lanes mean[MOMENTS];
    for (int m = 0; m < MOMENTS; m++) mean[m] = smoothed(moments + m * (stride + 2 * REACH), n, taps);
    const float_lanes difference = mean[0] - mean[1], none = all(0.0f);
    Errors e = {.mean = {mean[0], mean[1]}, .luminance = 1.0f - difference * difference};
    e.variances = (mean[2] - mean[0] * mean[0]) + (mean[3] - mean[1] * mean[1]) + constant;
    e.structure = (2.0f * (mean[4] - mean[0] * mean[1]) + constant) / e.variances;
    e.offset = load(y + n) - mean[1];
    e.edge = 1.0f + magnitude(load(x + n) - mean[0]);
    e.edges = (1.0f + magnitude(e.offset)) / e.edge - 1.0f;
    e.values[0] = larger(1.0f - e.luminance * e.structure, none);
    e.values[1] = larger(e.edges, none);
    e.values[2] = larger(-e.edges, none);
    return e;
}

/* Returns the first `count` of LANES numbers, followed by zeros. */
INLINE float_lanes first_of(float_lanes numbers, ptrdiff_t count) {
    if (count >= LANES) return numbers;
    float some[LANES];
    store(some, &numbers);
    return load_some(some, count);
}

/* Adds the errors of a row, and their fourth powers, to sums[2][ERRORS]. */
static void add_errors(const float *x, const float *y, const float *moments, ptrdiff_t stride, ptrdiff_t width,
                       const float *taps, float constant, double *sums) {
    float_lanes of_row[2][ERRORS] = {{{0}}};
    for (ptrdiff_t n = 0; n < width; n += LANES) {
        const Errors errors = errors_of(x, y, moments, stride, n, taps, constant);
        for (int e = 0; e < ERRORS; e++) {
            const float_lanes error = first_of(errors.values[e], width - n), square = error * error;
            of_row[0][e] += error;
            of_row[1][e] += square * square;
        }
    }
    for (int i = 0; i < 2 * ERRORS; i++)
        for (int lane = 0; lane < LANES; lane++) sums[i] += of_row[i / ERRORS][i % ERRORS][lane];
}

INLINE float_lanes times_sign_of(float_lanes x, float_lanes sign) {
    return (float_lanes)((int32_lanes)x ^ ((int32_lanes)sign & (int32_t)0x80000000));
}

/* The derivative of a sum of the errors of a row and of their fourth powers, with `error_weights` [2][ERRORS]: by the
 * decoded pixels themselves, their smoothed mean, that of their squares, and that of their products with the original's:
 * four rows of out, `plane` numbers from each other. */
static void gradient_of_row(const float *x, const float *y, const float *moments, ptrdiff_t stride, ptrdiff_t width,
                          const float *taps, float constant, const float *error_weights, float *out, ptrdiff_t plane) {
    for (ptrdiff_t n = 0; n < width; n += LANES) {
        const Errors e = errors_of(x, y, moments, stride, n, taps, constant);
        float_lanes of_error[ERRORS];
        for (int i = 0; i < ERRORS; i++) {
            const float_lanes error = e.values[i], cube = error * error * error;
            const float_lanes slope = error_weights[i] + 4.0f * error_weights[ERRORS + i] * cube;
            of_error[i] = where(-(int32_lanes)error >> 31, slope, all(0.0f)); /* for positive errors */
        }
        const float_lanes of_structure = -of_error[0] * e.luminance / e.variances;
        const float_lanes direct = times_sign_of((of_error[1] - of_error[2]) / e.edge, e.offset);
        const float_lanes of_mean = -direct - of_error[0] * 2.0f * (e.mean[0] - e.mean[1]) * e.structure +
                                    of_structure * 2.0f * (e.mean[1] * e.structure - e.mean[0]);
        const float_lanes rows[] = {direct, of_mean, -of_structure * e.structure, of_structure * 2.0f};
        for (int i = 0; i < 4; i++) {
            const float_lanes some = first_of(rows[i], width - n);
            store(out + i * plane + n, &some);
        }
    }
}

/* Converts rows to XYB, including a margin above and below if the image has these rows. */
static void fill_strip(Strip *strip, const float *const images[2], ptrdiff_t first, ptrdiff_t rows, ptrdiff_t height,
                       ptrdiff_t width, const float *absorbance, float bias, float bias_root) {
    for (int i = 0; i < 2; i++) {
        memset(strip->planes[i], 0, (size_t)(CHANNELS * strip->rows * strip->stride) * sizeof(float));
        for (ptrdiff_t row = first - strip->margin; row < first + rows + strip->margin; row++)
            if (row >= 0 && row < height)
                row_to_xyb(images[i] + row * width, height * width, width, absorbance, bias, bias_root,
                           strip->planes[i] + (row - first + strip->margin) * strip->stride, strip->rows * strip->stride);
    }
}

/* The state of both functions below. */
typedef struct {
    const ComparedRows *rows;
    Strip strip;
    float *numbers; /* of the strip, of moments, and of further rows */
} Work;

/* Returns whether the rows are valid and memory was allocated; otherwise it rejects the call. */
static int begin_work(Call *call, Work *work, ptrdiff_t margin, ptrdiff_t further_rows) {
    const ptrdiff_t height = work->rows->height, width = work->rows->width;
    if (height < 1 || width < 1 || work->rows->first_row > work->rows->last_row || work->rows->last_row > height)
        return refuse(call, "images of these sizes are not possible");
    Strip *strip = &work->strip;
    strip->stride = (width + LANES - 1) / LANES * LANES;
    strip->margin = margin;
    const ptrdiff_t rows = STRIP_PIXELS / strip->stride;
    strip->rows = (rows < 1 ? 1 : rows > height ? height : rows) + 2 * margin;
    const ptrdiff_t of_image = CHANNELS * strip->rows * strip->stride, row = strip->stride + 2 * REACH;
    work->numbers = calloc((size_t)(2 * of_image + (MOMENTS + further_rows * strip->rows) * row), sizeof(float));
    if (!work->numbers) return no_memory(call);
    strip->planes[0] = work->numbers, strip->planes[1] = work->numbers + of_image;
    return 1;
}

static void next_strip(Work *work, ptrdiff_t first, ptrdiff_t count) {
    const ComparedRows *a = work->rows;
    const float *const images[2] = {a->original, a->decoded};
    fill_strip(&work->strip, images, first, count, a->height, a->width, a->absorbance, (float)a->bias,
               (float)a->bias_root);
}

int NAME(ssimulacra2_sums)(Call *call, const Ssimulacra2Sums *a) {
    Work work = {.rows = &a->strip};
    if (!begin_work(call, &work, REACH, 0)) return 0;
    const Strip *strip = &work.strip;
    float *moments = work.numbers + 2 * CHANNELS * strip->rows * strip->stride;
    const ptrdiff_t rows = strip->rows - 2 * REACH, last = a->strip.last_row;
    for (ptrdiff_t first = a->strip.first_row; first < last; first += rows) {
        const ptrdiff_t some = last - first < rows ? last - first : rows;
        next_strip(&work, first, some);
        for (int c = 0; c < CHANNELS; c++)
            for (ptrdiff_t row = REACH; row < some + REACH; row++) {
                const ptrdiff_t at = (c * strip->rows + row) * strip->stride;
                smooth_columns(strip, c, row, a->strip.taps, moments);
                add_errors(strip->planes[0] + at, strip->planes[1] + at, moments, strip->stride, a->strip.width,
                           a->strip.taps, (float)a->strip.constant, a->sums + c * 2 * ERRORS);
            }
    }
    free(work.numbers);
    return 1;
}

enum { DIRECT, OF_MEAN, OF_SQUARES, OF_PRODUCTS, GRADIENTS }; /* the variables of the gradients of a component */

/* The derivative by a row of a component of the decoded image: of itself, and what the window brings from the rows
 * around. Gradients are [GRADIENTS][rows][stride + 2 REACH], from REACH on, and `smooth` one row of them. */
static void gather_gradient(const Work *work, const float *gradients, int component, ptrdiff_t row, float *smooth,
                            float *out) {
    const Strip *strip = &work->strip;
    const ptrdiff_t stride = strip->stride, padded = stride + 2 * REACH;
    const float *taps = work->rows->taps, *at = gradients + row * padded;
    for (int by = OF_MEAN; by < GRADIENTS; by++)
        for (ptrdiff_t n = 0; n < stride; n += LANES) {
            const float *of = at + by * strip->rows * padded + REACH + n;
            float_lanes sum = taps[0] * load(of);
            for (int tap = 1; tap < WINDOW_TAPS; tap++)
                sum += taps[tap] * (load(of - tap * padded) + load(of + tap * padded));
            store(smooth + by * padded + REACH + n, &sum);
        }
    const ptrdiff_t pixels = (component * strip->rows + row) * stride;
    for (ptrdiff_t n = 0; n < stride; n += LANES) {
        const float_lanes x = load(strip->planes[0] + pixels + n), y = load(strip->planes[1] + pixels + n);
        const float_lanes slope = load(at + REACH + n) + smoothed(smooth + OF_MEAN * padded, n, taps) +
                                  2.0f * y * smoothed(smooth + OF_SQUARES * padded, n, taps) +
                                  x * smoothed(smooth + OF_PRODUCTS * padded, n, taps);
        store(out + n, &slope);
    }
}

/* Converts the derivative of a row with respect to XYB, `stride` numbers of each component, to linear light. */
static void row_to_light(const Work *work, ptrdiff_t row, const float *grad_xyb, float *out) {
    const ptrdiff_t width = work->rows->width, plane = work->rows->height * width, stride = work->strip.stride;
    const float *light = work->rows->decoded + row * width, *absorbance = work->rows->absorbance;
    const float bias = (float)work->rows->bias;
    for (ptrdiff_t n = 0; n < width; n += LANES) {
        const ptrdiff_t some = width - n;
        float_lanes in[CHANNELS], sums[CHANNELS] = {{0}}, g[CHANNELS];
        for (int c = 0; c < CHANNELS; c++) {
            in[c] = load_some(light + c * plane + n, some);
            g[c] = load(grad_xyb + c * stride + n);
        }
        const float_lanes of_y = (g[1] - g[2]) * 0.5f;
        const float_lanes of_root[] = {of_y + g[0] * 7.0f, of_y - g[0] * 7.0f, g[2]};
        for (int c = 0; c < CHANNELS; c++) {
            const float *a = absorbance + c * CHANNELS;
            const float_lanes mixed = a[0] * in[0] + a[1] * in[1] + a[2] * in[2] + bias;
            const float_lanes root = cube_root(larger(mixed, all(1e-3f)));
            const float_lanes of_mixed = of_root[c] / (3.0f * root * root);
            for (int i = 0; i < CHANNELS; i++) sums[i] += a[i] * of_mixed;
        }
        for (int c = 0; c < CHANNELS; c++)
            memcpy(out + c * plane + row * width + n, &sums[c], (size_t)(some < LANES ? some : LANES) * sizeof(float));
    }
}

int NAME(ssimulacra2_gradient)(Call *call, const Ssimulacra2Gradient *a) {
    Work work = {.rows = &a->strip};
    const ptrdiff_t margin = 2 * REACH, last = a->strip.last_row;
    if (!begin_work(call, &work, margin, GRADIENTS)) return 0;
    const Strip *strip = &work.strip;
    const ptrdiff_t stride = strip->stride, padded = stride + 2 * REACH, rows = strip->rows - 2 * margin;
    float *grad_xyb = calloc((size_t)(CHANNELS * rows * stride + GRADIENTS * padded), sizeof *grad_xyb);
    if (!grad_xyb) return free(work.numbers), no_memory(call);
    float *moments = work.numbers + 2 * CHANNELS * strip->rows * stride, *grad_rows = moments + MOMENTS * padded;
    float *smooth = grad_xyb + CHANNELS * rows * stride;
    for (ptrdiff_t first = a->strip.first_row; first < last; first += rows) {
        const ptrdiff_t some = last - first < rows ? last - first : rows;
        next_strip(&work, first, some);
        for (int c = 0; c < CHANNELS; c++) {
            memset(grad_rows, 0, (size_t)(GRADIENTS * strip->rows * padded) * sizeof *grad_rows);
            for (ptrdiff_t row = REACH; row < some + 2 * margin - REACH; row++) {
                const ptrdiff_t in_image = first + row - margin, at = (c * strip->rows + row) * stride;
                if (in_image < 0 || in_image >= a->strip.height) continue; /* no errors are taken there */
                smooth_columns(strip, c, row, a->strip.taps, moments);
                gradient_of_row(strip->planes[0] + at, strip->planes[1] + at, moments, stride, a->strip.width,
                                a->strip.taps, (float)a->strip.constant, a->error_weights + c * 2 * ERRORS,
                                grad_rows + row * padded + REACH, strip->rows * padded);
            }
            for (ptrdiff_t row = 0; row < some; row++)
                gather_gradient(&work, grad_rows, c, row + margin, smooth, grad_xyb + (row * CHANNELS + c) * stride);
        }
        for (ptrdiff_t row = 0; row < some; row++)
            row_to_light(&work, first + row, grad_xyb + row * CHANNELS * stride, a->gradient);
    }
    free(grad_xyb);
    free(work.numbers);
    return 1;
}
