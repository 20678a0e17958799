/* The rate of a window of a fit: the bits of its symbols under the context network, and their gradient with respect to
 * symbols and to the weights of the network.
 */
#if !defined(TARGET_AVX2) && !defined(TARGET_AVX512)
#define TARGET_BASELINE
#endif
#include "fit.h"

/* The symbols of a level as features: companded, and 0 beyond the image. */
static void compand_level(const Work *work, int level) {
    const int stride = stride_of(level);
    const Range rows = inside_of(work->top, work->height, level);
    const Range columns = inside_of(work->left, work->width_of_image, level);
    memset(work->companded[level], 0, sizeof(float) * (size_t)plane_of(level));
    for (int y = rows.first; y < rows.end; y++)
        for (int x = 0; x < stride; x += LANES) {
            float_lanes slope, value = compand(work, load(work->symbols[level] + y * stride + x), &slope);
            if (x < columns.first || x + LANES > columns.end)
                for (int i = 0; i < LANES; i++)
                    if (x + i < columns.first || x + i >= columns.end) value[i] = 0;
            store(work->companded[level] + y * stride + x, &value);
        }
}

typedef struct {
    int level, vectors; /* those beyond `used` are zero */
    int used;
    int y[TILE_VECTORS], x[TILE_VECTORS]; /* the first symbol of each vector, among the window's own */
    int lanes;                            /* symbols of a vector */
} Tile;

/* The weights of the context network, joined for matrix products, and the offsets of their gradients in `Work.sums`. */
typedef struct {
    float last[OUTPUTS * (MAX_WIDTH + GRID_FEATURES)];       /* [w3 | bypass] */
    float first_back[GRID_FEATURES * (MAX_WIDTH + OUTPUTS)]; /* [w1' | bypass'] */
    float second_back[MAX_WIDTH * MAX_WIDTH];           /* w2' */
    float_lanes *grad_first, *grad_second, *grad_last, *grad_c1, *grad_c2, *grad_c3;
} ContextProducts;

static void gather_tile(const Work *work, const Tile *tile, ContextRows *rows) {
    const int level = tile->level, stride = stride_of(level);
    const int coarse = level + 1 < GRID_LEVELS ? stride_of(level + 1) : 0;
    Row *features = rows->h2_and_features + work->units;
    memset(features, 0, sizeof(Row) * GRID_FEATURES);
    for (int v = 0; v < tile->used; v++) {
        const int x = HALO + tile->x[v], y = HALO + tile->y[v], at = v * LANES;
        memcpy(rows->values + at, work->symbols[level] + y * stride + x, sizeof(float) * LANES);
        for (int k = 0; k < CAUSAL_FEATURES; k++) {
            const float *from = work->companded[level] + (y + CAUSAL_OFFSETS[k][0]) * stride + x + CAUSAL_OFFSETS[k][1];
            memcpy(features[k] + at, from, sizeof(float) * LANES);
        }
        if (level + 1 == GRID_LEVELS) continue;
        for (int k = 0; k < CELL_FEATURES; k++) {
            const int row = HALO + tile->y[v] / 2 + k / 3 - 1, column = HALO + tile->x[v] / 2 + k % 3 - 1;
            const float_lanes cells = load(work->companded[level + 1] + row * coarse + column);
            const float_lanes twice = low_pairs(cells, cells);
            store(features[CAUSAL_FEATURES + k] + at, &twice);
        }
        for (int k = 0; k < GRID_LEVELS - 1 - level; k++) {
            const float *from = work->planes[level] + k * plane_of(level) + y * stride + x;
            memcpy(features[CAUSAL_FEATURES + CELL_FEATURES + k] + at, from, sizeof(float) * LANES);
        }
    }
}

INLINE void add_to(float *target, float_lanes v) {
    const float_lanes sum = load(target) + v;
    store(target, &sum);
}

