"""The classifiers of `fastlin` over dask arrays: workers do the passes of a fit; predictions wait to be asked for."""

from __future__ import annotations

import copy
from typing import Any

import dask
import dask.array as da
import numpy as np
from sklearn.utils.validation import check_is_fitted

from fastlin import _check, estimators
from fastlin.dask._functions import using
from fastlin.dask._inputs import checked, chunks, cut_alike


class _OnChunks:
    """What is done with dask arrays; with arrays in memory predictions are those of the class beside it."""

    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, client: Any = None, progress: bool = False
    ) -> Any:
        """Fit to dask arrays X (n, d) and labels y (n,) of any type; the model has NumPy's arrays.

        Parameters
        ----------
        X : dask array (n, d) of numbers; its chunks hold whole rows. The workers hold them until the fit ends.
        y : dask array (n,) of labels: numbers or strings.
        sample_weight : dask array (n,), not negative; a row of weight 2 counts as two rows, one of weight 0 as none.
            y and sample_weight are rechunked where their chunks differ from those of X.
        client : the distributed.Client to use; None: the current one, or if there is none Dask's threads.
        progress : show a bar for each pass over X (needs `fastlin[progress]`).

        Returns
        -------
        self, with the bits of a fit to `fl.Parts` of the same chunks, whatever workers there are, come and go.

        Raises
        ------
        ValueError, TypeError : for bad input, naming the argument, and the chunk as "part".

        Warns
        -----
        sklearn.exceptions.ConvergenceWarning : the solver stopped before it reached `tol`.
        """
        if getattr(self, "solver", None) == "sgd":
            raise ValueError(
                "solver='sgd' takes one step after the other, which workers cannot share; leave solver= out, or call "
                "partial_fit for one chunk after the other, as dask_ml.wrappers.Incremental does"
            )
        with using(client):
            parts = chunks(X, y, sample_weight, held=True, progress=_check.flag("progress", progress))
            super().fit(parts)  # type: ignore[misc]  # the class beside this one
        return self

    def predict(self, X: Any) -> Any:
        """The class (n,) with the largest score: of a dask array a dask array."""
        return self._of("predict", X)

    def decision_function(self, X: Any) -> Any:
        """The scores (n, c), or (n,) for two classes, above 0 for the second: of a dask array a dask array."""
        return self._of("decision_function", X)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """The share of rows whose class is predicted: of dask arrays a dask array (), which float() computes."""
        if not isinstance(X, da.Array):
            return super().score(X, y, sample_weight)  # type: ignore[misc]
        given = {"X": self.predict(X), "y": checked("y", y)}
        if sample_weight is not None:
            given["sample_weight"] = checked("sample_weight", sample_weight)
        given = cut_alike(given)
        hits = given["X"] == given["y"]
        if sample_weight is None:
            return hits.mean()
        weight = given["sample_weight"]
        return (hits * weight).sum() / weight.sum()

    def _of(self, method: str, X: Any) -> Any:
        """What the method of the class beside this one returns; for each chunk, when it is asked for."""
        if not isinstance(X, da.Array):
            return getattr(super(), method)(X)
        check_is_fitted(self)
        checked("X", X)
        model: Any = copy.copy(self)  # as it is now: a later fit changes no answer
        model.n_threads = getattr(self, "n_threads", None) or 1
        like = getattr(model, method)(np.zeros((1, X.shape[1]), X.dtype))
        one = like.ndim == 1
        return X.map_blocks(
            _of_block,
            dask.delayed(model, traverse=False),
            method,
            dtype=like.dtype,
            chunks=X.chunks[:1] if one else (X.chunks[0], like.shape[1:]),
            drop_axis=1 if one else None,
            meta=like[:0],
        )


def _of_block(X: Any, model: Any, method: str) -> Any:
    """What a worker does."""
    if X.shape[0]:
        return getattr(model, method)(X)
    return getattr(model, method)(np.zeros((1, X.shape[1]), X.dtype))[:0]  # scikit-learn's checks refuse no rows


class _WithProbabilities(_OnChunks):
    """For those that have probabilities too."""

    def predict_proba(self, X: Any) -> Any:
        """The probabilities (n, c) of the classes: of a dask array a dask array."""
        return self._of("predict_proba", X)

    def predict_log_proba(self, X: Any) -> Any:
        """Their logarithms (n, c): of a dask array a dask array."""
        return self._of("predict_log_proba", X)


class SoftmaxClassifier(_WithProbabilities, estimators.SoftmaxClassifier):
    """`fl.SoftmaxClassifier` for dask arrays: the same parameters, attributes and optimum; see there.

    >>> import dask.array as da, fastlin.dask as fd
    >>> X, y = da.arange(6, chunks=2)[:, None], da.from_array(["a", "a", "b", "b", "c", "c"], chunks=2)
    >>> fd.SoftmaxClassifier().fit(X, y).predict(X).compute()
    array(['a', 'a', 'b', 'b', 'c', 'c'], dtype='<U1')
    """


class SVMClassifier(_OnChunks, estimators.SVMClassifier):
    """`fl.SVMClassifier` for dask arrays: the same parameters, attributes and optimum; see there."""


class LogisticRegression(_WithProbabilities, estimators.LogisticRegression):
    """`fl.LogisticRegression` for dask arrays: scikit-learn's parameters, attributes and optimum; see there."""
