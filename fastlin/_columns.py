"""The columns of sparse rows, for fits: with them a gradient is one sum for each column instead of one for each part.

A loss with its gradient adds every entry of X to a row of dW, in a gradient for each part of the rows. By columns each
row of dW is summed in registers over the slopes of the rows and written once: nothing is zeroed or combined. For that
the entries are sorted by columns, which takes about two passes over X: so it is done once for a fit.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from fastlin import _plan, ops
from fastlin._check import Array
from fastlin._csr import Columns, Csr
from fastlin._laps import laps
from fastlin.kernels.records import CsrRows

LAP_BYTES = 256  # for each entry, so that what is known of some entries stays in the cache


def prepare(X: Array | Csr, W: Array, backend: str) -> None:
    """Give sparse rows their columns, where a fit of weights like W is faster with them."""
    if not isinstance(X, Csr) or not ops.BACKENDS[backend].compiled:
        return
    how = X.shape[1], W.shape[1], W.itemsize
    if not _plan.pays_by_columns(len(X), *how):
        return
    sections = [X[rows] for rows in _plan.sections(len(X))]
    cuts = [_plan.csr_plan(len(rows), rows.size, *how, compiled=True) for rows in sections]
    counts = [
        _plan.column_segments(cut.parts, len(rows), rows.nnz, *how) for cut, rows in zip(cuts, sections, strict=True)
    ]
    if counts != [len(columns.segments) for columns in X.columns]:  # an earlier fit has not made them
        X.columns = tuple(columns_of(rows, count, backend) for rows, count in zip(sections, counts, strict=True))


def columns_of(X: Csr, count: int, backend: str) -> Columns:
    """The columns of these rows, in so many segments."""
    n = len(X)
    borders = [n * i // count for i in range(count + 1)]
    return Columns([_segment(X[first:last], first, n, backend) for first, last in pairwise(borders)])


def _segment(X: Csr, first: int, n: int, backend: str) -> CsrRows:
    """The columns of some of n rows: nnz numbers and rows' numbers (int32) from `first` on, and d + 1 pointers.

    Another thread may write to X meanwhile: then entries may be lost or in a wrong column, but none is outside.
    """
    d, data, nnz = X.shape[1], X.arrays.data, X.nnz
    place = ops.kernel("place_columns", backend, "float64")
    following = np.zeros(d + 1, np.int64)  # the last column is of entries that are outside by now
    numbers, rows = np.zeros(nnz + 1, data.dtype), np.zeros(nnz + 1, np.int32)
    for some in laps(nnz, LAP_BYTES):
        columns = _columns(X, some)
        place(columns, following, np.empty_like(columns))
    indptr = np.zeros(d + 2, np.int64)
    np.cumsum(following, out=indptr[1:])
    following[:] = indptr[:-1]
    for some in laps(nnz, LAP_BYTES):
        columns = _columns(X, some)
        places = np.empty_like(columns)
        place(columns, following, places)
        np.minimum(places, nnz, out=places)
        numbers[places], rows[places] = data[_entries(X, some)], first + _rows(X, some)
    for own in (numbers, rows, indptr):
        own.flags.writeable = False
    return CsrRows(numbers[:nnz], rows[:nnz], indptr[: d + 1], n)


def _entries(X: Csr, some: slice) -> slice:
    """Where some of the entries are."""
    first = int(X.arrays.indptr[0])
    return slice(first + some.start, first + some.stop)


def _columns(X: Csr, some: slice) -> Array:
    """A copy of their columns, d for one that is outside."""
    columns: Array = X.indices[_entries(X, some)].astype(np.int64)
    unsigned = columns.view(np.uint64)  # negative ones are large
    np.minimum(unsigned, np.uint64(X.shape[1]), out=unsigned)
    return columns


def _rows(X: Csr, some: slice) -> Array:
    """Their rows."""
    indptr, entries = X.arrays.indptr, _entries(X, some)
    start = int(np.searchsorted(indptr, entries.start, side="right")) - 1
    stop = int(np.searchsorted(indptr, entries.stop))
    borders = np.clip(indptr[start : stop + 1], entries.start, entries.stop)
    found: Array = np.repeat(np.arange(start, stop, dtype=np.int32), np.diff(borders))
    return found
