"""THE TABLE: one row per loss, storage, update and driver; BACKENDS; and the only place that looks a kernel up.

A row says what every backend's function of that name promises: its parameters in order, with the shape, type and
layout of each (fastlin/_contract.py has the words), which of them it overwrites, its hyper-parameters. Signature tests,
agreement tests and benchmarks are generated from these rows, and compiled kernels are bound behind the descriptions.

Kernels see W, dW and scores class-major, as in the lectures' f(x, W) = Wx: W and dW are (c, d + 1) with b as the last
column, scores are (c, rows). Kernels hold loops: what they are given has been checked, and every default filled in.
"""

from __future__ import annotations

import copyreg
import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from fastlin._contract import Contract, Form, guard
from fastlin._rows import FLAT, CsrStorage, Driver, Hyper, Loss, Op, Storage, update

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
SMOOTHING = {"label_smoothing": Hyper(0.0, "[0, 1]", 0.1)}
MARGIN = Hyper(1.0, "[0, inf)", 0.5)


LOSSES: dict[str, Loss] = {
    row.name: row
    for row in (
        Loss("softmax", SMOOTHING, probabilities="softmax", soft="soft_softmax"),
        Loss("svm", {"margin": MARGIN}),
        Loss("squared_svm", {"margin": MARGIN}),
        Loss("crammer_singer_svm", {"margin": MARGIN}),
        # What softmax is where y are no labels but the probabilities of the classes.
        Loss("soft_softmax", SMOOTHING, targets="[0, 1]", probabilities="softmax"),
        # One class against the rest, and regression: the sum over the scores, each of which has a target, a number.
        Loss("one_vs_rest_svm", {"margin": MARGIN}, targets="[0, 1]"),
        Loss("squared_one_vs_rest_svm", {"margin": MARGIN}, targets="[0, 1]"),
        Loss("logistic", targets="[0, 1]", probabilities="sigmoid"),
        Loss("sigmoid_squared", targets="[-inf, inf]"),
        Loss("squared_error", targets="[-inf, inf]", predicts="values"),
        Loss("absolute_error", targets="[-inf, inf]", predicts="values"),
        Loss("huber", {"delta": Hyper(1.0, "(0, inf)", 0.7)}, targets="[-inf, inf]", predicts="values"),
    )
}

# The second derivative of a loss, as a loss: its targets A (n, c) are of the scores at some W. At another matrix V the
# value is half the curvature along V, and the gradient is the product of the Hessian at W with V.
CURVATURES: dict[str, Loss] = {
    row.name: row
    for row in (
        # 1/2 sum_j A_j (s_j - sum_k A_k s_k)^2, where the A_j are the probabilities of softmax and sum to 1.
        Loss("softmax_curvature", targets="[0, 1]"),
        # 1/2 sum_j A_j (s_j - s_y)^2, where A_j is 2 for a class that violates the margin, else 0; A_y is -1.
        Loss("svm_curvature", targets="[-1, inf]"),
        # 1/2 sum_j A_j s_j^2, where A_j is the second derivative of a loss by element.
        Loss("element_curvature", targets="[-inf, inf]"),
    )
}

