"""A training run: what it is given, where it stands after each epoch, and how that becomes a state and back."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastlin import _run
from fastlin._affine import Affine
from fastlin._check import Array, Inputs
from fastlin._check.states import ARGUMENT, HISTORY
from fastlin._csr import Csr
from fastlin._laps import laps
from fastlin._objective import Objective, score
from fastlin._optimizer import Optimizer
from fastlin._training.epoch import Average, Steps, run_epoch
from fastlin._training.resume import FORMAT, OPTIMIZER, read_state, with_name
from fastlin.parts import Parts
from fastlin.penalties import L1, L2, ElasticNet, Penalty

State = dict[str, Any]


@dataclass
class Training:
    """Checked arguments, and all that the next epoch depends on."""

    inputs: Inputs  # their W is where the run begins
    objective: Objective
    scale_shift: Affine | None  # the map of the columns of X
    optimizer: Steps
    batch_size: int
    seed: int
    validation: tuple[Inputs, Array] | Parts | None  # and the y of its rows, as they were given
    patience: int | None
    average: Average | None
    rows: Array | None = None  # that are trained on; None for all
    shuffle: bool = True
    steps: int | None = None  # to take; None for whole epochs
    history: dict[str, list[float]] = field(default_factory=dict)
    epoch: int = 0
    best_epoch: int = 0
    best_score: float = math.inf
    best_W: Array | None = None

    def __post_init__(self) -> None:
        self.W = self.inputs.W
        # Not a cached_property: before Python 3.12 its lock may be held when another thread forks, for good.
        self.arguments = self._describe_arguments()

    def run_epoch(self) -> None:
        """One more epoch, measured and recorded."""
        began = time.perf_counter()
        lr = {"lr": float(self.optimizer.lr_now)} if hasattr(self.optimizer, "lr_now") else {}
        of_steps: list[float] = []
        row = {"loss": self._run_rows(None if self.steps is None else of_steps)}
        reached = row["loss"]
        if self.validation is not None:
            row |= (
                self._measure_parts(self.validation)
                if isinstance(self.validation, Parts)
                else self._measure(*self.validation)
            )
            reached = row["validation_loss"]
        if hasattr(self.optimizer, "report"):
            self.optimizer.report(reached)
        self.epoch += 1
        if self.patience is not None and reached < self.best_score:  # false for NaN
            self.best_epoch, self.best_score, self.best_W = self.epoch, reached, self.weights().copy(order="F")
        before = self.history["seconds"][-1] if self.history else 0.0
        for name, value in (row | lr | {"seconds": before + time.perf_counter() - began}).items():
            self.history.setdefault(name, []).append(value)
        if self.steps is not None:
            self.history.setdefault("step_loss", []).extend(of_steps)

    def _run_rows(self, of_steps: list[float] | None) -> float:
        """The steps of an epoch; the mean loss, as `run_epoch` has it."""
        inputs = self.inputs._replace(W=self.W)
        how = self.scale_shift, self._order(), self.batch_size, self.optimizer, self.average
        return run_epoch(self.objective, inputs, *how, of_steps)

    def _order(self) -> Array:
        """The rows of the next epoch, batch after batch; its last steps may not be wanted."""
        n = self.count
        order = shuffled(n, self.batch_size, self.seed, self.epoch) if self.shuffle else np.arange(n)
        if self.steps is not None:
            order = order[: (self.steps - self.epoch * self.batches) * self.batch_size]
        return order if self.rows is None else self.rows[order]

    @property
    def count(self) -> int:
        """How many rows are trained on."""
        return self.inputs.X.shape[0] if self.rows is None else len(self.rows)

    @property
    def batches(self) -> int:
        """How many an epoch has."""
        return -(-self.count // self.batch_size)

    def what_spoilt_the_loss(self) -> str:
        """Where the last epoch's loss, which is not finite, may come from."""
        _, X, y, sample_weight, _ = self.inputs
        given = {"X": X.data if isinstance(X, Csr) else X, "y": y, "sample_weight": sample_weight}
        wrong = [name for name, A in given.items() if not _finite(A)]
        why = f"{' and '.join(wrong)} hold NaN or Inf: replace them, or leave their rows out"
        if not wrong:
            why = (
                "the steps are likely too long: pass a smaller lr, clip_norm= to the optimizer, or x_scale and x_shift"
            )
        return f"the loss of epoch {self.epoch} is {self.history['loss'][-1]}: {why}"

    def weights(self) -> Array:
        """The weights that are measured and returned: W, or its average."""
        if self.average is None or self.average.mean is None:
            return self.W
        return self.average.mean.astype(self.W.dtype)

    def finished(self, epochs: int, tol: float | None) -> bool:
        """Whether there is nothing left to do.

        All epochs done, none of the last `patience` the best, or the loss changed by at most `tol` in the last one.
        """
        waited = self.epoch - self.best_epoch
        losses = self.history.get("loss", [])
        settled = tol is not None and len(losses) > 1 and abs(losses[-1] - losses[-2]) <= tol  # false for NaN
        return self.epoch >= epochs or settled or (self.patience is not None and waited >= self.patience)

    def _measure(self, inputs: Inputs, y: Array) -> dict[str, float]:
        """Loss, penalty included, and accuracy or R^2 on other rows."""
        loss, _, _, bias, backend, threads, _ = self.objective
        W = self.weights()
        value, _ = self.objective.at(inputs._replace(W=W), self.scale_shift, inputs.X.shape[0], None)
        if self.scale_shift is not None:
            W = self.scale_shift.fold(W, bias)
        return {
            "validation_loss": value,
            self._measure_name(): score(loss, _run.scores(W, inputs.X, backend, threads).T, y),
        }

    def _measure_parts(self, parts: Parts) -> dict[str, float]:
        """The same over parts."""
        from fastlin._parts.predicted import measure  # a millisecond that `import fastlin` need not cost

        value, found = measure(self.objective, parts, self.weights(), self.scale_shift)
        return {"validation_loss": value, self._measure_name(): found}

    def state(self) -> State | None:
        """A copy of all that `restore` needs; None where the optimizer cannot tell its own state, or of some steps."""
        if self.steps is not None or not hasattr(self.optimizer, "state_dict"):
            return None
        state = {"format": FORMAT, "epoch": self.epoch, "W": self.W.copy(order="F")}
        state |= {f"{ARGUMENT}{name}": value for name, value in self.arguments.items()}
        state |= {f"{OPTIMIZER}{name}": value for name, value in self.optimizer.state_dict().items()}
        state |= {f"{HISTORY}{name}": np.array(values) for name, values in self.history.items()}
        if self.average is not None:
            state["average.t"] = self.average.t
            if self.average.mean is not None:
                state["average.mean"] = self.average.mean.copy(order="F")
        if self.best_W is not None:
            state |= {"best_epoch": self.best_epoch, "best_score": self.best_score, "best_W": self.best_W.copy("F")}
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Stand where the run that this is a state of stood.

        Raises ValueError or TypeError, which names what cannot be, for a state of a run with other arguments and for
        one that no run has; nothing has been changed then, and the optimizer neither.
        """
        stored = read_state(state, self)
        with_name(self.optimizer.load_state_dict, stored.optimizer)  # type: ignore[attr-defined]  # checked by train
        self.W, self.epoch, self.history = stored.W, stored.epoch, stored.history
        if self.average is not None:
            self.average.t, self.average.mean = stored.average_t, stored.average_mean
        self.best_epoch, self.best_score, self.best_W = stored.best_epoch, stored.best_score, stored.best_W

    def columns(self) -> list[str]:
        """The names in the history, in its order."""
        measured = [] if self.validation is None else ["validation_loss", self._measure_name()]
        return ["loss", *measured, *(["lr"] if hasattr(self.optimizer, "lr_now") else []), "seconds"]

    def _validation_in_words(self) -> str | None:
        if isinstance(self.validation, Parts):
            return repr(self.validation)
        return None if self.validation is None else digest(self.validation[1])

    def _measure_name(self) -> str:
        return "validation_r2" if self.objective.loss.predicts == "values" else "validation_accuracy"

    def _describe_arguments(self) -> dict[str, Any]:
        """The arguments that a run continued to the same bits must share; X is too large to be looked through."""
        return (
            described(self.objective, self.inputs, self.scale_shift)
            | {
                "rows": digest(self.rows),
                "validation": self._validation_in_words(),
                "optimizer": _describe(self.optimizer),
                "batch_size": self.batch_size,
                "seed": self.seed,
                "patience": self.patience,
                "average": None if self.average is None else self.average.decay or "polyak",
            }
            | ({} if self.shuffle else {"shuffle": False})
        )


def described(objective: Objective, inputs: Inputs, scale_shift: Affine | None) -> dict[str, Any]:
    """What is minimised, in words and digests: equal for two runs that can go on from each other's states."""
    W, X, y, sample_weight, _ = inputs
    scale, shift = (None, None) if scale_shift is None else scale_shift
    return {
        "X": f"{X.dtype} {X.shape}",
        "y": digest(y),
        "W": f"{W.dtype} {W.shape}",
        "sample_weight": digest(sample_weight),
        "x_scale": digest(scale),
        "x_shift": digest(shift),
        "loss": objective.loss.name,
        **objective.hyper_by_name(),
        "reg": _describe(objective.penalty),
        "bias": objective.bias,
        "backend": objective.backend,
    }


