"""The numerical gradient and its comparison: what they refuse, and what they say."""

import numpy as np
import pytest

import fastlin as fl


def test_integers_are_refused():
    """A step of 1e-5 would be rounded away, and every slope would be 0/0."""
    with pytest.raises(TypeError, match=r"W has dtype int64; expected float32 or float64"):
        fl.numerical_gradient(lambda W: (W**2).sum(), np.array([1, 2]))


def test_a_gradient_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"the gradient that f returns has shape \(2, 1\); expected that of W, \(2,\)"):
        fl.check_gradient(lambda W: ((W**2).sum(), 2 * W[:, None]), np.ones(2))


def test_nothing_to_compare_agrees():
    check = fl.check_gradient(lambda W: (0.0, W), np.empty((0, 3)))
    assert check
    assert (check.max_error, check.index) == (0.0, ())


@pytest.mark.parametrize(("factor", "error"), [(1.5, "3.33e-01"), (1.001, "9.99e-04")])
def test_the_worst_entry_is_named(factor, error):
    def f(W):
        dW = 2 * W
        dW[1, 2] *= factor
        return (W**2).sum(), dW

    check = fl.check_gradient(f, np.ones((2, 3)))
    assert not check
    assert check.index == (1, 2)
    assert check.analytic == 2 * factor
    assert str(check).startswith(f"gradient DISAGREES: largest relative error {error} at (1, 2)")


def test_W_is_left_as_it_was():
    W = np.arange(6.0).reshape(2, 3).T
    before = W.copy()
    found = fl.numerical_gradient(lambda V: float((V**3).sum()), W)
    np.testing.assert_allclose(found, 3 * W**2, rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(W, before)


def test_forward_differences_are_those_by_hand():
    def f(W):
        return float((W**3).sum())

    W, h = np.array([[1.0, -2.0], [0.5, 3.0]]), 0.25  # every sum is exact
    expected = [[(f(W + h * e) - f(W)) / h for e in np.eye(4).reshape(4, 2, 2)]]
    np.testing.assert_array_equal(fl.numerical_gradient(f, W, h, method="forward").reshape(1, 4), expected)
    np.testing.assert_allclose(fl.numerical_gradient(f, W, h), 3 * W**2 + h**2, rtol=1e-14)


@pytest.mark.parametrize(("method", "calls"), [("central", 12), ("forward", 7)])
def test_how_often_f_is_called(method, calls):
    seen = []
    fl.numerical_gradient(lambda W: seen.append(1) or 0.0, np.ones((2, 3)), method=method)
    assert len(seen) == calls


@pytest.mark.parametrize(("method", "kind"), [("backward", ValueError), ("", ValueError), (None, TypeError)])
def test_a_method_that_is_none(method, kind):
    with pytest.raises(kind, match="method must be one of 'central', 'forward'; found"):
        fl.numerical_gradient(lambda W: 0.0, np.ones(2), method=method)


@pytest.mark.parametrize("h", [0, np.nan, np.inf, "x"])
def test_bad_step_of_a_difference(h):
    with pytest.raises((ValueError, TypeError), match="h must"):
        fl.numerical_gradient(lambda W: 0.0, np.ones(2), h)


def test_a_step_that_is_rounded_away():
    for method in ("central", "forward"):
        with pytest.raises(ValueError, match="h is 1e-05, too small to change entry 0 of W"):
            fl.numerical_gradient(lambda W: float(W.sum()), np.array([1e30]), method=method)


def test_some_entries_are_compared():
    """As many as are asked for, others with another seed; one that is wrong is found when it is among them."""
    seen = []

    def f(W):
        seen.append(W.copy())
        dW = 2 * W
        dW[7, 3] += 1
        return (W**2).sum(), dW

    W = np.ones((50, 10))
    assert fl.check_gradient(f, W, samples=10)
    assert len(seen) == 21
    touched = {int(np.flatnonzero(each - W)[0]) for each in seen[1:]}
    assert len(touched) == 10
    found = [fl.check_gradient(f, W, samples=50, seed=seed) for seed in range(30)]
    assert {check.ok for check in found} == {True, False}
    assert {check.index for check in found if not check} == {(7, 3)}
    for samples in (500, 501, 10**9, None):
        check = fl.check_gradient(f, W, samples=samples)
        assert (check.ok, check.index, check.analytic) == (False, (7, 3), 3.0)


@pytest.mark.parametrize(("how", "message"), [({"samples": 0}, "samples must be"), ({"seed": -1}, "seed must be")])
def test_wrong_samples(how, message):
    with pytest.raises(ValueError, match=message):
        fl.check_gradient(lambda W: ((W**2).sum(), 2 * W), np.ones(3), **how)
