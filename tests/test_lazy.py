"""Steps over sparse rows that touch a batch's columns alone are those that touch all, up to rounding."""

import numpy as np
import pytest

import fastlin as fl
from fastlin import testing
from fastlin._training import lazy

N, D, C = 83, 120, 4


def rows(n=N, d=D, seed=0):
    """A few entries in each row; some columns have none."""
    rng = np.random.default_rng([seed, n, d])
    X = rng.integers(-16, 17, (n, d)) * (rng.random((n, d)) < 0.05) / 8
    X[:, -7:] = 0
    return X


@pytest.fixture
def epochs(monkeypatch):
    """How many epochs were taken lazily, and how many were not."""
    seen, run = [], lazy.run_epoch

    def spied(*args):
        found = run(*args)
        seen.append(found is not None)
        return found

    monkeypatch.setattr(lazy, "run_epoch", spied)
    return seen


def falling(t):
    return 0.3 / (1 + 0.1 * t)


HOW = {
    "plain": {},
    "rate falls": {"make": lambda: fl.SGD(falling)},
    "weight decay": {"make": lambda: fl.SGD(falling, weight_decay=0.3)},
    "L2": {"reg": 0.2, "make": lambda: fl.SGD(falling)},
    "L2 and decay": {"reg": 0.2, "make": lambda: fl.SGD(0.1, weight_decay=0.3)},
    "clip_value": {"make": lambda: fl.SGD(0.3, clip_value=0.01)},
    "clip_norm": {"make": lambda: fl.SGD(0.3, clip_norm=0.05)},
    "prox L1": {"make": lambda: fl.SGD(falling, prox=fl.L1(0.02))},
    "prox L2": {"make": lambda: fl.SGD(falling, prox=fl.L2(0.3))},
    "prox elastic net": {"make": lambda: fl.SGD(falling, prox=fl.ElasticNet(0.05, 0.5))},
    "AdaGrad": {"make": lambda: fl.AdaGrad(0.1, eps=1e-3)},
    "AdaGrad prox L1": {"make": lambda: fl.AdaGrad(falling, prox=fl.L1(0.02), clip_norm=0.1)},
}


def train(X, **how):
    make = how.pop("make", lambda: fl.SGD(0.3))
    rng = np.random.default_rng(3)
    y, weight = rng.integers(0, C, N), rng.uniform(0.5, 1.5, N)
    settings = {"epochs": 3, "batch_size": 8, "sample_weight": weight, "seed": 5} | how
    settings.setdefault("W", 0.1 * rng.standard_normal((D + settings.get("bias", True), C)).astype(X.dtype))
    return fl.train(settings.pop("rows", X), y, optimizer=make(), **settings)


@pytest.mark.paired(
    whole=[("how", "bias", "backend"), ("how", "dtype")],
    how=HOW,
    bias=[True, False],
    loss=["softmax", "squared_svm", "logistic"],
    indices=["int32", "int64"],
)
def test_as_the_dense_steps(how, bias, loss, indices, backend, dtype, epochs):
    """In float64, by NumPy, of dense rows: weights, state, and the loss of each epoch."""
    X = rows()
    settings = {"bias": bias, "loss": loss} | HOW[how]
    exact = train(X, backend="numpy", **settings)
    assert not epochs
    found = train(X.astype(dtype), rows=testing.sparse(X.astype(dtype), indices), backend=backend, **settings)
    assert epochs == [True] * 3
    limit = 4 * testing.tolerance(dtype, N + D)
    assert testing.error(found.W, exact.W) <= limit
    assert testing.error(found.history["loss"], exact.history["loss"]) <= limit
    state, own = exact.state, found.state
    for name in (name for name in state if name.startswith("optimizer") and isinstance(state[name], np.ndarray)):
        assert testing.error(own[name], state[name]) <= limit
    if "L1" in how or "net" in how:
        assert (found.W[: D - 7] == 0).any()
        assert (found.W[D - 7 : D] != 0).any() == (exact.W[D - 7 : D] != 0).any()


@pytest.mark.parametrize("how", ["L2", "AdaGrad prox L1"])
def test_same_bits_for_any_threads_and_resumed(how, compiled, dtype):
    X = testing.sparse(rows().astype(dtype))

    def run(**more):
        found = train(rows().astype(dtype), rows=X, backend=compiled, **HOW[how] | more)
        return found.W.tobytes(), found.history["loss"], found.state

    W, losses, _ = run(threads=1)
    for threads in (2, 3, 8):
        assert run(threads=threads)[:2] == (W, losses)
    assert run(epochs=3, resume=run(epochs=1)[2])[:2] == (W, losses)


@pytest.mark.parametrize(
    "settings",
    [
        {"make": lambda: fl.SGD(0.1, momentum=0.9)},
        {"make": lambda: fl.Adam(0.1)},
        {"make": lambda: fl.AdaGrad(0.1), "reg": 0.1},
        {"make": lambda: fl.SGD(0.1, clip_norm=1.0), "reg": 0.1},
        {"make": lambda: fl.SGD(0.1, prox=fl.L1(0.1)), "reg": 0.1},
        {"make": lambda: fl.SGD(30.0), "reg": 0.5},  # its factor is below 0
        {"reg": fl.L1(0.1)},
        {"batch_size": N},
    ],
    ids=str,
)
def test_what_is_not_lazy(settings, epochs):
    """These take the dense steps, to the same weights."""
    X = rows()
    exact = train(X, backend="numpy", **settings)
    epochs.clear()
    found = train(X, rows=testing.sparse(X), backend="numpy", **settings)
    assert epochs == [False] * 3
    assert testing.error(found.W, exact.W) <= 1e-11


def test_steps_and_an_interruption(epochs, monkeypatch):
    """`steps` gives the loss of each; what is raised in an epoch leaves the optimizer where it was."""
    X, y = testing.sparse(rows()), np.random.default_rng(0).integers(0, C, N)
    exact = fl.train(rows(), y, steps=15, batch_size=8, optimizer=fl.SGD(0.3), reg=0.2, backend="numpy")
    epochs.clear()
    found = fl.train(X, y, steps=15, batch_size=8, optimizer=fl.SGD(0.3), reg=0.2)
    assert epochs == [True] * 2
    np.testing.assert_allclose(found.history["step_loss"], exact.history["step_loss"], rtol=1e-12)
    optimizer, calls = fl.AdaGrad(0.1), []

    def interrupted(*args, real=lazy._run.loss_grad):
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(lazy._run, "loss_grad", interrupted)
    W = np.ones((D + 1, C))
    with pytest.raises(KeyboardInterrupt):
        fl.train(X, y, W=W, epochs=1, batch_size=8, optimizer=optimizer)
    assert optimizer.t == 0
    assert "s.0" not in optimizer.state_dict()
    assert (W == 1).all()


def test_indices_that_changed_meanwhile_are_passed_over():
    """As if their entries were not there."""
    given = testing.sparse(rows())
    X = lazy.Csr(given.data, np.where(np.arange(len(given.indices)) % 5, given.indices, 10**6), given.indptr, D)
    left = lazy.Csr(np.where(np.arange(len(given.data)) % 5, given.data, 0), given.indices, given.indptr, D)
    y = np.random.default_rng(0).integers(0, C, N)
    one, other = (fl.train(each, y, epochs=2, batch_size=8, optimizer=fl.SGD(0.3), reg=0.1).W for each in (X, left))
    np.testing.assert_allclose(one, other, atol=1e-12)
