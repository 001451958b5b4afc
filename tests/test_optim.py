"""Optimizers, penalties and gradient checks as users call them."""

import copy
import inspect
import io
import pickle

import numpy as np
import pytest

import fastlin as fl
from fastlin import _plan, ops, optim, testing

MADE = [name for name in optim.__all__ if name not in ("SGD", "Optimizer")]


def optimizers():
    return [
        fl.SGD(0.1, weight_decay=0.03),
        fl.SGD(0.1, momentum=0.8, weight_decay=0.03),
        fl.SGD(0.1, momentum=0.8, nesterov=True, weight_decay=0.03),
        fl.Adam(fl.schedules.cosine(0.1, 7), clip_norm=1.0, clip_value=0.3, prox=fl.L1(0.01)),
        *(getattr(fl, name)(lr=0.05, weight_decay=0.03) for name in MADE),
    ]


@pytest.fixture(params=range(len(optimizers())), ids=[repr(o) for o in optimizers()])
def optimizer(request):
    """A new optimizer for each test, because it has state."""
    return optimizers()[request.param]


def steps(optimizer, W, backend, count=5):
    for t in range(count):
        optimizer.step(W, np.cos(W + t).astype(W.dtype), backend=backend)
    return W


@pytest.mark.parametrize("order", ["C", "F"])
def test_steps_follow_naive(optimizer, order, backend, dtype):
    start = testing.random_case(1, 6, 5).W
    expected = steps(copy.deepcopy(optimizer), start.copy(), "naive")
    found = steps(optimizer, start.astype(dtype, order=order), backend)
    assert testing.error(found, expected) <= testing.tolerance(dtype, 5)


def test_strided_and_mixed_orders_are_updated(optimizer):
    """W and dW of any strides, and of different orders, give the same numbers as contiguous arrays."""
    start, dW = testing.random_case(1, 6, 5).W, testing.random_case(2, 6, 5).W
    plain = copy.deepcopy(optimizer)
    expected = start.copy()
    wide = np.zeros((12, 15))
    W = wide[::2, ::3]
    W[...] = start
    for order in ("F", "C", "F"):
        plain.step(expected, dW)
        optimizer.step(W, np.array(dW, order=order))
    np.testing.assert_array_equal(W, expected)
    W[...] = 0
    assert not wide.any()


def test_first_adam_step_is_lr_times_sign():
    """With bias correction the first step is lr * g / (|g| + eps), whatever the size of g."""
    W = np.zeros(3)
    fl.Adam(lr=0.01, eps=1e-12).step(W, np.array([5.0, -0.002, 30.0]))
    np.testing.assert_allclose(W, [-0.01, 0.01, -0.01], rtol=1e-6)


def test_adam_at_rest_stays():
    W = np.ones(3)
    fl.Adam().step(W, np.zeros(3))
    np.testing.assert_array_equal(W, 1)


SHARED = {"clip_value": "float | None", "clip_norm": "float | None", "prox": "Proximal | None"}


@pytest.mark.parametrize("name", MADE)
def test_class_agrees_with_its_row(name):
    """The hyper-parameters in the row's order with the row's defaults, then what all classes share, by name only."""
    made = getattr(fl, name)
    row = ops.OPS[made.rule]
    by_place, by_name = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    types = {arg: "Lr" if arg == "lr" else "float" for arg in row.hyper}
    expected = [(arg, by_place, spec.default, types[arg]) for arg, spec in row.hyper.items()]
    expected += [(arg, by_name, None, annotation) for arg, annotation in SHARED.items()]
    parameters = inspect.signature(made).parameters.values()
    assert [(p.name, p.kind, p.default, p.annotation) for p in parameters] == expected
    values = testing.off_neutral(made.rule)
    assert made(**values).hyper == {arg: value for arg, value in values.items() if arg != "lr"}


def test_sgd_agrees_with_its_rows():
    parameters = inspect.signature(fl.SGD).parameters
    assert list(parameters) == ["lr", "momentum", "nesterov", "weight_decay", *SHARED]
    assert parameters["lr"].default is inspect.Parameter.empty
    assert parameters["nesterov"].default is False
    rules = {fl.SGD(0.1).rule, fl.SGD(0.1, 0.9).rule, fl.SGD(0.1, 0.9, nesterov=True).rule}
    assert rules == {"sgd_update", "momentum_update", "nesterov_update"}
    for rule in rules:
        for name in ("momentum", "weight_decay"):
            assert parameters[name].default == ops.OPS[rule].hyper.get(name, ops.MOMENTUM).default


