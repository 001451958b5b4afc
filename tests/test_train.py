"""Training, threads, and calls that are interrupted."""

import functools
import os
import queue
import signal
import threading
import time
import tracemalloc

import numpy as np
import pytest

import fastlin as fl
from fastlin import _pool, testing
from fastlin._training.training import shuffled


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


# ---- Against the formulas, in NumPy ----------------------------------------------------------------------


def _softmax_gradient(W, F, y, weight, smoothing):
    """Mean loss and gradient in F's columns and a bias: lecture 3's formulas, rows weighted, labels smoothed."""
    F = np.hstack([F, np.ones((len(F), 1))])
    S = F @ W
    P = np.exp(S - S.max(axis=1, keepdims=True))
    P /= P.sum(axis=1, keepdims=True)
    T = np.full_like(P, smoothing / P.shape[1])
    T[np.arange(len(y)), y] += 1 - smoothing
    loss = -(weight[:, None] * T * np.log(P)).sum() / len(y)
    return loss, F.T @ (weight[:, None] * (P - T)) / len(y)


def _train_by_hand(X, y, weight, *, epochs, batch, seed, lr, momentum, lam, scale, shift, smoothing):
    """The weights after every step, and the mean loss of every epoch."""
    W = np.zeros((X.shape[1] + 1, y.max() + 1))
    V = np.zeros_like(W)
    steps, losses = [], []
    for epoch in range(epochs):
        order = np.random.default_rng([seed, epoch]).permutation(len(X))
        total = 0.0
        for start in range(0, len(X), batch):
            rows = order[start : start + batch]
            loss, dW = _softmax_gradient(W, X[rows] * scale + shift, y[rows], weight[rows], smoothing)
            total += len(rows) * (loss + lam * (W[:-1] ** 2).sum())
            dW[:-1] += 2 * lam * W[:-1]
            V = momentum * V + dW
            W = W - lr * V
            steps.append(W)
        losses.append(total / len(X))
    return steps, losses


@pytest.fixture(scope="module")
def by_hand(blobs):
    X, y = blobs[0][:101], blobs[1][:101]
    weight = np.random.default_rng(1).uniform(0.5, 1.5, 101)
    scale, shift = np.linspace(0.5, 2, 5), np.linspace(-1, 1, 5)
    settings = {"epochs": 3, "seed": 7, "lr": 0.1, "momentum": 0.8, "lam": 0.01, "smoothing": 0.1}
    found = _train_by_hand(X, y, weight, batch=16, scale=scale, shift=shift, **settings)
    arguments = {"X": X, "y": y, "sample_weight": weight, "x_scale": scale, "x_shift": shift}
    arguments |= {"reg": 0.01, "label_smoothing": 0.1, "epochs": 3, "batch_size": 16, "seed": 7}
    return found, arguments


