"""Threads that share a kernel call without Python: several callers at once, any number of helpers, and after fork."""

import os
import signal
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
