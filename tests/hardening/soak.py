"""Hours of use in minutes: `make soak`. Calls among threads, forks, signals and the pools of other libraries.

Every answer is compared with the one known. After each round the threads, memory, file descriptors and temporary files
of the process are counted. It ends with an error after a wrong answer, a hang, or growth.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import json
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from multiprocessing.util import Finalize
from pathlib import Path

import numpy as np
from soak_calls import COMPILED, NUMPY, answer, known_answers, wrong_calls

HANG = 240  # seconds after which a round is a hang
SLACK = 48.0  # MiB by which memory may differ between rounds: the allocator's and other libraries' own


class Soak:
    """The known answers, and what has been done."""

    def __init__(self, seed: int) -> None:
        self.known = known_answers()
        self.rng = random.Random(seed)
        self.judge(_all_with_many_threads(self.known))
        # An interrupt in llvmlite's close() disposes of an LLVM object twice, or leaves its lock taken. So all is
        # compiled, and what compiling has left is collected, before the first interrupt.
        gc.collect()
        self.did: Counter[str] = Counter()
        self._counting = threading.Lock()

    def call(self, among: list[str], count: int) -> None:
        """Random calls in this thread."""
        with self._counting:
            self.did["calls"] += count
        self.judge(wrong_calls(self.known, among, count, self.rng.getrandbits(32)))

    def judge(self, wrong: list[str]) -> None:
        if wrong:
            raise AssertionError(f"wrong answers: {'; '.join(wrong)}")

    @contextmanager
    def meanwhile(self, work: Callable[[], object], threads: int = 1) -> Iterator[None]:
        """Other threads do the work again and again; an error of theirs is raised at the end."""
        stop = threading.Event()

        def loop() -> None:
            while not stop.is_set():
                work()

        with ThreadPoolExecutor(threads) as pool:
            others = [pool.submit(loop) for _ in range(threads)]
            try:
                yield
            finally:
                stop.set()
        for other in others:
            other.result()

    def threads(self) -> None:
        """Several threads call at once."""
        with self.meanwhile(partial(self.call, COMPILED + NUMPY, 2), threads=3):
            self.call(COMPILED + NUMPY, 30)

    def fork(self) -> None:
        """The process forks while other threads call; the children call, and fork too."""
        with self.meanwhile(partial(self.call, COMPILED, 2), threads=2):
            for _ in range(4):
                self._fork(depth=2)
                self.did["forks"] += 2

    def _fork(self, depth: int) -> None:
        seed = self.rng.getrandbits(32)
        child = os.fork()
        if not child:
            status = 1
            try:
                signal.alarm(HANG // 4)  # a deadlock ends too
                status = 1 if wrong_calls(self.known, COMPILED, 6, seed) else 0
                if depth > 1:
                    self._fork(depth - 1)
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status:
            raise AssertionError(f"a child of a fork ended with status {status}")

    def alarms(self) -> None:
        """Calls are interrupted by a timer, after random times."""
        self._storm(lambda: signal.setitimer(signal.ITIMER_REAL, self.rng.uniform(1e-6, 3e-3)), signal.SIGALRM)

    def interrupts(self) -> None:
        """Calls are interrupted by another thread's SIGINT, while a third one calls too."""
        wanted, ended = threading.Semaphore(0), threading.Event()
        rng = random.Random(self.rng.getrandbits(32))

        def send() -> None:
            while wanted.acquire() and not ended.is_set():
                time.sleep(rng.uniform(0, 3e-3))
                os.kill(os.getpid(), signal.SIGINT)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            with self.meanwhile(partial(self.call, COMPILED, 1)):
                self._storm(wanted.release, signal.SIGINT)
        finally:
            ended.set()
            wanted.release()
            sender.join()

    def _storm(self, order: Callable[[], object], number: signal.Signals) -> None:
        """Interrupts calls 100 times, by the signal that each `order` lets come once, some time later."""
        before = signal.signal(number, _interrupt)
        try:
            for _ in range(100):
                self._call_until_interrupted(order)
        finally:
            signal.signal(number, before)
        self.did["interruptions"] += 100

    def _call_until_interrupted(self, order: Callable[[], object]) -> None:
        with suppress(Interrupted):
            while True:
                order()
                for _ in range(300):  # Python ignores what is raised in a __del__: then another signal is ordered
                    self.call(COMPILED + NUMPY, 1)

    def futures(self) -> None:
        """The pool of threads of concurrent.futures."""
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(self.call, COMPILED + NUMPY, 5) for _ in range(8)]:
                done.result()

    def processes(self, method: str) -> None:
        """A pool of processes, started by fork, spawn or forkserver."""
        with ProcessPoolExecutor(2, mp_context=get_context(method)) as pool:
            args = [(self.known, COMPILED, 10, self.rng.getrandbits(32)) for _ in range(4)]
            for done in [pool.submit(wrong_calls, *some) for some in args]:
                self.judge(done.result(timeout=HANG))
        self.did["processes"] += 2

    def joblib(self) -> None:
        """Its threads, and its processes."""
        from joblib import Parallel, delayed
        from joblib.externals.loky import get_reusable_executor

        for kind in ("threading", "loky"):
            args = [(self.known, COMPILED, 10, self.rng.getrandbits(32)) for _ in range(4)]
            for wrong in Parallel(2, backend=kind)(delayed(wrong_calls)(*some) for some in args):
                self.judge(wrong)
        get_reusable_executor().shutdown(wait=True)
        self.did["processes"] += 2

    def blas(self) -> None:
        """Products by NumPy's BLAS threads meanwhile."""
        A = np.ones((300, 300))
        with self.meanwhile(lambda: A @ A, threads=2):
            self.call(COMPILED + NUMPY, 30)

    def torch(self) -> None:
        """Products by torch's threads meanwhile."""
        import torch

        A = torch.ones((300, 300))
        with self.meanwhile(lambda: A @ A, threads=2):
            self.call(COMPILED + NUMPY, 30)


