/* The context networks: the tables of symbols of a coding pass, from what is decoded before them.
 *
 * The same integers as `dfmcodec.entropy.context`, where the model is described. Symbols are worked on
 * in chunks of 64. Features and activations are bytes, four of a symbol side by side (a group), because
 * that is what the dot products of AVX-512 VNNI take. A group of features that are zero for the whole
 * chunk, as many are in smooth areas, is left out.
 */
#include "common.h"

#if ON_X86 && !defined(__clang__) && __GNUC__ >= 11
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#define HAS_NEWER 1 /* AVX-VNNI and AMX, which older compilers do not know */
#else
#define HAS_NEWER 0
#endif

enum {
    CHUNK = 64, /* symbols at a time */
    VECTORS = CHUNK / LANES,
    GROUP = 4, /* bytes of a symbol that lie side by side */
    GROUP_BYTES = CHUNK * GROUP,
    TILE = 4, /* sums of a symbol at a time */
    MAX_OUTPUTS = 256,
    MAX_GROUPS = 96,
    RAISED = 128,
};

typedef struct {
    int outputs, groups, is_last;
    int padded_outputs;          /* a multiple of the way's tile; weights beyond `outputs` are zero */
    int group_step, output_step; /* from the GROUP weights of a group and output to the next, in bytes */
    int8_t *weights;
    int32_t *constants; /* [padded_outputs] */
    int32_t *repeated;  /* [padded_outputs][LANES]: the constants for each of LANES symbols */
} Layer;

/* The groups of inputs of a chunk that are not zero throughout. */
typedef struct {
    int count, numbers[MAX_GROUPS];
    int8_t values[MAX_GROUPS * GROUP_BYTES] __attribute__((aligned(64))); /* [count][CHUNK][GROUP] */
} Inputs;

/* Puts four rows of a chunk side by side; tells whether any number is not zero. */
typedef int (*Interleave)(const int8_t *const rows[GROUP], int8_t *group);

/* Evaluates a layer for a chunk: the sums int32 [padded_outputs][CHUNK] of the last one, the activations of the
 * others, in groups as `Inputs.values`. */
typedef void (*Evaluate)(const Layer *layer, const Inputs *in, void *out);

/* Activations of a layer from its sums: clip(sum >> 6, 0, 127). */
FOR_EACH_TARGET
static void activate(const int32_t *sums, int padded_outputs, int8_t *out) {
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

static void finish(const Layer *layer, const int32_t *sums, void *out) {
    if (layer->is_last)
        memcpy(out, sums, (size_t)layer->padded_outputs * CHUNK * sizeof *sums);
    else
        activate(sums, layer->padded_outputs, out);
}

INLINE const int8_t *weights_of(const Layer *layer, int group, int output) {
    return layer->weights + (Py_ssize_t)group * layer->group_step + (Py_ssize_t)output * layer->output_step;
}

INLINE int32_t as_int32(const int8_t *four) {
    int32_t value;
    memcpy(&value, four, sizeof value);
    return value;
}

FOR_EACH_TARGET
static int interleave_anywhere(const int8_t *const rows[GROUP], int8_t *group) {
    uint32_t any = 0;
    for (int n = 0; n < CHUNK; n++) {
        const uint32_t four = (uint8_t)rows[0][n] | (uint32_t)(uint8_t)rows[1][n] << 8 |
                              (uint32_t)(uint8_t)rows[2][n] << 16 | (uint32_t)(uint8_t)rows[3][n] << 24;
        memcpy(group + n * GROUP, &four, sizeof four);
        any |= four;
    }
    return any != 0;
}

#if ON_X86

/* AVX2: pairs of products of 16 bits, which cannot overflow. */

#define AVX2 __attribute__((target("avx2")))

AVX2
static inline __m256i even_bytes(__m256i x) { return _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8); }
AVX2
static inline __m256i odd_bytes(__m256i x) { return _mm256_srai_epi16(x, 8); }

/* The sums of TILE outputs for vectors v and v + 1 of 8 symbols. */
AVX2
INLINE void store_sums(int32_t *out, int v, __m256i sums[TILE][2]) {
#pragma GCC unroll 4
    for (int j = 0; j < TILE; j++) {
        __m256i *target = (__m256i *)(out + j * CHUNK) + v;
        _mm256_storeu_si256(target, sums[j][0]);
        _mm256_storeu_si256(target + 1, sums[j][1]);
    }
}

AVX2
static void evaluate_avx2(const Layer *layer, const Inputs *in, void *out) {
    int32_t all_sums[MAX_OUTPUTS * CHUNK];
    for (int first = 0; first < layer->padded_outputs; first += TILE)
        for (int v = 0; v < CHUNK / 8; v += 2) {
            __m256i sums[TILE][2];
#pragma GCC unroll 4
            for (int j = 0; j < TILE; j++) sums[j][0] = sums[j][1] = _mm256_set1_epi32(layer->constants[first + j]);
            for (int g = 0; g < in->count; g++) {
                const __m256i *x = (const __m256i *)(in->values + g * GROUP_BYTES) + v;
                const __m256i x0 = _mm256_loadu_si256(x), x1 = _mm256_loadu_si256(x + 1);
                const __m256i even0 = even_bytes(x0), odd0 = odd_bytes(x0), even1 = even_bytes(x1),
                              odd1 = odd_bytes(x1);
                const int8_t *w = weights_of(layer, in->numbers[g], first);
#pragma GCC unroll 4
                for (int j = 0; j < TILE; j++) {
                    const __m256i four = _mm256_set1_epi32(as_int32(w + j * GROUP));
                    const __m256i even = even_bytes(four), odd = odd_bytes(four);
                    sums[j][0] = _mm256_add_epi32(sums[j][0], _mm256_madd_epi16(even0, even));
                    sums[j][0] = _mm256_add_epi32(sums[j][0], _mm256_madd_epi16(odd0, odd));
                    sums[j][1] = _mm256_add_epi32(sums[j][1], _mm256_madd_epi16(even1, even));
                    sums[j][1] = _mm256_add_epi32(sums[j][1], _mm256_madd_epi16(odd1, odd));
                }
            }
            store_sums(all_sums + first * CHUNK, v, sums);
        }
    finish(layer, all_sums, out);
}

