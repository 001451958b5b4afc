/* The tiles for one type: included by tile.h with REAL and NAME defined. */

#define VEC NAME(vec)
#define BITS NAME(bits)
#define V ((ptrdiff_t)(VECTOR_BYTES / sizeof(REAL)))

typedef REAL NAME(unaligned) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));

INLINE VEC NAME(load)(const REAL *p) { return *(const NAME(unaligned) *)p; }
INLINE void NAME(store)(REAL *p, VEC v) { *(NAME(unaligned) *)p = v; }
INLINE VEC NAME(keep)(BITS mask, VEC v) { return (VEC)(mask & (BITS)v); }

/* The last columns of a row that do not fill a vector are read with its last V columns; a mask clears the other lanes,
 * whose columns were used already. So no code reads outside the row, and no masked instruction is needed.
 * (Rows shorter than a vector have functions of their own.) This mask keeps the lanes from `first` to before `last`. */
INLINE BITS NAME(mask)(ptrdiff_t first, ptrdiff_t last) {
    BITS mask;
    for (ptrdiff_t i = 0; i < V; i++) mask[i] = i >= first && i < last ? -1 : 0;
    return mask;
}

/* ---- Layout --------------------------------------------------------------------------------------------- */

/* The same for a vector of columns of four rows, or two. */
INLINE void NAME(transpose_parts)(const REAL *A, ptrdiff_t lda, REAL scale, REAL *B, ptrdiff_t ldb) {
    enum { SIDE = 16 / sizeof(REAL), PARTS = VECTOR_BYTES / 16 };
    VEC v[SIDE];
    NAME(part) part[PARTS];
    UNROLL for (int k = 0; k < SIDE; k++) v[k] = scale * NAME(load)(A + k * lda);
    NAME(turn_parts)(v);
    UNROLL for (int k = 0; k < SIDE; k++) {
        memcpy(part, &v[k], VECTOR_BYTES);
        UNROLL for (int p = 0; p < PARTS; p++) memcpy(B + (p * SIDE + k) * ldb, &part[p], 16);
    }
}

/* B[j][i] = scale A[i][j], by squares of four or two; the last square of a row overlaps the one before it. */
static void NAME(transpose)(
    const REAL *A, ptrdiff_t lda, ptrdiff_t rows, ptrdiff_t columns, REAL scale, REAL *B, ptrdiff_t ldb
) {
    enum { SIDE = 16 / sizeof(REAL) };
    NAME(part) v[SIDE];
    if (rows < SIDE || columns < SIDE) {
        for (ptrdiff_t i = 0; i < rows; i++)
            for (ptrdiff_t j = 0; j < columns; j++) B[j * ldb + i] = scale * A[i * lda + j];
        return;
    }
    for (ptrdiff_t i = 0; i < rows; i += SIDE) {
        const ptrdiff_t row = smaller(i, rows - SIDE), whole = columns / V * V;
        for (ptrdiff_t j = 0; j < whole; j += V)
            NAME(transpose_parts)(A + row * lda + j, lda, scale, B + j * ldb + row, ldb);
        for (ptrdiff_t j = whole; j < columns; j += SIDE) {
            const ptrdiff_t column = smaller(j, columns - SIDE);
            UNROLL for (int k = 0; k < SIDE; k++) memcpy(&v[k], A + (row + k) * lda + column, 16);
            NAME(turn)(v);
            UNROLL for (int k = 0; k < SIDE; k++) {
                v[k] *= scale;
                memcpy(B + (column + k) * ldb + row, &v[k], 16);
            }
        }
    }
}

/* ---- Scores --------------------------------------------------------------------------------------------- */

/* scores[j][r] += W[j][k:end] . x[r][k:end] for four rows and `classes` classes; end is d, or k plus whole
 * vectors. Each turn of the loop prefetches `step` bytes at next. W is held and X streams: the other way round
 * a vector is spilled where there are 16 registers. If `after` is not NULL, these four rows are prefetched instead:
 * into L1 if they are read `soon`, or else into L2. */
