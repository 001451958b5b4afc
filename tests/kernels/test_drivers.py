"""Each driver of each backend against the reference in kernels/drivers.py, composed of naive functions, in float64."""

import copy
import itertools

import numpy as np
import pytest

from fastlin import _plan, ops, testing
from fastlin._check.csr import features
from fastlin._rows import CsrStorage
from fastlin.kernels import drivers
from fastlin.kernels.records import NO_STAGES, EpochData, EpochSteps, EpochWeights, Stages
from fastlin.ops import DRIVERS, LOSSES, STORAGES, UPDATES

# Every storage with every loss would be the product of what test_contract.py and others cover: they are paired.
PAIRS = list(zip(itertools.cycle(STORAGES), LOSSES, strict=False)) + [(name, "svm") for name in STORAGES]


def reference(driver, *pieces):
    """The kernel that the reference driver makes of naive functions."""
    naive = ops.module("naive")
    return getattr(drivers, f"{driver}_driver")(*(getattr(naive, name) for name in pieces))


def stored(name, n, d, dtype, seed=0):
    """A read-only X of the storage, whose rows are longer than their used part, or sparse."""
    kind = STORAGES[name].reads or dtype
    if isinstance(STORAGES[name], CsrStorage):
        X = np.random.default_rng([seed, n, d]).integers(-4, 5, (n, d)) // 3 * 2
        return features(testing.sparse(X.astype(kind), STORAGES[name].indices)).arrays
    X = np.random.default_rng([seed, n, d]).integers(0, 9, (n, d + 3)).astype(kind)[:, :d]
    X.flags.writeable = False
    return X


def weights_of(c, d, dtype, seed=1):
    W = _plan.padded((c, d + 1), np.dtype(dtype))
    W[...] = np.random.default_rng([seed, c, d]).standard_normal((c, d + 1)) / 8
    return W


def targets_of(loss, n, c, dtype):
    rng = np.random.default_rng([2, n, c])
    if LOSSES[loss].targets is None:
        return rng.integers(0, c, n).astype(np.int32)
    return (rng.integers(0, 9, (n, c)) / 8).astype(dtype)


def row_weights(n, dtype):
    weight = np.random.default_rng(n).uniform(0.5, 1.5, n).astype(np.float32).astype(dtype)
    weight.flags.writeable = False
    return weight


def assert_close(found, expected, dtype, terms):
    for one, other in zip(found, expected, strict=True):
        assert testing.error(one, other) <= testing.tolerance(dtype, terms)


def served(storage, dtype):
    """The dtype of W, or the one that the storage has."""
    return dtype if dtype in STORAGES[storage].W_dtypes else STORAGES[storage].W_dtypes[0]


def test_every_backend_has_every_driver(backend):
    for name in DRIVERS:
        assert callable(getattr(ops.module(backend), f"{name}_driver"))


@pytest.mark.parametrize("name", DRIVERS)
def test_the_reference_is_as_its_row_says(name):
    """Its pieces and the arguments of its kernel, by name and in order."""
    row, driver = DRIVERS[name], getattr(drivers, f"{name}_driver")
    pieces = driver.__code__.co_varnames[: driver.__code__.co_argcount]
    assert [piece.removesuffix("_of") for piece in pieces] == list(row.pieces)
    kernel = driver(*[None] * len(pieces)).__code__
    assert kernel.co_varnames[: kernel.co_argcount] == row.args
    assert set(row.writes) <= set(row.args)


