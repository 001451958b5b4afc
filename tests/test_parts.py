"""Parts: how they are made and read, and losses over them, by this process and by workers."""

import itertools
import os
import signal
import threading
import weakref
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

import fastlin as fl
from fastlin import testing
from fastlin.parts import Part, bring_in


def data(n=103, d=5, c=4, dtype=np.float64):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n, d)).astype(dtype)
    X.flags.writeable = False
    return rng.standard_normal((d, c)).astype(dtype), X, rng.integers(0, c, n)


def three(X, y=None, sample_weight=None, ends=(0, 40, 40, 103)):
    """Parts of unequal sizes, one of them empty."""
    given = [A for A in (X, y, sample_weight) if A is not None]
    return fl.Parts([tuple(A[a:b] for A in given) for a, b in itertools.pairwise(ends)])


@pytest.fixture(scope="module")
def workers():
    with ThreadPoolExecutor(3) as threads, ProcessPoolExecutor(2) as processes:
        yield {"threads": threads, "processes": processes}


# ---- Losses over parts ------------------------------------------------------------------------------------------


def direct(loss, hyper, W, X, y, **given):
    """The public function of a loss of the table."""
    if loss.endswith("svm"):
        squared = loss.startswith("squared_")
        name = loss.removeprefix("squared_").removesuffix("svm").rstrip("_") or "weston_watkins"
        return fl.svm_loss(W, X, y, variant=name, squared=squared, **hyper, **given)
    name = "softmax" if loss == "soft_softmax" else loss
    return getattr(fl, f"{name}_loss")(W, X, y, **hyper, **given)


@pytest.mark.paired(how=["plain", "bias", "scaled", "sum"])
def test_every_loss_is_that_of_all_rows(loss, compiled, dtype, how):
    case = testing.random_case(103, 5, 4, bias=how == "bias").astype(dtype)
    given = {"reg": 0.03, "bias": case.bias, "backend": compiled, "reduction": "sum" if how == "sum" else "mean"}
    if how == "scaled":
        given |= {"x_scale": np.linspace(0.5, 1, 5), "x_shift": 0.3}
    hyper, y = testing.off_neutral(f"{loss}_epilogue"), case.targets(loss)
    parts, out = three(case.X, y, case.sample_weight), np.full_like(case.W, 7)
    value, dW = direct(loss, hyper, case.W, parts, None, out=out, **given)
    expected, gradient = direct(loss, hyper, case.W, case.X, y, sample_weight=case.sample_weight, **given)
    rtol = 2e-5 if dtype == "float32" else 1e-12
    assert dW is out
    assert value == pytest.approx(expected, rel=rtol)
    np.testing.assert_allclose(dW, gradient, rtol=50 * rtol, atol=10 * rtol)


