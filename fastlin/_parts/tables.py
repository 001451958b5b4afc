"""Parts of files with named columns: row groups of Parquet files, and record batches of Arrow files.

Like all sources (see `sources`) they are a few words, and open their file where and when they are read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from fastlin import _check
from fastlin._check import Array
from fastlin._extras import need
from fastlin._files import store
from fastlin._parts.sources import Pieces, paths_of


class _Names(NamedTuple):
    """X of some columns, or of one of lists; y and sample_weight of one each."""

    X: tuple[str, ...]
    y: str | None
    sample_weight: str | None

    @property
    def beside(self) -> list[str]:
        return [name for name in (self.y, self.sample_weight) if name is not None]

    def pieces(self, table: Any) -> Pieces:
        """X, y and sample_weight of pyarrow's table or batch with these columns."""
        columns = [_numbers(table, name) for name in self.X]
        X = columns[0] if columns[0].ndim == 2 else np.stack(columns, axis=1)
        return (X, *(None if name is None else _numbers(table, name) for name in (self.y, self.sample_weight)))


class _Format(NamedTuple):
    """A kind of file, and what its pieces are called."""

    kind: str
    pieces: str
    otherwise: str  # what a file is that cannot be read
    look: Callable[[IO[bytes]], tuple[list[str], int]]  # the names of the columns, and the number of pieces
    read: Callable[[str, int, list[str]], Any]  # piece `number` of a path, with these columns at least


@dataclass(frozen=True)
class _Piece:
    """One of a file."""

    read: Callable[[str, int, list[str]], Any]
    path: str
    number: int
    names: _Names

    def __call__(self) -> Pieces:
        return self.names.pieces(self.read(self.path, self.number, [*self.names.X, *self.names.beside]))


def _pieces(form: _Format, paths: Any, X: Any, y: str | None, sample_weight: str | None) -> list[_Piece]:
    found, first = [], None
    for path in paths_of("paths", paths, f"{form.kind} file"):
        with store.opened(path, form.otherwise) as file:
            columns, count = form.look(file)
        first = first or columns
        names = _names(path, columns, first, X, y, sample_weight)
        found += [_Piece(form.read, os.fspath(path.absolute()), i, names) for i in range(count)]
    if not found:
        raise ValueError(f"paths: there are no {form.pieces} in these files")
    return found


# ---- Parquet -----------------------------------------------------------------------------------------------------


def row_groups(paths: Any, X: Any, y: str | None, sample_weight: str | None) -> list[_Piece]:
    """The parts of `Parts.from_parquet`."""
    parquet = _parquet()

    def look(file: IO[bytes]) -> tuple[list[str], int]:
        opened = parquet.ParquetFile(file)
        return opened.schema_arrow.names, opened.num_row_groups

    form = _Format("a Parquet", "row groups", "is no Parquet file", look, _row_group)
    return _pieces(form, paths, X, y, sample_weight)


def _row_group(path: str, number: int, columns: list[str]) -> Any:
    with _parquet().ParquetFile(path) as file:
        return file.read_row_group(number, columns=columns)


# ---- Arrow -------------------------------------------------------------------------------------------------------


def record_batches(paths: Any, X: Any, y: str | None, sample_weight: str | None) -> list[_Piece]:
    """The parts of `Parts.from_arrow`."""
    pyarrow = _arrow()

    def look(file: IO[bytes]) -> tuple[list[str], int]:
        opened = pyarrow.ipc.open_file(file)
        return opened.schema.names, opened.num_record_batches

    otherwise = "is no Arrow file, which pyarrow.ipc.new_file or Feather writes (a stream is none)"
    form = _Format("an Arrow", "record batches", otherwise, look, _record_batch)
    return _pieces(form, paths, X, y, sample_weight)


def _record_batch(path: str, number: int, columns: list[str]) -> Any:
    """Of a file that is mapped: what is not compressed is not copied, but if asked for some columns pyarrow copies."""
    pyarrow = _arrow()
    with pyarrow.memory_map(path) as mapped:
        return pyarrow.ipc.open_file(mapped).get_batch(number)


# ---- Columns -----------------------------------------------------------------------------------------------------


def _names(
    path: Path, columns: list[str], first: list[str], X: Any, y: str | None, sample_weight: str | None
) -> _Names:
    """What to read of a file with these columns, of which the first file has others or not."""
    if columns != first:
        raise ValueError(f"{path} has other columns than the files before it: {_shown(columns)}")
    beside = [name for name in (y, sample_weight) if name is not None]
    of_X = [name for name in columns if name not in beside] if X is None else [X] if isinstance(X, str) else list(X)
    for name in (*of_X, *beside):
        if columns.count(name) != 1:
            many = "no column" if name not in columns else "more than one column"
            raise ValueError(f"{path} has {many} {_check.shown(name)}; found {_shown(columns)}")
    if not of_X:
        raise ValueError(f"{path} has no column for X; found {_shown(columns)}")
    return _Names(tuple(of_X), y, sample_weight)


def _numbers(table: Any, name: str) -> Array:
    """A column (n,), or one of lists (n, k)."""
    column = table.column(name)
    if hasattr(column, "combine_chunks"):
        column = column.combine_chunks()
    column.validate(full=True)  # a file's offsets may lead out of its buffers
    lists = hasattr(column.type, "list_size")
    values = column.flatten() if lists else column
    if nulls := column.null_count or values.null_count:
        raise ValueError(f"column {name!r} has {nulls} nulls: fill them in, or drop their rows")
    found: Array = values.to_numpy(zero_copy_only=False)
    return found.reshape(len(column), column.type.list_size) if lists else found


def _parquet() -> Any:
    return need("pyarrow.parquet", "parquet", "Parts.from_parquet")


def _arrow() -> Any:
    return need("pyarrow", "parquet", "Parts.from_arrow")


def _shown(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:20])) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
