"""Numbers behind the figures of slopes, numerical gradients and gradient checks."""

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("skimage")
pytest.importorskip("matplotlib")
from fastlin.lectures import gradients


def test_secants_turn_to_the_tangent():
    shown = gradients.one_slope()
    gaps = [float(row[3]) for row in shown.table[1:]]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 1e-4 < 0.5 < gaps[0]
    here, slope = gradients.loss_of_one_weight(gradients.AT)
    assert slope < 0  # a larger weight means a smaller loss
    assert gradients.loss_of_one_weight(gradients.AT + 0.1)[0] < here
    for h, _, quotient, gap in (map(float, row) for row in shown.table[1:]):
        there = gradients.loss_of_one_weight(gradients.AT + h)[0]
        assert quotient == pytest.approx((there - here) / h, abs=1e-6)
        assert gap == pytest.approx(abs(quotient - slope), abs=2e-6)
    assert f"{slope:.6f}" in shown.caption


def test_the_table_of_the_slides():
    _, *rows = gradients.slide_table().table
    assert [row[3] for row in rows] == ["-2.5", "0.6", "0.0", "0.2", "0.7", "-0.5", "1.1", "1.3", "-2.1"]
    assert [row[2] for row in rows[:3]] == ["1.25322", "1.25353", "1.25347"]  # as printed
    six = [row for row in rows if row[5] != "–"]
    assert [row[1] for row in six] == ["0.34", "-1.11", "0.78", "0.12", "0.55", "0.33"]
    assert [row[4] for row in six] == ["1.25322", "1.25353", "1.25347", "1.25247", "1.25387", "1.25346"]
    assert [row[5] for row in six] == ["-2.5", "0.6", "0.0", "-10.0", "4.0", "-0.1"]


def test_the_errors_of_differences_have_the_shape_of_a_v():
    forward, central = gradients.difference_errors()
    H = gradients.H
    right = (H >= 1e-4) & (H <= 1e-2)
    for errors, order in ((forward, 1), (central, 2)):
        assert np.polyfit(np.log(H[right]), np.log(errors[right]), 1)[0] == pytest.approx(order, abs=0.1)
        left = H <= 1e-9
        assert np.polyfit(np.log(H[left]), np.log(errors[left]), 1)[0] == pytest.approx(-1, abs=0.3)
    assert H[central.argmin()] > 10 * H[forward.argmin()]
    assert 100 < forward.min() / central.min() < 1000  # some hundred times


def test_the_cost_of_a_numerical_gradient():
    (_, analytic, quick), (_, forward, slow), (_, central, slower) = gradients.costs()
    assert (analytic, forward, central) == (1, 1001, 2000)
    assert min(slow, slower) > 100 * quick


def test_powers_are_written_out():
    assert gradients.power(3.2e-8) == "3·10⁻⁸"


def test_only_the_mistake_fails_its_check():
    *right, wrong = gradients.checked_gradients()
    assert all(found for _, found in right)
    assert all(found.max_error <= 1e-5 for _, found in right)
    assert not wrong[1]
    assert wrong[1].max_error > 0.1
