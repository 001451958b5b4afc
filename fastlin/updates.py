"""The optimizer steps as functions, for those who keep the state themselves. One per row of the table, made from it.

>>> import numpy as np, fastlin as fl
>>> w, g, m, v = np.ones(3), np.full(3, 0.5), np.zeros(3), np.zeros(3)
>>> fl.adam_update(w, g, m, v, 1, lr=0.1)
>>> w[0].round(6)
np.float64(0.9)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from fastlin import _check, _pool, _step, ops
from fastlin.kernels.records import NO_STAGES
from fastlin.ops import OPS, Op

_DOC = """

{writes} are overwritten, g is only read: arrays of one shape and dtype, float32 or float64, contiguous in one order.
State is zero before the first step. lr has no default; the other hyper-parameters have those of the class.
backend, threads : as in `softmax_loss`.
Raises ValueError or TypeError for bad input; nothing has been written then.
"""


def _make(rule: str, op: Op) -> Callable[..., None]:
    """The function of a row: its arrays, t if it counts, then the hyper-parameters by name."""
    given = [inspect.Parameter(arg, inspect.Parameter.POSITIONAL_OR_KEYWORD) for arg in op.args if arg not in op.hyper]
    named = [inspect.Parameter(arg, inspect.Parameter.KEYWORD_ONLY, default=h.default) for arg, h in op.hyper.items()]
    named[0] = named[0].replace(default=inspect.Parameter.empty)  # lr
    how = [inspect.Parameter(arg, inspect.Parameter.KEYWORD_ONLY, default=None) for arg in ("backend", "threads")]
    signature = inspect.Signature([*given, *named, *how])

    def update(*args: Any, **words: Any) -> None:
        bound = signature.bind(*args, **words)
        bound.apply_defaults()
        values = bound.arguments
        scalars: tuple[float, ...] = _check.hyper(op.hyper, values)
        if "t" in values:
            scalars = (_check.count("t", values["t"]), *scalars)
        threads = _pool.thread_limit(values["threads"])
        w, g, *state = _check.step_arrays({arg: values[arg] for arg in ("w", "g", *op.state)}, op.writes)
        _step.update(rule, w, g, tuple(state), scalars, NO_STAGES, ops.resolve(values["backend"]), threads)

    update.__name__ = update.__qualname__ = rule
    update.__doc__ = inspect.cleandoc(op.doc) + _DOC.format(writes=", ".join(op.writes))
    update.__signature__ = signature  # type: ignore[attr-defined]
    return update


_MADE = {rule: _make(rule, op) for rule, op in OPS.items() if op.kind == "update"}

__all__ = list(_MADE)


def __getattr__(name: str) -> Callable[..., None]:
    """The functions made from the table: `adam_update` and whatever rows are added."""
    if name not in _MADE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _MADE[name]
