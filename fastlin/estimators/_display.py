"""Pictures of a fit, in the manner of scikit-learn's Display classes: .plot() draws, .figure_ and .ax_ are kept."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastlin import _check
from fastlin._check import Array
from fastlin._extras import need
from fastlin._plots.train import template_figure


class FitDisplay:
    """The loss over a fit, or the templates that it learned.

    Parameters
    ----------
    loss_curve : the losses.
    xlabel : what they were measured after: iterations or epochs.
    coef : (c, d) weights.
    names : c names for them.

    Attributes
    ----------
    figure_, ax_ : matplotlib's figure, and its axes: an array of them for templates.
    """

    def __init__(self, *, loss_curve: list[float], xlabel: str, coef: Array, names: list[str]) -> None:
        self.loss_curve = loss_curve
        self.xlabel = xlabel
        self.coef = coef
        self.names = names

    def plot(self, *, image_shape: tuple[int, ...] | None = None, ax: Any = None) -> FitDisplay:
        """Draw the loss, on `ax` if one is given; with `image_shape` the rows of coef as images instead.

        image_shape : (height, width), or (channels, height, width) with red, green and blue.
        Returns self. Raises ValueError if an image has not as many pixels as X has columns.
        """
        pyplot = need("matplotlib.pyplot", "plot", "a plot of a fit")
        if image_shape is not None:
            self._draw_templates(pyplot, image_shape, ax)
            return self
        if ax is None:
            _, ax = pyplot.subplots()
        ax.plot(np.arange(len(self.loss_curve)), self.loss_curve, marker="." if len(self.loss_curve) < 30 else "")
        ax.set(xlabel=self.xlabel, ylabel="loss, penalty included")
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _draw_templates(self, pyplot: Any, image_shape: tuple[int, ...], ax: Any) -> None:
        shape = tuple(_check.count("image_shape", side) for side in image_shape)
        d = self.coef.shape[1]
        if ax is not None:
            raise ValueError("ax is for the loss: templates have axes of their own, pass image_shape without ax")
        if math.prod(shape) != d or len(shape) not in (2, 3) or (len(shape) == 3 and shape[0] != 3):
            raise ValueError(f"image_shape={shape} must be (height, width) or (3, height, width) of {d} pixels in all")
        figure = pyplot.figure(layout="constrained")
        self.figure_ = template_figure(self.coef.T, shape, self.names, figure)
        self.ax_ = np.array(self.figure_.axes[: len(self.names)])
