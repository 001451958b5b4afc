"""Figures of `fastlin lectures`: features of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import hsv_to_rgb

import fastlin as fl
from fastlin import features
from fastlin._check import Array
from fastlin._extras import need
from fastlin.lectures.exhibit import Exhibit, digits, new, percent, tidy

GREY_DIGIT = (8, 8)
HUES = 24


def _photograph() -> Array:
    """A cup of coffee (comes with scikit-image; CC0): (3, 400, 600) in [0, 1]."""
    image: Array = need("skimage.data", "features", "fastlin lectures").coffee() / 255.0
    return np.moveaxis(image, 2, 0)


def _hue_bars(ax: Any, image: Array) -> None:
    shares = features.ColorHistogram(image.shape, HUES).transform(image.reshape(1, -1))[0]
    middle = (np.arange(HUES) + 0.5) / HUES
    colours = hsv_to_rgb(np.column_stack([middle, np.full(HUES, 0.85), np.full(HUES, 0.85)]))
    ax.bar(360 * middle, 100 * shares, width=360 / HUES, color=colours)
    tidy(ax, "share of pixels by hue, %", "hue, degrees")
    ax.set_xticks([0, 90, 180, 270, 360])


def _edges(ax: Any, image: Array) -> None:
    hog = need("skimage.feature", "features", "fastlin lectures").hog
    _, drawn = hog(image, 9, (16, 16), (1, 1), visualize=True, channel_axis=0)
    ax.imshow(drawn, cmap="gray", vmax=np.quantile(drawn, 0.995))
    ax.set_title("HoG: edge directions of each cell", loc="left", fontsize=10)
    ax.axis("off")


def image_features() -> Exhibit:
    """A photograph, the histogram of its hues, and its oriented gradients."""
    image = _photograph()
    figure, axes = new(1, 3, size=(9.5, 2.7))
    axes[0, 0].imshow(image.transpose(1, 2, 0))
    axes[0, 0].set_title("the image", loc="left", fontsize=10)
    axes[0, 0].axis("off")
    _hue_bars(axes[0, 1], image)
    _edges(axes[0, 2], image)
    return Exhibit(
        title="Features of an image: colour histogram and HoG",
        source="UIT, “Example: Color Histogram” and “Example: HoG”; Kira, “Features: Histogram”",
        caption="Two summaries that a linear classifier can use instead of the pixels. The histogram counts how many "
        "pixels have which hue, wherever they are: here nearly all red and orange. HoG keeps, for each small cell, how "
        "strong the edges are in nine directions: the rims of cup and saucer can be seen. (Image: scikit-image, CC0.)",
        made_with="features.ColorHistogram",
        alt="A photograph of a cup of coffee on wood; bars of its hues, nearly all red and orange; a drawing of short "
        "strokes that follow the outlines of cup, saucer and spoon.",
        figure=figure,
    )


def digit_features() -> dict[str, Any]:
    """A transformer for each kind of feature of digits; None for the pixels as they are."""
    pipeline = need("sklearn.pipeline", "features", "fastlin lectures").make_pipeline
    scaler = need("sklearn.preprocessing", "features", "fastlin lectures").StandardScaler
    return {
        "pixels": None,
        "HoG, cells of 2 × 2": features.HOG(GREY_DIGIT, cell=2),
        "bag of 64 visual words, patches of 4 × 4": pipeline(features.BagOfWords(GREY_DIGIT, 64, patch=4), scaler()),
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
    words = features.BagOfWords(GREY_DIGIT, 64, patch=4).fit(digits()[0]).codebook_
    order = np.argsort(words.sum(axis=1))  # from empty to full of ink
    figure, axes = new(4, 16, size=(9, 2.5))
    for ax, word in zip(axes.flat, words[order], strict=True):
        ax.imshow(word.reshape(4, 4), cmap="gray_r", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_color("#c0c0c0")
    rows: list[Sequence[str]] = [("features of digits", "how many", "training digits right", "unseen digits right")]
    for name, transformer in digit_features().items():
        count, training, test = digit_accuracy(transformer)
        rows.append((name, str(count), percent(training), percent(test)))
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
