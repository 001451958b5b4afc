"""Figures of `fastlin lectures`: the paths of optimizers on surfaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fastlin as fl
from fastlin import toys
from fastlin._check import Array
from fastlin.lectures.exhibit import COLOURS, Exhibit, new, tidy

Surface = Callable[[Array], tuple[float, Array]]

OPTIMIZERS: dict[str, tuple[Callable[[], fl.Optimizer], Callable[[], fl.Optimizer]]] = {  # on the bowl, on the saddle
    "SGD": (lambda: fl.SGD(0.095), lambda: fl.SGD(0.05)),
    "momentum": (lambda: fl.SGD(0.03, momentum=0.8), lambda: fl.SGD(0.05, momentum=0.8)),
    "Nesterov": (
        lambda: fl.SGD(0.03, momentum=0.8, nesterov=True),
        lambda: fl.SGD(0.05, momentum=0.8, nesterov=True),
    ),
    "AdaGrad": (lambda: fl.AdaGrad(0.8), lambda: fl.AdaGrad(0.2)),
    "RMSProp": (lambda: fl.RMSProp(0.15, alpha=0.9), lambda: fl.RMSProp(0.05, alpha=0.9)),
    "Adam": (lambda: fl.Adam(0.3, beta2=0.99), lambda: fl.Adam(0.1)),
}


def walk(surface: Surface, optimizer: fl.Optimizer, start: tuple[float, float], steps: int) -> Array:
    """The points (steps + 1, 2) that an optimizer reaches."""
    W = np.array(start)
    places = [W.copy()]
    for _ in range(steps):
        optimizer.step(W, surface(W)[1])
        places.append(W.copy())
    return np.array(places)


def _ground(ax: Any, surface: Surface, half: tuple[float, float], levels: Any) -> None:
    across, up = np.linspace(-half[0], half[0], 121), np.linspace(-half[1], half[1], 121)
    height = np.array([[surface(np.array([w0, w1]))[0] for w0 in across] for w1 in up])
    ax.contour(across, up, height, levels=levels, cmap="Greys_r", linewidths=0.7, alpha=0.6)
    ax.set(xlim=(-half[0], half[0]), ylim=(-half[1], half[1]))


def bowl() -> Exhibit:
    """Six optimizers in an ill-conditioned bowl."""
    steps = 40
    figure, axes = new(2, 3, size=(9, 4.8), sharex=True, sharey=True)
    for ax, (name, (make, _)), colour in zip(axes.flat, OPTIMIZERS.items(), COLOURS, strict=True):
        places = walk(toys.bowl, make(), (-3.5, 1.0), steps)
        _ground(ax, toys.bowl, (4.0, 1.5), (0.1, 0.5, 1.5, 4, 8, 14, 21))
        ax.plot(*places.T, color=colour, marker=".", markersize=4, linewidth=1.1)
        ax.plot(0, 0, marker="*", color="#222", markersize=9)
        ax.set_title(f"{name}: value {toys.bowl(places[-1])[0]:.1g} after {steps} steps", loc="left", fontsize=9)
    for ax in axes[:, 0]:
        ax.set_ylabel("w₁")
    for ax in axes[1]:
        ax.set_xlabel("w₀")
    return Exhibit(
        title="An ill-conditioned bowl",
        source="Iglesias, “What if loss changes quickly in one direction and slowly in another?”, “SGD + Momentum”, "
        "“AdaGrad”, “RMSProp”, “Adam”",
        caption="(w₀² + 20 w₁²) / 2: twenty times as steep up and down as sideways; the star is the minimum. SGD "
        "jitters along the steep direction and is slow along the shallow one. Momentum builds up speed and overshoots; "
        "Nesterov looks ahead and does so less. AdaGrad and RMSProp scale each direction by its gradients and turn to "
        "the star at once; Adam adds momentum to that, and overshoots again.",
        made_with="toys.bowl, SGD, AdaGrad, RMSProp, Adam",
        alt="Six paths over the contours of a flat ellipse: SGD zigzags, momentum overshoots and returns, Nesterov "
        "less, AdaGrad, RMSProp and Adam curve towards the middle.",
        figure=figure,
    )


def saddle() -> Exhibit:
    """Six optimizers that start nearly on the ridge of a saddle."""
    steps = 60
    figure, axes = new(1, 2, size=(9, 4))
    _ground(axes[0, 0], toys.saddle, (1.6, 1.6), np.linspace(-2.4, 2.4, 13))
    for (name, (_, make)), colour in zip(OPTIMIZERS.items(), COLOURS, strict=True):
        places = walk(toys.saddle, make(), (-1.5, 0.01), steps)
        axes[0, 0].plot(*places.T, color=colour, marker=".", markersize=3, linewidth=1, label=name)
        axes[0, 1].plot([toys.saddle(place)[0] for place in places], color=colour, label=name, linewidth=1.8)
    axes[0, 0].plot(0, 0, marker="x", color="#222", markersize=8)
    tidy(axes[0, 0], "paths; the cross is the saddle point", "w₀", "w₁")
    axes[0, 1].set_ylim(-3, 2.4)
    tidy(axes[0, 1], "value w₀² − w₁²: lower is better", "step")
    axes[0, 1].legend(frameon=False, fontsize=9)
    return Exhibit(
        title="A saddle",
        source="Iglesias, “What if the loss function has a local minima or saddle point?”",
        caption="w₀² − w₁² falls for ever along w₁, but the start is a hundredth beside the ridge, where that slope "
        "is nearly 0. SGD nearly stops beside the cross and needs longest to leave; momentum leaves sooner; AdaGrad, "
        "RMSProp and Adam, which divide by the size of the slope, turn off at once. Exactly on the ridge "
        "all would stay.",
        made_with="toys.saddle, SGD, AdaGrad, RMSProp, Adam",
        alt="Left, six paths over the contours of a saddle, the adaptive ones turning off early. Right, their values "
        "over the steps: SGD rests at zero for long before it falls.",
        figure=figure,
    )
