"""Counts the passes over X that solvers need, for docs/solvers.md and docs/sparse.md. No clock is read.

Softmax with reg = 1 / (2 C n): passes to within 1e-6 (1e-9) of the lowest loss that any of them finds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from fit_problems import embeddings, images, table
from scipy.sparse import csr_array
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sparse_data import one_hot, text

from fastlin._check import Array
from fastlin._check.csr import features
from fastlin._objective import make_objective, start_weights
from fastlin._solvers import choice, whitened
from fastlin._solvers.memory import Memory
from fastlin._solvers.problem import Problem

FOLDER = Path(__file__).parent / "results"
FILE, SPARSE_FILE = FOLDER / "solvers.json", FOLDER / "sparse-solvers.json"
CLOSE = (1e-6, 1e-9)
MOST = {"lbfgs": 3000, "newton-cg": 200, "whitened-lbfgs": 3000, "scaled-lbfgs": 3000}
SPARSE_MOST = 1500
ONCE, ANEW = "white basis, made once", "made anew after 10, 30, 90 ... iterations"


def data_sets() -> Iterator[tuple[str, Array, Array, float]]:
    """Name, X, y, C."""
    for name, load in (("iris", load_iris), ("wine, raw", load_wine), ("breast cancer, raw", load_breast_cancer)):
        found = load()
        yield name, found.data, found.target, 1.0
    X, y = load_digits(return_X_y=True)
    yield "digits 0 to 16", X, y, 1.0
    yield "digits / 16", X / 16, y, 1.0
    yield "digits / 16", X / 16, y, 100.0
    yield "one-hot columns, and others of scales 1e-3 to 1e4", *table(tested=0)[:2], 1.0
    yield "images with dark borders", *images(10_000, tested=0)[:2], 1.0
    for C in (1.0, 100.0):
        yield "features of unit norm, 30 classes", *embeddings(6000, d=192, c=30, tested=0)[:2], C


def sparse_sets() -> Iterator[tuple[str, csr_array, Array, float]]:
    """Name, X, y, C."""
    tf_idf, y = text(3000, 6000, 8, per_row=60)
    counts = csr_array(tf_idf)
    counts.data = np.random.default_rng(1).geometric(0.5, tf_idf.nnz).astype(np.float64)
    hot, of_hot = one_hot(3000, 3000, 8, fields=10)
    scales = 10.0 ** np.random.default_rng(2).uniform(-2, 2, hot.shape[1])
    for C in (1.0, 100.0):
        yield "words, TF-IDF", tf_idf, y, C
        yield "words, counts", counts, y, C
        yield "one-hot", hot, of_hot, C
    yield "one entry a block, of scales 1e-2 to 1e2", csr_array(hot * scales), of_hot, 1.0


def curve(solver: str, X: Any, y: Array, C: float, most: int | None = None) -> list[tuple[int, float]]:
    """(passes, loss) at the start and after each iteration."""
    objective = make_objective("softmax", (0.0,), 1.0 / (2.0 * C * len(y)), True, None, None)
    X = features(X.astype(np.float64))  # else the first values would have the digits of float32
    start = start_weights("softmax", None, X, y, True, np.float64)
    problem = Problem(objective, objective.inputs(start, X, y), None)
    found: list[tuple[int, float]] = []

    def note(value: float) -> None:
        found.append((problem.passes, value))

    choice.solve(problem, solver, most or MOST[solver], 1e-10, Memory(), note)
    return found


def row(name: str, X: Array, y: Array, C: float) -> dict[str, str]:
    """A line of the table."""
    curves = {solver: curve(solver, X, y, C) for solver in ("lbfgs", "newton-cg")}
    anew, whitened.BASES = whitened.BASES, whitened.BASES._replace(first=MOST["whitened-lbfgs"])
    curves[ONCE] = curve("whitened-lbfgs", X, y, C)
    whitened.BASES = anew
    curves[ANEW] = curve("whitened-lbfgs", X, y, C)
    return line_of(name, X.shape, C, curves)


def sparse_row(name: str, X: csr_array, y: Array, C: float) -> dict[str, str]:
    """The same of sparse X."""
    solvers = {"lbfgs": SPARSE_MOST, "newton-cg": 30, "scaled-lbfgs": SPARSE_MOST}
    return line_of(name, X.shape, C, {solver: curve(solver, X, y, C, most) for solver, most in solvers.items()})


def line_of(name: str, shape: tuple[int, ...], C: float, curves: dict[str, list[tuple[int, float]]]) -> dict[str, str]:
    """The passes after which each is near the lowest loss."""
    lowest = min(value for points in curves.values() for _, value in points)
    n, d = shape
    line = {"data": f"{name}, {n}×{d}", "C": f"{C:g}"}
    for what, points in curves.items():
        near, nearer = (
            next((str(passes) for passes, value in points if value <= lowest * (1 + close)), f"not in {points[-1][0]}")
            for close in CLOSE
        )
        line[what] = near if near.startswith("not") else f"{near} ({nearer})"
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sparse", action="store_true", help="only the table of docs/sparse.md")
    sparse = parser.parse_args().sparse
    if not sparse:
        write(FILE, (row(*each) for each in data_sets()))
    write(SPARSE_FILE, (sparse_row(*each) for each in sparse_sets()))


def write(path: Path, rows: Iterator[dict[str, str]]) -> None:
    """The rows of a table, which bench/report.py puts into the documents."""
    found = []
    for each in rows:
        found.append(each)
        print(each, flush=True)
    path.write_text(json.dumps({"counts": "passes over X to 1e-6 (1e-9)", "rows": found}, indent=2) + "\n")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
