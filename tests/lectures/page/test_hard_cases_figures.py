"""Numbers behind the figures of what no line separates."""

import itertools

import numpy as np
import pytest

import fastlin as fl
from fastlin import toys

pytest.importorskip("sklearn")
pytest.importorskip("skimage")
pytest.importorskip("matplotlib")
from fastlin.lectures import hard_cases

BEST = {"odd or even": 0.6785, "ring": 0.6045, "three modes": 0.655}  # 2000 points of seed 1


@pytest.mark.slow
@pytest.mark.parametrize("name", hard_cases.HARD_CASES)
def test_hard_cases_before_and_after_features(name):
    (_, trained), (line, best), (_, after) = hard_cases.hard_case(name)
    assert best == pytest.approx(BEST[name])
    assert abs(trained - 0.5) < 0.06
    assert after > 0.95
    X, y = hard_cases.HARD_CASES[name][0](hard_cases.UNSEEN, seed=1)
    assert (line(X) == y).mean() == best  # the line that is drawn has the share that is written


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("make", [toys.parity, toys.ring, toys.three_modes, toys.disk_in_ring])
def test_no_line_is_better_than_the_best(make, seed):
    """All lines through two of the points, to either side of each of them, get no more points right."""
    X, y = make(24, seed=seed)
    share, W = hard_cases.best_line(X, y)
    assert (fl.predict(W, X, bias=True) == y).mean() == share
    most = 0
    for one, other in itertools.combinations(range(len(X)), 2):
        normal = np.array([[0, -1], [1, 0]]) @ (X[other] - X[one])
        side = (X - X[one]) @ normal > 0
        for side[one], side[other] in itertools.product((False, True), repeat=2):
            agree = int((side == y).sum())
            most = max(most, agree, len(X) - agree)
    assert share == most / len(X)


def test_a_line_that_separates_is_found():
    X = np.random.default_rng(0).standard_normal((50, 2))
    y = (X @ [1.0, -2.0] > 0.3).astype(np.int64)
    for labels in (y, 1 - y, np.zeros_like(y), np.ones_like(y)):
        share, W = hard_cases.best_line(X, labels)
        assert share == 1
        np.testing.assert_array_equal(fl.predict(W, X, bias=True), labels)


def test_xor_has_three_right_and_four_with_the_product():
    y, ((line, share), (product, all_of_them)) = hard_cases.xor_fits()
    np.testing.assert_array_equal(y, [0, 1, 1, 0])  # the table of the slide, which calls it XNOR
    assert (share, all_of_them) == (0.75, 1.0)
    assert (line(hard_cases.CORNERS) == y).sum() == 3
    np.testing.assert_array_equal(product(hard_cases.CORNERS), y)
    assert [row[2:4] for row in hard_cases.xor().table[1:]] == [("0", "1"), ("1", "0"), ("1", "0"), ("0", "1")]


@pytest.mark.slow
def test_the_caption_says_the_shares_of_the_best_lines():
    assert "67.8 %, 60.5 % and 65.5 %" in hard_cases.hard_cases().caption