#if HAS_NEWER

/* AVX-VNNI, of processors without AVX-512: as below, for 8 symbols. */

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
#pragma GCC unroll 4
            for (int j = 0; j < TILE; j++) {
                const __m256i constant = _mm256_set1_epi32(layer->constants[first + j]);
                sums[j][0] = _mm256_sub_epi32(constant, too_much[0]);
                sums[j][1] = _mm256_sub_epi32(constant, too_much[1]);
            }
            for (int g = 0; g < in->count; g++) {
                const __m256i *x = (const __m256i *)(in->values + g * GROUP_BYTES) + v;
                const __m256i x0 = _mm256_loadu_si256(x), x1 = _mm256_loadu_si256(x + 1);
                const int8_t *w = weights_of(layer, in->numbers[g], first);
#pragma GCC unroll 4
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

static int has_avx_vnni(void) {
    unsigned a, b, c, d;
    return __builtin_cpu_supports("avx2") && __get_cpuid_count(7, 1, &a, &b, &c, &d) && a >> 4 & 1;
}

#endif

/* AVX-512 VNNI: four products of bytes for each sum at once, without saturation. One of the two bytes has no sign, so
 * weights are raised by 128, and 128 times the sum of the inputs is taken away. */

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

/* `activate` for the sums of a group, without a way through memory. Numbers that are packed are limited on the way. */
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
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++) too_much[v] = _mm512_setzero_si512();
    for (int g = 0; g < in->count; g++)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++)
            too_much[v] = _mm512_dpbusd_epi32(too_much[v], raised,
                                              _mm512_loadu_si512(in->values + g * GROUP_BYTES + v * LANES * GROUP));
    for (int first = 0; first < layer->padded_outputs; first += TILE) {
        __m512i sums[TILE][VECTORS];
#pragma GCC unroll 4
        for (int j = 0; j < TILE; j++)
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; v++)
                sums[j][v] = _mm512_sub_epi32(_mm512_set1_epi32(layer->constants[first + j]), too_much[v]);
        for (int g = 0; g < in->count; g++) {
            const int8_t *x = in->values + g * GROUP_BYTES, *w = weights_of(layer, in->numbers[g], first);
#pragma GCC unroll 4
            for (int j = 0; j < TILE; j++) {
                const __m512i four = _mm512_set1_epi32(as_int32(w + j * GROUP));
#pragma GCC unroll 4
                for (int v = 0; v < VECTORS; v++)
                    sums[j][v] = _mm512_dpbusd_epi32(sums[j][v], four, _mm512_loadu_si512(x + v * LANES * GROUP));
            }
        }
        if (layer->is_last) {
#pragma GCC unroll 4
            for (int j = 0; j < TILE; j++)
#pragma GCC unroll 4
                for (int v = 0; v < VECTORS; v++)
                    _mm512_storeu_si512((int32_t *)out + (first + j) * CHUNK + v * LANES, sums[j][v]);
            continue;
        }
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++)
            _mm512_storeu_si512((int8_t *)out + first * CHUNK + v * LANES * GROUP,
                                activations_of(sums[0][v], sums[1][v], sums[2][v], sums[3][v]));
    }
}

#endif

#if HAS_NEWER

/* AMX: a tile of 16 outputs and 16 symbols takes 64 products of bytes for each sum at once. */

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
        const int32_t *constants = layer->repeated + first * LANES;
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

/* Whether the processor has AMX for bytes, and the system lets this process use it. */
static int may_use_amx(void) {
    unsigned a, b, c, d;
    enum { TILES = 24, BYTES = 25, ASK_FOR_STATE = 0x1023, TILE_DATA = 18 }; /* of cpuid 7, and of arch_prctl */
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && d >> TILES & 1 && d >> BYTES & 1 &&
           __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vnni") && !syscall(SYS_arch_prctl, ASK_FOR_STATE, TILE_DATA);
}

#endif

#if ON_ARM

/* The dot products of 64-bit Arm: four products of bytes for each sum of 4 symbols at once. */

#if defined(__clang__)
#define DOTPROD __attribute__((target("dotprod")))
#else
#define DOTPROD __attribute__((target("arch=armv8.2-a+dotprod")))
#endif

DOTPROD
static void evaluate_dotprod(const Layer *layer, const Inputs *in, void *out) {
    int32_t all_sums[MAX_OUTPUTS * CHUNK];
    enum { AT_A_TIME = 4 };
    for (int first = 0; first < layer->padded_outputs; first += TILE)
        for (int v = 0; v < CHUNK / 4; v += AT_A_TIME) {
            int32x4_t sums[TILE][AT_A_TIME];
#pragma GCC unroll 4
            for (int j = 0; j < TILE; j++)
#pragma GCC unroll 4
                for (int i = 0; i < AT_A_TIME; i++) sums[j][i] = vdupq_n_s32(layer->constants[first + j]);
            for (int g = 0; g < in->count; g++) {
                const int8_t *x = in->values + g * GROUP_BYTES + v * 16, *w = weights_of(layer, in->numbers[g], first);
#pragma GCC unroll 4
                for (int j = 0; j < TILE; j++) {
                    const int8x16_t four = vreinterpretq_s8_s32(vdupq_n_s32(as_int32(w + j * GROUP)));
#pragma GCC unroll 4
                    for (int i = 0; i < AT_A_TIME; i++) sums[j][i] = vdotq_s32(sums[j][i], vld1q_s8(x + i * 16), four);
                }
            }
#pragma GCC unroll 4
            for (int j = 0; j < TILE; j++)
#pragma GCC unroll 4
                for (int i = 0; i < AT_A_TIME; i++) vst1q_s32(all_sums + (first + j) * CHUNK + (v + i) * 4, sums[j][i]);
        }
    finish(layer, all_sums, out);
}

