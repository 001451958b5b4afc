"""The steps of an epoch in one call, for Numba: the same driver as in cython_epoch.pxi.

W, its gradient and the optimizer's state are class-major, (c, d + 1) with b as the last column, all of one shape;
w, g and the state are the same memory as flat arrays. The columns are cut into strips, and each member of the team has
a share of the strips, which it alone reads and writes: it adds up each strip's part of the scores of a block of rows,
and when all have, it knows the scores and adds its share of the gradient. The cut does not depend on the number of
threads, so the bits do not. All that members tell each other are these few scores.

The pieces are called by their addresses, those of an optimizer with the same arguments for every rule: each piece is
compiled once, on its own, and the driver once for all of them. Stages that an epoch does without are not compiled.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numba.core import types
from numba.core.types import Array, Tuple, UniTuple

from fastlin.kernels.numba_cache import jit
from fastlin.kernels.numba_math import column, matrix, row, stretch, window
from fastlin.kernels.numba_team import address_of, by_address, claim, finish, together, wait
from fastlin.kernels.numba_updates import clip_stage, prox_stage, sum_squares

MOST_STATES, MOST_OTHERS = 3, 5  # arrays of an optimizer's state, and its hyper-parameters beside the rate


class Pieces(NamedTuple):
    """Where the code of each is; 0 for a stage that is not there."""

    gather_scores: int
    epilogue: int
    gradient: int
    penalise: int
    squares: int
    clip: int
    update: int
    prox: int


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
    own_y: np.ndarray
    own_weight: np.ndarray
    nothing: np.ndarray  # the b of strips that have none
    losses: np.ndarray
    penalties: np.ndarray
    squares: np.ndarray


@jit
def columns_of(first, last, strips, d):
    """The columns of strips first ... last - 1, without b: whole cache lines, so that no two members write to one."""
    return d * first // strips // 16 * 16, d if last == strips else d * last // strips // 16 * 16


@jit
def take_labels(order, y, sample_weight, own_y, own_weight):
    for r in range(order.size):
        own_y[r] = y[order[r]]
        own_weight[r] = sample_weight[order[r]]


@jit
def take_targets(order, y, sample_weight, own_y, own_weight):
    for r in range(order.size):
        own_weight[r] = sample_weight[order[r]]
        for j in range(y.shape[1]):
            own_y[r, j] = y[order[r], j]


@jit
def sum_strips(S, partial, first, strips):
    """The scores of a block: the sum of what the strips have of them."""
    for j in range(S.shape[0]):
        total = row(S, j)
        for s in range(strips):
            part = row(matrix(partial, first + s), j)
            for r in range(total.size):
                total[r] = part[r] if s == 0 else total[r] + part[r]


@jit
def scale_rows(S, scale):
    factor = S.dtype.type(scale)
    for j in range(S.shape[0]):
        s = row(S, j)
        for r in range(s.size):
            s[r] *= factor


@jit
def clear(dW, first, last):
    d = dW.shape[1] - 1
    for j in range(dW.shape[0]):
        g = stretch(row(dW, j), first, last)
        for k in range(g.size):
            g[k] = 0
        if first == 0:
            dW[j, d] = 0


@jit
def penalise(g, w, l2, l1):
    """Adds the gradient of l2 sum(w^2) + l1 sum(|w|); its value. 0 times an infinite weight would be NaN."""
    real = g.dtype.type
    value = 0.0
    if l2 != 0:
        factor = real(2.0 * l2)
        for k in range(g.size):
            g[k] += factor * w[k]
        value += l2 * sum_squares(w)
    if l1 != 0:
        factor, sizes = real(l1), 0.0
        for k in range(g.size):
            sign = real(1) if w[k] > 0 else w[k]  # 0 and NaN stay
            g[k] += factor * (real(-1) if w[k] < 0 else sign)
            sizes += np.float64(abs(w[k]))
        value += l1 * sizes
    return value


@jit
def norm_scale(squares, most_norm):
    """By how much the gradient is shortened, as by torch's clip_grad_norm_."""
    total = 0.0
    for strip in range(squares.size):
        total += squares[strip]
    scale = most_norm / (np.sqrt(total) + 1e-6)
    return 1.0 if scale >= 1.0 else scale  # a NaN stays


def compose_begin_block(gather_scores):
    @jit
    def begin_block(piece, X, order, features, W, rows, partial, nothing, strip, strips):
        """Fetches the strip of some rows, and what it has of their scores."""
        d, count = X.shape[1], order.size
        first, last = columns_of(strip, strip + 1, strips, d)
        width = last - first
        some = window(X, 0, X.shape[0], first, width), order, window(features, 0, features.shape[0], first, width)
        weights = window(W, 0, W.shape[0], first, width), column(W, d) if strip == 0 else nothing
        copies, scores = window(rows, 0, count, first, width), window(partial, 0, W.shape[0], 0, count)
        gather_scores(piece, (*some, copies, *weights, scores))

    return begin_block


