"""Our LogisticRegressionCV chooses what scikit-learn's chooses, and has its attributes, of its shapes."""

import tracemalloc
import warnings

import numpy as np
import pytest

import fastlin as fl

pytest.importorskip("sklearn")

from scipy import sparse
from sklearn import config_context, linear_model
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import get_scorer
from sklearn.model_selection import ShuffleSplit, TimeSeriesSplit

CS = [1e-3, 0.03, 1.0, 30.0]
WORDS = {"Cs": CS, "scoring": "neg_log_loss", "l1_ratios": (0,), "use_legacy_attributes": False}
EXACT = {"solver": "newton-cholesky", "tol": 1e-10, "max_iter": 1000}


def data(c=3, n=120, d=5):
    """Rows of c classes that overlap, with names as labels."""
    rng = np.random.default_rng(c)
    codes = rng.integers(0, c, n)
    X = rng.standard_normal((n, d)) + 0.7 * rng.standard_normal((c, d))[codes]
    return X, np.array(["ant", "bee", "cat", "dog"])[codes]


def both(**words):
    """Our estimator and scikit-learn's."""
    return [kind(**(WORDS | EXACT | words)) for kind in (fl.LogisticRegressionCV, linear_model.LogisticRegressionCV)]


def compare(ours, theirs, atol=1e-5):
    """All attributes."""
    for name in ("C_", "l1_ratio_", "Cs_", "l1_ratios_"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
    for name in ("coef_", "intercept_"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-4, atol=atol, err_msg=name)
    for name in ("scores_", "coefs_paths_"):
        found, expected = getattr(ours, name), getattr(theirs, name)
        assert type(found) is type(expected)
        keys = list(expected) if isinstance(expected, dict) else [...]
        assert keys == (list(found) if isinstance(found, dict) else [...])
        for key in keys:
            assert found[key].shape == expected[key].shape
            np.testing.assert_allclose(found[key], expected[key], rtol=1e-4, atol=atol, err_msg=name)
    assert ours.n_iter_.shape == theirs.n_iter_.shape
    assert ours.n_iter_.dtype == theirs.n_iter_.dtype


@pytest.mark.parametrize("class_weight", [None, "balanced", {"ant": 2.0, "bee": 0.5}])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("c", [2, 3])
def test_the_choice_of_scikit_learn(c, weighted, intercept, class_weight):
    X, y = data(c)
    sample_weight = np.random.default_rng(1).uniform(0, 3, len(y)) if weighted else None
    ours, theirs = both(fit_intercept=intercept, class_weight=class_weight, cv=3)
    for model in (ours, theirs):
        model.fit(X, y, sample_weight)
    compare(ours, theirs)
    assert ours.C_ in CS[1:3]
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-5)
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y), abs=1e-5)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("l1_ratios", [None, (0,)])
@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("c", [2, 3])
def test_attributes_of_both_kinds(c, legacy, refit, l1_ratios):
    X, y = data(c)
    ours, theirs = both(use_legacy_attributes=legacy, refit=refit, l1_ratios=l1_ratios, cv=4, scoring="accuracy")
    compare(ours.fit(X, y), theirs.fit(X, y))


@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("c", [2, 3])
def test_shares_of_l1(c, legacy, refit):
    """Where saga is near the optimum too."""
    X, y = data(c, n=80, d=3)
    words = {"l1_ratios": np.array([0.0, 0.5, 1.0]), "Cs": [0.5, 2.0], "cv": 2, "solver": "saga", "tol": 1e-7}
    words |= {"max_iter": 100_000, "use_legacy_attributes": legacy, "refit": refit, "random_state": 0}
    ours, theirs = both(**words)
    compare(ours.fit(X, y), theirs.fit(X, y), atol=1e-3)


