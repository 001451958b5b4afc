/* Sparse rows for one type of W (REAL), of the data (DATA) and of the indices (INDEX): included by csr.h. The functions
 * of a tile are made for vectors of several sizes, so that few classes fill them too. */

#define CSR(x) JOINED(x, REAL, DATA, INDEX, of)

INLINE int64_t CSR(column)(const csr_block block, ptrdiff_t p) {
    return __atomic_load_n((const INDEX *)block.X.indices + p, __ATOMIC_RELAXED); /* once: it may change meanwhile */
}

/* The row of W or dW that an entry after p will need. Its index is not checked: from any address a prefetch is harmless. */
INLINE const char *CSR(ahead)(const csr_block block, ptrdiff_t p, const REAL *W) {
    const uint64_t k = (uint64_t)CSR(column)(block, smaller(p + AHEAD, block.last));
    return (const char *)((uintptr_t)W + k * (uint64_t)block.stride * sizeof(REAL));
}

#define VECTOR_SIZE 64
#include "csr_vectors.h"
#undef VECTOR_SIZE
#define VECTOR_SIZE 32
#include "csr_vectors.h"
#undef VECTOR_SIZE
#define VECTOR_SIZE 16
#include "csr_vectors.h"
#undef VECTOR_SIZE
#define VECTOR_SIZE REAL_BYTES
#include "csr_vectors.h"
#undef VECTOR_SIZE

/* Calls f for a tile with the widest vectors that its classes fill, and as many of them as cover the classes. */
#define FOR_TILE(f, width, ...)                                                                                \
    do {                                                                                                       \
        const ptrdiff_t bytes = (width) * (ptrdiff_t)sizeof(REAL);                                             \
        if (VECTOR_BYTES == 64 && bytes >= 64) {                                                               \
            WITH_VECTORS(divide_up(bytes, 64), JOINED(f, REAL, DATA, INDEX, 64), __VA_ARGS__)                  \
        } else if (VECTOR_BYTES == 32 && bytes >= 32) {                                                        \
            WITH_VECTORS(divide_up(bytes, 32), JOINED(f, REAL, DATA, INDEX, 32), __VA_ARGS__)                  \
        } else if (VECTOR_BYTES == 16 && bytes >= 16) {                                                        \
            WITH_VECTORS(divide_up(bytes, 16), JOINED(f, REAL, DATA, INDEX, 16), __VA_ARGS__)                  \
        } else if (VECTOR_BYTES == 64 && bytes >= 32) {                                                        \
            WITH_CLASSES(divide_up(bytes, 32), 2, JOINED(f, REAL, DATA, INDEX, 32), __VA_ARGS__)               \
        } else if (bytes >= 16) {                                                                              \
            WITH_CLASSES(divide_up(bytes, 16), 2, JOINED(f, REAL, DATA, INDEX, 16), __VA_ARGS__)               \
        } else {                                                                                               \
            WITH_CLASSES(width, 3, JOINED(f, REAL, DATA, INDEX, REAL_BYTES), __VA_ARGS__)                      \
        }                                                                                                      \
    } while (0)

NOINLINE void CSR(scores_of_tile)(const csr_block *block, const REAL *W, const REAL *b, REAL *scores) {
    FOR_TILE(scores, block->width, *block, W, b, scores);
}

NOINLINE void CSR(gradient_of_tile)(const csr_block *block, const REAL *slopes, REAL *dW, REAL *db) {
    FOR_TILE(gradient, block->width, *block, slopes, dW, db);
}

NOINLINE void CSR(columns_of_tile)(
    const csr_block *block, const csr_parts *parts, const REAL *slopes, int adds, REAL scale, REAL *dW, ptrdiff_t ld
) {
    FOR_TILE(columns, block->width, *block, parts, slopes, adds, scale, dW, ld);
}

/* The scores (c, rows) of the rows start ... start + rows - 1. */
static void CSR(csr_scores)(
    const csr_arrays *X, ptrdiff_t start, ptrdiff_t rows, const void *weights, const csr_sizes *sizes, void *out
) {
    enum { TURNED = TILE_BYTES / sizeof(REAL) };
    REAL turned[TURNED_ROWS * TURNED] __attribute__((aligned(64)));
    const REAL *W = weights, *b = sizes->rows > X->d ? W + X->d * sizes->stride : NULL;
    csr_block block = csr_block_of(X, start + rows, sizes->stride, TURNED);
    for (ptrdiff_t r = 0; r < rows; r += TURNED_ROWS) {
        block.start = start + r, block.rows = smaller(TURNED_ROWS, rows - r);
        for (ptrdiff_t tile = 0, first = 0; first < sizes->c; tile++, first += block.width) {
            csr_set_width(&block, csr_tile_width(sizes->c, tile, V_OF(REAL)), sizeof(REAL));
            CSR(scores_of_tile)(&block, W + first, b ? b + first : NULL, turned);
            NAME(transpose)(turned, TURNED, block.rows, block.width, 1, (REAL *)out + first * sizes->ld + r, sizes->ld);
        }
    }
}

/* dW += what these rows contribute, given their slopes (c, rows). */
static void CSR(csr_gradient)(
    const csr_arrays *X, ptrdiff_t start, ptrdiff_t rows, const void *slopes, const csr_sizes *sizes, void *gradient
) {
    enum { TURNED = TILE_BYTES / sizeof(REAL) };
    REAL turned[TURNED_ROWS * TURNED] __attribute__((aligned(64)));
    REAL *dW = gradient, *db = sizes->rows > X->d ? dW + X->d * sizes->stride : NULL;
    csr_block block = csr_block_of(X, start + rows, sizes->stride, TURNED);
    for (ptrdiff_t r = 0; r < rows; r += TURNED_ROWS) {
        block.start = start + r, block.rows = smaller(TURNED_ROWS, rows - r);
        for (ptrdiff_t tile = 0, first = 0; first < sizes->c; tile++, first += block.width) {
            csr_set_width(&block, csr_tile_width(sizes->c, tile, V_OF(REAL)), sizeof(REAL));
            NAME(transpose)
            ((const REAL *)slopes + first * sizes->ld + r, sizes->ld, block.width, block.rows, 1, turned, TURNED);
            CSR(gradient_of_tile)(&block, turned, dW + first, db ? db + first : NULL);
        }
    }
}

/* The rows start ... start + count - 1 of dW (d, c), from the rows' slopes (n, c). */
static void CSR(csr_columns)(
    const csr_arrays *XT, ptrdiff_t start, ptrdiff_t count, ptrdiff_t parts, const void *slopes, int adds, double scale,
    const csr_sizes *sizes, void *gradient
) {
    csr_block block = csr_block_of(XT, start + count, sizes->stride, 0);
    const csr_parts of_rows = csr_parts_of(XT->d, parts);
    for (ptrdiff_t k = 0; k < count; k += TURNED_ROWS) {
        REAL *dW = (REAL *)gradient + k * sizes->ld;
        block.start = start + k, block.rows = smaller(TURNED_ROWS, count - k);
        for (ptrdiff_t tile = 0, first = 0; first < sizes->c; tile++, first += block.width) {
            csr_set_width(&block, csr_tile_width(sizes->c, tile, V_OF(REAL)), sizeof(REAL));
            CSR(columns_of_tile)
            (&block, &of_rows, (const REAL *)slopes + first, adds, (REAL)scale, dW + first, sizes->ld);
        }
    }
}

#undef CSR
#undef FOR_TILE
