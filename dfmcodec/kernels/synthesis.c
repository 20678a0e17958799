/* Conversion of symbols to samples: the update after a coding pass, the inverse wavelet transform, and the differences
 * in the low-pass band, which are context of later passes. `dfmcodec.codecs.wavelet.neighbourhood` and
 * `dfmcodec.codecs.wavelet.transform` describe them, and all integers are equal to those of their NumPy implementation.
 * For encoders, the forward transform in floating point.
 */
#if !defined(TARGET_AVX2) && !defined(TARGET_AVX512)
#define TARGET_BASELINE
#endif
#include "kernels.h"

enum {
    OFFSETS = 2 * OFFSET_SYMBOLS + 1, /* symbols beyond +-3 use the reconstruction offsets of +-3 */
    MAX_OFFSET_COUNT = 1 << 30,
    ACCEPTED = 64, /* symbols at a time */
};

/* Symbols of a row of a pass, and where their results go. */
typedef struct {
    const int32_t *symbols, *signs;
    const int16_t *tables;
    int8_t *states, *seen;
    int32_t *fine; /* every other number */
} PassRow;

/* The next states for the indices 2 state + parity of symbols, in place. */
INLINE void advance(const int8_t *next_state, int8_t *at) {
#if defined(TARGET_AVX2) || defined(TARGET_AVX512)
    const __m256i table = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)next_state));
    for (int n = 0; n < ACCEPTED; n += 32)
        _mm256_storeu_si256((__m256i *)(at + n),
                            _mm256_shuffle_epi8(table, _mm256_loadu_si256((const __m256i *)(at + n))));
#else
    for (int n = 0; n < ACCEPTED; n++) at[n] = next_state[at[n]];
#endif
}

/* Accepts at most ACCEPTED symbols. Returns 0 if a table or state does not exist. */
INLINE int accept_some(const AcceptSymbols *a, const PassRow *row, int count) {
    const int32_t tables = (int32_t)(a->offsets_count / OFFSETS);
    const int32_t *q = row->symbols, *sign = row->signs;
    int32_t invalid = 0, any = 0, entries[ACCEPTED] = {0}, offsets[ACCEPTED], multiples[ACCEPTED];
    int8_t next[ACCEPTED] = {0};
    for (int n = 0; n < count; n++) {
        const int32_t table = row->tables[n], state = row->states[n];
        invalid |= table | (tables - 1 - table) | state | (STATES - 1 - state);
        any |= q[n];
    }
    if (invalid < 0) return 0;
    for (int n = 0; n < count; n++) {
        int32_t entry = q[n] * sign[n];
        entry = entry < -OFFSET_SYMBOLS ? -OFFSET_SYMBOLS : entry;
        entry = entry > OFFSET_SYMBOLS ? OFFSET_SYMBOLS : entry;
        entries[n] = row->tables[n] * OFFSETS + entry + OFFSET_SYMBOLS;
    }
    for (int n = 0; n < ACCEPTED; n += LANES) {
        const int32_lanes found = gather(a->offsets, load_int32(entries + n));
        store(offsets + n, &found);
    }
    if (any) {
        const int32_t largest = (int32_t)a->companded_count - 1;
        for (int n = 0; n < count; n++) {
            const int32_t negative = q[n] >> 31, is_nonzero = q[n] != 0;
            multiples[n] = 2 * q[n] - (negative | is_nonzero) * (row->states[n] & 1);
            offsets[n] = multiples[n] * FINE + offsets[n] * sign[n];
        }
        for (int n = 0; n < count; n++) {
            const uint32_t size = multiples[n] < 0 ? -(uint32_t)multiples[n] : (uint32_t)multiples[n];
            const int8_t value = a->companded[size < (uint32_t)largest ? size : (uint32_t)largest];
            row->seen[n] = multiples[n] < 0 ? -value : value;
        }
    } else {
        for (int n = 0; n < count; n++) offsets[n] *= sign[n];
        memset(row->seen, a->companded[0], (size_t)count);
    }
    for (int n = 0; n < count; n++) next[n] = (int8_t)(2 * row->states[n] + (q[n] & 1));
    advance(a->next_state, next);
    memcpy(row->states, next, (size_t)count);
    for (int n = 0; n < count; n++) row->fine[2 * n] = offsets[n];
    return 1;
}

