"""A row's test makes the calls that its row names: each is watched while the test runs, and asked for afterwards."""

import functools
import importlib
import inspect
import sys
from pathlib import Path

import pytest

from .rows import Call, calls, rows

TESTS = str(Path(__file__).parent.parent)
PASSED = pytest.StashKey[bool]()


class Watch:
    """Notes the calls that the tests' files make of one name: a function, a class, a method, or all of a module."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
        self.call, self._made = call, []
        owner, found = None, importlib.import_module("fastlin")
        for name in call.path.split(".")[1:]:
            if inspect.ismodule(found) and not hasattr(found, name):
                importlib.import_module(f"{found.__name__}.{name}")
            owner, found = found, getattr(found, name)
        if inspect.ismodule(found):
            for name, function in inspect.getmembers(found, inspect.isfunction):
                if function.__module__ == found.__name__ and not name.startswith("_"):
                    monkeypatch.setattr(found, name, self._noted(function, 0))
        elif inspect.isclass(found):
            monkeypatch.setattr(found, "__init__", self._noted(found.__init__, 1))
        else:
            monkeypatch.setattr(owner, name, self._noted(found, int(inspect.isclass(owner))))

    def _noted(self, function, selves):
        """The function, with a note of the arguments after its first `selves` ones."""

        @functools.wraps(function)
        def noting(*arguments, **keywords):
            if sys._getframe(1).f_code.co_filename.startswith(TESTS):
                self._made.append((arguments[selves:], keywords))
            return function(*arguments, **keywords)

        return noting

    def made(self) -> bool:
        """Whether some call had the arguments that the row names."""
        return any(self._fits(*made) for made in self._made)

    def _fits(self, arguments, keywords) -> bool:
        given = dict(enumerate(arguments)) | keywords
        named = self.call.positional | self.call.keywords
        return all(name in given and (value is ... or _same(given[name], value)) for name, value in named.items())


def _same(found, value) -> bool:
    return type(found) is type(value) and found == value


@pytest.fixture(autouse=True)
def _calls_what_its_row_names(request, monkeypatch):
    row = rows().get(request.node.originalname.removeprefix("test_").replace("_", "-"))
    if row is None or request.path.parent != Path(__file__).parent:
        yield
        return
    watches = [Watch(monkeypatch, call) for call in calls(row)]
    yield
    if request.node.stash.get(PASSED, False):
        missed = [watch.call for watch in watches if not watch.made()]
        assert not missed, f"the row {row.name} names calls that its test does not make: {missed}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Notes whether the test itself passed: one that is skipped, or fails, makes only some calls."""
    report = yield
    if report.when == "call":
        item.stash[PASSED] = report.passed
    return report
