"""Bad input: a clear error that names the argument, and nothing has been written."""

import warnings

import numpy as np
import pytest

import fastlin as fl
from fastlin import testing

N, D, C = 6, 4, 3


def good(dtype=np.float64):
    rng = np.random.default_rng(0)
    return {
        "W": rng.standard_normal((D, C)).astype(dtype),
        "X": rng.standard_normal((N, D)).astype(dtype),
        "y": np.array([0, 1, 2, 0, 1, 2]),
    }


def y_with(i, value, dtype=np.int64):
    y = good()["y"].astype(dtype)
    y[i] = value
    return y


def read_only(A):
    A = A.copy()
    A.flags.writeable = False
    return A


def matrix(A):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's own, about what is refused here
        return np.asmatrix(A)


def shared(which):
    """An `out` that overlaps an input."""
    arguments = good()
    if which == "W":
        return {"W": arguments["W"], "out": arguments["W"]}
    buffer = np.zeros((N + D, D))
    arguments["X"] = buffer[:N]
    return {"X": arguments["X"], "out": buffer[N - 1 : N - 1 + D, :C]}


VALUE, TYPE = ValueError, TypeError
BAD = {
    # labels
    "label -1": (
        {"y": y_with(3, -1)},
        VALUE,
        r"y\[3\] = -1 is out of range; labels must be integers in \[0, 3\)",
    ),
    "label -1 hint": ({"y": y_with(3, -1)}, VALUE, "sample_weight 0"),
    "label C": ({"y": y_with(2, 3)}, VALUE, r"y\[2\] = 3 is out of range"),
    "labels from 1": ({"y": good()["y"] + 1}, VALUE, "pass y - 1"),
    "label 2**40": ({"y": y_with(1, 2**40)}, VALUE, r"y\[1\] = 1099511627776 is out of range"),
    "label 2**32": ({"y": y_with(1, 2**32)}, VALUE, r"y\[1\] = 4294967296 is out of range"),
    "label uint64": ({"y": y_with(1, 2**63 + 1, np.uint64)}, VALUE, r"y\[1\] = 9223372036854775809 is out"),
    "float label": (
        {"y": y_with(4, 1.5, float)},
        TYPE,
        r"y must hold integers; found dtype float64, with y\[4\] = 1.5",
    ),
    "nan label": ({"y": y_with(4, np.nan, float)}, TYPE, r"y\[4\] = nan"),
    "integral floats": ({"y": good()["y"].astype(float)}, TYPE, r"y\.astype\(np\.int64\)"),
    "bool labels": ({"y": good()["y"] > 0}, TYPE, "y holds booleans but W has 3 classes"),
    "one-hot": ({"y": np.eye(3, dtype=int)[good()["y"]]}, VALUE, r"y has shape \(6, 3\); expected \(6,\); one-hot"),
    "column": ({"y": good()["y"][:, None]}, VALUE, r"y\.ravel\(\)"),
    "scalar y": ({"y": 1}, VALUE, r"y has shape \(\); expected \(6,\)"),
    "strings": ({"y": np.array(["a", "b"] * 3)}, TYPE, "return_inverse=True"),
    "too few labels": ({"y": good()["y"][:5]}, VALUE, "X has 6 rows but y has 5 labels"),
    "masked y": ({"y": np.ma.masked_equal(good()["y"], 2)}, TYPE, "y is a masked array"),
    # shapes
    "columns": ({"X": np.ones((N, D + 2))}, VALUE, "X has 6 columns but W has 4 rows; they must be as many"),
    "bias row": ({"X": np.ones((N, D - 1))}, VALUE, "pass bias=True"),
    "bias asked": ({"bias": True}, VALUE, "X has 4 columns but W has 4 rows; with bias=True W must have 5"),
    "W transposed": ({"W": good()["W"].T.copy()}, VALUE, r"looks transposed: pass W\.T"),
    "X 1-D": ({"X": np.ones(D)}, VALUE, r"X must have 2 dimensions; found shape \(4,\).*X\.reshape\(1, -1\)"),
    "X images": ({"X": np.ones((N, 2, 2, 1))}, VALUE, r"X\.reshape\(len\(X\), -1\)"),
    "W 1-D": ({"W": np.ones(D)}, VALUE, r"W must have 2 dimensions; found shape \(4,\)"),
    "no class": ({"W": np.ones((D, 0))}, VALUE, r"W has shape \(4, 0\), no class"),
    "no rows": (
        {"X": np.ones((0, D)), "y": np.zeros(0, int)},
        VALUE,
        "X has 0 rows; the mean over zero rows",
    ),
    "ragged": ({"X": [[1.0, 2.0], [3.0]]}, VALUE, "X cannot be made an array"),
    # kinds
    "matrix": ({"X": matrix(good()["X"])}, TYPE, r"X is a numpy\.matrix; pass np\.asarray\(X\)"),
    "masked X": ({"X": np.ma.masked_less(good()["X"], 0)}, TYPE, "X is a masked array"),
    "float16": (
        {"W": good()["W"].astype(np.float16)},
        TYPE,
        "W has dtype float16; expected float32 or float64",
    ),
    "longdouble": ({"X": good()["X"].astype(np.longdouble)}, TYPE, "expected float16, float32, float64 or integers"),
    "complex": ({"W": good()["W"] + 0j}, TYPE, "W has dtype complex128; expected float32 or float64"),
    "integer W": ({"W": np.ones((D, C), int)}, TYPE, r"W has dtype int64.*W\.astype\(np\.float64\)"),
    "objects": ({"X": good()["X"].astype(object)}, TYPE, "X has dtype object"),
    "dates": ({"X": np.zeros((N, D), "datetime64[s]")}, TYPE, "X has dtype datetime64"),
    "mixed": ({"W": good(np.float32)["W"]}, TYPE, r"X is float64 but W is float32.*X\.astype\(W\.dtype\)"),
    # weights of rows
    "weights shape": ({"sample_weight": np.ones(5)}, VALUE, "X has 6 rows but sample_weight has 5 entries"),
    "weights 2-D": ({"sample_weight": np.ones((6, 1))}, VALUE, "sample_weight must have 1 dimensions"),
    "weights kind": ({"sample_weight": ["a"] * 6}, TYPE, "sample_weight must hold real numbers"),
    # hyper-parameters
    "reg nan": ({"reg": np.nan}, VALUE, r"reg must be in \[0, inf\); found nan"),
    "reg negative": ({"reg": -0.1}, VALUE, r"reg must be in \[0, inf\); found -0.1"),
    "reg inf": ({"reg": np.inf}, VALUE, r"reg must be in \[0, inf\)"),
    "reg kind": ({"reg": "l2"}, TYPE, r"reg must be a number in \[0, inf\).*fl\.L1\(0\.1\); found 'l2'"),
    "reduction": ({"reduction": "rows"}, VALUE, "reduction must be one of 'mean', 'sum', 'none'; found 'rows'"),
    "backend": ({"backend": "fortran"}, VALUE, "backend must be one of naive, numpy, numba, cython"),
    "threads 0": ({"threads": 0}, VALUE, "threads must be an integer of at least 1; found 0"),
    "threads float": ({"threads": 1.5}, TYPE, "threads must be an integer of at least 1; found 1.5"),
    # out
    "out list": ({"out": [[0.0] * C] * D}, TYPE, "out must be an array to write into"),
    "out shape": ({"out": np.zeros((C, D))}, VALUE, r"out has shape \(3, 4\).*expected those of W"),
    "out dtype": ({"out": np.zeros((D, C), np.float32)}, VALUE, "dtype float32; expected those of W"),
    "out read-only": ({"out": read_only(np.zeros((D, C)))}, VALUE, "out is read-only"),
    "out is W": (shared("W"), VALUE, "out shares memory with W"),
    "out in X": (shared("X"), VALUE, "out shares memory with X"),
    "out on itself": (
        {"out": np.lib.stride_tricks.as_strided(np.zeros(C), (D, C), (0, 8))},
        VALUE,
        "entries of out share memory",
    ),
}