@pytest.mark.parametrize("layout", ["C", "F", "strided", "swapped"])
def test_steps_are_those_by_hand(by_hand, layout, backend):
    (steps, losses), arguments = by_hand
    X = testing.layouts(arguments["X"])[layout]  # read-only
    result = fl.train(**arguments | {"X": X}, optimizer=fl.SGD(0.1, momentum=0.8), backend=backend)
    np.testing.assert_allclose(result.W, steps[-1], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(result.history["loss"], losses, rtol=1e-10)
    assert result.history["lr"] == [0.1] * 3
    np.testing.assert_array_equal(result.predict(X), _predict_by_hand(steps[-1], **arguments))


def _predict_by_hand(W, X, x_scale, x_shift, **others):
    return ((X * x_scale + x_shift) @ W[:-1] + W[-1]).argmax(axis=1)


def test_averages_are_those_by_hand(by_hand):
    (steps, _), arguments = by_hand
    moving = steps[0]
    for W in steps[1:]:
        moving = 0.9 * moving + 0.1 * W
    for average, expected in (("polyak", np.mean(steps, axis=0)), (0.9, moving)):
        validation = arguments["X"], arguments["y"]
        how = {"optimizer": fl.SGD(0.1, momentum=0.8), "average": average, "validation": validation}
        result = fl.train(**arguments, **how)
        np.testing.assert_allclose(result.W, expected, rtol=1e-10, atol=1e-12)
        hits = _predict_by_hand(expected, **arguments) == arguments["y"]
        assert result.history["validation_accuracy"][-1] == hits.mean()


def test_each_row_once_and_ascending_within_a_batch():
    order = shuffled(103, 10, seed=5, epoch=2)
    assert sorted(order) == list(range(103))
    batches = [order[start : start + 10] for start in range(0, 103, 10)]
    assert all((np.diff(batch) > 0).all() for batch in batches)
    assert (order != shuffled(103, 10, seed=5, epoch=3)).any()


# ---- Stopping early --------------------------------------------------------------------------------------


def _overfit():
    """Random labels: the loss on other rows gets worse once the first structure is learned."""
    rng = np.random.default_rng(0)
    return (rng.standard_normal((40, 30)), rng.integers(0, 3, 40)), (
        rng.standard_normal((50, 30)),
        rng.integers(0, 3, 50),
    )


@pytest.mark.parametrize("average", [None, 0.5])
def test_patience_returns_the_best_weights(average):
    (X, y), validation = _overfit()
    seen = {}
    how = {"optimizer": fl.SGD(0.2), "epochs": 60, "batch_size": 8, "average": average, "validation": validation}
    result = fl.train(X, y, W=_far(), patience=3, callback=lambda e, r: seen.update({e: r.W.copy()}), **how)
    losses = result.history["validation_loss"]
    assert result.best_epoch == 1 + int(np.argmin(losses))
    assert 1 < len(losses) == result.best_epoch + 3 < 60
    assert result.W.tobytes() == seen[result.best_epoch].tobytes() != seen[len(losses)].tobytes()


def _far():
    return np.random.default_rng(3).standard_normal((31, 3))


def test_patience_without_validation_watches_the_loss(blobs):
    X, y = blobs
    result = fl.train(X, y, optimizer=fl.SGD(1e-300), epochs=9, patience=2)  # the loss never improves
    assert len(result.history["loss"]) == 3
    assert result.best_epoch == 1


@pytest.mark.parametrize("validation", [False, True])
def test_tol_stops_where_the_loss_hardly_changes(blobs, validation):
    """At the first epoch whose loss is as near as that to the one before; until then it is the same run."""
    X, y = blobs
    how = {"batch_size": len(X), "optimizer": fl.SGD(0.5)} | ({"validation": (X, y)} if validation else {})
    whole = fl.train(X, y, epochs=60, **how)
    change = np.abs(np.diff(whole.history["loss"]))
    tol = float(change[20])
    assert tol < change[:20].min()
    found = fl.train(X, y, epochs=60, tol=tol, **how)
    assert found.history["loss"] == whole.history["loss"][:22]
    assert found.W.tobytes() == fl.train(X, y, epochs=22, **how).W.tobytes()
    assert fl.train(X, y, epochs=60, tol=0.0, **how).W.tobytes() == whole.W.tobytes()


def test_tol_counts_a_change_upwards_too():
    (X, y), _ = _overfit()
    found = fl.train(X, y, epochs=9, tol=1e9, optimizer=fl.SGD(100.0), batch_size=len(X))
    assert len(found.history["loss"]) == 2
    assert found.history["loss"][1] > found.history["loss"][0]


def test_tol_0_stops_where_nothing_changes(blobs):
    X, y = blobs
    assert len(fl.train(X, y, epochs=9, optimizer=fl.SGD(1e-300), batch_size=len(X), tol=0).history["loss"]) == 2
    assert len(fl.train(X, y, epochs=9, optimizer=fl.SGD(1e-300), batch_size=len(X)).history["loss"]) == 9


def test_tol_and_patience_stop_whichever_comes_first(blobs):
    """And the weights are the best ones, as with patience alone."""
    X, y = blobs
    how = {"epochs": 9, "optimizer": fl.SGD(1e-300), "batch_size": len(X)}
    for patience, tol, epochs in ((1, 0.0, 2), (3, 0.0, 2), (3, None, 4)):
        found = fl.train(X, y, patience=patience, tol=tol, **how)
        assert (len(found.history["loss"]), found.best_epoch) == (epochs, 1)


def test_plateau_hears_of_the_validation_loss(blobs):
    X, y = blobs
    optimizer, heard = fl.SGD(0.1), []
    optimizer.report = heard.append
    result = fl.train(X, y, optimizer=optimizer, epochs=3, validation=(X, y))
    assert heard == result.history["validation_loss"]
    optimizer.report = heard.append
    result = fl.train(X, y, optimizer=optimizer, epochs=2)
    assert heard[3:] == result.history["loss"]


# ---- Arguments -------------------------------------------------------------------------------------------


def test_an_optimizer_of_the_callers_own(blobs):
    class Plain:
        def step(self, W, dW):
            W -= 0.1 * dW

    X, y = blobs
    result = fl.train(X, y, optimizer=Plain(), epochs=2)
    np.testing.assert_allclose(result.W, fl.train(X, y, optimizer=fl.SGD(0.1), epochs=2).W, rtol=1e-10, atol=1e-12)
    assert result.state is None
    assert "lr" not in result.history


def test_a_rate_that_is_too_high_ends_in_nan_not_in_an_error(blobs):
    X, y = blobs
    how = {"average": "polyak", "patience": 2, "validation": (X, y), "reg": 0.1}
    with pytest.warns(RuntimeWarning, match="the loss of epoch 1 is inf"):
        result = fl.train(X, y, optimizer=fl.SGD(1e200), epochs=3, **how)
    assert not np.isfinite(result.history["loss"][-1])


def test_memory_mapped_rows_are_read_a_batch_at_a_time(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((10_000, 500)).astype(np.float32), rng.integers(0, 3, 10_000)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    expected = fl.train(X, y, epochs=1, batch_size=100)
    tracemalloc.start()
    found = fl.train(mapped, y, epochs=1, batch_size=100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.W.tobytes() == expected.W.tobytes()
    assert peak < X.nbytes / 10


def test_progress_shows_how_it_goes(blobs, capsys, monkeypatch):
    tqdm = pytest.importorskip("tqdm")
    monkeypatch.setattr(tqdm, "tqdm", functools.partial(tqdm.tqdm, mininterval=0))  # else what is quick is not drawn
    X, y = blobs
    fl.train(X, y, epochs=2, validation=(X, y), progress=True)
    shown = capsys.readouterr().err
    assert "2/2" in shown
    for word in ("loss", "val accuracy", "lr 0.01"):
        assert word in shown


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_weights_in_a_file(by_hand, suffix, tmp_path):
    pytest.importorskip("safetensors")
    _, arguments = by_hand
    result = fl.train(**arguments)
    path = tmp_path / f"w.{suffix}"
    result.save(path)
    again = fl.TrainResult.load(path)
    assert again.W.tobytes("F") == result.W.tobytes("F")
    np.testing.assert_array_equal(again.predict(arguments["X"]), result.predict(arguments["X"]))
    np.savez(tmp_path / "other.npz", X=np.ones(3))
    with pytest.raises(ValueError, match=r"other\.npz is damaged or was not written by fastlin"):
        fl.TrainResult.load(tmp_path / "other.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "hinge"}, "loss must be one of 'softmax', 'svm', 'squared_svm', .*; found 'hinge'"),
        ({"epochs": 0}, "epochs must be an integer of at least 1"),
        ({"batch_size": 2.5}, "batch_size must be an integer of at least 1"),
        ({"y": np.full(300, -1)}, r"y\[0\] = -1 is out of range"),
        ({"y": np.ones(300)}, "y must hold integers"),
        ({"validation": 3}, r"validation must be a pair \(X, y\)"),
        ({"reg": -1}, "reg must be in"),
        ({"W": np.zeros((5, 3))}, "with bias=True W must have 6"),
        ({"seed": -1}, "seed must be an integer of at least 0; found -1"),
        ({"patience": 0}, "patience must be an integer of at least 1"),
        ({"tol": -1e-9}, r"tol must be in \[0, inf\); found -1e-09"),
        ({"tol": float("inf")}, r"tol must be in \[0, inf\); found inf"),
        ({"tol": "small"}, r"tol must be a number in \[0, inf\)"),
        ({"average": "ema"}, r"average must be None, 'polyak' or a decay in \(0, 1\); found 'ema'"),
        ({"average": 1.0}, r"average must be in \(0, 1\); found 1\.0"),
        ({"margin": 2.0}, "train has no argument 'margin' with loss='softmax', whose own are label_smoothing"),
        ({"loss": "svm", "margin": -1.0}, r"margin must be in \[0, inf\)"),
        ({"sample_weight": np.ones(3)}, "X has 300 rows but sample_weight has 3 entries"),
        ({"x_scale": np.ones(4)}, r"x_scale has shape \(4,\); expected one number or \(5,\)"),
        ({"validation": (np.ones((2, 5)), [0, 3])}, r"validation: y\[1\] = 3 is out of range"),
        ({"validation": (np.ones((2, 4)), [0, 1])}, "validation: X has 4 columns"),
        ({"checkpoint": "state.pickle"}, r"state\.pickle must end in \.npz or \.safetensors"),
        ({"checkpoint": "no/such/state.npz"}, "checkpoint: there is no folder no/such to write state.npz in"),
        ({"resume": "absent.npz"}, r"absent\.npz"),
        ({"resume": 3}, "resume must be the state of a TrainResult or a path; found int"),
        ({"resume": {"epoch": 3}}, "resume is not a training state"),
    ],
)
def test_bad_training(blobs, changes, message):
    arguments = {"X": blobs[0], "y": blobs[1]} | changes
    with pytest.raises((ValueError, TypeError, FileNotFoundError), match=message):
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
@pytest.mark.filterwarnings("ignore:os.fork.* was called:RuntimeWarning")  # by JAX, which other tests import
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
            raise MemoryError("no memory")
        yield

    with pytest.raises(MemoryError, match="no memory"):
        pool.run(task, 4, threads=2)
    done = []
    pool.run(lambda number: done.append(number) or (), 4, threads=2)
    assert sorted(done) == [0, 1, 2, 3]


@pytest.mark.parametrize("when", ["helpers start", "the caller works"])
def test_ctrl_c_returns_after_the_helpers(when, monkeypatch):
    """A step writes to the caller's W: no thread may do so after the call has ended."""
    pool, begun, writing = _pool.Pool(), threading.Event(), []

    def task(number):
        if threading.current_thread() is threading.main_thread():
            begun.wait(10)
            raise KeyboardInterrupt
        for _ in range(100):
            writing.append(number)
            begun.set()
            time.sleep(0.02)
            writing.pop()
            yield

    class InterruptedQueue(queue.SimpleQueue):
        def put(self, job):
            super().put(job)
            begun.wait(10)
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if when == "helpers start":
            patch.setattr(pool, "_jobs", InterruptedQueue())
        with pytest.raises(KeyboardInterrupt):
            pool.run(task, 40, threads=2)
    assert writing == []
    done = []
    pool.run(lambda number: done.append(number) or (), 4, threads=2)
    assert sorted(done) == [0, 1, 2, 3]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers here")
def test_ctrl_c_stops_the_call_and_leaves_out_alone(compiled):
    case = testing.random_case(40000, 300, 40)
    case.evaluate("softmax", backend=compiled)  # compiled before the clock runs
    out = np.full_like(case.W, 7)
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            _evaluate_until_the_alarm(case, compiled, out)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    again = case.evaluate("softmax", backend=compiled)
    assert again[1].tobytes() == case.evaluate("softmax", backend=compiled, threads=1)[1].tobytes()


def _evaluate_until_the_alarm(case, backend, out):
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    while True:
        case.evaluate("softmax", backend=backend, out=out)


def test_thread_numbers(monkeypatch):
    def named(value):
        monkeypatch.setenv("FASTLIN_NUM_THREADS", value)
        _pool._default.cache_clear()  # it is read once

    named("3")
    assert _pool.thread_limit(None) == 3
    assert _pool.thread_limit(5) == 5
    fl.set_num_threads(2)
    assert _pool.thread_limit(None) == 2
    fl.set_num_threads(None)
    named("many")
    with pytest.raises(ValueError, match="FASTLIN_NUM_THREADS must be an integer of at least 1; found 'many'"):
        _pool.thread_limit(None)
    named("")
    assert _pool.thread_limit(None) == _pool.physical_cores() >= 1
    with pytest.raises(ValueError, match="n must be an integer of at least 1"):
        fl.set_num_threads(0)


def test_start_in_another_byte_order(backend):
    """W may come from a file of another machine: the run is that of the same numbers in our order."""
    rng = np.random.default_rng(0)
    X, y, W = rng.standard_normal((30, 5)), rng.integers(0, 3, 30), rng.standard_normal((6, 3))
    expected = fl.train(X, y, W=W, epochs=1, backend=backend).W
    found = fl.train(X.astype(">f8"), y, W=W.astype(">f8"), epochs=1, backend=backend).W
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("label", [2**40, 2**63 - 1])
@pytest.mark.parametrize("call", [fl.train, fl.random_search])
def test_a_label_that_asks_for_too_many_classes(call, label):
    y = np.array([0, label, 1])
    with pytest.raises(ValueError, match=rf"y\[1\] = {label} asks for {label + 1} classes.*np\.unique"):
        call(np.ones((3, 4)), y)
