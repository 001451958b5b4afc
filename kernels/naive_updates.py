"""Optimizer steps as the papers write them, a number at a time. See fastlin/ops.py for the contract."""

import math


def sgd_update(w, g, lr, weight_decay):
    for i in range(len(w)):
        x = float(w[i])
        w[i] = x - lr * (float(g[i]) + weight_decay * x)


def momentum_update(w, g, v, lr, momentum, weight_decay):
    for i in range(len(w)):
        x = float(w[i])
        velocity = momentum * float(v[i]) + float(g[i]) + weight_decay * x
        v[i] = velocity
        w[i] = x - lr * velocity


def nesterov_update(w, g, v, lr, momentum, weight_decay):
    for i in range(len(w)):
        x = float(w[i])
        gradient = float(g[i]) + weight_decay * x
        velocity = momentum * float(v[i]) + gradient
        v[i] = velocity
        w[i] = x - lr * (gradient + momentum * velocity)


def adam_update(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    for i in range(len(w)):
        x = float(w[i])
        gradient = float(g[i]) + weight_decay * x
        first = beta1 * float(m[i]) + (1.0 - beta1) * gradient
        second = beta2 * float(v[i]) + (1.0 - beta2) * gradient * gradient
        m[i] = first
        v[i] = second
        first_unbiased = first / (1.0 - beta1**t)
        second_unbiased = second / (1.0 - beta2**t)
        w[i] = x - lr * first_unbiased / (math.sqrt(second_unbiased) + eps)
