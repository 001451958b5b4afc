/* Register tiles: the scores of a block of rows, and the gradient that the block adds.
 *
 * Everything is class-major, as in fastlin/ops.py: W and dW are (c, d), scores are (c, rows). X, W and dW may
 * have any d, any row stride and any alignment; nothing is read or written outside their rows.
 *
 * rows.h holds the code, for REAL = float and double. It is compiled once per instruction set (setup.py), and
 * the width of a vector is the only thing that differs. docs/kernels.md says why it looks as it does.
 */
#ifndef FASTLIN_TILE_H
#define FASTLIN_TILE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

/* A tile is a rectangle of sums that stays in registers: 4 rows x some classes of the scores, or some vectors
 * x some classes of dW. Twenty sums (of 32 registers; 12 and 10 of 16) hide the latency of the multiply-add
 * and need less than one load for two of them. */
#if defined(__AVX512F__) || defined(__aarch64__)
enum { SCORES_CLASSES = 5, GRADIENT_CLASSES = 6, GRADIENT_VECTORS = 4, MANY_CLASSES = 10, MANY_VECTORS = 2 };
enum { WIDE_ROWS = 8, WIDE_VECTORS = 3 };
#else
enum { SCORES_CLASSES = 3, GRADIENT_CLASSES = 5, GRADIENT_VECTORS = 2, MANY_CLASSES = 5, MANY_VECTORS = 2 };
enum { WIDE_ROWS = 6, WIDE_VECTORS = 2 };
#endif
enum { SCORES_ROWS = 4, MAX_CLASSES = 5 };
enum { ROWS_AHEAD = 16 };      /* in any order: a row is prefetched so many before its scores, some 0.5 us */
enum { MAX_ROWS = 128 };       /* rows whose gradient is added at once */
enum { PANEL_BYTES = 24576 };   /* W's part of the L1 cache, beside four rows of X */
enum { PADDED_COLUMNS = 8 };    /* of rows shorter than a vector: scores of fewer take less time by columns */
enum { ALIGNED_VECTORS = 32 };  /* with fewer in a row, the columns before an aligned vector take longer than it gains */

/* With many classes (wide.h): */
enum { WIDE_CLASSES = 16, WIDE_LEAST_ROWS = 40 };
enum { WIDE_BLOCK = 128 };      /* rows that share a panel of W */
enum { WIDE_BYTES = 36864 };    /* of this panel, in L1 beside WIDE_ROWS rows of X */
enum { PANEL_VECTORS = 256 / VECTOR_BYTES }; /* of a row of a panel of X; with fewer, more of dW's pages are touched */

/* Loops over registers must be unrolled before the compiler puts their arrays into memory. */
#define UNROLL _Pragma("GCC unroll 10")

/* Keeps the compiler from holding `a` in registers: reading parts of a vector from memory takes loads, while taking
 * them out of a register occupies the only shuffle unit. */
#define IN_MEMORY(a) __asm__("" : "+m"(a))

/* Keeps the compiler from reading a vector of X from memory with each multiply-add that takes it, as gcc does where it
 * takes few: most such loads cross a cache line. */
#if defined(__x86_64__)
#define IN_REGISTER(v) __asm__("" : "+v"(v))
#else
#define IN_REGISTER(v) __asm__("" : "+w"(v))
#endif

#define NOINLINE static __attribute__((noinline))
#define INLINE static inline __attribute__((always_inline))

/* Calls f(..., n) with n a constant from 1 to most <= 5, so that loops over classes unroll and sums become
 * registers. */
#define WITH_CLASSES(n, most, f, ...)                                                                          \
    if ((n) > (most)) __builtin_unreachable();                                                                 \
    switch (n) {                                                                                               \
    case 1: f(__VA_ARGS__, 1); break;                                                                          \
    case 2: f(__VA_ARGS__, 2); break;                                                                          \
    case 3: f(__VA_ARGS__, 3); break;                                                                          \
    case 4: f(__VA_ARGS__, 4); break;                                                                          \
    default: f(__VA_ARGS__, 5); break;                                                                         \
    }

/* The same with n from 1 to MANY_CLASSES <= 10. */
#define WITH_MANY_CLASSES(n, f, ...)                                                                           \
    if ((n) > MANY_CLASSES) __builtin_unreachable();                                                           \
    switch (n) {                                                                                               \
    case 10: f(__VA_ARGS__, 10); break;                                                                        \
    case 9: f(__VA_ARGS__, 9); break;                                                                          \
    case 8: f(__VA_ARGS__, 8); break;                                                                          \
    case 7: f(__VA_ARGS__, 7); break;                                                                          \
    case 6: f(__VA_ARGS__, 6); break;                                                                          \
    default: WITH_CLASSES(n, 5, f, __VA_ARGS__)                                                                \
    }

