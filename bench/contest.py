"""A program that compares libraries. Each library works in a process of its own, because the threads of one library
that spin for more work make another one seven times slower. Rounds are interleaved: each worker in turn does a burst of
calls while all others sleep, so that changes of the machine's speed affect all alike. The machine's own limits are
measured in the same rounds. Before anything is timed, each answer is compared with NumPy in float64: a library that
disagrees is reported as WRONG and is not timed. Rows are appended to a CSV file, from which bench/report.py writes the
README's tables.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm
from worker import OURS, CallsOf, Prepared, work

from fastlin import machine, ops
from fastlin.compare import duration, ratio

FACTS = ("date", "cpu", "cores", "threads", "isa", "load")
THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
    *("NUMBA_NUM_THREADS", "FASTLIN_NUM_THREADS"),
    "NPROC",  # XLA's number of cores
)
# Where these are set, NumPy and the limit "gemm" would work as on another processor than this one, half as fast.
OLDER_CPU_VARIABLES = "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"
Limits = dict[str, float]  # the machine's limits in a row: seconds


class Row(Protocol):
    """One piece of work: a row of the README's table."""

    @property
    def name(self) -> str:
        """The name by which a user chooses it."""

    @property
    def contestants(self) -> Sequence[str]:
        """The libraries that can do it, and the limits that it is compared with."""


@dataclass(frozen=True)
class Verdict:
    """The judgement of an answer."""

    agrees: str = "yes"  # WRONG and FAILED are not timed; other words are for work that is not the same
    columns: dict[str, str] = field(default_factory=dict)  # other facts about the answer


@dataclass
class Result:
    """One library on one row."""

    library: str
    verdict: Verdict
    peak_bytes: int | None
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def agrees(self) -> bool:
        return self.verdict.agrees == "yes"


@dataclass(frozen=True)
class Bench:
    """The work that one program times."""

    name: str  # of its CSV file
    rows: Sequence[Row]
    libraries: Sequence[str]
    limits: Sequence[str]
    packages: Sequence[str]  # their versions are recorded with every figure
    columns: Sequence[str]  # of the CSV file, after those of the machine
    calls_of: CallsOf  # workers import it by its name
    judge: Callable[[Any, str, Any], Verdict]  # (row, library, answer)
    heading: Callable[[Any, Limits], str]
    note: Callable[[Any, Result, Limits], str]  # the text after a library's times
    own_columns: Callable[[Any, Result, Limits], dict[str, object]]  # those that only this bench has

    @property
    def header(self) -> list[str]:
        """The columns of the CSV file."""
        return [*FACTS, *(f"{name}_version" for name in self.packages), *self.columns]


class Worker:
    """The parent's end of a process that holds one library."""

    def __init__(self, bench: Bench, library: str, threads: int) -> None:
        self.library = library
        context = multiprocessing.get_context("spawn")  # a forked child would inherit loaded BLAS threads
        self._pipe, end = context.Pipe()
        context.Process(target=work, args=(bench.calls_of, library, threads, end), daemon=True).start()
        end.close()  # the child's copy is then the last one: if it dies, recv raises instead of waiting

    def prepare(self, row: Row) -> Prepared:
        return self._ask(row)

    def burst(self) -> list[float]:
        return self._ask("burst")

    def _ask(self, order: object) -> Any:
        try:
            self._pipe.send(order)
            return self._pipe.recv()
        except (EOFError, ConnectionError) as error:
            raise SystemExit(f"the process of {self.library} died; leave it out with --libraries") from error


