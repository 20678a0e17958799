/* Derivatives of the bits of symbols with respect to their contexts, and to an adaptation of the last layer.
 *
 * Derivatives are propagated through the layers as bytes with a scale for each symbol, by the same matrix products as
 * the forward pass. Their rounding has little effect, because they only estimate the effect of a change of a symbol.
 */
#if !defined(TARGET_AVX2) && !defined(TARGET_AVX512)
#define TARGET_BASELINE
#endif
#include "context.h"
#include "maths.h"

/* Half the interval of the central differences that approximate slopes: about the effect of one symbol on outputs. The
 * best measured value. */
enum { SLOPE_REACH = 2 };

/* The bits of every entry for integers (scale, mean): [quantizers][scales][means][entries]. */
typedef struct {
    const float *bits;
    int means, scales;
} BitTable;

typedef struct {
    Layer back[2]; /* from layer 2 to layer 1, and from layer 1 to the features that are symbols */
    BitTable table;
    ptrdiff_t bits_count;
    const int32_t *symbols;
    float *targets[2]; /* the gradients with respect to planes 0 and 1 */
    ptrdiff_t targets_count[2];
} Gradient;

/* Derivatives of the bits of symbols with respect to scale and mean, by central differences; see
 * `slopes_of_bits` in tests/oracles/contexts.py. */
INLINE void slopes_of(const BitTable *table, int32_lanes quantizer, int32_lanes scale, int32_lanes mean,
                      int32_lanes symbol, float_lanes *grad_scale, float_lanes *grad_mean) {
#define LIMITED(x, count) most(least(x, (count) - 1), 0)
    const int32_lanes entry = most(least(symbol, RADIUS), -RADIUS) + RADIUS;
    const int32_lanes lower = LIMITED(scale - SLOPE_REACH, table->scales);
    const int32_lanes upper = LIMITED(scale + SLOPE_REACH, table->scales);
    const int32_lanes less = LIMITED(mean - SLOPE_REACH, table->means);
    const int32_lanes more = LIMITED(mean + SLOPE_REACH, table->means);
    const int32_lanes here = LIMITED(scale, table->scales), near = LIMITED(mean, table->means);
    const int32_lanes first = quantizer * table->scales;
#define BITS(s, m) (float_lanes) gather(table->bits, ((first + (s)) * table->means + (m)) * TABLE_SIZE + entry)
    *grad_scale = (BITS(upper, near) - BITS(lower, near)) * (0.5f / SLOPE_REACH);
    *grad_mean = (BITS(here, more) - BITS(here, less)) * (0.5f / SLOPE_REACH);
}

/* The slopes of the first `count` symbols of the queue; zeros beyond them. */
static void slopes_of_queue(const Gradient *gradient, const Choice *choice, const Queue *queue, int count,
                            const int32_t *sums, float *grad_scale, float *grad_mean) {
    int32_t quantizers[CHUNK] = {0}, symbols[CHUNK] = {0};
    for (int n = 0; n < count; n++) quantizers[n] = choice->given->quantizers[queue->symbols[n]];
    for (int n = 0; n < count; n++) symbols[n] = gradient->symbols[queue->symbols[n]];
    for (int n = 0; n < CHUNK; n += LANES) {
        float_lanes at_scale, at_mean;
        const int32_lanes scale = (load_int32(sums + n) + 128) >> 8, mean = (load_int32(sums + CHUNK + n) + 128) >> 8;
        slopes_of(&gradient->table, load_int32(quantizers + n), scale + UNIT_SCALE_INDEX,
                  mean + gradient->table.means / 2, load_int32(symbols + n), &at_scale, &at_mean);
        store(grad_scale + n, &at_scale);
        store(grad_mean + n, &at_mean);
    }
    memset(grad_scale + count, 0, (size_t)(CHUNK - count) * sizeof *grad_scale);
    memset(grad_mean + count, 0, (size_t)(CHUNK - count) * sizeof *grad_mean);
}

/* Derivatives of `count` rows through the activation: those of active units, as bytes in groups, and the scale of
 * each symbol. */
