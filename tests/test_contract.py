"""Every row of the table in every backend: the promised signature, and agreement with naive in float64.

Generated from the table: a new row or backend is tested without an edit here.
"""

import dataclasses
import inspect

import numpy as np
import pytest

from fastlin import _plan, _run, losses, ops, testing
from fastlin.ops import OPS

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
        assert ops.inside(spec.default, spec.interval)
        assert ops.inside(spec.trial, spec.interval)
        assert spec.trial != spec.default


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
    value, dW = losses.evaluate(
        loss,
        testing.trial(f"{loss}_epilogue"),
        *(W, X, case.goals(loss), 0.3),
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
    """Rows enough for several parts of unequal size, each with blocks and a tail, read in place and converted."""
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
    """So large a problem takes several laps, or is converted in several pieces; Ctrl-C is heard in between."""
    monkeypatch.setattr(_plan, "LAP_FLOPS", 500_000)
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
    hyper = testing.trial(op).values()

    def run(backend, dtype):
        wide = np.full((6, 50), 7, dtype)  # the kernel gets some columns of it
        scores = wide[:, 5:42]
        scores[...] = (case.X @ case.W).T
        scratch = np.empty((3, 37), dtype)
        goals = case.goals(loss)
        args = goals.astype(np.int32 if goals is case.y else dtype), case.sample_weight.astype(dtype), scratch
        value = ops.kernel(op, backend, dtype)(scores, *args, *hyper)
        assert (wide[:, :5] == 7).all()
        assert (wide[:, 42:] == 7).all()
        return value, scores

    value, scores = run(backend, dtype)
    exact_value, exact = run("naive", "float64")
    assert isinstance(value, float)
    assert testing.error(value, exact_value) <= testing.tolerance(dtype, 37)
    assert testing.error(scores, exact) <= testing.tolerance(dtype, 6)


@pytest.mark.parametrize("storage", ["dense", "uint8"])
def test_load_agrees(storage, backend, dtype):
    """Rows as floats: where they are, or converted; strided rows too."""
    stored = np.uint8 if storage == "uint8" else dtype
    X = np.random.default_rng(0).integers(0, 256, (9, 40)).astype(stored)[::2, :37]
    rows = np.full((8, 37), -1, dtype)
    found = ops.kernel(f"{storage}_load", backend, dtype)(X, rows)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, X)
    assert (rows[5:] == -1).all()


@pytest.mark.paired(
    whole=[("storage", "mapped", "backend", "dtype"), ("c", "count", "backend"), ("c", "count", "dtype")],
    storage=["dense", "uint8"],
    mapped=[False, True],
    c=[1, 4, 7, 12],
    count=[0, 1, 3, 5, 8],
)
def test_gather_scores_agrees(storage, mapped, c, count, backend, dtype):
    """Any rows in any order, some of them twice: their features as floats and their scores; nothing else is written."""
    stored, random = np.uint8 if storage == "uint8" else dtype, np.random.default_rng(0)
    features = random.normal(size=(2 if mapped else 0, 37)).astype(dtype)
    W, b = random.normal(size=(c, 40)).astype(dtype)[:, :37], random.normal(size=2 * c).astype(dtype)[::2]
    order = np.array([8, 0, 3, 3, 7, 2, 1, 6], np.int64)[:count]
    for A in (features, order):
        A.flags.writeable = False
    for layout in ("C", "padded", "rows-reversed"):
        X = testing.layouts(random.integers(0, 256, (9, 37)).astype(stored))[layout]
        wide, S = np.full((8, 40), -1, dtype), np.full((c + 1, 9), -1, dtype)
        kernel = ops.kernel(f"{storage}_gather_scores", backend, dtype)
        kernel(X, order, features, wide[:, :37], W, b, S[:c, :count])
        expected = X[order].astype(dtype) * features[0] + features[1] if mapped else X[order]
        assert testing.error(wide[:count, :37], expected, 1000.0) <= testing.tolerance(dtype, 1)
        scores = W.astype(np.float64) @ expected.T.astype(np.float64) + b[:, None]
        assert testing.error(S[:c, :count], scores, 1000.0) <= testing.tolerance(dtype, 37)
        assert (wide[count:] == -1).all()
        assert (wide[:, 37:] == -1).all()
        assert (S[c:] == -1).all()
        assert (S[:, count:] == -1).all()


@pytest.mark.quick
def test_pieces_add(backend, dtype):
    """The gradient piece adds to what is there; the scores piece overwrites."""
    case = testing.random_case(11, 9, 4).astype(dtype)
    X, W = case.X, np.ascontiguousarray(case.W.T)
    b = np.arange(4, dtype=dtype)
    scores = np.full((4, 11), 99.0, dtype)
    ops.kernel("dense_scores", backend, dtype)(X, W, b, scores)
    exact = W.astype(np.float64) @ X.T.astype(np.float64) + b[:, None]
    assert testing.error(scores, exact) <= testing.tolerance(dtype, 9)
    dW, db = np.full((4, 9), 2.0, dtype), np.full(4, 3.0, dtype)
    ops.kernel("dense_gradient", backend, dtype)(X, scores, dW, db)
    assert testing.error(dW, 2.0 + exact @ X.astype(np.float64)) <= testing.tolerance(dtype, 11)
    assert testing.error(db, 3.0 + exact.sum(axis=1)) <= testing.tolerance(dtype, 11)


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
    """The trial values are far enough from neutral: leaving any out moves some result beyond the tolerance."""
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
