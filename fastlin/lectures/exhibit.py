"""Code that the figures of `fastlin lectures` share: their type, colours, regions of a classifier. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

import fastlin as fl
from fastlin._check import Array
from fastlin.data import load_digits

COLOURS = ("#4c78a8", "#e45756", "#54a24b", "#f58518", "#b279a2", "#72b7b2")
GREY = "#8a8f98"
PALE = ListedColormap(("#c9d8ea", "#f8cfcf", "#cfe6cb"))  # of the first three colours, for the ground behind points


@dataclass(frozen=True)
class Exhibit:
    """A figure, a table, or both, with the texts that explain it."""

    title: str
    source: str  # the lecture and the topic of its slide; empty if there is none
    caption: str  # explains the figure
    made_with: str  # the functions of fastlin that it shows, as their users call them
    alt: str = ""  # the figure in words
    figure: Figure | None = None
    table: Sequence[Sequence[str]] = ()  # the first row is the header


def new(rows: int = 1, columns: int = 1, *, size: tuple[float, float] = (9.0, 3.6), **how: Any) -> tuple[Figure, Any]:
    """A figure and its axes, one row below another."""
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **how)


def tidy(ax: Any, title: str = "", x: str = "", y: str = "") -> None:
    """Title and labels, a faint grid, no box."""
    ax.set_title(title, loc="left", fontsize=10)
    ax.set(xlabel=x, ylabel=y)
    ax.grid(alpha=0.3)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def regions(ax: Any, X: Array, y: Array, classify: Callable[[Array], Array], title: str, *, size: float = 9.0) -> None:
    """Points of `size` in the plane over the ground that `classify` gives to each class."""
    low, high = X.min(axis=0) - 0.3, X.max(axis=0) + 0.3
    across, up = np.meshgrid(np.linspace(low[0], high[0], 240), np.linspace(low[1], high[1], 240))
    ground = classify(np.column_stack([across.ravel(), up.ravel()])).reshape(across.shape)
    extent = (low[0], high[0], low[1], high[1])
    ax.imshow(ground, cmap=PALE, vmin=0, vmax=2, origin="lower", extent=extent, aspect="auto", interpolation="nearest")
    # Different shapes are for readers who cannot distinguish the colours.
    for label, marker in zip(np.unique(y), ("o", "s", "^"), strict=False):
        points = X[y == label]
        ax.scatter(*points.T, s=size, c=COLOURS[label], marker=marker, linewidths=0)
    ax.set_title(title, loc="left", fontsize=10)
    ax.tick_params(labelsize=8)


@cache
def digits() -> tuple[Array, Array, Array, Array]:
    """X, y, X_test, y_test of scikit-learn's digits."""
    data = load_digits()
    return data.X, data.y, data.X_test, data.y_test


def fit_all_rows(X: Array, y: Array) -> fl.TrainResult:
    """A linear classifier with softmax loss of points in the plane, from all rows at once until it no longer moves."""
    return fl.train(X, y, optimizer=fl.Adam(0.05), epochs=1500, batch_size=len(X))


def percent(share: float) -> str:
    """A share with one decimal, "97.2 %"."""
    return f"{100 * share:.1f} %"
