"""The calls that `bench/peers_sparse.py` times: one loss with its gradient on sparse rows, as users of each write it.

Everything here runs in a worker process that loads one library only. What a library may prepare once for a fit, such as
the transposed rows, it does before the clock starts; the quicker of its forms is timed.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import metadata
from typing import Any

import numpy as np
from contestants import NUMPY_EPILOGUES, read_calls
from scipy.sparse import csr_array
from sparse_data import one_hot, text
from worker import OURS, Call

import fastlin as fl
from fastlin._columns import prepare
from fastlin._objective import make_objective, with_defaults


@dataclass(frozen=True)
class SparseShape:
    """So many rows, columns and classes, and non-zeros in a row; `kind` says how they lie."""

    kind: str
    n: int
    d: int
    c: int
    per_row: int

    @property
    def size(self) -> str:
        return f"{self.n}x{self.d}x{self.c}"


@dataclass(frozen=True)
class SparseRow:
    """One loss on one shape."""

    shape: SparseShape
    loss: str

    @property
    def name(self) -> str:
        return f"{self.loss} {self.shape.kind} {self.shape.size}"

    @property
    def contestants(self) -> list[str]:
        return [name for name in (*CALLS, *LIMITS) if self.loss == "softmax" or name not in SOFTMAX_ONLY]


@dataclass(frozen=True)
class SparseCase:
    """The arrays of a shape: X float32 or float64, W of the same dtype."""

    X: csr_array
    y: np.ndarray
    W: np.ndarray

    @property
    def touched(self) -> int:
        """How many columns have an entry."""
        return len(np.unique(self.X.indices))


def calls_of(library: str, row: SparseRow, threads: int) -> list[Call]:
    case = make_case(row.shape)
    if library in LIMITS:
        return LIMITS[library](case, threads)
    return CALLS[library](case, row.loss, threads)


@lru_cache(maxsize=1)  # the rows of one shape are consecutive
def make_case(shape: SparseShape) -> SparseCase:
    """The same arrays in every process: made from the same seed."""
    make = one_hot if shape.kind == "one-hot" else text
    X, y = make(shape.n, shape.d, shape.c, shape.per_row)
    W = np.random.default_rng(1).standard_normal((shape.d, shape.c), dtype=np.float32)
    return SparseCase(X, y, W)


# ---- The libraries -----------------------------------------------------------------------------------------


def fastlin_calls(case: SparseCase, loss: str, threads: int, backend: str) -> list[Call]:
    """A call of the public function, and a pass of a fit, which has checked X and sorted its columns before."""
    function = {"softmax": fl.softmax_loss, "svm": fl.svm_loss}[loss]
    dW = np.empty_like(case.W)
    calls = [Call(lambda: function(case.W, case.X, case.y, out=dW, backend=backend, threads=threads))]
    objective = make_objective(loss, with_defaults(loss, {}, loss), 0.0, False, backend, threads)
    inputs = objective.inputs(case.W, case.X, case.y)
    prepare(inputs.X, inputs.W, backend)
    return [*calls, Call(lambda: objective.at(inputs, None, len(case.y), dW))]


def product_calls(
    case: SparseCase, loss: str, product: Callable[[Any, np.ndarray], np.ndarray], *transposed: Any
) -> list[Call]:
    """X @ W and X.T @ dscores by a library's product; the epilogue is NumPy's."""

    def run(XT: Any) -> tuple[float, np.ndarray]:
        scores = product(case.X, case.W)
        value = NUMPY_EPILOGUES[loss](scores.T, case.y)
        return value, product(XT, scores)

    return [Call(partial(run, XT)) for XT in transposed]


def scipy_calls(case: SparseCase, loss: str, threads: int) -> list[Call]:
    """SciPy has one thread; its transposed product spreads rows, or gathers from rows that were transposed once."""
    return product_calls(case, loss, lambda A, B: A @ B, case.X.T, case.X.T.tocsr())


def mkl_calls(case: SparseCase, loss: str, threads: int) -> list[Call]:
    """MKL's sparse products."""
    libraries = [str(file.locate()) for file in metadata.files("mkl") or () if file.name.startswith("libmkl_rt.so")]
    if libraries:
        os.environ["MKL_RT"] = libraries[0]  # it does not look where pip installs MKL
    import sparse_dot_mkl
    from scipy.sparse import csr_matrix

    sparse_dot_mkl.mkl_set_num_threads(threads)
    case = SparseCase(csr_matrix(case.X), case.y, case.W)
    transposed = csr_matrix(case.X.T.tocsr())
    return product_calls(case, loss, sparse_dot_mkl.dot_product_mkl, case.X.T, transposed)


def sklearn_calls(case: SparseCase, loss: str, threads: int) -> list[Call]:
    """The objective inside LogisticRegression; scikit-learn has no Weston-Watkins hinge."""
    from sklearn._loss import HalfMultinomialLoss
    from sklearn.linear_model._linear_loss import LinearModelLoss

    objective = LinearModelLoss(HalfMultinomialLoss(n_classes=case.W.shape[1]), fit_intercept=False)
    coef, y = np.asfortranarray(case.W.T), case.y.astype(case.W.dtype)

    def run(n_threads: int) -> tuple[float, np.ndarray]:
        return objective.loss_gradient(coef, case.X, y, l2_reg_strength=0.0, n_threads=n_threads)

    return [Call(partial(run, n), lambda found: (float(found[0]), found[1].T)) for n in dict.fromkeys((1, threads))]


def torch_calls(case: SparseCase, loss: str, threads: int) -> list[Call]:
    """Products of sparse CSR tensors; autograd differentiates the loss in the scores."""
    import torch
    from torch.nn.functional import cross_entropy, multi_margin_loss

    torch.set_num_threads(threads)
    criterion, scale = {"softmax": (cross_entropy, 1), "svm": (multi_margin_loss, case.W.shape[1])}[loss]

    def tensor(A: csr_array) -> Any:
        arrays = (torch.from_numpy(each) for each in (A.indptr, A.indices, A.data))
        with warnings.catch_warnings(action="ignore"):  # that this is in beta state
            return torch.sparse_csr_tensor(*arrays, size=A.shape, check_invariants=False)

    X, XT = tensor(case.X), tensor(case.X.T.tocsr())
    W, y = torch.from_numpy(case.W), torch.from_numpy(case.y)

    def run() -> tuple[float, Any]:
        scores = (X @ W).requires_grad_()
        value = criterion(scores, y)
        value.backward()
        return value.item(), XT @ scores.grad

    return [Call(run, lambda found: (scale * found[0], scale * found[1].numpy()))]


# ---- The machine's limit -----------------------------------------------------------------------------------


def read_limit(case: SparseCase, threads: int) -> list[Call]:
    """A read of as many bytes as the non-zeros, the row pointers, and the rows of W and of dW that they touch have."""
    X, W = case.X, case.W
    n_bytes = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes + 2 * case.touched * W.shape[1] * W.itemsize
    return read_calls(W.dtype.name, threads, n_bytes)


LIMITS = {"read": read_limit}
CALLS = {name: partial(fastlin_calls, backend=name.removeprefix("fastlin-")) for name in OURS}
CALLS |= {"scipy": scipy_calls, "scikit-learn": sklearn_calls, "torch": torch_calls, "sparse_dot_mkl": mkl_calls}
SOFTMAX_ONLY = ("scikit-learn",)
