/* Loops that take LANES numbers at a time: their square roots, and their way back to memory.
 *
 * The processor has one unit for roots and divisions. Roots from an estimate and Newton's correction do not use that
 * unit. The estimate r of 1/sqrt(x) has 14 bits, s = x r. With x r^2 = 1 - 2e the root is s (1 + e + 3/2 e^2 + ...), and
 * s + s e is within 1 ULP. 0, -0, inf and NaN give what sqrt gives, subnormal numbers too.
 *
 * Only AVX-512 code uses the estimate: there the unit needs 22 cycles for a root and a division of 16 floats, while
 * L2 delivers them in 15 (Intel). On AMD's Zen 5 the unit is faster than the estimate with its correction. AVX2's
 * estimate has 11 bits and treats subnormal numbers as 0; correcting both costs as much as it gains.
 *
 * gcc makes a call of memcpy, or what it inlines as one, out of a loop that copies, and then the numbers are not kept in
 * registers. So they are written by vector instructions.
 */
#ifndef FASTLIN_ESTIMATE_H
#define FASTLIN_ESTIMATE_H

#include <math.h>

#if defined(__AVX512F__)

#include <immintrin.h>

/* Numbers whose roots are taken at once. Loops from 0 to LANES become two vector instructions for each line; up to 16
 * turns gcc may unroll a loop before it looks for vectors, and then it finds few. */
enum { LANES = 32 };

#define ROOT_UNIT_IS_FAST __builtin_cpu_is("amd")

static inline void estimated_roots_float(float *x) {
    const __m512 half = _mm512_set1_ps(0.5f);
    for (int k = 0; k < LANES; k += 16) {
        const __m512 v = _mm512_loadu_ps(x + k), r = _mm512_rsqrt14_ps(v), s = _mm512_mul_ps(v, r);
        const __m512 e = _mm512_fnmadd_ps(_mm512_mul_ps(half, s), r, half);
        const __mmask16 special = _mm512_fpclass_ps_mask(v, 0x02 | 0x04 | 0x08); /* 0, -0, inf: their own roots */
        _mm512_storeu_ps(x + k, _mm512_mask_mov_ps(_mm512_fmadd_ps(s, e, s), special, v));
    }
}

/* One more step: r (1 + e + 3/2 e^2) has 40 bits. */
static inline void estimated_roots_double(double *x) {
    const __m512d half = _mm512_set1_pd(0.5), one = _mm512_set1_pd(1.0), more = _mm512_set1_pd(1.5);
    for (int k = 0; k < LANES; k += 8) {
        const __m512d v = _mm512_loadu_pd(x + k), r = _mm512_rsqrt14_pd(v);
        const __m512d e = _mm512_fnmadd_pd(_mm512_mul_pd(v, r), _mm512_mul_pd(half, r), half);
        const __m512d q = _mm512_fmadd_pd(_mm512_mul_pd(r, e), _mm512_fmadd_pd(more, e, one), r);
        const __m512d s = _mm512_mul_pd(v, q), rest = _mm512_fnmadd_pd(s, _mm512_mul_pd(half, q), half);
        const __mmask8 special = _mm512_fpclass_pd_mask(v, 0x02 | 0x04 | 0x08);
        _mm512_storeu_pd(x + k, _mm512_mask_mov_pd(_mm512_fmadd_pd(s, rest, s), special, v));
    }
}

static inline void roots_float(float *x) {
    if (!ROOT_UNIT_IS_FAST) estimated_roots_float(x);
    else
        for (int k = 0; k < LANES; k++) x[k] = sqrtf(x[k]);
}

static inline void roots_double(double *x) {
    if (!ROOT_UNIT_IS_FAST) estimated_roots_double(x);
    else
        for (int k = 0; k < LANES; k++) x[k] = sqrt(x[k]);
}

static inline void write_float(float *to, const float *x) {
    for (int k = 0; k < LANES; k += 16) _mm512_storeu_ps(to + k, _mm512_loadu_ps(x + k));
}

static inline void write_double(double *to, const double *x) {
    for (int k = 0; k < LANES; k += 8) _mm512_storeu_pd(to + k, _mm512_loadu_pd(x + k));
}

#else

/* One at a time: the loop around it becomes the vector loop. */
enum { LANES = 1 };

static inline void roots_float(float *x) { x[0] = sqrtf(x[0]); }
static inline void roots_double(double *x) { x[0] = sqrt(x[0]); }
static inline void write_float(float *to, const float *x) { to[0] = x[0]; }
static inline void write_double(double *to, const double *x) { to[0] = x[0]; }

#endif

#endif