ONLY_ONE_LOSS = {
    "margin nan": (fl.svm_loss, {"margin": np.nan}, VALUE, r"margin must be in \[0, inf\); found nan"),
    "margin negative": (fl.svm_loss, {"margin": -1}, VALUE, "margin must be in"),
    "margin kind": (fl.svm_loss, {"margin": "1"}, TYPE, "margin must be a number in"),
    "variant": (
        fl.svm_loss,
        {"variant": "ovr"},
        VALUE,
        "variant must be one of 'weston_watkins', 'crammer_singer', 'one_vs_rest'; found 'ovr'",
    ),
    "squared variant": (
        fl.svm_loss,
        {"variant": "crammer_singer", "squared": True},
        VALUE,
        "variant 'crammer_singer' has no squared form; pass squared=False or another variant",
    ),
    "smoothing": (fl.softmax_loss, {"label_smoothing": 1.1}, VALUE, r"label_smoothing must be in \[0, 1\]"),
}


def refused(function, changes, kind, message):
    """The call raises this, and `out` still holds what it held."""
    arguments = good() | changes
    out = arguments.setdefault("out", np.full_like(np.asarray(arguments["W"]), 7))
    before = np.array(out, copy=True)
    with pytest.raises(kind, match=message):
        function(**arguments)
    np.testing.assert_array_equal(out, before)


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("function", [fl.softmax_loss, fl.svm_loss])
def test_bad_input(function, name):
    refused(function, *BAD[name])


