# The epilogues of the losses: each replaces scores by the weighted d(loss)/d(scores) and returns the weighted loss.
# Every loop runs along the rows of a block, a vector of them at a time. Uses common.pxi.

cdef extern from "elementary.h" nogil:
    float exp_float(float x) noexcept
    double exp_double(double x) noexcept
    float log_float(float x) noexcept
    double log_double(double x) noexcept
    float log1p_float(float x) noexcept
    double log1p_double(double x) noexcept


cdef inline floating exp_of(floating x) noexcept nogil:
    return exp_float(x) if floating is float else exp_double(x)


cdef inline floating log_of(floating x) noexcept nogil:
    return log_float(x) if floating is float else log_double(x)


cdef inline floating log1p_of(floating x) noexcept nogil:
    return log1p_float(x) if floating is float else log1p_double(x)


cdef inline floating probability(floating exponent) noexcept nogil:
    # exp of an exponent <= 0; NaN for NaN. Probabilities below 1e-30 (1e-290) are 0: subnormal gradients would slow
    # every product with them tenfold.
    cdef floating least = -69 if floating is float else -667
    cdef floating counts = 0 if exponent < least else 1  # a factor: out of a condition gcc takes exp of all exponents
    return counts * exp_of(least if exponent < least else exponent)


def exp(const floating[::1] x, floating[::1] out):
    cdef Py_ssize_t i
    with nogil:
        for i in range(x.shape[0]):
            out[i] = exp_of(x[i])


def log1p(const floating[::1] x, floating[::1] out):
    cdef Py_ssize_t i
    with nogil:
        for i in range(x.shape[0]):
            out[i] = log1p_of(x[i])


# ---- Pieces -----------------------------------------------------------------------------------------------

cdef class Epilogue(Piece):
    cdef Py_ssize_t hyper_count

    cdef int count_args(self, list args) except -1:
        self.hyper_count = len(args) - 4  # after scores, y, sample_weight and scratch
        return check_limit(self, "hyper-parameters", self.hyper_count, MAX_HYPER)

    def __call__(self, ndarray scores, ndarray y, ndarray sample_weight, ndarray scratch, *hyper):
        cdef epilogue_t epilogue = <epilogue_t> fn_of(self, is_single(scores))
        cdef double values[MAX_HYPER]
        cdef ScoreBlock block
        cdef double loss
        check_count(self, "hyper-parameters", len(hyper), self.hyper_count)
        read_hyper(self, hyper, values)
        block.c, block.rows, block.stride = PyArray_DIM(scores, 0), PyArray_DIM(scores, 1), stride_of(scores)
        block.y, block.sample_weight = PyArray_DATA(y), PyArray_DATA(sample_weight)
        block.scratch, block.hyper = PyArray_DATA(scratch), &values[0]
        with nogil:
            loss = epilogue(PyArray_DATA(scores), &block)
        return loss


cdef int read_hyper(Epilogue piece, tuple hyper, double *values) except -1:
    cdef Py_ssize_t i
    for i in range(MAX_HYPER):
        values[i] = hyper[i] if i < piece.hyper_count else 0.0
    return 0


cdef Epilogue bind_epilogue(str name, void *float_fn, void *double_fn, str y, str hyper):
    return bind(
        Epilogue(), f"{name}_epilogue", float_fn, double_fn, f"scores {y} sample_weight scratch {hyper}")


# ---- Losses by row: y are labels, but for soft_softmax ------------------------------------------------------

cdef double softmax(floating *scores, const ScoreBlock *block) noexcept nogil:
    cdef Py_ssize_t rows = block.rows
    cdef Py_ssize_t stride = block.stride
    cdef Py_ssize_t c = block.c
    cdef const int32_t *y = <const int32_t *> block.y
    cdef const floating *sample_weight = <const floating *> block.sample_weight
    cdef floating off_value = <floating> (block.hyper[0] / c)  # the target of the other classes; label_smoothing
    cdef floating on_value = <floating> (1.0 - block.hyper[0])  # added to the target of the row's own class
    cdef floating *row_max = <floating *> block.scratch
    cdef floating *z = row_max + rows
    cdef floating *target_logit = row_max + 2 * rows
    cdef floating *s
    cdef floating shifted
    cdef Py_ssize_t j, r
    cdef double loss = 0.0
    for r in range(rows):
        row_max[r] = scores[r]
        z[r] = 0
    for j in range(1, c):
        s = scores + j * stride
        for r in range(rows):
            row_max[r] = s[r] if s[r] > row_max[r] else row_max[r]
    for r in range(rows):
        target_logit[r] = on_value * (scores[y[r] * stride + r] - row_max[r])
    for j in range(c):
        s = scores + j * stride
        for r in range(rows):
            shifted = s[r] - row_max[r]
            target_logit[r] += off_value * shifted if off_value != 0 else 0  # 0 * -inf would be NaN
            s[r] = probability(shifted)
            z[r] += s[r]
    for r in range(rows):
        target_logit[r] = log_of(z[r]) - target_logit[r]
        z[r] = sample_weight[r] / z[r]
    for j in range(c):
        s = scores + j * stride
        for r in range(rows):
            s[r] = s[r] * z[r] - off_value * sample_weight[r]
    for r in range(rows):
        scores[y[r] * stride + r] -= on_value * sample_weight[r]
        loss += <double> sample_weight[r] * <double> target_logit[r]
    return loss


