"""Cases, tolerances and errors for tests, benches and `fastlin compare`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastlin import ops
from fastlin._check import Array
from fastlin._objective import make_objective
from fastlin.ops import OPS

CLOSE = 8.0  # in units of eps * sqrt(numbers added up): rounding errors of a sum grow like a random walk
LONGEST_SUM = 1024  # rows: more are added up in sums of sums (fastlin/_plan.py), so that errors do not grow any more


@dataclass(frozen=True)
class Case:
    """The inputs of a loss and a name that says what is special about them."""

    name: str
    W: Array
    X: Array
    y: Array
    sample_weight: Array | None = None
    bias: bool = False

    def astype(self, dtype: str) -> Case:
        """The same numbers in another precision."""
        X = self.X if self.X.dtype.kind in "iub" else self.X.astype(dtype)
        weight = None if self.sample_weight is None else self.sample_weight.astype(dtype)
        return replace(self, W=self.W.astype(dtype), X=X, sample_weight=weight)

    def evaluate(self, loss: str, reg: float = 0.0, **how: Any) -> tuple[float, Array]:
        """The public loss at this case, with every hyper-parameter off its neutral value."""
        how |= {"sample_weight": self.sample_weight, "bias": self.bias}
        return evaluate(loss, off_neutral(f"{loss}_epilogue"), self.W, self.X, self.targets(loss), reg, **how)

    def targets(self, loss: str) -> Array:
        """The y of a loss: the labels, or targets (n, c) in eighths of [0, 1], which are exact in every precision."""
        if ops.LOSSES[loss].targets is None:
            return self.y
        shape = len(self.y), self.W.shape[1]
        return np.random.default_rng(shape).integers(0, 9, shape) / 8


def evaluate(
    loss: str,
    hyper: dict[str, float],
    W: Any,
    X: Any,
    y: Any,
    reg: Any = 0.0,
    *,
    bias: bool = False,
    backend: str | None = None,
    threads: int | None = None,
    **arrays: Any,
) -> tuple[float, Array]:
    """Any loss of the table as its public function computes it; arrays : sample_weight, x_scale, out and so on."""
    objective = make_objective(loss, tuple(hyper.values()), reg, bias, backend, threads)
    given: dict[str, Any] = dict.fromkeys(("sample_weight", "x_scale", "x_shift")) | arrays
    return objective.evaluate(W, X, y, **given)


def off_neutral(op: str) -> dict[str, float]:
    """Hyper-parameters of a row, each off its neutral value, so that a kernel that ignores one fails."""
    return {name: spec.test_value for name, spec in OPS[op].hyper.items()}


def random_case(n: int, d: int, c: int, *, seed: int = 0, bias: bool = False, scale: float = 1.0) -> Case:
    """Normal X and W, with scores of order `scale`, and positive row weights."""
    rng = np.random.default_rng([seed, n, d, c])
    W = scale * rng.standard_normal((d + bias, c)) / np.sqrt(max(d, 1))
    return Case(
        f"{n}x{d}x{c}{'+b' if bias else ''}",
        W,
        rng.standard_normal((n, d)),
        rng.integers(0, c, n),
        sample_weight=rng.uniform(0.5, 1.5, n),
        bias=bias,
    )


def cases() -> Iterator[Case]:
    """Difficult cases: odd sizes, ties, extremes. Scores are exact where rounding could decide about a margin."""
    for n, d, c in [
        (1, 1, 1),
        (1, 3, 2),
        (7, 5, 3),
        (33, 17, 10),
        (130, 65, 10),
        (70, 3, 67),
        (5, 0, 4),
        (300, 70, 2),
    ]:
        yield random_case(n, d, c, bias=n % 2 == 1)
    rng = np.random.default_rng(1)
    y = rng.integers(0, 4, 9)
    ties = Case("ties", np.zeros((3, 4)), rng.standard_normal((9, 3)), y)
    yield ties
    gap = ties.W.copy()
    gap[0] = 0.5, 1.0, 1.5, 2.0  # with X[:, 0] = 1, score gaps that are multiples of one half
    integers = rng.integers(-3, 4, (9, 3)).astype(float)
    integers[:, 0] = 1.0
    yield replace(ties, name="integers", W=gap, X=integers)
    yield replace(random_case(9, 6, 4, scale=1e4), name="scores-1e4")
    yield replace(random_case(9, 6, 4, scale=1e-30), name="tiny-scores")
    yield replace(ties, name="one-label", W=gap, X=integers, y=np.full(9, 2))
    dominated = np.zeros((3, 4))
    dominated[0, 2] = 200.0
    yield replace(ties, name="dominated", W=dominated, X=integers)
    yield replace(ties, name="uint8", W=gap / 16, X=rng.integers(0, 256, (9, 3)).astype(np.uint8))


@dataclass(frozen=True)
class SparseRows:
    """A matrix in compressed sparse rows, with the attributes that SciPy's csr_array has."""

    data: Array
    indices: Array
    indptr: Array
    shape: tuple[int, int]


