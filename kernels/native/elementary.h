/* exp, log and log1p of one number, in a few multiply-adds without tables or branches, so that compilers vectorise
 * loops which call them. exp: at most 1.1 ULP over its whole range, gradual underflow to 0, inf above, NaN for
 * NaN. log: at most 3 ULP for 1 <= x < 2^20, which is what the sum of a softmax can be. log1p: at most 2 ULP for
 * 0 <= x <= 1, however small x is, which is what exp(-|score|) can be; NaN for NaN.
 *
 * exp(r) = 1 + r + r^2 q(r) on |r| <= ln(2)/2, with q by Remez exchange in 50 digits: relative error 3.1e-9
 * (float) and 7.7e-18 (double), a twentieth of an ULP. x = n ln 2 + r, with ln 2 in two parts of which the
 * first has so few bits that its product with n is exact (Cody & Waite 1980).
 */
#ifndef FASTLIN_ELEMENTARY_H
#define FASTLIN_ELEMENTARY_H

#include <stdint.h>
#include <string.h>

static inline float float_of(uint32_t bits) { float x; memcpy(&x, &bits, sizeof x); return x; }
static inline double double_of(uint64_t bits) { double x; memcpy(&x, &bits, sizeof x); return x; }
static inline uint32_t bits_of_float(float x) { uint32_t bits; memcpy(&bits, &x, sizeof x); return bits; }
static inline uint64_t bits_of_double(double x) { uint64_t bits; memcpy(&bits, &x, sizeof x); return bits; }

/* Adding `round` rounds x / ln 2 to an integer n and leaves n plus twice the exponent's bias in the low bits.
 * 2^n is the product of two powers: one power alone can neither be subnormal nor overflow to infinity. The
 * comparisons are false for a NaN, so that it is kept. */
static inline float exp_float(float x) {
    const float round = 0x1.8p23f + 254;
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x;
    const float t = x * 1.44269504088896340736f + round, n = t - round;
    const float r = x - n * 0.693359375f - n * -2.12194440054690583e-4f;
    float q = 0.0013814598646664034453f;
    q = q * r + 0.0083687168797281399469f;
    q = q * r + 0.041668388045313996659f;
    q = q * r + 0.16666520631709496887f;
    q = q * r + 0.49999993447796486827f;
    const uint32_t power = bits_of_float(t), half = power >> 1, rest = power - half;
    return ((r * r * q + r) + 1) * float_of(half << 23) * float_of(rest << 23);
}

static inline double exp_double(double x) {
    const double round = 0x1.8p52 + 2046;
    x = x < -746.0 ? -746.0 : x;
    x = x > 710.0 ? 710.0 : x;
    const double t = x * 1.44269504088896340736 + round, n = t - round;
    const double r = x - n * 0.693145751953125 - n * 1.42860682030941723212e-6;
    double q = 2.5110049895858716253e-8;
    q = q * r + 2.7632655759332030799e-7;
    q = q * r + 2.7557242336680357124e-6;
    q = q * r + 2.4801487326012336596e-5;
    q = q * r + 0.0001984126988659099934;
    q = q * r + 0.0013888888947820891418;
    q = q * r + 0.0083333333333222072959;
    q = q * r + 0.04166666666652199074;
    q = q * r + 0.1666666666666667453;
    q = q * r + 0.50000000000000102245;
    const uint64_t power = bits_of_double(t), half = power >> 1, rest = power - half;
    return ((r * r * q + r) + 1) * double_of(half << 52) * double_of(rest << 52);
}

/* x = 2^n m with m in [1/sqrt 2, sqrt 2); log m is the series of 2 artanh z, z = (m - 1) / (m + 1), |z| < 0.172.
 * n becomes a float by the same addition as above; x - x is NaN for a NaN. */
static inline float log_float(float x) {
    const uint32_t n = (bits_of_float(x) - bits_of_float(0.70710678118654752440f)) >> 23;
    const float m = float_of(bits_of_float(x) - (n << 23)), z = (m - 1) / (m + 1), z2 = z * z;
    float p = 1.0f / 9;
    p = p * z2 + 1.0f / 7;
    p = p * z2 + 1.0f / 5;
    p = p * z2 + 1.0f / 3;
    p = p * z2 + 1;
    const float exponent = float_of(n + bits_of_float(0x1p23f)) - 0x1p23f;
    return exponent * 0.69314718055994530942f + 2 * z * p + (x - x);
}

static inline double log_double(double x) {
    const uint64_t n = (bits_of_double(x) - bits_of_double(0.70710678118654752440)) >> 52;
    const double m = double_of(bits_of_double(x) - (n << 52)), z = (m - 1) / (m + 1), z2 = z * z;
    double p = 1.0 / 21;
    p = p * z2 + 1.0 / 19;
    p = p * z2 + 1.0 / 17;
    p = p * z2 + 1.0 / 15;
    p = p * z2 + 1.0 / 13;
    p = p * z2 + 1.0 / 11;
    p = p * z2 + 1.0 / 9;
    p = p * z2 + 1.0 / 7;
    p = p * z2 + 1.0 / 5;
    p = p * z2 + 1.0 / 3;
    p = p * z2 + 1;
    const double exponent = double_of(n + bits_of_double(0x1p52)) - 0x1p52;
    return exponent * 0.69314718055994530942 + 2 * z * p + (x - x);
}

/* log(1 + x) = 2 artanh z with z = x / (2 + x) <= 1/3: x is never added to a 1 that would swallow it.
 * artanh(z) = z + z^3 q(z^2), with q by Remez exchange: relative error 4.5e-9 (float) and 1.3e-18 (double). Beside a
 * small z the cube is nothing, and a factor of 0 keeps it from being subnormal. */
static inline float log1p_float(float x) {
    const float z = x / (2 + x), counts = z < 0x1p-14f ? 0 : 1, kept = counts * z, z2 = kept * kept;
    float q = 0.14005993344525266466f;
    q = q * z2 + 0.14000902652648072785f;
    q = q * z2 + 0.20010763618408527500f;
    q = q * z2 + 0.33333208142852466810f;
    return 2 * z + 2 * kept * z2 * q;
}

static inline double log1p_double(double x) {
    const double z = x / (2 + x), counts = z < 0x1p-28 ? 0 : 1, kept = counts * z, z2 = kept * kept;
    double q = 0.085048800735366668164;
    q = q * z2 + 0.041724848912067917518;
    q = q * z2 + 0.060524726242341449005;
    q = q * z2 + 0.066505606702652919366;
    q = q * z2 + 0.076932741976567767857;
    q = q * z2 + 0.090908722394804840676;
    q = q * z2 + 0.11111111976824728959;
    q = q * z2 + 0.14285714274058979340;
    q = q * z2 + 0.20000000000077558240;
    q = q * z2 + 0.33333333333333154850;
    return 2 * z + 2 * kept * z2 * q;
}

#endif