def run(bench: Bench, doc: str) -> None:
    """The program: reads its arguments, prints, and appends to the CSV file."""
    arguments = parse(bench, doc)
    date, load = datetime.now(UTC).isoformat(timespec="seconds"), machine.busy_cores()
    facts = {"date": date, "load": f"{load:.2f}", "threads": arguments.threads} | describe_machine(bench)
    print(f"{facts['cpu']}, {facts['cores']} cores, {facts['isa']}; {arguments.threads} threads")
    if load > 0.3:
        print(f"This machine is busy (load {load:.1f}): code that waits for a thread waits for other programs too.")
    limit_threads(arguments.threads)
    libraries = [name for name in arguments.libraries if is_installed(name)]
    workers = {name: Worker(bench, name, arguments.threads) for name in (*libraries, *bench.limits)}
    entries = [[workers[name] for name in workers if name in row.contestants] for row in arguments.rows]
    with tqdm(total=arguments.rounds * sum(map(len, entries)), desc="bursts", leave=False, disable=None) as bar:
        for row, takers in zip(arguments.rows, entries, strict=True):
            bar.set_postfix_str(row.name)
            results, limits = contest(bench, row, takers, arguments.rounds, bar)
            tqdm.write("\n".join(["", bench.heading(row, limits), *describe_row(bench, row, results, limits)]))
            append(arguments.csv, bench, [facts | csv_line(bench, row, result, limits) for result in results])
    print(f"appended to {arguments.csv}")


def parse(bench: Bench, doc: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=f"{doc}\n{__doc__}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows",
        metavar="FILTER",
        nargs="+",
        default=[""],
        help=f"only rows whose name contains one of these words; a name is e.g. '{bench.rows[0].name}'",
    )
    parser.add_argument(
        "--libraries",
        metavar="NAME",
        nargs="+",
        default=bench.libraries,
        choices=bench.libraries,
        help=f"any of {', '.join(bench.libraries)}; default: all that are installed",
    )
    parser.add_argument(
        "--rounds", metavar="N", type=int, default=5, help="bursts of each library in a row; default: %(default)s"
    )
    parser.add_argument("--threads", metavar="N", type=int, default=2, help="of every library; default: %(default)s")
    parser.add_argument(
        "--csv",
        type=Path,
        metavar="FILE",
        default=Path(__file__).parent / "results" / f"{bench.name}-{slug(machine.cpu_name())}.csv",
        help="append the rows to FILE; default: %(default)s",
    )
    return check(bench, parser, parser.parse_args())


def check(bench: Bench, parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> argparse.Namespace:
    """The arguments with the rows that they select; arguments that would fail later are refused here."""
    if not 1 <= arguments.threads <= len(cpus()):
        parser.error(f"--threads must be from 1 to the {len(cpus())} physical cores, found {arguments.threads}")
    if arguments.rounds < 1:
        parser.error(f"--rounds must be at least 1, found {arguments.rounds}")
    arguments.rows = [row for row in bench.rows if any(word in row.name for word in arguments.rows)]
    if not arguments.rows:
        parser.error("no row has such a name; there are:\n  " + "\n  ".join(row.name for row in bench.rows))
    if arguments.csv.exists() and arguments.csv.read_text().partition("\n")[0].rstrip() != ",".join(bench.header):
        parser.error(f"{arguments.csv} has other columns than this program writes; move it away")
    return arguments


def slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def describe_machine(bench: Bench) -> dict[str, str]:
    """The machine and the versions, as columns."""
    versions = {f"{package}_version": machine.version(package) or "" for package in bench.packages}
    return {"cpu": machine.cpu_name(), "cores": str(len(cpus())), "isa": machine.instruction_set()} | versions


def cpus() -> list[int]:
    """One CPU of each physical core that this process may run on."""
    if not hasattr(os, "sched_getaffinity"):
        return list(range(os.cpu_count() or 1))
    cores: dict[str, int] = {}
    for cpu in sorted(os.sched_getaffinity(0)):
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        cores.setdefault(siblings.read_text() if siblings.exists() else str(cpu), cpu)
    return list(cores.values())


def limit_threads(threads: int) -> None:
    """Workers inherit the variables and the CPUs: a library that ignores the variables is limited to these CPUs."""
    os.environ |= dict.fromkeys(THREAD_VARIABLES, str(threads)) | {"JAX_PLATFORMS": "cpu"}
    for variable in OLDER_CPU_VARIABLES:
        os.environ.pop(variable, None)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus()[:threads])


