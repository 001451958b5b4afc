"""Reads the pickles of CIFAR-10's python version without `pickle`: a stack machine for the few opcodes that they use.

A pickle is a program. This reader imports nothing, calls nothing that a file names, and makes only ints, text, bytes,
lists, tuples, dicts whose keys are bytes or text, and arrays of bytes. Its memory is bounded by the size of the file:
what a file repeats is not copied, and the number of opcodes is limited. The opcodes are described in the standard
library's `pickletools`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastlin._check import Array

MOST_OPCODES = 200_000  # a file of 10000 images has 30 000, and 90 000 in protocol 2 of Python 3


class Global:
    """A name of the few that may stand in a file; nothing is looked up."""

    def __init__(self, name: str) -> None:
        self.name = name


class Dtype:
    """The dtype of bytes, the only one."""


class Pickled:
    """An array that a file is describing."""

    array: Array | None = None

    def fill(self, dtype: Any, shape: Any, fortran: bool, content: Any) -> Pickled:
        """Take the bytes of the file, which are not copied."""
        sizes = isinstance(shape, tuple) and len(shape) == 2 and all(type(size) is int and size >= 0 for size in shape)
        if not isinstance(dtype, Dtype) or not sizes or not isinstance(content, bytes):
            raise ValueError("an array is not described by a dtype, a shape and bytes")
        if shape[0] * shape[1] != len(content):
            raise ValueError(f"an array of shape {shape} has {len(content)} bytes")
        self.array = np.frombuffer(content, np.uint8).reshape(shape, order="F" if fortran else "C")
        return self


def read_pickle(content: bytes) -> Any:
    """What a pickle of protocol 2 to 5 holds; an array is a `Pickled`. Raises ValueError, which names the place."""
    machine = _Machine(content)
    for _ in range(MOST_OPCODES):
        at = machine.at
        try:
            if machine.step():
                return machine.pop()
        except (ValueError, TypeError, LookupError) as error:
            raise ValueError(f"at byte {at}: {error}") from error
    raise ValueError(f"it has more than {MOST_OPCODES} opcodes")


class _Machine:
    """The state between two opcodes."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.encoded = 0  # bytes made of text, no more than the file has

    def step(self) -> bool:
        """Goes through one opcode; true after the last."""
        code = self.take(1)
        if code == b".":
            return True
        if code not in _OPCODES:
            raise ValueError(f"the opcode {code!r} is none that CIFAR-10's files use")
        _OPCODES[code](self)
        return False

    def take(self, count: int) -> bytes:
        """The next bytes of the file."""
        found = self.content[self.at : self.at + count]
        if len(found) < count:
            raise ValueError(f"{count} bytes should follow; {len(self.content) - self.at} do")
        self.at += count
        return found

    def number(self, size: int, signed: bool = False) -> int:
        """The next bytes as an integer."""
        return int.from_bytes(self.take(size), "little", signed=signed)

    def line(self) -> str:
        """The bytes up to the end of a line, which is short."""
        end = self.content.find(b"\n", self.at, self.at + 100)
        if end < 0:
            raise ValueError("a name does not end")
        return self.take(end + 1 - self.at)[:-1].decode("ascii")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        """The last value since the last mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ValueError("there is no value on the stack")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        """All values since the last mark, which goes too."""
        if not self.marks:
            raise ValueError("there is no mark on the stack")
        start = self.marks.pop()
        found, self.stack[start:] = self.stack[start:], []
        return found

    def pop_tuple(self, count: int) -> None:
        found = [self.pop() for _ in range(count)]
        self.push(tuple(reversed(found)))

    def last(self, kind: type) -> Any:
        """The last value, which stays and is of this kind."""
        value = self.pop()
        if type(value) is not kind:
            raise ValueError(f"there should be a {kind.__name__} on the stack")
        self.push(value)
        return value

    def remember(self, index: int) -> None:
        value = self.pop()
        self.memo[index] = value
        self.push(value)

    def append(self, values: list[Any]) -> None:
        self.last(list).extend(values)

    def set_items(self, values: list[Any]) -> None:
        target = self.last(dict)
        keys, entries = values[::2], values[1::2]
        if len(keys) != len(entries) or not all(type(key) in (bytes, str) for key in keys):
            raise ValueError("the keys of a dict should be text")
        target.update(zip(keys, entries, strict=True))

    def find(self, module: Any, name: Any) -> None:
        """A global, if it is one of those that describe an array."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a global should have a name")
        if f"{module}.{name}" not in _CALLS:
            raise ValueError(f"it asks for {module[:100]}.{name[:100]}, which CIFAR-10's files do not")
        self.push(Global(f"{module}.{name}"))

    def call(self) -> None:
        """What stands in a file for a call."""
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise ValueError("what is called should be a global, with a tuple of arguments")
        self.push(_CALLS[function.name](self, *arguments))

    def build(self) -> None:
        """The state of an array or of its dtype."""
        state, target = self.pop(), self.pop()
        if isinstance(target, Pickled):
            _, shape, dtype, fortran, content = state
            target.fill(dtype, shape, bool(fortran), content)
        elif not isinstance(target, Dtype) or not isinstance(state, tuple) or state[1] not in ("|", b"|"):
            raise ValueError("only an array of bytes has a state")
        self.push(target)

    # ---- What stands for calls -----------------------------------------------------------------------------

    def ndarray(self, *arguments: Any) -> Any:
        raise ValueError("an array is not made like this")

    def dtype(self, name: Any, *flags: Any) -> Dtype:
        if name not in ("u1", b"u1"):
            raise ValueError(f"the dtype of an array is {name[:20]!r}, not 'u1'")
        return Dtype()

    def reconstruct(self, kind: Any, shape: Any, code: Any) -> Pickled:
        if not isinstance(kind, Global) or kind.name != "numpy.ndarray":
            raise ValueError("what is made should be a numpy.ndarray")
        return Pickled()

    def frombuffer(self, content: Any, dtype: Any, shape: Any, order: Any) -> Pickled:
        return Pickled().fill(dtype, shape, order == "F", content)

    def encode(self, text: Any, encoding: Any) -> bytes:
        """Protocol 2 of Python 3 writes bytes as text."""
        if not isinstance(text, str) or encoding != "latin1":
            raise ValueError("only text is encoded, and only as latin1")
        self.encoded += len(text)
        if self.encoded > len(self.content):
            raise ValueError("more bytes are encoded than the file has")
        return text.encode("latin-1")


