/* After the functions of a target; see common.h. */
#if defined(__clang__)
#pragma clang attribute pop
#endif
