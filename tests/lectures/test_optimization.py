"""Rows of docs/lectures.md: gradients, searches, optimizers, learning rates, second order."""

import numpy as np
import pytest

import fastlin as fl

W_SLIDE = np.array([0.34, -1.11, 0.78, 0.12, 0.55, 2.81, -3.1, -1.5, 0.33])
H = 0.0001


def bowl(W, condition=50.0):
    scale = np.array([1.0, condition])
    return 0.5 * float(scale @ W**2), scale * W


def saddle(W):
    return W[0] ** 2 - W[1] ** 2, np.array([2 * W[0], -2 * W[1]])


def walk(f, optimizer, start, steps):
    W = np.array(start, float)
    path = [W.copy()]
    for _ in range(steps):
        optimizer.step(W, f(W)[1])
        path.append(W.copy())
    return np.array(path)


@pytest.fixture
def digits():
    return fl.load_digits()


# ---- Gradients -------------------------------------------------------------------------------------------


def printed(W0, losses):
    """A loss that is 1.25347 at W0 and has the slides' printed values where one weight is H larger."""
    return lambda W: 1.25347 + (np.array(losses) - 1.25347) / H @ (W - W0)


def test_numerical_gradient_table():
    """The slides' nine slopes. They print three losses; the others follow from what they print as the gradient."""
    slopes = np.array([-2.5, 0.6, 0, 0.2, 0.7, -0.5, 1.1, 1.3, -2.1])
    losses = [1.25322, 1.25353, 1.25347, *(1.25347 + H * slopes[3:])]
    found = fl.numerical_gradient(printed(W_SLIDE, losses), W_SLIDE, h=H)
    np.testing.assert_allclose(found, slopes, atol=1e-9)


def test_numerical_gradient_table_of_six():
    """One document goes on otherwise, -10.0, 4.0 and -0.1, and prints all six losses."""
    W = W_SLIDE[[0, 1, 2, 3, 4, 8]]
    losses = [1.25322, 1.25353, 1.25347, 1.25247, 1.25387, 1.25346]
    found = fl.numerical_gradient(printed(W, losses), W, h=H)
    np.testing.assert_allclose(found, [-2.5, 0.6, 0.0, -10.0, 4.0, -0.1], atol=1e-9)


def test_gradient_at_5_3():
    found = fl.numerical_gradient(lambda v: v[0] ** 2 + v[1] ** 2, np.array([5.0, 3.0]))
    np.testing.assert_allclose(found, [10, 6], atol=1e-8)


def test_forward_differences():
    """The slide's code takes f(x + h) - f(x); central differences are closer, at twice the calls."""
    slide = (np.exp(1 + 1e-5) - np.exp(1)) / 1e-5
    ours = fl.numerical_gradient(lambda x: float(np.exp(x[0])), np.array([1.0]))[0]
    assert abs(ours - np.e) < 1e-3 * abs(slide - np.e)


def test_jacobian(backend):
    """Row i, column j: the derivative of score i by pixel j. It is W, and has a row for each score."""
    rng = np.random.default_rng(0)
    W, x = rng.standard_normal((5, 3)), rng.standard_normal(5)
    rows = [fl.numerical_gradient(lambda x, i=i: fl.scores(W, x[None], backend=backend)[0, i], x) for i in range(3)]
    np.testing.assert_allclose(rows, W.T, atol=1e-9)


def test_sizes_of_derivatives(backend):
    """dv/ds, of a vector (m,) by a number, is a column of m entries; ds/dv is a row of them."""
    s0 = np.array([3.2, 5.1, -1.7])
    P = fl.softmax(s0, backend=backend)

    def v(s):
        return fl.softmax(float(s[0]) * s0, backend=backend)

    column = np.array([fl.numerical_gradient(lambda s, i=i: v(s)[i], np.ones(1)) for i in range(3)])
    row = fl.numerical_gradient(lambda v: -float(np.log(fl.softmax(v, backend=backend)[0])), s0)[None]
    assert (column.shape, row.shape) == ((3, 1), (1, 3))
    np.testing.assert_allclose(column[:, 0], P * (s0 - P @ s0), atol=1e-9)
    np.testing.assert_allclose(row[0], P - [1, 0, 0], atol=1e-9)


