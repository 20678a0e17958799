/* The context networks, which choose the tables of the symbols of a coding pass from previously decoded symbols.
 * `dfmcodec.codecs.wavelet.context` describes the model. All integers are equal to those of its NumPy implementation.
 */
#if !defined(TARGET_AVX2) && !defined(TARGET_AVX512)
#define TARGET_BASELINE
#endif
#include "context.h"

enum {
    MAX_VIEWS = MAX_GROUPS * GROUP / 2,
    FEW = 8, /* symbols that are copied one by one */
};

INLINE int groups_of(int inputs) { return (inputs + GROUP - 1) / GROUP; }

/* The features of a view for `count` symbols of a row, at most CHUNK. They are copied if the plane has no CHUNK numbers
 * from there on. The features beyond the last symbol have no meaning. */
INLINE const int8_t *seen_by(const View *view, ptrdiff_t row, ptrdiff_t column, int count, int8_t *workspace) {
    const int8_t *at = view->first + row * view->row_stride + column;
    return view->last && at <= view->last ? at : memcpy(workspace, at, (size_t)count);
}

static void every_group(Inputs *in, const Layer *layer) {
    in->count = layer->groups;
    for (int g = 0; g < in->count; g++) in->numbers[g] = g;
}

/* Copies the kept symbols of a group of a chunk. */
INLINE void keep(const int8_t *group, const uint8_t *places, int count, uint64_t mask, int8_t *out) {
#if defined(TARGET_AVX512)
    (void)places, (void)count;
    for (int n = 0; n < CHUNK; n += LANES, mask >>= LANES) {
        const __mmask16 kept = (__mmask16)mask;
        _mm512_storeu_si512(out, _mm512_maskz_compress_epi32(kept, _mm512_loadu_si512(group + n * GROUP)));
        out += GROUP * __builtin_popcount(kept);
    }
#else
    (void)mask;
    for (int i = 0; i < count; i++) memcpy(out + i * GROUP, group + places[i] * GROUP, GROUP);
#endif
}

/* Finds the symbols of a chunk whose context is not empty, as a mask. Without any symbols among the features, no context
 * counts as empty. */
INLINE uint64_t find_contexts(const int8_t *const *rows, int signed_count, int count) {
    const uint64_t every = count < CHUNK ? (UINT64_C(1) << count) - 1 : UINT64_MAX;
    if (!signed_count) return every;
#if defined(TARGET_AVX512)
    __m512i any = _mm512_setzero_si512();
    for (int k = 0; k < signed_count; k++) any = _mm512_or_si512(any, _mm512_loadu_si512(rows[k]));
    return _mm512_test_epi8_mask(any, any) & every;
#elif defined(TARGET_AVX2)
    __m256i low = _mm256_setzero_si256(), high = low;
    for (int k = 0; k < signed_count; k++) {
        low = _mm256_or_si256(low, _mm256_loadu_si256((const __m256i *)rows[k]));
        high = _mm256_or_si256(high, _mm256_loadu_si256((const __m256i *)rows[k] + 1));
    }
    const uint32_t no_low = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, _mm256_setzero_si256()));
    const uint32_t no_high = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(high, _mm256_setzero_si256()));
    return ~((uint64_t)no_high << 32 | no_low) & every;
#else
    uint64_t any[CHUNK / 8] = {0}, found = 0;
    for (int k = 0; k < signed_count; k++)
        for (int n = 0; n < CHUNK / 8; n++) {
            uint64_t eight;
            memcpy(&eight, rows[k] + 8 * n, sizeof eight);
            any[n] |= eight;
        }
    for (int n = 0; n < CHUNK; n++) found |= (uint64_t)((any[n / 8] >> n % 8 * 8 & 255) != 0) << n;
    return found & every;
#endif
}

/* Appends the kept symbols of a chunk to the groups of the queue from `number` on; `rows` are their features. */
static void enqueue(Queue *queue, int number, const int8_t *const *rows, int count, const uint8_t *places, int found,
                    uint64_t mask) {
    static const int8_t nothing[CHUNK];
    for (int k = 0; k < count; k += GROUP, number++) {
        const int8_t *of_group[GROUP];
        int8_t group[GROUP_BYTES] __attribute__((aligned(64))), *out = queue->values[number] + queue->count * GROUP;
        for (int i = 0; i < GROUP; i++) of_group[i] = k + i < count ? rows[k + i] : nothing;
        if (found <= FEW)
            for (int f = 0; f < found; f++)
                for (int i = 0; i < GROUP; i++) out[f * GROUP + i] = of_group[i][places[f]];
        else if (byte_products->interleave(of_group, group))
            keep(group, places, found, mask, out);
        else
            memset(out, 0, (size_t)(found * GROUP));
    }
}

