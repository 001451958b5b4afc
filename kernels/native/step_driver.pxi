# An optimizer's step and sums of squares, over flat arrays, by a team of threads; step_driver and squares_driver in
# kernels/drivers.py are the same for one thread. Uses common.pxi, updates.pxi and stages.pxi (the pieces).

cdef enum:
    STEP_SLICE = 2048  # numbers that are clipped, updated and shrunk while they are in L1


cdef struct StepJob:
    # The data that all members of the team share.
    clip_t clip
    update_t update
    prox_t prox
    char *w
    const char *g
    void *state[MAX_STATES]
    int states
    bint staged  # whether anything is done before or after the update
    Py_ssize_t n
    Py_ssize_t itemsize
    int ranges
    double scalars[MAX_SCALARS]
    double scale, limit, shrink, factor


cdef void do_range(void *context, Py_ssize_t round, int phase, int item) noexcept nogil:
    # A range begins at a cache line of w, so that no two members write to one line, and no load of w crosses two.
    cdef StepJob *job = <StepJob *> context
    cdef Py_ssize_t size = job.itemsize
    cdef Py_ssize_t line = 64 // size
    cdef Py_ssize_t head = (line - <Py_ssize_t> job.w % 64 // size) % line  # numbers before the first cache line
    cdef Py_ssize_t start = range_border(job, item, head, line)
    cdef Py_ssize_t stop = range_border(job, item + 1, head, line)
    cdef double clipped[STEP_SLICE]  # or floats, in its first half
    cdef void *state[MAX_STATES]
    cdef const void *g
    cdef Py_ssize_t width
    cdef int i
    while start < stop:
        width = head if start < head else STEP_SLICE if job.staged else stop
        width = min(width, stop - start)
        for i in range(job.states):
            state[i] = <char *> job.state[i] + start * size
        g = job.g + start * size
        if job.staged:
            job.clip(g, clipped, width, job.scale, job.limit)
            g = clipped
        job.update(job.w + start * size, g, state, width, job.scalars[0], job.scalars + 1)
        if job.staged:
            job.prox(job.w + start * size, width, job.shrink, job.factor)
        start += width


cdef Py_ssize_t range_border(StepJob *job, int item, Py_ssize_t head, Py_ssize_t line) noexcept nogil:
    # Where a range begins and the one before it ends.
    if item == 0 or item == job.ranges:
        return item // job.ranges * job.n
    return min(job.n, head + job.n * item // job.ranges // line * line)


cdef class StepKernel:
    """Clip g, update, prox of w, one slice of a range of the arrays after the other."""

    cdef ClipStage clip
    cdef Update update
    cdef ProxStage prox

    def run(self, ndarray w, ndarray g, tuple state, tuple scalars, stages, int ranges, int threads):
        cdef StepJob job
        cdef bint single = is_single(w)
        job.clip = <clip_t> fn_of(self.clip, single)
        job.update = <update_t> fn_of(self.update, single)
        job.prox = <prox_t> fn_of(self.prox, single)
        job.w, job.g, job.n, job.itemsize = PyArray_BYTES(w), PyArray_BYTES(g), PyArray_SIZE(w), PyArray_ITEMSIZE(w)
        job.states = self.update.states
        read_state(self.update, state, job.state)
        read_scalars(self.update, scalars, 0, job.scalars)
        job.scale, job.limit, job.shrink, job.factor = stages
        job.staged = job.scale != 1 or job.limit != INFINITY or job.shrink != 0 or job.factor != 1
        job.ranges = item_count(ranges)
        with nogil:
            run_items(do_range, &job, job.ranges, threads)


def step_driver(ClipStage clip_stage, Update update, ProxStage prox_stage):
    cdef StepKernel kernel = StepKernel()
    kernel.clip = clip_stage
    kernel.update = update
    kernel.prox = prox_stage
    return kernel.run


cdef struct SquaresJob:
    # The data that all members of the team share.
    squares_t squares
    const char *g
    Py_ssize_t n
    Py_ssize_t itemsize
    double *sums
    int ranges


cdef void do_squares(void *context, Py_ssize_t round, int phase, int item) noexcept nogil:
    cdef SquaresJob *job = <SquaresJob *> context
    cdef Py_ssize_t start = job.n * item // job.ranges
    job.sums[item] = job.squares(job.g + start * job.itemsize, job.n * (item + 1) // job.ranges - start)


cdef class SquaresKernel:
    """The sum of squares of each of some ranges of g."""

    cdef SumSquares sum_squares

    def run(self, ndarray g, ndarray sums, int threads):
        cdef SquaresJob job
        job.squares = <squares_t> fn_of(self.sum_squares, is_single(g))
        job.g, job.n, job.itemsize = PyArray_BYTES(g), PyArray_SIZE(g), PyArray_ITEMSIZE(g)
        job.sums, job.ranges = <double *> PyArray_DATA(sums), item_count(PyArray_SIZE(sums))
        with nogil:
            run_items(do_squares, &job, job.ranges, threads)


def squares_driver(SumSquares sum_squares):
    cdef SquaresKernel kernel = SquaresKernel()
    kernel.sum_squares = sum_squares
    return kernel.run