@pytest.mark.parametrize("kind", ["threads", "processes"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_workers_change_no_bits(workers, kind, dtype):
    W, X, y = data(dtype=dtype)
    parts = fl.Parts.from_arrays(X, y, np.linspace(0.5, 1.5, len(y)), rows=9)
    loss, dW = fl.softmax_loss(W, parts, reg=fl.L1(0.1), x_scale=0.7, label_smoothing=0.1)
    for _ in range(2):
        again = fl.softmax_loss(W, parts.on(workers[kind]), reg=fl.L1(0.1), x_scale=0.7, label_smoothing=0.1)
        assert again[0] == loss
        assert again[1].tobytes() == dW.tobytes()


def test_loky_changes_no_bits():
    loky = pytest.importorskip("loky")
    W, X, y = data()
    parts = fl.Parts.from_arrays(X, y, rows=30)
    with loky.ProcessPoolExecutor(2) as executor:
        found = fl.svm_loss(W, parts.on(executor))
    expected = fl.svm_loss(W, parts)
    assert found[0] == expected[0]
    np.testing.assert_array_equal(found[1], expected[1])


def test_ignored_labels_are_not_counted():
    W, X, y = data()
    y = np.where(y == 1, -100, y)
    weight = np.linspace(0.5, 1.5, len(y))
    for reduction in ("mean", "sum"):
        given = {"ignore_index": -100, "reduction": reduction}
        value, dW = fl.softmax_loss(W, three(X, y, weight), **given)
        expected, gradient = fl.softmax_loss(W, X, y, sample_weight=weight, **given)
        assert value == pytest.approx(expected, rel=1e-12)
        np.testing.assert_allclose(dW, gradient, rtol=1e-11, atol=1e-13)


def test_what_a_loss_refuses():
    W, X, y = data()
    parts, out = three(X, y), np.full_like(W, 7)
    with pytest.raises(ValueError, match="y comes with the parts"):
        fl.softmax_loss(W, parts, y)
    with pytest.raises(ValueError, match="sample_weight comes with the parts"):
        fl.svm_loss(W, parts, sample_weight=np.ones(len(y)))
    with pytest.raises(ValueError, match="reduction='none' is for arrays"):
        fl.logistic_loss(W, parts, reduction="none")
    with pytest.raises(TypeError, match="y must be given beside an array X"):
        fl.squared_error_loss(W, X)
    with pytest.raises(ValueError, match="part 0: it has X alone; a loss needs"):
        fl.softmax_loss(W, three(X))
    with pytest.raises(ValueError, match="part 0: X has 5 columns but W has 4 rows"):
        fl.softmax_loss(W[:4], parts, out=out[:4])
    with pytest.raises(ValueError, match="0 rows that count"):
        fl.softmax_loss(W, fl.Parts([(X[:0], y[:0])]))
    y[60] = 4
    with pytest.raises(ValueError, match=r"part 2: y\[20\] = 4 is out of range"):
        fl.softmax_loss(W, parts, out=out)
    assert (out == 7).all()


# ---- Reading ----------------------------------------------------------------------------------------------------


def test_parts_can_be_read_one_by_one():
    _, X, y = data()
    parts = three(X, y)
    assert (len(parts), repr(parts), repr(fl.Parts([(X,)]))) == (3, "Parts of 3 parts", "Parts of 1 part")
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate([part.X for part in parts]), X)
    np.testing.assert_array_equal(parts[-1].y, y[40:])
    assert parts[0].sample_weight is None
    with pytest.raises(IndexError):
        parts[3]


def test_two_parts_are_in_memory():
    W, X, y = data()
    read_so_far, most = [], []

    def read():
        rows = X.copy()
        read_so_far.append(weakref.ref(rows))
        most.append(sum(ref() is not None for ref in read_so_far))
        return rows, y

    fl.softmax_loss(W, fl.Parts([read] * 20))
    assert max(most) == 2
    assert not any(ref() is not None for ref in read_so_far)


def test_the_next_part_is_read_meanwhile():
    _, X, y = data()
    second = threading.Event()
    parts, order = fl.Parts([lambda: (X, y), lambda: second.set() or (X, y)]), []
    parts._each(lambda part: second.wait(20), lambda number, done: order.append((number, done)))
    assert order == [(0, True), (1, True)]


@pytest.mark.parametrize("wrong", ["read", "compute"])
def test_an_error_names_the_part_and_leaves_no_thread(wrong):
    W, X, y = data()
    begun, ended = [], []

    def read(i):
        begun.append(i)
        if i == 2 and wrong == "read":
            raise FileNotFoundError(2, "gone")
        ended.append(i)
        return X, y + (10 if i == 2 and wrong == "compute" else 0)

    parts = fl.Parts([lambda i=i: read(i) for i in range(6)])
    with pytest.raises(FileNotFoundError if wrong == "read" else ValueError) as caught:
        fl.softmax_loss(W, parts)
    if wrong == "read":
        assert caught.value.__notes__ == ["It is an error of part 2."]
    else:
        assert str(caught.value).startswith("part 2: y[0] =")
    count = len(begun)
    assert count == (3 if wrong == "read" else 4)  # nobody reads on
    assert len(ended) == count - (wrong == "read")


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_an_error_of_a_worker_names_the_part(workers, kind):
    W, X, y = data()
    y[60] = 9
    with pytest.raises(ValueError, match=r"part 2: y\[20\] = 9 is out of range"):
        fl.softmax_loss(W, three(X, y).on(workers[kind]))
    assert fl.softmax_loss(W, three(X, y % 4).on(workers[kind]))[0] > 0


def test_ctrl_c_does_not_wait_for_a_read(ctrl_c):
    W, X, y = data()
    begun, go_on = threading.Event(), threading.Event()

    def slow():
        begun.set()
        os.kill(os.getpid(), signal.SIGINT)
        assert go_on.wait(20)
        return X, y

    with pytest.raises(KeyboardInterrupt):
        fl.softmax_loss(W, fl.Parts([(X, y), slow, (X, y)]))
    assert begun.is_set()  # the read has not ended: the caller went on without it
    go_on.set()


@pytest.mark.parametrize("found", [(), (1, 2, 3, 4), "text", (np.ones(3),), (np.ones((3, 2)), np.ones(4)), None])
def test_what_is_no_part(found):
    with pytest.raises((ValueError, TypeError), match=r"^part 0: "):
        fl.Parts([lambda: found])[0]


def test_what_takes_no_parts_reads_none():
    y = data()[2]
    parts = fl.Parts([lambda: pytest.fail("a part was read")])
    with pytest.raises((ValueError, TypeError), match=r"fl\.Parts are no array, and this function takes none"):
        fl.random_search(parts, y, tries=1)
    with pytest.raises(TypeError, match=r"fl\.Parts are no array"):
        np.asarray(parts)


def test_what_are_no_parts():
    with pytest.raises(ValueError, match="parts is empty"):
        fl.Parts([])
    with pytest.raises(TypeError, match=r"For arrays see Parts.from_arrays"):
        fl.Parts(np.ones((3, 2)))
    with pytest.raises(TypeError, match=r"parts\[1\] must be a callable or a tuple"):
        fl.Parts([lambda: 1, 2])
    with pytest.raises(TypeError, match="executor must have submit"):
        fl.Parts([lambda: 1]).on(3)


# ---- Arrays and files -------------------------------------------------------------------------------------------


def test_parts_of_arrays():
    _, X, y = data()
    parts = fl.Parts.from_arrays(X, y, rows=25)
    assert [len(part.X) for part in parts] == [20, 21, 20, 21, 21]
    assert all(np.shares_memory(part.X, X) for part in parts)
    assert len(fl.Parts.from_arrays(X)) == 1
    assert [part.X.shape for part in fl.Parts.from_arrays(X[:0], y[:0])] == [(0, 5)]
    with pytest.raises(ValueError, match=r"X has 103 rows but y has shape \(102,\)"):
        fl.Parts.from_arrays(X, y[1:])
    with pytest.raises(ValueError, match="X must have 2 dimensions"):
        fl.Parts.from_arrays(X[0])
    with pytest.raises(ValueError, match="rows must be an integer of at least 1; found 0"):
        fl.Parts.from_arrays(X, rows=0)


def test_parts_of_zarr(tmp_path):
    zarr = pytest.importorskip("zarr")
    W, X, y = data()
    stored = zarr.create_array(str(tmp_path / "X.zarr"), shape=X.shape, chunks=(30, 5), dtype=X.dtype)
    stored[:] = X
    parts = fl.Parts.from_arrays(stored, y)
    assert len(parts) == 4
    assert fl.softmax_loss(W, parts)[0] == pytest.approx(fl.softmax_loss(W, X, y)[0], rel=1e-12)


@pytest.mark.parametrize("order", ["C", "F"])
def test_parts_of_npy_files(tmp_path, order):
    W, X, y = data()
    for i, rows in enumerate((slice(0, 50), slice(50, 50), slice(50, 103))):
        np.save(tmp_path / f"X{i}.npy", np.asarray(X[rows], order=order))
        np.save(tmp_path / f"y{i}.npy", y[rows])
    several = [tmp_path / f"X{i}.npy" for i in range(3)]
    expected = fl.softmax_loss(W, X, y)
    for labels in ([str(tmp_path / f"y{i}.npy") for i in range(3)], y):
        parts = fl.Parts.from_npy(several, labels, rows=20)
        assert [len(part.X) for part in parts] == [16, 17, 17, 0, 17, 18, 18]
        assert (np.concatenate([part.X for part in parts]) == X).all()
        assert (np.concatenate([part.y for part in parts]) == y).all()
        assert fl.softmax_loss(W, parts)[0] == pytest.approx(expected[0], rel=1e-12)
    assert len(fl.Parts.from_npy(several[0], y[:50])) == 1


def test_npy_files_that_do_not_fit(tmp_path):
    _, X, y = data()
    path, other = tmp_path / "X.npy", tmp_path / "other.npy"
    np.save(path, X)
    np.save(other, X[:, :4])
    with pytest.raises(ValueError, match=r"4 columns, and .* has 5"):
        fl.Parts.from_npy([path, other])
    with pytest.raises(ValueError, match=r"103 rows but y has shape \(3,\)"):
        fl.Parts.from_npy(path, y[:3])
    with pytest.raises(ValueError, match="X has 1 files but y has 2"):
        fl.Parts.from_npy(path, [path, path])
    with pytest.raises(TypeError, match=r"X must be the path of an .npy file"):
        fl.Parts.from_npy(X)
    with pytest.raises(FileNotFoundError):
        fl.Parts.from_npy(tmp_path / "none.npy")
    other.write_bytes(b"\x93NUMPY nonsense")
    with pytest.raises(ValueError, match=r"is damaged or is no .npy file of numbers"):
        fl.Parts.from_npy(other)
    np.save(other, np.array(["a", "b"]).reshape(1, 2))
    with pytest.raises(ValueError, match="holds <U1; expected numbers"):
        fl.Parts.from_npy(other)
    parts = fl.Parts.from_npy(path, y)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"part 0: .* has become shorter: it has 1000 bytes"):
        parts[0]


