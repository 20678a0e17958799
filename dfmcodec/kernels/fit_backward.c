/* The backward pass of a window of a fit: the gradient of the squared errors with respect to symbols and to the weights
 * of the synthesis network, and the gradient of the loss with respect to latents.
 */
#if !defined(TARGET_AVX2) && !defined(TARGET_AVX512)
#define TARGET_BASELINE
#endif
#include "fit.h"

/* If `sums` is not NULL, adds the gradient with respect to the taps, from the plane `in` that was upsampled. */
INLINE void add_upsample_gradient(const Work *work, const float *taps, int level, const float *grad,
                                  float *grad_coarser, const float *in, float_lanes *sums) {
    const int count = samples_of(level + 1), pairs = count - TAPS, stride = stride_of(level);
    if (sums) upsample_rows(taps, level, in, work->middle);
    for (int y = 0; y < count; y++)
        for (int x = 0; x < padded_count(2 * pairs); x += LANES) {
            float_lanes sum = all(0.0f);
            const float_lanes wide = sums ? load(work->middle + y * stride + x) : sum;
            UNROLLED
            for (int t = 0; t < TAPS; t++) {
                const int even = y - t, odd = y - t - 1;
                if (even >= 0 && even < pairs) {
                    const float_lanes g = load(grad + 2 * even * stride + x);
                    sum += taps[t] * g;
                    if (sums) sums[t] += g * wide;
                }
                if (odd >= 0 && odd < pairs) {
                    const float_lanes g = load(grad + (2 * odd + 1) * stride + x);
                    sum += taps[TAPS - 1 - t] * g;
                    if (sums) sums[TAPS - 1 - t] += g * wide;
                }
            }
            store(work->grad_middle + y * stride + x, &sum);
        }
    float even[WINDOW + 3 * LANES] = {0}, odd[WINDOW + 3 * LANES] = {0}; /* samples start at LANES */
    for (int y = 0; y < count; y++) {
        const float *wide = work->grad_middle + y * stride, *row = in ? in + y * stride_of(level + 1) : NULL;
        float *target = grad_coarser + y * stride_of(level + 1);
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

void NAME(upsample_backward)(const Work *work, const float *taps, int level, const float *grad, float *grad_coarser) {
    add_upsample_gradient(work, taps, level, grad, grad_coarser, NULL, NULL);
}

/* The weights of the synthesis network, joined for matrix products, and the offsets of their gradients in
 * `Work.sums`. */
typedef struct {
    float back[GRID_LEVELS * (MAX_WIDTH + CHANNELS)]; /* [lift' | bypass'] */
    float_lanes *grad_lift, *grad_lift_constants, *grad_layer, *grad_bypass, *grad_constants, *grad_stages,
        *grad_filters;
} SynthesisProducts;

/* The backward pass of a tile through the Fourier layer and the bypass. */
static void synthesis_tile_backward(const Work *work, int first, int used, const SynthesisProducts *layers,
                                    SynthesisRows *rows) {
    const int width = work->width, vectors = synthesis_waves(work, first, used, rows, 0);
    const Weights *weights = &work->weights;
    Row *grad_colours = rows->grad_phases_and_colours + width;
    for (int c = 0; c < CHANNELS; c++) {
        if (used < TILE) memset(grad_colours[c], 0, sizeof(Row));
        memcpy(grad_colours[c], work->grad_values[0] + c * GRAD_VALUES + first, sizeof(float) * (size_t)used);
    }
    for (int v = 0; v < vectors; v++) {
        const float_lanes g0 = load(grad_colours[0] + v * LANES), g1 = load(grad_colours[1] + v * LANES),
                          g2 = load(grad_colours[2] + v * LANES);
        for (int j = 0; j < width; j++) {
            const float *a = weights->layer + j, *b = a + width;
            const float_lanes grad_cosine = a[0] * g0 + a[2 * width] * g1 + a[4 * width] * g2;
            const float_lanes grad_sine = b[0] * g0 + b[2 * width] * g1 + b[4 * width] * g2;
            const float_lanes cosine = load(rows->waves[j] + v * LANES),
                              sine = load(rows->waves[width + j] + v * LANES);
            const float_lanes grad_phase = grad_sine * cosine - grad_cosine * sine;
            store(rows->grad_phases_and_colours[j] + v * LANES, &grad_phase);
        }
    }
    /* the derivative with respect to a_j is cos - 1, so subtract the gradient of the constants from the sum with cos */
    outer_products(layers->grad_layer, (const Row *)grad_colours, CHANNELS, (const Row *)rows->waves, 2 * width,
                   vectors);
    outer_products(layers->grad_bypass, (const Row *)grad_colours, CHANNELS, (const Row *)rows->vectors, GRID_LEVELS,
                   vectors);
    row_sums(layers->grad_constants, 1, (const Row *)grad_colours, CHANNELS, vectors);
    outer_products(layers->grad_lift, (const Row *)rows->grad_phases_and_colours, width, (const Row *)rows->vectors,
                   GRID_LEVELS, vectors);
    row_sums(layers->grad_lift_constants, 1, (const Row *)rows->grad_phases_and_colours, width, vectors);
    products(layers->back, NULL, 0, GRID_LEVELS, width + CHANNELS, (const Row *)rows->grad_phases_and_colours,
             rows->grad_vectors, vectors);
    for (Piece piece = piece_of_tile(work, first, used, 0); piece.count;
         piece = piece_of_tile(work, first, used, piece.at + piece.count))
        for (int k = 0; k < GRID_LEVELS; k++) {
            float *to = coarser_plane(work->grad_planes, work->grad_symbols, 0, k) + piece.place;
            for (int i = 0; i < piece.count; i++) to[i] += rows->grad_vectors[k][piece.at + i] * work->step_size;
        }
}

/* The backward pass of a stage. `grad_out` is zero beyond its rows and columns, and before its start. */
static void stage_backward(const Work *work, int stage, const float *in, const float *grad_out, float *grad_in,
                           float_lanes *sums) {
    const int pitch = along(work), count = (pixel_rows(work) - 2 * stage - 2) * pitch;
    const float *weights = work->weights.stages + stage * CHANNELS * AROUND;
    const int plane = VALUES, grad_plane = GRAD_VALUES;
    for (int i = 0; i < count + 2 * pitch; i += LANES) {
        float_lanes found[CHANNELS];
        for (int k = 0; k < CHANNELS; k++) found[k] = load(grad_out + k * grad_plane + i - pitch - 1);
        UNROLLED
        for (int around = 0; around < 9; around++)
            UNROLLED
            for (int c = 0; c < CHANNELS; c++) {
                const float_lanes g = load(grad_out + c * grad_plane + i - around / 3 * pitch - around % 3);
                UNROLLED
                for (int k = 0; k < CHANNELS; k++) found[k] += weights[c * AROUND + around * CHANNELS + k] * g;
            }
        for (int k = 0; k < CHANNELS; k++) store(grad_in + k * grad_plane + i, &found[k]);
    }
    for (int c = 0; c < CHANNELS; c++) {
        float_lanes found[AROUND], of_constant = all(0.0f);
        UNROLLED
        for (int k = 0; k < AROUND; k++) found[k] = all(0.0f);
        for (int i = 0; i < count; i += LANES) {
            const float_lanes g = load(grad_out + c * grad_plane + i);
            of_constant += g;
            UNROLLED
            for (int k = 0; k < AROUND; k++)
                found[k] +=
                    g * load(in + k % CHANNELS * plane + k / CHANNELS / 3 * pitch + k / CHANNELS % 3 + i);
        }
        for (int k = 0; k < AROUND; k++) sums[c * AROUND + k] = found[k];
        sums[CHANNELS * AROUND + c] = of_constant;
    }
}

/* The gradient of the squared errors with respect to the colours. */
static void error_gradient(const Work *work) {
    const float *colours = work->values[STAGES];
    for (int y = 0; y < work->rows; y++)
        for (int x = 0; x < work->columns; x += LANES) { /* beyond the row, weights are 0; the next row overwrites */
            const float_lanes pixel_weights = load(work->pixel_weights + y * WINDOW + x);
            for (int c = 0; c < CHANNELS; c++) {
                const float_lanes wanted = load(work->colours + (c * WINDOW + y) * WINDOW + x);
                const float_lanes value = load(colours + c * VALUES + y * along(work) + x);
                const float_lanes grad_value = (value - wanted) * pixel_weights * (2.0f / CHANNELS);
                store(work->grad_values[STAGES] + c * GRAD_VALUES + y * along(work) + x, &grad_value);
            }
        }
}

static void prepare_products(const Work *work, SynthesisProducts *layers) {
    const int width = work->width;
    transpose(work->weights.lift, width, GRID_LEVELS, layers->back, width + CHANNELS);
    transpose(work->weights.bypass, CHANNELS, GRID_LEVELS, layers->back + width, width + CHANNELS);
    layers->grad_lift = work->sums;
    layers->grad_lift_constants = layers->grad_lift + width * GRID_LEVELS;
    layers->grad_layer = layers->grad_lift_constants + width;
    layers->grad_bypass = layers->grad_layer + CHANNELS * 2 * width;
    layers->grad_constants = layers->grad_bypass + CHANNELS * GRID_LEVELS;
    layers->grad_stages = layers->grad_constants + CHANNELS;
    layers->grad_filters = layers->grad_stages + STAGES * CHANNELS * (AROUND + 1);
    memset(work->sums, 0, (size_t)((char *)(layers->grad_filters + (GRID_LEVELS - 1) * TAPS) - (char *)work->sums));
}

/* The backward pass of all stages, from the last to the first. */
static void stages_backward(const Work *work, const SynthesisProducts *layers) {
    for (int stage = STAGES - 1; stage >= 0; stage--) {
        const int inputs = (pixel_rows(work) - 2 * stage) * along(work);
        float_lanes *const sums = layers->grad_stages + stage * CHANNELS * (AROUND + 1);
        stage_backward(work, stage, work->values[stage], work->grad_values[stage + 1], work->grad_values[stage], sums);
        if (stage > 0)
            for (int c = 0; c < CHANNELS; c++)
                for (int i = 0; i < inputs; i++)
                    if (!(work->values[stage][c * VALUES + i] > 0)) work->grad_values[stage][c * GRAD_VALUES + i] = 0;
        add_lanes(sums, CHANNELS * AROUND, work->grad_weights.stages + stage * CHANNELS * AROUND);
        add_lanes(sums + CHANNELS * AROUND, CHANNELS, work->grad_weights.stage_constants + stage * CHANNELS);
    }
}

/* The backward pass from the planes of the finest level to those of all levels, and to symbols. */
static void planes_backward(const Work *work, const SynthesisProducts *layers) {
    for (int level = 0; level < GRID_LEVELS - 1; level++)
        for (int k = 0; k < GRID_LEVELS - 1 - level; k++)
            add_upsample_gradient(work, work->weights.filters + level * TAPS, level,
                                  work->grad_planes[level] + k * plane_of(level),
                                  coarser_plane(work->grad_planes, work->grad_symbols, level + 1, k),
                                  coarser_plane(work->planes, work->symbols, level + 1, k),
                                  layers->grad_filters + level * TAPS);
}

void NAME(backward)(const Work *work, SynthesisRows *rows) {
    const int width = work->width;
    SynthesisProducts layers;
    prepare_products(work, &layers);
    error_gradient(work);
    stages_backward(work, &layers);
    for (int level = 0; level < GRID_LEVELS - 1; level++)
        memset(work->grad_planes[level], 0, sizeof(float) * (size_t)((GRID_LEVELS - 1 - level) * plane_of(level)));
    for (int first = 0; first < pixel_count(work); first += TILE)
        synthesis_tile_backward(work, first, pixels_of_tile(work, first), &layers, rows);
    planes_backward(work, &layers);
    const Weights *grad = &work->grad_weights;
    add_lanes(layers.grad_lift, width * GRID_LEVELS, grad->lift);
    add_lanes(layers.grad_lift_constants, width, grad->lift_constants);
    add_lanes(layers.grad_layer, CHANNELS * 2 * width, grad->layer);
    add_lanes(layers.grad_bypass, CHANNELS * GRID_LEVELS, grad->bypass);
    add_lanes(layers.grad_constants, CHANNELS, grad->constants);
    for (int c = 0; c < CHANNELS; c++)
        for (int j = 0; j < width; j++) grad->layer[c * 2 * width + j] -= grad->constants[c];
    add_lanes(layers.grad_filters, (GRID_LEVELS - 1) * TAPS, grad->filters);
}

void NAME(latent_gradient)(const Work *work, float *grad_latents) {
    for (int level = 0; level < GRID_LEVELS; level++) {
        const int side = samples_of(level), stride = stride_of(level);
        NAME(clear_outside)(work, level, work->grad_companded[level]);
        for (int y = 0; y < side; y++)
            for (int x = 0; x < side; x += LANES) {
                const int at = y * stride + x;
                float_lanes slope;
                compand(work, load(work->symbols[level] + at), &slope);
                const float_lanes grad_symbol =
                    load(work->grad_symbols[level] + at) + load(work->grad_companded[level] + at) * slope;
                const float_lanes found = grad_symbol * load(work->slopes[level] + at);
                memcpy(grad_latents + y * side + x, &found,
                       sizeof(float) * (size_t)(side - x < LANES ? side - x : LANES));
            }
        grad_latents += side * side;
    }
}