/* Adds the gradient with respect to features and values of a tile to the gradients of their planes. Features are in the
 * outer loop: the numbers that one of them adds to are those of the next one, shifted, and have to be in the cache. */
INLINE void scatter_tile(const Work *work, const Tile *tile, const ContextRows *rows) {
    const int level = tile->level, stride = stride_of(level);
    const int coarse = level + 1 < GRID_LEVELS ? stride_of(level + 1) : 0;
    float *to[TILE_VECTORS];
    for (int v = 0; v < tile->used; v++) {
        const int at = (HALO + tile->y[v]) * stride + HALO + tile->x[v];
        to[v] = work->grad_companded[level] + at;
        add_to(work->grad_symbols[level] + at, load(rows->grad_values + v * LANES));
    }
    for (int k = 0; k < CAUSAL_FEATURES; k++)
        for (int v = 0; v < tile->used; v++)
            add_to(to[v] + CAUSAL_OFFSETS[k][0] * stride + CAUSAL_OFFSETS[k][1],
                   load(rows->grad_features[k] + v * LANES));
    if (level + 1 == GRID_LEVELS) return;
    for (int v = 0; v < tile->used; v++)
        to[v] = work->grad_companded[level + 1] + (HALO + tile->y[v] / 2 - 1) * coarse + HALO + tile->x[v] / 2 - 1;
    for (int k = 0; k < CELL_FEATURES; k++)
        for (int v = 0; v < tile->used; v++) {
            const float_lanes g = load(rows->grad_features[CAUSAL_FEATURES + k] + v * LANES), none = all(0.0f);
            add_to(to[v] + k / 3 * coarse + k % 3, even_ones(g, none) + odd_ones(g, none));
        }
    for (int k = 0; k < GRID_LEVELS - 1 - level; k++)
        for (int v = 0; v < tile->used; v++)
            memcpy(work->grad_planes[level] + k * plane_of(level) + (HALO + tile->y[v]) * stride + HALO + tile->x[v],
                   rows->grad_features[CAUSAL_FEATURES + CELL_FEATURES + k] + v * LANES, sizeof(float) * LANES);
}

/* The bits of symbols under Laplace distributions, and the gradients with respect to the logarithm of the scale and to
 * the distance from the mean; see `contexts.laplace_bits`. The probability of a symbol is at least 2^-20. */
INLINE float_lanes laplace_bits(float_lanes distance, float_lanes log_scale, float_lanes *grad_distance,
                                float_lanes *grad_log_scale) {
    const float_lanes per_scale = exponential(-log_scale), one = all(1.0f), nats_to_bits = all(1.44269504f);
    const float_lanes before = (distance - 0.5f) * per_scale, after = (distance + 0.5f) * per_scale;
    const float_lanes e_before = exponential(-magnitude(before)), e_after = exponential(-after);
    const float_lanes e_width = exponential(-per_scale);
    const float_lanes p_around = one - 0.5f * (e_before + e_after), p_apart = 0.5f * e_before * (one - e_width);
    const int32_lanes around = negative(before); /* the mean lies between the ends */
    const float_lanes p = where(around, p_around, p_apart);
    const float_lanes per_p = nats_to_bits / larger(p, all(1e-12f));
    const float_lanes around_grad_distance = 0.5f * (e_before - e_after) * per_scale * per_p;
    const float_lanes around_grad_scale = 0.5f * (after * e_after - before * e_before) * per_p;
    const float_lanes apart_grad_distance = nats_to_bits * per_scale;
    const float_lanes apart_grad_scale = nats_to_bits * (per_scale * e_width / (one - e_width) - before);
    const int32_lanes is_possible = ~negative(p - 9.5367431640625e-7f); /* 2^-20 */
    *grad_distance = where(is_possible, where(around, around_grad_distance, apart_grad_distance), all(0.0f));
    *grad_log_scale = where(is_possible, where(around, around_grad_scale, apart_grad_scale), all(0.0f));
    return -logarithm(larger(p, all(9.5367431640625e-7f)));
}

