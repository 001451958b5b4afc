"""Type checkers accept the README, the examples and correct calls, and report wrong calls."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent  # of the checkout: both checkers find fastlin here, or where it is installed

CALLS = """\
# pyright: reportUnnecessaryTypeIgnoreComment=true
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import fastlin as fl
from fastlin.optim import Optimizer


class Mine:
    def step(self, W: NDArray[Any], dW: NDArray[Any]) -> None:
        W -= 0.1 * dW


X, y, W = np.ones((4, 3), np.float32), np.array([0, 1, 2, 1]), np.zeros((3, 3), np.float32)
loss, dW = fl.softmax_loss(W, X, y)
assert_type((loss, dW), tuple[float, NDArray[Any]])
assert_type(fl.logistic_loss(W, X, y, bias=True, reduction="sum", threads=1)[0], float)
assert_type(fl.huber_loss(W, X, y, delta=2.0, reduction="none")[0], NDArray[Any])
assert_type(fl.svm_loss(W, fl.Parts([lambda: (X, y)]), margin=2.0, ignore_index=-1)[0], float)
any_of: Optimizer = fl.optim.Lion(fl.schedules.cosine(0.1, T=10))
any_of.step(W, dW)
fl.Adam(1e-3, 0.9, weight_decay=0.1, clip_norm=1.0).step([W], [dW], bias=True, backend="numpy", threads=1)
fl.train(X, y, optimizer=fl.SGD(0.1, momentum=0.9, prox=fl.ElasticNet(0.1, 0.5)))
fl.train(X, y, optimizer=Mine())
fl.adam_update(W, dW, np.zeros_like(W), np.zeros_like(W), 1, lr=0.1, eps=1e-7)
fl.updates.sgd_update(W, dW, lr=0.1)
assert_type(fl.load_digits().X_test, NDArray[Any])

fl.Adam(momentum=0.9)  # type: ignore[call-arg]
fl.SGD()  # type: ignore[call-arg]
fl.AdamW(lr="fast")  # type: ignore[arg-type]
fl.Lion(1e-4, 0.9, 0.99, 0.0, 1.0)  # type: ignore[call-arg]
fl.Adam().step(W)  # type: ignore[call-arg]
fl.adam_update(W, dW, W, W, 1)  # type: ignore[call-arg]
fl.sgd_update(W, dW, 0.1)  # type: ignore[call-arg]
fl.softmax_loss(W, X, y, margin=1.0)  # type: ignore[call-overload]
fl.huber_loss(W, X, y, delta="wide")  # type: ignore[call-overload]
fl.logistic_loss(W, X, y, 0.0, True)  # type: ignore[call-overload]
fl.Adamm  # type: ignore[attr-defined]
"""


@pytest.fixture(scope="module", params=["mypy", "pyright"])
def check(request, tmp_path_factory):
    """Runs a checker over files, and returns its output."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    cache = tmp_path_factory.mktemp("cache")
    arguments = {
        "mypy": ["--strict", "--no-error-summary", f"--cache-dir={cache}", f"--python-executable={sys.executable}"],
        "pyright": [f"--pythonpath={sys.executable}"],
    }[request.param]
    quiet = {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}  # of a newer version

    def run(*files):
        done = subprocess.run(
            [sys.executable, "-m", request.param, *arguments, *map(str, files)],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env=os.environ | quiet,
            timeout=300,
        )
        return done.returncode, done.stdout + done.stderr

    if request.param == "pyright":
        empty = cache / "empty.py"
        empty.write_text("")
        code, said = run(empty)
        if code:  # without Node.js it wants to download one
            pytest.skip(f"pyright does not run here: {said.strip().splitlines()[-1]}")
    return run


def test_the_readme_and_the_examples(check, tmp_path):
    readme, examples = ROOT / "README.md", sorted((ROOT / "examples").glob("*.py"))
    if not (readme.exists() and examples):
        pytest.skip("the README and the examples are not beside the tests")
    blocks = tmp_path / "readme.py"
    blocks.write_text("\n".join(re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL)))
    assert "fl.AdamW(" in blocks.read_text()
    code, said = check(blocks, *examples)
    assert code == 0, said


def test_right_and_wrong_calls(check, tmp_path):
    """Wrong calls are marked: a mark that hides no error is an error."""
    calls = tmp_path / "calls.py"
    calls.write_text(CALLS)
    code, said = check(calls)
    assert code == 0, said
