"""Figures of `fastlin lectures`: what no line separates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

import fastlin as fl
from fastlin import features, toys
from fastlin._check import Array
from fastlin._extras import need
from fastlin.lectures.exhibit import Exhibit, fit_all_rows, new, percent, regions

UNSEEN, DRAWN = 2000, 300  # points
CORNERS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])


def best_line(X: Array, y: Array) -> tuple[float, Array]:
    """The greatest share of the points that any straight line gets right, and such a line.

    X (n, 2), no two points the same and no three in a line, and y in {0, 1} -> share and W (3, 2), the weights of a
    linear classifier with that accuracy.

    Every way in which a line can part the points is also parted by a line through one of them, turned by so little
    that it meets no other. So each point in turn is the pivot of a line that makes half a turn; the classes on its left
    are counted where it has just passed another point. O(n² log n).
    """
    best, line = -1, (0, 0.0, 0)
    for pivot in range(len(X)):
        others = np.delete(np.arange(len(X)), pivot)
        angles = np.arctan2(*(X[others] - X[pivot]).T[::-1])
        order = np.argsort(angles)
        angles, signs = angles[order], 2 * y[others][order] - 1
        totals = np.concatenate([[0], np.cumsum(np.tile(signs, 2))])
        ends = np.searchsorted(np.concatenate([angles, angles + 2 * np.pi]), angles + np.pi, side="right")
        # Right if class 1 is on the left: its points there, and those of class 0 that are not there.
        right = totals[ends] - totals[1 : len(X)] + (signs < 0).sum()
        found = np.maximum(right, len(others) - right)
        at = int(found.argmax())
        if found[at] + 1 > best:  # the pivot is right as well: the line is moved to the side of it that fits
            best, line = int(found[at]) + 1, (pivot, float(angles[at]), 1 if found[at] == right[at] else -1)
    return best / len(X), _beside(X, y, *line)


def _beside(X: Array, y: Array, pivot: int, angle: float, side: int) -> Array:
    """W (3, 2) of the line through a point, turned and moved by half as much as parts it from the nearest others.

    side : 1 if class 1 is on the left of the line.
    """
    offsets = np.delete(X, pivot, axis=0) - X[pivot]
    ahead = np.mod(np.arctan2(offsets[:, 1], offsets[:, 0]) - angle, np.pi)  # of the line's two ends
    direction = angle + ahead[ahead > 1e-12].min(initial=1.0) / 2
    normal = side * np.array([-np.sin(direction), np.cos(direction)])
    shift = np.abs(offsets @ normal).min() / 2 * (1 if y[pivot] == 1 else -1)
    column = np.append(normal, shift - normal @ X[pivot])
    return np.column_stack([-column, column])


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
Classify = Callable[[Array], Array]


@cache
def hard_case(name: str) -> list[tuple[Classify, float]]:
    """Classifiers of a hard case with their accuracies on unseen rows: trained, the best line, trained on features.

    The best line is the best of all for those very rows, so that no other line gets more of them right.
    """
    make, make_features, _ = HARD_CASES[name]
    (X, y), (X_test, y_test) = make(600, seed=0), make(UNSEEN, seed=1)
    transformer = make_features()
    plain, lifted = fit_all_rows(X, y), fit_all_rows(transformer.fit_transform(X), y)
    share, W = best_line(X_test, y_test)
    return [
        (plain.predict, plain.accuracy(X_test, y_test)),
        (_of_line(W), share),
        (_after(transformer, lifted), lifted.accuracy(transformer.transform(X_test), y_test)),
    ]


def _of_line(W: Array) -> Classify:
    return lambda X: fl.predict(W, X, bias=True)


def _after(transformer: Any, result: fl.TrainResult) -> Classify:
    return lambda X: result.predict(transformer.transform(X))


def hard_cases() -> Exhibit:
    """Parity, ring and modes: as trained, with the best line, and after features."""
    figure, axes = new(3, 3, size=(9, 8.6))
    best = []
    for column, (name, (make, _, words)) in enumerate(HARD_CASES.items()):
        X, y = make(UNSEEN, seed=1)
        titles = (name, "best line", words)
        for ax, (classify, accuracy), title in zip(axes[:, column], hard_case(name), titles, strict=True):
            regions(ax, X[:DRAWN], y[:DRAWN], classify, f"{title}: {percent(accuracy)} right")
        best.append(hard_case(name)[1][1])
    for ax, words in zip(
        axes[:, 0], ("trained, softmax loss", "best of all lines", "trained on features"), strict=True
    ):
        ax.set_ylabel(words)
    shares = [percent(share) for share in best]
    return Exhibit(
        title="Hard cases for a linear classifier",
        source="Kira and 493G1, “Hard Cases for a Linear Classifier”; Iglesias, “Linear Classifier”",
        caption="Left: is the number of positive coordinates odd (one class is the first and third quadrant)? Middle: "
        "is the distance from the origin between 1 and 2? Right: is the point in one of three clouds? The ground has "
        "the colour of the class that a classifier names there. Top row: trained with softmax loss on 600 points; "
        "guessing would give about 50 %. Middle row: the best that a straight line can do at all, found by trying "
        f"every way in which a line parts the points: {shares[0]}, {shares[1]} and {shares[2]}. It cuts off a "
        "part where one class prevails, and gives up the rest. Bottom row: the same training on transformed features; "
        "the border is straight in the space of the features, and curved in this one. Shares are of "
        f"{UNSEEN} unseen points, {DRAWN} of which are drawn.",
        made_with="toys.parity, toys.ring, toys.three_modes, features.PolynomialFeatures, features.Polar, train",
        alt="Three rows of three plots: quadrants, a ring, three clouds. In the first two rows a straight border fails "
        "on each; in the last, after a feature transform, curved borders follow the classes.",
        figure=figure,
    )


def xor_fits() -> tuple[Array, list[tuple[Classify, float]]]:
    """XOR of the four corners of a square; the best line, and the classifier that has x · y as well."""
    y = (CORNERS[:, 0] != CORNERS[:, 1]).astype(np.int64)
    share, W = best_line(CORNERS, y)
    product = features.PolynomialFeatures(2, interaction_only=True, include_bias=False)
    lifted = fit_all_rows(product.fit_transform(CORNERS), y)
    return y, [(_of_line(W), share), (_after(product, lifted), lifted.accuracy(product.transform(CORNERS), y))]


def xor() -> Exhibit:
    """The table of XOR, and what a line and a product make of it."""
    y, fits = xor_fits()
    figure, axes = new(1, 2, size=(7.5, 3.7))
    named = []
    for ax, (classify, share), words in zip(axes[0], fits, ("best line", "with X · Y as a third feature"), strict=True):
        regions(ax, CORNERS, y, classify, f"{words}: {round(share * len(y))} of {len(y)} right", size=120)
        ax.set(xlabel="X", ylabel="Y", xticks=[0, 1], yticks=[0, 1], aspect="equal")
        named.append(classify(CORNERS))
    rows: list[Sequence[str]] = [("X", "Y", "F(X, Y) of the slide: XOR", "XNOR", "the best line", "with X · Y")]
    for corner, label, line, product in zip(CORNERS, y, *named, strict=True):
        rows.append((*(f"{bit:g}" for bit in corner), *map(str, (label, 1 - label, line, product))))
    return Exhibit(
        title="XOR: four points that no line separates",
        source="493G1, “Recall the Minsky report 1969: unable to learn the XNOR function”",
        caption="F is 1 (squares) where X and Y differ and 0 (circles) where they are equal. That is XOR; the slide "
        "calls it XNOR, which is the opposite, 1 where they are equal. It makes no difference here: whatever a line "
        "separates, it separates with the classes exchanged as well. A line gets three corners right, never four. With "
        "the product X · Y as a third feature, the same classifier gets all four.",
        made_with="features.PolynomialFeatures, train, predict",
        alt="The four corners of a square, opposite ones of the same class. Left, a line cuts off one corner; right, a "
        "curved border in two branches separates all four.",
        figure=figure,
        table=rows,
    )
