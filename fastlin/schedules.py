"""Learning rates that change: callables from the number of a step, from 0, to a rate.

Give one to an optimizer, `fl.Adam(lr=fl.schedules.cosine(1e-3, T=1000))`, which calls it with the number of the
step, or call it yourself once an epoch. t and T are then steps, or epochs. All but `plateau` are immutable; all
compare, print as they were written, and can be pickled.

>>> cosine(0.1, T=100)(50)
0.05
>>> warmup(linear(0.1, T=100), steps=10)(5)
0.05
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any

from fastlin import _check
from fastlin._check import states
from fastlin._extras import need

Lr = float | Callable[[int], float]


class Schedule:
    """The base of all schedules. Its other methods do nothing; schedules with state override them."""

    def __call__(self, t: int) -> float:
        """The rate of step t."""
        raise NotImplementedError

    def report(self, metric: float) -> None:
        """Take note of a metric for which smaller is better."""

    def state_dict(self) -> dict[str, Any]:
        """The state that reports change."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state that `state_dict` returned."""
        if state:
            raise ValueError(f"{type(self).__name__} has no state; found {', '.join(map(str, state))}")

    def _within(self, **intervals: str) -> None:
        _check.fields(self, **intervals)

    def __repr__(self) -> str:
        """As it was written: without what has its default."""
        shown = [f for f in fields(self) if f.init and getattr(self, f.name) != f.default]  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in shown)})"


@dataclass(frozen=True)
class constant(Schedule):
    """lr in every step."""

    lr: float

    def __post_init__(self) -> None:
        self._within(lr="[0, inf)")

    def __call__(self, t: int) -> float:
        return self.lr


@dataclass(frozen=True)
class step(Schedule):
    """lr times `factor` for each of the steps `at` that has been reached (lecture 3, "Step").

    "E.g. for ResNets, multiply LR by 0.1 after epochs 30, 60, and 90": the defaults, with t in epochs.
    """

    lr: float
    at: tuple[int, ...] = (30, 60, 90)
    factor: float = 0.1

    def __post_init__(self) -> None:
        self._within(lr="[0, inf)", factor="(0, inf)")
        if not isinstance(self.at, Sequence):
            raise TypeError(f"at must be the numbers of steps, such as (30, 60, 90); found {_check.kind(self.at)}")
        object.__setattr__(self, "at", tuple(sorted(_check.count("at", t, 0) for t in self.at)))
        if self.factor > 1:
            most = self.lr * math.prod([float(self.factor)] * len(self.at))  # Inf, where a power is an OverflowError
            _check.number("lr * factor ** len(at)", most, "[0, inf)")

    def __call__(self, t: int) -> float:
        return self.lr * self.factor ** sum(t >= reached for reached in self.at)


@dataclass(frozen=True, repr=False)
class cosine(Schedule):
    """low + (lr - low) (1 + cos(pi t / T)) / 2 (lecture 3, "Cosine"; Loshchilov & Hutter 2017), and low from T on.

    low is torch's eta_min.
    """

    lr: float
    T: int
    low: float = 0.0

    def __post_init__(self) -> None:
        self._within(lr="[0, inf)", T="(0, inf)", low="[0, inf)")

    def __call__(self, t: int) -> float:
        return self.low + 0.5 * (self.lr - self.low) * (1.0 + math.cos(math.pi * min(t, self.T) / self.T))


@dataclass(frozen=True, repr=False)
class linear(Schedule):
    """lr (start + (end - start) t / T): from start lr to end lr, where it stays from T on.

    By default lr (1 - t / T) (lecture 3, "Linear"). torch's LinearLR(start_factor, end_factor, total_iters).
    """

    lr: float
    T: int
    start: float = 1.0
    end: float = 0.0

    def __post_init__(self) -> None:
        self._within(lr="[0, inf)", T="(0, inf)", start="[0, inf)", end="[0, inf)")
        _check.number("lr * the larger of start and end", self.lr * max(self.start, self.end), "[0, inf)")

    def __call__(self, t: int) -> float:
        part = min(t, self.T) / self.T
        return self.lr * (self.start + (self.end - self.start) * part)


@dataclass(frozen=True, repr=False)
class polynomial(Schedule):
    """lr (1 - t / T)^power, and 0 from T on: torch's PolynomialLR. power 1 is `linear`."""

    lr: float
    T: int
    power: float = 1.0

    def __post_init__(self) -> None:
        self._within(lr="[0, inf)", T="(0, inf)", power="(0, inf)")

    def __call__(self, t: int) -> float:
        return float(self.lr * (1.0 - min(t, self.T) / self.T) ** self.power)


