"""Compares whole fits: the time to within 1e-4 and 1e-6 of the lowest objective that anyone found, relative to it.

Every contestant fits cold with budgets of 1, 2, 4, ... iterations, each time from the start and with its own checks and
conversions, until its objective falls no further or a fit would take more than --seconds. One function in float64
judges every W. The smallest budget that reaches a target is then sought between two of these, and timed in interleaved
rounds. Each contestant works in a process of its own, and all others sleep. bench/report.py writes the README's table;
the curves go to docs/fits.png.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
from contest import FACTS, cpus, limit_threads, slug
from fit_contestants import CONTESTANTS, STARTING, Process, forms, missing, serve, unfit
from fit_problems import PROBLEMS, Problem
from fit_sweep import SWEEP, compare_sweeps

from fastlin import machine
from fastlin.compare import duration

TARGETS = (1e-4, 1e-6)
FLAT = 1e-10  # a relative change of the objective over a doubled budget that counts as none
GRAIN = 8  # the smallest budget is sought to an eighth of itself
MOST = 1 << 17  # iterations
PACKAGES = ("fastlin", "numpy", "scipy", "scikit-learn", "scikit-learn-intelex", "cyanure", "torch")
MACHINE = (*FACTS, *(f"{name}_version" for name in PACKAGES))
COLUMNS = (
    *(*MACHINE, "problem", "size", "dtype", "target", "library", "form", "budget", "agrees", "calls"),
    *("p20", "p50", "p80", "gap", "accuracy", "objective"),
)
CURVE_COLUMNS = (*MACHINE, "problem", "library", "form", "budget", "seconds", "gap", "accuracy")
BENCH = Path(__file__).parent


@dataclass(frozen=True)
class Point:
    """A fit with some budget."""

    form: str
    budget: int
    seconds: float
    objective: float
    accuracy: float


@dataclass
class Contestant:
    """A contestant on a problem, and what its fits found."""

    name: str
    problem: Problem
    threads: int
    cap: float  # seconds of one fit
    points: list[Point] = field(default_factory=list)
    failure: str = ""

    def __post_init__(self) -> None:
        self._process = Process(serve, (self.name, self.problem, self.threads))
        self._warm: set[str] = set()

    def fit(self, form: str, budget: int) -> tuple[list[float], np.ndarray] | None:
        """The seconds of a burst of fits, and W; None if that failed or took too long."""
        # a burst fits twice where a fit is short; the first of a form is after a warm-up
        found = self._process.ask((form, budget), 2 * self.cap + STARTING * (form not in self._warm))
        self._warm.add(form)
        if found is None:
            self._warm.clear()
            self.failure = self.failure or f"a fit of {budget} iterations takes more than {self.cap:g} s"
        elif isinstance(found, str):
            self.failure = self.failure or found
        else:
            return found
        return None

    def stop(self) -> None:
        """End the process; the next fit starts another one."""
        self._process.stop()
        self._warm.clear()

    def try_budget(self, form: str, budget: int) -> Point | None:
        """Fit, and judge the fit."""
        found = self.fit(form, budget)
        if found is None:
            return None
        seconds, W = found
        with np.errstate(all="ignore"):  # a fit that diverged is judged too
            value, accuracy = self.problem.objective(W), self.problem.accuracy(W)
        self.points.append(Point(form, budget, median(seconds), value, accuracy))
        return self.points[-1]

    def explore(self) -> None:
        """All forms with growing budgets; a form that is slower than one that has come to its end is left."""
        limit = self.cap
        for form in forms(self.name, self.problem, self.threads):
            values: list[float] = []
            budget = 1
            while budget <= MOST:
                point = self.try_budget(form, budget)
                if point is None and not self.points:
                    return  # not one iteration: other forms of it will not do better
                if point is None:
                    break
                values.append(point.objective)
                if flat(values):
                    limit = min(limit, 2 * point.seconds)
                    break
                if 2 * point.seconds > limit:
                    break
                budget *= 2

    def refine(self, best: float, target: float) -> Point | None:
        """The point that reaches the target soonest, after a search between the budgets."""
        soonest = self.soonest(best, target)
        if soonest is None:
            return None
        own = [point.budget for point in self.points if point.form == soonest.form and point.budget < soonest.budget]
        low, high = max(own, default=0), soonest.budget
        while high - low > max(1, high // GRAIN):
            middle = (low + high) // 2
            point = self.try_budget(soonest.form, middle)
            if point is None:
                break
            low, high = (low, middle) if gap(point, best) <= target else (middle, high)
        return self.soonest(best, target)

    def soonest(self, best: float, target: float) -> Point | None:
        reached = [point for point in self.points if gap(point, best) <= target]
        return min(reached, key=lambda point: point.seconds, default=None)


def flat(values: Sequence[float]) -> bool:
    """Whether two doublings of the budget changed nothing."""
    if len(values) < 3:
        return False
    return bool(np.ptp(values[-3:]) <= FLAT * abs(values[-1]))


def gap(point: Point, best: float) -> float:
    """How far above the lowest objective, relative to it."""
    return (point.objective - best) / abs(best)


def contest(problem: Problem, names: Sequence[str], arguments: argparse.Namespace, facts: dict[str, object]) -> None:
    """One problem: exploration, then rounds; prints and appends to the CSV files."""
    X, y, *_ = problem.data()
    size = f"{len(y)}x{X.shape[1]}x{int(y.max()) + 1}"
    print(f"\n{problem.name}: {size} {X.dtype}, C = {problem.C:g}")
    entries = []
    for name in names:
        if why := unfit(name, problem):
            print(f"  {name}: left out, {why}")
            continue
        entry = Contestant(name, problem, arguments.threads, arguments.seconds)
        entries.append(entry)
        start = time.perf_counter()
        entry.explore()
        print(f"  {name}: {len(entry.points)} fits in {time.perf_counter() - start:.0f} s {entry.failure}", flush=True)
    best = min(point.objective for entry in entries for point in entry.points if np.isfinite(point.objective))
    common = facts | {"problem": problem.name, "size": size, "dtype": X.dtype.name}
    lines = []
    for target in TARGETS:
        reached = {entry.name: point for entry in entries if (point := entry.refine(best, target))}
        seconds = rounds(entries, reached, arguments.rounds)
        found = [line(entry, reached.get(entry.name), seconds[entry.name], best) for entry in entries]
        lines += [common | {"target": f"1e{round(np.log10(target))}"} | each for each in found]
        show(target, entries, found)
    for entry in entries:
        entry.stop()
    append(arguments.csv, COLUMNS, lines)
    known = facts | {"problem": problem.name}
    curves = [known | {"library": entry.name} | each for entry in entries for each in curve(entry, best)]
    append(curves_of(arguments.csv), CURVE_COLUMNS, curves)


def rounds(entries: Sequence[Contestant], reached: dict[str, Point], count: int) -> dict[str, list[float]]:
    """The seconds of the fits that reach a target, in turn."""
    seconds: dict[str, list[float]] = {entry.name: [] for entry in entries}
    for _ in range(count):
        for entry in entries:
            point = reached.get(entry.name)
            found = entry.fit(point.form, point.budget) if point else None
            seconds[entry.name] += found[0] if found else []
    return seconds


def line(entry: Contestant, point: Point | None, seconds: Sequence[float], best: float) -> dict[str, object]:
    """The columns of a contestant at a target."""
    if point is None or not seconds:
        nearest = min((gap(each, best) for each in entry.points if np.isfinite(each.objective)), default=None)
        why = entry.failure if nearest is None else f"no: {nearest:.1e}"
        return {"library": entry.name, "agrees": why, "objective": best, "gap": "" if nearest is None else nearest}
    times = {f"p{q}": f"{np.percentile(seconds, q):.4g}" for q in (20, 50, 80)}
    judged = {"gap": f"{gap(point, best):.3g}", "accuracy": f"{point.accuracy:.4f}", "objective": best}
    own = {"library": entry.name, "form": point.form, "budget": point.budget, "agrees": "yes", "calls": len(seconds)}
    return own | times | judged


def curve(entry: Contestant, best: float) -> list[dict[str, object]]:
    """The points of each form, by budget."""
    ordered = sorted(entry.points, key=lambda point: (point.form, point.budget))
    return [
        {
            "form": point.form,
            "budget": point.budget,
            "seconds": f"{point.seconds:.4g}",
            "gap": f"{gap(point, best):.3g}",
            "accuracy": f"{point.accuracy:.4f}",
        }
        for point in ordered
    ]


def show(target: float, entries: Sequence[Contestant], lines: Sequence[dict[str, object]]) -> None:
    print(f"  to {target:g}:")
    for found in sorted(lines, key=lambda each: float(str(each.get("p50", "inf")))):
        text = f"    {found['library']:28}"
        if "p50" in found:
            p20, p50, p80 = (duration(float(str(found[name]))) for name in ("p20", "p50", "p80"))
            text += f" {p50:>8} ({p20:>7}, {p80:>7}), {found['budget']:>6} iterations, {found['form']}"
            text += f", accuracy {float(str(found['accuracy'])):.1%}"
        else:
            text += f" {found['agrees']}"
        print(text, flush=True)


def append(path: Path, columns: Sequence[str], lines: Sequence[dict[str, object]]) -> None:
    """Add lines to a CSV file after each problem, so that an interrupted run keeps its measurements."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns)
        if new:
            writer.writeheader()
        writer.writerows(lines)


