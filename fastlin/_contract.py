"""What kernels are promised, compared with what they get: the second wall, behind the checks of arguments.

The table (fastlin/ops.py) describes every argument of every kernel. `guard` puts the comparison before one. It takes
time in proportion to the number of arguments: values, labels among them, were checked before. A mismatch is a defect of
fastlin and not of its caller; it is found here because compiled code would read or write outside an array.

A description is one of

    TYPE (SIZE, ...) LAYOUT   an array: "real (c, d+1) rows". TYPE is NumPy's name of a dtype, or `real`: float32 or
                              float64, one of them in a call. A SIZE is a sum of products of numbers and named sizes;
                              0|2 is either. LAYOUT is
                                  contiguous   in C order
                                  rows         a row's numbers side by side, one row after the other, perhaps apart
                                  unit         a row's numbers side by side, rows in any place
                                  strided      any strides
                                  like NAME    the strides of that array
                              All are native and aligned, those that are written writeable and apart from all others.
    size                      an int from 0 on, which is a named size itself
    K numbers                 a tuple of K numbers
    K arrays ARRAY            a tuple of K such arrays
    any                       a number, a flag or a name: the kernel converts it
    {NAME: DESCRIPTION, ...}  a record

A size gets its value at the first place where it stands alone (or with a number added). Besides, there are conditions,
"start + rows <= n", and sizes that follow from others, "blocks = batch_size + block - 1 // block".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from typing import Any, NamedTuple

import numpy as np

try:
    from fastlin.kernels.contract import Guard
except ImportError:  # an installation without a C compiler
    Guard = None

Form = str | Mapping[str, Any]
Sum = tuple[tuple[int, int, int], ...]  # terms: factor, size, size; a size is its number, and number 0 is 1

SIZE_LIMIT = 1 << 48  # products of two sizes that occur stay far below 2^63
ARRAY = re.compile(r"(\w+) \((.*?)\) (contiguous|rows|unit|strided|like (\w+))")


class Leaf(NamedTuple):
    """An argument, or a member of one."""

    name: str
    kind: str  # "array", "size", "numbers" or "any"
    length: int = 0  # of the tuple of numbers
    dtype: str = ""
    shape: tuple[tuple[Sum, ...], ...] = ()  # of each axis, its alternatives
    layout: str = ""
    like: int = -1  # the leaf whose strides it has
    written: bool = False


class Group(NamedTuple):
    """A record, or a tuple of arrays: its members are numbers of leaves, and groups."""

    name: str
    members: tuple[Any, ...]


class ContractError(RuntimeError):
    """A kernel was given what it was not promised: an internal error of fastlin."""


class Contract:
    """The description of a kernel's arguments, taken apart."""

    def __init__(
        self, kernel: str, args: Mapping[str, Form], writes: Collection[str], where: Sequence[str] = ()
    ) -> None:
        self.kernel = kernel
        self.leaves: list[Leaf] = []
        self.sizes: dict[str, int] = {"1": 0}  # and their numbers
        self.bound: list[tuple[int, int, int, int]] = []  # size, leaf, axis, and what is added there
        self.tree = Group("its arguments", tuple(self._read(name, form, name in writes) for name, form in args.items()))
        self.derived: list[tuple[int, Sum, int]] = []  # size, numerator, the size that divides it
        self.conditions: list[tuple[str, Sum]] = []  # and sums that are not negative
        for text in where:
            self._read_condition(text)
        self._check_sizes()

    # ---- Reading descriptions ----

    def _read(self, name: str, form: Form, written: bool) -> int | Group:
        if not isinstance(form, str):
            return Group(name, tuple(self._read(f"{name}.{key}", inner, written) for key, inner in form.items()))
        if form in ("size", "any"):
            return self._add(Leaf(name, form))
        count, _, what = form.partition(" ")
        if what == "numbers":
            return self._add(Leaf(name, what, int(count)))
        if what.startswith("arrays "):
            each = what.removeprefix("arrays ")
            return Group(name, tuple(self._read(f"{name}[{i}]", each, written) for i in range(int(count))))
        match = ARRAY.fullmatch(form)
        if match is None:
            raise ValueError(f"{self.kernel}: {form!r} describes no argument")
        dtype, shape, layout, other = match.groups()
        axes = tuple(tuple(self._sum(choice) for choice in axis.split("|")) for axis in shape.split(",") if axis)
        like = -1 if other is None else [leaf.name.rpartition(".")[2] for leaf in self.leaves].index(other)
        return self._add(Leaf(name, "array", 0, dtype, axes, layout.split()[0], like, written))

    def _add(self, leaf: Leaf) -> int:
        """The leaf's number. Sizes that have no value yet get theirs from it."""
        number = len(self.leaves)
        self.leaves.append(leaf)
        if leaf.kind == "size":
            self.bound.append((self._size(leaf.name.rpartition(".")[2]), number, -1, 0))
        for axis, choices in enumerate(leaf.shape):
            named = [term for term in choices[0] if term[1]]
            if len(choices) == len(named) == 1 and named[0][0] == 1 and not named[0][2]:
                size = named[0][1]
                if all(size != known for known, *_ in self.bound):
                    self.bound.append((size, number, axis, sum(term[0] for term in choices[0] if not term[1])))
        return number

    def _size(self, name: str) -> int:
        return self.sizes.setdefault(name, len(self.sizes))

    def _sum(self, text: str) -> Sum:
        """Of "k*c+3": the terms (1, k, c) and (3, 1, 1)."""
        terms = []
        for sign, product in re.findall(r"([+-]?)\s*([\w*]+)", text):
            factor, names = -1 if sign == "-" else 1, []
            for part in product.split("*"):
                if part.isdigit():
                    factor *= int(part)
                else:
                    names.append(self._size(part))
            first, second = (*names, 0, 0)[:2]
            terms.append((factor, first, second))
        return tuple(terms)

    def _read_condition(self, text: str) -> None:
        if " <= " in text:
            low, high = text.split(" <= ")
            less = tuple((-factor, first, second) for factor, first, second in self._sum(low))
            self.conditions.append((text, (*self._sum(high), *less)))
            return
        name, quotient = text.split(" = ")
        numerator, denominator = quotient.split(" // ")
        self.derived.append((self._size(name), self._sum(numerator), self._size(denominator)))

    def _check_sizes(self) -> None:
        """Every size gets a value."""
        known = {0, *(size for size, *_ in self.bound), *(size for size, *_ in self.derived)}
        unknown = [name for name, size in self.sizes.items() if size not in known]
        if unknown:
            raise ValueError(f"{self.kernel}: nothing says how large {', '.join(unknown)} is")

    # ---- Comparing ----

    def check(self, args: Sequence[Any]) -> None:
        """Raise ContractError if the arguments are not as described."""
        found: list[Any] = [None] * len(self.leaves)
        self._gather(self.tree, args, found)
        real = next(
            (np.asarray(A).dtype for leaf, A in zip(self.leaves, found, strict=True) if leaf.dtype == "real"), None
        )
        for leaf, value in zip(self.leaves, found, strict=True):
            self._check_kind(leaf, value, real)
        sizes = self._measure(found)
        for leaf, value in zip(self.leaves, found, strict=True):
            if leaf.kind == "array":
                self._check_array(leaf, value, found, sizes)
        for text, total in self.conditions:
            if value_of(total, sizes) < 0:
                raise self._error("the sizes", f"{text} does not hold for {self._named(sizes)}")

    def _error(self, name: str, why: str) -> ContractError:
        return ContractError(
            f"internal error of fastlin in the kernel {self.kernel}: {name}: {why}. Nothing was computed. "
            f"Please report this, with the call that led to it"
        )

    def _named(self, sizes: Sequence[int]) -> str:
        return ", ".join(f"{name} = {sizes[i]}" for name, i in self.sizes.items() if i)

    def _gather(self, group: Group, given: Any, found: list[Any]) -> None:
        """The leaves' values, from nested tuples."""
        if not isinstance(given, tuple) or len(given) != len(group.members):
            size = f"{len(given)} members" if isinstance(given, tuple) else type(given).__name__
            raise self._error(group.name, f"found {size}; expected a tuple of {len(group.members)}")
        for member, value in zip(group.members, given, strict=True):
            if isinstance(member, Group):
                self._gather(member, value, found)
            else:
                found[member] = value

    def _check_kind(self, leaf: Leaf, value: Any, real: np.dtype[Any] | None) -> None:
        """Its type, its number of axes and its flags."""
        if leaf.kind == "size" and not (type(value) is int and 0 <= value < SIZE_LIMIT):
            raise self._error(leaf.name, f"found {value!r}; expected an int from 0 on, below 2^48")
        if leaf.kind == "numbers" and not (isinstance(value, tuple) and len(value) == leaf.length):
            raise self._error(leaf.name, f"found {value!r}; expected a tuple of {leaf.length} numbers")
        if leaf.kind != "array":
            return
        if not isinstance(value, np.ndarray):
            raise self._error(leaf.name, f"found {type(value).__name__}; expected an array")
        expected = real if leaf.dtype == "real" else np.dtype(leaf.dtype)
        if value.dtype != expected or (leaf.dtype == "real" and value.dtype.kind != "f") or value.itemsize > 8:
            raise self._error(leaf.name, f"found dtype {value.dtype}; expected {leaf.dtype}, here {expected}")
        if value.ndim != len(leaf.shape):
            raise self._error(leaf.name, f"found shape {value.shape}; expected {len(leaf.shape)} axes")
        if not (value.flags.aligned and value.dtype.isnative):
            raise self._error(leaf.name, "it is not aligned and native")
        if leaf.written and not value.flags.writeable:
            raise self._error(leaf.name, "it is read-only, and the kernel writes to it")

    def _measure(self, found: Sequence[Any]) -> list[int]:
        """The value of every size."""
        sizes = [1, *[0] * (len(self.sizes) - 1)]
        for size, leaf, axis, added in self.bound:
            sizes[size] = (found[leaf] if axis < 0 else found[leaf].shape[axis]) - added
        for size, numerator, denominator in self.derived:
            sizes[size] = value_of(numerator, sizes) // sizes[denominator] if sizes[denominator] > 0 else -1
        if min(sizes) < 0:
            raise self._error("the sizes", f"one is negative or not defined: {self._named(sizes)}")
        return sizes

    def _check_array(self, leaf: Leaf, A: Any, found: Sequence[Any], sizes: list[int]) -> None:
        """Its shape and its layout; and, if it is written, that it lies apart from the others."""
        for axis, choices in enumerate(leaf.shape):
            expected = [value_of(choice, sizes) for choice in choices]
            if A.shape[axis] not in expected:
                size = " or ".join(map(str, expected))
                raise self._error(leaf.name, f"found shape {A.shape}; expected {size} along axis {axis}")
        like = leaf.layout == "like"
        if not (A.strides == found[leaf.like].strides if like else has_layout(A, leaf.layout)):
            asked = f"those of {self.leaves[leaf.like].name}" if like else leaf.layout
            raise self._error(leaf.name, f"its strides are {A.strides} bytes; expected {asked}")
        if leaf.written:
            for other, B in zip(self.leaves, found, strict=True):
                if other.kind == "array" and other is not leaf and np.may_share_memory(A, B):
                    raise self._error(leaf.name, f"it overlaps {other.name}")


def value_of(total: Sum, sizes: Sequence[int]) -> int:
    """The value of a sum."""
    return sum(factor * sizes[first] * sizes[second] for factor, first, second in total)


def has_layout(A: np.ndarray[Any, Any], layout: str) -> bool:
    """Whether its strides are as `layout` asks; those of axes with one entry do not matter."""
    if A.size == 0:
        return True
    least = A.itemsize  # from one entry of the axis to the next
    for axis in reversed(range(A.ndim)):
        size, stride = A.shape[axis], A.strides[axis]
        last = axis == A.ndim - 1
        if size > 1:
            exact = layout == "contiguous" or (last and layout != "strided")
            if (exact and stride != least) or stride % A.itemsize or (layout == "rows" and stride < least):
                return False
            least = stride * size if layout == "rows" else least
        if layout == "contiguous":
            least *= size
    return True


def guard(kernel: Callable[..., Any], contract: Contract) -> Callable[..., Any]:
    """The kernel behind its contract."""
    if Guard is not None:
        behind: Callable[..., Any] = Guard(kernel, contract)
        return behind

    @wraps(kernel, assigned=(), updated=())
    def guarded(*args: Any) -> Any:
        contract.check(args)
        return kernel(*args)

    return guarded
