/* The context networks: the tables of symbols of a coding pass, from what is decoded before them. The same integers as
 * `dfmcodec.codecs.wavelet.context`, where the model is described.
 */
#if !defined(TARGET_AVX2) && !defined(TARGET_AVX512)
#define TARGET_BASELINE
#endif
#include "context.h"

INLINE int groups_of(int inputs) { return (inputs + GROUP - 1) / GROUP; }

/* The rows of a chunk that view k sees. Where the chunk is no whole part of a row of the pass they are put together. */
static const int8_t *seen_by(const Pass *pass, const View *view, ptrdiff_t row, ptrdiff_t column, int count,
                             int8_t *workspace) {
    const int8_t *at = view->first + row * view->row_stride + column;
    if (count == CHUNK && column + CHUNK <= pass->columns) return at;
    memset(workspace, 0, CHUNK);
    for (int done = 0; done < count; row++, column = 0, at = view->first + row * view->row_stride) {
        const ptrdiff_t rest = pass->columns - column;
        const int length = rest < count - done ? (int)rest : count - done;
        memcpy(workspace + done, at, (size_t)length);
        done += length;
    }
    return workspace;
}

static void magnitudes(const int8_t *values, int8_t *out) {
    for (int n = 0; n < GROUP_BYTES; n++) out[n] = (int8_t)(values[n] < 0 ? -values[n] : values[n]);
}

static void every_group(Inputs *in, const Layer *layer) {
    in->count = layer->groups;
    for (int g = 0; g < in->count; g++) in->numbers[g] = g;
}

void NAME(outputs_of_chunk)(const Pass *pass, ptrdiff_t first, int count, Workspace *workspace) {
    static const int8_t nothing[CHUNK];
    int8_t copies[GROUP][CHUNK];
    Inputs *in = &workspace->in;
    const ptrdiff_t row = first / pass->columns, column = first % pass->columns;
    const int signed_groups = groups_of(pass->signed_count), views = pass->signed_count + pass->low_count;
    in->count = 0;
    for (int part = 0, k = 0, number = 0; part < 2; part++, number = 2 * signed_groups) {
        const int end = part ? views : pass->signed_count;
        for (; k < end; number++) {
            const int8_t *rows[GROUP];
            for (int i = 0; i < GROUP; i++, k++)
                rows[i] = k < end ? seen_by(pass, &pass->views[k], row, column, count, copies[i]) : nothing;
            if (k > end) k = end;
            const int is_every = byte_products->takes_every_group, other = number + signed_groups;
            int8_t *group = in->values + (is_every ? number : in->count) * GROUP_BYTES;
            int8_t *of_magnitudes = is_every ? in->values + other * GROUP_BYTES : group + GROUP_BYTES;
            if (!byte_products->interleave(rows, group)) {
                if (is_every) memset(group, 0, GROUP_BYTES);
                if (is_every && !part) memset(of_magnitudes, 0, GROUP_BYTES);
                continue;
            }
            in->numbers[in->count++] = number;
            if (part) continue;
            magnitudes(group, of_magnitudes);
            in->numbers[in->count++] = other;
        }
    }
    const Evaluate evaluate = byte_products->evaluate;
    evaluate(&pass->layers[0], in, workspace->hidden.values);
    every_group(&workspace->hidden, &pass->layers[1]);
    evaluate(&pass->layers[1], &workspace->hidden, in->values);
    every_group(in, &pass->layers[2]);
    evaluate(&pass->layers[2], in, workspace->sums);
}

