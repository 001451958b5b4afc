"""THE TABLE: one row per loss, storage, update and driver; BACKENDS; and the only place that looks a kernel up.

A row says what every backend's function of that name promises: its parameter names in order, which of them it
overwrites, its hyper-parameters. Signature tests, agreement tests and benchmarks are generated from these rows.

Kernels see W, dW and scores class-major, as in the lectures' f(x, W) = Wx: W and dW are (c, d + 1) with b as the last
column, scores are (c, rows). Kernels hold loops: what they are given has been checked, and every default filled in.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np


class Hyper(NamedTuple):
    """A hyper-parameter: its default, the interval it must lie in, and a value off its neutral one for tests."""

    default: float
    interval: str
    test_value: float


@cache
def bounds(interval: str) -> tuple[float, float, bool, bool]:
    """The ends of an interval, and whether they belong to it."""
    low, high = interval[1:-1].split(",")
    return float(low), float(high), interval[0] == "[", interval[-1] == "]"


def inside(value: float, interval: str) -> bool:
    """Whether `value` lies in an interval written as in mathematics, "[0, 1)"; NaN never does."""
    low, high, with_low, with_high = bounds(interval)
    return low < value < high or (with_low and value == low) or (with_high and value == high)


class Op(NamedTuple):
    """What the function of this name promises in every backend."""

    # "function", "layout", "product", "scores", "gradient", "gather", "epilogue", "update", "stage" or "reduction"
    kind: str
    args: tuple[str, ...]  # parameter names in order: arrays, then scalars
    writes: tuple[str, ...]  # the arguments it overwrites; it only reads the others
    state: tuple[str, ...] = ()  # optimizer slots, shaped like w, zero at the start
    hyper: Mapping[str, Hyper] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Loss:
    """A loss is an epilogue: scores in, weighted d(loss)/d(scores) out in place, the weighted sum returned."""

    name: str
    hyper: Mapping[str, Hyper] = field(default_factory=dict)
    targets: str | None = None  # the interval in which every score's target must lie; None: y are labels
    predicts: str = "classes"  # or "values": the scores themselves, of a regression

    @property
    def epilogue(self) -> str:
        """The name of its function in every backend."""
        return f"{self.name}_epilogue"

    @property
    def op(self) -> Op:
        """What that function promises."""
        y = "y" if self.targets is None else "targets"
        args = ("scores", y, "sample_weight", "scratch", *self.hyper)
        return Op("epilogue", args, writes=("scores", "scratch"), hyper=self.hyper)


@dataclass(frozen=True, eq=False)
class Storage:
    """How X lies in memory. It owns the scores, the gradient and the gathering of rows: four functions a backend."""

    name: str
    reads: str | None  # the dtype of X; None: that of W
    W_dtypes: tuple[str, ...] = ("float32", "float64")  # the dtypes of W that it is read beside
    converts: bool = True  # rows become numbers of W's dtype in `row_buffer`, a block at a time
    layout: str = "class_major"  # of W and dW inside kernels
    is_matrix: bool = True  # NumPy can multiply with its rows, once they are of W's dtype

    def holds(self, X: Any, W_dtype: np.dtype[Any]) -> bool:
        """Whether its functions read the rows of this X where they lie, beside weights of this dtype."""
        return W_dtype in self.W_dtypes and in_place(X, self.reads or W_dtype)

    @property
    def ops(self) -> dict[str, Op]:
        """What its functions promise.

        scores, gradient: of the rows start, start + 1, ... of X, as many as `scores` has columns. gather_scores,
        gather_gradient: of the rows `order` of X, and of the columns first ... last - 1 only; b belongs to column 0.
        The gradient finds in `row_buffer` what the scores have left there. `scale_shift` is (2, d), what each column
        is multiplied by and what is then added, or (0, d): as they are.
        """
        several = ("X", "order", "first", "last")
        return {
            f"{self.name}_scores": Op(
                "scores", ("X", "start", "W", "row_buffer", "scores"), writes=("row_buffer", "scores")
            ),
            f"{self.name}_gradient": Op("gradient", ("X", "start", "row_buffer", "dscores", "dW"), writes=("dW",)),
            f"{self.name}_gather_scores": Op(
                "gather", (*several, "scale_shift", "row_buffer", "W", "scores"), writes=("row_buffer", "scores")
            ),
            f"{self.name}_gather_gradient": Op("gather", (*several, "row_buffer", "dscores", "dW"), writes=("dW",)),
        }


def in_place(X: np.ndarray[Any, Any], dtype: Any) -> bool:
    """Whether kernels can read the rows of a matrix where they lie: native, aligned, a row's numbers side by side."""
    unit = X.strides[1] == X.itemsize or X.shape[1] <= 1
    return bool(X.dtype == dtype and X.flags.aligned and unit and X.strides[0] % X.itemsize == 0)


