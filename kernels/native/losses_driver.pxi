# The losses of several W at once, without gradients; losses_driver in kernels/drivers.py is the same.
# Uses common.pxi, storages.pxi (Product) and losses.pxi (Epilogue).

cdef struct LossesJob:
    product_t product
    epilogue_t epilogue
    const char *blocks
    Py_ssize_t block_step  # from one block to the next, in bytes
    Py_ssize_t count, block
    ProductSizes sizes
    Py_ssize_t models, n
    Py_ssize_t itemsize
    const char *y
    Py_ssize_t y_step  # of a row, in bytes
    const char *sample_weight
    double hyper[MAX_HYPER]
    void *sums
    double *losses


cdef void add_losses(LossesJob *job, const floating *weights, floating *scores) noexcept nogil:
    # A feature is a row of the product, and a row of X one of its columns.
    cdef Py_ssize_t stride = job.sizes.W
    cdef Py_ssize_t c = job.sizes.c // job.models
    cdef ScoreBlock block
    cdef Py_ssize_t number, start, i, j, r
    cdef floating b
    block.c, block.stride, block.hyper, block.scratch = c, stride, &job.hyper[0], scores + job.sizes.c * stride
    for i in range(job.models):
        job.losses[i] = 0
    for number in range(job.count):
        start = number * job.block
        block.rows = job.sizes.d = min(job.block, job.n - start)
        block.y = job.y + start * job.y_step
        block.sample_weight = job.sample_weight + start * job.itemsize
        for j in range(job.sizes.c):
            b = weights[j * job.sizes.scores + job.sizes.rows]
            for r in range(block.rows):
                scores[j * stride + r] = b
        job.product(job.blocks + number * job.block_step, weights, scores, job.sums, &job.sizes)
        for i in range(job.models):
            job.losses[i] += job.epilogue(scores + i * c * stride, &block)


cdef class LossesKernel:
    cdef Product product
    cdef Epilogue epilogue

    def __call__(self, ndarray blocks, ndarray weights, ndarray y, ndarray sample_weight, tuple hyper, ndarray scores,
                 ndarray sums, ndarray losses):
        cdef LossesJob job
        cdef bint single = is_single(weights)
        job.product = <product_t> fn_of(self.product, single)
        job.epilogue = <epilogue_t> fn_of(self.epilogue, single)
        read_hyper(self.epilogue, hyper, job.hyper)
        job.blocks, job.block_step = PyArray_BYTES(blocks), PyArray_STRIDE(blocks, 0)
        job.count, job.block = PyArray_DIM(blocks, 0), PyArray_DIM(blocks, 2)
        job.sizes = ProductSizes(
            PyArray_DIM(blocks, 1), job.block, PyArray_DIM(weights, 0), stride_of(blocks), stride_of(scores), 1,
            stride_of(weights), NULL)
        job.models, job.n = PyArray_DIM(losses, 0), PyArray_DIM(sample_weight, 0)
        job.y, job.y_step, job.sample_weight = PyArray_BYTES(y), target_bytes(y), PyArray_BYTES(sample_weight)
        job.itemsize, job.sums = PyArray_ITEMSIZE(weights), PyArray_DATA(sums)
        job.losses = <double *> PyArray_DATA(losses)
        with nogil:
            if single:
                add_losses(&job, <const float *> PyArray_DATA(weights), <float *> PyArray_DATA(scores))
            else:
                add_losses(&job, <const double *> PyArray_DATA(weights), <double *> PyArray_DATA(scores))


def losses_driver(Product add_product, Epilogue epilogue):
    cdef LossesKernel kernel = LossesKernel()
    kernel.product = add_product
    kernel.epilogue = epilogue
    return kernel