int NAME(accept_symbols)(Call *call, const AcceptSymbols *a) {
    const ptrdiff_t rows = a->rows, columns = a->columns;
    if (!is_position(a->plane_start, a->plane_count) || !is_position(a->fine_start, a->fine_count) || rows < 1 ||
        columns < 1 || a->state_stride < columns || a->offsets_count > MAX_OFFSET_COUNT)
        return refuse(call, "a pass of these sizes is not possible");
    if (!has_items(call, a, plane, a->plane_start + (rows - 1) * a->plane_stride + columns) ||
        !has_items(call, a, fine, a->fine_start + (rows - 1) * a->fine_stride + 2 * columns - 1))
        return 0;
    for (ptrdiff_t row = 0; row < rows; row++)
        for (ptrdiff_t first = 0; first < columns; first += ACCEPTED) {
            const ptrdiff_t at = row * columns + first;
            const PassRow some = {a->symbols + at,
                                  a->sign + at,
                                  a->table + at,
                                  a->states + row * a->state_stride + first,
                                  a->plane + a->plane_start + row * a->plane_stride + first,
                                  a->fine + a->fine_start + row * a->fine_stride + 2 * first};
            const int is_last = columns - first <= ACCEPTED;
            if (!(is_last ? accept_some(a, &some, (int)(columns - first)) : accept_some(a, &some, ACCEPTED)))
                return refuse(call, "a table or state that does not exist");
        }
    return 1;
}

INLINE int32_t scaled(int32_t x, int32_t coefficient) {
    return (x * coefficient + (1 << (LIFTING_BITS - 1))) >> LIFTING_BITS;
}

/* target[n] -= scaled(a[n] + b[n], coefficient) */
static void lift(int32_t *target, const int32_t *a, const int32_t *b, ptrdiff_t count, int32_t coefficient) {
    for (ptrdiff_t n = 0; n < count; n++) target[n] -= scaled(a[n] + b[n], coefficient);
}

static void gain(int32_t *target, const int32_t *source, ptrdiff_t count) {
    for (ptrdiff_t n = 0; n < count; n++) target[n] = scaled(source[n], LOW_GAIN);
}

/* Converts coefficients from 1/FINE of their band's step size to units. */
static void dequantize(int32_t *target, const int32_t *fine, ptrdiff_t count, int32_t step) {
    const int32_t limit = (int32_t)((int64_t)MAX_UNITS * (1 << 14) / step);
    for (ptrdiff_t n = 0; n < count; n++) {
        const int32_t value = fine[n] < -limit ? -limit : fine[n] > limit ? limit : fine[n];
        target[n] = (value * step + (1 << 13)) >> 14;
    }
}

static void interleave(int32_t *out, const int32_t *even, const int32_t *odd, ptrdiff_t pairs) {
    for (ptrdiff_t n = 0; n < pairs; n++) out[2 * n] = even[n], out[2 * n + 1] = odd[n];
}

static void limit_units(int32_t *values, ptrdiff_t count) {
    for (ptrdiff_t n = 0; n < count; n++)
        values[n] = values[n] < -MAX_UNITS ? -MAX_UNITS : values[n] > MAX_UNITS ? MAX_UNITS : values[n];
}

