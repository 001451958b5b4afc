"""LogisticRegressionCV: the strength of the penalty chosen on folds, which are weights instead of copies of X."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn import linear_model
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import get_scorer, make_scorer
from sklearn.model_selection import check_cv
from sklearn.utils.metadata_routing import _raise_for_params, _routing_enabled, process_routing
from sklearn.utils.validation import _check_method_params

from fastlin._check import Array
from fastlin.estimators._base import read
from fastlin.estimators._logistic import UNSET, LogisticRegression, centre, dispatches
from fastlin.parts import Parts
from fastlin.sweep import Data, Path, Setting, numbers, penalty_of
from fastlin.train import TrainResult

WARN = "warn"  # scikit-learn's default for an argument whose default changes
CHANGES = {
    "l1_ratios": "The default value for l1_ratios will change from None to (0.0,) in version 1.10 of scikit-learn: to "
    "avoid this warning, pass l1_ratios=(0,)",
    "scoring": "The default value of the parameter 'scoring' will change from None, i.e. accuracy, to 'neg_log_loss' "
    "in version 1.11 of scikit-learn: to avoid this warning, pass scoring='neg_log_loss' or 'accuracy'",
    "use_legacy_attributes": "The default value of use_legacy_attributes will change from True to False in version "
    "1.10 of scikit-learn: to avoid this warning, pass one of them",
}


class LogisticRegressionCV(LogisticRegression, linear_model.LogisticRegressionCV):  # type: ignore[misc]
    """scikit-learn's LogisticRegressionCV, fitted by fastlin: the same words, attributes, errors and choice.

    For each fold, value of `l1_ratios` and of `Cs` it minimises what `LogisticRegression` does over the rows of the
    fold, from strong to weak penalties, each fit from where the two before it lead. The best mean score over the folds
    wins, and is fitted again to all rows (`refit=True`).

    Parameters
    ----------
    Cs, l1_ratios, cv, scoring, refit, use_legacy_attributes, tol, ... : as in sklearn.linear_model.
    solver : as in `LogisticRegression`.
    n_jobs : not used: each fit has all threads.

    Attributes
    ----------
    Cs_, C_, l1_ratios_, l1_ratio_, scores_, coefs_paths_, coef_, intercept_, classes_, n_iter_ : as in
        sklearn.linear_model, of the shapes that `use_legacy_attributes` says.

    Notes
    -----
    X of float64, float32, float16 and integers is read in place: rows that a fold leaves out have weight 0, and only
    those that are scored are copied. scikit-learn's own fit is called for what `LogisticRegression` leaves to it, and
    for the argument `penalty`, which is on its way out.

    >>> import fastlin as fl
    >>> X, y = [[-2.0], [-1.0], [1.0], [2.0]], ["no", "no", "yes", "yes"]
    >>> words = {"l1_ratios": (0,), "scoring": "neg_log_loss", "use_legacy_attributes": False}
    >>> fl.LogisticRegressionCV(Cs=[0.01, 1.0], cv=2, **words).fit(X, y).C_
    1.0
    """

    if TYPE_CHECKING:  # scikit-learn's own constructor: no type can be read off its defaults

        def __init__(
            self,
            *,
            Cs: int | ArrayLike = 10,
            l1_ratios: ArrayLike | str | None = "warn",
            fit_intercept: bool = True,
            cv: Any = None,
            dual: bool = False,
            penalty: str = "deprecated",
            scoring: Any = "warn",
            solver: str = "lbfgs",
            tol: float = 1e-4,
            max_iter: int = 100,
            class_weight: Any = None,
            n_jobs: int | None = None,
            verbose: int = 0,
            refit: bool = True,
            intercept_scaling: float = 1.0,
            random_state: Any = None,
            use_legacy_attributes: bool | str = "warn",
        ) -> None: ...

    C_: Any
    l1_ratio_: Any
    scores_: Any
    coefs_paths_: Any

    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None, **params: Any) -> LogisticRegressionCV:
        """Fit to X (n, d) and labels y (n,): see scikit-learn's."""
        if isinstance(X, Parts):
            raise TypeError("LogisticRegressionCV has folds, and takes no Parts: see fl.sweep(parts, validation=...)")
        if hasattr(X, "toarray") or not self._is_ours():  # sparse X too
            linear_model.LogisticRegressionCV.fit(self, X, y, sample_weight, **params)
            return self
        self._validate_params()
        _raise_for_params(params, self, "fit")
        self._warn_of_old_words()
        settings = self._settings()
        X, y = read(self, X, y=y)
        codes = self._encode(y)
        given = {"sample_weight": sample_weight} if sample_weight is not None else {}
        if _routing_enabled():
            routed = process_routing(self, "fit", sample_weight=sample_weight, **params)
            of_split, of_score = routed.splitter.split, routed.scorer.score
        else:
            of_split, of_score = {}, given
        weights, total = self._weights(X, y, codes, sample_weight)
        data = self._data(X, codes, np.ones(len(y)) if weights is None else weights * (total / len(y)))
        folds = list(check_cv(self.cv, y, classifier=True).split(X, y, **of_split))
        models = [self._of_fold(data, settings, train) for train, _ in folds]
        scores = [
            [[self._score(model, X[test], y[test], test, X, of_score, given) for model in row] for row in of_fold]
            for of_fold, (_, test) in zip(models, folds, strict=True)
        ]
        self._choose(data, models, np.array(scores))
        return self

    def score(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None, **params: Any) -> float:
        """What `scoring` says of the predictions: see scikit-learn's."""
        if isinstance(X, Parts):
            raise TypeError("LogisticRegressionCV scores by `scoring`, all rows at once, and takes no Parts")
        found: float = linear_model.LogisticRegressionCV.score(self, X, y, sample_weight=sample_weight, **params)
        return found

    # ---- What is asked for ------------------------------------------------------------------------------------

    def _is_ours(self) -> bool:
        """Whether our solvers fit what is asked for; what scikit-learn refuses is left to it too."""
        try:
            ratios = self._ratios()
        except (TypeError, ValueError):
            return False
        ours = bool(ratios) and all(0 <= ratio <= 1 for ratio in ratios) and self.penalty == UNSET
        fits = "lbfgs newton-cg newton-cholesky sag saga" if ours and not any(ratios) else "saga"
        refused = self.dual or self.max_iter == 0 or self.solver not in fits.split()
        elsewhere = dispatches() or hasattr(self, "_skl_callbacks")
        return ours and not refused and not elsewhere

    def _ratios(self) -> list[float]:
        """The shares of L1."""
        unset = self.l1_ratios is None or isinstance(self.l1_ratios, str)
        return [0.0] if unset else [float(ratio) for ratio in self.l1_ratios]

    def _warn_of_old_words(self) -> None:
        """As scikit-learn warns."""
        for name, change in CHANGES.items():
            if isinstance(getattr(self, name), str) and getattr(self, name) == WARN:
                warnings.warn(change, FutureWarning, stacklevel=3)
        if self.l1_ratios is None:
            warnings.warn(
                "'l1_ratios=None' was deprecated in version 1.8 and will trigger an error in 1.10. Use an array-like "
                "with values in [0, 1] instead.",
                FutureWarning,
                stacklevel=3,
            )

    # ---- Fits and scores --------------------------------------------------------------------------------------

    def _data(self, X: Array, codes: Array, weights: Array) -> Data:
        binary = len(self.classes_) == 2
        words = {"loss": "logistic" if binary else "softmax", "bias": self.fit_intercept}
        words |= {"tol": float(self.tol), "max_iter": int(self.max_iter)}
        words |= {} if binary else {"classes": len(self.classes_)}
        return Data(X, codes.astype(np.float64) if binary else codes, weights, "auto", words)

    def _settings(self) -> list[Setting]:
        self.Cs_ = np.logspace(-4, 4, self.Cs) if np.ndim(self.Cs) == 0 else np.asarray(self.Cs)
        return [Setting(C) for C in numbers("Cs", self.Cs_, "(0, inf]")]

    def _of_fold(self, data: Data, settings: list[Setting], train: Array) -> list[list[TrainResult]]:
        """The fits of each share of L1 and each C."""
        counts = np.bincount(np.arange(len(data.y))[train], minlength=len(data.y))
        found = []
        for ratio in self._ratios():
            path = Path(data._replace(l1_ratio=ratio), data.sample_weight * counts)
            found.append(path.path(settings))
            for setting, result in zip(settings, found[-1], strict=True):
                centre(result.W, self.n_features_in_, penalty_of(setting.C, ratio, path.total))
        return found

    def _score(
        self, result: TrainResult, X: Array, y: Array, test: Array, every: Array, of_score: Any, given: Any
    ) -> float:
        """Of one fit on the rows that are left out."""
        model = LogisticRegression(solver=self.solver)
        model.classes_, model.n_features_in_ = self.classes_, X.shape[1]
        model.coef_, model.intercept_ = self._as_attributes(result.W)
        if self.scoring is None or self.scoring == WARN:
            return float(model.score(X, y, **_check_method_params(every, given, indices=test)))
        scorer = get_scorer(self.scoring)
        known = signature(scorer._score_func).parameters if hasattr(scorer, "_score_func") else {}
        if "labels" in known:  # rows of some class may be missing
            positive = {"pos_label": self.classes_[-1]} if len(self.classes_) == 2 and "pos_label" in known else {}
            scorer = make_scorer(
                scorer._score_func,
                greater_is_better=scorer._sign == 1,
                response_method=scorer._response_method,
                labels=self.classes_,
                **positive,
                **getattr(scorer, "_kwargs", {}),
            )
        return float(scorer(model, X, y, **_check_method_params(every, of_score, indices=test)))

    def _as_attributes(self, W: Array) -> tuple[Array, Array]:
        """coef_ and intercept_."""
        d = len(W) - self.fit_intercept
        return np.ascontiguousarray(W[:d].T), W[d].copy() if self.fit_intercept else np.zeros(W.shape[1])

    # ---- The choice -------------------------------------------------------------------------------------------

    def _choose(self, data: Data, models: list[list[list[TrainResult]]], scores: Array) -> None:
        """Set the attributes; scores are (folds, shares of L1, Cs)."""
        ratios = self._ratios()
        paths = np.array([[[result.W.T for result in row] for row in fold] for fold in models])
        solved: list[Any] = [[[result.solved for result in row] for row in fold] for fold in models]
        self.n_iter_ = np.array([[[max(1, each.n_iter) for each in row] for row in fold] for fold in solved], np.int32)
        if self.refit:
            total = scores.sum(axis=0).T  # of equals the first C
            C, ratio = (int(i) for i in np.unravel_index(np.argmax(total), total.shape))
            self.C_, self.l1_ratio_ = float(self.Cs_[C]), ratios[ratio]
            path = Path(data._replace(l1_ratio=self.l1_ratio_), data.sample_weight)
            result = path.fit(Setting(self.C_), paths[:, ratio, C].mean(axis=0).T)
            centre(result.W, self.n_features_in_, penalty_of(self.C_, self.l1_ratio_, path.total))
            solved, W = [*solved, [[result.solved]]], result.W
        else:
            by_C = scores.swapaxes(1, 2).reshape(len(scores), -1)
            C, ratio = np.unravel_index(np.argmax(by_C, axis=1), (len(self.Cs_), len(ratios)))
            self.C_, self.l1_ratio_ = float(self.Cs_[C].mean()), float(np.array(ratios)[ratio].mean())
            W = paths[np.arange(len(scores)), ratio, C].mean(axis=0).T
        self.coef_, self.intercept_ = self._as_attributes(W)
        self.scores_, self.coefs_paths_ = scores, paths
        self.l1_ratios_ = np.asarray([None] if isinstance(self.l1_ratios, str | None) else self.l1_ratios)
        self._warn(solved)
        if self.use_legacy_attributes:
            self._to_legacy()

    def _to_legacy(self) -> None:
        """The attributes as they were before version 1.10 of scikit-learn."""
        unset = isinstance(self.l1_ratios, str | None)
        which: Any = 0 if unset else slice(None)
        columns = self.coef_.shape[0]
        named = self.classes_[1:] if columns == 1 else self.classes_
        scores = self.scores_.swapaxes(1, 2)[:, :, which]
        paths = self.coefs_paths_.swapaxes(1, 2)[:, :, which]
        self.scores_ = dict.fromkeys(named, scores)
        self.coefs_paths_ = {name: paths[..., k, :] for k, name in enumerate(named)}
        self.n_iter_ = self.n_iter_.swapaxes(1, 2)[None, :, :, which]
        self.C_ = np.full(columns, self.C_)
        self.l1_ratio_ = np.full(columns, None if unset and self.refit else self.l1_ratio_)

    def _warn(self, solved: Sequence[Any]) -> None:
        """Says once how many fits did not converge."""
        fits = [fit for fold in solved for row in fold for fit in row]
        if failed := [fit for fit in fits if not fit.converged]:
            warnings.warn(
                f"{self.solver} failed to converge in {len(failed)} of {len(fits)} fits; fastlin's "
                f"{failed[-1].message}. Increase the number of iterations. (max_iter={self.max_iter}) or scale the "
                f"columns of X",
                ConvergenceWarning,
                stacklevel=4,
            )
