# What Python sees of the loops in cython_updates.pxi, and the driver that composes clip, update and prox to a step.

from numpy cimport PyArray_SIZE


cdef class Update(Piece):
    """A step over whole arrays, contiguous and of one size and type: w, g, `states` arrays of state, scalars."""

    cdef readonly int states
    cdef readonly bint counts  # whether t comes before the hyper-parameters

    def __call__(self, w, g, *rest):
        cdef Py_buffer views[2 + MAX_STATES]
        cdef double scalars[MAX_SCALARS]
        cdef int held = 0
        try:
            PyObject_GetBuffer(w, &views[0], PyBUF_WRITABLE)
            held = 1
            PyObject_GetBuffer(g, &views[1], PyBUF_SIMPLE)
            held = 2
            while held < 2 + self.states:
                PyObject_GetBuffer(rest[held - 2], &views[held], PyBUF_WRITABLE)
                held += 1
            read_scalars(self, rest, self.states, scalars)
            if views[0].itemsize == sizeof(float):
                call_update[float](self, <float *> views[0].buf, views, scalars)
            else:
                call_update[double](self, <double *> views[0].buf, views, scalars)
        finally:
            while held:
                held -= 1
                PyBuffer_Release(&views[held])


cdef int read_scalars(Update piece, tuple values, Py_ssize_t start, double *scalars) except -1:
    # t, or 0, and the hyper-parameters.
    cdef Py_ssize_t i = not piece.counts
    scalars[0] = 0.0
    if len(values) - start + i > MAX_SCALARS:
        raise ValueError(f"an update has at most {MAX_SCALARS} scalars with t; found {values[start:]}")
    while start < len(values):
        scalars[i] = values[start]
        start += 1
        i += 1
    return 0


cdef void call_update(Update piece, floating *w, Py_buffer *views, const double *scalars) noexcept:
    cdef update_t update = <update_t> (piece.float_rows if floating is float else piece.double_rows)
    cdef const floating *g = <const floating *> views[1].buf
    cdef floating *state[MAX_STATES]
    cdef Py_ssize_t n = views[0].len // <Py_ssize_t> sizeof(floating)
    cdef int i
    for i in range(piece.states):
        state[i] = <floating *> views[2 + i].buf
    with nogil:
        update(w, g, state, n, scalars[0], scalars + 1)


cdef class Clip(Piece):
    def __call__(self, g, out, double scale, double limit):
        if out.itemsize == sizeof(float):
            call_clip[float](self, g, out, scale, limit)
        else:
            call_clip[double](self, g, out, scale, limit)


cdef class Prox(Piece):
    def __call__(self, w, double shrink, double factor):
        if w.itemsize == sizeof(float):
            call_prox[float](self, w, shrink, factor)
        else:
            call_prox[double](self, w, shrink, factor)


cdef class Squares(Piece):
    def __call__(self, g):
        return call_squares[float](self, g) if g.itemsize == sizeof(float) else call_squares[double](self, g)

    def run(self, ndarray g, ndarray sums, int threads):
        cdef SquaresJob job
        cdef team_job team
        cdef bint single = PyArray_ITEMSIZE(g) == sizeof(float)
        job.squares = self.float_rows if single else self.double_rows
        job.g, job.n = PyArray_DATA(g), PyArray_SIZE(g)
        job.sums, job.ranges = <double *> PyArray_DATA(sums), <int> PyArray_SIZE(sums)
        team.work = square_float_range if single else square_double_range
        run_ranges(&team, &job, job.ranges, threads)


cdef struct SquaresJob:
    void *squares
    const void *g
    Py_ssize_t n
    double *sums
    int ranges


