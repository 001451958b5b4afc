/* The products of many classes, for one type: included by rows.h.
 *
 * ---- Scores
 *
 * The tile of rows.h has the features of a row in the lanes of its vectors, and must add up the lanes of every sum.
 * With many classes the lanes are classes: a number of a row is multiplied by a vector of W's numbers for its feature.
 * A tile of WIDE_ROWS rows and WIDE_VECTORS vectors of classes takes 11 loads for 24 multiplications (8 for 12 where
 * there are 16 registers). Rows of X are read as they lie. W, whose rows are classes, is transposed into panels: by
 * the caller, once (pack_panels), or here, some columns at a time. Sums go on from one panel's columns to the next in
 * T, a row after the other, and become class-major at the end. */

/* T[i][.] += the sum over k of x[i][k] panel[k][.], or = if `first`, for WIDE_ROWS rows and `vectors` vectors of
 * classes. Every fourth turn of the loop prefetches at next, and goes on by `step` bytes. */
INLINE void NAME(wide_tile)(
    const REAL *const *x, const REAL *panel, ptrdiff_t columns, REAL *T, int first, const char *next, ptrdiff_t step,
    const int vectors
) {
    VEC sum[WIDE_ROWS][WIDE_VECTORS], w[WIDE_VECTORS];
    UNROLL for (int i = 0; i < WIDE_ROWS; i++)
        UNROLL for (int v = 0; v < vectors; v++) sum[i][v] = (VEC){0};
    for (ptrdiff_t k = 0; k < columns; k++) {
        if (k % 4 == 0) {
            __builtin_prefetch(next, 0, 2);
            next += step;
        }
        UNROLL for (int v = 0; v < vectors; v++) w[v] = NAME(load)(panel + (k * vectors + v) * V);
        UNROLL for (int i = 0; i < WIDE_ROWS; i++)
            UNROLL for (int v = 0; v < vectors; v++) sum[i][v] += x[i][k] * w[v];
    }
    UNROLL for (int i = 0; i < WIDE_ROWS; i++)
        UNROLL for (int v = 0; v < vectors; v++) {
            REAL *t = T + (i * vectors + v) * V;
            NAME(store)(t, first ? sum[i][v] : NAME(load)(t) + sum[i][v]);
        }
}

/* A function of its own, so that a tile can use every register. */
NOINLINE void NAME(wide_group)(
    const REAL *const *x, const REAL *panel, ptrdiff_t columns, REAL *T, int first, const char *next, ptrdiff_t step,
    int vectors
) {
    switch (vectors) {
    case 1: NAME(wide_tile)(x, panel, columns, T, first, next, step, 1); break;
    case 2: NAME(wide_tile)(x, panel, columns, T, first, next, step, 2); break;
    default: NAME(wide_tile)(x, panel, columns, T, first, next, step, WIDE_VECTORS); break;
    }
}

/* How many of the `left` classes the next panel has: few in a last vector are left for rows.h. */
INLINE ptrdiff_t NAME(panel_classes)(ptrdiff_t left) {
    if (left >= WIDE_VECTORS * V) return WIDE_VECTORS * V;
    return left % V <= V / 3 ? left - left % V : left;
}

/* Whether another panel follows those of j classes. The last ten classes are left for rows.h, unless they are all: a
 * caller that gives panels of few classes has a W that leaves the caches. */
INLINE int NAME(has_panel)(ptrdiff_t c, ptrdiff_t j) { return c - j > (j ? 2 * MAX_CLASSES : V / 3); }

/* The scores of WIDE_VECTORS vectors of classes, or fewer, for at most WIDE_BLOCK rows; `panels` is NULL, or their
 * panel of all columns. Returns the next prefetch address. */
