"""Things that somebody may pass by mistake, or to see what happens, and that have no repr to write down."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np


class Rows:
    """Sparse rows of somebody who is not SciPy."""

    def __init__(self, data: Any, indices: Any, indptr: Any, shape: Any, dense: Any) -> None:
        self.data, self.indices, self.indptr, self.shape, self._dense = data, indices, indptr, shape, dense

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        """What they stand for: the laws ask."""
        return self._dense.astype(self._dense.dtype if dtype is None else dtype)


class _Number:
    """Something with the methods of a number, which return what they are told to."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __float__(self) -> Any:
        return self.value

    def __index__(self) -> Any:
        return self.value


class _Array:
    """Something that says that it is an array, and gives something else."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return "no array"


class _Penalty:
    """A penalty whose methods return what they are told to."""

    def __init__(self, value: Any, gradient: Callable[[Any], Any]) -> None:
        self._value, self._gradient = value, gradient

    def value(self, W: Any) -> Any:
        return self._value

    def gradient(self, W: Any) -> Any:
        return self._gradient(W)


class _Proximal:
    """A penalty with a proximal step, which is what it is told to be."""

    def __init__(self, found: Any) -> None:
        self._found = found

    def shrinkage(self, step: float) -> Any:
        return self._found


def _itself() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


def _nested() -> list[Any]:
    found: list[Any] = [1.0]
    for _ in range(100):
        found = [found]
    return found


def _sparse() -> Any:
    from scipy import sparse

    return sparse.coo_array(np.eye(3))  # rows in CSR form are good


THINGS: dict[str, Callable[[], Any]] = {
    "object": object,
    "class": lambda: float,
    "module": lambda: math,
    "function": lambda: len,
    "generator": lambda: (i for i in range(3)),
    "ellipsis": lambda: ...,
    "slice": lambda: slice(3),
    "float is text": lambda: _Number("1.0"),
    "index is text": lambda: _Number("1"),
    "array is text": _Array,
    "memoryview": lambda: memoryview(b"abc"),
    "list of itself": _itself,
    "nested": _nested,
    "ragged": lambda: [[1.0, 2.0], [3.0]],
    "sparse": _sparse,
    "empty dict": dict,
    "set": lambda: {1, 2},
}
RATES: dict[str, Callable[[], Any]] = {  # learning rates that are called with the step
    "rate halves": lambda: lambda t: 0.1 / (1 + t),
    "rate nan": lambda: lambda t: math.nan,
    "rate inf": lambda: lambda t: math.inf,
    "rate negative": lambda: lambda t: -0.1,
    "rate text": lambda: lambda t: "0.1",
    "rate None": lambda: lambda t: None,
    "rate array": lambda: lambda t: np.array([0.1]),
    "rate huge": lambda: lambda t: 10**400,
    "rate nan later": lambda: lambda t: 0.1 if t < 2 else math.nan,
}
PENALTIES: dict[str, Callable[[], Any]] = {
    "penalty none": lambda: _Penalty(0.25, np.zeros_like),
    "penalty wrong shape": lambda: _Penalty(0.25, lambda W: np.zeros((len(W) + 1, 2))),
    "penalty wrong dimensions": lambda: _Penalty(0.25, lambda W: np.zeros((2, *W.shape))),
    "penalty text": lambda: _Penalty("much", np.zeros_like),
    "penalty gradient text": lambda: _Penalty(0.25, lambda W: "steep"),
    "penalty gradient None": lambda: _Penalty(0.25, lambda W: None),
    "penalty value None": lambda: _Penalty(None, np.zeros_like),
    "penalty value array": lambda: _Penalty(np.ones(2), np.zeros_like),
    "penalty complex": lambda: _Penalty(0.25, lambda W: W + 1j),
    "penalty not callable": lambda: type("Broken", (), {"value": 1.0, "gradient": 2.0})(),
}
PROXES: dict[str, Callable[[], Any]] = {
    "prox text": lambda: _Proximal("ab"),
    "prox one": lambda: _Proximal((0.5,)),
    "prox None": lambda: _Proximal(None),
    "prox nan": lambda: _Proximal((math.nan, 1.0)),
    "prox huge": lambda: _Proximal((10**400, 1.0)),
    "prox array": lambda: _Proximal((np.ones(3), 1.0)),
}
FUNCTIONS: dict[str, Callable[[], Any]] = {  # of W: a loss and its gradient
    "quadratic": lambda: lambda W: (float((np.asarray(W) ** 2).sum()), 2 * np.asarray(W)),
    "f None": lambda: lambda W: None,
    "f number": lambda: lambda W: 1.0,
    "f wrong shape": lambda: lambda W: (1.0, np.zeros(W.size + 1)),
    "f text": lambda: lambda W: ("much", "steep"),
    "f nan": lambda: lambda W: (math.nan, np.full(W.shape, np.nan)),
    "f constant": lambda: lambda W: (1.0, np.zeros(W.shape)),
}


class _Steps:
    """An optimizer of somebody's own."""

    def step(self, W: Any, dW: Any) -> None:
        W -= 0.1 * dW


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "own optimizer": _Steps,
    "optimizer class": lambda: _Steps,
    "optimizer without step": lambda: type("Nothing", (), {})(),
    "optimizer step no function": lambda: type("Nothing", (), {"step": 3})(),
}
CALLBACKS: dict[str, Callable[[], Any]] = {"goes on": lambda: lambda epoch, result: None}
ODDITIES = THINGS | RATES | PENALTIES | PROXES | FUNCTIONS | OPTIMIZERS | CALLBACKS
