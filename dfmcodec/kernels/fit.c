/* The kernels of a fit of the overfitted codec: the loss of a window, its gradient, and the updates of latents. */
#if !defined(TARGET_AVX2) && !defined(TARGET_AVX512)
#define TARGET_BASELINE
#endif
#include "fit.h"

static ptrdiff_t weights_at(float *at, int width, int units, Weights *weights) {
    float *const start = at;
#define TAKE(name, count) (weights->name = at, at += (count))
    TAKE(filters, (GRID_LEVELS - 1) * TAPS);
    TAKE(lift, width * GRID_LEVELS);
    TAKE(lift_constants, width);
    TAKE(layer, CHANNELS * 2 * width);
    TAKE(bypass, CHANNELS * GRID_LEVELS);
    TAKE(constants, CHANNELS);
    TAKE(stages, STAGES * CHANNELS * AROUND);
    TAKE(stage_constants, STAGES * CHANNELS);
    TAKE(w1, units * GRID_FEATURES);
    TAKE(c1, units * GRID_LEVELS);
    TAKE(w2, units * units);
    TAKE(c2, units);
    TAKE(w3, OUTPUTS * units);
    TAKE(context_bypass, OUTPUTS * GRID_FEATURES);
    TAKE(c3, OUTPUTS * GRID_LEVELS);
#undef TAKE
    return at - start;
}

/* The sizes and offsets of all planes of a window. */
static ptrdiff_t lay_out(Work *work, float *workspace) {
    ptrdiff_t used = 0;
#define TAKE(name, count) (work->name = workspace ? workspace + used : NULL, used += (count))
    for (int level = 0; level < GRID_LEVELS; level++) {
        const int plane = plane_of(level);
        TAKE(grad_symbols[level], plane);
        TAKE(grad_companded[level], plane);
        TAKE(symbols[level], plane);
        TAKE(slopes[level], plane);
        TAKE(companded[level], plane);
    }
    for (int level = 0; level < GRID_LEVELS; level++) {
        TAKE(planes[level], (GRID_LEVELS - 1 - level) * plane_of(level));
        TAKE(grad_planes[level], (GRID_LEVELS - 1 - level) * plane_of(level));
    }
    TAKE(middle, samples_of(1) * stride_of(0) + SLACK);
    TAKE(grad_middle, samples_of(1) * stride_of(0) + SLACK);
    for (int stage = 0; stage <= STAGES; stage++) TAKE(values[stage], CHANNELS * VALUES);
    for (int stage = 1; stage <= STAGES; stage++) {
        used += MARGIN;
        TAKE(grad_values[stage], CHANNELS * GRAD_VALUES);
    }
    work->grad_values[0] = work->grad_values[STAGES];
#undef TAKE
    return used;
}

enum {
    SUMS = MAX_WIDTH * (GRID_FEATURES + GRID_LEVELS + MAX_WIDTH + 1) +
           OUTPUTS * (MAX_WIDTH + GRID_FEATURES + GRID_LEVELS),
};

typedef union {
    ContextRows contexts;
    SynthesisRows synthesis;
} Rows;

/* Rounds a number of bytes up to a multiple of 64. */
#define ALIGNED(bytes) (((bytes) + 63) / 64 * 64)

static ptrdiff_t workspace_bytes(void) {
    Work work = {0};
    return 63 + (ptrdiff_t)(ALIGNED(sizeof(float_lanes) * SUMS) + ALIGNED(sizeof(Rows)) +
                            sizeof(float) * (size_t)lay_out(&work, NULL));
}

int NAME(window_workspace)(Call *call, const WindowWorkspace *a) {
    (void)a;
    return give(call, workspace_bytes());
}

