"""Optimizer steps in vectorised NumPy. See fastlin/ops.py for the contract."""

import numpy as np

from fastlin.kernels.naive_updates import nadam_product, nadam_rates, radam_rates

# NaN and Inf follow IEEE's rules here as in the compiled kernels, whatever np.errstate the caller has set.
quiet = np.errstate(all="ignore")


@quiet
def sgd_update(w, g, lr, weight_decay):
    w -= lr * (g + weight_decay * w)


@quiet
def momentum_update(w, g, v, lr, momentum, weight_decay):
    v *= momentum
    v += g + weight_decay * w
    w -= lr * v


@quiet
def velocity_update(w, g, v, lr, momentum, weight_decay):
    v *= momentum
    v -= lr * (g + weight_decay * w)
    w += v


@quiet
def nesterov_update(w, g, v, lr, momentum, weight_decay):
    gradient = g + weight_decay * w
    v *= momentum
    v += gradient
    w -= lr * (gradient + momentum * v)


@quiet
def adagrad_update(w, g, s, lr, eps, weight_decay):
    gradient = g + weight_decay * w
    s += np.square(gradient)
    w -= lr * gradient / (np.sqrt(s) + eps)


@quiet
def rmsprop_update(w, g, s, lr, alpha, eps, weight_decay):
    gradient = g + weight_decay * w
    s *= alpha
    s += (1 - alpha) * np.square(gradient)
    w -= lr * gradient / (np.sqrt(s) + eps)


@quiet
def adadelta_update(w, g, s, u, lr, rho, eps, weight_decay):
    gradient = g + weight_decay * w
    s *= rho
    s += (1 - rho) * np.square(gradient)
    delta = gradient * np.sqrt(u + eps) / np.sqrt(s + eps)
    u *= rho
    u += (1 - rho) * np.square(delta)
    w -= lr * delta


def _moments(gradient, m, v, beta1, beta2):
    m *= beta1
    m += (1 - beta1) * gradient
    v *= beta2
    v += (1 - beta2) * np.square(gradient)


@quiet
def adam_update(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    _moments(g + weight_decay * w, m, v, beta1, beta2)
    m_unbiased = m / (1 - beta1**t)
    v_unbiased = v / (1 - beta2**t)
    w -= lr * m_unbiased / (np.sqrt(v_unbiased) + eps)


@quiet
def adam_almost_update(w, g, m, v, lr, beta1, beta2, eps, weight_decay):
    _moments(g + weight_decay * w, m, v, beta1, beta2)
    w -= lr * m / (np.sqrt(v) + eps)


@quiet
def adamw_update(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    _moments(g, m, v, beta1, beta2)
    m_unbiased = m / (1 - beta1**t)
    v_unbiased = v / (1 - beta2**t)
    w -= (lr * weight_decay) * w
    w -= lr * m_unbiased / (np.sqrt(v_unbiased) + eps)


@quiet
def amsgrad_update(w, g, m, v, v_max, t, lr, beta1, beta2, eps, weight_decay):
    _moments(g + weight_decay * w, m, v, beta1, beta2)
    np.maximum(v_max, v, out=v_max)
    m_unbiased = m / (1 - beta1**t)
    v_unbiased = v_max / (1 - beta2**t)
    w -= lr * m_unbiased / (np.sqrt(v_unbiased) + eps)


@quiet
def nadam_update(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay, momentum_decay):
    product = nadam_product(t, beta1, momentum_decay)
    of_gradient, of_moment = nadam_rates(t, lr, beta1, momentum_decay, product)
    gradient = g + weight_decay * w
    _moments(gradient, m, v, beta1, beta2)
    v_unbiased = v / (1 - beta2**t)
    w -= (of_gradient * gradient + of_moment * m) / (np.sqrt(v_unbiased) + eps)


@quiet
def radam_update(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    rate, rate_alone = radam_rates(t, lr, beta1, beta2)
    _moments(g + weight_decay * w, m, v, beta1, beta2)
    w -= rate * m / (np.sqrt(v) + eps) if rate else rate_alone * m


@quiet
def adamax_update(w, g, m, u, t, lr, beta1, beta2, eps, weight_decay):
    gradient = g + weight_decay * w
    m *= beta1
    m += (1 - beta1) * gradient
    u *= beta2
    np.maximum(u, np.abs(gradient) + eps, out=u)
    w -= (lr / (1 - beta1**t)) * m / u


@quiet
def lion_update(w, g, m, lr, beta1, beta2, weight_decay):
    w -= (lr * weight_decay) * w
    w -= lr * np.sign(beta1 * m + (1 - beta1) * g)
    m *= beta2
    m += (1 - beta2) * g


@quiet
def penalty_stage(g, w, l2, l1):
    value = 0.0
    if l2:  # two separate terms: 0 times an infinite weight is NaN
        g += (2 * l2) * w
        value += l2 * np.square(w, dtype=np.float64).sum()
    if l1:
        g += l1 * np.sign(w)
        value += l1 * np.abs(w).sum(dtype=np.float64)
    return float(value)


@quiet
def clip_stage(g, out, scale, limit):
    np.multiply(g, scale, out=out)
    np.clip(out, -limit, limit, out=out)


@quiet
def prox_stage(w, shrink, factor):
    w -= np.clip(w, -shrink, shrink)
    w *= factor


@quiet
def average_stage(w, mean, factor):
    mean += (w - mean) * factor


@quiet
def sum_squares(g):
    return float(np.square(g, dtype=np.float64).sum())
