"""Whole epochs and searches in every backend that takes less than about a second."""

import numpy as np
import pytest

import fastlin as fl
from fastlin import testing


@pytest.mark.shapes((2000, 784, 10))
@pytest.mark.parametrize("loss", ["softmax", "svm"])
def test_epoch(benchmark, group, cases, loss, dtype, shape, backend):
    """An epoch of Adam on batches of 256 rows."""
    group(f"epoch of {loss}", dtype)
    case = cases(shape)

    def epoch(X, backend):
        return fl.train(X, case.y, loss=loss, optimizer=fl.Adam(1e-3), epochs=1, batch_size=256, backend=backend)

    X, expected = case.X.astype(dtype), epoch(case.X, "numpy")
    found = epoch(X, backend)
    limit = testing.tolerance(dtype, sum(shape))
    assert testing.error(found.W, expected.W) <= limit
    assert testing.error(found.history["loss"], expected.history["loss"]) <= limit
    benchmark(epoch, X, backend)


@pytest.mark.shapes((500, 64, 10))
@pytest.mark.parametrize("loss", ["softmax", "svm"])
def test_search(benchmark, group, cases, loss, dtype, shape, backend):
    """Random search among few W, so that naive can take part."""
    group(f"random_search by {loss}", dtype)
    case = cases(shape)

    def search(X, backend):
        return fl.random_search(X, case.y, loss=loss, tries=20, scale=0.1, backend=backend)

    X, expected = case.X.astype(dtype), search(case.X, "numpy").history["loss"]
    found = search(X, backend).history["loss"]
    assert testing.error(np.array(found), expected) <= testing.tolerance(dtype, sum(shape))
    benchmark(search, X, backend)
