"""Where parts come from: ranges of rows of arrays and of .npy files. For those with named columns see `tables`.

A source is a callable of a few words, which can be sent to another process and opens its file there, each time anew: a
part that is dropped leaves no memory mapped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fastlin import _check
from fastlin._check import Array
from fastlin._check.csr import features, is_sparse
from fastlin._csr import Csr
from fastlin._files import store
from fastlin._files.npz import Declared, npy_header

PART_BYTES = 32 << 20  # of X: some 10 ms to read and to compute, and two of them are small beside any memory

Pieces = tuple[Any, ...]  # X, y and sample_weight, as far as there are any


# ---- Arrays -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Slice:
    """Rows of arrays of somebody's own, such as Zarr's, sliced when they are read."""

    arrays: Pieces
    start: int
    stop: int

    def __call__(self) -> Pieces:
        return tuple(None if A is None else A[self.start : self.stop] for A in self.arrays)


@dataclass(frozen=True)
class _Views:
    """Rows of NumPy's arrays: pickled, they are these rows alone."""

    arrays: Pieces

    def __call__(self) -> Pieces:
        return self.arrays


@dataclass(frozen=True)
class _SparseRows:
    """Rows of SciPy's, made where they are read: it copies entries that are few among those in memory."""

    kind: type[Any]
    arrays: tuple[Array, Array, Array]  # data, indices and indptr
    shape: tuple[int, int]
    beside: Pieces

    def __call__(self) -> Pieces:
        return self.kind(self.arrays, shape=self.shape), *self.beside


def slices(X: Any, y: Any, sample_weight: Any, rows: int | None) -> Sequence[_Slice | _Views | _SparseRows]:
    """The parts of `Parts.from_arrays`."""
    if is_sparse(X):
        return _of_sparse(X, y, sample_weight, rows)
    shape = getattr(X, "shape", None)
    if isinstance(X, (np.ndarray, list, tuple)) or shape is None:
        X = _check.array("X", X, 2)
        shape = X.shape
    if len(shape) != 2:
        raise ValueError(f"X must have 2 dimensions; found shape {tuple(shape)}")
    others = {"y": y, "sample_weight": sample_weight}
    for name, value in others.items():
        if value is not None and not hasattr(value, "shape"):
            others[name] = value = _check.array(name, value)
        if value is not None and tuple(value.shape)[:1] != (shape[0],):
            raise ValueError(f"X has {shape[0]} rows but {name} has shape {tuple(value.shape)}; it needs one for each")
    arrays = (X, *others.values())
    chunks = getattr(X, "chunks", None)
    if rows is None and chunks:
        rows = int(chunks[0])
    itemsize = np.dtype(getattr(X, "dtype", np.float64)).itemsize
    plain = all(A is None or isinstance(A, np.ndarray) for A in arrays)
    found = [_Slice(arrays, *ends) for ends in _ranges(shape[0], _rows(rows, shape[1] * itemsize))]
    return [_Views(one()) for one in found] if plain else [*found]


