/* Derivatives of the bits of symbols: by what their contexts see, and by an adaptation of the last layer.
 *
 * Derivatives go back through the layers as bytes with a scale for each symbol, by the same products as
 * activations go forward; how they are rounded hardly matters, as they guess what a change of a symbol does.
 */
#if !defined(TARGET_AVX2) && !defined(TARGET_AVX512)
#define TARGET_BASELINE
#endif
#include "context.h"
#include "maths.h"

typedef struct {
    Layer back[2]; /* from layer 2 to layer 1, and from layer 1 to the features that are symbols */
    Buffer symbols, bits, targets[2];
    int means, scales; /* of the table of bits [quantizers][scales][means][entries] */
} Gradient;

enum { ENTRY_COUNT = 130, LARGEST_SYMBOL = 64, REACH = 2 };

/* The change of the bits of symbols by scale and mean, as central differences; see `ContextModel.slopes`. */
INLINE void slopes_of(const Gradient *gradient, int32_lanes quantizer, int32_lanes scale, int32_lanes mean,
                      int32_lanes symbol, float_lanes *by_scale, float_lanes *by_mean) {
#define LIMITED(x, count) most(least(x, (count) - 1), 0)
    const int32_lanes entry = most(least(symbol, LARGEST_SYMBOL), -LARGEST_SYMBOL) + LARGEST_SYMBOL;
    const int32_lanes lower = LIMITED(scale - REACH, gradient->scales), upper = LIMITED(scale + REACH, gradient->scales);
    const int32_lanes less = LIMITED(mean - REACH, gradient->means), more = LIMITED(mean + REACH, gradient->means);
    const int32_lanes here = LIMITED(scale, gradient->scales), near = LIMITED(mean, gradient->means);
    const int32_lanes first = quantizer * gradient->scales;
#define BITS(s, m) (float_lanes) gather(gradient->bits.buf, ((first + (s)) * gradient->means + (m)) * ENTRY_COUNT + entry)
    *by_scale = (BITS(upper, near) - BITS(lower, near)) * (0.5f / REACH);
    *by_mean = (BITS(here, more) - BITS(here, less)) * (0.5f / REACH);
}

/* The slopes of a chunk; zeros beyond its `count` symbols. */
static void slopes_of_chunk(const Gradient *gradient, const Arguments *a, ptrdiff_t first, int count,
                            const int32_t *sums, float *by_scale, float *by_mean) {
    int32_t quantizers[CHUNK] = {0}, symbols[CHUNK] = {0};
    for (int n = 0; n < count; n++) quantizers[n] = ((const int8_t *)a->quantizers.buf)[first + n];
    memcpy(symbols, (const int32_t *)gradient->symbols.buf + first, (size_t)count * sizeof *symbols);
    for (int n = 0; n < CHUNK; n += LANES) {
        float_lanes of_scale, of_mean;
        slopes_of(gradient, load_int32(quantizers + n), ((load_int32(sums + n) + 128) >> 8) + a->unit_scale,
                  ((load_int32(sums + CHUNK + n) + 128) >> 8) + gradient->means / 2, load_int32(symbols + n), &of_scale,
                  &of_mean);
        store(by_scale + n, &of_scale);
        store(by_mean + n, &of_mean);
    }
    memset(by_scale + count, 0, (size_t)(CHUNK - count) * sizeof *by_scale);
    memset(by_mean + count, 0, (size_t)(CHUNK - count) * sizeof *by_mean);
}

/* Derivatives of `count` rows through the activation: those of active units, as bytes in groups, and the scale of
 * each symbol. */
