"""Rows of docs/lectures.md: where a search or a descent stops, what random W are worth, what differences cost."""

import numpy as np
import pytest

import fastlin as fl

# One row asks for a negative weight, five for a positive one: a minimum near -0.07, a wall, and a lower plateau behind.
WALLED_X, WALLED_Y = np.array([[20.0]] + 5 * [[1.0]]), np.array([0.0] + 5 * [1.0])


@pytest.fixture(scope="module")
def digits():
    return fl.load_digits()


def counted(f):
    """f, and a list with an entry for each call of it."""
    calls = []

    def call(W):
        calls.append(1)
        return f(W)

    return call, calls


def eval_numerical_gradient(f, x):
    """The slide's, word for word."""
    fx = f(x)
    grad = np.zeros(x.shape)
    h = 0.00001
    it = np.nditer(x, flags=["multi_index"], op_flags=["readwrite"])
    while not it.finished:
        ix = it.multi_index
        old_value = x[ix]
        x[ix] = old_value + h
        fxh = f(x)
        x[ix] = old_value
        grad[ix] = (fxh - fx) / h
        it.iternext()
    return grad


# ---- Differences -----------------------------------------------------------------------------------------


def test_eval_numerical_gradient():
    """The slide's numbers but for rounding; with half the step half the error, of central differences a quarter."""
    rng = np.random.default_rng(0)
    W, X, y = rng.standard_normal((5, 3)), rng.standard_normal((9, 5)), np.arange(9) % 3

    def f(W):
        return fl.softmax_loss(W, X, y, 0.1)[0]

    found = fl.numerical_gradient(f, W, method="forward")
    np.testing.assert_allclose(found, eval_numerical_gradient(f, W.copy()), rtol=1e-8, atol=1e-10)
    exact = fl.softmax_loss(W, X, y, 0.1)[1]
    for method, power in (("forward", 2), ("central", 4)):
        long, short = (np.abs(fl.numerical_gradient(f, W, h, method) - exact).max() for h in (2e-2, 1e-2))
        assert long / short == pytest.approx(power, rel=0.02), method


def test_numerical_gradient_is_slow(digits):
    """Of 65 x 10 weights by 1300 evaluations, or 651 forward; the analytic gradient comes with the one of its loss."""
    X, y, W = digits.X[:8], digits.y[:8], np.zeros((65, 10))
    f, calls = counted(lambda W: fl.softmax_loss(W, X, y, bias=True))
    loss, dW = f(W)
    assert len(calls) == 1
    calls.clear()
    np.testing.assert_allclose(fl.numerical_gradient(f, W), dW, atol=1e-9)
    assert len(calls) == 2 * W.size == 1300
    calls.clear()
    fl.numerical_gradient(f, W, method="forward")
    assert len(calls) == W.size + 1 == 651
    assert loss == pytest.approx(np.log(10))


# ---- Searches --------------------------------------------------------------------------------------------


def test_range_of_the_parameters(digits):
    """Every weight lies in the range, and they fill it: as many in each fifth of it."""
    found = fl.random_search(digits.X, digits.y, tries=5, bounds=(-0.5, 2.0))
    assert -0.5 <= found.W.min() < -0.45
    assert 1.95 < found.W.max() <= 2.0
    fifths = np.histogram(found.W, bins=5, range=(-0.5, 2.0))[0]
    assert fifths.sum() == 650
    assert all(100 < count < 160 for count in fifths)


def test_how_often_random_search_succeeds(digits):
    """Of 200 random W 104 classify over 10 % of unseen digits, 23 over 15 %, 3 over 20 %; of 30 searches of 100, 8."""

    def accuracies(tries, searches):
        how = {"tries": tries, "bounds": (-1e-4, 1e-4)}
        found = [fl.random_search(digits.X, digits.y, seed=seed, **how) for seed in range(searches)]
        return np.array([result.accuracy(digits.X_test, digits.y_test) for result in found])

    one, hundred = accuracies(1, 200), accuracies(100, 30)
    assert [(one > share).sum() for share in (0.1, 0.15, 0.2)] == [104, 23, 3]
    assert (hundred > 0.2).sum() == 8


def test_search_stops_at_a_target(digits):
    """At the first W whose loss is no more than that; until then it is the same search."""
    for search, target in ((fl.random_search, 8.9995), (fl.random_local_search, 8.95)):
        whole = search(digits.X, digits.y, tries=300, seed=1)
        found = search(digits.X, digits.y, tries=300, seed=1, target=target)
        losses = found.history["loss"]
        assert len(losses) < len(whole.history["loss"])
        assert losses == whole.history["loss"][: len(losses)]
        assert losses[-1] == found.loss <= target < min(losses[:-1])
        assert fl.svm_loss(found.W, digits.X, digits.y, bias=True)[0] == pytest.approx(found.loss, rel=1e-12)


def test_local_search_accepts_worse():
    """Downhill only, all of six walks end in the near minimum; at temperature 0.1 all get over the wall."""
    start = np.array([[-0.3]])
    how = {"loss": "sigmoid_squared", "W": start, "bias": False, "step": 0.1}
    for seed in range(6):
        cold = fl.random_local_search(WALLED_X, WALLED_Y, seed=seed, **how)
        assert (np.diff(cold.history["here"]) <= 0).all()
        assert cold.W[0, 0] == pytest.approx(-0.07, abs=0.01)
        warm = fl.random_local_search(WALLED_X, WALLED_Y, seed=seed, temperature=0.1, **how)
        rises = np.diff(warm.history["here"])
        assert (rises > 0).any()
        assert warm.loss == min(warm.history["loss"]) < 0.18 < 0.22 < cold.loss
        assert warm.W[0, 0] > 1


# ---- Descent ---------------------------------------------------------------------------------------------


def test_descent_stops_when_the_change_is_tiny(digits):
    """By full batches at rate 0.5: after 170 steps for a change of 0.001, after 46 for one of 0.01."""
    how = {"batch_size": len(digits.X), "optimizer": fl.SGD(0.5)}
    for tol, steps in ((0.01, 46), (0.001, 170)):
        found = fl.train(digits.X, digits.y, epochs=1000, tol=tol, **how)
        change = np.abs(np.diff(found.history["loss"]))
        assert len(found.history["loss"]) == steps
        assert change[-1] <= tol < change[:-1].min()
