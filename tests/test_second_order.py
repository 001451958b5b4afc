"""Curvature and full-batch methods against closed solutions."""

import sys

import numpy as np
import pytest

import fastlin as fl
from fastlin import testing

pytest.importorskip("scipy")


@pytest.fixture
def case():
    return testing.random_case(60, 5, 3)


def ridge(X, T, reg):
    """The minimum of mean (T - XW)^2 + reg W^2, from the normal equations."""
    return np.linalg.solve(X.T @ X / len(X) + reg * np.eye(X.shape[1]), X.T @ T / len(X))


def test_one_newton_step_solves_a_quadratic(case, backend):
    T = np.random.default_rng(0).standard_normal((60, 2))

    def f(W):
        return fl.squared_error_loss(W, case.X, T, 0.3, backend=backend)

    W = fl.newton_step(f, np.full((5, 2), 7.0))
    np.testing.assert_allclose(W, ridge(case.X, T, 0.3), rtol=1e-7, atol=1e-9)
    H = fl.numerical_hessian(f, W)
    one = 2 * (case.X.T @ case.X / 60 + 0.3 * np.eye(5))
    np.testing.assert_allclose(H, np.kron(one, np.eye(2)), atol=1e-8)


@pytest.mark.parametrize("method", ["L-BFGS-B", "BFGS", "CG"])
def test_minimize_solves_ridge_regression(case, method, backend):
    T = np.random.default_rng(0).standard_normal((60, 2))
    how = {"loss": "squared_error", "method": method, "reg": 0.3, "tol": 1e-9, "bias": False, "backend": backend}
    found = fl.minimize(case.X, T, **how)
    np.testing.assert_allclose(found.W, ridge(case.X, T, 0.3), atol=1e-7)
    assert (np.diff(found.history["loss"]) <= 1e-12).all()


@pytest.mark.parametrize("loss", ["softmax", "logistic", "squared_svm"])
def test_minimum_has_no_slope(case, loss):
    found = fl.minimize(case.X, case.y, loss=loss, reg=0.1, tol=1e-8)
    value, dW = testing.evaluate(loss, default(loss), found.W, case.X, case.y, 0.1, bias=True)
    assert abs(dW).max() < 1e-6
    assert found.history["loss"][-1] == pytest.approx(value, rel=1e-12)


def default(loss):
    return {name: spec.default for name, spec in testing.OPS[f"{loss}_epilogue"].hyper.items()}


def test_minimize_takes_bytes_and_scales(case):
    X = np.random.default_rng(0).integers(0, 256, (60, 5), dtype=np.uint8)
    found = fl.minimize(X, case.y, reg=0.1, x_scale=1 / 128, x_shift=-1.0)
    floats = fl.minimize(X / 128 - 1.0, case.y, reg=0.1)
    np.testing.assert_allclose(found.W, floats.W, atol=1e-4)
    assert (found.predict(X) == floats.predict(X / 128 - 1.0)).all()


def test_scipy_is_named_when_it_is_missing(case, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ImportError, match=r"fastlin.minimize needs scipy: pip install 'fastlin\[scipy\]'"):
        fl.minimize(case.X, case.y)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"method": "Newton"}, "method must be one of 'L-BFGS-B', 'BFGS', 'CG'; found 'Newton'"),
        ({"max_iter": 0}, "max_iter must be an integer of at least 1"),
        ({"tol": -1.0}, r"tol must be in \[0, inf\)"),
    ],
)
def test_bad_input(case, how, message):
    with pytest.raises(ValueError, match=message):
        fl.minimize(case.X, case.y, **how)


def test_max_norm_leaves_short_columns_and_the_bias():
    W = np.array([[3.0, 0.3], [4.0, 0.4], [9.0, 9.0]], np.float32)
    found = fl.max_norm(W, 1.0, bias=True)
    np.testing.assert_allclose(found, [[0.6, 0.3], [0.8, 0.4], [9.0, 9.0]], rtol=1e-6)
    assert found.dtype == np.float32
    assert W[0, 0] == 3.0
    assert not fl.max_norm(np.zeros((3, 2)), 1.0).any()


def test_dropout_keeps_the_mean():
    X = np.random.default_rng(0).uniform(1, 2, (400, 50))
    found = fl.dropout(X, 0.3, seed=1)
    assert set(np.unique(np.round(found / X, 12))) == {0.0, round(1 / 0.7, 12)}
    assert found.mean() == pytest.approx(X.mean(), rel=0.02)
    np.testing.assert_array_equal(found, fl.dropout(X, 0.3, seed=1))
    assert (found != fl.dropout(X, 0.3, seed=2)).any()
    np.testing.assert_array_equal(fl.dropout(X, 0.0), X)
    assert fl.dropout(X.astype(np.float32), 0.3).dtype == np.float32
