"""The drivers of kernels/drivers.py for Numba, run by a team of threads (numba_team.py).

Each NAME_driver makes a function that every member of the team runs and that is compiled at the first call for each
dtype. It returns the kernel: a Python function that gives a team a job with these arrays.
"""

import inspect
from functools import cache, update_wrapper
from typing import NamedTuple

import numba
import numpy as np
from numba import types

from fastlin.kernels import drivers
from fastlin.kernels.numba_cache import FASTMATH, inlined, jit
from fastlin.kernels.numba_math import matrix, row, slice_of, slices_of, smaller, window
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
from fastlin.kernels.records import NO_STAGES

COLUMN_BLOCK, MOST_COLUMN_BLOCKS = 256, 16  # columns of W or dW that a member copies or sums, at least; and most blocks
STEP_CHUNK = 2048  # numbers that are clipped, updated and shrunk while they are in L1


class ByClasses:
    """A function of the table in two forms: for few classes, and for many, with the tiles of numba_wide.py too.

    Those take the compiler longer than all else. The last argument of the function has a row for each class.
    """

    def __init__(self, few, many):
        self.few, self.many = few, many
        update_wrapper(self, few.py_func)

    def of(self, c):
        """The form for c classes."""
        return self.many if c >= WIDE_CLASSES else self.few

    def __call__(self, *args):
        return self.of(len(args[-1]))(*args)


class Float16Kernel:
    """A function of a float16 X. Numba has no float16 arrays: `compiled` is given the bits of X, and Python calls this.

    Drivers compile the functions that they are made of, and give them X as `as_read` returns it.
    """

    def __init__(self, compiled):
        self.compiled = compiled
        update_wrapper(self, compiled)

    @staticmethod
    def as_read(X):
        """X as the compiled function reads it."""
        return X.view(np.uint16)

    def __call__(self, X, *args):
        return self.compiled(self.as_read(X), *args)


def compiled_piece(piece, c):
    """The part of a function of the table that Numba compiles, for c classes."""
    found = getattr(piece, "compiled", piece)
    return found.of(c) if isinstance(found, ByClasses) else found


def reader(piece):
    """The function that converts X into what a storage's compiled functions read; None if they read X itself."""
    return getattr(piece, "as_read", None)


def type_of_stored(X):
    """Numba's type for what a storage reads, an array or a NamedTuple of arrays: read only, rows of any strides."""
    if isinstance(X, tuple):
        return types.NamedTuple([type_of_stored(A) for A in X], type(X))
    if isinstance(X, int):
        return types.intp
    return types.Array(numba.from_dtype(X.dtype), X.ndim, "C" if X.ndim == 1 else "A", readonly=True)


class LossArgs(NamedTuple):
    """The kinds of arguments that an epilogue takes."""

    name: str
    y_ndim: int
    hyper: int  # how many

    def types(self, real):
        """The types of y, sample_weight and the hyper-parameters."""
        return (
            types.Array(types.int32 if self.y_ndim == 1 else real, self.y_ndim, "C", readonly=True),
            types.Array(real, 1, "C", readonly=True),
            types.UniTuple(types.float64, self.hyper),
        )


def loss_args(epilogue):
    """Reads the names of an epilogue's arguments."""
    _, y, _, _, *hyper = inspect.signature(epilogue).parameters
    return LossArgs(epilogue.__name__, 1 if y == "y" else 2, len(hyper))


class UpdateArgs(NamedTuple):
    """The arguments that an update takes beside w, g and the rate."""

    name: str
    states: int
    counts: bool
    others: int


def update_args(update):
    """Reads the names of an update's arguments."""
    _, _, *names = inspect.signature(update).parameters
    counts = "t" in names
    return UpdateArgs(update.__name__, names.index("t" if counts else "lr"), counts, len(names) - 1 - names.index("lr"))


def named_after(driver, *pieces):
    """A name for a kernel that no other composition of functions has."""
    return "-".join([driver, *(piece.__name__ for piece in pieces)])


