"""The harnesses of `make tsan`: they run, they mirror what the kernels have, and they report a race."""

import ast
import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fastlin import ops

HERE = Path(__file__).parent
KERNELS = Path(ops.module("naive").__file__).parent
CONSTANTS = ("PROGRESS_SIZE", "MOST_HELPERS", "BUSY", "LOCK", "JOB_SLOT_SIZE", "LOOKS")
FUNCTIONS = (
    "claim _count _load _swap _replace _look_again _wait_for finish wait rotated _post lead _join _sleep help_out"
)
OTHERS = ("_Team", "job_slot_for", "_forget_threads")


def name_of(node):
    """What a statement of a module defines."""
    if isinstance(node, ast.Assign):
        target = node.targets[0]
        return target.elts[0].id if isinstance(target, ast.Tuple) else getattr(target, "id", None)
    return getattr(node, "name", None)


def mirrored():
    """The digest of the sources that the harness of Numba's team mirrors."""
    text = (KERNELS / "numba_team.py").read_text(encoding="utf-8")
    found = {name_of(node): ast.get_source_segment(text, node) for node in ast.parse(text).body}
    sources = [found[name] for name in (*CONSTANTS, *FUNCTIONS.split(), *OTHERS)]
    return hashlib.sha256("\n".join(sources).encode()).hexdigest()[:16]


def test_the_harness_mirrors_numbas_protocol():
    """Else `make tsan` would look at a protocol that is no longer used."""
    harness = (HERE / "tsan_numba_team.c").read_text(encoding="utf-8")
    assert re.search(r"^ \* mirrored: (\w+)$", harness, re.MULTILINE).group(1) == mirrored()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("gcc"), reason="needs gcc on Linux")
@pytest.mark.parametrize(("harness", "sound"), [("tsan_team", True), ("tsan_numba_team", True), ("tsan_team", False)])
def test_the_harness_runs_and_reports_a_race(harness, sound, tmp_path):
    """A team whose members do not see each other's writes is reported."""
    for source in HERE.glob("tsan_*.[ch]"):
        shutil.copy(source, tmp_path)
    text = (KERNELS / "native" / "team.h").read_text()
    done = "__atomic_fetch_add(&job->done, 1, __ATOMIC_RELEASE)"
    assert done in text
    (tmp_path / "team.h").write_text(text if sound else text.replace(done, done.replace("RELEASE", "RELAXED")))
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-fsanitize=thread", "-pthread"]
    build = ["gcc", *flags, "-o", "harness", f"{harness}.c"]
    built = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True, check=False)
    if "tsan" in built.stderr and "cannot find" in built.stderr:
        pytest.skip("gcc has no ThreadSanitizer here")
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([tmp_path / "harness", "300", "0"], timeout=300, capture_output=True, text=True, check=False)
    if "unexpected memory mapping" in ran.stderr:
        pytest.skip("ThreadSanitizer does not know how this system lays out memory")
    assert (ran.returncode == 0) == sound, ran.stderr
    assert ("data race" in ran.stderr) == (not sound)