cdef void square_range(SquaresJob *job, int item, const floating *g) noexcept nogil:
    cdef Py_ssize_t start = job.n * item // job.ranges
    job.sums[item] = (<squares_t> job.squares)(g + start, job.n * (item + 1) // job.ranges - start)


cdef void square_float_range(void *job, Py_ssize_t round, int phase, int item) noexcept nogil:
    square_range(<SquaresJob *> job, item, <const float *> (<SquaresJob *> job).g)


cdef void square_double_range(void *job, Py_ssize_t round, int phase, int item) noexcept nogil:
    square_range(<SquaresJob *> job, item, <const double *> (<SquaresJob *> job).g)


cdef struct StepJob:
    # What every member of the team sees.
    void *clip
    void *update
    void *prox
    void *w
    const void *g
    void *state[MAX_STATES]
    int states
    bint staged  # whether anything is done before or after the update
    Py_ssize_t n
    int ranges
    double scalars[MAX_SCALARS]
    double scale, limit, shrink, factor


cdef void step_range(StepJob *job, int item, floating *w, const floating *g) noexcept nogil:
    # A range begins at a cache line of w, so that no two members write to the same, and no load of w crosses one.
    cdef Py_ssize_t line = 64 // sizeof(floating)
    cdef Py_ssize_t head = (line - <Py_ssize_t> w % 64 // <Py_ssize_t> sizeof(floating)) % line  # before the first line
    cdef Py_ssize_t start = border(job, item, head, line)
    cdef Py_ssize_t stop = border(job, item + 1, head, line)
    cdef clip_t clip = <clip_t> job.clip
    cdef update_t update = <update_t> job.update
    cdef prox_t prox = <prox_t> job.prox
    cdef floating room[STEP_STRETCH]
    cdef floating *state[MAX_STATES]
    cdef const floating *source
    cdef Py_ssize_t width
    cdef int i
    for i in range(job.states):
        state[i] = <floating *> job.state[i] + start
    while start < stop:
        width = head if start < head else STEP_STRETCH if job.staged else stop
        width = min(width, stop - start)
        source = g + start
        if job.staged:
            clip(source, room, width, job.scale, job.limit)
            source = room
        update(w + start, source, state, width, job.scalars[0], job.scalars + 1)
        if job.staged:
            prox(w + start, width, job.shrink, job.factor)
        for i in range(job.states):
            state[i] += width
        start += width


cdef Py_ssize_t border(StepJob *job, int item, Py_ssize_t head, Py_ssize_t line) noexcept nogil:
    # Between two ranges.
    if item == 0 or item == job.ranges:
        return item // job.ranges * job.n
    return min(job.n, head + job.n * item // job.ranges // line * line)


cdef void step_float_range(void *job, Py_ssize_t round, int phase, int item) noexcept nogil:
    step_range(<StepJob *> job, item, <float *> (<StepJob *> job).w, <const float *> (<StepJob *> job).g)


cdef void step_double_range(void *job, Py_ssize_t round, int phase, int item) noexcept nogil:
    step_range(<StepJob *> job, item, <double *> (<StepJob *> job).w, <const double *> (<StepJob *> job).g)


cdef void run_ranges(team_job *team, void *job, int ranges, int threads) noexcept:
    # A member begins with its own range, the same in every step, so that its part of the arrays stays in its cache.
    team.context = job
    team.rounds = team.phases = 1
    team.items[0] = ranges
    team.threads = threads
    with nogil:
        team_run(team)


cdef class Step:
    """Clip g, update, prox of w, for one stretch of a range of the arrays after the other; ranges by a team."""

    cdef Clip clip
    cdef Update update
    cdef Prox prox

    def run(self, ndarray w, ndarray g, tuple state, tuple scalars, stages, int ranges, int threads):
        cdef StepJob job
        cdef team_job team
        cdef bint single = PyArray_ITEMSIZE(w) == sizeof(float)
        cdef int i
        job.clip = self.clip.float_rows if single else self.clip.double_rows
        job.update = self.update.float_rows if single else self.update.double_rows
        job.prox = self.prox.float_rows if single else self.prox.double_rows
        job.w, job.g, job.n = PyArray_DATA(w), PyArray_DATA(g), PyArray_SIZE(w)
        job.states = self.update.states
        for i in range(job.states):
            job.state[i] = PyArray_DATA(<ndarray> state[i])
        read_scalars(self.update, scalars, 0, job.scalars)
        job.scale, job.limit, job.shrink, job.factor = stages
        job.staged = job.scale != 1 or job.limit != INFINITY or job.shrink != 0 or job.factor != 1
        job.ranges = ranges
        team.work = step_float_range if single else step_double_range
        run_ranges(&team, &job, ranges, threads)


def compose_step(Clip clip, Update update, Prox prox):
    cdef Step kernel = Step()
    kernel.clip = clip
    kernel.update = update
    kernel.prox = prox
    return kernel.run


cdef int call_clip(Clip piece, const floating[::1] g, floating[::1] out, double scale, double limit) except -1:
    cdef clip_t clip = <clip_t> (piece.float_rows if floating is float else piece.double_rows)
    with nogil:
        clip(&g[0], &out[0], g.shape[0], scale, limit)
    return 0


cdef int call_prox(Prox piece, floating[::1] w, double shrink, double factor) except -1:
    cdef prox_t prox = <prox_t> (piece.float_rows if floating is float else piece.double_rows)
    with nogil:
        prox(&w[0], w.shape[0], shrink, factor)
    return 0


def compose_squares(Squares sum_squares):
    return sum_squares.run


cdef double call_squares(Squares piece, const floating[::1] g) except? -1:
    cdef squares_t squares = <squares_t> (piece.float_rows if floating is float else piece.double_rows)
    with nogil:
        return squares(&g[0], g.shape[0])


cdef Update bind_update(Update piece, void *float_rows, void *double_rows, str args):
    cdef list names = args.split()
    piece.counts = "t" in names
    piece.states = names.index("t" if piece.counts else "lr") - 2
    return bind(piece, float_rows, double_rows, args)


sgd_update = bind_update(Update(), <void *> sgd_rows[float], <void *> sgd_rows[double], "w g lr weight_decay")
momentum_update = bind_update(
    Update(), <void *> momentum_rows[float], <void *> momentum_rows[double], "w g v lr momentum weight_decay")
velocity_update = bind_update(
    Update(), <void *> velocity_rows[float], <void *> velocity_rows[double], "w g v lr momentum weight_decay")
nesterov_update = bind_update(
    Update(), <void *> nesterov_rows[float], <void *> nesterov_rows[double], "w g v lr momentum weight_decay")
adagrad_update = bind_update(
    Update(), <void *> adagrad_rows[float], <void *> adagrad_rows[double], "w g s lr eps weight_decay")
rmsprop_update = bind_update(
    Update(), <void *> rmsprop_rows[float], <void *> rmsprop_rows[double], "w g s lr alpha eps weight_decay")
adadelta_update = bind_update(
    Update(), <void *> adadelta_rows[float], <void *> adadelta_rows[double], "w g s u lr rho eps weight_decay")
adam_update = bind_update(
    Update(), <void *> adam_rows[float], <void *> adam_rows[double], "w g m v t lr beta1 beta2 eps weight_decay")
adam_almost_update = bind_update(
    Update(), <void *> adam_almost_rows[float], <void *> adam_almost_rows[double],
    "w g m v lr beta1 beta2 eps weight_decay")
adamw_update = bind_update(
    Update(), <void *> adamw_rows[float], <void *> adamw_rows[double], "w g m v t lr beta1 beta2 eps weight_decay")
amsgrad_update = bind_update(
    Update(), <void *> amsgrad_rows[float], <void *> amsgrad_rows[double],
    "w g m v v_max t lr beta1 beta2 eps weight_decay")
nadam_update = bind_update(
    Update(), <void *> nadam_rows[float], <void *> nadam_rows[double],
    "w g m v t lr beta1 beta2 eps weight_decay momentum_decay")
lion_update = bind_update(
    Update(), <void *> lion_rows[float], <void *> lion_rows[double], "w g m lr beta1 beta2 weight_decay")
clip_stage = bind(Clip(), <void *> clip_rows[float], <void *> clip_rows[double], "g out scale limit")
prox_stage = bind(Prox(), <void *> prox_rows[float], <void *> prox_rows[double], "w shrink factor")
sum_squares = bind(Squares(), <void *> square_rows[float], <void *> square_rows[double], "g")
