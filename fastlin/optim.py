"""Optimizers: fused in-place steps, a class for each update rule. `fastlin.updates` has the rules as functions.

Every optimizer takes, besides its hyper-parameters:

lr : a number, or a schedule: any callable from the step's number, from 0, to a number (see `fastlin.schedules`).
clip_value : no entry of the gradient is larger in size; None for no limit.
clip_norm : the norm of all gradients of a step together is no larger (as torch's clip_grad_norm_); then clip_value.
prox : a penalty, `fl.L1(...)`, `fl.ElasticNet(...)` or `fl.L2(...)`. After the update W takes its proximal step with
    the rate in force, so that L1 gives exact zeros. `step(W, dW, bias=True)` leaves the last row of W, b, as it is;
    otherwise every entry is penalised.

lr, weight_decay and momentum_decay are in [0, inf), eps, clip_value and clip_norm in (0, inf), and momentum, alpha,
rho, beta1 and beta2 in [0, 1). For others ValueError or TypeError is raised, which names the argument.

Clipping, update and prox are one pass over memory; clip_norm reads the gradients once more before it. The caller's
gradient is never written.

>>> import numpy as np
>>> W, dW = np.ones((2, 3)), np.full((2, 3), 0.5)
>>> SGD(lr=0.1).step(W, dW)
>>> W[0, 0]
np.float64(0.95)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastlin import _check
from fastlin._optimizer import Optimizer
from fastlin.penalties import Proximal

if TYPE_CHECKING:
    from fastlin.schedules import Lr

__all__ = [
    "SGD",
    "AMSGrad",
    "AdaDelta",
    "AdaGrad",
    "Adam",
    "AdamAlmost",
    "AdamW",
    "Adamax",
    "Lion",
    "Momentum",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSProp",
]


class SGD(Optimizer):
    """Gradient descent, plain, with momentum, or with Nesterov's (lecture 3, "SGD + Momentum").

    g <- dW + weight_decay W
    plain:     W <- W - lr g
    momentum:  v <- momentum v + g;  W <- W - lr v
    nesterov:  v <- momentum v + g;  W <- W - lr (g + momentum v)

    Words and meaning are torch's (dampening 0). v starts at zero. `Momentum` is the lecture's other formulation.
    clip_value, clip_norm, prox : see `fastlin.optim`.
    """

    rule = "sgd_update"  # "momentum_update" or "nesterov_update" with a momentum

    def __init__(
        self,
        lr: Lr,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        *,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        prox: Proximal | None = None,
    ) -> None:
        nesterov, momentum = _check.flag("nesterov", nesterov), _check.number("momentum", momentum, "[0, 1)")
        if nesterov and momentum == 0:
            raise ValueError(f"nesterov=True needs a momentum in (0, 1); found {momentum!r}")
        if nesterov:
            self.rule = "nesterov_update"
        elif momentum:
            self.rule = "momentum_update"
        super().__init__(lr, clip_value, clip_norm, prox, momentum=momentum, weight_decay=weight_decay)
        if nesterov:
            self._shown = {"nesterov": True} | self._shown


class Momentum(Optimizer):
    """Momentum with the rate inside the velocity (lecture 3, "alternative equivalent formulation"; Keras).

    g <- dW + weight_decay W;  v <- momentum v - lr g;  W <- W + v

    While lr is constant W is that of `SGD(lr, momentum)`, and v is -lr times its v. When lr changes, steps
    already in v keep the rate that they were taken with.

    clip_value, clip_norm, prox : see `fastlin.optim`.
    """

    rule = "velocity_update"

    def __init__(
        self,
        lr: Lr = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        *,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        prox: Proximal | None = None,
    ) -> None:
        super().__init__(lr, clip_value, clip_norm, prox, momentum=momentum, weight_decay=weight_decay)


class AdaGrad(Optimizer):
    """AdaGrad (Duchi et al. 2011; lecture 3, "AdaGrad", where eps is 1e-7).

    g <- dW + weight_decay W;  s <- s + g^2;  W <- W - lr g / (sqrt(s) + eps)

    clip_value, clip_norm, prox : see `fastlin.optim`.
    """

    rule = "adagrad_update"

    def __init__(
        self,
        lr: Lr = 1e-2,
        eps: float = 1e-10,
        weight_decay: float = 0.0,
        *,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        prox: Proximal | None = None,
    ) -> None:
        super().__init__(lr, clip_value, clip_norm, prox, eps=eps, weight_decay=weight_decay)


class RMSProp(Optimizer):
    """RMSProp (Tieleman & Hinton 2012; lecture 3, "Leaky AdaGrad", decay_rate = alpha, eps = 1e-7).

    g <- dW + weight_decay W;  s <- alpha s + (1 - alpha) g^2;  W <- W - lr g / (sqrt(s) + eps)

    torch's RMSprop, neither centered nor with momentum.

    clip_value, clip_norm, prox : see `fastlin.optim`.
    """

    rule = "rmsprop_update"

    def __init__(
        self,
        lr: Lr = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        prox: Proximal | None = None,
    ) -> None:
        super().__init__(lr, clip_value, clip_norm, prox, alpha=alpha, eps=eps, weight_decay=weight_decay)


class AdaDelta(Optimizer):
    """AdaDelta (Zeiler 2012): a step of the size of recent steps.

    g <- dW + weight_decay W;  s <- rho s + (1 - rho) g^2;  d <- g sqrt(u + eps) / sqrt(s + eps)
    u <- rho u + (1 - rho) d^2;  W <- W - lr d

    clip_value, clip_norm, prox : see `fastlin.optim`.
    """

    rule = "adadelta_update"

    def __init__(
        self,
        lr: Lr = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        prox: Proximal | None = None,
    ) -> None:
        super().__init__(lr, clip_value, clip_norm, prox, rho=rho, eps=eps, weight_decay=weight_decay)


class Adam(Optimizer):
    """Adam with bias correction (Kingma & Ba 2015, algorithm 1; lecture 3, "Adam (full form)", eps = 1e-7).

    g <- dW + weight_decay W;  m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2
    W <- W - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    t is the number of the step, from 1. eps stands outside the root, as in the paper and in torch. The lecture:
    "beta1 = 0.9, beta2 = 0.999, and learning_rate = 1e-3 or 5e-4 is a great starting point".

    clip_value, clip_norm, prox : see `fastlin.optim`.
    """

    rule = "adam_update"

    def __init__(
        self,
        lr: Lr = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        prox: Proximal | None = None,
    ) -> None:
        super().__init__(lr, clip_value, clip_norm, prox, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay)


class AdamAlmost(Optimizer):
    """Adam without bias correction, to see what the correction is for (lecture 3, "Adam (almost)", eps = 1e-7).

    g <- dW + weight_decay W;  m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2
    W <- W - lr m / (sqrt(v) + eps)

    The lecture asks what happens at the first step: m and v start at zero, v is the slower to leave it, and
    the step is (1 - beta1) / sqrt(1 - beta2) = 3 times as long as Adam's.

    clip_value, clip_norm, prox : see `fastlin.optim`.
    """

    rule = "adam_almost_update"

    def __init__(
        self,
        lr: Lr = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        prox: Proximal | None = None,
    ) -> None:
        super().__init__(lr, clip_value, clip_norm, prox, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay)


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019): it bypasses m and v.

    m <- beta1 m + (1 - beta1) dW;  v <- beta2 v + (1 - beta2) dW^2
    W <- W - lr weight_decay W - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    clip_value, clip_norm, prox : see `fastlin.optim`.
    """

    rule = "adamw_update"

    def __init__(
        self,
        lr: Lr = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        *,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        prox: Proximal | None = None,
    ) -> None:
        super().__init__(lr, clip_value, clip_norm, prox, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay)


