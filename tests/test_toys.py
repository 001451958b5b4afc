"""Toy data: shapes, seeds, and that each is what its docstring says."""

import numpy as np
import pytest

import fastlin as fl
from fastlin import toys

CLASSIFIED = {
    "blobs": toys.blobs,
    "parity": toys.parity,
    "ring": toys.ring,
    "three_modes": toys.three_modes,
    "disk_in_ring": toys.disk_in_ring,
}


@pytest.mark.parametrize("name", CLASSIFIED)
def test_shape_and_seed(name):
    make = CLASSIFIED[name]
    X, y = make(301, seed=3)
    assert (X.shape, X.dtype, y.shape, y.dtype) == ((301, 2), np.float64, (301,), np.int64)
    assert np.isfinite(X).all()
    assert set(y) == set(range(3 if name == "blobs" else 2))
    again, other = make(301, seed=3), make(301, seed=4)
    assert np.array_equal(X, again[0])
    assert not np.array_equal(X, other[0])
    shares = np.bincount(y) / len(y)
    assert shares.max() < 0.6


def test_blobs_classes_lie_around_their_middles():
    X, y = toys.blobs(4000, classes=4, spread=0.1, seed=1)
    middles = np.array([X[y == label].mean(axis=0) for label in range(4)])
    assert middles == pytest.approx(np.array([[0, 2], [-2, 0], [0, -2], [2, 0]]), abs=0.02)
    assert X[y == 0].std(axis=0) == pytest.approx([0.1, 0.1], rel=0.1)


def test_parity_counts():
    X, y = toys.parity(50, pixels=7)
    assert X.shape == (50, 7)
    assert y.tolist() == [sum(1 for value in row if value > 0) % 2 for row in X]
    X, y = toys.parity(50)
    assert np.array_equal(y == 0, X[:, 0] * X[:, 1] > 0)  # the first and the third quadrant


def test_radii():
    X, y = toys.ring(5000)
    radius = np.hypot(*X.T)
    assert np.array_equal(y == 1, (radius >= 1) & (radius <= 2))
    assert (radius[y == 0] < 1).mean() == pytest.approx(1 / 6, abs=0.03)  # as the areas are
    X, y = toys.disk_in_ring(5000)
    radius = np.hypot(*X.T)
    assert radius[y == 0].max() <= 1
    assert radius[y == 1].min() >= 1.5
    assert radius.max() <= 2.5


def test_three_modes():
    X, y = toys.three_modes(5000)
    far = np.array([[np.hypot(*(row - mode)) for mode in toys.MODES] for row in X])
    assert far[y == 0].min() >= 1
    assert np.quantile(far[y == 1].min(axis=1), 0.99) < 1
    assert len(set(far[y == 1].argmin(axis=1))) == 3


def test_noisy_sine():
    X, y = toys.noisy_sine(4001, sigma=0.3, seed=2)
    noise = y - np.sin(np.pi * X[:, 0])
    assert (X.shape, X.min(), X.max()) == ((4001, 1), -1, 1)
    assert (noise.mean(), noise.std()) == pytest.approx((0, 0.3), abs=0.02)
    assert not np.any(toys.noisy_sine(5, sigma=0.0)[1] - np.sin(np.pi * np.linspace(-1, 1, 5)))


def test_houses():
    X, y = toys.houses(4000, sigma=7.0, seed=2)
    noise = y - toys.HOUSE_BASE - X @ toys.HOUSE_RATES
    assert (X.shape, X.dtype, y.shape, y.dtype) == ((4000, 4), np.float64, (4000,), np.float64)
    assert (noise.mean(), noise.std()) == pytest.approx((0, 7.0), abs=0.3)
    assert X.min(axis=0) == pytest.approx([50, 1, 0, 0], abs=0.1)
    assert X[:, [0, 2, 3]].max(axis=0) == pytest.approx([200, 80, 20], abs=0.1)
    assert np.array_equal(X[:, 1], np.round(X[:, 1]))
    assert (X[:, 1] - X[:, 0] / 30).std() == pytest.approx(1.0, abs=0.1)
    assert y.min() > 0  # no house costs less than nothing
    same, other = toys.houses(4000, sigma=0.0, seed=2), toys.houses(4000, seed=3)
    assert np.array_equal(same[0], X)
    assert not np.array_equal(other[0], X)


@pytest.mark.parametrize("surface", [toys.bowl, toys.saddle, lambda W: toys.bowl(W, 3.5)])
def test_surfaces_have_their_gradients(surface):
    assert fl.check_gradient(surface, np.array([0.7, -1.3]))
    value, gradient = surface(np.zeros(2))
    assert value == 0
    assert not gradient.any()


@pytest.mark.parametrize("place", [-3.0, 1.7, 2.0, 2.4, 5.0])
def test_the_dented_valley_has_its_gradient(place):
    assert fl.check_gradient(toys.dented, np.array([place]))


def test_the_dented_valley_has_two_minima():
    places = np.linspace(-4, 4, 801)
    slopes = np.array([toys.dented(np.array([w]))[1][0] for w in places])
    rising = places[1:][(slopes[:-1] < -1e-12) & (slopes[1:] >= -1e-12)]
    np.testing.assert_allclose(rising, [0, 1.93], atol=0.02)
    assert toys.dented(np.zeros(1))[0] < toys.dented(np.array([rising[1]]))[0]


def test_the_bowl_has_its_condition_number():
    H = np.array([toys.bowl(e, condition=35.0)[1] for e in np.eye(2)])  # the gradient is linear: H e
    assert np.linalg.cond(H) == pytest.approx(35.0)
    assert np.linalg.eigvalsh([toys.saddle(e)[1] for e in np.eye(2)]).tolist() == [-2, 2]


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: toys.ring(0), ValueError, "n must be an integer of at least 1; found 0"),
        (lambda: toys.parity(5, pixels=2.5), TypeError, "pixels must be an integer of at least 1; found 2.5"),
        (lambda: toys.blobs(spread=-1.0), ValueError, r"spread must be in \[0, 1e100\]; found -1.0"),
        (lambda: toys.noisy_sine(sigma="much"), TypeError, "sigma must be a number"),
        (lambda: toys.houses(sigma=-1.0), ValueError, r"sigma must be in \[0, 1e100\]; found -1.0"),
        (lambda: toys.three_modes(seed=-1), ValueError, "seed must be an integer of at least 0; found -1"),
        (lambda: toys.bowl(np.ones((2, 1))), ValueError, "W must have 1 dimensions"),
        (lambda: toys.dented(np.ones(2)), ValueError, r"W must be \(1,\) real numbers; found float64 \(2,\)"),
    ],
)
def test_bad_argument(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
