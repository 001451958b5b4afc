"""Writes the tables of README.md and of docs/*.md from bench/results: none is typed by hand.

Of *.csv, each row shows its newest run; a speed is compared with the fastest peer of that same run. A *.json file is
what a check of a promise found.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from fastlin.compare import duration, ratio

BENCH = Path(__file__).parent
OURS = ("fastlin-cython", "fastlin-numba")
FROM_MEMORY = 16 << 20  # bytes of X: smaller ones are read from caches, at another speed
BUSY = 0.3  # load average at the start of a run above which other programs took part

Line = dict[str, str]


@dataclass(frozen=True)
class Marked:
    """A table that is rendered between two markers of a document."""

    name: str  # in the markers

    @property
    def begin(self) -> str:
        return f"<!-- {self.name}:begin -->"

    @property
    def end(self) -> str:
        return f"<!-- {self.name}:end -->"


@dataclass(frozen=True)
class Table(Marked):
    """A table of the README; its CSV files have its name."""

    command: str  # measures them
    key: tuple[str, ...]  # the columns that identify its rows
    header: str
    alignment: str
    cells: Callable[[Sequence[Line]], list[str]]  # of a row, from the lines of its libraries

    def render(self, folder: Path) -> str:
        return render(self.files(folder), self)

    def files(self, folder: Path) -> list[Path]:
        """The lines that the bench of this name wrote."""
        return sorted(folder.glob(f"{self.name}-*.csv"))


@dataclass(frozen=True)
class Grid(Marked):
    """A table of docs/kernels.md: the figures that bench/kernel_study.py wrote under its name, by row and column."""

    corner: str  # the unit of the figures

    def render(self, folder: Path) -> str:
        files = sorted(folder.glob("kernels-*.csv"))
        found = [line for line in read(files) if line["table"] == self.name]
        return render_machines(found, self.render_machine, "make bench-kernels")

    def render_machine(self, lines: Sequence[Line]) -> str:
        cells = {(line["row"], line["column"]): line["p50"] for line in lines}
        columns = list(dict.fromkeys(line["column"] for line in lines))
        text = [heading(lines), "", f"| {self.corner} | {' | '.join(columns)} |", "|---|" + "--:|" * len(columns)]
        for row in dict.fromkeys(line["row"] for line in lines):
            text.append(f"| {row} | {' | '.join(_figure(cells.get((row, column))) for column in columns)} |")
        return "\n".join(text)


@dataclass(frozen=True)
class Record(Marked):
    """A part of docs/promises.md: what the check of this name found. NAME.json holds facts by name; rows of a table,
    as {column: value}, are in a list."""

    command: str

    def render(self, folder: Path) -> str:
        path = folder / f"{self.name}.json"
        if not path.exists():
            return f"Not run yet: `{self.command}`."
        found = json.loads(path.read_text(encoding="utf-8"))
        tables = {name: value for name, value in found.items() if _is_table(value)}
        facts = [f"{name.replace('_', ' ')} {_cell(value)}" for name, value in found.items() if name not in tables]
        return "\n\n".join([f"`{self.command}`: {'; '.join(facts)}.", *map(_table, tables.values())])


@dataclass(frozen=True)
class Excerpt(Marked):
    """One entry of a .json file, a table or facts: NAME is FILE-ENTRY."""

    command: str

    def render(self, folder: Path) -> str:
        file, _, entry = self.name.partition("-")
        path = folder / f"{file}.json"
        found = json.loads(path.read_text(encoding="utf-8")).get(entry) if path.exists() else None
        if found is None:
            return f"Not run yet: `{self.command}`."
        return _table(found) if _is_table(found) else f"{_cell(found)}."


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _table(rows: Sequence[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = [f"| {' | '.join(column.replace('_', ' ') for column in columns)} |", "|---|" + "--:|" * (len(columns) - 1)]
    return "\n".join(text + [f"| {' | '.join(_cell(row.get(column)) for column in columns)} |" for row in rows])


def _cell(value: Any) -> str:
    """A value of a JSON file in words; what it holds has commas between."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_cell(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    return str(value).replace("|", "\\|")


def _figure(text: str | None) -> str:
    return "–" if text is None else np.format_float_positional(float(text), 3, fractional=False, trim="-")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--results",
        metavar="FOLDER",
        type=Path,
        default=BENCH / "results",
        help="where the benches' CSV files are; default: %(default)s",
    )
    arguments = parser.parse_args()
    for path, tables in DOCUMENTS.items():
        text = path.read_text(encoding="utf-8")
        for table in tables:
            text = insert(text, table, table.render(arguments.results))
        path.write_text(text, encoding="utf-8")
        print(f"wrote the tables of {arguments.results} into {path}")


def insert(text: str, table: Marked, rendered: str) -> str:
    """The text with the rendered table between its markers."""
    if text.count(table.begin) != 1 or text.count(table.end) != 1:
        raise SystemExit(f"expected one {table.begin} and one {table.end}")
    before, _, rest = text.partition(table.begin)
    _, _, after = rest.partition(table.end)
    return f"{before}{table.begin}\n{rendered}\n{table.end}{after}"


