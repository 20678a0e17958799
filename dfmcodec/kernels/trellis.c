/* The search for symbols by rate and distortion: paths through the trellis (Viterbi 1967), as
 * `dfmcodec.encoder.latent.trellis_search` describes it. 16 cells are worked on at a time.
 */
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
    Py_buffer arrays[ARRAYS];
    Py_ssize_t rows, columns;
} Pass;

typedef struct {
    Pass passes[MAX_PASSES];
    int count, direct_tables, per_quantizer, has_slopes;
    Py_buffer bits, offsets, companded, ways;
    Py_ssize_t columns; /* cells of a row */
} Search;

/* Which state and which branch (2 quantiser + parity of the symbol) two ways into each state come from. */
typedef struct {
    int8_t source[2], branch[2];
} Ways;

/* The cells of a chunk, and what each pass has of them. */
typedef struct {
    Py_ssize_t at[LANES]; /* the index of a cell's symbol in the pass */
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
FOR_EACH_TARGET
static void candidates(const Search *search, const Cells *given, int32_t symbols[][LANES], float prices[][LANES]) {
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
            float same_price = of_near[n], other_price = of_less[n] < of_more[n] ? of_less[n] : of_more[n];
            /* zero is even: it competes with the nearest symbol or with the two around it */
            const float rival = is_odd ? other_price : same_price;
            const int is_better = of_zero[n] < rival;
            if (is_better && is_odd) other = 0, other_price = of_zero[n];
            if (is_better && !is_odd) same = 0, same_price = of_zero[n];
            symbols[2 * quantizer][n] = is_odd ? other : same;
            symbols[2 * quantizer + 1][n] = is_odd ? same : other;
            prices[2 * quantizer][n] = is_odd ? other_price : same_price;
            prices[2 * quantizer + 1][n] = is_odd ? same_price : other_price;
        }
    }
}

/* One step of all paths: the cheaper of two ways into each state, remembered as a bit. */
FOR_EACH_TARGET
static void extend(const Ways *ways, float cost[][LANES], float prices[][LANES], const int *is_there,
                   uint8_t *took_second) {
    float least[STATES][LANES];
    uint8_t second[LANES] = {0};
    for (int state = 0; state < STATES; state++) {
        const Ways *w = &ways[state];
        for (int n = 0; n < LANES; n++) {
            const float by_first = cost[w->source[0]][n] + prices[w->branch[0]][n];
            const float by_second = cost[w->source[1]][n] + prices[w->branch[1]][n];
            second[n] |= (uint8_t)((by_second < by_first) << state);
            least[state][n] = by_second < by_first ? by_second : by_first;
        }
    }
    for (int n = 0; n < LANES; n++) took_second[n] = second[n];
    for (int state = 0; state < STATES; state++)
        for (int n = 0; n < LANES; n++) cost[state][n] = is_there[n] ? least[state][n] : cost[state][n];
}

/* Finds the paths of the cells number `first` .. of some rows, and writes their symbols. */
static void search_chunk(const Search *search, Py_ssize_t row, Py_ssize_t column, int count) {
    const Ways *ways = search->ways.buf;
    float cost[STATES][LANES], prices[2 * QUANTIZERS][LANES];
    int32_t symbols[MAX_PASSES][2 * QUANTIZERS][LANES];
    uint8_t took_second[MAX_PASSES][LANES];
    for (int state = 0; state < STATES; state++)
        for (int n = 0; n < LANES; n++) cost[state][n] = state ? UNREACHED : 0;
    for (int p = 0; p < search->count; p++) {
        const Pass *pass = &search->passes[p];
        Cells cells = {{0}, {0}, {0}, {0}, {0}, {0}, {0}};
        int some = row < pass->rows ? (int)(pass->columns - column < count ? pass->columns - column : count) : 0;
        for (int n = 0; n < some; n++) {
            const Py_ssize_t at = row * pass->columns + column + n;
            const float sign = (float)((const int32_t *)pass->arrays[SIGNS].buf)[at];
            cells.is_there[n] = 1;
            cells.c[n] = ((const float *)pass->arrays[COEFFICIENTS].buf)[at] * sign;
            cells.weight[n] = ((const float *)pass->arrays[WEIGHTS].buf)[at];
            cells.table[n] = ((const int16_t *)pass->arrays[TABLES].buf)[at];
            if (!search->has_slopes) continue;
            cells.signed_slope[n] = ((const float *)pass->arrays[SIGNED_SLOPES].buf)[at] * sign;
            cells.magnitude_slope[n] = ((const float *)pass->arrays[MAGNITUDE_SLOPES].buf)[at];
        }
        candidates(search, &cells, symbols[p], prices);
        extend(ways, cost, prices, cells.is_there, took_second[p]);
    }
    for (int n = 0; n < count; n++) {
        int state = 0;
        for (int s = 1; s < STATES; s++)
            if (cost[s][n] < cost[state][n]) state = s;
        for (int p = search->count - 1; p >= 0; p--) {
            const Pass *pass = &search->passes[p];
            if (row >= pass->rows || column + n >= pass->columns) continue;
            const Py_ssize_t at = row * pass->columns + column + n;
            const int taken = took_second[p][n] >> state & 1;
            const int32_t sign = ((const int32_t *)pass->arrays[SIGNS].buf)[at];
            ((int32_t *)pass->arrays[SYMBOLS].buf)[at] = symbols[p][ways[state].branch[taken]][n] * sign;
            state = ways[state].source[taken];
        }
    }
}

