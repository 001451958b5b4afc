# The epilogue of many columns of scores, which BLAS has made, by a team. The same as compose_columns in compose.py.

cdef struct ColumnsJob:
    void *epilogue
    Py_ssize_t n, c, block
    char *scores
    Py_ssize_t ld  # of scores, in numbers
    const char *y
    Py_ssize_t y_row  # in bytes
    const char *sample_weight
    double hyper[MAX_HYPER]
    Room scratch
    double *losses
    int count  # how many shares of the columns


cdef void share_columns(ColumnsJob *job, int share, floating *scratch) noexcept nogil:
    cdef epilogue_t epilogue = <epilogue_t> job.epilogue
    cdef floating *scores = <floating *> job.scores
    cdef const floating *weight = <const floating *> job.sample_weight
    cdef Py_ssize_t start = job.n * share // job.count
    cdef Py_ssize_t stop = job.n * (share + 1) // job.count
    cdef Py_ssize_t rows
    cdef double loss = 0
    while start < stop:
        rows = min(job.block, stop - start)
        loss += epilogue(
            scores + start, job.ld, job.c, rows, job.y + start * job.y_row, weight + start,
            scratch + share * job.scratch.part, job.hyper)
        start += rows
    job.losses[share] = loss


cdef void share_float_columns(void *context, Py_ssize_t round, int phase, int share) noexcept nogil:
    share_columns(<ColumnsJob *> context, share, <float *> (<ColumnsJob *> context).scratch.at)


cdef void share_double_columns(void *context, Py_ssize_t round, int phase, int share) noexcept nogil:
    share_columns(<ColumnsJob *> context, share, <double *> (<ColumnsJob *> context).scratch.at)


cdef class ColumnsKernel:
    cdef Epilogue epilogue

    def __call__(self, ndarray scores, ndarray y, ndarray sample_weight, tuple hyper, ndarray scratch, ndarray losses,
                 int threads):
        cdef ColumnsJob job
        cdef team_job team
        cdef bint single = PyArray_ITEMSIZE(scores) == sizeof(float)
        read_hyper(hyper, job.hyper)
        job.epilogue = self.epilogue.float_rows if single else self.epilogue.double_rows
        job.c, job.n, job.block = PyArray_DIM(scores, 0), PyArray_DIM(scores, 1), PyArray_DIM(scratch, 2)
        job.scores, job.ld = PyArray_BYTES(scores), PyArray_STRIDE(scores, 0) // PyArray_ITEMSIZE(scores)
        job.y, job.y_row = PyArray_BYTES(y), PyArray_STRIDE(y, 0)
        job.sample_weight = PyArray_BYTES(sample_weight)
        job.scratch, job.losses = room(scratch), <double *> PyArray_DATA(losses)
        job.count = <int> PyArray_DIM(losses, 0)
        team.work = share_float_columns if single else share_double_columns
        team.context = &job
        team.rounds = team.phases = 1
        team.items[0] = job.count
        team.threads = threads
        with nogil:
            team_run(&team)


def compose_columns(Epilogue epilogue):
    cdef ColumnsKernel kernel = ColumnsKernel()
    kernel.epilogue = epilogue
    return kernel
