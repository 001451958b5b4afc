"""fastlin compare and fastlin info, as typed."""

import json

import numpy as np
import pytest

from fastlin import cli, compare, testing


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


def test_info(capsys):
    assert cli.main(["info"]) == 0
    out = capsys.readouterr().out
    for word in ("instruction set", "threads", "numpy", "naive", "(default)"):
        assert word in out
