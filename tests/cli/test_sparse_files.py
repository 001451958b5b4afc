"""fastlin train --data X.npz,y.npy: files of scipy.sparse.save_npz, good, of another form, damaged and hostile."""

import numpy as np
import pytest

import fastlin as fl
from fastlin import cli, testing
from fastlin._files import sparse

N, D = 90, 12


def parts(**changed):
    """The arrays that scipy.sparse.save_npz writes, some of them replaced; three classes that their columns tell."""
    rng = np.random.default_rng(0)
    X = rng.integers(1, 5, (N, D)) * (rng.random((N, D)) < 0.2) / 4
    X[np.arange(N), np.arange(N) % 3] = 2.0
    found = testing.sparse(X)
    stored = {name: getattr(found, name) for name in ("data", "indices", "indptr")}
    return stored | {"shape": np.array([N, D]), "format": np.array(b"csr"), "_is_array": np.array(True)} | changed


@pytest.fixture
def labels(tmp_path):
    np.save(tmp_path / "y.npy", np.arange(N) % 3)
    return tmp_path / "y.npy"


def written(tmp_path, **changed):
    np.savez_compressed(tmp_path / "X.npz", **parts(**changed))
    return tmp_path / "X.npz"


def test_what_scipy_writes(tmp_path, labels, capsys):
    scipy_sparse = pytest.importorskip("scipy.sparse")
    given = parts()
    X = scipy_sparse.csr_array((given["data"], given["indices"], given["indptr"]), shape=(N, D))
    for number, each in enumerate((X, scipy_sparse.csr_matrix(X), X.astype(np.float32), (4 * X).astype(np.uint8))):
        path = tmp_path / f"{number}.npz"
        scipy_sparse.save_npz(path, each, compressed=number % 2 == 0)
        data = f"{path},{labels}"
        out = tmp_path / f"run{number}"
        assert cli.main(["train", "--data", data, "--epochs", "5", "--lr", "0.5", "--out", str(out)]) == 0
        assert "81 rows to train on, 9 held out for validation, 12 features" in capsys.readouterr().out
        assert cli.main(["predict", "--data", data, "--weights", str(out / "weights.npz")]) == 0
        assert "accuracy 1.0000 on 90 training rows" in capsys.readouterr().out


def test_the_rows_are_those_of_the_file(tmp_path, labels):
    found = sparse.load_sparse(written(tmp_path), labels)
    expected = fl.minimize(testing.SparseRows(**{k: parts()[k] for k in ("data", "indices", "indptr")}, shape=(N, D)),
                           np.arange(N) % 3, reg=0.1)  # fmt: skip
    np.testing.assert_array_equal(fl.minimize(found.X, found.y, reg=0.1).W, expected.W)
    assert found.X_test is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"format": np.array(b"csc")}, r"its form is b'csc'; save X\.tocsr\(\)"),
        ({"format": np.array([b"csr", b"csr"])}, "is damaged or holds no sparse matrix"),
        ({"format": np.array("bsr")}, "its form is 'bsr'"),
        ({"shape": np.array([N, D, 1])}, "its shape is not two numbers"),
        ({"shape": np.array([2**62, D])}, r"both below 2\^48; found \(4611686018427387904, 12\)"),
        ({"shape": np.array([2**47, D])}, r"X\.indptr has 91 entries but X\.shape says 140737488355328 rows"),
        ({"shape": np.array([N, 2**40])}, "says that it has 1099511627776 columns; at most 67108864"),
        ({"shape": np.array([N, -1])}, "both at least 0"),
        ({"shape": np.array([N + 0.5, D])}, "X.shape must be"),
        ({"shape": np.array([N - 1, D])}, "X.indptr has 91 entries"),
        ({"indices": np.full(len(parts()["indices"]), D)}, r"X\.indices\[0\] = 12 .* is out of range"),
        ({"indices": np.full(len(parts()["indices"]), -1)}, "is out of range"),
        ({"indptr": np.full(N + 1, 2**62)}, r"X\.indptr\[90\] is 4611686018427387904"),
        ({"indptr": parts()["indptr"][::-1]}, "row pointers never decrease"),
        ({"data": np.ones(3)}, "X.data has 3 entries"),
        ({"data": np.full(len(parts()["data"]), "a")}, "X.data has dtype <U1"),
        ({"data": np.full(len(parts()["data"]), None)}, "is damaged or holds no sparse matrix"),
        ({"data": np.ones((3, 3))}, "X.data"),
    ],
)
def test_what_does_not_fit_together_is_refused(changed, message, tmp_path, labels):
    path = written(tmp_path, **changed)
    with pytest.raises(ValueError, match=rf"X\.npz.*{message}"):
        sparse.load_sparse(path, labels)


def test_labels_must_be_as_many(tmp_path):
    np.save(tmp_path / "y.npy", np.zeros(N - 1, int))
    with pytest.raises(ValueError, match=r"found shapes \(90, 12\) and \(89,\)"):
        sparse.load_sparse(written(tmp_path), tmp_path / "y.npy")


def test_labels_are_asked_for(tmp_path, capsys):
    path = written(tmp_path)
    assert cli.main(["train", "--data", str(path)]) == 2
    assert f"holds sparse rows without labels: pass --data {path},y.npy" in capsys.readouterr().err


def test_damaged_files_are_refused_or_read(tmp_path, labels):
    """Cut short anywhere, or with some bytes changed: a ValueError that names the file, or rows that are in range."""
    whole = written(tmp_path).read_bytes()
    damaged = [whole[:size] for size in range(0, len(whole), 37)]
    rng = np.random.default_rng(0)
    for _ in range(150):
        content = bytearray(whole)
        for at in rng.integers(0, len(whole), rng.integers(1, 4)):
            content[at] = rng.integers(0, 256)
        damaged.append(bytes(content))
    refused = good = 0
    for content in damaged:
        (tmp_path / "X.npz").write_bytes(content)
        try:
            X = sparse.load_sparse(tmp_path / "X.npz", labels).X
        except ValueError as error:
            refused += "X.npz" in str(error)
        else:
            good += 1
            assert X.shape == (N, D)
            assert X.nnz == 0 or (X.indices.min() >= 0 and X.indices.max() < D)
    assert refused == len(damaged) - good > len(damaged) / 2
