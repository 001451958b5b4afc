"""Numbers behind the figures of the paths of optimizers."""

import pytest

from fastlin import toys

pytest.importorskip("sklearn")
pytest.importorskip("skimage")
pytest.importorskip("matplotlib")
from fastlin.lectures import optimizers


def test_optimizers_on_the_bowl_and_the_saddle():
    ends, left = {}, {}
    for name, (on_bowl, on_saddle) in optimizers.OPTIMIZERS.items():
        ends[name] = toys.bowl(optimizers.walk(toys.bowl, on_bowl(), (-3.5, 1.0), 40)[-1])[0]
        places = optimizers.walk(toys.saddle, on_saddle(), (-1.5, 0.01), 60)
        left[name] = next(step for step, place in enumerate(places) if toys.saddle(place)[0] < -1)
    assert max(ends.values()) < 0.2
    assert ends["Nesterov"] < ends["momentum"] < ends["SGD"]
    assert max(left["AdaGrad"], left["RMSProp"], left["Adam"]) < left["momentum"] < left["SGD"]