static void through_activation(float (*rows)[CHUNK], int count, const int8_t *activations, Inputs *out, float *scale) {
    const int groups = (count + GROUP - 1) / GROUP;
    for (int j = count; j < groups * GROUP; j++) memset(rows[j], 0, sizeof rows[j]);
    for (int n = 0; n < CHUNK; n += LANES) {
        int32_lanes largest = {0}; /* the bits of nonnegative floats are ordered as the floats */
        for (int g = 0; g < groups; g++) {
            const int32_lanes four = load_int32((const int32_t *)(activations + g * GROUP_BYTES + n * GROUP));
            for (int i = 0; i < GROUP; i++) {
                const int32_lanes a = four >> 8 * i & 0xFF, active = ~(((a - 1) | (126 - a)) >> 31);
                const int32_lanes row = (int32_lanes)load(rows[g * GROUP + i] + n) & active;
                const int32_lanes more = (row & INT32_MAX) - largest;
                largest += more & ~(more >> 31);
                store(rows[g * GROUP + i] + n, &row);
            }
        }
        const float_lanes size = (float_lanes)largest,
                          units = size * (1.0f / 127 / 64); /* an activation is a 64th of its sum */
        const float_lanes inverse = (float_lanes)((int32_lanes)(127.0f / size) & (-largest >> 31));
        store(scale + n, &units);
        for (int g = 0; g < groups; g++) {
            int32_lanes four = {0};
            for (int i = 0; i < GROUP; i++) {
                const float_lanes value = load(rows[g * GROUP + i] + n) * inverse;
                const float_lanes half = (float_lanes)((int32_lanes)all(0.5f) | ((int32_lanes)value & INT32_MIN));
                four |= (__builtin_convertvector(value + half, int32_lanes) & 0xFF) << 8 * i;
            }
            store(out->values + g * GROUP_BYTES + n * GROUP, &four);
        }
    }
    out->count = groups;
    for (int g = 0; g < groups; g++) out->numbers[g] = g;
}

static void combine_rows(const float *a, const float *b, float of_a, float of_b, float *out) {
    for (int n = 0; n < CHUNK; n++) out[n] = of_a * a[n] + of_b * b[n];
}

static void as_floats(const int32_t *sums, int count, float (*out)[CHUNK]) {
    for (int j = 0; j < count; j++)
        for (int n = 0; n < CHUNK; n++) out[j][n] = (float)sums[j * CHUNK + n];
}

static void add_row(float *target, const int32_t *sums, const float *scale, int count) {
    for (int n = 0; n < count; n++) target[n] += (float)sums[n] * scale[n];
}

/* Adjacent symbols of a row of the pass. */
typedef struct {
    ptrdiff_t row, column;
    int first, length; /* in the queue */
} Run;

static int find_runs(const Queue *queue, int count, ptrdiff_t columns, Run *runs) {
    int found = 0;
    for (int n = 0; n < count; n++) {
        const ptrdiff_t row = queue->symbols[n] / columns, column = queue->symbols[n] % columns;
        Run *last = found ? &runs[found - 1] : NULL;
        if (last && row == last->row && column == last->column + last->length)
            last->length++;
        else
            runs[found++] = (Run){row, column, n, 1};
    }
    return found;
}

/* Adds the derivatives of the bits of the first `count` symbols of the queue. An empty context has none: its table
 * does not depend on features. */
