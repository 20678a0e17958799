/* All kernels of interface.h, and what calls them. A kernel returns 1, or 0 after `refuse` or `no_memory`. */
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

/* Where an argument is in the struct of a kernel, or of a group. */
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
    size_t offset, count_offset; /* of arrays and groups: where their number of items is */
    ptrdiff_t item_bytes;        /* of an array, 0 for 1 or 2; of a group among groups */
    ptrdiff_t most;              /* arrays, exactly so many; groups, at most */
    const struct Field *fields;
    int field_count;
} Field;

typedef enum { RETURNS_NOTHING, RETURNS_SIZE, RETURNS_TRUTH } Returns;

typedef struct {
    int (*run)(Call *call, const void *arguments); /* checks the arguments, and calls the kernel */
    Returns returns;
    int is_short; /* it keeps the lock of Python's interpreter */
    const Field *fields;
    int field_count;
    size_t bytes;    /* of its struct */
    int array_count; /* at most */
} KernelEntry;

#if ON_WASM
extern int (*const RUN_KERNEL[])(Call *call, const void *arguments); /* in the order of kernel_interface.js */
#else
#define DECLARE_ENTRY(name, Struct) extern const KernelEntry name##_entry;
KERNELS_OF_ONE_BUILD(DECLARE_ENTRY)
KERNELS_OF_TARGETS(DECLARE_ENTRY)
#endif

void choose_instruction_set_of_host(void);

/* The name of the instruction set number `number` of those that the processor has, the best first; else NULL. */
const char *instruction_set(int number);

/* The name of the chosen one, "" for none. */
const char *chosen_instruction_set(void);

/* Takes one for all that follows; returns 0 where the processor does not have it. */
int use_instruction_set(const char *name);

#endif
