"""Figures of `fastlin lectures`: features of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import hsv_to_rgb

import fastlin as fl
from fastlin import features, toys
from fastlin._check import Array
from fastlin._extras import need
from fastlin.lectures.exhibit import Exhibit, digits, fit_all_rows, new, percent, regions, tidy
from fastlin.lectures.hard_cases import best_line

GREY_DIGIT = (8, 8)
BAG = "bag of 64 visual words, patches of 4 × 4"
HUES = 24
CELL, BINS, WIDTH, HEIGHT = 8, 9, 320, 240  # of the slide's HoG


def photograph() -> Array:
    """A cup of coffee (comes with scikit-image; CC0), cut and reduced to the slide's size: (3, 240, 320) in [0, 1]."""
    image: Array = need("skimage.data", "features", "fastlin lectures").coffee() / 255.0
    resize = need("skimage.transform", "features", "fastlin lectures").resize
    small = resize(image[:, 33 : 33 + 533], (HEIGHT, WIDTH), anti_aliasing=True)
    return np.moveaxis(small, 2, 0)


def _hue_bars(ax: Any, image: Array) -> None:
    shares = features.ColorHistogram(image.shape, HUES).transform(image.reshape(1, -1))[0]
    middle = (np.arange(HUES) + 0.5) / HUES
    colours = hsv_to_rgb(np.column_stack([middle, np.full(HUES, 0.85), np.full(HUES, 0.85)]))
    ax.bar(360 * middle, 100 * shares, width=360 / HUES, color=colours)
    tidy(ax, "share of pixels by hue, %", "hue, degrees")
    ax.set_xticks([0, 90, 180, 270, 360])


