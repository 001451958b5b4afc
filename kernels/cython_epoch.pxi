# The steps of an epoch in one call. The driver is the same as compose_epoch in compose.py.
#
# W, its gradient and the optimizer's state are class-major, (c, d + 1) with b as the last column, all of one shape.
# Each strip of their columns belongs to one member of the team, which alone reads and writes it: it adds up its
# part of the scores of a block of rows, and when all have, it knows the scores and adds its part of the gradient.
# All that members tell each other are these few scores; shares of the rows instead would make every one of them
# fetch what the others have done to W, in every step.

cdef struct Steps:
    LossJob loss  # its parts are the one gradient
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
    int strips
    bint by_norm


cdef Py_ssize_t rows_of_batch(Steps *job, Py_ssize_t step) noexcept nogil:
    return min(job.batch, job.loss.n - step * job.batch)


cdef Py_ssize_t rows_of_block(Steps *job, Py_ssize_t number, Py_ssize_t *start) noexcept nogil:
    # Which positions in the epoch's order; the last blocks of the last batch may have none.
    cdef Py_ssize_t inside = number % job.blocks * job.loss.block
    start[0] = number // job.blocks * job.batch + inside
    return max(<Py_ssize_t> 0, min(job.loss.block, rows_of_batch(job, number // job.blocks) - inside))


cdef Py_ssize_t columns_of_strip(Steps *job, int strip, Py_ssize_t *start) noexcept nogil:
    # Whole cache lines, so that no two members write to one; without b.
    cdef Py_ssize_t d = job.loss.d
    start[0] = d * strip // job.strips // 16 * 16
    return (d if strip + 1 == job.strips else d * (strip + 1) // job.strips // 16 * 16) - start[0]


cdef void map_rows(
        floating *rows, Py_ssize_t count, Py_ssize_t width, Py_ssize_t ld, const floating *scale,
        const floating *shift) noexcept nogil:
    cdef Py_ssize_t r, k
    for r in range(count):
        for k in range(width):
            rows[r * ld + k] = rows[r * ld + k] * scale[k] + shift[k]


cdef void begin_block(Steps *job, Py_ssize_t number, int strip, floating *W) noexcept nogil:
    # Fetches the strip of some rows, and what it has of their scores.
    cdef LossJob *loss = &job.loss
    cdef load_t gather = <load_t> loss.load
    cdef scores_t scores_of = <scores_t> loss.scores_of
    cdef floating nothing = 0
    cdef floating *room = <floating *> loss.rows.at + strip * loss.rows.part
    cdef floating *partial = <floating *> job.partial.at + (number % 2 * job.strips + strip) * job.partial.part
    cdef Py_ssize_t first, start, ldx
    cdef Py_ssize_t rows = rows_of_block(job, number, &first)
    cdef Py_ssize_t width = columns_of_strip(job, strip, &start)
    cdef bint with_b = strip == 0
    gather(loss.X.at + start * loss.X.column, loss.X.row, loss.order, first, rows, width, room, loss.rows.ld, &ldx)
    if job.x_scale != NULL:
        map_rows(room, rows, width, ldx, <const floating *> job.x_scale + start, <const floating *> job.x_shift + start)
    scores_of(
        room, ldx, rows, width, W + start, loss.by_class.ld, W + loss.d if with_b else &nothing,
        loss.by_class.ld if with_b else 0, loss.c, partial, job.partial.ld, NULL)


cdef double end_block(Steps *job, Py_ssize_t number, int strip, floating *dW) noexcept nogil:
    # Adds the strips' scores, and what the strip has of the gradient; the loss.
    cdef LossJob *loss = &job.loss
    cdef epilogue_t epilogue = <epilogue_t> loss.epilogue
    cdef gradient_t gradient = <gradient_t> loss.gradient
    cdef floating *scores = <floating *> loss.scores.at + strip * loss.scores.part
    cdef const floating *partial = <const floating *> job.partial.at + number % 2 * job.strips * job.partial.part
    cdef const floating *weight = <const floating *> loss.sample_weight
    cdef floating *db = dW + loss.d
    cdef floating own_weight[MOST_BLOCK]
    cdef int32_t own_y[MOST_BLOCK]
    cdef Py_ssize_t ld = loss.scores.ld
    cdef Py_ssize_t first, start, j, r, s
    cdef Py_ssize_t rows = rows_of_block(job, number, &first)
    cdef Py_ssize_t width = columns_of_strip(job, strip, &start)
    cdef double value
    for j in range(loss.c):
        memcpy(scores + j * ld, partial + j * job.partial.ld, rows * sizeof(floating))
        for s in range(1, job.strips):
            for r in range(rows):
                scores[j * ld + r] += partial[s * job.partial.part + j * job.partial.ld + r]
    for r in range(rows):
        own_y[r] = (<const int32_t *> loss.y)[loss.order[first + r]]
        own_weight[r] = weight[loss.order[first + r]]
    value = epilogue(scores, ld, loss.c, rows, own_y, own_weight, scores + loss.c * ld, loss.hyper)
    if strip > 0:  # b is the first strip's; the others' sums go where nobody looks
        db = scores + loss.c * ld
    gradient(
        <floating *> loss.rows.at + strip * loss.rows.part, loss.rows.ld, rows, width, scores, ld, loss.c,
        dW + start, loss.parts.ld, db, loss.parts.ld if strip == 0 else 0, NULL)
    return value


cdef void clear_strip(Steps *job, int strip, floating *dW) noexcept nogil:
    cdef Py_ssize_t start, j
    cdef Py_ssize_t width = columns_of_strip(job, strip, &start)
    for j in range(job.loss.c):
        memset(dW + j * job.loss.parts.ld + start, 0, width * sizeof(floating))
        if strip == 0:
            dW[j * job.loss.parts.ld + job.loss.d] = 0


cdef double finish_gradient(
        Steps *job, Py_ssize_t step, int strip, const floating *w, floating *g, Py_ssize_t n,
        bint weights) noexcept nogil:
    # g = the mean gradient of the batch, with the penalty's if these are weights; the sum of its squares.
    cdef Py_ssize_t rows = rows_of_batch(job, step)
    cdef floating scale = <floating> (1.0 / rows)
    cdef floating l2 = <floating> (2.0 * job.l2)
    cdef floating l1 = <floating> job.l1
    cdef floating sign
    cdef double squares = 0
    cdef double sizes = 0
    cdef Py_ssize_t k
    for k in range(n):
        g[k] *= scale
    if weights and (job.l2 != 0 or job.l1 != 0):
        for k in range(n):
            sign = 1 if w[k] > 0 else w[k]  # 0 and NaN stay
            sign = -1 if w[k] < 0 else sign
            g[k] += l2 * w[k] + l1 * sign
        for k in range(n):
            squares += <double> w[k] * <double> w[k]
            sizes += <double> (-w[k] if w[k] < 0 else w[k])
        job.penalties[strip] += rows * (job.l2 * squares + job.l1 * sizes)
    return square_rows[floating](g, n) if job.by_norm else 0


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


cdef void end_batch(
        Steps *job, Py_ssize_t step, int strip, bint finishing, bint updating, floating *W, floating *g) noexcept nogil:
    # The strip of each class's weights, and the first strip's of b.
    cdef Py_ssize_t ld = job.loss.by_class.ld
    cdef Py_ssize_t start, j
    cdef Py_ssize_t width = columns_of_strip(job, strip, &start)
    cdef double scale = norm_scale(job) if updating else 1
    cdef double squares = 0
    for j in range(job.loss.c):
        if finishing:
            squares += finish_gradient(job, step, strip, W + j * ld + start, g + j * ld + start, width, True)
        if updating:
            update_some(job, step, W, g, j * ld + start, width, scale, True)
        if strip == 0 and job.bias:
            if finishing:
                squares += finish_gradient(job, step, strip, W + j * ld + job.loss.d, g + j * ld + job.loss.d, 1, False)
            if updating:
                update_some(job, step, W, g, j * ld + job.loss.d, 1, scale, False)
    if finishing:
        job.squares[strip] = squares


cdef void do_round(Steps *job, Py_ssize_t round, int phase, int strip, floating *W, floating *dW) noexcept nogil:
    # End the block before, begin this one. Clipping by a norm needs a phase more, for all to know the norm.
    cdef Py_ssize_t number = job.first + round
    cdef Py_ssize_t step = (number - 1) // job.blocks
    cdef bint batch_ends = round > 0 and number % job.blocks == 0
    cdef double value
    if round > 0 and phase == 0:
        if (number - 1) % job.blocks == 0:
            clear_strip(job, strip, dW)
        value = end_block(job, number - 1, strip, dW)
        if strip == 0:
            job.loss.losses[0] += value
    if batch_ends:
        end_batch(job, step, strip, phase == 0, phase == 1 or not job.by_norm, W, dW)
    if (phase == 1 or not job.by_norm) and number < job.last:
        begin_block(job, number, strip, W)


cdef void do_float_round(void *job, Py_ssize_t round, int phase, int strip) noexcept nogil:
    do_round(<Steps *> job, round, phase, strip, <float *> (<Steps *> job).loss.by_class.at,
             <float *> (<Steps *> job).loss.parts.at)


cdef void do_double_round(void *job, Py_ssize_t round, int phase, int strip) noexcept nogil:
    do_round(<Steps *> job, round, phase, strip, <double *> (<Steps *> job).loss.by_class.at,
             <double *> (<Steps *> job).loss.parts.at)


cdef class Epoch:
    cdef LossGrad loss
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
        self.loss.prepare(&job.loss, X, y, sample_weight, hyper, W, rows, scores, dW, losses)
        job.loss.n = PyArray_DIM(order, 0)
        job.loss.order = <const int64_t *> PyArray_DATA(order)
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
        team.work = do_float_round if single else do_double_round
        team.context = &job
        team.rounds = last - first + 1
        team.phases = 2 if job.by_norm else 1
        team.items[0] = team.items[1] = job.strips
        team.threads = threads
        with nogil:
            team_run(&team)


def compose_epoch(Gather gather, Scores scores_of, Epilogue epilogue, Gradient gradient, Update update):
    cdef Epoch kernel = Epoch()
    kernel.loss = compose(gather, scores_of, epilogue, gradient)
    kernel.update = update
    return kernel
