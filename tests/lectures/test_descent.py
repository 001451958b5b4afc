"""Rows of docs/lectures.md: the loss surface, what a mini-batch costs and gives, rates that are lowered or warmed up."""

import numpy as np
import pytest

import fastlin as fl


@pytest.fixture
def digits():
    return fl.load_digits()


def test_all_of_these_are_good_learning_rates(digits):
    """The stairs 3, 0.3, 0.03, 0.003 come ten times closer to the lowest loss than each of these rates alone."""
    reg, epochs, steps = 1e-3, 100, -(-len(digits.X) // 32)
    lowest = fl.minimize(digits.X, digits.y, reg=reg)
    stairs = fl.schedules.step(3.0)

    def excess(rate):
        optimizer = fl.SGD(rate)
        W = fl.train(digits.X, digits.y, epochs=epochs, batch_size=32, reg=reg, optimizer=optimizer).W
        losses = [fl.softmax_loss(V, digits.X, digits.y, reg, bias=True)[0] for V in (W, lowest.W)]
        return losses[0] - losses[1]

    rates = {stairs(epoch) for epoch in range(epochs)}
    assert len(rates) == 4
    assert 0 < excess(lambda t: stairs(t // steps)) < min(excess(rate) for rate in rates) / 10


def test_warmup_prevents_explosion(digits):
    """Batches of 32, 45 in an epoch: five epochs of warm-up."""
    how = {"epochs": 10, "batch_size": 32}
    at_once = fl.train(digits.X, digits.y, optimizer=fl.SGD(30.0), **how).history["loss"]
    warmed = fl.train(digits.X, digits.y, optimizer=fl.SGD(fl.schedules.warmup(30.0, 225)), **how).history["loss"]
    assert at_once[0] == pytest.approx(22.4, abs=1)
    assert warmed[0] == pytest.approx(1.6, abs=0.1)
    assert max(warmed) < max(at_once) / 5
