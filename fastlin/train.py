"""Training by mini-batch gradient descent (lecture 3): sample a batch, evaluate the gradient, step."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlin import _check, losses, ops
from fastlin._affine import affine
from fastlin._check import Array, Inputs
from fastlin._check.csr import features
from fastlin._csr import Features
from fastlin._extras import need, progress_bar
from fastlin._files import store
from fastlin._labels import ClassWeight, LabelOptions
from fastlin._objective import (
    Objective,
    best_classes,
    make_objective,
    prediction,
    score,
    share_among,
    with_defaults,
)
from fastlin._training.epoch import Average, Steps
from fastlin._training.training import State, Training
from fastlin.optim import SGD
from fastlin.parts import Parts, are_parts, block_rows, exceeds_memory
from fastlin.penalties import Penalty

FilePath = str | os.PathLike[str]


@dataclass(frozen=True)
class Solved:
    """How a solver of `minimize` ended.

    solver : the one that was taken.  n_iter : its iterations.
    passes : over X: losses with gradients, and products with a Hessian.
    converged : whether no entry of the gradient (with L1, of the smallest subgradient) is above tol.
    gradient : the largest entry.
    message : why it stopped, and what to do where it did not converge.
    stopped : whether a callback stopped it.
    """

    solver: str
    n_iter: int
    passes: int
    converged: bool
    gradient: float
    message: str
    stopped: bool = False


@dataclass
class TrainResult:
    """What `train`, `minimize` and the searches return: the weights, and what was measured on the way.

    W : (d + 1, c) with `bias`, the last row b; (d, c) without.
    history : lists of numbers by name; what they are says the function that returned this.
    x_scale, x_shift : of the features that W was trained on, as in `softmax_loss`; predictions map X alike.
    best_epoch : with `patience`, the epoch that W is of, from 1.
    state : of `train`, for `train(..., resume=state)`.
    loss_name : the loss that W was trained with, which says what is predicted.
    solved : of `minimize`, how it ended: see `Solved`.
    """

    W: Array
    bias: bool
    history: dict[str, list[float]] = field(default_factory=dict)
    x_scale: Any = None
    x_shift: Any = None
    best_epoch: int | None = None
    state: State | None = field(default=None, repr=False)
    loss_name: str = "softmax"
    solved: Solved | None = None

    def scores(self, X: Features | Parts) -> Array:
        """The scores (n, c) of the rows of X, or of all parts; of float64 where X is, also for a W of float32.

        X : as in `softmax_loss`. For bad input every prediction raises ValueError or TypeError, which names it.
        """
        if isinstance(X, Parts):
            return self._over(X, "scores")
        X = features(X)
        W = _check.weights(self.W)
        if X.dtype.kind == "f" and W.dtype.itemsize < X.dtype.itemsize == 8:
            W = W.astype(np.float64)
        return losses.scores(W, X, bias=self.bias, x_scale=self.x_scale, x_shift=self.x_shift)

    def _over(self, parts: Parts, method: str, *arguments: Any) -> Array:
        """What a method returns for the rows of all parts."""
        from fastlin._parts.predicted import gathered  # milliseconds that `import fastlin` need not cost

        return gathered(parts, self._alone(), method, *arguments)

    def _alone(self) -> TrainResult:
        """What predictions need: workers are sent no more."""
        return TrainResult(self.W, self.bias, {}, self.x_scale, self.x_shift, loss_name=self.loss_name)

    def predict(self, X: Features | Parts, k: int | None = None) -> Array:
        """What the loss predicts for each row of X, or of all parts one after the other.

        A regression ("squared_error", "absolute_error", "huber"): values (n,), or (n, k) for k columns of W. Others:
        classes (n,), those of the largest score; with one column of W 1 where the score is >= 0, else 0.

        k : ask for the k classes (n, k) with the largest scores, the largest first; W has a column for each class.
        """
        if isinstance(X, Parts):
            return self._over(X, "predict", k)
        row, S = ops.LOSSES[self.loss_name], self.scores(X)
        return prediction(row, S) if k is None else best_classes(row, S, k)

    def predict_proba(self, X: Features | Parts) -> Array:
        """The probabilities of the classes of each row of X.

        "softmax": softmax(scores), (n, c). "logistic": sigma(score), (n, c) for c columns of W, each one class against
        the rest, so that a row need not sum to 1; for one column (n, 2), those of the classes 0 and 1, which do.
        Raises ValueError for other losses: their scores are no log-odds.
        """
        if isinstance(X, Parts):
            return self._over(X, "predict_proba")
        row = ops.LOSSES[self.loss_name]
        if row.probabilities is None:
            having = ", ".join(name for name, loss in ops.LOSSES.items() if loss.probabilities is not None)
            raise ValueError(f"loss={self.loss_name!r} gives no probabilities; those that do: {having}. See .scores(X)")
        S = self.scores(X)
        if row.probabilities == "softmax":
            return losses.softmax(S)
        of_pairs = losses.softmax(np.stack([np.zeros_like(S), S], axis=-1))  # sigma(s) is the second of softmax(0, s)
        return of_pairs[:, 0] if S.shape[1] == 1 else of_pairs[..., 1].copy()

    def score(self, X: Features | Parts, y: ArrayLike | None = None) -> float:
        """R^2 of a regression (the mean over the columns of y), the accuracy of a classifier.

        y : as in `train`. A row of targets (n, k) of a classifier counts as the class of its largest target, and a
        target of a single column as 1 where it is >= 1/2. Parts bring their own, and it is left out.
        """
        if are_parts(X, y):
            if ops.LOSSES[self.loss_name].predicts != "values":
                return self.accuracy(X)
            from fastlin._parts.predicted import values

            return score(ops.LOSSES[self.loss_name], *values(X, self._alone()))
        return score(ops.LOSSES[self.loss_name], self.scores(X), y)

    def accuracy(self, X: Features | Parts, y: ArrayLike | None = None, k: int | None = None) -> float:
        """The fraction of rows of X whose class is predicted: `score` of a classifier. Raises ValueError for others.

        k : the class is to be among those of the k largest scores: k=5 gives the top-5 accuracy.
        """
        row = ops.LOSSES[self.loss_name]
        if row.predicts == "values":
            raise ValueError(f"{self.loss_name} is a regression and predicts no classes: ask for score(X, y), its R^2")
        if are_parts(X, y):
            from fastlin._parts.predicted import share_of_hits

            return share_of_hits(X, self._alone(), k)
        return self.score(X, y) if k is None else share_among(row, self.scores(X), y, k)

    def save(self, path: FilePath) -> None:
        """Write what `predict` needs to an .npz or .safetensors file, whole or not at all; without pickle.

        Raises ValueError for another suffix, OSError where the file cannot be written, and ImportError for .safetensors
        without `fastlin[safetensors]`.
        """
        given = {"x_scale": self.x_scale, "x_shift": self.x_shift}
        arrays = {name: np.asarray(value) for name, value in given.items() if value is not None}
        _check.weights(self.W)
        if len(self.W) < self.bias:
            raise ValueError(f"with bias the last row of W is b; found W of shape {self.W.shape}")
        store.save(path, {"W": self.W, "bias": self.bias, "loss": self.loss_name, **arrays})

    @classmethod
    def load(cls, path: FilePath) -> TrainResult:
        """What `save` wrote; the history is not kept. Nothing in the file is run.

        Raises OSError for a file that cannot be opened, and ValueError, naming it, for one that is damaged or another.
        """
        stored = store.load(path)
        if not {"W", "bias"} <= set(stored):
            raise ValueError(f"{path} holds no weights W with their bias; found {', '.join(stored)[:200] or 'nothing'}")
        W, bias, scale, shift = (stored.get(name) for name in ("W", "bias", "x_scale", "x_shift"))
        loss = stored.get("loss", "softmax")  # files of version 0.1.0 have none, and are all of classifiers
        if not isinstance(W, np.ndarray) or not isinstance(bias, bool) or not isinstance(loss, str):
            raise ValueError(
                f"{path}: W must be an array, bias true or false and loss a name; "
                f"found {_check.shown(W)}, {_check.shown(bias)} and {_check.shown(loss)}"
            )
        try:
            _check.choice("loss", loss, ops.losses())
            d = _check.weights(W).shape[0] - bias
            if d < 0:
                raise ValueError(f"with bias the last row of W is b; found W of shape {W.shape}")
            affine(scale, shift, np.empty((0, d)), W)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: {error}") from error
        return cls(W, bias, x_scale=scale, x_shift=shift, loss_name=loss)


def train(
    X: Features | Parts,
    y: ArrayLike | None = None,
    *,
    loss: str = "softmax",
    optimizer: Steps | None = None,
    reg: float | Penalty = 0.0,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int = 256,
    shuffle: bool = True,
    window: int | None = None,
    seed: int = 0,
    bias: bool = True,
    W: ArrayLike | None = None,
    classes: int | None = None,
    class_weight: ClassWeight | None = None,
    ignore_index: int | None = None,
    validation: tuple[Features, ArrayLike] | Parts | None = None,
    sample_weight: ArrayLike | None = None,
    x_scale: ArrayLike | None = None,
    x_shift: ArrayLike | None = None,
    patience: int | None = None,
    tol: float | None = None,
    average: str | float | None = None,
    checkpoint: FilePath | None = None,
    resume: State | FilePath | None = None,
    progress: bool = False,
    callback: Callable[[int, TrainResult], Any] | None = None,
    backend: str | None = None,
    threads: int | None = None,
    **hyper: float,
) -> TrainResult:
    """Fit a linear classifier or regression by mini-batch steps along -dL/dW, `epochs` times over all rows, shuffled.

    Parameters
    ----------
    X : (n, d) float16, float32, float64 or integers. It is read a batch at a time and never copied. Or sparse rows, as
        in `softmax_loss`: with many more columns than a batch has entries, steps of `fl.SGD` without momentum and of
        `fl.AdaGrad` touch the columns of the batch alone, and are far faster than those of others. Or `fl.Parts`,
        which bring y and sample_weight with them; an `np.memmap` that is larger than half of the machine's memory is
        read as parts of 4 MB, since rows all over a file cost a disk a thousand times what they hold.
    y : (n,) integers in [0, c); for "softmax" also floats (n, c), the probabilities of the classes. For a loss with
        targets (see `fastlin.regression`) also numbers: (n, k), or (n,) for a W with one column, such as the 0 and 1 of
        "logistic". A regression takes numbers (n,) of any type as that.
    loss : "softmax", "svm", "squared_svm" or another of `fastlin.ops.losses()`. "logistic" and others with targets set
        one class against the rest where y are labels. Its hyper-parameters are arguments too: margin, delta ...
    optimizer : such as `fl.SGD(0.1, momentum=0.9)` or `fl.Adam()`, or any object with step(W, dW); None is
        `fl.SGD(0.01, momentum=0.9)`. One that has report(metric) gets the validation loss, or the loss, each epoch.
    reg : lam of lam * sum(W^2), or a penalty.
    epochs : how often all rows are gone through; None: 10, or as often as `steps` asks for.
    steps : stop after so many mini-batch steps instead, in the middle of an epoch if need be, and note the loss of each
        in the history. Such a run has no state to be resumed from.
    batch_size : rows in a batch; the last batch of an epoch takes what is left.
    shuffle : False takes the rows in their order in every epoch.
    window : of Parts, how many are mixed: parts are shuffled, and then the rows of so many together. Twice as many are
        in memory. None: as many as hold some 96 MB. docs/parts.md has what a small window does to convergence.
    seed : of the shuffling. The same seed gives the same bits, for any number of threads.
    bias : fit b as the last row of W.
    W : where to start, not changed; None starts at zero, with c = max(y) + 1 classes, or a column for each target.
    classes : the number of columns of W, where y may lack the last labels; None: max(y) + 1.
    class_weight : what the rows of each class are multiplied by, beside their sample_weight, where y are labels: a dict
        from labels to numbers (1 for others), numbers (c,), or "balanced", n / (classes present * rows of the class),
        rows counted by their sample_weight. The mean still divides by the rows: torch's `weight=` divides by the sum of
        the rows' weights w, which is ours with class_weight / mean(w), for a batch of all rows.
    ignore_index : rows with this label, such as -100, are left out: no batch has them, and no mean counts them.
    validation : (X, y), or Parts, measured after each epoch, with a class for every label and all rows alike.
    sample_weight, x_scale, x_shift : as in `softmax_loss`. The features of `validation` are mapped alike.
    patience : stop after so many epochs in a row without a lower validation loss (without validation: loss), and
        return the weights of the epoch where it was lowest.
    tol : stop after an epoch whose "loss" in the history differs from that of the epoch before by at most tol, up or
        down, also where there is validation: gradient descent has converged. The losses of mini-batches scatter, and
        two epochs may be alike by chance; patience waits for a lower one.
    average : "polyak", the mean of the weights after every step, or d in (0, 1), their exponential moving average
        A <- d A + (1 - d) W. The average is what is measured and returned; the steps go on from W itself.
    checkpoint : an .npz or .safetensors file, replaced after each epoch by the state then: whole, never half. It is
        written beside its place first, as NAME.<16 digits>.part; one that a killed process left can be deleted.
    resume : the .state of a result, or a checkpoint; checked whole before anything changes. The run goes on to the
        same bits as if it had not been interrupted; the other arguments must be the same, but for epochs, tol,
        checkpoint, progress, callback and threads.
    progress : show a bar (needs `fastlin[progress]`).
    callback : called as callback(epoch, result) after each epoch, from 1; a true answer stops the training.
    backend, threads : as in `softmax_loss`.

    Returns
    -------
    TrainResult with .W, .state for `resume`, and .history: a list with an entry for each epoch of "loss" (the mean
    over its batches, penalty included, each before its step), "lr" (of its first step, if the optimizer has .lr_now),
    "seconds" (in epochs so far) and, with validation, "validation_loss" (penalty included) and "validation_accuracy",
    or "validation_r2" for a regression: those of .score(X, y). With `steps` also "step_loss", an entry for each step:
    the loss of its batch, penalty included, before the step.

    Raises
    ------
    ValueError, TypeError : for bad input, naming the argument, or the part of the state; nothing has been changed then.
    RuntimeWarning : the loss of an epoch is NaN or Inf, once: which epoch, and what may be the cause.
    KeyboardInterrupt : Ctrl-C, between two kernel calls. The checkpoint of the last complete epoch is there.

    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> train(X, [0, 0, 1, 1], epochs=50).predict(X)
    array([0, 0, 1, 1])
    """
    tol = None if tol is None else _check.number("tol", tol, "[0, inf)")
    progress = _check.flag("progress", progress)
    if callback is not None:
        _check.function("callback", callback, "of (epoch, result)")
    objective = make_objective(loss, with_defaults(loss, hyper, "train"), reg, bias, backend, threads)
    labels = LabelOptions(classes, class_weight, ignore_index)
    kind, data = _data(objective, (X, y, sample_weight), W, labels, window)
    inputs, objective = data["inputs"], data["objective"]
    training: Training = kind(
        **data,
        scale_shift=affine(x_scale, x_shift, inputs.X, inputs.W),
        optimizer=_optimizer(optimizer),
        batch_size=_check.count("batch_size", batch_size),
        shuffle=_check.flag("shuffle", shuffle),
        steps=None if steps is None else _check.count("steps", steps),
        seed=_check.count("seed", seed, 0),
        validation=None if validation is None else _validation(objective, inputs.W, validation),
        patience=None if patience is None else _check.count("patience", patience),
        average=_average(average),
    )
    epochs = _epochs(epochs, training)
    _begin(training, checkpoint, resume, progress)
    result = TrainResult(training.weights(), objective.bias, x_scale=x_scale, x_shift=x_shift, loss_name=loss)
    return _run(training, result, epochs, tol, checkpoint, progress, callback)


def _data(
    objective: Objective, data: tuple[Any, Any, Any], W: Any, labels: LabelOptions, window: int | None
) -> tuple[type[Training], dict[str, Any]]:
    """What is trained on, and the kind of run that this takes: rows that memory does not hold are read part by part."""
    X, y, sample_weight = data
    over_parts = are_parts(X, y, sample_weight)
    if exceeds_memory(X):
        X, over_parts = Parts.from_arrays(X, y, sample_weight, rows=block_rows(X)), True
    if over_parts:
        from fastlin._parts.survey import begin  # milliseconds that `import fastlin` need not cost
        from fastlin._training.windows import PartsTraining, usual_window

        begun = begin(objective, X, W, labels)
        found = {"begun": begun, "inputs": begun.no_rows(), "objective": begun.objective}
        window = usual_window(begun) if window is None else _check.count("window", window)
        return PartsTraining, found | {"window": window}
    if window is not None:
        raise ValueError("window is for fl.Parts, and a file that memory does not hold: an array is shuffled whole")
    objective = objective.for_targets(y)
    X = features(X)
    start, y, sample_weight, rows = labels.apply(objective.loss.name, W, X, y, objective.bias, sample_weight)
    return Training, {"inputs": objective.inputs(start, X, y, sample_weight), "rows": rows, "objective": objective}


def _epochs(epochs: int | None, training: Training) -> int:
    """How many there are to be, of which the last may be cut off by `steps`."""
    if training.steps is None:
        return 10 if epochs is None else _check.count("epochs", epochs)
    if epochs is not None:
        raise ValueError("epochs and steps are both given; pass one of them")
    return -(-training.steps // training.batches)


def _begin(training: Training, checkpoint: FilePath | None, resume: State | FilePath | None, progress: bool) -> None:
    """Stand where the run is to begin, after what speaks against a checkpoint or a bar."""
    if progress:
        need("tqdm", "progress", "a progress bar")
    if checkpoint is not None or resume is not None:
        if training.steps is not None:
            raise ValueError(
                "a run of so many steps=, with no state to go on from, takes no checkpoint and no resume; pass epochs="
            )
        _check_resumable(training.optimizer)
    if checkpoint is not None:
        store.check_path("checkpoint", checkpoint)
    if resume is not None:
        training.restore(state_of(resume))


def _run(
    training: Training,
    result: TrainResult,
    epochs: int,
    tol: float | None,
    checkpoint: FilePath | None,
    progress: bool,
    callback: Callable[[int, TrainResult], Any] | None,
) -> TrainResult:
    """Epochs until there is nothing left to do."""
    warned = False
    with progress_bar("epochs", progress, epochs, training.epoch) as advance:
        while not training.finished(epochs, tol):
            with ops.use_backend(training.objective.backend):
                training.run_epoch()
            if checkpoint is not None or callback is not None:  # nobody else sees it before the end
                _update(result, training)
            if not warned and not math.isfinite(training.history["loss"][-1]):
                warned = True
                warnings.warn(training.what_spoilt_the_loss(), RuntimeWarning, stacklevel=3)
            if checkpoint is not None and result.state is not None:
                store.save(checkpoint, result.state)
            advance(_last(training.history))
            if callback is not None and callback(training.epoch, result):
                break
    _update(result, training)
    if training.best_W is not None:
        result.W = training.best_W
    return result


def _update(result: TrainResult, training: Training) -> None:
    result.W, result.history, result.state = training.weights(), training.history, training.state()
    result.best_epoch = training.best_epoch or None


def _last(history: dict[str, list[float]]) -> str:
    """The last epoch in a few words, for the progress bar."""
    found = {
        name.replace("validation_", "val "): values[-1]
        for name, values in history.items()
        if name not in ("seconds", "step_loss")
    }
    return ", ".join(f"{name} {value:.4g}" for name, value in found.items())


def held_out(validation: Any) -> tuple[Any, ...]:
    """The arguments of `score`: X and y, or Parts."""
    if isinstance(validation, Parts):
        return (validation,)
    if not isinstance(validation, (tuple, list)) or len(validation) != 2:
        raise TypeError("validation must be a pair (X, y), or Parts")
    return tuple(validation)


def _validation(objective: Objective, W: Array, validation: Any) -> tuple[Inputs, Array] | Parts:
    """Checked rows to measure on, and their y as predictions are compared with it; or Parts."""
    X, *others = held_out(validation)
    if not others:
        found: Parts = X
        return found
    try:
        (y,) = others
        inputs = objective.inputs(W, X, y)
        return inputs, _check.judged(y, len(inputs.X), W.shape[1], values=objective.loss.predicts == "values")
    except (ValueError, TypeError) as error:
        raise type(error)(f"validation: {error}") from None


def _optimizer(optimizer: Any) -> Steps:
    if optimizer is None:
        return SGD(0.01, momentum=0.9)
    if isinstance(optimizer, str):
        raise TypeError(f"optimizer must be an object such as fl.Adam(1e-3); found the name {_check.shown(optimizer)}")
    found: Steps = _check.instance("optimizer", optimizer)
    if not callable(getattr(found, "step", None)):
        raise TypeError(f"optimizer must have step(W, dW), such as fl.SGD(0.1); found {_check.kind(found)}")
    return found


def _average(average: str | float | None) -> Average | None:
    if average is None:
        return None
    if isinstance(average, str):
        if average == "polyak":
            return Average(decay=None)
        raise ValueError(f"average must be None, 'polyak' or a decay in (0, 1); found {average!r}")
    return Average(_check.number("average", average, "(0, 1)"))


def _check_resumable(optimizer: Steps) -> None:
    lacking = [name for name in ("state_dict", "load_state_dict") if not hasattr(optimizer, name)]
    if lacking:
        raise TypeError(f"checkpoint and resume need an optimizer with {' and '.join(lacking)}; found {optimizer!r}")


def state_of(resume: Any) -> Mapping[str, Any]:
    """The state that is given, or that a file holds."""
    if isinstance(resume, Mapping):
        return resume
    if isinstance(resume, (str, os.PathLike)):
        return store.load(resume)
    raise TypeError(f"resume must be the state of a TrainResult or a path; found {type(resume).__name__}")
