"""Draws docs/fits.png: how far above the lowest objective a fit is that takes so many seconds, from bench/peers_fit.py.

A point of a curve is a whole fit, from the start, with some number of iterations.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from contest import slug
from matplotlib.ticker import NullFormatter
from report import read

from fastlin import machine

BENCH = Path(__file__).parent
PICTURE = BENCH.parent / "docs" / "fits.png"
LOWEST = 1e-9  # gaps below it are drawn there: they are rounding
HIGHEST = 10.0
COLUMNS = 3
COLOURS = {"fastlin": "#4c78a8", "scikit-learn": "#e45756", "sklearnex": "#f58518", "cyanure": "#72b7b2"}
OTHER = "#9d755d"
STYLES = ("-", "--", ":", "-.", (0, (1, 3)), (0, (5, 1, 1, 1)))

Line = dict[str, str]


def draw(lines: Sequence[Line], path: Path) -> None:
    """A panel for each problem, from its newest run."""
    lines = newest_of(lines)
    problems = list(dict.fromkeys(line["problem"] for line in lines))
    rows = -(-len(problems) // COLUMNS)
    figure, panels = plt.subplots(rows, COLUMNS, figsize=(13, 3.4 * rows + 0.8), squeeze=False, layout="constrained")
    styles = styles_of(list(dict.fromkeys(line["library"] for line in lines)))
    for panel, problem in zip(panels.flat, problems, strict=False):
        for library, look in styles.items():
            own = [line for line in lines if line["problem"] == problem and line["library"] == library]
            panel.plot(*lowest_in(soonest_form(own)), label=library, marker=".", markersize=3, linewidth=1.2, **look)
        panel.set(title=problem, xscale="log", yscale="log", ylim=(LOWEST / 2, HIGHEST))
        panel.xaxis.set_minor_formatter(NullFormatter())  # they would be printed over each other
        panel.axhline(1e-6, color="#808080", linewidth=0.6)
        panel.grid(alpha=0.3)
    for panel in panels.flat[len(problems) :]:
        panel.axis("off")
    for panel in panels[:, 0]:
        panel.set_ylabel("relative gap")
    for panel in panels[-1]:
        panel.set_xlabel("seconds")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), fontsize="small", ncols=5, loc="outside lower center")
    first = lines[0]
    figure.suptitle(
        f"Whole fits on {first['cpu']} ({first['isa']}), {first['threads']} threads each", fontsize="medium"
    )
    figure.savefig(path, dpi=100)


def newest_of(lines: Sequence[Line]) -> list[Line]:
    """Those of the newest run of each problem."""
    dates: dict[str, str] = {}
    for line in lines:
        dates[line["problem"]] = max(line["date"], dates.get(line["problem"], ""))
    return [line for line in lines if line["date"] == dates[line["problem"]]]


def styles_of(libraries: Sequence[str]) -> dict[str, dict[str, Any]]:
    """A colour for each library, a style for each of its solvers."""
    found: dict[str, dict[str, Any]] = {}
    for library in libraries:
        colour = COLOURS.get(library.replace(".", " ").partition(" ")[0], OTHER)
        style = STYLES[sum(look["color"] == colour for look in found.values()) % len(STYLES)]
        found[library] = {"color": colour, "linestyle": style}
    return found


def soonest_form(lines: Sequence[Line]) -> list[Line]:
    """The curve of the form that comes closest, of those that come close the one that is sooner."""
    curves: dict[str, list[Line]] = {}
    for line in lines:
        curves.setdefault(line["form"], []).append(line)

    def end(curve: list[Line]) -> tuple[float, float]:
        for target in (1e-6, 1e-4):
            near = [float(line["seconds"]) for line in curve if float(line["gap"]) <= target]
            if near:
                return target, min(near)
        return min(float(line["gap"]) for line in curve), 0.0

    return min(curves.values(), key=end, default=[])


def lowest_in(curve: Sequence[Line]) -> tuple[list[float], list[float]]:
    """Seconds, and the lowest gap of the fits that take no longer, as far as that falls."""
    seconds, gaps = [], [float("inf")]
    for line in sorted(curve, key=lambda line: float(line["seconds"])):
        reached = max(float(line["gap"]), LOWEST)
        if reached < gaps[-1]:  # false for NaN
            seconds.append(float(line["seconds"]))
            gaps.append(reached)
    return seconds, gaps[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = BENCH / "results" / f"curves-of-fits-{slug(machine.cpu_name())}.csv"
    parser.add_argument("--csv", metavar="FILE", type=Path, default=default, help="default: %(default)s")
    parser.add_argument("--picture", metavar="FILE", type=Path, default=PICTURE, help="default: %(default)s")
    arguments = parser.parse_args()
    draw(read([arguments.csv]), arguments.picture)
    print(f"wrote {arguments.picture}")


if __name__ == "__main__":
    main()
