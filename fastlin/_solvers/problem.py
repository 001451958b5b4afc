"""What a solver sees of a fit: a function of a flat float64 x, its gradient, and products with its Hessian."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from fastlin import _run, ops
from fastlin._affine import Affine
from fastlin._check import Array, Inputs, read_only
from fastlin._csr import Csr
from fastlin._objective import Objective, order_beside
from fastlin._solvers.linalg import Means, few_rows
from fastlin._solvers.vectors import HERE, widened
from fastlin.penalties import L1, L2, ElasticNet

Product = Callable[[Array], Array]
ALL = slice(None)
TOGETHER = 4096  # rows whose scores are made into curvatures at once
ROUNDINGS = 8.0  # of a value, whose sums are of many terms
LEAST_SPREAD = 0.1  # variance of a sparse column, of its mean square
PAIR_SHARE = 20  # at most such a part of X's memory is taken by pairs, where there are more than KEPT
NARROW = 1 << 22  # numbers of X times classes, from where on a pass in float32 is worth one more when it ends
KEPT = 10  # pairs of a step and the change of the gradient over it that L-BFGS remembers, as in SciPy
MOST_KEPT = 50  # where passes take long
SPARSE_KEPT = 4  # where rows are sparse and W is long: in a scaled basis more of them save no pass
PAIR_FLOPS = 40_000_000  # of a pass that takes as long as the work that one more pair is for L-BFGS


class Point(NamedTuple):
    """Where a solver is."""

    x: Array
    value: float
    gradient: Array
    steepest: float  # the largest entry of the gradient in W, whatever basis x is in


def point(x: Array, value: float, gradient: Array, means: Means = HERE) -> Point:
    """A point in the basis of W, whose gradient may be of any float type."""
    return Point(x, value, *widened(gradient, means))


class Problem:
    """The objective at weights x, which are W (d, c) or (d + 1, c) row after row, in float64.

    passes : how often X has been read, a loss with its gradient or a product with the Hessian each time.
    latest : the x where the objective was evaluated last: after an iteration, the one that it led to.
    """

    in_memory = True  # all rows are at hand, as `inputs`

    def __init__(self, objective: Objective, inputs: Inputs, scale_shift: Affine | None) -> None:
        self.objective, self.inputs, self.scale_shift = objective, inputs, scale_shift
        n, d = inputs.X.shape
        self._begin(inputs.W, n, d, order_beside(inputs.X))

    def _begin(self, W: Array, n: int, d: int, order: Literal["C", "F"] = "F") -> None:
        self.W, self.shape = W, (n, d)  # where the fit begins; of X
        self.start = W.astype(np.float64).ravel()
        self.narrow = False  # whether values and gradients are computed in float32 for now
        self.passes = 0
        self.latest = self.start
        self._order = order  # of weights that kernels read

    @property
    def resolution(self) -> float:
        """Of its values, relative."""
        return ROUNDINGS * float(np.finfo(np.float32 if self.narrow else self.W.dtype).eps)

    @property
    def kept(self) -> int:
        """The number of pairs of L-BFGS that are worth their time beside a pass, and their memory beside X."""
        if self.sparse:
            return SPARSE_KEPT
        flops = 4 * self.entries * self.W.shape[1]
        memory = self.entries * (self.inputs.X.dtype.itemsize if self.in_memory else 4)
        most = min(flops // PAIR_FLOPS, memory // (PAIR_SHARE * 2 * max(1, self.start.nbytes)))
        return int(min(MOST_KEPT, max(KEPT, most)))

    @property
    def can_narrow(self) -> bool:
        """Whether a float64 fit may take its first steps in float32, which has all digits of such X and y."""
        if not self.in_memory:
            return False
        inputs, objective = self.inputs, self.objective
        held = inputs.X.dtype.itemsize <= 4 and inputs.y.dtype.kind == "i" and not objective.needs_float64
        large = self.entries * self.W.shape[1] >= NARROW and self.W.dtype == np.float64
        return (
            held and large and self.scale_shift is None and isinstance(objective.penalty, L1 | L2 | ElasticNet | None)
        )

    @property
    def means(self) -> Means:
        """Who computes with long vectors."""
        return Means(self.objective.backend, self.objective.threads)

    def refine(self) -> bool:
        """Compute in float64 from now on, if that was not so."""
        narrow, self.narrow = self.narrow, False
        return narrow

    @property
    def sparse(self) -> bool:
        """Whether X has entries instead of all numbers."""
        return self.in_memory and isinstance(self.inputs.X, Csr)

    @property
    def entries(self) -> int:
        """How many numbers of X a pass reads."""
        return self.inputs.X.nnz if self.sparse else self.shape[0] * self.shape[1]

    def weights(self, x: Array) -> Array:
        """x as W, of the dtype that the fit is in."""
        return np.array(x.reshape(self.W.shape), self.W.dtype, order=self._order)

    def at(self, x: Array) -> Point:
        """The value and the gradient at x."""
        return self.of(self.objective, x)

    def smooth_at(self, x: Array) -> Point:
        """The same without absolute values."""
        return self.of(self._smooth, x)

    @property
    def _smooth(self) -> Objective:
        return self.objective._replace(penalty=L2(self.l2) if self.l2 else None)

    def of(self, objective: Objective, x: Array) -> Point:
        """The same of another objective on these data."""
        self.passes += 1
        self.latest = x
        here = self._narrowed(x) if self.narrow else self.inputs._replace(W=self.weights(x))
        value, dW = objective.at(here, self.scale_shift, self.inputs.X.shape[0], None)
        return point(x, value, dW.ravel(), self.means)

    def _narrowed(self, x: Array) -> Inputs:
        W = np.array(x.reshape(self.W.shape), np.float32, order=self._order)
        sample_weight = self.inputs.sample_weight.astype(np.float32)
        return self.inputs._replace(W=W, sample_weight=sample_weight, contiguous=False)

    @property
    def _terms(self) -> tuple[float, float]:
        """(l2, l1) of a penalty l2 sum(W^2) + l1 sum(|W|) of ours; zeros for others."""
        own = isinstance(self.objective.penalty, L1 | L2 | ElasticNet)
        return self.objective.penalty.terms() if own else (0.0, 0.0)  # type: ignore[union-attr]

    @property
    def l1(self) -> Array:
        """What the absolute value of each weight is multiplied by: (k,), 0 for b."""
        W = np.zeros(self.W.shape)
        W[: self.shape[1]] = self._terms[1]
        return W.ravel()

    @property
    def curved(self) -> bool:
        """Whether `product` is there: for losses with a second derivative, and no penalty or one of squares."""
        return self.objective.loss.name in SECOND and isinstance(self.objective.penalty, L2 | None)

    @property
    def l2(self) -> float:
        """What the squares of the weights are multiplied by."""
        return self._terms[0]

    def product(self, x: Array) -> Product:
        """The product of the Hessian at x with a flat vector: one pass over X."""
        name, _ = SECOND[self.objective.loss.name]
        n = self.inputs.X.shape[0]
        targets = np.empty((n, self.W.shape[1]), self.W.dtype)
        for first in range(0, n, TOGETHER):
            some = slice(first, first + TOGETHER)
            targets[some] = self.second_of(self.scores(x, some), some)
        curvature = self.objective._replace(loss=ops.CURVATURES[name], hyper=())
        inputs = self.inputs._replace(y=read_only(targets), contiguous=False)

        def times(v: Array) -> Array:
            self.passes += 1
            Hv = curvature.at(inputs._replace(W=self.weights(v)), self.scale_shift, n, None)[1]
            return Hv.ravel().astype(np.float64)

        return times

    def pulled_back(self, D: Array) -> Array:
        """The gradient, in x, of the mean over the rows i of sample_weight_i * sum_j D_ij s_ij.

        That of squared errors at W = 0, for targets -D / 2.
        """
        self.passes += 1
        linear = self.objective._replace(loss=ops.LOSSES["squared_error"], hyper=(), penalty=None)
        W = self.weights(np.zeros_like(self.start))
        inputs = self.inputs._replace(W=W, y=read_only(np.array(-0.5 * D, W.dtype, order="C")), contiguous=False)
        gradient: Array = linear.at(inputs, self.scale_shift, self.inputs.X.shape[0], None)[1].ravel()
        return gradient.astype(np.float64)

    def second_of(self, S: Array, some: slice) -> Array:
        """The second derivatives (n, c) in the scores of some rows, as `ops.CURVATURES` take them."""
        return SECOND[self.objective.loss.name][1](S, self.inputs.y[some], *self.objective.hyper)

    def sample(self, most: int) -> Problem:
        """The problem of some of the rows, evenly taken: fewer than twice as many as `most`, if there are more."""
        some = slice(None, None, max(1, self.shape[0] // max(1, most)))
        _, X, y, sample_weight, _ = self.inputs
        few = Inputs(self.inputs.W, X[some], y[some], sample_weight[some])
        return Problem(self.objective, few, self.scale_shift)

    def scores(self, x: Array, some: slice = ALL) -> Array:
        """The scores (n, c) at x, of some rows."""
        W, objective = self.weights(x), self.objective
        if self.scale_shift is not None:
            W = self.scale_shift.fold(W, objective.bias)
        return _run.scores(W, self.inputs.X[some], objective.backend, objective.threads).T

    def rows(self, some: slice = ALL) -> Array:
        """Some rows of X, mapped as x_scale and x_shift say, with all their zeros."""
        return self.mapped(self.inputs.X[some])

    def mapped(self, X: Array | Csr) -> Array:
        """The same of these rows of X."""
        if isinstance(X, Csr):
            X = X.toarray()
        if self.scale_shift is None:
            return X
        mapped: Array = X * self.scale_shift.scale[:, 0]
        mapped += self.scale_shift.shift[:, 0]
        return mapped

    def column_moments(self) -> tuple[Array, Array, Array]:
        """Of each column (d,): the share of rows with an entry other than 0, the variance and the mean.

        The share is that before x_shift.
        """
        X = self.inputs.X
        if isinstance(X, Csr):
            return self._moments_of(*X.column_means())
        sums = np.zeros((3, X.shape[1]))
        for some in few_rows(*X.shape):  # float64 rows of all of X may be too many
            x = X[some].astype(np.float64)
            sums += np.count_nonzero(x, axis=0), x.sum(axis=0), np.einsum("ij,ij->j", x, x)
        return self._moments_of(*(sums / len(X)))

    def _moments_of(self, share: Array, mean: Array, squares: Array) -> tuple[Array, Array, Array]:
        """The same, of the means of columns of X as it is given and of their squares."""
        # Entries of one place, which are to be added up, seem smaller than they are.
        least = LEAST_SPREAD * squares if self.sparse else np.zeros_like(squares)
        variance = np.maximum(squares - np.square(mean), least)
        if self.scale_shift is None:
            return share, variance, mean
        scale, shift = (each[:, 0].astype(np.float64) for each in self.scale_shift)
        return share, variance * scale * scale, mean * scale + shift

    def curvatures(self, x: Array) -> Array:
        """The mean over the classes of the second derivative of a row's loss in its scores at x; 1 if it is unknown."""
        S, y = self.scores(x), self.inputs.y
        name = self.objective.loss.name
        if name not in MEAN_SECOND:
            return np.ones(len(S))
        return MEAN_SECOND[name](S, y, *self.objective.hyper)


