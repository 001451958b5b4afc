"""What a model predicts of parts, and how good that is: each part by itself, and the answers put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fastlin import _check
from fastlin._check import Array
from fastlin._over_parts import labelled
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
