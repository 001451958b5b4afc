"""Toy data of the lectures: classes that lines can or cannot separate, regressions, and surfaces for optimizers.

Data sets are drawn from a seed and come as X (n, d) float64 and y (n,), int64 labels or float64 values; imported as

>>> from fastlin import toys
>>> X, y = toys.ring(100, seed=1)
>>> X.shape, sorted(set(y.tolist()))
((100, 2), [0, 1])

Surfaces are functions of W, (2,) or for `dented` (1,), that return (value, gradient), as a loss does:
`fl.check_gradient` and every optimizer take them as they are.
"""

from __future__ import annotations

import math

import numpy as np

from fastlin import _check
from fastlin._check import Array

Data = tuple[Array, Array]

HOUSE_BASE = 100.0  # what `houses` cost before anything counts, in thousands
HOUSE_RATES = np.array([2.0, 15.0, -0.8, -5.0])  # and what a square metre, a room, a year and a kilometre add
MODES = np.array([[-1.8, -1.2], [1.9, -0.9], [0.0, 1.8]])  # the middles of `three_modes`


def blobs(n: int = 300, *, classes: int = 3, spread: float = 0.6, seed: int = 0) -> Data:
    """`classes` round clouds of standard deviation `spread`, their middles evenly spaced on a circle of radius 2.

    X (n, 2), y in [0, classes). Lines can separate them, as in the lectures' geometric viewpoint.
    """
    rng, n = _start(n, seed)
    y = np.arange(n) % _check.count("classes", classes, high=1 << 31)
    angle = 2 * np.pi * y / classes + np.pi / 2
    middle = 2.0 * np.column_stack([np.cos(angle), np.sin(angle)])
    return middle + _check.number("spread", spread, "[0, 1e100]") * rng.standard_normal((n, 2)), y


def parity(n: int = 400, *, pixels: int = 2, seed: int = 0) -> Data:
    """y is 1 where the number of pixels above 0 is odd; the pixels are uniform in [-1, 1).

    X (n, pixels), y in {0, 1}. A hard case (lecture "Linear Classification", and as XOR in "Loss Functions"): with two
    pixels, class 0 is the first and the third quadrant.
    """
    rng, n = _start(n, seed)
    X = rng.uniform(-1.0, 1.0, (n, _check.count("pixels", pixels, high=1 << 31)))
    return X, (X > 0).sum(axis=1) % 2


def ring(n: int = 400, *, seed: int = 0) -> Data:
    """y is 1 where 1 <= |x| <= 2, and 0 inside and outside of that ring.

    X (n, 2) in the disk of radius 3, y in {0, 1}, about half of each. A hard case.
    """
    rng, n = _start(n, seed)
    y = np.arange(n) % 2
    share = rng.uniform(0.0, 1.0, n)
    rest = 6.0 * share  # squares of radii, so that the points are even over the area: [0, 1) and [4, 9)
    rest += np.where(rest < 1.0, 0.0, 3.0)
    return _around(rng, np.sqrt(np.where(y == 1, 1.0 + 3.0 * share, rest))), y


def three_modes(n: int = 400, *, seed: int = 0) -> Data:
    """y is 1 in three round clouds and 0 everywhere else. X (n, 2), y in {0, 1}, about half of each. A hard case."""
    rng, n = _start(n, seed)
    y = np.arange(n) % 2
    inside = MODES[rng.integers(0, len(MODES), n)] + 0.3 * rng.standard_normal((n, 2))
    return np.where(y[:, None] == 1, inside, _away_from_modes(rng, n)), y


def _away_from_modes(rng: np.random.Generator, n: int) -> Array:
    """Points of the square [-3, 3) x [-3, 3) that are at least 1 from every mode."""
    found = np.empty((0, 2))
    while len(found) < n:
        points = rng.uniform(-3.0, 3.0, (2 * n, 2))
        nearest = np.linalg.norm(points[:, None] - MODES, axis=2).min(axis=1)
        found = np.concatenate([found, points[nearest >= 1.0]])
    return found[:n]


def disk_in_ring(n: int = 400, *, seed: int = 0) -> Data:
    """y is 0 in the disk |x| <= 1 and 1 in the ring 1.5 <= |x| <= 2.5.

    X (n, 2), y in {0, 1}. No line separates them; in polar coordinates one does (lecture "Image Features: Motivation").
    """
    rng, n = _start(n, seed)
    y = np.arange(n) % 2
    share = rng.uniform(0.0, 1.0, n)
    return _around(rng, np.sqrt(np.where(y == 1, 2.25 + 4.0 * share, share))), y


