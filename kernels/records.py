"""Records of the arguments of kernels, so that no call has twenty of them in a row. fastlin/ makes the records.

One formula is here too, because fastlin/ and the kernels both need it.

n rows, d features, c classes; kernels see W, dW and an optimizer's state class-major, (c, d + 1) with b last, but for
the losses of sparse rows: these see W and dW feature-major, (d, c) or (d + 1, c) with b as the last row.
"""

import math
from typing import NamedTuple

import numpy as np


class Stages(NamedTuple):
    """The changes of g before an update and of w after it; the defaults change nothing."""

    scale: float = 1.0  # of g
    limit: float = math.inf  # of |scale g|
    shrink: float = 0.0  # subtracted from |w|, down to 0
    factor: float = 1.0  # multiplies w afterwards


NO_STAGES = Stages()


class CsrRows(NamedTuple):
    """Sparse rows: those of row i are the entries indptr[i] ... indptr[i + 1] - 1 of data and indices.

    indptr is our own and has been checked. data and indices are the caller's: a kernel reads each index once and passes
    over one that is not in [0, d), so that whoever writes to them meanwhile leads it nowhere.
    """

    data: np.ndarray  # (nnz,) float32 or float64
    indices: np.ndarray  # (nnz,) int32 or int64, in any order, perhaps some twice in a row: these are added up
    indptr: np.ndarray  # (n + 1,) int64, ascending
    d: int  # columns


class EpochData(NamedTuple):
    """The arrays and options that an epoch reads."""

    X: np.ndarray  # (n, d), or what its storage reads
    y: np.ndarray  # (n,) int32 labels, or (n, c) targets
    sample_weight: np.ndarray  # (n,)
    order: np.ndarray  # int64: the rows of all batches, one after the other
    scale_shift: np.ndarray  # (2, d): the scale and then the shift of each feature; (0, d): none
    hyper: tuple  # of the loss
    bias: bool  # whether there is a b; without one the last column of W stays 0
    batch_size: int
    dW_begun: bool  # whether dW begins at what the caller has written there, and not at 0


class EpochSteps(NamedTuple):
    """The optimizer's steps: rates, hyper-parameters, penalty, clipping and prox."""

    t: int  # the number of the first step, from 1
    counts: bool  # whether the update is given t
    lr: np.ndarray  # (steps,): the rate of each
    others: tuple  # the update's hyper-parameters after lr
    penalty: tuple  # (l2, l1) of l2 sum(W^2) + l1 sum(|W|), b left out
    clip: tuple  # (limit of each entry, limit of the norm), inf for none
    shrinkage: np.ndarray  # (steps, 2): (shrink, factor) of each step's prox, b left out; (0, 2): none
    averaging: np.ndarray  # (steps,): the part of its way to W that the mean goes after each step; (0,): no mean


class EpochWeights(NamedTuple):
    """The arrays that the steps change, all but the mean of one shape and memory layout."""

    W: np.ndarray
    dW: np.ndarray  # overwritten
    state: tuple  # of the optimizer
    mean: np.ndarray  # (c, d + 1) in float64, of W after each step; (0, d + 1): none


class EpochWorkspace(NamedTuple):
    """The buffers of an epoch, and the sums that it adds to."""

    row_buffer: np.ndarray  # (block, d)
    partial: np.ndarray  # (2, column blocks, c, block): each column block's part of the scores, of two blocks of rows
    scores: np.ndarray  # (column blocks, c + scratch, block)
    subtotal: np.ndarray  # (c, d + 1), rows as far apart as dW's: the gradient of some blocks, to be added to dW
    subtotal_blocks: int  # how many they are; 0: every block adds to dW itself, and `subtotal` is (c, 0)
    losses: np.ndarray  # (steps,): of each batch, the weighted sum of losses
    penalties: np.ndarray  # (steps, column blocks): of each, its penalty times the rows of the batch
    squares: np.ndarray  # (column blocks,): of each, the sum of squares of its gradient


def clip_scale(norm, limit):
    """The factor that keeps a gradient of this norm within the limit, as in torch's clip_grad_norm_."""
    scale = limit / (norm + 1e-6)
    return 1.0 if scale >= 1.0 else scale  # keeps a NaN