/* Allocates all data of a window in `workspace_bytes` bytes. */
static void window(Work *work, char *workspace, float *grad_latents) {
    workspace += -(uintptr_t)workspace % 64;
    Rows *rows = (Rows *)(workspace + ALIGNED(sizeof(float_lanes) * SUMS));
    work->sums = (float_lanes *)workspace;
    lay_out(work, (float *)((char *)rows + ALIGNED(sizeof(Rows))));
    memset(rows->contexts.values, 0, sizeof(Row)); /* of tiles with unused vectors */
    for (int level = 0; level < GRID_LEVELS; level++) {
        const size_t plane = sizeof(float) * (size_t)plane_of(level);
        memset(work->symbols[level], 0, plane);
        memset(work->slopes[level], 0, plane);
        if (!work->has_gradient) continue;
        memset(work->grad_symbols[level], 0, plane);
        memset(work->grad_companded[level], 0, plane);
        memset(work->grad_planes[level], 0, plane * (size_t)(GRID_LEVELS - 1 - level));
    }
    for (int stage = 0; stage <= STAGES; stage++) {
        const int written = (pixel_rows(work) - 2 * stage) * along(work); /* numbers beyond do not affect results */
        for (int c = 0; c < CHANNELS; c++)
            memset(work->values[stage] + c * VALUES + written, 0, sizeof(float) * (size_t)(VALUES - written));
        if (stage && work->has_gradient)
            memset(work->grad_values[stage] - MARGIN, 0, sizeof(float) * (CHANNELS * GRAD_VALUES + MARGIN));
    }
    NAME(round_latents)(work);
    if (!work->decoded) NAME(rate)(work, &rows->contexts);
    NAME(forward)(work, &rows->synthesis);
    if (!work->has_gradient) return;
    NAME(backward)(work, &rows->synthesis);
    NAME(latent_gradient)(work, grad_latents);
}

static ptrdiff_t latents_of_window(void) {
    ptrdiff_t count = 0;
    for (int level = 0; level < GRID_LEVELS; level++) count += samples_of(level) * samples_of(level);
    return count;
}

static ptrdiff_t symbols_of_window(void) {
    ptrdiff_t count = 0;
    for (int level = 0; level < GRID_LEVELS; level++) count += own_samples(level) * own_samples(level);
    return count;
}

/* Returns whether grids have the sizes of those of an image, [h_l, w_l] each; otherwise it rejects the call. */
static int are_grids(Call *call, const ptrdiff_t *counts, const WindowPlace *place) {
    for (int level = 0; level < GRID_LEVELS; level++)
        if (counts[level] < level_size(place->height, level) * level_size(place->width, level))
            return refuse(call, "a grid has too few items");
    return 1;
}

static int is_place(Call *call, const WindowPlace *place) {
    return (SIZES(place->top, place->left) && place->top < place->height && place->left < place->width &&
            place->top % WINDOW == 0 && place->left % WINDOW == 0) ||
           refuse(call, "there is no such window");
}

/* Checks and stores the arguments that both kernels of windows share. */
static int begin_window(Call *call, Work *work, const FitWindow *a, ptrdiff_t workspace_count) {
    if (a->width < 1 || a->width > MAX_WIDTH || a->units < 1 || a->units > MAX_WIDTH)
        return refuse(call, "a width is not possible");
    work->width = a->width, work->units = a->units;
    const ptrdiff_t count = weights_at((float *)a->weights, a->width, a->units, &work->weights);
    if (!is_place(call, &a->place) || !are_grids(call, a->grids_count, &a->place) ||
        !has_items(call, a, weights, count))
        return 0;
    if (workspace_count < workspace_bytes()) return refuse(call, "workspace has too few items");
    work->lines = (int)(a->companding_count / 2);
    work->companding = a->companding;
    work->activation_max = (float)a->activation_max;
    work->top = a->place.top, work->left = a->place.left;
    work->height = a->place.height, work->width_of_image = a->place.width;
    work->rows = own_inside(work->top, work->height, 0);
    work->columns = own_inside(work->left, work->width_of_image, 0);
    work->lmbda = (float)a->lmbda, work->step_size = (float)a->step_size, work->peak = (float)a->peak;
    work->colours = a->colours;
    work->pixel_weights = a->pixel_weights;
    for (int level = 0; level < GRID_LEVELS; level++) work->grids[level] = a->grids[level];
    return 1;
}

int NAME(window_gradient)(Call *call, const WindowGradient *a) {
    Work work = {0};
    if (!begin_window(call, &work, &a->window, a->workspace_count)) return 0;
    work.temperature = (float)a->temperature, work.noise = (float)a->noise, work.seed = a->seed;
    work.has_gradient = 1;
    const ptrdiff_t count = weights_at(a->grad_weights, work.width, work.units, &work.grad_weights);
    if (!has_items(call, a, grad_weights, count) || !has_items(call, a, grad_latents, latents_of_window())) return 0;
    memset(a->grad_weights, 0, sizeof(float) * (size_t)count);
    window(&work, (char *)a->workspace, a->grad_latents);
    return 1;
}

