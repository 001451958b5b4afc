"""The calls of the soak test and their known answers; processes that other libraries start import them too."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable

import numpy as np

import fastlin as fl
from fastlin import ops, testing

SMALL = testing.random_case(40, 12, 4, bias=True)
CASE = testing.random_case(900, 300, 10, bias=True)
BYTES = np.random.default_rng(0).integers(0, 256, (4000, 200), dtype=np.uint8)  # enough for the pool
MANY = testing.random_case(600, 80, 70)

How = dict[str, object]


def loss(case: testing.Case, how: How) -> object:
    value, dW = case.evaluate("softmax", **how)
    return value, dW.tobytes()


def step(how: How) -> bytes:
    optimizer, W = fl.Adam(clip_norm=1.0), np.tile(CASE.W, (4, 1))
    for _ in range(2):
        optimizer.step(W, np.cos(W), **how)
    return W.tobytes()


def epoch(how: How) -> object:
    found = fl.train(CASE.X, CASE.y, epochs=1, batch_size=128, **how)
    return found.history["loss"], found.W.tobytes()


def scores_of_bytes(how: How) -> bytes:
    W = CASE.W[: BYTES.shape[1] + 1].astype(np.float32)
    return fl.scores(W, BYTES, bias=True, **how).tobytes()


CALLS: dict[str, Callable[[How], object]] = {
    "loss": lambda how: loss(CASE, how),
    "step": step,
    "epoch": epoch,
    "scores": scores_of_bytes,
    "predict": lambda how: fl.predict(CASE.W, CASE.X, bias=True, **how).tobytes(),
    "search": lambda how: fl.random_search(CASE.X, CASE.y, tries=9, **how).W.tobytes(),
    "minimize": lambda how: fl.minimize(SMALL.X, SMALL.y, max_iter=5, **how).W.tobytes(),
    "many classes": lambda how: loss(MANY, how),
    "small": lambda how: loss(SMALL, how),
}
COMPILED = [f"{name}-{backend}" for backend in ops.installed() if ops.BACKENDS[backend].compiled for name in CALLS]
NUMPY = [f"{name}-numpy" for name in CALLS] + ["small-naive"]


def answer(call: str, threads: int) -> str:
    """A digest of what a call returns."""
    name, backend = call.split("-")
    return hashlib.sha256(repr(CALLS[name]({"backend": backend, "threads": threads})).encode()).hexdigest()


def known_answers() -> dict[str, str]:
    return {call: answer(call, 1) for call in COMPILED + NUMPY}


def wrong_calls(known: dict[str, str], among: Iterable[str], count: int, seed: int) -> list[str]:
    """Which of so many random calls did not give the known answer."""
    rng, among = random.Random(seed), list(among)
    chosen = [(rng.choice(among), rng.randint(1, 4)) for _ in range(count)]
    return [f"{call}, {threads} threads" for call, threads in chosen if answer(call, threads) != known[call]]
