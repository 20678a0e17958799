/* See byte_products.h. All sums are exact, so they are equal for all instruction sets. */
#include "byte_products.h"
#include "processor.h"

#if ON_X86 && !defined(__clang__) && __GNUC__ >= 11
#define HAS_NEWER 1 /* AVX-VNNI and AMX, which older compilers do not support */
#else
#define HAS_NEWER 0
#endif

enum {
    VECTORS = CHUNK / LANES,
    RAISED = 128,
};

#if !ON_WASM
/* Activations of a layer from its sums: clip(sum >> 6, 0, 127). */
INLINE void activate(const int32_t *sums, int padded_outputs, int8_t *out) {
    for (int first = 0; first < padded_outputs; first += GROUP)
        for (int n = 0; n < CHUNK; n += LANES) {
            int32_lanes four = {0};
            for (int i = 0; i < GROUP; i++) {
                int32_lanes a = load_int32(sums + (first + i) * CHUNK + n) >> 6;
                a = least(most(a, 0), 127);
                four |= a << 8 * i;
            }
            store(out + first * CHUNK + n * GROUP, &four);
        }
}

INLINE void finish(const Layer *layer, const int32_t *sums, void *out) {
    if (layer->is_last)
        memcpy(out, sums, (size_t)layer->padded_outputs * CHUNK * sizeof *sums);
    else
        activate(sums, layer->padded_outputs, out);
}
#endif

INLINE const int8_t *weights_of(const Layer *layer, int group, int output) {
    return layer->weights + (ptrdiff_t)group * layer->group_step + (ptrdiff_t)output * layer->output_step;
}

INLINE int32_t as_int32(const int8_t *four) {
    int32_t value;
    memcpy(&value, four, sizeof value);
    return value;
}

#if !ON_WASM
/* Any processor. */

INLINE int interleave(const int8_t *const rows[GROUP], int8_t *group) {
    uint32_t any = 0;
    for (int n = 0; n < CHUNK; n++) {
        const uint32_t four = (uint8_t)rows[0][n] | (uint32_t)(uint8_t)rows[1][n] << 8 |
                              (uint32_t)(uint8_t)rows[2][n] << 16 | (uint32_t)(uint8_t)rows[3][n] << 24;
        memcpy(group + n * GROUP, &four, sizeof four);
        any |= four;
    }
    return any != 0;
}

static void evaluate_baseline(const Layer *layer, const Inputs *in, void *out) {
    int32_t all_sums[MAX_OUTPUTS * CHUNK];
    for (int j = 0; j < layer->padded_outputs; j++) {
        int32_t *sums = all_sums + j * CHUNK;
        for (int n = 0; n < CHUNK; n++) sums[n] = layer->constants[j];
        for (int g = 0; g < in->count; g++) {
            const int8_t *x = in->values + g * GROUP_BYTES, *w = weights_of(layer, in->numbers[g], j);
            for (int n = 0; n < CHUNK; n++)
                for (int i = 0; i < GROUP; i++) sums[n] += w[i] * x[n * GROUP + i];
        }
    }
    finish(layer, all_sums, out);
}
#endif

#if ON_X86

/* AVX2: the magnitude of an input times the weight with the input's sign, in pairs of 16 bits. Bytes are at most 127,
 * so these sums cannot overflow. */

#define AVX2 __attribute__((target("avx2")))

