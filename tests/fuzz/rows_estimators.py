"""The estimators: their own parameters. What they make of X and y is looked at by scikit-learn's check_estimator."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

import fastlin as fl

from . import laws
from .harness import Row
from .laws import require
from .rows_optim import OPTIMIZERS
from .specs import Make, Odd
from .strategies import Arg, Sizes, backend, choice, count, flag, number, penalty, shapes, threads

Arguments = dict[str, Arg]
SHAPES = shapes(((12, 40), (1, 6), (2, 4)))


def of_estimator(sizes: Sizes) -> Arguments:
    """What all have, and the sizes of the rows that they are fitted to."""
    fraction = number("(0, 1)", usual=(0.1, 0.5))
    return {
        "rows": Arg(st.just((sizes.n, sizes.d, sizes.c)), optional=False),
        "reg": penalty(),
        "fit_intercept": flag(),
        "solver": choice(["auto", "lbfgs"]),
        "tol": number("[0, inf)", usual=(1e-6,), none=True),
        "max_iter": count(1, st.integers(1, 4), none=True),
        "warm_start": flag(),
        "early_stopping": flag(),
        "validation_fraction": Arg(fraction.good, None, fraction.bad),
        "n_threads": threads(),
        "backend": backend(sizes),
    }


def fitted(kind: str) -> Callable[..., Any]:
    """Fits an estimator of these parameters to some rows; its coefficients and its predictions."""

    def fit(rows: tuple[int, int, int], **parameters: Any) -> Any:
        n, d, c = rows
        rng = np.random.default_rng(n)
        X, y = rng.standard_normal((n, d)), np.arange(n) % c
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of few iterations
            model = getattr(fl, kind)(**parameters).fit(X, y)
        return model.coef_, model.intercept_, model.predict(X)

    return fit


def shapes_fit(row: Row, call: Any, arguments: dict[str, Any], value: Any) -> None:
    """One row of coefficients for each score, and a prediction for each row."""
    n, d, _ = arguments["rows"]
    coef, intercept, predicted = value
    require(coef.shape[-1] == d and np.size(intercept) == coef.size // d, f"coef_ has shape {coef.shape}")
    require(predicted.shape == (n,), f"predictions have shape {predicted.shape}")


def of_sgd(sizes: Sizes) -> Arguments:
    """The parameters of steps."""
    return {
        "rows": Arg(st.just((sizes.n, sizes.d, sizes.c)), optional=False),
        "solver": Arg(st.just("sgd"), optional=False),
        "optimizer": Arg(
            st.sampled_from([Make(f"optim.{name}", (("lr", 0.05),)) for name in OPTIMIZERS]),
            None,
            st.sampled_from([True, 3, "adam", [], Odd("object"), Odd("class"), Odd("optimizer class")]),
        ),
        "epochs": count(1, st.integers(1, 3)),
        "batch_size": count(1, st.integers(1, 50)),
        "patience": Arg(st.integers(1, 3)),
        "early_stopping": flag(),
        "random_state": Arg(st.integers(0, 99), optional=False),
        "backend": backend(sizes),
    }


def _with(more: Callable[[Sizes], Arguments]) -> Callable[[Sizes], Arguments]:
    return lambda sizes: of_estimator(sizes) | more(sizes)


OWN: dict[str, Callable[[Sizes], Arguments]] = {
    "SoftmaxClassifier": lambda _: {"label_smoothing": number("[0, 1]", usual=(0.1,))},
    "SVMClassifier": lambda _: {
        "variant": choice(["weston_watkins", "one_vs_rest"]),
        "squared": flag(),
        "margin": number("(0, inf)", usual=(1.0,)),
    },
    "LinearRegressor": lambda _: {"loss": choice(["squared_error", "huber", "absolute_error"])},
}
LAWS = (shapes_fit, laws.same_again)
ROWS = (
    *(Row(name, fitted(name), _with(own), LAWS, shapes=SHAPES, cost=2) for name, own in OWN.items()),
    *(Row(f"{name} (sgd)", fitted(name), of_sgd, LAWS, shapes=SHAPES, cost=2) for name in OWN),
)
