"""fastlin: linear classifiers on a CPU. Losses with their gradients, fused optimizer steps, four backends.

>>> import numpy as np, fastlin as fl
>>> X, y, W = np.ones((4, 3)), np.array([0, 1, 2, 1]), np.zeros((3, 3))
>>> loss, dW = fl.svm_loss(W, X, y)
>>> loss, dW.shape
(2.0, (3, 3))
"""

from importlib import import_module
from typing import TYPE_CHECKING

from fastlin import optim
from fastlin._pool import set_num_threads
from fastlin.losses import predict, scores, softmax, softmax_loss, svm_loss, warmup
from fastlin.minimize import ConvergenceWarning, minimize
from fastlin.ops import show_backends, use_backend
from fastlin.optim import (
    SGD,
    AdaDelta,
    AdaGrad,
    Adam,
    AdamAlmost,
    Adamax,
    AdamW,
    AMSGrad,
    Lion,
    Momentum,
    NAdam,
    Optimizer,
    RAdam,
    RMSProp,
)
from fastlin.parts import Parts
from fastlin.penalties import L1, L2, ElasticNet, dropout, max_norm
from fastlin.regression import absolute_error_loss, huber_loss, logistic_loss, sigmoid_squared_loss, squared_error_loss
from fastlin.sweep import SweepResult, sweep
from fastlin.train import TrainResult, train

if TYPE_CHECKING:
    from fastlin import schedules, updates
    from fastlin.data import Dataset, load_arrays, load_cifar10, load_digits
    from fastlin.estimators import (
        LinearRegressor,
        LogisticRegression,
        LogisticRegressionCV,
        SoftmaxClassifier,
        SVMClassifier,
    )
    from fastlin.gradcheck import GradientCheck, check_gradient, numerical_gradient
    from fastlin.schedules import scale_lr
    from fastlin.search import SearchResult, random_local_search, random_search
    from fastlin.second_order import newton_step, numerical_hessian
    from fastlin.updates import (
        adadelta_update,
        adagrad_update,
        adam_almost_update,
        adam_update,
        adamax_update,
        adamw_update,
        amsgrad_update,
        lion_update,
        momentum_update,
        nadam_update,
        nesterov_update,
        radam_update,
        rmsprop_update,
        sgd_update,
        velocity_update,
    )
else:

    def __getattr__(name):  # type checkers would let any name pass
        """What not every program uses, when it is first asked for: it would take a fifth of `import fastlin`."""
        for module, names in _LATER.items():
            if name == module or name in names:
                found = import_module(f"fastlin.{module}")
                return found if name == module else getattr(found, name)
        raise AttributeError(f"module 'fastlin' has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *__all__})


__version__ = "0.1.0"

_LATER = {
    "data": ("Dataset", "load_arrays", "load_cifar10", "load_digits"),
    "estimators": (  # which need scikit-learn, an extra
        "LinearRegressor",
        "LogisticRegression",
        "LogisticRegressionCV",
        "SVMClassifier",
        "SoftmaxClassifier",
    ),
    "gradcheck": ("GradientCheck", "check_gradient", "numerical_gradient"),
    "schedules": ("scale_lr",),
    "search": ("SearchResult", "random_local_search", "random_search"),
    "second_order": ("newton_step", "numerical_hessian"),
    "updates": (
        "adadelta_update",
        "adagrad_update",
        "adam_almost_update",
        "adam_update",
        "adamax_update",
        "adamw_update",
        "amsgrad_update",
        "lion_update",
        "momentum_update",
        "nadam_update",
        "nesterov_update",
        "radam_update",
        "rmsprop_update",
        "sgd_update",
        "velocity_update",
    ),
}

__all__ = [
    "L1",
    "L2",
    "SGD",
    "AMSGrad",
    "AdaDelta",
    "AdaGrad",
    "Adam",
    "AdamAlmost",
    "AdamW",
    "Adamax",
    "ConvergenceWarning",
    "Dataset",
    "ElasticNet",
    "GradientCheck",
    "LinearRegressor",
    "Lion",
    "LogisticRegression",
    "LogisticRegressionCV",
    "Momentum",
    "NAdam",
    "Optimizer",
    "Parts",
    "RAdam",
    "RMSProp",
    "SVMClassifier",
    "SearchResult",
    "SoftmaxClassifier",
    "SweepResult",
    "TrainResult",
    "absolute_error_loss",
    "adadelta_update",
    "adagrad_update",
    "adam_almost_update",
    "adam_update",
    "adamax_update",
    "adamw_update",
    "amsgrad_update",
    "check_gradient",
    "dropout",
    "huber_loss",
    "lion_update",
    "load_arrays",
    "load_cifar10",
    "load_digits",
    "logistic_loss",
    "max_norm",
    "minimize",
    "momentum_update",
    "nadam_update",
    "nesterov_update",
    "newton_step",
    "numerical_gradient",
    "numerical_hessian",
    "optim",
    "predict",
    "radam_update",
    "random_local_search",
    "random_search",
    "rmsprop_update",
    "scale_lr",
    "schedules",
    "scores",
    "set_num_threads",
    "sgd_update",
    "show_backends",
    "sigmoid_squared_loss",
    "softmax",
    "softmax_loss",
    "squared_error_loss",
    "svm_loss",
    "sweep",
    "train",
    "updates",
    "use_backend",
    "velocity_update",
    "warmup",
]


def __dir__() -> list[str]:
    """The names of the package, estimators included."""
    return sorted({*globals(), *__all__})
