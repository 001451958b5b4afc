"""Figures of `fastlin lectures`: the four backends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastlin import compare, machine, ops
from fastlin._plots.compare import COLOURS
from fastlin.lectures.exhibit import Exhibit, new, tidy

LOSSES = ("softmax", "svm")


def backends() -> Exhibit:
    """The same gradient in all four backends, timed on this machine."""
    names = [name for name in ops.BACKENDS if ops.missing(name) is None]
    case = compare.digits_case("float32")
    rows = compare.compare([case], LOSSES, names, 1, lambda jobs, count: jobs)
    figure, axes = new(len(LOSSES), 2, size=(10, 4.6))
    for (all_of_them, fast), loss in zip(axes, LOSSES, strict=True):
        group = [row for row in rows if row.op == loss]
        time_bars(all_of_them, group, f"{loss} loss and gradient: all backends")
        time_bars(fast, [row for row in group if row.backend != "naive"], "without naive: another scale")
    return Exhibit(
        title="The same gradient in four backends",
        source="",
        caption=f"Bars are the time of one call, shorter is faster; every scale begins at 0 and is linear. A call is "
        f"one loss with its gradient on {case.name} in float32, with one thread each, on {_machine()}. naive is the "
        "textbook's loops in Python; beside it the others cannot be seen, so the right-hand panels show them alone, on "
        "a scale of their own. numpy is the vectorised form of the slides; numba and cython are the loops compiled. "
        "All have been checked against naive in float64 before they were timed. The table says how many calls each "
        "makes while naive makes one; fastlin compare does this for every operation.",
        made_with="softmax_loss, svm_loss",
        alt="Two rows of two bar charts of the time of one call. On the left the bar of naive fills the chart and the "
        "others are slivers; on the right numpy, numba and cython are compared on a scale of their own.",
        figure=figure,
        table=calls_table(rows),
    )


def _machine() -> str:
    facts = machine.describe()
    return f"{facts['cpu']}, {facts['cores']} cores, {facts['instruction set']}"


def time_bars(ax: Any, rows: Sequence[compare.Row], title: str) -> None:
    """The time of each row's call as a bar from 0 on a linear scale, with the time in words; no bar if it is wrong."""
    for at, row in enumerate(rows):
        if row.median is not None:
            ax.barh(at, row.median, color=COLOURS[row.backend])
        ax.text(row.median or 0.0, at, f" {_time(row)}", va="center", fontsize=9)
    ax.set_yticks(range(len(rows)), [row.backend for row in rows])
    ax.invert_yaxis()
    ax.set_xlim(0, 1.25 * max((row.median or 0.0 for row in rows), default=0.0) or 1.0)
    ax.locator_params(axis="x", nbins=4)
    ax.xaxis.set_major_formatter(lambda seconds, _: compare.duration(seconds))
    tidy(ax, title)


def calls_table(rows: Sequence[compare.Row]) -> list[Sequence[str]]:
    """The time of each row's call, and how many of its calls take as long as one of naive and of numpy."""
    lines: list[Sequence[str]] = [
        ("loss", "backend", "time of one call", "calls in one call of naive", "calls in one call of numpy")
    ]
    for row in rows:
        calls = (
            "" if ratio is None else f"{float(f'{ratio:.3g}'):g}"
            for ratio in (row.vs_naive, row.vs_numpy if row.backend != "naive" else None)
        )
        lines.append((row.op, row.backend, _time(row), *calls))
    return lines


def _time(row: compare.Row) -> str:
    """The median time, or that the result was wrong, so that it has none."""
    return compare.duration(row.median) or "wrong result"
