/* The context networks, which choose the tables of the symbols of a coding pass from previously decoded symbols.
 * `dfmcodec.codecs.wavelet.context` describes the model. All integers are equal to those of its NumPy implementation.
 */
#if !defined(TARGET_AVX2) && !defined(TARGET_AVX512)
#define TARGET_BASELINE
#endif
#include "context.h"

INLINE int groups_of(int inputs) { return (inputs + GROUP - 1) / GROUP; }

/* The features of view k for a chunk. They are copied together if the chunk extends over several rows of the pass. */
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

static int prepare(Call *call, Choice *choice) {
    const ContextPass *given = choice->given;
    const ptrdiff_t h1 = given->c1_count, h2 = given->c2_count, inputs = given->available_count;
    const ptrdiff_t views = given->views_count / 3, signed_count = given->signed_count;
    if (h1 < 1 || h2 < 1 || h1 > MAX_OUTPUTS || h2 > MAX_OUTPUTS || signed_count < 0 || signed_count > views ||
        views + signed_count != inputs || inputs < 1 || given->columns < 1)
        return refuse(call, "a context network of these sizes is not possible");
    Pass *pass = &choice->pass;
    pass->signed_count = (int)signed_count;
    pass->low_count = (int)(views - signed_count);
    pass->columns = given->columns;
    const int signed_groups = groups_of(pass->signed_count), groups = 2 * signed_groups + groups_of(pass->low_count);
    const ptrdiff_t row_length = given->w1_count / h1;
    if (groups > MAX_GROUPS) return refuse(call, "too many features");
    for (ptrdiff_t k = 0; k < inputs; k++)
        if (given->available[k] < 0 || given->available[k] >= row_length)
            return refuse(call, "a feature that the network does not have");
    choice->seen = malloc((size_t)views * sizeof(View));
    choice->inputs_of = malloc((size_t)groups * GROUP * sizeof(int32_t));
    if (!choice->seen || !choice->inputs_of) return no_memory(call);
    for (ptrdiff_t k = 0; k < views; k++) { /* [views][plane, index, row stride] */
        const int64_t plane = given->views[3 * k], index = given->views[3 * k + 1], stride = given->views[3 * k + 2];
        const ptrdiff_t count = plane_count(given, plane);
        if (plane < 0 || plane > 2 || !is_position(index, count) || !SIZES(stride) || stride > count ||
            (given->rows && index + (given->rows - 1) * stride + given->columns > count))
            return refuse(call, "a feature beyond its plane");
        choice->seen[k] = (View){plane_of(given, plane) + index, stride};
    }
    pass->views = choice->seen;
    int32_t *inputs_of = choice->inputs_of;
    for (int i = 0; i < groups * GROUP; i++) inputs_of[i] = -1;
    for (int k = 0; k < pass->signed_count; k++) {
        inputs_of[k] = given->available[k];
        inputs_of[signed_groups * GROUP + k] = given->available[pass->signed_count + k];
    }
    for (int k = 0; k < pass->low_count; k++)
        inputs_of[2 * signed_groups * GROUP + k] = given->available[2 * pass->signed_count + k];
    if (!make_layer(&pass->layers[0], given->w1, row_length, inputs_of, groups * GROUP, (int)h1, given->c1, 0) ||
        !make_layer(&pass->layers[1], given->w2, h1, NULL, (int)h1, (int)h2, given->c2, 0) ||
        !make_layer(&pass->layers[2], given->w3, h2, NULL, (int)h2, 2, given->c3, 1))
        return no_memory(call);
    return 1;
}

/* Copies the activations of layer 2 of `count` symbols from groups [outputs / 4][CHUNK][4] to [count][outputs]. */
static void put_hidden(const int8_t *groups, int count, int outputs, uint8_t *out) {
    for (int n = 0; n < count; n++)
        for (int j = 0; j < outputs; j++) *out++ = (uint8_t)groups[j / GROUP * GROUP_BYTES + n * GROUP + j % GROUP];
}

void NAME(choose_of_chunk)(const Choice *choice, ptrdiff_t first, int count, const Workspace *workspace) {
    const ptrdiff_t means = choice->given->class_of_mean_count;
    const int8_t *quantizer = choice->given->quantizers;
    const int16_t *class_of = choice->given->class_of_mean;
    const int32_t class_count = class_of[means - 1] + 1;
    const int outputs = choice->pass.layers[1].outputs;
    if (choice->hidden) put_hidden(workspace->in.values, count, outputs, choice->hidden + first * outputs);
    for (int n = 0; n < count; n++) {
        const int32_t mean = (workspace->sums[CHUNK + n] + 128) >> 8;
        int32_t scale = ((workspace->sums[n] + 128) >> 8) + UNIT_SCALE_INDEX, size = mean < 0 ? -mean : mean;
        scale = scale < 0 ? 0 : scale > LAPLACE_COUNT - 1 ? LAPLACE_COUNT - 1 : scale;
        size = class_of[size >= means ? means - 1 : size];
        const int32_t direct = quantizer[first + n] * TABLES_PER_QUANTIZER + scale * class_count + size;
        choice->table[first + n] = (int16_t)(scale <= LAST_DIRECT ? direct : DIRECT_TABLES + scale - LAST_DIRECT - 1);
        choice->sign[first + n] = mean < 0 ? -1 : 1;
    }
}

void NAME(release)(Choice *choice) {
    free(choice->seen);
    free(choice->inputs_of);
    for (int layer = 0; layer < 3; layer++) free_layer(&choice->pass.layers[layer]);
}

Workspace *NAME(begin_pass)(Call *call, Choice *choice) {
    if (!byte_products->evaluate) return refuse(call, "no instruction set to multiply bytes"), NULL;
    if (!prepare(call, choice)) return NULL;
    enum { ALIGNMENT = 64 };
    char *memory = malloc(sizeof(Workspace) + ALIGNMENT + sizeof memory); /* not all C libraries have aligned_alloc */
    if (!memory) return no_memory(call), NULL;
    char *first = memory + sizeof memory;
    void **workspace = (void **)(first + (ALIGNMENT - (uintptr_t)first % ALIGNMENT) % ALIGNMENT);
    workspace[-1] = memory;
    return (Workspace *)workspace;
}

int NAME(choose_tables)(Call *call, const ChooseTables *a) {
    Choice choice = {.given = &a->coding_pass, .table = a->table, .sign = a->sign};
    choice.count = a->coding_pass.rows * a->coding_pass.columns;
    choice.hidden = a->hidden_count ? a->hidden : NULL;
    Workspace *workspace = NAME(begin_pass)(call, &choice);
    const int has_room =
        workspace && (!choice.hidden || has_items(call, a, hidden, choice.count * a->coding_pass.c2_count));
    if (has_room) byte_products->begin();
    for (ptrdiff_t first = 0; has_room && first < choice.count; first += CHUNK) {
        const int some = choice.count - first < CHUNK ? (int)(choice.count - first) : CHUNK;
        NAME(outputs_of_chunk)(&choice.pass, first, some, workspace);
        NAME(choose_of_chunk)(&choice, first, some, workspace);
    }
    if (has_room) byte_products->end();
    free_workspace(workspace);
    NAME(release)(&choice);
    return has_room;
}
