"""Checks calls in a process of its own, whose memory is bounded: what a file brings down is not the whole run.

Started as `python -m tests.fuzz.worker`: reads a call a line, as it is printed, and writes what broke, or nothing.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOM = 1 << 30  # bytes of addresses beyond those that a process has when it starts
MOST = 200 << 20  # bytes that a call may take
SECONDS = 60


class Worker:
    """Another process that checks calls."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def check(self, line: str) -> str:
        """What is broken, in words; empty if nothing is."""
        process = self._started()
        assert process.stdin is not None
        process.stdin.write(json.dumps(line) + "\n")
        process.stdin.flush()
        with _alarm(process):
            answer = process.stdout.readline() if process.stdout else ""
        if answer:
            return str(json.loads(answer))
        code = process.wait()
        self._errors.seek(0)
        said = self._errors.read()[-1500:]
        self._forget()
        return f"the process ended with {code} (-11: a segmentation fault, -9: no answer in {SECONDS} s): {said}"

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (it lives as long as the process)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.worker"],
                cwd=Path(__file__).parents[2],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
            )
        return self._process

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._forget()

    def _forget(self) -> None:
        """Close what led to a process that has ended."""
        if self._process is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.communicate()
            self._errors.close()
            self._process = None


@contextlib.contextmanager
def _alarm(process: subprocess.Popen[str]) -> Iterator[None]:
    """Kills a process that does not answer."""
    import threading

    timer = threading.Timer(SECONDS, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _peak() -> int:
    """The most memory that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def serve() -> None:
    """Check each call that is read."""
    faulthandler.enable()
    from .replay import check_line

    with contextlib.suppress(OSError, ValueError, IndexError):  # where there is no /proc, nothing is bounded
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + ROOM, held + ROOM))
    out: Any = sys.stdout
    sys.stdout = sys.stderr
    for line in sys.stdin:
        before = _peak()
        broken = check_line(json.loads(line))
        if not broken and _peak() - before > MOST:
            broken = f"it took {(_peak() - before) >> 20} MB of memory"
        print(json.dumps(broken), file=out, flush=True)


if __name__ == "__main__":
    serve()
