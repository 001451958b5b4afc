# The loops for Cython, compiled once per instruction set by cython_base, cython_avx2 and cython_avx512.
# See fastlin/ops.py for the contract. Everything is class-major; inner loops run along rows or features,
# where memory is contiguous, so that the compiler can use vector registers. What Cython cannot say, vectors
# held in registers, is in tile.h.

from cython cimport floating
from libc.math cimport INFINITY, sqrt as c_sqrt
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memcpy

cdef extern from "tile.h" nogil:
    ctypedef struct Ahead "ahead":
        const char *at
        Py_ssize_t bytes

# What the drivers call. A storage: where rows start, start + 1, ... of X are as floats, in place or copied into a
# buffer; ldx becomes their stride. The scores of rows, and the gradient that they add. A storage of rows anywhere,
# order[0], order[1], ...: copies of them, times x_scale plus x_shift unless that is NULL, and their scores.
# A loss: scores in, their weighted gradient out in place, the weighted sum of the losses returned; scratch has room
# for three numbers a row. y is int32 labels, or rows of c targets of the type of the scores: each loss knows which.
# soon, if not NULL, is what will be read after these rows.
ctypedef const floating *(*load_t)(
    const char *X, Py_ssize_t row_step, Py_ssize_t start, Py_ssize_t rows, Py_ssize_t d, floating *buffer,
    Py_ssize_t ldb, Py_ssize_t *ldx) noexcept nogil
ctypedef void (*scores_t)(
    const floating *X, Py_ssize_t ldx, Py_ssize_t rows, Py_ssize_t d, const floating *W, Py_ssize_t ldw,
    const floating *b, Py_ssize_t incb, Py_ssize_t c, floating *scores, Py_ssize_t ld,
    const Ahead *soon) noexcept nogil
ctypedef void (*gather_scores_t)(
    const char *X, Py_ssize_t row_step, const int64_t *order, Py_ssize_t rows, Py_ssize_t d, const floating *x_scale,
    const floating *x_shift, floating *copies, Py_ssize_t ldc, const floating *W, Py_ssize_t ldw, const floating *b,
    Py_ssize_t incb, Py_ssize_t c, floating *scores, Py_ssize_t ld) noexcept nogil
ctypedef double (*epilogue_t)(
    floating *scores, Py_ssize_t ld, Py_ssize_t c, Py_ssize_t rows, const void *y,
    const floating *sample_weight, floating *scratch, const double *hyper) noexcept nogil
ctypedef void (*gradient_t)(
    const floating *X, Py_ssize_t ldx, Py_ssize_t rows, Py_ssize_t d, const floating *dscores, Py_ssize_t ld,
    Py_ssize_t c, floating *dW, Py_ssize_t lddw, floating *db, Py_ssize_t incdb,
    const Ahead *soon) noexcept nogil


# ---- exp and log, in a form that loops over them become vector loops ------------------------------------

cdef extern from "elementary.h" nogil:
    float exp_float(float x) noexcept
    double exp_double(double x) noexcept
    float log_float(float x) noexcept
    double log_double(double x) noexcept


cdef inline floating exp_of(floating x) noexcept nogil:
    return exp_float(x) if floating is float else exp_double(x)


cdef inline floating log_of(floating x) noexcept nogil:
    return log_float(x) if floating is float else log_double(x)


def exp(const floating[::1] x, floating[::1] out):
    cdef Py_ssize_t i
    with nogil:
        for i in range(x.shape[0]):
            out[i] = exp_of(x[i])


# ---- Layout: columns start ... stop, in stretches that stay in L1. The caller's matrix has any strides, in bytes ----

cdef extern from "tile.h" nogil:
    void transpose_float(
        const float *A, Py_ssize_t lda, Py_ssize_t rows, Py_ssize_t columns, float scale, float *B,
        Py_ssize_t ldb) noexcept
    void transpose_double(
        const double *A, Py_ssize_t lda, Py_ssize_t rows, Py_ssize_t columns, double scale, double *B,
        Py_ssize_t ldb) noexcept


