"""The examples run, warn of nothing, and end with what they promise."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "examples"
EXAMPLES = {
    "training_loop": (["--steps", "300"], "accuracy on unseen digits 0.9"),
    "four_backends": (["--rows", "50"], "numpy   loss 2.3"),
    "gradient_check": ([], "gradient DISAGREES"),
    "schedules": (["--epochs", "5"], "inverse_sqrt last loss"),
    "features_first": (["--epochs", "20"], "radius and angle:   1.000"),
    "text": (["--classes", "3"], "L1: accuracy on unseen docstrings 0.9"),
    "resume": (["--epochs", "4"], "the same bits: True"),
}

if not FOLDER.is_dir():
    pytest.skip("the examples are not beside the tests", allow_module_level=True)


def test_every_example_is_here():
    assert {path.stem for path in FOLDER.glob("*.py")} == set(EXAMPLES)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_runs(name):
    pytest.importorskip("sklearn")
    if name == "features_first":
        pytest.importorskip("skimage")
    arguments, promise = EXAMPLES[name]
    script = str(FOLDER / f"{name}.py")
    done = subprocess.run(
        [sys.executable, "-W", "error", script, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert promise in done.stdout
    assert not done.stderr
