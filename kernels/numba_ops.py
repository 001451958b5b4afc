"""The functions of the table for Numba, compiled at the first call for each dtype. See fastlin/ops.py for the contract.

The products with X are loops over tiles, whose sums stay in vector registers: see numba_tile.py. In the other loops the
inner one runs along the weights, where memory is contiguous: LLVM vectorises it by itself.
"""

from typing import Any, NamedTuple

from fastlin.kernels.numba_cache import inlined, jit
from fastlin.kernels.numba_csr import *  # noqa: F403  (sparse rows)
from fastlin.kernels.numba_drivers import (  # noqa: F401  (what this module offers)
    ByClasses,
    Float16Kernel,
    loss_driver,
    losses_driver,
    slopes_driver,
    squares_driver,
    step_driver,
)
from fastlin.kernels.numba_epoch import epoch_driver  # noqa: F401
from fastlin.kernels.numba_losses import *  # noqa: F403  (exp and the epilogues)
from fastlin.kernels.numba_math import column, float_from_half, row, smaller, window
from fastlin.kernels.numba_tile import (
    ACTIVE_ROWS,
    ALIGNED_VECTORS,
    GRADIENT_CLASSES,
    SCORE_CLASSES,
    SCORE_ROWS,
    VECTOR_BYTES,
    active_rows,
    gather_scores_tile,
    gradient_tile,
    gradient_vectors,
    prefetch_row,
    scores_tile,
    unaligned_columns,
)
from fastlin.kernels.numba_updates import *  # noqa: F403  (the optimizer steps)
from fastlin.kernels.numba_wide import WIDE_LEAST_ROWS, add_panels, classes_of_tile, wide_scores

COPIED_COLUMNS = 256  # of all classes: they stay in L1 while they are copied
ROWS_BEFORE = 4  # a row is prefetched so many rows before it is copied


# ---- Layout ----------------------------------------------------------------------------------------------


