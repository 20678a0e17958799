/* Conversion of samples to pixels: the correction network, the image filter and the colours, as described in
 * `dfmcodec.codecs.wavelet.correction`, `dfmcodec.codecs.wavelet.filter` and `dfmcodec.codecs.wavelet.colour`.
 *
 * The network processes rows of cells from top to bottom. Each layer keeps the last three rows of its
 * outputs, dimension by dimension. A row of the next layer is computed as soon as the neighbouring rows
 * are known, so all data stay in the cache. 2 LANES cells of a row are processed at a time.
 */
#if !defined(TARGET_AVX2) && !defined(TARGET_AVX512)
#define TARGET_BASELINE
#endif
#include "kernels.h"
#include "maths.h"

enum {
    INPUTS = CELL_SAMPLES * CELLS_AROUND, /* of CORRECTION_FEATURES; the logarithm of the step size and 1 follow */
    KEPT = 3,                             /* rows */
    TILE = 2 * LANES, /* cells at a time */
#if LANES == 16 || ON_ARM
    TILE_OUTPUTS = 12, /* sums at a time: 24 of 32 registers */
#elif ON_WASM
    TILE_OUTPUTS = 4, /* 8 of 15 registers, as a sum may need a copy */
#else
    TILE_OUTPUTS = 6, /* 12 of 16 registers */
#endif
    MAX_WIDTH = 128,
    MAX_DEPTH = 8,
};

typedef struct {
    int width, depth;
    const float *lift;                        /* [CORRECTION_FEATURES][width] */
    const float *a[MAX_DEPTH], *b[MAX_DEPTH]; /* [1 + width][outputs] of each layer */
    const float *bypass;                      /* [width][CELL_SAMPLES] */
} Network;

/* Adds to `sums` [outputs][2] the products of weights[k][..] and rows of TILE numbers. */
INLINE void add_products(float_lanes (*sums)[2], int some, const float *weights, int outputs, const float (*rows)[TILE],
                         int count) {
    for (int k = 0; k < count; k++, weights += outputs) {
        const float_lanes x0 = load(rows[k]), x1 = load(rows[k] + LANES);
        UNROLLED
        for (int j = 0; j < some; j++) {
            sums[j][0] = add_product(sums[j][0], weights[j], x0);
            sums[j][1] = add_product(sums[j][1], weights[j], x1);
        }
    }
}

/* The state of an evaluation of the network. `rows[layer][row % KEPT]` is [width][stride]. */
typedef struct {
    const Network *network;
    const int32_t *samples;
    ptrdiff_t channels, height, width; /* of the samples */
    ptrdiff_t cell_columns;            /* of the cells */
    ptrdiff_t stride;
    float to_steps, step, log_step;
    float *cells[KEPT]; /* [CELL_SAMPLES][stride] */
    float *rows[MAX_DEPTH][KEPT];
} Work;

/* Reads the samples of a row of cells, in steps. An odd last row or column is repeated; gray gets zero chroma. */
static void cells_of_row(const Work *work, ptrdiff_t row, float *target) {
    for (int sample = 0; sample < CELL_SAMPLES; sample++) {
        float *out = target + sample * work->stride;
        const ptrdiff_t channel = sample / 4, y = 2 * row + sample / 2 % 2, x = sample % 2;
        if (channel >= work->channels) {
            memset(out, 0, (size_t)work->cell_columns * sizeof *out);
            continue;
        }
        const ptrdiff_t from = y < work->height ? y : work->height - 1;
        const int32_t *source = work->samples + (channel * work->height + from) * work->width;
        ptrdiff_t pairs = (work->width - x + 1) / 2;
        for (ptrdiff_t n = 0; n < pairs; n++) out[n] = (float)source[2 * n + x] * work->to_steps;
        if (pairs < work->cell_columns) out[pairs] = (float)source[work->width - 1] * work->to_steps;
    }
}

/* Computes `some` dimensions of the vectors h_0 = W v for TILE cells, starting at dimension `first`. */
INLINE void lift_outputs(const Work *work, int some, int first, const float (*inputs)[TILE], float *target) {
    const int width = work->network->width;
    const float *weights = work->network->lift + first, *constants = weights + INPUTS * width;
    float_lanes sums[TILE_OUTPUTS][2];
    UNROLLED
    for (int i = 0; i < some; i++) sums[i][0] = sums[i][1] = all(constants[i] * work->log_step + constants[width + i]);
    add_products(sums, some, weights, width, inputs, INPUTS);
    UNROLLED
    for (int i = 0; i < some; i++) {
        store(target + (first + i) * work->stride, &sums[i][0]);
        store(target + (first + i) * work->stride + LANES, &sums[i][1]);
    }
}