def render(files: Iterable[Path], table: Table) -> str:
    return render_machines(read(files), lambda lines: render_machine(lines, table), table.command)


def read(files: Iterable[Path]) -> list[Line]:
    lines: list[Line] = []
    for path in files:
        with path.open(newline="") as file:
            lines += csv.DictReader(file)
    return lines


def render_machines(lines: Sequence[Line], rendered: Callable[[Sequence[Line]], str], command: str) -> str:
    """A table for each machine and number of threads."""
    if not lines:
        return f"No measurements yet: `{command}`."
    machines = groupby(sorted(lines, key=_machine), key=_machine)
    return "\n\n".join(rendered(list(group)) for _, group in machines)


def _machine(line: Line) -> tuple[str, ...]:
    return line["cpu"], line["cores"], line["isa"], line.get("threads", "")


def render_machine(lines: Sequence[Line], table: Table) -> str:
    """The newest run of every row, in the order in which rows first appeared."""
    rows: dict[tuple[str, ...], list[Line]] = {}
    for line in lines:
        rows.setdefault(tuple(line[column] for column in table.key), []).append(line)
    newest = [[line for line in row if line["date"] == max(line["date"] for line in row)] for row in rows.values()]
    shown = [line for row in newest for line in row]
    text = [heading(shown), "", table.header, table.alignment]
    return "\n".join(text + [f"| {' | '.join(table.cells(row))} |" for row in newest])


def heading(lines: Sequence[Line]) -> str:
    """The machine, versions and date of the figures."""
    first = lines[0]
    names = [column.removesuffix("_version") for column in first if column.endswith("_version")]
    versions = [f"{name} {_span(line[f'{name}_version'] for line in lines)}" for name in names]
    busy = max(float(line["load"]) for line in lines)
    text = f"{first['cpu']}, {first['cores']} cores, {first['isa']}"
    text += f", {first['threads']} threads each; " if "threads" in first else "; "
    text += f"{', '.join(versions)}; {_span(line['date'][:10] for line in lines)}."
    return text + (f" **Other programs were running (load {busy:.1f}).**" if busy > BUSY else "")


def _span(values: Iterable[str]) -> str:
    return " and ".join(sorted({value or "absent" for value in values}))


def loss_cells(row: Sequence[Line]) -> list[str]:
    first, cython = row[0], _cython(row)
    share = f"{_loss_limit(cython) / float(cython['p50']):.0%}" if cython else "–"
    return [_size(first["shape"]), first["dtype"], first["loss"], *_against_peers(row), share]


def _loss_limit(line: Line) -> float:
    """The least seconds of a loss with its gradient: its arithmetic at a large product's speed, or one read of X."""
    n, d, c = map(int, line["shape"].split("x"))
    size = n * d * np.dtype(line["dtype"]).itemsize
    read = 1e-9 * size / float(line["read_gb_s"]) if size >= FROM_MEMORY else 0.0
    return max(4e-9 * n * d * c / float(line["gemm_gf_s"]), read)


def sparse_cells(row: Sequence[Line]) -> list[str]:
    first, cython = row[0], _cython(row)
    share = f"{float(cython['limit_s']) / float(cython['p50']):.0%}" if cython else "–"
    return [first["kind"], _size(first["shape"]), first["per_row"], first["loss"], *_against_peers(row), share]


def training_cells(row: Sequence[Line]) -> list[str]:
    first, cython = row[0], _cython(row)
    share = f"{float(cython['limit_s']) / float(cython['p50']):.0%}" if cython and cython["limit_s"] else "–"
    reached = f"{float(cython['accuracy']):.1%}" if cython and cython["accuracy"] else "–"
    others = [f"{line['library']} {float(line['accuracy']):.1%}" for line in row if line["p50"] and not _agrees(line)]
    return [first["task"], _size(first["size"]), *_against_peers(row), share, " / ".join([reached, *others])]


def backend_cells(row: Sequence[Line]) -> list[str]:
    """The time of naive, and how many times faster the others are."""
    first, seconds = row[0], {line["backend"]: float(line["p50"]) for line in row}
    faster = [ratio(seconds["naive"] / seconds[name]) for name in ("numpy", "numba", "cython")]
    compiled = ratio(seconds["numpy"] / seconds["cython"])
    op = first["op"].replace("_update", " step")
    return [op, _size(first["shape"]), duration(seconds["naive"]), *faster, compiled]