/* Activations of sums: clipped to 0 and the maximum. */
INLINE float_lanes activation(float_lanes sum, float_lanes most) { return smaller(larger(sum, all(0.0f)), most); }

/* The gradient with respect to a sum, from that with respect to its activation. */
INLINE float_lanes grad_of_sum(float_lanes active, float_lanes grad_activation, float_lanes most) {
    return where(negative(all(0.0f) - active) & negative(active - most), grad_activation, all(0.0f));
}

/* The outputs of the context network for a tile. */
INLINE void evaluate_tile(const Work *work, const Tile *tile, const ContextProducts *layers, ContextRows *rows) {
    const int units = work->units, level = tile->level, vectors = tile->vectors;
    const Weights *weights = &work->weights;
    const float_lanes most_active = all(work->activation_max);
    Row *features = rows->h2_and_features + units, *h2 = rows->h2_and_features;
    gather_tile(work, tile, rows);
    products(weights->w1, weights->c1 + level, GRID_LEVELS, units, GRID_FEATURES, (const Row *)features, rows->h1,
             vectors);
    for (int u = 0; u < units; u++)
        for (int v = 0; v < vectors; v++) {
            const float_lanes h = activation(load(rows->h1[u] + v * LANES), most_active);
            store(rows->h1[u] + v * LANES, &h);
        }
    products(weights->w2, weights->c2, 1, units, units, (const Row *)rows->h1, h2, vectors);
    for (int u = 0; u < units; u++)
        for (int v = 0; v < vectors; v++) {
            const float_lanes sum = load(h2[u] + v * LANES) + load(rows->h1[u] + v * LANES);
            const float_lanes h = activation(sum, most_active);
            store(h2[u] + v * LANES, &h);
        }
    products(layers->last, weights->c3 + level, GRID_LEVELS, OUTPUTS, units + GRID_FEATURES, (const Row *)h2,
             rows->outputs, vectors);
}

/* The bits of the symbols of a tile, and their gradient with respect to outputs and symbols. */
INLINE void bits_of_tile(const Work *work, const Tile *tile, ContextRows *rows) {
    const int level = tile->level;
    const float_lanes none = all(0.0f), largest = all(6.0f);
    const Range down = inside_of(work->top, work->height, level);
    const Range across = inside_of(work->left, work->width_of_image, level);
    Row *grad_outputs = rows->grad_h1_and_outputs + work->units;
    for (int v = 0; v < tile->vectors; v++) {
        const int y = HALO + tile->y[v], x = HALO + tile->x[v];
        float_lanes counts = none; /* 1 for symbols of the image */
        if (v < tile->used && y >= down.first && y < down.end) {
            counts = all(1.0f);
            if (x < across.first || x + LANES > across.end || tile->lanes < LANES)
                for (int i = 0; i < LANES; i++)
                    counts[i] = i < tile->lanes && x + i >= across.first && x + i < across.end;
        }
        const float_lanes output = load(rows->outputs[0] + v * LANES);
        const float_lanes log_scale = larger(smaller(output, largest), -largest);
        const float_lanes apart = load(rows->values + v * LANES) - load(rows->outputs[1] + v * LANES);
        float_lanes grad_distance, grad_log_scale;
        const float_lanes bits = counts * laplace_bits(magnitude(apart), log_scale, &grad_distance, &grad_log_scale);
        store(rows->bits + v * LANES, &bits);
        const float_lanes bit_cost = counts * work->lmbda;
        const float_lanes grad_value =
            (float_lanes)((int32_lanes)(bit_cost * grad_distance) ^ ((int32_lanes)apart & (int32_t)0x80000000));
        const float_lanes grad_mean = -grad_value;
        const float_lanes grad_scale = bit_cost * where(negative(magnitude(output) - largest), grad_log_scale, none);
        store(rows->grad_values + v * LANES, &grad_value);
        store(grad_outputs[0] + v * LANES, &grad_scale);
        store(grad_outputs[1] + v * LANES, &grad_mean);
    }
}