STORAGES: dict[str, Storage] = {
    row.name: row
    for row in (
        Storage("dense", reads=None, converts=False),
        Storage("uint8", reads="uint8"),
        Storage("float16", reads="float16"),
        Storage("float32", reads="float32", W_dtypes=("float64",)),  # a float64 fit without a float64 copy of X
        CsrStorage("csr", reads=None),
        CsrStorage("csr_float32", reads="float32", W_dtypes=("float64",)),
        CsrStorage("csr_int64", reads=None, indices="int64"),
        CsrStorage("csr_float32_int64", reads="float32", W_dtypes=("float64",), indices="int64"),
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
    "exp": Op("function", {"x": FLAT, "out": FLAT}, writes=("out",)),
    "log1p": Op("function", {"x": FLAT, "out": FLAT}, writes=("out",)),  # log(1 + x) of 0 <= x <= 1
    # Between the caller's W (d, c) or (d + 1, c), of any strides, and the kernels' `weights` (c, d + 1), whose last
    # column is 0 where W has no b. parts (parts, c, d + 1) are summed in order, into the first.
    "to_class_major": Op(
        "layout", {"W": "real (d|d+1, c) strided", "weights": "real (c, d+1) rows"}, writes=("weights",)
    ),
    "combine_class_major": Op(
        "layout",
        {"parts": "real (parts, c, d+1) rows", "scale": "any", "dW": "real (d|d+1, c) strided"},
        writes=("parts", "dW"),
        where=("1 <= parts",),
    ),
    # The same for the rows of W: `weights` are (d, c), or (d + 1, c) where W has b.
    "to_feature_major": Op(
        "layout", {"W": "real (rows, c) strided", "weights": "real (rows, c) rows"}, writes=("weights",)
    ),
    "combine_feature_major": Op(
        "layout",
        {"parts": "real (parts, rows, c) rows", "scale": "any", "dW": "real (rows, c) strided"},
        writes=("parts", "dW"),
        where=("1 <= parts",),
    ),
    # The slopes of some rows from `start` on become rows of `slopes`, and their sum is added to `sums`.
    "turn_slopes": Op(
        "slopes",
        {
            "dscores": "real (c, rows) rows",
            "start": "size",
            "slopes": "real (n, c) rows",
            "sums": "real (c) contiguous",
        },
        writes=("slopes", "sums"),
        where=("start + rows <= n",),
    ),
    # Where each entry goes when entries are sorted by columns: to the next place of its column, which then is one more.
    "place_columns": Op(
        "places",
        {"columns": "int64 (m) contiguous", "next": "int64 (d) contiguous", "places": "int64 (m) contiguous"},
        writes=("next", "places"),
    ),
    # total += G X, and sums += the row sums of G.
    "add_product": Op(
        "product",
        {
            "X": "real (rows, d) unit",
            "G": "real (c, rows) rows",
            "total": "real (c, d) rows",
            "sums": "real (c) strided",
        },
        writes=("total", "sums"),
    ),
    **{name: op for storage in STORAGES.values() for name, op in storage.ops.items()},
    **{loss.epilogue: loss.op for loss in (*LOSSES.values(), *CURVATURES.values())},
    **UPDATES,
    # What may stand before and after an update: [penalty, clip g] -> update -> [prox of w]. The first adds the gradient
    # of l2 sum(w^2) + l1 sum(|w|) to g and returns its value. `out` = scale g, no entry larger than `limit`; w is moved
    # towards 0 by `shrink`, not past it, and multiplied by `factor`. The last moves the mean of w towards w,
    # by `factor` of the way.
    "penalty_stage": Op(
        "stage", {"g": "real (m, n) rows", "w": "real (m, n) rows", "l2": "any", "l1": "any"}, writes=("g",)
    ),
    "clip_stage": Op("stage", {"g": FLAT, "out": FLAT, "scale": "any", "limit": "any"}, writes=("out",)),
    "prox_stage": Op("stage", {"w": FLAT, "shrink": "any", "factor": "any"}, writes=("w",)),
    "average_stage": Op("stage", {"w": FLAT, "mean": "float64 (n) contiguous", "factor": "any"}, writes=("mean",)),
    # The sum of squares in float64, returned: what clipping by a norm needs to know first.
    "sum_squares": Op("reduction", {"g": FLAT}, writes=()),
}

DRIVERS: dict[str, Driver] = {
    # A loss with its gradient, over all rows. W and dW are the caller's, (d, c) or (d + 1, c); `scale` times the
    # gradient is written. `weights` ... `losses` are workspace (fastlin/_plan.py); `losses` gets the weighted sum of
    # losses of each part. `panels` is room for another copy of W, or has no numbers. A call goes through one chunk of
    # the parts first_part ... last_part - 1, for chunk after chunk of some parts after the other: dW is complete after
    # the last. Feature-major weights have no rows where W is read where it lies: each row's numbers side by side.
    "loss": Driver(
        pieces=("to_layout", "scores", "epilogue", "gradient", "combine"),
        takes={
            "X": "{X}",
            "W": "real (weights_rows, c) strided",
            "y": "{y}",
            "sample_weight": "real (n) contiguous",
            "hyper": "{hyper} numbers",
            "scale": "any",
            "weights": "{weights}",
            "panels": "real (room) contiguous",
            "row_buffer": "real (parts, 0|block, d) rows",
            "scores": "real (parts, c+3, block) rows",
            "parts": "{parts}",
            "losses": "float64 (parts) contiguous",
            "dW": "real (weights_rows, c) strided",
            **dict.fromkeys(("first_part", "last_part", "chunk", "chunks", "threads"), "size"),
        },
        writes=("weights", "panels", "row_buffer", "scores", "parts", "losses", "dW"),
        where=(
            *("d <= weights_rows", "weights_rows <= d + 1", "chunk + 1 <= chunks"),
            *("first_part + 1 <= last_part", "last_part <= parts"),
            *("1 <= parts", "1 <= block", "1 <= threads"),
        ),
    ),
    # A loss without its gradient, whose slopes are kept: by columns the gradient is a sum over the rows of `slopes`.
    "slopes": Driver(
        pieces=("scores", "epilogue", "turn"),
        takes={
            "X": "{X}",
            "W": "real (weights_rows, c) rows",
            "y": "{y}",
            "sample_weight": "real (n) contiguous",
            "hyper": "{hyper} numbers",
            "scores": "real (parts, c+3, block) rows",
            "sums": "real (parts, c) rows",
            "losses": "float64 (parts) contiguous",
            "slopes": "real (n, c) rows",
            **dict.fromkeys(("first_part", "last_part", "chunk", "chunks", "threads"), "size"),
        },
        writes=("scores", "sums", "losses", "slopes"),
        where=(
            *("d <= weights_rows", "weights_rows <= d + 1", "chunk + 1 <= chunks"),
            *("first_part + 1 <= last_part", "last_part <= parts"),
            *("1 <= parts", "1 <= block", "1 <= threads"),
        ),
    ),
    # The losses of each of k W, which stand one below the other, without gradients. `blocks` has a feature's numbers of
    # some rows of X side by side; `scores` and `sums` are workspace.
    "losses": Driver(
        pieces=("add_product", "epilogue"),
        takes={
            "blocks": "real (count, d, block) rows",
            "weights": "real (stacked, d+1) rows",
            "y": "{y}",
            "sample_weight": "real (n) contiguous",
            "hyper": "{hyper} numbers",
            "scores": "real (k*c+3, block) rows",
            "sums": "real (k*c) contiguous",
            "losses": "float64 (k) contiguous",
        },
        writes=("scores", "sums", "losses"),
        where=("c = stacked // k", "stacked <= k*c", "n <= count*block", "1 <= block"),
    ),
    # Mini-batch steps, of the blocks first ... last - 1 of an epoch: kernels/records.py says what is given.
    "epoch": Driver(
        pieces=(
            *("gather_scores", "epilogue", "gather_gradient"),
            *("penalty_stage", "sum_squares", "clip_stage", "update", "prox_stage", "average_stage"),
        ),
        takes={
            "data": {
                "X": "{X}",
                "y": "{y}",
                "sample_weight": "real (n) contiguous",
                "order": "int64 (m) contiguous",
                "scale_shift": "real (0|2, d) contiguous",
                "hyper": "{hyper} numbers",
                "bias": "any",
                "batch_size": "size",
                "dW_begun": "any",
            },
            "steps": {
                "t": "any",
                "counts": "any",
                "lr": "float64 (steps) contiguous",
                "others": "{others} numbers",
                "penalty": "2 numbers",
                "clip": "2 numbers",
                "shrinkage": "float64 (0|steps, 2) contiguous",
                "averaging": "float64 (0|steps) contiguous",
            },
            "weights": {
                "W": "real (c, d+1) rows",
                "dW": "real (c, d+1) like W",
                "state": "{states} arrays real (c, d+1) like W",
                "mean": "float64 (0|c, d+1) rows",
            },
            "workspace": {
                "row_buffer": "real (block, d) rows",
                "partial": "real (2, column_blocks, c, block) rows",
                "scores": "real (column_blocks, scratch, block) rows",
                "subtotal": "real (c, d+1) like W",
                "subtotal_blocks": "size",
                "losses": "float64 (steps) contiguous",
                "penalties": "float64 (steps, column_blocks) contiguous",
                "squares": "float64 (column_blocks) contiguous",
            },
            **dict.fromkeys(("first", "last", "threads"), "size"),
        },
        writes=("weights", "workspace"),
        where=(
            *("1 <= batch_size", "blocks = batch_size + block - 1 // block", "first <= last", "last <= steps*blocks"),
            *("2*c + 3 <= scratch", "3*c <= scratch", "1 <= column_blocks", "1 <= threads"),
        ),
    ),
    # One step: w, g and `state` are flat, `scalars` are the update's, `stages` what stands before and after it.
    "step": Driver(
        pieces=("clip_stage", "update", "prox_stage"),
        takes={
            "w": FLAT,
            "g": FLAT,
            "state": "{states} arrays " + FLAT,
            "scalars": "{scalars} numbers",
            "stages": "4 numbers",
            **dict.fromkeys(("ranges", "threads"), "size"),
        },
        writes=("w", "state"),
        where=("1 <= ranges", "1 <= threads"),
    ),
    # The sum of squares of each of as many ranges of g as there are `sums`.
    "squares": Driver(
        pieces=("sum_squares",),
        takes={"g": FLAT, "sums": "float64 (ranges) contiguous", "threads": "size"},
        writes=("sums",),
        where=("1 <= threads",),
    ),
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


def _row(name: str) -> Loss:
    """A row of LOSSES or CURVATURES, which is pickled as its name: kernels that were looked up are kept by row."""
    return (LOSSES | CURVATURES)[name]


copyreg.pickle(Loss, lambda row: (_row, (row.name,)))


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
    row = OPS[op]
    contract = Contract(op, row.takes, row.writes, row.where)
    return guard(function, contract) if BACKENDS[backend].compiled else function


def _compose(driver: str, backend: str, *pieces: str, **forms: Any) -> Callable[..., None]:
    """The kernel that a backend's driver makes of its functions of these names, behind what its row says."""
    made = _made(driver, backend, pieces)
    return guard(made, _contract(driver, pieces, forms)) if BACKENDS[backend].compiled else made


@cache
def _made(driver: str, backend: str, pieces: tuple[str, ...]) -> Any:
    """What a backend's driver makes of its functions of these names."""
    found = module(backend)
    return getattr(found, f"{driver}_driver")(*(getattr(found, name) for name in pieces))


def _contract(driver: str, pieces: tuple[str, ...], forms: Mapping[str, Any]) -> Contract:
    row = DRIVERS[driver]
    takes = {name: filled(form, forms) for name, form in row.takes.items()}
    return Contract(f"{driver} of {', '.join(pieces)}", takes, row.writes, row.where)


def filled(form: Form, forms: Mapping[str, Any]) -> Form:
    """The description of a driver's argument, with what depends on the pieces."""
    if not isinstance(form, str):
        return {name: filled(inner, forms) for name, inner in form.items()}
    whole = forms.get(form[1:-1])  # a storage's X may be a record
    return form.format(**forms) if whole is None or isinstance(whole, str) else whole


def _loss_forms(loss: Loss) -> dict[str, Any]:
    return {"y": loss.y("n"), "hyper": len(loss.hyper)}


def _update_forms(name: str) -> dict[str, Any]:
    row = UPDATES[name]
    scalars = len(row.args) - 2 - len(row.state)
    return {"states": len(row.state), "scalars": scalars, "others": len(row.hyper) - 1}


@cache
def loss_kernel(loss: Loss, storage: Storage, backend: str) -> Callable[..., None]:
    """A loss with its gradient: the row "loss" of DRIVERS."""
    name, layout = storage.name, storage.layout
    return _compose(
        *("loss", backend, f"to_{layout}", f"{name}_scores", loss.epilogue, f"{name}_gradient", f"combine_{layout}"),
        **(storage.forms | _loss_forms(loss)),
    )


@cache
def slopes_kernel(loss: Loss, storage: Storage, backend: str) -> Callable[..., None]:
    """A loss and the slopes of all rows: the row "slopes" of DRIVERS."""
    pieces = f"{storage.name}_scores", loss.epilogue, "turn_slopes"
    return _compose("slopes", backend, *pieces, X=storage.X, **_loss_forms(loss))


@cache
def losses_kernel(loss: Loss, backend: str) -> Callable[..., None]:
    """The losses of many W: the row "losses" of DRIVERS."""
    return _compose("losses", backend, "add_product", loss.epilogue, **_loss_forms(loss))


@cache
def epoch_kernel(loss: Loss, storage: Storage, update: str, backend: str) -> Callable[..., None]:
    """Mini-batch steps: the row "epoch" of DRIVERS."""
    gather = f"{storage.name}_gather_scores", loss.epilogue, f"{storage.name}_gather_gradient"
    stages = "penalty_stage", "sum_squares", "clip_stage", update, "prox_stage", "average_stage"
    return _compose("epoch", backend, *gather, *stages, X=storage.X, **_loss_forms(loss), **_update_forms(update))


@cache
def step_kernel(update: str, backend: str) -> Callable[..., None]:
    """One step of an optimizer: the row "step" of DRIVERS."""
    return _compose("step", backend, "clip_stage", update, "prox_stage", **_update_forms(update))


@cache
def step_preparation(update: str, backend: str) -> Callable[..., Any] | None:
    """prepare(*args), for the arguments of a step: a function of C that takes this step, and its own arguments.

    None where the kernel is such a function itself, and where Python takes part in a step.
    """
    pieces = "clip_stage", update, "prox_stage"
    prepare = getattr(_made("step", backend, pieces), "prepare", None)
    return prepare and guard(prepare, _contract("step", pieces, _update_forms(update)))


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
