"""Sparse rows: their scores and their gradient in every backend, against products of dense float64 matrices."""

import numpy as np
import pytest

from fastlin import _plan, ops, testing
from fastlin._check.csr import features
from fastlin._rows import CsrStorage
from fastlin.kernels.records import CsrRows

SPARSE = [name for name, row in ops.STORAGES.items() if isinstance(row, CsrStorage)]


def matrix(n, d, seed=0, share=0.4):
    """Multiples of one half, of which most are 0; row 1 has none."""
    rng = np.random.default_rng([seed, n, d])
    X = rng.integers(-9, 10, (n, d)) * (rng.random((n, d)) < share) / 2
    X[1:2] = 0
    return X


def stored(storage, X, dtype):
    row = ops.STORAGES[storage]
    return features(testing.sparse(X.astype(row.reads or dtype), row.indices)).arrays


def served(storage, dtype):
    if dtype not in ops.STORAGES[storage].W_dtypes:
        pytest.skip(f"{storage} is not read beside {dtype} weights")


def call(op, backend, dtype, *args):
    return ops.kernel(op, backend, dtype)(*args)


def scores_of(storage, backend, X, start, W, rows):
    """The scores, and what is around them in memory."""
    S = np.full((W.shape[1] + 1, rows + 3), 7.0, W.dtype)
    buffer = np.empty((0, X.d), W.dtype)
    call(f"{storage}_scores", backend, W.dtype.name, X, start, W, buffer, S[: W.shape[1], :rows])
    assert (S[W.shape[1] :] == 7).all()
    assert (S[:, rows:] == 7).all()
    return S[: W.shape[1], :rows]


def gradient_of(storage, backend, X, start, slopes, dW):
    call(f"{storage}_gradient", backend, dW.dtype.name, X, start, np.empty((0, X.d), dW.dtype), slopes, dW)


CLASSES = [*range(1, 41), 48, 53, 63, 64, 65, 70, 127, 128, 129, 150, 257]


@pytest.mark.quick
@pytest.mark.paired(
    whole=[("c", "backend", "dtype"), ("storage", "bias", "backend", "dtype")],
    storage=SPARSE,
    c=CLASSES,
    bias=[False, True],
)
def test_scores_and_gradient_agree(storage, c, bias, backend, dtype):
    """For rows from `start` on; rows of W stand apart, and what lies between them stays as it is."""
    served(storage, dtype)
    n, d, start, rows = 45, 23, 3, 37
    dense = matrix(n, d)
    X, rng = stored(storage, dense, dtype), np.random.default_rng(c)
    some = dense[start : start + rows]
    wide = rng.standard_normal((d + bias, c + 3)).astype(dtype)
    W = wide[:, :c]
    b = W[d].astype(np.float64) if bias else 0
    exact = some @ W[:d].astype(np.float64) + b
    found = scores_of(storage, backend, X, start, W, rows)
    assert testing.error(found.T, exact, 50.0) <= testing.tolerance(dtype, d)
    slopes = rng.standard_normal((c, rows + 5)).astype(dtype)[:, :rows]
    slopes.flags.writeable = False
    total = np.full((d + bias, c + 3), 2.0, dtype)
    gradient_of(storage, backend, X, start, slopes, total[:, :c])
    G = slopes.T.astype(np.float64)
    exact = 2.0 + np.concatenate([some.T @ G, G.sum(axis=0)[None]])[: d + bias]
    assert testing.error(total[:, :c], exact, 50.0) <= testing.tolerance(dtype, rows)
    assert (total[:, c:] == 2).all()


@pytest.mark.parametrize("d", [0, 1])
@pytest.mark.parametrize("bias", [False, True])
def test_hardly_any_columns(d, bias, backend, dtype):
    X = stored("csr", np.full((5, d), 1.5), dtype)
    W = np.arange(3.0 * (d + bias)).reshape(d + bias, 3).astype(dtype)
    found = scores_of("csr", backend, X, 0, W, 5)
    np.testing.assert_array_equal(found.T, np.tile((1.5 * W[:d]).sum(axis=0) + W[d:].sum(axis=0), (5, 1)))
    dW = np.zeros((d + bias, 3), dtype)
    gradient_of("csr", backend, X, 0, np.ones((3, 5), dtype), dW)
    np.testing.assert_array_equal(dW, np.array([[7.5] * 3] * d + [[5.0] * 3] * bias).reshape(d + bias, 3))


