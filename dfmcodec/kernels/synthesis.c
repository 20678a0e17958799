/* From symbols to samples: what a coding pass leaves behind, the inverse wavelet, and the differences in
 * the low-pass band that later passes see. The same integers as `dfmcodec.codecs.wavelet.neighbourhood` and
 * `dfmcodec.codecs.wavelet.transform`, where they are described. And the wavelet itself, in floats, for encoders.
 */
#if !defined(TARGET_AVX2) && !defined(TARGET_AVX512)
#define TARGET_BASELINE
#endif
#include "common.h"

enum {
    FINE = 64,
    LAST_OFFSET = 3, /* symbols beyond +-3 have the reconstruction offsets of +-3 */
    OFFSETS = 2 * LAST_OFFSET + 1,
    FRACTION_BITS = 12,
    ALPHA = -6497,
    BETA = -217,
    GAMMA = 3616,
    DELTA = 1817,
    LOW_GAIN = 5039,
    MAX_UNITS = 1 << 16,
};

/* Takes the symbols of a pass: their places in the trellis, context and coefficients; see _compiled.pyi. */
int NAME(accept_symbols)(Call *call) {
    Buffer symbols, table, sign, offsets, next, states, companded, plane, fine;
    ptrdiff_t rows, columns, state_stride, plane_start, plane_stride, fine_start, fine_stride;
    symbols = take_buffer(call), table = take_buffer(call), sign = take_buffer(call), offsets = take_buffer(call),
    next = take_buffer(call), rows = take_size(call), columns = take_size(call), states = take_buffer(call),
    state_stride = take_size(call), companded = take_buffer(call), plane = take_buffer(call),
    plane_start = take_size(call), plane_stride = take_size(call), fine = take_buffer(call),
    fine_start = take_size(call), fine_stride = take_size(call);
    int result = 0;
    const ptrdiff_t count = rows * columns, tables = offsets.len / (4 * OFFSETS), largest = companded.len - 1;
    if (!SIZES(rows, columns, state_stride, plane_stride, fine_stride) || !is_position(plane_start, plane.len) ||
        !is_position(fine_start, fine.len / 4) || rows < 1 || columns < 1 || state_stride < columns || largest < 0 ||
        next.len < 16) {
        return refuse(call, "a pass of these sizes is not possible");
    }
    if (!has_items(call, &symbols, count, 4, "symbols") || !has_items(call, &table, count, 2, "table") ||
        !has_items(call, &sign, count, 4, "sign") || !has_items(call, &states, (rows - 1) * state_stride + columns, 1, "states") ||
        !has_items(call, &plane, plane_start + (rows - 1) * plane_stride + columns, 1, "plane") ||
        !has_items(call, &fine, fine_start + (rows - 1) * fine_stride + 2 * columns - 1, 4, "fine"))
        return 0;
    int is_valid = 1;
    for (ptrdiff_t row = 0; row < rows && is_valid; row++) {
        const int32_t *q = (const int32_t *)symbols.buf + row * columns,
                      *signs = (const int32_t *)sign.buf + row * columns;
        const int16_t *number = (const int16_t *)table.buf + row * columns;
        int8_t *state = (int8_t *)states.buf + row * state_stride;
        int8_t *seen = (int8_t *)plane.buf + plane_start + row * plane_stride;
        int32_t *target = (int32_t *)fine.buf + fine_start + row * fine_stride;
        for (ptrdiff_t n = 0; n < columns; n++) {
            if (number[n] < 0 || number[n] >= tables || state[n] < 0 || state[n] > 7) {
                is_valid = 0;
                break;
            }
            int32_t entry = q[n] * signs[n];
            entry = (entry < -LAST_OFFSET ? -LAST_OFFSET : entry > LAST_OFFSET ? LAST_OFFSET : entry) + LAST_OFFSET;
            const int32_t multiple = 2 * q[n] - ((q[n] > 0) - (q[n] < 0)) * (state[n] & 1);
            state[n] = ((const int8_t *)next.buf)[2 * state[n] + (q[n] & 1)];
            const uint32_t size = multiple < 0 ? -(uint32_t)multiple : (uint32_t)multiple;
            const int8_t value = ((const int8_t *)companded.buf)[size < (size_t)largest ? size : (size_t)largest];
            seen[n] = multiple < 0 ? -value : value;
            target[2 * n] = multiple * FINE + ((const int32_t *)offsets.buf)[number[n] * OFFSETS + entry] * signs[n];
        }
    }
    if (is_valid)
        result = 1;
    else
        refuse(call, "a table or state that does not exist");
    return result;
}

