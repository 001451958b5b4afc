"""scikit-learn's LogisticRegression with our solvers underneath."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import sklearn
from numpy.typing import ArrayLike
from sklearn import linear_model
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from fastlin._check import Array
from fastlin._csr import Csr
from fastlin._objective import order_beside
from fastlin._parts.predicted import gathered
from fastlin._parts.survey import Survey
from fastlin.estimators._base import dense, read, scores
from fastlin.estimators._parts import accuracy, coded, look
from fastlin.minimize import without_warning
from fastlin.parts import Parts, are_parts
from fastlin.penalties import L1, ElasticNet, Penalty
from fastlin.sweep import penalty_of

SAGA_TOL = 1 / 3  # of `tol` with L1
UNSET = "deprecated"  # scikit-learn's default for an argument on its way out
PENALTIES = {
    UNSET: None,
    "elasticnet": None,
    None: 0.0,
    "l2": 0.0,
    "l1": 1.0,
}  # the share of L1; None: as l1_ratio says


class LogisticRegression(linear_model.LogisticRegression):  # type: ignore[misc]  # scikit-learn has no types
    """scikit-learn's LogisticRegression, fitted by fastlin: the same words, attributes, errors and optimum.

    It minimises C * sum(w_i * loss_i) + (1 - l1_ratio) * sum(W^2) / 2 + l1_ratio * sum(|W|), the intercept not
    penalised; loss_i is the logistic loss of two classes, or the cross-entropy of softmax of more. As scikit-learn's
    solvers do, it stops where no entry of the gradient of that, divided by C * sum(w_i), is above `tol`. With L1 it is
    the smallest subgradient, and a third of `tol`: saga looks at the change of coef_, and stops about as late.

    Parameters
    ----------
    C, l1_ratio, tol, fit_intercept, class_weight, max_iter, warm_start, ... : as in sklearn.linear_model.
    solver : checked as there: l1_ratio > 0 asks for "saga". "lbfgs", "newton-cg", "newton-cholesky", "sag" and "saga"
        name one optimum, and fastlin takes the solver of its own that it finds best for the data.

    Notes
    -----
    X of float64, float32, float16 and integers is read in place, and the fit is in float64 all the same. coef_ has the
    dtype that scikit-learn gives it: float32 for float32 X.

    scikit-learn's own fit is called for what fastlin's solvers do not say:

    * solver="liblinear", which penalises the intercept;
    * max_iter=0, callbacks, and array API dispatch.

    >>> import fastlin as fl
    >>> model = fl.LogisticRegression(C=10.0).fit([[-2.0], [-1.0], [1.0], [2.0]], ["no", "no", "yes", "yes"])
    >>> model.predict([[3.0]]), model.coef_.shape
    (array(['yes'], dtype='<U3'), (1, 1))
    """

    n_threads: int | None = None  # of scores; scikit-learn has no such parameter, and workers of a cluster set it

    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> LogisticRegression:
        """Fit to X (n, d) and labels y (n,): see scikit-learn's. Or to `fl.Parts`, which bring y and sample_weight."""
        if isinstance(X, Parts):
            return self._fit_parts(X, y, sample_weight)
        if not self._is_ours():
            super().fit(X, y, sample_weight)
            return self
        self._validate_params()
        self._warn_of_old_words()
        X, y = read(self, X, y=y)
        codes = self._encode(y)
        weights, total = self._weights(X, y, codes, sample_weight)
        self._solve(X, codes, weights, self._reg(total))
        return self

    def _encode(self, y: Array) -> Array:
        """The numbers of the classes, which become classes_."""
        if y.dtype.kind not in "biuU":  # these are classes, whatever they say: a tenth of a small fit
            check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"This solver needs samples of at least 2 classes in the data, but the data contains only one class: "
                f"{self.classes_[0]!r}"
            )
        return codes

    def _fit_parts(self, parts: Parts, y: Any, sample_weight: Any) -> LogisticRegression:
        are_parts(parts, y, sample_weight)
        if not self._is_ours():
            raise ValueError(f"{self!r} is fitted by scikit-learn, which takes no Parts: leave solver= out")
        self._validate_params()
        self._warn_of_old_words()
        seen = look(self, parts, labels=True)
        self.classes_, found, total = coded(seen, parts, self.class_weight, (0.0, 1.0))
        self._solve(found, None, None, self._reg(total), seen)
        return self

    def decision_function(self, X: Any) -> Array:
        """The scores X @ coef_.T + intercept_: (n,) for two classes, above 0 for the second, else (n, c)."""
        if dispatches():
            found: Array = super().decision_function(X)
            return found
        check_is_fitted(self)
        if isinstance(X, Parts):
            return gathered(X, self, "decision_function")
        X = read(self, X, reset=False)
        S = scores(dense(self.coef_), self.intercept_, X, None, self.n_threads)
        return S[:, 0] if S.shape[1] == 1 else S

    def score(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """The share of rows whose class is predicted, weighted; of `fl.Parts`, which bring y and sample_weight, too."""
        if isinstance(X, Parts):
            are_parts(X, y, sample_weight)
            return accuracy(self, X)
        found: float = super().score(X, y, sample_weight=sample_weight)
        return found

    def _is_ours(self) -> bool:
        """Whether our solvers fit what is asked for; what scikit-learn refuses is left to it too."""
        known = isinstance(self.l1_ratio, (int, float)) and 0 <= self.l1_ratio <= 1  # None is on its way out
        known = known and isinstance(self.penalty, (str, type(None))) and self.penalty in PENALTIES
        ignored = self.penalty is None and self.C != 1.0  # scikit-learn warns of it
        fits = "lbfgs newton-cg newton-cholesky sag saga" if not known or self._ratio() == 0 else "saga"
        refused = self.dual or self.max_iter == 0 or self.solver not in fits.split()
        elsewhere = dispatches() or hasattr(self, "_skl_callbacks")
        return known and not ignored and not refused and not elsewhere

    def _ratio(self) -> float:
        """The share of L1 in the penalty, said in either way."""
        said = PENALTIES[self.penalty]
        return float(self.l1_ratio) if said is None else said

    def _reg(self, total: float) -> float | Penalty:
        """The penalty beside a mean loss, of rows whose weights have this sum."""
        return 0.0 if self.penalty is None else penalty_of(float(self.C), self._ratio(), total)

    def _warn_of_old_words(self) -> None:
        """As scikit-learn warns."""
        if self.penalty != UNSET:
            warnings.warn(
                "'penalty' was deprecated in version 1.8 and will be removed in 1.10. To avoid this warning, leave "
                "'penalty' set to its default value and use C=np.inf instead of penalty=None.",
                FutureWarning,
                stacklevel=3,
            )
            if self.penalty in ("l1", "l2") and self._ratio() != self.l1_ratio:
                warnings.warn(
                    f"l1_ratio parameter is only used when penalty is 'elasticnet'. Got (penalty={self.penalty}). "
                    f"Inconsistent values: penalty={self.penalty} with l1_ratio={self.l1_ratio}. penalty is "
                    f"deprecated. Please use l1_ratio only.",
                    stacklevel=3,
                )
        if self.n_jobs is not None:
            warnings.warn(
                f"'n_jobs' has no effect since 1.8 and will be removed in 1.10. You provided 'n_jobs={self.n_jobs}', "
                f"please leave it unspecified.",
                FutureWarning,
                stacklevel=3,
            )

    def _weights(self, X: Array | Csr, y: Array, codes: Array, sample_weight: Any) -> tuple[Array | None, float]:
        """Weights of rows whose mean is 1, None if all are alike, and the sum of what was given."""
        if sample_weight is None and self.class_weight is None:
            return None, float(len(y))
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, copy=True)
        if self.class_weight is not None:
            of_class = compute_class_weight(self.class_weight, classes=self.classes_, y=y, sample_weight=weights)
            weights *= of_class[codes]
        total = math.fsum(weights)
        if not total > 0:
            raise ValueError(f"sample_weight, times class_weight, must have a positive sum; found {total}")
        return weights * (len(y) / total), total

    def _solve(
        self, X: Any, codes: Array | None, weights: Array | None, reg: float | Penalty, seen: Survey | None = None
    ) -> None:
        """Fit and set coef_, intercept_ and n_iter_; `seen` is of Parts, which bring codes and weights."""
        binary = len(self.classes_) == 2
        like: Any = X if seen is None else seen.X
        result = without_warning(
            X,
            codes if codes is None or not binary else codes.astype(np.float64),
            loss="logistic" if binary else "softmax",
            solver="auto",
            reg=reg,
            max_iter=int(self.max_iter),
            tol=float(self.tol) * (SAGA_TOL if isinstance(reg, (L1, ElasticNet)) else 1.0),
            bias=self.fit_intercept,
            W=self._start(like),
            sample_weight=weights,
        )
        W, d = result.W, like.shape[1]
        centre(W, d, reg)
        dtype = np.float32 if like.dtype == np.float32 else np.float64
        self.coef_ = np.ascontiguousarray(W[:d].T, dtype)
        self.intercept_ = np.zeros(W.shape[1], dtype) if not self.fit_intercept else W[d].astype(dtype)
        solved: Any = result.solved
        self.n_iter_ = np.array([max(1, solved.n_iter)], np.int32)
        if not solved.converged:
            warnings.warn(
                f"{self.solver} failed to converge after {solved.n_iter} iterations; fastlin's {solved.message}. "
                f"Increase the number of iterations. (max_iter={self.max_iter}) or scale the columns of X",
                ConvergenceWarning,
                stacklevel=3,
            )

    def _start(self, X: Array | Csr) -> Array:
        """The weights (d + 1, c), or (d, c) without an intercept, where the fit begins: those of the last, if warm."""
        d, c = X.shape[1], 1 if len(self.classes_) == 2 else len(self.classes_)
        W = np.zeros((d + self.fit_intercept, c), order=order_beside(X))
        coef = getattr(self, "coef_", None) if self.warm_start else None
        if coef is None:
            return W
        if coef.shape != (c, d):
            raise ValueError(
                f"warm_start=True, but coef_ of the last fit has shape {coef.shape} and this fit needs ({c}, {d}): "
                f"pass warm_start=False"
            )
        W[:d] = dense(coef).T
        if self.fit_intercept:
            W[d] = self.intercept_
        return W


def centre(W: Array, d: int, reg: float | Penalty) -> None:
    """Takes from W (d or d + 1, c) what is common to all classes: it changes no probability.

    Of columns with absolute values in their penalty it would: there the intercepts alone.
    """
    if W.shape[1] > 1:
        free = slice(d, None) if isinstance(reg, (L1, ElasticNet)) else slice(None)
        W[free] -= W[free].mean(axis=1, keepdims=True)


def dispatches() -> bool:
    """Whether scikit-learn takes arrays of other packages."""
    return bool(sklearn.get_config()["array_api_dispatch"])
