# The loops for Cython, compiled once per instruction set by cython_base, cython_avx2 and cython_avx512.
# See fastlin/ops.py for the contract. Everything is class-major; inner loops run along rows or features,
# where memory is contiguous, so that the compiler can use vector registers. What Cython cannot say, vectors
# held in registers, is in tile.h.

from cython cimport floating
from libc.math cimport INFINITY
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, uint8_t

from inspect import Parameter, Signature

# What the driver calls. A storage: where rows of X are as floats, in place or converted into a buffer; ldx is
# their stride, before and after. The scores of rows, and the gradient that they add. A loss: scores in, their
# weighted gradient out in place, the weighted sum of the losses returned; scratch has room for three numbers a row.
ctypedef const floating *(*load_t)(
    const void *X, Py_ssize_t *ldx, Py_ssize_t rows, Py_ssize_t d, floating *buffer, Py_ssize_t ldb) noexcept nogil
ctypedef void (*scores_t)(
    const floating *X, Py_ssize_t ldx, Py_ssize_t rows, Py_ssize_t d, const floating *W, Py_ssize_t ldw,
    const floating *b, Py_ssize_t c, floating *scores, Py_ssize_t ld) noexcept nogil
ctypedef double (*epilogue_t)(
    floating *scores, Py_ssize_t ld, Py_ssize_t c, Py_ssize_t rows, const int32_t *y,
    const floating *sample_weight, floating *scratch, const double *hyper) noexcept nogil
ctypedef void (*gradient_t)(
    const floating *X, Py_ssize_t ldx, Py_ssize_t rows, Py_ssize_t d, const floating *dscores, Py_ssize_t ld,
    Py_ssize_t c, floating *dW, Py_ssize_t lddw, floating *db, Py_ssize_t ahead) noexcept nogil


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


# ---- Layout: columns are taken in stretches that stay in L1 ---------------------------------------------

cdef enum:
    STRETCH = 256


def to_class_major(const floating[:, :] W, floating[:, :] by_class):
    cdef Py_ssize_t d = W.shape[0]
    cdef Py_ssize_t start = 0
    cdef Py_ssize_t j, k, width
    cdef Py_ssize_t step = W.strides[0]
    cdef const char *w
    cdef floating *row
    with nogil:
        while start < d:
            width = min(<Py_ssize_t> STRETCH, d - start)
            for j in range(W.shape[1]):
                w = <const char *> &W[start, j]
                row = &by_class[j, start]
                for k in range(width):
                    row[k] = (<const floating *> (w + k * step))[0]
            start += width


def combine(floating[:, :, :] parts, double scale, floating[:, :] dW):
    cdef floating factor = <floating> scale
    cdef Py_ssize_t d = dW.shape[0]
    cdef Py_ssize_t start = 0
    cdef Py_ssize_t j, k, p, width
    cdef Py_ssize_t step = dW.strides[0]
    cdef floating *total
    cdef floating *part
    cdef char *to
    with nogil:
        while start < d:
            width = min(<Py_ssize_t> STRETCH, d - start)
            for j in range(dW.shape[1]):
                total = &parts[0, j, start]
                for p in range(1, parts.shape[0]):
                    part = &parts[p, j, start]
                    for k in range(width):
                        total[k] += part[k]
                to = <char *> &dW[start, j]
                for k in range(width):
                    (<floating *> (to + k * step))[0] = factor * total[k]
            start += width


# ---- Storages ------------------------------------------------------------------------------------------

cdef const floating *dense_load_rows(
        const void *X, Py_ssize_t *ldx, Py_ssize_t rows, Py_ssize_t d, floating *buffer,
        Py_ssize_t ldb) noexcept nogil:
    return <const floating *> X


