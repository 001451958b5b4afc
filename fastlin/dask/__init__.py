"""fastlin on dask arrays: the same functions and classes, computed by Dask's workers where the chunks are.

It needs `fastlin[dask]`. docs/dask.md tells how to use it and what is promised.

>>> import dask.array as da, numpy as np, fastlin.dask as fd
>>> X, y = da.ones((6, 3), chunks=(2, 3)), da.arange(6, chunks=2) % 2
>>> loss, dW = fd.softmax_loss(np.zeros((3, 2)), X, y)
>>> round(loss, 4), dW.shape  # log(2)
(0.6931, (3, 2))
"""

from typing import TYPE_CHECKING

from fastlin._extras import need

need("dask.array", "dask", "fastlin.dask")

from fastlin.dask._functions import (  # noqa: E402  (the check comes first)
    absolute_error_loss,
    huber_loss,
    logistic_loss,
    minimize,
    sigmoid_squared_loss,
    softmax_loss,
    squared_error_loss,
    svm_loss,
)

if TYPE_CHECKING:
    from fastlin.dask._estimators import LogisticRegression, SoftmaxClassifier, SVMClassifier
else:

    def __getattr__(name):  # type checkers would let any name pass
        """An estimator, when it is first asked for: they need scikit-learn, another extra."""
        if name not in ("LogisticRegression", "SVMClassifier", "SoftmaxClassifier"):
            raise AttributeError(f"module 'fastlin.dask' has no attribute {name!r}")
        from fastlin.dask import _estimators

        return getattr(_estimators, name)


__all__ = [
    "LogisticRegression",
    "SVMClassifier",
    "SoftmaxClassifier",
    "absolute_error_loss",
    "huber_loss",
    "logistic_loss",
    "minimize",
    "sigmoid_squared_loss",
    "softmax_loss",
    "squared_error_loss",
    "svm_loss",
]