/* The backward pass of a tile through the context network. */
INLINE void tile_backward(const Work *work, const Tile *tile, const ContextProducts *layers, ContextRows *rows) {
    const int units = work->units, level = tile->level, vectors = tile->vectors;
    const Weights *weights = &work->weights;
    const float_lanes most_active = all(work->activation_max);
    Row *features = rows->h2_and_features + units, *h2 = rows->h2_and_features;
    Row *grad_outputs = rows->grad_h1_and_outputs + units;
    outer_products(layers->grad_last, (const Row *)grad_outputs, OUTPUTS, (const Row *)h2, units + GRID_FEATURES,
                   vectors);
    row_sums(layers->grad_c3 + level, GRID_LEVELS, (const Row *)grad_outputs, OUTPUTS, vectors);
    for (int u = 0; u < units; u++)
        for (int v = 0; v < vectors; v++) {
            const float_lanes h = load(h2[u] + v * LANES);
            const float_lanes g = weights->w3[u] * load(grad_outputs[0] + v * LANES) +
                                  weights->w3[units + u] * load(grad_outputs[1] + v * LANES);
            const float_lanes kept = grad_of_sum(h, g, most_active);
            store(rows->grad_h2[u] + v * LANES, &kept);
        }
    products(layers->second_back, NULL, 0, units, units, (const Row *)rows->grad_h2, rows->grad_h1_and_outputs,
             vectors);
    for (int u = 0; u < units; u++)
        for (int v = 0; v < vectors; v++) {
            const float_lanes h = load(rows->h1[u] + v * LANES);
            const float_lanes g = load(rows->grad_h1_and_outputs[u] + v * LANES) + load(rows->grad_h2[u] + v * LANES);
            const float_lanes kept = grad_of_sum(h, g, most_active);
            store(rows->grad_h1_and_outputs[u] + v * LANES, &kept);
        }
    outer_products(layers->grad_second, (const Row *)rows->grad_h2, units, (const Row *)rows->h1, units, vectors);
    row_sums(layers->grad_c2, 1, (const Row *)rows->grad_h2, units, vectors);
    outer_products(layers->grad_first, (const Row *)rows->grad_h1_and_outputs, units, (const Row *)features,
                   GRID_FEATURES, vectors);
    row_sums(layers->grad_c1 + level, GRID_LEVELS, (const Row *)rows->grad_h1_and_outputs, units, vectors);
    products(layers->first_back, NULL, 0, GRID_FEATURES, units + OUTPUTS, (const Row *)rows->grad_h1_and_outputs,
             rows->grad_features, vectors);
    scatter_tile(work, tile, rows);
}

static void level_bits(const Work *work, int level, const ContextProducts *layers, ContextRows *rows, float *bits) {
    const int side = own_samples(level), columns = own_inside(work->left, work->width_of_image, level);
    const int across = (columns + LANES - 1) / LANES, count = own_inside(work->top, work->height, level) * across;
    for (int first = 0; first < count; first += TILE_VECTORS) {
        Tile tile = {level, 0, 0, {0}, {0}, side < LANES ? side : LANES};
        tile.used = count - first < TILE_VECTORS ? count - first : TILE_VECTORS;
        tile.vectors = tile_vectors(tile.used);
        for (int v = 0; v < tile.used; v++) {
            tile.y[v] = (first + v) / across;
            tile.x[v] = (first + v) % across * LANES;
        }
        evaluate_tile(work, &tile, layers, rows);
        bits_of_tile(work, &tile, rows);
        if (work->has_gradient) tile_backward(work, &tile, layers, rows);
        if (bits)
            for (int v = 0; v < tile.used; v++)
                memcpy(bits + tile.y[v] * side + tile.x[v], rows->bits + v * LANES, sizeof(float) * (size_t)tile.lanes);
    }
}

