"""How far a loss and its gradient may lie from the naive backend's in float64.

Rounding moves a score by delta, an error bound of its sum; how far that moves a loss and its slope is known for every
loss. Where the slope jumps (a hinge met exactly, two largest terms alike, a residual of zero) and the score is closer
to the jump than delta, either side is right, and the gradient may differ by the jump.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastlin.testing import CLOSE

Numbers = np.ndarray[Any, Any]


class Slopes(NamedTuple):
    """Of every row: how large the slopes are, how far rounding may move them, and the row's loss."""

    slope: Numbers  # (n, c)
    moved: Numbers  # (n, c)
    loss_moved: Numbers  # (n,)


class Scores(NamedTuple):
    """Scores in float64, by how much rounding may move each, and what they are held against."""

    S: Numbers
    delta: Numbers
    y: Numbers  # labels (n,), or targets (n, c)
    hyper: float
    eps: float


def _softmax(found: Scores) -> Slopes:
    S, delta, y, smoothing, eps = found
    shifted = S - S.max(axis=1, keepdims=True)
    P = np.exp(shifted)
    P /= P.sum(axis=1, keepdims=True)
    c = S.shape[1]
    soft = y.ndim == 2
    T = y if soft else np.eye(c)[y]
    T = (1 - smoothing) * T + smoothing / c
    total = T.sum(axis=1)
    most = delta.max(axis=1) + eps * np.abs(shifted).max(axis=1)
    rounding = CLOSE * eps * np.sqrt(c)
    off = np.minimum(1.0, P * (np.expm1(np.minimum(2 * most, 9.0)) + rounding)[:, None])
    moved = total[:, None] * off + rounding * (total[:, None] * P + T)
    moved += 1e-29 if eps > 1e-10 else 1e-289  # compiled kernels take what is below a tenth of this for 0
    loss = -(T * (shifted - np.log(np.exp(shifted).sum(axis=1))[:, None])).sum(axis=1)
    spread = total if soft else smoothing  # of the sum over classes: what more than one target adds to it
    room = total * 2 * most + rounding * (1 + loss + np.abs(shifted).max(axis=1) * spread)
    return Slopes(np.abs(total[:, None] * P - T), moved, room)


def _terms(found: Scores) -> tuple[Numbers, Numbers]:
    """s_j - s_y + margin, -inf for j = y; and by how much rounding may move each."""
    S, delta, y, margin, eps = found
    rows = np.arange(len(y))
    own = S[rows, y][:, None]
    terms = S - own + margin
    moved = delta + delta[rows, y][:, None] + 4 * eps * (np.abs(S) + np.abs(own) + margin)
    terms[rows, y] = -np.inf
    return terms, moved


def _to_label(slopes: Numbers, y: Numbers) -> Numbers:
    """Each class's slope is taken from the label's."""
    slopes[np.arange(len(y)), y] = slopes.sum(axis=1)
    return slopes


def _svm(found: Scores) -> Slopes:
    terms, moved = _terms(found)
    near, active = np.abs(terms) <= moved, terms > -moved
    loss = np.where(active, moved, 0.0).sum(axis=1) + CLOSE * found.eps * np.where(active, np.abs(terms), 0).sum(axis=1)
    return Slopes(_to_label((terms > 0) * 1.0, found.y), _to_label(near * 1.0, found.y), loss)


def _squared_svm(found: Scores) -> Slopes:
    terms, moved = _terms(found)
    hinge = np.where(terms > -moved, np.maximum(terms, 0.0), 0.0)
    off = np.where(terms > -moved, moved, 0.0)
    rounding = CLOSE * found.eps * np.sqrt(terms.shape[1])
    loss = (2 * hinge * off + off**2 + rounding * hinge**2).sum(axis=1)
    return Slopes(_to_label(2 * hinge, found.y), _to_label(2 * off + rounding * hinge, found.y), loss)


def _crammer_singer(found: Scores) -> Slopes:
    terms, moved = _terms(found)
    most = moved.max(axis=1)
    largest = np.maximum(terms.max(axis=1), 0.0)
    may_be = terms >= (largest - 2 * most)[:, None]
    none = largest <= 2 * most  # that there is no loss may be right too
    several = may_be.sum(axis=1) + none > 1
    slope = (terms == largest[:, None]) * 1.0
    jump = np.where(may_be & several[:, None], 1.0, 0.0)
    jump[np.arange(len(terms)), found.y] = none & several
    return Slopes(_to_label(slope, found.y), jump, 2 * most + CLOSE * found.eps * largest)


def _one_vs_rest(found: Scores) -> tuple[Numbers, Numbers, Numbers]:
    S, delta, T, margin, eps = found
    sign = 2 * T - 1
    return sign, margin - sign * S, np.abs(sign) * delta + 4 * eps * (margin + np.abs(S))


def _one_vs_rest_svm(found: Scores) -> Slopes:
    sign, z, moved = _one_vs_rest(found)
    active = z > -moved
    loss = np.where(active, moved + CLOSE * found.eps * np.abs(z), 0.0).sum(axis=1)
    return Slopes(np.abs(sign) * (z > 0), np.abs(sign) * (np.abs(z) <= moved), loss)


