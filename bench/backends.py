"""Writes what `pytest bench --benchmark-json=FILE` measured into the CSV file of the README's table of the four
backends: a line for each backend of each group in which all four took part.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contest import slug

from fastlin import machine, ops

PACKAGES = ("fastlin", "cython", "numba", "numpy")
HEADER = (
    *("date", "cpu", "cores", "threads", "isa", "load", *(f"{name}_version" for name in PACKAGES)),
    *("op", "shape", "dtype", "backend", "p25", "p50", "p75"),
)


def lines(measured: dict[str, Any]) -> Iterator[dict[str, object]]:
    """The lines of a run, from pytest-benchmark's JSON."""
    facts = measured["machine_info"]["fastlin"]
    common = {
        "date": measured["datetime"],
        "cpu": facts["cpu"],
        "cores": facts["cores"],
        "threads": facts["threads"],
        "isa": facts["instruction set"],
        "load": f"{measured['load']:.2f}",
    } | {f"{name}_version": machine.version(name) or "" for name in PACKAGES}
    groups: dict[str, dict[str, Any]] = {}
    for bench in measured["benchmarks"]:
        groups.setdefault(bench["group"], {})[bench["params"]["backend"]] = bench["stats"]
    for group, found in groups.items():
        if found.keys() == ops.BACKENDS.keys():
            op, dtype, shape = group.split("|")
            for backend, stats in found.items():
                times = {f"p{share}": f"{stats[name]:.4g}" for share, name in ((25, "q1"), (50, "median"), (75, "q3"))}
                yield common | {"op": op, "shape": shape, "dtype": dtype, "backend": backend} | times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("json", type=Path, metavar="FILE", help="as pytest-benchmark wrote it, on this machine")
    parser.add_argument("--results", type=Path, metavar="FOLDER", default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    path = arguments.results / f"backends-{slug(machine.cpu_name())}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HEADER)
        writer.writeheader()
        writer.writerows(lines(json.loads(arguments.json.read_text(encoding="utf-8"))))
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
