"""The command `fastlin compare`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import Any

from fastlin import compare as comparison
from fastlin import machine, ops
from fastlin._extras import progress
from fastlin.cli.arguments import path
from fastlin.cli.train import positive
from fastlin.testing import Case, random_case

EPILOG = """\
examples:
  fastlin compare                                    digits and a CIFAR-10-shaped batch, every backend
  fastlin compare --shape 10000 784 10 --ops softmax --backends numpy cython --plot mine.png
  fastlin compare --data mine.npz --json mine.json   X (n, d) and y (n,) of your own

"x naive" and "x numpy" are speed-ups: 2x is half the time. Errors are relative to the naive backend in
float64; a backend beyond k eps is reported as wrong and is not timed."""


def add(commands: Any) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "compare",
        help="time every op in every backend on the same arrays",
        description="Check that the backends agree, then time them on the same arrays.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source = command.add_mutually_exclusive_group()
    source.add_argument(
        "--shape", nargs=3, type=positive, metavar=("N", "D", "C"), help="random rows, features, classes"
    )
    source.add_argument("--data", metavar="FILE.npz", help="arrays X (n, d) and y (n,) of your own")
    command.add_argument("--dtype", choices=ops.DTYPES, default="float32", help="default: %(default)s")
    usual = f"{_or(comparison.op_names())}; default: {', '.join(comparison.USUAL)}"
    command.add_argument(
        "--ops", nargs="+", choices=comparison.op_names(), default=comparison.USUAL, metavar="OP", help=usual
    )
    command.add_argument("--backends", nargs="+", choices=ops.BACKENDS, metavar="B", help=_or(ops.BACKENDS))
    command.add_argument("--threads", type=positive, metavar="T", help="threads for everybody, NumPy's BLAS included")
    command.add_argument(
        "--json", type=path, metavar="FILE", help="write every figure and the machine it was measured on"
    )
    command.add_argument("--plot", type=path, metavar="FILE.png", help="draw the times (needs fastlin[plot])")
    command.set_defaults(run=_run)


def _or(names: Iterable[str]) -> str:
    return "any of " + ", ".join(names)


def _cases(arguments: argparse.Namespace) -> list[Case]:
    if arguments.data:
        return [comparison.file_case(arguments.data, arguments.dtype)]
    if arguments.shape:
        n, d, c = arguments.shape
        _check_memory(n, d, c)
        return [random_case(n, d, c).astype(arguments.dtype)]
    return comparison.default_cases(arguments.dtype)


def _check_memory(n: int, d: int, c: int) -> None:
    """The arrays fit into this machine: Linux promises memory that it does not have, and then ends the process."""
    asked = 8 * (2 * n * d + 3 * d * c + 3 * n * c)
    has = machine.memory()
    if asked > has:
        asked_gb, has_gb = -(-asked // 10**9), has / 10**9
        raise ValueError(f"--shape asks for about {asked_gb} GB; this machine has {has_gb:.3g} GB")


def _run(arguments: argparse.Namespace) -> int:
    backends = arguments.backends or list(ops.installed())
    for name in backends:
        ops.module(name)  # an explicit choice that is not installed is an error, before anything is timed
    for name in set(ops.BACKENDS) - set(ops.installed()):
        print(f"{name} is left out: {ops.missing(name)}")
    facts = machine.describe()
    print(f"{facts['cpu']}, {facts['cores']} cores, {facts['instruction set']}; {arguments.dtype}")
    rows = comparison.compare(_cases(arguments), arguments.ops, backends, arguments.threads, _bar)
    print(comparison.table(rows))
    if arguments.json:
        comparison.write_json(rows, arguments.json)
        print(f"wrote {arguments.json}")
    if arguments.plot:
        from fastlin._plots.compare import compare_picture

        compare_picture(rows, arguments.plot)
        print(f"wrote {arguments.plot}")
    return 0 if all(row.agrees for row in rows) else 1


def _bar(jobs: Iterable[Any], count: int) -> Iterable[Any]:
    return progress(jobs, "comparing", sys.stderr.isatty(), count)
