"""What the pictures of `fastlin train` and `fastlin compare` show, read from matplotlib's own objects."""

import math

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from matplotlib.figure import Figure

from fastlin import compare
from fastlin._plots import compare as plot_compare
from fastlin._plots import train as plot_train


@pytest.fixture
def drawn(monkeypatch):
    """The figures that would have been written to a file."""
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *where, **how: figures.append(self))
    return figures


def legend(figure):
    return [text.get_text() for box in figure.legends for text in box.get_texts()]


def test_one_run_without_validation_has_one_curve(drawn):
    plot_train.loss_picture({0.1: {"loss": [3.0, 2.0, 1.0]}}, 0.1, "title", "loss.png")
    (axes,) = drawn[0].axes
    assert [line.get_ydata().tolist() for line in axes.lines] == [[3.0, 2.0, 1.0]]
    assert axes.get_yscale() == "linear"
    assert legend(drawn[0]) == ["lr 0.1"]


def test_one_run_with_validation_shows_both(drawn):
    history = {"loss": [3.0, 2.0], "validation_loss": [3.5, 2.5], "validation_accuracy": [0.5, 0.75]}
    plot_train.loss_picture({0.1: history}, 0.1, "title", "loss.png")
    losses, accuracy = drawn[0].axes
    assert [line.get_ydata().tolist() for line in losses.lines] == [[3.0, 2.0], [3.5, 2.5]]
    assert [line.get_ydata().tolist() for line in accuracy.lines] == [[0.5, 0.75]]
    assert legend(drawn[0]) == ["training rows, lr 0.1", "validation rows"]


def test_several_rates_without_validation_name_the_best(drawn):
    runs = {0.1: {"loss": [3.0, 2.0]}, 1.0: {"loss": [3.0, math.nan]}}
    plot_train.loss_picture(runs, 0.1, "title", "loss.png")
    assert len(drawn[0].axes) == 1
    assert legend(drawn[0]) == ["lr 1\nnot finite from epoch 2", "lr 0.1 (best)"]


@pytest.mark.parametrize(("losses", "scale"), [([30.0, 1.0], "linear"), ([31.0, 1.0], "log"), ([1e6, 1.0], "log")])
def test_losses_far_apart_are_on_a_logarithmic_scale(losses, scale, drawn):
    plot_train.loss_picture({0.1: {"loss": losses}}, 0.1, "title", "loss.png")
    axes = drawn[0].axes[0]
    assert axes.get_yscale() == scale
    if scale == "linear":
        assert axes.get_ylim()[0] == 0
    drawn[0].draw_without_rendering()  # the ticks are made here


def test_a_loss_too_large_to_draw_is_left_out_and_said(drawn):
    plot_train.loss_picture({0.1: {"loss": [1.0, 1e300, 2.0]}}, 0.1, "title", "loss.png")
    assert legend(drawn[0]) == ["lr 0.1\nabove 1e+100 from epoch 2"]
    drawn[0].draw_without_rendering()


def test_losses_without_a_finite_number_are_drawn(drawn):
    plot_train.loss_picture({0.1: {"loss": [math.inf, math.nan]}}, 0.1, "title", "loss.png")
    assert drawn[0].axes[0].get_yscale() == "linear"


def test_places_without_a_template_are_empty():
    """Seven classes stand in two rows of five places."""
    figure = plot_train.template_figure(np.arange(28.0).reshape(4, 7), (2, 2), [f"c{i}" for i in range(7)])
    images = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in images] == [f"c{i}" for i in range(7)]
    assert sum(not axes.axison for axes in figure.axes) == 3


def test_a_wrong_backend_has_words_and_no_bar():
    right = compare.Row("input", "svm", "numpy", True, 0.0, 0.0, 1e-6, 1.0, 2.0, 3.0, 5.0, 1.0)
    wrong = compare.Row("input", "svm", "cython", False, 1.0, 1.0, 1e-6)
    axes = plot_compare.compare_figure([right, wrong]).axes[0]
    assert [text.get_text() for text in axes.texts] == ["2 s   5x naive", "cython: WRONG"]
    assert sum(bar.get_width() == 2.0 for bar in axes.patches) == 1


def test_rows_that_are_all_wrong_are_drawn():
    wrong = compare.Row("input", "svm", "cython", False, 1.0, 1.0, 1e-6)
    figure = plot_compare.compare_figure([wrong])
    figure.draw_without_rendering()
    assert [text.get_text() for text in figure.axes[0].texts] == ["cython: WRONG"]
