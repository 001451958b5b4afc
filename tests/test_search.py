"""Searches without a gradient: the candidates of the slides' loops, whatever the backend or the number of threads."""

from dataclasses import replace

import numpy as np
import pytest

import fastlin as fl
from fastlin import _plan, _search, ops, search, testing
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


@pytest.mark.parametrize("temperature", [0.0, 0.3])
def test_local_search_follows_metropolis(case, temperature, backend):
    """The walk goes on from a W that is worse with probability exp(-rise / temperature); the best W is returned."""
    rng, chances = np.random.default_rng(4), np.random.default_rng([4, 1])
    W = rng.standard_normal((6, 3)) * 0.1
    losses = [fl.svm_loss(W, case.X, case.y, bias=True, backend="naive")[0]]
    here, best, best_W = losses[:], losses[0], W
    for _ in range(60):
        W_try = W + rng.standard_normal((6, 3)) * 0.2
        losses.append(fl.svm_loss(W_try, case.X, case.y, bias=True, backend="naive")[0])
        rise = losses[-1] - here[-1]
        taken = rise < 0 or (temperature > 0 and chances.random() < np.exp(-rise / temperature))
        W = W_try if taken else W
        here.append(losses[-1] if taken else here[-1])
        if here[-1] < best:
            best, best_W = here[-1], W
    how = {"tries": 60, "scale": 0.1, "step": 0.2, "seed": 4, "backend": backend, "temperature": temperature}
    found = fl.random_local_search(case.X, case.y, **how)
    np.testing.assert_array_equal(found.W, best_W)
    np.testing.assert_allclose(found.history["loss"], losses, rtol=1e-12)
    np.testing.assert_allclose(found.history["here"], here, rtol=1e-12)
    assert found.loss == min(found.history["here"]) == found.history["best"][-1]
    assert (np.diff(found.history["here"]) > 0).any() == (temperature > 0)


@pytest.mark.parametrize(
    ("there", "here", "cold", "warm"),
    [
        (1.0, 2.0, True, True),
        (1.0, 1.0, False, True),  # nothing is lost: probability 1
        (2.0, 1.0, False, False),  # exp(-1 / 1e-3) is 0
        (1.0, np.inf, True, True),
        (np.inf, np.inf, False, False),
        (np.nan, 1.0, False, False),
        (1.0, np.nan, False, False),
        (1e308, -1e308, False, False),
    ],
)
def test_what_a_walk_accepts(there, here, cold, warm):
    assert search._accepted(there, here, 0.0, np.random.default_rng(0)) is cold
    assert search._accepted(there, here, 1e-3, np.random.default_rng(0)) is warm


def test_random_search_within_bounds_is_a_loop(case, backend):
    rng = np.random.default_rng(3)
    drawn = [rng.uniform(-0.5, 2.0, (6, 3)) for _ in range(40)]
    losses = [fl.svm_loss(W, case.X, case.y, bias=True, backend="naive")[0] for W in drawn]
    found = fl.random_search(case.X, case.y, tries=40, bounds=(-0.5, 2.0), seed=3, backend=backend)
    np.testing.assert_array_equal(found.W, drawn[int(np.argmin(losses))])
    np.testing.assert_allclose(found.history["loss"], losses, rtol=1e-12)


@pytest.mark.parametrize("search", [fl.random_search, fl.random_local_search])
def test_a_target_cuts_a_search_short(case, search, backend, monkeypatch):
    """At whichever try it is reached: the first, one in the middle of several that are drawn at once, the last."""
    monkeypatch.setattr(_plan, "DRAWN", 7)
    monkeypatch.setattr(_plan, "DRAWN_BYTES", 1)
    monkeypatch.setattr(_plan, "SEARCH_CLASSES", 9)
    _plan.search_plan.cache_clear()
    how = {"scale": 0.5, "seed": 3, "backend": backend}
    whole = search(case.X, case.y, tries=40, **how)
    losses = whole.history["loss"]
    leaders = [i for i, best in enumerate(whole.history["best"]) if losses[i] == best]
    assert len(leaders) > 3
    for i in leaders:
        found = search(case.X, case.y, tries=40, target=losses[i], **how)
        assert found.history["loss"] == losses[: i + 1]
        assert found.history["best"] == whole.history["best"][: i + 1]
        assert found.loss == losses[i]
        assert fl.svm_loss(found.W, case.X, case.y, bias=True)[0] == pytest.approx(found.loss, rel=1e-12)
    unreached = search(case.X, case.y, tries=40, target=0.0, **how)
    assert unreached.history == whole.history
    assert unreached.W.tobytes() == whole.W.tobytes()
    _plan.search_plan.cache_clear()


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
        ({"target": -1.0}, ValueError, r"target must be in \[0, inf\); found -1.0"),
        ({"target": "low"}, TypeError, r"target must be a number in \[0, inf\)"),
    ],
)
def test_bad_input(case, search, how, kind, message):
    with pytest.raises(kind, match=message):
        search(case.X, case.y, **how)


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ({"bounds": 3}, TypeError, r"bounds must be a pair \(low, high\); found 3"),
        ({"bounds": (1, 2, 3)}, TypeError, r"bounds must be a pair"),
        ({"bounds": (1.0, 1.0)}, ValueError, r"bounds must be \(low, high\) with low < high"),
        ({"bounds": (2.0, 1.0)}, ValueError, r"bounds must be \(low, high\) with low < high"),
        ({"bounds": (-1e308, 1e308)}, ValueError, "with low < high and a finite width"),
        ({"bounds": (float("nan"), 1.0)}, ValueError, r"bounds\[0\] must be in \(-inf, inf\); found nan"),
        ({"bounds": (0, "1")}, TypeError, r"bounds\[1\] must be a number"),
        ({"bounds": (-1, 1), "scale": 0.1}, ValueError, "scale is of normal numbers and bounds are of uniform ones"),
    ],
)
def test_bad_bounds(case, how, kind, message):
    with pytest.raises(kind, match=message):
        fl.random_search(case.X, case.y, **how)


def test_bounds_that_float32_cannot_hold(case):
    with pytest.raises(ValueError, match=r"bounds\[1\] is 1e\+300, more than the float32 of W can hold"):
        fl.random_search(case.X.astype(np.float32), case.y, bounds=(0, 1e300))


@pytest.mark.parametrize("temperature", [-1.0, float("inf"), float("nan")])
def test_bad_temperature(case, temperature):
    with pytest.raises(ValueError, match=r"temperature must be in \[0, inf\)"):
        fl.random_local_search(case.X, case.y, temperature=temperature)


def test_a_loss_that_is_nan_is_never_the_best(case, backend):
    X = case.X.copy()
    X[3, 2] = np.nan
    found = fl.random_search(X, case.y, tries=4, backend=backend)
    assert found.loss == np.inf
    assert not found.W.any()


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_walk_never_goes_on_from_nan(case, temperature):
    """A W of the size that float64 can hold has scores that it cannot."""
    X, y = np.full((2, 2), 1e200), np.array([0, 1])
    found = fl.random_local_search(X, y, tries=20, step=1e200, temperature=temperature)
    assert np.isnan(found.history["loss"]).any()
    assert not np.isnan(found.history["here"]).any()
    assert not np.isnan(found.history["best"]).any()
