"""The same loops for Numba, compiled at the first call for each dtype. See fastlin/ops.py for the contract.

The dense kernels are loops over tiles, whose sums stay in vector registers: see numba_tile.py. The others run down
the classes and along the rows (or along the weights), where memory is contiguous: LLVM puts such loops into vector
registers by itself. `scratch` holds what an epilogue knows about each row: maximum, sum, fit.
"""

import numba
import numpy as np
from numba import types
from numba.extending import overload

from fastlin.kernels import numba_epoch
from fastlin.kernels.compose import compose as compose_python
from fastlin.kernels.compose import compose_step as compose_step_python
from fastlin.kernels.compose import cut
from fastlin.kernels.numba_cache import jit
from fastlin.kernels.numba_math import exp_below_highest, log_from_1, row
from fastlin.kernels.numba_team import BOARD, claim, desk_for, finish, together, wait
from fastlin.kernels.numba_tile import (
    ACTIVE_ROWS,
    GRADIENT_CLASSES,
    GRADIENT_VECTORS,
    SCORE_CLASSES,
    SCORE_ROWS,
    VECTOR_BYTES,
    active_rows,
    gradient_tile,
    scores_tile,
)
from fastlin.kernels.numba_updates import *  # noqa: F403  (the optimizer steps)
from fastlin.kernels.numba_updates import clip_stage, prox_stage, sum_squares

STRETCH = 256  # columns that stay in L1 while all classes are copied


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
            compiled[key] = compile_driver(member, numba.from_dtype(X.dtype), numba.from_dtype(W.dtype), len(hyper))
        job = X, W, y, sample_weight, hyper, *rest, np.zeros(BOARD, np.intp)
        compiled[key](desk_for(threads), threads, job)

    return loss_grad


def compile_driver(member, stored, real, hyper):
    """Its machine code, for a team."""
    inputs = (
        *(types.Array(kind, 2, "A", readonly=True) for kind in (stored, real)),
        *(types.Array(kind, 1, "C", readonly=True) for kind in (types.int32, real)),
        types.UniTuple(types.float64, hyper),
        types.float64,
    )
    rooms = *(types.Array(real, ndim, "A") for ndim in (2, 3, 3, 3)), types.float64[::1]
    sizes = types.intp, types.intp
    return together(member, types.Tuple((*inputs, *rooms, types.Array(real, 2, "A"), *sizes, types.intp[::1])))


def compose_epoch(*pieces):
    update = pieces[4]
    driver = numba_epoch.compose_epoch(
        *pieces, clip_stage, prox_stage, sum_squares, counts="t" in update.py_func.__code__.co_varnames
    )
    driver.__qualname__ = "-".join(piece.__name__ for piece in pieces)
    member = jit(driver)
    compiled = {}

    def epoch(*args):
        *given, rows, partial, scores, dW, losses, penalties, squares, threads = args
        *inputs, W, state = given
        rooms = np.empty((2, len(squares), scores.shape[2]))
        labels, weights = rooms[0].astype(np.int32), rooms[1].astype(W.dtype)
        W, dW = W, dW[0]
        nothing = np.zeros(len(W), W.dtype)
        state = tuple(flat(A) for A in state)
        arrays = W, flat(W), state, rows, partial, scores, labels, weights, nothing, dW, flat(dW)
        job = *inputs, *arrays, losses, penalties, squares, np.zeros(BOARD, np.intp)
        kind = numba.typeof(job)
        if kind not in compiled:
            compiled[kind] = together(member, kind)
        compiled[kind](desk_for(threads), threads, job)

    return epoch


def flat(A):
    """The same memory as one row, padding included."""
    return np.lib.stride_tricks.as_strided(A, (A.shape[0] * A.strides[0] // A.itemsize,), (A.itemsize,))


def compose_step(*parts):
    step = compose_step_python(*parts)
    step.__qualname__ = "-".join(part.__name__ for part in parts)
    return jit(step)


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
def dense_gather(X, order, rows):
    for r in range(order.size):
        x, out = row(X, order[r]), row(rows, r)
        for k in range(x.size):
            out[k] = x[k]
    return rows[: order.size]


uint8_gather = dense_gather


@jit
def share(c, most):
    """Classes per tile: nearly equal shares of c, so that 7 is 4 + 3 rather than 5 + 2."""
    tiles = -(-c // most)
    return -(-c // tiles)


@jit
def dense_scores(X, W, b, scores):
    c, rows = scores.shape
    for j in range(c):
        s, bias = row(scores, j), b[j]
        for r in range(rows):
            s[r] = bias
    classes = share(c, SCORE_CLASSES)
    # A panel of columns: what W has in it stays in L1 from one group of rows to the next.
    panel = max(2048, min(4096, 24576 // c // 64 * 64)) // W.itemsize
    for k in range(0, X.shape[1], panel):
        stop = min(k + panel, X.shape[1])
        for r in range(0, rows, SCORE_ROWS):
            for j in range(0, c, classes):
                scores_tile(X, W, scores, r, j, min(classes, c - j), k, stop)


@jit
def dense_gradient(X, dscores, dW, db):
    c, rows = dscores.shape
    classes = share(c, GRADIENT_CLASSES)
    width = GRADIENT_VECTORS * VECTOR_BYTES // dW.itemsize
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
            s[r] = exp_below_highest(shifted)
            z[r] += s[r]
            fit[r] += smooth * shifted
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
