/* See processor.h. Bits are from Intel's Software Developer's Manual (volume 1, chapters 13 and 14; volume 2, CPUID).
 * Compilers provide __builtin_cpu_supports, but it needs a library that zig does not have.
 */
#include "processor.h"

#include "common.h"

#if ON_X86
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

enum { A, B, C, D };                             /* the registers of an answer */
enum { YMM_STATE = 0x06, ZMM_STATE = 0xe6 };     /* of XCR0: registers that the operating system saves */
enum { ASK_FOR_STATE = 0x1023, TILE_DATA = 18 }; /* of arch_prctl */

/* Returns whether a bit of CPUID is set. */
static int has(unsigned leaf, unsigned part, int of, int bit) {
    unsigned answer[4] = {0};
    return __get_cpuid_count(leaf, part, &answer[A], &answer[B], &answer[C], &answer[D]) && answer[of] >> bit & 1;
}

/* Returns whether the operating system saves these registers in a context switch. */
static int saves(unsigned state) {
    enum { OSXSAVE = 27 };
    if (!has(1, 0, C, OSXSAVE)) return 0;
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & state) == state;
}

int has_avx2(void) {
    enum { FMA = 12, AVX = 28, AVX2 = 5 };
    return saves(YMM_STATE) && has(1, 0, C, FMA) && has(1, 0, C, AVX) && has(7, 0, B, AVX2);
}

int has_avx512(void) {
    enum { F = 16, DQ = 17, BW = 30, VL = 31 };
    return has_avx2() && saves(ZMM_STATE) && has(7, 0, B, F) && has(7, 0, B, DQ) && has(7, 0, B, BW) && has(7, 0, B, VL);
}

int has_vnni(void) {
    enum { F = 16, BW = 30, VNNI = 11 };
    return has_avx2() && saves(ZMM_STATE) && has(7, 0, B, F) && has(7, 0, B, BW) && has(7, 0, C, VNNI);
}

int has_avx_vnni(void) {
    enum { AVX_VNNI = 4 };
    return has_avx2() && has(7, 1, A, AVX_VNNI);
}

int has_amx(void) {
#if defined(__linux__)
    enum { TILES = 24, BYTES = 25 };
    return has_vnni() && has(7, 0, D, TILES) && has(7, 0, D, BYTES) &&
           !syscall(SYS_arch_prctl, ASK_FOR_STATE, TILE_DATA);
#else
    return 0;
#endif
}
#endif

#if ON_ARM
#if defined(__linux__)
#include <sys/auxv.h>
#elif defined(_WIN32)
__declspec(dllimport) int __stdcall IsProcessorFeaturePresent(unsigned long);
#endif

int has_dotprod(void) {
#if defined(__APPLE__)
    return 1; /* all processors of Apple support it */
#elif defined(__linux__)
    enum { ASIMDDP = 20 };
    return getauxval(AT_HWCAP) >> ASIMDDP & 1;
#elif defined(_WIN32)
    enum { PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE = 43 };
    return IsProcessorFeaturePresent(PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE);
#else
    return 0;
#endif
}
#endif
