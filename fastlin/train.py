"""Training by mini-batch gradient descent (lecture 3): sample a batch, evaluate the gradient, step."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from fastlin import _check, ops
from fastlin._check import Array
from fastlin._extras import progress as progress_bar
from fastlin.losses import evaluate, predict
from fastlin.optim import SGD
from fastlin.penalties import Penalty


class Steps(Protocol):
    """What `train` asks of an optimizer."""

    def step(self, W: Array, dW: Array, *, backend: str | None = None) -> None:
        """Change W in place."""


@dataclass
class TrainResult:
    """What `train` returns: the weights and what was measured after each epoch."""

    W: Array  # (d + 1, c) with bias, the last row b; (d, c) without
    bias: bool
    history: dict[str, list[float]] = field(default_factory=dict)

    def predict(self, X: ArrayLike) -> Array:
        """The predicted class of each row of X."""
        return predict(self.W, X, bias=self.bias)

    def accuracy(self, X: ArrayLike, y: ArrayLike) -> float:
        """The fraction of rows of X whose prediction is y."""
        return float(np.mean(self.predict(X) == np.asarray(y)))


def train(
    X: ArrayLike,
    y: ArrayLike,
    *,
    loss: str = "softmax",
    optimizer: Steps | None = None,
    reg: float | Penalty = 0.0,
    epochs: int = 10,
    batch_size: int = 256,
    seed: int = 0,
    bias: bool = True,
    W: ArrayLike | None = None,
    validation: tuple[ArrayLike, ArrayLike] | None = None,
    progress: bool = False,
    callback: Callable[[int, TrainResult], Any] | None = None,
    backend: str | None = None,
    threads: int | None = None,
) -> TrainResult:
    """Fit a linear classifier: shuffle the rows, take a batch, step along -dL/dW; `epochs` times over all rows.

    Parameters
    ----------
    X : (n, d) float32, float64 or integers.  y : (n,) integers in [0, c).
    loss : "softmax", "svm" or "squared_svm", with their default hyper-parameters.
    optimizer : such as `fl.SGD(0.1, momentum=0.9)` or `fl.Adam()`; None is `fl.SGD(0.01, momentum=0.9)`.
    reg : lam of lam * sum(W^2), or a penalty.
    batch_size : rows in a batch; the last batch of an epoch takes what is left.
    seed : of the shuffling. The same seed gives the same bits, for any number of threads.
    bias : fit b as the last row of W.
    W : where to start, not changed; None starts at zero, with c = max(y) + 1 classes.
    validation : (X, y), evaluated after each epoch.
    progress : show a bar (needs `fastlin[progress]`).
    callback : called as callback(epoch, result) after each epoch, from 1; a true answer stops the training.
    backend, threads : as in `softmax_loss`.

    Returns
    -------
    TrainResult with .W, and .history: a list for each of "loss" (mean over the epoch's batches, penalty
    included), "seconds" (since the start) and, with validation, "validation_loss" and "validation_accuracy".

    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> train(X, [0, 0, 1, 1], epochs=50).predict(X)
    array([0, 0, 1, 1])
    """
    _check.choice("loss", loss, ops.losses())
    epochs, batch_size = _check.count("epochs", epochs), _check.count("batch_size", batch_size)
    X = _check.array("X", X, 2)
    weights = _start(W, X, y, bias)
    X = _check.features(X, weights, bias)
    y = _check.labels(y, len(X), weights.shape[1])
    if not len(X):
        raise ValueError("X has 0 rows; training needs at least one")
    optimizer = SGD(0.01, momentum=0.9) if optimizer is None else optimizer
    if validation is not None:
        validation = _check_validation(validation, weights, bias)

    def evaluate_on(X: ArrayLike, y: ArrayLike, out: Array | None = None) -> tuple[float, Array]:
        hyper = {name: spec.default for name, spec in ops.OPS[f"{loss}_epilogue"].hyper.items()}
        return evaluate(loss, hyper, weights, X, y, reg, bias=bias, out=out, backend=backend, threads=threads)

    result = TrainResult(weights, bias, {"loss": [], "seconds": []})
    if validation is not None:
        result.history |= {"validation_loss": [], "validation_accuracy": []}
    rng = np.random.default_rng(seed)
    dW = np.empty_like(weights)
    began = time.perf_counter()
    for epoch in progress_bar(range(1, epochs + 1), "epochs", progress):
        order = rng.permutation(len(X))
        total = 0.0
        for start in range(0, len(X), batch_size):
            batch = order[start : start + batch_size]
            value, _ = evaluate_on(X[batch], y[batch], dW)
            optimizer.step(weights, dW, backend=backend)
            total += value * len(batch)
        result.history["loss"].append(total / len(X))
        if validation is not None:
            result.history["validation_loss"].append(evaluate_on(*validation)[0])
            result.history["validation_accuracy"].append(result.accuracy(*validation))
        result.history["seconds"].append(time.perf_counter() - began)
        if callback is not None and callback(epoch, result):
            break
    return result


def _start(W: ArrayLike | None, X: Array, y: ArrayLike, bias: bool) -> Array:
    """A copy of the given W, or zeros for as many classes as y names; Fortran-ordered, as kernels read it."""
    if W is not None:
        return np.array(_check.weights(W), order="F")
    found = np.asarray(y)
    if found.dtype.kind not in "iub" or not found.size:
        raise TypeError(f"y must hold integers, at least one; found dtype {found.dtype} and shape {found.shape}")
    dtype = np.float32 if X.dtype == np.float32 else np.float64
    return np.zeros((X.shape[1] + bias, max(int(found.max()) + 1, 1)), dtype, order="F")


def _check_validation(validation: Any, W: Array, bias: bool) -> tuple[Array, Array]:
    if not isinstance(validation, (tuple, list)) or len(validation) != 2:
        raise TypeError("validation must be a pair (X, y)")
    X = _check.features(validation[0], W, bias)
    return X, _check.labels(validation[1], len(X), W.shape[1])
