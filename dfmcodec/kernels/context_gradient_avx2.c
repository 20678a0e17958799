/* context_gradient.c for processors with AVX2; see common.h. */
#if defined(__x86_64__) && defined(__linux__) && !defined(DFM_ONE_TARGET)
#define TARGET_AVX2
#include "context_gradient.c"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
