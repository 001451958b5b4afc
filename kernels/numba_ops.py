"""The same loops for Numba, compiled at the first call for each dtype. See fastlin/ops.py for the contract.

The dense kernels are loops over tiles, whose sums stay in vector registers: see numba_tile.py. The others run down
the classes and along the rows (or along the weights), where memory is contiguous: LLVM puts such loops into vector
registers by itself. `scratch` holds what an epilogue knows about each row: maximum, sum, fit.
"""

import numba
import numpy as np
from numba import types
from numba.extending import overload

from fastlin.kernels.compose import compose as compose_python
from fastlin.kernels.compose import compose_columns as compose_columns_python
from fastlin.kernels.compose import compose_losses as compose_losses_python
from fastlin.kernels.compose import compose_squares as compose_squares_python
from fastlin.kernels.compose import compose_step as compose_step_python
from fastlin.kernels.compose import cut
from fastlin.kernels.numba_cache import jit
from fastlin.kernels.numba_epoch import MOST_OTHERS, MOST_STATES, Data, Room, Steps, Weights, compile_epoch
from fastlin.kernels.numba_math import exp_below_highest, log_from_1, row
from fastlin.kernels.numba_team import BOARD, claim, desk_for, finish, together, wait
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

STRETCH = 256  # columns that stay in L1 while all classes are copied
STEP_STRETCH = 2048  # numbers that are clipped, updated and shrunk while they are in L1
PLAIN = (1.0, np.inf, 0.0, 1.0)  # a step without anything before or after the update


def compose(*pieces):
    """The driver, compiled at the first call for each dtype, and for any strides: once is enough."""
    driver = compose_python(*pieces, to_class_major, combine, claim, finish, wait)
    driver.__qualname__ = "-".join(piece.__name__ for piece in pieces)  # the name it is kept under
    member = jit(driver)
    compiled = {}

    def loss_grad(X, W, y, sample_weight, hyper, *rest):
        *rest, threads = rest
        key = X.dtype, W.dtype
        if key not in compiled:
            kinds = (numba.from_dtype(A.dtype) for A in (X, W))
            compiled[key] = compile_driver(member, *kinds, y.ndim, len(hyper))
        job = X, W, y, sample_weight, hyper, *rest, np.zeros(BOARD, np.intp)
        compiled[key](desk_for(threads), threads, job)

    return loss_grad


def compile_driver(member, stored, real, y_ndim, hyper):
    """Its machine code, for a team."""
    inputs = (
        *(types.Array(kind, 2, "A", readonly=True) for kind in (stored, real)),
        *goals_of(real, y_ndim, hyper),
        types.float64,
    )
    rooms = *(types.Array(real, ndim, "A") for ndim in (2, 3, 3, 3)), types.float64[::1]
    laps = types.intp, types.intp
    return together(member, types.Tuple((*inputs, *rooms, types.Array(real, 2, "A"), *laps, types.intp[::1])))


def compose_columns(epilogue):
    """The same for the epilogue of many columns."""
    driver = compose_columns_python(epilogue, claim, finish, wait)
    driver.__qualname__ = f"columns-{epilogue.__name__}"
    member = jit(driver)
    compiled = {}

    def columns(scores, y, sample_weight, hyper, scratch, losses, threads):
        if scores.dtype not in compiled:
            compiled[scores.dtype] = compile_columns(member, numba.from_dtype(scores.dtype), y.ndim, len(hyper))
        job = scores, y, sample_weight, hyper, scratch, losses, np.zeros(BOARD, np.intp)
        compiled[scores.dtype](desk_for(threads), threads, job)

    return columns


def compile_columns(member, real, y_ndim, hyper):
    """Its machine code, for a team."""
    goals = goals_of(real, y_ndim, hyper)
    rooms = types.Array(real, 3, "C"), types.float64[::1]
    return together(member, types.Tuple((types.Array(real, 2, "C"), *goals, *rooms, types.intp[::1])))


