"""Numbers behind the bars of the four backends."""

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("skimage")
pytest.importorskip("matplotlib")
from fastlin import compare
from fastlin.lectures import backends
from fastlin.lectures.exhibit import new


def row(backend, median, naive=None, numpy=None):
    agrees = median is not None
    return compare.Row("case", "svm", backend, agrees, 0.0, 0.0, 1e-6, median, median, median, naive, numpy)


def test_bars_are_on_a_linear_scale_from_0():
    rows = [row("naive", 0.3), row("numpy", 3e-4), row("cython", 1e-4)]
    for some in (rows, rows[1:]):
        _, axes = new()
        backends.time_bars(axes[0, 0], some, "title")
        ax = axes[0, 0]
        assert ax.get_xscale() == "linear"
        assert ax.get_xlim()[0] == 0
        assert [bar.get_width() for bar in ax.patches] == [each.median for each in some]
        assert [text.get_text().strip() for text in ax.texts] == [compare.duration(each.median) for each in some]


def test_a_wrong_result_has_no_bar():
    _, axes = new()
    backends.time_bars(axes[0, 0], [row("numpy", 3e-4), row("cython", None)], "title")
    assert [bar.get_width() for bar in axes[0, 0].patches] == [3e-4]
    assert axes[0, 0].texts[1].get_text().strip() == "wrong result"


def test_the_table_counts_calls():
    rows = [row("naive", 0.3, 1.0, 0.001), row("cython", 1e-4, 3000.4, 3.0), row("numba", None)]
    assert backends.calls_table(rows)[1:] == [
        ("svm", "naive", "300 ms", "1", ""),
        ("svm", "cython", "100 us", "3000", "3"),
        ("svm", "numba", "wrong result", "", ""),
    ]
