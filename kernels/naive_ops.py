"""Textbook loops compute the formulas one row after the other, in float64. See fastlin/ops.py for the contract.

This code is written to be read: a row's scores are W x + b, the loss goes over the row's classes, and each class adds
its slope times x to its row of dW. Scores become lists first: Python indexes a list three times faster than an array.
"""

import math

import numpy as np

from fastlin.kernels.drivers import *  # noqa: F403  (the drivers)
from fastlin.kernels.naive_updates import *  # noqa: F403  (the optimizer steps)

quiet = np.errstate(all="ignore")  # NaN and Inf follow IEEE's rules, whatever np.errstate the caller has set


def log1p(x, out):
    for i in range(len(x)):
        out[i] = math.log1p(x[i]) if x[i] > -1.0 else math.nan  # math.log1p raises where there is no logarithm


def exp(x, out):
    for i in range(len(x)):
        out[i] = math.inf if x[i] > 709.79 else math.exp(x[i])  # math.exp raises where IEEE says inf


# ---- Layout ----------------------------------------------------------------------------------------------


def to_class_major(W, weights):
    weights[:, -1] = 0
    for k, row in enumerate(W):
        weights[:, k] = row


@quiet
def combine_class_major(parts, scale, dW):
    total = np.zeros(parts[0].shape)
    for part in parts:
        total += part
    for k in range(len(dW)):
        dW[k] = scale * total[:, k]


def to_feature_major(W, weights):
    weights[...] = W


@quiet
def combine_feature_major(parts, scale, dW):
    total = np.zeros(parts[0].shape)
    for part in parts:
        total += part
    dW[...] = scale * total


# ---- Storages: the numbers of a row of X, whatever their type, are used as float64 --------------------------


@quiet
def add_product(X, G, total, sums):
    dW, db = total.astype(np.float64), sums.astype(np.float64)
    for r in range(len(X)):
        x, g = X[r].astype(np.float64), G[:, r].astype(np.float64)
        for j in range(len(g)):
            dW[j] += g[j] * x
        db += g
    total[...], sums[...] = dW, db


@quiet
def dense_scores(X, start, W, row_buffer, scores):
    weights, b = W[:, :-1].astype(np.float64), W[:, -1].astype(np.float64)
    for r in range(scores.shape[1]):
        x = X[start + r].astype(np.float64)
        scores[:, r] = weights.dot(x) + b


def dense_gradient(X, start, row_buffer, dscores, dW):
    add_product(X[start : start + dscores.shape[1]], dscores, dW[:, :-1], dW[:, -1])


@quiet
def dense_gather_scores(X, order, first, last, scale_shift, row_buffer, W, scores):
    weights, b = W[:, first:last].astype(np.float64), W[:, -1].astype(np.float64)
    for r, i in enumerate(order[: scores.shape[1]]):
        x = X[i, first:last].astype(np.float64)
        if len(scale_shift):
            x = x * scale_shift[0, first:last] + scale_shift[1, first:last]
        row_buffer[r, first:last] = x
        s = weights.dot(row_buffer[r, first:last].astype(np.float64))
        scores[:, r] = s + b if first == 0 else s


def dense_gather_gradient(X, order, first, last, scale_shift, row_buffer, dscores, dW):
    sums = dW[:, -1] if first == 0 else dW[:, -1].copy()
    add_product(row_buffer[: dscores.shape[1], first:last], dscores, dW[:, first:last], sums)


uint8_scores = float16_scores = float32_scores = dense_scores
uint8_gradient = float16_gradient = float32_gradient = dense_gradient
uint8_gather_scores = float16_gather_scores = float32_gather_scores = dense_gather_scores
uint8_gather_gradient = float16_gather_gradient = float32_gather_gradient = dense_gather_gradient


# ---- Sparse rows: W and dW are (d, c), or (d + 1, c) with b as the last row --------------------------------


def entries_of(X, i):
    """The entries of row i, as (column, number); those outside the matrix are passed over."""
    own = slice(X.indptr[i], X.indptr[i + 1])
    return [(k, x) for k, x in zip(X.indices[own].tolist(), X.data[own].tolist(), strict=True) if 0 <= k < X.d]


@quiet
def csr_scores(X, start, W, row_buffer, scores):
    weights = W.astype(np.float64)
    for r in range(scores.shape[1]):
        s = weights[X.d].copy() if len(weights) > X.d else np.zeros(W.shape[1])
        for k, x in entries_of(X, start + r):
            s += x * weights[k]
        scores[:, r] = s


