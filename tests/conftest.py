"""Fixtures: a test runs once for each backend, one that is not installed being skipped; modules of the benches."""

import importlib
from pathlib import Path

import pytest

from fastlin import ops


def pytest_generate_tests(metafunc):
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", [_param(name) for name in ops.BACKENDS])
    if "compiled" in metafunc.fixturenames:
        metafunc.parametrize("compiled", [_param(name) for name, row in ops.BACKENDS.items() if row.compiled])


def _param(name):
    why = ops.missing(name)
    return pytest.param(name, marks=[pytest.mark.skip(reason=f"{name}: {why}")] if why else [])


@pytest.fixture(params=list(ops.DTYPES))
def dtype(request):
    return request.param


@pytest.fixture
def bench(monkeypatch):
    """Imports a module of the benches, which are programs beside each other and no package."""
    folder = Path(__file__).parent.parent / "bench"
    if not folder.exists():
        pytest.skip("the benches are not beside the tests")
    monkeypatch.syspath_prepend(folder)
    return importlib.import_module