def sparse(X: Array, indices: str = "int32") -> SparseRows:
    """The non-zeros of X, those of a row in any order, and every third of them in two equal halves; all read-only."""
    rng = np.random.default_rng(X.shape)
    rows, columns = np.nonzero(X)
    halved = (np.arange(len(rows)) % 3 == 0) & (X.dtype.kind == "f")
    entries = np.concatenate([np.arange(len(rows)), np.flatnonzero(halved)])
    order = np.lexsort((rng.random(len(entries)), rows[entries]))
    entries = entries[order]
    data = X[rows, columns][entries]
    if halved.any():
        data[halved[entries]] /= 2
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows[entries], minlength=len(X)))])
    found = SparseRows(
        data, columns[entries].astype(indices), indptr.astype("int64" if indices == "int64" else "int32"), X.shape
    )
    for array in (found.data, found.indices, found.indptr):
        array.flags.writeable = False
    return found


def layouts(A: Array) -> dict[str, Array]:
    """The same numbers in the memory layouts that callers use; all read-only."""
    wide = np.zeros((A.shape[0] * 2, A.shape[1] * 3 + 1), A.dtype)
    wide[::2, 1::3] = A
    padded = np.zeros((A.shape[0], A.shape[1] + 3), A.dtype)
    padded[:, : A.shape[1]] = A
    raw = np.zeros(A.nbytes + 1, np.uint8)[1:]
    unaligned: Array = raw.view(A.dtype).reshape(A.shape)
    unaligned[...] = A
    found = {
        "C": A.copy(),
        "F": np.asfortranarray(A),
        "strided": wide[::2, 1::3],
        "padded": padded[:, : A.shape[1]],
        "negative": A[::-1, ::-1].copy()[::-1, ::-1],
        "rows-reversed": A[::-1].copy()[::-1],
        "swapped": A.astype(A.dtype.newbyteorder()),
        "unaligned": unaligned,
    }
    for array in found.values():
        array.flags.writeable = False
    return found


def tolerance(dtype: str, terms: int) -> float:
    """How far a result may lie from the float64 reference, relatively: k eps, for sums of `terms` numbers."""
    return float(CLOSE * np.finfo(dtype).eps * np.sqrt(max(terms, 1)))