@pytest.mark.parametrize("storage", SPARSE)
def test_indices_outside_are_passed_over(storage, backend, dtype):
    """As if their entries were not there: another thread may have put them in after the check."""
    served(storage, dtype)
    rng, d, c = np.random.default_rng(0), 19, 5
    dense = matrix(40, d)
    good = stored(storage, dense, dtype)
    limits = np.iinfo(good.indices.dtype)
    wrong = rng.choice([-1, d, d + 1, limits.min, limits.max, -d], len(good.indices)).astype(good.indices.dtype)
    bad = rng.random(len(wrong)) < 0.3
    X = good._replace(indices=np.where(bad, wrong, good.indices))
    left = good._replace(data=np.where(bad, 0, good.data).astype(good.data.dtype))
    W = rng.standard_normal((d + 1, c)).astype(dtype)
    slopes = rng.standard_normal((c, 40)).astype(dtype)
    both = []
    for given in (X, left):
        dW = np.zeros((d + 1, c), dtype)
        gradient_of(storage, backend, given, 0, slopes, dW)
        both.append((scores_of(storage, backend, given, 0, W, 40), dW))
    for one, other in zip(*both, strict=True):
        assert testing.error(one, other, 20.0) <= testing.tolerance(dtype, 40)


def test_what_is_no_number_follows_ieee(backend, dtype):
    """An explicit zero times NaN is NaN; a place without an entry is no number times anything."""
    X = CsrRows(np.array([0.0, 2.0, np.inf], dtype), np.array([0, 1, 2], np.int32), np.array([0, 1, 2, 3, 3]), 3)
    W = np.array([[np.nan, 1.0], [np.inf, 1.0], [0.0, 1.0]], dtype)
    found = scores_of("csr", backend, X, 0, W, 4).T
    np.testing.assert_array_equal(found, [[np.nan, 0], [np.inf, 2], [np.nan, np.inf], [0, 0]])
    dW = np.zeros((3, 2), dtype)
    gradient_of("csr", backend, X, 0, np.array([[np.inf, 1, 1, np.nan], [1, 1, 0, np.nan]], dtype), dW)
    np.testing.assert_array_equal(dW, [[np.nan, 0], [2, 2], [np.inf, np.nan]])


@pytest.mark.paired(whole=[("c", "backend", "dtype"), ("parts", "backend")], c=CLASSES, parts=[1, 2, 5, 64])
@pytest.mark.parametrize(("reads", "adds"), [(None, False), (None, True), ("float32", False)])
def test_gradient_by_columns_agrees(c, parts, reads, adds, backend, dtype):
    """Of some columns, into rows of dW that stand apart; entries of rows that are none are passed over."""
    storage = ops.STORAGES["csr" if reads is None else "csr_float32"]
    served(storage.name, dtype)
    n, d, start = 45, 23, 4
    dense = matrix(n, d)
    XT, rng = features(testing.sparse(dense.T.astype(reads or dtype).copy())).arrays, np.random.default_rng(c)
    ordered = [np.sort(XT.indices[XT.indptr[k] : XT.indptr[k + 1]]) for k in range(d)]
    indices = np.concatenate(ordered).astype(np.int32)
    data = dense[indices, np.repeat(np.arange(d), np.diff(XT.indptr))].astype(XT.data.dtype)
    twice = data / np.array([np.count_nonzero(row == r) for row in ordered for r in row])  # halves of one place
    wrong = np.arange(len(indices)) % 9 == 3
    outside = np.where(wrong, rng.choice([-1, n, 2**31 - 1, -(2**31)], len(indices)), indices).astype(np.int32)
    XT = CsrRows(twice.astype(data.dtype), outside, XT.indptr, n)
    left = np.zeros((d, n))
    np.add.at(left, (np.repeat(np.arange(d), np.diff(XT.indptr)), indices), np.where(wrong, 0.0, twice))
    slopes = rng.standard_normal((n, c + 2)).astype(dtype)[:, :c]
    slopes.flags.writeable = False
    wide = np.full((d - start, c + 3), 7.0, dtype)
    call(storage.columns, backend, dtype, XT, start, parts, slopes, adds, 0.25, wide[:, :c])
    exact = 0.25 * (left[start:] @ slopes.astype(np.float64) + (7 if adds else 0))
    assert testing.error(wide[:, :c], exact, 50.0) <= testing.tolerance(dtype, n)
    assert (wide[:, c:] == 7).all()


