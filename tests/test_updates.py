"""Optimizer steps against formulas written by hand, over many steps; roots to the last bits; clip, prox and norm."""

import inspect
import math
import re

import numpy as np
import pytest

import fastlin as fl
from fastlin import _plan, _step, ops, testing, updates

RULES = [name for name, op in ops.OPS.items() if op.kind == "update"]
CLOSE = {"float32": 1e-5, "float64": 1e-12}


def oracle(rule, w, g, state, t, h):
    """A step in float64 as torch documents it (single tensor), Lion and the lecture's forms from their sources."""
    lr, decay = h["lr"], h["weight_decay"]
    if rule in ("adamw_update", "lion_update"):
        w = w * (1 - lr * decay)
    else:
        g = g + decay * w
    if rule == "sgd_update":
        return w - lr * g, []
    if rule in ("momentum_update", "nesterov_update"):
        buf = h["momentum"] * state[0] + g
        return w - lr * (g + h["momentum"] * buf if rule == "nesterov_update" else buf), [buf]
    if rule == "velocity_update":
        velocity = h["momentum"] * state[0] - lr * g
        return w + velocity, [velocity]
    if rule == "adagrad_update":
        total = state[0] + g**2
        return w - lr * g / (np.sqrt(total) + h["eps"]), [total]
    if rule == "rmsprop_update":
        average = h["alpha"] * state[0] + (1 - h["alpha"]) * g**2
        return w - lr * g / (np.sqrt(average) + h["eps"]), [average]
    if rule == "adadelta_update":
        square = h["rho"] * state[0] + (1 - h["rho"]) * g**2
        delta = np.sqrt(state[1] + h["eps"]) / np.sqrt(square + h["eps"]) * g
        return w - lr * delta, [square, h["rho"] * state[1] + (1 - h["rho"]) * delta**2]
    if rule == "lion_update":
        step = np.sign(h["beta1"] * state[0] + (1 - h["beta1"]) * g)
        return w - lr * step, [h["beta2"] * state[0] + (1 - h["beta2"]) * g]
    if rule == "adamax_update":
        exp_avg = h["beta1"] * state[0] + (1 - h["beta1"]) * g
        exp_inf = np.maximum(h["beta2"] * state[1], np.abs(g) + h["eps"])
        return w - h["lr"] / (1 - h["beta1"] ** t) * exp_avg / exp_inf, [exp_avg, exp_inf]
    return oracle_adam(rule, w, g, state, t, h)


def oracle_adam(rule, w, g, state, t, h):
    exp_avg = h["beta1"] * state[0] + (1 - h["beta1"]) * g
    exp_avg_sq = h["beta2"] * state[1] + (1 - h["beta2"]) * g**2
    found, second = [exp_avg, exp_avg_sq], exp_avg_sq
    if rule == "adam_almost_update":
        return w - h["lr"] * exp_avg / (np.sqrt(exp_avg_sq) + h["eps"]), found
    if rule == "amsgrad_update":
        second = np.maximum(state[2], exp_avg_sq)
        found.append(second)
    correction1, correction2 = 1 - h["beta1"] ** t, 1 - h["beta2"] ** t
    if rule == "radam_update":
        rho_inf = 2 / (1 - h["beta2"]) - 1
        rho_t = rho_inf - 2 * t * h["beta2"] ** t / correction2
        if rho_t <= 5:
            return w - h["lr"] * exp_avg / correction1, found
        rect = ((rho_t - 4) * (rho_t - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho_t)) ** 0.5
        return w - h["lr"] * exp_avg / correction1 * rect * correction2**0.5 / (exp_avg_sq**0.5 + h["eps"]), found
    denominator = np.sqrt(second) / math.sqrt(correction2) + h["eps"]
    if rule != "nadam_update":
        return w - h["lr"] / correction1 * exp_avg / denominator, found
    mu = [h["beta1"] * (1 - 0.5 * 0.96 ** (i * h["momentum_decay"])) for i in range(1, t + 2)]
    w = w - h["lr"] * (1 - mu[t - 1]) / (1 - math.prod(mu[:t])) * g / denominator
    return w - h["lr"] * mu[t] / (1 - math.prod(mu)) * exp_avg / denominator, found