def test_directional_slope():
    """The slope in a direction is its dot product with the gradient; steepest down is the negative gradient."""
    rng = np.random.default_rng(0)
    W, X, y = rng.standard_normal((5, 3)), rng.standard_normal((9, 5)), np.arange(9) % 3
    _, dW = fl.softmax_loss(W, X, y)
    steepest = -dW / np.linalg.norm(dW)
    slopes = []
    for direction in [steepest, *rng.standard_normal((20, 5, 3))]:
        u = direction / np.linalg.norm(direction)
        slope = (fl.softmax_loss(W + 1e-6 * u, X, y)[0] - fl.softmax_loss(W - 1e-6 * u, X, y)[0]) / 2e-6
        assert slope == pytest.approx(float((u * dW).sum()), abs=1e-8)
        slopes.append(slope)
    assert min(slopes) == slopes[0]


def test_analytic_gradient(backend):
    """Of L = 1/N sum L_i + sum W^2 with the hinge: what the slides derive by calculus."""
    rng = np.random.default_rng(0)
    W, X, y = rng.standard_normal((5, 4)), rng.standard_normal((9, 5)), np.arange(9) % 4
    expected = 2 * W
    for x, label in zip(X, y, strict=True):
        for j in range(4):
            if j != label and x @ W[:, j] - x @ W[:, label] + 1 > 0:
                expected[:, j] += x / 9
                expected[:, label] -= x / 9
    np.testing.assert_allclose(fl.svm_loss(W, X, y, 1.0, backend=backend)[1], expected, atol=1e-13)


def test_gradient_check(backend):
    rng = np.random.default_rng(0)
    W, X, y = rng.standard_normal((5, 4)), rng.standard_normal((9, 5)), np.arange(9) % 4
    assert fl.check_gradient(lambda W: fl.softmax_loss(W, X, y, 0.1, backend=backend), W)
    assert not fl.check_gradient(lambda W: (fl.softmax_loss(W, X, y)[0], 1.1 * fl.softmax_loss(W, X, y)[1]), W)


# ---- Searching -------------------------------------------------------------------------------------------


def accuracies(search, digits, **how):
    """On the test digits, in percent, over the seeds 0 ... 5."""
    found = [search(digits.X, digits.y, tries=1000, seed=seed, **how) for seed in range(6)]
    return [100 * result.accuracy(digits.X_test, digits.y_test) for result in found]


def test_random_search(digits):
    """Strategy #1 on digits, 1000 tries of the slide's scale, 1e-4: the best of six seeds knows every fourth digit."""
    found = accuracies(fl.random_search, digits)
    assert (round(min(found), 1), round(max(found), 1)) == (11.4, 23.1)
    losses = fl.random_search(digits.X, digits.y, tries=50).history["loss"]
    assert max(abs(loss - 9) for loss in losses) < 0.005  # C - 1: such weights say almost nothing


def test_random_search_prints():
    """In attempt 0 the loss was 9.401632, best 9.401632, and so on: the slide's loop, with NumPy's newer generator."""
    pixels = np.random.default_rng(0).integers(0, 256, (500, 3072)) - 128.0  # as many as CIFAR-10's, and as bright
    y = np.arange(500) % 10
    found = fl.random_search(pixels, y, tries=7)
    rng, best, losses, lowest = np.random.default_rng(0), float("inf"), [], []
    for _ in range(7):
        W = rng.standard_normal((3073, 10)) * 0.0001
        loss = fl.svm_loss(W, pixels, y, bias=True)[0]
        if loss < best:
            best, best_W = loss, W
        losses.append(loss)
        lowest.append(best)
    assert found.history["loss"] == pytest.approx(losses)
    assert found.history["best"] == pytest.approx(lowest)
    np.testing.assert_array_equal(found.W, best_W)
    assert all(8.5 < loss < 9.5 for loss in losses)


def test_random_local_search(digits):
    """Strategy #2, 1000 steps of 1e-3: the slide's loop. The worst of six seeds is ahead of the best above."""
    found = accuracies(fl.random_local_search, digits, step=1e-3)
    assert (round(min(found), 1), round(max(found), 1)) == (45.1, 69.6)
    rng = np.random.default_rng(0)
    W = rng.standard_normal((65, 10)) * 0.001
    best = fl.svm_loss(W, digits.X, digits.y, bias=True)[0]
    lowest = [best]
    for _ in range(20):
        there = W + rng.standard_normal((65, 10)) * 0.001
        loss = fl.svm_loss(there, digits.X, digits.y, bias=True)[0]
        if loss < best:
            W, best = there, loss
        lowest.append(best)
    walk = fl.random_local_search(digits.X, digits.y, tries=20, step=1e-3)
    assert walk.history["best"] == pytest.approx(lowest)
    np.testing.assert_allclose(walk.W, W)