def fit_cells(row: Sequence[Line]) -> list[str]:
    """Ours as it comes, and how much longer the soonest of others take; whoever does not get there has no time."""
    first, timed = row[0], {line["library"]: line for line in row if line["p50"]}
    ours, seconds = timed.get("fastlin auto"), {name: float(line["p50"]) for name, line in timed.items()}
    sklearn = [name for name in seconds if name.startswith("scikit-learn ")]
    others = [name for name in seconds if name not in sklearn and not name.startswith("fastlin")]
    cells = [
        first["problem"],
        _size(first["size"]),
        first["dtype"],
        first["target"],
    ]
    cells.append(duration(seconds["fastlin auto"]) if ours else "–")
    for names in (sklearn, others):
        best = min(names, key=seconds.__getitem__, default="")
        compared = ratio(seconds[best] / seconds["fastlin auto"]) if best and ours else "–"
        cells.append(f"{compared} {best.removeprefix('scikit-learn ')}" if best else "–")
    return [*cells, f"{float(ours['accuracy']):.1%}" if ours else "–"]


def _size(text: str) -> str:
    if text.isdigit():
        return f"{int(text):,}".replace(",", " ")
    return text.replace("x", " × ").replace("/", ", batches of ")


def _against_peers(row: Sequence[Line]) -> list[str]:
    """The ratio of our time to that of the fastest peer that does the same work, and that peer's name."""
    medians = {line["library"]: float(line["p50"]) for line in row if line["p50"] and _agrees(line)}
    peers = {library: seconds for library, seconds in medians.items() if library not in OURS}
    best = min(peers, key=peers.__getitem__, default="")
    ratios = [ratio(peers[best] / medians[ours]) if best and ours in medians else "–" for ours in OURS]
    return [*ratios, f"{best} (of {len(peers)})" if best else "–"]


def _agrees(line: Line) -> bool:
    return line["agrees"] == "yes"


def _cython(row: Sequence[Line]) -> Line | None:
    return next((line for line in row if line["library"] == OURS[0] and line["p50"]), None)


PEERS = Table(
    name="peers",
    command="make bench-peers",
    key=("shape", "dtype", "loss"),
    header="| n × d × c | X | loss | cython ÷ best peer | numba ÷ best peer | best peer | cython, of the limit |",
    alignment="|---|---|---|--:|--:|---|--:|",
    cells=loss_cells,
)
TRAINING = Table(
    name="training",
    command="make bench-peers",
    key=("task", "size"),
    header="| task | size | cython ÷ best peer | numba ÷ best peer | best peer | cython, of the limit | accuracy |",
    alignment="|---|---|--:|--:|---|--:|---|",
    cells=training_cells,
)
SPARSE = Table(
    name="sparse",
    command="make bench-peers",
    key=("kind", "shape", "loss"),
    header="| X | n × d × c | a row | loss | cython ÷ best peer | numba ÷ best peer | best peer | of the limit |",
    alignment="|---|---|--:|---|--:|--:|---|--:|",
    cells=sparse_cells,
)
FITS = Table(
    name="fits",
    command="make bench-peers",
    key=("problem", "target"),
    header="| problem | n × d × c | X | to within | ours | scikit-learn's best ÷ ours | best other ÷ ours | accuracy |",
    alignment="|---|---|---|--:|--:|---|---|--:|",
    cells=fit_cells,
)
BACKENDS = Table(
    name="backends",
    command="make bench-backends",
    key=("op", "shape"),
    header="| op | n × d × c | naive | numpy ÷ naive | numba ÷ naive | cython ÷ naive | cython ÷ numpy |",
    alignment="|---|---|--:|--:|--:|--:|--:|",
    cells=backend_cells,
)
TABLES = (BACKENDS, PEERS, TRAINING, FITS)
GRIDS = (
    Grid("tiles", "GF/s, one core"),
    Grid("blocks", "us, one thread"),
    Grid("exp", "exp"),
    Grid("calls", "us"),
    Grid("threads", "ms"),
)
RECORDS = (
    Record("fuzz", "make fuzz"),
    Record("asan", "make asan"),
    Record("tsan", "make tsan"),
    Record("soak", "make soak"),
    Record("interrupt", "python bench/interrupt.py"),
    Record("coverage", "make coverage"),
)
SCALE = tuple(
    Excerpt(f"scale-{entry}", "python bench/scale.py")
    for entry in ("machine", "sizes", "evaluations", "fits", "costs", "computed")
)
PARTS = (
    *(Excerpt(f"parts-{entry}", "python bench/parts.py --gigabytes 12") for entry in ("machine", "file", "throughput")),
    *(Excerpt(f"parts-{entry}", "python bench/parts.py --windows") for entry in ("windows", "accuracy")),
)
DOCUMENTS: dict[Path, Sequence[Table | Grid | Record | Excerpt]] = {
    BENCH.parent / "README.md": TABLES,
    BENCH.parent / "docs" / "sparse.md": (SPARSE, Record("sparse-solvers", "python bench/solvers.py --sparse")),
    BENCH.parent / "docs" / "kernels.md": GRIDS,
    BENCH.parent / "docs" / "promises.md": RECORDS,
    BENCH.parent / "docs" / "solvers.md": (
        Record("solvers", "python bench/solvers.py"),
        Record("few-weights", "python bench/few_weights.py"),
    ),
    BENCH.parent / "docs" / "scale.md": SCALE,
    BENCH.parent / "docs" / "parts.md": PARTS,
}


if __name__ == "__main__":
    main()
