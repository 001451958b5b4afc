# Sparse rows: the layout of their W and dW, their scores and their gradient. Uses common.pxi and storages.pxi.

cdef extern from "csr.h":
    enum:
        TURNED_ROWS

cdef enum:
    SUMMED = 2048  # numbers of dW that are summed at once
    TURNED_CLASSES = 64  # whose slopes are summed at once

# ---- The layout: the caller's W and dW, but for the order of their numbers -----------------------------------

cdef void rows_to_feature_major(
        const Matrix *W, const Sizes *sizes, Py_ssize_t first, Py_ssize_t last, floating *weights) noexcept nogil:
    # The rows first ... last - 1 of W.
    cdef Py_ssize_t real = sizeof(floating)
    cdef Py_ssize_t stride = sizes.weights_stride
    cdef const char *w
    cdef Py_ssize_t j, k, width
    while first < last:
        width = min(<Py_ssize_t> COPY_COLUMNS, last - first)
        w = W.data + first * W.row_step
        if W.row_step == real:
            transpose(<const floating *> w, W.column_step // real, sizes.c, width, <floating> 1,
                      weights + first * stride, stride)
        else:
            for k in range(width):
                for j in range(sizes.c):
                    weights[(first + k) * stride + j] = (<const floating *> (w + k * W.row_step + j * W.column_step))[0]
        first += width


cdef inline void sum_parts(
        const floating *total, Py_ssize_t count, Py_ssize_t step, Py_ssize_t n, floating factor,
        floating *out) noexcept nogil:
    # n numbers of each part, some at a time, which stay in L1.
    cdef Py_ssize_t start = 0
    cdef Py_ssize_t j, p, stop
    while start < n:
        stop = min(n, start + SUMMED)
        for j in range(start, stop):
            out[j] = total[j]
        for p in range(1, count):
            for j in range(start, stop):
                out[j] += total[p * step + j]
        for j in range(start, stop):
            out[j] *= factor
        start = stop


