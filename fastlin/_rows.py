"""What a row of the table (fastlin/ops.py) is: of a loss, a storage, an update, another function, or a driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from fastlin._contract import Form
from fastlin._csr import Csr

MOST_ITEMS = 64  # of a phase of a team of threads, and parts of the rows


class Hyper(NamedTuple):
    """A hyper-parameter: its default, the interval it must lie in, and a value off its neutral one for tests."""

    default: float
    interval: str
    test_value: float


@cache
def bounds(interval: str) -> tuple[float, float, bool, bool]:
    """The ends of an interval, and whether they belong to it."""
    low, high = interval[1:-1].split(",")
    return float(low), float(high), interval[0] == "[", interval[-1] == "]"


def inside(value: float, interval: str) -> bool:
    """Whether `value` lies in an interval written as in mathematics, "[0, 1)"; NaN never does."""
    low, high, with_low, with_high = bounds(interval)
    return low < value < high or (with_low and value == low) or (with_high and value == high)


class Op(NamedTuple):
    """What the function of this name promises in every backend."""

    # "function", "layout", "product", "scores", "gradient", "gather", "epilogue", "update", "stage" or "reduction"
    kind: str
    takes: Mapping[str, Form]  # its parameters in order and what each is: arrays, then scalars
    writes: tuple[str, ...]  # the arguments it overwrites; it only reads the others
    state: tuple[str, ...] = ()  # optimizer slots, shaped like w, zero at the start
    hyper: Mapping[str, Hyper] = MappingProxyType({})
    where: tuple[str, ...] = ()  # what holds between the sizes

    @property
    def args(self) -> tuple[str, ...]:
        """The names of its parameters."""
        return tuple(self.takes)


@dataclass(frozen=True, eq=False)
class Loss:
    """A loss is an epilogue: scores in, weighted d(loss)/d(scores) out in place, the weighted sum returned."""

    name: str
    hyper: Mapping[str, Hyper] = field(default_factory=dict)
    targets: str | None = None  # the interval in which every score's target must lie; None: y are labels
    predicts: str = "classes"  # or "values": the scores themselves, of a regression
    probabilities: str | None = None  # "softmax" or "sigmoid" of the scores, where they are the model's
    soft: str | None = None  # the loss that takes its place where y are targets (n, c)

    @property
    def epilogue(self) -> str:
        """The name of its function in every backend."""
        return f"{self.name}_epilogue"

    @property
    def binary(self) -> bool:
        """Whether one column of W is class 1 against class 0."""
        return self.targets is not None and self.predicts == "classes" and self.probabilities != "softmax"

    @property
    def op(self) -> Op:
        """What that function promises."""
        takes = {
            "scores": "real (c, rows) rows",
            "y" if self.targets is None else "targets": self.y("rows"),
            "sample_weight": "real (rows) contiguous",
            "scratch": "real (3, block) rows",
            **dict.fromkeys(self.hyper, "any"),
        }
        return Op("epilogue", takes, writes=("scores", "scratch"), hyper=self.hyper, where=("rows <= block",))

    def y(self, rows: str) -> str:
        """What its labels or targets are."""
        return f"int32 ({rows}) contiguous" if self.targets is None else f"real ({rows}, c) contiguous"


@dataclass(frozen=True, eq=False)
class Storage:
    """How X lies in memory. It owns the scores, the gradient and the gathering of rows: four functions a backend."""

    name: str
    reads: str | None  # the dtype of X; None: that of W
    W_dtypes: tuple[str, ...] = ("float32", "float64")  # the dtypes of W that it is read beside
    converts: bool = True  # rows become numbers of W's dtype in `row_buffer`, a block at a time
    layout: str = "class_major"  # of W and dW inside kernels
    gathers: bool = True  # whether it has the functions that an epoch's batches need

    def holds(self, X: Any, W_dtype: np.dtype[Any]) -> bool:
        """Whether its functions read the rows of this X where they lie, beside weights of this dtype."""
        return not isinstance(X, Csr) and W_dtype in self.W_dtypes and in_place(X, self.reads or W_dtype)

    @property
    def forms(self) -> dict[str, Any]:
        """What its X is, and W and dW in its layout."""
        return {"X": self.X, **LAYOUTS[self.layout]}

    def example(self, X: np.ndarray[Any, Any]) -> Any:
        """Rows of this storage, of zeros, as many as X has and of its dtype where the storage leaves that open."""
        return X.astype(self.reads or X.dtype)

    @property
    def ops(self) -> dict[str, Op]:
        """What its functions promise.

        scores, gradient: of the rows start, start + 1, ... of X, as many as `scores` has columns. gather_scores,
        gather_gradient: of the rows order[0], order[1], ..., as many again, and of the columns first ... last - 1
        only; b belongs to column 0. The rows behind them in the order may be prefetched. The gradient finds in
        `row_buffer` what the scores have left there, or reads X again. `scale_shift` is (2, d), what each column is
        multiplied by and what is then added, or (0, d): as they are.
        """
        X, W, S = self.X, "real (c, d+1) rows", "real (c, rows) rows"
        some = {"X": X, "start": "size"}
        several = {"X": X, "order": "int64 (known) contiguous", "first": "size", "last": "size"}
        buffer = {"row_buffer": "real (block, d) rows"}
        inside = ("start + rows <= n", *(("rows <= block",) if self.converts else ()))
        gathered = ("first <= last", "last <= d", "rows <= block", "rows <= known")
        scale_shift = {"scale_shift": "real (0|2, d) contiguous"}
        return {
            f"{self.name}_scores": Op(
                "scores", {**some, "W": W, **buffer, "scores": S}, writes=("row_buffer", "scores"), where=inside
            ),
            f"{self.name}_gradient": Op(
                "gradient", {**some, **buffer, "dscores": S, "dW": W}, writes=("dW",), where=inside
            ),
            f"{self.name}_gather_scores": Op(
                "gather",
                {**several, **scale_shift, **buffer, "W": W, "scores": S},
                writes=("row_buffer", "scores"),
                where=gathered,
            ),
            f"{self.name}_gather_gradient": Op(
                "gather",
                {**several, **scale_shift, **buffer, "dscores": S, "dW": W},
                writes=("dW",),
                where=gathered,
            ),
        }

    @property
    def X(self) -> Form:
        """What its X is."""
        return f"{self.reads or 'real'} (n, d) unit"


@dataclass(frozen=True, eq=False)
class CsrStorage(Storage):
    """Sparse rows. A non-zero touches one row of W and of dW, which therefore are feature-major."""

    converts: bool = False
    layout: str = "feature_major"
    gathers: bool = False
    indices: str = "int32"  # their dtype

    def holds(self, X: Any, W_dtype: np.dtype[Any]) -> bool:
        """Whether its functions read these sparse rows beside weights of this dtype."""
        if not isinstance(X, Csr) or W_dtype not in self.W_dtypes:
            return False
        return bool(X.dtype == (self.reads or W_dtype) and X.arrays.indices.dtype == self.indices)

    def example(self, X: np.ndarray[Any, Any]) -> Csr:
        """Rows without entries."""
        n, d = X.shape
        return Csr(np.empty(0, self.reads or X.dtype), np.empty(0, self.indices), np.zeros(n + 1, np.int64), d)

    @property
    def ops(self) -> dict[str, Op]:
        """What its functions promise: scores and gradient, of the rows start, start + 1, ... of X.

        W and dW are (d, c), or (d + 1, c) with b as the last row. `row_buffer` is not used.
        """
        W, S = "real (d|d+1, c) rows", "real (c, rows) rows"
        some, buffer = {"X": self.X, "start": "size"}, {"row_buffer": "real (block, d) rows"}
        inside = ("start + rows <= n",)
        return {
            f"{self.name}_scores": Op(
                "scores", {**some, "W": W, **buffer, "scores": S}, writes=("scores",), where=inside
            ),
            f"{self.name}_gradient": Op(
                "gradient", {**some, **buffer, "dscores": S, "dW": W}, writes=("dW",), where=inside
            ),
            **({self.columns: self._of_columns} if self.columns == f"{self.name}_columns" else {}),
        }

    @property
    def columns(self) -> str:
        """The function of these rows' columns, whatever the type of the rows' indices is."""
        return "csr_columns" if self.reads is None else f"csr_{self.reads}_columns"

    @property
    def _of_columns(self) -> Op:
        """dW = scale times the gradient of the columns start, start + 1, ... of X, as many as dW has rows.

        If it `adds`, the dW that it finds is a term of the sum: X may come in several segments of its rows.
        XT has the columns of X as its rows, and n columns. `slopes` are of all rows of X, whose entries ascend within
        each column; they are summed by `parts` of the rows.
        """
        takes: dict[str, Form] = {
            "XT": {
                "data": f"{self.reads or 'real'} (nnz) contiguous",
                "rows": "int32 (nnz) contiguous",
                "indptr": "int64 (d+1) contiguous",
                "n": "size",
            },
            "start": "size",
            "parts": "size",
            "slopes": "real (n, c) rows",
            "adds": "any",
            "scale": "any",
            "dW": "real (count, c) rows",
        }
        where = "start + count <= d", "1 <= parts", f"parts <= {MOST_ITEMS}"
        return Op("columns", takes, writes=("dW",), where=where)

    @property
    def X(self) -> Form:
        """What its X is: kernels/records.py's CsrRows."""
        return {
            "data": f"{self.reads or 'real'} (nnz) contiguous",
            "indices": f"{self.indices} (nnz) contiguous",
            "indptr": "int64 (n+1) contiguous",
            "d": "size",
        }


