"""A loss and an epoch over Parts of a file, beside reading the file; memory; and what windows do to convergence.

    python bench/parts.py --gigabytes 12 --folder /data     # throughput and memory, on a file that is made there
    python bench/parts.py --windows                         # epochs to a loss, by how many parts are mixed

The file is of generated rows, float32, written once and removed at the end. Reading is np.fromfile of blocks as large
as a part, in the same run, in turns with the loss and the epoch; memory is PSS without what the page cache holds.
Both ways write to bench/results/parts.json, from which bench/report.py writes the tables of docs/parts.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import fastlin as fl
from fastlin import machine
from fastlin._files.npz import npy_header
from fastlin._parts.sources import PART_BYTES

FILE = Path(__file__).parent / "results" / "parts.json"
D, C = 3072, 10
TURNS = 3


def make(folder: Path, gigabytes: float) -> tuple[Path, np.ndarray[Any, Any]]:
    """A file of rows, and labels: a few random blocks, one after the other."""
    n = int(gigabytes * 1e9 / (4 * D))
    rng = np.random.default_rng(0)
    blocks = [rng.standard_normal((2048, D), dtype=np.float32) for _ in range(3)]
    path = folder / "X.npy"
    with path.open("wb") as file:
        np.lib.format.write_array_header_2_0(file, {"descr": "<f4", "fortran_order": False, "shape": (n, D)})
        for start in range(0, n, 2048):
            blocks[start // 2048 % 3][: n - start].tofile(file)
    return path, rng.integers(0, C, n)


def anonymous() -> int:
    """Memory of this process that is its own, in bytes: PSS without mapped files."""
    fields = dict(line.split(":") for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    return 1024 * sum(int(fields[name].split()[0]) for name in ("Pss_Anon", "Pss_Shmem"))


class Peak:
    """The most memory that was seen where it was asked."""

    def __init__(self) -> None:
        self.start = self.most = anonymous()

    def look(self) -> None:
        self.most = max(self.most, anonymous())

    @property
    def mega(self) -> float:
        """Beyond the start, in MB."""
        return (self.most - self.start) / 1e6


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def read(path: Path) -> None:
    """The whole file by np.fromfile, in blocks of a part."""
    with path.open("rb") as file:
        start = npy_header(file).start
        file.seek(start)
        while np.fromfile(file, np.uint8, PART_BYTES).size:
            pass


def throughput(folder: Path, gigabytes: float, cold: bool) -> dict[str, Any]:
    """Rates in GB/s, medians of turns, and memory."""
    path, y = make(folder, gigabytes)
    size = path.stat().st_size
    peak = Peak()
    parts = fl.Parts.from_npy(path, y)
    seen = parts._mapped(Looked(peak))  # looks at the memory where a part is read
    W = np.zeros((D + 1, C), np.float32)
    works: dict[str, Callable[[], object]] = {
        "np.fromfile": lambda: read(path),
        "softmax_loss over Parts": lambda: fl.softmax_loss(W, seen, bias=True),
        "an epoch of train over Parts": lambda: fl.train(seen, epochs=1, optimizer=fl.SGD(1e-3)),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(TURNS):
        for name, work in works.items():
            if cold:
                forget(path)
            times[name].append(seconds(work))
    path.unlink()
    rates = {name: size / 1e9 / float(np.median(of)) for name, of in times.items()}
    return {
        "file": {
            "GB": size / 1e9,
            "rows": len(y),
            "d": D,
            "c": C,
            "page cache": "emptied before each turn" if cold else "as it is",
            "MB of memory beyond the start": peak.mega,
        },
        "throughput": [
            {"what": name, "GB/s": rate, "of reading": f"{rate / rates['np.fromfile']:.0%}"}
            for name, rate in rates.items()
        ],
    }


class Looked:
    """Notes the memory, and leaves the part as it is."""

    def __init__(self, peak: Peak) -> None:
        self.peak = peak

    def __call__(self, part: Any) -> Any:
        self.peak.look()
        return part


def forget(path: Path) -> None:
    """The page cache has none of the file any more."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


MIXED = (None, 1, 2, 5, 20, 100)  # parts of 100; None: an array


def windows() -> dict[str, Any]:
    """How far above the lowest the loss is, for rows in random order and sorted by class, by what a window mixes."""
    rng = np.random.default_rng(0)
    n, d, c = 40_000, 64, 10
    y = rng.integers(0, c, n)
    X = (rng.standard_normal((n, d)) + 0.4 * rng.standard_normal((c, d))[y]).astype(np.float32)
    lowest = fl.minimize(X, y, reg=1e-4).history["loss"][-1]
    found, accuracies = [], []
    orders = {"in random order": np.arange(n), "sorted by class": np.argsort(y, kind="stable")}
    for (name, order), rate in itertools.product(orders.items(), ("falling", "constant")):
        A, b = np.ascontiguousarray(X[order]), y[order]
        row = {"rows of the file": name, "rate": rate}
        for window in MIXED:
            parts = {} if window is None else {"window": window}
            given = (A, b) if window is None else (fl.Parts.from_arrays(A, b, rows=400),)
            lr = fl.schedules.cosine(0.1, 10 * 157) if rate == "falling" else 0.02
            optimizer = fl.SGD(lr, momentum=0.9)
            result = fl.train(*given, reg=1e-4, epochs=10, batch_size=256, optimizer=optimizer, **parts)
            above = fl.softmax_loss(result.W, X, y, 1e-4, bias=True)[0] / lowest - 1
            accuracies.append(result.accuracy(X, y))
            column = "all rows shuffled" if window is None else f"{window} of 100 parts"
            row[column] = f"{above:.2%}"
        found.append(row)
    return {"windows": found, "accuracy": f"{min(accuracies):.1%} to {max(accuracies):.1%}"}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--gigabytes", type=float, default=12.0, help="default: %(default)s")
    options.add_argument("--folder", type=Path, help="where the file is made; a temporary one")
    options.add_argument("--cold", action="store_true", help="drop the file from the page cache before each turn")
    options.add_argument("--windows", action="store_true", help="what windows do to convergence, instead")
    options.add_argument("--output", type=Path, default=FILE, help="default: %(default)s")
    given = options.parse_args()
    facts = machine.describe() | {"busy cores before": round(machine.busy_cores(), 1)}
    if given.windows:
        found = windows()
    else:
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            found = throughput(Path(folder), given.gigabytes, given.cold)
        found["machine"] = {name: facts[name] for name in ("cpu", "cores", "instruction set", "busy cores before")}
    print(json.dumps(found, indent=1, ensure_ascii=False))
    record = json.loads(given.output.read_text(encoding="utf-8")) if given.output.exists() else {}
    given.output.write_text(json.dumps(record | found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"wrote {given.output}; python bench/report.py puts it into docs/parts.md")


if __name__ == "__main__":
    main()