/* Joins the halves of a row. `low` and `high` have space for one more number on both sides. */
static void join_row(int32_t *out, int32_t *low, ptrdiff_t lows, int32_t *high, ptrdiff_t highs) {
    if (highs == 0) {
        memcpy(out, low, (size_t)lows * sizeof *out);
        return;
    }
    gain(low, low, lows);
    high[-1] = high[0], high[highs] = high[highs - 1];
    lift(low, high - 1, high, lows, DELTA);
    low[lows] = low[lows - 1];
    lift(high, low, low + 1, highs, GAMMA);
    high[-1] = high[0], high[highs] = high[highs - 1];
    lift(low, high - 1, high, lows, BETA);
    low[lows] = low[lows - 1];
    lift(high, low, low + 1, highs, ALPHA);
    interleave(out, low, high, highs);
    if (lows > highs) out[2 * highs] = low[highs];
}

int NAME(synthesise_channel)(Call *call, const SynthesiseChannel *a) {
    const ptrdiff_t height = a->height, width = a->width, stride = a->stride;
    const ptrdiff_t rows = (height + 1) / 2, columns = (width + 1) / 2;
    const ptrdiff_t high_rows = height / 2, high_columns = width / 2;
    if (height < 1 || width < 1 || stride < width || a->step_0 < 1 || a->step_1 < 1 || a->step_2 < 1)
        return refuse(call, "a level of these sizes is not possible");
    int32_t *workspace = malloc((size_t)(2 * (columns + 2)) * sizeof *workspace);
    if (!workspace) return no_memory(call);
    int32_t *x = a->samples, *even = workspace + 1, *odd = even + columns + 2;
    for (ptrdiff_t row = 0; row < height; row++) { /* along columns: rows of the low half, and of the high half */
        const ptrdiff_t half = row / 2;
        if (row % 2 == 0) {
            memcpy(even, a->low + half * columns, (size_t)columns * sizeof *even);
            dequantize(odd, a->band_0 + half * high_columns, high_columns, a->step_0);
        } else {
            dequantize(even, a->band_1 + half * columns, columns, a->step_1);
            dequantize(odd, a->band_2 + half * high_columns, high_columns, a->step_2);
        }
        join_row(x + row * stride, even, columns, odd, high_columns);
    }
    if (high_rows) { /* along rows: the same steps on complete rows */
#define LOW_ROW(n) (x + 2 * ((n) < rows ? (n) : rows - 1) * stride)
#define HIGH_ROW(n) (x + (2 * ((n) < 0 ? 0 : (n) < high_rows ? (n) : high_rows - 1) + 1) * stride)
        for (ptrdiff_t n = 0; n < rows; n++) {
            gain(LOW_ROW(n), LOW_ROW(n), width);
            lift(LOW_ROW(n), HIGH_ROW(n - 1), HIGH_ROW(n), width, DELTA);
        }
        for (ptrdiff_t n = 0; n < high_rows; n++) lift(HIGH_ROW(n), LOW_ROW(n), LOW_ROW(n + 1), width, GAMMA);
        for (ptrdiff_t n = 0; n < rows; n++) lift(LOW_ROW(n), HIGH_ROW(n - 1), HIGH_ROW(n), width, BETA);
        for (ptrdiff_t n = 0; n < high_rows; n++) lift(HIGH_ROW(n), LOW_ROW(n), LOW_ROW(n + 1), width, ALPHA);
    }
    for (ptrdiff_t row = 0; row < height; row++) limit_units(x + row * stride, width);
    free(workspace);
    return 1;
}

/* ---- the wavelet ------------------------------------------------------------------------------------------- */

#define FRACTION(coefficient) ((float)(coefficient) / (1 << LIFTING_BITS))

/* target[n] += fraction (a[n] + b[n]) */
static void lift_floats(float *target, const float *a, const float *b, ptrdiff_t count, float fraction) {
    for (ptrdiff_t n = 0; n < count; n++) target[n] += fraction * (a[n] + b[n]);
}

static void divide(float *target, const float *source, ptrdiff_t count, float by) {
    for (ptrdiff_t n = 0; n < count; n++) target[n] = source[n] / by;
}

