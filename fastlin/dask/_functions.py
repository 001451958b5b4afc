"""Losses and `minimize` over dask arrays: those of `fastlin`, which are given the chunks as parts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec

import fastlin as fl
from fastlin import _check
from fastlin._check import Array
from fastlin._evaluate import LossFunction
from fastlin.dask._inputs import chunks
from fastlin.train import TrainResult

P = ParamSpec("P")


def _over_chunks(loss: LossFunction[P]) -> Callable[P, tuple[float, Array]]:
    """The loss over dask arrays, with the same arguments."""
    arguments_of = signature(loss)

    @wraps(loss)
    def over_chunks(*arguments: P.args, **named: P.kwargs) -> tuple[float, Array]:
        given: dict[str, Any] = arguments_of.bind(*arguments, **named).arguments
        parts = chunks(given.pop("X"), given.pop("y", None), given.pop("sample_weight", None))
        evaluate: Callable[..., tuple[float, Array]] = loss
        return evaluate(X=parts, **given)

    over_chunks.__module__ = "fastlin.dask"
    over_chunks.__doc__ = f"""`fl.{loss.__name__}` over dask arrays: the same arguments and answers.

    Parameters
    ----------
    X : dask array (n, d) of what `fl.{loss.__name__}` takes; its chunks hold whole rows.
    y, sample_weight : dask arrays of as many rows; where their chunks differ from those of X they are rechunked.
    W and all others : as there, NumPy's arrays and numbers. reduction="none" is not for dask arrays. A task uses one
        thread unless `threads` says otherwise.

    Returns
    -------
    loss : float, and dW : array like W, computed when the call returns, with the bits that `fl.{loss.__name__}` has
        for `fl.Parts` of the same chunks, whatever workers there are.

    Raises
    ------
    ValueError, TypeError : for bad input, naming the argument, and the chunk as "part"; `out` is untouched then.
    """
    return over_chunks


softmax_loss = _over_chunks(fl.softmax_loss)
svm_loss = _over_chunks(fl.svm_loss)
logistic_loss = _over_chunks(fl.logistic_loss)
sigmoid_squared_loss = _over_chunks(fl.sigmoid_squared_loss)
squared_error_loss = _over_chunks(fl.squared_error_loss)
absolute_error_loss = _over_chunks(fl.absolute_error_loss)
huber_loss = _over_chunks(fl.huber_loss)


def minimize(
    X: Any, y: Any, *, sample_weight: Any = None, client: Any = None, progress: bool = False, **options: Any
) -> TrainResult:
    """`fl.minimize` over dask arrays: a full-batch fit, whose solver runs here and whose passes over X workers do.

    Parameters
    ----------
    X : dask array (n, d); its chunks hold whole rows. The workers hold them until the fit ends.
    y, sample_weight : dask arrays of as many rows; where their chunks differ from those of X they are rechunked.
    client : the distributed.Client to use; None: the current one, or if there is none Dask's threads.
    progress : show a bar for each pass over X (needs `fastlin[progress]`).
    options : all other arguments of `fl.minimize`, such as loss, reg, solver and tol. A task uses one thread unless
        `threads` says otherwise.

    Returns
    -------
    TrainResult, with NumPy's arrays, and the bits of `fl.minimize` for `fl.Parts` of the same chunks, whatever workers
    there are, come and go.

    Warns
    -----
    ConvergenceWarning : as `fl.minimize`.

    Raises
    ------
    ValueError, TypeError : for bad input, naming the argument, and the chunk as "part".
    """
    with using(client):
        parts = chunks(X, y, sample_weight, held=True, progress=_check.flag("progress", progress))
        return fl.minimize(parts, **options)


def using(client: Any) -> AbstractContextManager[Any]:
    """A block in which this client is the current one."""
    if client is None:
        return nullcontext()
    if not hasattr(client, "as_current"):
        raise TypeError(f"client must be a distributed.Client or None; found {_check.kind(client)}")
    found: AbstractContextManager[Any] = client.as_current()
    return found