# ---- Second derivatives of the losses in the scores (n, c): targets of ops.CURVATURES -------------------------


def _of_softmax(S: Array, y: Array, label_smoothing: float) -> Array:
    P: Array = S - S.max(axis=1, keepdims=True)
    np.exp(P, out=P)
    P /= P.sum(axis=1, keepdims=True)
    return P


def _of_logistic(S: Array, y: Array) -> Array:
    e = np.exp(-np.abs(S))
    slope: Array = e / np.square(1 + e)
    return slope


def _of_squared_error(S: Array, y: Array) -> Array:
    return np.full_like(S, 2.0)


def _of_huber(S: Array, y: Array, delta: float) -> Array:
    near: Array = (np.abs(S - y) <= delta).astype(S.dtype)
    return near


def _of_squared_hinge(S: Array, y: Array, margin: float) -> Array:
    side = 2.0 * y - 1.0
    second: Array = 2.0 * side * side * (margin > side * S)
    return second


def _of_squared_svm(S: Array, y: Array, margin: float) -> Array:
    rows = np.arange(len(y))
    A: Array = 2.0 * (S - S[rows, y][:, None] + margin > 0)
    A[rows, y] = -1.0
    return A


SECOND: dict[str, tuple[str, Callable[..., Array]]] = {
    "softmax": ("softmax_curvature", _of_softmax),
    "logistic": ("element_curvature", _of_logistic),
    "squared_error": ("element_curvature", _of_squared_error),
    "huber": ("element_curvature", _of_huber),
    "squared_svm": ("svm_curvature", _of_squared_svm),
    "squared_one_vs_rest_svm": ("element_curvature", _of_squared_hinge),
}


# ---- Their means over the classes -------------------------------------------------------------------------------


def _mean_of_softmax(S: Array, y: Array, label_smoothing: float) -> Array:
    P = _of_softmax(S, y, label_smoothing)
    mean: Array = (P * (1 - P)).mean(axis=1)
    return mean


def _mean_of_soft_softmax(S: Array, y: Array, label_smoothing: float) -> Array:
    total = (1 - label_smoothing) * y.sum(axis=1) + label_smoothing  # of the targets of a row
    mean: Array = total * _mean_of_softmax(S, y, label_smoothing)
    return mean


def _mean_of_squared_svm(S: Array, y: Array, margin: float) -> Array:
    A = _of_squared_svm(S, y, margin)
    mean: Array = 2.0 * np.maximum(A, 0).mean(axis=1)  # of each violating class, and as much for the row's own
    return mean


MEAN_SECOND: dict[str, Callable[..., Array]] = {
    "softmax": _mean_of_softmax,
    "soft_softmax": _mean_of_soft_softmax,
    "squared_svm": _mean_of_squared_svm,
    **{
        name: lambda S, y, *hyper, second=second: second(S, y, *hyper).mean(axis=1)
        for name, (kind, second) in SECOND.items()
        if kind == "element_curvature"
    },
}
