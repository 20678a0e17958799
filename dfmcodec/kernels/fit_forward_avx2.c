/* fit_forward.c for processors with AVX2; see common.h. */
#define TARGET_AVX2
#include "fit_forward.c"
#include "end_of_target.h"
