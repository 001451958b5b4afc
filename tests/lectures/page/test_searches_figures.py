"""Numbers behind the figures of the loss along a line, random weights and searches."""

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("skimage")
pytest.importorskip("matplotlib")
from fastlin.lectures import searches


def test_the_hinge_is_straight_between_its_kinks():
    line = searches.loss_along_a_line(2)
    gap = line.t[1] - line.t[0]
    bends = np.diff(line.hinge, 2) / gap  # by how much the slope changes
    near = np.array([abs(line.kinks - t).min() < gap for t in line.t[1:-1]])
    assert len(line.kinks) == 15
    assert abs(bends[~near]).max() < 1e-9
    assert bends[near].min() > 0
    assert (np.diff(line.softmax, 2) > 0).all()
    steps = [abs(np.diff(losses)).max() for losses in (line.hinge, line.softmax)]
    assert max(steps) < 0.1  # neither jumps


def test_many_kinks_look_smooth():
    few, all_ = (searches.loss_along_a_line(rows) for rows in (2, 1438))
    assert len(all_.kinks) > 5000
    bends = [np.diff(line.hinge, 2).max() for line in (few, all_)]
    assert bends[1] < bends[0] / 5


def test_random_weights_guess():
    found = searches.random_accuracies()
    assert found.mean() == pytest.approx(0.1, abs=0.005)
    assert found.max() < 0.35
    tries = np.array(searches.needed(found))
    assert tries[-1] > 1000
    factors = tries[1:] / tries[:-1]
    assert (np.diff(factors) > 0).all()  # each further 2.5 points cost a larger factor
    assert 100 * found.max() >= searches.LEVELS[-1]


def test_following_the_slope_wins_with_every_seed():
    blind, local, (early, late) = searches.searches().values()
    assert len(blind) == len(local) == 6
    for run in (*blind, *local):
        assert run.best == sorted(run.best, reverse=True)
        assert len(run.best) in (1000, 1001)  # the local search has its start besides
    accuracies = [[run.accuracy for run in runs] for runs in (blind, local)]
    assert 0.1 < min(accuracies[0]) < max(accuracies[0]) < min(accuracies[1])
    assert max(accuracies[1]) < early.accuracy < late.accuracy
    assert all(run.best[-1] > 8.9 for run in blind)
    assert all(7 < run.best[-1] < 7.5 for run in local)
    assert (len(early.best), len(late.best)) == (100, 1000)
    assert late.best[-1] < 0.11
    assert (np.diff(late.best) <= 0).mean() > 0.95


def test_the_row_of_a_search_agrees_with_the_figure():
    blind, local, (early, _) = searches.searches().values()
    assert searches.summary(blind) == "11.4 %, 16.6 %, 23.1 %"
    assert searches.summary(local) == "45.1 %, 56.5 %, 69.6 %"
    assert early.accuracy == pytest.approx(0.961, abs=0.0005)