INLINE ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
INLINE ptrdiff_t divide_up(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }

/* Classes of a tile: nearly equal shares of c, so that 7 is 4 + 3 rather than 5 + 2. */
INLINE ptrdiff_t share(ptrdiff_t c, ptrdiff_t most) { return divide_up(c, divide_up(c, most)); }

/* Columns of a panel in bytes: as many as fit, but at least 2 KB, or adding up lanes would take too long. */
INLINE ptrdiff_t panel_bytes(ptrdiff_t c) {
    const ptrdiff_t bytes = PANEL_BYTES / c / VECTOR_BYTES * VECTOR_BYTES;
    return bytes > 4096 ? 4096 : bytes < 2048 ? 2048 : bytes;
}

/* The sizes of a call. X and the copies of its rows, W and dW, scores and their gradient G are matrices whose rows lie
 * a stride apart, in numbers; b or db is a vector of such a stride. */
typedef struct {
    ptrdiff_t rows, d, c;
    ptrdiff_t X, W, b, scores; /* the strides */
    const void *panels;        /* W's copy in panels (wide.h), or NULL */
} tile_sizes;

/* Whether the gradient's tiles have many classes and few vectors of columns. */
INLINE int takes_many(ptrdiff_t c) { return c > GRADIENT_CLASSES && c <= MANY_CLASSES; }

/* The memory that is likely to be read after a block. The scores prefetch the first part of it into L2, and the gradient
 * the rest. */
typedef struct {
    const char *start;
    ptrdiff_t bytes;
} prefetch_hint;

#if defined(__x86_64__)
#define IS_AMD __builtin_cpu_is("amd")
#else
#define IS_AMD 0
#endif

/* The part of the scores: they wait for memory themselves, and an AMD processor drops prefetches meanwhile. */
INLINE ptrdiff_t early_bytes(const prefetch_hint *hint) { return hint->bytes / (IS_AMD ? 4 : 2); }

/* Prefetches `step` bytes at next, in at most half as many cache lines as `vectors` vectors fill. */
INLINE void prefetch(const char *next, ptrdiff_t step, const int vectors) {
    const int lines = vectors * VECTOR_BYTES > 128 ? vectors * VECTOR_BYTES / 128 : 1;
    UNROLL for (int i = 0; i < lines; i++) __builtin_prefetch(next + i * step / lines, 0, 2);
}

INLINE void prefetch_row(const char *row, ptrdiff_t bytes) {
    for (ptrdiff_t k = 0; k < bytes; k += 64) __builtin_prefetch(row + k);
}

/* Rows of X in any order, `known` of them: those behind a block are likely to be read after it. */
typedef struct {
    const char *X; /* the first column that is read */
    ptrdiff_t step, itemsize; /* from a row to the next, and of a stored number, in bytes */
    const int64_t *order;
    ptrdiff_t known;
} row_order;

/* Row r in the order; the last one stands for those that are not known. */
INLINE const char *nth_row(const row_order *rows, ptrdiff_t r) {
    return rows->X + rows->order[smaller(r, rows->known - 1)] * rows->step;
}

typedef float vec_float __attribute__((vector_size(VECTOR_BYTES)));
typedef double vec_double __attribute__((vector_size(VECTOR_BYTES)));
typedef uint32_t bits_float __attribute__((vector_size(VECTOR_BYTES)));
typedef uint64_t bits_double __attribute__((vector_size(VECTOR_BYTES)));
typedef float part_float __attribute__((vector_size(16)));
typedef double part_double __attribute__((vector_size(16)));
typedef uint32_t part_bits_float __attribute__((vector_size(16)));
typedef uint64_t part_bits_double __attribute__((vector_size(16)));

#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, bits, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, bits, ...) __builtin_shuffle(a, b, (bits){__VA_ARGS__})
#endif

/* Lanes of two vectors, the same in each 16-byte part: such shuffles are one instruction everywhere. `lanes`
 * lists those of one part, given the number of its first lane in the first and in the second vector. */
