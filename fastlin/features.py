"""Features before a linear classifier: the lectures' "Image Features", as scikit-learn transformers.

Each has fit, transform and fit_transform, goes into a scikit-learn pipeline, and maps rows of X (n, d) to rows of
features; an image is a flat row, and `image` says its shape as `fl.Dataset.image` does: (height, width) for grey, or
(channels, height, width) with red, green and blue. Needs `fastlin[features]`:

>>> from fastlin import features, toys
>>> X, y = toys.disk_in_ring(200)
>>> polar = features.Polar().fit_transform(X)
>>> bool(polar[y == 0, 0].max() < polar[y == 1, 0].min())  # one threshold on the radius separates the classes
True
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastlin import _check
from fastlin._check import Array
from fastlin._check import images as check_images
from fastlin._extras import need
from fastlin._laps import lap_rows, laps

_preprocessing = need("sklearn.preprocessing", "features", "fastlin.features")
_base = need("sklearn.base", "features", "fastlin.features")

PolynomialFeatures = _preprocessing.PolynomialFeatures  # all products of columns up to a degree; scikit-learn's own

BLOCK = 64  # images whose patches are in memory at once, fewer if they are large
MOST = 1 << 31  # of what is counted for each image
MOST_SEED = (1 << 32) - 1  # of scikit-learn


class _Transformer(_base.TransformerMixin, _base.BaseEstimator):  # type: ignore[misc, name-defined]
    """Base of features that are computed from a row alone, so that there is nothing to fit."""

    def fit(self, X: ArrayLike, y: Any = None) -> _Transformer:
        """Does nothing; returns self."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True


class Polar(_Transformer):
    """(x, y) -> (radius, angle in (-pi, pi]). A line then separates a disk from the ring around it."""

    def transform(self, X: ArrayLike) -> Array:
        """X (n, 2) -> (n, 2) float64."""
        X = check_images.columns("X", X, 2, "x and y")
        polar = np.empty((len(X), 2))
        for some in laps(len(X), 96):
            np.hypot(X[some, 0], X[some, 1], out=polar[some, 0])
            np.arctan2(X[some, 1], X[some, 0], out=polar[some, 1])
        return polar


class ColorHistogram(_Transformer):
    """The share of an image's pixels whose hue falls into each bin (lecture "Example: Color Histogram").

    image : (3, height, width).
    bins : equal parts of the circle of hues, from red over green and blue back to red.

    Rows are red, green and blue in [0, 1], or uint8. A grey pixel has hue 0, as in scikit-image's rgb2hsv.
    """

    def __init__(self, image: tuple[int, ...], bins: int = 12) -> None:
        self.image = image
        self.bins = bins

    def transform(self, X: ArrayLike) -> Array:
        """X (n, 3 * height * width) -> (n, bins) float64; each row sums to 1."""
        color = need("skimage.color", "features", "ColorHistogram")
        bins = _check.count("bins", self.bins, high=MOST)
        images = check_images.images("X", X, self.image, colours=True)
        share = np.empty((len(images), bins))
        for some in laps(len(images), 16 * 8 * math.prod(self.image)):
            hue = color.rgb2hsv(images[some], channel_axis=1)[:, 0].reshape(some.stop - some.start, -1)
            inside = np.minimum((hue * bins).astype(np.int64), bins - 1)
            share[some] = _counts(inside, bins) / inside.shape[1]
        return share


class HOG(_Transformer):
    """Histograms of oriented gradients (Dalal and Triggs 2005; lecture "Example: HoG"), by scikit-image.

    image : (height, width) or (3, height, width); with colours each pixel takes its strongest channel.
    cell : the image is divided into cells of cell x cell pixels; what is left at the right and below is not used.
    orientations : bins for the direction of an edge, from 0 to 180 degrees.
    block : each block of block x block cells is normalised together (L2-Hys). 1, as on the slide, normalises each cell
        alone: an image of 240 x 320 gives 30 * 40 * 9 = 10800 numbers.
    """

    def __init__(self, image: tuple[int, ...], cell: int = 8, orientations: int = 9, block: int = 1) -> None:
        self.image = image
        self.cell = cell
        self.orientations = orientations
        self.block = block

    def transform(self, X: ArrayLike) -> Array:
        """X (n, d) -> (n, cells * orientations) float64 for block 1; more blocks overlap and repeat cells."""
        hog = need("skimage.feature", "features", "HOG").hog
        images = check_images.images("X", X, self.image)
        cell, block = _check.count("cell", self.cell), _check.count("block", self.block)
        how = {
            "orientations": _check.count("orientations", self.orientations, high=MOST),
            "pixels_per_cell": (cell, cell),
            "cells_per_block": (block, block),
            "channel_axis": None if len(self.image) == 2 else 0,
        }
        check_images.fits("cell * block", cell * block, self.image)
        return np.array([hog(image, **how) for image in images])


