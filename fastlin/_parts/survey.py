"""The first look at parts: how many rows, and which labels. Fits begin with it; of a mapped file it reads y alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from fastlin import _check
from fastlin._check import Array, Inputs
from fastlin._csr import Csr
from fastlin._labels import LabelOptions, class_weights, without
from fastlin._objective import Objective, start_weights
from fastlin._parts.over_parts import Reweighted, labelled
from fastlin.parts import Part, Parts


class Survey(NamedTuple):
    """What a look has found."""

    rows: tuple[int, ...]  # of each part
    columns: int
    dtype: np.dtype[Any]  # that holds the numbers of X of every part
    y: Array  # the labels, sorted, each once; of targets one row
    counts: Array  # of the rows of each label, or of all rows with targets
    weight: Array  # the sums of their sample_weight
    weighted: bool  # whether the parts give sample_weight
    sparse: bool  # whether X are sparse rows
    entries: int  # numbers of X in all parts
    most_entries: int  # in the largest part

    @property
    def n(self) -> int:
        """All rows."""
        return sum(self.rows)

    @property
    def X(self) -> Array | Csr:
        """No row of X, but its columns and type."""
        if self.sparse:
            return Csr(np.empty(0, self.dtype), np.empty(0, np.int64), np.zeros(1, np.int64), self.columns)
        return np.empty((0, self.columns), self.dtype)

    @property
    def part_bytes(self) -> int:
        """Of X, in the largest part, of numbers with as many bytes as those of any."""
        return max(1, self.most_entries * (self.dtype.itemsize + (8 if self.sparse else 0)))


class Begun(NamedTuple):
    """What a fit over parts begins with."""

    objective: Objective
    W: Array
    parts: Parts  # as they were given
    rows: Reweighted  # what options make of them
    counted: int  # rows whose labels are not ignored
    survey: Survey

    def no_rows(self) -> Inputs:
        """Inputs of no rows, which say what W and the columns of X are."""
        return Inputs(self.W, self.survey.X, self.survey.y[:0], np.empty(0, self.W.dtype))

    @property
    def weighted(self) -> Parts:
        """The parts with the weights that options ask for."""
        return (
            self.parts
            if self.rows.ignore_index is None and self.rows.of_class is None
            else self.parts._mapped(self.rows)
        )


@dataclass(frozen=True)
class _Look:
    """What one part has; all of its y if they are labels."""

    labels: bool  # whether y are labels, whatever their type

    def __call__(self, part: Part) -> tuple[Any, ...]:
        X, given, sample_weight = labelled(part)
        y = _check.array("y", given)
        weight = _check.row_weights(sample_weight, len(X), np.dtype(np.float64))
        sparse = isinstance(X, Csr)
        shape = len(X), X.shape[1], X.dtype, X.nnz if sparse else X.size, sparse
        if self.labels or (y.ndim == 1 and y.dtype.kind in "iub"):
            if y.ndim != 1:
                raise ValueError(f"y has shape {y.shape}; expected labels ({len(X)},)")
            found, of = np.unique(y, return_inverse=True)
            counts = np.bincount(of, minlength=len(found))
            return *shape, found, counts, np.bincount(of, weight, len(found)), sample_weight is not None
        return *shape, y[:1].copy(), np.array([len(X)]), np.array([weight.sum()]), sample_weight is not None


def survey(parts: Parts, labels: bool = False) -> Survey:
    """One pass over the parts. Raises ValueError for parts that differ in their columns, or of no rows."""
    seen: dict[int, Any] = {}
    parts._each(_Look(labels), seen.__setitem__, touch=False)
    looks = [seen[number] for number in range(len(parts))]
    rows, columns, dtypes, entries, sparse, y, counts, weights, weighted = zip(*looks, strict=True)
    for number, (d, own) in enumerate(zip(columns, y, strict=True)):
        if d != columns[0]:
            raise ValueError(f"part {number} has {d} columns of X but part 0 has {columns[0]}; they must be as many")
        if sparse[number] != sparse[0]:
            kinds = ("an array X", "sparse rows")
            raise ValueError(
                f"part {number} has {kinds[sparse[number]]} and part 0 {kinds[sparse[0]]}; all must be of one kind"
            )
        if own.shape[1:] != y[0].shape[1:]:
            raise ValueError(f"y of part {number} has rows of shape {own.shape[1:]}, and of part 0 {y[0].shape[1:]}")
    if not sum(rows):
        raise ValueError("the parts have 0 rows; there must be at least one")
    dtype = np.result_type(*set(dtypes))
    filled = [i for i in range(len(rows)) if rows[i]]
    labels_of = np.concatenate([y[i] for i in filled])
    count, weight = (np.concatenate([some[i] for i in filled]) for some in (counts, weights))
    if labels or (labels_of.ndim == 1 and labels_of.dtype.kind in "iub"):
        found, of = np.unique(labels_of, return_inverse=True)
        count, weight = (np.bincount(of, some, len(found)) for some in (count, weight))
    else:
        found, count, weight = labels_of[:1], count.sum(keepdims=True), weight.sum(keepdims=True)
    how_much = sparse[0], sum(entries), max(entries)
    return Survey(rows, columns[0], dtype, found, count, weight, any(weighted), *how_much)


def begin(
    objective: Objective, parts: Parts, W: ArrayLike | None, options: LabelOptions, dtype: DTypeLike | None = None
) -> Begun:
    """Where a fit begins, and the parts with the weights that its options ask for."""
    seen = survey(parts)
    objective = objective.for_targets(seen.y)
    labels, weight, counted = seen.y, seen.weight, seen.n
    if options.ignore_index is not None:
        _, kept = without(labels, len(labels), options.ignore_index)
        if not kept.size:
            raise ValueError(f"all labels in y are ignore_index={options.ignore_index}; there must be another one")
        labels, weight, counted = labels[kept], weight[kept], int(seen.counts[kept].sum())
    name, classes, bias = objective.loss.name, options.classes, objective.bias
    numbers = labels.ndim == 1 and labels.dtype.kind in "iub"
    if classes is not None and numbers and W is None and labels[-1] >= _check.count("classes", classes):
        raise ValueError(f"the parts have the label {labels[-1]} but classes={classes}; labels must be below it")
    start = start_weights(name, W, seen.X, labels, bias, dtype, classes)
    if len(start) != seen.columns + bias:
        _check.check_X(seen.X, start, bias)  # which says it
    if objective.needs_float64:
        objective.refuse_float32(start)
    of_class = None
    if options.class_weight is not None:
        if not numbers or (objective.loss.targets is not None and start.shape[1] == 1):
            raise ValueError("class_weight needs labels, integers that each name a column of W; pass sample_weight")
        c = start.shape[1]
        of_class = class_weights(options.class_weight, _check.labels(labels, len(labels), c), weight, c)
    return Begun(objective, start, parts, Reweighted(options.ignore_index, of_class), counted, seen)
