"""Fits over parts: those of all rows at once, to the same bits for any number of workers."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastlin as fl


def data(n=403, d=6, c=4):
    rng = np.random.default_rng(2)
    y = rng.integers(0, c, n)
    X = (rng.standard_normal((n, d)) + np.eye(c, d)[y]) * np.linspace(0.2, 3, d)
    X.flags.writeable = y.flags.writeable = False
    return X, y


def parts_of(X, y, sample_weight=None, ends=(0, 150, 150, 170, 403)):
    given = [A for A in (X, y, sample_weight) if A is not None]
    return fl.Parts([tuple(A[a:b] for A in given) for a, b in itertools.pairwise(ends)])


FITS = {
    "whitened": {"solver": "whitened-lbfgs", "label_smoothing": 0.1},
    "lbfgs": {"solver": "lbfgs", "x_scale": 0.7, "x_shift": 0.2},
    "newton-cg": {"solver": "newton-cg", "loss": "squared_svm", "margin": 0.8},
    "owlqn": {"reg": fl.L1(0.02)},
    "smoothed": {"loss": "one_vs_rest_svm", "margin": 0.8},
    "no bias": {"solver": "whitened-lbfgs", "bias": False, "classes": 6},
    "balanced": {"solver": "whitened-lbfgs", "class_weight": "balanced"},
    "class weights": {"solver": "whitened-lbfgs", "class_weight": {1: 0.3, 2: 2.0}},
    "ignored": {"solver": "whitened-lbfgs", "ignore_index": 3, "class_weight": [1.0, 2.0, 0.5]},
}


@pytest.mark.parametrize("name", FITS)
def test_a_fit_is_that_of_all_rows(name):
    X, y = data()
    how = {"reg": 0.01, "tol": 1e-8, **FITS[name]}
    weight = np.linspace(0.5, 1.5, len(y))
    found = fl.minimize(parts_of(X, y, weight), **how)
    expected = fl.minimize(X, y, sample_weight=weight, **how)
    assert found.W.shape == expected.W.shape
    assert found.solved.solver == expected.solved.solver
    assert found.history["loss"][-1] == pytest.approx(expected.history["loss"][-1], rel=1e-7)
    np.testing.assert_allclose(found.W, expected.W, atol=1e-3 if name == "smoothed" else 1e-5)


@pytest.mark.parametrize("loss", ["squared_error", "softmax"])
def test_targets(loss):
    X, y = data()
    T = X @ np.arange(18.0).reshape(6, 3) if loss == "squared_error" else np.eye(4)[y] * 0.9 + 0.025
    found = fl.minimize(parts_of(X, T), loss=loss, reg=0.01, tol=1e-9)
    np.testing.assert_allclose(found.W, fl.minimize(X, T, loss=loss, reg=0.01, tol=1e-9).W, atol=1e-6)


@pytest.mark.parametrize("solver", ["whitened-lbfgs", "newton-cg"])
def test_workers_change_no_bits(solver):
    X, y = data()
    parts = fl.Parts.from_arrays(X.astype(np.float32), y, rows=37)
    expected = fl.minimize(parts, solver=solver, reg=0.01)
    with ThreadPoolExecutor(3) as threads:
        found = fl.minimize(parts.on(threads), solver=solver, reg=0.01)
    assert found.W.tobytes() == expected.W.tobytes()
    assert found.history == expected.history


def test_what_minimize_refuses():
    X, y = data()
    parts = parts_of(X, y)
    with pytest.raises(ValueError, match="y comes with the parts"):
        fl.minimize(parts, y)
    with pytest.raises(TypeError, match="y must be given beside an array X"):
        fl.minimize(X)
    with pytest.raises(ValueError, match="part 1 has 5 columns of X but part 0 has 6"):
        fl.minimize(fl.Parts([(X, y), (X[:, :5], y)]))
    with pytest.raises(ValueError, match="the parts have 0 rows"):
        fl.minimize(fl.Parts([(X[:0], y[:0])]))
    with pytest.raises(ValueError, match="the parts have the label 3 but classes=2"):
        fl.minimize(parts, classes=2)
    with pytest.raises(ValueError, match="part 0: it has X alone"):
        fl.minimize(fl.Parts([(X,)]))
    with pytest.raises(ValueError, match="all labels in y are ignore_index=1"):
        fl.minimize(fl.Parts([(X, np.ones(len(X), int))]), ignore_index=1)
    with pytest.raises(ValueError, match="class_weight needs labels"):
        fl.minimize(parts_of(X, X[:, 0]), loss="squared_error", class_weight="balanced")


def test_parts_that_change_are_noticed():
    X, y = data()
    ends = iter(range(403, 0, -1))

    def fewer():
        end = next(ends)
        return X[:end], y[:end]

    with pytest.raises(ValueError, match="the parts had 403 rows at first and have 402 now"):
        fl.minimize(fl.Parts([fewer]))
