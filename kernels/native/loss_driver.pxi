# What Python sees of the loops in cython_ops.pxi: each piece on its own, for tests and for who composes them
# differently, and the driver that composes load, scores, epilogue and gradient to a loss with its gradient.

from numpy cimport (
    PyArray_BYTES, PyArray_DATA, PyArray_DIM, PyArray_ITEMSIZE, PyArray_NDIM, PyArray_STRIDE, PyArray_TYPE,
    import_array, ndarray)
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.string cimport memset

from inspect import Parameter, Signature

import_array()

cdef enum:
    MAX_HYPER = 4  # no loss has more hyper-parameters
    MOST_BLOCK = 64  # rows; fastlin/_plan.py takes fewer


# ---- Pieces: a loop for both types. The driver calls it through the pointers, Python on arrays ------------

cdef class Piece:
    cdef void *float_rows
    cdef void *double_rows
    cdef readonly object __signature__


cdef Piece bind(Piece piece, void *float_rows, void *double_rows, str args):
    piece.float_rows = float_rows
    piece.double_rows = double_rows
    piece.__signature__ = Signature([Parameter(arg, Parameter.POSITIONAL_ONLY) for arg in args.split()])
    return piece


cdef class Load(Piece):
    def __call__(self, ndarray X, ndarray rows):
        if PyArray_ITEMSIZE(rows) == sizeof(float):
            call_load(self, X, <float *> PyArray_DATA(rows), PyArray_STRIDE(rows, 0))
        else:
            call_load(self, X, <double *> PyArray_DATA(rows), PyArray_STRIDE(rows, 0))
        return X if PyArray_TYPE(X) == PyArray_TYPE(rows) else rows[:X.shape[0]]


cdef class Scores(Piece):
    def __call__(self, X, W, b, scores):
        if W.itemsize == sizeof(float):
            call_scores[float](self, X, W, b, scores)
        else:
            call_scores[double](self, X, W, b, scores)


cdef class GatherScores(Piece):
    def __call__(self, ndarray X, const int64_t[::1] order, features, rows, W, b, scores):
        if W.itemsize == sizeof(float):
            call_gather_scores[float](self, X, order, features, rows, W, b, scores)
        else:
            call_gather_scores[double](self, X, order, features, rows, W, b, scores)


cdef class Gradient(Piece):
    def __call__(self, X, dscores, dW, db):
        if dW.itemsize == sizeof(float):
            call_gradient[float](self, X, dscores, dW, db)
        else:
            call_gradient[double](self, X, dscores, dW, db)


cdef class Epilogue(Piece):
    def __call__(self, scores, y, sample_weight, scratch, *hyper):
        if scores.itemsize == sizeof(float):
            return call_epilogue[float](self, scores, y, sample_weight, scratch, hyper)
        return call_epilogue[double](self, scores, y, sample_weight, scratch, hyper)


