/* The forward pass of a window of a fit: symbols from latents, colours from symbols, and squared errors. */
#if !defined(TARGET_AVX2) && !defined(TARGET_AVX512)
#define TARGET_BASELINE
#endif
#include "fit.h"

/* Approximately standard normal numbers: sums of 8 bytes of a hash (the finaliser of MurmurHash3) of a counter. */
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

/* Soft rounding: floor(x) + 1/2 + tanh((x - floor(x) - 1/2) / T) / (2 tanh(1 / (2 T))), and its derivative. */
INLINE float_lanes soft_round(float_lanes x, float per_temperature, float half_height, float_lanes *slope) {
    const float_lanes middle = floored(x) + 0.5f;
    const float_lanes up = exponential((x - middle) * (2 * per_temperature));
    const float_lanes tanh = all(1.0f) - 2.0f / (up + 1.0f);
    *slope = (half_height * per_temperature) * (all(1.0f) - tanh * tanh);
    return middle + half_height * tanh;
}

/* Computes symbols and slopes from the latents of a level. Beyond the image, latents at the edges are repeated. */
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

void NAME(round_latents)(const Work *work) {
    for (int level = 0; level < GRID_LEVELS; level++) round_level(work, level);
}

void NAME(upsample_plane)(const Work *work, const float *taps, int level, const float *in, float *out) {
    const int pairs = samples_of(level + 1) - TAPS, stride = stride_of(level), end = padded_count(2 * pairs);
    upsample_rows(taps, level, in, work->middle);
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

void NAME(clear_outside)(const Work *work, int level, float *plane) {
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

/* Evaluates the Fourier layer and the bypass for up to TILE pixels. */
static void synthesis_tile(const Work *work, int first, int used, SynthesisRows *rows) {
    const Weights *weights = &work->weights;
    const int vectors = synthesis_waves(work, first, used, rows, 1);
    Row bypassed[CHANNELS];
    products(weights->layer, weights->constants, 1, CHANNELS, 2 * work->width, (const Row *)rows->waves, rows->colours,
             vectors);
    products(weights->bypass, NULL, 0, CHANNELS, GRID_LEVELS, (const Row *)rows->vectors, bypassed, vectors);
    for (int c = 0; c < CHANNELS; c++)
        for (int i = 0; i < used; i++)
            work->values[0][c * VALUES + first + i] = rows->colours[c][i] + bypassed[c][i];
}

/* A residual stage: planes plus a 3x3 map of them. */
static void stage_forward(const Work *work, int stage, const float *in, float *out) {
    const int pitch = along(work), count = (pixel_rows(work) - 2 * stage - 2) * pitch, plane = VALUES;
    const float *weights = work->weights.stages + stage * CHANNELS * AROUND;
    const float *constants = work->weights.stage_constants + stage * CHANNELS;
    for (int i = 0; i < count; i += LANES) {
        float_lanes sums[CHANNELS];
        for (int c = 0; c < CHANNELS; c++) sums[c] = constants[c] + load(in + c * plane + pitch + 1 + i);
        UNROLLED
        for (int around = 0; around < 9; around++)
            UNROLLED
            for (int k = 0; k < CHANNELS; k++) {
                const float_lanes x = load(in + k * plane + around / 3 * pitch + around % 3 + i);
                UNROLLED
                for (int c = 0; c < CHANNELS; c++) sums[c] += weights[c * AROUND + around * CHANNELS + k] * x;
            }
        for (int c = 0; c < CHANNELS; c++) {
            if (stage == 0) sums[c] = larger(sums[c], all(0.0f));
            store(out + c * plane + i, &sums[c]);
        }
    }
}

/* Colours rounded to code values. */
INLINE float_lanes in_code_values(const float *colours, float peak) {
    const float_lanes value = smaller(larger(load(colours), all(0.0f)), all(1.0f));
    return rounded_lanes(value * peak) * (1 / peak);
}

static void decoded_colours(const Work *work) {
    for (int c = 0; c < CHANNELS; c++)
        for (int y = 0; y < work->rows; y++)
            for (int x = 0; x < work->columns; x += LANES) {
                const float_lanes value =
                    in_code_values(work->values[STAGES] + c * VALUES + y * along(work) + x, work->peak);
                store(work->decoded + (c * WINDOW + y) * WINDOW + x, &value);
            }
}

/* The squared errors of each pixel, with colours rounded to code values. */
static void squared_errors(const Work *work) {
    const float *colours = work->values[STAGES];
    for (int y = 0; y < work->rows; y++)
        for (int x = 0; x < work->columns; x += LANES) {
            const float_lanes pixel_weights = load(work->pixel_weights + y * WINDOW + x);
            float_lanes errors = all(0.0f);
            for (int c = 0; c < CHANNELS; c++) {
                const float_lanes wanted = load(work->colours + (c * WINDOW + y) * WINDOW + x);
                const float_lanes value =
                    in_code_values(colours + c * VALUES + y * along(work) + x, work->peak) - wanted;
                errors += value * value * pixel_weights;
            }
            store(work->costs + y * WINDOW + x, &errors);
        }
}

void NAME(forward)(const Work *work, SynthesisRows *rows) {
    for (int level = GRID_LEVELS - 2; level >= 0; level--)
        for (int k = 0; k < GRID_LEVELS - 1 - level; k++)
            NAME(upsample_plane)(work, work->weights.filters + level * TAPS, level,
                                 coarser_plane(work->planes, work->symbols, level + 1, k),
                                 work->planes[level] + k * plane_of(level));
    for (int first = 0; first < pixel_count(work); first += TILE)
        synthesis_tile(work, first, pixels_of_tile(work, first), rows);
    for (int stage = 0; stage < STAGES; stage++)
        stage_forward(work, stage, work->values[stage], work->values[stage + 1]);
    if (work->decoded) decoded_colours(work);
    else if (!work->has_gradient) squared_errors(work);
}
