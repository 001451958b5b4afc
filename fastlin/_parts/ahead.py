"""One thread that reads ahead: the next item of an iterator is made while the caller works on the one before.

So there are two items at a time, and no third where the caller drops its own before it asks for the next. The thread
is a daemon of `_thread`: if Ctrl-C interrupts threading.Thread.start(), the new thread may wait for ever.
"""

from __future__ import annotations

import _thread
from collections.abc import Iterator
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Ahead(Generic[T]):
    """The items of an iterator, in a `with` block, at whose end the thread has left.

    After Ctrl-C it is not waited for: a read of a slow disk may take seconds, and the thread ends with it by itself.
    An error of the iterator is raised where its item was to come.
    """

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self._wanted: SimpleQueue[bool] = SimpleQueue()
        self._found: SimpleQueue[tuple[Any, BaseException | None] | None] = SimpleQueue()

    def __enter__(self) -> Iterator[T]:
        _thread.start_new_thread(_serve, (self._items, self._wanted, self._found))
        self._wanted.put(True)
        return self._take()

    def _take(self) -> Iterator[T]:
        while True:
            found = self._found.get()
            assert found is not None  # the thread leaves only when it is told to
            item, error = found
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            del found
            self._wanted.put(True)
            yield item

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._wanted.put(False)
        if kind is None or not issubclass(kind, KeyboardInterrupt):
            while self._found.get() is not None:
                pass


def _serve(items: Iterator[Any], wanted: SimpleQueue[bool], found: SimpleQueue[Any]) -> None:
    """Runs in the thread."""
    while wanted.get():
        answer: tuple[Any, BaseException | None]
        try:
            answer = next(items), None
        except BaseException as error:  # the caller raises it
            answer = None, error
        found.put(answer)
    found.put(None)
