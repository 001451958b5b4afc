"""Evaluations of a loss by Dask's workers beside one process, what they cost, and what that says of larger clusters.

Measured here: one evaluation by one process and by clusters of 1 and 2 single-threaded workers, beside a gradient
written with dask.array; a fit beside dask-ml's; and the cost of a task, of a byte of W sent and of a byte of dW that
comes back. A model with these costs is compared with what was measured, and then computes what nobody measured:
a probe of ImageNet and a terabyte of features on many workers. All goes to bench/results/scale.json, from which
bench/report.py writes the tables of docs/scale.md. On an idle machine it takes some minutes with the usual sizes.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import dask
import dask.array as da
import numpy as np
from distributed import Client, LocalCluster, wait

import fastlin as fl
import fastlin.dask as fd
from fastlin import machine
from fastlin.dask import _chunks, _inputs

FILE = Path(__file__).parent / "results" / "scale.json"
MB = 1e6
LINK = 1.25e9  # bytes/s of a link of 10 Gbit/s, if this machine's own loopback is faster
CORES = 16  # of a worker that is computed, each with a task of one thread


@dataclass(frozen=True)
class Costs:
    """What an evaluation is made of, in seconds."""

    begin: float
    task: float
    out: float  # a byte of W, from the client or from one worker to another
    back: float  # a byte of dW, to the client or to another worker

    def seconds(
        self, chunks: int, tasks: int, workers: int, cores: int, W: float, dW: float, work: float, sums: bool = True
    ) -> float:
        """work : seconds of all computation by one core.  sums : whether workers form sums, as with fastlin.dask."""
        hops = 1 + math.log2(workers) if tasks * W > _chunks.INLINE_BYTES else tasks
        roots, levels, more = roots_of(chunks, dW) if sums else (chunks, 0, 0)
        fan_in = chunks if roots == 1 else _chunks.FAN_IN
        between = levels * (fan_in - 1) * dW * self.back  # the sums of a level are formed beside each other
        handing = self.begin + (tasks + more) * self.task
        return handing + hops * W * self.out + roots * dW * self.back + between + computing(tasks, workers, cores, work)


def computing(tasks: int, workers: int, cores: int, work: float) -> float:
    """Seconds of rounds of tasks, each by one core."""
    return -(-tasks // (workers * cores)) * work / tasks


def tasks_of(chunks: int, workers: int, cores: int, X: float, dW: float) -> int:
    """How many tasks an evaluation has over chunks that workers hold: the rule of fastlin.dask."""
    if chunks * dW > _chunks.SUM_BYTES and chunks > _chunks.FAN_IN:
        return chunks
    of_worker = max(_chunks.TASKS * cores, math.ceil(X / workers / _chunks.TASK_BYTES))
    return min(chunks, workers * of_worker)


def roots_of(tasks: int, dW: float) -> tuple[int, int, int]:
    """How many gradients come to the client, levels of sums by workers, and tasks for these: the rule of fastlin.dask.

    Of a task over several chunks as many as it has chunks: none of them are taken to be neighbours.
    """
    if _chunks.BACK_BYTES < tasks * dW <= _chunks.SUM_BYTES:
        return 1, 1, 1
    levels = more = 0
    while tasks * dW > _chunks.BACK_BYTES and tasks > _chunks.FAN_IN:
        tasks, levels = -(-tasks // _chunks.FAN_IN), levels + 1
        more += tasks
    return tasks, levels, more


# ---- Measurements ------------------------------------------------------------------------------------------------


def chunk(number: int, rows: int, d: int, c: int) -> tuple[Any, Any]:
    """Rows of a chunk and their labels."""
    rng = np.random.default_rng(number)
    X = rng.standard_normal((rows, d), np.float32)
    return X, (X[:, :c] + rng.standard_normal((rows, c), np.float32)).argmax(axis=1)


def arrays(count: int, rows: int, d: int, c: int) -> tuple[Any, Any]:
    """The chunks as dask arrays, in the workers' memory."""
    made = [dask.delayed(chunk, nout=2)(i, rows, d, c) for i in range(count)]
    X = da.concatenate([da.from_delayed(one[0], (rows, d), np.float32) for one in made])
    y = da.concatenate([da.from_delayed(one[1], (rows,), np.int64) for one in made])
    X, y = dask.persist(X, y)
    wait([X, y])
    return X, y


def written_by_hand(W: Any, X: Any, y: Any) -> tuple[float, Any]:
    """The loss and gradient of softmax as people write them with dask.array."""
    S = X @ W
    S = S - S.max(axis=1, keepdims=True)
    E = da.exp(S)
    total = E.sum(axis=1, keepdims=True)
    hot = y[:, None] == np.arange(W.shape[1])
    loss = (da.log(total[:, 0]) - da.where(hot, S, 0).sum(axis=1)).mean()
    dW = X.T @ ((E / total - hot) / X.shape[0])
    found: tuple[float, Any] = dask.compute(loss, dW)
    return found


