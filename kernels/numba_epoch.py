"""The epoch driver of kernels/drivers.py for Numba: a team of threads runs many steps of an epoch in one call.

The columns are cut into column blocks, and each member of the team has a share of these. It alone writes the entries of
W, dW and the state in its share. It computes the partial scores of each of its column blocks for a block of rows. When
all members have done so, it sums the partial scores and adds its share of the gradient. The cut does not depend on the
number of threads, so the bits do not either. The members exchange nothing but these partial scores.

The pieces are called by their addresses, and every update takes the same arguments. So each piece is compiled once, on
its own, and the driver once for all pieces. Stages that an epoch does not use are not compiled.
"""

from functools import cache
from typing import NamedTuple

import numba
import numpy as np
from numba.core import types
from numba.core.types import Array, Tuple, UniTuple

from fastlin.kernels.numba_cache import FASTMATH, inlined, jit
from fastlin.kernels.numba_drivers import (
    compiled_piece,
    jit_member,
    loss_args,
    reader,
    type_of_stored,
    update_args,
)
from fastlin.kernels.numba_math import each_row, matrix, row, slice_of, slices_of, smaller, window
from fastlin.kernels.numba_team import (
    PROGRESS_SIZE,
    address_of,
    by_address,
    claim,
    column_range,
    finish,
    job_slot_for,
    rotated,
    together,
    wait,
)
from fastlin.kernels.numba_tile import WIDE_CLASSES
from fastlin.kernels.numba_updates import clip_scale
from fastlin.kernels.records import EpochData, EpochSteps, EpochWeights, EpochWorkspace

MOST_STATES, MOST_OTHERS = 3, 5  # arrays of an update's state, and its hyper-parameters beside the rate


class Pieces(NamedTuple):
    """The address of each piece; 0 for a stage that the epoch does not use."""

    gather_scores: int
    epilogue: int
    gather_gradient: int
    finish_block: int  # of the penalty and the sum of squares
    clip_stage: int
    update: int
    prox_stage: int
    average_stage: int


class Gathered(NamedTuple):
    """For each share, the columns that it has gathered of a block of rows."""

    y: np.ndarray
    sample_weight: np.ndarray


class Share(NamedTuple):
    """The columns of one item of a phase, without b, which belongs to the first column."""

    number: int
    first_block: int
    last_block: int  # one past the last block
    first: int
    last: int


# ---- Loops of a phase --------------------------------------------------------------------------------------


@inlined
def rows_of_batch(data, step):
    return smaller(data.batch_size, data.order.size - step * data.batch_size)