@dataclass(frozen=True, repr=False)
class cyclic(Schedule):
    """Up from `low` to lr in `up` steps and back in `down` (None: as many), again and again (Smith 2017).

    low + (lr - low) x factor^k gamma^t, with x in [0, 1] the way up and k the number of the cycle from 0: torch's
    CyclicLR "triangular", with factor=0.5 its "triangular2", with gamma < 1 its "exp_range".
    """

    lr: float
    low: float
    up: int = 2000
    down: int | None = None
    factor: float = 1.0
    gamma: float = 1.0

    def __post_init__(self) -> None:
        self._within(lr="[0, inf)", low="[0, inf)", factor="(0, 1]", gamma="(0, 1]")
        object.__setattr__(self, "up", _check.count("up", self.up))
        object.__setattr__(self, "down", None if self.down is None else _check.count("down", self.down))

    def __call__(self, t: int) -> float:
        down = self.up if self.down is None else self.down
        cycle, since = divmod(t, self.up + down)
        x = since / self.up if since < self.up else (self.up + down - since) / down
        return self.low + (self.lr - self.low) * x * self.factor**cycle * self.gamma**t


@dataclass(frozen=True)
class inverse_sqrt(Schedule):
    """lr / sqrt(t) (lecture 3, "Inverse sqrt"; Vaswani et al. 2017). Step 0, where that is infinite, takes lr."""

    lr: float

    def __post_init__(self) -> None:
        self._within(lr="[0, inf)")

    def __call__(self, t: int) -> float:
        return self.lr / math.sqrt(max(t, 1))


@dataclass(frozen=True)
class cosine_restarts(Schedule):
    """Cosine decay that begins anew after T steps, then `factor` T steps, factor^2 T, ... (SGDR).

    low + (lr - low) (1 + cos(pi t / T)) / 2, t counted from the last restart (Loshchilov & Hutter 2017).
    """

    lr: float
    T: int
    factor: int = 1
    low: float = 0.0

    def __post_init__(self) -> None:
        self._within(lr="[0, inf)", low="[0, inf)")
        object.__setattr__(self, "T", _check.count("T", self.T))
        object.__setattr__(self, "factor", _check.count("factor", self.factor))

    def __call__(self, t: int) -> float:
        T, since = self.T, t
        if self.factor == 1:
            since = t % T
        while since >= T:
            since -= T
            T *= self.factor
        return self.low + 0.5 * (self.lr - self.low) * (1.0 + math.cos(math.pi * since / T))


@dataclass(frozen=True, repr=False)
class one_cycle(Schedule):
    """Up to lr and far down again (Smith & Topin 2019; torch's OneCycleLR, whose words these are).

    From lr / div_factor to lr by step pct_start T - 1, to lr / div_factor / final_div_factor by step T - 1; with
    three_phase back to lr / div_factor in between, by step 2 pct_start T - 2. anneal_strategy "cos" goes along cosines,
    "linear" along lines.
    """

    lr: float
    T: int
    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    anneal_strategy: str = "cos"
    three_phase: bool = False

    def __post_init__(self) -> None:
        self._within(
            lr="[0, inf)", T="[2, inf)", pct_start="(0, 1)", div_factor="[1, inf)", final_div_factor="[1, inf)"
        )
        _check.choice("anneal_strategy", self.anneal_strategy, ("cos", "linear"))
        if _check.flag("three_phase", self.three_phase) and self.pct_start > 0.5:
            raise ValueError(f"pct_start must be at most 0.5 with three_phase=True; found {self.pct_start!r}")

    def __call__(self, t: int) -> float:
        start, top = self.lr / self.div_factor, self.pct_start * self.T - 1.0
        between = [(2.0 * top, start)] if self.three_phase else []
        points = [(0.0, start), (top, self.lr), *between, (self.T - 1.0, start / self.final_div_factor)]
        number = min(sum(t > step for step, _ in points[1:]), len(points) - 2)
        (before, high), (after, low) = points[number : number + 2]
        part = min((t - before) / (after - before), 1.0) if after > before else 1.0
        return _along_cosine(high, low, part) if self.anneal_strategy == "cos" else high + (low - high) * part


def _along_cosine(start: float, end: float, part: float) -> float:
    return end + 0.5 * (start - end) * (1.0 + math.cos(math.pi * part))


