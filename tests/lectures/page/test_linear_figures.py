"""Numbers behind the figures of nearest neighbours and of what a linear classifier is."""

import re

import numpy as np
import pytest

import fastlin as fl
from fastlin import toys

pytest.importorskip("sklearn")
pytest.importorskip("skimage")
pytest.importorskip("matplotlib")
from fastlin.data import Dataset
from fastlin.lectures import glyphs, linear


def test_scores_of_the_slide():
    """-96.8 and 437.9 as on the slide; its 61.95 for the ship lacks b = -1.2."""
    W, x, scores = linear.slide_scores()
    assert scores == pytest.approx([-96.8, 437.9, 61.95 - 1.2])
    assert scores == pytest.approx([sum(x * W[:4, j]) + W[4, j] for j in range(3)])


def test_neighbours_beside_linear():
    """1-NN knows its training digits, and both k-NN are better on unseen ones."""
    assert linear.neighbours_accuracy(1)[0] == 1
    worst = min(linear.neighbours_accuracy(k)[1] for k in (1, 5))
    _, _, X_test, y_test = linear.digits()
    for loss in ("softmax", "svm"):
        assert worst > linear.digits_fit(loss).accuracy(X_test, y_test) > 0.95


def test_ten_scores_are_good_for_the_automobile_only():
    """The slide names the frog as the highest of its own scores; that is the truck, and the frog is ninth."""
    assert linear.verdicts() == [("cat", "dog", 4), ("automobile", "automobile", 1), ("frog", "truck", 9)]
    exhibit = linear.ten_scores()
    assert [row[-1] for row in exhibit.table[1:]] == ["bad", "good", "bad"]
    assert "it is the truck that is highest, and frog is 9 of 10" in exhibit.caption
    panels = exhibit.figure.axes
    for ax, scores, (right, winner, _) in zip(panels, linear.TEN_SCORES, linear.verdicts(), strict=True):
        assert [bar.get_width() for bar in ax.patches] == list(scores)
        hatched = [name for name, bar in zip(linear.CIFAR10_CLASSES, ax.patches, strict=True) if bar.get_hatch()]
        assert hatched == [winner]
        notes = {right: "right class", winner: "highest"} if right != winner else {right: "right class, highest"}
        for text, name in zip(ax.texts, linear.CIFAR10_CLASSES, strict=True):
            assert text.get_text().partition("  ")[2] == notes.get(name, "")


@pytest.mark.slow
def test_templates_say_what_distinguishes_a_digit():
    result, accuracy = linear.typeset_fit()
    X, y = glyphs.typeset_digits(linear.UNSEEN, seed=1)
    assert X.shape == (linear.UNSEEN, 784)
    assert accuracy == (fl.predict(result.W, X, bias=True) == y).mean() > 0.93
    found = re.search(r"([\d.]+) % of 2000 others are right", linear.templates().caption)
    assert float(found[1]) == pytest.approx(100 * accuracy, abs=0.051)
    zero = result.W[:-1, 0].reshape(28, 28)
    assert zero[10:17, 12:16].mean() < 0 < zero[10:17, 6:9].mean()  # of the 0: blue in the middle, red on the sides
    assert zero[10:17, 19:22].mean() > 0


@pytest.mark.slow
def test_typeset_digits_are_upright_and_whole():
    """The mean images are what 1-NN knows the digits by, and no ink is cut off at the border."""
    X, y = glyphs.typeset_digits(1000, seed=3)
    means = np.array([X[y == digit].mean(axis=0) for digit in range(10)])
    nearest = ((X[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == y).mean() > 0.9
    border = X.reshape(-1, 28, 28)[:, [0, -1]], X.reshape(-1, 28, 28)[:, :, [0, -1]]
    assert max(part.mean() for part in border) < 0.01
    assert 0 <= X.min() < 0.01 < 0.99 < X.max() <= 1


def test_arrows_stand_on_their_lines():
    """The line of a class is where its score is 0; the arrow begins on it and goes where the score grows."""
    figure = linear.geometry().figure
    X, y = toys.blobs(150)
    result = fl.train(X, y, optimizer=fl.Adam(0.05), epochs=200, reg=1e-3)
    lines, ground = figure.axes
    drawn = [line for line in lines.lines if line.get_label().startswith("class")]
    arrows = [note for note in lines.texts if getattr(note, "arrow_patch", None)]
    assert len(drawn) == len(arrows) == len(ground.lines) == 3
    for label, (line, arrow) in enumerate(zip(drawn, arrows, strict=True)):
        for point in (line.get_xy1(), line.get_xy2(), arrow.xyann):
            assert fl.scores(result.W, np.array([point]), bias=True)[0, label] == pytest.approx(0, abs=1e-9)
        np.testing.assert_allclose(np.subtract(arrow.xy, arrow.xyann), linear.ARROW * result.W[:2, label])
        assert np.subtract(line.get_xy2(), line.get_xy1()) @ result.W[:2, label] == pytest.approx(0, abs=1e-9)


def test_templates_in_colour():
    """Photographs of one colour a class: each template is of its class's colour."""
    rng = np.random.default_rng(0)
    y = np.arange(300) % 3
    X = rng.integers(0, 100, (300, 3, 32, 32))
    X[np.arange(300), y] += 100
    X = X.reshape(300, -1).astype(np.uint8)
    exhibit = linear.colour_templates(Dataset(X, y, X[:30], y[:30], ("red", "green", "blue"), (3, 32, 32)))
    assert "100.0 % of the test photographs are right" in exhibit.caption
    for label, ax in enumerate(exhibit.figure.axes[:3]):
        assert ax.images[0].get_array().shape == (32, 32, 3)
        assert ax.images[0].get_array().mean(axis=(0, 1)).argmax() == label