static void through_activation(float (*rows)[CHUNK], int count, const int8_t *activations, Inputs *out, float *scale) {
    const int groups = (count + GROUP - 1) / GROUP;
    for (int j = count; j < groups * GROUP; j++) memset(rows[j], 0, sizeof rows[j]);
    for (int n = 0; n < CHUNK; n += LANES) {
        int32_lanes largest = {0}; /* the digits of numbers that are not negative are in their order */
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

static void add_gradient_of_chunk(const Arguments *a, const Gradient *gradient, ptrdiff_t first, int count,
                                  Workspace *workspace) {
    const Pass *pass = &a->pass;
    NAME(outputs_of_chunk)(pass, first, count, workspace); /* leaves the activations of layer 1 in hidden, of layer 2 in in */
    NAME(choose_of_chunk)(a, first, count, workspace);
    const int h1 = pass->layers[0].outputs, h2 = pass->layers[1].outputs;
    const int8_t *w3 = a->w3.buf;
    float by_scale[CHUNK], by_mean[CHUNK], scale[CHUNK], scale_before[CHUNK];
    slopes_of_chunk(gradient, a, first, count, workspace->sums, by_scale, by_mean);
    for (int j = 0; j < h2; j++)
        combine_rows(by_scale, by_mean, w3[j] / 256.0f, w3[h2 + j] / 256.0f, workspace->derivatives[j]);
    Inputs *in = &workspace->in, *hidden = &workspace->hidden;
    int8_t activations[MAX_OUTPUTS * CHUNK];
    memcpy(activations, hidden->values, (size_t)pass->layers[0].padded_outputs * CHUNK);
    through_activation(workspace->derivatives, h2, in->values, hidden, scale);
    byte_products->evaluate(&gradient->back[0], hidden, workspace->sums);
    as_floats(workspace->sums, h1, workspace->derivatives);
    through_activation(workspace->derivatives, h1, activations, in, scale_before);
    byte_products->evaluate(&gradient->back[1], in, workspace->sums);
    for (int n = 0; n < CHUNK; n++) scale[n] *= scale_before[n];
    for (int k = 0; k < pass->signed_count; k++) {
        const int64_t *view = (const int64_t *)a->views.buf + 3 * k;
        const Buffer *target = &gradient->targets[view[0]];
        const ptrdiff_t half = target->len / 8; /* slopes by signed values, then by magnitudes */
        ptrdiff_t row = first / pass->columns, column = first % pass->columns;
        for (int done = 0; done < count; row++, column = 0) {
            const ptrdiff_t rest = pass->columns - column;
            const int length = rest < count - done ? (int)rest : count - done;
            float *at = (float *)target->buf + view[1] + row * view[2] + column;
            add_row(at, workspace->sums + k * CHUNK + done, scale + done, length);
            add_row(at + half, workspace->sums + (pass->signed_count + k) * CHUNK + done, scale + done, length);
            done += length;
        }
    }
}

/* The weights of a layer the other way round, int8 [inputs][outputs]; column k of the result is columns[k]. */
static int8_t *transposed(const int8_t *weights, ptrdiff_t row_length, ptrdiff_t rows, const int32_t *columns,
                          ptrdiff_t count) {
    int8_t *result = malloc((size_t)(rows * count));
    for (ptrdiff_t k = 0; result && k < count; k++)
        for (ptrdiff_t j = 0; j < rows; j++)
            result[k * rows + j] = weights[j * row_length + (columns ? columns[k] : k)];
    return result;
}

/* Chooses the tables of some rows of a pass, and adds the derivative of the bits of their symbols to the slopes of what
 * they see; see _compiled.pyi. */
int NAME(add_gradient)(Call *call) {
    Arguments a = {0};
    Gradient gradient;
    memset(&gradient, 0, sizeof gradient);
    int result = 0;
    Workspace *workspace = NULL;
    int8_t *back_1 = NULL, *back_2 = NULL;
    static const int32_t no_constants[MAX_OUTPUTS];
    NAME(take_pass)(call, &a);
    a.table = take_buffer(call), a.sign = take_buffer(call), a.hidden = take_buffer(call);
    gradient.symbols = take_buffer(call), gradient.bits = take_buffer(call), gradient.scales = take_int(call),
    gradient.means = take_int(call), gradient.targets[0] = take_buffer(call),
    gradient.targets[1] = take_buffer(call);
    const ptrdiff_t count = SIZES(a.rows, a.columns) ? a.rows * a.columns : PTRDIFF_MAX;
    if (!has_items(call, &a.table, count, 2, "table") || !has_items(call, &a.sign, count, 4, "sign") ||
        !has_items(call, &gradient.symbols, count, 4, "symbols") || !(workspace = NAME(room_for)(call, &a))) goto done;
    const int8_t *quantizer = a.quantizers.buf;
    int quantizers = 1;
    for (ptrdiff_t n = 0; n < count; n++) {
        if (quantizer[n] < 0) {
            refuse(call, "a quantiser is negative");
            goto done;
        }
        if (quantizer[n] >= quantizers) quantizers = quantizer[n] + 1;
    }
    if (gradient.scales < 1 || gradient.means < 1 || gradient.scales > MAX_OUTPUTS || gradient.means > MAX_OUTPUTS ||
        !has_items(call, &gradient.bits, (ptrdiff_t)quantizers * gradient.scales * gradient.means * ENTRY_COUNT, 4,
                   "bits")) {
        if (!*call->error) refuse(call, "a table of bits of these sizes is not possible");
        goto done;
    }
    for (int k = 0; k < a.signed_count; k++) {
        const int64_t plane = ((const int64_t *)a.views.buf)[3 * k];
        if (plane > 1 || gradient.targets[plane].len / 8 < a.planes[plane].len) {
            refuse(call, "slopes do not match their planes");
            goto done;
        }
    }
    const int h1 = a.pass.layers[0].outputs, h2 = a.pass.layers[1].outputs, seen = 2 * a.signed_count;
    if (a.hidden.len && !has_items(call, &a.hidden, count * h2, 1, "hidden")) goto done;
    if (seen > MAX_OUTPUTS) {
        refuse(call, "too many features");
        goto done;
    }
    back_2 = transposed(a.w2.buf, h1, h2, NULL, h1);
    back_1 = transposed(a.w1.buf, a.w1.len / h1, h1, a.available.buf, seen);
    if (!back_1 || !back_2 || !make_layer(&gradient.back[0], back_2, h2, NULL, h2, h1, no_constants, 1) ||
        !make_layer(&gradient.back[1], back_1, h1, NULL, h1, seen, no_constants, 1)) {
        no_memory(call);
        goto done;
    }
    byte_products->begin();
    for (ptrdiff_t first = 0; first < count; first += CHUNK)
        add_gradient_of_chunk(&a, &gradient, first, count - first < CHUNK ? (int)(count - first) : CHUNK, workspace);
    byte_products->end();
    result = 1;
done:
    free(back_1), free(back_2), free_workspace(workspace);
    free_layer(&gradient.back[0]), free_layer(&gradient.back[1]);
    NAME(release)(&a);
    return result;
}

/* The symbols of a sample, and an adaptation of the last layer: integers of its units. */
typedef struct {
    Buffer hidden, sums, band, symbols, quantizers, chosen, maps, constants, by_maps, by_constants;
    int unit; /* of constants */
} Adaptation;

/* Adds the derivative of the bits of the chosen symbols by the sums of the last layer to those by its weights. */
static void add_adaptation_gradient(const Adaptation *c, const Gradient *gradient, int unit_scale, int width) {
    const int32_t *maps = c->maps.buf, *constants = c->constants.buf;
    float *by_maps = c->by_maps.buf, *by_constants = c->by_constants.buf;
    const int64_t *chosen = c->chosen.buf;
    const ptrdiff_t count = c->chosen.len / 8;
    for (ptrdiff_t first = 0; first < count; first += LANES) {
        const int some = count - first < LANES ? (int)(count - first) : LANES;
        int32_t quantizers[LANES] = {0}, scales[LANES] = {0}, means[LANES] = {0}, symbols[LANES] = {0};
        for (int l = 0; l < some; l++) {
            const int64_t n = chosen[first + l], band = ((const int64_t *)c->band.buf)[n];
            const uint8_t *hidden = (const uint8_t *)c->hidden.buf + n * width;
            float outputs[2];
            for (int i = 0; i < 2; i++) {
                int32_t sum = c->unit * constants[2 * band + i];
                for (int j = 0; j < width; j++) sum += hidden[j] * maps[i * width + j];
                outputs[i] = (((const float *)c->sums.buf)[2 * n + i] + (float)sum) / 256.0f;
            }
            quantizers[l] = ((const int8_t *)c->quantizers.buf)[n];
            scales[l] = (int)__builtin_lrintf(outputs[0]) + unit_scale;
            means[l] = (int)__builtin_lrintf(outputs[1]) + gradient->means / 2;
            symbols[l] = ((const int32_t *)c->symbols.buf)[n];
        }
        float_lanes by[2];
        slopes_of(gradient, load_int32(quantizers), load_int32(scales), load_int32(means), load_int32(symbols), &by[0],
                  &by[1]);
        for (int l = 0; l < some; l++) {
            const int64_t n = chosen[first + l], band = ((const int64_t *)c->band.buf)[n];
            const uint8_t *hidden = (const uint8_t *)c->hidden.buf + n * width;
            for (int i = 0; i < 2; i++) {
                by_constants[2 * band + i] += by[i][l];
                for (int j = 0; j < width; j++) by_maps[i * width + j] += by[i][l] * (float)hidden[j];
            }
        }
    }
}

/* Whether the arrays of an adaptation's gradient match; otherwise refuses the call. */
static int check_adaptation(Call *call, const Adaptation *c, const Gradient *gradient) {
    const ptrdiff_t count = c->symbols.len / 4, bands = c->constants.len / 8, width = c->maps.len / 8;
    if (gradient->scales < 1 || gradient->means < 1 || gradient->scales > MAX_OUTPUTS ||
        gradient->means > MAX_OUTPUTS || width < 1 || width > MAX_OUTPUTS) {
        return refuse(call, "a table of bits or a layer of these sizes is not possible");
    }
    const ptrdiff_t quantizers =
        gradient->bits.len / ((ptrdiff_t)4 * gradient->scales * gradient->means * ENTRY_COUNT);
    if (!has_items(call, &c->hidden, count * width, 1, "hidden") || !has_items(call, &c->sums, 2 * count, 4, "sums") ||
        !has_items(call, &c->band, count, 8, "band") || !has_items(call, &c->quantizers, count, 1, "quantizers") ||
        !has_items(call, &c->by_maps, 2 * width, 4, "by_maps") || !has_items(call, &c->by_constants, 2 * bands, 4, "by_constants"))
        return 0;
    for (ptrdiff_t k = 0; k < c->chosen.len / 8; k++) {
        const int64_t n = ((const int64_t *)c->chosen.buf)[k];
        const int is_symbol = n >= 0 && n < count;
        const int64_t band = is_symbol ? ((const int64_t *)c->band.buf)[n] : 0;
        const int quantizer = is_symbol ? ((const int8_t *)c->quantizers.buf)[n] : 0;
        if (is_symbol && band >= 0 && band < bands && quantizer >= 0 && quantizer < quantizers) continue;
        return refuse(call, "a symbol, band or quantiser that does not exist");
    }
    return 1;
}

/* The derivative of the bits of symbols by an adaptation; see _compiled.pyi. */
int NAME(adaptation_gradient)(Call *call) {
    Adaptation c;
    Gradient gradient;
    memset(&c, 0, sizeof c), memset(&gradient, 0, sizeof gradient);
    int unit_scale;
    int result = 0;
    c.hidden = take_buffer(call), c.sums = take_buffer(call), c.band = take_buffer(call),
    c.symbols = take_buffer(call), c.quantizers = take_buffer(call), c.chosen = take_buffer(call),
    c.maps = take_buffer(call), c.constants = take_buffer(call), c.unit = take_int(call),
    gradient.bits = take_buffer(call), gradient.scales = take_int(call), gradient.means = take_int(call),
    unit_scale = take_int(call), c.by_maps = take_buffer(call), c.by_constants = take_buffer(call);
    if (check_adaptation(call, &c, &gradient)) {
        memset(c.by_maps.buf, 0, (size_t)c.by_maps.len);
        memset(c.by_constants.buf, 0, (size_t)c.by_constants.len);
        add_adaptation_gradient(&c, &gradient, unit_scale, (int)(c.maps.len / 8));
        result = 1;
    }
    return result;
}
