"""docs/lectures.md and the tests here match both ways: every row has its test, every test its row."""

import re
from pathlib import Path

import pytest

import fastlin as fl

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "lectures.md"
pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="docs/ is not beside tests/")


def rows():
    """(id, documents, topic, functions) of every row of the tables, except the table of missing topics."""
    found = re.findall(r"^\| `([a-z0-9-]+)` \| ([A-E, ]+) \| (.+?) \| (.+?) \|$", PAGE.read_text(), re.MULTILINE)
    assert len(found) > 60
    return found


def test_every_row_has_its_test_and_every_test_its_row():
    tests = [
        name.replace("_", "-")
        for file in HERE.glob("test_*.py")
        if file.name != "test_table.py"
        for name in re.findall(r"^def test_(\w+)", file.read_text(), re.MULTILINE)
    ]
    assert sorted(row[0] for row in rows()) == sorted(tests)


def test_every_function_of_the_table_exists():
    for name, _, _, functions in rows():
        for path in re.findall(r"`fl\.([\w.]+)", functions):
            found = fl
            for part in path.split("."):
                assert hasattr(found, part), (name, path)
                found = getattr(found, part)


def test_every_document_is_in_the_table():
    assert {letter for row in rows() for letter in row[1].split(", ")} == set("ABCDE")
