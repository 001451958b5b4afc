"""Sparse rows like those of text and of one-hot columns, made with NumPy: the same in every process."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

TOPICAL = 0.02  # of the words are more or less frequent in a class than elsewhere
TILT = 2.0  # the deviation of the logarithm of how much


def text(n: int, d: int, c: int, per_row: int, seed: int = 0) -> tuple[csr_array, np.ndarray]:
    """Float32 TF-IDF rows (n, d) of norm 1 and their classes (n,); the r-th word comes up as 1 / (r + 3) (Zipf)."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, c, n)
    lengths = np.maximum(1, rng.poisson(1.25 * per_row, n))  # some words come twice
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    words, of_entry = np.empty(indptr[-1], np.int32), np.repeat(y, lengths)
    frequency, place = (
        1 / (3.0 + np.arange(d)),
        rng.permutation(d).astype(np.int32),
    )  # frequent words are not neighbours
    for k in range(c):
        topical = rng.random(d) < TOPICAL
        cumulated = np.cumsum(frequency * np.exp(TILT * topical * rng.standard_normal(d)))
        own = np.flatnonzero(of_entry == k)
        drawn = np.searchsorted(cumulated, cumulated[-1] * rng.random(len(own)))
        words[own] = place[np.minimum(drawn, d - 1)]
    X = csr_array((np.ones(len(words), np.float32), words, indptr.astype(np.int32)), shape=(n, d))
    X.sum_duplicates()
    rows_with = np.bincount(X.indices, minlength=d)
    X.data = (1 + np.log(X.data)) * (np.log((1 + n) / (1 + rows_with)) + 1).astype(np.float32)[X.indices]
    X.data /= np.sqrt(np.add.reduceat(np.square(X.data), X.indptr[:-1])).repeat(np.diff(X.indptr))
    return X, y


def one_hot(n: int, d: int, c: int, fields: int, seed: int = 0) -> tuple[csr_array, np.ndarray]:
    """Float32 ones (n, d), one in each of the fields' shares of the columns, and classes (n,) that follow from them."""
    rng = np.random.default_rng(seed)
    levels = d // fields
    frequency = np.cumsum(1 / (3.0 + np.arange(levels)))
    drawn = np.searchsorted(frequency, frequency[-1] * rng.random((n, fields)))
    columns = (np.minimum(drawn, levels - 1) + levels * np.arange(fields)).astype(np.int32)
    indptr = np.arange(0, n * fields + 1, fields, dtype=np.int32)
    X = csr_array((np.ones(n * fields, np.float32), columns.ravel(), indptr), shape=(n, d))
    scores = X @ rng.standard_normal((d, c)).astype(np.float32) / np.sqrt(fields) + rng.gumbel(size=(n, c))
    return X, scores.argmax(axis=1)
