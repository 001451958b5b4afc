"""Words of scikit-learn, torch and Keras, and what stands in their place here: for the errors that meet them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from inspect import CO_VARKEYWORDS
from typing import Any

OF_FITS = {  # arguments of `train`, `minimize` and the searches
    "C": "pass reg=1/(2*C*n), n the number of rows (the sum of their weights): the sum of losses + |W|^2/(2C) is meant",
    "alpha": "for scikit-learn's SGDClassifier pass reg=alpha/2, for its Ridge reg=alpha/n",
    "l1_ratio": "pass reg=fl.ElasticNet(lam, beta), or fl.L1(lam)",
    "penalty": "pass reg=, a number or fl.L1, fl.L2, fl.ElasticNet",
    "weight_decay": "pass reg=weight_decay/2, or weight_decay= to the optimizer",
    "lr": "pass it to the optimizer: optimizer=fl.SGD(lr)",
    "learning_rate": "pass it to the optimizer: optimizer=fl.SGD(lr)",
    "momentum": "pass it to the optimizer: optimizer=fl.SGD(lr, momentum=0.9)",
    "fit_intercept": "pass bias=",
    "random_state": "pass seed=",
    "n_epochs": "pass epochs=",
    "num_epochs": "pass epochs=",
    "max_epochs": "pass epochs=",
    "drop_last": "the last batch of an epoch takes what is left, and its mean is over its own rows",
    "verbose": "pass progress=True, or a callback",
    "weight": "pass class_weight=, or sample_weight=",
    "weights": "pass sample_weight=, or W= for where to start",
    "n_jobs": "pass threads=",
    "num_workers": "rows are read where they lie, by as many threads as threads= says",
    "n_classes": "pass classes=",
    "num_classes": "pass classes=",
    "multi_class": "pass loss='softmax', or 'logistic' for one class against the rest",
    "criterion": "pass loss=, a name",
    "dtype": "X decides, or W= where one is given",
}
OF_OPTIMIZERS = {
    "betas": "pass beta1= and beta2=",
    "beta_1": "pass beta1=",
    "beta_2": "pass beta2=",
    "amsgrad": "take fl.AMSGrad",
    "nesterov": "take fl.NAdam, or fl.SGD(lr, momentum, nesterov=True)",
    "centered": "the mean of squares is not centred",
    "momentum": "take fl.SGD, or fl.Adam, whose beta1 is a momentum",
    "dampening": "it is 0: v <- momentum v + g",
    "maximize": "step(W, -dW) ascends",
    "lr_decay": "pass a schedule as lr, such as fl.schedules.inverse_sqrt(lr)",
    "decay": "pass a schedule as lr, such as fl.schedules.cosine(lr, T)",
    "learning_rate": "pass lr=",
    "epsilon": "pass eps=",
    "params": "W is given to each step(W, dW)",
    "clipnorm": "pass clip_norm=",
    "clipvalue": "pass clip_value=",
    "decoupled_weight_decay": "take fl.AdamW",
    "foreach": "every step is one pass over memory: leave it out",
    "fused": "every step is one pass over memory: leave it out",
}


def no_argument(owner: str, name: str, words: dict[str, str], own: Iterable[str], where: str = "") -> TypeError:
    """The error for an argument that there is not: what stands in its place, or else what there is."""
    if name in words:
        return TypeError(f"{owner} has no argument {name!r}: {words[name]}")
    return TypeError(f"{owner} has no argument {name!r}{where}, whose own are {', '.join(own) or 'none'}")


def explaining(init: Callable[..., None]) -> Callable[..., None]:
    """An __init__ of an optimizer whose error, for an argument that it has not, says what stands in its place."""
    code = init.__code__
    names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    if code.co_flags & CO_VARKEYWORDS:
        return init

    @functools.wraps(init)
    def explained(self: Any, *args: Any, **given: Any) -> None:
        for name in given:
            if name not in names:
                raise no_argument(type(self).__name__, name, OF_OPTIMIZERS, names)
        init(self, *args, **given)

    return explained


def not_an_array(name: str, value: Any) -> str | None:
    """What to do with an object that NumPy takes for a single thing; None where that is not one of these."""
    kind = type(value).__name__
    if hasattr(value, "__next__") or (hasattr(value, "__iter__") and not hasattr(value, "__array__")):
        return (
            f"{name} is an iterable of type {kind}, not an array. Pass all rows at once, as an array (n, d), an "
            f"np.memmap of a file or fl.Parts; or take the steps yourself, batch after batch: "
            f"loss, dW = fl.softmax_loss(W, X, y); optimizer.step(W, dW)"
        )
    return None


def as_array(name: str, value: Any) -> str:
    """How somebody else's array becomes one of NumPy's."""
    if hasattr(value, "detach") and hasattr(value, "numpy"):
        return f"; pass {name}.detach().numpy(), which shares the tensor's memory"
    return f"; pass np.asarray({name})" if hasattr(value, "__array__") else ""


def labels(kind: str) -> str:
    """What to do with labels of this kind of dtype."""
    if kind in "iufb":
        return ""
    return "; number the classes first: classes, y = np.unique(y, return_inverse=True)"
