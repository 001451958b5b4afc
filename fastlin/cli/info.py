"""The command `fastlin info`."""

from __future__ import annotations

import argparse
from typing import Any

from fastlin import machine, ops


def add(commands: Any) -> None:
    """Add the command to the command line."""
    command = commands.add_parser("info", help="versions, backends, instruction set, threads")
    command.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    for name, value in machine.describe().items():
        print(f"{name:16} {value}")
    print()
    ops.show_backends()
    return 0
