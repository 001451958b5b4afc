"""What solvers do with long vectors: in blocks that a core's cache holds, on threads.

Beside sparse rows a W has more numbers than X has entries, and NumPy goes through it in one thread, once for each
operation. The blocks depend on sizes alone, and so do the bits of sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

from fastlin import _pool
from fastlin._check import Array
from fastlin._solvers.linalg import Means

T = TypeVar("T")

HERE = Means("numpy", 1)  # at once, in the caller's thread
BLOCK = 1 << 15  # numbers: 256 KB of each vector


def in_blocks(work: Callable[[slice], T], length: int, means: Means, width: int = 1) -> list[T]:
    """work(some) for the rows 0 ... length - 1, of `width` numbers each, some at a time; what it returns, in order."""
    step = max(1, BLOCK // max(1, width))
    if length <= step or not means.compiled:
        return [work(slice(0, length))]
    blocks = [slice(first, min(length, first + step)) for first in range(0, length, step)]
    found: dict[int, T] = {}

    def task(i: int) -> Iterator[None]:
        with np.errstate(all="ignore"):  # in each thread: NaN and Inf follow IEEE's rules
            found[i] = work(blocks[i])
        yield

    _pool.pool.run(task, len(blocks), _pool.thread_limit(means.threads))
    return [found[i] for i in range(len(blocks))]


def dot(a: Array, b: Array, means: Means = HERE) -> float:
    """Their inner product, without BLAS."""
    return sum(in_blocks(lambda some: float(np.einsum("i,i", a[some], b[some])), len(a), means))


def largest(v: Array) -> float:
    """The size of the largest entry, or NaN."""
    return float(np.maximum(v.max(initial=0.0), -v.min(initial=0.0)))


def widened(v: Array, means: Means) -> tuple[Array, float]:
    """A copy in float64, and the size of its largest entry, or NaN."""
    found = np.empty(len(v))

    def take(some: slice) -> float:
        found[some] = v[some]
        return largest(found[some])

    return found, float(np.max(in_blocks(take, len(v), means)))


def moved(x: Array, length: float, direction: Array, means: Means) -> Array:
    """x + length * direction."""
    found = np.empty_like(x)

    def add(some: slice) -> None:
        np.multiply(direction[some], length, out=found[some])
        found[some] += x[some]

    in_blocks(add, len(x), means)
    return found
