"""The code that all optimizers share: checks, state, clipping, prox, saving. The rules are in fastlin/optim.py.

A step is one pass over memory, clip -> update -> prox, by the kernel that fastlin/_step.py finds. With clip_norm
another pass over the gradients comes before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import starmap
from operator import call as run
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastlin import _check, _plan, _pool, _step, ops
from fastlin._check import Array, states, steps
from fastlin._check.words import explaining
from fastlin._laps import CtrlCLater
from fastlin.kernels.records import NO_STAGES, EpochSteps, Stages, clip_scale
from fastlin.ops import LR, OPS
from fastlin.penalties import Proximal

if TYPE_CHECKING:
    from fastlin.schedules import Lr


class _Slot(NamedTuple):
    """The data that an optimizer keeps for one W."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: str  # "F" for a W that is only Fortran-contiguous; the state has the same order
    state: tuple[Array, ...]  # flat

    @classmethod
    def empty(cls, W: Array, count: int) -> _Slot:
        rows = _plan.padded((count, W.size), W.dtype)  # aligned, and apart in the cache
        rows[...] = 0
        return cls(W.shape, W.dtype, _order(W), tuple(rows))

    def flat(self, A: Array) -> Array:
        """A as a flat array in this order, a view if A is stored in this order."""
        found = A.ravel(self.order)  # type: ignore[arg-type]
        return found if found.flags.aligned else found.copy()

    def put(self, flat: Array, W: Array) -> None:
        """Copies a flat array back into W."""
        target = W if self.order == "C" else W.T
        target[...] = flat.reshape(target.shape)

    def shrink_weights(self, W: Array, shrink: float, factor: float, backend: str) -> None:
        """The proximal step of all rows of W but the last, which is b."""
        weights = W[:-1]
        flat = self.flat(weights)
        ops.kernel("prox_stage", backend, flat.dtype.name)(flat, shrink, factor)
        if not np.may_share_memory(flat, weights):
            self.put(flat, weights)

    def views(self) -> tuple[Array, ...]:
        """The state in W's shape, without copies."""
        return tuple(flat.reshape(self.shape, order=self.order) for flat in self.state)  # type: ignore[call-overload]

    def shaped(self) -> list[Array]:
        """Copies of the state in W's shape."""
        return [np.array(flat.reshape(self.shape, order=self.order), order="C") for flat in self.state]  # type: ignore[call-overload]


