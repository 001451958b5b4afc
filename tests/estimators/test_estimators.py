"""SoftmaxClassifier, SVMClassifier and LinearRegressor: their optimum, their words, their place in scikit-learn."""

import pickle
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

import fastlin as fl

pytest.importorskip("sklearn")

from sklearn import linear_model, svm
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

CLASSIFIERS = [fl.SoftmaxClassifier, fl.SVMClassifier]
ALL = [*CLASSIFIERS, fl.LinearRegressor]


def data(c=3, n=150, d=5, dtype="float64"):
    """Rows of c classes that overlap, with names as labels."""
    rng = np.random.default_rng(c)
    codes = rng.integers(0, c, n)
    X = rng.standard_normal((n, d)) + rng.standard_normal((c, d))[codes]
    return X.astype(dtype), np.array(["ant", "bee", "cat", "dog"])[codes]


# ---- The optimum ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("c", [2, 3])
def test_softmax_is_logistic_regression(c):
    X, y = data(c)
    C = 0.7
    theirs = linear_model.LogisticRegression(C=C, solver="newton-cholesky", tol=1e-12).fit(X, y)
    ours = fl.SoftmaxClassifier(reg=1 / (2 * C * len(y))).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), atol=1e-5)
    assert ours.predict(X).tolist() == theirs.predict(X).tolist()


@pytest.mark.parametrize("c", [2, 3])
def test_squared_one_vs_rest_is_linear_svc(c):
    """Without an intercept, which LinearSVC penalises."""
    X, y = data(c)
    theirs = svm.LinearSVC(C=0.5, fit_intercept=False, dual=False, tol=1e-10, max_iter=10_000).fit(X, y)
    ours = fl.SVMClassifier(variant="one_vs_rest", reg=1 / (2 * 0.5 * len(y)), fit_intercept=False).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(ours.intercept_, np.zeros(1 if c == 2 else c))


@pytest.mark.parametrize("columns", [None, 2])
def test_squared_error_is_ridge(columns):
    X, _ = data()
    Y = X @ np.arange(10.0).reshape(5, 2) + [1.0, -2.0] + np.sin(7 * X[:, :2])
    y = Y if columns else Y[:, 0]
    weights = np.linspace(0.5, 2, len(y))
    theirs = linear_model.Ridge(alpha=3.0).fit(X, y, weights)
    ours = fl.LinearRegressor(reg=3.0 / weights.sum()).fit(X, y, weights)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-6, atol=1e-7)
    assert ours.predict(X).shape == y.shape
    assert ours.score(X, y) == pytest.approx(theirs.score(X, y))


def test_huber_bears_an_outlier():
    x = np.linspace(0, 1, 50)[:, None]
    y = 3 * x[:, 0] + 1
    y[7] = 1000.0
    model = fl.LinearRegressor(loss="huber", delta=0.1, reg=0.0).fit(x, y)
    assert model.predict([[0.5]])[0] == pytest.approx(2.5, abs=0.1)


@pytest.mark.parametrize(
    ("words", "loss", "columns"),
    [
        ({"variant": "weston_watkins", "squared": False}, "svm", 3),
        ({"variant": "crammer_singer", "squared": False, "margin": 2.0}, "crammer_singer_svm", 3),
        ({"variant": "crammer_singer", "squared": False}, "one_vs_rest_svm", 1),
        ({"variant": "one_vs_rest", "squared": False}, "one_vs_rest_svm", 3),
        ({}, "squared_svm", 3),
        ({}, "squared_one_vs_rest_svm", 1),
    ],
)
def test_variants_name_the_losses_of_the_table(words, loss, columns):
    assert fl.SVMClassifier(**words)._loss(columns) == (loss, {"margin": words.get("margin", 1.0)})


