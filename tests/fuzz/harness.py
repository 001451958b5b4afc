"""A row for each public function; one call; and what every call must keep.

1. A good call is answered; a call with something bad is refused; between the two either will do.
2. A refusal is a ValueError or a TypeError that names an argument (OSError for a file), and nothing else is raised.
3. On a refusal not one byte has changed, in arrays or files; on an answer only what the row says.
4. No warning leaks out.
"""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

import fastlin as fl

from .specs import Builder
from .strategies import SHAPES, Arg, Call, Drawn, Sizes, calls

SETTINGS: dict[str, Any] = {  # of Hypothesis, wherever rows are tried
    "database": None,
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "phases": [Phase.generate, Phase.shrink],
    "report_multiple_bugs": False,
    "print_blob": False,
}


class Broken(AssertionError):  # noqa: N818  (what is broken is a law)
    """A law does not hold."""


@dataclass
class Answer:
    """What a call gave: a value, or an error."""

    value: Any = None
    error: BaseException | None = None


Law = Callable[["Row", Call, dict[str, Any], Any], None]


@dataclass(frozen=True)
class Row:
    """A function, how its arguments are drawn, and which laws its answers keep."""

    name: str  # as in the package, "TrainResult.save", and after a space what is special: "load_arrays (two files)"
    function: Callable[..., Any]
    arguments: Callable[[Sizes], Mapping[str, Arg]]
    laws: tuple[Law, ...] = ()
    writes: tuple[str, ...] = ()  # the arguments that it overwrites
    shapes: Drawn = SHAPES
    words: tuple[str, ...] = ()  # what a refusal may name besides the arguments
    cost: int = 1  # how many times slower than a loss: so many times fewer examples
    files: bool = False  # whether it may raise OSError
    quiet: bool = True  # else NumPy may warn of numbers at the edge of what floats hold
    raises: tuple[type[BaseException], ...] = ()  # what else its docstring names
    alone: bool = False  # whether it may take the process down, and is called in another one

    def calls(self) -> st.SearchStrategy[Call]:
        """Examples."""
        return calls(self.name, self.arguments, self.shapes)


@dataclass
class Watch:
    """The bytes that a call may not change."""

    builder: Builder
    may_change: list[np.ndarray[Any, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._before = [memory.tobytes() for memory in self.builder.memory]
        self._values = [A.copy() for A in self.may_change]
        self._files = self._contents()

    def _contents(self) -> dict[Path, bytes]:
        if self.builder.place is None:
            return {}
        return {path: path.read_bytes() for path in self.builder.folder().rglob("*") if path.is_file()}

    def unchanged(self, answered: bool, files: bool = True) -> None:
        """Raises Broken for a byte that changed; what may change on an answer is put back first."""
        if answered:
            for A, values in zip(self.may_change, self._values, strict=True):
                if A.flags.writeable:
                    A[...] = values
        for i, (memory, before) in enumerate(zip(self.builder.memory, self._before, strict=True)):
            if memory.tobytes() != before:
                raise Broken(
                    f"memory {i} of the arguments has changed, {'beside what' if answered else 'though'} "
                    f"the call {'may write' if answered else 'was refused'}"
                )
        if files and not answered and self._contents() != self._files:
            raise Broken(f"files have changed though the call was refused: {sorted(map(str, self._contents()))}")


def check(row: Row, call: Call) -> None:
    """Make the call and hold it against every law."""
    builder = Builder()
    try:
        arguments = builder.arguments(call.given)
        watch = Watch(builder, [A for name in row.writes for A in arrays_of(arguments.get(name))])
        answer = attempt(row.function, arguments)
        if answer.error is not None:
            refusal(row, call, answer.error)
            watch.unchanged(answered=False)
            return
        if call.bad and (call.odd or len(call.bad) > 1):  # beside another W or X what was bad may be right
            watch.unchanged(answered=True)
            return
        if call.bad:
            raise Broken(f"answered, though {', '.join(sorted(call.bad))} is bad: {answer.value!r:.200}")
        for law in row.laws:
            law(row, call, arguments, answer.value)
        watch.unchanged(answered=True)
    finally:
        builder.close()


def arrays_of(value: Any) -> list[np.ndarray[Any, Any]]:
    """The array, or those of a list."""
    return [A for A in (value if isinstance(value, (list, tuple)) else [value]) if isinstance(A, np.ndarray)]


def attempt(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Answer:
    """The call; warnings are errors, but those of fits that end early."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", fl.ConvergenceWarning)  # fits take few iterations here
        try:
            return Answer(function(**arguments))
        except Exception as error:
            return Answer(error=error)


def fresh(row: Row, call: Call, **changes: Any) -> tuple[dict[str, Any], Any]:
    """The same call once more, on new arrays, with some arguments changed; it must be answered."""
    builder = Builder()
    try:
        arguments = builder.arguments(call.given) | changes
        answer = attempt(row.function, arguments)
        if answer.error is not None:
            raise Broken(f"answered, but with {changes} it raises {answer.error!r}") from answer.error
        return arguments, answer.value
    finally:
        builder.close()


def refusal(row: Row, call: Call, error: BaseException) -> None:
    """The error is one that may be raised, in answer to what was given."""
    if type(error) in row.raises or (isinstance(error, RuntimeWarning) and call.odd and not row.quiet):
        return
    allowed = (ValueError, TypeError, OSError) if row.files else (ValueError, TypeError)
    if isinstance(error, Broken) or type(error) not in _exactly(allowed):
        raise Broken(f"raised {type(error).__name__}: {error}") from error
    suspects = call.bad | call.odd
    if not suspects and call.given.get("reduction", "mean") == "mean" and not _empty(call):
        raise Broken(f"a good call was refused with {type(error).__name__}: {error}") from error
    apart = suspects and not suspects & {"W", "X"} and not _empty(call)  # else the others may not fit them
    names = suspects if apart else names_of(row.function, call)
    words = {*names, *row.words}
    if not isinstance(error, OSError) and not _mentions(str(error), words):
        raise Broken(
            f"the message names none of {', '.join(sorted(words))}: {type(error).__name__}: {error}"
        ) from error


def _exactly(kinds: tuple[type[BaseException], ...]) -> set[type[BaseException]]:
    """The types themselves and, of OSError, its own: a UnicodeDecodeError is no message for a user."""
    own = {FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError, FileExistsError}
    return {*kinds, *(own if OSError in kinds else ())}


def _empty(call: Call) -> bool:
    """Whether there are no rows, over which there is no mean."""
    found = [getattr(call.given.get(name), "shape", None) for name in ("X", "S", "W", "rows")]
    return any(shape is not None and 0 in shape for shape in found)


def _mentions(message: str, words: Iterable[str]) -> bool:
    return any(re.search(rf"(?<![A-Za-z0-9_]){re.escape(word)}(?![A-Za-z0-9_])", message) for word in words)


def names_of(function: Callable[..., Any], call: Call) -> set[str]:
    """The arguments that a message may name."""
    try:
        names = set(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        names = set()
    return names | set(call.given)
