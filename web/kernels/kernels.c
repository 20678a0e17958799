/* The decoder's kernels as a WebAssembly module: calls from JavaScript (../src/kernels.js), memory, and two functions that
 * only this folder's code needs. make_kernels.py builds it.
 *
 * The module has no C library. Its memory comes from outside: the module's own data, then what JavaScript puts there,
 * then room for what a single call needs.
 */
#define TARGET_BASELINE
#include "../../dfmcodec/kernels/byte_products.h"
#include "../../dfmcodec/kernels/kernels.h"
#include "../../dfmcodec/kernels/maths.h"

#define EXPORT(name) __attribute__((export_name(name)))

const ByteProducts *byte_products = BYTE_PRODUCTS;

/* ---- memory ------------------------------------------------------------------------------------------------ */

static char *workspace, *workspace_end; /* of a call */

void *malloc(size_t size) {
    char *place = (char *)(((size_t)workspace + 15) / 16 * 16);
    if (place > workspace_end || (size_t)(workspace_end - place) < size) return NULL;
    workspace = place + size;
    return place;
}

void *calloc(size_t count, size_t size) {
    if (size && count > SIZE_MAX / size) return NULL;
    void *place = malloc(count * size);
    return place ? memset(place, 0, count * size) : NULL;
}

void free(void *place) { (void)place; /* all of it is free after the call */ }

/* These become instructions (-mbulk-memory). */
void *memcpy(void *restrict target, const void *restrict source, size_t size) {
    return __builtin_memcpy(target, source, size);
}
void *memset(void *target, int value, size_t size) { return __builtin_memset(target, value, size); }

/* ---- calls ------------------------------------------------------------------------------------------------- */

static Call last_call;

/* Calls kernel `number` of KERNELS in ../src/compiled_kernels.js with the struct of its arguments, and with what is free from `start` to
 * `end`; returns 1, or 0 where it failed. */
EXPORT("call_kernel") int call_kernel(int number, const void *arguments, char *start, char *end) {
    workspace = start, workspace_end = end;
    last_call = (Call){1, 0, ""};
    return RUN_KERNEL[number](&last_call, arguments);
}

EXPORT("result") ptrdiff_t result(void) { return last_call.result; }

/* Why the last call failed; NULL where there was not enough memory. */
EXPORT("error") const char *error(void) { return last_call.has_memory ? last_call.error : NULL; }

/* Whether this engine multiplies bytes as the kernels need it; early ones took the two factors the other way round. */
EXPORT("is_exact") int is_exact(void) {
#if defined(__wasm_relaxed_simd__)
    static const int8_t weights[16] = {-127, -127, 127, 127, -127, -127, -127, -127, 127, 127, 127, 127, -1, 2, -3, 4};
    static const int8_t inputs[16] = {127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127, 126, 125, 124};
    const v128_t sums = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(wasm_v128_load(weights),
                                                               wasm_v128_load(inputs),
                                                               wasm_i32x4_const_splat(5));
    return wasm_i32x4_extract_lane(sums, 0) == 5 && wasm_i32x4_extract_lane(sums, 1) == 5 - 4 * 127 * 127 &&
           wasm_i32x4_extract_lane(sums, 2) == 5 + 4 * 127 * 127 &&
           wasm_i32x4_extract_lane(sums, 3) == 5 - 127 + 252 - 375 + 496;
#else
    return 1;
#endif
}

/* ---- rows of numbers --------------------------------------------------------------------------------------- */

enum { ROWS = 4, POSITIONS = 8 }; /* rows of results at a time, and numbers of a row */

/* A matrix of float32; ../src/float_rows.js describes it. */
typedef struct {
    const float *weights;
    int columns, group_count;
    const float *constants;
    float least;
    int adds;
} Matrix;

/* Results of a matrix for `blocks` of POSITIONS. The inputs of column k are at inputs[k] + at, in bytes. */
EXPORT("multiply")
void multiply(const Matrix *matrix, const int32_t *inputs, int32_t at, char *out, int32_t stride, int blocks) {
    for (int block = 0; block < blocks; block++, at += 4 * POSITIONS, out += 4 * POSITIONS) {
        const float *weights = matrix->weights, *constants = matrix->constants;
        char *target = out;
        for (int group = 0; group < matrix->group_count; group++, constants += ROWS, target += ROWS * stride) {
            float_lanes sums[ROWS][2];
            UNROLLED
            for (int row = 0; row < ROWS; row++) {
                const float *before = (const float *)(target + row * stride);
                sums[row][0] = sums[row][1] = all(constants[row]);
                if (!matrix->adds) continue;
                sums[row][0] += load(before);
                sums[row][1] += load(before + LANES);
            }
            for (int column = 0; column < matrix->columns; column++, weights += ROWS) {
                const float *x = (const float *)(size_t)(inputs[column] + at);
                const float_lanes x0 = load(x), x1 = load(x + LANES);
                UNROLLED
                for (int row = 0; row < ROWS; row++) {
                    sums[row][0] = add_product(sums[row][0], weights[row], x0);
                    sums[row][1] = add_product(sums[row][1], weights[row], x1);
                }
            }
            const v128_t least = wasm_f32x4_splat(matrix->least);
            UNROLLED
            for (int row = 0; row < ROWS; row++) {
                float *after = (float *)(target + row * stride);
                wasm_v128_store(after, wasm_f32x4_max((v128_t)sums[row][0], least));
                wasm_v128_store(after + LANES, wasm_f32x4_max((v128_t)sums[row][1], least));
            }
        }
    }
}

/* cos a - 1 and sin a of angles in radians. */
EXPORT("turn") void turn(const float *angles, float *cosines, float *sines, int blocks) {
    for (int n = 0; n < blocks * POSITIONS; n += LANES) {
        float_lanes cosine, sine;
        const float_lanes turns = load(angles + n) * 0.15915494309189535f;
        cos_sin(turns - rounded_lanes(turns), &cosine, &sine);
        cosine -= 1.0f;
        store(cosines + n, &cosine);
        store(sines + n, &sine);
    }
}
