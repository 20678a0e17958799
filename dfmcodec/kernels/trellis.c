/* The search for symbols by rate and distortion: paths through the trellis (Viterbi 1967), as
 * `dfmcodec.encoder.latent.trellis_search` describes it. 16 cells are worked on at a time.
 */
#if !defined(TARGET_AVX2) && !defined(TARGET_AVX512)
#define TARGET_BASELINE
#endif
#include "common.h"

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

/* The cells of a chunk, and what each pass has of them. */
typedef struct {
    ptrdiff_t at[LANES]; /* the index of a cell's symbol in the pass */
    int is_there[LANES];
    float c[LANES], weight[LANES], signed_slope[LANES], magnitude_slope[LANES];
    int32_t table[LANES];
} Cells;

/* What symbols q cost at coefficients c under a quantiser: weighted squared error, bits, and slopes. */
INLINE void costs_of(const Search *search, const Cells *cells, const float *q, int quantizer, float *cost) {
    const float *bits = search->bits.buf, *offsets = search->offsets.buf, *companded = search->companded.buf;
    const int last = (int)(search->companded.len / 4) - 1;
    for (int n = 0; n < LANES; n++) {
        const int32_t symbol = (int32_t)q[n];
        const int32_t limited = symbol < -RADIUS ? -RADIUS : symbol > RADIUS ? RADIUS : symbol;
        const int32_t entry = cells->table[n] * ENTRIES + limited + RADIUS;
        const int32_t multiple = 2 * symbol - quantizer * ((symbol > 0) - (symbol < 0));
        const float error = cells->c[n] - (float)multiple - offsets[entry];
        float sum = cells->weight[n] * error * error + bits[entry];
        if (search->has_slopes) {
            const uint32_t size = multiple < 0 ? -(uint32_t)multiple : (uint32_t)multiple;
            const float magnitude = companded[size < (uint32_t)last ? size : (uint32_t)last];
            sum += cells->signed_slope[n] * (multiple < 0 ? -magnitude : magnitude) +
                   cells->magnitude_slope[n] * magnitude;
        }
        cost[n] = sum;
    }
}

INLINE float rounded(float x) { /* to the nearest integer, ties to the even one */
    const float magic = 12582912.0f;
    const float size = x < 0 ? -x : x;
    const float whole = size < 4194304.0f ? (size + magic) - magic : size;
    return x < 0 ? -whole : whole;
}

/* The best symbol of each quantiser and parity, and what it costs: [2 quantiser + parity][LANES]. */
static void candidates(const Search *search, const Cells *given, int32_t symbols[][LANES],
                       float branch_costs[][LANES]) {
    Cells cells = *given;
    for (int quantizer = 0; quantizer < QUANTIZERS; quantizer++) {
        float near[LANES], less[LANES], more[LANES], zero[LANES] = {0};
        float of_near[LANES], of_less[LANES], of_more[LANES], of_zero[LANES];
        for (int n = 0; n < LANES; n++) {
            const int32_t table = given->table[n], toward = given->c[n] < 0 ? -1 : 1;
            cells.table[n] = table < search->direct_tables
                                 ? table % search->per_quantizer + quantizer * search->per_quantizer
                                 : table;
            near[n] = rounded((given->c[n] + (float)(toward * quantizer)) * 0.5f);
            less[n] = near[n] - (float)toward;
            more[n] = near[n] + (float)toward;
        }
        costs_of(search, &cells, near, quantizer, of_near);
        costs_of(search, &cells, zero, quantizer, of_zero);
        costs_of(search, &cells, less, quantizer, of_less);
        costs_of(search, &cells, more, quantizer, of_more);
        for (int n = 0; n < LANES; n++) {
            const int32_t whole = (int32_t)near[n], is_odd = whole & 1;
            int32_t same = whole, other = (int32_t)(of_less[n] < of_more[n] ? less[n] : more[n]);
            float same_cost = of_near[n], other_cost = of_less[n] < of_more[n] ? of_less[n] : of_more[n];
            /* zero is even: it competes with the nearest symbol or with the two around it */
            const float rival = is_odd ? other_cost : same_cost;
            const int is_better = of_zero[n] < rival;
            if (is_better && is_odd) other = 0, other_cost = of_zero[n];
            if (is_better && !is_odd) same = 0, same_cost = of_zero[n];
            symbols[2 * quantizer][n] = is_odd ? other : same;
            symbols[2 * quantizer + 1][n] = is_odd ? same : other;
            branch_costs[2 * quantizer][n] = is_odd ? other_cost : same_cost;
            branch_costs[2 * quantizer + 1][n] = is_odd ? same_cost : other_cost;
        }
    }
}

/* One step of all paths: the cheaper of two ways into each state, remembered as a bit. */
static void extend(const Ways *ways, float cost[][LANES], float branch_costs[][LANES], const int *is_there,
                   uint8_t *took_second) {
    float least[STATES][LANES];
    uint8_t second[LANES] = {0};
    for (int state = 0; state < STATES; state++) {
        const Ways *w = &ways[state];
        for (int n = 0; n < LANES; n++) {
            const float by_first = cost[w->source[0]][n] + branch_costs[w->branch[0]][n];
            const float by_second = cost[w->source[1]][n] + branch_costs[w->branch[1]][n];
            second[n] |= (uint8_t)((by_second < by_first) << state);
            least[state][n] = by_second < by_first ? by_second : by_first;
        }
    }
    for (int n = 0; n < LANES; n++) took_second[n] = second[n];
    for (int state = 0; state < STATES; state++)
        for (int n = 0; n < LANES; n++) cost[state][n] = is_there[n] ? least[state][n] : cost[state][n];
}

/* Finds the paths of the cells number `first` .. of some rows, and writes their symbols. */
static void search_chunk(const Search *search, ptrdiff_t row, ptrdiff_t column, int count) {
    const Ways *ways = search->ways.buf;
    float cost[STATES][LANES], branch_costs[2 * QUANTIZERS][LANES];
    int32_t symbols[MAX_PASSES][2 * QUANTIZERS][LANES];
    uint8_t took_second[MAX_PASSES][LANES];
    for (int state = 0; state < STATES; state++)
        for (int n = 0; n < LANES; n++) cost[state][n] = state ? UNREACHED : 0;
    for (int p = 0; p < search->count; p++) {
        const Pass *pass = &search->passes[p];
        Cells cells = {{0}, {0}, {0}, {0}, {0}, {0}, {0}};
        int some = row < pass->rows ? (int)(pass->columns - column < count ? pass->columns - column : count) : 0;
        for (int n = 0; n < some; n++) {
            const ptrdiff_t at = row * pass->columns + column + n;
            const float sign = (float)((const int32_t *)pass->arrays[SIGNS].buf)[at];
            cells.is_there[n] = 1;
            cells.c[n] = ((const float *)pass->arrays[COEFFICIENTS].buf)[at] * sign;
            cells.weight[n] = ((const float *)pass->arrays[WEIGHTS].buf)[at];
            cells.table[n] = ((const int16_t *)pass->arrays[TABLES].buf)[at];
            if (!search->has_slopes) continue;
            cells.signed_slope[n] = ((const float *)pass->arrays[SIGNED_SLOPES].buf)[at] * sign;
            cells.magnitude_slope[n] = ((const float *)pass->arrays[MAGNITUDE_SLOPES].buf)[at];
        }
        candidates(search, &cells, symbols[p], branch_costs);
        extend(ways, cost, branch_costs, cells.is_there, took_second[p]);
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
