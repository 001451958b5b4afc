"""Every row of the table in every backend: the promised signature, and agreement with naive in float64.

Generated from the table: a new row or backend is tested without an edit here.
"""

import dataclasses
import inspect

import numpy as np
import pytest

from fastlin import _plan, _rows, _run, ops, testing
from fastlin.ops import OPS, STORAGES

DENSE = [name for name, row in STORAGES.items() if row.gathers]  # tests/kernels/test_csr.py is about the others
CASES = {case.name: case for case in testing.cases()}
UPDATES = [name for name, op in OPS.items() if op.kind == "update"]


@pytest.fixture(scope="module")
def expected():
    """References by (loss, case, reg): each is computed once."""
    known = {}

    def find(loss, case, reg):
        key = loss, case.name, reg
        if key not in known:
            known[key] = testing.reference(loss, case, reg)
        return known[key]

    return find


@pytest.mark.parametrize("op", OPS)
def test_signature(op, backend):
    function = ops.kernel(op, backend, "float64")
    assert tuple(inspect.signature(function).parameters) == OPS[op].args


@pytest.mark.parametrize("op", OPS)
def test_row_is_consistent(op):
    row = OPS[op]
    assert set(row.writes) | set(row.state) | set(row.hyper) <= set(row.args)
    for spec in row.hyper.values():
        assert _rows.inside(spec.default, spec.interval)
        assert _rows.inside(spec.test_value, spec.interval)
        assert spec.test_value != spec.default


@pytest.mark.paired(
    whole=[("loss", "name", "backend"), ("loss", "name", "dtype"), ("loss", "backend", "dtype")], name=CASES
)
def test_loss_agrees(loss, name, backend, dtype, expected):
    case = CASES[name].astype(dtype)
    reference = expected(loss, CASES[name], 0.3)
    errors = reference.errors(*case.evaluate(loss, 0.3, backend=backend))
    assert max(errors) <= testing.tolerance(dtype, reference.terms)


@pytest.mark.paired(
    whole=[("which", "layout", "backend", "dtype")], which=["X", "W"], layout=testing.layouts(np.zeros((2, 3)))
)
def test_layout_agrees(loss, layout, which, backend, dtype, expected):
    source = testing.random_case(13, 9, 5, bias=True)
    reference = expected(loss, source, 0.3)
    case = source.astype(dtype)
    X, W = ((testing.layouts(A)[layout] if name == which else A) for name, A in (("X", case.X), ("W", case.W)))
    before = X.copy(), W.copy()
    value, dW = testing.evaluate(
        loss,
        testing.off_neutral(f"{loss}_epilogue"),
        *(W, X, case.targets(loss), 0.3),
        sample_weight=case.sample_weight,
        bias=True,
        backend=backend,
    )
    assert max(reference.errors(value, dW)) <= testing.tolerance(dtype, reference.terms)
    assert dW.dtype == W.dtype
    assert dW.shape == W.shape
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(W, before[1])


@pytest.mark.paired(whole=[("order", "compiled", "dtype")], order=["C", "F"])
def test_many_parts_agree(loss, order, compiled, dtype, expected):
    """There are several parts of unequal size, each with blocks and a tail, read in place and converted."""
    source = testing.random_case(2501, 131, 10, bias=True)
    cut = _plan.plan(2501, 131, 10, np.dtype(dtype).itemsize, compiled=True)
    assert cut.parts > 2
    assert 2501 % cut.parts
    reference = expected(loss, source, 0.3)
    case = source.astype(dtype)
    case = dataclasses.replace(case, X=np.array(case.X, order=order))
    errors = reference.errors(*case.evaluate(loss, 0.3, backend=compiled, threads=2))
    assert max(errors) <= testing.tolerance(dtype, reference.terms)


@pytest.mark.paired(whole=[("order", "compiled", "dtype")], order=["C", "F"])
def test_many_calls_agree(loss, order, compiled, dtype, expected, monkeypatch):
    """Such large inputs take several chunks, or are converted in several pieces, between which Ctrl-C is answered."""
    monkeypatch.setattr(_plan, "CHUNK_FLOPS", 500_000)
    monkeypatch.setattr(_plan, "COPY_BYTES", 100_000)
    for cached in (_plan.plan, _run._route):
        cached.cache_clear()
    source = testing.random_case(701, 131, 10, bias=True)
    assert _plan.plan(701, 131, 10, np.dtype(dtype).itemsize, compiled=True).laps > 2
    reference = expected(loss, source, 0.3)
    case = source.astype(dtype)
    case = dataclasses.replace(case, X=np.array(case.X, order=order))
    errors = reference.errors(*case.evaluate(loss, 0.3, backend=compiled, threads=2))
    for cached in (_plan.plan, _run._route):
        cached.cache_clear()
    assert max(errors) <= testing.tolerance(dtype, reference.terms)


