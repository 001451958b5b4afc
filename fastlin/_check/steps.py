"""Validation for optimizer steps: W and dW, or the flat arrays of a step as a function."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from fastlin._check import Array, apart, array, held, real_array, writeable


def pairs(W: Any, dW: Any) -> list[tuple[Array, Array]]:
    """W with its dW, or the members of two lists of arrays: alike, W writeable, and no W shares memory with another."""
    lists = isinstance(W, (list, tuple))
    if lists != isinstance(dW, (list, tuple)):
        raise TypeError(f"W and dW must be arrays, or both lists; found {type(W).__name__} and {type(dW).__name__}")
    if lists and len(W) != len(dW):
        raise ValueError(f"W has {len(W)} arrays but dW has {len(dW)}; each W needs its dW")
    if lists and not W:
        raise ValueError("W has no arrays; there must be at least one")
    found = []
    for i, (A, B) in enumerate(zip(W, dW, strict=True) if lists else [(W, dW)]):
        w, g = (f"W[{i}]", f"dW[{i}]") if lists else ("W", "dW")
        found.append((real_array(w, A), real_array(g, B)))
        if (A.shape, A.dtype) != (B.shape, B.dtype):
            raise ValueError(f"{w} and {g} must be alike; found {w} {A.shape} {A.dtype} and {g} {B.shape} {B.dtype}")
        writeable(w, A)
    for i, (A, _) in enumerate(found):
        name = f"W[{i}]" if lists else "W"
        apart(name, A, **{f"W[{i + j + 1}]": B for j, (B, _) in enumerate(found[i + 1 :])})
        apart(name, A, **{f"dW[{j}]" if lists else "dW": B for j, (_, B) in enumerate(found)})
    return found


def options(W: Any, bias: bool, rate: float) -> None:
    """W, an array or a list of them, has a last row if that is b, and can hold the rate."""
    for A in W if isinstance(W, (list, tuple)) else [W]:
        shape = array("W", A).shape
        if bias and (not shape or shape[0] == 0):
            raise ValueError(f"with bias=True the last row of W is b, but W has shape {shape}, without rows")
        if hasattr(A, "dtype"):
            held("lr", rate, A.dtype)


def arrays(given: Mapping[str, Any], writes: Collection[str]) -> tuple[Array, ...]:
    """w, g and the state as flat views: alike, contiguous in one order, what is written apart from the rest."""
    found = {name: real_array(name, A) for name, A in given.items()}
    w = found["w"]
    fortran = w.flags.f_contiguous and not w.flags.c_contiguous
    for name, A in found.items():
        if (A.shape, A.dtype) != (w.shape, w.dtype):
            raise ValueError(f"w and {name} must be alike; found w {w.shape} {w.dtype} and {name} {A.shape} {A.dtype}")
        if not (A.flags.f_contiguous if fortran else A.flags.c_contiguous) or not A.flags.aligned:
            raise ValueError(f"{name} is not contiguous in w's order; copy the arrays, or use an optimizer object")
        if name in writes:
            writeable(name, A)
            apart(name, A, **{other: B for other, B in found.items() if other != name})
    return tuple((A.T if fortran else A).reshape(-1) for A in found.values())