@pytest.mark.paired(whole=[("c", "backend", "dtype")], c=CLASSES)
def test_turned_slopes_are_those_of_the_rows(c, backend, dtype):
    n, start, rows = 45, 5, 37
    dscores = np.random.default_rng(c).standard_normal((c, rows + 3)).astype(dtype)[:, :rows]
    dscores.flags.writeable = False
    slopes, sums = np.full((n, c + 2), 7.0, dtype), np.full(c, 2.0, dtype)
    call("turn_slopes", backend, dtype, dscores, start, slopes[:, :c], sums)
    np.testing.assert_array_equal(slopes[start : start + rows, :c], dscores.T)
    assert testing.error(sums, 2.0 + dscores.sum(axis=1, dtype=np.float64), 10.0) <= testing.tolerance(dtype, rows)
    slopes[start : start + rows, :c] = 7
    assert (slopes == 7).all()


def test_entries_have_places_by_columns(backend):
    """In the order in which they come, a column's entries one after the other."""
    columns = np.random.default_rng(0).integers(0, 7, 50)
    counts = np.bincount(columns, minlength=8)
    following, places = np.cumsum(counts) - counts, np.full(50, -1)
    call("place_columns", backend, "float64", columns, following, places)
    np.testing.assert_array_equal(np.argsort(places), np.argsort(columns, kind="stable"))
    np.testing.assert_array_equal(following, np.cumsum(counts))


@pytest.mark.parametrize("order", ["C", "F", "strided"])
def test_layout_goes_there_and_back(order, backend, dtype):
    W = np.random.default_rng(0).normal(size=(600, 7)).astype(dtype)
    laid = testing.layouts(W)[order]
    weights = np.full((600, 9), 7.0, dtype)
    call("to_feature_major", backend, dtype, laid, weights[:, :7])
    np.testing.assert_array_equal(weights[:, :7], W)
    assert (weights[:, 7:] == 7).all()
    wide = np.full((1200, 14), 7.0, dtype)
    dW = {"C": wide[:600, :7], "F": np.empty((7, 600), dtype).T, "strided": wide[::2, ::2]}[order]
    call("combine_feature_major", backend, dtype, np.stack([W, W, W]), 0.5, dW)
    np.testing.assert_allclose(dW, 1.5 * W, rtol=1e-6)
    if order == "strided":
        assert (wide[1::2] == 7).all()
        assert (wide[:, 1::2] == 7).all()


def test_a_W_of_spaced_numbers_is_not_read_in_place(compiled, dtype):
    """The edge makes a copy of it; a kernel that is given none says so, before anything is written."""
    n, d, c = 9, 7, 3
    loss, storage = ops.LOSSES["svm"], ops.STORAGES["csr"]
    own = _plan.Workspace(_plan.Plan(1, 1, n, 1), c, d, np.dtype(dtype), False, d, True)
    W, dW = np.zeros((d, 2 * c), dtype)[:, ::2], np.full((d, c), 7.0, dtype)
    given = stored("csr", matrix(n, d), dtype), W, np.zeros(n, np.int32), np.ones(n, dtype), (0.5,), 1 / n
    with pytest.raises(ValueError, match=f"read in place, but its columns lie {2 * W.itemsize} bytes apart"):
        ops.loss_kernel(loss, storage, compiled)(*given, *own.arrays, dW, 0, 1, 0, 1, 1)
    assert (dW == 7).all()


@pytest.mark.parametrize("c", [1, 10, 53, 1000])
@pytest.mark.parametrize(("n", "mean", "d"), [(1, 0, 0), (10**6, 80, 100), (16000, 80, 62000), (10**5, 80, 2**20)])
def test_workspaces_have_a_bound(n, mean, d, c, dtype):
    """Two gradients, or 16 MB of them, and the scores of blocks."""
    kind = np.dtype(dtype)
    cut = _plan.csr_plan(n, (max(1, n * mean), 1), d, c, kind.itemsize, compiled=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_plan, "_aligned", lambda shape, row, dtype: np.broadcast_to(dtype.type(0), (*shape[:-1], row)))
        size = _plan.Workspace(cut, c, d, kind, convert=False, rows=d + 1, in_place=True).size
    bound = max(2 * (d + 1) * c * kind.itemsize, _plan.PARTS_BYTES) + 2 * _plan.BLOCKS_BYTES
    assert size <= bound