INLINE void NAME(scores_tile)(
    const REAL *const *x, const REAL *W, ptrdiff_t ldw, ptrdiff_t k, ptrdiff_t end, ptrdiff_t d,
    REAL *scores, ptrdiff_t ld, const char *next, ptrdiff_t step, const REAL *const *after, const int soon,
    const int classes
) {
    VEC sum[MAX_CLASSES][SCORES_ROWS], w[MAX_CLASSES];
    UNROLL for (int j = 0; j < classes; j++)
        UNROLL for (int i = 0; i < SCORES_ROWS; i++) sum[j][i] = (VEC){0};
    for (; k + V <= end; k += V, next += step) {
        if (!after) prefetch(next, step, SCORES_ROWS);
        UNROLL for (int j = 0; j < classes; j++) w[j] = NAME(load)(W + j * ldw + k);
        UNROLL for (int i = 0; i < SCORES_ROWS; i++) {
            VEC xi = NAME(load)(x[i] + k);
            if (classes > 1) IN_REGISTER(xi);
            if (after && soon) __builtin_prefetch(after[i] + k, 0, 3);
            if (after && !soon) __builtin_prefetch(after[i] + k, 0, 2);
            UNROLL for (int j = 0; j < classes; j++) sum[j][i] += w[j] * xi;
        }
    }
    if (k < end) {
        const BITS mask = NAME(mask)(V - d % V, V);
        UNROLL for (int j = 0; j < classes; j++) w[j] = NAME(keep)(mask, NAME(load)(W + j * ldw + d - V));
        UNROLL for (int i = 0; i < SCORES_ROWS; i++) {
            const VEC xi = NAME(keep)(mask, NAME(load)(x[i] + d - V)); /* both: 0 * Inf would be NaN */
            UNROLL for (int j = 0; j < classes; j++) sum[j][i] += w[j] * xi;
        }
    }
    UNROLL for (int j = 0; j < classes; j++) NAME(add_sums)(sum[j], scores + j * ld);
}

/* These are functions of their own so that a tile can use every register. */
NOINLINE void NAME(scores_group)(
    const REAL *const *x, const REAL *W, ptrdiff_t ldw, ptrdiff_t k, ptrdiff_t end, ptrdiff_t d,
    REAL *scores, ptrdiff_t ld, const char *next, ptrdiff_t step, int classes
) {
    WITH_CLASSES(classes, SCORES_CLASSES, NAME(scores_tile), x, W, ldw, k, end, d, scores, ld, next, step, NULL, 0)
}

NOINLINE void NAME(scores_group_before)(
    const REAL *const *x, const REAL *W, ptrdiff_t ldw, ptrdiff_t k, ptrdiff_t end, ptrdiff_t d,
    REAL *scores, ptrdiff_t ld, const REAL *const *after, int classes
) {
    WITH_CLASSES(classes, SCORES_CLASSES, NAME(scores_tile), x, W, ldw, k, end, d, scores, ld, NULL, 0, after, 0)
}

NOINLINE void NAME(scores_group_soon)(
    const REAL *const *x, const REAL *W, ptrdiff_t ldw, ptrdiff_t k, ptrdiff_t end, ptrdiff_t d,
    REAL *scores, ptrdiff_t ld, const REAL *const *after, int classes
) {
    WITH_CLASSES(classes, SCORES_CLASSES, NAME(scores_tile), x, W, ldw, k, end, d, scores, ld, NULL, 0, after, 1)
}

/* All classes of four rows. Returns the next prefetch address. */
static const char *NAME(scores_of_four)(
    const REAL *const *x, const REAL *W, ptrdiff_t ldw, ptrdiff_t c, ptrdiff_t k, ptrdiff_t end, ptrdiff_t d,
    REAL *scores, ptrdiff_t ld, const char *next, ptrdiff_t step
) {
    const ptrdiff_t classes = share(c, SCORES_CLASSES);
    for (ptrdiff_t j = 0; j < c; j += classes, next += (end - k) / V * step)
        NAME(scores_group)(x, W + j * ldw, ldw, k, end, d, scores + j * ld, ld, next, step,
                           (int)smaller(classes, c - j));
    return next;
}

/* The same where fewer than four rows are left: the last row is repeated, and the extra scores are dropped. */
static void NAME(scores_of_few)(
    const REAL *const *x, const REAL *W, ptrdiff_t ldw, ptrdiff_t c, ptrdiff_t k, ptrdiff_t end, ptrdiff_t d,
    REAL *scores, ptrdiff_t ld, ptrdiff_t rows
) {
    for (ptrdiff_t j = 0; j < c; j++) {
        REAL four[SCORES_ROWS] = {0};
        NAME(scores_group)(x, W + j * ldw, ldw, k, end, d, four, 0, (const char *)*x, 0, 1);
        for (ptrdiff_t r = 0; r < rows; r++) scores[j * ld + r] += four[r];
    }
}

