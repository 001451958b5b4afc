"""The epilogues of the losses for Numba: each replaces scores by the weighted d(loss)/d(scores), and returns the loss.

The inner loops run along the rows of a block, where memory is contiguous: LLVM vectorises them by itself. An epilogue
keeps three numbers for each row in `scratch`, for example the largest score, a sum and the label's score.
"""

import inspect

import numpy as np

from fastlin.kernels.numba_cache import inlined, jit
from fastlin.kernels.numba_math import bytes_of, cast_all, exp_below_highest, log1p_to_1, log_from_1, row

POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD


@jit
def exp(x, out):
    highest = x.dtype.type(89 if x.itemsize == 4 else 710)
    for i in range(x.size):
        out[i] = exp_below_highest(highest if x[i] > highest else x[i])  # the comparison keeps a NaN


@inlined
def probability(exponent):
    """exp of an exponent <= 0; NaN for NaN.

    Probabilities below 1e-30 (1e-290) are 0: subnormal gradients would slow every product with them tenfold.
    """
    real = type(exponent)
    least = real(-69 if bytes_of(exponent) == 4 else -667)
    p = exp_below_highest(least if exponent < least else exponent)  # always, so that no lane of a vector waits
    return real(0) if exponent < least else p


@jit
def log1p(x, out):
    for i in range(x.size):
        out[i] = log1p_to_1(x[i])


# ---- Epilogues of labels ---------------------------------------------------------------------------------


@jit
def softmax_epilogue(scores, y, sample_weight, scratch, label_smoothing):
    c, rows = scores.shape
    real = sample_weight.dtype.type
    row_max, z, target_logit = row(scratch, 0), row(scratch, 1), row(scratch, 2)
    off_value = real(label_smoothing / c)
    on_value = real(1.0 - label_smoothing)
    s = row(scores, 0)
    for r in range(rows):
        row_max[r] = s[r]
    for j in range(1, c):
        s = row(scores, j)
        for r in range(rows):
            row_max[r] = s[r] if s[r] > row_max[r] else row_max[r]
    for r in range(rows):
        z[r] = 0
        target_logit[r] = on_value * (scores[y[r], r] - row_max[r])
    for j in range(c):
        s = row(scores, j)
        for r in range(rows):
            shifted = s[r] - row_max[r]
            s[r] = probability(shifted)
            z[r] += s[r]
            target_logit[r] += off_value * shifted if off_value != 0 else real(0)  # 0 * -inf would be NaN
    loss = 0.0
    for r in range(rows):
        loss += np.float64(sample_weight[r]) * np.float64(log_from_1(z[r]) - target_logit[r])
        z[r] = sample_weight[r] / z[r]
    for j in range(c):
        s = row(scores, j)
        for r in range(rows):
            s[r] = s[r] * z[r] - off_value * sample_weight[r]
    for r in range(rows):
        scores[y[r], r] -= on_value * sample_weight[r]
    return loss


@jit
def soft_softmax_epilogue(scores, targets, sample_weight, scratch, label_smoothing):
    c, rows = scores.shape
    real = sample_weight.dtype.type
    row_max, z, target_logit = row(scratch, 0), row(scratch, 1), row(scratch, 2)
    off_value, on_value = real(label_smoothing / c), real(1.0 - label_smoothing)
    s = row(scores, 0)
    for r in range(rows):
        row_max[r] = s[r]
        z[r] = target_logit[r] = 0
    for j in range(1, c):
        s = row(scores, j)
        for r in range(rows):
            row_max[r] = s[r] if s[r] > row_max[r] else row_max[r]
    for j in range(c):
        s = row(scores, j)
        for r in range(rows):
            goal = on_value * targets[r, j] + off_value
            target_logit[r] += real(0) if goal == 0 else goal * (s[r] - row_max[r])  # 0 * -inf would be NaN
        for r in range(rows):
            shifted = s[r] - row_max[r]
            s[r] = probability(shifted)
            z[r] += s[r]
    loss, total = 0.0, row_max  # the sum of a row's targets, in the place of what is not needed any more
    for r in range(rows):
        total[r] = c * off_value
        for j in range(c):
            total[r] += on_value * targets[r, j]
        loss += np.float64(sample_weight[r]) * np.float64(total[r] * log_from_1(z[r]) - target_logit[r])
        z[r] = sample_weight[r] * total[r] / z[r]
    for j in range(c):
        s = row(scores, j)
        for r in range(rows):
            s[r] = s[r] * z[r] - (on_value * targets[r, j] + off_value) * sample_weight[r]
    return loss


