"""The command `fastlin plot-schedule`."""

from __future__ import annotations

import argparse
from typing import Any

from fastlin import schedules
from fastlin.cli.arguments import path

EPILOG = """\
examples:
  fastlin plot-schedule cosine --lr 0.1 --steps 1000 --out lr.png
  fastlin plot-schedule cosine linear inverse_sqrt --warmup 100"""


def add(commands: Any) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "plot-schedule",
        help="draw learning rates over the steps of a training",
        description="Draw learning-rate schedules, one curve each (needs fastlin[plot]).",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "names", nargs="+", choices=schedules.NAMES, metavar="SCHEDULE", help="any of " + ", ".join(schedules.NAMES)
    )
    command.add_argument("--lr", type=float, default=0.1, help="initial, or highest, rate; default: %(default)s")
    command.add_argument("--steps", type=int, default=1000, help="default: %(default)s")
    command.add_argument("--warmup", type=int, default=0, metavar="N", help="linear warm-up over the first N steps")
    command.add_argument("--out", type=path, default="schedule.png", metavar="FILE.png", help="default: %(default)s")
    command.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    several = [schedules._by_name(name, arguments.lr, arguments.steps, arguments.warmup) for name in arguments.names]
    schedules.plot(several, arguments.steps).savefig(arguments.out, dpi=120)
    print(f"wrote {arguments.out}")
    return 0
