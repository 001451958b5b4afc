"""Optimizer steps as loops for Numba, compiled at the first call for each dtype. See fastlin/ops.py for the contract.

Scalars become the arrays' type first: one float64 factor would make every product a float64. What depends on t alone
is computed before the loop, so that the loop takes one root and one division for a number.
"""

import numpy as np

from fastlin.kernels import naive_updates, records
from fastlin.kernels.numba_cache import inlined, jit
from fastlin.kernels.numba_math import row, smallest_normal

nadam_product = jit(naive_updates.nadam_product)
nadam_rates = jit(naive_updates.nadam_rates)
radam_rates = jit(naive_updates.radam_rates)
clip_scale = inlined(records.clip_scale)


def jit_elements(function):
    """The function as a kernel that makes IEEE's operations one by one.

    A number's result must not depend on its place in the array. With fused multiply-adds it would: LLVM fuses in whole
    vectors, but not in the loop after the last one. Fusing gains nothing here, because memory and the divider are the
    limit.
    """
    return jit(function, fastmath=False)


@inlined
def normal(moment):
    """The moment, or 0 if it is below the smallest normal number.

    Where gradients stay 0, moments decay to there, and then for ever: 0.9 times 4 of the last units is rounded to 4.
    With such numbers processors are up to ten times as slow.
    """
    return type(moment)(0) if abs(moment) < smallest_normal(moment) else moment


@jit_elements
def sgd_update(w, g, lr, weight_decay):
    real = w.dtype.type
    lr, weight_decay = real(lr), real(weight_decay)
    for i in range(w.size):
        w[i] -= lr * (g[i] + weight_decay * w[i])


@jit_elements
def momentum_update(w, g, v, lr, momentum, weight_decay):
    real = w.dtype.type
    lr, momentum, weight_decay = real(lr), real(momentum), real(weight_decay)
    for i in range(w.size):
        v[i] = momentum * normal(v[i]) + (g[i] + weight_decay * w[i])
        w[i] -= lr * v[i]


@jit_elements
def velocity_update(w, g, v, lr, momentum, weight_decay):
    real = w.dtype.type
    lr, momentum, weight_decay = real(lr), real(momentum), real(weight_decay)
    for i in range(w.size):
        v[i] = momentum * normal(v[i]) - lr * (g[i] + weight_decay * w[i])
        w[i] += v[i]


@jit_elements
def nesterov_update(w, g, v, lr, momentum, weight_decay):
    real = w.dtype.type
    lr, momentum, weight_decay = real(lr), real(momentum), real(weight_decay)
    for i in range(w.size):
        gradient = g[i] + weight_decay * w[i]
        v[i] = momentum * normal(v[i]) + gradient
        w[i] -= lr * (gradient + momentum * v[i])


@jit_elements
def adagrad_update(w, g, s, lr, eps, weight_decay):
    real = w.dtype.type
    lr, eps, weight_decay = real(lr), real(eps), real(weight_decay)
    for i in range(w.size):
        gradient = g[i] + weight_decay * w[i]
        s[i] += gradient * gradient
        w[i] -= lr * gradient / (np.sqrt(s[i]) + eps)


@jit_elements
def rmsprop_update(w, g, s, lr, alpha, eps, weight_decay):
    real = w.dtype.type
    one_minus_alpha = real(1.0 - alpha)
    lr, alpha, eps, weight_decay = real(lr), real(alpha), real(eps), real(weight_decay)
    for i in range(w.size):
        gradient = g[i] + weight_decay * w[i]
        s[i] = alpha * s[i] + one_minus_alpha * gradient * gradient
        w[i] -= lr * gradient / (np.sqrt(s[i]) + eps)