static const char *NAME(wide_panel)(
    const REAL *X, const REAL *W, const REAL *b, const REAL *panels, REAL *scores, const tile_sizes *sizes,
    const char *next, ptrdiff_t step
) {
    enum { COLUMNS = WIDE_BYTES / (WIDE_VECTORS * VECTOR_BYTES) };
    REAL panel[COLUMNS * WIDE_VECTORS * V] __attribute__((aligned(VECTOR_BYTES)));
    /* The last tile has WIDE_ROWS rows too, of which some may be beyond the block's last one. */
    REAL T[(WIDE_BLOCK + WIDE_ROWS - 1) * WIDE_VECTORS * V] __attribute__((aligned(VECTOR_BYTES)));
    const ptrdiff_t rows = sizes->rows, d = sizes->d, c = sizes->c, ld = sizes->scores;
    const int vectors = (int)divide_up(c, V);
    const ptrdiff_t width = vectors * V;
    if (!panels && c < width) memset(panel, 0, sizeof panel); /* lanes without a class */
    for (ptrdiff_t k = 0; k < d; k += COLUMNS) {
        const ptrdiff_t columns = smaller(COLUMNS, d - k);
        if (!panels) NAME(transpose)(W + k, sizes->W, c, columns, 1, panel, width);
        for (ptrdiff_t r = 0; r < rows; r += WIDE_ROWS) {
            const REAL *x[WIDE_ROWS]; /* rows after the last one repeat it */
            for (ptrdiff_t i = 0; i < WIDE_ROWS; i++) x[i] = X + smaller(r + i, rows - 1) * sizes->X + k;
            NAME(wide_group)(x, panels ? panels + k * width : panel, columns, T + r * width, k == 0, next, step,
                             vectors);
            next += divide_up(columns, 4) * step;
        }
    }
    NAME(transpose)(T, width, rows, c, 1, scores, ld);
    for (ptrdiff_t j = 0; j < c; j++)
        for (ptrdiff_t r = 0; r < rows; r++) scores[j * ld + r] += b[j * sizes->b];
    return next;
}

/* scores = W X^T + b for the classes that fill vectors well. Returns how many there are; the rest is for rows.h. */
static ptrdiff_t NAME(wide_scores)(
    const REAL *X, const REAL *W, const REAL *b, REAL *scores, const tile_sizes *sizes, const prefetch_hint *hint
) {
    const ptrdiff_t rows = sizes->rows, c = sizes->c, most = WIDE_VECTORS * V;
    const ptrdiff_t turns = divide_up(c, most) * divide_up(rows, WIDE_ROWS) * divide_up(sizes->d, 4);
    const ptrdiff_t step = hint ? early_bytes(hint) / turns : 0;
    const char *next = hint ? hint->start : (const char *)X;
    ptrdiff_t j = 0;
    while (NAME(has_panel)(c, j)) {
        const ptrdiff_t classes = NAME(panel_classes)(c - j);
        for (ptrdiff_t r = 0; r < rows; r += WIDE_BLOCK) {
            const tile_sizes some = {
                smaller(WIDE_BLOCK, rows - r), sizes->d, classes, sizes->X, sizes->W, sizes->b, sizes->scores, NULL};
            next = NAME(wide_panel)(X + r * sizes->X, W + j * sizes->W, b + j * sizes->b,
                                    sizes->panels ? (const REAL *)sizes->panels + j * sizes->d : NULL,
                                    scores + j * sizes->scores + r, &some, next, step);
        }
        j += classes;
    }
    return j;
}

/* The columns first ... last - 1 of W, for all classes that wide_scores takes, become rows of their panels, which
 * follow each other. */
static void NAME(pack_panels)(
    const REAL *W, ptrdiff_t ldw, ptrdiff_t c, ptrdiff_t d, ptrdiff_t first, ptrdiff_t last, REAL *panels
) {
    ptrdiff_t classes;
    for (ptrdiff_t j = 0; NAME(has_panel)(c, j); j += classes) {
        classes = NAME(panel_classes)(c - j);
        const ptrdiff_t width = divide_up(classes, V) * V;
        REAL *rows = panels + j * d + first * width;
        NAME(transpose)(W + j * ldw + first, ldw, classes, last - first, 1, rows, width);
        for (ptrdiff_t k = 0; classes < width && k < last - first; k++)
            memset(rows + k * width + classes, 0, (size_t)(width - classes) * sizeof(REAL));
    }
}

