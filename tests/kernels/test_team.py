"""Threads that share a kernel call without Python: several callers at once, any number of helpers, and after fork."""

import _thread
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastlin as fl
from fastlin import _pool, ops, testing

CALLS = 300  # of each caller
CASE = testing.random_case(900, 300, 10, bias=True)


def _loss(backend, threads):
    loss, dW = CASE.evaluate("softmax", backend=backend, threads=threads)
    return loss, dW.tobytes()


def _train(backend, threads):
    settings = {"epochs": 1, "batch_size": 128, "optimizer": fl.Adam(clip_norm=1.0)}
    found = fl.train(np.tile(CASE.X, (1, 4)), CASE.y, backend=backend, threads=threads, **settings)
    return found.history["loss"][0], found.W.tobytes()


def _step(backend, threads):
    optimizer, W = fl.Adam(clip_norm=1.0), np.tile(CASE.W, (20, 1))
    for _ in range(3):
        optimizer.step(W, np.cos(W), backend=backend, threads=threads)
    return W.tobytes()


WORK = (_loss, _train, _step)


@pytest.fixture
def expected(compiled):
    return [work(compiled, threads=1) for work in WORK]


def _agree(seed, backend, expected, calls=CALLS):
    """Whether calls with random numbers of threads all return the same bits."""
    rng = np.random.default_rng(seed)
    which = rng.choice(len(WORK), calls, p=(0.6, 0.1, 0.3))
    return all(WORK[i](backend, int(rng.integers(1, 7))) == expected[i] for i in which)


def test_any_number_of_threads(compiled, expected):
    assert _agree(0, compiled, expected)


@pytest.mark.parametrize("callers", [2, 5])
def test_several_callers_at_once(callers, compiled, expected):
    agreed = []
    at_once = [
        threading.Thread(target=lambda seed=seed: agreed.append(_agree(seed, compiled, expected, CALLS // callers)))
        for seed in range(callers)
    ]
    for thread in at_once:
        thread.start()
    for thread in at_once:
        thread.join()
    assert agreed == [True] * callers


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:os.fork.* was called:RuntimeWarning")  # by JAX, which other tests import
def test_children_of_a_fork_in_the_midst_of_calls(compiled, expected):
    """Each child of a fork has helpers of its own, whatever the parent's helpers were doing."""
    going, agreed = threading.Event(), []

    def call():
        while not going.is_set():
            agreed.append(_agree(len(agreed), compiled, expected, 5))

    caller = threading.Thread(target=call)
    caller.start()
    codes = [_status_of_child(lambda seed=seed: _grandchild_agrees(seed, compiled, expected)) for seed in range(6)]
    going.set()
    caller.join()
    assert codes == [0] * 6
    assert all(agreed)


def _grandchild_agrees(seed, backend, expected):
    found = _agree(seed, backend, expected, 20)
    return found and _status_of_child(lambda: _agree(seed, backend, expected, 20)) == 0


def _status_of_child(work):
    """The exit status of a forked process: 0 if the function returned true in it."""
    child = os.fork()
    if not child:
        signal.alarm(60)  # a deadlock ends too
        status = 1
        try:
            status = 0 if work() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_no_more_threads_than_allowed(limit, compiled, monkeypatch):
    asked, find = [], ops.epoch_kernel

    def spied(*names):
        kernel = find(*names)
        return lambda *args: (asked.append(args[-1]), kernel(*args))

    monkeypatch.setattr(ops, "epoch_kernel", spied)
    monkeypatch.setattr(_pool, "_limit", None)
    fl.set_num_threads(limit)
    _train(compiled, None)
    assert set(asked) == {limit}


def run_script(lines, env=os.environ, **how):
    """Runs Python in a process of its own, whose threads can be counted and which may hang.

    `make coverage` does not look into it: an interruption can leave a lock of coverage's own held.
    """
    own = {name: value for name, value in env.items() if not name.startswith("COVERAGE_PROCESS")}
    done = subprocess.run(
        [sys.executable, "-c", lines], timeout=300, capture_output=True, text=True, check=False, cwd="/", env=own, **how
    )
    assert done.returncode == 0, done.stdout + done.stderr


STORM = """
import faulthandler, random, signal, sys, threading, time
from pathlib import Path
from fastlin import _pool

def tasks():
    "The threads of the process."
    path = Path("/proc/self/task")
    return len(list(path.iterdir())) if path.exists() else 0

faulthandler.dump_traceback_later(240, exit=True)
signal.signal(signal.SIGALRM, signal.default_int_handler)

def interrupt(calls, longest, times):
    "Calls the functions, and interrupts them so many times, each after a random time."
    for _ in range(times):
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, longest))
            while True:  # the one signal comes within this loop
                random.choice(calls)()
        except KeyboardInterrupt:
            pass
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers here")
def test_a_storm_of_interruptions_leaves_the_pool_whole():
    """Whatever Ctrl-C interrupts, the start of a thread too, all helpers come to the next call, and no others exist."""
    run_script(
        STORM
        + """
def task(number):
    yield from range(5)

def all_meet(pool, threads):
    meeting = threading.Barrier(threads, timeout=60)
    def task(number):
        meeting.wait()
        yield
    pool.run(task, threads, threads)

others, pools = tasks(), [_pool.Pool() for _ in range(100)]
for pool in pools:
    interrupt([lambda: pool.run(task, 8, 4)], 1e-4, times=20)
for pool in pools:
    all_meet(pool, 4)
    assert len(pool._helpers) == 3
    assert not pool._using.locked()
while tasks() > others + 3 * len(pools):
    time.sleep(0.01)  # helpers that were replaced end
"""
    )


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers here")
def test_a_storm_of_interruptions_leaves_every_call_working(compiled):
    """Losses, scores, steps, epochs and searches have the same answers afterwards, from no more threads."""
    run_script(
        STORM
        + f"""
import numpy as np
import fastlin as fl
from fastlin import testing

case = testing.random_case(3000, 130, 10, bias=True)
how = {{"backend": {compiled!r}, "threads": 3}}

def step():
    optimizer, W = fl.Adam(clip_norm=1.0), np.tile(case.W, (20, 1))
    optimizer.step(W, np.cos(W), **how)
    return W

calls = [
    lambda: case.evaluate("softmax", **how)[1],
    lambda: fl.scores(case.W, case.X, bias=True, **how),
    step,
    lambda: fl.train(case.X, case.y, epochs=1, **how).W,
    lambda: fl.random_search(case.X, case.y, tries=40, **how).W,
]
expected = [call().tobytes() for call in calls]
threads = tasks()
interrupt(calls, 2e-3, times=1000)
for call, known in zip(calls, expected, strict=True):
    assert call().tobytes() == known
assert tasks() == threads
"""
    )


def _no_threads():
    """Makes a thread's stack larger than memory may be."""
    resource = pytest.importorskip("resource")
    _, most = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (1 << 42, most))
    resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))


