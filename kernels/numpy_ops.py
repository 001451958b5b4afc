"""The vectorised NumPy forms: what a good NumPy user would write. See fastlin/ops.py for the contract."""

import numpy as np

from fastlin.kernels.compose import compose_alone
from fastlin.kernels.compose import compose_losses as compose_losses
from fastlin.kernels.compose import compose_squares_alone as compose_squares  # noqa: F401
from fastlin.kernels.compose import compose_step_alone as compose_step  # noqa: F401
from fastlin.kernels.numpy_updates import *  # noqa: F403  (the optimizer steps)
from fastlin.kernels.numpy_updates import quiet


@quiet
def exp(x, out):
    np.exp(x, out=out)


def to_class_major(W, by_class):
    by_class[...] = W.T


@quiet
def combine(parts, scale, dW):
    for part in parts[1:]:
        parts[0] += part
    np.multiply(parts[0].T, scale, out=dW)


def compose(*pieces):
    return compose_alone(*pieces, to_class_major, combine)


def dense_load(X, rows):
    return X


def uint8_load(X, rows):
    rows[: len(X)] = X
    return rows[: len(X)]


@quiet
def dense_scores(X, W, b, scores):
    np.matmul(W, X.T, out=scores)
    scores += b[:, None]


@quiet
def dense_gather_scores(X, order, features, rows, W, b, scores):
    copies = rows[: len(order)]
    copies[...] = X[order]
    if len(features):
        copies *= features[0]
        copies += features[1]
    dense_scores(copies, W, b, scores)


def uint8_gather_scores(X, order, features, rows, W, b, scores):
    dense_gather_scores(X, order, features, rows, W, b, scores)


@quiet
def dense_gradient(X, dscores, dW, db):
    dW += dscores @ X
    db += dscores.sum(axis=1)


@quiet
def softmax_epilogue(scores, y, sample_weight, scratch, label_smoothing):
    rows = np.arange(y.size)
    scores -= scores.max(axis=0)
    fit = (1 - label_smoothing) * scores[y, rows]
    if label_smoothing:
        fit += label_smoothing * scores.mean(axis=0)
    np.exp(scores, out=scores)
    z = scores.sum(axis=0)
    loss = np.dot(np.log(z) - fit, sample_weight.astype(np.float64))
    scores /= z
    scores[y, rows] -= 1 - label_smoothing
    scores -= label_smoothing / len(scores)
    scores *= sample_weight
    return float(loss)


@quiet
def svm_epilogue(scores, y, sample_weight, scratch, margin):
    rows = np.arange(y.size)
    scores -= scores[y, rows] - margin
    scores[y, rows] = 0
    np.maximum(scores, 0, out=scores)
    loss = np.dot(scores.sum(axis=0), sample_weight.astype(np.float64))
    violated = ~(scores <= 0)  # true for NaN
    np.multiply(violated, sample_weight, out=scores)
    scores[y, rows] = -violated.sum(axis=0) * sample_weight
    return float(loss)


@quiet
def squared_svm_epilogue(scores, y, sample_weight, scratch, margin):
    rows = np.arange(y.size)
    scores -= scores[y, rows] - margin
    scores[y, rows] = 0
    np.maximum(scores, 0, out=scores)
    loss = np.dot(np.square(scores).sum(axis=0), sample_weight.astype(np.float64))
    scores *= 2 * sample_weight
    scores[y, rows] = -scores.sum(axis=0)
    return float(loss)


@quiet
def crammer_singer_svm_epilogue(scores, y, sample_weight, scratch, margin):
    rows = np.arange(y.size)
    scores -= scores[y, rows] - margin
    scores[y, rows] = -np.inf
    worst = scores.argmax(axis=0)  # a NaN counts as the largest
    most = np.maximum(scores[worst, rows], 0)
    slope = np.where(most <= 0, 0, sample_weight)
    scores[...] = 0
    scores[worst, rows] = slope
    scores[y, rows] = -slope
    return weighted(most, sample_weight)


def weighted(losses, sample_weight):
    """Their sum, weighted, in float64."""
    return float(np.dot(losses, sample_weight.astype(np.float64)))


@quiet
def one_vs_rest_svm_epilogue(scores, targets, sample_weight, scratch, margin):
    side = 2 * targets.T - 1  # 1 is the class, -1 the rest
    v = np.maximum(margin - side * scores, 0)
    np.multiply(~(v <= 0) * -side, sample_weight, out=scores)
    return weighted(v.sum(axis=0), sample_weight)


@quiet
def squared_one_vs_rest_svm_epilogue(scores, targets, sample_weight, scratch, margin):
    side = 2 * targets.T - 1
    v = np.maximum(margin - side * scores, 0)
    np.multiply(-2 * side * v, sample_weight, out=scores)
    return weighted(np.square(v).sum(axis=0), sample_weight)


@quiet
def logistic_epilogue(scores, targets, sample_weight, scratch):
    e = np.exp(-np.abs(scores))  # never overflows
    losses = np.maximum(scores, 0) - targets.T * scores + np.log1p(e)
    np.multiply(np.where(scores >= 0, 1, e) / (1 + e) - targets.T, sample_weight, out=scores)
    return weighted(losses.sum(axis=0), sample_weight)


@quiet
def sigmoid_squared_epilogue(scores, targets, sample_weight, scratch):
    e = np.exp(-np.abs(scores))
    d = np.where(scores >= 0, 1, e) / (1 + e) - targets.T
    np.multiply(2 * d * e / np.square(1 + e), sample_weight, out=scores)  # sigma (1 - sigma), without a difference
    return weighted(np.square(d).sum(axis=0), sample_weight)


@quiet
def squared_error_epilogue(scores, targets, sample_weight, scratch):
    scores -= targets.T
    loss = weighted(np.square(scores).sum(axis=0), sample_weight)
    scores *= 2 * sample_weight
    return loss


@quiet
def absolute_error_epilogue(scores, targets, sample_weight, scratch):
    scores -= targets.T
    loss = weighted(np.abs(scores).sum(axis=0), sample_weight)
    np.multiply(np.sign(scores), sample_weight, out=scores)
    return loss