cdef double soft_softmax(floating *scores, const ScoreBlock *block) noexcept nogil:
    # The same for a target of each class.
    cdef Py_ssize_t rows = block.rows
    cdef Py_ssize_t c = block.c
    cdef const floating *targets = <const floating *> block.y
    cdef const floating *sample_weight = <const floating *> block.sample_weight
    cdef floating off_value = <floating> (block.hyper[0] / c)
    cdef floating on_value = <floating> (1.0 - block.hyper[0])
    cdef floating *row_max = <floating *> block.scratch
    cdef floating *z = row_max + rows
    cdef floating *target_logit = row_max + 2 * rows
    cdef floating *total = row_max  # the sum of a row's targets, once its largest score is not needed any more
    cdef floating *s
    cdef floating shifted, goal
    cdef Py_ssize_t j, r
    cdef double loss = 0.0
    for r in range(rows):
        row_max[r] = scores[r]
        z[r] = 0
        target_logit[r] = 0
    for j in range(1, c):
        s = scores + j * block.stride
        for r in range(rows):
            row_max[r] = s[r] if s[r] > row_max[r] else row_max[r]
    for j in range(c):
        s = scores + j * block.stride
        for r in range(rows):
            goal = on_value * targets[r * c + j] + off_value
            target_logit[r] += 0 if goal == 0 else goal * (s[r] - row_max[r])  # 0 * -inf would be NaN
        for r in range(rows):
            shifted = s[r] - row_max[r]
            s[r] = probability(shifted)
            z[r] += s[r]
    for r in range(rows):
        total[r] = c * off_value
        for j in range(c):
            total[r] += on_value * targets[r * c + j]
        loss += <double> sample_weight[r] * <double> (total[r] * log_of(z[r]) - target_logit[r])
        z[r] = sample_weight[r] * total[r] / z[r]
    for j in range(c):
        s = scores + j * block.stride
        for r in range(rows):
            s[r] = s[r] * z[r] - (on_value * targets[r * c + j] + off_value) * sample_weight[r]
    return loss


cdef double svm(floating *scores, const ScoreBlock *block) noexcept nogil:
    cdef Py_ssize_t rows = block.rows
    cdef Py_ssize_t stride = block.stride
    cdef const int32_t *y = <const int32_t *> block.y
    cdef const floating *sample_weight = <const floating *> block.sample_weight
    cdef floating *required = <floating *> block.scratch
    cdef floating *total = required + rows
    cdef floating *slope = required + 2 * rows
    cdef floating *s
    cdef floating v
    cdef bint satisfied
    cdef Py_ssize_t j, r
    cdef double loss = 0.0
    start_hinge(scores, block, required, total, slope)
    for j in range(block.c):
        s = scores + j * stride
        for r in range(rows):
            v = s[r] - required[r]
            satisfied = (v <= 0) | (y[r] == <int32_t> j)  # false for a NaN: it must reach the loss
            s[r] = 0 if satisfied else sample_weight[r]
            total[r] += 0 if satisfied else v
            slope[r] += s[r]
    for r in range(rows):
        scores[y[r] * stride + r] = -slope[r]
        loss += <double> sample_weight[r] * <double> total[r]
    return loss


