"""Values described in a line of Python, and how they are built, with guards around what lies in memory.

An example holds descriptions, never arrays: it prints as the code that makes it again, and is built as often as a law
needs it. Arrays lie between guard bytes, which no call may change.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from . import oddities

GUARD = 64  # bytes before and after an array
FILLER = 0xA5
SPECIAL = {"structured": [("a", "f4"), ("b", "i2")], "object": object, "longdouble": np.longdouble}


@dataclass(frozen=True)
class A:
    """An array: its numbers drawn from `seed` as `fill` says, laid out in memory as `layout` says."""

    shape: tuple[int, ...]
    dtype: str = "float64"
    fill: str = "normal"
    seed: int = 0
    layout: str = "C"

    def build(self, builder: Builder) -> Any:
        """The array; what it lies in is watched."""
        array, memory = LAYOUTS[self.layout](self.numbers(), builder)
        if memory is not None:
            builder.memory.append(memory)
        return array

    def numbers(self) -> np.ndarray[Any, Any]:
        """The values, in C order."""
        rng = np.random.default_rng(self.seed)
        dtype = np.dtype(SPECIAL.get(self.dtype, self.dtype))
        kind, _, argument = self.fill.partition(":")
        with np.errstate(all="ignore"):
            values = FILLS[kind](rng, self.shape, dtype, argument)
            if dtype.kind in "OSUV":
                return _not_numbers(values, dtype)
            return values.astype(dtype)


@dataclass(frozen=True)
class Sparse:
    """Sparse rows of the numbers of an array, of which two thirds are left out; `damage` is what is wrong with them."""

    of: A
    indices: str = "int32"
    damage: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the matrix."""
        return self.of.shape

    @property
    def dtype(self) -> str:
        """Of its numbers."""
        return self.of.dtype

    @property
    def layout(self) -> str:
        """Of its arrays."""
        return self.of.layout

    def build(self, builder: Builder) -> Any:
        """An object with the attributes of SciPy's, whose arrays are watched."""
        from fastlin import testing

        dense = self.of.numbers().copy()
        dense[np.random.default_rng(self.of.seed).random(dense.shape) < 0.66] = 0
        made = testing.sparse(dense, self.indices)
        parts = {"data": made.data.copy(), "indices": made.indices.copy(), "indptr": made.indptr.copy()}
        if self.damage:
            DAMAGES[self.damage](parts, made.shape[1])
        for name, part in parts.items():
            parts[name], memory = LAYOUTS["C"](part, builder)
            builder.memory.append(memory)
        return oddities.Rows(**parts, shape=made.shape, dense=dense)


def _first(name: str, value: Callable[[int], int]) -> Callable[[dict[str, Any], int], None]:
    """Puts a number into an array, and makes room for it if there is none."""

    def put(parts: dict[str, Any], d: int) -> None:
        if not parts["indices"].size:
            parts["indptr"][-1:] = -1
        else:
            parts[name][0] = value(d)

    return put


def _shorter(name: str) -> Callable[[dict[str, Any], int], None]:
    def cut(parts: dict[str, Any], d: int) -> None:
        parts[name] = parts[name][:-1] if parts[name].size else np.zeros(3, parts[name].dtype)

    return cut


def _beyond(parts: dict[str, Any], d: int) -> None:
    parts["indptr"][-1] = 2**31 - 1


def _falls(parts: dict[str, Any], d: int) -> None:
    parts["indptr"][0] = parts["indptr"][-1] + 1


DAMAGES = {
    "index d": _first("indices", lambda d: d),
    "index -1": _first("indices", lambda d: -1),
    "index far": _first("indices", lambda d: 2**31 - 1),
    "indptr falls": _falls,
    "indptr beyond": _beyond,
    "indptr short": _shorter("indptr"),
    "indices short": _shorter("indices"),
    "data short": _shorter("data"),
}


@dataclass(frozen=True)
class Shares:
    """An array in the memory of another argument."""

    of: str
    shape: tuple[int, ...]
    how: str = "same"  # or "reversed", or "shifted" by one number

    def build(self, builder: Builder) -> Any:
        """A view; what it lies in is watched already."""
        other = builder.built[self.of]
        if self.how == "same" or not isinstance(other, np.ndarray) or not other.size:
            return other
        if self.how == "reversed":
            return other[::-1]
        inner = other.reshape(-1)[1:]
        size = int(np.prod(self.shape))
        return inner[:size].reshape(self.shape) if inner.base is not None and inner.size >= size else other[::-1]


@dataclass(frozen=True)
class Odd:
    """One of the things of oddities.py that have no repr of their own."""

    name: str

    def build(self, builder: Builder) -> Any:
        """A new one."""
        return oddities.ODDITIES[self.name]()


@dataclass(frozen=True)
class Make:
    """An object of ours, from good arguments: Make("L1", lam=0.1)."""

    name: str
    arguments: tuple[tuple[str, Any], ...] = ()

    def build(self, builder: Builder) -> Any:
        """The object."""
        import fastlin

        found: Any = fastlin
        for part in self.name.split("."):
            found = getattr(found, part)
        return found(**{name: builder.value(value) for name, value in self.arguments})