def noisy_sine(n: int = 20, *, sigma: float = 0.1, seed: int = 0) -> Data:
    """y = sin(pi x) + noise of standard deviation sigma, at n places x evenly spaced in [-1, 1].

    X (n, 1), y (n,) float64: a regression, for the bias and variance of polynomials (lecture "Bias Variance Tradeoff").
    """
    rng, n = _start(n, seed)
    X = np.linspace(-1.0, 1.0, n)[:, None]
    return X, np.sin(np.pi * X[:, 0]) + _check.number("sigma", sigma, "[0, 1e100]") * rng.standard_normal(n)


def houses(n: int = 200, *, sigma: float = 20.0, seed: int = 0) -> Data:
    """Houses and their prices: y = HOUSE_BASE + X @ HOUSE_RATES + noise of standard deviation sigma, in thousands.

    X (n, 4), y (n,) float64: a regression (lecture "Linear Classification, Loss functions": "house price prediction").
    The columns are the area in square metres, uniform in [50, 200); the rooms, about one for each 30 square metres; the
    age in years, uniform in [0, 80); and the distance to the centre in kilometres, uniform in [0, 20).
    """
    rng, n = _start(n, seed)
    area = rng.uniform(50.0, 200.0, n)
    rooms = np.maximum(1.0, np.round(area / 30 + rng.standard_normal(n)))
    X = np.column_stack([area, rooms, rng.uniform(0.0, 80.0, n), rng.uniform(0.0, 20.0, n)])
    noise = _check.number("sigma", sigma, "[0, 1e100]") * rng.standard_normal(n)
    return X, HOUSE_BASE + X @ HOUSE_RATES + noise


def bowl(W: Array, condition: float = 20.0) -> tuple[float, Array]:
    """(w0^2 + condition * w1^2) / 2 and its gradient (w0, condition * w1), for W (2,).

    `condition` is the condition number of its Hessian: steep along w1, shallow along w0 (lecture "Regularization and
    Optimization": "very slow progress along shallow dimension, jitter along steep direction").

    >>> bowl(np.array([2.0, 1.0]), condition=10.0)
    (7.0, array([ 2., 10.]))
    """
    w0, w1 = _real(W)
    condition = _check.number("condition", condition, "(-inf, inf)")
    return float(w0 * w0 + condition * w1 * w1) / 2, np.array([w0, condition * w1])


def saddle(W: Array) -> tuple[float, Array]:
    """w0^2 - w1^2 and its gradient (2 w0, -2 w1), for W (2,): the lectures' saddle, with gradient 0 at the origin.

    >>> saddle(np.array([2.0, 1.0]))
    (3.0, array([ 4., -2.]))
    """
    w0, w1 = _real(W)
    return float(w0 * w0 - w1 * w1), np.array([2 * w0, -2 * w1])


def dented(W: Array) -> tuple[float, Array]:
    """0.05 w^2 - 0.15 exp(-8 (w - 2)^2) and its gradient, for W (1,): a valley with a dent in its side.

    The minimum is at 0, and the dent has a local minimum near 2, in which gradient descent from the right gets stuck
    (lecture "Regularization and Optimization": "What if the loss function has a local minima or saddle point?").

    >>> value, gradient = dented(np.array([2.0]))
    >>> round(value, 6), gradient
    (0.05, array([0.2]))
    """
    w = float(_real(W, 1)[0])
    dent = 0.15 * math.exp(-8.0 * (w - 2.0) * (w - 2.0))
    return 0.05 * w * w - dent, np.array([0.1 * w + 16.0 * (w - 2.0) * dent])


def _real(W: Array, size: int = 2) -> Array:
    """W (size,) of real numbers."""
    found = _check.array("W", W, 1)
    if found.shape != (size,) or found.dtype.kind not in "iubf":
        raise ValueError(f"W must be ({size},) real numbers; found {found.dtype} {found.shape}")
    return found


def _start(n: int, seed: int) -> tuple[np.random.Generator, int]:
    return np.random.default_rng(_check.count("seed", seed, 0)), _check.count("n", n, high=1 << 40)


def _around(rng: np.random.Generator, radius: Array) -> Array:
    """Points at these distances from the origin, in any direction."""
    angle = rng.uniform(0.0, 2 * np.pi, len(radius))
    return np.asarray(radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)]))
