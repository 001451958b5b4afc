"""Optional packages are imported when they are first used; the error for a missing one says what to install."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


def need(module: str, extra: str, purpose: str) -> Any:
    """The module, or an ImportError that names the extra which brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(f"{purpose} needs {package}: pip install 'fastlin[{extra}]'") from error


def progress(items: Iterable[T], what: str, show: bool, count: int | None = None) -> Iterator[T]:
    """The items, with a progress bar on standard error if `show`; `count` of them where they cannot be counted."""
    if not show:
        return iter(items)
    tqdm = need("tqdm", "progress", "a progress bar").tqdm
    bar: Iterator[T] = iter(tqdm(items, desc=what, total=count, leave=False))
    return bar


@contextmanager
def progress_bar(what: str, show: bool, count: int, done: int = 0) -> Iterator[Callable[[str], None]]:
    """A function to call after each of `count` items with the text beside the bar; `done` items are done already."""
    if not show:
        yield lambda beside: None
        return
    with need("tqdm", "progress", "a progress bar").tqdm(desc=what, total=count, initial=done, leave=False) as bar:

        def advance(beside: str) -> None:
            bar.set_postfix_str(beside, refresh=False)
            bar.update()

        yield advance
