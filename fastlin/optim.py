"""Optimizers: fused in-place steps. One class per row of the table (`fastlin.ops.OPS`), made from it.

Every optimizer takes, besides its hyper-parameters:

lr : a number, or a schedule: any callable from the step's number, from 0, to a number (see `fastlin.schedules`).
clip_value : no entry of the gradient is larger in size; None for no limit.
clip_norm : the norm of all gradients of a step together is no larger (as torch's clip_grad_norm_); then clip_value.
prox : a penalty, `fl.L1(...)`, `fl.ElasticNet(...)` or `fl.L2(...)`. After the update W takes its proximal step with
    the rate in force, so that L1 gives exact zeros. Every entry is penalised: keep b in an array of its own, with an
    optimizer without prox.

Clipping, update and prox are one pass over memory; the caller's gradient is never written.

>>> import numpy as np
>>> W, dW = np.ones((2, 3)), np.full((2, 3), 0.5)
>>> SGD(lr=0.1).step(W, dW)
>>> W[0, 0]
np.float64(0.95)
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np

from fastlin import _check, _plan, _pool, _step, ops
from fastlin._check import Array
from fastlin.kernels.records import NO_STAGES, Stages
from fastlin.ops import LR, OPS, Op
from fastlin.penalties import Proximal
from fastlin.schedules import Lr


@dataclass
class _Slot:
    """What an optimizer keeps for one W."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: str  # "F" for a W that is only Fortran-contiguous; the state lies as W does
    state: tuple[Array, ...]  # flat

    @classmethod
    def empty(cls, W: Array, count: int) -> _Slot:
        rows = _plan.padded((count, W.size), W.dtype)  # aligned, and apart in the cache
        rows[...] = 0
        return cls(W.shape, W.dtype, _order(W), tuple(rows))

    def flat(self, A: Array) -> Array:
        """A as a flat array in this order, a view if it lies so."""
        found = A.ravel(self.order)  # type: ignore[arg-type]
        return found if found.flags.aligned else found.copy()

    def put(self, flat: Array, W: Array) -> None:
        """The opposite of `flat`."""
        target = W if self.order == "C" else W.T
        target[...] = flat.reshape(target.shape)

    def shaped(self) -> list[Array]:
        """Copies of the state in W's shape."""
        return [np.array(flat.reshape(self.shape, order=self.order), order="C") for flat in self.state]  # type: ignore[call-overload]


class Course(NamedTuple):
    """Some steps of one W, as an epoch kernel needs to know them."""

    rule: str
    t: int  # the number of the first, from 1
    rates: Array  # the learning rate of each
    others: tuple[float, ...]  # hyper-parameters
    limits: tuple[float, float]  # clip_value, clip_norm
    shrinkage: Array  # (shrink, factor) of each step's prox; none without prox
    state: tuple[Array, ...]  # views in W's shape: to be overwritten


