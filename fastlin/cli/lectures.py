"""The command `fastlin lectures`."""

from __future__ import annotations

import argparse
import time
from typing import Any

from fastlin.cli.arguments import path
from fastlin.lectures import page


def add(commands: Any) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "lectures",
        help="the pictures of the lectures on one page",
        description="Compute the figures of five lectures on linear classifiers and write them to one HTML page that "
        "opens offline (needs fastlin[plot,features]; takes about half a minute).",
    )
    command.add_argument(
        "--out", type=path, default="lectures", metavar="DIR", help="writes DIR/index.html; default: %(default)s"
    )
    command.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    start = time.perf_counter()
    written = page.write(arguments.out, lambda words: print(words, flush=True))
    print(f"wrote {written} in {time.perf_counter() - start:.0f} s")
    return 0
