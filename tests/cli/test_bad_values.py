"""Bad values on the command line: status 2 and a line that names what is wrong, never a traceback."""

import pytest

from fastlin import cli

HUGE = "9" * 30
LONG = "9" * 5000
BAD = {
    "shape beyond memory": (["compare", "--shape", "100000000", "100000", "10"], "--shape asks for"),
    "shape beyond integers": (["compare", "--shape", HUGE, HUGE, HUGE], "--shape asks for"),
    "shape of many digits": (["compare", "--shape", LONG, "1", "1"], "--shape"),
    "shape 0": (["compare", "--shape", "0", "1", "1"], "--shape: expected an integer of at least 1"),
    "threads 0": (["compare", "--threads", "0"], "--threads: expected an integer of at least 1"),
    "threads text": (["train", "--threads", "two"], "--threads: expected an integer of at least 1"),
    "reg beyond floats": (["train", "--reg", "1e400"], "--reg: expected a number in [0, inf)"),
    "tol": (["train", "--tol", "-1"], "--tol: expected a number in [0, inf)"),
    "rate nan": (["train", "--lr", "nan"], "--lr: expected a number in (0, inf)"),
    "seed": (["train", "--seed", LONG], "--seed"),
    "steps": (["plot-schedule", "cosine", "--steps", HUGE], "steps must be an integer of at most"),
    "steps 0": (["plot-schedule", "cosine", "--steps", "0"], "steps must be an integer of at least 1"),
    "warmup": (["plot-schedule", "cosine", "--warmup", "-1"], "warm must be an integer of at least 0"),
    "rate": (["plot-schedule", "cosine", "--lr", "inf"], "lr must be in [0, inf); found inf"),
    "weights": (["predict", "--weights", "absent.npz"], "absent.npz"),
    "file": (["compare", "--data", "absent.npz"], "absent.npz"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_values(name, capsys):
    arguments, message = BAD[name]
    try:
        status = cli.main(arguments)
    except SystemExit as stop:  # argparse, for what it checks itself
        status = stop.code
    assert status == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert error.strip().splitlines()[-1].startswith("fastlin ")


@pytest.mark.parametrize("threads", ["2147483648", HUGE])
def test_more_threads_than_there_can_be(threads, monkeypatch, capsys):
    """They are as many as a team has at most."""
    monkeypatch.setattr(cli.compare.comparison, "BURST", 0.0)
    monkeypatch.setattr(cli.compare.comparison, "PAUSE", 0.0)
    shape = ["--shape", "8", "3", "2", "--ops", "softmax", "--backends", "numpy"]
    pytest.importorskip("threadpoolctl")
    assert cli.main(["compare", *shape, "--threads", threads]) == 0


def test_ctrl_c_is_no_traceback(monkeypatch, capsys):
    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.compare, "_run", interrupted)
    assert cli.main(["compare"]) == 130
    assert capsys.readouterr().err == "fastlin compare: interrupted\n"
