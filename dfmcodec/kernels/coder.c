/* The range coder of docs/format.md, "Range coder": whole arrays of symbols at a time.
 *
 * The state of a decoder is four numbers of 64 bits that the caller keeps: lower, range, point, and
 * the number of words that are read. That of an encoder: lower, range, and the words that wait until
 * a carry is out of the question: their number, and the first one; the others are all ones, or
 * all zeros after a carry.
 */
#include "common.h"

enum {
    PRECISION = 24,
    RADIUS = 64,
    ESCAPE = 2 * RADIUS + 1,
    ENTRIES = 2 * RADIUS + 2,
    CUMULATIVE = ENTRIES + 1, /* of a table: the sum of the frequencies before each entry, and 2^24 */
    GUIDE_BITS = 8,           /* of a quantile, by which the first entry that it can have is looked up */
};

typedef struct {
    uint64_t lower, range, point, read;
    const uint32_t *words;
    uint64_t word_count;
} Decoder;

INLINE uint32_t next_word(Decoder *d) {
    const uint32_t word = d->read < d->word_count ? d->words[d->read] : 0;
    d->read++;
    return word;
}

/* The quantile of the next entry; 2^24 or more in a stream that no encoder wrote. */
INLINE uint64_t quantile_of(const Decoder *d) { return (d->point - d->lower) / (d->range >> PRECISION); }

INLINE void take(Decoder *d, uint32_t cumulative, uint32_t frequency) {
    const uint64_t scale = d->range >> PRECISION;
    d->lower += scale * cumulative;
    d->range = scale * frequency;
    if (d->range < UINT64_C(1) << 32) {
        d->lower <<= 32;
        d->range <<= 32;
        d->point = d->point << 32 | next_word(d);
    }
}

static int begin(Call *call, Decoder *d, const Buffer *state, const Buffer *words) {
    if (!has_items(call, state, 4, 8, "state")) return 0;
    memcpy(d, state->buf, 32);
    d->words = words->buf;
    d->word_count = (uint64_t)words->len / 4;
    if (d->range >> PRECISION) return 1;
    return refuse(call, "the state of a range decoder has no range");
}

/* The state at the start of a stream. */
int start_decoding(Call *call) {
    Buffer state, words;
    state = take_buffer(call), words = take_buffer(call);
    int result = 0;
    if (has_items(call, &state, 4, 8, "state")) {
        Decoder d = {0, UINT64_MAX, 0, 0, words.buf, (uint64_t)words.len / 4};
        d.point = (uint64_t)next_word(&d) << 32;
        d.point |= next_word(&d);
        memcpy(state.buf, &d, 32);
        result = 1;
    }
    return result;
}

/* The numbers of symbols in the order in which they are coded: in their own, or in that of their tables, equal ones in
 * their own. Returns 0 where memory is short. */
static int put_in_order(const int16_t *numbers, ptrdiff_t count, ptrdiff_t tables, int is_sorted, int32_t *order) {
    if (!is_sorted) {
        for (ptrdiff_t n = 0; n < count; n++) order[n] = (int32_t)n;
        return 1;
    }
    ptrdiff_t *starts = calloc((size_t)tables + 1, sizeof *starts);
    if (!starts) return 0;
    for (ptrdiff_t n = 0; n < count; n++) starts[numbers[n] + 1]++;
    for (ptrdiff_t t = 0; t < tables; t++) starts[t + 1] += starts[t];
    for (ptrdiff_t n = 0; n < count; n++) order[starts[numbers[n]]++] = (int32_t)n;
    free(starts);
    return 1;
}

