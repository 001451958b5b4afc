"""The steps of an epoch in one call, for Numba: the same driver as in cython_epoch.pxi.

W, its gradient and the optimizer's state are class-major, (c, d + 1) with b as the last column, all of one shape;
w, g and the state are the same memory as flat arrays. Each strip of the columns belongs to one member of the team,
which alone reads and writes it: it adds up its part of the scores of a block of rows, and when all have, it knows the
scores and adds its part of the gradient. All that members tell each other are these few scores.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numba import types
from numba.core.types import Array, Tuple, UniTuple

from fastlin.kernels.compose import cut
from fastlin.kernels.numba_cache import jit
from fastlin.kernels.numba_math import row
from fastlin.kernels.numba_team import claim, finish, wait
from fastlin.kernels.numba_updates import clip_stage, prox_stage, sum_squares


class Data(NamedTuple):
    """What an epoch reads, and how it is cut."""

    X: np.ndarray
    y: np.ndarray
    sample_weight: np.ndarray
    order: np.ndarray
    features: np.ndarray  # (scale, shift) of each, or none
    hyper: tuple  # of the loss
    bias: bool
    batch: int


class Steps(NamedTuple):
    """What an optimizer does with a gradient."""

    t: int  # number of the first
    rates: np.ndarray
    others: tuple
    penalty: tuple  # l2, l1
    clip: tuple  # limit, most_norm
    shrinkage: np.ndarray


class Weights(NamedTuple):
    """What strips own: all (c, d + 1), W and dW also as flat memory, the state as that only."""

    W: np.ndarray
    w: np.ndarray
    state: tuple
    dW: np.ndarray
    g: np.ndarray


class Room(NamedTuple):
    """What strips work in, and the sums that they leave."""

    rows: np.ndarray
    partial: np.ndarray
    scores: np.ndarray
    y: np.ndarray
    sample_weight: np.ndarray
    losses: np.ndarray
    penalties: np.ndarray
    squares: np.ndarray


@jit
def with_count(t, rate, others):
    return t, rate, *others


@jit
def without_count(t, rate, others):
    return rate, *others


@jit
def block_of(number, n, batch, blocks, size):
    """The block's positions in the epoch's order: none in the last blocks of the last batch."""
    begin = number // blocks * batch
    start = begin + number % blocks * size
    return start, max(start, min(start + size, begin + batch, n))


@jit
def strip_of(strip, strips, d):
    """The strip's columns, without b: whole cache lines, so that no two members write to one."""
    stop = d if strip + 1 == strips else d * (strip + 1) // strips // 16 * 16
    return d * strip // strips // 16 * 16, stop


@jit
def map_rows(rows, scale, shift):
    for r in range(rows.shape[0]):
        x = row(rows, r)
        for k in range(x.size):
            x[k] = x[k] * scale[k] + shift[k]


@jit
def add_strips(scores, partial):
    """The scores of a block: the sum of what the strips have of them."""
    for j in range(scores.shape[0]):
        total = row(scores, j)
        for s in range(partial.shape[0]):
            part = row(partial[s], j)
            for r in range(total.size):
                total[r] = part[r] if s == 0 else total[r] + part[r]


@jit
def take_rows(order, y, sample_weight, own_y, own_weight):
    for r in range(order.size):
        own_y[r] = y[order[r]]
        own_weight[r] = sample_weight[order[r]]


@jit
def add_penalty(g, w, rows, penalty):
    """What the penalty adds to the gradient, and to the loss of a batch of so many rows."""
    real = g.dtype.type
    l2, l1 = real(2.0 * penalty[0]), real(penalty[1])
    squares, sizes = 0.0, 0.0
    for k in range(g.size):
        sign = real(1) if w[k] > 0 else w[k]  # 0 and NaN stay
        sign = real(-1) if w[k] < 0 else sign
        g[k] += l2 * w[k] + l1 * sign
        squares += np.float64(w[k]) * np.float64(w[k])
        sizes += np.float64(-w[k] if w[k] < 0 else w[k])
    return rows * (penalty[0] * squares + penalty[1] * sizes)