static int has_dotprod(void) {
#if defined(__APPLE__)
    return 1; /* as all of Apple's */
#elif defined(__linux__)
    enum { DOT_PRODUCTS = 20 }; /* the bit of ASIMDDP */
    return getauxval(AT_HWCAP) >> DOT_PRODUCTS & 1;
#else
    return 0;
#endif
}

#endif

static void nothing_to_do(void) {}

/* The ways to evaluate networks, the best first; at the end there is none. */
static const struct {
    const char *name;
    Interleave interleave;
    Evaluate evaluate;
    void (*begin)(void), (*end)(void); /* of a thread's use */
    int tile;                          /* outputs at a time */
    int has_raised_weights;            /* by RAISED */
    int takes_every_group;             /* also those that are zero throughout, each in its place */
    enum Target target;                /* of other kernels on such processors */
} WAYS[] = {
#if HAS_NEWER
    {"amx", interleave_vnni, evaluate_amx, begin_amx, end_amx, AMX_ROWS, 0, 1, FOR_AVX512},
#endif
#if ON_X86
    {"avx512-vnni", interleave_vnni, evaluate_vnni, nothing_to_do, nothing_to_do, TILE, 1, 0, FOR_AVX512},
#if HAS_NEWER
    {"avx-vnni", interleave_anywhere, evaluate_avx_vnni, nothing_to_do, nothing_to_do, TILE, 1, 0, FOR_AVX2},
#endif
    {"avx2", interleave_anywhere, evaluate_avx2, nothing_to_do, nothing_to_do, TILE, 0, 0, FOR_AVX2},
#endif
#if ON_ARM
    {"dotprod", interleave_anywhere, evaluate_dotprod, nothing_to_do, nothing_to_do, TILE, 0, 0, BASELINE},
#endif
    {NULL, interleave_anywhere, NULL, nothing_to_do, nothing_to_do, TILE, 0, 0, FOR_AVX512}, /* none: NumPy is faster */
};
enum { WAY_COUNT = sizeof WAYS / sizeof *WAYS - 1 };
static int way;

static int is_possible(int number) {
#if HAS_NEWER
    if (WAYS[number].evaluate == evaluate_amx) return may_use_amx();
#endif
#if HAS_NEWER
    if (WAYS[number].evaluate == evaluate_avx_vnni) return has_avx_vnni();
#endif
#if ON_X86
    if (WAYS[number].evaluate == evaluate_vnni)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vnni");
    if (WAYS[number].evaluate == evaluate_avx2) return __builtin_cpu_supports("avx2");
#endif
#if ON_ARM
    if (WAYS[number].evaluate == evaluate_dotprod) return has_dotprod();
#endif
    return number == WAY_COUNT;
}

void choose_way_of_host(void) {
#if ON_X86
    __builtin_cpu_init();
#endif
    for (way = 0; !is_possible(way); way++) {}
    choose_target(FOR_AVX512);
}

/* Makes a layer of weights [outputs][row_length]. Its input k takes column columns[k], or none where that is -1. */
static int make_layer(Layer *layer, const int8_t *weights, Py_ssize_t row_length, const int32_t *columns, int inputs,
                      int outputs, const int32_t *constants, int is_last) {
    layer->is_last = is_last;
    layer->outputs = outputs;
    layer->groups = (inputs + GROUP - 1) / GROUP;
    const int tile = WAYS[way].tile, part = WAYS[way].takes_every_group ? tile : 1; /* groups at a time */
    const int padded_groups = (layer->groups + part - 1) / part * part;
    layer->padded_outputs = (outputs + tile - 1) / tile * tile;
    layer->group_step = part > 1 ? GROUP : layer->padded_outputs * GROUP;
    layer->output_step = part > 1 ? padded_groups * GROUP : GROUP;
    layer->weights = calloc((size_t)padded_groups * layer->padded_outputs, GROUP);
    layer->constants = calloc((size_t)layer->padded_outputs, sizeof(int32_t));
    layer->repeated = malloc((size_t)layer->padded_outputs * LANES * sizeof(int32_t));
    if (!layer->weights || !layer->constants || !layer->repeated) return 0;
    memcpy(layer->constants, constants, (size_t)outputs * sizeof *constants);
    for (int j = 0; j < layer->padded_outputs; j++)
        for (int n = 0; n < LANES; n++) layer->repeated[j * LANES + n] = layer->constants[j];
    for (int k = 0; k < inputs; k++) {
        int8_t *target = layer->weights + (Py_ssize_t)(k / GROUP) * layer->group_step + k % GROUP;
        const int column = columns ? columns[k] : k;
        for (int j = 0; j < outputs && column >= 0; j++)
            target[(Py_ssize_t)j * layer->output_step] = weights[j * row_length + column];
    }
    const int all = layer->groups * layer->padded_outputs * GROUP;
    for (int i = 0; i < all && WAYS[way].has_raised_weights; i++)
        layer->weights[i] = (int8_t)(uint8_t)(layer->weights[i] + RAISED);
    return 1;
}

static void free_layer(Layer *layer) {
    free(layer->weights);
    free(layer->constants);
    free(layer->repeated);
}

typedef struct {
    const int8_t *first; /* what the first symbol sees */
    Py_ssize_t row_stride;
} View;

typedef struct {
    Layer layers[3];
    const View *views;
    int signed_count, low_count; /* views that are symbols, and the others */
    Py_ssize_t columns;
} Pass;

INLINE int groups_of(int inputs) { return (inputs + GROUP - 1) / GROUP; }

/* The rows of a chunk that view k sees. Where the chunk is no whole part of a row of the pass they are put together. */
static const int8_t *seen_by(const Pass *pass, const View *view, Py_ssize_t row, Py_ssize_t column, int count,
                             int8_t *room) {
    const int8_t *at = view->first + row * view->row_stride + column;
    if (count == CHUNK && column + CHUNK <= pass->columns) return at;
    memset(room, 0, CHUNK);
    for (int done = 0; done < count; row++, column = 0, at = view->first + row * view->row_stride) {
        const Py_ssize_t rest = pass->columns - column;
        const int length = rest < count - done ? (int)rest : count - done;
        memcpy(room + done, at, (size_t)length);
        done += length;
    }
    return room;
}

