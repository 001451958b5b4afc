"""Numba by itself: float16 to the bit, sparse rows in every vector, storages that are no matrix, wrong arguments."""

import os
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest

from fastlin import ops
from fastlin.kernels import drivers

pytest.importorskip("numba")
numba_ops = ops.module("numba")

EVERY_HALF = """
import numpy as np
from fastlin.kernels import numba_math, numba_ops
assert ("+f16c" in numba_math.CPU_FEATURES) == {f16c}
X = np.arange(65536, dtype=np.uint16).view(np.float16).reshape(64, 1024)
with np.errstate(invalid="ignore"):
    for dtype in (np.float32, np.float64):
        rows = np.zeros(X.shape, dtype)
        numba_ops.float16_scores(X, 0, np.zeros((1, 1025), dtype), rows, np.zeros((1, 64), dtype))
        expected = X.astype(dtype)
        np.testing.assert_array_equal(rows, expected)
        numbers = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(rows)[numbers], np.signbit(expected)[numbers])
"""


@pytest.mark.parametrize("f16c", [False, True])
def test_every_float16(f16c):
    """Subnormal numbers, infinities and NaN too, by the processor's instruction and without it."""
    from fastlin.kernels.numba_math import CPU_FEATURES

    if f16c and "+f16c" not in CPU_FEATURES:
        pytest.skip("this processor has no instruction for float16")
    env = os.environ if f16c else os.environ | {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    command = [sys.executable, "-c", EVERY_HALF.format(f16c=f16c)]
    done = subprocess.run(command, env=env, timeout=300, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


EVERY_WIDTH = """
import numpy as np
from fastlin.kernels import numba_ops
from fastlin.kernels.numba_tile import VECTOR_BYTES
from fastlin.kernels.records import CsrRows
assert VECTOR_BYTES == {bytes}
rng, n, d = np.random.default_rng(0), 37, 23
X = rng.integers(-9, 10, (n, d)) * (rng.random((n, d)) < 0.4)
rows, columns = np.nonzero(X)
indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))])
for dtype in ("float32", "float64"):
    sparse = CsrRows(X[rows, columns].astype(dtype), columns.astype(np.int32), indptr, d)
    for c in range(1, 150):
        wide, G = (rng.integers(-9, 10, shape).astype(dtype) for shape in ((d + 1, c + 1), (c, n)))
        W, buffer = wide[:, :c], np.empty((0, d), dtype)
        scores, dW = np.full((c + 1, n + 1), 7, dtype), np.full((d + 1, c + 1), 7, dtype)
        numba_ops.csr_scores(sparse, 0, W, buffer, scores[:c, :n])
        numba_ops.csr_gradient(sparse, 0, buffer, G, dW[:, :c])
        np.testing.assert_array_equal(scores[:c, :n], (X @ W[:d] + W[d]).T)
        np.testing.assert_array_equal(dW[:, :c], 7 + np.concatenate([X.T @ G.T, G.sum(axis=1)[None]]))
        assert (scores[c] == 7).all() and (scores[:, n] == 7).all() and (dW[:, c] == 7).all()
"""

GENERIC = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
AVX2 = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+sse2,+sse4.2,+avx,+avx2,+fma"}


@pytest.mark.slow
@pytest.mark.parametrize(("width", "features"), [(16, GENERIC), (32, AVX2)])
def test_sparse_rows_in_narrower_vectors(width, features):
    """Every number of classes, for processors with vectors of 16 or 32 bytes: sums of integers are exact."""
    from fastlin.kernels.numba_math import CPU_FEATURES

    if features is AVX2 and "+avx2" not in CPU_FEATURES:
        pytest.skip("this processor has no vectors of 32 bytes")
    command = [sys.executable, "-c", EVERY_WIDTH.format(bytes=width)]
    env = os.environ | features
    done = subprocess.run(command, env=env, timeout=300, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def workspace_of(n, d, c, count, block):
    shapes = (c, d + 1), (0,), (count, block, d), (count, c + 3, block), (count, c, d + 1)
    return *(np.full(shape, np.nan) for shape in shapes), np.full(count, np.nan)


class Pairs(NamedTuple):
    """Rows with one entry each, as a sparse storage may keep them."""

    columns: np.ndarray
    values: np.ndarray


def pairs_scores(X, start, W, row_buffer, scores):
    for j in range(scores.shape[0]):
        for r in range(scores.shape[1]):
            i = start + r
            scores[j, r] = W[j, -1] + W[j, X.columns[i]] * X.values[i]


def pairs_gradient(X, start, row_buffer, dscores, dW):
    for j in range(dscores.shape[0]):
        for r in range(dscores.shape[1]):
            i = start + r
            dW[j, X.columns[i]] += dscores[j, r] * X.values[i]
            dW[j, -1] += dscores[j, r]


def test_a_storage_that_is_no_matrix():
    """The loss driver looks neither into X nor for its shape: parts, chunks and column blocks of a sparse storage."""
    from fastlin.kernels.numba_cache import jit

    n, d, c, count, block = 203, 700, 5, 3, 32
    rng = np.random.default_rng(1)
    X = Pairs(rng.integers(0, d, n), rng.standard_normal(n))
    scores, gradient = jit(pairs_scores, name="pairs_scores"), jit(pairs_gradient, name="pairs_gradient")
    made = numba_ops.to_class_major, scores, numba_ops.softmax_epilogue, gradient, numba_ops.combine_class_major
    W, y, weight = rng.standard_normal((d, c)), rng.integers(0, c, n).astype(np.int32), rng.uniform(0.5, 2, n)
    results = []
    for driver, threads in ((drivers.loss_driver, 1), (numba_ops.loss_driver, 1), (numba_ops.loss_driver, 2)):
        kernel, workspace, dW = driver(*made), workspace_of(n, d, c, count, block), np.full_like(W, np.nan)
        for chunk in range(2):
            kernel(X, W, y, weight, (0.1,), 1 / n, *workspace, dW, 0, 3, chunk, 2, threads)
        results.append((workspace[-1], dW))
    (losses, dW), *found = results
    for one in found:
        np.testing.assert_allclose(one[0], losses, rtol=1e-12)
        np.testing.assert_allclose(one[1], dW, rtol=1e-12, atol=1e-14)
    for one, other in zip(*found, strict=True):
        assert one.tobytes() == other.tobytes()


def test_an_update_with_too_much_state_is_refused():
    def five_update(w, g, a, b, c, d, lr):
        pass

    pieces = (getattr(numba_ops, name) for name in ("dense_gather_scores", "svm_epilogue", "dense_gather_gradient"))
    stages = numba_ops.penalty_stage, numba_ops.sum_squares, numba_ops.clip_stage, five_update, numba_ops.prox_stage
    with pytest.raises(ValueError, match="five_update has 4 arrays of state and 0 hyper-parameters beside the rate"):
        numba_ops.epoch_driver(*pieces, *stages, numba_ops.average_stage)


def test_by_element_losses_have_their_formula_s_hyper_parameters():
    """All of them, in the type of the scores."""

    @numba_ops.by_element
    def two_sided_epilogue(s, t, below, above, zero, one):
        d = s - t
        return (below * -d, -below) if d < zero else (above * d, above)

    rng = np.random.default_rng(0)
    for dtype in ("float32", "float64"):
        scores, targets = rng.standard_normal((3, 40)).astype(dtype), rng.standard_normal((40, 3)).astype(dtype)
        d = scores - targets.T
        weight = rng.uniform(0.5, 2, 40).astype(dtype)
        loss = two_sided_epilogue(scores, targets, weight, np.empty((3, 40), dtype), 0.3, 0.8)
        np.testing.assert_allclose(loss, (weight * np.where(d < 0, -0.3 * d, 0.8 * d)).sum(), rtol=1e-5)
        np.testing.assert_allclose(scores, weight * np.where(d < 0, -0.3, 0.8), rtol=1e-6)
