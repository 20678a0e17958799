/* The errors of SSIMULACRA2 at one scale, as `dfmcodec.metrics.ssimulacra2` describes them, and their derivative.
 *
 * Some rows of both images are taken to XYB at a time. Each row of a component is then smoothed along columns, of five
 * planes (both images, their squares and their product) which are never stored, and along the row.
 */
#if !defined(TARGET_AVX2) && !defined(TARGET_AVX512)
#define TARGET_BASELINE
#endif
#include "maths.h"

enum {
    COMPONENTS = 3,
    TAPS = 5, /* from the centre of the window on */
    REACH = TAPS - 1,
    MOMENTS = 5,
    ERRORS = 3,
    STRIP_PIXELS = 1 << 15,
};

/* The values of samples in a table; see _compiled.pyi. */
int NAME(values_of_samples)(Call *call) {
    const Buffer table = take_buffer(call), pixels = take_buffer(call);
    const ptrdiff_t channel = take_size(call), count = take_size(call), channels = take_size(call);
    const Buffer out = take_buffer(call);
    const int bytes = table.len == 4 << 16 ? 2 : 1;
    if (!SIZES(count, channels) || channel < 0 || channel >= channels) return refuse(call, "there is no such channel");
    if (!has_items(call, &table, 1 << 8 * bytes, 4, "table") ||
        !has_items(call, &pixels, count * channels, bytes, "pixels") || !has_items(call, &out, count, 4, "out"))
        return 0;
    const float *values = table.buf;
    float *found = out.buf;
    if (bytes == 1)
        for (ptrdiff_t n = 0; n < count; n++) found[n] = values[((const uint8_t *)pixels.buf)[n * channels + channel]];
    else
        for (ptrdiff_t n = 0; n < count; n++) found[n] = values[((const uint16_t *)pixels.buf)[n * channels + channel]];
    return 1;
}

/* Two images in XYB: `rows` rows of each component, `stride` numbers each, with zeros where there is no image. The
 * first and the last `margin` of them are around the rows that are of interest. */
typedef struct {
    ptrdiff_t rows, stride, margin;
    float *planes[2]; /* [COMPONENTS][rows][stride] */
} Strip;

/* The cube root of numbers from 1e-3 to 1e3: a guess by the exponent, and twice Halley's step. */
INLINE float_lanes cube_root(float_lanes x) {
    const float_lanes third = __builtin_convertvector((int32_lanes)x, float_lanes) * (1.0f / 3);
    float_lanes root = (float_lanes)(__builtin_convertvector(third, int32_lanes) + 709921077);
    for (int step = 0; step < 2; step++) {
        const float_lanes cube = root * root * root;
        root *= (cube + x + x) / (cube + cube + x);
    }
    return root;
}

/* LANES numbers from an array that may end before, zeros after its end. */
INLINE float_lanes load_some(const float *at, ptrdiff_t count) {
    if (count >= LANES) return load(at);
    float some[LANES] = {0};
    memcpy(some, at, (size_t)count * sizeof *some);
    return load(some);
}

/* XYB of a row of linear light, of which `plane` is the distance of two components. Outside of the image it stays 0. */
static void row_to_xyb(const float *light, ptrdiff_t plane, ptrdiff_t width, const float *absorbance, float bias,
                       float bias_root, float *out, ptrdiff_t out_plane) {
    for (ptrdiff_t n = 0; n < width; n += LANES) {
        const ptrdiff_t some = width - n;
        float_lanes mixed[COMPONENTS], in[COMPONENTS];
        for (int c = 0; c < COMPONENTS; c++) in[c] = load_some(light + c * plane + n, some);
        for (int c = 0; c < COMPONENTS; c++) {
            const float *a = absorbance + c * COMPONENTS;
            mixed[c] = cube_root(larger(a[0] * in[0] + a[1] * in[1] + a[2] * in[2] + bias, all(1e-3f))) - bias_root;
        }
        const float_lanes y = (mixed[0] + mixed[1]) * 0.5f;
        const float_lanes xyb[] = {(mixed[0] - mixed[1]) * 7.0f + 0.42f, y + 0.01f, (mixed[2] - y) + 0.55f};
        for (int c = 0; c < COMPONENTS; c++)
            memcpy(out + c * out_plane + n, &xyb[c], (size_t)(some < LANES ? some : LANES) * sizeof(float));
    }
}