@pytest.mark.paired(
    whole=[("pair", "backend"), ("cut", "threads", "backend", "dtype")],
    pair=PAIRS,
    cut=[(1, 1), (3, 2)],
    threads=[1, 3],
)
def test_loss(pair, cut, threads, backend, dtype):
    """dW of a W without b; parts of unequal size, in several calls; nothing but `writes` is written.

    Where kernels want W feature-major, one of the cuts has it read where it lies.
    """
    (storage, loss), (parts, chunks) = pair, cut
    dtype = served(storage, dtype)
    n, d, c, block = 103, 37, 5, 16
    layout = STORAGES[storage].layout
    hyper = tuple(spec.test_value for spec in LOSSES[loss].hyper.values())

    def run(kernel, dtype):
        W = np.random.default_rng(3).standard_normal((d, c)).astype(np.float32).astype(dtype)
        given = stored(storage, n, d, dtype), W, targets_of(loss, n, c, dtype), row_weights(n, dtype)
        cut = _plan.Plan(parts, chunks, block if ops.BACKENDS[backend].compiled else n, threads)
        feature_major = (d, parts > 1) if layout == "feature_major" else ()
        own = _plan.Workspace(cut, c, d, np.dtype(dtype), STORAGES[storage].converts, *feature_major)
        dW, before = np.empty((d, c), dtype), copy.deepcopy(given)
        for part, chunk in itertools.product(range(parts), range(chunks)):
            kernel(*given, hyper, 1 / n, *own.arrays, dW, part, part + 1, chunk, chunks, threads)
        for A, B in zip(given, before, strict=True):
            for one, other in zip(A, B, strict=True) if isinstance(A, tuple) else [(A, B)]:
                np.testing.assert_array_equal(one, other)
        return own.losses.sum(), dW

    names = f"{storage}_scores", LOSSES[loss].epilogue, f"{storage}_gradient"
    exact = run(reference("loss", f"to_{layout}", *names, f"combine_{layout}"), "float64")
    found = run(ops.loss_kernel(LOSSES[loss], STORAGES[storage], backend), dtype)
    assert_close(found, exact, dtype, 40 * n)


SPARSE = [(name, loss) for name, loss in PAIRS if isinstance(STORAGES[name], CsrStorage)]


@pytest.mark.paired(
    whole=[("pair", "backend"), ("cut", "threads", "backend", "dtype")],
    pair=SPARSE,
    cut=[(1, 1), (3, 2)],
    threads=[1, 3],
)
def test_slopes(pair, cut, threads, backend, dtype):
    """Losses, slopes and their sums; parts of unequal size, in several calls; nothing but `writes` is written."""
    (storage, loss), (parts, chunks) = pair, cut
    dtype = served(storage, dtype)
    n, d, c, block = 103, 37, 5, 16
    hyper = tuple(spec.test_value for spec in LOSSES[loss].hyper.values())

    def run(kernel, dtype):
        W = np.random.default_rng(3).standard_normal((d + 1, c)).astype(np.float32).astype(dtype)
        given = stored(storage, n, d, dtype), W, targets_of(loss, n, c, dtype), row_weights(n, dtype)
        cut = _plan.Plan(parts, chunks, block if ops.BACKENDS[backend].compiled else n, threads)
        own, before = _plan.SlopesWorkspace(cut, n, c, np.dtype(dtype)), copy.deepcopy(given)
        own.sums[...] = own.slopes[...] = 7.0
        for part, chunk in itertools.product(range(parts), range(chunks)):
            kernel(*given, hyper, *own.arrays, part, part + 1, chunk, chunks, threads)
        for A, B in zip(given, before, strict=True):
            for one, other in zip(A, B, strict=True) if isinstance(A, tuple) else [(A, B)]:
                np.testing.assert_array_equal(one, other)
        return own.losses, own.slopes, own.sums

    exact = run(reference("slopes", f"{storage}_scores", LOSSES[loss].epilogue, "turn_slopes"), "float64")
    found = run(ops.slopes_kernel(LOSSES[loss], STORAGES[storage], backend), dtype)
    assert_close(found, exact, dtype, 40 * n)


@pytest.mark.parametrize("loss", ["svm", "squared_error"])
def test_losses(loss, backend, dtype):
    hyper = tuple(spec.test_value for spec in LOSSES[loss].hyper.values())
    k, c, d, n, block = 3, 4, 9, 45, 16

    def run(kernel, dtype):
        blocks = np.random.default_rng(0).integers(0, 9, (3, d, block)).astype(dtype)
        given = weights_of(k * c, d, dtype).astype(np.float32).astype(dtype), targets_of(loss, n, c, dtype)
        losses = np.full(k, 7.0)
        work = np.empty((k * c + 3, block), dtype), np.zeros(k * c, dtype)
        kernel(blocks, *given, row_weights(n, dtype), hyper, *work, losses)
        return (losses,)

    exact = run(reference("losses", "add_product", LOSSES[loss].epilogue), "float64")
    assert_close(run(ops.losses_kernel(LOSSES[loss], backend), dtype), exact, dtype, 10 * d)


