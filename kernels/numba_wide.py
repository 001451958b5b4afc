"""The products of many classes, in loops over the tiles of numba_tile.py: native/wide.h says how, and why."""

import numpy as np
from numba import carray

from fastlin.kernels.numba_cache import inlined, jit
from fastlin.kernels.numba_math import window
from fastlin.kernels.numba_tile import (
    ACTIVE_ROWS,
    PANEL_BYTES,
    PANEL_CLASSES,
    PANEL_VECTORS,
    SCORE_CLASSES,
    VECTOR_BYTES,
    WIDE_CLASSES,  # noqa: F401  (from here on)
    WIDE_ROWS,
    WIDE_VECTORS,
    active_rows,
    fill_panel,
    on_stack,
    panel_tile,
    rows_after,
    transpose_square,
    wide_tile,
)

WIDE_LEAST_ROWS = 40
WIDE_BLOCK = 128  # rows that share a panel of W
WIDE_COLUMNS = 192  # of such a panel, in L1 beside the rows of a tile
WIDTH_BYTES = WIDE_VECTORS * VECTOR_BYTES  # of a row of it
W_PANEL_BYTES = WIDE_COLUMNS * WIDTH_BYTES
SUMS_BYTES = (WIDE_BLOCK + WIDE_ROWS) * WIDTH_BYTES
PANEL_ROWS = 128  # of X, in a panel of some columns
X_PANEL_BYTES = PANEL_ROWS * PANEL_BYTES
NUMBERS_BYTES = PANEL_ROWS * np.dtype(np.intp).itemsize


@inlined
def classes_of_tile(c, most):
    """Classes per tile: nearly equal shares of c, so that 7 is 4 + 3 rather than 5 + 2."""
    tiles = -(-c // most)
    return -(-c // tiles)


# ---- Scores ----------------------------------------------------------------------------------------------


@jit
def wide_scores(X, W, scores):
    """scores += W X^T for the first classes, as many as fill vectors well. Returns their number."""
    (c, rows), d, most = scores.shape, X.shape[1], WIDTH_BYTES // W.itemsize
    panel, sums = on_stack(W, W_PANEL_BYTES), on_stack(W, SUMS_BYTES)
    following, size = rows_after(X)
    step = size // (2 * -(-c // most) * -(-rows // WIDE_ROWS) * max(1, d))  # a half; the gradient fetches the other
    j = 0
    while c - j > 2 * SCORE_CLASSES:
        classes = panel_classes(c - j, most)
        for r in range(0, rows, WIDE_BLOCK):
            count = min(WIDE_BLOCK, rows - r)
            some, weights = window(X, r, count, 0, d), window(W, j, classes, 0, d)
            add_wide_panel(some, weights, window(scores, j, classes, r, count), panel, sums, following, step)
            following += -(-count // WIDE_ROWS) * d * step
        j += classes
    return j


@inlined
def panel_classes(left, most):
    """How many of the `left` classes the next panel has: few in a last vector are left for the tile for few."""
    lanes = most // WIDE_VECTORS
    if left >= most:
        return most
    return left - left % lanes if left % lanes <= lanes // 3 else left


@inlined
def add_wide_panel(X, W, scores, panel_memory, sums_memory, following, step):
    """The same for at most WIDE_VECTORS vectors of classes and WIDE_BLOCK rows, while what follows is prefetched."""
    classes, rows = scores.shape
    lanes = VECTOR_BYTES // W.itemsize
    vectors = -(-classes // lanes)
    width = vectors * lanes
    sums = carray(sums_memory, (-(-rows // WIDE_ROWS) * WIDE_ROWS, width))
    sums[...] = 0  # of rows and lanes without a row or class too
    transpose(scores, sums)
    if classes < width:
        carray(panel_memory, (WIDE_COLUMNS, width))[...] = 0
    for k in range(0, X.shape[1], WIDE_COLUMNS):
        columns = min(WIDE_COLUMNS, X.shape[1] - k)
        panel = carray(panel_memory, (columns, width))
        transpose(window(W, 0, classes, k, columns), panel)
        for r in range(0, rows, WIDE_ROWS):
            wide_tile(X, panel, sums, (r, k, vectors, following, step))
            following += columns * step
    transpose(window(sums, 0, rows, 0, classes), scores)


@inlined
def transpose(A, B):
    """B[:, :len(A)] = A^T"""
    (rows, columns), side = A.shape, 16 // A.itemsize
    whole, end = rows // side * side, columns // side * side
    for i in range(0, whole, side):
        for j in range(0, end, side):
            transpose_square(A, i, j, B)
        for j in range(end, columns):
            for n in range(i, i + side):
                B[j, n] = A[n, j]
    for i in range(whole, rows):
        for j in range(columns):
            B[j, i] = A[i, j]


# ---- Gradient --------------------------------------------------------------------------------------------


@jit
def add_panels(X, G, total):
    """total += G X for the columns that make whole panels. Returns their number."""
    c, rows = G.shape
    width, part = PANEL_BYTES // total.itemsize, PANEL_VECTORS * VECTOR_BYTES // total.itemsize
    classes, columns = classes_of_tile(c, PANEL_CLASSES), X.shape[1] // width * width
    memory, numbers = on_stack(total, X_PANEL_BYTES), carray(on_stack(np.intp, NUMBERS_BYTES), PANEL_ROWS)
    following, size = rows_after(X)
    following += size // 2
    step = size // (2 * -(-c // classes) * max(1, rows) * max(1, columns // part))
    for r in range(0, rows, PANEL_ROWS):
        count = list_active_rows(G, r, min(PANEL_ROWS, rows - r), numbers)
        panel = carray(memory, (count, width))
        for k in range(0, columns, width):
            for i in range(count):
                fill_panel(X, numbers[i], k, panel, i)
            for j in range(0, c, classes):
                for v in range(0, width, part):
                    panel_tile(panel, numbers, G, total, (j, min(classes, c - j), k + v, v, following, step))
                    following += count * step
    return columns


@inlined
def list_active_rows(G, start, rows, numbers):
    """The numbers of the rows, of these, whose gradient is not zero in every class; returns how many there are."""
    count = 0
    for r in range(0, rows, ACTIVE_ROWS):
        active = active_rows(G, start + r)
        for i in range(min(ACTIVE_ROWS, rows - r)):
            numbers[count] = start + r + i
            count += (active >> i) & 1
    return count
