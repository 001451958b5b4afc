"""Numbers behind the figures of the losses."""

import re

import numpy as np
import pytest

import fastlin as fl
from fastlin import toys

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


def test_the_curves_at_the_points_that_their_caption_names():
    at = np.array([[0.0, 0.0], [1.0, 0.0], [1.5, 0.0], [-3.0, 0.0]])
    assert losses.loss_of_scores(fl.svm_loss, at).tolist() == [1, 0, 0, 4]
    assert losses.loss_of_scores(fl.softmax_loss, at)[:1] == pytest.approx([0.69], abs=0.005)
    assert (losses.loss_of_scores(fl.softmax_loss, at) > 0).all()


def test_softmax_beside_svm_is_the_slides_example():
    exhibit = losses.softmax_beside_svm()
    header, *classes, total = exhibit.table
    scores, hinges, exponentials, shares = (
        [row[header.index(name)] for row in classes]
        for name in ("score w·x + b", "hinge", "exp(score)", "divided by their sum")
    )
    assert scores == ["−2.85", "0.86", "0.28"]
    assert [hinge[-4:] for hinge in hinges[:2]] == ["0.00", "1.58"]
    assert exponentials == ["0.058", "2.363", "1.323"]  # the slide: 0.058, 2.36, 1.32
    assert shares == ["0.0154", "0.6312", "0.3534"]  # the slide: 0.016, 0.631, 0.353
    assert total[4:] == ("SVM loss: 1.58", "sum: 3.744", "softmax loss: −log 0.3534 = 1.04")
    assert "0.452" in exhibit.caption
    assert "Class 1 has a higher score" in exhibit.caption
    assert float(scores[1]) > float(scores[2])


def test_jiggled_scores():
    """The least and the most of a hinge are at corners, where they can be found by hand."""
    expected = {
        (10.0, -2.0, 3.0): (0, 0, 0),
        (10.0, 9.0, 9.0): (0, 0, 2),
        (10.0, -100.0, -100.0): (0, 0, 0),
        (10.0, 100.0, -100.0): (91, 90, 92),
        (20.0, -2.0, 3.0): (0, 0, 0),
        (20.0, 9.0, 9.0): (0, 0, 0),
        (20.0, -100.0, -100.0): (0, 0, 0),
    }
    assert list(losses.JIGGLED) == list(expected)
    for scores, found in expected.items():
        assert losses.jiggled(fl.svm_loss, scores) == found, scores
        now, least, most = losses.jiggled(fl.softmax_loss, scores)
        exact = losses.exact_softmax(scores)
        assert exact > 0
        if -100.0 in scores and 100.0 not in scores:
            assert (now, least, most) == (0, 0, 0), scores  # rounded
            assert exact == pytest.approx(2 * np.exp(scores[1] - scores[0]), rel=1e-12)
        else:
            assert 0 < least < now < most, scores
            assert now == pytest.approx(np.log(np.exp(np.array(scores) - scores[0]).sum()), rel=1e-7)


def test_the_remarks_on_jiggled_scores():
    exhibit = losses.jiggling()
    remarks = {row[0]: row[-1] for row in exhibit.table[1:]}
    assert remarks["[10, 9, 9]"] == "exactly on the SVM's kink: both move"
    assert remarks["[10, −100, −100]"] == "SVM stays 0; softmax rounds to 0, in mathematics 3.4e−48"
    assert remarks["[20, −100, −100]"].startswith("SVM stays 0; softmax rounds to 0")
    assert remarks["[10, 100, −100]"] == "both move"
    for scores in ("[10, −2, 3]", "[20, −2, 3]", "[20, 9, 9]"):
        assert remarks[scores] == "SVM stays 0; softmax moves a little"
    assert "and 0.5 with one wrong score 0.5 higher, 1 with the right one 0.5 lower" in exhibit.caption


def test_doubling_changes_losses_and_no_answer():
    table = losses.doubling().table[1:]
    assert [(row[0], row[2], row[5]) for row in table] == [
        ("car", "0.5", "0.0"),
        ("cat", "2.9", "4.8"),
        ("car", "0.0", "0.0"),
        ("frog", "12.9", "23.8"),
    ]
    assert table[0][4] == "2.6, 5.0, 4.0"
    assert [row[3] for row in table] == [row[6] for row in table] == ["car"] * 4


def test_regression_curves_are_their_formulas():
    scores = np.linspace(-6, 6, 25)
    s = 1 / (1 + np.exp(-scores))
    expected = {
        (fl.absolute_error_loss, 0.0): (np.abs(scores), np.sign(scores)),
        (fl.squared_error_loss, 0.0): (scores**2, 2 * scores),
        (fl.logistic_loss, 1.0): (-np.log(s), s - 1),
        (fl.sigmoid_squared_loss, 1.0): ((1 - s) ** 2, -2 * (1 - s) * s * (1 - s)),
    }
    for (loss, target), (values, slopes) in expected.items():
        found = losses.over_scores(loss, scores, target)
        np.testing.assert_allclose(found[0], values, atol=1e-12)
        np.testing.assert_allclose(found[1], slopes, atol=1e-12)
    caption = losses.regression_curves().caption
    assert "pulls with 1.00 at s = −6, but the squared one with 0.005" in caption


def test_an_absolute_error_does_not_follow_the_houses_that_were_given_away():
    X, y, false = losses.house_data()
    kept = false == y
    assert np.flatnonzero(~kept).tolist() == sorted(np.argsort(X[:, 0])[-losses.GIVEN_AWAY :])
    assert set(false[~kept]) == {1.0}
    A = np.column_stack([X, np.ones(len(X))])
    for columns in (1, 4):
        true, bent, firm = losses.house_fits(columns).values()
        # L2 is least squares.
        kept_columns = A[:, [*range(columns), 4]]
        for result, prices in ((true, y), (bent, false)):
            best = kept_columns @ np.linalg.lstsq(kept_columns, prices, rcond=None)[0]
            np.testing.assert_allclose(result.predict(X[:, :columns]), best, atol=0.01)
        # L1 is at its least: no small step makes it better.
        least = np.abs(firm.predict(X[:, :columns]) - false).mean()
        for direction in np.random.default_rng(0).standard_normal((50, columns + 1)):
            step = 0.1 * kept_columns @ (direction / np.abs(kept_columns).max(axis=0))
            assert np.abs(firm.predict(X[:, :columns]) + step - false).mean() > least - 1e-4
        slopes = [losses.rates(result)[0] for result in (true, bent, firm)]
        assert slopes[1] < 0.65 * slopes[0]
        assert slopes[2] == pytest.approx(slopes[0], rel=0.12)


def test_what_is_said_of_new_houses():
    exhibit = losses.house_prices()
    X, y = toys.houses(100, seed=1)
    noise = np.abs(y - toys.HOUSE_BASE - X @ toys.HOUSE_RATES).mean()
    missed = {name: np.abs(result.predict(X) - y).mean() for name, result in losses.house_fits(4).items()}
    l2, l1 = missed["L2, false prices"], missed["L1, false prices"]
    assert l2 > 3 * l1
    assert l1 < 1.25 * noise
    said = re.findall(r"by (\d+) thousand on average with L2 and by (\d+) with L1.*by (\d+)\.", exhibit.caption)
    assert said == [(f"{l2:.0f}", f"{l1:.0f}", f"{noise:.0f}")]
    assert [row[-1] for row in exhibit.table[1:]] == [f"{value:.0f}" for value in (noise, *missed.values())]