@pytest.mark.paired(whole=[("c", "compiled", "dtype")], c=[1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 16, 17, 33])
def test_every_tail(loss, c, compiled, dtype, expected):
    for d in (*range(1, 20), 31, 33, 64, 65):
        source = testing.random_case(5, d, c)
        reference = expected(loss, source, 0.0)
        errors = reference.errors(*source.astype(dtype).evaluate(loss, backend=compiled))
        assert max(errors) <= testing.tolerance(dtype, reference.terms), (d, c)


@pytest.mark.quick
def test_epilogue_agrees(loss, backend, dtype):
    op = f"{loss}_epilogue"
    case = testing.random_case(37, 4, 6)
    hyper = testing.off_neutral(op).values()

    def run(backend, dtype):
        wide = np.full((6, 50), 7, dtype)  # the kernel gets some columns of it
        scores = wide[:, 5:42]
        scores[...] = (case.X @ case.W).T
        scratch = np.empty((3, 37), dtype)
        targets = case.targets(loss)
        args = targets.astype(np.int32 if targets is case.y else dtype), case.sample_weight.astype(dtype), scratch
        value = ops.kernel(op, backend, dtype)(scores, *args, *hyper)
        assert (wide[:, :5] == 7).all()
        assert (wide[:, 42:] == 7).all()
        return value, scores

    value, scores = run(backend, dtype)
    exact_value, exact = run("naive", "float64")
    assert isinstance(value, float)
    assert testing.error(value, exact_value) <= testing.tolerance(dtype, 37)
    assert testing.error(scores, exact) <= testing.tolerance(dtype, 6)


# ---- Storages ---------------------------------------------------------------------------------------------


def stored(storage, dtype, n=9, d=37):
    """An X of the storage with numbers that every type holds, in rows longer than they are used."""
    kind = STORAGES[storage].reads or dtype
    X = np.random.default_rng(0).integers(0, 256, (2 * n, d + 3)).astype(kind)[::2, :d]
    X.flags.writeable = False
    return X


def served(storage, dtype):
    if dtype not in STORAGES[storage].W_dtypes:
        pytest.skip(f"{storage} is not read beside {dtype} weights")


@pytest.mark.quick
@pytest.mark.paired(
    whole=[("storage", "backend", "dtype"), ("layout", "storage", "backend"), ("c", "storage", "backend")],
    storage=DENSE,
    layout=["C", "padded", "rows-reversed"],
    c=[1, 4, 7, 12],
)
def test_scores_and_gradient_agree(storage, layout, c, backend, dtype):
    """Scores are overwritten and the gradient is added, for the rows from `start` on; nothing else is written."""
    served(storage, dtype)
    X, start, rows = testing.layouts(stored(storage, dtype, 20))[layout], 3, 11
    random = np.random.default_rng(c)
    W, buffer, S = (np.full(shape, 9, dtype) for shape in ((c, 40), (14, 40), (c + 1, 12)))
    W[:, :38] = random.normal(size=(c, 38))
    kernel = ops.kernel(f"{storage}_scores", backend, dtype)
    kernel(X, start, W[:, :38], buffer[:13, :37], S[:c, :rows])
    floats = X[start : start + rows].astype(np.float64)
    exact = W[:, :37].astype(np.float64) @ floats.T + W[:, 37:38]
    assert testing.error(S[:c, :rows], exact, 5000.0) <= testing.tolerance(dtype, 37)
    assert (S[c:] == 9).all()
    assert (S[:, rows:] == 9).all()
    assert (buffer[:, 37:] == 9).all()
    slopes = random.normal(size=(c, rows)).astype(dtype)
    slopes.flags.writeable = False
    dW = np.full((c, 40), 2.0, dtype)
    ops.kernel(f"{storage}_gradient", backend, dtype)(X, start, buffer[:13, :37], slopes, dW[:, :38])
    assert testing.error(dW[:, :37], 2.0 + slopes.astype(np.float64) @ floats, 5000.0) <= testing.tolerance(dtype, rows)
    assert testing.error(dW[:, 37], 2.0 + slopes.astype(np.float64).sum(axis=1)) <= testing.tolerance(dtype, rows)
    assert (dW[:, 38:] == 2).all()