static int prepare(Call *call, Arguments *a) {
    const ptrdiff_t h1 = a->c1.len / 4, h2 = a->c2.len / 4, inputs = a->available.len / 4, views = a->views.len / 24;
    const int32_t *available = a->available.buf;
    if (h1 < 1 || h2 < 1 || h1 > MAX_OUTPUTS || h2 > MAX_OUTPUTS || a->signed_count < 0 || a->signed_count > views ||
        views + a->signed_count != inputs || inputs < 1 || a->columns < 1) {
        return refuse(call, "a context network of these sizes is not possible");
    }
    Pass *pass = &a->pass;
    pass->signed_count = a->signed_count;
    pass->low_count = (int)views - a->signed_count;
    pass->columns = a->columns;
    const int signed_groups = groups_of(pass->signed_count), groups = 2 * signed_groups + groups_of(pass->low_count);
    const ptrdiff_t row_length = a->w1.len / h1;
    if (groups > MAX_GROUPS) {
        return refuse(call, "too many features");
    }
    if (!has_items(call, &a->w2, h1 * h2, 1, "w2") || !has_items(call, &a->w3, 2 * h2, 1, "w3") || !has_items(call, &a->c3, 2, 4, "c3"))
        return 0;
    for (ptrdiff_t k = 0; k < inputs; k++)
        if (available[k] < 0 || available[k] >= row_length) {
            return refuse(call, "a feature that the network does not have");
        }
    a->seen = malloc((size_t)views * sizeof(View));
    a->inputs_of = malloc((size_t)groups * GROUP * sizeof(int32_t));
    if (!a->seen || !a->inputs_of) return no_memory(call);
    const int64_t *given = a->views.buf; /* [views][plane, index, row stride] */
    for (ptrdiff_t k = 0; k < views; k++) {
        const int64_t plane = given[3 * k], index = given[3 * k + 1], stride = given[3 * k + 2];
        if (plane < 0 || plane > 2 || !is_position(index, a->planes[plane].len) || !SIZES(stride) ||
            stride > a->planes[plane].len ||
            (a->rows && index + (a->rows - 1) * stride + a->columns > a->planes[plane].len)) {
            return refuse(call, "a feature beyond its plane");
        }
        a->seen[k] = (View){(const int8_t *)a->planes[plane].buf + index, stride};
    }
    pass->views = a->seen;
    for (int i = 0; i < groups * GROUP; i++) a->inputs_of[i] = -1;
    for (int k = 0; k < pass->signed_count; k++) {
        a->inputs_of[k] = available[k];
        a->inputs_of[signed_groups * GROUP + k] = available[pass->signed_count + k];
    }
    for (int k = 0; k < pass->low_count; k++)
        a->inputs_of[2 * signed_groups * GROUP + k] = available[2 * pass->signed_count + k];
    if (!make_layer(&pass->layers[0], a->w1.buf, row_length, a->inputs_of, groups * GROUP, (int)h1, a->c1.buf, 0) ||
        !make_layer(&pass->layers[1], a->w2.buf, h1, NULL, (int)h1, (int)h2, a->c2.buf, 0) ||
        !make_layer(&pass->layers[2], a->w3.buf, h2, NULL, (int)h2, 2, a->c3.buf, 1))
        return no_memory(call);
    return 1;
}

/* The activations of layer 2 of `count` symbols, from groups [outputs / 4][CHUNK][4] to [count][outputs]. */
static void put_hidden(const int8_t *groups, int count, int outputs, uint8_t *out) {
    for (int n = 0; n < count; n++)
        for (int j = 0; j < outputs; j++) *out++ = (uint8_t)groups[j / GROUP * GROUP_BYTES + n * GROUP + j % GROUP];
}

void NAME(choose_of_chunk)(const Arguments *a, ptrdiff_t first, int count, const Workspace *workspace) {
    const ptrdiff_t means = a->classes.len / 2;
    const int8_t *quantizer = a->quantizers.buf;
    const int16_t *class_of = a->classes.buf;
    const int32_t class_count = class_of[means - 1] + 1;
    const int outputs = a->pass.layers[1].outputs;
    if (a->hidden.len) put_hidden(workspace->in.values, count, outputs, (uint8_t *)a->hidden.buf + first * outputs);
    for (int n = 0; n < count; n++) {
        const int32_t mean = (workspace->sums[CHUNK + n] + 128) >> 8;
        int32_t scale = ((workspace->sums[n] + 128) >> 8) + a->unit_scale, size = mean < 0 ? -mean : mean;
        scale = scale < 0 ? 0 : scale > a->last_scale ? a->last_scale : scale;
        size = class_of[size >= means ? means - 1 : size];
        const int32_t direct = quantizer[first + n] * a->per_quantizer + scale * class_count + size;
        ((int16_t *)a->table.buf)[first + n] =
            (int16_t)(scale <= a->last_direct ? direct : a->direct_tables + scale - a->last_direct - 1);
        ((int32_t *)a->sign.buf)[first + n] = mean < 0 ? -1 : 1;
    }
}

