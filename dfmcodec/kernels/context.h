/* Shared by context.c and context_gradient.c: a coding pass and its context network. */
#ifndef DFM_CONTEXT_H
#define DFM_CONTEXT_H

#include "byte_products.h"
#include "kernels.h"

typedef struct {
    const int8_t *first; /* the feature of the first symbol */
    const int8_t *last;  /* the last place in the plane with CHUNK numbers; NULL if there is none */
    ptrdiff_t row_stride;
} View;

typedef struct {
    Layer layers[3];
    const View *views;
    int signed_count, low_count; /* views that are symbols, and the others */
    ptrdiff_t columns;
} Pass;

/* Symbols whose context is not empty, waiting until there are enough for a chunk. */
typedef struct {
    int count;
    ptrdiff_t symbols[2 * CHUNK]; /* their numbers in the pass, ascending */
    int8_t values[MAX_GROUPS][2 * GROUP_BYTES + 64]; /* symbols and differences; magnitudes have no group here */
} Queue;

/* The workspace of a thread, aligned to 64 bytes. */
typedef struct {
    Inputs in, hidden;
    int32_t sums[MAX_OUTPUTS * CHUNK] __attribute__((aligned(64)));
    float derivatives[MAX_OUTPUTS][CHUNK];
    Queue queue;
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

/* The plane of a view (0 for symbols, 1 for coarser symbols, 2 for differences), and its number of items. */
INLINE const int8_t *plane_of(const ContextPass *given, int64_t number) {
    return number == 0 ? given->symbols : number == 1 ? given->coarser : given->differences;
}
INLINE ptrdiff_t plane_count(const ContextPass *given, int64_t number) {
    return number == 0 ? given->symbols_count : number == 1 ? given->coarser_count : given->differences_count;
}

/* Evaluates the network for the first `count` symbols of the queue, at most CHUNK, and chooses their tables and signs.
 * Stores their activations of layer 2 if there is an array for them. */
void NAME(choose_of_queue)(const Choice *choice, int count, Workspace *workspace);

/* Chooses the tables of all symbols of a pass as if their contexts were empty. `take` then handles those whose context
 * is not empty, from the queue, at most CHUNK at a time. It receives `data`. */
typedef void (*Take)(const Choice *choice, int count, Workspace *workspace, const void *data);
void NAME(visit_symbols)(const Choice *choice, Workspace *workspace, Take take, const void *data);

void NAME(release)(Choice *choice);

#endif
