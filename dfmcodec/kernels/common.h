/* What all kernels share: checked arguments, vectors, and the choice of instructions at run time.
 *
 * Every array comes in as a buffer. A kernel checks the length of each one before it reads or writes
 * (`has_items`), and every position that the caller gives before it uses it; the types of the numbers
 * are those of _compiled.pyi, which the Python code keeps to.
 */
#ifndef DFM_COMMON_H
#define DFM_COMMON_H

#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030B0000 /* one build serves Python 3.11 and all later ones */
#endif
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if !defined(__GNUC__)
#error "the kernels need the vectors of GCC or Clang; without them the package uses NumPy"
#endif
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the kernels put bytes side by side with the lowest first; on other processors the package uses NumPy"
#endif

#define INLINE static inline __attribute__((always_inline))

#if defined(__x86_64__) && defined(__linux__) /* elsewhere a build is for the oldest processors throughout */
#include <immintrin.h>
#define ON_X86 1
#else
#define ON_X86 0
#endif
#if defined(__aarch64__)
#include <arm_neon.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif
#define ON_ARM 1
#else
#define ON_ARM 0
#endif

/* A function that is compiled for several instruction sets, of which the best is taken at load time. */
#if ON_X86 && !defined(DFM_ONE_TARGET)
#if !defined(__clang__) && __GNUC__ >= 12
#define FOR_EACH_TARGET __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define FOR_EACH_TARGET __attribute__((target_clones("default", "avx2", "avx512f")))
#endif
#else
#define FOR_EACH_TARGET
#endif

/* Files of much arithmetic (machine.c, fit.c) are compiled once for each target, with vectors of the size of its
 * registers: machine_avx2.c and its like define TARGET_AVX2, and so on, and include the file. NAME tells their
 * functions apart. Other files have vectors of 16 numbers, which compilers take apart for smaller registers; for a
 * product of such a vector and a number they take ten times as long. */
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

/* Larger and smaller numbers by their signs: compilers take vectors apart where they are compared. */
INLINE int32_lanes most(int32_lanes a, int32_t b) { return b + ((a - b) & ~((a - b) >> 31)); }
INLINE int32_lanes least(int32_lanes a, int32_t b) { return b + ((a - b) & (a - b) >> 31); }

INLINE float_lanes all(float x) { return x - (float_lanes){0}; }

INLINE void store(void *at, const void *v) { memcpy(at, v, LANES * 4); }

/* Whether numbers are sizes or strides that no product of two of them and a few channels can overflow. */
INLINE int are_sizes(const Py_ssize_t *sizes, int count) {
    for (int i = 0; i < count; i++)
        if (sizes[i] < 0 || sizes[i] > (Py_ssize_t)1 << 30) return 0;
    return 1;
}
#define SIZES(...)                                                                                                     \
    are_sizes((const Py_ssize_t[]){__VA_ARGS__}, sizeof((const Py_ssize_t[]){__VA_ARGS__}) / sizeof(Py_ssize_t))

/* Whether a buffer has at least `count` numbers of `size` bytes; otherwise sets ValueError. */
INLINE int has_items(const Py_buffer *buffer, Py_ssize_t count, Py_ssize_t size, const char *name) {
    if (count >= 0 && buffer->len / size >= count) return 1;
    PyErr_Format(PyExc_ValueError, "%s has %zd bytes, too few for %zd numbers", name, buffer->len, count);
    return 0;
}

/* The methods of each file; see module.c. */
extern PyMethodDef context_methods[], coder_methods[], synthesis_methods[], trellis_methods[], grid_methods[];

/* The targets of files that are compiled for each, and their methods. */
enum Target { BASELINE, FOR_AVX2, FOR_AVX512, TARGETS };
#define METHODS_OF_TARGETS(X)                                                                                          \
    X(machine_change)                                                                                                  \
    X(filter_change) X(planes_to_pixels) X(ssimulacra2_sums) X(ssimulacra2_slopes) X(window_gradient) X(window_costs)          \
    X(add_gradients) X(move_latents)

void choose_target(enum Target most); /* the best that the processor has, but none better than this */

#endif
