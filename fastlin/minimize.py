"""Full-batch fits: `minimize` checks, lets a solver work, and says how that ended."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial, wraps
from inspect import unwrap
from typing import Any, ParamSpec

import numpy as np
from numpy.typing import ArrayLike

from fastlin import _check, _columns
from fastlin._affine import affine
from fastlin._check import Array
from fastlin._check.csr import features
from fastlin._csr import Features
from fastlin._extras import need
from fastlin._files import store
from fastlin._labels import ClassWeight, LabelOptions, of_rows
from fastlin._objective import Objective, make_objective, with_defaults
from fastlin._solvers import choice
from fastlin._solvers.memory import Memory
from fastlin._solvers.problem import Problem
from fastlin._training.training import State, described
from fastlin.parts import Parts, are_parts, exceeds_memory
from fastlin.penalties import Penalty
from fastlin.train import FilePath, Solved, TrainResult, state_of

P = ParamSpec("P")


class ConvergenceWarning(UserWarning):
    """A fit ended before its gradient was below `tol`."""


def _warning(fit: Callable[P, TrainResult]) -> Callable[P, TrainResult]:
    """The fit, and a warning where it ended too soon."""

    @wraps(fit)
    def fit_and_warn(*arguments: P.args, **named: P.kwargs) -> TrainResult:
        result = fit(*arguments, **named)
        wanted = named.get("tol", 1.0)  # who passes 0 wants so many iterations
        if wanted and result.solved is not None and not (result.solved.converged or result.solved.stopped):
            warnings.warn(result.solved.message, ConvergenceWarning, stacklevel=2)
        return result

    return fit_and_warn


@_warning
def minimize(
    X: Features | Parts,
    y: ArrayLike | None = None,
    *,
    loss: str = "softmax",
    solver: str = "auto",
    reg: float | Penalty = 0.0,
    max_iter: int | None = None,
    tol: float = 1e-6,
    bias: bool = True,
    W: ArrayLike | None = None,
    classes: int | None = None,
    class_weight: ClassWeight | None = None,
    ignore_index: int | None = None,
    sample_weight: ArrayLike | None = None,
    x_scale: ArrayLike | None = None,
    x_shift: ArrayLike | None = None,
    checkpoint: FilePath | None = None,
    resume: State | FilePath | None = None,
    backend: str | None = None,
    threads: int | None = None,
    callback: Callable[[int, TrainResult], Any] | None = None,
    **hyper: Any,
) -> TrainResult:
    """Fit a linear classifier or a regression to all rows at once.

    Parameters
    ----------
    X, y, loss, reg, bias, W, classes, class_weight, ignore_index, sample_weight, x_scale, x_shift, backend, threads,
    hyper : as in `train`. Without W the fit is in float64, whatever X is: float32, float16 and uint8 rows are read
        where they lie.
    solver : one of `fastlin.minimize.SOLVERS`; "auto" takes the one that docs/solvers.md gives for such a problem.
    max_iter : the largest number of iterations, each of which takes one or a few passes over X; None: the solver's own.
    checkpoint : an .npz or .safetensors file, replaced after an iteration by all that the solver remembers then: whole,
        never half. Writing takes no more than some tenth of the time: iterations that are over sooner are left out,
        but not the last.
    resume : such a file, or what is in it; checked whole before it is used. The fit goes on to the same bits as if it
        had not been interrupted; other arguments must be the same, but for tol, max_iter, checkpoint and threads. With
        Parts their sizes and the numbers of their labels are compared.
    tol : stop where no entry of the gradient is larger (with L1, of the smallest subgradient). 0 goes on as long as the
        loss falls.
    callback : called as callback(iteration, result) after each iteration, from 1; a true answer stops the fit.

    Returns
    -------
    TrainResult; .history["loss"] has the start and the loss after each iteration, penalty included; .solved says which
    solver was taken, after how many iterations and passes over X it stopped, and why.

    Warns
    -----
    ConvergenceWarning : it stopped before it reached `tol`, if that is not 0; the warning says what to do.

    Raises
    ------
    ValueError, TypeError : for bad input, naming the argument.
    ImportError : SciPy is missing for "bfgs" or "cg": `fastlin[scipy]`.

    Notes
    -----
    Lecture 3: L-BFGS "usually works very well in full batch, deterministic mode" and "does not transfer very well to
    mini-batch setting". Liu & Nocedal 1989; the other solvers name their papers where they are defined.

    >>> X = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    >>> minimize(X, [0, 0, 1, 1], reg=0.1).predict(X)
    array([0, 0, 1, 1])
    """
    if "method" in hyper:
        raise TypeError(f"minimize has no argument 'method'; pass solver=, one of {', '.join(SOLVERS)}")
    _check.choice("solver", solver, SOLVERS)
    tol = _check.number("tol", tol, "[0, inf)")
    if max_iter is not None:
        max_iter = _check.count("max_iter", max_iter)
    if callback is not None:
        _check.function("callback", callback, "of (iteration, result)")
    if solver in choice.SCIPYS:
        if checkpoint is not None or resume is not None:
            raise ValueError(f"solver {solver!r} is SciPy's and keeps no checkpoint: pass one of ours")
        need("scipy.optimize", "scipy", f"fastlin.minimize with solver={solver!r}")
    objective = make_objective(loss, with_defaults(loss, hyper, "minimize"), reg, bias, backend, threads)
    data = X, y, sample_weight
    problem, arguments = _problem(
        objective, data, W, LabelOptions(classes, class_weight, ignore_index), x_scale, x_shift
    )
    if checkpoint is not None:
        store.check_path("checkpoint", checkpoint)
    memory = Memory()
    if checkpoint is not None or resume is not None:
        state = None if resume is None else state_of(resume)
        memory = Memory(arguments() | {"solver": solver}, checkpoint, state)

    def result(x: Array, solved: Solved | None = None) -> TrainResult:
        history = {"loss": memory.losses.copy()}
        return TrainResult(problem.weights(x), bias, history, x_scale, x_shift, loss_name=loss, solved=solved)

    def note(value: float) -> None:
        iteration = len(memory.losses) - 1
        if callback is not None and iteration and callback(iteration, result(problem.latest)):
            raise choice.Stopped

    return result(*choice.solve(problem, solver, max_iter, tol, memory, note))


def _problem(
    objective: Objective, data: tuple[Any, Any, Any], W: Any, labels: LabelOptions, x_scale: Any, x_shift: Any
) -> tuple[Problem, Callable[[], dict[str, Any]]]:
    """What is to be solved, over arrays or over parts, and that in words."""
    X, y, sample_weight = data
    if exceeds_memory(X):
        X, y, sample_weight = Parts.from_arrays(X, y, sample_weight), None, None
    if are_parts(X, y, sample_weight):
        from fastlin._parts.over_parts import PartsProblem  # milliseconds that `import fastlin` need not cost
        from fastlin._parts.survey import begin
        from fastlin._training.windows import described_parts

        begun = begin(objective, X, W, labels, np.float64)
        scale_shift = affine(x_scale, x_shift, begun.survey.X, begun.W)

        def words() -> dict[str, Any]:
            return described(begun.objective, begun.no_rows(), scale_shift) | described_parts(begun)

        return PartsProblem(begun.objective, begun.weighted, begun.W, scale_shift, begun.survey, begun.counted), words
    objective = objective.for_targets(y)
    X = features(X)
    start, y, sample_weight, rows = labels.apply(
        objective.loss.name, W, X, y, objective.bias, sample_weight, np.float64
    )
    if rows is not None:
        sample_weight = of_rows(rows, len(X), sample_weight)
    inputs = objective.inputs(start, X, y, sample_weight)
    _columns.prepare(inputs.X, inputs.W, objective.backend)
    scale_shift = affine(x_scale, x_shift, inputs.X, start)
    return Problem(objective, inputs, scale_shift), partial(described, objective, inputs, scale_shift)


without_warning: Callable[..., TrainResult] = unwrap(minimize)  # for estimators, which warn in scikit-learn's words
SOLVERS = ("auto", *choice.SOLVERS)
