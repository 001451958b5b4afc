"""Losses against an oracle that imports nothing of ours, the lectures' own numbers, and invariants."""

import math

import mpmath
import numpy as np
import pytest

import fastlin as fl
from fastlin import _plan, ops, testing

# ---- The oracle: the formulas as they stand on the slides, a number at a time ----------------------------


def sigma(s):
    return 1 / (1 + mpmath.exp(-s))


HYPER = {"margin": 0.6, "label_smoothing": 0.15, "delta": 1.7}  # of the losses that have them

# (score, target, hyper-parameters) -> loss of a score with its target, in 30 digits.
BY_ELEMENT = {
    "one_vs_rest_svm": lambda s, t, h: max(mpmath.mpf(0), h["margin"] - (2 * t - 1) * s),
    "squared_one_vs_rest_svm": lambda s, t, h: max(mpmath.mpf(0), h["margin"] - (2 * t - 1) * s) ** 2,
    "logistic": lambda s, t, h: -t * mpmath.log(sigma(s)) - (1 - t) * mpmath.log(1 - sigma(s)),
    "sigmoid_squared": lambda s, t, h: (t - sigma(s)) ** 2,
    "squared_error": lambda s, t, h: (t - s) ** 2,
    "absolute_error": lambda s, t, h: abs(t - s),
    "huber": lambda s, t, h: (
        (t - s) ** 2 / 2 if abs(t - s) <= h["delta"] else h["delta"] * (abs(t - s) - h["delta"] / 2)
    ),
}


def oracle_loss(kind, W, X, y, *, reg=0.0, weight=None, bias=False):
    """Mean loss in float64 from lists, with exactly rounded sums."""
    n, d, c = len(X), len(X[0]), len(W[0])
    terms = []
    for i in range(n):
        s = [math.fsum([X[i][k] * W[k][j] for k in range(d)] + ([W[d][j]] if bias else [])) for j in range(c)]
        if kind in BY_ELEMENT:
            targets = y[i] if isinstance(y[i], list) else [float(j == y[i]) for j in range(c)]
            with mpmath.workdps(30):
                parts = [BY_ELEMENT[kind](mpmath.mpf(v), t, HYPER) for v, t in zip(s, targets, strict=True)]
                loss = float(mpmath.fsum(parts))
        elif kind in ("softmax", "soft_softmax"):
            largest = max(s)
            log_z = largest + math.log(math.fsum(math.exp(v - largest) for v in s))
            smoothing = HYPER["label_smoothing"]
            loss = math.fsum(((1 - smoothing) * (j == y[i]) + smoothing / c) * (log_z - s[j]) for j in range(c))
        else:
            violations = [max(0.0, s[j] - s[y[i]] + HYPER["margin"]) for j in range(c) if j != y[i]]
            loss = math.fsum(v * v if kind == "squared_svm" else v for v in violations)
            loss = max(violations) if kind == "crammer_singer_svm" else loss
        terms.append(loss * (1.0 if weight is None else weight[i]))
    penalty = reg * math.fsum(W[k][j] ** 2 for k in range(d) for j in range(c))
    return math.fsum(terms) / n + penalty


def public_loss(kind, *args, **how):
    """The public function with the oracle's hyper-parameters, those that it has."""
    how = {name: HYPER[name] for name in ops.LOSSES[kind].hyper} | how
    if kind == "soft_softmax":
        W, X, y, *others = args
        return fl.softmax_loss(W, X, np.eye(W.shape[1])[y], *others, **how)
    if not kind.endswith("svm"):
        return getattr(fl, f"{kind}_loss")(*args, **how)
    variant = next((name for name in ("crammer_singer", "one_vs_rest") if name in kind), "weston_watkins")
    return fl.svm_loss(*args, squared=kind.startswith("squared"), variant=variant, **how)


KINDS = ops.losses()
SHIFTS = [kind for kind in KINDS if kind not in BY_ELEMENT]  # whose losses see differences of scores only


