"""Figures of `fastlin lectures`: gradient checks, searches, the loss of mini-batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import fastlin as fl
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