@jit
def scale_all(g, scale):
    factor = g.dtype.type(scale)
    for k in range(g.size):
        g[k] *= factor


@jit
def norm_scale(squares, most_norm):
    """By how much the gradient is shortened, as by torch's clip_grad_norm_."""
    if most_norm == np.inf:
        return 1.0
    scale = most_norm / (np.sqrt(squares.sum()) + 1e-6)
    return 1.0 if scale >= 1.0 else scale  # a NaN stays


@jit
def clear_strip(dW, strip, strips):
    d = dW.shape[1] - 1
    first, last = strip_of(strip, strips, d)
    dW[:, first:last] = 0
    if strip == 0:
        dW[:, d] = 0


@jit
def end_gradient(w, g, ld, W, bias, strip, strips, count, penalty, by_norm):
    """The mean over the batch, penalty included; what the penalty adds to the loss, and the sum of squares."""
    c, d = W.shape[0], W.shape[1] - 1
    first, last = strip_of(strip, strips, d)
    added, squares = 0.0, 0.0
    for j in range(c):
        some = slice(j * ld + first, j * ld + last)
        scale_all(g[some], 1.0 / count)
        if penalty[0] != 0 or penalty[1] != 0:
            added += add_penalty(g[some], w[some], count, penalty)
        if by_norm:
            squares += sum_squares(g[some])
        if strip == 0 and bias:
            b = slice(j * ld + d, j * ld + d + 1)
            scale_all(g[b], 1.0 / count)
            if by_norm:
                squares += sum_squares(g[b])
    return added, squares


# What rules or losses share is compiled once for all of them: hence the cache.
@cache
def compose_begin_block(gather, scores_of):
    @jit
    def begin_block(X, order, features, W, rows, partial, strip, strips, nothing):
        """Fetches the strip of some rows, and what it has of their scores."""
        d = X.shape[1]
        first, last = strip_of(strip, strips, d)
        room = rows[strip, : order.size, : last - first]
        gather(X[:, first:last], order, room)
        if features.shape[0]:
            map_rows(room, features[0, first:last], features[1, first:last])
        scores_of(room, W[:, first:last], W[:, d] if strip == 0 else nothing, partial[strip, :, : order.size])

    return begin_block


@cache
def compose_end_block(epilogue, gradient):
    @jit
    def end_block(order, y, sample_weight, hyper, rows, partial, scores, labels, weights, dW, strip):
        """Adds the strips' scores, and what the strip has of the gradient; the loss."""
        count, strips, c, d = order.size, partial.shape[0], partial.shape[1], dW.shape[1] - 1
        first, last = strip_of(strip, strips, d)
        S, scratch = scores[strip, :c, :count], scores[strip, c : c + 3]
        add_strips(S, partial[:, :, :count])
        take_rows(order, y, sample_weight, labels[strip], weights[strip])
        loss = epilogue(S, labels[strip, :count], weights[strip, :count], scratch, *hyper)
        db = dW[:, d] if strip == 0 else scores[strip, c + 3 :, 0]  # b is the first strip's; nobody looks at others
        gradient(rows[strip, :count, : last - first], S, dW[:, first:last], db)
        return loss

    return end_block


@cache
def compose_end_step(update):
    @jit
    def update_some(w, g, state, start, stop, scalars, scale, limit, shrink, factor):
        if scale != 1 or limit != np.inf:
            clip_stage(g[start:stop], g[start:stop], scale, limit)
        update(w[start:stop], g[start:stop], *cut(state, start, stop), *scalars)
        if shrink != 0 or factor != 1:
            prox_stage(w[start:stop], shrink, factor)

    @jit
    def end_step(w, g, ld, state, W, bias, strip, strips, scalars, scale, limit, shrink, factor):
        c, d = W.shape[0], W.shape[1] - 1
        first, last = strip_of(strip, strips, d)
        for j in range(c):
            update_some(w, g, state, j * ld + first, j * ld + last, scalars, scale, limit, shrink, factor)
            if strip == 0 and bias:
                update_some(w, g, state, j * ld + d, j * ld + d + 1, scalars, scale, limit, 0.0, 1.0)

    return end_step