def cell_edges(image: Array) -> Array:
    """What `features.HOG` gives for the image, by cell: (cells down, cells across, BINS)."""
    cells = features.HOG(image.shape, CELL, BINS).transform(image.reshape(1, -1))
    return cells.reshape(image.shape[1] // CELL, image.shape[2] // CELL, BINS)


def strokes(cells: Array) -> tuple[Array, Array]:
    """The numbers of HOG as strokes: their two ends (strokes, 2, 2) as x, y, and how dark each is, from 0 to 1.

    A number is a stroke through the middle of its cell, along the edge: at right angles to the gradient, which points
    into the middle of its bin.
    """
    down, across, bins = (part.ravel() for part in np.indices(cells.shape))
    middle = CELL * (np.column_stack([across, down]) + 0.5) - 0.5
    gradient = np.pi * (bins + 0.5) / cells.shape[2]
    half = 0.45 * CELL * np.column_stack([-np.sin(gradient), np.cos(gradient)])
    dark = np.clip(cells.ravel(), 0.0, 1.0)
    return np.stack([middle - half, middle + half], axis=1), dark


def _edges(ax: Any, image: Array) -> None:
    ends, dark = strokes(cell_edges(image))
    order = np.argsort(dark)  # dark strokes on top
    colours = np.zeros((len(dark), 4))
    colours[:, 3] = dark[order] ** 2  # so that a direction stands out from a cell whose nine numbers are alike
    ax.add_collection(LineCollection(list(ends[order]), colors=colours, linewidths=0.9, rasterized=True))
    ax.set(xlim=(-0.5, WIDTH - 0.5), ylim=(HEIGHT - 0.5, -0.5), aspect="equal", xticks=[], yticks=[])
    ax.set_title(f"HoG: {ends.shape[0]} numbers as strokes", loc="left", fontsize=10)


def image_features() -> Exhibit:
    """A photograph, the histogram of its hues, and its oriented gradients."""
    image = photograph()
    figure, axes = new(1, 3, size=(11, 3.5), width_ratios=(1, 0.6, 1.4))
    axes[0, 0].imshow(image.transpose(1, 2, 0))
    axes[0, 0].set_title(f"the image, {WIDTH} × {HEIGHT} pixels", loc="left", fontsize=10)
    axes[0, 0].axis("off")
    _hue_bars(axes[0, 1], image)
    _edges(axes[0, 2], image)
    down, across, bins = cell_edges(image).shape
    return Exhibit(
        title="Features of an image: colour histogram and HoG",
        source="UIT, “Example: Color Histogram” and “Example: HoG”; Kira, “Features: Histogram”",
        caption="Two summaries that a linear classifier can use instead of the pixels. The histogram counts how many "
        "pixels have which hue, wherever they are: here nearly all red and orange. HoG divides the image into regions "
        f"of {CELL} × {CELL} pixels, {across} across and {down} down, and keeps for each how strong its edges are in "
        f"{bins} directions: {down} × {across} × {bins} = {down * across * bins} numbers, as on the slide. Each number "
        "is drawn as a stroke along its edge, the darker the larger. The rims of cup, saucer and spoon can be seen. "
        "Each region is judged by itself, so that even smooth wood has strokes, in all directions. (Image: "
        "scikit-image, CC0.)",
        made_with="features.ColorHistogram, features.HOG",
        alt="A photograph of a cup of coffee on wood; bars of its hues, nearly all red and orange; a drawing of short "
        "strokes that follow the outlines of cup, saucer and spoon.",
        figure=figure,
    )


def ring_in_polar() -> Exhibit:
    """A disk in a ring, in Cartesian and in polar coordinates."""
    X, y = toys.disk_in_ring(500)
    polar = features.Polar().fit_transform(X)
    share, line = best_line(X, y)
    figure, axes = new(1, 2, size=(9, 3.9))
    regions(
        axes[0, 0], X, y, lambda points: fl.predict(line, points, bias=True), f"the best line: {percent(share)} right"
    )
    axes[0, 0].set(xlabel="x", ylabel="y", aspect="equal")
    result = fit_all_rows(polar, y)
    regions(axes[0, 1], polar, y, result.predict, f"in polar coordinates: {percent(result.accuracy(polar, y))} right")
    axes[0, 1].set(xlabel="radius", ylabel="angle, radians")
    return Exhibit(
        title="A feature transform makes points separable",
        source="UIT, “Image Features: Motivation”",
        caption=f"The same {len(X)} points twice. On the left no line separates the blue disk from the red ring: the "
        f"best of all lines gets {percent(share)} right. On the right each point is drawn at its radius and its angle "
        "around the centre, and the line of a linear classifier is enough.",
        made_with="toys.disk_in_ring, features.Polar, train",
        alt="Left, a blue disk inside a red ring, and a straight border that cuts off a part of the ring. Right, the "
        "same points by radius and angle: blue left, red right, with a clean border between them.",
        figure=figure,
    )


def digit_features() -> dict[str, Any]:
    """A transformer for each kind of feature of digits; None for the pixels as they are."""
    pipeline = need("sklearn.pipeline", "features", "fastlin lectures").make_pipeline
    scaler = need("sklearn.preprocessing", "features", "fastlin lectures").StandardScaler
    return {
        "pixels": None,
        "HoG, cells of 2 × 2": features.HOG(GREY_DIGIT, cell=2),
        BAG: pipeline(features.BagOfWords(GREY_DIGIT, 64, patch=4), scaler()),
        "products of two pixels": features.PolynomialFeatures(2, include_bias=False),
    }


def digit_accuracy(transformer: Any) -> tuple[int, float, float]:
    """Features, and the accuracy of a linear classifier of them on training and on unseen digits."""
    X, y, X_test, y_test = digits()
    if transformer is not None:
        X, X_test = transformer.fit_transform(X), transformer.transform(X_test)
    result = fl.train(X, y, optimizer=fl.Adam(0.02), epochs=60, reg=1e-4)
    return X.shape[1], result.accuracy(X, y), result.accuracy(X_test, y_test)


def codebook() -> Exhibit:
    """The visual words of digits, and the accuracy with each kind of feature."""
    transformers = digit_features()
    rows: list[Sequence[str]] = [("features of digits", "how many", "training digits right", "unseen digits right")]
    for name, transformer in transformers.items():
        count, training, test = digit_accuracy(transformer)
        rows.append((name, str(count), percent(training), percent(test)))
    words = transformers[BAG][0].codebook_
    order = np.argsort(words.sum(axis=1))  # from empty to full of ink
    figure, axes = new(4, 16, size=(9, 2.5))
    for ax, word in zip(axes.flat, words[order], strict=True):
        ax.imshow(word.reshape(4, 4), cmap="gray_r", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_color("#c0c0c0")
    return Exhibit(
        title="Bag of visual words, and what features are worth",
        source="UIT, “Example: Bag of Words”, “Step 1: Build codebook”, “Step 2: Encode images”",
        caption="Step 1: k-means on 4 × 4 patches of the training digits gives this codebook of strokes, corners and "
        "ends. Step 2: a digit becomes the counts of the word nearest to each of its patches. The table is one linear "
        "classifier on each kind of feature: words forget where a stroke was, which costs something on digits that sit "
        "in the middle anyway; products of pixels let the border curve.",
        made_with="features.BagOfWords, features.HOG, features.PolynomialFeatures, train",
        alt="64 small grey images of 4 by 4 pixels: strokes in all directions, corners, ends, from empty to full.",
        figure=figure,
        table=rows,
    )
