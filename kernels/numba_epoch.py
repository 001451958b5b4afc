"""The steps of an epoch in one call, for Numba: the same driver as in cython_epoch.pxi.

W, its gradient and the optimizer's state are class-major, (c, d + 1) with b as the last column, all of one shape;
w, g and the state are the same memory as flat arrays. Each strip of the columns belongs to one member of the team,
which alone reads and writes it: it adds up its part of the scores of a block of rows, and when all have, it knows the
scores and adds its part of the gradient. All that members tell each other are these few scores.
"""

import numpy as np

from fastlin.kernels.compose import cut
from fastlin.kernels.numba_cache import jit
from fastlin.kernels.numba_math import row
from fastlin.kernels.numba_team import claim, finish, wait


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


def compose_epoch(gather, scores_of, epilogue, gradient, update, clip, prox, sum_squares, counts):
    """What every member of the team runs."""
    scalars_of = with_count if counts else without_count

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

    @jit
    def update_some(w, g, state, start, stop, scalars, scale, limit, shrink, factor):
        if scale != 1 or limit != np.inf:
            clip(g[start:stop], g[start:stop], scale, limit)
        update(w[start:stop], g[start:stop], *cut(state, start, stop), *scalars)
        if shrink != 0 or factor != 1:
            prox(w[start:stop], shrink, factor)

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

    @jit
    def end_step(w, g, ld, state, W, bias, strip, strips, t, rate, others, scale, limit, shrinkage):
        c, d = W.shape[0], W.shape[1] - 1
        first, last = strip_of(strip, strips, d)
        scalars = scalars_of(t, rate, others)
        shrink, factor = (shrinkage[0, 0], shrinkage[0, 1]) if shrinkage.size else (0.0, 1.0)
        for j in range(c):
            update_some(w, g, state, j * ld + first, j * ld + last, scalars, scale, limit, shrink, factor)
            if strip == 0 and bias:
                update_some(w, g, state, j * ld + d, j * ld + d + 1, scalars, scale, limit, 0.0, 1.0)

    def epoch(X, y, sample_weight, order, features, hyper, bias, batch, first, last, t, rates, others, penalty,
              clipping, shrinkage, W, w, state, rows, partial, scores, labels, weights, nothing, dW, g, losses,
              penalties, squares, board, rank, threads):  # fmt: skip
        n, ld, size = order.size, W.strides[0] // W.itemsize, partial.shape[-1]
        strips, blocks = squares.size, -(-batch // size)
        limit, most_norm = clipping
        by_norm = most_norm != np.inf
        done, phase = 0, 0
        for number in range(first, last + 1):
            # End the block before, begin this one. Clipping by a norm needs a phase more, for all to know the norm.
            step, ends = (number - 1) // blocks, number > first and number % blocks == 0
            count = min(batch, n - step * batch)
            for late in range(1 + by_norm):
                phase += 1
                for i in range(strips):
                    strip = (i + rank * strips // threads) % strips
                    if not claim(board, strip, phase):
                        continue
                    if number > first and not late:
                        start, stop = block_of(number - 1, n, batch, blocks, size)
                        if (number - 1) % blocks == 0:
                            low, high = strip_of(strip, strips, X.shape[1])
                            dW[:, low:high] = 0
                            if strip == 0:
                                dW[:, X.shape[1]] = 0
                        loss = end_block(order[start:stop], y, sample_weight, hyper, rows, partial[(number - 1) % 2],
                                         scores, labels, weights, dW, strip)  # fmt: skip
                        if strip == 0:  # nobody else writes there: adding 0 would undo what is being added
                            losses[0] += loss
                    if ends and not late:
                        added, squares[strip] = end_gradient(w, g, ld, W, bias, strip, strips, count, penalty, by_norm)
                        penalties[strip] += added
                    if ends and late == by_norm:
                        end_step(w, g, ld, state, W, bias, strip, strips, t + step, rates[step], others,
                                 norm_scale(squares, most_norm), limit, shrinkage[step : step + 1])  # fmt: skip
                    if late == by_norm and number < last:
                        start, stop = block_of(number, n, batch, blocks, size)
                        begin_block(
                            X, order[start:stop], features, W, rows, partial[number % 2], strip, strips, nothing
                        )
                    finish(board)
                done += strips
                wait(board, done)

    return epoch
