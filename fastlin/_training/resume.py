"""The state of a training run, checked whole: what comes from a file or a caller may be anything.

Every part is compared with the run that is to go on: its kind, shape and dtype, and its range where it has one. Nothing
has been changed when a part is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastlin import _check
from fastlin._check import Array, states
from fastlin._optimizer import Optimizer

if TYPE_CHECKING:
    from fastlin._training.training import Training

FORMAT = "fastlin training state 2"
ARGUMENT = "argument."  # before the name of each argument that a resumed run must share
OPTIMIZER, HISTORY = "optimizer.", "history."


class Stored(NamedTuple):
    """A state that was checked, in arrays of its own."""

    epoch: int
    W: Array
    history: dict[str, list[float]]
    average_t: int
    average_mean: Array | None
    best_epoch: int
    best_score: float
    best_W: Array | None
    optimizer: dict[str, Any]


def read_state(given: Mapping[str, Any], run: Training) -> Stored:
    """The parts of a state of this run. Raises ValueError or TypeError, which names the part that cannot be."""
    state = Entries(given)
    state.expect_format(FORMAT, "a training state")
    check_arguments(state.part(ARGUMENT), run.arguments)
    epoch = state.count("epoch", _check.MOST_STEPS)
    shape, dtype = run.W.shape, run.W.dtype
    W = state.array("W", shape, dtype)
    history = {name: state.array(f"{HISTORY}{name}", (epoch,), np.float64).tolist() for name in run.columns() if epoch}
    steps, mean, best_W = 0, None, None
    if run.average is not None:
        expected = epoch * run.batches
        steps = state.count("average.t", _check.MOST_STEPS)
        if steps != expected:
            raise ValueError(f"resume: the state's average.t is {steps}; {epoch} epochs of this run have {expected}")
        mean = state.array("average.mean", shape, np.float64) if steps else None
    best_epoch, best_score = _best(history, run)
    if best_epoch:
        state.expect("best_epoch", best_epoch)
        state.expect("best_score", best_score)
        best_W = state.array("best_W", shape, dtype)
    optimizer = state.part(OPTIMIZER)
    state.refuse_others()
    if isinstance(run.optimizer, Optimizer):
        with_name(run.optimizer.check_state, optimizer, run.W)
    return Stored(
        epoch=epoch,
        W=W,
        history=history,
        average_t=steps,
        average_mean=mean,
        best_epoch=best_epoch,
        best_score=best_score,
        best_W=best_W,
        optimizer=optimizer,
    )


def with_name(function: Any, *arguments: Any) -> None:
    """A call about the optimizer's part; its errors say so."""
    try:
        function(*arguments)
    except (ValueError, TypeError) as error:
        raise type(error)(f"resume: the optimizer's part of the state: {error}") from error


class Entries:
    """A state, and which of its names have been asked for."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        if not isinstance(given, Mapping):
            raise TypeError(f"resume must be a state; found {type(given).__name__}")
        self.values = dict(given)
        self.asked: set[str] = {"format"}
        for name in self.values:
            if not isinstance(name, str):
                raise TypeError(f"resume: the names in a state are strings; found {_check.shown(name)}")

    def expect_format(self, expected: str, what: str) -> None:
        """The state says of itself that it is such a one."""
        found = states.scalar(self.values.get("format"))
        if not isinstance(found, str) or found != expected:
            raise ValueError(f"resume is not {what}: its format is {_check.shown(found)}, not {expected!r}")

    def get(self, name: str) -> Any:
        self.asked.add(name)
        if name not in self.values:
            raise ValueError(f"resume: the state has no {name!r}")
        return self.values[name]

    def part(self, prefix: str) -> dict[str, Any]:
        """All names that begin like this, without the beginning."""
        names = [name for name in self.values if name.startswith(prefix)]
        self.asked.update(names)
        return {name.removeprefix(prefix): self.values[name] for name in names}

    def count(self, name: str, most: int) -> int:
        return states.state_count(f"resume: the state's {name}", self.get(name), most)

    def number(self, name: str) -> float:
        value = states.scalar(self.get(name))
        if type(value) is not float:
            raise TypeError(f"resume: the state's {name} must be a float; found {_check.shown(value)}")
        return value

    def length(self, name: str, most: int) -> int:
        """Of an array, in its first dimension."""
        value = self.get(name)
        found = value.shape[0] if isinstance(value, np.ndarray) and value.ndim else -1
        if not 0 <= found <= most:
            raise ValueError(f"resume: the state's {name} must be at most {most} rows; found {_check.shown(value)}")
        return found

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """A copy. Kernels go by the shape of W, and would read and write outside of a smaller array."""
        value, named = self.get(name), f"resume: the state's {name}"
        if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray):
            raise TypeError(f"{named} must be an array; found {_check.shown(value)}")
        if value.shape != shape:
            raise ValueError(f"{named} has shape {value.shape}; that of this run is {shape}")
        if value.dtype.newbyteorder("=") != np.dtype(dtype):
            raise ValueError(f"{named} is {value.dtype}; that of this run is {np.dtype(dtype)}")
        return np.array(value, dtype, order="F")

    def expect(self, name: str, expected: float) -> None:
        """A number that follows from the history."""
        value = states.scalar(self.get(name))
        if type(value) is not type(expected) or value != expected:
            raise ValueError(f"resume: the state's {name} is {_check.shown(value)}; by its history it is {expected}")

    def refuse_others(self) -> None:
        others = [name for name in self.values if name not in self.asked]
        if others:
            raise ValueError(f"resume: the state has {_check.shown(others[0])}, which is no part of this run's state")


def _best(history: dict[str, list[float]], run: Training) -> tuple[int, float]:
    """The best epoch, counted from 1, and its score; 0 and inf where none is kept."""
    best_epoch, best_score = 0, math.inf
    if run.patience is not None and history:
        for epoch, score in enumerate(history["loss" if run.validation is None else "validation_loss"], 1):
            if score < best_score:  # false for NaN
                best_epoch, best_score = epoch, score
    return best_epoch, best_score


def check_arguments(before: dict[str, Any], now: dict[str, Any]) -> None:
    other = [name for name in before | now if not _same(before.get(name), now.get(name))]
    if other:
        found = "; ".join(f"{name}: {_words(before.get(name))} there, {_words(now.get(name))} here" for name in other)
        raise ValueError(
            f"resume: the state is of a run with other arguments. {found[:2000]}. Pass the same ones, or start a new "
            f"run from its weights with W=state['W']"
        )


def _same(before: Any, now: Any) -> bool:
    value = states.scalar(before)
    return isinstance(value, (int, float, str, type(None))) and bool(value == now)


def _words(value: Any) -> str:
    found = states.scalar(value)
    return found if isinstance(found, str) else _check.shown(found)
