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
from fastlin.estimators._base import read, scores
from fastlin.minimize import without_warning

UNSET = "deprecated"  # scikit-learn's default for an argument on its way out
L2 = (UNSET, "l2")


class LogisticRegression(linear_model.LogisticRegression):  # type: ignore[misc]  # scikit-learn has no types
    """scikit-learn's LogisticRegression, fitted by fastlin: the same words, attributes, errors and optimum.

    It minimises C * sum(w_i * loss_i) + sum(W^2) / 2, the intercept not penalised; loss_i is the logistic loss of two
    classes, or the cross-entropy of softmax of more. As scikit-learn's solvers do, it stops where no entry of the
    gradient of that, divided by C * sum(w_i), is above `tol`.

    Parameters
    ----------
    C, l1_ratio, tol, fit_intercept, class_weight, max_iter, warm_start, ... : as in sklearn.linear_model.
    solver : checked as there. "lbfgs", "newton-cg", "newton-cholesky", "sag" and "saga" name one optimum, and fastlin
        takes the solver of its own that it finds best for the data.

    Notes
    -----
    X of float64, float32, float16 and integers is read in place, and the fit is in float64 all the same. coef_ has the
    dtype that scikit-learn gives it: float32 for float32 X.

    scikit-learn's own fit is called for what fastlin's solvers do not say:

    * solver="liblinear", which penalises the intercept;
    * l1_ratio > 0 (penalty="l1" or "elasticnet");
    * sparse X;
    * max_iter=0, callbacks, and array API dispatch.

    >>> import fastlin as fl
    >>> model = fl.LogisticRegression(C=10.0).fit([[-2.0], [-1.0], [1.0], [2.0]], ["no", "no", "yes", "yes"])
    >>> model.predict([[3.0]]), model.coef_.shape
    (array(['yes'], dtype='<U3'), (1, 1))
    """

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> LogisticRegression:
        """Fit to X (n, d) and labels y (n,): see scikit-learn's."""
        if not self._is_ours(X):
            super().fit(X, y, sample_weight)
            return self
        self._validate_params()
        self._warn_of_old_words()
        X, y = read(self, X, y=y)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"This solver needs samples of at least 2 classes in the data, but the data contains only one class: "
                f"{self.classes_[0]!r}"
            )
        weights, total = self._weights(X, y, codes, sample_weight)
        C = math.inf if self.penalty is None else float(self.C)
        reg = 0.0 if math.isinf(C) else 1.0 / (2.0 * C * total)
        self._solve(X, codes, weights, reg)
        return self

    def decision_function(self, X: Any) -> Array:
        """The scores X @ coef_.T + intercept_: (n,) for two classes, above 0 for the second, else (n, c)."""
        if _dispatches() or hasattr(X, "toarray") or hasattr(getattr(self, "coef_", None), "toarray"):
            found: Array = super().decision_function(X)
            return found
        check_is_fitted(self)
        X = read(self, X, reset=False)
        S = scores(self.coef_, self.intercept_, X, None, None)
        return S[:, 0] if S.shape[1] == 1 else S

    def _is_ours(self, X: Any) -> bool:
        """Whether our solvers fit what is asked for; what scikit-learn refuses is left to it too."""
        ratio, old = self.l1_ratio, self.penalty
        l2 = isinstance(ratio, (int, float)) and ratio == 0 and (old is None or (isinstance(old, str) and old in L2))
        ignored = old is None and self.C != 1.0  # scikit-learn warns of it
        refused = self.solver == "liblinear" or self.dual or self.max_iter == 0
        elsewhere = hasattr(X, "toarray") or _dispatches() or hasattr(self, "_skl_callbacks")
        return l2 and not ignored and not refused and not elsewhere

    def _warn_of_old_words(self) -> None:
        """As scikit-learn warns."""
        if self.penalty != UNSET:
            warnings.warn(
                "'penalty' was deprecated in version 1.8 and will be removed in 1.10. To avoid this warning, leave "
                "'penalty' set to its default value and use C=np.inf instead of penalty=None.",
                FutureWarning,
                stacklevel=3,
            )
        if self.n_jobs is not None:
            warnings.warn(
                f"'n_jobs' has no effect since 1.8 and will be removed in 1.10. You provided 'n_jobs={self.n_jobs}', "
                f"please leave it unspecified.",
                FutureWarning,
                stacklevel=3,
            )

    def _weights(self, X: Array, y: Array, codes: Array, sample_weight: Any) -> tuple[Array | None, float]:
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

    def _solve(self, X: Array, codes: Array, weights: Array | None, reg: float) -> None:
        """Fit and set coef_, intercept_ and n_iter_."""
        binary = len(self.classes_) == 2
        result = without_warning(
            X,
            codes.astype(np.float64) if binary else codes,
            loss="logistic" if binary else "softmax",
            solver="auto",
            reg=reg,
            max_iter=int(self.max_iter),
            tol=float(self.tol),
            bias=self.fit_intercept,
            W=self._start(X.shape[1]),
            sample_weight=weights,
        )
        W, d = result.W, X.shape[1]
        if not binary:  # a summand common to all classes changes no probability: that of the shortest W is taken
            W = W - W.mean(axis=1, keepdims=True)
        dtype = np.float32 if X.dtype == np.float32 else np.float64
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

    def _start(self, d: int) -> Array:
        """The weights (d + 1, c), or (d, c) without an intercept, where the fit begins: those of the last, if warm."""
        c = 1 if len(self.classes_) == 2 else len(self.classes_)
        W = np.zeros((d + self.fit_intercept, c), order="F")
        coef = getattr(self, "coef_", None) if self.warm_start else None
        if coef is None:
            return W
        if coef.shape != (c, d):
            raise ValueError(
                f"warm_start=True, but coef_ of the last fit has shape {coef.shape} and this fit needs ({c}, {d}): "
                f"pass warm_start=False"
            )
        W[:d] = coef.toarray().T if hasattr(coef, "toarray") else coef.T
        if self.fit_intercept:
            W[d] = self.intercept_
        return W


def _dispatches() -> bool:
    """Whether scikit-learn takes arrays of other packages."""
    return bool(sklearn.get_config()["array_api_dispatch"])