@pytest.mark.parametrize("rule", RULES)
def test_fifty_steps_equal_the_oracle(rule, backend, dtype):
    """From a random state, every hyper-parameter off its default, odd size; w stays away from 0."""
    h = testing.off_neutral(rule)
    op = ops.OPS[rule]
    rng = np.random.default_rng(7)
    w = rng.uniform(5, 6, 101)
    state = [rng.uniform(0.1, 1.0, w.size) for _ in op.state]
    gradients = rng.standard_normal((50, w.size))
    arrays = [A.astype(dtype) for A in (w, *state)]
    kernel = ops.kernel(rule, backend, dtype)
    w, *state = (A.astype(np.float64) for A in arrays)
    for t, g in enumerate(gradients.astype(dtype), 1):
        g.flags.writeable = False
        kernel(arrays[0], g, *arrays[1:], *([t] if "t" in op.args else []), *h.values())
        w, state = oracle(rule, w, g.astype(np.float64), state, t, h)
    np.testing.assert_allclose(arrays[0], w, rtol=CLOSE[dtype])
    for found, expected in zip(arrays[1:], state, strict=True):
        np.testing.assert_allclose(found, expected, rtol=CLOSE[dtype], atol=CLOSE[dtype] * np.abs(expected).max())


def test_momentum_in_both_formulations(backend):
    """Lecture 3: "You may see SGD+Momentum formulated different ways, but they are equivalent"."""
    one, other = fl.SGD(0.1, momentum=0.9), fl.Momentum(0.1, momentum=0.9)
    W = np.linspace(-1, 1, 7)
    V = W.copy()
    for _ in range(30):
        one.step(W, np.cos(3 * W), backend=backend)
        other.step(V, np.cos(3 * V), backend=backend)
    np.testing.assert_allclose(V, W, rtol=1e-12)
    np.testing.assert_allclose(other.state_dict()["v.0"], -0.1 * one.state_dict()["v.0"], rtol=1e-9)


def test_nesterov_is_the_lectures_change_of_variables(backend):
    W, lr, rho = np.linspace(-1, 1, 7), 0.1, 0.9
    x, v = W.copy(), np.zeros(7)
    optimizer = fl.SGD(lr, momentum=rho, nesterov=True)
    for _ in range(30):
        optimizer.step(W, np.cos(3 * W), backend=backend)
        before, v = v, rho * v - lr * np.cos(3 * x)
        x = x + v + rho * (v - before)
    np.testing.assert_allclose(W, x, rtol=1e-12)


def test_almost_adam_starts_with_a_leap():
    """Lecture 3: "What happens at first timestep?" (1 - beta1) / sqrt(1 - beta2) times Adam's step."""
    W, V = np.zeros(4), np.zeros(4)
    fl.Adam(lr=0.1).step(W, np.ones(4))
    fl.AdamAlmost(lr=0.1).step(V, np.ones(4))
    np.testing.assert_allclose(V / W, 0.1 / np.sqrt(0.001), rtol=1e-6)


@pytest.mark.paired(
    whole=[("beta1", "momentum_decay", "backend")], beta1=[0.0, 0.5, 0.9, 0.999], momentum_decay=[0.0, 4e-3, 0.5, 1e300]
)
def test_nadam_without_the_loop_over_steps(beta1, momentum_decay, backend):
    """The product of all momenta up to t, as torch multiplies them one by one, is known for any t at once."""
    h = testing.off_neutral("nadam_update") | {"beta1": beta1, "momentum_decay": momentum_decay, "lr": 0.1}
    kernel = ops.kernel("nadam_update", backend, "float64")
    g = np.array([0.3, -2.0, 1.0])
    for t in (1, 2, 3, 10, 100, 1500):
        arrays = np.ones((3, 3))
        w, state = oracle("nadam_update", arrays[0], g, list(arrays[1:]), t, h)
        kernel(arrays[0], g, *arrays[1:], t, *h.values())
        np.testing.assert_allclose(arrays, [w, *state], rtol=1e-11)