def jit_member(function, name, fastmath=FASTMATH):
    """What every member of a team runs. It counts no references: its arrays live as long as the job.

    Counting would also take the compiler twice as long where members are given records of arrays.
    """
    return jit(function, name, fastmath, count_references=False)


# ---- The loss with its gradient --------------------------------------------------------------------------


class LossPieces(NamedTuple):
    """The addresses of the functions that a loss is composed of."""

    to_layout: int
    scores: int
    epilogue: int
    gradient: int
    combine: int


def loss_driver(to_layout, scores, epilogue, gradient, combine):
    """The pieces are compiled at the first call for each dtype, few or many classes, whatever the strides are."""
    feature_major = to_layout.__name__ == "to_feature_major"
    args, as_read, compiled = loss_args(epilogue), reader(scores), {}

    def loss_grad(
        X, W, y, sample_weight, hyper, scale, weights, panels, row_buffer, scores_, parts, losses, dW,
        first_part, last_part, chunk, chunks, threads,
    ):  # fmt: skip
        if as_read is not None:
            X = as_read(X)
        c = W.shape[1]
        if not weights.size and W.shape[0] and c > 1 and W.strides[1] != W.itemsize:
            raise ValueError(f"W is read in place, but its columns lie {W.strides[1]} bytes apart")
        key = W.itemsize, c >= WIDE_CLASSES
        if key not in compiled:
            kinds = type_of_stored(X), numba.from_dtype(W.dtype), args.y_ndim, args.hyper
            functions = to_layout, compiled_piece(scores, c), epilogue, compiled_piece(gradient, c), combine
            found = map(address_of, functions, [kind[1:] for kind in loss_piece_types(*kinds).values()])
            compiled[key] = LossPieces(*found), compile_loss(*kinds, feature_major)
        pieces, run = compiled[key]
        inputs = X, W, y, sample_weight, hyper, scale
        workspace = weights, row_buffer, scores_, parts, losses
        job = *inputs, *workspace, dW, first_part, last_part, chunk, chunks, np.zeros(PROGRESS_SIZE, np.intp)
        run(job_slot_for(threads), threads, (pieces, *job))

    return loss_grad


def loss_piece_types(stored, real, y_ndim, hyper):
    """The type that each piece returns and the types of its arguments, which cover arrays of any strides."""
    flat, matrix, start = real[::1], types.Array(real, 2, "A"), types.intp
    y = types.int32[::1] if y_ndim == 1 else real[:, ::1]
    return {
        "to_layout": (types.none, types.Array(real, 2, "A", readonly=True), matrix),
        "scores": (types.none, stored, start, matrix, matrix, matrix),
        "epilogue": (types.float64, matrix, y, flat, matrix, *[types.float64] * hyper),
        "gradient": (types.none, stored, start, matrix, matrix, matrix),
        "combine": (types.none, types.Array(real, 3, "A"), types.float64, matrix),
    }


