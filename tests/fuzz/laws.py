"""What an answer keeps: the naive backend's numbers in float64, the same bits for any number of threads, types."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastlin import losses as public_losses
from fastlin import ops, testing

from . import exact
from .harness import Broken, Row, fresh
from .specs import Builder
from .strategies import Call

# Numbers times classes, or an eighth of it in steps: beyond that, NumPy in float64 stands in for the naive loops.
SLOW = 4000
TAME = 1e6  # larger numbers may overflow in float32, where NaN and Inf follow IEEE's rules


def require(true: bool, words: str) -> None:
    """The law that `words` says."""
    if not true:
        raise Broken(words)


def alike(found: Any, expected: Any) -> bool:
    """Whether two results have the same bits."""
    if isinstance(found, (tuple, list)) and isinstance(expected, (tuple, list)):
        return len(found) == len(expected) and all(alike(a, b) for a, b in zip(found, expected, strict=True))
    if isinstance(found, np.ndarray) or isinstance(expected, np.ndarray):
        a, b = np.asarray(found), np.asarray(expected)
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(found, float) and isinstance(expected, float):
        return np.float64(found).tobytes() == np.float64(expected).tobytes()
    return bool(found == expected)


def same_bits(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """For 1, 2, 3 and 8 threads, in memory of its own."""
    kept = _copy(value)
    for threads in (1, 2, 3, 8):
        _, found = fresh(row, call, threads=threads)
        if not alike(found, kept):
            raise Broken(f"other bits with {threads} threads: {found!r:.300} and {kept!r:.300}")


def same_again(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """The same arguments give the same bits."""
    kept = _copy(value)
    _, found = fresh(row, call)
    if not alike(found, kept):
        raise Broken(f"other bits at the second call: {found!r:.300} and {kept!r:.300}")


def _copy(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return tuple(_copy(part) for part in value)
    return value.copy() if isinstance(value, np.ndarray) else value


# ---- Losses ----------------------------------------------------------------------------------------------------


def loss_of(call: Call) -> tuple[str, str | None]:
    """The row of the table that a call of a public loss evaluates, and the name of its hyper-parameter."""
    name = call.name.partition(" ")[0].removesuffix("_loss")
    if name == "svm":
        given = call.given.get("variant", "weston_watkins"), bool(call.given.get("squared", False))
        name = public_losses.HINGES[given]
    if call.name == "softmax_loss (soft)":
        name = "soft_softmax"
    hyper = list(ops.LOSSES[name].hyper)
    return name, hyper[0] if hyper else None


def out_is_returned(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """The gradient is `out`, or a new array like W; the loss is a float."""
    loss, dW = value
    W, out = np.asarray(arguments["W"]), arguments.get("out")
    require(type(loss) is float, f"the loss is a {type(loss).__name__}")
    require(out is None or dW is out, "out is not returned")
    require(dW.shape == W.shape and dW.dtype == W.dtype, f"dW is {dW.dtype} {dW.shape}, W {W.dtype} {W.shape}")


def rows_sum_to_the_loss(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """A float64 for each row, whose sum and its gradient are those of reduction="sum"."""
    _, (loss, dW) = fresh(row, call, reduction="sum", out=None)
    losses, gradient = value
    require(losses.shape == (len(np.asarray(arguments["X"])),) and losses.dtype == float, f"losses {losses.shape}")
    require(alike(gradient, dW) or arguments.get("out") is not None, "the gradient is not that of the sum")
    require(arguments.get("out") is None or gradient is arguments["out"], "out is not returned")
    if np.isfinite(losses).all() and np.isfinite(loss):
        off, size = abs(losses.sum() - loss), np.abs(losses).sum()
        eps = float(np.finfo(np.asarray(arguments["W"]).dtype).eps)
        problem = problem_of(arguments | {"y": np.zeros(0)})
        room = 0.0 if problem is None else float(problem.delta(eps).sum() * (1 + np.abs(problem.weight).max(initial=0)))
        require(
            problem is None or off <= 1e3 * eps * size + 100 * room + 1e-30, f"the losses sum to {off:.3g} beside it"
        )


def problem_of(arguments: dict[str, Any]) -> exact.Problem | None:
    """The arguments in float64; None where float32 does not hold what comes of such numbers."""
    names = ("W", "X", "y", "sample_weight", "x_scale", "x_shift")
    given = {name: arguments.get(name) for name in names}
    found = {name: np.asarray(value, np.float64) for name, value in given.items() if value is not None}
    if not all(_tame(value) for value in found.values()):
        return None
    X, W = found["X"], found["W"]
    n, d = X.shape
    b = W[-1] if arguments.get("bias") else np.zeros(W.shape[1])
    scale, shift = found.get("x_scale", np.ones(())), found.get("x_shift", np.zeros(()))
    size = np.broadcast_to(np.abs(X) * np.abs(scale) + np.abs(shift), X.shape)
    y = _targets(np.asarray(given["y"]), n, W.shape[1], loss_needs_targets(arguments))
    weight = found.get("sample_weight", np.ones(n))
    if arguments.get("ignore_index") is not None:
        keeps = y != int(arguments["ignore_index"])
        mean = arguments.get("reduction", "mean") == "mean"
        y, weight = np.where(keeps, y, 0), keeps * weight * (n / keeps.sum() if mean else 1.0)
    return exact.Problem(W[:d], b, X * scale + shift, size, y, weight)


def loss_needs_targets(arguments: dict[str, Any]) -> bool:
    """Whether the loss under test has a target for every score; `same_as_naive` says so."""
    return bool(arguments.get("_targets"))


def _targets(y: Any, n: int, c: int, wanted: bool) -> Any:
    if not wanted:
        return y.astype(np.int64)
    if y.ndim == 1 and c > 1 and y.dtype.kind != "f":
        return np.eye(c)[y.astype(np.int64)]
    return y.astype(np.float64).reshape(n, c)


def _tame(A: Any) -> bool:
    sizes = np.abs(A[A != 0])
    return bool(np.isfinite(sizes).all() and (sizes < TAME).all() and (sizes > 1 / TAME**3).all())


def same_as_naive(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """The loss and its gradient lie as near to the naive backend's in float64 as rounding explains."""
    name, hyper = loss_of(call)
    needs = ops.LOSSES[name].targets is not None
    problem = problem_of(arguments | {"_targets": needs})
    reg, parameter = arguments.get("reg", 0.0), arguments.get(hyper) if hyper else None
    default = ops.LOSSES[name].hyper[hyper].default if hyper else 0.0
    parameter = default if parameter is None else float(np.asarray(parameter))
    if problem is None or parameter > TAME or (not hasattr(reg, "value") and float(np.asarray(reg)) > TAME):
        return
    loss, dW = value
    how = {"backend": "naive" if problem.X.size * len(problem.b) < SLOW else "numpy"}
    W = np.vstack([problem.W, problem.b])
    hypers = {hyper: parameter} if hyper else {}
    n = len(problem.X) if arguments.get("reduction", "mean") == "mean" else 1
    reduction = {"reduction": arguments.get("reduction", "mean"), "sample_weight": problem.weight}
    expected, gradient = testing.evaluate(name, hypers, W, problem.X, problem.y, 0.0, bias=True, **reduction, **how)
    R, R_gradient = _penalty(reg, problem.W)
    gradient[:-1] += R_gradient
    eps = float(np.finfo(dW.dtype).eps)
    allowed = exact.limits(name, parameter, problem, eps, n)
    off = np.abs(np.asarray(dW, np.float64) - gradient[: len(dW)])
    room = allowed.dW + testing.CLOSE * eps * (np.abs(gradient) + np.abs(np.vstack([R_gradient, 0 * problem.b])))
    worst = (off - room[: len(dW)]).max(initial=-1.0)
    if not worst <= 1e-35:
        i = np.unravel_index(int(np.argmax(off - room[: len(dW)])), off.shape)
        raise Broken(
            f"dW{[int(k) for k in i]} is {dW[i]!r}, naive has {gradient[i]!r}; rounding explains {room[i]:.2g}"
        )
    sums = np.finfo(float).eps * problem.y.size  # rows that are all alike are rounded alike
    room_loss = allowed.loss + testing.CLOSE * eps * abs(R) + (eps + sums) * abs(expected) + 1e-30
    require(
        abs(loss - expected - R) <= room_loss, f"the loss is {loss!r}, naive has {expected + R!r}, {room_loss:.2g} off"
    )


