"""One fit for each strength of the penalty, from strong to weak, each from where the two before it lead."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike

from fastlin import _check, ops
from fastlin._affine import affine
from fastlin._check import Array
from fastlin._check.csr import features
from fastlin._csr import Csr, Features
from fastlin._extras import need, progress_bar
from fastlin._labels import LabelOptions
from fastlin._laps import laps
from fastlin._objective import Objective, make_objective, score, start_weights, with_defaults
from fastlin._rows import Loss
from fastlin.minimize import SOLVERS, ConvergenceWarning, without_warning
from fastlin.optim import SGD
from fastlin.parts import Parts, are_parts
from fastlin.penalties import L1, ElasticNet, Penalty
from fastlin.train import TrainResult, held_out, train

FOLDS = 5  # where neither validation nor cv is given
OF_SGD = ("epochs", "batch_size", "seed")
NAMED = 5  # fits that a warning names


@dataclass
class SweepResult:
    """What `sweep` returns.

    C, lr : (k,) of each setting, in the order in which they were given; lr is None but with solver="sgd".
    scores : (k, f), the score on the held-out rows of each of f folds; f = 1 with validation.
    models : k lists of f fits, those of the scores.
    best, best_lr : of the setting whose mean score is the highest; of equal ones the strongest penalty.
    model : the fit with best on all rows of X.
    """

    C: Array
    lr: Array | None
    scores: Array
    models: list[list[TrainResult]]
    best: float
    best_lr: float | None
    model: TrainResult = field(repr=False)

    def predict(self, X: Features | Parts) -> Array:
        """What .model predicts for each row of X."""
        return self.model.predict(X)

    def score(self, X: Features | Parts, y: ArrayLike | None = None) -> float:
        """The accuracy of .model, or its R^2."""
        return self.model.score(X, y)

    def plot(self) -> Any:
        """A matplotlib figure of the scores over C; needs `fastlin[plot]`. Save it with `.plot().savefig("C.png")`."""
        need("matplotlib", "plot", "SweepResult.plot")
        from fastlin._plots.sweep import sweep_figure

        return sweep_figure(self.C, self.lr, self.scores, self.best)


class Setting(NamedTuple):
    """A candidate."""

    C: float
    lr: float | None = None

    def __str__(self) -> str:
        return f"C={self.C:g}" + ("" if self.lr is None else f", lr={self.lr:g}")


def sweep(
    X: Features | Parts,
    y: ArrayLike | None = None,
    C: ArrayLike | None = None,
    *,
    validation: tuple[Features, ArrayLike] | None = None,
    cv: int | None = None,
    loss: str = "softmax",
    solver: str = "auto",
    lr: Sequence[float] | None = None,
    max_iter: int | None = None,
    tol: float | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    bias: bool = True,
    sample_weight: ArrayLike | None = None,
    x_scale: ArrayLike | None = None,
    x_shift: ArrayLike | None = None,
    progress: bool = False,
    backend: str | None = None,
    threads: int | None = None,
    **hyper: Any,
) -> SweepResult:
    """Choose the strength of an L2 penalty by the score on rows that are held out.

    Each fit minimises C * sum_i sample_weight_i loss_i + 1/2 sum(W^2), scikit-learn's words, over the rows that are not
    held out: `minimize` with reg = 1 / (2 C sum_i sample_weight_i) and weights of mean 1.

    Parameters
    ----------
    X, y, loss, bias, sample_weight, x_scale, x_shift, backend, threads, hyper : as in `train`. X is not copied: rows
        that are held out have weight 0.
    C : (k,) in (0, inf]; inf is no penalty. None: np.logspace(-6, 5, 45).
    validation : (X, y), or Parts: the rows that are held out. Over Parts there are no folds, and it is due.
    cv : instead of validation, how many folds of X are held out in turn; None is 5. They are scikit-learn's: of labels
        each fold has its share of each class (StratifiedKFold), else they are blocks (KFold); not shuffled.
    solver : of `minimize`, or "sgd".
    lr : with solver="sgd", its rates: each C is fitted with each of them, by `train` with `fl.SGD(lr, momentum=0.9)`
        from W = 0, all with the same batches.
    max_iter, tol : as in `minimize`; with solver="sgd" tol is that of `train`.
    epochs, batch_size, seed : as in `train`, with solver="sgd" only.
    progress : show a bar (needs `fastlin[progress]`).

    Returns
    -------
    SweepResult with .best, the C that won, .model, .scores, .models and .plot().

    Warns
    -----
    ConvergenceWarning : once, naming the fits that stopped before they reached `tol`.

    Raises
    ------
    ValueError, TypeError : for bad input, naming the argument.

    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> sweep(X, [0, 0, 1, 1], C=[0.01, 1.0], cv=2).best
    0.01
    """
    settings = _settings(C, solver, lr)
    own = {"max_iter": max_iter, "epochs": epochs, "batch_size": batch_size, "seed": seed, "tol": tol}
    own = _of_solver(solver, {name: value for name, value in own.items() if value is not None})
    objective = make_objective(loss, with_defaults(loss, hyper, "sweep"), 0.0, bias, backend, threads)
    show = _check.flag("progress", progress)
    if are_parts(X, y, sample_weight):
        start, X, weights = _begin_parts(objective, X, validation, x_scale, x_shift)
    else:
        X, y = features(X), _check.array("y", y)
        start = start_weights(loss, None, X, y, bias)
        weights = objective.inputs(start, X, y, sample_weight).sample_weight
        affine(x_scale, x_shift, X, start)
    given = {"loss": loss, "bias": bias, "x_scale": x_scale, "x_shift": x_shift, "backend": backend, "threads": threads}
    data = Data(X, y, weights, solver, given | own | hyper)
    if validation is not None:
        _check_validation(validation, cv, TrainResult(start, bias, {}, x_scale, x_shift, loss_name=loss))
        folds = [_Fold(data, None, validation)]
    else:
        folds = [
            _Fold(data, held, None) for held in _held_out(cast(Array, y), FOLDS if cv is None else cv, objective.loss)
        ]
    with progress_bar("fits", show, len(settings) * len(folds)) as advance:
        columns = [fold.path(settings, advance) for fold in folds]
    models = [list(row) for row in zip(*columns, strict=True)]
    scores = np.array([[fold.score(model) for fold, model in zip(folds, row, strict=True)] for row in models])
    best = max(_strong_first(settings), key=lambda i: scores[i].mean())  # the first of equals
    model = models[best][0]
    if validation is None:
        model = _Fold(data, None, None).fit(settings[best], model.W)
    _warn(settings, models, model, own.get("tol"))
    C, rates = (np.array([setting[i] for setting in settings]) for i in (0, 1))
    return SweepResult(C, None if lr is None else rates, scores, models, *settings[best], model)


def _begin_parts(
    objective: Objective, parts: Parts, validation: Any, x_scale: Any, x_shift: Any
) -> tuple[Array, Parts, Array]:
    """Weights of the shape of a fit, the parts with weights of mean 1, and the sum of those before."""
    if validation is None:
        raise ValueError("over Parts there are no folds: pass validation=(X, y), or Parts that are held out")
    from fastlin._parts.over_parts import Reweighted  # milliseconds that `import fastlin` need not cost
    from fastlin._parts.survey import begin

    begun = begin(objective, parts, None, LabelOptions())
    affine(x_scale, x_shift, begun.survey.X, begun.W)
    total = begun.survey.weight.sum(keepdims=True)
    return begun.W, parts._mapped(Reweighted(None, None, begun.survey.n / float(total[0]))), total


def _settings(C: ArrayLike | None, solver: str, lr: Sequence[float] | None) -> list[Setting]:
    """Every C with every rate, checked."""
    _check.choice("solver", solver, (*SOLVERS, "sgd"))
    if (solver == "sgd") != (lr is not None):
        raise ValueError(f"lr=[...] belongs to solver='sgd', which needs it; found lr={lr!r} and solver={solver!r}")
    rates = [None] if lr is None else numbers("lr", lr, "[0, inf)")
    given = np.logspace(-6, 5, 45) if C is None else C
    return [Setting(value, rate) for value in numbers("C", given, "(0, inf]") for rate in rates]


def numbers(name: str, values: Any, interval: str) -> list[Any]:
    found = _check.array(name, values, 1)
    if not found.size:
        raise ValueError(f"{name} is empty; pass at least one number in {interval}")
    return [_check.number(f"{name}[{i}]", value, interval) for i, value in enumerate(found)]


def _of_solver(solver: str, own: dict[str, Any]) -> dict[str, Any]:
    """The arguments that were given, each of them one that the solver knows."""
    for name in own:
        if name in OF_SGD if solver != "sgd" else name == "max_iter":
            whose = "solver='sgd'" if name in OF_SGD else "solvers of minimize"
            raise ValueError(f"{name} is an argument of {whose}; found it with solver={solver!r}: leave it out")
    return own


def _check_validation(validation: Any, cv: int | None, model: TrainResult) -> None:
    """Whether a model of this shape can be scored by it."""
    if cv is not None:
        raise ValueError(f"validation and cv both say which rows are held out; pass one of them, found cv={cv!r} too")
    try:
        model.score(*held_out(validation))
    except (ValueError, TypeError) as error:
        raise type(error)(f"validation: {error}") from None


def _held_out(y: Array, cv: int, loss: Loss) -> list[Array]:
    """The rows of each fold: of labels a share of each class, as they come; else blocks. As scikit-learn divides."""
    n = len(y)
    cv = _check.count("cv", cv, 2)
    if cv > n:
        raise ValueError(f"cv must be at most the {n} rows of X; found {cv}")
    if y.ndim != 1 or y.dtype.kind == "f" or loss.predicts == "values":
        return np.array_split(np.arange(n), cv)
    _, first, label = np.unique(y, return_index=True, return_inverse=True)
    label = np.argsort(np.argsort(first))[label]  # by their first rows
    rows = np.argsort(label, kind="stable")
    dealt = np.arange(n) % cv  # to the sorted rows; within a class the first fold has the first ones
    fold = np.empty(n, np.intp)
    fold[rows] = dealt[np.lexsort((dealt, label[rows]))]
    return [np.flatnonzero(fold == i) for i in range(cv)]


def _strong_first(settings: Sequence[Setting]) -> list[int]:
    return sorted(range(len(settings)), key=lambda i: settings[i].C)


class Data(NamedTuple):
    """All rows, and how they are fitted."""

    X: Array | Csr | Parts
    y: Any  # None beside Parts
    sample_weight: Array  # beside Parts their sum alone
    solver: str
    words: dict[str, Any]  # arguments of minimize and train
    l1_ratio: float = 0.0


def penalty_of(C: float, l1_ratio: float, total: float) -> float | Penalty:
    """What is `reg` to scikit-learn's C, beside the mean loss of rows whose weights have the sum `total`.

    C * sum_i sample_weight_i loss_i + (1 - l1_ratio) / 2 * sum(W^2) + l1_ratio * sum(|W|), divided by C * total.
    """
    if math.isinf(C):
        return 0.0
    strength = 1.0 / C / total
    if l1_ratio == 0:
        return strength / 2.0
    if l1_ratio == 1:
        return L1(strength)
    return ElasticNet(strength * l1_ratio, (1.0 - l1_ratio) / (2.0 * l1_ratio))


class Path:
    """Fits for many strengths of the penalty to the same rows of X: those that have a weight."""

    def __init__(self, data: Data, weights: Array) -> None:
        self.data = data
        self.total = float(weights.sum())
        if not 0 < self.total < np.inf:
            raise ValueError(
                f"the sample_weight of the rows that are fitted sum to {self.total:g}; "
                f"their sum must be finite and above 0"
            )
        weights = weights * (len(weights) / self.total)  # losses are divided by all rows
        self.sample_weight = None if isinstance(data.X, Parts) else weights

    def path(
        self, settings: Sequence[Setting], advance: Callable[[str], None] = lambda said: None
    ) -> list[TrainResult]:
        """The fit of each setting; those of minimize go from strong to weak, each from where the two before lead."""
        found: dict[int, TrainResult] = {}
        order = _strong_first(settings)
        for step, i in enumerate(order):
            before = [(settings[k].C, found[k].W) for k in order[max(0, step - 2) : step]]
            found[i] = self.fit(settings[i], None if settings[i].lr is not None else _predicted(settings[i].C, before))
            advance(str(settings[i]))
        return [found[i] for i in range(len(settings))]

    def fit(self, setting: Setting, W: Array | None) -> TrainResult:
        X, y, solver = self.data.X, self.data.y, self.data.solver
        if not np.isfinite(1.0 / setting.C / self.total):
            raise ValueError(f"C = {setting.C:g} is too small: reg = 1 / (2 C sum of weights) must be finite")
        reg = penalty_of(setting.C, self.data.l1_ratio, self.total)
        words: dict[str, Any] = {"reg": reg, "sample_weight": self.sample_weight} | self.data.words
        if setting.lr is not None:
            return train(X, y, optimizer=SGD(setting.lr, momentum=0.9), **words)
        return without_warning(X, y, solver=solver, W=W, **words)


class _Fold(Path):
    """Rows to fit and rows to score: `held` of X, or those of `validation`; neither for a fit without a score."""

    def __init__(self, data: Data, held: Array | None, validation: Any) -> None:
        self.held, self.validation = held, validation
        weights = data.sample_weight.astype(np.float64)
        if held is not None:
            weights[held] = 0
        super().__init__(data, weights)

    def score(self, model: TrainResult) -> float:
        """On the rows that are held out, which are copied a few at a time."""
        if self.held is None:
            return model.score(*held_out(self.validation))
        X, y = cast(Array, self.data.X), self.data.y  # of Parts none are held out
        row_bytes = X.shape[1] * X.itemsize + 8 * model.W.shape[1]
        S = np.concatenate([model.scores(X[self.held[some]]) for some in laps(len(self.held), row_bytes)])
        return score(ops.LOSSES[model.loss_name], S, y[self.held])


@np.errstate(all="ignore")
def _predicted(C: float, before: Sequence[tuple[float, Array]]) -> Array | None:
    """Where the optimum for C will be: straight on over log C, by no more than the last step (Park & Hastie 2007).

    Over 45 values it saves up to half of the passes that a start at the last optimum takes.
    """
    if not before:
        return None
    last, W = before[-1]
    if len(before) == 1 or not before[0][0] < last < C < np.inf:
        return W
    step = min(1.0, np.log(C / last) / np.log(last / before[0][0]))
    ahead: Array = W + step * (W - before[0][1])
    return ahead if np.isfinite(ahead).all() else W


def _warn(settings: Sequence[Setting], models: list[list[TrainResult]], model: TrainResult, tol: float | None) -> None:
    """Says once which fits did not converge; with tol=0 each goes on as long as it can."""
    if tol == 0:
        return
    rows = [*zip(map(str, settings), models, strict=True), ("the fit on all rows", [model])]
    found = [(name, fit.solved.message) for name, row in rows for fit in row if fit.solved and not fit.solved.converged]
    if found:
        names = list(dict.fromkeys(name for name, _ in found))
        named = "; ".join(names[:NAMED]) + (f"; and {len(names) - NAMED} more" if len(names) > NAMED else "")
        warnings.warn(f"not converged: {named}. The last: {found[-1][1]}", ConvergenceWarning, stacklevel=3)