INLINE int32_t scaled(int32_t x, int32_t coefficient) {
    return (x * coefficient + (1 << (FRACTION_BITS - 1))) >> FRACTION_BITS;
}

/* target[n] -= scaled(a[n] + b[n], coefficient) */
static void lift(int32_t *target, const int32_t *a, const int32_t *b, ptrdiff_t count, int32_t coefficient) {
    for (ptrdiff_t n = 0; n < count; n++) target[n] -= scaled(a[n] + b[n], coefficient);
}

static void gain(int32_t *target, const int32_t *source, ptrdiff_t count) {
    for (ptrdiff_t n = 0; n < count; n++) target[n] = scaled(source[n], LOW_GAIN);
}

/* Coefficients in units from 1/FINE of their band's step. */
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

/* Joins the halves of a row. `low` and `high` have room for one more number on both sides. */
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

/* Inverts a decomposition level of one channel; see _compiled.pyi. */
int NAME(synthesise_channel)(Call *call) {
    Buffer low, bands[3], out;
    ptrdiff_t height, width;
    int steps[3];
    low = take_buffer(call), bands[0] = take_buffer(call), bands[1] = take_buffer(call),
    bands[2] = take_buffer(call), steps[0] = take_int(call), steps[1] = take_int(call), steps[2] = take_int(call),
    height = take_size(call), width = take_size(call), out = take_buffer(call);
    const ptrdiff_t rows = (height + 1) / 2, columns = (width + 1) / 2, high_rows = height / 2,
                     high_columns = width / 2;
    if (!SIZES(height, width) || height < 1 || width < 1 || steps[0] < 1 || steps[1] < 1 || steps[2] < 1) {
        return refuse(call, "a level of these sizes is not possible");
    }
    if (!has_items(call, &low, rows * columns, 4, "low") || !has_items(call, &bands[0], rows * high_columns, 4, "band 0") ||
        !has_items(call, &bands[1], high_rows * columns, 4, "band 1") ||
        !has_items(call, &bands[2], high_rows * high_columns, 4, "band 2") || !has_items(call, &out, height * width, 4, "out"))
        return 0;
    int32_t *room = malloc((size_t)(2 * (columns + 2)) * sizeof *room);
    if (!room) {
        return no_memory(call);
    }
    int32_t *x = out.buf, *even = room + 1, *odd = even + columns + 2;
    for (ptrdiff_t row = 0; row < height; row++) { /* along columns: rows of the low half, and of the high half */
        const ptrdiff_t half = row / 2;
        if (row % 2 == 0) {
            memcpy(even, (const int32_t *)low.buf + half * columns, (size_t)columns * sizeof *even);
            dequantize(odd, (const int32_t *)bands[0].buf + half * high_columns, high_columns, steps[0]);
        } else {
            dequantize(even, (const int32_t *)bands[1].buf + half * columns, columns, steps[1]);
            dequantize(odd, (const int32_t *)bands[2].buf + half * high_columns, high_columns, steps[2]);
        }
        join_row(x + row * width, even, columns, odd, high_columns);
    }
    if (high_rows) { /* along rows: the same steps on whole rows */
#define LOW_ROW(n) (x + 2 * ((n) < rows ? (n) : rows - 1) * width)
#define HIGH_ROW(n) (x + (2 * ((n) < 0 ? 0 : (n) < high_rows ? (n) : high_rows - 1) + 1) * width)
        for (ptrdiff_t n = 0; n < rows; n++) {
            gain(LOW_ROW(n), LOW_ROW(n), width);
            lift(LOW_ROW(n), HIGH_ROW(n - 1), HIGH_ROW(n), width, DELTA);
        }
        for (ptrdiff_t n = 0; n < high_rows; n++) lift(HIGH_ROW(n), LOW_ROW(n), LOW_ROW(n + 1), width, GAMMA);
        for (ptrdiff_t n = 0; n < rows; n++) lift(LOW_ROW(n), HIGH_ROW(n - 1), HIGH_ROW(n), width, BETA);
        for (ptrdiff_t n = 0; n < high_rows; n++) lift(HIGH_ROW(n), LOW_ROW(n), LOW_ROW(n + 1), width, ALPHA);
    }
    limit_units(x, height * width);
    free(room);
    return 1;
}

