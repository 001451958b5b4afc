"""What takes a few numbers: schedules, penalties, toy data, difference quotients, settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

import fastlin as fl
from fastlin import ops, schedules, toys

from . import laws
from .harness import Row
from .laws import require
from .rows_optim import schedule_or_number
from .specs import A, Make, Odd
from .strategies import (
    LONG,
    NO_NUMBERS,
    THINGS,
    Arg,
    Call,
    Sizes,
    array,
    arrays,
    choice,
    count,
    flag,
    number,
    other_shapes,
)

Arguments = dict[str, Arg]
LR = number("[0, inf)", optional=False, usual=(0.1, 0.0))
LENGTH = number("(0, inf)", optional=False, usual=(10, 100.0))
SEED = count(0, st.integers(0, 2**40))
STEP = Arg(st.integers(0, 300), st.sampled_from([2**31, 2**62, 10**19]), optional=False)


def named(function: Callable[..., Any], of: Callable[..., Any], *more: str) -> Callable[..., Any]:
    """`function` with the parameters of `of`, which messages name, and more."""
    theirs = [
        p.replace(kind=p.KEYWORD_ONLY) for name, p in inspect.signature(of).parameters.items() if name not in more
    ]
    own = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in more]
    function.__signature__ = inspect.Signature([*theirs, *own])  # type: ignore[attr-defined]
    return function


# ---- Schedules -------------------------------------------------------------------------------------------------


def rate_is_a_number(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """Finite, and not negative."""
    require(all(np.isfinite(rate) and rate >= 0 for rate in value), f"rates {value}")


def schedule_row(name: str, **own: Arg) -> Row:
    """A schedule and its rates at steps 0 and t."""
    kind = getattr(schedules, name)

    def rates(t: int, **how: Any) -> list[float]:
        found = kind(**how)
        return [float(found(0)), float(found(t))]

    arguments = lambda sizes: {"t": STEP, **own}  # noqa: E731
    return Row(
        f"schedules.{name}", named(rates, kind, "t"), arguments, (rate_is_a_number, laws.same_again), quiet=False
    )


def _at() -> Arg:
    good = st.lists(st.integers(0, 90), max_size=4).map(tuple)
    bad = st.sampled_from(
        [(-1,), (1.5,), ("a",), 3, None, "ab", (None,), ((1,),), (True,), Odd("object"), (2, -(2**70))]
    )
    return Arg(good, st.sampled_from([[30, 60], (2**70,), A((2,), "int64", "labels:9")]), bad)


def _parts_at() -> Arg:
    bad = st.sampled_from(
        [(), (1,), (2, 2), (5, 3), (0, 3), (-1, 3), (1.5, 2), ("a", "b"), 3, None, "ab", Odd("object")]
    )
    return Arg(st.sampled_from([(1, 2), [3, 90], (30, 2**62)]), st.just((5, 2**70)), bad, False)


FACTOR = number("[0, inf)", usual=(1.0, 0.0, 1 / 3))
PARTS = Arg(
    st.sampled_from([(0.1, 0.2, 0.0), [0.1, Make("schedules.cosine", (("lr", 0.1), ("T", 9))), 0.3]]),
    None,
    st.sampled_from(
        [(), 0.1, None, "abc", (0.1, 0.2), (0.1, -1.0, 0.2), (0.1, Make("schedules.plateau", (("lr", 0.1),)), 0.2)]
    ),
    False,
)


def _plotted(sizes: Sizes) -> Arguments:
    good = st.sampled_from([0.1, [0.1, 0.2], Odd("rate halves")])
    bad = st.sampled_from([[], ["a"], "abc", None, [None], 1j, Odd("object"), [float("nan")], Odd("rate text")])
    steps = count(1, st.integers(1, 30), optional=False)
    return {"schedules": Arg(good, None, bad, False), "steps": Arg(steps.good, None, steps.bad, False)}


def _plot(schedules: Any, steps: Any) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from fastlin import schedules as module

    module.plot(schedules, steps)


def _scaled(sizes: Sizes) -> Arguments:
    return {"lr": AS_SCHEDULE, "factor": number("[0, inf)", optional=False, usual=(2.0, 8.0))}


RATE = schedule_or_number()
AS_SCHEDULE = Arg(
    RATE.good, RATE.odd, RATE.bad.filter(lambda v: not (isinstance(v, Odd) and v.name.startswith("rate"))), False
)
SCHEDULES = (
    schedule_row("constant", lr=LR),
    schedule_row("step", lr=LR, at=_at(), factor=number("(0, inf)", usual=(0.1,))),
    schedule_row("cosine", lr=LR, T=LENGTH, low=number("[0, inf)", usual=(0.0, 0.01))),
    schedule_row("linear", lr=LR, T=LENGTH, start=FACTOR, end=FACTOR),
    schedule_row("polynomial", lr=LR, T=LENGTH, power=number("(0, inf)", usual=(1.0, 2.0))),
    schedule_row(
        "cyclic",
        lr=LR,
        low=number("[0, inf)", optional=False, usual=(0.01,)),
        up=count(1, st.integers(1, 50)),
        down=count(1, st.integers(1, 50), none=True),
        factor=number("(0, 1]", usual=(0.5,)),
        gamma=number("(0, 1]", usual=(0.99,)),
    ),
    schedule_row("sequential", schedules=PARTS, at=_parts_at()),
    schedule_row("inverse_sqrt", lr=LR),
    schedule_row(
        "cosine_restarts",
        lr=LR,
        T=count(1, st.integers(1, 50), optional=False),
        factor=count(1, st.integers(1, 3)),
        low=number("[0, inf)", usual=(0.0, 0.01)),
    ),
    schedule_row(
        "one_cycle",
        lr=LR,
        T=number("[2, inf)", optional=False, usual=(10, 100)),
        pct_start=number("(0, 1)"),
        div_factor=number("[1, inf)"),
        final_div_factor=number("[1, inf)"),
        anneal_strategy=choice(["cos", "linear"]),
        three_phase=flag(st.just(False)),
    ),
    schedule_row(
        "plateau",
        lr=LR,
        factor=number("(0, 1)"),
        patience=count(0, st.integers(0, 5)),
        threshold=number("[0, inf)"),
        min_lr=number("[0, inf)"),
        cooldown=count(0, st.integers(0, 5)),
        threshold_mode=choice(["rel", "abs"]),
    ),
    schedule_row("warmup", schedule=AS_SCHEDULE, steps=count(1, st.integers(1, 50), optional=False)),
    schedule_row("scaled", schedule=AS_SCHEDULE, factor=number("[0, inf)", optional=False)),
    Row("scale_lr", fl.scale_lr, _scaled),
    Row("schedules.plot", _plot, _plotted, cost=6),
)


# ---- Penalties ---------------------------------------------------------------------------------------------------


def penalty_row(name: str, **own: Arg) -> Row:
    """A penalty with all that it computes of a W."""
    kind = getattr(fl, name)

    def computes(W: Any, step: float, **how: Any) -> Any:
        found = kind(**how)
        return found.value(W), found.gradient(W), found.prox(W, step), found.shrinkage(step), found.terms()

    def arguments(sizes: Sizes) -> Arguments:
        W = arrays((sizes.rows, sizes.c), [sizes.dtype], ["normal", "zeros", "integers"])
        return {"W": Arg(W, optional=False), "step": Arg(st.sampled_from([0.0, 0.5, 2.0]), optional=False), **own}

    return Row(name, named(computes, kind, "W", "step"), arguments, (penalty_is_its_formula,), quiet=False)


def penalty_is_its_formula(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """Value, gradient and proximal step from the two terms, l2 sum W^2 + l1 sum |W|."""
    R, gradient, moved, (shrink, factor), (l2, l1) = value
    W, step = np.asarray(arguments["W"], np.float64), float(arguments["step"])
    eps = 16 * float(np.finfo(arguments["W"].dtype).eps)
    if max(l1, l2, float(arguments["lam"])) > 1e6:
        return
    room = eps * (1 + l1 + l2) * (1 + np.abs(W))
    require(abs(R - (l2 * (W**2).sum() + l1 * np.abs(W).sum())) <= 1e-12 * (1 + abs(R)), "the value is another")
    require(bool((np.abs(gradient - (2 * l2 * W + l1 * np.sign(W))) <= room).all()), "the gradient is another")
    right = np.sign(W) * np.maximum(np.abs(W) - step * l1, 0) / (1 + 2 * step * l2)
    require(
        bool((np.abs(moved - right) <= eps * (1 + step * l1) * (1 + np.abs(W))).all()), "the proximal step is another"
    )
    by_shrinkage = np.sign(W) * np.maximum(np.abs(W) - shrink, 0) * factor
    require(bool((np.abs(by_shrinkage - right) <= eps * (1 + step * l1) * (1 + np.abs(W))).all()), "shrinkage differs")


def norms_are_limited(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """No column is longer than the limit; the row of b is as it was."""
    W, bias = np.asarray(arguments["W"]), bool(arguments.get("bias", False))
    require(
        value.shape == W.shape and value.dtype in (W.dtype, W.dtype.newbyteorder("=")), f"{value.dtype} {value.shape}"
    )
    rows = value[: len(value) - bias].astype(np.float64)
    if np.isfinite(W).all() and np.abs(W).max(initial=0) < 1e6:
        longest = np.sqrt((rows**2).sum(axis=0)).max(initial=0.0)
        require(longest <= float(np.asarray(arguments["limit"])) * (1 + 1e-5), f"a norm is {longest}")
    if bias:
        require(value[-1].tobytes() == W[-1].astype(value.dtype).tobytes(), "b has changed")


def _max_norm(sizes: Sizes) -> Arguments:
    wrong = ("float16", "int64", "bool", *NO_NUMBERS)
    shapes = st.sampled_from([(), (3,), (2, 2, 2), (sizes.rows, 0)])
    W = array((sizes.rows, sizes.c), [sizes.dtype], wrong=wrong, bad_shapes=shapes, swaps=False)
    return {"W": W, "limit": number("(0, inf)", optional=False), "bias": flag(st.just(sizes.bias))}


def _dropout(sizes: Sizes) -> Arguments:
    shape = sizes.n, sizes.d
    X = array(shape, ["float64", "float32", "float16", "int64", "uint8"])
    return {"X": X, "p": number("[0, 1)", optional=False, usual=(0.0, 0.5)), "seed": SEED}


def zeros_or_scaled(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """Every entry is 0 or X / (1 - p)."""
    X = np.asarray(arguments["X"], np.float64)
    require(value.shape == X.shape, f"shape {value.shape}, not {X.shape}")
    if np.isfinite(X).all() and np.abs(X).max(initial=0) < 1e4:
        right = X / (1 - float(np.asarray(arguments["p"])))
        eps = float(np.finfo(value.dtype).eps)
        near = np.abs(value - right) <= 4 * eps * np.abs(right) + 1e-7
        require(bool((near | (value == 0)).all()), "an entry is neither 0 nor X / (1 - p)")


PENALTIES = (
    penalty_row("L1", lam=number("[0, inf)", optional=False, usual=(0.1,))),
    penalty_row("L2", lam=number("[0, inf)", optional=False, usual=(0.1,))),
    penalty_row(
        "ElasticNet",
        lam=number("[0, inf)", optional=False, usual=(0.1,)),
        beta=number("[0, inf)", optional=False, usual=(0.5,)),
    ),
    Row("max_norm", fl.max_norm, _max_norm, (norms_are_limited, laws.is_new)),
    Row("dropout", fl.dropout, _dropout, (zeros_or_scaled, laws.is_new, laws.same_again)),
)


# ---- Toy data ----------------------------------------------------------------------------------------------------


def rows_of_both(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """X (n, d) and y (n,), as many rows as were asked for."""
    X, y = value
    n = int(arguments.get("n", len(X)))
    require(X.shape[0] == n and y.shape == (n,) and bool(np.isfinite(X).all()), f"X {X.shape}, y {y.shape}, n {n}")


def toy_row(name: str, **own: Arg) -> Row:
    """A data set."""
    arguments = lambda sizes: {"n": count(1, st.integers(1, 60)), "seed": SEED, **own}  # noqa: E731
    return Row(f"toys.{name}", getattr(toys, name), arguments, (rows_of_both, laws.same_again))


def _surface(sizes: Sizes, size: int = 2) -> Arguments:
    found = array((size,), ["float64", "float32", "int64"], bad_shapes=other_shapes((size,)))
    return {"W": found}


def _bowl(sizes: Sizes) -> Arguments:
    return _surface(sizes) | {"condition": number("(-inf, inf)", usual=(20.0, 1.0))}


TOYS = (
    toy_row("blobs", classes=count(1, st.integers(1, 9)), spread=number("[0, inf)", usual=(0.0, 0.6))),
    toy_row("parity", pixels=count(1, st.integers(1, 6))),
    toy_row("ring"),
    toy_row("three_modes"),
    toy_row("disk_in_ring"),
    toy_row("noisy_sine", sigma=number("[0, inf)", usual=(0.0, 0.1))),
    toy_row("houses", sigma=number("[0, inf)", usual=(0.0, 20.0))),
    Row("toys.bowl", toys.bowl, _bowl, (laws.same_again,), quiet=False),
    Row("toys.saddle", toys.saddle, _surface, (laws.same_again,), quiet=False),
    Row("toys.dented", toys.dented, lambda sizes: _surface(sizes, 1), (laws.same_again,), quiet=False),
)


# ---- Difference quotients ----------------------------------------------------------------------------------------


def _differences(f: Arg, *floats: str) -> Callable[[Sizes], Arguments]:
    def arguments(sizes: Sizes) -> Arguments:
        shapes = [(), (3,), (2, 2), (sizes.d % 4 + 1, 2)]
        good = st.sampled_from(shapes).flatmap(lambda shape: arrays(shape, floats, ["normal", "integers"]))
        wrong = st.one_of(
            arrays((2,), NO_NUMBERS, ["normal"]), THINGS.filter(lambda value: value not in ([], (), [1.0], 1j))
        )
        odd = arrays((2, 2), ["float64", "float32"], ["extreme", "one:nan", "times:1e30"])
        step = number("(0, inf)", usual=(1e-5, 1e-4))
        h = Arg(
            st.sampled_from([1e-5, 1e-3, -1e-4, np.float64(1e-4)]),
            step.odd,
            st.one_of(step.bad.filter(_no_step), st.just(0)),
        )
        return {"f": f, "W": Arg(good, odd, wrong, False), "h": h}

    return arguments


def _no_step(value: Any) -> bool:
    """-1.0 is a step too."""
    return not isinstance(value, float) or value != value or value in (float("inf"), -float("inf"))


F = Arg(st.just(Odd("quadratic")), st.sampled_from([Odd("f nan"), Odd("f constant")]), None, False)
WRONG_F = st.sampled_from([None, 3, "abc", Odd("object"), Odd("f None"), Odd("f text"), Odd("f wrong shape")])
WITH_GRADIENT = Arg(F.good, F.odd, st.one_of(WRONG_F, st.just(Odd("f number"))), False)
VALUE_ONLY = Arg(F.good, F.odd, WRONG_F.filter(lambda f: not (isinstance(f, Odd) and f.name == "f wrong shape")), False)


def slope_of_quadratic(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """2 W, of the sum of squares; forward differences have h more."""
    W = np.asarray(arguments["W"], np.float64)
    if call.odd or not W.size:
        return
    expected = 2 * W + (float(arguments.get("h", 1e-5)) if arguments.get("method") == "forward" else 0)
    close = np.abs(value - expected) <= (1e-5 if np.asarray(arguments["W"]).dtype == np.float64 else 1.0) * (
        1 + np.abs(W)
    )
    require(bool(close.all()), f"the gradient at {W.tolist()} is {value.tolist()}")


def _agrees(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    if not call.odd and np.asarray(arguments["W"]).dtype == np.float64:
        require(bool(value), str(value))


def _check_gradient(sizes: Sizes) -> Arguments:
    # float32 leaves a difference quotient only a few digits, so that it may disagree
    return _differences(WITH_GRADIENT, "float64", "float32")(sizes) | {
        "rtol": number("[0, inf)", usual=(1e-3,)),
        "samples": count(1, st.integers(1, 20), none=True),
        "seed": count(0, st.integers(0, 99)),
    }


def _rtol_only_if_usual(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    if "rtol" not in call.given:
        _agrees(row, call, arguments, value)


def _numerical_gradient(sizes: Sizes) -> Arguments:
    found = _differences(VALUE_ONLY, "float64", "float32")(sizes)
    return found | {"method": choice(["central", "forward"])}


GRADIENTS = (
    Row(
        "numerical_gradient",
        fl.numerical_gradient,
        _numerical_gradient,
        (slope_of_quadratic,),
        quiet=False,
    ),
    Row("check_gradient", fl.check_gradient, _check_gradient, (_rtol_only_if_usual,), quiet=False),
    Row(
        "numerical_hessian",
        fl.numerical_hessian,
        _differences(WITH_GRADIENT, "float64", "float32"),
        quiet=False,
    ),
    Row(
        "newton_step",
        fl.newton_step,
        _differences(WITH_GRADIENT, "float64"),
        raises=(np.linalg.LinAlgError,),
        quiet=False,
    ),
)


# ---- Settings ----------------------------------------------------------------------------------------------------


def _set_num_threads(n: Any) -> None:
    try:
        fl.set_num_threads(n)
    finally:
        fl.set_num_threads(None)


def _threads(sizes: Sizes) -> Arguments:
    found = count(1, st.integers(1, 9), optional=False, none=True)
    return {"n": Arg(found.good, st.sampled_from([2**31, 2**70]), found.bad, False)}


def _use_backend(backend: Any) -> str:
    with fl.use_backend(backend):
        return ops.resolve(None)


def _backends(sizes: Sizes) -> Arguments:
    return {"backend": choice(ops.installed(), optional=False)}


def _warmup(sizes: Sizes) -> Arguments:
    names = [name for name in ops.installed() if LONG or name != "numba"]
    found = choice(names, optional=False)
    named = Arg(found.good, None, found.bad.filter(lambda value: value is not None), False)
    return {
        "backend": named,
        "loss": Arg(st.sampled_from(ops.losses()), None, choice(["x"]).bad.filter(lambda v: v is not None)),
    }


def _nothing(sizes: Sizes) -> Arguments:
    return {}


def _show_backends() -> str:
    import contextlib
    import io

    with contextlib.redirect_stdout(io.StringIO()) as shown:
        fl.show_backends()
    return shown.getvalue()


def _is_named(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    require(value == arguments["backend"], f"inside `with` the backend is {value}")


SETTINGS = (
    Row("set_num_threads", _set_num_threads, _threads),
    Row("use_backend", _use_backend, _backends, (_is_named,)),
    Row("warmup", fl.warmup, _warmup, cost=3),
    Row("show_backends", _show_backends, _nothing, (laws.same_again,), cost=9),
)
ROWS = (*SCHEDULES, *PENALTIES, *TOYS, *GRADIENTS, *SETTINGS)
