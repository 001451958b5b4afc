"""The losses of many W on the same rows; threads divide them by groups of W and parts of the rows.

Some rows of X at a time are copied into blocks in which the numbers of a feature are contiguous. The scores of a group
of W then have the form of a gradient's product, which the tile computes fastest. The cut depends on sizes alone
(fastlin/_plan.py) and every sum has a fixed order, so the bits are the same for any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from fastlin import _plan, _pool, _run, ops
from fastlin._check import Array, Inputs
from fastlin._csr import Csr
from fastlin._objective import Objective


def trial(objective: Objective, inputs: Inputs) -> Trial | SparseTrial:
    """A loss and the rows on which W are to be tried."""
    return (SparseTrial if isinstance(inputs.X, Csr) else Trial)(objective, inputs)


class SparseTrial:
    """One W after the other, by the kernel that gives the gradient too: blocks of sparse rows would be mostly zeros."""

    group = 1

    def __init__(self, objective: Objective, inputs: Inputs) -> None:
        self._objective, self._inputs = objective, inputs
        self._dW = np.empty_like(inputs.W)

    @np.errstate(all="ignore")
    def losses(self, W: Array, meanwhile: Callable[[], None]) -> Array:
        """The weighted sum of losses (k,) of each of the weights W (k, d, c) or (k, d + 1, c)."""
        meanwhile()
        return np.array([_run.loss_grad(self._objective, self._inputs._replace(W=w), 1.0, self._dW) for w in W])


class Trial:
    """A loss and the rows on which W are to be tried."""

    def __init__(self, objective: Objective, inputs: Inputs) -> None:
        W, X, self._y, self._sample_weight, _ = inputs
        (n, d), self._c, self._dtype = X.shape, W.shape[1], W.dtype
        compiled = ops.BACKENDS[objective.backend].compiled
        self._X, self._hyper = X, objective.hyper
        self._kernel = ops.losses_kernel(objective.loss, objective.backend)
        self._threads = _pool.thread_limit(objective.threads) if compiled else 1
        self.cut = _plan.search_plan(n, d, self._c, W.dtype.itemsize, compiled)
        self.group = self.cut.group
        self._blocks = _plan.padded((-(-min(n, self.cut.chunk) // self.cut.block), d, self.cut.block), W.dtype)
        self._filled = -1  # the first row of the blocks

    @np.errstate(all="ignore")
    def losses(self, W: Array, meanwhile: Callable[[], None]) -> Array:
        """The weighted sum of losses (k,) of each of the weights W (k, d, c) or (k, d + 1, c).

        `meanwhile` is called once, by whichever thread is free.
        """
        total = np.zeros(len(W))
        for start in range(0, len(self._X), self.cut.chunk):
            self._fill(start)
            total += self._chunk(W, start, _nothing if start else meanwhile)
        return total

    def _chunk(self, W: Array, start: int, meanwhile: Callable[[], None]) -> Array:
        """The sums over the rows in the blocks."""
        groups, parts = -(-len(W) // self.cut.group), self.cut.parts
        found = np.empty((parts, len(W)))

        def task(number: int) -> Iterator[None]:
            if number == 0:
                meanwhile()
                return
            part, group = divmod(number - 1, groups)
            own = slice(group * self.cut.group, (group + 1) * self.cut.group)
            self._try(W[own], start, part, found[part, own])
            yield

        _pool.pool.run(task, 1 + parts * groups, self._threads)
        total: Array = found.sum(axis=0)
        return total

    def _fill(self, start: int) -> None:
        """Copy the rows from `start` on into the blocks, unless they are there."""
        if self._filled == start:
            return
        block, stop = self.cut.block, min(start + self.cut.chunk, len(self._X))

        def task(number: int) -> Iterator[None]:
            first = start + number * block
            rows = self._X[first : min(first + block, stop)]
            self._blocks[number, :, : len(rows)] = rows.T
            yield

        _pool.pool.run(task, -(-(stop - start) // block), self._threads)
        self._filled = start

    def _try(self, W: Array, start: int, part: int, losses: Array) -> None:
        """The losses of a group of W on a part of the rows in the blocks."""
        k, columns, _ = W.shape
        block, d = self.cut.block, self._X.shape[1]
        rows = min(self.cut.chunk, len(self._X) - start)
        blocks = -(-rows // block)
        first, last = blocks * part // self.cut.parts, blocks * (part + 1) // self.cut.parts
        by_class = _plan.padded((k * self._c, d + 1), self._dtype)
        by_class[:, d] = 0
        by_class.reshape(k, self._c, d + 1)[:, :, :columns] = W.transpose(0, 2, 1)
        scores = _plan.padded((k * self._c + 3, block), self._dtype)
        some = slice(start + first * block, start + min(last * block, rows))
        y, weight = self._y[some], self._sample_weight[some]
        sums = np.zeros(k * self._c, self._dtype)
        self._kernel(self._blocks[first:last], by_class, y, weight, self._hyper, scores, sums, losses)


def _nothing() -> None:
    pass
