"""Pictures of learning rates, drawn with matplotlib (an extra)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

COLOURS = ("#4c78a8", "#e45756", "#54a24b", "#f58518", "#b279a2", "#72b7b2", "#9d755d", "#9aa0a6")


def schedule_picture(rates: Mapping[str, Sequence[float]]) -> Any:
    """The rate of every step as a curve, under its name."""
    figure = Figure(figsize=(9, 4.5 + 0.25 * len(rates)), layout="constrained")
    ax = figure.subplots()
    for number, (name, values) in enumerate(rates.items()):
        ax.plot(values, label=name, color=COLOURS[number % len(COLOURS)], linewidth=1.8)
    ax.set_xlabel("step")
    ax.set_ylabel("learning rate")
    ax.set_ylim(bottom=0)
    ax.margins(x=0.01)
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper left", frameon=False, fontsize=9)
    return figure
