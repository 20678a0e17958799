/* The search for symbols by rate and distortion: paths through the trellis (Viterbi 1967), as
 * `dfmcodec.codecs.wavelet.encode.trellis_search` describes it. LANES cells are worked on at a time.
 */
#if !defined(TARGET_AVX2) && !defined(TARGET_AVX512)
#define TARGET_BASELINE
#endif
#include "maths.h"

enum {
    STATES = 8,
    QUANTIZERS = 2,
    RADIUS = 64,
    ENTRIES = 2 * RADIUS + 2,
    MAX_PASSES = 36,
    ARRAYS = 7, /* of a pass */
};
/* Of a pass: coefficients, the weights of their squared errors, signs, tables, two slopes, and the symbols that are
 * found. */
enum { COEFFICIENTS, WEIGHTS, SIGNS, TABLES, SIGNED_SLOPES, MAGNITUDE_SLOPES, SYMBOLS };
static const float UNREACHED = 1e30f;

typedef struct {
    Buffer arrays[ARRAYS];
    ptrdiff_t rows, columns;
} Pass;

typedef struct {
    Pass passes[MAX_PASSES];
    int count, direct_tables, per_quantizer, has_slopes;
    Buffer bits, offsets, companded, ways;
    ptrdiff_t columns; /* cells of a row */
} Search;

/* Which state and which branch (2 quantiser + parity of the symbol) two ways into each state come from. */
typedef struct {
    int8_t source[2], branch[2];
} Ways;

/* What a pass has of the cells of a chunk. */
typedef struct {
    float_lanes c, weight, signed_slope, magnitude_slope;
    int32_lanes table, is_there; /* all ones where the pass has a symbol */
} Cells;

/* What symbols q cost under a quantiser whose tables begin at `table`: weighted squared error, bits, and slopes. */
INLINE float_lanes cost_of(const Search *search, const Cells *cells, int32_lanes table, int32_lanes q, int quantizer) {
    const int32_lanes entry = table + most(least(q, RADIUS), -RADIUS) + RADIUS;
    const int32_lanes multiple = 2 * q - quantizer * (q >> 31 | (-q >> 31 & 1)), below = multiple >> 31;
    const float_lanes error =
        cells->c - __builtin_convertvector(multiple, float_lanes) - (float_lanes)gather(search->offsets.buf, entry);
    float_lanes sum = cells->weight * error * error + (float_lanes)gather(search->bits.buf, entry);
    if (search->has_slopes) {
        const int32_lanes size = least((multiple ^ below) - below, (int32_t)(search->companded.len / 4) - 1);
        const float_lanes companded = (float_lanes)gather(search->companded.buf, size);
        sum += cells->signed_slope * with_sign_of(companded, (float_lanes)multiple) + cells->magnitude_slope * companded;
    }
    return sum;
}

INLINE float_lanes rounded(float_lanes x) { /* to the nearest integer, ties to the even one */
    const float_lanes size = magnitude(x);
    return with_sign_of(where(negative(size - 4194304.0f), whole_lanes(size), size), x);
}

/* The best symbol of each quantiser and parity, and what it costs: [2 quantiser + parity]. */
INLINE void candidates(const Search *search, const Cells *cells, int32_lanes *symbols, float_lanes *branch_costs) {
    const int32_lanes toward = (int32_lanes)cells->c >> 31 | 1;
    const int32_lanes is_direct = (cells->table - search->direct_tables) >> 31;
    const int32_lanes in_second = (search->per_quantizer - 1 - cells->table) >> 31;
    const int32_lanes in_first = cells->table - (in_second & search->per_quantizer);
    for (int quantizer = 0; quantizer < QUANTIZERS; quantizer++) {
        const int32_lanes table =
            ENTRIES * whole_where(is_direct, in_first + quantizer * search->per_quantizer, cells->table);
        const float_lanes middle = (cells->c + __builtin_convertvector(toward * quantizer, float_lanes)) * 0.5f;
        const int32_lanes near = __builtin_convertvector(rounded(middle), int32_lanes), none = {0};
        const float_lanes of_near = cost_of(search, cells, table, near, quantizer);
        const float_lanes of_zero = cost_of(search, cells, table, none, quantizer);
        const float_lanes of_less = cost_of(search, cells, table, near - toward, quantizer);
        const float_lanes of_more = cost_of(search, cells, table, near + toward, quantizer);
        const int32_lanes is_less = negative(of_less - of_more), is_odd = -(near & 1);
        const int32_lanes around = near + whole_where(is_less, -toward, toward);
        const float_lanes of_around = where(is_less, of_less, of_more);
        /* zero is even: it competes with the nearest symbol or with the two around it */
        const int32_lanes even = whole_where(is_odd, around, near);
        const float_lanes of_even = where(is_odd, of_around, of_near);
        const int32_lanes is_zero = negative(of_zero - of_even);
        symbols[2 * quantizer] = even & ~is_zero;
        symbols[2 * quantizer + 1] = whole_where(is_odd, near, around);
        branch_costs[2 * quantizer] = where(is_zero, of_zero, of_even);
        branch_costs[2 * quantizer + 1] = where(is_odd, of_near, of_around);
    }
}

