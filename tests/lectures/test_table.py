"""docs/lectures.md, the tests here and the mutants match: every row has its own, and none is of no row."""

import importlib.util
import re
from pathlib import Path

import pytest

import fastlin as fl
from fastlin import ops

from .conftest import Watch
from .mutant_table import MUTANTS
from .rows import PAGE, Call, Row, calls, files, rows

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="docs/ is not beside tests/")
FOLDERS = {"fastlin": Path(fl.__file__).parent, "kernels": Path(ops.module("naive").__file__).parent}


def test_every_row_has_its_test_and_every_test_its_row():
    assert len(rows()) > 100
    assert sorted(rows()) == sorted(files())


def test_no_row_and_no_test_occurs_twice():
    listed = re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE.read_text(), re.MULTILINE)
    assert len(listed) == len(set(listed)) == len(rows())
    defined = [re.findall(r"^def test_\w+", file.read_text(), re.MULTILINE) for file in set(files().values())]
    assert sum(map(len, defined)) == len(files())


def test_every_row_names_a_function_or_a_command():
    assert [name for name, row in rows().items() if not calls(row) and "`fastlin " not in row.here] == []


def test_every_function_of_the_table_exists(monkeypatch):
    for row in rows().values():
        for call in calls(row):
            if call.path.startswith("fastlin.features") and importlib.util.find_spec("sklearn") is None:
                continue
            Watch(monkeypatch, call)


def test_every_document_is_in_the_table():
    assert {letter for row in rows().values() for letter in row.documents} == set("ABCDE")


def test_every_row_has_its_mutants():
    """Each with a text that stands once in a file of pure Python, and another for it; `make mutants` runs them."""
    assert sorted(MUTANTS) == sorted(rows())
    for name, found in MUTANTS.items():
        for file, old, new in found if isinstance(found, list) else [found]:
            folder, _, rest = file.partition("/")
            assert (name, old, (FOLDERS[folder] / rest).read_text().count(old)) == (name, old, 1)
            assert old != new


def test_calls_of_a_row():
    code = "`fl.minimize(X, reg=fl.L1(0.5), lr=rate)` or `fl.schedules.cosine`, but not `fastlin train` or `.history`"
    assert calls(Row("a", ["A"], "", code)) == [
        Call("fl.minimize", {}, {"reg": ..., "lr": ...}),
        Call("fl.L1", {0: 0.5}, {}),
        Call("fl.schedules.cosine", {}, {}),
    ]


def test_a_call_that_is_not_made_is_noticed(monkeypatch):
    seen = {
        code: Watch(monkeypatch, call)
        for code in (
            "fl.L2",
            "fl.L2(0.1)",
            "fl.L2(0.2)",
            "fl.SGD(lr, momentum=0.9)",
            "fl.SGD(lr, nesterov=True)",
            "fl.scores",
        )
        for call in calls(Row("a", ["A"], "", f"`{code}`"))
    }
    fl.SGD(0.1, momentum=0.9).step(fl.L2(0.1).gradient(fl.numerical_gradient(sum, [1.0])), fl.softmax([1.0]))
    assert [code for code, watch in seen.items() if watch.made()] == ["fl.L2", "fl.L2(0.1)", "fl.SGD(lr, momentum=0.9)"]