@pytest.mark.skipif(sys.platform != "linux", reason="no such limits here")
@pytest.mark.filterwarnings("ignore:os.fork.* was called:RuntimeWarning")  # by JAX, which other tests import
def test_where_the_system_allows_no_threads(compiled):
    """Every call does its work with the threads that there are."""
    resource = pytest.importorskip("resource")
    if resource.getrlimit(resource.RLIMIT_STACK)[1] != resource.RLIM_INFINITY:
        pytest.skip("stacks are limited here")
    run_script(
        f"""
import threading
import numpy as np
import fastlin as fl
from fastlin import testing

try:
    threading.Thread(target=print).start()
except RuntimeError:
    pass
else:
    raise AssertionError("threads are allowed")
case = testing.random_case(3000, 130, 10, bias=True)
found = [
    [
        case.evaluate("softmax", **how)[1].tobytes(),
        fl.scores(case.W, case.X, bias=True, **how).tobytes(),
        fl.predict(case.W, case.X, bias=True, **how).tobytes(),
        fl.train(case.X, case.y, epochs=1, **how).W.tobytes(),
        fl.random_search(case.X, case.y, tries=40, **how).W.tobytes(),
    ]
    for how in ({{"backend": {compiled!r}, "threads": threads}} for threads in (1, 4))
]
assert found[0] == found[1]
assert threading.active_count() == 1
""",
        preexec_fn=_no_threads,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )


def test_threads_are_started_once_they_are_allowed_again(monkeypatch):
    pool, done = _pool.Pool(), []

    def refuse(*args):
        raise RuntimeError("can't start new thread")

    def task(number):
        done.append(number)
        yield

    with monkeypatch.context() as patch:
        patch.setattr(_thread, "start_new_thread", refuse)
        pool.run(task, 4, 3)
    assert sorted(done) == [0, 1, 2, 3]
    assert pool._helpers == []
    pool.run(task, 4, 3)
    assert len(pool._helpers) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_waits_until_no_other_thread_of_ours_is_in_blas(compiled):
    """A fork in the midst of a product hangs in the parent or in the child, in OpenBLAS."""
    run_script(
        f"""
import faulthandler, os, signal, threading, warnings
from fastlin import testing

warnings.simplefilter("ignore")  # newer Pythons warn of a fork with threads
faulthandler.dump_traceback_later(240, exit=True)
case = testing.random_case(3000, 300, 100)  # as many classes are computed with BLAS

def call():
    return case.evaluate("softmax", backend={compiled!r})[1].tobytes()

expected, going, agreed = call(), threading.Event(), []
def loop():
    while not going.is_set():
        agreed.append(call() == expected)

threads = [threading.Thread(target=loop) for _ in range(2)]
for thread in threads:
    thread.start()
for number in range(40):
    child = os.fork()
    if not child:
        signal.alarm(60)
        os._exit(number % 4 == 0 and call() != expected)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
going.set()
for thread in threads:
    thread.join()
assert all(agreed)
"""
    )