/* Takes the arrays of a pass from a tuple (rows, columns, arrays ..). */
static int take_pass(Search *search, PyObject *item) {
    Pass *pass = &search->passes[search->count];
    memset(pass, 0, sizeof *pass);
    PyObject *objects[ARRAYS];
    if (!PyArg_ParseTuple(item, "nnOOOOOOO", &pass->rows, &pass->columns, &objects[0], &objects[1], &objects[2],
                          &objects[3], &objects[4], &objects[5], &objects[6]))
        return 0;
    search->count++;
    if (!SIZES(pass->rows, pass->columns)) return PyErr_SetString(PyExc_ValueError, "a pass without a size"), 0;
    static const int sizes[ARRAYS] = {4, 4, 4, 2, 4, 4, 4};
    static const char *const names[ARRAYS] = {"coefficients", "weights", "signs", "tables", "slope", "slope", "symbols"};
    for (int i = 0; i < ARRAYS; i++) {
        const int is_slope = i == SIGNED_SLOPES || i == MAGNITUDE_SLOPES;
        if (PyObject_GetBuffer(objects[i], &pass->arrays[i], i == SYMBOLS ? PyBUF_WRITABLE : PyBUF_SIMPLE)) return 0;
        if ((!is_slope || search->has_slopes) &&
            !has_items(&pass->arrays[i], pass->rows * pass->columns, sizes[i], names[i]))
            return 0;
    }
    const int16_t *table = pass->arrays[TABLES].buf;
    const Py_ssize_t tables = search->bits.len / (4 * ENTRIES);
    if (pass->columns < 1) return PyErr_SetString(PyExc_ValueError, "a pass without size"), 0;
    for (Py_ssize_t n = 0; n < pass->rows * pass->columns; n++)
        if (table[n] < 0 || table[n] >= tables)
            return PyErr_SetString(PyExc_ValueError, "a table that does not exist"), 0;
    return 1;
}

/* Chooses the symbols of some rows of cells; see _compiled.pyi. */
static PyObject *choose_paths(PyObject *self, PyObject *args) {
    (void)self;
    Search *search = calloc(1, sizeof *search);
    PyObject *passes, *result = NULL;
    Py_ssize_t first, last;
    if (!search) return PyErr_NoMemory();
    if (!PyArg_ParseTuple(args, "Opy*y*y*y*(ii)nnn", &passes, &search->has_slopes, &search->bits, &search->offsets,
                          &search->companded, &search->ways, &search->direct_tables, &search->per_quantizer,
                          &search->columns, &first, &last)) {
        free(search);
        return NULL;
    }
    const Py_ssize_t count = PySequence_Size(passes), tables = search->bits.len / (4 * ENTRIES);
    const Ways *ways = search->ways.buf;
    int is_possible = SIZES(search->columns, first, last) && count >= 0 && count <= MAX_PASSES &&
                      search->companded.len >= 4 && first >= 0 && first <= last && search->columns >= 1 &&
                      search->per_quantizer > 0 && search->ways.len >= (Py_ssize_t)(STATES * sizeof *ways) &&
                      QUANTIZERS * search->per_quantizer <= tables && search->direct_tables <= tables;
    for (int state = 0; state < STATES && is_possible; state++)
        for (int i = 0; i < 2; i++)
            is_possible = is_possible && ways[state].source[i] >= 0 && ways[state].source[i] < STATES &&
                          ways[state].branch[i] >= 0 && ways[state].branch[i] < 2 * QUANTIZERS;
    if (!is_possible) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "a search of these sizes is not possible");
        goto done;
    }
    if (!has_items(&search->offsets, tables * ENTRIES, 4, "offsets")) goto done;
    for (Py_ssize_t p = 0; p < count; p++) {
        PyObject *item = PySequence_GetItem(passes, p);
        const int is_taken = item && take_pass(search, item);
        Py_XDECREF(item); /* the passes hold their arrays */
        if (!is_taken) goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t row = first; row < last; row++)
        for (Py_ssize_t column = 0; column < search->columns; column += LANES)
            search_chunk(search, row, column,
                         search->columns - column < LANES ? (int)(search->columns - column) : LANES);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    for (int p = 0; p < search->count; p++)
        for (int i = 0; i < ARRAYS; i++) PyBuffer_Release(&search->passes[p].arrays[i]);
    PyBuffer_Release(&search->bits), PyBuffer_Release(&search->offsets), PyBuffer_Release(&search->companded);
    PyBuffer_Release(&search->ways);
    free(search);
    return result;
}

PyMethodDef trellis_methods[] = {
    {"choose_paths", choose_paths, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