def _penalty(reg: Any, W: Any) -> tuple[float, Any]:
    if hasattr(reg, "value"):
        return float(reg.value(W)), np.asarray(reg.gradient(W), np.float64)
    lam = float(np.asarray(reg))
    return lam * float((W**2).sum()), 2 * lam * W


# ---- Scores ----------------------------------------------------------------------------------------------------


def scores_are_products(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """X @ W + b, of the mapped features."""
    problem = problem_of(arguments | {"y": np.zeros(0)})
    if problem is None:
        return
    off = np.abs(np.asarray(value, np.float64) - problem.S)
    require(value.shape == problem.S.shape, f"scores have shape {value.shape}, not {problem.S.shape}")
    room = problem.delta(float(np.finfo(np.asarray(arguments["W"]).dtype).eps))
    require(
        bool((off <= room).all()), f"a score is {(off - room).max(initial=0):.3g} further off than rounding explains"
    )


def classes_are_largest(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """The class predicted has a score as large as any, up to rounding."""
    problem = problem_of(arguments | {"y": np.zeros(0)})
    if problem is None:
        return
    S, delta = problem.S, problem.delta(float(np.finfo(np.asarray(arguments["W"]).dtype).eps))
    n, c = S.shape
    require(value.shape == (n,) and value.dtype.kind == "i", f"predictions are {value.dtype} {value.shape}")
    if c == 1:
        sure = np.abs(S[:, 0]) > delta[:, 0]
        require(bool(((S[:, 0] >= 0) == value)[sure].all()), "a class is not the sign of its score")
        return
    rows = np.arange(n)
    require(bool(((value >= 0) & (value < c)).all()), "a class is out of range")
    short = S.max(axis=1) - S[rows, value]
    require(bool((short <= 2 * delta.max(axis=1)).all()), "a class does not have the largest score")


def few_are_largest(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """The k classes of a row differ, and no score is larger than one before it, up to rounding."""
    problem = problem_of(arguments | {"y": np.zeros(0)})
    if problem is None:
        return
    S, delta = problem.S, problem.delta(float(np.finfo(np.asarray(arguments["W"]).dtype).eps)).max(axis=1)
    n, c = S.shape
    k = value.shape[1]
    require(value.shape[0] == n and value.dtype.kind == "i" and k <= c, f"the classes are {value.dtype} {value.shape}")
    others = np.argsort(~(value[:, :, None] == np.arange(c)).any(axis=1), axis=1, kind="stable")  # the k found first
    require(bool((np.sort(value, axis=1) == others[:, :k]).all()), "a class is there twice, or out of range")
    order = np.take_along_axis(S, np.hstack([value, others[:, k:]]), axis=1)
    beyond = order[:, k - 1 :].max(axis=1) - order[:, k - 1]
    rising = np.diff(order[:, :k], axis=1).max(axis=1, initial=0.0)
    require(bool((np.maximum(beyond, rising) <= 2 * delta).all()), "a class has a larger score than one before it")


def sums_to_one(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """Probabilities of finite scores: exp(S) / sum exp(S)."""
    S = np.asarray(arguments["S"], np.float64)
    require(value.shape == S.shape, f"probabilities have shape {value.shape}, not {S.shape}")
    if not np.isfinite(S).all() or not S.size:
        return
    with np.errstate(over="ignore"):
        shifted = S - S.max(axis=-1, keepdims=True)
    if np.abs(shifted).max() > 1e30:
        return
    P = np.exp(shifted)
    P /= P.sum(axis=-1, keepdims=True)
    eps = float(np.finfo(value.dtype).eps)
    room = testing.CLOSE * eps * (np.sqrt(S.shape[-1]) + np.minimum(np.abs(S).max(axis=-1, keepdims=True), 1e4)) * P
    room = room + (1e-37 if value.dtype == np.float32 else 1e-300)
    require(bool((np.abs(value - P) <= room).all()), f"a probability is {np.abs(value - P).max():.3g} off")


def is_new(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """The array that comes back shares no memory with an argument."""
    for name, given in arguments.items():
        if isinstance(given, np.ndarray) and isinstance(value, np.ndarray):
            require(not np.may_share_memory(given, value) or not value.size, f"the result shares memory with {name}")


# ---- Steps -----------------------------------------------------------------------------------------------------


def same_bits_written(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """What is overwritten has the same bits for 1, 2, 3 and 8 threads."""
    names = [name for name in row.writes if name in arguments]
    for threads in (1, 2, 3, 8):
        found, _ = fresh(row, call, threads=threads)
        for name in names:
            require(alike(found[name], arguments[name]), f"{name} has other bits with {threads} threads")


def steps_as_naive(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """What is overwritten lies as near to the naive backend's in float64 as rounding of the arguments explains.

    How much that is, the naive step tells for arguments that are moved a little, up or down, several times.
    """
    builder = Builder()
    before = builder.arguments(call.given)
    dtype = np.asarray(_first(before["w" if "w" in before else "W"])).dtype
    eps = float(np.finfo(dtype).eps)
    if not all(_steady(name, given, dtype) for name, given in before.items()):
        builder.close()
        return
    sizes = sum(np.size(A) for A in _all(before["w" if "w" in before else "W"]))
    how = {"backend": "naive" if sizes < SLOW // 8 else "numpy"}
    exact_before = {name: _in_float64(given) for name, given in before.items()} | how
    builder.close()
    expected = _stepped(row, exact_before, None, 0.0)
    moved = [_stepped(row, exact_before, np.random.default_rng(i), 8 * eps) for i in range(8)]
    for i, name in enumerate(name for name in row.writes if name in arguments):
        givens = _all(exact_before[name])
        for found, given, right, *others in zip(
            _all(arguments[name]), givens, expected[i], *(other[i] for other in moved), strict=True
        ):
            room = 16 * np.max([np.abs(other - right) for other in others], axis=0)
            size = np.abs(right) + np.abs(given) + 4 * np.abs(right - given)
            if before.get("times", 1) > 1 or before.get("prox") is not None:  # in between W may have been larger
                lr = before.get("lr", 1.0)
                size = np.full(
                    size.shape, size.max(initial=0.0) + (float(lr) if isinstance(lr, (float, np.floating)) else 1.0)
                )
            room = room + 32 * eps * size + 1e-11 * np.abs(right - given)  # RAdam's rate is a small difference
            room = room + (1e-12 if dtype == np.float32 else 1e-24)
            off = np.abs(np.asarray(found, np.float64) - right)
            off, room = (np.where(np.isfinite(right), each, 0.0) for each in (off, room))  # Inf and NaN: as IEEE has it
            if not (off <= room).all():
                k = np.unravel_index(int(np.argmax(off - room)), off.shape)
                where = [int(j) for j in k]
                raise Broken(f"{name}{where} is {found[k]!r}, naive has {right[k]!r}; rounding explains {room[k]:.2g}")


def _all(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _first(value: Any) -> Any:
    found = _all(value)
    return found[0] if found else np.zeros(0)


def _steady(name: str, given: Any, dtype: np.dtype[Any]) -> bool:
    """Whether float32 holds the number and its square."""
    if name == "threads" or given is None or isinstance(given, (str, bool)):
        return True
    if callable(given) or hasattr(given, "shrinkage"):
        return True
    low = 1e-12 if dtype == np.float32 else 1e-100
    for A in _all(given):
        sizes = np.abs(np.asarray(A, np.float64))
        if name in ("v", "s", "u", "v_max") and (np.asarray(A) < 0).any():  # means of squares, of which roots are taken
            return False
        sizes = sizes[sizes != 0]
        if not (np.isfinite(sizes).all() and (sizes < 1e5).all() and (sizes > low).all()):
            return False
    return True


def _in_float64(given: Any) -> Any:
    if isinstance(given, (list, tuple)):
        return [_in_float64(A) for A in given]
    return np.array(given, np.float64) if isinstance(given, np.ndarray) and given.ndim else given


def _stepped(row: Row, before: dict[str, Any], rng: Any, size: float) -> list[list[Any]]:
    """What the naive backend writes, from arguments that are moved by as much as `size`, relatively."""
    given = {}
    for name, value in before.items():
        if name == "lr" and rng is not None and before.get("times", 1) > 1 and isinstance(value, (int, float)):
            given[name] = float(_moved(np.array([value], float), rng, size)[0])  # moves W between two steps
            continue
        several = isinstance(value, list)
        moved = [_moved(A, rng, size) for A in _all(value)]
        given[name] = moved if several else moved[0]
    row.function(**given)
    return [_all(given[name]) for name in row.writes if name in given]


def _moved(A: Any, rng: Any, size: float) -> Any:
    if not isinstance(A, np.ndarray) or not A.ndim:
        return A
    if rng is None:
        return np.ascontiguousarray(A.copy())
    # By different amounts, or the changes of two terms that cancel could cancel too, in every try.
    return np.ascontiguousarray(A * (1 + size * rng.uniform(0.5, 1.5, A.shape) * rng.choice([-1.0, 1.0], A.shape)))