/* Computes row `row` of the vectors h_0 = W v, from the rows of cells row .. row + 2. */
static void lift_row(const Work *work, ptrdiff_t row, float *target) {
    const Network *network = work->network;
    const ptrdiff_t columns = work->cell_columns - 2;
    float inputs[INPUTS][TILE] __attribute__((aligned(64)));
    for (ptrdiff_t first = 0; first < columns; first += TILE) {
        for (int channel = 0; channel < CHANNELS; channel++)
            for (int half = 0; half < TILE; half += LANES) {
                const float *middle = work->cells[(row + 1) % KEPT] + 4 * channel * work->stride + first + 1 + half;
                const float_lanes mean = (load(middle) + load(middle + work->stride) + load(middle + 2 * work->stride) +
                                          load(middle + 3 * work->stride)) *
                                         0.25f;
                for (int around = 0; around < CELLS_AROUND; around++)
                    for (int s = 4 * channel; s < 4 * channel + 4; s++) {
                        const float *cell = work->cells[(row + around / 3) % KEPT] + s * work->stride + first + half;
                        const float_lanes d = load(cell + around % 3) - mean;
                        const float_lanes size = (float_lanes)((int32_lanes)d & 0x7FFFFFFF);
                        const float_lanes input = d / (size * 0.25f + 1.0f);
                        store(inputs[around * CELL_SAMPLES + s] + half, &input);
                    }
            }
        int j = 0;
        for (; j + TILE_OUTPUTS <= network->width; j += TILE_OUTPUTS)
            lift_outputs(work, TILE_OUTPUTS, j, (const float (*)[TILE])inputs, target + first);
        for (; j < network->width; j++) lift_outputs(work, 1, j, (const float (*)[TILE])inputs, target + first);
    }
}

/* The terms of a Fourier layer for TILE cells: the cosine and sine of each input, shifted to the neighbouring cell for
 * moved dimensions, and the input itself. */
typedef struct {
    float cosines[MAX_WIDTH][TILE], sines[MAX_WIDTH][TILE], inner[MAX_WIDTH][TILE];
} Waves __attribute__((aligned(64)));

/* Computes `some` outputs of a Fourier layer for TILE cells, starting at number `first`. */
INLINE void layer_outputs(const Work *work, int layer, int some, int first, const Waves *waves, float *target) {
    const Network *network = work->network;
    const int width = network->width, is_last = layer == network->depth - 1, outputs = is_last ? CELL_SAMPLES : width;
    const float *a = network->a[layer] + first, *b = network->b[layer] + first;
    float_lanes sums[TILE_OUTPUTS][2];
    UNROLLED
    for (int i = 0; i < some; i++) sums[i][0] = sums[i][1] = all(a[i]);
    add_products(sums, some, a + outputs, outputs, waves->cosines, width);
    add_products(sums, some, b + outputs, outputs, waves->sines, width);
    if (is_last) add_products(sums, some, network->bypass + first, outputs, waves->inner, width);
    UNROLLED
    for (int i = 0; i < some; i++)
        UNROLLED
        for (int half = 0; half < 2; half++) {
            if (!is_last) sums[i][half] += load(waves->inner[first + i] + half * LANES);
            store(target + (first + i) * work->stride + half * LANES, &sums[i][half]);
        }
}

/* Computes row `row` of the output of Fourier layer `layer`, [outputs][stride], `columns` of them.
 *
 * A cell sums terms of the cells around it, so the output has one row and column less on each side. */
static void layer_row(const Work *work, int layer, ptrdiff_t row, ptrdiff_t columns, float *target) {
    const Network *network = work->network;
    const int width = network->width, is_last = layer == network->depth - 1, outputs = is_last ? CELL_SAMPLES : width;
    const int moved = width / DIMENSIONS_PER_MOVED;
    float *const *rows = (float *const *)work->rows[layer];
    Waves waves;
    for (ptrdiff_t first = 0; first < columns; first += TILE) {
        for (int k = 0; k < width; k++) {
            const int number = moved && k >= width - 8 * moved ? (k - width + 8 * moved) / moved : -1;
            const int place = number < 0 ? 4 : number < 4 ? number : number + 1; /* among the nine cells */
            const float *seen = rows[(row + place / 3) % KEPT] + k * work->stride + first + place % 3;
            const float *own = rows[(row + 1) % KEPT] + k * work->stride + first + 1;
            for (int half = 0; half < TILE; half += LANES) {
                float_lanes cosine, sine;
                cos_sin(load(seen + half), &cosine, &sine);
                store(waves.cosines[k] + half, &cosine);
                store(waves.sines[k] + half, &sine);
                memcpy(waves.inner[k] + half, own + half, LANES * sizeof *own);
            }
        }
        int j = 0;
        for (; j + TILE_OUTPUTS <= outputs; j += TILE_OUTPUTS)
            layer_outputs(work, layer, TILE_OUTPUTS, j, &waves, target + first);
        for (; j < outputs; j++) layer_outputs(work, layer, 1, j, &waves, target + first);
    }
}

/* Stores a row of residuals, in steps, into planes in units. */
static void spread_row(const Work *work, const float *row, ptrdiff_t y, ptrdiff_t height, ptrdiff_t width,
                       float *planes) {
    for (int sample = 0; sample < CELL_SAMPLES; sample++) {
        const ptrdiff_t channel = sample / 4, line = 2 * y + sample / 2 % 2, x = sample % 2;
        if (channel >= work->channels || line >= height) continue;
        float *out = planes + (channel * height + line) * width + x;
        const float *source = row + sample * work->stride;
        for (ptrdiff_t n = 0; 2 * n + x < width; n++) out[2 * n] = source[n] * work->step;
    }
}