@pytest.mark.paired(
    whole=[
        ("storage", "mapped", "backend", "dtype"),
        ("c", "count", "backend"),
        ("c", "count", "dtype"),
        ("columns", "storage", "backend", "dtype"),
    ],
    storage=DENSE,
    mapped=[False, True],
    columns=[(0, 37), (0, 16), (16, 37)],
    c=[1, 4, 7, 12],
    count=[0, 1, 3, 5, 8],
)
def test_gathering_agrees(storage, mapped, columns, c, count, backend, dtype):
    """Any rows in any order, some twice, some of the columns; b goes with the first; nothing else is written."""
    served(storage, dtype)
    random, (first, last) = np.random.default_rng(0), columns
    scale_shift = random.normal(size=(2 if mapped else 0, 37)).astype(dtype)
    W = random.normal(size=(c, 40)).astype(dtype)[:, :38]
    order = np.array([8, 0, 3, 3, 7, 2, 1, 6], np.int64)[:count]
    for A in (scale_shift, order):
        A.flags.writeable = False
    for layout in ("C", "padded", "rows-reversed"):
        X = testing.layouts(stored(storage, dtype))[layout]
        buffer, S, dW = np.full((8, 40), -1, dtype), np.full((c + 1, 9), -1, dtype), np.full((c, 40), 2, dtype)
        where = X, order, first, last
        kernel = ops.kernel(f"{storage}_gather_scores", backend, dtype)
        kernel(*where, scale_shift, buffer[:, :37], W, S[:c, :count])
        rows = X[order].astype(np.float64)
        rows = (rows * scale_shift[0] + scale_shift[1] if mapped else rows)[:, first:last]
        exact = W[:, first:last].astype(np.float64) @ rows.T + (W[:, 37:] if first == 0 else 0)
        assert testing.error(S[:c, :count], exact, 2000.0) <= testing.tolerance(dtype, 37)
        assert (S[c:] == -1).all()
        assert (S[:, count:] == -1).all()
        slopes = random.normal(size=(c, count)).astype(dtype)
        ops.kernel(f"{storage}_gather_gradient", backend, dtype)(
            *where, scale_shift, buffer[:, :37], slopes, dW[:, :38]
        )
        gradient = np.full((c, 40), 2.0)
        gradient[:, first:last] += slopes.astype(np.float64) @ rows
        gradient[:, 37] += slopes.astype(np.float64).sum(axis=1) if first == 0 else 0
        assert testing.error(dW, gradient, 2000.0) <= testing.tolerance(dtype, 37)
        assert (buffer[count:] == -1).all()
        assert (buffer[:, 37:] == -1).all()


@pytest.mark.quick
@pytest.mark.parametrize("count", [1, 3, 6])
def test_rows_behind_in_the_order_are_not_read(count, backend, dtype):
    """They are prefetched, from any address: the first `count` rows alone have their scores and gradient added."""
    random = np.random.default_rng(0)
    X, W = random.normal(size=(9, 37)).astype(dtype), random.normal(size=(4, 38)).astype(dtype)
    buffer, S, dW = np.empty((8, 37), dtype), np.empty((4, count), dtype), np.zeros((4, 38), dtype)
    order, mapped = np.array([8, 0, 3, 3, 7, 2, *[0] * 20], np.int64), np.empty((0, 37), dtype)
    order[count:] = 2**40
    ops.kernel("dense_gather_scores", backend, dtype)(X, order, 0, 37, mapped, buffer, W, S)
    rows = X[order[:count]]
    assert testing.error(S, W[:, :37] @ rows.T + W[:, 37:], 2000.0) <= testing.tolerance(dtype, 37)
    ops.kernel("dense_gather_gradient", backend, dtype)(X, order, 0, 37, mapped, buffer, S, dW)
    assert testing.error(dW[:, :37], S @ rows, 2000.0) <= testing.tolerance(dtype, 37)


def test_every_float16_is_converted_exactly(backend, dtype):
    """All 65536 of them: subnormal numbers, infinities and NaN."""
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16).reshape(-1, 32)
    row_buffer, W, S = np.empty((2048, 32), dtype), np.zeros((1, 33), dtype), np.empty((1, 2048), dtype)
    if backend == "naive":  # it reads X where it is
        W, S = np.eye(32, 33, dtype=dtype), np.empty((32, 2048), dtype)
        every = np.where(np.isfinite(every), every, np.float16(0))  # 0 times infinity is NaN
    ops.kernel("float16_scores", backend, dtype)(every, 0, W, row_buffer, S)
    found = S.T if backend == "naive" else row_buffer
    np.testing.assert_array_equal(found, every.astype(dtype))


