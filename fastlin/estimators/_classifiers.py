"""Classifiers: labels of any type, weights of classes and rows, probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin
from sklearn.callback import with_callbacks
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from fastlin import _check
from fastlin._check import Array
from fastlin._training.epoch import Steps
from fastlin.estimators._base import LinearModel, read, relative, row_weights
from fastlin.estimators._parts import accuracy, coded, look
from fastlin.parts import Parts, are_parts
from fastlin.penalties import Penalty

VARIANTS = {  # of SVMClassifier, by (variant, squared)
    ("weston_watkins", False): "svm",
    ("weston_watkins", True): "squared_svm",
    ("crammer_singer", False): "crammer_singer_svm",
    ("one_vs_rest", False): "one_vs_rest_svm",
    ("one_vs_rest", True): "squared_one_vs_rest_svm",
}


class LinearClassifier(ClassifierMixin, LinearModel):  # type: ignore[misc]
    """Labels to columns of W and back. Two classes have one column, the score of the second."""

    @with_callbacks  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> LinearClassifier:
        """Fit to X (n, d) and labels y (n,) of any type.

        Parameters
        ----------
        X : (n, d) float64, float32, float16 or integers, or a SciPy sparse matrix. An array and CSR form are read in
            place, float32 beside float64 weights too; other sparse forms are turned into CSR once. Or `fl.Parts`,
            which bring y and sample_weight.
        y : (n,) labels: numbers or strings.
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
            return self._fit_parts(X, y, sample_weight)
        X, y = read(self, X, y=y)
        check_classification_targets(y)
        weights = row_weights(sample_weight, X)
        counted = slice(None) if weights is None else weights > 0
        classes, of_counted = np.unique(y[counted], return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"y has rows of one class only, {classes[0]!r}; pass rows of at least two classes")
        codes = np.zeros(len(y), np.intp)
        codes[counted] = of_counted
        weights = self._with_class_weight(weights, codes, classes)
        self.classes_ = classes
        tasks = self._tasks(X, y, sample_weight)
        self._solve(X, self._targets(codes, len(classes)), weights, _columns(classes), codes, tasks)
        self._center()
        if tasks is not None:
            tasks.end()
        return self

    def _fit_parts(self, parts: Parts, y: Any, sample_weight: Any) -> LinearClassifier:
        are_parts(parts, y, sample_weight)
        seen = look(self, parts, labels=True)
        low, high = self._targets(np.array([0, 1]), 2)
        classes, found, _ = coded(seen, parts, self.class_weight, (float(low), float(high)))
        self.classes_ = classes
        self._solve(found, None, None, _columns(classes), None, seen=seen)
        self._center()
        return self

    def partial_fit(
        self,
        X: Any,
        y: Any,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> LinearClassifier:
        """One epoch of mini-batch steps over these rows, by `optimizer`, from where the last call ended.

        Parameters
        ----------
        X, y, sample_weight : as in `fit`.
        classes : all labels that any call will have; needed in the first call.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError : for bad input, naming the argument.
        """
        first = not hasattr(self, "classes_")
        if first and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit: all labels that will come")
        X, y = read(self, X, y=y, reset=first)
        check_classification_targets(y)
        named = self.classes_ if classes is None else np.unique(np.asarray(classes))
        if not first and not np.array_equal(named, self.classes_):
            raise ValueError(f"classes={named!r} are not those of the first call to partial_fit, {self.classes_!r}")
        if len(named) < 2:
            raise ValueError(f"classes has one class only, {named!r}; pass at least two")
        if unknown := set(np.unique(y).tolist()) - set(named.tolist()):
            raise ValueError(f"y has the labels {sorted(unknown)!r}, which are not in classes={named!r}")
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight={self.class_weight!r} needs all rows at once, partial_fit sees some: pass a dict, such "
                f"as that of sklearn.utils.class_weight.compute_class_weight"
            )
        codes = np.searchsorted(named, y)
        weights = self._with_class_weight(row_weights(sample_weight, X), codes, named)
        self.classes_ = named
        self._one_pass(X, self._targets(codes, len(named)), weights, _columns(named))
        return self

    def _with_class_weight(self, weights: Array | None, codes: Array, classes: Array) -> Array | None:
        """Weights of rows times those of their classes, with mean 1."""
        if self.class_weight is None:
            return None if weights is None else relative(weights)
        own = np.ones(len(codes)) if weights is None else weights
        labels = classes[codes]
        if self.class_weight == "balanced":  # as scikit-learn's, by the weights of the rows of each class
            totals = np.bincount(codes, own, len(classes))
            of_class = own.sum() / (len(classes) * totals)
        else:
            of_class = compute_class_weight(self.class_weight, classes=classes, y=labels)
        found = own * of_class[codes]
        if not found.any():
            raise ValueError(f"class_weight={self.class_weight!r} leaves every row the weight zero")
        return relative(found)

    def _targets(self, codes: Array, c: int) -> Array:
        """What the loss takes as y."""
        return codes if c > 2 else codes.astype(np.float64)

    def _center(self) -> None:
        """Nothing: but for softmax, every column has a meaning of its own."""

    def decision_function(self, X: ArrayLike | Parts) -> Array:
        """The scores X @ coef_.T + intercept_: (n, c), or (n,) for two classes, above 0 for the second."""
        S = self._scores(X)
        return S[:, 0] if S.shape[1] == 1 else S

    def predict(self, X: ArrayLike | Parts) -> Array:
        """The class (n,) with the largest score."""
        S = self.decision_function(X)
        predicted: Array = self.classes_[(S > 0).astype(np.intp) if S.ndim == 1 else S.argmax(axis=1)]
        return predicted

    def score(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """The share of rows whose class is predicted, weighted; of `fl.Parts`, which bring y and sample_weight, too."""
        if are_parts(X, y, sample_weight):
            return accuracy(self, X)
        found: float = super().score(X, y, sample_weight=sample_weight)
        return found


def _columns(classes: Array) -> int:
    return 1 if len(classes) == 2 else len(classes)


class SoftmaxClassifier(LinearClassifier):
    """Softmax regression: minimises mean cross-entropy(X @ W + b, y) + reg * sum(W^2), or another penalty.

    Parameters
    ----------
    reg : lam of lam * sum(W^2), or a penalty such as fl.L1(1e-3). b is never penalised. With n rows,
        reg = 1 / (2 C n) has the optimum of scikit-learn's LogisticRegression(C=C).
    fit_intercept : whether to fit b.
    label_smoothing : in [0, 1]; the targets are (1 - e) * one-hot + e / c.
    class_weight : {label: weight}, or "balanced": each class counts alike.
    solver : "auto" or another solver of `fl.minimize`, full batch; or "sgd": mini-batch steps, as `fl.train`.
    tol, max_iter : of full-batch solvers: the largest entry of the gradient to stop at, and iterations at most. None:
        1e-6, and on to 1e-12 with small data, where that costs milliseconds (n * d * c <= 2^20); the solver's own
        max_iter.
    warm_start : begin at the coef_ and intercept_ of the last fit.
    optimizer, epochs, batch_size, average : of "sgd", as in `fl.train`; rates follow a schedule that the optimizer has.
    early_stopping, validation_fraction, patience : of "sgd": hold out that share of the rows of each class, and stop
        after `patience` epochs without a lower loss on them.
    random_state : of "sgd": None, a seed or a RandomState.
    n_threads, backend : threads at most, and one of naive, numpy, numba, cython.

    scikit-learn's callbacks (`set_callbacks`) see each iteration or epoch, and stop the fit if they ask to.

    Attributes
    ----------
    coef_ : (c, d), or (1, d) for two classes, which have one column: the logistic loss.
    intercept_ : (c,) or (1,).
    classes_ : the labels, sorted.
    n_iter_ : iterations, or epochs with "sgd".
    loss_curve_, loss_ : the objective at the start and after each iteration (with "sgd" its mean over each epoch), and
        the last.
    solver_ : the `fastlin.train.Solved` of the fit: the solver taken, why it stopped; None with "sgd".
    n_features_in_, feature_names_in_ : as everywhere in scikit-learn.

    Notes
    -----
    Float32, float16 and integer X are read where they lie; the full-batch fit is in float64 all the same. A
    summand common to all classes changes no probability: the intercepts are those that sum to zero, and so do the
    columns of coef_ with an L2 penalty.

    >>> import fastlin as fl
    >>> X = [[-2.0], [-1.0], [1.0], [2.0], [5.0], [6.0]]
    >>> fl.SoftmaxClassifier().fit(X, ["a", "a", "b", "b", "c", "c"]).predict([[-3.0], [7.0]])
    array(['a', 'c'], dtype='<U1')
    """

    def __init__(
        self,
        *,
        reg: float | Penalty = 1e-3,
        fit_intercept: bool = True,
        label_smoothing: float = 0.0,
        class_weight: Mapping[Any, float] | str | None = None,
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
        self.reg = reg
        self.fit_intercept = fit_intercept
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
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

    def _loss(self, columns: int) -> tuple[str, dict[str, Any]]:
        return ("softmax", {"label_smoothing": self.label_smoothing}) if columns > 1 else ("logistic", {})

    def _targets(self, codes: Array, c: int) -> Array:
        if c > 2:
            return codes
        smoothing = _check.number("label_smoothing", self.label_smoothing, "[0, 1]")
        return codes * (1.0 - smoothing) + smoothing / 2.0

    def _center(self) -> None:
        """Intercepts that sum to zero: they are not penalised, and only their differences matter."""
        if len(self.intercept_) > 1:
            self.intercept_ -= self.intercept_.mean()

    def predict_proba(self, X: ArrayLike | Parts) -> Array:
        """The probabilities (n, c) of the classes: softmax of the scores."""
        P: Array = np.exp(self._shifted(X))
        P /= P.sum(axis=1, keepdims=True)
        return P

    def predict_log_proba(self, X: ArrayLike | Parts) -> Array:
        """The logarithms (n, c) of the probabilities, finite also where those are too small for a float."""
        S = self._shifted(X)
        S -= np.log(np.exp(S).sum(axis=1, keepdims=True))
        return S

    def _shifted(self, X: ArrayLike | Parts) -> Array:
        """The scores (n, c) in float64, less the largest of their row: a new array."""
        S = self._scores(X).astype(np.float64)
        if S.shape[1] == 1:
            S = np.hstack([np.zeros_like(S), S])
        S -= S.max(axis=1, keepdims=True)
        return S


class SVMClassifier(LinearClassifier):
    """A linear SVM: minimises mean hinge(X @ W + b, y) + reg * sum(W^2), or another penalty.

    Of the scores s of a row with the class y, and with `squared` each hinge is squared:

    * "weston_watkins": sum over j != y of max(0, s_j - s_y + margin);
    * "crammer_singer": max(0, max over j != y of s_j - s_y + margin);
    * "one_vs_rest": sum over j of max(0, margin - t_j s_j), t_j = 1 for j = y and -1 for others.

    Two classes have one column and one loss, max(0, margin - t s), whatever the variant: they say the same of it.

    Parameters
    ----------
    variant : see above.
    squared : whether hinges are squared; "crammer_singer" has none that are.
    margin : in (0, inf).
    reg : lam of lam * sum(W^2), or a penalty such as fl.L1(1e-3). b is never penalised. With n rows,
        reg = 1 / (2 C n) is the C of scikit-learn's LinearSVC, which penalises b too.
    fit_intercept, class_weight, solver, tol, max_iter, warm_start, optimizer, epochs, batch_size, average,
    early_stopping, validation_fraction, patience, random_state, n_threads, backend : as in `SoftmaxClassifier`.

    Attributes
    ----------
    coef_, intercept_, classes_, n_iter_, loss_curve_, loss_, solver_, n_features_in_, feature_names_in_ : as in
        `SoftmaxClassifier`.

    >>> import fastlin as fl
    >>> X = [[-2.0], [-1.0], [1.0], [2.0], [5.0], [6.0]]
    >>> fl.SVMClassifier(variant="one_vs_rest").fit(X, ["a", "a", "b", "b", "c", "c"]).predict([[-3.0], [7.0]])
    array(['a', 'c'], dtype='<U1')
    """

    def __init__(
        self,
        *,
        variant: str = "weston_watkins",
        squared: bool = True,
        margin: float = 1.0,
        reg: float | Penalty = 1e-3,
        fit_intercept: bool = True,
        class_weight: Mapping[Any, float] | str | None = None,
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
        self.variant = variant
        self.squared = squared
        self.margin = margin
        self.reg = reg
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
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

    def _loss(self, columns: int) -> tuple[str, dict[str, Any]]:
        _check.choice("variant", self.variant, list(dict.fromkeys(variant for variant, _ in VARIANTS)))
        squared = _check.flag("squared", self.squared)
        if (self.variant, squared) not in VARIANTS:
            raise ValueError(f"squared=True is not for variant={self.variant!r}: pass squared=False or another variant")
        variant = "one_vs_rest" if columns == 1 else self.variant
        return VARIANTS[variant, squared], {"margin": self.margin}