def compose_end_block(epilogue, gradient, take_y):
    @jit
    def end_block(pieces, order, y, sample_weight, hyper, rows, scores, own_y, own_weight, dW, first, last, scale):
        """What these columns have of the mean gradient of the batch, from the scores; the loss."""
        count, c, d = order.size, dW.shape[0], dW.shape[1] - 1
        S, scratch = window(scores, 0, c, 0, count), window(scores, c, scores.shape[0] - c, 0, scores.shape[1])
        take_y(order, y, sample_weight, own_y, own_weight)
        loss = epilogue(pieces.epilogue, (S, own_y, own_weight, scratch, *hyper))
        scale_rows(S, scale)
        db = column(dW, d) if first == 0 else column(scratch, 0)  # b is the first strip's; nobody looks at others
        some = window(rows, 0, count, first, last - first), S, window(dW, 0, c, first, last - first)
        gradient(pieces.gradient, (*some, db))
        return loss

    return end_block


def compose_finish_gradient(penalise, sum_squares):
    @jit
    def finish_gradient(pieces, w, g, ld, c, d, bias, first, last, penalty):
        """Adds the penalty's part of a strip; its value, and if it will be asked for the sum of squares."""
        value, squares = 0.0, 0.0
        for j in range(c):
            gradient = stretch(g, j * ld + first, j * ld + last)
            if pieces.penalise != 0:
                value += penalise(pieces.penalise, (gradient, stretch(w, j * ld + first, j * ld + last), *penalty))
            if pieces.squares != 0:
                squares += sum_squares(pieces.squares, (gradient,))
                if first == 0 and bias:
                    squares += sum_squares(pieces.squares, (stretch(g, j * ld + d, j * ld + d + 1),))
        return value, squares

    return finish_gradient


def compose_update_some(clip, update, prox):
    @jit
    def update_some(pieces, w, g, state, start, stop, t, rate, others, scale, limit, shrink, factor):
        weights, gradient = stretch(w, start, stop), stretch(g, start, stop)
        own = stretch(state[0], start, stop), stretch(state[1], start, stop), stretch(state[2], start, stop)
        if pieces.clip != 0:
            clip(pieces.clip, (gradient, gradient, scale, limit))
        update(pieces.update, (weights, gradient, own, t, rate, others))
        if factor != 1 or shrink != 0:
            prox(pieces.prox, (weights, shrink, factor))

    return update_some