FOR_EACH_TARGET
static void magnitudes(const int8_t *values, int8_t *out) {
    for (int n = 0; n < GROUP_BYTES; n++) out[n] = (int8_t)(values[n] < 0 ? -values[n] : values[n]);
}

static void every_group(Inputs *in, const Layer *layer) {
    in->count = layer->groups;
    for (int g = 0; g < in->count; g++) in->numbers[g] = g;
}

/* What a thread works with. */
typedef struct {
    Inputs in, hidden;
    int32_t sums[MAX_OUTPUTS * CHUNK] __attribute__((aligned(64)));
    float derivatives[MAX_OUTPUTS][CHUNK];
} Room;

/* Scale and mean of `count` symbols of a pass from number `first` on. */
static void outputs_of_chunk(const Pass *pass, Py_ssize_t first, int count, Room *room) {
    static const int8_t nothing[CHUNK];
    int8_t copies[GROUP][CHUNK];
    Inputs *in = &room->in;
    const Py_ssize_t row = first / pass->columns, column = first % pass->columns;
    const int signed_groups = groups_of(pass->signed_count), views = pass->signed_count + pass->low_count;
    in->count = 0;
    for (int part = 0, k = 0, number = 0; part < 2; part++, number = 2 * signed_groups) {
        const int end = part ? views : pass->signed_count;
        for (; k < end; number++) {
            const int8_t *rows[GROUP];
            for (int i = 0; i < GROUP; i++, k++)
                rows[i] = k < end ? seen_by(pass, &pass->views[k], row, column, count, copies[i]) : nothing;
            if (k > end) k = end;
            const int is_every = WAYS[way].takes_every_group, other = number + signed_groups;
            int8_t *group = in->values + (is_every ? number : in->count) * GROUP_BYTES;
            int8_t *of_magnitudes = is_every ? in->values + other * GROUP_BYTES : group + GROUP_BYTES;
            if (!WAYS[way].interleave(rows, group)) {
                if (is_every) memset(group, 0, GROUP_BYTES);
                if (is_every && !part) memset(of_magnitudes, 0, GROUP_BYTES);
                continue;
            }
            in->numbers[in->count++] = number;
            if (part) continue;
            magnitudes(group, of_magnitudes);
            in->numbers[in->count++] = other;
        }
    }
    const Evaluate evaluate = WAYS[way].evaluate;
    evaluate(&pass->layers[0], in, room->hidden.values);
    every_group(&room->hidden, &pass->layers[1]);
    evaluate(&pass->layers[1], &room->hidden, in->values);
    every_group(in, &pass->layers[2]);
    evaluate(&pass->layers[2], in, room->sums);
}

typedef struct {
    Py_buffer w1, c1, w2, c2, w3, c3, available, planes[3], views, quantizers, classes, table, sign, hidden;
    Py_ssize_t rows, columns;
    int signed_count, per_quantizer, direct_tables, unit_scale, last_scale, last_direct;
    View *seen;
    int32_t *inputs_of; /* the column of w1 of each input */
    Pass pass;
} Arguments;

static int prepare(Arguments *a) {
    const Py_ssize_t h1 = a->c1.len / 4, h2 = a->c2.len / 4, inputs = a->available.len / 4, views = a->views.len / 24;
    const int32_t *available = a->available.buf;
    if (h1 < 1 || h2 < 1 || h1 > MAX_OUTPUTS || h2 > MAX_OUTPUTS || a->signed_count < 0 || a->signed_count > views ||
        views + a->signed_count != inputs || inputs < 1 || a->columns < 1) {
        PyErr_SetString(PyExc_ValueError, "a context network of these sizes is not possible");
        return 0;
    }
    Pass *pass = &a->pass;
    pass->signed_count = a->signed_count;
    pass->low_count = (int)views - a->signed_count;
    pass->columns = a->columns;
    const int signed_groups = groups_of(pass->signed_count), groups = 2 * signed_groups + groups_of(pass->low_count);
    const Py_ssize_t row_length = a->w1.len / h1;
    if (groups > MAX_GROUPS) {
        PyErr_SetString(PyExc_ValueError, "too many features");
        return 0;
    }
    if (!has_items(&a->w2, h1 * h2, 1, "w2") || !has_items(&a->w3, 2 * h2, 1, "w3") || !has_items(&a->c3, 2, 4, "c3"))
        return 0;
    for (Py_ssize_t k = 0; k < inputs; k++)
        if (available[k] < 0 || available[k] >= row_length) {
            PyErr_SetString(PyExc_ValueError, "a feature that the network does not have");
            return 0;
        }
    a->seen = malloc((size_t)views * sizeof(View));
    a->inputs_of = malloc((size_t)groups * GROUP * sizeof(int32_t));
    if (!a->seen || !a->inputs_of) return PyErr_NoMemory(), 0;
    const int64_t *given = a->views.buf; /* [views][plane, index, row stride] */
    for (Py_ssize_t k = 0; k < views; k++) {
        const int64_t plane = given[3 * k], index = given[3 * k + 1], stride = given[3 * k + 2];
        if (plane < 0 || plane > 2 || !SIZES(index, stride) || index > a->planes[plane].len ||
            stride > a->planes[plane].len ||
            (a->rows && index + (a->rows - 1) * stride + a->columns > a->planes[plane].len)) {
            PyErr_SetString(PyExc_ValueError, "a feature beyond its plane");
            return 0;
        }
        a->seen[k] = (View){(const int8_t *)a->planes[plane].buf + index, stride};
    }
    pass->views = a->seen;
    for (int i = 0; i < groups * GROUP; i++) a->inputs_of[i] = -1;
    for (int k = 0; k < pass->signed_count; k++) {
        a->inputs_of[k] = available[k];
        a->inputs_of[signed_groups * GROUP + k] = available[pass->signed_count + k];
    }
    for (int k = 0; k < pass->low_count; k++)
        a->inputs_of[2 * signed_groups * GROUP + k] = available[2 * pass->signed_count + k];
    if (!make_layer(&pass->layers[0], a->w1.buf, row_length, a->inputs_of, groups * GROUP, (int)h1, a->c1.buf, 0) ||
        !make_layer(&pass->layers[1], a->w2.buf, h1, NULL, (int)h1, (int)h2, a->c2.buf, 0) ||
        !make_layer(&pass->layers[2], a->w3.buf, h2, NULL, (int)h2, 2, a->c3.buf, 1))
        return PyErr_NoMemory(), 0;
    return 1;
}

