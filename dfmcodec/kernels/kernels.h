/* Declarations of all kernels of interface.h and of their callers. A kernel returns 1, or 0 after `refuse` or
 * `no_memory`. */
#ifndef DFM_KERNELS_H
#define DFM_KERNELS_H

#include "common.h"

#if ON_WASM
#define KERNELS_OF_ONE_BUILD(X) DECODER_KERNELS_OF_ONE_BUILD(X)
#define KERNELS_OF_TARGETS(X) DECODER_KERNELS_OF_TARGETS(X)
#define CHOSEN(name) name##_baseline
#else
#define KERNELS_OF_ONE_BUILD(X) DECODER_KERNELS_OF_ONE_BUILD(X) ENCODER_KERNELS_OF_ONE_BUILD(X)
#define KERNELS_OF_TARGETS(X) DECODER_KERNELS_OF_TARGETS(X) ENCODER_KERNELS_OF_TARGETS(X)
#define CHOSEN(name) kernels->name
#endif

#define DECLARE_KERNEL(name, Struct) int name(Call *call, const Struct *a);
#define DECLARE_TARGETS(name, Struct)                                                                                  \
    int name##_baseline(Call *call, const Struct *a), name##_avx2(Call *call, const Struct *a),                        \
        name##_avx512(Call *call, const Struct *a);
KERNELS_OF_ONE_BUILD(DECLARE_KERNEL)
KERNELS_OF_TARGETS(DECLARE_TARGETS)

/* The kernels of the chosen instruction set. */
typedef struct {
#define KERNEL_POINTER(name, Struct) int (*name)(Call *call, const Struct *a);
    KERNELS_OF_TARGETS(KERNEL_POINTER)
} Kernels;
extern const Kernels *kernels;

/* The kind and the position of an argument in the struct of a kernel or of a group. */
typedef enum {
    READ_FIELD,
    WRITTEN_FIELD,
    SIZE_FIELD,
    INDEX_FIELD,
    INTEGER_FIELD,
    SEED_FIELD,
    TRUTH_FIELD,
    REAL_FIELD,
    GROUP_FIELD,
    GROUPS_FIELD
} FieldKind;
typedef struct Field {
    const char *name;
    FieldKind kind;
    size_t offset, count_offset; /* count_offset: of the number of items, for arrays and groups */
    ptrdiff_t item_bytes;        /* of an array, 0 for 1 or 2 bytes; or of a group in a sequence */
    ptrdiff_t most;              /* exact number of arrays, or maximum number of groups */
    const struct Field *fields;
    int field_count;
} Field;

typedef enum { RETURNS_NOTHING, RETURNS_SIZE, RETURNS_TRUTH } Returns;

typedef struct {
    int (*run)(Call *call, const void *arguments); /* checks the arguments, and calls the kernel */
    Returns returns;
    int is_short; /* keeps the GIL */
    const Field *fields;
    int field_count;
    size_t bytes;    /* of the struct */
    int array_count; /* maximum */
} KernelEntry;

#if ON_WASM
extern int (*const RUN_KERNEL[])(Call *call, const void *arguments); /* in the order of _compiled.pyi */
#else
#define DECLARE_ENTRY(name, Struct) extern const KernelEntry name##_entry;
KERNELS_OF_ONE_BUILD(DECLARE_ENTRY)
KERNELS_OF_TARGETS(DECLARE_ENTRY)
#endif

void choose_instruction_set_of_host(void);

/* Returns the name of an instruction set that the processor supports, the best first; NULL after the last. */
const char *instruction_set(int number);

/* Returns the name of the chosen instruction set. */
const char *chosen_instruction_set(void);

/* Chooses the instruction set of all further calls; returns 0 if the processor does not support it. */
int use_instruction_set(const char *name);

#endif
