/* context_gradient.c for processors with AVX2; see common.h. */
#define TARGET_AVX2
#include "context_gradient.c"
#include "end_of_target.h"
