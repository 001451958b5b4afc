"""Numbers behind the figures of gradient checks, searches, mini-batches."""

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("skimage")
pytest.importorskip("matplotlib")
from fastlin.lectures import gradients


def test_only_the_mistake_fails_its_check():
    *right, wrong = gradients.checked_gradients()
    assert all(found for _, found in right)
    assert not wrong[1]
    assert wrong[1].max_error > 0.1


def test_following_the_slope_wins():
    random, local, slope = gradients.searches(tries=300).values()
    for found in (random, local, slope):
        assert len(found.best) == 300
        assert (found.looks[0], found.looks[-1]) == (1, 300)
        assert len(found.accuracy) == len(found.looks)
    assert slope.best[-1] < local.best[-1] < random.best[-1]
    assert slope.accuracy[-1] > local.accuracy[-1] > random.accuracy[-1] > 0.1
    for found in (random, local):
        assert found.best == sorted(found.best, reverse=True)


def test_the_loss_of_mini_batches_goes_down_and_jumps():
    found = gradients.mini_batch_losses()
    assert found[0] == pytest.approx(np.log(10))
    assert found[-20:].mean() < 0.5 < found[:20].mean()
    assert (np.diff(found) > 0).mean() > 0.3
