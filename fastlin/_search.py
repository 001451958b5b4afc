"""Who tries which W of a search: groups of them by parts of the rows, and who draws the next ones meanwhile.

The cut depends on sizes alone (fastlin/_plan.py) and every sum has its order: the same bits for any number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from fastlin import _plan, _pool, ops
from fastlin._check import Array, Problem, native, walkable


@np.errstate(all="ignore")
def loss_values(
    loss: str,
    hyper: tuple[float, ...],
    W: Array,
    problem: Problem,
    backend: str,
    threads: int | None,
    meanwhile: Callable[[], None] | None = None,
) -> Array:
    """The sum over rows of weighted losses (k,) for each of the weights W (k, d, c) or (k, d + 1, c); no gradient.

    `meanwhile` is called once, by whichever thread is free.
    """
    X, dtype = problem.X, native(problem.W)
    as_bytes = X.dtype == np.uint8 and ops.BACKENDS[backend].compiled
    in_place = walkable(X, X.dtype if as_bytes else dtype)
    most = len(X) if in_place else max(1, _plan.COPY_BYTES // (max(X.shape[1], 1) * dtype.itemsize))
    values = np.zeros(len(W))
    for start in range(0, len(X), most):
        some = slice(start, start + most)
        rows = X if in_place else np.ascontiguousarray(X[some], dtype)
        part = Problem(problem.W, rows, problem.y[some], problem.sample_weight[some])
        values += _by_tasks(loss, hyper, W, part, backend, threads, None if start else meanwhile)
    return values


def _by_tasks(
    loss: str,
    hyper: tuple[float, ...],
    W: Array,
    problem: Problem,
    backend: str,
    threads: int | None,
    meanwhile: Callable[[], None] | None,
) -> Array:
    """The same where kernels can read X."""
    _, X, y, sample_weight = problem
    (n, d), (k, columns, c), dtype = X.shape, W.shape, native(problem.W)
    compiled = ops.BACKENDS[backend].compiled
    kernel = ops.losses_kernel(loss, "dense" if X.dtype == dtype else "uint8", backend)
    cut = _plan.search_plan(n, d, c, dtype.itemsize, k, compiled)
    groups, block = -(-k // cut.group), min(cut.block, n)
    losses = np.empty((cut.parts, k))
    before = () if meanwhile is None else (meanwhile,)

    def run_task(task: int) -> Iterator[None]:
        if task < len(before):
            before[task]()
            return
        part, group = divmod(task - len(before), groups)
        own = slice(group * cut.group, min((group + 1) * cut.group, k))
        some = slice(n * part // cut.parts, n * (part + 1) // cut.parts)
        size = own.stop - own.start
        by_class = _plan.padded((size * c, d + 1), dtype)
        by_class[:, d] = 0
        by_class.reshape(size, c, d + 1)[:, :, :columns] = W[own].transpose(0, 2, 1)
        rows = _plan.padded((0 if X.dtype == dtype else block, d), dtype)
        scores = _plan.padded((size * c + 3, block), dtype)
        kernel(X[some], by_class, y[some], sample_weight[some], hyper, rows, scores, losses[part, own])
        yield

    tasks = len(before) + cut.parts * groups
    _pool.pool.run(run_task, tasks, _pool.thread_limit(threads) if compiled else 1)
    total: Array = losses.sum(axis=0)
    return total