@jit
def to_class_major(W, weights):
    d = W.shape[0]
    for start in range(0, d, COPIED_COLUMNS):
        stop = smaller(start + COPIED_COLUMNS, d)
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
        stop = smaller(start + COPIED_COLUMNS, d)
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
    most = smaller(4096, 24576 // c // 64 * 64)
    return (most if most > 2048 else 2048) // itemsize


@inlined
def fill_with_bias(W, first, scores):
    """b where the columns begin with column `first` = 0, to which it belongs, else 0."""
    c, rows = scores.shape
    for j in range(c):
        s, bias = row(scores, j), W[j, W.shape[1] - 1] if first == 0 else W.dtype.type(0)
        for r in range(rows):
            s[r] = bias


@inlined
def add_many_scores(X, W, scores):
    """scores += W X^T, over the columns of X."""
    c, rows = scores.shape
    done = wide_scores(X, W, scores) if rows >= WIDE_LEAST_ROWS else 0
    if done < c:
        add_few_scores(X, window(W, done, c - done, 0, X.shape[1]), window(scores, done, c - done, 0, rows))


@inlined
def add_few_scores(X, W, scores):
    """The same for few classes."""
    c, rows = scores.shape
    classes = classes_of_tile(c, SCORE_CLASSES)
    panel = panel_of(c, W.itemsize)
    for k in range(0, X.shape[1], panel):
        stop = smaller(k + panel, X.shape[1])
        for r in range(0, rows, SCORE_ROWS):
            for j in range(0, c, classes):
                scores_tile(X, W, scores, (r, j, smaller(classes, c - j), k, stop))


@inlined
def add_few_gathered(copies, gathered, W, scores):
    """The same for few classes and gathered rows."""
    c, rows = scores.shape
    classes = classes_of_tile(c, SCORE_CLASSES)
    panel = panel_of(c, W.itemsize)
    for k in range(0, copies.shape[1], panel):
        stop = smaller(k + panel, copies.shape[1])
        for r in range(0, rows, SCORE_ROWS):
            for j in range(0, c, classes):
                gather_scores_tile(copies, gathered, W, scores, (r, j, smaller(classes, c - j), k, stop))


@inlined
def add_many_gathered(copies, gathered, W, scores):
    """The same for many classes, which are read from the copies."""
    add_many_scores(copies, W, scores)


@inlined
def add_row_sums(G, sums):
    for j in range(G.shape[0]):
        g, total = row(G, j), G.dtype.type(0)
        for r in range(g.size):
            total += g[r]
        sums[j] += total


columns_of_tile = inlined(gradient_vectors)


@inlined
def add_many_tiles(X, G, total):
    """total += G X"""
    (c, rows), d = G.shape, X.shape[1]
    done = add_panels(X, G, total)
    if done < d:
        add_few_tiles(window(X, 0, rows, done, d - done), G, window(total, 0, c, done, d - done))


@inlined
def add_few_tiles(X, G, total):
    """The same for few classes or columns."""
    add_tiles_of(X, None, unaligned_columns(X), G, total)


@inlined
def add_many_gathered_tiles(copies, gathered, G, total):
    """total += G times gathered rows, which are read from the copies."""
    add_many_tiles(copies, G, total)


@inlined
def add_few_gathered_tiles(copies, gathered, G, total):
    """The same for few classes, read where GatheredRows says."""
    first = unaligned_columns(gathered[0]) if gathered[2] else unaligned_columns(copies)
    add_tiles_of(copies, gathered, first, G, total)


@inlined
def add_tiles_of(X, gathered, unaligned, G, total):
    """total += G X, or G times gathered rows; `unaligned` columns come before the first that is aligned."""
    c, rows = G.shape
    classes = c if 5 < c <= GRADIENT_CLASSES else classes_of_tile(c, 5)  # all tiles have equally many vectors
    d, lanes = X.shape[1], VECTOR_BYTES // total.itemsize
    width = columns_of_tile(classes) * lanes
    first = unaligned if d >= ALIGNED_VECTORS * lanes else 0
    for r in range(0, rows, ACTIVE_ROWS):
        active, k = active_rows(G, r), 0
        while k < d:
            stop = first if k < first else d
            some = window(X, 0, X.shape[0], 0, stop)
            for j in range(0, c, classes):
                gradient_tile(some, gathered, G, total, r, active, j, smaller(classes, c - j), k)
            k = smaller(k + width, stop)


def product(add_tiles, name):
    def add_product(X, G, total, sums):
        add_row_sums(G, sums)
        add_tiles(X, G, total)

    return jit(add_product, name)


add_product = ByClasses(product(add_few_tiles, "add_product"), product(add_many_tiles, "add_product_many"))


# ---- Storages --------------------------------------------------------------------------------------------


class Adders(NamedTuple):
    """The products of rows that follow each other, and of gathered rows."""

    scores: Any
    tiles: Any
    gathered: Any
    gathered_tiles: Any


def by_classes(make, name, *how):
    """The four functions of a storage, of which make(adders, *how) makes one form."""
    few = make(Adders(add_few_scores, add_few_tiles, add_few_gathered, add_few_gathered_tiles), *how)
    many = make(Adders(add_many_scores, add_many_tiles, add_many_gathered, add_many_gathered_tiles), *how)
    return [
        ByClasses(jit(few[what], f"{name}_{what}"), jit(many[what], f"{name}_{what}_many"))
        for what in ("scores", "gradient", "gather_scores", "gather_gradient")
    ]


def dense_storage(adders):
    add_scores, add_tiles, add_gathered, add_gathered_tiles = adders
    reads_in_place = add_tiles is add_few_tiles  # those for many classes need rows a stride apart: copies

    def scores_of(X, start, W, row_buffer, scores):
        fill_with_bias(W, 0, scores)
        add_scores(window(X, start, scores.shape[1], 0, X.shape[1]), W, scores)

    def gradient_of(X, start, row_buffer, dscores, dW):
        d = X.shape[1]
        some = window(X, start, dscores.shape[1], 0, d)
        add_row_sums(dscores, column(dW, d))
        add_tiles(some, dscores, window(dW, 0, dW.shape[0], 0, d))

    def gather_scores(X, order, first, last, scale_shift, row_buffer, W, scores):
        width = last - first
        some, copies = window(X, 0, X.shape[0], first, width), window(row_buffer, 0, scores.shape[1], first, width)
        fill_with_bias(W, first, scores)
        in_place = reads_in_place and not scale_shift.shape[0]
        if not in_place:
            gather(as_it_is, some, order, window(scale_shift, 0, scale_shift.shape[0], first, width), copies)
        add_gathered(copies, (some, order, in_place), window(W, 0, W.shape[0], first, width), scores)

    def gather_gradient(X, order, first, last, scale_shift, row_buffer, dscores, dW):
        width, d = last - first, dW.shape[1] - 1
        some, copies = window(X, 0, X.shape[0], first, width), window(row_buffer, 0, dscores.shape[1], first, width)
        if first == 0:
            add_row_sums(dscores, column(dW, d))
        gathered = some, order, reads_in_place and not scale_shift.shape[0]
        add_gathered_tiles(copies, gathered, dscores, window(dW, 0, dW.shape[0], first, width))

    return {
        "scores": scores_of, "gradient": gradient_of, "gather_scores": gather_scores,
        "gather_gradient": gather_gradient,
    }  # fmt: skip


@inlined
def gather(number, X, order, scale_shift, copies):
    """Copies rows of X, as many as `copies` has, as number(x), scaled and shifted."""
    for r in range(copies.shape[0]):
        prefetch_row(X, order, r + ROWS_BEFORE)
        x, out = row(X, order[r]), row(copies, r)
        for k in range(x.size):
            out[k] = number(x[k])
        if scale_shift.shape[0]:
            scale, shift = row(scale_shift, 0), row(scale_shift, 1)
            for k in range(x.size):
                out[k] = out[k] * scale[k] + shift[k]


def converting_storage(adders, number):
    """A storage whose rows are converted a block at a time.

    number(x) : an entry of X as a number, which is stored into `row_buffer` and so becomes one of W's dtype.
    """
    add_scores, add_tiles, _, add_gathered_tiles = adders

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
        some, copies = window(X, 0, X.shape[0], first, width), window(row_buffer, 0, scores.shape[1], first, width)
        gather(number, some, order, window(scale_shift, 0, scale_shift.shape[0], first, width), copies)
        fill_with_bias(W, first, scores)
        add_scores(copies, window(W, 0, W.shape[0], first, width), scores)

    def gather_gradient(X, order, first, last, scale_shift, row_buffer, dscores, dW):
        width, d = last - first, dW.shape[1] - 1
        if first == 0:
            add_row_sums(dscores, column(dW, d))
        copies, some = window(row_buffer, 0, dscores.shape[1], first, width), window(X, 0, X.shape[0], first, width)
        add_gathered_tiles(copies, (some, order, False), dscores, window(dW, 0, dW.shape[0], first, width))

    return {
        "scores": scores_of, "gradient": gradient_of, "gather_scores": gather_scores,
        "gather_gradient": gather_gradient,
    }  # fmt: skip


@inlined
def as_it_is(x):
    return x


@inlined
def from_half(bits):
    return float_from_half(bits)


dense_scores, dense_gradient, dense_gather_scores, dense_gather_gradient = by_classes(dense_storage, "dense")
uint8_scores, uint8_gradient, uint8_gather_scores, uint8_gather_gradient = by_classes(
    converting_storage, "uint8", as_it_is
)
float32_scores, float32_gradient, float32_gather_scores, float32_gather_gradient = by_classes(
    converting_storage, "float32", as_it_is
)
float16_scores, float16_gradient, float16_gather_scores, float16_gather_gradient = map(
    Float16Kernel, by_classes(converting_storage, "float16", from_half)
)
