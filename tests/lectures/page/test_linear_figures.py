"""Numbers behind the figures of a linear classifier and what it cannot separate."""

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("skimage")
pytest.importorskip("matplotlib")
from fastlin.lectures import linear


def test_scores_of_the_slide():
    """-96.8 and 437.9 as on the slide; its 61.95 for the ship lacks b = -1.2."""
    W, x, scores = linear.slide_scores()
    assert scores == pytest.approx([-96.8, 437.9, 61.95 - 1.2])
    assert scores == pytest.approx([sum(x * W[:4, j]) + W[4, j] for j in range(3)])


@pytest.mark.slow
@pytest.mark.parametrize("name", linear.HARD_CASES)
def test_hard_cases_before_and_after_features(name):
    *_, (before, after) = linear.hard_case(name)
    assert before < 0.6
    assert after > 0.95


def test_neighbours_beside_linear():
    training, test = linear.neighbours_accuracy(1)
    assert training == 1
    assert test > linear.digits_fit("svm").accuracy(*linear.digits()[2:]) > 0.95
