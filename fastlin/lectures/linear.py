"""Figures of `fastlin lectures`: what a linear classifier is, what it cannot separate, and kNN beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

import fastlin as fl
from fastlin import features, toys
from fastlin._check import Array
from fastlin._extras import need
from fastlin._plot_train import template_figure
from fastlin.lectures.exhibit import Exhibit, digits, new, percent, regions

ADAM = partial(fl.Adam, 0.05)


@cache
def digits_fit(loss: str = "softmax") -> fl.TrainResult:
    """A linear classifier of digits."""
    X, y, _, _ = digits()
    return fl.train(X, y, loss=loss, optimizer=fl.Adam(0.01), epochs=60, reg=1e-4)


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


def templates() -> Exhibit:
    """The columns of W as images."""
    _, _, X_test, y_test = digits()
    result = digits_fit()
    accuracy = percent(result.accuracy(X_test, y_test))
    return Exhibit(
        title="Visual viewpoint: one template per class",
        source="Kira, “Visual Viewpoint”; 493G1, “Visual Viewpoint: learning templates”",
        caption="A score is the inner product of an image with its class's column of W, so that column, drawn as an "
        "image, is what the class looks for. Look at 0: ink in the middle (blue) speaks against it, ink on the circle "
        f"(red) for it. Softmax loss on 8 × 8 digits, {accuracy} right on unseen digits.",
        made_with="train",
        alt="Ten small images, one for each digit, in red where ink raises the score and blue where it lowers it.",
        figure=template_figure(result.W, (8, 8), "0123456789"),
    )


def _fit(X: Array, y: Array) -> fl.TrainResult:
    return fl.train(X, y, optimizer=ADAM(), epochs=1500, batch_size=len(X))


def geometry() -> Exhibit:
    """Three classes in the plane, and the lines between them."""
    figure, axes = new(1, 2, size=(9, 3.9))
    for ax, loss in zip(axes[0], ("softmax", "svm"), strict=True):
        X, y = toys.blobs()
        result = fl.train(X, y, loss=loss, optimizer=ADAM(), epochs=200, reg=1e-3)
        regions(ax, X, y, result.predict, f"{loss}: {percent(result.accuracy(X, y))} of the points right")
        ax.set(xlabel="x₁", ylabel="x₂")
    return Exhibit(
        title="Geometric viewpoint: hyperplanes cutting up space",
        source="Kira and Iglesias, “Geometric Viewpoint”; 493G1, “Geometric Viewpoint: linear decision boundaries”",
        caption="Each class has a linear score Wx + b; the ground has the colour of the class whose score is highest. "
        "The borders are straight whichever loss is used; softmax and SVM only place them a little differently.",
        made_with="toys.blobs, train",
        alt="Three clouds of points in the plane; straight lines divide the ground into three regions, one per cloud.",
        figure=figure,
    )


def _parity_features() -> Any:
    return features.PolynomialFeatures(2, include_bias=False)


def _ring_features() -> Any:
    pipeline = need("sklearn.pipeline", "features", "fastlin lectures").make_pipeline
    return pipeline(features.Polar(), features.PolynomialFeatures(2, include_bias=False), _scaler())


def _mode_features() -> Any:
    pipeline = need("sklearn.pipeline", "features", "fastlin lectures").make_pipeline
    return pipeline(features.PolynomialFeatures(6, include_bias=False), _scaler())


def _scaler() -> Any:
    return need("sklearn.preprocessing", "features", "fastlin lectures").StandardScaler()


HARD_CASES: dict[str, tuple[Callable[..., toys.Data], Callable[[], Any], str]] = {
    "odd or even": (toys.parity, _parity_features, "products of degree 2"),
    "ring": (toys.ring, _ring_features, "polar, then degree 2"),
    "three modes": (toys.three_modes, _mode_features, "products of degree 6"),
}


def hard_case(name: str) -> tuple[fl.TrainResult, fl.TrainResult, Any, tuple[float, float]]:
    """The classifiers of a hard case without and with features, the features, and both accuracies on unseen rows."""
    make, make_features, _ = HARD_CASES[name]
    (X, y), (X_test, y_test) = make(600, seed=0), make(2000, seed=1)
    transformer = make_features()
    plain, after = _fit(X, y), _fit(transformer.fit_transform(X), y)
    found = plain.accuracy(X_test, y_test), after.accuracy(transformer.transform(X_test), y_test)
    return plain, after, transformer, found


def hard_cases() -> Exhibit:
    """Parity, ring and modes, before and after features."""
    figure, axes = new(2, 3, size=(9, 6))
    for column, (name, (make, _, words)) in enumerate(HARD_CASES.items()):
        X, y = make(600, seed=0)
        plain, after, transformer, (before, then) = hard_case(name)
        regions(axes[0, column], X, y, plain.predict, f"{name}: {percent(before)}")
        lifted = partial(_through, transformer, after)
        regions(axes[1, column], X, y, lifted, f"{words}: {percent(then)}")
    axes[0, 0].set_ylabel("x₁, x₂ as they are")
    axes[1, 0].set_ylabel("after a feature transform")
    return Exhibit(
        title="Hard cases for a linear classifier",
        source="Kira and 493G1, “Hard Cases for a Linear Classifier”; Iglesias, “Linear Classifier”; 493G1, “XNOR”",
        caption="Above, no straight border helps: accuracy on 2000 unseen points is hardly better than guessing, 50 %. "
        "Below, the same classifier on transformed features: its border is straight in the new space, curved in this "
        "one. Left: is the number of positive coordinates odd (XOR)? Middle: is the distance from the origin between "
        "1 and 2? Right: is the point in one of three clouds?",
        made_with="toys.parity, toys.ring, toys.three_modes, features.PolynomialFeatures, features.Polar, train",
        alt="Two rows of three plots. Above, a straight border fails on quadrants, ring and three clouds; below, after "
        "a feature transform, curved borders follow the classes.",
        figure=figure,
    )


def _through(transformer: Any, result: fl.TrainResult, X: Array) -> Array:
    return result.predict(transformer.transform(X))


def ring_in_polar() -> Exhibit:
    """A disk in a ring, in Cartesian and in polar coordinates."""
    X, y = toys.disk_in_ring(500)
    polar = features.Polar().fit_transform(X)
    figure, axes = new(1, 2, size=(9, 3.9))
    for ax, rows, names, title in (
        (axes[0, 0], X, ("x", "y"), "as they are"),
        (axes[0, 1], polar, ("radius", "angle, radians"), "in polar coordinates"),
    ):
        result = _fit(rows, y)
        regions(ax, rows, y, result.predict, f"{title}: {percent(result.accuracy(rows, y))}")
        ax.set(xlabel=names[0], ylabel=names[1])
    return Exhibit(
        title="A feature transform makes points separable",
        source="UIT, “Image Features: Motivation”",
        caption="The same points twice. On the left no line separates blue from red. On the right each point is drawn "
        "at its radius and angle, and one upright line is enough.",
        made_with="toys.disk_in_ring, features.Polar, train",
        alt="Left, a blue disk inside a red ring with a useless straight border. Right, the same points by radius and "
        "angle: blue left, red right, with a clean border between them.",
        figure=figure,
    )


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
    figure, axes = new(1, 3, size=(9, 3.3))
    for ax, (name, classify) in zip(
        axes[0],
        {
            "1-NN": _neighbours(1).fit(X, y).predict,
            "5-NN": _neighbours(5).fit(X, y).predict,
            "linear (softmax)": _fit(X, y).predict,
        }.items(),
        strict=True,
    ):
        regions(ax, X, y, classify, name)
        ax.set_xlabel("x₁")
    axes[0, 0].set_ylabel("x₂")
    return Exhibit(
        title="Nearest neighbours beside a linear classifier",
        source="UIT, Iglesias and 493G1, “Data-driven approach, kNN”",
        caption="1-NN makes an island around every stray point; 5-NN smooths them; the linear classifier has three "
        "straight borders. The table is on 8 × 8 digits: kNN is a little better there, but keeps and searches every "
        "training image, while the linear classifiers keep 65 × 10 weights.",
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
