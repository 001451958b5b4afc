"""Where rounding errors could pile up or decide: sums over very many rows, class numbers, and scores near a margin."""

import numpy as np
import pytest

import fastlin as fl
from fastlin import _plan, ops, testing
from fastlin._check import Inputs
from fastlin._objective import make_objective
from fastlin._training import epoch

# ---- Sums over many rows ---------------------------------------------------------------------------------


def many_rows(kind, n, d, dtype):
    """X whose sums over rows are hard: all roundings go one way, a large number comes first, or rows cancel."""
    row = np.linspace(0.1, 1.0, d).astype(np.float32)
    if kind == "alike":
        return np.broadcast_to(row.astype(dtype), (n, d))
    X = np.tile(row.astype(dtype), (n, 1))
    if kind == "signs":
        X[1::2] *= -1
        X[::2] *= 1.1
    else:  # one block of small rows is less than half a unit in the last place of the large one
        X[0] *= 2.0**29
    return X


def count_of_rows(d, backend):
    """A million where it does not take long."""
    return 301 if backend == "naive" else 1_000_003 if d == 4 and ops.BACKENDS[backend].compiled else 300_007


def targets_of(loss, n, c):
    return np.zeros(n, int) if ops.LOSSES[loss].targets is None else np.full((n, c), 0.25)