def to_class_major(const floating[:, :] W, floating[:, :] by_class):
    with nogil:
        columns_to_class_major(
            <const char *> &W[0, 0], W.strides[0], W.strides[1], W.shape[1], 0, W.shape[0],
            &by_class[0, 0], by_class.strides[0] // <Py_ssize_t> sizeof(floating))


def combine(floating[:, :, :] parts, double scale, floating[:, :] dW):
    cdef Py_ssize_t real = sizeof(floating)
    with nogil:
        combine_columns(
            &parts[0, 0, 0], parts.shape[0], parts.strides[0] // real, parts.strides[1] // real, <floating> scale,
            <char *> &dW[0, 0], dW.strides[0], dW.strides[1], dW.shape[1], 0, dW.shape[0])


cdef void call_load(Load piece, ndarray X, floating *rows, Py_ssize_t step) noexcept:
    cdef load_t load = <load_t> (piece.float_rows if floating is float else piece.double_rows)
    cdef Py_ssize_t ldx
    load(<char *> PyArray_DATA(X), PyArray_STRIDE(X, 0), 0, PyArray_DIM(X, 0), PyArray_DIM(X, 1), rows,
         step // <Py_ssize_t> sizeof(floating), &ldx)


cdef int call_scores(
        Scores piece, const floating[:, :] X, const floating[:, :] W, const floating[:] b,
        floating[:, :] scores) except -1:
    cdef scores_t rows = <scores_t> (piece.float_rows if floating is float else piece.double_rows)
    cdef Py_ssize_t real = sizeof(floating)
    with nogil:
        rows(&X[0, 0], X.strides[0] // real, X.shape[0], X.shape[1], &W[0, 0], W.strides[0] // real,
             &b[0], b.strides[0] // real, W.shape[0], &scores[0, 0], scores.strides[0] // real, NULL)
    return 0


cdef int call_gather_scores(
        GatherScores piece, ndarray X, const int64_t[::1] order, const floating[:, ::1] features, floating[:, :] rows,
        const floating[:, :] W, const floating[:] b, floating[:, :] scores) except -1:
    cdef gather_scores_t gather = <gather_scores_t> (piece.float_rows if floating is float else piece.double_rows)
    cdef const floating *x_scale = &features[0, 0] if features.shape[0] else NULL
    cdef const floating *x_shift = &features[1, 0] if features.shape[0] else NULL
    cdef Py_ssize_t real = sizeof(floating)
    with nogil:
        gather(<char *> PyArray_DATA(X), PyArray_STRIDE(X, 0), &order[0], order.shape[0], PyArray_DIM(X, 1),
               x_scale, x_shift, &rows[0, 0], rows.strides[0] // real, &W[0, 0], W.strides[0] // real, &b[0],
               b.strides[0] // real, W.shape[0], &scores[0, 0], scores.strides[0] // real)
    return 0


cdef int call_gradient(
        Gradient piece, const floating[:, :] X, const floating[:, :] dscores, floating[:, :] dW,
        floating[:] db) except -1:
    cdef gradient_t rows = <gradient_t> (piece.float_rows if floating is float else piece.double_rows)
    cdef Py_ssize_t real = sizeof(floating)
    with nogil:
        rows(&X[0, 0], X.strides[0] // real, X.shape[0], X.shape[1], &dscores[0, 0], dscores.strides[0] // real,
             dW.shape[0], &dW[0, 0], dW.strides[0] // real, &db[0], db.strides[0] // real, NULL)
    return 0


cdef int read_hyper(tuple hyper, double *values) except -1:
    cdef Py_ssize_t i
    if len(hyper) > MAX_HYPER:
        raise ValueError(f"a loss has at most {MAX_HYPER} hyper-parameters; found {len(hyper)}")
    for i in range(len(hyper)):
        values[i] = hyper[i]
    return 0


cdef double call_epilogue(
        Epilogue piece, floating[:, :] scores, ndarray y, const floating[::1] sample_weight,
        floating[:, :] scratch, tuple hyper) except? -1:
    cdef epilogue_t rows = <epilogue_t> (piece.float_rows if floating is float else piece.double_rows)
    cdef double values[MAX_HYPER]
    read_hyper(hyper, values)
    with nogil:
        return rows(&scores[0, 0], scores.strides[0] // <Py_ssize_t> sizeof(floating), scores.shape[0], scores.shape[1],
                    PyArray_DATA(y), &sample_weight[0], &scratch[0, 0], values)


dense_load = bind(Load(), <void *> dense_load_rows[float], <void *> dense_load_rows[double], "X rows")
uint8_load = bind(Load(), <void *> uint8_load_rows[float], <void *> uint8_load_rows[double], "X rows")
dense_scores = bind(
    Scores(), <void *> dense_scores_rows_float, <void *> dense_scores_rows_double, "X W b scores")
dense_gather_scores = bind(
    GatherScores(), <void *> dense_gather_scores_rows[float], <void *> dense_gather_scores_rows[double],
    "X order features rows W b scores")
uint8_gather_scores = bind(
    GatherScores(), <void *> uint8_gather_scores_rows[float], <void *> uint8_gather_scores_rows[double],
    "X order features rows W b scores")
dense_gradient = bind(
    Gradient(), <void *> dense_gradient_rows_float, <void *> dense_gradient_rows_double, "X dscores dW db")
softmax_epilogue = bind(
    Epilogue(), <void *> softmax_rows[float], <void *> softmax_rows[double],
    "scores y sample_weight scratch label_smoothing")
svm_epilogue = bind(
    Epilogue(), <void *> svm_rows[float], <void *> svm_rows[double], "scores y sample_weight scratch margin")
squared_svm_epilogue = bind(
    Epilogue(), <void *> squared_svm_rows[float], <void *> squared_svm_rows[double],
    "scores y sample_weight scratch margin")
crammer_singer_svm_epilogue = bind(
    Epilogue(), <void *> crammer_singer_svm_rows[float], <void *> crammer_singer_svm_rows[double],
    "scores y sample_weight scratch margin")
one_vs_rest_svm_epilogue = bind(
    Epilogue(), <void *> one_vs_rest_svm_rows[float], <void *> one_vs_rest_svm_rows[double],
    "scores targets sample_weight scratch margin")
squared_one_vs_rest_svm_epilogue = bind(
    Epilogue(), <void *> squared_one_vs_rest_svm_rows[float], <void *> squared_one_vs_rest_svm_rows[double],
    "scores targets sample_weight scratch margin")
logistic_epilogue = bind(
    Epilogue(), <void *> logistic_rows[float], <void *> logistic_rows[double],
    "scores targets sample_weight scratch")
sigmoid_squared_epilogue = bind(
    Epilogue(), <void *> sigmoid_squared_rows[float], <void *> sigmoid_squared_rows[double],
    "scores targets sample_weight scratch")
squared_error_epilogue = bind(
    Epilogue(), <void *> squared_error_rows[float], <void *> squared_error_rows[double],
    "scores targets sample_weight scratch")
absolute_error_epilogue = bind(
    Epilogue(), <void *> absolute_error_rows[float], <void *> absolute_error_rows[double],
    "scores targets sample_weight scratch")


# ---- The driver: the same three phases as in compose.py ---------------------------------------------------

cdef extern from "team.h" nogil:
    ctypedef struct team_job:
        void (*work)(void *context, Py_ssize_t round, int phase, int item) noexcept
        void *context
        Py_ssize_t rounds
        int phases
        int *items
        int threads
    void team_run(team_job *job) noexcept


cdef struct Matrix:
    char *at
    Py_ssize_t row  # from one row to the next, in bytes
    Py_ssize_t column


cdef struct Room:
    void *at
    Py_ssize_t part  # from one part's to the next, in numbers
    Py_ssize_t ld


cdef struct LossJob:
    # What every member of the team sees.
    void *load
    void *scores_of
    void *epilogue
    void *gradient
    Py_ssize_t n, d, c
    Py_ssize_t columns  # of the class-major W that the caller's has: d, and b's if it has one
    Matrix X, W, dW
    const char *y  # labels, or rows of targets
    Py_ssize_t y_row  # from one row's to the next, in bytes
    const char *sample_weight
    double hyper[MAX_HYPER]
    double scale
    Room by_class, rows, scores, parts
    double *losses
    Py_ssize_t block
    Py_ssize_t lap, laps  # this call's share of every part
    int count, strips  # how many parts, and how many strips of columns W and dW are copied in
    int skipped  # phases: only the first lap reads W


cdef void strip_of(LossJob *job, int strip, Py_ssize_t *start, Py_ssize_t *stop) noexcept nogil:
    # Whole cache lines, so that no two members write to one.
    start[0] = job.columns * strip // job.strips // 16 * 16
    stop[0] = job.columns if strip + 1 == job.strips else job.columns * (strip + 1) // job.strips // 16 * 16


cdef inline Py_ssize_t lap_start(LossJob *job, Py_ssize_t part, Py_ssize_t lap) noexcept nogil:
    # The first row of the part in this lap.
    cdef Py_ssize_t first = job.n * part // job.count
    return first + (job.n * (part + 1) // job.count - first) * lap // job.laps


cdef void lap_rows(LossJob *job, int part, floating *parts) noexcept nogil:
    # Adds the gradient and the loss of this lap's rows to the part's, which begin at zero.
    cdef load_t load = <load_t> job.load
    cdef scores_t scores_of = <scores_t> job.scores_of
    cdef epilogue_t epilogue = <epilogue_t> job.epilogue
    cdef gradient_t gradient = <gradient_t> job.gradient
    cdef const floating *W = <const floating *> job.by_class.at
    cdef const floating *weight = <const floating *> job.sample_weight
    cdef const floating *floats
    cdef floating *dW = parts + part * job.parts.part
    cdef floating *buffer = <floating *> job.rows.at + part * job.rows.part
    cdef floating *scores = <floating *> job.scores.at + part * job.scores.part
    cdef Py_ssize_t c = job.c
    cdef Py_ssize_t d = job.d
    cdef Py_ssize_t ld = job.scores.ld
    cdef Py_ssize_t start = lap_start(job, part, job.lap)
    cdef Py_ssize_t stop = lap_start(job, part, job.lap + 1)
    cdef Py_ssize_t following = lap_start(job, part + 1, job.lap) if part + 1 < job.count else stop  # likely ours too
    cdef Py_ssize_t rows, after, ldx
    cdef bint near = 0 < job.X.row < 2 * d * job.X.column  # what lies between rows would be fetched too
    cdef Ahead soon
    cdef double loss = 0
    if job.lap == 0:
        memset(dW, 0, c * job.parts.ld * sizeof(floating))
    while start < stop:
        rows = min(job.block, stop - start)
        floats = load(job.X.at, job.X.row, start, rows, d, buffer, job.rows.ld, &ldx)
        after = start + rows if start + rows < stop else following
        soon = Ahead(job.X.at + after * job.X.row, min(job.block, job.n - after) * job.X.row if near else 0)
        scores_of(floats, ldx, rows, d, W, job.by_class.ld, W + d, job.by_class.ld, c, scores, ld, &soon)
        loss += epilogue(
            scores, ld, c, rows, job.y + start * job.y_row, weight + start, scores + c * ld, job.hyper)
        gradient(floats, ldx, rows, d, scores, ld, c, dW, job.parts.ld, dW + d, job.parts.ld, &soon)
        start += rows
    job.losses[part] = loss if job.lap == 0 else job.losses[part] + loss


cdef void do_phase(LossJob *job, int phase, int item, floating *parts) noexcept nogil:
    cdef floating *W = <floating *> job.by_class.at
    cdef Py_ssize_t start, stop, j
    if phase == 1:
        lap_rows(job, item, parts)
        return
    strip_of(job, item, &start, &stop)
    if phase == 0:
        columns_to_class_major(job.W.at, job.W.row, job.W.column, job.c, start, stop, W, job.by_class.ld)
        if item == 0 and job.columns == job.d:
            for j in range(job.c):
                W[j * job.by_class.ld + job.d] = 0
    else:
        combine_columns(
            parts, job.count, job.parts.part, job.parts.ld, <floating> job.scale, job.dW.at, job.dW.row, job.dW.column,
            job.c, start, stop)


cdef void do_float_phase(void *job, Py_ssize_t round, int phase, int item) noexcept nogil:
    do_phase(<LossJob *> job, phase + (<LossJob *> job).skipped, item, <float *> (<LossJob *> job).parts.at)


cdef void do_double_phase(void *job, Py_ssize_t round, int phase, int item) noexcept nogil:
    do_phase(<LossJob *> job, phase + (<LossJob *> job).skipped, item, <double *> (<LossJob *> job).parts.at)


# Arrays are looked into, not asked for a buffer each: ten of those cost as much as a small batch.
cdef int prepare(
        LossJob *job, Epilogue epilogue, Gradient gradient, ndarray X, ndarray y, ndarray sample_weight, tuple hyper,
        ndarray by_class, ndarray rows, ndarray scores, ndarray parts, ndarray losses) except -1:
    cdef bint single = PyArray_ITEMSIZE(by_class) == sizeof(float)
    read_hyper(hyper, job.hyper)
    job.epilogue = epilogue.float_rows if single else epilogue.double_rows
    job.gradient = gradient.float_rows if single else gradient.double_rows
    job.n, job.d, job.c = PyArray_DIM(X, 0), PyArray_DIM(X, 1), PyArray_DIM(by_class, 0)
    job.X = matrix(X)
    job.y, job.y_row = PyArray_BYTES(y), PyArray_STRIDE(y, 0)
    job.sample_weight = PyArray_BYTES(sample_weight)
    job.by_class, job.rows, job.scores, job.parts = room(by_class), room(rows), room(scores), room(parts)
    job.losses = <double *> PyArray_DATA(losses)
    job.block, job.count = min(<Py_ssize_t> MOST_BLOCK, PyArray_DIM(scores, 2)), <int> PyArray_DIM(parts, 0)
    return 0


cdef class LossGrad:
    cdef Load load
    cdef Scores scores_of
    cdef Epilogue epilogue
    cdef Gradient gradient

    def __call__(self, ndarray X, ndarray W, ndarray y, ndarray sample_weight, tuple hyper, double scale,
                 ndarray by_class, ndarray rows, ndarray scores, ndarray parts, ndarray losses, ndarray dW,
                 Py_ssize_t lap, Py_ssize_t laps, int threads):
        cdef LossJob job
        cdef bint single = PyArray_ITEMSIZE(by_class) == sizeof(float)
        prepare(
            &job, self.epilogue, self.gradient, X, y, sample_weight, hyper, by_class, rows, scores, parts, losses)
        job.load = self.load.float_rows if single else self.load.double_rows
        job.scores_of = self.scores_of.float_rows if single else self.scores_of.double_rows
        job.columns = PyArray_DIM(W, 0)
        job.W, job.dW = matrix(W), matrix(dW)
        job.scale, job.lap, job.laps = scale, lap, laps
        job.strips = <int> max(1, min(<Py_ssize_t> 16, job.columns // STRETCH))
        with nogil:
            run_lap(&job, do_float_phase if single else do_double_phase, threads)


cdef void run_lap(LossJob *job, void (*work)(void *, Py_ssize_t, int, int) noexcept nogil, int threads) noexcept nogil:
    cdef team_job team
    job.skipped = 0 if job.lap == 0 else 1
    team.work = work
    team.context = job
    team.rounds = 1
    team.phases = (3 if job.lap == job.laps - 1 else 2) - job.skipped
    team.items[0] = job.strips
    team.items[1 - job.skipped] = job.count
    team.items[2 - job.skipped] = job.strips
    team.threads = threads
    team_run(&team)


cdef inline Matrix matrix(ndarray A) noexcept:
    return Matrix(<char *> PyArray_DATA(A), PyArray_STRIDE(A, 0), PyArray_STRIDE(A, 1))


cdef inline Room room(ndarray A) noexcept:
    cdef Py_ssize_t size = PyArray_ITEMSIZE(A)
    if PyArray_NDIM(A) == 2:
        return Room(PyArray_DATA(A), 0, PyArray_STRIDE(A, 0) // size)
    return Room(PyArray_DATA(A), PyArray_STRIDE(A, 0) // size, PyArray_STRIDE(A, 1) // size)


def compose(Load load, Scores scores_of, Epilogue epilogue, Gradient gradient):
    cdef LossGrad kernel = LossGrad()
    kernel.load = load
    kernel.scores_of = scores_of
    kernel.epilogue = epilogue
    kernel.gradient = gradient
    return kernel