@pytest.mark.parametrize("cv", [ShuffleSplit(3, random_state=0), TimeSeriesSplit(3), "own"])
@pytest.mark.parametrize("scoring", ["accuracy", "roc_auc_ovr", "neg_brier_score"])
def test_other_folds_and_scores(cv, scoring):
    """Folds that leave rows out altogether, and that name rows twice."""
    X, y = data()
    if cv == "own":
        rng = np.random.default_rng(0)
        cv = [(rng.integers(0, 100, 90), np.arange(100, 120)), (np.arange(60), np.arange(60, 120))]
    ours, theirs = both(cv=cv, scoring=scoring)
    compare(ours.fit(X, y), theirs.fit(X, y))


def test_no_penalty_and_numbers_of_values():
    X, y = data(n=200, d=2)
    ours, theirs = both(Cs=[1.0, np.inf], cv=2)
    compare(ours.fit(X, y), theirs.fit(X, y), atol=1e-4)
    np.testing.assert_allclose(both(Cs=3, cv=2)[0].fit(X, y).Cs_, [1e-4, 1.0, 1e4])


def test_weights_are_routed_to_the_scorer():
    X, y = data()
    weights = np.linspace(0, 3, len(y))
    with config_context(enable_metadata_routing=True):
        scores = {}
        for asked in (True, False):
            scorer = get_scorer("accuracy").set_score_request(sample_weight=asked)
            ours, theirs = both(cv=3, scoring=scorer)
            compare(ours.fit(X, y, sample_weight=weights), theirs.fit(X, y, sample_weight=weights))
            scores[asked] = ours.scores_
    assert not np.allclose(scores[True], scores[False])


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_X_is_read_in_place(dtype):
    """Folds are weights: beside X there are the rows that are scored, and blocks."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 9, (20_000, 150)).astype(dtype)
    y = (X[:, 0] > 4).astype(int) + (X[:, 1] > 4)
    words = {"Cs": [1e-6, 1e-5], "max_iter": 2, "cv": 5, "use_legacy_attributes": False, "l1_ratios": (0,)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = fl.LogisticRegressionCV(**words, scoring="accuracy").fit(X[:500], y[:500])
        tracemalloc.start()
        model.fit(X, y)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 0.3 * X.nbytes + (12 << 20)  # in float64 X has 24 MB, and a fold 19
    assert model.coef_.dtype == np.float64


@pytest.mark.parametrize("words", [{"solver": "liblinear"}, {"sparse": True}, {"max_iter": 0}])
def test_what_is_not_ours_is_scikit_learns(words):
    X, y = data(2)
    words = {"random_state": 0, "cv": 2, "solver": "lbfgs", "max_iter": 1000, "tol": 1e-4} | words
    if words.pop("sparse", False):
        X = sparse.csr_array(X)
    ours, theirs = both(**words)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        np.testing.assert_array_equal(ours.fit(X, y).coef_, theirs.fit(X, y).coef_)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"Cs": -1}, "'Cs' parameter"),
        ({"Cs": [0.0]}, r"Cs\[0\] must be in \(0, inf\]"),
        ({"l1_ratios": [0.5]}, "Solver newton-cholesky supports only 'l2'"),
        ({"l1_ratios": [2.0], "solver": "saga"}, "l1_ratios must be"),
        ({"scoring": "speed"}, "'scoring' parameter"),
        ({"cv": 1000}, "n_splits"),
    ],
)
def test_errors(words, said):
    X, y = data(2)
    with pytest.raises(ValueError, match=said):
        both(**words)[0].fit(X, y)


def test_defaults_that_change_are_told():
    X, y = data(2, n=40)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        fl.LogisticRegressionCV(cv=2).fit(X, y)
    said = " ".join(str(warning.message) for warning in found if warning.category is FutureWarning)
    assert all(name in said for name in ("l1_ratios", "scoring", "use_legacy_attributes"))
    with pytest.warns(ConvergenceWarning, match=r"failed to converge in \d+ of 9 fits.*max_iter=1\)"):
        both(max_iter=1, cv=2)[0].fit(X, y)


def test_it_is_a_scikit_learn_classifier():
    model = both(cv=2)[0]
    assert isinstance(model, linear_model.LogisticRegressionCV)
    assert isinstance(model, fl.LogisticRegression)
    assert clone(model).get_params() == model.get_params() == both(cv=2)[1].get_params()
