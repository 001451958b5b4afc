"""fastlin: linear classifiers on a CPU. Losses with their gradients, fused optimizer steps, four backends.

>>> import numpy as np, fastlin as fl
>>> X, y, W = np.ones((4, 3)), np.array([0, 1, 2, 1]), np.zeros((3, 3))
>>> loss, dW = fl.svm_loss(W, X, y)
>>> loss, dW.shape
(2.0, (3, 3))
"""

from fastlin import optim, schedules, updates
from fastlin._pool import set_num_threads
from fastlin.data import Dataset, load_arrays, load_cifar10, load_digits
from fastlin.gradcheck import GradientCheck, check_gradient, numerical_gradient
from fastlin.losses import predict, scores, softmax, softmax_loss, svm_loss, warmup
from fastlin.ops import show_backends, use_backend
from fastlin.optim import *  # noqa: F403  (the classes made from the table)
from fastlin.penalties import L1, L2, ElasticNet, dropout, max_norm
from fastlin.regression import absolute_error_loss, logistic_loss, sigmoid_squared_loss, squared_error_loss
from fastlin.schedules import scale_lr
from fastlin.search import SearchResult, random_local_search, random_search
from fastlin.second_order import minimize, newton_step, numerical_hessian
from fastlin.train import TrainResult, train
from fastlin.updates import *  # noqa: F403  (the functions made from the table)

__version__ = "0.1.0"

__all__ = [
    "L1",
    "L2",
    "Dataset",
    "ElasticNet",
    "GradientCheck",
    "SearchResult",
    "TrainResult",
    "absolute_error_loss",
    "check_gradient",
    "dropout",
    "load_arrays",
    "load_cifar10",
    "load_digits",
    "logistic_loss",
    "max_norm",
    "minimize",
    "newton_step",
    "numerical_gradient",
    "numerical_hessian",
    "predict",
    "random_local_search",
    "random_search",
    "scale_lr",
    "schedules",
    "scores",
    "set_num_threads",
    "show_backends",
    "sigmoid_squared_loss",
    "softmax",
    "softmax_loss",
    "squared_error_loss",
    "svm_loss",
    "train",
    "use_backend",
    "warmup",
    *optim.__all__,
    *updates.__all__,
]
