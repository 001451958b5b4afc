"""The command line: fastlin compare | train | predict | plot-schedule | lectures | info."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from fastlin.cli import compare, info, lectures, schedules, train


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; 0 on success, 1 if a backend is wrong, 2 for bad arguments, 130 after Ctrl-C."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except (ValueError, TypeError, OverflowError, ImportError, OSError) as problem:
        print(f"fastlin {arguments.command}: {problem}", file=sys.stderr)
    except MemoryError as problem:
        print(f"fastlin {arguments.command}: out of memory. {problem}", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"fastlin {arguments.command}: interrupted", file=sys.stderr)
        return 130
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fastlin", description="Linear classifiers on a CPU.")
    listed = "compare | train | predict | plot-schedule | lectures | info"
    commands = parser.add_subparsers(dest="command", required=True, metavar=listed)
    for command in (compare, train, schedules, lectures, info):
        command.add(commands)
    return parser