cdef void combine_rows(
        floating *parts, Py_ssize_t count, Py_ssize_t part_step, const Sizes *sizes, double scale, const Matrix *dW,
        Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    # The rows first ... last - 1 of all parts, summed in order, become rows of dW.
    cdef Py_ssize_t real = sizeof(floating)
    cdef Py_ssize_t stride = sizes.dW_stride
    cdef Py_ssize_t step = part_step // real
    cdef floating factor = <floating> scale
    cdef floating *total
    cdef char *to
    cdef Py_ssize_t j, k, p, width
    if dW.column_step == real and dW.row_step == stride * real and stride == sizes.c:  # they are like one long row
        sum_parts(parts + first * stride, count, step, (last - first) * stride, factor,
                  <floating *> (dW.data + first * dW.row_step))
        return
    while first < last:
        width = min(<Py_ssize_t> COPY_COLUMNS, last - first)
        to = dW.data + first * dW.row_step
        for k in range(width):
            total = parts + (first + k) * stride
            if dW.column_step == real:
                sum_parts(total, count, step, sizes.c, factor, <floating *> (to + k * dW.row_step))
                continue
            for p in range(1, count):
                for j in range(sizes.c):
                    total[j] += total[p * step + j]
            if dW.row_step != real:
                for j in range(sizes.c):
                    (<floating *> (to + k * dW.row_step + j * dW.column_step))[0] = factor * total[j]
        if dW.column_step != real and dW.row_step == real:
            transpose(parts + first * stride, stride, width, sizes.c, factor, <floating *> to, dW.column_step // real)
        first += width


to_feature_major = bind(
    ToLayout(), "to_feature_major", <void *> rows_to_feature_major[float], <void *> rows_to_feature_major[double],
    "W weights")
combine_feature_major = bind(
    Combine(), "combine_feature_major", <void *> combine_rows[float], <void *> combine_rows[double],
    "parts scale dW")


# ---- Scores and gradient ------------------------------------------------------------------------------------

cdef class CsrStorage(Storage):
    """Sparse rows, whose arrays are a record."""

    def __cinit__(self):
        self.feature_major = True

    cdef int describe(self, X, bint single, Samples *samples) except -1:
        cdef ndarray data, indices, indptr
        cdef Py_ssize_t real = sizeof(float) if single else sizeof(double)
        data, indices, indptr, d = X
        samples.sparse = CsrArrays(PyArray_DATA(data), PyArray_DATA(indices), <int64_t *> PyArray_DATA(indptr), d)
        samples.sparse_scores = csr_scores_for(real, PyArray_ITEMSIZE(data), PyArray_ITEMSIZE(indices))
        samples.sparse_gradient = csr_gradient_for(real, PyArray_ITEMSIZE(data), PyArray_ITEMSIZE(indices))
        return 0


cdef void scores_of_sparse(
        const Samples *X, const RowRange *rows, const Sizes *sizes, const void *weights, void *row_buffer,
        void *scores) noexcept nogil:
    cdef CsrSizes own = CsrSizes(sizes.d, sizes.c, sizes.weights_stride, sizes.scores_stride)
    X.sparse_scores(&X.sparse, rows.start, rows.count, weights, &own, scores)


cdef void gradient_of_sparse(
        const Samples *X, const RowRange *rows, const Sizes *sizes, const void *row_buffer, const void *dscores,
        void *dW) noexcept nogil:
    cdef CsrSizes own = CsrSizes(sizes.d, sizes.c, sizes.dW_stride, sizes.scores_stride)
    X.sparse_gradient(&X.sparse, rows.start, rows.count, dscores, &own, dW)


cdef tuple bind_sparse(str name, bint floats):
    # A storage of sparse rows; without `floats` only beside weights of float64.
    cdef CsrStorage storage = CsrStorage()
    cdef void *scores = <void *> scores_of_sparse
    cdef void *gradient = <void *> gradient_of_sparse
    return (
        bind_to(storage, Scores(), f"{name}_scores", scores if floats else NULL, scores,
                "X start W row_buffer scores"),
        bind_to(storage, Gradient(), f"{name}_gradient", gradient if floats else NULL, gradient,
                "X start row_buffer dscores dW"))


# ---- The gradient by columns ----------------------------------------------------------------------------------

cdef class ColumnGradient(Piece):
    """Rows of dW, from the slopes of all rows of X and from X's columns, which are the rows of XT."""

    def __call__(self, XT, Py_ssize_t start, Py_ssize_t parts, ndarray slopes, bint adds, double scale, ndarray dW):
        cdef ndarray data, rows, indptr
        cdef Py_ssize_t count = PyArray_DIM(dW, 0)
        cdef CsrSizes sizes = CsrSizes(PyArray_DIM(slopes, 0), PyArray_DIM(slopes, 1), stride_of(slopes), stride_of(dW))
        cdef CsrArrays arrays
        cdef csr_columns_function columns
        fn_of(self, is_single(dW))  # raises where there is none
        data, rows, indptr, n = XT
        arrays = CsrArrays(PyArray_DATA(data), PyArray_DATA(rows), <int64_t *> PyArray_DATA(indptr), n)
        columns = csr_columns_for(PyArray_ITEMSIZE(dW), PyArray_ITEMSIZE(data))
        with nogil:
            columns(&arrays, start, count, parts, PyArray_DATA(slopes), adds, scale, &sizes, PyArray_DATA(dW))


cdef ColumnGradient bind_columns(str name, bint floats):
    cdef void *made = <void *> csr_columns_for
    return bind(ColumnGradient(), name, made if floats else NULL, made, "XT start parts slopes adds scale dW")


cdef class Turn(Piece):
    def __call__(self, ndarray dscores, Py_ssize_t start, ndarray slopes, ndarray sums):
        cdef gradient_t turn = <gradient_t> fn_of(self, is_single(slopes))
        cdef RowRange rows = RowRange(start, PyArray_DIM(dscores, 1), start, 0)
        cdef Sizes sizes = Sizes(0, PyArray_DIM(slopes, 1), stride_of(slopes), 0, stride_of(dscores), 0, NULL)
        with nogil:
            turn(NULL, &rows, &sizes, PyArray_DATA(slopes), PyArray_DATA(dscores), PyArray_DATA(sums))


cdef void turn_rows(
        const Samples *X, const RowRange *rows, const Sizes *sizes, floating *slopes, const floating *dscores,
        floating *sums) noexcept nogil:
    # A gradient_t that adds nothing yet: the slopes (n, c) take the place of row_buffer, and `sums` (c,) that of dW.
    # The rows are summed as csr_gradient sums them.
    cdef Py_ssize_t stride = sizes.row_buffer_stride
    cdef floating *group = slopes + rows.start * stride
    cdef floating total[TURNED_CLASSES]
    cdef Py_ssize_t r = 0
    cdef Py_ssize_t i, j, first, count, width
    transpose(dscores, sizes.scores_stride, sizes.c, rows.count, <floating> 1, group, stride)
    while r < rows.count:
        count = min(<Py_ssize_t> TURNED_ROWS, rows.count - r)
        first = 0
        while first < sizes.c:
            width = min(<Py_ssize_t> TURNED_CLASSES, sizes.c - first)
            for j in range(width):
                total[j] = 0
            for i in range(count):
                for j in range(width):
                    total[j] += group[i * stride + first + j]
            for j in range(width):
                sums[first + j] += total[j]
            first += width
        group += count * stride
        r += count


cdef class Places(Piece):
    def __call__(self, ndarray columns, ndarray next, ndarray places):
        cdef const int64_t *column = <const int64_t *> PyArray_DATA(columns)
        cdef int64_t *following = <int64_t *> PyArray_DATA(next)
        cdef int64_t *place = <int64_t *> PyArray_DATA(places)
        cdef Py_ssize_t i
        with nogil:
            for i in range(PyArray_DIM(columns, 0)):
                place[i] = following[column[i]]
                following[column[i]] += 1


csr_columns = bind_columns("csr_columns", True)
csr_float32_columns = bind_columns("csr_float32_columns", False)
turn_slopes = bind(
    Turn(), "turn_slopes", <void *> turn_rows[float], <void *> turn_rows[double], "dscores start slopes sums")
place_columns = bind(Places(), "place_columns", NULL, NULL, "columns next places")

csr_scores, csr_gradient = bind_sparse("csr", True)
csr_float32_scores, csr_float32_gradient = bind_sparse("csr_float32", False)
csr_int64_scores, csr_int64_gradient = bind_sparse("csr_int64", True)
csr_float32_int64_scores, csr_float32_int64_gradient = bind_sparse("csr_float32_int64", False)
