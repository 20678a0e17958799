/* The rate-distortion search for symbols: paths through the trellis (Viterbi 1967), as described in
 * `dfmcodec.codecs.wavelet.encode.trellis_search`. LANES cells are processed at a time.
 */
#if !defined(TARGET_AVX2) && !defined(TARGET_AVX512)
#define TARGET_BASELINE
#endif
#include "kernels.h"
#include "maths.h"

#include <math.h>
#include <string.h>

enum { MAX_PASSES = sizeof(((ChoosePaths *)0)->passes) / sizeof(PathPass) };
static const float UNREACHED = 1e30f;

/* The states and the branches (2 quantiser + parity of the symbol) of the two transitions into a state. */
typedef struct {
    int8_t source[2], branch[2];
} Transitions;

/* The values of a pass for the cells of a chunk. */
typedef struct {
    float_lanes c, weight, signed_cost, magnitude_cost;
    int32_lanes table, is_there; /* all ones where the pass has a symbol */
} Cells;

/* Returns the costs of symbols q for a quantiser whose tables start at `table`: weighted squared error, bits, and
 * dependency costs. */
INLINE float_lanes cost_of(const ChoosePaths *a, const Cells *cells, int32_lanes table, int32_lanes q, int quantizer) {
    const int32_lanes entry = table + most(least(q, RADIUS), -RADIUS) + RADIUS;
    const int32_lanes multiple = 2 * q - quantizer * (q >> 31 | (-q >> 31 & 1)), below = multiple >> 31;
    const float_lanes error =
        cells->c - __builtin_convertvector(multiple, float_lanes) - (float_lanes)gather(a->offsets, entry);
    float_lanes sum = cells->weight * error * error + (float_lanes)gather(a->bits, entry);
    if (a->has_costs) {
        const int32_lanes size = least((multiple ^ below) - below, (int32_t)(a->companded_count) - 1);
        const float_lanes companded = (float_lanes)gather(a->companded, size);
        sum += cells->signed_cost * with_sign_of(companded, (float_lanes)multiple) + cells->magnitude_cost * companded;
    }
    return sum;
}

INLINE float_lanes rounded(float_lanes x) { /* to the nearest integer, ties to even */
    const float_lanes size = magnitude(x);
    return with_sign_of(where(negative(size - 4194304.0f), rounded_lanes(size), size), x);
}

/* Finds the best symbol of each quantiser and parity, and its cost: [2 quantiser + parity]. */
INLINE void candidates(const ChoosePaths *a, const Cells *cells, int32_lanes *symbols, float_lanes *branch_costs) {
    const int32_lanes toward = (int32_lanes)cells->c >> 31 | 1;
    const int32_lanes is_direct = (cells->table - DIRECT_TABLES) >> 31;
    const int32_lanes in_second = (TABLES_PER_QUANTIZER - 1 - cells->table) >> 31;
    const int32_lanes in_first = cells->table - (in_second & TABLES_PER_QUANTIZER);
    for (int quantizer = 0; quantizer < QUANTIZERS; quantizer++) {
        const int32_lanes table =
            TABLE_SIZE * integer_where(is_direct, in_first + quantizer * TABLES_PER_QUANTIZER, cells->table);
        const float_lanes middle = (cells->c + __builtin_convertvector(toward * quantizer, float_lanes)) * 0.5f;
        const int32_lanes near = __builtin_convertvector(rounded(middle), int32_lanes), none = {0};
        const float_lanes of_near = cost_of(a, cells, table, near, quantizer);
        const float_lanes of_zero = cost_of(a, cells, table, none, quantizer);
        const float_lanes of_less = cost_of(a, cells, table, near - toward, quantizer);
        const float_lanes of_more = cost_of(a, cells, table, near + toward, quantizer);
        const int32_lanes is_less = negative(of_less - of_more), is_odd = -(near & 1);
        const int32_lanes around = near + integer_where(is_less, -toward, toward);
        const float_lanes of_around = where(is_less, of_less, of_more);
        /* zero is even, so it competes with the best other even symbol */
        const int32_lanes even = integer_where(is_odd, around, near);
        const float_lanes of_even = where(is_odd, of_around, of_near);
        const int32_lanes is_zero = negative(of_zero - of_even);
        symbols[2 * quantizer] = even & ~is_zero;
        symbols[2 * quantizer + 1] = integer_where(is_odd, near, around);
        branch_costs[2 * quantizer] = where(is_zero, of_zero, of_even);
        branch_costs[2 * quantizer + 1] = where(is_odd, of_near, of_around);
    }
}

