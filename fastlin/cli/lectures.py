"""The command `fastlin lectures`."""

from __future__ import annotations

import argparse
import time
from typing import Any

from fastlin.cli.arguments import path
from fastlin.data import load_cifar10
from fastlin.lectures import page


def add(commands: Any) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "lectures",
        help="the pictures of the lectures on one page, and a page to play with",
        description="Compute the figures of five lectures on linear classifiers and write them to one HTML page, and "
        "beside it a page to play with: points to drag, weights to move, gradient descent. Both open offline (needs "
        "fastlin[plot,features]; takes about a minute).",
    )
    command.add_argument(
        "--out",
        type=path,
        default="lectures",
        metavar="DIR",
        help="writes DIR/index.html and DIR/play.html; default: %(default)s",
    )
    command.add_argument(
        "--data",
        type=_cifar10,
        metavar="cifar10:FOLDER",
        help="adds the templates of CIFAR-10 in colour; its files, or the .tar.gz, as downloaded from "
        "https://www.cs.toronto.edu/~kriz/cifar.html. Default: none, the page needs no download",
    )
    command.set_defaults(run=_run)


def _cifar10(text: str) -> Any:
    """The path in cifar10:FOLDER, as `fastlin train --data` has it."""
    kind, _, folder = text.partition(":")
    if kind != "cifar10" or not folder:
        raise argparse.ArgumentTypeError(f"expected cifar10:FOLDER, or cifar10:FILE.tar.gz; found {text!r}")
    return path(folder)


def _run(arguments: argparse.Namespace) -> int:
    start = time.perf_counter()
    cifar = None if arguments.data is None else load_cifar10(arguments.data)
    written = page.write(arguments.out, lambda words: print(words, flush=True), cifar)
    print(f"wrote {written} in {time.perf_counter() - start:.0f} s")
    return 0
