"""Loads CIFAR-10's files, scikit-learn's digits, and arrays of your own. Nothing is downloaded."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from fastlin._check import Array
from fastlin._extras import need
from fastlin._files.npz import MAGIC, PIECE, Npz, npy_header, read_numbers, read_whole
from fastlin._files.pickled import Pickled, read_pickle
from fastlin._files.store import as_path, opened, reading

TestRows = TypeVar("TestRows", bound=Array | None, covariant=True)  # Array where the source is known to have them


class Dataset(NamedTuple, Generic[TestRows]):
    """Rows to train on and, if the source has them, rows to test with.

    X : (n, d) numbers.  y : (n,) integers, or targets (n,) or (n, k).
    X_test, y_test : rows to test with, alike; None if the source has none.
    classes : a name for each class; empty if the source names none.
    image : the shape of a row as an image, (height, width) or (channels, height, width); empty if it is none.
    """

    X: Array
    y: Array
    X_test: TestRows
    y_test: TestRows
    classes: tuple[str, ...]
    image: tuple[int, ...] = ()


CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10_FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
PIXELS = 3 * 32 * 32
RECORD = 1 + PIXELS  # bytes: a label, then the red, green and blue pixels
MOST_FILE, MOST_ARCHIVE = 64 << 20, 512 << 20  # bytes that are read at most; CIFAR-10's files have 31 MB each
BLOCK = 512  # bytes of a header in a .tar; files begin at multiples of it
NO_ARRAYS = "holds no plain arrays"


def load_cifar10(path: str | os.PathLike[str]) -> Dataset[Array]:
    """CIFAR-10 (Krizhevsky 2009) as it is distributed: the python or the binary version.

    path : the folder with data_batch_1 ... data_batch_5 and test_batch, or with these names and .bin; or the
        .tar.gz as downloaded, which is read without unpacking it.

    Returns X uint8 (50000, 3072) and X_test uint8 (10000, 3072), each row red, green, blue, 32 x 32 each; labels in
    [0, 10); the names of the classes. The losses read uint8 X in place; pass x_scale=1/255 to scale it to [0, 1].

    The python version's files are pickles. They are read without `pickle`, by a reader of their few opcodes that calls
    nothing and whose memory is bounded by the size of the file.

    Raises FileNotFoundError for a file that is not there and ValueError for one that is cut short, damaged or larger
    than CIFAR-10's.
    """
    path = as_path("path", path)
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
                yield name, _content(path / name)
        return
    with opened(path, "no .tar.gz") as file:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not compressed:
            yield from _archived(file, wanted)
            return
        import gzip  # here, because it would add milliseconds to `import fastlin`

        with gzip.open(file) as archive:
            yield from _archived(archive, wanted)


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MOST_FILE + 1)
    if len(content) > MOST_FILE:
        raise ValueError(f"{path} has more than {MOST_FILE} bytes; a file of CIFAR-10 has about 31 MB")
    return content


def _archived(archive: Any, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """The names and contents of CIFAR-10's files in an open .tar: headers of 512 bytes, each followed by a file.

    tarfile is not used: it reads extended headers whole, however large they say they are, and keeps every header.
    """
    left = MOST_ARCHIVE
    while any(header := read_whole(archive, BLOCK)):  # zeros are the end
        size = _member_size(header)
        name = header[:100].partition(b"\0")[0].decode("latin-1").rpartition("/")[2]
        padded = -(-size // BLOCK) * BLOCK
        left -= BLOCK + padded
        if left < 0:
            raise ValueError(f"it holds more than {MOST_ARCHIVE} bytes; CIFAR-10 has about 180 MB")
        if name in wanted and header[156:157] in b"0\0":  # a plain file
            if size > MOST_FILE:
                raise ValueError(f"its {name} has {size} bytes; a file of CIFAR-10 has about 31 MB")
            yield name, read_whole(archive, size)
            padded -= size
        while padded:
            padded -= len(read_whole(archive, min(padded, PIECE)))
    while found := archive.read(PIECE):  # up to the end, where gzip compares its checksum
        left -= len(found)
        if left < 0:
            raise ValueError(f"it holds more than {MOST_ARCHIVE} bytes; CIFAR-10 has about 180 MB")


def _member_size(header: bytes) -> int:
    """The size of the file that follows a header of a .tar."""
    checksum, size = (header[start:stop].strip(b"\0 ") for start, stop in ((148, 156), (124, 136)))
    if not checksum or set(checksum + size) - set(b"01234567"):
        raise ValueError("it is no .tar, or a header in it is damaged")
    if sum(header) - sum(header[148:156]) + 8 * ord(" ") != int(checksum, 8):
        raise ValueError("a header in it is damaged: its checksum differs")
    return int(size or b"0", 8)


def _cifar10_records(where: str, content: bytes) -> tuple[Array, Array]:
    """Images and labels of a file of the binary version."""
    if not content or len(content) % RECORD:
        expected = f"records of {RECORD} bytes, {10_000 * RECORD} in all for 10000 images"
        raise ValueError(f"{where} holds {len(content)} bytes; expected {expected}")
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    labels = records[:, 0].astype(np.int64)
    if labels.max() > 9:
        raise ValueError(f"{where} is damaged: its labels are not integers in [0, 10)")
    return records[:, 1:], labels


def _cifar10_pickle(where: str, content: bytes) -> tuple[Array, Array]:
    """Images and labels of a file of the python version."""
    try:
        batch = read_pickle(content)
        if not isinstance(batch, dict):
            raise ValueError("it holds no dict")
        X, labels = (batch.get(name, batch.get(name.decode())) for name in (b"data", b"labels"))
        if not isinstance(X, Pickled) or X.array is None or X.array.shape[1] != PIXELS:
            raise ValueError(f"its data are no bytes of shape (n, {PIXELS})")
        if not isinstance(labels, list) or not all(type(label) is int and 0 <= label <= 9 for label in labels):
            raise ValueError("its labels are not integers in [0, 10)")
        if len(X.array) != len(labels):
            raise ValueError(f"it holds {len(X.array)} images and {len(labels)} labels")
    except ValueError as error:
        raise ValueError(
            f"{where} is damaged or not of CIFAR-10 ({len(content)} bytes; about 31 MB for 10000 images): {error}"
        ) from error
    return X.array, np.array(labels, np.int64)


def load_digits() -> Dataset[Array]:
    """scikit-learn's digits (needs `fastlin[sklearn]`): 8 x 8 in [0, 1], shuffled; a fixed fifth is for testing.

    Returns X float64 (1438, 64) and X_test (359, 64), labels int64 in [0, 10), the names of the classes. Raises
    ImportError without scikit-learn. UCI's "Optical Recognition of Handwritten Digits", Alpaydin & Kaynak 1998.
    """
    X, y = need("sklearn.datasets", "sklearn", "the digits data set").load_digits(return_X_y=True)
    X, y = X / 16.0, y.astype(np.int64)
    order = np.random.default_rng(2026).permutation(len(X))
    test, train = order[: len(X) // 5], order[len(X) // 5 :]
    return Dataset(X[train], y[train], X[test], y[test], tuple("0123456789"), (8, 8))


def load_arrays(path: str | os.PathLike[str], labels: str | os.PathLike[str] | None = None) -> Dataset[Array | None]:
    """Arrays of your own: one .npz with X, y and perhaps X_test, y_test; or X in one .npy and y in another.

    path : the .npz, or the .npy of X (n, d), which is memory-mapped: `train` reads it a batch at a time.
    labels : the .npy of y.

    Returns X and y in the types that the files have, y as labels (n,), or targets (n,) or (n, k); X_test and y_test are
    None where the file has none, `classes` is empty. Nothing in a file is run: no pickle is read.

    Raises FileNotFoundError, or ValueError for a file of another kind, cut short, or without these arrays.
    """
    path = as_path("path", path)
    if labels is not None:
        X, y = one_array(path, mapped=True), one_array(as_path("labels", labels), mapped=False)
        check_rows(path, X.shape, y.shape)
        return Dataset(X, y, None, None, ())
    with path.open("rb") as file:
        if file.read(len(MAGIC)) == MAGIC:
            raise ValueError(f"{path} holds one array, without labels; pass a second .npy with y")
        with reading(path, NO_ARRAYS):
            npz = Npz(file)
        found = [name for name in ("X", "y", "X_test", "y_test") if name in npz.names]
        _need_arrays(path, npz, ["X", "y", "X_test", "y_test"] if len(found) > 2 else ["X", "y"])
        with reading(path, NO_ARRAYS):
            shapes = [npz.declared(name).shape for name in found]
        for X_shape, y_shape in zip(shapes[::2], shapes[1::2], strict=True):
            check_rows(path, X_shape, y_shape)
        with reading(path, NO_ARRAYS):
            arrays = {name: npz.read(name) for name in found}
    return Dataset(arrays["X"], arrays["y"], arrays.get("X_test"), arrays.get("y_test"), ())


def one_array(path: Path, mapped: bool) -> Array:
    """The array of an .npy; `mapped` into memory it is read when it is used."""
    with path.open("rb") as file:
        if file.read(2) == b"PK":
            raise ValueError(f"{path} is an .npz, which stands alone; X and y must be .npy files of one array each")
        with reading(path, NO_ARRAYS):
            declared = npy_header(file)
            if not mapped:
                return read_numbers(file, declared)
            return np.memmap(file, declared.dtype, "r", declared.start, declared.shape, declared.order)  # type: ignore[call-overload, no-any-return]


def _need_arrays(path: Any, npz: Npz, names: Iterable[str]) -> None:
    lacking = [name for name in names if name not in npz.names]
    if lacking:
        raise ValueError(f"{path} has no array {' or '.join(lacking)}; found {', '.join(npz.names)[:200] or 'none'}")


def check_rows(path: Any, X: tuple[int, ...], y: tuple[int, ...]) -> None:
    """Raises ValueError for shapes of X and y that do not go together."""
    if len(X) != 2 or len(y) not in (1, 2) or y[0] != X[0]:
        raise ValueError(
            f"{path}: expected X (n, d) and as many labels y (n,) or targets (n,), (n, k); found shapes {X} and {y}"
        )
