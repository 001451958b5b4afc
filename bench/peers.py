"""fastlin beside the libraries that its users would otherwise call: same arrays, same dtype, same threads.

Each library works in a process of its own, for the threads of one that spin for more work slow another
down seven times. Rounds are interleaved: each worker in turn does a burst of calls while all others sleep,
so a machine whose speed drifts is as unfair to one as to the other. The machine's own limits, arithmetic
(gemm) and memory (read), are measured in the same rounds. Before anything is timed, each answer is held
against NumPy in float64: a library that disagrees is reported as WRONG and has no speed.

A line shows the median (20th, 80th percentile) of all calls, GF/s counted as 4ndc, its share of gemm, and how
far one call raises the process's memory at its peak. bench/report.py writes the README's table from the rows.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from itertools import product
from pathlib import Path
from statistics import median

import numpy as np
from contestants import (
    GEMM_SIDE,
    LIMITS,
    OURS,
    PEERS,
    READ_BYTES,
    SOFTMAX_ONLY,
    Prepared,
    Shape,
    make_case,
    numpy_calls,
    work,
)
from tqdm import tqdm

from fastlin import machine, ops
from fastlin.compare import duration, ratio
from fastlin.testing import Reference, tolerance

SHAPES = [
    Shape(256, 3072, 10, "float32"),  # a mini-batch of CIFAR-10
    Shape(256, 3073, 10, "float32"),  # ... with a column of ones: rows no longer start at a cache line
    Shape(10_000, 3072, 10, "float32"),  # X comes from memory
    Shape(10_000, 3072, 10, "float64"),
    Shape(10_000, 3073, 10, "float32"),
    Shape(1797, 64, 10, "float32"),  # digits: X fits the cache, exp counts
    Shape(1797, 64, 10, "float64"),
    Shape(64, 65, 10, "float32"),  # microseconds: what a call costs
    Shape(65_536, 128, 2, "float32"),
    Shape(16_384, 768, 1000, "float32"),  # many classes: two large matrix products
    Shape(10_000, 3072, 10, "uint8"),  # pixels as they come; peers convert them within the timed call
]
LOSSES = ("softmax", "svm")
VERSIONS = ("fastlin", "cython", "numba", *PEERS)
COLUMNS = ("date", "cpu", "cores", "threads", "isa", "load", *(f"{name}_version" for name in VERSIONS))
COLUMNS += ("shape", "dtype", "loss", "library", "agrees", "calls", "p20", "p50", "p80")
COLUMNS += ("gf_s", "peak_mb", "gemm_gf_s", "read_gb_s")
THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
    *("NUMBA_NUM_THREADS", "FASTLIN_NUM_THREADS"),
    "NPROC",  # what XLA takes for the number of cores
)


@dataclass
class Result:
    """One library on one row of the table."""

    shape: Shape
    loss: str
    library: str
    complaint: str  # empty if it agrees
    peak_bytes: int | None
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def gf_s(self) -> float:
        """Two products of n x d x c multiplications and additions."""
        return 4e-9 * self.shape.n * self.shape.d * self.shape.c / self.median


class Worker:
    """The parent's end of a process that holds one library."""

    def __init__(self, library: str, threads: int) -> None:
        self.library = library
        context = multiprocessing.get_context("spawn")  # a forked child would inherit loaded BLAS threads
        self._pipe, end = context.Pipe()
        context.Process(target=work, args=(library, threads, end), daemon=True).start()
        end.close()  # the child's copy is then the last one: if it dies, recv raises instead of waiting

    def prepare(self, shape: Shape, loss: str) -> Prepared:
        return self._ask((shape, loss))

    def burst(self) -> list[float]:
        return self._ask("burst")

    def _ask(self, order: object) -> object:
        try:
            self._pipe.send(order)
            return self._pipe.recv()
        except (EOFError, ConnectionError) as error:
            raise SystemExit(f"the process of {self.library} died; leave it out with --libraries") from error