class Interrupted(BaseException):
    """What a signal raises."""


def _interrupt(number: int, frame: object) -> None:
    raise Interrupted


def _all_with_many_threads(known: dict[str, str]) -> list[str]:
    """Which calls did not give the known answer with 2, 3 or 4 threads."""
    calls = [(call, threads) for threads in (2, 3, 4) for call in known]
    return [f"{call}, {threads} threads" for call, threads in calls if answer(call, threads) != known[call]]


def scenarios(soak: Soak) -> dict[str, Callable[[], None]]:
    """What a round can be, of what there is on this machine."""
    found = {"threads": soak.threads, "fork": soak.fork, "alarms": soak.alarms, "interrupts": soak.interrupts}
    found |= {"futures": soak.futures, "blas": soak.blas}
    found |= {f"processes by {how}": partial(soak.processes, how) for how in ("fork", "spawn", "forkserver")}
    return found | {name: getattr(soak, name) for name in ("joblib", "torch") if find_spec(name)}


def counted(folder: Path) -> dict[str, float]:
    """What the process holds."""
    status = Path("/proc/self/status").read_text().splitlines()
    resident = next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))
    return {
        "threads": len(os.listdir("/proc/self/task")),
        "MiB": round(resident, 1),
        "file descriptors": len(os.listdir("/proc/self/fd")),
        "temporary files": sum(1 for _ in folder.rglob("*")),
    }


def growth(counts: list[dict[str, float]]) -> list[str]:
    """What the last quarter of the rounds held more of than all rounds of the second quarter."""
    quarter = len(counts) // 4
    found = []
    for name in counts[0]:
        before = max(count[name] for count in counts[quarter : 2 * quarter])
        after = max(count[name] for count in counts[-quarter:])
        if after > before + (SLACK if name == "MiB" else 0):
            found.append(f"{name}: {before} before, {after} at the end")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, help="so many times each scenario, instead of minutes")
    parser.add_argument("--only", nargs="+", help="these scenarios alone; default: all that are possible here")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--results", type=Path, metavar="FILE", help="where to write the figures, as JSON")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", ".*(multi-threaded|os.fork).*")  # forks are what this is about
    os.environ["TMPDIR"] = tempfile.tempdir = folder = tempfile.mkdtemp()
    Finalize(None, shutil.rmtree, args=[folder, True], exitpriority=-1000)  # after multiprocessing's own files
    soak = Soak(arguments.seed)
    chosen = {name: do for name, do in scenarios(soak).items() if not arguments.only or name in arguments.only}
    counts = soak_all(soak, chosen, arguments, Path(folder))
    grown = growth(counts)
    print("\n".join([*(f"grown: {what}" for what in grown), f"{len(counts)} rounds of all; {dict(soak.did)}"]))
    if arguments.results is not None and not grown:
        arguments.results.write_text(json.dumps(figures(soak, list(chosen), counts), indent=1) + "\n")
    return 1 if grown else 0


def soak_all(
    soak: Soak, chosen: dict[str, Callable[[], None]], arguments: argparse.Namespace, folder: Path
) -> list[dict[str, float]]:
    """Rounds of all scenarios in random order, four at least: what the process held after each."""
    counts: list[dict[str, float]] = []
    end = time.monotonic() + 60 * arguments.minutes
    while len(counts) < max(4, arguments.rounds or 0) or (arguments.rounds is None and time.monotonic() < end):
        for name in soak.rng.sample(list(chosen), len(chosen)):
            faulthandler.dump_traceback_later(HANG, exit=True)
            chosen[name]()
            faulthandler.cancel_dump_traceback_later()
        soak.judge(wrong_calls(soak.known, soak.known, 20, len(counts)))
        counts.append(counted(folder))
        print(f"round {len(counts)}: {counts[-1]}, {dict(soak.did)}", flush=True)
    return counts


def figures(soak: Soak, chosen: list[str], counts: list[dict[str, float]]) -> dict[str, object]:
    """What was covered, and what the process held after the first and the last round."""
    machine = {"python": platform.python_version(), "numpy": np.__version__, "cores": os.cpu_count()}
    return {
        "machine": machine,
        "scenarios": chosen,
        "rounds": len(counts),
        **soak.did,
        "held": {"first": counts[0], "last": counts[-1]},
    }


if __name__ == "__main__":
    sys.exit(main())