def test_label_smoothing_is_that_of_the_loss():
    X, y = data(2)
    soft = fl.SoftmaxClassifier(reg=1e-6, label_smoothing=0.2).fit(X, y)
    hard = fl.SoftmaxClassifier(reg=1e-6).fit(X, y)
    assert soft.predict_proba(X).max() < hard.predict_proba(X).max()
    X, y = data(3)
    codes = np.unique(y, return_inverse=True)[1]
    model = fl.SoftmaxClassifier(label_smoothing=0.2).fit(X, y)
    W = np.vstack([model.coef_.T, model.intercept_])
    loss, dW = fl.softmax_loss(W, X, codes, reg=1e-3, bias=True, label_smoothing=0.2)
    assert loss == pytest.approx(model.loss_)
    assert np.abs(dW).max() < 1e-6


@pytest.mark.parametrize("kind", CLASSIFIERS)
@pytest.mark.parametrize("c", [2, 3])
def test_weights_count_rows(kind, c):
    """Of classes and of rows, and both: as if rows were repeated or left out."""
    X, y = data(c)
    counts = np.random.default_rng(5).integers(0, 4, len(y))
    of_class = {"ant": 2, "bee": 1, "cat": 3}
    weighted = kind(class_weight=of_class).fit(X, y, counts)
    repeats = counts * np.array([of_class[label] for label in y])
    repeated = kind().fit(np.repeat(X, repeats, axis=0), np.repeat(y, repeats))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-4, atol=1e-4)
    balanced = kind(class_weight="balanced").fit(X, y)
    shares = {label: 1.0 / (y == label).sum() for label in np.unique(y)}
    np.testing.assert_allclose(balanced.coef_, kind(class_weight=shares).fit(X, y).coef_, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_narrow_X_is_fitted_in_float64_without_a_copy(kind, dtype):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 30, (20_000, 200)).astype(dtype)
    y = (X[:, :2].sum(axis=1) > 29).astype(int) + (X[:, 3] > 15)
    kind(max_iter=2, tol=0.0).fit(X[:50], y[:50])  # what is imported and compiled at the first call
    tracemalloc.start()
    model = kind(max_iter=2, tol=0.0).fit(X, y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert model.coef_.dtype == np.float64
    assert peak < 0.25 * X.nbytes + (10 << 20)  # blocks of rows become float64; all of X would be 32 MB
    np.testing.assert_allclose(model._scores(X[:9]), model._scores(X[:9].astype(np.float64)), rtol=1e-12)


# ---- Steps ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
def test_sgd_takes_the_steps_of_train(kind):
    X, y = data(3)
    target = X[:, 0] if kind is fl.LinearRegressor else y
    optimizer = fl.Adam(0.05)
    model = kind(solver="sgd", optimizer=optimizer, epochs=7, batch_size=32, random_state=3).fit(X, target)
    assert optimizer.t == 0  # fit steps with a copy
    assert len(model.loss_curve_) == model.n_iter_ == 7
    assert model.loss_ == model.loss_curve_[-1] < model.loss_curve_[0]
    assert model.solver_ is None
    assert model.score(X, target) > 0.6
    again = clone(model).fit(X, target)
    np.testing.assert_array_equal(again.coef_, model.coef_)
    seed = int(np.random.RandomState(3).randint(2**31 - 1))
    coded = target if kind is fl.LinearRegressor else np.unique(y, return_inverse=True)[1]
    name, hyper = model._loss(1 if kind is fl.LinearRegressor else 3)
    result = fl.train(
        X, coded, loss=name, optimizer=fl.Adam(0.05), reg=1e-3, epochs=7, batch_size=32, seed=seed, **hyper
    )
    np.testing.assert_array_equal(np.atleast_2d(model.coef_), result.W[:-1].T)


@pytest.mark.parametrize("kind", ALL)
def test_early_stopping_holds_rows_out(kind):
    X, y = data(3)
    target = X[:, 0] if kind is fl.LinearRegressor else y
    words = {"solver": "sgd", "optimizer": fl.SGD(0.01), "epochs": 300, "batch_size": 8, "random_state": 0}
    model = kind(early_stopping=True, patience=2, **words).fit(X, target, np.linspace(0, 2, len(y)))
    assert model.n_iter_ < 300
    assert model.score(X, target) > 0.5


@pytest.mark.parametrize("kind", CLASSIFIERS)
@pytest.mark.parametrize("c", [2, 3])
def test_partial_fit_goes_on(kind, c):
    X, y = data(c, n=300)
    model = kind(optimizer=fl.Adam(0.05), batch_size=16)
    for _ in range(5):
        for rows in np.array_split(np.arange(300), 3):
            model.partial_fit(X[rows], y[rows], classes=["cat", "bee", "ant"][-c:])
    assert model.score(X, y) > 0.7
    assert len(model.loss_curve_) == 15
    assert pickle.loads(pickle.dumps(model)).partial_fit(X, y).n_iter_ == 16
    with pytest.raises(ValueError, match="classes"):
        model.partial_fit(X, y, classes=["ant", "emu"])
    with pytest.raises(ValueError, match="'emu'"):
        model.partial_fit(X[:1], ["emu"])
    with pytest.raises(ValueError, match="classes must be passed"):
        kind().partial_fit(X, y)
    with pytest.raises(ValueError, match="class_weight='balanced'"):
        kind(class_weight="balanced").partial_fit(X, y, classes=np.unique(y))


def test_partial_fit_of_a_regression():
    X, _ = data(n=300)
    y = X @ np.arange(5.0)
    model = fl.LinearRegressor(optimizer=fl.Adam(0.1), batch_size=16, reg=0.0)
    for _ in range(20):
        model.partial_fit(X, y)
    assert model.score(X, y) > 0.9


@pytest.mark.parametrize("solver", ["auto", "sgd"])
def test_partial_fit_after_fit(solver):
    """Rows of another dtype too, and a fit afterwards begins anew."""
    X, y = data()
    words = {"solver": solver, "optimizer": fl.Adam(0.05), "random_state": 0}
    model = fl.SoftmaxClassifier(**words).fit(X.astype("float32"), y)
    dtype = model.coef_.dtype
    before = model.score(X, y)
    model.partial_fit(X, y).partial_fit(X.astype("float16"), y, sample_weight=np.ones(len(y)))
    assert model.coef_.dtype == dtype == ("float32" if solver == "sgd" else "float64")
    assert model.score(X, y) > before - 0.1
    np.testing.assert_array_equal(model.fit(X, y).coef_, fl.SoftmaxClassifier(**words).fit(X, y).coef_)


def test_a_step_that_leaves_the_numbers_is_told():
    X, y = data()
    with (
        pytest.warns(RuntimeWarning, match="loss of epoch"),
        pytest.raises(ValueError, match="lower the optimizer's lr"),
    ):
        fl.SVMClassifier(solver="sgd", optimizer=fl.SGD(1e30), epochs=9).fit(1e9 * X, y)


# ---- Their words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"reg": -1.0}, "reg must be"),
        ({"fit_intercept": 1}, "fit_intercept must be True or False"),
        ({"solver": "adam"}, "solver must be one of 'auto', .*'sgd'"),
        ({"tol": -1.0}, "tol must be"),
        ({"max_iter": 0}, "max_iter must be"),
        ({"n_threads": 0}, "n_threads must be"),
        ({"backend": "julia"}, "backend must be"),
        ({"validation_fraction": 1.0}, "validation_fraction must be"),
        ({"solver": "sgd", "epochs": 0}, "epochs must be"),
        ({"solver": "sgd", "optimizer": "adam"}, "optimizer must"),
    ],
)
def test_bad_words_are_named(kind, words, said):
    X, y = data()
    with pytest.raises((ValueError, TypeError), match=said):
        kind(**words).fit(X, X[:, 0] if kind is fl.LinearRegressor else y)


