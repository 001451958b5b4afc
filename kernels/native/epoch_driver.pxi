# The steps of an epoch in one call. The driver is the same as compose_epoch in compose.py.
#
# W, its gradient and the optimizer's state are class-major, (c, d + 1) with b as the last column, all of one shape.
# Their columns are cut into strips, and each member of the team has a share of the strips, which it alone reads and
# writes: it adds up each strip's part of the scores of a block of rows, and when all have, it knows the scores and
# adds its share of the gradient. The cut does not depend on the number of threads, so the bits do not. All that
# members tell each other are these few scores; shares of the rows instead would make every one of them fetch what the
# others have done to W, in every step.

cdef struct Steps:
    LossJob loss  # without its load and scores_of; its parts are the one gradient
    void *gather_scores
    const int64_t *order  # the rows of X, batch after batch
    Room partial  # scores (2, strips, c, block): of this block and of the one before
    Py_ssize_t batch, blocks  # rows of a batch, and its blocks
    Py_ssize_t first, last  # blocks of the epoch that this call begins with and ends before
    const char *x_scale  # of each feature, or NULL
    const char *x_shift
    bint bias
    double l2, l1  # the penalty l2 sum(W^2) + l1 sum(|W|), without b
    double most_norm, limit  # of the gradient, and of its entries
    const double *shrinkage  # (shrink, factor) of each step's prox, or NULL
    double *penalties  # of each strip: its sum over the steps, times the rows of their batches
    double *squares  # of each strip's gradient
    void *update
    void *state[MAX_STATES]
    int states
    double t
    const double *rates
    double scalars[MAX_SCALARS]
    int strips, shares
    bint by_norm


cdef struct Columns:
    # Some strips, without b.
    Py_ssize_t start, width
    bint first  # they are the first, which b goes with


cdef Py_ssize_t rows_of_batch(Steps *job, Py_ssize_t step) noexcept nogil:
    return min(job.batch, job.loss.n - step * job.batch)


