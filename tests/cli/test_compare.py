"""fastlin compare and fastlin info, as typed."""

import json

import numpy as np
import pytest

from fastlin import cli, compare, ops, testing


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(compare, "PAUSE", 0.0)
    monkeypatch.setattr(compare, "BURST", 0.0)


def test_compare_writes_what_it_says(quick, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    file, picture = tmp_path / "c.json", tmp_path / "c.png"
    command = ["compare", "--shape", "9", "5", "3", "--dtype", "float64", "--backends", "naive", "numpy"]
    assert cli.main([*command, "--json", str(file), "--plot", str(picture)]) == 0
    rows = json.loads(file.read_text())["rows"]
    assert [(row["op"], row["backend"]) for row in rows] == [
        (op, backend) for op in compare.USUAL for backend in ("naive", "numpy")
    ]
    assert all(row["agrees"] and row["median"] > 0 and row["gradient_error"] <= row["limit"] for row in rows)
    assert picture.read_bytes().startswith(b"\x89PNG")
    out = capsys.readouterr().out
    assert f"wrote {file}" in out
    assert f"wrote {picture}" in out


def test_compare_reports_a_wrong_backend_as_wrong(quick, monkeypatch, capsys):
    real = testing.Case.evaluate

    def broken(self, loss, reg=0.0, **how):
        value, dW = real(self, loss, reg, **how)
        return value, dW * (1.01 if how.get("backend") == "numpy" else 1.0)

    monkeypatch.setattr(testing.Case, "evaluate", broken)
    assert cli.main(["compare", "--shape", "9", "5", "3", "--ops", "svm", "--backends", "naive", "numpy"]) == 1
    out = capsys.readouterr().out
    assert "WRONG" in next(line for line in out.splitlines() if "numpy " in line and "svm" in line)


def test_compare_own_data(quick, tmp_path, capsys):
    file = tmp_path / "mine.npz"
    rng = np.random.default_rng(0)
    np.savez(file, X=rng.integers(0, 256, (20, 6)).astype(np.uint8), y=rng.integers(0, 4, 20))
    assert cli.main(["compare", "--data", str(file), "--ops", "softmax", "--backends", "naive", "numpy"]) == 0
    assert "mine.npz 20x6x4" in capsys.readouterr().out
    np.savez(file, Z=np.ones(3))
    assert cli.main(["compare", "--data", str(file)]) == 2
    assert "has no array X or y; found Z" in capsys.readouterr().err


def test_compare_on_its_own_data_with_threads(quick, monkeypatch, capsys):
    """Digits and a batch; NumPy's BLAS has as many threads as the others, and its own number again afterwards."""
    pytest.importorskip("sklearn")
    pools = pytest.importorskip("threadpoolctl").threadpool_info
    before, seen = [pool["num_threads"] for pool in pools()], set()
    monkeypatch.setattr(compare, "_rounds", lambda contests: seen.update(pool["num_threads"] for pool in pools()) or ())
    assert cli.main(["compare", "--ops", "sgd", "--backends", "numpy", "--threads", "1"]) == 0
    out = capsys.readouterr().out
    assert "digits 1797x64x10" in out
    assert "CIFAR-10-shaped batch 256x3073x10" in out
    assert seen == ({1} if before else set())
    assert [pool["num_threads"] for pool in pools()] == before


def test_compare_says_what_is_left_out(quick, monkeypatch, capsys):
    monkeypatch.setattr(ops, "installed", lambda: ("naive", "numpy"))
    assert cli.main(["compare", "--shape", "9", "5", "3", "--ops", "svm"]) == 0
    out = capsys.readouterr().out
    assert "numba is left out: " in out
    assert "cython is left out: " in out
    assert not any(line.split()[1:2] == ["cython"] for line in out.splitlines() if line.startswith("  svm"))


def test_compare_names_a_backend_that_is_asked_for_and_missing(monkeypatch, capsys):
    absent = ops.Backend("fastlin.kernels.absent_ops", "absent", "pip install absent", compiled=True)
    monkeypatch.setitem(ops.BACKENDS, "cython", absent)
    ops.module.cache_clear()
    assert cli.main(["compare", "--shape", "9", "5", "3", "--backends", "numpy", "cython"]) == 2
    ops.module.cache_clear()
    assert "absent is not installed; pip install absent" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.ones((3, 2)), np.ones(3), "integer labels y; found"),
        (np.ones((0, 2)), np.ones(0, int), "not empty"),
        (np.ones((3, 2)), np.array([0, 1, -1]), "y"),
    ],
    ids=["floats", "empty", "negative"],
)
def test_compare_refuses_data_without_labels(X, y, message, tmp_path, capsys):
    np.savez(tmp_path / "mine.npz", X=X, y=y)
    assert cli.main(["compare", "--data", str(tmp_path / "mine.npz")]) == 2
    assert message in capsys.readouterr().err


def test_times_and_ratios_in_words():
    assert [compare.duration(t) for t in (None, 2.5, 0.0123456, 3e-6)] == ["", "2.5 s", "12.3 ms", "3 us"]
    assert [compare.ratio(r) for r in (None, 1.2345, 100.0)] == ["", "1.23x", "100x"]


def test_a_slow_contestant_is_timed_once(monkeypatch):
    """Half a second is enough; a fast one has a burst in every round."""
    row = compare.Row("a", "svm", "numpy", True, 0.0, 0.0, 1.0)
    slow, fast = compare._Contest(row, lambda: None, []), compare._Contest(row, lambda: None, [])
    turns = []
    for contest in compare._rounds([slow, fast]):
        turns.append("slow" if contest is slow else "fast")
        contest.seconds.append(compare.SLOW if contest is slow else 1e-6)
    assert turns == ["slow", "fast", "fast", "fast"]


def test_info(capsys):
    assert cli.main(["info"]) == 0
    out = capsys.readouterr().out
    for word in ("instruction set", "threads", "numpy", "naive", "(default)"):
        assert word in out
