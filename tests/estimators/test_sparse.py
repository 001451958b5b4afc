"""Estimators on sparse X: the fits of dense X, without a dense copy, in scikit-learn's pipelines too."""

import pickle
import tracemalloc
import warnings

import numpy as np
import pytest

import fastlin as fl

scipy_sparse = pytest.importorskip("scipy.sparse")
pytest.importorskip("sklearn")

from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer  # noqa: E402  (the check comes first)
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder, StandardScaler  # noqa: E402

N, D, C = 151, 37, 4
RNG = np.random.default_rng(0)
DENSE = RNG.poisson(0.3, (N, D)) * np.linspace(0.1, 3.0, D)
Y = (DENSE @ RNG.standard_normal((D, C)) + RNG.gumbel(size=(N, C))).argmax(axis=1)
WEIGHT = RNG.uniform(0.5, 1.5, N)
ESTIMATORS = {
    "softmax": lambda: fl.SoftmaxClassifier(reg=2e-3, label_smoothing=0.1),
    "svm": lambda: fl.SVMClassifier(reg=2e-3, margin=0.7),
    "logistic": lambda: fl.LogisticRegression(C=0.7, tol=1e-10, max_iter=3000),
    "regressor": lambda: fl.LinearRegressor(loss="huber", delta=0.6, reg=2e-3),
    "steps": lambda: fl.SoftmaxClassifier(solver="sgd", optimizer=fl.AdaGrad(0.1), epochs=3, random_state=1),
}
FORMS = ("csr_array", "csr_matrix", "csc_array", "coo_array")


def read_only(X):
    for array in (X.data, *((X.indices, X.indptr) if hasattr(X, "indptr") else ())):
        array.flags.writeable = False
    return X


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_fit_of_dense_rows(name, form):
    X = read_only(getattr(scipy_sparse, form)(DENSE))
    dense, found = (ESTIMATORS[name]().fit(rows, Y, sample_weight=WEIGHT) for rows in (DENSE, X))
    np.testing.assert_allclose(found.coef_, dense.coef_, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.intercept_, dense.intercept_, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.predict(X), found.predict(DENSE), rtol=1e-12)
    assert found.score(X, Y) == pytest.approx(found.score(DENSE, Y), rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8"])
def test_numbers_of_other_types(dtype):
    X = scipy_sparse.csr_array(np.round(DENSE * 4).astype(dtype))
    found = fl.SoftmaxClassifier(reg=1e-2).fit(X, Y)
    expected = fl.SoftmaxClassifier(reg=1e-2).fit(X.toarray().astype(float), Y)
    np.testing.assert_allclose(found.coef_, expected.coef_, rtol=1e-4, atol=1e-6)
    assert found.coef_.dtype == np.float64


@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0])
def test_the_smallest_subgradient_is_zero(ratio):
    """scikit-learn's objective, with more columns than rows: these are scaled and centred, not made white."""
    X = scipy_sparse.random_array((80, 1500), density=0.04, rng=np.random.default_rng(2), format="csr")
    y = np.arange(80) % 3
    solver = "saga" if ratio else "lbfgs"
    model = fl.LogisticRegression(C=30.0, l1_ratio=ratio, solver=solver, tol=1e-9, max_iter=3000).fit(X, y)
    S = X @ model.coef_.T + model.intercept_
    P = np.exp(S - S.max(axis=1, keepdims=True))
    P /= P.sum(axis=1, keepdims=True)
    G = (P - np.eye(3)[y]) / 80  # of the mean loss in the scores
    strength, coef = 1 / (30.0 * 80), model.coef_.T
    slope = X.T @ G + strength * (1 - ratio) * coef
    at_zero = np.maximum(np.abs(slope) - strength * ratio, 0)
    slope = np.where(coef == 0, at_zero, slope + strength * ratio * np.sign(coef))
    assert np.abs(slope).max() < 1e-8
    assert np.abs(G.sum(axis=0)).max() < 1e-8
    assert (np.mean(coef == 0) > 0.8) == (ratio > 0)