class Driver(NamedTuple):
    """A loop over functions of the table: NAME_driver(*pieces) of a backend returns kernel(*args)."""

    pieces: tuple[str, ...]
    args: tuple[str, ...]
    writes: tuple[str, ...]


def update(hyper: Mapping[str, Hyper], *state: str, counts: bool = False) -> Op:
    """The row of an optimizer's update, in place over flat arrays of one size.

    Its arguments: w, g, the state, t if it counts steps (from 1), and the hyper-parameters, lr first.
    """
    args = ("w", "g", *state, *(("t",) if counts else ()), *hyper)
    return Op("update", args, writes=("w", *state), state=state, hyper=hyper)


LR = Hyper(1e-3, "[0, inf)", 0.05)
MOMENTUM = Hyper(0.0, "[0, 1)", 0.8)
WEIGHT_DECAY = Hyper(0.0, "[0, inf)", 0.03)
MOMENTUM_HYPER = {"lr": LR, "momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY}
EPS = Hyper(1e-8, "(0, inf)", 1e-2)
ADAM = {
    "lr": LR,
    "beta1": Hyper(0.9, "[0, 1)", 0.8),
    "beta2": Hyper(0.999, "[0, 1)", 0.95),
    "eps": EPS,
    "weight_decay": WEIGHT_DECAY,
}
MARGIN = Hyper(1.0, "[0, inf)", 0.5)


LOSSES: dict[str, Loss] = {
    row.name: row
    for row in (
        Loss("softmax", {"label_smoothing": Hyper(0.0, "[0, 1]", 0.1)}),
        Loss("svm", {"margin": MARGIN}),
        Loss("squared_svm", {"margin": MARGIN}),
        Loss("crammer_singer_svm", {"margin": MARGIN}),
        # One class against the rest, and regression: the sum over the scores, each of which has a target, a number.
        Loss("one_vs_rest_svm", {"margin": MARGIN}, targets="[0, 1]"),
        Loss("squared_one_vs_rest_svm", {"margin": MARGIN}, targets="[0, 1]"),
        Loss("logistic", targets="[0, 1]"),
        Loss("sigmoid_squared", targets="[-inf, inf]"),
        Loss("squared_error", targets="[-inf, inf]", predicts="values"),
        Loss("absolute_error", targets="[-inf, inf]", predicts="values"),
        Loss("huber", {"delta": Hyper(1.0, "(0, inf)", 0.7)}, targets="[-inf, inf]", predicts="values"),
    )
}

STORAGES: dict[str, Storage] = {
    row.name: row
    for row in (
        Storage("dense", reads=None, converts=False),
        Storage("uint8", reads="uint8"),
        Storage("float16", reads="float16"),
        Storage("float32", reads="float32", W_dtypes=("float64",)),  # a float64 fit without a float64 copy of X
    )
}

# The formulas are in fastlin/optim.py, where each row has a class, and in fastlin/updates.py, where it has a function.
UPDATES: dict[str, Op] = {
    "sgd_update": update({"lr": LR, "weight_decay": WEIGHT_DECAY}),
    "momentum_update": update(MOMENTUM_HYPER, "v"),
    "velocity_update": update(MOMENTUM_HYPER | {"momentum": MOMENTUM._replace(default=0.9)}, "v"),
    "nesterov_update": update(MOMENTUM_HYPER, "v"),
    "adagrad_update": update(
        {"lr": LR._replace(default=1e-2), "eps": EPS._replace(default=1e-10), "weight_decay": WEIGHT_DECAY}, "s"
    ),
    "rmsprop_update": update(
        {
            "lr": LR._replace(default=1e-2),
            "alpha": Hyper(0.99, "[0, 1)", 0.8),
            "eps": EPS,
            "weight_decay": WEIGHT_DECAY,
        },
        "s",
    ),
    "adadelta_update": update(
        {
            "lr": LR._replace(default=1.0),
            "rho": Hyper(0.9, "[0, 1)", 0.8),
            "eps": EPS._replace(default=1e-6),
            "weight_decay": WEIGHT_DECAY,
        },
        *("s", "u"),
    ),
    "adam_update": update(ADAM, "m", "v", counts=True),
    "adam_almost_update": update(ADAM, "m", "v"),
    "adamw_update": update(ADAM | {"weight_decay": WEIGHT_DECAY._replace(default=1e-2)}, "m", "v", counts=True),
    "amsgrad_update": update(ADAM, "m", "v", "v_max", counts=True),
    "nadam_update": update(
        ADAM | {"lr": LR._replace(default=2e-3), "momentum_decay": Hyper(4e-3, "[0, inf)", 0.5)},
        *("m", "v"),
        counts=True,
    ),
    "radam_update": update(ADAM, "m", "v", counts=True),
    "adamax_update": update(ADAM | {"lr": LR._replace(default=2e-3)}, "m", "u", counts=True),
    "lion_update": update(
        {
            "lr": LR._replace(default=1e-4),
            "beta1": Hyper(0.9, "[0, 1)", 0.7),
            "beta2": Hyper(0.99, "[0, 1)", 0.8),
            "weight_decay": WEIGHT_DECAY,
        },
        "m",
    ),
}

OPS: dict[str, Op] = {
    "exp": Op("function", ("x", "out"), writes=("out",)),
    # Between the caller's W (d, c) or (d + 1, c), of any strides, and the kernels' `weights` (c, d + 1), whose last
    # column is 0 where W has no b. parts (parts, c, d + 1) are summed in order, into the first.
    "to_class_major": Op("layout", ("W", "weights"), writes=("weights",)),
    "combine_class_major": Op("layout", ("parts", "scale", "dW"), writes=("parts", "dW")),
    # total += G X, and sums += the row sums of G.
    "add_product": Op("product", ("X", "G", "total", "sums"), writes=("total", "sums")),
    **{name: op for storage in STORAGES.values() for name, op in storage.ops.items()},
    **{loss.epilogue: loss.op for loss in LOSSES.values()},
    **UPDATES,
    # What may stand before and after an update: [penalty, clip g] -> update -> [prox of w]. The first adds the gradient
    # of l2 sum(w^2) + l1 sum(|w|) to g and returns its value. `out` = scale g, no entry larger than `limit`; w is moved
    # towards 0 by `shrink`, not past it, and multiplied by `factor`.
    "penalty_stage": Op("stage", ("g", "w", "l2", "l1"), writes=("g",)),
    "clip_stage": Op("stage", ("g", "out", "scale", "limit"), writes=("out",)),
    "prox_stage": Op("stage", ("w", "shrink", "factor"), writes=("w",)),
    # The sum of squares in float64, returned: what clipping by a norm needs to know first.
    "sum_squares": Op("reduction", ("g",), writes=()),
}

DRIVERS: dict[str, Driver] = {
    # A loss with its gradient, over all rows. W and dW are the caller's, (d, c) or (d + 1, c); `scale` times the
    # gradient is written. `weights` (c, d + 1), `row_buffer` (parts, block, d), `scores` (parts, c + 3, block), `parts`
    # (parts, c, d + 1) and `losses` (parts,) are workspace (fastlin/_plan.py); `losses` gets the weighted sum of losses
    # of each part. A call goes through one chunk of every part: dW is complete after the last.
    "loss": Driver(
        pieces=("to_layout", "scores", "epilogue", "gradient", "combine"),
        args=(
            *("X", "W", "y", "sample_weight", "hyper", "scale", "weights", "row_buffer", "scores", "parts", "losses"),
            *("dW", "chunk", "chunks", "threads"),
        ),
        writes=("weights", "row_buffer", "scores", "parts", "losses", "dW"),
    ),
    # The epilogue of many columns of scores, in as many shares as `losses` (shares,) has entries, each cut into blocks
    # of the size of `scratch` (shares, 3, block).
    "epilogue": Driver(
        pieces=("epilogue",),
        args=("scores", "y", "sample_weight", "hyper", "scratch", "losses", "threads"),
        writes=("scores", "scratch", "losses"),
    ),
    # The losses of each of k W, which stand one below the other as (k c, d + 1), without gradients. `blocks`
    # (count, d, block) has a feature's numbers of some rows of X side by side; `scores` (k c + 3, block) and `sums`
    # (k c,) are workspace.
    "losses": Driver(
        pieces=("add_product", "epilogue"),
        args=("blocks", "weights", "y", "sample_weight", "hyper", "scores", "sums", "losses"),
        writes=("scores", "sums", "losses"),
    ),
    # Mini-batch steps, of the blocks first ... last - 1 of an epoch: kernels/records.py says what is given.
    "epoch": Driver(
        pieces=(
            *("gather_scores", "epilogue", "gather_gradient"),
            *("penalty_stage", "sum_squares", "clip_stage", "update", "prox_stage"),
        ),
        args=("data", "steps", "weights", "workspace", "first", "last", "threads"),
        writes=("weights", "workspace"),
    ),
    # One step: w, g and `state` are flat, `scalars` are the update's, `stages` what stands before and after it.
    "step": Driver(
        pieces=("clip_stage", "update", "prox_stage"),
        args=("w", "g", "state", "scalars", "stages", "ranges", "threads"),
        writes=("w", "state"),
    ),
    # The sum of squares of each of as many ranges of g as there are `sums`.
    "squares": Driver(pieces=("sum_squares",), args=("g", "sums", "threads"), writes=("sums",)),
}


class Backend(NamedTuple):
    """Where a backend's kernels live, what it needs, and how to get that."""

    module: str
    needs: str  # the module without which it cannot be imported
    install_hint: str  # what to type when it is missing
    compiled: bool  # releases the GIL and wants cache-sized blocks; the others get all rows at once


BACKENDS: dict[str, Backend] = {
    "naive": Backend("fastlin.kernels.naive_ops", "math", "part of Python", compiled=False),
    "numpy": Backend("fastlin.kernels.numpy_ops", "numpy", "pip install numpy", compiled=False),
    "numba": Backend("fastlin.kernels.numba_ops", "numba", "pip install 'fastlin[numba]'", compiled=True),
    "cython": Backend(
        "fastlin.kernels.cython_ops",
        "fastlin.kernels.cython_base",
        "install a C compiler (Debian: apt install gcc python3-dev; macOS: xcode-select --install) "
        "and reinstall fastlin",
        compiled=True,
    ),
}

DTYPES: dict[str, str] = {"float32": "float", "float64": "double"}  # and what C calls them

_PREFERRED = ("cython", "numba", "numpy")
_chosen: ContextVar[str | None] = ContextVar("fastlin_backend", default=None)


def losses() -> list[str]:
    """The names of the losses."""
    return list(LOSSES)


def loss(name: str) -> Loss:
    """The row of a loss."""
    return LOSSES[name]


def storage_of(X: Any, W_dtype: np.dtype[Any]) -> Storage | None:
    """The storage that holds X; None where its rows must be copied first, some at a time, for "dense"."""
    for row in STORAGES.values():
        if row.holds(X, W_dtype):
            return row
    return None


def missing(backend: str) -> str | None:
    """Why `backend` cannot be used and how to get it, or None if it is installed."""
    row = BACKENDS[backend]
    if importlib.util.find_spec(row.needs) is not None:
        return None
    return f"{row.needs} is not installed; {row.install_hint}"


@cache
def installed() -> tuple[str, ...]:
    """The backends that can be used here."""
    return tuple(name for name in BACKENDS if missing(name) is None)


@cache
def module(backend: str) -> Any:
    """The module that holds a backend's kernels."""
    try:
        return importlib.import_module(BACKENDS[backend].module)
    except ImportError as error:
        why = missing(backend) or f"{error}; {BACKENDS[backend].install_hint}"
        raise ImportError(f"backend {backend!r} cannot be loaded: {why}") from error


@cache
def kernel(op: str, backend: str, dtype: str) -> Callable[..., Any]:
    """The function of row `op` in `backend`, specialised for `dtype` where the backend compiles one for each."""
    function = getattr(module(backend), op)
    if hasattr(function, "__signatures__"):  # a Cython function with one body and several C types
        function = function[DTYPES[dtype]]
    return function  # type: ignore[no-any-return]


def _compose(driver: str, backend: str, *pieces: str) -> Callable[..., None]:
    """The kernel that a backend's driver makes of its functions of these names."""
    found = module(backend)
    made: Callable[..., None] = getattr(found, f"{driver}_driver")(*(getattr(found, name) for name in pieces))
    return made


@cache
def loss_kernel(loss: Loss, storage: Storage, backend: str) -> Callable[..., None]:
    """A loss with its gradient: the row "loss" of DRIVERS."""
    name, layout = storage.name, storage.layout
    return _compose(
        *("loss", backend, f"to_{layout}", f"{name}_scores", loss.epilogue, f"{name}_gradient", f"combine_{layout}")
    )


@cache
def epilogue_kernel(loss: Loss, backend: str) -> Callable[..., None]:
    """The epilogue of many columns of scores: the row "epilogue" of DRIVERS."""
    return _compose("epilogue", backend, loss.epilogue)


@cache
def losses_kernel(loss: Loss, backend: str) -> Callable[..., None]:
    """The losses of many W: the row "losses" of DRIVERS."""
    return _compose("losses", backend, "add_product", loss.epilogue)


@cache
def epoch_kernel(loss: Loss, storage: Storage, update: str, backend: str) -> Callable[..., None]:
    """Mini-batch steps: the row "epoch" of DRIVERS."""
    gather = f"{storage.name}_gather_scores", loss.epilogue, f"{storage.name}_gather_gradient"
    return _compose("epoch", backend, *gather, "penalty_stage", "sum_squares", "clip_stage", update, "prox_stage")


@cache
def step_kernel(update: str, backend: str) -> Callable[..., None]:
    """One step of an optimizer: the row "step" of DRIVERS."""
    return _compose("step", backend, "clip_stage", update, "prox_stage")


@cache
def squares_kernel(backend: str) -> Callable[..., None]:
    """Sums of squares: the row "squares" of DRIVERS."""
    return _compose("squares", backend, "sum_squares")


def check_backend(backend: str, source: str = "backend") -> str:
    """The backend's name, if there is one of that name."""
    if not isinstance(backend, str):
        raise TypeError(f"{source} must be one of {', '.join(BACKENDS)}; found a {type(backend).__name__}")
    if backend not in BACKENDS:
        raise ValueError(f"{source} must be one of {', '.join(BACKENDS)}; found {backend!r}")
    return backend


def resolve(backend: str | None) -> str:
    """The backend that a call uses: its own choice, else `use_backend`, else FASTLIN_BACKEND, else the first installed.

    An explicit choice never falls back to another: `kernel` raises if it is not installed.
    """
    if backend is not None:
        return check_backend(backend)
    chosen = _chosen.get()
    if chosen is not None:
        return chosen
    return _default()


@cache
def _default() -> str:
    named = os.environ.get("FASTLIN_BACKEND")  # asked once: looking it up costs a microsecond
    if named:
        return check_backend(named, "the environment variable FASTLIN_BACKEND")
    return next(name for name in _PREFERRED if name in installed())


@contextmanager
def use_backend(backend: str) -> Iterator[None]:
    """Make `backend` the default inside a `with` block, in this thread or task only.

    Raises ValueError for an unknown name and ImportError, saying how to get it, for one that is not installed.

    >>> with use_backend("numpy"):
    ...     resolve(None)
    'numpy'
    """
    module(check_backend(backend))
    token = _chosen.set(backend)
    try:
        yield
    finally:
        _chosen.reset(token)


def show_backends() -> None:
    """Print each backend, whether it is installed, and how to get it where it is not."""
    default = resolve(None)
    for name in BACKENDS:
        why = missing(name)
        state = "installed" if why is None else f"missing: {why}"
        if why is None and name == "cython":
            state += f", compiled for {module(name).ISA}"
        print(f"{name:8}{state}{' (default)' if name == default else ''}")