@pytest.mark.quick
def test_add_product_adds(backend, dtype):
    random = np.random.default_rng(0)
    X, G = random.normal(size=(11, 9)).astype(dtype), random.normal(size=(4, 11)).astype(dtype)
    total, sums = np.full((4, 9), 2.0, dtype), np.full(4, 3.0, dtype)
    ops.kernel("add_product", backend, dtype)(X, G, total, sums)
    assert testing.error(total, 2.0 + G.astype(np.float64) @ X) <= testing.tolerance(dtype, 11)
    assert testing.error(sums, 3.0 + G.astype(np.float64).sum(axis=1)) <= testing.tolerance(dtype, 11)


@pytest.mark.parametrize("rows", [9, 10])
def test_layout_goes_there_and_back(rows, backend, dtype):
    """(d, c) and, with b, (d + 1, c); the sum of the parts, in order."""
    W = np.random.default_rng(0).normal(size=(rows, 4)).astype(dtype)
    weights = np.full((4, 10), 7.0, dtype)
    ops.kernel("to_class_major", backend, dtype)(W, weights)
    np.testing.assert_array_equal(weights[:, :rows], W.T)
    assert (weights[:, rows:] == 0).all()
    dW = np.empty_like(W)
    ops.kernel("combine_class_major", backend, dtype)(np.stack([weights, weights]), 0.25, dW)
    np.testing.assert_allclose(dW, W / 2, rtol=1e-6)


# ---- Updates ----------------------------------------------------------------------------------------------


@pytest.mark.paired(
    whole=[("rule", "size", "backend"), ("rule", "backend", "dtype"), ("size", "backend", "dtype")],
    rule=UPDATES,
    size=[0, 1, 7, 64, 1001],
)
def test_update_agrees(rule, size, backend, dtype):
    case = testing.update_case(rule, size, dtype)
    expected = case.astype("float64").step("naive")
    for found, exact in zip(case.step(backend), expected, strict=True):
        assert testing.error(found, exact) <= testing.tolerance(dtype, 1)


@pytest.mark.parametrize("rule", UPDATES)
def test_update_stays_inside(rule, backend, dtype):
    """Entries around the arrays are not touched, and g is only read."""
    case = testing.update_case(rule, 37, dtype)
    wide = [np.full(41, 7.0, dtype) for _ in case.arrays]
    for A, B in zip(wide, case.arrays, strict=True):
        A[2:39] = B
    case.kernel(backend)(*(A[2:39] for A in wide), *case.scalars)
    for A in wide:
        assert (A[:2] == 7).all()
        assert (A[39:] == 7).all()
    np.testing.assert_array_equal(wide[1][2:39], case.arrays[1])


def test_a_forgotten_hyper_parameter_is_seen(dtype):
    """The test values are far enough from neutral: leaving any out moves some result beyond the tolerance."""
    for rule in UPDATES:
        names = [name for name in OPS[rule].args if name in OPS[rule].hyper or name == "t"]
        case = testing.update_case(rule, 50, dtype)
        right = case.step("naive")
        for i, name in enumerate(names):
            scalars = list(case.scalars)
            scalars[i] = 1 if name == "t" else OPS[rule].hyper[name].default
            wrong = testing.UpdateCase(rule, case.arrays, tuple(scalars)).step("naive")
            differences = [testing.error(A, B) for A, B in zip(wrong, right, strict=True)]
            assert max(differences) > 10 * testing.tolerance(dtype, 1), (rule, name)


def test_unknown_backend_is_named():
    with pytest.raises(ValueError, match="backend must be one of naive, numpy, numba, cython; found 'torch'"):
        testing.random_case(3, 2, 2).evaluate("svm", backend="torch")


def test_missing_backend_never_falls_back(monkeypatch):
    ops.module.cache_clear()
    absent = ops.Backend("fastlin.kernels.absent_ops", "absent", "pip install 'fastlin[absent]'", compiled=True)
    monkeypatch.setitem(ops.BACKENDS, "absent", absent)
    with pytest.raises(ImportError, match=r"'absent' cannot be loaded.*pip install 'fastlin\[absent\]'"):
        testing.random_case(3, 2, 2).evaluate("svm", backend="absent")
