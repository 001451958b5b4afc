# A loss with its gradient, by a team of threads; loss_driver in kernels/drivers.py is the same for one thread.
# Uses common.pxi, storages.pxi (the pieces, COPY_COLUMNS) and losses.pxi (Epilogue).
#
# The first phase copies W, one block of columns after the other. The second computes the gradient of each part of the
# rows. The third sums the parts' gradients, one block of columns after the other. Every sum has a fixed order, so that
# the bits do not depend on the number of threads.

cdef enum:
    MAX_COLUMN_BLOCKS = 16


cdef struct LossJob:
    # The data that all members of the team share.
    to_layout_t to_layout
    scores_t scores_of
    epilogue_t epilogue
    gradient_t gradient
    combine_t combine
    Samples X
    Sizes sizes
    Matrix W, dW
    const char *y
    Py_ssize_t y_step  # of a row, in bytes
    const char *sample_weight
    double hyper[MAX_HYPER]
    double scale
    char *weights
    Workspace row_buffer, scores, parts
    double *losses
    Py_ssize_t n, block
    Py_ssize_t itemsize
    Py_ssize_t chunk, chunks  # a call goes through one chunk of some parts
    int first_part, last_part
    int count  # of all parts
    int column_blocks
    int first_phase  # 1 after the first call, which has copied W, and where W is read in place
    bint in_place
    Py_ssize_t part_bytes  # of a part's gradient