_CALLS: dict[str, Callable[..., Any]] = {
    "numpy.ndarray": _Machine.ndarray,
    "numpy.dtype": _Machine.dtype,
    "numpy.core.multiarray._reconstruct": _Machine.reconstruct,
    "numpy._core.multiarray._reconstruct": _Machine.reconstruct,  # since NumPy 2
    "numpy.core.numeric._frombuffer": _Machine.frombuffer,  # protocol 5
    "numpy._core.numeric._frombuffer": _Machine.frombuffer,
    "_codecs.encode": _Machine.encode,
}

_OPCODES: dict[bytes, Callable[[_Machine], object]] = {
    b"\x80": lambda m: m.take(1),  # the protocol
    b"\x95": lambda m: m.take(8),  # the size of a frame
    # Numbers and constants
    b"K": lambda m: m.push(m.number(1)),
    b"M": lambda m: m.push(m.number(2)),
    b"J": lambda m: m.push(m.number(4, signed=True)),
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    # Bytes, a string of Python 2 among them, and text
    b"U": lambda m: m.push(m.take(m.number(1))),
    b"T": lambda m: m.push(m.take(m.number(4))),
    b"C": lambda m: m.push(m.take(m.number(1))),
    b"B": lambda m: m.push(m.take(m.number(4))),
    b"\x8e": lambda m: m.push(m.take(m.number(8))),
    b"\x96": lambda m: m.push(m.take(m.number(8))),
    b"\x8c": lambda m: m.push(m.take(m.number(1)).decode()),
    b"X": lambda m: m.push(m.take(m.number(4)).decode()),
    # Containers
    b"}": lambda m: m.push({}),
    b"]": lambda m: m.push([]),
    b")": lambda m: m.push(()),
    b"(": lambda m: m.marks.append(len(m.stack)),
    b"t": lambda m: m.push(tuple(m.pop_to_mark())),
    b"\x85": lambda m: m.pop_tuple(1),
    b"\x86": lambda m: m.pop_tuple(2),
    b"\x87": lambda m: m.pop_tuple(3),
    b"a": lambda m: m.append([m.pop()]),
    b"e": lambda m: m.append(m.pop_to_mark()),
    b"s": lambda m: m.set_items([*reversed([m.pop(), m.pop()])]),
    b"u": lambda m: m.set_items(m.pop_to_mark()),
    # The memo
    b"q": lambda m: m.remember(m.number(1)),
    b"r": lambda m: m.remember(m.number(4)),
    b"\x94": lambda m: m.remember(len(m.memo)),
    b"h": lambda m: m.push(m.memo[m.number(1)]),
    b"j": lambda m: m.push(m.memo[m.number(4)]),
    # Arrays
    b"c": lambda m: m.find(m.line(), m.line()),
    b"\x93": lambda m: m.find(*reversed([m.pop(), m.pop()])),
    b"R": lambda m: m.call(),
    b"b": lambda m: m.build(),
}