def curves_of(path: Path) -> Path:
    """The file of the curves beside that of the times."""
    return path.with_name(f"curves-of-{path.name}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*(problem.name for problem in PROBLEMS), SWEEP]
    parser.add_argument(
        "--only", metavar="NAME", nargs="+", default=names, help=f"problems: {', '.join(names)}; default: all"
    )
    parser.add_argument("--libraries", metavar="NAME", nargs="+", default=CONTESTANTS, help=", ".join(CONTESTANTS))
    parser.add_argument("--rounds", metavar="N", type=int, default=5, help="default: %(default)s")
    parser.add_argument(
        "--seconds", metavar="CAP", type=float, default=60.0, help="the longest fit; default: %(default)s"
    )
    parser.add_argument("--threads", metavar="N", type=int, default=2, help="of each contestant; default: %(default)s")
    default = BENCH / "results" / f"fits-{slug(machine.cpu_name())}.csv"
    parser.add_argument("--csv", metavar="FILE", type=Path, default=default, help="default: %(default)s")
    arguments = parser.parse_args()
    for option, known in (("only", names), ("libraries", CONTESTANTS)):
        for name in getattr(arguments, option):
            if name not in known:
                parser.error(f"--{option}: no {name!r}; there are {', '.join(known)}")
    if not 1 <= arguments.threads <= len(cpus()):
        parser.error(f"--threads must be from 1 to the {len(cpus())} physical cores, found {arguments.threads}")
    for path, columns in ((arguments.csv, COLUMNS), (curves_of(arguments.csv), CURVE_COLUMNS)):
        if path.exists() and path.read_text().partition("\n")[0].rstrip() != ",".join(columns):
            parser.error(f"{path} has other columns than this program writes; move it away")
    for name, least in (("rounds", 1), ("seconds", 0.01)):
        if getattr(arguments, name) < least:
            parser.error(f"--{name} must be at least {least}, found {getattr(arguments, name)}")
    return arguments


def main() -> None:
    arguments = parse()
    date, load = datetime.now(UTC).isoformat(timespec="seconds"), machine.busy_cores()
    facts: dict[str, object] = {"date": date, "load": f"{load:.2f}", "threads": arguments.threads}
    facts |= {"cpu": machine.cpu_name(), "cores": len(cpus()), "isa": machine.instruction_set()}
    facts |= {f"{package}_version": machine.version(package) or "" for package in PACKAGES}
    print(f"{facts['cpu']}, {facts['cores']} cores, {facts['isa']}; {arguments.threads} threads, load {load:.1f}")
    limit_threads(arguments.threads)
    names = []
    for name in arguments.libraries:
        if why := missing(name):
            print(f"{name}: left out, {why}")
        else:
            names.append(name)
    for problem in PROBLEMS:
        if problem.name in arguments.only:
            contest(problem, names, arguments, facts)
    if SWEEP in arguments.only:
        append(arguments.csv, COLUMNS, [facts | each for each in compare_sweeps(arguments)])
    print(f"appended to {arguments.csv} and {curves_of(arguments.csv)}")


if __name__ == "__main__":
    main()
