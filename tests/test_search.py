"""Searches without a gradient: the candidates of the slides' loops, whatever the backend or the number of threads."""

from dataclasses import replace

import numpy as np
import pytest

import fastlin as fl
from fastlin import _plan, _search, ops, testing
from fastlin._objective import make_objective

HOW = {"tries": 40, "scale": 0.5, "reg": 0.1, "seed": 3}


@pytest.fixture
def case():
    return testing.random_case(70, 5, 3)


def slide(case, f, tries, scale, seed):
    """Strategy #1 as it stands on the slide: draw, evaluate, keep the best."""
    rng = np.random.default_rng(seed)
    best, losses = np.inf, []
    for _ in range(tries):
        W = rng.standard_normal((6, 3)) * scale
        losses.append(f(W))
        if losses[-1] < best:
            best, best_W = losses[-1], W
    return best_W, losses


@pytest.mark.parametrize("loss", ["svm", "softmax", "logistic"])
def test_random_search_is_the_slides_loop(case, loss, backend, monkeypatch):
    monkeypatch.setattr(_plan, "SEARCH_CLASSES", 9)  # several groups of candidates,
    monkeypatch.setattr(_plan, "SEARCH_ROWS", 16)  # several blocks of rows
    _plan.search_plan.cache_clear()
    public = {"svm": fl.svm_loss, "softmax": fl.softmax_loss, "logistic": fl.logistic_loss}[loss]
    W, losses = slide(case, lambda W: public(W, case.X, case.y, 0.1, bias=True, backend="naive")[0], 40, 0.5, 3)
    found = fl.random_search(case.X, case.y, loss=loss, backend=backend, **HOW)
    np.testing.assert_array_equal(found.W, W)
    np.testing.assert_allclose(found.history["loss"], losses, rtol=1e-12)
    assert found.loss == min(found.history["loss"]) == found.history["best"][-1]
    assert found.accuracy(case.X, case.y) == np.mean(fl.predict(W, case.X, bias=True) == case.y)
    _plan.search_plan.cache_clear()


@pytest.mark.parametrize(
    ("loss", "dtype", "stored"),
    [(loss, "float64", "floats") for loss in ops.losses()]
    + [("svm", dtype, stored) for dtype in ops.DTYPES for stored in ("floats", "bytes", "swapped")],
)
def test_losses_of_several_weights(loss, dtype, stored, backend, monkeypatch):
    """Groups of three by several parts of the rows, two chunks of these, blocks with a tail."""
    size = np.dtype(dtype).itemsize
    monkeypatch.setattr(_plan, "SEARCH_BYTES", 3 * 6 * 5 * size)
    monkeypatch.setattr(_plan, "SEARCH_ROWS", 16)
    monkeypatch.setattr(_plan, "SEARCH_FLOPS", 2 * 100 * 6 * 5)
    monkeypatch.setattr(_plan, "COPY_BYTES", 208 * 6 * size)
    _plan.search_plan.cache_clear()
    case, rng = testing.random_case(333, 5, 5), np.random.default_rng(5)
    W = rng.standard_normal((7, 6, 5)).astype(dtype)
    X = rng.integers(0, 4, (333, 5)).astype("uint8" if stored == "bytes" else dtype)
    hyper, case = testing.off_neutral(f"{loss}_epilogue"), replace(case, X=X.astype(float), bias=True)
    exact = {"reduction": "sum", "backend": "naive"}
    expected = [replace(case, W=w.astype(float)).evaluate(loss, **exact)[0] for w in W]
    given, calls = X.astype(X.dtype.newbyteorder()) if stored == "swapped" else X, []
    for threads in (1, 3):
        objective = make_objective(loss, tuple(hyper.values()), 0.0, True, backend, threads)
        inputs = objective.inputs(W[0], given, case.targets(loss), case.sample_weight.astype(dtype))
        trial = _search.Trial(objective, inputs)
        for some in (slice(0, 7), slice(2, 4)):
            found = trial.losses(W[some], lambda: calls.append(1))
            assert testing.error(found, expected[some]) <= testing.tolerance(dtype, 333)
    assert calls == [1] * 4
    _plan.search_plan.cache_clear()


def test_local_search_is_the_slides_loop(case, backend):
    rng = np.random.default_rng(1)
    W = rng.standard_normal((6, 3)) * 0.1
    losses = [fl.svm_loss(W, case.X, case.y, bias=True, backend="naive")[0]]
    for _ in range(30):
        W_try = W + rng.standard_normal((6, 3)) * 0.2
        losses.append(fl.svm_loss(W_try, case.X, case.y, bias=True, backend="naive")[0])
        if losses[-1] < min(losses[:-1]):
            W = W_try
    how = {"tries": 30, "scale": 0.1, "step": 0.2, "seed": 1, "backend": backend}
    found = fl.random_local_search(case.X, case.y, **how)
    np.testing.assert_array_equal(found.W, W)
    np.testing.assert_allclose(found.history["loss"], losses, rtol=1e-12)
    assert found.history["best"] == np.minimum.accumulate(found.history["loss"]).tolist()


def test_local_search_starts_where_it_is_told(case):
    W = fl.train(case.X, case.y, loss="svm", epochs=3).W
    before = W.copy()
    found = fl.random_local_search(case.X, case.y, W=W, tries=5, seed=2)
    assert found.history["loss"][0] == pytest.approx(fl.svm_loss(W, case.X, case.y, bias=True)[0], rel=1e-12)
    np.testing.assert_array_equal(W, before)


def test_any_threads_and_any_storage(compiled):
    """The same bits for any number of threads; bytes are converted a block at a time."""
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (999, 33), dtype=np.uint8), rng.integers(0, 4, 999)
    runs = [
        fl.random_search(A, y, tries=50, backend=compiled, threads=threads)
        for A in (X, X.astype(float), np.asfortranarray(X.astype(float)))
        for threads in (1, 2, 5)
    ]
    for run in runs[1:]:
        assert run.history == runs[0].history


def test_float32_stays_float32(case):
    found = fl.random_search(case.X.astype(np.float32), case.y, tries=3)
    assert found.W.dtype == np.float32
    assert isinstance(found.loss, float)


@pytest.mark.parametrize("search", [fl.random_search, fl.random_local_search])
@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ({"tries": 0}, ValueError, "tries must be an integer of at least 1; found 0"),
        ({"scale": -1.0}, ValueError, r"scale must be in \(0, inf\); found -1.0"),
        ({"loss": "mse"}, ValueError, "loss must be one of 'softmax'.*found 'mse'"),
        ({"label_smoothing": 0.1}, TypeError, "no argument 'label_smoothing' with loss='svm', whose own are margin"),
        ({"seed": -1}, ValueError, "seed must be an integer of at least 0"),
        ({"backend": "torch"}, ValueError, "backend must be one of"),
    ],
)
def test_bad_input(case, search, how, kind, message):
    with pytest.raises(kind, match=message):
        search(case.X, case.y, **how)


def test_a_loss_that_is_nan_is_never_the_best(case, backend):
    X = case.X.copy()
    X[3, 2] = np.nan
    found = fl.random_search(X, case.y, tries=4, backend=backend)
    assert found.loss == np.inf
    assert not found.W.any()
