"""X, y and sample_weight as Dask has them: checked, cut alike, and grouped."""

from __future__ import annotations

import math
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask.base import get_scheduler

from fastlin import _check
from fastlin.dask import _chunks
from fastlin.dask._chunks import Chunks, Group


def chunks(X: Any, y: Any, sample_weight: Any, *, held: bool = False, progress: bool = False) -> Chunks:
    """The chunks of X (n, d) and of y and sample_weight beside them, as parts.

    held : whether they are to stay in the workers' memory, for the passes of a fit.
    Raises TypeError or ValueError for what are no dask arrays, or do not fit each other.
    """
    arrays = {"X": X, "y": y, "sample_weight": sample_weight}
    if y is None:
        raise TypeError("y must be given: a dask array of labels, or of targets, with a row for each row of X")
    given = {name: checked(name, value) for name, value in arrays.items() if value is not None}
    found = Chunks(*_grouped(cut_alike(given, held)), _executor(X), progress)
    return found.held() if held else found


def checked(name: str, value: Any) -> Any:
    """The dask array, whose chunks hold whole rows."""
    if hasattr(value, "to_dask_array"):
        raise TypeError(
            f"{name} is a {type(value).__module__.partition('.')[0]} {type(value).__name__}; pass "
            f"{name}.to_dask_array(lengths=True)"
        )
    if not isinstance(value, da.Array):
        raise TypeError(
            f"{name} must be a dask array; found {_check.kind(value)}. For arrays in memory there is fastlin itself; "
            f"da.from_array({name}, chunks=...) cuts one"
        )
    dimensions = {"X": (2,), "y": (1, 2), "sample_weight": (1,)}[name]
    if value.ndim not in dimensions:
        raise ValueError(f"{name} must have {' or '.join(map(str, dimensions))} dimensions; found shape {value.shape}")
    if name != "y" and value.dtype.kind not in "iubf":
        raise TypeError(f"{name} must hold numbers; found dtype {value.dtype}")
    if value.ndim == 2 and value.numblocks[1] > 1:
        if name == "X":
            raise ValueError(
                f"X is cut into {value.numblocks[1]} chunks of columns; each chunk must hold whole rows: pass "
                f"X.rechunk({{1: -1}})"
            )
        value = value.rechunk({1: -1})
    return value


def _executor(X: Any) -> Any:
    """The client in whose context we are, or the scheduler of this machine that Dask would take."""
    found = get_scheduler(collections=[X])
    client = getattr(found, "__self__", None)
    return found if client is None else client


def cut_alike(given: dict[str, Any], held: bool = False) -> dict[str, Any]:
    """The arrays, whose chunks have the rows of those of X."""
    unknown = [_unknown(array) for array in given.values()]
    if all(unknown) and len({array.numblocks[0] for array in given.values()}) == 1:
        return given  # whether the rows fit is seen when a chunk is there
    if any(unknown):
        arrays = dask.persist(*given.values()) if held else given.values()  # what is read twice is not computed twice
        given = {name: _sized(array) for name, array in zip(given, arrays, strict=True)}
    X = given["X"]
    for name, array in given.items():
        if array.shape[0] != X.shape[0]:
            raise ValueError(f"X has {X.shape[0]} rows but {name} has shape {array.shape}; it needs one for each")
    return {name: array.rechunk({0: X.chunks[0]}) for name, array in given.items()}


def _unknown(array: Any) -> bool:
    """Whether some chunk has a size that only its computation tells."""
    return any(math.isnan(size) for size in array.chunks[0])


def _sized(array: Any) -> Any:
    """The array with the sizes of its chunks, which are computed where they are unknown; the caller's is left alone."""
    if not _unknown(array):
        return array
    own = da.Array(array.dask, array.name, array.chunks, meta=array._meta)
    return own.compute_chunk_sizes()


def _grouped(given: dict[str, Any]) -> tuple[dict[Any, Any], list[Group]]:
    """The graph of the arrays, and which chunks are computed together."""
    X = given["X"]
    graph: dict[Any, Any] = {}
    columns = []  # of keys, one for each array
    for name in ("X", "y", "sample_weight"):
        array = given.get(name)
        if array is None:
            columns.append([None] * X.numblocks[0])
            continue
        graph |= dict(array.__dask_graph__())
        columns.append([key[0] if array.ndim == 2 else key for key in array.__dask_keys__()])
    rows = [list(keys) for keys in zip(*columns, strict=True)]
    sizes = _sizes(X)
    together = _together(sizes)
    ends = range(0, len(rows), together)
    return graph, [
        Group(i, len(rows[i : i + together]), rows[i : i + together], sum(sizes[i : i + together])) for i in ends
    ]


def _sizes(X: Any) -> list[int]:
    """The bytes of each chunk; 0 where only its computation tells: of unknown rows, and of sparse ones."""
    if _unknown(X) or not isinstance(X._meta, np.ndarray):
        return [0] * X.numblocks[0]
    return [rows * X.shape[1] * X.dtype.itemsize for rows in X.chunks[0]]


def _together(sizes: list[int]) -> int:
    """How many chunks a group has: a power of 2, which depends on the sizes of the chunks alone."""
    most = max(sizes)
    return 1 << max(0, (_chunks.GROUP_BYTES // most).bit_length() - 1) if most else 1