@dataclass(repr=False)
class plateau(Schedule):
    """lr, times `factor` whenever more than `patience` reports in a row were no better than the best before.

    Better is smaller by more than `threshold` of the best (torch's ReduceLROnPlateau, mode "min"), or with
    threshold_mode="abs" by more than `threshold`. After a reduction the next `cooldown` reports are not counted as bad.
    Call `optimizer.report(metric)`, once an epoch for instance; for an accuracy report its negative.
    """

    lr: float
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    min_lr: float = 0.0
    cooldown: int = 0
    threshold_mode: str = "rel"
    _now: float = field(init=False, repr=False)
    _best: float = field(init=False, repr=False, default=math.inf)
    _bad: int = field(init=False, repr=False, default=0)
    _cooling: int = field(init=False, repr=False, default=0)

    def __post_init__(self) -> None:
        self._within(lr="[0, inf)", factor="(0, 1)", threshold="[0, inf)", min_lr="[0, inf)")
        self.patience, self.cooldown = (_check.count(n, getattr(self, n), 0) for n in ("patience", "cooldown"))
        _check.choice("threshold_mode", self.threshold_mode, ("rel", "abs"))
        self._now = self.lr

    def __call__(self, t: int) -> float:
        return self._now

    def report(self, metric: float) -> None:
        """Take note of a metric for which smaller is better. A NaN counts as no improvement."""
        metric = _check.real("metric", metric)
        size = abs(self._best) if self.threshold_mode == "rel" else 1.0
        margin = self.threshold * size if self._best < math.inf else 0.0
        better = metric < self._best - margin
        self._best, self._bad = (metric, 0) if better else (self._best, self._bad + 1)
        if self._cooling:
            self._cooling, self._bad = self._cooling - 1, 0
        if self._bad > self.patience:
            self._now = min(self._now, max(self.factor * self._now, self.min_lr))
            self._cooling, self._bad = self.cooldown, 0

    def state_dict(self) -> dict[str, Any]:
        """The current rate, the best report, the bad reports since an improvement or reduction, and what is to cool."""
        found = {"now": self._now, "best": self._best, "bad": self._bad}
        return found | ({"cooling": self._cooling} if self.cooldown else {})

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state that `state_dict` returned; nothing has been changed after an error."""
        unknown = [key for key in state if key not in self.state_dict()]
        if unknown:
            raise ValueError(f"the state of a plateau has no {_check.shown(unknown[0])}")
        now, best = (states.scalar(states.entry("plateau", state, key)) for key in ("now", "best"))
        if type(now) not in (int, float) or not 0 <= now <= self.lr:
            raise ValueError(f"now of a plateau must be a number in [0, lr = {self.lr}]; found {_check.shown(now)}")
        if not isinstance(best, float) or math.isnan(best):
            raise ValueError(f"best of a plateau must be a float, not NaN; found {_check.shown(best)}")
        most = {"bad": self.patience} | ({"cooling": self.cooldown} if self.cooldown else {})
        counts = [
            states.count(f"{key} of a plateau", states.entry("plateau", state, key), high) for key, high in most.items()
        ]
        self._now, self._best = float(now), best
        self._bad, self._cooling = (*counts, 0)[:2]


@dataclass(frozen=True)
class _Composed(Schedule):
    """Passes reports and state on to the schedule inside."""

    schedule: Lr

    def report(self, metric: float) -> None:
        """Pass it on."""
        if isinstance(self.schedule, Schedule):
            self.schedule.report(metric)

    def state_dict(self) -> dict[str, Any]:
        """The state of the schedule inside."""
        return self.schedule.state_dict() if isinstance(self.schedule, Schedule) else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Pass it on."""
        if isinstance(self.schedule, Schedule):
            self.schedule.load_state_dict(state)


@dataclass(frozen=True)
class warmup(_Composed):
    """From 0 up to the schedule's first rate in `steps` equal steps, then the schedule from its beginning.

    Lecture 3, "Linear Warmup": "high initial learning rates can make loss explode; linearly increasing learning
    rate from 0 over the first ~5,000 iterations can prevent this". `schedule` may be a number.
    """

    steps: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedule", _check.learning_rate(self.schedule, "schedule"))
        object.__setattr__(self, "steps", _check.count("steps", self.steps))

    def __call__(self, t: int) -> float:
        if t < self.steps:
            return t / self.steps * _rate(self.schedule, 0)
        return _rate(self.schedule, t - self.steps)


