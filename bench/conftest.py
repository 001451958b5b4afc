"""Fixtures of all pytest-benchmark benches: shapes, backends, and as many threads for BLAS as for our kernels.

Backends are compared in groups op|dtype|shape. Each bench compares its result with a reference in float64 before it
measures time: a wrong kernel is not timed.
"""

import os
from math import prod

import pytest
import threadpoolctl

import fastlin as fl
from fastlin import machine, ops, testing

SHAPES = [(64, 65, 10), (1797, 64, 10), (256, 3073, 10)]  # n, d, c; the second is that of scikit-learn's digits
NAIVE_LIMIT = 10_000_000  # n * d * c of a naive call that takes about a second; longer ones are left out
LOAD = pytest.StashKey[float]()
# Found before numba loads scipy, which brings a BLAS of its own.
NUMPYS_BLAS = [f"{lib['internal_api']} {lib['version']}" for lib in threadpoolctl.threadpool_info()]


def pytest_addoption(parser):
    both = min(2, os.cpu_count() or 1)
    parser.addoption("--threads", type=int, default=both, help="of our kernels and of BLAS; default: %(default)s")


def pytest_configure(config):
    config.stash[LOAD] = machine.busy_cores()  # before the benches themselves keep the machine busy


def pytest_benchmark_update_json(config, output_json):
    """What is not the same in two runs that may be compared."""
    output_json["load"] = config.stash[LOAD]


def pytest_benchmark_update_machine_info(config, machine_info):
    """Versions, instruction set and threads: `--benchmark-compare` warns if they differ, not if the clock does."""
    for momentary in ("hz_actual", "hz_actual_friendly"):
        machine_info["cpu"].pop(momentary, None)
    machine_info["fastlin"] = machine.describe() | {"threads": str(config.getoption("threads"))}
    machine_info["blas"] = NUMPYS_BLAS


def pytest_generate_tests(metafunc):
    """Types, shapes, and the backends that take part: naive does where a call ends within a second."""
    if "dtype" in metafunc.fixturenames:
        metafunc.parametrize("dtype", ops.DTYPES)
    if "backend" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("shapes")
        shapes = marker.args if marker else SHAPES
        metafunc.parametrize(
            ("shape", "backend"),
            [
                pytest.param(shape, backend, id=f"{size(shape)}-{backend}", marks=_skip(backend))
                for shape in shapes
                for backend in ops.BACKENDS
                if backend != "naive" or prod(shape) <= NAIVE_LIMIT
            ],
        )


def _skip(backend):
    why = ops.missing(backend)
    return [pytest.mark.skip(reason=f"{backend}: {why}")] if why else []


def size(shape):
    return "x".join(map(str, shape))


@pytest.fixture(scope="session", autouse=True)
def threads(request):
    """The number of threads that BLAS and our kernels use."""
    count = request.config.getoption("threads")
    fl.set_num_threads(count)
    with threadpoolctl.threadpool_limits(count, user_api="blas"):
        yield count
    fl.set_num_threads(None)


@pytest.fixture
def group(benchmark, shape):
    """Names the group of a bench, in which its backends are compared."""

    def name(op, dtype):
        benchmark.group = f"{op}|{dtype}|{size(shape)}"

    return name


@pytest.fixture(scope="session")
def cases():
    """The random case of a shape, drawn once."""
    drawn = {}

    def find(shape):
        if shape not in drawn:
            drawn[shape] = testing.random_case(*shape)
        return drawn[shape]

    return find
