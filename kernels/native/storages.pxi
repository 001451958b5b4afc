# The storages: how X lies in memory, its scores and its gradient, of rows that follow each other or are gathered from
# anywhere; the layout of W and dW that they want; the product of tile.h on its own. Uses common.pxi.

cdef extern from "half.h" nogil:
    ctypedef struct half_t:  # a number of two bytes
        pass
    void half_row_float(const half_t *x, Py_ssize_t d, float *row) noexcept
    void half_row_double(const half_t *x, Py_ssize_t d, double *row) noexcept

cdef extern from "tile.h" nogil:
    ctypedef struct PrefetchHint "prefetch_hint":
        const char *start
        Py_ssize_t bytes
    void tile_scores_float(
        const float *X, const float *W, const float *b, float *scores, const ProductSizes *sizes,
        const PrefetchHint *hint) noexcept
    void tile_scores_double(
        const double *X, const double *W, const double *b, double *scores, const ProductSizes *sizes,
        const PrefetchHint *hint) noexcept
    void tile_gradient_float(
        const float *X, const float *G, float *dW, float *db, const ProductSizes *sizes,
        const PrefetchHint *hint) noexcept
    void tile_gradient_double(
        const double *X, const double *G, double *dW, double *db, const ProductSizes *sizes,
        const PrefetchHint *hint) noexcept
    ctypedef struct RowOrder "row_order":
        const char *X
        Py_ssize_t step, itemsize
        const int64_t *order
        Py_ssize_t known
    const char *nth_row(const RowOrder *rows, Py_ssize_t r) noexcept
    void prefetch_row(const char *row, Py_ssize_t bytes) noexcept
    bint reads_in_place_float(const ProductSizes *sizes) noexcept
    bint reads_in_place_double(const ProductSizes *sizes) noexcept
    void tile_gather_scores_float(
        const RowOrder *rows, const float *W, const float *b, float *scores, const ProductSizes *sizes) noexcept
    void tile_gather_scores_double(
        const RowOrder *rows, const double *W, const double *b, double *scores, const ProductSizes *sizes) noexcept
    void tile_gather_gradient_float(
        const RowOrder *rows, const float *copies, const float *G, float *dW, float *db,
        const ProductSizes *sizes) noexcept
    void tile_gather_gradient_double(
        const RowOrder *rows, const double *copies, const double *G, double *dW, double *db,
        const ProductSizes *sizes) noexcept
    void transpose_float(
        const float *A, Py_ssize_t lda, Py_ssize_t rows, Py_ssize_t columns, float scale, float *B,
        Py_ssize_t ldb) noexcept
    void transpose_double(
        const double *A, Py_ssize_t lda, Py_ssize_t rows, Py_ssize_t columns, double scale, double *B,
        Py_ssize_t ldb) noexcept

    void pack_panels_float(
        const float *W, Py_ssize_t ldw, Py_ssize_t c, Py_ssize_t d, Py_ssize_t first, Py_ssize_t last,
        float *panels) noexcept
    void pack_panels_double(
        const double *W, Py_ssize_t ldw, Py_ssize_t c, Py_ssize_t d, Py_ssize_t first, Py_ssize_t last,
        double *panels) noexcept

cdef enum:
    PANEL_CLASSES = 16  # more than there are, in panels: the last panel may have lanes without a class
    COPY_COLUMNS = 256  # columns of W or dW that are copied at once, so that they stay in L1


# ---- Pieces -----------------------------------------------------------------------------------------------

cdef class Storage:
    """How the X of a storage lies in memory. The four pieces of a storage share one."""

    cdef Py_ssize_t itemsize  # of a stored number; 0: that of W
    cdef convert_t float_convert
    cdef convert_t double_convert
    cdef bint feature_major  # the layout of W and dW

    cdef Sizes sizes(self, ndarray W) noexcept:
        # Those of W or dW; the strides are still to be set.
        if self.feature_major:
            return Sizes(PyArray_DIM(W, 0), PyArray_DIM(W, 1), 0, 0, 0, 0, NULL)
        return Sizes(PyArray_DIM(W, 1) - 1, PyArray_DIM(W, 0), 0, 0, 0, 0, NULL)

    cdef int describe(self, X, bint single, Samples *samples) except -1:
        cdef ndarray rows = X
        samples.data, samples.row_step = PyArray_BYTES(rows), PyArray_STRIDE(rows, 0)
        samples.itemsize = self.itemsize or (sizeof(float) if single else sizeof(double))
        samples.convert = self.float_convert if single else self.double_convert
        return 0


