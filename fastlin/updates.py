"""The optimizer steps as functions, for those who keep the state themselves.

One step overwrites w and the state, and only reads g. w, g and the state are arrays of one shape and dtype, float32 or
float64, contiguous in one order, and share no memory. The state is zero before the first step; t is the number of the
step, from 1. lr has no default, the other hyper-parameters have those of the class in `fastlin.optim`, where the
sources of the formulas are. backend, threads : as in `softmax_loss`.
In the formulas `<-` overwrites an argument and `=` names an intermediate result.

All raise ValueError or TypeError for bad input; nothing has been written then.

>>> import numpy as np, fastlin as fl
>>> w, g, m, v = np.ones(3), np.full(3, 0.5), np.zeros(3), np.zeros(3)
>>> fl.adam_update(w, g, m, v, 1, lr=0.1)
>>> w[0].round(6)
np.float64(0.9)
"""

from __future__ import annotations

from fastlin import _check, _pool, _step, ops
from fastlin._check import Array, steps
from fastlin._laps import CtrlCLater
from fastlin.kernels.records import NO_STAGES
from fastlin.ops import OPS

__all__ = [
    "adadelta_update",
    "adagrad_update",
    "adam_almost_update",
    "adam_update",
    "adamax_update",
    "adamw_update",
    "amsgrad_update",
    "lion_update",
    "momentum_update",
    "nadam_update",
    "nesterov_update",
    "radam_update",
    "rmsprop_update",
    "sgd_update",
    "velocity_update",
]


def sgd_update(
    w: Array,
    g: Array,
    *,
    lr: float,
    weight_decay: float = 0.0,
    backend: str | None = None,
    threads: int | None = None,
) -> None:
    """Gradient descent (lecture 3, "SGD").

    h = g + weight_decay w;  w <- w - lr h

    w is overwritten; see `fastlin.updates`.
    """
    _apply("sgd_update", (w, g), (lr, weight_decay), backend, threads)


def momentum_update(
    w: Array,
    g: Array,
    v: Array,
    *,
    lr: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    backend: str | None = None,
    threads: int | None = None,
) -> None:
    """Momentum, as in torch (Polyak 1964; lecture 3, "SGD + Momentum", rho = 0.9 or 0.99).

    h = g + weight_decay w;  v <- momentum v + h;  w <- w - lr v

    w and v are overwritten; see `fastlin.updates`.
    """
    _apply("momentum_update", (w, g, v), (lr, momentum, weight_decay), backend, threads)


def velocity_update(
    w: Array,
    g: Array,
    v: Array,
    *,
    lr: float,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    backend: str | None = None,
    threads: int | None = None,
) -> None:
    """Momentum with the rate inside the velocity (lecture 3, "alternative equivalent formulation"; Keras).

    h = g + weight_decay w;  v <- momentum v - lr h;  w <- w + v

    w and v are overwritten; see `fastlin.updates`.
    """
    _apply("velocity_update", (w, g, v), (lr, momentum, weight_decay), backend, threads)


def nesterov_update(
    w: Array,
    g: Array,
    v: Array,
    *,
    lr: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    backend: str | None = None,
    threads: int | None = None,
) -> None:
    """Nesterov's momentum, as in torch (Sutskever et al. 2013; lecture 3, "Nesterov Momentum").

    h = g + weight_decay w;  v <- momentum v + h;  w <- w - lr (h + momentum v)

    w and v are overwritten; see `fastlin.updates`.
    """
    _apply("nesterov_update", (w, g, v), (lr, momentum, weight_decay), backend, threads)


def adagrad_update(
    w: Array,
    g: Array,
    s: Array,
    *,
    lr: float,
    eps: float = 1e-10,
    weight_decay: float = 0.0,
    backend: str | None = None,
    threads: int | None = None,
) -> None:
    """AdaGrad (Duchi et al. 2011; lecture 3, "AdaGrad", where eps is 1e-7).

    h = g + weight_decay w;  s <- s + h^2;  w <- w - lr h / (sqrt(s) + eps)

    w and s are overwritten; see `fastlin.updates`.
    """
    _apply("adagrad_update", (w, g, s), (lr, eps, weight_decay), backend, threads)


