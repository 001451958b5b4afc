"""What a solver sees of a fit: a function of a flat float64 x, its gradient, and products with its Hessian."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastlin._affine import Affine
from fastlin._check import Array, Inputs
from fastlin._objective import Objective

Product = Callable[[Array], Array]


class Point(NamedTuple):
    """Where a solver is."""

    x: Array
    value: float
    gradient: Array

    @property
    def steepest(self) -> float:
        """The largest entry of the gradient."""
        return float(np.abs(self.gradient).max(initial=0.0))


class Problem:
    """The objective at weights x, which are W (d, c) or (d + 1, c) row after row, in float64.

    passes : how often X has been read, a loss with its gradient or a product with the Hessian each time.
    """

    def __init__(self, objective: Objective, inputs: Inputs, scale_shift: Affine | None) -> None:
        self.objective, self.inputs, self.scale_shift = objective, inputs, scale_shift
        self.start = inputs.W.astype(np.float64).ravel()
        self.resolution = float(np.finfo(inputs.W.dtype).eps)  # of its values, relative
        self.passes = 0

    def weights(self, x: Array) -> Array:
        """x as W, of the dtype that the fit is in."""
        return np.array(x.reshape(self.inputs.W.shape), self.inputs.W.dtype, order="F")

    def at(self, x: Array) -> Point:
        """The value and the gradient at x."""
        self.passes += 1
        here = self.inputs._replace(W=self.weights(x))
        value, dW = self.objective.at(here, self.scale_shift, self.inputs.X.shape[0], None)
        return Point(x, value, dW.ravel().astype(np.float64))
