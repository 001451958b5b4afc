"""Sparse rows as they travel where a matrix X travels: its shape and dtype, and rows of it without a copy."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastlin._laps import laps
from fastlin.kernels.records import CsrRows

Array = NDArray[Any]


class SparseRows(Protocol):
    """What has the attributes of SciPy's csr_array: the entries indptr[i] ... indptr[i + 1] - 1 are those of row i."""

    @property
    def data(self) -> Any: ...
    @property
    def indices(self) -> Any: ...
    @property
    def indptr(self) -> Any: ...
    @property
    def shape(self) -> Any: ...


Features = ArrayLike | SparseRows  # X as callers give it

SHARES = 64  # of the rows, whose entries are counted
ENTRY_BYTES = 64  # that gathering or spreading an entry reads and writes


class Columns:
    """The columns of sparse rows X (n, d), copied by fastlin/_columns.py: nobody else writes to them.

    segments : each has the columns of some of the rows, which follow each other; as kernels take a transposed X (d, n),
        where the numbers of rows ascend within a column.
    """

    __slots__ = ("_borders", "segments")

    def __init__(self, segments: list[CsrRows]) -> None:
        self.segments = segments
        self._borders: dict[int, list[int]] = {}

    def borders(self, count: int) -> list[int]:
        """Of ranges of columns, at most so many, that have about as many entries; a column counts like one more."""
        if count not in self._borders:
            d = len(self.segments[0].indptr) - 1

            def before(k: int) -> int:
                return k + sum(int(segment.indptr[k]) for segment in self.segments)

            inside = (bisect_left(range(d + 1), before(d) * i // count, key=before) for i in range(1, count))
            self._borders[count] = sorted({0, *inside, d})
        return self._borders[count]


class Csr:
    """X (n, d) in compressed sparse rows, made by fastlin/_check/csr.py alone.

    arrays : what kernels are given. `indptr` is our own; `data` and `indices` are the caller's, for any slice of rows.
    columns : those of each section of the rows (`_plan.sections`), for fits that `_columns.prepare` has given them.
    """

    __slots__ = ("arrays", "columns", "shape")
    ndim = 2

    def __init__(self, data: Array, indices: Array, indptr: Array, d: int) -> None:
        self.arrays = CsrRows(data, indices, indptr, d)
        self.shape = len(indptr) - 1, d
        self.columns: tuple[Columns, ...] = ()

    @property
    def data(self) -> Array:
        """The numbers, of rows that are none of ours too."""
        found: Array = self.arrays.data
        return found

    @property
    def indices(self) -> Array:
        """Their columns."""
        found: Array = self.arrays.indices
        return found

    @property
    def indptr(self) -> Array:
        """Where the rows begin, and the last one ends."""
        found: Array = self.arrays.indptr
        return found

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its numbers."""
        dtype: np.dtype[Any] = self.arrays.data.dtype
        return dtype

    @property
    def itemsize(self) -> int:
        """Of its numbers."""
        return self.dtype.itemsize

    @property
    def nnz(self) -> int:
        """How many entries its rows have, explicit zeros too."""
        indptr = self.arrays.indptr
        return int(indptr[-1] - indptr[0])

    @property
    def size(self) -> tuple[int, int]:
        """About how many entries there are, and how many times as many as the mean some 64th of the rows has at most.

        Powers of 2, of which plans are made: batches of rows that are much alike have one plan.
        """
        n, nnz = len(self), self.nnz
        if not nnz:
            return 1, 1
        count = min(n, SHARES)
        heaviest = int(np.diff(self.arrays.indptr[np.arange(count + 1) * n // count]).max())
        return _power(nnz), _power(-(-heaviest * count // nnz))

    @property
    def caller_arrays(self) -> dict[str, Array]:
        """The arrays that are not our own, by the names that the caller knows."""
        return {"X.data": self.arrays.data, "X.indices": self.arrays.indices}

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Csr:
        """Some rows: of a slice of step 1 their entries stay where they are, else they are copied."""
        data, indices, indptr, d = self.arrays
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                return Csr(data, indices, indptr[start : max(start, stop) + 1], d)
            rows = np.arange(start, stop, step)
        counts = np.diff(indptr)[rows]
        own = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(counts, out=own[1:])
        gathered = np.empty(own[-1], data.dtype), np.empty(own[-1], indices.dtype)
        for some in laps(len(rows), ENTRY_BYTES * (1 + int(own[-1]) // max(1, len(rows)))):
            first, last = own[some.start], own[some.stop]
            entries = np.repeat(indptr[rows[some]] - own[some.start : some.stop], counts[some])
            entries += np.arange(first, last)
            gathered[0][first:last], gathered[1][first:last] = data[entries], indices[entries]
        return Csr(*gathered, own, d)

    def section(self, number: int, rows: slice) -> Csr:
        """The rows of a section, with its columns if there are any."""
        found = self[rows]
        found.columns = self.columns[number : number + 1]
        return found

    def beside(self, dtype: np.dtype[Any]) -> Csr:
        """The same rows with numbers that kernels read beside weights of this dtype: a copy of other numbers."""
        data, indices, indptr, d = self.arrays
        if data.dtype == dtype or (data.dtype == np.float32 and dtype == np.float64):
            return self
        own = np.empty(len(data), dtype)
        for some in laps(len(data), 2 * dtype.itemsize):
            own[some] = data[some]
        return Csr(own, indices, indptr, d)

    def column_means(self) -> tuple[Array, Array, Array]:
        """Of each column (d,), float64: the share of rows with an entry, the mean of its numbers, of their squares."""
        data, indices, indptr, d = self.arrays
        sums = np.zeros((3, d + 1))  # the last column is of entries that are outside by now
        for some in laps(self.nnz, ENTRY_BYTES):
            entries = slice(int(indptr[0]) + some.start, int(indptr[0]) + some.stop)
            columns, x = indices[entries].astype(np.int64), data[entries].astype(np.float64)
            columns[(columns < 0) | (columns >= d)] = d
            for power, total in zip((1.0, x, x * x), sums, strict=True):
                np.add.at(total, columns, power)
        sums /= max(1, len(self))
        return sums[0, :d], sums[1, :d], sums[2, :d]

    def toarray(self) -> Array:
        """The matrix (n, d) with all its zeros; entries of one place are added up."""
        data, indices, indptr, d = self.arrays
        found = np.zeros(self.shape, data.dtype)
        rows = np.repeat(np.arange(len(self)), np.diff(indptr))
        columns = indices[indptr[0] : indptr[-1]].copy()
        inside = (columns >= 0) & (columns < d)
        np.add.at(found, (rows[inside], columns[inside]), data[indptr[0] : indptr[-1]][inside])
        return found


def _power(count: int) -> int:
    """The next power of 2."""
    return 1 << max(0, count - 1).bit_length()
