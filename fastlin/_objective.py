"""What is minimised: a loss, a penalty and how they are computed. Losses, `train`, `minimize` and searches evaluate it.

L(W) = 1/n sum_i sample_weight_i loss(W, X_i, y_i) + R(W without b): said here, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from fastlin import _check, _pool, _run, ops
from fastlin._affine import Affine, affine
from fastlin._check import Array, Inputs, words
from fastlin._check.csr import features
from fastlin._csr import Csr, Features
from fastlin._laps import laps
from fastlin._rows import Loss
from fastlin.penalties import L1, L2, ElasticNet, Penalty, penalty, terms_of

REDUCTIONS = ("mean", "sum", "none")


class Objective(NamedTuple):
    """What is minimised and how it is computed, apart from the arrays. All is checked, every default filled in."""

    loss: Loss
    hyper: tuple[float, ...]  # in the order of the loss's row
    penalty: Penalty | None
    bias: bool
    backend: str
    threads: int | None
    needs_float64: bool  # whether a hyper-parameter, or a number of the penalty, is more than a float32 can hold

    def for_targets(self, y: Any) -> Objective:
        """The same for this y: of another loss, if these are not labels but targets (n, c)."""
        if self.loss.soft is None or (type(y) is np.ndarray and y.ndim == 1):
            return self
        found = _check.array("y", y)
        return self._replace(loss=ops.LOSSES[self.loss.soft]) if found.ndim == 2 and found.dtype.kind == "f" else self

    def evaluate(
        self,
        W: ArrayLike,
        X: Features,
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        x_scale: ArrayLike | None,
        x_shift: ArrayLike | None,
        reduction: str = "mean",
        out: Array | None = None,
    ) -> tuple[Any, Array]:
        """The value at W and its gradient, of arrays as a caller gives them: see `fastlin.softmax_loss`."""
        _check.choice("reduction", reduction, REDUCTIONS)
        X = X if type(X) is np.ndarray else features(X)
        inputs = _check.inputs(self.loss, W, X, y, self.bias, sample_weight, out)
        if self.needs_float64:
            self.refuse_float32(inputs.W)
        if reduction == "none":
            return self._of_rows(inputs, affine(x_scale, x_shift, inputs.X, inputs.W), out)
        rows = inputs.X.shape[0] if reduction == "mean" else 1
        if rows == 0:
            raise ValueError("X has 0 rows; the mean over zero rows is undefined: pass rows, or reduction='sum'")
        return self.at(inputs, affine(x_scale, x_shift, inputs.X, inputs.W), rows, out)

    def at(self, inputs: Inputs, scale_shift: Affine | None, rows: int, out: Array | None) -> tuple[float, Array]:
        """The sum of losses divided by `rows`, penalty included, and its gradient, which is written to `out`.

        scale_shift : the map of the columns of X, if there is one.
        """
        W = inputs.W
        if self.penalty is None and scale_shift is None:
            dW = np.empty_like(W) if out is None else out
            return _run.loss_grad(self, inputs, 1.0 / rows, dW) / rows, dW
        d, dW = inputs.X.shape[1], np.empty_like(W)
        if scale_shift is None:
            total = _run.loss_grad(self, inputs, 1.0 / rows, dW)
        else:
            total = self._mapped(inputs, scale_shift, 1.0 / rows, dW)
        value = total / rows + self.add_penalty(W[:d], dW[:d])
        if out is None:
            return value, dW
        np.copyto(out, dW)  # once and at the end: an interruption or a penalty that raises leaves `out` as it was
        return value, out

    def add_penalty(self, W: Array, dW: Array) -> float:
        """R(W), W and dW without b; its gradient is added to dW."""
        R = self.penalty
        if R is None:
            return 0.0
        terms = terms_of(R)
        if terms is not None and ops.BACKENDS[self.backend].compiled:
            rows = _run.rows_of_both(W, dW)
            if rows is not None:
                return _run.add_penalty(self, terms, *rows)
        with np.errstate(all="ignore"):  # NaN and Inf follow IEEE's rules here too; kernels see to that themselves
            value = _check.penalty_value(R.value(W))
            dW += _check.penalty_gradient(R.gradient(W), W)
        return value

    @np.errstate(all="ignore")
    def _mapped(self, inputs: Inputs, scale_shift: Affine, scale: float, dW: Array) -> float:
        """As `_run.loss_grad`, of the mapped columns of X."""
        folded = inputs._replace(W=scale_shift.fold(inputs.W, self.bias))
        gradient = np.empty_like(folded.W)
        total = _run.loss_grad(self, folded, scale, gradient)
        scale_shift.unfold(gradient, dW, self.bias)
        return total

    def _of_rows(self, inputs: Inputs, scale_shift: Affine | None, out: Array | None) -> tuple[Array, Array]:
        """The weighted losses of the rows, and the gradient of their sum, which is written to `out`."""
        if self.penalty is not None:
            raise ValueError(
                f"reg is {self.penalty!r}, which no row's loss has a part of: with reduction='none' pass reg=0 and add "
                f"the penalty's value and gradient yourself"
            )
        seen = inputs if scale_shift is None else inputs._replace(W=scale_shift.fold(inputs.W, self.bias))
        losses = _run.row_losses(self, seen)
        return losses, self.at(inputs, scale_shift, 1, out)[1]

    def values(self, sums: Array, inputs: Inputs, W: Array) -> Array:
        """The mean loss, penalty included, of each of the weights W (k, d, c), whose sums of losses these are."""
        n, d = inputs.X.shape
        values: Array = sums / n
        if self.penalty is not None:
            with np.errstate(all="ignore"):
                values += [_check.penalty_value(self.penalty.value(w[:d])) for w in W]
        return values

    def inputs(self, W: Array, X: Any, y: Any, sample_weight: Any = None) -> Inputs:
        """Checked arrays, of which there must be at least one row."""
        found = _check.inputs(self.loss, W, features(X), y, self.bias, sample_weight)
        if not found.X.shape[0]:
            raise ValueError("X has 0 rows; there must be at least one")
        if self.needs_float64:
            self.refuse_float32(found.W)
        return found

    def refuse_float32(self, W: Array) -> None:
        """Raises ValueError for W of float32, beside numbers that only float64 holds."""
        for name, value in (self.hyper_by_name() | _penalty_numbers(self.penalty)).items():
            _check.held(name, value, W.dtype)

    def hyper_by_name(self) -> dict[str, float]:
        """The hyper-parameters of the loss."""
        return dict(zip(self.loss.hyper, self.hyper, strict=True))


def make_objective(
    loss: str, hyper: tuple[Any, ...], reg: float | Penalty, bias: bool, backend: str | None, threads: int | None
) -> Objective:
    """The objective of a loss of the table, given its hyper-parameters in the order of its row."""
    backend = ops.resolve(backend)
    if type(reg) is float:
        try:
            return _of_numbers(loss, reg, bias, backend, threads, *hyper)
        except TypeError:  # what cannot be hashed is no number: the message comes from the check below
            pass
    return _checked(loss, hyper, penalty(reg), bias, backend, threads)


@lru_cache(maxsize=256, typed=True)
def _of_numbers(loss: str, reg: float, bias: bool, backend: str, threads: int | None, *hyper: Any) -> Objective:
    """Kept from one call to the next: checking a few numbers again takes as long as a small batch."""
    return _checked(loss, hyper, penalty(reg), bias, backend, threads)


def _checked(
    loss: str, hyper: tuple[Any, ...], R: Penalty | None, bias: bool, backend: str, threads: int | None
) -> Objective:
    row = ops.LOSSES[loss]
    values = _check.hyper(row.hyper, dict(zip(row.hyper, hyper, strict=True)))
    most = _pool.thread_limit(threads)  # looked at where no argument says it too: the environment may
    numbers = *values, *_penalty_numbers(R).values()
    return Objective(
        *(row, values, R, _check.flag("bias", bias), backend, None if threads is None else most),
        needs_float64=any(value > _check.FLOAT32_MAX for value in numbers),
    )


def _penalty_numbers(R: Penalty | None) -> dict[str, float]:
    """What W and its signs are multiplied by in the gradient of a penalty of ours."""
    if not isinstance(R, (L1, L2, ElasticNet)):
        return {}
    l2, l1 = R.terms()
    return {"reg: the factor 2 lam of W": 2.0 * l2, "reg: the factor lam of sign(W)": l1}


def with_defaults(loss: str, given: Mapping[str, Any], caller: str) -> tuple[Any, ...]:
    """All hyper-parameters of a loss in order, some of them given; `caller` has no others."""
    _check.choice("loss", loss, ops.losses())
    row = ops.LOSSES[loss].hyper
    for name in given:
        if name not in row:
            raise words.no_argument(caller, name, words.OF_FITS, row, f" with loss={loss!r}")
    return tuple(given.get(name, spec.default) for name, spec in row.items())


def start_weights(
    loss: str,
    W: ArrayLike | None,
    X: Array | Csr,
    y: ArrayLike,
    bias: bool,
    dtype: DTypeLike | None = None,
    classes: int | None = None,
) -> Array:
    """A copy of the given W, or zeros of `dtype` (None: X decides), ordered as kernels read it beside X.

    There are as many columns as `classes`, if that is given; else a column for each class that labels name, or for
    each column of targets (n, k), one for numbers (n,).
    """
    classes = None if classes is None else _check.count("classes", classes, high=_check.MOST_CLASSES)
    found = _empty_weights(loss, X, y, bias, dtype, classes) if W is None else _check.weights(W)
    if classes is not None and found.shape[1] != classes:
        named = "W has" if W is not None else "y has targets for"
        raise ValueError(f"classes is {classes}, but {named} {found.shape[1]} columns; leave one of them out")
    return found if W is None else np.array(found, _check.native(found), order=order_beside(X))


def _check_columns(X: Csr, dtype: DTypeLike) -> None:
    """Sparse rows may have more columns than there is memory for a weight of each."""
    try:
        np.empty(X.shape[1], dtype)
    except MemoryError:
        raise ValueError(
            f"X has {X.shape[1]} columns, and a weight for each is more than memory holds; number or hash the features "
            f"so that there are fewer"
        ) from None


def order_beside(X: Any) -> Literal["C", "F"]:
    """The order of W in which kernels read it soonest: where it lies beside sparse rows, else class by class."""
    return "C" if isinstance(X, Csr) else "F"


def _empty_weights(
    loss: str, X: Array | Csr, y: ArrayLike, bias: bool, dtype: DTypeLike | None, classes: int | None
) -> Array:
    """The zeros."""
    row, found = ops.LOSSES[loss], _check.array("y", y)
    if dtype is None:
        dtype = np.float32 if X.dtype in (np.float16, np.float32) else np.float64
    rows = X.shape[1] + bias
    if isinstance(X, Csr):
        _check_columns(X, dtype)
    if found.ndim == 2 and found.shape[1] == 0:
        raise ValueError(f"y has shape {found.shape}, no column of targets")
    if row.targets is not None and (found.ndim == 2 or found.dtype.kind == "f" or row.predicts == "values"):
        return np.zeros((rows, found.shape[1] if found.ndim == 2 else 1), dtype, order_beside(X))
    if found.dtype.kind not in "iub" or not found.size:
        raise TypeError(
            f"y must hold integers, at least one; found dtype {found.dtype} and shape {found.shape}"
            f"{words.labels(found.dtype.kind)}"
        )
    return _check.weights_for(found, rows, dtype, order_beside(X), classes)


# ---- What a loss predicts, and how good that is -----------------------------------------------------------


def prediction(loss: Loss, S: Array) -> Array:
    """What the loss predicts from scores (n, c): the values (n,) or (n, c) of a regression, else classes (n,)."""
    if loss.predicts == "values":
        return S[:, 0] if S.shape[1] == 1 else S
    return classes(S) if loss.binary else largest(S)


def classes(S: Array) -> Array:
    """The class of the largest score; with one column the binary rule: 1 where the score is >= 0, else 0."""
    return largest(S) if S.shape[1] > 1 else (S[:, 0] >= 0).astype(np.intp)


def largest(S: Array) -> Array:
    """The column of the largest entry of each row, the first of equals."""
    best = np.empty(len(S), np.intp)
    for some in laps(len(S), 4 * S.shape[1] * S.itemsize + best.itemsize):  # argmax is slower than memory
        S[some].argmax(axis=1, out=best[some])
    return best


def largest_few(S: Array, k: Any) -> Array:
    """The columns (n, k) of the k largest entries of each row, the largest first; of equals the first come first."""
    c = S.shape[1]
    k = _check.count("k", k, high=c)  # a class has one column
    found = np.empty((len(S), k), np.intp)
    for some in laps(len(S), (S.itemsize + 2 * found.itemsize) * c):
        # Backwards, so that of equals the first is the last: a NaN is the largest, as argmax has it.
        ascending = S[some, ::-1].argsort(axis=1, kind="stable")
        found[some] = c - 1 - ascending[:, ::-1][:, :k]
    return found


def best_classes(loss: Loss, S: Array, k: Any) -> Array:
    """The k classes (n, k) of the largest scores (n, c), the largest first."""
    if loss.predicts == "values":
        raise ValueError(f"{loss.name} is a regression and predicts no classes: leave k out")
    if S.shape[1] == 1 and loss.binary:
        raise ValueError("k needs a column of W for each class; W has one column, for class 1 against 0: leave k out")
    return largest_few(S, k)


def score(loss: Loss, S: Array, y: Any) -> float:
    """How good the predictions from scores (n, c) are: R^2 of a regression, the accuracy of a classifier."""
    if loss.predicts == "values":
        return _r2(S, _check.judged(y, len(S), S.shape[1], values=True).reshape(S.shape))
    return _accuracy(loss, S, _check.judged(y, len(S), S.shape[1], values=False))


def share_among(loss: Loss, S: Array, y: Any, k: Any) -> float:
    """The share of rows whose class is among those of the k largest scores."""
    found = best_classes(loss, S, k)
    y = _check.judged(y, len(S), S.shape[1], values=False)
    if y.ndim == 2:
        y = largest(y)
    laps_of_rows = laps(len(y), 2 * found.shape[1])
    return int(sum(np.count_nonzero(found[some] == y[some, None]) for some in laps_of_rows)) / len(y)


def _accuracy(loss: Loss, S: Array, y: Array) -> float:
    """The share of rows whose class is predicted; a row of targets is of the class of its largest one."""
    if S.shape[1] == 1 and loss.binary:
        y = y.reshape(-1) >= 0.5
    elif y.ndim == 2:
        y = y.reshape(-1) if S.shape[1] == 1 and loss.targets is None else largest(y)
    found = prediction(loss, S)
    return int(sum(np.count_nonzero(found[some] == y[some]) for some in laps(len(y), 32))) / len(y)


def _r2(S: Array, y: Array) -> float:
    """1 - sum (y - s)^2 / sum (y - mean)^2, the mean over the columns; of a constant y 1 if it is met, else 0."""
    n, c = S.shape
    total, missed, spread = np.zeros(c), np.zeros(c), np.zeros(c)
    for some in laps(n, 16 * c):
        total += y[some].sum(axis=0, dtype=np.float64)
    for some in laps(n, 32 * c):
        T = y[some].astype(np.float64)
        missed += np.square(T - S[some]).sum(axis=0)
        spread += np.square(T - total / n).sum(axis=0)
    constant = spread == 0
    return float(np.where(constant, missed == 0, 1 - missed / np.where(constant, 1.0, spread)).mean())
