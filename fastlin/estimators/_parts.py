"""Fits of estimators to `fastlin.Parts`: a first look finds the labels, which become columns of W as parts are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from fastlin import _check
from fastlin._check import Array
from fastlin._parts.over_parts import labelled
from fastlin._parts.survey import Survey, survey
from fastlin.parts import Part, Parts


@dataclass(frozen=True)
class _Coded:
    """A part whose labels are columns of W, or the targets of a single column; its weights times those of classes."""

    classes: Array
    of_class: Array  # what the weights of the rows of each class are multiplied by
    targets: tuple[float, float] | None  # of the first and of the second class, where W has a single column

    def __call__(self, part: Part) -> Part:
        X, given, sample_weight = labelled(part)
        y = np.asarray(given)
        codes = np.minimum(np.searchsorted(self.classes, y), len(self.classes) - 1)
        weight = _not_negative(sample_weight, len(X)) * self.of_class[codes]
        if (strange := (self.classes[codes] != y) & (weight > 0)).any():  # those of weight 0 are no classes
            raise ValueError(f"y has the label {y[strange][0]!r}, which no row had at the first look")
        return Part(X, codes if self.targets is None else np.array(self.targets)[codes], weight)


@dataclass(frozen=True)
class _Scaled:
    """A part of a regression, with y as float64 and weights times a factor."""

    factor: float

    def __call__(self, part: Part) -> Part:
        X, y, sample_weight = labelled(part)
        return Part(X, np.asarray(y).astype(np.float64), _not_negative(sample_weight, len(X)) * self.factor)


@dataclass(frozen=True)
class _Hits:
    """The weighted number of rows of a part whose class is predicted, and the sum of the weights."""

    model: Any

    def __call__(self, part: Part) -> tuple[float, float]:
        X, y, sample_weight = labelled(part)
        if not len(X):
            return 0.0, 0.0
        weight = _not_negative(sample_weight, len(X))
        hits = accuracy_score(y, self.model.predict(X), normalize=False, sample_weight=weight)
        return float(hits), float(weight.sum())


@dataclass(frozen=True)
class _Misses:
    """Of the rows of a part: the weight, and of each column of y its mean, the squares about that and those missed."""

    model: Any

    def __call__(self, part: Part) -> tuple[float, Array, Array, Array]:
        X, given, sample_weight = labelled(part)
        y = np.asarray(given, np.float64)
        y = y[:, None] if y.ndim == 1 else y
        weight = _not_negative(sample_weight, len(X))[:, None]
        total = float(weight.sum())
        if not total:
            return 0.0, *(np.zeros(y.shape[1]) for _ in range(3))  # type: ignore[return-value]
        mean = (weight * y).sum(axis=0) / total
        missed = y - self.model.predict(X).reshape(y.shape)
        return total, mean, (weight * np.square(y - mean)).sum(axis=0), (weight * np.square(missed)).sum(axis=0)


def accuracy(model: Any, parts: Parts) -> float:
    """The weighted share of the rows of all parts whose class is predicted."""
    found: dict[int, tuple[float, float]] = {}
    parts._each(_Hits(model), found.__setitem__)
    hits, total = (sum(found[number][i] for number in range(len(parts))) for i in range(2))
    return hits / _positive(total)


def r2(model: Any, parts: Parts) -> float:
    """R^2 over all parts, the mean over the columns of y; of a constant column 1 if it is met, else 0."""
    found: dict[int, tuple[float, Array, Array, Array]] = {}
    parts._each(_Misses(model), found.__setitem__)
    total, mean, about, missed = found[0]
    for number in range(1, len(parts)):  # means and squares about them are joined as by Chan, Golub & LeVeque 1983
        more, of_more, about_more, missed_more = found[number]
        if not more:
            continue
        both, apart = total + more, of_more - mean
        about = about + about_more + np.square(apart) * (total * more / both)
        mean, missed, total = mean + apart * (more / both), missed + missed_more, both
    _positive(total)
    share = np.divide(missed, about, out=np.where(missed > 0, 1.0, 0.0), where=about > 0)
    return float(np.mean(1.0 - share))


def _positive(total: float) -> float:
    if not 0 < total < np.inf:
        raise ValueError(f"the rows of the parts have the weight {total} together; a score needs a positive one")
    return total


def _not_negative(sample_weight: Any, n: int) -> Array:
    weight = _check.row_weights(sample_weight, n, np.dtype(np.float64))
    if not (weight >= 0).all() or not np.isfinite(weight).all():
        raise ValueError("sample_weight has a negative, infinite or missing entry; weights are numbers of at least 0")
    return weight


def look(estimator: Any, parts: Parts, labels: bool) -> Survey:
    """The first look, and what every fit leaves: how many columns X has."""
    seen = survey(parts, labels)
    estimator.n_features_in_ = seen.columns
    estimator.__dict__.pop("feature_names_in_", None)  # of another fit
    if not 0 < seen.weight.sum() < np.inf:
        raise ValueError(f"sample_weight has the sum {seen.weight.sum()}: give at least one row a positive weight")
    return seen


def coded(seen: Survey, parts: Parts, class_weight: Any, targets: tuple[float, float]) -> tuple[Array, Parts, float]:
    """The classes, the parts with their numbers and weights of mean 1, and the sum of the weights before that."""
    check_classification_targets(seen.y)
    classes, totals = seen.y[seen.weight > 0], seen.weight[seen.weight > 0]
    if len(classes) < 2:
        raise ValueError(f"y has rows of one class only, {classes[0]!r}; pass rows of at least two classes")
    of_class = np.ones(len(classes))
    if isinstance(class_weight, str) and class_weight == "balanced":
        of_class = totals.sum() / (len(classes) * totals)
    elif class_weight is not None:
        of_class = compute_class_weight(class_weight, classes=classes, y=classes)
    total = float((of_class * totals).sum())
    if not total > 0:
        raise ValueError(f"class_weight={class_weight!r} leaves every row the weight zero")
    of_class = of_class * (seen.n / total)
    found = parts._mapped(_Coded(classes, of_class, targets if len(classes) == 2 else None))
    return classes, found, total


def scaled(seen: Survey, parts: Parts) -> Parts:
    """The parts of a regression, with weights of mean 1."""
    if seen.y.dtype.kind not in "iubf":
        raise ValueError(f"y must hold numbers; found dtype {seen.y.dtype}")
    return parts._mapped(_Scaled(seen.n / float(seen.weight.sum())))
