"""Newton's method with the whole Hessian: the matrix, where it is singular, and the minima of L-BFGS."""

import signal
import threading

import numpy as np
import pytest
from sklearn.datasets import load_iris, load_wine

import fastlin as fl
from fastlin import ops
from fastlin._affine import affine
from fastlin._objective import make_objective, with_defaults
from fastlin._solvers import linalg, newton_cholesky
from fastlin._solvers.problem import SECOND, Problem

CURVED = sorted(SECOND)


def case(loss, n=61, d=5, c=3):
    """Rows whose columns differ in scale, and labels or targets."""
    rng = np.random.default_rng(7)
    X = rng.standard_normal((n, d)) * np.logspace(-2, 2, d) + 1.0
    y = rng.integers(0, c, n)
    if loss in ("squared_error", "huber"):
        y = rng.standard_normal((n, c))
    elif ops.LOSSES[loss].targets is not None:
        y = np.eye(c)[y]
    weights = rng.uniform(0, 2, n)
    for A in (X, y, weights):
        A.setflags(write=False)
    return X, y, weights


def problem_of(loss, reg, bias, scaled=False, backend=None, **sizes):
    X, y, weights = case(loss, **sizes)
    objective = make_objective(loss, with_defaults(loss, {}, "minimize"), reg, bias, backend, 2)
    W = np.random.default_rng(1).standard_normal((X.shape[1] + bias, 3)) / 9
    how = (0.5, 3.0) if scaled else (None, None)
    return Problem(objective, objective.inputs(W, X, y, weights), affine(*how, X, W))


def hessian_by_differences(problem, x, h=1e-5):
    columns = [(problem.at(x + h * e).gradient - problem.at(x - h * e).gradient) / (2 * h) for e in np.eye(len(x))]
    return np.array(columns)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("reg", [0.0, 0.3])
@pytest.mark.parametrize("loss", CURVED)
def test_the_hessian(loss, reg, bias, scaled, monkeypatch):
    """That of differences of gradients, and of blocks of rows; what pins a common summand is orthogonal to it."""
    problem = problem_of(loss, reg, bias, scaled)
    x = problem.start
    if loss in ("huber", "squared_svm", "squared_one_vs_rest_svm"):
        x = 1e-9 * x  # far from the kinks of the gradient
    H = newton_cholesky.Hessian(problem)(x)
    pinned = H - hessian_by_differences(problem, x)
    rows, c = problem.inputs.W.shape
    if loss in ("softmax", "squared_svm"):
        free = slice(problem.inputs.X.shape[1] if reg else 0, rows)
        tensor = pinned.reshape(rows, c, rows, c)
        for j in range(*free.indices(rows)):
            assert tensor[j, :, j, :].mean() > 0
            tensor[j, :, j, :] -= tensor[j, :, j, :].mean()
    np.testing.assert_allclose(pinned, 0.0, atol=1e-6 * np.abs(H).max())
    monkeypatch.setattr(newton_cholesky, "NUMBERS", 7 * 6 * rows)
    np.testing.assert_allclose(newton_cholesky.Hessian(problem)(x), H, rtol=1e-9, atol=1e-12 * np.abs(H).max())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("reg", [0.0, 1e-3, 1.0])
@pytest.mark.parametrize("loss", CURVED)
def test_the_minimum_of_lbfgs(loss, reg, bias, backend):
    X, y, weights = case(loss)
    how = {"loss": loss, "reg": reg, "bias": bias, "sample_weight": weights, "tol": 1e-9, "backend": backend}
    found = fl.minimize(X, y, solver="newton-cholesky", **how)
    plain = fl.minimize(X / X.std(axis=0) if reg == 0 else X, y, solver="lbfgs", **(how | {"max_iter": 5000}))
    assert found.solved.converged
    assert found.solved.n_iter < 20
    assert found.history["loss"][-1] <= plain.history["loss"][-1] * (1 + 1e-10)
    assert (np.diff(found.history["loss"]) <= 1e-12).all()


