"""Optimizer steps as loops for Numba, compiled at the first call for each dtype. See fastlin/ops.py for the contract.

Scalars become the arrays' type first: one float64 factor would make every product a float64.
"""

import numpy as np

from fastlin.kernels.numba_cache import jit


@jit
def sgd_update(w, g, lr, weight_decay):
    real = w.dtype.type
    rate, decay = real(lr), real(weight_decay)
    for i in range(w.size):
        w[i] -= rate * (g[i] + decay * w[i])


@jit
def momentum_update(w, g, v, lr, momentum, weight_decay):
    real = w.dtype.type
    rate, mu, decay = real(lr), real(momentum), real(weight_decay)
    for i in range(w.size):
        v[i] = mu * v[i] + (g[i] + decay * w[i])
        w[i] -= rate * v[i]


@jit
def nesterov_update(w, g, v, lr, momentum, weight_decay):
    real = w.dtype.type
    rate, mu, decay = real(lr), real(momentum), real(weight_decay)
    for i in range(w.size):
        gradient = g[i] + decay * w[i]
        v[i] = mu * v[i] + gradient
        w[i] -= rate * (gradient + mu * v[i])


@jit
def adam_update(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    real = w.dtype.type
    rate = real(lr / (1.0 - beta1**t))
    unbias = real(1.0 / (1.0 - beta2**t))
    b1, b2, rest1, rest2 = real(beta1), real(beta2), real(1.0 - beta1), real(1.0 - beta2)
    small, decay = real(eps), real(weight_decay)
    for i in range(w.size):
        gradient = g[i] + decay * w[i]
        m[i] = b1 * m[i] + rest1 * gradient
        v[i] = b2 * v[i] + rest2 * gradient * gradient
        w[i] -= rate * m[i] / (np.sqrt(v[i] * unbias) + small)
