"""Figures of `fastlin lectures`: following the negative gradient, of all rows and of mini-batches."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

import fastlin as fl
from fastlin._check import Array
from fastlin.lectures.exhibit import COLOURS, Exhibit, digits, new, percent, tidy

START, RATE, STEPS = (-2.0, 2.6), 1.5, 25  # of the paths in the plane of two weights
ROWS, FEW = 400, 8  # all points, and those of a mini-batch


@cache
def cloud() -> tuple[Array, Array]:
    """X (400, 2) and targets 0 and 1 of two overlapping clouds; the second feature is smaller than the first."""
    rng = np.random.default_rng(1)
    y = np.arange(ROWS) % 2
    X = np.column_stack([2.0 * y - 1, 0.5 * (2.0 * y - 1)]) + rng.standard_normal((ROWS, 2)) * (1.5, 0.8)
    return X, y.astype(float)


def loss_of_two(w: Array) -> tuple[float, Array]:
    """The logistic loss of the cloud for weights (2,), and its gradient."""
    X, t = cloud()
    loss, dW = fl.logistic_loss(w[:, None], X, t)
    return loss, dW[:, 0]


def path(batch: int, seed: int = 0) -> Array:
    """STEPS steps of SGD from START, each by the gradient of `batch` points: all, or some drawn at random."""
    X, t = cloud()
    rng, optimizer = np.random.default_rng(seed), fl.SGD(RATE)
    w = np.array(START)
    walked = [w.copy()]
    for _ in range(STEPS):
        rows = rng.choice(ROWS, batch, replace=False)
        optimizer.step(w, fl.logistic_loss(w[:, None], X[rows], t[rows])[1][:, 0])
        walked.append(w.copy())
    return np.array(walked)


@cache
def bottom() -> Array:
    """The two weights of the lowest loss."""
    X, t = cloud()
    return fl.minimize(X, t, loss="logistic", bias=False, tol=1e-10).W[:, 0]


def contours(ax: Any, low: tuple[float, float], high: tuple[float, float], levels: Array) -> None:
    """The loss of two weights as contours at so much above the lowest, equally scaled both ways."""
    across, up = np.meshgrid(np.linspace(low[0], high[0], 60), np.linspace(low[1], high[1], 60))
    heights = np.array([loss_of_two(np.array(w))[0] for w in zip(across.ravel(), up.ravel(), strict=True)])
    lowest = loss_of_two(bottom())[0]
    ax.contour(across, up, heights.reshape(across.shape), levels=lowest + levels, colors="#9aa5b1", linewidths=0.8)
    ax.plot(*bottom(), "*", color="#222", markersize=10)
    ax.set_aspect("equal")


LEVELS = np.geomspace(0.003, 1.7, 12)
LEVEL = LEVELS[7]  # of the contour on which the arrows stand


def on_contour(angle: float) -> Array:
    """The weights where the loss is LEVEL above the lowest, seen from there at an angle."""
    away, high = np.array([math.cos(angle), math.sin(angle)]), loss_of_two(bottom())[0] + LEVEL
    inner, outer = 0.0, 10.0
    for _ in range(50):
        middle = (inner + outer) / 2
        inner, outer = (middle, outer) if loss_of_two(bottom() + middle * away)[0] < high else (inner, middle)
    return bottom() + inner * away


def descent_path() -> Exhibit:
    """Contours of a loss of two weights, negative gradients across them, and a path downhill."""
    figure, axes = new(size=(9, 5.4))
    ax = axes[0, 0]
    contours(ax, (-2.8, -0.6), (3.4, 3.3), LEVELS)
    for angle in np.arange(0, 2 * np.pi, np.pi / 6):
        w = on_contour(angle)
        slope = loss_of_two(w)[1]
        tip = w - 0.4 * slope / np.linalg.norm(slope)
        ax.annotate("", tip, w, arrowprops={"arrowstyle": "->", "color": COLOURS[1], "shrinkA": 0, "shrinkB": 0})
    walked = path(ROWS)
    ax.plot(*walked.T, "o-", color=COLOURS[0], markersize=4)
    ax.text(walked[0, 0] - 0.1, walked[0, 1] + 0.12, "start", fontsize=10, ha="center")
    ax.text(bottom()[0] + 0.1, bottom()[1] - 0.2, "lowest loss", fontsize=10)
    tidy(ax, "", "first weight", "second weight")
    losses = [loss_of_two(w)[0] for w in walked]
    return Exhibit(
        title="The negative gradient is the way straight down",
        source="“Loss function, Regularization, Optimization” and Kira, “negative gradient direction”; Iglesias, “The "
        "direction of steepest descent is the negative gradient”",
        caption="The loss of a classifier with two weights (logistic loss of 400 points), seen from above: on a grey "
        "line the loss is the same everywhere, as the height on a contour line of a map. The red arrows point along "
        "the negative gradient: each leaves its contour line at a right angle, and few point at the lowest loss "
        f"itself. The blue path is gradient descent, {STEPS} steps W ← W − {RATE:g} ∇L(W) from "
        f"{START}: the loss falls in every step, from {losses[0]:.2f} to {losses[-1]:.3f}, and the steps get shorter, "
        f"as the slope does. The lowest loss, at the star, is {loss_of_two(bottom())[0]:.3f}.",
        made_with="logistic_loss, SGD.step, minimize",
        alt="Contour lines around a lowest point like the rings of a longish valley. Red arrows stand across them. A "
        "blue path of dots runs down into the valley and along it to the lowest point, in ever shorter steps.",
        figure=figure,
    )


BATCHES, DRAWS = (1, 4, 16, 64, 256, 1024), 100


@cache
def batch_errors() -> tuple[float, list[float]]:
    """The error of the gradient of one digit, and of BATCHES digits drawn independently, as shares of its length.

    The error is the root of the mean square: of one digit over all of them, of a batch over DRAWS draws.
    """
    X, y, _, _ = digits()
    rng = np.random.default_rng(0)
    W = fl.train(X, y, epochs=1, bias=False).W
    whole = fl.softmax_loss(W, X, y)[1]

    def square(rows: Array) -> float:
        return float(((fl.softmax_loss(W, X[rows], y[rows])[1] - whole) ** 2).sum() / (whole**2).sum())

    one = np.mean([square(np.array([i])) for i in range(len(X))])
    errors = [np.mean([square(rng.integers(len(X), size=size)) for _ in range(DRAWS)]) for size in BATCHES]
    return math.sqrt(one), np.sqrt(errors).tolist()


def noise() -> Exhibit:
    """Paths of full-batch and of mini-batch descent, and the error of the gradient over the batch size."""
    figure, axes = new(1, 2, size=(9, 4.2), width_ratios=(1.25, 1))
    ax = axes[0, 0]
    contours(ax, (-2.5, -0.9), (2.1, 3.1), LEVELS)
    for seed, colour in zip((0, 1), (COLOURS[1], COLOURS[3]), strict=True):
        label = f"batches of {FEW}, seed {seed}: {FEW * STEPS} points read"
        ax.plot(*path(FEW, seed).T, ".-", color=colour, linewidth=1, label=label)
    ax.plot(*path(ROWS).T, "o-", color=COLOURS[0], markersize=4, label=f"all {ROWS}: {ROWS * STEPS:,} points read")
    ax.legend(fontsize=8, loc="lower left")
    tidy(ax, f"{STEPS} steps each, the same rate", "first weight", "second weight")
    one, errors = batch_errors()
    ax = axes[0, 1]
    ax.plot(BATCHES, errors, "o", color=COLOURS[0], label=f"measured, {DRAWS} batches each")
    sizes = np.array(BATCHES)
    ax.plot(sizes, one / np.sqrt(sizes), "--", color="#555", label="error of one digit / √M")
    ax.set(xscale="log", yscale="log")
    ax.set_xticks(BATCHES, [str(size) for size in BATCHES])
    ax.set_yticks([0.25, 0.5, 1, 2, 4, 8], ["0.25", "0.5", "1", "2", "4", "8"])
    ax.minorticks_off()
    tidy(ax, "error of the gradient, divided by its length", "digits in a batch, M")
    ax.legend(frameon=False, fontsize=8)
    return Exhibit(
        title="The gradient of a mini-batch is an estimate",
        source="“Loss function, Regularization, Optimization”, “Goal is to estimate the gradient. Trade-off between "
        "accuracy and computation”; Iglesias, “Our gradients come from minibatches so they can be noisy!”",
        caption=f"Left, the loss and the start of the figure before. Steps by the gradient of {FEW} random points "
        f"wander about the path of the full gradient, but go the same way, and {STEPS} of them read "
        f"{percent(FEW / ROWS)} as many points. In the end they do not settle, as the rate stays. Right, how far "
        "the gradient of M digits is from that of all of them, for softmax loss after an epoch of training (both axes "
        f"are logarithmic). The error falls as 1 / √M: {BATCHES[2]} digits instead of {BATCHES[1]}, four times the "
        f"computation, bring it from {errors[1]:.1f} to {errors[2]:.1f} times the length of the gradient. Half the "
        "error costs four times as much.",
        made_with="logistic_loss, softmax_loss, SGD.step",
        alt="Left, contour lines with a smooth path down the valley and two jagged ones about it. Right, points on a "
        "falling straight line in a picture with two logarithmic axes.",
        figure=figure,
    )


MINI, EPOCHS, MINI_RATE = 32, 6, 0.5


def mini_batch_losses() -> Array:
    """The loss of each mini-batch of digits before its step, in a training loop without `fl.train`."""
    X, y, _, _ = digits()
    rng = np.random.default_rng(0)
    W, optimizer = np.zeros((X.shape[1], 10)), fl.SGD(MINI_RATE)
    losses = []
    for _ in range(EPOCHS):
        order = rng.permutation(len(X))
        for rows in np.array_split(order, len(X) // MINI):
            loss, dW = fl.softmax_loss(W, X[rows], y[rows])
            optimizer.step(W, dW)
            losses.append(loss)
    return np.array(losses)


def full_batch_loss() -> float:
    """The loss of all digits after EPOCHS steps by the gradient of all of them, at the same rate."""
    X, y, _, _ = digits()
    W, optimizer = np.zeros((X.shape[1], 10)), fl.SGD(MINI_RATE)
    for _ in range(EPOCHS):
        optimizer.step(W, fl.softmax_loss(W, X, y)[1])
    return fl.softmax_loss(W, X, y)[0]


def progress() -> Exhibit:
    """The loss of mini-batches, which goes down over time, and its mean over an epoch."""
    losses = mini_batch_losses()
    each = len(losses) // EPOCHS
    figure, axes = new(size=(9, 3.4))
    ax = axes[0, 0]
    ax.plot(losses, color=COLOURS[0], linewidth=1, label=f"loss of a mini-batch of {MINI} or {MINI + 1} digits")
    means = losses.reshape(EPOCHS, each).mean(axis=1)
    ax.step(np.arange(EPOCHS + 1) * each, [*means, means[-1]], where="post", color=COLOURS[1], label="mean of an epoch")
    ax.axhline(math.log(10), color="#555", linewidth=0.8, linestyle=":")
    ax.text(1, math.log(10) + 0.04, "log 10 = 2.3, at W = 0", fontsize=9, color="#555")
    ax.set_ylim(0, 2.7)
    tidy(ax, "softmax loss", "step")
    ax.legend(frameon=False)
    return Exhibit(
        title="Loss over mini-batches goes down over time",
        source="“Loss function, Regularization, Optimization”, “Example of optimization progress”; Iglesias, “Our "
        "gradients come from minibatches so they can be noisy!”",
        caption=f"Each step looks at {MINI} or {MINI + 1} digits only (rate {MINI_RATE:g}, seed 0), so that the loss "
        "jumps from step to step; its mean over an epoch falls all the same, from "
        f"{means[0]:.2f} to {means[-1]:.2f}. An epoch, once through all digits, is {each} steps. Descent by the "
        f"gradient of all digits makes {EPOCHS} steps with as much arithmetic, and at the same rate has only come to "
        f"{full_batch_loss():.2f}.",
        made_with="softmax_loss, SGD.step",
        alt="A jagged curve of the loss over the steps, from 2.3 to about 0.3, and a stair of its means.",
        figure=figure,
    )
