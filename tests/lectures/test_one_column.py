"""Rows of docs/lectures.md: models whose W is a vector. They predict values, or one of two classes."""

import numpy as np
import pytest

import fastlin as fl
from fastlin import toys


def test_house_prices():
    """Trained to convergence, both errors are as small as they can be, and what is predicted are prices."""
    X, y = toys.houses(200, seed=0)
    scale = 1 / X.std(axis=0)
    how = {"x_scale": scale, "x_shift": -X.mean(axis=0) * scale}
    squares = fl.train(
        X, y, loss="squared_error", epochs=200, batch_size=200, optimizer=fl.SGD(0.1, momentum=0.9), **how
    )
    ones = np.column_stack([X, np.ones(200)])
    w = np.linalg.lstsq(ones, y, rcond=None)[0]
    found = squares.predict(X)
    assert found.shape == (200,)
    np.testing.assert_allclose(found, ones @ w, atol=0.05)  # thousands
    np.testing.assert_allclose(squares.W[:-1, 0] * scale, w[:-1], rtol=1e-3)
    assert squares.score(X, y) > 0.97
    # The prices are those of the toy: its rates are found again, as exactly as 200 noisy houses allow.
    np.testing.assert_allclose(w[:-1], toys.HOUSE_RATES, rtol=0.2)
    # A few prices that are wrong by far move the fit by squares, and not the one by absolute errors.
    spoilt = y.copy()
    spoilt[np.argsort(X[:, 0])[-8:]] = 1.0
    fits = [fl.minimize(X, spoilt, loss=f"{kind}_error", **how).predict(X) for kind in ("squared", "absolute")]
    moved = [np.abs(fit - found).mean() for fit in fits]
    assert moved[1] < 6 < 20 < moved[0]
    # The mean error is least where, of the directions of each feature, none makes it less.
    for column in (ones / np.abs(ones).max(axis=0)).T:
        for step in (-0.5, 0.5):
            assert np.abs(fits[1] + step * column - spoilt).mean() > np.abs(fits[1] - spoilt).mean() - 1e-3


@pytest.mark.parametrize("bias", [False, True])
def test_binary_classifier_with_one_column(bias):
    X, y = toys.blobs(200, classes=2, seed=0)
    X[:, 1] += 3.0 * bias  # only with b does the line then pass between the classes
    start = np.zeros((2 + bias, 1))
    result = fl.train(X, y, loss="logistic", W=start, bias=bias, epochs=100, optimizer=fl.Adam(0.2))
    assert result.W.shape == start.shape
    scores = X @ result.W[:2, 0] + (result.W[2, 0] if bias else 0.0)
    np.testing.assert_array_equal(result.predict(X), np.where(scores >= 0, 1, 0))
    np.testing.assert_array_equal(result.predict(X), y)
    assert result.history["loss"][-1] < 0.05
