"""Checks of states, which may come from anywhere: a file, a dict of somebody else's.

`Entries` is a state of `train` or `minimize` that is to go on: whoever reads it asks for each name, says of what kind
it must be, and refuses what it did not ask for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastlin._check import Array, shown

ARGUMENT = "argument."  # before the name of each argument that a resumed run must share
HISTORY = "history."


def entry(owner: str, state: Mapping[str, Any], key: str) -> Any:
    """state[key], or an error that names what is missing."""
    if key not in state:
        raise ValueError(f"the state has no {key!r}, which {owner} needs; it holds {', '.join(map(repr, state))}")
    return state[key]


def scalar(value: Any) -> Any:
    """A number or string that NumPy holds as Python's: np.load gives an array of no dimensions for each."""
    return value.item() if isinstance(value, (np.ndarray, np.generic)) and value.ndim == 0 else value


def count(name: str, value: Any, most: int) -> int:
    """An int in [0, most] of a state."""
    found = scalar(value)
    message = f"{name} must be an integer of at least 0 and at most {most}; found {shown(found)}"
    if type(found) is not int:
        raise TypeError(message)
    if not 0 <= found <= most:
        raise ValueError(message)
    return found


class Entries:
    """A state, and which of its names have been asked for."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        if not isinstance(given, Mapping):
            raise TypeError(f"resume must be a state; found {type(given).__name__}")
        self.values = dict(given)
        self.asked: set[str] = {"format"}
        for name in self.values:
            if not isinstance(name, str):
                raise TypeError(f"resume: the names in a state are strings; found {shown(name)}")

    def expect_format(self, expected: str, what: str) -> None:
        """The state says of itself that it is such a one."""
        found = scalar(self.values.get("format"))
        if not isinstance(found, str) or found != expected:
            raise ValueError(f"resume is not {what}: its format is {shown(found)}, not {expected!r}")

    def get(self, name: str) -> Any:
        self.asked.add(name)
        if name not in self.values:
            raise ValueError(f"resume: the state has no {name!r}")
        return self.values[name]

    def part(self, prefix: str) -> dict[str, Any]:
        """All names that begin like this, without the beginning."""
        names = [name for name in self.values if name.startswith(prefix)]
        self.asked.update(names)
        return {name.removeprefix(prefix): self.values[name] for name in names}

    def count(self, name: str, most: int) -> int:
        return count(f"resume: the state's {name}", self.get(name), most)

    def number(self, name: str) -> float:
        value = scalar(self.get(name))
        if type(value) is not float:
            raise TypeError(f"resume: the state's {name} must be a float; found {shown(value)}")
        return value

    def length(self, name: str, most: int) -> int:
        """Of an array, in its first dimension."""
        value = self.get(name)
        found = value.shape[0] if isinstance(value, np.ndarray) and value.ndim else -1
        if not 0 <= found <= most:
            raise ValueError(f"resume: the state's {name} must be at most {most} rows; found {shown(value)}")
        return found

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """A copy. Kernels go by the shape of W, and would read and write outside of a smaller array."""
        value, named = self.get(name), f"resume: the state's {name}"
        if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray):
            raise TypeError(f"{named} must be an array; found {shown(value)}")
        if value.shape != shape:
            raise ValueError(f"{named} has shape {value.shape}; that of this run is {shape}")
        if value.dtype.newbyteorder("=") != np.dtype(dtype):
            raise ValueError(f"{named} is {value.dtype}; that of this run is {np.dtype(dtype)}")
        return np.array(value, dtype, order="F")

    def expect(self, name: str, expected: float) -> None:
        """A number that follows from the history."""
        value = scalar(self.get(name))
        if type(value) is not type(expected) or value != expected:
            raise ValueError(f"resume: the state's {name} is {shown(value)}; by its history it is {expected}")

    def refuse_others(self) -> None:
        others = [name for name in self.values if name not in self.asked]
        if others:
            raise ValueError(f"resume: the state has {shown(others[0])}, which is no part of this run's state")


def check_arguments(before: dict[str, Any], now: dict[str, Any]) -> None:
    other = [name for name in before | now if not _same(before.get(name), now.get(name))]
    if other:
        found = "; ".join(f"{name}: {_words(before.get(name))} there, {_words(now.get(name))} here" for name in other)
        raise ValueError(
            f"resume: the state is of a run with other arguments. {found[:2000]}. Pass the same ones, or start a new "
            f"run from its weights with W=state['W']"
        )


def _same(before: Any, now: Any) -> bool:
    value = scalar(before)
    return isinstance(value, (int, float, str, type(None))) and bool(value == now)


def _words(value: Any) -> str:
    found = scalar(value)
    return found if isinstance(found, str) else shown(found)