def _squared_one_vs_rest_svm(found: Scores) -> Slopes:
    sign, z, moved = _one_vs_rest(found)
    hinge, off = np.maximum(z, 0.0), np.where(z > -moved, moved, 0.0)
    loss = (2 * hinge * off + off**2 + CLOSE * found.eps * np.sqrt(z.shape[1]) * hinge**2).sum(axis=1)
    return Slopes(2 * np.abs(sign) * hinge, np.abs(sign) * (2 * off + CLOSE * found.eps * hinge), loss)


def _logistic(found: Scores) -> Slopes:
    S, delta, T, _, eps = found
    slope = np.abs(1 / (1 + np.exp(-np.clip(S, -700, 700))) - T)
    moved = np.minimum(1.0, delta / 4 + CLOSE * eps)
    return Slopes(slope, moved, ((slope + moved) * delta + CLOSE * eps * (1 + np.abs(S))).sum(axis=1))


def _sigmoid_squared(found: Scores) -> Slopes:
    S, delta, T, _, eps = found
    p = 1 / (1 + np.exp(-np.clip(S, -700, 700)))
    size = 1 + np.abs(T)
    moved = np.minimum(size, 4 * size * (delta + CLOSE * eps))
    return Slopes(2 * np.abs(p - T) * p * (1 - p), moved, (2 * size * (moved + CLOSE * eps * size)).sum(axis=1))


def _residuals(found: Scores) -> tuple[Numbers, Numbers]:
    S, delta, T, _, eps = found
    return np.abs(S - T), delta + 4 * eps * (np.abs(T) + np.abs(S))


def _squared_error(found: Scores) -> Slopes:
    r, moved = _residuals(found)
    rounding = CLOSE * found.eps * np.sqrt(r.shape[1])
    return Slopes(2 * r, 2 * moved + rounding * r, (2 * r * moved + moved**2 + rounding * r**2).sum(axis=1))


def _absolute_error(found: Scores) -> Slopes:
    r, moved = _residuals(found)
    rounding = CLOSE * found.eps * np.sqrt(r.shape[1])
    return Slopes((r > 0) * 1.0, np.where(r <= moved, 2.0, 0.0), (moved + rounding * r).sum(axis=1))


def _huber(found: Scores) -> Slopes:
    r, moved = _residuals(found)
    slope = np.minimum(r, found.hyper)
    rounding = CLOSE * found.eps * np.sqrt(r.shape[1])
    loss = (slope * moved + moved**2 + rounding * slope * r + rounding * found.hyper * np.minimum(r, found.hyper)).sum(
        axis=1
    )
    return Slopes(slope, np.minimum(moved, 2 * found.hyper) + rounding * slope, loss)


SLOPES: dict[str, Callable[[Scores], Slopes]] = {
    "softmax": _softmax,
    "soft_softmax": _softmax,
    "svm": _svm,
    "squared_svm": _squared_svm,
    "crammer_singer_svm": _crammer_singer,
    "one_vs_rest_svm": _one_vs_rest_svm,
    "squared_one_vs_rest_svm": _squared_one_vs_rest_svm,
    "logistic": _logistic,
    "sigmoid_squared": _sigmoid_squared,
    "squared_error": _squared_error,
    "absolute_error": _absolute_error,
    "huber": _huber,
}


class Limits(NamedTuple):
    """How far a loss and every entry of its gradient may lie from the exact ones."""

    loss: float
    dW: Numbers


class Problem(NamedTuple):
    """A loss in float64: the features with their scale and shift applied, b apart."""

    W: Numbers  # (d, c)
    b: Numbers  # (c,), zero without
    X: Numbers  # (n, d), mapped
    size: Numbers  # (n, d), of the terms that X is a sum of
    y: Numbers
    weight: Numbers  # (n,), of the rows

    @property
    def S(self) -> Numbers:
        """The scores."""
        return self.X @ self.W + self.b

    def delta(self, eps: float) -> Numbers:
        """By how much rounding may move each score."""
        terms = CLOSE * eps * np.sqrt(self.X.shape[1] + 3)
        return terms * (self.size @ np.abs(self.W) + np.abs(self.b)) + 1e-30


def limits(loss: str, hyper: float, problem: Problem, eps: float, rows: int) -> Limits:
    """For the mean over so many rows; dW (d + 1, c) with the row of b."""
    found = SLOPES[loss](Scores(problem.S, problem.delta(eps), problem.y, hyper, eps))
    n = len(problem.X)
    weight = np.abs(problem.weight)[:, None]
    size = np.hstack([problem.size, np.ones((n, 1))])
    sums = eps * (CLOSE * (np.sqrt(n) + 8) + n)  # rows that are all alike are rounded alike: no random walk
    dW = size.T @ (weight * (found.moved * (1 + sums) + sums * found.slope)) / rows
    return Limits(float((weight[:, 0] * found.loss_moved).sum() / rows), dW)