/* The activations of layer 2 of `count` symbols, from groups [outputs / 4][CHUNK][4] to [count][outputs]. */
static void put_hidden(const int8_t *groups, int count, int outputs, uint8_t *out) {
    for (int n = 0; n < count; n++)
        for (int j = 0; j < outputs; j++) *out++ = (uint8_t)groups[j / GROUP * GROUP_BYTES + n * GROUP + j % GROUP];
}

/* Tables and signs of all symbols of the rows, and their activations of layer 2 where there is room for them. */
static void choose(const Arguments *a, Room *room) {
    const Py_ssize_t count = a->rows * a->columns, means = a->classes.len / 2;
    const int8_t *quantizer = a->quantizers.buf;
    const int16_t *class_of = a->classes.buf;
    const int32_t class_count = class_of[means - 1] + 1;
    int16_t *table = a->table.buf;
    int32_t *sign = a->sign.buf;
    for (Py_ssize_t first = 0; first < count; first += CHUNK) {
        const int some = count - first < CHUNK ? (int)(count - first) : CHUNK;
        outputs_of_chunk(&a->pass, first, some, room);
        const int outputs = a->pass.layers[1].outputs;
        if (a->hidden.len) put_hidden(room->in.values, some, outputs, (uint8_t *)a->hidden.buf + first * outputs);
        for (int n = 0; n < some; n++) {
            const int32_t mean = (room->sums[CHUNK + n] + 128) >> 8;
            int32_t scale = ((room->sums[n] + 128) >> 8) + a->unit_scale, size = mean < 0 ? -mean : mean;
            scale = scale < 0 ? 0 : scale > a->last_scale ? a->last_scale : scale;
            size = class_of[size >= means ? means - 1 : size];
            const int32_t direct = quantizer[first + n] * a->per_quantizer + scale * class_count + size;
            table[first + n] =
                (int16_t)(scale <= a->last_direct ? direct : a->direct_tables + scale - a->last_direct - 1);
            sign[first + n] = mean < 0 ? -1 : 1;
        }
    }
}

static void release(Arguments *a) {
    free(a->seen);
    free(a->inputs_of);
    for (int layer = 0; layer < 3; layer++) free_layer(&a->pass.layers[layer]);
    Py_buffer *all[] = {&a->w1,    &a->c1,         &a->w2,      &a->c2,        &a->w3,
                        &a->c3,    &a->available,  a->planes,   a->planes + 1, a->planes + 2,
                        &a->views, &a->quantizers, &a->classes, &a->table,     &a->sign,
                        &a->hidden};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) PyBuffer_Release(all[i]);
}

/* Room for a thread's numbers; sets an error and returns NULL where arguments or memory do not do. */
static Room *room_for(Arguments *a) {
    const Py_ssize_t count = a->rows * a->columns;
    if (!WAYS[way].evaluate) return PyErr_SetString(PyExc_RuntimeError, "no way to multiply bytes"), NULL;
    if (!SIZES(a->rows, a->columns)) return PyErr_SetString(PyExc_ValueError, "a pass without a size"), NULL;
    if (!has_items(&a->classes, 1, 2, "class_of_mean") || !has_items(&a->quantizers, count, 1, "quantizers") ||
        !prepare(a))
        return NULL;
    Room *room = aligned_alloc(64, (sizeof *room + 63) / 64 * 64);
    if (!room) PyErr_NoMemory();
    return room;
}

/* The tables of the symbols in some rows of a pass; see _compiled.pyi. */
static PyObject *choose_tables(PyObject *self, PyObject *args) {
    (void)self;
    Arguments a = {0};
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(args, "y*y*y*y*y*y*y*iy*y*y*y*nny*y*(iiiii)w*w*w*", &a.w1, &a.c1, &a.w2, &a.c2, &a.w3, &a.c3,
                          &a.available, &a.signed_count, &a.planes[0], &a.planes[1], &a.planes[2], &a.views, &a.rows,
                          &a.columns, &a.quantizers, &a.classes, &a.per_quantizer, &a.direct_tables, &a.unit_scale,
                          &a.last_scale, &a.last_direct, &a.table, &a.sign, &a.hidden))
        return NULL; /* which has released what it had taken */
    Room *room = NULL;
    const Py_ssize_t count = SIZES(a.rows, a.columns) ? a.rows * a.columns : PY_SSIZE_T_MAX;
    if (has_items(&a.table, count, 2, "table") && has_items(&a.sign, count, 4, "sign")) room = room_for(&a);
    if (room && (!a.hidden.len || has_items(&a.hidden, count * a.pass.layers[1].outputs, 1, "hidden"))) {
        Py_BEGIN_ALLOW_THREADS
        WAYS[way].begin();
        choose(&a, room);
        WAYS[way].end();
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    free(room);
    release(&a);
    return result;
}

/* The derivative of the bits of symbols by what their contexts see.
 *
 * Derivatives go back through the layers as bytes with a scale for each symbol, by the same products as
 * activations go forward; how they are rounded hardly matters, as they guess what a change of a symbol does. */

typedef struct {
    Layer back[2]; /* from layer 2 to layer 1, and from layer 1 to the features that are symbols */
    Py_buffer symbols, bits, targets[2];
    int means, scales; /* of the table of bits [quantizers][scales][means][entries] */
} Gradient;

enum { ENTRY_COUNT = 130, LARGEST_SYMBOL = 64, REACH = 2 };

