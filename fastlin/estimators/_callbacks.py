"""scikit-learn's callbacks: a task for the fit, and below it one for each iteration or epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastlin._check import Array


class Tasks:
    """The tasks of one fit of an estimator that has callbacks.

    count : iterations or epochs at most; None if the solver decides.
    fitted : the attributes with which a copy of the estimator predicts, of W.
    """

    def __init__(
        self, estimator: Any, data: dict[str, Any], count: int | None, fitted: Callable[[Array], dict[str, Any]]
    ) -> None:
        most = None if count is None else count + 1  # the last task is begun, and ends without work
        self._root = estimator._init_callback_context(max_subtasks=most)
        self._estimator, self._given, self._fitted = estimator, {"estimator": estimator} | data, fitted
        self._root.call_on_fit_task_begin(**self._given)
        self._begin()

    def _begin(self) -> None:
        self._task = self._root.subcontext(task_name="iteration").call_on_fit_task_begin(**self._given)

    def next(self, W: Array) -> bool:
        """An iteration has ended at W, and the next one begins; whether a callback asks to stop."""
        stop = self._task.call_on_fit_task_end(**self._given, reconstruction_attributes=lambda: self._fitted(W))
        self._begin()
        return bool(stop)

    def end(self) -> None:
        """The fit has ended, and the estimator is fitted."""
        self._task.call_on_fit_task_end(estimator=self._estimator)
        self._root.call_on_fit_task_end(**self._given, reconstruction_attributes=dict)
