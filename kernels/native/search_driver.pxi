# The losses of several W at once, without gradients. The driver is the same as compose_losses in compose.py.

cdef class Losses:
    cdef Gradient product
    cdef Epilogue epilogue

    def __call__(self, blocks, W, ndarray y, sample_weight, tuple hyper, scores, sums, losses):
        if W.itemsize == sizeof(float):
            call_losses[float](self, blocks, W, y, sample_weight, hyper, scores, sums, losses)
        else:
            call_losses[double](self, blocks, W, y, sample_weight, hyper, scores, sums, losses)


cdef int call_losses(
        Losses kernel, floating[:, :, :] blocks, floating[:, :] W, ndarray y, const floating[::1] sample_weight,
        tuple hyper, floating[:, :] scores, floating[::1] sums, double[::1] losses) except -1:
    cdef bint single = floating is float
    cdef gradient_t product = <gradient_t> (kernel.product.float_rows if single else kernel.product.double_rows)
    cdef epilogue_t epilogue = <epilogue_t> (kernel.epilogue.float_rows if single else kernel.epilogue.double_rows)
    cdef double values[MAX_HYPER]
    read_hyper(hyper, values)
    cdef const char *goals = PyArray_BYTES(y)
    cdef Py_ssize_t real = sizeof(floating)
    cdef Py_ssize_t y_row = PyArray_STRIDE(y, 0)
    cdef Py_ssize_t d = blocks.shape[1]
    cdef Py_ssize_t k = losses.shape[0]
    cdef Py_ssize_t c = W.shape[0] // k
    cdef Py_ssize_t ldw = W.strides[0] // real
    cdef Py_ssize_t ld = scores.strides[0] // real
    cdef floating *scratch = &scores[W.shape[0], 0]
    cdef floating *s
    cdef floating bias
    cdef Py_ssize_t start, rows, b, j, r
    with nogil:
        for j in range(k):
            losses[j] = 0
        for b in range(blocks.shape[0]):
            start = b * blocks.shape[2]
            rows = min(blocks.shape[2], sample_weight.shape[0] - start)
            for j in range(W.shape[0]):
                s, bias = &scores[j, 0], W[j, d]
                for r in range(rows):
                    s[r] = bias
            product(&blocks[b, 0, 0], blocks.strides[1] // real, d, rows, &W[0, 0], ldw, W.shape[0], &scores[0, 0], ld,
                    &sums[0], 1, NULL)
            for j in range(k):
                losses[j] += epilogue(
                    &scores[j * c, 0], ld, c, rows, goals + start * y_row, &sample_weight[start], scratch, values)
    return 0


def compose_losses(Gradient product, Epilogue epilogue):
    cdef Losses kernel = Losses()
    kernel.product = product
    kernel.epilogue = epilogue
    return kernel
