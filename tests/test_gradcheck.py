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


def test_the_worst_entry_is_named():
    def f(W):
        dW = 2 * W
        dW[1, 2] *= 1.5
        return (W**2).sum(), dW

    check = fl.check_gradient(f, np.ones((2, 3)))
    assert not check
    assert check.index == (1, 2)
    assert check.analytic == 3.0
    assert str(check).startswith("gradient DISAGREES: largest relative error 3.33e-01 at (1, 2)")


def test_W_is_left_as_it_was():
    W = np.random.default_rng(0).standard_normal((3, 2))
    before = W.copy()
    fl.numerical_gradient(lambda own: float(own.sum()), W)
    np.testing.assert_array_equal(W, before)
