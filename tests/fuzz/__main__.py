"""`make fuzz`: every function in turn, in child processes, with fresh seeds, for as long as is said.

    python -m tests.fuzz --minutes 60
    python -m tests.fuzz --minutes 5 --function svm_loss
    python -m tests.fuzz "replay('svm_loss', {...})"      one call again, as a failure prints it

Exit status 1 if something broke. A child that dies, or that does not come back from a call, is a failure too.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

HANGS = 180  # seconds without a new example
PASSES = 2  # each function's time comes in so many pieces
RESULTS = Path(__file__).parents[2] / "bench" / "results" / "fuzz.json"


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz the public functions.")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--function", help="this one alone, such as svm_loss")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="functions at a time; default: %(default)s")
    parser.add_argument("--seed", type=int, help="default: another one each time")
    parser.add_argument("--out", type=Path, default=None, help="default: bench/results/fuzz.json if all were fuzzed")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("replay", nargs="?", help="a call, as a failure prints it")
    given = parser.parse_args()
    if given.replay:
        from .replay import check_line

        broken = check_line(given.replay)
        print(broken or "every law holds")
        return 1 if broken else 0
    if given.child:
        from .child import main as search

        search(given.child, given.minutes * 60, given.seed, given.folder)
        return 0
    return Run(given).all()


class Run:
    """All functions, in turn."""

    def __init__(self, given: argparse.Namespace) -> None:
        from .table import ROWS

        named = [row.name for row in ROWS if given.function in (None, row.name, row.name.partition(" ")[0])]
        if not named:
            raise SystemExit(
                f"there is no function {given.function!r}; there are {', '.join(row.name for row in ROWS)}"
            )
        self.names = named
        self.minutes = given.minutes
        self.jobs = given.jobs
        self.seed = random.SystemRandom().randrange(10**9) if given.seed is None else given.seed
        self.out = given.out or (None if given.function else RESULTS)
        self.examples: dict[str, int] = dict.fromkeys(named, 0)
        self.failures: dict[tuple[str, str], dict[str, Any]] = {}

    def all(self) -> int:
        """Fuzz, show progress, write the results."""
        began = time.monotonic()
        slices = [name for _ in range(PASSES) for name in self.names]
        jobs = min(self.jobs, len(self.names))
        seconds = 60 * self.minutes * jobs / len(slices)
        print(f"{len(self.names)} functions, {self.minutes:g} minutes, {jobs} at a time, seed {self.seed}")
        with ThreadPoolExecutor(jobs) as pool:
            running = {
                pool.submit(self.one, name, seconds, self.seed + 1000 * i): name for i, name in enumerate(slices)
            }
            for done in as_completed(running):
                done.result()
                name, spent = running[done], (time.monotonic() - began) / 60
                print(f"{spent:5.1f} min  {name:34} {self.examples[name]:7} examples", flush=True)
        print(f"\n{sum(self.examples.values())} examples, {len(self.failures)} failures")
        if self.out is not None:
            self.out.write_text(json.dumps(self.result(), indent=1) + "\n")
            print(f"wrote {self.out}")
        return 1 if self.failures else 0

    def one(self, name: str, seconds: float, seed: int) -> None:
        """A child for a function; another one if it dies before its time."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            with tempfile.TemporaryDirectory(prefix="fastlin-fuzz-") as folder:
                report, died = self._child(name, left, seed, Path(folder))
            self.examples[name] += report["examples"]
            for failure in report["failures"]:
                self._note(name, failure)
            if not died:
                return
            self._note(name, died)
            seed += 500

    def _child(
        self, name: str, seconds: float, seed: int, folder: Path
    ) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """Its report, and how it died if it did."""
        words = [
            sys.executable,
            "-m",
            "tests.fuzz",
            "--child",
            name,
            "--minutes",
            str(seconds / 60),
            "--seed",
            str(seed),
        ]
        ring, said = folder / "ring", folder / "said"
        ring.touch()
        with said.open("w") as file:
            child = subprocess.Popen(
                [*words, "--folder", str(folder)],
                stdout=file,
                stderr=file,
                env=os.environ | {"FASTLIN_FUZZ": str(seed)},
            )
            try:
                while child.poll() is None:
                    time.sleep(0.1)
                    if time.time() - ring.stat().st_mtime > HANGS:
                        child.send_signal(signal.SIGABRT)  # faulthandler then says where it was
                        child.wait()
            except BaseException:
                child.kill()
                raise
        path = folder / "report.json"
        report = json.loads(path.read_text()) if path.exists() else {"examples": 0, "failures": []}
        if child.returncode == 0:
            return report, None
        how = "no answer" if child.returncode == -signal.SIGABRT else f"ended with {child.returncode}"
        last = ring.read_text().splitlines()
        words_ = said.read_text()[-1500:]
        return report, {
            "key": how,
            "count": 1,
            "call": last[-1] if last else "",
            "message": f"seed {seed}: {how}: {words_}",
        }

    def _note(self, name: str, failure: dict[str, Any]) -> None:
        """Keep a failure, the shortest call of each kind, and show the first of a kind as it comes."""
        if (name, failure["key"]) not in self.failures:
            print(f'\n{name}: {failure["message"]}\n    python -m tests.fuzz "{failure["call"]}"\n', flush=True)
        kept = self.failures.setdefault((name, failure["key"]), failure | {"count": 0})
        kept["count"] += failure["count"]
        if len(failure["call"]) < len(kept["call"]):
            kept |= {"call": failure["call"], "message": failure["message"]}

    def result(self) -> dict[str, Any]:
        """What is written: the counts, the failures, and the machine."""
        from fastlin import machine

        return {
            "machine": machine.describe(),
            "date": datetime.date.today().isoformat(),
            "minutes": self.minutes,
            "seed": self.seed,
            "failures": len(self.failures),
            "all_examples": sum(self.examples.values()),
            "examples": [{"function": name, "examples": count} for name, count in self.examples.items()],
        }


if __name__ == "__main__":
    sys.exit(main())
