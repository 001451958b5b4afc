"""Kernels kept on disk are found again by the next process, and never cause an error."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("numba")
from fastlin.kernels import numba_cache, numba_ops

pytestmark = pytest.mark.numba

HOMES = ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR")
STEP = """
import numpy as np
from fastlin import testing
from fastlin.kernels import numba_cache, numba_ops
w = np.ones(5, "{dtype}")
numba_ops.sgd_update(w, np.ones(5, "{dtype}"), 0.25, 0.0)
assert (w == 0.75).all(), w
print(numba_cache.directory() is not None, sum(numba_ops.sgd_update.stats.cache_hits.values()))
"""


def start(env, dtype="float64"):
    env = {name: value for name, value in os.environ.items() if name not in HOMES} | env
    command = [sys.executable, "-c", STEP.format(dtype=dtype)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def step(env, dtype="float64"):
    """Makes an update in a fresh process: whether it has a directory, and how often it found the kernel there."""
    process = start(env, dtype)
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    assert not errors
    kept, hits = out.split()
    return kept == "True", int(hits)


def test_the_next_process_finds_it(tmp_path):
    env = {"NUMBA_CACHE_DIR": str(tmp_path)}
    assert step(env) == (True, 0)
    assert step(env) == (True, 1)
    assert step(env, "float32") == (True, 0)
    assert step(env | {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}) == (True, 0)


FIRST = """
import sys
import numpy as np
import fastlin as fl
X, y, W = np.ones((40, 7), np.float32), np.arange(40) % 3, np.zeros((7, 3), np.float32)
how = dict(backend="numba", bias=False, threads=2)
fl.softmax_loss(W, X, y, **how)
fl.train(X, y, W=W, epochs=1, average="polyak", optimizer=fl.Adam(clip_norm=1.0, prox=fl.L1(0.1)), reg=0.1, **how)
from fastlin.kernels import numba_ops, numba_wide
print(len(numba_wide.wide_scores.signatures), len(numba_wide.add_panels.signatures), "scipy.linalg" in sys.modules)
"""


@pytest.mark.slow
def test_first_calls_do_no_more_than_they_must(tmp_path):
    """Few classes need no tiles for many, and kernels that the disk holds no Numba that can compile."""
    env = {name: value for name, value in os.environ.items() if name not in HOMES} | {"NUMBA_CACHE_DIR": str(tmp_path)}

    def first():
        command = [sys.executable, "-c", FIRST]
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout.split()

    assert first() == ["0", "0", "True"]
    assert first() == ["0", "0", "False"]


def test_a_damaged_file_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(numba_cache, "directory", lambda: tmp_path)

    def hits():
        kernel = numba_cache.jit(numba_ops.sgd_update.py_func)  # has nothing compiled, like a new process
        w = np.ones(5)
        kernel(w, np.ones(5), 0.25, 0.0)
        assert (w == 0.75).all()
        return sum(kernel.stats.cache_hits.values())

    assert hits() == 0
    (file,) = tmp_path.iterdir()
    good = file.read_bytes()
    digest, data = pickle.loads(good)
    for bad in (b"", good[: len(good) // 2], pickle.dumps((digest, data + b"x")), pickle.dumps(None)):
        file.write_bytes(bad)
        assert hits() == 0
        assert hits() == 1


def test_processes_together(tmp_path):
    env = {"NUMBA_CACHE_DIR": str(tmp_path)}
    processes = [start(env, dtype) for dtype in ("float64", "float32") * 2]
    for process in processes:
        assert process.communicate()[1] == ""
        assert process.returncode == 0
    assert len(list((tmp_path / "fastlin").iterdir())) == 2
    assert step(env, "float32") == (True, 1)


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_place_that_is_not_ours_alone_is_not_used(tmp_path):
    blocked = tmp_path / "file"
    blocked.touch()
    assert step({"NUMBA_CACHE_DIR": str(blocked)}) == (False, 0)
    shared = tmp_path / "fastlin"
    shared.mkdir()
    shared.chmod(0o777)
    assert step({"NUMBA_CACHE_DIR": str(tmp_path)}) == (False, 0)
    assert not list(shared.iterdir())


def test_home(tmp_path):
    assert step({"HOME": str(tmp_path)}) == (True, 0)
    assert step({"HOME": str(tmp_path / "missing")}) == (False, 0)
    assert not (tmp_path / "missing").exists()
