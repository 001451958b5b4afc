"""The rows of docs/lectures.md, and the calls that a row names."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
PAGE = HERE.parent.parent / "docs" / "lectures.md"


class Row(NamedTuple):
    """A line of a table of docs/lectures.md that has a test."""

    name: str
    documents: list[str]
    topic: str
    here: str  # the functions that compute it, as code


class Call(NamedTuple):
    """A call that a row names, such as `fl.train(loss="logistic")`: its path is "fl.train"."""

    path: str
    positional: dict[int, Any]  # the arguments that are literals
    keywords: dict[str, Any]  # ... where another expression may have any value


@cache
def rows() -> dict[str, Row]:
    """All rows by name; none where docs/ is not beside tests/."""
    if not PAGE.exists():
        return {}
    found = re.findall(r"^\| `([a-z0-9-]+)` \| ([A-E, ]+) \| (.+?) \| (.+?) \|$", PAGE.read_text(), re.MULTILINE)
    return {name: Row(name, documents.split(", "), topic, here) for name, documents, topic, here in found}


@cache
def files() -> dict[str, Path]:
    """The file of each row's test, by the row's name, and of every other test of these files but test_table.py."""
    return {
        name.replace("_", "-"): file
        for file in sorted(HERE.glob("test_*.py"))
        if file.name != "test_table.py"
        for name in re.findall(r"^def test_(\w+)", file.read_text(), re.MULTILINE)
    }


def calls(row: Row) -> list[Call]:
    """The calls that a row names in code that begins with `fl.` or `fastlin.`; a bare name is a call of it."""
    found = []
    for code in re.findall(r"`((?:fl|fastlin)\.[^`]+)`", row.here):
        tree = ast.parse(code, mode="eval")
        inner = {id(part) for node in ast.walk(tree) for part in ast.iter_child_nodes(node) if _path(node)}
        called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            if id(node) not in inner and (path := _path(node)):
                found.append(_call(path, called.get(id(node))))
    return found


def _path(node: ast.AST) -> str:
    """Such as fl.schedules.cosine; nothing for other code."""
    text = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
    return text if re.fullmatch(r"(fl|fastlin)(\.\w+)+", text) else ""


def _call(path: str, node: ast.Call | None) -> Call:
    if node is None:
        return Call(path, {}, {})
    positional = {i: argument.value for i, argument in enumerate(node.args) if isinstance(argument, ast.Constant)}
    keywords = {
        str(keyword.arg): keyword.value.value if isinstance(keyword.value, ast.Constant) else ...
        for keyword in node.keywords
    }
    return Call(path, positional, keywords)
