"""Dask arrays as parts: each chunk is one, and Dask's workers compute where the chunks are.

What is asked of a chunk is a task without side effects, which any worker may do again: nothing is pinned, and what dies
with a worker is computed anew by another. Neighbouring small chunks are done in one task. Such a group has 2^k chunks
and begins at a multiple of 2^k: it is a branch of the tree of `fastlin._parts.reduction`, so that its sum, formed by
whoever has the chunks, has the bits that `fl.Parts` over the same chunks gives it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

import dask
import numpy as np

from fastlin._extras import progress_bar
from fastlin._parts.reduction import Partial, Tree
from fastlin.parts import Part, Parts, Task, _compute, _Given, _Mapped

T = TypeVar("T")
Graph = dict[Any, Any]
Key = tuple[str, int]
Functions = tuple[Callable[[Part], Part], ...]

GROUP_BYTES = 16 << 20  # of X: a task over less than this takes little longer than Dask needs to hand it out
INLINE_BYTES = 1 << 20  # of weights that the tasks of an evaluation carry along; more are sent once, as a task's result
BACK_BYTES = 64 << 20  # of gradients that come back to the client; of more, workers form sums first
FAN_IN = 8  # of such a sum: a power of 2
RETRIES = 2  # of a task that raises: a disk or a network may answer the second time


class Group(NamedTuple):
    """Neighbouring chunks that are computed together."""

    first: int  # the number of the first chunk
    size: int  # chunks
    where: Any  # the key of a list of their (X, y, sample_weight), or that list with a key in the place of each array


class Chunks(Parts):
    """The chunks of dask arrays as parts; `fastlin.dask._inputs.chunks` makes them.

    executor : the Client, or a function (graph, keys) -> results: one of Dask's schedulers for a single machine.
    """

    def __init__(self, graph: Graph, groups: list[Group], executor: Any, progress: bool = False) -> None:
        self._graph, self._groups, self.executor, self._progress = graph, groups, executor, progress
        self._functions: Functions = ()
        self.evaluations = 0

    def __len__(self) -> int:
        return self._groups[-1].first + self._groups[-1].size

    def held(self) -> Chunks:
        """The same, in the workers' memory as long as this object lives: a group of chunks on one worker."""
        keys = _keys("chunks", len(self._groups))
        graph: Graph = {key: (_same, group.where) for key, group in zip(keys, self._groups, strict=True)}
        results = _begun(self.executor, self._graph | graph, keys)
        if callable(self.executor):
            results = [(partial(_same, result),) for result in results]
        groups = [group._replace(where=key) for key, group in zip(keys, self._groups, strict=True)]
        return Chunks(dict(zip(keys, results, strict=True)), groups, self.executor, self._progress)

    def _mapped(self, function: Callable[[Part], Part]) -> Chunks:
        found = Chunks(self._graph, self._groups, self.executor, self._progress)
        found._functions = (*self._functions, function)
        return found

    def _each(self, task: Task[T], take: Callable[[int, T], object], *, touch: bool = True) -> None:
        def take_all(number: int, results: list[T]) -> None:
            for i, result in enumerate(results):
                take(self._groups[number].first + i, result)

        self._run(*self._tasks(_each_of, task), take_all)

    def _sum(self, task: Task[Partial]) -> Partial:
        graph, keys = self._tasks(_sum_of, task)
        while len(keys) * _size(task) > BACK_BYTES and len(keys) > FAN_IN:
            several = [keys[i : i + FAN_IN] for i in range(0, len(keys), FAN_IN)]
            keys = _keys("sums", len(several))
            graph |= {key: (_total, some) for key, some in zip(keys, several, strict=True)}
        tree = Tree(len(keys))
        self._run(graph, keys, tree.add)
        return tree.total()

    def _tasks(self, function: Callable[..., Any], task: Task[Any]) -> tuple[Graph, list[Any]]:
        """A graph in which function(task, ...) is done for each group, and the keys of the results."""
        keys = _keys(type(task).__name__.strip("_").lower(), len(self._groups))
        graph = dict(self._graph)
        inline = _size(task) * len(keys) <= INLINE_BYTES
        if not inline:
            (sent,) = _keys("weights", 1)
            graph[sent] = (partial(_same, task),)
        for key, group in zip(keys, self._groups, strict=True):
            call = partial(function, self._functions, group.first)
            graph[key] = (partial(call, task), group.where) if inline else (call, sent, group.where)
        return graph, keys

    def _run(self, graph: Graph, keys: list[Key], take: Callable[[int, Any], object]) -> None:
        """take(number, result) for each key, in the order in which results come."""
        self.evaluations += 1
        with progress_bar(f"pass {self.evaluations}", self._progress, len(keys)) as advance:

            def take_one(number: int, result: Any) -> None:
                take(number, result)
                advance("")

            begun = _begun(self.executor, graph, keys)
            if callable(self.executor):
                for number, result in enumerate(begun):
                    take_one(number, result)
            else:
                _take_from_workers(self.executor, begun, take_one)


def _keys(kind: str, count: int) -> list[Key]:
    """New names of tasks, under which Dask's dashboard shows them as fastlin-kind."""
    token = uuid.uuid4().hex
    return [(f"fastlin-{kind}-{token}", number) for number in range(count)]


def _begun(executor: Any, graph: Graph, keys: list[Key]) -> Any:
    """A future for each key; of a scheduler for one machine the results."""
    if callable(executor):
        return executor(graph, keys)
    # Dask warns of arrays of 10 MB in a graph, and of weights it need not: they are in it once.
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1GiB"}):
        return executor.get(graph, keys, sync=False, retries=RETRIES)


def _take_from_workers(client: Any, futures: list[Any], take: Callable[[int, Any], object]) -> None:
    """take(number, result) of every future as it ends. After an error or Ctrl-C what is left is cancelled."""
    from distributed import as_completed

    left = {future.key: future for future in futures}
    futures.clear()  # a result that has been taken is held by nobody
    try:
        for future, result in as_completed(list(left.values()), loop=client.loop, with_results=True):
            take(future.key[1], result)
            del left[future.key]
    finally:
        if left:
            client.cancel(list(left.values()))


def _size(task: Any) -> int:
    """The bytes of the arrays that a task carries: weights, and gradients have about as many."""
    return sum(value.nbytes for value in vars(task).values() if isinstance(value, np.ndarray))


# ---- What workers do ----------------------------------------------------------------------------------------------


def _same(found: T) -> T:
    return found


def _each_of(functions: Functions, first: int, task: Task[T], chunks: list[Any]) -> list[T]:
    """The results of a group of chunks."""
    return [_of_chunk(functions, first + i, task, chunk) for i, chunk in enumerate(chunks)]


def _sum_of(functions: Functions, first: int, task: Task[Partial], chunks: list[Any]) -> Partial:
    """Their sum, a branch of the tree."""
    tree = Tree(len(chunks))
    for i, chunk in enumerate(chunks):
        tree.add(i, _of_chunk(functions, first + i, task, chunk))
    return tree.total()


def _of_chunk(functions: Functions, number: int, task: Task[T], chunk: Any) -> T:
    source: Callable[[], Any] = _Given(tuple(chunk))
    for function in functions:
        source = _Mapped(source, function)
    return _compute(task, source, number)


def _total(partials: list[Partial]) -> Partial:
    """The sum of neighbouring branches."""
    tree = Tree(len(partials))
    for number, found in enumerate(partials):
        tree.add(number, found)
    return tree.total()
