"""Loads CIFAR-10's files, scikit-learn's digits, and arrays of your own. Nothing is downloaded."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Generic, NamedTuple, TypeVar

import numpy as np

from fastlin._check import Array
from fastlin._extras import need
from fastlin._save import opened

TestRows = TypeVar("TestRows", bound=Array | None, covariant=True)  # Array where the source is known to have them


class Dataset(NamedTuple, Generic[TestRows]):
    """Rows to train on and, if the source has them, rows to test with."""

    X: Array  # (n, d)
    y: Array  # (n,) integers, or targets (n,) or (n, k)
    X_test: TestRows
    y_test: TestRows
    classes: tuple[str, ...]  # a name for each class; empty if the source names none
    image: tuple[int, ...] = ()  # the shape of a row as an image: (height, width) or (channels, height, width)


CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10_FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
PIXELS = 3 * 32 * 32
RECORD = 1 + PIXELS  # bytes: a label, then the red, green and blue pixels


def load_cifar10(path: str | os.PathLike[str]) -> Dataset[Array]:
    """CIFAR-10 (Krizhevsky 2009) as it is distributed: the python or the binary version.

    path : the folder with data_batch_1 ... data_batch_5 and test_batch, or with these names and .bin; or the
        .tar.gz as downloaded, which is read without unpacking it.

    Returns X uint8 (50000, 3072) and X_test uint8 (10000, 3072), each row red, green, blue, 32 x 32 each; labels in
    [0, 10); the names of the classes. The losses read uint8 X in place; pass x_scale=1/255 to scale it to [0, 1].

    The python version's files are pickles. They are read by an unpickler that accepts only arrays of bytes and
    built-in containers, and that calls no function named in a file.

    Raises FileNotFoundError for a file that is not there and ValueError for one that is cut short or damaged.
    """
    path = Path(path)
    found: dict[str, tuple[Array, Array]] = {}
    for name, content in _files(path):
        parse = _cifar10_records if name.endswith(".bin") else _cifar10_pickle
        found[name] = parse(f"{path}: {name}", content)
    suffix = ".bin" if any(name.endswith(".bin") for name in found) else ""
    lacking = [f"{name}{suffix}" for name in CIFAR10_FILES if f"{name}{suffix}" not in found]
    if lacking:
        raise FileNotFoundError(f"{path} lacks {', '.join(lacking)} of CIFAR-10 (https://www.cs.toronto.edu/~kriz)")
    *train, test = (found[f"{name}{suffix}"] for name in CIFAR10_FILES)
    X, y = (np.concatenate(parts) for parts in zip(*train, strict=True))
    return Dataset(X, y, *test, CIFAR10_CLASSES, (3, 32, 32))


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    """The names and contents of CIFAR-10's files in a folder or a .tar.gz."""
    wanted = sorted(f"{name}{suffix}" for name in CIFAR10_FILES for suffix in ("", ".bin"))
    if path.is_dir():
        for name in wanted:
            if (path / name).is_file():
                yield name, (path / name).read_bytes()
        return
    with opened(path, "no .tar.gz") as content:
        yield from _archived(content, wanted)


