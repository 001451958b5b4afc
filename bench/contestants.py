"""The calls that `bench/peers.py` times: one loss with its gradient, as the users of each library write it best.

Everything here runs in a worker process that loads one library only. Conventions differ (some libraries divide by c, or
take W transposed); `Call.answer` converts a result to ours, loss and dW (d, c), and is not timed.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
from worker import OURS, Call

import fastlin as fl
from fastlin.testing import Case, random_case

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
class LossRow:
    """One loss on one shape."""

    shape: Shape
    loss: str

    @property
    def name(self) -> str:
        return f"{self.loss} {self.shape.size} {self.shape.dtype}"

    @property
    def contestants(self) -> list[str]:
        return [name for name in (*CALLS, *LIMITS) if self.loss == "softmax" or name not in SOFTMAX_ONLY]


def calls_of(library: str, row: LossRow, threads: int) -> list[Call]:
    if library in LIMITS:
        return LIMITS[library](row.shape.weight_dtype, threads)
    return CALLS[library](make_case(row.shape), row.loss, threads)


@lru_cache(maxsize=1)  # the rows of one shape are consecutive
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
    return [Call(partial(form, case.W, case.X, case.y, loss)) for form in NUMPY_FORMS]


def numpy_row_major(W: np.ndarray, X: np.ndarray, y: np.ndarray, loss: str) -> tuple[float, np.ndarray]:
    X = X.astype(W.dtype, copy=False)
    scores = X @ W
    value = NUMPY_EPILOGUES[loss](scores.T, y)
    return value, X.T @ scores


def numpy_class_major(W: np.ndarray, X: np.ndarray, y: np.ndarray, loss: str) -> tuple[float, np.ndarray]:
    X = X.astype(W.dtype, copy=False)
    scores = W.T @ X.T
    value = NUMPY_EPILOGUES[loss](scores, y)
    return value, (scores @ X).T


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
    np.greater(scores, 0, out=scores)  # np.sign in place takes ten times as long
    scores[y, rows] = -scores.sum(axis=0)
    scores /= len(y)
    return value


# Which is faster depends on the shape: BLAS likes rows, reductions over few classes do not.
NUMPY_FORMS = (numpy_row_major, numpy_class_major)
NUMPY_EPILOGUES = {"softmax": numpy_softmax, "svm": numpy_svm}


def torch_calls(case: Case, loss: str, threads: int) -> list[Call]:
    import torch

    torch.set_num_threads(threads)
    X, y = torch.from_numpy(case.X), torch.from_numpy(case.y)
    W = torch.from_numpy(case.W.T.copy()).requires_grad_()
    mean_loss, scale = torch_loss(loss, case.W.shape[1])

    def run() -> tuple[float, Any]:
        W.grad = None
        value = mean_loss(W, X.to(W.dtype), y)
        value.backward()
        return value.item(), W.grad

    return [Call(run, lambda found: (scale * found[0], scale * found[1].numpy().T))]


def torch_loss(loss: str, c: int) -> tuple[Callable[[Any, Any, Any], Any], int]:
    """The mean loss as a function of W (c, d), X and y, and the factor that makes it ours."""
    from torch.nn.functional import cross_entropy, linear, multi_margin_loss

    criterion, scale = {"softmax": (cross_entropy, 1), "svm": (multi_margin_loss, c)}[loss]  # torch divides by c too
    return lambda W, X, y: criterion(linear(X, W), y), scale


def jax_calls(case: Case, loss: str, threads: int) -> list[Call]:
    """Two forms, W (d, c) and W (c, d): XLA multiplies the one twice as fast as the other, depending on the shape."""
    import jax

    jax.config.update("jax_enable_x64", True)  # else float64 silently becomes float32
    X, y = jax.device_put(case.X), jax.device_put(case.y.astype(np.int32))

    def call(class_major: bool) -> Call:
        step = jax.jit(jax.value_and_grad(jax_loss(loss, class_major)))
        W = jax.device_put(case.W.T.copy() if class_major else case.W)
        return Call(
            lambda: jax.block_until_ready(step(W, X, y)),
            lambda found: (float(found[0]), np.asarray(found[1].T if class_major else found[1])),
        )

    return [call(class_major) for class_major in (False, True)]


def jax_loss(loss: str, class_major: bool) -> Callable[[Any, Any, Any], Any]:
    """The mean loss as a function of W, (c, d) if class_major or (d, c), and of X and y."""
    import jax
    from jax import numpy as jnp

    def softmax(scores: Any, own: Any) -> Any:
        return jax.nn.logsumexp(scores, axis=1, keepdims=True) - own

    def svm(scores: Any, own: Any) -> Any:
        return jnp.sum(jnp.maximum(scores - own + 1, 0), axis=1) - 1  # the row's own class adds 1

    row_loss = {"softmax": softmax, "svm": svm}[loss]

    def mean_loss(W: Any, X: Any, y: Any) -> Any:
        scores = X.astype(W.dtype) @ (W.T if class_major else W)
        return jnp.mean(row_loss(scores, jnp.take_along_axis(scores, y[:, None], axis=1)))

    return mean_loss


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


def read_calls(dtype: str, threads: int, n_bytes: int = READ_BYTES) -> list[Call]:
    """A dot product of each thread's share with itself: memory is read once, and nothing is written."""
    shares = np.array_split(np.ones(n_bytes // np.dtype(dtype).itemsize, dtype), threads)
    pool = ThreadPoolExecutor(threads)
    return [Call(lambda: list(pool.map(lambda share: np.dot(share, share), shares)), lambda _: None)]


LIMITS = {"gemm": gemm_calls, "read": read_calls}
CALLS = {name: partial(fastlin_calls, backend=name.removeprefix("fastlin-")) for name in OURS}
CALLS |= {"numpy": numpy_calls, "torch": torch_calls, "jax": jax_calls, "scikit-learn": sklearn_calls}
SOFTMAX_ONLY = ("scikit-learn",)