/* High parts of the next symbols; see _compiled.pyi. */
int decode_highs(Call *call) {
    Buffer state, words, cumulative, guide, shifts, numbers, order, out;
    int is_sorted;
    state = take_buffer(call), words = take_buffer(call), cumulative = take_buffer(call), guide = take_buffer(call),
    shifts = take_buffer(call), numbers = take_buffer(call), is_sorted = take_int(call), order = take_buffer(call),
    out = take_buffer(call);
    int result = 0;
    Decoder d;
    const ptrdiff_t count = numbers.len / 2, tables = guide.len >> GUIDE_BITS;
    const int16_t *number = numbers.buf;
    if (!begin(call, &d, &state, &words) || !has_items(call, &cumulative, tables * CUMULATIVE, 4, "cumulative") ||
        !has_items(call, &shifts, tables, 4, "shifts") || !has_items(call, &order, count, 4, "order") ||
        !has_items(call, &out, count, 4, "out"))
        return 0;
    for (ptrdiff_t n = 0; n < count; n++)
        if (number[n] < 0 || number[n] >= tables) {
            return refuse(call, "a table that does not exist");
        }
    int is_valid = 1, is_out_of_memory = 0;
    ptrdiff_t unfinished = 0;
    int32_t *turn = order.buf, *highs = out.buf;
    is_out_of_memory = !put_in_order(number, count, tables, is_sorted, turn);
    for (ptrdiff_t n = 0; n < count && !is_out_of_memory; n++) {
        const uint32_t *sums = (const uint32_t *)cumulative.buf + number[turn[n]] * CUMULATIVE;
        const uint64_t quantile = quantile_of(&d);
        if (quantile >> PRECISION) {
            is_valid = 0;
            break;
        }
        int entry =
            ((const uint8_t *)guide.buf)[(number[turn[n]] << GUIDE_BITS) + (quantile >> (PRECISION - GUIDE_BITS))];
        entry = entry < ENTRIES ? entry : ENTRIES - 1;
        while (entry < ENTRIES - 1 && sums[entry + 1] <= quantile) entry++;
        if (sums[entry + 1] <= sums[entry] || sums[entry + 1] > 1u << PRECISION) { /* no table of the package is so */
            is_valid = 0;
            break;
        }
        take(&d, sums[entry], sums[entry + 1] - sums[entry]);
        unfinished += entry == ESCAPE || ((const int32_t *)shifts.buf)[number[turn[n]]];
        highs[turn[n]] = entry - RADIUS;
    }
    memcpy(state.buf, &d, 32);
    if (is_out_of_memory)
        no_memory(call);
    else
        result = give(call, is_valid ? unfinished : -1);
    return result;
}

/* Numbers of `bits` bits each under the uniform model; see _compiled.pyi. */
int decode_bits(Call *call) {
    Buffer state, words, out;
    int bits;
    state = take_buffer(call), words = take_buffer(call), bits = take_int(call), out = take_buffer(call);
    int result = 0;
    Decoder d;
    if (begin(call, &d, &state, &words)) {
        if (bits < 0 || bits > PRECISION) {
            refuse(call, "a number of bits that the uniform model does not have");
        } else {
            int is_valid = 1;
            for (ptrdiff_t n = 0; n < out.len / 4; n++) {
                const uint64_t quantile = quantile_of(&d);
                is_valid = !(quantile >> PRECISION);
                if (!is_valid) break;
                const uint32_t value = (uint32_t)quantile >> (PRECISION - bits);
                take(&d, value << (PRECISION - bits), UINT32_C(1) << (PRECISION - bits));
                ((int32_t *)out.buf)[n] = (int32_t)value;
            }
            memcpy(state.buf, &d, 32);
            result = give(call, is_valid);
        }
    }
    return result;
}

typedef struct {
    uint64_t lower, range, waiting, first;
    uint32_t *out;
} Encoder;

static int begin_encoding(Call *call, Encoder *e, const Buffer *state, const Buffer *out, ptrdiff_t count) {
    if (!has_items(call, state, 4, 8, "state")) return 0;
    memcpy(e, state->buf, 32);
    e->out = out->buf;
    if (!(e->range >> PRECISION)) {
        return refuse(call, "the state of a range encoder has no range");
    }
    if (e->waiting <= PTRDIFF_MAX / 8 && out->len / 4 - count >= (ptrdiff_t)e->waiting) return 1;
    return refuse(call, "out has no room for the words that wait and one of each symbol");
}

/* Writes the words that wait, with a carry or without. */
INLINE void write_waiting(Encoder *e, int has_carry) {
    if (!e->waiting) return;
    *e->out++ = (uint32_t)(e->first + (has_carry ? 1 : 0));
    for (; e->waiting > 1; e->waiting--) *e->out++ = has_carry ? 0 : UINT32_MAX;
    e->waiting = 0;
}

