"""The README's performance tables are rendered from the CSV files."""

import csv
import json
import re
from pathlib import Path

import pytest

from fastlin import machine, ops

ROOT = Path(__file__).parent.parent.parent
COMMON = {"cpu": "A CPU", "cores": "2", "threads": "2", "isa": "avx2", "load": "0.1", "numpy_version": "2.4"}
COMMON |= {"torch_version": "", "shape": "256x3072x10", "dtype": "float32", "loss": "svm", "gemm_gf_s": "0.12582912"}
COMMON |= {"read_gb_s": "0.005"}


@pytest.fixture
def report(bench):
    return bench("report")


@pytest.fixture
def results(tmp_path):
    """Two runs of one row; in the newer one numba disagreed, so it has no time."""
    path = tmp_path / "peers-a-cpu.csv"
    runs = {
        "2026-01-01T00:00:00+00:00": {"fastlin-cython": 1.0, "fastlin-numba": 2.0, "numpy": 9.0},
        "2026-01-02T00:00:00+00:00": {"fastlin-cython": 1.0, "fastlin-numba": None, "numpy": 4.0, "torch": 2.5},
    }
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*COMMON, "date", "library", "agrees", "p50"])
        writer.writeheader()
        for date, seconds in runs.items():
            for library, p50 in seconds.items():
                own = {"p50": p50, "agrees": "yes"} if p50 else {"agrees": "WRONG: error 1 above 1e-6"}
                writer.writerow(COMMON | {"date": date, "library": library} | own)
    return path


def test_newest_run_against_its_fastest_peer(report, results):
    text = report.render([results], report.PEERS)
    assert text.splitlines()[-1] == "| 256 × 3072 × 10 | float32 | svm | 2.5x | – | torch (of 2) | 25% |"
    assert "A CPU, 2 cores, avx2, 2 threads each; numpy 2.4, torch absent; 2026-01-02." in text
    assert "Other programs" not in text


def test_limit_is_a_read_of_what_is_in_memory(report, results):
    """The same work over 16 MB or more of X is compared with a read too, if that takes longer; here it takes 4 s."""
    results.write_text(results.read_text().replace("256x3072x10", "512x10000x1").replace(",1.0", ",8.0"))
    assert report.render([results], report.PEERS).splitlines()[-1].endswith("| 51% |")


def test_busy_machine_is_said(report, results):
    results.write_text(results.read_text().replace(",0.1,", ",1.7,"))
    assert "Other programs were running (load 1.7)" in report.render([results], report.PEERS)


def test_machines_have_tables_of_their_own(report, results):
    other = results.with_name("peers-other.csv")
    other.write_text(results.read_text().replace("A CPU", "Another CPU"))
    assert report.render([results, other], report.PEERS).count("| n × d × c |") == 2


TRAINING = {"task": "adam step", "size": "25000000", "limit_s": "0.02", "accuracy": ""}


def training_line(library, p50, agrees="yes", **own):
    of_losses = ("shape", "dtype", "loss", "gemm_gf_s", "read_gb_s")
    line = {name: value for name, value in COMMON.items() if name not in of_losses}
    return line | TRAINING | {"date": "2026-01-01", "library": library, "p50": p50, "agrees": agrees} | own


def test_training_has_shares_and_accuracies(report, tmp_path):
    epoch = {"task": "svm epoch", "size": "10000x3072x10/32", "limit_s": "0.004", "accuracy": "0.75"}
    lines = [
        training_line("fastlin-cython", 0.025),
        training_line("fastlin-numba", 0.05),
        training_line("torch", 0.03),
        training_line("fastlin-cython", 0.01, **epoch),
        training_line("torch", 0.02, **epoch),
        training_line("scikit-learn", 0.001, agrees="its own rule", **epoch | {"accuracy": "0.5"}),
    ]
    path = tmp_path / "training-a-cpu.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    assert report.TRAINING.files(tmp_path) == [path]
    assert report.render([path], report.TRAINING).splitlines()[-2:] == [
        "| adam step | 25 000 000 | 1.2x | 0.6x | torch (of 1) | 80% | – |",
        "| svm epoch | 10000 × 3072 × 10, batches of 32 | 2x | – | torch (of 1) | 40% | 75.0% / scikit-learn 50.0% |",
    ]


