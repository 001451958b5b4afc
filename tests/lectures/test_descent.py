"""Rows of docs/lectures.md: the loss surface, random W, estimated gradients, rates that fall or are warmed up."""

import numpy as np
import pytest

import fastlin as fl


@pytest.fixture
def digits():
    return fl.load_digits()


def test_loss_surface():
    """Small changes of W change the losses little; along a line the hinge is straight between kinks, softmax smooth."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((5, 4)), np.array([0, 1, 2, 0, 1])
    W, V = rng.standard_normal((2, 4, 3))
    for loss in (fl.svm_loss, fl.softmax_loss):
        changes = [abs(loss(W + size * V, X, y)[0] - loss(W, X, y)[0]) for size in (1e-2, 1e-4, 1e-6)]
        assert changes[0] < 0.1
        assert changes[1] == pytest.approx(changes[0] / 100, rel=0.05)
        assert changes[2] == pytest.approx(changes[1] / 100, rel=0.05)
    (here, there), right = (X @ W, X @ V), (np.arange(5), y)
    margins, slopes = (S - S[right][:, None] for S in (here, there))
    wrong = np.arange(3) != y[:, None]
    kinks = -(margins[wrong] + 1) / slopes[wrong]
    t = np.linspace(-3, 3, 601)
    hinge, softmax = (np.array([loss(W + s * V, X, y)[0] for s in t]) for loss in (fl.svm_loss, fl.softmax_loss))
    near = np.array([abs(kinks - s).min() < 0.01 for s in t[1:-1]])
    assert 0 < near.sum() < 30
    assert abs(np.diff(hinge, 2)[~near]).max() < 1e-12
    assert np.diff(hinge, 2).max() > 1e-4
    assert 0 < np.diff(softmax, 2).min() < np.diff(softmax, 2).max() < 1e-3


def test_accuracy_for_computation():
    """The standard error of a mini-batch's gradient is that of one row, divided by the root of the batch size."""
    rng = np.random.default_rng(0)
    W, X, y = rng.standard_normal((5, 3)), rng.standard_normal((60, 5)), np.arange(60) % 3
    whole = fl.softmax_loss(W, X, y)[1]

    def error(batches):
        return np.sqrt(np.mean([((fl.softmax_loss(W, X[i], y[i])[1] - whole) ** 2).sum() for i in batches]))

    one = error(np.arange(60)[:, None])
    for size in (4, 16, 64, 256):
        assert error(rng.integers(60, size=(400, size))) == pytest.approx(one / np.sqrt(size), rel=0.1)


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
