"""Figures of `fastlin lectures`: learning rates and their schedules."""

from __future__ import annotations

from typing import Any

import fastlin as fl
from fastlin.lectures.exhibit import COLOURS, Exhibit, digits, new, tidy

RATES = {"very high": 37.0, "high": 0.3, "good": 0.03, "low": 0.0005}


SHADES = ("#b00020", COLOURS[3], COLOURS[2], COLOURS[0])  # from very high to low


def rate_losses() -> dict[str, list[float]]:
    """The loss of each epoch on digits with each of RATES, SVM loss and L2."""
    X, y, _, _ = digits()
    how: dict[str, Any] = {"loss": "svm", "reg": 0.03, "epochs": 30, "batch_size": 64}
    return {name: fl.train(X, y, optimizer=fl.SGD(lr), **how).history["loss"] for name, lr in RATES.items()}


def learning_rates() -> Exhibit:
    """Loss over epochs for four learning rates."""
    figure, axes = new(size=(9, 3.8))
    ax = axes[0, 0]
    losses = rate_losses()
    for (name, values), colour in zip(losses.items(), SHADES, strict=True):
        ax.plot(range(len(values) + 1), [9.0, *values], color=colour, label=f"{name}: {RATES[name]:g}", linewidth=2)
    ax.set_ylim(0, 10)
    ax.annotate(
        f"very high: {losses['very high'][0]:.0e} after an epoch",
        (0.05, 9.8),
        (2, 8.9),
        color=SHADES[0],
        arrowprops={"arrowstyle": "->", "color": SHADES[0]},
    )
    tidy(ax, "SVM loss of digits, L2 penalty included; it starts at c − 1 = 9", "epoch")
    ax.legend(frameon=False, title="learning rate", loc="upper right", bbox_to_anchor=(1, 0.92))
    return Exhibit(
        title="The effect of the learning rate",
        source="“Loss function, Regularization, Optimization”, “The effects of step size”; Iglesias, “Which one of "
        "these learning rates is best to use?”",
        caption="Very high leaves the picture at the first epoch: each step overshoots further. High falls fastest and "
        "then jumps about above the best value. Low is still on its way after 30 epochs. Good is what to look for; "
        "start high and let a schedule lower it to have both.",
        made_with="train, SGD",
        alt="Four curves of loss over 30 epochs: one shoots up and out, one drops fast and stays too high, one drops "
        "to the lowest value, one sinks slowly.",
        figure=figure,
    )


def schedules() -> Exhibit:
    """The lectures' learning-rate schedules."""
    s, lr, T = fl.schedules, 0.1, 100
    figure = s.plot(
        [
            *(s.constant(lr), s.step(lr), s.cosine(lr, T), s.linear(lr, T), s.inverse_sqrt(lr)),
            s.warmup(s.cosine(lr, T - 10), 10),
        ],
        T + 1,
    )
    return Exhibit(
        title="Learning-rate schedules",
        source="Iglesias, “Learning rate decays over time” and “Linear Warmup”",
        caption="Step falls to a tenth at fixed epochs; cosine and linear reach 0 at the end; inverse square root "
        "falls at once and then hardly; warm-up climbs from 0 first, for losses that explode at a high initial rate.",
        made_with="schedules.plot",
        alt="Six curves of the learning rate over 100 steps, from 0.1: constant, stairs, cosine, line, a steep fall "
        "that flattens, and one that first climbs from 0.",
        figure=figure,
    )
