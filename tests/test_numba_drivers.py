"""Numba by itself: float16 to the bit, the drivers beside their reference, wrong numbers of arguments."""

import os
import subprocess
import sys
from typing import NamedTuple

import numpy as np
import pytest

from fastlin import ops
from fastlin.kernels import drivers
from fastlin.kernels.records import NO_STAGES, EpochData, EpochSteps, EpochWeights, EpochWorkspace

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


def random_rows(storage, n, d, dtype):
    rng = np.random.default_rng(0)
    if storage == "uint8":
        return rng.integers(0, 256, (n, d), dtype=np.uint8)
    return rng.standard_normal((n, d)).astype("float16" if storage == "float16" else dtype)


def workspace_of(n, d, c, count, block, dtype):
    shapes = (c, d + 1), (count, block, d), (count, c + 3, block), (count, c, d + 1)
    return *(np.full(shape, np.nan, dtype) for shape in shapes), np.full(count, np.nan)


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


@pytest.mark.parametrize("storage", ["dense", "uint8", "float16", "pairs"])
def test_the_loss_driver_is_the_reference(storage, dtype):
    """With several parts, chunks and column blocks."""
    from fastlin.kernels.numba_cache import jit

    n, d, c, count, block = 203, 700, 5, 3, 32
    bias = storage in ("dense", "float16")
    rng = np.random.default_rng(1)
    if storage == "pairs":
        X = Pairs(rng.integers(0, d, n), rng.standard_normal(n).astype(dtype))
        pieces = jit(pairs_scores, name="pairs_scores"), jit(pairs_gradient, name="pairs_gradient")
    else:
        X = random_rows(storage, n, d, dtype)
        pieces = getattr(numba_ops, f"{storage}_scores"), getattr(numba_ops, f"{storage}_gradient")
    scores, gradient = pieces
    made = numba_ops.to_class_major, scores, numba_ops.softmax_epilogue, gradient, numba_ops.combine_class_major
    W = (rng.standard_normal((d + bias, c)) / 500).astype(dtype)
    y, weight = rng.integers(0, c, n).astype(np.int32), rng.uniform(0.5, 2, n).astype(dtype)
    results = []
    for driver, threads in ((drivers.loss_driver, 1), (numba_ops.loss_driver, 1), (numba_ops.loss_driver, 2)):
        kernel, workspace, dW = driver(*made), workspace_of(n, d, c, count, block, dtype), np.full_like(W, np.nan)
        for chunk in range(2):
            kernel(X, W, y, weight, (0.1,), 1 / n, *workspace, dW, chunk, 2, threads)
        results.append((workspace[-1], dW))
    (losses, dW), *found = results
    rounding = 1e-4 if dtype == "float32" else 1e-12
    for one in found:
        np.testing.assert_allclose(one[0], losses, rtol=rounding)
        np.testing.assert_allclose(one[1], dW, rtol=rounding, atol=rounding * np.abs(dW).max())
    for one, other in zip(*found, strict=True):
        assert one.tobytes() == other.tobytes()