/* The moments of a row of a component, smoothed along columns: [MOMENTS][stride], from REACH on. */
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
    for (int tap = 1; tap < TAPS; tap++) sum += taps[tap] * (load(row + REACH + n - tap) + load(row + REACH + n + tap));
    return sum;
}

/* The errors of LANES pixels, and what they are made of. */
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

/* The first `count` of LANES numbers, zeros after them. */
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

/* The derivative of a sum of the errors of a row and of their fourth powers, with the `parts` [2][ERRORS]: by the
 * decoded pixels themselves, their smoothed mean, that of their squares, and that of their products with the original's:
 * four rows of out, `plane` numbers from each other. */
static void slopes_of_row(const float *x, const float *y, const float *moments, ptrdiff_t stride, ptrdiff_t width,
                          const float *taps, float constant, const float *parts, float *out, ptrdiff_t plane) {
    for (ptrdiff_t n = 0; n < width; n += LANES) {
        const Errors e = errors_of(x, y, moments, stride, n, taps, constant);
        float_lanes of_error[ERRORS];
        for (int i = 0; i < ERRORS; i++) {
            const float_lanes error = e.values[i], slope = parts[i] + 4.0f * parts[ERRORS + i] * (error * error * error);
            of_error[i] = where(-(int32_lanes)error >> 31, slope, all(0.0f)); /* of those above 0 */
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

/* Takes some rows to XYB, a margin more above and below where there are such. */
static void fill_strip(Strip *strip, const float *const images[2], ptrdiff_t first, ptrdiff_t rows, ptrdiff_t height,
                       ptrdiff_t width, const float *absorbance, float bias, float bias_root) {
    for (int i = 0; i < 2; i++) {
        memset(strip->planes[i], 0, (size_t)(COMPONENTS * strip->rows * strip->stride) * sizeof(float));
        for (ptrdiff_t row = first - strip->margin; row < first + rows + strip->margin; row++)
            if (row >= 0 && row < height)
                row_to_xyb(images[i] + row * width, height * width, width, absorbance, bias, bias_root,
                           strip->planes[i] + (row - first + strip->margin) * strip->stride, strip->rows * strip->stride);
    }
}

/* What both functions below take: two images in linear light, some of their rows, and the constants of the measure. */
typedef struct {
    Buffer original, decoded, absorbance, taps;
    ptrdiff_t height, width, from, to;
    float bias, bias_root, constant;
    Strip strip;
    float *numbers; /* of the strip, of moments, and of further rows */
} Work;

/* Whether the arrays of a call are as they should be and there is memory; otherwise refuses the call. */
static int begin_work(Call *call, Work *work, ptrdiff_t margin, ptrdiff_t further_rows) {
    const ptrdiff_t height = work->height, width = work->width;
    if (!SIZES(height, width) || height < 1 || width < 1 || work->from < 0 || work->from > work->to || work->to > height) {
        return refuse(call, "images of these sizes are not possible");
    }
    if (!has_items(call, &work->original, COMPONENTS * height * width, 4, "original") ||
        !has_items(call, &work->decoded, COMPONENTS * height * width, 4, "decoded") ||
        !has_items(call, &work->absorbance, COMPONENTS * COMPONENTS, 4, "absorbance") ||
        !has_items(call, &work->taps, TAPS, 4, "taps"))
        return 0;
    Strip *strip = &work->strip;
    strip->stride = (width + LANES - 1) / LANES * LANES;
    strip->margin = margin;
    const ptrdiff_t rows = STRIP_PIXELS / strip->stride;
    strip->rows = (rows < 1 ? 1 : rows > height ? height : rows) + 2 * margin;
    const ptrdiff_t of_image = COMPONENTS * strip->rows * strip->stride, row = strip->stride + 2 * REACH;
    work->numbers = calloc((size_t)(2 * of_image + (MOMENTS + further_rows * strip->rows) * row), sizeof(float));
    if (!work->numbers) {
        no_memory(call);
        return 0;
    }
    strip->planes[0] = work->numbers, strip->planes[1] = work->numbers + of_image;
    return 1;
}

static int end_work(Work *work, int result) {
    free(work->numbers);
    return result;
}

static void next_strip(Work *work, ptrdiff_t first, ptrdiff_t rows) {
    const float *const images[2] = {work->original.buf, work->decoded.buf};
    fill_strip(&work->strip, images, first, rows, work->height, work->width, work->absorbance.buf, work->bias,
               work->bias_root);
}

/* The sums of errors over the pixels of some rows; see _compiled.pyi. */
int NAME(ssimulacra2_sums)(Call *call) {
    Work work = {0};
    Buffer sums;
    work.original = take_buffer(call), work.decoded = take_buffer(call), work.height = take_size(call),
    work.width = take_size(call), work.from = take_size(call), work.to = take_size(call),
    work.absorbance = take_buffer(call), work.bias = (float)take_real(call), work.bias_root = (float)take_real(call),
    work.taps = take_buffer(call), work.constant = (float)take_real(call), sums = take_buffer(call);
    int result = 0;
    if (!has_items(call, &sums, COMPONENTS * 2 * ERRORS, 8, "sums") || !begin_work(call, &work, REACH, 0)) goto done;
    const Strip *strip = &work.strip;
    float *moments = work.numbers + 2 * COMPONENTS * strip->rows * strip->stride;
    const ptrdiff_t rows = strip->rows - 2 * REACH;
    for (ptrdiff_t first = work.from; first < work.to; first += rows) {
        const ptrdiff_t some = work.to - first < rows ? work.to - first : rows;
        next_strip(&work, first, some);
        for (int c = 0; c < COMPONENTS; c++)
            for (ptrdiff_t row = REACH; row < some + REACH; row++) {
                const ptrdiff_t at = (c * strip->rows + row) * strip->stride;
                smooth_columns(strip, c, row, work.taps.buf, moments);
                add_errors(strip->planes[0] + at, strip->planes[1] + at, moments, strip->stride, work.width, work.taps.buf,
                           work.constant, (double *)sums.buf + c * 2 * ERRORS);
            }
    }
    result = 1;
done:
    return end_work(&work, result);
}

enum { DIRECT, OF_MEAN, OF_SQUARES, OF_PRODUCTS, SLOPES }; /* what a component's slopes are by */

/* The derivative by a row of a component of the decoded image: of itself, and what the window brings from the rows
 * around. Slopes are [SLOPES][rows][stride + 2 REACH], from REACH on, and `smooth` one row of them. */
static void gather_slopes(const Work *work, const float *slopes, int component, ptrdiff_t row, float *smooth, float *out) {
    const Strip *strip = &work->strip;
    const ptrdiff_t stride = strip->stride, padded = stride + 2 * REACH;
    const float *taps = work->taps.buf, *at = slopes + row * padded;
    for (int by = OF_MEAN; by < SLOPES; by++)
        for (ptrdiff_t n = 0; n < stride; n += LANES) {
            const float *of = at + by * strip->rows * padded + REACH + n;
            float_lanes sum = taps[0] * load(of);
            for (int tap = 1; tap < TAPS; tap++) sum += taps[tap] * (load(of - tap * padded) + load(of + tap * padded));
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

/* A row's derivative by XYB, `stride` numbers of each component, taken to linear light. */
static void row_to_light(const Work *work, ptrdiff_t row, const float *of_xyb, float *out) {
    const ptrdiff_t width = work->width, plane = work->height * width, stride = work->strip.stride;
    const float *light = (const float *)work->decoded.buf + row * width, *absorbance = work->absorbance.buf;
    for (ptrdiff_t n = 0; n < width; n += LANES) {
        const ptrdiff_t some = width - n;
        float_lanes in[COMPONENTS], sums[COMPONENTS] = {{0}}, g[COMPONENTS];
        for (int c = 0; c < COMPONENTS; c++) in[c] = load_some(light + c * plane + n, some), g[c] = load(of_xyb + c * stride + n);
        const float_lanes of_y = (g[1] - g[2]) * 0.5f;
        const float_lanes of_root[] = {of_y + g[0] * 7.0f, of_y - g[0] * 7.0f, g[2]};
        for (int c = 0; c < COMPONENTS; c++) {
            const float *a = absorbance + c * COMPONENTS;
            const float_lanes mixed = a[0] * in[0] + a[1] * in[1] + a[2] * in[2] + work->bias;
            const float_lanes root = cube_root(larger(mixed, all(1e-3f)));
            const float_lanes of_mixed = of_root[c] / (3.0f * root * root);
            for (int i = 0; i < COMPONENTS; i++) sums[i] += a[i] * of_mixed;
        }
        for (int c = 0; c < COMPONENTS; c++)
            memcpy(out + c * plane + row * width + n, &sums[c], (size_t)(some < LANES ? some : LANES) * sizeof(float));
    }
}

/* The derivative of a sum of errors by the pixels of some rows of the decoded image; see _compiled.pyi. */
int NAME(ssimulacra2_slopes)(Call *call) {
    Work work = {0};
    Buffer parts, slopes;
    work.original = take_buffer(call), work.decoded = take_buffer(call), work.height = take_size(call),
    work.width = take_size(call), work.from = take_size(call), work.to = take_size(call),
    work.absorbance = take_buffer(call), work.bias = (float)take_real(call), work.bias_root = (float)take_real(call),
    work.taps = take_buffer(call), work.constant = (float)take_real(call), parts = take_buffer(call),
    slopes = take_buffer(call);
    int result = 0;
    float *of_xyb = NULL;
    const ptrdiff_t margin = 2 * REACH;
    if (!has_items(call, &parts, COMPONENTS * 2 * ERRORS, 4, "parts") || !begin_work(call, &work, margin, SLOPES)) goto done;
    if (!has_items(call, &slopes, COMPONENTS * work.height * work.width, 4, "slopes")) goto done;
    const Strip *strip = &work.strip;
    const ptrdiff_t stride = strip->stride, padded = stride + 2 * REACH, rows = strip->rows - 2 * margin;
    of_xyb = calloc((size_t)(COMPONENTS * rows * stride + SLOPES * padded), sizeof *of_xyb);
    if (!of_xyb) {
        no_memory(call);
        goto done;
    }
    float *moments = work.numbers + 2 * COMPONENTS * strip->rows * stride, *of_rows = moments + MOMENTS * padded;
    float *smooth = of_xyb + COMPONENTS * rows * stride;
    for (ptrdiff_t first = work.from; first < work.to; first += rows) {
        const ptrdiff_t some = work.to - first < rows ? work.to - first : rows;
        next_strip(&work, first, some);
        for (int c = 0; c < COMPONENTS; c++) {
            memset(of_rows, 0, (size_t)(SLOPES * strip->rows * padded) * sizeof *of_rows);
            for (ptrdiff_t row = REACH; row < some + 2 * margin - REACH; row++) {
                const ptrdiff_t in_image = first + row - margin, at = (c * strip->rows + row) * stride;
                if (in_image < 0 || in_image >= work.height) continue; /* no errors are taken there */
                smooth_columns(strip, c, row, work.taps.buf, moments);
                slopes_of_row(strip->planes[0] + at, strip->planes[1] + at, moments, stride, work.width, work.taps.buf,
                              work.constant, (const float *)parts.buf + c * 2 * ERRORS, of_rows + row * padded + REACH,
                              strip->rows * padded);
            }
            for (ptrdiff_t row = 0; row < some; row++)
                gather_slopes(&work, of_rows, c, row + margin, smooth, of_xyb + (row * COMPONENTS + c) * stride);
        }
        for (ptrdiff_t row = 0; row < some; row++)
            row_to_light(&work, first + row, of_xyb + row * COMPONENTS * stride, slopes.buf);
    }
    result = 1;
done:
    free(of_xyb);
    return end_work(&work, result);
}