def test_every_row_has_a_class():
    rules = [getattr(fl, name).rule for name in MADE]
    rows = {rule for rule, row in ops.OPS.items() if row.kind == "update"}
    assert sorted([*rules, "sgd_update", "momentum_update", "nesterov_update"]) == sorted(rows)


@pytest.mark.parametrize("name", ["SGD", *MADE])
def test_class_is_found_where_a_reader_looks(name):
    made = getattr(fl, name)
    assert made.__module__ == "fastlin.optim"
    assert name in dir(fl.optim)
    assert inspect.getsource(made).startswith(f"class {name}(Optimizer):")
    assert "W <- " in inspect.getdoc(made)
    assert "W <- " in inspect.getsource(made)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: fl.SGD(np.nan), ValueError, r"lr must be in \[0, inf\); found nan"),
        (lambda: fl.SGD(-1), ValueError, "lr must be in"),
        (lambda: fl.SGD("fast"), TypeError, "lr must be a number"),
        (lambda: fl.SGD(0.1, momentum=1.0), ValueError, r"momentum must be in \[0, 1\); found 1.0"),
        (lambda: fl.SGD(0.1, nesterov=True), ValueError, "nesterov=True needs a momentum"),
        (lambda: fl.SGD(0.1, weight_decay=-0.1), ValueError, "weight_decay must be in"),
        (lambda: fl.Adam(beta1=1.0), ValueError, r"beta1 must be in \[0, 1\); found 1.0"),
        (lambda: fl.Adam(beta2=np.nan), ValueError, "beta2 must be in"),
        (lambda: fl.Adam(eps=0.0), ValueError, r"eps must be in \(0, inf\); found 0.0"),
        (lambda: fl.AdaDelta(rho=1.0), ValueError, "rho must be in"),
        (lambda: fl.NAdam(momentum_decay=-1), ValueError, "momentum_decay must be in"),
        (lambda: fl.Lion(lr=None), TypeError, "lr must be a number"),
        (lambda: fl.Adam(clip_value=0), ValueError, r"clip_value must be in \(0, inf\); found 0.0"),
        (lambda: fl.Adam(clip_norm=np.nan), ValueError, "clip_norm must be in"),
        (lambda: fl.Adam(prox=0.1), TypeError, r"prox must be a penalty such as fl.L1\(0.1\); found 0.1"),
        (lambda: fl.L2(-1), ValueError, r"lam must be in \[0, inf\)"),
        (lambda: fl.ElasticNet(0.1, np.inf), ValueError, "beta must be in"),
    ],
)
def test_bad_hyper_parameter(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


@pytest.mark.parametrize(
    ("W", "dW", "kind", "message"),
    [
        ([1.0], np.ones(1), TypeError, "W and dW must be arrays, or both lists; found list and ndarray"),
        (np.ones(3, int), np.ones(3), TypeError, "W has dtype int64"),
        (np.ones(3), np.ones(4), ValueError, "W and dW must be alike"),
        ([np.ones(3)], [np.ones(4)], ValueError, r"W\[0\] and dW\[0\] must be alike"),
        ([np.ones(3)], [np.ones(3)] * 2, ValueError, "W has 1 arrays but dW has 2"),
        ([np.ones(3), [1.0]], [np.ones(3), np.ones(1)], TypeError, r"W\[1\] must be an array; found list"),
        (np.ma.ones(3), np.ones(3), TypeError, "W must be an array; found MaskedArray"),
        (np.ones(3), np.ones(3, np.float32), ValueError, "W and dW must be alike"),
        (np.broadcast_to(1.0, 3), np.ones(3), ValueError, "W is read-only"),
        (
            np.lib.stride_tricks.as_strided(np.ones(1), (3,), (0,)),
            np.ones(3),
            ValueError,
            "entries of W share",
        ),
    ],
)
def test_bad_step(W, dW, kind, message):
    with pytest.raises(kind, match=message):
        fl.SGD(0.1).step(W, dW)


def test_step_refuses_overlap_and_another_shape():
    A = np.ones(6)
    with pytest.raises(ValueError, match="W shares memory with dW"):
        fl.SGD(0.1).step(A[:4], A[2:])
    optimizer = fl.Adam()
    optimizer.step(np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match=r"this Adam holds the state of W \(3,\) float64; found W \(4,\) float64"):
        optimizer.step(np.ones(4), np.ones(4))


def test_a_list_of_arrays_is_stepped_as_one(optimizer, backend):
    """Each array has its own shape and order; only the norm is taken over all of them together."""
    rng = np.random.default_rng(0)
    Ws = [rng.standard_normal((4, 3)), rng.standard_normal(5), np.asfortranarray(rng.standard_normal((3, 2)))]
    dWs = [rng.standard_normal(W.shape) for W in Ws]
    flat, dflat = np.concatenate([W.ravel() for W in Ws]), np.concatenate([dW.ravel() for dW in dWs])
    together = copy.deepcopy(optimizer)
    for _ in range(3):
        optimizer.step(Ws, dWs, backend=backend)
        together.step(flat, dflat, backend=backend)
    np.testing.assert_allclose(np.concatenate([W.ravel() for W in Ws]), flat, rtol=1e-12)
    with pytest.raises(ValueError, match="Use one optimizer for each W or list of W"):
        optimizer.step(Ws[:2], dWs[:2])


def test_later_steps_are_looked_at_too(backend):
    """Arrays like those of the last step skip the full checks; arrays that differ in anything do not."""
    optimizer, A = fl.Adam(lr=0.1), np.ones((9, 4))
    optimizer.step(np.ones((4, 3)), np.ones((4, 3)), backend=backend)
    state = optimizer.state_dict()
    locked = np.ones((4, 3))
    locked.flags.writeable = False
    for W, dW, message in (
        (locked, np.ones((4, 3)), "W is read-only"),
        (A[:4, :3], A[2:6, :3], "W shares memory with dW"),
        (A.ravel()[:12].reshape(4, 3), A.ravel()[11:23].reshape(4, 3), "W shares memory with dW"),
        (np.ones((3, 4)), np.ones((3, 4)), "holds the state of"),
        (np.ones((4, 3)), np.ones((4, 3)).astype(">f8"), "W and dW must be alike|dtype"),
        (np.ones((4, 3), np.float32), np.ones((4, 3), np.float32), "holds the state of"),
        ([np.ones((4, 3))] * 2, [np.ones((4, 3))] * 2, "shares memory"),
        (np.ma.ones((4, 3)), np.ones((4, 3)), "must be an array; found MaskedArray"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            optimizer.step(W, dW, backend=backend)
    assert (A == 1).all()
    np.testing.assert_equal(optimizer.state_dict(), state)


def test_what_is_set_between_steps_counts(backend):
    optimizer, W = fl.SGD(1.0, momentum=0.5), np.zeros(2)
    optimizer.step(W, np.ones(2), backend=backend)
    optimizer.lr, optimizer.hyper["momentum"], optimizer.hyper["weight_decay"] = 2, 0.0, 0.25
    optimizer.step(W, np.ones(2), backend=backend)
    np.testing.assert_array_equal(W, -1 - 2 * (1 - 0.25))
    V = np.zeros(2)  # another array of the same shape
    optimizer.step(V, np.ones(2), backend=backend)
    np.testing.assert_array_equal(V, -2)


def test_bad_threads():
    with pytest.raises(ValueError, match="threads must be an integer of at least 1; found 0"):
        fl.SGD(0.1).step(np.ones(2), np.ones(2), threads=0)


def test_a_list_may_not_overlap():
    A = np.ones(6)
    with pytest.raises(ValueError, match=r"W\[0\] shares memory with W\[1\]"):
        fl.SGD(0.1).step([A[:4], A[3:]], [np.ones(4), np.ones(3)])
    with pytest.raises(ValueError, match=r"W\[1\] shares memory with dW\[0\]"):
        fl.SGD(0.1).step([np.ones(3), A[:3]], [A[2:5], np.ones(3)])
    assert (A == 1).all()


@pytest.mark.parametrize("limit", [0.5, 100.0])
def test_clip_by_norm_over_a_list(limit, backend, dtype):
    """As torch's clip_grad_norm_: the factor is limit / (norm + 1e-6), at most 1."""
    W, dW = [np.zeros(2, dtype), np.zeros(1, dtype)], [np.array([3.0, 0.0], dtype), np.array([4.0], dtype)]
    fl.SGD(1.0, clip_norm=limit).step(W, dW, backend=backend)
    factor = min(1.0, limit / (5 + 1e-6))
    np.testing.assert_allclose(W[0], [-3 * factor, 0], rtol=1e-6)
    np.testing.assert_allclose(W[1], [-4 * factor], rtol=1e-6)
    np.testing.assert_array_equal(dW[0], [3, 0])


def test_clip_by_value_comes_before_weight_decay(backend):
    W = np.array([10.0, 10.0])
    fl.SGD(1.0, weight_decay=0.1, clip_value=0.5).step(W, np.array([3.0, -0.2]), backend=backend)
    np.testing.assert_allclose(W, [10 - 0.5 - 1, 10 + 0.2 - 1])


def test_a_nan_is_not_clipped_away(backend):
    for words in ({"clip_value": 1.0}, {"clip_norm": 1.0}):
        W = np.zeros(2)
        fl.SGD(1.0, **words).step(W, np.array([np.nan, 1.0]), backend=backend)
        assert np.isnan(W[0])


@pytest.mark.parametrize("penalty", [fl.L1(0.3), fl.L2(0.3), fl.ElasticNet(0.3, 0.7)], ids=repr)
def test_prox_is_the_penaltys_own(penalty, backend, dtype):
    """After the update, with the rate in force; L1 leaves exact zeros."""
    start, dW = (A.astype(dtype) for A in np.random.default_rng(0).standard_normal((2, 50)))
    W, plain = start.copy(), start.copy()
    fl.SGD(fl.schedules.linear(0.5, 10), prox=penalty).step(W, dW, backend=backend)
    fl.SGD(0.5).step(plain, dW, backend=backend)
    expected = penalty.prox(plain, 0.5)
    np.testing.assert_allclose(W, expected, rtol=1e-5 if dtype == "float32" else 1e-12, atol=1e-7)
    if not isinstance(penalty, fl.L2):
        assert 0 < np.count_nonzero(W == 0) < 50


@pytest.mark.parametrize("layout", ["C", "F", "strided", "one column"])
def test_prox_leaves_b_alone(layout, backend, dtype):
    """The same bits as for weights with the prox and b without it, each with an optimizer of its own."""
    start, dW = (A.astype(dtype) for A in np.random.default_rng(0).standard_normal((2, 8, 6)))
    W = {
        "C": start.copy(),
        "F": np.asfortranarray(start),
        "strided": np.repeat(np.repeat(start, 2, 0), 3, 1)[::2, ::3],
        "one column": start[:, 0].copy(),
    }[layout]
    dW = dW[:, 0] if layout == "one column" else dW
    weights, b = W[:-1].copy(), W[-1:].copy()
    fl.SGD(0.5, prox=fl.ElasticNet(0.3, 0.7)).step(W, dW, bias=True, backend=backend)
    fl.SGD(0.5, prox=fl.ElasticNet(0.3, 0.7)).step(weights, dW[:-1], backend=backend)
    fl.SGD(0.5).step(b, dW[-1:], backend=backend)
    np.testing.assert_array_equal(W, np.concatenate([weights, b]))
    assert (weights == 0).any()
    assert not (b == 0).any()


def test_the_rate_follows_the_schedule():
    optimizer = fl.SGD(lambda t: 1 / (t + 1))
    W = np.zeros(1)
    for expected in (1.0, 0.5, 1 / 3):
        assert optimizer.lr_now == expected
        optimizer.step(W, -np.ones(1))
    assert W[0] == pytest.approx(1 + 1 / 2 + 1 / 3)
    optimizer.lr = 2
    assert optimizer.lr_now == 2.0
    optimizer.lr = lambda t: -1.0
    with pytest.raises(ValueError, match=r"lr\(3\) must be in \[0, inf\); found -1.0"):
        optimizer.step(W, np.ones(1))
    assert optimizer.t == 3


# ---- State -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["C", "F"])
def test_state_goes_on_with_the_same_bits(optimizer, order, backend, dtype):
    """Through .npz without pickle, into a new optimizer."""
    start = testing.random_case(1, 6, 5).W.astype(dtype, order=order)
    W = steps(optimizer, start, backend, count=3)
    kept = io.BytesIO()
    np.savez(kept, **optimizer.state_dict())
    kept.seek(0)
    fresh = optimizers()[[repr(o) for o in optimizers()].index(repr(optimizer))]
    with np.load(kept, allow_pickle=False) as state:
        fresh.load_state_dict(state)
    V = W.copy(order="K")
    steps(optimizer, W, backend)
    steps(fresh, V, backend)
    assert W.tobytes() == V.tobytes()
    assert fresh.t == optimizer.t == 8


def test_state_dict_is_a_copy_in_the_shape_of_W():
    optimizer = fl.Adam()
    W = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    optimizer.step([W, np.ones(2)], [W.copy(), np.ones(2)])
    state = optimizer.state_dict()
    assert list(state) == ["class", "rule", "t", "m.0", "v.0", "m.1", "v.1"]
    np.testing.assert_allclose(state["m.0"], 0.1 * np.arange(6.0).reshape(2, 3))
    state["m.0"][:] = 7
    assert optimizer.state_dict()["m.0"][0, 0] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class": "AdamW"}, "the state's class is 'AdamW'; this Adam needs 'Adam'"),
        ({"rule": "adamw_update"}, "the state's rule is 'adamw_update'"),
        ({"t": None}, "the state has no 't', which Adam needs"),
        ({"v.0": None}, r"the state has no 'v.0', which Adam needs; it holds 'class', 'rule', 't', 'm.0'"),
        ({"m.0": None, "v.0": None}, "the state has no 'm.0'"),
        ({"v.0": np.ones(4)}, r"v.0 is \(4,\) float64 but m.0 is \(3,\) float64"),
        ({"m.0": np.ones(4), "v.0": np.ones(4)}, r"this Adam steps W \(3,\) float64; the state is that of W \(4,\)"),
        ({"t": -1}, "t must be an integer of at least 0"),
    ],
)
def test_bad_state(change, message):
    optimizer = fl.Adam()
    optimizer.step(np.ones(3), np.ones(3))
    before = optimizer.state_dict()
    state = {key: value for key, value in (before | change).items() if value is not None}
    with pytest.raises(ValueError, match=message):
        optimizer.load_state_dict(state)
    np.testing.assert_equal(optimizer.state_dict(), before)


def test_plateau_is_part_of_the_state():
    def make():
        return fl.SGD(fl.schedules.warmup(fl.schedules.plateau(1.0, patience=0), 1), momentum=0.9)

    optimizer, fresh = make(), make()
    optimizer.step(np.ones(2), np.ones(2))
    for metric in (1.0, 2.0, 3.0):
        optimizer.report(metric)
    assert optimizer.lr_now == pytest.approx(0.01)
    state = optimizer.state_dict()
    fresh.load_state_dict(state)
    assert fresh.lr_now == optimizer.lr_now
    with pytest.raises(ValueError, match=r"the state has no 'schedule.best'"):
        fresh.load_state_dict({key: value for key, value in state.items() if key != "schedule.best"})


def test_pickle_goes_on_with_the_same_bits(optimizer):
    W = steps(optimizer, testing.random_case(1, 6, 5).W, None, count=2)
    twin, V = pickle.loads(pickle.dumps(optimizer)), W.copy()
    steps(optimizer, W, None)
    steps(twin, V, None)
    assert W.tobytes() == V.tobytes()
    assert repr(twin) == repr(optimizer)


def test_order_of_W_may_change_between_steps():
    optimizer, plain = fl.Adam(), fl.Adam()
    W, expected = np.asfortranarray(testing.random_case(1, 6, 5).W), testing.random_case(1, 6, 5).W
    for order in ("F", "C", "F"):
        W = np.array(W, order=order)
        optimizer.step(W, np.cos(W))
        plain.step(expected, np.cos(expected))
    np.testing.assert_array_equal(W, expected)


PENALTIES = [fl.L2(0.3), fl.L1(0.3), fl.ElasticNet(0.3, 0.7)]


@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
def test_penalty_gradient_is_the_slope_of_its_value(penalty, dtype):
    W = testing.random_case(1, 4, 3).W
    assert fl.check_gradient(lambda W: (penalty.value(W), penalty.gradient(W)), W)
    assert penalty.gradient(W.astype(dtype)).dtype == dtype
    assert penalty.prox(W.astype(dtype), 0.5).dtype == dtype


@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
def test_prox_is_the_minimum(penalty):
    """No V on a fine grid is better than prox(w) at ||V - w||^2 / 2 + step R(V)."""
    grid = np.linspace(-3, 3, 6001)
    for w in (-2.0, -0.05, 0.0, 0.4, 1.7):
        values = [(v - w) ** 2 / 2 + 0.8 * penalty.value(np.array([v])) for v in grid]
        assert penalty.prox(np.array([w]), 0.8)[0] == pytest.approx(grid[np.argmin(values)], abs=1e-3)


@pytest.mark.paired(
    whole=[("layout", "bias", "backend")],
    penalty=PENALTIES,
    layout=["C", "F", "padded", "strided", "negative", "swapped", "unaligned"],
    bias=[False, True],
    shape=[(9, 4, 3), (5, 37, 1), (3, 1, 7)],
    written=[False, True],
)
def test_losses_add_the_penalty(penalty, layout, bias, shape, written, backend, dtype):
    """Of every layout of W; b has none of it."""
    case = testing.random_case(*shape, bias=bias).astype(dtype)
    W, exact = testing.layouts(case.W)[layout], case.W[: shape[1]].astype(float)
    function = fl.logistic_loss if shape[2] == 1 else fl.svm_loss
    how = {"bias": bias, "backend": backend}
    loss, dW = function(W, case.X, case.y, **how)
    out = np.empty_like(W) if written else None
    with_R, dW_R = function(W, case.X, case.y, penalty, out=out, **how)
    rounding = 8 * np.finfo(dtype).eps
    assert with_R - loss == pytest.approx(penalty.value(exact), rel=1e-6)
    slopes = penalty.gradient(exact)
    np.testing.assert_allclose(dW_R[: shape[1]], dW[: shape[1]] + slopes, rtol=0, atol=rounding * np.abs(slopes).max())
    np.testing.assert_array_equal(dW_R[shape[1] :], dW[shape[1] :])
    assert out is None or dW_R is out


class Doubled(fl.L2):
    """A penalty of a caller's own making, though it is derived from one of ours."""

    def value(self, W):
        return 2 * super().value(W)

    def gradient(self, W):
        return 2 * super().gradient(W)


def test_a_class_derived_from_a_penalty_has_the_last_word(backend):
    case = testing.random_case(9, 4, 3)
    found = fl.softmax_loss(case.W, case.X, case.y, Doubled(0.3), backend=backend)
    loss, dW = fl.softmax_loss(case.W, case.X, case.y, 0.6, backend=backend)
    assert found[0] == pytest.approx(loss)
    np.testing.assert_allclose(found[1], dW, atol=1e-12)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_penalty_of_many_weights_is_the_same_for_any_number_of_threads(order, compiled, dtype):
    d = 3 * _plan.PENALTY_NUMBERS // 5 + 7
    W = np.asarray(np.random.default_rng(0).standard_normal((d + 1, 5)), dtype, order=order)
    X, y = np.zeros((1, d), dtype), np.zeros(1, np.int64)
    how = {"reg": fl.ElasticNet(0.3, 0.7), "bias": True, "backend": compiled}
    one, two = (fl.svm_loss(W, X, y, threads=threads, **how) for threads in (1, 2))
    plain, _ = fl.svm_loss(W, X, y, bias=True, backend=compiled)
    assert one[0] == two[0] == pytest.approx(plain + how["reg"].value(W[:-1].astype(float)), rel=1e-12)
    np.testing.assert_array_equal(one[1], two[1])
    np.testing.assert_allclose(one[1][:-1], how["reg"].gradient(W[:-1]), rtol=4 * np.finfo(dtype).eps)
    if dtype == "float64":  # a sum that overflows is Inf, without a warning
        assert fl.svm_loss(1e153 * W, X, y, **how)[0] == np.inf


@pytest.mark.parametrize("step", [2, -1, -3])
def test_a_vector_of_any_stride(step, backend):
    """b may be a column of a matrix, and its gradient too."""
    given = np.linspace(-1, 1, 60)
    W, dW = given.copy()[::step], given.copy()[::step]
    plain = W.copy()
    for weights, gradient in ((W, dW), (plain, dW.copy())):
        fl.Adam(0.1).step(weights, gradient, backend=backend)
    assert np.abs(W - given[::step]).min() > 0.05
    np.testing.assert_array_equal(W, plain)


def test_no_weights_at_all_are_refused(backend):
    with pytest.raises(ValueError, match="W has no arrays"):
        fl.Adam().step([], [], backend=backend)


@pytest.mark.parametrize("found", [(np.nan, 1.0), (0.0, np.nan), (-1.0, 1.0), (0.0,), None, "ab", (0.0, "a")])
def test_what_a_prox_returns_is_checked(found):
    class Prox:
        def shrinkage(self, step):
            return found

    W, optimizer = np.ones((3, 2)), fl.SGD(0.1, prox=Prox())
    with pytest.raises((TypeError, ValueError), match=r"^prox\.shrinkage\(step\)"):
        optimizer.step(W, W.copy())
    assert (W == 1).all()
    assert optimizer.t == 0
