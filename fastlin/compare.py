"""`fastlin compare` runs every op in every backend on the same arrays, checks that they agree, and then times them.

Each contestant is timed in bursts of its own after a pause: idle BLAS threads spin for tens of milliseconds and slow
down the next contestant. Bursts of all contestants alternate, so that changes of the machine's speed affect all alike.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastlin import _check, _pool, machine, ops
from fastlin._extras import need
from fastlin._files.store import replacing
from fastlin.data import load_arrays, load_digits
from fastlin.testing import Case, error, random_case, reference, tolerance, update_case

PAUSE = 0.1  # seconds: longer than BLAS threads spin
BURST = 0.1
ROUNDS = 3
SLOW = 0.5  # seconds: a contestant whose call takes longer is timed once


@dataclass
class Row:
    """One op in one backend on one input. Times are seconds; errors are relative to naive in float64."""

    input: str
    op: str
    backend: str
    agrees: bool
    loss_error: float | None  # None for an update, which has no loss
    gradient_error: float  # of the updated weights and state, for an update
    limit: float  # the error allowed: k eps, see fastlin.testing.tolerance
    p20: float | None = None  # None where the result is wrong: a wrong backend has no speed
    median: float | None = None
    p80: float | None = None
    vs_naive: float | None = None
    vs_numpy: float | None = None


@dataclass
class _Contest:
    """A row and its timed call."""

    row: Row
    fresh: Callable[[], Callable[[], Any]]  # makes the call, with arrays of its own
    seconds: list[float]


def default_cases(dtype: str) -> list[Case]:
    """scikit-learn's digits, and a batch shaped as CIFAR-10's with the bias column."""
    batch = random_case(256, 3073, 10).astype(dtype)
    return [digits_case(dtype), Case("CIFAR-10-shaped batch 256x3073x10", batch.W, batch.X, batch.y)]


def digits_case(dtype: str) -> Case:
    """All of digits with a small random W."""
    digits = load_digits()
    X, y = (np.concatenate([digits.X_test, digits.X]), np.concatenate([digits.y_test, digits.y]))
    W = random_case(1, X.shape[1], 10).W
    return Case(f"digits {len(X)}x{X.shape[1]}x10", W, X, y).astype(dtype)


def file_case(path: str, dtype: str) -> Case:
    """The X (n, d) and y (n,) of an .npz file with a small random W."""
    data = load_arrays(path)
    X, y = _check.array("X", data.X, 2), _check.array("y", data.y, 1)
    if not X.size or not y.size or y.dtype.kind not in "iu":
        raise ValueError(f"{path}: expected X (n, d), not empty, and integer labels y; found {X.shape}, y {y.dtype}")
    c = int(y.max()) + 1
    X = X if X.dtype.kind in "iub" else X.astype(dtype)
    W = (random_case(1, X.shape[1], c).W / max(1.0, float(np.abs(X).max()))).astype(dtype)
    _check.inputs(ops.LOSSES["softmax"], W, X, y, False)
    return Case(f"{Path(path).name} {len(X)}x{X.shape[1]}x{c}", W, X, y)


USUAL = ("softmax", "svm", "squared_svm", "logistic", "sgd", "momentum", "adam")  # few enough for one page


def op_names() -> list[str]:
    """What can be compared: the losses, and the updates under their names without `_update`."""
    updates = [name.removesuffix("_update") for name, op in ops.OPS.items() if op.kind == "update"]
    return ops.losses() + updates


def compare(
    cases: Sequence[Case],
    names: Sequence[str],
    backends: Sequence[str],
    threads: int | None,
    progress: Callable[[Iterable[Any], int], Iterable[Any]],
) -> list[Row]:
    """Check and time every op on every case in every backend. `progress` wraps the jobs, given their number."""
    rows: list[Row] = []
    jobs = [(case, name) for case in cases for name in names]
    with blas_threads(threads):
        for case, name in progress(jobs, len(jobs)):
            rows += _compare_one(case, name, backends, threads)
    return rows


def blas_threads(threads: int | None) -> AbstractContextManager[Any]:
    """Gives NumPy's BLAS as many threads as the others have."""
    if threads is None:
        return nullcontext()
    pools = need("threadpoolctl", "sklearn", "--threads")
    limit: AbstractContextManager[Any] = pools.threadpool_limits(_pool.thread_limit(threads))
    return limit