/* One step of all paths: the cheaper of two transitions into each state. Returns a bit for each state, 1 if it is the
 * second. */
INLINE int32_lanes extend(const Transitions *transitions, float_lanes *cost, const float_lanes *branch_costs,
                          int32_lanes is_there) {
    float_lanes least_costs[STATES];
    int32_lanes took_second = {0};
    for (int state = 0; state < STATES; state++) {
        const Transitions *w = &transitions[state];
        const float_lanes by_first = cost[w->source[0]] + branch_costs[w->branch[0]];
        const float_lanes by_second = cost[w->source[1]] + branch_costs[w->branch[1]];
        const int32_lanes is_second = negative(by_second - by_first);
        took_second |= is_second & 1 << state;
        least_costs[state] = where(is_second, by_second, by_first);
    }
    for (int state = 0; state < STATES; state++) cost[state] = where(is_there, least_costs[state], cost[state]);
    return took_second;
}

/* Returns the number of symbols of a pass in `count` cells from a place. */
INLINE int symbols_in(const PathPass *pass, ptrdiff_t row, ptrdiff_t column, int count) {
    const ptrdiff_t rest = pass->columns - column;
    return row >= pass->rows || rest <= 0 ? 0 : rest < count ? (int)rest : count;
}

/* Returns the value of a 16-bit float. */
INLINE float from_half(uint16_t half) {
    const uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Returns the table of a packed table and sign. */
INLINE int32_t table_of(const ChoosePaths *a, int32_t packed) { return a->rescaled[(packed < 0 ? -packed : packed) - 1]; }

/* Loads the values of a pass for `count` cells; zeros for cells without a symbol. */
INLINE Cells cells_of(const ChoosePaths *a, const PathPass *pass, ptrdiff_t row, ptrdiff_t column, int count) {
    float values[4][LANES] = {{0}};
    int32_t table[LANES] = {0}, is_there[LANES] = {0};
    const ptrdiff_t at = row * pass->columns + column, symbols = pass->rows * pass->columns;
    const float *band = pass->band + pass->band_start + row * pass->band_stride + 2 * column;
    const uint16_t *weights = pass->weights + pass->weights_start + row * pass->weights_stride + 2 * column;
    const float per_step = (float)pass->per_step, factor = (float)pass->weight_factor, bit_cost = (float)a->bit_cost;
    const int some = symbols_in(pass, row, column, count);
    for (int n = 0; n < some; n++) {
        const int32_t packed = pass->tables[at + n];
        const float sign = packed < 0 ? -1.0f : 1.0f;
        is_there[n] = -1;
        values[0][n] = band[2 * n] * per_step * sign;
        values[1][n] = pass->weights_count ? from_half(weights[2 * n]) * factor : 1;
        table[n] = table_of(a, packed);
        if (!a->has_costs) continue;
        values[2][n] = from_half(pass->costs[at + n]) * bit_cost * sign;
        values[3][n] = from_half(pass->costs[symbols + at + n]) * bit_cost;
    }
    return (Cells){load(values[0]), load(values[1]), load(values[2]), load(values[3]), load_int32(table),
                   load_int32(is_there)};
}

/* Writes zeros for `count` cells if no path costs less, and returns whether it did; see `zero_limits`. */
INLINE int choose_zeros(const ChoosePaths *a, ptrdiff_t row, ptrdiff_t column, int count) {
    for (int p = 0; p < a->passes_count; p++) {
        const PathPass *pass = &a->passes[p];
        const ptrdiff_t at = row * pass->columns + column, symbols = pass->rows * pass->columns;
        const float *band = pass->band + pass->band_start + row * pass->band_stride + 2 * column;
        const float per_step = (float)pass->per_step;
        const int some = symbols_in(pass, row, column, count);
        int is_other = 0;
        for (int n = 0; n < some; n++)
            is_other |= !(fabsf(band[2 * n] * per_step) <= a->zero_limits[table_of(a, pass->tables[at + n])]);
        if (a->has_costs)
            for (int n = 0; n < some; n++)
                is_other |=
                    !(fabsf(from_half(pass->costs[at + n])) <= from_half(pass->costs[symbols + at + n]));
        if (is_other) return 0;
    }
    for (int p = 0; p < a->passes_count; p++) {
        const PathPass *pass = &a->passes[p];
        const int some = symbols_in(pass, row, column, count);
        if (some) memset(pass->symbols + row * pass->columns + column, 0, (size_t)some * sizeof *pass->symbols);
    }
    return 1;
}

/* Finds the paths of the cells number `first` .. of some rows, and writes their symbols. */
static void search_chunk(const ChoosePaths *a, ptrdiff_t row, ptrdiff_t column, int count) {
    const Transitions *transitions = (const Transitions *)a->transitions;
    float_lanes cost[STATES];
    int32_lanes symbols[MAX_PASSES][2 * QUANTIZERS], took_second[MAX_PASSES];
    for (int state = 0; state < STATES; state++) cost[state] = all(state ? UNREACHED : 0);
    for (int p = 0; p < a->passes_count; p++) {
        const Cells cells = cells_of(a, &a->passes[p], row, column, count);
        float_lanes branch_costs[2 * QUANTIZERS];
        candidates(a, &cells, symbols[p], branch_costs);
        took_second[p] = extend(transitions, cost, branch_costs, cells.is_there);
    }
    for (int n = 0; n < count; n++) {
        int state = 0;
        for (int s = 1; s < STATES; s++)
            if (cost[s][n] < cost[state][n]) state = s;
        for (int p = a->passes_count - 1; p >= 0; p--) {
            const PathPass *pass = &a->passes[p];
            if (row >= pass->rows || column + n >= pass->columns) continue;
            const ptrdiff_t at = row * pass->columns + column + n;
            const int taken = took_second[p][n] >> state & 1;
            const int32_t sign = pass->tables[at] < 0 ? -1 : 1;
            pass->symbols[at] = symbols[p][transitions[state].branch[taken]][n] * sign;
            state = transitions[state].source[taken];
        }
    }
}

/* Returns whether an array has every second item of the rows of a pass; otherwise it rejects the call. */
static int has_rows(Call *call, const PathPass *pass, ptrdiff_t start, ptrdiff_t stride, ptrdiff_t count) {
    if (start < 0 || start > count || stride > (ptrdiff_t)1 << 30) return refuse(call, "a place outside an array");
    return !pass->rows ||
           has_count(call, count, start + (pass->rows - 1) * stride + 2 * pass->columns - 1, "an array has too few items");
}

/* Returns whether a pass is valid in rows of cells; otherwise it rejects the call. */
static int check_pass(Call *call, const ChoosePaths *a, const PathPass *pass, ptrdiff_t tables) {
    const ptrdiff_t last = a->last_row < pass->rows ? a->last_row : pass->rows;
    if (pass->columns < 1) return refuse(call, "a pass without a size");
    if (a->has_costs && !has_items(call, pass, costs, 2 * pass->rows * pass->columns)) return 0;
    if (!has_rows(call, pass, pass->band_start, pass->band_stride, pass->band_count)) return 0;
    if (pass->weights_count && !has_rows(call, pass, pass->weights_start, pass->weights_stride, pass->weights_count))
        return 0;
    for (ptrdiff_t n = a->first_row * pass->columns; n < last * pass->columns; n++) {
        const int32_t packed = pass->tables[n];
        if (packed == 0 || packed > tables || packed < -tables) return refuse(call, "a table that does not exist");
    }
    return 1;
}

/* Returns whether the arrays and numbers of a search are valid. */
static int is_possible(const ChoosePaths *a, ptrdiff_t tables) {
    const Transitions *transitions = (const Transitions *)a->transitions;
    if (a->first_row > a->last_row || a->columns < 1 || DIRECT_TABLES > tables) return 0;
    for (ptrdiff_t t = 0; t < tables; t++)
        if (a->rescaled[t] < 0 || a->rescaled[t] >= tables) return 0;
    for (int state = 0; state < STATES; state++)
        for (int i = 0; i < 2; i++)
            if (transitions[state].source[i] < 0 || transitions[state].source[i] >= STATES ||
                transitions[state].branch[i] < 0 || transitions[state].branch[i] >= 2 * QUANTIZERS)
                return 0;
    return 1;
}

int NAME(choose_paths)(Call *call, const ChoosePaths *a) {
    const ptrdiff_t tables = a->bits_count / TABLE_SIZE;
    if (!is_possible(a, tables)) return refuse(call, "a search of these sizes is not possible");
    for (ptrdiff_t p = 0; p < a->passes_count; p++)
        if (!check_pass(call, a, &a->passes[p], tables)) return 0;
    for (ptrdiff_t row = a->first_row; row < a->last_row; row++)
        for (ptrdiff_t column = 0; column < a->columns; column += LANES) {
            const int count = a->columns - column < LANES ? (int)(a->columns - column) : LANES;
            if (!choose_zeros(a, row, column, count)) search_chunk(a, row, column, count);
        }
    return 1;
}
