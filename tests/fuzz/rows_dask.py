"""A loss over dask arrays, of dense and of sparse chunks, which Dask computes in the thread that calls."""

from __future__ import annotations

from typing import Any

import dask
import dask.array as da
import numpy as np
from hypothesis import strategies as st
from scipy.sparse import csr_array

import fastlin as fl
import fastlin.dask as fd

from .harness import Row
from .laws import require
from .rows_losses import problem as of_loss
from .rows_parts import near_that_of_all_rows
from .strategies import Arg, Sizes, count, dense_features, features, labels


def _loss(W: Any, X: Any, y: Any, sample_weight: Any = None, rows: Any = None, **how: Any) -> Any:
    def cut(A: Any) -> Any:
        whole = isinstance(A, np.ndarray) and A.ndim > 0
        return da.from_array(A, chunks=(rows, *[-1] * (A.ndim - 1)), name=False) if whole else A

    with dask.config.set(scheduler="synchronous"):
        return fd.softmax_loss(W, cut(X), cut(y), sample_weight=cut(sample_weight), **how)


def _of_loss(sizes: Sizes) -> dict[str, Arg]:
    found = of_loss(sizes, labels(sizes))
    del found["reduction"]
    return found | {"X": dense_features(sizes), "rows": Arg(count(1, st.integers(1, 40)).good, optional=False)}


def _loss_of_one(W: Any, X: Any, y: Any, sample_weight: Any = None, **how: Any) -> Any:
    """Over one chunk, whose rows may be sparse."""

    def chunk(A: Any) -> Any:
        if not hasattr(A, "indptr"):
            return da.from_array(A, chunks=-1, name=False) if isinstance(A, np.ndarray) and A.ndim else A
        return da.from_delayed(dask.delayed(lambda: A)(), A.shape, np.float64, meta=csr_array((0, 0)))

    with dask.config.set(scheduler="synchronous"):
        return fd.softmax_loss(W, chunk(X), chunk(y), sample_weight=chunk(sample_weight), **how)


def _of_sparse(sizes: Sizes) -> dict[str, Arg]:
    found = of_loss(sizes, labels(sizes))
    del found["reduction"]
    return found | {"X": features(sizes)}


def that_of_parts(row: Row, call: Any, arguments: dict[str, Any], value: Any) -> None:
    """The bits of fl.Parts of the same chunks."""
    given = {name: A for name, A in arguments.items() if name != "out"}
    rows, X, y = given.pop("rows", None), given.pop("X"), given.pop("y")
    weight = given.pop("sample_weight", None)
    beside = (y,) if weight is None else (y, weight)
    parts = [(X, *beside)]
    if rows is not None:
        parts = [tuple(A[i : i + rows] for A in parts[0]) for i in range(0, max(1, len(X)), rows)]
    loss, dW = fl.softmax_loss(given.pop("W"), fl.Parts(parts), **given)
    require(value[0] == loss or value[0] != value[0], f"{value[0]} over dask arrays, {loss} over parts")
    require(value[1].tobytes() == dW.tobytes(), "another gradient over dask arrays than over parts")


LAWS = near_that_of_all_rows, that_of_parts
WORDS = "part", "parts", "x_scale", "x_shift"
ROWS = (
    Row("dask.softmax_loss", _loss, _of_loss, LAWS, writes=("out",), words=WORDS),
    Row("dask.softmax_loss (sparse)", _loss_of_one, _of_sparse, LAWS, writes=("out",), words=WORDS),
)
