"""fastlin.dask without a cluster: the functions, what they refuse, and how chunks are grouped."""

import functools
import importlib

import numpy as np
import pytest

import fastlin as fl
from fastlin import testing

da = pytest.importorskip("dask.array")
fd = importlib.import_module("fastlin.dask")
chunks_of = importlib.import_module("fastlin.dask._chunks")
inputs = importlib.import_module("fastlin.dask._inputs")

LOSSES = [name for name in fd.__all__ if name.endswith("_loss")]


def data(n=103, d=5, c=4):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n, d))
    X.flags.writeable = False
    return rng.standard_normal((d, c)), X, rng.integers(0, c, n), rng.uniform(0.5, 1.5, n)


def cut(X, y, weight, rows=20, rows_of_y=33):
    """The same as dask arrays, y and weight in chunks of their own."""
    return da.from_array(X, chunks=(rows, -1)), da.from_array(y, chunks=rows_of_y), da.from_array(weight, chunks=7)


def parts(X, y, weight, rows=20):
    return fl.Parts([(X[i : i + rows], y[i : i + rows], weight[i : i + rows]) for i in range(0, len(X), rows)])


def same(found, expected):
    return found[0] == expected[0] and found[1].tobytes() == expected[1].tobytes()


# ---- Losses and fits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_has_the_bits_of_parts(name):
    case = testing.random_case(103, 5, 4, bias=True)
    y = case.targets("svm" if name in ("svm_loss", "softmax_loss") else name.removesuffix("_loss"))
    given = {"reg": 0.03, "bias": True, "x_scale": 0.7, "reduction": "sum"}
    given |= {"margin": 0.7, "variant": "one_vs_rest", "squared": True} if name == "svm_loss" else {}
    X, labels, weight = cut(case.X, y, case.sample_weight)
    out = np.full_like(case.W, 7)
    found = getattr(fd, name)(case.W, X, labels, sample_weight=weight, out=out, **given)
    assert same(found, getattr(fl, name)(case.W, parts(case.X, y, case.sample_weight), **given))
    assert found[1] is out
    assert found[0] == pytest.approx(getattr(fl, name)(case.W, case.X, y, sample_weight=case.sample_weight, **given)[0])


def test_the_oracle():
    """The softmax loss of dask arrays, from its formula."""
    W, X, y, weight = data()
    S = X @ W
    P = np.exp(S) / np.exp(S).sum(axis=1, keepdims=True)
    expected = -(weight * np.log(P[np.arange(103), y])).sum() / 103 + 0.3 * (W**2).sum()
    P[np.arange(103), y] -= 1
    gradient = X.T @ (P * weight[:, None]) / 103 + 0.6 * W
    DX, Dy, Dw = cut(X, y, weight)
    loss, dW = fd.softmax_loss(W, DX, Dy, 0.3, sample_weight=Dw)
    assert loss == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(dW, gradient, rtol=1e-10)


@pytest.mark.parametrize("solver", ["auto", "lbfgs", "newton-cg"])
def test_a_fit_has_the_bits_of_parts(solver):
    _, X, y, weight = data()
    given = {"reg": 0.01, "solver": solver, "ignore_index": 3, "class_weight": "balanced", "classes": 4}
    DX, Dy, Dw = cut(X, y, weight)
    found, expected = fd.minimize(DX, Dy, sample_weight=Dw, **given), fl.minimize(parts(X, y, weight), **given)
    assert found.W.tobytes() == expected.W.tobytes()
    assert found.history == expected.history
    assert found.solved.converged


@pytest.mark.parametrize("group", [0, 2 * 20 * 40, 4 * 20 * 40, 1 << 30])
@pytest.mark.parametrize(("inline", "back", "most"), [(1 << 20, 1 << 20, 1 << 20), (0, 0, 1 << 20), (0, 0, 0)])
def test_who_adds_what_changes_no_bits(monkeypatch, group, inline, back, most):
    """Small chunks are grouped, large weights are a task's result, sums are formed by workers: the same bits."""
    W, X, y, weight = data(n=731)
    monkeypatch.setattr(chunks_of, "GROUP_BYTES", group)
    monkeypatch.setattr(chunks_of, "INLINE_BYTES", inline)
    monkeypatch.setattr(chunks_of, "BACK_BYTES", back)
    monkeypatch.setattr(chunks_of, "SUM_BYTES", most)
    given = {"reg": 0.01, "max_iter": 3, "tol": 0, "bias": False}
    DX, Dy, Dw = cut(X, y, weight)
    assert same(fd.softmax_loss(W, DX, Dy, sample_weight=Dw), fl.softmax_loss(W, parts(X, y, weight)))
    found = fd.minimize(DX, Dy, sample_weight=Dw, **given)
    assert found.W.tobytes() == fl.minimize(parts(X, y, weight), **given).W.tobytes()


