"""The process that loads one library: it prepares a row of a bench on request, and times bursts of calls."""

from __future__ import annotations

import ctypes
import platform
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

OURS = ("fastlin-cython", "fastlin-numba")  # the libraries that are ours, by the names of their rows
PAUSE = 0.1  # seconds: longer than idle BLAS and OpenMP threads spin
BURST = 0.15
SLOW = 1.0  # a call of this length needs no warming up


@dataclass(frozen=True)
class Call:
    """A timed function, and the conversion of its result into the answer that is judged."""

    run: Callable[[], Any]
    answer: Callable[[Any], Any] = lambda result: result


@dataclass(frozen=True)
class Prepared:
    """A worker's answer to a row: the result, or the reason why there is none."""

    failure: str = ""
    result: Any = None  # None for the machine's limits
    peak_bytes: int | None = None  # that one call adds to the process; None where the system does not tell


CallsOf = Callable[[str, Any, int], list[Call]]  # (library, row, threads) to the forms that a user might write


def work(calls_of: CallsOf, library: str, threads: int, pipe: Connection) -> None:
    """Prepares each row that it is sent, or does a burst of calls of it; in between the process sleeps."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and ends this process
    call = None
    while (order := receive(pipe)) is not None:
        if order == "burst":
            pipe.send(burst(call.run))
            continue
        call = None  # frees the arrays of the last one first
        try:
            call = quickest(calls_of(library, order, threads))
            pipe.send(Prepared(result=call.answer(call.run()), peak_bytes=peak_bytes(call.run)))
        except Exception as error:  # a library that fails is reported as that; the others go on
            pipe.send(Prepared(failure=f"{type(error).__name__}: {error}".splitlines()[0]))


def receive(pipe: Connection) -> Any:
    """The parent's message, or None when the parent has ended."""
    try:
        return pipe.recv()
    except EOFError:
        return None


def quickest(calls: list[Call]) -> Call:
    """The fastest form, which a user who tries all of them would keep."""
    if len(calls) == 1:
        return calls[0]
    best = {call: min(burst(call.run)) for call in calls}
    return min(best, key=best.__getitem__)


def burst(run: Callable[[], Any]) -> list[float]:
    """Durations of calls that take BURST together, after a pause and one call that warms up."""
    time.sleep(PAUSE)
    first = clock(run)
    if first > SLOW:
        return [first]
    seconds, total = [], 0.0
    while total < BURST:  # at least one
        seconds.append(clock(run))
        total += seconds[-1]
    return seconds


def clock(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peak_bytes(run: Callable[[], Any]) -> int | None:
    """How far a call raises this process's resident memory above its size before the call."""
    reset = Path("/proc/self/clear_refs")
    if platform.libc_ver()[0] != "glibc" or not reset.exists():
        return None
    ctypes.CDLL(None).malloc_trim(0)  # glibc keeps freed memory, which the call would reuse without raising the peak
    reset.write_text("5")  # resets the peak to the resident memory
    before = _peak_resident()
    run()
    return max(0, _peak_resident() - before)  # the kernel counts pages in lots: some may be missing


def _peak_resident() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
