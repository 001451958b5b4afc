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
from fastlin._check import Array
from fastlin._check.states import ARGUMENT, HISTORY, Entries, check_arguments
from fastlin._optimizer import Optimizer

if TYPE_CHECKING:
    from fastlin._training.training import Training

FORMAT = "fastlin training state 2"
OPTIMIZER = "optimizer."  # before the names of its part


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


def _best(history: dict[str, list[float]], run: Training) -> tuple[int, float]:
    """The best epoch, counted from 1, and its score; 0 and inf where none is kept."""
    best_epoch, best_score = 0, math.inf
    if run.patience is not None and history:
        for epoch, score in enumerate(history["loss" if run.validation is None else "validation_loss"], 1):
            if score < best_score:  # false for NaN
                best_epoch, best_score = epoch, score
    return best_epoch, best_score
