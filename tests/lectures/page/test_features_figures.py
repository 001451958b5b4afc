"""Numbers behind the figures of features of images."""

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("skimage")
pytest.importorskip("matplotlib")
import fastlin as fl
from fastlin import toys
from fastlin.features import HOG
from fastlin.lectures import features


@pytest.mark.slow
def test_features_of_digits():
    found = {name: features.digit_accuracy(make) for name, make in features.digit_features().items()}
    assert [count for count, _, _ in found.values()] == [64, 144, 64, 64 + 64 * 65 // 2]
    assert found["products of two pixels"][2] > found["pixels"][2] > 0.95
    assert min(test for _, _, test in found.values()) > 0.88


def test_the_hog_that_is_drawn_is_the_feature():
    """The strokes have the numbers of features.HOG with the slide's cells and bins, 10 800 in all."""
    image = features.photograph()
    exhibit = features.image_features()
    feature = HOG((3, 240, 320), cell=8, orientations=9).transform(image.reshape(1, -1))[0]
    assert len(feature) == 10_800
    assert "30 × 40 × 9 = 10800 numbers" in exhibit.caption
    drawn = exhibit.figure.axes[2].collections[0]
    ends, dark = features.strokes(features.cell_edges(image))
    np.testing.assert_array_equal(dark, feature)
    order = np.argsort(dark)
    np.testing.assert_array_equal(drawn.get_segments(), ends[order])
    np.testing.assert_allclose(drawn.get_colors()[:, 3], dark[order] ** 2)


@pytest.mark.parametrize("angle", [10, 50, 90, 130, 170])
def test_strokes_lie_along_the_edge(angle):
    """An edge at right angles to `angle`, in rows that count downwards: each dark stroke has its direction."""
    rows, columns = np.mgrid[:24, :24]
    across = np.cos(np.deg2rad(angle)) * (columns - 11.5) + np.sin(np.deg2rad(angle)) * (rows - 11.5)
    image = np.repeat((1 / (1 + np.exp(-across)))[None], 3, axis=0)
    ends, dark = features.strokes(features.cell_edges(image))
    middle = 9 * 4  # the first stroke of the cell in the middle
    darkest = middle + dark[middle : middle + 9].argmax()
    x, y = ends[darkest, 1] - ends[darkest, 0]
    assert (np.rad2deg(np.arctan2(y, x)) - angle - 90 + 1e-9) % 180 == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(ends[darkest].mean(axis=0), 11.5)


def test_a_line_separates_the_ring_in_polar_coordinates_only():
    caption = features.ring_in_polar().caption
    X, y = toys.disk_in_ring(500)
    assert "gets 72.4 % right" in caption
    assert features.best_line(X, y)[0] == pytest.approx(0.724)
    polar = features.features.Polar().fit_transform(X)
    result = features.fit_all_rows(polar, y)
    assert result.accuracy(polar, y) == 1
    assert isinstance(result, fl.TrainResult)