cdef enum:
    STRETCH = 256


cdef inline void transpose(
        const floating *A, Py_ssize_t lda, Py_ssize_t rows, Py_ssize_t columns, floating scale, floating *B,
        Py_ssize_t ldb) noexcept nogil:
    if floating is float:
        transpose_float(A, lda, rows, columns, scale, B, ldb)
    else:
        transpose_double(A, lda, rows, columns, scale, B, ldb)


cdef void columns_to_class_major(
        const char *W, Py_ssize_t row_step, Py_ssize_t class_step, Py_ssize_t c, Py_ssize_t start, Py_ssize_t stop,
        floating *by_class, Py_ssize_t ld) noexcept nogil:
    cdef const char *w
    cdef floating *row
    cdef Py_ssize_t real = sizeof(floating)
    cdef Py_ssize_t j, k, width
    while start < stop:
        width = min(<Py_ssize_t> STRETCH, stop - start)
        w = W + start * row_step
        if class_step == real:
            transpose(<const floating *> w, row_step // real, width, c, <floating> 1, by_class + start, ld)
        else:
            for j in range(c):
                row = by_class + j * ld + start
                for k in range(width):
                    row[k] = (<const floating *> (w + k * row_step + j * class_step))[0]
        start += width


cdef void combine_columns(
        floating *parts, Py_ssize_t count, Py_ssize_t part_step, Py_ssize_t ld, floating scale, char *dW,
        Py_ssize_t row_step, Py_ssize_t class_step, Py_ssize_t c, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    cdef floating *total
    cdef floating *part
    cdef char *to
    cdef Py_ssize_t real = sizeof(floating)
    cdef Py_ssize_t j, k, p, width
    while start < stop:
        width = min(<Py_ssize_t> STRETCH, stop - start)
        to = dW + start * row_step
        for j in range(c):
            total = parts + j * ld + start
            for p in range(1, count):
                part = total + p * part_step
                for k in range(width):
                    total[k] += part[k]
            if class_step != real:
                for k in range(width):
                    (<floating *> (to + k * row_step + j * class_step))[0] = scale * total[k]
        if class_step == real:
            transpose(parts + start, ld, c, width, scale, <floating *> to, row_step // real)
        start += width


# ---- Storages ------------------------------------------------------------------------------------------

cdef const floating *dense_load_rows(
        const char *X, Py_ssize_t row_step, Py_ssize_t start, Py_ssize_t rows, Py_ssize_t d, floating *buffer,
        Py_ssize_t ldb, Py_ssize_t *ldx) noexcept nogil:
    ldx[0] = row_step // <Py_ssize_t> sizeof(floating)
    return <const floating *> (X + start * row_step)


cdef const floating *uint8_load_rows(
        const char *X, Py_ssize_t row_step, Py_ssize_t start, Py_ssize_t rows, Py_ssize_t d, floating *buffer,
        Py_ssize_t ldb, Py_ssize_t *ldx) noexcept nogil:
    cdef Py_ssize_t r
    for r in range(rows):
        convert_bytes(<const uint8_t *> X + (start + r) * row_step, d, buffer + r * ldb)
    ldx[0] = ldb
    return buffer


cdef inline void convert_bytes(const uint8_t *x, Py_ssize_t d, floating *row) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(d):
        row[k] = x[k]


# ---- Scores and gradient: the register tiles of tile.h -------------------------------------------------------------

cdef extern from "tile.h" nogil:
    void dense_scores_rows_float(
        const float *X, Py_ssize_t ldx, Py_ssize_t rows, Py_ssize_t d, const float *W, Py_ssize_t ldw,
        const float *b, Py_ssize_t incb, Py_ssize_t c, float *scores, Py_ssize_t ld, const Ahead *soon) noexcept
    void dense_scores_rows_double(
        const double *X, Py_ssize_t ldx, Py_ssize_t rows, Py_ssize_t d, const double *W, Py_ssize_t ldw,
        const double *b, Py_ssize_t incb, Py_ssize_t c, double *scores, Py_ssize_t ld, const Ahead *soon) noexcept
    void gather_scores_rows_float(
        const char *X, Py_ssize_t row_step, const int64_t *order, Py_ssize_t rows, Py_ssize_t d, float *copies,
        Py_ssize_t ldc, const float *W, Py_ssize_t ldw, const float *b, Py_ssize_t incb, Py_ssize_t c,
        float *scores, Py_ssize_t ld) noexcept
    void gather_scores_rows_double(
        const char *X, Py_ssize_t row_step, const int64_t *order, Py_ssize_t rows, Py_ssize_t d, double *copies,
        Py_ssize_t ldc, const double *W, Py_ssize_t ldw, const double *b, Py_ssize_t incb, Py_ssize_t c,
        double *scores, Py_ssize_t ld) noexcept
    void dense_gradient_rows_float(
        const float *X, Py_ssize_t ldx, Py_ssize_t rows, Py_ssize_t d, const float *dscores, Py_ssize_t ld,
        Py_ssize_t c, float *dW, Py_ssize_t lddw, float *db, Py_ssize_t incdb, const Ahead *soon) noexcept
    void dense_gradient_rows_double(
        const double *X, Py_ssize_t ldx, Py_ssize_t rows, Py_ssize_t d, const double *dscores, Py_ssize_t ld,
        Py_ssize_t c, double *dW, Py_ssize_t lddw, double *db, Py_ssize_t incdb, const Ahead *soon) noexcept


cdef void dense_gather_scores_rows(
        const char *X, Py_ssize_t row_step, const int64_t *order, Py_ssize_t rows, Py_ssize_t d,
        const floating *x_scale, const floating *x_shift, floating *copies, Py_ssize_t ldc, const floating *W,
        Py_ssize_t ldw, const floating *b, Py_ssize_t incb, Py_ssize_t c, floating *scores,
        Py_ssize_t ld) noexcept nogil:
    cdef Py_ssize_t r
    if x_scale != NULL:
        for r in range(rows):
            memcpy(copies + r * ldc, X + order[r] * row_step, d * sizeof(floating))
        map_rows(copies, ldc, rows, d, x_scale, x_shift)
        scores_of(copies, ldc, rows, d, W, ldw, b, incb, c, scores, ld)
    elif floating is float:
        gather_scores_rows_float(X, row_step, order, rows, d, copies, ldc, W, ldw, b, incb, c, scores, ld)
    else:
        gather_scores_rows_double(X, row_step, order, rows, d, copies, ldc, W, ldw, b, incb, c, scores, ld)


cdef void uint8_gather_scores_rows(
        const char *X, Py_ssize_t row_step, const int64_t *order, Py_ssize_t rows, Py_ssize_t d,
        const floating *x_scale, const floating *x_shift, floating *copies, Py_ssize_t ldc, const floating *W,
        Py_ssize_t ldw, const floating *b, Py_ssize_t incb, Py_ssize_t c, floating *scores,
        Py_ssize_t ld) noexcept nogil:
    cdef Py_ssize_t r
    for r in range(rows):
        convert_bytes(<const uint8_t *> X + order[r] * row_step, d, copies + r * ldc)
    if x_scale != NULL:
        map_rows(copies, ldc, rows, d, x_scale, x_shift)
    scores_of(copies, ldc, rows, d, W, ldw, b, incb, c, scores, ld)


cdef void map_rows(
        floating *x, Py_ssize_t ldx, Py_ssize_t rows, Py_ssize_t d, const floating *x_scale,
        const floating *x_shift) noexcept nogil:
    cdef Py_ssize_t r, k
    for r in range(rows):
        for k in range(d):
            x[r * ldx + k] = x[r * ldx + k] * x_scale[k] + x_shift[k]


cdef inline void scores_of(
        const floating *X, Py_ssize_t ldx, Py_ssize_t rows, Py_ssize_t d, const floating *W, Py_ssize_t ldw,
        const floating *b, Py_ssize_t incb, Py_ssize_t c, floating *scores, Py_ssize_t ld) noexcept nogil:
    if floating is float:
        dense_scores_rows_float(X, ldx, rows, d, W, ldw, b, incb, c, scores, ld, NULL)
    else:
        dense_scores_rows_double(X, ldx, rows, d, W, ldw, b, incb, c, scores, ld, NULL)


# ---- Losses: every loop runs along the rows of a block, a vector of them at a time ----------------------

cdef double softmax_rows(
        floating *scores, Py_ssize_t ld, Py_ssize_t c, Py_ssize_t rows, const int32_t *y,
        const floating *sample_weight, floating *scratch, const double *hyper) noexcept nogil:
    cdef floating smooth = <floating> (hyper[0] / c)
    cdef floating hard = <floating> (1.0 - hyper[0])
    cdef floating *top = scratch
    cdef floating *z = scratch + rows
    cdef floating *fit = scratch + 2 * rows
    cdef floating *s
    cdef floating shifted
    # Probabilities below 1e-30 (1e-290) are 0: subnormal gradients would slow every product with them tenfold.
    cdef floating least = -69 if floating is float else -667
    cdef Py_ssize_t j, r
    cdef double loss = 0.0
    for r in range(rows):
        top[r] = scores[r]
        z[r] = 0
    for j in range(1, c):
        s = scores + j * ld
        for r in range(rows):
            top[r] = s[r] if s[r] > top[r] else top[r]
    for r in range(rows):
        fit[r] = hard * (scores[y[r] * ld + r] - top[r])
    for j in range(c):
        s = scores + j * ld
        for r in range(rows):
            shifted = s[r] - top[r]
            fit[r] += smooth * shifted if smooth != 0 else 0  # 0 * -inf would be NaN
            s[r] = 0 if shifted < least else exp_of(least if shifted < least else shifted)  # a NaN stays
            z[r] += s[r]
    for r in range(rows):
        fit[r] = log_of(z[r]) - fit[r]
        z[r] = sample_weight[r] / z[r]
    for j in range(c):
        s = scores + j * ld
        for r in range(rows):
            s[r] = s[r] * z[r] - smooth * sample_weight[r]
    for r in range(rows):
        scores[y[r] * ld + r] -= hard * sample_weight[r]
        loss += <double> sample_weight[r] * <double> fit[r]
    return loss


cdef double svm_rows(
        floating *scores, Py_ssize_t ld, Py_ssize_t c, Py_ssize_t rows, const int32_t *y,
        const floating *sample_weight, floating *scratch, const double *hyper) noexcept nogil:
    cdef floating margin = <floating> hyper[0]
    cdef floating *required = scratch
    cdef floating *total = scratch + rows
    cdef floating *slope = scratch + 2 * rows
    cdef floating *s
    cdef floating v
    cdef bint satisfied
    cdef Py_ssize_t j, r
    cdef double loss = 0.0
    start_hinge(scores, ld, rows, y, margin, required, total, slope)
    for j in range(c):
        s = scores + j * ld
        for r in range(rows):
            v = s[r] - required[r]
            satisfied = (v <= 0) | (y[r] == <int32_t> j)  # a NaN is no "<= 0": it must reach the loss
            s[r] = 0 if satisfied else sample_weight[r]
            total[r] += 0 if satisfied else v
            slope[r] += s[r]
    for r in range(rows):
        scores[y[r] * ld + r] = -slope[r]
        loss += <double> sample_weight[r] * <double> total[r]
    return loss


cdef double squared_svm_rows(
        floating *scores, Py_ssize_t ld, Py_ssize_t c, Py_ssize_t rows, const int32_t *y,
        const floating *sample_weight, floating *scratch, const double *hyper) noexcept nogil:
    cdef floating margin = <floating> hyper[0]
    cdef floating *required = scratch
    cdef floating *total = scratch + rows
    cdef floating *slope = scratch + 2 * rows
    cdef floating *s
    cdef floating v
    cdef Py_ssize_t j, r
    cdef double loss = 0.0
    start_hinge(scores, ld, rows, y, margin, required, total, slope)
    for j in range(c):
        s = scores + j * ld
        for r in range(rows):
            v = s[r] - required[r]
            v = 0 if (v <= 0) | (y[r] == <int32_t> j) else v
            s[r] = 2 * v * sample_weight[r]
            total[r] += v * v
            slope[r] += s[r]
    for r in range(rows):
        scores[y[r] * ld + r] = -slope[r]
        loss += <double> sample_weight[r] * <double> total[r]
    return loss


cdef inline void start_hinge(
        floating *scores, Py_ssize_t ld, Py_ssize_t rows, const int32_t *y, floating margin,
        floating *required, floating *total, floating *slope) noexcept nogil:
    # What a score may not exceed.
    cdef Py_ssize_t r
    for r in range(rows):
        required[r] = scores[y[r] * ld + r] - margin
        total[r] = 0
        slope[r] = 0


cdef double crammer_singer_svm_rows(
        floating *scores, Py_ssize_t ld, Py_ssize_t c, Py_ssize_t rows, const int32_t *y,
        const floating *sample_weight, floating *scratch, const double *hyper) noexcept nogil:
    cdef floating *required = scratch
    cdef floating *most = scratch + rows
    cdef floating *worst = scratch + 2 * rows
    cdef floating *s
    cdef floating v
    cdef bint worse
    cdef Py_ssize_t j, r
    cdef double loss = 0.0
    start_hinge(scores, ld, rows, y, <floating> hyper[0], required, most, worst)
    for r in range(rows):
        worst[r] = -1
    for j in range(c):
        s = scores + j * ld
        for r in range(rows):
            v = s[r] - required[r]
            worse = (v > most[r]) | ((v != v) & (most[r] == most[r]))  # the first NaN is kept: nothing is larger
            worse = worse & (y[r] != <int32_t> j)
            most[r] = v if worse else most[r]
            worst[r] = j if worse else worst[r]
    for j in range(c):
        s = scores + j * ld
        for r in range(rows):
            s[r] = sample_weight[r] if worst[r] == j else 0
    for r in range(rows):
        scores[y[r] * ld + r] = 0 if worst[r] < 0 else -sample_weight[r]
        loss += <double> sample_weight[r] * <double> most[r]
    return loss


# ---- Losses by element: a target for every score. A formula returns the loss and leaves its slope --------

ctypedef floating (*formula_t)(floating s, floating t, floating margin, floating *slope) noexcept nogil


cdef inline double by_element(
        formula_t formula, floating *scores, Py_ssize_t ld, Py_ssize_t c, Py_ssize_t rows, const floating *targets,
        const floating *sample_weight, floating *scratch, floating margin) noexcept nogil:
    cdef floating *goal = scratch
    cdef floating *total = scratch + rows
    cdef floating *s
    cdef floating slope
    cdef Py_ssize_t j, r
    cdef double loss = 0.0
    for r in range(rows):
        total[r] = 0
    for j in range(c):
        s = scores + j * ld
        for r in range(rows):
            goal[r] = targets[r * c + j]
        for r in range(rows):
            total[r] += formula(s[r], goal[r], margin, &slope)
            s[r] = slope * sample_weight[r]
    for r in range(rows):
        loss += <double> sample_weight[r] * <double> total[r]
    return loss


cdef inline floating hinge(floating s, floating t, floating margin, floating *slope) noexcept nogil:
    cdef floating side = 2 * t - 1  # 1 is the class, -1 the rest
    cdef floating v = margin - side * s
    slope[0] = 0 if v <= 0 else -side
    return 0 if v <= 0 else v


cdef inline floating squared_hinge(floating s, floating t, floating margin, floating *slope) noexcept nogil:
    cdef floating side = 2 * t - 1
    cdef floating v = margin - side * s
    v = 0 if v <= 0 else v
    slope[0] = -2 * side * v
    return v * v


cdef inline floating logistic(floating s, floating t, floating margin, floating *slope) noexcept nogil:
    cdef floating e = exp_of(s if s < 0 else -s)  # never overflows
    slope[0] = (1 if s >= 0 else e) / (1 + e) - t
    return (0 if s <= 0 else s) - t * s + log_of(1 + e)


cdef inline floating sigmoid_squared(floating s, floating t, floating margin, floating *slope) noexcept nogil:
    cdef floating e = exp_of(s if s < 0 else -s)
    cdef floating d = (1 if s >= 0 else e) / (1 + e) - t
    slope[0] = 2 * d * e / ((1 + e) * (1 + e))  # sigma (1 - sigma), without a difference
    return d * d


cdef inline floating squared_error(floating s, floating t, floating margin, floating *slope) noexcept nogil:
    slope[0] = 2 * (s - t)
    return (s - t) * (s - t)


cdef inline floating absolute_error(floating s, floating t, floating margin, floating *slope) noexcept nogil:
    cdef floating d = s - t
    slope[0] = 1 if d > 0 else d  # 0 and NaN stay
    slope[0] = -1 if d < 0 else slope[0]
    return -d if d < 0 else d


cdef double one_vs_rest_svm_rows(
        floating *scores, Py_ssize_t ld, Py_ssize_t c, Py_ssize_t rows, const floating *targets,
        const floating *sample_weight, floating *scratch, const double *hyper) noexcept nogil:
    return by_element[floating](
        hinge[floating], scores, ld, c, rows, targets, sample_weight, scratch, <floating> hyper[0])


cdef double squared_one_vs_rest_svm_rows(
        floating *scores, Py_ssize_t ld, Py_ssize_t c, Py_ssize_t rows, const floating *targets,
        const floating *sample_weight, floating *scratch, const double *hyper) noexcept nogil:
    return by_element[floating](
        squared_hinge[floating], scores, ld, c, rows, targets, sample_weight, scratch, <floating> hyper[0])


cdef double logistic_rows(
        floating *scores, Py_ssize_t ld, Py_ssize_t c, Py_ssize_t rows, const floating *targets,
        const floating *sample_weight, floating *scratch, const double *hyper) noexcept nogil:
    return by_element[floating](logistic[floating], scores, ld, c, rows, targets, sample_weight, scratch, 0)


cdef double sigmoid_squared_rows(
        floating *scores, Py_ssize_t ld, Py_ssize_t c, Py_ssize_t rows, const floating *targets,
        const floating *sample_weight, floating *scratch, const double *hyper) noexcept nogil:
    return by_element[floating](sigmoid_squared[floating], scores, ld, c, rows, targets, sample_weight, scratch, 0)


cdef double squared_error_rows(
        floating *scores, Py_ssize_t ld, Py_ssize_t c, Py_ssize_t rows, const floating *targets,
        const floating *sample_weight, floating *scratch, const double *hyper) noexcept nogil:
    return by_element[floating](squared_error[floating], scores, ld, c, rows, targets, sample_weight, scratch, 0)


cdef double absolute_error_rows(
        floating *scores, Py_ssize_t ld, Py_ssize_t c, Py_ssize_t rows, const floating *targets,
        const floating *sample_weight, floating *scratch, const double *hyper) noexcept nogil:
    return by_element[floating](absolute_error[floating], scores, ld, c, rows, targets, sample_weight, scratch, 0)