AVX2
static int interleave_avx2(const int8_t *const rows[GROUP], int8_t *group) {
    __m256i any = _mm256_setzero_si256();
    UNROLLED
    for (int n = 0; n < CHUNK; n += 32) {
        __m256i row[GROUP];
        UNROLLED
        for (int i = 0; i < GROUP; i++) {
            row[i] = _mm256_loadu_si256((const __m256i *)(rows[i] + n));
            any = _mm256_or_si256(any, row[i]);
        }
        const __m256i ab_low = _mm256_unpacklo_epi8(row[0], row[1]), ab_high = _mm256_unpackhi_epi8(row[0], row[1]);
        const __m256i cd_low = _mm256_unpacklo_epi8(row[2], row[3]), cd_high = _mm256_unpackhi_epi8(row[2], row[3]);
        /* half l of `q` has symbols 16 l + 4 q .. 16 l + 4 q + 3 */
        const __m256i q0 = _mm256_unpacklo_epi16(ab_low, cd_low), q1 = _mm256_unpackhi_epi16(ab_low, cd_low);
        const __m256i q2 = _mm256_unpacklo_epi16(ab_high, cd_high), q3 = _mm256_unpackhi_epi16(ab_high, cd_high);
        __m256i *out = (__m256i *)(group + n * GROUP);
        _mm256_storeu_si256(out, _mm256_permute2x128_si256(q0, q1, 0x20));
        _mm256_storeu_si256(out + 1, _mm256_permute2x128_si256(q2, q3, 0x20));
        _mm256_storeu_si256(out + 2, _mm256_permute2x128_si256(q0, q1, 0x31));
        _mm256_storeu_si256(out + 3, _mm256_permute2x128_si256(q2, q3, 0x31));
    }
    return !_mm256_testz_si256(any, any);
}

/* The sums of TILE outputs for vectors v and v + 1 of 8 symbols. */
AVX2
INLINE void store_sums(int32_t *out, int v, __m256i sums[TILE][2]) {
    UNROLLED
    for (int j = 0; j < TILE; j++) {
        __m256i *target = (__m256i *)(out + j * CHUNK) + v;
        _mm256_storeu_si256(target, sums[j][0]);
        _mm256_storeu_si256(target + 1, sums[j][1]);
    }
}

