"""The epochs that `bench/peers_training.py` times: one epoch with Adam from W = 0, batches in the same order.

Ours is a call of `fl.train`: the time includes its checks, shuffling and history, a few tenths of a millisecond.
The others are given the order of the rows. scikit-learn has no epoch with Adam for a linear classifier: its
SGDClassifier steps row by row, one class against all others, by a rule of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
from contestants import GEMM_SIDE, gemm_calls, jax_loss, numpy_class_major, numpy_row_major, read_calls, torch_loss
from step_contestants import BETA1, BETA2, EPS, numpy_adam
from worker import OURS, Call

import fastlin as fl
from fastlin._training.training import shuffled

LR = 1e-3
HELD_OUT = 2000  # rows
SEPARATION = 0.05  # of the classes' means in each feature, in standard deviations of the noise
OWN_RULE = ("scikit-learn",)


class Data(NamedTuple):
    """Rows around the means of their classes."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


@dataclass(frozen=True)
class EpochRow:
    """An epoch over n rows in float32."""

    loss: str
    batch: int
    n: int = 10_000
    d: int = 3072
    c: int = 10

    @property
    def size(self) -> str:
        return f"{self.n}x{self.d}x{self.c}/{self.batch}"

    @property
    def name(self) -> str:
        return f"{self.task} {self.size}"

    @property
    def task(self) -> str:
        return f"{self.loss} epoch"

    @property
    def contestants(self) -> list[str]:
        return [*CALLS, "memory", "gemm"]

    @property
    def order(self) -> np.ndarray:
        """The rows as `fl.train` takes them in its first epoch."""
        return shuffled(self.n, self.batch, seed=0, epoch=0)

    @property
    def data(self) -> Data:
        return make_data(self.n, self.d, self.c)


@lru_cache(maxsize=1)
def make_data(n: int, d: int, c: int) -> Data:
    rng = np.random.default_rng(0)
    means = SEPARATION * rng.standard_normal((c, d), np.float32)
    y = rng.integers(0, c, n + HELD_OUT)
    X = rng.standard_normal((n + HELD_OUT, d), np.float32)
    X += means[y]
    return Data(X[:n], y[:n], X[n:], y[n:])


def epoch_calls(library: str, row: EpochRow, threads: int) -> list[Call]:
    if library == "memory":  # X is read once
        return read_calls("float32", threads, row.data.X.nbytes)
    if library == "gemm":
        return gemm_calls("float32", threads)
    return CALLS[library](row, threads)


def arithmetic(row: EpochRow, limits: dict[str, float]) -> float:
    """The seconds of both products of all rows, at the speed of a large one."""
    return limits["gemm"] * 4 * row.n * row.d * row.c / (2 * GEMM_SIDE**3)


def expected_weights(row: EpochRow) -> np.ndarray:
    """W after the epoch, in float64."""
    return numpy_epoch(row, row.data.X.astype(np.float64), split(row), NUMPY_EPOCHS[0])


def accuracy(row: EpochRow, W: np.ndarray) -> float:
    """The fraction of held-out rows that W (d, c) classifies."""
    return float(np.mean((row.data.X_test @ W).argmax(axis=1) == row.data.y_test))


# ---- The libraries -----------------------------------------------------------------------------------------


def fastlin_calls(row: EpochRow, threads: int, backend: str) -> list[Call]:
    W = np.zeros((row.d, row.c), np.float32)
    how = {"loss": row.loss, "batch_size": row.batch, "bias": False, "backend": backend, "threads": threads}
    X, y, *_ = row.data
    return [
        Call(
            lambda: fl.train(X, y, W=W, optimizer=fl.Adam(LR, BETA1, BETA2, EPS), epochs=1, seed=0, **how),
            lambda result: result.W,
        )
    ]


def numpy_calls(row: EpochRow, threads: int) -> list[Call]:
    batches = split(row)
    return [Call(partial(numpy_epoch, row, row.data.X, batches, form)) for form in NUMPY_EPOCHS]