def tasks_of(found, monkeypatch, **limits):
    """The names of the tasks of an evaluation, and how many results the client gets."""
    for name, value in limits.items():
        monkeypatch.setattr(chunks_of, name, value)
    W, _, _, _ = data()
    seen = []
    executor = found.executor
    found.executor = lambda graph, keys: seen.append((graph, keys)) or executor(graph, keys)
    fl.softmax_loss(W, found)
    ((graph, keys),) = seen
    names = [key[0] for key in graph if isinstance(key, tuple) and str(key[0]).startswith("fastlin-")]
    return [name.split("-")[1] for name in names], len(keys)


def test_tasks(monkeypatch):
    _, X, y, weight = data(n=20 * 19)
    found = inputs.chunks(*cut(X, y, weight))
    assert len(found) == 19
    assert tasks_of(found, monkeypatch) == (["loss"], 1)  # 19 small chunks in one
    monkeypatch.setattr(chunks_of, "GROUP_BYTES", 20 * 40 * 3)
    assert [group.size for group in inputs.chunks(*cut(X, y, weight))._groups] == [2] * 9 + [1]
    monkeypatch.setattr(chunks_of, "GROUP_BYTES", 0)
    found = inputs.chunks(*cut(X, y, weight))
    assert tasks_of(found, monkeypatch) == (["loss"] * 19, 19)
    found = inputs.chunks(*cut(X, y, weight))
    assert tasks_of(found, monkeypatch, INLINE_BYTES=0) == (["weights"] + ["loss"] * 19, 19)
    found = inputs.chunks(*cut(X, y, weight))
    assert tasks_of(found, monkeypatch, BACK_BYTES=0) == (["weights"] + ["loss"] * 19 + ["sums"], 1)
    found = inputs.chunks(*cut(X, y, weight))
    assert tasks_of(found, monkeypatch, SUM_BYTES=0) == (["weights"] + ["loss"] * 19 + ["sums"] * 3, 3)


def test_a_fit_computes_its_data_once():
    _, X, y, weight = data()
    calls = []
    DX, Dy, Dw = cut(X, y, weight)
    DX = DX.map_blocks(lambda block: calls.append(len(block)) or block, dtype=X.dtype, meta=np.empty((0, 0)))
    assert fd.minimize(DX, Dy, sample_weight=Dw).solved.passes > 3
    assert sum(calls) == 103


def test_a_bar(capsys):
    pytest.importorskip("tqdm")
    _, X, y, weight = data()
    DX, Dy, Dw = cut(X, y, weight)
    fd.minimize(DX, Dy, sample_weight=Dw, progress=True)
    assert "pass 2:" in capsys.readouterr().err
    fd.minimize(DX, Dy, sample_weight=Dw)
    assert capsys.readouterr().err == ""


# ---- Chunks -----------------------------------------------------------------------------------------------------


def unknown(array):
    """The array with chunks of unknown sizes, as of a filter or a data frame."""
    return array[da.ones(array.shape[0], dtype=bool, chunks=array.chunks[0])]


@pytest.mark.parametrize("which", ["X", "y", "weight", "Xy", "Xyweight"])
def test_unknown_sizes(which):
    W, X, y, weight = data()
    DX, Dy, Dw = cut(X, y, weight)
    if which == "Xyweight":  # nobody computes them: each chunk says it
        Dy, Dw = Dy.rechunk(20), Dw.rechunk(20)
    DX, Dy, Dw = (unknown(A) if name in which else A for name, A in (("X", DX), ("y", Dy), ("weight", Dw)))
    assert same(fd.softmax_loss(W, DX, Dy, sample_weight=Dw), fl.softmax_loss(W, parts(X, y, weight)))
    found = fd.minimize(DX, Dy, sample_weight=Dw, reg=0.1)
    assert found.W.tobytes() == fl.minimize(parts(X, y, weight), reg=0.1).W.tobytes()
    assert np.isnan(DX.chunks[0][0]) == ("X" in which)  # the caller's array is as it was


