"""Figures of `fastlin lectures`: the loss as weights change, and searching for weights without a gradient."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

import fastlin as fl
from fastlin._check import Array
from fastlin.lectures.exhibit import COLOURS, Exhibit, digits, new, percent, tidy

SEEDS = range(6)
TRIES = 1000
STEP = 1e-3  # of the local search
LEVELS = (10, 12.5, 15, 17.5, 20, 22.5, 25)  # accuracies in percent
RATE, EARLY = 0.1, 100  # of gradient descent, and the evaluations after which it is looked at first


class Line(NamedTuple):
    """The mean losses of some digits at W + t V for a random direction V of length 1."""

    t: Array
    hinge: Array
    softmax: Array
    kinks: Array  # the t at which a margin is met exactly


def loss_along_a_line(rows: int, reach: float = 6.0) -> Line:
    """Of the first `rows` digits; W is what 20 steps of descent find."""
    X, y, _, _ = digits()
    W = fl.train(X, y, loss="svm", epochs=20, batch_size=len(X), bias=False, optimizer=fl.SGD(0.03)).W
    V = np.random.default_rng(0).standard_normal(W.shape)
    V /= np.linalg.norm(V)
    X, y = X[:rows], y[:rows]
    margins, slopes = (_behind(fl.scores(M, X), y) for M in (W, V))
    kinks = -(margins + 1)[slopes != 0] / slopes[slopes != 0]
    t = np.linspace(-reach, reach, 301)
    hinge = np.array([fl.svm_loss(W + s * V, X, y)[0] for s in t])
    softmax = np.array([fl.softmax_loss(W + s * V, X, y)[0] for s in t])
    return Line(t, hinge, softmax, np.sort(kinks[abs(kinks) < reach]))


def _behind(S: Array, y: Array) -> Array:
    """The scores minus that of the right class, which is left out: (n, c - 1)."""
    n, c = S.shape
    behind: Array = S - S[np.arange(n), y][:, None]
    wrong: Array = behind[np.arange(c) != y[:, None]]
    return wrong.reshape(n, c - 1)


def loss_lines() -> Exhibit:
    """The hinge and the softmax loss along a line through W, for a few digits and for all."""
    figure, axes = new(1, 2, size=(9, 3.8))
    found = [loss_along_a_line(rows) for rows in (2, len(digits()[0]))]
    for ax, line in zip(axes[0], found, strict=True):
        ax.plot(line.t, line.hinge, color=COLOURS[1], label="SVM (hinge)")
        ax.plot(line.t, line.softmax, color=COLOURS[0], linestyle="--", label="softmax")
        ax.set_ylim(0)
    few = found[0]
    on_it = np.interp(few.kinks, few.t, few.hinge)
    axes[0, 0].plot(few.kinks, on_it, "o", color=COLOURS[1], markersize=5, label="kink of the hinge")
    tidy(axes[0, 0], "loss of 2 digits", "distance from W along a random line")
    tidy(axes[0, 1], f"loss of all {len(digits()[0])} digits", "distance from W along the same line")
    axes[0, 0].legend(frameon=False)
    return Exhibit(
        title="As weights change, the loss changes",
        source="Kira, “This is often somewhat-smooth locally, so small changes in weights produce small changes in the "
        "loss”",
        caption="W has 640 weights; all of them change together along a line, and the picture shows the loss on the "
        "way. The softmax loss is smooth. The hinge loss is made of straight pieces: it has a kink wherever a "
        f"wrong score is exactly 1 below the right one, which happens {len(few.kinks)} times here with 2 digits. All "
        f"together have {len(found[1].kinks):,} kinks, each so slight that the mean looks smooth. Neither loss jumps, "
        "so that a W close by has a loss close by, and one may walk downhill in small steps.",
        made_with="svm_loss, softmax_loss",
        alt="Two pictures of two curves each. Left the hinge loss of two digits is a chain of straight pieces with "
        "dots at its kinks, right that of all digits is a smooth valley. Softmax is smooth in both.",
        figure=figure,
    )


@cache
def random_accuracies(tries: int = 5000) -> Array:
    """The share of unseen digits that each of `tries` random W classifies correctly, as random_search draws them."""
    _, _, X_test, y_test = digits()
    rng = np.random.default_rng(0)
    drawn = (rng.standard_normal((X_test.shape[1] + 1, 10)) for _ in range(tries))
    return np.array([(fl.predict(W, X_test, bias=True) == y_test).mean() for W in drawn])


def needed(accuracies: Array) -> list[float]:
    """How many W there are for one that reaches each of LEVELS."""
    return [float(1 / (accuracies >= level / 100).mean()) for level in LEVELS]


def random_weights() -> Exhibit:
    """How accurate random W are, and how many it takes to reach an accuracy."""
    X, y, X_test, y_test = digits()
    found = random_accuracies()
    how: dict[str, Any] = {"loss": "svm", "batch_size": len(X), "optimizer": fl.SGD(RATE)}
    descent = fl.train(X, y, epochs=EARLY, **how).accuracy(X_test, y_test)
    figure, axes = new(1, 2, size=(9, 3.6), width_ratios=(1.5, 1))
    heights, _, _ = axes[0, 0].hist(
        100 * found, bins=np.arange(0, 101, 2.5), weights=np.full(len(found), 100 / len(found)), color=COLOURS[0]
    )
    marks = (
        (10, "#333", ":", "guessing", 0.97),
        (100 * found.max(), COLOURS[1], "--", f"the best of {len(found)}: {percent(found.max())}", 0.75),
        (100 * descent, COLOURS[2], "-.", f"gradient descent: {percent(descent)}", 0.5),
    )
    for at, colour, dashes, words, height in marks:
        axes[0, 0].axvline(at, color=colour, linestyle=dashes)
        side, gap = ("left", 2) if at < 50 else ("right", -2)
        axes[0, 0].text(at + gap, height * heights.max(), words, fontsize=9, color=colour, ha=side, va="top")
    axes[0, 0].set_xlim(0, 100)
    tidy(axes[0, 0], "share of the random W, %", "unseen digits right, %")
    axes[0, 1].plot(LEVELS, needed(found), "o-", color=COLOURS[0])
    axes[0, 1].set_yscale("log")
    tidy(axes[0, 1], "random W for one that reaches it", "unseen digits right, %")
    tries = dict(zip(LEVELS, needed(found), strict=True))
    return Exhibit(
        title="How often will a random search succeed?",
        source="“Loss function, Regularization, Optimization”, “How often will a random search succeed?”",
        caption=f"The accuracy of {len(found)} random W on digits that training never saw; their scale does not matter "
        f"for it. They lie about guessing, at {percent(found.mean())} on average. One in "
        f"{tries[20]:.0f} gets 20 % right, one in {tries[25]:.0f} gets 25 %, and the best has "
        f"{percent(found.max())}. The right picture (logarithmic axis) counts how many W are needed for one that "
        f"reaches an accuracy: each further 2.5 points cost a larger factor, so that the {percent(descent)} that "
        f"gradient descent reaches after {EARLY} steps are out of reach. Seed 0.",
        made_with="predict, train",
        alt="A narrow hill of accuracies about 10 %, whose tail ends far below half. Right, the number of W needed, "
        "on a logarithmic axis, which rises ever more steeply.",
        figure=figure,
    )


class Search(NamedTuple):
    """The lowest losses after 1, 2, 3, ... evaluations and the accuracy on unseen digits at the end."""

    best: list[float]
    accuracy: float


@cache
def searches() -> dict[str, list[Search]]:
    """Random search and random local search with each of SEEDS, and gradient descent, which starts at W = 0."""
    X, y, X_test, y_test = digits()

    def search(result: fl.SearchResult) -> Search:
        return Search(result.history["best"], result.accuracy(X_test, y_test))

    how: dict[str, Any] = {"loss": "svm", "batch_size": len(X), "validation": (X_test, y_test)}
    slope = fl.train(X, y, epochs=TRIES, optimizer=fl.SGD(RATE), **how).history
    found = slope["validation_accuracy"]
    return {
        "random search": [search(fl.random_search(X, y, tries=TRIES, seed=seed)) for seed in SEEDS],
        "random local search": [
            search(fl.random_local_search(X, y, tries=TRIES, step=STEP, seed=seed)) for seed in SEEDS
        ],
        "gradient descent": [Search(slope["loss"][:count], found[count - 1]) for count in (EARLY, TRIES)],
    }


def ways_to_search() -> Exhibit:
    """Loss over the number of evaluations, and the accuracies at the end with each seed."""
    found = searches()
    figure, axes = new(1, 2, size=(9, 3.9))
    looks = zip(found.items(), (COLOURS[1], COLOURS[3], COLOURS[0]), ("--", "-.", "-"), strict=True)
    for row, ((name, runs), colour, dashes) in enumerate(looks):
        for run in runs:
            shown = name if run is runs[0] else None
            axes[0, 0].plot(range(1, len(run.best) + 1), run.best, dashes, color=colour, linewidth=1.3, label=shown)
        ends = [100 * run.accuracy for run in runs]
        axes[0, 1].plot(ends, [row] * len(ends), "o", color=colour, alpha=0.8)
    for run, count, height in zip(found["gradient descent"], (EARLY, TRIES), (1.88, 2.2), strict=True):
        axes[0, 1].text(100 * run.accuracy, height, f"after {count}", ha="center", fontsize=8, color=COLOURS[0])
    tidy(axes[0, 0], "lowest SVM loss so far", "evaluations of the loss")
    tidy(axes[0, 1], "unseen digits right, %; each dot is a run")
    axes[0, 0].set(xscale="log", yscale="log", ylim=(0.08, 20))
    axes[0, 1].axvline(10, color="#555", linewidth=0.8, linestyle=":")
    axes[0, 1].text(11, 1.5, "guessing", fontsize=8, color="#555")
    axes[0, 1].set(xlim=(0, 105), ylim=(2.5, -0.5), yticks=range(3))
    axes[0, 1].set_yticklabels([name.replace(" ", "\n", 1) for name in found])
    axes[0, 0].legend(frameon=False, fontsize=9, loc="lower left")
    blind, local = (summary(found[name]) for name in ("random search", "random local search"))
    early, late = found["gradient descent"]
    return Exhibit(
        title="Random search, random local search, follow the slope",
        source="“Loss function, Regularization, Optimization”, UIT and Iglesias, “Strategy #1: random search”; UIT, "
        "“Random Local Search”",
        caption=f"Each may look at the SVM loss of all training digits {TRIES} times. Random search draws W with a "
        f"standard deviation of 0.0001, as on the slide, and keeps the best: {blind} of unseen digits right. Random "
        f"local search starts at such a W, ten times as large, takes a random step of standard deviation {STEP:g} "
        f"and keeps it if the loss falls: {local}. Both did this {len(SEEDS)} times, with the seeds 0 to "
        f"{SEEDS[-1]}; the numbers are the lowest, the median and the highest. Gradient descent steps against the "
        f"gradient of all digits, at the rate {RATE:g} from W = 0, where no chance is left: {percent(early.accuracy)} "
        f"after {EARLY} evaluations, {percent(late.accuracy)} after {TRIES}. The slides report 15.5 % and 21.4 % for "
        "the first two on CIFAR-10.",
        made_with="random_search, random_local_search, train",
        alt="Left, the loss over up to 1000 evaluations: random search stays at 9, local search comes to 7, gradient "
        "descent to 0.1. Right, accuracies: random search 11 to 23 %, local search 45 to 70 %, gradient descent 96 "
        "and 97 %.",
        figure=figure,
    )


def summary(runs: list[Search]) -> str:
    """The lowest, the median and the highest accuracy."""
    low, middle, high = np.quantile([run.accuracy for run in runs], (0, 0.5, 1))
    return f"{percent(low)}, {percent(middle)}, {percent(high)}"
