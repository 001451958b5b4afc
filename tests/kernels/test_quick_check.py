"""The quick checks of a call's arguments accept only arguments that pass every check in Python.

The bad inputs of test_check.py go through them too.
"""

import itertools
import pickle

import numpy as np
import pytest

from fastlin import _check
from fastlin._check import quick as quick_in_python

N, D, C = 6, 4, 3

quick = pytest.importorskip("fastlin.kernels.quick_check", reason="installed without a C compiler")


def good(dtype=np.float64):
    rng = np.random.default_rng(0)
    return {
        "W": rng.standard_normal((D, C)).astype(dtype),
        "X": rng.standard_normal((N, D)).astype(dtype),
        "y": np.array([0, 1, 2, 0, 1, 2]),
    }


def look(**changed):
    given = good() | {"bias": False, "out": None} | changed
    return quick.quick_labels(*(given[name] for name in ("W", "X", "y", "bias", "out")))


def swapped(A):
    return A.astype(A.dtype.newbyteorder())


def unaligned(A):
    bytes_ = np.zeros(A.nbytes + 1, np.uint8)[1:]
    view = bytes_.view(A.dtype).reshape(A.shape)
    view[...] = A
    return view


class Subclass(np.ndarray):
    pass


def every_second(A):
    wide = np.zeros((A.shape[0] * 2, *A.shape[1:]), A.dtype)
    wide[::2] = A
    return wide[::2]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("label", [np.int32, np.int64])
def test_common_arguments_are_accepted(dtype, label, order):
    """Labels are a new array; rows of X may stand apart, and so may labels; `out` may be of either order."""
    arguments = good(dtype)
    for apart, with_out in itertools.product((False, True), repeat=2):
        X, y = arguments["X"], arguments["y"].astype(label)
        if apart:
            X, y = every_second(X), every_second(y)
        X.flags.writeable = y.flags.writeable = False
        W = np.asarray(arguments["W"], order=order)
        labels = look(W=W, X=X, y=y, out=np.empty((D, C), dtype) if with_out else None)
        assert labels.dtype == np.int32
        np.testing.assert_array_equal(labels, _check.labels(y, N, C))
    assert look(W=np.zeros((D + 1, C)), bias=True) is not None


SMALL = np.zeros((D, C))
NOT_COMMON = {
    "label C": {"y": np.array([0, 1, 2, 0, 1, C])},
    "label -1": {"y": np.array([0, 1, -1, 0, 1, 2])},
    "a label too few": {"y": np.array([0, 1, 2])},
    "out of another shape": {"out": np.zeros((C, D))},
    "out of another type": {"out": np.zeros((D, C), np.float32)},
    "a list": {"y": [0, 1, 2, 0, 1, 2]},
    "unsigned labels": {"y": good()["y"].astype(np.uint64)},
    "float labels": {"y": good()["y"].astype(float)},
    "labels backwards": {"y": good()["y"][::-1]},
    "swapped labels": {"y": swapped(good()["y"])},
    "unaligned labels": {"y": unaligned(good()["y"])},
    "swapped W": {"W": swapped(good()["W"])},
    "swapped X": {"X": swapped(good()["X"])},
    "unaligned W": {"W": unaligned(good()["W"])},
    "unaligned X": {"X": unaligned(good()["X"])},
    "W of a subclass": {"W": good()["W"].view(Subclass)},
    "X of a subclass": {"X": good()["X"].view(Subclass)},
    "y of a subclass": {"y": good()["y"].view(Subclass)},
    "W with gaps": {"W": every_second(good()["W"])},
    "X by columns": {"X": np.asfortranarray(good()["X"])},
    "X backwards": {"X": good()["X"][::-1]},
    "X of another type": {"X": good()["X"].astype(np.float32)},
    "pixels": {"X": np.zeros((N, D), np.uint8)},
    "half": {name: good()[name].astype(np.float16) for name in ("W", "X")},
    "complex": {name: good()[name].astype(complex) for name in ("W", "X")},
    "no rows": {"X": np.zeros((0, D)), "y": np.zeros(0, int)},
    "no features": {"X": np.zeros((N, 0)), "W": np.zeros((0, C))},
    "no classes": {"W": np.zeros((D, 0))},
    "bias without its row": {"bias": True},
    "a row too many in W": {"W": np.zeros((D + 1, C))},
    "out with gaps": {"out": every_second(SMALL)},
    "out of a subclass": {"out": SMALL.copy().view(Subclass)},
    "swapped out": {"out": swapped(SMALL)},
    "unaligned out": {"out": unaligned(SMALL)},
}


@pytest.mark.parametrize("name", NOT_COMMON)
def test_of_anything_else_nothing_is_said(name):
    assert look(**NOT_COMMON[name]) is None


def test_out_shares_no_byte_with_an_input():
    """From one entry inside an input to right behind it, before it or between its rows, in every position."""
    arguments = good()
    for name, shape in (("W", (D, C)), ("X", (N, D)), ("y", (N,))):
        size = arguments[name].size
        buffer = np.zeros(2 * D * C + size)
        at = D * C
        given = buffer[at : at + size].view(arguments[name].dtype).reshape(shape)
        given[...] = arguments[name]
        for start in range(len(buffer) - D * C + 1):
            out = buffer[start : start + D * C].reshape(D, C)
            said = look(**{name: given, "out": out})
            assert (said is not None) == (start + D * C <= at or start >= at + size)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("module", [quick, quick_in_python])
def test_alike(order, module, dtype):

    def like(W, dW, shape=(4, 3)):
        return module.same_layout(W, dW, shape, np.dtype(dtype), order)

    W, dW = (np.ones((4, 3), dtype, order=order) for _ in range(2))
    assert like(W, dW)
    dW.flags.writeable = False
    assert like(W, dW)
    assert not like(dW, W)
    both = np.ones(100, dtype)
    assert like(*(both[i : i + 12].reshape((4, 3), order=order) for i in (1, 13)))
    assert not like(*(both[i : i + 12].reshape((4, 3), order=order) for i in (13, 2)))
    assert like(W, pickle.loads(pickle.dumps(dW)))  # its dtype is another object
    assert not like(W, W)
    assert not like(W, dW, (4, 4))
    assert not like(W, dW, (4, 3, 1))
    assert not like(W, dW.astype(dW.dtype.newbyteorder()))
    assert not like(W, dW.astype("f2"))
    assert not like(W.view(np.int32 if dtype == "float32" else np.int64), dW)
    other = np.ones((4, 3), dtype, order="F" if order == "C" else "C")
    assert not like(other, dW)
    assert not like(W, other)
    assert not like(np.ones((8, 3), dtype, order=order)[::2], dW)
    odd = np.frombuffer(bytearray(1 + W.nbytes), dtype, offset=1).reshape((4, 3), order=order)
    assert not like(odd, dW)
    assert not like(W, odd)
    assert not like(W.view(np.recarray), dW)
    assert not like(W.tolist(), dW)
