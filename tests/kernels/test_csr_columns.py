"""Sparse rows by their columns, as fits take them: the bits of the other way, and no harm from broken arrays."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

import fastlin as fl
from fastlin import _columns, _plan, _run, testing
from fastlin._check.csr import features
from fastlin._csr import Csr
from fastlin._objective import make_objective


def dense(n, d, seed=0, share=0.3):
    """Multiples of 1/8; a row and the last column have none."""
    rng = np.random.default_rng([seed, n, d])
    X = rng.integers(-16, 17, (n, d)) * (rng.random((n, d)) < share) / 8
    X[1:2], X[:, -1:] = 0, 0
    return X


def with_columns(X, backend, segments=1):
    """The rows with their columns, however small they are."""
    found = X[:]
    found.columns = tuple(_columns.columns_of(X[rows], segments, backend) for rows in _plan.sections(len(X)))
    return found


def both_ways(loss, W, X, y, sample_weight=None, *, bias=False, backend, threads=2, order="C", segments=1):
    """(value, dW) of a quarter of the sum over rows, by rows and by columns in so many segments of the rows."""
    hyper = tuple(testing.off_neutral(f"{loss}_epilogue").values())
    objective = make_objective(loss, hyper, 0.0, bias, backend, threads)
    inputs = objective.inputs(W, features(X), y, sample_weight)
    found = []
    for rows in (inputs.X, with_columns(inputs.X, backend, segments)):
        out = np.full(W.shape, 7.0, W.dtype, order=order)
        found.append(objective.at(inputs._replace(X=rows), None, 4, out))
    return found


# ---- The same bits ------------------------------------------------------------------------------------------


@pytest.mark.paired(
    whole=[("loss", "compiled"), ("kind", "compiled"), ("c", "compiled"), ("order", "compiled")],
    kind=["f4 f4 int32", "f8 f8 int32", "f4 f8 int64", "f4 f4 int64"],
    loss=["softmax", "svm", "logistic", "squared_error"],  # labels and targets
    c=[1, 3, 10, 17, 53, 130],
    bias=[False, True],
    order=["C", "F", "padded"],
    threads=[1, 2, 3],
)
def test_both_ways_give_the_same_bits(loss, kind, c, bias, order, threads, compiled):
    """For any number of threads; of a W that is not read in place, too."""
    data, real, indices = kind.split()
    n, d = 700, 90
    case = testing.random_case(n, d, c, bias=bias).astype({"f4": "float32", "f8": "float64"}[real])
    X = testing.sparse(dense(n, d).astype(data), indices)
    W = testing.layouts(case.W)[order]
    how = {"bias": bias, "backend": compiled, "order": "F" if order == "F" else "C"}
    y = case.targets(loss)
    first = both_ways(loss, W, X, y, case.sample_weight, threads=threads, **how)
    for value, dW in first[1:] + both_ways(loss, W, X, y, case.sample_weight, threads=1, **how):
        assert value == first[0][0]
        np.testing.assert_array_equal(dW, first[0][1])


@pytest.mark.parametrize("bias", [False, True])
def test_of_several_parts_and_calls(bias, compiled, monkeypatch):
    """Parts and chunks as large problems have them, and ranges of columns of which one has most entries."""
    monkeypatch.setattr(_plan, "PART_LINES", 64)
    monkeypatch.setattr(_plan, "CSR_CHUNK_LINES", 512)
    monkeypatch.setattr(_plan, "RANGE_LINES", 256)
    monkeypatch.setattr(_plan, "LINES_SUMMED", 1)
    _plan.csr_plan.cache_clear()
    _run._route.cache_clear()
    try:
        n, d, c = 1501, 61, 9
        X = dense(n, d, share=0.2)
        X[:, 7] = 0.5
        case = testing.random_case(n, d, c, bias=bias)
        cut = _plan.csr_plan(n, features(testing.sparse(X)).size, d, c, 8, compiled=True)
        assert cut.parts > 2
        assert cut.laps > cut.parts
        for segments in (1, 2, cut.parts):
            found = both_ways(
                "softmax", case.W, testing.sparse(X), case.y, bias=bias, backend=compiled, segments=segments
            )
            assert found[0][0] == found[1][0]
            np.testing.assert_array_equal(found[0][1], found[1][1])
    finally:
        _plan.csr_plan.cache_clear()
        _run._route.cache_clear()


def test_of_several_sections(compiled, monkeypatch):
    """More rows than are summed at once."""
    monkeypatch.setattr(_plan, "SECTION_ROWS", 200)
    n, d, c = 901, 31, 4
    case = testing.random_case(n, d, c, bias=True)
    X = features(testing.sparse(dense(n, d)))
    assert len(with_columns(X, compiled).columns) == 5
    found = both_ways("softmax", case.W, X, case.y, bias=True, backend=compiled)
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])


@pytest.mark.parametrize("how", [{}, {"solver": "newton-cg"}, {"reg": fl.L1(1e-3)}, {"solver": "lbfgs", "max_iter": 9}])
def test_fits_have_the_same_bits(how, compiled, monkeypatch):
    """A fit takes the columns where they pay; here the rule decides either way."""
    n, d, c = 130, 300, 3
    X = dense(n, d)
    y = (X @ np.random.default_rng(2).standard_normal((d, c))).argmax(axis=1)
    taken, found, real = [], [], _run._by_columns
    monkeypatch.setattr(_run, "_by_columns", lambda *given: taken.append(1) or real(*given))
    for least in (1, 1 << 40):
        monkeypatch.setattr(_plan, "COLUMNS_BYTES", least)
        taken.clear()
        found.append(
            fl.minimize(testing.sparse(X), y, backend=compiled, **{"reg": 1e-2, "tol": 0, "max_iter": 15} | how)
        )
        assert bool(taken) == (least == 1)
    np.testing.assert_array_equal(found[0].W, found[1].W)
    assert found[0].history == found[1].history


def test_a_sweep_makes_them_once(monkeypatch):
    X = dense(130, 300)
    y = (X @ np.random.default_rng(2).standard_normal((300, 3))).argmax(axis=1)
    made, real = [], _columns.columns_of
    monkeypatch.setattr(_plan, "COLUMNS_BYTES", 1)
    monkeypatch.setattr(_columns, "columns_of", lambda *given: made.append(1) or real(*given))
    fl.sweep(testing.sparse(X), y, C=[0.1, 1.0], cv=2)
    assert len(made) == 1


@pytest.mark.parametrize(
    ("shape", "pays"),
    [
        ((16000, 62000, 20, 4), True),
        ((20000, 47000, 53, 8), True),
        ((100000, 1 << 20, 10, 4), True),
        ((10**7, 1 << 20, 10, 4), True),  # sections of some rows
        ((100000, 50000, 10, 8), False),  # slopes are larger than dW
        ((20000, 47000, 1, 8), False),  # a dW that stays in L2
        ((120000, 1 << 20, 100, 8), False),  # slopes that take too much memory
    ],
)
def test_sizes_decide(shape, pays):
    assert _plan.pays_by_columns(*shape) == pays


# ---- The columns --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(0, 4), (1, 0), (1, 1), (61, 23), (5, 400)])
def test_columns_are_the_sorted_entries(shape, backend, monkeypatch):
    """Of rows from the middle of an array, in laps that end within rows; the order within a column is that of rows."""
    monkeypatch.setattr(_columns, "LAP_BYTES", 1 << 23)  # eight entries
    n, d = shape
    whole = features(testing.sparse(np.concatenate([np.ones((2, d)), dense(n, d), np.ones((1, d))]), "int64"))
    X = whole[2 : 2 + n]
    (found,) = _columns.columns_of(X, 1, backend).segments
    entries = slice(X.indptr[0], X.indptr[-1])
    columns, rows = X.indices[entries], np.repeat(np.arange(n), np.diff(X.indptr))
    order = np.argsort(columns, kind="stable")
    np.testing.assert_array_equal(found.indptr, np.searchsorted(columns[order], np.arange(d + 1)))
    np.testing.assert_array_equal(found.indices, rows[order])
    np.testing.assert_array_equal(found.data, X.data[entries][order])
    assert found.d == n
    assert found.indices.dtype == np.int32


@pytest.mark.parametrize(("n", "d", "share"), [(60, 500, 0.05), (3000, 40, 0.3)])
def test_memory_has_a_bound(n, d, share, compiled, monkeypatch):
    """Numbers, row numbers and pointers; of several segments the pointers are fewer bytes than there are entries."""
    monkeypatch.setattr(_plan, "SEGMENT_BYTES", 1)
    monkeypatch.setattr(_plan, "COLUMNS_BYTES", 1)
    monkeypatch.setattr(_plan, "SLOPES_SHARE", 0)
    X = features(testing.sparse(dense(n, d, share=share)))
    _columns.prepare(X, np.zeros((d, 9)), compiled)
    (own,) = X.columns
    size = sum(A.nbytes for segment in own.segments for A in segment[:3])
    assert size <= X.nnz * (4 + X.itemsize) + max(8 * (d + 1), X.nnz + 8 * len(own.segments))
    assert (len(own.segments) > 1) == (n == 3000)


@pytest.mark.parametrize("count", [1, 3, 16, 1000])
def test_ranges_cover_all_columns(count):
    own = _columns.columns_of(features(testing.sparse(dense(80, 33))), 3, "numpy")
    borders = own.borders(count)
    assert borders[0] == 0
    assert borders[-1] == 33
    assert sorted(set(borders)) == borders
    assert len(borders) <= count + 1
    entries = np.sum([segment.indptr for segment in own.segments], axis=0)
    cost = np.diff(entries[borders]) + np.diff(borders)
    single = np.diff(entries).max() + 1
    assert cost.max() <= cost.sum() / count + single


def test_indices_that_another_thread_has_moved_outside_are_left_out(backend):
    """After the check: as if their entries were not there."""
    good = features(testing.sparse(dense(60, 19), "int64"))
    bad = np.random.default_rng(0).random(good.nnz) < 0.3
    wrong = np.resize([-1, 19, 20, -(2**63), 2**63 - 1], good.nnz)
    X = Csr(good.data, np.where(bad, wrong, good.indices), good.indptr, 19)
    (found,) = _columns.columns_of(X, 1, backend).segments
    assert found.indptr[-1] == np.count_nonzero(~bad)
    rows = np.repeat(np.arange(60), np.diff(good.indptr))[~bad]
    order = np.argsort(good.indices[~bad], kind="stable")
    np.testing.assert_array_equal(found.indices[: found.indptr[-1]], rows[order])


def test_another_thread_writes_meanwhile(compiled):
    """Whatever it writes: the columns stay inside, and a pass ends."""
    n, d, c = 500, 40, 3
    given = testing.sparse(dense(n, d))
    indices = given.indices.copy()
    X = features(SimpleNamespace(data=given.data, indices=indices, indptr=given.indptr, shape=(n, d)))
    ends = threading.Event()

    def write():
        rng = np.random.default_rng(1)
        while not ends.is_set():
            indices[rng.integers(0, len(indices), 50)] = rng.choice([0, d - 1, -1, d, 2**31 - 1, -(2**31)], 50)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        W, y = np.ones((d, c)), np.zeros(n, int)
        objective = make_objective("softmax", (0.0,), 0.0, False, compiled, 2)
        for _ in range(50):
            inputs = objective.inputs(W, Csr(*X.arrays), y)
            found = with_columns(inputs.X, compiled, 2)
            for XT in found.columns[0].segments:
                assert 0 <= XT.indptr[0] <= XT.indptr[-1] <= len(XT.indices)
                assert (np.diff(XT.indptr) >= 0).all()
            objective.at(inputs._replace(X=found), None, n, None)
    finally:
        ends.set()
        writer.join()


# ---- Ten thousand arrays ------------------------------------------------------------------------------------

KINDS = ("f4", "f8", "f2", "i1", "u2", "b1")
SEEDS, EACH = 20, 500


def random_csr(rng):
    """Rows as SciPy might hold them: empty ones, entries twice and in any order, more entries than rows have."""
    n, d = (int(size) for size in rng.integers(0, 14, 2))
    lengths = rng.integers(0, 6, n) * (rng.random(n) < 0.7) * (d > 0)
    before, after = rng.integers(0, 3, 2) * (d > 0)
    indptr = np.concatenate([[before], before + np.cumsum(lengths)])
    count = int(indptr[-1] + after)
    indices = rng.integers(0, max(1, d), count)
    data = rng.integers(0 if rng.random() < 0.3 else -4, 5, count).astype(rng.choice(KINDS))
    kind = rng.choice(["i4", "i8", "u1", "i2"])
    indices, indptr = indices.astype(kind), indptr.astype(rng.choice(["i4", "i8"]))
    return SimpleNamespace(data=data, indices=indices, indptr=indptr, shape=(n, d))


def broken(X, rng):
    """The same with one thing wrong, in most cases."""
    name = rng.choice(["data", "indices", "indptr", "shape"])
    value = getattr(X, name)
    if name == "shape":
        X.shape = tuple(int(size) for size in np.array(value) + rng.integers(-3, 4, 2))
        return
    how = rng.integers(0, 5)
    if how == 0:
        value = value[: rng.integers(0, len(value) + 1)]
    elif how == 1:
        value = np.concatenate([value, value[:1], value[:1]])
    elif how == 2 and len(value) and value.dtype != bool:
        limits = np.iinfo(value.dtype) if value.dtype.kind in "iu" else np.finfo(value.dtype)
        value[rng.integers(0, len(value))] = rng.choice([limits.min, limits.max])
    elif how == 3 and name != "data":
        value = value + rng.choice([-1, 1, 100])
    elif how == 4:
        value = rng.choice([value.astype(complex), value[None], value.astype(object)][: 2 + (name != "data")][:1])
    setattr(X, name, value)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_ten_thousand_arrays(seed, compiled):
    """Good ones have the answer of a dense product, both ways; broken ones are refused, or are good too."""
    rng = np.random.default_rng(seed)
    refused = 0
    for _ in range(EACH):
        X = random_csr(rng)
        if rng.random() < 0.4:
            broken(X, rng)
        try:
            rows = features(X)
        except (ValueError, TypeError):
            refused += 1
            continue
        if not len(rows):
            continue
        (n, d), c, bias = rows.shape, int(rng.integers(1, 20)), bool(rng.integers(0, 2))
        W = (
            rng.integers(-3, 4, (d + bias, c)).astype("f4" if rows.dtype == np.float32 and rng.random() < 0.5 else "f8")
            / 4
        )
        y = rng.integers(-3, 4, (n, c)) / 2
        by_rows, by_columns = both_ways("squared_error", W, X, y, bias=bias, backend=compiled)
        assert by_rows[0] == by_columns[0]
        np.testing.assert_array_equal(by_rows[1], by_columns[1])
        if np.isfinite(rows.data).all() and np.abs(rows.data.astype(np.float64)).max(initial=0) < 10:
            exact = rows.beside(np.dtype(np.float64)).toarray().astype(np.float64)
            E = exact @ W[:d] + (W[d] if bias else 0) - y
            value, dW = np.square(E).sum() / 4, np.concatenate([exact.T @ E, E.sum(axis=0)[None]])[: d + bias] / 2
            assert abs(by_rows[0] - value) <= 1e-5 * max(1.0, value)
            np.testing.assert_allclose(by_rows[1], dW, rtol=1e-5, atol=1e-4)
    assert EACH / 10 < refused < EACH / 2