def shuffled(n: int, batch_size: int, seed: int, epoch: int, *window: int) -> Array:
    """All n rows in an order that depends on nothing but the arguments, ascending within each batch.

    window : its number, where not all rows are shuffled together.

    A batch is a sum, so the order within it is free: ascending, a memory-mapped X is read forwards, each page once.
    """
    batch_size = max(1, min(batch_size, n))
    order = np.random.default_rng([seed, epoch, *window]).permutation(n)
    whole = n // batch_size * batch_size
    order[:whole].reshape(-1, batch_size).sort(axis=1)
    order[whole:].sort()
    return order


def _finite(A: Array) -> bool:
    """Whether all numbers are; integers are."""
    return A.dtype.kind != "f" or all(np.isfinite(A[some]).all() for some in laps(len(A), 2 * A[:1].nbytes))


def digest(value: Any) -> str | None:
    """What tells one array from another in a few words."""
    if value is None:
        return None
    A = np.ascontiguousarray(value)
    return f"{A.dtype} {A.shape} crc {zlib.crc32(A.tobytes()):08x}"


def _describe(thing: Penalty | Steps | None) -> str | None:
    """A penalty or an optimizer in words; the repr of a class of the caller's own may name an address."""
    if thing is None:
        return None
    return repr(thing) if isinstance(thing, (L1, L2, ElasticNet, Optimizer)) else type(thing).__name__
