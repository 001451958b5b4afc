"""Figures of `fastlin lectures`: nearest neighbours, and what a linear classifier is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

import fastlin as fl
from fastlin import toys
from fastlin._check import Array
from fastlin._extras import need
from fastlin._plots.train import template_figure
from fastlin.data import CIFAR10_CLASSES, Dataset
from fastlin.lectures.exhibit import COLOURS, GREY, Exhibit, digits, fit_all_rows, new, percent, regions, tidy
from fastlin.lectures.glyphs import SIZE, TYPEFACES, typeset_digits

ARROW = 0.6  # length of the arrow of a weight vector, in units of x1 and x2
DASHES = ("-", "--", ":")  # of each class's line, for readers who cannot distinguish the colours
TRAINING, UNSEEN = 4000, 2000  # typeset digits
TEMPLATE_REG = 0.5  # so much that the templates are smooth; less gets more digits right
COLOUR_EPOCHS = 10

# The scores of three images as the slides print them, by class in CIFAR-10's order; the images by their right class.
TEN_SCORES = np.array(
    [
        [-3.45, -8.87, 0.09, 2.90, 4.48, 8.02, 3.78, 1.06, -0.36, -0.72],
        [-0.51, 6.04, 5.31, -4.22, -4.19, 3.58, 4.49, -4.37, -2.09, -2.93],
        [3.42, 4.64, 2.65, 5.10, 2.64, 5.55, -4.34, -1.50, -4.79, 6.14],
    ]
)
SHOWN = ("cat", "automobile", "frog")


@cache
def digits_fit(loss: str = "softmax") -> fl.TrainResult:
    """A linear classifier of digits."""
    X, y, _, _ = digits()
    return fl.train(X, y, loss=loss, optimizer=fl.Adam(0.01), epochs=60, reg=1e-4)


def neighbours_accuracy(k: int) -> tuple[float, float]:
    """Accuracy of k nearest neighbours (scikit-learn) on the training and the test digits."""
    X, y, X_test, y_test = digits()
    model = _neighbours(k).fit(X, y)
    return float(model.score(X, y)), float(model.score(X_test, y_test))


def _neighbours(k: int) -> Any:
    return need("sklearn.neighbors", "features", "fastlin lectures").KNeighborsClassifier(k)


def neighbours() -> Exhibit:
    """kNN and linear classifiers: regions in the plane, accuracy on digits."""
    X, y = toys.blobs(240, spread=1.1)
    d, c = digits_fit().W.shape
    figure, axes = new(1, 3, size=(9, 3.3))
    for ax, (name, classify) in zip(
        axes[0],
        {
            "1-NN": _neighbours(1).fit(X, y).predict,
            "5-NN": _neighbours(5).fit(X, y).predict,
            "linear (softmax)": fit_all_rows(X, y).predict,
        }.items(),
        strict=True,
    ):
        regions(ax, X, y, classify, name)
        ax.set_xlabel("x₁")
    axes[0, 0].set_ylabel("x₂")
    return Exhibit(
        title="Nearest neighbours beside a linear classifier",
        source="UIT, Iglesias and 493G1, “Data-driven approach, kNN”",
        caption="Three classes of points in the plane; the ground has the colour of the class that a classifier names "
        "there. k nearest neighbours (k-NN) asks the k training points that are nearest: 1-NN makes an island around "
        "every stray point, 5-NN smooths them. The linear classifier has three straight borders. The table is on "
        f"8 × 8 digits. 1-NN gets every training digit right, because each is its own nearest neighbour; on unseen "
        f"digits both k-NN are better than the linear classifiers, but they keep and search all {len(digits()[0])} "
        f"training images, while the linear ones keep {d} × {c} weights.",
        made_with="toys.blobs, train",
        alt="Three plots of the same three overlapping clouds: ragged islands for 1-NN, smoother regions for 5-NN, "
        "straight borders for the linear classifier.",
        figure=figure,
        table=_digits_table(),
    )


def _digits_table() -> list[Sequence[str]]:
    X, y, X_test, y_test = digits()
    rows: list[Sequence[str]] = [("classifier", "training digits right", "unseen digits right", "numbers kept")]
    for k in (1, 5):
        rows.append((f"{k}-NN (scikit-learn)", *map(percent, neighbours_accuracy(k)), str(X.size)))
    for loss in ("softmax", "svm"):
        result = digits_fit(loss)
        shares = (result.accuracy(X, y), result.accuracy(X_test, y_test))
        rows.append((f"linear, {loss} loss", *map(percent, shares), str(result.W.size)))
    return rows


def slide_scores() -> tuple[Array, Array, Array]:
    """W (5, 3) with b as its last row, the image x (4,) of the slides, and its scores (3,)."""
    W = np.array([[0.2, 1.5, 0.0], [-0.5, 1.3, 0.25], [0.1, 2.1, 0.2], [2.0, 0.0, -0.3], [1.1, 3.2, -1.2]])
    x = np.array([56.0, 231.0, 24.0, 2.0])
    return W, x, fl.scores(W, x[None, :], bias=True)[0]


def algebra() -> Exhibit:
    """The slides' image of four pixels and its three scores."""
    W, x, scores = slide_scores()
    rows: list[Sequence[str]] = [("class", *(f"weight of {pixel:g}" for pixel in x), "b", "score")]
    for name, column, score in zip(("cat", "dog", "ship"), W.T, scores, strict=True):
        rows.append((name, *(f"{weight:g}" for weight in column), f"{score:.2f}"))
    return Exhibit(
        title="Algebraic viewpoint: f(x, W) = Wx + b",
        source="“Loss function, Regularization, Optimization”, Kira and 493G1, “Example with an image with 4 pixels, "
        "and 3 classes”",
        caption="An image of four pixels, 56, 231, 24 and 2. Each class multiplies them by its weights, adds them up "
        "and adds b: the dog wins. (A slide gives the ship 61.95: there b = −1.2 was left out.)",
        made_with="scores",
        table=rows,
    )


