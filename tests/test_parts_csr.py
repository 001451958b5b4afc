"""Parts of sparse rows: losses, fits, training, predictions and estimators are those of the same rows at once."""

import functools
import itertools
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

import fastlin as fl
from fastlin.parts import bring_in, read

sparse = pytest.importorskip("scipy.sparse")
N, D, C = 303, 41, 4
ENDS = (0, 100, 100, 130, N)


def data(dtype=np.float64, kind=sparse.csr_array, seed=0):
    """Sparse rows, some of them and a column without entries, with labels that they tell something about."""
    rng = np.random.default_rng([seed, 7])
    y = rng.integers(0, C, N)
    A = (rng.standard_normal((N, D)) + 2 * np.eye(C, D)[y]) * (rng.random((N, D)) < 0.2)
    A[40:43] = 0
    A[:, 5] = 0
    return kind(A.astype(dtype)), y, rng.uniform(0.5, 1.5, N)


def parts_of(X, *others, ends=ENDS):
    return fl.Parts([(X[a:b], *(A[a:b] for A in others)) for a, b in itertools.pairwise(ends)])


# ---- Losses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csr_matrix])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_formula(kind, dtype):
    """The softmax loss by NumPy alone, with W of both orders."""
    X, y, weight = data(dtype, kind)
    W = np.random.default_rng(1).standard_normal((D + 1, C)).astype(dtype)
    A = X.toarray().astype(np.float64)
    S = A @ W[:D] + W[D]
    P = np.exp(S) / np.exp(S).sum(axis=1, keepdims=True)
    expected = -(weight * np.log(P[np.arange(N), y])).mean() + 0.03 * np.square(W[:D], dtype=np.float64).sum()
    P[np.arange(N), y] -= 1
    G = P * weight[:, None] / N
    gradient = np.vstack([A.T @ G + 0.06 * W[:D], G.sum(axis=0)])
    close = 2e-5 if dtype is np.float32 else 1e-11
    for own in (W, np.asfortranarray(W)):
        loss, dW = fl.softmax_loss(own, parts_of(X, y, weight), reg=0.03, bias=True)
        assert dW.dtype == dtype
        assert loss == pytest.approx(expected, rel=close)
        np.testing.assert_allclose(dW, gradient, rtol=50 * close, atol=close)


def test_other_numbers_and_forms():
    """int64 indices, unsorted and twice; int8 numbers; and any object with the attributes of CSR."""
    X, y, _ = data(np.float32)
    W = np.random.default_rng(1).standard_normal((D, C)).astype(np.float32)
    rng = np.random.default_rng(2)
    order = np.concatenate([a + rng.permutation(b - a) for a, b in itertools.pairwise(X.indptr)])
    mixed = sparse.csr_array((X.data[order], X.indices[order].astype(np.int64), X.indptr.astype(np.int64)), X.shape)

    class Own:
        data, indices, indptr, shape = mixed.data, mixed.indices, mixed.indptr, mixed.shape

    expected = fl.svm_loss(W, X, y)
    for given in (fl.Parts([(mixed, y)]), fl.Parts([(Own(), y)])):
        loss, dW = fl.svm_loss(W, given)
        assert loss == pytest.approx(expected[0], rel=1e-6)
        np.testing.assert_allclose(dW, expected[1], rtol=1e-4, atol=1e-6)
    whole = sparse.csr_array(np.sign(X.toarray()).astype(np.int8))
    assert fl.svm_loss(W, parts_of(whole, y))[0] == pytest.approx(fl.svm_loss(W, whole, y)[0], rel=1e-6)


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_workers_change_no_bits(pool):
    X, y, weight = data()
    parts = fl.Parts.from_arrays(X, y, weight, rows=37)
    given = {"solver": "scaled-lbfgs", "reg": 0.01, "max_iter": 5, "tol": 0}
    expected = fl.minimize(parts, **given)
    with pool(2) as executor:
        assert fl.minimize(parts.on(executor), **given).W.tobytes() == expected.W.tobytes()
    assert fl.minimize(parts, threads=1, **given).W.tobytes() == expected.W.tobytes()


