# The losses of several W at once, without gradients. The driver is the same as compose_losses in compose.py.

cdef class Losses:
    cdef Load load
    cdef Scores scores_of
    cdef Epilogue epilogue

    def __call__(self, ndarray X, W, ndarray y, sample_weight, tuple hyper, rows, scores, losses):
        if W.itemsize == sizeof(float):
            call_losses[float](self, X, W, y, sample_weight, hyper, rows, scores, losses)
        else:
            call_losses[double](self, X, W, y, sample_weight, hyper, rows, scores, losses)


cdef int call_losses(
        Losses kernel, ndarray X, const floating[:, :] W, ndarray y, const floating[::1] sample_weight, tuple hyper,
        floating[:, :] rows, floating[:, :] scores, double[::1] losses) except -1:
    cdef bint single = floating is float
    cdef load_t load = <load_t> (kernel.load.float_rows if single else kernel.load.double_rows)
    cdef scores_t scores_of = <scores_t> (kernel.scores_of.float_rows if single else kernel.scores_of.double_rows)
    cdef epilogue_t epilogue = <epilogue_t> (kernel.epilogue.float_rows if single else kernel.epilogue.double_rows)
    cdef double values[MAX_HYPER]
    read_hyper(hyper, values)
    cdef const floating *floats
    cdef const char *x = PyArray_BYTES(X)
    cdef const char *goals = PyArray_BYTES(y)
    cdef Py_ssize_t real = sizeof(floating)
    cdef Py_ssize_t n = PyArray_DIM(X, 0)
    cdef Py_ssize_t d = PyArray_DIM(X, 1)
    cdef Py_ssize_t x_row = PyArray_STRIDE(X, 0)
    cdef Py_ssize_t y_row = PyArray_STRIDE(y, 0)
    cdef Py_ssize_t c = W.shape[0] // losses.shape[0]
    cdef Py_ssize_t ldw = W.strides[0] // real
    cdef Py_ssize_t ld = scores.strides[0] // real
    cdef floating *scratch = &scores[W.shape[0], 0]
    cdef Py_ssize_t block = scores.shape[1]
    cdef Py_ssize_t start = 0
    cdef Py_ssize_t count, ldx, i
    with nogil:
        for i in range(losses.shape[0]):
            losses[i] = 0
        while start < n:
            count = min(block, n - start)
            floats = load(x, x_row, NULL, start, count, d, &rows[0, 0], rows.strides[0] // real, &ldx)
            scores_of(floats, ldx, count, d, &W[0, 0], ldw, &W[0, d], ldw, W.shape[0], &scores[0, 0], ld)
            for i in range(losses.shape[0]):
                losses[i] += epilogue(
                    &scores[i * c, 0], ld, c, count, goals + start * y_row, &sample_weight[start], scratch, values)
            start += count
    return 0


def compose_losses(Load load, Scores scores_of, Epilogue epilogue):
    cdef Losses kernel = Losses()
    kernel.load = load
    kernel.scores_of = scores_of
    kernel.epilogue = epilogue
    return kernel
