"""How many threads to use, and a small pool of threads for work that Python divides: scores, conversions, searches.

Losses, steps and epochs use the teams of threads inside the kernels instead. OpenMP is not used: its threads do not
survive a fork, and two of its runtimes in one process can deadlock.
"""

from __future__ import annotations

import _thread
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from queue import SimpleQueue

from fastlin import _check

MOST_THREADS = 64  # of a team, in team.h and numba_team.py: more would have nothing to do

_limit: int | None = None


def set_num_threads(n: int | None) -> None:
    """Let compiled kernels use at most n threads in calls without `threads=`; None removes this limit.

    The results have the same bits for any number. It overrides the environment variable FASTLIN_NUM_THREADS; without
    either a call takes as many threads as the machine has cores.

    n : at least 1. Raises ValueError or TypeError for others.
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
        self._helpers: list[threading.Lock] = []  # each is held until its helper has left
        self._cancelled = False
        self._error: BaseException | None = None

    def work(self) -> None:
        """Take tasks until there are no more."""
        while not self._cancelled:
            try:
                number = self._todo.popleft()
            except IndexError:
                return
            for _ in self._task(number):
                if self._cancelled:
                    return

    def help(self) -> None:
        """Work as a helper: one that is in `_helpers` may hold a task, and one that comes later finds none."""
        working = threading.Lock()
        with working:
            self._helpers.append(working)
            try:
                self.work()
            except BaseException as error:  # the caller raises it
                self._error = error
                self._cancelled = True

    def lead(self, jobs: SimpleQueue[_Job], helpers: int) -> None:
        """Work with so many helpers, and return when none of them uses the caller's arrays any more."""
        try:
            for _ in range(helpers):
                jobs.put(self)
            self.work()
            self._wait()
        except BaseException:  # Ctrl-C, or no memory
            self._cancelled = True  # the helpers end at their next yield
            while not self._waited():
                pass
            raise
        if self._error is not None:
            raise self._error

    def _wait(self) -> None:
        for working in list(self._helpers):
            with working:
                pass

    def _waited(self) -> bool:
        """Wait; false if Ctrl-C came again meanwhile."""
        try:
            self._wait()
        except BaseException:
            return False
        return True


class _Helper:
    """A thread that waits for jobs until the process ends.

    The threading module's threads do not serve: if Ctrl-C interrupts Thread.start(), the new thread may wait for ever.
    """

    runs = False  # set by the thread itself


class Pool:
    """Runs the tasks of a job on the calling thread and some helpers: daemon threads that wait for jobs in a queue.

    Ctrl-C may come between any two steps of the calling thread, and a signal's handler may use the pool itself.
    Therefore nothing here has to be undone: locks are held by `with` alone, and what a caller leaves half done the
    next one finds and completes.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._helpers: list[_Helper] = []
        self._using = threading.Lock()  # of the last caller that took the helpers: held until its call ends
        self._changing = threading.RLock()  # held for a change of `_using` or `_helpers`

    def run(self, task: Callable[[int], Iterable[None]], count: int, threads: int) -> None:
        """Exhaust task(0) ... task(count - 1), each once, on up to `threads` threads; return when all have ended.

        A task yields every few milliseconds: there it stops if the caller was interrupted. If another
        thread is using the pool, the caller does its tasks alone: it neither waits nor adds threads.
        """
        job = _Job(task, count)
        if threads < 2 or count < 2:
            return job.work()
        using = threading.Lock()
        with using:
            if not self._take(using):
                return job.work()
            return job.lead(self._jobs, self._hire(min(threads, count) - 1))

    def _take(self, using: threading.Lock) -> bool:
        """Whether the helpers were free; then they are the caller's until it releases its lock."""
        with self._changing:
            if self._using.locked():
                return False
            self._using = using
            return True

    def _hire(self, wanted: int) -> int:
        """Start helpers until there are `wanted`, or as many as the system allows; how many of them there are."""
        if len(self._helpers) < wanted or not all(helper.runs for helper in self._helpers):
            with self._changing:
                self._helpers = [helper for helper in self._helpers if helper.runs]
                while len(self._helpers) < wanted:
                    helper = _Helper()
                    self._helpers.append(helper)
                    try:
                        _thread.start_new_thread(self._help, (helper,))
                    except RuntimeError:  # the system starts no more threads
                        self._helpers.remove(helper)
                        break
        return min(wanted, len(self._helpers))

    def _help(self, helper: _Helper) -> None:
        """Runs in a helper's thread."""
        with self._changing:
            if helper not in self._helpers:  # Ctrl-C came right after its start, and it was replaced
                return
            helper.runs = True
        while True:
            self._jobs.get().help()


pool = Pool()


def _forget_threads() -> None:
    """Replaces the pool after a fork: the child has none of the parent's threads."""
    global pool
    pool = Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
