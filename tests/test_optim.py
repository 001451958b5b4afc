"""Optimizers, penalties and gradient checks as users call them."""

import inspect

import numpy as np
import pytest

import fastlin as fl
from fastlin import ops, optim, testing

MADE = [name for name in optim.__all__ if name not in ("SGD", "Optimizer")]


def optimizers():
    return [
        fl.SGD(0.1, weight_decay=0.03),
        fl.SGD(0.1, momentum=0.8, weight_decay=0.03),
        fl.SGD(0.1, momentum=0.8, nesterov=True, weight_decay=0.03),
        *(getattr(fl, name)(lr=0.05, weight_decay=0.03) for name in MADE),
    ]


@pytest.fixture(params=range(len(optimizers())), ids=[repr(o) for o in optimizers()])
def optimizer(request):
    """A new one for each test: it has state."""
    return optimizers()[request.param]


def steps(optimizer, W, backend, count=5):
    for t in range(count):
        optimizer.step(W, np.cos(W + t).astype(W.dtype), backend=backend)
    return W


@pytest.mark.parametrize("order", ["C", "F"])
def test_steps_follow_naive(optimizer, order, backend, dtype):
    start = testing.random_case(1, 6, 5).W
    import copy

    expected = steps(copy.deepcopy(optimizer), start.copy(), "naive")
    found = steps(optimizer, start.astype(dtype, order=order), backend)
    assert testing.error(found, expected) <= testing.tolerance(dtype, 5)


def test_strided_and_mixed_orders_are_updated(optimizer):
    """W and dW of any strides, and of different orders: the same numbers as for plain arrays."""
    start, dW = testing.random_case(1, 6, 5).W, testing.random_case(2, 6, 5).W
    import copy

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


@pytest.mark.parametrize("name", MADE)
def test_class_is_made_from_its_row(name):
    made = getattr(fl, name)
    row = next(op for op in ops.OPS.values() if op.public == name)
    parameters = inspect.signature(made).parameters
    assert {arg: p.default for arg, p in parameters.items()} == {arg: h.default for arg, h in row.hyper.items()}
    assert "W <- " in made.__doc__
    assert made.__module__ == "fastlin.optim"


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
        ([1.0], np.ones(1), TypeError, "W must be an array; found list"),
        (np.ones(3, int), np.ones(3), TypeError, "W has dtype int64"),
        (np.ones(3), np.ones(4), ValueError, "W and dW must be alike"),
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
    with pytest.raises(ValueError, match=r"this Adam holds the state of a W of shape \(3,\)"):
        optimizer.step(np.ones(4), np.ones(4))


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


@pytest.mark.parametrize("penalty", PENALTIES, ids=repr)
def test_penalty_leaves_b_alone(penalty, backend):
    case = testing.random_case(9, 4, 3, bias=True)
    loss, dW = fl.svm_loss(case.W, case.X, case.y, bias=True, backend=backend)
    with_R, dW_R = fl.svm_loss(case.W, case.X, case.y, penalty, bias=True, backend=backend)
    assert with_R - loss == pytest.approx(penalty.value(case.W[:-1]))
    np.testing.assert_allclose(dW_R[:-1] - dW[:-1], penalty.gradient(case.W[:-1]), atol=1e-12)
    np.testing.assert_array_equal(dW_R[-1], dW[-1])


def test_numerical_gradient_leaves_W_alone():
    W = np.arange(6.0).reshape(2, 3).T
    before = W.copy()
    found = fl.numerical_gradient(lambda V: float((V**3).sum()), W)
    np.testing.assert_allclose(found, 3 * W**2, rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(W, before)


def test_check_gradient_finds_a_wrong_entry():
    def f(W):
        dW = 2 * W
        dW[1, 2] *= 1.001
        return (W**2).sum(), dW

    report = fl.check_gradient(f, np.ones((2, 3)))
    assert not report
    assert report.index == (1, 2)
    assert "DISAGREES" in str(report)


@pytest.mark.parametrize("h", [0, np.nan, np.inf, "x"])
def test_bad_step_of_a_difference(h):
    with pytest.raises((ValueError, TypeError), match="h must"):
        fl.numerical_gradient(lambda W: 0.0, np.ones(2), h)
