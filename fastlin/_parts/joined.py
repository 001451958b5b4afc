"""Rows of several parts one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastlin._check import Array
from fastlin._csr import Csr
from fastlin._laps import laps


def joined(pieces: Sequence[Array | Csr]) -> Any:
    """An array of all rows, or sparse rows of all: a copy, of types that hold the numbers of every piece."""
    several = [piece for piece in pieces if isinstance(piece, Csr)]  # all or none: a survey has looked
    if not several:
        return np.concatenate([piece for piece in pieces if not isinstance(piece, Csr)])
    ends = np.cumsum([0, *(piece.nnz for piece in several)])
    data, indices = (
        np.empty(ends[-1], np.result_type(*{A.dtype for A in arrays}))
        for arrays in ([piece.data for piece in several], [piece.indices for piece in several])
    )
    pointers = [np.zeros(1, np.int64)]
    for piece, end in zip(several, ends.tolist(), strict=False):
        first = int(piece.indptr[0])
        for some in laps(piece.nnz, 2 * (data.itemsize + indices.itemsize)):
            there, here = slice(end + some.start, end + some.stop), slice(first + some.start, first + some.stop)
            data[there], indices[there] = piece.data[here], piece.indices[here]
        pointers.append(piece.indptr[1:] + (end - first))
    return Csr(data, indices, np.concatenate(pointers), several[0].shape[1])