def verdicts() -> list[tuple[str, str, int]]:
    """For each image of the ten scores its right class, the class with the highest score, and the right one's place."""
    winners = fl.predict(TEN_SCORES, np.eye(len(TEN_SCORES)))
    found = []
    for right, scores, winner in zip(SHOWN, TEN_SCORES, winners, strict=True):
        place = 1 + int((scores > scores[CIFAR10_CLASSES.index(right)]).sum())
        found.append((right, CIFAR10_CLASSES[winner], place))
    return found


def ten_scores() -> Exhibit:
    """The slides' ten scores of three images, and whether they are good."""
    figure, axes = new(1, 3, size=(9.5, 3.8), sharey=True)
    rows: list[Sequence[str]] = [("image", "score of its class", "its place", "highest score", "verdict")]
    for ax, scores, (right, winner, place) in zip(axes[0], TEN_SCORES, verdicts(), strict=True):
        verdict = "good" if winner == right else "bad"
        _score_bars(ax, scores, right, winner)
        tidy(ax, f"scores of the {right}: {verdict}", "score")
        own, highest = (scores[CIFAR10_CLASSES.index(name)] for name in (right, winner))
        rows.append((right, f"{own:.2f}", f"{place} of 10", f"{winner}, {highest:.2f}", verdict))
    axes[0, 0].set_yticks(range(10), CIFAR10_CLASSES)
    axes[0, 0].invert_yaxis()
    return Exhibit(
        title="Ten scores for each image: is this W good or bad?",
        source="“Loss function, Regularization, Optimization”; UIT, “W is good or bad?”; 493G1, “Example output for "
        "CIFAR-10”",
        caption="Each panel is one image, each bar the score that W gives it for one class. W is good for an image if "
        "the longest bar to the right (hatched) belongs to the image's own class (blue). Only the automobile's does. A "
        "loss function turns this judgement into a number. (493G1 says “Third column bad because frog is "
        f"highest”: it is the {rows[3][3].partition(',')[0]} that is highest, and frog is {rows[3][2]}.)",
        made_with="predict",
        alt="Three bar charts of ten class scores. For the cat the dog's bar is longest, for the car its own, for the "
        "frog the truck's, while the frog's own score is strongly negative.",
        figure=figure,
        table=rows,
    )


