"""The vectorised NumPy kernels, as a good NumPy user would write them. See fastlin/ops.py for the contract."""

import numpy as np

from fastlin.kernels.drivers import *  # noqa: F403  (the drivers)
from fastlin.kernels.numpy_updates import *  # noqa: F403  (the optimizer steps)
from fastlin.kernels.numpy_updates import quiet


@quiet
def exp(x, out):
    np.exp(x, out=out)


@quiet
def log1p(x, out):
    np.log1p(x, out=out)


# ---- Layout ----------------------------------------------------------------------------------------------


def to_class_major(W, weights):
    weights[:, -1] = 0
    weights[:, : len(W)] = W.T


@quiet
def combine_class_major(parts, scale, dW):
    for part in parts[1:]:
        parts[0] += part
    np.multiply(parts[0, :, : len(dW)].T, scale, out=dW)


def to_feature_major(W, weights):
    weights[...] = W


@quiet
def combine_feature_major(parts, scale, dW):
    for part in parts[1:]:
        parts[0] += part
    np.multiply(parts[0], scale, out=dW)


# ---- Storages: rows of W's dtype in place, or converted into the buffer ------------------------------------


@quiet
def add_product(X, G, total, sums):
    total += G @ X
    sums += G.sum(axis=1)


@quiet
def scores_of(rows, W, scores):
    np.matmul(W[:, :-1], rows.T, out=scores)
    scores += W[:, -1:]


def dense_scores(X, start, W, row_buffer, scores):
    scores_of(X[start : start + scores.shape[1]], W, scores)


def dense_gradient(X, start, row_buffer, dscores, dW):
    add_product(X[start : start + dscores.shape[1]], dscores, dW[:, :-1], dW[:, -1])


@quiet
def dense_gather_scores(X, order, first, last, scale_shift, row_buffer, W, scores):
    count = scores.shape[1]
    rows = row_buffer[:count, first:last]
    rows[...] = X[order[:count], first:last]
    if len(scale_shift):
        rows *= scale_shift[0, first:last]
        rows += scale_shift[1, first:last]
    np.matmul(W[:, first:last], rows.T, out=scores)
    if first == 0:
        scores += W[:, -1:]


def dense_gather_gradient(X, order, first, last, scale_shift, row_buffer, dscores, dW):
    sums = dW[:, -1] if first == 0 else dW[:, -1].copy()
    add_product(row_buffer[: dscores.shape[1], first:last], dscores, dW[:, first:last], sums)


def converted_scores(X, start, W, row_buffer, scores):
    rows = row_buffer[: scores.shape[1]]
    rows[...] = X[start : start + scores.shape[1]]
    scores_of(rows, W, scores)


def converted_gradient(X, start, row_buffer, dscores, dW):
    add_product(row_buffer[: dscores.shape[1]], dscores, dW[:, :-1], dW[:, -1])


uint8_scores = float16_scores = float32_scores = converted_scores
uint8_gradient = float16_gradient = float32_gradient = converted_gradient
uint8_gather_scores = float16_gather_scores = float32_gather_scores = dense_gather_scores
uint8_gather_gradient = float16_gather_gradient = float32_gather_gradient = dense_gather_gradient


# ---- Sparse rows: sums over the entries of a row, and over those of a column, class after class ------------------


def entries_of(X, start, rows):
    """Of each entry of some rows: its number, its column and its row, counted from `start`."""
    counts = np.diff(X.indptr[start : start + rows + 1])
    entries = slice(X.indptr[start], X.indptr[start + rows])
    columns, row_of = X.indices[entries].copy(), np.repeat(np.arange(rows), counts)  # a copy: read once
    inside = (columns >= 0) & (columns < X.d)
    if inside.all():
        return X.data[entries], columns, row_of
    return X.data[entries][inside], columns[inside], row_of[inside]


@quiet
def csr_scores(X, start, W, row_buffer, scores):
    rows = scores.shape[1]
    numbers, columns, row_of = entries_of(X, start, rows)
    for j, w in enumerate(W.T):
        scores[j] = np.bincount(row_of, numbers * w[columns], rows)
    scores += W[X.d :].sum(axis=0)[:, None]  # b, if there is one


