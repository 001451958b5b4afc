"""Training by mini-batch gradient descent (lecture 3): sample a batch, evaluate the gradient, step."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlin import _check, _save, ops
from fastlin._affine import affine
from fastlin._check import Array
from fastlin._epoch import Average, Objective, Steps
from fastlin._extras import progress_bar
from fastlin._training import State, Training
from fastlin.losses import predict
from fastlin.optim import SGD
from fastlin.penalties import Penalty, penalty

FilePath = str | os.PathLike[str]


@dataclass
class TrainResult:
    """What `train` returns: the weights, and what was measured after each epoch."""

    W: Array  # (d + 1, c) with bias, the last row b; (d, c) without
    bias: bool
    history: dict[str, list[float]] = field(default_factory=dict)
    x_scale: Any = None  # of the features that W was trained on, as in `softmax_loss`
    x_shift: Any = None
    best_epoch: int | None = None  # with `patience`, the epoch that W is of
    state: State | None = field(default=None, repr=False)  # for `train(..., resume=state)`

    def predict(self, X: ArrayLike) -> Array:
        """The predicted class of each row of X."""
        return predict(self.W, X, bias=self.bias, x_scale=self.x_scale, x_shift=self.x_shift)

    def accuracy(self, X: ArrayLike, y: ArrayLike) -> float:
        """The fraction of rows of X whose prediction is y."""
        return float(np.mean(self.predict(X) == np.asarray(y)))

    def save(self, path: FilePath) -> None:
        """Write what `predict` needs to an .npz or .safetensors file, whole or not at all; without pickle."""
        given = {"x_scale": self.x_scale, "x_shift": self.x_shift}
        arrays = {name: np.asarray(value) for name, value in given.items() if value is not None}
        _save.save(path, {"W": self.W, "bias": self.bias, **arrays})

    @classmethod
    def load(cls, path: FilePath) -> TrainResult:
        """What `save` wrote; the history is not kept."""
        stored = _save.load(path)
        if not {"W", "bias"} <= set(stored):
            raise ValueError(f"{path} holds no weights W with their bias; found {', '.join(stored) or 'nothing'}")
        return cls(stored["W"], stored["bias"], x_scale=stored.get("x_scale"), x_shift=stored.get("x_shift"))


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
    sample_weight: ArrayLike | None = None,
    x_scale: ArrayLike | None = None,
    x_shift: ArrayLike | None = None,
    patience: int | None = None,
    average: str | float | None = None,
    checkpoint: FilePath | None = None,
    resume: State | FilePath | None = None,
    progress: bool = False,
    callback: Callable[[int, TrainResult], Any] | None = None,
    backend: str | None = None,
    threads: int | None = None,
    **hyper: float,
) -> TrainResult:
    """Fit a linear classifier: shuffle the rows, take a batch, step along -dL/dW; `epochs` times over all rows.

    Parameters
    ----------
    X : (n, d) float32, float64 or integers. It is read a batch at a time and never copied, so it may be an
        `np.memmap` larger than memory; the rows of a batch are read in ascending order, forwards through the file.
    y : (n,) integers in [0, c).
    loss : "softmax", "svm", "squared_svm" or another of `fastlin.ops.losses()`; those with targets, "logistic" among
        them, set one class against the rest. Its hyper-parameters are arguments too: label_smoothing, margin.
    optimizer : such as `fl.SGD(0.1, momentum=0.9)` or `fl.Adam()`, or any object with step(W, dW); None is
        `fl.SGD(0.01, momentum=0.9)`. One that has report(metric) gets the validation loss, or the loss, each epoch.
    reg : lam of lam * sum(W^2), or a penalty.
    batch_size : rows in a batch; the last batch of an epoch takes what is left.
    seed : of the shuffling. The same seed gives the same bits, for any number of threads.
    bias : fit b as the last row of W.
    W : where to start, not changed; None starts at zero, with c = max(y) + 1 classes.
    validation : (X, y), measured after each epoch.
    sample_weight, x_scale, x_shift : as in `softmax_loss`. The features of `validation` are mapped alike.
    patience : stop after so many epochs in a row without a lower validation loss (without validation: loss), and
        return the weights of the epoch where it was lowest.
    average : "polyak", the mean of the weights after every step, or d in (0, 1), their exponential moving average
        A <- d A + (1 - d) W. The average is what is measured and returned; the steps go on from W itself.
    checkpoint : an .npz or .safetensors file, replaced after each epoch by the state then: whole, never half.
    resume : the .state of a result, or a checkpoint. The run goes on to the same bits as if it had not been
        interrupted; the other arguments must be the same, but for epochs, checkpoint, progress, callback and threads.
    progress : show a bar (needs `fastlin[progress]`).
    callback : called as callback(epoch, result) after each epoch, from 1; a true answer stops the training.
    backend, threads : as in `softmax_loss`.

    Returns
    -------
    TrainResult with .W, .state for `resume`, and .history: a list with an entry for each epoch of "loss" (the mean
    over its batches, penalty included, each before its step), "lr" (of its first step, if the optimizer has .lr_now),
    "seconds" (in epochs so far) and, with validation, "validation_loss" (penalty included) and "validation_accuracy".

    Raises
    ------
    ValueError, TypeError : for bad input, naming the argument; no step has been taken then.
    KeyboardInterrupt : Ctrl-C, between two kernel calls. The checkpoint of the last complete epoch is there.

    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> train(X, [0, 0, 1, 1], epochs=50).predict(X)
    array([0, 0, 1, 1])
    """
    epochs, batch_size = _check.count("epochs", epochs), _check.count("batch_size", batch_size)
    backend, values, R = ops.resolve(backend), hyper_values(loss, hyper), penalty(reg)
    X = _check.array("X", X, 2)
    weights = start_weights(W, X, y, bias)
    X, y = _rows(X, y, weights, bias)
    dtype = _check.native(weights)
    features = affine(x_scale, x_shift, X.shape[1], weights)
    training = Training(
        X=X,
        y=y,
        sample_weight=_check.row_weights(sample_weight, len(X), dtype),
        objective=Objective(loss, values, R, features, bias, backend, threads),
        optimizer=SGD(0.01, momentum=0.9) if optimizer is None else optimizer,
        batch_size=batch_size,
        seed=_check.count("seed", seed, 0),
        validation=None if validation is None else _check_validation(validation, weights, bias),
        x_scale=x_scale,
        x_shift=x_shift,
        patience=None if patience is None else _check.count("patience", patience),
        average=_average(average),
        W=weights,
    )
    if checkpoint is not None or resume is not None:
        _check_resumable(training.optimizer)
    if checkpoint is not None:
        _save.check_path("checkpoint", checkpoint)
    if resume is not None:
        training.restore(_state(resume))
    return _run(training, epochs, checkpoint, progress, callback)


def _run(
    training: Training,
    epochs: int,
    checkpoint: FilePath | None,
    progress: bool,
    callback: Callable[[int, TrainResult], Any] | None,
) -> TrainResult:
    """Epochs until there is nothing left to do."""
    bias, x_scale, x_shift = training.objective.bias, training.x_scale, training.x_shift
    result = TrainResult(training.weights(), bias, x_scale=x_scale, x_shift=x_shift)
    _update(result, training)
    with progress_bar("epochs", progress, epochs, training.epoch) as advance:
        while not training.finished(epochs):
            with ops.use_backend(training.objective.backend):
                training.run_epoch()
            _update(result, training)
            if checkpoint is not None and result.state is not None:
                _save.save(checkpoint, result.state)
            advance(_last(training.history))
            if callback is not None and callback(training.epoch, result):
                break
    if training.best_W is not None:
        result.W = training.best_W
    return result


def _update(result: TrainResult, training: Training) -> None:
    result.W, result.history, result.state = training.weights(), training.history, training.state()
    result.best_epoch = training.best_epoch or None


def _last(history: dict[str, list[float]]) -> str:
    """The last epoch in a few words, for the progress bar."""
    found = {name.replace("validation_", "val "): values[-1] for name, values in history.items() if name != "seconds"}
    return ", ".join(f"{name} {value:.4g}" for name, value in found.items())


def hyper_values(loss: str, given: Mapping[str, float]) -> tuple[float, ...]:
    """The hyper-parameters of a loss, in the order of its row."""
    _check.choice("loss", loss, ops.losses())
    row = ops.OPS[f"{loss}_epilogue"].hyper
    for name in given:
        if name not in row:
            own = ", ".join(row) or "none"
            raise TypeError(f"train has no argument {name!r} with loss={loss!r}, whose own are {own}")
    return _check.hyper(row, {name: spec.default for name, spec in row.items()} | dict(given))


def start_weights(W: ArrayLike | None, X: Array, y: ArrayLike, bias: bool, targets: bool = False) -> Array:
    """A copy of the given W, or zeros for as many classes as y names; Fortran-ordered, as kernels read it.

    Where y may be targets, numbers (n,) need one column and (n, c) need c.
    """
    if W is not None:
        found = _check.weights(W)
        return np.array(found, _check.native(found), order="F")
    found = np.asarray(y)
    dtype = np.float32 if X.dtype == np.float32 else np.float64
    if targets and (found.ndim == 2 or found.dtype.kind == "f"):
        return np.zeros((X.shape[1] + bias, found.shape[1] if found.ndim == 2 else 1), dtype, order="F")
    if found.dtype.kind not in "iub" or not found.size:
        raise TypeError(f"y must hold integers, at least one; found dtype {found.dtype} and shape {found.shape}")
    return _check.weights_for(found, X.shape[1] + bias, dtype)


def _rows(X: Any, y: Any, W: Array, bias: bool) -> tuple[Array, Array]:
    """X and y, checked; at least one row."""
    X = _check.features(X, W, bias)
    if not len(X):
        raise ValueError("X has 0 rows; there must be at least one")
    return X, _check.labels(y, len(X), W.shape[1])


def _check_validation(validation: Any, W: Array, bias: bool) -> tuple[Array, Array]:
    if not isinstance(validation, (tuple, list)) or len(validation) != 2:
        raise TypeError("validation must be a pair (X, y)")
    try:
        return _rows(validation[0], validation[1], W, bias)
    except (ValueError, TypeError) as error:
        raise type(error)(f"validation: {error}") from None


def _average(average: str | float | None) -> Average | None:
    if average is None:
        return None
    if average == "polyak":
        return Average(decay=None)
    if isinstance(average, str):
        raise ValueError(f"average must be None, 'polyak' or a decay in (0, 1); found {average!r}")
    return Average(_check.number("average", average, "(0, 1)"))


def _check_resumable(optimizer: Steps) -> None:
    lacking = [name for name in ("state_dict", "load_state_dict") if not hasattr(optimizer, name)]
    if lacking:
        raise TypeError(f"checkpoint and resume need an optimizer with {' and '.join(lacking)}; found {optimizer!r}")


def _state(resume: Any) -> Mapping[str, Any]:
    """The state that is given, or that a file holds."""
    if isinstance(resume, Mapping):
        return resume
    if isinstance(resume, (str, os.PathLike)):
        return _save.load(resume)
    raise TypeError(f"resume must be the state of a TrainResult or a path; found {type(resume).__name__}")