# W and dW inside kernels. Feature-major weights without rows stand for a W that is read where it lies.
LAYOUTS: dict[str, dict[str, Form]] = {
    "class_major": {"weights": "real (c, d+1) rows", "parts": "real (parts, c, d+1) rows"},
    "feature_major": {"weights": "real (0|weights_rows, c) rows", "parts": "real (parts, weights_rows, c) rows"},
}


def in_place(X: np.ndarray[Any, Any], dtype: Any) -> bool:
    """Whether kernels can read the rows of a matrix where they lie: native, aligned, a row's numbers side by side."""
    unit = X.strides[1] == X.itemsize or X.shape[1] <= 1
    return bool(X.dtype == dtype and X.flags.aligned and unit and X.strides[0] % X.itemsize == 0)


class Driver(NamedTuple):
    """A loop over functions of the table: NAME_driver(*pieces) of a backend returns kernel(*args).

    What an argument is may depend on the pieces: {X}, {y}, {hyper}, {states} and {scalars} stand for that.
    """

    pieces: tuple[str, ...]
    takes: Mapping[str, Form]
    writes: tuple[str, ...]
    where: tuple[str, ...] = ()

    @property
    def args(self) -> tuple[str, ...]:
        """The names of the kernel's parameters."""
        return tuple(self.takes)


FLAT = "real (n) contiguous"


def update(hyper: Mapping[str, Hyper], *state: str, counts: bool = False) -> Op:
    """The row of an optimizer's update, in place over flat arrays of one size.

    Its arguments: w, g, the state, t if it counts steps (from 1), and the hyper-parameters, lr first.
    """
    scalars = (*(("t",) if counts else ()), *hyper)
    takes = dict.fromkeys(("w", "g", *state), FLAT) | dict.fromkeys(scalars, "any")
    return Op("update", takes, writes=("w", *state), state=state, hyper=hyper)
