"""A bounded, repeatable share of the fuzzing: the same examples at every run. `make fuzz` looks further."""

import pytest
from hypothesis import given, settings

from .harness import SETTINGS, Broken, check
from .table import ROWS
from .worker import Worker

EXAMPLES = 32  # of a loss; costly functions have fewer


@pytest.fixture(scope="module")
def worker():
    """Another process, for what could take this one down."""
    found = Worker()
    yield found
    found.close()


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_laws(row, worker):
    @settings(max_examples=max(3, EXAMPLES // row.cost), derandomize=True, **SETTINGS)
    @given(row.calls())
    def holds(call):
        if not row.alone:
            check(row, call)
        elif broken := worker.check(repr(call)):
            raise Broken(broken)

    holds()
