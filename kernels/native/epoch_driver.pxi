# The mini-batch steps of an epoch, by a team of threads; epoch_driver in kernels/drivers.py is the same for one thread.
# Uses common.pxi, storages.pxi, losses.pxi, updates.pxi and stages.pxi (the pieces).
#
# The columns of W, its gradient and the optimizer's state are cut into blocks. Each member of the team has a share of
# the column blocks, which it alone reads and writes: it computes what each of them contributes to the scores of a block
# of rows, and when all members have done so, it sums these partial scores and adds its share of the gradient. The cut
# does not depend on the number of threads, so the bits do not either. The members exchange nothing but the partial
# scores. With shares of the rows instead, every member would have to fetch the others' changes of W in every step.

cdef struct EpochJob:
    # The data that all members of the team share.
    gather_scores_t gather_scores
    epilogue_t epilogue
    gather_gradient_t gather_gradient
    penalty_t penalty_stage
    squares_t sum_squares
    clip_t clip_stage
    update_t update
    prox_t prox_stage
    average_t average_stage
    # EpochData
    Samples X
    const char *y
    Py_ssize_t y_step  # of a row, in bytes
    const char *sample_weight
    const int64_t *order  # the rows of X, batch after batch
    Py_ssize_t n  # of them
    const char *x_scale  # of each feature, or NULL
    const char *x_shift
    double hyper[MAX_HYPER]
    bint bias
    Py_ssize_t batch_size
    bint dW_begun
    # EpochSteps
    double t
    const double *lr
    double scalars[MAX_SCALARS]  # of the update, without t
    double l2, l1
    double entry_limit, norm_limit
    bint by_norm
    const double *shrinkage  # (shrink, factor) of each step's prox, or NULL
    const double *averaging  # of each step, or NULL
    # EpochWeights
    char *W
    char *dW
    void *state[MAX_STATES]
    int states
    char *mean
    Py_ssize_t mean_step  # from one row to the next, in bytes
    # EpochWorkspace
    char *row_buffer
    Workspace partial, scores
    char *subtotal
    Py_ssize_t subtotal_blocks
    double *losses  # of each step
    double *penalties  # of each step and column block
    double *squares
    Sizes sizes  # of the scores
    Sizes partial_sizes  # the same with the stride of the partial scores
    Py_ssize_t block, blocks  # rows of a block, blocks of a batch
    Py_ssize_t itemsize
    bint single
    int column_blocks, shares
    Py_ssize_t first, last  # the blocks that the call goes through


cdef struct Columns:
    # Those of some column blocks, without b.
    Py_ssize_t first, last


cdef inline Columns columns_of(EpochJob *job, int first, int last) noexcept nogil:
    # Of the column blocks first ... last - 1.
    return Columns(
        column_border(job.sizes.d, first, job.column_blocks), column_border(job.sizes.d, last, job.column_blocks))


cdef inline Py_ssize_t rows_of_batch(EpochJob *job, Py_ssize_t step) noexcept nogil:
    return min(job.batch_size, job.n - step * job.batch_size)


cdef inline RowSelection rows_of_block(EpochJob *job, Py_ssize_t number, Columns columns) noexcept nogil:
    # The last blocks of the last batch may have no rows.
    cdef Py_ssize_t step = number // job.blocks
    cdef Py_ssize_t start = number % job.blocks * job.block
    cdef Py_ssize_t count = max(<Py_ssize_t> 0, min(job.block, rows_of_batch(job, step) - start))
    start += step * job.batch_size
    return RowSelection(job.order + start, count, job.n - start, columns.first, columns.last)


cdef void begin_block(EpochJob *job, Py_ssize_t number, int column_block) noexcept nogil:
    # Computes what a column block contributes to the scores of some rows.
    cdef RowSelection rows = rows_of_block(job, number, columns_of(job, column_block, column_block + 1))
    job.gather_scores(
        &job.X, &rows, &job.partial_sizes, job.x_scale, job.x_shift, job.W, job.row_buffer,
        job.partial.data + (number % 2 * job.column_blocks + column_block) * job.partial.part_step)