@quiet
def csr_gradient(X, start, row_buffer, dscores, dW):
    total = dW.astype(np.float64)
    for r in range(dscores.shape[1]):
        g = dscores[:, r].astype(np.float64)
        for k, x in entries_of(X, start + r):
            total[k] += x * g
        if len(total) > X.d:
            total[X.d] += g
    dW[...] = total


csr_float32_scores = csr_int64_scores = csr_float32_int64_scores = csr_scores
csr_float32_gradient = csr_int64_gradient = csr_float32_int64_gradient = csr_gradient


@quiet
def turn_slopes(dscores, start, slopes, sums):
    for r in range(dscores.shape[1]):
        slopes[start + r] = dscores[:, r]
    sums += dscores.sum(axis=1, dtype=np.float64)


@quiet
def csr_columns(XT, start, parts, slopes, adds, scale, dW):
    for k in range(len(dW)):
        total = dW[k].astype(np.float64) if adds else np.zeros(dW.shape[1])
        for r, x in entries_of(XT, start + k):
            total += x * slopes[r].astype(np.float64)
        dW[k] = scale * total


csr_float32_columns = csr_columns


def place_columns(columns, next, places):
    for i, k in enumerate(columns.tolist()):
        places[i] = next[k]
        next[k] += 1


# ---- Losses ----------------------------------------------------------------------------------------------


def softmax_epilogue(scores, y, sample_weight, scratch, label_smoothing):
    c = scores.shape[0]
    loss = 0.0
    for r, label in enumerate(y.tolist()):
        s = scores[:, r].tolist()
        weight = float(sample_weight[r])
        row_max = max(s)
        z = 0.0
        for j in range(c):
            z += math.exp(s[j] - row_max)
        for j in range(c):
            target = label_smoothing / c
            if j == label:
                target += 1.0 - label_smoothing
            shifted = s[j] - row_max
            if target:  # a class with target 0 may have log-probability -inf, and 0 * inf would be NaN
                loss += weight * target * (math.log(z) - shifted)
            scores[j, r] = weight * (math.exp(shifted) / z - target)
    return loss


def soft_softmax_epilogue(scores, targets, sample_weight, scratch, label_smoothing):
    c = scores.shape[0]
    loss = 0.0
    for r, row in enumerate(targets.tolist()):
        s = scores[:, r].tolist()
        weight = float(sample_weight[r])
        row_max = max(s)
        z = total = 0.0
        for j in range(c):
            row[j] = (1.0 - label_smoothing) * row[j] + label_smoothing / c
            z += math.exp(s[j] - row_max)
            total += row[j]
        loss += weight * total * math.log(z)
        for j in range(c):
            shifted = s[j] - row_max
            if row[j]:
                loss -= weight * row[j] * shifted
            scores[j, r] = weight * (total * math.exp(shifted) / z - row[j])
    return loss


def svm_epilogue(scores, y, sample_weight, scratch, margin):
    loss = 0.0
    for r, label in enumerate(y.tolist()):
        s = scores[:, r].tolist()
        weight = float(sample_weight[r])
        violations = 0
        for j in range(len(s)):
            if j == label:
                continue
            v = s[j] - s[label] + margin
            # Written so that a NaN counts as a violation: it must reach the loss, not vanish in a max.
            violated = not v <= 0.0
            scores[j, r] = weight if violated else 0.0
            if violated:
                loss += weight * v
                violations += 1
        scores[label, r] = -weight * violations
    return loss


def squared_svm_epilogue(scores, y, sample_weight, scratch, margin):
    loss = 0.0
    for r, label in enumerate(y.tolist()):
        s = scores[:, r].tolist()
        weight = float(sample_weight[r])
        total = 0.0
        for j in range(len(s)):
            if j == label:
                continue
            v = s[j] - s[label] + margin
            if v <= 0.0:
                v = 0.0
            loss += weight * v * v
            scores[j, r] = 2.0 * weight * v
            total += v
        scores[label, r] = -2.0 * weight * total
    return loss


def crammer_singer_svm_epilogue(scores, y, sample_weight, scratch, margin):
    loss = 0.0
    for r, label in enumerate(y.tolist()):
        s = scores[:, r].tolist()
        weight = float(sample_weight[r])
        worst, most = -1, 0.0
        for j in range(len(s)):
            v = s[j] - s[label] + margin
            if j != label and (v > most or (v != v and most == most)):  # keeps the first NaN as the maximum
                worst, most = j, v
        loss += weight * most
        scores[:, r] = 0.0
        if worst >= 0:
            scores[worst, r] = weight
            scores[label, r] = -weight
    return loss