static void add_gradient_of_queue(const Choice *choice, int count, Workspace *workspace, const void *data) {
    const Gradient *gradient = data;
    const Pass *pass = &choice->pass;
    /* this leaves the activations of layer 1 in hidden, and those of layer 2 in in */
    NAME(choose_of_queue)(choice, count, workspace);
    const int h1 = pass->layers[0].outputs, h2 = pass->layers[1].outputs;
    const int8_t *w3 = choice->given->w3;
    float grad_scale[CHUNK], grad_mean[CHUNK], scale[CHUNK], scale_before[CHUNK];
    slopes_of_queue(gradient, choice, &workspace->queue, count, workspace->sums, grad_scale, grad_mean);
    for (int j = 0; j < h2; j++)
        combine_rows(grad_scale, grad_mean, w3[j] / 256.0f, w3[h2 + j] / 256.0f, workspace->derivatives[j]);
    Inputs *in = &workspace->in, *hidden = &workspace->hidden;
    int8_t activations[MAX_OUTPUTS * CHUNK];
    memcpy(activations, hidden->values, (size_t)pass->layers[0].padded_outputs * CHUNK);
    through_activation(workspace->derivatives, h2, in->values, hidden, scale);
    byte_products->evaluate(&gradient->back[0], hidden, workspace->sums);
    as_floats(workspace->sums, h1, workspace->derivatives);
    through_activation(workspace->derivatives, h1, activations, in, scale_before);
    byte_products->evaluate(&gradient->back[1], in, workspace->sums);
    for (int n = 0; n < CHUNK; n++) scale[n] *= scale_before[n];
    Run runs[CHUNK];
    const int run_count = find_runs(&workspace->queue, count, pass->columns, runs);
    for (int k = 0; k < pass->signed_count; k++) {
        const int64_t *view = choice->given->views + 3 * k;
        const ptrdiff_t half = gradient->targets_count[view[0]] / 2; /* for signed values, then for magnitudes */
        for (const Run *run = runs; run < runs + run_count; run++) {
            float *at = gradient->targets[view[0]] + view[1] + run->row * view[2] + run->column;
            const int32_t *sums = workspace->sums + k * CHUNK + run->first;
            add_row(at, sums, scale + run->first, run->length);
            add_row(at + half, sums + pass->signed_count * CHUNK, scale + run->first, run->length);
        }
    }
}

/* Transposes the weights of a layer, int8 [inputs][outputs]; column k of the result is columns[k]. */
static int8_t *transposed(const int8_t *weights, ptrdiff_t row_length, ptrdiff_t rows, const int32_t *columns,
                          ptrdiff_t count) {
    int8_t *result = malloc((size_t)(rows * count));
    for (ptrdiff_t k = 0; result && k < count; k++)
        for (ptrdiff_t j = 0; j < rows; j++)
            result[k * rows + j] = weights[j * row_length + (columns ? columns[k] : k)];
    return result;
}

/* Prepares the backward pass; otherwise rejects the call. */
static int prepare_gradient(Call *call, Gradient *gradient, const Choice *choice) {
    const ContextPass *given = choice->given;
    static const int32_t no_constants[MAX_OUTPUTS];
    int quantizers = 1;
    for (ptrdiff_t n = 0; n < choice->count; n++) {
        if (given->quantizers[n] < 0) return refuse(call, "a quantiser is negative");
        if (given->quantizers[n] >= quantizers) quantizers = given->quantizers[n] + 1;
    }
    const BitTable *table = &gradient->table;
    if (table->scales < 1 || table->means < 1 || table->scales > MAX_OUTPUTS || table->means > MAX_OUTPUTS)
        return refuse(call, "a table of bits of these sizes is not possible");
    if (gradient->bits_count < (ptrdiff_t)quantizers * table->scales * table->means * TABLE_SIZE)
        return refuse(call, "bits has too few items");
    for (int k = 0; k < given->signed_count; k++) {
        const int64_t plane = given->views[3 * k];
        if (plane > 1 || gradient->targets_count[plane] / 2 < plane_count(given, plane))
            return refuse(call, "gradients do not match their planes");
    }
    const int h1 = choice->pass.layers[0].outputs, h2 = choice->pass.layers[1].outputs, seen = 2 * given->signed_count;
    if (seen > MAX_OUTPUTS) return refuse(call, "too many features");
    int8_t *back_2 = transposed(given->w2, h1, h2, NULL, h1);
    int8_t *back_1 = transposed(given->w1, given->w1_count / h1, h1, given->available, seen);
    const int is_made = back_1 && back_2 && make_layer(&gradient->back[0], back_2, h2, NULL, h2, h1, no_constants, 1) &&
                        make_layer(&gradient->back[1], back_1, h1, NULL, h1, seen, no_constants, 1);
    free(back_1), free(back_2);
    return is_made || no_memory(call);
}