class Optimizer:
    """An update rule with its hyper-parameters and state. `step(W, dW)` changes W in place."""

    def _start(self, rule: str, values: Mapping[str, Any], **shown: Any) -> None:
        """Everything an optimizer is: `values` for the row's hyper-parameters and the words that all rules share."""
        others = {name: spec for name, spec in OPS[rule].hyper.items() if name != "lr"}
        self._rule = rule
        self._counts = "t" in OPS[rule].args
        self.lr = values["lr"]
        self.hyper = dict(zip(others, _check.hyper(others, values), strict=True))
        limits = {name: values.get(name) for name in ("clip_value", "clip_norm")}
        self._limits = {n: _check.number(n, v, "(0, inf)") for n, v in limits.items() if v is not None}
        self._prox: Proximal | None = values.get("prox")
        if self._prox is not None and not isinstance(self._prox, Proximal):
            raise TypeError(f"prox must be a penalty such as fl.L1(0.1); found {self._prox!r}")
        self._staged = bool(self._limits) or self._prox is not None
        self._shown = shown | self._limits | ({} if self._prox is None else {"prox": self._prox})
        self.t = 0
        self._slots: list[_Slot] = []

    @property
    def lr(self) -> Lr:
        """The learning rate: a number, or a schedule. It can be set."""
        return self._lr

    @lr.setter
    def lr(self, value: Lr) -> None:
        self._lr: Lr = _check.learning_rate(value)

    @property
    def lr_now(self) -> float:
        """The rate that the next step will take."""
        return self._rate(self.t)

    def _rate(self, t: int) -> float:
        """The rate of the step after t steps."""
        return _check.number(f"lr({t})", self._lr(t), LR.interval) if callable(self._lr) else self._lr

    def report(self, metric: float) -> None:
        """Tell the schedule what was reached, smaller being better; `schedules.plateau` asks for it, others do not."""
        report = getattr(self._lr, "report", None)
        if report is not None:
            report(metric)

    def step(
        self,
        W: Array | Sequence[Array],
        dW: Array | Sequence[Array],
        *,
        bias: bool = False,
        backend: str | None = None,
        threads: int | None = None,
    ) -> None:
        """One step: W is overwritten, dW only read.

        W, dW : arrays of one shape and dtype, float32 or float64, or lists of them, W[i] like dW[i]; any memory
        order. Contiguous W is updated where it lies, other strides through a copy. The state belongs to the first
        W's: number, shapes and dtypes must stay.
        bias : the last row of each W is b, which `prox` leaves alone.
        threads : as in `softmax_loss`; large arrays are shared out. The same bits for any number.

        Raises ValueError or TypeError for bad input; nothing has been written then.
        """
        backend = ops.resolve(backend)
        threads = _pool.thread_limit(threads)
        ready = self._ready(W, dW)
        rate = self._rate(self.t) if callable(self._lr) else self._lr
        stages = self._stages(rate, [g for _, _, g, _ in ready], backend, threads) if self._staged else NO_STAGES
        later = stages if bias and self._prox is not None else None
        if later is not None:
            stages = stages._replace(shrink=0.0, factor=1.0)
        self.t += 1
        scalars = (self.t, rate, *self.hyper.values()) if self._counts else (rate, *self.hyper.values())
        for slot, w, g, given in ready:
            _step.update(self._rule, w, g, slot.state, scalars, stages, backend, threads)
            if given is not None:
                slot.put(w, given)
        if later is not None:
            for A in cast("Sequence[Array]", W if isinstance(W, (list, tuple)) else [W]):
                V = A[:-1]
                V[...] = V.dtype.type(later.factor) * (V - V.clip(-later.shrink, later.shrink))

    def _ready(self, W: Any, dW: Any) -> list[tuple[_Slot, Array, Array, Array | None]]:
        """For each W its slot, flat w and g, and W again if w is a copy."""
        slots = self._slots
        if len(slots) == 1 and _check.same_layout(W, dW, slots[0].shape, slots[0].dtype, slots[0].order):
            return [(slots[0], W.ravel("K"), dW.ravel("K"), None)]
        if type(W) is type(dW) is list and len(W) == len(dW) == len(slots):
            owners = {id(A) for A in (*W, *dW) if type(A) is np.ndarray and A.base is None}  # each has its own memory
            ours = list(zip(slots, W, dW, strict=True))
            if len(owners) == 2 * len(W) and all(
                _check.same_layout(A, B, s.shape, s.dtype, s.order) for s, A, B in ours
            ):
                return [(slot, A.ravel("K"), B.ravel("K"), None) for slot, A, B in ours]
        pairs = self._match(_check.step_pairs(W, dW))
        flat = [(slot, slot.flat(A), slot.flat(B), A) for slot, (A, B) in zip(self._slots, pairs, strict=True)]
        return [(slot, w, g, None if np.may_share_memory(w, A) else A) for slot, w, g, A in flat]

    def course(self, W: Array, count: int) -> Course:
        """What the next `count` steps of W will do: for who takes them in one kernel call, and says so to `advance`."""
        self._match(_check.step_pairs(W, np.empty_like(W)))
        rates = [self._rate(self.t + i) for i in range(count)]
        limits = self._limits.get("clip_value", np.inf), self._limits.get("clip_norm", np.inf)
        prox = [] if self._prox is None else [self._prox.shrinkage(rate) for rate in rates]
        slot = self._slots[0]
        state = tuple(flat.reshape(W.shape, order=slot.order) for flat in slot.state)  # type: ignore[call-overload]
        shrinkage = np.array(prox, np.float64).reshape(-1, 2)
        return Course(self._rule, self.t + 1, np.array(rates), tuple(self.hyper.values()), limits, shrinkage, state)

    def advance(self, count: int) -> None:
        """So many steps of a course have been taken."""
        self.t += count

    def _stages(self, rate: float, gradients: list[Array], backend: str, threads: int) -> Stages:
        """What is done to the gradients before this step, and to W after it."""
        scale = 1.0
        if "clip_norm" in self._limits:
            ratio = self._limits["clip_norm"] / (_step.norm(gradients, backend, threads) + 1e-6)
            scale = 1.0 if ratio >= 1.0 else ratio  # a NaN stays
        shrinkage = (0.0, 1.0) if self._prox is None else self._prox.shrinkage(rate)
        return Stages(scale, self._limits.get("clip_value", np.inf), *shrinkage)

    def _match(self, pairs: list[tuple[Array, Array]]) -> list[tuple[Array, Array]]:
        """The pairs, once it is sure that the state is theirs; new state if there is none."""
        if not self._slots:
            self._slots = [_Slot.empty(W, len(OPS[self._rule].state)) for W, _ in pairs]
        expected = [(slot.shape, slot.dtype) for slot in self._slots]
        if expected != [(W.shape, W.dtype) for W, _ in pairs]:
            raise ValueError(
                f"this {type(self).__name__} holds the state of {_describe(expected)}; "
                f"found {_describe([(W.shape, W.dtype) for W, _ in pairs])}. Use one optimizer for each W or list of W"
            )
        for i, (slot, (W, _)) in enumerate(zip(self._slots, pairs, strict=True)):
            if slot.order != _order(W):
                fresh = _Slot.empty(W, len(slot.state))
                for flat, A in zip(fresh.state, slot.shaped(), strict=True):
                    flat[...] = fresh.flat(A)
                self._slots[i] = fresh
        return pairs

    def state_dict(self) -> dict[str, Any]:
        """What a later run needs to go on with the same bits, given an optimizer made with the same words.

        A flat dict of strings, numbers and arrays: "class", "rule", "t" (steps taken), "m.0" for the state m of the
        first W, in W's shape, and "schedule.*" if the schedule has state. `np.savez(path, **state)` keeps it.
        """
        found: dict[str, Any] = {"class": type(self).__name__, "rule": self._rule, "t": self.t}
        for i, slot in enumerate(self._slots):
            found |= {f"{name}.{i}": A for name, A in zip(OPS[self._rule].state, slot.shaped(), strict=True)}
        return found | {f"schedule.{key}": value for key, value in _schedule_state(self._lr).items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned, read from anywhere; the arrays are copied.

        Raises ValueError if it is another class's or rule's, or lacks something, or does not fit the W that this
        optimizer has stepped already; nothing has been changed then.
        """
        name = type(self).__name__
        for key, expected in (("class", name), ("rule", self._rule)):
            found = str(_check.state_entry(name, state, key))
            if found != expected:
                raise ValueError(f"the state's {key} is {found!r}; this {name} needs {expected!r}")
        t = _check.count("t", np.asarray(_check.state_entry(name, state, "t")).item(), 0)
        schedule = {key: _check.state_entry(name, state, f"schedule.{key}") for key in _schedule_state(self._lr)}
        slots = _read_slots(name, OPS[self._rule].state, state, at_least=int(t > 0))
        if self._slots and slots:
            ours, theirs = ([(slot.shape, slot.dtype) for slot in some] for some in (self._slots, slots))
            if ours != theirs:
                raise ValueError(f"this {name} steps {_describe(ours)}; the state is that of {_describe(theirs)}")
        if schedule:
            self._lr.load_state_dict(schedule)  # type: ignore[union-attr]
        self.t, self._slots = t, slots or ([] if OPS[self._rule].state else self._slots)

    def __repr__(self) -> str:
        lr = self.lr if callable(self.lr) else f"{self.lr:g}"
        words = {"lr": lr} | {name: f"{value:g}" for name, value in self.hyper.items()} | self._shown
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in words.items())})"


class SGD(Optimizer):
    """Gradient descent, plain, with momentum, or with Nesterov's (lecture 3, "SGD + Momentum").

    g <- dW + weight_decay W
    plain:     W <- W - lr g
    momentum:  v <- momentum v + g;  W <- W - lr v
    nesterov:  v <- momentum v + g;  W <- W - lr (g + momentum v)

    Words and meaning are torch's (dampening 0). v starts at zero. `Momentum` is the lecture's other formulation.
    clip_value, clip_norm, prox : see `fastlin.optim`.
    """

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
        if nesterov and momentum == 0:
            raise ValueError(f"nesterov=True needs a momentum in (0, 1); found {momentum!r}")
        rule = "nesterov_update" if nesterov else "momentum_update" if momentum else "sgd_update"
        values = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        shown = {"nesterov": True} if nesterov else {}
        self._start(rule, values | {"clip_value": clip_value, "clip_norm": clip_norm, "prox": prox}, **shown)


def _order(W: Array) -> str:
    """The order in which W lies in memory, so that flattening it needs no copy."""
    return "F" if W.flags.f_contiguous and not W.flags.c_contiguous else "C"


def _describe(kinds: Sequence[tuple[tuple[int, ...], np.dtype[Any]]]) -> str:
    return "W " + ", ".join(f"{shape} {dtype}" for shape, dtype in kinds)


def _schedule_state(lr: Lr) -> dict[str, Any]:
    state: dict[str, Any] = lr.state_dict() if hasattr(lr, "state_dict") else {}
    return state


def _read_slots(owner: str, names: tuple[str, ...], state: Mapping[str, Any], at_least: int) -> list[_Slot]:
    """The slots that a state_dict describes."""
    slots: list[_Slot] = []
    while names and (len(slots) < at_least or any(f"{name}.{len(slots)}" in state for name in names)):
        keys = [f"{name}.{len(slots)}" for name in names]
        arrays = [_check.real_array(key, np.asarray(_check.state_entry(owner, state, key))) for key in keys]
        for key, A in zip(keys, arrays, strict=True):
            if (A.shape, A.dtype) != (arrays[0].shape, arrays[0].dtype):
                raise ValueError(f"{key} is {A.shape} {A.dtype} but {keys[0]} is {arrays[0].shape} {arrays[0].dtype}")
        slot = _Slot.empty(np.empty(arrays[0].shape, arrays[0].dtype), len(arrays))
        for flat, A in zip(slot.state, arrays, strict=True):
            flat[...] = A.reshape(-1)
        slots.append(slot)
    return slots


def _make(name: str, rule: str, op: Op) -> type[Optimizer]:
    """The optimizer class of a row: its hyper-parameters are the constructor's arguments, in the row's order."""
    parameters = [
        inspect.Parameter(arg, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=spec.default)
        for arg, spec in op.hyper.items()
    ]
    shared = ("clip_value", "clip_norm", "prox")
    parameters += [inspect.Parameter(arg, inspect.Parameter.KEYWORD_ONLY, default=None) for arg in shared]
    signature = inspect.Signature(parameters)

    def init(self: Optimizer, *args: Any, **values: Any) -> None:
        bound = signature.bind(*args, **values)
        bound.apply_defaults()
        self._start(rule, bound.arguments)

    doc = inspect.cleandoc(op.doc) + "\n\nclip_value, clip_norm, prox : see `fastlin.optim`.\n"
    members = {"__doc__": doc, "__init__": init, "__signature__": signature, "__module__": __name__}
    return type(name, (Optimizer,), members)


_MADE = {op.public: _make(op.public, rule, op) for rule, op in OPS.items() if op.public}

__all__ = ["SGD", "Optimizer", *_MADE]


def __getattr__(name: str) -> type[Optimizer]:
    """The classes made from the table: `Adam` and whatever rows are added."""
    if name not in _MADE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _MADE[name]