@jit
def svm_epilogue(scores, y, sample_weight, scratch, margin):
    c, rows = scores.shape
    real = sample_weight.dtype.type
    required, total, weight = row(scratch, 0), row(scratch, 1), row(scratch, 2)
    for r in range(rows):
        required[r] = scores[y[r], r] - real(margin)
        total[r] = 0
        weight[r] = 0
    for j in range(c):
        s = row(scores, j)
        for r in range(rows):
            v = s[r] - required[r]
            satisfied = (v <= 0) | (y[r] == j)  # false for a NaN: it must reach the loss
            total[r] += real(0) if satisfied else v
            s[r] = real(0) if satisfied else sample_weight[r]
            weight[r] += s[r]
    loss = 0.0
    for r in range(rows):
        loss += np.float64(sample_weight[r]) * np.float64(total[r])
        scores[y[r], r] = -weight[r]
    return loss


@jit
def squared_svm_epilogue(scores, y, sample_weight, scratch, margin):
    c, rows = scores.shape
    real = sample_weight.dtype.type
    required, squares, total = row(scratch, 0), row(scratch, 1), row(scratch, 2)
    for r in range(rows):
        required[r] = scores[y[r], r] - real(margin)
        squares[r] = 0
        total[r] = 0
    for j in range(c):
        s = row(scores, j)
        for r in range(rows):
            v = s[r] - required[r]
            v = real(0) if (v <= 0) | (y[r] == j) else v
            squares[r] += v * v
            total[r] += v
            s[r] = real(2) * v * sample_weight[r]
    loss = 0.0
    for r in range(rows):
        loss += np.float64(sample_weight[r]) * np.float64(squares[r])
        scores[y[r], r] = real(-2) * total[r] * sample_weight[r]
    return loss


@jit
def crammer_singer_svm_epilogue(scores, y, sample_weight, scratch, margin):
    c, rows = scores.shape
    real = sample_weight.dtype.type
    required, most, slope = row(scratch, 0), row(scratch, 1), row(scratch, 2)
    for r in range(rows):
        required[r] = scores[y[r], r] - real(margin)
        most[r] = 0
    for j in range(c):
        s = row(scores, j)
        for r in range(rows):
            v = s[r] - required[r]
            worse = ((v > most[r]) | ((v != v) & (most[r] == most[r]))) & (y[r] != j)  # keeps the first NaN
            most[r] = v if worse else most[r]
    # The slope of a row belongs to the first class that violates the margin the most. The same subtraction finds this
    # class again: a float cannot hold the number of every class.
    for r in range(rows):
        slope[r] = real(0) if most[r] <= 0 else sample_weight[r]
    for j in range(c):
        s = row(scores, j)
        for r in range(rows):
            v = s[r] - required[r]
            worse = ((v == most[r]) | (v != v)) & (y[r] != j)
            s[r] = slope[r] if worse else real(0)
            slope[r] = real(0) if worse else slope[r]
    loss = 0.0
    for r in range(rows):
        loss += np.float64(sample_weight[r]) * np.float64(most[r])
        scores[y[r], r] = real(0) if most[r] <= 0 else -sample_weight[r]
    return loss


# ---- Epilogues by element --------------------------------------------------------------------------------


def by_element(formula):
    """The epilogue of a loss that is a sum over all scores, each of which has a target.

    formula(s, t, *hyper, zero, one) -> (loss, slope), all in the type of the scores; literals 0 and 1 would make
    doubles of floats. The epilogue has the formula's name and hyper-parameters.
    """
    name = formula.__name__
    _, _, *hyper, _, _ = inspect.signature(formula).parameters
    formula = jit(formula, name=f"{name}-formula")

    def epilogue(scores, targets, sample_weight, scratch, *hyper):
        c, rows = scores.shape
        real = sample_weight.dtype.type
        target, total = row(scratch, 0), row(scratch, 1)
        constants = cast_all(hyper + (0, 1), real(0))  # noqa: RUF005  (Numba makes no tuple of *hyper, 0, 1)
        for r in range(rows):
            total[r] = 0
        for j in range(c):
            s = row(scores, j)
            for r in range(rows):
                target[r] = targets[r, j]
            for r in range(rows):
                value, slope = formula(s[r], target[r], *constants)
                total[r] += value
                s[r] = slope * sample_weight[r]
        loss = 0.0
        for r in range(rows):
            loss += np.float64(sample_weight[r]) * np.float64(total[r])
        return loss

    kernel = jit(epilogue, name=name)
    args = ("scores", "targets", "sample_weight", "scratch", *hyper)
    kernel.__signature__ = inspect.Signature([inspect.Parameter(arg, POSITIONAL) for arg in args])
    return kernel


