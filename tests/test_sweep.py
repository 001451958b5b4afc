"""fl.sweep: the same choice as cold fits, whatever is warm-started, weighted instead of copied, and said once."""

import numpy as np
import pytest

import fastlin as fl

pytest.importorskip("sklearn")
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score

DIGITS = load_digits(return_X_y=True)
DIGITS = DIGITS[0][:600] / 16, DIGITS[1][:600]
IRIS = load_iris(return_X_y=True)
GRID = np.logspace(-3, 2, 6)


def cold(C):
    return LogisticRegression(C=C, tol=1e-8, max_iter=5000)


@pytest.mark.parametrize(("X", "y"), [DIGITS, IRIS], ids=["digits", "iris"])
def test_folds_choose_as_cold_fits_of_scikit_learn(X, y):
    found = fl.sweep(X, y, GRID, cv=3)
    scores = np.array([cross_val_score(cold(C), X, y, cv=StratifiedKFold(3)) for C in GRID])
    np.testing.assert_allclose(found.scores, scores, atol=1e-12)
    assert found.best == GRID[scores.mean(axis=1).argmax()]
    assert found.best_lr is None
    expected = cold(found.best).fit(X, y)
    np.testing.assert_allclose(found.model.W[:-1], expected.coef_.T, atol=5e-3)
    assert found.score(X, y) == expected.score(X, y)
    assert (found.predict(X) == expected.predict(X)).all()


def test_validation_rows_choose_as_cold_fits_of_scikit_learn():
    (X, y), n = DIGITS, 400
    found = fl.sweep(X[:n].astype(np.float32), y[:n], GRID[::-1], validation=(X[n:].astype(np.float32), y[n:]))
    scores = [cold(C).fit(X[:n], y[:n]).score(X[n:], y[n:]) for C in GRID]
    assert found.scores.ravel()[::-1].tolist() == scores
    assert found.best == GRID[np.argmax(scores)]
    assert found.model is found.models[GRID[::-1].tolist().index(found.best)][0]
    assert found.model.W.dtype == np.float64


@pytest.mark.parametrize("cv", [2, 5, 7])
def test_folds_are_those_of_scikit_learn(cv):
    from fastlin import ops
    from fastlin.sweep import _held_out

    y = np.random.default_rng(cv).integers(0, 4, 61)
    expected = [held for _, held in StratifiedKFold(cv).split(y, y)]
    assert all(map(np.array_equal, _held_out(y, cv, ops.LOSSES["softmax"]), expected))
    blocks = [held for _, held in KFold(cv).split(y)]
    assert all(map(np.array_equal, _held_out(y.astype(float), cv, ops.LOSSES["squared_error"]), blocks))


def test_weights_count_as_in_scikit_learn():
    """Doubling every weight halves what C is to the penalty, as it does there."""
    (X, y), n = IRIS, 100
    order = np.random.default_rng(0).permutation(150)
    X, y = X[order], y[order]
    weights = np.random.default_rng(1).uniform(0, 3, n)
    found = fl.sweep(X[:n], y[:n], [0.3], validation=(X[n:], y[n:]), sample_weight=weights)
    expected = cold(0.3).fit(X[:n], y[:n], weights)
    np.testing.assert_allclose(found.model.W[:-1], expected.coef_.T, atol=1e-4)


def test_fits_start_where_those_with_more_penalty_lead():
    """With a fine grid they take far fewer passes over X than cold fits take."""
    X, y = DIGITS
    grid = np.logspace(-4, 2, 25)
    path = fl.sweep(X, y, grid, validation=(X, y)).models
    cold = [fl.minimize(X, y, reg=0.5 / C / len(y)) for C in grid]
    assert sum(row[0].solved.passes for row in path) < 0.6 * sum(fit.solved.passes for fit in cold)


def test_the_order_of_C_does_not_matter():
    X, y = IRIS
    one = fl.sweep(X, y, GRID, cv=3)
    other = fl.sweep(X, y, GRID[::-1], cv=3)
    assert one.scores.tolist() == other.scores[::-1].tolist()
    assert one.best == other.best
    assert one.model.W.tolist() == other.model.W.tolist()


@pytest.mark.parametrize("grid", [[1.0, 1.0, 1.0], [0.1, 1.0, np.inf, np.inf], [1e-300, 1.0, 1e300]])
def test_no_step_over_log_C_is_too_long(grid):
    X, y = IRIS
    found = fl.sweep(X, y, grid, validation=(X, y), tol=0.0, max_iter=20)
    assert all(np.isfinite(row[0].W).all() for row in found.models)


