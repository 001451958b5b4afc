"""`@pytest.mark.paired` chooses all combinations that must occur, and far fewer than all combinations."""

import importlib.util
from collections import Counter
from itertools import combinations, product
from pathlib import Path

import pytest

AXES = {"loss": list("abcdefghij"), "layout": list(range(8)), "backend": list("nNjc"), "dtype": [32, 64]}


@pytest.fixture(scope="module")
def paired():
    spec = importlib.util.spec_from_file_location("conftest_of_tests", Path(__file__).with_name("conftest.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.paired


@pytest.mark.parametrize("whole", [(), (("layout", "backend", "dtype"),), (("loss", "layout", "backend"),)])
def test_what_must_meet_does(paired, whole):
    rows = paired(AXES, whole)
    for names in (*whole, *combinations(AXES, 2)):
        met = Counter(tuple(row[name] for name in names) for row in rows)
        assert met.keys() == set(product(*(AXES[name] for name in names)))
    at_least = max([80, *(len(list(product(*(AXES[name] for name in names)))) for names in whole)])
    assert len(rows) <= 1.1 * at_least
    assert rows == paired(AXES, whole)


def test_pairs_are_balanced(paired):
    rows = paired(AXES, [("loss", "layout", "backend")])
    met = Counter((row["loss"], row["backend"], row["dtype"]) for row in rows)
    assert set(met.values()) == {4}
