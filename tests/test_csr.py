"""Sparse X wherever a dense one goes: the same answers as a float64 oracle, the same bits, clear errors, no crash."""

import contextlib
import copy
import threading
from types import SimpleNamespace

import numpy as np
import pytest

import fastlin as fl
from fastlin import _plan, _run, ops, testing
from fastlin._check import csr as check_csr

N, D, C = 61, 23, 5


def dense(n=N, d=D, seed=0):
    """Multiples of 1/8, of which a third are not 0: exact in every dtype; rows without entries, columns too."""
    rng = np.random.default_rng([seed, n, d])
    X = rng.integers(-16, 17, (n, d)) * (rng.random((n, d)) < 0.3) / 8
    X[2:4] = 0
    X[:, -1:] = 0
    return X


def csr(X=None, **changed):
    """A good one, with some of its parts replaced."""
    found = testing.sparse(dense() if X is None else X)
    given = {name: getattr(found, name) for name in ("data", "indices", "indptr", "shape")}
    return SimpleNamespace(**given | changed)


# ---- The answers --------------------------------------------------------------------------------------------


def oracle(loss, S, y, margin=1.0):
    """The losses of the rows from their scores (n, c), and their slopes: textbook formulas."""
    rows = np.arange(len(S))
    if loss == "softmax":
        P = np.exp(S - S.max(axis=1, keepdims=True))
        P /= P.sum(axis=1, keepdims=True)
        G = P.copy()
        G[rows, y] -= 1
        return -np.log(P[rows, y]), G
    if loss == "squared_svm":
        V = np.maximum(S - S[rows, y][:, None] + margin, 0)
        V[rows, y] = 0
        G = 2 * V
        G[rows, y] = -G.sum(axis=1)
        return np.square(V).sum(axis=1), G
    E = S - np.eye(S.shape[1])[y]  # squared_error
    return np.square(E).sum(axis=1), 2 * E


@pytest.mark.paired(
    whole=[("problem", "bias", "backend"), ("kind", "backend"), ("kind", "order")],
    problem=["softmax", "squared_svm", "squared_error"],
    kind=["f4 f4 i4", "f8 f8 i4", "f4 f8 i4", "f4 f4 i8", "f8 f8 i8", "f4 f8 i8", "f2 f4 i4", "i2 f8 u1", "b1 f4 i2"],
    order=["C", "F", "padded", "strided", "negative", "swapped", "unaligned"],
    bias=[False, True],
    threads=[1, 2],
)
def test_oracle(problem, kind, order, bias, backend, threads):
    """Products of dense float64 matrices; weights, penalty, map of the columns; every layout of W; read-only arrays."""
    data, real, indices = kind.split()
    exact = (dense() != 0) * 1.0 if data == "b1" else dense() if data[0] == "f" else np.round(dense() * 8)
    rng = np.random.default_rng(1)
    W, y, weight = rng.standard_normal((D + bias, C)), rng.integers(0, C, N), rng.uniform(0.5, 1.5, N)
    W = W.astype(real)
    scale, shift = rng.uniform(0.5, 1, D), rng.uniform(-1, 1, D)
    T = exact * scale + shift
    S = T @ W[:D].astype(np.float64) + (W[D] if bias else 0)
    values, G = oracle(problem, S, y, 0.5)
    G *= weight[:, None] / N
    loss = (values * weight).mean() + 0.1 * np.square(W[:D].astype(np.float64)).sum()
    dW = np.concatenate([T.T @ G + 0.2 * W[:D], G.sum(axis=0)[None]])[: D + bias]
    X = testing.sparse(exact.astype(data), indices)
    how = {"reg": 0.1, "sample_weight": weight, "bias": bias, "x_scale": scale, "x_shift": shift, "backend": backend}
    function = {"softmax": fl.softmax_loss, "squared_error": fl.squared_error_loss}.get(problem, fl.svm_loss)
    own = {"margin": 0.5, "squared": True} if function is fl.svm_loss else {}
    laid = testing.layouts(W)[order]
    found = function(laid, X, y, threads=threads, **how | own)
    limit = 10 * testing.tolerance(real.replace("f4", "float32").replace("f8", "float64"), N + D)
    assert abs(found[0] - loss) <= limit * loss
    assert testing.error(found[1], dW) <= limit
    assert found[1].dtype == laid.dtype
    names = ("bias", "x_scale", "x_shift", "backend")
    assert testing.error(fl.scores(laid, X, **{name: how[name] for name in names}), S) <= limit