def compose_epoch(gather, scores_of, epilogue, gradient, update):
    """What every member of the team runs."""
    begin_block, end_block = compose_begin_block(gather, scores_of), compose_end_block(epilogue, gradient)
    end_step = compose_end_step(update)
    scalars_of = with_count if "t" in update.py_func.__code__.co_varnames else without_count

    def epoch(data, steps, own, room, begin, end, board, rank, threads):
        # Taken apart here: what a function is given in a tuple costs it a count of references for each member.
        X, y, sample_weight, order, features, hyper, bias, batch = data
        t, rates, others, penalty, (limit, most_norm), shrinkage = steps
        W, w, state, dW, g = own
        rows, partial, scores, labels, weights, losses, penalties, squares = room
        n, ld, size = order.size, W.strides[0] // W.itemsize, partial.shape[3]
        strips, blocks, by_norm = squares.size, -(-batch // size), most_norm != np.inf
        nothing = np.zeros(W.shape[0], W.dtype)
        done, phase = 0, 0
        for number in range(begin, end + 1):
            # End the block before, begin this one. Clipping by a norm needs a phase more, for all to know the norm.
            step, ends = (number - 1) // blocks, number > begin and number % blocks == 0
            count = min(batch, n - step * batch)
            for late in range(1 + by_norm):
                phase += 1
                for i in range(strips):
                    strip = (i + rank * strips // threads) % strips
                    if not claim(board, strip, phase):
                        continue
                    if number > begin and not late:
                        if (number - 1) % blocks == 0:
                            clear_strip(dW, strip, strips)
                        start, stop = block_of(number - 1, n, batch, blocks, size)
                        some, before = order[start:stop], partial[(number - 1) % 2]
                        loss = end_block(
                            some, y, sample_weight, hyper, rows, before, scores, labels, weights, dW, strip
                        )
                        if strip == 0:  # every strip knows it
                            losses[0] += loss
                    if ends and not late:
                        added, squares[strip] = end_gradient(w, g, ld, W, bias, strip, strips, count, penalty, by_norm)
                        penalties[strip] += added
                    if ends and late == by_norm:
                        scalars, scale = scalars_of(t + step, rates[step], others), norm_scale(squares, most_norm)
                        reduced = (shrinkage[step, 0], shrinkage[step, 1]) if shrinkage.size else (0.0, 1.0)
                        end_step(w, g, ld, state, W, bias, strip, strips, scalars, scale, limit, *reduced)
                    if late == by_norm and number < end:
                        start, stop = block_of(number, n, batch, blocks, size)
                        some, now = order[start:stop], partial[number % 2]
                        begin_block(X, some, features, W, rows, now, strip, strips, nothing)
                    finish(board)
                done += strips
                wait(board, done)

    return epoch


def compile_epoch(member, stored, real, hyper, others, states):
    """Its machine code for any strides: what is to be compiled does not depend on how arrays happen to lie."""
    number, reals, flat = types.float64, types.float64[::1], real[::1]
    vectors = (Array(kind, 1, "C", readonly=True) for kind in (types.int32, real, types.int64))
    features = Array(real, 2, "C", readonly=True)
    groups = {
        Data: (
            Array(stored, 2, "A", readonly=True),
            *vectors,
            features,
            UniTuple(number, hyper),
            types.boolean,
            types.intp,
        ),
        Steps: (types.intp, reals, UniTuple(number, others), *[UniTuple(number, 2)] * 2, types.float64[:, ::1]),
        Weights: (Array(real, 2, "A"), flat, Tuple((flat,) * states), Array(real, 2, "A"), flat),
        Room: (*(Array(real, ndim, "A") for ndim in (3, 4, 3)), types.int32[:, ::1], real[:, ::1], reals, reals, reals),
    }
    given = (types.NamedTuple(members, group) for group, members in groups.items())
    signature = (*given, types.intp, types.intp, types.intp[::1], types.intp, types.intp)
    member.compile(signature)
    return member.overloads[signature].entry_point
