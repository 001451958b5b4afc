"""The README's performance table: rendered from the CSV files, never typed."""

import csv
import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
COMMON = {"cpu": "A CPU", "cores": "2", "threads": "2", "isa": "avx2", "load": "0.1", "numpy_version": "2.4"}
COMMON |= {"torch_version": "", "shape": "256x3072x10", "dtype": "float32", "loss": "svm", "gemm_gf_s": "200"}


@pytest.fixture
def report():
    path = ROOT / "bench" / "report.py"
    if not path.exists():
        pytest.skip("the benches are not beside the tests")
    spec = importlib.util.spec_from_file_location("report", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def results(tmp_path):
    """Two runs of one row; in the newer one numba disagreed, so it has no time."""
    path = tmp_path / "peers-a-cpu.csv"
    runs = {
        "2026-01-01T00:00:00+00:00": {"fastlin-cython": 1.0, "fastlin-numba": 2.0, "numpy": 9.0},
        "2026-01-02T00:00:00+00:00": {"fastlin-cython": 1.0, "fastlin-numba": None, "numpy": 4.0, "torch": 2.5},
    }
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*COMMON, "date", "library", "agrees", "p50", "gf_s"])
        writer.writeheader()
        for date, seconds in runs.items():
            for library, p50 in seconds.items():
                own = {"p50": p50, "agrees": "yes", "gf_s": 50} if p50 else {"agrees": "WRONG: error 1 above 1e-6"}
                writer.writerow(COMMON | {"date": date, "library": library} | own)
    return path


def test_newest_run_against_its_fastest_peer(report, results):
    text = report.render([results])
    assert text.splitlines()[-1] == "| 256 × 3072 × 10 | float32 | svm | 2.5x | – | torch (of 2) | 25% |"
    assert "A CPU, 2 cores, avx2, 2 threads each; numpy 2.4, torch absent; 2026-01-02." in text
    assert "Other programs" not in text


def test_busy_machine_is_said(report, results):
    results.write_text(results.read_text().replace(",0.1,", ",1.7,"))
    assert "Other programs were running (load 1.7)" in report.render([results])


def test_machines_have_tables_of_their_own(report, results):
    other = results.with_name("peers-other.csv")
    other.write_text(results.read_text().replace("A CPU", "Another CPU"))
    assert report.render([results, other]).count("| n × d × c |") == 2


def test_insert_keeps_the_text_around(report):
    before = f"a\n{report.BEGIN}\nold\n{report.END}\nb\n"
    assert report.insert(before, "new") == before.replace("old", "new")
    with pytest.raises(SystemExit, match="expected one"):
        report.insert("no markers", "new")


def test_readme_shows_what_was_measured(report):
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("the README is not beside the tests")
    shown = re.search(f"{report.BEGIN}\n(.*?)\n{report.END}", readme.read_text(encoding="utf-8"), re.DOTALL).group(1)
    assert shown == report.render(sorted((ROOT / "bench" / "results").glob("peers-*.csv")))