class Optimizer:
    """An update rule with its hyper-parameters and state. `step(W, dW)` changes W in place.

    This is the base of the classes of `fastlin.optim`, each of which names a rule; it has no instances of its own.
    """

    rule: str  # the row of the table

    def __init_subclass__(cls) -> None:
        """Other libraries' words are answered with ours."""
        if "__init__" in vars(cls):
            cls.__init__ = explaining(cls.__init__)  # type: ignore[method-assign]

    def __init__(
        self, lr: Lr, clip_value: float | None, clip_norm: float | None, prox: Proximal | None, **hyper: float
    ) -> None:
        """`hyper` are the hyper-parameters of the rule's row other than lr. All arguments are checked here."""
        row = OPS[self.rule]
        others = {name: spec for name, spec in row.hyper.items() if name != "lr"}
        self._counts = "t" in row.args
        self.lr = lr
        self.hyper = dict(zip(others, _check.hyper(others, hyper), strict=True))
        limits = {"clip_value": clip_value, "clip_norm": clip_norm}
        self._limits = {n: _check.number(n, v, "(0, inf)") for n, v in limits.items() if v is not None}
        if prox is not None and not isinstance(_check.instance("prox", prox), Proximal):
            raise TypeError(f"prox must be a penalty such as fl.L1(0.1); found {_check.kind(prox)}")
        self._prox = prox
        self._staged = bool(self._limits) or prox is not None
        self._shown: dict[str, Any] = self._limits | ({} if prox is None else {"prox": prox})
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
        """Give the schedule a metric for which smaller is better. Only `schedules.plateau` uses it."""
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
        order. Contiguous W is updated in place, other strides through a copy. The state belongs to the first
        W's: number, shapes and dtypes must stay.
        bias : the last row of each W is b, which `prox` leaves alone.
        threads : as in `softmax_loss`; threads divide large arrays. The bits are the same for any number.

        Raises ValueError or TypeError for bad input; nothing has been written then. Ctrl-C is answered before or after
        a step: one that has begun ends whole, whatever its size.
        """
        backend = ops.resolve(backend)
        threads = _pool.thread_limit(threads)
        rate = self._rate(self.t) if callable(self._lr) else self._lr
        if bias is not False or rate > _check.FLOAT32_MAX:
            steps.options(W, bias := _check.flag("bias", bias), rate)
        ready = self._ready(W, dW)
        stages = self._stages(rate, [g for _, _, g, _ in ready], backend, threads) if self._staged else NO_STAGES
        b_apart = bias and self._prox is not None
        fused = stages._replace(shrink=0.0, factor=1.0) if b_apart else stages  # prox of all but b comes later
        scalars = (self.t + 1, rate, *self.hyper.values()) if self._counts else (rate, *self.hyper.values())
        calls, compiled = [], not b_apart
        for slot, w, g, given in ready:
            route = _step.route(self.rule, backend, w.size, w.itemsize, len(slot.state), threads)
            compiled = compiled and route.whole and given is None
            call = w, g, slot.state, scalars, fused, route.ranges, route.threads
            calls.append((route.kernel, *call) if route.prepare is None else route.prepare(*call))
        fresh = not self._slots
        if fresh:
            self._slots = [slot for slot, _, _, _ in ready]
        try:
            if compiled:
                self.t += 1
                any(starmap(run, calls))  # all of them in C: Python answers Ctrl-C after the last
            else:
                with CtrlCLater():
                    self.t += 1
                    self._step_each(W, ready, scalars, stages, fused, (backend, threads))
        except Exception:  # of a kernel that has not begun
            self.t -= 1
            self._slots = [] if fresh else self._slots
            raise

    def _step_each(
        self, W: Any, ready: list[Any], scalars: tuple[Any, ...], stages: Stages, fused: Stages, where: tuple[str, int]
    ) -> None:
        """The step of one W after the other. `fused` is what a kernel does in the same pass; prox but for b follows."""
        for slot, w, g, given in ready:
            _step.update(self.rule, w, g, slot.state, scalars, fused, *where)
            if given is not None:
                slot.put(w, given)
        if fused is not stages:
            for slot, A in zip(self._slots, W if isinstance(W, (list, tuple)) else [W], strict=True):
                slot.shrink_weights(A, stages.shrink, stages.factor, where[0])

    def _ready(self, W: Any, dW: Any) -> list[tuple[_Slot, Array, Array, Array | None]]:
        """For each W its slot, flat w and g, and W again if w is a copy."""
        slots = self._slots
        if len(slots) == 1 and _check.same_layout(W, dW, slots[0].shape, slots[0].dtype, slots[0].order):
            return [(slots[0], W.ravel("K"), dW.ravel("K"), None)]
        if slots and type(W) is type(dW) is list and len(W) == len(dW) == len(slots):
            owners = {id(A) for A in (*W, *dW) if type(A) is np.ndarray and A.base is None}  # each has its own memory
            ours = list(zip(slots, W, dW, strict=True))
            if len(owners) == 2 * len(W) and all(
                _check.same_layout(A, B, s.shape, s.dtype, s.order) for s, A, B in ours
            ):
                return [(slot, A.ravel("K"), B.ravel("K"), None) for slot, A, B in ours]
        pairs = steps.pairs(W, dW)
        flat = [(slot, slot.flat(A), slot.flat(B), A) for slot, (A, B) in zip(self._match(pairs), pairs, strict=True)]
        return [(slot, w, g, None if np.may_share_memory(w, A) else A) for slot, w, g, A in flat]

    def _epoch_steps(self, W: Array, count: int, penalty: tuple[float, float]) -> tuple[EpochSteps, _Slot]:
        """Describes the next `count` steps of W for an epoch kernel; also returns the slot with the state.

        The caller then changes the state, and calls `_took_steps` when the kernel has taken the steps.
        """
        (slot,) = self._match(steps.pairs(W, np.empty_like(W)))
        rates = [self._rate(self.t + i) for i in range(count)]
        _check.held("lr", max(rates), W.dtype)
        prox = [] if self._prox is None else [_check.shrinkage(self._prox.shrinkage(rate)) for rate in rates]
        described = EpochSteps(
            t=self.t + 1,
            counts=self._counts,
            lr=np.array(rates),
            others=tuple(self.hyper.values()),
            penalty=penalty,
            clip=(self._limits.get("clip_value", np.inf), self._limits.get("clip_norm", np.inf)),
            shrinkage=np.array(prox, np.float64).reshape(-1, 2),
            averaging=np.empty(0),
        )
        return described, slot

    def _took_steps(self, count: int, slot: _Slot) -> None:
        """Counts steps that an epoch kernel has taken, and keeps their state."""
        self.t, self._slots = self.t + count, [slot]

    def _stages(self, rate: float, gradients: list[Array], backend: str, threads: int) -> Stages:
        """The changes of the gradients before this step, and of W after it."""
        scale = 1.0
        if "clip_norm" in self._limits:
            scale = clip_scale(_step.norm(gradients, backend, threads), self._limits["clip_norm"])
        shrinkage = (0.0, 1.0) if self._prox is None else _check.shrinkage(self._prox.shrinkage(rate))
        return Stages(scale, self._limits.get("clip_value", np.inf), *shrinkage)

    def _match(self, pairs: list[tuple[Array, Array]]) -> list[_Slot]:
        """The slots of these W, whose shapes and dtypes are those of the state; new ones if there is no state yet."""
        if not self._slots:
            for W, _ in pairs:
                _check.hyper_held(self.hyper, self.hyper.values(), W.dtype)
        slots = self._slots or [_Slot.empty(W, len(OPS[self.rule].state)) for W, _ in pairs]
        expected = [(slot.shape, slot.dtype) for slot in slots]
        if expected != [(W.shape, W.dtype) for W, _ in pairs]:
            raise ValueError(
                f"this {type(self).__name__} holds the state of {_describe(expected)}; "
                f"found {_describe([(W.shape, W.dtype) for W, _ in pairs])}. Use one optimizer for each W or list of W"
            )
        for i, (slot, (W, _)) in enumerate(zip(slots, pairs, strict=True)):
            if slot.order != _order(W):
                fresh = _Slot.empty(W, len(slot.state))
                for flat, A in zip(fresh.state, slot.shaped(), strict=True):
                    flat[...] = fresh.flat(A)
                slots[i] = fresh  # the same state in another order of memory
        return slots

    def state_dict(self) -> dict[str, Any]:
        """The state from which an optimizer made with the same arguments continues with the same bits.

        A flat dict of strings, numbers and arrays: "class", "rule", "t" (steps taken), "m.0" for the state m of the
        first W, in W's shape, and "schedule.*" if the schedule has state. `np.savez(path, **state)` keeps it.
        """
        found: dict[str, Any] = {"class": type(self).__name__, "rule": self.rule, "t": self.t}
        for i, slot in enumerate(self._slots):
            found |= {f"{name}.{i}": A for name, A in zip(OPS[self.rule].state, slot.shaped(), strict=True)}
        return found | {f"schedule.{key}": value for key, value in _schedule_state(self._lr).items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a dict that `state_dict` returned, also after it was saved and loaded; the arrays are copied.

        Raises ValueError or TypeError if it is another class's or rule's, or lacks something, or has something that
        `state_dict` never returns, or does not fit the W that this optimizer has stepped already; nothing has been
        changed then.
        """
        t, slots, schedule = self._read_state(state)
        if schedule:
            self._lr.load_state_dict(schedule)  # type: ignore[union-attr]  # first, because it may refuse its part
        self.t, self._slots = t, slots or ([] if OPS[self.rule].state else self._slots)

    def _read_state(self, state: Mapping[str, Any]) -> tuple[int, list[_Slot], dict[str, Any]]:
        """The number of steps, the slots and the schedule's part of a state, all checked but for the last."""
        name = type(self).__name__
        if not isinstance(state, Mapping):
            raise TypeError(f"state must be what state_dict returned; found {type(state).__name__}")
        for key, expected in (("class", name), ("rule", self.rule)):
            found = states.scalar(states.entry(name, state, key))
            if not isinstance(found, str) or found != expected:
                raise ValueError(f"the state's {key} is {_check.shown(found)}; this {name} needs {expected!r}")
        t = states.count("the state's t", states.entry(name, state, "t"), _check.MOST_STEPS)
        slots = _read_slots(name, OPS[self.rule].state, state, at_least=int(t > 0))
        schedule = {key: value for key, value in state.items() if str(key).startswith("schedule.")}
        known = {"class", "rule", "t", *schedule}
        known |= {f"{word}.{i}" for i in range(len(slots)) for word in OPS[self.rule].state}
        unknown = [key for key in state if key not in known]
        if schedule and not hasattr(self._lr, "load_state_dict"):
            unknown += schedule
        if unknown:
            raise ValueError(f"the state has {_check.shown(unknown[0])}, which no {name} like this one keeps")
        for key in _schedule_state(self._lr):
            states.entry(name, state, f"schedule.{key}")
        if self._slots and slots:
            ours, theirs = ([(slot.shape, slot.dtype) for slot in some] for some in (self._slots, slots))
            if ours != theirs:
                same = [a == b for a, b in zip(ours, theirs, strict=False)]
                i = [*same, False].index(False)
                keys = ", ".join(f"{word}.{i}" for word in OPS[self.rule].state)
                raise ValueError(
                    f"this {name} steps {_describe(ours)}; the state is that of {_describe(theirs)}: see its {keys}"
                )
        return t, slots, {key.removeprefix("schedule."): states.scalar(value) for key, value in schedule.items()}

    def check_state(self, state: Mapping[str, Any], W: Array) -> None:
        """Raises what `load_state_dict` would, and ValueError for a state of other weights than this W."""
        kinds = [(slot.shape, slot.dtype) for slot in self._read_state(state)[1]]
        if kinds and kinds != [(W.shape, W.dtype)]:
            raise ValueError(f"the state is that of {_describe(kinds)}; expected {_describe([(W.shape, W.dtype)])}")

    def __repr__(self) -> str:
        lr = self.lr if callable(self.lr) else f"{self.lr:g}"
        words = {"lr": lr} | {name: f"{value:g}" for name, value in self.hyper.items()} | self._shown
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in words.items())})"


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
        arrays = [_check.real_array(key, states.entry(owner, state, key)) for key in keys]
        for key, A in zip(keys, arrays, strict=True):
            if (A.shape, A.dtype) != (arrays[0].shape, arrays[0].dtype):
                raise ValueError(f"{key} is {A.shape} {A.dtype} but {keys[0]} is {arrays[0].shape} {arrays[0].dtype}")
            if A.size > 1 and 0 in A.strides:
                raise ValueError(f"entries of {key} share memory (strides {A.strides}); pass {key}.copy()")
        slot = _Slot.empty(np.empty(arrays[0].shape, arrays[0].dtype), len(arrays))
        for flat, A in zip(slot.state, arrays, strict=True):
            flat[...] = A.reshape(-1)
        slots.append(slot)
    return slots
