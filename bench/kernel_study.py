"""Measures the tables of docs/kernels.md on this machine. Each table is a group of figures whose bursts take turns, so
that changes of the machine's speed affect all alike. The results replace the table's lines in a CSV file, from which
bench/report.py writes the tables.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from contest import cpus, slug
from worker import burst

import fastlin as fl
from fastlin import _check, _plan, _pool, _run, machine, ops
from fastlin._objective import make_objective
from fastlin.compare import blas_threads
from fastlin.testing import random_case

PACKAGES = ("fastlin", "cython", "numba", "numpy")
HEADER = (
    *("date", "cpu", "cores", "isa", "load", *(f"{name}_version" for name in PACKAGES)),
    *("table", "row", "column", "p20", "p50", "p80"),
)
CLASSES = 10
L2_BYTES = 512 << 10  # of rows that stay in the L2 cache


@dataclass
class Figure:
    """A cell of a table: a timed function, and the conversion of its seconds into the figure."""

    row: str
    column: str
    run: Callable[[], object]
    figure: Callable[[float], float]
    seconds: list[float] = field(default_factory=list)


def microseconds(seconds: float) -> float:
    return 1e6 * seconds


def milliseconds(seconds: float) -> float:
    return 1e3 * seconds


def rate(flops: float) -> Callable[[float], float]:
    """GF/s from seconds."""
    return lambda seconds: flops / seconds / 1e9


# ---- The tables ------------------------------------------------------------------------------------------


def tiles(threads: Sequence[int]) -> Iterator[Figure]:
    """Both tiles alone on rows in L2, beside a large product of matrices by NumPy's BLAS, GF/s on one core."""
    for dtype in ops.DTYPES:
        square = np.random.default_rng(0).standard_normal((768, 768)).astype(dtype)
        product = partial(np.matmul, square, square, np.empty_like(square))
        for piece in ("scores", "gradient"):
            yield Figure(f"{dtype} {piece}", "matmul", product, rate(2 * len(square) ** 3))
        for d, label in ((64, "64"), (128, "128"), (3072, "3072"), (3072, "3072, unpadded"), (3073, "3073, unpadded")):
            n = max(_plan.BLOCK_ROWS, L2_BYTES // (d * np.dtype(dtype).itemsize))
            for piece, run in tile_calls(n, d, dtype, "unpadded" not in label):
                yield Figure(f"{dtype} {piece}", f"d = {label}", run, rate(2 * n * d * CLASSES))


def tile_calls(n: int, d: int, dtype: str, padded: bool) -> Iterator[tuple[str, Callable[[], object]]]:
    rng = np.random.default_rng(0)
    X, W = (
        _plan.padded((n, d) if padded else (1, n * d), np.dtype(dtype)),
        _plan.padded((CLASSES, d + 1), np.dtype(dtype)),
    )
    X = X.reshape(n, d) if not padded else X
    X[...], W[...] = rng.standard_normal((n, d)), rng.standard_normal((CLASSES, d + 1))
    scores, dscores, dW = np.empty((CLASSES, n), dtype), np.full((CLASSES, n), 1e-3, dtype), np.zeros_like(W)
    row_buffer = np.empty((0, d), dtype)  # dense rows are read as they lie
    for A in (X, W, dscores):
        A.flags.writeable = False
    yield "scores", partial(ops.kernel("dense_scores", "cython", dtype), X, 0, W, row_buffer, scores)
    yield "gradient", partial(ops.kernel("dense_gradient", "cython", dtype), X, 0, row_buffer, dscores, dW)


def blocks(threads: Sequence[int]) -> Iterator[Figure]:
    """A softmax loss with rows taken 16, 32 or 64 at a time, us on one thread."""
    for shape, dtype in (((1797, 64, 10), "float32"), ((256, 3072, 10), "float32"), ((256, 3072, 10), "float64")):
        for rows in (16, 32, 64):
            yield Figure(f"{size(shape)} {dtype}", f"{rows} rows", loss_by_blocks(shape, dtype, rows), microseconds)


def loss_by_blocks(shape: tuple[int, int, int], dtype: str, rows: int) -> Callable[[], object]:
    """The loss's kernel with a plan of its own."""
    case, (n, d, c) = random_case(*shape).astype(dtype), shape
    cut = _plan.Plan(parts=1, laps=1, block=rows, threads=1)
    own = _plan.Workspace(cut, c, d, np.dtype(dtype), False)
    kernel = ops.loss_kernel(ops.loss("softmax"), ops.STORAGES["dense"], "cython")
    W, X, y, sample_weight, _ = _check.inputs(ops.loss("softmax"), case.W, case.X, case.y, False)
    return partial(kernel, X, W, y, sample_weight, (0.0,), 1 / n, *own.arrays, np.empty_like(case.W), 0, 1, 0, 1, 1)


def exponential(threads: Sequence[int]) -> Iterator[Figure]:
    """exp: ns a number, and the largest error in units in the last place where it is a normal number."""
    for dtype in ops.DTYPES:
        info = np.finfo(dtype)
        x = np.linspace(np.log(info.tiny), np.log(info.max) - 1e-3, 200_001).astype(dtype)
        exact = np.exp(x.astype(np.longdouble))
        for backend in ("cython", "numba"):
            found = np.empty_like(x)
            kernel = ops.kernel("exp", backend, dtype)
            kernel(x, found)
            ulp = float((np.abs(found - exact) / np.spacing(exact.astype(dtype))).max())
            few, out = np.linspace(-20, 0, 1000).astype(dtype), np.empty(1000, dtype)
            yield Figure(f"{dtype}, {backend}", "ns", partial(kernel, few, out), lambda seconds: 1e9 * seconds / 1000)
            yield Figure(f"{dtype}, {backend}", "ULP", partial(kernel, few, out), lambda _, ulp=ulp: ulp)


def calls(threads: Sequence[int]) -> Iterator[Figure]:
    """The time of a small softmax loss, of its parts, and of two empty tasks of the Python pool, us."""
    for shape in ((1, 64, 10), (64, 65, 10)):
        case = random_case(*shape).astype("float32")
        W, X, y = case.W, case.X, case.y.astype(np.int64)
        out = np.empty_like(W)
        softmax = make_objective("softmax", (0.0,), 0.0, False, "cython", None)
        inputs = _check.inputs(softmax.loss, W, X, y, False, None, out)
        parts = {
            "whole": partial(fl.softmax_loss, W, X, y, out=out, backend="cython"),
            "whole, with reg": partial(fl.softmax_loss, W, X, y, 0.1, out=out, backend="cython"),
            "checks": partial(_check.inputs, softmax.loss, W, X, y, False, None, out),
            "cut, workspace and kernel": partial(_run.loss_grad, softmax, inputs, 1 / len(X), out),
        }
        for column, run in parts.items():
            yield Figure(size(shape), column, run, microseconds)
    yield Figure("two empty tasks", "whole", partial(_pool.pool.run, lambda number: (), 2, 2), microseconds)


def scaling(threads: Sequence[int]) -> Iterator[Figure]:
    """The same work by several threads: ms."""
    for count in threads:
        column = f"{count} thread{'s' * (count > 1)}"
        for backend in ("cython", "numba"):
            for shape in ((1797, 64, 10), (256, 3072, 10), (10000, 3072, 10)):
                yield Figure(f"loss {size(shape)}, {backend}", column, loss(shape, backend, count), milliseconds)
            yield Figure(
                f"epoch 10000 × 3072 × 10, batches of 256, {backend}", column, epoch(backend, count), milliseconds
            )
            yield Figure(f"Adam step of 25 000 000, {backend}", column, step(backend, count), milliseconds)


def loss(shape: tuple[int, int, int], backend: str, threads: int) -> Callable[[], object]:
    W, X, y = inputs(shape)
    return partial(fl.softmax_loss, W, X, y, out=np.empty_like(W), backend=backend, threads=threads)


def epoch(backend: str, threads: int) -> Callable[[], object]:
    _, X, y = inputs((10000, 3072, 10))
    how: dict[str, Any] = {"epochs": 1, "batch_size": 256, "backend": backend, "threads": threads}
    return lambda: fl.train(X, y, optimizer=fl.Adam(1e-3), **how)


def step(backend: str, threads: int) -> Callable[[], object]:
    W, dW = weights_of_memory()
    optimizer = fl.Adam(1e-3)
    return lambda: optimizer.step(W, dW, backend=backend, threads=threads)


_KEPT: dict[object, Any] = {}  # inputs that several figures share


def inputs(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if shape not in _KEPT:
        case = random_case(*shape).astype("float32")
        _KEPT[shape] = case.W, case.X, case.y
    return _KEPT[shape]


def weights_of_memory() -> tuple[np.ndarray, np.ndarray]:
    if "step" not in _KEPT:
        _KEPT["step"] = np.zeros(25_000_000, np.float32), np.ones(25_000_000, np.float32)
    return _KEPT["step"]


def size(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


TABLES = {"tiles": tiles, "blocks": blocks, "exp": exponential, "calls": calls, "threads": scaling}


# ---- The program -----------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    everything = list(TABLES)
    parser.add_argument("--tables", nargs="+", choices=everything, default=everything, help="default: all")
    parser.add_argument(
        "--threads", type=counts, metavar="N,N", default=default_counts(), help="of the table `threads`"
    )
    parser.add_argument(
        "--rounds", metavar="N", type=int, default=5, help="bursts of each figure; default: %(default)s"
    )
    parser.add_argument(
        "--csv",
        metavar="FILE",
        type=Path,
        default=Path(__file__).parent / "results" / f"kernels-{slug(machine.cpu_name())}.csv",
        help="replace the tables' lines in FILE; default: %(default)s",
    )
    arguments = parser.parse_args()
    if arguments.csv.exists() and arguments.csv.read_text().partition("\n")[0].rstrip() != ",".join(HEADER):
        parser.error(f"{arguments.csv} has other columns than this program writes; move it away")
    for name in arguments.tables:
        print(f"\n{TABLES[name].__doc__}")
        replace(arguments.csv, name, measure(name, arguments.threads, arguments.rounds))


def counts(text: str) -> list[int]:
    """Numbers of threads: "1,2,4"."""
    return [int(part) for part in text.split(",")]


def default_counts() -> list[int]:
    """1, 2, 4 ... and all cores."""
    cores = len(cpus())
    return sorted({2**k for k in range(cores.bit_length()) if 2**k <= cores} | {cores})


def measure(name: str, threads: Sequence[int], rounds: int) -> list[dict[str, object]]:
    """The lines of a table."""
    versions = {f"{package}_version": machine.version(package) or "" for package in PACKAGES}
    common = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "load": f"{machine.busy_cores():.2f}",
        "table": name,
    }
    common |= {"cpu": machine.cpu_name(), "cores": str(len(cpus())), "isa": machine.instruction_set()} | versions
    lines: list[dict[str, object]] = []
    with blas_threads(1):
        figures = list(TABLES[name](threads))
        for _ in range(rounds):
            for figure in figures:
                figure.seconds += burst(figure.run)
    for figure in figures:
        values = sorted(figure.figure(seconds) for seconds in figure.seconds)
        cells = {f"p{q}": f"{np.percentile(values, q):.4g}" for q in (20, 50, 80)}
        lines.append(common | {"row": figure.row, "column": figure.column} | cells)
        print(f"  {figure.row:52} {figure.column:22} {cells['p50']:>8} ({cells['p20']}, {cells['p80']})")
    return lines


def replace(path: Path, name: str, lines: Sequence[dict[str, object]]) -> None:
    """The file with these lines instead of the table's."""
    kept: list[dict[str, Any]] = []
    if path.exists():
        with path.open(newline="") as file:
            kept = [line for line in csv.DictReader(file) if line["table"] != name]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, HEADER)
        writer.writeheader()
        writer.writerows([*kept, *lines])


if __name__ == "__main__":
    main()