def numpy_epoch(row: EpochRow, X: np.ndarray, batches: Sequence[np.ndarray], form: tuple[Any, Any]) -> np.ndarray:
    loss_grad, order = form
    W = np.zeros((row.d, row.c), X.dtype, order)
    m, v, temp = (np.zeros_like(W) for _ in range(3))
    rows = np.empty((row.batch, row.d), X.dtype)
    for t, batch in enumerate(batches, start=1):
        part = rows[: len(batch)]
        np.take(X, batch, axis=0, out=part, mode="clip")  # with the default mode it is written twice
        _, dW = loss_grad(W, part, row.data.y[batch], row.loss)
        numpy_adam(W, dW, m, v, temp, t, LR)
    return W


def split(row: EpochRow) -> list[np.ndarray]:
    """The rows of each batch."""
    return np.split(row.order, range(row.batch, row.n, row.batch))


NUMPY_EPOCHS = ((numpy_row_major, "C"), (numpy_class_major, "F"))  # with the order of W, and so of dW


def torch_calls(row: EpochRow, threads: int) -> list[Call]:
    """Two forms: rows gathered batch by batch, or all at once into memory as large as X."""
    import torch

    torch.set_num_threads(threads)
    X, y, order = (torch.from_numpy(A) for A in (row.data.X, row.data.y, row.order))
    mean_loss, scale = torch_loss(row.loss, row.c)

    def epoch(parts: Callable[[Any], Any]) -> Any:
        W = torch.zeros(row.c, row.d, requires_grad=True)
        optimizer = torch.optim.Adam([W], LR, (BETA1, BETA2), EPS, fused=True)
        for part, labels in zip(parts(X), parts(y), strict=True):
            W.grad = None
            (scale * mean_loss(W, part, labels)).backward()
            optimizer.step()
        return W

    forms = (
        lambda A: (A.index_select(0, batch) for batch in order.split(row.batch)),
        lambda A: A.index_select(0, order).split(row.batch),
    )
    return [Call(partial(epoch, form), lambda W: W.detach().numpy().T) for form in forms]


def jax_calls(row: EpochRow, threads: int) -> list[Call]:
    """The whole epoch is one jitted call: a scan over the full batches, then the smaller one. Forms as for a loss."""
    import jax

    X, y = jax.device_put(row.data.X), jax.device_put(row.data.y.astype(np.int32))
    steps = row.n // row.batch
    full, rest = np.split(row.order.astype(np.int32), [steps * row.batch])
    full, rest = jax.device_put(full.reshape(steps, row.batch)), jax.device_put(rest)

    def call(class_major: bool) -> Call:
        epoch = jax.jit(partial(jax_epoch, row, class_major))
        return Call(
            lambda: jax.block_until_ready(epoch(X, y, full, rest)),
            lambda W: np.asarray(W.T if class_major else W),
        )

    return [call(class_major) for class_major in (False, True)]


def jax_epoch(row: EpochRow, class_major: bool, X: Any, y: Any, full: Any, rest: Any) -> Any:
    import jax
    from jax import numpy as jnp

    gradient = jax.grad(jax_loss(row.loss, class_major))

    def step(now: Any, batch: Any) -> tuple[Any, None]:
        W, m, v, t = now
        g, t = gradient(W, X[batch], y[batch]), t + 1
        m, v = BETA1 * m + (1 - BETA1) * g, BETA2 * v + (1 - BETA2) * g * g
        W -= LR * (m / (1 - BETA1**t)) / (jnp.sqrt(v / (1 - BETA2**t)) + EPS)
        return (W, m, v, t), None

    zeros = jnp.zeros((row.c, row.d) if class_major else (row.d, row.c), jnp.float32)
    now, _ = jax.lax.scan(step, (zeros, zeros, zeros, jnp.float32(0)), full)
    return (step(now, rest)[0] if len(rest) else now)[0]


def sklearn_calls(row: EpochRow, threads: int) -> list[Call]:
    from sklearn.linear_model import SGDClassifier

    X, y, *_ = row.data
    classes = np.arange(row.c)

    def run(n_jobs: int) -> Any:
        model = SGDClassifier(
            {"softmax": "log_loss", "svm": "hinge"}[row.loss], fit_intercept=False, n_jobs=n_jobs, random_state=0
        )
        return model.partial_fit(X, y, classes)

    return [Call(partial(run, n_jobs), lambda model: model.coef_.T) for n_jobs in {1, threads}]


CALLS = {name: partial(fastlin_calls, backend=name.removeprefix("fastlin-")) for name in OURS}
CALLS |= {"numpy": numpy_calls, "torch": torch_calls, "jax": jax_calls, "scikit-learn": sklearn_calls}