@pytest.mark.parametrize("t", [10**12, 2**52])
def test_nadam_at_a_step_that_nobody_reaches(t, backend):
    """The product is beta1^t, but for factors that differ from beta1 in the first steps; a loop would never end."""
    h = testing.off_neutral("nadam_update") | {"beta1": 1 - 1 / 2**52, "momentum_decay": 100.0}
    (w, *state), g, q = np.ones((3, 2)), np.array([0.3, -2.0]), 0.96**100
    ops.kernel("nadam_update", backend, "float64")(w, g, *state, t, *h.values())
    product = math.exp(-t / 2**52) * math.prod(1 - q**i / 2 for i in range(1, 20))
    m = h["beta1"] + (1 - h["beta1"]) * (g + h["weight_decay"])
    v = h["beta2"] + (1 - h["beta2"]) * (g + h["weight_decay"]) ** 2
    rates = (1 - h["beta1"]) / (1 - product), h["beta1"] / (1 - product * h["beta1"])
    step = (rates[0] * (g + h["weight_decay"]) + rates[1] * m) / (np.sqrt(v) + h["eps"])
    np.testing.assert_allclose(w, 1 - h["lr"] * step, rtol=1e-12)


@pytest.mark.parametrize("rule", [rule for rule in RULES if "t" in ops.OPS[rule].args])
def test_far_steps_are_finite(rule, backend, dtype):
    """t can come from a state that somebody wrote."""
    for t in (10**6, 2**53, 2**62):
        arrays = testing.update_case(rule, 20, dtype).fresh()
        ops.kernel(rule, backend, dtype)(*arrays, t, *testing.off_neutral(rule).values())
        assert all(np.isfinite(A).all() for A in arrays)


# ---- Roots, at the ends of the range ---------------------------------------------------------------------


def test_division_by_a_root_is_within_two_ulp(compiled, dtype):
    """AdaGrad with lr = 1, w = 0 and no decay is -g / (sqrt(g^2 + s) + eps): over the whole range of s."""
    info = np.finfo(dtype)
    rng = np.random.default_rng(0)
    low, high = np.log2(float(info.tiny)), np.log2(float(info.max))
    s = np.exp2(rng.uniform(low, high, 20_000).astype(np.longdouble)).astype(dtype)
    s = np.concatenate([s, np.full(37, info.smallest_subnormal), info.tiny * rng.uniform(0, 1, 40).astype(dtype)])
    g = np.full(s.size, 2.0 ** (-76 if dtype == "float32" else -550), dtype)  # its square is negligible
    w, exact = np.zeros_like(s), s.astype(np.longdouble)
    ops.kernel("adagrad_update", compiled, dtype)(w, g, s.copy(), 1.0, 1e-300, 0.0)
    expected = -g.astype(np.longdouble) / np.sqrt(exact)
    assert np.max(np.abs(w - expected) / np.spacing(np.abs(expected).astype(dtype))) <= 2


@pytest.mark.parametrize("rule", [rule for rule in RULES if "eps" in ops.OPS[rule].hyper])
def test_special_numbers_as_the_formula_says(rule, compiled, dtype):
    """Zeros, Inf and NaN in one vector give the same results as NumPy in the same type."""
    op, h = ops.OPS[rule], testing.off_neutral(rule) | {"weight_decay": 0.0}
    g = np.array([0, 0, 1, np.inf, -np.inf, np.nan, 0, 1e-30, -0.0] * 5, dtype)
    second = np.array([0, 0, 0, 1, 1, 1, np.inf, 1e-44, 0] * 5, dtype)
    states = [np.zeros_like(g) if name == "m" else second.copy() for name in op.state]
    scalars = [*([2] if "t" in op.args else []), *h.values()]
    found = [np.ones_like(g), g, *(A.copy() for A in states)]
    ops.kernel(rule, compiled, dtype)(*found, *scalars)
    expected = [np.ones_like(g), g, *states]
    with np.errstate(all="ignore"):
        ops.kernel(rule, "numpy", dtype)(*expected, *scalars)
    for A, B in zip(found, expected, strict=True):
        np.testing.assert_allclose(A, B, rtol=1e-5)


def test_subnormal_squares_count(compiled):
    """v below the smallest normal number still divides, where eps is smaller yet."""
    v = np.full(70, 1e-42, np.float32)
    w, g = np.zeros_like(v), np.full(70, 1e-25, np.float32)
    ops.kernel("adagrad_update", compiled, "float32")(w, g, v.copy(), 1.0, 1e-44, 0.0)
    np.testing.assert_allclose(w, -g / np.sqrt(v.astype(float)), rtol=1e-6)