@jit_elements
def adadelta_update(w, g, s, u, lr, rho, eps, weight_decay):
    real = w.dtype.type
    one_minus_rho = real(1.0 - rho)
    lr, rho, eps, weight_decay = real(lr), real(rho), real(eps), real(weight_decay)
    for i in range(w.size):
        gradient = g[i] + weight_decay * w[i]
        s[i] = rho * s[i] + one_minus_rho * gradient * gradient
        delta = gradient * np.sqrt(u[i] + eps) / np.sqrt(s[i] + eps)
        u[i] = rho * u[i] + one_minus_rho * delta * delta
        w[i] -= lr * delta


@jit_elements
def adam_update(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    real = w.dtype.type
    lr, bias_correction2 = real(lr / (1.0 - beta1**t)), real(1.0 / (1.0 - beta2**t))
    one_minus_beta1, one_minus_beta2 = real(1.0 - beta1), real(1.0 - beta2)
    beta1, beta2, eps, weight_decay = real(beta1), real(beta2), real(eps), real(weight_decay)
    for i in range(w.size):
        gradient = g[i] + weight_decay * w[i]
        m[i] = beta1 * normal(m[i]) + one_minus_beta1 * gradient
        v[i] = beta2 * v[i] + one_minus_beta2 * gradient * gradient
        w[i] -= lr * m[i] / (np.sqrt(v[i] * bias_correction2) + eps)


@jit_elements
def adam_almost_update(w, g, m, v, lr, beta1, beta2, eps, weight_decay):
    real = w.dtype.type
    one_minus_beta1, one_minus_beta2 = real(1.0 - beta1), real(1.0 - beta2)
    lr, beta1, beta2, eps, weight_decay = real(lr), real(beta1), real(beta2), real(eps), real(weight_decay)
    for i in range(w.size):
        gradient = g[i] + weight_decay * w[i]
        m[i] = beta1 * normal(m[i]) + one_minus_beta1 * gradient
        v[i] = beta2 * v[i] + one_minus_beta2 * gradient * gradient
        w[i] -= lr * m[i] / (np.sqrt(v[i]) + eps)


@jit_elements
def adamw_update(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    real = w.dtype.type
    decoupled_decay = real(lr * weight_decay)  # subtracted, because 1 - lr weight_decay would be rounded in every step
    lr, bias_correction2 = real(lr / (1.0 - beta1**t)), real(1.0 / (1.0 - beta2**t))
    one_minus_beta1, one_minus_beta2 = real(1.0 - beta1), real(1.0 - beta2)
    beta1, beta2, eps = real(beta1), real(beta2), real(eps)
    for i in range(w.size):
        m[i] = beta1 * normal(m[i]) + one_minus_beta1 * g[i]
        v[i] = beta2 * v[i] + one_minus_beta2 * g[i] * g[i]
        w[i] = w[i] - decoupled_decay * w[i] - lr * m[i] / (np.sqrt(v[i] * bias_correction2) + eps)


@jit_elements
def amsgrad_update(w, g, m, v, v_max, t, lr, beta1, beta2, eps, weight_decay):
    real = w.dtype.type
    lr, bias_correction2 = real(lr / (1.0 - beta1**t)), real(1.0 / (1.0 - beta2**t))
    one_minus_beta1, one_minus_beta2 = real(1.0 - beta1), real(1.0 - beta2)
    beta1, beta2, eps, weight_decay = real(beta1), real(beta2), real(eps), real(weight_decay)
    for i in range(w.size):
        gradient = g[i] + weight_decay * w[i]
        m[i] = beta1 * normal(m[i]) + one_minus_beta1 * gradient
        v[i] = beta2 * v[i] + one_minus_beta2 * gradient * gradient
        v_max[i] = v_max[i] if v_max[i] >= v[i] else v[i]  # a NaN becomes the maximum
        w[i] -= lr * m[i] / (np.sqrt(v_max[i] * bias_correction2) + eps)


@jit_elements
def nadam_update(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay, momentum_decay):
    real = w.dtype.type
    rates = nadam_rates(t, lr, beta1, momentum_decay, nadam_product(t, beta1, momentum_decay))
    of_gradient, of_moment, bias_correction2 = real(rates[0]), real(rates[1]), real(1.0 / (1.0 - beta2**t))
    one_minus_beta1, one_minus_beta2 = real(1.0 - beta1), real(1.0 - beta2)
    beta1, beta2, eps, weight_decay = real(beta1), real(beta2), real(eps), real(weight_decay)
    for i in range(w.size):
        gradient = g[i] + weight_decay * w[i]
        m[i] = beta1 * normal(m[i]) + one_minus_beta1 * gradient
        v[i] = beta2 * v[i] + one_minus_beta2 * gradient * gradient
        w[i] -= (of_gradient * gradient + of_moment * m[i]) / (np.sqrt(v[i] * bias_correction2) + eps)


@jit_elements
def radam_update(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    real = w.dtype.type
    rates = radam_rates(t, lr, beta1, beta2)
    rate, rate_alone = real(rates[0]), real(rates[1])
    one_minus_beta1, one_minus_beta2 = real(1.0 - beta1), real(1.0 - beta2)
    beta1, beta2, eps, weight_decay = real(beta1), real(beta2), real(eps), real(weight_decay)
    for i in range(w.size):
        gradient = g[i] + weight_decay * w[i]
        m[i] = beta1 * normal(m[i]) + one_minus_beta1 * gradient
        v[i] = beta2 * v[i] + one_minus_beta2 * gradient * gradient
        w[i] -= rate * m[i] / (np.sqrt(v[i]) + eps) if rate != 0 else rate_alone * m[i]


@jit_elements
def adamax_update(w, g, m, u, t, lr, beta1, beta2, eps, weight_decay):
    real = w.dtype.type
    rate, one_minus_beta1 = real(lr / (1.0 - beta1**t)), real(1.0 - beta1)
    beta1, beta2, eps, weight_decay = real(beta1), real(beta2), real(eps), real(weight_decay)
    for i in range(w.size):
        gradient = g[i] + weight_decay * w[i]
        m[i] = beta1 * normal(m[i]) + one_minus_beta1 * gradient
        size, before = abs(gradient) + eps, beta2 * u[i]
        u[i] = before if before > size else size  # a NaN becomes the maximum
        w[i] -= rate * m[i] / u[i]


@jit_elements
def lion_update(w, g, m, lr, beta1, beta2, weight_decay):
    real = w.dtype.type
    one, decoupled_decay = real(1), real(lr * weight_decay)
    one_minus_beta1, one_minus_beta2 = real(1.0 - beta1), real(1.0 - beta2)
    lr, beta1, beta2 = real(lr), real(beta1), real(beta2)
    for i in range(w.size):
        direction = beta1 * m[i] + one_minus_beta1 * g[i]
        sign = one if direction > 0 else -one if direction < 0 else direction  # keeps 0 and NaN
        m[i] = beta2 * normal(m[i]) + one_minus_beta2 * g[i]
        w[i] = w[i] - decoupled_decay * w[i] - lr * sign


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


@jit_elements
def average_stage(w, mean, factor):
    for i in range(w.size):
        mean[i] += (np.float64(w[i]) - mean[i]) * factor


@jit
def sum_squares(g):
    total = 0.0
    for i in range(g.size):
        total += np.float64(g[i]) * np.float64(g[i])
    return total


@jit
def penalty_stage(g, w, l2, l1):
    real, factor, size = g.dtype.type, g.dtype.type(2.0 * l2), g.dtype.type(l1)
    squares, absolute = 0.0, 0.0
    for j in range(g.shape[0]):
        slopes, x = row(g, j), row(w, j)
        if l2 != 0:  # 0 times an infinite weight would be NaN
            for k in range(x.size):
                slopes[k] += factor * x[k]
            squares += sum_squares(x)
        if l1 != 0:
            for k in range(x.size):
                sign = real(1) if x[k] > 0 else x[k]  # keeps 0 and NaN
                slopes[k] += size * (real(-1) if x[k] < 0 else sign)
                absolute += np.float64(abs(x[k]))
    return l2 * squares + l1 * absolute
