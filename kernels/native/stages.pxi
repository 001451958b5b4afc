# What stands before and after an update: penalty, clipping, prox, the mean of the weights. Uses common.pxi and
# updates.pxi (LANES).

cdef extern from "tile.h" nogil:
    void IN_MEMORY(double *numbers)

cdef enum:
    SQUARES = 16  # sums of squares, or of absolute values, side by side


cdef class PenaltyStage(Piece):
    def __call__(self, ndarray g, ndarray w, double l2, double l1):
        cdef penalty_t penalty = <penalty_t> fn_of(self, is_single(w))
        cdef Py_ssize_t j
        cdef double value = 0
        with nogil:
            for j in range(PyArray_DIM(w, 0)):
                value += penalty(
                    PyArray_BYTES(g) + j * PyArray_STRIDE(g, 0), PyArray_BYTES(w) + j * PyArray_STRIDE(w, 0),
                    PyArray_DIM(w, 1), l2, l1)
        return value


cdef class ClipStage(Piece):
    def __call__(self, ndarray g, ndarray out, double scale, double limit):
        cdef clip_t clip = <clip_t> fn_of(self, is_single(out))
        with nogil:
            clip(PyArray_DATA(g), PyArray_DATA(out), PyArray_SIZE(out), scale, limit)


cdef class ProxStage(Piece):
    def __call__(self, ndarray w, double shrink, double factor):
        cdef prox_t prox = <prox_t> fn_of(self, is_single(w))
        with nogil:
            prox(PyArray_DATA(w), PyArray_SIZE(w), shrink, factor)


cdef class SumSquares(Piece):
    def __call__(self, ndarray g):
        cdef squares_t squares = <squares_t> fn_of(self, is_single(g))
        cdef double value
        with nogil:
            value = squares(PyArray_DATA(g), PyArray_SIZE(g))
        return value


cdef class AverageStage(Piece):
    def __call__(self, ndarray w, ndarray mean, double factor):
        cdef average_t average = <average_t> fn_of(self, is_single(w))
        with nogil:
            average(PyArray_DATA(w), <double *> PyArray_DATA(mean), PyArray_SIZE(w), factor)


# ---- The loops ----------------------------------------------------------------------------------------------

cdef double add_penalty(floating *g, const floating *w, Py_ssize_t n, double l2, double l1) noexcept nogil:
    # Adds the gradient of l2 sum(w^2) + l1 sum(|w|); returns the penalty's value.
    cdef floating slope = <floating> (2.0 * l2)
    cdef floating size = <floating> l1
    cdef floating sign
    cdef double value = 0
    cdef Py_ssize_t k
    if l2 != 0:  # the terms are kept apart: 0 times an infinite weight is NaN
        for k in range(n):
            g[k] += slope * w[k]
        value += l2 * sum_of[floating](w, n, True)
    if l1 != 0:
        for k in range(n):
            sign = 1 if w[k] > 0 else w[k]  # keeps 0 and NaN
            g[k] += size * (-1 if w[k] < 0 else sign)
        value += l1 * sum_of[floating](w, n, False)
    return value


cdef void clip_entries(const floating *g, floating *out, Py_ssize_t n, double scale, double limit) noexcept nogil:
    cdef floating factor = <floating> scale
    cdef floating high = <floating> limit
    cdef floating x
    cdef Py_ssize_t i
    for i in range(n):
        x = factor * g[i]
        x = -high if x < -high else x  # keeps a NaN
        out[i] = high if x > high else x


cdef void shrink_weights(floating *w, Py_ssize_t n, double shrink, double factor) noexcept nogil:
    cdef floating high = <floating> shrink
    cdef floating ratio = <floating> factor
    cdef floating x
    cdef Py_ssize_t i
    for i in range(n):
        x = -high if w[i] < -high else w[i]
        x = high if x > high else x
        w[i] = ratio * (w[i] - x)


cdef inline double term_of(double x, bint squared) noexcept nogil:
    return x * x if squared else fabs(x)


cdef inline double sum_of(const floating *g, Py_ssize_t n, bint squared) noexcept nogil:
    # The sum of squares, or else of absolute values, in lanes.
    cdef double parts[SQUARES]
    cdef double total = 0.0
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t k
    for k in range(SQUARES):
        parts[k] = 0.0
    while i + SQUARES <= n:
        for k in range(SQUARES):
            parts[k] += term_of(g[i + k], squared)
        i += SQUARES
    for k in range(n - i):
        parts[k] += term_of(g[i + k], squared)
    for k in range(SQUARES):
        total += parts[k]
    return total


cdef double squares_of(const floating *g, Py_ssize_t n) noexcept nogil:
    return sum_of(g, n, True)


cdef void move_towards(const floating *w, double *mean, Py_ssize_t n, double factor) noexcept nogil:
    # The products pass through memory, so that compilers fuse no product with its sum: then the mean has the same bits
    # as NumPy's, and does not depend on a number's place.
    cdef double products[LANES]
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t k, count
    while i < n:
        count = min(<Py_ssize_t> LANES, n - i)
        for k in range(count):
            products[k] = (w[i + k] - mean[i + k]) * factor
        IN_MEMORY(products)
        for k in range(count):
            mean[i + k] += products[k]
        i += count


penalty_stage = bind(
    PenaltyStage(), "penalty_stage", <void *> add_penalty[float], <void *> add_penalty[double], "g w l2 l1")
clip_stage = bind(
    ClipStage(), "clip_stage", <void *> clip_entries[float], <void *> clip_entries[double], "g out scale limit")
prox_stage = bind(
    ProxStage(), "prox_stage", <void *> shrink_weights[float], <void *> shrink_weights[double], "w shrink factor")
sum_squares = bind(SumSquares(), "sum_squares", <void *> squares_of[float], <void *> squares_of[double], "g")
average_stage = bind(
    AverageStage(), "average_stage", <void *> move_towards[float], <void *> move_towards[double], "w mean factor")
