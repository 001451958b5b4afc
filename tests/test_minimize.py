"""Every solver of `minimize` against SciPy and scikit-learn, on columns of widely different scale too."""

import tracemalloc

import numpy as np
import pytest
from scipy import optimize
from sklearn.datasets import load_iris, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

import fastlin as fl
from fastlin import _run, ops, testing
from fastlin._objective import make_objective, with_defaults
from fastlin._solvers import linalg, owlqn, problem, smoothed
from fastlin._solvers.problem import SECOND, Problem

SMOOTH = ["lbfgs", "whitened-lbfgs", "scaled-lbfgs", "newton-cg"]
CURVED = sorted(SECOND)


@pytest.fixture(scope="module")
def table():
    """Columns of scales from 0.01 to 1000, one of them nearly twice another, of means that are not 0."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((203, 7)) + 1.0
    X[:, 6] = 2 * X[:, 5] + 0.01 * rng.standard_normal(203)
    y = (X @ rng.standard_normal((7, 4)) + rng.gumbel(size=(203, 4))).argmax(axis=1)
    return X * np.logspace(-2, 3, 7), y


def problem_of(X, y, loss, reg, bias=True, **how):
    objective = make_objective(loss, with_defaults(loss, {}, "minimize"), reg, bias, how.pop("backend", None), None)
    c = int(y.max()) + 1 if objective.loss.targets is None else y.shape[1]
    start = np.zeros((X.shape[1] + bias, c), order="F")
    return Problem(objective, objective.inputs(start, X, y, how.pop("sample_weight", None)), None)


# ---- Products with the Hessian -------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ops.installed())
@pytest.mark.parametrize("loss", CURVED)
def test_products_are_those_of_the_numerical_hessian(loss, backend):
    case = testing.random_case(31, 4, 3, bias=True)
    rng = np.random.default_rng(1)
    y = case.y if ops.LOSSES[loss].targets is None else rng.random((31, 3))
    problem = problem_of(case.X, y, loss, 0.3, sample_weight=rng.random(31), backend=backend)
    x, v = 0.3 * rng.standard_normal((2, problem.start.size))
    h = 1e-6
    expected = (problem.at(x + h * v).gradient - problem.at(x - h * v).gradient) / (2 * h)
    np.testing.assert_allclose(problem.product(x)(v), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("backend", ops.installed())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("curvature", ops.CURVATURES)
def test_curvatures_of_all_backends(curvature, dtype, backend):
    """The value is half of the product with the argument, and both are those of the formulas."""
    rng = np.random.default_rng(2)
    S, weight = rng.standard_normal((5, 37)), rng.random(37)
    A = rng.random((37, 5))
    if curvature == "softmax_curvature":
        A /= A.sum(axis=1, keepdims=True)
        G = A.T * (S - (A.T * S).sum(axis=0)) * weight
    elif curvature == "svm_curvature":
        A[np.arange(37), rng.integers(0, 5, 37)] = -1.0
        own = A.T == -1.0
        G = np.where(own, 0.0, A.T) * (S - S.T[own.T]) * weight
        G -= own * G.sum(axis=0)
    else:
        G = A.T * S * weight
    found, scratch = S.astype(dtype), np.empty((3, 37), dtype)
    kernel = ops.kernel(f"{curvature}_epilogue", backend, dtype)
    value = kernel(found, np.ascontiguousarray(A, dtype), weight.astype(dtype), scratch)
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(found, G, rtol=tolerance, atol=tolerance)
    assert value == pytest.approx((G * S).sum() / 2, rel=tolerance)


# ---- Factors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ops.installed())
@pytest.mark.parametrize("d", [1, 31, 32, 33, 100, 150])
def test_factors_and_second_moments(d, backend):
    rng = np.random.default_rng(3)
    X, weight = np.asfortranarray(rng.standard_normal((d + 9, d)) + 3.0, "float32"), rng.random(d + 9)
    means = linalg.Means(backend, 2)
    mean, panels = linalg.gram(X, weight, means)
    G = whole(panels)
    expected = np.cov(X.T.astype(float), aweights=weight, ddof=0).reshape(d, d)
    np.testing.assert_allclose(mean, np.average(X.astype(float), axis=0, weights=weight), rtol=1e-12)
    np.testing.assert_allclose(G, np.tril(expected), rtol=1e-10, atol=1e-12)
    _, shifted = linalg.gram(X, weight, means, lambda rows: 2.0 * rows - 1.0)
    np.testing.assert_allclose(whole(shifted), 4 * G, rtol=1e-7, atol=1e-7)
    A = expected + 0.1 * np.eye(d)
    L = np.linalg.cholesky(A)
    factor = linalg.Factor(by_panels(A), means)
    B = rng.standard_normal((d, 3))
    B.setflags(write=False)
    np.testing.assert_allclose(factor.times_transposed(B), L.T @ B, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(factor.solve(B), np.linalg.solve(L, B), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(factor.solve_transposed(B), np.linalg.solve(L.T, B), rtol=1e-9, atol=1e-10)
    with pytest.raises(np.linalg.LinAlgError):
        linalg.Factor(by_panels(A - 100 * np.eye(d)), means)


def by_panels(A):
    """A by rows, as `gram` gives it."""
    firsts = range(0, len(A), linalg.PANEL)
    return [A[first : first + linalg.PANEL, : first + linalg.PANEL].copy() for first in firsts]


def whole(panels):
    """What is on and below the diagonal."""
    A = np.zeros((panels[-1].shape[1],) * 2)
    for panel in panels:
        rows, last = panel.shape
        A[last - rows : last, :last] = panel
    return np.tril(A)


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
@pytest.mark.parametrize("scaled", [False, True])
def test_a_fit_takes_little_memory_beside_X(dtype, scaled):
    """Half a matrix d x d in float64, the weights that L-BFGS keeps, and blocks of rows: no copy of X."""
    n, d, c = 6000, 700, 10
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 2, (n, d)).astype(dtype), rng.integers(0, c, n)
    how = {"solver": "whitened-lbfgs", "reg": 1e-3, "backend": ops.installed()[-1]}
    how |= {"x_scale": 0.5, "x_shift": -0.25} if scaled else {}
    fl.minimize(X, y, max_iter=12, tol=0.0, **how)  # what is imported, compiled and kept for the next call
    tracemalloc.start()
    fl.minimize(X, y, max_iter=12, tol=0.0, **how)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    matrix, weights, blocks = 8 * d * d, 8 * (d + 1) * c, 5 << 19
    assert peak < matrix / 2 + 40 * weights + blocks  # 6.7 MB: another matrix has 3.9, X in float64 34


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_newtons_steps_take_the_memory_of_the_scores(dtype):
    n, d, c = 40_000, 20, 40
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 2, (n, d)).astype(dtype), rng.integers(0, c, n)
    how = {"solver": "newton-cg", "reg": 1e-3, "max_iter": 2, "tol": 0.0, "backend": ops.installed()[-1]}
    fl.minimize(X, y, **how)
    tracemalloc.start()
    fl.minimize(X, y, **how)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.8 * 8 * n * c  # curvatures, and blocks: as much again for scores or probabilities is too much


# ---- Smooth fits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("solver", SMOOTH)
@pytest.mark.parametrize("loss", [*CURVED, "sigmoid_squared"])
def test_solvers_find_what_scipy_finds(table, loss, solver, bias):
    X, y = table
    X = X / X.std(axis=0)
    if ops.LOSSES[loss].targets is not None:
        y = np.eye(4)[y]
    if solver == "newton-cg" and loss not in CURVED:
        with pytest.raises(ValueError, match=r"solver 'newton-cg' needs a second derivative.* sigmoid_squared"):
            fl.minimize(X, y, loss=loss, solver=solver)
        return
    found = fl.minimize(X, y, loss=loss, reg=1e-3, bias=bias, solver=solver, tol=1e-9)
    reference = fl.minimize(X, y, loss=loss, reg=1e-3, bias=bias, solver="bfgs", tol=1e-9, max_iter=3000)
    assert found.solved.solver == solver
    assert found.solved.converged
    assert found.history["loss"][-1] <= reference.history["loss"][-1] * (1 + 1e-10)
    np.testing.assert_allclose(found.predict(X), reference.predict(X), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("how", [{}, {"x_scale": 0.5, "x_shift": 3.0}, {"sample_weight": "some"}, {"bias": False}])
def test_whitening_takes_few_passes_where_scales_differ(table, how):
    X, y = table
    if "sample_weight" in how:
        how = {"sample_weight": np.random.default_rng(4).integers(0, 3, len(y)).astype(float)}
    found = fl.minimize(X, y, reg=1e-4, solver="whitened-lbfgs", **how)
    plain = fl.minimize(X, y, reg=1e-4, solver="newton-cg", tol=1e-8, **how)
    assert found.solved.converged
    assert found.solved.passes < 500  # 200 to 310, by rounding alone; L-BFGS: thousands
    assert found.history["loss"][-1] == pytest.approx(plain.history["loss"][-1], rel=1e-8)
    assert (np.diff(found.history["loss"]) <= 1e-12).all()


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
def test_a_fit_is_in_float64_whatever_X_is(dtype):
    data = load_iris()
    X = np.asarray(10 * data.data, dtype)
    found = fl.minimize(X, data.target, reg=1e-3, tol=1e-9)
    exact = fl.minimize(X.astype(float), data.target, reg=1e-3, tol=1e-9)
    assert found.W.dtype == np.float64
    np.testing.assert_allclose(found.W, exact.W, atol=1e-6)


def dtypes_of_W(monkeypatch):
    """A list that gets the dtype in which each pass computes."""
    dtypes, loss_grad = [], _run.loss_grad

    def noted(objective, inputs, *to):
        dtypes.append(inputs.W.dtype)
        return loss_grad(objective, inputs, *to)

    monkeypatch.setattr(_run, "loss_grad", noted)
    return dtypes


@pytest.mark.parametrize("solver", ["lbfgs", "whitened-lbfgs", "scaled-lbfgs", "owlqn"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
def test_first_steps_in_float32_lead_to_the_same_minimum(dtype, solver, monkeypatch):
    data, weight = load_iris(), np.linspace(0.5, 1.5, 150)
    X, penalty = np.asarray(10 * data.data, dtype), fl.L1(1e-2) if solver == "owlqn" else 1e-3
    how = {"reg": penalty, "sample_weight": weight, "solver": solver, "tol": 1e-7}
    exact = fl.minimize(X, data.target, **how)
    monkeypatch.setattr(problem, "NARROW", 1)
    dtypes = dtypes_of_W(monkeypatch)
    found = fl.minimize(X, data.target, **how)
    assert found.solved.converged == exact.solved.converged
    assert found.history["loss"][-1] == pytest.approx(exact.history["loss"][-1], rel=1e-8)
    np.testing.assert_allclose(found.predict_proba(X), exact.predict_proba(X), atol=1e-5)
    first = dtypes.index(np.float64)
    assert first > 5
    assert set(dtypes[first:]) == {np.dtype(np.float64)}


@pytest.mark.parametrize("how", [{"x_scale": 0.5}, {"loss": "squared_error"}, {"loss": "svm", "margin": 1e39}])
def test_what_float32_may_not_hold_is_in_float64(how, monkeypatch):
    monkeypatch.setattr(problem, "NARROW", 1)
    data, dtypes = load_iris(), dtypes_of_W(monkeypatch)
    fl.minimize(data.data.astype(np.float32), data.target, reg=1.0, solver="lbfgs", tol=0.1, **how)
    assert set(dtypes) == {np.dtype(np.float64)}


@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
def test_the_optimum_of_scikit_learn(C):
    data = load_wine()
    X, y = data.data, data.target
    found = fl.minimize(X, y, reg=1 / (2 * C * len(y)), tol=1e-10)
    model = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(X, y)
    W = np.vstack([model.coef_.T, model.intercept_])
    reference, _ = fl.softmax_loss(W, X, y, 1 / (2 * C * len(y)), bias=True)
    assert found.history["loss"][-1] <= reference * (1 + 1e-9)
    np.testing.assert_allclose(found.W[:-1], W[:-1], atol=1e-4)


# ---- Kinks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["svm", "one_vs_rest_svm"])
def test_hinges_end_at_the_minimum(loss):
    """Whatever W is near has a higher loss."""
    data, lam = load_iris(), 1e-2
    X = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    y = data.target if loss == "svm" else np.eye(3)[data.target]
    found = fl.minimize(X, y, loss=loss, reg=lam, bias=False)
    assert found.solved.solver == "smoothed"
    assert found.solved.converged
    value = found.history["loss"][-1]
    problem = problem_of(X, y, loss, lam, bias=False)
    for step in np.random.default_rng(0).standard_normal((400, found.W.size)):
        for length in (1e-1, 1e-3, 1e-5):
            assert problem.at(found.W.ravel() + length * step).value >= value * (1 - 1e-7)


def test_the_hinge_of_liblinear():
    data, C = load_wine(), 0.5
    X = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    model = LinearSVC(loss="hinge", C=C, fit_intercept=False, tol=1e-9, max_iter=1_000_000).fit(X, data.target)
    lam, W = 1 / (2 * C * len(X)), np.ascontiguousarray(model.coef_.T)
    reference, _ = fl.svm_loss(W, X, data.target, lam, variant="one_vs_rest")
    found = fl.minimize(X, np.eye(3)[data.target], loss="one_vs_rest_svm", reg=lam, bias=False)
    assert found.history["loss"][-1] == pytest.approx(reference, rel=1e-6)


@pytest.mark.parametrize(("load", "C"), [(load_iris, 1.0), (load_wine, 0.5)])
@pytest.mark.parametrize("margin", [1.0, 0.3])
@pytest.mark.parametrize("scaled", [False, True])
def test_the_largest_hinge_of_liblinear(load, C, margin, scaled):
    """Crammer and Singer's; a margin of m is one of 1 with C / m and W / m."""
    data = load()
    X = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    words = {"multi_class": "crammer_singer", "fit_intercept": False, "tol": 1e-9, "max_iter": 1_000_000}
    W = margin * LinearSVC(C=C / margin, **words).fit(X, data.target).coef_.T
    lam, how = 1 / (2 * C * len(X)), {"x_scale": 0.5, "x_shift": -1.0} if scaled else {}
    S = X @ W
    hinges = S - S[np.arange(len(S)), data.target][:, None] + margin * (1 - np.eye(3)[data.target])
    reference = hinges.max(axis=1).mean() + lam * np.square(W).sum()
    X = 2.0 * (X + 1.0) if scaled else X
    found = fl.minimize(X, data.target, loss="crammer_singer_svm", margin=margin, reg=lam, bias=False, **how)
    assert found.solved.solver == "smoothed"
    assert found.solved.converged
    assert found.history["loss"][-1] == pytest.approx(reference, rel=1e-7)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("reg", [0.0, 0.3])
