"""Figures of `fastlin lectures`: gradient checks, searches, learning rates and optimizers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import fastlin as fl
from fastlin import toys
from fastlin._check import Array
from fastlin.lectures.exhibit import COLOURS, GREY, Exhibit, digits, new, percent, tidy
from fastlin.testing import random_case

Surface = Callable[[Array], tuple[float, Array]]


def checked_gradients() -> list[tuple[str, fl.GradientCheck]]:
    """The names of functions and the results of `check_gradient`; the last gradient is wrong on purpose."""
    case = random_case(12, 7, 4).astype("float64")
    W, X, y = case.W, case.X, case.y

    def forgets_the_penalty(W: Array) -> tuple[float, Array]:
        return fl.softmax_loss(W, X, y, 0.1)[0], fl.softmax_loss(W, X, y)[1]

    functions: dict[str, Surface] = {
        "softmax_loss(W, X, y)": lambda W: fl.softmax_loss(W, X, y),
        "softmax_loss(W, X, y, reg=0.1)": lambda W: fl.softmax_loss(W, X, y, 0.1),
        "softmax_loss(W, X, y, label_smoothing=0.2)": lambda W: fl.softmax_loss(W, X, y, label_smoothing=0.2),
        "svm_loss(W, X, y)": lambda W: fl.svm_loss(W, X, y),
        "svm_loss(W, X, y, reg=fl.L1(0.1))": lambda W: fl.svm_loss(W, X, y, fl.L1(0.1)),
        "svm_loss(W, X, y, squared=True)": lambda W: fl.svm_loss(W, X, y, squared=True),
        "a gradient that forgets the penalty": forgets_the_penalty,
    }
    return [(name, fl.check_gradient(f, W)) for name, f in functions.items()]


def gradient_checks() -> Exhibit:
    """The analytic beside the numerical gradient."""
    rows = [("loss", "largest relative error", "analytic there", "numerical there", "verdict")]
    for name, found in checked_gradients():
        pair = f"{found.analytic:.8f}", f"{found.numerical:.8f}"
        rows.append((name, f"{found.max_error:.1e}", *pair, "agrees" if found else "DISAGREES"))
    return Exhibit(
        title="Gradient check",
        source="all but 493G1, “always use analytic gradient, but check implementation with numerical gradient”",
        caption="The numerical gradient moves one weight by h = 10⁻⁵ up and down and divides the change of the loss by "
        "2h: slow and approximate, but hard to get wrong. Each row compares all 28 entries on random data and shows "
        "the worst. The last row has a mistake built in, to show what one looks like.",
        made_with="check_gradient",
        table=rows,
    )


class Trace(NamedTuple):
    """The results of a search after different numbers of evaluations of the loss."""

    best: list[float]  # the lowest loss after 1, 2, 3, ... evaluations
    looks: list[int]  # some numbers of evaluations
    accuracy: list[float]  # the share of unseen digits that W classifies correctly after each of these


def searches(tries: int = 1000) -> dict[str, Trace]:
    """Random search, random local search and gradient descent on digits, with `tries` evaluations of the SVM loss."""
    X, y, X_test, y_test = digits()
    looks = sorted({int(count) for count in np.geomspace(1, tries, 40)})

    def trace(search: Callable[..., fl.SearchResult], **how: Any) -> Trace:
        runs = [search(X, y, tries=count, bias=False, **how) for count in looks]  # each goes on where the last ended
        return Trace(runs[-1].history["best"][-tries:], looks, [run.accuracy(X_test, y_test) for run in runs])

    how: dict[str, Any] = {"epochs": tries, "batch_size": len(X), "bias": False, "validation": (X_test, y_test)}
    slope = fl.train(X, y, loss="svm", optimizer=fl.SGD(0.1), **how).history
    return {
        "random_search": trace(fl.random_search, scale=0.1),
        "random_local_search": trace(fl.random_local_search, scale=0.05, step=0.05),
        "train with SGD": Trace(slope["loss"], list(range(1, tries + 1)), slope["validation_accuracy"]),
    }


def ways_to_search() -> Exhibit:
    """Loss and accuracy over the number of evaluations."""
    traces = searches()
    figure, axes = new(1, 2, size=(9, 3.9))
    for (name, found), colour in zip(traces.items(), (GREY, COLOURS[3], COLOURS[0]), strict=True):
        axes[0, 0].plot(range(1, len(found.best) + 1), found.best, color=colour, label=name)
        shown = f"{name}: {percent(found.accuracy[-1])}"
        axes[0, 1].plot(found.looks, 100 * np.array(found.accuracy), color=colour, label=shown)
    tidy(axes[0, 0], "best SVM loss so far", "evaluations of the loss")
    tidy(axes[0, 1], "unseen digits right, %", "evaluations of the loss")
    axes[0, 0].set_yscale("log")
    axes[0, 1].axhline(10, color="#555", linewidth=0.8, linestyle=":")
    for ax in axes[0]:
        ax.set_xscale("log")
    axes[0, 0].legend(frameon=False, fontsize=9)
    axes[0, 1].legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(0.02, 0.62))
    ends = [percent(found.accuracy[-1]) for found in traces.values()]
    return Exhibit(
        title="Random search, random local search, follow the slope",
        source="“Loss function, Regularization, Optimization”, UIT and Iglesias, “Strategy #1: random search”; UIT, "
        "“Random Local Search”",
        caption="Each may look at the loss of all training digits 1000 times. Trying random W reaches "
        f"{ends[0]}, stepping at random and keeping what is better {ends[1]}, following the gradient {ends[2]}. "
        "(On CIFAR-10 the slides report 15.5 % and 21.4 % for the first two.) Guessing is the dotted line.",
        made_with="random_search, random_local_search, train",
        alt="Loss and accuracy over up to 1000 evaluations: random search hardly improves, local search improves "
        "slowly, gradient descent is far ahead after ten steps.",
        figure=figure,
    )


def mini_batch_losses(batch: int = 32, epochs: int = 6) -> Array:
    """The loss of each mini-batch of digits before its step, in a training loop without `fl.train`."""
    X, y, _, _ = digits()
    rng = np.random.default_rng(0)
    W, optimizer = np.zeros((X.shape[1], 10)), fl.SGD(0.5)
    losses = []
    for _ in range(epochs):
        order = rng.permutation(len(X))
        for rows in np.array_split(order, len(X) // batch):
            loss, dW = fl.softmax_loss(W, X[rows], y[rows])
            optimizer.step(W, dW)
            losses.append(loss)
    return np.array(losses)


def progress() -> Exhibit:
    """The loss of mini-batches, which goes down over time, and its mean over an epoch."""
    epochs = 6
    losses = mini_batch_losses(epochs=epochs)
    each = len(losses) // epochs
    figure, axes = new(size=(9, 3.4))
    ax = axes[0, 0]
    ax.plot(losses, color=COLOURS[0], linewidth=1, label="loss of a mini-batch of 32 digits")
    means = losses.reshape(epochs, each).mean(axis=1)
    ax.step(np.arange(epochs + 1) * each, [*means, means[-1]], where="post", color=COLOURS[1], label="mean of an epoch")
    ax.axhline(math.log(10), color="#555", linewidth=0.8, linestyle=":")
    ax.text(1, math.log(10) + 0.04, "log 10 = 2.3, at W = 0", fontsize=9, color="#555")
    ax.set_ylim(0, 2.7)
    tidy(ax, "softmax loss", "step")
    ax.legend(frameon=False)
    return Exhibit(
        title="Loss over mini-batches goes down over time",
        source="“Loss function, Regularization, Optimization”, “Example of optimization progress”; Iglesias, “Our "
        "gradients come from minibatches so they can be noisy!”",
        caption="Each step looks at 32 digits only, so that the loss jumps from step to step; its mean falls all the "
        "same. An epoch, once through all digits, is "
        f"{each} steps. Full-batch gradient descent would have made {epochs} steps with as much arithmetic.",
        made_with="softmax_loss, SGD.step",
        alt="A jagged curve of the loss over the steps, from 2.3 to about 0.3, and a stair of its means.",
        figure=figure,
    )


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