@pytest.mark.parametrize("name", [name for name, (changes, *_) in BAD.items() if "y" not in changes])
def test_bad_input_beside_targets(name):
    refused(fl.logistic_loss, *BAD[name])


BAD_TARGETS = {
    "above": (fl.logistic_loss, {"y": np.full((N, C), 1.5)}, VALUE, r"y\[0, 0\] = 1.5 is out of range.*in \[0, 1\]"),
    "one column": (
        fl.logistic_loss,
        {"W": np.ones((D, 1)), "y": [0, 1, 1, -1, 0, 0]},
        VALUE,
        r"y\[3\] = -1.0 is out of range; the targets of this loss must be in \[0, 1\]",
    ),
    "label": (fl.squared_error_loss, {"y": y_with(3, 3)}, VALUE, r"y\[3\] = 3 is out of range"),
    "numbers for classes": (
        fl.squared_error_loss,
        {"y": np.ones(N)},
        VALUE,
        r"y has shape \(6,\) and dtype float64 but X has 6 rows and W 3 columns; expected targets \(6, 3\) or integer",
    ),
    "rows": (fl.absolute_error_loss, {"y": np.ones((N - 1, C))}, VALUE, r"expected targets \(6, 3\)"),
    "transposed": (fl.absolute_error_loss, {"y": np.ones((C, N))}, VALUE, r"y has shape \(3, 6\)"),
    "strings": (fl.squared_error_loss, {"y": np.full((N, C), "a")}, TYPE, "y must hold numbers; found dtype <U1"),
    "complex": (fl.squared_error_loss, {"y": np.ones((N, C)) * 1j}, TYPE, "y must hold numbers; found dtype complex"),
}


@pytest.mark.parametrize("name", BAD_TARGETS)
def test_bad_targets(name):
    refused(*BAD_TARGETS[name])


def test_any_targets_will_do(backend):
    """Strided, read-only, swapped, of integers: the same bits as the plain array."""
    arguments = good() | {"backend": backend}
    T = np.random.default_rng(0).integers(0, 9, (N, C)) / 8
    expected = fl.squared_error_loss(**(arguments | {"y": T}))
    for name, y in testing.layouts(T).items():
        found = fl.squared_error_loss(**(arguments | {"y": y}))
        assert found[0] == expected[0], name
        np.testing.assert_array_equal(found[1], expected[1])
    eightfold = fl.squared_error_loss(**(arguments | {"y": (8 * T).astype(np.int8)}))
    assert eightfold[0] == fl.squared_error_loss(**(arguments | {"y": 8 * T}))[0]


@pytest.mark.parametrize("name", ONLY_ONE_LOSS)
def test_bad_hyper_parameter(name):
    refused(*ONLY_ONE_LOSS[name])


