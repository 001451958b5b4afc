/* Square roots of a few numbers at once, for loops that also divide: the processor has one unit for both, and a
 * root of float32 by an estimate and Newton's correction leaves it to the division.
 *
 * The estimate r of 1/sqrt(x) has 14 bits (AVX-512) or 11.4 (AVX2), s = x r. With x r^2 = 1 - 2e the root is
 * s (1 + e + 3/2 e^2 + ...): within 1 ULP. 0, inf and NaN give what sqrt gives; AVX2's estimate takes subnormal
 * numbers for 0, so that a vector with any of these goes to the exact instruction. Doubles and other instruction
 * sets always do.
 */
#ifndef FASTLIN_ESTIMATE_H
#define FASTLIN_ESTIMATE_H

#include <float.h>
#include <math.h>
#include <string.h>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

/* Numbers whose roots are taken at once. A loop over them from 0 to LANES is one vector instruction for each line. */
#if defined(__AVX512F__)
enum { LANES = 16 };
#else
enum { LANES = 8 };
#endif

#if defined(__AVX512F__)

static inline __attribute__((always_inline)) void roots_float(float *x) {
    const __m512 half = _mm512_set1_ps(0.5f), v = _mm512_loadu_ps(x), r = _mm512_rsqrt14_ps(v);
    const __m512 s = _mm512_mul_ps(v, r), e = _mm512_fnmadd_ps(_mm512_mul_ps(half, s), r, half);
    const __mmask16 special = _mm512_fpclass_ps_mask(v, 0x02 | 0x04 | 0x08); /* 0, -0, inf are their own roots */
    _mm512_storeu_ps(x, _mm512_mask_mov_ps(_mm512_fmadd_ps(s, e, s), special, v));
}

#elif defined(__AVX2__)

static inline __attribute__((always_inline)) void roots_float(float *x) {
    const __m256 half = _mm256_set1_ps(0.5f), v = _mm256_loadu_ps(x), r = _mm256_rsqrt_ps(v);
    const __m256 s = _mm256_mul_ps(v, r), e = _mm256_fnmadd_ps(_mm256_mul_ps(half, s), r, half);
    const __m256 more = _mm256_mul_ps(e, _mm256_fmadd_ps(_mm256_set1_ps(1.5f), e, _mm256_set1_ps(1.0f)));
    const __m256 low = _mm256_cmp_ps(v, _mm256_set1_ps(FLT_MIN), _CMP_LT_OQ);
    const __m256 high = _mm256_cmp_ps(v, _mm256_set1_ps(FLT_MAX), _CMP_GT_OQ);
    const int special = _mm256_movemask_ps(_mm256_or_ps(low, high));
    _mm256_storeu_ps(x, special ? _mm256_sqrt_ps(v) : _mm256_fmadd_ps(s, more, s));
}

#else

static inline void roots_float(float *x) {
    for (int k = 0; k < LANES; k++) x[k] = sqrtf(x[k]);
}

#endif

static inline __attribute__((always_inline)) void roots_double(double *x) {
    for (int k = 0; k < LANES; k++) x[k] = sqrt(x[k]);
}

#endif
