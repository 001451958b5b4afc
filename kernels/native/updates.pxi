# The loops of the optimizers' steps for Cython. Scalars become the arrays' type first, or one
# double factor would make every product double; what depends on t alone is computed before the loop.
#
# Where roots are taken, a loop takes LANES numbers at a time: all are read and computed with, then all are written.
# gcc makes vectors of that without knowing whether the arrays overlap. The numbers behind the last LANES are copied
# into short arrays, so that every number goes through the same instructions, wherever it stands.

from libc.math cimport pow
from libc.string cimport memcpy

# What a driver calls. hyper is in the row's order, lr first; t is 0 for a rule that does not count.
ctypedef void (*update_t)(
    floating *w, const floating *g, floating **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil
ctypedef void (*clip_t)(const floating *g, floating *out, Py_ssize_t n, double scale, double limit) noexcept nogil
ctypedef void (*prox_t)(floating *w, Py_ssize_t n, double shrink, double factor) noexcept nogil
ctypedef double (*squares_t)(const floating *g, Py_ssize_t n) noexcept nogil

cdef extern from "estimate.h" nogil:
    enum:
        LANES
    void roots_float(float *x) noexcept
    void roots_double(double *x) noexcept

cdef enum:
    MAX_STATES = 3  # no rule has more state
    MAX_SCALARS = 7  # no rule has more hyper-parameters, with t
    SQUARES = 16  # sums of squares side by side
    STEP_STRETCH = 2048  # numbers that are clipped, updated and shrunk while they are in L1


cdef inline void take_roots(floating *x) noexcept nogil:
    if floating is float:
        roots_float(x)
    else:
        roots_double(x)


cdef void update_rest(
        update_t update, int states, floating *w, const floating *g, floating **state, Py_ssize_t n, double t,
        const double *hyper) noexcept nogil:
    # The last n % LANES numbers.
    cdef floating room[(MAX_STATES + 2) * LANES]
    cdef floating *short_state[MAX_STATES]
    cdef Py_ssize_t start = n - n % LANES
    cdef Py_ssize_t size = (n - start) * sizeof(floating)
    cdef int i
    if start == n:
        return
    for i in range((MAX_STATES + 2) * LANES):
        room[i] = 0
    memcpy(room, w + start, size)
    memcpy(room + LANES, g + start, size)
    for i in range(states):
        short_state[i] = room + (2 + i) * LANES
        memcpy(short_state[i], state[i] + start, size)
    update(room, room + LANES, short_state, LANES, t, hyper)
    memcpy(w + start, room, size)
    for i in range(states):
        memcpy(state[i] + start, short_state[i], size)


# ---- Plain steps -----------------------------------------------------------------------------------------

cdef void sgd_rows(
        floating *w, const floating *g, floating **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil:
    cdef floating rate = <floating> hyper[0]
    cdef floating decay = <floating> hyper[1]
    cdef Py_ssize_t i
    for i in range(n):
        w[i] -= rate * (g[i] + decay * w[i])


cdef void momentum_rows(
        floating *w, const floating *g, floating **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil:
    cdef floating *v = state[0]
    cdef floating rate = <floating> hyper[0]
    cdef floating mu = <floating> hyper[1]
    cdef floating decay = <floating> hyper[2]
    cdef Py_ssize_t i
    for i in range(n):
        v[i] = mu * v[i] + (g[i] + decay * w[i])
        w[i] -= rate * v[i]


cdef void velocity_rows(
        floating *w, const floating *g, floating **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil:
    cdef floating *v = state[0]
    cdef floating rate = <floating> hyper[0]
    cdef floating mu = <floating> hyper[1]
    cdef floating decay = <floating> hyper[2]
    cdef Py_ssize_t i
    for i in range(n):
        v[i] = mu * v[i] - rate * (g[i] + decay * w[i])
        w[i] += v[i]


cdef void nesterov_rows(
        floating *w, const floating *g, floating **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil:
    cdef floating *v = state[0]
    cdef floating rate = <floating> hyper[0]
    cdef floating mu = <floating> hyper[1]
    cdef floating decay = <floating> hyper[2]
    cdef floating gradient
    cdef Py_ssize_t i
    for i in range(n):
        gradient = g[i] + decay * w[i]
        v[i] = mu * v[i] + gradient
        w[i] -= rate * (gradient + mu * v[i])


cdef void lion_rows(
        floating *w, const floating *g, floating **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil:
    cdef floating *m = state[0]
    cdef floating rate = <floating> hyper[0]
    cdef floating b1 = <floating> hyper[1]
    cdef floating b2 = <floating> hyper[2]
    cdef floating rest1 = <floating> (1.0 - hyper[1])
    cdef floating rest2 = <floating> (1.0 - hyper[2])
    cdef floating lost = <floating> (hyper[0] * hyper[3])
    cdef floating direction, sign
    cdef Py_ssize_t i
    for i in range(n):
        direction = b1 * m[i] + rest1 * g[i]
        sign = 1 if direction > 0 else direction  # 0 and NaN stay
        sign = -1 if direction < 0 else sign
        m[i] = b2 * m[i] + rest2 * g[i]
        w[i] = w[i] - lost * w[i] - rate * sign


# ---- Steps divided by a root -----------------------------------------------------------------------------

cdef inline void scaled_lanes(
        floating *w, const floating *g, floating *s, Py_ssize_t n, floating rate, floating keep, floating rest,
        floating small, floating decay) noexcept nogil:
    # AdaGrad and RMSProp: s <- keep s + rest g^2
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
            gradient[k] = w[i + k] - rate * gradient[k] / (root[k] + small)
        for k in range(LANES):
            s[i + k] = squares[k]
        for k in range(LANES):
            w[i + k] = gradient[k]
        i += LANES


cdef void adagrad_rows(
        floating *w, const floating *g, floating **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil:
    scaled_lanes[floating](w, g, state[0], n, <floating> hyper[0], 1, 1, <floating> hyper[1], <floating> hyper[2])
    update_rest[floating](adagrad_rows[floating], 1, w, g, state, n, t, hyper)


cdef void rmsprop_rows(
        floating *w, const floating *g, floating **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil:
    scaled_lanes[floating](
        w, g, state[0], n, <floating> hyper[0], <floating> hyper[1], <floating> (1.0 - hyper[1]),
        <floating> hyper[2], <floating> hyper[3])
    update_rest[floating](rmsprop_rows[floating], 1, w, g, state, n, t, hyper)


cdef void adadelta_rows(
        floating *w, const floating *g, floating **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil:
    cdef floating *s = state[0]
    cdef floating *u = state[1]
    cdef floating rate = <floating> hyper[0]
    cdef floating keep = <floating> hyper[1]
    cdef floating rest = <floating> (1.0 - hyper[1])
    cdef floating small = <floating> hyper[2]
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
            above[k] = recent[k] + small
            below[k] = squares[k] + small
        take_roots(above)
        take_roots(below)
        for k in range(LANES):
            delta[k] = delta[k] * above[k] / below[k]
            recent[k] = keep * recent[k] + rest * delta[k] * delta[k]
            delta[k] = w[i + k] - rate * delta[k]
        for k in range(LANES):
            s[i + k] = squares[k]
        for k in range(LANES):
            u[i + k] = recent[k]
        for k in range(LANES):
            w[i + k] = delta[k]
        i += LANES
    update_rest[floating](adadelta_rows[floating], 2, w, g, state, n, t, hyper)


# ---- Adam and its kin ------------------------------------------------------------------------------------

cdef struct Rates:
    double of_moment
    double of_gradient  # NAdam only
    double unbias  # of v
    double decay  # in the gradient
    double lost  # part of w: decoupled decay. 1 - lost would be rounded to a float, time and again


cdef inline void adam_lanes(
        floating *w, const floating *g, floating *m, floating *v, floating *v_max, Py_ssize_t n, Rates rates,
        const double *hyper) noexcept nogil:
    # The numerator is of_moment m + of_gradient g; v_max may be NULL.
    cdef floating moment = <floating> rates.of_moment
    cdef floating ahead = <floating> rates.of_gradient
    cdef floating unbias = <floating> rates.unbias
    cdef floating decay = <floating> rates.decay
    cdef floating lost = <floating> rates.lost
    cdef floating b1 = <floating> hyper[1]
    cdef floating b2 = <floating> hyper[2]
    cdef floating rest1 = <floating> (1.0 - hyper[1])
    cdef floating rest2 = <floating> (1.0 - hyper[2])
    cdef floating small = <floating> hyper[3]
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
            first[k] = b1 * m[i + k] + rest1 * gradient
            second[k] = b2 * v[i + k] + rest2 * gradient * gradient
            step[k] = moment * first[k] + ahead * gradient
            root[k] = second[k] * unbias
        if v_max != NULL:
            for k in range(LANES):
                before = v_max[i + k]
                now = second[k]
                highest[k] = before if before >= now else now  # a NaN gets in
                root[k] = highest[k] * unbias
            for k in range(LANES):
                v_max[i + k] = highest[k]
        take_roots(root)
        for k in range(LANES):
            step[k] = w[i + k] - lost * w[i + k] - step[k] / (root[k] + small)
        for k in range(LANES):
            m[i + k] = first[k]
        for k in range(LANES):
            v[i + k] = second[k]
        for k in range(LANES):
            w[i + k] = step[k]
        i += LANES


cdef inline Rates unbiased(double t, const double *hyper) noexcept nogil:
    # Those of Adam.
    return Rates(hyper[0] / (1.0 - pow(hyper[1], t)), 0.0, 1.0 / (1.0 - pow(hyper[2], t)), hyper[4], 0.0)


cdef void adam_rows(
        floating *w, const floating *g, floating **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil:
    adam_lanes[floating](w, g, state[0], state[1], NULL, n, unbiased(t, hyper), hyper)
    update_rest[floating](adam_rows[floating], 2, w, g, state, n, t, hyper)


cdef void adam_almost_rows(
        floating *w, const floating *g, floating **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil:
    adam_lanes[floating](w, g, state[0], state[1], NULL, n, Rates(hyper[0], 0.0, 1.0, hyper[4], 0.0), hyper)
    update_rest[floating](adam_almost_rows[floating], 2, w, g, state, n, t, hyper)


cdef void adamw_rows(
        floating *w, const floating *g, floating **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil:
    cdef Rates rates = unbiased(t, hyper)
    rates.decay = 0.0
    rates.lost = hyper[0] * hyper[4]
    adam_lanes[floating](w, g, state[0], state[1], NULL, n, rates, hyper)
    update_rest[floating](adamw_rows[floating], 2, w, g, state, n, t, hyper)


cdef void amsgrad_rows(
        floating *w, const floating *g, floating **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil:
    adam_lanes[floating](w, g, state[0], state[1], state[2], n, unbiased(t, hyper), hyper)
    update_rest[floating](amsgrad_rows[floating], 3, w, g, state, n, t, hyper)


cdef void nadam_rows(
        floating *w, const floating *g, floating **state, Py_ssize_t n, double t, const double *hyper) noexcept nogil:
    cdef Rates rates = unbiased(t, hyper)
    cdef double now = hyper[1] * (1.0 - 0.5 * pow(0.96, t * hyper[5]))
    cdef double following = hyper[1] * (1.0 - 0.5 * pow(0.96, (t + 1.0) * hyper[5]))
    cdef double step = pow(0.96, hyper[5])
    cdef double power = 1.0
    cdef double product = 1.0
    cdef double i = 0.0
    while i < t and product > 1e-20:  # beyond, 1 - product is 1
        power *= step
        product *= hyper[1] * (1.0 - 0.5 * power)
        i += 1.0
    rates.of_gradient = hyper[0] * (1.0 - now) / (1.0 - product)
    rates.of_moment = hyper[0] * following / (1.0 - product * following)
    adam_lanes[floating](w, g, state[0], state[1], NULL, n, rates, hyper)
    update_rest[floating](nadam_rows[floating], 2, w, g, state, n, t, hyper)


# ---- Before and after an update --------------------------------------------------------------------------

cdef void clip_rows(const floating *g, floating *out, Py_ssize_t n, double scale, double limit) noexcept nogil:
    cdef floating factor = <floating> scale
    cdef floating high = <floating> limit
    cdef floating x
    cdef Py_ssize_t i
    for i in range(n):
        x = factor * g[i]
        x = -high if x < -high else x  # a NaN stays
        out[i] = high if x > high else x


cdef void prox_rows(floating *w, Py_ssize_t n, double shrink, double factor) noexcept nogil:
    cdef floating high = <floating> shrink
    cdef floating ratio = <floating> factor
    cdef floating x
    cdef Py_ssize_t i
    for i in range(n):
        x = -high if w[i] < -high else w[i]
        x = high if x > high else x
        w[i] = ratio * (w[i] - x)


cdef double square_rows(const floating *g, Py_ssize_t n) noexcept nogil:
    cdef double parts[SQUARES]
    cdef double total = 0.0
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t k
    for k in range(SQUARES):
        parts[k] = 0.0
    while i + SQUARES <= n:
        for k in range(SQUARES):
            parts[k] += <double> g[i + k] * <double> g[i + k]
        i += SQUARES
    for k in range(n - i):
        parts[k] += <double> g[i + k] * <double> g[i + k]
    for k in range(SQUARES):
        total += parts[k]
    return total
