/* Shared by context.c and context_gradient.c: a coding pass and its context network. */
#ifndef DFM_CONTEXT_H
#define DFM_CONTEXT_H

#include "byte_products.h"
#include "kernels.h"

typedef struct {
    const int8_t *first; /* the feature of the first symbol */
    ptrdiff_t row_stride;
} View;

typedef struct {
    Layer layers[3];
    const View *views;
    int signed_count, low_count; /* views that are symbols, and the others */
    ptrdiff_t columns;
} Pass;

/* The workspace of a thread, aligned to 64 bytes. */
typedef struct {
    Inputs in, hidden;
    int32_t sums[MAX_OUTPUTS * CHUNK] __attribute__((aligned(64)));
    float derivatives[MAX_OUTPUTS][CHUNK];
} Workspace;

/* A coding pass with its arguments, and the outputs for its tables. */
typedef struct {
    const ContextPass *given;
    int16_t *table;
    int32_t *sign;
    uint8_t *hidden; /* or NULL */
    ptrdiff_t count; /* of symbols */
    View *seen;
    int32_t *inputs_of; /* the column of w1 of each input */
    Pass pass;
} Choice;

/* Prepares the networks, and returns the workspace of a thread. Rejects the call and returns NULL if arguments are
 * invalid or memory is short. `release` must be called in either case. */
Workspace *NAME(begin_pass)(Call *call, Choice *choice);
INLINE void free_workspace(Workspace *workspace) {
    if (workspace) free(((void **)workspace)[-1]); /* the start of its memory is stored before it */
}

/* The plane of a view (0 for symbols, 1 for coarser symbols, 2 for differences), and its number of items. */
INLINE const int8_t *plane_of(const ContextPass *given, int64_t number) {
    return number == 0 ? given->symbols : number == 1 ? given->coarser : given->differences;
}
INLINE ptrdiff_t plane_count(const ContextPass *given, int64_t number) {
    return number == 0 ? given->symbols_count : number == 1 ? given->coarser_count : given->differences_count;
}

/* Computes scale and mean of `count` symbols of a pass, starting at number `first`. */
void NAME(outputs_of_chunk)(const Pass *pass, ptrdiff_t first, int count, Workspace *workspace);

/* Chooses tables and signs of `count` symbols from the result of `outputs_of_chunk` in the workspace, and stores their
 * activations of layer 2 if there is an array for them. */
void NAME(choose_of_chunk)(const Choice *choice, ptrdiff_t first, int count, const Workspace *workspace);

void NAME(release)(Choice *choice);

#endif
