"""Every public function has a row, and every name without one a reason."""

import argparse
import inspect
from collections.abc import Iterator

import pytest

import fastlin as fl
from fastlin import cli, features, optim, schedules, toys, updates

from .table import NO_ROW, ROWS

dask = pytest.importorskip("fastlin.dask", exc_type=ImportError)
COVERED = {row.name.partition(" ")[0] for row in ROWS}


def public() -> Iterator[str]:
    """The names of functions, classes and commands that a user calls."""
    yield from fl.__all__
    for module in (schedules, features):
        yield from (f"{module.__name__.rpartition('.')[2]}.{name}" for name in module.__all__)
    yield from (f"optim.{name}" for name in optim.__all__ if name not in fl.__all__)
    yield from (f"updates.{name}" for name in updates.__all__ if name not in fl.__all__)
    yield from (f"toys.{name}" for name, found in vars(toys).items() if _own(found, toys) and not name.startswith("_"))
    for kind in (fl.TrainResult, fl.SearchResult, fl.Optimizer):
        methods = (name for name, found in inspect.getmembers(kind) if callable(found) and not name.startswith("_"))
        yield from (f"{kind.__name__}.{name}" for name in methods)
    yield from (f"dask.{name}" for name in dask.__all__)
    commands = next(a for a in cli._parser()._actions if isinstance(a, argparse._SubParsersAction))
    yield from (f"cli.{name}" for name in commands.choices)


def _own(found, module):
    return inspect.isfunction(found) and found.__module__ == module.__name__


@pytest.mark.parametrize("name", sorted(set(public())))
def test_a_public_name_is_fuzzed_or_says_why_not(name):
    assert (name in COVERED) != (name in NO_ROW), name


def test_every_row_and_reason_is_of_a_public_name():
    names = set(public())
    assert names >= COVERED, COVERED - names
    assert names >= set(NO_ROW), set(NO_ROW) - names