/* Copies a row shorter than a vector: half a vector or more as its first and its last half, which overlap. */
INLINE void NAME(copy_short)(const REAL *row, ptrdiff_t d, REAL *copy) {
    enum { HALF = VECTOR_BYTES / 2 };
    if (d >= V / 2) {
        memcpy(copy, row, HALF);
        memcpy(copy + d - V / 2, row + d - V / 2, HALF);
    } else
        for (ptrdiff_t k = 0; k < d; k++) copy[k] = row[k];
}

/* For rows shorter than a vector: from copies with zeros behind each row of X and W, so that tiles have one vector. */
NOINLINE void NAME(scores_of_padded)(
    const REAL *X, ptrdiff_t ldx, ptrdiff_t rows, ptrdiff_t d, const REAL *W, ptrdiff_t ldw, ptrdiff_t c,
    REAL *scores, ptrdiff_t ld
) {
    REAL copies[MAX_ROWS * V], w[MAX_CLASSES * V];
    const ptrdiff_t most = share(c, SCORES_CLASSES);
    memset(w, 0, sizeof(w));
    for (ptrdiff_t first = 0; first < rows; first += MAX_ROWS) {
        const ptrdiff_t n = smaller(MAX_ROWS, rows - first);
        memset(copies, 0, (size_t)n * VECTOR_BYTES);
        for (ptrdiff_t r = 0; r < n; r++) NAME(copy_short)(X + (first + r) * ldx, d, copies + r * V);
        for (ptrdiff_t j = 0; j < c; j += most) {
            const ptrdiff_t classes = smaller(most, c - j);
            for (ptrdiff_t i = 0; i < classes; i++) NAME(copy_short)(W + (j + i) * ldw, d, w + i * V);
            for (ptrdiff_t r = 0; r < n; r += SCORES_ROWS) {
                const REAL *x[SCORES_ROWS];
                REAL *s = scores + j * ld + first + r;
                for (ptrdiff_t i = 0; i < SCORES_ROWS; i++) x[i] = copies + smaller(r + i, n - 1) * V;
                if (r + SCORES_ROWS <= n)
                    NAME(scores_group)(x, w, V, 0, V, V, s, ld, (const char *)*x, 0, (int)classes);
                else
                    NAME(scores_of_few)(x, w, V, classes, 0, V, V, s, ld, n - r);
            }
        }
    }
}

/* For rows of few columns: from a copy of X whose columns lie one behind the other, so that vectors are of rows. */
NOINLINE void NAME(scores_by_columns)(
    const REAL *X, ptrdiff_t ldx, ptrdiff_t rows, ptrdiff_t d, const REAL *W, ptrdiff_t ldw, ptrdiff_t c,
    REAL *scores, ptrdiff_t ld
) {
    REAL columns[V * MAX_ROWS];
    for (ptrdiff_t first = 0; first < rows; first += MAX_ROWS) {
        const ptrdiff_t n = smaller(MAX_ROWS, rows - first);
        for (ptrdiff_t r = 0; r < n; r++)
            for (ptrdiff_t k = 0; k < d; k++) columns[k * MAX_ROWS + r] = X[(first + r) * ldx + k];
        for (ptrdiff_t j = 0; j < c; j++)
            for (ptrdiff_t k = 0; k < d; k++) {
                const REAL w = W[j * ldw + k];
                REAL *s = scores + j * ld + first;
                for (ptrdiff_t r = 0; r < n; r++) s[r] += w * columns[k * MAX_ROWS + r];
            }
    }
}

/* scores = W X^T + b for few classes. Columns are taken in panels, so that W's part of a panel and four rows of X stay
 * in L1; X comes from L2 once. */
