"""Properties of the fast paths beyond the table: exp to the last bits, many classes, images, small memory."""

import importlib
import itertools
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

import fastlin as fl
from fastlin import _plan, ops, testing

# ---- exp and log1p ---------------------------------------------------------------------------------------


def exp_inputs(dtype):
    """The whole range, dense near 0 and both ends, subnormal results, and what lies outside."""
    info = np.finfo(dtype)
    top, bottom, least = np.log(info.max), np.log(info.tiny), np.log(info.smallest_subnormal)
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [
            np.linspace(least - 1, top + 1, 3001),
            np.linspace(bottom - 3, bottom + 1, 501),
            np.linspace(top - 1, top + 0.001, 501),
            rng.uniform(-1, 1, 2000),
            rng.normal(0, 1e-5, 500),
            [0.0, -0.0, info.tiny, -info.smallest_subnormal, np.log(2) / 2, 1.5 * np.log(2)],
        ]
    )
    return x.astype(dtype)


def test_exp_within_two_ulp(compiled, dtype):
    mpmath = pytest.importorskip("mpmath")
    mpmath.mp.prec = 120
    x = exp_inputs(dtype)
    found = np.empty_like(x)
    ops.kernel("exp", compiled, dtype)(x, found)
    exact = [mpmath.exp(float(v)) for v in x]
    largest = mpmath.mpf(float(np.finfo(dtype).max))
    for v, e, f in zip(x, exact, found, strict=True):
        if e > largest:
            assert f == np.inf or f == np.finfo(dtype).max, v
        else:
            spacing = np.spacing(np.dtype(dtype).type(float(e)))
            assert abs(mpmath.mpf(float(f)) - e) <= 2 * float(spacing), v


def test_exp_at_the_ends(compiled, dtype):
    x = np.array([np.inf, -np.inf, np.nan, 1e4, -1e4, 0.0, np.finfo(dtype).max, -np.finfo(dtype).max], dtype)
    found = np.empty_like(x)
    ops.kernel("exp", compiled, dtype)(x, found)
    np.testing.assert_array_equal(found, np.array([np.inf, 0, np.nan, np.inf, 0, 1, np.inf, 0], dtype))


def test_log1p_within_two_ulp(compiled, dtype):
    """Of all sizes of number between the smallest and 1: log(1 + x) would be 0 below half an eps."""
    mpmath = pytest.importorskip("mpmath")
    mpmath.mp.prec = 120
    info = np.finfo(dtype)
    rng = np.random.default_rng(0)
    powers = np.exp(rng.uniform(np.log(info.tiny), 0, 2000))
    ends = [0.0, 1.0, info.tiny, info.eps, 1 - info.eps, np.nextafter(np.dtype(dtype).type(1), 0)]
    x = np.concatenate([np.linspace(0, 1, 2001), powers, ends]).astype(dtype)
    found = np.empty_like(x)
    ops.kernel("log1p", compiled, dtype)(x, found)
    for v, f in zip(x, found, strict=True):
        exact = mpmath.log1p(float(v))
        assert abs(mpmath.mpf(float(f)) - exact) <= 2 * float(np.spacing(np.dtype(dtype).type(float(exact)))), v


def test_log1p_keeps_nan(compiled, dtype):
    x = np.array([np.nan, 0.0, -0.0], dtype)
    found = np.empty_like(x)
    ops.kernel("log1p", compiled, dtype)(x, found)
    np.testing.assert_array_equal(found, np.array([np.nan, 0.0, 0.0], dtype))


def test_logistic_loss_of_a_certain_score(backend, dtype):
    """exp(-37) is below the eps of a float64: the loss is exp(-37), and not 0."""
    W = np.array([[-37.0]], dtype)
    loss, dW = fl.logistic_loss(W, np.ones((1, 1), dtype), [[0.0]], backend=backend)
    np.testing.assert_allclose(loss, np.exp(-37.0), rtol=8 * np.finfo(dtype).eps)
    np.testing.assert_allclose(dW, np.exp(-37.0), rtol=8 * np.finfo(dtype).eps)


def test_tiny_probabilities_are_zero(compiled, dtype):
    """A gradient of subnormal numbers would be right, and make the products with it ten times as slow."""
    lowest = 104 if dtype == "float32" else 745
    scores = np.vstack([np.zeros(500), np.linspace(-lowest, -lowest / 2, 500)]).astype(dtype)
    exact = np.exp(scores[1].astype(np.longdouble))
    scratch, weight = np.empty((3, 500), dtype), np.ones(500, dtype)
    ops.kernel("softmax_epilogue", compiled, dtype)(scores, np.zeros(500, np.int32), weight, scratch, 0.0)
    positive = scores[1][scores[1] > 0]
    assert 0 < len(positive) < 500
    assert positive.min() > np.finfo(dtype).tiny / np.finfo(dtype).eps
    np.testing.assert_allclose(
        scores[1].astype(np.longdouble), exact, rtol=1e-4, atol=1e-29 if dtype == "float32" else 1e-289
    )


