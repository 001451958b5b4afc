"""Writes the README's performance table from bench/results/*.csv: no figure there is typed by hand.

Each row shows its newest run; a speed is compared with the fastest peer of that same run.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from fastlin.compare import ratio

BENCH = Path(__file__).parent
BEGIN, END = "<!-- peers:begin -->", "<!-- peers:end -->"
OURS = ("fastlin-cython", "fastlin-numba")
BUSY = 0.3  # load average at the start of a run above which other programs took part

Line = dict[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "csv",
        type=Path,
        nargs="*",
        default=sorted((BENCH / "results").glob("peers-*.csv")),
        help="files that bench/peers.py wrote; default: all in bench/results",
    )
    parser.add_argument("--readme", type=Path, default=BENCH.parent / "README.md", help="default: %(default)s")
    arguments = parser.parse_args()
    text = arguments.readme.read_text(encoding="utf-8")
    arguments.readme.write_text(insert(text, render(arguments.csv)), encoding="utf-8")
    print(f"wrote the table of {len(arguments.csv)} files into {arguments.readme}")


def insert(text: str, tables: str) -> str:
    """The text with the tables between its markers."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f"expected one {BEGIN} and one {END}")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables}\n{END}{after}"


def render(files: Iterable[Path]) -> str:
    """A table for each machine and number of threads."""
    lines: list[Line] = []
    for path in files:
        with path.open(newline="") as file:
            lines += csv.DictReader(file)
    if not lines:
        return "No measurements yet: `make bench-peers`."
    machines = groupby(sorted(lines, key=_machine), key=_machine)
    return "\n\n".join(table(list(group)) for _, group in machines)


def _machine(line: Line) -> tuple[str, ...]:
    return line["cpu"], line["cores"], line["isa"], line["threads"]


def table(lines: Sequence[Line]) -> str:
    """The newest run of every row, in the order in which rows first appeared."""
    rows: dict[tuple[str, ...], list[Line]] = {}
    for line in lines:
        rows.setdefault((line["shape"], line["dtype"], line["loss"]), []).append(line)
    newest = [[line for line in row if line["date"] == max(line["date"] for line in row)] for row in rows.values()]
    shown = [line for row in newest for line in row]
    text = [heading(shown), "", "| n × d × c | X | loss | cython ÷ best peer | numba ÷ best peer | best peer |"]
    text[-1] += " cython, of gemm |"
    text.append("|---|---|---|--:|--:|---|--:|")
    text += [_table_row(row) for row in newest]
    return "\n".join(text)


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


def _table_row(row: Sequence[Line]) -> str:
    first = row[0]
    medians = {line["library"]: float(line["p50"]) for line in row if line["p50"]}
    peers = {library: seconds for library, seconds in medians.items() if library not in OURS}
    best = min(peers, key=peers.__getitem__, default="")
    cells = [first["shape"].replace("x", " × "), first["dtype"], first["loss"]]
    cells += [ratio(peers[best] / medians[ours]) if best and ours in medians else "–" for ours in OURS]
    cells += [f"{best} (of {len(peers)})" if best else "–"]
    cells += [f"{float(line['gf_s']) / float(line['gemm_gf_s']):.0%}" for line in row if _is_timed_cython(line)] or [
        "–"
    ]
    return f"| {' | '.join(cells)} |"


def _is_timed_cython(line: Line) -> bool:
    return line["library"] == OURS[0] and bool(line["p50"])


if __name__ == "__main__":
    main()
