"""The problems that bench/peers_fit.py fits, and the one function by which every fit is judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse
from sparse_data import text

BLOCK = 4096  # rows of X that are converted to float64 at a time


class Data(NamedTuple):
    """Rows to fit, and rows held out; X are arrays, or SciPy's csr_array."""

    X: Any
    y: np.ndarray
    X_test: Any
    y_test: np.ndarray


@dataclass(frozen=True)
class Problem:
    """Softmax regression with an intercept: mean loss + lam sum(W^2), or + lam sum(|W|) with l1."""

    name: str
    C: float  # scikit-learn's
    l1: bool = False

    def data(self) -> Data:
        """The rows, made or loaded once in a process."""
        return data(self.name.removesuffix(" l1"))

    @property
    def sparse(self) -> bool:
        """Whether X is sparse."""
        return bool(issparse(self.data().X))

    def lam(self, n: int) -> float:
        """What C is to a mean over n rows."""
        return 1 / (self.C * n) if self.l1 else 1 / (2 * self.C * n)

    def objective(self, W: np.ndarray) -> float:
        """The value at W (d + 1, c) in float64, whatever made W."""
        X, y, *_ = self.data()
        total = 0.0
        for start in range(0, len(y), BLOCK):
            S = X[start : start + BLOCK].astype(np.float64) @ W[:-1] + W[-1]
            own = S[np.arange(len(S)), y[start : start + BLOCK]]
            top = S.max(axis=1)
            total += float((np.log(np.exp(S - top[:, None]).sum(axis=1)) + top - own).sum())
        size = np.abs(W[:-1]).sum() if self.l1 else np.square(W[:-1]).sum()
        return total / len(y) + self.lam(len(y)) * float(size)

    def accuracy(self, W: np.ndarray) -> float:
        """The share of held-out rows whose class is predicted."""
        _, _, X, y = self.data()
        return float(((X @ W[:-1] + W[-1]).argmax(axis=1) == y).mean())


@lru_cache(maxsize=1)
def data(name: str) -> Data:
    return (MAKE | SPARSE)[name]()


def of_scikit_learn(name: str, scale: float = 1.0) -> Data:
    """A data set that scikit-learn ships, a fifth of it held out."""
    from sklearn import datasets

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return held_out(X * scale, y, len(y) // 5)


def held_out(X: np.ndarray, y: np.ndarray, rows: int) -> Data:
    """So many rows, drawn at random, are not fitted."""
    order = np.random.default_rng(0).permutation(len(y))
    fitted, tested = order[rows:], order[:rows]
    return Data(np.ascontiguousarray(X[fitted]), y[fitted], X[tested], y[tested])


def images(n: int = 60_000, c: int = 10, tested: int = 10_000) -> Data:
    """Like MNIST: smooth strokes of 28 x 28 pixels in 0..1, three of four are 0, the border always."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, c, n + tested)
    t = (np.arange(28) + 0.5) / 28
    waves = np.array(
        [np.outer(np.cos(np.pi * i * t), np.cos(np.pi * j * t)) / (1 + i + j) for i, j in np.ndindex(8, 8)]
    )
    rows = 1.4 * rng.standard_normal((c, len(waves)))[y] + rng.standard_normal((len(y), len(waves)))
    X = (rows @ waves.reshape(len(waves), -1)).astype(np.float32)
    X += np.float32(0.2) * rng.standard_normal(X.shape, dtype=np.float32)
    X *= np.sqrt(np.outer(np.sin(np.pi * t), np.sin(np.pi * t))).ravel().astype(np.float32)
    X -= np.float32(0.9)
    np.clip(X, 0, 1, out=X)
    return Data(X[:n], y[:n], X[n:], y[n:])


def embeddings(n: int = 20_000, d: int = 384, c: int = 50, tested: int = 5_000) -> Data:
    """Like those of sentences: float32 rows of norm 1 around the directions of their classes, which overlap."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, c, n + tested)
    spread = 1 / np.sqrt(1 + np.arange(d))  # some directions vary much, most little
    means = rng.standard_normal((c, d)) * spread
    X = 0.2 * means[y] + rng.standard_normal((len(y), d)) * spread
    X = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
    return Data(X[:n], y[:n], X[n:], y[n:])


def table(n: int = 20_000, c: int = 5, tested: int = 5_000) -> Data:
    """Columns as tables have them: six one-hot blocks of 3 to 50 levels, and ten of scales 1e-3 to 1e4, not centred."""
    rng = np.random.default_rng(0)
    rows = n + tested
    levels = [np.minimum(rng.geometric(3 / k, rows) - 1, k - 1) for k in (3, 5, 10, 20, 30, 50)]
    blocks = [np.eye(k.max() + 1)[k] for k in levels]
    numbers = rng.standard_normal((rows, 10)) + rng.uniform(-2, 2, 10)
    hot = np.hstack([*blocks, numbers])
    S = hot @ rng.standard_normal((hot.shape[1], c)) * 0.7 + rng.gumbel(size=(rows, c))
    hot[:, -10:] *= np.logspace(-3, 4, 10)
    y = S.argmax(axis=1)
    return Data(hot[:n], y[:n], hot[n:], y[n:])


def sparse_text(n: int, d: int, c: int, per_row: int, tested: int = 4000) -> Data:
    """Sparse float32 TF-IDF rows with the frequencies of words."""
    X, y = text(n + tested, d, c, per_row)
    return Data(X[:n], y[:n], X[n:], y[n:])


MAKE: dict[str, Callable[[], Data]] = {
    "iris": lambda: of_scikit_learn("iris"),
    "wine raw": lambda: of_scikit_learn("wine"),
    "digits raw": lambda: of_scikit_learn("digits"),
    "digits scaled": lambda: of_scikit_learn("digits", 1 / 16),
    "images": images,
    "embeddings": embeddings,
    "table": table,
}
SPARSE: dict[str, Callable[[], Data]] = {
    "news20-like": lambda: sparse_text(16_000, 62_000, 20, per_row=80),
    "rcv1-like": lambda: sparse_text(20_000, 47_000, 53, per_row=76),
    "text": lambda: sparse_text(16_000, 62_000, 20, per_row=80),
}
PROBLEMS = [
    *(Problem(name, C=1.0) for name in MAKE),
    Problem("digits scaled l1", C=1.0, l1=True),
    Problem("embeddings l1", C=1.0, l1=True),
    Problem("news20-like", C=10.0),
    Problem("rcv1-like", C=10.0),
    Problem("text l1", C=10.0, l1=True),
]
