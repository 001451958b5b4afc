"""Rows of docs/lectures.md: regression, its update rules, and regularisation."""

import math

import numpy as np
import pytest

import fastlin as fl
from fastlin import toys

W1, W2, ONES = np.array([[1.0, 0, 0, 0]]).T, np.full((4, 1), 0.25), np.ones((1, 4))


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return rng.standard_normal((30, 4)), rng.uniform(0, 1, 30), rng.standard_normal((4, 1))


def sigma(s):
    return 1 / (1 + np.exp(-s))


# ---- Regression ------------------------------------------------------------------------------------------


def test_regression_l1(rows, backend):
    X, y, w = rows
    found, dw = fl.absolute_error_loss(w, X, y, backend=backend)
    left = y - (X @ w)[:, 0]
    assert found == pytest.approx(np.mean(np.abs(left)))
    np.testing.assert_allclose(dw[:, 0], -np.sign(left) @ X / 30)


def test_regression_l2(rows, backend):
    X, y, w = rows
    found, dw = fl.squared_error_loss(w, X, y, backend=backend)
    left = y - (X @ w)[:, 0]
    assert found == pytest.approx(np.mean(left**2))
    np.testing.assert_allclose(dw[:, 0], -2 * left @ X / 30)


def test_regression_with_l1_penalty(rows, backend):
    X, y, w = rows
    found, dw = fl.squared_error_loss(w, X, y, fl.L1(1.0), backend=backend)
    left = y - (X @ w)[:, 0]
    assert found == pytest.approx(np.mean(left**2) + np.abs(w).sum())
    np.testing.assert_allclose(dw[:, 0], -2 * left @ X / 30 + np.sign(w[:, 0]))


def test_logistic(rows, backend):
    X, y, w = rows
    p = sigma(X @ w)[:, 0]
    found, dw = fl.logistic_loss(w, X, y, backend=backend)
    assert found == pytest.approx(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)))
    np.testing.assert_allclose(dw[:, 0], (p - y) @ X / 30)
    # With labels it is softmax for two classes whose scores are 0 and s.
    labels = (y > 0.5).astype(int)
    two = fl.softmax_loss(np.hstack([np.zeros((4, 1)), w]), X, labels, backend=backend)[0]
    assert fl.logistic_loss(w, X, labels, backend=backend)[0] == pytest.approx(two)


def test_logistic_decomposed(rows, backend):
    """-log(1 / (1 + e^-wx)), put together from its parts, whose slopes multiply to -(1 - sigma) x."""
    X, _, w = rows
    for x in X:
        power = math.exp(-float(w[:, 0] @ x))
        found, dw = fl.logistic_loss(w, x[None], [1], backend=backend)
        assert found == pytest.approx(-math.log(1 / (1 + power)))
        of_log, of_inverse, of_power = -(1 + power), -1 / (1 + power) ** 2, -power
        np.testing.assert_allclose(dw[:, 0], of_log * of_inverse * of_power * x)


def test_delta_rule(rows, backend):
    """w_j <- w_j + 2 eta sum_k delta_k x_kj, delta = y - w x."""
    X, y, w = rows
    expected = w[:, 0] + 2 * 0.01 * sum((y[k] - w[:, 0] @ X[k]) * X[k] for k in range(30))
    found = w.copy()
    fl.SGD(0.01).step(found, fl.squared_error_loss(w, X, y, reduction="sum", backend=backend)[1])
    np.testing.assert_allclose(found[:, 0], expected)


def test_sigmoid_slope(backend):
    """sigma' = sigma (1 - sigma): the slope of (0 - sigma)^2 is 2 sigma sigma'."""
    s = np.linspace(-30, 30, 61)[:, None]
    _, dW = fl.sigmoid_squared_loss(s.T.copy(), np.ones((1, 1)), np.zeros((1, 61)), backend=backend)
    np.testing.assert_allclose(dW[0], (2 * sigma(s) * sigma(s) * sigma(-s))[:, 0], rtol=1e-12)


def test_sigmoid_perceptron(rows, backend):
    """w_j <- w_j + 2 eta sum_i delta_i sigma_i (1 - sigma_i) x_ij, delta = y - sigma."""
    X, y, w = rows
    p = sigma(X @ w)[:, 0]
    expected = w[:, 0] + 2 * 0.01 * ((y - p) * p * (1 - p)) @ X
    found = w.copy()
    fl.SGD(0.01).step(found, fl.sigmoid_squared_loss(w, X, y, reduction="sum", backend=backend)[1])
    np.testing.assert_allclose(found[:, 0], expected)


# ---- Regularisation --------------------------------------------------------------------------------------


def test_full_loss(backend):
    """1/N sum L_i + lambda R(W): the mean over the rows, and the penalty once; its gradient likewise."""
    rng = np.random.default_rng(0)
    W, X, y = rng.standard_normal((5, 3)), rng.standard_normal((7, 5)), np.arange(7) % 3
    for loss in (fl.softmax_loss, fl.svm_loss):
        each = [loss(W, X[[i]], y[[i]], backend=backend) for i in range(7)]
        full, dW = loss(W, X, y, 0.2, backend=backend)
        assert full == pytest.approx(np.mean([value for value, _ in each]) + 0.2 * (W**2).sum())
        np.testing.assert_allclose(dW, np.mean([slope for _, slope in each], axis=0) + 0.4 * W, atol=1e-14)


def test_l2_spreads_out():
    """By the value of the penalty; and descent from W1 with it ends with four equal weights."""
    assert fl.scores(W1, ONES) == fl.scores(W2, ONES) == 1.0
    assert (fl.L2(1.0).value(W1), fl.L2(1.0).value(W2)) == (1.0, 0.25)
    assert fl.L2(1.0).gradient(W1)[:, 0].tolist() == [2, 0, 0, 0]
    w = W1.copy()
    for _ in range(400):
        w -= 0.1 * fl.squared_error_loss(w, ONES, [1.0], fl.L2(0.1))[1]
    np.testing.assert_allclose(w, w.mean(), atol=1e-3)