static void choose(const Arguments *a, Workspace *workspace) {
    const ptrdiff_t count = a->rows * a->columns;
    for (ptrdiff_t first = 0; first < count; first += CHUNK) {
        const int some = count - first < CHUNK ? (int)(count - first) : CHUNK;
        NAME(outputs_of_chunk)(&a->pass, first, some, workspace);
        NAME(choose_of_chunk)(a, first, some, workspace);
    }
}

void NAME(release)(Arguments *a) {
    free(a->seen);
    free(a->inputs_of);
    for (int layer = 0; layer < 3; layer++) free_layer(&a->pass.layers[layer]);
}

Workspace *NAME(room_for)(Call *call, Arguments *a) {
    const ptrdiff_t count = a->rows * a->columns;
    if (!byte_products->evaluate) return refuse(call, "no instruction set to multiply bytes"), NULL;
    if (!SIZES(a->rows, a->columns)) return refuse(call, "a pass without a size"), NULL;
    if (!has_items(call, &a->classes, 1, 2, "class_of_mean") || !has_items(call, &a->quantizers, count, 1, "quantizers") ||
        !prepare(call, a))
        return NULL;
    enum { ALIGNMENT = 64 };
    char *memory = malloc(sizeof(Workspace) + ALIGNMENT + sizeof memory); /* not all C libraries have aligned_alloc */
    if (!memory) return no_memory(call), NULL;
    char *first = memory + sizeof memory;
    void **workspace = (void **)(first + (ALIGNMENT - (uintptr_t)first % ALIGNMENT) % ALIGNMENT);
    workspace[-1] = memory;
    return (Workspace *)workspace;
}

void NAME(take_pass)(Call *call, Arguments *a) {
    a->w1 = take_buffer(call), a->c1 = take_buffer(call), a->w2 = take_buffer(call), a->c2 = take_buffer(call),
    a->w3 = take_buffer(call), a->c3 = take_buffer(call), a->available = take_buffer(call),
    a->signed_count = take_int(call), a->planes[0] = take_buffer(call), a->planes[1] = take_buffer(call),
    a->planes[2] = take_buffer(call), a->views = take_buffer(call), a->rows = take_size(call),
    a->columns = take_size(call), a->quantizers = take_buffer(call), a->classes = take_buffer(call),
    a->per_quantizer = take_int(call), a->direct_tables = take_int(call), a->unit_scale = take_int(call),
    a->last_scale = take_int(call), a->last_direct = take_int(call);
}

/* The tables of the symbols in some rows of a pass; see _compiled.pyi. */
int NAME(choose_tables)(Call *call) {
    Arguments a = {0};
    int result = 0;
    NAME(take_pass)(call, &a);
    a.table = take_buffer(call), a.sign = take_buffer(call), a.hidden = take_buffer(call);
    Workspace *workspace = NULL;
    const ptrdiff_t count = SIZES(a.rows, a.columns) ? a.rows * a.columns : PTRDIFF_MAX;
    if (has_items(call, &a.table, count, 2, "table") && has_items(call, &a.sign, count, 4, "sign")) workspace = NAME(room_for)(call, &a);
    if (workspace && (!a.hidden.len || has_items(call, &a.hidden, count * a.pass.layers[1].outputs, 1, "hidden"))) {
        byte_products->begin();
        choose(&a, workspace);
        byte_products->end();
        result = 1;
    }
    free_workspace(workspace);
    NAME(release)(&a);
    return result;
}
