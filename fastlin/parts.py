"""Data that is read some rows at a time: `Parts`, for files larger than memory and for more than one worker."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from fastlin import _check
from fastlin._check import Array
from fastlin._check.csr import features, is_sparse
from fastlin._csr import Csr

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from fastlin._parts.reduction import Partial

BLOCK_BYTES = 4 << 20  # of rows that lie side by side: a disk reads them at full speed

T = TypeVar("T")
Task = Callable[["Part"], T]
Files = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class Part(NamedTuple):
    """Some rows."""

    X: Any  # (n, d), an array or sparse rows
    y: Any = None  # (n,) or (n, c); None where a part is of X alone
    sample_weight: Any = None  # (n,), or None


class Parts:
    """Rows in parts that are read when they are needed: what functions of fastlin take in the place of X.

    A loss over parts is a sum over them, in float64 and in an order that depends on their numbers alone: it has the
    same bits for any number of threads and workers. The next part is read, by a thread, while one is computed: two
    parts are in memory.

    Parameters
    ----------
    parts : callables without arguments, each of which returns X, (X, y) or (X, y, sample_weight), the same each time;
        or such tuples themselves. X is (n, d) of any type that losses take, with as many columns in every part; sparse
        rows (CSR) in all parts or in none.

    Raises
    ------
    ValueError, TypeError : there is no part, or one is neither a callable nor a tuple. What a part holds is looked at
        when it is read: the error names its number.

    Notes
    -----
    len(parts) is their number, parts[i] reads one, and `for X, y, sample_weight in parts` reads them one after the
    other; what a part does not give is None. `docs/parts.md` tells all of it.

    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.standard_normal((100, 3)), rng.integers(0, 2, 100)
    >>> parts = Parts([lambda: (X[:60], y[:60]), lambda: (X[60:], y[60:])])
    >>> parts
    Parts of 2 parts
    >>> [len(y) for X, y, sample_weight in parts]
    [60, 40]
    """

    def __init__(self, parts: Iterable[Callable[[], Any] | tuple[Any, ...]]) -> None:
        if isinstance(parts, (str, bytes, np.ndarray)) or not isinstance(parts, Iterable):
            raise TypeError(
                f"parts must be a list of callables or of tuples (X, y); found {_check.kind(parts)}. For arrays see "
                f"Parts.from_arrays, for files Parts.from_npy"
            )
        self._sources = [_source(i, given) for i, given in enumerate(parts)]
        if not self._sources:
            raise ValueError("parts is empty; there must be at least one part")
        self.executor: Executor | None = None

    @classmethod
    def from_arrays(cls, X: Any, y: Any = None, sample_weight: Any = None, *, rows: int | None = None) -> Parts:
        """Parts of so many rows each of an array, an `np.memmap`, or whatever has a shape and slices, such as Zarr's.

        X : (n, d); or SciPy's csr_array or csr_matrix, whose entries are not copied.
        y, sample_weight : (n,) or (n, c) likewise, or None.
        rows : of a part; None takes the chunks of X if it has any, else some 32 MB.
        Raises ValueError or TypeError for arrays that do not fit each other.

        >>> Parts.from_arrays(np.ones((7, 2)), np.zeros(7, int), rows=3)
        Parts of 3 parts
        """
        from fastlin._parts.sources import slices  # a millisecond that `import fastlin` need not cost

        return cls(slices(X, y, sample_weight, rows))

    @classmethod
    def from_npy(
        cls,
        X: Files,
        y: Files | ArrayLike | None = None,
        sample_weight: Files | ArrayLike | None = None,
        *,
        rows: int | None = None,
    ) -> Parts:
        """Parts of so many rows each of .npy files.

        X : the path of a file (n, d), or a list of paths, whose rows follow each other.
        y, sample_weight : as many paths, of files with the same rows; or an array of all rows; or None.
        rows : of a part, at most: none spans two files. None: some 32 MB.
        Raises ValueError for files that are damaged, not of numbers, or do not fit each other; OSError for those that
        cannot be opened. Only headers are read now.
        """
        from fastlin._parts.sources import npy_ranges  # a millisecond that `import fastlin` need not cost

        return cls(npy_ranges(X, y, sample_weight, rows))

    @classmethod
    def from_parquet(
        cls,
        paths: Files,
        y: str | None = None,
        *,
        X: str | Sequence[str] | None = None,
        sample_weight: str | None = None,
    ) -> Parts:
        """A part for each row group of Parquet files; needs `fastlin[parquet]`.

        y, sample_weight : the names of their columns, or None.
        X : the names of the columns of X, or the name of one whose entries are lists of a fixed size; None: all others.
        Raises ValueError for columns that are not there, hold no numbers, or have nulls.
        """
        from fastlin._parts.tables import row_groups  # a millisecond that `import fastlin` need not cost

        return cls(row_groups(paths, X, y, sample_weight))

    @classmethod
    def from_arrow(
        cls,
        paths: Files,
        y: str | None = None,
        *,
        X: str | Sequence[str] | None = None,
        sample_weight: str | None = None,
    ) -> Parts:
        """A part for each record batch of Arrow (Feather) files, which are mapped; needs `fastlin[parquet]`.

        y, sample_weight, X : as in `from_parquet`. One column of lists of float32 that is not compressed is not copied.
        Raises ValueError for columns that are not there, hold no numbers, or have nulls.
        """
        from fastlin._parts.tables import record_batches  # a millisecond that `import fastlin` need not cost

        return cls(record_batches(paths, X, y, sample_weight))

    def on(self, executor: Executor | None) -> Parts:
        """The same parts, which workers read and compute: those of any concurrent.futures.Executor.

        Results have the same bits as without. Callables, and what they name, must be such that the executor can send
        them: for processes no lambda. Each worker has a part in memory and, unless threads= is given, one thread. W is
        sent with each task. None: this process.

        >>> from concurrent.futures import ThreadPoolExecutor
        >>> with ThreadPoolExecutor(2) as pool:
        ...     Parts([(np.ones((2, 1)), np.zeros(2, int))]).on(pool)
        Parts of 1 part
        """
        if executor is not None and not callable(getattr(executor, "submit", None)):
            raise TypeError(
                f"executor must have submit(function, ...), as in concurrent.futures; found {_check.kind(executor)}"
            )
        found = Parts.__new__(Parts)
        found._sources, found.executor = self._sources, executor
        return found

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, number: int) -> Part:
        number = range(len(self))[number]
        return named(number, lambda: _checked(self._sources[number]())[1])  # with sparse rows of the caller's own kind

    def __iter__(self) -> Iterator[Part]:
        return (self[number] for number in range(len(self)))

    def __array__(self, *arguments: Any, **named: Any) -> Array:
        raise TypeError("fl.Parts are no array, and this function takes none: give it one part after the other")

    def __repr__(self) -> str:
        return f"Parts of {len(self)} part{'s' if len(self) > 1 else ''}"

    def _mapped(self, function: Callable[[Part], Part]) -> Parts:
        """Parts in which each is the function of one of these."""
        found = Parts.__new__(Parts)
        found._sources, found.executor = [_Mapped(source, function) for source in self._sources], self.executor
        return found

    def _each(self, task: Task[T], take: Callable[[int, T], object], *, touch: bool = True) -> None:
        """take(number, task(part)) for every part: in order, or with an executor in the order in which they end.

        touch : whether all of X is to be in memory before the task begins.
        """
        if self.executor is not None:
            self._each_there(task, take)
            return
        from fastlin._parts.ahead import Ahead  # milliseconds that `import fastlin` need not cost

        with Ahead(self._numbered(touch)) as parts:
            for number, part in parts:
                take(number, _done(task, part, number))
                del part  # before the one after the next is begun

    def _sum(self, task: Task[Partial]) -> Partial:
        """The sum over the parts of what the task makes of each, in the order of the tree."""
        from fastlin._parts.reduction import Tree

        tree = Tree(len(self))
        self._each(task, tree.add)
        return tree.total()

    def _numbered(self, touch: bool) -> Iterator[tuple[int, Part]]:
        for number, source in enumerate(self._sources):
            part = read(source, number)
            if touch:
                bring_in(part.X)
            yield number, part

    def _each_there(self, task: Task[T], take: Callable[[int, T], object]) -> None:
        from concurrent.futures import as_completed  # 5 ms that `import fastlin` need not cost

        assert self.executor is not None
        futures = {}
        try:
            for number, source in enumerate(self._sources):
                futures[self.executor.submit(_compute, task, source, number)] = number
            for done in as_completed(futures):
                take(futures.pop(done), done.result())
        finally:
            for future in futures:
                future.cancel()


def _source(number: int, given: Any) -> Callable[[], Any]:
    if isinstance(given, type) or not (callable(given) or isinstance(given, (tuple, list))):
        raise TypeError(f"parts[{number}] must be a callable or a tuple (X, y); found {_check.kind(given)}")
    source: Callable[[], Any] = given if callable(given) else _Given(tuple(given))
    return source


@dataclass(frozen=True)
class _Given:
    """A part that is in memory."""

    arrays: tuple[Any, ...]

    def __call__(self) -> tuple[Any, ...]:
        return self.arrays


@dataclass(frozen=True)
class _Mapped:
    """A function of a part."""

    source: Callable[[], Any]
    function: Callable[[Part], Part]

    def __call__(self) -> Part:
        return self.function(_checked(self.source())[0])


def read(source: Callable[[], Any], number: int) -> Part:
    """The arrays of a part, checked, and sparse rows as `Csr`; errors name its number."""
    return named(number, lambda: _checked(source())[0])


def _done(task: Task[T], part: Part, number: int) -> T:
    return named(number, lambda: task(part))


def _compute(task: Task[T], source: Callable[[], Any], number: int) -> T:
    """What a worker does."""
    return _done(task, read(source, number), number)


def named(number: int, call: Callable[[], T]) -> T:
    """What the call returns; an error says which part it is about, and keeps its type."""
    try:
        return call()
    except Exception as error:
        if type(error) in (ValueError, TypeError) and len(error.args) == 1:
            error.args = (f"part {number}: {error.args[0]}",)
        else:  # whose arguments may be anything
            error.add_note(f"It is an error of part {number}.")
        raise


def _checked(found: Any) -> tuple[Part, Part]:
    """What a callable returned: so many arrays, with as many rows. As we compute with it, and as it was given."""
    given = found if isinstance(found, (tuple, list)) else (found,)
    if not 1 <= len(given) <= 3:
        raise ValueError(
            f"a part is X, (X, y) or (X, y, sample_weight); found a {type(found).__name__} of {len(given)}"
        )
    part = Part(*given)
    X = features(part.X)
    if X.dtype.kind not in "iubf":
        raise TypeError(f"X must hold numbers; found dtype {X.dtype}")
    for name, value in (("y", part.y), ("sample_weight", part.sample_weight)):
        if value is not None and (A := _check.array(name, value)).shape[:1] != (len(X),):
            raise ValueError(f"X has {len(X)} rows but {name} has shape {A.shape}; it needs an entry for each row")
    own = part._replace(X=X)
    return own, part if is_sparse(part.X) else own


def are_parts(X: Any, y: Any, sample_weight: Any = None) -> TypeGuard[Parts]:
    """Whether X are Parts, which bring y and sample_weight; beside them these are refused, beside an array y is due."""
    if not isinstance(X, Parts):
        if y is None:
            raise TypeError("y must be given beside an array X; only fl.Parts bring their own")
        return False
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise ValueError(f"{name} comes with the parts, as in (X, y, sample_weight); leave {name}= out")
    return True


def bring_in(X: Array | Csr) -> None:
    """Reads every page of what is mapped from a file, so that a kernel call never waits for a disk."""
    for A in (X.data, X.indices) if isinstance(X, Csr) else (X,):
        if A.size and A.flags.c_contiguous and _is_mapped(A):
            A.reshape(-1).view(np.uint8)[:: mmap.PAGESIZE].max()  # NumPy holds no lock meanwhile


def _is_mapped(X: Any) -> bool:
    while isinstance(X, np.ndarray):
        X = X.base
    return isinstance(X, mmap.mmap)


def exceeds_memory(X: Any) -> bool:
    """Whether X is mapped from a file that is larger than half of the machine's memory."""
    if getattr(X, "base", None) is None:  # as most arrays are: this is asked in calls of microseconds
        return False
    return bool(isinstance(X, np.ndarray) and X.ndim == 2 and _is_mapped(X) and X.nbytes > _memory() // 2)


def _memory() -> int:
    """In bytes; where the system does not tell, no array exceeds it."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * mmap.PAGESIZE
    except (AttributeError, ValueError, OSError):
        return 1 << 62


def block_rows(X: Array) -> int:
    """The rows of a block that a disk reads in one go, and of which a window mixes many."""
    return max(1, BLOCK_BYTES // max(1, int(X.shape[1] * X.itemsize)))
