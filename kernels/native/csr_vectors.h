/* The functions of a tile of `count` vectors of VECTOR_SIZE bytes: included by csr_tile.h for each size. */

#define SIZED(x) JOINED(x, REAL, DATA, INDEX, VECTOR_SIZE)
#define VECTOR SIZED(vector)
#define LANES ((ptrdiff_t)(VECTOR_SIZE / sizeof(REAL)))
#define AT(i) ((i) + 1 < count ? (i)*LANES : width - LANES) /* where vector i of a row begins */

#if VECTOR_SIZE == REAL_BYTES
typedef REAL VECTOR;
#else
typedef REAL VECTOR __attribute__((vector_size(VECTOR_SIZE), aligned(sizeof(REAL)), may_alias));
#endif

/* sum[i] += x W[k] for entry p, unless its index is outside. */
INLINE void SIZED(add_entry)(const csr_block block, ptrdiff_t p, const REAL *W, VECTOR *sum, const int count) {
    const ptrdiff_t width = block.width;
    const int64_t k = CSR(column)(block, p);
    const REAL x = (REAL)((const DATA *)block.X.data)[p];
    if (block.prefetches) CSR(prefetch)(block, p, W, 0);
    if ((uint64_t)k >= (uint64_t)block.X.d) return;
    const REAL *w = W + k * block.stride;
    UNROLL for (int i = 0; i < count; i++) sum[i] += x * *(const VECTOR *)(w + AT(i));
}

/* The scores of each row, one below the other; b is NULL or the last row of W. */
INLINE void SIZED(scores)(const csr_block block, const REAL *W, const REAL *b, REAL *scores, const int count) {
    const ptrdiff_t width = block.width;
    for (ptrdiff_t r = 0; r < block.rows; r++, scores += block.turned) {
        VECTOR sum[TILE_VECTORS], odd[TILE_VECTORS];
        ptrdiff_t p = block.X.indptr[block.start + r];
        const ptrdiff_t end = block.X.indptr[block.start + r + 1];
        UNROLL for (int i = 0; i < count; i++) {
            sum[i] = odd[i] = (VECTOR){0};
            if (b) sum[i] = *(const VECTOR *)(b + AT(i));
        }
        if (count <= TWO_SUMS)
            for (; p + 1 < end; p += 2) {
                SIZED(add_entry)(block, p, W, sum, count);
                SIZED(add_entry)(block, p + 1, W, odd, count);
            }
        for (; p < end; p++) SIZED(add_entry)(block, p, W, sum, count);
        UNROLL for (int i = 0; i < count; i++) *(VECTOR *)(scores + AT(i)) = sum[i] + odd[i];
    }
}

/* w += x g. The last vector is read before the one that it overlaps is written. */
INLINE void SIZED(add)(REAL *w, REAL x, const VECTOR *g, ptrdiff_t width, const int count) {
    const VECTOR last = *(const VECTOR *)(w + AT(count - 1)) + x * g[count - 1];
    UNROLL for (int i = 0; i + 1 < count; i++) *(VECTOR *)(w + AT(i)) += x * g[i];
    *(VECTOR *)(w + AT(count - 1)) = last;
}

/* dW[k] += x g for each entry of each row, whose slopes g stand one below the other; and db, unless NULL, += their sum. */
INLINE void SIZED(gradient)(const csr_block block, const REAL *slopes, REAL *dW, REAL *db, const int count) {
    const ptrdiff_t width = block.width;
    VECTOR g[TILE_VECTORS], total[TILE_VECTORS];
    UNROLL for (int i = 0; i < count; i++) total[i] = (VECTOR){0};
    for (ptrdiff_t r = 0; r < block.rows; r++, slopes += block.turned) {
        const ptrdiff_t end = block.X.indptr[block.start + r + 1];
        UNROLL for (int i = 0; i < count; i++) g[i] = *(const VECTOR *)(slopes + AT(i));
        if (db) UNROLL for (int i = 0; i < count; i++) total[i] += g[i];
        for (ptrdiff_t p = block.X.indptr[block.start + r]; p < end; p++) {
            const int64_t k = CSR(column)(block, p);
            const REAL x = (REAL)((const DATA *)block.X.data)[p];
            if (block.prefetches) CSR(prefetch)(block, p, dW, 1);
            if ((uint64_t)k < (uint64_t)block.X.d) SIZED(add)(dW + k * block.stride, x, g, width, count);
        }
    }
    if (db) SIZED(add)(db, 1, total, width, count);
}

#undef SIZED
#undef VECTOR
#undef LANES
#undef AT
