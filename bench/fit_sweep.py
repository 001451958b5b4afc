"""45 values of C on embeddings: one call of `fl.sweep`, and the loop of cold fits that people write with scikit-learn.

Both with their own default tolerances, of which scikit-learn's is the looser one.
"""

from __future__ import annotations

import argparse
import time
import warnings
from multiprocessing.connection import Connection

import numpy as np
from fit_contestants import STARTING, Process
from fit_problems import data
from worker import PAUSE, receive

import fastlin as fl
from fastlin.compare import duration

SWEEP = "sweep of 45 C"
C = np.logspace(-6, 5, 45)
OURS, THEIRS = "fastlin auto", "scikit-learn lbfgs"
TRIED = 1.0  # the C at which scikit-learn's number of BLAS threads is chosen


def compare_sweeps(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """Print and return the lines of both."""
    X, y, *_ = data("embeddings")
    size = f"{len(X)}x{X.shape[1]}x{int(y.max()) + 1}"
    print(f"\n{SWEEP}: {size} {X.dtype}")
    workers = {name: Process(serve, (name, arguments.threads)) for name in (OURS, THEIRS)}
    blas = choose_blas(workers[THEIRS], arguments)
    seconds: dict[str, list[float]] = {OURS: [], THEIRS: []}
    best: dict[str, tuple[float, float]] = {}
    for _ in range(arguments.rounds):
        ours = workers[OURS].ask("sweep", len(C) * arguments.seconds + STARTING)
        theirs = [workers[THEIRS].ask((value, blas), arguments.seconds + STARTING) for value in C]
        for name, found in ((OURS, ours), (THEIRS, theirs)):
            if isinstance(found, tuple):
                seconds[name].append(found[0])
                best[name] = found[1:]
            elif isinstance(found, list) and all(isinstance(each, tuple) for each in found):
                seconds[name].append(sum(each[0] for each in found))
                scores = [each[1] for each in found]
                best[name] = float(C[int(np.argmax(scores))]), max(scores)
            else:
                print(f"  {name}: no answer in time, or {found!r:.200}")
    for worker in workers.values():
        worker.stop()
    common = {"problem": SWEEP, "size": size, "dtype": X.dtype.name, "target": "best C"}
    return [common | line(name, seconds[name], *best[name], best.get(OURS)) for name in best]


def line(
    name: str, seconds: list[float], chosen: float, accuracy: float, ours: tuple[float, float] | None
) -> dict[str, object]:
    """The columns of one of them."""
    agrees = "yes" if ours is None or chosen == ours[0] else f"no: best C = {chosen:.3g}"
    times = {f"p{q}": f"{np.percentile(seconds, q):.4g}" for q in (20, 50, 80)}
    print(f"  {name:28} {duration(float(times['p50'])):>8}, best C = {chosen:.3g}, accuracy {accuracy:.1%}")
    own = {"library": name, "form": f"best C = {chosen:.3g}", "budget": len(C), "agrees": agrees}
    return own | {"calls": len(seconds), "accuracy": f"{accuracy:.4f}"} | times


def choose_blas(worker: Process, arguments: argparse.Namespace) -> int:
    """How many BLAS threads serve scikit-learn best."""
    found = {}
    for count in dict.fromkeys((1, arguments.threads)):
        answer = worker.ask((TRIED, count), arguments.seconds + STARTING)
        found[count] = answer[0] if isinstance(answer, tuple) else float("inf")
    return min(found, key=found.__getitem__)


def serve(name: str, threads: int, pipe: Connection) -> None:
    """The process: an order is "sweep", all of ours, or (C, BLAS threads) of one fit of theirs."""
    warnings.simplefilter("ignore")
    while (order := receive(pipe)) is not None:
        time.sleep(PAUSE)  # idle threads of the other one spin for a while
        try:
            pipe.send(whole(threads) if name == OURS else cold(*order))
        except Exception as error:  # reported as that
            pipe.send(f"{type(error).__name__}: {error}".splitlines()[0])


def whole(threads: int) -> tuple[float, float, float]:
    """Seconds, the best C, and its accuracy."""
    X, y, *validation = data("embeddings")
    start = time.perf_counter()
    found = fl.sweep(X, y, C, validation=tuple(validation), threads=threads)
    seconds = time.perf_counter() - start
    return seconds, found.best, float(found.scores.max())


def cold(value: float, blas: int) -> tuple[float, float]:
    """Seconds, and the accuracy."""
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    X, y, X_test, y_test = data("embeddings")
    start = time.perf_counter()
    with threadpool_limits(blas, "blas"):
        found = LogisticRegression(C=value, max_iter=1000).fit(X, y)
        accuracy = float(found.score(X_test, y_test))
    return time.perf_counter() - start, accuracy