def compose_losses(*pieces):
    """The losses of several W, compiled at the first call for each dtype, and for any strides."""
    driver = compose_losses_python(*pieces)
    driver.__qualname__ = "-".join(["losses", *(piece.__name__ for piece in pieces)])
    member = jit(driver)
    compiled = {}

    def losses_of(blocks, W, y, sample_weight, hyper, *rooms):
        if W.dtype not in compiled:
            real = numba.from_dtype(W.dtype)
            inputs = types.Array(real, 3, "A"), types.Array(real, 2, "A"), *goals_of(real, y.ndim, len(hyper))
            member.compile((*inputs, types.Array(real, 2, "A"), types.Array(real, 1, "C"), types.float64[::1]))
            compiled[W.dtype] = member.overloads[member.signatures[-1]].entry_point
        compiled[W.dtype](blocks, W, y, sample_weight, hyper, *rooms)

    return losses_of


def goals_of(real, y_ndim, hyper):
    """The types of y, sample_weight and the hyper-parameters of a loss."""
    return (
        types.Array(types.int32 if y_ndim == 1 else real, y_ndim, "C", readonly=True),  # labels, or rows of targets
        types.Array(real, 1, "C", readonly=True),
        types.UniTuple(types.float64, hyper),
    )


def compose_epoch(*pieces):
    """The same for epochs; the pieces are compiled each on its own, and called by their addresses."""

    def epoch(X, y, sample_weight, order, features, hyper, bias, batch, first, last, *rest):
        t, rates, others, penalty, clip, shrinkage, W, state, rows, partial, scores, dW, *sums, threads = rest
        stages = any(penalty), clip[1] < np.inf, min(clip) < np.inf, len(shrinkage) > 0
        kinds = (numba.from_dtype(A.dtype) for A in (X, W))
        addresses, run = compile_epoch(pieces, stages, *kinds, y.ndim, len(hyper))
        strips, _, block = scores.shape
        own = np.empty((strips, block, *y.shape[1:]), y.dtype), np.empty((strips, block), W.dtype)
        w, unused = flat(W), MOST_STATES - len(state)
        job = (
            addresses,
            Data(X, y, sample_weight, order, features, hyper, bias, batch),
            Steps(t, rates, (*others, *[0.0] * (MOST_OTHERS - len(others))), penalty, clip, shrinkage),
            Weights(W, w, (*map(flat, state), *[w] * unused), dW[0], flat(dW[0])),
            Room(rows[0], partial.reshape(-1, len(W), block), scores, *own, np.zeros(len(W), W.dtype), *sums),
            *(first, last, np.zeros(BOARD, np.intp)),
        )
        run(desk_for(threads), threads, job)

    return epoch