int NAME(add_context_gradient)(Call *call, const AddContextGradient *a) {
    Choice choice = {.given = &a->coding_pass, .table = a->table, .sign = a->sign};
    choice.count = a->coding_pass.rows * a->coding_pass.columns;
    choice.hidden = a->hidden_count ? a->hidden : NULL;
    Gradient gradient = {.table = {a->bits, a->means, a->scales}, .bits_count = a->bits_count, .symbols = a->symbols};
    gradient.targets[0] = a->grad_symbols, gradient.targets_count[0] = a->grad_symbols_count;
    gradient.targets[1] = a->grad_coarser, gradient.targets_count[1] = a->grad_coarser_count;
    Workspace *workspace = NAME(begin_pass)(call, &choice);
    const int is_ready =
        workspace && (!choice.hidden || has_items(call, a, hidden, choice.count * a->coding_pass.c2_count)) &&
        prepare_gradient(call, &gradient, &choice);
    if (is_ready) NAME(visit_symbols)(&choice, workspace, add_gradient_of_queue, &gradient);
    free_aligned(workspace);
    free_layer(&gradient.back[0]), free_layer(&gradient.back[1]);
    NAME(release)(&choice);
    return is_ready;
}

/* Adds the derivatives of the bits of the chosen symbols with respect to the weights of the last layer. */
static void add_adaptation_gradient(const AdaptationGradient *a, const BitTable *table, int width) {
    for (ptrdiff_t first = 0; first < a->chosen_count; first += LANES) {
        const int some = a->chosen_count - first < LANES ? (int)(a->chosen_count - first) : LANES;
        int32_t quantizers[LANES] = {0}, scales[LANES] = {0}, means[LANES] = {0}, symbols[LANES] = {0};
        for (int l = 0; l < some; l++) {
            const int64_t n = a->chosen[first + l], band = a->band[n];
            const uint8_t *hidden = a->hidden + n * width;
            float outputs[2];
            for (int i = 0; i < 2; i++) {
                int32_t sum = CONSTANT_UNIT * a->constants[2 * band + i];
                for (int j = 0; j < width; j++) sum += hidden[j] * a->maps[i * width + j];
                outputs[i] = (a->sums[2 * n + i] + (float)sum) / 256.0f;
            }
            quantizers[l] = a->quantizers[n];
            scales[l] = (int)__builtin_lrintf(outputs[0]) + UNIT_SCALE_INDEX;
            means[l] = (int)__builtin_lrintf(outputs[1]) + table->means / 2;
            symbols[l] = a->symbols[n];
        }
        float_lanes grad_sums[2];
        slopes_of(table, load_int32(quantizers), load_int32(scales), load_int32(means), load_int32(symbols),
                  &grad_sums[0], &grad_sums[1]);
        for (int l = 0; l < some; l++) {
            const int64_t n = a->chosen[first + l], band = a->band[n];
            const uint8_t *hidden = a->hidden + n * width;
            for (int i = 0; i < 2; i++) {
                a->grad_constants[2 * band + i] += grad_sums[i][l];
                for (int j = 0; j < width; j++) a->grad_maps[i * width + j] += grad_sums[i][l] * (float)hidden[j];
            }
        }
    }
}

int NAME(adaptation_gradient)(Call *call, const AdaptationGradient *a) {
    const BitTable table = {a->bits, a->means, a->scales};
    const ptrdiff_t count = a->symbols_count, bands = a->constants_count / 2, width = a->maps_count / 2;
    if (table.scales < 1 || table.means < 1 || table.scales > MAX_OUTPUTS || table.means > MAX_OUTPUTS || width < 1 ||
        width > MAX_OUTPUTS)
        return refuse(call, "a table of bits or a layer of these sizes is not possible");
    const ptrdiff_t quantizers = a->bits_count / ((ptrdiff_t)table.scales * table.means * TABLE_SIZE);
    for (ptrdiff_t k = 0; k < a->chosen_count; k++) {
        const int64_t n = a->chosen[k];
        const int is_symbol = n >= 0 && n < count;
        const int64_t band = is_symbol ? a->band[n] : 0;
        const int quantizer = is_symbol ? a->quantizers[n] : 0;
        if (!is_symbol || band < 0 || band >= bands || quantizer < 0 || quantizer >= quantizers)
            return refuse(call, "a symbol, band or quantiser that does not exist");
    }
    memset(a->grad_maps, 0, (size_t)a->grad_maps_count * sizeof *a->grad_maps);
    memset(a->grad_constants, 0, (size_t)a->grad_constants_count * sizeof *a->grad_constants);
    add_adaptation_gradient(a, &table, (int)width);
    return 1;
}