def _score_bars(ax: Any, scores: Array, right: str, winner: str) -> None:
    colours = [COLOURS[0] if name == right else "#cfd3d8" for name in CIFAR10_CLASSES]
    bars = ax.barh(range(10), scores, color=colours, edgecolor=GREY, linewidth=0.5)
    bars[CIFAR10_CLASSES.index(winner)].set(hatch="////", edgecolor="#1c1e21", linewidth=1.0)
    for at, (name, score) in enumerate(zip(CIFAR10_CLASSES, scores, strict=True)):
        notes = ["right class"] * (name == right) + ["highest"] * (name == winner)
        words = f"{score:.2f}" + (f"  {', '.join(notes)}" if notes else "")
        weight = "bold" if notes else "normal"
        ax.text(max(score, 0) + 0.3, at, words, va="center", fontsize=7.5, fontweight=weight)
    ax.axvline(0, color="#1c1e21", linewidth=0.8)
    ax.set(xlim=(-10, 21), xticks=[-5, 0, 5])


@cache
def typeset_fit() -> tuple[fl.TrainResult, float]:
    """A linear classifier of typeset digits, and its accuracy on unseen ones."""
    X, y = typeset_digits(TRAINING, seed=0)
    result = fl.train(X, y, optimizer=fl.Adam(0.003), epochs=20, batch_size=128, reg=TEMPLATE_REG)
    return result, result.accuracy(*typeset_digits(UNSEEN, seed=1))


def templates() -> Exhibit:
    """The columns of W as images, below the mean image of each class."""
    X, y = typeset_digits(TRAINING, seed=0)
    result, accuracy = typeset_fit()
    columns = result.W[:-1].T.reshape(10, SIZE, SIZE)
    largest = float(np.abs(columns).max())
    figure, axes = new(2, 10, size=(10, 2.5))
    for digit in range(10):
        mean = X[y == digit].mean(axis=0).reshape(SIZE, SIZE)
        axes[0, digit].imshow(mean, cmap="gray_r", vmin=0, vmax=1)
        axes[1, digit].imshow(columns[digit], cmap="RdBu_r", vmin=-largest, vmax=largest)
        axes[0, digit].set_title(str(digit), fontsize=11)
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_color("#c0c0c0")
    axes[0, 0].set_ylabel("mean image")
    axes[1, 0].set_ylabel("template")
    figure.colorbar(axes[1, 0].images[0], ax=axes, label="weight", aspect=12)
    return Exhibit(
        title="Visual viewpoint: one template per class",
        source="Kira, “Visual Viewpoint”; 493G1, “Visual Viewpoint: learning templates”",
        caption=f"A score is the inner product of an image with its class's column of W. That column has one weight "
        f"for each of the {SIZE} × {SIZE} pixels, so it can be drawn as an image: what the class looks for. Red: ink "
        "there raises the score; blue: ink there lowers it. Look at 0: red on its sides, blue in its middle, where "
        "other digits have ink. A template is not the mean image above it: it weighs what distinguishes its digit from "
        f"the others. Softmax loss with an L2 penalty of {TEMPLATE_REG:g} on {TRAINING} digits in {len(TYPEFACES)} "
        f"typefaces, each a little turned, shifted and scaled; {percent(accuracy)} of {UNSEEN} others are right. "
        "“fastlin lectures --data cifar10:FOLDER” adds the lectures' own pictures: templates in colour of CIFAR-10's "
        "photographs, which must be in that folder as they are distributed.",
        made_with="train",
        alt="Two rows of ten small images, one column for each digit: above, the blurred mean image; below, the "
        "template, in red where ink raises the score and blue where it lowers it. The digits can be read in both.",
        figure=figure,
    )


