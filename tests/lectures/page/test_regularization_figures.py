"""Numbers behind the figures of penalties, bias and variance."""

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("skimage")
pytest.importorskip("matplotlib")
from fastlin.lectures import regularization


def test_l1_makes_zeros_and_l2_does_not(monkeypatch):
    monkeypatch.setattr(regularization, "LAMBDAS", np.array([1e-3, 1e-2, 1e-1]))
    zeros, _, _ = regularization.penalty_path("L1")
    assert 0 < zeros[0] < zeros[1] < zeros[2] < 1
    assert not regularization.penalty_path("L2")[0].any()


def test_bias_falls_and_variance_rises_with_the_degree():
    bias, variance = np.array(
        [regularization.bias_and_variance(regularization.polynomial_fits(degree)) for degree in (1, 3, 10)]
    ).T
    assert bias[0] > 10 * bias[1] > 100 * bias[2]
    assert variance[0] < variance[1] < variance[2]
    # A line's squared bias: the best line through sin(pi x) is 3 x / pi, so the mean of its square is 1/2 - 3 / pi^2.
    assert bias[0] == pytest.approx(0.5 - 3 / np.pi**2, rel=0.1)
