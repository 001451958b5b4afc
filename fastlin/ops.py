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
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any


@dataclass(frozen=True)
class Hyper:
    """A hyper-parameter: its default, the interval it must lie in, and a value off its neutral one for tests."""

    default: float
    interval: str
    trial: float


@cache
def bounds(interval: str) -> tuple[float, float, bool, bool]:
    """The ends of an interval, and whether they belong to it."""
    low, high = interval[1:-1].split(",")
    return float(low), float(high), interval[0] == "[", interval[-1] == "]"


def inside(value: float, interval: str) -> bool:
    """Whether `value` lies in an interval written as in mathematics, "[0, 1)"; NaN never does."""
    low, high, with_low, with_high = bounds(interval)
    return low < value < high or (with_low and value == low) or (with_high and value == high)


@dataclass(frozen=True)
class Op:
    """What a kernel of this name promises in every backend."""

    # "function", "layout", "load", "gather", "scores", "gradient", "epilogue", "update", "stage" or "reduction"
    kind: str
    args: tuple[str, ...]  # parameter names in order: arrays, then scalars
    writes: tuple[str, ...]  # the arguments it overwrites; it only reads the others
    state: tuple[str, ...] = ()  # optimizer slots, shaped like w, zero at the start
    hyper: Mapping[str, Hyper] = field(default_factory=dict)
    targets: str | None = None  # of an epilogue with targets: the interval they must lie in
    public: str | None = None  # the class of fastlin.optim made from this row
    doc: str = ""


GATHER_SCORES = ("X", "order", "features", "rows", "W", "b", "scores")
LR = Hyper(1e-3, "[0, inf)", 0.05)
MOMENTUM = Hyper(0.0, "[0, 1)", 0.8)
WEIGHT_DECAY = Hyper(0.0, "[0, inf)", 0.03)
EPS = Hyper(1e-8, "(0, inf)", 1e-2)
ADAM = {
    "lr": LR,
    "beta1": Hyper(0.9, "[0, 1)", 0.8),
    "beta2": Hyper(0.999, "[0, 1)", 0.95),
    "eps": EPS,
    "weight_decay": WEIGHT_DECAY,
}
MARGIN = Hyper(1.0, "[0, inf)", 0.5)


