"""scikit-learn's own test file passes with our LogisticRegression in it, but for tests of its own solvers' steps."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn")


@pytest.mark.slow
def test_scikit_learns_own_tests_pass():
    program = Path(__file__).with_name("sklearns_own.py")
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed.group(1)) > 250