/* Splits a row into halves. `even` and `odd` have space for half a row and one more number on both sides. */
static void split_floats(const float *row, ptrdiff_t lows, ptrdiff_t highs, float *even, float *odd, float *low,
                         float *high) {
    for (ptrdiff_t n = 0; n < highs; n++) even[n] = row[2 * n], odd[n] = row[2 * n + 1];
    if (lows > highs) even[highs] = row[2 * highs];
    if (highs) {
        even[lows] = even[lows - 1];
        lift_floats(odd, even, even + 1, highs, FRACTION(ALPHA));
        odd[-1] = odd[0], odd[highs] = odd[highs - 1];
        lift_floats(even, odd - 1, odd, lows, FRACTION(BETA));
        even[lows] = even[lows - 1];
        lift_floats(odd, even, even + 1, highs, FRACTION(GAMMA));
        odd[-1] = odd[0], odd[highs] = odd[highs - 1];
        lift_floats(even, odd - 1, odd, lows, FRACTION(DELTA));
    }
    divide(low, even, lows, highs ? FRACTION(LOW_GAIN) : 1);
    memcpy(high, odd, (size_t)highs * sizeof *high);
}

/* Splits rows into halves, in place: even rows become low [lows][count], and odd rows become high. All steps of a row
 * are computed as soon as its neighbours are ready. */
static void split_rows(float *low, ptrdiff_t lows, float *high, ptrdiff_t highs, ptrdiff_t count) {
#define LOW_AT(n) (low + ((n) < lows ? (n) : lows - 1) * count)
#define HIGH_AT(n) (high + ((n) < 0 ? 0 : (n) < highs ? (n) : highs - 1) * count)
    for (ptrdiff_t n = 0; highs && n <= lows; n++) {
        const ptrdiff_t before = n - 1;
        if (n < highs) lift_floats(HIGH_AT(n), LOW_AT(n), LOW_AT(n + 1), count, FRACTION(ALPHA));
        if (n < lows) lift_floats(LOW_AT(n), HIGH_AT(n - 1), HIGH_AT(n), count, FRACTION(BETA));
        if (before < 0) continue;
        if (before < highs) lift_floats(HIGH_AT(before), LOW_AT(before), LOW_AT(n), count, FRACTION(GAMMA));
        lift_floats(LOW_AT(before), HIGH_AT(before - 1), HIGH_AT(before), count, FRACTION(DELTA));
        divide(LOW_AT(before), LOW_AT(before), count, FRACTION(LOW_GAIN));
    }
}

int NAME(analyse_channel)(Call *call, const AnalyseChannel *a) {
    const ptrdiff_t height = a->height, width = a->width;
    const ptrdiff_t rows = (height + 1) / 2, columns = (width + 1) / 2;
    const ptrdiff_t high_rows = height / 2, high_columns = width / 2;
    if (height < 1 || width < 1) return refuse(call, "a level of these sizes is not possible");
    float *workspace = malloc((size_t)(2 * (columns + 2)) * sizeof *workspace);
    if (!workspace) return no_memory(call);
    for (ptrdiff_t row = 0; row < height; row++) {
        float *to_low = (row % 2 ? a->band_1 : a->low) + row / 2 * columns;
        float *to_high = (row % 2 ? a->band_2 : a->band_0) + row / 2 * high_columns;
        split_floats(a->plane + row * width, columns, high_columns, workspace + 1, workspace + columns + 3, to_low,
                     to_high);
    }
    split_rows(a->low, rows, a->band_1, high_rows, columns);
    split_rows(a->band_0, rows, a->band_2, high_rows, high_columns);
    free(workspace);
    return 1;
}

/* Companded differences between samples and their neighbours. The difference to an earlier neighbour is the negated
 * difference of that neighbour to this sample. Therefore only differences to later neighbours are computed, for two
 * additional rows and columns. */

enum {
    WIDE_PAD = 2 * LOW_PAD, /* samples beyond the edges, which repeat those at the edges */
    MAX_OFFSETS = 24,
    KEPT_ROWS = LOW_PAD + 1,
    COMPANDED_AT_A_TIME = 256,
};

