"""What solvers must remember to go on from where they stand: the checkpoints of `minimize`.

A solver at work has a frame, a few named arrays and numbers; one that lets another work, such as L-BFGS in a basis, has
its own beside the other's. All that follows from these and the data is computed anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastlin import _check
from fastlin._check.states import ARGUMENT, HISTORY, Entries, check_arguments
from fastlin._files import store
from fastlin._solvers.problem import Point

FORMAT = "fastlin solver state 2"
SHARE = 0.1  # of the time that a fit takes, which writing may take
Values = dict[str, Any]


class Memory:
    """The frames, and the losses so far.

    arguments : what a fit that goes on to the same bits must share.  path : of the checkpoint, or None.
    """

    def __init__(
        self, arguments: Values | None = None, path: Any = None, resume: Mapping[str, Any] | None = None
    ) -> None:
        self.losses: list[float] = []
        self.count: Callable[[], tuple[int, bool]] = lambda: (0, False)  # the passes over X so far; if in float32
        self._arguments, self._path = arguments or {}, path
        self._outer: dict[str, Callable[[], Values]] = {}
        self._frames: dict[str, Callable[[], Values]] = {}  # as they were at the last step
        self._state: Entries | None = None
        self._began, self._writing, self._written = time.perf_counter(), 0.0, True
        self._marks: tuple[int, bool, int] = 0, False, 0  # that and the number of losses at the last step
        self.counted = 0, False  # that, before this fit went on
        if resume is not None:
            self._state = Entries(resume)
            self._state.expect_format(FORMAT, "a checkpoint of minimize")
            check_arguments(self._state.part(ARGUMENT), self._arguments)
            self.counted = self._state.count("passes", _check.MOST_STEPS), bool(self._state.count("narrow", 1))
            name = f"{HISTORY}loss"
            n = self._state.length(name, _check.MOST_STEPS)
            self.losses = self._state.array(name, (n,), np.float64).tolist()
            if not n:
                raise ValueError("resume: the state's history.loss is empty; it has at least the loss of the start")

    @property
    def writes(self) -> bool:
        """Whether there is a checkpoint."""
        return self._path is not None

    @property
    def state(self) -> Entries | None:
        """Where a solver that begins finds its frame; None where it begins at the start."""
        return self._state

    def outer(self, name: str, values: Callable[[], Values]) -> None:
        """The frame of a solver that lets another work."""
        self._outer[name] = values

    def step(self, name: str, values: Callable[[], Values]) -> None:
        """The frame of the solver at work, after a step: the moment at which a checkpoint is written."""
        self._frames = {**self._outer, name: values}
        self.settle()
        self._marks, self._written = (*self.count(), len(self.losses)), False
        if self._writing <= SHARE * (time.perf_counter() - self._began):
            self._write()

    def settle(self) -> None:
        """All solvers stand where the state says: nothing of it is left, and what begins now begins at its start."""
        if self._state is not None:
            self._state.refuse_others()
            self._state = None

    def close(self) -> None:
        """Write what the last step has left, if that was not worth its time then."""
        if not self._written:
            self._write()

    def _write(self) -> None:
        if self._path is None:
            return
        began = time.perf_counter()
        passes, narrow, noted = self._marks
        state: Values = {
            "format": FORMAT,
            "passes": passes,
            "narrow": int(narrow),
            f"{HISTORY}loss": np.array(self.losses[:noted]),
        }
        state |= {f"{ARGUMENT}{name}": value for name, value in self._arguments.items()}
        for frame, values in self._frames.items():
            state |= {f"{frame}.{name}": value for name, value in values().items()}
        store.save(self._path, state)
        self._writing += time.perf_counter() - began
        self._written = True


# ---- Points as arrays ---------------------------------------------------------------------------------------------


def point_values(here: Point) -> Values:
    """A point in a frame."""
    return {"x": here.x, "gradient": here.gradient, "value": float(here.value), "steepest": float(here.steepest)}


def point_of(state: Entries, name: str, size: int) -> Point:
    """A point out of a frame."""
    x, gradient = (state.array(f"{name}.{part}", (size,), np.float64) for part in ("x", "gradient"))
    return Point(x, state.number(f"{name}.value"), gradient, state.number(f"{name}.steepest"))
