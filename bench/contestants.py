"""What `bench/peers.py` times: one loss with its gradient, written for each library as its users write it best.

Everything here runs in a worker process that holds one library only. Conventions differ (who divides by c,
who wants W transposed); `Call.answer` brings a result to ours after the clock has stopped.
"""

from __future__ import annotations

import ctypes
import platform
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

import fastlin as fl
from fastlin.testing import Case, random_case

PAUSE = 0.1  # seconds: longer than idle BLAS and OpenMP threads spin
BURST = 0.15
SLOW = 1.0  # a call of this length needs no warming up
GEMM_SIDE = 2048
READ_BYTES = 256 << 20


@dataclass(frozen=True)
class Shape:
    """A batch of n rows, d features and c classes; W has X's dtype, or float32 where X is uint8."""

    n: int
    d: int
    c: int
    dtype: str

    @property
    def size(self) -> str:
        return f"{self.n}x{self.d}x{self.c}"

    @property
    def weight_dtype(self) -> str:
        return "float32" if self.dtype == "uint8" else self.dtype


@dataclass(frozen=True)
class Prepared:
    """A worker's answer to a shape and a loss: what it computes, or why it cannot."""

    failure: str = ""
    result: tuple[float, np.ndarray] | None = None  # loss and dW (d, c); None for the machine's limits
    peak_bytes: int | None = None  # that one call adds to the process; None where the system does not tell


@dataclass(frozen=True)
class Call:
    """What is timed, and how its result becomes our loss and dW (d, c)."""

    run: Callable[[], Any]
    answer: Callable[[Any], tuple[float, np.ndarray] | None] = lambda result: result


@lru_cache(maxsize=1)  # the losses of one shape follow each other
def make_case(shape: Shape) -> Case:
    """The same arrays in every process: made from the same seed."""
    case = random_case(shape.n, shape.d, shape.c)
    if shape.dtype == "uint8":
        pixels = np.random.default_rng(0).integers(0, 256, (shape.n, shape.d), np.uint8)
        case = replace(case, X=pixels, W=case.W / 128)  # scores stay of order one
    return replace(case.astype(shape.weight_dtype), sample_weight=None)


# ---- The libraries -----------------------------------------------------------------------------------------


def fastlin_calls(case: Case, loss: str, threads: int, backend: str) -> list[Call]:
    function = {"softmax": fl.softmax_loss, "svm": fl.svm_loss}[loss]
    dW = np.empty_like(case.W)
    return [Call(lambda: function(case.W, case.X, case.y, out=dW, backend=backend, threads=threads))]


def numpy_calls(case: Case, loss: str, threads: int) -> list[Call]:
    """Two forms, for which is faster depends on the shape: BLAS likes rows, reductions over few classes do not."""
    W, y = case.W, case.y
    epilogue = {"softmax": numpy_softmax, "svm": numpy_svm}[loss]

    def row_major() -> tuple[float, np.ndarray]:
        X = case.X.astype(W.dtype, copy=False)
        scores = X @ W
        value = epilogue(scores.T, y)
        return value, X.T @ scores

    def class_major() -> tuple[float, np.ndarray]:
        X = case.X.astype(W.dtype, copy=False)
        scores = W.T @ X.T
        value = epilogue(scores, y)
        return value, (scores @ X).T

    return [Call(row_major), Call(class_major)]


def numpy_softmax(scores: np.ndarray, y: np.ndarray) -> float:
    """The mean loss; scores (c, n) become its gradient, in place."""
    rows = np.arange(len(y))
    scores -= scores.max(axis=0)
    own = scores[y, rows]
    np.exp(scores, out=scores)
    z = scores.sum(axis=0)
    scores /= z * len(y)
    scores[y, rows] -= scores.dtype.type(1 / len(y))
    return float((np.log(z) - own).mean(dtype=np.float64))


def numpy_svm(scores: np.ndarray, y: np.ndarray) -> float:
    """The mean loss; scores (c, n) become its gradient, in place."""
    rows = np.arange(len(y))
    scores -= scores[y, rows] - 1
    scores[y, rows] = 0
    np.maximum(scores, 0, out=scores)
    value = float(scores.sum(dtype=np.float64) / len(y))
    np.sign(scores, out=scores)
    scores[y, rows] = -scores.sum(axis=0)
    scores /= len(y)
    return value


def torch_calls(case: Case, loss: str, threads: int) -> list[Call]:
    import torch
    from torch.nn.functional import cross_entropy, linear, multi_margin_loss

    torch.set_num_threads(threads)
    X, y = torch.from_numpy(case.X), torch.from_numpy(case.y)
    W = torch.from_numpy(case.W.T.copy()).requires_grad_()
    criterion, scale = {
        "softmax": (cross_entropy, 1),
        "svm": (multi_margin_loss, case.W.shape[1]),  # torch divides by c too
    }[loss]

    def run() -> tuple[float, Any]:
        W.grad = None
        value = criterion(linear(X.to(W.dtype), W), y)
        value.backward()
        return value.item(), W.grad

    return [Call(run, lambda found: (scale * found[0], scale * found[1].numpy().T))]


