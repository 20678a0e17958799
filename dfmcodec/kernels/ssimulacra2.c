/* The errors of SSIMULACRA2 at one scale, as `dfmcodec.ssimulacra2` describes them.
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

/* Two images in XYB: `rows` rows of each component, `stride` numbers each, with zeros where there is no image. */
typedef struct {
    Py_ssize_t rows, stride;
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
INLINE float_lanes load_some(const float *at, Py_ssize_t count) {
    if (count >= LANES) return load(at);
    float some[LANES] = {0};
    memcpy(some, at, (size_t)count * sizeof *some);
    return load(some);
}

/* XYB of a row of linear light, of which `plane` is the distance of two components. Outside of the image it stays 0. */
static void row_to_xyb(const float *light, Py_ssize_t plane, Py_ssize_t width, const float *absorbance, float bias,
                       float bias_root, float *out, Py_ssize_t out_plane) {
    for (Py_ssize_t n = 0; n < width; n += LANES) {
        const Py_ssize_t some = width - n;
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
static void smooth_columns(const Strip *strip, int component, Py_ssize_t row, const float *taps, float *out) {
    const float *x = strip->planes[0] + (component * strip->rows + row) * strip->stride;
    const float *y = strip->planes[1] + (component * strip->rows + row) * strip->stride;
    for (Py_ssize_t n = 0; n + LANES <= strip->stride; n += LANES) {
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

INLINE float_lanes smoothed(const float *row, Py_ssize_t n, const float *taps) {
    float_lanes sum = taps[0] * load(row + REACH + n);
    for (int tap = 1; tap < TAPS; tap++) sum += taps[tap] * (load(row + REACH + n - tap) + load(row + REACH + n + tap));
    return sum;
}

/* Adds the errors of a row, and their fourth powers, to sums[2][ERRORS]. */
static void add_errors(const float *x, const float *y, const float *moments, Py_ssize_t stride, Py_ssize_t width,
                       const float *taps, float constant, double *sums) {
    float_lanes of_row[2][ERRORS] = {{{0}}};
    for (Py_ssize_t n = 0; n < width; n += LANES) {
        float_lanes mean[MOMENTS];
        for (int m = 0; m < MOMENTS; m++) mean[m] = smoothed(moments + m * (stride + 2 * REACH), n, taps);
        const float_lanes difference = mean[0] - mean[1];
        const float_lanes variances = (mean[2] - mean[0] * mean[0]) + (mean[3] - mean[1] * mean[1]);
        const float_lanes structure = (2.0f * (mean[4] - mean[0] * mean[1]) + constant) / (variances + constant);
        const float_lanes edge = 1.0f + magnitude(load(x + n) - mean[0]);
        const float_lanes edges = (1.0f + magnitude(load(y + n) - mean[1])) / edge - 1.0f, none = all(0.0f);
        float_lanes errors[ERRORS] = {
            larger(1.0f - (1.0f - difference * difference) * structure, none), larger(edges, none),
            larger(-edges, none)};
        if (width - n < LANES)
            for (int e = 0; e < ERRORS; e++) {
                float some[LANES];
                store(some, &errors[e]);
                errors[e] = load_some(some, width - n);
            }
        for (int e = 0; e < ERRORS; e++) {
            const float_lanes square = errors[e] * errors[e];
            of_row[0][e] += errors[e];
            of_row[1][e] += square * square;
        }
    }
    for (int i = 0; i < 2 * ERRORS; i++)
        for (int lane = 0; lane < LANES; lane++) sums[i] += of_row[i / ERRORS][i % ERRORS][lane];
}

/* Takes some rows to XYB, REACH more above and below where there are such. */
static void fill_strip(Strip *strip, const float *const images[2], Py_ssize_t first, Py_ssize_t rows, Py_ssize_t height,
                       Py_ssize_t width, const float *absorbance, float bias, float bias_root) {
    for (int i = 0; i < 2; i++) {
        memset(strip->planes[i], 0, (size_t)(COMPONENTS * strip->rows * strip->stride) * sizeof(float));
        for (Py_ssize_t row = first - REACH; row < first + rows + REACH; row++)
            if (row >= 0 && row < height)
                row_to_xyb(images[i] + row * width, height * width, width, absorbance, bias, bias_root,
                           strip->planes[i] + (row - first + REACH) * strip->stride, strip->rows * strip->stride);
    }
}

/* The sums of errors over the pixels of some rows; see _compiled.pyi. */
PyObject *NAME(ssimulacra2_sums)(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer original, decoded, absorbance, taps, sums;
    Py_ssize_t height, width, from, to;
    float bias, bias_root, constant;
    if (!PyArg_ParseTuple(args, "y*y*(nn)(nn)y*ffy*fw*", &original, &decoded, &height, &width, &from, &to, &absorbance, &bias,
                          &bias_root, &taps, &constant, &sums))
        return NULL;
    PyObject *result = NULL;
    float *numbers = NULL;
    if (!SIZES(height, width) || height < 1 || width < 1 || from < 0 || from > to || to > height) {
        PyErr_SetString(PyExc_ValueError, "images of these sizes are not possible");
        goto done;
    }
    if (!has_items(&original, COMPONENTS * height * width, 4, "original") ||
        !has_items(&decoded, COMPONENTS * height * width, 4, "decoded") ||
        !has_items(&absorbance, COMPONENTS * COMPONENTS, 4, "absorbance") || !has_items(&taps, TAPS, 4, "taps") ||
        !has_items(&sums, COMPONENTS * 2 * ERRORS, 8, "sums"))
        goto done;
    Strip strip = {.stride = (width + LANES - 1) / LANES * LANES};
    Py_ssize_t rows = STRIP_PIXELS / strip.stride;
    rows = rows < 1 ? 1 : rows > height ? height : rows;
    strip.rows = rows + 2 * REACH;
    const Py_ssize_t of_image = COMPONENTS * strip.rows * strip.stride;
    const Py_ssize_t of_moments = MOMENTS * (strip.stride + 2 * REACH);
    numbers = calloc((size_t)(2 * of_image + of_moments), sizeof *numbers);
    if (!numbers) {
        PyErr_NoMemory();
        goto done;
    }
    strip.planes[0] = numbers, strip.planes[1] = numbers + of_image;
    float *moments = numbers + 2 * of_image;
    const float *const images[2] = {original.buf, decoded.buf};
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t first = from; first < to; first += rows) {
        const Py_ssize_t some = to - first < rows ? to - first : rows;
        fill_strip(&strip, images, first, some, height, width, absorbance.buf, bias, bias_root);
        for (int c = 0; c < COMPONENTS; c++)
            for (Py_ssize_t row = REACH; row < some + REACH; row++) {
                const Py_ssize_t at = (c * strip.rows + row) * strip.stride;
                smooth_columns(&strip, c, row, taps.buf, moments);
                add_errors(strip.planes[0] + at, strip.planes[1] + at, moments, strip.stride, width, taps.buf, constant,
                           (double *)sums.buf + c * 2 * ERRORS);
            }
    }
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    free(numbers);
    PyBuffer_Release(&original), PyBuffer_Release(&decoded), PyBuffer_Release(&absorbance), PyBuffer_Release(&taps);
    PyBuffer_Release(&sums);
    return result;
}