def by_element(scores, targets, sample_weight, formula):
    """The sum of the losses of formula(s, t) = (loss, slope) over all scores, each with its target."""
    loss = 0.0
    for r, row in enumerate(targets.tolist()):
        weight = float(sample_weight[r])
        for j, t in enumerate(row):
            value, slope = formula(float(scores[j, r]), t)
            loss += weight * value
            scores[j, r] = weight * slope
    return loss


def one_vs_rest_svm_epilogue(scores, targets, sample_weight, scratch, margin):
    def formula(s, t):
        side = 2.0 * t - 1.0  # 1 for the class, -1 for the others
        v = margin - side * s
        return (0.0, 0.0) if v <= 0.0 else (v, -side)

    return by_element(scores, targets, sample_weight, formula)


def squared_one_vs_rest_svm_epilogue(scores, targets, sample_weight, scratch, margin):
    def formula(s, t):
        side = 2.0 * t - 1.0
        v = margin - side * s
        return (0.0, 0.0) if v <= 0.0 else (v * v, -2.0 * side * v)

    return by_element(scores, targets, sample_weight, formula)


def logistic_epilogue(scores, targets, sample_weight, scratch):
    def formula(s, t):
        e = math.exp(-abs(s))  # never overflows
        return max(s, 0.0) - t * s + math.log1p(e), (1.0 if s >= 0.0 else e) / (1.0 + e) - t

    return by_element(scores, targets, sample_weight, formula)


def sigmoid_squared_epilogue(scores, targets, sample_weight, scratch):
    def formula(s, t):
        e = math.exp(-abs(s))
        d = (1.0 if s >= 0.0 else e) / (1.0 + e) - t
        return d * d, 2.0 * d * e / ((1.0 + e) * (1.0 + e))  # slope of sigma: sigma (1 - sigma)

    return by_element(scores, targets, sample_weight, formula)


def squared_error_epilogue(scores, targets, sample_weight, scratch):
    return by_element(scores, targets, sample_weight, lambda s, t: ((s - t) * (s - t), 2.0 * (s - t)))


def absolute_error_epilogue(scores, targets, sample_weight, scratch):
    def formula(s, t):
        d = s - t
        return abs(d), 1.0 if d > 0.0 else -1.0 if d < 0.0 else d  # keeps 0 and NaN

    return by_element(scores, targets, sample_weight, formula)


def huber_epilogue(scores, targets, sample_weight, scratch, delta):
    def formula(s, t):
        d = s - t
        if abs(d) <= delta:
            return 0.5 * d * d, d
        return delta * (abs(d) - 0.5 * delta), delta if d > 0.0 else -delta if d < 0.0 else d  # keeps a NaN

    return by_element(scores, targets, sample_weight, formula)


# ---- Curvature: fastlin/ops.py says what these are ---------------------------------------------------------


def softmax_curvature_epilogue(scores, targets, sample_weight, scratch):
    loss = 0.0
    for r, A in enumerate(targets.tolist()):
        s = scores[:, r].tolist()
        weight = float(sample_weight[r])
        mean = 0.0
        for j in range(len(s)):
            mean += A[j] * s[j]
        for j in range(len(s)):
            difference = s[j] - mean
            loss += weight * 0.5 * A[j] * difference * difference
            scores[j, r] = weight * A[j] * difference
    return loss


def svm_curvature_epilogue(scores, targets, sample_weight, scratch):
    loss = 0.0
    for r, A in enumerate(targets.tolist()):
        s = scores[:, r].tolist()
        weight = float(sample_weight[r])
        own = 0.0
        total = 0.0
        for j in range(len(s)):
            if A[j] < 0.0:
                own = s[j]
        for j in range(len(s)):
            slope = max(A[j], 0.0) * (s[j] - own)
            loss += weight * 0.5 * slope * (s[j] - own)
            scores[j, r] = weight * slope
            total += slope
        for j in range(len(s)):
            if A[j] < 0.0:
                scores[j, r] = -weight * total
    return loss


def element_curvature_epilogue(scores, targets, sample_weight, scratch):
    return by_element(scores, targets, sample_weight, lambda s, t: (0.5 * t * s * s, t * s))
