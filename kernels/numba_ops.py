"""The functions of the table for Numba, compiled at the first call for each dtype. See fastlin/ops.py for the contract.

The products with X are loops over tiles, whose sums stay in vector registers: see numba_tile.py. In the other loops the
inner one runs along the rows (or along the weights), where memory is contiguous: LLVM vectorises it by itself.
An epilogue keeps three numbers for each row in `scratch`, for example the largest score, a sum and the label's score.
"""

import inspect

import numpy as np

from fastlin.kernels.numba_cache import inlined, jit
from fastlin.kernels.numba_csr import *  # noqa: F403  (sparse rows)
from fastlin.kernels.numba_drivers import (  # noqa: F401  (what this module offers)
    Float16Kernel,
    loss_driver,
    losses_driver,
    squares_driver,
    step_driver,
)
from fastlin.kernels.numba_epoch import epoch_driver  # noqa: F401
from fastlin.kernels.numba_math import cast_all, column, exp_below_highest, float_from_half, log_from_1, row, window
from fastlin.kernels.numba_tile import (
    ACTIVE_ROWS,
    GRADIENT_CLASSES,
    SCORE_CLASSES,
    SCORE_ROWS,
    VECTOR_BYTES,
    active_rows,
    gather_scores_tile,
    gradient_tile,
    gradient_vectors,
    scores_tile,
)
from fastlin.kernels.numba_updates import *  # noqa: F403  (the optimizer steps)
from fastlin.kernels.numba_wide import WIDE_CLASSES, WIDE_LEAST_ROWS, add_panels, classes_of_tile, wide_scores

POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD
COPIED_COLUMNS = 256  # of all classes: they stay in L1 while they are copied


@jit
def exp(x, out):
    highest = x.dtype.type(89 if x.itemsize == 4 else 710)
    for i in range(x.size):
        out[i] = exp_below_highest(highest if x[i] > highest else x[i])  # the comparison keeps a NaN


# ---- Layout ----------------------------------------------------------------------------------------------


@jit
def to_class_major(W, weights):
    d = W.shape[0]
    for start in range(0, d, COPIED_COLUMNS):
        stop = min(start + COPIED_COLUMNS, d)
        some = W[start:stop]
        for j in range(W.shape[1]):
            out = row(weights, j)[start:stop]
            for k in range(out.size):  # from 0, so that Numba makes no code for negative indices
                out[k] = some[k, j]
    for j in range(W.shape[1]):
        for k in range(d, weights.shape[1]):  # W has no b
            weights[j, k] = 0


@jit
def combine_class_major(parts, scale, dW):
    factor = dW.dtype.type(scale)
    d = dW.shape[0]
    for start in range(0, d, COPIED_COLUMNS):
        stop = min(start + COPIED_COLUMNS, d)
        some = dW[start:stop]
        for j in range(dW.shape[1]):
            total = row(parts[0], j)[start:stop]
            for p in range(1, parts.shape[0]):
                part = row(parts[p], j)[start:stop]
                for k in range(total.size):
                    total[k] += part[k]
            for k in range(total.size):
                some[k, j] = factor * total[k]


# ---- Products --------------------------------------------------------------------------------------------


