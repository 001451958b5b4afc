"""Figures of `fastlin lectures`: is the gradient right, which way down, how fast."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import fastlin as fl
from fastlin import toys
from fastlin._check import Array
from fastlin._plot_lectures import COLOURS, GREY, Exhibit, digits, new, percent, rules, tidy
from fastlin.testing import random_case

Surface = Callable[[Array], tuple[float, Array]]


def checked_gradients() -> list[tuple[str, fl.GradientCheck]]:
    """What is checked, and what `check_gradient` says; the last one is wrong on purpose."""
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
        table=rows,
    )


Trace = list[tuple[int, float, float]]  # after how many looks at the loss: the loss, and accuracy on unseen digits


def searches(tries: int = 1000) -> dict[str, Trace]:
    """Random search, random local search and gradient descent on digits, with `tries` evaluations of the SVM loss."""
    X, y, X_test, y_test = digits()
    shape = (X.shape[1], 10)

    def loss(W: Array) -> float:
        return fl.svm_loss(W, X, y)[0]

    def trace(steps: Iterator[tuple[int, float, Array]]) -> Trace:
        return [(at, value, float(np.mean(fl.predict(W, X_test) == y_test))) for at, value, W in steps]

    rng = np.random.default_rng(0)
    return {
        "random search": trace(_improvements(loss, tries, lambda best: 0.1 * rng.standard_normal(shape))),
        "random local search": trace(_improvements(loss, tries, lambda best: best + 0.05 * rng.standard_normal(shape))),
        "gradient descent": trace(_descent(X, y, tries)),
    }


def _improvements(
    loss: Callable[[Array], float], tries: int, propose: Callable[[Array], Array]
) -> Iterator[tuple[int, float, Array]]:
    """Propose a W, keep it if it is better: (tries so far, loss, W) at each improvement, and at the end."""
    best, value = np.zeros((64, 10)), math.inf
    for number in range(1, tries + 1):
        W = propose(best)
        found = loss(W)
        if found < value:
            best, value = W, found
            yield number, value, best
    yield tries, value, best


def _descent(X: Array, y: Array, steps: int) -> Iterator[tuple[int, float, Array]]:
    W, optimizer = np.zeros((64, 10)), fl.SGD(0.1)
    for number in range(1, steps + 1):
        value, dW = fl.svm_loss(W, X, y)
        yield number, value, W
        optimizer.step(W, dW)


def ways_to_search() -> Exhibit:
    """Loss and accuracy over the number of evaluations."""
    traces = searches()
    figure, axes = new(1, 2, size=(9, 3.7))
    for (name, trace), colour in zip(traces.items(), (GREY, COLOURS[3], COLOURS[0]), strict=True):
        at, loss, accuracy = np.array(trace).T
        axes[0, 0].step(at, loss, where="post", color=colour, label=name)
        axes[0, 1].step(at, 100 * accuracy, where="post", color=colour, label=f"{name}: {percent(accuracy[-1])}")
    tidy(axes[0, 0], "best SVM loss so far", "evaluations of the loss")
    tidy(axes[0, 1], "unseen digits right, %", "evaluations of the loss")
    axes[0, 0].set_yscale("log")
    axes[0, 1].axhline(10, color="#555", linewidth=0.8, linestyle=":")
    for ax in axes[0]:
        ax.set_xscale("log")
        ax.legend(frameon=False, fontsize=9)
    ends = [percent(trace[-1][2]) for trace in traces.values()]
    return Exhibit(
        title="Random search, random local search, follow the slope",
        source="“Loss function, Regularization, Optimization”, UIT and Iglesias, “Strategy #1: random search”; UIT, "
        "“Random Local Search”",
        caption="Each may look at the loss of all training digits 1000 times. Trying random W reaches "
        f"{ends[0]}, stepping at random and keeping what is better {ends[1]}, following the gradient {ends[2]}. "
        "(On CIFAR-10 the slides report 15.5 % and 21.4 % for the first two.) Guessing is the dotted line.",
        alt="Loss and accuracy over up to 1000 evaluations: random search hardly improves, local search improves "
        "slowly, gradient descent is far ahead after ten steps.",
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
        alt="Six curves of the learning rate over 100 steps, from 0.1: constant, stairs, cosine, line, a steep fall "
        "that flattens, and one that first climbs from 0.",
        figure=figure,
    )


OPTIMIZERS: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {  # on the bowl, on the saddle
    "SGD": (lambda: fl.SGD(0.095), lambda: fl.SGD(0.05)),
    "momentum": (lambda: fl.SGD(0.03, momentum=0.8), lambda: fl.SGD(0.05, momentum=0.8)),
    "Nesterov": (
        lambda: fl.SGD(0.03, momentum=0.8, nesterov=True),
        lambda: fl.SGD(0.05, momentum=0.8, nesterov=True),
    ),
    "AdaGrad": (lambda: rules.AdaGrad(0.8), lambda: rules.AdaGrad(0.2)),
    "RMSProp": (lambda: rules.RMSProp(0.15, alpha=0.9), lambda: rules.RMSProp(0.05, alpha=0.9)),
    "Adam": (lambda: rules.Adam(0.3, beta2=0.99), lambda: rules.Adam(0.1)),
}


def walk(surface: Surface, optimizer: Any, start: tuple[float, float], steps: int) -> Array:
    """The places (steps + 1, 2) that an optimizer comes by."""
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
    return Exhibit(
        title="An ill-conditioned bowl",
        source="Iglesias, “What if loss changes quickly in one direction and slowly in another?”, “SGD + Momentum”, "
        "“AdaGrad”, “RMSProp”, “Adam”",
        caption="(w₀² + 20 w₁²) / 2: twenty times as steep up and down as sideways; the star is the minimum. SGD "
        "jitters along the steep direction and is slow along the shallow one. Momentum builds up speed and overshoots; "
        "Nesterov looks ahead and does so less. AdaGrad and RMSProp scale each direction by its gradients and turn to "
        "the star at once; Adam adds momentum to that, and overshoots again.",
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
        alt="Left, six paths over the contours of a saddle, the adaptive ones turning off early. Right, their values "
        "over the steps: SGD rests at zero for long before it falls.",
        figure=figure,
    )
