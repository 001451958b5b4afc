"""Draws the speed of a softmax loss with 1 to 300 classes, and with 1 to 300 features (docs/classes.png, a CSV file).

One thread; float32 and float64. NumPy's two products and epilogue are beside it. The number of classes decides between
the tile for few classes and the one for many, and that of features how rows end (docs/kernels.md): a step in a curve is
a wrong choice.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise, product
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from contest import slug

import fastlin as fl
from fastlin import machine
from fastlin.compare import blas_threads

FEATURES = (64, 768, 3072)
CLASSES = (2, 10, 100)
MOST = 300  # classes, or features
NUMBERS = 3_000_000  # of X: more than the caches of a core hold
ROWS = 10_000  # where the number of features varies
BURST = 0.02  # seconds of calls, of which the median counts
ROUNDS = 3
BENCH = Path(__file__).parent
FILE = BENCH / "results" / f"classes-{slug(machine.cpu_name())}.csv"
PICTURE = BENCH.parent / "docs" / "classes.png"

COLUMN = {"classes": "c", "features": "d"}
VARY = {"classes": ("features", FEATURES), "features": ("classes", CLASSES)}  # what varies, for numbers of the other

Line = dict[str, object]


def figures(dtype: str) -> Iterator[tuple[Line, Callable[[], object], float]]:
    """What is timed: its line, the call, and its flops."""
    rng = np.random.default_rng(0)
    counts = range(1, MOST + 1)
    by_classes = [(NUMBERS // d, d, c, "classes") for d, c in product(FEATURES, counts)]
    by_features = [(ROWS, d, c, "features") for c, d in product(CLASSES, counts)]
    X = np.empty((0, 0), dtype)
    for n, d, c, varies in by_classes + by_features:
        if X.shape != (n, d):
            X = rng.standard_normal((n, d), dtype)
        W, y = 0.01 * rng.standard_normal((d, c), dtype), rng.integers(0, c, n)
        for backend in ("cython", "numpy") if (c if varies == "classes" else d) % 10 == 0 else ("cython",):
            call = partial(fl.softmax_loss, W, X, y, backend=backend, threads=1)
            yield {"dtype": dtype, "varies": varies, "d": d, "c": c, "library": backend}, call, 4.0 * n * d * c


def seconds(call: Callable[[], object]) -> float:
    """The median of some calls, after one that warms up."""
    call()
    found: list[float] = []
    while sum(found) < BURST:
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return float(np.median(found))


def measure() -> list[Line]:
    """GF/s of each, the best of some rounds: what other programs take from one round is a step in no curve of ours."""
    common = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "cpu": machine.cpu_name()}
    common |= {"isa": machine.instruction_set(), "load": f"{machine.busy_cores():.2f}"}
    lines: list[Line] = []
    with blas_threads(1):
        for dtype in ("float32", "float64"):
            best: dict[tuple[object, ...], Line] = {}
            for _ in range(ROUNDS):
                for line, call, flops in figures(dtype):
                    speed = flops / seconds(call) / 1e9
                    known = best.setdefault(tuple(line.values()), common | line | {"gf_s": 0.0})
                    known["gf_s"] = max(known["gf_s"], round(speed, 2))  # type: ignore[type-var]
            lines += best.values()
    return lines


def draw(lines: list[dict[str, str]], path: Path) -> None:
    """A curve for each number of features, and below for each number of classes; a column of panels for each type."""
    figure, panels = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    for panel, (varies, dtype) in zip(panels.flat, product(VARY, ("float32", "float64")), strict=True):
        fixed, numbers = VARY[varies]
        for color, number in enumerate(numbers):
            for library, style in (("cython", "-"), ("numpy", ":")):
                own = curve(lines, dtype, varies, number, library)
                points = [int(line[COLUMN[varies]]) for line in own], [float(line["gf_s"]) for line in own]
                label = f"{number} {fixed}" + (", NumPy" if library == "numpy" else "")
                panel.plot(*points, style, color=f"C{color}", linewidth=1.3, label=label)
        panel.set(title=dtype, xlabel=varies, ylabel="GF/s, one thread", xlim=(0, MOST), ylim=(0, None))
        panel.grid(alpha=0.3)
    for panel in panels[:, 1]:
        panel.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    figure.suptitle(f"Softmax loss with its gradient on {lines[0]['cpu']} ({lines[0]['isa']})", fontsize="medium")
    figure.savefig(path, dpi=110)


def curve(lines: list[dict[str, str]], dtype: str, varies: str, number: int, library: str) -> list[dict[str, str]]:
    fixed = COLUMN[VARY[varies][0]]
    wanted = dtype, varies, str(number), library
    return [line for line in lines if (line["dtype"], line["varies"], line[fixed], line["library"]) == wanted]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", metavar="FILE", type=Path, default=FILE, help="default: %(default)s")
    parser.add_argument("--picture", metavar="FILE", type=Path, default=PICTURE, help="default: %(default)s")
    parser.add_argument("--draw", action="store_true", help="draw the figures that FILE has; measure nothing")
    arguments = parser.parse_args()
    if not arguments.draw:
        found = measure()
        with arguments.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, found[0])
            writer.writeheader()
            writer.writerows(found)
    with arguments.csv.open(newline="") as file:
        lines = list(csv.DictReader(file))
    draw(lines, arguments.picture)
    print(f"wrote {arguments.csv} and {arguments.picture}; largest step between neighbours: {largest_step(lines)}")


def largest_step(lines: list[dict[str, str]]) -> str:
    """The largest step between neighbours: how much more than its share one more class or feature takes, or how much
    less time than without it."""
    steps = []
    for dtype, (varies, (fixed, numbers)) in product(("float32", "float64"), VARY.items()):
        for number in numbers:
            for pair in pairwise(curve(lines, dtype, varies, number, "cython")):
                speeds = [float(line["gf_s"]) for line in pair]
                times = [int(line[COLUMN[varies]]) / speed for line, speed in zip(pair, speeds, strict=True)]
                which = " and ".join(line[COLUMN[varies]] for line in pair)
                step = max(speeds[0] / speeds[1], times[0] / times[1])
                steps.append((step, f"{dtype}, {number} {fixed}, {which} {varies}"))
    ratio, where = max(steps)
    return f"{ratio:.2f} ({where})"


if __name__ == "__main__":
    main()