cdef class StoragePiece(Piece):
    cdef Storage storage


cdef class ToLayout(Piece):
    def __call__(self, ndarray W, ndarray weights):
        cdef to_layout_t to_layout = <to_layout_t> fn_of(self, is_single(weights))
        cdef Matrix source = matrix(W)
        cdef Sizes sizes
        sizes.d, sizes.c = PyArray_DIM(weights, 1) - 1, PyArray_DIM(W, 1)
        sizes.weights_stride = stride_of(weights)
        sizes.panels = NULL
        with nogil:
            to_layout(&source, &sizes, 0, source.rows, PyArray_DATA(weights))


cdef class Combine(Piece):
    def __call__(self, ndarray parts, double scale, ndarray dW):
        cdef combine_t combine = <combine_t> fn_of(self, is_single(parts))
        cdef Matrix target = matrix(dW)
        cdef Sizes sizes
        sizes.c, sizes.dW_stride = PyArray_DIM(dW, 1), stride_of(parts)
        with nogil:
            combine(PyArray_DATA(parts), PyArray_DIM(parts, 0), PyArray_STRIDE(parts, 0), &sizes, scale, &target, 0,
                    target.rows)


cdef class Product(Piece):
    def __call__(self, ndarray X, ndarray G, ndarray total, ndarray sums):
        cdef product_t product = <product_t> fn_of(self, is_single(total))
        cdef ProductSizes sizes = ProductSizes(
            PyArray_DIM(X, 0), PyArray_DIM(X, 1), PyArray_DIM(G, 0), stride_of(X), stride_of(total),
            PyArray_STRIDE(sums, 0) // PyArray_ITEMSIZE(sums), stride_of(G), NULL)
        with nogil:
            product(PyArray_DATA(X), PyArray_DATA(G), PyArray_DATA(total), PyArray_DATA(sums), &sizes)


cdef class Scores(StoragePiece):
    def __call__(self, X, Py_ssize_t start, ndarray W, ndarray row_buffer, ndarray scores):
        cdef scores_t scores_of = <scores_t> fn_of(self, is_single(W))
        cdef RowRange rows = RowRange(start, PyArray_DIM(scores, 1), start, 0)
        cdef Sizes sizes = self.storage.sizes(W)
        cdef Samples samples
        sizes.row_buffer_stride, sizes.weights_stride = stride_of(row_buffer), stride_of(W)
        sizes.scores_stride = stride_of(scores)
        self.storage.describe(X, is_single(W), &samples)
        with nogil:
            scores_of(&samples, &rows, &sizes, PyArray_DATA(W), PyArray_DATA(row_buffer), PyArray_DATA(scores))


cdef class Gradient(StoragePiece):
    def __call__(self, X, Py_ssize_t start, ndarray row_buffer, ndarray dscores, ndarray dW):
        cdef gradient_t gradient = <gradient_t> fn_of(self, is_single(dW))
        cdef RowRange rows = RowRange(start, PyArray_DIM(dscores, 1), start, 0)
        cdef Sizes sizes = self.storage.sizes(dW)
        cdef Samples samples
        sizes.row_buffer_stride, sizes.scores_stride = stride_of(row_buffer), stride_of(dscores)
        sizes.dW_stride = stride_of(dW)
        self.storage.describe(X, is_single(dW), &samples)
        with nogil:
            gradient(&samples, &rows, &sizes, PyArray_DATA(row_buffer), PyArray_DATA(dscores), PyArray_DATA(dW))


cdef class GatherScores(StoragePiece):
    def __call__(
            self, X, const int64_t[::1] order, Py_ssize_t first, Py_ssize_t last, ndarray scale_shift,
            ndarray row_buffer, ndarray W, ndarray scores):
        cdef gather_scores_t gather = <gather_scores_t> fn_of(self, is_single(W))
        cdef RowSelection rows = RowSelection(&order[0], PyArray_DIM(scores, 1), order.shape[0], first, last)
        cdef Sizes sizes = Sizes(
            PyArray_DIM(W, 1) - 1, PyArray_DIM(W, 0), stride_of(row_buffer), stride_of(W), stride_of(scores), 0, NULL)
        cdef const char *x_scale = NULL
        cdef const char *x_shift = NULL
        cdef Samples samples
        self.storage.describe(X, is_single(W), &samples)
        if PyArray_DIM(scale_shift, 0):
            x_scale = PyArray_BYTES(scale_shift)
            x_shift = x_scale + PyArray_STRIDE(scale_shift, 0)
        with nogil:
            gather(&samples, &rows, &sizes, x_scale, x_shift, PyArray_DATA(W), PyArray_DATA(row_buffer),
                   PyArray_DATA(scores))


cdef class GatherGradient(StoragePiece):
    def __call__(
            self, X, const int64_t[::1] order, Py_ssize_t first, Py_ssize_t last, ndarray scale_shift,
            ndarray row_buffer, ndarray dscores, ndarray dW):
        cdef gather_gradient_t gather = <gather_gradient_t> fn_of(self, is_single(dW))
        cdef RowSelection rows = RowSelection(&order[0], PyArray_DIM(dscores, 1), order.shape[0], first, last)
        cdef const char *x_scale = PyArray_BYTES(scale_shift) if PyArray_DIM(scale_shift, 0) else NULL
        cdef Sizes sizes = Sizes(
            PyArray_DIM(dW, 1) - 1, PyArray_DIM(dW, 0), stride_of(row_buffer), 0, stride_of(dscores), stride_of(dW),
            NULL)
        cdef Samples samples
        self.storage.describe(X, is_single(dW), &samples)
        with nogil:
            gather(&samples, &rows, &sizes, x_scale, PyArray_DATA(row_buffer), PyArray_DATA(dscores),
                   PyArray_DATA(dW))


# ---- The layout of W and dW ---------------------------------------------------------------------------------

cdef inline void transpose(
        const floating *A, Py_ssize_t lda, Py_ssize_t rows, Py_ssize_t columns, floating scale, floating *B,
        Py_ssize_t ldb) noexcept nogil:
    if floating is float:
        transpose_float(A, lda, rows, columns, scale, B, ldb)
    else:
        transpose_double(A, lda, rows, columns, scale, B, ldb)


cdef void columns_to_class_major(
        const Matrix *W, const Sizes *sizes, Py_ssize_t first, Py_ssize_t last, floating *weights) noexcept nogil:
    # The rows first ... last - 1 of W become columns. Column d is 0 if W has no such row.
    cdef Py_ssize_t real = sizeof(floating)
    cdef Py_ssize_t stride = sizes.weights_stride
    cdef const char *w
    cdef floating *row
    cdef Py_ssize_t j, k, width
    cdef Py_ssize_t start = first
    if first == 0 and W.rows == sizes.d:
        for j in range(sizes.c):
            weights[j * stride + sizes.d] = 0
    while first < last:
        width = min(<Py_ssize_t> COPY_COLUMNS, last - first)
        w = W.data + first * W.row_step
        if W.column_step == real:
            transpose(<const floating *> w, W.row_step // real, width, sizes.c, <floating> 1, weights + first, stride)
        else:
            for j in range(sizes.c):
                row = weights + j * stride + first
                for k in range(width):
                    row[k] = (<const floating *> (w + k * W.row_step + j * W.column_step))[0]
        first += width
    last = min(last, sizes.d)
    if sizes.panels != NULL and start < last:
        if floating is float:
            pack_panels_float(weights, stride, sizes.c, sizes.d, start, last, <float *> sizes.panels)
        else:
            pack_panels_double(weights, stride, sizes.c, sizes.d, start, last, <double *> sizes.panels)


cdef void combine_columns(
        floating *parts, Py_ssize_t count, Py_ssize_t part_step, const Sizes *sizes, double scale, const Matrix *dW,
        Py_ssize_t first, Py_ssize_t last) noexcept nogil:
    # The columns first ... last - 1 of all parts, summed in order, become rows of dW.
    cdef Py_ssize_t real = sizeof(floating)
    cdef Py_ssize_t stride = sizes.dW_stride
    cdef Py_ssize_t step = part_step // real
    cdef floating factor = <floating> scale
    cdef floating *total
    cdef floating *part
    cdef char *to
    cdef Py_ssize_t j, k, p, width
    while first < last:
        width = min(<Py_ssize_t> COPY_COLUMNS, last - first)
        to = dW.data + first * dW.row_step
        for j in range(sizes.c):
            total = parts + j * stride + first
            for p in range(1, count):
                part = total + p * step
                for k in range(width):
                    total[k] += part[k]
            if dW.column_step != real:
                for k in range(width):
                    (<floating *> (to + k * dW.row_step + j * dW.column_step))[0] = factor * total[k]
        if dW.column_step == real:
            transpose(parts + first, stride, sizes.c, width, factor, <floating *> to, dW.row_step // real)
        first += width


to_class_major = bind(
    ToLayout(), "to_class_major", <void *> columns_to_class_major[float], <void *> columns_to_class_major[double],
    "W weights")
combine_class_major = bind(
    Combine(), "combine_class_major", <void *> combine_columns[float], <void *> combine_columns[double],
    "parts scale dW")


# ---- The register tiles of tile.h ---------------------------------------------------------------------------

cdef inline void tile_scores(
        const floating *X, const floating *W, const floating *b, floating *scores, const ProductSizes *sizes,
        const PrefetchHint *hint) noexcept nogil:
    if floating is float:
        tile_scores_float(X, W, b, scores, sizes, hint)
    else:
        tile_scores_double(X, W, b, scores, sizes, hint)


cdef inline void tile_gradient(
        const floating *X, const floating *G, floating *dW, floating *db, const ProductSizes *sizes,
        const PrefetchHint *hint) noexcept nogil:
    if floating is float:
        tile_gradient_float(X, G, dW, db, sizes, hint)
    else:
        tile_gradient_double(X, G, dW, db, sizes, hint)


cdef void add_tile_product(
        const floating *X, const floating *G, floating *total, floating *sums,
        const ProductSizes *sizes) noexcept nogil:
    tile_gradient(X, G, total, sums, sizes, NULL)


add_product = bind(
    Product(), "add_product", <void *> add_tile_product[float], <void *> add_tile_product[double], "X G total sums")


cdef inline PrefetchHint prefetch_hint_of(const Samples *X, const RowRange *rows, Py_ssize_t d) noexcept nogil:
    # Memory between the rows would be prefetched too, so rows that are far apart are not prefetched.
    cdef bint near = 0 < X.row_step < 2 * d * X.itemsize
    return PrefetchHint(X.data + rows.next_start * X.row_step, rows.next_count * X.row_step if near else 0)


# ---- Rows of W's type, read in place: "dense" ---------------------------------------------------------------

cdef void scores_in_place(
        const Samples *X, const RowRange *rows, const Sizes *sizes, const floating *weights, floating *row_buffer,
        floating *scores) noexcept nogil:
    cdef PrefetchHint hint = prefetch_hint_of(X, rows, sizes.d)
    cdef ProductSizes product = ProductSizes(
        rows.count, sizes.d, sizes.c, X.row_step // <Py_ssize_t> sizeof(floating), sizes.weights_stride,
        sizes.weights_stride, sizes.scores_stride, sizes.panels)
    tile_scores(<const floating *> (X.data + rows.start * X.row_step), weights, weights + sizes.d, scores, &product,
                &hint)


cdef void gradient_in_place(
        const Samples *X, const RowRange *rows, const Sizes *sizes, const floating *row_buffer,
        const floating *dscores, floating *dW) noexcept nogil:
    cdef PrefetchHint hint = prefetch_hint_of(X, rows, sizes.d)
    cdef ProductSizes product = ProductSizes(
        rows.count, sizes.d, sizes.c, X.row_step // <Py_ssize_t> sizeof(floating), sizes.dW_stride, sizes.dW_stride,
        sizes.scores_stride, NULL)
    tile_gradient(<const floating *> (X.data + rows.start * X.row_step), dscores, dW, dW + sizes.d, &product, &hint)


# ---- Rows in any order, of every type ------------------------------------------------------------------------

cdef enum:
    ROWS_BEFORE = 4  # a row is prefetched so many rows before it is copied


cdef void gather_scores(
        const Samples *X, const RowSelection *rows, const Sizes *sizes, const floating *x_scale,
        const floating *x_shift, const floating *weights, floating *row_buffer, floating *scores) noexcept nogil:
    cdef RowOrder order = order_of(X, rows)
    cdef floating *copies = row_buffer + rows.first
    cdef floating zero = 0
    cdef bint with_b = rows.first == 0
    cdef const floating *b = weights + sizes.d if with_b else &zero
    cdef ProductSizes product = gathered_sizes(rows, sizes, sizes.weights_stride, with_b)
    if not in_place(X, &product, x_scale):
        copy_rows(X, &order, x_scale, x_shift, rows.first, copies, &product)
        tile_scores(copies, weights + rows.first, b, scores, &product, NULL)
    elif floating is float:
        tile_gather_scores_float(&order, weights + rows.first, b, scores, &product)
    else:
        tile_gather_scores_double(&order, weights + rows.first, b, scores, &product)


cdef void gather_gradient(
        const Samples *X, const RowSelection *rows, const Sizes *sizes, const floating *x_scale,
        const floating *row_buffer, const floating *dscores, floating *dW) noexcept nogil:
    cdef RowOrder order = order_of(X, rows)
    cdef const floating *copies = row_buffer + rows.first
    cdef floating ignored = 0
    cdef bint with_b = rows.first == 0
    cdef floating *db = dW + sizes.d if with_b else &ignored
    cdef ProductSizes product = gathered_sizes(rows, sizes, sizes.dW_stride, with_b)
    if in_place(X, &product, x_scale):
        copies = NULL
    if floating is float:
        tile_gather_gradient_float(&order, copies, dscores, dW + rows.first, db, &product)
    else:
        tile_gather_gradient_double(&order, copies, dscores, dW + rows.first, db, &product)


cdef inline bint in_place(const Samples *X, const ProductSizes *sizes, const floating *x_scale) noexcept nogil:
    # Whether rows in any order are read where they lie, for the scores and again for the gradient, and not copied.
    if X.convert != NULL or x_scale != NULL:
        return False
    return reads_in_place_float(sizes) if floating is float else reads_in_place_double(sizes)


cdef inline RowOrder order_of(const Samples *X, const RowSelection *rows) noexcept nogil:
    return RowOrder(X.data + rows.first * X.itemsize, X.row_step, X.itemsize, rows.order, rows.known)


cdef void copy_rows(
        const Samples *X, const RowOrder *order, const floating *x_scale, const floating *x_shift, Py_ssize_t first,
        floating *copies, const ProductSizes *sizes) noexcept nogil:
    # Converted, and if x_scale is not NULL scaled and shifted, each while it is in L1.
    cdef floating *copy
    cdef Py_ssize_t r, k
    for r in range(sizes.rows):
        copy = copies + r * sizes.X
        prefetch_row(nth_row(order, r + ROWS_BEFORE), sizes.d * order.itemsize)
        if X.convert != NULL:
            X.convert(nth_row(order, r), sizes.d, copy)
        else:
            memcpy(copy, nth_row(order, r), sizes.d * sizeof(floating))
        if x_scale != NULL:
            for k in range(sizes.d):
                copy[k] = copy[k] * x_scale[first + k] + x_shift[first + k]


cdef inline ProductSizes gathered_sizes(
        const RowSelection *rows, const Sizes *sizes, Py_ssize_t weights_stride, bint with_b) noexcept nogil:
    # Without b all classes share one number, which is read or written in its place.
    return ProductSizes(
        rows.count, rows.last - rows.first, sizes.c, sizes.row_buffer_stride, weights_stride,
        weights_stride if with_b else 0, sizes.scores_stride, NULL)


# ---- Rows of another type, converted into row_buffer: "uint8", "float16", "float32" beside float64 weights -----

cdef void scores_of_converted(
        const Samples *X, const RowRange *rows, const Sizes *sizes, const floating *weights, floating *row_buffer,
        floating *scores) noexcept nogil:
    cdef PrefetchHint hint = prefetch_hint_of(X, rows, sizes.d)
    cdef ProductSizes product = ProductSizes(
        rows.count, sizes.d, sizes.c, sizes.row_buffer_stride, sizes.weights_stride, sizes.weights_stride,
        sizes.scores_stride, sizes.panels)
    cdef Py_ssize_t r
    for r in range(rows.count):
        X.convert(X.data + (rows.start + r) * X.row_step, sizes.d, row_buffer + r * sizes.row_buffer_stride)
    tile_scores(row_buffer, weights, weights + sizes.d, scores, &product, &hint)


cdef void gradient_of_converted(
        const Samples *X, const RowRange *rows, const Sizes *sizes, const floating *row_buffer,
        const floating *dscores, floating *dW) noexcept nogil:
    cdef PrefetchHint hint = prefetch_hint_of(X, rows, sizes.d)
    cdef ProductSizes product = ProductSizes(
        rows.count, sizes.d, sizes.c, sizes.row_buffer_stride, sizes.dW_stride, sizes.dW_stride, sizes.scores_stride,
        NULL)
    tile_gradient(row_buffer, dscores, dW, dW + sizes.d, &product, &hint)


cdef void convert_uint8(const uint8_t *x, Py_ssize_t d, floating *row) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(d):
        row[k] = x[k]


cdef void convert_float32(const float *x, Py_ssize_t d, double *row) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(d):
        row[k] = x[k]


cdef void convert_float16(const half_t *x, Py_ssize_t d, floating *row) noexcept nogil:
    if floating is float:
        half_row_float(x, d, row)
    else:
        half_row_double(x, d, row)


# ---- The pieces of each storage -----------------------------------------------------------------------------

cdef struct StorageFunctions:
    void *scores
    void *gradient
    void *gather_scores
    void *gather_gradient


cdef StoragePiece bind_to(Storage storage, StoragePiece piece, str name, void *float_fn, void *double_fn, str args):
    piece.storage = storage
    return bind(piece, name, float_fn, double_fn, args)


cdef tuple bind_storage(str name, Storage storage, StorageFunctions floats, StorageFunctions doubles):
    return (
        bind_to(storage, Scores(), f"{name}_scores", floats.scores, doubles.scores, "X start W row_buffer scores"),
        bind_to(storage, Gradient(), f"{name}_gradient", floats.gradient, doubles.gradient,
                "X start row_buffer dscores dW"),
        bind_to(storage, GatherScores(), f"{name}_gather_scores", floats.gather_scores, doubles.gather_scores,
                "X order first last scale_shift row_buffer W scores"),
        bind_to(storage, GatherGradient(), f"{name}_gather_gradient", floats.gather_gradient,
                doubles.gather_gradient, "X order first last scale_shift row_buffer dscores dW"),
    )


cdef tuple bind_converting(str name, Py_ssize_t itemsize, void *float_convert, void *double_convert):
    # A storage whose rows a function converts; NULL for a type of W that it does not serve.
    cdef Storage storage = Storage()
    cdef StorageFunctions floats = StorageFunctions(NULL, NULL, NULL, NULL)
    cdef StorageFunctions doubles = StorageFunctions(NULL, NULL, NULL, NULL)
    storage.itemsize = itemsize
    storage.float_convert, storage.double_convert = <convert_t> float_convert, <convert_t> double_convert
    if float_convert != NULL:
        floats = StorageFunctions(
            <void *> scores_of_converted[float], <void *> gradient_of_converted[float],
            <void *> gather_scores[float], <void *> gather_gradient[float])
    if double_convert != NULL:
        doubles = StorageFunctions(
            <void *> scores_of_converted[double], <void *> gradient_of_converted[double],
            <void *> gather_scores[double], <void *> gather_gradient[double])
    return bind_storage(name, storage, floats, doubles)


dense_scores, dense_gradient, dense_gather_scores, dense_gather_gradient = bind_storage(
    "dense", Storage(),
    StorageFunctions(
        <void *> scores_in_place[float], <void *> gradient_in_place[float], <void *> gather_scores[float],
        <void *> gather_gradient[float]),
    StorageFunctions(
        <void *> scores_in_place[double], <void *> gradient_in_place[double], <void *> gather_scores[double],
        <void *> gather_gradient[double]))
uint8_scores, uint8_gradient, uint8_gather_scores, uint8_gather_gradient = bind_converting(
    "uint8", sizeof(uint8_t), <void *> convert_uint8[float], <void *> convert_uint8[double])
float16_scores, float16_gradient, float16_gather_scores, float16_gather_gradient = bind_converting(
    "float16", sizeof(half_t), <void *> convert_float16[float], <void *> convert_float16[double])
float32_scores, float32_gradient, float32_gather_scores, float32_gather_gradient = bind_converting(
    "float32", sizeof(float), NULL, <void *> convert_float32)
