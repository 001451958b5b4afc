"""Compares fastlin with the libraries that its users would otherwise call: same arrays, same dtype, same threads.

A line shows the median (20th, 80th percentile) of all calls, how far one call raises the process's memory at its
peak, and GF/s counted as 4ndc with their share of what a large matrix product (gemm) reaches in the same rounds.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from contest import Bench, Limits, Result, Verdict, run
from contestants import CALLS, GEMM_SIDE, LIMITS, READ_BYTES, LossRow, Shape, calls_of, make_case, numpy_row_major

from fastlin.testing import Reference, tolerance

SHAPES = [
    Shape(256, 3072, 10, "float32"),  # a mini-batch of CIFAR-10
    Shape(256, 3073, 10, "float32"),  # ... with a column of ones: rows no longer start at a cache line
    Shape(10_000, 3072, 10, "float32"),  # X comes from memory
    Shape(10_000, 3072, 10, "float64"),
    Shape(10_000, 3073, 10, "float32"),
    Shape(1797, 64, 10, "float32"),  # digits: X fits the cache, exp takes much of the time
    Shape(1797, 64, 10, "float64"),
    Shape(64, 65, 10, "float32"),  # microseconds: the overhead of a call
    Shape(65_536, 128, 2, "float32"),
    Shape(20_000, 384, 50, "float32"),  # embeddings of sentences
    Shape(20_000, 768, 100, "float32"),
    Shape(20_000, 768, 100, "float64"),
    Shape(16_384, 768, 1000, "float32"),  # many classes: two large matrix products
    Shape(10_000, 3072, 10, "uint8"),  # pixels as they are stored; peers convert them within the timed call
]
LOSSES = ("softmax", "svm")
COLUMNS = ("shape", "dtype", "loss", "library", "agrees", "calls", "p20", "p50", "p80")
COLUMNS += ("gf_s", "peak_mb", "gemm_gf_s", "read_gb_s")


def judge(row: LossRow, library: str, answer: tuple[float, np.ndarray]) -> Verdict:
    """A loss and a gradient against the reference."""
    expected = reference(row)
    error, limit = max(expected.errors(*answer)), tolerance(row.shape.weight_dtype, expected.terms)
    return Verdict() if error <= limit else Verdict(f"WRONG: error {error:.1e} above {limit:.1e}")


@lru_cache(maxsize=1)  # every library of a row needs it
def reference(row: LossRow) -> Reference:
    """The row in float64."""
    exact = make_case(row.shape).astype("float64")
    return Reference.of(exact, *numpy_row_major(exact.W, exact.X, exact.y, row.loss))


def heading(row: LossRow, limits: Limits) -> str:
    return f"{row.name}    gemm {gemm_gf_s(limits):.0f} GF/s, read {read_gb_s(limits):.1f} GB/s"


def note(row: LossRow, result: Result, limits: Limits) -> str:
    speed = gf_s(row, result)
    return f", {speed:6.1f} GF/s, {speed / gemm_gf_s(limits):5.1%} of gemm"


def own_columns(row: LossRow, result: Result, limits: Limits) -> dict[str, object]:
    return {
        "shape": row.shape.size,
        "dtype": row.shape.dtype,
        "loss": row.loss,
        "gf_s": f"{gf_s(row, result):.4g}" if result.seconds else "",
        "gemm_gf_s": f"{gemm_gf_s(limits):.4g}",
        "read_gb_s": f"{read_gb_s(limits):.4g}",
    }


def gf_s(row: LossRow, result: Result) -> float:
    """Two products of n x d x c multiplications and additions."""
    return 4e-9 * row.shape.n * row.shape.d * row.shape.c / result.median


def gemm_gf_s(limits: Limits) -> float:
    return 2e-9 * GEMM_SIDE**3 / limits["gemm"]


def read_gb_s(limits: Limits) -> float:
    return 1e-9 * READ_BYTES / limits["read"]


BENCH = Bench(
    name="peers",
    rows=[LossRow(shape, loss) for shape in SHAPES for loss in LOSSES],
    libraries=list(CALLS),
    limits=list(LIMITS),
    packages=("fastlin", "cython", "numba", "numpy", "torch", "jax", "scikit-learn"),
    columns=COLUMNS,
    calls_of=calls_of,
    judge=judge,
    heading=heading,
    note=note,
    own_columns=own_columns,
)

if __name__ == "__main__":
    run(BENCH, __doc__)
