"""The same loops for Numba, compiled at the first call for each dtype. See fastlin/ops.py for the contract.

Inner loops run along rows or features, the direction in which memory is contiguous, so that LLVM can use
vector registers. `scratch` holds what an epilogue knows about each row: maximum, sum, fit.
"""

import numba
import numpy as np

from fastlin.kernels.compose import compose as compose_python

# Sums may be reordered and multiply-adds fused. Not "nnan" or "ninf": NaN and Inf must take IEEE's course.
FASTMATH = {"reassoc", "contract", "nsz"}
jit = numba.njit(nogil=True, fastmath=FASTMATH, error_model="numpy")


def compose(load, scores_of, epilogue, gradient):
    return jit(compose_python(load, scores_of, epilogue, gradient))


@jit
def exp(x, out):
    for i in range(x.size):
        out[i] = np.exp(x[i])


@jit
def to_class_major(W, by_class):
    for k in range(W.shape[0]):
        for j in range(W.shape[1]):
            by_class[j, k] = W[k, j]


@jit
def combine(parts, scale, dW):
    factor = dW.dtype.type(scale)
    for k in range(dW.shape[0]):
        for j in range(dW.shape[1]):
            total = parts[0, j, k]
            for p in range(1, parts.shape[0]):
                total += parts[p, j, k]
            dW[k, j] = factor * total


@jit
def dense_load(X, rows):
    return X


@jit
def uint8_load(X, rows):
    for r in range(X.shape[0]):
        for k in range(X.shape[1]):
            rows[r, k] = X[r, k]
    return rows[: X.shape[0]]


@jit
def dense_scores(X, W, b, scores):
    for r in range(X.shape[0]):
        for j in range(W.shape[0]):
            s = b[j]
            for k in range(X.shape[1]):
                s += W[j, k] * X[r, k]
            scores[j, r] = s


@jit
def dense_gradient(X, dscores, dW, db):
    for j in range(dW.shape[0]):
        for r in range(X.shape[0]):
            ds = dscores[j, r]
            db[j] += ds
            if ds != 0:
                for k in range(X.shape[1]):
                    dW[j, k] += ds * X[r, k]


@jit
def softmax_epilogue(scores, y, sample_weight, scratch, label_smoothing):
    c, rows = scores.shape
    real = sample_weight.dtype.type
    top, z, fit = scratch[0], scratch[1], scratch[2]
    smooth = real(label_smoothing / c)
    hard = real(1.0 - label_smoothing)
    for r in range(rows):
        top[r] = scores[0, r]
        z[r] = 0
        fit[r] = 0
    for j in range(1, c):
        for r in range(rows):
            top[r] = max(top[r], scores[j, r])
    for j in range(c):
        for r in range(rows):
            shifted = scores[j, r] - top[r]
            fit[r] += smooth * shifted
            if y[r] == j:
                fit[r] += hard * shifted
            scores[j, r] = np.exp(shifted)
            z[r] += scores[j, r]
    loss = 0.0
    for r in range(rows):
        loss += np.float64(sample_weight[r]) * np.float64(np.log(z[r]) - fit[r])
    for j in range(c):
        for r in range(rows):
            target = smooth + hard if y[r] == j else smooth
            scores[j, r] = sample_weight[r] * (scores[j, r] / z[r] - target)
    return loss


@jit
def svm_epilogue(scores, y, sample_weight, scratch, margin):
    c, rows = scores.shape
    real = sample_weight.dtype.type
    required, total, violations = scratch[0], scratch[1], scratch[2]
    for r in range(rows):
        required[r] = scores[y[r], r] - real(margin)
        total[r] = 0
        violations[r] = 0
    for j in range(c):
        for r in range(rows):
            v = scores[j, r] - required[r]
            # A NaN counts as a violation: it must reach the loss.
            violated = real(0) if v <= 0 or y[r] == j else real(1)
            total[r] += v if violated else real(0)
            violations[r] += violated
            scores[j, r] = violated * sample_weight[r]
    loss = 0.0
    for r in range(rows):
        loss += np.float64(sample_weight[r]) * np.float64(total[r])
        scores[y[r], r] = -violations[r] * sample_weight[r]
    return loss


@jit
def squared_svm_epilogue(scores, y, sample_weight, scratch, margin):
    c, rows = scores.shape
    real = sample_weight.dtype.type
    required, squares, total = scratch[0], scratch[1], scratch[2]
    for r in range(rows):
        required[r] = scores[y[r], r] - real(margin)
        squares[r] = 0
        total[r] = 0
    for j in range(c):
        for r in range(rows):
            v = scores[j, r] - required[r]
            if v <= 0 or y[r] == j:
                v = real(0)
            squares[r] += v * v
            total[r] += v
            scores[j, r] = real(2) * v * sample_weight[r]
    loss = 0.0
    for r in range(rows):
        loss += np.float64(sample_weight[r]) * np.float64(squares[r])
        scores[y[r], r] = real(-2) * total[r] * sample_weight[r]
    return loss


# Scalars become the arrays' type first: one float64 factor would make every product a float64.


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