cdef double end_block(
        EpochJob *job, Py_ssize_t number, Columns columns, floating *scores, const floating *partial) noexcept nogil:
    # Sums the partial scores, and adds these columns' part of the mean gradient of the batch; returns the loss.
    cdef Py_ssize_t stride = job.scores.stride
    cdef Py_ssize_t step = job.partial.part_step // <Py_ssize_t> sizeof(floating)
    cdef Py_ssize_t c = job.sizes.c
    cdef RowSelection rows = rows_of_block(job, number, columns)
    cdef floating *scratch = scores + c * stride
    cdef char *own_y = <char *> (scratch + max(<Py_ssize_t> 3, c) * stride)
    cdef floating own_weight[MAX_BLOCK]
    cdef floating scale = <floating> (1.0 / rows_of_batch(job, number // job.blocks))
    cdef ScoreBlock block = ScoreBlock(
        c, rows.count, stride, own_y, &own_weight[0], scratch, &job.hyper[0])
    cdef const floating *part
    cdef Py_ssize_t j, r, s
    cdef double loss
    for r in range(rows.count):
        memcpy(own_y + r * job.y_step, job.y + rows.order[r] * job.y_step, job.y_step)
        own_weight[r] = (<const floating *> job.sample_weight)[rows.order[r]]
    for j in range(c):
        part = partial + j * job.partial.stride
        memcpy(scores + j * stride, part, rows.count * sizeof(floating))
        for s in range(1, job.column_blocks):
            for r in range(rows.count):
                scores[j * stride + r] += part[s * step + r]
    loss = job.epilogue(scores, &block)
    for j in range(c):
        for r in range(rows.count):
            scores[j * stride + r] *= scale
    job.gather_gradient(
        &job.X, &rows, &job.sizes, job.x_scale, job.row_buffer, scores,
        job.subtotal if job.subtotal_blocks else job.dW)
    if subtotal_ends(job, number):
        add_subtotal(job, columns, <floating *> job.dW, <const floating *> job.subtotal)
    return loss


cdef inline bint subtotal_ends(EpochJob *job, Py_ssize_t number) noexcept nogil:
    # With a block that is the last of its batch, or of as many as are summed apart.
    cdef Py_ssize_t count = number % job.blocks + 1
    return job.subtotal_blocks != 0 and (count == job.blocks or count % job.subtotal_blocks == 0)


cdef void add_subtotal(
        EpochJob *job, Columns columns, floating *dW, const floating *subtotal) noexcept nogil:
    cdef Py_ssize_t j, k, row
    for j in range(job.sizes.c):
        row = j * job.sizes.dW_stride
        for k in range(row + columns.first, row + columns.last):
            dW[k] += subtotal[k]
        if columns.first == 0:
            dW[row + job.sizes.d] += subtotal[row + job.sizes.d]


cdef void clear(EpochJob *job, char *gradient, Columns columns) noexcept nogil:
    cdef char *row
    cdef Py_ssize_t j
    for j in range(job.sizes.c):
        row = gradient + j * job.sizes.dW_stride * job.itemsize
        memset(row + columns.first * job.itemsize, 0, (columns.last - columns.first) * job.itemsize)
        if columns.first == 0:
            memset(row + job.sizes.d * job.itemsize, 0, job.itemsize)


cdef void finish_gradient(EpochJob *job, Py_ssize_t step, int column_block) noexcept nogil:
    # Adds the gradient of the penalty to a column block, and sums its squares if the norm will be needed.
    cdef Columns columns = columns_of(job, column_block, column_block + 1)
    cdef Py_ssize_t width = columns.last - columns.first
    cdef double penalty = 0
    cdef double squares = 0
    cdef Py_ssize_t j, row, start
    for j in range(job.sizes.c):
        row = j * job.sizes.weights_stride * job.itemsize
        start = row + columns.first * job.itemsize
        penalty += job.penalty_stage(job.dW + start, job.W + start, width, job.l2, job.l1)
        if job.by_norm:
            squares += job.sum_squares(job.dW + start, width)
            if columns.first == 0 and job.bias:
                squares += job.sum_squares(job.dW + row + job.sizes.d * job.itemsize, 1)
    job.penalties[step * job.column_blocks + column_block] = rows_of_batch(job, step) * penalty
    job.squares[column_block] = squares


cdef double clip_scale(EpochJob *job) noexcept nogil:
    # The factor that clips the gradient's norm, as in torch's clip_grad_norm_.
    cdef double total = 0
    cdef double scale
    cdef int i
    if not job.by_norm:
        return 1
    for i in range(job.column_blocks):
        total += job.squares[i]
    scale = job.norm_limit / (c_sqrt(total) + 1e-6)
    return 1 if scale >= 1 else scale  # keeps a NaN


cdef void take_step(EpochJob *job, Py_ssize_t step, Columns columns) noexcept nogil:
    cdef double scale = clip_scale(job)
    cdef Py_ssize_t j, row
    for j in range(job.sizes.c):
        row = j * job.sizes.weights_stride
        update_numbers(job, step, row + columns.first, columns.last - columns.first, scale)
        if job.shrinkage != NULL:
            job.prox_stage(
                job.W + (row + columns.first) * job.itemsize, columns.last - columns.first, job.shrinkage[2 * step],
                job.shrinkage[2 * step + 1])
        if columns.first == 0 and job.bias:
            update_numbers(job, step, row + job.sizes.d, 1, scale)
        if job.averaging != NULL:
            move_mean(job, step, j, columns)


cdef void update_numbers(EpochJob *job, Py_ssize_t step, Py_ssize_t start, Py_ssize_t n, double scale) noexcept nogil:
    # Clips the gradient of n numbers of W, and updates them.
    cdef char *g = job.dW + start * job.itemsize
    cdef double scalars[MAX_SCALARS]
    cdef void *state[MAX_STATES]
    cdef int i
    memcpy(scalars, job.scalars, sizeof(scalars))
    scalars[0] = job.lr[step]
    for i in range(job.states):
        state[i] = <char *> job.state[i] + start * job.itemsize
    if scale != 1 or job.entry_limit != INFINITY:
        job.clip_stage(g, g, n, scale, job.entry_limit)
    job.update(job.W + start * job.itemsize, g, state, n, job.t + step, scalars)


cdef void move_mean(EpochJob *job, Py_ssize_t step, Py_ssize_t j, Columns columns) noexcept nogil:
    # Of the weights of class j in these columns.
    cdef const char *w = job.W + j * job.sizes.weights_stride * job.itemsize
    cdef double *mean = <double *> (job.mean + j * job.mean_step)
    job.average_stage(
        w + columns.first * job.itemsize, mean + columns.first, columns.last - columns.first, job.averaging[step])
    if columns.first == 0 and job.bias:
        job.average_stage(w + job.sizes.d * job.itemsize, mean + job.sizes.d, 1, job.averaging[step])


cdef void do_round(void *context, Py_ssize_t round, int phase, int share) noexcept nogil:
    # Ends the block before and begins the next. Clipping by a norm needs a second phase, which begins when all members
    # have added their squares.
    cdef EpochJob *job = <EpochJob *> context
    cdef Py_ssize_t number = job.first + round
    cdef bint batch_ends = round > 0 and number % job.blocks == 0
    cdef bint last_phase = phase == job.by_norm
    cdef int first = job.column_blocks * share // job.shares
    cdef int last = job.column_blocks * (share + 1) // job.shares
    cdef Columns columns = columns_of(job, first, last)
    cdef int column_block
    if round > 0 and phase == 0:
        if (number - 1) % job.blocks == 0 and not job.dW_begun:
            clear(job, job.dW, columns)
        if job.subtotal_blocks and (number - 1) % job.blocks % job.subtotal_blocks == 0:
            clear(job, job.subtotal, columns)
        add_block(job, number - 1, share, columns)
    if batch_ends and phase == 0 and (job.by_norm or job.l2 != 0 or job.l1 != 0):
        for column_block in range(first, last):
            finish_gradient(job, (number - 1) // job.blocks, column_block)
    if batch_ends and last_phase:
        take_step(job, (number - 1) // job.blocks, columns)
    if last_phase and number < job.last:
        for column_block in range(first, last):
            begin_block(job, number, column_block)


cdef void add_block(EpochJob *job, Py_ssize_t number, int share, Columns columns) noexcept nogil:
    cdef char *scores = job.scores.data + share * job.scores.part_step
    cdef char *partial = job.partial.data + number % 2 * job.column_blocks * job.partial.part_step
    cdef double loss
    if job.single:
        loss = end_block(job, number, columns, <float *> scores, <const float *> partial)
    else:
        loss = end_block(job, number, columns, <double *> scores, <const double *> partial)
    if share == 0:  # every share computes the same loss
        job.losses[number // job.blocks] += loss


# ---- The kernel: the records of kernels/records.py are taken apart --------------------------------------------

cdef int read_data(EpochJob *job, EpochKernel kernel, data) except -1:
    cdef ndarray y, sample_weight, order, scale_shift
    X, y, sample_weight, order, scale_shift, hyper, job.bias, job.batch_size, job.dW_begun = data
    kernel.gather_scores.storage.describe(X, job.single, &job.X)
    read_hyper(kernel.epilogue, hyper, job.hyper)
    job.y, job.y_step, job.sample_weight = PyArray_BYTES(y), target_bytes(y), PyArray_BYTES(sample_weight)
    job.order, job.n = <const int64_t *> PyArray_DATA(order), PyArray_DIM(order, 0)
    job.x_scale = job.x_shift = NULL
    if PyArray_DIM(scale_shift, 0):
        job.x_scale = PyArray_BYTES(scale_shift)
        job.x_shift = job.x_scale + PyArray_STRIDE(scale_shift, 0)
    return 0


cdef int read_steps(EpochJob *job, Update update, steps) except -1:
    cdef ndarray lr, shrinkage, averaging
    cdef tuple others
    cdef int i
    job.t, _, lr, others, (job.l2, job.l1), (job.entry_limit, job.norm_limit), shrinkage, averaging = steps
    for i in range(update.scalars - 1 - update.counts):
        job.scalars[i + 1] = others[i]  # the first is lr
    job.lr = <const double *> PyArray_DATA(lr)
    job.by_norm = job.norm_limit != INFINITY
    job.shrinkage = <const double *> PyArray_DATA(shrinkage) if PyArray_DIM(shrinkage, 0) else NULL
    job.averaging = <const double *> PyArray_DATA(averaging) if PyArray_DIM(averaging, 0) else NULL
    return 0


cdef int read_weights(EpochJob *job, Update update, weights) except -1:
    cdef ndarray W, dW, mean
    cdef tuple state
    W, dW, state, mean = weights
    job.single, job.itemsize = is_single(W), PyArray_ITEMSIZE(W)
    job.W, job.dW, job.states = PyArray_BYTES(W), PyArray_BYTES(dW), update.states
    job.sizes.d, job.sizes.c, job.sizes.panels = PyArray_DIM(W, 1) - 1, PyArray_DIM(W, 0), NULL
    job.sizes.weights_stride, job.sizes.dW_stride = stride_of(W), stride_of(dW)
    read_state(update, state, job.state)
    job.mean, job.mean_step = PyArray_BYTES(mean), PyArray_STRIDE(mean, 0)
    return 0


cdef int read_workspace(EpochJob *job, workspace) except -1:
    cdef ndarray row_buffer, partial, scores, subtotal, losses, penalties, squares
    row_buffer, partial, scores, subtotal, job.subtotal_blocks, losses, penalties, squares = workspace
    job.row_buffer, job.block = PyArray_BYTES(row_buffer), PyArray_DIM(row_buffer, 0)
    if job.block > MAX_BLOCK:
        raise ValueError(f"a block of an epoch has at most {<int> MAX_BLOCK} rows; found {job.block}")
    job.partial, job.scores = workspace_of(partial), workspace_of(scores)
    job.subtotal = PyArray_BYTES(subtotal)
    job.losses, job.penalties = <double *> PyArray_DATA(losses), <double *> PyArray_DATA(penalties)
    job.squares, job.column_blocks = <double *> PyArray_DATA(squares), item_count(PyArray_DIM(squares, 0))
    job.sizes.row_buffer_stride, job.sizes.scores_stride = stride_of(row_buffer), job.scores.stride
    job.partial_sizes = job.sizes
    job.partial_sizes.scores_stride = job.partial.stride
    return 0


cdef class EpochKernel:
    cdef GatherScores gather_scores
    cdef Epilogue epilogue
    cdef GatherGradient gather_gradient
    cdef PenaltyStage penalty_stage
    cdef SumSquares sum_squares
    cdef ClipStage clip_stage
    cdef Update update
    cdef ProxStage prox_stage
    cdef AverageStage average_stage

    cdef int choose_functions(self, EpochJob *job) except -1:
        job.gather_scores = <gather_scores_t> fn_of(self.gather_scores, job.single)
        job.epilogue = <epilogue_t> fn_of(self.epilogue, job.single)
        job.gather_gradient = <gather_gradient_t> fn_of(self.gather_gradient, job.single)
        job.penalty_stage = <penalty_t> fn_of(self.penalty_stage, job.single)
        job.sum_squares = <squares_t> fn_of(self.sum_squares, job.single)
        job.clip_stage = <clip_t> fn_of(self.clip_stage, job.single)
        job.update = <update_t> fn_of(self.update, job.single)
        job.prox_stage = <prox_t> fn_of(self.prox_stage, job.single)
        job.average_stage = <average_t> fn_of(self.average_stage, job.single)
        return 0

    def __call__(self, data, steps, weights, workspace, Py_ssize_t first, Py_ssize_t last, int threads):
        cdef EpochJob job
        cdef team_job team
        read_weights(&job, self.update, weights)
        self.choose_functions(&job)
        read_data(&job, self, data)
        read_steps(&job, self.update, steps)
        read_workspace(&job, workspace)
        job.blocks = (job.batch_size + job.block - 1) // job.block
        job.first, job.last = first, last
        job.shares = max(1, min(threads, job.column_blocks))
        team.work = do_round
        team.context = &job
        team.rounds = last - first + 1
        team.phases = 2 if job.by_norm else 1
        team.items[0] = team.items[1] = job.shares
        team.threads = threads
        with nogil:
            team_run(&team)


def epoch_driver(
        GatherScores gather_scores, Epilogue epilogue, GatherGradient gather_gradient, PenaltyStage penalty_stage,
        SumSquares sum_squares, ClipStage clip_stage, Update update, ProxStage prox_stage,
        AverageStage average_stage):
    cdef EpochKernel kernel = EpochKernel()
    if gather_scores.storage is not gather_gradient.storage:
        raise ValueError(f"{gather_scores.__name__} and {gather_gradient.__name__} are of different storages")
    kernel.gather_scores = gather_scores
    kernel.epilogue = epilogue
    kernel.gather_gradient = gather_gradient
    kernel.penalty_stage = penalty_stage
    kernel.sum_squares = sum_squares
    kernel.clip_stage = clip_stage
    kernel.update = update
    kernel.prox_stage = prox_stage
    kernel.average_stage = average_stage
    return kernel
