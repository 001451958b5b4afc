"""Pictures of a training: its curves, and the templates that it learned. Drawn with matplotlib (an extra)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastlin._check import Array
from fastlin._extras import need

History = Mapping[str, Sequence[float]]
WIDE = 30.0  # losses that differ by more than this factor go on a logarithmic scale
LARGEST = 1e100  # that is drawn: matplotlib computes with squares and sums of what is on an axis
MARKED = 30  # with fewer epochs each has a mark
VALIDATION = "#e45756"


def loss_picture(histories: Mapping[float, History], best: float, title: str, path: Path) -> None:
    """The loss of each learning rate over the epochs and, where measured, accuracy or R^2 on validation rows.

    histories : one for each learning rate.  best : the rate that the legend calls best, if there are several.
    """
    figures = need("matplotlib.figure", "plot", "loss.png")
    scores = {"validation_accuracy": "accuracy", "validation_r2": "R²"}
    measured, several = next((name for name in scores if name in histories[best]), None), len(histories) > 1
    figure = figures.Figure(figsize=(12.0 if measured else 7.5, 4.5), layout="constrained")
    axes = figure.subplots(1, 2 if measured else 1, squeeze=False)[0]
    for (lr, history), colour in zip(sorted(histories.items(), reverse=True), _colours(len(histories)), strict=True):
        name = _name(lr, history["loss"])
        if several:
            name += " (best)" if lr == best else ""
        elif measured:
            name = f"training rows, {name}"
        _curve(axes[0], history["loss"], colour, name)
        if measured:
            _curve(axes[1], history[measured], colour if several else VALIDATION, None)
    if measured and not several:
        _curve(axes[0], histories[best]["validation_loss"], VALIDATION, "validation rows")
    _scale(axes[0], [value for history in histories.values() for value in history["loss"]])
    titles = "loss, penalty included", f"{scores[measured]} on validation rows" if measured else ""
    for ax, what in zip(axes, titles, strict=False):
        ax.set_title(what, loc="left")
        ax.set_xlabel("epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=120)


def _colours(count: int) -> list[Any]:
    """From the highest learning rate to the lowest, red to blue; one alone is blue."""
    if count == 1:
        return ["#4c78a8"]
    shades = need("matplotlib", "plot", "loss.png").colormaps["turbo"]
    return [shades(0.92 - 0.8 * number / (count - 1)) for number in range(count)]


def _curve(ax: Any, values: Sequence[float], colour: Any, name: str | None) -> None:
    drawn = [value if _drawable(value) else math.nan for value in values]
    ax.plot(range(1, len(values) + 1), drawn, color=colour, label=name, marker="." if len(values) < MARKED else "")


def _name(lr: float, losses: Sequence[float]) -> str:
    """The learning rate, and the first epoch whose loss cannot be drawn."""
    diverged = next((epoch for epoch, value in enumerate(losses, 1) if not _drawable(value)), None)
    if diverged is None:
        return f"lr {lr:g}"
    why = f"above {LARGEST:g}" if math.isfinite(losses[diverged - 1]) else "not finite"
    return f"lr {lr:g}\n{why} from epoch {diverged}"


def _drawable(value: float) -> bool:
    return abs(value) <= LARGEST  # false for NaN


def _scale(ax: Any, losses: Sequence[float]) -> None:
    drawn = [value for value in losses if _drawable(value) and value > 0]
    if not drawn or max(drawn) <= WIDE * min(drawn):
        ax.set_ylim(bottom=0)
        return
    ax.set_yscale("log")
    ax.yaxis.get_major_locator().set_params(subs=(1.0, 2.0, 5.0) if max(drawn) < 1e4 * min(drawn) else (1.0,))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter("")


def template_picture(W: Array, image: tuple[int, ...], classes: Sequence[str], path: Path) -> None:
    """Write `template_figure` to a file."""
    template_figure(W, image, classes).savefig(path, dpi=120)


def template_figure(W: Array, image: tuple[int, ...], classes: Sequence[str], figure: Any = None) -> Any:
    """Each class's weights as an image: the template that its score compares a row with (lecture 3, visual viewpoint).

    Grey images: red where ink speaks for the class, blue where it speaks against it, all on one scale. Images with
    colours: each stretched from its own least to its own largest weight, as in the lecture.
    figure : to draw on; None makes one.
    """
    if figure is None:
        figure = need("matplotlib.figure", "plot", "templates.png").Figure(layout="constrained")
    c = W.shape[1]
    columns = min(c, 5)
    rows = -(-c // columns)
    figure.set_size_inches(1.9 * columns + 0.9, 2.15 * rows + 0.6)
    axes = figure.subplots(rows, columns, squeeze=False)
    templates = W[: math.prod(image)].T.reshape(c, *image)
    largest = float(np.abs(templates).max()) or 1.0
    shown = None
    for ax in axes.flat[c:]:
        ax.axis("off")
    for ax, template, name in zip(axes.flat, templates, classes, strict=False):
        ax.set_title(name, fontsize=11)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_color("#c0c0c0")
        if len(image) == 2:
            shown = ax.imshow(template, cmap="RdBu_r", vmin=-largest, vmax=largest)
        else:
            ax.imshow(_stretched(template).transpose(1, 2, 0))
    if shown is not None:
        figure.colorbar(shown, ax=axes, label="weight", shrink=0.8)
    words = "red speaks for the class, blue against it" if shown is not None else "each stretched to full contrast"
    figure.suptitle(f"What each class looks for: its column of W as an image; {words}", fontsize=11)
    return figure


def _stretched(template: Array) -> Array:
    """Values from 0 to 1."""
    low, high = float(template.min()), float(template.max())
    stretched: Array = (template - low) / ((high - low) or 1.0)
    return stretched