/* One step of all paths: the cheaper of two ways into each state; returns where that is the second, as a bit. */
INLINE int32_lanes extend(const Ways *ways, float_lanes *cost, const float_lanes *branch_costs, int32_lanes is_there) {
    float_lanes least_costs[STATES];
    int32_lanes took_second = {0};
    for (int state = 0; state < STATES; state++) {
        const Ways *w = &ways[state];
        const float_lanes by_first = cost[w->source[0]] + branch_costs[w->branch[0]];
        const float_lanes by_second = cost[w->source[1]] + branch_costs[w->branch[1]];
        const int32_lanes is_second = negative(by_second - by_first);
        took_second |= is_second & 1 << state;
        least_costs[state] = where(is_second, by_second, by_first);
    }
    for (int state = 0; state < STATES; state++) cost[state] = where(is_there, least_costs[state], cost[state]);
    return took_second;
}

/* What a pass has of `count` cells from a place on; zeros where it has none. */
INLINE Cells cells_of(const Search *search, const Pass *pass, ptrdiff_t row, ptrdiff_t column, int count) {
    float values[4][LANES] = {{0}};
    int32_t table[LANES] = {0}, is_there[LANES] = {0};
    const ptrdiff_t rest = pass->columns - column, at = row * pass->columns + column;
    const int some = row >= pass->rows || rest <= 0 ? 0 : rest < count ? (int)rest : count;
    for (int n = 0; n < some; n++) {
        const float sign = (float)((const int32_t *)pass->arrays[SIGNS].buf)[at + n];
        is_there[n] = -1;
        values[0][n] = ((const float *)pass->arrays[COEFFICIENTS].buf)[at + n] * sign;
        values[1][n] = ((const float *)pass->arrays[WEIGHTS].buf)[at + n];
        table[n] = ((const int16_t *)pass->arrays[TABLES].buf)[at + n];
        if (!search->has_slopes) continue;
        values[2][n] = ((const float *)pass->arrays[SIGNED_SLOPES].buf)[at + n] * sign;
        values[3][n] = ((const float *)pass->arrays[MAGNITUDE_SLOPES].buf)[at + n];
    }
    return (Cells){load(values[0]), load(values[1]), load(values[2]), load(values[3]), load_int32(table),
                   load_int32(is_there)};
}

/* Finds the paths of the cells number `first` .. of some rows, and writes their symbols. */
static void search_chunk(const Search *search, ptrdiff_t row, ptrdiff_t column, int count) {
    const Ways *ways = search->ways.buf;
    float_lanes cost[STATES];
    int32_lanes symbols[MAX_PASSES][2 * QUANTIZERS], took_second[MAX_PASSES];
    for (int state = 0; state < STATES; state++) cost[state] = all(state ? UNREACHED : 0);
    for (int p = 0; p < search->count; p++) {
        const Cells cells = cells_of(search, &search->passes[p], row, column, count);
        float_lanes branch_costs[2 * QUANTIZERS];
        candidates(search, &cells, symbols[p], branch_costs);
        took_second[p] = extend(ways, cost, branch_costs, cells.is_there);
    }
    for (int n = 0; n < count; n++) {
        int state = 0;
        for (int s = 1; s < STATES; s++)
            if (cost[s][n] < cost[state][n]) state = s;
        for (int p = search->count - 1; p >= 0; p--) {
            const Pass *pass = &search->passes[p];
            if (row >= pass->rows || column + n >= pass->columns) continue;
            const ptrdiff_t at = row * pass->columns + column + n;
            const int taken = took_second[p][n] >> state & 1;
            const int32_t sign = ((const int32_t *)pass->arrays[SIGNS].buf)[at];
            ((int32_t *)pass->arrays[SYMBOLS].buf)[at] = symbols[p][ways[state].branch[taken]][n] * sign;
            state = ways[state].source[taken];
        }
    }
}

