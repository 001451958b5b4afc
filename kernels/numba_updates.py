"""Optimizer steps as loops for Numba, compiled at the first call for each dtype. See fastlin/ops.py for the contract.

Scalars become the arrays' type first: one float64 factor would make every product a float64. What depends on t alone
is computed before the loop, so that a number costs one root and one division.
"""

import numpy as np

from fastlin.kernels import naive_updates
from fastlin.kernels.numba_cache import jit

nadam_rates = jit(naive_updates.nadam_rates)


def jit_elements(function):
    """IEEE's operations, one by one: a number must come out the same wherever it stands, and with fused multiply-adds
    it does not behind the last whole vector. They gain nothing here: memory and the divider are the limit.
    """
    return jit(function, fastmath=False)


@jit_elements
def sgd_update(w, g, lr, weight_decay):
    real = w.dtype.type
    rate, decay = real(lr), real(weight_decay)
    for i in range(w.size):
        w[i] -= rate * (g[i] + decay * w[i])


@jit_elements
def momentum_update(w, g, v, lr, momentum, weight_decay):
    real = w.dtype.type
    rate, mu, decay = real(lr), real(momentum), real(weight_decay)
    for i in range(w.size):
        v[i] = mu * v[i] + (g[i] + decay * w[i])
        w[i] -= rate * v[i]


@jit_elements
def velocity_update(w, g, v, lr, momentum, weight_decay):
    real = w.dtype.type
    rate, mu, decay = real(lr), real(momentum), real(weight_decay)
    for i in range(w.size):
        v[i] = mu * v[i] - rate * (g[i] + decay * w[i])
        w[i] += v[i]


@jit_elements
def nesterov_update(w, g, v, lr, momentum, weight_decay):
    real = w.dtype.type
    rate, mu, decay = real(lr), real(momentum), real(weight_decay)
    for i in range(w.size):
        gradient = g[i] + decay * w[i]
        v[i] = mu * v[i] + gradient
        w[i] -= rate * (gradient + mu * v[i])


@jit_elements
def adagrad_update(w, g, s, lr, eps, weight_decay):
    real = w.dtype.type
    rate, small, decay = real(lr), real(eps), real(weight_decay)
    for i in range(w.size):
        gradient = g[i] + decay * w[i]
        s[i] += gradient * gradient
        w[i] -= rate * gradient / (np.sqrt(s[i]) + small)


@jit_elements
def rmsprop_update(w, g, s, lr, alpha, eps, weight_decay):
    real = w.dtype.type
    rate, keep, rest, small, decay = real(lr), real(alpha), real(1.0 - alpha), real(eps), real(weight_decay)
    for i in range(w.size):
        gradient = g[i] + decay * w[i]
        s[i] = keep * s[i] + rest * gradient * gradient
        w[i] -= rate * gradient / (np.sqrt(s[i]) + small)


@jit_elements
def adadelta_update(w, g, s, u, lr, rho, eps, weight_decay):
    real = w.dtype.type
    rate, keep, rest, small, decay = real(lr), real(rho), real(1.0 - rho), real(eps), real(weight_decay)
    for i in range(w.size):
        gradient = g[i] + decay * w[i]
        s[i] = keep * s[i] + rest * gradient * gradient
        delta = gradient * np.sqrt(u[i] + small) / np.sqrt(s[i] + small)
        u[i] = keep * u[i] + rest * delta * delta
        w[i] -= rate * delta