cdef const floating *uint8_load_rows(
        const void *X, Py_ssize_t *ldx, Py_ssize_t rows, Py_ssize_t d, floating *buffer,
        Py_ssize_t ldb) noexcept nogil:
    cdef const uint8_t *x
    cdef floating *row
    cdef Py_ssize_t r, k
    for r in range(rows):
        x = <const uint8_t *> X + r * ldx[0]
        row = buffer + r * ldb
        for k in range(d):
            row[k] = x[k]
    ldx[0] = ldb
    return buffer


# ---- Scores and gradient: the register tiles of tile.h -------------------------------------------------------------

cdef extern from "tile.h" nogil:
    void dense_scores_rows_float(
        const float *X, Py_ssize_t ldx, Py_ssize_t rows, Py_ssize_t d, const float *W, Py_ssize_t ldw,
        const float *b, Py_ssize_t c, float *scores, Py_ssize_t ld) noexcept
    void dense_scores_rows_double(
        const double *X, Py_ssize_t ldx, Py_ssize_t rows, Py_ssize_t d, const double *W, Py_ssize_t ldw,
        const double *b, Py_ssize_t c, double *scores, Py_ssize_t ld) noexcept
    void dense_gradient_rows_float(
        const float *X, Py_ssize_t ldx, Py_ssize_t rows, Py_ssize_t d, const float *dscores, Py_ssize_t ld,
        Py_ssize_t c, float *dW, Py_ssize_t lddw, float *db, Py_ssize_t ahead) noexcept
    void dense_gradient_rows_double(
        const double *X, Py_ssize_t ldx, Py_ssize_t rows, Py_ssize_t d, const double *dscores, Py_ssize_t ld,
        Py_ssize_t c, double *dW, Py_ssize_t lddw, double *db, Py_ssize_t ahead) noexcept


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
            fit[r] += smooth * shifted
            s[r] = exp_of(shifted)
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
    cdef Py_ssize_t j, r
    cdef double loss = 0.0
    start_hinge(scores, ld, rows, y, margin, required, total, slope)
    for j in range(c):
        s = scores + j * ld
        for r in range(rows):
            v = s[r] - required[r]
            s[r] = 0 if v <= 0 else sample_weight[r]  # a NaN is no "<= 0": it must reach the loss
            total[r] += 0 if v <= 0 else v
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
            v = 0 if v <= 0 else v
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
    # What a score may not exceed; the label's own is put out of reach, so that no loop need ask for it.
    cdef Py_ssize_t r
    for r in range(rows):
        required[r] = scores[y[r] * ld + r] - margin
        scores[y[r] * ld + r] = -<floating> INFINITY
        total[r] = 0
        slope[r] = 0


# ---- What Python sees: the pieces, and the driver that composes them -----------------------------------

cdef enum:
    MAX_HYPER = 4  # no loss has more hyper-parameters


cdef class Piece:
    """A loop over rows for both types. The driver calls it through the pointers; tests call it on arrays."""

    cdef void *float_rows
    cdef void *double_rows
    cdef readonly object __signature__


cdef Piece bind(Piece piece, void *float_rows, void *double_rows, str args):
    piece.float_rows = float_rows
    piece.double_rows = double_rows
    piece.__signature__ = Signature([Parameter(arg, Parameter.POSITIONAL_ONLY) for arg in args.split()])
    return piece


cdef class Load(Piece):
    def __call__(self, X, rows):
        if rows.itemsize == sizeof(float):
            return call_load[float](self, X, rows)
        return call_load[double](self, X, rows)


cdef class Scores(Piece):
    def __call__(self, X, W, b, scores):
        if W.itemsize == sizeof(float):
            call_scores[float](self, X, W, b, scores)
        else:
            call_scores[double](self, X, W, b, scores)


cdef class Gradient(Piece):
    def __call__(self, X, dscores, dW, db):
        if dW.itemsize == sizeof(float):
            call_gradient[float](self, X, dscores, dW, db)
        else:
            call_gradient[double](self, X, dscores, dW, db)


