# The mean of the weights after each step. Uses common.pxi and updates.pxi.

cdef extern from "tile.h" nogil:
    void IN_MEMORY(double *numbers)


cdef class AverageStage(Piece):
    def __call__(self, ndarray w, ndarray mean, double factor):
        cdef average_t average = <average_t> fn_of(self, is_single(w))
        with nogil:
            average(PyArray_DATA(w), <double *> PyArray_DATA(mean), PyArray_SIZE(w), factor)


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


average_stage = bind(
    AverageStage(), "average_stage", <void *> move_towards[float], <void *> move_towards[double], "w mean factor")