def test_gradient_descent(digits):
    """Strategy #3, a tenth of the evaluations. From W = 0 nothing in it is drawn."""
    how = {"loss": "svm", "batch_size": len(digits.X)}
    result = fl.train(digits.X, digits.y, epochs=100, optimizer=fl.SGD(0.1), **how)
    assert round(100 * result.accuracy(digits.X_test, digits.y_test), 1) == 96.1
    W = np.zeros((65, 10))
    for _ in range(3):
        W -= 0.1 * fl.svm_loss(W, digits.X, digits.y, bias=True)[1]
    three = fl.train(digits.X, digits.y, epochs=3, optimizer=fl.SGD(0.1), **how)
    np.testing.assert_allclose(three.W, W, atol=1e-12)


def test_mini_batch(digits):
    """Batches of 256 get further than the full sum with as many passes over the rows."""
    how = {"epochs": 5, "optimizer": fl.SGD(0.1)}
    batches = fl.train(digits.X, digits.y, batch_size=256, **how)
    full = fl.train(digits.X, digits.y, batch_size=len(digits.X), **how)
    losses = [fl.softmax_loss(r.W, digits.X, digits.y, bias=True)[0] for r in (batches, full)]
    assert losses[0] < losses[1]


def test_batch_stochastic_mini_batch(digits):
    """Once through the rows: one step for all of them, one for each of them, or between."""
    losses = []
    for size in (len(digits.X), 256, 1):
        result = fl.train(digits.X, digits.y, epochs=1, batch_size=size, optimizer=fl.SGD(0.1))
        losses.append(fl.softmax_loss(result.W, digits.X, digits.y, bias=True)[0])
    assert losses[0] > losses[1] > losses[2]
    W = np.zeros((65, 10))
    fl.SGD(0.1).step(W, fl.softmax_loss(W, digits.X, digits.y, bias=True)[1])
    assert losses[0] == pytest.approx(fl.softmax_loss(W, digits.X, digits.y, bias=True)[0])


def test_loss_goes_down(digits):
    """Over mini-batches: not at every step, but from epoch to epoch."""
    rng, W, optimizer, losses = np.random.default_rng(0), np.zeros((64, 10)), fl.SGD(0.5), []
    for _ in range(4):
        for rows in np.array_split(rng.permutation(len(digits.X)), 44):
            loss, dW = fl.softmax_loss(W, digits.X[rows], digits.y[rows])
            optimizer.step(W, dW)
            losses.append(loss)
    assert (np.diff(losses) > 0).any()
    assert (np.diff(np.reshape(losses, (4, 44)).mean(axis=1)) < 0).all()


def test_gradient_noise():
    """Gradients of mini-batches scatter about that of all rows, and their mean is it."""
    rng = np.random.default_rng(0)
    W, X, y = rng.standard_normal((5, 3)), rng.standard_normal((60, 5)), np.arange(60) % 3
    whole = fl.softmax_loss(W, X, y)[1]
    parts = [fl.softmax_loss(W, X[i::6], y[i::6])[1] for i in range(6)]
    assert max(abs(part - whole).max() for part in parts) > 0.01
    np.testing.assert_allclose(np.mean(parts, axis=0), whole, atol=1e-14)


# ---- Difficulties of gradient descent --------------------------------------------------------------------


def test_condition_number():
    """Slow along the shallow direction, to and fro along the steep one; momentum gets further."""
    assert np.linalg.cond(fl.numerical_hessian(bowl, np.zeros(2))) == pytest.approx(50)
    path = walk(bowl, fl.SGD(0.039), (1.0, 1.0), 20)
    assert (np.sign(path[1:, 1]) == -np.sign(path[:-1, 1])).all()
    assert path[-1, 0] > 0.4
    slow, faster = (bowl(walk(bowl, fl.SGD(0.03, momentum=rho), (1.0, 1.0), 20)[-1])[0] for rho in (0.0, 0.7))
    assert faster < 0.2 * slow < bowl(path[-1])[0]


