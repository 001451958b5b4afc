"""How many threads to use, and a small pool of threads for work that Python divides: scores, conversions, searches.

Losses, steps and epochs use the teams of threads inside the kernels instead. OpenMP is not used: its threads do not
survive a fork, and two of its runtimes in one process can deadlock. concurrent.futures is not used either: two locks
pass a task to a thread in a third of the time.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from fastlin import _check

MOST_THREADS = 64  # of a team, in team.h and numba_team.py: more would have nothing to do

_limit: int | None = None


def set_num_threads(n: int | None) -> None:
    """Let compiled kernels use at most n threads in calls without `threads=`; None removes this limit.

    The results have the same bits for any number. It overrides the environment variable FASTLIN_NUM_THREADS.
    """
    global _limit
    _limit = None if n is None else min(_check.count("n", n), MOST_THREADS)


def thread_limit(threads: int | None) -> int:
    """The most threads of a call: its argument, else `set_num_threads`, else FASTLIN_NUM_THREADS, else the cores."""
    if threads is not None:
        return min(_check.count("threads", threads), MOST_THREADS)
    return _limit or _default()


@cache
def _default() -> int:
    named = os.environ.get("FASTLIN_NUM_THREADS")  # read once: reading it takes a microsecond
    if not named:
        return physical_cores()
    if not named.isdecimal() or len(named) > 20 or int(named) < 1:
        raise ValueError(
            f"the environment variable FASTLIN_NUM_THREADS must be an integer of at least 1; found {named!r}"
        )
    return min(int(named), MOST_THREADS)


@cache
def physical_cores() -> int:
    """Physical cores that this process may run on: hyper-threads share the units that these kernels keep busy."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cores = set()
    for cpu in os.sched_getaffinity(0):
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        cores.add(siblings.read_text() if siblings.exists() else str(cpu))
    return len(cores)


class _Job:
    """Numbered tasks that several threads take one by one."""

    def __init__(self, task: Callable[[int], Iterable[None]], count: int) -> None:
        self._task = task
        self._todo = deque(range(count))
        self.cancelled = False

    def work(self) -> None:
        while not self.cancelled:
            try:
                number = self._todo.popleft()
            except IndexError:
                return
            for _ in self._task(number):
                if self.cancelled:
                    return


class _Worker:
    """A daemon thread that waits for a job, works on it, reports that it is done, and waits again."""

    def __init__(self) -> None:
        self._go = threading.Lock()
        self._done = threading.Lock()
        self._go.acquire()
        self._done.acquire()
        self._working = threading.Lock()
        self._job: _Job | None = None
        self.error: BaseException | None = None
        self.retired = False
        threading.Thread(target=self._loop, name="fastlin", daemon=True).start()

    def start(self, job: _Job) -> None:
        self._job = job
        self.error = None
        self._go.release()

    def wait(self) -> None:
        self._done.acquire()

    def retire(self) -> None:
        """Return when this worker has stopped using the arrays of a cancelled job, even if Ctrl-C comes again."""
        self.retired = True
        while True:
            try:
                with self._working:
                    return
            except KeyboardInterrupt:
                pass

    def _loop(self) -> None:
        while not self.retired:
            self._go.acquire()
            try:
                with self._working:
                    if self._job is not None:
                        self._job.work()
            except BaseException as error:  # the caller raises it
                self.error = error
            self._job = None  # it holds the caller's arrays
            self._done.release()


class Pool:
    """Runs the tasks of a job on the calling thread and some helpers."""

    def __init__(self) -> None:
        self._busy = threading.Lock()
        self._workers: list[_Worker] = []

    def run(self, task: Callable[[int], Iterable[None]], count: int, threads: int) -> None:
        """Exhaust task(0) ... task(count - 1), each once, on up to `threads` threads; return when all have ended.

        A task yields every few milliseconds: there it stops if the caller was interrupted. If another
        thread is using the pool, the caller does its tasks alone: it neither waits nor adds threads.
        """
        if threads < 2 or count < 2 or not self._busy.acquire(blocking=False):
            for number in range(count):
                for _ in task(number):
                    pass
            return
        try:
            self._share(_Job(task, count), min(threads, count) - 1)
        finally:
            self._busy.release()

    def _share(self, job: _Job, helpers: int) -> None:
        while len(self._workers) < helpers:
            self._workers.append(_Worker())
        workers = self._workers[:helpers]
        try:
            for worker in workers:
                worker.start(job)
            job.work()
            for worker in workers:
                worker.wait()
        except BaseException:
            # Ctrl-C, or no memory. The helpers end at their next yield; the next call starts new ones.
            job.cancelled = True
            del self._workers[:helpers]
            for worker in workers:
                worker.retire()
            raise
        for worker in workers:
            if worker.error is not None:
                raise worker.error


pool = Pool()


def _forget_threads() -> None:
    """Replaces the pool after a fork: the child has none of the parent's threads."""
    global pool
    pool = Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