def flat(A):
    """The same memory as one row, padding included."""
    return np.lib.stride_tricks.as_strided(A, (A.shape[0] * A.strides[0] // A.itemsize,), (A.itemsize,))


def compose_step(*pieces):
    """The same for optimizer steps."""
    driver = compose_step_python(*pieces, claim, head_of)
    driver.__qualname__ = "-".join(piece.__name__ for piece in pieces)
    member = jit(driver)
    compiled = {}

    def step(w, g, state, scalars, stages, ranges, threads):
        if w.itemsize not in compiled:
            counts = type(scalars[0]) is int
            run = compile_step(member, numba.from_dtype(w.dtype), len(state), len(scalars), counts)
            compiled[w.itemsize] = run, np.empty((0, STEP_STRETCH), w.dtype)
        run, rooms = compiled[w.itemsize]
        if stages != PLAIN:
            rooms = np.empty((threads, STEP_STRETCH), w.dtype)
        job = w, g, state, scalars, stages, rooms, ranges, np.zeros(BOARD, np.intp)
        run(desk_for(threads), threads, job)

    return step


@jit
def head_of(w):
    """How many numbers stand before the first cache line."""
    return -w.ctypes.data % 64 // w.itemsize


def compile_step(member, real, states, scalars, counts):
    """Its machine code, for a team."""
    flat = real[::1]
    numbers = (types.intp if counts else types.float64, *[types.float64] * (scalars - 1))
    stages = types.UniTuple(types.float64, 4)
    job = flat, flat, types.UniTuple(flat, states), types.Tuple(numbers), stages, real[:, ::1], types.intp
    return together(member, types.Tuple((*job, types.intp[::1])))


def compose_squares(sum_squares):
    """And for the sum of squares of some ranges."""
    member = jit(compose_squares_python(sum_squares, claim))
    compiled = {}

    def squares(g, sums, threads):
        if g.itemsize not in compiled:
            job = numba.from_dtype(g.dtype)[::1], types.float64[::1], types.intp[::1]
            compiled[g.itemsize] = together(member, types.Tuple(job))
        compiled[g.itemsize](desk_for(threads), threads, (g, sums, np.zeros(BOARD, np.intp)))

    return squares


@overload(cut)
def _cut(arrays, start, stop):
    """Numba has no loop that makes a tuple: one line for each number of state arrays."""
    return (
        lambda arrays, start, stop: (),
        lambda arrays, start, stop: (arrays[0][start:stop],),
        lambda arrays, start, stop: (arrays[0][start:stop], arrays[1][start:stop]),
        lambda arrays, start, stop: (arrays[0][start:stop], arrays[1][start:stop], arrays[2][start:stop]),
    )[len(arrays)]


@jit
def exp(x, out):
    highest = x.dtype.type(89 if x.itemsize == 4 else 710)
    for i in range(x.size):
        out[i] = exp_below_highest(highest if x[i] > highest else x[i])  # a NaN is not above, and stays


@jit
def to_class_major(W, by_class):
    d = W.shape[0]
    for start in range(0, d, STRETCH):
        stop = min(start + STRETCH, d)
        some = W[start:stop]
        for j in range(W.shape[1]):
            out = row(by_class, j)[start:stop]
            for k in range(out.size):  # from 0: Numba need not ask whether an index is negative
                out[k] = some[k, j]


@jit
def combine(parts, scale, dW):
    factor = dW.dtype.type(scale)
    d = dW.shape[0]
    for start in range(0, d, STRETCH):
        stop = min(start + STRETCH, d)
        some = dW[start:stop]
        for j in range(dW.shape[1]):
            total = row(parts[0], j)[start:stop]
            for p in range(1, parts.shape[0]):
                part = row(parts[p], j)[start:stop]
                for k in range(total.size):
                    total[k] += part[k]
            for k in range(total.size):
                some[k, j] = factor * total[k]


@jit
def dense_load(X, rows):
    return X


@jit
def uint8_load(X, rows):
    for r in range(X.shape[0]):
        x, out = row(X, r), row(rows, r)
        for k in range(x.size):
            out[k] = x[k]
    return rows[: X.shape[0]]


@jit
def share(c, most):
    """Classes per tile: nearly equal shares of c, so that 7 is 4 + 3 rather than 5 + 2."""
    tiles = -(-c // most)
    return -(-c // tiles)


@jit
def panel_of(c, itemsize):
    """Columns of a panel: what W has in it stays in L1 from one group of rows to the next."""
    return max(2048, min(4096, 24576 // c // 64 * 64)) // itemsize


@jit
def dense_scores(X, W, b, scores):
    c, rows = scores.shape
    for j in range(c):
        s, bias = row(scores, j), b[j]
        for r in range(rows):
            s[r] = bias
    classes = share(c, SCORE_CLASSES)
    panel = panel_of(c, W.itemsize)
    for k in range(0, X.shape[1], panel):
        stop = min(k + panel, X.shape[1])
        for r in range(0, rows, SCORE_ROWS):
            for j in range(0, c, classes):
                scores_tile(X, W, scores, r, j, min(classes, c - j), k, stop)


@jit
def gather(X, order, features, rows):
    for r in range(order.size):
        x, out = row(X, order[r]), row(rows, r)
        for k in range(x.size):
            out[k] = x[k]
        if features.shape[0]:
            scale, shift = row(features, 0), row(features, 1)
            for k in range(x.size):
                out[k] = out[k] * scale[k] + shift[k]


@jit
def dense_gather_scores(X, order, features, rows, W, b, scores):
    c, count = scores.shape
    mapped = features.shape[0] > 0
    if mapped:
        gather(X, order, features, rows)
    for j in range(c):
        s, bias = row(scores, j), b[j]
        for r in range(count):
            s[r] = bias
    classes = share(c, SCORE_CLASSES)
    panel = panel_of(c, W.itemsize)
    for k in range(0, X.shape[1], panel):
        stop = min(k + panel, X.shape[1])
        for r in range(0, count, SCORE_ROWS):
            for j in range(0, c, classes):
                fresh = j == 0 and not mapped
                gather_scores_tile(X, order, rows, fresh, W, scores, r, j, min(classes, c - j), k, stop)


@jit
def uint8_gather_scores(X, order, features, rows, W, b, scores):
    gather(X, order, features, rows)
    dense_scores(rows[: order.size], W, b, scores)


columns_of_tile = jit(gradient_vectors)


@jit
def dense_gradient(X, dscores, dW, db):
    c, rows = dscores.shape
    classes = c if 5 < c <= GRADIENT_CLASSES else share(c, 5)  # of a tile; all tiles have as many vectors
    width = columns_of_tile(classes) * VECTOR_BYTES // dW.itemsize
    for j in range(c):
        ds, total = row(dscores, j), dscores.dtype.type(0)
        for r in range(rows):
            total += ds[r]
        db[j] += total
    for r in range(0, rows, ACTIVE_ROWS):
        active = active_rows(dscores, r)
        for k in range(0, X.shape[1], width):
            for j in range(0, c, classes):
                gradient_tile(X, dscores, dW, r, active, j, min(classes, c - j), k)


@jit
def softmax_epilogue(scores, y, sample_weight, scratch, label_smoothing):
    c, rows = scores.shape
    real = sample_weight.dtype.type
    top, z, fit = row(scratch, 0), row(scratch, 1), row(scratch, 2)
    smooth = real(label_smoothing / c)
    hard = real(1.0 - label_smoothing)
    # Probabilities below 1e-30 (1e-290) are 0: subnormal gradients would slow every product with them tenfold.
    least = real(-69 if scores.itemsize == 4 else -667)
    s = row(scores, 0)
    for r in range(rows):
        top[r] = s[r]
    for j in range(1, c):
        s = row(scores, j)
        for r in range(rows):
            top[r] = s[r] if s[r] > top[r] else top[r]
    for r in range(rows):
        z[r] = 0
        fit[r] = hard * (scores[y[r], r] - top[r])
    for j in range(c):
        s = row(scores, j)
        for r in range(rows):
            shifted = s[r] - top[r]
            s[r] = real(0) if shifted < least else exp_below_highest(least if shifted < least else shifted)
            z[r] += s[r]
            fit[r] += smooth * shifted if smooth != 0 else real(0)  # 0 * -inf would be NaN
    loss = 0.0
    for r in range(rows):
        loss += np.float64(sample_weight[r]) * np.float64(log_from_1(z[r]) - fit[r])
        z[r] = sample_weight[r] / z[r]
    for j in range(c):
        s = row(scores, j)
        for r in range(rows):
            s[r] = s[r] * z[r] - smooth * sample_weight[r]
    for r in range(rows):
        scores[y[r], r] -= hard * sample_weight[r]
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
    required, most, worst = row(scratch, 0), row(scratch, 1), row(scratch, 2)
    for r in range(rows):
        required[r] = scores[y[r], r] - real(margin)
        most[r] = 0
        worst[r] = -1
    for j in range(c):
        s = row(scores, j)
        for r in range(rows):
            v = s[r] - required[r]
            worse = ((v > most[r]) | ((v != v) & (most[r] == most[r]))) & (y[r] != j)  # the first NaN is kept
            most[r] = v if worse else most[r]
            worst[r] = real(j) if worse else worst[r]
    for j in range(c):
        s = row(scores, j)
        for r in range(rows):
            s[r] = sample_weight[r] if worst[r] == j else real(0)
    loss = 0.0
    for r in range(rows):
        loss += np.float64(sample_weight[r]) * np.float64(most[r])
        scores[y[r], r] = real(0) if worst[r] < 0 else -sample_weight[r]
    return loss


def by_element(formula):
    """The sum of the losses of formula(s, t, margin, 0, 1) = (loss, slope) over all scores, each with its target.

    0 and 1 are handed over in the type of the scores: beside a literal a float becomes a double.
    """

    @jit
    def epilogue(scores, targets, sample_weight, scratch, margin):
        c, rows = scores.shape
        real = sample_weight.dtype.type
        goal, total = row(scratch, 0), row(scratch, 1)
        for r in range(rows):
            total[r] = 0
        for j in range(c):
            s = row(scores, j)
            for r in range(rows):
                goal[r] = targets[r, j]
            for r in range(rows):
                value, slope = formula(s[r], goal[r], real(margin), real(0), real(1))
                total[r] += value
                s[r] = slope * sample_weight[r]
        loss = 0.0
        for r in range(rows):
            loss += np.float64(sample_weight[r]) * np.float64(total[r])
        return loss

    return epilogue


@by_element
@jit
def hinge(s, t, margin, zero, one):
    side = t + t - one  # 1 is the class, -1 the rest
    v = margin - side * s
    return (zero, zero) if v <= 0 else (v, -side)


@by_element
@jit
def squared_hinge(s, t, margin, zero, one):
    side = t + t - one
    v = margin - side * s
    v = zero if v <= 0 else v
    return v * v, -(side + side) * v


@by_element
@jit
def logistic(s, t, margin, zero, one):
    e = exp_below_highest(-abs(s))
    sigma = (one if s >= 0 else e) / (one + e)
    return (zero if s <= 0 else s) - t * s + log_from_1(one + e), sigma - t


@by_element
@jit
def sigmoid_squared(s, t, margin, zero, one):
    e = exp_below_highest(-abs(s))
    d = (one if s >= 0 else e) / (one + e) - t
    return d * d, (d + d) * e / ((one + e) * (one + e))  # sigma (1 - sigma), without a difference


@by_element
@jit
def squared_error(s, t, margin, zero, one):
    d = s - t
    return d * d, d + d


@by_element
@jit
def absolute_error(s, t, margin, zero, one):
    d = s - t
    sign = one if d > 0 else d  # 0 and NaN stay
    return abs(d), -one if d < 0 else sign


@jit
def one_vs_rest_svm_epilogue(scores, targets, sample_weight, scratch, margin):
    return hinge(scores, targets, sample_weight, scratch, margin)


@jit
def squared_one_vs_rest_svm_epilogue(scores, targets, sample_weight, scratch, margin):
    return squared_hinge(scores, targets, sample_weight, scratch, margin)


@jit
def logistic_epilogue(scores, targets, sample_weight, scratch):
    return logistic(scores, targets, sample_weight, scratch, 0.0)


@jit
def sigmoid_squared_epilogue(scores, targets, sample_weight, scratch):
    return sigmoid_squared(scores, targets, sample_weight, scratch, 0.0)


@jit
def squared_error_epilogue(scores, targets, sample_weight, scratch):
    return squared_error(scores, targets, sample_weight, scratch, 0.0)


@jit
def absolute_error_epilogue(scores, targets, sample_weight, scratch):
    return absolute_error(scores, targets, sample_weight, scratch, 0.0)