def _of_sparse(X: Any, y: Any, sample_weight: Any, rows: int | None) -> list[_SparseRows]:
    """The parts of sparse rows: their entries stay where they are, and each part has row pointers of its own."""
    own = features(X)
    assert isinstance(own, Csr)
    n, d = own.shape
    others = [None if A is None else _check.array(name, A) for name, A in (("y", y), ("sample_weight", sample_weight))]
    for name, A in zip(("y", "sample_weight"), others, strict=True):
        if A is not None and A.shape[:1] != (n,):
            raise ValueError(f"X has {n} rows but {name} has shape {A.shape}; it needs one for each")
    found, entry_bytes = [], own.itemsize + own.indices.itemsize
    for start, stop in _ranges(n, _rows(rows, -(-own.nnz * entry_bytes // max(1, n)))):
        ends = own.indptr[start : stop + 1]
        entries = tuple(np.asarray(A)[ends[0] : ends[-1]] for A in (X.data, X.indices))
        beside = tuple(None if A is None else A[start:stop] for A in others)
        found.append(_SparseRows(type(X), (*entries, ends - ends[0]), (stop - start, d), beside))
    try:
        found[0]()
    except TypeError as error:
        kind = type(X).__name__
        raise TypeError(f"X is a {kind}, not SciPy's: give fl.Parts callables that return its rows") from error
    return found


def _rows(rows: int | None, row_bytes: int) -> int:
    return max(1, PART_BYTES // max(1, row_bytes)) if rows is None else _check.count("rows", rows)


def _ranges(n: int, rows: int) -> Iterator[tuple[int, int]]:
    """Ends of ranges of at most so many rows, as evenly as can be; of no rows one empty range."""
    count = max(1, -(-n // rows))
    return ((n * i // count, n * (i + 1) // count) for i in range(count))


# ---- .npy files --------------------------------------------------------------------------------------------------


class _File(NamedTuple):
    """An .npy file, as its header was read."""

    path: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    order: str
    start: int

    def rows(self, start: int, stop: int) -> Array:
        """These rows, mapped where they lie one after the other; a file in Fortran's order is copied from."""
        if self.order == "F" and len(self.shape) > 1:
            return np.array(self._mapped(self.shape, 0)[start:stop], order="C")
        row_bytes = self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64))
        return self._mapped((stop - start, *self.shape[1:]), start * row_bytes)

    def _mapped(self, shape: tuple[int, ...], offset: int) -> Array:
        if 0 in shape:  # nothing can be mapped
            return np.empty(shape, self.dtype)
        size = os.stat(self.path).st_size
        if size < self.start + offset + self.dtype.itemsize * int(np.prod(shape, dtype=np.int64)):
            raise ValueError(f"{self.path} has become shorter: it has {size} bytes")
        return np.memmap(self.path, self.dtype, "r", self.start + offset, shape, self.order)  # type: ignore[call-overload, no-any-return]


@dataclass(frozen=True)
class _Range:
    """Rows of .npy files of X, y and sample_weight; of an array the rows themselves."""

    sources: Pieces
    start: int
    stop: int

    def __call__(self) -> Pieces:
        return tuple(A.rows(self.start, self.stop) if isinstance(A, _File) else A for A in self.sources)


def npy_ranges(X: Any, y: Any, sample_weight: Any, rows: int | None) -> list[_Range]:
    """The parts of `Parts.from_npy`."""
    files = [_opened("X", path) for path in paths_of("X", X)]
    for file in files:
        if len(file.shape) != 2:
            raise ValueError(f"X: {file.path} has shape {file.shape}; expected (n, d)")
        if file.shape[1] != files[0].shape[1]:
            raise ValueError(f"X: {file.path} has {file.shape[1]} columns, and {files[0].path} has {files[0].shape[1]}")
    others = [_beside(name, value, files) for name, value in (("y", y), ("sample_weight", sample_weight))]
    found, begin = [], 0
    for i, file in enumerate(files):
        n, d = file.shape
        for start, stop in _ranges(n, _rows(rows, d * file.dtype.itemsize)):
            own = [_of_range(other, i, begin + start, begin + stop) for other in others]
            found.append(_Range((file, *own), start, stop))
        begin += n
    return found


def _of_range(other: Any, i: int, start: int, stop: int) -> Any:
    if isinstance(other, list):
        return other[i]
    return None if other is None else other[start:stop].copy()  # of its own: else each would be sent with all rows


def _beside(name: str, value: Any, files: list[_File]) -> Any:
    """The files of y or sample_weight, as many as those of X; or an array of all rows."""
    if value is None:
        return None
    named = isinstance(value, (str, os.PathLike))
    if not named and not (isinstance(value, (list, tuple)) and value and isinstance(value[0], (str, os.PathLike))):
        found, n = _check.array(name, value), sum(file.shape[0] for file in files)
        if found.shape[:1] != (n,):
            raise ValueError(f"the files of X have {n} rows but {name} has shape {found.shape}; it needs one for each")
        return found
    others = [_opened(name, path) for path in paths_of(name, value)]
    if len(others) != len(files):
        raise ValueError(f"X has {len(files)} files but {name} has {len(others)}; there must be as many")
    for file, other in zip(files, others, strict=True):
        if other.shape[:1] != file.shape[:1]:
            raise ValueError(f"{file.path} has {file.shape[0]} rows but {other.path} has shape {other.shape}")
    return others


def paths_of(name: str, given: Any, kind: str = "an .npy file") -> list[Path]:
    """One path or several."""
    several = [given] if isinstance(given, (str, os.PathLike)) else given
    if not isinstance(several, Sequence) or not several:
        raise TypeError(f"{name} must be the path of {kind}, or a list of such; found {_check.kind(given)}")
    return [store.as_path(name, path) for path in several]


def _opened(name: str, path: Path) -> _File:
    with store.opened(path, "is no .npy file of numbers") as file:
        declared: Declared = npy_header(file)
    if declared.dtype.kind not in "iubf" and not (name == "y" and declared.dtype.kind in "US"):
        raise ValueError(f"{name}: {path} holds {declared.dtype}; expected numbers")
    if not declared.shape:
        raise ValueError(f"{name}: {path} holds a single number; expected rows")
    return _File(os.fspath(path.absolute()), declared.dtype, declared.shape, declared.order, declared.start)