/* Chooses the tables of `count` symbols of a row of a pass, starting at number `first`, as if their contexts were empty.
 * Those whose context is not empty enter the queue. */
static void look_at_chunk(const Choice *choice, ptrdiff_t first, ptrdiff_t row, ptrdiff_t column, int count,
                          Workspace *workspace) {
    const Pass *pass = &choice->pass;
    Queue *queue = &workspace->queue;
    const int8_t *quantizers = choice->given->quantizers + first;
    int16_t *tables = choice->table + first;
    int32_t *signs = choice->sign + first;
    for (int n = 0; n < count; n++) tables[n] = (int16_t)(quantizers[n] * TABLES_PER_QUANTIZER);
    for (int n = 0; n < count; n++) signs[n] = 1;
    const int outputs = pass->layers[1].outputs;
    if (choice->hidden) memset(choice->hidden + first * outputs, EMPTY_CONTEXT, (size_t)(count * outputs));
    int8_t copies[MAX_VIEWS][CHUNK];
    const int8_t *rows[MAX_VIEWS];
    for (int k = 0; k < pass->signed_count; k++) rows[k] = seen_by(&pass->views[k], row, column, count, copies[k]);
    const uint64_t mask = find_contexts(rows, pass->signed_count, count);
    if (!mask) return;
    uint8_t places[CHUNK];
    int found = 0;
    for (uint64_t rest = mask; rest; rest &= rest - 1) places[found++] = (uint8_t)__builtin_ctzll(rest);
    const int views = pass->signed_count + pass->low_count;
    for (int k = pass->signed_count; k < views; k++) rows[k] = seen_by(&pass->views[k], row, column, count, copies[k]);
    enqueue(queue, 0, rows, pass->signed_count, places, found, mask);
    enqueue(queue, groups_of(pass->signed_count), rows + pass->signed_count, pass->low_count, places, found, mask);
    for (int i = 0; i < found; i++) queue->symbols[queue->count + i] = first + places[i];
    queue->count += found;
}

/* Takes a group of the queue as input, unless it is zero and may be skipped; the absolute values if `is_magnitude`. */
INLINE void take_group(Inputs *in, int number, const int8_t *values, int is_magnitude) {
    const int is_every = byte_products->takes_every_group;
    int8_t *group = in->values + (is_every ? number : in->count) * GROUP_BYTES;
    int8_t any = 0;
    for (int n = 0; n < GROUP_BYTES; n++) {
        group[n] = (int8_t)(is_magnitude && values[n] < 0 ? -values[n] : values[n]);
        any |= values[n];
    }
    if (any || is_every) in->numbers[in->count++] = number;
}

void NAME(choose_of_queue)(const Choice *choice, int count, Workspace *workspace) {
    const Pass *pass = &choice->pass;
    const Queue *queue = &workspace->queue;
    Inputs *in = &workspace->in;
    const int signed_groups = groups_of(pass->signed_count), low_groups = groups_of(pass->low_count);
    in->count = 0;
    for (int g = 0; g < signed_groups; g++) {
        take_group(in, g, queue->values[g], 0);
        take_group(in, signed_groups + g, queue->values[g], 1);
    }
    for (int g = 0; g < low_groups; g++) take_group(in, 2 * signed_groups + g, queue->values[signed_groups + g], 0);
    const Evaluate evaluate = byte_products->evaluate;
    evaluate(&pass->layers[0], in, workspace->hidden.values);
    every_group(&workspace->hidden, &pass->layers[1]);
    evaluate(&pass->layers[1], &workspace->hidden, in->values);
    every_group(in, &pass->layers[2]);
    evaluate(&pass->layers[2], in, workspace->sums);

    const int outputs = pass->layers[1].outputs;
    const ptrdiff_t means = choice->given->class_of_mean_count;
    const int16_t *class_of = choice->given->class_of_mean;
    const int32_t classes = class_of[means - 1] + 1;
    for (int n = 0; n < count; n++) {
        const ptrdiff_t symbol = queue->symbols[n];
        const int32_t mean = (workspace->sums[CHUNK + n] + 128) >> 8, size = mean < 0 ? -mean : mean;
        int32_t scale = ((workspace->sums[n] + 128) >> 8) + UNIT_SCALE_INDEX;
        scale = scale < 0 ? 0 : scale > LAPLACE_COUNT - 1 ? LAPLACE_COUNT - 1 : scale;
        const int32_t direct = choice->given->quantizers[symbol] * TABLES_PER_QUANTIZER + scale * classes +
                               class_of[size >= means ? means - 1 : size];
        choice->table[symbol] = (int16_t)(scale <= LAST_DIRECT ? direct : DIRECT_TABLES + scale - LAST_DIRECT - 1);
        choice->sign[symbol] = mean < 0 ? -1 : 1;
        for (int j = 0; choice->hidden && j < outputs; j++)
            choice->hidden[symbol * outputs + j] =
                (uint8_t)in->values[j / GROUP * GROUP_BYTES + n * GROUP + j % GROUP];
    }
}