def is_installed(library: str) -> bool:
    """Whether the library can take part; prints the reason if not."""
    if library in OURS:
        why = ops.missing(library.removeprefix("fastlin-"))
    else:
        why = None if machine.version(library) else f"{library} is not installed"
    if why:
        print(f"{why}: left out")
    return not why


def contest(bench: Bench, row: Row, workers: Sequence[Worker], rounds: int, bar: tqdm) -> tuple[list[Result], Limits]:
    """Checks the answers first, and then runs the rounds."""
    # One after the other: a worker that chooses among forms must not be slowed down by others.
    results = {worker: judge(bench, row, worker) for worker in workers}
    runners = {worker: result for worker, result in results.items() if takes_part(result)}
    for _ in range(rounds):
        for worker, result in runners.items():
            result.seconds += worker.burst()
            bar.update()
    bar.update(rounds * (len(results) - len(runners)))
    limits = {result.library: result.median for result in results.values() if result.library in bench.limits}
    return [result for result in results.values() if result.library not in limits], limits


def judge(bench: Bench, row: Row, worker: Worker) -> Result:
    """The worker's answer, compared."""
    found = worker.prepare(row)
    if found.failure:
        verdict = Verdict(f"FAILED: {found.failure}")
    else:
        verdict = Verdict() if found.result is None else bench.judge(row, worker.library, found.result)
    return Result(worker.library, verdict, found.peak_bytes)


def takes_part(result: Result) -> bool:
    return not result.verdict.agrees.startswith(("WRONG", "FAILED"))


def describe_row(bench: Bench, row: Row, results: Sequence[Result], limits: Limits) -> list[str]:
    """A line for each library, and how ours compare with the best of the others."""
    lines = []
    for result in results:
        lines.append(f"  {result.library:15} {result.verdict.agrees}")
        if result.seconds:
            lines[-1] = f"  {result.library:15} {describe_times(result)}{bench.note(row, result, limits)}"
            lines[-1] += "" if result.agrees else f"  ({result.verdict.agrees})"
    timed = [result for result in results if result.seconds and result.agrees]
    best = min((result for result in timed if result.library not in OURS), key=lambda r: r.median, default=None)
    for ours in (result for result in timed if result.library in OURS and best):
        lines.append(f"  {ours.library}: {ratio(best.median / ours.median)} the speed of the best peer, {best.library}")
    return lines


def describe_times(result: Result) -> str:
    p20, p50, p80 = (duration(seconds) for seconds in np.percentile(result.seconds, [20, 50, 80]))
    extra = "" if result.peak_bytes is None else f" {megabytes(result):>7} MB extra"
    return f"{p50:>8} ({p20:>7}, {p80:>7}){extra}"


def csv_line(bench: Bench, row: Row, result: Result, limits: Limits) -> dict[str, object]:
    """The columns that differ from line to line; times are seconds."""
    timed: dict[str, object] = {}
    if result.seconds:
        timed = {f"p{q}": f"{np.percentile(result.seconds, q):.4g}" for q in (20, 50, 80)}
        timed["calls"] = len(result.seconds)
    own = bench.own_columns(row, result, limits) | result.verdict.columns
    return own | timed | {"library": result.library, "agrees": result.verdict.agrees, "peak_mb": megabytes(result)}


def megabytes(result: Result) -> str:
    return "" if result.peak_bytes is None else f"{result.peak_bytes / 1e6:.1f}"


def append(path: Path, bench: Bench, lines: Sequence[dict[str, object]]) -> None:
    """Add lines to a CSV file immediately, so that an interrupted run keeps its measurements."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, bench.header)
        if new:
            writer.writeheader()
        writer.writerows(lines)