static void NAME(few_scores)(
    const REAL *X, const REAL *W, const REAL *b, REAL *scores, const tile_sizes *sizes, const prefetch_hint *hint
) {
    const ptrdiff_t rows = sizes->rows, d = sizes->d, c = sizes->c;
    const ptrdiff_t ldx = sizes->X, ldw = sizes->W, incb = sizes->b, ld = sizes->scores;
    for (ptrdiff_t j = 0; j < c; j++)
        for (ptrdiff_t r = 0; r < rows; r++) scores[j * ld + r] = b[j * incb];
    if (d < V) {
        (d >= PADDED_COLUMNS ? NAME(scores_of_padded) : NAME(scores_by_columns))(X, ldx, rows, d, W, ldw, c, scores, ld);
        return;
    }
    const ptrdiff_t panel = panel_bytes(c) / (ptrdiff_t)sizeof(REAL);
    const char *next = hint ? hint->start : (const char *)X;
    const ptrdiff_t turns = divide_up(rows, SCORES_ROWS) * (d / V) * divide_up(c, SCORES_CLASSES);
    const ptrdiff_t step = hint ? early_bytes(hint) / turns : 0;
    for (ptrdiff_t k = 0; k < d; k += panel)
        for (ptrdiff_t r = 0; r < rows; r += SCORES_ROWS) {
            const ptrdiff_t end = smaller(k + panel, d);
            const REAL *x[SCORES_ROWS];
            for (ptrdiff_t i = 0; i < SCORES_ROWS; i++) x[i] = X + smaller(r + i, rows - 1) * ldx;
            if (r + SCORES_ROWS <= rows)
                next = NAME(scores_of_four)(x, W, ldw, c, k, end, d, scores + r, ld, next, step);
            else
                NAME(scores_of_few)(x, W, ldw, c, k, end, d, scores + r, ld, rows - r);
        }
}

/* The rows of a block whose gradient is not zero in every class. */
typedef struct {
    int n;
    int number[MAX_ROWS];       /* of each, its column of G */
    const REAL *x[MAX_ROWS];    /* its first column */
    const char *next[MAX_ROWS]; /* what it prefetches: in each tile `step` bytes, each time `turn` bytes further */
    ptrdiff_t step, turn;
} NAME(active_rows);

#include "wide.h"

/* scores = W X^T + b. */
static void NAME(tile_scores)(
    const REAL *X, const REAL *W, const REAL *b, REAL *scores, const tile_sizes *sizes, const prefetch_hint *hint
) {
    const int many = sizes->panels ? sizes->rows >= WIDE_ROWS
                                   : sizes->c >= WIDE_CLASSES && sizes->rows >= WIDE_LEAST_ROWS;
    const ptrdiff_t j = many ? NAME(wide_scores)(X, W, b, scores, sizes, hint) : 0;
    tile_sizes rest = *sizes;
    rest.c -= j;
    if (rest.c)
        NAME(few_scores)(X, W + j * sizes->W, b + j * sizes->b, scores + j * sizes->scores, &rest, j ? NULL : hint);
}

/* Whether the scores and the gradient can read rows in any order where they lie: the loops for short rows and for many
 * classes need them a stride apart. */
INLINE int NAME(reads_in_place)(const tile_sizes *sizes) { return sizes->c < WIDE_CLASSES && sizes->d >= V; }

INLINE const REAL *NAME(row_of)(const row_order *rows, ptrdiff_t r) { return (const REAL *)nth_row(rows, r); }

/* The scores of the first sizes->rows rows in an order, which are read in place. */
static void NAME(tile_gather_scores)(
    const row_order *rows, const REAL *W, const REAL *b, REAL *scores, const tile_sizes *sizes
) {
    const ptrdiff_t count = sizes->rows, d = sizes->d, c = sizes->c;
    const ptrdiff_t ldw = sizes->W, incb = sizes->b, ld = sizes->scores;
    const ptrdiff_t panel = panel_bytes(c) / (ptrdiff_t)sizeof(REAL), classes = share(c, SCORES_CLASSES);
    for (ptrdiff_t j = 0; j < c; j++)
        for (ptrdiff_t r = 0; r < count; r++) scores[j * ld + r] = b[j * incb];
    for (ptrdiff_t k = 0; k < d; k += panel)
        for (ptrdiff_t r = 0; r < count; r += SCORES_ROWS) {
            const ptrdiff_t end = smaller(k + panel, d);
            const REAL *x[SCORES_ROWS], *soon[SCORES_ROWS], *after[SCORES_ROWS];
            for (ptrdiff_t i = 0; i < SCORES_ROWS; i++) {
                x[i] = NAME(row_of)(rows, smaller(r + i, count - 1)); /* rows behind these may not be read */
                soon[i] = NAME(row_of)(rows, r + i + SCORES_ROWS);
                after[i] = NAME(row_of)(rows, r + i + ROWS_AHEAD);
            }
            if (r + SCORES_ROWS > count) {
                NAME(scores_of_few)(x, W, ldw, c, k, end, d, scores + r, ld, count - r);
                break;
            }
            NAME(scores_group_before)(x, W, ldw, k, end, d, scores + r, ld, after, (int)classes);
            for (ptrdiff_t j = classes; j < c; j += classes)
                NAME(scores_group_soon)(x, W + j * ldw, ldw, k, end, d, scores + j * ld + r, ld, soon,
                                        (int)smaller(classes, c - j));
        }
}