/* Removes the first `count` symbols from the queue. */
static void leave_queue(const Choice *choice, int count, Workspace *workspace) {
    Queue *queue = &workspace->queue;
    const int groups = groups_of(choice->pass.signed_count) + groups_of(choice->pass.low_count);
    queue->count -= count;
    if (!queue->count) return;
    for (int g = 0; g < groups; g++)
        memcpy(queue->values[g], queue->values[g] + count * GROUP, (size_t)(queue->count * GROUP));
    memcpy(queue->symbols, queue->symbols + count, (size_t)queue->count * sizeof *queue->symbols);
}

void NAME(visit_symbols)(const Choice *choice, Workspace *workspace, Take take, const void *data) {
    const Queue *queue = &workspace->queue;
    const ptrdiff_t columns = choice->pass.columns;
    byte_products->begin();
    for (ptrdiff_t row = 0; row < choice->given->rows; row++)
        for (ptrdiff_t column = 0; column < columns; column += CHUNK) {
            const int count = columns - column < CHUNK ? (int)(columns - column) : CHUNK;
            look_at_chunk(choice, row * columns + column, row, column, count, workspace);
            if (queue->count < CHUNK) continue;
            take(choice, CHUNK, workspace, data);
            leave_queue(choice, CHUNK, workspace);
        }
    if (queue->count) take(choice, queue->count, workspace, data);
    byte_products->end();
}

static void take_tables(const Choice *choice, int count, Workspace *workspace, const void *data) {
    (void)data;
    NAME(choose_of_queue)(choice, count, workspace);
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
    if (groups > MAX_GROUPS || views > MAX_VIEWS) return refuse(call, "too many features");
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
        const int8_t *first = plane_of(given, plane);
        choice->seen[k] = (View){first + index, count < CHUNK ? NULL : first + count - CHUNK, stride};
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

void NAME(release)(Choice *choice) {
    free(choice->seen);
    free(choice->inputs_of);
    for (int layer = 0; layer < 3; layer++) free_layer(&choice->pass.layers[layer]);
}

Workspace *NAME(begin_pass)(Call *call, Choice *choice) {
    if (!prepare(call, choice)) return NULL;
    Workspace *workspace = aligned_memory(sizeof *workspace);
    if (!workspace) return no_memory(call), NULL;
    workspace->queue.count = 0;
    memset(workspace->queue.values, 0, sizeof workspace->queue.values); /* results of missing symbols are not used */
    return workspace;
}

int NAME(choose_tables)(Call *call, const ChooseTables *a) {
    Choice choice = {.given = &a->coding_pass, .table = a->table, .sign = a->sign};
    choice.count = a->coding_pass.rows * a->coding_pass.columns;
    choice.hidden = a->hidden_count ? a->hidden : NULL;
    Workspace *workspace = NAME(begin_pass)(call, &choice);
    const int has_room =
        workspace && (!choice.hidden || has_items(call, a, hidden, choice.count * a->coding_pass.c2_count));
    if (has_room) NAME(visit_symbols)(&choice, workspace, take_tables, NULL);
    free_aligned(workspace);
    NAME(release)(&choice);
    return has_room;
}
