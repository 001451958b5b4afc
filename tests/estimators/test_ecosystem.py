"""Our estimators inside scikit-learn's tools, and on other packages' frames and files."""

import pickle

import numpy as np
import pytest

import fastlin as fl

pytest.importorskip("sklearn")

from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import StackingClassifier
from sklearn.feature_selection import SelectFromModel
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

QUIET = {"l1_ratios": (0,), "scoring": "accuracy", "use_legacy_attributes": False}
CLASSIFIERS = [
    fl.SoftmaxClassifier(reg=0.02),
    fl.SVMClassifier(variant="one_vs_rest", reg=0.02),
    fl.LogisticRegression(C=0.3),
    fl.LogisticRegressionCV(Cs=[0.3], cv=2, **QUIET),
]
ALL = [*CLASSIFIERS, fl.LinearRegressor(reg=0.02)]
NAMES = list("abcde")


def data(estimator, n=150, d=5):
    """Rows, and three names as labels or a number that they tell."""
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 3, n)
    X = rng.standard_normal((n, d)) + rng.standard_normal((3, d))[codes]
    return X, X @ np.arange(d) if isinstance(estimator, fl.LinearRegressor) else np.array(["ant", "bee", "cat"])[codes]


@pytest.mark.parametrize("estimator", ALL, ids=lambda found: type(found).__name__)
class TestEveryEstimator:
    def test_jobs_find_what_one_process_finds(self, estimator):
        X, y = data(estimator)
        name = next(name for name in ("reg", "C", "max_iter") if name in estimator.get_params())
        grid = {name: [300, 400] if name == "max_iter" else [1e-3, 1.0]}
        alone, together = (GridSearchCV(estimator, grid, cv=3, n_jobs=jobs).fit(X, y) for jobs in (None, 2))
        np.testing.assert_array_equal(
            alone.cv_results_["mean_test_score"], together.cv_results_["mean_test_score"]
        )  # the same bits, though workers have fewer threads
        np.testing.assert_array_equal(alone.best_estimator_.coef_, together.best_estimator_.coef_)
        assert cross_val_score(estimator, X, y, cv=3, n_jobs=2).min() > 0.5

    @pytest.mark.parametrize("kind", ["pandas", "polars"])
    def test_frames(self, estimator, kind):
        """The fit of the array; names are kept, and other names are refused."""
        package = pytest.importorskip(kind)
        X, y = data(estimator)
        frame, column = package.DataFrame(dict(zip(NAMES, X.T, strict=True))), package.Series(y)
        model = clone(estimator).fit(frame, column)
        expected = clone(estimator).fit(np.asfortranarray(X), y)
        np.testing.assert_allclose(model.coef_, expected.coef_, rtol=1e-9, atol=1e-12)
        assert model.feature_names_in_.tolist() == NAMES
        with pytest.warns(UserWarning, match="feature names"):
            of_array = model.predict(frame.to_numpy())
        np.testing.assert_array_equal(model.predict(frame), of_array)
        with pytest.raises(ValueError, match="feature names"):
            model.predict(package.DataFrame(dict(zip(reversed(NAMES), X.T, strict=True))))

    @pytest.mark.parametrize("kind", ["pandas", "polars"])
    def test_a_pipeline_that_hands_frames_on(self, estimator, kind):
        package = pytest.importorskip(kind)
        X, y = data(estimator)
        frame = package.DataFrame(dict(zip(NAMES, X.T, strict=True)))
        pipeline = make_pipeline(StandardScaler(), clone(estimator)).set_output(transform=kind)
        assert pipeline.fit(frame, y)[-1].feature_names_in_.tolist() == NAMES
        assert pipeline.score(frame, y) > 0.6

    def test_weights_are_routed(self, estimator):
        X, y = data(estimator)
        weights = np.random.default_rng(0).uniform(0, 3, len(y))
        with config_context(enable_metadata_routing=True):
            asks = clone(estimator).set_fit_request(sample_weight=True)
            if isinstance(estimator, fl.LogisticRegressionCV):
                asks.set_params(scoring=get_scorer("accuracy").set_score_request(sample_weight=True))
            pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), asks).fit(
                X, y, sample_weight=weights
            )
            with pytest.raises(ValueError, match="sample_weight"):
                cross_validate(clone(estimator), X, y, params={"sample_weight": weights})
        plain = clone(estimator).fit(StandardScaler().fit_transform(X), y, sample_weight=weights)
        np.testing.assert_allclose(pipeline[-1].coef_, plain.coef_, rtol=1e-9, atol=1e-12)
        unweighted = clone(estimator).fit(StandardScaler().fit_transform(X), y)
        assert not np.allclose(plain.coef_, unweighted.coef_, rtol=1e-4)

    def test_files(self, estimator, tmp_path):
        """Pickle's, joblib's and skops' give the same predictions; skops asks to trust what is ours alone."""
        joblib, X, y = pytest.importorskip("joblib"), *data(estimator)
        model = clone(estimator).fit(X, y)
        joblib.dump(model, tmp_path / "model.joblib")
        loaded = [pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "model.joblib")]
        skops = pytest.importorskip("skops.io", exc_type=ImportError)
        skops.dump(model, tmp_path / "model.skops")
        ours = skops.get_untrusted_types(file=tmp_path / "model.skops")
        assert all(name.startswith(("fastlin.", "sklearn.")) for name in ours), ours
        loaded.append(skops.load(tmp_path / "model.skops", trusted=ours))
        for again in loaded:
            np.testing.assert_array_equal(again.predict(X), model.predict(X))
            assert again.get_params().keys() == model.get_params().keys()

    def test_clones_are_not_fitted(self, estimator):
        X, y = data(estimator)
        model = clone(estimator).fit(X, y)
        again = clone(model)
        assert not hasattr(again, "coef_")
        np.testing.assert_array_equal(again.fit(X, y).coef_, model.coef_)

    def test_columns_are_selected_by_coef(self, estimator):
        X, y = data(estimator)
        assert 1 <= SelectFromModel(clone(estimator)).fit(X, y).transform(X).shape[1] < 5


@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=lambda found: type(found).__name__)
def test_around_classifiers(estimator):
    X, y = data(estimator)
    assert OneVsRestClassifier(estimator).fit(X, y).score(X, y) > 0.6
    P = CalibratedClassifierCV(estimator, cv=3).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(P.sum(axis=1), 1.0)
    stacked = StackingClassifier([("first", estimator)], final_estimator=fl.SoftmaxClassifier())
    assert stacked.fit(X, y).score(X, y) > 0.6


def test_columns_of_words_and_numbers():
    pandas = pytest.importorskip("pandas")
    X, y = data(None)
    frame = pandas.DataFrame(X[:, :2], columns=["a", "b"]).assign(word=np.where(X[:, 2] > 0, "up", "down"))
    columns = make_column_transformer((StandardScaler(), ["a", "b"]), (OneHotEncoder(sparse_output=False), ["word"]))
    assert make_pipeline(columns, fl.SoftmaxClassifier()).fit(frame, y).score(frame, y) > 0.6
