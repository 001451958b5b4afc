"""Estimators fitted to parts are those fitted to all rows."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastlin as fl

pytest.importorskip("sklearn")


def data(c=3):
    rng = np.random.default_rng(0)
    y = rng.integers(0, c, 303)
    X = rng.standard_normal((303, 6)) + np.eye(c, 6)[y]
    return X, np.array(["ant", "bee", "cat"])[y], rng.uniform(0.5, 1.5, 303)


def parts_of(*arrays, ends=(0, 100, 100, 130, 303)):
    return fl.Parts([tuple(A[a:b] for A in arrays) for a, b in itertools.pairwise(ends)])


CLASSIFIERS = {
    "softmax": fl.SoftmaxClassifier(reg=0.01, label_smoothing=0.1),
    "balanced": fl.SoftmaxClassifier(reg=0.01, class_weight="balanced"),
    "svm": fl.SVMClassifier(reg=0.01, margin=0.7, class_weight={"ant": 2.0}),
    "logistic": fl.LogisticRegression(C=0.7, class_weight="balanced", tol=1e-9),
    "l1": fl.LogisticRegression(C=0.3, l1_ratio=1.0, solver="saga", tol=1e-9, max_iter=2000),
}


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_is_that_of_all_rows(name, classes):
    X, y, weight = data(classes)
    model = CLASSIFIERS[name]
    model.fit(X, y, weight)
    coef, intercept, predicted, proba = model.coef_, model.intercept_, model.predict(X), None
    if hasattr(model, "predict_proba"):
        proba = model.predict_proba(X)
    parts = parts_of(X, y, weight)
    assert model.fit(parts) is model
    assert model.classes_.tolist() == ["ant", "bee", "cat"][:classes]
    assert model.n_features_in_ == 6
    np.testing.assert_allclose(model.coef_, coef, atol=1e-6)
    np.testing.assert_allclose(model.intercept_, intercept, atol=1e-6)
    np.testing.assert_array_equal(model.predict(parts), predicted)
    if proba is not None:
        np.testing.assert_allclose(model.predict_proba(parts), proba, atol=1e-6)


@pytest.mark.parametrize("columns", [1, 2])
def test_a_regressor_is_that_of_all_rows(columns):
    X, _, weight = data()
    y = X[:, 0] * 2 + 1 if columns == 1 else X[:, :2] * 3
    model = fl.LinearRegressor(reg=0.01, loss="huber", delta=0.5)
    coef = model.fit(X, y, weight).coef_
    parts = parts_of(X, y, weight)
    np.testing.assert_allclose(model.fit(parts).coef_, coef, atol=1e-8)
    np.testing.assert_allclose(model.predict(parts), model.predict(X), rtol=1e-12)


@pytest.mark.parametrize("columns", [1, 2])
def test_the_score_of_a_regressor_is_r2(columns):
    """scikit-learn's r2_score over all rows, a column of y constant; and a part whose rows have no weight."""
    from sklearn.metrics import r2_score

    X, _, weight = data()
    y = X[:, 0] * 2 + 1e3 if columns == 1 else np.column_stack([X[:, 0], np.full(303, 5.0)])
    weight[100:130] = 0
    model = fl.LinearRegressor(reg=0.3).fit(X, y, weight)
    expected = r2_score(y, model.predict(X), sample_weight=weight)
    assert model.score(parts_of(X, y, weight)) == pytest.approx(expected, rel=1e-9)
    assert model.score(parts_of(X, y)) == pytest.approx(model.score(X, y), rel=1e-9)
    with pytest.raises(ValueError, match=r"the weight 0\.0 together; a score needs a positive one"):
        model.score(parts_of(X, y, np.zeros(303)))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_score_of_a_classifier_is_the_weighted_share(name):
    X, y, weight = data()
    model = CLASSIFIERS[name].fit(X, y)
    y = np.where(np.arange(303) % 7 == 0, "eel", y)  # a label that no fit has seen
    hits = model.predict(X) == y
    assert model.score(parts_of(X, y, weight)) == pytest.approx((hits * weight).sum() / weight.sum(), rel=1e-12)
    assert model.score(parts_of(X, y)) == pytest.approx(hits.mean(), rel=1e-12)
    with ThreadPoolExecutor(3) as threads:
        assert model.score(parts_of(X, y, weight).on(threads)) == model.score(parts_of(X, y, weight))
    with pytest.raises(ValueError, match="y comes with the parts"):
        model.score(parts_of(X, y), y)
    with pytest.raises(ValueError, match="part 0: it has X alone"):
        model.score(parts_of(X))


def test_rows_of_weight_zero_are_as_if_they_were_not_there():
    X, y, weight = data()
    weight[y == "bee"] = 0.0
    model = fl.SoftmaxClassifier(reg=0.01).fit(parts_of(X, y, weight))
    assert model.classes_.tolist() == ["ant", "cat"]
    keep = y != "bee"
    np.testing.assert_allclose(
        model.coef_, fl.SoftmaxClassifier(reg=0.01).fit(X[keep], y[keep], weight[keep]).coef_, atol=1e-8
    )


def test_steps_and_workers():
    X, y, weight = data()
    model = fl.SVMClassifier(solver="sgd", random_state=3, epochs=5, optimizer=fl.Adam(0.05))
    parts = parts_of(X, y, weight)
    assert (model.fit(parts).predict(parts) == y).mean() > 0.6
    coef = fl.SoftmaxClassifier().fit(parts).coef_
    with ThreadPoolExecutor(3) as threads:
        np.testing.assert_array_equal(fl.SoftmaxClassifier().fit(parts.on(threads)).coef_, coef)


def test_what_estimators_refuse():
    X, y, weight = data()
    parts, model = parts_of(X, y), fl.SoftmaxClassifier()
    with pytest.raises(ValueError, match="y comes with the parts"):
        model.fit(parts, y)
    with pytest.raises(ValueError, match="sample_weight comes with the parts"):
        fl.LinearRegressor().fit(parts_of(X, X[:, 0]), sample_weight=weight)
    with pytest.raises(ValueError, match="y has rows of one class only"):
        model.fit(parts_of(X, np.full(303, "ant")))
    with pytest.raises(ValueError, match="part 3: sample_weight has a negative"):
        model.fit(parts_of(X, y, np.where(np.arange(303) == 200, -0.5, weight)))
    with pytest.raises(ValueError, match=r"sample_weight has the sum 0\.0"):
        model.fit(parts_of(X, y, np.zeros(303)))
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        model.fit(parts_of(X, X[:, 0]))
    with pytest.raises(ValueError, match="early_stopping=True holds out rows of an array"):
        fl.SVMClassifier(solver="sgd", early_stopping=True).fit(parts)
    with pytest.raises(ValueError, match="is fitted by scikit-learn, which takes no Parts"):
        fl.LogisticRegression(solver="liblinear").fit(parts)
    with pytest.raises(ValueError, match="y must hold numbers"):
        fl.LinearRegressor().fit(parts)
    labels = iter(["bee", "bee", "cat"])
    with pytest.raises(ValueError, match=r"part 1: y has the label .*cat.*, which no row had at the first look"):
        model.fit(fl.Parts([(X, np.full(303, "ant")), lambda: (X, np.full(303, next(labels)))]))