typedef struct {
    ptrdiff_t height, width, numbers;
    int y[MAX_OFFSETS], x[MAX_OFFSETS], is_before[MAX_OFFSETS]; /* the offsets, negated if `is_before` */
    int opposite[MAX_OFFSETS]; /* the index of the negated offset; its own index if there is none */
    int32_t limit, factor, last;
    const int32_t *companded;
    int32_t *rows; /* [KEPT_ROWS][width + 2 WIDE_PAD]: the current row, and the next ones */
    int8_t *kept;  /* [KEPT_ROWS][numbers][width + 2 LOW_PAD]: differences of the last rows */
    int8_t *turned;
} Differences;

/* May read up to LANES numbers beyond the last one. */
static void compand_row(const Differences *d, const int32_t *around, const int32_t *here, ptrdiff_t count,
                        int8_t *out) {
    int32_t values[COMPANDED_AT_A_TIME];
    for (ptrdiff_t first = 0; first < count; first += COMPANDED_AT_A_TIME) {
        const ptrdiff_t some = count - first < COMPANDED_AT_A_TIME ? count - first : COMPANDED_AT_A_TIME;
        for (ptrdiff_t n = 0; n < some; n += LANES) {
            const int32_lanes difference = load_int32(around + first + n) - load_int32(here + first + n);
            const int32_lanes sign = difference >> 31, size = (difference ^ sign) - sign;
            const int32_lanes place = least(least(size, d->limit) * d->factor >> 14, d->last);
            const int32_lanes value = (gather(d->companded, place) ^ sign) - sign;
            store(values + n, &value);
        }
        for (ptrdiff_t n = 0; n < some; n++) out[first + n] = (int8_t)values[n];
    }
}

static void turn_row(const int8_t *values, int8_t *out, ptrdiff_t count) {
    for (ptrdiff_t n = 0; n < count; n++) out[n] = (int8_t)-values[n];
}

static void split_row(const int8_t *values, int8_t *even, int8_t *odd, ptrdiff_t count) {
    for (ptrdiff_t n = 0; n < count / 2; n++) even[n] = values[2 * n], odd[n] = values[2 * n + 1];
    if (count % 2) even[count / 2] = values[count - 1];
}

/* Writes the differences of rows first .. last - 1 to out[2][2][numbers][rows / 2][columns / 2]. */
static void differences_of(const Differences *d, const int32_t *low, ptrdiff_t first, ptrdiff_t last, int8_t *out) {
    const ptrdiff_t wide = d->width + 2 * WIDE_PAD, kept = d->width + 2 * LOW_PAD;
    const ptrdiff_t rows = (d->height + 1) / 2, columns = (d->width + 1) / 2;
    for (ptrdiff_t row = first - LOW_PAD; row < last; row++) {
        for (int y = 0; y < KEPT_ROWS; y++) {
            const ptrdiff_t from = row + y < 0 ? 0 : row + y < d->height ? row + y : d->height - 1;
            int32_t *target = d->rows + y * wide;
            const int32_t *source = low + from * d->width;
            memcpy(target + WIDE_PAD, source, (size_t)d->width * sizeof *target);
            for (int x = 0; x < WIDE_PAD; x++)
                target[x] = source[0], target[WIDE_PAD + d->width + x] = source[d->width - 1];
        }
        int8_t *of_row = d->kept + (row + LOW_PAD) % KEPT_ROWS * d->numbers * kept;
        for (ptrdiff_t n = 0; n < d->numbers; n++)
            if (d->opposite[n] == n)
                compand_row(d, d->rows + d->y[n] * wide + LOW_PAD + d->x[n], d->rows + LOW_PAD, kept,
                            of_row + n * kept);
        if (row < first) continue;
        for (ptrdiff_t n = 0; n < d->numbers; n++) {
            const int8_t *values = of_row + n * kept + LOW_PAD;
            if (d->is_before[n]) {
                const int8_t *there =
                    d->kept + ((row + LOW_PAD - d->y[n]) % KEPT_ROWS * d->numbers + d->opposite[n]) * kept;
                turn_row(there + LOW_PAD - d->x[n], d->turned, d->width);
                values = d->turned;
            }
            int8_t *even = out + ((row % 2 * 2 * d->numbers + n) * rows + row / 2) * columns;
            split_row(values, even, even + d->numbers * rows * columns, d->width);
        }
    }
}