@pytest.mark.paired(kind=KINDS, bias=[False, True])
def test_loss_equals_oracle(kind, bias, backend):
    case = testing.random_case(19, 7, 5, bias=bias, scale=3.0)
    expected = oracle_loss(
        *(kind, case.W.tolist(), case.X.tolist(), case.y.tolist()),
        **dict(reg=0.2, weight=case.sample_weight.tolist(), bias=bias),
    )
    found, _ = public_loss(
        *(kind, case.W, case.X, case.y, 0.2),
        **dict(bias=bias, sample_weight=case.sample_weight, backend=backend),
    )
    assert found == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("c", [1, 3])
@pytest.mark.parametrize("kind", BY_ELEMENT)
def test_targets_equal_oracle(kind, c, backend):
    """Numbers as targets, (n,) for one column of W; far beyond [0, 1] where the loss has no such limits."""
    case = testing.random_case(19, 7, c, bias=True, scale=3.0)
    unit = ops.LOSSES[kind].targets == "[0, 1]"
    T = np.random.default_rng(3).uniform(0, 1, (19, c)) if unit else 5 * case.X[:, :c]
    expected = oracle_loss(kind, case.W.tolist(), case.X.tolist(), T.tolist(), reg=0.2, bias=True)
    given = T[:, 0] if c == 1 else T
    found, dW = public_loss(kind, case.W, case.X, given, 0.2, bias=True, backend=backend)
    assert found == pytest.approx(expected, rel=1e-13)
    for entry in [(0, 0), (6, c - 1), (7, 0)]:
        W = case.W.copy(), case.W.copy()
        W[0][entry] += 1e-5
        W[1][entry] -= 1e-5
        above, below = (oracle_loss(kind, A.tolist(), case.X.tolist(), T.tolist(), reg=0.2, bias=True) for A in W)
        # The penalty of the oracle leaves b out, as ours does.
        assert dW[entry] == pytest.approx((above - below) / 2e-5, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_equals_the_oracles_slope(kind, backend):
    """Fourth-order differences of the oracle; no score gap is near a kink."""
    case = testing.random_case(6, 4, 3, bias=True, scale=2.0)
    X, y, weight = case.X.tolist(), case.y.tolist(), case.sample_weight.tolist()
    _, dW = public_loss(
        *(kind, case.W, case.X, case.y, 0.2),
        **dict(bias=True, sample_weight=case.sample_weight, backend=backend),
    )

    def f(k, j, step):
        W = case.W.tolist()
        W[k][j] += step
        return oracle_loss(kind, W, X, y, reg=0.2, weight=weight, bias=True)

    h = 1e-3
    for k in range(5):
        for j in range(3):
            slope = (8 * (f(k, j, h) - f(k, j, -h)) - (f(k, j, 2 * h) - f(k, j, -2 * h))) / (12 * h)
            assert dW[k, j] == pytest.approx(slope, rel=1e-8, abs=1e-10)


# ---- The lectures' numbers -------------------------------------------------------------------------------

# Lecture 3, "Suppose: 3 training examples": a column for each picture, a row for each class (cat, car, frog).
SCORES = np.array([[3.2, 1.3, 2.2], [5.1, 4.9, 2.5], [-1.7, 2.0, -3.1]])


@pytest.mark.quick
def test_lecture_svm_losses(backend):
    """With one-hot pictures W.T holds the scores: losses 2.9, 0, 12.9 and their mean 5.27."""
    W = np.ascontiguousarray(SCORES.T)
    for i, expected in enumerate([2.9, 0.0, 12.9]):
        loss, _ = fl.svm_loss(W, np.eye(3)[[i]], [i], backend=backend)
        assert loss == pytest.approx(expected, abs=1e-12)
    assert round(fl.svm_loss(W, np.eye(3), [0, 1, 2], backend=backend)[0], 2) == 5.27


def test_lecture_four_pixels(backend):
    """W, b and the picture of "Softmax vs. SVM": scores -2.85, 0.86, 0.28 and correct class 2."""
    W = np.array([[0.01, -0.05, 0.1, 0.05], [0.7, 0.2, 0.05, 0.16], [0.0, -0.45, -0.2, 0.03]])
    b = np.array([0.0, 0.2, -0.3])
    with_bias = np.vstack([W.T, b])
    x = np.array([[-15.0, 22.0, -44.0, 56.0]])
    scores = fl.scores(with_bias, x, bias=True, backend=backend)
    np.testing.assert_allclose(scores, [[-2.85, 0.86, 0.28]], atol=1e-12)
    # The slide divides rounded numbers: 0.058 / 3.74 is 0.016 there, e^-2.85 / 3.744 is 0.0154 here.
    np.testing.assert_allclose(fl.softmax(scores), [[0.016, 0.631, 0.353]], atol=6e-4)
    assert round(fl.svm_loss(with_bias, x, [2], bias=True, backend=backend)[0], 2) == 1.58
    loss, _ = fl.softmax_loss(with_bias, x, [2], bias=True, backend=backend)
    assert loss == pytest.approx(-math.log(fl.softmax(scores)[0, 2]))
    assert round(loss / math.log(10), 3) == 0.452  # the slide took the logarithm to base 10
    assert fl.predict(with_bias, x, bias=True, backend=backend) == 1


def test_lecture_loss_at_the_start(backend, dtype):
    """W = 0: the SVM's loss is C - 1, softmax's log C."""
    W, X, y = np.zeros((4, 10), dtype), np.ones((6, 4), dtype), np.arange(6)
    assert fl.svm_loss(W, X, y, backend=backend)[0] == 9.0
    assert fl.softmax_loss(W, X, y, backend=backend)[0] == pytest.approx(math.log(10), rel=1e-6)


@pytest.mark.parametrize("order", ["C", "F", "strided"])
def test_penalties_of_large_weights(order):
    """They are summed some entries after the other, in float64."""
    W = np.random.default_rng(0).standard_normal((9000, 12)).astype(np.float32) + np.float32(3.0)
    W = W[::2, 1:] if order == "strided" else np.array(W, order=order)
    squares, sizes = (math.fsum(map(function, W.ravel().tolist())) for function in (lambda w: w * w, abs))
    assert fl.L2(0.3).value(W) == pytest.approx(0.3 * squares, rel=1e-13)
    assert fl.L1(0.3).value(W) == pytest.approx(0.3 * sizes, rel=1e-13)
    assert fl.ElasticNet(0.3, 0.7).value(W) == pytest.approx(0.3 * (0.7 * squares + sizes), rel=1e-13)
    assert fl.L2(0.3).value(W[:0]) == 0.0


def test_lecture_penalties():
    """w1 = [1,0,0,0] and w2 = [.25,.25,.25,.25] give one score; L2 prefers w2, L1 has no preference."""
    w1, w2, x = np.array([[1.0, 0, 0, 0]]).T, np.full((4, 1), 0.25), np.ones((1, 4))
    assert fl.scores(w1, x) == fl.scores(w2, x) == 1.0
    assert (fl.L2(1.0).value(w1), fl.L2(1.0).value(w2)) == (1.0, 0.25)
    assert fl.L1(1.0).value(w1) == fl.L1(1.0).value(w2) == 1.0
    assert fl.ElasticNet(2.0, 3.0).value(w2) == 2.0 * (3.0 * 0.25 + 1.0)


# ---- Invariants ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", SHIFTS)
def test_scores_shift_leaves_the_loss(kind, backend):
    """Adding one number to all scores changes nothing, and so gradients sum to zero over classes."""
    case = testing.random_case(20, 6, 5, bias=True)
    moved = case.W.copy()
    moved[-1] += 2.5
    a, dW = public_loss(kind, case.W, case.X, case.y, bias=True, backend=backend)
    b, _ = public_loss(kind, moved, case.X, case.y, bias=True, backend=backend)
    assert a == pytest.approx(b, rel=1e-12)
    np.testing.assert_allclose(dW.sum(axis=1), 0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_sum_is_n_times_mean_and_weights_multiply(kind, backend):
    case = testing.random_case(20, 6, 5)
    mean, dW_mean = public_loss(kind, case.W, case.X, case.y, backend=backend)
    total, dW_total = public_loss(kind, case.W, case.X, case.y, reduction="sum", backend=backend)
    double, dW_double = public_loss(kind, case.W, case.X, case.y, sample_weight=np.full(20, 2), backend=backend)
    assert total == pytest.approx(20 * mean, rel=1e-13)
    assert double == pytest.approx(2 * mean, rel=1e-13)
    np.testing.assert_allclose(dW_total, 20 * dW_mean, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(dW_double, 2 * dW_mean, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_more_threads_same_bits(kind, compiled, dtype):
    """Enough work for many parts, with and without rows that must be converted first."""
    case = testing.random_case(4099, 130, 10).astype(dtype)
    for X in (case.X, np.asfortranarray(case.X)):
        one = public_loss(kind, case.W, X, case.y, 0.1, backend=compiled, threads=1)
        for threads in (2, 3, 7):
            more = public_loss(kind, case.W, X, case.y, 0.1, backend=compiled, threads=threads)
            assert one[0] == more[0]
            assert one[1].tobytes() == more[1].tobytes()


def test_scores_of_more_threads_same_bits(compiled, dtype):
    case = testing.random_case(9001, 130, 10).astype(dtype)
    assert _plan.score_threads(9001, 130, 10) > 2
    for X in (case.X, np.asfortranarray(case.X), case.X[:-1]):
        one = fl.scores(case.W, X, backend=compiled, threads=1)
        assert testing.error(one, X.astype(np.float64) @ case.W, 1.0) <= testing.tolerance(dtype, 130)
        for threads in (2, 3, 7):
            assert fl.scores(case.W, X, backend=compiled, threads=threads).tobytes() == one.tobytes()


@pytest.mark.paired(
    whole=[("kind", "bad", "backend"), ("kind", "backend", "dtype")], kind=KINDS, bad=[np.nan, np.inf, -np.inf]
)
def test_nan_and_inf_reach_the_loss(kind, bad, backend, dtype):
    case = testing.random_case(9, 4, 3).astype(dtype)
    X = case.X.copy()
    X[4, 2] = bad
    loss, dW = public_loss(kind, case.W, X, case.y, backend=backend)
    assert not math.isfinite(loss) or (kind == "sigmoid_squared" and not np.isnan(bad))  # sigma(inf) is 1
    assert dW.shape == (4, 3)


def test_zero_loss_is_not_negative(backend, dtype):
    W, X = np.array([[100.0, 0.0]], dtype), np.ones((3, 1), dtype)
    for kind in SHIFTS:
        defaults = {name: spec.default for name, spec in ops.LOSSES[kind].hyper.items()}
        loss, dW = public_loss(kind, W, X, [0, 0, 0], backend=backend, **defaults)
        assert 0.0 <= loss < 1e-30
        assert abs(dW).max() < 1e-30


def test_no_rows(backend, dtype):
    W, X = np.ones((3, 2), dtype), np.zeros((0, 3), dtype)
    loss, dW = fl.svm_loss(W, X, np.zeros(0, int), 0.5, reduction="sum", backend=backend)
    assert loss == 3.0
    np.testing.assert_array_equal(dW, W)
    assert fl.scores(W, X, backend=backend).shape == (0, 2)
    assert fl.predict(W, X, backend=backend).shape == (0,)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_check(kind, backend):
    case = testing.random_case(8, 5, 4, bias=True)
    report = fl.check_gradient(
        lambda W: public_loss(kind, W, case.X, case.y, fl.ElasticNet(0.01, 0.5), bias=True, backend=backend),
        case.W,
    )
    assert report, report
