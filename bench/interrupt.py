"""How soon Ctrl-C is answered: the latency of KeyboardInterrupt in long calls of every function.

    python bench/interrupt.py                  all functions, every backend installed
    python bench/interrupt.py --tries 20 --only "many classes"

Each try starts a call that would take long, sends SIGINT to this process after a random time, and takes the time until
KeyboardInterrupt arrives. Tries whose call had ended before count for nothing. The median and the largest of each are
written to bench/results/interrupt.json with what they were measured on.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import fastlin as fl
from fastlin import features, machine, ops

Call = Callable[[], object]


def cases(backend: str) -> dict[str, Callable[[], Call]]:
    """What is interrupted; each makes its arrays and returns the call."""
    how = {"backend": backend}

    def problem(n: int, d: int, c: int, dtype: str = "float32") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        X = np.tile(rng.standard_normal((1000, d)).astype("float32"), (n // 1000, 1)).astype(dtype)
        return 0.01 * rng.standard_normal((d, c)).astype("float32"), X, rng.integers(0, c, len(X))

    def loss(n: int, d: int, c: int, dtype: str = "float32") -> Call:
        W, X, y = problem(n, d, c, dtype)
        return lambda: fl.softmax_loss(W, X, y, **how)

    def scores(n: int, d: int, c: int) -> Call:
        W, X, _ = problem(n, d, c)
        return lambda: fl.scores(W, X, **how)

    def predict(n: int, d: int, c: int) -> Call:
        W, X, _ = problem(n, d, c)
        return lambda: fl.predict(W, X, **how)

    def softmax(n: int, c: int) -> Call:
        S = np.ones((n, c), np.float32)
        return lambda: fl.softmax(S, **how)

    def train(n: int, d: int, c: int, batch_size: int) -> Call:
        _, X, y = problem(n, d, c)
        return lambda: fl.train(X, y, optimizer=fl.Adam(), batch_size=batch_size, **how)

    def search(n: int, d: int, c: int) -> Call:
        _, X, y = problem(n, d, c)
        return lambda: fl.random_search(X, y, tries=10_000, **how)

    def local_search(n: int, d: int, c: int) -> Call:
        _, X, y = problem(n, d, c)
        return lambda: fl.random_local_search(X, y, tries=10_000, **how)

    def gradient(n: int, d: int, c: int) -> Call:
        W, X, y = problem(n, d, c)
        W = W.astype(float)
        return lambda: fl.numerical_gradient(lambda W: fl.softmax_loss(W, X, y, **how), W)

    def steps(size: int) -> Call:
        W, dW, optimizer = np.ones(size, np.float32), np.ones(size, np.float32), fl.Adam()

        def many() -> None:
            for _ in range(10_000):
                optimizer.step(W, dW, **how)

        return many

    def accuracy(n: int, c: int) -> Call:
        result, y = fl.TrainResult(np.ones((2, c), np.float32), False), np.zeros(n, int)
        X = np.ones((n, 2), np.float32)
        with fl.use_backend(backend):
            return lambda: result.accuracy(X, y)

    return {
        "loss 100000x3072x10": lambda: loss(100_000, 3072, 10),
        "loss 10000000x4x2": lambda: loss(10_000_000, 4, 2),
        "loss int16 100000x1000x10": lambda: loss(100_000, 1000, 10, "int16"),
        "loss of many classes 200000x768x100": lambda: loss(200_000, 768, 100),
        "loss of many classes 50000x768x1000": lambda: loss(50_000, 768, 1000),
        "loss of many classes int16 50000x768x100": lambda: loss(50_000, 768, 100, "int16"),
        "scores 100000x3072x10": lambda: scores(100_000, 3072, 10),
        "scores 50000x768x1000": lambda: scores(50_000, 768, 1000),
        "predict 20000000x4x10": lambda: predict(20_000_000, 4, 10),
        "softmax 100000x1000": lambda: softmax(100_000, 1000),
        "accuracy 10000000x10": lambda: accuracy(10_000_000, 10),
        "train 100000x784x10, batch 32": lambda: train(100_000, 784, 10, 32),
        "train 1000000x2x2, batch 1": lambda: train(1_000_000, 2, 2, 1),
        "train many classes 20000x768x100": lambda: train(20_000, 768, 100, 256),
        "random_search 20000x784x10": lambda: search(20_000, 784, 10),
        "random_local_search 20000x784x10": lambda: local_search(20_000, 784, 10),
        "numerical_gradient 20000x100x10": lambda: gradient(20_000, 100, 10),
        "steps of 4000000": lambda: steps(4_000_000),
    }


def plain_cases() -> dict[str, Callable[[], Call]]:
    """Functions without a backend."""

    def dropout() -> Call:
        X = np.ones(50_000_000, np.float32)
        return lambda: fl.dropout(X, 0.5)

    def histogram() -> Call:
        images = np.random.default_rng(0).random((20_000, 3 * 32 * 32))
        return lambda: features.ColorHistogram((3, 32, 32)).transform(images)

    def polar() -> Call:
        X = np.ones((20_000_000, 2))
        return lambda: features.Polar().transform(X)

    return {"dropout 50000000": dropout, "ColorHistogram 20000": histogram, "Polar 20000000": polar}


def latency(call: Call, longest: float) -> float | None:
    """Seconds from the signal to the exception; None if the call ended before."""
    sent = [0.0]

    def send() -> None:
        sent[0] = time.perf_counter()
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(random.uniform(0.02, longest), send)
    try:
        try:
            timer.start()
            call()
        finally:
            answered = time.perf_counter()
            timer.cancel()
            timer.join()  # a signal that is sent after the call has ended is taken below
            time.sleep(0.001)
    except KeyboardInterrupt:
        return answered - sent[0] if 0 < sent[0] <= answered else None
    return None


def measure(make: Callable[[], Call], tries: int) -> dict[str, float]:
    """Of the call's length, so that signals come at any time of it; at most a second."""
    call = make()
    latency(call, 0.3)  # compiles, and touches the memory
    found: list[float] = []
    for _ in range(3 * tries):
        seconds = latency(call, 0.5)
        if seconds is not None:
            found.append(seconds)
        if len(found) == tries:
            break
    if not found:
        return {"tries": 0}
    return {"tries": len(found), "median_ms": 1e3 * statistics.median(found), "max_ms": 1e3 * max(found)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=10)
    parser.add_argument("--only", default="", metavar="TEXT", help="of the functions, those whose name has this")
    parser.add_argument("--backends", nargs="+", choices=ops.BACKENDS, default=["cython", "numba", "numpy"])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "interrupt.json")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rows = []
    chosen = [(backend, cases(backend)) for backend in arguments.backends if backend in ops.installed()]
    for backend, _ in chosen:  # an import that is interrupted cannot always be repeated
        ops.module(backend)
    for backend, made in [*chosen, ("", plain_cases())]:
        for name, make in made.items():
            if arguments.only not in name:
                continue
            row = {"function": name, "backend": backend} | measure(make, arguments.tries)
            print(row, flush=True)
            rows.append(row)
    arguments.out.write_text(json.dumps({"machine": machine.describe(), "rows": rows}, indent=2) + "\n")
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
