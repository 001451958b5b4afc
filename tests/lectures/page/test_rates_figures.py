"""Numbers behind the figures of learning rates."""

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("skimage")
pytest.importorskip("matplotlib")
from fastlin.lectures import rates


def test_learning_rates_are_what_they_are_called():
    found = rates.rate_losses()
    assert [values[0] for values in found.values()] == [1, 1, 1, 1]
    assert (found["very high"][6:] > 30).all()  # out of the picture for good
    assert all((found[name][1:] > found["good"][1:]).all() for name in ("very high", "high", "low"))
    assert (np.diff(found["low"]) < 0).all()
    high, good = found["high"], found["good"]
    assert high[1] < 1
    assert (np.diff(high) > 0).mean() > 0.3
    assert high[-10:].min() > 1.3 * good[-1]
    assert np.ptp(good[-10:]) < 0.02 < 0.1 < np.ptp(high[-10:])
    assert good[-1] < found["low"][-1] < 1


def test_a_lowered_rate_beats_each_of_its_rates():
    found = rates.lowered()
    assert len(found) == 5
    first, *others = found.values()
    assert all(first[-1] < values[-1] / 10 for values in others)
    assert rates.times_closer(found) == pytest.approx(min(values[-1] for values in others) / first[-1])
    assert np.argmin([values[1] for values in others]) == 0  # the highest is ahead after an epoch
    assert [values[1] for values in others] == sorted(values[1] for values in others)
    assert all(values.min() > 0 for values in found.values())  # nothing is below the lowest possible loss
    roughness = [np.abs(np.diff(np.log(values[10:]))).mean() for values in others]
    assert roughness == sorted(roughness, reverse=True)


def test_each_schedule_has_its_time():
    found = {name: rates.excess(schedule) for name, schedule in rates.scheduled().items()}
    ahead = [min(found, key=lambda name, t=t: found[name][t]) for t in (20, 50, 100)]
    assert ahead == ["inverse sqrt", "step", "cosine"]
    assert sorted(found, key=lambda name: found[name][-1]) == ["cosine", "linear", "step", "inverse sqrt", "constant"]
    assert all(values[-1] < found["constant"][-1] / 10 for name, values in found.items() if name != "constant")


def test_warm_up_prevents_an_explosion():
    found = rates.warmed()
    assert found["at once"][0] == pytest.approx(22.4, abs=1)
    assert found["warmed up"][0] == pytest.approx(1.6, abs=0.1)
    assert found["warmed up"].max() < 4
    assert found["at once"][1] < np.log(10)  # it recovers in the next epoch


def test_a_rate_grown_with_the_batch_gives_the_same_curve():
    grown, left = (rates.spread(curves) for curves in zip(*rates.batch_losses().values(), strict=True))
    assert grown < 0.05
    assert left > 0.5
    small, large = rates.losses(0.3, epochs=2, batch_size=16), rates.losses(2.4, epochs=2, batch_size=128)
    assert rates.spread((small, large)) > 0.3  # the rule fails where the grown rate is too high
    assert large[2] > small[2]


def test_a_plain_number_has_no_exponent():
    assert [rates.plain(number) for number in (0.0548, 2.84e-5, 0.61)] == ["0.055", "0.000028", "0.61"]
