"""Every estimator passes scikit-learn's check_estimator, without an expected failure."""

import warnings

import pytest

import fastlin as fl

checks = pytest.importorskip("sklearn.utils.estimator_checks")

ESTIMATORS = [
    fl.SoftmaxClassifier(),
    fl.SVMClassifier(),
    fl.SVMClassifier(variant="one_vs_rest"),
    fl.LinearRegressor(),
    fl.LogisticRegression(),
    fl.LogisticRegressionCV(Cs=3, cv=2),
    fl.LogisticRegression(C=10.0, tol=1e-12, max_iter=10_000),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_check_estimator(estimator):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # checks fit to noise, with few iterations
        found = checks.check_estimator(estimator, on_fail=None)
    failed = {row["check_name"]: row["exception"] for row in found if row["status"] not in {"passed", "skipped"}}
    assert failed == {}
    assert len(found) > 50
