"""Fixtures that run a test once for each backend; one that is not installed is skipped with the reason."""

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
