"""Figures of `fastlin lectures`: the losses."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastlin as fl
from fastlin._check import Array
from fastlin.lectures.exhibit import COLOURS, GREY, Exhibit, new, tidy


def loss_of_scores(loss: Any, scores: Array, **hyper: Any) -> Array:
    """The loss of each row of scores (n, c) whose right class is the first."""
    one = np.ones((1, 1))
    return np.array([loss(row[None, :], one, [0], **hyper)[0] for row in scores])


PICTURES = {"cat": (3.2, 5.1, -1.7), "car": (1.3, 4.9, 2.0), "frog": (2.2, 2.5, -3.1)}  # the slides' scores


def losses_of_pictures() -> tuple[Array, Array, float]:
    """The SVM loss and the softmax loss of each of PICTURES, and the mean of the SVM losses."""
    S = np.array(list(PICTURES.values()))
    X = np.eye(3)  # so that X @ S are the scores S
    each = [[loss(S, X[[i]], [i])[0] for i in range(3)] for loss in (fl.svm_loss, fl.softmax_loss)]
    return np.array(each[0]), np.array(each[1]), fl.svm_loss(S, X, [0, 1, 2])[0]


def three_pictures() -> Exhibit:
    """The slides' three pictures with their scores and losses."""
    svm, softmax, mean = losses_of_pictures()
    rows = [("a picture of a", *(f"score of {name}" for name in PICTURES), "SVM loss", "softmax loss")]
    for i, (name, scores) in enumerate(PICTURES.items()):
        margins = [score - scores[i] + 1 for j, score in enumerate(scores) if j != i]
        terms = " + ".join(f"max(0, {margin:.1f})" for margin in margins)
        row = *(f"{score:.1f}" for score in scores), f"{terms} = {svm[i]:.1f}", f"{softmax[i]:.2f}"
        rows.append((name, *(cell.replace("-", "−") for cell in row)))
    return Exhibit(
        title="Three pictures, three classes",
        source="all five, “Suppose: 3 training examples, 3 classes”",
        caption="SVM: each wrong class whose score comes nearer than 1 to that of the right one costs as much as it is "
        "too near. The car is ahead of the others by more than 1: loss 0. For the frog both others are ahead. The loss "
        f"of the data is the mean, {mean:.2f}. Softmax charges for all that is short of certainty, the car too.",
        made_with="svm_loss, softmax_loss",
        table=rows,
    )


def loss_curves() -> Exhibit:
    """Hinge, squared hinge and softmax over the margin, two classes."""
    ahead = np.linspace(-3, 3, 241)
    scores = np.column_stack([ahead, np.zeros_like(ahead)])
    figure, axes = new(size=(9, 3.8))
    ax = axes[0, 0]
    curves: tuple[tuple[str, Any, dict[str, Any]], ...] = (
        ("hinge, max(0, 1 − a)", fl.svm_loss, {}),
        ("squared hinge", fl.svm_loss, {"squared": True}),
        ("softmax, log(1 + e⁻ᵃ)", fl.softmax_loss, {}),
    )
    for (name, loss, hyper), colour in zip(curves, COLOURS, strict=False):
        ax.plot(ahead, loss_of_scores(loss, scores, **hyper), color=colour, label=name, linewidth=2)
    ax.step(ahead, ahead < 0, where="post", color=GREY, linestyle=":", label="wrong answer, 0 or 1")
    ax.axvline(1, color=GREY, linewidth=0.8)
    ax.text(1.03, 4.6, "margin 1", color="#555", fontsize=9)
    tidy(ax, x="a: how far the right class's score is ahead of the other's", y="loss of the row")
    ax.set_ylim(-0.1, 5)
    ax.legend(frameon=False, loc="upper right", bbox_to_anchor=(1, 0.9))
    return Exhibit(
        title="Hinge and softmax loss",
        source="all five, “Multiclass SVM loss”; all but Iglesias, “Softmax vs. SVM”; UIT and 493G1, "
        "“Q6: What if we used” the square",
        caption="Two classes. To the right of margin 1 the hinge is exactly 0 and no longer cares; softmax always "
        "wants a little more. To the left both grow along straight lines, the squared hinge much faster, so that it "
        "minds a few bad rows more. At a = 0, where W = 0 starts, they are c − 1 = 1 and log c = 0.69.",
        made_with="svm_loss, softmax_loss",
        alt="Curves of three losses over the lead of the right class: the hinge bends to zero at lead 1, the squared "
        "hinge rises steeply to the left, softmax falls smoothly and never reaches zero.",
        figure=figure,
    )


def probabilities() -> Exhibit:
    """cat 3.2, car 5.1, frog -1.7: scores, exponentials, probabilities."""
    scores = np.array([3.2, 5.1, -1.7])
    shares = fl.softmax(scores[None, :])[0]
    loss = float(loss_of_scores(fl.softmax_loss, scores[None, :])[0])
    steps = (("scores s", scores, "{:.1f}"), ("exp(s)", np.exp(scores), "{:.2f}"), ("softmax: sum 1", shares, "{:.2f}"))
    figure, axes = new(1, 3, size=(9, 2.8))
    for ax, (title, values, shown) in zip(axes[0], steps, strict=True):
        bars = ax.bar(("cat", "car", "frog"), values, color=(COLOURS[0], GREY, GREY))
        ax.bar_label(bars, [shown.format(value) for value in values], padding=2, fontsize=9)
        ax.margins(y=0.18)
        ax.axhline(0, color="#555", linewidth=0.8)
        tidy(ax, title)
    return Exhibit(
        title="From scores to probabilities",
        source="“Loss function, Regularization, Optimization”, Kira, UIT and 493G1, “Softmax Classifier”",
        caption="The picture is of a cat (blue), but the car has the highest score. Exponentials make the scores "
        f"positive, dividing by their sum makes them probabilities: the cat gets {shares[0]:.2f}, and its loss is "
        f"−log {shares[0]:.2f} = {loss:.2f}. (One lecture says 0.89: there the logarithm is to base 10.)",
        made_with="softmax, softmax_loss",
        alt="Three bar charts for cat, car and frog: scores 3.2, 5.1, −1.7; exponentials 24.5, 164, 0.18; "
        "probabilities 0.13, 0.87, 0.00.",
        figure=figure,
    )