@inlined
def panel_of(c, itemsize):
    """Columns of a panel: W's part of a panel stays in L1 from one group of rows to the next."""
    return max(2048, min(4096, 24576 // c // 64 * 64)) // itemsize


@inlined
def fill_with_bias(W, first, scores):
    """b where the columns begin with column `first` = 0, to which it belongs, else 0."""
    c, rows = scores.shape
    for j in range(c):
        s, bias = row(scores, j), W[j, W.shape[1] - 1] if first == 0 else W.dtype.type(0)
        for r in range(rows):
            s[r] = bias


@inlined
def add_scores(X, W, scores):
    """scores += W X^T, over the columns of X."""
    c, rows = scores.shape
    done = wide_scores(X, W, scores) if c >= WIDE_CLASSES and rows >= WIDE_LEAST_ROWS else 0
    if done < c:
        add_few_scores(X, window(W, done, c - done, 0, X.shape[1]), window(scores, done, c - done, 0, rows))


@inlined
def add_few_scores(X, W, scores):
    """The same for few classes."""
    c, rows = scores.shape
    classes = classes_of_tile(c, SCORE_CLASSES)
    panel = panel_of(c, W.itemsize)
    for k in range(0, X.shape[1], panel):
        stop = min(k + panel, X.shape[1])
        for r in range(0, rows, SCORE_ROWS):
            for j in range(0, c, classes):
                scores_tile(X, W, scores, (r, j, min(classes, c - j), k, stop))


@inlined
def add_gathered_scores(X, order, copies, W, scores):
    """scores += W X[order]^T for few classes. It also copies these rows of X."""
    c, rows = scores.shape
    classes = classes_of_tile(c, SCORE_CLASSES)
    panel = panel_of(c, W.itemsize)
    for k in range(0, X.shape[1], panel):
        stop = min(k + panel, X.shape[1])
        for r in range(0, rows, SCORE_ROWS):
            for j in range(0, c, classes):
                gather_scores_tile(X, order, copies, j == 0, W, scores, (r, j, min(classes, c - j), k, stop))


@inlined
def add_row_sums(G, sums):
    for j in range(G.shape[0]):
        g, total = row(G, j), G.dtype.type(0)
        for r in range(g.size):
            total += g[r]
        sums[j] += total


columns_of_tile = jit(gradient_vectors)


@inlined
def add_tiles(X, G, total):
    """total += G X"""
    (c, rows), d = G.shape, X.shape[1]
    done = add_panels(X, G, total) if c >= WIDE_CLASSES else 0
    if done < d:
        add_few_tiles(window(X, 0, rows, done, d - done), G, window(total, 0, c, done, d - done))


@inlined
def add_few_tiles(X, G, total):
    """The same for few classes or columns."""
    c, rows = G.shape
    classes = c if 5 < c <= GRADIENT_CLASSES else classes_of_tile(c, 5)  # all tiles have equally many vectors
    width = columns_of_tile(classes) * VECTOR_BYTES // total.itemsize
    for r in range(0, rows, ACTIVE_ROWS):
        active = active_rows(G, r)
        for k in range(0, X.shape[1], width):
            for j in range(0, c, classes):
                gradient_tile(X, G, total, r, active, j, min(classes, c - j), k)


@jit
def add_product(X, G, total, sums):
    add_row_sums(G, sums)
    add_tiles(X, G, total)


# ---- Storages --------------------------------------------------------------------------------------------


@jit
def dense_scores(X, start, W, row_buffer, scores):
    fill_with_bias(W, 0, scores)
    add_scores(window(X, start, scores.shape[1], 0, X.shape[1]), W, scores)


@jit
def dense_gradient(X, start, row_buffer, dscores, dW):
    d = X.shape[1]
    some = window(X, start, dscores.shape[1], 0, d)
    add_row_sums(dscores, column(dW, d))
    add_tiles(some, dscores, window(dW, 0, dW.shape[0], 0, d))


@jit
def dense_gather_scores(X, order, first, last, scale_shift, row_buffer, W, scores):
    width, many = last - first, W.shape[0] >= WIDE_CLASSES and order.size >= WIDE_LEAST_ROWS
    some, copies = window(X, 0, X.shape[0], first, width), window(row_buffer, 0, order.size, first, width)
    fill_with_bias(W, first, scores)
    if many or scale_shift.shape[0]:
        gather(as_it_is, some, order, window(scale_shift, 0, scale_shift.shape[0], first, width), copies)
        add_scores(copies, window(W, 0, W.shape[0], first, width), scores)
    else:
        add_gathered_scores(some, order, copies, window(W, 0, W.shape[0], first, width), scores)


@jit
def dense_gather_gradient(X, order, first, last, row_buffer, dscores, dW):
    width = last - first
    copies, d = window(row_buffer, 0, order.size, first, width), dW.shape[1] - 1
    if first == 0:
        add_row_sums(dscores, column(dW, d))
    add_tiles(copies, dscores, window(dW, 0, dW.shape[0], first, width))


@inlined
def gather(number, X, order, scale_shift, copies):
    """Copies rows of X as number(x), scaled and shifted."""
    for r in range(order.size):
        x, out = row(X, order[r]), row(copies, r)
        for k in range(x.size):
            out[k] = number(x[k])
        if scale_shift.shape[0]:
            scale, shift = row(scale_shift, 0), row(scale_shift, 1)
            for k in range(x.size):
                out[k] = out[k] * scale[k] + shift[k]


def converting_storage(name, number):
    """The four functions of a storage whose rows are converted a block at a time.

    number(x) : an entry of X as a number, which is stored into `row_buffer` and so becomes one of W's dtype.
    """

    def scores_of(X, start, W, row_buffer, scores):
        rows, d = scores.shape[1], X.shape[1]
        for r in range(rows):
            x, out = row(X, start + r), row(row_buffer, r)
            for k in range(d):
                out[k] = number(x[k])
        fill_with_bias(W, 0, scores)
        add_scores(window(row_buffer, 0, rows, 0, d), W, scores)

    def gradient_of(X, start, row_buffer, dscores, dW):
        d = dW.shape[1] - 1
        some = window(row_buffer, 0, dscores.shape[1], 0, d)
        add_row_sums(dscores, column(dW, d))
        add_tiles(some, dscores, window(dW, 0, dW.shape[0], 0, d))

    def gather_scores(X, order, first, last, scale_shift, row_buffer, W, scores):
        width = last - first
        some, copies = window(X, 0, X.shape[0], first, width), window(row_buffer, 0, order.size, first, width)
        gather(number, some, order, window(scale_shift, 0, scale_shift.shape[0], first, width), copies)
        fill_with_bias(W, first, scores)
        add_scores(copies, window(W, 0, W.shape[0], first, width), scores)

    def gather_gradient(X, order, first, last, row_buffer, dscores, dW):
        dense_gather_gradient(X, order, first, last, row_buffer, dscores, dW)

    made = {"scores": scores_of, "gradient": gradient_of, "gather_scores": gather_scores}
    made["gather_gradient"] = gather_gradient
    return [jit(function, name=f"{name}_{what}") for what, function in made.items()]


@jit
def as_it_is(x):
    return x


@jit
def from_half(bits):
    return float_from_half(bits)


uint8_scores, uint8_gradient, uint8_gather_scores, uint8_gather_gradient = converting_storage("uint8", as_it_is)
float32_scores, float32_gradient, float32_gather_scores, float32_gather_gradient = converting_storage(
    "float32", as_it_is
)
float16_scores, float16_gradient, float16_gather_scores, float16_gather_gradient = map(
    Float16Kernel, converting_storage("float16", from_half)
)


# ---- Epilogues of labels ---------------------------------------------------------------------------------


@jit
def softmax_epilogue(scores, y, sample_weight, scratch, label_smoothing):
    c, rows = scores.shape
    real = sample_weight.dtype.type
    row_max, z, target_logit = row(scratch, 0), row(scratch, 1), row(scratch, 2)
    off_value = real(label_smoothing / c)
    on_value = real(1.0 - label_smoothing)
    # Probabilities below 1e-30 (1e-290) are 0: subnormal gradients would slow every product with them tenfold.
    least = real(-69 if scores.itemsize == 4 else -667)
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
            s[r] = real(0) if shifted < least else exp_below_highest(least if shifted < least else shifted)
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
    least = real(-69 if scores.itemsize == 4 else -667)  # as for labels
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
            s[r] = real(0) if shifted < least else exp_below_highest(least if shifted < least else shifted)
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
    e = exp_below_highest(-abs(s))
    sigma = (one if s >= 0 else e) / (one + e)
    return (zero if s <= 0 else s) - t * s + log_from_1(one + e), sigma - t


@by_element
def sigmoid_squared_epilogue(s, t, zero, one):
    e = exp_below_highest(-abs(s))
    d = (one if s >= 0 else e) / (one + e) - t
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