def test_saddle_point():
    assert not saddle(np.zeros(2))[1].any()
    np.testing.assert_allclose(np.linalg.eigvalsh(fl.numerical_hessian(saddle, np.zeros(2))), [-2, 2], atol=1e-9)
    stuck = walk(saddle, fl.SGD(0.1), (1.0, 0.0), 200)[-1]
    assert abs(stuck).max() < 1e-9
    noisy = walk(lambda W: (0, saddle(W)[1] + 1e-3), fl.SGD(0.1), (1.0, 0.0), 100)[-1]  # any noise leads away
    assert abs(noisy[1]) > 1


def test_local_minimum():
    """A dent on the way down: gradient descent stays in it, momentum carries on to the minimum."""

    def dented(W):
        dent = 0.15 * np.exp(-8 * (W[0] - 2) ** 2)
        return 0.05 * W[0] ** 2 - dent, np.array([0.1 * W[0] + 16 * (W[0] - 2) * dent])

    stuck, through = (walk(dented, fl.SGD(0.1, momentum=rho), (4.0,), 400)[-1] for rho in (0.0, 0.9))
    assert stuck == pytest.approx(2, abs=0.1)
    assert dented(stuck)[1] == pytest.approx(0, abs=1e-6)
    assert dented(stuck)[0] > dented(through)[0] == pytest.approx(0, abs=1e-6)


# ---- Optimizers ------------------------------------------------------------------------------------------

GRADIENTS = np.random.default_rng(5).standard_normal((12, 4))


def run(optimizer):
    w = np.ones(4)
    for g in GRADIENTS:
        optimizer.step(w, g)
    return w


def test_sgd():
    x = np.ones(4)
    for dx in GRADIENTS:
        x = x - 0.1 * dx
    np.testing.assert_allclose(run(fl.SGD(0.1)), x)


def test_momentum():
    x, vx = np.ones(4), 0
    for dx in GRADIENTS:
        vx = 0.9 * vx + dx
        x = x - 0.1 * vx
    np.testing.assert_allclose(run(fl.SGD(0.1, momentum=0.9)), x)


def test_momentum_both_forms():
    np.testing.assert_allclose(run(fl.Momentum(0.1, momentum=0.9)), run(fl.SGD(0.1, momentum=0.9)))


def test_nesterov():
    """v' = rho v - lr grad(x + rho v), x' = x + v'; ours is x~ = x + rho v."""
    x, v = np.ones(2), np.zeros(2)
    ours = walk(bowl, fl.SGD(0.01, momentum=0.9, nesterov=True), (1.0, 1.0), 15)
    for step in range(15):
        np.testing.assert_allclose(ours[step], x + 0.9 * v)
        v = 0.9 * v - 0.01 * bowl(x + 0.9 * v)[1]
        x = x + v


def test_adagrad():
    x, s = np.ones(4), 0
    for dx in GRADIENTS:
        s = s + dx * dx
        x = x - 0.1 * dx / (np.sqrt(s) + 1e-7)
    np.testing.assert_allclose(run(fl.AdaGrad(0.1, eps=1e-7)), x)


def test_adagrad_q1_steep_is_damped():
    """The first step is as long along the shallow direction as along the steep one."""
    first = walk(bowl, fl.AdaGrad(0.1), (1.0, 1.0), 1)
    np.testing.assert_allclose(first[0] - first[1], [0.1, 0.1], rtol=1e-6)


def test_adagrad_q2_steps_decay():
    path = walk(lambda W: (0, np.ones(1)), fl.AdaGrad(0.1), (0.0,), 10_000)[:, 0]
    steps = -np.diff(path)
    np.testing.assert_allclose(steps, 0.1 / np.sqrt(np.arange(1, 10_001)), rtol=1e-9)
    leaky = -np.diff(walk(lambda W: (0, np.ones(1)), fl.RMSProp(0.1, alpha=0.9), (0.0,), 1000)[:, 0])
    assert leaky[-1] == pytest.approx(0.1, rel=1e-6)


def test_adagrad_gets_stuck():
    """By the same rate RMSProp is at the minimum when AdaGrad, whose steps decay, is not half way."""
    ends = [walk(bowl, rule, (1.0, 1.0), 200)[-1] for rule in (fl.AdaGrad(0.01), fl.RMSProp(0.01, alpha=0.9))]
    assert abs(ends[0]).min() > 0.5
    assert abs(ends[1]).max() < 0.02


