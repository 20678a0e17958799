/* Mathematical functions of vectors, accurate to a few units in the last place of a float. */
#ifndef DFM_MATHS_H
#define DFM_MATHS_H

#include "common.h"

/* Returns all one bits where a number is negative, else zeros. */
INLINE int32_lanes negative(float_lanes x) { return (int32_lanes)x >> 31; }

INLINE int32_lanes integer_where(int32_lanes mask, int32_lanes a, int32_lanes b) { return (a & mask) | (b & ~mask); }
INLINE float_lanes where(int32_lanes mask, float_lanes a, float_lanes b) {
    return (float_lanes)integer_where(mask, (int32_lanes)a, (int32_lanes)b);
}

INLINE float_lanes smaller(float_lanes a, float_lanes b) { return where(negative(a - b), a, b); }
INLINE float_lanes larger(float_lanes a, float_lanes b) { return where(negative(a - b), b, a); }
INLINE float_lanes magnitude(float_lanes x) { return (float_lanes)((int32_lanes)x & 0x7FFFFFFF); }
INLINE float_lanes with_sign_of(float_lanes x, float_lanes sign) {
    return (float_lanes)((int32_lanes)x | ((int32_lanes)sign & (int32_t)0x80000000));
}

#define ROUNDING 12582912.0f /* 1.5 2^23: the last bit of a sum with it is worth 1 */

/* Rounds |x| < 2^22 to the nearest integer. */
INLINE float_lanes rounded_lanes(float_lanes x) { return (x + ROUNDING) - ROUNDING; }

INLINE float_lanes floored(float_lanes x) {
    const float_lanes integer = rounded_lanes(x);
    return integer - where(negative(x - integer), all(1.0f), all(0.0f));
}

/* Computes cos and sin of 2 pi v. With k the integer nearest to 2 v, they are (-1)^k times those of the remaining
 * angle. It is within a quarter turn, where the polynomials (Taylor, with adjusted last terms) have errors of 1e-7. */
INLINE void cos_sin(float_lanes v, float_lanes *cosine, float_lanes *sine) {
    const float_lanes magic = all(ROUNDING), shifted = v * 2.0f + magic;
    const int32_lanes sign = (int32_lanes)shifted << 31;
    const float_lanes r = (v - (shifted - magic) * 0.5f) * 6.283185307179586f, s = r * r;
    float_lanes c = all(-2.605e-7f), t = all(2.6083159e-6f);
    c = c * s + 2.47609e-5f;
    c = c * s - 1.3888397e-3f;
    c = c * s + 4.1666638e-2f;
    c = c * s - 0.5f;
    c = c * s + 1.0f;
    t = t * s - 1.9810690e-4f;
    t = t * s + 8.3330255e-3f;
    t = t * s - 1.6666657e-1f;
    t = r + r * s * t;
    *cosine = (float_lanes)((int32_lanes)c ^ sign);
    *sine = (float_lanes)((int32_lanes)t ^ sign);
}

/* Computes e^x, with x clipped to +-87, as a power of 2 times the polynomial of Cephes. */
INLINE float_lanes exponential(float_lanes x) {
    x = larger(smaller(x, all(87.0f)), all(-87.0f));
    const float_lanes shifted = x * 1.44269504f + ROUNDING, integer = shifted - ROUNDING;
    const float_lanes r = (x - integer * 0.693359375f) + integer * 2.12194440e-4f;
    float_lanes p = r * 1.98756915e-4f + 1.39819995e-3f;
    p = p * r + 8.33345190e-3f;
    p = p * r + 4.16657960e-2f;
    p = p * r + 1.66666655e-1f;
    p = p * r + 0.5f;
    p = p * r * r + r + 1.0f;
    return p * (float_lanes)(((int32_lanes)shifted << 23) + (127 << 23));
}

/* Computes log2 of x > 0: the exponent, plus the series of atanh for the mantissa, which is within 2^(+-1/2). */
INLINE float_lanes logarithm(float_lanes x) {
    const int32_lanes above = (int32_lanes)x - 0x3F3504F3; /* from 2^(-1/2) on */
    const int32_lanes exponent = above >> 23;
    const float_lanes m = (float_lanes)((int32_lanes)x - (exponent << 23));
    const float_lanes z = (m - 1.0f) / (m + 1.0f), s = z * z;
    float_lanes p = s * 0.222221985f + 0.285714286f;
    p = p * s + 0.4f;
    p = p * s + 0.666666667f;
    p = (p * s + 2.0f) * z * 1.44269504f;
    const float_lanes integer = (float_lanes)(exponent + (int32_lanes)all(ROUNDING)) - ROUNDING;
    return p + integer;
}

INLINE float sum_of_lanes(float_lanes v) {
    float sum = 0;
    for (int i = 0; i < LANES; i++) sum += v[i];
    return sum;
}

#endif
