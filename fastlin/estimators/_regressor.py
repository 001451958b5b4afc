"""Regression by a linear function."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.callback import with_callbacks

from fastlin import _check
from fastlin._check import Array
from fastlin._csr import Csr
from fastlin._training.epoch import Steps
from fastlin.estimators._base import LinearModel, read, relative, row_weights
from fastlin.estimators._parts import look, r2, scaled
from fastlin.parts import Parts, are_parts
from fastlin.penalties import Penalty

LOSSES = ("squared_error", "huber", "absolute_error")


class LinearRegressor(MultiOutputMixin, RegressorMixin, LinearModel):  # type: ignore[misc]
    """Linear regression: minimises mean loss(X @ W + b, y) + reg * sum(W^2), or another penalty.

    Parameters
    ----------
    loss : "squared_error", (s - y)^2; "huber", which grows only linearly beyond `delta`; or "absolute_error". Summed
        over the columns of y.
    delta : of "huber", in the units of y.
    reg : lam of lam * sum(W^2), or a penalty such as fl.L1(1e-3). b is never penalised. With n rows and the squared
        error, reg = alpha / n has the optimum of scikit-learn's Ridge(alpha=alpha).
    fit_intercept, solver, tol, max_iter, warm_start, optimizer, epochs, batch_size, average, early_stopping,
    validation_fraction, patience, random_state, n_threads, backend : as in `SoftmaxClassifier`.

    Attributes
    ----------
    coef_ : (d,), or (k, d) for y (n, k).
    intercept_ : a float, or (k,).
    n_iter_, loss_curve_, loss_, solver_, n_features_in_, feature_names_in_ : as in `SoftmaxClassifier`.

    >>> import fastlin as fl
    >>> fl.LinearRegressor(reg=0.0).fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0]).predict([[10.0]]).round(6)
    array([21.])
    """

    def __init__(
        self,
        *,
        loss: str = "squared_error",
        delta: float = 1.0,
        reg: float | Penalty = 1e-3,
        fit_intercept: bool = True,
        solver: str = "auto",
        tol: float | None = None,
        max_iter: int | None = None,
        warm_start: bool = False,
        optimizer: Steps | None = None,
        epochs: int = 20,
        batch_size: int = 256,
        average: str | float | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 5,
        random_state: Any = None,
        n_threads: int | None = None,
        backend: str | None = None,
    ) -> None:
        self.loss = loss
        self.delta = delta
        self.reg = reg
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.optimizer = optimizer
        self.epochs = epochs
        self.batch_size = batch_size
        self.average = average
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.random_state = random_state
        self.n_threads = n_threads
        self.backend = backend

    @with_callbacks  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> LinearRegressor:
        """Fit to X (n, d) and numbers y (n,) or (n, k).

        Parameters
        ----------
        X : (n, d) float64, float32, float16 or integers, or a SciPy sparse matrix; see `SoftmaxClassifier.fit`. Or
            `fl.Parts`, which bring y and sample_weight.
        y : (n,), or (n, k) for k regressions at once.
        sample_weight : (n,) not negative; a row of weight 2 counts as two rows, one of weight 0 as none.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError : for bad input, naming the argument.

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning : the solver stopped before it reached `tol`.
        """
        if isinstance(X, Parts):
            are_parts(X, y, sample_weight)
            seen = look(self, X, labels=False)
            self._solve(scaled(seen, X), None, None, seen.y.shape[1] if seen.y.ndim == 2 else 1, None, seen=seen)
            return self
        X, y, weights = self._checked(X, y, sample_weight)
        tasks = self._tasks(X, y, sample_weight)
        self._solve(X, y, weights, y.shape[1] if y.ndim == 2 else 1, None, tasks)
        if tasks is not None:
            tasks.end()
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> LinearRegressor:
        """One epoch of mini-batch steps over these rows, by `optimizer`, from where the last call ended.

        X, y, sample_weight : as in `fit`; y has as many columns as in the first call. Returns self.
        Raises ValueError or TypeError for bad input, naming the argument.
        """
        X, y, weights = self._checked(X, y, sample_weight, reset=not hasattr(self, "coef_"))
        self._one_pass(X, y, weights, y.shape[1] if y.ndim == 2 else 1)
        return self

    def predict(self, X: ArrayLike | Parts) -> Array:
        """The values X @ coef_.T + intercept_: (n,), or (n, k)."""
        S = self._scores(X)
        return S[:, 0] if np.ndim(self.intercept_) == 0 else S

    def score(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """R^2 of the predictions, weighted, the mean over the columns of y; of `fl.Parts`, which bring y, too."""
        if are_parts(X, y, sample_weight):
            return r2(self, X)
        found: float = super().score(X, y, sample_weight=sample_weight)
        return found

    def _checked(
        self, X: Any, y: Any, sample_weight: ArrayLike | None, reset: bool = True
    ) -> tuple[Array | Csr, Array, Array | None]:
        """X, y as float64 and weights with mean 1."""
        X, y = read(self, X, y=y, multi_output=True, y_numeric=True, reset=reset)
        weights = row_weights(sample_weight, X)
        return X, y.astype(np.float64), None if weights is None else relative(weights)

    def _of_W(self, W: Array, y: Array) -> dict[str, Any]:
        """For y (n,) one regression, without an axis of columns."""
        found = super()._of_W(W, y)
        if y.ndim == 1:
            found = {"coef_": found["coef_"][0], "intercept_": float(found["intercept_"][0])}
        return found

    def _loss(self, columns: int) -> tuple[str, dict[str, Any]]:
        _check.choice("loss", self.loss, LOSSES)
        return self.loss, {"delta": self.delta} if self.loss == "huber" else {}