@pytest.mark.parametrize(
    "kind", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, ">i4"]
)
def test_good_labels(kind):
    arguments = good()
    expected = fl.svm_loss(**arguments)
    for y in (arguments["y"].astype(kind), np.repeat(arguments["y"], 2).astype(kind)[::2]):
        found = fl.svm_loss(**(arguments | {"y": read_only(y) if y.base is None else y}))
        assert found[0] == expected[0]
        np.testing.assert_array_equal(found[1], expected[1])


def test_lists_are_arrays():
    arguments = good()
    expected = fl.softmax_loss(**arguments)
    found = fl.softmax_loss(**{name: value.tolist() for name, value in arguments.items()})
    assert found[0] == expected[0]


def test_two_classes_take_booleans():
    arguments = good() | {"W": np.ones((D, 2)), "y": np.array([True, False] * 3)}
    assert fl.svm_loss(**arguments)[0] == 1.0


@pytest.mark.parametrize("order", ["C", "F"])
def test_out_is_overwritten_and_returned(order, backend):
    arguments = good()
    _, expected = fl.svm_loss(**arguments, reg=0.1, backend=backend)
    wide = np.full((D, 2 * C), 7.0, order=order)
    for out in (np.full((D, C), np.nan, order=order), wide[:, ::2]):
        _, dW = fl.svm_loss(**arguments, reg=0.1, out=out, backend=backend)
        assert dW is out
        np.testing.assert_array_equal(out, expected)
    assert (wide[:, 1::2] == 7).all()


def test_numpy_may_be_told_to_raise(backend):
    """The caller's np.seterr does not reach into the kernels: underflow in exp is no error."""
    with np.errstate(all="raise"):
        loss, _ = fl.softmax_loss(np.array([[0.0, 2000.0]]), np.ones((2, 1)), [0, 1], backend=backend)
    assert loss == 1000.0


def test_a_label_changed_after_the_check_is_not_seen(monkeypatch, compiled):
    """Kernels get our own copy of the labels: no other thread can move one out of range."""
    from fastlin import _run

    arguments = good()
    y = arguments["y"]
    real = _run.loss_grad

    def meddle(*args):
        y[:] = 10**6
        return real(*args)

    expected, _ = fl.svm_loss(**arguments, backend=compiled)
    monkeypatch.setattr(_run, "loss_grad", meddle)
    assert fl.svm_loss(**arguments, backend=compiled)[0] == expected


def test_nothing_outside_the_arrays_is_read(compiled, dtype):
    """X, W and their copies end where a page that may not be read begins."""
    import mmap

    for n, d, c in [(1, 1, 1), (3, 17, 5), (5, 33, 10), (9, 64, 2)]:
        pages = []

        def at_the_end(A, pages=pages):
            size = -(-max(A.nbytes, 1) // mmap.PAGESIZE) * mmap.PAGESIZE
            buffer = mmap.mmap(-1, size + mmap.PAGESIZE)
            pages.append(buffer)
            _forbid(buffer, size)
            view = np.frombuffer(buffer, A.dtype, A.size, size - A.nbytes).reshape(A.shape)
            view[...] = A
            return view

        rng = np.random.default_rng(0)
        X = at_the_end(rng.standard_normal((n, d)).astype(dtype))
        W = at_the_end(rng.standard_normal((c, d)).astype(dtype)).T
        y = at_the_end(rng.integers(0, c, n))
        for function in (fl.softmax_loss, fl.svm_loss):
            loss, dW = function(W, X, y, backend=compiled)
            exact, _ = function(W.astype(float), X.astype(float), y.copy(), backend="naive")
            assert loss == pytest.approx(exact, rel=1e-4, abs=1e-6)
            assert np.isfinite(dW).all()


def _forbid(buffer, offset):
    """Make the last page of a mapping unreadable."""
    import ctypes

    address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "mprotect"):
        pytest.skip("no mprotect here")
    length = len(buffer) - offset
    assert libc.mprotect(ctypes.c_void_p(address + offset), ctypes.c_size_t(length), 0) == 0
