"""Every row of the table, and the public names that have none, each with its reason."""

from __future__ import annotations

from importlib.util import find_spec

from . import rows_estimators, rows_files, rows_losses, rows_optim, rows_parts, rows_plain, rows_training
from .harness import Row

DASK: tuple[Row, ...] = ()
if find_spec("dask") is not None:  # an extra
    from .rows_dask import ROWS as DASK

ROWS: tuple[Row, ...] = (
    *rows_losses.ROWS,
    *rows_optim.ROWS,
    *rows_plain.ROWS,
    *rows_training.ROWS,
    *rows_files.ROWS,
    *rows_parts.ROWS,
    *rows_estimators.ROWS,
    *DASK,
)

_BY_STEPS = "the machine of test_machines.py calls it, between steps"
_MODULE = "a module, whose names have rows of their own"
_OF_CHUNKS = "fastlin's own, which has a row, given the chunks as dask.softmax_loss gives them"
NO_ROW = {
    "ConvergenceWarning": "a warning, which fits give",
    "Dataset": "a record of what loaders return; it takes anything",
    "GradientCheck": "a record of what check_gradient returns",
    "LogisticRegression": "scikit-learn's own parameters and checks of them; its own tests run on ours",
    "LogisticRegressionCV": "scikit-learn's own parameters and checks of them; its own tests run on ours",
    "dask.LogisticRegression": _OF_CHUNKS,
    "dask.SVMClassifier": _OF_CHUNKS,
    "dask.SoftmaxClassifier": _OF_CHUNKS,
    "dask.absolute_error_loss": _OF_CHUNKS,
    "dask.huber_loss": _OF_CHUNKS,
    "dask.logistic_loss": _OF_CHUNKS,
    "dask.minimize": _OF_CHUNKS,
    "dask.sigmoid_squared_loss": _OF_CHUNKS,
    "dask.squared_error_loss": _OF_CHUNKS,
    "dask.svm_loss": _OF_CHUNKS,
    "Optimizer": "the base of the optimizers; it has no instances of its own",
    "Optimizer.check_state": "load_state_dict calls it, and a resumed run",
    "Optimizer.load_state_dict": _BY_STEPS,
    "Optimizer.report": _BY_STEPS,
    "Optimizer.state_dict": _BY_STEPS,
    "Optimizer.step": "the row of every optimizer calls it",
    "SearchResult": "a record of what searches return",
    "SearchResult.accuracy": "TrainResult's",
    "SearchResult.load": "TrainResult's",
    "SearchResult.predict": "TrainResult's",
    "SearchResult.predict_proba": "TrainResult's",
    "SearchResult.save": "TrainResult's",
    "SearchResult.score": "TrainResult's",
    "SearchResult.scores": "TrainResult's",
    "SweepResult": "a record of what sweep returns",
    "TrainResult": "a record of what train returns",
    "cli.lectures": "it takes a minute; its --data is read by load_cifar10, which has a row",
    "features.PolynomialFeatures": "scikit-learn's own",
    "optim": _MODULE,
    "schedules": _MODULE,
    "schedules.Lr": "a type",
    "schedules.NAMES": "a list of names",
    "schedules.Schedule": "the base of the schedules",
    "schedules.scale_lr": "fastlin.scale_lr, which has a row",
    "updates": _MODULE,
}
