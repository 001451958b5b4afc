"""Reads the arrays of .npy and .npz files without pickle and without trust.

What a header declares is compared with the size of the file first. So no file makes a reader ask for more memory than
the arrays that it really holds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import IO, Any, NamedTuple

import numpy as np

from fastlin._check import Array

MAGIC = b"\x93NUMPY"
KINDS = "biufcSU"  # of dtypes: numbers and text
HEADER_BYTES = 10_000  # NumPy's own limit; the header of an array of numbers has 118
PIECE = 1 << 20  # bytes read at once
DEFLATED = 1032  # bytes that one byte of a deflated file can stand for, at most

_ENTRY = r"'(descr|fortran_order|shape)':('[^']*'|True|False|\([\dL,]*\))"
_HEADER = re.compile(rf"\{{{_ENTRY},{_ENTRY},{_ENTRY},?\}}")


class Declared(NamedTuple):
    """What the header of an array says."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: str  # "C" or "F"
    start: int  # where the numbers begin: the size of the header

    @property
    def size(self) -> int:
        """Of the numbers, in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_header(file: IO[bytes]) -> Declared:
    """The header of an .npy file (NumPy's format 1.0, 2.0 or 3.0); the file then stands at the numbers."""
    begins = read_whole(file, len(MAGIC) + 2)
    if not begins.startswith(MAGIC) or begins[6] not in (1, 2, 3):
        raise ValueError("it does not begin as an .npy file does")
    wide = 2 if begins[6] == 1 else 4
    length = int.from_bytes(read_whole(file, wide), "little")
    if length > HEADER_BYTES:
        raise ValueError(f"its header of {length} bytes is longer than {HEADER_BYTES}")
    text = "".join(read_whole(file, length).decode("latin-1").split())
    found = _HEADER.fullmatch(text)
    values = dict(zip(found.groups()[::2], found.groups()[1::2], strict=True)) if found else {}
    if len(values) < 3:
        raise ValueError(f"its header is not that of an array of numbers: {text[:100]}")
    dtype = _dtype(values["descr"])
    if values["fortran_order"] not in ("True", "False") or not values["shape"].startswith("("):
        raise ValueError(f"its header is not that of an array of numbers: {text[:100]}")
    shape = tuple(int(size.rstrip("L")) for size in values["shape"][1:-1].split(",") if size)  # 3L is of Python 2
    order = "F" if values["fortran_order"] == "True" else "C"
    return Declared(dtype, shape, order, len(MAGIC) + 2 + wide + length)


def _dtype(words: str) -> np.dtype[Any]:
    kind = re.fullmatch(r"'[<>|=]?([a-zA-Z?])\d*'", words)
    if kind is None or kind[1] not in KINDS:
        raise ValueError(f"it holds {words}, which is neither numbers nor text")
    dtype: np.dtype[Any] = np.dtype(words[1:-1])
    if not dtype.itemsize:
        raise ValueError(f"it holds {words}, entries of no size")
    return dtype


def read_numbers(file: IO[bytes], declared: Declared) -> Array:
    """The array whose header was read."""
    try:
        content = np.empty(declared.size, np.uint8)
    except MemoryError:
        raise ValueError(
            f"its array {declared.shape} {declared.dtype} is larger than the memory that is left"
        ) from None
    view, done = content.data, 0
    while done < len(view):
        count = file.readinto(view[done : done + PIECE])  # type: ignore[attr-defined]  # IO[bytes] does not name it
        if not count:
            raise ValueError(f"it is cut short: {declared.shape} {declared.dtype} need {declared.size} bytes")
        done += count
    return content.view(declared.dtype).reshape(declared.shape, order=declared.order)  # type: ignore[call-overload, no-any-return]


def read_whole(file: IO[bytes], count: int) -> bytes:
    """So many bytes."""
    found = file.read(count)
    if len(found) < count:
        raise ValueError("it is cut short")
    return found


def file_size(file: IO[bytes]) -> int:
    """The bytes of an open file, which then stands at its beginning."""
    size = file.seek(0, 2)
    file.seek(0)
    return size


def npy_header(file: IO[bytes]) -> Declared:
    """The header of an .npy file that is large enough for what its header says."""
    size = file_size(file)
    declared = read_header(file)
    if declared.start + declared.size > size:
        raise ValueError(
            f"it is cut short: {declared.shape} {declared.dtype} need {declared.size} bytes; "
            f"{size - declared.start} follow the header"
        )
    return declared


class Npz:
    """An open .npz file: `declared` says what it holds, and `read` reads one array."""

    def __init__(self, file: IO[bytes]) -> None:
        import zipfile  # 6 ms that `import fastlin` need not cost

        self.size = file_size(file)
        if not zipfile.is_zipfile(file):
            raise ValueError("it is no .npz file")
        self._archive = zipfile.ZipFile(file)
        self._members = {info.filename.removesuffix(".npy"): info for info in self._archive.infolist()}
        if len(self._members) < len(self._archive.infolist()):
            raise ValueError("two of its arrays have the same name")

    @property
    def names(self) -> Iterable[str]:
        """The names of the arrays."""
        return self._members.keys()

    def declared(self, name: str) -> Declared:
        """The header of an array; its size agrees with that of the file."""
        info = self._members[name]
        if info.compress_type not in (0, 8):  # stored, as np.savez writes it; deflated, as np.savez_compressed
            raise ValueError(f"{name} is compressed in a way that NumPy does not write")
        with self._archive.open(info) as member:
            declared = read_header(member)
        most = min(info.compress_size, self.size) * (DEFLATED if info.compress_type else 1)
        if declared.start + declared.size != info.file_size or info.file_size > most:
            raise ValueError(
                f"{name} says that it is {declared.shape} {declared.dtype}, {declared.size} bytes; "
                f"its {info.file_size - declared.start} bytes in the file do not agree"
            )
        return declared

    def read(self, name: str) -> Array:
        """One array."""
        declared = self.declared(name)
        with self._archive.open(self._members[name]) as member:
            member.seek(declared.start)
            return read_numbers(member, declared)
