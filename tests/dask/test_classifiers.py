"""Classifiers over dask arrays: fits have the bits of parts, predictions are lazy and those of arrays."""

import importlib
import pickle

import numpy as np
import pytest

import fastlin as fl

da = pytest.importorskip("dask.array")
pytest.importorskip("sklearn")
fd = importlib.import_module("fastlin.dask")

ROWS = 40


def data(classes=3):
    rng = np.random.default_rng(3)
    codes = rng.integers(0, classes, 211)
    X = rng.standard_normal((211, 6)) + np.eye(classes, 6)[codes]
    return X, np.array(["ant", "bee", "cat"])[codes], rng.uniform(0.5, 1.5, 211)


def cut(*arrays):
    """In chunks of ROWS, and those beside X in others."""
    return [da.from_array(A, chunks=(ROWS, -1) if A.ndim == 2 else 37) for A in arrays]


def parts(*arrays):
    return fl.Parts([tuple(A[i : i + ROWS] for A in arrays) for i in range(0, len(arrays[0]), ROWS)])


MODELS = {
    "softmax": ("SoftmaxClassifier", {"reg": 0.01, "label_smoothing": 0.1}),
    "balanced": ("SoftmaxClassifier", {"reg": 0.01, "class_weight": "balanced", "fit_intercept": False}),
    "svm": ("SVMClassifier", {"reg": 0.01, "margin": 0.7, "class_weight": {"ant": 2.0}}),
    "logistic": ("LogisticRegression", {"C": 0.7, "class_weight": "balanced"}),
    "l1": ("LogisticRegression", {"C": 0.3, "l1_ratio": 1.0, "solver": "saga", "max_iter": 500}),
}


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", MODELS)
def test_a_classifier_is_that_of_parts(name, classes):
    kind, given = MODELS[name]
    X, y, weight = data(classes)
    model, plain = getattr(fd, kind)(**given), getattr(fl, kind)(**given)
    DX, Dy, Dw = cut(X, y, weight)
    assert model.fit(DX, Dy, Dw) is model
    plain.fit(parts(X, y, weight))
    assert type(model.coef_) is np.ndarray
    assert model.coef_.tobytes() == plain.coef_.tobytes()
    assert model.intercept_.tobytes() == plain.intercept_.tobytes()
    for method in ("predict", "decision_function", "predict_proba", "predict_log_proba"):
        if not hasattr(plain, method):
            assert not hasattr(model, method)
            continue
        lazy, expected = getattr(model, method)(DX), getattr(plain, method)(X)
        assert isinstance(lazy, da.Array)
        assert (lazy.shape, lazy.dtype, lazy.chunks[0]) == (expected.shape, expected.dtype, DX.chunks[0])
        np.testing.assert_allclose(lazy.compute(), expected, rtol=1e-12) if expected.dtype.kind == "f" else None
        assert type(getattr(model, method)(X)) is np.ndarray
    assert (model.predict(DX).compute() == plain.predict(X)).all()
    for weights in ((None, None), (Dw, weight)):
        score = model.score(DX, Dy, weights[0])
        assert isinstance(score, da.Array)
        assert float(score) == pytest.approx(plain.score(X, y, weights[1]), rel=1e-12)
    assert model.score(X, y) == plain.score(X, y)


@pytest.mark.parametrize("name", ["softmax", "logistic"])
def test_sparse_blocks(name):
    sparse = pytest.importorskip("scipy.sparse")
    kind, given = MODELS[name]
    X, y, weight = data()
    X = np.where(X > 0.3, X, 0)
    DX, Dy, Dw = cut(X, y, weight)
    DX = DX.map_blocks(sparse.csr_matrix, meta=sparse.csr_matrix((0, 0)))
    model, plain = getattr(fd, kind)(**given).fit(DX, Dy, Dw), getattr(fl, kind)(**given)
    ends = range(0, len(X), ROWS)
    pieces = [(sparse.csr_matrix(X[i : i + ROWS]), y[i : i + ROWS], weight[i : i + ROWS]) for i in ends]
    plain.fit(fl.Parts(pieces))
    assert model.coef_.tobytes() == plain.coef_.tobytes()
    assert (model.predict(DX).compute() == model.predict(X)).all()
    np.testing.assert_allclose(model.predict_proba(DX).compute(), model.predict_proba(X), rtol=1e-12)
    assert float(model.score(DX, Dy, Dw)) == pytest.approx(model.score(X, y, weight), rel=1e-12)