@pytest.mark.paired(
    whole=[("loss", "backend", "dtype")], bias=[False, True], shape=[(N, D, C), (1, 1, 1), (300, 9, 37)]
)
def test_every_loss_agrees_with_dense_rows(loss, shape, bias, backend, dtype):
    n, d, c = shape
    case = testing.random_case(n, d, c, bias=bias).astype(dtype)
    X = dense(n, d).astype(dtype)
    hyper = testing.off_neutral(f"{loss}_epilogue")
    exact = testing.Case("sparse", case.W, X, case.y, case.sample_weight, bias).astype("float64")
    y = exact.targets(loss)
    safe = ~testing.near_ties(loss, hyper, exact.W, exact.X, y, bias=bias, dtype=dtype)
    weight = (case.sample_weight * safe).astype(dtype)
    how = {"reg": 0.3, "sample_weight": weight, "bias": bias}
    expected = testing.Reference.of(exact, *testing.evaluate(loss, hyper, exact.W, exact.X, y, backend="naive", **how))
    found = testing.evaluate(loss, hyper, case.W, testing.sparse(X), y, backend=backend, **how)
    assert max(expected.errors(*found)) <= testing.tolerance(dtype, expected.terms)


@pytest.mark.parametrize("shape", [(0, 4), (1, 0), (3, 0), (1, 1), (4, 1)], ids=str)
def test_hardly_any_rows_or_columns(shape, backend):
    n, d = shape
    X, W = testing.sparse(np.full(shape, 0.5)), np.ones((d, 2))
    value, dW = fl.softmax_loss(W, X, np.zeros(n, int), reduction="sum", backend=backend)
    assert value == pytest.approx(n * np.log(2))
    np.testing.assert_allclose(dW, np.full((d, 2), 0.25 * n) * [-1, 1])
    np.testing.assert_array_equal(fl.scores(W, X, backend=backend), np.full((n, 2), 0.5 * d))


def test_out_is_written_and_apart(backend):
    X, y, W = testing.sparse(dense()), np.zeros(N, int), np.ones((D, C))
    out = np.full((D, C), 7.0)
    _, dW = fl.softmax_loss(W, X, y, out=out, backend=backend)
    assert dW is out
    data = np.zeros(D * C)
    X = csr(np.ones((N, D)), data=np.concatenate([data, np.ones(2 * N * D)])[: len(csr(np.ones((N, D))).data)])
    shared = X.data[: D * C].reshape(D, C)
    with pytest.raises(ValueError, match=r"out shares memory with X\.data"):
        fl.softmax_loss(W, X, y, out=shared, backend=backend)


# ---- Fits ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def problem():
    """Rows with labels that they tell, dense and sparse."""
    X = dense(120, 40)
    y = (X @ np.random.default_rng(2).standard_normal((40, C))).argmax(axis=1)
    return X, testing.sparse(X), y


FITS = {
    "auto": {"reg": 0.01},
    "newton-cg": {"solver": "newton-cg", "reg": 0.01},
    "lbfgs": {"solver": "lbfgs", "reg": 0.01, "tol": 1e-9},
    "whitened": {"solver": "whitened-lbfgs", "reg": 0.01, "x_shift": 0.1},
    "mapped": {"reg": 0.01, "x_scale": np.linspace(0.5, 2, 40), "x_shift": -0.3, "tol": 1e-9},
    "L1": {"reg": fl.L1(0.01), "tol": 1e-9},
    "scaled": {"solver": "scaled-lbfgs", "reg": 0.01, "x_scale": np.linspace(0.5, 2, 40), "x_shift": -0.3, "tol": 1e-9},
    "scaled, no b": {"solver": "scaled-lbfgs", "reg": 0.01, "bias": False, "tol": 1e-9},
    "targets": {"reg": 0.01, "loss": "logistic", "solver": "newton-cg"},
    "hinges": {"reg": 0.01, "loss": "squared_svm", "tol": 1e-9},
    "labels": {"reg": 0.01, "class_weight": "balanced", "ignore_index": 2, "solver": "newton-cg"},
}


