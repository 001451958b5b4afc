"""What X may be: an array, or sparse rows. Every function that takes X turns it here into what kernels read."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any, cast

import numpy as np

from fastlin import _check, _pool
from fastlin._check import Array
from fastlin._contract import SIZE_LIMIT
from fastlin._csr import Csr, Features, SparseRows
from fastlin._laps import laps

try:
    from fastlin.kernels.quick_check import first_outside
except ImportError:  # installed without a C compiler
    from fastlin._check.quick import first_outside

CHECKED = 1 << 18  # indices that a thread looks at at once, in some 0.1 ms
ATTRIBUTES = ("data", "indices", "indptr", "shape")


def features(X: Features) -> Array | Csr:
    """X as an array (n, d), or as sparse rows: of any object with data, indices, indptr and shape in CSR form.

    Numbers and indices stay where they are if they are contiguous, native and of a type that kernels read; else they
    are copied once. The row pointers always are: what is checked is what is used.

    Raises TypeError for another sparse form, ValueError for arrays that do not fit together.
    """
    if isinstance(X, Csr):
        return X
    if isinstance(X, np.ndarray) or not is_sparse(X):
        return _check.array("X", X, 2)
    X = cast("SparseRows", X)
    form = getattr(X, "format", "csr")
    if form != "csr" or not all(hasattr(X, name) for name in ATTRIBUTES):
        kind = type(X).__name__ if form == "csr" else f"{type(X).__name__}, format {form!r}"
        raise TypeError(f"X is sparse, but not in CSR form ({kind}); pass X.tocsr()")
    return _csr(X.data, X.indices, X.indptr, X.shape)


def is_sparse(X: Any) -> bool:
    """Whether X is sparse, of SciPy or of somebody who has the same attributes."""
    return hasattr(X, "indptr") or hasattr(X, "toarray") or hasattr(X, "tocsr")


def _csr(data: Any, indices: Any, indptr: Any, shape: Any) -> Csr:
    n, d = _shape(shape)
    data, indices = _check.array("X.data", data, 1), _check.array("X.indices", indices, 1)
    if data.dtype.kind not in "iubf" or data.dtype.itemsize > 8:
        raise TypeError(f"X.data has dtype {data.dtype}; expected float32, float64, float16 or integers")
    if indices.dtype.kind not in "iu":
        raise TypeError(f"X.indices must hold integers; found dtype {indices.dtype}")
    if len(data) != len(indices):
        raise ValueError(f"X.data has {len(data)} entries but X.indices has {len(indices)}; they must be as many")
    own = _row_pointers(_check.array("X.indptr", indptr, 1), n, len(indices))
    dtype = data.dtype if data.dtype in (np.float32, np.float64) else data.dtype.newbyteorder("=")
    kind = indices.dtype if indices.dtype in (np.int32, np.int64) else np.dtype(np.int64)
    found = Csr(_in_place(data, dtype), _in_place(indices, kind), own, d)
    _check_indices(found)
    return found


def _shape(shape: Any) -> tuple[int, int]:
    """X.shape as two ints."""
    try:
        n, d = (operator.index(size) for size in shape)
    except (TypeError, ValueError):
        raise ValueError(f"X.shape must be (rows, columns), two integers; found {_check.shown(shape)}") from None
    if min(n, d) < 0:
        raise ValueError(f"X.shape must be (rows, columns), both at least 0; found {(n, d)}")
    if max(n, d) >= SIZE_LIMIT:
        raise ValueError(f"X.shape must be (rows, columns), both below 2^48; found {_check.shown((n, d))}")
    return n, d


def _in_place(A: Array, dtype: np.dtype[Any]) -> Array:
    """A where it lies, if kernels can read it there; else a copy."""
    if A.dtype == dtype and A.flags.c_contiguous and A.flags.aligned:
        return _check.read_only(A)
    own = np.empty(len(A), dtype)
    for some in laps(len(A), A.itemsize + own.itemsize):
        own[some] = A[some]
    return _check.read_only(own)


def _row_pointers(indptr: Array, n: int, entries: int) -> Array:
    """X.indptr as a new int64 array that ascends from 0 or more to at most `entries`."""
    if indptr.dtype.kind not in "iu":
        raise TypeError(f"X.indptr must hold integers; found dtype {indptr.dtype}")
    if len(indptr) != n + 1:
        raise ValueError(f"X.indptr has {len(indptr)} entries but X.shape says {n} rows; expected {n + 1}, one more")
    own = np.empty(n + 1, np.int64)
    for some in laps(n + 1, 32):
        own[some] = indptr[some]  # an uint64 beyond int64 becomes negative, and is refused
        before = own[max(0, some.start - 1) : some.stop]
        fall = np.flatnonzero(before[1:] < before[:-1])
        if fall.size:
            i = max(0, some.start - 1) + int(fall[0])
            raise ValueError(
                f"X.indptr[{i + 1}] = {own[i + 1]} is less than X.indptr[{i}] = {own[i]}; row pointers never decrease"
            )
    if own[0] < 0:
        raise ValueError(f"X.indptr[0] is {own[0]}; row pointers start at 0")
    if own[n] > entries:
        raise ValueError(
            f"X.indptr[{n}] is {own[n]} but X.indices has {entries} entries; the last must be at most that"
        )
    own.flags.writeable = False
    return own


def _check_indices(X: Csr) -> None:
    """All indices of its rows are in [0, d). Kernels look again: another thread may write to the array at any time."""
    _, indices, indptr, d = X.arrays
    start, stop = int(indptr[0]), int(indptr[-1])
    count = -(-(stop - start) // CHECKED)
    found = [-1] * count

    def look(part: int) -> Iterator[None]:
        first = start + part * CHECKED
        at = first_outside(indices[first : min(first + CHECKED, stop)], d)
        found[part] = -1 if at < 0 else first + at
        yield

    _pool.pool.run(look, count, _pool.thread_limit(None))
    wrong = [at for at in found if at >= 0]
    if wrong:
        row = int(np.searchsorted(indptr, wrong[0], side="right")) - 1
        raise ValueError(
            f"X.indices[{wrong[0]}] = {indices[wrong[0]]} (row {row}) is out of range; X.shape says {d} columns, whose "
            f"numbers are in [0, {d})"
        )
