"""A whole epoch in one kernel call, against a loop of gather, loss, penalty and step; generated from the table."""

from functools import partial

import numpy as np
import pytest

import fastlin as fl
from fastlin import _plan, ops, optim, testing
from fastlin._check import Inputs
from fastlin._objective import make_objective
from fastlin._training.epoch import Average, run_epoch
from fastlin.ops import OPS
from fastlin.testing import random_case

RULES = [name for name, op in OPS.items() if op.kind == "update"]
LOSSES = ops.losses()
STORAGES = [name for name, row in ops.STORAGES.items() if row.gathers and len(row.W_dtypes) == 2]

# Numba compiles each composition for seconds: every rule once, with losses, storages and types in turn.
SOME = [
    (LOSSES[i % len(LOSSES)], rule, STORAGES[i // 2 % len(STORAGES)], list(ops.DTYPES)[i % 2])
    for i, rule in enumerate(RULES)
]


def falling(t):
    return 0.05 / (1 + 0.1 * t)


MAKE = {kind.rule: kind for kind in (getattr(optim, name) for name in optim.__all__ if name != "Optimizer")} | {
    "momentum_update": fl.SGD,
    "nesterov_update": partial(fl.SGD, nesterov=True),
}


def optimizer(rule, **shared):
    """The public optimizer of a rule, every hyper-parameter off neutral, with a rate that changes."""
    return MAKE[rule](**testing.off_neutral(rule) | {"lr": falling} | shared)


def case(n=103, d=37, c=5, storage="dense", dtype="float64", bias=True):
    """Arguments of `train`, in the given type."""
    random = random_case(n, d, c, bias=bias).astype(dtype)
    how = {"X": random.X, "y": random.y, "W": random.W, "sample_weight": random.sample_weight, "bias": bias}
    if storage == "uint8":
        how["X"] = np.random.default_rng([n, d]).integers(0, 256, (n, d)).astype(np.uint8)
        how |= {"x_scale": 1 / 64, "x_shift": -2.0}
    elif storage != "dense":
        how["X"] = random.X.astype(ops.STORAGES[storage].reads)
    return how


def exactly(how):
    """The same numbers in float64."""
    arrays = {name: value for name, value in how.items() if isinstance(value, np.ndarray) and value.dtype.kind == "f"}
    return how | {name: value.astype(np.float64) for name, value in arrays.items()}


def train(how, **more):
    """Two epochs with an optimizer of its own."""
    settings = {"epochs": 2, "batch_size": 16, "seed": 5} | how | more
    make = settings.pop("make", lambda: optimizer("adam_update"))
    return fl.train(optimizer=make(), **settings)


def step_by_step(how, **more):
    """The same training in float64 by NumPy, step by step: no epoch kernel runs an instance with its own `step`."""
    settings = exactly(how) | more
    make = settings.pop("make", lambda: optimizer("adam_update"))

    def stepping():
        made = make()
        made.step = partial(made.step, bias=settings["bias"], backend="numpy")
        return made

    return train(settings, backend="numpy", make=stepping)


def assert_agree(how, backend, dtype, **more):
    """The kernel's result is that of the loop in float64, up to rounding errors of `dtype`."""
    found = train(how, backend=backend, **more)
    expected = step_by_step(how, **more)
    limit = testing.tolerance(dtype, sum(how["X"].shape) + found.W.shape[1])
    assert found.W.dtype == dtype
    assert testing.error(found.W, expected.W) <= limit
    assert testing.error(found.history["loss"], expected.history["loss"]) <= limit
    return found, expected


@pytest.fixture
def calls(monkeypatch):
    """The blocks (first, last) that each call of an epoch kernel went through."""
    seen, find = [], ops.epoch_kernel

    def spied(*names):
        kernel = find(*names)

        def call(*args):
            seen.append(args[4:6])
            return kernel(*args)

        return call

    monkeypatch.setattr(ops, "epoch_kernel", spied)
    return seen


@pytest.fixture
def sizes(monkeypatch):
    """Sets sizes of fastlin/_plan.py, so that small problems are cut as large ones are."""

    def change(**values):
        for name, value in values.items():
            monkeypatch.setattr(_plan, name, value)
        _plan.epoch_plan.cache_clear()

    yield change
    _plan.epoch_plan.cache_clear()


def small(sizes, **others):
    """Column blocks of 16 columns, blocks of 8 rows, three blocks a kernel call."""
    changed = {"COLUMN_BLOCK": 16, "COLUMN_BLOCK_BYTES": 1, "EPOCH_ROWS": 8, "CHUNK_FLOPS": 3 * 4 * 8 * 150 * 5}
    sizes(**changed | others)


# ---- Every loss, every rule, every storage ---------------------------------------------------------------


def assert_composition_agrees(loss, rule, storage, dtype, backend, calls):
    how = case(storage=storage, dtype=dtype) | {"loss": loss, "reg": fl.ElasticNet(0.02, 0.7)}
    how |= testing.off_neutral(f"{loss}_epilogue")
    stages = {"clip_norm": 0.8, "clip_value": 0.3, "prox": fl.ElasticNet(0.05, 0.5)}
    assert_agree(how, backend, dtype, make=lambda: optimizer(rule, **stages))
    assert len(calls) == 2


@pytest.mark.parametrize(("loss", "rule", "storage", "dtype"), SOME)
def test_every_rule_agrees(loss, rule, storage, dtype, compiled, calls):
    assert_composition_agrees(loss, rule, storage, dtype, compiled, calls)


@pytest.mark.parametrize("backend", ["naive", "numpy"])
@pytest.mark.parametrize("rule", RULES)
def test_the_reference_agrees(rule, backend, calls):
    assert_composition_agrees("softmax", rule, "dense", "float64", backend, calls)


@pytest.mark.skipif(ops.missing("cython") is not None, reason="cython is not built")
@pytest.mark.paired(whole=[("loss", "storage", "dtype"), ("rule", "storage", "dtype")], rule=RULES, storage=STORAGES)
def test_every_composition_agrees(loss, rule, storage, dtype, calls):
    assert_composition_agrees(loss, rule, storage, dtype, "cython", calls)


class Quartic:
    """lam sum(W^4), a penalty that no kernel knows."""

    def __init__(self, lam):
        self.lam = lam

    def value(self, W):
        return self.lam * (W.astype(np.float64) ** 4).sum()

    def gradient(self, W):
        return 4 * self.lam * W**3


STAGES = {
    "nothing": {},
    "L1": {"reg": fl.L1(0.02)},
    "L2": {"reg": 0.02},
    "ElasticNet": {"reg": fl.ElasticNet(0.02, 0.5)},
    "x_scale": {"x_scale": np.linspace(0.5, 2, 37), "x_shift": np.linspace(-1, 1, 37)},
    "x_shift": {"x_shift": 0.3},
    "no weights": {"sample_weight": None},
    "clip_value": {"make": lambda: optimizer("adam_update", clip_value=0.02)},
    "clip_norm": {"make": lambda: optimizer("adam_update", clip_norm=0.1)},
    "both": {"make": lambda: optimizer("adam_update", clip_norm=0.1, clip_value=0.02), "reg": 0.1},
    "prox": {"make": lambda: optimizer("adam_update", prox=fl.L1(0.4))},
    "prox L2": {"make": lambda: optimizer("adam_update", prox=fl.L2(0.4))},
    "constant rate": {"make": lambda: optimizer("adam_update", lr=0.03)},
    "rate 0": {"make": lambda: optimizer("adam_update", lr=lambda t: 0.05 * (t % 2))},
    "polyak": {"average": "polyak"},
    "moving": {"average": 0.7, "make": lambda: optimizer("adam_update", prox=fl.L1(0.4))},
    "own penalty": {"reg": Quartic(0.3), "make": lambda: optimizer("adam_update", clip_norm=0.5)},
}


@pytest.mark.paired(
    whole=[("stage", "bias", "compiled"), ("column_blocks", "bias", "compiled", "dtype")],
    stage=STAGES,
    column_blocks=[1, 2],
    bias=[True, False],
)
def test_every_stage_agrees(stage, column_blocks, bias, compiled, dtype, sizes, calls):
    small(sizes, COLUMN_BLOCK=37 // column_blocks)
    how = case(dtype=dtype, bias=bias) | STAGES[stage]
    found, _ = assert_agree(how, compiled, dtype)
    assert len(calls) > 2
    if stage == "prox":
        d = 37
        assert (found.W[:d] == 0).any()
        assert found.W[:d].any()
        assert (found.W[d:] != 0).all()  # b is not shrunk


@pytest.mark.paired(
    whole=[("shape", "storage", "compiled")],
    storage=STORAGES,
    shape=[  # n, d, c, batch
        (1, 3, 2, 1),
        (1, 1, 1, 256),
        (50, 0, 3, 7),
        (50, 15, 1, 7),
        (50, 16, 2, 50),
        (50, 17, 63, 51),
        (300, 70, 101, 131),
        (50, 40, 3, 10**15),
        (131, 33, 10, 128),
        (200, 64, 10, 100),
        (130, 1030, 10, 64),
        (65, 3073, 4, 60),
    ],
)
def test_every_size_agrees(shape, storage, compiled, dtype, calls):
    n, d, c, batch = shape
    how = case(n, d, c, storage, dtype)
    assert_agree(how, compiled, dtype, batch_size=batch, reg=0.01, make=lambda: optimizer("adam_update", clip_norm=1.0))
    assert calls[0][1] <= 4 * n


# ---- The same bits ---------------------------------------------------------------------------------------


def bits(result):
    return result.W.tobytes("F"), tuple(result.history["loss"]), tuple(sorted(_state(result).items()))


def _state(result):
    return {name: np.asarray(A).tobytes() for name, A in result.state.items() if name.startswith("optimizer")}


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(("clip_norm", "loss"), [(None, "softmax"), (0.1, "logistic")])
def test_same_bits_for_any_threads(storage, clip_norm, loss, compiled, dtype, sizes):
    small(sizes)
    how = case(d=150, storage=storage, dtype=dtype) | {"backend": compiled, "batch_size": 20, "reg": 0.01, "epochs": 3}
    how["loss"] = loss
    how["make"] = lambda: optimizer("adam_update", clip_norm=clip_norm)
    assert _plan.epoch_plan(150, 5, 8, 20, True).column_blocks == 8
    expected = bits(train(how, threads=1))
    for threads in (2, 5, 2, 5, 2, 5, 40, 40):
        assert bits(train(how, threads=threads)) == expected


def test_same_bits_however_it_is_cut_into_calls(compiled, dtype, sizes, calls):
    how = case(d=150, dtype=dtype) | {"backend": compiled, "batch_size": 20, "reg": 0.01}
    small(sizes, CHUNK_FLOPS=10**12)
    expected = bits(train(how))
    assert len(calls) == 2
    for blocks in (1, 2, 4):
        calls.clear()
        small(sizes, CHUNK_FLOPS=blocks * 4 * 8 * 150 * 5)
        assert bits(train(how)) == expected
        assert calls[0] == (0, blocks)  # a batch has three


def test_resumed_to_the_same_bits(compiled, dtype, sizes):
    small(sizes)
    how = case(d=70, dtype=dtype) | {"backend": compiled, "reg": 0.01}
    how["make"] = lambda: fl.Adam(fl.schedules.cosine(0.05, T=30), prox=fl.L1(0.01))
    whole, part = train(how, epochs=4), train(how, epochs=2)
    assert bits(train(how, epochs=4, resume=part.state)) == bits(whole)


def test_state_goes_from_the_plain_loop_to_the_kernel_and_back(compiled):
    """An optimizer's state after an epoch is that after single steps."""
    how = case(dtype="float64") | {"epochs": 1}
    made = {backend: optimizer("adam_update", clip_norm=0.5) for backend in (compiled, "numpy")}
    for order in ((compiled, "numpy"), ("numpy", compiled)):
        for backend, other in zip(order, made, strict=True):
            train(how, backend=backend, make=lambda other=other: made[other])
    left, right = (found.state_dict() for found in made.values())
    assert left["t"] == right["t"] == 14
    for name in ("m.0", "v.0"):
        assert testing.error(left[name], right[name]) <= testing.tolerance("float64", 150)


@pytest.mark.parametrize("average", ["polyak", 0.7])
@pytest.mark.parametrize("bias", [True, False])
def test_the_mean_has_the_bits_of_one_by_hand(average, bias, compiled, dtype, sizes, calls):
    """In float64, of the weights after each of 14 steps, in calls of some blocks of rows."""
    small(sizes)
    how = case(d=70, dtype=dtype, bias=bias) | {"backend": compiled, "reg": 0.01}
    found = train(how, average=average)
    assert len(calls) > 2
    assert found.W.tobytes() != train(how).W.tobytes()
    mean = np.zeros(found.W.shape)
    for t in range(1, 15):
        W = train(how, epochs=None, steps=t).W
        part = 1.0 if t == 1 else 1.0 / t if average == "polyak" else 1.0 - average
        mean = mean + (W.astype(np.float64) - mean) * part
    np.testing.assert_array_equal(found.state["average.mean"], mean)
    np.testing.assert_array_equal(found.W, mean.astype(dtype))


# ---- Layouts of X, and its values ------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["C", "padded", "rows-reversed", "every other row"])
@pytest.mark.parametrize("storage", STORAGES)
def test_rows_are_read_where_they_lie(layout, storage, compiled, dtype, sizes, calls):
    small(sizes)
    how = case(d=70, storage=storage, dtype=dtype) | {"backend": compiled}
    X = how["X"]
    if layout == "every other row":
        laid = np.repeat(X, 2, axis=0)[::2]
        laid.flags.writeable = False
    else:
        laid = testing.layouts(X)[layout]
    expected = bits(train(how))
    calls.clear()
    assert bits(train(how | {"X": laid})) == expected
    assert calls
    np.testing.assert_array_equal(laid, X)


@pytest.mark.filterwarnings("ignore:the loss of epoch:RuntimeWarning")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("clip_norm", [None, 0.1])
def test_what_is_no_number_reaches_W(bad, clip_norm, compiled, dtype, sizes, calls):
    small(sizes)
    how = case(d=70, dtype=dtype) | {"make": lambda: optimizer("adam_update", clip_norm=clip_norm, prox=fl.L1(0.01))}
    how["X"][50, 20] = bad
    found = train(how, backend=compiled)
    assert calls
    assert np.isnan(found.W).all()
    assert np.isnan(found.history["loss"]).all()


@pytest.mark.filterwarnings("ignore:the loss of epoch:RuntimeWarning")
@pytest.mark.parametrize("reg", [fl.L1(0.1), fl.L2(0.1)])
def test_an_infinite_weight_keeps_to_itself(reg, compiled, dtype, calls):
    """No row has a gradient for this class, so that only the penalty reads its weight."""
    how = case(c=3, dtype=dtype, bias=False) | {"loss": "svm", "reg": reg, "make": lambda: fl.SGD(0.1)}
    how["y"] = how["y"] % 2
    how["X"][:, 5] = abs(how["X"][:, 5]) + 1
    how["W"][5, 2] = -np.inf
    how |= {"epochs": 1, "batch_size": 103}  # the optimizer's weight_decay, 0 times that weight, is NaN: one step
    found, expected = train(how, backend=compiled), step_by_step(how)
    assert calls
    assert found.history["loss"] == expected.history["loss"] == [np.inf]
    np.testing.assert_array_equal(np.isfinite(found.W), np.isfinite(expected.W))
    assert np.isfinite(found.W).sum() == found.W.size - 1


@pytest.mark.parametrize("kind", [np.int32, np.uint8, np.int64])
def test_an_order_of_any_integers(kind, compiled, calls):
    random, order = random_case(103, 37, 5), np.arange(102, -1, -1).astype(kind)
    objective = make_objective("svm", (1.0,), 0.0, True, compiled, None)
    runs = []
    for numbers in (order, order.astype(np.int64)):
        W = random.W.copy(order="F")
        inputs = Inputs(W, random.X, random.y.astype(np.int32), random.sample_weight)
        runs.append((run_epoch(objective, inputs, None, numbers, 16, fl.SGD(0.1)), W.tobytes("F")))
    assert calls
    assert runs[0] == runs[1]


# ---- Steps of the user -----------------------------------------------------------------------------------


def test_a_step_of_the_callers_own_is_taken(calls):
    class Counted(fl.SGD):
        def step(self, W, dW):
            steps.append(1)
            super().step(W, dW)

    how, steps = case(), []
    found = train(how, make=lambda: Counted(0.1))
    assert len(steps) == 14
    assert not calls
    changed = fl.SGD(0.1)
    changed.step = Counted(0.1).step
    assert bits(train(how, make=lambda: changed))[0] == bits(found)[0]
    assert len(steps) == 28


def test_a_penalty_of_the_callers_own_is_taken(calls):
    class Heavier(fl.L2):
        def gradient(self, W):
            return 2 * super().gradient(W)

    how = case()
    found = train(how, reg=Heavier(0.1))
    assert len(calls) == 14  # one for each batch
    assert testing.error(found.W, train(how, reg=0.1).W) > 1e-3


def test_a_penalty_that_raises_leaves_all_as_it_was(compiled):
    class Failing(Quartic):
        def gradient(self, W):
            asked.append(1)
            if len(asked) == 3:
                raise OSError("no gradient")
            return super().gradient(W)

    random, made = random_case(103, 37, 5), fl.Adam(0.1)
    objective = make_objective("svm", (1.0,), Failing(0.1), True, compiled, None)
    inputs = Inputs(random.W.copy(order="F"), random.X, random.y.astype(np.int32), random.sample_weight)
    average, asked = Average(0.9), []
    with pytest.raises(OSError, match="no gradient"):
        run_epoch(objective, inputs, None, np.arange(103), 16, made, average)
    np.testing.assert_array_equal(inputs.W, random.W)
    assert made.t == average.t == 0
    assert average.mean is None