/* ---- the wavelet ------------------------------------------------------------------------------------------- */

#define PART(coefficient) ((float)(coefficient) / (1 << FRACTION_BITS))

/* target[n] += part (a[n] + b[n]) */
static void lift_floats(float *target, const float *a, const float *b, ptrdiff_t count, float part) {
    for (ptrdiff_t n = 0; n < count; n++) target[n] += part * (a[n] + b[n]);
}

static void divide(float *target, const float *source, ptrdiff_t count, float by) {
    for (ptrdiff_t n = 0; n < count; n++) target[n] = source[n] / by;
}

/* Splits a row into halves. `even` and `odd` are room for half a row and one more number on both sides. */
static void split_floats(const float *row, ptrdiff_t lows, ptrdiff_t highs, float *even, float *odd, float *low,
                         float *high) {
    for (ptrdiff_t n = 0; n < highs; n++) even[n] = row[2 * n], odd[n] = row[2 * n + 1];
    if (lows > highs) even[highs] = row[2 * highs];
    if (highs) {
        even[lows] = even[lows - 1];
        lift_floats(odd, even, even + 1, highs, PART(ALPHA));
        odd[-1] = odd[0], odd[highs] = odd[highs - 1];
        lift_floats(even, odd - 1, odd, lows, PART(BETA));
        even[lows] = even[lows - 1];
        lift_floats(odd, even, even + 1, highs, PART(GAMMA));
        odd[-1] = odd[0], odd[highs] = odd[highs - 1];
        lift_floats(even, odd - 1, odd, lows, PART(DELTA));
    }
    divide(low, even, lows, highs ? PART(LOW_GAIN) : 1);
    memcpy(high, odd, (size_t)highs * sizeof *high);
}

/* Splits rows into halves, in place: those that are even, low [lows][count], and those that are odd. All steps of a row
 * are done as soon as the rows around it are. */
static void split_rows(float *low, ptrdiff_t lows, float *high, ptrdiff_t highs, ptrdiff_t count) {
#define LOW_AT(n) (low + ((n) < lows ? (n) : lows - 1) * count)
#define HIGH_AT(n) (high + ((n) < 0 ? 0 : (n) < highs ? (n) : highs - 1) * count)
    for (ptrdiff_t n = 0; highs && n <= lows; n++) {
        const ptrdiff_t before = n - 1;
        if (n < highs) lift_floats(HIGH_AT(n), LOW_AT(n), LOW_AT(n + 1), count, PART(ALPHA));
        if (n < lows) lift_floats(LOW_AT(n), HIGH_AT(n - 1), HIGH_AT(n), count, PART(BETA));
        if (before < 0) continue;
        if (before < highs) lift_floats(HIGH_AT(before), LOW_AT(before), LOW_AT(n), count, PART(GAMMA));
        lift_floats(LOW_AT(before), HIGH_AT(before - 1), HIGH_AT(before), count, PART(DELTA));
        divide(LOW_AT(before), LOW_AT(before), count, PART(LOW_GAIN));
    }
}