cdef Py_ssize_t rows_of_block(Steps *job, Py_ssize_t number, Py_ssize_t *start) noexcept nogil:
    # Which positions in the epoch's order; the last blocks of the last batch may have none.
    cdef Py_ssize_t inside = number % job.blocks * job.loss.block
    start[0] = number // job.blocks * job.batch + inside
    return max(<Py_ssize_t> 0, min(job.loss.block, rows_of_batch(job, number // job.blocks) - inside))


cdef Columns columns_of(Steps *job, int first, int last) noexcept nogil:
    # Strips first ... last - 1. They end with cache lines, so that no two members write to one.
    cdef Py_ssize_t d = job.loss.d
    cdef Py_ssize_t start = d * first // job.strips // 16 * 16
    return Columns(start, (d if last == job.strips else d * last // job.strips // 16 * 16) - start, first == 0)


cdef void begin_block(Steps *job, Py_ssize_t number, int strip, floating *W) noexcept nogil:
    # Fetches the strip of some rows, and what it has of their scores.
    cdef LossJob *loss = &job.loss
    cdef gather_scores_t gather_scores = <gather_scores_t> job.gather_scores
    cdef floating nothing = 0
    cdef floating *partial = <floating *> job.partial.at + (number % 2 * job.strips + strip) * job.partial.part
    cdef const floating *x_scale = <const floating *> job.x_scale
    cdef const floating *x_shift = <const floating *> job.x_shift
    cdef Columns some = columns_of(job, strip, strip + 1)
    cdef Py_ssize_t first
    cdef Py_ssize_t rows = rows_of_block(job, number, &first)
    if x_scale != NULL:
        x_scale, x_shift = x_scale + some.start, x_shift + some.start
    gather_scores(
        loss.X.at + some.start * loss.X.column, loss.X.row, job.order + first, rows, some.width, x_scale, x_shift,
        <floating *> loss.rows.at + some.start, loss.rows.ld, W + some.start, loss.by_class.ld,
        W + loss.d if some.first else &nothing, loss.by_class.ld if some.first else 0, loss.c, partial, job.partial.ld)


cdef double end_block(Steps *job, Py_ssize_t number, int share, Columns some, floating *dW) noexcept nogil:
    # Adds the strips' scores, and what these columns have of the mean gradient of the batch; the loss.
    cdef LossJob *loss = &job.loss
    cdef epilogue_t epilogue = <epilogue_t> loss.epilogue
    cdef gradient_t gradient = <gradient_t> loss.gradient
    cdef floating *scores = <floating *> loss.scores.at + share * loss.scores.part
    cdef const floating *partial = <const floating *> job.partial.at + number % 2 * job.strips * job.partial.part
    cdef Py_ssize_t ld = loss.scores.ld
    cdef floating *scratch = scores + loss.c * ld
    cdef floating *db = dW + loss.d if some.first else scratch  # the others' sums go where nobody looks
    cdef char *own_y = <char *> (scratch + max(<Py_ssize_t> 3, loss.c) * ld)
    cdef floating own_weight[MOST_BLOCK]
    cdef floating scale = <floating> (1.0 / rows_of_batch(job, number // job.blocks))
    cdef Py_ssize_t first, j, r, s
    cdef Py_ssize_t rows = rows_of_block(job, number, &first)
    cdef double value
    for r in range(rows):
        memcpy(own_y + r * loss.y_row, loss.y + job.order[first + r] * loss.y_row, loss.y_row)
        own_weight[r] = (<const floating *> loss.sample_weight)[job.order[first + r]]
    for j in range(loss.c):
        memcpy(scores + j * ld, partial + j * job.partial.ld, rows * sizeof(floating))
        for s in range(1, job.strips):
            for r in range(rows):
                scores[j * ld + r] += partial[s * job.partial.part + j * job.partial.ld + r]
    value = epilogue(scores, ld, loss.c, rows, own_y, own_weight, scratch, loss.hyper)
    for j in range(loss.c):
        for r in range(rows):
            scores[j * ld + r] *= scale
    gradient(
        <floating *> loss.rows.at + some.start, loss.rows.ld, rows, some.width, scores, ld, loss.c,
        dW + some.start, loss.parts.ld, db, loss.parts.ld if some.first else 0, NULL)
    return value


cdef void clear(Steps *job, Columns some, floating *dW) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(job.loss.c):
        memset(dW + j * job.loss.parts.ld + some.start, 0, some.width * sizeof(floating))
        if some.first:
            dW[j * job.loss.parts.ld + job.loss.d] = 0


cdef double penalise(Steps *job, const floating *w, floating *g, Py_ssize_t n) noexcept nogil:
    # Adds the penalty's gradient; its value.
    cdef floating l2 = <floating> (2.0 * job.l2)
    cdef floating l1 = <floating> job.l1
    cdef floating sign
    cdef double squares = 0
    cdef double sizes = 0
    cdef Py_ssize_t k
    if job.l2 != 0:  # each on its own: 0 times an infinite weight is NaN
        for k in range(n):
            g[k] += l2 * w[k]
        squares = job.l2 * square_rows[floating](w, n)
    if job.l1 != 0:
        for k in range(n):
            sign = 1 if w[k] > 0 else w[k]  # 0 and NaN stay
            g[k] += l1 * (-1 if w[k] < 0 else sign)
        for k in range(n):
            sizes += <double> (-w[k] if w[k] < 0 else w[k])
        sizes *= job.l1
    return squares + sizes


cdef void update_some(
        Steps *job, Py_ssize_t step, floating *w, floating *g, Py_ssize_t at, Py_ssize_t n, double scale,
        bint weights) noexcept nogil:
    cdef double scalars[MAX_SCALARS]
    cdef floating *state[MAX_STATES]
    cdef int i
    memcpy(scalars, job.scalars, sizeof(scalars))
    scalars[0] = job.rates[step]
    for i in range(job.states):
        state[i] = <floating *> job.state[i] + at
    if scale != 1 or job.limit != INFINITY:
        clip_rows[floating](g + at, g + at, n, scale, job.limit)
    (<update_t> job.update)(w + at, g + at, state, n, job.t + step, scalars)
    if weights and job.shrinkage != NULL:
        prox_rows[floating](w + at, n, job.shrinkage[2 * step], job.shrinkage[2 * step + 1])


cdef double norm_scale(Steps *job) noexcept nogil:
    # By how much the gradient is shortened, as by torch's clip_grad_norm_.
    cdef double total = 0
    cdef double scale
    cdef int i
    if not job.by_norm:
        return 1
    for i in range(job.strips):
        total += job.squares[i]
    scale = job.most_norm / (c_sqrt(total) + 1e-6)
    return 1 if scale >= 1 else scale  # a NaN stays


cdef void finish_gradient(
        Steps *job, Py_ssize_t step, int strip, const floating *W, floating *g) noexcept nogil:
    # The penalty's part of a strip, and if it will be asked for the sum of its squares.
    cdef Columns some = columns_of(job, strip, strip + 1)
    cdef Py_ssize_t ld = job.loss.by_class.ld
    cdef double penalty = 0
    cdef double squares = 0
    cdef Py_ssize_t j
    for j in range(job.loss.c):
        penalty += penalise(job, W + j * ld + some.start, g + j * ld + some.start, some.width)
        if job.by_norm:
            squares += square_rows[floating](g + j * ld + some.start, some.width)
            if some.first and job.bias:
                squares += square_rows[floating](g + j * ld + job.loss.d, 1)
    job.penalties[strip] += rows_of_batch(job, step) * penalty
    job.squares[strip] = squares


cdef void take_step(Steps *job, Py_ssize_t step, Columns some, floating *W, floating *g) noexcept nogil:
    cdef Py_ssize_t ld = job.loss.by_class.ld
    cdef double scale = norm_scale(job)
    cdef Py_ssize_t j
    for j in range(job.loss.c):
        update_some(job, step, W, g, j * ld + some.start, some.width, scale, True)
        if some.first and job.bias:
            update_some(job, step, W, g, j * ld + job.loss.d, 1, scale, False)


cdef void do_round(Steps *job, Py_ssize_t round, int phase, int share, floating *W, floating *dW) noexcept nogil:
    # End the block before, begin this one. Clipping by a norm needs a phase more, for all to know the norm.
    cdef Py_ssize_t number = job.first + round
    cdef Py_ssize_t step = (number - 1) // job.blocks
    cdef bint batch_ends = round > 0 and number % job.blocks == 0
    cdef bint last_phase = phase == job.by_norm
    cdef int first = job.strips * share // job.shares
    cdef int last = job.strips * (share + 1) // job.shares
    cdef Columns some = columns_of(job, first, last)
    cdef double value
    cdef int strip
    if round > 0 and phase == 0:
        if (number - 1) % job.blocks == 0:
            clear(job, some, dW)
        value = end_block(job, number - 1, share, some, dW)
        if share == 0:  # every share knows it
            job.loss.losses[0] += value
    if batch_ends and phase == 0 and (job.by_norm or job.l2 != 0 or job.l1 != 0):
        for strip in range(first, last):
            finish_gradient(job, step, strip, W, dW)
    if batch_ends and last_phase:
        take_step(job, step, some, W, dW)
    if last_phase and number < job.last:
        for strip in range(first, last):
            begin_block(job, number, strip, W)


cdef void do_float_round(void *job, Py_ssize_t round, int phase, int share) noexcept nogil:
    do_round(<Steps *> job, round, phase, share, <float *> (<Steps *> job).loss.by_class.at,
             <float *> (<Steps *> job).loss.parts.at)


cdef void do_double_round(void *job, Py_ssize_t round, int phase, int share) noexcept nogil:
    do_round(<Steps *> job, round, phase, share, <double *> (<Steps *> job).loss.by_class.at,
             <double *> (<Steps *> job).loss.parts.at)


cdef class Epoch:
    cdef GatherScores gather_scores
    cdef Epilogue epilogue
    cdef Gradient gradient
    cdef Update update

    def __call__(
            self, ndarray X, ndarray y, ndarray sample_weight, ndarray order, ndarray features, tuple hyper, bint bias,
            Py_ssize_t batch, Py_ssize_t first, Py_ssize_t last, Py_ssize_t t, ndarray rates, tuple others,
            tuple penalty, tuple clip, ndarray shrinkage, ndarray W, tuple state, ndarray rows, ndarray partial,
            ndarray scores, ndarray dW, ndarray losses, ndarray penalties, ndarray squares, int threads):
        cdef Steps job
        cdef team_job team
        cdef bint single = PyArray_ITEMSIZE(W) == sizeof(float)
        cdef int i
        prepare(&job.loss, self.epilogue, self.gradient, X, y, sample_weight, hyper, W, rows, scores, dW, losses)
        job.gather_scores = self.gather_scores.float_rows if single else self.gather_scores.double_rows
        job.loss.n, job.order = PyArray_DIM(order, 0), <const int64_t *> PyArray_DATA(order)
        job.partial = Room(
            PyArray_DATA(partial), PyArray_STRIDE(partial, 1) // PyArray_ITEMSIZE(partial),
            PyArray_STRIDE(partial, 2) // PyArray_ITEMSIZE(partial))
        job.batch, job.blocks = batch, (batch + job.loss.block - 1) // job.loss.block
        job.first, job.last = first, last
        job.x_scale = job.x_shift = NULL
        if PyArray_DIM(features, 0):
            job.x_scale, job.x_shift = PyArray_BYTES(features), PyArray_BYTES(features) + PyArray_STRIDE(features, 0)
        job.bias = bias
        job.l2, job.l1 = penalty
        job.limit, job.most_norm = clip
        job.by_norm = job.most_norm != INFINITY
        job.shrinkage = <const double *> PyArray_DATA(shrinkage) if PyArray_DIM(shrinkage, 0) else NULL
        job.penalties, job.squares = <double *> PyArray_DATA(penalties), <double *> PyArray_DATA(squares)
        job.update = self.update.float_rows if single else self.update.double_rows
        job.states = self.update.states
        for i in range(job.states):
            job.state[i] = PyArray_DATA(<ndarray> state[i])
        job.t, job.rates = t, <const double *> PyArray_DATA(rates)
        for i in range(min(len(others), <int> MAX_SCALARS - 1)):
            job.scalars[i + 1] = others[i]  # the first is the rate
        job.strips = <int> PyArray_DIM(squares, 0)
        job.shares = min(threads, job.strips)
        team.work = do_float_round if single else do_double_round
        team.context = &job
        team.rounds = last - first + 1
        team.phases = 2 if job.by_norm else 1
        team.items[0] = team.items[1] = job.shares
        team.threads = threads
        with nogil:
            team_run(&team)


def compose_epoch(GatherScores gather_scores, Epilogue epilogue, Gradient gradient, Update update):
    cdef Epoch kernel = Epoch()
    kernel.gather_scores = gather_scores
    kernel.epilogue = epilogue
    kernel.gradient = gradient
    kernel.update = update
    return kernel