MOMENTS = {
    rule: "m" if "m" in ops.OPS[rule].state else "v" for rule in RULES if {"m", "momentum"} & {*ops.OPS[rule].args}
}


@pytest.mark.parametrize("rule", MOMENTS)
def test_moments_decay_to_zero(rule, compiled, dtype):
    """They do not stay among the subnormal numbers, with which processors are slow; Inf and NaN are kept."""
    info, op = np.finfo(dtype), ops.OPS[rule]
    scalars = [*([2] if "t" in op.args else []), *(testing.off_neutral(rule) | {"weight_decay": 0.0}).values()]
    start = np.resize(np.array([info.tiny, info.tiny / 8, 4 * info.smallest_subnormal, np.inf, np.nan], dtype), 67)
    states = {name: np.ones(67, dtype) for name in op.state} | {MOMENTS[rule]: start.copy()}
    for _ in range(2):
        ops.kernel(rule, compiled, dtype)(np.ones(67, dtype), np.zeros(67, dtype), *states.values(), *scalars)
    np.testing.assert_array_equal(states[MOMENTS[rule]], np.where(np.isfinite(start), 0, start))


# ---- Clip, prox, norm ------------------------------------------------------------------------------------


def test_clip_stage(backend, dtype):
    g = np.array([0.5, -3.0, 2.0, np.inf, -np.inf, np.nan, 0.0], dtype)
    out = np.empty_like(g)
    ops.kernel("clip_stage", backend, dtype)(g, out, 2.0, 1.5)
    np.testing.assert_array_equal(out, np.array([1.0, -1.5, 1.5, 1.5, -1.5, np.nan, 0.0], dtype))
    ops.kernel("clip_stage", backend, dtype)(g, out, 1.0, np.inf)
    np.testing.assert_array_equal(out, g)


def test_prox_stage(backend, dtype):
    w = np.array([0.5, -3.0, 0.25, -0.25, np.inf, np.nan, 0.0], dtype)
    neutral = w.copy()
    ops.kernel("prox_stage", backend, dtype)(w, 0.25, 0.5)
    np.testing.assert_array_equal(w, np.array([0.125, -1.375, 0, 0, np.inf, np.nan, 0], dtype))
    ops.kernel("prox_stage", backend, dtype)(neutral, 0.0, 1.0)
    np.testing.assert_array_equal(neutral, np.array([0.5, -3.0, 0.25, -0.25, np.inf, np.nan, 0.0], dtype))


@pytest.mark.parametrize("size", [0, 1, 31, 32, 67])
def test_average_stage(size, backend, dtype):
    """mean + (w - mean) factor, each operation rounded on its own."""
    rng = np.random.default_rng(size)
    w, mean = rng.standard_normal(size).astype(dtype), rng.standard_normal(size)
    w[:1] = np.inf
    expected = [float(m) + (float(x) - float(m)) * 0.3 for x, m in zip(w, mean, strict=True)]
    ops.kernel("average_stage", backend, dtype)(w, mean, 0.3)
    assert mean.tolist() == expected


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1, 1), (1, 67), (3, 37), (5, 16)], ids=str)
@pytest.mark.parametrize("terms", [(0.3, 0.0), (0.0, 0.7), (0.3, 0.7)], ids=["l2", "l1", "both"])
def test_penalty_stage(terms, shape, backend, dtype):
    """Rows lie apart; numbers between them are not touched. 0 has no slope, and no term that is 0 meets an Inf."""
    m, n = shape
    rng = np.random.default_rng([m, n])
    wide, beside = (rng.standard_normal((m, n + 2)).astype(dtype) for _ in range(2))
    w, g = wide[:, 1 : n + 1], beside[:, 1 : n + 1]
    w.flat[::5] = 0
    before, x = beside.copy(), w.astype(float)
    w.flags.writeable = False
    value = ops.kernel("penalty_stage", backend, dtype)(g, w, *terms)
    assert isinstance(value, float)
    l2, l1 = terms
    assert value == pytest.approx(math.fsum((l2 * x * x + l1 * abs(x)).flat), rel=1e-13)
    expected = before.astype(float)
    expected[:, 1 : n + 1] += 2 * l2 * x + l1 * np.sign(x)
    np.testing.assert_allclose(beside, expected, rtol=0, atol=4 * np.finfo(dtype).eps * np.abs(expected).max(initial=0))
    np.testing.assert_array_equal(beside[:, [0, n + 1]], before[:, [0, n + 1]])