/* The change of the bits of a symbol by scale and mean, as central differences; see `ContextModel.slopes`. */
static void slopes_of(const Gradient *gradient, int quantizer, int scale, int mean, int32_t symbol, float *by_scale,
                      float *by_mean) {
#define LIMITED(x, count) ((x) < 0 ? 0 : (x) < (count) ? (x) : (count) - 1)
    const int entry = (symbol < -LARGEST_SYMBOL  ? -LARGEST_SYMBOL
                       : symbol > LARGEST_SYMBOL ? LARGEST_SYMBOL
                                                 : symbol) +
                      LARGEST_SYMBOL;
    const float *bits = (const float *)gradient->bits.buf +
                        (Py_ssize_t)quantizer * gradient->scales * gradient->means * ENTRY_COUNT + entry;
    const int lower = LIMITED(scale - REACH, gradient->scales), upper = LIMITED(scale + REACH, gradient->scales);
    const int less = LIMITED(mean - REACH, gradient->means), more = LIMITED(mean + REACH, gradient->means);
    const int here = LIMITED(scale, gradient->scales), near = LIMITED(mean, gradient->means);
#define BITS(s, m) bits[((Py_ssize_t)(s) * gradient->means + (m)) * ENTRY_COUNT]
    *by_scale = (BITS(upper, near) - BITS(lower, near)) / (2 * REACH);
    *by_mean = (BITS(here, more) - BITS(here, less)) / (2 * REACH);
}

/* Derivatives of `count` rows through the activation: those of active units, as bytes in groups, and the scale of
 * each symbol. */
FOR_EACH_TARGET
static void through_activation(float (*rows)[CHUNK], int count, const int8_t *activations, Inputs *out, float *scale) {
    const int groups = (count + GROUP - 1) / GROUP;
    for (int j = count; j < groups * GROUP; j++) memset(rows[j], 0, sizeof rows[j]);
    for (int n = 0; n < CHUNK; n += LANES) {
        int32_lanes largest = {0}; /* the digits of numbers that are not negative are in their order */
        for (int g = 0; g < groups; g++) {
            const int32_lanes four = load_int32((const int32_t *)(activations + g * GROUP_BYTES + n * GROUP));
            for (int i = 0; i < GROUP; i++) {
                const int32_lanes a = four >> 8 * i & 0xFF, active = ~(((a - 1) | (126 - a)) >> 31);
                const int32_lanes row = (int32_lanes)load(rows[g * GROUP + i] + n) & active;
                const int32_lanes more = (row & INT32_MAX) - largest;
                largest += more & ~(more >> 31);
                store(rows[g * GROUP + i] + n, &row);
            }
        }
        const float_lanes size = (float_lanes)largest,
                          units = size * (1.0f / 127 / 64); /* an activation is a 64th of its sum */
        const float_lanes inverse = (float_lanes)((int32_lanes)(127.0f / size) & (-largest >> 31));
        store(scale + n, &units);
        for (int g = 0; g < groups; g++) {
            int32_lanes four = {0};
            for (int i = 0; i < GROUP; i++) {
                const float_lanes value = load(rows[g * GROUP + i] + n) * inverse;
                const float_lanes half = (float_lanes)((int32_lanes)all(0.5f) | ((int32_lanes)value & INT32_MIN));
                four |= (__builtin_convertvector(value + half, int32_lanes) & 0xFF) << 8 * i;
            }
            store(out->values + g * GROUP_BYTES + n * GROUP, &four);
        }
    }
    out->count = groups;
    for (int g = 0; g < groups; g++) out->numbers[g] = g;
}

FOR_EACH_TARGET
static void combine_rows(const float *a, const float *b, float of_a, float of_b, float *out) {
    for (int n = 0; n < CHUNK; n++) out[n] = of_a * a[n] + of_b * b[n];
}

FOR_EACH_TARGET
static void as_floats(const int32_t *sums, int count, float (*out)[CHUNK]) {
    for (int j = 0; j < count; j++)
        for (int n = 0; n < CHUNK; n++) out[j][n] = (float)sums[j * CHUNK + n];
}

FOR_EACH_TARGET
static void add_row(float *target, const int32_t *sums, const float *scale, int count) {
    for (int n = 0; n < count; n++) target[n] += (float)sums[n] * scale[n];
}

static void add_gradient_of_chunk(const Arguments *a, const Gradient *gradient, Py_ssize_t first, int count,
                                  Room *room) {
    const Pass *pass = &a->pass;
    outputs_of_chunk(pass, first, count, room); /* leaves the activations of layer 1 in hidden, of layer 2 in in */
    const int h1 = pass->layers[0].outputs, h2 = pass->layers[1].outputs;
    const int8_t *w3 = a->w3.buf;
    float by_scale[CHUNK] = {0}, by_mean[CHUNK] = {0}, scale[CHUNK], scale_before[CHUNK];
    for (int n = 0; n < count; n++) {
        const int quantizer = ((const int8_t *)a->quantizers.buf)[first + n];
        const int32_t symbol = ((const int32_t *)gradient->symbols.buf)[first + n];
        const int mean = ((room->sums[CHUNK + n] + 128) >> 8) + gradient->means / 2;
        slopes_of(gradient, quantizer, ((room->sums[n] + 128) >> 8) + a->unit_scale, mean, symbol, &by_scale[n],
                  &by_mean[n]);
    }
    for (int j = 0; j < h2; j++)
        combine_rows(by_scale, by_mean, w3[j] / 256.0f, w3[h2 + j] / 256.0f, room->derivatives[j]);
    Inputs *in = &room->in, *hidden = &room->hidden;
    int8_t activations[MAX_OUTPUTS * CHUNK];
    memcpy(activations, hidden->values, (size_t)pass->layers[0].padded_outputs * CHUNK);
    through_activation(room->derivatives, h2, in->values, hidden, scale);
    WAYS[way].evaluate(&gradient->back[0], hidden, room->sums);
    as_floats(room->sums, h1, room->derivatives);
    through_activation(room->derivatives, h1, activations, in, scale_before);
    WAYS[way].evaluate(&gradient->back[1], in, room->sums);
    for (int n = 0; n < CHUNK; n++) scale[n] *= scale_before[n];
    for (int k = 0; k < pass->signed_count; k++) {
        const int64_t *view = (const int64_t *)a->views.buf + 3 * k;
        const Py_buffer *target = &gradient->targets[view[0]];
        const Py_ssize_t half = target->len / 8; /* slopes by signed values, then by magnitudes */
        Py_ssize_t row = first / pass->columns, column = first % pass->columns;
        for (int done = 0; done < count; row++, column = 0) {
            const Py_ssize_t rest = pass->columns - column;
            const int length = rest < count - done ? (int)rest : count - done;
            float *at = (float *)target->buf + view[1] + row * view[2] + column;
            add_row(at, room->sums + k * CHUNK + done, scale + done, length);
            add_row(at + half, room->sums + (pass->signed_count + k) * CHUNK + done, scale + done, length);
            done += length;
        }
    }
}

