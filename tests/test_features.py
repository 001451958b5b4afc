"""Features against formulas written out here, and before our classifiers."""

import colorsys
import math

import numpy as np
import pytest

import fastlin as fl
from fastlin import _extras, toys

pytest.importorskip("sklearn")
pytest.importorskip("skimage")
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from fastlin import features

RNG = np.random.default_rng(5)
COLOUR = (3, 9, 7)
ROWS = RNG.uniform(size=(5, math.prod(COLOUR)))


def test_polar():
    found = features.Polar().fit_transform([[3.0, 4.0], [0.0, -2.0], [-1.0, 0.0]])
    assert found == pytest.approx(np.array([[5, math.atan2(4, 3)], [2, -math.pi / 2], [1, math.pi]]))


@pytest.mark.parametrize("bins", [1, 5, 12])
def test_color_histogram_against_the_standard_library(bins):
    found = features.ColorHistogram(COLOUR, bins).fit_transform(ROWS)
    for row, histogram in zip(ROWS, found, strict=True):
        expected = np.zeros(bins)
        for pixel in row.reshape(3, -1).T:
            expected[min(int(colorsys.rgb_to_hsv(*pixel)[0] * bins), bins - 1)] += 1
        assert histogram == pytest.approx(expected / 63)


def test_color_histogram_of_bytes_and_greys():
    bytes_ = np.round(255 * ROWS).astype(np.uint8)
    histogram = features.ColorHistogram(COLOUR, 7)
    assert histogram.transform(bytes_) == pytest.approx(histogram.transform(bytes_ / 255.0))
    assert histogram.transform(np.full((1, 189), 0.3)).tolist() == [[1, 0, 0, 0, 0, 0, 0]]


