"""Numbers behind the figures of curvature, which their captions say."""

import numpy as np
import pytest

import fastlin as fl

pytest.importorskip("sklearn")
pytest.importorskip("skimage")
pytest.importorskip("matplotlib")
from fastlin.lectures import optimizers, second_order


def value(w):
    return second_order.curve(np.array([w]))[0]


def test_newton_near_and_far():
    assert fl.check_gradient(second_order.curve, np.array([0.4]))
    w0 = second_order.NEWTON_NEAR
    touched, slope, curvature = second_order.touching(w0)
    left = [abs(value(w0 + h) - (touched + slope * h + curvature * h * h / 2)) for h in (0.2, 0.1)]
    assert left[0] / left[1] == pytest.approx(8, rel=0.2)
    near, far = (
        fl.newton_step(second_order.curve, np.array([w]))[0]
        for w in (second_order.NEWTON_NEAR, second_order.NEWTON_FAR)
    )
    assert near == pytest.approx(w0 - slope / curvature)
    lowest = min(value(w) for w in np.linspace(-3, 3, 601))
    assert value(near) < lowest + 0.02
    assert value(far) > value(second_order.NEWTON_FAR)
    np.testing.assert_allclose(fl.newton_step(optimizers.valley, np.array(optimizers.BOWL_START)), 0, atol=1e-9)


def test_memory_of_the_hessian():
    sizes = [second_order.in_bytes(n * n) for n in second_order.SIZES.values()]
    assert sizes == ["3.38 MB", "7.55 GB", "5 PB", "80 PB"]
    assert second_order.in_bytes(2) == "16 bytes"
    X = fl.load_digits().X
    assert list(second_order.SIZES.values())[:2] == [(X.shape[1] + 1) * 10, (32 * 32 * 3 + 1) * 10]


def test_saddles_in_many_dimensions():
    shares = [second_order.signs(n, 100) for n in (1, 2, 3, 6)]
    assert shares[0][1] == shares[-1][0] == 0
    assert [saddles for _, saddles in shares] == sorted(saddles for _, saddles in shares)
    assert shares[1][1] == pytest.approx(np.sqrt(0.5), abs=0.08)  # the share that random matrix theory gives
    assert shares[2][1] > 0.85
    assert shares[3][1] == 1


def test_lbfgs_wants_full_batches():
    """On all rows it is ahead of momentum and Adam; on mini-batches it gives up or stays far off, momentum does not."""
    lowest = second_order.quasi_newton()[1][-1]
    for name in second_order.FULL_RATES:
        assert second_order.full_batch(name)[1][1][-1] > lowest + 1e-3
    passes, noisy = second_order.quasi_newton(second_order.BATCH)
    assert passes[-1] < second_order.PASSES / 2
    far = min(noisy[-1], second_order.batch_by_batch()[1][-20:].min())
    assert far > lowest + 0.1
    assert second_order.mini_batches()[1][-1] < lowest + 0.01