def test_of_equal_scores_the_strongest_penalty_wins():
    X, y = np.array([[-2.0], [-1.0], [1.0], [2.0]]), [0, 0, 1, 1]
    assert fl.sweep(X, y, [10.0, 0.1, 1.0], validation=(X, y)).best == 0.1


def test_no_penalty_at_all():
    X, y = IRIS
    found = fl.sweep(X, y, [np.inf], validation=(X, y), tol=0.0, max_iter=5)
    assert found.best == np.inf
    assert found.models[0][0].solved.n_iter == 5


def test_a_regression_is_judged_by_r2():
    X = IRIS[0]
    found = fl.sweep(X, X @ [1.0, 2.0, 3.0, 4.0], [1e-6, 1.0], cv=3, loss="squared_error")
    assert found.best == 1.0
    assert found.scores.shape == (2, 3)
    assert found.scores[1].min() > 0.99


def test_rates_of_sgd_each_with_each_C():
    X, y = IRIS
    how = {"solver": "sgd", "epochs": 2, "batch_size": 16, "seed": 3}
    found = fl.sweep(X, y, [0.1, 1.0], validation=(X, y), lr=[0.1, 1e-9], **how)
    assert found.C.tolist() == [0.1, 0.1, 1.0, 1.0]
    assert found.lr.tolist() == [0.1, 1e-9, 0.1, 1e-9]
    assert found.best_lr == 0.1
    del how["solver"]
    alone = fl.train(X, y, optimizer=fl.SGD(0.1, momentum=0.9), reg=0.5 / 0.1 / 150, **how)
    np.testing.assert_allclose(found.models[0][0].W, alone.W, rtol=1e-12)


def test_fits_that_do_not_converge_are_named_once():
    X, y = DIGITS
    with pytest.warns(
        fl.ConvergenceWarning, match=r"not converged: C=1; C=100; the fit on all rows. The last: "
    ) as seen:
        fl.sweep(X, y, [1.0, 100.0], cv=2, max_iter=2)
    assert len(seen) == 1
    assert seen[0].filename == __file__


def test_a_bar_counts_the_fits(capsys):
    pytest.importorskip("tqdm")
    X, y = IRIS
    fl.sweep(X, y, [0.1, 1.0], cv=2, progress=True)
    assert "fits" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ({"C": []}, ValueError, r"C is empty"),
        ({"C": [1.0, -1.0]}, ValueError, r"C\[1\] must be in \(0, inf\]; found -1.0"),
        ({"C": 3.0}, ValueError, r"C must have 1 dimension"),
        ({"C": [1e-310]}, ValueError, r"C = 1e-310 is too small"),
        ({"cv": 1}, ValueError, "cv must be an integer of at least 2; found 1"),
        ({"cv": 151}, ValueError, "cv must be at most the 150 rows of X; found 151"),
        ({"cv": 2, "validation": IRIS}, ValueError, "pass one of them, found cv=2 too"),
        ({"validation": 3}, TypeError, r"validation must be a pair \(X, y\)"),
        ({"validation": (IRIS[0][:, 1:], IRIS[1])}, ValueError, "validation: X has 3 columns"),
        ({"solver": "sgd"}, ValueError, r"lr=\[...\] belongs to solver='sgd', which needs it; found lr=None"),
        ({"lr": [0.1]}, ValueError, r"belongs to solver='sgd'.* solver='auto'"),
        ({"epochs": 3}, ValueError, "epochs is an argument of solver='sgd'; found it with solver='auto': leave it out"),
        ({"solver": "sgd", "lr": [1], "max_iter": 3}, ValueError, "max_iter is an argument of solvers of minimize"),
        ({"solver": "adam"}, ValueError, "solver must be one of"),
        ({"reg": 1}, TypeError, "sweep has no argument 'reg'"),
        ({"sample_weight": np.zeros(150)}, ValueError, "sum to 0; their sum must be finite and above 0"),
        ({"y": IRIS[1][1:]}, ValueError, "X has 150 rows but y has 149 labels"),
    ],
)
def test_a_wrong_argument_is_named(words, error, message):
    X, y = IRIS
    with pytest.raises(error, match=message):
        fl.sweep(**({"X": X, "y": y} | words))


def test_the_picture_has_a_curve_for_each_rate():
    pytest.importorskip("matplotlib")
    X, y = IRIS
    (axes,) = fl.sweep(X, y, GRID, validation=(X, y)).plot().axes
    assert axes.lines[0].get_xdata().tolist() == GRID.tolist()
    found = fl.sweep(X, y, [1.0, np.inf], validation=(X, y), solver="sgd", lr=[0.1, 0.01], epochs=1)
    (axes,) = found.plot().axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["lr 0.1", "lr 0.01"]