def test_rmsprop():
    x, s = np.ones(4), 0
    for dx in GRADIENTS:
        s = 0.9 * s + 0.1 * dx * dx
        x = x - 0.1 * dx / (np.sqrt(s) + 1e-7)
    np.testing.assert_allclose(run(fl.RMSProp(0.1, alpha=0.9, eps=1e-7)), x)


def test_adam():
    x, m, v = np.ones(4), 0, 0
    for t, dx in enumerate(GRADIENTS, 1):
        m = 0.9 * m + 0.1 * dx
        v = 0.999 * v + 0.001 * dx * dx
        x = x - 1e-3 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-7)
    np.testing.assert_allclose(run(fl.Adam(1e-3, eps=1e-7)), x, rtol=1e-12)


def test_adam_is_a_good_default(digits):
    """beta1 = 0.9, beta2 = 0.999 and a rate of 1e-3; momentum can do better, once its rate has been found."""
    losses = {}
    np.testing.assert_array_equal(run(fl.Adam()), run(fl.Adam(1e-3, beta1=0.9, beta2=0.999)))
    for name, rule in {
        "Adam": fl.Adam(),
        "found": fl.SGD(0.1, momentum=0.9),
        "low": fl.SGD(1e-4, momentum=0.9),
    }.items():
        result = fl.train(digits.X, digits.y, epochs=20, batch_size=32, optimizer=rule)
        losses[name] = fl.softmax_loss(result.W, digits.X, digits.y, bias=True)[0]
        assert name != "Adam" or result.accuracy(digits.X_test, digits.y_test) > 0.9
    assert losses["found"] < losses["Adam"] < losses["low"]


def test_adam_first_step():
    """Without bias correction the first step is 0.1 / sqrt(0.001) = 3.16 times lr; with it, lr."""
    for gradient in (1e-3, 1.0, 1e3):
        lengths = []
        for optimizer in (fl.AdamAlmost(0.01, eps=1e-12), fl.Adam(0.01, eps=1e-12)):
            w = np.zeros(1)
            optimizer.step(w, np.array([gradient]))
            lengths.append(-w[0])
        assert lengths == pytest.approx([0.01 * 0.1 / np.sqrt(0.001), 0.01])


# ---- Learning rates --------------------------------------------------------------------------------------


def test_learning_rates():
    """Low is slow, good is good, too high explodes: on a bowl of curvature 50 the limit is 2 / 50."""
    ends = {lr: bowl(walk(bowl, fl.SGD(lr), (1.0, 1.0), 100)[-1])[0] for lr in (1e-4, 0.03, 0.041)}
    assert ends[0.03] < 0.1 < ends[1e-4] < ends[0.041]


def test_reduced_rate_converges():
    """With noisy gradients a constant rate stays at a distance from the minimum; one that is reduced gets there."""
    noise = iter(np.random.default_rng(0).standard_normal((6000, 2)))
    ends = [
        np.mean(
            [bowl(W)[0] for W in walk(lambda W: (0, bowl(W)[1] + next(noise)), fl.SGD(lr), (1.0, 1.0), 3000)[-500:]]
        )
        for lr in (0.03, fl.schedules.inverse_sqrt(0.03))
    ]
    assert ends[1] < 0.2 * ends[0]


def test_step_decay():
    rate = fl.schedules.step(1.0)
    assert [rate(t) for t in (0, 29, 30, 60, 90)] == pytest.approx([1, 1, 0.1, 0.01, 0.001])


def test_cosine_decay():
    """At T / 4 it is not a quarter of the way down, as a line would be."""
    rate = fl.schedules.cosine(0.4, T=100)
    assert [rate(0), rate(25), rate(50), rate(100)] == pytest.approx([0.4, 0.2 * (1 + np.sqrt(0.5)), 0.2, 0.0])


def test_linear_decay():
    rate = fl.schedules.linear(0.4, T=100)
    assert [rate(0), rate(25), rate(100)] == pytest.approx([0.4, 0.3, 0.0])


def test_inverse_sqrt_decay():
    rate = fl.schedules.inverse_sqrt(0.4)
    assert [rate(0), rate(1), rate(4), rate(100)] == pytest.approx([0.4, 0.4, 0.2, 0.04])