int NAME(window_costs)(Call *call, const WindowCosts *a) {
    Work work = {0};
    if (!begin_window(call, &work, &a->window, a->workspace_count) || !has_items(call, a, bits, symbols_of_window()))
        return 0;
    work.costs = a->errors;
    work.symbol_bits = a->bits;
    memset(a->errors, 0, sizeof(float) * WINDOW * WINDOW);
    memset(a->bits, 0, sizeof(float) * (size_t)symbols_of_window());
    window(&work, (char *)a->workspace, NULL);
    return 1;
}

int NAME(window_colours)(Call *call, const WindowColours *a) {
    Work work = {0};
    if (!begin_window(call, &work, &a->window, a->workspace_count)) return 0;
    work.decoded = a->decoded;
    memset(a->decoded, 0, sizeof(float) * CHANNELS * WINDOW * WINDOW);
    window(&work, (char *)a->workspace, NULL);
    return 1;
}

/* ---- latents between windows ------------------------------------------------------------------------------- */

int NAME(add_window_gradient)(Call *call, const AddWindowGradient *a) {
    const ptrdiff_t top = a->place.top, left = a->place.left, height = a->place.height, width = a->place.width;
    if (!is_place(call, &a->place) || !are_grids(call, a->waiting_count, &a->place) ||
        !has_items(call, a, grad_latents, latents_of_window()))
        return 0;
    const float *from = a->grad_latents;
    for (int level = 0; level < GRID_LEVELS; level++) {
        const ptrdiff_t rows = level_size(height, level), columns = level_size(width, level);
        const ptrdiff_t first = (left >> level) - HALO;
        const int side = samples_of(level);
        for (int y = 0; y < side; y++, from += side) {
            float *to = a->waiting[level] + within((top >> level) - HALO + y, rows) * columns;
            int x = 0;
            for (; x < side && first + x < 0; x++) to[0] += from[x];
            for (; x < side && first + x < columns; x++) to[first + x] += from[x];
            for (; x < side; x++) to[columns - 1] += from[x];
        }
    }
    return 1;
}

typedef struct {
    float mean_fraction, square_fraction, rate, per_square_bias, epsilon;
} AdamStep;

/* Updates some samples of a row by Adam, and resets their gradients to zero. */
static void move_row(const AdamStep *step, ptrdiff_t count, float *values, float *means, float *squares,
                     float *gradients) {
    for (ptrdiff_t i = 0; i < count; i++) {
        means[i] += step->mean_fraction * (gradients[i] - means[i]);
        squares[i] += step->square_fraction * (gradients[i] * gradients[i] - squares[i]);
        values[i] -= step->rate * means[i] / (__builtin_sqrtf(squares[i] * step->per_square_bias) + step->epsilon);
        gradients[i] = 0;
    }
}

int NAME(move_latents)(Call *call, const MoveLatents *a) {
    const ptrdiff_t top = a->place.top, left = a->place.left, height = a->place.height, width = a->place.width;
    if (!is_place(call, &a->place) || !are_grids(call, a->values_count, &a->place) ||
        !are_grids(call, a->means_count, &a->place) || !are_grids(call, a->squares_count, &a->place) ||
        !are_grids(call, a->waiting_count, &a->place))
        return 0;
    for (int level = 0; level < GRID_LEVELS; level++) {
        const ptrdiff_t rows = level_size(height, level), columns = level_size(width, level), side = own_samples(level);
        const ptrdiff_t first = left >> level, end = first + side < columns ? first + side : columns;
        const AdamStep step = {(float)a->mean_fraction, (float)a->square_fraction, a->rates[level],
                               (float)a->per_square_bias, (float)a->epsilon};
        for (ptrdiff_t y = top >> level; y < rows && y < (top >> level) + side; y++) {
            const ptrdiff_t at = y * columns + first;
            move_row(&step, end - first, a->values[level] + at, a->means[level] + at, a->squares[level] + at,
                     a->waiting[level] + at);
        }
    }
    return 1;
}