def epoch_case(storage, n, d, c, dtype, states):
    rng = np.random.default_rng(1)
    X, batch, block, column_blocks = random_rows(storage, n, d, dtype), 100, 64, 2
    y, weight = rng.integers(0, c, n).astype(np.int32), rng.uniform(0.5, 2, n).astype(dtype)
    affine = np.vstack([rng.uniform(0.001, 0.002, d), rng.uniform(-0.1, 0.1, d)]).astype(dtype)
    data = EpochData(X, y, weight, rng.permutation(n), affine, (0.5,), True, batch)
    steps = -(-n // batch)
    others, shrinkage = (0.8, 0.95, 1e-2, 0.03), np.tile([1e-4, 0.999], (steps, 1))
    how = EpochSteps(1, True, np.full(steps, 0.01), others, (0.1, 0.01), (0.3, 1.0), shrinkage)
    W, dW, *state = np.zeros((2 + states, c, d + 1), dtype)
    W[...] = rng.standard_normal(W.shape) / 50
    shapes = (block, d), (2, column_blocks, c, block), (column_blocks, 2 * c + max(3, c), block)
    sums = np.zeros(1), np.zeros(column_blocks), np.zeros(column_blocks)
    workspace = EpochWorkspace(*(np.full(shape, np.nan, dtype) for shape in shapes), *sums)
    return data, how, EpochWeights(W, dW, tuple(state)), workspace, steps * -(-batch // block)


@pytest.mark.parametrize("storage", ["dense", "uint8", "float16"])
def test_the_epoch_driver_is_the_reference(storage, dtype):
    """With two column blocks, a penalty, both clips and a prox; two calls."""
    names = f"{storage}_gather_scores", "svm_epilogue", f"{storage}_gather_gradient", "penalty_stage", "sum_squares"
    pieces = [getattr(numba_ops, name) for name in (*names, "clip_stage", "adam_update", "prox_stage")]
    results = []
    for driver, threads in ((drivers.epoch_driver, 1), (numba_ops.epoch_driver, 1), (numba_ops.epoch_driver, 2)):
        *records, blocks = epoch_case(storage, 330, 600, 3, dtype, 2)
        kernel = driver(*pieces)
        kernel(*records, 0, 3, threads)
        kernel(*records, 3, blocks, threads)
        _, _, weights, workspace = records
        results.append((weights.W, *weights.state, workspace.losses, workspace.penalties.sum()))
    reference, *found = results
    rounding = 1e-3 if dtype == "float32" else 1e-11
    for one in found:
        for A, B in zip(one, reference, strict=True):
            np.testing.assert_allclose(A, B, rtol=rounding, atol=rounding * np.abs(B).max())
    for A, B in zip(*found, strict=True):
        assert A.tobytes() == B.tobytes()


def test_an_update_with_too_much_state_is_refused():
    def five_update(w, g, a, b, c, d, lr):
        pass

    pieces = (getattr(numba_ops, name) for name in ("dense_gather_scores", "svm_epilogue", "dense_gather_gradient"))
    stages = numba_ops.penalty_stage, numba_ops.sum_squares, numba_ops.clip_stage, five_update, numba_ops.prox_stage
    with pytest.raises(ValueError, match="five_update has 4 arrays of state and 0 hyper-parameters beside the rate"):
        numba_ops.epoch_driver(*pieces, *stages)


def test_wrong_numbers_of_arguments_are_refused():
    """Compiled code does not look at them."""
    w = np.zeros(4)
    with pytest.raises(TypeError, match=r"adam_update takes 2 arrays of state and 4 .* found 1 and 4"):
        ops.step_kernel("adam_update", "numba")(w, w, (w,), (1, 0.1, 0.9, 0.9, 1e-8, 0.0), NO_STAGES, 1, 1)
    with pytest.raises(TypeError, match="svm_epilogue takes 1 hyper-parameters; found 2"):
        ops.epilogue_kernel(ops.loss("svm"), "numba")(w, w, w, (1.0, 1.0), w, w, 1)
    loss = ops.loss_kernel(ops.loss("logistic"), ops.STORAGES["dense"], "numba")
    with pytest.raises(TypeError, match="logistic_epilogue takes 0 hyper-parameters; found 1"):
        loss(w, w, w, w, (1.0,), 1.0, w, w, w, w, w, w, 0, 1, 1)
    *records, blocks = epoch_case("dense", 20, 10, 3, "float64", 2)
    epoch = ops.epoch_kernel(ops.loss("svm"), ops.STORAGES["dense"], "momentum_update", "numba")
    with pytest.raises(TypeError, match=r"momentum_update takes 1 arrays of state and 2 .* found 2 and 4"):
        epoch(*records, 0, blocks, 1)


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