def loss_member(lay_out, add_block, sum_parts, feature_major):
    """What every member of a team runs, in three phases that all members end together.

    The first phase copies W into the kernels' layout, a column block at a time. The second computes the gradient of
    each part of the rows. The third sums the gradients of the parts, a column block at a time. In each phase a member
    begins with its own share of the items.
    """

    def member(
        pieces, X, W, y, sample_weight, hyper, scale, weights, row_buffer, scores, parts, losses, dW,
        first_part, last_part, chunk, chunks, progress, rank, threads,
    ):  # fmt: skip
        n, count, block = sample_weight.shape[0], parts.shape[0], scores.shape[2]
        columns = parts.shape[1] if feature_major else parts.shape[2]
        laid = W  # read where it lies
        if weights.size:
            laid = weights
        column_blocks = smaller(MOST_COLUMN_BLOCKS, columns // COLUMN_BLOCK)
        column_blocks = column_blocks if column_blocks > 1 else 1
        done = 0

        if chunk == 0 and first_part == 0 and weights.size:
            for i in range(column_blocks):
                item = rotated(i, column_blocks, rank, threads)
                if claim(progress, item, 1):
                    lay_out(pieces, W, weights, column_range(item, item + 1, column_blocks, columns))
                    finish(progress)
            done += column_blocks
            wait(progress, done)

        for i in range(last_part - first_part):
            item = first_part + rotated(i, last_part - first_part, rank, threads)
            if claim(progress, item, 2):
                first, last = n * item // count, n * (item + 1) // count
                total = matrix(parts, item)
                if chunk == 0:
                    losses[item] = 0
                    clear(total)
                blocks = -(-(last - first) // block)
                stop = smaller(last, first + block * (blocks * (chunk + 1) // chunks))
                for start in range(first + block * (blocks * chunk // chunks), stop, block):
                    end = smaller(start + block, stop)
                    given = X, laid, y[start:end], sample_weight, hyper
                    work = matrix(row_buffer, item), matrix(scores, item), total
                    losses[item] += add_block(pieces, given, work, start)
                finish(progress)
        done += last_part - first_part
        wait(progress, done)

        if chunk + 1 == chunks and last_part == count:
            for i in range(column_blocks):
                item = rotated(i, column_blocks, rank, threads)
                if claim(progress, item, 3):
                    sum_parts(pieces, parts, scale, dW, column_range(item, item + 1, column_blocks, columns))
                    finish(progress)
            wait(progress, done + column_blocks)

    return member


@inlined
def clear(A):
    for j in range(A.shape[0]):
        a = row(A, j)
        for k in range(a.size):
            a[k] = 0


def loss_phases(to_layout, scores_of, epilogue, gradient_of, combine, feature_major):
    """What is done with an item of each phase, by pieces that are called by their addresses."""

    @inlined
    def lay_out(pieces, W, weights, columns):
        first, last = columns[0], smaller(columns[1], W.shape[0])  # W may have no b, and its column is laid out too
        if feature_major:
            some = window(weights, first, columns[1] - first, 0, weights.shape[1])
        else:
            some = window(weights, 0, weights.shape[0], first, columns[1] - first)
        to_layout(pieces.to_layout, (window(W, first, last - first, 0, W.shape[1]), some))

    @inlined
    def add_block(pieces, given, work, start):
        """Adds the gradient of some rows; returns their loss."""
        X, W, y, sample_weight, hyper = given
        copies, S, total = work
        rows, c = y.shape[0], S.shape[0] - 3
        some, scratch = window(S, 0, c, 0, rows), window(S, c, 3, 0, S.shape[1])
        scores_of(pieces.scores, (X, start, W, copies, some))
        weight = slice_of(sample_weight, start, start + rows)
        loss = epilogue(pieces.epilogue, (some, y, weight, scratch, *hyper))
        gradient_of(pieces.gradient, (X, start, copies, some, total))
        return loss

    @inlined
    def sum_parts(pieces, parts, scale, dW, columns):
        first, last = columns[0], smaller(columns[1], dW.shape[0])
        some = parts[:, first : columns[1]] if feature_major else parts[:, :, first : columns[1]]
        combine(pieces.combine, (some, scale, window(dW, first, last - first, 0, dW.shape[1])))

    return lay_out, add_block, sum_parts


@cache
def compile_loss(stored, real, y_ndim, hyper, feature_major):
    """The machine code, for a team. It can call any pieces of these types."""
    given = LossArgs("", y_ndim, hyper).types(real)
    call = (by_address(kinds[0], kinds[1:]) for kinds in loss_piece_types(stored, real, y_ndim, hyper).values())
    member = loss_member(*loss_phases(*call, feature_major), feature_major)
    member = jit_member(member, f"loss-{'feature' if feature_major else 'class'}-major")
    pieces = types.NamedTuple([types.intp] * len(LossPieces._fields), LossPieces)
    inputs = stored, types.Array(real, 2, "A", readonly=True), *given, types.float64
    workspace = *(types.Array(real, ndim, "A") for ndim in (2, 3, 3, 3)), types.float64[::1]
    dW, cut, progress = types.Array(real, 2, "A"), [types.intp] * 4, types.intp[::1]
    return together(member, types.Tuple((pieces, *inputs, *workspace, dW, *cut, progress)))


# ---- A loss and the slopes of all rows ---------------------------------------------------------------------


def slopes_driver(scores, epilogue, turn):
    """The kernel is compiled once for each dtype."""
    pieces = scores, epilogue, turn
    member = jit_member(slopes_member(*pieces), named_after("slopes", *pieces))
    args, compiled = loss_args(epilogue), {}

    def slopes_of(X, W, y, sample_weight, hyper, scores, sums, losses, slopes, *cut):
        *cut, threads = cut
        if W.itemsize not in compiled:
            real = numba.from_dtype(W.dtype)
            inputs = type_of_stored(X), types.Array(real, 2, "A", readonly=True), *args.types(real)
            workspace = types.Array(real, 3, "A"), types.Array(real, 2, "A"), types.float64[::1]
            job = *inputs, *workspace, types.Array(real, 2, "A"), *[types.intp] * 4, types.intp[::1]
            compiled[W.itemsize] = together(member, types.Tuple(job))
        job = X, W, y, sample_weight, hyper, scores, sums, losses, slopes, *cut, np.zeros(PROGRESS_SIZE, np.intp)
        compiled[W.itemsize](job_slot_for(threads), threads, job)

    return slopes_of


def slopes_member(scores_of, epilogue, turn):
    """What every member of a team runs: the second phase of a loss with its gradient, where slopes are kept instead."""

    def member(
        X, W, y, sample_weight, hyper, scores, sums, losses, slopes, first_part, last_part, chunk, chunks,
        progress, rank, threads,
    ):  # fmt: skip
        n, count, c, block = sample_weight.shape[0], losses.shape[0], scores.shape[1] - 3, scores.shape[2]
        for i in range(last_part - first_part):
            item = first_part + rotated(i, last_part - first_part, rank, threads)
            if claim(progress, item, 1):
                first, last = n * item // count, n * (item + 1) // count
                if chunk == 0:
                    sums[item] = 0
                    losses[item] = 0
                blocks = -(-(last - first) // block)
                stop = min(last, first + block * (blocks * (chunk + 1) // chunks))
                for start in range(first + block * (blocks * chunk // chunks), stop, block):
                    end = min(start + block, stop)
                    some = scores[item, :c, : end - start]
                    scores_of(X, start, W, scores[item], some)  # in place of a row_buffer, which no sparse rows need
                    losses[item] += epilogue(some, y[start:end], sample_weight[start:end], scores[item, c:], *hyper)
                    turn(some, start, slopes, sums[item])

    return member


# ---- Losses without a gradient ------------------------------------------------------------------------------


def losses_driver(add_product, epilogue):
    """The kernel is the reference itself, compiled once for each dtype and few or many classes of all W together.

    It has no team: its callers divide the work. Its arrays may have any strides.
    """
    args, compiled = loss_args(epilogue), {}

    def losses_of(blocks, weights, y, sample_weight, hyper, scores, sums, losses):
        key = weights.itemsize, len(weights) >= WIDE_CLASSES
        if key not in compiled:
            real, product = numba.from_dtype(weights.dtype), compiled_piece(add_product, len(weights))
            member = jit(drivers.losses_driver(product, epilogue), name=named_after("losses", product, epilogue))
            inputs = types.Array(real, 3, "A"), types.Array(real, 2, "A"), *args.types(real)
            member.compile((*inputs, types.Array(real, 2, "A"), types.Array(real, 1, "C"), types.float64[::1]))
            compiled[key] = member.overloads[member.signatures[-1]].entry_point
        compiled[key](blocks, weights, y, sample_weight, hyper, scores, sums, losses)

    return losses_of


# ---- Optimizer steps -------------------------------------------------------------------------------------


def step_driver(clip_stage, update, prox_stage):
    """The kernel is compiled once for each dtype.

    kernel.prepare(*args) returns a function of C and the arguments with which it takes the step: between the first and
    the last change of the arrays Python does nothing then, and answers no Ctrl-C.
    """
    pieces = clip_stage, update, prox_stage
    member = jit_member(step_member(*pieces), named_after("step", *pieces))
    args, compiled = update_args(update), {}

    def prepare(w, g, state, scalars, stages, ranges, threads):
        if w.itemsize not in compiled:
            run = compile_step(member, numba.from_dtype(w.dtype), args)
            compiled[w.itemsize] = run, np.empty((0, STEP_CHUNK), w.dtype)
        run, clipped = compiled[w.itemsize]
        if stages != NO_STAGES:
            clipped = np.empty((threads, STEP_CHUNK), w.dtype)
        job = w, g, state, scalars, stages, clipped, ranges, np.zeros(PROGRESS_SIZE, np.intp)
        return run, job_slot_for(threads), threads, job

    def step(*args):
        run, *job = prepare(*args)
        run(*job)

    step.prepare = prepare
    return step


def step_member(clip_stage, update, prox_stage):
    """What every member of a team runs: ranges of the arrays, each in chunks that stay in L1.

    A member begins with its own range, the same in every step, so that its part of w and the state stays in its cache.
    Ranges begin at cache lines of w.
    """

    def member(w, g, state, scalars, stages, clipped, ranges, progress, rank, threads):
        scale, limit, shrink, factor = stages
        no_stages = scale == 1 and limit == np.inf and shrink == 0 and factor == 1
        n, head, line = w.size, before_first_line(w), 64 // w.itemsize
        for i in range(ranges):
            item = rotated(i, ranges, rank, threads)
            if claim(progress, item, 1):
                start = smaller(n, head + n * item // ranges // line * line) if item else 0
                last = smaller(n, head + n * (item + 1) // ranges // line * line) if item + 1 < ranges else n
                while start < last:
                    stop = smaller(last, head if start < head else last if no_stages else start + clipped.shape[1])
                    weights, gradient = slice_of(w, start, stop), slice_of(g, start, stop)
                    if not no_stages:
                        source, gradient = gradient, clipped[rank, : stop - start]
                        clip_stage(source, gradient, scale, limit)
                    update(weights, gradient, *slices_of(state, start, stop), *scalars)
                    if not no_stages:
                        prox_stage(weights, shrink, factor)
                    start = stop

    return member


@jit
def before_first_line(w):
    """How many numbers stand before the first cache line that begins in w."""
    return -w.ctypes.data % 64 // w.itemsize


def compile_step(member, real, args):
    """The machine code, for a team."""
    flat, number = real[::1], types.float64
    scalars = (*[types.intp] * args.counts, *[number] * (1 + args.others))
    inputs = flat, flat, types.UniTuple(flat, args.states), types.Tuple(scalars), types.UniTuple(number, 4)
    return together(member, types.Tuple((*inputs, real[:, ::1], types.intp, types.intp[::1])))


def squares_driver(sum_squares):
    """The kernel is compiled once for each dtype."""
    member, compiled = jit_member(squares_member(sum_squares), "squares"), {}

    def squares(g, sums, threads):
        if g.itemsize not in compiled:
            job = numba.from_dtype(g.dtype)[::1], types.float64[::1], types.intp[::1]
            compiled[g.itemsize] = together(member, types.Tuple(job))
        compiled[g.itemsize](job_slot_for(threads), threads, (g, sums, np.zeros(PROGRESS_SIZE, np.intp)))

    return squares


def squares_member(sum_squares):
    """What every member of a team runs."""

    def member(g, sums, progress, rank, threads):
        for i in range(sums.size):
            item = rotated(i, sums.size, rank, threads)
            if claim(progress, item, 1):
                sums[item] = sum_squares(g[g.size * item // sums.size : g.size * (item + 1) // sums.size])

    return member
