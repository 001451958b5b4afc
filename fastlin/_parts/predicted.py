"""What a model predicts of parts, and how good that is: each part by itself, and the answers put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastlin import _check, _run
from fastlin._affine import Affine
from fastlin._check import Array
from fastlin._csr import Csr
from fastlin._objective import Objective, score
from fastlin._parts.over_parts import alone, labelled
from fastlin._parts.reduction import Partial, Tree, finished, partial
from fastlin.parts import Part, Parts


@dataclass(frozen=True)
class _Answer:
    """What a method of a model returns for the rows of a part."""

    model: Any
    method: str
    arguments: tuple[Any, ...]

    def __call__(self, part: Part) -> Array | None:
        """None for a part of no rows, which scikit-learn's models refuse."""
        return getattr(self.model, self.method)(part.X, *self.arguments) if len(part.X) else None


@dataclass(frozen=True)
class _Hits:
    """How many rows of a part a classifier predicts, and of how many."""

    model: Any
    k: int | None

    def __call__(self, part: Part) -> tuple[int, int]:
        X, y, _ = labelled(part)
        share = self.model.accuracy(X, y, self.k) if len(X) else 0.0
        return round(share * len(X)), len(X)  # the share is a quotient of these


@dataclass(frozen=True)
class _Values:
    """The scores of a regression, and the targets."""

    model: Any

    def __call__(self, part: Part) -> tuple[Array, Array]:
        X, y, _ = labelled(part)
        return self.model.scores(X), _check.array("y", y)


@dataclass(frozen=True)
class _Measure:
    """The sums of a loss over a part, and how many of its rows are predicted; of a regression scores and targets."""

    objective: Objective
    W: Array
    scale_shift: Affine | None

    def __call__(self, part: Part) -> tuple[Partial, Any]:
        X, y, _ = labelled(part)
        objective, W = self.objective.for_targets(y), self.W
        sums = partial(objective, W, X, y, None, self.scale_shift)
        if not len(X):
            return sums, None
        if self.scale_shift is not None:
            W = self.scale_shift.fold(W, objective.bias)
        own_X = X.beside(_check.native(W)) if isinstance(X, Csr) else X
        S = _run.scores(W, own_X, objective.backend, objective.threads).T
        values = objective.loss.predicts == "values"
        own = _check.judged(y, len(S), S.shape[1], values=values)
        return sums, (S, own) if values else round(score(objective.loss, S, own) * len(S))


def measure(objective: Objective, parts: Parts, W: Array, scale_shift: Affine | None) -> tuple[float, float]:
    """The mean loss over all rows, penalty included, all weights alike; and the accuracy, or R^2."""
    tree, answers = Tree(len(parts)), {}

    def take(number: int, found: tuple[Partial, Any]) -> None:
        tree.add(number, found[0])
        if found[1] is not None:
            answers[number] = found[1]

    parts._each(_Measure(alone(objective, parts), W, scale_shift), take)
    total = tree.total()
    if not total.rows:
        raise ValueError("validation: the parts have 0 rows; there must be at least one")
    value, _ = finished(objective, W, total, total.rows)
    if objective.loss.predicts != "values":
        return value, sum(answers.values()) / total.rows
    S, y = (np.concatenate([answers[number][i] for number in sorted(answers)]) for i in range(2))
    return value, score(objective.loss, S, y)


def gathered(parts: Parts, model: Any, method: str, *arguments: Any) -> Array:
    """The answers for all rows, in their order."""
    found: dict[int, Array | None] = {}
    parts._each(_Answer(model, method, arguments), found.__setitem__)
    answers = [answer for _, answer in sorted(found.items()) if answer is not None]
    return np.concatenate(answers or [getattr(model, method)(parts[0].X, *arguments)])


def share_of_hits(parts: Parts, model: Any, k: int | None) -> float:
    """The share of rows that a classifier predicts."""
    found: dict[int, tuple[int, int]] = {}
    parts._each(_Hits(model, k), found.__setitem__)
    hits, rows = (sum(pair[i] for pair in found.values()) for i in range(2))
    if not rows:
        raise ValueError("the parts have 0 rows; there must be at least one to judge predictions by")
    return hits / rows


def values(parts: Parts, model: Any) -> tuple[Array, Array]:
    """The scores of a regression and the targets of all rows, which are in memory."""
    found: dict[int, tuple[Array, Array]] = {}
    parts._each(_Values(model), found.__setitem__)
    S, y = (np.concatenate([found[number][i] for number in range(len(parts))]) for i in range(2))
    return S, y