def rmsprop_update(
    w: Array,
    g: Array,
    s: Array,
    *,
    lr: float,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    backend: str | None = None,
    threads: int | None = None,
) -> None:
    """RMSProp (Tieleman & Hinton 2012; lecture 3, "Leaky AdaGrad", decay_rate = alpha, eps = 1e-7).

    h = g + weight_decay w;  s <- alpha s + (1 - alpha) h^2;  w <- w - lr h / (sqrt(s) + eps)

    w and s are overwritten; see `fastlin.updates`.
    """
    _apply("rmsprop_update", (w, g, s), (lr, alpha, eps, weight_decay), backend, threads)


def adadelta_update(
    w: Array,
    g: Array,
    s: Array,
    u: Array,
    *,
    lr: float,
    rho: float = 0.9,
    eps: float = 1e-6,
    weight_decay: float = 0.0,
    backend: str | None = None,
    threads: int | None = None,
) -> None:
    """AdaDelta (Zeiler 2012): a step of the size of recent steps.

    h = g + weight_decay w;  s <- rho s + (1 - rho) h^2;  d = h sqrt(u + eps) / sqrt(s + eps)
    u <- rho u + (1 - rho) d^2;  w <- w - lr d

    w, s and u are overwritten; see `fastlin.updates`.
    """
    _apply("adadelta_update", (w, g, s, u), (lr, rho, eps, weight_decay), backend, threads)


def adam_update(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    t: int,
    *,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    backend: str | None = None,
    threads: int | None = None,
) -> None:
    """Adam with bias correction (Kingma & Ba 2015, algorithm 1; lecture 3, "Adam (full form)", eps = 1e-7).

    h = g + weight_decay w;  m <- beta1 m + (1 - beta1) h;  v <- beta2 v + (1 - beta2) h^2
    w <- w - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    w, m and v are overwritten; see `fastlin.updates`.
    """
    _apply("adam_update", (w, g, m, v), (t, lr, beta1, beta2, eps, weight_decay), backend, threads)


def adam_almost_update(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    *,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    backend: str | None = None,
    threads: int | None = None,
) -> None:
    """Adam without bias correction, to see what the correction is for (lecture 3, "Adam (almost)", eps = 1e-7).

    h = g + weight_decay w;  m <- beta1 m + (1 - beta1) h;  v <- beta2 v + (1 - beta2) h^2
    w <- w - lr m / (sqrt(v) + eps)

    w, m and v are overwritten; see `fastlin.updates`.
    """
    _apply("adam_almost_update", (w, g, m, v), (lr, beta1, beta2, eps, weight_decay), backend, threads)


