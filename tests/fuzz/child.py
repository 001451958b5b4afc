"""Fuzzes one function for some seconds; __main__.py starts it, and lives on if it dies.

A failure is kept under a key, its words without numbers, so that the search goes on to others. What is about to be
called is written to a file before the call.
"""

from __future__ import annotations

import faulthandler
import json
import re
import time
import traceback
import warnings
from collections import Counter, deque
from pathlib import Path
from typing import Any

from hypothesis import given, seed, settings

from .harness import SETTINGS, Broken, Row, check
from .replay import row_of
from .strategies import Call
from .worker import Worker

BATCH = 100  # examples with one seed
SHRINK = 20.0  # seconds for making a failure small, at most; a tenth of the time that there is


class Search:
    """Examples of a row, and what they broke."""

    def __init__(self, row: Row, seconds: float, ring: Path) -> None:
        self.row, self.until = row, time.monotonic() + seconds
        self._room = min(SHRINK, seconds / 10)
        self.examples = 0
        self.failures: dict[str, dict[str, str]] = {}
        self.counts: Counter[str] = Counter()
        self._worker = Worker()
        self._ring, self._last = ring, deque[str](maxlen=5)
        self._key = ""  # of the failure that is being made small
        self._shrunk = 0.0  # when that must end

    def run(self, first_seed: int) -> None:
        """Batches until the time is over."""
        number = first_seed
        while time.monotonic() < self.until:
            self._batch(number)
            number += 1
        self._worker.close()

    def _batch(self, number: int) -> None:
        self._key = ""

        @seed(number)
        @settings(max_examples=BATCH, **SETTINGS)
        @given(self.row.calls())
        def holds(call: Call) -> None:
            self._try(call)

        try:
            holds()
        except Exception as error:  # it is kept already; Hypothesis calls what we cut short flaky
            if not self._key:
                where = "".join(traceback.format_exception(error)[-2:])
                self._keep(f"the harness: {type(error).__name__}: {error}\n{where}", "")

    def _try(self, call: Call) -> None:
        now = time.monotonic()
        if (self._key and now > self._shrunk) or (not self._key and now > self.until):
            return
        line = repr(call)
        self._last.append(line)
        self._ring.write_text("\n".join(self._last))
        self.examples += not self._key
        broken = self._broken(call, line)
        if not broken:
            return
        key = key_of(broken)
        self.counts[key] += not self._key
        if (self._key and key != self._key) or (not self._key and key in self.failures):
            return
        if not self._key:
            self._key, self._shrunk = key, time.monotonic() + self._room
        self._keep(broken, line)
        raise Broken(key)

    def _broken(self, call: Call, line: str) -> str:
        if self.row.alone:
            return self._worker.check(line)
        try:
            check(self.row, call)
        except Broken as broken:
            return str(broken)
        return ""

    def _keep(self, broken: str, line: str) -> None:
        key = key_of(broken)
        before = self.failures.get(key)
        if before is None or len(line) <= len(before["call"]):
            self.failures[key] = {"message": broken[:1000], "call": line}

    def report(self) -> dict[str, Any]:
        """For the parent."""
        found = [{"key": key, "count": max(self.counts[key], 1), **kept} for key, kept in self.failures.items()]
        return {"examples": self.examples, "failures": found}


def key_of(broken: str) -> str:
    """The words of a failure without what changes from example to example."""
    line = broken.split("\n", 1)[0]
    if line.startswith("answered"):
        line = line.split(":", 1)[0]
    line = re.sub(r"/\S+|0x[0-9a-f]+|'[^']{30,}'", "~", line)
    return re.sub(r"[\d.()\[\], +-]+", " ", line)[:120]


def main(name: str, seconds: float, first_seed: int, folder: Path) -> None:
    """Search, and write the report when the time is over, or when something broke."""
    faulthandler.enable()
    warnings.simplefilter("error")
    search = Search(row_of(name), seconds, folder / "ring")
    try:
        search.run(first_seed)
    finally:
        (folder / "report.json").write_text(json.dumps(search.report()))