@dataclass(frozen=True)
class Here:
    """A path in the empty folder of the example."""

    name: str

    def build(self, builder: Builder) -> Any:
        """The path."""
        return builder.folder() / self.name


@dataclass(frozen=True)
class Npz:
    """A file of arrays, or with one nameless array an .npy."""

    name: str
    arrays: tuple[tuple[str, Any], ...]

    def build(self, builder: Builder) -> Any:
        """Its path."""
        path = builder.folder() / self.name
        arrays = {name: np.asarray(builder.value(value)) for name, value in self.arrays}
        with path.open("wb") as file:
            if "" in arrays:
                np.save(file, arrays[""])
            else:
                np.savez(file, **arrays)
        return path


SPECS = (A, Sparse, Shares, Odd, Make, Here, Npz)


@dataclass
class Builder:
    """Builds the values of one call, and remembers the memory that they lie in."""

    built: dict[str, Any] = field(default_factory=dict)
    memory: list[np.ndarray[Any, Any]] = field(default_factory=list)
    place: tempfile.TemporaryDirectory[str] | None = None

    def arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Every argument, those that share memory after the others."""
        later = [name for name, value in given.items() if isinstance(value, Shares)]
        for name in [name for name in given if name not in later] + later:
            self.built[name] = self.value(given[name])
        return {name: self.built[name] for name in given}

    def value(self, spec: Any) -> Any:
        """What a description, or a container of them, stands for."""
        if hasattr(type(spec), "build"):
            return spec.build(self)
        if type(spec) in (list, tuple):
            return type(spec)(self.value(part) for part in spec)
        if type(spec) is dict:
            return {name: self.value(part) for name, part in spec.items()}
        return spec

    def folder(self) -> Path:
        """An empty folder of this example."""
        if self.place is None:
            self.place = tempfile.TemporaryDirectory(prefix="fastlin-fuzz-")
        return Path(self.place.name)

    def close(self) -> None:
        """Remove the folder."""
        self.built.clear()
        if self.place is not None:
            self.place.cleanup()


def namespace() -> dict[str, Any]:
    """The names that a printed example is made of."""
    names = {"np": np, "nan": float("nan"), "inf": float("inf"), "Fraction": Fraction, "Decimal": Decimal}
    return names | {spec.__name__: spec for spec in SPECS}


# ---- Numbers -------------------------------------------------------------------------------------------------


def _extreme(rng: Any, shape: Any, dtype: np.dtype[Any], _: str) -> Any:
    """Zeros, infinities, NaN, the smallest and the largest; of integers the limits."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return rng.choice(np.array([limits.min, limits.max, 0, 1], dtype), shape)
    kind = dtype if dtype.kind == "f" and dtype.itemsize <= 8 else np.dtype("f8")
    info = np.finfo(kind)
    some = [
        0.0,
        -0.0,
        np.inf,
        -np.inf,
        np.nan,
        info.tiny,
        float(info.smallest_subnormal),
        info.max,
        info.min,
        1.0,
        -2.0,
    ]
    return rng.choice(np.array(some, kind), shape)


def _times(rng: Any, shape: Any, dtype: np.dtype[Any], factor: str) -> Any:
    """Normal numbers, multiplied; not negative where the dtype has no such."""
    found = float(factor) * rng.standard_normal(shape)
    return np.abs(found) if dtype.kind == "u" else found


def _one(rng: Any, shape: Any, dtype: np.dtype[Any], argument: str) -> Any:
    """Normal numbers, or labels, among which there is one of these: one:nan, one:5:-1 (of labels below 5)."""
    *labels, value = argument.split(":")
    found = rng.integers(0, int(labels[0]), shape) if labels else rng.standard_normal(shape)
    if dtype.kind == "f":
        found = found.astype(dtype)
    if found.size:
        flat = found.reshape(-1)
        flat[rng.integers(found.size)] = float(value) if found.dtype.kind == "f" else int(value)
    return found


FILLS: dict[str, Callable[..., Any]] = {
    "normal": lambda rng, shape, dtype, _: (
        rng.integers(0, 100, shape) if dtype.kind in "iu" else rng.standard_normal(shape)
    ),
    "zeros": lambda rng, shape, dtype, _: np.zeros(shape),
    "ones": lambda rng, shape, dtype, _: np.ones(shape),
    "integers": lambda rng, shape, dtype, _: rng.integers(0 if dtype.kind == "u" else -3, 4, shape),
    "labels": lambda rng, shape, dtype, c: rng.integers(0, max(int(c), 1), shape),
    "unit": lambda rng, shape, dtype, _: rng.integers(0, 9, shape) / 8,
    "positive": lambda rng, shape, dtype, _: rng.uniform(0.5, 1.5, shape),
    "times": _times,
    "extreme": _extreme,
    "one": _one,
}


