"""Writes the README's performance tables from bench/results/*.csv: no figure there is typed by hand.

Each row shows its newest run; a speed is compared with the fastest peer of that same run.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from fastlin.compare import ratio

BENCH = Path(__file__).parent
OURS = ("fastlin-cython", "fastlin-numba")
BUSY = 0.3  # load average at the start of a run above which other programs took part

Line = dict[str, str]


@dataclass(frozen=True)
class Table:
    """A table of the README."""

    name: str  # of its CSV files and of its markers
    key: tuple[str, ...]  # the columns that tell its rows apart
    header: str
    alignment: str
    cells: Callable[[Sequence[Line]], list[str]]  # of a row, from the lines of its libraries

    @property
    def begin(self) -> str:
        return f"<!-- {self.name}:begin -->"

    @property
    def end(self) -> str:
        return f"<!-- {self.name}:end -->"

    def files(self, folder: Path) -> list[Path]:
        """What the bench of this name wrote."""
        return sorted(folder.glob(f"{self.name}-*.csv"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--results",
        metavar="FOLDER",
        type=Path,
        default=BENCH / "results",
        help="where the benches' CSV files are; default: %(default)s",
    )
    parser.add_argument("--readme", type=Path, default=BENCH.parent / "README.md", help="default: %(default)s")
    arguments = parser.parse_args()
    text = arguments.readme.read_text(encoding="utf-8")
    for table in TABLES:
        text = insert(text, table, render(table.files(arguments.results), table))
    arguments.readme.write_text(text, encoding="utf-8")
    print(f"wrote the tables of {arguments.results} into {arguments.readme}")


def insert(text: str, table: Table, rendered: str) -> str:
    """The text with what was rendered between the table's markers."""
    if text.count(table.begin) != 1 or text.count(table.end) != 1:
        raise SystemExit(f"expected one {table.begin} and one {table.end}")
    before, _, rest = text.partition(table.begin)
    _, _, after = rest.partition(table.end)
    return f"{before}{table.begin}\n{rendered}\n{table.end}{after}"


def render(files: Iterable[Path], table: Table) -> str:
    """A table for each machine and number of threads."""
    lines: list[Line] = []
    for path in files:
        with path.open(newline="") as file:
            lines += csv.DictReader(file)
    if not lines:
        return "No measurements yet: `make bench-peers`."
    machines = groupby(sorted(lines, key=_machine), key=_machine)
    return "\n\n".join(render_machine(list(group), table) for _, group in machines)


def _machine(line: Line) -> tuple[str, ...]:
    return line["cpu"], line["cores"], line["isa"], line["threads"]


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
    """What the figures were measured on and with."""
    first = lines[0]
    names = [column.removesuffix("_version") for column in first if column.endswith("_version")]
    versions = [f"{name} {_span(line[f'{name}_version'] for line in lines)}" for name in names]
    busy = max(float(line["load"]) for line in lines)
    text = f"{first['cpu']}, {first['cores']} cores, {first['isa']}, {first['threads']} threads each; "
    text += f"{', '.join(versions)}; {_span(line['date'][:10] for line in lines)}."
    return text + (f" **Other programs were running (load {busy:.1f}).**" if busy > BUSY else "")


def _span(values: Iterable[str]) -> str:
    return " and ".join(sorted({value or "absent" for value in values}))


def loss_cells(row: Sequence[Line]) -> list[str]:
    first, cython = row[0], _cython(row)
    share = f"{float(cython['gf_s']) / float(cython['gemm_gf_s']):.0%}" if cython else "–"
    return [_size(first["shape"]), first["dtype"], first["loss"], *_against_peers(row), share]


def training_cells(row: Sequence[Line]) -> list[str]:
    first, cython = row[0], _cython(row)
    share = f"{float(cython['memory_s']) / float(cython['p50']):.0%}" if cython and cython["memory_s"] else "–"
    reached = f"{float(cython['accuracy']):.1%}" if cython and cython["accuracy"] else "–"
    others = [f"{line['library']} {float(line['accuracy']):.1%}" for line in row if line["p50"] and not _agrees(line)]
    return [first["task"], _size(first["size"]), *_against_peers(row), share, " / ".join([reached, *others])]


def _size(text: str) -> str:
    if text.isdigit():
        return f"{int(text):,}".replace(",", " ")
    return text.replace("x", " × ").replace("/", ", batches of ")


def _against_peers(row: Sequence[Line]) -> list[str]:
    """How ours compare with the fastest peer that does the same work, and which that is."""
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
    key=("shape", "dtype", "loss"),
    header="| n × d × c | X | loss | cython ÷ best peer | numba ÷ best peer | best peer | cython, of gemm |",
    alignment="|---|---|---|--:|--:|---|--:|",
    cells=loss_cells,
)
TRAINING = Table(
    name="training",
    key=("task", "size"),
    header="| task | size | cython ÷ best peer | numba ÷ best peer | best peer | cython, of memory | accuracy |",
    alignment="|---|---|--:|--:|---|--:|---|",
    cells=training_cells,
)
TABLES = (PEERS, TRAINING)


if __name__ == "__main__":
    main()