class AMSGrad(Optimizer):
    """AMSGrad: Adam whose steps never lengthen because v shrinks (Reddi et al. 2018).

    g <- dW + weight_decay W;  m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2
    v_max <- max(v_max, v);  W <- W - lr (m / (1 - beta1^t)) / (sqrt(v_max / (1 - beta2^t)) + eps)

    The maximum is taken before the bias correction, as in torch's Adam(amsgrad=True).

    clip_value, clip_norm, prox : see `fastlin.optim`.
    """

    rule = "amsgrad_update"

    def __init__(
        self,
        lr: Lr = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        prox: Proximal | None = None,
    ) -> None:
        super().__init__(lr, clip_value, clip_norm, prox, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay)


class NAdam(Optimizer):
    """NAdam: Adam with Nesterov's momentum (Dozat 2016), as in torch.

    g <- dW + weight_decay W;  m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2
    mu(t) = beta1 (1 - 0.96^(t momentum_decay) / 2);  P(t) = mu(1) mu(2) ... mu(t)
    n = (1 - mu(t)) / (1 - P(t)) g + mu(t + 1) / (1 - P(t + 1)) m
    W <- W - lr n / (sqrt(v / (1 - beta2^t)) + eps)

    P is computed from t in every step, so that it is not part of the state.

    clip_value, clip_norm, prox : see `fastlin.optim`.
    """

    rule = "nadam_update"

    def __init__(
        self,
        lr: Lr = 2e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        *,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        prox: Proximal | None = None,
    ) -> None:
        super().__init__(
            lr,
            clip_value,
            clip_norm,
            prox,
            beta1=beta1,
            beta2=beta2,
            eps=eps,
            weight_decay=weight_decay,
            momentum_decay=momentum_decay,
        )


