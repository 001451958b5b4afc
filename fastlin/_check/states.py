"""Checks of states, which may come from anywhere: a file, a dict of somebody else's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fastlin._check import shown


def state_entry(owner: str, state: Mapping[str, Any], key: str) -> Any:
    """state[key], or an error that names what is missing."""
    if key not in state:
        raise ValueError(f"the state has no {key!r}, which {owner} needs; it holds {', '.join(map(repr, state))}")
    return state[key]


def scalar(value: Any) -> Any:
    """A number or string that NumPy holds as Python's: np.load gives an array of no dimensions for each."""
    return value.item() if isinstance(value, (np.ndarray, np.generic)) and value.ndim == 0 else value


def state_count(name: str, value: Any, most: int) -> int:
    """An int in [0, most] of a state."""
    found = scalar(value)
    message = f"{name} must be an integer of at least 0 and at most {most}; found {shown(found)}"
    if type(found) is not int:
        raise TypeError(message)
    if not 0 <= found <= most:
        raise ValueError(message)
    return found