def _not_numbers(values: Any, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    found = np.zeros(values.shape, dtype)
    if dtype.kind == "O":
        found[...] = values.astype(object)
    elif dtype.kind in "SU":
        found[...] = values.astype(str).astype(dtype)
    return found


# ---- Layouts: (numbers, builder) -> the array, and the bytes that it lies among -------------------------------------


def guarded(shape: tuple[int, ...], dtype: np.dtype[Any], off: int = 0) -> tuple[Any, Any]:
    """Memory of this shape at a cache line, or `off` bytes behind one, with guards before and after it."""
    if dtype.kind == "O":
        return np.zeros(shape, dtype), None
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.full(size + 3 * GUARD + off, FILLER, np.uint8)
    start = GUARD + -memory.ctypes.data % GUARD + off
    return memory[start : start + size].view(dtype).reshape(shape), memory


def _laid(whole: Callable[[Any], tuple[int, ...]], cut: Callable[[Any, Any], Any], off: int = 0) -> Callable[..., Any]:
    """A layout: a part of a larger array, whose shape is whole(shape) and of which cut(larger, shape) is taken."""

    def lay(values: Any, builder: Builder) -> tuple[Any, Any]:
        larger, memory = guarded(whole(values.shape), values.dtype, off)
        found = cut(larger, values.shape)
        found[...] = values
        return found, memory

    return lay


def _every_second(larger: Any, shape: Any) -> Any:
    return larger[(..., *(slice(1, 1 + 2 * size, 2) for size in shape))]


def _reversed(larger: Any, shape: Any) -> Any:
    return larger[(..., *(slice(None, None, -1) for _ in shape))]


def _zero_stride(axis: int) -> Callable[..., Any]:
    """All rows, or columns, are one and the same; writeable, as np.broadcast_to's result is not."""

    def lay(values: Any, builder: Builder) -> tuple[Any, Any]:
        if not values.ndim or not values.size:
            return LAYOUTS["C"](values, builder)
        first = values.take([0], axis=axis if axis < values.ndim else 0)
        found, memory = guarded(first.shape, values.dtype)
        found[...] = first
        strides = list(found.strides)
        strides[axis if axis < values.ndim else 0] = 0
        return np.lib.stride_tricks.as_strided(found, values.shape, strides), memory

    return lay


def _read_only(values: Any, builder: Builder) -> tuple[Any, Any]:
    found, memory = LAYOUTS["C"](values, builder)
    found.flags.writeable = False
    return found, memory


def _memmap(values: Any, builder: Builder) -> tuple[Any, Any]:
    if values.dtype.kind == "O" or not values.size:
        return LAYOUTS["C"](values, builder)
    path = builder.folder() / f"memmap-{len(builder.memory)}"
    path.write_bytes(values.tobytes())
    found = np.memmap(path, values.dtype, "r+", shape=values.shape)
    return found, np.frombuffer(found, np.uint8) if found.flags.c_contiguous else None


def _as(make: Callable[[Any], Any]) -> Callable[..., Any]:
    """Another type of object with these numbers."""

    def lay(values: Any, builder: Builder) -> tuple[Any, Any]:
        import warnings

        found, memory = LAYOUTS["C"](values, builder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's own, about the type
            return make(found), memory

    return lay


class Subclass(np.ndarray[Any, Any]):
    """An array of somebody's own type."""


def _matrix(found: Any) -> Any:
    return np.asmatrix(found) if found.ndim <= 2 else found


LAYOUTS: dict[str, Callable[..., Any]] = {
    "C": _laid(lambda shape: shape, lambda larger, shape: larger),
    "F": _laid(lambda shape: shape[::-1], lambda larger, shape: larger.T),
    "strided": _laid(lambda shape: tuple(2 * size + 1 for size in shape), _every_second),
    "padded": _laid(
        lambda shape: (*shape[:-1], shape[-1] + 3) if shape else (),
        lambda larger, shape: larger[..., : shape[-1]] if shape else larger,
    ),
    "reversed": _laid(lambda shape: shape, _reversed),
    "rows reversed": _laid(lambda shape: shape, lambda larger, shape: larger[::-1] if shape else larger),
    "unaligned": _laid(lambda shape: shape, lambda larger, shape: larger, off=1),
    "unaligned F": _laid(lambda shape: shape[::-1], lambda larger, shape: larger.T, off=3),
    "off a cache line": _laid(lambda shape: shape, lambda larger, shape: larger, off=16),
    "one row": _zero_stride(0),
    "one column": _zero_stride(1),
    "read-only": _read_only,
    "memmap": _memmap,
    "list": _as(lambda found: found.tolist()),
    "matrix": _as(_matrix),
    "masked": _as(np.ma.MaskedArray),
    "subclass": _as(lambda found: found.view(Subclass)),
}
PLAIN = ("C", "F", "strided", "padded", "reversed", "rows reversed", "off a cache line")  # anybody may pass these
