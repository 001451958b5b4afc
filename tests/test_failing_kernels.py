"""A kernel that raises leaves the optimizer and the weights of its step as they were."""

import numpy as np
import pytest

import fastlin as fl
from fastlin import _plan, _step, ops, testing

ERRORS = [MemoryError, RuntimeError, KeyboardInterrupt]


@pytest.fixture
def failing(monkeypatch):
    """Makes the n-th call of a kernel raise; whatever it is that compiles or allocates, it does so there."""
    caches = _step._compile, _step.route

    def fail(kind, error, nth):
        find, calls = getattr(ops, kind), []

        def found(*names):
            kernel = find(*names)

            def call(*given):
                calls.append(1)
                if len(calls) == nth:
                    raise error
                return kernel(*given)

            return kernel and call

        monkeypatch.setattr(ops, kind, found)
        for cached in caches:
            cached.cache_clear()

    yield fail
    monkeypatch.undo()
    for cached in caches:
        cached.cache_clear()


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("nth", [1, 2, 7])
def test_an_epoch_that_fails_leaves_the_optimizer(error, nth, compiled, failing, monkeypatch):
    monkeypatch.setattr(_plan, "CHUNK_FLOPS", 1)  # a kernel call for each of the 8 steps
    _plan.epoch_plan.cache_clear()
    case, used = testing.random_case(120, 5, 3), fl.Adam(0.05, beta1=0.8)
    given = {"X": case.X, "y": case.y, "backend": compiled, "epochs": 1, "batch_size": 16}
    fl.train(**given, optimizer=used)
    fresh = fl.Adam(0.05, beta1=0.8)
    for optimizer in (fresh, used):
        before = optimizer.state_dict()
        failing("epoch_kernel", error, nth)
        with pytest.raises(error):
            fl.train(**given, optimizer=optimizer)
        np.testing.assert_equal(optimizer.state_dict(), before)
    _plan.epoch_plan.cache_clear()


CALLS = [("squares_kernel", 1), ("kernel", 1), ("step_kernel", 1), ("step_kernel", 2)]  # the first may compile
FAILURES = [(error, *call) for error in ERRORS for call in CALLS]
FAILURES.remove((KeyboardInterrupt, "step_kernel", 2))  # Ctrl-C comes when this has returned: the step was taken
FAILURES += [(error, "step_preparation", 1) for error in ERRORS]


@pytest.mark.parametrize(("error", "kind", "nth"), FAILURES)
def test_a_step_that_fails_leaves_the_optimizer(error, kind, nth, compiled, failing):
    prepared = ops.step_preparation("adam_update", compiled) is not None
    if (kind, nth) == (("step_kernel", 2) if prepared else ("step_preparation", 1)):
        pytest.skip("the step is taken in another way")
    fresh, used = fl.Adam(clip_norm=1.0, prox=fl.L1(0.1)), fl.Adam(clip_norm=1.0, prox=fl.L1(0.1))
    used.step(np.ones((3, 2)), np.ones((3, 2)))
    for optimizer in (fresh, used):
        W, dW = np.ones((3, 2)), np.ones((3, 2))
        before, start = optimizer.state_dict(), W.copy()
        failing(kind, error, nth)
        with pytest.raises(error):
            optimizer.step(W, dW, bias=True, backend=compiled)
        np.testing.assert_equal(optimizer.state_dict(), before)
        np.testing.assert_array_equal(W, start)


def test_a_W_without_rows_has_no_b():
    optimizer, W = fl.Adam(prox=fl.L1(0.1)), np.array(3.0)
    with pytest.raises(ValueError, match=r"with bias=True the last row of W is b, but W has shape \(\)"):
        optimizer.step(W, np.array(1.0), bias=True)
    assert optimizer.t == 0
    assert W == 3