AVX2
static inline __m256i add_four_products(__m256i sum, __m256i magnitudes, __m256i x, __m256i weights) {
    const __m256i pairs = _mm256_maddubs_epi16(magnitudes, _mm256_sign_epi8(weights, x));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

AVX2
static void evaluate_avx2(const Layer *layer, const Inputs *in, void *out) {
    int32_t all_sums[MAX_OUTPUTS * CHUNK];
    for (int first = 0; first < layer->padded_outputs; first += TILE)
        for (int v = 0; v < CHUNK / 8; v += 2) {
            __m256i sums[TILE][2];
            UNROLLED
            for (int j = 0; j < TILE; j++) sums[j][0] = sums[j][1] = _mm256_set1_epi32(layer->constants[first + j]);
            for (int g = 0; g < in->count; g++) {
                const __m256i *x = (const __m256i *)(in->values + g * GROUP_BYTES) + v;
                const __m256i x0 = _mm256_loadu_si256(x), x1 = _mm256_loadu_si256(x + 1);
                const __m256i size0 = _mm256_abs_epi8(x0), size1 = _mm256_abs_epi8(x1);
                const int8_t *w = weights_of(layer, in->numbers[g], first);
                UNROLLED
                for (int j = 0; j < TILE; j++) {
                    const __m256i four = _mm256_set1_epi32(as_int32(w + j * GROUP));
                    sums[j][0] = add_four_products(sums[j][0], size0, x0, four);
                    sums[j][1] = add_four_products(sums[j][1], size1, x1, four);
                }
            }
            store_sums(all_sums + first * CHUNK, v, sums);
        }
    finish(layer, all_sums, out);
}

#if HAS_NEWER

/* AVX-VNNI, for processors without AVX-512: as below, for 8 symbols. */

#define AVX_VNNI __attribute__((target("avx2,avxvnni")))

AVX_VNNI
static void evaluate_avx_vnni(const Layer *layer, const Inputs *in, void *out) {
    int32_t all_sums[MAX_OUTPUTS * CHUNK];
    const __m256i raised = _mm256_set1_epi8((char)RAISED);
    for (int v = 0; v < CHUNK / 8; v += 2) {
        __m256i too_much[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
        for (int g = 0; g < in->count; g++) {
            const __m256i *x = (const __m256i *)(in->values + g * GROUP_BYTES) + v;
            too_much[0] = _mm256_dpbusd_avx_epi32(too_much[0], raised, _mm256_loadu_si256(x));
            too_much[1] = _mm256_dpbusd_avx_epi32(too_much[1], raised, _mm256_loadu_si256(x + 1));
        }
        for (int first = 0; first < layer->padded_outputs; first += TILE) {
            __m256i sums[TILE][2];
            UNROLLED
            for (int j = 0; j < TILE; j++) {
                const __m256i constant = _mm256_set1_epi32(layer->constants[first + j]);
                sums[j][0] = _mm256_sub_epi32(constant, too_much[0]);
                sums[j][1] = _mm256_sub_epi32(constant, too_much[1]);
            }
            for (int g = 0; g < in->count; g++) {
                const __m256i *x = (const __m256i *)(in->values + g * GROUP_BYTES) + v;
                const __m256i x0 = _mm256_loadu_si256(x), x1 = _mm256_loadu_si256(x + 1);
                const int8_t *w = weights_of(layer, in->numbers[g], first);
                UNROLLED
                for (int j = 0; j < TILE; j++) {
                    const __m256i four = _mm256_set1_epi32(as_int32(w + j * GROUP));
                    sums[j][0] = _mm256_dpbusd_avx_epi32(sums[j][0], four, x0);
                    sums[j][1] = _mm256_dpbusd_avx_epi32(sums[j][1], four, x1);
                }
            }
            store_sums(all_sums + first * CHUNK, v, sums);
        }
    }
    finish(layer, all_sums, out);
}

#endif

/* AVX-512 VNNI: four byte products per sum and instruction, without saturation. One of the two factors is unsigned, so
 * 128 is added to weights, and 128 times the sum of the inputs is subtracted. */

#define VNNI __attribute__((target("avx512f,avx512bw,avx512vnni")))

VNNI
static int interleave_vnni(const int8_t *const rows[GROUP], int8_t *group) {
    const __m512i a = _mm512_loadu_si512(rows[0]), b = _mm512_loadu_si512(rows[1]);
    const __m512i c = _mm512_loadu_si512(rows[2]), d = _mm512_loadu_si512(rows[3]);
    const __m512i any = _mm512_or_si512(_mm512_or_si512(a, b), _mm512_or_si512(c, d));
    if (!_mm512_test_epi32_mask(any, any)) return 0;
    const __m512i ab_low = _mm512_unpacklo_epi8(a, b), ab_high = _mm512_unpackhi_epi8(a, b);
    const __m512i cd_low = _mm512_unpacklo_epi8(c, d), cd_high = _mm512_unpackhi_epi8(c, d);
    /* quarter l of `q` has symbols 16 l + 4 q .. 16 l + 4 q + 3 */
    const __m512i q0 = _mm512_unpacklo_epi16(ab_low, cd_low), q1 = _mm512_unpackhi_epi16(ab_low, cd_low);
    const __m512i q2 = _mm512_unpacklo_epi16(ab_high, cd_high), q3 = _mm512_unpackhi_epi16(ab_high, cd_high);
    const __m512i even01 = _mm512_shuffle_i32x4(q0, q1, 0x88), odd01 = _mm512_shuffle_i32x4(q0, q1, 0xDD);
    const __m512i even23 = _mm512_shuffle_i32x4(q2, q3, 0x88), odd23 = _mm512_shuffle_i32x4(q2, q3, 0xDD);
    _mm512_storeu_si512(group, _mm512_shuffle_i32x4(even01, even23, 0x88));
    _mm512_storeu_si512(group + 64, _mm512_shuffle_i32x4(odd01, odd23, 0x88));
    _mm512_storeu_si512(group + 128, _mm512_shuffle_i32x4(even01, even23, 0xDD));
    _mm512_storeu_si512(group + 192, _mm512_shuffle_i32x4(odd01, odd23, 0xDD));
    return 1;
}

/* `activate` for the sums of a group, in registers. Packing saturates the numbers. */
VNNI
static inline __m512i activations_of(__m512i a, __m512i b, __m512i c, __m512i d) {
    const __m512i ab = _mm512_packs_epi32(_mm512_srai_epi32(a, 6), _mm512_srai_epi32(b, 6));
    const __m512i cd = _mm512_packs_epi32(_mm512_srai_epi32(c, 6), _mm512_srai_epi32(d, 6));
    const __m512i limited = _mm512_min_epu8(_mm512_packus_epi16(ab, cd), _mm512_set1_epi8(127));
    const __m128i turned = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    return _mm512_shuffle_epi8(limited, _mm512_broadcast_i32x4(turned));
}

VNNI
static void evaluate_vnni(const Layer *layer, const Inputs *in, void *out) {
    const __m512i raised = _mm512_set1_epi8((char)RAISED);
    __m512i too_much[VECTORS];
    UNROLLED
    for (int v = 0; v < VECTORS; v++) too_much[v] = _mm512_setzero_si512();
    for (int g = 0; g < in->count; g++)
        UNROLLED
        for (int v = 0; v < VECTORS; v++)
            too_much[v] = _mm512_dpbusd_epi32(too_much[v], raised,
                                              _mm512_loadu_si512(in->values + g * GROUP_BYTES + v * LANES * GROUP));
    for (int first = 0; first < layer->padded_outputs; first += TILE) {
        __m512i sums[TILE][VECTORS];
        UNROLLED
        for (int j = 0; j < TILE; j++)
            UNROLLED
            for (int v = 0; v < VECTORS; v++)
                sums[j][v] = _mm512_sub_epi32(_mm512_set1_epi32(layer->constants[first + j]), too_much[v]);
        for (int g = 0; g < in->count; g++) {
            const int8_t *x = in->values + g * GROUP_BYTES, *w = weights_of(layer, in->numbers[g], first);
            UNROLLED
            for (int j = 0; j < TILE; j++) {
                const __m512i four = _mm512_set1_epi32(as_int32(w + j * GROUP));
                UNROLLED
                for (int v = 0; v < VECTORS; v++)
                    sums[j][v] = _mm512_dpbusd_epi32(sums[j][v], four, _mm512_loadu_si512(x + v * LANES * GROUP));
            }
        }
        if (layer->is_last) {
            UNROLLED
            for (int j = 0; j < TILE; j++)
                UNROLLED
                for (int v = 0; v < VECTORS; v++)
                    _mm512_storeu_si512((int32_t *)out + (first + j) * CHUNK + v * LANES, sums[j][v]);
            continue;
        }
        UNROLLED
        for (int v = 0; v < VECTORS; v++)
            _mm512_storeu_si512((int8_t *)out + first * CHUNK + v * LANES * GROUP,
                                activations_of(sums[0][v], sums[1][v], sums[2][v], sums[3][v]));
    }
}

#endif

#if HAS_NEWER

/* AMX: 64 byte products per sum and instruction, for a tile of 16 outputs and 16 symbols. */

#define AMX __attribute__((target("amx-tile,amx-int8,avx512f,avx512bw,avx512vnni")))
enum { AMX_ROWS = 16, AMX_BYTES = 64 };

AMX
static void begin_amx(void) {
    static const struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } tiles = {1, 0, {0}, {64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16}};
    _tile_loadconfig(&tiles);
}

AMX
static void end_amx(void) { _tile_release(); }

AMX
static void evaluate_amx(const Layer *layer, const Inputs *in, void *out) {
    int32_t of_tile[AMX_ROWS * CHUNK] __attribute__((aligned(64)));
    const int parts = layer->output_step / AMX_BYTES;
    for (int first = 0; first < layer->padded_outputs; first += AMX_ROWS) {
        const int8_t *w = weights_of(layer, 0, first);
        const int32_t *constants = layer->repeated + first * REPEATED;
        _tile_loadd(0, constants, LANES * 4);
        _tile_loadd(1, constants, LANES * 4);
        _tile_loadd(2, constants, LANES * 4);
        _tile_loadd(3, constants, LANES * 4);
        for (int part = 0; part < parts; part++) {
            const int8_t *x = in->values + part * AMX_ROWS * GROUP_BYTES;
            _tile_loadd(4, w + part * AMX_BYTES, layer->output_step);
            _tile_loadd(5, x, GROUP_BYTES);
            _tile_dpbssd(0, 4, 5);
            _tile_loadd(5, x + 64, GROUP_BYTES);
            _tile_dpbssd(1, 4, 5);
            _tile_loadd(5, x + 128, GROUP_BYTES);
            _tile_dpbssd(2, 4, 5);
            _tile_loadd(5, x + 192, GROUP_BYTES);
            _tile_dpbssd(3, 4, 5);
        }
        int32_t *sums = layer->is_last ? (int32_t *)out + first * CHUNK : of_tile;
        _tile_stored(0, sums, CHUNK * 4);
        _tile_stored(1, sums + 16, CHUNK * 4);
        _tile_stored(2, sums + 32, CHUNK * 4);
        _tile_stored(3, sums + 48, CHUNK * 4);
        for (int j = 0; j < AMX_ROWS && !layer->is_last; j += GROUP)
            for (int v = 0; v < VECTORS; v++) {
                const int32_t *at = sums + j * CHUNK + v * LANES;
                const __m512i a = _mm512_loadu_si512(at), b = _mm512_loadu_si512(at + CHUNK);
                const __m512i c = _mm512_loadu_si512(at + 2 * CHUNK), d = _mm512_loadu_si512(at + 3 * CHUNK);
                _mm512_storeu_si512((int8_t *)out + (first + j) * CHUNK + v * LANES * GROUP,
                                    activations_of(a, b, c, d));
            }
    }
}

#endif

#if ON_ARM

/* Dot products of 64-bit Arm: four byte products per sum, for 4 symbols per instruction. */

#if defined(__clang__)
#define DOTPROD __attribute__((target("dotprod")))
#else
#define DOTPROD __attribute__((target("arch=armv8.2-a+dotprod")))
#endif

DOTPROD
static int interleave_dotprod(const int8_t *const rows[GROUP], int8_t *group) { return interleave(rows, group); }

DOTPROD
static void evaluate_dotprod(const Layer *layer, const Inputs *in, void *out) {
    int32_t all_sums[MAX_OUTPUTS * CHUNK];
    enum { AT_A_TIME = 4 };
    for (int first = 0; first < layer->padded_outputs; first += TILE)
        for (int v = 0; v < CHUNK / 4; v += AT_A_TIME) {
            int32x4_t sums[TILE][AT_A_TIME];
            UNROLLED
            for (int j = 0; j < TILE; j++)
                UNROLLED
                for (int i = 0; i < AT_A_TIME; i++) sums[j][i] = vdupq_n_s32(layer->constants[first + j]);
            for (int g = 0; g < in->count; g++) {
                const int8_t *x = in->values + g * GROUP_BYTES + v * 16, *w = weights_of(layer, in->numbers[g], first);
                UNROLLED
                for (int j = 0; j < TILE; j++) {
                    const int8x16_t four = vreinterpretq_s8_s32(vdupq_n_s32(as_int32(w + j * GROUP)));
                    UNROLLED
                    for (int i = 0; i < AT_A_TIME; i++) sums[j][i] = vdotq_s32(sums[j][i], vld1q_s8(x + i * 16), four);
                }
            }
            UNROLLED
            for (int j = 0; j < TILE; j++)
                UNROLLED
                for (int i = 0; i < AT_A_TIME; i++) vst1q_s32(all_sums + (first + j) * CHUNK + (v + i) * 4, sums[j][i]);
        }
    finish(layer, all_sums, out);
}

#endif

#if ON_WASM

/* WebAssembly: 16 bytes at a time. */

static int interleave_wasm(const int8_t *const rows[GROUP], int8_t *group) {
    v128_t any = wasm_i32x4_const_splat(0);
    for (int n = 0; n < CHUNK; n += 16) {
        const v128_t a = wasm_v128_load(rows[0] + n), b = wasm_v128_load(rows[1] + n);
        const v128_t c = wasm_v128_load(rows[2] + n), d = wasm_v128_load(rows[3] + n);
        any = wasm_v128_or(any, wasm_v128_or(wasm_v128_or(a, b), wasm_v128_or(c, d)));
#define BYTES_OF(first, x, y)                                                                                          \
    wasm_i8x16_shuffle(x, y, first, first + 16, first + 1, first + 17, first + 2, first + 18, first + 3, first + 19,   \
                       first + 4, first + 20, first + 5, first + 21, first + 6, first + 22, first + 7, first + 23)
#define PAIRS_OF(first, x, y)                                                                                          \
    wasm_i16x8_shuffle(x, y, first, first + 8, first + 1, first + 9, first + 2, first + 10, first + 3, first + 11)
        const v128_t ab_low = BYTES_OF(0, a, b), ab_high = BYTES_OF(8, a, b);
        const v128_t cd_low = BYTES_OF(0, c, d), cd_high = BYTES_OF(8, c, d);
        int8_t *target = group + n * GROUP;
        wasm_v128_store(target, PAIRS_OF(0, ab_low, cd_low));
        wasm_v128_store(target + 16, PAIRS_OF(4, ab_low, cd_low));
        wasm_v128_store(target + 32, PAIRS_OF(0, ab_high, cd_high));
        wasm_v128_store(target + 48, PAIRS_OF(4, ab_high, cd_high));
    }
    return wasm_v128_any_true(any);
}

/* The last steps of a layer for four symbols, starting at number n. */
INLINE void finish_sums(const Layer *layer, const v128_t sums[TILE], int first, int n, void *out) {
    if (layer->is_last) {
        UNROLLED
        for (int j = 0; j < TILE; j++) wasm_v128_store((int32_t *)out + (first + j) * CHUNK + n, sums[j]);
        return;
    }
    const v128_t a = wasm_i32x4_shr(sums[0], 6), b = wasm_i32x4_shr(sums[1], 6);
    const v128_t c = wasm_i32x4_shr(sums[2], 6), d = wasm_i32x4_shr(sums[3], 6);
    const v128_t bytes = wasm_u8x16_narrow_i16x8(wasm_i16x8_narrow_i32x4(a, b), wasm_i16x8_narrow_i32x4(c, d));
    const v128_t turned = wasm_i8x16_shuffle(bytes, bytes, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    wasm_v128_store((int8_t *)out + first * CHUNK + n * GROUP, wasm_u8x16_min(turned, wasm_i8x16_const_splat(127)));
}

#if defined(__wasm_relaxed_simd__)

enum { AT_A_TIME = 8 }; /* symbols */

/* Nonzero inputs of some symbols: magnitudes of the positive ones, or of the negative ones. */
typedef struct {
    int count;
    const int8_t *weights[MAX_GROUPS];
    v128_t values[MAX_GROUPS][2];
} Magnitudes;

INLINE void add_magnitudes(Magnitudes *to, const int8_t *weights, v128_t x0, v128_t x1) {
    to->weights[to->count] = weights;
    to->values[to->count][0] = x0, to->values[to->count][1] = x1;
    to->count += wasm_v128_any_true(wasm_v128_or(x0, x1));
}

INLINE void add_dot_products(v128_t sums[TILE][2], const Magnitudes *of, int first) {
    for (int i = 0; i < of->count; i++) {
        const v128_t x0 = of->values[i][0], x1 = of->values[i][1];
        const int8_t *w = of->weights[i] + first * GROUP;
        UNROLLED
        for (int j = 0; j < TILE; j++) {
            const v128_t four = wasm_i32x4_splat(as_int32(w + j * GROUP));
            sums[j][0] = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(four, x0, sums[j][0]);
            sums[j][1] = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(four, x1, sums[j][1]);
        }
    }
}

/* The result of a dot product is only defined if the second factors are in 0..127. Positive and negative inputs are
 * therefore separate, and the products of the latter are subtracted. Sums of two products fit into 16 bits. */
static void evaluate_wasm(const Layer *layer, const Inputs *in, void *out) {
    Magnitudes above, below;
    const v128_t zero = wasm_i32x4_const_splat(0);
    for (int n = 0; n < CHUNK; n += AT_A_TIME) {
        above.count = below.count = 0;
        for (int g = 0; g < in->count; g++) {
            const int8_t *x = in->values + g * GROUP_BYTES + n * GROUP, *weights = weights_of(layer, in->numbers[g], 0);
            const v128_t x0 = wasm_v128_load(x), x1 = wasm_v128_load(x + 16);
            const v128_t above0 = wasm_i8x16_max(x0, zero), above1 = wasm_i8x16_max(x1, zero);
            add_magnitudes(&above, weights, above0, above1);
            add_magnitudes(&below, weights, wasm_i8x16_sub(above0, x0), wasm_i8x16_sub(above1, x1));
        }
        for (int first = 0; first < layer->padded_outputs; first += TILE) {
            v128_t sums[TILE][2];
            UNROLLED
            for (int j = 0; j < TILE; j++) sums[j][0] = sums[j][1] = wasm_i32x4_splat(-layer->constants[first + j]);
            add_dot_products(sums, &below, first);
            UNROLLED
            for (int j = 0; j < TILE; j++) sums[j][0] = wasm_i32x4_neg(sums[j][0]), sums[j][1] = wasm_i32x4_neg(sums[j][1]);
            add_dot_products(sums, &above, first);
            UNROLLED
            for (int half = 0; half < 2; half++) {
                const v128_t of_symbols[TILE] = {sums[0][half], sums[1][half], sums[2][half], sums[3][half]};
                finish_sums(layer, of_symbols, first, n + 4 * half, out);
            }
        }
    }
}

#else

enum { AT_A_TIME = 4 };

/* Nonzero inputs of some symbols, 16 bits each: those of the first two symbols, and those of the others. */
typedef struct {
    int count;
    const int8_t *weights[MAX_GROUPS];
    v128_t values[MAX_GROUPS][2];
} Numbers;

/* Products of 16 bits: for each symbol, the sum of the first two and the sum of the last two of a group. */
static void evaluate_wasm(const Layer *layer, const Inputs *in, void *out) {
    Numbers numbers;
    for (int n = 0; n < CHUNK; n += AT_A_TIME) {
        numbers.count = 0;
        for (int g = 0; g < in->count; g++) {
            const v128_t x = wasm_v128_load(in->values + g * GROUP_BYTES + n * GROUP);
            numbers.weights[numbers.count] = weights_of(layer, in->numbers[g], 0);
            numbers.values[numbers.count][0] = wasm_i16x8_extend_low_i8x16(x);
            numbers.values[numbers.count][1] = wasm_i16x8_extend_high_i8x16(x);
            numbers.count += wasm_v128_any_true(x);
        }
        for (int first = 0; first < layer->padded_outputs; first += TILE) {
            v128_t sums[TILE][2];
            UNROLLED
            for (int j = 0; j < TILE; j++) sums[j][0] = sums[j][1] = wasm_i32x4_const_splat(0);
            for (int i = 0; i < numbers.count; i++) {
                const int8_t *w = numbers.weights[i] + first * GROUP;
                const v128_t x0 = numbers.values[i][0], x1 = numbers.values[i][1];
                UNROLLED
                for (int j = 0; j < TILE; j++) {
                    const v128_t four = wasm_i16x8_extend_low_i8x16(wasm_i32x4_splat(as_int32(w + j * GROUP)));
                    sums[j][0] = wasm_i32x4_add(sums[j][0], wasm_i32x4_dot_i16x8(x0, four));
                    sums[j][1] = wasm_i32x4_add(sums[j][1], wasm_i32x4_dot_i16x8(x1, four));
                }
            }
            v128_t of_symbols[TILE];
            UNROLLED
            for (int j = 0; j < TILE; j++) {
                const v128_t even = wasm_i32x4_shuffle(sums[j][0], sums[j][1], 0, 2, 4, 6);
                const v128_t odd = wasm_i32x4_shuffle(sums[j][0], sums[j][1], 1, 3, 5, 7);
                const v128_t constant = wasm_i32x4_splat(layer->constants[first + j]);
                of_symbols[j] = wasm_i32x4_add(constant, wasm_i32x4_add(even, odd));
            }
            finish_sums(layer, of_symbols, first, n, out);
        }
    }
}

#endif

#endif

static void nothing_to_do(void) {}
static int is_always_possible(void) { return 1; }

const ByteProducts BYTE_PRODUCTS[] = {
#if HAS_NEWER
    {"amx", has_amx, interleave_vnni, evaluate_amx, begin_amx, end_amx, AMX_ROWS, 0, 1},
#endif
#if ON_X86
    {"avx512-vnni", has_vnni, interleave_vnni, evaluate_vnni, nothing_to_do, nothing_to_do, TILE, 1, 0},
#if HAS_NEWER
    {"avx-vnni", has_avx_vnni, interleave_avx2, evaluate_avx_vnni, nothing_to_do, nothing_to_do, TILE, 1, 0},
#endif
    {"avx2", has_avx2, interleave_avx2, evaluate_avx2, nothing_to_do, nothing_to_do, TILE, 0, 0},
#endif
#if ON_WASM
    {"wasm", is_always_possible, interleave_wasm, evaluate_wasm, nothing_to_do, nothing_to_do, TILE, 0, 0},
#endif
#if ON_ARM
    {"dotprod", has_dotprod, interleave_dotprod, evaluate_dotprod, nothing_to_do, nothing_to_do, TILE, 0, 0},
#endif
#if !ON_WASM
    {"baseline", is_always_possible, interleave, evaluate_baseline, nothing_to_do, nothing_to_do, TILE, 0, 0},
#endif
    {NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, 0},
};

int make_layer(Layer *layer, const int8_t *weights, ptrdiff_t row_length, const int32_t *columns, int inputs,
               int outputs, const int32_t *constants, int is_last) {
    layer->is_last = is_last;
    layer->outputs = outputs;
    layer->groups = (inputs + GROUP - 1) / GROUP;
    const int tile = byte_products->tile, part = byte_products->takes_every_group ? tile : 1; /* groups at a time */
    const int padded_groups = (layer->groups + part - 1) / part * part;
    layer->padded_outputs = (outputs + tile - 1) / tile * tile;
    layer->group_step = part > 1 ? GROUP : layer->padded_outputs * GROUP;
    layer->output_step = part > 1 ? padded_groups * GROUP : GROUP;
    const size_t all = (size_t)padded_groups * layer->padded_outputs * GROUP;
    layer->weights = malloc(all);
    layer->constants = calloc((size_t)layer->padded_outputs, sizeof(int32_t));
    layer->repeated = malloc((size_t)layer->padded_outputs * REPEATED * sizeof(int32_t));
    if (!layer->weights || !layer->constants || !layer->repeated) return 0;
    memcpy(layer->constants, constants, (size_t)outputs * sizeof *constants);
    for (int j = 0; j < layer->padded_outputs; j++)
        for (int n = 0; n < REPEATED; n++) layer->repeated[j * REPEATED + n] = layer->constants[j];
    const uint8_t zero = byte_products->has_raised_weights ? RAISED : 0;
    memset(layer->weights, zero, all);
    for (int j = 0; j < outputs; j++) {
        const int8_t *of_output = weights + j * row_length;
        int8_t *target = layer->weights + (ptrdiff_t)j * layer->output_step;
        for (int k = 0; k < inputs; k += GROUP, target += layer->group_step) {
            const int some = inputs - k < GROUP ? inputs - k : GROUP;
            for (int i = 0; i < some; i++) {
                const int column = columns ? columns[k + i] : k + i;
                if (column >= 0) target[i] = (int8_t)((uint8_t)of_output[column] + zero);
            }
        }
    }
    return 1;
}

void free_layer(Layer *layer) {
    free(layer->weights);
    free(layer->constants);
    free(layer->repeated);
}

