"""The benches of sparse rows: every library does the same work, and made data are like what they stand for."""

import csv

import numpy as np
import pytest

from fastlin import machine, ops

pytest.importorskip("scipy.sparse")
pytestmark = pytest.mark.slow

LIBRARIES = ("fastlin-cython", "fastlin-numba", "scipy", "scikit-learn", "torch", "sparse_dot_mkl")


@pytest.fixture
def sparse(bench):
    pytest.importorskip("tqdm")
    return bench("peers_sparse")


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("kind", ["text", "one-hot"])
@pytest.mark.parametrize("loss", ["softmax", "svm"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of other libraries
def test_answers_agree(sparse, library, kind, loss):
    row = sparse.SparseRow(sparse.SparseShape(kind, 203, 120, 5, per_row=8), loss)
    why = ops.missing(library[8:]) if library.startswith("fastlin-") else None
    if why or not (library.startswith("fastlin-") or machine.version(library)) or library not in row.contestants:
        pytest.skip(why or f"{library} is not installed, or has no such loss")
    for call in sparse.calls_of(library, row, 1):
        call.run()
        value, dW = call.answer(call.run())
        assert sparse.judge(row, library, (value, dW)).agrees == "yes"
        assert sparse.judge(row, library, (value, 1.01 * dW)).agrees.startswith("WRONG")
        assert sparse.judge(row, library, (1.01 * value, dW)).agrees.startswith("WRONG")


def test_every_library_is_timed(sparse):
    assert tuple(sparse.BENCH.libraries) == LIBRARIES
    assert [call.run() for call in sparse.calls_of("read", sparse.SparseRow(small(sparse), "svm"), 2)]


def small(sparse):
    return sparse.SparseShape("text", 203, 120, 5, per_row=8)


def test_rows_of_text(bench):
    X, y = bench("sparse_data").text(2000, 500, 4, 20)
    assert X.shape == (2000, 500)
    np.testing.assert_allclose(np.asarray(X.multiply(X).sum(axis=1)).ravel(), 1, rtol=1e-5)
    counts = np.sort(np.bincount(X.indices, minlength=500))[::-1]
    assert counts[0] > 5 * counts[50] > 5 * counts[-1]  # Zipf
    assert set(y) == set(range(4))
    means = np.array([np.asarray(X[y == k].mean(axis=0)).ravel() for k in range(4)])
    assert (np.asarray(X @ means.T).argmax(axis=1) == y).mean() > 0.5  # words tell the class


def test_rows_of_one_hot_columns(bench):
    X, y = bench("sparse_data").one_hot(500, 60, 4, 3)
    assert X.shape == (500, 60)
    assert (X.data == 1).all()
    assert ((X.indices.reshape(500, 3) // 20) == np.arange(3)).all()
    assert len(set(y)) == 4


def test_fits_of_sparse_text_are_judged(bench, monkeypatch):
    """The objective of a sparse problem; contestants that fit another one are judged by it too."""
    problems, contestants = bench("fit_problems"), bench("fit_contestants")
    problem = problems.Problem("news20-like", C=2.0)
    data = problems.sparse_text(600, 200, 3, 15, tested=200)
    monkeypatch.setattr(problems, "data", lambda name: data)
    W = np.random.default_rng(0).standard_normal((201, 3))
    S = data.X.toarray() @ W[:-1] + W[-1]
    losses = np.log(np.exp(S).sum(axis=1)) - S[np.arange(600), data.y]
    assert problem.sparse
    assert problem.objective(W) == pytest.approx(losses.mean() + np.square(W[:-1]).sum() / 2400, rel=1e-6)
    lowest = problem.objective(contestants.minimize(problem, data, 500, "auto", 1))
    for name in contestants.ONE_VS_REST:
        assert contestants.unfit(name, problem) == ""
        for fit in contestants.forms(name, problem, 1).values():
            found = fit(problem, data, 50)
            assert found.shape == W.shape
            assert problem.objective(found) > lowest
            assert problem.accuracy(found) > 0.4
    assert contestants.unfit("torch lbfgs", problem)


def test_the_table_of_sparse_rows(bench, tmp_path):
    report = bench("report")
    common = {"cpu": "A CPU", "cores": "2", "threads": "2", "isa": "avx2", "load": "0.1", "numpy_version": "2.4"}
    common |= {"date": "2026-01-01", "kind": "text", "shape": "16000x62000x20", "per_row": "80", "loss": "svm"}
    common |= {"agrees": "yes", "limit_s": "0.5"}
    with (tmp_path / "sparse-a-cpu.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*common, "library", "p50"])
        writer.writeheader()
        for library, seconds in {"fastlin-cython": 1.0, "scipy": 4.0, "torch": 3.0}.items():
            writer.writerow(common | {"library": library, "p50": seconds})
    expected = "| text | 16000 × 62000 × 20 | 80 | svm | 3x | – | torch (of 2) | 50% |"
    assert report.SPARSE.render(tmp_path).splitlines()[-1] == expected