@pytest.mark.parametrize("how", FITS)
def test_minimize(how, problem, backend):
    X, sparse, y = problem
    exact, found = (fl.minimize(rows, y, **FITS[how], backend=backend) for rows in (X, sparse))
    assert found.W.dtype == np.float64
    assert found.history["loss"][-1] == pytest.approx(exact.history["loss"][-1], rel=1e-7)
    if how == "L1":  # what is added to every class's b changes nothing, and nothing penalises it
        for each in (exact, found):
            each.W[40] -= each.W[40].mean()
    np.testing.assert_allclose(found.W, exact.W, atol=1e-4)
    assert found.score(sparse, y) == exact.score(X, y)
    np.testing.assert_array_equal(found.predict(sparse, k=3), exact.predict(X, k=3))


@pytest.mark.parametrize("optimizer", [fl.SGD(0.1, momentum=0.9), fl.Adam(0.01)], ids=str)
def test_train_by_steps_of_all_weights(optimizer, problem, backend):
    X, sparse, y = problem
    how = {"epochs": 2, "batch_size": 32, "reg": 0.01, "average": "polyak", "x_shift": 0.2, "backend": backend}
    exact, found = (
        fl.train(rows, y, optimizer=copy.deepcopy(optimizer), validation=(rows, y), **how) for rows in (X, sparse)
    )
    np.testing.assert_allclose(found.W, exact.W, atol=1e-10)
    assert found.history["validation_accuracy"] == exact.history["validation_accuracy"]
    np.testing.assert_allclose(found.predict_proba(sparse), exact.predict_proba(X), atol=1e-10)


def test_sweeps_and_searches(problem):
    X, sparse, y = problem
    exact, found = (fl.sweep(rows, y, C=[0.1, 1.0], cv=3) for rows in (X, sparse))
    np.testing.assert_array_equal(found.scores, exact.scores)
    for search in (fl.random_search, fl.random_local_search):
        exact, found = (search(rows, y, tries=40, target=0.1) for rows in (X, sparse))
        np.testing.assert_allclose(found.history["loss"], exact.history["loss"], rtol=1e-12)
        np.testing.assert_array_equal(found.W, exact.W)


def test_losses_of_rows_and_gradients_by_differences(problem, backend):
    X, sparse, y = problem
    W = np.random.default_rng(0).standard_normal((40, C))
    (exact, slopes), (found, dW) = (
        fl.softmax_loss(W, rows, y, reduction="none", backend=backend) for rows in (X, sparse)
    )
    np.testing.assert_allclose(found, exact, rtol=1e-12)
    np.testing.assert_allclose(dW, slopes, atol=1e-12)
    assert fl.check_gradient(lambda W: fl.softmax_loss(W, sparse, y, 0.1, backend=backend), W, samples=30)


def test_what_would_become_dense_is_refused():
    n, d = 10, 100_000
    X = csr(np.zeros((n, 1)), shape=(n, d))
    with pytest.raises(ValueError, match=r"solver 'whitened-lbfgs' would make dense matrices of 4\.0e\+10 numbers"):
        fl.minimize(X, np.zeros(n, int), solver="whitened-lbfgs", classes=2)


def test_the_means_of_columns():
    X = check_csr.features(testing.sparse(dense()))
    share, mean, squares = X[5:50].column_means()
    np.testing.assert_allclose(share, np.bincount(X[5:50].indices[X.indptr[5] : X.indptr[50]], minlength=D) / 45)
    np.testing.assert_allclose(mean, dense()[5:50].mean(axis=0), atol=1e-12)
    assert (squares <= np.square(dense()[5:50]).mean(axis=0) + 1e-12).all()  # halves of entries count one by one


# ---- The same bits ------------------------------------------------------------------------------------------


@pytest.fixture
def small_cuts(monkeypatch):
    """Sizes of fastlin/_plan.py at which small inputs have many parts, blocks and calls."""
    sizes = {"CSR_ROWS": 16, "PART_LINES": 64, "LINES_SUMMED": 1, "CSR_CHUNK_LINES": 2000, "POOL_LINES": 64}
    for name, value in sizes.items():
        monkeypatch.setattr(_plan, name, value)
    for cached in (_plan.csr_plan, _run._route):
        cached.cache_clear()
    yield
    for cached in (_plan.csr_plan, _run._route):
        cached.cache_clear()