/* A decomposition level of one channel; see _compiled.pyi. */
int NAME(analyse_channel)(Call *call) {
    const Buffer plane = take_buffer(call);
    const ptrdiff_t height = take_size(call), width = take_size(call);
    const Buffer low = take_buffer(call), first = take_buffer(call), second = take_buffer(call),
                 third = take_buffer(call);
    const ptrdiff_t rows = (height + 1) / 2, columns = (width + 1) / 2, high_rows = height / 2,
                     high_columns = width / 2;
    if (!SIZES(height, width) || height < 1 || width < 1) return refuse(call, "a level of these sizes is not possible");
    if (!has_items(call, &plane, height * width, 4, "plane") || !has_items(call, &low, rows * columns, 4, "low") ||
        !has_items(call, &first, rows * high_columns, 4, "band 0") ||
        !has_items(call, &second, high_rows * columns, 4, "band 1") ||
        !has_items(call, &third, high_rows * high_columns, 4, "band 2"))
        return 0;
    float *room = malloc((size_t)(2 * (columns + 2)) * sizeof *room);
    if (!room) return no_memory(call);
    for (ptrdiff_t row = 0; row < height; row++) {
        const ptrdiff_t half = row / 2;
        float *to_low = (float *)(row % 2 ? second : low).buf + half * columns;
        float *to_high = (float *)(row % 2 ? third : first).buf + half * high_columns;
        split_floats((const float *)plane.buf + row * width, columns, high_columns, room + 1, room + columns + 3, to_low,
                     to_high);
    }
    split_rows(low.buf, rows, second.buf, high_rows, columns);
    split_rows(first.buf, rows, third.buf, high_rows, high_columns);
    free(room);
    return 1;
}

/* Companded differences of samples to those around them. The difference to a sample before is minus that of that sample
 * to this one, so only those to samples further on are computed, for two rows and columns more than there are. */

enum {
    PAD = 2,
    WIDE_PAD = 2 * PAD, /* samples beyond the edges, which are repeated */
    MAX_OFFSETS = 24,
    KEPT_ROWS = PAD + 1,
    COMPANDED_AT_A_TIME = 256,
};

typedef struct {
    ptrdiff_t height, width, numbers;
    int y[MAX_OFFSETS], x[MAX_OFFSETS], is_before[MAX_OFFSETS]; /* the offsets, the other way round if `is_before` */
    int opposite[MAX_OFFSETS]; /* where the differences of such an offset come from, its own number where nowhere */
    int32_t limit, factor, last;
    const int32_t *companded;
    int32_t *rows; /* [KEPT_ROWS][width + 2 WIDE_PAD]: the row in work, and the next ones */
    int8_t *kept;  /* [KEPT_ROWS][numbers][width + 2 PAD]: differences of the last rows */
    int8_t *turned;
} Differences;

/* Reads up to LANES numbers beyond the last one. */
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

