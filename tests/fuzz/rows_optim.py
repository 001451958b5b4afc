"""The update functions, and the optimizers with a few steps."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

import fastlin as fl
from fastlin import ops, optim

from . import laws, oddities
from .harness import Row
from .specs import PLAIN, A, Make, Odd, Shares
from .strategies import (
    HUGE_COUNTS,
    NO_NUMBERS,
    Arg,
    Sizes,
    Together,
    array,
    arrays,
    backend,
    count,
    flag,
    number,
    other_shapes,
    shapes,
    swapped,
    threads,
)

Arguments = dict[str, Arg]
FILLS = ("normal", "zeros", "integers", "times:0.01")
SIZES = shapes(  # n and d are those of W here
    ((0, 7), (0, 5), (1, 1)),
    ((1, 90), (1, 90), (1, 1)),
    ((4096, 4097), (1, 2), (1, 1)),
    ((30_000, 30_001), (1, 1), (1, 1)),  # a range for each thread
)


def shape_of(sizes: Sizes) -> tuple[int, ...]:
    """One dimension or two."""
    return (sizes.n * sizes.d,) if sizes.bias else (sizes.n, sizes.d)


def stepped(sizes: Sizes, name: str, layouts: tuple[str, ...], written: bool) -> Arg:
    """An array of a step, like all others of it."""
    shape = shape_of(sizes)
    fills = ("positive", "zeros") if name not in ("w", "g", "W", "dW", "m") else FILLS
    good = arrays(shape, [sizes.dtype], fills, st.sampled_from(layouts))
    other = "float32" if sizes.dtype == "float64" else "float64"
    found = array(shape, [sizes.dtype], bad_shapes=other_shapes(shape), wrong=(other, "float16", "int64", *NO_NUMBERS))
    bad = [found.bad, st.sampled_from([3.0, [0.0], "abc"]), arrays(shape, [swapped(sizes.dtype)], ["zeros"])]
    if written:
        bad.append(arrays(shape, [sizes.dtype], ["zeros"], st.just("read-only")))
        if sizes.n * sizes.d:
            bad.append(st.just(Shares("g" if name != "g" and name != "W" else "dW", shape)))
    odd = arrays(
        shape,
        [sizes.dtype],
        [*FILLS, "extreme", "one:nan"],
        st.sampled_from([*PLAIN, "unaligned", "memmap", "subclass"]),
    )
    return Arg(good, odd, st.one_of(*bad), False)


def of_update(rule: str) -> Callable[[Sizes], Arguments]:
    """The arguments of an update function."""
    op = ops.OPS[rule]

    def arguments(sizes: Sizes) -> Arguments:
        found = {name: stepped(sizes, name, ("C",), name in op.writes) for name in ("w", "g", *op.state)}
        if "t" in op.args:
            steps = count(1, st.sampled_from([1, 2, 9, 100, 12345]), optional=False)
            found["t"] = Arg(steps.good, HUGE_COUNTS, steps.bad, False)
        return found | hypers(rule) | {"backend": backend(sizes), "threads": threads()}

    return arguments


def hypers(rule: str) -> Arguments:
    """The hyper-parameters of a row of the table."""
    return {
        name: number(spec.interval, optional=name != "lr", usual=(spec.default, spec.test_value))
        for name, spec in ops.OPS[rule].hyper.items()
    }


def update_row(rule: str) -> Row:
    """An update function."""
    checks = (laws.steps_as_naive, laws.same_bits_written)
    return Row(rule, getattr(fl, rule), of_update(rule), checks, writes=ops.OPS[rule].writes, shapes=SIZES)


# ---- Optimizers --------------------------------------------------------------------------------------------------


def steps_of(kind: Callable[..., Any]) -> Callable[..., Any]:
    """The class and a few steps as one function."""

    def make_and_step(
        W: Any, dW: Any, times: int = 1, bias: Any = False, backend: Any = None, threads: Any = None, **how: Any
    ) -> Any:
        optimizer = kind(**how)
        for _ in range(times):
            optimizer.step(W, dW, bias=bias, backend=backend, threads=threads)
        return optimizer

    own = list(inspect.signature(make_and_step).parameters.values())[:-1]
    theirs = [
        parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in inspect.signature(kind).parameters.values()
    ]
    make_and_step.__signature__ = inspect.Signature([*own, *theirs])  # type: ignore[attr-defined]
    return make_and_step


def schedule_or_number() -> Arg:
    """lr: a number, a schedule, or something that is called."""
    plain = number("[0, inf)", optional=False, usual=(0.1, 0.01, 1e-3))
    made = [
        Make("schedules.cosine", (("lr", 0.1), ("T", 10))),
        Make("schedules.constant", (("lr", 0.5),)),
        Odd("rate halves"),
    ]
    wrong = [Odd(name) for name in oddities.RATES if name not in ("rate halves", "rate nan later", "rate array")]
    bad = st.one_of(plain.bad.filter(lambda value: not _called(value)), st.sampled_from(wrong))
    return Arg(st.one_of(plain.good, st.sampled_from(made)), plain.odd, bad, False)


def _called(value: Any) -> bool:
    return isinstance(value, Odd) and callable(oddities.ODDITIES[value.name]())


def limit() -> Arg:
    """clip_value or clip_norm."""
    return number("(0, inf)", usual=(0.1, 1.0), none=True)


def prox() -> Arg:
    """A penalty with a proximal step, or None."""
    made = [
        None,
        Make("L1", (("lam", 0.1),)),
        Make("L2", (("lam", 0.5),)),
        Make("ElasticNet", (("lam", 0.1), ("beta", 0.5))),
    ]
    wrong = [0.1, "abc", [], 1j, *(Odd(name) for name in oddities.THINGS), *(Odd(name) for name in oddities.PROXES)]
    return Arg(st.sampled_from(made), None, st.sampled_from(wrong))


def of_optimizer(name: str) -> Callable[[Sizes], Arguments]:
    """The arguments of a class and of its steps."""
    kind = getattr(optim, name)
    rules = {"SGD": "momentum_update"}
    specs = ops.OPS[rules.get(name, kind.rule)].hyper
    defaults = inspect.signature(kind).parameters

    def arguments(sizes: Sizes) -> Arguments:
        layouts = ("C", "F", "strided", "reversed", "padded", "unaligned", "memmap")
        own = {
            which: number(spec.interval, usual=(defaults[which].default, spec.test_value))
            for which, spec in specs.items()
            if which != "lr"
        }
        if name == "SGD":
            own["nesterov"] = Arg(st.just(False), st.just(True), flag().bad)
        return {
            "W": with_lists(stepped(sizes, "W", layouts, written=True), sizes),
            "dW": stepped(sizes, "dW", layouts, written=False),
            "times": Arg(st.integers(1, 3)),
            "bias": flag(),
            "lr": schedule_or_number(),
            **own,
            "clip_value": limit(),
            "clip_norm": limit(),
            "prox": prox(),
            "backend": backend(sizes),
            "threads": threads(),
        }

    return arguments


def with_lists(W: Arg, sizes: Sizes) -> Arg:
    """Sometimes both W and dW are lists, or one of them is, or they are of different lengths."""
    some = [A((3, 2), sizes.dtype, seed=1), A((sizes.n,), sizes.dtype, seed=2)]
    like = [A((3, 2), sizes.dtype, seed=3), A((sizes.n,), sizes.dtype, seed=4)]
    odd = [Together({"W": some, "dW": like}), Together({"W": tuple(some), "dW": like}), Together({"W": [], "dW": []})]
    bad = [
        Together({"W": some, "dW": like[:1]}),
        Together({"W": some, "dW": like[::-1]}),
        Together({"W": some, "dW": like[0]}),
    ]
    if sizes.n == 3:
        bad = bad[:1]
    return Arg(W.good, st.one_of(W.odd, st.sampled_from(odd)), st.one_of(W.bad, st.sampled_from(bad)), False)


def optimizer_row(name: str) -> Row:
    """An optimizer."""
    checks = (laws.steps_as_naive, laws.same_bits_written)
    return Row(name, steps_of(getattr(optim, name)), of_optimizer(name), checks, writes=("W",), shapes=SIZES, cost=2)


OPTIMIZERS = tuple(name for name in optim.__all__ if name != "Optimizer")
ROWS = (*(update_row(rule) for rule in ops.UPDATES), *(optimizer_row(name) for name in OPTIMIZERS))
