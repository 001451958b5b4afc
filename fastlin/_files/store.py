"""Named values in a file without pickle: .npz, or .safetensors (an extra), by the file's suffix; and whole files.

Arrays are stored as arrays. Numbers, strings and lists of them are stored as the JSON text `facts`, which keeps every
bit of a float.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from fastlin._extras import need
from fastlin._files.npz import KINDS, Npz

FACTS = "facts"


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A new file to write into. It takes the place of PATH when the block ends, and is removed after an error.

    Whoever reads PATH at any moment finds the old file or the new one, whole; so do readers while several processes
    write to it, and after a crash. A link stays a link, and the file that it names is replaced. A file that is
    replaced keeps its mode. What is no file, such as /dev/stdout, is written to.

    The new file lies in the same folder and is called PATH.<16 digits>.part. Only a process that is killed leaves one
    behind; nothing reads it, and it can be deleted.
    """
    mode = _mode(path)
    if mode is not None and not stat.S_ISREG(mode):
        with Path(path).open("wb") as file:
            yield file
        return
    target = Path(os.path.realpath(path))
    part = target.with_name(f"{target.name[:50]}.{os.urandom(8).hex()}.part")  # no name may be longer than 255 bytes
    try:
        with part.open("xb") as file:
            if mode is not None:
                part.chmod(stat.S_IMODE(mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def _mode(path: str | os.PathLike[str]) -> int | None:
    """The kind and the permissions of a file; None if there is none yet."""
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


def _sync_folder(folder: Path) -> None:
    """Makes the new name as durable as the file, on systems where a folder can be opened."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:  # a folder that may be written but not read
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def save(path: str | os.PathLike[str], values: Mapping[str, Any]) -> None:
    """Write `values` whole or not at all, see `replacing`.

    Raises TypeError for a value that would need pickle; nothing has been written then.
    """
    import json  # these and zipfile are 6 ms that `import fastlin` need not cost

    path = as_path("path", path)
    write = _writer(path)
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    if FACTS in arrays:
        raise ValueError(f"no array may be called {FACTS!r}: the file has the numbers and strings under that name")
    for name, A in arrays.items():
        if A.dtype.kind not in KINDS:
            raise TypeError(f"{name} holds {A.dtype}, which is neither numbers nor text, and cannot be saved")
    facts = json.dumps({name: value for name, value in values.items() if name not in arrays}, default=_python_scalar)
    with replacing(path) as file:
        write(file, arrays, facts)


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The values that `save` wrote.

    Raises FileNotFoundError, or ValueError for a file that is cut short, damaged or of another kind.
    """
    import json

    path = as_path("path", path)
    _writer(path)
    with opened(path, "was not written by fastlin") as file:
        arrays, facts = _read_npz(file) if path.suffix == ".npz" else _read_safetensors(path)
        values = json.loads(facts)
        if not isinstance(values, dict):
            raise ValueError(f"its {FACTS} are a {type(values).__name__}")
        return values | arrays


@contextmanager
def opened(path: str | os.PathLike[str], otherwise: str) -> Iterator[IO[bytes]]:
    """The open file, read as in `reading`. A file that cannot be opened keeps its own error."""
    with Path(path).open("rb") as file, reading(path, otherwise):
        yield file


@contextmanager
def reading(path: str | os.PathLike[str], otherwise: str) -> Iterator[None]:
    """Any error in reading becomes a ValueError: PATH is damaged or OTHERWISE. Damage can raise nearly anything."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{path} is damaged or {otherwise}: {error or type(error).__name__}") from error


def as_path(name: str, path: str | os.PathLike[str]) -> Path:
    """The argument of this name as a path."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path; found {type(path).__name__}")
    found = os.fspath(path)
    if not isinstance(found, str):
        raise TypeError(f"{name} must be a path of text; found {type(found).__name__}")
    if "\0" in found:
        raise ValueError(f"{name} must be a path; found {found!r}, and no file's name has a NUL in it")
    return Path(found)


def check_path(name: str, path: str | os.PathLike[str]) -> Path:
    """Checks that `save` can write `path` later: a known suffix, an installed package for it, an existing folder."""
    found = as_path(name, path)
    _writer(found)
    if not found.parent.is_dir():
        raise FileNotFoundError(f"{name}: there is no folder {found.parent} to write {found.name} in; make it first")
    if found.is_dir():
        raise IsADirectoryError(f"{name}: {found} is a folder")
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
    """As np.savez, which pickles objects and has arguments that names can collide with."""
    import zipfile

    with zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        for name, A in {FACTS: np.array(facts), **arrays}.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, A, allow_pickle=False)


def _read_npz(file: IO[bytes]) -> tuple[dict[str, Any], str]:
    npz = Npz(file)
    if FACTS not in npz.names:
        raise ValueError(f"it has no array {FACTS!r}; found {', '.join(npz.names)[:200] or 'none'}")
    if sum(npz.declared(name).size for name in npz.names) > npz.size:
        raise ValueError("its arrays are larger than the file, as `save` never leaves them")
    arrays = {name: npz.read(name) for name in npz.names}
    return arrays, str(arrays.pop(FACTS))


def _write_safetensors(file: IO[bytes], arrays: dict[str, Any], facts: str) -> None:
    import safetensors.numpy  # `_writer` has said what to install where it is missing

    rows = {name: np.asarray(A, order="C") for name, A in arrays.items()}  # the format has no other order
    try:
        content = safetensors.numpy.save(rows, metadata={FACTS: facts})
    except safetensors.SafetensorError as error:
        raise TypeError(f"a .safetensors file cannot hold this: {error}") from error
    file.write(content)


def _read_safetensors(path: Path) -> tuple[dict[str, Any], str]:
    safetensors = need("safetensors", "safetensors", "a .safetensors file")
    with safetensors.safe_open(path, "numpy") as stored:
        facts = (stored.metadata() or {})[FACTS]
        return {name: stored.get_tensor(name) for name in stored.keys()}, facts  # noqa: SIM118  (no mapping)
