"""The code is easy to read: short files, short functions, shallow nesting, calls with named arguments."""

import ast
import re
from pathlib import Path

import pytest

import fastlin as fl
from fastlin import ops

FOLDERS = [Path(fl.__file__).parent, Path(ops.module("naive").__file__).parent]
PYTHON = sorted(path for folder in FOLDERS for path in folder.rglob("*.py"))
NATIVE = sorted(path for path in (FOLDERS[1] / "native").rglob("*.*") if path.suffix in {".pyx", ".pxi", ".h"})
BLOCKS = (ast.For, ast.While, ast.If, ast.With, ast.Try)
FLAT_CALLS = r"kernel|\w+_tile|void"  # the loss kernel, which is called in microseconds, and the tiles with their types


def relative(path):
    """Its folder and its name."""
    return "/".join(path.parts[-2:])


def functions(path):
    """Every function of a Python file, those inside functions too."""
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]


def depth(node):
    """How many blocks stand inside each other; an `elif` is no deeper than its `if`."""
    deepest = 0
    for name, children in ast.iter_fields(node):
        for child in children if isinstance(children, list) else [children]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.FunctionDef):
                continue
            elif_of = name == "orelse" and isinstance(node, ast.If) and len(children) == 1 and isinstance(child, ast.If)
            deepest = max(deepest, depth(child) + (isinstance(child, BLOCKS) and not elif_of))
    return deepest


@pytest.mark.parametrize("path", [*PYTHON, *NATIVE], ids=lambda path: path.name)
def test_a_file_can_be_seen_whole(path):
    assert len(path.read_text().splitlines()) <= 600


@pytest.mark.parametrize("path", [path for path in PYTHON if path.parent.name.startswith("_")], ids=relative)
def test_a_private_package_says_what_is_in_its_files(path):
    """The folder has the underscore, and its files have none."""
    assert path.stem == "__init__" or not path.stem.startswith("_")
    says = ast.get_docstring(ast.parse((path.parent / "__init__.py").read_text()))
    assert path.stem == "__init__" or re.search(rf"\b{path.stem}\b", says)


@pytest.mark.parametrize("path", PYTHON, ids=relative)
def test_functions_are_short_and_shallow(path):
    for node in functions(path):
        lines = node.end_lineno - node.lineno + 1
        documented = ast.get_docstring(node)
        lines -= len(documented.splitlines()) if documented else 0
        assert lines <= 60, (node.name, lines)
        assert depth(node) <= 4, (node.name, depth(node))


@pytest.mark.parametrize("path", NATIVE, ids=lambda path: path.name)
def test_native_functions_are_short_and_shallow(path):
    """Outside the tiles, whose unrolled loops are C."""
    if path.suffix == ".h":
        return
    starts = r"^((?:    )?)(?:cdef|cpdef|def)\b[^=:(\n]*\([^=]*?\)[^=\n]*:\n((?:(?:\1    .*)?\n)*)"
    for found in re.finditer(starts, path.read_text(), re.MULTILINE):
        body = [line for line in found.group(2).splitlines() if line.strip()]
        assert len(body) <= 60, found.group(0)[:80]
        blocks = [line for line in body if re.match(r"\s*(for|while|if|elif|else|with|try|except|finally)\b.*:", line)]
        levels = {(len(line) - len(line.lstrip())) // 4 for line in blocks}
        assert max(levels, default=0) <= 5, found.group(0)[:80]


@pytest.mark.parametrize("path", PYTHON, ids=relative)
def test_long_calls_name_their_arguments(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and len(node.args) > 8:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            assert re.fullmatch(FLAT_CALLS, name), (path.name, node.lineno, name)