/* The differences of rows first .. last - 1, into out[2][2][numbers][rows / 2][columns / 2]. */
static void differences_of(const Differences *d, const int32_t *low, ptrdiff_t first, ptrdiff_t last, int8_t *out) {
    const ptrdiff_t wide = d->width + 2 * WIDE_PAD, kept = d->width + 2 * PAD;
    const ptrdiff_t rows = (d->height + 1) / 2, columns = (d->width + 1) / 2;
    for (ptrdiff_t row = first - PAD; row < last; row++) {
        for (int y = 0; y < KEPT_ROWS; y++) {
            const ptrdiff_t from = row + y < 0 ? 0 : row + y < d->height ? row + y : d->height - 1;
            int32_t *target = d->rows + y * wide;
            const int32_t *source = low + from * d->width;
            memcpy(target + WIDE_PAD, source, (size_t)d->width * sizeof *target);
            for (int x = 0; x < WIDE_PAD; x++)
                target[x] = source[0], target[WIDE_PAD + d->width + x] = source[d->width - 1];
        }
        int8_t *of_row = d->kept + (row + PAD) % KEPT_ROWS * d->numbers * kept;
        for (ptrdiff_t n = 0; n < d->numbers; n++)
            if (d->opposite[n] == n)
                compand_row(d, d->rows + d->y[n] * wide + PAD + d->x[n], d->rows + PAD, kept, of_row + n * kept);
        if (row < first) continue;
        for (ptrdiff_t n = 0; n < d->numbers; n++) {
            const int8_t *values = of_row + n * kept + PAD;
            if (d->is_before[n]) {
                const int8_t *there =
                    d->kept + ((row + PAD - d->y[n]) % KEPT_ROWS * d->numbers + d->opposite[n]) * kept;
                turn_row(there + PAD - d->x[n], d->turned, d->width);
                values = d->turned;
            }
            int8_t *even = out + ((row % 2 * 2 * d->numbers + n) * rows + row / 2) * columns;
            split_row(values, even, even + d->numbers * rows * columns, d->width);
        }
    }
}

/* Companded differences in some rows of a low-pass band; see _compiled.pyi. */
int NAME(low_differences)(Call *call) {
    Buffer low, offsets, companded, out;
    ptrdiff_t first, last;
    int level_step;
    Differences d = {0};
    low = take_buffer(call), d.height = take_size(call), d.width = take_size(call), level_step = take_int(call),
    offsets = take_buffer(call), companded = take_buffer(call), first = take_size(call), last = take_size(call),
    out = take_buffer(call);
    int result = 0;
    d.numbers = offsets.len / 8;
    d.companded = companded.buf;
    d.last = (int32_t)(companded.len / 4) - 1;
    if (!SIZES(d.height, d.width, first, last) || d.height < 1 || d.width < 1 || level_step < 1 || first > last ||
        last > d.height || d.last < 0 || d.numbers > MAX_OFFSETS) {
        return refuse(call, "differences of these sizes are not possible");
    }
    for (ptrdiff_t n = 0; n < d.numbers; n++) {
        const int32_t y = ((const int32_t *)offsets.buf)[2 * n], x = ((const int32_t *)offsets.buf)[2 * n + 1];
        if (y < -PAD || y > PAD || x < -PAD || x > PAD) {
            return refuse(call, "an offset beyond the padding");
        }
        d.is_before[n] = y < 0 || (y == 0 && x < 0);
        d.y[n] = d.is_before[n] ? -y : y;
        d.x[n] = d.is_before[n] ? -x : x;
        d.opposite[n] = (int)n;
    }
    for (ptrdiff_t n = 0; n < d.numbers; n++)
        for (int m = 0; m < d.numbers && d.is_before[n]; m++)
            if (!d.is_before[m] && d.y[m] == d.y[n] && d.x[m] == d.x[n]) d.opposite[n] = m;
    if (!has_items(call, &low, d.height * d.width, 4, "low") ||
        !has_items(call, &out, 4 * d.numbers * ((d.height + 1) / 2) * ((d.width + 1) / 2), 1, "out"))
        return 0;
    d.limit = level_step >> 1 ? level_step >> 1 : 1;
    d.factor = (1 << 24) / level_step;
    d.rows = calloc((size_t)(KEPT_ROWS * (d.width + 2 * WIDE_PAD) + LANES), sizeof *d.rows);
    d.kept = calloc((size_t)(KEPT_ROWS * d.numbers + 1) * (d.width + 2 * PAD), 1);
    d.turned = d.kept + KEPT_ROWS * d.numbers * (d.width + 2 * PAD);
    if (d.rows && d.kept) {
        differences_of(&d, low.buf, first, last, out.buf);
        result = 1;
    } else {
        no_memory(call);
    }
    free(d.rows);
    free(d.kept);
    return result;
}