# ---- Parts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csr_matrix])
def test_parts_of_one_matrix(kind):
    X, y, _ = data(kind=kind)
    parts = fl.Parts.from_arrays(X, y, rows=50)
    assert len(parts) == 7
    assert all(type(part.X) is kind for part in parts)
    assert (sparse.vstack([part.X for part in parts]) != X).nnz == 0
    assert np.shares_memory(parts._sources[3].arrays[0], X.data)
    assert len(pickle.dumps(parts._sources[3])) < len(pickle.dumps(X)) / 4
    assert len(fl.Parts.from_arrays(X, y)) == 1
    with pytest.raises(ValueError, match=r"X has 303 rows but y has shape \(302,\)"):
        fl.Parts.from_arrays(X, y[1:])
    with pytest.raises(TypeError, match=r"not in CSR form.*pass X\.tocsr\(\)"):
        fl.Parts.from_arrays(X.tocsc(), y)

    class Own:
        data, indices, indptr, shape = X.data, X.indices, X.indptr, X.shape

    with pytest.raises(TypeError, match=r"X is a Own, not SciPy's: give fl.Parts callables that return its rows"):
        fl.Parts.from_arrays(Own(), y)


def test_rows_of_a_mapped_file_are_brought_in(tmp_path):
    X, y, _ = data()
    for name in ("data", "indices", "indptr"):
        np.save(tmp_path / f"{name}.npy", getattr(X, name))
    mapped = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("data", "indices", "indptr")]
    parts = fl.Parts.from_arrays(sparse.csr_array(tuple(mapped), X.shape), y, rows=50)
    bring_in(read(parts._sources[2], 2).X)  # reads, and changes nothing
    assert fl.softmax_loss(np.zeros((D, C)), parts)[0] == pytest.approx(np.log(C))


def test_what_is_refused():
    X, y, _ = data()
    W, out = np.zeros((D, C)), np.full((D, C), 7.0)
    with pytest.raises(TypeError, match=r"part 1: X is sparse, but not in CSR form"):
        fl.softmax_loss(W, fl.Parts([(X, y), (X.tocsc(), y)]), out=out)
    with pytest.raises(ValueError, match="part 0: X has 41 columns but W has 40 rows"):
        fl.softmax_loss(W[:40], parts_of(X, y), out=out[:40])
    wrong = X.copy()
    wrong.indices[-1] = D
    with pytest.raises(ValueError, match=r"part 1: X\.indices\[\d+\] = 41 .* is out of range"):
        fl.softmax_loss(W, fl.Parts([(X, y), (wrong, y)]), out=out)
    assert (out == 7).all()
    for fit in (fl.minimize, functools.partial(fl.train, epochs=1)):
        with pytest.raises(ValueError, match="part 1 has an array X and part 0 sparse rows; all must be of one kind"):
            fit(fl.Parts([(X, y), (X.toarray(), y)]))
    with pytest.raises(ValueError, match="needs all rows as an array, not sparse"):
        fl.minimize(parts_of(X, y), solver="newton-cholesky", reg=0.1)


# ---- Fits -------------------------------------------------------------------------------------------------------

FITS = {
    "scaled": {"solver": "scaled-lbfgs"},
    "whitened": {"solver": "whitened-lbfgs"},
    "newton-cg": {"solver": "newton-cg", "loss": "squared_svm", "margin": 0.8},
    "owlqn": {"reg": fl.L1(0.003)},
    "mapped": {"solver": "scaled-lbfgs", "x_scale": np.linspace(0.3, 2, D), "x_shift": 0.1},
    "options": {"ignore_index": 3, "class_weight": "balanced", "bias": False},
}


@pytest.mark.parametrize("name", FITS)
def test_a_fit_is_that_of_all_rows(name):
    X, y, weight = data()
    how = {"reg": 0.01, "tol": 1e-8, **FITS[name]}
    found = fl.minimize(parts_of(X, y, weight), **how)
    expected = fl.minimize(X, y, sample_weight=weight, **how)
    assert found.solved.solver == expected.solved.solver
    assert abs(found.solved.passes - expected.solved.passes) <= 5  # in the same basis
    np.testing.assert_allclose(found.W, expected.W, atol=1e-5)
    assert found.W.flags.c_contiguous == expected.W.flags.c_contiguous


def test_a_fit_goes_on(tmp_path):
    X, y, _ = data()
    how = {"reg": 0.01, "solver": "scaled-lbfgs", "tol": 0}
    whole = fl.minimize(parts_of(X, y), max_iter=12, **how)
    fl.minimize(parts_of(X, y), max_iter=5, checkpoint=tmp_path / "fit.npz", **how)
    found = fl.minimize(parts_of(X, y), max_iter=12, resume=tmp_path / "fit.npz", **how)
    assert found.W.tobytes() == whole.W.tobytes()
    with pytest.raises(ValueError, match=r"of a run with other arguments\. X: "):
        fl.minimize(parts_of(X.toarray(), y), resume=tmp_path / "fit.npz", **how)