INLINE void put(Encoder *e, uint32_t cumulative, uint32_t frequency) {
    const uint64_t scale = e->range >> PRECISION, before = e->lower;
    e->lower += scale * cumulative;
    e->range = scale * frequency;
    if (e->waiting && e->lower + e->range > e->lower) write_waiting(e, e->lower < before);
    if (e->range < UINT64_C(1) << 32) {
        const uint32_t word = (uint32_t)(e->lower >> 32);
        e->lower <<= 32;
        e->range <<= 32;
        if (e->waiting) {
            e->waiting++;
        } else if (e->lower + e->range > e->lower) {
            *e->out++ = word;
        } else {
            e->waiting = 1;
            e->first = word;
        }
    }
}

/* Encodes table entries; see _compiled.pyi. */
int encode_entries(Call *call) {
    Buffer state, cumulative, numbers, order, entries, out;
    int is_sorted;
    state = take_buffer(call), cumulative = take_buffer(call), numbers = take_buffer(call),
    is_sorted = take_int(call), order = take_buffer(call), entries = take_buffer(call), out = take_buffer(call);
    int result = 0;
    Encoder e;
    const ptrdiff_t count = numbers.len / 2, tables = cumulative.len / (4 * CUMULATIVE);
    const int16_t *number = numbers.buf;
    const int32_t *entry = entries.buf;
    if (!begin_encoding(call, &e, &state, &out, count) || !has_items(call, &order, count, 4, "order") ||
        !has_items(call, &entries, count, 4, "entries"))
        return 0;
    for (ptrdiff_t n = 0; n < count; n++)
        if (number[n] < 0 || number[n] >= tables || entry[n] < 0 || entry[n] >= ENTRIES) {
            return refuse(call, "a table or an entry that does not exist");
        }
    int is_out_of_memory = 0;
    int32_t *turn = order.buf;
    is_out_of_memory = !put_in_order(number, count, tables, is_sorted, turn);
    for (ptrdiff_t n = 0; n < count && !is_out_of_memory; n++) {
        const uint32_t *sums = (const uint32_t *)cumulative.buf + number[turn[n]] * CUMULATIVE + entry[turn[n]];
        put(&e, sums[0], sums[1] - sums[0]);
    }
    memcpy(state.buf, &e, 32);
    if (is_out_of_memory)
        no_memory(call);
    else
        result = give(call, e.out - (uint32_t *)out.buf);
    return result;
}

/* Encodes numbers of some bits under the uniform model; see _compiled.pyi. */
int encode_bits(Call *call) {
    Buffer state, values, out;
    int bits;
    state = take_buffer(call), bits = take_int(call), values = take_buffer(call), out = take_buffer(call);
    int result = 0;
    Encoder e;
    const ptrdiff_t count = values.len / 4;
    if (begin_encoding(call, &e, &state, &out, count)) {
        if (bits < 1 || bits > PRECISION) {
            refuse(call, "a number of bits that the uniform model does not have");
        } else {
            const uint32_t *value = values.buf, mask = (UINT32_C(1) << bits) - 1;
            for (ptrdiff_t n = 0; n < count; n++)
                put(&e, (value[n] & mask) << (PRECISION - bits), UINT32_C(1) << (PRECISION - bits));
            memcpy(state.buf, &e, 32);
            result = give(call, e.out - (uint32_t *)out.buf);
        }
    }
    return result;
}

/* The words at the end of a stream; see _compiled.pyi. */
int end_encoding(Call *call) {
    Buffer state, out;
    state = take_buffer(call), out = take_buffer(call);
    int result = 0;
    Encoder e;
    if (begin_encoding(call, &e, &state, &out, 2)) {
        if (e.range != UINT64_MAX) { /* something is encoded */
            const uint64_t point = e.lower + UINT32_MAX;
            write_waiting(&e, point < e.lower);
            *e.out++ = (uint32_t)(point >> 32);
            if ((uint32_t)((e.lower + e.range) >> 32) == (uint32_t)(point >> 32)) *e.out++ = 0;
        }
        result = give(call, e.out - (uint32_t *)out.buf);
    }
    return result;
}