def test_targets_in_columns_and_float32():
    W, X, _, _ = data()
    T = np.random.default_rng(2).random((103, 4), np.float32)
    W, X = W.astype(np.float32), X.astype(np.float32)
    found = fd.softmax_loss(W, da.from_array(X, chunks=(20, -1)), da.from_array(T, chunks=(50, 3)))
    expected = fl.softmax_loss(W, fl.Parts([(X[i : i + 20], T[i : i + 20]) for i in range(0, 103, 20)]))
    assert found[1].dtype == np.float32
    assert same(found, expected)


@pytest.mark.parametrize("kind", ["csr_matrix", "csr_array"])
@pytest.mark.parametrize("told", [True, False])
def test_sparse_blocks(kind, told):
    """Blocks of sparse rows, whether the array says that it has such or not."""
    sparse = pytest.importorskip("scipy.sparse")
    W, X, y, weight = data()
    X, make = np.where(X > 0.3, X, 0), getattr(sparse, kind)
    DX, Dy, Dw = cut(X, y, weight)
    DX = DX.map_blocks(make, dtype=X.dtype, meta=make((0, 0)) if told else np.empty((0, 0)))
    pieces = fl.Parts([(make(X[i : i + 20]), y[i : i + 20], weight[i : i + 20]) for i in range(0, 103, 20)])
    assert same(fd.softmax_loss(W, DX, Dy, 0.1, sample_weight=Dw), fl.softmax_loss(W, pieces, reg=0.1))
    assert fd.softmax_loss(W, DX, Dy)[0] == pytest.approx(fl.softmax_loss(W, X, y)[0], rel=1e-12)
    for given in ({}, {"solver": "scaled-lbfgs"}):
        found = fd.minimize(DX, Dy, sample_weight=Dw, reg=0.01, **given)
        assert found.W.tobytes() == fl.minimize(pieces, reg=0.01, **given).W.tobytes()


class Frame:
    def to_dask_array(self, lengths):
        """As a dask DataFrame has it."""


def test_what_is_refused():
    W, X, y, weight = data()
    DX, Dy, _ = cut(X, y, weight)
    out = np.full_like(W, 7)
    loss = functools.partial(fd.softmax_loss, W, out=out)
    with pytest.raises(ValueError, match=r"X is cut into 3 chunks of columns; .* pass X\.rechunk\(\{1: -1\}\)"):
        loss(DX.rechunk((20, 2)), Dy)
    with pytest.raises(TypeError, match=r"X is a .* Frame; pass X\.to_dask_array\(lengths=True\)"):
        loss(Frame(), Dy)
    with pytest.raises(TypeError, match=r"y is a .* Frame; pass y\.to_dask_array\(lengths=True\)"):
        fd.minimize(DX, Frame())
    with pytest.raises(TypeError, match=r"X must be a dask array; found .*da\.from_array\(X, chunks=\.\.\.\)"):
        loss(X, Dy)
    with pytest.raises(TypeError, match="y must be a dask array; found"):
        loss(DX, y)
    with pytest.raises(TypeError, match="sample_weight must be a dask array; found"):
        loss(DX, Dy, sample_weight=weight)
    with pytest.raises(TypeError, match="y must be given"):
        loss(DX)
    with pytest.raises(ValueError, match=r"X has 103 rows but y has shape \(83,\)"):
        loss(DX, Dy[20:])
    with pytest.raises(ValueError, match="X must have 2 dimensions; found shape"):
        loss(DX[:, 0], Dy)
    with pytest.raises(ValueError, match="sample_weight must have 1 dimensions"):
        loss(DX, Dy, sample_weight=DX)
    with pytest.raises(TypeError, match="X must hold numbers; found dtype"):
        loss(DX.astype("U3"), Dy)
    with pytest.raises(ValueError, match=r"part 0: y\[\d\] = 4 is out of range"):
        loss(DX, Dy + 1)
    with pytest.raises(ValueError, match="reduction='none' is for arrays"):
        loss(DX, Dy, reduction="none")
    with pytest.raises(ValueError, match=r"part \d: X has \d+ rows but y has shape \(33,\)"):
        loss(unknown(DX), unknown(da.from_array(np.concatenate([y, y])[:198], chunks=33)))
    with pytest.raises(TypeError, match=r"client must be a distributed\.Client or None; found"):
        fd.minimize(DX, Dy, client=3)
    with pytest.raises(TypeError, match="progress must be"):
        fd.minimize(DX, Dy, progress=3)
    assert (out == 7).all()


def test_arguments_are_those_of_arrays():
    with pytest.raises(TypeError, match="marginal"):
        fd.svm_loss(1, 2, 3, marginal=4)
    assert "dask" in fd.huber_loss.__doc__
    assert fd.huber_loss.__module__ == "fastlin.dask"
