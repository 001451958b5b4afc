"""Training for a number of steps, with the loss of each, and in the order of the rows."""

import numpy as np
import pytest

import fastlin as fl

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((50, 4)), RNG.integers(0, 3, 50)


class Own:
    """An optimizer that no kernel knows."""

    def step(self, W, dW):
        W -= 0.1 * dW


def by_hand(rows, reg):
    """The weights after a step of each of the batches, and the losses before them."""
    W, losses = np.zeros((5, 3)), []
    for batch in rows:
        loss, dW = fl.softmax_loss(W, X[batch], Y[batch], reg, bias=True, backend="naive")
        losses.append(loss)
        W -= 0.1 * dW
    return W, losses


@pytest.mark.parametrize("steps", [1, 3, 4, 9, 12])
@pytest.mark.parametrize("optimizer", [fl.SGD, Own], ids=["fused", "own"])
def test_so_many_steps_in_the_order_of_the_rows(steps, optimizer, backend):
    """Four batches of 16 rows, the last of 2."""
    order = [np.arange(50)[i % 4 * 16 : (i % 4 + 1) * 16] for i in range(steps)]
    expected, losses = by_hand(order, 0.1)
    optimizer = Own() if optimizer is Own else fl.SGD(0.1)
    found = fl.train(X, Y, steps=steps, batch_size=16, shuffle=False, reg=0.1, optimizer=optimizer, backend=backend)
    np.testing.assert_allclose(found.W, expected, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(found.history["step_loss"], losses, rtol=1e-10)
    assert len(found.history["loss"]) == -(-steps // 4)
    assert found.state is None


@pytest.mark.parametrize("how", [{}, {"reg": 0.1}, {"average": "polyak"}, {"shuffle": False}], ids=str)
def test_whole_epochs_are_the_same_by_steps(how, backend):
    epochs = fl.train(X, Y, epochs=3, batch_size=16, backend=backend, **how)
    steps = fl.train(X, Y, steps=12, batch_size=16, backend=backend, **how)
    assert epochs.W.tobytes() == steps.W.tobytes()
    np.testing.assert_allclose(steps.history["loss"], epochs.history["loss"], rtol=1e-13)
    rows = np.tile([16, 16, 16, 2], 3) * np.array(steps.history["step_loss"])
    np.testing.assert_allclose(rows.reshape(3, 4).sum(axis=1) / 50, epochs.history["loss"], rtol=1e-12)
    assert "step_loss" not in epochs.history


def test_steps_are_the_same_bits_for_any_threads(compiled):
    rows, y = RNG.standard_normal((2000, 300)), RNG.integers(0, 10, 2000)
    runs = [fl.train(rows, y, steps=9, batch_size=512, backend=compiled, threads=t) for t in (1, 2, 5)]
    for run in runs[1:]:
        assert run.W.tobytes() == runs[0].W.tobytes()
        assert run.history["step_loss"] == runs[0].history["step_loss"]


def test_ten_epochs_if_nothing_is_said():
    assert len(fl.train(X, Y).history["loss"]) == 10


def test_rows_in_their_order_are_another_run():
    state = fl.train(X, Y, epochs=1, batch_size=16, shuffle=False).state
    again = fl.train(X, Y, epochs=2, batch_size=16, shuffle=False, resume=state)
    assert again.W.tobytes() == fl.train(X, Y, epochs=2, batch_size=16, shuffle=False).W.tobytes()
    with pytest.raises(ValueError, match="resume: the state is of a run with other arguments"):
        fl.train(X, Y, epochs=2, batch_size=16, resume=state)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"steps": 0}, "steps must be an integer of at least 1; found 0"),
        ({"steps": 3, "epochs": 2}, "epochs and steps are both given; pass one of them"),
        ({"steps": 3, "checkpoint": "a.npz"}, "takes no checkpoint and no resume; pass epochs="),
        ({"steps": 3, "resume": {}}, "takes no checkpoint and no resume; pass epochs="),
        ({"shuffle": 1}, "shuffle must be True or False; found 1"),
    ],
)
def test_wrong_steps(how, message):
    with pytest.raises((ValueError, TypeError), match=message):
        fl.train(X, Y, **how)