def by_element(targets: str, **hyper: Hyper) -> Op:
    """The row of a loss that is a sum over the entries of the scores, each with its target: y is (rows, c)."""
    args = ("scores", "targets", "sample_weight", "scratch", *hyper)
    return Op("epilogue", args, writes=("scores", "scratch"), hyper=hyper, targets=targets)


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
    # The rows of a mini-batch lie anywhere: copies of those that `order` names, and their scores. `features` is (2, d),
    # what each column is multiplied by and what is then added, or (0, d): as they are.
    "dense_gather_scores": Op("gather", GATHER_SCORES, writes=("rows", "scores")),
    "uint8_gather_scores": Op("gather", GATHER_SCORES, writes=("rows", "scores")),
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
    "crammer_singer_svm_epilogue": Op(
        "epilogue",
        ("scores", "y", "sample_weight", "scratch", "margin"),
        writes=("scores", "scratch"),
        hyper={"margin": MARGIN},
    ),
    # One class against the rest, and regression: a target, a number, for every score.
    "one_vs_rest_svm_epilogue": by_element("[0, 1]", margin=MARGIN),
    "squared_one_vs_rest_svm_epilogue": by_element("[0, 1]", margin=MARGIN),
    "logistic_epilogue": by_element("[0, 1]"),
    "sigmoid_squared_epilogue": by_element("[-inf, inf]"),
    "squared_error_epilogue": by_element("[-inf, inf]"),
    "absolute_error_epilogue": by_element("[-inf, inf]"),
    # An optimizer is an update, in place over flat arrays of one size: w, g, its state, t if it counts steps (from 1),
    # lr, and the other hyper-parameters. The documentation is that of the class or function made from the row.
    "sgd_update": Op(
        "update",
        ("w", "g", "lr", "weight_decay"),
        writes=("w",),
        hyper={"lr": LR, "weight_decay": WEIGHT_DECAY},
        doc="""Gradient descent (lecture 3, "SGD").

        g <- dW + weight_decay W;  W <- W - lr g
        """,
    ),
    "momentum_update": Op(
        "update",
        ("w", "g", "v", "lr", "momentum", "weight_decay"),
        writes=("w", "v"),
        state=("v",),
        hyper={"lr": LR, "momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY},
        doc="""Momentum, as in torch (Polyak 1964; lecture 3, "SGD + Momentum", rho = 0.9 or 0.99).

        g <- dW + weight_decay W;  v <- momentum v + g;  W <- W - lr v
        """,
    ),
    "velocity_update": Op(
        "update",
        ("w", "g", "v", "lr", "momentum", "weight_decay"),
        writes=("w", "v"),
        state=("v",),
        hyper={"lr": LR, "momentum": replace(MOMENTUM, default=0.9), "weight_decay": WEIGHT_DECAY},
        public="Momentum",
        doc="""Momentum with the rate inside the velocity (lecture 3, "alternative equivalent formulation"; Keras).

        g <- dW + weight_decay W;  v <- momentum v - lr g;  W <- W + v

        While lr is constant W is that of `SGD(lr, momentum)`, and v is -lr times its v. When lr changes, steps
        already in v keep the rate that they were taken with.
        """,
    ),
    "nesterov_update": Op(
        "update",
        ("w", "g", "v", "lr", "momentum", "weight_decay"),
        writes=("w", "v"),
        state=("v",),
        hyper={"lr": LR, "momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY},
        doc="""Nesterov's momentum, as in torch (Sutskever et al. 2013; lecture 3, "Nesterov Momentum").

        g <- dW + weight_decay W;  v <- momentum v + g;  W <- W - lr (g + momentum v)

        W is the lecture's x~ = x + rho v, at which the gradient is taken: for a constant lr its
        x~ <- x~ + v' + rho (v' - v), v' = rho v - lr g, gives the same W.
        """,
    ),
    "adagrad_update": Op(
        "update",
        ("w", "g", "s", "lr", "eps", "weight_decay"),
        writes=("w", "s"),
        state=("s",),
        hyper={"lr": replace(LR, default=1e-2), "eps": replace(EPS, default=1e-10), "weight_decay": WEIGHT_DECAY},
        public="AdaGrad",
        doc="""AdaGrad (Duchi et al. 2011; lecture 3, "AdaGrad", where eps is 1e-7).

        g <- dW + weight_decay W;  s <- s + g^2;  W <- W - lr g / (sqrt(s) + eps)
        """,
    ),
    "rmsprop_update": Op(
        "update",
        ("w", "g", "s", "lr", "alpha", "eps", "weight_decay"),
        writes=("w", "s"),
        state=("s",),
        hyper={
            "lr": replace(LR, default=1e-2),
            "alpha": Hyper(0.99, "[0, 1)", 0.8),
            "eps": EPS,
            "weight_decay": WEIGHT_DECAY,
        },
        public="RMSProp",
        doc="""RMSProp (Tieleman & Hinton 2012; lecture 3, "Leaky AdaGrad", decay_rate = alpha, eps = 1e-7).

        g <- dW + weight_decay W;  s <- alpha s + (1 - alpha) g^2;  W <- W - lr g / (sqrt(s) + eps)

        torch's RMSprop, neither centered nor with momentum.
        """,
    ),
    "adadelta_update": Op(
        "update",
        ("w", "g", "s", "u", "lr", "rho", "eps", "weight_decay"),
        writes=("w", "s", "u"),
        state=("s", "u"),
        hyper={
            "lr": replace(LR, default=1.0),
            "rho": Hyper(0.9, "[0, 1)", 0.8),
            "eps": replace(EPS, default=1e-6),
            "weight_decay": WEIGHT_DECAY,
        },
        public="AdaDelta",
        doc="""AdaDelta (Zeiler 2012): a step of the size of recent steps.

        g <- dW + weight_decay W;  s <- rho s + (1 - rho) g^2;  d <- g sqrt(u + eps) / sqrt(s + eps)
        u <- rho u + (1 - rho) d^2;  W <- W - lr d
        """,
    ),
    "adam_update": Op(
        "update",
        ("w", "g", "m", "v", "t", *ADAM),
        writes=("w", "m", "v"),
        state=("m", "v"),
        hyper=ADAM,
        public="Adam",
        doc="""Adam with bias correction (Kingma & Ba 2015, algorithm 1; lecture 3, "Adam (full form)", eps = 1e-7).

        g <- dW + weight_decay W;  m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2
        W <- W - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

        t is the number of the step, from 1. eps stands outside the root, as in the paper and in torch. The lecture:
        "beta1 = 0.9, beta2 = 0.999, and learning_rate = 1e-3 or 5e-4 is a great starting point".
        """,
    ),
    "adam_almost_update": Op(
        "update",
        ("w", "g", "m", "v", *ADAM),
        writes=("w", "m", "v"),
        state=("m", "v"),
        hyper=ADAM,
        public="AdamAlmost",
        doc="""Adam without bias correction, to see what the correction is for (lecture 3, "Adam (almost)", eps = 1e-7).

        g <- dW + weight_decay W;  m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2
        W <- W - lr m / (sqrt(v) + eps)

        The lecture asks what happens at the first step: m and v start at zero, v is the slower to leave it, and
        the step is (1 - beta1) / sqrt(1 - beta2) = 3 times as long as Adam's.
        """,
    ),
    "adamw_update": Op(
        "update",
        ("w", "g", "m", "v", "t", *ADAM),
        writes=("w", "m", "v"),
        state=("m", "v"),
        hyper=ADAM | {"weight_decay": replace(WEIGHT_DECAY, default=1e-2)},
        public="AdamW",
        doc="""Adam with decoupled weight decay (Loshchilov & Hutter 2019): it bypasses m and v.

        m <- beta1 m + (1 - beta1) dW;  v <- beta2 v + (1 - beta2) dW^2
        W <- W - lr weight_decay W - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
        """,
    ),
    "amsgrad_update": Op(
        "update",
        ("w", "g", "m", "v", "v_max", "t", *ADAM),
        writes=("w", "m", "v", "v_max"),
        state=("m", "v", "v_max"),
        hyper=ADAM,
        public="AMSGrad",
        doc="""AMSGrad: Adam whose steps never lengthen because v shrinks (Reddi et al. 2018).

        g <- dW + weight_decay W;  m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2
        v_max <- max(v_max, v);  W <- W - lr (m / (1 - beta1^t)) / (sqrt(v_max / (1 - beta2^t)) + eps)

        The maximum is taken before the bias correction, as in torch's Adam(amsgrad=True).
        """,
    ),
    "nadam_update": Op(
        "update",
        ("w", "g", "m", "v", "t", *ADAM, "momentum_decay"),
        writes=("w", "m", "v"),
        state=("m", "v"),
        hyper=ADAM | {"lr": replace(LR, default=2e-3), "momentum_decay": Hyper(4e-3, "[0, inf)", 0.5)},
        public="NAdam",
        doc="""NAdam: Adam with Nesterov's momentum (Dozat 2016), as in torch.

        g <- dW + weight_decay W;  m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2
        mu(t) = beta1 (1 - 0.96^(t momentum_decay) / 2);  P(t) = mu(1) mu(2) ... mu(t)
        n = (1 - mu(t)) / (1 - P(t)) g + mu(t + 1) / (1 - P(t + 1)) m
        W <- W - lr n / (sqrt(v / (1 - beta2^t)) + eps)

        P is computed from t in every step, so that it is no state: a few dozen factors, since it soon vanishes.
        """,
    ),
    "lion_update": Op(
        "update",
        ("w", "g", "m", "lr", "beta1", "beta2", "weight_decay"),
        writes=("w", "m"),
        state=("m",),
        hyper={
            "lr": replace(LR, default=1e-4),
            "beta1": Hyper(0.9, "[0, 1)", 0.7),
            "beta2": Hyper(0.99, "[0, 1)", 0.8),
            "weight_decay": WEIGHT_DECAY,
        },
        public="Lion",
        doc="""Lion: the sign of a momentum (Chen et al. 2023). Its lr is 3 to 10 times smaller than AdamW's.

        W <- W - lr weight_decay W - lr sign(beta1 m + (1 - beta1) dW);  m <- beta2 m + (1 - beta2) dW
        """,
    ),
    # What may stand before and after an update: [clip g] -> update -> [prox of w]. A driver runs all three over
    # stretches of the arrays that stay in L1. `out` = scale g, no entry larger than `limit`; w is moved towards 0 by
    # `shrink`, not past it, and multiplied by `factor`. scale 1, limit inf, shrink 0, factor 1 change nothing.
    "clip_stage": Op("stage", ("g", "out", "scale", "limit"), writes=("out",)),
    "prox_stage": Op("stage", ("w", "shrink", "factor"), writes=("w",)),
    # The sum of squares in float64, returned: what clipping by a norm needs to know first.
    "sum_squares": Op("reduction", ("g",), writes=()),
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
def loss_kernel(loss: str, storage: str, backend: str) -> Callable[..., None]:
    """Scores of a row block -> epilogue of the loss -> gradient of the row block, over all rows, as one kernel.

    kernel(X, W, y, sample_weight, hyper, scale, by_class, rows, scores, parts, losses, dW, lap, laps,
    threads) takes W and dW as the caller has them, (d, c) or (d + 1, c) with b as the last row, and writes
    `scale` times the gradient. The others are room to work in (fastlin/_plan.py): `parts` (parts, c, d + 1) and
    `losses` (parts,) get the gradient and the weighted sum of losses of each part of the rows. The rows can be gone
    through in several laps, each taking a share of every part; dW is complete after the last. Up to `threads`
    threads, the kernel's own, work on it.
    """
    ops = module(backend)
    parts = (f"{storage}_load", "dense_scores", f"{loss}_epilogue", "dense_gradient")
    return ops.compose(*(getattr(ops, part) for part in parts))  # type: ignore[no-any-return]


@cache
def columns_kernel(loss: str, backend: str) -> Callable[..., None]:
    """The epilogue of a loss over many columns of scores, by threads, as one kernel.

    kernel(scores, y, sample_weight, hyper, scratch, losses, threads) cuts the columns into as many shares as `losses`
    (shares,) has entries, which get the weighted sums of losses, and each share into blocks of the size of
    `scratch` (shares, 3, block).
    """
    ops = module(backend)
    return ops.compose_columns(getattr(ops, f"{loss}_epilogue"))  # type: ignore[no-any-return]


@cache
def losses_kernel(loss: str, backend: str) -> Callable[..., None]:
    """Scores of a block of rows for several W -> epilogue of each; next block, as one kernel: losses without gradients.

    kernel(blocks, W, y, sample_weight, hyper, scores, sums, losses) writes the weighted sum of losses of each of the k
    W, which stand one below the other, class-major, as (k c, d + 1). `blocks` (count, d, rows) has a feature's numbers
    of some rows of X side by side; `scores` (k c + 3, rows) and `sums` (k c,) are room to work in.
    """
    ops = module(backend)
    return ops.compose_losses(ops.dense_gradient, getattr(ops, f"{loss}_epilogue"))  # type: ignore[no-any-return]


@cache
def epoch_kernel(loss: str, storage: str, rule: str, backend: str) -> Callable[..., None]:
    """Gather the rows of a batch -> loss and gradient -> penalty, clipping, update, prox; next batch, as one kernel.

    kernel(X, y, sample_weight, order, features, hyper, bias, batch, first, last, t, rates, others, penalty, clip,
    shrinkage, W, state, rows, partial, scores, dW, losses, penalties, squares, threads) goes through the blocks
    `first` ... `last` - 1 of an epoch over the rows `order` of X: fastlin/_epoch.py says what everything is. Compiled
    backends have one.
    """
    ops = module(backend)
    parts = (f"{storage}_gather_scores", f"{loss}_epilogue", "dense_gradient", rule)
    return ops.compose_epoch(*(getattr(ops, part) for part in parts))  # type: ignore[no-any-return]


@cache
def step_kernel(rule: str, backend: str) -> Callable[..., None]:
    """Clip g -> update -> prox of w, as one kernel.

    kernel(w, g, state, scalars, stages, ranges, threads): `state` and `scalars` are the update's, `stages` what
    fastlin/_step.py says; up to `threads` threads, the kernel's own, share out that many ranges of the arrays.
    """
    ops = module(backend)
    return ops.compose_step(ops.clip_stage, getattr(ops, rule), ops.prox_stage)  # type: ignore[no-any-return]


@cache
def squares_kernel(backend: str) -> Callable[..., None]:
    """kernel(g, sums, threads): the sum of squares of each of as many ranges of g as there are `sums`."""
    ops = module(backend)
    return ops.compose_squares(ops.sum_squares)  # type: ignore[no-any-return]


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
