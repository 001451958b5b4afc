"""The time of our calls while other libraries' threads are alive in the same process, as a ratio to the calls alone.

NumPy's BLAS, PyTorch and joblib keep threads that poll for more work for a while after their work is done. Before
each timed call of ours the neighbour does some work of its own with all its threads. Rounds are interleaved.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from statistics import median

import numpy as np

import fastlin as fl
from fastlin.testing import random_case

ROUNDS, CALLS = 7, 40


def neighbours() -> dict[str, Callable[[], object]]:
    """Name: some work on all threads of its own, about a millisecond."""
    A = np.random.default_rng(0).standard_normal((400, 400), np.float32)
    found: dict[str, Callable[[], object]] = {"nobody": lambda: time.sleep(1e-3), "NumPy's BLAS": lambda: A @ A}
    if importlib.util.find_spec("torch"):
        import torch

        T = torch.from_numpy(A)
        found["PyTorch"] = lambda: T @ T
    if importlib.util.find_spec("joblib"):
        import joblib

        pool = joblib.Parallel(n_jobs=2, prefer="threads")
        found["joblib"] = lambda: pool(joblib.delayed(np.sum)(A) for _ in range(2))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=[256, 3072, 10], metavar=("N", "D", "C"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--backend", default="cython")
    arguments = parser.parse_args()
    case = random_case(*arguments.shape).astype("float32")
    out = np.empty_like(case.W)

    def ours() -> float:
        began = time.perf_counter()
        fl.softmax_loss(case.W, case.X, case.y, out=out, backend=arguments.backend, threads=arguments.threads)
        return time.perf_counter() - began

    times: dict[str, list[float]] = {}
    works = neighbours()
    for _ in range(ROUNDS):
        for name, work in works.items():
            for _ in range(CALLS):
                work()
                times.setdefault(name, []).append(ours())
    alone = 1e6 * median(times["nobody"])
    for name, seconds in times.items():
        low, middle, high = np.percentile(seconds, [20, 50, 80]) * 1e6
        print(f"after {name:13} {middle:7.0f} us ({low:.0f}, {high:.0f})   {middle / alone:.2f}x")


if __name__ == "__main__":
    main()