def _archived(content: IO[bytes], wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """The names and contents of CIFAR-10's files in an open .tar.gz."""
    import tarfile  # here, because it would add 3 ms to `import fastlin`

    try:
        with tarfile.open(fileobj=content) as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                file = archive.extractfile(member) if name in wanted else None
                if file is not None:
                    yield name, file.read()
    except tarfile.TarError as error:
        raise ValueError(str(error)) from error


def _cifar10_records(where: str, content: bytes) -> tuple[Array, Array]:
    """Images and labels of a file of the binary version."""
    if not content or len(content) % RECORD:
        raise ValueError(
            f"{where} has {len(content)} bytes; expected records of {RECORD} bytes, {10_000 * RECORD} in all for 10000"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    return records[:, 1:], _cifar10_labels(where, records[:, 0])


def _cifar10_pickle(where: str, content: bytes) -> tuple[Array, Array]:
    """Images and labels of a file of the python version."""
    try:
        batch = _Unpickler(io.BytesIO(content), encoding="bytes").load()
        X, labels = _pixels(batch[b"data"]), np.array(batch[b"labels"])
        if len(X) != len(labels):
            raise ValueError(f"it holds {len(X)} images and {len(labels)} labels")
    # A damaged pickle can raise nearly anything (the documentation of pickle says so).
    except Exception as error:
        raise ValueError(
            f"{where} is damaged or not of CIFAR-10 ({len(content)} bytes; about 31 MB for 10000 images): {error!r}"
        ) from error
    return X, _cifar10_labels(where, labels)


class _Record:
    """Replaces the NumPy objects of a pickle: keeps their arguments and does nothing with them."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Unpickler(pickle.Unpickler):
    """Accepts the contents of CIFAR-10's files: containers, strings, numbers, and a NumPy array as a `_Record`."""

    def find_class(self, module: str, name: str) -> Any:
        """Returns `_Record` for the three names in the pickle of an array; all other names are refused."""
        array = {("numpy", "ndarray"), ("numpy", "dtype"), ("numpy.core.multiarray", "_reconstruct")}
        if (module, name) not in array:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which CIFAR-10's files do not")
        return _Record


def _pixels(record: _Record) -> Array:
    """The images that a pickled array holds."""
    _, shape, dtype, fortran, content = record.state
    if dtype.arguments[0] not in (b"u1", "u1") or len(shape) != 2 or shape[1] != PIXELS:
        raise ValueError(f"its data are {dtype.arguments[0]!r} of shape {shape}; expected bytes of shape (n, {PIXELS})")
    return np.frombuffer(content, np.uint8).reshape(shape, order="F" if fortran else "C")


def _cifar10_labels(where: str, labels: Array) -> Array:
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or labels.min() < 0 or labels.max() > 9:
        raise ValueError(f"{where} is damaged: its labels are not integers in [0, 10)")
    return labels.astype(np.int64)


def load_digits() -> Dataset[Array]:
    """scikit-learn's digits (needs `fastlin[sklearn]`): 8 x 8 in [0, 1], shuffled; a fixed fifth is for testing."""
    X, y = need("sklearn.datasets", "sklearn", "the digits data set").load_digits(return_X_y=True)
    X, y = X / 16.0, y.astype(np.int64)
    order = np.random.default_rng(2026).permutation(len(X))
    test, train = order[: len(X) // 5], order[len(X) // 5 :]
    return Dataset(X[train], y[train], X[test], y[test], tuple("0123456789"), (8, 8))


def load_arrays(path: str | os.PathLike[str], labels: str | os.PathLike[str] | None = None) -> Dataset[Array | None]:
    """Arrays of your own: one .npz with X, y and perhaps X_test, y_test; or X in one .npy and y in another.

    y are labels (n,), or targets (n,) or (n, k).

    path : the .npz, or the .npy of X, which is memory-mapped: `train` reads it a batch at a time.
    labels : the .npy of y.

    Raises FileNotFoundError, or ValueError for a file of another kind, cut short, or without these arrays.
    """
    if labels is not None:
        X, y = _read(path, mmap_mode="r"), _read(labels)
        if not isinstance(X, np.ndarray) or not isinstance(y, np.ndarray):
            raise ValueError(f"{path} and {labels} must be .npy files of one array each; an .npz stands alone")
        _check_rows(path, X, y)
        return Dataset(X, y, None, None, ())
    arrays = _read(path)
    if isinstance(arrays, np.ndarray):
        raise ValueError(f"{path} holds one array, without labels; pass a second .npy with y")
    _need_arrays(path, arrays, {"X", "y"})
    _check_rows(path, arrays["X"], arrays["y"])
    if "X_test" in arrays or "y_test" in arrays:
        _need_arrays(path, arrays, {"X_test", "y_test"})
        _check_rows(path, arrays["X_test"], arrays["y_test"])
    return Dataset(arrays["X"], arrays["y"], arrays.get("X_test"), arrays.get("y_test"), ())


def _read(path: str | os.PathLike[str], mmap_mode: Any = None) -> Any:
    """The array of an .npy, or a dict of those of an .npz; never a pickle."""
    with opened(path, "holds no plain arrays") as file:  # given a path, np.load does not close a damaged .npz
        content = np.load(path if mmap_mode else file, mmap_mode, allow_pickle=False)
        return content if isinstance(content, np.ndarray) else dict(content)


def _need_arrays(path: Any, arrays: dict[str, Array], names: Iterable[str]) -> None:
    lacking = sorted(set(names) - set(arrays))
    if lacking:
        raise ValueError(f"{path} has no array {' or '.join(lacking)}; found {', '.join(arrays) or 'none'}")


def _check_rows(path: Any, X: Array, y: Array) -> None:
    if X.ndim != 2 or y.ndim not in (1, 2) or len(y) != len(X):
        raise ValueError(
            f"{path}: expected X (n, d) and as many labels y (n,) or targets (n,), (n, k); "
            f"found shapes {X.shape} and {y.shape}"
        )
