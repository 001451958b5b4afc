"""Times Newton's method with the whole Hessian beside L-BFGS in a white basis, where weights are few: docs/solvers.md.

Milliseconds of `fl.minimize` to tol=1e-8: the least of some turns, in which each solver is timed once. Columns have
scales from 1 to 100, and reg = 1 / (2 n).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

import fastlin as fl
from fastlin import machine

FILE = Path(__file__).parent / "results" / "few-weights.json"
SOLVERS = ("newton-cholesky", "whitened-lbfgs")
SHAPES = (
    *((100, 2, 2), (120, 4, 3), (200, 10, 3), (500, 20, 2), (2000, 10, 3), (5000, 10, 2)),
    *((2000, 20, 3), (5000, 20, 3), (500, 20, 5), (500, 60, 3)),
)


def row(n: int, d: int, c: int, turns: int) -> dict[str, Any]:
    """A line of the table."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    y = (X @ rng.standard_normal((d, c)) + rng.gumbel(size=(n, c))).argmax(axis=1)
    X *= np.geomspace(1.0, 100.0, d)
    least = dict.fromkeys(SOLVERS, np.inf)
    for _ in range(turns):
        for solver in SOLVERS:
            begin = time.perf_counter()
            result = fl.minimize(X, y, classes=c, reg=0.5 / n, tol=1e-8, solver=solver)
            least[solver] = min(least[solver], time.perf_counter() - begin)
            if not result.solved.converged:
                raise SystemExit(f"{solver} on {n} × {d} × {c}: {result.solved.message}")
    return {
        "n × d × c": f"{n} × {d} × {c}",
        "weights": (d + 1) * c,
        "million multiplications": 1e-6 * n * (c * (c + 1) // 2) * (d + 1) ** 2,  # of a Hessian, as `pays` counts them
        **{f"{solver}, ms": 1e3 * seconds for solver, seconds in least.items()},
        "auto takes": fl.minimize(X, y, classes=c, reg=0.5 / n).solved.solver,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=12)
    turns = parser.parse_args().turns
    facts = {"machine": machine.describe(), "busy_cores": machine.busy_cores()}
    rows = []
    for shape in SHAPES:
        rows.append(row(*shape, turns))
        print(rows[-1], flush=True)
    FILE.write_text(json.dumps({**facts, "least_of": turns, "rows": rows}, indent=2) + "\n")
    print(f"wrote {FILE}")


if __name__ == "__main__":
    main()