def test_linear_warmup():
    """From 0, in 5000 equal steps."""
    rate = fl.schedules.warmup(fl.schedules.constant(0.4), steps=5000)
    assert [rate(t) for t in (0, 1250, 2500, 3750, 5000)] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(np.diff([rate(t) for t in range(5001)]), 0.4 / 5000)


def test_rate_grows_with_the_batch():
    assert fl.scale_lr(0.1, 1024 / 256) == pytest.approx(0.4)


# ---- Second order ----------------------------------------------------------------------------------------


def test_newton():
    """One step to the minimum of a quadratic, whatever its condition number."""
    np.testing.assert_allclose(fl.newton_step(bowl, np.array([3.0, -7.0])), 0, atol=1e-9)


def test_quadratic_approximation():
    """J(a) + (b - a) g + (b - a) H (b - a) / 2: what is left of J(b) shrinks with the cube of the distance."""
    rng = np.random.default_rng(0)
    W, X, y = rng.standard_normal((4, 3)), rng.standard_normal((20, 4)), np.arange(20) % 3
    loss, dW = fl.softmax_loss(W, X, y)
    hessian = fl.numerical_hessian(lambda W: fl.softmax_loss(W, X, y), W)
    direction, left = rng.standard_normal((4, 3)), []
    for length in (0.2, 0.1):
        move = length * direction
        expected = loss + (move * dW).sum() + move.ravel() @ hessian @ move.ravel() / 2
        left.append(abs(fl.softmax_loss(W + move, X, y)[0] - expected))
    assert left[0] / left[1] == pytest.approx(8, rel=0.3)


def test_hessian_size():
    """N^2 entries, too many for a deep network: 15 x 15 for W of (5, 3), 1/n sum x x^T times diag(p) - p p^T."""
    rng = np.random.default_rng(0)
    W, X, y = rng.standard_normal((5, 3)), rng.standard_normal((20, 5)), np.arange(20) % 3
    found = fl.numerical_hessian(lambda W: fl.softmax_loss(W, X, y), W)
    assert found.shape == (15, 15)
    each = [np.kron(np.outer(x, x), np.diag(p) - np.outer(p, p)) for x, p in zip(X, fl.softmax(X @ W), strict=True)]
    np.testing.assert_allclose(found, np.mean(each, axis=0), atol=1e-8)
    assert np.linalg.eigvalsh(found).min() > -1e-9  # softmax is convex


def test_lbfgs_in_full_batches(digits):
    """As many passes over the rows: L-BFGS, by a recursion of our own, ends far below descent with momentum."""
    X = digits.X.astype(np.float64)
    quasi = fl.minimize(X, digits.y, solver="lbfgs", reg=1e-3, max_iter=60)
    passes = 2 * len(quasi.history["loss"])  # more than it took
    plain = fl.train(X, digits.y, reg=1e-3, epochs=passes, batch_size=len(X), optimizer=fl.SGD(0.1, momentum=0.9))
    lowest = fl.minimize(X, digits.y, reg=1e-3, max_iter=1000).history["loss"][-1]
    ahead, behind = quasi.history["loss"][-1] - lowest, plain.history["loss"][-1] - lowest
    assert 0 <= ahead < 0.01 * behind


def test_bfgs():
    """SciPy's, step by step, on our loss and gradient; not L-BFGS, which takes other steps to the same minimum."""
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 4)), np.arange(60) % 3
    full, limited = (fl.minimize(X, y, reg=0.1, solver=solver, tol=1e-8) for solver in ("bfgs", "lbfgs"))
    np.testing.assert_allclose(full.W, limited.W, atol=1e-6)

    def f(x):
        loss, dW = fl.softmax_loss(x.reshape(5, 3), X, y, 0.1, bias=True)
        return loss, dW.ravel()

    losses = [f(np.zeros(15))[0]]
    how = {"method": "BFGS", "callback": lambda x: losses.append(f(x)[0]), "options": {"gtol": 1e-8}}
    optimize.minimize(f, np.zeros(15), jac=True, **how)
    np.testing.assert_allclose(full.history["loss"], losses, rtol=1e-9)
    assert abs(full.history["loss"][3] - limited.history["loss"][3]) > 1e-4