@inlined
def rows_of_block(data, number, block):
    """The start and end of a block's rows in the order; in the last batch some blocks may be empty."""
    blocks = -(-data.batch_size // block)
    step, inside = number // blocks, number % blocks * block
    start = step * data.batch_size
    rows = smaller(inside + block, rows_of_batch(data, step))
    return start + inside, start + (rows if rows > inside else inside)


@inlined
def take_labels(order, y, sample_weight, own_y, own_weight):
    for r in range(order.size):
        own_y[r] = y[order[r]]
        own_weight[r] = sample_weight[order[r]]


@inlined
def take_targets(order, y, sample_weight, own_y, own_weight):
    for r in range(order.size):
        own_weight[r] = sample_weight[order[r]]
        for j in range(y.shape[1]):
            own_y[r, j] = y[order[r], j]


@inlined
def sum_partial(S, partial, first, column_blocks):
    """The scores of a block of rows: the sum of the column blocks' partial scores."""
    for j in range(S.shape[0]):
        total = row(S, j)
        for i in range(column_blocks):
            part = row(matrix(partial, first + i), j)
            for r in range(total.size):
                total[r] = part[r] if i == 0 else total[r] + part[r]


@inlined
def scale_rows(S, scale):
    factor = S.dtype.type(scale)
    for j in range(S.shape[0]):
        s = row(S, j)
        for r in range(s.size):
            s[r] *= factor


@inlined
def add_subtotal(dW, subtotal, first, last):
    d = dW.shape[1] - 1
    for j in range(dW.shape[0]):
        g, part = slice_of(row(dW, j), first, last), slice_of(row(subtotal, j), first, last)
        for k in range(g.size):
            g[k] += part[k]
        if first == 0:
            dW[j, d] += subtotal[j, d]


@inlined
def clear(dW, first, last):
    d = dW.shape[1] - 1
    for j in range(dW.shape[0]):
        g = slice_of(row(dW, j), first, last)
        for k in range(g.size):
            g[k] = 0
        if first == 0:
            dW[j, d] = 0


@inlined
def norm_scale(squares, most_norm):
    total = 0.0
    for i in range(squares.size):
        total += squares[i]
    return clip_scale(np.sqrt(total), most_norm)


# ---- What a member does with a share ---------------------------------------------------------------------


def begin_block_with(gather_scores):
    @inlined
    def begin_block(pieces, data, weights, workspace, number, share):
        """Computes the partial scores of the share's columns for the rows of a block."""
        scores, column_blocks = workspace.scores, workspace.squares.size
        c, d = weights.W.shape[0], weights.W.shape[1] - 1
        start, stop = rows_of_block(data, number, scores.shape[2])
        rows = slice_of(data.order, start, data.order.size)
        for i in range(share.first_block, share.last_block):
            first, last = column_range(i, i + 1, column_blocks, d)
            partial = window(matrix(workspace.partial, number % 2 * column_blocks + i), 0, c, 0, stop - start)
            where = data.X, rows, first, last, data.scale_shift
            gather_scores(pieces.gather_scores, (*where, workspace.row_buffer, weights.W, partial))

    return begin_block


def end_block_with(epilogue, gather_gradient, take_y):
    @inlined
    def end_block(pieces, data, weights, workspace, gathered, number, share):
        """Adds the block's part of the mean gradient in the share's columns, and the block's loss."""
        S, column_blocks, c = matrix(workspace.scores, share.number), workspace.squares.size, weights.W.shape[0]
        blocks, apart, gradient = -(-data.batch_size // S.shape[1]), workspace.subtotal_blocks, weights.dW
        if number % blocks == 0 and not data.dW_begun:
            clear(weights.dW, share.first, share.last)
        if apart != 0:
            gradient = workspace.subtotal
            if number % blocks % apart == 0:
                clear(gradient, share.first, share.last)
        start, stop = rows_of_block(data, number, S.shape[1])
        rows = slice_of(data.order, start, data.order.size)
        own, scratch = window(S, 0, c, 0, stop - start), window(S, c, S.shape[0] - c, 0, S.shape[1])
        sum_partial(own, workspace.partial, number % 2 * column_blocks, column_blocks)
        own_y, own_weight = gathered.y[share.number], row(gathered.sample_weight, share.number)
        take_y(slice_of(rows, 0, stop - start), data.y, data.sample_weight, own_y, own_weight)
        loss = epilogue(pieces.epilogue, (own, own_y, own_weight, scratch, *data.hyper))
        if share.number == 0:  # every share computes the same loss
            workspace.losses[number // blocks] += loss
        scale_rows(own, 1.0 / rows_of_batch(data, number // blocks))
        where = data.X, rows, share.first, share.last, data.scale_shift
        gather_gradient(pieces.gather_gradient, (*where, workspace.row_buffer, own, gradient))
        count = number % blocks + 1
        if apart != 0 and (count == blocks or count % apart == 0):
            add_subtotal(weights.dW, workspace.subtotal, share.first, share.last)

    return end_block


def finish_gradient_with(finish_block):
    @inlined
    def finish_gradient(pieces, data, steps, weights, workspace, step, share):
        """Adds the penalty's part of each column block, and its value; if the norm is asked for, sums the squares."""
        W, dW, count = weights.W, weights.dW, workspace.squares.size
        c, d = W.shape[0], W.shape[1] - 1
        for i in range(share.first_block, share.last_block):
            first, last = column_range(i, i + 1, count, d)
            b = window(dW, 0, c, d, 1 if first == 0 and data.bias else 0)
            some = window(W, 0, c, first, last - first), window(dW, 0, c, first, last - first)
            value, squares = finish_block(pieces.finish_block, (*some, b, *steps.penalty, steps.clip[1] < np.inf))
            workspace.squares[i] = squares
            workspace.penalties[step, i] = rows_of_batch(data, step) * value

    return finish_gradient


def take_step_with(clip_stage, update, prox_stage, average_stage):
    @inlined
    def take_step(pieces, data, steps, weights, workspace, step, share):
        """The optimizer's step for the share's columns, and for b if they are the first."""
        limit, most_norm = steps.clip
        scale = norm_scale(workspace.squares, most_norm)
        d = weights.W.shape[1] - 1
        for j in range(weights.W.shape[0]):
            for part in range(2 if share.first == 0 and data.bias else 1):  # the second is b
                first, last = (share.first, share.last) if part == 0 else (d, d + 1)
                w, g = slice_of(row(weights.W, j), first, last), slice_of(row(weights.dW, j), first, last)
                if pieces.clip_stage != 0:
                    clip_stage(pieces.clip_stage, (g, g, scale, limit))
                state = slices_of(each_row(weights.state, j), first, last)
                update(pieces.update, (w, g, state, steps.t + step, steps.lr[step], steps.others))
                if pieces.prox_stage != 0 and part == 0:
                    prox_stage(pieces.prox_stage, (w, steps.shrinkage[step, 0], steps.shrinkage[step, 1]))
                if pieces.average_stage != 0:
                    mean = slice_of(row(weights.mean, j), first, last)
                    average_stage(pieces.average_stage, (w, mean, steps.averaging[step]))

    return take_step


def epoch_member(begin_block, end_block, finish_gradient, take_step):
    """What every member of the team runs."""

    def epoch(pieces, data, steps, weights, workspace, gathered, begin, end, progress, rank, threads):
        d, column_blocks = weights.W.shape[1] - 1, workspace.squares.size
        shares = threads if threads < column_blocks else column_blocks
        blocks, by_norm = -(-data.batch_size // workspace.scores.shape[2]), steps.clip[1] < np.inf
        # A phase ends the block before `number`, and begins block `number`. Clipping by a norm takes a second one,
        # because every share needs the norm.
        phases, done = 1 + by_norm, 0
        for phase in range((end - begin + 1) * phases):
            number, late = begin + phase // phases, phase % phases
            step, ends = (number - 1) // blocks, number > begin and number % blocks == 0
            for i in range(shares):
                item = rotated(i, shares, rank, threads)
                if claim(progress, item, phase + 1):
                    first_block, last_block = column_blocks * item // shares, column_blocks * (item + 1) // shares
                    columns = column_range(first_block, last_block, column_blocks, d)
                    share = Share(item, first_block, last_block, columns[0], columns[1])
                    if number > begin and late == 0:
                        end_block(pieces, data, weights, workspace, gathered, number - 1, share)
                    if ends and late == 0 and pieces.finish_block != 0:
                        finish_gradient(pieces, data, steps, weights, workspace, step, share)
                    if ends and late == by_norm:
                        take_step(pieces, data, steps, weights, workspace, step, share)
                    if number < end and late == by_norm:
                        begin_block(pieces, data, weights, workspace, number, share)
                    finish(progress)
            done += shares
            wait(progress, done)

    return epoch


# ---- Compiling and calling -------------------------------------------------------------------------------


def epoch_driver(
    gather_scores, epilogue, gather_gradient, penalty_stage, sum_squares, clip_stage, update, prox_stage, average_stage
):
    """The pieces are compiled at the first call for each dtype and each choice of stages, whatever the strides are."""
    args, how = loss_args(epilogue), update_args(update)
    if how.states > MOST_STATES or how.others > MOST_OTHERS:
        raise ValueError(
            f"{how.name} has {how.states} arrays of state and {how.others} hyper-parameters beside the rate; "
            f"an epoch takes {MOST_STATES} and {MOST_OTHERS} at most (kernels/numba_epoch.py)"
        )
    finish_block = finishing(penalty_stage, sum_squares)
    others = finish_block, clip_stage, same_arguments(update), prox_stage, average_stage
    as_read, compiled = reader(gather_scores), {}

    def epoch(data, steps, weights, workspace, first, last, threads):
        if as_read is not None:
            data = data._replace(X=as_read(data.X))
        stages = {
            "finish_block": any(steps.penalty) or steps.clip[1] < np.inf,
            "clip_stage": min(steps.clip) < np.inf,
            "prox_stage": len(steps.shrinkage) > 0,
            "average_stage": len(steps.averaging) > 0,
        }
        c = len(weights.W)
        key = weights.W.itemsize, c >= WIDE_CLASSES, *stages.values()
        if key not in compiled:
            products = compiled_piece(gather_scores, c), epilogue, compiled_piece(gather_gradient, c)
            functions = Pieces(*products, *others)
            kinds = type_of_stored(data.X), numba.from_dtype(weights.W.dtype), args.y_ndim, args.hyper
            used = [None if not stages.get(name, True) else piece for name, piece in functions._asdict().items()]
            compiled[key] = addresses(Pieces(*used), kinds), compile_epoch(*kinds)
        pieces, run = compiled[key]
        column_blocks, _, block = workspace.scores.shape
        gathered = Gathered(
            np.empty((column_blocks, block, *data.y.shape[1:]), data.y.dtype),
            np.empty((column_blocks, block), weights.W.dtype),
        )
        steps = steps._replace(others=(*steps.others, *[0.0] * (MOST_OTHERS - how.others)))
        weights = weights._replace(state=(*weights.state, *[weights.W] * (MOST_STATES - how.states)))
        workspace = workspace._replace(partial=workspace.partial.reshape(-1, c, block))
        job = pieces, data, steps, weights, workspace, gathered, first, last, np.zeros(PROGRESS_SIZE, np.intp)
        run(job_slot_for(threads), threads, job)

    return epoch


@cache
def finishing(penalty_stage, sum_squares):
    """What ends the gradient of some columns."""

    def finish_block(w, g, b, l2, l1, by_norm):
        """The value of the penalty, whose gradient is added to g, and if asked for the sum of squares of g and b."""
        squares, value = 0.0, penalty_stage(g, w, l2, l1)
        if by_norm:
            for j in range(w.shape[0]):
                squares += sum_squares(row(g, j)) + sum_squares(row(b, j))
        return value, squares

    return jit(finish_block, name="epoch-finish")


@cache
def same_arguments(update):
    """The update with the same arguments as every other update."""
    how = update_args(update)
    states, others, skipped = how.states, how.others, 0 if how.counts else 1

    def step(w, g, state, t, lr, rest):
        update(w, g, *state[:states], *(t, lr)[skipped:], *rest[:others])

    return jit(step, name=f"epoch-{update.__name__}")


def addresses(pieces, kinds):
    """Compiles the pieces that the epoch uses, and returns their addresses."""
    types_of = piece_types(*kinds)
    found = {
        name: 0 if piece is None else address_of(piece, types_of[name][1:]) for name, piece in pieces._asdict().items()
    }
    return Pieces(**found)


def piece_types(stored, real, y_ndim, hyper):
    """The type that each piece returns and the types of its arguments, which cover arrays of any strides."""
    number, flat, matrix = types.float64, real[::1], Array(real, 2, "A")
    order, scale_shift = Array(types.int64, 1, "C", readonly=True), Array(real, 2, "C", readonly=True)
    rows = stored, order, types.intp, types.intp
    y = types.int32[::1] if y_ndim == 1 else real[:, ::1]
    state, others = UniTuple(flat, MOST_STATES), UniTuple(number, MOST_OTHERS)
    return {
        "gather_scores": (types.none, *rows, scale_shift, matrix, matrix, matrix),
        "epilogue": (number, matrix, y, flat, matrix, *[number] * hyper),
        "gather_gradient": (types.none, *rows, scale_shift, matrix, matrix, matrix),
        "finish_block": (UniTuple(number, 2), matrix, matrix, matrix, number, number, types.boolean),
        "clip_stage": (types.none, flat, flat, number, number),
        "update": (types.none, flat, flat, state, types.intp, number, others),
        "prox_stage": (types.none, flat, number, number),
        "average_stage": (types.none, flat, number[::1], number),
    }


@cache
def compile_epoch(stored, real, y_ndim, hyper):
    """The function that runs an epoch by a team. It can call any pieces of these types."""
    call = {name: by_address(kinds[0], kinds[1:]) for name, kinds in piece_types(stored, real, y_ndim, hyper).items()}
    member = epoch_member(
        begin_block_with(call["gather_scores"]),
        end_block_with(call["epilogue"], call["gather_gradient"], take_labels if y_ndim == 1 else take_targets),
        finish_gradient_with(call["finish_block"]),
        take_step_with(call["clip_stage"], call["update"], call["prox_stage"], call["average_stage"]),
    )
    number, reals, y = types.float64, types.float64[::1], types.int32 if y_ndim == 1 else real
    inputs = ((y, y_ndim, "C"), (real, 1, "C"), (types.int64, 1, "C"), (real, 2, "C"))
    matrix, pair = Array(real, 2, "A"), UniTuple(number, 2)
    lr, others, shrinkage = reals, UniTuple(number, MOST_OTHERS), types.float64[:, ::1]
    groups = {
        Pieces: [types.intp] * len(Pieces._fields),
        EpochData: [
            *(stored, *(Array(*kind, readonly=True) for kind in inputs)),
            *(UniTuple(number, hyper), types.boolean, types.intp, types.boolean),
        ],
        EpochSteps: [types.intp, types.boolean, lr, others, pair, pair, shrinkage, reals],
        EpochWeights: [matrix, matrix, UniTuple(matrix, MOST_STATES), Array(number, 2, "A")],
        EpochWorkspace: [
            *(matrix, Array(real, 3, "A"), Array(real, 3, "A"), matrix, types.intp),
            *(reals, number[:, ::1], reals),
        ],
        Gathered: [Array(y, y_ndim + 1, "C"), Array(real, 2, "C")],
    }
    given = (types.NamedTuple(members, group) for group, members in groups.items())
    job = Tuple((*given, types.intp, types.intp, types.intp[::1]))
    # Sums over blocks, batches and threads are computed in the order of this code.
    return together(jit_member(member, "epoch", fastmath=FASTMATH - {"reassoc"}), job)
