"""Rows of docs/lectures.md: classes that no line separates, and features with which a line does."""

import numpy as np
import pytest

import fastlin as fl
from fastlin import features, toys


def accuracy(X, y):
    result = fl.train(X, y, epochs=60, batch_size=32, optimizer=fl.Adam(0.05))
    return result.accuracy(X, y)


@pytest.mark.parametrize("name", ["parity", "ring", "three_modes"])
def test_hard_cases(name):
    X, y = getattr(toys, name)(400)
    assert accuracy(X, y) < 0.75


def test_xor():
    """The table of X, Y and F(x, y): no linear classifier has all four right; with the product x y one has."""
    X, y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
    assert accuracy(X, y) <= 0.75
    more = features.PolynomialFeatures(2, include_bias=False).fit_transform(X)
    result = fl.train(more, y, loss="svm", epochs=2000, batch_size=4, optimizer=fl.SGD(0.5))
    assert result.accuracy(more, y) == 1.0


def test_polar_coordinates():
    X, y = toys.disk_in_ring(400)
    assert accuracy(X, y) < 0.75
    assert accuracy(features.Polar().fit_transform(X), y) == 1.0


def test_bias_and_variance():
    """50 samples of sin(pi x) + noise: a low degree is always off, a high one differs from sample to sample."""
    fits = {}
    for degree in (1, 3, 12):
        powers = None
        for seed in range(50):
            X, y = toys.noisy_sine(20, seed=seed)
            powers = X ** np.arange(degree + 1)
            fits.setdefault(degree, []).append(powers @ np.linalg.lstsq(powers, y, rcond=None)[0])
    truth = np.sin(np.pi * X[:, 0])
    bias = {k: np.mean((np.mean(f, axis=0) - truth) ** 2) for k, f in fits.items()}
    variance = {k: np.mean(np.var(f, axis=0)) for k, f in fits.items()}
    assert bias[1] > 10 * bias[3] > bias[12]
    assert variance[1] < variance[3] < variance[12]


def test_color_histogram():
    red = np.zeros((1, 3, 4, 4))
    red[:, 0] = 1
    found = features.ColorHistogram((3, 4, 4), bins=6).fit_transform(red.reshape(1, -1))
    np.testing.assert_array_equal(found, [[1, 0, 0, 0, 0, 0]])


def test_hog():
    """An image of 320 x 240 in cells of 8 x 8, 9 bins each: 30 * 40 * 9 = 10,800 numbers."""
    pytest.importorskip("skimage")
    found = features.HOG((240, 320)).fit_transform(np.random.default_rng(0).random((1, 240 * 320)))
    assert found.shape == (1, 10_800)


def test_bag_of_words():
    images = np.random.default_rng(0).random((6, 64))
    found = features.BagOfWords((8, 8), words=5, patch=3).fit_transform(images)
    assert found.shape == (6, 5)
    np.testing.assert_allclose(found.sum(axis=1), 1)