def test_weights_made_sparse_and_dense():
    X = scipy_sparse.csr_array(DENSE)
    model = fl.SoftmaxClassifier(reg=fl.L1(3e-2)).fit(X, Y)
    coef, scores = model.coef_, model.decision_function(X)
    assert 0.2 < np.mean(coef == 0) < 1
    assert model.sparsify() is model
    assert scipy_sparse.issparse(model.coef_)
    assert model.coef_.nnz == np.count_nonzero(coef)
    for each in (model, pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(each.decision_function(X), scores)
    np.testing.assert_array_equal(model.densify().coef_, coef)
    model.set_params(warm_start=True).sparsify().fit(X, Y)
    np.testing.assert_allclose(model.coef_, coef, atol=1e-5)
    model.sparsify().partial_fit(X, Y)
    assert isinstance(model.coef_, np.ndarray)


def test_weights_of_a_regression_made_sparse_and_dense():
    model = fl.LinearRegressor(reg=fl.L1(3e-2)).fit(scipy_sparse.csr_array(DENSE), DENSE[:, 3])
    coef, values = model.coef_, model.predict(DENSE)
    np.testing.assert_array_equal(model.sparsify().predict(DENSE), values)
    np.testing.assert_array_equal(model.densify().predict(DENSE), values)
    np.testing.assert_array_equal(model.coef_, coef)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_numbers_that_are_none_are_refused(name):
    X = scipy_sparse.csr_array(DENSE)
    X.data[7] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        ESTIMATORS[name]().fit(X, Y)


def test_indices_outside_are_refused():
    X = scipy_sparse.csr_array(DENSE)
    X.indices[5] = D
    with pytest.raises(ValueError, match=r"X\.indices\[5\] = 37 .* is out of range"):
        fl.SoftmaxClassifier().fit(X, Y)


# ---- Memory -------------------------------------------------------------------------------------------------


def peak(run):
    """Bytes that NumPy and Python ask for at once."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("penalty", ["L2", "L1"])
def test_memory_of_many_columns(penalty):
    """O(d c) numbers: those of W, its gradient, 5 pairs of L-BFGS and what a step makes beside them."""
    n, d, c = 300, 1 << 17, 3
    rng = np.random.default_rng(0)
    X = scipy_sparse.csr_array(
        (rng.random(n * 20, np.float32), rng.integers(0, d, n * 20), np.arange(0, n * 20 + 1, 20)), shape=(n, d)
    )
    reg = 1e-3 if penalty == "L2" else fl.L1(1e-3)
    model = fl.SoftmaxClassifier(reg=reg, max_iter=12, tol=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        used = peak(lambda: model.fit(X, np.arange(n) % c))
    assert used <= 36 * d * c * 8
    assert model.score(X, np.arange(n) % c) > 0.9


def texts(n):
    rng = np.random.default_rng(0)
    words = np.array([f"word{i}" for i in range(4000)])
    y = rng.integers(0, 3, n)
    drawn = [" ".join(words[np.minimum(rng.zipf(1.3, 15) + 7 * k, 3999)]) for k in y]
    return drawn, y


PIPELINES = {
    "tf-idf": lambda: [TfidfVectorizer()],
    "hashing": lambda: [HashingVectorizer(n_features=1 << 14), MaxAbsScaler()],
    "scaled": lambda: [TfidfVectorizer(), StandardScaler(with_mean=False)],
}


@pytest.mark.parametrize("name", PIPELINES)
def test_pipelines_of_text_stay_sparse(name):
    """A dense X alone would take more than all that the fit does."""
    rows, y = texts(3000)
    steps = PIPELINES[name]()
    X = make_pipeline(*steps).fit_transform(rows, y)
    model = make_pipeline(*steps, fl.SoftmaxClassifier(reg=1e-3, max_iter=60, tol=1e-3)).fit(rows, y)
    assert model.score(rows, y) > 0.75
    last = model[-1]
    used = peak(lambda: last.fit(X, y))
    assert used < X.shape[0] * X.shape[1] * 8 / 2
    assert peak(lambda: last.predict(X)) < X.shape[0] * X.shape[1] * 8 / 10


def test_pipeline_of_one_hot_columns():
    rng = np.random.default_rng(0)
    table = rng.integers(0, 500, (4000, 6))
    y = (table % 7 == 0).sum(axis=1) > 0
    model = make_pipeline(OneHotEncoder(), fl.LogisticRegression(C=10.0)).fit(table, y)
    assert model.score(table, y) > 0.95
    X = model[0].transform(table)
    assert peak(lambda: model[-1].fit(X, y)) < X.shape[0] * X.shape[1] * 8 / 4


def test_float32_rows_are_not_copied():
    """A fit in float64 reads float32 numbers where they lie."""
    n, d = 20_000, 50
    X = scipy_sparse.random_array((n, d), density=0.5, rng=np.random.default_rng(0), dtype=np.float32, format="csr")
    model = fl.SoftmaxClassifier(max_iter=3, tol=1.0)
    assert peak(lambda: model.fit(X, np.arange(n) % 3)) - 8 * n * 16 < X.data.nbytes + X.indices.nbytes