@pytest.mark.parametrize("make", [lambda: fl.SGD(0.1), lambda: fl.Adam(0.05, beta1=0.8)], ids=["lazy", "adam"])
@pytest.mark.parametrize("window", [1, 3, None])
def test_in_order_the_steps_are_those_of_an_array(make, window):
    X, y, weight = data()
    how = {"shuffle": False, "batch_size": 32, "epochs": 3, "reg": 0.01}
    expected = fl.train(X, y, sample_weight=weight, optimizer=make(), **how)
    found = fl.train(parts_of(X, y, weight), optimizer=make(), window=window, **how)
    np.testing.assert_allclose(found.W, expected.W, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.history["loss"], expected.history["loss"], rtol=1e-12)


def test_training_goes_on_to_the_same_bits(tmp_path):
    X, y, weight = data(np.float32)
    given = parts_of(X, y, weight)

    def run(epochs, **more):
        return fl.train(given, epochs=epochs, optimizer=fl.AdaGrad(0.1), window=2, seed=3, ignore_index=2, **more)

    whole = run(4)
    run(2, checkpoint=tmp_path / "run.npz")
    assert run(4, resume=tmp_path / "run.npz").W.tobytes() == whole.W.tobytes()
    assert whole.W.dtype == np.float32
    assert whole.accuracy(X[y != 2], y[y != 2]) > 0.5


# ---- Predictions and estimators ---------------------------------------------------------------------------------


def test_predictions_and_validation():
    X, y, _ = data()
    result = fl.minimize(X, y, reg=0.01)
    parts = parts_of(X, y)
    for method in ("scores", "predict", "predict_proba"):
        np.testing.assert_allclose(getattr(result, method)(parts), getattr(result, method)(X), rtol=1e-12)
    assert result.score(parts) == result.score(X, y)
    assert result.accuracy(parts, k=2) == result.accuracy(X, y, k=2)
    how = {"epochs": 2, "reg": 0.01, "x_scale": 0.7}
    expected = fl.train(X, y, validation=(X, y), **how).history
    found = fl.train(X, y, validation=parts, **how).history
    for name in ("validation_loss", "validation_accuracy"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9)
    sweeps = [fl.sweep(*given, C=[0.01, 1.0], validation=(X, y), tol=1e-9) for given in ((parts,), (X, y))]
    np.testing.assert_allclose(sweeps[0].scores, sweeps[1].scores)


@pytest.mark.parametrize("name", ["SoftmaxClassifier", "SVMClassifier", "LogisticRegression"])
def test_a_classifier_is_that_of_all_rows(name):
    pytest.importorskip("sklearn")
    X, y, weight = data()
    names = np.array(["ant", "bee", "cat", "dog"])[y]
    model = getattr(fl, name)(tol=1e-9)
    coef, predicted = model.fit(X, names, weight).coef_, model.predict(X)
    score = model.score(X, names, weight)
    parts = parts_of(X, names, weight)
    np.testing.assert_allclose(model.fit(parts).coef_, coef, atol=1e-5)
    np.testing.assert_array_equal(model.predict(parts), predicted)
    assert model.score(parts) == pytest.approx(score, rel=1e-12)
    with pytest.raises(ValueError, match="part 0: X has 40 features"):
        model.predict(parts_of(X[:, :40]))
    wrong = X.copy()
    wrong.data[3] = np.nan
    with pytest.raises(ValueError, match="part 0: Input X contains NaN"):
        model.predict(fl.Parts([(wrong,)]))


def test_steps_and_a_regression():
    pytest.importorskip("sklearn")
    X, y, weight = data()
    model = fl.SVMClassifier(solver="sgd", random_state=3, epochs=10, optimizer=fl.AdaGrad(0.1))
    assert model.fit(parts_of(X, y)).score(parts_of(X, y)) > 0.5
    target = X.toarray()[:, :2] * 3 + 1
    regressor = fl.LinearRegressor(reg=0.01)
    coef = regressor.fit(X, target, weight).coef_
    np.testing.assert_allclose(regressor.fit(parts_of(X, target, weight)).coef_, coef, atol=1e-6)
    score = regressor.score(X, target, weight)
    assert regressor.score(parts_of(X, target, weight)) == pytest.approx(score, rel=1e-10)
