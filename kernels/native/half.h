/* Rows of IEEE half-precision numbers (float16) as float or double. The conversion is exact, and so the
 * same on every machine, also for infinities and subnormal numbers. A signalling NaN becomes a quiet one.
 */
#ifndef FASTLIN_HALF_H
#define FASTLIN_HALF_H

#include <stddef.h>
#include <stdint.h>

#if defined(__F16C__)

#include <immintrin.h>

typedef uint16_t half_t;

static inline float float_of_half(half_t x) { return _cvtsh_ss(x); }

#if defined(__AVX512F__)
enum { HALVES = 16 };

static inline void halves_as_float(const half_t *x, float *row) {
    _mm512_storeu_ps(row, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)x)));
}

static inline void halves_as_double(const half_t *x, double *row) {
    for (int k = 0; k < HALVES; k += 8) {
        const __m256 some = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(x + k)));
        _mm512_storeu_pd(row + k, _mm512_cvtps_pd(some));
    }
}
#else
enum { HALVES = 8 };

static inline void halves_as_float(const half_t *x, float *row) {
    _mm256_storeu_ps(row, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)x)));
}

static inline void halves_as_double(const half_t *x, double *row) {
    const __m256 some = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)x));
    _mm256_storeu_pd(row, _mm256_cvtps_pd(_mm256_castps256_ps128(some)));
    _mm256_storeu_pd(row + 4, _mm256_cvtps_pd(_mm256_extractf128_ps(some, 1)));
}
#endif

#else /* One at a time: compilers make vector loops of the loops below. */

enum { HALVES = 1 };

#if defined(__aarch64__)

typedef __fp16 half_t;

static inline float float_of_half(half_t x) { return (float)x; }

#else

#include "elementary.h"

typedef uint16_t half_t;

/* The exponent's bias is 15 for half and 127 for float, and 112 is added once more for infinity and NaN, whose exponent
 * has all bits set. A subnormal half is its fraction times 2^-24. */
static inline float float_of_half(half_t x) {
    const uint32_t exponent = x & 0x7c00u, fraction = x & 0x03ffu, sign = (uint32_t)(x & 0x8000u) << 16;
    const uint32_t rebias = exponent == 0x7c00u ? 224u << 23 : 112u << 23;
    const uint32_t quiet = exponent == 0x7c00u && fraction ? 1u << 22 : 0;
    const uint32_t normal = ((exponent | fraction) << 13) + rebias;
    const uint32_t subnormal = bits_of_float((float)(int32_t)fraction * 0x1p-24f);
    return float_of((exponent ? normal : subnormal) | quiet | sign);
}

#endif

static inline void halves_as_float(const half_t *x, float *row) { row[0] = float_of_half(x[0]); }
static inline void halves_as_double(const half_t *x, double *row) { row[0] = float_of_half(x[0]); }

#endif

static void half_row_float(const half_t *x, ptrdiff_t d, float *row) {
    ptrdiff_t k = 0;
    for (; k + HALVES <= d; k += HALVES) halves_as_float(x + k, row + k);
    for (; k < d; k++) row[k] = float_of_half(x[k]);
}

static void half_row_double(const half_t *x, ptrdiff_t d, double *row) {
    ptrdiff_t k = 0;
    for (; k + HALVES <= d; k += HALVES) halves_as_double(x + k, row + k);
    for (; k < d; k++) row[k] = float_of_half(x[k]);
}

#endif
