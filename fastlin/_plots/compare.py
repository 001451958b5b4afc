"""Pictures, drawn with matplotlib (an extra)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastlin import machine
from fastlin._extras import need
from fastlin.compare import Row, duration, ratio

COLOURS = {"naive": "#9aa0a6", "numpy": "#4c78a8", "numba": "#54a24b", "cython": "#e45756"}


def compare_picture(rows: Sequence[Row], path: str) -> None:
    """Write `compare_figure` to a file."""
    compare_figure(rows).savefig(path, dpi=120)


def compare_figure(rows: Sequence[Row]) -> Any:
    """Median times of a comparison as bars on a logarithmic scale, with the ratios to naive and numpy beside them."""
    figures = need("matplotlib.figure", "plot", "--plot")
    inputs = list(dict.fromkeys(row.input for row in rows))
    blocks = [[row for row in rows if row.input == name] for name in inputs]
    height = 1.6 + 0.9 * len(blocks) + 0.24 * len(rows)
    figure = figures.Figure(figsize=(11, height), layout="constrained")
    axes = figure.subplots(len(blocks), 1, squeeze=False, height_ratios=[len(block) for block in blocks])
    for ax, name, block in zip(axes[:, 0], inputs, blocks, strict=True):
        _bars(ax, block)
        ax.set_title(name, loc="left", fontweight="bold")
    facts = machine.describe()
    figure.suptitle(
        f"fastlin {facts['fastlin']}: time of one call, shorter is faster; 2x numpy means half of numpy's time\n"
        f"{facts['cpu']}, {facts['cores']} cores, {facts['instruction set']}; "
        f"numpy {facts['numpy']}, numba {facts['numba']}",
        fontsize=11,
    )
    return figure


def _bars(ax: Any, rows: Sequence[Row]) -> None:
    position = 0.0
    ticks: list[tuple[float, str]] = []
    largest = max((row.median or 0.0 for row in rows), default=0.0) or 1.0
    smallest = min((row.median for row in rows if row.median), default=1e-6)
    for op in dict.fromkeys(row.op for row in rows):
        group = [row for row in rows if row.op == op]
        ticks.append((position + (len(group) - 1) / 2, op))
        for row in group:
            _bar(ax, row, position, smallest)
            position += 1
        position += 0.7
    ax.set_xscale("log")
    ax.set_xlim(smallest / 3, largest * 30)
    ax.set_ylim(position - 0.7, -0.8)
    ax.set_yticks([at for at, _ in ticks], [op for _, op in ticks])
    ax.xaxis.set_major_formatter(lambda seconds, _: duration(seconds))
    ax.set_xlabel("median time of a call (log scale)")
    ax.grid(axis="x", alpha=0.3)
    handles = [ax.barh([-9], [1], color=COLOURS.get(name, "#b279a2"), label=name) for name in _backends(rows)]
    ax.legend(handles=handles, loc="lower right", fontsize=8)
    ax.spines[["top", "right"]].set_visible(False)


def _backends(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.backend for row in rows))


def _bar(ax: Any, row: Row, position: float, smallest: float) -> None:
    if row.median is None:
        ax.text(smallest / 2.5, position, f"{row.backend}: WRONG", va="center", fontsize=8, color="#c00000")
        return
    ax.barh(position, row.median, height=0.85, color=COLOURS.get(row.backend, "#b279a2"))
    words = [duration(row.median)]
    if row.vs_naive is not None and row.backend != "naive":
        words.append(f"{ratio(row.vs_naive)} naive")
    if row.vs_numpy is not None and row.backend not in ("naive", "numpy"):
        words.append(f"{ratio(row.vs_numpy)} numpy")
    ax.text(row.median * 1.1, position, "   ".join(words), va="center", fontsize=8)