/* Whether the arrays of a pass are those of its size; otherwise refuses the call. */
static int check_pass(Call *call, const Search *search, const Pass *pass) {
    static const int sizes[ARRAYS] = {4, 4, 4, 2, 4, 4, 4};
    static const char *const names[ARRAYS] = {"coefficients", "weights", "signs", "tables", "slope", "slope", "symbols"};
    if (!SIZES(pass->rows, pass->columns) || pass->columns < 1) return refuse(call, "a pass without a size");
    for (int i = 0; i < ARRAYS; i++) {
        const int is_slope = i == SIGNED_SLOPES || i == MAGNITUDE_SLOPES;
        if ((!is_slope || search->has_slopes) &&
            !has_items(call, &pass->arrays[i], pass->rows * pass->columns, sizes[i], names[i]))
            return 0;
    }
    const int16_t *table = pass->arrays[TABLES].buf;
    const ptrdiff_t tables = search->bits.len / (4 * ENTRIES);
    for (ptrdiff_t n = 0; n < pass->rows * pass->columns; n++)
        if (table[n] < 0 || table[n] >= tables) return refuse(call, "a table that does not exist");
    return 1;
}

/* Whether a search's own arrays and numbers are possible. */
static int is_possible(const Search *search, ptrdiff_t first, ptrdiff_t last) {
    const ptrdiff_t tables = search->bits.len / (4 * ENTRIES);
    const Ways *ways = search->ways.buf;
    if (!SIZES(search->columns, first, last) || search->companded.len < 4 || first > last || search->columns < 1 ||
        search->per_quantizer <= 0 || search->ways.len < (ptrdiff_t)(STATES * sizeof *ways) ||
        QUANTIZERS * search->per_quantizer > tables || search->direct_tables > tables)
        return 0;
    for (int state = 0; state < STATES; state++)
        for (int i = 0; i < 2; i++)
            if (ways[state].source[i] < 0 || ways[state].source[i] >= STATES || ways[state].branch[i] < 0 ||
                ways[state].branch[i] >= 2 * QUANTIZERS)
                return 0;
    return 1;
}

static int search_rows(Call *call, Search *search) {
    const ptrdiff_t count = take_size(call);
    if (count > MAX_PASSES) return refuse(call, "a search of these sizes is not possible");
    search->count = (int)count;
    for (int p = 0; p < count; p++) { /* rows, columns, arrays .. */
        Pass *pass = &search->passes[p];
        pass->rows = take_size(call);
        pass->columns = take_size(call);
        for (int i = 0; i < ARRAYS; i++) pass->arrays[i] = take_buffer(call);
    }
    search->has_slopes = take_int(call), search->bits = take_buffer(call), search->offsets = take_buffer(call),
    search->companded = take_buffer(call), search->ways = take_buffer(call), search->direct_tables = take_int(call),
    search->per_quantizer = take_int(call), search->columns = take_size(call);
    const ptrdiff_t first = take_size(call), last = take_size(call);
    if (!is_possible(search, first, last)) return refuse(call, "a search of these sizes is not possible");
    const ptrdiff_t tables = search->bits.len / (4 * ENTRIES);
    if (!has_items(call, &search->offsets, tables * ENTRIES, 4, "offsets")) return 0;
    for (int p = 0; p < count; p++)
        if (!check_pass(call, search, &search->passes[p])) return 0;
    for (ptrdiff_t row = first; row < last; row++)
        for (ptrdiff_t column = 0; column < search->columns; column += LANES)
            search_chunk(search, row, column,
                         search->columns - column < LANES ? (int)(search->columns - column) : LANES);
    return 1;
}

/* Chooses the symbols of some rows of cells; see _compiled.pyi. */
int NAME(choose_paths)(Call *call) {
    Search *search = calloc(1, sizeof *search);
    const int is_done = search ? search_rows(call, search) : no_memory(call);
    free(search);
    return is_done;
}
