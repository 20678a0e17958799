/* correction.c for processors with AVX-512; see common.h. */
#define TARGET_AVX512
#include "correction.c"
#include "end_of_target.h"
