"""Check a gradient of your own against differences, and see what a mistake looks like."""

import numpy as np
from numpy.typing import NDArray

import fastlin as fl

rng = np.random.default_rng(0)
X, y, W = rng.standard_normal((20, 6)), rng.integers(0, 4, 20), rng.standard_normal((6, 4))


def mine(W: NDArray[np.float64], forget_penalty: bool = False) -> tuple[float, NDArray[np.float64]]:
    """Softmax loss with an L2 penalty, and its gradient."""
    loss, dW = fl.softmax_loss(W, X, y)
    return loss + 0.1 * (W**2).sum(), dW if forget_penalty else dW + 0.2 * W


print(fl.check_gradient(mine, W))
print(fl.check_gradient(lambda W: mine(W, forget_penalty=True), W))
print(fl.check_gradient(lambda W: fl.svm_loss(W, X, y, reg=fl.ElasticNet(0.1, beta=0.5)), W))
