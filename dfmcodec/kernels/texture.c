/* Texture: noise in place of the detail that quantisation removed. `dfmcodec.codecs.wavelet.texture` describes it, and
 * all integers are equal to those of its NumPy implementation.
 */
#if !defined(TARGET_AVX2) && !defined(TARGET_AVX512)
#define TARGET_BASELINE
#endif
#include "kernels.h"

enum {
    LEAST_SIDE_BITS = 4,
    MOST_SIDE_BITS = 7,
    MAX_AMPLITUDE = 1 << 11, /* of a cell, in units */
    AMPLITUDE_BITS = 8,      /* fractional bits of interpolated amplitudes */
    NOISE_SHIFT = 15,        /* of the product of noise and amplitude */
    NOISE_MEAN = 510,        /* of the sum of four uniform bytes */
    FACTOR_BITS = 12,
    LARGEST_NOISE = 1 << 12,
    BLOCK = 256, /* pixels */
    MAX_FACTOR = 1 << 15, /* 2 samples of 16 bits per unit; the sum of three products stays within 32 bits */
};

/* A pseudo-random number for each number (lowbias32, C. Wellons 2018). */
INLINE uint32_t hashed(uint32_t x) {
    x = (x ^ x >> 16) * 0x7FEB352DU;
    x = (x ^ x >> 15) * 0x846CA68BU;
    return x ^ x >> 16;
}

static ptrdiff_t within(ptrdiff_t n, ptrdiff_t count) { return n < 0 ? 0 : n < count ? n : count - 1; }

/* Marks the positions of a row with at least one marked position among the nine around them. */
static void mark_beside(const TextureBand *a, ptrdiff_t row, uint8_t *above, uint8_t *beside) {
    const ptrdiff_t width = a->width;
    const uint8_t *here = a->nonzero + row * width;
    const uint8_t *before = row ? here - width : here, *after = row + 1 < a->height ? here + width : here;
    above[0] = above[width + 1] = 0;
    for (ptrdiff_t n = 0; n < width; n++) above[n + 1] = here[n] | before[n] | after[n];
    for (ptrdiff_t n = 0; n < width; n++) beside[n] = above[n] | above[n + 1] | above[n + 2];
}

/* The noise between the centres of two cells. `amplitude` is that of the first position, and grows by `slope`. */
static void noise_between(int32_t *noise, const uint8_t *nonzero, const uint8_t *beside, ptrdiff_t count,
                          uint32_t number, int32_t amplitude, int32_t slope, int shift) {
    for (ptrdiff_t n = 0; n < count; n++) {
        const uint32_t hash = hashed(number + (uint32_t)n * 0x9E3779B1U);
        const int32_t sum = (int32_t)((hash & 255) + (hash >> 8 & 255) + (hash >> 16 & 255) + (hash >> 24));
        const int32_t wanted = (amplitude + (int32_t)n * slope) >> shift;
        const int32_t value = (sum - NOISE_MEAN) * (beside[n] ? wanted >> 1 : wanted);
        noise[n] = nonzero[n] ? 0 : (value + (1 << (NOISE_SHIFT - 1))) >> NOISE_SHIFT;
    }
}