def test_predictions_are_of_the_model_as_it_was():
    X, y, _ = data()
    DX, Dy = cut(X, y)
    model = fd.SoftmaxClassifier().fit(DX, Dy)
    expected, lazy = model.predict(X), model.predict(DX)
    model.fit(DX, da.roll(Dy, 1))
    assert (lazy.compute() == expected).all()


def test_chunks_of_no_rows_and_of_unknown_sizes():
    X, y, _ = data()
    DX, Dy = cut(X, y)
    model = fd.SoftmaxClassifier().fit(DX, Dy)
    few = DX[da.from_array(np.arange(211) < 50, chunks=ROWS)]
    assert (model.predict(few).compute() == model.predict(X[:50])).all()
    assert model.predict_proba(few).compute().shape == (50, 3)
    assert model.score(few, Dy[:50]).compute() == model.score(X[:50], y[:50])


def test_what_is_refused():
    X, y, weight = data()
    DX, Dy, Dw = cut(X, y, weight)
    model = fd.SoftmaxClassifier()
    with pytest.raises(ValueError, match="solver='sgd' takes one step after the other"):
        fd.SVMClassifier(solver="sgd").fit(DX, Dy)
    with pytest.raises(TypeError, match="X must be a dask array"):
        model.fit(X, Dy)
    with pytest.raises(ValueError, match="chunks of columns"):
        model.fit(DX.rechunk((ROWS, 2)), Dy)
    with pytest.raises(ValueError, match=r"y has rows of one class only, .*ant"):
        model.fit(DX, da.from_array(np.full(211, "ant"), chunks=ROWS))
    with pytest.raises(ValueError, match="sample_weight has a negative"):
        model.fit(DX, Dy, Dw - 0.6)
    with pytest.raises(TypeError, match=r"client must be a distributed\.Client or None"):
        model.fit(DX, Dy, client="tcp://x")
    assert not hasattr(model, "coef_")
    model.fit(DX, Dy, Dw)
    with pytest.raises(ValueError, match="X has 5 features, but SoftmaxClassifier is expecting 6"):
        model.predict(DX[:, :5])
    with pytest.raises(ValueError, match="chunks of columns"):
        model.predict(DX.rechunk((ROWS, 2)))
    with pytest.raises(ValueError, match=r"X has 211 rows but y has shape \(200,\)"):
        model.score(DX, Dy[:200])


def test_it_is_an_estimator():
    from sklearn.base import clone

    X, y, _ = data()
    model = clone(fd.SVMClassifier(margin=0.5)).fit(*cut(X, y))
    assert model.get_params()["margin"] == 0.5
    again = pickle.loads(pickle.dumps(model))
    assert (again.predict(X) == model.predict(X)).all()


def test_partial_fit_by_dask_ml():
    """Its Incremental calls our partial_fit for one chunk after the other."""
    wrappers = pytest.importorskip("dask_ml.wrappers", exc_type=ImportError)
    X, y, _ = data()
    DX, Dy = da.from_array(X, chunks=(ROWS, -1)), da.from_array(y, chunks=ROWS)
    found = wrappers.Incremental(fl.SoftmaxClassifier(), shuffle_blocks=False)
    found.fit(DX, Dy, classes=np.unique(y))
    model = fl.SoftmaxClassifier()
    for some, labels, _ in parts(X, y):
        model.partial_fit(some, labels, classes=np.unique(y))
    assert found.estimator_.coef_.tobytes() == model.coef_.tobytes()
    assert (found.predict(DX).compute() == model.predict(X)).all()