# ---- Scores that are no numbers --------------------------------------------------------------------------


def special_scores():
    """Every row of up to three scores out of a few, then rows of ten that fill vectors."""
    values = [-np.inf, np.inf, np.nan, 0.5, -2.0]
    for c in (1, 2, 3):
        yield np.array(list(itertools.product(values, repeat=c))).T
    rng = np.random.default_rng(0)
    yield rng.choice([*values, 1.0, -1.0, 3.0], (10, 77), p=[0.05] * 3 + [0.17] * 5)


@pytest.mark.paired(whole=[("loss", "backend", "dtype")], weight=[0.5, 0.0])
def test_infinities_and_nan_as_in_the_formula(loss, weight, backend, dtype):
    """NaN and infinities are where naive has them, in each row's loss and in each slope."""
    hyper = ops.OPS[f"{loss}_epilogue"].hyper.values()
    settings = {tuple(spec.test_value for spec in hyper), tuple(spec.default for spec in hyper)}
    for scores, target, setting in itertools.product(special_scores(), (0, 1), settings):
        c, n = scores.shape
        y = np.full(n, min(target, c - 1), np.int32)
        if ops.LOSSES[loss].targets is not None:
            y = np.full((n, c), target, dtype)
        given = scores.astype(dtype)
        expected, found = (rows_of(loss, given, y, weight, setting, each) for each in ("naive", backend))
        for one, other in zip(expected, found, strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-6)


def rows_of(loss, scores, y, weight, hyper, backend):
    """The losses of the rows, one by one, and their slopes, all at once."""
    kernel = ops.kernel(f"{loss}_epilogue", backend, scores.dtype.name)
    slopes, n = scores.copy(), scores.shape[1]
    weights, scratch = np.full(n, weight, scores.dtype), np.empty((3, n), scores.dtype)
    kernel(slopes, y, weights, scratch, *hyper)
    return [kernel(scores[:, r : r + 1].copy(), y[r : r + 1], weights[:1], scratch, *hyper) for r in range(n)], slopes


@pytest.mark.paired(
    whole=[("bad", "backend", "dtype")], loss=["softmax", "squared_svm", "squared_error"], bad=[np.inf, -np.inf, np.nan]
)
def test_an_infinite_weight_spoils_what_it_meets(loss, bad, backend, dtype):
    """It does not spoil the columns before the end of a row, which are read again with that end."""
    case = testing.random_case(9, 37, 10, bias=True).astype(dtype)
    case.W[36, 3] = bad
    with np.errstate(all="ignore"):
        (expected, dW), (found, own) = (case.evaluate(loss, backend=each) for each in ("naive", backend))
    np.testing.assert_allclose([found, *own.flat], [expected, *dW.flat], rtol=1e-3, atol=1e-5)


# ---- Many classes ----------------------------------------------------------------------------------------


MANY = [(1, 1, 32), (7, 16, 33), (8, 17, 43), (129, 193, 48), (300, 70, 59), (40, 260, 131)]  # n, d, c


@pytest.mark.parametrize("shape", MANY, ids=str)
def test_products_of_many_classes(shape, compiled, dtype):
    """Rows, columns and classes that fill the tiles or do not; rows without a gradient; nothing else is written."""
    n, d, c = shape
    rng = np.random.default_rng(0)
    X, W = rng.standard_normal((2 * n, d + 3)).astype(dtype)[::2, :d], rng.standard_normal((c, d + 4)).astype(dtype)
    X.flags.writeable = False
    S = np.full((c + 1, n + 2), 7, dtype)
    ops.kernel("dense_scores", compiled, dtype)(X, 0, W[:, : d + 1], np.empty((0, d), dtype), S[:c, :n])
    floats = X.astype(np.float64)
    exact = W[:, :d].astype(np.float64) @ floats.T + W[:, d : d + 1]
    assert testing.error(S[:c, :n], exact, 20.0) <= testing.tolerance(dtype, d)
    slopes = rng.standard_normal((c, n)).astype(dtype)
    slopes[:, ::3] = 0
    dW = np.full((c + 1, d + 4), 2.0, dtype)
    ops.kernel("dense_gradient", compiled, dtype)(X, 0, np.empty((0, d), dtype), slopes, dW[:c, : d + 1])
    exact = 2.0 + slopes.astype(np.float64) @ np.column_stack([floats, np.ones(n)])
    assert testing.error(dW[:c, : d + 1], exact, 20.0) <= testing.tolerance(dtype, n)
    assert (S[c] == 7).all()
    assert (S[:, n:] == 7).all()
    assert (dW[c] == 2).all()
    assert (dW[:, d + 1 :] == 2).all()