@pytest.mark.parametrize("n", [3, 40])
@pytest.mark.parametrize("reg", [0.0, 1e-9])
def test_singular_hessians(n, reg):
    """Columns that are dependent, zero or constant, and fewer rows than weights."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 3))
    X = np.column_stack([X, 2 * X[:, 0] - X[:, 1], np.zeros(n), np.full(n, 7.0)])
    y = np.arange(n) % 3
    found = fl.minimize(X, y, reg=reg, solver="newton-cholesky")
    whitened = fl.minimize(X, y, reg=reg, solver="whitened-lbfgs")
    assert found.solved.converged
    assert np.isfinite(found.W).all()
    if n > 3:  # else separable, and the loss has no minimum
        assert found.history["loss"][-1] == pytest.approx(whitened.history["loss"][-1], rel=1e-9)


def test_separable_classes_end_at_the_tolerance():
    X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    found = fl.minimize(X, [0, 0, 1, 1], solver="newton-cholesky", tol=1e-8)
    assert found.solved.converged
    assert found.history["loss"][-1] < 1e-7
    assert found.accuracy(X, [0, 0, 1, 1]) == 1.0


def test_hinges_that_nobody_violates_are_left_alone():
    W = np.array([[-9.0, 9.0]])
    found = fl.minimize([[-1.0], [1.0]], [0, 1], W=W, bias=False, loss="squared_svm", solver="newton-cholesky")
    np.testing.assert_array_equal(found.W, W)


def test_a_common_summand_is_not_moved():
    """Of all classes: without a penalty that of each row of W, with one that of b."""
    X, y, _ = case("softmax")
    W = np.random.default_rng(2).standard_normal((6, 3))
    found = fl.minimize(X, y, W=W, solver="newton-cholesky")
    np.testing.assert_allclose(found.W.sum(axis=1), W.sum(axis=1), atol=1e-9)
    found = fl.minimize(X, y, W=W, solver="newton-cholesky", reg=0.1)
    assert found.W[-1].sum() == pytest.approx(W[-1].sum(), abs=1e-9)
    np.testing.assert_allclose(found.W[:-1].sum(axis=1), 0.0, atol=1e-9)


def test_max_iter_and_who_is_refused(monkeypatch):
    X, y, _ = case("softmax")
    with pytest.warns(fl.ConvergenceWarning, match="'newton-cholesky' stopped after 1 iterations"):
        assert fl.minimize(X, y, solver="newton-cholesky", max_iter=1).solved.n_iter == 1
    with pytest.raises(ValueError, match="'newton-cholesky' needs a second derivative, and no L1: softmax"):
        fl.minimize(X, y, solver="newton-cholesky", reg=fl.L1(0.1))
    with pytest.raises(ValueError, match=r"'newton-cholesky' is for at most 4000 weights.*found 4004"):
        fl.minimize(np.zeros((2, 1000)), [0, 3], solver="newton-cholesky")


def test_numbers_that_are_lost_end_it():
    found = fl.minimize([[np.nan], [1.0]], [0, 1], solver="newton-cholesky")
    assert not found.solved.converged
    assert "NaN" in found.solved.message
    X = np.array([[1e200], [-1e200], [2e200]])
    assert fl.minimize(X, [0, 1, 0], solver="newton-cholesky", reg=1e200).W.shape == (2, 2)


@pytest.mark.parametrize("solver", ["newton-cholesky", "whitened-lbfgs", "auto"])
@pytest.mark.parametrize("bias", [True, False])
def test_no_columns(bias, solver):
    found = fl.minimize(np.zeros((4, 0)), [0, 1, 2, 1], bias=bias, solver=solver, tol=1e-10)
    assert found.solved.converged
    assert found.W.shape == (int(bias), 3)
    if bias:
        np.testing.assert_allclose(np.exp(found.W[0]) / np.exp(found.W[0]).sum(), [0.25, 0.5, 0.25], atol=1e-9)


@pytest.mark.parametrize("load", [load_iris, load_wine])
def test_auto_takes_it_for_few_weights(load):
    X, y = load(return_X_y=True)
    found = fl.minimize(X, y, reg=1e-3, tol=1e-9)
    assert found.solved.solver == "newton-cholesky"
    assert found.solved.n_iter < 15
    assert fl.minimize(X, y, reg=1e-3, loss="squared_svm").solved.solver == "whitened-lbfgs"
    many = np.tile(X, (200, 1)), np.tile(y, 200)
    assert fl.minimize(*many, reg=1e-3, max_iter=1).solved.solver == "whitened-lbfgs"


@pytest.mark.parametrize("backend", ops.installed())
@pytest.mark.parametrize("d", [3, 64, 65, 150])
def test_systems_small_and_large(d, backend):
    A = np.random.default_rng(d).standard_normal((d, 2 * d))
    A, b = A @ A.T / d, np.linspace(-1, 2, d)
    b.setflags(write=False)
    np.testing.assert_allclose(linalg.solved(A.copy(), b, linalg.Means(backend, 2)), np.linalg.solve(A, b), rtol=1e-9)


def test_ctrl_c_between_two_steps(monkeypatch, ctrl_c):
    """A signal that comes while a Hessian is made ends the fit there."""
    X, y, _ = case("softmax")
    made, before = [], newton_cholesky.Hessian.__call__

    def interrupted(self, x):
        made.append(x)
        signal.raise_signal(signal.SIGINT)
        return before(self, x)

    monkeypatch.setattr(newton_cholesky.Hessian, "__call__", interrupted)
    assert threading.current_thread() is threading.main_thread()
    with pytest.raises(KeyboardInterrupt):
        fl.minimize(X, y, solver="newton-cholesky")
    assert len(made) == 1