cdef class Epilogue(Piece):
    def __call__(self, scores, y, sample_weight, scratch, *hyper):
        if scores.itemsize == sizeof(float):
            return call_epilogue[float](self, scores, y, sample_weight, scratch, hyper)
        return call_epilogue[double](self, scores, y, sample_weight, scratch, hyper)


cdef class LossGrad:
    """Scores, epilogue and gradient of one row block after the other, in one pass over X."""

    cdef Load load
    cdef Scores scores_of
    cdef Epilogue epilogue
    cdef Gradient gradient

    def __call__(self, X, W, b, y, sample_weight, hyper, rows, scores, scratch, dW, db):
        cdef Py_buffer view
        PyObject_GetBuffer(X, &view, PyBUF_STRIDES)
        try:
            if W.itemsize == sizeof(float):
                return call_loss_grad[float](
                    self, &view, W, b, y, sample_weight, hyper, rows, scores, scratch, dW, db)
            return call_loss_grad[double](
                self, &view, W, b, y, sample_weight, hyper, rows, scores, scratch, dW, db)
        finally:
            PyBuffer_Release(&view)


def compose(Load load, Scores scores_of, Epilogue epilogue, Gradient gradient):
    cdef LossGrad kernel = LossGrad()
    kernel.load = load
    kernel.scores_of = scores_of
    kernel.epilogue = epilogue
    kernel.gradient = gradient
    return kernel