@pytest.mark.paired(
    whole=[("loss", "backend"), ("kind", "d", "backend")], kind=["alike", "signs", "large-first"], d=[4, 19]
)
def test_a_million_rows(loss, kind, d, backend, dtype):
    """The tolerance does not grow with n. d is less and more than a vector, and W = 0 keeps the slopes alike."""
    n, c = count_of_rows(d, backend), 3
    hyper = testing.off_neutral(f"{loss}_epilogue")
    X, y = many_rows(kind, n, d, dtype), targets_of(loss, n, c)
    W = np.zeros((d + 1, c), dtype)
    found = testing.evaluate(loss, hyper, W, X, y, bias=True, backend=backend)
    # In float64 the first row, and what the others, in pairs, repeat.
    rows, weight = X[:3].astype(float), np.array([1.0, n // 2, (n - 1) // 2])
    exact = [testing.evaluate(loss, hyper, W.astype(float), x[None], y[:1], bias=True, backend="naive") for x in rows]
    value, dW = (sum(w * each for w, each in zip(weight, part, strict=True)) / n for part in zip(*exact, strict=True))
    case = testing.Case("", np.zeros((d + 1, c)), X, y, bias=True)
    errors = testing.Reference.of(case, value, dW).errors(*found)
    assert max(errors) <= testing.tolerance(dtype, testing.LONGEST_SUM)


@pytest.mark.paired(whole=[("kind", "backend"), ("d", "backend")], kind=["alike", "large-first"], d=[4, 19])
def test_a_batch_of_a_million_rows(kind, d, backend, dtype):
    """An epoch of one step of gradient descent from 0: W is then minus the gradient."""
    n, c = count_of_rows(d, backend), 3
    X, y = many_rows(kind, n, d, dtype), np.zeros(n, np.int32)
    W = np.zeros((d + 1, c), dtype, order="F")
    objective = make_objective("softmax", (0.0,), 0.0, True, backend, None)
    inputs = Inputs(W, X, y, np.ones(n, dtype), False)
    loss = epoch.run_epoch(objective, inputs, None, np.arange(n), n, fl.SGD(1.0))
    assert loss == pytest.approx(np.log(3), rel=1e-6)
    mean = np.append(X.mean(axis=0, dtype=float), 1.0)
    expected = -np.outer(mean, np.array([1, 1, 1]) / 3 - np.array([1, 0, 0]))
    assert testing.error(W, expected) <= testing.tolerance(dtype, testing.LONGEST_SUM)


def test_sections_are_the_same_rows(backend, loss, monkeypatch):
    """Rows, labels or targets and weights of every section, for X in any storage and with many classes."""
    for c, kind in ((3, "float64"), (3, "uint8"), (3, "int16"), (_plan.WIDE_CLASSES, "float64")):
        source = testing.random_case(150, 5, c, bias=True)
        case = testing.replace(source, X=np.round(source.X * 20 + 99).astype(kind))
        expected, out = testing.reference(loss, case), np.empty((6, 2 * c))[:, ::2]
        with monkeypatch.context() as patch:
            patch.setattr(_plan, "SECTION_ROWS", 37)
            found, dW = case.evaluate(loss, backend=backend, out=out)
        assert dW is out
        assert max(expected.errors(found, dW)) <= testing.tolerance("float64", expected.terms)


# ---- Class numbers -----------------------------------------------------------------------------------------


def test_every_class_has_a_number_of_its_own(compiled):
    """Above 2^24 a float32 holds only every other integer."""
    c, worst, label = (1 << 24) + 16, (1 << 24) + 1, (1 << 24) + 7
    scores = np.zeros((c, 1), np.float32)
    scores[worst] = scores[worst + 4] = 1
    kernel = ops.kernel("crammer_singer_svm_epilogue", compiled, "float32")
    weight, scratch = np.full(1, 0.5, np.float32), np.empty((3, 1), np.float32)
    assert kernel(scores, np.array([label], np.int32), weight, scratch, 0.25) == 0.5 * 1.25
    found = np.flatnonzero(scores)
    np.testing.assert_array_equal(found, [worst, label])
    np.testing.assert_array_equal(scores[found, 0], [0.5, -0.5])


# ---- Near a margin -----------------------------------------------------------------------------------------


JUMPS = "svm", "crammer_singer_svm", "one_vs_rest_svm", "absolute_error"


def test_near_ties_are_the_rows_that_differ(loss):
    """The other rows have the slope of float64, and some of these have not: float32 rounds off what decides them."""
    rng = np.random.default_rng(0)
    hyper = testing.off_neutral(f"{loss}_epilogue")
    n, d, c = 400, 6, 4
    X = rng.standard_normal((n, d))
    X[::2] = np.round(X[::2])  # with W in halves many scores meet the margin, a target or each other
    W = np.round(rng.standard_normal((d, c)) * 2) / 2 * (1 + rng.choice([0, 2.0**-30], (d, c)))
    y = rng.integers(0, c, n) if ops.LOSSES[loss].targets is None else rng.integers(0, 2, (n, c)).astype(float)
    near = testing.near_ties(loss, hyper, W, X, y, dtype="float32")
    assert near.any() == (loss in JUMPS)
    assert near.mean() < 0.5
    single = (A.astype(np.float32) for A in (W, X))
    differ = (np.abs(slopes(loss, hyper, *single, y) - slopes(loss, hyper, W, X, y)) > 1e-3).any(axis=0)
    assert differ.any() == (loss in JUMPS)
    assert not (differ & ~near).any()


@pytest.mark.parametrize("loss", JUMPS)
def test_near_ties_of_few_classes_and_rows(loss):
    """b counts, and a row without other classes is near no tie of classes."""
    hyper = testing.off_neutral(f"{loss}_epilogue")
    y = np.zeros(2, int) if ops.LOSSES[loss].targets is None else np.array([[0.75], [1.0]])
    W, X = np.array([[0.5], [0.25]]), np.array([[1.0], [3.0]])  # scores 0.75 and 1.75
    found = testing.near_ties(loss, hyper, W, X, y, bias=True, dtype="float64")
    assert found.tolist() == [loss == "absolute_error", False]
    assert testing.near_ties(loss, hyper, W, X[:0], y[:0], bias=True, dtype="float64").shape == (0,)


def slopes(loss, hyper, W, X, y):
    """d(loss)/d(scores), (c, n)."""
    scores = np.ascontiguousarray((X @ W).T)
    y = y.astype(np.int32) if y.ndim == 1 else y.astype(W.dtype)
    weight, scratch = np.ones(len(X), W.dtype), np.empty((3, len(X)), W.dtype)
    ops.kernel(f"{loss}_epilogue", "numpy", W.dtype.name)(scores, y, weight, scratch, *hyper.values())
    return scores.astype(float)
