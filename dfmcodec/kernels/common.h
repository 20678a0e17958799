/* Shared by all kernels: calls and vectors.
 *
 * A kernel receives a `Call` and the struct of its arguments (interface.h). It does not depend on Python: module.c
 * fills the struct from Python arguments, and the browser fills it from JavaScript. interface.c checks the array
 * lengths that _compiled.pyi declares. A kernel checks all other lengths, and every index that the caller passes.
 * packaging/kernels/make_kernel_interface.py generates both files when the package is built.
 */
#ifndef DFM_COMMON_H
#define DFM_COMMON_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "constants.h"
#include "interface.h"

#if !defined(__GNUC__)
#error "the kernels need the vectors of GCC or Clang; without them the package uses NumPy"
#endif
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the kernels put bytes side by side with the lowest first; on other processors the package uses NumPy"
#endif

#define INLINE static inline __attribute__((always_inline))
/* For loops with a small constant number of iterations, so that their arrays can be in registers. */
#if defined(__clang__)
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define UNROLLED _Pragma("GCC unroll 32")
#endif

/* Other builds only contain code for the oldest processors. GCC does not align vectors of 32 bytes on Windows. */
#if defined(__x86_64__) && (defined(__linux__) || defined(_WIN32) && defined(__clang__))
#include <immintrin.h>
#define ON_X86 1
#else
#define ON_X86 0
#endif
#if defined(__aarch64__)
#include <arm_neon.h>
#define ON_ARM 1
#else
#define ON_ARM 0
#endif
#if defined(__wasm_simd128__)
#include <wasm_simd128.h>
#define ON_WASM 1
#else
#define ON_WASM 0
#endif

/* Kernels are compiled once for each target, with vectors of the size of its registers. Generated files such as
 * correction_avx2.c define TARGET_AVX2 and include the source. NAME gives each target its own function names, and
 * instruction_sets.c chooses the target at run time. Files without a target (coder.c, byte_products.c) are compiled
 * once. */
#if defined(TARGET_AVX512)
#define NAME(function) function##_avx512
#define LANES 16
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma")
#endif
#elif defined(TARGET_AVX2)
#define NAME(function) function##_avx2
#define LANES 8
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#elif defined(TARGET_BASELINE)
#define NAME(function) function##_baseline
#define LANES 4
#else
#define LANES 16
#endif
/* Vectors of LANES numbers, for any instruction set. GCC 12 for Arm has an internal error if registers of 16 bytes
 * are aligned to 4, so vectors of 4 numbers are only loaded and stored by memcpy. */
#if LANES == 4
#define LIKE_NUMBERS may_alias
#else
#define LIKE_NUMBERS aligned(4), may_alias
#endif
typedef int32_t int32_lanes __attribute__((vector_size(LANES * 4), LIKE_NUMBERS));
typedef float float_lanes __attribute__((vector_size(LANES * 4), LIKE_NUMBERS));

INLINE int32_lanes load_int32(const int32_t *at) {
    int32_lanes v;
    memcpy(&v, at, sizeof v);
    return v;
}

INLINE float_lanes load(const float *at) {
    float_lanes v;
    memcpy(&v, at, sizeof v);
    return v;
}

/* Loads the numbers at the given indices of a table. */
INLINE int32_lanes gather(const void *table, int32_lanes at) {
#if defined(TARGET_AVX512)
    return (int32_lanes)_mm512_i32gather_epi32((__m512i)at, table, 4);
#elif defined(TARGET_AVX2)
    return (int32_lanes)_mm256_i32gather_epi32(table, (__m256i)at, 4);
#else
    int32_lanes found;
    for (int n = 0; n < LANES; n++) found[n] = ((const int32_t *)table)[at[n]];
    return found;
#endif
}

/* Maximum and minimum by sign bits: compilers split vectors for comparisons. */
INLINE int32_lanes most(int32_lanes a, int32_t b) { return b + ((a - b) & ~((a - b) >> 31)); }
INLINE int32_lanes least(int32_lanes a, int32_t b) { return b + ((a - b) & (a - b) >> 31); }

INLINE float_lanes all(float x) { return x - (float_lanes){0}; }

INLINE void store(void *at, const void *v) { memcpy(at, v, LANES * 4); }

/* Returns a x + sum. Compilers use a fused instruction if the processor has one, except for WebAssembly, whose
 * instruction does not define how the product is rounded. */
INLINE float_lanes add_product(float_lanes sum, float a, float_lanes x) {
#if defined(__wasm_relaxed_simd__) && LANES == 4
    return (float_lanes)wasm_f32x4_relaxed_madd((v128_t)x, wasm_f32x4_splat(a), (v128_t)sum);
#else
    return sum + a * x;
#endif
}

typedef struct {
    int has_memory;   /* 0 after a failed allocation */
    ptrdiff_t result; /* for kernels that return a number */
    char error[120];  /* the reason why the arguments are rejected */
} Call;

INLINE int refuse(Call *call, const char *why) {
    size_t n = 0;
    for (; why[n] && n + 1 < sizeof call->error; n++) call->error[n] = why[n];
    call->error[n] = 0;
    return 0;
}

INLINE int refuse_sizes(Call *call) { return refuse(call, "the sizes are not possible: they are from 0 to 2^30"); }

INLINE int no_memory(Call *call) { return call->has_memory = 0; }

INLINE int give(Call *call, ptrdiff_t number) {
    call->result = number;
    return 1;
}

/* Allocates memory that is aligned to 64 bytes; not all C libraries have aligned_alloc. Returns NULL if there is none. */
INLINE void *aligned_memory(size_t size) {
    enum { ALIGNMENT = 64 };
    char *memory = malloc(size + ALIGNMENT + sizeof memory);
    if (!memory) return NULL;
    char *first = memory + sizeof memory;
    void **aligned = (void **)(first + (ALIGNMENT - (uintptr_t)first % ALIGNMENT) % ALIGNMENT);
    aligned[-1] = memory; /* the start of the allocation is stored before it */
    return aligned;
}

INLINE void free_aligned(void *aligned) {
    if (aligned) free(((void **)aligned)[-1]);
}

/* Returns whether all numbers are valid sizes or strides, so that products of two of them and a few channels cannot
 * overflow ptrdiff_t of 64 bits. With 32 bits, as in WebAssembly, memory is too small for sizes that could overflow. */
INLINE int are_sizes(const ptrdiff_t *sizes, int count) {
    for (int i = 0; i < count; i++)
        if (sizes[i] < 0 || sizes[i] > (ptrdiff_t)1 << 30) return 0;
    return 1;
}
#define SIZES(...)                                                                                                     \
    are_sizes((const ptrdiff_t[]){__VA_ARGS__}, sizeof((const ptrdiff_t[]){__VA_ARGS__}) / sizeof(ptrdiff_t))

/* Returns whether an index is in an array or at its end. Arrays of large images have more than 2^30 items. */
INLINE int is_position(int64_t position, ptrdiff_t length) { return position >= 0 && position <= length; }

/* Returns whether array `name` of the arguments `a` has at least `needed` items; otherwise it rejects the call. */
#define has_items(call, a, name, needed) has_count(call, (a)->name##_count, needed, #name " has too few items")
INLINE int has_count(Call *call, ptrdiff_t count, ptrdiff_t needed, const char *why) {
    return (needed >= 0 && count >= needed) || refuse(call, why);
}

#endif
