"""Numbers behind the figures of descent, noise and progress."""

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("skimage")
pytest.importorskip("matplotlib")
from fastlin.lectures import descent


def test_the_gradient_stands_on_its_contour():
    lowest = descent.loss_of_two(descent.bottom())[0]
    points_at_it = 0
    for angle in np.arange(0, 2 * np.pi, np.pi / 6):
        w, beside = descent.on_contour(angle), descent.on_contour(angle + 1e-4)
        assert descent.loss_of_two(w)[0] == pytest.approx(lowest + descent.LEVEL, abs=1e-9)
        down = -descent.loss_of_two(w)[1]
        down /= np.linalg.norm(down)
        along = (beside - w) / np.linalg.norm(beside - w)
        assert abs(down @ along) < 1e-3
        home = (descent.bottom() - w) / np.linalg.norm(descent.bottom() - w)
        points_at_it += down @ home > np.cos(np.pi / 18)
    assert points_at_it < 6  # of twelve: few


def test_descent_goes_down_in_shorter_and_shorter_steps():
    walked = descent.path(descent.ROWS)
    losses = np.array([descent.loss_of_two(w)[0] for w in walked])
    lengths = np.linalg.norm(np.diff(walked, axis=0), axis=1)
    assert (np.diff(losses) < 0).all()
    assert (np.diff(lengths) < 0).all()
    assert losses[-1] - descent.loss_of_two(descent.bottom())[0] < 0.002


def test_mini_batches_go_the_same_way_and_do_not_settle():
    full = descent.path(descent.ROWS)
    start, end = full[0], descent.bottom()
    for seed in (0, 1):
        walked = descent.path(descent.FEW, seed)
        assert abs(walked - full).max() > 0.2
        assert np.linalg.norm(walked[-10:] - end, axis=1).max() < np.linalg.norm(start - end) / 3
        assert np.linalg.norm(np.diff(walked[-10:], axis=0), axis=1).mean() > 0.1
    assert np.linalg.norm(np.diff(full[-10:], axis=0), axis=1).mean() < 0.05


def test_the_error_of_a_batch_falls_as_one_over_its_root():
    one, errors = descent.batch_errors()
    np.testing.assert_allclose(errors, one / np.sqrt(descent.BATCHES), rtol=0.15)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.15)


def test_the_loss_of_mini_batches_goes_down_and_jumps():
    found = descent.mini_batch_losses()
    means = found.reshape(descent.EPOCHS, -1).mean(axis=1)
    assert found[0] == pytest.approx(np.log(10))
    assert (np.diff(means) < 0).all()
    assert found[-20:].mean() < 0.5 < found[:20].mean()
    assert (np.diff(found) > 0).mean() > 0.3
    assert descent.full_batch_loss() > 5 * means[-1]
