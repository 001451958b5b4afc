"""A call from the line that it prints as: `python -m tests.fuzz "replay('svm_loss', {...})"`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from . import files, specs
from .harness import Broken, Row, check
from .strategies import Call
from .table import ROWS


def replay(name: str, given: dict[str, Any], bad: Collection[str] = (), odd: Collection[str] = ()) -> Call:
    """The call."""
    return Call(name, given, frozenset(bad), frozenset(odd))


def parse(line: str) -> Call:
    """The call that a line of ours describes."""
    own = {kind.__name__: kind for kind in (files.Damaged, files.Hostile, files.Good)}
    found: Call = eval(line, specs.namespace() | own | {"replay": replay})
    return found


def row_of(name: str) -> Row:
    """The row of this name."""
    return next(row for row in ROWS if row.name == name)


def check_line(line: str) -> str:
    """What is broken about the call, in words."""
    call = parse(line)
    try:
        check(row_of(call.name), call)
    except Broken as broken:
        return str(broken)
    return ""
