"""Rows of docs/lectures.md: classes that no line separates, and features with which a line does."""

import numpy as np
import pytest

import fastlin as fl
from fastlin import features, toys


def best_line(X, y):
    """The largest share of the rows (n, 2) of y 0 or 1 that one line has right: 180 directions, every offset."""
    most = 0
    for angle in np.linspace(0, np.pi, 180, endpoint=False):
        ordered = y[np.argsort(X @ [np.cos(angle), np.sin(angle)], kind="stable")]
        ones_before = np.concatenate([[0], np.cumsum(ordered)])
        zeros_before = np.arange(len(y) + 1) - ones_before
        right = zeros_before + ones_before[-1] - ones_before  # of "0 before the line and 1 after it"
        most = max(most, right.max(), len(y) - right.min())
    return most / len(y)


def accuracy(X, y):
    result = fl.train(X, y, epochs=10, batch_size=256, optimizer=fl.Adam(0.05))
    return result.accuracy(X, y)


@pytest.mark.parametrize(("name", "percent"), [("parity", 67.3), ("ring", 59.4), ("three_modes", 64.7)])
def test_hard_cases(name, percent):
    """The best line's share of 10,000 points is far from all of them; no training of a linear classifier beats it."""
    X, y = getattr(toys, name)(10_000, seed=0)
    assert round(100 * best_line(X, y), 1) == percent
    assert accuracy(X, y) < best_line(X, y)


def test_xor():
    """The table of X, Y and F(x, y): of all linear classifiers the best knows nothing; with the product x y one has it.

    Softmax is convex, so that no W has a lower loss than the one that `minimize` finds: log 2, that of W = 0.
    """
    X, y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
    start = 3 * np.random.default_rng(0).standard_normal((3, 2))
    lowest = fl.minimize(X, y, W=start)
    assert lowest.history["loss"][0] > 0.8
    assert lowest.history["loss"][-1] == pytest.approx(np.log(2))
    more = features.PolynomialFeatures(2, include_bias=False).fit_transform(X)
    result = fl.train(more, y, loss="svm", epochs=2000, batch_size=4, optimizer=fl.SGD(0.5))
    assert result.accuracy(more, y) == 1.0


def test_polar_coordinates():
    """On 2000 points: a line has two thirds of them right, and in polar coordinates the training finds one with all."""
    X, y = toys.disk_in_ring(2000, seed=0)
    polar = features.Polar().fit_transform(X)
    np.testing.assert_allclose(
        polar[:, :1] * np.column_stack([np.cos(polar[:, 1]), np.sin(polar[:, 1])]), X, atol=1e-12
    )
    assert best_line(X, y) < 0.75
    result = fl.train(polar, y, epochs=60, batch_size=32, optimizer=fl.Adam(0.05))
    assert result.accuracy(polar, y) == 1.0


def test_bias_and_variance():
    """50 samples, each of 20 points of sin(pi x) + noise: a low degree is always off, a high one differs among them."""
    fits = {}
    for degree in (1, 3, 12):
        for seed in range(50):
            X, y = toys.noisy_sine(20, sigma=0.1, seed=seed)
            powers = X ** np.arange(degree + 1)
            fits.setdefault(degree, []).append(powers @ np.linalg.lstsq(powers, y, rcond=None)[0])
    truth = np.sin(np.pi * X[:, 0])
    bias = {k: np.mean((np.mean(f, axis=0) - truth) ** 2) for k, f in fits.items()}
    variance = {k: np.mean(np.var(f, axis=0)) for k, f in fits.items()}
    assert bias[1] > 10 * bias[3] > bias[12]
    # Of least squares with k weights the variance is sigma^2 k / n on average.
    assert variance == pytest.approx({k: 0.1**2 * (k + 1) / 20 for k in fits}, rel=0.2)


def test_color_histogram():
    """Of six bins around the circle of hues red, yellow, green, cyan, blue and magenta begin one each."""
    colours = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1]], float)
    pixels = [[0] * 16, [0] * 4 + [2] * 12, [4, 5] * 8, [1] * 15 + [3]]  # of four images of 4 x 4
    images = np.array([colours[some].T for some in pixels]).reshape(4, -1)
    found = features.ColorHistogram((3, 4, 4), bins=6).fit_transform(images)
    np.testing.assert_allclose(found, [np.bincount(some, minlength=6) / 16 for some in pixels])


def test_hog():
    """An image of 320 x 240 in cells of 8 x 8, 9 bins each: 30 * 40 * 9 = 10,800 numbers, the directions of edges."""
    pytest.importorskip("skimage")
    x, y = np.arange(320)[None, :], np.arange(240)[:, None]
    waves = [np.sin((x * np.cos(a) + y * np.sin(a)) / 2) for a in np.pi * (np.arange(9) + 0.5) / 9]
    found = features.HOG((240, 320)).fit_transform(np.array(waves).reshape(9, -1))
    assert found.shape == (9, 10_800)
    middle = found.reshape(9, 30, 40, 9)[:, 1:-1, 1:-1]
    assert [int(k) for k in middle.mean(axis=(1, 2)).argmax(axis=1)] == [*range(9)]


def test_bag_of_words():
    """Of dark and bright patches two words are made; an image is the share of its patches that each of them is."""
    dark, bright = np.zeros((8, 8)), np.ones((8, 8))
    striped = np.repeat([[0.0, 1.0]], 4, axis=1) * np.ones((8, 1))  # 4 columns dark, 4 bright
    images = np.array([dark, bright, striped]).reshape(3, -1)
    bag = features.BagOfWords((8, 8), words=2, patch=1).fit(images)
    np.testing.assert_allclose(np.sort(bag.codebook_[:, 0]), [0, 1], atol=1e-12)
    of_bright = bag.transform(images)[:, bag.codebook_[:, 0].argmax()]
    np.testing.assert_allclose(of_bright, [0, 1, 0.5])
    many = features.BagOfWords((8, 8), words=5, patch=3).fit_transform(np.random.default_rng(0).random((6, 64)))
    assert many.shape == (6, 5)
    np.testing.assert_allclose(many.sum(axis=1), 1)
