"""Gradients by differences, to check the analytic ones against (lecture 3: "always use the analytic gradient,
but check it with the numerical one")."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlin import _check
from fastlin._check import Array


def numerical_gradient(f: Callable[[Array], Any], W: ArrayLike, h: float = 1e-5, method: str = "central") -> Array:
    """df/dW by differences, for every entry e of W in turn.

    Parameters
    ----------
    f : W -> loss, or W -> (loss, anything), such as `lambda W: fl.svm_loss(W, X, y)`.
    W : float32 or float64 of any shape, not changed. Use float64: float32 leaves the difference only a few digits.
    h : the step, finite and not zero; the quotient has the step that W's dtype can make of it.
    method : "central", (f(W + h e) - f(W - h e)) / 2h: 2 * W.size calls of f, an error of O(h^2).
        "forward", (f(W + h e) - f(W)) / h: W.size + 1 calls, an error of O(h); `eval_numerical_gradient` of lecture 3.

    Returns
    -------
    A new array of W's shape and dtype.

    Raises
    ------
    ValueError, TypeError : for bad input, naming the argument; for an h that changes an entry of W by nothing; and for
        an f that returns no real number.

    >>> numerical_gradient(lambda W: (W**2).sum(), np.array([1.0, -3.0])).round(6)
    array([ 2., -6.])
    """
    _check.function("f", f, "of W")
    h = _check.step_size("h", h)
    _check.choice("method", method, ("central", "forward"))
    W = own(W)
    _check.held("h", h, W.dtype)
    f_here = _value(f(W)) if method == "forward" else None
    slopes = [_slope(f, W, i, h, f_here) for i in range(W.size)]
    return np.array(slopes, W.dtype).reshape(W.shape)


def own(W: ArrayLike, dtype: type[np.float64] | None = None) -> Array:
    """A copy of W, of any shape, in its own dtype or this one."""
    found = _check.array("W", W)
    if found.dtype not in (np.float32, np.float64):
        raise TypeError(f"W has dtype {found.dtype}; expected float32 or float64: np.asarray(W, np.float64)")
    return np.array(found, dtype, order="C")


def _slope(f: Callable[[Array], Any], W: Array, i: int, h: float, f_here: float | None) -> float:
    """The slope of f along entry i of W, forward from f(W) where that is given; W is restored."""
    entries = W.reshape(-1)
    here = entries[i]
    entries[i] = here + h
    above, f_above = float(entries[i]), _value(f(W))
    if f_here is None:
        entries[i] = here - h
        below, f_below = float(entries[i]), _value(f(W))
    else:
        below, f_below = float(here), f_here
    entries[i] = here
    if above == below:
        raise ValueError(f"h is {h!r}, too small to change entry {i} of W, which is {here!r} in {W.dtype}; pass more")
    return (f_above - f_below) / (above - below)


def _value(result: Any) -> float:
    return _check.real("f(W)", result[0] if isinstance(result, tuple) else result)


@dataclass(frozen=True)
class GradientCheck:
    """The result of `check_gradient`. It is true in a condition if every entry agrees.

    ok : whether every entry that was compared agrees.
    max_error : the largest relative error, as `rtol` has it.
    index : where in W it is; () where there was nothing to compare.
    analytic, numerical : the two gradients there.
    """

    ok: bool
    max_error: float
    index: tuple[int, ...]
    analytic: float
    numerical: float

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        verdict = "agrees" if self.ok else "DISAGREES"
        return (
            f"gradient {verdict}: largest relative error {self.max_error:.2e} at {self.index}, "
            f"analytic {self.analytic:.6g}, numerical {self.numerical:.6g}"
        )


def check_gradient(
    f: Callable[[Array], tuple[float, Array]],
    W: ArrayLike,
    *,
    h: float = 1e-5,
    rtol: float = 1e-5,
    samples: int | None = None,
    seed: int = 0,
) -> GradientCheck:
    """Compare the gradient that f returns with central differences (f(W + h e) - f(W - h e)) / 2h.

    Parameters
    ----------
    f : W -> (loss, dW), such as `lambda W: fl.softmax_loss(W, X, y, 0.1)`.
    W, h : as in `numerical_gradient`.
    rtol : in [0, inf), the largest relative error |a - n| / max(|a|, |n|, s) that agrees. s, a thousandth of the
        largest entry, keeps entries that are only rounding errors from failing the check.
    samples : compare so many entries, drawn at random with `seed`, or all if there are no more: two calls of f each.
        None compares all.

    Returns
    -------
    GradientCheck, which is true if all agree; printed it names the worst entry.

    Raises
    ------
    ValueError, TypeError : for bad input, naming the argument, and for a gradient that is not of W's shape.

    Notes
    -----
    At a kink of the hinge (a margin met exactly) the difference quotient is no gradient; move W a little.
    Lecture 3: "always use the analytic gradient, but check it with the numerical one".

    >>> bool(check_gradient(lambda W: ((W**2).sum(), 2 * W), np.array([1.0, -3.0])))
    True
    """
    _check.function("f", f, "of W that returns (loss, dW)")
    rtol, h = _check.number("rtol", rtol, "[0, inf)"), _check.step_size("h", h)
    W = own(W)
    _check.held("h", h, W.dtype)
    entries = _entries(W.size, samples, seed)
    gradient = gradient_of(f, W)
    if not entries.size:
        return GradientCheck(True, 0.0, (), 0.0, 0.0)
    numerical = np.array([_slope(f, W, int(i), h, None) for i in entries])
    analytic = gradient.reshape(-1)[entries]
    size = np.maximum(np.abs(analytic), np.abs(numerical))
    floor = 1e-3 * max(size.max(), np.abs(gradient).max()) or 1.0
    error = np.abs(analytic - numerical) / np.maximum(size, floor)
    worst = int(np.argmax(error))
    index = tuple(int(i) for i in np.unravel_index(int(entries[worst]), W.shape))
    largest = float(error[worst])
    return GradientCheck(largest <= rtol, largest, index, float(analytic[worst]), float(numerical[worst]))


def _entries(size: int, samples: int | None, seed: int) -> Array:
    """The numbers of the entries to compare."""
    rng = np.random.default_rng(_check.count("seed", seed, 0))
    if samples is None or _check.count("samples", samples) >= size:
        return np.arange(size)
    return np.sort(rng.choice(size, samples, replace=False))


def gradient_of(f: Callable[[Array], tuple[float, Array]], W: Array) -> Array:
    """The gradient that f returns at W, in float64."""
    found = f(W.copy())
    if not isinstance(found, (tuple, list)) or len(found) != 2:
        raise TypeError(f"f must return (loss, dW); found {_check.kind(found)}")
    dW = _check.array("the gradient that f returns", found[1])
    if dW.dtype.kind not in "iuf":
        raise TypeError(f"the gradient that f returns must hold real numbers; found dtype {dW.dtype}")
    if dW.shape != W.shape:
        raise ValueError(f"the gradient that f returns has shape {dW.shape}; expected that of W, {W.shape}")
    return dW.astype(np.float64)
