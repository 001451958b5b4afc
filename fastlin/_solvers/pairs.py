"""What L-BFGS remembers: steps, the changes of the gradient over them, and the inner products of these.

With the steps s_k as columns of S, the changes y_k as columns of Y, R the upper triangle of S^T Y, D its diagonal and
gamma = s^T y / y^T y of the last pair, the inverse Hessian that the pairs suggest is (Byrd, Nocedal & Schnabel 1994,
theorem 2.2)

    H = gamma I + [S, gamma Y] [[R^-T (D + gamma Y^T Y) R^-1, -R^-T], [-R^-1, 0]] [S^T; gamma Y^T].

A direction -H g takes two reads of the pairs, one for inner products and one for their combination, where the recursion
of two loops takes five: beside sparse rows, whose weights are many, that would be most of a fit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastlin._check import Array
from fastlin._check.states import Entries
from fastlin._solvers.linalg import Means, combined_rows, row_products
from fastlin._solvers.problem import MOST_KEPT
from fastlin._solvers.vectors import dot, in_blocks

UPPER = np.triu(np.ones((MOST_KEPT, MOST_KEPT)))


class Pairs:
    """The last pairs of vectors (size,), at most `most` of them."""

    def __init__(self, most: int, size: int, means: Means) -> None:
        self.most, self._size, self._means = most, size, means
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self._places: list[int] = []  # of the pairs, the oldest first
        # One more than there are pairs: a checkpoint of those before a new one may not be written yet.
        self._rows = np.zeros((self.most + 1, 2, self._size))
        self._products = np.zeros((2, self.most + 1, self.most + 1))  # S^T Y and Y^T Y, but for those of the last y

    def __len__(self) -> int:
        return len(self._places)

    def remember(self, x: tuple[Array, Array], gradient: tuple[Array, Array]) -> None:
        """One more pair, of the x and gradients after and before a step, if the function curves upwards along it."""
        place = (self._places[-1] + 1) % (self.most + 1) if self._places else 0
        pair = self._rows[place]

        def take(some: slice) -> float:
            np.subtract(x[0][some], x[1][some], out=pair[0, some])
            np.subtract(gradient[0][some], gradient[1][some], out=pair[1, some])
            return float(np.einsum("i,i", *pair[:, some]))

        if sum(in_blocks(take, self._size, self._means)) > 0:
            self._places = [*self._places, place][-self.most :]
        else:
            pair[...] = 0.0  # NaN times 0 is NaN

    def direction(self, gradient: Array) -> Array:
        """-H gradient; -gradient where nothing is known."""
        if not self._places:
            return -gradient
        some, last = self._places, self._places[-1]
        known = max(some) + 1
        rows = self._rows[:known].reshape(2 * known, self._size)
        products = row_products(rows, [self._rows[last, 1], gradient], self._means).reshape(known, 2, 2)
        self._products[:, :known, last] = products[:, :, 0].T
        self._products[1, last, :known] = products[:, 1, 0]
        SY, YY = self._products[:, some][:, :, some]
        Sg, Yg = products[some, :, 1].T
        if not (SY.diagonal() > 0).all():  # of other rounding than `dot`, or out of a checkpoint that somebody changed
            self.clear()
            return -gradient
        R, gamma = SY * UPPER[: len(some), : len(some)], SY[-1, -1] / YY[-1, -1]
        p = np.linalg.solve(R, Sg)  # in this thread: there are few pairs
        of_S = np.linalg.solve(R.T, R.diagonal() * p + gamma * ((YY * p).sum(axis=1) - Yg))
        factors = np.zeros((known, 2))
        factors[some, 0], factors[some, 1] = -of_S, gamma * p
        direction: Array = combined_rows(factors.reshape(1, -1), rows, self._means)[0]

        def finish(some: slice) -> None:
            direction[some] -= gamma * gradient[some]

        in_blocks(finish, self._size, self._means)
        return direction

    def frame(self) -> dict[str, Any]:
        """What a checkpoint has of it, each pair at its place; its arrays hold until two more pairs have come."""
        known = max(self._places, default=-1) + 1
        places = np.array(self._places, np.int64)
        return {"pairs": self._rows[:known], "products": self._products[:, :known, :known].copy(), "places": places}

    def restore(self, state: Entries, name: str) -> None:
        """The pairs of a frame."""
        known = state.length(f"{name}.pairs", self.most + 1)
        rows = state.array(f"{name}.pairs", (known, 2, self._size), np.float64)
        self._products[:, :known, :known] = state.array(f"{name}.products", (2, known, known), np.float64)
        m = state.length(f"{name}.places", self.most)
        self._places = state.array(f"{name}.places", (m,), np.int64).tolist()
        if len({*self._places} & {*range(known)}) != m:
            raise ValueError(f"resume: the state's {name}.places must be different, and 0 to {known - 1}")
        for place in self._places:  # what else is there is forgotten, and may be anything
            pair = self._rows[place]
            pair[...] = rows[place]
            product = dot(pair[0], pair[1], self._means)
            if not product > 0:
                raise ValueError(f"resume: a step and its change in the state's {name}.pairs have a product {product}")
