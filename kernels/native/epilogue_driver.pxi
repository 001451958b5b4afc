# The epilogue of many columns of scores, which BLAS has made, by a team of threads; epilogue_driver in
# kernels/drivers.py is the same for one thread. Uses common.pxi and losses.pxi (Epilogue).

cdef struct EpilogueJob:
    # The data that all members of the team share.
    epilogue_t epilogue
    Py_ssize_t n, c, block
    char *scores
    Py_ssize_t stride  # of scores, in numbers
    const char *y
    Py_ssize_t y_step  # of a row, in bytes
    const char *sample_weight
    double hyper[MAX_HYPER]
    Workspace scratch
    double *losses
    Py_ssize_t itemsize
    int count  # of shares of the columns


cdef void do_share(void *context, Py_ssize_t round, int phase, int share) noexcept nogil:
    cdef EpilogueJob *job = <EpilogueJob *> context
    cdef Py_ssize_t start = job.n * share // job.count
    cdef Py_ssize_t stop = job.n * (share + 1) // job.count
    cdef ScoreBlock block
    cdef double loss = 0
    block.c, block.stride, block.hyper = job.c, job.stride, &job.hyper[0]
    block.scratch = job.scratch.data + share * job.scratch.part_step
    while start < stop:
        block.rows = min(job.block, stop - start)
        block.y = job.y + start * job.y_step
        block.sample_weight = job.sample_weight + start * job.itemsize
        loss += job.epilogue(job.scores + start * job.itemsize, &block)
        start += block.rows
    job.losses[share] = loss


cdef class EpilogueKernel:
    cdef Epilogue epilogue

    def __call__(self, ndarray scores, ndarray y, ndarray sample_weight, tuple hyper, ndarray scratch, ndarray losses,
                 int threads):
        cdef EpilogueJob job
        job.epilogue = <epilogue_t> fn_of(self.epilogue, is_single(scores))
        read_hyper(self.epilogue, hyper, job.hyper)
        job.c, job.n, job.block = PyArray_DIM(scores, 0), PyArray_DIM(scores, 1), PyArray_DIM(scratch, 2)
        job.scores, job.stride, job.itemsize = PyArray_BYTES(scores), stride_of(scores), PyArray_ITEMSIZE(scores)
        job.y, job.y_step, job.sample_weight = PyArray_BYTES(y), target_bytes(y), PyArray_BYTES(sample_weight)
        job.scratch, job.losses = workspace_of(scratch), <double *> PyArray_DATA(losses)
        job.count = item_count(PyArray_DIM(losses, 0))
        with nogil:
            run_items(do_share, &job, job.count, threads)


def epilogue_driver(Epilogue epilogue):
    cdef EpilogueKernel kernel = EpilogueKernel()
    kernel.epilogue = epilogue
    return kernel
