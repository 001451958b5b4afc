"""How a problem is cut into parts and blocks, and the memory that these need. Every size is here, with its reason.

The cut depends on the sizes of the problem alone, never on the number of threads: the same bits for any number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fastlin._check import Array

# A part is what one thread does at once; it adds into a gradient of its own.
PART_FLOPS = 500_000  # 5 us at 100 GF/s
THREAD_FLOPS = 1_500_000  # 15 us: waking a thread takes 5 to 10
PART_ROWS = 64  # with fewer, zeroing and summing the part's own dW shows
MOST_PARTS = 16
PARTS_BYTES = 16 << 20  # of all parts' gradients together

# A block of rows is read for the scores and, from L2, again for the gradient.
BLOCK_ROWS = 32  # whole vectors of rows for the epilogue; more gain nothing (docs/kernels.md)
BLOCK_BYTES = 512 << 10  # of the rows of X in a block, beside W and dW in 1 MB or more of L2
SCORES_BYTES = 1 << 20  # of the scores of a block

# With many classes BLAS makes the two products, of blocks as large as this; only the epilogue is ours.
WIDE_CLASSES = 64  # from here on a library's blocked product beats the tile (docs/kernels.md)
WIDE_BYTES = 4 << 20  # of the scores of a block: enough rows for BLAS, and still in cache for the epilogue
WIDE_ROWS = 64  # of one epilogue call

LAP_FLOPS = 1_000_000_000  # one kernel call: Ctrl-C is answered between calls, after 10 ms or, from memory, 50
COPY_BYTES = 4 << 20  # of rows that must be converted before a kernel can read them

CACHE_LINE = 64
KEPT_BYTES = 16 << 20  # workspaces up to this size are kept for the next call
KEPT = 8  # for problems of different sizes


@dataclass(frozen=True)
class Plan:
    """How n rows are cut into parts, these into laps that a kernel call does, and these into blocks."""

    parts: int
    laps: int
    block: int
    threads: int  # more do not pay


@lru_cache(maxsize=1024)
def plan(n: int, d: int, c: int, itemsize: int, compiled: bool) -> Plan:
    """The cut for compiled kernels; the others get all rows at once, as a NumPy user would write it."""
    if not compiled:
        return Plan(parts=1, laps=1, block=max(n, 1), threads=1)
    flops = 4 * n * max(d, 1) * c
    fitting = PARTS_BYTES // (c * max(d, 1) * itemsize)
    parts = max(1, min(MOST_PARTS, n // PART_ROWS, flops // PART_FLOPS, fitting))
    block = min(BLOCK_ROWS, BLOCK_BYTES // (max(d, 1) * itemsize), SCORES_BYTES // (c * itemsize))
    block = block // 16 * 16 or max(1, block)
    return Plan(parts, laps=1 + flops // LAP_FLOPS, block=block, threads=max(1, flops // THREAD_FLOPS))


# An epoch is shared out by columns (kernels/cython_epoch.pxi): strips of them, while blocks of rows are gone through.
EPOCH_ROWS = 64  # of a block: as many as the gradient tile adds at once, so that threads meet as rarely as can be
STRIP_COLUMNS = 256  # at least: each strip adds up the lanes of its sums, and every strip's owner all scores
MOST_STRIPS = 8
STRIP_FLOPS = 250_000  # of a strip in a block: 2.5 us, while a meeting takes about 2


@dataclass(frozen=True)
class EpochPlan:
    """How an epoch is cut: features into strips, rows into blocks, blocks into kernel calls."""

    strips: int
    block: int
    call: int  # blocks
    threads: int


@lru_cache(maxsize=1024)
def epoch_plan(d: int, c: int, itemsize: int, batch: int) -> EpochPlan:
    """The cut of an epoch's mini-batches; batches of other sizes may end other epochs."""
    strips = 1
    block = max(1, min(EPOCH_ROWS, batch))
    while strips < MOST_STRIPS and d >= 2 * strips * STRIP_COLUMNS and 4 * block * d * c >= 2 * strips * STRIP_FLOPS:
        strips *= 2
    block = max(1, min(block, BLOCK_BYTES * strips // (max(d, 1) * itemsize)))
    flops = 4 * block * max(d, 1) * c
    return EpochPlan(strips, block, call=max(1, LAP_FLOPS // flops), threads=strips)


SEARCH_BYTES = 512 << 10  # of the scores of a block, and of the weights of a group of candidates: both in L2


@lru_cache(maxsize=1024)
def search_plan(n: int, d: int, c: int, itemsize: int) -> tuple[int, int]:
    """How many candidates stand side by side, and how many rows a block has."""
    group = max(1, min(WIDE_CLASSES // c, SEARCH_BYTES // ((d + 1) * c * itemsize)))
    rows = SEARCH_BYTES // (group * c * itemsize) // 16 * 16
    return group, max(16, min(rows, COPY_BYTES // ((d + 1) * itemsize), n))


class Workspace:
    """The memory of one call, as the loss kernels name it; everything class-major has b as its last column."""

    def __init__(self, cut: Plan, c: int, d: int, dtype: np.dtype[np.generic], convert: bool) -> None:
        by_class = padded((c, d + 1), dtype)
        rows = padded((cut.parts, cut.block if convert else 0, d), dtype)
        scores = padded((cut.parts, c + 3, cut.block), dtype)  # and three rows of scratch for the epilogue
        parts = padded((cut.parts, c, d + 1), dtype)
        self.losses = np.empty(cut.parts)
        self.rooms = by_class, rows, scores, parts, self.losses
        self.size = sum(A.nbytes for A in self.rooms)


class EpochRoom:
    """The memory of an epoch, as its kernel names it. Strips write to cache lines of their own."""

    def __init__(self, cut: EpochPlan, c: int, d: int, dtype: np.dtype[np.generic]) -> None:
        rows = padded((1, cut.block, d), dtype)
        partial = padded((2, cut.strips, c, cut.block), dtype)
        scores = padded((cut.strips, 2 * c + max(3, c), cut.block), dtype)  # scratch, and what is gathered of y
        dW = padded((1, c, d + 1), dtype)
        self.losses, self.penalties, squares = np.zeros(1), np.zeros(cut.strips), np.zeros(cut.strips)
        self.arrays = rows, partial, scores, dW, self.losses, self.penalties, squares


def padded(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
    """An array whose rows begin at cache lines, an odd number of lines apart: rows of 2^k bytes share L1 sets."""
    line = CACHE_LINE // dtype.itemsize
    row = (-(-shape[-1] // line) | 1) * line
    count = row * math.prod(shape[:-1])
    room = np.empty(count + line, dtype)
    start = -room.ctypes.data % CACHE_LINE // dtype.itemsize
    aligned: Array = room[start : start + count].reshape(*shape[:-1], row)[..., : shape[-1]]
    return aligned