/* The weights of a layer the other way round, int8 [inputs][outputs]; column k of the result is columns[k]. */
static int8_t *transposed(const int8_t *weights, Py_ssize_t row_length, Py_ssize_t rows, const int32_t *columns,
                          Py_ssize_t count) {
    int8_t *result = malloc((size_t)(rows * count));
    for (Py_ssize_t k = 0; result && k < count; k++)
        for (Py_ssize_t j = 0; j < rows; j++)
            result[k * rows + j] = weights[j * row_length + (columns ? columns[k] : k)];
    return result;
}

/* Adds the derivative of the bits of some rows of a pass to the slopes of what they see; see _compiled.pyi. */
static PyObject *add_gradient(PyObject *self, PyObject *args) {
    (void)self;
    Arguments a = {0};
    Gradient gradient;
    memset(&gradient, 0, sizeof gradient);
    PyObject *result = NULL;
    Room *room = NULL;
    int8_t *back_1 = NULL, *back_2 = NULL;
    static const int32_t no_constants[MAX_OUTPUTS];
    if (!PyArg_ParseTuple(args, "y*y*y*y*y*y*y*iy*y*y*y*nny*y*(iiiii)y*y*(ii)w*w*", &a.w1, &a.c1, &a.w2, &a.c2, &a.w3,
                          &a.c3, &a.available, &a.signed_count, &a.planes[0], &a.planes[1], &a.planes[2], &a.views,
                          &a.rows, &a.columns, &a.quantizers, &a.classes, &a.per_quantizer, &a.direct_tables,
                          &a.unit_scale, &a.last_scale, &a.last_direct, &gradient.symbols, &gradient.bits,
                          &gradient.scales, &gradient.means, &gradient.targets[0], &gradient.targets[1]))
        return NULL;
    const Py_ssize_t count = SIZES(a.rows, a.columns) ? a.rows * a.columns : PY_SSIZE_T_MAX;
    if (!has_items(&gradient.symbols, count, 4, "symbols") || !(room = room_for(&a))) goto done;
    const int8_t *quantizer = a.quantizers.buf;
    int quantizers = 1;
    for (Py_ssize_t n = 0; n < count; n++) {
        if (quantizer[n] < 0) {
            PyErr_SetString(PyExc_ValueError, "a quantiser is negative");
            goto done;
        }
        if (quantizer[n] >= quantizers) quantizers = quantizer[n] + 1;
    }
    if (gradient.scales < 1 || gradient.means < 1 || gradient.scales > MAX_OUTPUTS || gradient.means > MAX_OUTPUTS ||
        !has_items(&gradient.bits, (Py_ssize_t)quantizers * gradient.scales * gradient.means * ENTRY_COUNT, 4,
                   "bits")) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "a table of bits of these sizes is not possible");
        goto done;
    }
    for (int k = 0; k < a.signed_count; k++) {
        const int64_t plane = ((const int64_t *)a.views.buf)[3 * k];
        if (plane > 1 || gradient.targets[plane].len / 8 < a.planes[plane].len) {
            PyErr_SetString(PyExc_ValueError, "slopes do not match their planes");
            goto done;
        }
    }
    const int h1 = a.pass.layers[0].outputs, h2 = a.pass.layers[1].outputs, seen = 2 * a.signed_count;
    if (seen > MAX_OUTPUTS) {
        PyErr_SetString(PyExc_ValueError, "too many features");
        goto done;
    }
    back_2 = transposed(a.w2.buf, h1, h2, NULL, h1);
    back_1 = transposed(a.w1.buf, a.w1.len / h1, h1, a.available.buf, seen);
    if (!back_1 || !back_2 || !make_layer(&gradient.back[0], back_2, h2, NULL, h2, h1, no_constants, 1) ||
        !make_layer(&gradient.back[1], back_1, h1, NULL, h1, seen, no_constants, 1)) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    WAYS[way].begin();
    for (Py_ssize_t first = 0; first < count; first += CHUNK)
        add_gradient_of_chunk(&a, &gradient, first, count - first < CHUNK ? (int)(count - first) : CHUNK, room);
    WAYS[way].end();
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
done:
    free(back_1), free(back_2), free(room);
    free_layer(&gradient.back[0]), free_layer(&gradient.back[1]);
    PyBuffer_Release(&gradient.symbols), PyBuffer_Release(&gradient.bits);
    PyBuffer_Release(&gradient.targets[0]), PyBuffer_Release(&gradient.targets[1]);
    release(&a);
    return result;
}

/* The symbols of a sample, and a correction of the last layer: integers of its units. */
typedef struct {
    Py_buffer hidden, sums, band, symbols, quantizers, chosen, maps, constants, by_maps, by_constants;
    int unit; /* of constants */
} Correction;