cdef object call_load(Load piece, X, floating[:, :] rows):
    cdef load_t load = <load_t> (piece.float_rows if floating is float else piece.double_rows)
    cdef Py_buffer view
    cdef Py_ssize_t ldx
    PyObject_GetBuffer(X, &view, PyBUF_STRIDES)
    ldx = view.strides[0] // view.itemsize
    converted = load(view.buf, &ldx, view.shape[0], view.shape[1], &rows[0, 0],
                     rows.strides[0] // <Py_ssize_t> sizeof(floating)) != view.buf
    PyBuffer_Release(&view)
    return rows.base[:X.shape[0]] if converted else X


cdef int call_scores(
        Scores piece, const floating[:, :] X, const floating[:, :] W, const floating[::1] b,
        floating[:, :] scores) except -1:
    cdef scores_t rows = <scores_t> (piece.float_rows if floating is float else piece.double_rows)
    with nogil:
        rows(&X[0, 0], X.strides[0] // <Py_ssize_t> sizeof(floating), X.shape[0], X.shape[1],
             &W[0, 0], W.strides[0] // <Py_ssize_t> sizeof(floating), &b[0], W.shape[0],
             &scores[0, 0], scores.strides[0] // <Py_ssize_t> sizeof(floating))
    return 0


cdef int call_gradient(
        Gradient piece, const floating[:, :] X, const floating[:, :] dscores, floating[:, :] dW,
        floating[::1] db) except -1:
    cdef gradient_t rows = <gradient_t> (piece.float_rows if floating is float else piece.double_rows)
    with nogil:
        rows(&X[0, 0], X.strides[0] // <Py_ssize_t> sizeof(floating), X.shape[0], X.shape[1],
             &dscores[0, 0], dscores.strides[0] // <Py_ssize_t> sizeof(floating), dW.shape[0],
             &dW[0, 0], dW.strides[0] // <Py_ssize_t> sizeof(floating), &db[0], 0)
    return 0


cdef int read_hyper(tuple hyper, double *values) except -1:
    cdef Py_ssize_t i
    if len(hyper) > MAX_HYPER:
        raise ValueError(f"a loss has at most {MAX_HYPER} hyper-parameters; found {len(hyper)}")
    for i in range(len(hyper)):
        values[i] = hyper[i]
    return 0


cdef double call_epilogue(
        Epilogue piece, floating[:, :] scores, const int32_t[::1] y, const floating[::1] sample_weight,
        floating[:, :] scratch, tuple hyper) except? -1:
    cdef epilogue_t rows = <epilogue_t> (piece.float_rows if floating is float else piece.double_rows)
    cdef double values[MAX_HYPER]
    read_hyper(hyper, values)
    with nogil:
        return rows(&scores[0, 0], scores.strides[0] // <Py_ssize_t> sizeof(floating), scores.shape[0], scores.shape[1],
                    &y[0], &sample_weight[0], &scratch[0, 0], values)


cdef double call_loss_grad(
        LossGrad kernel, Py_buffer *X, const floating[:, :] W, const floating[::1] b,
        const int32_t[::1] y, const floating[::1] sample_weight, tuple hyper, floating[:, :] buffer,
        floating[:, :] scores, floating[:, :] scratch, floating[:, :] dW, floating[::1] db) except? -1:
    cdef bint single = floating is float
    cdef load_t load = <load_t> (kernel.load.float_rows if single else kernel.load.double_rows)
    cdef scores_t scores_of = <scores_t> (kernel.scores_of.float_rows if single else kernel.scores_of.double_rows)
    cdef epilogue_t epilogue = <epilogue_t> (kernel.epilogue.float_rows if single else kernel.epilogue.double_rows)
    cdef gradient_t gradient = <gradient_t> (kernel.gradient.float_rows if single else kernel.gradient.double_rows)
    cdef double values[MAX_HYPER]
    cdef Py_ssize_t real = sizeof(floating)
    cdef Py_ssize_t ldw = W.strides[0] // real
    cdef Py_ssize_t lddw = dW.strides[0] // real
    cdef Py_ssize_t ldb = buffer.strides[0] // real
    cdef Py_ssize_t ld = scores.strides[0] // real
    cdef Py_ssize_t n = X.shape[0]
    cdef Py_ssize_t d = X.shape[1]
    cdef Py_ssize_t c = W.shape[0]
    cdef Py_ssize_t start = 0
    cdef Py_ssize_t rows, ldx, ahead
    cdef const void *at
    cdef const floating *floats
    cdef double loss = 0.0
    read_hyper(hyper, values)
    with nogil:
        while start < n:
            rows = min(scores.shape[1], n - start)
            at = <const char *> X.buf + start * X.strides[0]
            ldx = X.strides[0] // X.itemsize
            floats = load(at, &ldx, rows, d, &buffer[0, 0], ldb)
            scores_of(floats, ldx, rows, d, &W[0, 0], ldw, &b[0], c, &scores[0, 0], ld)
            loss += epilogue(&scores[0, 0], ld, c, rows, &y[start], &sample_weight[start], &scratch[0, 0], values)
            ahead = rows * ldx if start + rows < n and floats == at else 0  # the next block, if it is X itself
            gradient(floats, ldx, rows, d, &scores[0, 0], ld, c, &dW[0, 0], lddw, &db[0], ahead)
            start += rows
    return loss


dense_load = bind(Load(), <void *> dense_load_rows[float], <void *> dense_load_rows[double], "X rows")
uint8_load = bind(Load(), <void *> uint8_load_rows[float], <void *> uint8_load_rows[double], "X rows")
dense_scores = bind(
    Scores(), <void *> dense_scores_rows_float, <void *> dense_scores_rows_double, "X W b scores")
dense_gradient = bind(
    Gradient(), <void *> dense_gradient_rows_float, <void *> dense_gradient_rows_double, "X dscores dW db")
softmax_epilogue = bind(
    Epilogue(), <void *> softmax_rows[float], <void *> softmax_rows[double],
    "scores y sample_weight scratch label_smoothing")
svm_epilogue = bind(
    Epilogue(), <void *> svm_rows[float], <void *> svm_rows[double], "scores y sample_weight scratch margin")
squared_svm_epilogue = bind(
    Epilogue(), <void *> squared_svm_rows[float], <void *> squared_svm_rows[double],
    "scores y sample_weight scratch margin")

include "cython_updates.pxi"
