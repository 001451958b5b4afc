"""One gradient in every installed backend: the same numbers, and how long each takes."""

import argparse
import timeit

import numpy as np

import fastlin as fl

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--rows", type=int, default=1000)
n = parser.parse_args().rows

rng = np.random.default_rng(0)
X, y = rng.standard_normal((n, 100)), rng.integers(0, 10, n)
W = 0.01 * rng.standard_normal((100, 10))
expected = fl.softmax_loss(W, X, y, backend="naive")[1]
for backend in ("naive", "numpy", "numba", "cython"):
    try:
        loss, dW = fl.softmax_loss(W, X, y, backend=backend)  # the first call may compile
    except ImportError as missing:
        print(missing)
        continue
    seconds = min(timeit.repeat("fl.softmax_loss(W, X, y, backend=backend)", repeat=5, number=1, globals=globals()))
    print(f"{backend:7} loss {loss:.12f}  largest difference {abs(dW - expected).max():.0e}  {1e3 * seconds:9.3f} ms")
print("`fastlin compare` measures with more care")