/* Adds the derivative of the bits of the chosen symbols by the sums of the last layer to those by its weights. */
static void add_correction_gradient(const Correction *c, const Gradient *gradient, int unit_scale, int width) {
    const int32_t *maps = c->maps.buf, *constants = c->constants.buf;
    float *by_maps = c->by_maps.buf, *by_constants = c->by_constants.buf;
    for (Py_ssize_t k = 0; k < c->chosen.len / 8; k++) {
        const int64_t n = ((const int64_t *)c->chosen.buf)[k], band = ((const int64_t *)c->band.buf)[n];
        const uint8_t *hidden = (const uint8_t *)c->hidden.buf + n * width;
        float outputs[2], by[2];
        for (int i = 0; i < 2; i++) {
            int32_t sum = c->unit * constants[2 * band + i];
            for (int j = 0; j < width; j++) sum += hidden[j] * maps[i * width + j];
            outputs[i] = (((const float *)c->sums.buf)[2 * n + i] + (float)sum) / 256.0f;
        }
        const int scale = (int)__builtin_lrintf(outputs[0]) + unit_scale, mean = (int)__builtin_lrintf(outputs[1]) + gradient->means / 2;
        slopes_of(gradient, ((const int8_t *)c->quantizers.buf)[n], scale, mean, ((const int32_t *)c->symbols.buf)[n],
                  &by[0], &by[1]);
        for (int i = 0; i < 2; i++) {
            by_constants[2 * band + i] += by[i];
            for (int j = 0; j < width; j++) by_maps[i * width + j] += by[i] * (float)hidden[j];
        }
    }
}

/* Whether the arrays of a correction's gradient match; otherwise sets ValueError. */
static int check_correction(const Correction *c, const Gradient *gradient) {
    const Py_ssize_t count = c->symbols.len / 4, bands = c->constants.len / 8, width = c->maps.len / 8;
    if (gradient->scales < 1 || gradient->means < 1 || gradient->scales > MAX_OUTPUTS ||
        gradient->means > MAX_OUTPUTS || width < 1 || width > MAX_OUTPUTS) {
        PyErr_SetString(PyExc_ValueError, "a table of bits or a layer of these sizes is not possible");
        return 0;
    }
    const Py_ssize_t quantizers =
        gradient->bits.len / ((Py_ssize_t)4 * gradient->scales * gradient->means * ENTRY_COUNT);
    if (!has_items(&c->hidden, count * width, 1, "hidden") || !has_items(&c->sums, 2 * count, 4, "sums") ||
        !has_items(&c->band, count, 8, "band") || !has_items(&c->quantizers, count, 1, "quantizers") ||
        !has_items(&c->by_maps, 2 * width, 4, "by_maps") || !has_items(&c->by_constants, 2 * bands, 4, "by_constants"))
        return 0;
    for (Py_ssize_t k = 0; k < c->chosen.len / 8; k++) {
        const int64_t n = ((const int64_t *)c->chosen.buf)[k];
        const int is_symbol = n >= 0 && n < count;
        const int64_t band = is_symbol ? ((const int64_t *)c->band.buf)[n] : 0;
        const int quantizer = is_symbol ? ((const int8_t *)c->quantizers.buf)[n] : 0;
        if (is_symbol && band >= 0 && band < bands && quantizer >= 0 && quantizer < quantizers) continue;
        PyErr_SetString(PyExc_ValueError, "a symbol, band or quantiser that does not exist");
        return 0;
    }
    return 1;
}

/* The derivative of the bits of symbols by a correction; see _compiled.pyi. */
static PyObject *correction_gradient(PyObject *self, PyObject *args) {
    (void)self;
    Correction c;
    Gradient gradient;
    memset(&c, 0, sizeof c), memset(&gradient, 0, sizeof gradient);
    int unit_scale;
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(args, "(y*y*y*y*y*)y*(y*y*i)y*(iii)w*w*", &c.hidden, &c.sums, &c.band, &c.symbols,
                          &c.quantizers, &c.chosen, &c.maps, &c.constants, &c.unit, &gradient.bits, &gradient.scales,
                          &gradient.means, &unit_scale, &c.by_maps, &c.by_constants))
        return NULL;
    if (check_correction(&c, &gradient)) {
        Py_BEGIN_ALLOW_THREADS
        memset(c.by_maps.buf, 0, (size_t)c.by_maps.len);
        memset(c.by_constants.buf, 0, (size_t)c.by_constants.len);
        add_correction_gradient(&c, &gradient, unit_scale, (int)(c.maps.len / 8));
        Py_END_ALLOW_THREADS
        result = Py_NewRef(Py_None);
    }
    Py_buffer *all[] = {&c.hidden, &c.sums, &c.band,      &c.symbols, &c.quantizers,    &c.chosen,
                        &c.maps,   &c.constants, &c.by_maps, &c.by_constants, &gradient.bits};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) PyBuffer_Release(all[i]);
    return result;
}

/* The names of the ways that this processor has, the best first. */
static PyObject *ways(PyObject *self, PyObject *unused) {
    (void)self, (void)unused;
    PyObject *names = PyList_New(0);
    for (int number = 0; names && number < WAY_COUNT; number++) {
        if (!is_possible(number)) continue;
        PyObject *name = PyUnicode_FromString(WAYS[number].name);
        if (!name || PyList_Append(names, name)) Py_CLEAR(names);
        Py_XDECREF(name);
    }
    return names;
}

/* The name of the way that is taken. */
static PyObject *chosen_way(PyObject *self, PyObject *unused) {
    (void)self, (void)unused;
    return PyUnicode_FromString(way < WAY_COUNT ? WAYS[way].name : "");
}

/* Takes one of `ways` for all that follows. */
static PyObject *use_way(PyObject *self, PyObject *args) {
    (void)self;
    const char *name;
    if (!PyArg_ParseTuple(args, "s", &name)) return NULL;
    for (int number = 0; number < WAY_COUNT; number++)
        if (!strcmp(WAYS[number].name, name) && is_possible(number)) {
            way = number;
            choose_target(WAYS[number].target);
            Py_RETURN_NONE;
        }
    return PyErr_Format(PyExc_ValueError, "this processor has no way %s", name);
}

PyMethodDef context_methods[] = {
    {"choose_tables", choose_tables, METH_VARARGS, NULL},
    {"add_gradient", add_gradient, METH_VARARGS, NULL},
    {"correction_gradient", correction_gradient, METH_VARARGS, NULL},
    {"ways", ways, METH_NOARGS, NULL},
    {"chosen_way", chosen_way, METH_NOARGS, NULL},
    {"use_way", use_way, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
