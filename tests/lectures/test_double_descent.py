"""The row of docs/lectures.md on double descent."""

import numpy as np
import pytest

import fastlin as fl
from fastlin import toys


def test_double_descent():
    """Shortest least squares on random cosines: bad where there are as many as points, good with far more again."""
    kernel = pytest.importorskip("sklearn.kernel_approximation")
    places = np.linspace(-1, 1, 201)[:, None]
    truth = np.sin(np.pi * places[:, 0])
    errors = {}
    for features in (4, 10, 20, 500):
        found = []
        for seed in range(9):
            X, y = toys.noisy_sine(20, seed=seed)
            cosines = kernel.RBFSampler(gamma=50.0, n_components=features, random_state=seed).fit(X)
            w = np.linalg.lstsq(cosines.transform(X), y, rcond=None)[0][:, None]
            given = (cosines.transform(X), y), (cosines.transform(places), truth)
            found.append([fl.squared_error_loss(w, features_of, values)[0] for features_of, values in given])
        errors[features] = np.median(found, axis=0)
    training, test = np.array(list(errors.values())).T
    assert training[0] > 10 * training[1] > 0.01
    assert training[2:].max() < 1e-10
    # Down, up and down again.
    assert test[0] > 10 * test[1]
    assert test[2] > 100 * test[1]
    assert test[2] > 100 * test[3]
    assert test[3] < 0.05
