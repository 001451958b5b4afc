"""What all tests share: the axes that a test runs over because it names them, modules of the benches, and Ctrl-C.

A test with an argument `loss`, `backend`, `compiled` or `dtype` runs once for each; a backend that is not installed is
skipped. Several axes are multiplied, unless the test is marked `paired`. Then it runs on just enough combinations that
any two values of different axes meet in one of them. Where three or more axes depend on each other, `whole` names them,
and all of their combinations occur:

    @pytest.mark.paired(whole=[("layout", "backend", "dtype")], layout=LAYOUTS)
    def test_layout_agrees(loss, layout, backend, dtype): ...
"""

import importlib
import itertools
import signal
from pathlib import Path

import pytest

from fastlin import ops

AXES = {
    "loss": ops.losses(),
    "backend": list(ops.BACKENDS),
    "compiled": [name for name, row in ops.BACKENDS.items() if row.compiled],
    "dtype": list(ops.DTYPES),
}


def pytest_generate_tests(metafunc):
    marker = metafunc.definition.get_closest_marker("paired")
    if marker is not None:
        axes = {name: AXES[name] for name in AXES if name in metafunc.fixturenames}
        axes |= {name: list(values) for name, values in marker.kwargs.items() if name != "whole"}
        rows = paired(axes, marker.kwargs.get("whole", []))
        metafunc.parametrize(tuple(axes), [_param(row.values()) for row in rows])
        return
    given = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    for name, values in AXES.items():
        if name in metafunc.fixturenames and not any(
            name in ([names] if isinstance(names, str) else names) for names in given
        ):
            metafunc.parametrize(name, [_param([value]) for value in values])


def paired(axes, whole):
    """Rows {axis: value} in which all pairs of values occur, and all combinations of each `whole`: a greedy choice."""
    groups = [*whole, *itertools.combinations(axes, 2)]
    pairs = {name: [(name, i) for i in range(len(values))] for name, values in axes.items()}
    # In how many rows each combination occurs.
    held = {each: 0 for names in groups for each in itertools.product(*(pairs[name] for name in names))}
    rows = []
    for combination in held:
        if held[combination]:
            continue
        row = dict(combination)
        for name in [name for name in axes if name not in row]:
            row |= [min(pairs[name], key=lambda pair: _cost(held, groups, row | {pair[0]: pair[1]}))]
        for each in _combinations(groups, row):
            held[each] += 1
        rows.append({name: axes[name][row[name]] for name in axes})
    return rows


def _cost(held, groups, row):
    """The more new combinations a row holds the better, and among equals the rarer its old ones are."""
    counts = [held[combination] for combination in _combinations(groups, row)]
    return -counts.count(0), sum(counts)


def _combinations(groups, row):
    return [tuple((name, row[name]) for name in names) for names in groups if row.keys() >= set(names)]


def _param(values):
    """A test's values: skipped if one is a backend that is not installed, marked if it is Numba."""
    named = [value for value in values if isinstance(value, str) and value in ops.BACKENDS]
    marks = [pytest.mark.skip(reason=f"{name}: {ops.missing(name)}") for name in named if ops.missing(name)]
    names = ["x".join(map(str, value)) if isinstance(value, tuple) else str(value) for value in values]
    return pytest.param(*values, id="-".join(names), marks=marks + [pytest.mark.numba] * ("numba" in named))


@pytest.fixture
def ctrl_c():
    """Python's own handler of SIGINT: a shell starts background jobs, and so their children, with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def bench(monkeypatch):
    """Imports a module of the benches, which are programs beside each other and no package."""
    folder = Path(__file__).parent.parent / "bench"
    if not folder.exists():
        pytest.skip("the benches are not beside the tests")
    monkeypatch.syspath_prepend(folder)
    return importlib.import_module
