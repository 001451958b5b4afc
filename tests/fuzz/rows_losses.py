"""Losses, scores and predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

import fastlin as fl
from fastlin import ops

from . import laws
from .harness import Row
from .specs import A, Make
from .strategies import (
    UNUSUAL,
    Arg,
    Sizes,
    array,
    arrays,
    backend,
    bias,
    choice,
    column_map,
    count,
    features,
    flag,
    ignored,
    labels,
    number,
    out,
    penalty,
    row_weights,
    targets,
    threads,
    weights,
)

Arguments = dict[str, Arg]


def problem(sizes: Sizes, y: Arg, **own: Arg) -> Arguments:
    """The arguments of a loss."""
    return {
        "W": weights(sizes),
        "X": features(sizes),
        "y": y,
        "reg": penalty(),
        "bias": bias(sizes),
        "sample_weight": row_weights(sizes),
        "x_scale": column_map(sizes),
        "x_shift": column_map(sizes),
        "reduction": choice(["mean", "sum"]),
        "out": out(sizes),
        "backend": backend(sizes),
        "threads": threads(),
        **own,
    }


def of_labels(**own: Arg) -> Callable[[Sizes], Arguments]:
    """The arguments of a loss of labels."""
    return lambda sizes: problem(sizes, labels(sizes), **own)


def of_targets(loss: str, **own: Arg) -> Callable[[Sizes], Arguments]:
    """The arguments of a loss of targets."""
    interval = ops.LOSSES[loss].targets or "[0, 1]"
    return lambda sizes: problem(sizes, targets(sizes, interval), **own)


def of_probabilities(sizes: Sizes) -> Arguments:
    """The softmax of probabilities (n, c), which are floats."""
    found, n, c = targets(sizes, "[0, 1]"), sizes.n, sizes.c
    good = arrays((n, c), ["float64", "float32", "float16"], ["unit", "zeros", "ones"])
    bad = found.bad.filter(lambda y: not isinstance(y, A) or len(y.shape) != 1)  # labels are good
    y = Arg(good, found.odd, bad, False)
    return problem(sizes, y, label_smoothing=number("[0, 1]", usual=(0.0, 0.1)))


def of_hinges(sizes: Sizes) -> Arguments:
    """The SVM of Weston and Watkins, squared or not."""
    own = {"margin": number("[0, inf)", usual=(1.0, 0.0, 0.5)), "squared": flag(), "ignore_index": ignored()}
    variant = choice(["weston_watkins"])
    return problem(sizes, labels(sizes), **own, variant=variant)


def of_one_vs_rest(sizes: Sizes) -> Arguments:
    """The variant that takes targets too."""
    own = {"margin": number("[0, inf)", usual=(1.0, 0.0, 0.5)), "squared": flag()}
    variant = Arg(st.just("one_vs_rest"), optional=False)
    return problem(sizes, targets(sizes, "[0, 1]"), **own, variant=variant)


def of_crammer_singer(sizes: Sizes) -> Arguments:
    """The variant without a squared form."""
    own = {"margin": number("[0, inf)", usual=(1.0, 0.0, 0.5))}
    return problem(sizes, labels(sizes), **own, variant=Arg(st.just("crammer_singer"), optional=False))


def of_scores(sizes: Sizes) -> Arguments:
    """The arguments of scores and predictions."""
    names = ("W", "X", "bias", "x_scale", "x_shift", "backend", "threads")
    return {name: arg for name, arg in problem(sizes, labels(sizes)).items() if name in names}


def few(sizes: Sizes) -> Arg:
    """How many of the c classes."""
    found = count(1, st.integers(1, sizes.c), optional=False)
    bad = st.one_of(found.bad, st.sampled_from([sizes.c + 1, 2**40, 2**70]))
    return Arg(found.good, None, bad.filter(lambda k: k is not None), False)


def of_few(sizes: Sizes) -> Arguments:
    """The arguments of predictions of several classes."""
    return of_scores(sizes) | {"k": few(sizes)}


def of_softmax(sizes: Sizes) -> Arguments:
    """Scores of any number of dimensions."""
    shapes = st.sampled_from([(sizes.c,), (sizes.n, sizes.c), (2, sizes.n % 30, sizes.c), (0, sizes.c)])
    good = shapes.flatmap(
        lambda shape: arrays(shape, ["float64", "float32", "int64", "uint8"], ["normal", "times:30.0"])
    )
    fills = ["extreme", "one:nan", "times:1e30", "times:1e300"]
    odd = shapes.flatmap(lambda shape: arrays(shape, ["float64", "float32", ">f8"], fills, st.sampled_from(UNUSUAL)))
    found = array((3, 2), ["float64"], wrong=("float16", *_wrong()))
    bad = st.one_of(found.bad, st.sampled_from([(), (0,), (3, 0)]).flatmap(lambda s: arrays(s, ["float64"], ["ones"])))
    return {"S": Arg(good, odd, bad, False), "backend": backend(sizes)}


def _wrong() -> tuple[str, ...]:
    return ("object", "complex64", "structured", "longdouble", "datetime64[s]", "U3")


def of_rows(arguments: Callable[[Sizes], Arguments]) -> Callable[[Sizes], Arguments]:
    """The arguments of a loss that is asked for that of each row."""
    own = {
        "reduction": Arg(st.just("none"), optional=False),
        "reg": Arg(st.just(0.0), None, st.just(Make("L2", (("lam", 0.5),)))),
    }
    return lambda sizes: arguments(sizes) | own


LAWS_OF_ROWS = (laws.rows_sum_to_the_loss, laws.same_bits)
LOSS_LAWS = (laws.out_is_returned, laws.same_as_naive, laws.same_bits)


def loss_row(name: str, arguments: Callable[[Sizes], Arguments]) -> Row:
    """A loss with its gradient."""
    function: Callable[..., Any] = getattr(fl, name.partition(" ")[0])
    return Row(name, function, arguments, LOSS_LAWS, writes=("out",))


ROWS = (
    loss_row("softmax_loss", of_labels(label_smoothing=number("[0, 1]", usual=(0.0, 0.1)), ignore_index=ignored())),
    loss_row("softmax_loss (soft)", of_probabilities),
    loss_row("svm_loss", of_hinges),
    loss_row("svm_loss (crammer_singer)", of_crammer_singer),
    loss_row("svm_loss (one_vs_rest)", of_one_vs_rest),
    loss_row("logistic_loss", of_targets("logistic")),
    loss_row("sigmoid_squared_loss", of_targets("sigmoid_squared")),
    loss_row("squared_error_loss", of_targets("squared_error")),
    loss_row("absolute_error_loss", of_targets("absolute_error")),
    loss_row("huber_loss", of_targets("huber", delta=number("(0, inf)", usual=(1.0, 0.5)))),
    Row("softmax_loss (none)", fl.softmax_loss, of_rows(of_labels()), LAWS_OF_ROWS, writes=("out",)),
    Row("huber_loss (none)", fl.huber_loss, of_rows(of_targets("huber")), LAWS_OF_ROWS, writes=("out",)),
    Row("scores", fl.scores, of_scores, (laws.scores_are_products, laws.is_new, laws.same_bits)),
    Row("predict", fl.predict, of_scores, (laws.classes_are_largest, laws.same_bits)),
    Row("predict (k)", fl.predict, of_few, (laws.few_are_largest, laws.same_bits)),
    Row("softmax", fl.softmax, of_softmax, (laws.sums_to_one, laws.is_new, laws.same_again)),
)