def compose_epoch(begin_block, end_block, finish_gradient, update_some):
    """What every member of the team runs."""

    def epoch(pieces, data, steps, own, room, begin, end, board, rank, threads):
        # Taken apart here: what a function is given in a tuple costs it a count of references for each member.
        X, y, sample_weight, order, features, hyper, bias, batch = data
        t, rates, others, penalty, (limit, most_norm), shrinkage = steps
        W, w, state, dW, g = own
        rows, partial, scores, own_y, own_weight, nothing, losses, penalties, squares = room
        n, ld, size, c, d = order.size, W.strides[0] // W.itemsize, scores.shape[2], W.shape[0], X.shape[1]
        strips, blocks, by_norm = squares.size, -(-batch // size), pieces.squares != 0
        shares = min(threads, strips)
        done, phase = 0, 0
        for number in range(begin, end + 1):
            # End the block before, begin this one. Clipping by a norm needs a phase more, for all to know the norm.
            step, ends = (number - 1) // blocks, number > begin and number % blocks == 0
            count = min(batch, n - step * batch)
            for late in range(1 + by_norm):
                phase += 1
                for i in range(shares):
                    share = (i + rank) % shares
                    if not claim(board, share, phase):
                        continue
                    first_strip, last_strip = strips * share // shares, strips * (share + 1) // shares
                    first, last = columns_of(first_strip, last_strip, strips, d)
                    if number > begin and not late:
                        if (number - 1) % blocks == 0:
                            clear(dW, first, last)
                        inside = (number - 1) % blocks * size
                        start, stop = step * batch + inside, step * batch + max(inside, min(inside + size, count))
                        some = stretch(order, start, stop)
                        S = matrix(scores, share)
                        sum_strips(window(S, 0, c, 0, stop - start), partial, (number - 1) % 2 * strips, strips)
                        kept = own_y[share], row(own_weight, share)
                        inputs = some, y, sample_weight, hyper, rows
                        loss = end_block(pieces, *inputs, S, *kept, dW, first, last, 1.0 / count)
                        if share == 0:  # every share knows it
                            losses[0] += loss
                    if ends and not late and (pieces.penalise != 0 or by_norm):
                        for strip in range(first_strip, last_strip):
                            columns = columns_of(strip, strip + 1, strips, d)
                            value, squares[strip] = finish_gradient(pieces, w, g, ld, c, d, bias, *columns, penalty)
                            penalties[strip] += count * value
                    if ends and late == by_norm:
                        rule = t + step, rates[step], others, norm_scale(squares, most_norm), limit
                        shrink, factor = (shrinkage[step, 0], shrinkage[step, 1]) if shrinkage.size else (0.0, 1.0)
                        for j in range(c):
                            update_some(pieces, w, g, state, j * ld + first, j * ld + last, *rule, shrink, factor)
                            if first == 0 and bias:
                                update_some(pieces, w, g, state, j * ld + d, j * ld + d + 1, *rule, 0.0, 1.0)
                    if late == by_norm and number < end:
                        start = number // blocks * batch
                        inside, left = number % blocks * size, min(batch, n - start)
                        some = stretch(order, start + inside, start + max(inside, min(inside + size, left)))
                        for strip in range(first_strip, last_strip):
                            part = matrix(partial, number % 2 * strips + strip)
                            block = X, some, features, W, rows, part, nothing
                            begin_block(pieces.gather_scores, *block, strip, strips)
                    finish(board)
                done += shares
                wait(board, done)

    return epoch


@cache
def compose_update(update):
    """The same rule with the arguments that every rule is given."""
    names = update.py_func.__code__.co_varnames[: update.py_func.__code__.co_argcount]
    skipped = 0 if "t" in names else 1
    states, others = names.index("lr") - 3 + skipped, len(names) - names.index("lr") - 1

    def step(w, g, state, t, lr, rest):
        update(w, g, *state[:states], *(t, lr)[skipped:], *rest[:others])

    step.__qualname__ = f"step-{update.__name__}"  # the name it is kept under
    return jit(step)


@cache
def compile_epoch(pieces, stages, stored, real, y_ndim, hyper):
    """The addresses of the pieces, of those stages that there are too, and how to run an epoch by a team.

    For any strides: what is to be compiled does not depend on how arrays happen to lie.
    """
    gather_scores, epilogue, gradient, update = pieces
    penalised, by_norm, clipped, shrunk = stages
    signatures = _signatures(stored, real, y_ndim, hyper)

    def address(function, name):
        return address_of(function, signatures[name][1:])

    addresses = Pieces(
        address(gather_scores, "gather_scores"),
        address(epilogue, "epilogue"),
        address(gradient, "gradient"),
        address(penalise, "penalise") if penalised else 0,
        address(sum_squares, "squares") if by_norm else 0,
        address(clip_stage, "clip") if clipped else 0,
        address(compose_update(update), "update"),
        address(prox_stage, "prox") if shrunk else 0,
    )
    return addresses, _compile_driver(stored, real, y_ndim, hyper)


def _signatures(stored, real, y_ndim, hyper):
    """What each piece returns, and its arguments."""
    number, flat, vector, matrix = types.float64, real[::1], Array(real, 1, "A"), Array(real, 2, "A")
    order, features = Array(types.int64, 1, "C", readonly=True), Array(real, 2, "A", readonly=True)
    y = types.int32[::1] if y_ndim == 1 else real[:, ::1]
    state, others = UniTuple(flat, MOST_STATES), UniTuple(number, MOST_OTHERS)
    X = Array(stored, 2, "A", readonly=True)
    return {
        "gather_scores": (types.none, X, order, features, matrix, matrix, vector, matrix),
        "epilogue": (number, matrix, y, flat, matrix, *[number] * hyper),
        "gradient": (types.none, matrix, matrix, matrix, vector),
        "penalise": (number, flat, flat, number, number),
        "squares": (number, flat),
        "clip": (types.none, flat, flat, number, number),
        "update": (types.none, flat, flat, state, types.intp, number, others),
        "prox": (types.none, flat, number, number),
    }


@cache
def _compile_driver(stored, real, y_ndim, hyper):
    """It calls pieces of these types, whichever they are."""
    call = {name: by_address(kinds[0], kinds[1:]) for name, kinds in _signatures(stored, real, y_ndim, hyper).items()}
    driver = compose_epoch(
        compose_begin_block(call["gather_scores"]),
        compose_end_block(call["epilogue"], call["gradient"], take_labels if y_ndim == 1 else take_targets),
        compose_finish_gradient(call["penalise"], call["squares"]),
        compose_update_some(call["clip"], call["update"], call["prox"]),
    )
    driver.__qualname__ = "epoch"  # the name it is kept under
    number, reals, flat, y = types.float64, types.float64[::1], real[::1], types.int32 if y_ndim == 1 else real
    inputs = ((stored, 2, "A"), (y, y_ndim, "C"), (real, 1, "C"), (types.int64, 1, "C"), (real, 2, "C"))
    rooms = ((real, 2, "A"), (real, 3, "A"), (real, 3, "A"), (y, y_ndim + 1, "C"), (real, 2, "C"), (real, 1, "A"))
    groups = {
        Pieces: [types.intp] * len(Pieces._fields),
        Data: [*(Array(*kind, readonly=True) for kind in inputs), UniTuple(number, hyper), types.boolean, types.intp],
        Steps: [types.intp, reals, UniTuple(number, MOST_OTHERS), *[UniTuple(number, 2)] * 2, types.float64[:, ::1]],
        Weights: [Array(real, 2, "A"), flat, UniTuple(flat, MOST_STATES), Array(real, 2, "A"), flat],
        Room: [*(Array(*kind) for kind in rooms), reals, reals, reals],
    }
    given = (types.NamedTuple(members, group) for group, members in groups.items())
    return together(jit(driver), Tuple((*given, types.intp, types.intp, types.intp[::1])))
