/* The range coder of docs/format.md, "Range coder": complete arrays of symbols at a time.
 *
 * The caller stores the state. The state of a decoder has four numbers of 64 bits: lower, range, point,
 * and the number of words read. The state of an encoder has lower, range, and the pending words, which a
 * carry may still change: their number, and the first of them. The other pending words are all ones, or
 * all zeros after a carry.
 */
#include "kernels.h"

enum {
    CUMULATIVE = TABLE_SIZE + 1, /* of a table: the sum of the frequencies before each entry, and 2^24 */
    MOST = 1 << (PRECISION_BITS - 1), /* more than half the sum */
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

/* Returns the quantile of the next entry; 2^24 or more if the stream is invalid. */
INLINE uint64_t quantile_of(const Decoder *d) { return (d->point - d->lower) / (d->range >> PRECISION_BITS); }

INLINE void take(Decoder *d, uint32_t cumulative, uint32_t frequency) {
    const uint64_t scale = d->range >> PRECISION_BITS;
    d->lower += scale * cumulative;
    d->range = scale * frequency;
    if (d->range < UINT64_C(1) << 32) {
        d->lower <<= 32;
        d->range <<= 32;
        d->point = d->point << 32 | next_word(d);
    }
}

static int begin(Call *call, Decoder *d, const uint64_t *state, const uint32_t *words, ptrdiff_t word_count) {
    memcpy(d, state, 32);
    d->words = words;
    d->word_count = (uint64_t)word_count;
    return d->range >> PRECISION_BITS || refuse(call, "the state of a range decoder has no range");
}

int start_decoding(Call *call, const StartDecoding *a) {
    (void)call;
    Decoder d = {0, UINT64_MAX, 0, 0, a->words, (uint64_t)a->words_count};
    d.point = (uint64_t)next_word(&d) << 32;
    d.point |= next_word(&d);
    memcpy(a->state, &d, 32);
    return 1;
}

/* Computes the indices of symbols in coding order: the given order, or a stable sort by table. Returns 0 if memory is
 * short. */
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

int decode_highs(Call *call, const DecodeHighs *a) {
    Decoder d;
    const ptrdiff_t count = a->numbers_count, tables = a->guide_count >> GUIDE_BITS;
    const int16_t *number = a->numbers;
    if (!begin(call, &d, a->state, a->words, a->words_count)) return 0;
    for (ptrdiff_t n = 0; n < count; n++)
        if (number[n] < 0 || number[n] >= tables) return refuse(call, "a table that does not exist");
    int is_valid = 1;
    ptrdiff_t unfinished = 0;
    int32_t *turn = a->order;
    if (!put_in_order(number, count, tables, a->is_sorted, turn)) return no_memory(call);
    int table = -1, is_mostly_zero = 0, has_low_bits = 0;
    const uint32_t *sums = NULL;
    for (ptrdiff_t n = 0; n < count; n++) {
        const ptrdiff_t symbol = turn[n];
        if (number[symbol] != table) {
            table = number[symbol];
            sums = a->cumulative + table * CUMULATIVE;
            is_mostly_zero = sums[RADIUS] + MOST < sums[RADIUS + 1] && sums[RADIUS + 1] <= 1u << PRECISION_BITS;
            has_low_bits = a->shifts[table] != 0;
        }
        if (is_mostly_zero) { /* without a division */
            const uint64_t scale = d.range >> PRECISION_BITS;
            if (d.point - d.lower - scale * sums[RADIUS] < scale * (sums[RADIUS + 1] - sums[RADIUS])) {
                take(&d, sums[RADIUS], sums[RADIUS + 1] - sums[RADIUS]);
                unfinished += has_low_bits;
                a->highs[symbol] = 0;
                continue;
            }
        }
        const uint64_t quantile = quantile_of(&d);
        if (quantile >> PRECISION_BITS) {
            is_valid = 0;
            break;
        }
        int entry = a->guide[(table << GUIDE_BITS) + (quantile >> (PRECISION_BITS - GUIDE_BITS))];
        entry = entry < TABLE_SIZE ? entry : TABLE_SIZE - 1;
        while (entry < TABLE_SIZE - 1 && sums[entry + 1] <= quantile) entry++;
        /* impossible with tables of the package */
        if (sums[entry + 1] <= sums[entry] || sums[entry + 1] > 1u << PRECISION_BITS) {
            is_valid = 0;
            break;
        }
        take(&d, sums[entry], sums[entry + 1] - sums[entry]);
        unfinished += entry == ESCAPE || has_low_bits;
        a->highs[symbol] = entry - RADIUS;
    }
    memcpy(a->state, &d, 32);
    return give(call, is_valid ? unfinished : -1);
}

int decode_bits(Call *call, const DecodeBits *a) {
    Decoder d;
    const int bits = a->bits;
    if (!begin(call, &d, a->state, a->words, a->words_count)) return 0;
    if (bits < 0 || bits > PRECISION_BITS) return refuse(call, "a number of bits that the uniform model does not have");
    int is_valid = 1;
    for (ptrdiff_t n = 0; n < a->values_count; n++) {
        const uint64_t quantile = quantile_of(&d);
        is_valid = !(quantile >> PRECISION_BITS);
        if (!is_valid) break;
        const uint32_t value = (uint32_t)quantile >> (PRECISION_BITS - bits);
        take(&d, value << (PRECISION_BITS - bits), UINT32_C(1) << (PRECISION_BITS - bits));
        a->values[n] = (int32_t)value;
    }
    memcpy(a->state, &d, 32);
    return give(call, is_valid);
}

typedef struct {
    uint64_t lower, range, waiting, first;
    uint32_t *out;
} Encoder;

/* Starts with a state; `count` is the number of further words, and `capacity` is the number of words that fit. */
static int begin_encoding(Call *call, Encoder *e, const uint64_t *state, uint32_t *out, ptrdiff_t capacity,
                          ptrdiff_t count) {
    memcpy(e, state, 32);
    e->out = out;
    if (!(e->range >> PRECISION_BITS)) return refuse(call, "the state of a range encoder has no range");
    if (e->waiting <= PTRDIFF_MAX / 8 && capacity - count >= (ptrdiff_t)e->waiting) return 1;
    return refuse(call, "out has no room for the words that wait and one of each symbol");
}

/* Writes the pending words, with or without a carry. */
INLINE void write_waiting(Encoder *e, int has_carry) {
    if (!e->waiting) return;
    *e->out++ = (uint32_t)(e->first + (has_carry ? 1 : 0));
    for (; e->waiting > 1; e->waiting--) *e->out++ = has_carry ? 0 : UINT32_MAX;
    e->waiting = 0;
}

INLINE void put(Encoder *e, uint32_t cumulative, uint32_t frequency) {
    const uint64_t scale = e->range >> PRECISION_BITS, before = e->lower;
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

int encode_entries(Call *call, const EncodeEntries *a) {
    Encoder e;
    const ptrdiff_t count = a->numbers_count, tables = a->cumulative_count / CUMULATIVE;
    const int16_t *number = a->numbers;
    const int32_t *entry = a->entries;
    if (!begin_encoding(call, &e, a->state, a->out, a->out_count, count)) return 0;
    for (ptrdiff_t n = 0; n < count; n++)
        if (number[n] < 0 || number[n] >= tables || entry[n] < 0 || entry[n] >= TABLE_SIZE)
            return refuse(call, "a table or an entry that does not exist");
    int32_t *turn = a->order;
    if (!put_in_order(number, count, tables, a->is_sorted, turn)) return no_memory(call);
    for (ptrdiff_t n = 0; n < count; n++) {
        const uint32_t *sums = a->cumulative + number[turn[n]] * CUMULATIVE + entry[turn[n]];
        put(&e, sums[0], sums[1] - sums[0]);
    }
    memcpy(a->state, &e, 32);
    return give(call, e.out - a->out);
}

int encode_bits(Call *call, const EncodeBits *a) {
    Encoder e;
    const int bits = a->bits;
    if (!begin_encoding(call, &e, a->state, a->out, a->out_count, a->values_count)) return 0;
    if (bits < 1 || bits > PRECISION_BITS) return refuse(call, "a number of bits that the uniform model does not have");
    const uint32_t mask = (UINT32_C(1) << bits) - 1;
    for (ptrdiff_t n = 0; n < a->values_count; n++)
        put(&e, ((uint32_t)a->values[n] & mask) << (PRECISION_BITS - bits), UINT32_C(1) << (PRECISION_BITS - bits));
    memcpy(a->state, &e, 32);
    return give(call, e.out - a->out);
}

int end_encoding(Call *call, const EndEncoding *a) {
    Encoder e;
    if (!begin_encoding(call, &e, a->state, a->out, a->out_count, 2)) return 0;
    if (e.range != UINT64_MAX) { /* something is encoded */
        const uint64_t point = e.lower + UINT32_MAX;
        write_waiting(&e, point < e.lower);
        *e.out++ = (uint32_t)(point >> 32);
        if ((uint32_t)((e.lower + e.range) >> 32) == (uint32_t)(point >> 32)) *e.out++ = 0;
    }
    return give(call, e.out - a->out);
}

int count_bits(Call *call, const CountBits *a) {
    const ptrdiff_t tables = a->bits_count / TABLE_SIZE;
    ptrdiff_t others = 0;
    double total = 0;
    for (ptrdiff_t n = 0; n < a->symbols_count; n++) {
        const int64_t entry = (int64_t)a->symbols[n] * a->sign[n] + RADIUS;
        if (a->table[n] < 0 || a->table[n] >= tables) return refuse(call, "a table that does not exist");
        if (a->table[n] < DIRECT_TABLES && entry >= 0 && entry <= 2 * RADIUS)
            total += a->bits[a->table[n] * TABLE_SIZE + entry];
        else
            others++;
    }
    a->total[0] = total;
    return give(call, others);
}
