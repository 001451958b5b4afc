"""Our LogisticRegression reaches scikit-learn's optimum, from the arrays at hand."""

import itertools
import pickle

import numpy as np
import pytest

import fastlin as fl

pytest.importorskip("sklearn")

from sklearn import linear_model
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.class_weight import compute_sample_weight

RATIOS = [0.0, 0.5, 1.0]  # of L1 in the penalty


def data(c, dtype="float64", n=120, d=6):
    """Rows of c classes that overlap."""
    rng = np.random.default_rng(c)
    y = rng.integers(0, c, n)
    X = rng.standard_normal((n, d)) + 0.8 * rng.standard_normal((c, d))[y]
    return X.astype(dtype), y


def objective(model, X, y, weights):
    """C * sum(w loss) + the penalty, of a fitted model, in float64."""
    S = X.astype(np.float64) @ model.coef_.T.astype(np.float64) + model.intercept_.astype(np.float64)
    if S.shape[1] == 1:
        S = np.hstack([np.zeros_like(S), S])
    largest = S.max(axis=1)
    of_rows = np.log(np.exp(S - largest[:, None]).sum(axis=1)) + largest - S[np.arange(len(y)), y]
    W = model.coef_.astype(np.float64)
    penalty = (1 - model.l1_ratio) * (W**2).sum() / 2 + model.l1_ratio * np.abs(W).sum()
    return float(weights @ of_rows + penalty / model.C)


CASES = [
    case
    for case in itertools.product([2, 3], [1e-2, 1.0, 1e3], RATIOS, [True, False], [None, "balanced"], [False, True])
    if case[1] <= 1 or not case[2]  # saga takes minutes to the optimum of others
]


@pytest.mark.parametrize(("c", "C", "l1_ratio", "intercept", "class_weight", "weighted"), CASES)
def test_same_optimum_as_scikit_learn(c, C, l1_ratio, intercept, class_weight, weighted):
    X, y = data(c)
    sample_weight = np.random.default_rng(1).uniform(0, 3, len(y)) if weighted else None
    words = {"C": C, "l1_ratio": l1_ratio, "fit_intercept": intercept, "class_weight": class_weight}
    words |= {"solver": "saga" if l1_ratio else "newton-cholesky", "max_iter": 100_000, "tol": 1e-9, "random_state": 0}
    theirs = linear_model.LogisticRegression(**words).fit(X, y, sample_weight)
    ours = fl.LogisticRegression(**words).fit(X, y, sample_weight)
    weights = np.ones(len(y)) if sample_weight is None else sample_weight
    if class_weight:
        counts = np.bincount(y, weights)
        weights = weights * (weights.sum() / (c * counts))[y]
    best, found = (objective(model, X, y, weights) for model in (theirs, ours))
    assert found <= best * (1 + 1e-6)
    if l1_ratio and not theirs.coef_.any():  # saga stops where no coefficient has moved, though an intercept has
        assert not ours.coef_.any()
        return
    assert found >= best * (1 - 1e-6)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-4)
    assert ours.coef_.shape == theirs.coef_.shape
    assert ours.n_iter_.dtype == theirs.n_iter_.dtype


@pytest.mark.parametrize("c", [2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int64"])
def test_narrow_X_is_read_in_place_and_fitted_in_float64(c, dtype):
    X, y = data(c)
    X = np.round(3 * X + 9).clip(0, 255) if np.dtype(dtype).kind in "iu" else X
    X = np.asfortranarray(X.astype(dtype))
    ours = fl.LogisticRegression(C=0.01, tol=1e-6, max_iter=5000).fit(X, y)
    theirs = linear_model.LogisticRegression(C=0.01, tol=1e-10, max_iter=5000, solver="newton-cholesky")
    theirs.fit(X.astype(np.float64), y)
    assert ours.coef_.dtype == (np.float32 if dtype == "float32" else np.float64)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X.astype(np.float64)), atol=1e-5)
    assert (ours.predict(X.astype(np.float64)) == ours.predict(X)).all()


def test_what_is_not_ours_is_scikit_learns():
    X, y = data(2)
    words = {"random_state": 0, "max_iter": 1000, "solver": "liblinear"}
    ours, theirs = (kind(**words).fit(X, y) for kind in (fl.LogisticRegression, linear_model.LogisticRegression))
    assert type(ours) is fl.LogisticRegression
    np.testing.assert_array_equal(ours.coef_, theirs.coef_)
    np.testing.assert_allclose(ours.decision_function(X), theirs.decision_function(X))


@pytest.mark.parametrize("words", [{"penalty": "l2", "n_jobs": -1}, {"penalty": None}])
def test_words_on_their_way_out_are_taken_with_a_warning(words):
    X, y = data(3)
    with pytest.warns(FutureWarning, match="deprecated|no effect"):
        fl.LogisticRegression(**words).fit(X, y)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"C": -1.0}, "'C' parameter"),
        ({"solver": "adam"}, "'solver' parameter"),
        ({"l1_ratio": 0.5}, "Solver lbfgs supports only 'l2'"),
        ({"dual": True}, "dual=False"),
    ],
)
def test_errors_are_scikit_learns(words, said):
    X, y = data(2)
    with pytest.raises(ValueError, match=said):
        fl.LogisticRegression(**words).fit(X, y)


def test_one_class_and_weights_of_no_sum_are_refused():
    X, y = data(2)
    with pytest.raises(ValueError, match="at least 2 classes"):
        fl.LogisticRegression().fit(X, np.zeros(len(y)))
    with pytest.raises(ValueError, match=r"[wW]eight"):
        fl.LogisticRegression().fit(X, y, sample_weight=np.zeros(len(y)))


def test_too_few_iterations_are_told():
    X, y = data(3)
    with pytest.warns(ConvergenceWarning, match="Increase the number of iterations"):
        model = fl.LogisticRegression(max_iter=1, tol=1e-12).fit(X, y)
    assert model.n_iter_.tolist() == [1]


def test_warm_start_goes_on_and_refuses_another_shape():
    X, y = data(3)
    model = fl.LogisticRegression(warm_start=True, tol=1e-8, max_iter=1000).fit(X, y)
    first = model.n_iter_[0]
    assert model.fit(X, y).n_iter_[0] < first
    with pytest.raises(ValueError, match="warm_start"):
        model.fit(X[:, :2], y)


def test_it_is_a_scikit_learn_classifier():
    X, y = data(3)
    names = np.array(["ant", "bee", "cat"])[y]
    model = clone(fl.LogisticRegression(C=3.0)).fit(X, names)
    assert isinstance(model, linear_model.LogisticRegression)
    assert model.get_params() == linear_model.LogisticRegression(C=3.0).get_params()
    assert pickle.loads(pickle.dumps(model)).predict(X).tolist() == model.predict(X).tolist()
    assert model.score(X, names, compute_sample_weight("balanced", names)) > 0.5
    model.sparsify()
    assert model.predict(X[:5]).shape == (5,)
