"""The optimizer steps that `bench/peers_training.py` times: one step of each rule, as a library's users write it.

A step changes its arrays, so each call continues from the last one. The judged result is W after STEPS from the start.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from worker import OURS, Call

import fastlin as fl

STEPS = 3  # from the second step on the state matters
CHUNK = 1 << 14  # numbers: the arrays of a NumPy step stay in the cache
CACHED = 1 << 22  # numbers: up to here no step is bound by memory
LR, DECAY = 0.05, 0.1
MOMENTUM, BETA1, BETA2, LION_BETA2, ALPHA, EPS = 0.9, 0.9, 0.999, 0.99, 0.99, 1e-8

Start = Callable[[], tuple[Callable[[], Any], Callable[[], np.ndarray]]]  # a new run: its step, and a getter of its W


@dataclass(frozen=True)
class StepRow:
    """A rule on arrays of float32."""

    rule: str
    size: int

    @property
    def name(self) -> str:
        return f"{self.task} {self.size}"

    @property
    def task(self) -> str:
        return f"{self.rule} step"

    @property
    def contestants(self) -> list[str]:
        return [*CALLS, "memory"] if self.size > CACHED else [*CALLS]


@lru_cache(maxsize=1)  # the rules of one size follow each other
def make_arrays(size: int) -> tuple[np.ndarray, np.ndarray]:
    """W and its gradient, no entry of which is near 0, where libraries differ: eps is inside the root or outside."""
    rng = np.random.default_rng(size)
    w, g = rng.standard_normal(size, np.float32), rng.random(size, np.float32)
    g += 0.5
    g[rng.random(size, np.float32) < 0.5] *= -1
    return w, g


def step_calls(library: str, row: StepRow, threads: int) -> list[Call]:
    if library == "memory":
        return memory_calls(row, threads)
    return [stepping(start) for start in CALLS[library](row.rule, *make_arrays(row.size), threads)]


def stepping(start: Start) -> Call:
    """A step as a call, with the function that computes its answer."""

    def answer(_: Any) -> np.ndarray:
        step, weights = start()
        for _ in range(STEPS):
            step()
        return weights()

    return Call(start()[0], answer)


def expected_weights(row: StepRow) -> tuple[np.ndarray, np.ndarray]:
    """W after STEPS in float64, and W before them."""
    w, g = (A.astype(np.float64) for A in make_arrays(row.size))
    step, weights = numpy_start(row.rule, w, g, whole)
    for _ in range(STEPS):
        step()
    return weights(), w


# ---- The libraries -----------------------------------------------------------------------------------------


def fastlin_starts(rule: str, w0: np.ndarray, g: np.ndarray, threads: int, backend: str) -> list[Start]:
    adam = {"lr": LR, "beta1": BETA1, "beta2": BETA2, "eps": EPS}
    make = {
        "adam": lambda: fl.Adam(**adam),
        "adamw": lambda: fl.AdamW(**adam, weight_decay=DECAY),
        "momentum": lambda: fl.SGD(LR, MOMENTUM),
        "nesterov": lambda: fl.SGD(LR, MOMENTUM, nesterov=True),
        "rmsprop": lambda: fl.RMSProp(LR, ALPHA, EPS),
        "adagrad": lambda: fl.AdaGrad(LR, EPS),
        "lion": lambda: fl.Lion(LR, BETA1, LION_BETA2, DECAY),
    }[rule]

    def start() -> tuple[Callable[[], Any], Callable[[], np.ndarray]]:
        optimizer, w = make(), w0.copy()
        return lambda: optimizer.step(w, g, backend=backend, threads=threads), lambda: w

    return [start]


def torch_starts(rule: str, w0: np.ndarray, g: np.ndarray, threads: int) -> list[Start]:
    """One for each of torch's implementations; it has no Lion: that is the authors' own code."""
    import torch

    torch.set_num_threads(threads)
    adam = {"lr": LR, "betas": (BETA1, BETA2), "eps": EPS}
    make = {
        "adam": partial(torch.optim.Adam, **adam),
        "adamw": partial(torch.optim.AdamW, **adam, weight_decay=DECAY),
        "momentum": partial(torch.optim.SGD, lr=LR, momentum=MOMENTUM),
        "nesterov": partial(torch.optim.SGD, lr=LR, momentum=MOMENTUM, nesterov=True),
        "rmsprop": partial(torch.optim.RMSprop, lr=LR, alpha=ALPHA, eps=EPS),
        "adagrad": partial(torch.optim.Adagrad, lr=LR, eps=EPS),
    }

    def start(words: dict[str, bool]) -> tuple[Callable[[], Any], Callable[[], np.ndarray]]:
        w = torch.from_numpy(w0).clone().requires_grad_()
        w.grad = torch.from_numpy(g).clone()
        step = make[rule]([w], **words).step if rule in make else partial(torch_lion, w, torch.zeros_like(w))
        return step, lambda: w.detach().numpy()

    forms: list[dict[str, bool]] = [{}]
    if rule in make:
        forms = [{"foreach": False}]
        # Nesterov's foreach form changes the gradient in place, so that the next step would use another one.
        forms += [{"foreach": True}] if rule != "nesterov" else []
        forms += [{"fused": True}] if "fused" in inspect.signature(make[rule]).parameters else []
    return [partial(start, words) for words in forms]


def torch_lion(w: Any, m: Any) -> None:
    import torch

    with torch.no_grad():
        w.mul_(1 - LR * DECAY)
        w.add_(m.mul(BETA1).add_(w.grad, alpha=1 - BETA1).sign_(), alpha=-LR)
        m.mul_(LION_BETA2).add_(w.grad, alpha=1 - LION_BETA2)


def optax_starts(rule: str, w0: np.ndarray, g: np.ndarray, threads: int) -> list[Start]:
    """Jitted, with the buffers of W and the state donated, so that they are updated in place."""
    import jax
    import optax

    adam = {"b1": BETA1, "b2": BETA2, "eps": EPS}
    optimizer = {
        "adam": lambda: optax.adam(LR, **adam),
        "adamw": lambda: optax.adamw(LR, **adam, weight_decay=DECAY),
        "momentum": lambda: optax.sgd(LR, MOMENTUM),
        "nesterov": lambda: optax.sgd(LR, MOMENTUM, nesterov=True),
        "rmsprop": lambda: optax.rmsprop(LR, ALPHA, EPS, eps_in_sqrt=False),
        "adagrad": lambda: optax.adagrad(LR, initial_accumulator_value=0, eps=EPS),
        "lion": lambda: optax.lion(LR, BETA1, LION_BETA2, weight_decay=DECAY),
    }[rule]()
    gradient = jax.device_put(g)

    @partial(jax.jit, donate_argnums=(0, 1))
    def update(w: Any, state: Any, g: Any) -> tuple[Any, Any]:
        updates, state = optimizer.update(g, state, w)
        return optax.apply_updates(w, updates), state

    def start() -> tuple[Callable[[], Any], Callable[[], np.ndarray]]:
        w = jax.numpy.array(w0)  # a copy: it will be donated
        now = [w, optimizer.init(w)]

        def step() -> None:
            now[:] = jax.block_until_ready(update(*now, gradient))

        return step, lambda: np.asarray(now[0])

    return [start]


def numpy_starts(rule: str, w0: np.ndarray, g: np.ndarray, threads: int) -> list[Start]:
    """In place with one temporary (Lion: two); over whole arrays, or by chunks if there are several."""
    sweeps = (whole, by_chunks) if len(w0) > CHUNK else (whole,)
    return [partial(numpy_start, rule, w0, g, sweep) for sweep in sweeps]


def numpy_start(
    rule: str, w0: np.ndarray, g: np.ndarray, sweep: Callable[..., None]
) -> tuple[Callable[[], Any], Callable[[], np.ndarray]]:
    update, count = NUMPY_RULES[rule]
    arrays = (w0.copy(), g, *(np.zeros_like(w0) for _ in range(count)))
    temp = np.empty_like(w0)
    t = 0

    def step() -> None:
        nonlocal t
        t += 1
        sweep(update, arrays, temp, t)

    return step, lambda: arrays[0]


def whole(update: Callable[..., None], arrays: Sequence[np.ndarray], temp: np.ndarray, t: int) -> None:
    update(*arrays, temp, t, LR)


def by_chunks(update: Callable[..., None], arrays: Sequence[np.ndarray], temp: np.ndarray, t: int) -> None:
    for start in range(0, len(temp), CHUNK):
        parts = [A[start : start + CHUNK] for A in arrays]
        update(*parts, temp[: len(parts[0])], t, LR)


def numpy_adam(w: np.ndarray, g: np.ndarray, m: np.ndarray, v: np.ndarray, temp: np.ndarray, t: int, lr: float) -> None:
    root = math.sqrt(1 - BETA2**t)
    m *= BETA1
    np.multiply(g, 1 - BETA1, out=temp)
    m += temp
    np.multiply(g, g, out=temp)
    temp *= 1 - BETA2
    v *= BETA2
    v += temp
    np.sqrt(v, out=temp)
    temp += EPS * root
    np.divide(m, temp, out=temp)
    temp *= lr * root / (1 - BETA1**t)
    w -= temp


def numpy_adamw(w: np.ndarray, *rest: Any) -> None:
    w *= 1 - LR * DECAY
    numpy_adam(w, *rest)


def numpy_momentum(w: np.ndarray, g: np.ndarray, v: np.ndarray, temp: np.ndarray, t: int, lr: float) -> None:
    v *= MOMENTUM
    v += g
    np.multiply(v, lr, out=temp)
    w -= temp


def numpy_nesterov(w: np.ndarray, g: np.ndarray, v: np.ndarray, temp: np.ndarray, t: int, lr: float) -> None:
    v *= MOMENTUM
    v += g
    np.multiply(v, MOMENTUM, out=temp)
    temp += g
    temp *= lr
    w -= temp


def numpy_rmsprop(w: np.ndarray, g: np.ndarray, s: np.ndarray, temp: np.ndarray, t: int, lr: float) -> None:
    np.multiply(g, g, out=temp)
    temp *= 1 - ALPHA
    s *= ALPHA
    s += temp
    _numpy_divide_by_root(w, g, s, temp, lr)


def numpy_adagrad(w: np.ndarray, g: np.ndarray, s: np.ndarray, temp: np.ndarray, t: int, lr: float) -> None:
    np.multiply(g, g, out=temp)
    s += temp
    _numpy_divide_by_root(w, g, s, temp, lr)


def _numpy_divide_by_root(w: np.ndarray, g: np.ndarray, s: np.ndarray, temp: np.ndarray, lr: float) -> None:
    np.sqrt(s, out=temp)
    temp += EPS
    np.divide(g, temp, out=temp)
    temp *= lr
    w -= temp


def numpy_lion(w: np.ndarray, g: np.ndarray, m: np.ndarray, temp: np.ndarray, t: int, lr: float) -> None:
    w *= 1 - lr * DECAY
    np.multiply(m, BETA1 / (1 - BETA1), out=temp)  # a positive factor does not change the sign of the sum
    temp += g
    sign = np.sign(temp)  # in place it takes ten times as long
    sign *= lr
    w -= sign
    m *= LION_BETA2
    np.multiply(g, 1 - LION_BETA2, out=temp)
    m += temp


NUMPY_RULES = {  # with the number of arrays that the rule keeps
    "adam": (numpy_adam, 2),
    "adamw": (numpy_adamw, 2),
    "momentum": (numpy_momentum, 1),
    "nesterov": (numpy_nesterov, 1),
    "rmsprop": (numpy_rmsprop, 1),
    "adagrad": (numpy_adagrad, 1),
    "lion": (numpy_lion, 1),
}
RULES = tuple(NUMPY_RULES)
CALLS = {name: partial(fastlin_starts, backend=name.removeprefix("fastlin-")) for name in OURS}
CALLS |= {"numpy": numpy_starts, "torch": torch_starts, "optax": optax_starts}


# ---- The machine's limit -----------------------------------------------------------------------------------


def memory_calls(row: StepRow, threads: int) -> list[Call]:
    """Moves the arrays of a step with almost no arithmetic: W and the state are negated in place, g is read."""
    written = np.ones((1 + NUMPY_RULES[row.rule][1], row.size), np.float32)
    shares = [np.array_split(A, threads) for A in (*written, make_arrays(row.size)[1])]
    pool = ThreadPoolExecutor(threads)

    def move(*parts: np.ndarray) -> None:
        for part in parts[:-1]:
            np.negative(part, out=part)
        np.dot(parts[-1], parts[-1])

    return [Call(lambda: list(pool.map(move, *shares)), lambda _: None)]
