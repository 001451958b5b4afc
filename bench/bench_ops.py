"""Every op in every backend with pytest-benchmark, generated from the table: `pytest bench`.

Backends stand side by side in groups op|dtype|shape. Each bench checks its result against naive in
float64 once before it times: a wrong kernel has no speed.
"""

import pytest

from fastlin import ops, testing

LOSS_SHAPES = [(64, 65, 10), (1797, 64, 10), (256, 3073, 10)]
UPDATE_SIZES = [30_730]
SLOW = {"naive": 200_000}  # multiplications in a call of seconds: naive is timed up to here

UPDATES = [name for name, op in ops.OPS.items() if op.kind == "update"]
CASES = {shape: testing.random_case(*shape) for shape in LOSS_SHAPES}
REFERENCES = {}


def pytest_generate_tests(metafunc):
    if "loss" in metafunc.fixturenames:
        grid = [
            (loss, backend, dtype, shape)
            for loss in ops.losses()
            for dtype in ops.DTYPES
            for shape in LOSS_SHAPES
            for backend in ops.BACKENDS
            if shape[0] * shape[1] * shape[2] <= SLOW.get(backend, float("inf"))
        ]
        metafunc.parametrize(("loss", "backend", "dtype", "shape"), grid, ids=_name)
    if "rule" in metafunc.fixturenames:
        grid = [
            (rule, backend, dtype, size)
            for rule in UPDATES
            for dtype in ops.DTYPES
            for size in UPDATE_SIZES
            for backend in ops.BACKENDS
        ]
        metafunc.parametrize(("rule", "backend", "dtype", "size"), grid, ids=_name)


def _name(value):
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _installed(backend):
    why = ops.missing(backend)
    if why:
        pytest.skip(f"{backend}: {why}")


def test_loss(benchmark, loss, backend, dtype, shape):
    _installed(backend)
    if (loss, shape) not in REFERENCES:
        REFERENCES[loss, shape] = testing.reference(loss, CASES[shape])
    expected = REFERENCES[loss, shape]
    case = CASES[shape].astype(dtype)
    out = case.W.copy()
    errors = expected.errors(*case.evaluate(loss, backend=backend, out=out))
    assert max(errors) <= testing.tolerance(dtype, expected.terms)
    benchmark.group = f"{loss}|{dtype}|{_name(shape)}"
    benchmark(case.evaluate, loss, backend=backend, out=out)


def test_update(benchmark, rule, backend, dtype, size):
    _installed(backend)
    case = testing.update_case(rule, size, dtype)
    expected = case.astype("float64").step("naive")
    for found, exact in zip(case.step(backend), expected, strict=True):
        assert testing.error(found, exact) <= testing.tolerance(dtype, 1)
    benchmark.group = f"{rule}|{dtype}|{size}"
    kernel = case.kernel(backend)
    # A step changes its arrays: each round starts from new ones, or thousands of steps drift to other numbers.
    benchmark.pedantic(kernel, setup=lambda: ((*case.fresh(), *case.scalars), {}), rounds=50, warmup_rounds=2)
