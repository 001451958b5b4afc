"""Which branches of fastlin/ the tests take: `make coverage`. What kernels/ holds is not measured.

Runs all tests, their child processes too, prints the branches that are left, and writes bench/results/coverage.json.
Arguments are given to pytest; with any the result is only printed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
RESULT = ROOT / "bench" / "results" / "coverage.json"
REPORT = ROOT / "build" / "coverage" / "report.json"
WANTED = 95.0  # percent of the branches


def coverage(*arguments: str | Path) -> int:
    """A command of coverage; its exit status."""
    return subprocess.run([sys.executable, "-m", "coverage", *arguments], cwd=ROOT, check=False).returncode


def percent(taken: int, branches: int) -> float:
    return round(100.0 * taken / branches, 1) if branches else 100.0


def summarize(report: dict[str, Any]) -> dict[str, Any]:
    """The share of branches that were taken, and a row for each file of which some branch or line was not."""
    rows = []
    for name, file in sorted(report["files"].items()):
        counts = file["summary"]
        missing = [f"{start}→{'exit' if stop < 0 else stop}" for start, stop in file["missing_branches"]]
        if missing or file["missing_lines"]:
            share = percent(counts["covered_branches"], counts["num_branches"])
            left = {"lines_left": file["missing_lines"], "branches_left": missing}
            rows.append({"file": name, "branches": counts["num_branches"], "percent": share} | left)
    totals = report["totals"]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "branches": totals["num_branches"],
        "percent": percent(totals["covered_branches"], totals["num_branches"]),
        "lines_percent": percent(totals["covered_lines"], totals["num_statements"]),
        "complete_files": len(report["files"]) - len(rows),
        "rows": rows,
    }


def main() -> None:
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    coverage("erase")
    failed = coverage("run", "-m", "pytest", "-q", *sys.argv[1:])
    coverage("combine", "--quiet")
    if coverage("json", "--quiet", "-o", REPORT):
        raise SystemExit("make coverage: there are no data")
    found = summarize(json.loads(REPORT.read_text()))
    for row in found["rows"]:
        print(*(f"{name} {value}" for name, value in row.items()), sep="; ")
    print(f"{found['percent']} % of {found['branches']} branches, {found['lines_percent']} % of lines")
    if len(sys.argv) == 1:
        RESULT.write_text(json.dumps(found, indent=1) + "\n")
    if failed or found["percent"] < WANTED:
        raise SystemExit(f"make coverage: tests failed, or fewer than {WANTED} % of the branches were taken")


if __name__ == "__main__":
    main()
