/* fit_backward.c for processors with AVX-512; see common.h. */
#define TARGET_AVX512
#include "fit_backward.c"
#include "end_of_target.h"