def test_penalty_stage_of_infinite_weights(backend, dtype):
    w = np.array([[np.inf, -np.inf, np.nan, 1.0]], dtype)
    for terms, slopes in (((0.5, 0.0), w[0]), ((0.0, 0.5), [0.5, -0.5, np.nan, 0.5])):
        g = np.zeros_like(w)
        assert math.isnan(ops.kernel("penalty_stage", backend, dtype)(g, w, *terms))
        np.testing.assert_array_equal(g[0], slopes)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 37, 1000])
def test_sum_of_squares(size, backend, dtype):
    g = np.random.default_rng(size).standard_normal(size).astype(dtype)
    found = ops.kernel("sum_squares", backend, dtype)(g)
    assert isinstance(found, float)
    assert found == pytest.approx(math.fsum(float(x) ** 2 for x in g), rel=1e-14)  # in float64 for float32 too


def test_norm_of_several_large_arrays(backend, dtype):
    g = np.random.default_rng(0).standard_normal(_plan.STEP_CHUNK + 77 if backend != "naive" else 100).astype(dtype)
    found = _step.norm([g, g[:50]], backend, 2)
    assert found == pytest.approx(np.linalg.norm(np.concatenate([g, g[:50]]).astype(float)), rel=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_stages_are_those_pieces_in_turn(rule, backend, dtype):
    """The arrays have several slices and a tail; g is not written."""
    case = testing.update_case(rule, 2 * 2048 + 5, dtype)
    stages = _step.Stages(scale=0.5, limit=0.7, shrink=0.02, factor=0.9)
    arrays = case.fresh()
    before = arrays[1].copy()
    w, g, *state = arrays
    _step.update(rule, w, g, tuple(state), case.scalars, stages, backend, 2)
    np.testing.assert_array_equal(arrays[1], before)
    w, g, *state = case.fresh()
    clipped = np.clip(g * np.dtype(dtype).type(0.5), -0.7, 0.7).astype(dtype)
    case.kernel(backend)(w, clipped, *state, *case.scalars)
    w = fl.L1(0.02).prox(w, 1.0) * np.dtype(dtype).type(0.9)
    for A, B in zip((arrays[0], *arrays[2:]), (w, *state), strict=True):
        np.testing.assert_allclose(A, B, rtol=0, atol=4 * np.finfo(dtype).eps * np.abs(B).max())


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("stages", [_step.NO_STAGES, _step.Stages(0.5, 0.7, 0.02, 0.9)])
def test_ranges_make_no_difference(rule, stages, compiled, dtype):
    """Any start of w in a cache line, any ranges and any threads give the same bits, and write only to the arrays."""
    kernel = ops.step_kernel(rule, compiled)
    for size, begin in ((0, 3), (1, 0), (7, 5), (33, 15), (4999, 1), (5003, 4)):
        case = testing.update_case(rule, size, dtype)
        found = set()
        for ranges, threads in ((1, 1), (2, 2), (3, 2), (7, 3), (64, 2)):
            whole = [np.pad(A, (begin + i, 40), constant_values=7) for i, A in enumerate(case.arrays)]
            w, g, *state = (A[begin + i : begin + i + size] for i, A in enumerate(whole))
            kernel(w, g, tuple(state), case.scalars, stages, ranges, threads)
            assert all((A[: begin + i] == 7).all() and (A[begin + i + size :] == 7).all() for i, A in enumerate(whole))
            found.add(b"".join(A.tobytes() for A in (w, *state)))
        assert len(found) == 1


def test_same_bits_for_any_number_of_threads(compiled):
    """Several calls, ranges and a tail give the numbers of NumPy, which gets the whole arrays at once."""
    size = _plan.STEP_CHUNK + 2 * _plan.STEP_RANGE + 77

    def run(backend, threads):
        rng = np.random.default_rng(0)
        W, dW = rng.standard_normal((2, size)).astype(np.float32)
        fl.SGD(100.0, clip_norm=1.0, prox=fl.L1(1e-3)).step(W, dW, backend=backend, threads=threads)
        fl.AdaGrad().step(W, dW, backend=backend, threads=threads)
        return W

    found = [run(compiled, threads) for threads in (1, 2, 3)]
    assert len({W.tobytes() for W in found}) == 1
    np.testing.assert_allclose(found[0], run("numpy", None), rtol=1e-4, atol=1e-6)


# ---- The steps as functions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_function_of_a_row(rule, backend, dtype):
    case = testing.update_case(rule, 24, dtype)
    op = ops.OPS[rule]
    expected = case.step(backend)
    arrays = [A.reshape((4, 6), order="F") for A in case.fresh()]
    count = [9] if "t" in op.args else []
    function = getattr(fl, rule)
    function(*arrays, *count, **testing.off_neutral(rule), backend=backend)
    for A, B in zip(arrays, expected, strict=True):
        np.testing.assert_array_equal(A.ravel(order="F"), B)


@pytest.mark.parametrize("rule", RULES)
def test_function_agrees_with_its_row(rule):
    """Arrays, t if the rule counts, then the hyper-parameters with the row's defaults, but for lr, and how to run."""
    op, function = ops.OPS[rule], getattr(fl, rule)
    none, by_place, by_name = (
        inspect.Parameter.empty,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.KEYWORD_ONLY,
    )
    expected = [(arg, by_place, none, "int" if arg == "t" else "Array") for arg in op.args if arg not in op.hyper]
    expected += [(arg, by_name, none if arg == "lr" else spec.default, "float") for arg, spec in op.hyper.items()]
    expected += [("backend", by_name, None, "str | None"), ("threads", by_name, None, "int | None")]
    signature = inspect.signature(function)
    assert [(p.name, p.kind, p.default, p.annotation) for p in signature.parameters.values()] == expected
    assert signature.return_annotation == "None"
    overwritten = re.search(r"^([\w, ]+) (?:is|are) overwritten", inspect.getdoc(function), re.MULTILINE)[1]
    assert tuple(re.findall(r"\w+", overwritten.replace(" and ", " "))) == op.writes
    assert "w <- " in function.__doc__


def test_every_row_has_a_function():
    assert sorted(updates.__all__) == sorted(RULES)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda w, g, m, v: fl.adam_update(w, g, m, v, 0, lr=0.1), ValueError, "t must be an integer of at least 1"),
        (
            lambda w, g, m, v: fl.adam_update(w, g, m, v, 10**400, lr=1),
            ValueError,
            "t must be an integer of at most 90071",
        ),
        (lambda w, g, m, v: fl.Adam().load_state_dict(fl.Adam().state_dict() | {"t": 2**63 - 1}), ValueError, "t must"),
        (lambda w, g, m, v: fl.adam_update(w, g, m, v, 1), TypeError, "missing 1 required keyword-only argument: 'lr'"),
        (lambda w, g, m, v: fl.adam_update(w, g, m, v, 1, lr=-1), ValueError, "lr must be in"),
        (lambda w, g, m, v: fl.adam_update(w, g, m, v[1:], 1, lr=0.1), ValueError, "w and v must be alike"),
        (lambda w, g, m, v: fl.adam_update(w, g, m, w, 1, lr=0.1), ValueError, "w shares memory with v"),
        (lambda w, g, m, v: fl.sgd_update(w[::2], g[::2], lr=0.1), ValueError, "w is not contiguous"),
        (lambda w, g, m, v: fl.sgd_update(w, g.astype(int), lr=0.1), TypeError, "g has dtype int64"),
        (lambda w, g, m, v: fl.sgd_update(list(w), g, lr=0.1), TypeError, "w must be an array; found list"),
    ],
)
def test_bad_function_argument(call, kind, message):
    arrays = np.ones((4, 6))
    with pytest.raises(kind, match=message):
        call(*arrays)
    assert (arrays == 1).all()


@pytest.mark.parametrize("rule", [rule for rule in RULES if "v" in ops.OPS[rule].state])
def test_roots_of_negative_numbers_are_nan(rule, backend):
    """No backend raises in the middle of a step: naive did, with the numbers before changed."""
    case = testing.update_case(rule, 5, "float64")
    arrays = [A.copy() for A in case.arrays]
    arrays[1 + list(ops.OPS[rule].args).index("v") - 1][2] = -1e9
    with np.errstate(invalid="ignore"):
        case.kernel(backend)(*arrays, *case.scalars)
    assert np.isfinite(arrays[0][[0, 1, 3, 4]]).all()