@jit_elements
def adam_update(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    real = w.dtype.type
    rate, unbias = real(lr / (1.0 - beta1**t)), real(1.0 / (1.0 - beta2**t))
    b1, b2, rest1, rest2 = real(beta1), real(beta2), real(1.0 - beta1), real(1.0 - beta2)
    small, decay = real(eps), real(weight_decay)
    for i in range(w.size):
        gradient = g[i] + decay * w[i]
        m[i] = b1 * m[i] + rest1 * gradient
        v[i] = b2 * v[i] + rest2 * gradient * gradient
        w[i] -= rate * m[i] / (np.sqrt(v[i] * unbias) + small)


@jit_elements
def adam_almost_update(w, g, m, v, lr, beta1, beta2, eps, weight_decay):
    real = w.dtype.type
    b1, b2, rest1, rest2 = real(beta1), real(beta2), real(1.0 - beta1), real(1.0 - beta2)
    rate, small, decay = real(lr), real(eps), real(weight_decay)
    for i in range(w.size):
        gradient = g[i] + decay * w[i]
        m[i] = b1 * m[i] + rest1 * gradient
        v[i] = b2 * v[i] + rest2 * gradient * gradient
        w[i] -= rate * m[i] / (np.sqrt(v[i]) + small)


@jit_elements
def adamw_update(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    real = w.dtype.type
    rate, unbias = real(lr / (1.0 - beta1**t)), real(1.0 / (1.0 - beta2**t))
    b1, b2, rest1, rest2 = real(beta1), real(beta2), real(1.0 - beta1), real(1.0 - beta2)
    small, lost = real(eps), real(lr * weight_decay)  # 1 - lost would be rounded to a float, time and again
    for i in range(w.size):
        m[i] = b1 * m[i] + rest1 * g[i]
        v[i] = b2 * v[i] + rest2 * g[i] * g[i]
        w[i] = w[i] - lost * w[i] - rate * m[i] / (np.sqrt(v[i] * unbias) + small)


@jit_elements
def amsgrad_update(w, g, m, v, v_max, t, lr, beta1, beta2, eps, weight_decay):
    real = w.dtype.type
    rate, unbias = real(lr / (1.0 - beta1**t)), real(1.0 / (1.0 - beta2**t))
    b1, b2, rest1, rest2 = real(beta1), real(beta2), real(1.0 - beta1), real(1.0 - beta2)
    small, decay = real(eps), real(weight_decay)
    for i in range(w.size):
        gradient = g[i] + decay * w[i]
        m[i] = b1 * m[i] + rest1 * gradient
        v[i] = b2 * v[i] + rest2 * gradient * gradient
        v_max[i] = v_max[i] if v_max[i] >= v[i] else v[i]  # a NaN gets in
        w[i] -= rate * m[i] / (np.sqrt(v_max[i] * unbias) + small)


@jit_elements
def nadam_update(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay, momentum_decay):
    real = w.dtype.type
    rates = nadam_rates(t, lr, beta1, momentum_decay)
    of_gradient, of_moment, unbias = real(rates[0]), real(rates[1]), real(1.0 / (1.0 - beta2**t))
    b1, b2, rest1, rest2 = real(beta1), real(beta2), real(1.0 - beta1), real(1.0 - beta2)
    small, decay = real(eps), real(weight_decay)
    for i in range(w.size):
        gradient = g[i] + decay * w[i]
        m[i] = b1 * m[i] + rest1 * gradient
        v[i] = b2 * v[i] + rest2 * gradient * gradient
        w[i] -= (of_gradient * gradient + of_moment * m[i]) / (np.sqrt(v[i] * unbias) + small)


@jit_elements
def lion_update(w, g, m, lr, beta1, beta2, weight_decay):
    real = w.dtype.type
    b1, b2, rest1, rest2 = real(beta1), real(beta2), real(1.0 - beta1), real(1.0 - beta2)
    rate, lost, one = real(lr), real(lr * weight_decay), real(1)
    for i in range(w.size):
        direction = b1 * m[i] + rest1 * g[i]
        sign = one if direction > 0 else -one if direction < 0 else direction  # 0 and NaN stay
        m[i] = b2 * m[i] + rest2 * g[i]
        w[i] = w[i] - lost * w[i] - rate * sign


@jit_elements
def clip_stage(g, out, scale, limit):
    real = out.dtype.type
    factor, high, low = real(scale), real(limit), real(-limit)
    for i in range(g.size):
        x = factor * g[i]
        out[i] = low if x < low else high if x > high else x


@jit_elements
def prox_stage(w, shrink, factor):
    real = w.dtype.type
    high, low, ratio = real(shrink), real(-shrink), real(factor)
    for i in range(w.size):
        x = w[i]
        w[i] = ratio * (x - (low if x < low else high if x > high else x))


@jit
def sum_squares(g):
    total = 0.0
    for i in range(g.size):
        total += np.float64(g[i]) * np.float64(g[i])
    return total
