"""Parts, of arrays and of files that may be damaged, and states of full-batch fits."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

import fastlin as fl
from fastlin._files import store

from . import laws
from .harness import Row, fresh
from .laws import require
from .rows_files import CHANGED, LOADED, RESUME_WORDS, read
from .rows_losses import problem as of_loss
from .strategies import Arg, Sizes, count, dense_features, features, labels

Arguments = dict[str, Arg]


def _loss(W: Any, X: Any, y: Any, sample_weight: Any = None, rows: Any = None, **how: Any) -> Any:
    return fl.softmax_loss(W, fl.Parts.from_arrays(X, y, sample_weight, rows=rows), **how)


def _loss_of_one(W: Any, X: Any, y: Any, sample_weight: Any = None, **how: Any) -> Any:
    return fl.softmax_loss(W, fl.Parts([(X, y, sample_weight)]), **how)


def _of_loss(sizes: Sizes) -> Arguments:
    found = of_loss(sizes, labels(sizes))
    del found["reduction"]
    return found | {"X": dense_features(sizes), "rows": count(1, st.integers(1, 40), optional=False, none=True)}


def _of_sparse(sizes: Sizes) -> Arguments:
    found = of_loss(sizes, labels(sizes))
    del found["reduction"]
    return found | {"X": features(sizes)}


def near_that_of_all_rows(row: Row, call: Any, arguments: dict[str, Any], value: Any) -> None:
    """The loss over the arrays, up to rounding."""
    given = {name: A for name, A in arguments.items() if name not in ("rows", "out")}
    if call.odd:  # numbers at the edge of what floats hold, which sums in another order leave
        return
    loss, _ = fl.softmax_loss(**given)
    close = 1e-3 if value[1].dtype.itemsize == 4 else 1e-9
    require(bool(np.isclose(value[0], loss, rtol=close, atol=close)), f"{value[0]} over parts, {loss} over all rows")


def same_parts(row: Row, call: Any, arguments: dict[str, Any], value: Any) -> None:
    """The same bits for any number of threads."""
    for team in (1, 3):
        _, found = fresh(row, call, threads=team)
        require(laws.alike(found, value), f"other bits with {team} threads")


def _read(path: Any) -> list[Any]:
    return list(fl.Parts.from_npy(path, rows=5))


def _path(sizes: Sizes) -> Arguments:
    return {"path": read("X.npy", wrong="np")}


def are_rows(row: Row, call: Any, arguments: dict[str, Any], value: Any) -> None:
    """At least one part, each of rows."""
    require(bool(value) and all(part.X.ndim == 2 for part in value), "a part has no rows")


PROBLEM = {"max_iter": 4, "reg": 0.01, "tol": 0.0}  # 0 goes on without a warning
GONE = "gone"


@cache
def _state() -> dict[str, Any]:
    """Of a fit of four iterations."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.npz"
        fl.minimize(**_rows(), **PROBLEM, checkpoint=path)
        return store.load(path)


def _rows() -> dict[str, Any]:
    rng = np.random.default_rng(3)
    return {"X": rng.standard_normal((12, 4)), "y": np.arange(12) % 3}


def _goes_on(key: Any, value: Any) -> Any:
    """From the state with one entry changed; key None changes nothing."""
    state = dict(_state())
    if key is not None:
        if isinstance(value, str) and value == GONE:
            state.pop(key, None)
        else:
            state[key] = value
    return fl.minimize(**_rows(), **(PROBLEM | {"max_iter": 6}), resume=state)


def _states(sizes: Sizes) -> Arguments:
    keys = [*sorted(_state()), "lbfgs.more", "newton.x", "argument.more", "zzz"]
    return {
        "key": Arg(st.just(None), st.sampled_from(keys), None, False),
        "value": Arg(st.just(None), st.sampled_from([*CHANGED, GONE]), None, False),
    }


def a_minimum(row: Row, call: Any, arguments: dict[str, Any], value: Any) -> None:
    """A W of the same shape, and a loss for the start and each iteration."""
    require(value.W.shape == (5, 3) and value.W.dtype == np.float64, f"W is {value.W.dtype} {value.W.shape}")
    require(len(value.history["loss"]) == value.solved.n_iter + 1, f"{len(value.history['loss'])} losses")


LAWS = near_that_of_all_rows, same_parts
WORDS = "part", "parts", "x_scale", "x_shift"  # the last two are looked at before any part
ROWS = (
    Row("Parts (a loss)", _loss, _of_loss, LAWS, writes=("out",), words=WORDS),
    Row("Parts (a loss, sparse)", _loss_of_one, _of_sparse, LAWS, writes=("out",), words=WORDS),
    Row("Parts (a file)", _read, _path, (are_rows,), words=(*LOADED, "part", "X", "numbers"), files=True, alone=True),
    Row(
        "minimize (resume a state)",
        _goes_on,
        _states,
        (a_minimum,),
        words=(*RESUME_WORDS, "lbfgs", "whitened", "loss", "passes", "checkpoint"),
        alone=True,
        quiet=False,
        cost=2,
    ),
)