class RAdam(Optimizer):
    """RAdam: Adam that does not use v in the first steps, where it is too uncertain (Liu et al. 2020), as in torch.

    g <- dW + weight_decay W;  m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2
    rho_inf = 2 / (1 - beta2) - 1;  rho = rho_inf - 2 t beta2^t / (1 - beta2^t)
    rho > 5:  r = sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho))
              W <- W - lr r (m / (1 - beta1^t)) sqrt(1 - beta2^t) / (sqrt(v) + eps)
    else:     W <- W - lr m / (1 - beta1^t)

    t is the number of the step, from 1: with beta2 = 0.999 the first five steps do not use v.
    clip_value, clip_norm, prox : see `fastlin.optim`.
    """

    rule = "radam_update"

    def __init__(
        self,
        lr: Lr = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        prox: Proximal | None = None,
    ) -> None:
        hyper = {"beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": weight_decay}
        super().__init__(lr, clip_value, clip_norm, prox, **hyper)


class Adamax(Optimizer):
    """Adamax: Adam with the largest recent gradient in place of a root (Kingma & Ba 2015, algorithm 2), as in torch.

    g <- dW + weight_decay W;  m <- beta1 m + (1 - beta1) g;  u <- max(beta2 u, |g| + eps)
    W <- W - lr (m / (1 - beta1^t)) / u

    t is the number of the step, from 1.
    clip_value, clip_norm, prox : see `fastlin.optim`.
    """

    rule = "adamax_update"

    def __init__(
        self,
        lr: Lr = 2e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        prox: Proximal | None = None,
    ) -> None:
        hyper = {"beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": weight_decay}
        super().__init__(lr, clip_value, clip_norm, prox, **hyper)


class Lion(Optimizer):
    """Lion: the sign of a momentum (Chen et al. 2023). Its lr is 3 to 10 times smaller than AdamW's.

    W <- W - lr weight_decay W - lr sign(beta1 m + (1 - beta1) dW);  m <- beta2 m + (1 - beta2) dW

    clip_value, clip_norm, prox : see `fastlin.optim`.
    """

    rule = "lion_update"

    def __init__(
        self,
        lr: Lr = 1e-4,
        beta1: float = 0.9,
        beta2: float = 0.99,
        weight_decay: float = 0.0,
        *,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        prox: Proximal | None = None,
    ) -> None:
        super().__init__(lr, clip_value, clip_norm, prox, beta1=beta1, beta2=beta2, weight_decay=weight_decay)