class BagOfWords(_Transformer):
    """How often each visual word occurs in an image (lecture "Example: Bag of Words").

    Step 1, fit: build a codebook: cluster patches of the training images by k-means into `words` visual words.
    Step 2, transform: encode an image as the share of its patches whose nearest word is each of them.

    image : (height, width) or (channels, height, width).
    words : visual words, the number of features.
    patch : patches are patch x patch pixels, in all channels, at every position.
    sample : how many patches, drawn at random, the codebook is built from.
    seed : of that draw and of k-means.

    After fit: .codebook_ (words, d of a patch).
    """

    def __init__(
        self, image: tuple[int, ...], words: int = 64, patch: int = 5, sample: int = 20_000, seed: int = 0
    ) -> None:
        self.image = image
        self.words = words
        self.patch = patch
        self.sample = sample
        self.seed = seed

    def fit(self, X: ArrayLike, y: Any = None) -> BagOfWords:
        """Build the codebook from X (n, d)."""
        cluster = need("sklearn.cluster", "features", "BagOfWords")
        words, sample = _check.count("words", self.words, high=MOST), _check.count("sample", self.sample, high=MOST)
        seed = _check.count("seed", self.seed, 0, high=MOST_SEED)
        rng = np.random.default_rng(seed)
        images = check_images.images("X", X, self.image)
        drawn = np.concatenate([_some(rng, patches, -(-sample // len(images))) for patches in self._blocks(images)])
        found = drawn[rng.permutation(len(drawn))[:sample]]
        check_images.at_most("words", words, len(found), "patches in the sample to build them from")
        self.codebook_ = cluster.KMeans(words, n_init=1, random_state=seed).fit(found).cluster_centers_
        return self

    def transform(self, X: ArrayLike) -> Array:
        """X (n, d) -> (n, words) float64; each row sums to 1."""
        nearest = need("sklearn.metrics", "features", "BagOfWords").pairwise_distances_argmin
        check_images.fitted("BagOfWords", self, "codebook_")
        words = len(self.codebook_)
        blocks = []
        for patches in self._blocks(check_images.images("X", X, self.image)):
            word = nearest(patches.reshape(-1, patches.shape[2]), self.codebook_)
            blocks.append(_counts(word.reshape(len(patches), -1), words) / patches.shape[1])
        return np.concatenate(blocks)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "codebook_")

    def _blocks(self, images: Array) -> Iterator[Array]:
        patch = _check.count("patch", self.patch)
        most = min(BLOCK, lap_rows(16 * math.prod(self.image) * patch * patch))
        for start in range(0, len(images), most):
            yield self._patches_of(images[start : start + most])

    def _patches_of(self, images: Array) -> Array:
        """(images, patches of each, d of a patch)."""
        patch = _check.count("patch", self.patch)
        check_images.fits("patch", patch, self.image)
        windows = np.lib.stride_tricks.sliding_window_view(images, (patch, patch), axis=(-2, -1))
        if len(self.image) == 3:
            windows = np.moveaxis(windows, 1, 3)
        d = math.prod(windows.shape[3:])
        return np.asarray(windows.reshape(len(images), -1, d), np.float64)


def _some(rng: np.random.Generator, patches: Array, count: int) -> Array:
    """`count` random patches of each image (images, patches, d), one below another."""
    drawn = rng.integers(0, patches.shape[1], (len(patches), count, 1))
    return np.take_along_axis(patches, drawn, axis=1).reshape(-1, patches.shape[2])


def _counts(labels: Array, size: int) -> Array:
    """How often each of 0 ... size - 1 occurs in each row of labels."""
    own = labels + size * np.arange(len(labels))[:, None]
    return np.bincount(own.reshape(-1), minlength=size * len(labels)).reshape(len(labels), size)


__all__ = ["HOG", "BagOfWords", "ColorHistogram", "Polar", "PolynomialFeatures"]
