/* Sparse rows: the scores of a block of rows, and the gradient that the block adds.
 *
 * W and dW are feature-major, (d, c), so that an entry of X reads one row of W and adds to one row of dW. Scores are
 * (c, rows), as epilogues want them: those of some rows are turned, in a buffer on the stack.
 *
 * Classes are cut into tiles whose sums stay in registers while a row's entries are gone through. A tile's last vector
 * ends with its last class, and may overlap the vector before it: both compute the same numbers for these lanes. So
 * nothing is read or written outside a row of W or dW, whatever c is, and no masked instruction is needed.
 *
 * The transposed rows, the columns of X, are made once for a fit. With them a member of the team computes whole rows of
 * dW, each by one sum in registers over the slopes (n, c) of all rows: nothing is zeroed, and no parts are combined.
 *
 * The indices are the caller's, who may write to them at any time. Each is loaded once, compared with d, and passed
 * over if it is outside. csr_tile.h holds the code, for the types of W, of the data and of the indices.
 */
#ifndef FASTLIN_CSR_H
#define FASTLIN_CSR_H

#include "tile.h"

enum { TURNED_ROWS = 16 };         /* rows whose scores are turned at once */
enum { TILE_VECTORS = 8 };         /* of a tile, at most: their sums and terms fit 16 registers */
enum { TILE_BYTES = TILE_VECTORS * VECTOR_BYTES };
enum { TWO_SUMS = 4 };             /* vectors up to which odd and even entries have sums of their own */
enum { AHEAD = 24 };               /* entries, ahead of which rows of W and dW are prefetched */
enum { MOST_PARTS = 64 };          /* of the rows, that columns are summed by */
enum { CACHED_BYTES = 512 << 10 }; /* of a W that needs no prefetching */

typedef struct {
    const void *data;      /* float or double */
    const void *indices;   /* int32_t or int64_t */
    const int64_t *indptr; /* row i has the entries indptr[i] ... indptr[i + 1] - 1 */
    ptrdiff_t d;
} csr_arrays;

/* Some rows, and a tile of classes. */
typedef struct {
    csr_arrays X;
    ptrdiff_t start, rows;
    ptrdiff_t last;   /* the last entry whose index may be read ahead */
    ptrdiff_t width;  /* classes */
    ptrdiff_t stride; /* of W or dW, in numbers */
    ptrdiff_t turned; /* of the scores or slopes of the rows */
    int prefetches;   /* 0 nothing of a row, 1 its lines, counted from its first byte, 2 and that of its last byte */
} csr_block;

INLINE csr_block csr_block_of(const csr_arrays *X, ptrdiff_t stop, ptrdiff_t stride, ptrdiff_t turned) {
    const csr_block block = {.X = *X, .last = X->indptr[stop] - 1, .stride = stride, .turned = turned};
    return block;
}

/* Rows begin at multiples of `step`, the largest power of 2 that divides their distance: so it is known whether the last
 * bytes may lie in a line of their own. */
INLINE void csr_set_width(csr_block *block, ptrdiff_t width, ptrdiff_t size) {
    const ptrdiff_t distance = block->stride * size, step = distance & -distance;
    block->width = width;
    block->prefetches = block->X.d * distance <= CACHED_BYTES ? 0 : (width * size - 1) % 64 + 1 > step ? 2 : 1;
}

/* Of W or dW (rows, c), which has a row for b if there are more than d, and of the scores or slopes (c, rows of X). */
typedef struct {
    ptrdiff_t rows, c;
    ptrdiff_t stride, ld; /* of either, in numbers */
} csr_sizes;

/* Parts of the rows: part i has the rows border[i] ... border[i + 1] - 1. */
typedef struct {
    ptrdiff_t count;
    uint64_t border[MOST_PARTS + 1];
} csr_parts;

INLINE csr_parts csr_parts_of(ptrdiff_t rows, ptrdiff_t count) {
    csr_parts parts = {.count = smaller(count, MOST_PARTS)};
    for (ptrdiff_t i = 0; i <= parts.count; i++) parts.border[i] = (uint64_t)(rows * i / parts.count);
    return parts;
}

/* The classes of a tile: nearly equal shares of the vectors that c classes fill, so that the last is no single one. */
INLINE ptrdiff_t csr_tile_width(ptrdiff_t c, ptrdiff_t tile, ptrdiff_t lanes) {
    const ptrdiff_t vectors = divide_up(c, lanes), tiles = divide_up(vectors, TILE_VECTORS);
    return smaller(vectors * (tile + 1) / tiles * lanes, c) - vectors * tile / tiles * lanes;
}

#define V_OF(real) ((ptrdiff_t)(VECTOR_BYTES / sizeof(real)))
#define JOINED_(a, b, c, d, e) a##_##b##_##c##_##d##_##e
#define JOINED(a, b, c, d, e) JOINED_(a, b, c, d, e)

/* Calls f(..., n) with n a constant from 1 to TILE_VECTORS. */
#define WITH_VECTORS(n, f, ...)                                                                                \
    switch (n) {                                                                                               \
    case 8: f(__VA_ARGS__, 8); break;                                                                          \
    case 7: f(__VA_ARGS__, 7); break;                                                                          \
    case 6: f(__VA_ARGS__, 6); break;                                                                          \
    default: WITH_CLASSES(n, 5, f, __VA_ARGS__)                                                                \
    }

#define REAL float
#define REAL_BYTES 4
#define NAME(x) x##_float
#define DATA float
#define INDEX int32_t
#include "csr_tile.h"
#undef INDEX
#define INDEX int64_t
#include "csr_tile.h"
#undef INDEX
#undef REAL
#undef REAL_BYTES
#undef NAME

#define REAL double
#define REAL_BYTES 8
#define NAME(x) x##_double
#define INDEX int32_t
#include "csr_tile.h"
#undef INDEX
#define INDEX int64_t
#include "csr_tile.h"
#undef INDEX
#undef DATA

#define DATA double
#define INDEX int32_t
#include "csr_tile.h"
#undef INDEX
#define INDEX int64_t
#include "csr_tile.h"
#undef INDEX
#undef DATA
#undef REAL
#undef REAL_BYTES
#undef NAME

/* The functions for numbers of W, numbers of X and indices of these sizes, in bytes. */
typedef void (*csr_function)(
    const csr_arrays *X, ptrdiff_t start, ptrdiff_t rows, const void *given, const csr_sizes *sizes, void *out);
#define CHOSEN(f)                                                                                              \
    (real == 4 ? index == 4 ? f##_float_float_int32_t_of : f##_float_float_int64_t_of                          \
     : data == 8 ? index == 4 ? f##_double_double_int32_t_of : f##_double_double_int64_t_of                    \
     : index == 4 ? f##_double_float_int32_t_of : f##_double_float_int64_t_of)

typedef void (*csr_columns_function)(
    const csr_arrays *XT, ptrdiff_t start, ptrdiff_t count, ptrdiff_t parts, const void *slopes, int adds, double scale,
    const csr_sizes *sizes, void *gradient);

static csr_function csr_scores_for(ptrdiff_t real, ptrdiff_t data, ptrdiff_t index) { return CHOSEN(csr_scores); }
static csr_function csr_gradient_for(ptrdiff_t real, ptrdiff_t data, ptrdiff_t index) { return CHOSEN(csr_gradient); }

/* The row numbers of columns are int32_t, whatever the indices of the rows were. */
static csr_columns_function csr_columns_for(ptrdiff_t real, ptrdiff_t data) {
    enum { index = 4 };
    return CHOSEN(csr_columns);
}

#endif