def hog_by_hand(image, cell, orientations):
    """Cells of 1 x 1 blocks: unsigned directions, central differences, 0 at the border, L2-Hys."""
    down, right = np.zeros(image.shape), np.zeros(image.shape)
    down[1:-1], right[:, 1:-1] = image[2:] - image[:-2], image[:, 2:] - image[:, :-2]
    found = []
    for top in range(0, image.shape[0] - cell + 1, cell):
        for left in range(0, image.shape[1] - cell + 1, cell):
            bins = np.zeros(orientations)
            for i in range(top, top + cell):
                for j in range(left, left + cell):
                    angle = math.degrees(math.atan2(down[i, j], right[i, j])) % 180
                    bins[int(angle // (180 / orientations))] += math.hypot(down[i, j], right[i, j]) / cell**2
            bins = np.minimum(bins / math.sqrt((bins**2).sum() + 1e-10), 0.2)
            found.append(bins / math.sqrt((bins**2).sum() + 1e-10))
    return np.concatenate(found)


@pytest.mark.parametrize(("cell", "orientations"), [(4, 9), (3, 5), (8, 4)])
def test_hog_against_the_formula(cell, orientations):
    images = RNG.uniform(size=(3, 13, 17))
    found = features.HOG((13, 17), cell, orientations).fit_transform(images.reshape(3, -1))
    assert found == pytest.approx(np.array([hog_by_hand(image, cell, orientations) for image in images]), abs=1e-6)


def test_hog_has_the_numbers_of_the_slide():
    """320 x 240 pixels, cells of 8 x 8, nine directions: 30 * 40 * 9 = 10800."""
    assert features.HOG((240, 320)).transform(np.zeros((1, 240 * 320))).shape == (1, 10_800)
    assert features.HOG((3, 240, 320)).transform(np.zeros((1, 3 * 240 * 320))).shape == (1, 10_800)


def test_bag_of_words_step_2_by_hand():
    """Each patch counts for its nearest word; every position, all channels."""
    bag = features.BagOfWords(COLOUR, words=6, patch=4, sample=50, seed=1).fit(ROWS)
    assert bag.codebook_.shape == (6, 3 * 4 * 4)
    found = bag.transform(ROWS)
    for row, histogram in zip(ROWS, found, strict=True):
        image, expected = row.reshape(COLOUR), np.zeros(6)
        for i in range(6):
            for j in range(4):
                patch = image[:, i : i + 4, j : j + 4].ravel()
                expected[((bag.codebook_ - patch) ** 2).sum(axis=1).argmin()] += 1
        assert histogram == pytest.approx(expected / 24)


def test_bag_of_words_step_1_finds_the_words_that_there_are():
    """Images of one grey have two kinds of patches; there are more images than a block holds."""
    greys = np.where(np.arange(300) % 3 == 0, 0.9, 0.1)
    bag = features.BagOfWords((6, 5), words=2, patch=3, sample=1000).fit(np.repeat(greys[:, None], 30, axis=1))
    words = bag.codebook_[bag.codebook_[:, 0].argsort()]
    assert words == pytest.approx(np.repeat([[0.1], [0.9]], 9, axis=1))


def test_bag_of_words_keeps_patches_whole():
    """A patch drawn for the codebook is a patch of an image: here a step that rises by 1 with each column."""
    image = np.tile(np.arange(7.0), (5, 1))
    words = features.BagOfWords((5, 7), words=5, patch=3, sample=200).fit([image.ravel()]).codebook_.reshape(5, 3, 3)
    assert np.diff(words, axis=2) == pytest.approx(1)
    assert np.diff(words, axis=1) == pytest.approx(0)


def test_seeds():
    bag = features.BagOfWords(COLOUR, words=4, patch=3, sample=60, seed=2)
    first = bag.fit_transform(ROWS)
    assert np.array_equal(first, clone(bag).fit_transform(ROWS))
    assert not np.array_equal(first, clone(bag).set_params(seed=3).fit_transform(ROWS))


@pytest.mark.parametrize(
    "transformer",
    [
        features.ColorHistogram(COLOUR, 5),
        features.HOG(COLOUR, 3),
        features.BagOfWords(COLOUR, 4, patch=3, sample=60),
        features.Polar(),
    ],
    ids=lambda transformer: type(transformer).__name__,
)
def test_any_array_will_do(transformer):
    """Strided, Fortran-ordered and read-only rows give the same; float32 nearly."""
    X = np.ascontiguousarray(ROWS[:, :2]) if isinstance(transformer, features.Polar) else ROWS
    expected = clone(transformer).fit(X).transform(X)
    wide = np.repeat(X, 2, axis=1)
    read_only = X.copy()
    read_only.flags.writeable = False
    for other in (wide[:, ::2], np.asfortranarray(X), read_only, X.tolist()):
        assert np.array_equal(clone(transformer).fit(X).transform(other), expected)
    assert clone(transformer).fit(X).transform(X.astype(np.float32)) == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
def test_before_our_classifiers():
    digits = fl.load_digits()
    pipeline = make_pipeline(features.BagOfWords(digits.image, words=64, patch=4), StandardScaler())
    X, X_test = pipeline.fit_transform(digits.X), pipeline.transform(digits.X_test)
    result = fl.train(X, digits.y, optimizer=fl.Adam(0.02), epochs=40, reg=1e-4)
    assert result.accuracy(X_test, digits.y_test) > 0.88


def test_polar_separates_the_disk():
    X, y = toys.disk_in_ring(400)
    how = {"optimizer": fl.Adam(0.05), "epochs": 200}
    assert fl.train(X, y, **how).accuracy(X, y) < 0.7
    polar = features.Polar().transform(X)
    assert fl.train(polar, y, **how | {"optimizer": fl.Adam(0.05)}).accuracy(polar, y) == 1


def test_polynomials_are_scikit_learns():
    lifted = features.PolynomialFeatures(2, include_bias=False).fit_transform([[2.0, 3.0]])
    assert lifted.tolist() == [[2, 3, 4, 6, 9]]


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: features.Polar().transform(np.ones((3, 3))), ValueError, r"X must be \(n, 2\) real numbers, x and y"),
        (lambda: features.Polar().transform([["a", "b"]]), ValueError, "X must be .* found <U1"),
        (lambda: features.HOG((8, 8)).transform(np.ones((3, 63))), ValueError, r"images of shape image = \(8, 8\);"),
        (lambda: features.HOG((8, 8)).transform(np.ones((0, 64))), ValueError, "X has 0 rows"),
        (lambda: features.HOG(64).transform(ROWS), ValueError, r"image must be \(height, width\) or .*; found 64"),
        (lambda: features.HOG((8, 8), cell=9).transform(np.ones((1, 64))), ValueError, r"cell \* block is 9 pixels"),
        (lambda: features.ColorHistogram((1, 8, 8)).transform(np.ones((1, 64))), ValueError, r"image must be \(3, he"),
        (lambda: features.ColorHistogram(COLOUR, 0).transform(ROWS), ValueError, "bins must be an integer of at least"),
        (lambda: features.BagOfWords(COLOUR).transform(ROWS), ValueError, r"not fitted yet; call fit\(X\)"),
        (lambda: features.BagOfWords(COLOUR, patch=8).fit(ROWS), ValueError, "patch is 8 pixels"),
        (lambda: features.BagOfWords(COLOUR, words=99, sample=9).fit(ROWS), ValueError, "words must be at most 9"),
        (lambda: features.BagOfWords(COLOUR, words=2.5).fit(ROWS), TypeError, "words must be an integer"),
    ],
)
def test_bad_argument(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_an_absent_package_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "skimage.feature", None)
    with pytest.raises(ImportError, match=r"HOG needs skimage: pip install 'fastlin\[features\]'"):
        features.HOG((8, 8)).transform(np.ones((1, 64)))
    assert _extras.need("sklearn.base", "features", "this")


@pytest.mark.parametrize(
    "steps", [features.Polar(), features.BagOfWords((8, 8), words=3)], ids=lambda step: type(step).__name__
)
def test_sklearn_is_told_what_is_fitted(steps):
    """What is computed from a row alone needs no fit, and `BagOfWords` does."""
    needs_fit = isinstance(steps, features.BagOfWords)
    if needs_fit:
        with pytest.raises(NotFittedError):
            check_is_fitted(steps)
        steps.fit(RNG.uniform(size=(4, 64)))
    check_is_fitted(steps)
