"""Training, threads, and what happens when a call is cut short."""

import os
import signal
import threading
import time

import numpy as np
import pytest

import fastlin as fl
from fastlin import _pool, testing


@pytest.fixture(scope="module")
def blobs():
    """Three well separated classes."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    return rng.standard_normal((300, 5)) * 0.3 + 2 * np.eye(3, 5)[y], y


@pytest.mark.parametrize("loss", ["softmax", "svm", "squared_svm"])
@pytest.mark.parametrize("bias", [True, False])
def test_training_separates_blobs(blobs, loss, bias, backend):
    X, y = blobs
    result = fl.train(X, y, loss=loss, bias=bias, epochs=5, batch_size=32, validation=(X, y), backend=backend)
    assert result.W.shape == (5 + bias, 3)
    assert result.accuracy(X, y) > 0.98
    assert result.history["loss"][-1] < result.history["loss"][0]
    assert {len(values) for values in result.history.values()} == {5}
    assert result.history["validation_accuracy"][-1] == result.accuracy(X, y)


def test_same_seed_same_bits_for_any_threads(blobs, compiled):
    X, y = np.tile(blobs[0], (8, 60)), np.tile(blobs[1], 8)
    runs = [fl.train(X, y, seed=3, epochs=2, batch_size=1000, backend=compiled, threads=t).W for t in (1, 2, 5)]
    assert runs[0].tobytes() == runs[1].tobytes() == runs[2].tobytes()
    other = fl.train(X, y, seed=4, epochs=2, batch_size=1000, backend=compiled).W
    assert runs[0].tobytes() != other.tobytes()


def test_start_is_not_changed_and_callback_stops(blobs):
    X, y = blobs
    W = np.zeros((6, 3))
    seen = []
    result = fl.train(X, y, W=W, callback=lambda epoch, result: seen.append(epoch) or epoch == 2)
    assert seen == [1, 2]
    assert len(result.history["loss"]) == 2
    assert not W.any()
    assert result.W.any()


def test_dtype_follows_X(blobs):
    X, y = blobs
    assert fl.train(X.astype(np.float32), y, epochs=1).W.dtype == np.float32
    assert fl.train((X * 10).astype(np.int16), y, epochs=1).W.dtype == np.float64


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "hinge"}, "loss must be one of 'softmax', 'svm', 'squared_svm'; found 'hinge'"),
        ({"epochs": 0}, "epochs must be an integer of at least 1"),
        ({"batch_size": 2.5}, "batch_size must be an integer of at least 1"),
        ({"y": np.full(300, -1)}, r"y\[0\] = -1 is out of range"),
        ({"y": np.ones(300)}, "y must hold integers"),
        ({"validation": 3}, r"validation must be a pair \(X, y\)"),
        ({"reg": -1}, "reg must be in"),
        ({"W": np.zeros((5, 3))}, "with bias=True W must have 6"),
    ],
)
def test_bad_training(blobs, changes, message):
    arguments = {"X": blobs[0], "y": blobs[1]} | changes
    with pytest.raises((ValueError, TypeError), match=message):
        fl.train(**arguments)


# ---- Threads ---------------------------------------------------------------------------------------------


def test_many_threads_call_at_once(compiled):
    case = testing.random_case(3000, 130, 10)
    expected = case.evaluate("softmax", backend=compiled)
    wrong = []

    def work():
        for _ in range(5):
            loss, dW = case.evaluate("softmax", backend=compiled)
            if loss != expected[0] or dW.tobytes() != expected[1].tobytes():
                wrong.append(loss)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_child_after_fork_can_call(compiled):
    case = testing.random_case(3000, 130, 10)
    expected, _ = case.evaluate("svm", backend=compiled, threads=2)
    child = os.fork()
    if not child:
        found, _ = case.evaluate("svm", backend=compiled, threads=2)
        os._exit(0 if found == expected else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_an_error_in_a_helper_reaches_the_caller():
    pool = _pool.Pool()

    def task(number):
        time.sleep(0.02)  # long enough for both threads to take one
        if threading.current_thread() is not threading.main_thread():
            raise MemoryError("no room")
        yield

    with pytest.raises(MemoryError, match="no room"):
        pool.run(task, 4, threads=2)
    done = []
    pool.run(lambda number: done.append(number) or (), 4, threads=2)
    assert sorted(done) == [0, 1, 2, 3]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers here")
def test_ctrl_c_stops_the_call_and_leaves_out_alone(compiled):
    case = testing.random_case(40000, 300, 40)
    case.evaluate("softmax", backend=compiled)  # compiled before the clock runs
    out = np.full_like(case.W, 7)
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    try:
        with pytest.raises(KeyboardInterrupt):
            _evaluate_for_ever(case, compiled, out)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    again = case.evaluate("softmax", backend=compiled)
    assert again[1].tobytes() == case.evaluate("softmax", backend=compiled, threads=1)[1].tobytes()


def _evaluate_for_ever(case, backend, out):
    while True:
        case.evaluate("softmax", backend=backend, out=out)


def test_thread_numbers(monkeypatch):
    monkeypatch.setenv("FASTLIN_NUM_THREADS", "3")
    assert _pool.thread_limit(None) == 3
    assert _pool.thread_limit(5) == 5
    fl.set_num_threads(2)
    assert _pool.thread_limit(None) == 2
    fl.set_num_threads(None)
    monkeypatch.setenv("FASTLIN_NUM_THREADS", "many")
    with pytest.raises(ValueError, match="FASTLIN_NUM_THREADS must be an integer of at least 1; found 'many'"):
        _pool.thread_limit(None)
    monkeypatch.delenv("FASTLIN_NUM_THREADS")
    assert _pool.thread_limit(None) == _pool.physical_cores() >= 1
    with pytest.raises(ValueError, match="n must be an integer of at least 1"):
        fl.set_num_threads(0)