def jax_calls(case: Case, loss: str, threads: int) -> list[Call]:
    import jax
    from jax import numpy as jnp

    jax.config.update("jax_enable_x64", True)  # else float64 silently becomes float32

    def softmax(scores: Any, own: Any) -> Any:
        return jax.nn.logsumexp(scores, axis=1, keepdims=True) - own

    def svm(scores: Any, own: Any) -> Any:
        return jnp.sum(jnp.maximum(scores - own + 1, 0), axis=1) - 1  # the row's own class adds 1

    row_loss = {"softmax": softmax, "svm": svm}[loss]

    def mean_loss(W: Any, X: Any, y: Any) -> Any:
        scores = X.astype(W.dtype) @ W
        return jnp.mean(row_loss(scores, jnp.take_along_axis(scores, y[:, None], axis=1)))

    step = jax.jit(jax.value_and_grad(mean_loss))
    arrays = [jax.device_put(A) for A in (case.W, case.X, case.y.astype(np.int32))]
    return [
        Call(
            lambda: jax.block_until_ready(step(*arrays)),
            lambda found: (float(found[0]), np.asarray(found[1])),
        )
    ]


def sklearn_calls(case: Case, loss: str, threads: int) -> list[Call]:
    """The objective inside LogisticRegression; scikit-learn has no Weston-Watkins hinge.

    Two forms: its OpenMP threads and those of BLAS get in each other's way, and LogisticRegression uses one.
    """
    from sklearn._loss import HalfMultinomialLoss
    from sklearn.linear_model._linear_loss import LinearModelLoss

    objective = LinearModelLoss(HalfMultinomialLoss(n_classes=case.W.shape[1]), fit_intercept=False)
    coef = case.W.T  # (c, d) in Fortran order, as LogisticRegression passes it
    y = case.y.astype(coef.dtype)

    def run(n_threads: int) -> tuple[float, np.ndarray]:
        X = case.X.astype(coef.dtype, copy=False)
        return objective.loss_gradient(coef, X, y, l2_reg_strength=0.0, n_threads=n_threads)

    return [Call(partial(run, n), lambda found: (float(found[0]), found[1].T)) for n in (1, threads)]


# ---- The machine's limits ----------------------------------------------------------------------------------


def gemm_calls(dtype: str, threads: int) -> list[Call]:
    """A large matrix product: the fastest arithmetic that a library gets out of this machine."""
    A, B = np.random.default_rng(0).standard_normal((2, GEMM_SIDE, GEMM_SIDE)).astype(dtype)
    C = np.empty_like(A)
    return [Call(lambda: np.matmul(A, B, out=C), lambda _: None)]


def read_calls(dtype: str, threads: int) -> list[Call]:
    """A dot product of each thread's share with itself: memory is read once, and nothing is written."""
    shares = np.array_split(np.ones(READ_BYTES // np.dtype(dtype).itemsize, dtype), threads)
    pool = ThreadPoolExecutor(threads)
    return [Call(lambda: list(pool.map(lambda share: np.dot(share, share), shares)), lambda _: None)]


LIMITS = {"gemm": gemm_calls, "read": read_calls}
OURS = {f"fastlin-{backend}": partial(fastlin_calls, backend=backend) for backend in ("cython", "numba")}
PEERS = {"numpy": numpy_calls, "torch": torch_calls, "jax": jax_calls, "scikit-learn": sklearn_calls}
SOFTMAX_ONLY = ("scikit-learn",)


# ---- The worker --------------------------------------------------------------------------------------------


def work(library: str, threads: int, pipe: Connection) -> None:
    """A worker's life: prepare what it is sent, (shape, loss), or do a burst of it; in between it sleeps."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    call = None
    while (order := receive(pipe)) is not None:
        if order == "burst":
            pipe.send(burst(call.run))
            continue
        shape, loss = order
        call = None  # frees the arrays of the last one first
        try:
            call = quickest(calls_of(library, shape, loss, threads))
            pipe.send(Prepared(result=call.answer(call.run()), peak_bytes=peak_bytes(call.run)))
        except Exception as error:  # a library that fails is reported as that; the others go on
            pipe.send(Prepared(failure=f"{type(error).__name__}: {error}".splitlines()[0]))


def calls_of(library: str, shape: Shape, loss: str, threads: int) -> list[Call]:
    if library in LIMITS:
        return LIMITS[library](shape.weight_dtype, threads)
    return (OURS | PEERS)[library](make_case(shape), loss, threads)


def receive(pipe: Connection) -> Any:
    """What the parent sends, or None once it is gone."""
    try:
        return pipe.recv()
    except EOFError:
        return None


def quickest(calls: list[Call]) -> Call:
    """The form that a user who tries them all would keep."""
    if len(calls) == 1:
        return calls[0]
    best = {call: min(burst(call.run)) for call in calls}
    return min(best, key=best.__getitem__)


def burst(run: Callable[[], Any]) -> list[float]:
    """Durations of calls that take BURST together, after a pause and one call that warms up."""
    time.sleep(PAUSE)
    first = clock(run)
    if first > SLOW:
        return [first]
    seconds: list[float] = []
    while sum(seconds) < BURST:  # at least one
        seconds.append(clock(run))
    return seconds


def clock(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def peak_bytes(run: Callable[[], Any]) -> int | None:
    """How far a call raises this process's resident memory above where it stands."""
    reset = Path("/proc/self/clear_refs")
    if platform.libc_ver()[0] != "glibc" or not reset.exists():
        return None
    ctypes.CDLL(None).malloc_trim(0)  # glibc keeps what was freed: the call would reuse it unseen
    reset.write_text("5")  # the peak starts again from what is resident now
    before = _peak_resident()
    run()
    return _peak_resident() - before


def _peak_resident() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
