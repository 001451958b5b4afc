"""Compares training with the libraries that users would otherwise call: steps of optimizers, and epochs with Adam.

A line shows the median (20th, 80th percentile) of all calls and how far one call raises the process's memory at its
peak. "Of the limit" is the time to move the least possible data (W, the state and the gradient of a step; X, once, of
an epoch), or of an epoch's arithmetic at the speed of a large matrix product if that is longer, measured in the same
rounds, as a share of the median. A line of an epoch also shows the accuracy of W on held-out rows.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import epoch_contestants as epochs
import numpy as np
import step_contestants as steps
from contest import Bench, Limits, Result, Verdict, run
from epoch_contestants import EpochRow
from step_contestants import StepRow
from worker import Call

SIZES = (30_730, 25_000_000)  # W of CIFAR-10 with its bias, which fits the cache; and a W that comes from memory
BATCHES = (256, 32)
LOSSES = ("softmax", "svm")
COLUMNS = ("task", "size", "library", "agrees", "calls", "p20", "p50", "p80", "peak_mb", "limit_s", "accuracy")
STEP_TOLERANCE = 5e-5  # of the largest change: 1 - beta2^t in float32 has three digits less
EPOCH_TOLERANCE = 1e-4  # of W, in norm: Adam follows the sign of a gradient that is only a rounding error


def calls_of(library: str, row: StepRow | EpochRow, threads: int) -> list[Call]:
    return (steps.step_calls if isinstance(row, StepRow) else epochs.epoch_calls)(library, row, threads)


def judge(row: StepRow | EpochRow, library: str, W: np.ndarray) -> Verdict:
    """Compares W with the reference, and measures its accuracy on held-out rows."""
    expected = reference(row)
    if isinstance(row, StepRow):
        W_exact, W_start = expected
        return verdict(np.abs(W - W_exact).max() / np.abs(W_exact - W_start).max(), STEP_TOLERANCE, {})
    reached = {"accuracy": f"{epochs.accuracy(row, W):.4f}"}
    if library in epochs.OWN_RULE:
        return Verdict("its own rule", reached)
    return verdict(np.linalg.norm(W - expected) / np.linalg.norm(expected), EPOCH_TOLERANCE, reached)


def verdict(error: float, limit: float, reached: dict[str, str]) -> Verdict:
    return Verdict("yes" if error <= limit else f"WRONG: error {error:.1e} above {limit:.1e}", reached)


@lru_cache(maxsize=1)  # every library of a row needs it
def reference(row: StepRow | EpochRow) -> Any:
    """The row in float64."""
    return (steps if isinstance(row, StepRow) else epochs).expected_weights(row)


def heading(row: StepRow | EpochRow, limits: Limits) -> str:
    return row.name + (f"    limit {1e3 * seconds_of(row, limits):.1f} ms" if limits else "")


def seconds_of(row: StepRow | EpochRow, limits: Limits) -> float:
    """The least time that the machine needs."""
    return max(limits["memory"], epochs.arithmetic(row, limits) if isinstance(row, EpochRow) else 0.0)


def note(row: StepRow | EpochRow, result: Result, limits: Limits) -> str:
    accuracy = result.verdict.columns.get("accuracy")
    text = f", {seconds_of(row, limits) / result.median:5.1%} of the limit" if limits else ""
    return text + (f", accuracy {float(accuracy):.1%}" if accuracy else "")


def own_columns(row: StepRow | EpochRow, result: Result, limits: Limits) -> dict[str, object]:
    limit = f"{seconds_of(row, limits):.4g}" if limits else ""
    return {"task": row.task, "size": row.size, "limit_s": limit}


BENCH = Bench(
    name="training",
    rows=[
        *(StepRow(rule, size) for size in SIZES for rule in steps.RULES),
        *(EpochRow(loss, batch) for batch in BATCHES for loss in LOSSES),
        EpochRow("softmax", 256, 20_000, 768, 100),  # embeddings
    ],
    libraries=list(dict.fromkeys([*steps.CALLS, *epochs.CALLS])),
    limits=["memory", "gemm"],
    packages=("fastlin", "cython", "numba", "numpy", "torch", "jax", "optax", "scikit-learn"),
    columns=COLUMNS,
    calls_of=calls_of,
    judge=judge,
    heading=heading,
    note=note,
    own_columns=own_columns,
)

if __name__ == "__main__":
    run(BENCH, __doc__)
