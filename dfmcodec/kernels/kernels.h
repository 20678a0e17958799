/* All kernels, with the signatures of their arguments; what they do is in _compiled.pyi.
 *
 * r: an array that is read; w: one that is written; n: a size or position; i: an integer of 32 bits; I: one without
 * sign; p: true or false; d: a number; ( ): a tuple of these; [ ]: any number of what is between, after their number.
 */
#ifndef DFM_KERNELS_H
#define DFM_KERNELS_H

#include "common.h"

/* X(name, signature, what it gives, whether it is so short that it keeps the lock of Python's interpreter) */
#define DECODER_KERNELS_OF_ONE_BUILD(X)                                                                                \
    X(start_decoding, "wr", NOTHING, 1)                                                                                \
    X(decode_highs, "wrrrrrpww", SIZE, 0)                                                                              \
    X(decode_bits, "wriw", TRUTH, 1)
#define KERNELS_OF_ONE_BUILD(X)                                                                                        \
    DECODER_KERNELS_OF_ONE_BUILD(X)                                                                                    \
    X(encode_entries, "wrrpwrw", SIZE, 0)                                                                              \
    X(encode_bits, "wirw", SIZE, 1)                                                                                    \
    X(end_encoding, "rw", SIZE, 1)
#define DECODER_KERNELS_OF_TARGETS(X)                                                                                  \
    X(choose_tables, "rrrrrrrirrrrnnrr(iiiii)www", NOTHING, 0)                                                         \
    X(choose_front, "(rrrrr)rr(nn)r(nn)n(iiii)www", NOTHING, 0)                                                        \
    X(accept_front, "rrw(nn)w(nn)", NOTHING, 1)                                                                        \
    X(machine_change, "r(ii)r(nnn)ddnnw", NOTHING, 0)                                                                  \
    X(filter_change, "rrir(nnn)w", NOTHING, 0)                                                                         \
    X(planes_to_pixels, "r(nnn)rdddw", NOTHING, 0)                                                                     \
    X(accept_symbols, "rrrrrnnwnrw(nn)w(nn)", NOTHING, 0)                                                              \
    X(synthesise_channel, "rrrr(iii)nnw", NOTHING, 0)                                                                  \
    X(low_differences, "rnnirrnnw", NOTHING, 0)
#define KERNELS_OF_TARGETS(X)                                                                                          \
    DECODER_KERNELS_OF_TARGETS(X)                                                                                      \
    X(add_gradient, "rrrrrrrirrrrnnrr(iiiii)wwwrr(ii)ww", NOTHING, 0)                                                  \
    X(adaptation_gradient, "(rrrrr)r(rri)r(iii)ww", NOTHING, 0)                                                        \
    X(window_workspace, "", SIZE, 1)                                                                                        \
    X(window_gradient, "r(ii)rd(nnnn)(ddd)rr(rrrrrrr)w(ddI)ww", NOTHING, 0)                                            \
    X(window_costs, "r(ii)rd(nnnn)(ddd)rr(rrrrrrr)www", NOTHING, 0)                                                    \
    X(add_gradients, "r(nnnn)(wwwwwww)", NOTHING, 1)                                                                   \
    X(move_latents, "(nnnn)(wwwwwww)(wwwwwww)(wwwwwww)(wwwwwww)r(dddd)", NOTHING, 1)                                   \
    X(values_of_samples, "rrn(nn)w", NOTHING, 0)                                                                       \
    X(ssimulacra2_sums, "rr(nn)(nn)rddrdw", NOTHING, 0)                                                                \
    X(ssimulacra2_slopes, "rr(nn)(nn)rddrdrw", NOTHING, 0)                                                             \
    X(analyse_channel, "rnnwwww", NOTHING, 0)                                                                          \
    X(choose_paths, "[(nnrrrrrrw)]prrrr(ii)nnn", NOTHING, 0)

#define DECLARE_KERNEL(name, signature, gives, is_short) int name(Call *call);
KERNELS_OF_ONE_BUILD(DECLARE_KERNEL)

/* The kernels of the chosen instruction set. */
typedef struct {
#define KERNEL_POINTER(name, signature, gives, is_short) Kernel name;
    KERNELS_OF_TARGETS(KERNEL_POINTER)
} Kernels;
extern const Kernels *kernels;

void choose_instruction_set_of_host(void);

/* The name of the instruction set number `number` of those that the processor has, the best first; else NULL. */
const char *instruction_set(int number);

/* The name of the chosen one, "" for none. */
const char *chosen_instruction_set(void);

/* Takes one for all that follows; returns 0 where the processor does not have it. */
int use_instruction_set(const char *name);

#endif
