"""The teams of threads under ThreadSanitizer: `make tsan`. It ends with an error on any report, hang or wrong answer.

Each harness is compiled by gcc and by clang, where installed. gcc's ThreadSanitizer loses count of threads in the child
of a fork that starts some, so only clang's forks; a plain build forks too, and does more jobs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from fastlin import ops

HERE = Path(__file__).parent
NATIVE = Path(ops.module("naive").__file__).parent / "native"
HARNESSES = ("tsan_team", "tsan_numba_team")
FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-pthread")
BUILDS = {  # compiler and flags; jobs are multiplied by; forks after so many jobs, 0 for never
    "gcc, ThreadSanitizer": (("gcc", "-O1", "-fsanitize=thread"), 1, 0),
    "clang, ThreadSanitizer": (("clang", "-O1", "-fsanitize=thread"), 1, 40),
    "gcc, plain": (("gcc", "-O2"), 10, 200),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=20000, help="of each of three callers; default: %(default)s")
    parser.add_argument("--results", type=Path, metavar="FILE", help="where to write what was covered, as JSON")
    arguments = parser.parse_args()
    covered, good = [], True
    with tempfile.TemporaryDirectory() as folder:
        for harness in HARNESSES:
            for build, (compiler, times, forks) in BUILDS.items():
                if shutil.which(compiler[0]) is None:
                    print(f"{harness}, {build}: {compiler[0]} is not installed")
                    continue
                program = compiled(harness, compiler, Path(folder, "harness"))
                found = run(program, arguments.jobs * times, forks)
                good = good and found is not None
                jobs, forked = found or (0, 0)
                print(f"{harness}, {build}: {jobs} jobs, {forked} forks" if found else f"{harness}, {build}: FAILED")
                covered.append({"harness": harness, "build": build, "jobs": jobs, "forks": forked})
    if good and arguments.results is not None:
        arguments.results.write_text(json.dumps({"versions": versions(), "covered": covered}, indent=1) + "\n")
    return 0 if good and covered else 1


def compiled(harness: str, compiler: tuple[str, ...], program: Path) -> Path:
    """The harness as a program."""
    include = f"-I{NATIVE}"
    subprocess.run([*compiler, *FLAGS, include, "-o", program, HERE / f"{harness}.c"], check=True)
    return program


def run(program: Path, jobs: int, forks: int) -> tuple[int, int] | None:
    """How many jobs and forks the program did; None after a report, a wrong answer or a hang."""
    env = os.environ | {"TSAN_OPTIONS": "halt_on_error=1:die_after_fork=0"}
    limit = 120 + jobs / 100  # seconds: a hang ends too
    try:
        done = subprocess.run(
            [program, str(jobs), str(forks)], env=env, timeout=limit, stdout=subprocess.PIPE, text=True, check=False
        )
    except subprocess.TimeoutExpired:
        print(f"no end after {limit:.0f} s")
        return None
    if done.returncode:
        return None
    did, forked = done.stdout.split()
    return int(did), int(forked)


def versions() -> dict[str, str]:
    """The compilers' own words."""
    found = [name for name in ("gcc", "clang") if shutil.which(name)]
    said = {name: subprocess.run([name, "--version"], capture_output=True, text=True, check=True) for name in found}
    return {name: done.stdout.splitlines()[0] for name, done in said.items()}


if __name__ == "__main__":
    sys.exit(main())
