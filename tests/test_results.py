"""What results predict: probabilities, the classes of the largest scores, and how often the right one is among them."""

import numpy as np
import pytest

import fastlin as fl
from fastlin import ops
from fastlin._objective import largest_few

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((40, 3)), RNG.integers(0, 4, 40)
W = RNG.standard_normal((4, 4))


def result(loss="softmax", weights=W, **more):
    return fl.TrainResult(weights, True, loss_name=loss, **more)


def test_probabilities_of_softmax():
    S = X @ W[:-1] + W[-1]
    expected = np.exp(S) / np.exp(S).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(result().predict_proba(X), expected, rtol=1e-12)


def test_probabilities_of_one_class_against_the_rest():
    S = X @ W[:-1] + W[-1]
    sigma = 1 / (1 + np.exp(-S))
    np.testing.assert_allclose(result("logistic").predict_proba(X), sigma, rtol=1e-12)
    found = result("logistic", W[:, :1]).predict_proba(X)
    np.testing.assert_allclose(found, np.column_stack([1 - sigma[:, 0], sigma[:, 0]]), rtol=1e-12)


def test_probabilities_of_huge_scores():
    huge = result("logistic", np.array([[1e4], [0.0]])).predict_proba([[1.0], [-1.0], [0.0]])
    np.testing.assert_array_equal(huge, [[0, 1], [1, 0], [0.5, 0.5]])


@pytest.mark.parametrize("loss", [name for name, row in ops.LOSSES.items() if row.probabilities is None])
def test_other_losses_have_no_probabilities(loss):
    with pytest.raises(ValueError, match=f"loss='{loss}' gives no probabilities; those that do: softmax, "):
        result(loss).predict_proba(X)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_the_classes_of_the_largest_scores(k):
    S = X @ W[:-1] + W[-1]
    expected = np.argsort(-S, axis=1)[:, :k]
    np.testing.assert_array_equal(result().predict(X, k=k), expected)
    np.testing.assert_array_equal(fl.predict(W, X, k=k, bias=True), expected)
    assert result().accuracy(X, Y, k=k) == (expected == Y[:, None]).any(axis=1).mean()
    assert result().accuracy(X, np.eye(4)[Y], k=k) == result().accuracy(X, Y, k=k)


def test_of_equals_the_first_comes_first_and_nan_is_the_largest():
    S = np.array([[1.0, 3.0, 3.0, 1.0], [0.0, np.nan, 5.0, -np.inf], [2.0, 2.0, 2.0, 2.0]])
    found = largest_few(S, 4)
    np.testing.assert_array_equal(found, [[1, 2, 0, 3], [1, 2, 0, 3], [0, 1, 2, 3]])
    np.testing.assert_array_equal(found[:, 0], S.argmax(axis=1))


@pytest.mark.parametrize(
    ("loss", "weights", "k", "message"),
    [
        ("softmax", W, 5, "k must be an integer of at most 4; found 5"),
        ("softmax", W, 0, "k must be an integer of at least 1; found 0"),
        ("softmax", W, 2.0, "k must be an integer"),
        ("logistic", W[:, :1], 1, "k needs a column of W for each class"),
        ("huber", W, 1, "huber is a regression and predicts no classes"),
    ],
)
def test_wrong_numbers_of_classes(loss, weights, k, message):
    for ask in (lambda: result(loss, weights).predict(X, k=k), lambda: result(loss, weights).accuracy(X, Y, k=k)):
        with pytest.raises((ValueError, TypeError), match=message):
            ask()


@pytest.mark.parametrize("kind", ["W", "scaled"])
def test_a_float32_result_takes_float64_rows(kind):
    scale = {"x_scale": np.full(3, 0.5)} if kind == "scaled" else {}
    found = result(weights=W.astype(np.float32), **scale)
    S = found.scores(X)
    assert S.dtype == np.float64
    np.testing.assert_allclose(S, X * (0.5 if scale else 1.0) @ W[:-1] + W[-1], rtol=1e-5, atol=1e-5)
    assert found.scores(X.astype(np.float32)).dtype == np.float32
    assert found.predict_proba(X).shape == (40, 4)
