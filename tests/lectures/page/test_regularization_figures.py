"""Numbers behind the figures of penalties, simpler models, bias and variance, and double descent."""

import numpy as np
import pytest

from fastlin import toys

pytest.importorskip("sklearn")
pytest.importorskip("skimage")
pytest.importorskip("matplotlib")
from fastlin.lectures import regularization
from fastlin.lectures.exhibit import digits


def test_what_the_penalties_say_of_the_slides_weights():
    header, w1, w2 = regularization.preferences().table
    assert header[2:] == ("L1: Σ|w|", "L2: Σw²", "elastic net: Σ 0.5 w² + |w|")
    assert w1[1:] == ("1", "1", "1", "1.5")
    assert w2[1:] == ("1", "1", "0.25", "1.125")


def test_of_like_columns_l2_takes_all_and_l1_one():
    l2, l1 = regularization.alike_columns()
    assert l2.min() > 0.1
    assert l2.max() < 0.5
    assert l1[0] > 0.9
    assert not l1[1:].any()


def test_of_a_digits_pixels_l1_takes_few():
    blank = ~digits()[0].any(axis=0).reshape(8, 8)
    l2, l1 = regularization.templates()
    assert np.array_equal(l2 == 0, blank)
    assert (l1[blank] == 0).all()
    assert (l1 == 0).sum() > 30
    caption = regularization.preferences().caption
    assert f"with L2 {blank.sum()} are exactly 0" in caption
    assert f"with L1 {(l1 == 0).sum()}." in caption


def test_noisy_digits_have_as_many_wrong_labels_as_the_caption_says():
    X, y, _, _ = digits()
    right = {row.tobytes(): label for row, label in zip(X, y, strict=True)}
    for seed in range(2):
        rows, labels = regularization.noisy_digits(seed)
        wrong = sum(right[row.tobytes()] != label for row, label in zip(rows, labels, strict=True))
        assert (len(rows), wrong) == (200, 40)


@pytest.mark.parametrize("kind", ["L2", "L1"])
def test_a_penalty_helps_on_unseen_digits_and_too_much_does_not(kind):
    few = {"L2": [1e-5, 1e-2, 10**-0.5], "L1": [1e-3, 0.046, 10**-0.5]}[kind]
    found = np.array([[regularization.penalized(kind, lam, seed) for seed in range(3)] for lam in few])
    zeros, training, unseen = np.moveaxis(found, 2, 0)
    # In every draw, not only in their mean.
    assert (unseen[1] > unseen[0] + 0.05).all()
    assert (unseen[2] < unseen[0]).all()
    assert (training[0] > training[1]).all()
    assert (training[1] > training[2]).all()
    assert (unseen[1] > training[1]).all()
    if kind == "L2":
        assert not zeros.any()
        assert (training[0] == 1).all()
    else:
        assert (np.diff(zeros, axis=0) > 0).all()
        assert zeros[1].mean() == pytest.approx(0.77, abs=0.05)


def test_the_simpler_model_is_better_on_new_points():
    (wild, wild_new), (tame, tame_new) = regularization.model_errors()
    assert wild < 1e-20
    assert 0.03 < tame < 0.09
    assert tame_new < 0.6 * wild_new
    X, y = toys.noisy_sine(10, sigma=0.3, seed=1)
    assert regularization.two_models()[0](X[:, 0]) == pytest.approx(y)


def test_a_flat_direction_is_a_bowl_with_l2():
    places = np.array([-3.0, 0.0, 3.0])
    flat = regularization.along_a_flat_direction(0.0, places)
    assert flat == pytest.approx([flat[1]] * 3, rel=1e-12)
    # The 6 weights sum to 0, so that lambda * sum (w + a)^2 is 6 lambda a^2 more.
    bowl = regularization.along_a_flat_direction(0.03, places)
    assert bowl[[0, 2]] - bowl[1] == pytest.approx([6 * 0.03 * 9] * 2)


def test_the_penalty_makes_a_most_probable_weight():
    weights = np.linspace(-2, 8, 101)
    data, prior = regularization.prior_curves(weights)
    assert (np.diff(data) < 0).all()  # it falls for ever
    # A Gaussian with variance 1 / (2 n lambda): -log of it, by rows, but for a constant.
    variance = 1 / (2 * 4 * regularization.PRIOR)
    assert prior == pytest.approx(weights**2 / (2 * variance) / 4, abs=1e-12)
    best = weights[(data + prior).argmin()]
    assert 0 < best < 8
    assert f"minimum at w = {best:.1f}" in regularization.curvature().caption


def test_bias_falls_and_variance_rises_with_the_degree():
    bias, variance = np.array(
        [regularization.bias_and_variance(regularization.polynomial_fits(degree)) for degree in (1, 3, 10)]
    ).T
    assert bias[0] > 10 * bias[1] > 100 * bias[2]
    assert variance[0] < variance[1] < variance[2]
    # A line's squared bias: the best line through sin(pi x) is 3 x / pi, so the mean of its square is 1/2 - 3 / pi^2.
    assert bias[0] == pytest.approx(0.5 - 3 / np.pi**2, rel=0.1)


def test_the_set_that_is_drawn_is_the_first_of_fifty():
    figure = regularization.bias_variance().figure
    X, y = toys.noisy_sine(20, seed=0)
    for ax, degree in zip(figure.axes, (1, 3, 10), strict=False):
        assert np.array_equal(ax.collections[0].get_offsets(), np.column_stack([X, y]))
        fits = regularization.polynomial_fits(degree)
        assert fits.shape == (50, len(regularization.GRID))
        own = next(line for line in ax.lines if line.get_label() == "the fit of one set")
        assert np.array_equal(own.get_ydata(), fits[0])


def test_double_descent_has_its_peak_where_features_are_as_many_as_points():
    training, test = regularization.double_descent_errors()
    said = dict(zip(regularization.FEATURES, test, strict=True))
    assert regularization.FEATURES[int(test.argmax())] == regularization.POINTS
    assert said[10] == min(test) < 0.01
    assert said[20] > 100 * said[10]
    assert said[20] > said[40] > said[100] > said[1000]
    assert said[10] < said[1000] < 2 * said[10]  # not quite as good
    many = np.array(regularization.FEATURES) >= regularization.POINTS
    assert training[many].max() < 1e-6
    assert training[~many].min() > 1e-4
    assert (np.diff(training[~many]) < 0).all()