def colour_templates(cifar: Dataset[Array]) -> Exhibit:
    """The columns of W of a classifier of photographs, in colour."""
    how = {"x_scale": 1 / 255, "x_shift": -cifar.X.mean(axis=0) / 255}
    optimizer = fl.SGD(1e-3, momentum=0.9)
    result = fl.train(cifar.X, cifar.y, optimizer=optimizer, epochs=COLOUR_EPOCHS, batch_size=256, reg=0.03, **how)
    accuracy = percent(result.accuracy(cifar.X_test, cifar.y_test))
    return Exhibit(
        title="Visual viewpoint: templates of CIFAR-10 in colour",
        source="Kira, Iglesias and 493G1, “Visual Viewpoint”",
        caption="The same for photographs of 32 × 32 pixels in red, green and blue, 3072 weights a class. Each class "
        "has one template, which must serve all its photographs: ships are mostly blue because they are mostly at "
        "sea, and a horse that looks left and one that looks right share one template. Each is stretched to full "
        f"contrast. Softmax loss, {COLOUR_EPOCHS} epochs; {accuracy} of the test photographs are right.",
        made_with="load_cifar10, train",
        alt="Ten small blurred images in colour, one for each class of CIFAR-10: the weights of the class.",
        figure=template_figure(result.W, cifar.image, cifar.classes),
    )


def geometry() -> Exhibit:
    """Three classes in the plane: the line and the weight vector of each, and the regions."""
    X, y = toys.blobs(150)
    result = fl.train(X, y, optimizer=fl.Adam(0.05), epochs=200, reg=1e-3)
    figure, axes = new(1, 2, size=(9.5, 4.6))
    lines, ground = axes[0]
    for label, marker in enumerate("os^"):
        lines.scatter(*X[y == label].T, s=9, c=COLOURS[label], marker=marker, linewidths=0, alpha=0.6)
    tidy(lines, "where each class's score is 0, and its weights", "x₁", "x₂")
    accuracy = percent(result.accuracy(X, y))
    regions(ground, X, y, result.predict, f"the class with the highest score: {accuracy} right")
    ground.set(xlabel="x₁", ylabel="x₂")
    for ax in axes[0]:
        ax.set(xlim=ground.get_xlim(), ylim=ground.get_ylim(), aspect="equal")
        for label in range(3):
            _score_zero(ax, label, result.W[:, label])
    for label in range(3):
        _weight_arrow(lines, label, X[y == label].mean(axis=0), result.W[:, label])
    lines.legend(loc="upper left", fontsize=8, title="score 0 of", title_fontsize=8)
    return Exhibit(
        title="Geometric viewpoint: hyperplanes cutting up space",
        source="Kira and Iglesias, “Geometric Viewpoint”; 493G1, “Geometric Viewpoint: linear decision boundaries”",
        caption="Every point is an image of two pixels, x₁ and x₂. Left: each class's score w·x + b is 0 on a line. "
        "The arrow is its weight vector w (all on one scale): it stands at right angles to the line, and the score "
        "grows in its direction. Right: the ground has the colour of the class whose score is highest. The borders "
        "between the colours are straight too: there two classes' scores are equal. An image of 32 × 32 × 3 = 3072 "
        "numbers is a point in a space of 3072 dimensions, and the lines are hyperplanes. Softmax loss, "
        f"{len(X)} points.",
        made_with="toys.blobs, train",
        alt="Left, three clouds of points, each cut off from the others by a line with an arrow at right angles that "
        "points to the cloud. Right, the same lines over three regions of colour, one for each cloud.",
        figure=figure,
    )


def _score_zero(ax: Any, label: int, weights: Array) -> None:
    """The line on which a class's score is 0."""
    w, b = weights[:2], weights[2]
    start = -b / (w @ w) * w
    along = np.array([-w[1], w[0]])
    ax.axline(
        start, start + along, color=COLOURS[label], linestyle=DASHES[label], linewidth=1.8, label=f"class {label}"
    )


def _weight_arrow(ax: Any, label: int, middle: Array, weights: Array) -> None:
    """The weight vector of a class, from the point of its line that is nearest to the middle of its points."""
    w, b = weights[:2], weights[2]
    foot = middle - (w @ middle + b) / (w @ w) * w
    tip = foot + ARROW * w
    arrow = {"arrowstyle": "-|>", "color": "#1c1e21", "linewidth": 1.8, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", tip, foot, arrowprops=arrow)
    paper = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": COLOURS[label]}
    ax.text(*(tip + 0.3 * w / np.linalg.norm(w)), f"w of class {label}", size=8, ha="center", va="center", bbox=paper)
