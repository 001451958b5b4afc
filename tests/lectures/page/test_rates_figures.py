"""Numbers behind the figures of learning rates."""

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("skimage")
pytest.importorskip("matplotlib")
from fastlin.lectures import rates


def test_learning_rates_are_what_they_are_called():
    last = {name: values[-1] for name, values in rates.rate_losses().items()}
    assert last["good"] < last["high"] < last["low"] < 9 < last["very high"]
