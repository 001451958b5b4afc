"""Compares losses on sparse rows (CSR) with the libraries that users would otherwise call: same arrays and threads.

A line shows the median (20th, 80th percentile) of all calls, how far one call raises the process's memory at its
peak, and the share of the limit: a read of the non-zeros and of the rows of W and dW that they touch, timed in the same
rounds.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from contest import Bench, Limits, Result, Verdict, run
from contestants import NUMPY_EPILOGUES
from sparse_contestants import CALLS, LIMITS, SparseRow, SparseShape, calls_of, make_case

from fastlin.testing import error, tolerance

SHAPES = [
    SparseShape("text", 16_000, 62_000, 20, per_row=80),  # like 20 newsgroups
    SparseShape("text", 20_000, 47_000, 53, per_row=76),  # like RCV1
    SparseShape("text", 100_000, 1 << 20, 10, per_row=80),  # hashed: W is larger than the caches
    SparseShape("one-hot", 100_000, 50_000, 10, per_row=25),  # a table of 25 columns of 2000 levels
]
LOSSES = ("softmax", "svm")
COLUMNS = ("kind", "shape", "per_row", "loss", "library", "agrees", "calls", "p20", "p50", "p80", "peak_mb", "limit_s")


def judge(row: SparseRow, library: str, answer: tuple[float, np.ndarray]) -> Verdict:
    """A loss and a gradient against the reference."""
    value, dW, terms = reference(row)
    found = max(abs(answer[0] - value) / value, error(answer[1], dW))
    limit = tolerance(make_case(row.shape).W.dtype.name, terms)
    return Verdict() if found <= limit else Verdict(f"WRONG: error {found:.1e} above {limit:.1e}")


@lru_cache(maxsize=1)  # every library of a row needs it
def reference(row: SparseRow) -> tuple[float, np.ndarray, int]:
    """Loss and gradient in float64, and of how many terms the longest sum is."""
    case = make_case(row.shape)
    X = case.X.astype(np.float64)
    scores = X @ case.W.astype(np.float64)
    value = NUMPY_EPILOGUES[row.loss](scores.T, case.y)
    return value, X.T @ scores, int(max(np.diff(X.indptr).max(), np.bincount(X.indices).max()))


def heading(row: SparseRow, limits: Limits) -> str:
    return f"{row.name}    {row.shape.per_row} non-zeros a row, read {1e3 * limits['read']:.2f} ms"


def note(row: SparseRow, result: Result, limits: Limits) -> str:
    return f", {limits['read'] / result.median:5.1%} of the limit"


def own_columns(row: SparseRow, result: Result, limits: Limits) -> dict[str, object]:
    shape = row.shape
    columns = {"kind": shape.kind, "shape": shape.size, "per_row": shape.per_row, "loss": row.loss}
    return columns | {"limit_s": f"{limits['read']:.4g}"}


BENCH = Bench(
    name="sparse",
    rows=[SparseRow(shape, loss) for shape in SHAPES for loss in LOSSES],
    libraries=list(CALLS),
    limits=list(LIMITS),
    packages=("fastlin", "cython", "numba", "numpy", "scipy", "scikit-learn", "torch", "sparse_dot_mkl"),
    columns=COLUMNS,
    calls_of=calls_of,
    judge=judge,
    heading=heading,
    note=note,
    own_columns=own_columns,
)

if __name__ == "__main__":
    run(BENCH, __doc__)
