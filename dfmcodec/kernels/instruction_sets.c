/* The choice of one instruction set for all kernels at run time. Each row of BYTE_PRODUCTS is an instruction set. The
 * other kernels are compiled for several targets, and the best target that the instruction set permits is used.
 */
#include "byte_products.h"
#include "kernels.h"
#include "processor.h"

enum Target { BASELINE, FOR_AVX2, FOR_AVX512, TARGETS };

#define OF_BASELINE(name, Struct) name##_baseline,
#define OF_AVX2(name, Struct) name##_avx2,
#define OF_AVX512(name, Struct) name##_avx512,
static const Kernels of_targets[TARGETS] = {
    {KERNELS_OF_TARGETS(OF_BASELINE)},
#if ON_X86
    {KERNELS_OF_TARGETS(OF_AVX2)},
    {KERNELS_OF_TARGETS(OF_AVX512)},
#endif
};

const Kernels *kernels = of_targets;
const ByteProducts *byte_products = BYTE_PRODUCTS;

/* Returns the best target that the processor supports and an instruction set permits. */
static enum Target target_of(const char *name) {
#if ON_X86
    if (!strcmp(name, "baseline")) return BASELINE;
    const int is_small = !strcmp(name, "avx2") || !strcmp(name, "avx-vnni");
    return !is_small && has_avx512() ? FOR_AVX512 : FOR_AVX2;
#else
    (void)name;
    return BASELINE;
#endif
}

static void choose(const ByteProducts *products) {
    byte_products = products;
    kernels = &of_targets[target_of(products->name)];
}

void choose_instruction_set_of_host(void) {
    const ByteProducts *products = BYTE_PRODUCTS;
    while (!products->is_possible()) products++;
    choose(products);
}

const char *instruction_set(int number) {
    for (const ByteProducts *products = BYTE_PRODUCTS; products->name; products++)
        if (products->is_possible() && !number--) return products->name;
    return NULL;
}

const char *chosen_instruction_set(void) { return byte_products->name; }

int use_instruction_set(const char *name) {
    for (const ByteProducts *products = BYTE_PRODUCTS; products->name; products++)
        if (!strcmp(products->name, name) && products->is_possible()) return choose(products), 1;
    return 0;
}
