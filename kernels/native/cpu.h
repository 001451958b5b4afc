/* Which vector instructions may be used. The compiler's own test asks the CPU and, through XGETBV, whether the
 * operating system saves the wide registers. */
#ifndef FASTLIN_CPU_H
#define FASTLIN_CPU_H

#if defined(__x86_64__)

#include <cpuid.h>

/* Old versions of clang do not know the name "f16c" in __builtin_cpu_supports. Its registers are those of AVX. */
static int cpu_has_f16c(void) {
    unsigned int eax, ebx, ecx, edx;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C);
}

static int cpu_has_avx2(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && cpu_has_f16c();
}

static int cpu_has_avx512(void) {
    __builtin_cpu_init();
    return cpu_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")
        && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}

#else /* arm64: NEON is part of the base */

static int cpu_has_avx2(void) { return 0; }
static int cpu_has_avx512(void) { return 0; }

#endif
#endif
