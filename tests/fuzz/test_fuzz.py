"""A bounded, repeatable share of the fuzzing: the same examples at every run. `make fuzz` looks further."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from .harness import check
from .table import ROWS

EXAMPLES = 24  # of a loss; costly functions have fewer
IDS = [f"{row.name}-{sum(other.name == row.name for other in ROWS[:i])}" for i, row in enumerate(ROWS)]


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_laws(row):
    @settings(
        max_examples=max(3, EXAMPLES // row.cost),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        print_blob=False,
    )
    @given(row.calls())
    def holds(call):
        check(row, call)

    holds()
