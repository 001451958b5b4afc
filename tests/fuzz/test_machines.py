"""Optimizers in any order of steps, saves, loads and mistakes: a mistake changes nothing, a copy goes on alike."""

import io

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import fastlin as fl
from fastlin import ops

from .harness import attempt
from .rows_files import CHANGED
from .rows_optim import OPTIMIZERS
from .specs import A, Builder

SHAPE = (4, 3)
BACKENDS = [name for name in ops.installed() if name != "numba"]
STRANGE = st.sampled_from(
    [None, 3, "abc", A((3, 4)), A(SHAPE, "float32"), A(SHAPE, "int64"), A(SHAPE, layout="masked"), [A(SHAPE)], A((12,))]
)
SCHEDULES = {
    "number": lambda: 0.1,
    "cosine": lambda: fl.schedules.cosine(0.1, 20),
    "plateau": lambda: fl.schedules.plateau(0.1, patience=1),
    "warm": lambda: fl.schedules.warmup(fl.schedules.plateau(0.1, patience=0), 3),
}


def stored(state):
    """The state as a file keeps it."""
    file = io.BytesIO()
    np.savez(file, **state)
    file.seek(0)
    with np.load(file) as found:
        return dict(found)


def described(optimizer):
    """All of its state, in bytes."""
    state = optimizer.state_dict()
    return repr(optimizer), {
        key: (np.asarray(value).dtype, np.asarray(value).tobytes()) for key, value in state.items()
    }


class Steps(RuleBasedStateMachine):
    """One optimizer and one W."""

    @initialize(
        name=st.sampled_from(OPTIMIZERS),
        schedule=st.sampled_from(sorted(SCHEDULES)),
        how=st.fixed_dictionaries(
            {}, optional={"clip_value": st.just(0.5), "clip_norm": st.just(1.0), "prox": st.just(fl.L1(0.1))}
        ),
        seed=st.integers(0, 9),
    )
    def begin(self, name, schedule, how, seed):
        self.make = lambda: getattr(fl.optim, name)(SCHEDULES[schedule](), **how)
        self.optimizer = self.make()
        self.W = np.random.default_rng(seed).standard_normal(SHAPE)

    def copy(self):
        """Another optimizer with this one's state, through a file."""
        found = self.make()
        found.load_state_dict(stored(self.optimizer.state_dict()))
        return found

    @rule(seed=st.integers(0, 9), order=st.sampled_from("CF"), bias=st.booleans(), backend=st.sampled_from(BACKENDS))
    def step(self, seed, order, bias, backend):
        """A copy of it, saved and loaded, takes the step to the same bits."""
        dW = np.asarray(np.random.default_rng(seed).standard_normal(SHAPE), order=order)
        other, there = self.copy(), self.W.copy()
        other.step(there, dW, bias=bias, backend=backend)
        self.optimizer.step(self.W, dW, bias=bias, backend=backend)
        assert described(other) == described(self.optimizer)
        assert there.tobytes() == self.W.tobytes()

    @rule(which=st.sampled_from(["W", "dW"]), strange=STRANGE)
    def mistaken_step(self, which, strange):
        """Refused, and nothing has changed."""
        before, W = described(self.optimizer), self.W.tobytes()
        arguments = {"W": self.W, "dW": np.ones(SHAPE)} | {which: Builder().value(strange)}
        self._refused(self.optimizer.step, arguments)
        assert (described(self.optimizer), self.W.tobytes()) == (before, W)

    @rule(
        how=st.sampled_from(
            [{"backend": "fortran"}, {"threads": 0}, {"threads": 1.5}, {"bias": 2}, {"bias": "yes"}, {"backend": 3}]
        )
    )
    def mistaken_words(self, how):
        """Refused, and nothing has changed."""
        before, W = described(self.optimizer), self.W.tobytes()
        self._refused(self.optimizer.step, {"W": self.W, "dW": np.ones(SHAPE)} | how)
        assert (described(self.optimizer), self.W.tobytes()) == (before, W)

    @rule(lr=st.sampled_from([-1.0, float("nan"), "abc", None, 10**400]))
    def mistaken_rate(self, lr):
        """Refused, and the rate is the one before."""
        before = described(self.optimizer)
        self._refused(lambda lr: setattr(self.optimizer, "lr", lr), {"lr": lr})
        assert described(self.optimizer) == before

    @rule(lr=st.sampled_from([0.0, 0.2, np.float32(0.5)]))
    def rate(self, lr):
        if not callable(self.optimizer.lr):
            self.optimizer.lr = lr
            make = self.make
            self.make = lambda: _with_rate(make(), lr)

    @rule(metric=st.sampled_from([1.0, 0.5, float("nan"), float("inf"), -1.0]))
    def report(self, metric):
        self.optimizer.report(metric)

    @rule(index=st.integers(0, 30), value=st.sampled_from(CHANGED))
    def mistaken_state(self, index, value):
        """Refused, and nothing has changed; or taken, and steps go on."""
        state = dict(self.optimizer.state_dict())
        key = sorted(state)[index % len(state)]
        state[key] = Builder().value(value)
        before, other = described(self.optimizer), self.copy()
        answer = attempt(self.optimizer.load_state_dict, {"state": state})
        if answer.error is not None:
            assert type(answer.error) in (ValueError, TypeError), answer.error
            assert key.removeprefix("schedule.") in str(answer.error) or "state" in str(answer.error), answer.error
            assert described(self.optimizer) == before, key
            return
        stepped = attempt(self.optimizer.step, {"W": self.W.copy(), "dW": np.ones(SHAPE)})
        assert stepped.error is None or type(stepped.error) in (ValueError, TypeError), stepped.error
        self.optimizer = other

    @rule()
    def lacking_state(self):
        """A state that lacks an entry is refused."""
        for key in self.optimizer.state_dict():
            state = {name: value for name, value in self.optimizer.state_dict().items() if name != key}
            before = described(self.optimizer)
            self._refused(self.optimizer.load_state_dict, {"state": state})
            assert described(self.optimizer) == before

    @invariant()
    def is_whole(self):
        """The numbers stay finite: the steps and gradients are small."""
        if hasattr(self, "W"):
            assert np.isfinite(self.W).all()

    def _refused(self, function, arguments):
        answer = attempt(function, arguments)
        assert type(answer.error) in (ValueError, TypeError), (arguments, answer)


def _with_rate(optimizer, lr):
    optimizer.lr = lr
    return optimizer


TestSteps = pytest.mark.slow(Steps.TestCase)
TestSteps.settings = settings(
    max_examples=40,
    stateful_step_count=15,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
