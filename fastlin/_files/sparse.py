"""Reads sparse rows as scipy.sparse.save_npz writes them, by fastlin/_files/npz.py: without SciPy, pickle or trust."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fastlin._check.csr import ATTRIBUTES, features
from fastlin._files.npz import Npz
from fastlin._files.store import as_path, reading
from fastlin.data import Dataset, check_rows, one_array

FORMAT = "format"  # the array that tells such a file from others
NO_CSR = "holds no sparse matrix as scipy.sparse.save_npz writes it"
MOST_COLUMNS = 1 << 26  # a column without an entry takes no place in the file, but a row of W


class _Stored:
    """What a file holds, with the attributes of the matrix that was saved."""

    def __init__(self, arrays: dict[str, Any]) -> None:
        self.data, self.indices, self.indptr = (arrays[name] for name in ATTRIBUTES[:3])
        self.shape = arrays["shape"].tolist()


def is_sparse_file(path: Path) -> bool:
    """Whether this .npz is of scipy.sparse.save_npz, as far as the names of its arrays tell."""
    with path.open("rb") as file, reading(path, NO_CSR):
        return {FORMAT, "indptr"} <= set(Npz(file).names)


def load_sparse(path: str | os.PathLike[str], labels: str | os.PathLike[str]) -> Dataset[None]:
    """The rows in an .npz of scipy.sparse.save_npz as X, and the labels or targets in an .npy as y.

    Raises FileNotFoundError, or ValueError for a file of another kind or form, cut short, or with row pointers or
    indices that do not fit together.
    """
    path = as_path("path", path)
    y = one_array(as_path("labels", labels), mapped=False)
    with path.open("rb") as file, reading(path, NO_CSR):
        npz = Npz(file)
        form = npz.read(FORMAT).item()
        if form not in ("csr", b"csr"):
            raise ValueError(f"its form is {form!r}; save X.tocsr()")
        if npz.declared("shape").shape != (2,):
            raise ValueError("its shape is not two numbers")
        stored = _Stored({name: npz.read(name) for name in ATTRIBUTES})
    try:
        X: Any = features(stored)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error
    if X.shape[1] > MOST_COLUMNS:
        raise ValueError(f"{path} says that it has {X.shape[1]} columns; at most {MOST_COLUMNS} are read from a file")
    check_rows(path, X.shape, y.shape)
    return Dataset(X, y, None, None, ())
