"""What solvers do with long vectors."""

import numpy as np
import pytest

from fastlin._solvers import vectors
from fastlin._solvers.linalg import Means


@pytest.mark.parametrize("size", [1, vectors.BLOCK, 3 * vectors.BLOCK + 5])
@pytest.mark.parametrize("length", [1.0, 0.3])
def test_long_vectors(size, length):
    """In blocks as at once, up to rounding; with the same bits for any number of threads."""
    rng = np.random.default_rng(size)
    a, b = rng.standard_normal((2, size))
    found = [
        (vectors.dot(a, b, means), vectors.moved(a, length, b, means).tobytes())
        for means in (Means("cython", threads) for threads in (1, 2, 3))
    ]
    assert found[0] == found[1] == found[2]
    assert found[0][0] == pytest.approx(float(np.sum(a.astype(np.longdouble) * b)), rel=1e-12, abs=1e-10)
    assert found[0][1] == (a + length * b).tobytes()


def test_long_vectors_with_nan_and_inf():
    """IEEE's rules, without a warning from any thread."""
    a, b = np.full((2, 4 * vectors.BLOCK), 1e308)
    with np.errstate(all="ignore"):
        assert vectors.dot(a, b, Means("cython", 2)) == np.inf
        assert np.isinf(vectors.moved(a, 10.0, b, Means("cython", 2))).all()
        b[7] = np.nan
        assert np.isnan(vectors.dot(a, b, Means("cython", 2)))


def test_blocks_are_rows_in_order():
    seen = vectors.in_blocks(lambda some: (some.start, some.stop), 10, Means("cython", 2), width=vectors.BLOCK // 3)
    assert seen == [(0, 3), (3, 6), (6, 9), (9, 10)]
