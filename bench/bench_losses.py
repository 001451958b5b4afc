"""Every loss with its gradient, and predictions, in every backend: X of floats, of bytes and of float16."""

import dataclasses
from functools import cache

import numpy as np
import pytest

import fastlin as fl
from fastlin import ops, testing

PUBLIC = {"softmax": fl.softmax_loss, "svm": fl.svm_loss}
PIXELS = {"x_scale": 1 / 255, "x_shift": -0.5}


@pytest.fixture(scope="session")
def reference(cases):
    """A loss in float64 by NumPy, which the tests compare with naive: naive itself takes too long here."""

    @cache
    def find(loss, shape):
        case = cases(shape)
        return testing.Reference.of(case, *case.evaluate(loss, backend="numpy"))

    return find


@pytest.mark.parametrize("loss", ops.losses())
def test_loss(benchmark, group, cases, reference, loss, dtype, shape, backend):
    group(loss, dtype)
    case, expected = cases(shape).astype(dtype), reference(loss, shape)
    out = case.W.copy()
    errors = expected.errors(*case.evaluate(loss, backend=backend, out=out))
    assert max(errors) <= testing.tolerance(dtype, expected.terms)
    benchmark(case.evaluate, loss, backend=backend, out=out)


@pytest.mark.parametrize("loss", PUBLIC)
def test_loss_of_bytes(benchmark, group, cases, loss, dtype, shape, backend):
    """Images as a file has them, scaled to [-1/2, 1/2] without a copy."""
    group(f"{loss} of uint8", dtype)
    case = cases(shape)
    X = np.random.default_rng(0).integers(0, 256, case.X.shape, dtype=np.uint8)
    compare_and_time(benchmark, PUBLIC[loss], case, X, X / 255 - 0.5, dtype, backend, **PIXELS)


@pytest.mark.parametrize("loss", PUBLIC)
def test_loss_of_float16(benchmark, group, cases, loss, dtype, shape, backend):
    """Embeddings as a model stores them."""
    group(f"{loss} of float16", dtype)
    case = cases(shape)
    X = case.X.astype(np.float16)
    compare_and_time(benchmark, PUBLIC[loss], case, X, X.astype(np.float64), dtype, backend)


def compare_and_time(benchmark, loss, case, X, exact_X, dtype, backend, **how):
    """A public loss of X, which stands for the numbers of `exact_X`."""
    W, y = case.W.astype(dtype), case.y
    exact = dataclasses.replace(case, X=exact_X)
    expected = testing.Reference.of(exact, *loss(exact.W, exact.X, y, backend="numpy"))
    out = np.empty_like(W)
    found = loss(W, X, y, backend=backend, out=out, **how)
    assert max(expected.errors(*found)) <= testing.tolerance(dtype, expected.terms)
    benchmark(loss, W, X, y, backend=backend, out=out, **how)


def test_predict(benchmark, group, cases, dtype, shape, backend):
    group("predict", dtype)
    case = cases(shape)
    W, X = case.W.astype(dtype), case.X.astype(dtype)
    exact = case.X @ case.W
    chosen = np.take_along_axis(exact, fl.predict(W, X, backend=backend)[:, None], axis=1)
    assert testing.error(chosen[:, 0], exact.max(axis=1)) <= testing.tolerance(dtype, X.shape[1])
    benchmark(fl.predict, W, X, backend=backend)