@pytest.mark.parametrize("c", [1, 3, 20, 70])
@pytest.mark.parametrize("order", ["C", "F"])
def test_same_bits_for_any_threads(c, order, compiled, dtype, small_cuts):
    """Parts of unequal size, several calls; agreement with one part."""
    n, d = 509, 40
    exact = testing.random_case(n, d, c, bias=True)
    X = dense(n, d)
    cut = _plan.csr_plan(n, check_csr.features(testing.sparse(X)).size, d, c, np.dtype(dtype).itemsize, compiled=True)
    assert cut.parts > 2
    assert cut.laps > 2
    W = np.asarray(exact.W.astype(dtype), order=order)

    def run(threads):
        how = {"bias": True, "backend": compiled, "threads": threads, "sample_weight": exact.sample_weight}
        loss, dW = fl.softmax_loss(W, testing.sparse(X.astype(dtype)), exact.y, **how)
        return loss, dW.tobytes(), fl.scores(W, testing.sparse(X.astype(dtype)), bias=True, threads=threads).tobytes()

    expected = run(1)
    for threads in (2, 3, 8, 2, 3, 8):
        assert run(threads) == expected
    loss, dW = fl.softmax_loss(exact.W, X, exact.y, bias=True, sample_weight=exact.sample_weight, backend="numpy")
    assert abs(expected[0] - loss) <= testing.tolerance(dtype, n) * loss
    found = np.frombuffer(expected[1], dtype).reshape(W.shape)
    assert testing.error(found, dW, 1.0) <= testing.tolerance(dtype, n)


LENGTHS = {
    "alike": np.full(40_000, 90),
    "the last ones are long": np.repeat([1, 900], [36_000, 4_000]),
    "one is long": np.where(np.arange(40_000) == 777, 900_000, 60),
    "falling": 3_000_000 // (np.arange(1, 40_001) + 9),
}