/* ---- Gradient ------------------------------------------------------------------------------------------- */

/* dW[j][k] += the sum of G[j][r] X[r][k] over the active rows r, for `classes` classes and `vectors` vectors of columns
 * from column k of X, which is the first one of dW here. The sum begins at 0: added to dW one by one, rows would be
 * rounded to dW. mask clears lanes if there is one vector. `done` bytes of what each row prefetches are done. */
INLINE void NAME(gradient_tile)(
    const NAME(active_rows) *rows, ptrdiff_t k, const REAL *G, ptrdiff_t ldg, REAL *dW, ptrdiff_t lddw, BITS mask,
    ptrdiff_t done, const int vectors, const int classes
) {
    VEC sum[MANY_CLASSES][GRADIENT_VECTORS], xk[GRADIENT_VECTORS];
    UNROLL for (int j = 0; j < classes; j++)
        UNROLL for (int v = 0; v < vectors; v++) sum[j][v] = (VEC){0};
    for (int i = 0; i < rows->n; i++) {
        const REAL *x = rows->x[i] + k, *g = G + rows->number[i];
        if (vectors > 1) prefetch(rows->next[i] + done, rows->step, GRADIENT_VECTORS);
        UNROLL for (int v = 0; v < vectors; v++) xk[v] = NAME(load)(x + v * V);
        UNROLL for (int j = 0; j < classes; j++)
            UNROLL for (int v = 0; v < vectors; v++) sum[j][v] += g[j * ldg] * xk[v];
    }
    UNROLL for (int j = 0; j < classes; j++)
        UNROLL for (int v = 0; v < vectors; v++) {
            REAL *p = dW + j * lddw + v * V;
            if (vectors == 1) sum[j][v] = NAME(keep)(mask, sum[j][v]); /* not X: an infinite g times 0 is NaN */
            NAME(store)(p, NAME(load)(p) + sum[j][v]);
        }
}

NOINLINE void NAME(gradient_wide)(
    const NAME(active_rows) *rows, ptrdiff_t k, const REAL *G, ptrdiff_t ldg, REAL *dW, ptrdiff_t lddw, ptrdiff_t done,
    int classes
) {
    if (classes == GRADIENT_CLASSES) {
        NAME(gradient_tile)(rows, k, G, ldg, dW, lddw, (BITS){0}, done, GRADIENT_VECTORS, GRADIENT_CLASSES);
        return;
    }
    WITH_CLASSES(classes, MAX_CLASSES, NAME(gradient_tile), rows, k, G, ldg, dW, lddw, (BITS){0}, done,
                 GRADIENT_VECTORS)
}

/* More classes on fewer vectors: X is read once. */
NOINLINE void NAME(gradient_many)(
    const NAME(active_rows) *rows, ptrdiff_t k, const REAL *G, ptrdiff_t ldg, REAL *dW, ptrdiff_t lddw, ptrdiff_t done,
    int classes
) {
    WITH_MANY_CLASSES(classes, NAME(gradient_tile), rows, k, G, ldg, dW, lddw, (BITS){0}, done, MANY_VECTORS)
}

NOINLINE void NAME(gradient_narrow)(
    const NAME(active_rows) *rows, ptrdiff_t k, const REAL *G, ptrdiff_t ldg, REAL *dW, ptrdiff_t lddw, BITS mask,
    int classes
) {
    WITH_CLASSES(classes, MAX_CLASSES, NAME(gradient_tile), rows, k, G, ldg, dW, lddw, mask, 0, 1)
}

