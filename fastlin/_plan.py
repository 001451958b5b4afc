"""How inputs are cut into parts, chunks and blocks, with the reason of each size, and the workspaces of kernels.

The order of every sum depends on the sizes of the inputs alone, so the bits are the same for any number of threads.
Sizes that only one loop needs (columns copied at once, numbers of an optimizer's slice) are defined beside that loop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fastlin._check import Array
from fastlin._laps import lap_rows
from fastlin.kernels.records import EpochWorkspace

# A part is the rows that one thread goes through at once; each part has a gradient of its own.
PART_FLOPS = 500_000  # 5 us at 100 GF/s
THREAD_FLOPS = 1_500_000  # 15 us: waking a thread takes 5 to 10
PART_ROWS = 64  # with fewer rows, zeroing and summing the part's own dW takes a noticeable time
MOST_PARTS = 16
PARTS_BYTES = 16 << 20  # of all parts' gradients together

# Sums of sums: where a million rows are added one by one, the last are rounded to the sum of all those before. Here no
# sum has more than some hundred terms: the rows of a block, the blocks of a part, the parts of a section, and then the
# sections, in float64.
LONG_PART = 8192  # rows; from twice as many on there is another part, if there may be
SECTION_ROWS = MOST_PARTS * LONG_PART

# A block of rows is read for the scores and, from L2, again for the gradient.
BLOCK_ROWS = 32  # whole vectors of rows for the epilogue; more rows are not faster (docs/kernels.md)
BLOCK_BYTES = 512 << 10  # of the rows of X in a block, beside W and dW in 1 MB or more of L2
SCORES_BYTES = 1 << 20  # of the scores of a block

# With many classes dW is large: each block reads and writes it, and each part has one. So both are longer.
WIDE_CLASSES = 16
WIDE_BLOCK = 128
WIDE_LEAST = 64  # or c, even if these rows of X are more than BLOCK_BYTES: X and dW are read about equally often
WIDE_BLOCK_BYTES = 2 << 20  # but no more than this
WIDE_PART_ROWS = 2048
LARGE_CLASSES = {4: 13, 8: 8}  # of so many bytes a number; from these on, and
LARGE_W = 160 << 10  # bytes of W on, W is copied into panels: a block reads them as one stream, from L2 or beyond
PANEL_CLASSES = 16  # more than there are, in W's copy in panels (kernels/native/wide.h): lanes without a class
LEAST_PARTS = 4  # for as many threads, where gradients are large
BLOCKS_BYTES = 16 << 20  # of all parts' scores and converted rows together

# Of one kernel call, so that Ctrl-C is answered between calls: after 70 ms on a slow core, and some 5 ms on a fast one.
CHUNK_FLOPS = 700_000_000
CHUNK_BYTES = 64 << 20  # that are read
CHUNK_NUMBERS = 5_000_000  # scores that an epilogue goes over, or weights that are updated: 10 ns each
ROW_NUMBERS, BLOCK_NUMBERS = 10, 100  # as many of these as a row, or a block of rows, takes by itself
# Of one thread of the pool (_pool.py), at least. Waking it and moving X to its cache takes 50 us or more.
POOL_FLOPS = 8_000_000  # 80 us at 100 GF/s
POOL_ROW_FLOPS = 1_000  # a row's sums are added up, and its scores written: as long as so many
PENALTY_NUMBERS = 1 << 18  # of W, to which a penalty is added: 50 us from L2
POOL_LINES = 1 << 17  # of W that sparse rows read: 100 to 200 us from L2
LEAST_ROWS = 128  # of a block of a backend that is not compiled, however much work
COPY_BYTES = 4 << 20  # of rows that must be converted before a kernel can read them

CACHE_LINE = 64
KEPT_BYTES = 16 << 20  # workspaces up to this size are kept for the next call
KEPT = 8  # for problems of different sizes
LARGE_BYTES = 128 << 20  # and up to this size that of the last call: of many classes, or of many sparse columns


@dataclass(frozen=True)
class Plan:
    """How n rows are cut into parts, these into blocks, and all into kernel calls."""

    parts: int
    laps: int  # kernel calls, about: Ctrl-C is answered between them
    block: int
    threads: int  # more threads would not be faster

    def calls(self, team: int) -> tuple[int, int]:
        """How many parts calls of `team` threads go through, and in how many chunks.

        Few parts and long chunks: a part's gradient is read from further away when a thread comes back to it.
        """
        together = min(self.parts, team * max(1, self.parts // (team * self.laps)))
        groups = -(-self.parts // together)
        return together, -(-self.laps // groups)


@lru_cache(maxsize=1024)
def plan(n: int, d: int, c: int, itemsize: int, compiled: bool) -> Plan:
    """The cut for compiled kernels. Other kernels get all rows at once, as in a NumPy user's code, if a pass may."""
    if not compiled:
        most = lap_rows((d + 4 * c) * itemsize, 2 * d * c + 50 * c, least=LEAST_ROWS)
        return Plan(parts=1, laps=1, block=max(1, min(n, most)), threads=1)
    flops = 4 * n * max(d, 1) * c
    parts = _parts(n, d, c, itemsize)
    block = _block(-(-n // parts), d, c, itemsize)
    laps = max(flops // CHUNK_FLOPS, n * d * itemsize // CHUNK_BYTES, n * (c + ROW_NUMBERS) // CHUNK_NUMBERS)
    blocks = -(-n // (parts * block))  # of a part: fewer rows than a block take as long, where W is read from memory
    return Plan(parts, laps=max(1, min(1 + laps, parts * blocks)), block=block, threads=max(1, flops // THREAD_FLOPS))


def _parts(n: int, d: int, c: int, itemsize: int) -> int:
    """How many gradients rows are added to."""
    rows = n // PART_ROWS
    if c >= WIDE_CLASSES:
        rows = max(n // WIDE_PART_ROWS, min(LEAST_PARTS, math.isqrt(n // PART_ROWS)))  # 2 from 256 rows on, 4 from 1024
    needed = max(4 * n * max(d, 1) * c // PART_FLOPS, n // LONG_PART)
    fitting = min(PARTS_BYTES // (c * max(d, 1)), BLOCKS_BYTES // (_most_rows(d, c, itemsize) * (d + c))) // itemsize
    parts = max(1, min(MOST_PARTS, rows, needed, max(LEAST_PARTS, fitting)))
    return 1 << parts.bit_length() - 1  # 2, 4 or 8 threads share them out evenly


def _most_rows(d: int, c: int, itemsize: int) -> int:
    """The most rows of a block."""
    d = max(d, 1)
    most = min(BLOCK_ROWS, BLOCK_BYTES // (d * itemsize))
    if c >= WIDE_CLASSES:
        fitting = max(min(WIDE_LEAST, c), BLOCK_BYTES // (d * itemsize))
        most = min(WIDE_BLOCK, fitting, WIDE_BLOCK_BYTES // (d * itemsize))
    return max(1, min(most, SCORES_BYTES // (c * itemsize), CHUNK_FLOPS // (4 * d * c)))


def _block(rows: int, d: int, c: int, itemsize: int) -> int:
    """The rows of a block, of so many of a part."""
    block = _most_rows(d, c, itemsize)
    if c >= WIDE_CLASSES:  # equal shares: dW is read and written for a short block too
        block = min(block, -(-rows // -(-rows // block)) + 15)
    return block // 16 * 16 or block


def _has_panels(c: int, d: int, itemsize: int) -> bool:
    """Whether the scores of a loss have classes in the lanes of their vectors (kernels/native/wide.h)."""
    return c >= WIDE_CLASSES or (c >= LARGE_CLASSES[itemsize] and c * d * itemsize >= LARGE_W)


def score_rows(d: int, c: int, itemsize: int, compiled: bool) -> int:
    """How many rows get their scores in one call of a kernel."""
    if not compiled:
        return lap_rows((d + 2 * c) * itemsize, 2 * d * c, least=LEAST_ROWS)
    fitting = (
        CHUNK_FLOPS // (2 * max(d, 1) * c),
        CHUNK_BYTES // ((d + c) * itemsize),
        CHUNK_NUMBERS // (4 * c + ROW_NUMBERS),  # scores are written to fresh memory
    )
    return min(fitting) // BLOCK_ROWS * BLOCK_ROWS or max(1, min(fitting))


def score_threads(n: int, d: int, c: int) -> int:
    """The most threads of the pool that are worth while for the scores of a compiled backend."""
    return max(1, n * (2 * d * c + POOL_ROW_FLOPS) // POOL_FLOPS)


def penalty_ranges(size: int) -> int:
    """How many ranges of W a penalty is added in: its value is summed in this order."""
    return max(1, size // PENALTY_NUMBERS)


# Of sparse rows each entry reads one row of W, and adds to one row of dW, wherever these lie.
# In L2 the rows of W give way to those of dW with each block and come back with the next, so blocks are long.
CSR_ROWS = 512  # of a block: its entries are read for the scores and, from L2, again for the gradient
CSR_BYTES = 1 << 20  # of the entries of a block
ENTRY_BYTES = 12  # at most, of a number and its index; indices of 64 bits are rare
PART_LINES = 4096  # cache lines of W that a part reads, 10 us from L2
CSR_CHUNK_LINES = 1 << 20  # that a kernel call reads: 5 ms from L2, and 70 ms from memory
CSR_LEAST_PARTS = 2  # where a part's gradient is larger than what its entries add to it
LINES_SUMMED = 12  # entries for each row of dW, at least: zeroing and summing a part's dW takes as long as some entries


@lru_cache(maxsize=1024)
def csr_plan(n: int, size: tuple[int, int], d: int, c: int, itemsize: int, compiled: bool) -> Plan:
    """The cut of sparse rows. size : that of a fastlin._csr.Csr: the number of entries, and how unlike rows are."""
    nnz, skew = size
    mean = max(1, nnz // max(1, n))  # entries of a row
    if not compiled:
        most = lap_rows(4 * mean * skew * ENTRY_BYTES + 4 * c * itemsize, 50 * (mean * skew + c) * c, least=LEAST_ROWS)
        return Plan(parts=1, laps=1, block=max(1, min(n, most)), threads=1)
    lines = -(-c * itemsize // CACHE_LINE)  # of a row of W
    most = min(CSR_ROWS, CSR_BYTES // (mean * ENTRY_BYTES), SCORES_BYTES // (c * itemsize), CSR_CHUNK_LINES // mean)
    block = most // 16 * 16 or max(1, most)
    fitting = min(PARTS_BYTES // ((d + 1) * c * itemsize), BLOCKS_BYTES // (block * c * itemsize))
    needed = max(nnz * lines // PART_LINES, n // LONG_PART)
    parts = min(MOST_PARTS, n, needed, max(CSR_LEAST_PARTS, min(fitting, nnz // (LINES_SUMMED * (d + 1)))))
    parts = 1 << max(1, parts).bit_length() - 1
    laps = 1 + max(skew * nnz * lines // CSR_CHUNK_LINES, n * (c + ROW_NUMBERS) // CHUNK_NUMBERS)
    blocks = -(-n // (parts * block))
    return Plan(parts, max(1, min(laps, parts * blocks)), block, threads=max(1, nnz * lines // PART_LINES))


def csr_score_rows(n: int, size: tuple[int, int], c: int, itemsize: int, compiled: bool) -> int:
    """How many sparse rows get their scores in one call of a kernel."""
    mean = max(1, size[0] * size[1] // max(1, n))  # entries, where the rows have many
    if not compiled:
        return lap_rows(4 * mean * ENTRY_BYTES + 2 * c * itemsize, 20 * (mean + c) * c, least=LEAST_ROWS)
    lines = -(-c * itemsize // CACHE_LINE)
    return max(1, min(CSR_CHUNK_LINES // (mean * lines), CHUNK_NUMBERS // (4 * c + ROW_NUMBERS)))


def csr_score_threads(nnz: int, c: int, itemsize: int) -> int:
    """The same of sparse rows."""
    return max(1, nnz * -(-c * itemsize // CACHE_LINE) // POOL_LINES)


# By columns, in fits: fastlin/_columns.py. The slopes of all rows of a section are kept, and ranges of columns follow.
SLOPES_BYTES = 64 << 20
COLUMNS_BYTES = 4 << 20  # of dW, at least: a smaller one stays in L2, where adding to it takes no longer
SLOPES_SHARE = 2  # times as many numbers as the slopes, at least, are in dW: else the slopes are as far away
RANGE_LINES = 1 << 18  # of a range of columns: 1 ms from L2, 20 from memory, between which Ctrl-C is answered
SEGMENT_BYTES = 3 << 19  # of the slopes of a segment of the rows
SEGMENT_ENTRIES = 8  # for each row of dW, at least: each segment reads and writes it
LEAST_RANGES = 32  # so that threads share them out evenly, where each has PART_LINES


def pays_by_columns(n: int, d: int, c: int, itemsize: int) -> bool:
    """Whether fits to sparse rows are faster by columns: where dW leaves the cache of a core, and the slopes do not."""
    slopes, gradient = (size * c * itemsize for size in (min(n, SECTION_ROWS), d))
    return SLOPES_SHARE * slopes <= gradient >= COLUMNS_BYTES and slopes <= SLOPES_BYTES


def column_segments(parts: int, n: int, nnz: int, d: int, c: int, itemsize: int) -> int:
    """How many segments of the rows have columns of their own: whole parts, whose slopes stay in L2."""
    count = 1
    while count < parts and n * c * itemsize > count * SEGMENT_BYTES and nnz >= 2 * count * SEGMENT_ENTRIES * d:
        count *= 2
    return count


def column_ranges(nnz: int, d: int, c: int, itemsize: int) -> int:
    """How many ranges of columns there are, at most."""
    lines = (nnz + d) * -(-c * itemsize // CACHE_LINE)
    return max(1, -(-lines // RANGE_LINES), min(LEAST_RANGES, lines // PART_LINES))


def sections(n: int) -> list[slice]:
    """The rows that are summed together: more than that are summed in float64, one section after the other."""
    count = -(-n // SECTION_ROWS)
    return [slice(n * i // count, n * (i + 1) // count) for i in range(count)]


# In an epoch threads divide blocks of columns (kernels/native/epoch_driver.pxi), and blocks of rows follow each other.
EPOCH_ROWS = 64  # of a block: as many as the gradient tile adds at once, so that threads rarely wait for each other
EPOCH_BYTES = 400 << 10  # of these rows: a thread's share of them, and of those that are prefetched, stays in L2
LEAST_EPOCH_ROWS = 16  # however long
EPOCH_SCORES = 5  # arrays of all scores of a block, for each column block
STEP_ARRAYS = 5  # that an update reads and writes: W, dW and at most three of state
COLUMN_BLOCK = 256  # at least: each column block adds up the lanes of its sums, and every thread adds up all scores
MOST_COLUMN_BLOCKS = 8
COLUMN_BLOCK_BYTES = 500_000  # of its products x W of a block of rows: some 3 us, while a barrier takes threads 1 to 2
SUBTOTAL_BLOCKS = 256  # of rows, which are summed before they are added to the gradient of a larger batch


@dataclass(frozen=True)
class EpochPlan:
    """How an epoch is cut: features into column blocks, rows into blocks, blocks into kernel calls."""

    column_blocks: int
    block: int
    call: int  # blocks
    threads: int
    subtotal: int = 0  # blocks that are summed before they are added to the gradient; 0: each is added to it


@lru_cache(maxsize=1024)
def epoch_plan(d: int, c: int, itemsize: int, batch_size: int, compiled: bool) -> EpochPlan:
    """The cut of an epoch's mini-batches; the last batch may be smaller."""
    if not compiled:
        block = min(batch_size, SECTION_ROWS)
        return EpochPlan(1, block, call=_epoch_call(block, d, c, itemsize, batch_size), threads=1)
    row_bytes, blocks = max(d, 1) * itemsize, 1
    fitting = max(LEAST_EPOCH_ROWS, EPOCH_BYTES // row_bytes // 16 * 16)
    block = max(1, min(WIDE_BLOCK if c >= WIDE_CLASSES else min(EPOCH_ROWS, fitting), batch_size))
    while (
        blocks < MOST_COLUMN_BLOCKS
        and d >= 2 * blocks * COLUMN_BLOCK
        and block * d * c * itemsize >= 2 * blocks * COLUMN_BLOCK_BYTES
    ):
        blocks *= 2
    scores = EPOCH_SCORES * blocks * c * itemsize
    flops = 4 * max(d, 1) * c
    most = min(BLOCK_BYTES * blocks // row_bytes, BLOCKS_BYTES // scores, CHUNK_FLOPS // flops)
    block = max(1, min(block, most))
    subtotal = SUBTOTAL_BLOCKS if batch_size > SUBTOTAL_BLOCKS * block else 0
    return EpochPlan(
        blocks, block, call=_epoch_call(block, d, c, itemsize, batch_size), threads=blocks, subtotal=subtotal
    )


def _epoch_call(block: int, d: int, c: int, itemsize: int, batch_size: int) -> int:
    """How many blocks of rows a kernel call goes through: with a batch's last one it takes a step of all weights."""
    updated = -(-(d + 1) * c * block // batch_size)
    numbers = block * (c + ROW_NUMBERS) + BLOCK_NUMBERS + updated
    size = (block * d + STEP_ARRAYS * updated) * itemsize
    flops = 4 * block * max(d, 1) * c
    return max(1, min(CHUNK_FLOPS // flops, CHUNK_BYTES // size, CHUNK_NUMBERS // numbers))


# In an optimizer step threads divide ranges of its arrays (kernels/native/step_driver.pxi). Each number is updated
# on its own, so that ranges may depend on the number of threads; those of sums of squares may not.
STEP_BYTES = 96 << 10  # of all arrays: one thread takes 2 us from here on, and another joins after 0.4
STEP_RANGE = 1 << 18  # numbers, of arrays larger than all caches: a faster thread takes more ranges
STEP_CHUNK = 1 << 22  # numbers in one kernel call: Ctrl-C is answered between calls, after some 5 ms from memory
SUM_NUMBERS = 4096  # of a range of squares
MOST_RANGES = 64  # no phase of a team has more items


def step_plan(n: int, bytes_each: int, threads: int) -> tuple[int, int]:
    """How many ranges, 0 if the arrays need several calls, and how many threads.

    Arrays of at most STEP_RANGE numbers for each thread have one range for each, the same in every step, so that it
    stays in that thread's cache. Larger arrays have more ranges.
    """
    if n > STEP_CHUNK:
        return 0, threads
    if n * bytes_each < STEP_BYTES:
        return 1, 1
    threads = min(threads, MOST_RANGES)
    return max(threads, -(-n // STEP_RANGE)), threads


# A search tries many W on blocks of rows (fastlin/_search.py): a group of W is stacked as if all were classes.
SEARCH_CLASSES = 240  # of a group: with half as many X is read from L2 twice as often, and the search is 10 % slower
SEARCH_BYTES = 512 << 10  # of the weights of a group
SEARCH_ROWS = 128  # of a block: its scores stay in L2
SEARCH_FLOPS = 20_000_000  # of a task: 300 us, for which Python needs 20
DRAWN, DRAWN_BYTES = 32, 512 << 10  # W drawn at once, at least, while those before are tried: 0.8 ms of a thread's time


@dataclass(frozen=True)
class SearchPlan:
    """The number of W in a group, and the cut of the rows."""

    group: int
    chunk: int  # rows that are copied into blocks at once
    parts: int  # of a chunk
    block: int


@lru_cache(maxsize=1024)
def search_plan(n: int, d: int, c: int, itemsize: int, compiled: bool) -> SearchPlan:
    """The cut of the rows; the last chunk may be shorter."""
    group = max(1, min(SEARCH_CLASSES // c, SEARCH_BYTES // ((d + 1) * c * itemsize)))
    block = max(16, min(SEARCH_ROWS, BLOCK_BYTES // ((d + 1) * itemsize) // 16 * 16))
    if not compiled:
        block *= 8  # a call costs Python more than a block
    block = max(1, min(block, CHUNK_FLOPS // (2 * (d + 1) * c * group)))
    blocks = max(1, COPY_BYTES // ((d + 1) * itemsize * block))
    flops = 2 * min(n, blocks * block) * (d + 1) * c * group
    parts = max(1, min(blocks, -(-n // block), flops // SEARCH_FLOPS)) if compiled else 1
    return SearchPlan(group, blocks * block, parts, block)


def search_draws(size: int, group: int) -> int:
    """How many arrays of `size` numbers are drawn at once: whole groups."""
    return -(-max(DRAWN, DRAWN_BYTES // (8 * max(1, size))) // group) * group


class Workspace:
    """The memory of one call of a loss kernel, in the order of its arguments.

    rows : of W, where kernels want it feature-major; None: class-major.  in_place : they read the caller's W.
    """

    def __init__(
        self,
        cut: Plan,
        c: int,
        d: int,
        dtype: np.dtype[np.generic],
        convert: bool,
        rows: int | None = None,
        in_place: bool = False,
    ) -> None:
        if rows is None:
            weights, parts = padded((c, d + 1), dtype), padded((cut.parts, c, d + 1), dtype)
        else:
            # Rows of whole cache lines would have entries touch fewer of them, and zeroing and summing parts more.
            weights = _aligned((0 if in_place else rows, c), c, dtype)
            parts = _aligned((cut.parts, rows, c), c, dtype)
        panels = padded(((c + PANEL_CLASSES) * d if rows is None and _has_panels(c, d, dtype.itemsize) else 0,), dtype)
        row_buffer = padded((cut.parts, cut.block if convert else 0, d), dtype)
        scores = padded((cut.parts, c + 3, cut.block), dtype)  # and three rows of scratch for the epilogue
        self.losses = np.empty(cut.parts)
        self.arrays = weights, panels, row_buffer, scores, parts, self.losses
        self.size = sum(A.nbytes for A in self.arrays)


class SlopesWorkspace:
    """The memory of a pass by columns, in the order of the kernel's arguments; the slopes (n, c) come last."""

    def __init__(self, cut: Plan, n: int, c: int, dtype: np.dtype[np.generic]) -> None:
        self.losses = np.empty(cut.parts)
        self.sums = padded((cut.parts, c), dtype)
        self.slopes = _aligned((n, c), c, dtype)
        self.arrays = padded((cut.parts, c + 3, cut.block), dtype), self.sums, self.losses, self.slopes
        self.size = sum(A.nbytes for A in self.arrays)


def epoch_workspace(cut: EpochPlan, steps: int, c: int, d: int, dtype: np.dtype[np.generic]) -> EpochWorkspace:
    """The memory of so many steps. Column blocks write to cache lines of their own."""
    blocks = cut.column_blocks
    return EpochWorkspace(
        row_buffer=padded((cut.block, d), dtype),
        partial=padded((2, blocks, c, cut.block), dtype),
        scores=padded((blocks, 2 * c + max(3, c), cut.block), dtype),  # scratch, and the gathered part of y
        subtotal=padded((c, d + 1), dtype),
        subtotal_blocks=cut.subtotal,
        losses=np.zeros(steps),
        penalties=np.zeros((steps, blocks)),
        squares=np.zeros(blocks),
    )


def padded(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
    """An array whose rows begin at cache lines, an odd number of lines apart: rows of 2^k bytes share L1 sets."""
    line = CACHE_LINE // dtype.itemsize
    return _aligned(shape, (-(-shape[-1] // line) | 1) * line, dtype)


def _aligned(shape: tuple[int, ...], row: int, dtype: np.dtype[np.generic]) -> Array:
    """An array from the beginning of a cache line, with so many numbers from one row to the next."""
    line = CACHE_LINE // dtype.itemsize
    count = row * math.prod(shape[:-1])
    memory = np.empty(count + line, dtype)
    start = -memory.ctypes.data % CACHE_LINE // dtype.itemsize
    aligned: Array = memory[start : start + count].reshape(*shape[:-1], row)[..., : shape[-1]]
    return aligned