@by_element
def one_vs_rest_svm_epilogue(s, t, margin, zero, one):
    side = t + t - one  # 1 for the class, -1 for the others
    v = margin - side * s
    return (zero, zero) if v <= 0 else (v, -side)


@by_element
def squared_one_vs_rest_svm_epilogue(s, t, margin, zero, one):
    side = t + t - one
    v = margin - side * s
    v = zero if v <= 0 else v
    return v * v, -(side + side) * v


@by_element
def logistic_epilogue(s, t, zero, one):
    e = probability(-abs(s))
    sigma = (one if s >= 0 else e) / (one + e)
    return (zero if s <= 0 else s) - t * s + log1p_to_1(e), sigma - t


@by_element
def sigmoid_squared_epilogue(s, t, zero, one):
    e = probability(-abs(s))
    d = (one if s >= 0 else e) / (one + e) - t
    least = type(s)(1e-18 if bytes_of(s) == 4 else 1e-150)  # whose square is no subnormal number
    d = zero if abs(d) < least else d
    return d * d, (d + d) * e / ((one + e) * (one + e))  # slope of sigma: sigma (1 - sigma)


@by_element
def squared_error_epilogue(s, t, zero, one):
    d = s - t
    return d * d, d + d


@by_element
def absolute_error_epilogue(s, t, zero, one):
    d = s - t
    sign = one if d > 0 else d  # keeps 0 and NaN
    return abs(d), -one if d < 0 else sign


@by_element
def huber_epilogue(s, t, delta, zero, one):
    d, half = s - t, one / (one + one)
    sign = one if d > 0 else -one if d < 0 else d  # keeps 0 and NaN
    if abs(d) <= delta:
        return half * d * d, d
    return delta * (abs(d) - half * delta), delta * sign


@by_element
def element_curvature_epilogue(s, t, zero, one):
    slope = t * s
    return slope * s / (one + one), slope


@jit
def softmax_curvature_epilogue(scores, targets, sample_weight, scratch):
    c, rows = scores.shape
    real = sample_weight.dtype.type
    mean, total, A = row(scratch, 0), row(scratch, 1), row(scratch, 2)
    for r in range(rows):
        mean[r] = 0
        total[r] = 0
    for j in range(c):
        s = row(scores, j)
        for r in range(rows):
            mean[r] += targets[r, j] * s[r]
    for j in range(c):
        s = row(scores, j)
        for r in range(rows):
            A[r] = targets[r, j]
        for r in range(rows):
            difference = s[r] - mean[r]
            slope = A[r] * difference
            total[r] += slope * difference
            s[r] = slope * sample_weight[r]
    loss = 0.0
    for r in range(rows):
        loss += np.float64(sample_weight[r]) * np.float64(real(0.5) * total[r])
    return loss


@jit
def svm_curvature_epilogue(scores, targets, sample_weight, scratch):
    c, rows = scores.shape
    real = sample_weight.dtype.type
    own, total, slopes = row(scratch, 0), row(scratch, 1), row(scratch, 2)
    for r in range(rows):
        own[r] = 0
        total[r] = 0
        slopes[r] = 0
    for j in range(c):
        s = row(scores, j)
        for r in range(rows):
            own[r] = s[r] if targets[r, j] < 0 else own[r]
    for j in range(c):
        s = row(scores, j)
        for r in range(rows):
            A = targets[r, j]
            difference = s[r] - own[r]
            slope = (real(0) if A < 0 else A) * difference
            total[r] += slope * difference
            slopes[r] += slope
            s[r] = slope * sample_weight[r]
    for j in range(c):
        s = row(scores, j)
        for r in range(rows):
            s[r] = -slopes[r] * sample_weight[r] if targets[r, j] < 0 else s[r]
    loss = 0.0
    for r in range(rows):
        loss += np.float64(sample_weight[r]) * np.float64(real(0.5) * total[r])
    return loss
