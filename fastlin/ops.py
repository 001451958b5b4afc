"""THE TABLE: one row per kernel, one line per backend, and the only place that looks a kernel up.

A row says what every backend's function of that name promises: its parameter names in order, which of
them it overwrites, the optimizer state it keeps and its hyper-parameters. Signature tests, agreement
tests and benchmarks are generated from these rows; so are the optimizer classes of `fastlin.optim`.

Kernels see everything class-major, as in the lectures' f(x, W) = Wx: `W`, `dW` are (c, d), `scores` is
(c, rows). They are loops over the rows they are given and nothing else: no checks, no 1/n, no penalty,
no threads, no allocation.
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
from typing import Any


@dataclass(frozen=True)
class Hyper:
    """A hyper-parameter: its default, the interval it must lie in, and a value off its neutral one for tests."""

    default: float
    interval: str
    trial: float


@cache
def _bounds(interval: str) -> tuple[float, float, bool, bool]:
    low, high = interval[1:-1].split(",")
    return float(low), float(high), interval[0] == "[", interval[-1] == "]"


def inside(value: float, interval: str) -> bool:
    """Whether `value` lies in an interval written as in mathematics, "[0, 1)"; NaN never does."""
    low, high, with_low, with_high = _bounds(interval)
    return low < value < high or (with_low and value == low) or (with_high and value == high)


@dataclass(frozen=True)
class Op:
    """What a kernel of this name promises in every backend."""

    kind: str  # "function", "layout", "load", "scores", "gradient", "epilogue" or "update"
    args: tuple[str, ...]  # parameter names in order: arrays, then scalars
    writes: tuple[str, ...]  # the arguments it overwrites; it only reads the others
    state: tuple[str, ...] = ()  # optimizer slots, shaped like w, zero at the start
    hyper: Mapping[str, Hyper] = field(default_factory=dict)
    public: str | None = None  # the class of fastlin.optim made from this row
    doc: str = ""


LR = Hyper(1e-3, "[0, inf)", 0.05)
MOMENTUM = Hyper(0.0, "[0, 1)", 0.8)
WEIGHT_DECAY = Hyper(0.0, "[0, inf)", 0.03)
MARGIN = Hyper(1.0, "[0, inf)", 0.5)

OPS: dict[str, Op] = {
    "exp": Op("function", ("x", "out"), writes=("out",)),
    # Between the caller's W (d, c), of any strides, and the kernels' (c, d). parts (parts, c, d) are summed in order,
    # into the first.
    "to_class_major": Op("layout", ("W", "by_class"), writes=("by_class",)),
    "combine": Op("layout", ("parts", "scale", "dW"), writes=("parts", "dW")),
    # A storage says how rows of X become floats: where they are, or converted into `rows`. It returns them.
    "dense_load": Op("load", ("X", "rows"), writes=("rows",)),
    "uint8_load": Op("load", ("X", "rows"), writes=("rows",)),
    # The scores of some rows, and the gradient those rows add to W and b.
    "dense_scores": Op("scores", ("X", "W", "b", "scores"), writes=("scores",)),
    "dense_gradient": Op("gradient", ("X", "dscores", "dW", "db"), writes=("dW", "db")),
    # A loss is an epilogue: scores in, weighted d(loss)/d(scores) out in place, the weighted sum returned.
    "softmax_epilogue": Op(
        "epilogue",
        ("scores", "y", "sample_weight", "scratch", "label_smoothing"),
        writes=("scores", "scratch"),
        hyper={"label_smoothing": Hyper(0.0, "[0, 1]", 0.1)},
    ),
    "svm_epilogue": Op(
        "epilogue",
        ("scores", "y", "sample_weight", "scratch", "margin"),
        writes=("scores", "scratch"),
        hyper={"margin": MARGIN},
    ),
    "squared_svm_epilogue": Op(
        "epilogue",
        ("scores", "y", "sample_weight", "scratch", "margin"),
        writes=("scores", "scratch"),
        hyper={"margin": MARGIN},
    ),
    # An optimizer is an update, in place over flat arrays of one size.
    "sgd_update": Op(
        "update",
        ("w", "g", "lr", "weight_decay"),
        writes=("w",),
        hyper={"lr": LR, "weight_decay": WEIGHT_DECAY},
    ),
    "momentum_update": Op(
        "update",
        ("w", "g", "v", "lr", "momentum", "weight_decay"),
        writes=("w", "v"),
        state=("v",),
        hyper={"lr": LR, "momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY},
    ),
    "nesterov_update": Op(
        "update",
        ("w", "g", "v", "lr", "momentum", "weight_decay"),
        writes=("w", "v"),
        state=("v",),
        hyper={"lr": LR, "momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY},
    ),
    "adam_update": Op(
        "update",
        ("w", "g", "m", "v", "t", "lr", "beta1", "beta2", "eps", "weight_decay"),
        writes=("w", "m", "v"),
        state=("m", "v"),
        hyper={
            "lr": LR,
            "beta1": Hyper(0.9, "[0, 1)", 0.8),
            "beta2": Hyper(0.999, "[0, 1)", 0.95),
            "eps": Hyper(1e-8, "(0, inf)", 1e-3),
            "weight_decay": WEIGHT_DECAY,
        },
        public="Adam",
        doc="""Adam with bias correction (Kingma & Ba 2015, algorithm 1; lecture 3, "Adam (full form)").

        g <- dW + weight_decay W;  m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2
        W <- W - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

        t is the number of the step, from 1. eps stands outside the root, as in the paper and in torch.
        """,
    ),
}


@dataclass(frozen=True)
class Backend:
    """Where a backend's kernels live, what it needs, and how to get that."""

    module: str
    needs: str  # the module without which it cannot be imported
    mend: str  # what to type when it is missing
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
    """The names of the losses: 'softmax' for the row 'softmax_epilogue', and so on."""
    return [name.removesuffix("_epilogue") for name, op in OPS.items() if op.kind == "epilogue"]


