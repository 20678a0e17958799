/* Instruction sets that the processor supports and the operating system enables. */
#ifndef DFM_PROCESSOR_H
#define DFM_PROCESSOR_H

/* x86-64 */
int has_avx2(void);     /* with FMA */
int has_avx512(void);   /* F, BW, DQ and VL */
int has_vnni(void);     /* of AVX-512, with F and BW */
int has_avx_vnni(void); /* with AVX2 */
int has_amx(void);      /* for bytes, with AVX-512 VNNI; asks the system for it */

/* 64-bit Arm */
int has_dotprod(void);

#endif