@quiet
def csr_gradient(X, start, row_buffer, dscores, dW):
    numbers, columns, row_of = entries_of(X, start, dscores.shape[1])
    for j, g in enumerate(dscores):
        dW[: X.d, j] += np.bincount(columns, numbers * g[row_of], X.d)
    dW[X.d :] += dscores.sum(axis=1)


csr_float32_scores = csr_int64_scores = csr_float32_int64_scores = csr_scores
csr_float32_gradient = csr_int64_gradient = csr_float32_int64_gradient = csr_gradient


@quiet
def turn_slopes(dscores, start, slopes, sums):
    slopes[start : start + dscores.shape[1]] = dscores.T
    sums += dscores.sum(axis=1)


@quiet
def csr_columns(XT, start, parts, slopes, adds, scale, dW):
    numbers, rows, column_of = entries_of(XT, start, len(dW))
    for j, g in enumerate(slopes.T):
        total = np.bincount(column_of, numbers * g[rows], len(dW))
        dW[:, j] = scale * (total + dW[:, j] if adds else total)


csr_float32_columns = csr_columns


def place_columns(columns, next, places):
    order = np.argsort(columns, kind="stable")
    found, first, counts = np.unique(columns[order], return_index=True, return_counts=True)
    places[order] = np.arange(len(order)) + np.repeat(next[found] - first, counts)
    next[found] += counts


# ---- Losses ----------------------------------------------------------------------------------------------


@quiet
def softmax_epilogue(scores, y, sample_weight, scratch, label_smoothing):
    rows = np.arange(y.size)
    scores -= scores.max(axis=0)
    target_logit = (1 - label_smoothing) * scores[y, rows]
    if label_smoothing:
        target_logit += label_smoothing * scores.mean(axis=0)
    np.exp(scores, out=scores)
    z = scores.sum(axis=0)
    loss = np.dot(np.log(z) - target_logit, sample_weight.astype(np.float64))
    scores /= z
    scores[y, rows] -= 1 - label_smoothing
    scores -= label_smoothing / len(scores)
    scores *= sample_weight
    return float(loss)


@quiet
def soft_softmax_epilogue(scores, targets, sample_weight, scratch, label_smoothing):
    goal = (1 - label_smoothing) * targets.T + label_smoothing / len(scores)
    total = goal.sum(axis=0)
    scores -= np.max(scores, axis=0)
    target_logit = np.where(goal == 0, 0, goal * scores).sum(axis=0)  # 0 * -inf would be NaN
    z = np.exp(scores, out=scores).sum(axis=0)
    scores *= total / z
    scores -= goal
    scores *= sample_weight
    return weighted(total * np.log(z) - target_logit, sample_weight)


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
    """The weighted sum of the losses in float64."""
    return float(np.dot(losses, sample_weight.astype(np.float64)))


@quiet
def one_vs_rest_svm_epilogue(scores, targets, sample_weight, scratch, margin):
    side = 2 * targets.T - 1  # 1 for the class, -1 for the others
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
    np.multiply(2 * d * e / np.square(1 + e), sample_weight, out=scores)  # slope of sigma: sigma (1 - sigma)
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


@quiet
def huber_epilogue(scores, targets, sample_weight, scratch, delta):
    scores -= targets.T
    size, slope = np.abs(scores), np.clip(scores, -delta, delta)
    losses = np.where(size <= delta, scores * scores / 2, delta * (size - delta / 2))
    np.multiply(slope, sample_weight, out=scores)
    return weighted(losses.sum(axis=0), sample_weight)


@quiet
def softmax_curvature_epilogue(scores, targets, sample_weight, scratch):
    A = targets.T
    scores -= (A * scores).sum(axis=0)
    loss = weighted((A * np.square(scores)).sum(axis=0), sample_weight) / 2
    scores *= A
    scores *= sample_weight
    return loss


@quiet
def svm_curvature_epilogue(scores, targets, sample_weight, scratch):
    own = targets.T < 0
    A = np.maximum(targets.T, 0)
    scores -= np.where(own, scores, 0).sum(axis=0)
    loss = weighted((A * np.square(scores)).sum(axis=0), sample_weight) / 2
    scores *= A
    scores *= sample_weight
    scores -= own * scores.sum(axis=0)
    return loss


@quiet
def element_curvature_epilogue(scores, targets, sample_weight, scratch):
    loss = weighted((targets.T * np.square(scores)).sum(axis=0), sample_weight) / 2
    scores *= targets.T
    scores *= sample_weight
    return loss