def adamw_update(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    t: int,
    *,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
    backend: str | None = None,
    threads: int | None = None,
) -> None:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019): it bypasses m and v.

    m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2
    w <- w - lr weight_decay w - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    w, m and v are overwritten; see `fastlin.updates`.
    """
    _apply("adamw_update", (w, g, m, v), (t, lr, beta1, beta2, eps, weight_decay), backend, threads)


def amsgrad_update(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    v_max: Array,
    t: int,
    *,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    backend: str | None = None,
    threads: int | None = None,
) -> None:
    """AMSGrad: Adam whose steps never lengthen because v shrinks (Reddi et al. 2018).

    h = g + weight_decay w;  m <- beta1 m + (1 - beta1) h;  v <- beta2 v + (1 - beta2) h^2
    v_max <- max(v_max, v);  w <- w - lr (m / (1 - beta1^t)) / (sqrt(v_max / (1 - beta2^t)) + eps)

    w, m, v and v_max are overwritten; see `fastlin.updates`.
    """
    _apply("amsgrad_update", (w, g, m, v, v_max), (t, lr, beta1, beta2, eps, weight_decay), backend, threads)


def nadam_update(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    t: int,
    *,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum_decay: float = 4e-3,
    backend: str | None = None,
    threads: int | None = None,
) -> None:
    """NAdam: Adam with Nesterov's momentum (Dozat 2016), as in torch.

    h = g + weight_decay w;  m <- beta1 m + (1 - beta1) h;  v <- beta2 v + (1 - beta2) h^2
    mu(t) = beta1 (1 - 0.96^(t momentum_decay) / 2);  P(t) = mu(1) mu(2) ... mu(t)
    n = (1 - mu(t)) / (1 - P(t)) h + mu(t + 1) / (1 - P(t + 1)) m
    w <- w - lr n / (sqrt(v / (1 - beta2^t)) + eps)

    w, m and v are overwritten; see `fastlin.updates`.
    """
    _apply("nadam_update", (w, g, m, v), (t, lr, beta1, beta2, eps, weight_decay, momentum_decay), backend, threads)


def radam_update(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    t: int,
    *,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    backend: str | None = None,
    threads: int | None = None,
) -> None:
    """RAdam: Adam that does without v while too few steps have told its size (Liu et al. 2020), as in torch.

    h = g + weight_decay w;  m <- beta1 m + (1 - beta1) h;  v <- beta2 v + (1 - beta2) h^2
    rho_inf = 2 / (1 - beta2) - 1;  rho = rho_inf - 2 t beta2^t / (1 - beta2^t)
    rho > 5:  r = sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho))
              w <- w - lr r (m / (1 - beta1^t)) sqrt(1 - beta2^t) / (sqrt(v) + eps)
    else:     w <- w - lr m / (1 - beta1^t)

    w, m and v are overwritten; see `fastlin.updates`.
    """
    _apply("radam_update", (w, g, m, v), (t, lr, beta1, beta2, eps, weight_decay), backend, threads)


def adamax_update(
    w: Array,
    g: Array,
    m: Array,
    u: Array,
    t: int,
    *,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    backend: str | None = None,
    threads: int | None = None,
) -> None:
    """Adamax: Adam with the largest recent gradient in place of a root (Kingma & Ba 2015, algorithm 2), as in torch.

    h = g + weight_decay w;  m <- beta1 m + (1 - beta1) h;  u <- max(beta2 u, |h| + eps)
    w <- w - lr (m / (1 - beta1^t)) / u

    w, m and u are overwritten; see `fastlin.updates`.
    """
    _apply("adamax_update", (w, g, m, u), (t, lr, beta1, beta2, eps, weight_decay), backend, threads)


def lion_update(
    w: Array,
    g: Array,
    m: Array,
    *,
    lr: float,
    beta1: float = 0.9,
    beta2: float = 0.99,
    weight_decay: float = 0.0,
    backend: str | None = None,
    threads: int | None = None,
) -> None:
    """Lion: the sign of a momentum (Chen et al. 2023). Its lr is 3 to 10 times smaller than AdamW's.

    w <- w - lr weight_decay w - lr sign(beta1 m + (1 - beta1) g);  m <- beta2 m + (1 - beta2) g

    w and m are overwritten; see `fastlin.updates`.
    """
    _apply("lion_update", (w, g, m), (lr, beta1, beta2, weight_decay), backend, threads)


def _apply(
    rule: str, arrays: tuple[Array, ...], scalars: tuple[float, ...], backend: str | None, threads: int | None
) -> None:
    """Checks everything, then takes the step. `arrays` and `scalars` are in the order of the row's arguments."""
    op = OPS[rule]
    given = dict(zip(op.args[len(arrays) :], scalars, strict=True))
    values: tuple[float, ...] = _check.hyper(op.hyper, given)
    if "t" in given:
        values = (_check.count("t", given["t"], high=_check.MOST_STEPS), *values)
    threads = _pool.thread_limit(threads)
    w, g, *state = steps.arrays(dict(zip(op.args[: len(arrays)], arrays, strict=True)), op.writes)
    _check.hyper_held(op.hyper, values[-len(op.hyper) :], w.dtype)
    backend = ops.resolve(backend)
    route = _step.route(rule, backend, w.size, w.itemsize, len(state), threads)
    if route.whole:
        route.kernel(w, g, tuple(state), values, NO_STAGES, route.ranges, route.threads)
        return
    with CtrlCLater():
        _step.update(rule, w, g, tuple(state), values, NO_STAGES, backend, threads)