def main() -> None:
    arguments = parse()
    date, load = datetime.now(UTC).isoformat(timespec="seconds"), os.getloadavg()[0]
    facts = {"date": date, "load": f"{load:.2f}", "threads": arguments.threads} | describe()
    print(f"{facts['cpu']}, {facts['cores']} cores, {facts['isa']}; {arguments.threads} threads")
    if load > 0.3:
        print(f"This machine is busy (load {load:.1f}): whoever waits for a thread waits for other programs too.")
    limit_threads(arguments.threads)
    libraries = [name for name in arguments.libraries if is_installed(name)]
    workers = {name: Worker(name, arguments.threads) for name in (*libraries, *LIMITS)}
    bursts = len(arguments.rows) * len(workers) * arguments.rounds
    with tqdm(total=bursts, desc="bursts", leave=False, disable=None) as bar:  # None: only on a terminal
        for shape, loss in arguments.rows:
            results, limits = contest(shape, loss, workers, arguments.rounds, bar)
            tqdm.write(f"\n{title(shape, loss)}    gemm {limits['gemm']:.0f} GF/s, read {limits['read']:.1f} GB/s")
            tqdm.write("\n".join(describe_row(results, limits)))
            append(arguments.csv, [facts | columns(result, limits) for result in results])
    print(f"appended to {arguments.csv}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    everyone = [*OURS, *PEERS]
    parser.add_argument(
        "--shapes",
        metavar="FILTER",
        nargs="+",
        default=[""],
        help="only rows whose name contains one of these words; a name is e.g. 'svm 256x3073x10 float32'",
    )
    parser.add_argument(
        "--libraries",
        metavar="NAME",
        nargs="+",
        default=everyone,
        choices=everyone,
        help=f"any of {', '.join(everyone)}; default: all that are installed",
    )
    parser.add_argument(
        "--rounds", metavar="N", type=int, default=5, help="bursts of each library in a row; default: %(default)s"
    )
    parser.add_argument("--threads", metavar="N", type=int, default=2, help="of every library; default: %(default)s")
    parser.add_argument(
        "--csv",
        type=Path,
        metavar="FILE",
        default=Path(__file__).parent / "results" / f"peers-{slug(machine.cpu_name())}.csv",
        help="append the rows to FILE; default: %(default)s",
    )
    return check(parser, parser.parse_args())


def check(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> argparse.Namespace:
    """The arguments with the rows that they ask for; what would spoil the run later is refused now."""
    if not 1 <= arguments.threads <= len(cpus()):
        parser.error(f"--threads must be from 1 to the {len(cpus())} physical cores, found {arguments.threads}")
    if arguments.rounds < 1:
        parser.error(f"--rounds must be at least 1, found {arguments.rounds}")
    arguments.rows = [row for row in product(SHAPES, LOSSES) if any(word in title(*row) for word in arguments.shapes)]
    if not arguments.rows:
        parser.error("no row has such a name; there are:\n  " + "\n  ".join(title(*r) for r in product(SHAPES, LOSSES)))
    if arguments.csv.exists() and arguments.csv.read_text().partition("\n")[0].rstrip() != ",".join(COLUMNS):
        parser.error(f"{arguments.csv} has other columns than this program writes; move it away")
    return arguments


def title(shape: Shape, loss: str) -> str:
    return f"{loss} {shape.size} {shape.dtype}"


def slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def describe() -> dict[str, str]:
    """The machine and the versions, as columns."""
    versions = {f"{package}_version": machine.version(package) or "" for package in VERSIONS}
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
    """Workers inherit the variables and the CPUs: a library that ignores the ones still has to keep to the others."""
    os.environ |= dict.fromkeys(THREAD_VARIABLES, str(threads)) | {"JAX_PLATFORMS": "cpu"}
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus()[:threads])


def is_installed(library: str) -> bool:
    """Whether it can take part; says so if not."""
    if library in OURS:
        why = ops.missing(library.removeprefix("fastlin-"))
    else:
        why = None if machine.version(library) else f"{library} is not installed"
    if why:
        print(f"{why}: left out")
    return not why


def contest(
    shape: Shape, loss: str, workers: dict[str, Worker], rounds: int, bar: tqdm
) -> tuple[list[Result], dict[str, float]]:
    """Agreement first, then the rounds. The limits are returned as rates: GF/s of gemm, GB/s of read."""
    bar.set_postfix_str(title(shape, loss))
    results = {library: result for library in workers if (result := judge(shape, loss, workers[library]))}
    runners = [result for result in results.values() if not result.complaint]
    for _ in range(rounds):
        for result in runners:
            result.seconds += workers[result.library].burst()
            bar.update()
    bar.update(rounds * (len(workers) - len(runners)))
    gemm, read = (results.pop(limit).median for limit in LIMITS)
    return list(results.values()), {"gemm": 2e-9 * GEMM_SIDE**3 / gemm, "read": 1e-9 * READ_BYTES / read}


def judge(shape: Shape, loss: str, worker: Worker) -> Result | None:
    """The worker's answer against the reference; None if it does not take part in this row."""
    if loss != "softmax" and worker.library in SOFTMAX_ONLY:
        return None
    # One after the other: a worker that chooses among forms must not hear the others.
    found = worker.prepare(shape, loss)
    complaint = f"FAILED: {found.failure}" if found.failure else ""
    if found.result is not None:
        expected = reference(shape, loss)
        error, limit = max(expected.errors(*found.result)), tolerance(shape.weight_dtype, expected.terms)
        complaint = "" if error <= limit else f"WRONG: error {error:.1e} above {limit:.1e}"
    return Result(shape, loss, worker.library, complaint, found.peak_bytes)


@lru_cache(maxsize=1)  # every library of a row asks for it
def reference(shape: Shape, loss: str) -> Reference:
    """The row in float64."""
    exact = make_case(shape).astype("float64")
    call = numpy_calls(exact, loss, threads=0)[0]
    return Reference.of(exact, *call.run())


def describe_row(results: Sequence[Result], limits: dict[str, float]) -> list[str]:
    """A line for each library, and how ours compare with the best of the others."""
    lines = [f"  {result.library:15} {describe_result(result, limits)}" for result in results]
    timed = [result for result in results if result.seconds]
    best = min((result for result in timed if result.library in PEERS), key=lambda r: r.median, default=None)
    for ours in (result for result in timed if result.library in OURS and best):
        lines.append(f"  {ours.library}: {ratio(best.median / ours.median)} the speed of the best peer, {best.library}")
    return lines


def describe_result(result: Result, limits: dict[str, float]) -> str:
    if not result.seconds:
        return result.complaint
    p20, p50, p80 = (duration(seconds) for seconds in np.percentile(result.seconds, [20, 50, 80]))
    text = f"{p50:>8} ({p20:>7}, {p80:>7}) {result.gf_s:6.1f} GF/s, {result.gf_s / limits['gemm']:5.1%} of gemm"
    return text if result.peak_bytes is None else f"{text}, {megabytes(result):>7} MB extra"


def columns(result: Result, limits: dict[str, float]) -> dict[str, object]:
    """The columns that differ from line to line; times are seconds."""
    timed = {}
    if result.seconds:
        timed = {f"p{q}": f"{np.percentile(result.seconds, q):.4g}" for q in (20, 50, 80)}
        timed |= {"calls": len(result.seconds), "gf_s": f"{result.gf_s:.4g}"}
    return timed | {
        "shape": result.shape.size,
        "dtype": result.shape.dtype,
        "loss": result.loss,
        "library": result.library,
        "agrees": result.complaint or "yes",
        "peak_mb": megabytes(result),
        "gemm_gf_s": f"{limits['gemm']:.4g}",
        "read_gb_s": f"{limits['read']:.4g}",
    }


def megabytes(result: Result) -> str:
    return "" if result.peak_bytes is None else f"{result.peak_bytes / 1e6:.1f}"


def append(path: Path, lines: Sequence[dict[str, object]]) -> None:
    """Add lines to a CSV file, at once: what is measured stays if the run is interrupted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerows(lines)


if __name__ == "__main__":
    main()
