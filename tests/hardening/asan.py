"""Tests over extensions that are built with AddressSanitizer and UndefinedBehaviorSanitizer: `make asan`.

For each compiler (gcc, clang) the extensions are compiled into build/asan/COMPILER, away from those in use, and for
each instruction set of this machine the tests of the kernels and the fuzz tests run over them. An out-of-bounds access,
a use after free, an overflow of an integer or a misaligned access is a report, and any report is a failure. What ran is
written to bench/results/asan.json.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import setuptools  # noqa: F401

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build" / "asan"
RESULT = ROOT / "bench" / "results" / "asan.json"
# Python compiles extensions so that integers wrap around; here that is a report too.
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-wrapv", "-fno-omit-frame-pointer", "-g1"]
# At -O3 the sanitizers' code compiles for many minutes; the bounds of loops are the same.
LEVEL = {"-O3": "-O1"}

KERNEL_TESTS = [
    "tests/kernels",
    "tests/test_epoch.py",
    "tests/test_updates.py",
    "tests/test_check.py",
    "tests/hardening/test_guard_pages.py",
]
FUZZ_TESTS = "tests/fuzz"
# The other backends run no code that is compiled here, and a forked child is not the sanitizers' subject. With -s a
# report is seen: what pytest holds back is lost when the process ends. A test that limits memory leaves no room for
# what the sanitizer keeps beside it.
CHOICE = "(cython or not (naive or numpy)) and not fork and not allows_no_threads"
OPTIONS = ["-q", "-s", "-x", "-p", "no:cacheprovider", "-m", "not numba", "-k", CHOICE]

# What Numba compiles has no checks in it.
NO_NUMBA = "import sys\n\nsys.modules['numba'] = None\n"

# Each function does what a sanitizer must report; if it does not, nothing that follows means anything.
FAULTS = """
#include <stdlib.h>
int overrun(int n) { int *a = calloc(n, sizeof(int)); int v = a[n]; free(a); return v; }
int overflow(int n) { return 2147483647 + n; }
"""
REPORTS = {"overrun": "heap-buffer-overflow", "overflow": "signed integer overflow"}


FRAME = re.compile(r"\((/[^()+]+)\+(0x[0-9a-f]+)\)")  # where a report names no function


class AsanError(Exception):
    """What `make asan` found."""


class Compiler:
    """A compiler with its sanitizers, and the environment in which Python loads what it compiled."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = BUILD / name
        self.packages = self.folder / "lib"
        self.reports = self.folder / "reports"
        self.tree = self.folder / "tree"  # the tests, with no package beside them that could be imported instead
        self.flags = SANITIZE
        if name == "clang":  # which reports NULL + 0 too; gcc checks for pointers that wrap around, and not for that
            self.flags = [*SANITIZE, "-fno-sanitize=pointer-overflow", "-shared-libasan"]
            # It makes a product and a sum one operation only where no check stands between them: here and not there.
            self.flags += ["-ffp-contract=off"]

    @property
    def version(self) -> str:
        """The first line of --version."""
        return run([self.name, "--version"]).stdout.splitlines()[0]

    def libraries(self) -> list[str]:
        """The sanitizers' libraries, which must be loaded before all others, and that of C++ exceptions."""
        names = ["libasan.so", "libubsan.so"]
        if self.name == "clang":  # one library holds both
            names = [f"libclang_rt.asan-{platform.machine()}.so"]
        found = [run([self.name, f"-print-file-name={name}"]).stdout.strip() for name in [*names, "libstdc++.so.6"]]
        return [path for path in found if Path(path).is_absolute()]

    def environment(self, **others: str) -> dict[str, str]:
        """The environment of a Python that loads the modules of this compiler; reports go to files."""
        # clang's symbolizer would be started with these libraries too, and hangs with them.
        symbols = "symbolize=0" if self.name == "clang" else "symbolize=1"
        address = f"{symbols}:detect_leaks=0:allocator_may_return_null=1:detect_stack_use_after_return=1"
        undefined = f"{symbols}:halt_on_error=1:print_stacktrace=1"
        log = f"log_path={self.reports / 'report'}"
        return os.environ | {
            "LD_PRELOAD": ":".join(self.libraries()),
            "ASAN_OPTIONS": f"{address}:{log}",
            "UBSAN_OPTIONS": f"{undefined}:{log}",
            "PYTHONMALLOC": "malloc",  # Python's own allocator hands out pieces of what the sanitizer sees as one
            "PYTHONPATH": str(self.packages),
            **others,
        }

    def build(self, chosen: list[str] | None) -> None:
        """Compile the extensions as setup.py says, but for the sanitizers, and none is optional.

        chosen : the instruction sets beside "base", which picks one; None: all.
        """
        run_setup = importlib.import_module("distutils.core").run_setup  # setuptools' own, once that is imported

        os.environ["CC"] = self.name
        distribution = run_setup("setup.py", stop_after="config")
        wanted = {f"fastlin.kernels.cython_{isa}" for isa in ["base", *(chosen or [])]}
        wanted |= {"fastlin.kernels.quick_check", "fastlin.kernels.contract"}
        if chosen:
            distribution.ext_modules = [module for module in distribution.ext_modules if module.name in wanted]
        for module in distribution.ext_modules:
            module.extra_compile_args = [LEVEL.get(flag, flag) for flag in module.extra_compile_args] + self.flags
            module.extra_link_args = self.flags
            module.optional = False
        build = distribution.get_command_obj("build")
        build.build_base, build.build_lib, build.parallel = str(self.folder), str(self.packages), os.cpu_count()
        distribution.run_command("build")
        (self.packages / "sitecustomize.py").write_text(NO_NUMBA)
        shutil.copytree(ROOT / "tests", self.tree / "tests", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", self.tree)

    def assert_it_reports(self) -> None:
        """A deliberate overrun and a deliberate overflow end the process with a report."""
        source, library = self.folder / "faults.c", self.folder / "faults.so"
        source.write_text(FAULTS)
        run([self.name, "-O0", "-shared", "-fPIC", *self.flags, str(source), "-o", str(library)])
        for fault, expected in REPORTS.items():
            code = f"import ctypes; ctypes.CDLL({str(library)!r}).{fault}(7)"
            done = python(["-c", code], self.environment(), check=False)
            reported = self.take_reports() + done.stderr  # gcc's UndefinedBehaviorSanitizer knows no log_path
            if done.returncode == 0 or expected not in reported:
                raise AsanError(f"{self.name}: the sanitizer did not report {fault}: {reported}")

    def assert_it_is_loaded(self, isa: str) -> None:
        """The modules that tests will import are those of this build, with the sanitizers' checks in them."""
        code = "from fastlin.kernels import contract as a, cython_ops as b, quick_check as c\n"
        code += "print(a.__file__, b._extension.__file__, c.__file__)"
        for name in python(["-c", code], self.environment(FASTLIN_ISA=isa)).stdout.split():
            path = Path(name)
            if self.packages not in path.parents:
                raise AsanError(f"{path} was loaded, which is not in {self.packages}")
            missing = [word for word in ("__asan_report", "__ubsan_handle") if word.encode() not in path.read_bytes()]
            if missing:
                raise AsanError(f"{path} has no {' and no '.join(missing)}: it was built without a sanitizer")

    def take_reports(self) -> str:
        """The reports that were written since the last call."""
        written = sorted(self.reports.glob("report*"))
        text = "".join(path.read_text(errors="replace") for path in written)
        for path in written:
            path.unlink()
        return FRAME.sub(lambda found: found.group(0) + self.line_of(found.group(1), found.group(2)), text)

    def line_of(self, library: str, place: str) -> str:
        """The function and line of an address in one of our modules."""
        if self.packages not in Path(library).parents:
            return ""
        return " = " + run(["addr2line", "-f", "-e", library, place]).stdout.strip().replace("\n", " ")

    def test(self, isa: str, tests: list[str]) -> int:
        """Run tests over the modules of an instruction set; how many passed."""
        results = self.folder / f"{isa}.xml"
        done = python(
            ["-m", "pytest", *OPTIONS, f"--junitxml={results}", *tests],
            self.environment(FASTLIN_ISA=isa, FASTLIN_BACKEND="cython"),
            capture=False,
            check=False,
            cwd=self.tree,
        )
        reported = self.take_reports()
        if done.returncode or reported:
            raise AsanError(f"{self.name}, {isa}: {' '.join(tests)} failed\n{reported}")
        suite = ElementTree.parse(results).getroot()[0]
        return int(suite.attrib["tests"]) - int(suite.attrib["skipped"])


def python(arguments: list[str], env: dict[str, str], **how: Any) -> subprocess.CompletedProcess[str]:
    """Run Python with -P: the folder of the sources must not come before the built package."""
    return run([sys.executable, "-P", *arguments], env, **how)


def run(
    command: list[str],
    env: dict[str, str] | None = None,
    *,
    capture: bool = True,
    check: bool = True,
    cwd: Path = ROOT,
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=capture, text=True, check=False)
    if check and done.returncode:
        raise AsanError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done


def examine(compiler: Compiler, chosen: list[str] | None) -> list[dict[str, Any]]:
    """Build with a compiler and test every instruction set, or the chosen ones: a line for each."""
    shutil.rmtree(compiler.folder, ignore_errors=True)
    compiler.reports.mkdir(parents=True)
    compiler.build(chosen)
    compiler.assert_it_reports()
    built = "from fastlin.kernels import cython_ops; print(*cython_ops.built())"
    lines = []
    for isa in chosen or python(["-c", built], compiler.environment()).stdout.split():
        compiler.assert_it_is_loaded(isa)
        line: dict[str, Any] = {"compiler": compiler.version, "instruction_set": isa}
        line["kernel_tests_passed"] = compiler.test(isa, KERNEL_TESTS)
        line["fuzz_tests_passed"] = None
        if (ROOT / FUZZ_TESTS).is_dir():
            line["fuzz_tests_passed"] = compiler.test(isa, [FUZZ_TESTS, "--hypothesis-profile=ci"])
        line["reports"] = 0
        lines.append(line)
        print(json.dumps(line), flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compiler", nargs="+", help="default: gcc, and clang where it is installed")
    parser.add_argument("--isa", nargs="+", help="default: every one that this machine has")
    arguments = parser.parse_args()
    names = arguments.compiler or [name for name in ("gcc", "clang") if shutil.which(name)]
    try:
        lines = [line for name in names for line in examine(Compiler(name), arguments.isa)]
    except AsanError as error:
        raise SystemExit(f"make asan: {error}") from None
    if arguments.compiler or arguments.isa:
        return  # a part of it is not the result
    result = {"date": time.strftime("%Y-%m-%d"), "machine": platform.machine(), "reports": 0, "rows": lines}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(f"no report; wrote {RESULT}")


if __name__ == "__main__":
    main()