/* ---- Gradient
 *
 * Its tile has features in the lanes, like that of rows.h, but all classes read the same columns of X, and rows a
 * power of two apart share L1 sets: so these columns of the active rows are copied into a panel first. */

/* dW[j][.] += the sum over the active rows i of G[j][number[i]] panel[i][.], for `classes` classes and
 * GRADIENT_VECTORS vectors of columns of a panel. `done` bytes of what each row prefetches are done. */
INLINE void NAME(panel_tile)(
    const NAME(active_rows) *rows, const REAL *panel, const REAL *G, ptrdiff_t ldg, REAL *dW, ptrdiff_t lddw,
    ptrdiff_t done, const int classes
) {
    VEC sum[GRADIENT_CLASSES][GRADIENT_VECTORS], x[GRADIENT_VECTORS];
    UNROLL for (int j = 0; j < classes; j++)
        UNROLL for (int v = 0; v < GRADIENT_VECTORS; v++) sum[j][v] = (VEC){0};
    for (int i = 0; i < rows->n; i++) {
        const REAL *g = G + rows->number[i];
        prefetch(rows->next[i] + done, rows->step, GRADIENT_VECTORS);
        UNROLL for (int v = 0; v < GRADIENT_VECTORS; v++) x[v] = NAME(load)(panel + (i * PANEL_VECTORS + v) * V);
        UNROLL for (int j = 0; j < classes; j++)
            UNROLL for (int v = 0; v < GRADIENT_VECTORS; v++) sum[j][v] += g[j * ldg] * x[v];
    }
    UNROLL for (int j = 0; j < classes; j++)
        UNROLL for (int v = 0; v < GRADIENT_VECTORS; v++) {
            REAL *p = dW + j * lddw + v * V;
            NAME(store)(p, NAME(load)(p) + sum[j][v]);
        }
}

NOINLINE void NAME(panel_group)(
    const NAME(active_rows) *rows, const REAL *panel, const REAL *G, ptrdiff_t ldg, REAL *dW, ptrdiff_t lddw,
    ptrdiff_t done, int classes
) {
    if (classes == GRADIENT_CLASSES) {
        NAME(panel_tile)(rows, panel, G, ldg, dW, lddw, done, GRADIENT_CLASSES);
        return;
    }
    WITH_CLASSES(classes, MAX_CLASSES, NAME(panel_tile), rows, panel, G, ldg, dW, lddw, done)
}

/* The gradient of the columns that make whole panels. Returns how many these are; the rest is for rows.h. */
static ptrdiff_t NAME(wide_gradient)(
    const NAME(active_rows) *rows, ptrdiff_t d, const REAL *G, ptrdiff_t ldg, ptrdiff_t c, REAL *dW, ptrdiff_t lddw
) {
    const ptrdiff_t width = PANEL_VECTORS * V, most = share(c, GRADIENT_CLASSES);
    REAL panel[MAX_ROWS * PANEL_VECTORS * V] __attribute__((aligned(VECTOR_BYTES)));
    ptrdiff_t k = 0, done = 0;
    for (; k + width <= d; k += width) {
        for (int i = 0; i < rows->n; i++)
            UNROLL for (int v = 0; v < PANEL_VECTORS; v++)
                NAME(store)(panel + i * width + v * V, NAME(load)(rows->x[i] + k + v * V));
        for (ptrdiff_t j = 0; j < c; j += most)
            for (ptrdiff_t v = 0; v < width; v += GRADIENT_VECTORS * V, done += rows->turn)
                NAME(panel_group)(rows, panel + v, G + j * ldg, ldg, dW + j * lddw + k + v, lddw, done,
                                  (int)smaller(most, c - j));
    }
    return k;
}