int NAME(low_differences)(Call *call, const LowDifferences *a) {
    const ptrdiff_t numbers = a->offsets_count / 2;
    Differences d = {.height = a->height, .width = a->width, .numbers = numbers, .companded = a->companded};
    d.last = (int32_t)a->companded_count - 1;
    if (a->height < 1 || a->width < 1 || a->level_step < 1 || a->first_row > a->last_row || a->last_row > a->height ||
        numbers > MAX_OFFSETS)
        return refuse(call, "differences of these sizes are not possible");
    for (ptrdiff_t n = 0; n < numbers; n++) {
        const int32_t y = a->offsets[2 * n], x = a->offsets[2 * n + 1];
        if (y < -LOW_PAD || y > LOW_PAD || x < -LOW_PAD || x > LOW_PAD)
            return refuse(call, "an offset beyond the padding");
        d.is_before[n] = y < 0 || (y == 0 && x < 0);
        d.y[n] = d.is_before[n] ? -y : y;
        d.x[n] = d.is_before[n] ? -x : x;
        d.opposite[n] = (int)n;
    }
    for (ptrdiff_t n = 0; n < numbers; n++)
        for (int m = 0; m < numbers && d.is_before[n]; m++)
            if (!d.is_before[m] && d.y[m] == d.y[n] && d.x[m] == d.x[n]) d.opposite[n] = m;
    d.limit = a->level_step >> 1 ? a->level_step >> 1 : 1;
    d.factor = (1 << 24) / a->level_step;
    d.rows = calloc((size_t)(KEPT_ROWS * (d.width + 2 * WIDE_PAD) + LANES), sizeof *d.rows);
    d.kept = calloc((size_t)(KEPT_ROWS * numbers + 1) * (d.width + 2 * LOW_PAD), 1);
    d.turned = d.kept + KEPT_ROWS * numbers * (d.width + 2 * LOW_PAD);
    const int has_memory = d.rows && d.kept;
    if (has_memory) differences_of(&d, a->low, a->first_row, a->last_row, a->differences);
    free(d.rows);
    free(d.kept);
    return has_memory || no_memory(call);
}

/* ---- colour ------------------------------------------------------------------------------------------------ */

int NAME(pixels_to_planes)(Call *call, const PixelsToPlanes *a) {
    enum { CHUNK = 512 };
    const float scale = (float)a->scale, middle = (float)a->middle;
    float colours[CHANNELS][CHUNK];
    if (a->item_bytes != 1 && a->item_bytes != 2) return refuse(call, "samples are of 1 or 2 bytes");
    if (!has_items(call, a, pixels, a->item_bytes * CHANNELS * a->count)) return 0;
    for (ptrdiff_t first = 0; first < a->count; first += CHUNK) {
        const int some = a->count - first < CHUNK ? (int)(a->count - first) : CHUNK;
        const uint8_t *bytes = (const uint8_t *)a->pixels + CHANNELS * first;
        const uint16_t *words = (const uint16_t *)a->pixels + CHANNELS * first;
        for (int j = 0; j < CHANNELS; j++)
            for (int n = 0; n < some; n++)
                colours[j][n] = (float)(a->item_bytes == 1 ? bytes[CHANNELS * n + j] : words[CHANNELS * n + j]);
        for (int i = 0; i < CHANNELS; i++) {
            const float *of_plane = a->basis + CHANNELS * i;
            float *out = a->planes + i * a->count + first;
            for (int n = 0; n < some; n++)
                out[n] = (colours[0][n] * scale - middle) * of_plane[0] + (colours[1][n] * scale - middle) * of_plane[1] +
                         (colours[2][n] * scale - middle) * of_plane[2];
        }
    }
    return 1;
}
