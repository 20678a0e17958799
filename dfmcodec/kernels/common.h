/* What all kernels share: calls, and vectors.
 *
 * A kernel takes a `Call` and the struct of its arguments (interface.h), and knows nothing of Python: module.c fills
 * the struct from Python's arguments, and the browser does from JavaScript's. interface.c checks the lengths of arrays
 * that interface.py gives; a kernel checks all others, and every position that the caller gives, before it uses them.
 */
#ifndef DFM_COMMON_H
#define DFM_COMMON_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "interface.h"

#if !defined(__GNUC__)
#error "the kernels need the vectors of GCC or Clang; without them the package uses NumPy"
#endif
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the kernels put bytes side by side with the lowest first; on other processors the package uses NumPy"
#endif

#define INLINE static inline __attribute__((always_inline))
/* Before a loop of few known turns, whose arrays can then be in registers. */
#if defined(__clang__)
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define UNROLLED _Pragma("GCC unroll 32")
#endif

/* Elsewhere a build is for the oldest processors throughout. GCC does not align vectors of 32 bytes on Windows' stack. */
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

/* Kernels are compiled once for each target, with vectors of the size of its registers: correction_avx2.c and its like
 * define TARGET_AVX2, and so on, and include the file. NAME keeps their functions apart; instruction_sets.c chooses
 * between them. Files without a target (coder.c, byte_products.c) are compiled once. */
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
/* LANES numbers at once, whatever the instruction set. (GCC 12 for Arm has an internal error where registers of
 * 16 bytes are to be aligned to 4; vectors of 4 numbers are only read and written by memcpy.) */
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

/* The numbers at some places of a table. */
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

/* Larger and smaller numbers by their signs: compilers take vectors apart where they are compared. */
INLINE int32_lanes most(int32_lanes a, int32_t b) { return b + ((a - b) & ~((a - b) >> 31)); }
INLINE int32_lanes least(int32_lanes a, int32_t b) { return b + ((a - b) & (a - b) >> 31); }

INLINE float_lanes all(float x) { return x - (float_lanes){0}; }

INLINE void store(void *at, const void *v) { memcpy(at, v, LANES * 4); }

/* a x + sum. Compilers do it in one step where the processor has one, but for WebAssembly, which leaves open how the
 * product is rounded. */
INLINE float_lanes add_product(float_lanes sum, float a, float_lanes x) {
#if defined(__wasm_relaxed_simd__) && LANES == 4
    return (float_lanes)wasm_f32x4_relaxed_madd((v128_t)x, wasm_f32x4_splat(a), (v128_t)sum);
#else
    return sum + a * x;
#endif
}

typedef struct {
    int has_memory;   /* 0 where there was not enough */
    ptrdiff_t result; /* of kernels that return a number */
    char error[120];  /* why the arguments are refused */
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

/* Whether numbers are sizes or strides that no product of two of them and a few channels can overflow, where positions have
 * 64 bits; where they have 32, as in WebAssembly, memory is too small for sizes whose products could. */
INLINE int are_sizes(const ptrdiff_t *sizes, int count) {
    for (int i = 0; i < count; i++)
        if (sizes[i] < 0 || sizes[i] > (ptrdiff_t)1 << 30) return 0;
    return 1;
}
#define SIZES(...)                                                                                                     \
    are_sizes((const ptrdiff_t[]){__VA_ARGS__}, sizeof((const ptrdiff_t[]){__VA_ARGS__}) / sizeof(ptrdiff_t))

/* Whether a position lies in an array, or at its end. The arrays of large images have more than 2^30 numbers. */
INLINE int is_position(int64_t position, ptrdiff_t length) { return position >= 0 && position <= length; }

/* Whether array `name` of the arguments `a` has at least `needed` items; otherwise the call is refused. */
#define has_items(call, a, name, needed) has_count(call, (a)->name##_count, needed, #name " has too few items")
INLINE int has_count(Call *call, ptrdiff_t count, ptrdiff_t needed, const char *why) {
    return (needed >= 0 && count >= needed) || refuse(call, why);
}

#endif
