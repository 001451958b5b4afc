"""Training over parts: rows are shuffled within windows of some parts, and a thread reads the next window meanwhile.

The parts are shuffled, and as many as a window holds are mixed. Rows that fill no batch wait for the next window, so
that an epoch has as many steps as over an array, and only its last batch may be short. What is read when follows from
the seed, the epoch and the sizes of the parts alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from fastlin import _check
from fastlin._check import Array, Inputs, read_only
from fastlin._csr import Csr
from fastlin._parts.ahead import Ahead
from fastlin._parts.joined import joined
from fastlin._parts.survey import Begun
from fastlin._training.epoch import run_epoch
from fastlin._training.training import Training, digest, shuffled
from fastlin.parts import Part, named, read

WINDOW_BYTES = 96 << 20  # of X; two windows are in memory


class Window(NamedTuple):
    """Rows in memory, as kernels take them, and the order in which they are stepped over."""

    X: Any  # an array, or sparse rows
    y: Array
    sample_weight: Array
    order: Array


def usual_window(begun: Begun) -> int:
    """How many parts fill a window of the usual size, at least one."""
    return max(1, WINDOW_BYTES // begun.survey.part_bytes)


def memory(begun: Begun, window: int, batch_size: int) -> list[Array | None]:
    """Room for the rows of two windows: fresh memory for each would take longer than to read them.

    None for sparse rows, of which each window has another number of entries.
    """
    if begun.survey.sparse:
        return [None, None]
    largest = sorted(begun.survey.rows)[-window:]
    shape = sum(largest) + batch_size, begun.survey.columns
    return [np.empty(shape, begun.survey.dtype) for _ in range(2)]


def windows(
    begun: Begun, window: int, batch_size: int, seed: int | None, epoch: int, limit: int, room: list[Array | None]
) -> Iterator[Window]:
    """The windows of an epoch, of `limit` rows together.

    seed : of the shuffling; None takes rows in their order.  room : where they lie in
        turns, each until the next but one.
    """
    numbers: Sequence[int] = range(len(begun.parts))
    if seed is not None:
        numbers = np.random.default_rng([seed, epoch]).permutation(len(numbers)).tolist()
    left: list[Window] = []  # rows that filled no batch
    turn = 0
    for first in range(0, len(numbers), window):
        X, y, weight = _filled(begun, left, numbers[first : first + window], room[turn])
        n = len(X)
        whole = n if first + window >= len(numbers) else n // batch_size * batch_size
        # The parts' own order has the key (seed, epoch); a window's begins with the number of its first part, from 1.
        order = np.arange(n) if seed is None else shuffled(n, batch_size, seed, epoch, first + 1)
        taken = min(whole, limit)
        limit -= taken
        rest = order[whole:]
        left = [Window(X[rest], y[rest], weight[rest], rest)] if len(rest) else []
        if taken:
            turn = 1 - turn
            yield Window(X, y, read_only(weight), order[:taken])
        if not limit:
            return


def _filled(
    begun: Begun, left: list[Window], numbers: Sequence[int], room: Array | None
) -> tuple[Array | Csr, Array, Array]:
    """The rows that are left and those of some parts, one after the other, where there is room for them."""
    end, sparse, ys, weights = 0, [], [], []
    for rows in chain(left, (_rows(begun, number) for number in numbers)):
        start, end = end, end + len(rows.X)
        if room is None:
            sparse.append(rows.X)
        else:
            room[start:end] = rows.X
        ys.append(rows.y)
        weights.append(rows.sample_weight)
        del rows  # a part is dropped before the next is read
    X = joined(sparse) if room is None else room[:end]
    return X, np.concatenate(ys), np.concatenate(weights)


def _rows(begun: Begun, number: int) -> Window:
    """The rows of a part that are not ignored."""
    part = read(begun.parts._sources[number], number)
    return named(number, lambda: _kept(begun, part, number))


def _kept(begun: Begun, part: Part, number: int) -> Window:
    rows, d = begun.survey.rows[number], begun.survey.columns
    if part.X.shape != (rows, d):
        raise ValueError(f"X had shape {(rows, d)} at first and has {part.X.shape} now; a part must give the same rows")
    X, y, weight = begun.rows(part)
    W = begun.W
    X = _check.check_X(X, W, begun.objective.bias)
    own = _check.labels_or_targets(begun.objective.loss, y, rows, W)
    weight = _check.row_weights(weight, rows, _check.native(W))
    order = np.arange(rows)
    if begun.rows.ignore_index is not None:
        order = np.flatnonzero(np.not_equal(_check.array("y", part.y), begun.rows.ignore_index))
        X, own, weight = X[order], own[order], weight[order]
    return Window(X, own, weight, order)


@dataclass(kw_only=True)
class PartsTraining(Training):
    """A run over parts; its `inputs` have no rows."""

    begun: Begun
    window: int

    def __post_init__(self) -> None:
        super().__post_init__()
        self._room = memory(self.begun, self.window, self.batch_size)

    def _run_rows(self, of_steps: list[float] | None) -> float:
        limit = self.count
        if self.steps is not None:
            limit = min(limit, (self.steps - self.epoch * self.batches) * self.batch_size)
        seed, total = self.seed if self.shuffle else None, 0.0
        several = windows(self.begun, self.window, self.batch_size, seed, self.epoch, limit, self._room)
        with Ahead(several) as found:
            for X, y, weight, order in found:
                inputs = Inputs(self.W, X, y, weight)
                how = self.scale_shift, order, self.batch_size, self.optimizer, self.average, of_steps
                total += len(order) * run_epoch(self.objective, inputs, *how)
                del X, y, weight, inputs  # before the window after the next is begun
        return total / limit

    @property
    def count(self) -> int:
        return self.begun.counted

    def what_spoilt_the_loss(self) -> str:
        loss = self.history["loss"][-1]
        return (
            f"the loss of epoch {self.epoch} is {loss}: a part holds NaN or Inf, or the steps are too long: pass a "
            f"smaller lr, clip_norm= to the optimizer, or x_scale and x_shift"
        )

    def _describe_arguments(self) -> dict[str, Any]:
        return super()._describe_arguments() | described_parts(self.begun) | {"window": self.window}


def described_parts(begun: Begun) -> dict[str, Any]:
    """What is fitted, in the place of what `described` says of arrays: labels are told by their numbers."""
    seen = begun.survey
    kind = f"{'sparse ' * seen.sparse}{seen.dtype}"
    return {
        "X": f"{kind} {seen.columns} columns, parts of rows {digest(np.array(seen.rows))}",
        "y": f"{digest(seen.y)}, {digest(seen.counts)}",
        "sample_weight": digest(seen.weight),
        "class_weight": digest(begun.rows.of_class),
        "ignore_index": begun.rows.ignore_index,
    }
