"""Training, searches, quasi-Newton methods, their results, and features."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from hypothesis import strategies as st

import fastlin as fl
from fastlin import ops

from . import laws
from .harness import Row, fresh
from .laws import require
from .rows_losses import few, of_scores
from .rows_optim import OPTIMIZERS
from .specs import A, Here, Make, Odd
from .strategies import (
    NO_FEATURES,
    NO_NUMBERS,
    SEEDS,
    Arg,
    Call,
    Sizes,
    Together,
    array,
    arrays,
    backend,
    choice,
    column_map,
    count,
    features,
    flag,
    ignored,
    labels,
    number,
    other_shapes,
    penalty,
    row_weights,
    shapes,
    threads,
    weights,
)

Arguments = dict[str, Arg]
SHAPES = shapes(
    ((1, 9), (0, 5), (1, 4)),
    ((5, 60), (1, 30), (2, 8)),
    ((100, 300), (1, 5), (2, 3)),
    ((1, 5), (100, 600), (1, 3)),  # columns are divided among threads
    ((1, 20), (1, 9), (63, 66)),
)
FOLDED = shapes(  # with rows for as many folds as sweep makes by itself
    ((5, 9), (0, 5), (1, 4)),
    ((5, 60), (1, 30), (2, 8)),
    ((5, 6), (100, 600), (1, 3)),
    each=4,
)
OF_LABELS = [name for name, row in ops.LOSSES.items() if row.targets is None]
OF_TARGETS = [name for name, row in ops.LOSSES.items() if row.targets is not None]
REGRESSIONS = [name for name, row in ops.LOSSES.items() if row.predicts == "values"]


ALSO = ("classes", "class_weight", "ignore_index", "sample_weight", "x_scale", "x_shift")


def fit(sizes: Sizes, *also: str) -> Arguments:
    """What all that fit a W have in common; `also` are others of `problem` that are arguments too."""
    X = features(sizes)
    found = {
        "X": Arg(X.good, X.odd, X.bad.filter(_no_features), False),
        "y": Arg(st.just(Together({})), _strange_labels(sizes), _wrong_labels(sizes), False),
        "loss": Arg(
            _loss_and_y(sizes, "classes" in also), None, choice(ops.losses()).bad.map(_with_labels(sizes)), False
        ),
        "reg": penalty(),
        "bias": Arg(st.just(sizes.bias), None, flag().bad, False),
        "backend": backend(sizes),
        "threads": threads(),
        "seed": count(0, st.integers(0, 99)),
    }
    more = label_options() | {
        "sample_weight": row_weights(sizes),
        "x_scale": column_map(sizes._replace(dtype="float64")),  # W may be of float64 where X is not
        "x_shift": column_map(sizes._replace(dtype="float64")),
    }
    return found | {name: more[name] for name in also}


def _no_features(value: Any) -> bool:
    """No matrix of numbers: W has as many rows as that has columns, and its dtype, where none is given."""
    matrix = isinstance(value, A) and len(value.shape) == 2 and value.layout != "masked"
    return not (matrix and value.dtype not in NO_FEATURES)


def _loss_and_y(sizes: Sizes, labelled: bool) -> Any:
    """A loss, labels or targets for it, and perhaps its hyper-parameter, weights to start from, rows to validate."""
    n, c = sizes.n, sizes.c
    y = A((n,), "int64", f"labels:{c}", 5)
    W = A((sizes.rows, c), "float64", "times:0.01", 7)
    found = [Together({"loss": name, "y": y}) for name in OF_LABELS]
    found += [Together({"loss": name, "y": y, "W": W}) for name in OF_LABELS]
    found += [Together({"loss": name, "y": A((n, c), "float64", "unit", 5)}) for name in OF_TARGETS]
    found += [Together({"loss": name, "y": A((n,), "float32", "normal", 5)}) for name in REGRESSIONS]
    found.append(Together({"loss": "softmax", "y": A((n, c), "float32", "unit", 5)}))
    found += [
        Together({"loss": "svm", "margin": 0.5, "y": y}),
        Together({"loss": "softmax", "label_smoothing": 0.1, "y": y}),
    ]
    if labelled:
        found += [
            Together({"loss": name, "y": y} | more)
            for name in ("softmax", "squared_one_vs_rest_svm")
            for more in (
                {"classes": c + 2},
                {"class_weight": "balanced"},
                {"classes": c, "class_weight": {0: 0.5, np.int64(c - 1): 2}},  # few rows may lack the last class
                {"classes": c, "class_weight": A((c,), "float32", "unit"), "ignore_index": -100},
            )
            if c > 1 or name == "softmax"
        ]
    return st.sampled_from(found)


def label_options() -> Arguments:
    """What is said about labels beside them; what is good is drawn with the loss."""
    return {
        "classes": Arg(st.none(), None, st.sampled_from([0, -1, 1.5, "3", True, 2**70, [], Odd("object")])),
        "class_weight": Arg(
            st.none(),
            None,
            st.sampled_from(["uniform", b"balanced", 3.0, {-1: 1.0}, {0: -1.0}, {0: "a"}, {"a": 1.0}, Odd("object")]),
        ),
        "ignore_index": Arg(st.none(), None, ignored().bad),
    }


def _with_labels(sizes: Sizes) -> Callable[[Any], Together]:
    return lambda loss: Together({"loss": loss, "y": A((sizes.n,), "int64", f"labels:{sizes.c}", 5)})


def _strange_labels(sizes: Sizes) -> Any:
    return arrays((sizes.n,), ["uint8", "int8", "uint64", "bool", ">i4", "float32"], [f"labels:{min(sizes.c, 100)}"])


def _wrong_labels(sizes: Sizes) -> Any:
    """That are of no loss: of other shapes and kinds."""
    shapes = st.sampled_from([(), (sizes.n + 2,), (sizes.n, 1, 1), (sizes.n + 2, sizes.c)])
    of_shape = shapes.flatmap(lambda shape: arrays(shape, ["int64"], ["zeros"]))
    kinds = arrays((sizes.n,), NO_NUMBERS, ["normal"])
    return st.one_of(of_shape, kinds, st.sampled_from([None, "abc", {}, Odd("object"), Odd("ragged"), Odd("function")]))


def _without_W(found: Arguments) -> Arguments:
    """For functions that take no W to start from."""
    plain = found["loss"].good.map(lambda several: Together({k: v for k, v in several.values.items() if k != "W"}))
    return found | {"loss": Arg(plain, None, found["loss"].bad, False)}


KEPT = (Here("a.npz"), Here("b.safetensors"))


def of_train(sizes: Sizes) -> Arguments:
    """The arguments of train."""
    good = [Make(f"optim.{name}", (("lr", 0.05),)) for name in OPTIMIZERS]
    wrong = [True, 3, "adam", [], Odd("object"), Odd("class"), Odd("optimizer class"), Odd("optimizer without step")]
    wrong += [Odd("optimizer step no function"), {}, Odd("function")]
    nowhere = [Here("missing/a.npz"), Here("a.txt"), Here(""), 3, [], 1j, Odd("object"), "", "a\0b.npz"]
    X = st.tuples(
        st.builds(A, st.just((3, sizes.d)), st.just("uint8"), st.just("labels:9"), SEEDS),
        st.just(A((3,), "int64", "zeros")),
    )
    half = [A((3, sizes.d), "uint8")]
    wrong_validation = [
        3,
        "ab",
        half,
        (),
        half * 3,
        (None, None),
        {1, 2},
        Odd("object"),
        (A((3, sizes.d + 1), "uint8"), A((3,), "int64")),
    ]
    epochs, patience = count(1, st.integers(1, 3), optional=False), count(1, st.integers(1, 3), none=True)
    steps = st.integers(1, 9).map(lambda n: Together({"steps": n}))  # which are not kept
    epochs_kept = st.sampled_from([Together({"epochs": 2, "checkpoint": path}) for path in KEPT])
    average = number("(0, 1)", usual=(0.9,), none=True)
    words = average.bad.filter(lambda value: value != "polyak")
    return fit(sizes, *ALSO) | {
        "optimizer": Arg(st.sampled_from([None, *good]), st.just(Odd("own optimizer")), st.sampled_from(wrong)),
        "epochs": Arg(
            st.one_of(epochs.good, steps, epochs_kept), epochs.odd, epochs.bad.filter(lambda n: n is not None), False
        ),
        "steps": Arg(st.none(), None, count(1, st.just(1)).bad.filter(lambda n: n is not None)),
        "shuffle": flag(),
        "batch_size": count(1, st.sampled_from([1, 2, 7, 64, 1000])),
        "validation": Arg(st.none(), X, st.sampled_from(wrong_validation)),
        "patience": Arg(patience.good, None, patience.bad),
        "tol": number("[0, inf)", usual=(1e-3,), none=True),
        "average": Arg(st.one_of(average.good, st.just("polyak")), average.odd, words),
        "checkpoint": Arg(st.none(), None, st.sampled_from(nowhere)),
        "callback": Arg(st.sampled_from([None, Odd("goes on")]), None, st.sampled_from([3, "abc", [], True])),
    }


def of_search(sizes: Sizes) -> Arguments:
    """What the searches have in common."""
    found = _without_W(fit(sizes))
    found["reg"] = number("[0, inf)", usual=(0.01,))  # of a penalty a search asks no gradient
    return found | {
        "tries": count(1, st.integers(1, 20), optional=False),
        "target": number("[0, inf)", usual=(0.0, 0.7, 1e9), none=True),
    }


def of_random_search(sizes: Sizes) -> Arguments:
    """The arguments of random_search; its bounds stand in the place of a scale."""
    scale = number("(0, inf)", usual=(1e-2,), none=True)
    pairs = [(-1.0, 1.0), [0, 2], (-1e-4, np.float64(1e-4)), (np.float32(-3), np.int64(0))]
    odd = [(0, 5e-324), (-1e30, 1e30), (A((), "float64", "zeros"), 1.0), (0.5, np.nextafter(0.5, 1))]
    wrong = [(1.0, 1.0), (1.0, -1.0), (0.0, math.inf), (math.nan, 1.0), (-1e308, 1e308), (0, 10**400), (1.0,)]
    wrong += [(0, 1, 2), (), 3, "ab", {0, 1}, {0: 1, 1: 2}, (None, 1), ("0", "1"), A((2,)), Odd("object"), (0, 1j)]
    within = {
        kind: st.sampled_from([Together({"bounds": value}) for value in values])
        for kind, values in (("good", pairs), ("odd", odd), ("bad", wrong))
    }
    both = st.just(Together({"bounds": (-1.0, 1.0), "scale": 0.1}))
    return of_search(sizes) | {
        "scale": Arg(
            st.one_of(scale.good, within["good"]),
            st.one_of(scale.odd, within["odd"]),
            st.one_of(scale.bad, within["bad"], both),
        )
    }


def of_local_search(sizes: Sizes) -> Arguments:
    """The arguments of random_local_search."""
    return of_search(sizes) | {
        "scale": number("(0, inf)", usual=(1e-2,)),
        "step": number("(0, inf)", usual=(1e-2,)),
        "temperature": number("[0, inf)", usual=(0.01, 1e9)),
    }


def stops_at_target(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """At the first loss that is no more than the target, or after all tries."""
    target, losses = arguments.get("target"), value.history["loss"]
    whole = int(arguments["tries"]) + (row.name == "random_local_search")
    reached = [target is not None and loss <= float(target) for loss in losses]
    require(not any(reached[:-1]) and (len(losses) == whole or reached[-1]), f"{len(losses)} losses to {target}")


def of_minimize(sizes: Sizes) -> Arguments:
    """The arguments of minimize."""
    found = fit(sizes, *ALSO)
    del found["seed"]
    return found | {
        "solver": choice(["auto", "lbfgs", "bfgs", "cg"] if sizes.rows * sizes.c < 60 else ["auto", "lbfgs"]),
        "max_iter": count(1, st.integers(1, 4), optional=False),
        "tol": number("[0, inf)", usual=(1e-6,)),
        "callback": Arg(st.sampled_from([None, Odd("goes on")]), None, st.sampled_from([3, "abc", [], True])),
    }


def of_sweep(sizes: Sizes) -> Arguments:
    """The arguments of sweep: a few C, always with tol=0, which goes on without a warning."""
    found = _without_W(fit(sizes, "sample_weight", "x_scale", "x_shift"))
    del found["reg"], found["seed"]
    rows = found["sample_weight"]
    positive = st.one_of(st.none(), st.just(A((sizes.n,), "float64", "positive", 3)))
    rates = {"solver": "sgd", "lr": [0.05, 0.001], "epochs": 1}
    solvers = [{"solver": "auto", "max_iter": 2}, {"solver": "lbfgs", "max_iter": 3}, rates]
    wrong = [[], [0.0], [1.0, -1.0], [math.nan], 1.0, "abc", ["a"], [[1.0]], [1j], Odd("object"), {}, [None]]
    return found | {
        "C": Arg(
            st.sampled_from([[1.0], (10, 0.1), [math.inf], A((2,), "float32", "positive", 1)]),
            st.sampled_from([[1e-320], [1e300], [5e-324, 1.0]]),
            st.sampled_from(wrong),
            optional=False,
        ),
        "sample_weight": Arg(positive, rows.good, rows.bad),
        "cv": count(2, st.sampled_from([2, 3]), none=True),
        "validation": of_train(sizes)["validation"],
        "solver": Arg(st.sampled_from([Together(words) for words in solvers]), None, choice(["auto"]).bad, False),
        "tol": Arg(st.just(0.0), None, number("[0, inf)").bad, False),
    }


def a_choice(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """The best of the given C, with scores and a fit for each setting and fold."""
    k, folds = value.scores.shape
    require(
        len(value.C) == len(value.models) == k, f"{len(value.C)} settings and {len(value.models)} fits have {k} scores"
    )
    require(all(len(fits) == folds for fits in value.models), "a fold has no fit")
    require(value.best in value.C.tolist(), f"{value.best} is none of the given C")
    require(value.predict(arguments["X"]).shape[0] == len(np.asarray(arguments["X"])), "a row has no prediction")


def same_choice(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """The same bits for 1 and 3 threads."""
    for team in (1, 3):
        _, found = fresh(row, call, threads=team)
        alike = laws.alike((found.scores, found.model.W), (value.scores, value.model.W))
        require(alike, f"other bits with {team} threads")


def a_fit(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """W (d, c), with a row for b, and a history of floats."""
    X = np.asarray(arguments["X"])
    require(value.W.shape[0] == X.shape[1] + bool(arguments.get("bias", True)), f"W has shape {value.W.shape}")
    require(value.W.dtype in (np.float32, np.float64), f"W is {value.W.dtype}")
    require(all(type(x) is float for values in value.history.values() for x in values), "the history holds no floats")
    require(value.predict(X).shape[0] == X.shape[0], "there is no prediction for each row")


def same_fit(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """The same bits for 1, 2 and 3 threads."""
    kept = _numbers(value)
    for team in (1, 2, 3):
        _, found = fresh(row, call, threads=team)
        require(laws.alike(_numbers(found), kept), f"other bits with {team} threads")


def fits_as_naive(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """In float64 the fit of another backend is the same but for rounding, where no kink decides."""
    smooth = arguments.get("loss") in ("softmax", "logistic", "squared_error", "huber", "sigmoid_squared")
    X = np.asarray(arguments["X"], np.float64)
    if (
        not smooth
        or call.odd
        or value.W.dtype != np.float64
        or (value.W.shape[1] == 1 and arguments["loss"] == "softmax")  # a gradient of rounding alone, which Adam scales
        or X.size * value.W.shape[1] > 4000
        or np.abs(X).max(initial=0) > 200
    ):
        return
    if isinstance(call.given.get("optimizer"), Make) and "Lion" in call.given["optimizer"].name:
        return
    if not np.isfinite(value.W).all() or np.abs(value.W).max(initial=0) > 1e3:
        return
    _, found = fresh(row, call, backend="naive")
    off = np.abs(found.W - value.W).max(initial=0)
    require(off <= 1e-5 * (1 + np.abs(value.W).max(initial=0)), f"W is {off:.2g} off that of the naive backend")


def _numbers(result: Any) -> tuple[Any, ...]:
    history = [np.array(values) for name, values in sorted(result.history.items()) if name != "seconds"]
    return (np.array(result.W), *history)


# ---- Results -----------------------------------------------------------------------------------------------------


def result_of(method: str) -> Callable[..., Any]:
    """A method of a result with these fields."""

    def call(W: Any, X: Any, bias: Any = False, x_scale: Any = None, x_shift: Any = None, **more: Any) -> Any:
        result = fl.TrainResult(W, bias, {}, x_scale, x_shift, loss_name=more.pop("loss_name", "softmax"))
        return getattr(result, method)(X, **more)

    return call


def of_result(sizes: Sizes) -> Arguments:
    """The arguments of scores and predict of a result."""
    found = of_scores(sizes)
    wide = features(sizes._replace(dtype="float64"))  # a float32 W takes it too
    odd = st.one_of(found["X"].odd, wide.good.filter(lambda X: X.dtype == "float64"))
    found["X"] = Arg(found["X"].good, odd, wide.bad, False)
    return {name: found[name] for name in ("W", "X", "bias", "x_scale", "x_shift")}


def of_few_of_result(sizes: Sizes) -> Arguments:
    """And those of predict for several classes."""
    return of_result(sizes) | {"k": few(sizes)}


def of_probabilities(sizes: Sizes) -> Arguments:
    """And those of predict_proba."""
    return of_result(sizes) | {"loss_name": Arg(st.sampled_from(["softmax", "logistic"]))}


def are_probabilities(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """Numbers in [0, 1]; of softmax, and of two classes by one score, the rows sum to 1."""
    W, logistic = np.asarray(arguments["W"]), arguments.get("loss_name") == "logistic"
    c = 2 if logistic and W.shape[1] == 1 else W.shape[1]
    require(value.shape == (len(np.asarray(arguments["X"])), c), f"the probabilities have shape {value.shape}")
    if np.isnan(value).any() and call.odd:
        return
    require(bool(((value >= 0) & (value <= 1)).all()), "a probability is outside of [0, 1]")
    if not logistic or W.shape[1] == 1:
        off = np.abs(value.sum(axis=1, dtype=float) - 1).max(initial=0.0)
        require(off <= 1e-5, f"probabilities sum to 1 with an error of {off:.2g}")


def of_score(sizes: Sizes) -> Arguments:
    """And those of score."""
    y = labels(sizes)
    shapes = st.sampled_from([(), (sizes.n + 2,), (sizes.n + 2, sizes.c)]).flatmap(
        lambda s: arrays(s, ["int64"], ["zeros"])
    )
    wrong = st.one_of(
        shapes, arrays((sizes.n,), NO_NUMBERS, ["normal"]), st.sampled_from([None, Odd("object"), Odd("ragged")])
    )
    return of_result(sizes) | {"y": Arg(y.good, y.odd, wrong, False)}


def a_share(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """A float in [0, 1]; NaN of no rows."""
    require(
        type(value) is float and (0 <= value <= 1 or not len(np.asarray(arguments["X"]))), f"the score is {value!r}"
    )


def _save_and_load(path: Any, W: Any, bias: Any = True, x_scale: Any = None, loss_name: str = "softmax") -> Any:
    fl.TrainResult(W, bias, {}, x_scale, loss_name=loss_name).save(path)
    return asdict(fl.TrainResult.load(path))


def _saved(sizes: Sizes) -> Arguments:
    W, place = weights(sizes), of_train(sizes)["checkpoint"]
    plain = W.good.filter(lambda spec: spec.layout != "list" and spec.shape[0] > 0)
    named = Arg(st.sampled_from(["softmax", "squared_error"]))
    return {
        "path": Arg(st.sampled_from(KEPT), None, place.bad, False),
        "W": Arg(plain, optional=False),
        "bias": Arg(st.booleans()),
        "loss_name": named,
    }


def as_saved(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """The same W, b and loss."""
    W = np.asarray(arguments["W"])
    found = value["W"]
    require(found.shape == W.shape and bool((found == W).all() or not np.isfinite(W).all()), "W is another")
    require(value["loss_name"] == arguments.get("loss_name", "softmax"), "the loss is another")


# ---- Features ----------------------------------------------------------------------------------------------------


def transform(name: str) -> Callable[..., Any]:
    """fit and transform as one function."""

    def call(X: Any, **how: Any) -> Any:
        from fastlin import features as module  # here, because scikit-learn takes seconds to import

        return getattr(module, name)(**how).fit(X).transform(X)

    return call


def pictures(sizes: Sizes, colours: bool, **own: Arg) -> Arguments:
    """Images of 6 x 5 and their shape."""
    image = (3, 6, 5) if colours else (6, 5)
    d = int(np.prod(image))
    n = min(sizes.n, 6) or 1
    good = arrays((n, d), ["uint8", "float64"], ["labels:200", "unit"])
    found = array(
        (n, d), ["float64"], bad_shapes=other_shapes((n, d)).filter(lambda s: len(s) != 2 or s[1] != d or s[0] == 0)
    )
    odd = arrays((n, d), ["float32", "uint8", "int64", "bool"], ["labels:2", "one:nan", "extreme"])
    shapes = Arg(
        st.just(image),
        st.just(list(image)),
        st.sampled_from([(), (6,), 30, None, "65", (6, 5, 1, 1), (0, 5), (-6, 5), (6.0, 5), (7, 5), (True, 30)]),
        False,
    )
    return {
        "X": Arg(
            good.filter(lambda a: colours is False or a.dtype == "uint8" or a.fill == "unit"), odd, found.bad, False
        ),
        "image": shapes,
        **own,
    }


def _counts_at(low: int, high: int) -> Arg:
    return count(low, st.integers(low, high), optional=False)


def finite_rows(row: Row, call: Call, arguments: dict[str, Any], value: Any) -> None:
    """A row of finite features for each of X."""
    X = np.asarray(arguments["X"])
    require(value.shape[0] == len(X) and value.ndim == 2, f"features {value.shape} of X {X.shape}")
    require(bool(call.odd) or bool(np.isfinite(value).all()), "a feature is not finite")


def _polar(sizes: Sizes) -> Arguments:
    n = sizes.n or 1
    return {
        "X": array(
            (n, 2), ["float64", "float32", "int64", "uint8"], bad_shapes=st.sampled_from([(n, 3), (2,), (), (n, 2, 1)])
        )
    }


def _words(sizes: Sizes) -> Arguments:
    own = {
        "words": _counts_at(1, 3),
        "patch": _counts_at(1, 3),
        "sample": count(1, st.integers(60, 90)),
        "seed": count(0, st.integers(0, 9)),
    }
    found = pictures(sizes, False, **own)
    different = found["X"].good.filter(  # k-means warns of alike patches
        lambda X: X.dtype == "float64" and X.fill == "unit" and X.layout not in ("one row", "one column")
    )
    return found | {"X": Arg(different, None, found["X"].bad, False)}


try:
    from sklearn.exceptions import ConvergenceWarning
except ImportError:  # then its row is refused, with the extra's name
    ConvergenceWarning = UserWarning

FEATURES = (
    Row("features.Polar", transform("Polar"), _polar, (finite_rows,), quiet=False),
    Row(
        "features.ColorHistogram",
        transform("ColorHistogram"),
        lambda s: pictures(s, True, bins=_counts_at(1, 20)),
        (finite_rows,),
        quiet=False,
    ),
    Row(
        "features.HOG",
        transform("HOG"),
        lambda s: pictures(
            s, False, cell=_counts_at(1, 3), orientations=_counts_at(1, 9), block=Arg(st.just(1), optional=False)
        ),
        (finite_rows,),
        cost=2,
        quiet=False,
        words=("X",),
    ),
    Row(
        "features.BagOfWords",
        transform("BagOfWords"),
        _words,
        (finite_rows,),
        cost=6,
        quiet=False,
        raises=(ConvergenceWarning,),  # k-means found fewer different patches than words
    ),
)
LOST = (RuntimeWarning,)  # of a loss that is not finite: rates and features are drawn that no step survives
FIT_LAWS = (a_fit, same_fit, fits_as_naive)
ROWS = (
    Row("train", fl.train, of_train, FIT_LAWS, shapes=SHAPES, cost=2, files=True, words=("must end in",), raises=LOST),
    Row("sweep", fl.sweep, of_sweep, (a_choice, same_choice), shapes=FOLDED, cost=8),
    Row("minimize", fl.minimize, of_minimize, (a_fit, same_fit), shapes=SHAPES, cost=3),
    Row(
        "random_search",
        fl.random_search,
        of_random_search,
        (a_fit, same_fit, stops_at_target),
        shapes=SHAPES,
        cost=2,
        words=("bounds",),
    ),
    Row(
        "random_local_search",
        fl.random_local_search,
        of_local_search,
        (a_fit, same_fit, stops_at_target),
        shapes=SHAPES,
        cost=2,
    ),
    Row("TrainResult.scores", result_of("scores"), of_result, (laws.scores_are_products,)),
    Row("TrainResult.predict", result_of("predict"), of_result, (laws.same_again,)),
    Row("TrainResult.predict (k)", result_of("predict"), of_few_of_result, (laws.few_are_largest,)),
    Row("TrainResult.predict_proba", result_of("predict_proba"), of_probabilities, (are_probabilities,)),
    Row("TrainResult.score", result_of("score"), of_score, (a_share,)),
    Row("TrainResult.accuracy", result_of("accuracy"), of_score, (a_share,)),
    Row("TrainResult.accuracy (k)", result_of("accuracy"), lambda s: of_score(s) | {"k": few(s)}, (a_share,)),
    Row("TrainResult.save", _save_and_load, _saved, (as_saved,), files=True, words=("must end in",)),
    *FEATURES,
)
