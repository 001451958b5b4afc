"""Optimizers: fused in-place steps. One class per row of the table (`fastlin.ops.OPS`), made from it.

>>> import numpy as np
>>> W, dW = np.ones((2, 3)), np.full((2, 3), 0.5)
>>> SGD(lr=0.1).step(W, dW)
>>> W[0, 0]
np.float64(0.95)
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import numpy as np

from fastlin import _check, _run, ops
from fastlin._check import Array
from fastlin.ops import OPS, Op


class Optimizer:
    """An update rule with its hyper-parameters and state. `step(W, dW)` changes W in place."""

    rule: ClassVar[str]

    def __init__(self, **values: Any) -> None:
        self._start(self.rule, values)

    def _start(self, rule: str, values: dict[str, Any]) -> None:
        self._rule = rule
        self._op = OPS[rule]
        self.hyper = _check.hyper(self._op.hyper, values)
        self.t = 0
        self._state: tuple[Array, ...] = ()
        self._like: tuple[tuple[int, ...], np.dtype[Any], str] | None = None

    @np.errstate(all="ignore")
    def step(self, W: Array, dW: Array, *, backend: str | None = None) -> None:
        """One step: W is overwritten, dW only read.

        W, dW : arrays of one shape and dtype, float32 or float64, any memory order; contiguous W is updated
        where it lies, other strides through a copy. The state belongs to one W: its shape and dtype must stay.

        Raises ValueError or TypeError for bad input; nothing has been written then.
        """
        backend = ops.resolve(backend)
        _check_step(W, dW)
        shape, dtype, order = self._like = self._like or (W.shape, W.dtype, _order(W))
        if (shape, dtype) != (W.shape, W.dtype):
            raise ValueError(
                f"this {type(self).__name__} holds the state of a W of shape {shape} and dtype {dtype}; "
                f"found {W.shape} and {W.dtype}. Use one optimizer for each W"
            )
        if not self._state:
            self._state = tuple(np.zeros(W.size, dtype) for _ in self._op.state)
        w = W.reshape(-1, order=order)  # type: ignore[call-overload]
        g = dW.reshape(-1, order=order)  # type: ignore[call-overload]
        self.t += 1
        values = {"t": self.t, **self.hyper}
        scalars = tuple(values[name] for name in self._op.args if name in values)
        _run.update(self._rule, (w, g, *self._state), scalars, backend)
        if not np.may_share_memory(w, W):
            W[...] = w.reshape(shape, order=order)

    @property
    def lr_now(self) -> float:
        """The rate of the next step."""
        return self.hyper["lr"]

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on: numbers, strings and arrays of our own."""
        state: dict[str, Any] = {"rule": self._rule, "t": self.t, **self.hyper}
        if self._like is not None:
            state |= {"rows": self._like[0][0], "columns": self._like[0][1], "order": self._like[2]}
        return state | {name: A.copy() for name, A in zip(self._op.state, self._state, strict=False)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where the optimizer of a `state_dict` was."""
        for name, value in {"rule": self._rule, **self.hyper}.items():
            if state.get(name) != value:
                raise ValueError(f"the state is of {name}={state.get(name)!r}; this optimizer has {name}={value!r}")
        self.t = int(state["t"])
        arrays = [np.array(state[name]) for name in self._op.state if name in state]
        self._state = tuple(arrays)
        if "order" in state and arrays:
            self._like = ((int(state["rows"]), int(state["columns"])), arrays[0].dtype, str(state["order"]))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value:g}' for name, value in self.hyper.items())})"


class SGD(Optimizer):
    """Gradient descent, plain, with momentum, or with Nesterov's (lecture 3, "SGD + Momentum").

    g <- dW + weight_decay W
    plain:     W <- W - lr g
    momentum:  v <- momentum v + g;  W <- W - lr v
    nesterov:  v <- momentum v + g;  W <- W - lr (g + momentum v)

    Words and meaning are torch's (dampening 0). v starts at zero.
    """

    def __init__(self, lr: float, momentum: float = 0.0, nesterov: bool = False, weight_decay: float = 0.0) -> None:
        if nesterov and momentum == 0:
            raise ValueError(f"nesterov=True needs a momentum in (0, 1); found {momentum!r}")
        rule = "nesterov_update" if nesterov else "momentum_update" if momentum else "sgd_update"
        self._start(rule, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})


def _check_step(W: Any, dW: Any) -> None:
    for name, A in (("W", W), ("dW", dW)):
        if not isinstance(A, np.ndarray):
            raise TypeError(f"{name} must be an array; found {type(A).__name__}")
        if A.dtype not in (np.float32, np.float64):
            raise TypeError(f"{name} has dtype {A.dtype}; expected float32 or float64")
    if (W.shape, W.dtype) != (dW.shape, dW.dtype):
        raise ValueError(f"W and dW must be alike; found W {W.shape} {W.dtype} and dW {dW.shape} {dW.dtype}")
    _check.writeable("W", W)
    _check.apart("W", W, dW=dW)


def _order(W: Array) -> str:
    """The order in which W lies in memory, so that flattening it needs no copy."""
    return "F" if W.flags.f_contiguous and not W.flags.c_contiguous else "C"


def _make(name: str, rule: str, op: Op) -> type[Optimizer]:
    """The optimizer class of a row: its hyper-parameters are the constructor's arguments, in the row's order."""
    parameters = [
        inspect.Parameter(arg, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=spec.default)
        for arg, spec in op.hyper.items()
    ]
    signature = inspect.Signature(parameters)

    def init(self: Optimizer, *args: Any, **values: Any) -> None:
        bound = signature.bind(*args, **values)
        bound.apply_defaults()
        self._start(rule, bound.arguments)

    members = {"__doc__": op.doc, "__init__": init, "__signature__": signature, "__module__": __name__}
    return type(name, (Optimizer,), members)


_MADE = {op.public: _make(op.public, rule, op) for rule, op in OPS.items() if op.public}

__all__ = ["SGD", "Optimizer", *_MADE]


def __getattr__(name: str) -> type[Optimizer]:
    """The classes made from the table: `Adam` and whatever rows are added."""
    if name not in _MADE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _MADE[name]
