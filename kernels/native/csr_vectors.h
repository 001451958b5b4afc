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

/* Prefetches the row that an entry after p will need. */
INLINE void SIZED(prefetch)(const csr_block block, ptrdiff_t p, const REAL *W, const int count, const int writes) {
    const char *row = CSR(ahead)(block, p, W);
    UNROLL for (int i = 0; i < count * VECTOR_SIZE; i += 64) {
        if (writes) __builtin_prefetch(row + i, 1); /* clang wants a constant */
        else __builtin_prefetch(row + i, 0);
    }
    if (block.prefetches == 1) return;
    row += block.width * (ptrdiff_t)sizeof(REAL) - 1;
    if (writes) __builtin_prefetch(row, 1);
    else __builtin_prefetch(row, 0);
}

/* sum[i] += x W[k] for entry p, unless its index is outside. */
INLINE void SIZED(add_entry)(const csr_block block, ptrdiff_t p, const REAL *W, VECTOR *sum, const int count) {
    const ptrdiff_t width = block.width;
    const int64_t k = CSR(column)(block, p);
    const REAL x = (REAL)((const DATA *)block.X.data)[p];
    if (block.prefetches) SIZED(prefetch)(block, p, W, count, 0);
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
            if (block.prefetches) SIZED(prefetch)(block, p, dW, count, 1);
            if ((uint64_t)k < (uint64_t)block.X.d) SIZED(add)(dW + k * block.stride, x, g, width, count);
        }
    }
    if (db) SIZED(add)(db, 1, total, width, count);
}

/* dW[k] = scale times the sum (and dW[k], if it `adds`) of x g over the entries of column k, for columns one after the other. Those of each part
 * of the rows are summed by themselves, as in parts that have a gradient each: so both give the same bits. Rows ascend;
 * one that is outside is passed over. */
INLINE void SIZED(columns)(
    const csr_block block, const csr_parts *parts, const REAL *slopes, int adds, REAL scale, REAL *dW, ptrdiff_t ld,
    const int count
) {
    const ptrdiff_t width = block.width;
    for (ptrdiff_t k = 0; k < block.rows; k++, dW += ld) {
        VECTOR total[TILE_VECTORS], sum[TILE_VECTORS];
        ptrdiff_t part = 0, p = block.X.indptr[block.start + k];
        const ptrdiff_t end = block.X.indptr[block.start + k + 1];
        UNROLL for (int i = 0; i < count; i++) total[i] = adds ? *(const VECTOR *)(dW + AT(i)) : (VECTOR){0};
        while (p < end) {
            uint64_t row = (uint64_t)CSR(column)(block, p);
            while (part + 1 < parts->count && row >= parts->border[part + 1]) part++;
            const uint64_t border = parts->border[part + 1];
            if (row >= border) p++;
            UNROLL for (int i = 0; i < count; i++) sum[i] = (VECTOR){0};
            for (; p < end && (row = (uint64_t)CSR(column)(block, p)) < border; p++) {
                const REAL x = (REAL)((const DATA *)block.X.data)[p];
                const REAL *g = slopes + row * (uint64_t)block.stride;
                if (block.prefetches) SIZED(prefetch)(block, p, slopes, count, 0);
                UNROLL for (int i = 0; i < count; i++) sum[i] += x * *(const VECTOR *)(g + AT(i));
            }
            UNROLL for (int i = 0; i < count; i++) total[i] += sum[i];
        }
        UNROLL for (int i = 0; i < count; i++) *(VECTOR *)(dW + AT(i)) = scale * total[i];
    }
}

#undef SIZED
#undef VECTOR
#undef LANES
#undef AT