# Few classes, but W is large enough for panels: the last of ten float64 classes are left over.
LARGE = [(150, _plan.LARGE_W // (c * size) + 1, c) for c, size in ((13, 4), (10, 8))]


@pytest.mark.paired(
    whole=[("shape", "backend", "dtype")],
    shape=[(700, 9, _plan.WIDE_CLASSES), (700, 9, 301), (150, 600, 37), (97, 70, 20), *LARGE],
)
def test_many_classes_agree(loss, shape, backend, dtype):
    """Several parts, of several blocks with a tail; columns of W that several threads pack."""
    source = testing.random_case(*shape, bias=True)
    expected = testing.reference(loss, source, 0.3)
    case = source.astype(dtype)
    found = case.evaluate(loss, 0.3, backend=backend, threads=2)
    assert max(expected.errors(*found)) <= testing.tolerance(dtype, expected.terms)
    one = case.evaluate(loss, 0.3, backend=backend, threads=1)
    assert one[0] == found[0]
    assert one[1].tobytes() == found[1].tobytes()


def test_many_classes_let_nan_through(backend):
    case = testing.random_case(9, 40, _plan.WIDE_CLASSES)
    case.X[3, :3] = np.inf
    with np.errstate(all="raise"):
        loss, _ = case.evaluate("softmax", backend=backend)
    assert not np.isfinite(loss)


@pytest.mark.parametrize("d", [1, 64, 3072])
@pytest.mark.parametrize("c", [1, 60, 1000, 5000])
def test_workspaces_are_small(d, c, dtype):
    """32 MB and a few W, however many rows there are: in rows of whole cache lines."""
    dtype, weights = np.dtype(dtype), 2 * c * (d + 32) * np.dtype(dtype).itemsize  # in padded rows
    for n in (1, 1000, 10**6, 10**9):
        cut = _plan.plan(n, d, c, dtype.itemsize, True)
        assert workspace_bytes(cut, d, c, dtype) <= (32 << 20) + (_plan.LEAST_PARTS + 1) * weights


def workspace_bytes(cut, d, c, dtype):
    """Of the largest workspace with this cut, without making it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_plan, "padded", lambda shape, dtype: np.broadcast_to(dtype.type(0), shape))
        return _plan.Workspace(cut, c, d, dtype, convert=True).size


def test_many_classes_need_little_memory(compiled):
    """Blocks of scores, not n x c of them (here 128 MB): the peak does not grow with n."""
    rng = np.random.default_rng(0)
    X, W = rng.standard_normal((32000, 16)).astype(np.float32), np.zeros((16, 1000), np.float32)
    y = rng.integers(0, 1000, 32000)
    fl.softmax_loss(W, X[:100], y[:100], backend=compiled)
    tracemalloc.start()
    fl.softmax_loss(W, X, y, backend=compiled)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 << 20


# ---- Images ----------------------------------------------------------------------------------------------


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (300, 70), dtype=np.uint8), rng.integers(0, 5, 300)


@pytest.mark.paired(whole=[("bias", "per_feature", "backend", "dtype")], bias=[False, True], per_feature=[False, True])
def test_scaled_images_equal_floats(images, loss, bias, per_feature, backend, dtype):
    X, y = images
    rng = np.random.default_rng(1)
    size = X.shape[1] if per_feature else ()
    scale, shift = rng.uniform(0.5, 1.5, size) / 128, rng.uniform(-1.5, -0.5, size)
    floats = X * scale + shift
    W = rng.standard_normal((70 + bias, 5)) / 8
    hyper = testing.off_neutral(f"{loss}_epilogue")
    exact = testing.evaluate(loss, hyper, W, floats, y, 0.1, bias=bias, backend="numpy")
    found = testing.evaluate(
        *(loss, hyper, W.astype(dtype), X, y, 0.1),
        **dict(bias=bias, x_scale=scale, x_shift=shift, backend=backend),
    )
    limit = 4 * testing.tolerance(dtype, 370)  # 255 * scale and shift cancel to about 1
    assert testing.error(found[0], exact[0]) <= limit
    assert testing.error(found[1], exact[1]) <= limit
    S = fl.scores(W.astype(dtype), X, bias=bias, x_scale=scale, x_shift=shift, backend=backend)
    assert testing.error(S, fl.scores(W, floats, bias=bias)) <= limit


@pytest.mark.parametrize(
    ("stored", "real"), [("uint8", "float32"), ("float16", "float32"), ("float16", "float64"), ("float32", "float64")]
)
def test_what_is_converted_is_not_copied(stored, real, compiled):
    """20 million numbers, 80 MB as float32: losses, scores and epochs convert a few at a time."""
    X, W, y = np.zeros((20000, 1000), stored), np.zeros((1000, 10), real), np.arange(20000) % 10
    how = {"x_scale": 1 / 255, "x_shift": -0.5, "backend": compiled}

    def work(n):
        fl.svm_loss(W, X[:n], y[:n], **how)
        fl.train(X[:n], y[:n], W=W, bias=False, loss="svm", optimizer=fl.SGD(0.1), epochs=1, **how)

    work(9)
    fl.scores(W, X[:1200], threads=1, **how)  # several parts: Numba compiles for strided scores too
    tracemalloc.start()
    work(20000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    fl.scores(W, X, threads=1, **how)
    _, peak_of_scores = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12 << 20
    assert peak_of_scores < (12 << 20) + 20000 * 10 * W.itemsize


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"x_scale": np.ones(3)}, ValueError, r"x_scale has shape \(3,\); expected one number or \(70,\)"),
        ({"x_shift": np.nan}, ValueError, "x_shift must be finite; found nan"),
        ({"x_scale": "big"}, TypeError, "x_scale must hold real numbers"),
    ],
)
def test_bad_scale(images, changes, kind, message):
    X, y = images
    with pytest.raises(kind, match=message):
        fl.svm_loss(np.zeros((70, 5)), X, y, **changes)


@pytest.mark.parametrize("c", [1, 4, 6, 7, 10, 13, 15])
@pytest.mark.parametrize("d", [512, 1023, 1040])
def test_the_bits_do_not_depend_on_where_rows_begin(d, c, compiled, dtype):
    """The gradient goes through long rows from their first whole vector on, which other columns precede."""
    n, stride, rng = 70, -(-d // 16) * 16, np.random.default_rng(d + c)  # whole vectors from one row to the next
    values, W, y = rng.standard_normal((n, d)), rng.normal(0, 0.1, (d, c)).astype(dtype), rng.integers(0, c, n)
    expected = fl.softmax_loss(W.astype("float64"), values, y, reg=0.3, backend="numpy")[1]
    found = []
    for beyond in (0, 1, 4, 15):
        memory = np.empty(n * stride + 32, dtype)
        start = -memory.ctypes.data % 64 // memory.itemsize + beyond
        X = memory[start : start + n * stride].reshape(n, stride)[:, :d]
        X[:] = values
        found.append(fl.softmax_loss(W, X, y, reg=0.3, backend=compiled)[1])
        np.testing.assert_array_equal(found[-1], found[0])
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=30 * np.finfo(dtype).eps)


def test_warmup(backend):
    fl.warmup(backend)


AFTER_WARMUP = """
import numpy as np, fastlin as fl
from fastlin.kernels.numba_updates import penalty_stage
fl.warmup("numba", loss="softmax")
known = len(penalty_stage.signatures)
for dtype in ("float32", "float64"):
    for bias in (False, True):
        for order in ("C", "F"):
            W = np.ones((3 + bias, 2), dtype, order)
            fl.softmax_loss(W, np.ones((4, 3), dtype), np.zeros(4, int), 0.1, bias=bias, backend="numba")
assert known == len(penalty_stage.signatures) == 4, penalty_stage.signatures
"""


@pytest.mark.numba
def test_no_penalty_is_compiled_after_warmup():
    if "numba" not in ops.installed():
        pytest.skip("numba is not installed")
    found = subprocess.run([sys.executable, "-c", AFTER_WARMUP], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


@pytest.mark.numba
def test_numba_compiles_once_whatever_the_layout(monkeypatch):
    """Weights given or not, any strides, read-only or not: a driver takes seconds to compile."""
    if "numba" not in ops.installed():
        pytest.skip("numba is not installed")
    drivers = importlib.import_module("fastlin.kernels.numba_drivers")
    compiled = []
    monkeypatch.setattr(
        drivers, "compile_loss", lambda *how, real=drivers.compile_loss: compiled.append(how) or real(*how)
    )
    ops.loss_kernel.cache_clear()
    ops._made.cache_clear()
    case = testing.random_case(9, 6, 4).astype("float32")
    for layout in ("C", "F", "strided", "padded"):
        for weight in (None, case.sample_weight):
            W, X = (testing.layouts(A)[layout] for A in (case.W, case.X))
            fl.svm_loss(W, X, case.y, sample_weight=weight, backend="numba")
            fl.svm_loss(W.copy(), X.copy(), case.y, sample_weight=weight, backend="numba")
    assert len(compiled) == 1


def test_second_call_allocates_nothing_large(compiled):
    """The workspace for W by class, gradients of parts and scores is kept from one call to the next."""
    W, X, y = np.zeros((20000, 10), np.float32), np.zeros((40, 20000), np.float32), np.zeros(40, int)
    out = np.empty_like(W)
    fl.svm_loss(W, X, y, out=out, backend=compiled)
    tracemalloc.start()
    fl.svm_loss(W, X, y, out=out, backend=compiled)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < W.nbytes / 10