/* For rows shorter than a vector: from a copy of them with zeros behind each. */
NOINLINE void NAME(gradient_short)(
    NAME(active_rows) *rows, ptrdiff_t d, const REAL *G, ptrdiff_t ldg, ptrdiff_t c, REAL *dW, ptrdiff_t lddw
) {
    REAL copy[MAX_ROWS * V], sums[MAX_CLASSES * V];
    const ptrdiff_t most = share(c, MAX_CLASSES);
    memset(copy, 0, (size_t)rows->n * VECTOR_BYTES);
    for (int i = 0; i < rows->n; i++) {
        NAME(copy_short)(rows->x[i], d, copy + i * V);
        rows->x[i] = copy + i * V;
    }
    for (ptrdiff_t j = 0; j < c; j += most) {
        const ptrdiff_t classes = smaller(most, c - j);
        memset(sums, 0, sizeof(sums));
        NAME(gradient_narrow)(rows, 0, G + j * ldg, ldg, sums, V, NAME(mask)(0, V), (int)classes);
        for (ptrdiff_t i = 0; i < classes; i++)
            for (ptrdiff_t k = 0; k < d; k++) dW[(j + i) * lddw + k] += sums[i * V + k];
    }
}

/* n < V numbers as the first lanes of a vector, zeros behind. */
INLINE VEC NAME(load_few)(const REAL *p, ptrdiff_t n) {
    VEC v = {0};
    for (ptrdiff_t i = 0; i < n; i++) v[i] = p[i];
    return v;
}

/* Lists the numbers of the rows (at most MAX_ROWS) whose gradient is not zero in every class, and adds each class's sum
 * to db. With a hinge loss, rows that meet their margin are not in the list and take no further time. */
static int NAME(list_active)(
    const REAL *G, ptrdiff_t ldg, ptrdiff_t rows, ptrdiff_t c, REAL *db, ptrdiff_t incdb, int *number
) {
    BITS any[MAX_ROWS / V] = {0};
    for (ptrdiff_t j = 0; j < c; j += 4) {
        VEC total[4];
        REAL sums[4] = {0};
        for (ptrdiff_t i = 0; i < 4; i++) {
            total[i] = (VEC){0};
            for (ptrdiff_t r = 0; r < rows && j + i < c; r += V) {
                const REAL *p = G + (j + i) * ldg + r;
                const VEC g = r + V <= rows ? NAME(load)(p) : NAME(load_few)(p, rows - r);
                any[r / V] |= (BITS)(g != (VEC){0});
                total[i] += g;
            }
        }
        NAME(add_sums)(total, sums);
        for (ptrdiff_t i = 0; i < 4 && j + i < c; i++) db[(j + i) * incdb] += sums[i];
    }
    int n = 0;
    for (ptrdiff_t r = 0; r < rows; r++) {
        number[n] = (int)r;
        n += any[r / V][r % V] != 0;
    }
    return n;
}

INLINE ptrdiff_t NAME(tile_columns)(ptrdiff_t c) { return (takes_many(c) ? MANY_VECTORS : GRADIENT_VECTORS) * V; }

/* How many tiles a gradient has; 1 if it has no columns. */
INLINE ptrdiff_t NAME(tiles)(const tile_sizes *sizes) {
    const ptrdiff_t most = share(sizes->c, takes_many(sizes->c) ? MANY_CLASSES : GRADIENT_CLASSES);
    const ptrdiff_t tiles = divide_up(sizes->d, NAME(tile_columns)(sizes->c)) * divide_up(sizes->c, most);
    return tiles ? tiles : 1;
}

/* Columns before the first one that begins at a multiple of VECTOR_BYTES in every row: NumPy's large arrays begin 16
 * bytes behind one. 0 if rows differ. */
INLINE ptrdiff_t NAME(unaligned_columns)(const REAL *X, ptrdiff_t ldx) {
    const ptrdiff_t beyond = (ptrdiff_t)((size_t)X % VECTOR_BYTES), bytes = sizeof(REAL);
    return ldx % V || beyond % bytes ? 0 : (VECTOR_BYTES - beyond) % VECTOR_BYTES / bytes;
}