def test_bad_words_of_one_class_are_named():
    X, y = data()
    with pytest.raises(ValueError, match="variant must be"):
        fl.SVMClassifier(variant="multi").fit(X, y)
    with pytest.raises(ValueError, match="squared=True is not for variant='crammer_singer'"):
        fl.SVMClassifier(variant="crammer_singer").fit(X, y)
    with pytest.raises(ValueError, match="loss must be"):
        fl.LinearRegressor(loss="softmax").fit(X, X[:, 0])
    with pytest.raises(ValueError, match="label_smoothing must be"):
        fl.SoftmaxClassifier(label_smoothing=2.0).fit(X, y)
    with pytest.raises(ValueError, match="class_weight"):
        fl.SoftmaxClassifier(class_weight={"ant": 0, "bee": 0, "cat": 0}).fit(X, y)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_bad_rows_are_named(kind):
    X, y = data()
    with pytest.raises(ValueError, match="one class only"):
        kind().fit(X, np.full(len(y), "ant"))
    with pytest.raises(ValueError, match="weight"):
        kind().fit(X, y, np.zeros(len(y)))
    for dtype in ("float64", "float32", "float16"):
        with pytest.raises(ValueError, match="NaN"):
            kind().fit(np.where(X > 2, np.nan, X).astype(dtype), y)


