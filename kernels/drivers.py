"""The drivers compose functions of the table into kernels, here in Python without threads.

naive and numpy run them as they are. numba_drivers.py and native/*_driver.pxi do the same with a team of threads, whose
members divide parts of the rows, or blocks of columns, among themselves.
"""

import math

import numpy as np

from fastlin.kernels.records import NO_STAGES, clip_scale


def blocks_of(n, count, block, first_part, last_part, chunk, chunks):
    """(part, first row, the one after the last) of the blocks in one chunk of some of `count` parts of n rows."""
    for part in range(first_part, last_part):
        first, last = n * part // count, n * (part + 1) // count
        blocks = -(-(last - first) // block)
        stop = min(last, first + block * (blocks * (chunk + 1) // chunks))
        for start in range(first + block * (blocks * chunk // chunks), stop, block):
            yield part, start, min(start + block, stop)


def loss_driver(to_layout, scores_of, epilogue, gradient_of, combine):
    """A loss with its gradient: scores of a block of rows, epilogue, gradient of the block, next block.

    The rows are cut into parts, each with a gradient of its own, and parts into chunks of whole blocks. A call goes
    through one chunk of some parts; the first call of all copies W, and the last one sums the parts.
    """

    def loss_grad(
        X, W, y, sample_weight, hyper, scale, weights, panels, row_buffer, scores, parts, losses, dW,
        first_part, last_part, chunk, chunks, threads,
    ):  # fmt: skip
        n, count, c, block = sample_weight.shape[0], parts.shape[0], scores.shape[1] - 3, scores.shape[2]
        if not weights.size:
            weights = W  # read where it lies
        elif chunk == 0 and first_part == 0:
            to_layout(W, weights)
        if chunk == 0:
            parts[first_part:last_part] = 0
            losses[first_part:last_part] = 0
        for part, start, end in blocks_of(n, count, block, first_part, last_part, chunk, chunks):
            some = scores[part, :c, : end - start]
            scores_of(X, start, weights, row_buffer[part], some)
            losses[part] += epilogue(some, y[start:end], sample_weight[start:end], scores[part, c:], *hyper)
            gradient_of(X, start, row_buffer[part], some, parts[part])
        if chunk + 1 == chunks and last_part == count:
            combine(parts, scale, dW)

    return loss_grad


def slopes_driver(scores_of, epilogue, turn):
    """A loss, and the slopes of all rows: scores of a block of sparse rows, epilogue, next block.

    The parts are those of a loss with its gradient, and so are chunks and calls. `sums` are of the slopes of each part.
    """

    def slopes_of(
        X, W, y, sample_weight, hyper, scores, sums, losses, slopes, first_part, last_part, chunk, chunks, threads
    ):
        n, count, c, block = sample_weight.shape[0], losses.shape[0], scores.shape[1] - 3, scores.shape[2]
        if chunk == 0:
            sums[first_part:last_part] = 0
            losses[first_part:last_part] = 0
        for part, start, end in blocks_of(n, count, block, first_part, last_part, chunk, chunks):
            some = scores[part, :c, : end - start]
            scores_of(X, start, W, None, some)
            losses[part] += epilogue(some, y[start:end], sample_weight[start:end], scores[part, c:], *hyper)
            turn(some, start, slopes, sums[part])

    return slopes_of


def losses_driver(add_product, epilogue):
    """The weighted sum of losses of each of several W, without gradients.

    The W are stacked as if all their rows were classes. `blocks` holds the rows of X transposed: the numbers of a
    feature are contiguous. The scores W X^T then have the form of a gradient's product, which is added to b.
    """

    def losses_of(blocks, weights, y, sample_weight, hyper, scores, sums, losses):
        count, d, block = blocks.shape
        c = weights.shape[0] // losses.shape[0]
        scratch = scores[weights.shape[0] :]
        losses[:] = 0
        for number in range(count):
            start = number * block
            end = min(start + block, sample_weight.shape[0])
            some = scores[: weights.shape[0], : end - start]
            for j in range(weights.shape[0]):
                some[j] = weights[j, d]
            add_product(blocks[number, :, : end - start], weights[:, :d], some, sums)
            for i in range(losses.shape[0]):
                own = some[i * c : (i + 1) * c]
                losses[i] += epilogue(own, y[start:end], sample_weight[start:end], scratch, *hyper)

    return losses_of


def epoch_driver(
    gather_scores, epilogue, gather_gradient, penalty_stage, sum_squares, clip_stage, update, prox_stage, average_stage
):
    """Mini-batch steps: the gradient of a batch, a block of rows at a time, then the step; next batch.

    A call goes through the blocks `first` ... `last` - 1 of an epoch. Here every block adds to dW itself: blocks are so
    large that no batch has many; compiled kernels first make subtotals.
    """

    def add_block(data, weights, workspace, step, start, stop):
        """Adds the loss of rows order[start:stop], and their part of the mean gradient of their batch."""
        rows = data.order[start:stop]
        d, c = data.scale_shift.shape[1], weights.W.shape[0]
        S, scratch = workspace.scores[0, :c, : stop - start], workspace.scores[0, c:]
        gather_scores(data.X, rows, 0, d, data.scale_shift, workspace.row_buffer, weights.W, S)
        workspace.losses[step] += epilogue(S, data.y[rows], data.sample_weight[rows], scratch, *data.hyper)
        S *= S.dtype.type(1.0 / rows_of_batch(data, step))
        gather_gradient(data.X, rows, 0, d, data.scale_shift, workspace.row_buffer, S, weights.dW)

    def finish_gradient(data, steps, weights, workspace, step):
        """Adds the penalty's gradient; returns the factor that keeps the gradient's norm within its limit."""
        d = data.scale_shift.shape[1]
        penalty = squares = 0.0
        if not data.bias:
            weights.dW[:, d] = 0
        if any(steps.penalty):
            penalty = penalty_stage(weights.dW[:, :d], weights.W[:, :d], *steps.penalty)
        if steps.clip[1] < math.inf:
            squares = sum(sum_squares(g) for g in weights.dW)
        workspace.penalties[step, 0] = rows_of_batch(data, step) * penalty
        return clip_scale(math.sqrt(squares), steps.clip[1])

    def take_step(data, steps, weights, step, scale):
        w, g, *state = (A.reshape(-1) for A in (weights.W, weights.dW, *weights.state))
        if scale != 1 or steps.clip[0] < math.inf:
            clip_stage(g, g, scale, steps.clip[0])
        counted = (steps.t + step,) if steps.counts else ()
        update(w, g, *state, *counted, float(steps.lr[step]), *steps.others)
        if len(steps.shrinkage):
            b = weights.W[:, -1].copy()
            prox_stage(w, *steps.shrinkage[step].tolist())
            weights.W[:, -1] = b
        if len(steps.averaging):
            average_stage(w, weights.mean.reshape(-1), float(steps.averaging[step]))

    def epoch(data, steps, weights, workspace, first, last, threads):
        block = workspace.row_buffer.shape[0]
        blocks = -(-data.batch_size // block)  # of a batch; in the last batch some may be empty
        for number in range(first, last):
            step, inside = divmod(number, blocks)
            rows = rows_of_batch(data, step)
            if inside == 0 and not data.dW_begun:
                weights.dW[...] = 0
            start, stop = min(inside * block, rows), min((inside + 1) * block, rows)
            if start < stop:
                begin = step * data.batch_size
                add_block(data, weights, workspace, step, begin + start, begin + stop)
            if inside + 1 == blocks:
                scale = finish_gradient(data, steps, weights, workspace, step)
                take_step(data, steps, weights, step, scale)

    return epoch


def rows_of_batch(data, step):
    return min(data.batch_size, data.order.size - step * data.batch_size)


def step_driver(clip_stage, update, prox_stage):
    """An optimizer's step over flat arrays: clip g, update, prox of w."""

    def step(w, g, state, scalars, stages, ranges, threads):
        if stages == NO_STAGES:
            update(w, g, *state, *scalars)
            return
        clipped = np.empty_like(w)
        clip_stage(g, clipped, stages.scale, stages.limit)
        update(w, clipped, *state, *scalars)
        prox_stage(w, stages.shrink, stages.factor)

    return step


def squares_driver(sum_squares):
    """The sum of squares of each of some ranges of g."""

    def squares(g, sums, threads):
        for i in range(sums.size):
            sums[i] = sum_squares(g[g.size * i // sums.size : g.size * (i + 1) // sums.size])

    return squares
