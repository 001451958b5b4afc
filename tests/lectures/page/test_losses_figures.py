"""Numbers behind the figures of the losses."""

import numpy as np
import pytest

import fastlin as fl

pytest.importorskip("sklearn")
pytest.importorskip("skimage")
pytest.importorskip("matplotlib")
from fastlin.lectures import losses


def test_losses_of_two_classes():
    lead = np.array([-2.0, 0.0, 0.5, 1.0, 3.0])
    scores = np.column_stack([lead, np.zeros(5)])
    assert losses.loss_of_scores(fl.svm_loss, scores) == pytest.approx(np.maximum(0, 1 - lead))
    assert losses.loss_of_scores(fl.svm_loss, scores, squared=True) == pytest.approx(np.maximum(0, 1 - lead) ** 2)
    assert losses.loss_of_scores(fl.softmax_loss, scores) == pytest.approx(np.log1p(np.exp(-lead)))


def test_losses_of_the_slides_pictures():
    svm, softmax, mean = losses.losses_of_pictures()
    assert svm == pytest.approx([2.9, 0, 12.9])
    assert round(mean, 2) == 5.27
    assert softmax == pytest.approx([2.04, 0.08, 6.16], abs=0.005)