#if VECTOR_BYTES == 64
#define ALL_PARTS(lanes, k) lanes(0, 4 * k), lanes(k, 5 * k), lanes(2 * k, 6 * k), lanes(3 * k, 7 * k)
#elif VECTOR_BYTES == 32
#define ALL_PARTS(lanes, k) lanes(0, 2 * k), lanes(k, 3 * k)
#else
#define ALL_PARTS(lanes, k) lanes(0, k)
#endif
#define LOW_HALVES_ZIPPED(i, j) i, j, i + 1, j + 1
#define HIGH_HALVES_ZIPPED(i, j) i + 2, j + 2, i + 3, j + 3
#define LOW_HALVES(i, j) i, i + 1, j, j + 1
#define HIGH_HALVES(i, j) i + 2, i + 3, j + 2, j + 3
#define EVEN_LANES(i, j) i, j
#define ODD_LANES(i, j) i + 1, j + 1
#define ADD_LANES(a, b, bits, some, others, k)                                                                 \
    (SHUFFLE(a, b, bits, ALL_PARTS(some, k)) + SHUFFLE(a, b, bits, ALL_PARTS(others, k)))

/* s[i] += the sum of the lanes of a[i], for four vectors: transposed and added together inside their parts
 * (nine instructions), then part by part through memory. */
INLINE void add_sums_float(const vec_float a[4], float *s) {
    const vec_float u = ADD_LANES(a[0], a[1], bits_float, LOW_HALVES_ZIPPED, HIGH_HALVES_ZIPPED, 4);
    const vec_float v = ADD_LANES(a[2], a[3], bits_float, LOW_HALVES_ZIPPED, HIGH_HALVES_ZIPPED, 4);
    const vec_float sums = ADD_LANES(u, v, bits_float, LOW_HALVES, HIGH_HALVES, 4);
    part_float part[VECTOR_BYTES / 16], total;
    memcpy(part, &sums, VECTOR_BYTES);
    IN_MEMORY(part);
    memcpy(&total, s, 16);
    for (int i = 0; i < VECTOR_BYTES / 16; i++) total += part[i];
    memcpy(s, &total, 16);
}

INLINE void add_sums_double(const vec_double a[4], double *s) {
    for (int pair = 0; pair < 4; pair += 2) {
        const vec_double sums = ADD_LANES(a[pair], a[pair + 1], bits_double, EVEN_LANES, ODD_LANES, 2);
        part_double part[VECTOR_BYTES / 16], total;
        memcpy(part, &sums, VECTOR_BYTES);
        IN_MEMORY(part);
        memcpy(&total, s + pair, 16);
        for (int i = 0; i < VECTOR_BYTES / 16; i++) total += part[i];
        memcpy(s + pair, &total, 16);
    }
}

/* Row i of each square becomes its column i: the squares are the 16-byte parts of four rows, or of two. */
#define TURN_FOUR(v, bits, LANES)                                                                              \
    do {                                                                                                       \
        const __typeof__(v[0]) a = SHUFFLE(v[0], v[1], bits, LANES(LOW_HALVES_ZIPPED, 4));                     \
        const __typeof__(v[0]) b = SHUFFLE(v[0], v[1], bits, LANES(HIGH_HALVES_ZIPPED, 4));                    \
        const __typeof__(v[0]) c = SHUFFLE(v[2], v[3], bits, LANES(LOW_HALVES_ZIPPED, 4));                     \
        const __typeof__(v[0]) d = SHUFFLE(v[2], v[3], bits, LANES(HIGH_HALVES_ZIPPED, 4));                    \
        v[0] = SHUFFLE(a, c, bits, LANES(LOW_HALVES, 4));                                                      \
        v[1] = SHUFFLE(a, c, bits, LANES(HIGH_HALVES, 4));                                                     \
        v[2] = SHUFFLE(b, d, bits, LANES(LOW_HALVES, 4));                                                      \
        v[3] = SHUFFLE(b, d, bits, LANES(HIGH_HALVES, 4));                                                     \
    } while (0)
#define TURN_TWO(v, bits, LANES)                                                                               \
    do {                                                                                                       \
        const __typeof__(v[0]) a = SHUFFLE(v[0], v[1], bits, LANES(EVEN_LANES, 2));                            \
        v[1] = SHUFFLE(v[0], v[1], bits, LANES(ODD_LANES, 2));                                                 \
        v[0] = a;                                                                                              \
    } while (0)
#define ONE_PART(lanes, k) lanes(0, k)

INLINE void turn_float(part_float v[4]) { TURN_FOUR(v, part_bits_float, ONE_PART); }
INLINE void turn_double(part_double v[2]) { TURN_TWO(v, part_bits_double, ONE_PART); }
INLINE void turn_parts_float(vec_float v[4]) { TURN_FOUR(v, bits_float, ALL_PARTS); }
INLINE void turn_parts_double(vec_double v[2]) { TURN_TWO(v, bits_double, ALL_PARTS); }

#define REAL float
#define NAME(x) x##_float
#include "rows.h"
#undef REAL
#undef NAME

#define REAL double
#define NAME(x) x##_double
#include "rows.h"
#undef REAL
#undef NAME

#endif
