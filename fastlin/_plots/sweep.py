"""A picture of the scores of a sweep, drawn with matplotlib (an extra)."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fastlin._check import Array
from fastlin._plots.schedules import COLOURS


def sweep_figure(C: Array, lr: Array | None, scores: Array, best: float) -> Any:
    """The mean score over C, a curve for each learning rate, the folds as a band; the best C is marked."""
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    ax = figure.subplots()
    rates = [None] if lr is None else list(dict.fromkeys(lr.tolist()))
    for number, rate in enumerate(rates):
        own = np.flatnonzero(np.isfinite(C) if lr is None else np.isfinite(C) & (lr == rate))
        own = own[np.argsort(C[own])]
        colour = COLOURS[number % len(COLOURS)]
        label = None if rate is None else f"lr {rate:g}"
        ax.plot(C[own], scores[own].mean(axis=1), color=colour, marker=".", label=label)
        ax.fill_between(C[own], scores[own].min(axis=1), scores[own].max(axis=1), color=colour, alpha=0.15, linewidth=0)
    if np.isfinite(best):
        ax.axvline(best, color="#808080", linewidth=0.8)
    ax.set_title(f"best C = {best:g}", loc="left")
    ax.set(xscale="log", xlabel="C: less penalty to the right", ylabel="score on held-out rows")
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    if lr is not None:
        ax.legend(frameon=False)
    return figure
