# The loops of the optimizers' updates. Uses common.pxi.
#
# Scalars become numbers of the arrays' type first, or one double factor would make every product double; what depends
# on t alone is computed before the loop.
#
# Where roots are taken, a loop takes LANES numbers at a time: all are read and computed with, then all are written.
# gcc vectorises such a loop without knowing whether the arrays overlap. The last n % LANES numbers are copied into
# short arrays, so that every number is computed by the same instructions, whatever its place is.

from libc.float cimport DBL_MIN, FLT_MIN
from libc.math cimport exp as c_exp, expm1, fabs, log as c_log

cdef extern from "estimate.h" nogil:
    enum:
        LANES
    void roots_float(float *x) noexcept
    void roots_double(double *x) noexcept
    void write_float(float *to, const float *x) noexcept
    void write_double(double *to, const double *x) noexcept


# ---- Pieces -----------------------------------------------------------------------------------------------

cdef class Update(Piece):
    """A step over whole arrays, contiguous and of one size and type: w, g, `states` arrays of state, scalars."""

    cdef readonly int states
    cdef readonly int scalars  # with t
    cdef readonly bint counts  # whether t comes before the hyper-parameters

    cdef int count_args(self, list args) except -1:
        self.counts = "t" in args
        self.states = args.index("t" if self.counts else "lr") - 2
        self.scalars = len(args) - 2 - self.states
        check_limit(self, "arrays of state", self.states, MAX_STATES)
        return check_limit(self, "hyper-parameters with t", self.scalars + (not self.counts), MAX_SCALARS)

    def __call__(self, w, g, *rest):
        cdef Py_buffer views[2 + MAX_STATES]
        cdef void *state[MAX_STATES]
        cdef double scalars[MAX_SCALARS]
        cdef update_t update
        cdef int held = 0
        cdef int i
        check_count(self, "arrays of state and scalars", len(rest), self.states + self.scalars)
        try:
            PyObject_GetBuffer(w, &views[0], PyBUF_WRITABLE)
            held = 1
            PyObject_GetBuffer(g, &views[1], PyBUF_SIMPLE)
            held = 2
            while held < 2 + self.states:
                PyObject_GetBuffer(rest[held - 2], &views[held], PyBUF_WRITABLE)
                held += 1
            for i in range(self.states):
                state[i] = views[2 + i].buf
            read_scalars(self, rest, self.states, scalars)
            update = <update_t> fn_of(self, views[0].itemsize == sizeof(float))
            with nogil:
                update(views[0].buf, views[1].buf, state, views[0].len // views[0].itemsize, scalars[0], scalars + 1)
        finally:
            while held:
                held -= 1
                PyBuffer_Release(&views[held])


cdef int read_scalars(Update piece, tuple values, Py_ssize_t start, double *scalars) except -1:
    # t, or 0 if the update does not count, and the hyper-parameters.
    cdef Py_ssize_t i
    cdef Py_ssize_t lr = 1 - piece.counts
    scalars[0] = 0.0
    for i in range(piece.scalars):
        scalars[lr + i] = values[start + i]
    return 0


cdef int read_state(Update piece, tuple arrays, void **state) except -1:
    cdef int i
    for i in range(piece.states):
        state[i] = PyArray_DATA(<ndarray?> arrays[i])
    return 0


# ---- Moments --------------------------------------------------------------------------------------------------

cdef inline floating normal(floating moment) noexcept nogil:
    # The moment, or 0 if it is below the smallest normal number. Where gradients stay 0, moments decay to there, and
    # stay for ever: 0.9 times 4 of the last units is rounded to 4. With such numbers processors are up to ten times as
    # slow.
    cdef floating least = FLT_MIN if floating is float else DBL_MIN
    return 0 if <floating> fabs(moment) < least else moment  # keeps a NaN


# ---- Loops of LANES numbers -----------------------------------------------------------------------------------

cdef inline void take_roots(floating *x) noexcept nogil:
    if floating is float:
        roots_float(x)
    else:
        roots_double(x)


cdef inline void write_lanes(floating *to, const floating *x) noexcept nogil:
    if floating is float:
        write_float(to, x)
    else:
        write_double(to, x)


ctypedef void (*lanes_t)(
    floating *w, const floating *g, void **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil


cdef void finish_lanes(
        lanes_t update, int states, floating *w, const floating *g, void **state, Py_ssize_t n, double t,
        const double *hyper) noexcept nogil:
    # Updates the last n % LANES numbers.
    cdef floating numbers[(MAX_STATES + 2) * LANES]
    cdef void *short_state[MAX_STATES]
    cdef Py_ssize_t start = n - n % LANES
    cdef Py_ssize_t size = (n - start) * sizeof(floating)
    cdef int i
    if start == n:
        return
    for i in range((MAX_STATES + 2) * LANES):
        numbers[i] = 0
    memcpy(numbers, w + start, size)
    memcpy(numbers + LANES, g + start, size)
    for i in range(states):
        short_state[i] = numbers + (2 + i) * LANES
        memcpy(short_state[i], <floating *> state[i] + start, size)
    update(numbers, numbers + LANES, short_state, LANES, t, hyper)
    memcpy(w + start, numbers, size)
    for i in range(states):
        memcpy(<floating *> state[i] + start, short_state[i], size)


# ---- Steps without a root -----------------------------------------------------------------------------------

cdef void sgd(
        floating *w, const floating *g, void **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil:
    cdef floating rate = <floating> hyper[0]
    cdef floating decay = <floating> hyper[1]
    cdef Py_ssize_t i
    for i in range(n):
        w[i] -= rate * (g[i] + decay * w[i])


cdef void momentum(
        floating *w, const floating *g, void **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil:
    cdef floating *v = <floating *> state[0]
    cdef floating rate = <floating> hyper[0]
    cdef floating mu = <floating> hyper[1]
    cdef floating decay = <floating> hyper[2]
    cdef Py_ssize_t i
    for i in range(n):
        v[i] = mu * normal(v[i]) + (g[i] + decay * w[i])
        w[i] -= rate * v[i]


cdef void velocity(
        floating *w, const floating *g, void **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil:
    cdef floating *v = <floating *> state[0]
    cdef floating rate = <floating> hyper[0]
    cdef floating mu = <floating> hyper[1]
    cdef floating decay = <floating> hyper[2]
    cdef Py_ssize_t i
    for i in range(n):
        v[i] = mu * normal(v[i]) - rate * (g[i] + decay * w[i])
        w[i] += v[i]


cdef void nesterov(
        floating *w, const floating *g, void **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil:
    cdef floating *v = <floating *> state[0]
    cdef floating rate = <floating> hyper[0]
    cdef floating mu = <floating> hyper[1]
    cdef floating decay = <floating> hyper[2]
    cdef floating gradient
    cdef Py_ssize_t i
    for i in range(n):
        gradient = g[i] + decay * w[i]
        v[i] = mu * normal(v[i]) + gradient
        w[i] -= rate * (gradient + mu * v[i])


cdef void lion(
        floating *w, const floating *g, void **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil:
    cdef floating *m = <floating *> state[0]
    cdef floating rate = <floating> hyper[0]
    cdef floating beta1 = <floating> hyper[1]
    cdef floating beta2 = <floating> hyper[2]
    cdef floating one_minus_beta1 = <floating> (1.0 - hyper[1])
    cdef floating one_minus_beta2 = <floating> (1.0 - hyper[2])
    cdef floating decoupled_decay = <floating> (hyper[0] * hyper[3])
    cdef floating direction, sign
    cdef Py_ssize_t i
    for i in range(n):
        direction = beta1 * m[i] + one_minus_beta1 * g[i]
        sign = 1 if direction > 0 else direction  # keeps 0 and NaN
        sign = -1 if direction < 0 else sign
        m[i] = beta2 * normal(m[i]) + one_minus_beta2 * g[i]
        w[i] = w[i] - decoupled_decay * w[i] - rate * sign


cdef void adamax(
        floating *w, const floating *g, void **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil:
    cdef floating *m = <floating *> state[0]
    cdef floating *u = <floating *> state[1]
    cdef floating rate = <floating> (hyper[0] / (1.0 - pow(hyper[1], t)))
    cdef floating beta1 = <floating> hyper[1]
    cdef floating beta2 = <floating> hyper[2]
    cdef floating one_minus_beta1 = <floating> (1.0 - hyper[1])
    cdef floating eps = <floating> hyper[3]
    cdef floating decay = <floating> hyper[4]
    cdef floating gradient, size, before
    cdef Py_ssize_t i
    for i in range(n):
        gradient = g[i] + decay * w[i]
        m[i] = beta1 * normal(m[i]) + one_minus_beta1 * gradient
        size = (-gradient if gradient < 0 else gradient) + eps
        before = beta2 * u[i]
        u[i] = before if before > size else size  # a NaN becomes the maximum
        w[i] -= rate * m[i] / u[i]


# ---- Steps divided by a root -----------------------------------------------------------------------------

cdef inline void scaled_lanes(
        floating *w, const floating *g, floating *s, Py_ssize_t n, floating rate, floating keep, floating rest,
        const double *eps_and_decay) noexcept nogil:
    # AdaGrad and RMSProp: s <- keep s + rest g^2
    cdef floating eps = <floating> eps_and_decay[0]
    cdef floating decay = <floating> eps_and_decay[1]
    cdef floating gradient[LANES]
    cdef floating squares[LANES]
    cdef floating root[LANES]
    cdef Py_ssize_t k
    cdef Py_ssize_t i = 0
    while i + LANES <= n:
        for k in range(LANES):
            gradient[k] = g[i + k] + decay * w[i + k]
            squares[k] = keep * s[i + k] + rest * gradient[k] * gradient[k]
            root[k] = squares[k]
        take_roots(root)
        for k in range(LANES):
            gradient[k] = w[i + k] - rate * gradient[k] / (root[k] + eps)
        write_lanes(s + i, squares)
        write_lanes(w + i, gradient)
        i += LANES


cdef void adagrad(
        floating *w, const floating *g, void **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil:
    scaled_lanes[floating](w, g, <floating *> state[0], n, <floating> hyper[0], 1, 1, hyper + 1)
    finish_lanes[floating](adagrad[floating], 1, w, g, state, n, t, hyper)


cdef void rmsprop(
        floating *w, const floating *g, void **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil:
    scaled_lanes[floating](
        w, g, <floating *> state[0], n, <floating> hyper[0], <floating> hyper[1], <floating> (1.0 - hyper[1]),
        hyper + 2)
    finish_lanes[floating](rmsprop[floating], 1, w, g, state, n, t, hyper)


cdef void adadelta(
        floating *w, const floating *g, void **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil:
    cdef floating *s = <floating *> state[0]
    cdef floating *u = <floating *> state[1]
    cdef floating rate = <floating> hyper[0]
    cdef floating keep = <floating> hyper[1]
    cdef floating rest = <floating> (1.0 - hyper[1])
    cdef floating eps = <floating> hyper[2]
    cdef floating decay = <floating> hyper[3]
    cdef floating delta[LANES]
    cdef floating squares[LANES]
    cdef floating recent[LANES]
    cdef floating above[LANES]
    cdef floating below[LANES]
    cdef Py_ssize_t k
    cdef Py_ssize_t i = 0
    while i + LANES <= n:
        for k in range(LANES):
            delta[k] = g[i + k] + decay * w[i + k]
            squares[k] = keep * s[i + k] + rest * delta[k] * delta[k]
            recent[k] = u[i + k]
            above[k] = recent[k] + eps
            below[k] = squares[k] + eps
        take_roots(above)
        take_roots(below)
        for k in range(LANES):
            delta[k] = delta[k] * above[k] / below[k]
            recent[k] = keep * recent[k] + rest * delta[k] * delta[k]
            delta[k] = w[i + k] - rate * delta[k]
        write_lanes(s + i, squares)
        write_lanes(u + i, recent)
        write_lanes(w + i, delta)
        i += LANES
    finish_lanes[floating](adadelta[floating], 2, w, g, state, n, t, hyper)


# ---- Adam and its variants -------------------------------------------------------------------------------

cdef struct Rates:
    double of_moment
    double of_gradient  # NAdam only
    double bias_correction2  # of v
    double decay  # in the gradient
    double decoupled_decay  # subtracted from w; 1 - decoupled_decay would be rounded to a float in every step


cdef inline void adam_lanes(
        floating *w, const floating *g, floating *m, floating *v, floating *v_max, Py_ssize_t n, Rates rates,
        const double *hyper) noexcept nogil:
    # The numerator is of_moment m + of_gradient g; v_max may be NULL, and gcc makes a separate loop for that case.
    cdef floating moment_rate = <floating> rates.of_moment
    cdef floating gradient_rate = <floating> rates.of_gradient
    cdef floating bias_correction2 = <floating> rates.bias_correction2
    cdef floating decay = <floating> rates.decay
    cdef floating decoupled_decay = <floating> rates.decoupled_decay
    cdef floating beta1 = <floating> hyper[1]
    cdef floating beta2 = <floating> hyper[2]
    cdef floating one_minus_beta1 = <floating> (1.0 - hyper[1])
    cdef floating one_minus_beta2 = <floating> (1.0 - hyper[2])
    cdef floating eps = <floating> hyper[3]
    cdef floating first[LANES]
    cdef floating second[LANES]
    cdef floating highest[LANES]
    cdef floating step[LANES]
    cdef floating root[LANES]
    cdef floating gradient, before, now
    cdef Py_ssize_t k
    cdef Py_ssize_t i = 0
    while i + LANES <= n:
        for k in range(LANES):
            gradient = g[i + k] + decay * w[i + k]
            first[k] = beta1 * normal(m[i + k]) + one_minus_beta1 * gradient
            second[k] = beta2 * v[i + k] + one_minus_beta2 * gradient * gradient
            step[k] = moment_rate * first[k] + gradient_rate * gradient
            root[k] = second[k] * bias_correction2
        if v_max != NULL:
            for k in range(LANES):
                before = v_max[i + k]
                now = second[k]
                highest[k] = before if before >= now else now  # a NaN becomes the maximum
                root[k] = highest[k] * bias_correction2
            write_lanes(v_max + i, highest)
        take_roots(root)
        for k in range(LANES):
            step[k] = w[i + k] - decoupled_decay * w[i + k] - step[k] / (root[k] + eps)
        write_lanes(m + i, first)
        write_lanes(v + i, second)
        write_lanes(w + i, step)
        i += LANES


cdef inline Rates adam_rates(double t, const double *hyper) noexcept nogil:
    # The rates of Adam.
    return Rates(hyper[0] / (1.0 - pow(hyper[1], t)), 0.0, 1.0 / (1.0 - pow(hyper[2], t)), hyper[4], 0.0)


cdef void adam(
        floating *w, const floating *g, void **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil:
    adam_lanes[floating](
        w, g, <floating *> state[0], <floating *> state[1], NULL, n, adam_rates(t, hyper), hyper)
    finish_lanes[floating](adam[floating], 2, w, g, state, n, t, hyper)


cdef void adam_almost(
        floating *w, const floating *g, void **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil:
    adam_lanes[floating](
        w, g, <floating *> state[0], <floating *> state[1], NULL, n, Rates(hyper[0], 0.0, 1.0, hyper[4], 0.0), hyper)
    finish_lanes[floating](adam_almost[floating], 2, w, g, state, n, t, hyper)


cdef void adamw(
        floating *w, const floating *g, void **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil:
    cdef Rates rates = adam_rates(t, hyper)
    rates.decay = 0.0
    rates.decoupled_decay = hyper[0] * hyper[4]
    adam_lanes[floating](w, g, <floating *> state[0], <floating *> state[1], NULL, n, rates, hyper)
    finish_lanes[floating](adamw[floating], 2, w, g, state, n, t, hyper)


cdef void amsgrad(
        floating *w, const floating *g, void **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil:
    adam_lanes[floating](
        w, g, <floating *> state[0], <floating *> state[1], <floating *> state[2], n, adam_rates(t, hyper), hyper)
    finish_lanes[floating](amsgrad[floating], 3, w, g, state, n, t, hyper)


cdef double nadam_product(double t, double beta1, double momentum_decay) noexcept nogil:
    # The product of beta1 (1 - q^i / 2) over i = 1 ... t; kernels/naive_updates.py has the formula.
    cdef double rate = momentum_decay * c_log(0.96)
    cdef double first = -expm1(rate)
    cdef double last = -expm1(t * rate)
    cdef double below = first
    cdef double above = last
    cdef double total = 0.0
    cdef double half = 1.0
    cdef int k
    if beta1 == 0 or t * c_log(beta1) < -50:  # beside 1 the product is nothing
        return 0.0
    for k in range(1, 57):
        half *= 0.5
        total += half / k * ((1.0 - below) * above / below if below > 0 else t)
        below += (1.0 - below) * first
        above += (1.0 - above) * last
    return c_exp(t * c_log(beta1) - total)


cdef void nadam(
        floating *w, const floating *g, void **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil:
    cdef Rates rates = adam_rates(t, hyper)
    cdef double now = hyper[1] * (1.0 - 0.5 * pow(0.96, t * hyper[5]))
    cdef double following = hyper[1] * (1.0 - 0.5 * pow(0.96, (t + 1.0) * hyper[5]))
    cdef double product = nadam_product(t, hyper[1], hyper[5])
    rates.of_gradient = hyper[0] * (1.0 - now) / (1.0 - product)
    rates.of_moment = hyper[0] * following / (1.0 - product * following)
    adam_lanes[floating](w, g, <floating *> state[0], <floating *> state[1], NULL, n, rates, hyper)
    finish_lanes[floating](nadam[floating], 2, w, g, state, n, t, hyper)


cdef void radam(
        floating *w, const floating *g, void **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil:
    # While v is too uncertain it is not used; the step is then a momentum step.
    cdef floating *m = <floating *> state[0]
    cdef floating *v = <floating *> state[1]
    cdef double rate = hyper[0] / (1.0 - pow(hyper[1], t))
    cdef double decayed = pow(hyper[2], t)
    cdef double last = 2.0 / (1.0 - hyper[2]) - 1.0
    cdef double rho = last - 2.0 * t * decayed / (1.0 - decayed)
    if rho <= 5.0:
        momentum_lanes[floating](w, g, m, v, n, rate, hyper)
        return
    rate *= c_sqrt((rho - 4.0) * (rho - 2.0) * last / ((last - 4.0) * (last - 2.0) * rho)) * c_sqrt(1.0 - decayed)
    adam_lanes[floating](w, g, m, v, NULL, n, Rates(rate, 0.0, 1.0, hyper[4], 0.0), hyper)
    finish_lanes[floating](radam[floating], 2, w, g, state, n, t, hyper)


cdef inline void momentum_lanes(
        floating *w, const floating *g, floating *m, floating *v, Py_ssize_t n, double rate,
        const double *hyper) noexcept nogil:
    cdef floating lr = <floating> rate
    cdef floating beta1 = <floating> hyper[1]
    cdef floating beta2 = <floating> hyper[2]
    cdef floating one_minus_beta1 = <floating> (1.0 - hyper[1])
    cdef floating one_minus_beta2 = <floating> (1.0 - hyper[2])
    cdef floating decay = <floating> hyper[4]
    cdef floating gradient
    cdef Py_ssize_t i
    for i in range(n):
        gradient = g[i] + decay * w[i]
        m[i] = beta1 * normal(m[i]) + one_minus_beta1 * gradient
        v[i] = beta2 * v[i] + one_minus_beta2 * gradient * gradient
        w[i] -= lr * m[i]


# ---- The pieces' names ----------------------------------------------------------------------------------------

cdef Piece bind_update(str name, void *float_fn, void *double_fn, str args):
    return bind(Update(), f"{name}_update", float_fn, double_fn, f"w g {args}")


sgd_update = bind_update("sgd", <void *> sgd[float], <void *> sgd[double], "lr weight_decay")
momentum_update = bind_update(
    "momentum", <void *> momentum[float], <void *> momentum[double], "v lr momentum weight_decay")
velocity_update = bind_update(
    "velocity", <void *> velocity[float], <void *> velocity[double], "v lr momentum weight_decay")
nesterov_update = bind_update(
    "nesterov", <void *> nesterov[float], <void *> nesterov[double], "v lr momentum weight_decay")
adagrad_update = bind_update("adagrad", <void *> adagrad[float], <void *> adagrad[double], "s lr eps weight_decay")
rmsprop_update = bind_update(
    "rmsprop", <void *> rmsprop[float], <void *> rmsprop[double], "s lr alpha eps weight_decay")
adadelta_update = bind_update(
    "adadelta", <void *> adadelta[float], <void *> adadelta[double], "s u lr rho eps weight_decay")
adam_update = bind_update("adam", <void *> adam[float], <void *> adam[double], "m v t lr beta1 beta2 eps weight_decay")
adam_almost_update = bind_update(
    "adam_almost", <void *> adam_almost[float], <void *> adam_almost[double], "m v lr beta1 beta2 eps weight_decay")
adamw_update = bind_update(
    "adamw", <void *> adamw[float], <void *> adamw[double], "m v t lr beta1 beta2 eps weight_decay")
amsgrad_update = bind_update(
    "amsgrad", <void *> amsgrad[float], <void *> amsgrad[double], "m v v_max t lr beta1 beta2 eps weight_decay")
nadam_update = bind_update(
    "nadam", <void *> nadam[float], <void *> nadam[double], "m v t lr beta1 beta2 eps weight_decay momentum_decay")
radam_update = bind_update(
    "radam", <void *> radam[float], <void *> radam[double], "m v t lr beta1 beta2 eps weight_decay")
adamax_update = bind_update(
    "adamax", <void *> adamax[float], <void *> adamax[double], "m u t lr beta1 beta2 eps weight_decay")
lion_update = bind_update("lion", <void *> lion[float], <void *> lion[double], "m lr beta1 beta2 weight_decay")