cdef inline Py_ssize_t chunk_start(LossJob *job, Py_ssize_t part, Py_ssize_t chunk) noexcept nogil:
    # The first row of a chunk of a part: chunks are whole blocks, so that their number does not change the sums.
    cdef Py_ssize_t first = job.n * part // job.count
    cdef Py_ssize_t last = job.n * (part + 1) // job.count
    cdef Py_ssize_t blocks = (last - first + job.block - 1) // job.block
    return min(last, first + job.block * (blocks * chunk // job.chunks))


cdef void add_chunk(LossJob *job, int part) noexcept nogil:
    # Adds the gradient and the loss of a chunk's rows to those of the part.
    cdef char *dW = job.parts.data + part * job.parts.part_step
    cdef char *row_buffer = job.row_buffer.data + part * job.row_buffer.part_step
    cdef char *scores = job.scores.data + part * job.scores.part_step
    cdef Py_ssize_t stop = chunk_start(job, part, job.chunk + 1)
    cdef RowRange rows
    cdef ScoreBlock block
    cdef double loss = 0
    block.c, block.stride, block.hyper = job.sizes.c, job.sizes.scores_stride, &job.hyper[0]
    block.scratch = scores + job.sizes.c * job.sizes.scores_stride * job.itemsize
    rows.start = chunk_start(job, part, job.chunk)
    if job.chunk == 0:
        memset(dW, 0, job.part_bytes)
    while rows.start < stop:
        rows.count = min(job.block, stop - rows.start)
        rows.next_start = rows.start + rows.count
        if rows.next_start == stop and part + 1 < job.last_part:  # this thread is likely to do the next part too
            rows.next_start = chunk_start(job, part + 1, job.chunk)
        rows.next_count = min(job.block, job.n - rows.next_start)
        job.scores_of(&job.X, &rows, &job.sizes, job.weights, row_buffer, scores)
        block.rows = rows.count
        block.y = job.y + rows.start * job.y_step
        block.sample_weight = job.sample_weight + rows.start * job.itemsize
        loss += job.epilogue(scores, &block)
        job.gradient(&job.X, &rows, &job.sizes, row_buffer, scores, dW)
        rows.start += rows.count
    job.losses[part] = loss if job.chunk == 0 else job.losses[part] + loss


cdef void do_loss_item(void *context, Py_ssize_t round, int phase, int item) noexcept nogil:
    cdef LossJob *job = <LossJob *> context
    cdef Py_ssize_t first, last
    phase += job.first_phase
    if phase == 1:
        add_chunk(job, job.first_part + item)
        return
    first = column_border(job.W.rows, item, job.column_blocks)
    last = column_border(job.W.rows, item + 1, job.column_blocks)
    if phase == 0:
        job.to_layout(&job.W, &job.sizes, first, last, job.weights)
    else:
        job.combine(job.parts.data, job.count, job.parts.part_step, &job.sizes, job.scale, &job.dW, first, last)


cdef void run_chunk(LossJob *job, int threads) noexcept nogil:
    cdef team_job team
    cdef bint complete = job.chunk == job.chunks - 1 and job.last_part == job.count
    job.first_phase = 0 if job.chunk == 0 and job.first_part == 0 and not job.in_place else 1
    team.work = do_loss_item
    team.context = job
    team.rounds = 1
    team.phases = (3 if complete else 2) - job.first_phase
    team.items[0] = job.column_blocks
    team.items[1 - job.first_phase] = job.last_part - job.first_part
    team.items[2 - job.first_phase] = job.column_blocks
    team.threads = threads
    team_run(&team)


cdef int read_weights_of_loss(
        LossJob *job, bint feature_major, ndarray W, ndarray weights, ndarray parts) except -1:
    # A copy of W, or where that has no numbers W itself.
    cdef Py_ssize_t rows = PyArray_DIM(parts, 1)
    job.sizes = Sizes(
        job.W.rows if feature_major else PyArray_DIM(weights, 1) - 1, PyArray_DIM(W, 1), job.row_buffer.stride,
        stride_of(weights), job.scores.stride, job.parts.stride, NULL)
    job.part_bytes = ((rows - 1) * job.parts.stride + PyArray_DIM(parts, 2)) * PyArray_ITEMSIZE(W) if rows else 0
    job.weights, job.in_place = PyArray_BYTES(weights), PyArray_SIZE(weights) == 0
    if job.in_place:
        if job.W.rows and job.sizes.c > 1 and job.W.column_step != PyArray_ITEMSIZE(W):
            raise ValueError(f"W is read in place, but its columns lie {job.W.column_step} bytes apart")
        job.weights, job.sizes.weights_stride = job.W.data, job.W.row_step // PyArray_ITEMSIZE(W)
    return 0


cdef class LossKernel:
    cdef ToLayout to_layout
    cdef Scores scores_of
    cdef Epilogue epilogue
    cdef Gradient gradient
    cdef Combine combine

    # This reads the arrays' fields instead of acquiring buffers: ten buffers take as long as a small batch.
    def __call__(self, X, ndarray W, ndarray y, ndarray sample_weight, tuple hyper, double scale, ndarray weights,
                 ndarray panels, ndarray row_buffer, ndarray scores, ndarray parts, ndarray losses, ndarray dW,
                 int first_part, int last_part, Py_ssize_t chunk, Py_ssize_t chunks, int threads):
        cdef LossJob job
        cdef bint single = is_single(weights)
        job.to_layout = <to_layout_t> fn_of(self.to_layout, single)
        job.scores_of = <scores_t> fn_of(self.scores_of, single)
        job.epilogue = <epilogue_t> fn_of(self.epilogue, single)
        job.gradient = <gradient_t> fn_of(self.gradient, single)
        job.combine = <combine_t> fn_of(self.combine, single)
        read_hyper(self.epilogue, hyper, job.hyper)
        self.scores_of.storage.describe(X, single, &job.X)
        job.W, job.dW = matrix(W), matrix(dW)
        job.y, job.y_step, job.sample_weight = PyArray_BYTES(y), target_bytes(y), PyArray_BYTES(sample_weight)
        job.scale = scale
        job.row_buffer, job.scores, job.parts = workspace_of(row_buffer), workspace_of(scores), workspace_of(parts)
        job.losses = <double *> PyArray_DATA(losses)
        read_weights_of_loss(&job, self.scores_of.storage.feature_major, W, weights, parts)
        if PyArray_DIM(panels, 0) >= (job.sizes.c + PANEL_CLASSES) * job.sizes.d:
            job.sizes.panels = PyArray_DATA(panels)
        job.n, job.block = PyArray_DIM(sample_weight, 0), PyArray_DIM(scores, 2)
        job.itemsize = PyArray_ITEMSIZE(weights)
        job.chunk, job.chunks, job.count = chunk, chunks, item_count(PyArray_DIM(parts, 0))
        job.first_part, job.last_part = first_part, last_part
        job.column_blocks = <int> max(1, min(<Py_ssize_t> MAX_COLUMN_BLOCKS, job.W.rows // COPY_COLUMNS))
        with nogil:
            run_chunk(&job, threads)


def loss_driver(ToLayout to_layout, Scores scores, Epilogue epilogue, Gradient gradient, Combine combine):
    cdef LossKernel kernel = LossKernel()
    if scores.storage is not gradient.storage:
        raise ValueError(f"{scores.__name__} and {gradient.__name__} are of different storages")
    kernel.to_layout = to_layout
    kernel.scores_of = scores
    kernel.epilogue = epilogue
    kernel.gradient = gradient
    kernel.combine = combine
    return kernel