cdef double squared_svm(floating *scores, const ScoreBlock *block) noexcept nogil:
    cdef Py_ssize_t rows = block.rows
    cdef Py_ssize_t stride = block.stride
    cdef const int32_t *y = <const int32_t *> block.y
    cdef const floating *sample_weight = <const floating *> block.sample_weight
    cdef floating *required = <floating *> block.scratch
    cdef floating *total = required + rows
    cdef floating *slope = required + 2 * rows
    cdef floating *s
    cdef floating v
    cdef Py_ssize_t j, r
    cdef double loss = 0.0
    start_hinge(scores, block, required, total, slope)
    for j in range(block.c):
        s = scores + j * stride
        for r in range(rows):
            v = s[r] - required[r]
            v = 0 if (v <= 0) | (y[r] == <int32_t> j) else v
            s[r] = 2 * v * sample_weight[r]
            total[r] += v * v
            slope[r] += s[r]
    for r in range(rows):
        scores[y[r] * stride + r] = -slope[r]
        loss += <double> sample_weight[r] * <double> total[r]
    return loss


cdef inline void start_hinge(
        const floating *scores, const ScoreBlock *block, floating *required, floating *total,
        floating *slope) noexcept nogil:
    # A score above `required` violates the margin.
    cdef const int32_t *y = <const int32_t *> block.y
    cdef Py_ssize_t stride = block.stride
    cdef floating margin = <floating> block.hyper[0]
    cdef Py_ssize_t r
    for r in range(block.rows):
        required[r] = scores[y[r] * stride + r] - margin
        total[r] = 0
        slope[r] = 0


cdef double crammer_singer_svm(floating *scores, const ScoreBlock *block) noexcept nogil:
    cdef Py_ssize_t rows = block.rows
    cdef Py_ssize_t stride = block.stride
    cdef Py_ssize_t c = block.c
    cdef const int32_t *y = <const int32_t *> block.y
    cdef const floating *sample_weight = <const floating *> block.sample_weight
    cdef floating *required = <floating *> block.scratch
    cdef floating *most = required + rows
    cdef floating *slope = required + 2 * rows
    cdef floating *s
    cdef floating v
    cdef bint worse
    cdef Py_ssize_t j, r
    cdef double loss = 0.0
    start_hinge(scores, block, required, most, slope)
    for j in range(c):
        s = scores + j * stride
        for r in range(rows):
            v = s[r] - required[r]
            worse = (v > most[r]) | ((v != v) & (most[r] == most[r]))  # keeps the first NaN
            worse = worse & (y[r] != <int32_t> j)
            most[r] = v if worse else most[r]
    # The slope of a row belongs to the first class that violates the margin the most. The same subtraction finds this
    # class again: a float cannot hold the number of every class.
    for r in range(rows):
        slope[r] = 0 if most[r] <= 0 else sample_weight[r]
    for j in range(c):
        s = scores + j * stride
        for r in range(rows):
            v = s[r] - required[r]
            worse = ((v == most[r]) | (v != v)) & (y[r] != <int32_t> j)
            s[r] = slope[r] if worse else 0
            slope[r] = 0 if worse else slope[r]
    for r in range(rows):
        scores[y[r] * stride + r] = 0 if most[r] <= 0 else -sample_weight[r]
        loss += <double> sample_weight[r] * <double> most[r]
    return loss


softmax_epilogue = bind_epilogue("softmax", <void *> softmax[float], <void *> softmax[double], "y", "label_smoothing")
soft_softmax_epilogue = bind_epilogue(
    "soft_softmax", <void *> soft_softmax[float], <void *> soft_softmax[double], "targets", "label_smoothing")
svm_epilogue = bind_epilogue("svm", <void *> svm[float], <void *> svm[double], "y", "margin")
squared_svm_epilogue = bind_epilogue(
    "squared_svm", <void *> squared_svm[float], <void *> squared_svm[double], "y", "margin")
crammer_singer_svm_epilogue = bind_epilogue(
    "crammer_singer_svm", <void *> crammer_singer_svm[float], <void *> crammer_singer_svm[double], "y", "margin")


# ---- Losses by element: every score has a target -------------------------------------------------------------
#
# Such a loss is a formula of one score s and its target t, which returns the loss and sets its slope, d(loss)/ds. The
# function below the formula and a line at the end of this file turn the formula into an epilogue.

ctypedef floating (*formula_t)(floating s, floating t, const floating *hyper, floating *slope) noexcept nogil