def test_insert_keeps_the_text_around(report):
    for table in (*report.TABLES, report.SPARSE, *report.GRIDS, *report.RECORDS):
        before = f"a\n{table.begin}\nold\n{table.end}\nb\n"
        assert report.insert(before, table, "new") == before.replace("old", "new")
        with pytest.raises(SystemExit, match="expected one"):
            report.insert("no markers", table, "new")


def test_documents_show_what_was_measured(report):
    for document, tables in report.DOCUMENTS.items():
        if not document.exists():
            pytest.skip(f"{document.name} is not beside the tests")
        text = document.read_text(encoding="utf-8")
        for table in tables:
            shown = re.search(f"{table.begin}\n(.*?)\n{table.end}", text, re.DOTALL).group(1)
            assert shown == table.render(ROOT / "bench" / "results")


def test_a_check_of_a_promise_is_shown(report, tmp_path):
    """Facts, then the rows as a table; a row may lack a column, and a check may not have run."""
    record = report.Record("fuzz", "make fuzz")
    assert record.render(tmp_path) == "Not run yet: `make fuzz`."
    rows = [{"function": "a|b", "calls": 12345}, {"function": "c", "mean_ms": 0.12345, "kinds": ["x", {"y": True}]}]
    (tmp_path / "fuzz.json").write_text(json.dumps({"date": "2026-01-01", "total_calls": 10000, "rows": rows}))
    assert record.render(tmp_path).splitlines() == [
        "`make fuzz`: date 2026-01-01; total calls 10 000.",
        "",
        "| function | calls | mean ms | kinds |",
        "|---|--:|--:|--:|",
        "| a\\|b | 12 345 | – | – |",
        "| c | – | 0.1235 | x, y yes |",
    ]


def test_kernels_are_measured_and_shown(bench, report, monkeypatch, tmp_path):
    """A table's new lines replace its old ones, and its figures are in the right rows and columns."""
    study = bench("kernel_study")
    monkeypatch.setattr(study, "burst", lambda run: [2e-6] if run() is None else [4e-6])
    monkeypatch.setattr(study.machine, "busy_cores", lambda: 0.0)
    monkeypatch.setattr(study, "loss_by_blocks", lambda shape, dtype, rows: lambda: rows if rows == 64 else None)
    path = tmp_path / "kernels-a-cpu.csv"
    for _ in range(2):
        study.replace(path, "blocks", study.measure("blocks", [1], 1))
    lines = report.GRIDS[1].render(tmp_path).splitlines()
    assert lines[2:5:2] == [
        "| us, one thread | 16 rows | 32 rows | 64 rows |",
        "| 1797 × 64 × 10 float32 | 2 | 2 | 4 |",
    ]
    assert len(lines) == 7


@pytest.mark.parametrize("table", ["tiles", "blocks", "exp", "calls"])
def test_kernels_tables_run(table, bench, monkeypatch):
    """Each figure once: what a bench calls may change its arguments. `threads` needs a gigabyte."""
    pytest.importorskip("threadpoolctl")
    if {"cython", "numba"} - set(ops.installed()):
        pytest.skip("both compiled backends are measured")
    study = bench("kernel_study")
    monkeypatch.setattr(study, "burst", lambda run: [1e-6 if run() is None else 2e-6])
    monkeypatch.setattr(study.machine, "busy_cores", lambda: 0.0)
    assert all(float(line["p50"]) > 0 for line in study.measure(table, [1, 2], 1))


def test_four_backends_are_compared_with_naive(bench, report, tmp_path):
    """Groups in which a backend is missing have no row."""

    def measured(group, backend, median):
        stats = {"q1": 0.9 * median, "median": median, "q3": 1.1 * median}
        return {"group": group, "params": {"backend": backend}, "stats": stats}

    backends = bench("backends")
    seconds = {"naive": 0.1, "numpy": 1e-3, "numba": 2e-4, "cython": 1e-4}
    found = [measured("softmax|float32|64x65x10", name, median) for name, median in seconds.items()]
    found.insert(1, measured("softmax|float64|9x9x9", "numpy", 1.0))
    run = {"machine_info": {"fastlin": machine.describe()}, "datetime": "2026-01-01", "load": 0.0, "benchmarks": found}
    lines = list(backends.lines(run))
    assert [tuple(line) for line in lines] == [backends.HEADER] * 4
    text = report.render_machine(
        [{name: str(value) for name, value in line.items()} for line in lines], report.BACKENDS
    )
    assert text.splitlines()[-1] == "| softmax | 64 × 65 × 10 | 100 ms | 100x | 500x | 1000x | 10x |"
