"""Named values in a file without pickle: .npz, or .safetensors (an extra), by the file's suffix.

Arrays are stored as arrays. Numbers, strings and lists of them are stored as the JSON text `facts`, which keeps every
bit of a float.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from fastlin._extras import need

FACTS = "facts"


def save(path: str | os.PathLike[str], values: Mapping[str, Any]) -> None:
    """Write `values` whole or not at all: into PATH.tmp, which then takes PATH's place."""
    import json  # these and zipfile are 6 ms that `import fastlin` need not cost

    path = Path(path)
    write = _writer(path)
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    facts = json.dumps({name: value for name, value in values.items() if name not in arrays}, default=_python_scalar)
    part = path.with_name(path.name + ".tmp")
    try:
        with part.open("wb") as file:
            write(file, arrays, facts)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The values that `save` wrote.

    Raises FileNotFoundError, or ValueError for a file that is cut short, damaged or of another kind.
    """
    import json

    path = Path(path)
    _writer(path)
    with opened(path, "was not written by fastlin") as file:
        arrays, facts = _read_npz(file) if path.suffix == ".npz" else _read_safetensors(path)
        return {**json.loads(facts), **arrays}


@contextmanager
def opened(path: str | os.PathLike[str], otherwise: str) -> Iterator[IO[bytes]]:
    """The open file; errors in reading it become a ValueError: PATH is damaged or OTHERWISE.

    A damaged zip file raises any of these. A file that cannot be opened keeps its own error.
    """
    with Path(path).open("rb") as file:
        try:
            yield file
        except _reading_errors() as error:
            raise ValueError(f"{path} is damaged or {otherwise}: {error}") from error


def _reading_errors() -> tuple[type[Exception], ...]:
    """What reading a damaged file raises, zip files among them."""
    import struct
    import zipfile
    import zlib

    ours = ValueError, LookupError, TypeError, EOFError, OSError, RuntimeError
    return *ours, zipfile.BadZipFile, zlib.error, struct.error


def check_path(name: str, path: str | os.PathLike[str]) -> Path:
    """Checks that `save` can write `path` later: a known suffix, an installed package for it, an existing folder."""
    found = Path(path)
    _writer(found)
    if not found.parent.is_dir():
        raise FileNotFoundError(f"{name}: there is no folder {found.parent} to write {found.name} in; make it first")
    return found


def _writer(path: Path) -> Callable[[IO[bytes], dict[str, Any], str], None]:
    if path.suffix == ".npz":
        return _write_npz
    if path.suffix == ".safetensors":
        need("safetensors.numpy", "safetensors", "a .safetensors file")
        return _write_safetensors
    raise ValueError(f"{path} must end in .npz or .safetensors")


def _python_scalar(value: Any) -> Any:
    """A NumPy scalar as Python's, for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} can be written neither as an array nor as JSON")


def _write_npz(file: IO[bytes], arrays: dict[str, Any], facts: str) -> None:
    np.savez(file, **{FACTS: np.array(facts), **arrays})


def _read_npz(file: IO[bytes]) -> tuple[dict[str, Any], str]:
    import zipfile

    if not zipfile.is_zipfile(file):
        raise ValueError("it is no .npz file")
    file.seek(0)
    with np.load(file, allow_pickle=False) as stored:
        arrays = dict(stored)
    if FACTS not in arrays:
        raise ValueError(f"it has no array {FACTS!r}; found {', '.join(arrays) or 'none'}")
    return arrays, str(arrays.pop(FACTS))


def _write_safetensors(file: IO[bytes], arrays: dict[str, Any], facts: str) -> None:
    safetensors = need("safetensors.numpy", "safetensors", "a .safetensors file")
    rows = {name: np.asarray(A, order="C") for name, A in arrays.items()}  # the format has no other order
    file.write(safetensors.save(rows, metadata={FACTS: facts}))


def _read_safetensors(path: Path) -> tuple[dict[str, Any], str]:
    safetensors = need("safetensors", "safetensors", "a .safetensors file")
    try:
        with safetensors.safe_open(path, "numpy") as stored:
            facts = (stored.metadata() or {})[FACTS]
            return {name: stored.get_tensor(name) for name in stored.keys()}, facts  # noqa: SIM118  (no mapping)
    except safetensors.SafetensorError as error:
        raise ValueError(str(error)) from error
