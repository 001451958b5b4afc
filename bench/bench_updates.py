"""Every optimizer's step of W (d, c) in every backend."""

import pytest

from fastlin import ops, testing


@pytest.mark.parametrize("rule", [name for name, op in ops.OPS.items() if op.kind == "update"])
def test_update(benchmark, group, rule, dtype, shape, backend):
    group(rule, dtype)
    _, d, c = shape
    case = testing.update_case(rule, d * c, dtype)
    expected = case.astype("float64").step("naive")
    for found, exact in zip(case.step(backend), expected, strict=True):
        assert testing.error(found, exact) <= testing.tolerance(dtype, 1)
    kernel = case.kernel(backend)
    # A step changes its arrays, so each round starts from new ones: their numbers would drift over thousands of steps.
    benchmark.pedantic(kernel, setup=lambda: ((*case.fresh(), *case.scalars), {}), rounds=50, warmup_rounds=2)
