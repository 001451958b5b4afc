"""What the estimators share: reading X in place, weights, a fit in full batch or by steps, and scores."""

from __future__ import annotations

import copy
import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_matrix, issparse
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_n_features, _check_sample_weight, check_is_fitted, validate_data

from fastlin import _check, losses
from fastlin._check import Array
from fastlin._check.csr import features
from fastlin._csr import Csr
from fastlin._objective import order_beside
from fastlin._parts.predicted import gathered
from fastlin._parts.survey import Survey
from fastlin.estimators._callbacks import Tasks
from fastlin.estimators._display import FitDisplay
from fastlin.minimize import SOLVERS, without_warning
from fastlin.parts import Parts
from fastlin.train import TrainResult, train

SGD = "sgd"
PLAIN = 1e-6  # of a gradient, enough for predictions
BLOCK = 1 << 18  # entries of X that are looked at together
SMALL = 1 << 20  # multiplications for the scores: a pass over X takes less than a millisecond


class LinearModel(CallbackSupportMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A loss, and scores X @ W + b that minimise it; see a subclass for the parameters."""

    coef_: Array
    intercept_: Any
    loss_curve_: list[float]
    loss_: float
    solver_: Any
    n_iter_: int

    # ---- What a subclass says -------------------------------------------------------------------------------

    def _loss(self, columns: int) -> tuple[str, dict[str, Any]]:
        """The loss of the table for so many columns of W, and its hyper-parameters."""
        raise NotImplementedError

    def _check_parameters(self) -> None:
        """Those whose names are not the names of `minimize` and `train`."""
        _check.flag("fit_intercept", self.fit_intercept)
        _check.flag("warm_start", self.warm_start)
        _check.flag("early_stopping", self.early_stopping)
        _check.number("validation_fraction", self.validation_fraction, "(0, 1)")
        _check.choice("solver", self.solver, (*SOLVERS, SGD))
        if self.n_threads is not None:
            _check.count("n_threads", self.n_threads)

    # ---- Fits -------------------------------------------------------------------------------------------------

    def _start(self, X: Array | Csr, columns: int, warm: bool) -> Array:
        """The weights (d + 1, c), or (d, c) without an intercept, where a fit begins."""
        d, goes_on = X.shape[1], warm and hasattr(self, "coef_")
        single = self.solver == SGD and X.dtype in (np.float16, np.float32)
        dtype = self.coef_.dtype if goes_on and self.solver == SGD else np.float32 if single else np.float64
        W = np.zeros((d + self.fit_intercept, columns), dtype, order=order_beside(X))
        if goes_on:
            coef = np.atleast_2d(dense(self.coef_))
            if coef.shape != (columns, d):
                raise ValueError(
                    f"warm_start=True, but coef_ of the last fit has shape {np.shape(self.coef_)} and this fit needs "
                    f"({columns}, {d}): pass warm_start=False"
                )
            W[:d] = coef.T
            if self.fit_intercept:
                W[d] = self.intercept_
        return W

    def _tasks(self, X: Array | Csr, y: Array, sample_weight: Any) -> Tasks | None:
        """What this fit tells the callbacks, if there are any."""
        if not hasattr(self, "_skl_callbacks"):
            return None
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        count = self.epochs if self.solver == SGD else self.max_iter
        return Tasks(self, {"X": X, "y": y, "metadata": metadata}, count, lambda W: self._of_W(W, y))

    def _of_W(self, W: Array, y: Array) -> dict[str, Any]:
        """coef_ and intercept_."""
        d = self.n_features_in_
        intercept = W[d].copy() if self.fit_intercept else np.zeros(W.shape[1], W.dtype)
        return {"coef_": np.ascontiguousarray(W[:d].T), "intercept_": intercept}

    def _solve(
        self,
        X: Array | Csr | Parts,
        y: Any,
        weights: Array | None,
        columns: int,
        strata: Array | None,
        tasks: Tasks | None = None,
        seen: Survey | None = None,
    ) -> None:
        """Fit W and set all attributes that say how that went; y are labels in [0, c), or targets.

        seen : of Parts, which bring y and weights.
        """
        self._check_parameters()
        callback = None if tasks is None else lambda iteration, result: tasks.next(result.W)
        self.__dict__.pop("_optimizer", None)  # of another fit
        like: Any = X if seen is None else seen.X
        W = self._start(like, columns, self.warm_start)
        if self.solver == SGD:
            self._keep(self._train(X, y, weights, W, strata, callback), y if seen is None else seen.y)
            return
        name, hyper = self._loss(columns)
        entries = seen.entries if seen is not None else X.nnz if isinstance(X, Csr) else like.size
        tol = (1e-12 if entries * columns <= SMALL else PLAIN) if self.tol is None else self.tol
        result = without_warning(
            X,
            y,
            loss=name,
            solver=self.solver,
            reg=self.reg,
            max_iter=self.max_iter,
            tol=tol,
            bias=self.fit_intercept,
            W=W,
            sample_weight=weights,
            backend=self.backend,
            threads=self.n_threads,
            callback=callback,
            **hyper,
        )
        solved: Any = result.solved
        enough = PLAIN if self.tol is None else math.inf if tol == 0 else tol  # 0 asks for max_iter iterations
        if not (solved.converged or solved.stopped or solved.gradient <= enough):
            warnings.warn(solved.message, ConvergenceWarning, stacklevel=3)
        self._keep(result, y if seen is None else seen.y)

    def _train(
        self, X: Array | Csr | Parts, y: Any, weights: Array | None, W: Array, strata: Array | None, callback: Any
    ) -> TrainResult:
        """Mini-batch steps, with a share of the rows held out if `early_stopping`."""
        rng = check_random_state(self.random_state)
        validation = None
        if self.early_stopping:
            if isinstance(X, Parts):
                raise ValueError(
                    "early_stopping=True holds out rows of an array; of Parts hold some out yourself, and pass them to "
                    "fl.train(parts, validation=(X, y), patience=5)"
                )
            held = _held_out(len(X), self.validation_fraction, strata, rng)
            if weights is not None:
                held = held[weights[held] > 0]  # as if they were not there
            validation = X[held], y[held]
            weights = np.ones(len(X)) if weights is None else weights.copy()
            weights[held] = 0.0  # the other rows are not copied: rows of weight 0 teach nothing
            weights = relative(weights)
        self._optimizer = copy.deepcopy(self.optimizer)
        return self._steps(
            X,
            y,
            weights,
            W,
            epochs=self.epochs,
            seed=int(rng.randint(2**31 - 1)),
            validation=validation,
            patience=self.patience if self.early_stopping else None,
            average=self.average,
            callback=callback,
        )

    def _steps(self, X: Array | Csr | Parts, y: Any, weights: Array | None, W: Array, **how: Any) -> TrainResult:
        """`train` with the optimizer of this fit, which goes on where it stood."""
        name, hyper = self._loss(W.shape[1])
        if not isinstance(X, Parts) and X.dtype == np.float64 and W.dtype == np.float32:
            X = X.beside(W.dtype) if isinstance(X, Csr) else X.astype(np.float32)
        return train(
            X,
            y,
            loss=name,
            optimizer=self._optimizer,
            reg=self.reg,
            batch_size=self.batch_size,
            bias=self.fit_intercept,
            W=W,
            sample_weight=weights,
            backend=self.backend,
            threads=self.n_threads,
            **how,
            **hyper,
        )

    def _one_pass(self, X: Array | Csr, y: Array, weights: Array | None, columns: int) -> None:
        """`partial_fit`: one epoch over these rows, from where the weights and the optimizer stand."""
        self._check_parameters()
        if not hasattr(self, "_optimizer"):
            self._optimizer = copy.deepcopy(self.optimizer)
        passes = getattr(self, "_passes", 0)
        before: list[float] = list(getattr(self, "loss_curve_", []))
        W = self._start(X, columns, warm=True)
        rng = check_random_state(self.random_state)
        self._keep(self._steps(X, y, weights, W, epochs=1, seed=int(rng.randint(2**31 - 1)) + passes), y)
        self._passes, self.loss_curve_ = passes + 1, before + list(self.loss_curve_)
        self.n_iter_ = len(self.loss_curve_)

    def _keep(self, result: TrainResult, y: Array) -> None:
        """Set what a fit leaves."""
        W = result.W
        if not np.isfinite(W).all():
            raise ValueError(
                "the fit left the finite numbers: scale the columns of X, lower the optimizer's lr or raise reg"
            )
        for name, value in self._of_W(W, y).items():
            setattr(self, name, value)
        self.loss_curve_ = list(result.history["loss"])
        self.loss_ = self.loss_curve_[-1]
        self.solver_ = result.solved
        self.n_iter_ = max(1, len(self.loss_curve_) if result.solved is None else result.solved.n_iter)

    def plot(self, *, image_shape: tuple[int, ...] | None = None, ax: Any = None) -> FitDisplay:
        """Draw the loss over the fit, or with `image_shape` the rows of coef_ as images; needs `fastlin[plot]`.

        image_shape : (height, width), or (3, height, width) with red, green and blue.
        ax : matplotlib's axes for the loss; None makes a figure.
        Returns a display with .figure_ and .ax_, as scikit-learn's have.
        """
        check_is_fitted(self)
        coef = np.atleast_2d(dense(self.coef_))
        named = getattr(self, "classes_", range(len(coef)))
        names = [str(name) for name in (named if len(named) == len(coef) else named[-1:])]
        xlabel = "epoch" if self.solver_ is None else "iteration"
        display = FitDisplay(loss_curve=self.loss_curve_, xlabel=xlabel, coef=coef, names=names)
        return display.plot(image_shape=image_shape, ax=ax)

    # ---- Scores -----------------------------------------------------------------------------------------------

    def _scores(self, X: ArrayLike | Parts) -> Array:
        """X @ coef_.T + intercept_, (n, c)."""
        check_is_fitted(self)
        if isinstance(X, Parts):
            return gathered(X, self, "_scores")
        rows: Array | Csr = read(self, X, reset=False)
        coef = np.atleast_2d(dense(self.coef_))
        return scores(coef, self.intercept_, rows, self.backend, self.n_threads)

    # ---- Sparse data and sparse weights -----------------------------------------------------------------------

    def __sklearn_tags__(self) -> Any:
        """scikit-learn's description of what `fit` takes: sparse X too."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def sparsify(self) -> LinearModel:
        """Make coef_ a SciPy sparse matrix in CSR form, which an L1 penalty leaves small; predictions are the same.

        coef_ (d,) becomes (1, d). Fits, predictions and pickles go on as before, `partial_fit` makes coef_ dense again.
        Returns self. Raises sklearn.exceptions.NotFittedError before the first fit.
        """
        check_is_fitted(self)
        self.coef_ = csr_matrix(self.coef_)
        return self

    def densify(self) -> LinearModel:
        """Make coef_ an array again, after `sparsify`.

        Returns self. Raises sklearn.exceptions.NotFittedError before the first fit.
        """
        check_is_fitted(self)
        self.coef_ = dense(self.coef_)
        if np.ndim(self.intercept_) == 0:  # a regression of one target
            self.coef_ = self.coef_.reshape(-1)
        return self


def dense(coef: Any) -> Array:
    """coef_ as an array, after `sparsify` too."""
    found: Array = coef.toarray() if issparse(coef) else coef
    return found


def read(estimator: BaseEstimator, X: Any, **how: Any) -> Any:
    """X, or X and y, as scikit-learn checks them; sparse X of any form as rows of ours.

    X is not copied, but for floats wider than float64, which no kernel reads, and sparse X that is not in CSR form.
    """
    if isinstance(X, Csr):  # of a part, whose other properties have been looked at
        _check_n_features(estimator, X, reset=False)
        _refuse_not_finite(X.data[X.indptr[0] : X.indptr[-1], None])
        return X
    half = getattr(X, "dtype", None) == np.float16  # scikit-learn's check takes half of its memory
    found = validate_data(estimator, X, accept_sparse="csr", dtype="numeric", ensure_all_finite=not half, **how)
    X, *y = found if isinstance(found, tuple) else (found,)
    if half:
        _refuse_not_finite(X)
    if X.dtype.kind == "f" and X.dtype.itemsize > 8:
        X = X.astype(np.float64)
    X = features(X) if issparse(X) else X
    return (X, *y) if y else X


def _refuse_not_finite(X: Array) -> None:
    step = max(1, BLOCK // max(1, X.shape[1]))
    for first in range(0, X.shape[0] if X.dtype.kind == "f" else 0, step):
        if not np.isfinite(X[first : first + step]).all():
            raise ValueError("Input X contains NaN or infinity: drop those rows, or fill them in")


def scores(coef: Array, intercept: ArrayLike, X: Array | Csr, backend: str | None, threads: int | None) -> Array:
    """X @ coef.T + intercept, X read in place; float32 if both are."""
    c, d = coef.shape
    narrow = coef.dtype == np.float32 and X.dtype in (np.float16, np.float32)
    W = np.empty((d + 1, c), np.float32 if narrow else np.float64, order=order_beside(X))
    W[:d] = coef.T
    W[d] = intercept
    return losses.scores(W, X, bias=True, backend=backend, threads=threads)


def row_weights(sample_weight: ArrayLike | None, X: Array | Csr) -> Array | None:
    """sample_weight (n,) in float64, not negative and not all zero; None if there are none."""
    if sample_weight is None:
        return None
    weights: Array = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if not weights.any():
        raise ValueError("sample_weight is zero for every row: give at least one row a positive weight")
    return weights


def relative(weights: Array) -> Array:
    """Weights whose mean is 1, so that the mean loss over rows is the weighted mean."""
    found: Array = weights * (len(weights) / math.fsum(weights))
    return found


def _held_out(n: int, fraction: float, strata: Array | None, rng: Any) -> Array:
    """Rows to measure on, at least one; the same share of each class where there are classes."""
    order = rng.permutation(n)
    if strata is None:
        return np.sort(order[: max(1, round(fraction * n))])
    shares = [own[: round(fraction * len(own))] for own in (order[strata[order] == k] for k in np.unique(strata))]
    held = np.concatenate(shares)
    return np.sort(held) if len(held) else order[:1]
