/* fit_rate.c for processors with AVX-512; see common.h. */
#define TARGET_AVX512
#include "fit_rate.c"
#include "end_of_target.h"