def test_too_few_iterations_are_told():
    X, y = data()
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        model = fl.SoftmaxClassifier(max_iter=1).fit(X, y)
    assert not model.solver_.converged


@pytest.mark.parametrize("kind", ALL)
def test_warm_start(kind):
    X, y = data()
    target = X[:, 0] if kind is fl.LinearRegressor else y
    model = kind(warm_start=True, tol=1e-5).fit(X, target)
    first = len(model.loss_curve_)
    assert len(model.fit(X, target).loss_curve_) < first
    with pytest.raises(ValueError, match="warm_start=True"):
        model.fit(X[:, :2], target)


# ---- Their place in scikit-learn --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
def test_in_pipelines_and_searches(kind):
    X, y = data()
    target = X[:, 0] + X[:, 1] if kind is fl.LinearRegressor else y
    search = GridSearchCV(make_pipeline(StandardScaler(), kind()), {f"{kind.__name__.lower()}__reg": [1e-3, 10.0]})
    assert search.fit(X, target).best_params_[f"{kind.__name__.lower()}__reg"] == 1e-3
    assert cross_val_score(kind(optimizer=fl.Adam()), X, target, n_jobs=2).mean() > 0.5


def test_names_of_columns_are_kept():
    pandas = pytest.importorskip("pandas")
    X, y = data()
    model = fl.SoftmaxClassifier().fit(pandas.DataFrame(X, columns=list("abcde")), y)
    assert model.feature_names_in_.tolist() == list("abcde")


def test_importing_fastlin_imports_no_scikit_learn():
    code = (
        "import sys, fastlin as fl; assert 'sklearn' not in sys.modules; assert 'SVMClassifier' in dir(fl);"
        "sys.modules['sklearn'] = None\n"
        "try: fl.SoftmaxClassifier\nexcept ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "fastlin[sklearn]" in done.stdout
    with pytest.raises(AttributeError, match="no attribute 'SoftmaxClasifier'"):
        _ = fl.SoftmaxClasifier


@pytest.mark.parametrize("c", [2, 3])
def test_pictures(c):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    X, y = data(c, d=12)
    model = fl.SoftmaxClassifier(tol=1e-4).fit(X, y)
    display = model.plot()
    assert display.ax_.get_xlabel() == "iteration"
    np.testing.assert_array_equal(display.ax_.lines[0].get_ydata(), model.loss_curve_)
    assert model.plot(ax=display.ax_).figure_ is display.figure_
    templates = model.plot(image_shape=(3, 2, 2))
    assert [ax.get_title() for ax in templates.ax_] == (["bee"] if c == 2 else ["ant", "bee", "cat"])
    assert model.plot(image_shape=(3, 4)).ax_.shape == (1 if c == 2 else 3,)
    with pytest.raises(ValueError, match="image_shape"):
        model.plot(image_shape=(5, 5))
    pyplot.close("all")
