"""Numbers behind the figures of what is hard for gradient descent, which their captions say."""

import numpy as np
import pytest

from fastlin import toys

pytest.importorskip("sklearn")
pytest.importorskip("skimage")
pytest.importorskip("matplotlib")
from fastlin.lectures import difficulties, optimizers


def test_steps_over_the_condition_number():
    """In proportion to it, and with momentum about to its root."""
    for name, power in (("SGD", 1.0), ("momentum", 0.5)):
        few, many = (difficulties.steps_needed(name, number) for number in (50.0, 800.0))
        assert np.log(many / few) / np.log(16) == pytest.approx(power, abs=0.08)


def test_difficulties():
    found = difficulties.difficulties_values()
    dent, bowl, noise = (found[kind] for kind in ("a local minimum", "poor conditioning", "gradient noise"))
    assert dent["SGD"][-1] > 0.04
    assert dent["momentum"][-1] < 1e-6
    assert difficulties.left_after(found["a saddle point"]["SGD"]) is None
    assert difficulties.left_after(found["a saddle point"]["momentum"]) < 40
    assert bowl["momentum"][-1] < 0.01 * bowl["SGD"][-1]
    assert noise["momentum"][30] < 0.5 * noise["SGD"][30]
    assert noise["momentum"][-1] > noise["SGD"][-1]


def test_the_saddle():
    """On the ridge every rule stays; beside it and with noise every rule leaves, SGD last and adaptive rules first."""
    walks = difficulties.saddle_walks()
    left = {
        kind: {name: difficulties.left_after(optimizers.values(toys.saddle, walks[name][kind])) for name in walks}
        for kind in walks["SGD"]
    }
    assert set(left.pop("on the ridge").values()) == {None}
    for name in walks:
        assert not walks[name]["on the ridge"][:, 1].any()
        assert abs(walks[name]["on the ridge"][-1, 0]) < 0.1
    for counts in left.values():
        first = max(counts[name] for name in optimizers.ADAPTIVE)
        assert first < counts["Nesterov"] < counts["momentum"] < counts["SGD"]


def test_arrows():
    """Both steps start from the same x with the same velocity, and are velocity plus gradient."""
    plain, ahead = difficulties.arrows(nesterov=False), difficulties.arrows(nesterov=True)
    np.testing.assert_allclose(plain.x, ahead.x)
    np.testing.assert_allclose(plain.velocity, ahead.velocity)
    np.testing.assert_allclose(ahead.looked_at, ahead.x + ahead.velocity)
    for step in (plain, ahead):
        np.testing.assert_allclose(step.reached, step.x + step.velocity + step.gradient)
    assert plain.velocity[1] < 0 < ahead.gradient[1]  # past the floor it turns back
    assert abs(ahead.reached[1]) < 0.2 * abs(plain.reached[1])


def test_the_change_of_variables():
    xs, ahead, ours = difficulties.both_sequences()
    np.testing.assert_allclose(ours, ahead, atol=1e-12)
    assert abs(xs - ours).max() > 0.1