def test_l1_does_not_mind():
    """Neither: the penalties are the same, and a step of it shortens every weight that is not 0 by as much."""
    assert fl.L1(1.0).value(W1) == fl.L1(1.0).value(W2) == 1.0
    assert fl.L1(1.0).gradient(W1)[:, 0].tolist() == [1, 0, 0, 0]
    assert fl.L1(1.0).gradient(W2)[:, 0].tolist() == [1, 1, 1, 1]


def test_elastic_net():
    rng = np.random.default_rng(0)
    W = rng.standard_normal((4, 3))
    found = fl.ElasticNet(2.0, 3.0)
    assert found.value(W2) == 2.0 * (3.0 * 0.25 + 1.0)
    assert found.value(W) == pytest.approx(2.0 * (3.0 * W**2 + np.abs(W)).sum())
    np.testing.assert_allclose(found.gradient(W), 2.0 * (2 * 3.0 * W + np.sign(W)))


def test_l2_chooses_between_w_and_2w(backend):
    """Both have no data loss; the penalty prefers the smaller."""
    W, X = np.array([[3.0, -3.0]]), np.array([[1.0], [-1.0]])
    losses = [fl.svm_loss(factor * W, X, [0, 1], 0.1, backend=backend)[0] for factor in (1, 2)]
    assert losses == pytest.approx([0.1 * 18, 0.1 * 72])


def test_l2_is_a_gaussian_prior():
    """-log posterior with a Gaussian prior of variance v differs from softmax + L2(1 / (2 v n)) by a constant."""
    rng = np.random.default_rng(0)
    X, y, v = rng.standard_normal((20, 4)), np.arange(20) % 3, 0.7
    gaps = []
    for _ in range(4):
        W = rng.standard_normal((4, 3))
        prior = np.sum(W**2 / (2 * v) + 0.5 * math.log(2 * math.pi * v))
        likelihood = fl.softmax_loss(W, X, y, reduction="sum")[0]
        gaps.append((likelihood + prior) / 20 - fl.softmax_loss(W, X, y, 1 / (2 * v * 20))[0])
    np.testing.assert_allclose(gaps, gaps[0], rtol=1e-12)


def test_l2_adds_curvature():
    """Every eigenvalue of the Hessian is 2 lam larger, and the condition number smaller."""
    rng = np.random.default_rng(0)
    X, y, W = rng.standard_normal((30, 3)) * [1, 0.3, 0.1], np.arange(30) % 2, np.zeros((3, 2))
    bare = fl.numerical_hessian(lambda W: fl.softmax_loss(W, X, y), W)
    more = fl.numerical_hessian(lambda W: fl.softmax_loss(W, X, y, 0.1), W)
    np.testing.assert_allclose(np.linalg.eigvalsh(more), np.linalg.eigvalsh(bare) + 0.2, atol=1e-8)
    assert np.linalg.cond(more) < np.linalg.cond(bare)


def test_weight_decay():
    """A step on lam sum(W^2) is a step on the data and W shrunk by 2 lr lam: the decay is called weight_decay."""
    rng = np.random.default_rng(0)
    W, X, y = rng.standard_normal((5, 3)), rng.standard_normal((9, 5)), np.arange(9) % 3
    penalised, decayed = W.copy(), W.copy()
    fl.SGD(0.1).step(penalised, fl.svm_loss(W, X, y, 0.02)[1])
    fl.SGD(0.1, weight_decay=0.04).step(decayed, fl.svm_loss(W, X, y)[1])
    np.testing.assert_allclose(penalised, decayed, rtol=1e-14)
    np.testing.assert_allclose(decayed, (1 - 2 * 0.1 * 0.02) * W - 0.1 * fl.svm_loss(W, X, y)[1], rtol=1e-14)


def test_prefer_simpler_models():
    """Ten noisy points and a polynomial of degree 9: fitting them all is worse on new points than a penalised fit."""
    (X, y), (X_new, y_new) = toys.noisy_sine(10, sigma=0.3, seed=1), toys.noisy_sine(200, sigma=0.0)
    powers, new = X ** np.arange(10), X_new ** np.arange(10)
    errors = {}
    for lam in (0.0, 1e-3):
        w = fl.newton_step(lambda w, lam=lam: fl.squared_error_loss(w, powers, y, lam), np.zeros((10, 1)))
        errors[lam] = [fl.squared_error_loss(w, *rows)[0] for rows in ((powers, y), (new, y_new))]
    assert errors[0.0][0] < errors[1e-3][0]  # better on the points that it has seen
    assert errors[0.0][1] > 2 * errors[1e-3][1]  # and worse on the curve


def test_max_norm():
    W = np.array([[3.0, 0.3], [4.0, 0.4]])
    np.testing.assert_allclose(np.linalg.norm(fl.max_norm(W, 1.0), axis=0), [1.0, 0.5])


def test_dropout():
    """On average over masks the squared error gains the penalty p / (1 - p) sum_j w_j^2 mean(x_j^2)."""
    rng = np.random.default_rng(0)
    X, y, w = rng.standard_normal((40, 3)), rng.standard_normal(40), rng.standard_normal((3, 1))
    noisy = [fl.squared_error_loss(w, fl.dropout(X, 0.2, seed=s), y)[0] for s in range(3000)]
    penalty = 0.25 * float((w[:, 0] ** 2) @ (X**2).mean(axis=0))
    assert np.mean(noisy) == pytest.approx(fl.squared_error_loss(w, X, y)[0] + penalty, rel=0.01)