def _compare_one(case: Case, name: str, backends: Sequence[str], threads: int | None) -> list[Row]:
    make = _loss_contests if name in ops.losses() else _update_contests
    contests = list(make(case, name, backends, threads))
    for contest in _rounds(contests):
        contest.seconds += _burst(contest.fresh())
    medians: dict[str, float] = {}
    for contest in contests:
        if contest.seconds:
            row = contest.row
            row.p20, row.median, row.p80 = (float(q) for q in np.percentile(contest.seconds, [20, 50, 80]))
            medians[row.backend] = row.median
    for contest in contests:
        row = contest.row
        if row.median is not None:
            row.vs_naive = medians["naive"] / row.median if "naive" in medians else None
            row.vs_numpy = medians["numpy"] / row.median if "numpy" in medians else None
    return [contest.row for contest in contests]


def _rounds(contests: Sequence[_Contest]) -> Iterator[_Contest]:
    """The contestants that agree, in turn, a few times; slow ones once."""
    for _ in range(ROUNDS):
        for contest in contests:
            if contest.row.agrees and sum(contest.seconds) < SLOW:
                yield contest


def _burst(call: Callable[[], Any]) -> list[float]:
    """Durations of calls for a while, after a pause and one call that warms up.

    One call is enough if it is slow, but the first does not count: it may be slow for another reason.
    """
    time.sleep(PAUSE)
    call()
    seconds: list[float] = []
    total = 0.0  # summed as it grows: there may be a hundred thousand
    while total < BURST or (len(seconds) < 3 and total < SLOW):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
        total += seconds[-1]
    return seconds


def _loss_contests(case: Case, loss: str, backends: Sequence[str], threads: int | None) -> Iterator[_Contest]:
    expected = reference(loss, case)
    limit = tolerance(case.W.dtype.name, expected.terms)
    for backend in backends:
        found = case.evaluate(loss, backend=backend, threads=threads)
        loss_error, gradient_error = expected.errors(*found)
        agrees = max(loss_error, gradient_error) <= limit  # false for NaN
        row = Row(case.name, loss, backend, agrees, loss_error, gradient_error, limit)
        yield _Contest(row, lambda backend=backend: _loss_call(case, loss, backend, threads), [])  # type: ignore[misc]


def _loss_call(case: Case, loss: str, backend: str, threads: int | None) -> Callable[[], Any]:
    out = np.zeros_like(case.W)
    return lambda: case.evaluate(loss, backend=backend, threads=threads, out=out)


def _update_contests(case: Case, name: str, backends: Sequence[str], threads: int | None) -> Iterator[_Contest]:
    rule = f"{name}_update"
    dtype = case.W.dtype.name
    start = update_case(rule, case.W.size, dtype)
    expected = start.astype("float64").step("naive")
    limit = tolerance(dtype, 1)
    for backend in backends:
        largest = max(error(A, B) for A, B in zip(start.step(backend), expected, strict=True))
        row = Row(case.name, name, backend, largest <= limit, None, largest, limit)
        yield _Contest(row, lambda backend=backend: start.repeat(backend), [])  # type: ignore[misc]


def table(rows: Sequence[Row]) -> str:
    """The rows as text, a block for each input."""
    lines = []
    for name in dict.fromkeys(row.input for row in rows):
        lines += [
            "",
            name,
            _line("op", "backend", "median", "x naive", "x numpy", "loss error", "gradient error"),
        ]
        lines += [_describe(row) for row in rows if row.input == name]
    return "\n".join(lines[1:])


def _describe(row: Row) -> str:
    if not row.agrees:
        verdict = f"WRONG: error above {row.limit:.0e}"
        return _line(row.op, row.backend, verdict, "", "", _error(row.loss_error), _error(row.gradient_error))
    return _line(
        *(row.op, row.backend, duration(row.median), ratio(row.vs_naive), ratio(row.vs_numpy)),
        *(_error(row.loss_error), _error(row.gradient_error)),
    )


def _line(op: str, backend: str, median: str, naive: str, numpy: str, loss: str, gradient: str) -> str:
    return f"  {op:12} {backend:8} {median:>10} {naive:>9} {numpy:>9} {loss:>11} {gradient:>15}".rstrip()


def _error(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"


def ratio(value: float | None) -> str:
    """A speed-up to three digits, "1.23x"."""
    return "" if value is None else f"{float(f'{value:.3g}'):g}x"


def duration(seconds: float | None) -> str:
    """A duration to three digits in the unit that fits it."""
    if seconds is None:
        return ""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def write_json(rows: Sequence[Row], path: str) -> None:
    """The rows with what they were measured on."""
    content = {"machine": machine.describe(), "rows": [asdict(row) for row in rows]}
    with replacing(path) as file:
        file.write(json.dumps(content, indent=2).encode() + b"\n")