static const float BILINEAR[TAPS] = {0, 0.25f, 0.75f, 0};

static void prepare_products(const Work *work, ContextProducts *layers) {
    const int units = work->units;
    const Weights *weights = &work->weights;
    for (int o = 0; o < OUTPUTS; o++) {
        float *last = layers->last + o * (units + GRID_FEATURES);
        memcpy(last, weights->w3 + o * units, sizeof(float) * (size_t)units);
        memcpy(last + units, weights->context_bypass + o * GRID_FEATURES, sizeof(float) * GRID_FEATURES);
    }
    transpose(weights->w1, units, GRID_FEATURES, layers->first_back, units + OUTPUTS);
    transpose(weights->context_bypass, OUTPUTS, GRID_FEATURES, layers->first_back + units, units + OUTPUTS);
    transpose(weights->w2, units, units, layers->second_back, units);
    layers->grad_first = work->sums;
    layers->grad_c1 = layers->grad_first + units * GRID_FEATURES;
    layers->grad_second = layers->grad_c1 + units * GRID_LEVELS;
    layers->grad_c2 = layers->grad_second + units * units;
    layers->grad_last = layers->grad_c2 + units;
    layers->grad_c3 = layers->grad_last + OUTPUTS * (units + GRID_FEATURES);
    float_lanes *const end = layers->grad_c3 + OUTPUTS * GRID_LEVELS;
    memset(work->sums, 0, (size_t)((char *)end - (char *)work->sums));
}

static void add_weight_gradient(const Work *work, const ContextProducts *layers) {
    const int units = work->units;
    const Weights *grad = &work->grad_weights;
    add_lanes(layers->grad_first, units * GRID_FEATURES, grad->w1);
    add_lanes(layers->grad_c1, units * GRID_LEVELS, grad->c1);
    add_lanes(layers->grad_second, units * units, grad->w2);
    add_lanes(layers->grad_c2, units, grad->c2);
    for (int o = 0; o < OUTPUTS; o++) {
        const float_lanes *last = layers->grad_last + o * (units + GRID_FEATURES);
        add_lanes(last, units, grad->w3 + o * units);
        add_lanes(last + units, GRID_FEATURES, grad->context_bypass + o * GRID_FEATURES);
    }
    add_lanes(layers->grad_c3, OUTPUTS * GRID_LEVELS, grad->c3);
}

void NAME(rate)(const Work *work, ContextRows *rows) {
    ContextProducts layers;
    prepare_products(work, &layers);
    for (int level = 0; level < GRID_LEVELS; level++) compand_level(work, level);
    for (int level = GRID_LEVELS - 2; level >= 0; level--)
        for (int k = 0; k < GRID_LEVELS - 1 - level; k++) {
            float *to = work->planes[level] + k * plane_of(level);
            NAME(upsample_plane)(work, BILINEAR, level, coarser_plane(work->planes, work->companded, level + 1, k), to);
            NAME(clear_outside)(work, level, to);
        }
    float *bits = work->symbol_bits;
    for (int level = 0; level < GRID_LEVELS; level++) {
        level_bits(work, level, &layers, rows, bits);
        if (bits) bits += own_samples(level) * own_samples(level);
    }
    if (!work->has_gradient) return;
    for (int level = 0; level < GRID_LEVELS - 1; level++)
        for (int k = 0; k < GRID_LEVELS - 1 - level; k++) {
            float *grad = work->grad_planes[level] + k * plane_of(level);
            NAME(clear_outside)(work, level, grad);
            NAME(upsample_backward)(work, BILINEAR, level, grad,
                                    coarser_plane(work->grad_planes, work->grad_companded, level + 1, k));
        }
    add_weight_gradient(work, &layers);
}
