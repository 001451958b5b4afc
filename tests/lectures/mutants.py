"""`make mutants`: breaks what each row of docs/lectures.md names, and shows that the row's own test goes red.

A mutant of mutant_table.py is a change of one file, made as the file is imported, in a process of its own: no file on
disk is touched. Those of `kernels/` run with the backend numpy.

    python -m tests.lectures.mutants [--row NAME]
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from typing import IO, Any, NamedTuple

import pytest

from .mutant_table import MUTANTS
from .rows import HERE, files, rows

ROOT = HERE.parent.parent  # the folder of pyproject.toml
AT_ONCE = 2
SECONDS = 120  # for a test: a change may make a loop endless
PASSED, FAILED = 0, 1  # pytest's exit codes
# Imported once, here, for all processes; nothing of fastlin may be.
SHARED = ["numpy", "scipy.optimize", "sklearn.neighbors", "sklearn.cluster", "sklearn.datasets", "skimage.feature"]


class Task(NamedTuple):
    """The tests of some rows, and perhaps a change."""

    names: list[str]
    change: tuple[str, str, str] | None
    numpy: bool  # with the backend numpy, and no other


def main() -> int:
    """Runs all rows, or one; 1 if a mutant survives, or a row has none."""
    parser = argparse.ArgumentParser(prog="python -m tests.lectures.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("--row", choices=sorted(rows()), help="this row alone")
    wanted = parser.parse_args().row
    names = [wanted] if wanted else list(rows())
    for module in SHARED:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    began = time.monotonic()
    broken = [Task([name], change, change[0].startswith("kernels/")) for name in names for change in changes(name)]
    sound = [[task.names[0] for task in broken if task.numpy is numpy] for numpy in (False, True)]
    for _, code, output in run_all([Task(some, None, numpy) for numpy, some in enumerate(sound) if some]):
        if code != PASSED:
            print(f"without any mutant:\n{output[-4000:]}")
            return 1
    lacking = [name for name in names if not changes(name)]
    alive = [report(*found) for found in run_all(broken)].count(False)
    for name in lacking:
        print(f"{name}: no mutant")
    print(
        f"{len(names)} rows, {len(broken)} mutants, {alive} survive, {len(lacking)} rows without one: "
        f"{time.monotonic() - began:.0f} s"
    )
    return int(bool(alive or lacking))


def changes(name: str) -> list[tuple[str, str, str]]:
    """The mutants of a row."""
    found = MUTANTS.get(name, [])
    return found if isinstance(found, list) else [found]


def report(task: Task, code: int, output: str) -> bool:
    """Prints what became of a mutant and what it was, with pytest's reason or, on an error, its output; if it died."""
    file, old, new = task.change or ("", "", "")
    verdict = {PASSED: "SURVIVES", FAILED: "dies"}.get(code, f"ERROR {code}")
    print(f"{verdict:8}  {task.names[0]}  {file}: {_line(old)}  ->  {_line(new)}", flush=True)
    if code == FAILED:
        print("         ", next(line[1:].strip() for line in output.splitlines() if line.startswith("E ")), flush=True)
    elif code != PASSED:
        print(output[-2000:])
    return code == FAILED


def _line(text: str) -> str:
    return " / ".join(line.strip() for line in text.strip().splitlines())


def run_all(tasks: list[Task]) -> Iterator[tuple[Task, int, str]]:
    """Each task with pytest's exit code and its output, some at a time, in the order in which they end."""
    running: dict[int, tuple[Task, IO[Any]]] = {}
    waiting = list(tasks)
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            task, output = waiting.pop(0), tempfile.TemporaryFile("w+")  # noqa: SIM115
            sys.stdout.flush()
            pid = os.fork()
            if pid == 0:
                child(task, output)
            running[pid] = task, output
        pid, status = os.wait()
        task, output = running.pop(pid)
        with output:
            output.seek(0)
            yield task, os.waitstatus_to_exitcode(status), output.read()


def child(task: Task, output: IO[Any]) -> None:
    """Runs the tests in this process, which ends with them."""
    code = 70
    try:
        for stream in (1, 2):
            os.dup2(output.fileno(), stream)
        signal.alarm(SECONDS * len(task.names))
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # their import takes longer than most of the tests
        if task.numpy:
            os.environ["FASTLIN_BACKEND"] = "numpy"
        if task.change is not None:
            break_file(*task.change)
        own = [f"{files()[name]}::test_{name.replace('-', '_')}" for name in dict.fromkeys(task.names)]
        backends = "not numba and not cython" if task.numpy else "not numba and not naive"
        how = ["-x", "-q", "-p", "no:cacheprovider", f"--rootdir={ROOT}", "-k", backends]
        code = int(pytest.main([*own, *how]))
        sys.stdout.flush()
    finally:
        os._exit(code)


def break_file(file: str, old: str, new: str) -> None:
    """Makes the change when the module of this file is imported."""
    module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    module = f"fastlin.{module}" if module.startswith("kernels.") else module
    get_code = SourceFileLoader.get_code

    def broken(self: SourceFileLoader, fullname: str) -> Any:
        if fullname != module:
            return get_code(self, fullname)
        source = self.get_source(fullname) or ""
        if source.count(old) != 1:
            raise ImportError(f"{file} has {source.count(old)} times, not once: {old}")
        return compile(source.replace(old, new), self.get_filename(fullname), "exec", dont_inherit=True)

    SourceFileLoader.get_code = broken  # type: ignore[method-assign]


if __name__ == "__main__":
    sys.exit(main())