def error(found: Any, expected: Any, magnitude: float | None = None) -> float:
    """The largest difference, relative to `magnitude` (the largest expected number if it is not given)."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if not expected.size:
        return 0.0
    size = np.abs(expected).max() if magnitude is None else magnitude
    return float(np.abs(found - expected).max() / (size or 1.0))


def near_ties(
    loss: str, hyper: dict[str, float], W: Array, X: Array, y: Array, *, bias: bool = False, dtype: str
) -> Array:
    """Which rows (n,) may take another slope in `dtype` than in float64, because a slope jumps close to their scores.

    A hinge's slope jumps where the margin is just met, that of |s - t| at s = t, and Crammer and Singer's from one
    class to another where both violate the margin alike. On the other side of the jump the row's share of dW is another
    one, and no tolerance for rounding covers that: leave these rows out, or give them the weight 0. "Close" is the
    `tolerance` of two scores. Other losses have no jumps. W, X, y : as they are given to the loss; its `hyper` by name.
    """
    X, W = X.astype(np.float64), W.astype(np.float64)
    d = X.shape[1]
    b = W[d] if bias else np.zeros(W.shape[1])
    S = X @ W[:d] + b
    slack = tolerance(dtype, d + 1) * (2 * (np.abs(X) @ np.abs(W[:d]) + np.abs(b)).max(axis=1) + 1)
    gaps: Array
    if loss in ("svm", "crammer_singer_svm"):
        V = S - np.take_along_axis(S, y[:, None], axis=1) + hyper["margin"]
        V = V[np.arange(V.shape[1]) != y[:, None]].reshape(len(V), V.shape[1] - 1)  # of the other classes
        if loss == "crammer_singer_svm":
            V = np.sort(np.column_stack([np.zeros(len(V)), V]), axis=1)  # 0: no class violates the margin
            V = V[:, -1:] - V[:, -2:-1]
        gaps = np.abs(V)
    elif loss == "one_vs_rest_svm":
        gaps = np.abs(hyper["margin"] - (2 * y.reshape(S.shape) - 1) * S)
    elif loss == "absolute_error":
        gaps = np.abs(S - y.reshape(S.shape))
    else:
        return np.zeros(len(X), bool)
    near: Array = (gaps <= slack[:, None]).any(axis=1)
    return near


@dataclass(frozen=True)
class Reference:
    """A case evaluated in float64, and the magnitude of the terms of its sums.

    Rounding errors are relative to the terms, not to the result: a gradient whose terms cancel is small.
    """

    loss: float
    dW: Array
    loss_size: float
    dW_size: float
    terms: int

    @classmethod
    def of(cls, exact: Case, loss: float, dW: Array) -> Reference:
        """The sizes that belong to a float64 case and its exact loss and gradient."""
        X = np.abs(exact.X.astype(np.float64))
        n, d = X.shape
        scores = max(1.0, float((X @ np.abs(exact.W[:d])).max(initial=0.0)))
        dW_size = scores * max(1.0, float(X.mean(axis=0).max(initial=0.0)))
        return cls(loss, dW, max(abs(loss), scores), dW_size, min(n, LONGEST_SUM) + d + dW.shape[1])

    def errors(self, loss: float, dW: Array) -> tuple[float, float]:
        """Relative errors of a loss and a gradient."""
        return error(loss, self.loss, self.loss_size), error(dW, self.dW, self.dW_size)


def reference(loss: str, case: Case, reg: float = 0.0) -> Reference:
    """The values that every backend must return for this case, within `tolerance`."""
    exact = case.astype("float64")
    return Reference.of(exact, *exact.evaluate(loss, reg, backend="naive"))


@dataclass(frozen=True)
class UpdateCase:
    """An update's arrays, before the step."""

    rule: str
    arrays: tuple[Array, ...]  # w, g and the state
    scalars: tuple[float, ...]

    def step(self, backend: str) -> tuple[Array, ...]:
        """Copies of the arrays after one step of the kernel; g is passed read-only."""
        arrays = self.fresh()
        self.kernel(backend)(*arrays, *self.scalars)
        return arrays

    def repeat(self, backend: str) -> Callable[[], None]:
        """A function that makes one more step at each call, on copies of the arrays."""
        arrays, kernel = self.fresh(), self.kernel(backend)
        return lambda: kernel(*arrays, *self.scalars)

    def fresh(self) -> tuple[Array, ...]:
        """Copies of the arrays, g read-only."""
        arrays = tuple(A.copy() for A in self.arrays)
        arrays[1].flags.writeable = False
        return arrays

    def astype(self, dtype: str) -> UpdateCase:
        """The same numbers in another precision."""
        return replace(self, arrays=tuple(A.astype(dtype) for A in self.arrays))

    def kernel(self, backend: str) -> Callable[..., None]:
        """The kernel of the rule for these arrays."""
        return ops.kernel(self.rule, backend, self.arrays[0].dtype.name)


def update_case(rule: str, size: int, dtype: str, seed: int = 0) -> UpdateCase:
    """Random w, g and state (never negative: some rules take its root), step 9, hyper-parameters off neutral."""
    rng = np.random.default_rng([seed, size])
    op = OPS[rule]
    w, g = rng.standard_normal((2, size)).astype(dtype)
    state = rng.uniform(0.1, 1.0, (len(op.state), size)).astype(dtype)
    values = {"t": 9} | off_neutral(rule)
    scalars = tuple(values[arg] for arg in op.args if arg in values)
    return UpdateCase(rule, (w, g, *state), scalars)
