"""The drivers of the backends written in Python: numba compiles them, naive and numpy run them as they stand.

Cython's are the same, in cython_driver.pxi, cython_wide.pxi, cython_search.pxi and cython_steps.pxi.
"""

import math

import numpy as np

STRIP = 256  # at least so many columns make a strip; whole cache lines, so that no two threads write to one


def compose(load, scores_of, epilogue, gradient, to_class_major, combine, claim, finish, wait):
    """One pass over X: scores of a row block, epilogue of the loss, gradient of the row block, next block.

    What comes back is run by every member of a team of threads, in three phases that all end together: W is copied
    class-major, strip by strip; the rows are gone through, part by part, each part adding to a gradient of its
    own; the parts' gradients are summed, strip by strip. `claim` says whether an item of a phase is ours to do,
    `finish` that it is done, and `wait` ends when so many are. A member begins with its own share of the items.
    """

    def loss_grad(
        X, W, y, sample_weight, hyper, scale, by_class, rows, scores, parts, losses, dW, lap, laps, board, rank, threads
    ):
        d = X.shape[1]
        columns, count, block = W.shape[0], parts.shape[0], scores.shape[2]
        strips = max(1, min(16, columns // STRIP))
        done = 0

        if lap == 0:
            for i in range(strips):
                item = (i + rank * strips // threads) % strips
                if claim(board, item, 1):
                    start = columns * item // strips // 16 * 16
                    stop = columns if item + 1 == strips else columns * (item + 1) // strips // 16 * 16
                    to_class_major(W[start:stop], by_class[:, start:stop])
                    if item == 0 and columns == d:
                        by_class[:, d] = 0
                    finish(board)
            done += strips
            wait(board, done)

        for i in range(count):
            item = (i + rank * count // threads) % count
            if claim(board, item, 2):
                first = X.shape[0] * item // count
                size = X.shape[0] * (item + 1) // count - first
                if lap == 0:
                    parts[item] = 0
                    losses[item] = 0
                S, scratch, dW_part = scores[item, : parts.shape[1]], scores[item, parts.shape[1] :], parts[item]
                stop = first + size * (lap + 1) // laps
                for start in range(first + size * lap // laps, stop, block):
                    end = min(start + block, stop)
                    floats = load(X[start:end], rows[item])
                    some = S[:, : end - start]
                    scores_of(floats, by_class[:, :d], by_class[:, d], some)
                    losses[item] += epilogue(some, y[start:end], sample_weight[start:end], scratch, *hyper)
                    gradient(floats, some, dW_part[:, :d], dW_part[:, d])
                finish(board)
        done += count
        wait(board, done)

        if lap + 1 == laps:
            for i in range(strips):
                item = (i + rank * strips // threads) % strips
                if claim(board, item, 3):
                    start = columns * item // strips // 16 * 16
                    stop = columns if item + 1 == strips else columns * (item + 1) // strips // 16 * 16
                    combine(parts[:, :, start:stop], scale, dW[start:stop])
                    finish(board)
            wait(board, done + strips)

    return loss_grad


def compose_alone(load, scores_of, epilogue, gradient, to_class_major, combine):
    """The driver for a team of one, in plain Python."""
    driver = compose(
        *(load, scores_of, epilogue, gradient, to_class_major, combine),
        claim=lambda board, item, phase: True,
        finish=lambda board: None,
        wait=lambda board, done: None,
    )
    return lambda *args: driver(*args[:-1], None, 0, 1)  # without threads


def compose_columns(epilogue, claim, finish, wait):
    """The epilogue of many columns of scores, in shares, and these in blocks; run by every member of a team."""

    def columns(scores, y, sample_weight, hyper, scratch, losses, board, rank, threads):
        n, count, block = scores.shape[1], losses.size, scratch.shape[2]
        for i in range(count):
            share = (i + rank * count // threads) % count
            if claim(board, share, 1):
                losses[share] = 0
                stop = n * (share + 1) // count
                for start in range(n * share // count, stop, block):
                    end = min(start + block, stop)
                    some = scores[:, start:end]
                    losses[share] += epilogue(some, y[start:end], sample_weight[start:end], scratch[share], *hyper)
                finish(board)
        wait(board, count)

    return columns


def compose_losses(product, epilogue):
    """The weighted sum of losses of each of several W, without gradients.

    The W stand one below the other as if all their rows were classes. `blocks` holds the rows of X, a feature's numbers
    side by side, so that the scores W X^T are the product that a gradient is: `product` adds it to b.
    """

    def losses_of(blocks, W, y, sample_weight, hyper, scores, sums, losses):
        count, d, block = blocks.shape
        c = W.shape[0] // losses.shape[0]
        scratch = scores[W.shape[0] :]
        losses[:] = 0
        for number in range(count):
            start = number * block
            end = min(start + block, sample_weight.shape[0])
            some = scores[: W.shape[0], : end - start]
            for j in range(W.shape[0]):
                some[j] = W[j, d]
            product(blocks[number, :, : end - start], W[:, :d], some, sums)
            for i in range(losses.shape[0]):
                own = some[i * c : (i + 1) * c]
                losses[i] += epilogue(own, y[start:end], sample_weight[start:end], scratch, *hyper)

    return losses_of


def cut(arrays, start, stop):
    """The same stretch of each array."""
    return tuple([A[start:stop] for A in arrays])


def compose_step(clip, update, prox, claim, head_of):
    """Clip g, update, prox of w, over ranges of the arrays that a team shares out, each by stretches that stay in L1.

    A member begins with its own range, the same in every step, so that its part of w and the state stays in its cache.
    Ranges begin at cache lines of w, before the first of which `head_of(w)` numbers stand.
    """

    def step(w, g, state, scalars, stages, rooms, ranges, board, rank, threads):
        scale, limit, shrink, factor = stages
        plain = scale == 1 and limit == math.inf and shrink == 0 and factor == 1
        n, head, line = w.size, head_of(w), 64 // w.itemsize
        for i in range(ranges):
            item = (i + rank * ranges // threads) % ranges
            if claim(board, item, 1):
                start = min(n, head + n * item // ranges // line * line) if item else 0
                last = min(n, head + n * (item + 1) // ranges // line * line) if item + 1 < ranges else n
                while start < last:
                    stop = min(last, head if start < head else last if plain else start + rooms.shape[1])
                    some = g[start:stop]
                    if not plain:
                        some = rooms[rank, : stop - start]
                        clip(g[start:stop], some, scale, limit)
                    update(w[start:stop], some, *cut(state, start, stop), *scalars)
                    if not plain:
                        prox(w[start:stop], shrink, factor)
                    start = stop

    return step


def compose_step_alone(clip, update, prox):
    """The same for a team of one and a single stretch, in plain Python."""
    driver = compose_step(clip, update, prox, lambda board, item, phase: True, lambda w: 0)

    def step(w, g, state, scalars, stages, ranges, threads):
        driver(w, g, state, scalars, stages, np.empty((1, w.size), w.dtype), 1, None, 0, 1)

    return step


def compose_squares(sum_squares, claim):
    """The sum of squares of each range of g."""

    def squares(g, sums, board, rank, threads):
        for i in range(sums.size):
            item = (i + rank * sums.size // threads) % sums.size
            if claim(board, item, 1):
                sums[item] = sum_squares(g[g.size * item // sums.size : g.size * (item + 1) // sums.size])

    return squares


def compose_squares_alone(sum_squares):
    """The same for a team of one."""
    driver = compose_squares(sum_squares, lambda board, item, phase: True)
    return lambda g, sums, threads: driver(g, sums, None, 0, 1)
