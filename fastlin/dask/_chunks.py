"""Dask arrays as parts: each chunk is one, and Dask's workers compute where the chunks are.

What is asked of chunks is a task without side effects, which any worker may do again: nothing is pinned, and what dies
with a worker is computed anew by another. Dask needs milliseconds for a task, so that a task does several chunks:

* Neighbouring small chunks are a group, of 2^k chunks that begin at a multiple of 2^k: a branch of the tree of
  `fastlin._parts.reduction`.
* Where workers hold the chunks, a task does several groups of one worker, wherever they are in the tree, and returns
  the sums of the largest branches that it has: nothing moves but these.

So the sum has the bits that `fl.Parts` over the same chunks gives it, whoever has which.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import dask
import numpy as np

from fastlin._extras import progress_bar
from fastlin._parts.reduction import Branch, Partial, Tree
from fastlin.parts import Part, Parts, Task, _compute, _Given, _Mapped

T = TypeVar("T")
Graph = dict[Any, Any]
Key = tuple[str, int]
Functions = tuple[Callable[[Part], Part], ...]

GROUP_BYTES = 16 << 20  # of X: a task over less than this takes little longer than Dask needs to hand it out
TASK_BYTES = 256 << 20  # of X that a worker holds: a task over this takes ten times as long as Dask needs for it
TASKS = 4  # for each thread of a worker, if its groups are as many: the last to end leaves others idle for a quarter
LOOK = 16  # evaluations, after which the scheduler is asked again who holds what
INLINE_BYTES = 1 << 20  # of weights that the tasks of an evaluation carry along; more are sent once, as a task's result
BACK_BYTES = 64 << 20  # of gradients that come back to the client; of more, a worker forms the sum
SUM_BYTES = 512 << 20  # that it adds up; of more, each takes FAN_IN neighbours, and so on
FAN_IN = 8  # a power of 2
RETRIES = 2  # of a task that raises: a disk or a network may answer the second time


class Group(NamedTuple):
    """Neighbouring chunks that are computed together."""

    first: int  # the number of the first chunk
    size: int  # chunks
    where: Any  # the key of a list of their (X, y, sample_weight), or that list with a key in the place of each array
    nbytes: int  # of X about, 0 where nobody knows

    @property
    def key(self) -> Any:
        """Of what has its X, or the first chunk of that."""
        return self.where[0][0] if isinstance(self.where, list) else self.where


class Chunks(Parts):
    """The chunks of dask arrays as parts; `fastlin.dask._inputs.chunks` makes them.

    executor : the Client, or a function (graph, keys) -> results: one of Dask's schedulers for a single machine.
    """

    def __init__(self, graph: Graph, groups: list[Group], executor: Any, progress: bool = False) -> None:
        self._graph, self._groups, self.executor, self._progress = graph, groups, executor, progress
        self._functions: Functions = ()
        self._placed: list[list[int]] = []  # the last batches, if all groups were there
        self._near = False  # whether the workers were on this machine then
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
        for results in self._results(*self._tasks(_each_of, task, self._batches())):
            for number, result in results:
                take(number, result)

    def _sum(self, task: Task[Partial]) -> Partial:
        count, size = len(self._groups), _size(task)
        spread = count * size > SUM_BYTES and count > FAN_IN  # each task returns one gradient, and neighbours meet
        graph, keys = self._tasks(partial(_sum_of, count), task, self._each_alone() if spread else self._batches())
        if spread:
            while len(keys) * size > BACK_BYTES and len(keys) > FAN_IN:
                graph, keys = self._summed(graph, keys, FAN_IN)
        elif count * size > BACK_BYTES and len(keys) > 1:
            graph, keys = self._summed(graph, keys, len(keys))
        tree = Tree(count)
        for branches in self._results(graph, keys):
            for branch in branches:
                tree.add(*branch)
        return tree.total()

    def _summed(self, graph: Graph, keys: list[Key], fan_in: int) -> tuple[Graph, list[Key]]:
        """The graph with tasks that sum so many results each, and their keys."""
        several = [keys[i : i + fan_in] for i in range(0, len(keys), fan_in)]
        keys = _keys("sums", len(several))
        total = partial(_total, len(self._groups))
        return graph | {key: (total, some) for key, some in zip(keys, several, strict=True)}, keys

    def _each_alone(self) -> list[list[int]]:
        return [[i] for i in range(len(self._groups))]

    def _batches(self) -> list[list[int]]:
        """The numbers of the groups that a task does: each alone, but of those that a worker holds several."""
        if self._placed and self.evaluations % LOOK:
            return self._placed
        held = [] if callable(self.executor) else _futures([self._graph.get(group.key) for group in self._groups])
        if not held:
            return self._each_alone()
        client: Any = self.executor
        batches, of_worker = [], _by_worker(client.who_has(held), [group.key for group in self._groups])
        threads = client.nthreads()
        for address, numbers in of_worker.items():
            if address not in threads:  # nobody has them yet, or its worker has just died
                batches += [[i] for i in numbers]
                continue
            size, count = sum(self._groups[i].nbytes for i in numbers), TASKS * threads[address]
            if size:
                count = min(max(count, -(-size // TASK_BYTES)), max(1, size // GROUP_BYTES))
            count = min(count, len(numbers))
            ends = [len(numbers) * k // count for k in range(count + 1)]
            batches += [numbers[first:last] for first, last in pairwise(ends)]
        self._placed = batches if all(address in threads for address in of_worker) else []
        self._near = all(map(_on_loopback, threads))
        return batches

    def _tasks(
        self, function: Callable[..., Any], task: Task[Any], batches: list[list[int]]
    ) -> tuple[Graph, list[Key]]:
        """A graph in which function(functions, groups, task, data) is done for each batch, and the keys of results."""
        keys = _keys(type(task).__name__.strip("_").lower(), len(batches))
        graph = dict(self._graph)
        inline = _size(task) * len(keys) <= INLINE_BYTES
        if not inline:
            (sent,) = _keys("weights", 1)
            graph[sent] = (partial(_same, task),)
        for key, batch in zip(keys, batches, strict=True):
            call = partial(function, self._functions, [(i, self._groups[i].first) for i in batch])
            where = [self._groups[i].where for i in batch]
            graph[key] = (partial(call, task), where) if inline else (call, sent, where)
        return graph, keys

    def _results(self, graph: Graph, keys: list[Key]) -> list[Any]:
        """What the tasks of these keys return."""
        self.evaluations += 1
        begun = _begun(self.executor, graph, keys)
        with progress_bar(f"pass {self.evaluations}", self._progress, len(keys)) as advance:
            if callable(self.executor):
                for _ in keys:
                    advance("")
                found: list[Any] = begun
                return found
            return _gathered(self.executor, begun, advance, self._near)


def _futures(data: list[Any]) -> list[Any]:
    """The same, if workers hold all of it; else nothing."""
    from distributed import Future

    return data if all(isinstance(one, Future) for one in data) else []


def _by_worker(who_has: Any, keys: list[Any]) -> dict[str, list[int]]:
    """Which of the keys each worker holds, one of those with few where several do; under "" what nobody has."""
    found: dict[str, list[int]] = {}
    for i, key in enumerate(keys):
        holders = who_has.get(key) or ("",)
        address = min(holders, key=lambda one: (len(found.get(one, ())), one))
        found.setdefault(address, []).append(i)
    return found


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


def _on_loopback(address: str) -> bool:
    """Whether a worker is reached at this machine's own address, as those of a LocalCluster are."""
    host = urlsplit(address).hostname or ""
    return host == "localhost" or host.startswith("127.") or host == "::1"


