"""Optimizer steps in vectorised NumPy. See fastlin/ops.py for the contract."""

import numpy as np

# NaN and Inf take IEEE's course here as in the compiled kernels, whatever the caller told NumPy to do about them.
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
def nesterov_update(w, g, v, lr, momentum, weight_decay):
    gradient = g + weight_decay * w
    v *= momentum
    v += gradient
    w -= lr * (gradient + momentum * v)


@quiet
def adam_update(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    gradient = g + weight_decay * w
    m *= beta1
    m += (1 - beta1) * gradient
    v *= beta2
    v += (1 - beta2) * np.square(gradient)
    m_unbiased = m / (1 - beta1**t)
    v_unbiased = v / (1 - beta2**t)
    w -= lr * m_unbiased / (np.sqrt(v_unbiased) + eps)