@dataclass(frozen=True)
class sequential(Schedule):
    """One schedule after the other, each from its own beginning: the next takes over at each of the steps `at`.

    torch's SequentialLR. A schedule may be a number: sequential((0.1, 0.05, 0.001), at=(30, 60)) is a rate for each
    part. None may be a `plateau`, whose reports have no step.
    """

    schedules: tuple[Lr, ...]
    at: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in ("schedules", "at"):
            if not isinstance(getattr(self, name), Sequence) or isinstance(getattr(self, name), str):
                raise TypeError(f"{name} must be a sequence; found {_check.kind(getattr(self, name))}")
        parts = tuple(_check.learning_rate(lr, f"schedules[{i}]") for i, lr in enumerate(self.schedules))
        at = tuple(_check.count("at", t) for t in self.at)
        if len(parts) != len(at) + 1 or any(before >= after for before, after in pairwise(at)):
            raise ValueError(
                f"at must hold the {max(len(parts) - 1, 0)} ascending steps, where one of the {len(parts)} schedules "
                f"follows another; found {_check.shown(self.at)}"
            )
        for i, lr in enumerate(parts):
            if isinstance(lr, Schedule) and lr.state_dict():
                raise ValueError(f"schedules[{i}] is {lr!r}, which changes by reports, not by steps; pass another")
        object.__setattr__(self, "schedules", parts)
        object.__setattr__(self, "at", at)

    def __call__(self, t: int) -> float:
        number = sum(t >= begin for begin in self.at)
        return _rate(self.schedules[number], t - (0, *self.at)[number])


@dataclass(frozen=True)
class scaled(_Composed):
    """`factor` times the schedule."""

    factor: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedule", _check.learning_rate(self.schedule, "schedule"))
        self._within(factor="[0, inf)")
        if not callable(self.schedule):
            _check.number("schedule * factor", self.schedule * self.factor, "[0, inf)")

    def __call__(self, t: int) -> float:
        return self.factor * _rate(self.schedule, t)


def _rate(lr: Lr, t: int) -> float:
    return lr(t) if callable(lr) else lr


def scale_lr(lr: Lr, factor: float) -> Lr:
    """The rate for a batch `factor` times as large: a number times factor, or a schedule of which every rate is.

    lr : in [0, inf), or a schedule.  factor : in [0, inf). Raises ValueError or TypeError for others.
    Lecture 3: "If you increase the batch size by N, also scale the initial learning rate by N" (Goyal et al. 2017).

    >>> scale_lr(0.125, 8)
    1.0
    """
    factor = _check.number("factor", factor, "[0, inf)")
    lr = _check.learning_rate(lr)
    return scaled(lr, factor) if callable(lr) else _check.number("lr * factor", lr * factor, "[0, inf)")


_USUAL: dict[str, Callable[[float, int], Schedule]] = {
    "constant": lambda lr, T: constant(lr),
    "step": lambda lr, T: step(lr, tuple(T * tenths // 10 for tenths in (3, 6, 9))),
    "cosine": cosine,
    "linear": linear,
    "inverse_sqrt": lambda lr, T: inverse_sqrt(lr),
    "cosine_restarts": lambda lr, T: cosine_restarts(lr, max(1, T // 4)),
    "one_cycle": one_cycle,
}

NAMES = tuple(_USUAL)

MOST_PLOTTED = 1_000_000  # steps: a second for each schedule, and far more than a picture shows


def _by_name(name: str, lr: float, steps: int, warm: int = 0) -> Schedule:
    """The schedule called `name`, over `steps` steps of which the first `warm` warm up, with usual values for the rest.

    step decays after 30, 60 and 90 percent; cosine_restarts restarts three times.
    """
    _check.choice("name", name, NAMES)
    left = _check.count("steps", steps) - _check.count("warm", warm, 0)
    if left < 1:
        raise ValueError(f"warm must be smaller than steps; found {warm} and {steps}")
    found = _USUAL[name](lr, left)
    return warmup(found, warm) if warm else found


def plot(schedules: Lr | Sequence[Lr], steps: int) -> Any:
    """A matplotlib figure of one schedule or several over steps 0 to steps - 1; the legend is their repr.

    Needs `fastlin[plot]`. Save it with `plot(...).savefig("lr.png")`.
    """
    need("matplotlib", "plot", "schedules.plot")
    from fastlin._plots.schedules import schedule_picture

    steps = _check.count("steps", steps, high=MOST_PLOTTED)
    several = schedules if isinstance(schedules, Sequence) else [schedules]
    if not several:
        raise ValueError("schedules is empty; there is nothing to plot")
    for lr in several:
        _check.learning_rate(lr, "schedules")
    rates = {
        repr(lr): [_check.real(f"schedules: the rate of step {t}", _rate(lr, t)) for t in range(steps)]
        for lr in several
    }
    return schedule_picture(rates)


__all__ = [
    "NAMES",
    "Lr",
    "Schedule",
    "constant",
    "cosine",
    "cosine_restarts",
    "cyclic",
    "inverse_sqrt",
    "linear",
    "one_cycle",
    "plateau",
    "plot",
    "polynomial",
    "scale_lr",
    "scaled",
    "sequential",
    "step",
    "warmup",
]