def _gathered(client: Any, futures: list[Any], advance: Callable[[str], None], near: bool) -> list[Any]:
    """Their results, all at once: asking for each takes as long as a small task. Who fails leaves nothing queued.

    near : every worker can be reached from here. Gradients then come from the workers; by way of the scheduler, as
    Dask does where a firewall may be between, they are sent twice.
    """
    from distributed import as_completed

    try:
        for future in as_completed(futures, loop=client.loop):
            if future.status != "finished":
                future.result()  # raises its error
            advance("")
        found: list[Any] = client.gather(futures, direct=near or None)
        return found
    except BaseException:
        client.cancel(futures)
        raise
    finally:
        futures.clear()  # a result that has been taken is held by nobody


def _size(task: Any) -> int:
    """The bytes of the arrays that a task carries: weights, and gradients have about as many."""
    return sum(value.nbytes for value in vars(task).values() if isinstance(value, np.ndarray))


# ---- What workers do ----------------------------------------------------------------------------------------------


def _same(found: T) -> T:
    return found


def _each_of(
    functions: Functions, groups: list[tuple[int, int]], task: Task[T], data: list[Any]
) -> list[tuple[int, T]]:
    """The results of the chunks of some groups, with their numbers. groups : the number of each and its first chunk."""
    return [
        (first + i, _of_chunk(functions, first + i, task, chunk))
        for (_, first), chunks in zip(groups, data, strict=True)
        for i, chunk in enumerate(chunks)
    ]


def _sum_of(
    count: int, functions: Functions, groups: list[tuple[int, int]], task: Task[Partial], data: list[Any]
) -> list[Branch]:
    """The sums of some of `count` groups."""
    tree = Tree(count)
    for (number, first), chunks in zip(groups, data, strict=True):
        branch = Tree(len(chunks))
        for i, chunk in enumerate(chunks):
            branch.add(i, _of_chunk(functions, first + i, task, chunk))
        tree.add(number, branch.total())
    return tree.branches()


def _of_chunk(functions: Functions, number: int, task: Task[T], chunk: Any) -> T:
    source: Callable[[], Any] = _Given(tuple(chunk))
    for function in functions:
        source = _Mapped(source, function)
    return _compute(task, source, number)


def _total(count: int, several: list[list[Branch]]) -> list[Branch]:
    """The sums of what others have summed."""
    tree = Tree(count)
    for branches in several:
        for branch in branches:
            tree.add(*branch)
    return tree.branches()