def seconds(call: Callable[[], Any], rounds: int) -> float:
    """The median time of a call, after one that is not counted."""
    call()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return median(times)


def cluster(workers: int) -> LocalCluster:
    """So many processes of one thread."""
    return LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0", memory_limit=0)


def evaluations(given: argparse.Namespace) -> list[dict[str, Any]]:
    """One evaluation of the softmax loss by one process, by workers, and as it is written by hand."""
    rows = round(given.chunk_mb * MB / 4 / given.d)
    count = max(2, round(given.mb / given.chunk_mb))
    W = np.random.default_rng(0).standard_normal((given.d, given.c), np.float32) / 100
    parts = fl.Parts([chunk(i, rows, given.d, given.c) for i in range(count)])
    found = [
        {"who": "one process, 2 threads", "s": seconds(lambda: fl.softmax_loss(W, parts, threads=2), given.rounds)},
        {"who": "one process, 1 thread", "s": seconds(lambda: fl.softmax_loss(W, parts, threads=1), given.rounds)},
    ]
    expected = fl.softmax_loss(W, parts)
    for workers in (1, 2):
        with cluster(workers) as local, Client(local):
            X, y = arrays(count, rows, given.d, given.c)
            loss, dW = fd.softmax_loss(W, X, y)
            if loss != expected[0] or dW.tobytes() != expected[1].tobytes():
                raise SystemExit("the bits of workers are not those of one process")
            took = seconds(partial(fd.softmax_loss, W, X, y), given.rounds)
            found.append({"who": f"{workers} workers of 1 thread", "s": took})
            took = seconds(partial(written_by_hand, W, X, y), given.rounds)
            found.append({"who": f"{workers} workers, written with dask.array", "s": took})
    size, best = count * rows * given.d * 4, found[0]["s"]
    return [
        {
            "who": row["who"],
            "ms": row["s"] * 1e3,
            "GB/s of X": size / row["s"] / 1e9,
            "speed / 2 threads": best / row["s"],
        }
        for row in found
    ]


def fits(given: argparse.Namespace) -> list[dict[str, Any]]:
    """Whole fits of a binary logistic regression: ours and dask-ml's, with the objective that they reach."""
    try:
        from dask_ml.linear_model import LogisticRegression
    except ImportError as error:
        return [{"who": "dask-ml", "note": f"not installed: {error}"}]
    rows = round(given.chunk_mb * MB / 4 / given.d)
    count = max(2, round(given.fit_mb / given.chunk_mb))
    found = []
    with cluster(2) as local, Client(local):
        X, y = arrays(count, rows, given.d, 2)
        models = {
            "fastlin.dask": fd.LogisticRegression(fit_intercept=False, tol=1e-5),
            "dask-ml, lbfgs": LogisticRegression(solver="lbfgs", fit_intercept=False, tol=1e-5, max_iter=100),
        }
        for name, model in models.items():
            model.fit(X[: 2 * rows], y[: 2 * rows])  # workers import what they need
            began = time.perf_counter()
            model.fit(X, y)
            took = time.perf_counter() - began
            w = np.ravel(model.coef_).astype(np.float64)
            loss = fd.logistic_loss(w[:, None], X, y, 0.5 / X.shape[0])[0]
            found.append({"who": name, "s": took, "objective": f"{loss:.9f}"})
    for row in found:
        row["÷ fastlin"] = row["s"] / found[0]["s"]
    return found


# ---- What an evaluation is made of ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Out:
    """Takes weights, and returns next to nothing."""

    W: Any

    def __call__(self, part: Any) -> int:
        return 0