def missing(backend: str) -> str | None:
    """Why `backend` cannot be used and how to mend it, or None if it is installed."""
    row = BACKENDS[backend]
    if importlib.util.find_spec(row.needs) is not None:
        return None
    return f"{row.needs} is not installed; {row.mend}"


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
        why = missing(backend) or f"{error}; {BACKENDS[backend].mend}"
        raise ImportError(f"backend {backend!r} cannot be loaded: {why}") from error


@cache
def kernel(op: str, backend: str, dtype: str) -> Callable[..., Any]:
    """The function of row `op` in `backend`, specialised for `dtype` where the backend compiles one for each."""
    function = getattr(module(backend), op)
    if hasattr(function, "__signatures__"):  # a Cython function with one body and several C types
        function = function[DTYPES[dtype]]
    return function  # type: ignore[no-any-return]


@cache
def loss_kernel(loss: str, storage: str, backend: str) -> Callable[..., float]:
    """Scores of a row block -> epilogue of the loss -> gradient of the row block, over all rows, as one kernel.

    kernel(X, W, y, sample_weight, hyper, scale, by_class, rows, scores, parts, losses, dW, lap, laps,
    threads, run) takes W
    and dW as the caller has them, (d, c) or (d + 1, c) with b as the last row, and writes `scale` times the gradient.
    The others are room to work in (fastlin/_plan.py): `parts` (parts, c, d + 1) and `losses` (parts,) get the gradient
    and the weighted sum of losses of each part of the rows. The rows can be gone through in several laps, each
    taking a share of every part; dW is complete after the last. `threads` work on it: the kernel's own, or those
    with which run(member, threads) calls member(0) ... member(threads - 1).
    """
    ops = module(backend)
    parts = (f"{storage}_load", "dense_scores", f"{loss}_epilogue", "dense_gradient")
    return ops.compose(*(getattr(ops, part) for part in parts))  # type: ignore[no-any-return]


def check_backend(backend: str, source: str = "backend") -> str:
    """The backend's name, if there is one of that name."""
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
