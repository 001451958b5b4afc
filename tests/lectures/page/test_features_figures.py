"""Numbers behind the figures of features of images."""

import pytest

pytest.importorskip("sklearn")
pytest.importorskip("skimage")
pytest.importorskip("matplotlib")
from fastlin.lectures import features


@pytest.mark.slow
def test_features_of_digits():
    found = {name: features.digit_accuracy(make) for name, make in features.digit_features().items()}
    assert [count for count, _, _ in found.values()] == [64, 144, 64, 64 + 64 * 65 // 2]
    assert found["products of two pixels"][2] > found["pixels"][2] > 0.95
    assert min(test for _, _, test in found.values()) > 0.88
