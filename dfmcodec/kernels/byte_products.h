/* Matrix products of bytes, which evaluate context networks, for several instruction sets.
 *
 * Symbols are processed in chunks of 64. Features and activations are bytes. Four bytes of a symbol are adjacent (a
 * group), as the dot products of AVX-512 VNNI require. Groups that are zero for the complete chunk, as many in smooth
 * areas, are skipped.
 */
#ifndef DFM_BYTE_PRODUCTS_H
#define DFM_BYTE_PRODUCTS_H

#include "common.h"

enum {
    CHUNK = 64, /* symbols at a time */
    GROUP = 4, /* adjacent bytes of a symbol */
    GROUP_BYTES = CHUNK * GROUP,
    TILE = 4, /* sums of a symbol at a time */
    MAX_OUTPUTS = 256,
    MAX_GROUPS = 96,
    REPEATED = 16,
};

typedef struct {
    int outputs, groups, is_last;
    int padded_outputs;          /* a multiple of the products' tile; weights beyond `outputs` are zero */
    int group_step, output_step; /* from the GROUP weights of a group and output to the next, in bytes */
    int8_t *weights;
    int32_t *constants; /* [padded_outputs] */
    int32_t *repeated;  /* [padded_outputs][REPEATED]: the constants for each of as many symbols */
} Layer;

/* The groups of inputs of a chunk that contain nonzero values. */
typedef struct {
    int count, numbers[MAX_GROUPS];
    int8_t values[MAX_GROUPS * GROUP_BYTES] __attribute__((aligned(64))); /* [count][CHUNK][GROUP] */
} Inputs;

/* Interleaves four rows of a chunk; returns whether any value is not zero. */
typedef int (*Interleave)(const int8_t *const rows[GROUP], int8_t *group);

/* Evaluates a layer for a chunk. The last layer gives sums, int32 [padded_outputs][CHUNK]; the others give activations
 * in groups, as in `Inputs.values`. */
typedef void (*Evaluate)(const Layer *layer, const Inputs *in, void *out);

typedef struct {
    const char *name; /* of the instruction set */
    int (*is_possible)(void);
    Interleave interleave;
    Evaluate evaluate;
    void (*begin)(void), (*end)(void); /* called before and after use in a thread */
    int tile;                          /* outputs at a time */
    int has_raised_weights;            /* by RAISED */
    int takes_every_group;             /* including zero groups */
} ByteProducts;

extern const ByteProducts BYTE_PRODUCTS[]; /* the best first; after the last, one without a name */
extern const ByteProducts *byte_products;  /* the chosen ones; see instruction_sets.c */

/* Adds a group of inputs, unless all are zero and may be skipped. */
INLINE void add_group(Inputs *in, int number, const int8_t *const rows[GROUP]) {
    int8_t *group = in->values + (byte_products->takes_every_group ? number : in->count) * GROUP_BYTES;
    if (byte_products->interleave(rows, group))
        in->numbers[in->count++] = number;
    else if (byte_products->takes_every_group)
        memset(group, 0, GROUP_BYTES);
}

/* Creates a layer from weights [outputs][row_length]. Input k has column columns[k], or no column if that is -1.
 * Returns 0 if memory is short. */
int make_layer(Layer *layer, const int8_t *weights, ptrdiff_t row_length, const int32_t *columns, int inputs,
               int outputs, const int32_t *constants, int is_last);
void free_layer(Layer *layer);

#endif