cdef inline double by_element(formula_t formula, floating *scores, const ScoreBlock *block) noexcept nogil:
    cdef Py_ssize_t rows = block.rows
    cdef Py_ssize_t c = block.c
    cdef const floating *targets = <const floating *> block.y
    cdef const floating *sample_weight = <const floating *> block.sample_weight
    cdef floating *target = <floating *> block.scratch
    cdef floating *total = target + rows
    cdef floating *s
    cdef floating hyper[MAX_HYPER]
    cdef floating slope
    cdef Py_ssize_t i, j, r
    cdef double loss = 0.0
    for i in range(MAX_HYPER):
        hyper[i] = <floating> block.hyper[i]
    for r in range(rows):
        total[r] = 0
    for j in range(c):
        s = scores + j * block.stride
        for r in range(rows):
            target[r] = targets[r * c + j]
        for r in range(rows):
            total[r] += formula(s[r], target[r], hyper, &slope)
            s[r] = slope * sample_weight[r]
    for r in range(rows):
        loss += <double> sample_weight[r] * <double> total[r]
    return loss


cdef inline floating hinge(floating s, floating t, const floating *hyper, floating *slope) noexcept nogil:
    cdef floating side = 2 * t - 1  # 1 for the class, -1 for the others
    cdef floating v = hyper[0] - side * s  # the margin is hyper[0]
    slope[0] = 0 if v <= 0 else -side
    return 0 if v <= 0 else v


cdef double one_vs_rest_svm(floating *scores, const ScoreBlock *block) noexcept nogil:
    return by_element[floating](hinge[floating], scores, block)


cdef inline floating squared_hinge(floating s, floating t, const floating *hyper, floating *slope) noexcept nogil:
    cdef floating side = 2 * t - 1
    cdef floating v = hyper[0] - side * s
    v = 0 if v <= 0 else v
    slope[0] = -2 * side * v
    return v * v


cdef double squared_one_vs_rest_svm(floating *scores, const ScoreBlock *block) noexcept nogil:
    return by_element[floating](squared_hinge[floating], scores, block)


cdef inline floating cross_entropy(floating s, floating t, const floating *hyper, floating *slope) noexcept nogil:
    cdef floating e = probability(s if s < 0 else -s)  # never overflows
    slope[0] = (1 if s >= 0 else e) / (1 + e) - t
    return (0 if s <= 0 else s) - t * s + log1p_of(e)


cdef double logistic(floating *scores, const ScoreBlock *block) noexcept nogil:
    return by_element[floating](cross_entropy[floating], scores, block)


cdef inline floating squared_sigmoid(floating s, floating t, const floating *hyper, floating *slope) noexcept nogil:
    cdef floating e = probability(s if s < 0 else -s)
    cdef floating least = <floating> (1e-18 if floating is float else 1e-150)  # whose square is no subnormal number
    cdef floating difference = (1 if s >= 0 else e) / (1 + e) - t
    difference = 0 if (-difference if difference < 0 else difference) < least else difference
    slope[0] = 2 * difference * e / ((1 + e) * (1 + e))  # slope of sigma: sigma (1 - sigma)
    return difference * difference


cdef double sigmoid_squared(floating *scores, const ScoreBlock *block) noexcept nogil:
    return by_element[floating](squared_sigmoid[floating], scores, block)


cdef inline floating squared_difference(floating s, floating t, const floating *hyper, floating *slope) noexcept nogil:
    slope[0] = 2 * (s - t)
    return (s - t) * (s - t)


cdef double squared_error(floating *scores, const ScoreBlock *block) noexcept nogil:
    return by_element[floating](squared_difference[floating], scores, block)


cdef inline floating absolute_difference(floating s, floating t, const floating *hyper, floating *slope) noexcept nogil:
    cdef floating difference = s - t
    slope[0] = 1 if difference > 0 else difference  # keeps 0 and NaN
    slope[0] = -1 if difference < 0 else slope[0]
    return -difference if difference < 0 else difference


cdef double absolute_error(floating *scores, const ScoreBlock *block) noexcept nogil:
    return by_element[floating](absolute_difference[floating], scores, block)


cdef inline floating huber_difference(floating s, floating t, const floating *hyper, floating *slope) noexcept nogil:
    cdef floating delta = hyper[0]
    cdef floating half = 0.5
    cdef floating difference = s - t
    cdef floating size = -difference if difference < 0 else difference
    slope[0] = delta if difference > delta else difference  # keeps a NaN
    slope[0] = -delta if difference < -delta else slope[0]
    return half * difference * difference if size <= delta else delta * (size - half * delta)


cdef double huber(floating *scores, const ScoreBlock *block) noexcept nogil:
    return by_element[floating](huber_difference[floating], scores, block)


one_vs_rest_svm_epilogue = bind_epilogue(
    "one_vs_rest_svm", <void *> one_vs_rest_svm[float], <void *> one_vs_rest_svm[double], "targets", "margin")
