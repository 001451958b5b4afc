"""Figures of `fastlin lectures`: the four backends."""

from __future__ import annotations

from fastlin import compare, ops
from fastlin._plot_compare import compare_figure
from fastlin.lectures.exhibit import Exhibit


def backends() -> Exhibit:
    """The same gradient in all four backends, timed on this machine."""
    names = [name for name in ops.BACKENDS if ops.missing(name) is None]
    rows = compare.compare([compare.digits_case("float32")], ["softmax", "svm"], names, 1, lambda jobs, count: jobs)
    return Exhibit(
        title="The same gradient in four backends",
        source="",
        caption="One loss with its gradient on all digits, on the machine that made this page, one thread each; the "
        "scale is logarithmic. naive is the textbook's loops in Python, numpy the vectorised form of the slides, numba "
        "and cython the same loops compiled. All have been checked against naive in float64 before they were timed; "
        "fastlin compare does this for every operation.",
        made_with="softmax_loss, svm_loss",
        alt="Bars of the time of one call for naive, numpy, numba and cython, from longest to shortest.",
        figure=compare_figure(rows),
    )