@pytest.mark.parametrize("c", [1, 20, 300])
@pytest.mark.parametrize("lengths", LENGTHS)
def test_work_of_a_call(lengths, c):
    """No kernel call goes through many more entries than half a million lines of W, but for those of one block."""
    indptr = np.concatenate([[0], np.cumsum(LENGTHS[lengths])])
    X = check_csr.Csr(np.empty(0), np.empty(0, np.int32), indptr, 10**6)
    n, lines = len(X), -(-c * 8 // 64)
    cut = _plan.csr_plan(n, X.size, 10**6, c, 8, compiled=True)
    together, chunks = cut.calls(1)
    most = block = 0
    for first in range(0, cut.parts, together):
        for chunk in range(chunks):
            entries = 0
            for part in range(first, min(first + together, cut.parts)):
                start, stop = n * part // cut.parts, n * (part + 1) // cut.parts
                blocks = -(-(stop - start) // cut.block)
                rows = [min(stop, start + cut.block * (blocks * (chunk + k) // chunks)) for k in (0, 1)]
                entries += indptr[rows[1]] - indptr[rows[0]]
            most = max(most, int(entries))
    for start in range(0, n, cut.block):
        block = max(block, int(indptr[min(n, start + cut.block)] - indptr[start]))
    assert most * lines <= 2 * _plan.CSR_CHUNK_LINES + 2 * block * lines


# ---- What is refused ----------------------------------------------------------------------------------------


def without(array, i):
    return np.delete(array, i)


GOOD = csr()
ROW_10 = int(GOOD.indptr[10])  # the first entry of row 10


def put(array, i, value):
    changed = array.astype(np.int64)
    changed[i] = value
    return changed


BAD = [
    (
        {"indptr": without(GOOD.indptr, 0)},
        ValueError,
        r"X\.indptr has 61 entries but X\.shape says 61 rows; expected 62",
    ),
    ({"indptr": put(GOOD.indptr, 3, 10**6)}, ValueError, r"X\.indptr\[4\] = \d+ is less than X\.indptr\[3\] = 1000000"),
    ({"indptr": put(GOOD.indptr, 0, -1)}, ValueError, r"X\.indptr\[0\] is -1; row pointers start at 0"),
    ({"indptr": put(GOOD.indptr, -1, 2**40)}, ValueError, r"X\.indptr\[61\] is 1099511627776 but X\.indices has \d+ "),
    ({"indptr": GOOD.indptr.astype(float)}, TypeError, r"X\.indptr must hold integers; found dtype float64"),
    ({"indptr": GOOD.indptr[:, None]}, ValueError, r"X\.indptr must have 1 dimensions"),
    (
        {"indices": put(GOOD.indices, ROW_10, D)},
        ValueError,
        rf"X\.indices\[{ROW_10}\] = {D} \(row 10\) is out of range",
    ),
    (
        {"indices": put(GOOD.indices, ROW_10, -1)},
        ValueError,
        rf"X\.indices\[{ROW_10}\] = -1 \(row 10\) .* in \[0, {D}\)",
    ),
    ({"indices": put(GOOD.indices, 5, -(2**63))}, ValueError, r"X\.indices\[5\] = -9223372036854775808"),
    ({"indices": without(GOOD.indices, 0)}, ValueError, r"X\.data has \d+ entries but X\.indices has \d+"),
    ({"indices": GOOD.indices.astype(bool)}, TypeError, r"X\.indices must hold integers; found dtype bool"),
    ({"data": GOOD.data.astype(complex)}, TypeError, r"X\.data has dtype complex128"),
    ({"data": GOOD.data.astype("U3")}, TypeError, r"X\.data has dtype <U3"),
    ({"data": None}, ValueError, r"X\.data must have 1 dimensions"),
    ({"shape": (N, D, 1)}, ValueError, r"X\.shape must be \(rows, columns\), two integers; found \(61, 23, 1\)"),
    ({"shape": None}, ValueError, r"X\.shape must be \(rows, columns\)"),
    ({"shape": (N, 2.0)}, ValueError, r"X\.shape must be \(rows, columns\)"),
    ({"shape": (-1, D)}, ValueError, r"X\.shape must be \(rows, columns\), both at least 0"),
    ({"shape": (N, 2**70)}, ValueError, r"X\.shape must be \(rows, columns\), both below 2\^48"),
    ({"shape": (N, D + 1)}, ValueError, r"X has 24 columns but W has 23 rows"),
    (
        {"format": "csc"},
        TypeError,
        r"X is sparse, but not in CSR form \(SimpleNamespace, format 'csc'\); pass X\.tocsr\(\)",
    ),
]


@pytest.mark.parametrize(
    ("changed", "kind", "message"), BAD, ids=lambda value: next(iter(value)) if type(value) is dict else ""
)
def test_bad_rows(changed, kind, message):
    X, W, out = csr(**changed), np.zeros((D, C)), np.full((D, C), 7.0)
    y = np.zeros(N, int)
    calls = [
        lambda: fl.softmax_loss(W, X, y, out=out),
        lambda: fl.scores(W, X),
        lambda: fl.train(X, y, W=W, bias=False),
        lambda: fl.minimize(X, y, W=W, bias=False),
    ]
    for call in calls:
        with pytest.raises(kind, match=message):
            call()
    assert (out == 7).all()


@pytest.mark.parametrize("fit", [fl.train, fl.minimize, fl.sweep])
def test_more_columns_than_memory_holds(fit):
    with pytest.raises(ValueError, match="X has 140737488355328 columns, and a weight for each is more than memory"):
        fit(csr(shape=(N, 2**47)), np.arange(N) % 3)


def test_wider_numbers_than_those_of_W():
    with pytest.raises(TypeError, match="X is float64 but W is float32, which cannot hold its numbers"):
        fl.softmax_loss(np.zeros((D, C), np.float32), csr(), np.zeros(N, int))


@pytest.mark.parametrize("form", ["coo", "csc", "lil", "dok", "bsr", "dia"])
def test_other_forms_of_scipy(form):
    sparse = pytest.importorskip("scipy.sparse")
    X = sparse.coo_array(dense()).asformat(form)
    with pytest.raises(TypeError, match=rf"X is sparse, but not in CSR form \({type(X).__name__}.*; pass X\.tocsr\(\)"):
        fl.scores(np.zeros((D, C)), X)


@pytest.mark.parametrize("name", ["csr_array", "csr_matrix"])
def test_scipys_own(name, backend):
    sparse = pytest.importorskip("scipy.sparse")
    X, W = dense(), np.random.default_rng(0).standard_normal((D, C))
    np.testing.assert_allclose(fl.scores(W, getattr(sparse, name)(X), backend=backend), X @ W, atol=1e-12)


def test_the_position_of_an_index_outside(monkeypatch):
    """In any of the pieces that threads look at, whichever way it is looked for."""
    monkeypatch.setattr(check_csr, "CHECKED", 7)
    for at in (0, 6, 7, 100, len(GOOD.indices) - 1):
        X = csr(indices=put(GOOD.indices, at, 99))
        with pytest.raises(ValueError, match=rf"X\.indices\[{at}\] = 99"):
            fl.scores(np.zeros((D, C)), X)


@pytest.mark.parametrize("which", ["data", "indices", "indptr"])
@pytest.mark.parametrize("layout", ["swapped", "strided", "backwards", "unaligned", "list", "memmap"])
def test_arrays_of_any_kind(which, layout, tmp_path):
    """What kernels cannot read in place is copied once."""
    A = getattr(GOOD, which)
    laid = {
        "swapped": lambda: A.astype(A.dtype.newbyteorder()),
        "strided": lambda: np.repeat(A, 3)[::3],
        "backwards": lambda: A[::-1].copy()[::-1],
        "unaligned": lambda: np.frombuffer(b"x" + A.tobytes(), np.uint8)[1:].view(A.dtype),
        "list": A.tolist,
        "memmap": lambda: np.memmap(tmp_path / "A", A.dtype, "w+", shape=A.shape),
    }[layout]()
    if layout == "memmap":
        laid[:] = A
    W = np.random.default_rng(0).standard_normal((D, C))
    np.testing.assert_allclose(fl.scores(W, csr(**{which: laid})), dense() @ W, atol=1e-12)


# ---- Rows of rows -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rows",
    [slice(3, 20), slice(20, 3), slice(None, None, 7), slice(-5, None), np.array([5, 0, 60, 5, 2]), np.zeros(0, int)],
    ids=str,
)
def test_some_rows(rows):
    X = check_csr.features(testing.sparse(dense()))
    np.testing.assert_array_equal(X[rows].toarray(), dense()[rows])
    np.testing.assert_array_equal(
        X[10:40][rows].toarray() if isinstance(rows, slice) else X[rows].toarray(),
        dense()[10:40][rows] if isinstance(rows, slice) else dense()[rows],
    )
    assert len(X[rows]) == len(dense()[rows])


def test_slices_share_memory():
    given = testing.sparse(dense())
    X = check_csr.features(given)[7:30]
    assert X.data is not given.data
    assert np.shares_memory(X.data, given.data)
    assert np.shares_memory(X.indices, given.indices)
    assert not np.shares_memory(X.indptr, given.indptr)


# ---- Another thread writes to the arrays -------------------------------------------------------------------


@pytest.mark.slow
def test_arrays_that_change_during_calls(backend):
    """An answer or a ValueError, and no crash, whatever another thread puts into the indices meanwhile."""
    X = dense(400, 50)
    given = testing.sparse(X)
    mutable = SimpleNamespace(
        data=given.data.copy(), indices=given.indices.copy(), indptr=given.indptr.copy(), shape=given.shape
    )
    W, y, done = np.ones((50, C)), np.zeros(400, int), threading.Event()

    def spoil():
        rng = np.random.default_rng(0)
        while not done.is_set():
            mutable.indices[rng.integers(0, len(mutable.indices), 9)] = rng.integers(-(2**31), 2**31, 9)
            mutable.indptr[rng.integers(0, len(mutable.indptr), 2)] = rng.integers(-(2**31), 2**31, 2)
            mutable.indices[:], mutable.indptr[:] = given.indices, given.indptr

    thread = threading.Thread(target=spoil)
    thread.start()
    try:
        for _ in range(300 if ops.BACKENDS[backend].compiled else 20):
            with contextlib.suppress(ValueError):
                fl.softmax_loss(W, mutable, y, backend=backend)
                fl.scores(W, mutable, backend=backend)
    finally:
        done.set()
        thread.join()
    mutable.indices[:], mutable.indptr[:] = given.indices, given.indptr
    np.testing.assert_allclose(fl.scores(W, mutable, backend=backend), X @ W, atol=1e-9)