/* Finds the layers of a network in its weights; returns the number of weights. */
static ptrdiff_t lay_out(Network *network, const float *weights) {
    const ptrdiff_t width = network->width;
    const float *next = weights + CORRECTION_FEATURES * width;
    network->lift = weights;
    for (int layer = 0; layer < network->depth; layer++) {
        const ptrdiff_t size = (width + 1) * (layer < network->depth - 1 ? width : CELL_SAMPLES);
        network->a[layer] = next;
        network->b[layer] = next + size;
        next += 2 * size;
    }
    network->bypass = next;
    return next + width * CELL_SAMPLES - weights;
}

/* Evaluates the network, one row of cells after the other. Its rows are in `numbers`. */
static void residuals_of(Work *work, float *numbers, ptrdiff_t cell_rows, const CorrectionResidual *a) {
    const int width = work->network->width, depth = work->network->depth;
    for (int kept = 0; kept < KEPT; kept++, numbers += CELL_SAMPLES * work->stride) work->cells[kept] = numbers;
    for (int layer = 0; layer < depth; layer++)
        for (int kept = 0; kept < KEPT; kept++, numbers += width * work->stride) work->rows[layer][kept] = numbers;
    float *const residuals = numbers;
    for (ptrdiff_t row = 0; row < cell_rows; row++) {
        cells_of_row(work, row, work->cells[row % KEPT]);
        ptrdiff_t ready = row - 2; /* the row that can be computed next */
        if (ready < 0) continue;
        lift_row(work, ready, work->rows[0][ready % KEPT]);
        for (int layer = 0; layer < depth; layer++) {
            ready -= 2;
            if (ready < 0) break;
            const ptrdiff_t columns = work->cell_columns - 2 * (layer + 2);
            if (layer < depth - 1) {
                layer_row(work, layer, ready, columns, work->rows[layer + 1][ready % KEPT]);
            } else {
                layer_row(work, layer, ready, columns, residuals);
                spread_row(work, residuals, ready, a->block_height, a->block_width, a->residual);
            }
        }
    }
}

int NAME(correction_residual)(Call *call, const CorrectionResidual *a) {
    const ptrdiff_t cell_rows = (a->height + 1) / 2, cell_columns = (a->width + 1) / 2;
    const ptrdiff_t lost = 2 + 2 * (ptrdiff_t)a->depth; /* rows and columns of cells */
    const int width = a->network_width, depth = a->depth;
    if (width < 1 || width > MAX_WIDTH || depth < 1 || depth > MAX_DEPTH || a->channels < 1 || a->channels > CHANNELS ||
        a->height < 1 || a->width < 1 || a->block_height < 1 || a->block_width < 1 || !(a->step_size > 0) ||
        cell_rows - lost != (a->block_height + 1) / 2 || cell_columns - lost != (a->block_width + 1) / 2)
        return refuse(call, "a network or block of these sizes is not possible");
    Network network = {.width = width, .depth = depth};
    if (!has_items(call, a, weights, lay_out(&network, a->weights))) return 0;
    const ptrdiff_t stride = (cell_columns + 2 * TILE + LANES) / LANES * LANES;
    const ptrdiff_t numbers = KEPT * stride * (CELL_SAMPLES + (ptrdiff_t)depth * width) + stride * CELL_SAMPLES;
    float *workspace = calloc((size_t)numbers, sizeof *workspace);
    if (!workspace) return no_memory(call);
    const float step = (float)a->step_size, to_steps = (float)(1 / a->step_size), log_step = (float)a->log_step;
    Work work = {&network, a->samples, a->channels, a->height, a->width, cell_columns, stride, to_steps, step,
                 log_step, {0},        {{0}}};
    residuals_of(&work, workspace, cell_rows, a);
    free(workspace);
    return 1;
}

/* The residual of the filter for TILE samples of all channels, [channels][TILE], from index `here` of each plane. */
INLINE void filter_tile(const float *weights, const ptrdiff_t *taps, ptrdiff_t count, int channels, const float *here,
                        ptrdiff_t plane, float (*out)[TILE]) {
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
    float *values = calloc((size_t)(channels * plane + TILE), sizeof *values);
    ptrdiff_t *distances = malloc((size_t)(count + 1) * sizeof *distances);
    const int has_memory = values && distances;
    for (ptrdiff_t n = 0; has_memory && n < channels * plane; n++) values[n] = (float)a->samples[n];
    for (ptrdiff_t t = 0; has_memory && t < count; t++)
        distances[t] = a->taps[2 * t] * padded_width + a->taps[2 * t + 1];
    for (ptrdiff_t row = 0; has_memory && row < height; row++)
        for (ptrdiff_t first = 0; first < width; first += TILE) {
            const ptrdiff_t some = width - first < TILE ? width - first : TILE;
            const float *here = values + (row + radius) * padded_width + radius + first;
            float sums[CHANNELS][TILE];
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
