/* What context.c and context_gradient.c share: a coding pass and its context network. */
#ifndef DFM_CONTEXT_H
#define DFM_CONTEXT_H

#include "byte_products.h"

typedef struct {
    const int8_t *first; /* what the first symbol sees */
    ptrdiff_t row_stride;
} View;

typedef struct {
    Layer layers[3];
    const View *views;
    int signed_count, low_count; /* views that are symbols, and the others */
    ptrdiff_t columns;
} Pass;

/* What a thread works with; it begins at a multiple of 64. */
typedef struct {
    Inputs in, hidden;
    int32_t sums[MAX_OUTPUTS * CHUNK] __attribute__((aligned(64)));
    float derivatives[MAX_OUTPUTS][CHUNK];
} Workspace;

typedef struct {
    Buffer w1, c1, w2, c2, w3, c3, available, planes[3], views, quantizers, classes, table, sign, hidden;
    ptrdiff_t rows, columns;
    int signed_count, per_quantizer, direct_tables, unit_scale, last_scale, last_direct;
    View *seen;
    int32_t *inputs_of; /* the column of w1 of each input */
    Pass pass;
} Arguments;

/* The first arguments of both kernels; see _compiled.pyi. */
void NAME(take_pass)(Call *call, Arguments *a);

/* Workspace for a thread's numbers; refuses the call and returns NULL where arguments or memory do not do. */
Workspace *NAME(room_for)(Call *call, Arguments *a);
INLINE void free_workspace(Workspace *workspace) {
    if (workspace) free(((void **)workspace)[-1]); /* what is before it is where its memory begins */
}

/* Scale and mean of `count` symbols of a pass from number `first` on. */
void NAME(outputs_of_chunk)(const Pass *pass, ptrdiff_t first, int count, Workspace *workspace);

/* Chooses tables and signs of `count` symbols by what `outputs_of_chunk` has left in the workspace, and keeps their activations
 * of layer 2 where there is an array for them. */
void NAME(choose_of_chunk)(const Arguments *a, ptrdiff_t first, int count, const Workspace *workspace);

void NAME(release)(Arguments *a);

#endif
