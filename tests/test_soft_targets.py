"""Softmax with a probability for each class: against torch, the oracle of the formula, and labels."""

import numpy as np
import pytest

import fastlin as fl
from fastlin import testing

RNG = np.random.default_rng(0)
N, D, C = 37, 6, 5
X, W = RNG.standard_normal((N, D)), RNG.standard_normal((D, C))
Y = RNG.integers(0, C, N)
P = RNG.dirichlet(np.ones(C), N)
WEIGHT = RNG.uniform(0.5, 1.5, N)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_soft_targets_are_torchs(smoothing, reduction, backend):
    torch = pytest.importorskip("torch")
    theirs = torch.tensor(W, requires_grad=True)
    how = {"label_smoothing": smoothing, "reduction": reduction}
    expected = torch.nn.functional.cross_entropy(torch.tensor(X) @ theirs, torch.tensor(P), **how)
    expected.sum().backward()
    loss, dW = fl.softmax_loss(W, X, P, backend=backend, **how)
    np.testing.assert_allclose(loss, expected.detach(), rtol=1e-12)
    np.testing.assert_allclose(dW, theirs.grad, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("y", [P, 3 * P / 4, np.eye(C)[Y], np.zeros((N, C))], ids=["rows", "less", "one-hot", "none"])
def test_the_gradient_is_a_difference_quotient(y, backend):
    def loss(w):
        return fl.softmax_loss(w, X, y, 0.1, sample_weight=WEIGHT, label_smoothing=0.1, backend=backend)

    assert fl.check_gradient(loss, W)


def test_one_hot_rows_are_labels(backend, dtype):
    given = {"sample_weight": WEIGHT, "label_smoothing": 0.1, "backend": backend}
    loss, dW = fl.softmax_loss(W.astype(dtype), X.astype(dtype), np.eye(C)[Y], 0.1, **given)
    expected, gradient = fl.softmax_loss(W.astype(dtype), X.astype(dtype), Y, 0.1, **given)
    assert loss == pytest.approx(expected, rel=20 * float(np.finfo(dtype).eps))
    np.testing.assert_allclose(dW, gradient, atol=100 * np.finfo(dtype).eps)


def test_a_class_that_cannot_be_has_no_part_in_the_loss(backend):
    """Its log-probability is -inf, and its target 0."""
    huge = np.array([[0.0, 1e4, 1e308, -np.inf]])
    loss, _ = fl.softmax_loss(huge[:, :3], [[1.0]], [[0.0, 0.0, 1.0]], backend=backend)
    assert loss == 0.0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, list])
def test_targets_of_any_float(dtype):
    y = P.tolist() if dtype is list else P.astype(dtype)
    assert fl.softmax_loss(W, X, y)[0] == pytest.approx(fl.softmax_loss(W, X, P)[0], rel=1e-3)


def test_fits_to_the_probabilities_of_a_teacher(backend):
    """A student of the same form becomes its teacher: distillation."""
    rows = RNG.standard_normal((300 if backend != "naive" else 40, D))
    teacher = fl.softmax(rows @ W)
    result = fl.minimize(rows, teacher, bias=False, tol=1e-9, backend=backend)
    assert result.loss_name == "softmax"
    np.testing.assert_allclose(result.predict_proba(rows), teacher, atol=1e-6)
    assert result.accuracy(rows, teacher) == 1.0
    assert result.accuracy(rows, teacher.argmax(axis=1)) == 1.0
    how = {"bias": False, "epochs": 9, "backend": backend, "batch_size": 10}
    found = fl.train(rows, teacher, validation=(rows, teacher), **how)
    assert found.history["validation_accuracy"][-1] > 0.8
    assert found.W.shape == (D, C)
    again = fl.train(rows, teacher, validation=(rows, teacher.argmax(axis=1)), **how)
    np.testing.assert_array_equal(again.W, found.W)


def test_an_epoch_of_probabilities_is_that_of_labels(backend):
    how = {"epochs": 2, "batch_size": 7, "backend": backend, "label_smoothing": 0.1, "reg": 0.01}
    np.testing.assert_allclose(fl.train(X, np.eye(C)[Y], **how).W, fl.train(X, Y, classes=C, **how).W, atol=1e-12)


def test_searches_take_them():
    assert fl.random_search(X, P, loss="softmax", tries=5).W.shape == (D + 1, C)
    assert fl.random_local_search(X, P, loss="softmax", tries=5).W.shape == (D + 1, C)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (P * 1.5, r"y\[\d+, \d+\] = .* is out of range; the targets of this loss must be in \[0, 1\]"),
        (P[:, :3], r"y has shape \(37, 3\) .* but X has 37 rows and W 5 columns"),
        (P[:5], r"y has shape \(5, 5\) .* but X has 37 rows"),
        (np.eye(C, dtype=int)[Y], r"y has shape \(37, 5\); expected \(37,\); one-hot labels\?"),
        (P[:, 0], "y must hold integers; found dtype float64"),
    ],
)
def test_wrong_probabilities(y, message):
    with pytest.raises((ValueError, TypeError), match=message):
        fl.softmax_loss(W, X, y)


def test_threads_and_bits(compiled):
    case = testing.random_case(3000, 40, 10)
    y = RNG.dirichlet(np.ones(10), 3000)
    kept = fl.softmax_loss(case.W, case.X, y, threads=1, backend=compiled)
    for threads in (2, 3, 8):
        found = fl.softmax_loss(case.W, case.X, y, threads=threads, backend=compiled)
        assert found[0] == kept[0]
        assert found[1].tobytes() == kept[1].tobytes()