int NAME(texture_band)(Call *call, const TextureBand *a) {
    const ptrdiff_t width = a->width, cells = a->cell_columns;
    const int bits = a->side_bits;
    if (a->cell_rows < 1 || cells < 1 || bits < LEAST_SIDE_BITS || bits > MOST_SIDE_BITS)
        return refuse(call, "cells of these sizes are not possible");
    for (ptrdiff_t n = 0; n < a->cell_rows * cells; n++)
        if (a->amplitudes[n] < 0 || a->amplitudes[n] > MAX_AMPLITUDE)
            return refuse(call, "an amplitude that is not possible");
    uint8_t *workspace = malloc((size_t)(2 * width + 2));
    if (!workspace) return no_memory(call);
    const ptrdiff_t one = 2 << bits; /* the sum of the weights of two cells */
    for (ptrdiff_t row = 0; row < a->height; row++) {
        const ptrdiff_t y = 2 * (a->top + row) + 1 - (1 << bits);
        const int32_t weight = (int32_t)(y & (one - 1));
        const int32_t *above = a->amplitudes + within(y >> (bits + 1), a->cell_rows) * cells;
        const int32_t *below = a->amplitudes + within((y >> (bits + 1)) + 1, a->cell_rows) * cells;
        uint8_t *beside = workspace + width + 2;
        mark_beside(a, row, workspace, beside);
        for (ptrdiff_t n = 0, end; n < width; n = end) {
            const ptrdiff_t x = 2 * (a->left + n) + 1 - (1 << bits), cell = x >> (bits + 1);
            end = n + (one - (x & (one - 1)) + 1) / 2;
            end = end < width ? end : width;
            const ptrdiff_t left = within(cell, cells), right = within(cell + 1, cells), at = row * width + n;
            const int32_t first = above[left] * (int32_t)(one - weight) + below[left] * weight;
            const int32_t second = above[right] * (int32_t)(one - weight) + below[right] * weight;
            const int32_t amplitude = first * (int32_t)one + (second - first) * (int32_t)(x & (one - 1));
            if (first | second)
                noise_between(a->noise + at, a->nonzero + at, beside + n, end - n,
                              a->key + (uint32_t)(a->top + row) * 0x85EBCA77U + (uint32_t)(a->left + n) * 0x9E3779B1U,
                              amplitude, 2 * (second - first), 2 * (bits + 1) - AMPLITUDE_BITS);
            else
                memset(a->noise + at, 0, (size_t)(end - n) * sizeof *a->noise);
        }
    }
    free(workspace);
    return 1;
}

INLINE int32_t limited(int32_t x, int32_t least, int32_t most) { return x < least ? least : x > most ? most : x; }

int NAME(add_noise)(Call *call, const AddNoise *a) {
    const ptrdiff_t channels = a->channels, count = a->count;
    const int bytes = a->peak > 255 ? 2 : 1;
    if ((channels != 1 && channels != CHANNELS) || a->peak < 1 || a->peak > 65535)
        return refuse(call, "noise of these sizes is not possible");
    for (ptrdiff_t n = 0; n < channels * channels; n++)
        if (a->factors[n] < -MAX_FACTOR || a->factors[n] > MAX_FACTOR)
            return refuse(call, "a factor that is not possible");
    if (!has_items(call, a, pixels, bytes * channels * count)) return 0;
    for (ptrdiff_t start = 0; start < count; start += BLOCK) {
        const ptrdiff_t length = count - start < BLOCK ? count - start : BLOCK;
        for (ptrdiff_t j = 0; j < channels; j++) {
            int32_t sums[BLOCK];
            for (ptrdiff_t n = 0; n < length; n++) sums[n] = 1 << (FACTOR_BITS - 1);
            for (ptrdiff_t i = 0; i < channels; i++) {
                const int32_t *noise = a->noise + i * count + start;
                const int32_t factor = a->factors[i * channels + j];
                for (ptrdiff_t n = 0; n < length; n++)
                    sums[n] += limited(noise[n], -LARGEST_NOISE, LARGEST_NOISE) * factor;
            }
            if (bytes == 1) {
                uint8_t *pixels = (uint8_t *)a->pixels + channels * start + j;
                for (ptrdiff_t n = 0; n < length; n++, pixels += channels)
                    *pixels = (uint8_t)limited(*pixels + (sums[n] >> FACTOR_BITS), 0, a->peak);
            } else {
                uint16_t *pixels = (uint16_t *)a->pixels + channels * start + j;
                for (ptrdiff_t n = 0; n < length; n++, pixels += channels)
                    *pixels = (uint16_t)limited(*pixels + (sums[n] >> FACTOR_BITS), 0, a->peak);
            }
        }
    }
    return 1;
}