@dataclass(frozen=True)
class Back:
    """Returns as many bytes as a gradient has."""

    size: int

    def __call__(self, part: Any) -> Any:
        return np.zeros(self.size // 8)


def slope(points: dict[float, float]) -> tuple[float, float]:
    """The line through points: its value at 0 and its slope."""
    a, b = np.polyfit(list(points), list(points.values()), 1)
    return float(b), float(a)


def in_tasks(count: int) -> Any:
    """So many tiny chunks, which the current client's workers hold, with a task for each."""
    X, y = arrays(count, 1, 4, 2)
    parts = _inputs.chunks(X, y, None)
    parts._groups = [_chunks.Group(g.first + i, 1, [row], 0) for g in parts._groups for i, row in enumerate(g.where)]
    looked = parts._batches  # asks the scheduler, which belongs to the cost of an evaluation
    parts._batches = lambda: looked() and [[i] for i in range(count)]
    return parts


def costs(rounds: int) -> Costs:
    """Of 2 workers of this machine: the fixed cost of an evaluation, of a task, and of bytes."""

    def run(parts: Any, task: Any) -> float:
        return seconds(lambda: parts._each(task, lambda number, result: None), rounds)

    with cluster(2) as local, Client(local):
        by_tasks = {}
        for count in (2, 50, 200):
            parts = in_tasks(count)
            by_tasks[float(count)] = run(parts, Out(np.zeros(1)))
        begin, task = slope(by_tasks)
        parts = in_tasks(2)
        sizes = [1 << 20, 4 << 20, 16 << 20]
        out = slope({2.0 * size: run(parts, Out(np.zeros(size // 8))) for size in sizes})[1]
        back = slope({2.0 * size: run(parts, Back(size)) for size in sizes})[1]
    return Costs(max(begin, 0.0), task, max(out, 0.0), max(back, 0.0))


def core_seconds(n: float, d: int, c: int, rounds: int) -> float:
    """What one core of this machine needs for the loss and gradient of n rows of float32."""
    rows = max(64, int(2e9 / (4 * d * c)))
    X, y = chunk(0, rows, d, c)
    W = np.zeros((d, c), np.float32)
    return seconds(lambda: fl.softmax_loss(W, X, y, threads=1), rounds) * n / rows


def computed(found: Costs, rounds: int) -> list[dict[str, Any]]:
    """What nobody measured: evaluations on clusters of workers with CORES cores, on links of 10 Gbit/s."""
    far = Costs(found.begin, found.task, max(found.out, 1 / LINK), max(found.back, 1 / LINK))
    rows = []
    for name, n, d, c, size_of_chunk in (
        ("CLIP on ImageNet, 1.28 M × 1024 × 1000", 1.28e6, 1024, 1000, 16e6),
        ("1 TB of features, 244 M × 1024 × 1000", 1e12 / 4096, 1024, 1000, 128e6),
        ("1 TB of features, 244 M × 1024 × 10", 1e12 / 4096, 1024, 10, 1e9),
    ):
        work, chunks = core_seconds(n, d, c, rounds), max(1, round(n * d * 4 / size_of_chunk))
        W, dW = 4.0 * d * c, 8.0 * d * c
        for workers in (8, 64, 512):
            roots, levels, _ = roots_of(chunks, dW)
            tasks = tasks_of(chunks, workers, CORES, 4 * n * d, dW)
            size = chunks, tasks, workers, CORES, W, dW, work
            rows.append(
                {
                    "data (computed, not measured)": name,
                    "workers": workers,
                    "chunks": chunks,
                    "tasks": tasks,
                    "MB a task": 4 * n * d / tasks / MB,
                    "s an evaluation": far.seconds(*size),
                    "of it computing": computing(tasks, workers, CORES, work),
                    "GB to the client": roots * dW / 1e9,
                    "levels of sums by workers": levels,
                    "s if the client summed all": far.seconds(*size, sums=False),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=float, default=2000, help="of X of the evaluations; default: %(default)s")
    parser.add_argument("--fit-mb", type=float, default=500, help="of X of the fits; default: %(default)s")
    parser.add_argument("--chunk-mb", type=float, default=64, help="of a chunk; default: %(default)s")
    parser.add_argument("--d", type=int, default=1024, help="columns; default: %(default)s")
    parser.add_argument("--c", type=int, default=10, help="classes; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="of each measurement; default: %(default)s")
    parser.add_argument("--output", type=Path, default=FILE, help="default: %(default)s")
    given = parser.parse_args()
    facts = machine.describe() | {"busy cores before": round(machine.busy_cores(), 1)}
    measured = evaluations(given)
    print(json.dumps(measured, indent=1, ensure_ascii=False))
    of_fits = fits(given)
    print(json.dumps(of_fits, indent=1, ensure_ascii=False))
    found = costs(given.rounds)
    chunks = max(2, round(given.mb / given.chunk_mb))
    dW = 8.0 * given.d * given.c
    alone = measured[1]["ms"] / 1e3
    for workers, row in ((1, measured[2]), (2, measured[4])):
        tasks = tasks_of(chunks, workers, 1, given.mb * MB, dW)
        row["tasks"] = tasks
        row["ms by the model"] = 1e3 * found.seconds(chunks, tasks, workers, 1, dW / 2, dW, alone)
    sizes = {"MB of X": given.mb, "MB of a chunk": given.chunk_mb, "d": given.d, "c": given.c, "float": "float32"}
    versions = {name: machine.version(name) for name in ("dask", "distributed", "dask-ml")}
    record = {
        "machine": {
            **{name: facts[name] for name in ("cpu", "cores", "instruction set", "busy cores before")},
            **versions,
        },
        "sizes": sizes,
        "evaluations": measured,
        "fits": of_fits,
        "costs": [
            {"what": "an evaluation, whatever its size", "costs": f"{found.begin * 1e3:.1f} ms"},
            {"what": "a task", "costs": f"{found.task * 1e3:.2f} ms"},
            {"what": "W to a worker", "costs": f"{found.out * 1e9:.2f} s a GB"},
            {"what": "dW to the client", "costs": f"{found.back * 1e9:.2f} s a GB"},
        ],
        "computed": computed(found, given.rounds),
    }
    given.output.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"wrote {given.output}; python bench/report.py puts it into docs/scale.md")


if __name__ == "__main__":
    main()
