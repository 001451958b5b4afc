"""Counts the passes over X that each smooth solver of `fl.minimize` needs, for docs/solvers.md. No clock is read.

Softmax with reg = 1 / (2 C n): passes to within 1e-6 (1e-9) of the lowest loss that any of them finds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from fit_problems import embeddings, images, table
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine

from fastlin import _solvers, _whitened
from fastlin._check import Array
from fastlin._memory import Memory
from fastlin._objective import make_objective, start_weights
from fastlin._problem import Problem

FILE = Path(__file__).parent / "results" / "solvers.json"
CLOSE = (1e-6, 1e-9)
MOST = {"lbfgs": 3000, "newton-cg": 200, "whitened-lbfgs": 3000}
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


def curve(solver: str, X: Array, y: Array, C: float) -> list[tuple[int, float]]:
    """(passes, loss) at the start and after each iteration."""
    objective = make_objective("softmax", (0.0,), 1.0 / (2.0 * C * len(X)), True, None, None)
    start = start_weights("softmax", None, X, y, True, np.float64)
    problem = Problem(objective, objective.inputs(start, X, y), None)
    found: list[tuple[int, float]] = []
    _solvers.solve(problem, solver, MOST[solver], 1e-10, Memory(), lambda value: found.append((problem.passes, value)))
    return found


def row(name: str, X: Array, y: Array, C: float) -> dict[str, str]:
    """A line of the table."""
    curves = {solver: curve(solver, X, y, C) for solver in ("lbfgs", "newton-cg")}
    first, _whitened.FIRST = _whitened.FIRST, MOST["whitened-lbfgs"]
    curves[ONCE] = curve("whitened-lbfgs", X, y, C)
    _whitened.FIRST = first
    curves[ANEW] = curve("whitened-lbfgs", X, y, C)
    lowest = min(value for points in curves.values() for _, value in points)
    n, d = X.shape
    line = {"data": f"{name}, {n}×{d}", "C": f"{C:g}"}
    for what, points in curves.items():
        near, nearer = (
            next((str(passes) for passes, value in points if value <= lowest * (1 + close)), f"not in {points[-1][0]}")
            for close in CLOSE
        )
        line[what] = near if near.startswith("not") else f"{near} ({nearer})"
    return line


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    rows = []
    for name, X, y, C in data_sets():
        rows.append(row(name, X, y, C))
        print(rows[-1], flush=True)
    FILE.write_text(json.dumps({"counts": "passes over X to 1e-6 (1e-9)", "rows": rows}, indent=2) + "\n")
    print(f"wrote {FILE}; bench/report.py puts it into docs/solvers.md")


if __name__ == "__main__":
    main()