EPOCHS = [
    (storage, loss, update, bias)
    for (storage, loss), update, bias in zip(
        PAIRS, itertools.cycle(UPDATES), itertools.cycle([True, False]), strict=False
    )
    if STORAGES[storage].gathers
]


@pytest.mark.paired(whole=[("composition", "backend")], composition=EPOCHS)
def test_epoch(composition, backend, dtype):
    """Batches of several blocks and subtotals, the last shorter; penalty, both clips, prox, mean, mapped columns."""
    storage, loss, update, bias = composition
    dtype = served(storage, dtype)
    n, d, c, batch, block = 53, 40, 3, 20, 8
    row, hyper = UPDATES[update], tuple(spec.test_value for spec in LOSSES[loss].hyper.values())
    others = tuple(spec.test_value for name, spec in row.hyper.items() if name != "lr")

    def run(kernel, dtype, column_blocks, block, padded):
        order = np.random.default_rng(0).permutation(n)
        scale_shift = np.stack([np.linspace(0.5, 1, d), np.linspace(-1, 1, d)]).astype(np.float32).astype(dtype)
        given = stored(storage, n, d, dtype), targets_of(loss, n, c, dtype), row_weights(n, dtype), order
        data = EpochData(*given, scale_shift, hyper, bias, batch, not bias)
        shrinkage = np.array([[0.01, 0.9], [0.02, 0.95], [0.0, 1.0]])
        lr = np.array([0.05, 0.04, 0.03])
        averaging = np.array([1.0, 0.5, 0.3])
        steps = EpochSteps(3, "t" in row.args, lr, others, (0.02, 0.01), (0.3, 0.8), shrinkage, averaging)
        W, dW, *state = (weights_of(c, d, dtype, seed) for seed in range(2 + len(row.state)))
        for A in (W, *state):
            A[...] = A.astype(np.float32)
            A[:, d] *= bias
        dW[...] = dW.astype(np.float32) / 8
        dW[:, d] *= bias
        for A in state:
            np.abs(A, out=A)
        if not padded:
            W, dW, *state = (np.ascontiguousarray(A) for A in (W, dW, *state))
        cut = _plan.EpochPlan(column_blocks, block, 0, 1, subtotal=2 if padded else 0)
        workspace = _plan.epoch_workspace(cut, len(lr), c, d, np.dtype(dtype))
        mean = np.zeros((c, d + 1))
        blocks = 3 * -(-batch // block)
        for first in range(0, blocks, 2):
            kernel(data, steps, EpochWeights(W, dW, tuple(state), mean), workspace, first, min(first + 2, blocks), 2)
        # Without b no kernel reads its column of the state.
        return W, *(A[:, : d + bias] for A in (mean, *state)), workspace.losses, workspace.penalties.sum(axis=1)

    names = f"{storage}_gather_scores", LOSSES[loss].epilogue, f"{storage}_gather_gradient"
    stages = "penalty_stage", "sum_squares", "clip_stage", update, "prox_stage", "average_stage"
    compiled = ops.BACKENDS[backend].compiled
    kernel = ops.epoch_kernel(LOSSES[loss], STORAGES[storage], update, backend)
    found = run(kernel, dtype, 2 if compiled else 1, block, compiled)
    exact = run(reference("epoch", *names, *stages), "float64", 1, 20, False)
    assert_close(found, exact, dtype, 40 * n)


@pytest.mark.parametrize("update", UPDATES)
@pytest.mark.parametrize("stages", [NO_STAGES, Stages(0.7, 0.2, 0.01, 0.9)], ids=["alone", "staged"])
def test_step(update, stages, backend, dtype):
    def run(kernel, dtype):
        case = testing.update_case(update, 301, "float32").astype(dtype)
        w, g, *state = case.fresh()
        kernel(w, g, tuple(state), case.scalars, stages, 3, 2)
        return w, *state

    exact = run(reference("step", "clip_stage", update, "prox_stage"), "float64")
    assert_close(run(ops.step_kernel(update, backend), dtype), exact, dtype, 4)


def test_squares(backend, dtype):
    g = np.random.default_rng(0).standard_normal(1001).astype(dtype)
    sums = np.full(4, 7.0)
    ops.squares_kernel(backend)(g, sums, 2)
    exact = [np.square(part, dtype=np.float64).sum() for part in (g[:250], g[250:500], g[500:750], g[750:])]
    np.testing.assert_allclose(sums, exact, rtol=1e-12)