/* All classes are done on a few vectors of columns before the next, so that these come from L1 again. */
static void NAME(gradient_block)(
    NAME(active_rows) *rows, ptrdiff_t ldx, ptrdiff_t d, const REAL *G, ptrdiff_t ldg, ptrdiff_t c, REAL *dW,
    ptrdiff_t lddw
) {
    if (!rows->n) return;
    if (d < V) {
        NAME(gradient_short)(rows, d, G, ldg, c, dW, lddw);
        return;
    }
    const int many = takes_many(c);
    const ptrdiff_t width = NAME(tile_columns)(c);
    const ptrdiff_t most = share(c, many ? MANY_CLASSES : GRADIENT_CLASSES), few = share(c, MAX_CLASSES);
    ptrdiff_t k = 0, done = 0;
    if (c >= WIDE_CLASSES) {
        k = NAME(wide_gradient)(rows, d, G, ldg, c, dW, lddw);
        done = k / width * divide_up(c, most) * rows->turn;
    } else if (d >= ALIGNED_VECTORS * V) {
        k = NAME(unaligned_columns)(rows->x[0], ldx);
        for (ptrdiff_t j = 0; k && j < c; j += few)
            NAME(gradient_narrow)(rows, 0, G + j * ldg, ldg, dW + j * lddw, lddw, NAME(mask)(0, k),
                                  (int)smaller(few, c - j));
    }
    for (; k + width <= d; k += width)
        for (ptrdiff_t j = 0; j < c; j += most, done += rows->turn)
            (many ? NAME(gradient_many) : NAME(gradient_wide))(
                rows, k, G + j * ldg, ldg, dW + j * lddw + k, lddw, done, (int)smaller(most, c - j));
    if (!many && k + MANY_VECTORS * V <= d) { /* one vector of few classes would wait for its own multiply-adds */
        for (ptrdiff_t j = 0; j < c; j += most)
            NAME(gradient_many)(rows, k, G + j * ldg, ldg, dW + j * lddw + k, lddw, done, (int)smaller(most, c - j));
        k += MANY_VECTORS * V;
    }
    for (; k < d; k += V) {
        const ptrdiff_t from = smaller(k, d - V);
        for (ptrdiff_t j = 0; j < c; j += few)
            NAME(gradient_narrow)(rows, from, G + j * ldg, ldg, dW + j * lddw + from, lddw, NAME(mask)(k - from, V),
                                  (int)smaller(few, c - j));
    }
}

/* dW += G X and db += the row sums of G. */
static void NAME(tile_gradient)(
    const REAL *X, const REAL *G, REAL *dW, REAL *db, const tile_sizes *sizes, const prefetch_hint *hint
) {
    const ptrdiff_t early = hint ? early_bytes(hint) : 0, late = hint ? hint->bytes - early : 0;
    const char *next = hint ? hint->start + early : (const char *)X;
    NAME(active_rows) active;
    for (ptrdiff_t r = 0; r < sizes->rows; r += MAX_ROWS) {
        const ptrdiff_t rows = smaller(MAX_ROWS, sizes->rows - r);
        active.n = NAME(list_active)(G + r, sizes->scores, rows, sizes->c, db, sizes->b, active.number);
        active.step = late / (rows * NAME(tiles)(sizes));
        active.turn = active.n * active.step;
        for (int i = 0; i < active.n; i++) {
            active.x[i] = X + (r + active.number[i]) * sizes->X;
            active.next[i] = next + i * active.step;
        }
        NAME(gradient_block)(&active, sizes->X, sizes->d, G + r, sizes->scores, sizes->c, dW, sizes->W);
    }
}

/* The same with the first sizes->rows rows in an order, which lie in `copies` unless that is NULL. Each row prefetches
 * one of those behind them in the order. */
static void NAME(tile_gather_gradient)(
    const row_order *rows, const REAL *copies, const REAL *G, REAL *dW, REAL *db, const tile_sizes *sizes
) {
    const ptrdiff_t count = sizes->rows, bytes = sizes->d * rows->itemsize;
    const ptrdiff_t ldx = copies ? sizes->X : rows->step / (ptrdiff_t)sizeof(REAL);
    NAME(active_rows) active;
    active.step = active.turn = bytes / NAME(tiles)(sizes);
    for (ptrdiff_t r = 0; r < count; r += MAX_ROWS) {
        active.n = NAME(list_active)(G + r, sizes->scores, smaller(MAX_ROWS, count - r), sizes->c, db, sizes->b,
                                     active.number);
        for (int i = 0; i < active.n; i++) {
            const ptrdiff_t number = r + active.number[i];
            active.x[i] = copies ? copies + number * sizes->X : NAME(row_of)(rows, number);
            active.next[i] = nth_row(rows, count + r + i);
        }
        NAME(gradient_block)(&active, ldx, sizes->d, G + r, sizes->scores, sizes->c, dW, sizes->W);
    }
}

#undef VEC
#undef BITS
#undef V