def test_parts_of_row_groups(tmp_path):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    W, X, y = data()
    columns = {f"x{i}": X[:, i] for i in range(5)}
    parquet.write_table(pa.table(columns | {"label": y}), tmp_path / "a.parquet", row_group_size=40)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), 5)
    parquet.write_table(pa.table({"embedding": lists, "label": y, "w": np.ones(103)}), tmp_path / "b.parquet")
    expected = fl.softmax_loss(W, X, y)[0]
    parts = fl.Parts.from_parquet(tmp_path / "a.parquet", "label")
    assert len(parts) == 3
    assert fl.softmax_loss(W, parts)[0] == pytest.approx(expected, rel=1e-12)
    parts = fl.Parts.from_parquet([tmp_path / "b.parquet"], "label", X="embedding", sample_weight="w")
    assert fl.softmax_loss(W, parts)[0] == pytest.approx(expected, rel=1e-12)
    with pytest.raises(ValueError, match="has no column 'z'; found 'x0', 'x1'"):
        fl.Parts.from_parquet(tmp_path / "a.parquet", "z")
    with pytest.raises(ValueError, match="has other columns than the files before it"):
        fl.Parts.from_parquet([tmp_path / "a.parquet", tmp_path / "b.parquet"], "label")
    parquet.write_table(pa.table({"x": [1.0, None], "label": [0, 1]}), tmp_path / "c.parquet")
    with pytest.raises(ValueError, match="part 0: column 'x' has 1 nulls"):
        fl.Parts.from_parquet(tmp_path / "c.parquet", "label")[0]
    (tmp_path / "d.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="is damaged or is no Parquet file"):
        fl.Parts.from_parquet(tmp_path / "d.parquet")


@pytest.mark.parametrize("compression", [None, "lz4"])
def test_parts_of_record_batches(tmp_path, compression):
    pa = pytest.importorskip("pyarrow")
    W, X, y = data()
    path, lists = tmp_path / "a.arrow", pa.FixedSizeListArray.from_arrays(pa.array(X.astype(np.float32).ravel()), 5)
    table = pa.table({"note": ["a"] * 103, "embedding": lists, "label": y, "w": np.linspace(0, 1, 103)})
    with pa.ipc.new_file(path, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as file:
        file.write_table(table, max_chunksize=40)
    parts = fl.Parts.from_arrow(path, "label", X="embedding", sample_weight="w")
    assert [len(part.y) for part in parts] == [40, 40, 23]
    assert parts[2].X.dtype == np.float32
    assert np.array_equal(parts[2].X, X[80:].astype(np.float32))
    before = pa.total_allocated_bytes()
    part = parts[0]
    copied = pa.total_allocated_bytes() - before
    assert copied >= part.X.nbytes if compression else copied < part.X.nbytes
    found = fl.softmax_loss(W, parts)
    expected = fl.softmax_loss(W, X.astype(np.float32), y, sample_weight=np.linspace(0, 1, 103))
    assert found[0] == pytest.approx(expected[0], rel=1e-6)
    assert fl.softmax_loss(W, fl.Parts.from_arrow([path, path], "label", X=["embedding"]))[0] > 0
    with ProcessPoolExecutor(1) as pool:
        assert fl.softmax_loss(W, parts.on(pool))[1].tobytes() == found[1].tobytes()


def test_arrow_files_that_are_refused(tmp_path):
    pa = pytest.importorskip("pyarrow")
    path = tmp_path / "a.arrow"

    def write(columns, new=pa.ipc.new_file):
        table = columns if isinstance(columns, pa.Table) else pa.table(columns)
        with new(path, table.schema) as file:
            file.write_table(table)

    write({"x": [1.0, 2.0], "label": [0, 1]})
    with pytest.raises(ValueError, match="has no column 'z'; found 'x', 'label'"):
        fl.Parts.from_arrow(path, "z")
    with pytest.raises(TypeError, match=r"paths must be the path of an Arrow file, or a list .*; found 3 of type"):
        fl.Parts.from_arrow(3)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="is damaged or is no Arrow file"):
        fl.Parts.from_arrow(path, "label")
    write({"x": [1.0, 2.0], "label": [0, 1]}, pa.ipc.new_stream)
    with pytest.raises(ValueError, match=r"is no Arrow file, .* \(a stream is none\)"):
        fl.Parts.from_arrow(path, "label")
    write(pa.table([pa.array([1.0]), pa.array([2.0])], ["x", "x"]))
    with pytest.raises(ValueError, match="has more than one column 'x'"):
        fl.Parts.from_arrow(path)
    write({"label": [0, 1]})
    with pytest.raises(ValueError, match="has no column for X; found 'label'"):
        fl.Parts.from_arrow(path, "label")
    write(pa.table({"x": []}))
    with pytest.raises(ValueError, match="paths: there are no record batches in these files"):
        fl.Parts.from_arrow(path)
    write({"x": pa.FixedSizeListArray.from_arrays(pa.array([1.0, None]), 1)})
    with pytest.raises(ValueError, match="part 0: column 'x' has 1 nulls"):
        fl.Parts.from_arrow(path)[0]


def test_pages_are_brought_in(tmp_path):
    _, X, y = data(n=5000)
    np.save(tmp_path / "X.npy", X)
    part = fl.Parts.from_npy(tmp_path / "X.npy", y, rows=1000)[2]
    assert isinstance(part, Part)
    for A in (part.X, part.X[:0], X, part.X[:, 1:]):
        bring_in(A)  # reads, and changes nothing
    np.testing.assert_array_equal(part.X, X[2000:3000])
