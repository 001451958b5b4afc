"""No kernel touches memory outside its arrays or writes to an input.

Each group of calls of tests/hardening/guarded.py runs in a process of its own, where such an access is a SIGSEGV; the
last line that it printed is the case.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fastlin import ops

PROGRAM = Path(__file__).with_name("guarded.py")
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mprotect is called as on Linux")


def guarded(backend, group):
    """The child after its end, and the case that it ran last."""
    # A sanitizer would turn the signal into a report.
    options = {name: f"{os.environ.get(name, '')}:handle_segv=0" for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS")}
    done = subprocess.run(
        [sys.executable, "-P", PROGRAM, backend, group],
        env=os.environ | options,
        capture_output=True,
        text=True,
        check=False,
    )
    return done, (done.stdout.splitlines() or ["nothing"])[-1]


@pytest.mark.parametrize("group", ["ops", "drivers", "edge"])
def test_nothing_outside_the_arrays_is_touched(group, compiled):
    check(compiled, group)


@pytest.mark.slow
@pytest.mark.parametrize("group", ["ops", "drivers", "edge"])
@pytest.mark.parametrize("backend", [name for name, row in ops.BACKENDS.items() if not row.compiled])
def test_references_write_to_no_input(group, backend):
    check(backend, group)


def check(backend, group):
    done, case = guarded(backend, group)
    assert done.returncode != -signal.SIGSEGV, f"SIGSEGV in {backend}: {case}\n{done.stderr}"
    assert done.returncode == 0, f"{backend}: {case}\n{done.stderr}"
    assert case == "done"


@pytest.mark.parametrize("group", ["overrun", "read_only"])
def test_what_is_outside_cannot_be_touched(group):
    """The guards work: a read of one byte after an array, and a write to an input, end the child."""
    done, case = guarded("numpy", group)
    assert done.returncode == -signal.SIGSEGV, done.stderr
    assert case == group