@pytest.mark.parametrize("loss", smoothed.SMOOTHED)
def test_smooth_losses_have_their_gradients(loss, reg, bias):
    """And lie below the loss with kinks, by little where they are narrow."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 3)), rng.integers(0, 4, 40)
    y = y if loss in ("svm", "crammer_singer_svm") else np.eye(4)[y]
    problem = problem_of(X, y, loss, reg, bias=bias, sample_weight=rng.uniform(0, 2, 40))
    x = rng.standard_normal(problem.start.size)
    smooth = smoothed._smooth(problem, 0.3)
    here, h = smooth(x), 1e-6
    slopes = [(smooth(x + h * e).value - smooth(x - h * e).value) / (2 * h) for e in np.eye(len(x))]
    np.testing.assert_allclose(here.gradient, slopes, atol=1e-7)
    value = problem.at(x).value
    assert here.value < value
    narrow = smoothed._smooth(problem, 1e-6)(x).value
    assert value - 1e-5 < narrow <= value + 1e-12


@pytest.mark.parametrize("solver", ["auto", "lbfgs", "whitened-lbfgs", "newton-cg", "newton-cholesky", "smoothed"])
def test_a_float32_W_is_fitted_in_float32(solver, backend):
    X, y = load_iris(return_X_y=True)
    how = {"reg": 0.01, "backend": backend, "solver": solver}
    how |= {"loss": "crammer_singer_svm", "max_iter": 3} if solver == "smoothed" else {}
    found = fl.minimize(X.astype("float32"), y, W=np.zeros((5, 3), "float32"), tol=1e-3, **how)
    exact = fl.minimize(X, y, tol=1e-6, **how)
    assert found.W.dtype == np.float32
    assert found.history["loss"][-1] == pytest.approx(
        exact.history["loss"][-1], rel=0.02 if solver == "smoothed" else 1e-3
    )


def test_least_absolute_errors():
    """A linear programme solves the same problem."""
    rng = np.random.default_rng(0)
    X, t = rng.standard_normal((60, 4)), rng.standard_normal(60)
    found = fl.minimize(X, t, loss="absolute_error", bias=False)
    cost = np.concatenate([np.zeros(4), np.full(60, 1 / 60)])
    above = np.block([[X, -np.eye(60)], [-X, -np.eye(60)]])
    best = optimize.linprog(cost, above, np.concatenate([t, -t]), bounds=[(None, None)] * 4 + [(0, None)] * 60)
    assert found.history["loss"][-1] == pytest.approx(best.fun, rel=1e-6)


def test_smoothing_is_for_kinks(table):
    with pytest.raises(ValueError, match=r"solver 'smoothed' is for svm, .*; found softmax"):
        fl.minimize(*table, solver="smoothed")


# ---- Exact zeros -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("penalty", [fl.L1(0.01), fl.ElasticNet(0.01, 0.5)])
@pytest.mark.parametrize("loss", ["softmax", "squared_svm", "logistic", "squared_error"])
def test_l1_ends_at_the_minimum_with_exact_zeros(table, loss, penalty):
    """SciPy solves the same problem of twice as many weights, none of them negative."""
    X, y = table
    X = ((X - X.mean(axis=0)) / X.std(axis=0))[:, :6]
    if ops.LOSSES[loss].targets is not None:
        y = np.eye(4)[y]
    found = fl.minimize(X, y, loss=loss, reg=penalty, tol=1e-8)
    problem = problem_of(X, y, loss, penalty)
    k, l1 = found.W.size, problem.l1

    def split(both):
        value, gradient = problem.smooth_at(both[:k] - both[k:])[1:3]
        return value + l1 @ (both[:k] + both[k:]), np.concatenate([gradient + l1, l1 - gradient])

    best = optimize.minimize(split, np.zeros(2 * k), jac=True, bounds=[(0, None)] * 2 * k, options={"maxiter": 5000})
    assert found.solved.solver == "owlqn"
    assert found.solved.converged
    assert found.history["loss"][-1] <= best.fun * (1 + 1e-7)
    assert 0 < (found.W[:-1] == 0).mean() < 1
    assert found.W[-1].all()


def test_the_smallest_subgradient():
    x, gradient = np.array([0.0, 0.0, 0.0, 2.0, -2.0]), np.array([0.5, 3.0, -3.0, 1.0, 1.0])
    np.testing.assert_array_equal(owlqn.pseudo_gradient(x, gradient, np.ones(5)), [0, 2, -2, 2, 0])


# ---- How it ended ----------------------------------------------------------------------------------------------


def test_who_stops_too_soon_is_told(table):
    X, y = table
    with pytest.warns(fl.ConvergenceWarning, match=r"'lbfgs' stopped after 3 iterations .*larger max_iter"):
        found = fl.minimize(X, y, solver="lbfgs", max_iter=3)
    assert not found.solved.converged
    assert found.solved.n_iter == 3
    assert found.solved.passes >= 4
    fl.minimize(X, y, solver="lbfgs", max_iter=3, tol=0)  # wants three iterations


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "X, y, sample_weight or W holds NaN, Inf or numbers that are too"),
        (np.inf, "X, y, sample_weight or W holds NaN, Inf or numbers that are too"),
        (1e300, "found no step that lowers the loss after 0 iterations"),
    ],
)
def test_numbers_that_make_no_loss_are_told(table, value, message):
    X, y = table[0].copy(), table[1]
    X[3, 2] = value
    with pytest.warns(fl.ConvergenceWarning, match=message):
        assert not fl.minimize(X, y, W=np.ones((8, 4))).solved.converged


def test_method_is_called_solver(table):
    with pytest.raises(TypeError, match=r"no argument 'method'; pass solver=, one of auto, lbfgs"):
        fl.minimize(*table, method="BFGS")