squared_one_vs_rest_svm_epilogue = bind_epilogue(
    "squared_one_vs_rest_svm", <void *> squared_one_vs_rest_svm[float], <void *> squared_one_vs_rest_svm[double],
    "targets", "margin")
logistic_epilogue = bind_epilogue("logistic", <void *> logistic[float], <void *> logistic[double], "targets", "")
sigmoid_squared_epilogue = bind_epilogue(
    "sigmoid_squared", <void *> sigmoid_squared[float], <void *> sigmoid_squared[double], "targets", "")
squared_error_epilogue = bind_epilogue(
    "squared_error", <void *> squared_error[float], <void *> squared_error[double], "targets", "")
absolute_error_epilogue = bind_epilogue(
    "absolute_error", <void *> absolute_error[float], <void *> absolute_error[double], "targets", "")
huber_epilogue = bind_epilogue("huber", <void *> huber[float], <void *> huber[double], "targets", "delta")


# ---- Curvature: fastlin/ops.py says what these are ----------------------------------------------------------

cdef inline floating half_square(floating s, floating t, const floating *hyper, floating *slope) noexcept nogil:
    slope[0] = t * s
    return slope[0] * s / 2


cdef double element_curvature(floating *scores, const ScoreBlock *block) noexcept nogil:
    return by_element[floating](half_square[floating], scores, block)


cdef double softmax_curvature(floating *scores, const ScoreBlock *block) noexcept nogil:
    cdef Py_ssize_t rows = block.rows
    cdef Py_ssize_t c = block.c
    cdef const floating *targets = <const floating *> block.y
    cdef const floating *sample_weight = <const floating *> block.sample_weight
    cdef floating *mean = <floating *> block.scratch
    cdef floating *total = mean + rows
    cdef floating *A = mean + 2 * rows
    cdef floating *s
    cdef floating difference, slope
    cdef Py_ssize_t j, r
    cdef double loss = 0.0
    for r in range(rows):
        mean[r] = 0
        total[r] = 0
    for j in range(c):
        s = scores + j * block.stride
        for r in range(rows):
            mean[r] += targets[r * c + j] * s[r]
    for j in range(c):
        s = scores + j * block.stride
        for r in range(rows):
            A[r] = targets[r * c + j]
        for r in range(rows):
            difference = s[r] - mean[r]
            slope = A[r] * difference
            total[r] += slope * difference
            s[r] = slope * sample_weight[r]
    for r in range(rows):
        loss += <double> sample_weight[r] * 0.5 * <double> total[r]
    return loss


cdef double svm_curvature(floating *scores, const ScoreBlock *block) noexcept nogil:
    cdef Py_ssize_t rows = block.rows
    cdef Py_ssize_t c = block.c
    cdef const floating *targets = <const floating *> block.y
    cdef const floating *sample_weight = <const floating *> block.sample_weight
    cdef floating *own = <floating *> block.scratch
    cdef floating *total = own + rows
    cdef floating *slopes = own + 2 * rows
    cdef floating *s
    cdef floating A, difference, slope
    cdef Py_ssize_t j, r
    cdef double loss = 0.0
    for r in range(rows):
        own[r] = total[r] = slopes[r] = 0
    for j in range(c):
        s = scores + j * block.stride
        for r in range(rows):
            own[r] = s[r] if targets[r * c + j] < 0 else own[r]
    for j in range(c):
        s = scores + j * block.stride
        for r in range(rows):
            A = targets[r * c + j]
            difference = s[r] - own[r]
            slope = (0 if A < 0 else A) * difference
            total[r] += slope * difference
            slopes[r] += slope
            s[r] = slope * sample_weight[r]
    for j in range(c):
        s = scores + j * block.stride
        for r in range(rows):
            s[r] = -slopes[r] * sample_weight[r] if targets[r * c + j] < 0 else s[r]
    for r in range(rows):
        loss += <double> sample_weight[r] * 0.5 * <double> total[r]
    return loss


svm_curvature_epilogue = bind_epilogue(
    "svm_curvature", <void *> svm_curvature[float], <void *> svm_curvature[double], "targets", "")
element_curvature_epilogue = bind_epilogue(
    "element_curvature", <void *> element_curvature[float], <void *> element_curvature[double], "targets", "")
softmax_curvature_epilogue = bind_epilogue(
    "softmax_curvature", <void *> softmax_curvature[float], <void *> softmax_curvature[double], "targets", "")
