"""A loss over parts: what one worker computes of one part, and a sum whose bits depend on the parts alone.

The sum is a binary tree over the parts' numbers, ((0 + 1) + (2 + 3)) + ((4 + 5) + 6), in float64. So the bits are the
same for any number of workers and threads, whatever part comes first, and however often one was computed anew.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastlin import _check
from fastlin._affine import Affine
from fastlin._check import Array
from fastlin._objective import Objective


class Partial(NamedTuple):
    """Sums over some rows."""

    loss: float  # of sample_weight * loss, without the penalty
    dW: Array  # of their gradients, like W, in float64
    weight: float  # of sample_weight; without such the number of rows
    rows: int

    def plus(self, other: Partial) -> Partial:
        """The sums over the rows of both, in new arrays: a worker's answer may be read-only or shared."""
        return Partial(self.loss + other.loss, self.dW + other.dW, self.weight + other.weight, self.rows + other.rows)


Branch = tuple[int, Partial, int]  # what `Tree.add` takes


@np.errstate(all="ignore")  # NaN and Inf follow IEEE's rules, as in kernels
def partial(
    objective: Objective, W: Array, X: Any, y: Any, sample_weight: Any = None, scale_shift: Affine | None = None
) -> Partial:
    """The sums over the rows of one part. All arguments can be pickled, and none is written to.

    Raises ValueError or TypeError, which names the argument, for arrays that the loss does not take.
    """
    inputs = _check.inputs(objective.loss, W, X, y, objective.bias, sample_weight)
    value, dW = objective._replace(penalty=None).at(inputs, scale_shift, 1, None)
    weight = float(inputs.sample_weight.sum(dtype=np.float64))
    return Partial(value, dW.astype(np.float64, copy=False), weight, inputs.X.shape[0])


class Tree:
    """The sum of `count` partials, each given once, in any order.

    A pair is added as soon as both are there. What is kept are the partials that wait for their other half: of parts
    that come in order at most log2(count) + 1, and one more for each part that overtook another.
    """

    def __init__(self, count: int) -> None:
        self._count = _check.count("count", count)
        self._waiting: dict[tuple[int, int], Partial] = {}  # by (level, number on it)
        self._given: set[int] = set()

    def add(self, number: int, found: Partial, level: int = 0) -> None:
        """Take in the partial of the part of this number; or that of a branch, the sum of 2^level neighbouring parts.

        The branches of a level are numbered too: that of parts 4 ... 7 is number 1 on level 2. The last may be smaller.
        """
        parts = range(max(0, number) << level, min((number + 1) << level, self._count))
        if number < 0 or not parts or not self._given.isdisjoint(parts):
            raise ValueError(f"number must be that of a part in [0, {self._count}) not given yet; found {number}")
        self._given.update(parts)
        on_level = -(-self._count >> level)
        while on_level > 1:
            other = number ^ 1
            if other < on_level:  # else the last of an odd count goes up alone
                met = self._waiting.pop((level, other), None)
                if met is None:
                    break
                found = met.plus(found) if other < number else found.plus(met)
            level, number, on_level = level + 1, number // 2, (on_level + 1) // 2
        self._waiting[level, number] = found

    def branches(self) -> list[Branch]:
        """The sums so far, of the largest branches whose parts have all been given, for another tree of as many."""
        return [(number, found, level) for (level, number), found in self._waiting.items()]

    def total(self) -> Partial:
        """The sum, once all parts have been given."""
        if len(self._given) < self._count:
            missing = next(i for i in range(self._count) if i not in self._given)
            raise ValueError(f"{self._count - len(self._given)} of {self._count} parts are missing, such as {missing}")
        (found,) = self._waiting.values()
        return found


@np.errstate(all="ignore")
def finished(objective: Objective, W: Array, total: Partial, divisor: float) -> tuple[float, Array]:
    """The loss, `total` over the divisor with the penalty, and its gradient in W's dtype: a new array like W."""
    dW = np.empty_like(W)
    np.divide(total.dW, divisor, out=dW, casting="same_kind")
    d = len(W) - objective.bias
    return total.loss / divisor + objective.add_penalty(W[:d], dW[:d]), dW
